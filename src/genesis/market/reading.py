"""Turning a table from outside into columns: names in any case, numbers, and times in any usual form."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from genesis.errors import BadBarsError, DataError
from genesis.market.checks import LISTED, PRICES, BoolArray, Problem, bad_bars
from genesis.types import FloatArray, IntArray

TIME_NAMES = ("timestamp", "datetime", "date", "time", "open_time")
VOLUME_NAMES = ("volume", "vol", "tick_volume", "tickvol")

# exclusive upper limit of the numbers, nanoseconds in one, unit: each limit is the year 5138
_EPOCH_UNITS = ((1e11, 10**9, "seconds"), (1e14, 10**6, "milliseconds"), (1e17, 10**3, "microseconds"))
_ISO_REMEDY = "is no ISO time; write 2024-01-31, 2024-01-31T14:30:00Z or epoch seconds"


@dataclass(frozen=True, slots=True)
class Parsed:
    """Columns found and converted, not yet checked: int64 UTC ns, float64 columns, and what was decided on the way."""

    time: IntArray
    columns: dict[str, FloatArray]
    notes: tuple[str, ...]


def parse_frame(df: Any, *, origin: str, timezone: str | None = None) -> Parsed:
    """Find and convert the columns of a pandas or polars frame; `origin` opens every message.

    Raises `DataError` when a column is missing or cannot be understood, `BadBarsError` for single rows that cannot.
    """
    df = _as_pandas(df, origin)
    names = _columns_by_name(df, origin)
    notes: list[str] = []
    errors: list[DataError] = []
    found = _find_time(df, names)
    missing = [name for name in PRICES if name not in names]
    if missing or found is None:
        errors.append(_missing(df, names, missing, found is not None, origin))
    elif not len(df):
        raise DataError(f"{origin}: no bars; give at least one row")
    stamps, used = (None, set[str]()) if found is None else found
    volume = next((name for name in VOLUME_NAMES if name in names), None)
    own = {name: names[name] for name in PRICES if name in names} | (
        {} if volume is None else {"volume": names[volume]}
    )
    time = np.zeros(0, dtype=np.int64)
    if stamps is not None and len(df):
        with _kept(errors):
            time = parse_time(stamps, origin=origin, timezone=timezone, notes=notes)
    columns: dict[str, FloatArray] = {} if volume else {"volume": np.zeros(len(df))}
    for name, column in own.items():
        with _kept(errors):
            columns[name] = _numbers(df[column], name, origin)
    if errors:
        raise _together(errors, len(df), origin)
    notes += [] if volume else ["no volume column: volume is 0"]
    unused = [name for name in names if name not in {*PRICES, volume, *used}]
    if unused:
        notes.append(f"columns not used: {', '.join(unused)}")
    return Parsed(time, columns, tuple(notes))


@contextlib.contextmanager
def _kept(errors: list[DataError]) -> Iterator[None]:
    """Keep what is wrong with one column, so that the others are looked at too."""
    try:
        yield
    except DataError as error:
        errors.append(error)


def _missing(df: Any, names: Mapping[str, Any], missing: list[str], timed: bool, origin: str) -> DataError:
    """All columns that are not there in one message, with the ones that look like them."""
    wanted = ([f"no column {', '.join(missing)}"] if missing else []) + ([] if timed else ["no time"])
    others = {*PRICES, *VOLUME_NAMES, "close_time", "adj_close"}  # the last two look like columns that they are not
    free = [name for name in names if name not in others]
    absent = (*missing, *(() if timed else TIME_NAMES))
    near = [(difflib.get_close_matches(name, free, n=1, cutoff=0.7), name) for name in absent]
    renames = {str(names[close[0]]): name for close, name in reversed(near) if close}
    hint = "".join(f"; rename {own!r} to {name}" for own, name in reversed(renames.items()))
    headless = "; the first line is taken as the header, add one" if _looks_headless(df) else ""
    remedies = ["the columns open, high, low, close (any case), volume where known"] if missing else []
    remedies += [] if timed else [f"a time column {', '.join(TIME_NAMES)} (or give a DatetimeIndex)"]
    return DataError(
        f"{origin}: {' and '.join(wanted)}; found {_listed(df)}{headless}{hint}; name {', and '.join(remedies)}"
    )


def _together(errors: list[DataError], count: int, origin: str) -> DataError:
    """One error of several: rows that cannot be read in the order of the file, after columns that are not there."""
    rows = [error for error in errors if isinstance(error, BadBarsError)]
    merged: list[DataError] = [error for error in errors if not isinstance(error, BadBarsError)]
    if len(rows) == 1:
        merged += rows
    elif rows:
        counts = {rule: number for error in rows for rule, number in error.details["counts"].items()}
        ranked = [pair for error in rows for pair in enumerate(error.details["problems"])]  # the first of each column
        ranked = sorted(ranked, key=lambda pair: (pair[0], pair[1]["row"]))[: max(LISTED, len(counts))]
        shown = sorted((Problem(**one) for _, one in ranked), key=lambda problem: problem.row)
        merged.append(bad_bars(origin, count, shown, counts))
    return merged[0] if len(merged) == 1 else DataError("\n".join(error.message for error in merged))


def _as_pandas(df: Any, origin: str) -> Any:
    import pandas as pd

    if isinstance(df, pd.DataFrame):
        return _one_market(df, origin) if df.columns.nlevels > 1 else df
    if type(df).__module__.partition(".")[0] == "polars":  # recognised without importing it
        table = df.collect() if hasattr(df, "collect") else df
        return pd.DataFrame({name: _from_polars(table[name]) for name in table.columns})
    raise DataError(f"{origin}: {type(df).__name__} is no table; give a pandas or polars DataFrame")


def _one_market(df: Any, origin: str) -> Any:
    """A frame whose columns have levels, with those of one value dropped: (Close, IBM) is Close."""
    for level in reversed(range(df.columns.nlevels)):
        values = df.columns.get_level_values(level).unique()
        if df.columns.nlevels > 1 and len(values) == 1:
            df = df.droplevel(level, axis="columns")
    if df.columns.nlevels > 1:
        held = ", ".join(str(value) for value in df.columns.get_level_values(-1).unique()[:5])
        raise DataError(
            f"{origin}: columns of several markets ({held}); give one, such as df.xs('IBM', axis=1, level=-1)"
        )
    return df


def _from_polars(series: Any) -> Any:
    """One polars column for pandas, by way of NumPy; a time zone is kept."""
    import pandas as pd

    zone = getattr(series.dtype, "time_zone", None)
    if zone is not None:
        stamps = pd.Series(series.dt.epoch("ns").to_numpy().astype("datetime64[ns]"))
        return stamps.dt.tz_localize("UTC").dt.tz_convert(zone)
    return pd.Series(series.to_list() if str(series.dtype) in ("String", "Object", "Null") else series.to_numpy())


def _columns_by_name(df: Any, origin: str) -> dict[str, Any]:
    """Lower-case name -> the frame's own name; refuses two columns of one name."""
    names: dict[str, Any] = {}
    for own in df.columns:
        plain = str(own).strip().strip("<>").lower().replace(" ", "_")
        if plain in names:
            raise DataError(f"{origin}: columns {names[plain]!r} and {own!r} both mean {plain}; keep one")
        names[plain] = own
    return names


