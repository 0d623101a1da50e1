"""Reading bars from the outside: CSV, Parquet and Feather files, pandas and polars frames, times in any usual form."""

from __future__ import annotations

import gzip
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from genesis.errors import BadBarsError, DataError
from genesis.market.checks import LISTED, PRICES, Problem, bad_bars
from genesis.types import FloatArray, IntArray

TIME_NAMES = ("timestamp", "datetime", "date", "time", "open_time")
SUFFIXES = (".csv", ".txt", ".tsv", ".parquet", ".pq", ".feather", ".arrow")
VOLUME_NAMES = ("volume", "vol", "tick_volume", "tickvol")
_UNITS = ((1e11, 1_000_000_000, "seconds"), (1e14, 1_000_000, "milliseconds"), (1e17, 1_000, "microseconds"))


@dataclass(frozen=True, slots=True)
class Parsed:
    """Columns read and converted, not yet checked: int64 UTC ns, float64 columns, and what was decided on the way."""

    time: IntArray
    columns: dict[str, FloatArray]
    notes: tuple[str, ...]


def read_file(path: str | Path) -> Any:
    """A pandas frame from a `.csv`, `.txt`, `.tsv`, `.parquet`, `.pq`, `.feather` or `.arrow` file, also with `.gz`.

    Raises `DataError` when the file is missing, of another kind, or cannot be read.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    kind = path.with_suffix("").suffix.lower() if path.suffix.lower() == ".gz" else path.suffix.lower()
    if kind not in SUFFIXES:
        raise DataError(f"{path}: {kind or 'no'} suffix; give one of {', '.join(SUFFIXES)}, or the same with .gz")
    try:
        with _opened(path) as stream:
            return _read(stream, kind)
    except (OSError, ValueError, EOFError) as error:  # pyarrow's and pandas' parse errors are ValueErrors
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise DataError(f"{path}: cannot be read as {kind[1:]}: {reason}") from error


def _opened(path: Path) -> IO[bytes]:
    if path.suffix.lower() != ".gz":
        return path.open("rb")
    with gzip.open(path, "rb") as stream:
        return io.BytesIO(stream.read())


def _read(stream: IO[bytes], kind: str) -> Any:
    import pandas as pd

    if kind in (".parquet", ".pq"):
        return pd.read_parquet(stream)
    if kind in (".feather", ".arrow"):
        return pd.read_feather(stream)
    head = stream.readline().decode("utf-8-sig", errors="replace")
    stream.seek(0)
    separator = max(",;\t|", key=head.count)  # the first wins a draw
    # round_trip: the default parser may miss the nearest float by one unit in the last place
    return pd.read_csv(stream, sep=separator, float_precision="round_trip", encoding="utf-8-sig", skipinitialspace=True)


def parse_frame(df: Any, *, origin: str, timezone: str | None = None) -> Parsed:
    """Find and convert the columns of a pandas or polars frame.

    Raises `DataError` when a column is missing or cannot be understood, `BadBarsError` for single rows that cannot.
    """
    df = _as_pandas(df, origin)
    names, notes = _columns_by_name(df, origin)
    if not len(df):
        raise DataError(f"{origin}: no bars; give at least one row")
    notes = list(notes)
    used: set[str] = set()
    stamps = _find_time(df, names, used, origin)
    time = parse_time(stamps, origin=origin, timezone=timezone, notes=notes)
    missing = [name for name in PRICES if name not in names]
    if missing:
        raise DataError(
            f"{origin}: no column {', '.join(missing)}; found {', '.join(map(str, df.columns)) or 'none'}; "
            "name the columns open, high, low, close (any case), volume if known, and a time"
        )
    columns = {name: _numbers(df[names[name]], name, time, origin) for name in PRICES}
    volume = next((name for name in VOLUME_NAMES if name in names), None)
    if volume is None:
        columns["volume"] = np.zeros(len(df))
        notes.append("no volume column: volume is 0")
    else:
        columns["volume"] = _numbers(df[names[volume]], "volume", time, origin)
    used |= {*PRICES, volume or ""}
    unused = [name for name in names if name not in used]
    if unused:
        notes.append(f"columns not used: {', '.join(unused)}")
    return Parsed(time, columns, tuple(notes))


def _as_pandas(df: Any, origin: str) -> Any:
    import pandas as pd

    if isinstance(df, pd.DataFrame):
        return df
    if type(df).__module__.partition(".")[0] == "polars":
        frame = df.collect() if hasattr(df, "collect") else df
        return pd.DataFrame({name: _polars_column(frame[name]) for name in frame.columns})
    raise DataError(f"{origin}: {type(df).__name__} is no table; give a pandas or polars DataFrame")


def _polars_column(series: Any) -> Any:
    """One polars column for pandas, without the bridge that needs polars' own pyarrow glue for plain numbers."""
    import pandas as pd

    kind = str(series.dtype)
    if kind.startswith("Datetime"):
        zone = getattr(series.dtype, "time_zone", None)
        stamps = pd.Series(series.dt.epoch("ns").to_numpy().astype("datetime64[ns]"))
        return stamps if zone is None else stamps.dt.tz_localize("UTC").dt.tz_convert(zone)
    if kind == "Date":
        return pd.Series(series.to_numpy().astype("datetime64[ns]"))
    return series.to_list() if kind in ("String", "Utf8", "Object") else series.to_numpy()


