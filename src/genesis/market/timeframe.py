"""How long a bar lasts: parsing, naming, calendar boundaries and inference of timeframes such as `5m`, `1d`, `1w`, `1M`."""

from __future__ import annotations

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
_ALIASES = {"D": "d", "W": "w", "H": "h", "min": "m", "T": "m", "S": "s", "mo": "M", "y": "Y"}
_PATTERN = re.compile(r"^\s*(\d{1,6})\s*([A-Za-z]{1,3})\s*$")
_MONDAY = 4 * DAY  # 1970-01-01 was a Thursday: the first Monday of the era opens four days later


@dataclass(frozen=True, slots=True)
class Timeframe:
    """A bar's length: `step` nanoseconds, or `months` calendar months (then `step` is 30 days, for ordering only)."""

    name: str
    step: int
    months: int = 0

    def floor(self, time: IntArray) -> IntArray:
        """The opening time (UTC ns) of the bucket that holds each `time`; weeks open on Monday, months on the 1st."""
        if self.months:
            month = time.astype("datetime64[ns]").astype("datetime64[M]").astype(np.int64)
            opened = month // self.months * self.months
            return np.ascontiguousarray(opened.astype("datetime64[M]").astype("datetime64[ns]").astype(np.int64))
        origin = _MONDAY if self.step % WEEK == 0 else 0
        return np.ascontiguousarray((time - origin) // self.step * self.step + origin)

    def close_of(self, time: IntArray) -> IntArray:
        """The instant (UTC ns) at which a bar that opens at each `time` is complete."""
        if not self.months:
            return time + self.step
        stamps = time.astype("datetime64[ns]")
        month = stamps.astype("datetime64[M]")
        within = stamps - month.astype("datetime64[ns]")
        return np.ascontiguousarray(((month + self.months).astype("datetime64[ns]") + within).astype(np.int64))

    def divides(self, other: Timeframe) -> bool:
        """Whether whole bars of this timeframe fill one bar of `other`."""
        if self.months:
            return other.months > 0 and other.months % self.months == 0
        if other.months:
            return self.step <= DAY and DAY % self.step == 0
        return other.step % self.step == 0


def parse_timeframe(text: str | Timeframe) -> Timeframe:
    """Read a timeframe; equal lengths share one name (`60m` is `1h`, `7d` is `1w`).

    Raises `DataError` when the text is not a timeframe.

    >>> parse_timeframe("60m").name
    '1h'
    """
    if isinstance(text, Timeframe):
        return text
    match = _PATTERN.match(text) if isinstance(text, str) else None
    if match is None:
        raise DataError(f"timeframe {text!r} is not understood; give {ALLOWED}")
    count = int(match[1])
    unit = _ALIASES.get(match[2], match[2])
    if unit == "Y":
        count, unit = 12 * count, "M"
    if count < 1 or (unit not in _UNITS and unit != "M"):
        raise DataError(f"timeframe {text!r} is not understood; give {ALLOWED}")
    if unit == "M":
        return Timeframe(f"{count}M", count * 30 * DAY, count)
    return from_step(count * _UNITS[unit])


def from_step(step: int) -> Timeframe:
    """The timeframe of `step` nanoseconds, named in the largest unit that divides it."""
    for unit, length in reversed(_UNITS.items()):
        if step > 0 and step % length == 0:
            return Timeframe(f"{step // length}{unit}", step)
    raise DataError(f"a step of {step / SECOND:g} seconds is not a timeframe; give {ALLOWED}")


def infer_timeframe(time: IntArray) -> Timeframe:
    """The timeframe whose length is the median step between sorted opening times (UTC ns).

    A median of 28 to 31 days is a month, 89 to 92 a quarter, 365 or 366 a year. Raises `DataError` with fewer than two
    bars, or when the median is no timeframe.
    """
    if len(time) < 2:
        raise DataError(f"{len(time)} bar(s) do not tell their timeframe; give one, such as timeframe='1d'")
    step = int(np.sort(np.diff(time))[(len(time) - 2) // 2])  # the lower median: always a step that occurs
    days = step / DAY
    for low, high, months in ((28.5, 31.5, 1), (88.5, 92.5, 3), (364.5, 366.5, 12)):
        if low < days < high or (months == 1 and days == 28 and len(time) == 2):
            return Timeframe(f"{months}M", months * 30 * DAY, months)
    if step % SECOND:
        raise DataError(
            f"the median step between bars is {step / SECOND:g} s, no whole second; give the timeframe, or check the times"
        )
    return from_step(step)