def _find_time(df: Any, names: Mapping[str, Any]) -> tuple[Any, set[str]] | None:
    """The times as a Series, and the names of the columns that they were in; None where there are none."""
    import pandas as pd

    if {"date", "time"} <= names.keys() and not {"timestamp", "datetime"} & names.keys():
        clock = df[names["time"]].astype(str)
        if clock.str.match(r"\d{1,2}:\d\d").all():  # a day in one column and the clock in another
            day = df[names["date"]].astype(str).str.replace(r"[./]", "-", regex=True)
            return day + " " + clock, {"date", "time"}
    for name in TIME_NAMES:
        if name in names:
            return df[names[name]], {name}
    if isinstance(df.index, pd.DatetimeIndex) or str(df.index.name).lower() in TIME_NAMES:
        return df.index.to_series(), set()
    unnamed = next((name for name in names if name == "" or name.startswith("unnamed:")), None)
    if unnamed is not None:  # pandas writes an index without a name so
        return df[names[unnamed]], {unnamed}
    return None


def _looks_headless(df: Any) -> bool:
    """Whether most column names are numbers: the file of an exchange without a header."""
    numeric = sum(str(name).replace(".", "").replace("-", "").isdigit() for name in df.columns)
    return numeric * 2 > len(df.columns) and all(isinstance(name, str) for name in df.columns)


