"""Finding bars by name: bundled samples, files, imported data and synthetic markets; cutting them to a window."""

from __future__ import annotations

import datetime as dt
import difflib
import io
import json
import os
import tempfile
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from genesis.errors import DataError
from genesis.market.bars import COLUMNS, Bars, resample
from genesis.market.reading import SUFFIXES, read_file
from genesis.market.synthetic import synthetic
from genesis.market.timeframe import DAY, parse_timeframe

When = str | dt.date | dt.datetime | np.datetime64


@dataclass(frozen=True, slots=True)
class Window:
    """Bars of a window with its warm-up in front; no entry may be decided before index `trade_from`."""

    bars: Bars
    trade_from: int


def data_home() -> Path:
    """Where imported data live: `data` in `$GENESIS_HOME`, which is `~/.genesis` unless set."""
    home = os.environ.get("GENESIS_HOME")
    return (Path(home).expanduser() if home else Path.home() / ".genesis") / "data"


def sample_names() -> tuple[str, ...]:
    """Names of the bundled samples, sorted."""
    folder = resources.files("genesis.market") / "samples"
    return tuple(
        sorted(entry.name.removesuffix(".parquet") for entry in folder.iterdir() if entry.name.endswith(".parquet"))
    )


def load_bars(
    source: str | os.PathLike[str] | Bars,
    *,
    timeframe: str | None = None,
    start: When | None = None,
    end: When | None = None,
) -> Bars:
    """Bars by name: `sample:IBM`, `synthetic:seed=7,bars=10000,timeframe=5m`, a file's path, or an imported name.

    A coarser `timeframe` than the stored one is resampled (noted); a finer one is refused. `start` and `end` are
    inclusive opening times, UTC unless they carry a zone; an `end` without a clock means the whole day. Bars that open
    after `end` are cut before resampling, so none of them leaks into a coarser bar.

    Raises `DataError` for what cannot be found or read and for an empty window, `BadBarsError` for bars that break a
    rule.

    >>> len(load_bars("sample:IBM", start="2003-01-01", end="2003-12-31"))
    252
    """
    bars = source if isinstance(source, Bars) else _find(source, timeframe)
    first, last = _instant(start, "start"), _instant(end, "end", last=True)
    if first is not None and last is not None and first >= last:
        raise DataError(f"start {start} is after end {end}; swap them")
    whole = bars
    if last is not None:
        bars = bars.between(None, last)
    if timeframe is not None and parse_timeframe(timeframe).name != bars.timeframe:
        bars = resample(bars, timeframe)
    if first is not None:
        bars = bars.between(first, None)
    if not len(bars):
        raise DataError(
            f"{whole.source or whole.symbol}: no {bars.timeframe} bars between {start or 'the beginning'} and {end or 'the end'}; "
            f"it has {len(whole):,} bars of {whole.timeframe}, {whole.index[0]:%Y-%m-%d} to {whole.index[-1]:%Y-%m-%d}"
        )
    return bars


def load_window(
    source: str | os.PathLike[str] | Bars,
    *,
    timeframe: str | None = None,
    start: When | None = None,
    end: When | None = None,
    warmup_bars: int = 0,
) -> Window:
    """The bars of start .. end with `warmup_bars` bars before them, as far as there are any.

    `trade_from` is always `warmup_bars`: where the data do not reach back far enough, the first bars of the window warm
    up and do not trade. Raises `DataError` as `load_bars` does, and when no bar is left to trade.
    """
    if warmup_bars < 0:
        raise DataError(f"warmup_bars is {warmup_bars}; give 0 or more")
    bars = load_bars(source, timeframe=timeframe, end=end)
    first = _instant(start, "start")
    opening = 0 if first is None else int(np.searchsorted(bars.time, first, side="left"))
    if opening >= len(bars):
        raise DataError(
            f"{bars.source or bars.symbol}: no bars between {start} and {end or 'the end'}; the last one is {bars.index[-1]}"
        )
    window = bars.slice(max(0, opening - warmup_bars), len(bars))
    if len(window) <= warmup_bars:
        raise DataError(
            f"{bars.source or bars.symbol}: {len(window):,} bars with warm-up and {warmup_bars:,} needed to warm up leave "
            "none to trade; lower warmup_bars or widen the window"
        )
    return Window(window, warmup_bars)


