"""Bars: checked OHLCV columns of one market and timeframe, and the two operations that relate timeframes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from genesis.errors import DataError
from genesis.market.checks import Gap, check_arrays, describe_gaps, find_gaps
from genesis.market.reading import parse_frame
from genesis.market.timeframe import DAY, Timeframe, fits, infer_timeframe, parse_timeframe
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
    >>> bool(Bars(day, price, price, price, price, np.zeros(2), "1d", symbol="X").close_time[0] == day[1])
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
        origin = source or symbol or "frame"
        parsed = parse_frame(df, origin=origin, timezone=timezone)
        check_arrays(parsed.time, parsed.columns, origin=origin)
        name, notes = settle_timeframe(parsed.time, timeframe, origin=origin)
        return cls(
            time=parsed.time,
            open=parsed.columns["open"],
            high=parsed.columns["high"],
            low=parsed.columns["low"],
            close=parsed.columns["close"],
            volume=parsed.columns["volume"],
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

    def sealed(self) -> Bars:
        """The same bars as read-only arrays on the same memory: what code of others is given."""
        part = self.slice(0, len(self))
        for name in ("time", *COLUMNS):
            getattr(part, name).setflags(write=False)
        object.__setattr__(part, "_cache", self._cache)
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


def settle_timeframe(time: IntArray, given: str | None, *, origin: str) -> tuple[str, list[str]]:
    """The timeframe's name and what to note about it; refuses a given one that the times contradict."""
    if given is not None and len(time) < 3:
        return parse_timeframe(given).name, [f"timeframe given: {len(time)} bars are too few to tell"]
    try:
        found = infer_timeframe(time)
    except DataError as error:
        raise DataError(f"{origin}: {error}") from error
    asked = found if given is None else parse_timeframe(given)
    if not fits(time, asked):
        raise DataError(
            f"{origin}: timeframe {asked.name} was given, the bars step {found.name}; "
            f"give timeframe={found.name!r}, and resample where {asked.name} is wanted"
        )
    notes = [] if asked == found else [f"timeframe given: half of the steps are longer than {asked.name}"]
    overlaps = int((np.diff(time) < asked.step).sum()) if asked.step < DAY else 0
    if overlaps:
        notes.append(f"{overlaps:,} bars open before the bar before them has closed")
    return asked.name, notes + describe_gaps(find_gaps(time, asked))


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
    after = np.append(first[1:], len(bars))
    whole = slice(
        int(len(first) > 0 and bars.time[0] > bucket[0]),
        len(first) - int(len(first) > 0 and bars.close_time[-1] < target.close_of(bucket[-1:])[0]),
    )
    first, after = first[whole], after[whole]
    stop = after[-1] if len(after) else 0  # reduceat runs to the end of its input: it ends with the last whole bucket
    return Bars(
        bucket[first],
        bars.open[first],
        np.maximum.reduceat(bars.high[:stop], first) if stop else bars.high[:0],
        np.minimum.reduceat(bars.low[:stop], first) if stop else bars.low[:0],
        bars.close[after - 1],
        np.add.reduceat(bars.volume[:stop], first) if stop else bars.volume[:0],
        timeframe=target.name,
        symbol=bars.symbol,
        synthetic=bars.synthetic,
        source=bars.source,
        notes=(*bars.notes, f"resampled from {source.name} to {target.name}"),
    )


def align_closed(low: Bars, high: Bars) -> IntArray:
    """int64[len(low)]: index of the last `high` bar that has closed by the close of each `low` bar; -1 where none has.

    Reading `high` arrays through it cannot look ahead: a weekly bar is seen first at the close of the daily bar that
    ends at or after the week's end.
    """
    return np.searchsorted(high.close_time, low.close_time, side="right") - 1


def higher_bars(bars: Bars, timeframe: str) -> tuple[Bars, IntArray]:
    """`resample(bars, timeframe)` and, read-only, its `align_closed`: worked out once, then kept with the bars.

    Every set of features over the same bars shares them, so that a trial with new parameters does not resample again.
    """
    key = f"higher {parse_timeframe(timeframe).name}"
    if key not in bars._cache:
        high = resample(bars, timeframe)
        index = align_closed(bars, high)
        index.setflags(write=False)
        bars._cache[key] = high, index
    found: tuple[Bars, IntArray] = bars._cache[key]
    return found


def _owned(values: Any, kind: type[np.generic]) -> Any:
    """`values` as a writable C-contiguous array of `kind`: read-only arrays are another type to compiled code."""
    array: NDArray[Any] = np.ascontiguousarray(values, dtype=kind)
    return array if array.flags.writeable else array.copy()