def _listed(df: Any) -> str:
    shown = [str(name) for name in df.columns[:12]]
    return ", ".join(shown) + (", …" if len(df.columns) > len(shown) else "") if shown else "no columns"


def _numbers(column: Any, name: str, origin: str) -> FloatArray:
    """A column as float64, missing values as NaN; text that is no number is refused with its row."""
    import pandas as pd

    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        return np.ascontiguousarray(column.to_numpy(dtype=np.float64, na_value=np.nan))
    converted = pd.to_numeric(column.astype(str).where(column.notna()), errors="coerce")
    wrong = converted.isna().to_numpy() & column.notna().to_numpy()
    _refuse_rows(wrong, column, origin, f"{name} not a number", f"is no {name}; write digits and a decimal point")
    return np.ascontiguousarray(converted.to_numpy(dtype=np.float64, na_value=np.nan))


def parse_time(stamps: Any, *, origin: str, timezone: str | None, notes: list[str]) -> IntArray:
    """int64 UTC ns from a pandas Series of datetimes, dates, ISO text or epoch numbers; decisions go to `notes`.

    Raises `DataError` for forms that cannot be told apart, `BadBarsError` for mixed time zones and unreadable rows.
    """
    import pandas as pd

    _refuse_rows(stamps.isna().to_numpy(), stamps, origin, "time missing", "is no time; give one or remove the row")
    if pd.api.types.is_bool_dtype(stamps):
        raise DataError(f"{origin}: the time column holds true and false; give times")
    if pd.api.types.is_numeric_dtype(stamps):
        return _from_numbers(stamps, origin, timezone, notes)
    if not pd.api.types.is_datetime64_any_dtype(stamps):
        stamps = _from_text(stamps, origin, timezone)
    zone = stamps.dt.tz
    if zone is None:
        notes.append(f"times carry no time zone: taken as {timezone or 'UTC'}")
        stamps = _localize(stamps, timezone or "UTC", origin)
    elif str(zone) not in ("UTC", "UTC+00:00"):
        notes.append(f"times converted from {zone} to UTC")
    return _nanoseconds(stamps.dt.tz_convert("UTC").dt.tz_localize(None))


def _nanoseconds(stamps: Any) -> IntArray:
    values: IntArray = np.ascontiguousarray(stamps.to_numpy().astype("datetime64[ns]")).view(np.int64)
    return values


def _localize(stamps: Any, timezone: str, origin: str) -> Any:
    try:
        return stamps.dt.tz_localize(timezone)
    except (ValueError, KeyError) as error:  # an unknown zone, or an hour that the clocks skip or repeat
        raise DataError(f"{origin}: times cannot be read in time zone {timezone!r}: {error}") from error