def _instant(value: When | None, name: str, *, last: bool = False) -> int | None:
    """UTC ns of an inclusive bound; for `last` the first instant after it."""
    if value is None:
        return None
    import pandas as pd

    try:
        stamp = pd.Timestamp(value)
    except (ValueError, TypeError) as error:
        raise DataError(f"{name} {value!r} is not a date or time such as 2010-12-31 or 2010-12-31T16:00:00Z") from error
    if stamp is pd.NaT:
        raise DataError(f"{name} {value!r} is not a date or time such as 2010-12-31")
    stamp = stamp.tz_localize("UTC") if stamp.tzinfo is None else stamp.tz_convert("UTC")
    moment = int(stamp.as_unit("ns").value)
    if not last:
        return moment
    whole_day = type(value) is dt.date or (isinstance(value, str) and ":" not in value)
    return moment + DAY if whole_day else moment + 1


def _find(source: str | os.PathLike[str], timeframe: str | None) -> Bars:
    name = os.fspath(source)
    if name.startswith("sample:"):
        return _sample(name.removeprefix("sample:"))
    if name.startswith("synthetic:") or name == "synthetic":
        return synthetic(name.partition(":")[2])
    path = Path(name).expanduser()
    if path.is_file():
        return read_bars(path)
    stored = data_home() / f"{name}.parquet"
    if "/" not in name and stored.is_file():
        return read_stored(stored)
    raise DataError(_not_found(name))


def read_bars(
    path: str | os.PathLike[str],
    *,
    timeframe: str | None = None,
    symbol: str | None = None,
    timezone: str | None = None,
) -> Bars:
    """Bars from a CSV, Parquet or Feather file (`.gz` too); see `Bars.from_frame` for the columns it takes."""
    path = Path(path)
    label = path.name.partition(".")[0] if symbol is None else symbol
    return Bars.from_frame(read_file(path), timeframe=timeframe, symbol=label, source=str(path), timezone=timezone)


def read_stored(path: Path | Any, *, source: str | None = None) -> Bars:
    """Bars from a Parquet file that Genesis wrote, with the label kept inside it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with path.open("rb") as stream:
            table = pq.read_table(stream)
        label = json.loads((table.schema.metadata or {})[b"genesis"])
        columns = {name: table[name].to_numpy() for name in COLUMNS}
        time = table["time"].cast(pa.int64()).to_numpy()
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{path}: not a data file that Genesis wrote ({error}); import it again") from error
    return Bars(
        time,
        **columns,
        timeframe=label["timeframe"],
        symbol=label["symbol"],
        synthetic=label["synthetic"],
        source=source or label["name"],
        notes=tuple(label["notes"]),
    )


def write_stored(path: Path, bars: Bars, *, name: str) -> None:
    """Write bars as Parquet with their label inside; the file appears whole or not at all."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    label = {
        "name": name,
        "symbol": bars.symbol,
        "timeframe": bars.timeframe,
        "synthetic": bars.synthetic,
        "rows": len(bars),
        "fingerprint": bars.fingerprint,
        "source": bars.source,
        "notes": list(bars.notes),
    }
    columns = {"time": pa.array(bars.time, pa.int64()).cast(pa.timestamp("ns", tz="UTC"))}
    columns |= {column: pa.array(getattr(bars, column)) for column in COLUMNS}
    table = pa.table(columns).replace_schema_metadata({"genesis": json.dumps(label)})
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", write_statistics=False)
    write_atomic(path, sink.getvalue())


def write_atomic(path: Path, content: bytes) -> None:
    """Replace `path` by `content`: a temporary file in the same folder, fsync, rename, fsync of the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _sample(name: str) -> Bars:
    entry = resources.files("genesis.market") / "samples" / f"{name.upper()}.parquet"
    if not name.isalnum() or not entry.is_file():
        raise DataError(f"sample {name!r} is unknown; the samples are {', '.join(sample_names())}")
    return read_stored(entry, source=f"sample:{name.upper()}")


def _not_found(name: str) -> str:
    """The message for a source that is nothing: what is near it, and what would be something."""
    folder = Path(name).expanduser().parent
    known = [f"sample:{sample}" for sample in sample_names()]
    home = data_home()
    known += sorted(p.stem for p in home.glob("*.parquet")) if home.is_dir() else []
    if folder.is_dir():
        known += [str(Path(name).with_name(p.name)) for p in sorted(folder.iterdir()) if p.suffix in (*SUFFIXES, ".gz")]
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    near = near or [k for k in known if k.lower() == f"sample:{name.lower()}"]
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    return (
        f"no bars called {name!r}{hint} Give sample:NAME ({', '.join(sample_names())}), a file, synthetic:seed=1,bars=10000,"
        f"timeframe=5m, or a name from `genesis data list`"
    )
