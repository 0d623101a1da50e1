"""Bars: checked OHLCV columns of one market and timeframe, and the two operations that relate timeframes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from genesis.errors import DataError
from genesis.market.checks import Gap, check_arrays, find_gaps
from genesis.market.timeframe import Timeframe, infer_timeframe, parse_timeframe
from genesis.types import FloatArray, IntArray

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("open", "high", "low", "close", "volume")


@dataclass(frozen=True, slots=True, eq=False)
class Bars:
    """OHLCV bars in time order, checked when made; the arrays are shared, so treat them as read-only.

    `time` is int64[n], opening times in UTC nanoseconds, strictly increasing; `open`, `high`, `low`, `close` are
    float64[n], positive and finite with low <= open, close <= high; `volume` is float64[n], finite, not negative, 0
    where unknown. All are C-contiguous. `notes` says what was decided while reading (time zone, unused columns).

    Raises `BadBarsError` naming the rows that break a rule, `DataError` for columns of unequal length.

    >>> import numpy as np
    >>> day = np.array([0, 86_400_000_000_000])
    >>> price = np.array([10.0, 11.0])
    >>> Bars(day, price, price, price, price, np.zeros(2), "1d", symbol="X").close_time[0] == day[1]
    True
    """

    time: IntArray
    open: FloatArray
    high: FloatArray
    low: FloatArray
    close: FloatArray
    volume: FloatArray
    timeframe: str
    symbol: str = ""
    synthetic: bool = False
    source: str = ""
    notes: tuple[str, ...] = ()
    _cache: dict[str, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        set_ = object.__setattr__
        set_(self, "timeframe", parse_timeframe(self.timeframe).name)
        set_(self, "time", _owned(self.time, np.int64))
        set_(self, "notes", tuple(self.notes))
        for name in COLUMNS:
            column = _owned(getattr(self, name), np.float64)
            if column.shape != self.time.shape or column.ndim != 1:
                raise DataError(
                    f"{name} has shape {column.shape} and time {self.time.shape}; give columns of one length"
                )
            set_(self, name, column)
        check_arrays(self.time, {name: getattr(self, name) for name in COLUMNS}, origin=self.source or "bars")

    def __len__(self) -> int:
        return len(self.time)

    def __repr__(self) -> str:
        span = f" {self.index[0]} .. {self.index[-1]}" if len(self) else ""
        kind = " synthetic" if self.synthetic else ""
        return f"<Bars {self.symbol or '?'} {self.timeframe}{kind}: {len(self):,} bars{span}>"

    @classmethod
    def from_frame(
        cls,
        df: Any,
        *,
        timeframe: str | None = None,
        symbol: str = "",
        synthetic: bool = False,
        source: str = "",
        timezone: str | None = None,
    ) -> Bars:
        """Bars from a pandas or polars frame with open, high, low, close, an optional volume, and a time.

        Column names match in any case. The time is a column `timestamp`, `datetime`, `date`, `time` or `open_time`
        (ISO text, dates, or epoch seconds, ms, µs or ns) or a DatetimeIndex. Naive times are taken as UTC, or as
        `timezone`. The timeframe is the median step unless given; a given one that differs is refused.

        Raises `DataError` for columns that cannot be understood, `BadBarsError` for rows that break a rule.
        """
        from genesis.market.reading import parse_frame

        parsed = parse_frame(df, origin=source or symbol or "frame", timezone=timezone)
        origin = source or symbol or "frame"
        check_arrays(parsed.time, parsed.columns, origin=origin)
        name, notes = settle_timeframe(parsed.time, timeframe, origin=origin)
        return cls(
            parsed.time,
            **parsed.columns,
            timeframe=name,
            symbol=symbol,
            synthetic=synthetic,
            source=source,
            notes=(*parsed.notes, *notes),
        )

    @property
    def frame(self) -> Timeframe:
        """The timeframe as a value."""
        return parse_timeframe(self.timeframe)

    @property
    def close_time(self) -> IntArray:
        """int64[n]: the instant (UTC ns) at which each bar is complete and may be known."""
        if "close_time" not in self._cache:
            self._cache["close_time"] = self.frame.close_of(self.time)
        found: IntArray = self._cache["close_time"]
        return found

    @property
    def index(self) -> pd.DatetimeIndex:
        """Opening times as a UTC DatetimeIndex."""
        import pandas as pd

        return pd.DatetimeIndex(self.time.view("datetime64[ns]"), tz="UTC", name="time")

    @property
    def gaps(self) -> tuple[Gap, ...]:
        """Missing bars that the market's own closing times do not explain; see `find_gaps`."""
        if "gaps" not in self._cache:
            self._cache["gaps"] = find_gaps(self.time, self.frame)
        found: tuple[Gap, ...] = self._cache["gaps"]
        return found

    @property
    def fingerprint(self) -> str:
        """SHA-256 hex of the timeframe and the columns as little-endian bytes; equal content, equal fingerprint."""
        if "fingerprint" not in self._cache:
            digest = hashlib.sha256(f"genesis-bars-1\0{self.timeframe}\0{len(self)}\0".encode())
            digest.update(self.time.astype("<i8", copy=False).tobytes())
            for name in COLUMNS:
                column = getattr(self, name) + 0.0  # -0.0 and 0.0 are one volume
                digest.update(column.astype("<f8", copy=False).tobytes())
            self._cache["fingerprint"] = digest.hexdigest()
        found: str = self._cache["fingerprint"]
        return found

    def slice(self, start: int, stop: int) -> Bars:
        """Bars start .. stop-1 as views on the same memory, not checked again; bounds as in Python slices."""
        part = object.__new__(Bars)
        for name in ("time", *COLUMNS):
            object.__setattr__(part, name, getattr(self, name)[start:stop])
        for name in ("timeframe", "symbol", "synthetic", "source", "notes"):
            object.__setattr__(part, name, getattr(self, name))
        object.__setattr__(part, "_cache", {})
        return part

    def between(self, start: int | None, stop: int | None) -> Bars:
        """The bars that open at or after `start` and before `stop` (UTC ns; None is no bound), as views."""
        low = 0 if start is None else int(np.searchsorted(self.time, start, side="left"))
        high = len(self) if stop is None else int(np.searchsorted(self.time, stop, side="left"))
        return self.slice(low, max(low, high))

    def to_frame(self) -> pd.DataFrame:
        """A DataFrame with a UTC DatetimeIndex `time` and float64 columns open, high, low, close, volume."""
        import pandas as pd

        return pd.DataFrame({name: getattr(self, name) for name in COLUMNS}, index=self.index)