def _from_numbers(stamps: Any, origin: str, timezone: str | None, notes: list[str]) -> IntArray:
    """Epoch numbers in one unit, told by their size; whole numbers from 19000101 to 22001231 are dates."""
    values = stamps.to_numpy(dtype=np.float64)
    _refuse_rows(~np.isfinite(values), stamps, origin, "time missing", "is no time; give one or remove the row")
    if values.min() >= 19_000_101 and values.max() <= 22_001_231 and not (values % 1).any():
        return _from_digits(stamps, origin, timezone, notes)
    if timezone is not None:
        raise DataError(f"{origin}: epoch times are UTC by definition; leave timezone={timezone!r} out")
    size = np.abs(values)
    unit, factor = "nanoseconds", 1
    low, high = 1e17, np.inf
    floor = 0.0
    for limit, per_unit, name in _EPOCH_UNITS:
        if size.max() < limit:
            unit, factor, low, high = name, per_unit, floor, limit
            break
        floor = limit
    odd = (size < low) | (size >= high)
    _refuse_rows(odd, stamps, origin, "mixed units", f"is not in epoch {unit} as the largest is; use one unit")
    notes.append(f"times are epoch {unit}, UTC")
    if stamps.dtype.kind in "iu":
        exact: IntArray = stamps.to_numpy(dtype=np.int64) * factor
        return exact
    whole = np.floor(values)  # the whole part apart: a float has no room for the nanoseconds of today
    time: IntArray = whole.astype(np.int64) * factor + np.rint((values - whole) * factor).astype(np.int64)
    return time


def _from_digits(stamps: Any, origin: str, timezone: str | None, notes: list[str]) -> IntArray:
    import pandas as pd

    days = pd.to_datetime(stamps.astype(np.int64).astype(str), format="%Y%m%d", errors="coerce")
    _refuse_rows(days.isna().to_numpy(), stamps, origin, "time unreadable", "is no date YYYYMMDD; correct the row")
    notes.append(f"times are dates written YYYYMMDD: taken as {timezone or 'UTC'}")
    return _nanoseconds(_localize(days, timezone or "UTC", origin).dt.tz_convert("UTC").dt.tz_localize(None))


def _from_text(stamps: Any, origin: str, timezone: str | None) -> Any:
    """Datetimes from ISO text, dates or datetime objects; all in one time zone, or `timezone` says they need not be."""
    import pandas as pd

    text = stamps if pd.api.types.is_string_dtype(stamps) else stamps.map(_as_text)
    with contextlib.suppress(ValueError):  # the quick way refuses unreadable rows and mixed zones, without naming them
        uniform = pd.to_datetime(text, format="ISO8601")
        if pd.api.types.is_datetime64_any_dtype(uniform):
            return uniform
    read = pd.to_datetime(text, format="ISO8601", errors="coerce", utc=True)
    _refuse_rows(read.isna().to_numpy(), stamps, origin, "time unreadable", _ISO_REMEDY)
    zone = text.str.extract(r"\d[T ]\d.*?(Z|[+-]\d\d(?::?\d\d)?)\s*$", expand=False).fillna("")
    zone = zone.str.replace(":", "").replace({"Z": "+0000", "-0000": "+0000"}).str.ljust(5, "0").replace("00000", "")
    first = zone.iloc[0]
    odd = (zone != first).to_numpy()
    if not odd.any():
        return read if first else read.dt.tz_localize(None)
    naive = bool((zone == "").any())
    if naive or timezone is None:
        remedy = "write all in UTC" + ("" if naive else ", or give a timezone to say that they may be converted")
        _refuse_rows(
            odd,
            stamps,
            origin,
            "mixed time zones",
            f"is not in the first row's zone ({first or 'none'}); {remedy}",
        )
    return read


def _as_text(stamp: Any) -> str:
    return str(stamp.isoformat()) if hasattr(stamp, "isoformat") else str(stamp)


def _refuse_rows(wrong: BoolArray, shown: Any, origin: str, rule: str, say: str) -> None:
    rows = np.flatnonzero(wrong)
    if len(rows):
        problems = [Problem(int(i) + 1, "", rule, f"{shown.iloc[int(i)]!s} {say} ({rule})") for i in rows[:LISTED]]
        raise bad_bars(origin, len(shown), problems, {rule: len(rows)})
