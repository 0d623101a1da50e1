"""How long a bar lasts: parsing, naming, calendar boundaries and inference of timeframes (`5m`, `1d`, `1w`, `1M`)."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

import numpy as np

from genesis.errors import DataError
from genesis.types import IntArray

SECOND = 1_000_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
WEEK = 7 * DAY
ALLOWED = "a whole number and one of s, m, h, d, w, M (M is a month), such as 5m, 4h, 1d, 1w, 1M"

_UNITS = {"s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY, "w": WEEK}
_OTHER_NAMES = {"D": "d", "W": "w", "H": "h", "min": "m", "mo": "M", "y": "Y"}
_PATTERN = re.compile(r"\s*(\d{1,6})\s*([A-Za-z]{1,3})\s*")
_MONDAY = 4 * DAY  # 1970-01-01 was a Thursday: the first Monday of the era opens four days later
_LONGEST = 366 * 100 * DAY
_CALENDAR = ((27.5, 31.5, 1), (88.5, 92.5, 3), (180.5, 184.5, 6), (364.5, 366.5, 12))  # days from, to, months


@dataclass(frozen=True, slots=True)
class Timeframe:
    """A bar's length: `step` nanoseconds, or `months` calendar months (then `step` counts 30 days for each)."""

    name: str
    step: int
    months: int = 0

    def floor(self, time: IntArray) -> IntArray:
        """The opening time (UTC ns) of the bucket that holds each `time`; weeks open on Monday, months on the 1st."""
        if self.months:
            month = time.view("datetime64[ns]").astype("datetime64[M]").astype(np.int64)
            return _first_of(month // self.months * self.months)
        origin = _MONDAY if self.step % WEEK == 0 else 0
        return (time - origin) // self.step * self.step + origin

    def close_of(self, time: IntArray) -> IntArray:
        """The instant (UTC ns) at which a bar that opens at each `time` is complete."""
        if not self.months:
            return time + self.step
        month = time.view("datetime64[ns]").astype("datetime64[M]").astype(np.int64)
        return _first_of(month + self.months) + (time - _first_of(month))

    def divides(self, other: Timeframe) -> bool:
        """Whether whole bars of this timeframe fill one bar of `other`."""
        if self.months:
            return other.months > 0 and other.months % self.months == 0
        if other.months:
            return DAY % self.step == 0
        return other.step % self.step == 0


def _first_of(month: IntArray) -> IntArray:
    return month.astype("datetime64[M]").astype("datetime64[ns]").astype(np.int64)


@functools.lru_cache(maxsize=256)
def parse_timeframe(text: str) -> Timeframe:
    """Read a timeframe; equal lengths share one name (`60m` is `1h`, `7d` is `1w`, `1y` is `12M`).

    Raises `DataError` when the text is not a timeframe.

    >>> parse_timeframe("60m").name
    '1h'
    """
    match = _PATTERN.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise DataError(f"timeframe {text!r} is not understood; give {ALLOWED}")
    count, unit = int(match[1]), _OTHER_NAMES.get(match[2], match[2])
    if unit == "Y":
        count, unit = 12 * count, "M"
    step = count * (30 * DAY if unit == "M" else _UNITS.get(unit, 0))
    if not 0 < step <= _LONGEST:
        raise DataError(f"timeframe {text!r} is not understood; give {ALLOWED}")
    return Timeframe(f"{count}M", step, count) if unit == "M" else from_step(step)


def from_step(step: int) -> Timeframe:
    """The timeframe of `step` nanoseconds, named in the largest unit that divides it; `DataError` below a second."""
    for unit, length in reversed(_UNITS.items()):
        if step > 0 and step % length == 0:
            return Timeframe(f"{step // length}{unit}", step)
    raise DataError(f"a step of {step / SECOND:g} seconds is not a timeframe; give {ALLOWED}")


def infer_timeframe(time: IntArray) -> Timeframe:
    """The timeframe whose length is the median step between sorted opening times (UTC ns).

    A median of 28 to 31 days is a month, and so for quarters, half years and years. Raises `DataError` with fewer than
    two bars, or when the median is no whole second.
    """
    if len(time) < 2:
        raise DataError(f"{len(time)} bar(s) do not tell their timeframe; give one, such as timeframe='1d'")
    middle = (len(time) - 2) // 2
    step = int(np.partition(np.diff(time), middle)[middle])  # the lower median: always a step that occurs
    for low, high, months in _CALENDAR:
        if low < step / DAY < high and not (months == 1 and step == 4 * WEEK and (np.diff(time) == step).all()):
            return Timeframe(f"{months}M", months * 30 * DAY, months)
    if step % SECOND:
        raise DataError(f"the median step between bars is {step / SECOND:g} s; check the times, or give the timeframe")
    return from_step(step)


def fits(time: IntArray, timeframe: Timeframe) -> bool:
    """Whether sorted opening times may be bars of `timeframe`: their median step, or a smallest step that divides all.

    The second serves a market where most bars are missing because nobody traded.
    """
    if infer_timeframe(time).name == timeframe.name:
        return True
    steps = np.diff(time)
    return not timeframe.months and int(steps.min()) == timeframe.step and not (steps % timeframe.step).any()