def _columns_by_name(df: Any, origin: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Lower-case name -> the frame's own name; refuses two columns of one name."""
    names: dict[str, Any] = {}
    for own in df.columns:
        plain = str(own).strip().strip("<>").lower().replace(" ", "_")
        if plain in names:
            raise DataError(f"{origin}: columns {names[plain]!r} and {own!r} both mean {plain}; keep one")
        names[plain] = own
    return names, ()


def _find_time(df: Any, names: Mapping[str, Any], used: set[str], origin: str) -> Any:
    """The column (or index) that holds the times."""
    import pandas as pd

    if "date" in names and "time" in names and "timestamp" not in names and "datetime" not in names:
        clock = df[names["time"]]
        if not pd.api.types.is_numeric_dtype(clock) and clock.astype(str).str.match(r"^\d{1,2}:\d\d").all():
            used |= {"date", "time"}
            return df[names["date"]].astype(str).str.replace(".", "-", regex=False) + " " + clock.astype(str)
    for name in TIME_NAMES:
        if name in names:
            used.add(name)
            return df[names[name]]
    if isinstance(df.index, pd.DatetimeIndex):
        return df.index.to_series()
    if df.index.name and str(df.index.name).lower() in TIME_NAMES:
        return df.index.to_series()
    unnamed = next((name for name in names if name == "" or name.startswith("unnamed:")), None)
    if unnamed is not None:  # to_csv writes an index without a name so
        used.add(unnamed)
        return df[names[unnamed]]
    raise DataError(
        f"{origin}: no time; found columns {', '.join(map(str, df.columns)) or 'none'}; "
        f"name one of them {', '.join(TIME_NAMES)}, or give a DatetimeIndex"
    )


def _numbers(column: Any, name: str, time: IntArray, origin: str) -> FloatArray:
    """A column as float64; text that is no number is refused with its row."""
    import pandas as pd

    if not pd.api.types.is_numeric_dtype(column):
        converted = pd.to_numeric(column, errors="coerce")
        wrong = np.flatnonzero(converted.isna().to_numpy() & ~column.isna().to_numpy())
        if len(wrong):
            problems = [
                Problem(
                    int(i) + 1,
                    "",
                    f"{name} not a number",
                    f"{name} {column.iloc[int(i)]!r} is not a number; give digits and a point",
                )
                for i in wrong[:LISTED]
            ]
            raise bad_bars(origin, len(column), problems, len(wrong), {f"{name} not a number": len(wrong)})
        column = converted
    return np.ascontiguousarray(column.to_numpy(dtype=np.float64, na_value=np.nan))


def parse_time(stamps: Any, *, origin: str, timezone: str | None, notes: list[str]) -> IntArray:
    """int64 UTC ns from a pandas Series of datetimes, dates, ISO text or epoch numbers; decisions go to `notes`.

    Raises `DataError` for forms that cannot be told apart, `BadBarsError` for mixed time zones or unreadable rows.
    """
    import pandas as pd

    if pd.api.types.is_bool_dtype(stamps):
        raise DataError(f"{origin}: the time column holds true/false; give times")
    if pd.api.types.is_numeric_dtype(stamps):
        return _from_epoch(stamps, origin, timezone, notes)
    if not pd.api.types.is_datetime64_any_dtype(stamps):
        stamps = _from_text(stamps, origin, timezone)
    _refuse_rows(stamps.isna().to_numpy(), stamps, origin, "time missing", "no time; give one or remove the row")
    zone = stamps.dt.tz
    if zone is None:
        if timezone is None:
            notes.append("times carry no time zone: taken as UTC")
        else:
            notes.append(f"times carry no time zone: taken as {timezone}")
            stamps = _localize(stamps, timezone, origin)
    elif str(zone) not in ("UTC", "UTC+00:00"):
        notes.append(f"times converted from {zone} to UTC")
    plain = stamps if stamps.dt.tz is None else stamps.dt.tz_convert("UTC").dt.tz_localize(None)
    return np.ascontiguousarray(plain.to_numpy().astype("datetime64[ns]").astype(np.int64))


def _localize(stamps: Any, timezone: str, origin: str) -> Any:
    try:
        return stamps.dt.tz_localize(timezone)
    except (ValueError, KeyError, LookupError) as error:
        raise DataError(f"{origin}: times cannot be read in time zone {timezone!r}: {error}") from error


def _from_epoch(stamps: Any, origin: str, timezone: str | None, notes: list[str]) -> IntArray:
    values = stamps.to_numpy(dtype=np.float64, na_value=np.nan)
    _refuse_rows(~np.isfinite(values), stamps, origin, "time missing", "no time; give one or remove the row")
    if timezone is not None:
        raise DataError(f"{origin}: epoch times are UTC by definition; leave timezone={timezone!r} out")
    low, high = values.min(), values.max()
    if low >= 19_000_101 and high <= 22_001_231 and (values % 1 == 0).all():
        notes.append("times are dates written YYYYMMDD, taken as UTC")
        return _dates_in_digits(values, stamps, origin)
    scale, unit = 1, "nanoseconds"
    for limit, factor, name in _UNITS:
        if high < limit:
            scale, unit = factor, name
            break
    below = {1_000_000_000: -1e11, 1_000_000: 1e11, 1_000: 1e14, 1: 1e17}[scale]
    strange = values < below
    _refuse_rows(strange, stamps, origin, "time in another unit", f"not epoch {unit} like the largest; use one unit")
    notes.append(f"times are epoch {unit}, UTC")
    if values.dtype == np.float64 and not np.issubdtype(
        stamps.dtype if isinstance(stamps.dtype, np.dtype) else np.float64, np.integer
    ):
        return np.rint(values * scale).astype(np.int64)
    return stamps.to_numpy(dtype=np.int64) * scale


def _dates_in_digits(values: FloatArray, stamps: Any, origin: str) -> IntArray:
    import pandas as pd

    parsed = pd.Series(pd.to_datetime(pd.Series(values.astype(np.int64).astype(str)), format="%Y%m%d", errors="coerce"))
    _refuse_rows(parsed.isna().to_numpy(), stamps, origin, "time unreadable", "no date YYYYMMDD; correct the row")
    return np.ascontiguousarray(parsed.to_numpy().astype("datetime64[ns]").astype(np.int64))


def _from_text(stamps: Any, origin: str, timezone: str | None) -> Any:
    """Datetimes from ISO text or datetime objects; one time zone for all of them, or `timezone` to bring them to."""
    import pandas as pd

    text = stamps.map(
        lambda s: s if isinstance(s, str) or s is None or s != s else getattr(s, "isoformat", s.__str__)()
    )
    read = pd.to_datetime(text, format="ISO8601", errors="coerce", utc=True)
    unreadable = read.isna().to_numpy()
    _refuse_rows(
        unreadable,
        stamps,
        origin,
        "time unreadable",
        "is no ISO time; write 2024-01-31, 2024-01-31T14:30:00Z or epoch seconds",
    )
    zone = text.str.extract(r"[T ]\d.*?(Z|[+-]\d\d(?::?\d\d)?)$", expand=False).fillna("")
    zone = zone.replace({"Z": "+00:00", "+0000": "+00:00", "-00:00": "+00:00", "+00": "+00:00"})
    if zone.nunique() == 1:
        return read.dt.tz_localize(None) if zone.iloc[0] == "" else read
    odd = (zone != zone.iloc[0]).to_numpy()
    naive = (zone == "").any()
    if timezone is not None and not naive:
        return read
    first = zone.iloc[0] or "no time zone"
    remedy = (
        "write all times in UTC" if naive else "write all times in UTC, or give timezone= to accept and convert them"
    )
    _refuse_rows(odd, stamps, origin, "mixed time zones", f"differs from the first row's ({first}); {remedy}")
    raise AssertionError("unreachable: some row differs")


def _refuse_rows(wrong: Any, stamps: Any, origin: str, rule: str, say: str) -> None:
    rows = np.flatnonzero(wrong)
    if len(rows):
        problems = [Problem(int(i) + 1, str(stamps.iloc[int(i)]), rule, f"{rule}: {say}") for i in rows[:LISTED]]
        raise bad_bars(origin, len(stamps), problems, len(rows), {rule: len(rows)})


__all__ = ["SUFFIXES", "TIME_NAMES", "BadBarsError", "Parsed", "parse_frame", "parse_time", "read_file"]