def settle_timeframe(time: IntArray, given: str | None, *, origin: str) -> tuple[str, tuple[str, ...]]:
    """The timeframe's name and what to note about it; refuses a given one that the times contradict."""
    if given is None:
        return infer_timeframe(time).name, ()
    asked = parse_timeframe(given)
    if len(time) < 3:
        return asked.name, ("too few bars to check the timeframe",)
    found = infer_timeframe(time)
    if found.name != asked.name:
        raise DataError(
            f"{origin}: timeframe {asked.name} was given, the bars step {found.name}; "
            f"give timeframe={found.name!r}, or read them so and resample"
        )
    return asked.name, ()


def resample(bars: Bars, timeframe: str) -> Bars:
    """Bars of a coarser timeframe: first open, highest high, lowest low, last close, summed volume.

    A bar belongs to the bucket in which it closes. Weeks open on Monday 00:00 UTC, months on the 1st. A bucket that the
    bars do not reach the end of is left out, for it is not known yet; so is a first bucket that they do not reach the
    start of. Hence cutting `bars` after any bar changes no resampled bar that had closed by then. Buckets without a
    bar give none. May return no bars at all. Raises `DataError` when whole bars do not fill the new ones.
    """
    source, target = bars.frame, parse_timeframe(timeframe)
    if source == target:
        return bars
    if not source.divides(target):
        raise DataError(f"{source.name} bars do not fill {target.name} bars; resample to a multiple of {source.name}")
    bucket = target.floor(bars.close_time - 1)
    first = np.flatnonzero(np.diff(bucket, prepend=bucket[:1] - 1))
    last = np.append(first[1:], len(bars)) - 1
    time = bucket[first]
    keep = slice(
        1 if len(first) and bars.time[0] > time[0] else 0,
        len(first) - (1 if len(first) and bars.close_time[-1] < target.close_of(time[-1:])[0] else 0),
    )
    notes = (*bars.notes, f"resampled from {source.name} to {target.name}")
    kept = first[keep]
    if not len(kept):
        return replace(bars.slice(0, 0), timeframe=target.name, notes=notes, _cache={})
    stop = last[keep][-1] + 1  # reduceat runs to the end of its input: end it where the last kept bucket ends
    return Bars(
        time[keep],
        bars.open[kept],
        np.maximum.reduceat(bars.high[:stop], kept),
        np.minimum.reduceat(bars.low[:stop], kept),
        bars.close[last[keep]],
        np.add.reduceat(bars.volume[:stop], kept),
        timeframe=target.name,
        symbol=bars.symbol,
        synthetic=bars.synthetic,
        source=bars.source,
        notes=notes,
    )


def align_closed(low: Bars, high: Bars) -> IntArray:
    """int64[len(low)]: index of the last `high` bar that has closed by the close of each `low` bar; -1 where none has.

    Reading `high` arrays through it cannot look ahead: a weekly bar is seen first at the close of the daily bar that
    ends at or after the week's end.
    """
    return np.searchsorted(high.close_time, low.close_time, side="right") - 1


def _owned(values: Any, kind: type) -> Any:
    """`values` as a writable C-contiguous array of `kind`: read-only arrays are another type to compiled code."""
    array = np.ascontiguousarray(values, dtype=kind)
    return array if array.flags.writeable else array.copy()
