"""Finding bars by name: bundled samples, files, imported data and synthetic markets; cutting them to a window."""

from __future__ import annotations

import datetime as dt
import difflib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from genesis.errors import BadBarsError, DataError
from genesis.market.bars import Bars, resample
from genesis.market.checks import iso
from genesis.market.files import SUFFIXES, read_bars, read_label, read_stored, write_stored
from genesis.market.synthetic import synthetic
from genesis.market.timeframe import DAY, fits, parse_timeframe

When = str | dt.date | dt.datetime | np.datetime64

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_DATE = re.compile(r"\s*\d{4}-\d\d-\d\d([T ]\d\d:\d\d.*)?\s*")


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
    return tuple(sorted(e.name.removesuffix(".parquet") for e in folder.iterdir() if e.name.endswith(".parquet")))


def load_bars(
    source: str | os.PathLike[str] | Bars,
    *,
    timeframe: str | None = None,
    start: When | None = None,
    end: When | None = None,
) -> Bars:
    """Bars by name: `sample:IBM`, `synthetic:seed=7,bars=10000,timeframe=5m`, a file's path, or an imported name.

    A `timeframe` coarser than the source's is resampled and noted; another that differs is refused. `start` and `end`
    are inclusive bounds of the opening time, UTC unless they carry a zone; an `end` without a clock means the whole
    day. Bars after `end` are cut before resampling, so no coarser bar contains any of them.

    Raises `DataError` for what cannot be found or read and for an empty window, `BadBarsError` for bars that break a
    rule.

    >>> len(load_bars("sample:IBM", start="2003-01-01", end="2003-12-31"))
    252
    """
    bars, first = _until_end(source, timeframe, start, end)
    window = bars.between(first, None)
    if not len(window):
        raise _nothing(bars, bars, start, end)
    return window


def _until_end(
    source: str | os.PathLike[str] | Bars, timeframe: str | None, start: When | None, end: When | None
) -> tuple[Bars, int | None]:
    """Every bar up to `end`, resampled, and `start` as an instant."""
    whole = source if isinstance(source, Bars) else _find(os.fspath(source), timeframe)
    first, stop = instant(start, "start"), instant(end, "end", last=True)
    if first is not None and stop is not None and first >= stop:
        raise DataError(f"start {start} is after end {end}; swap them")
    cut = whole.between(None, stop)
    bars = cut if timeframe is None else resample(cut, timeframe)
    if not len(bars):
        raise _nothing(bars, whole, start, end)
    return bars, first


def _nothing(bars: Bars, whole: Bars, start: When | None, end: When | None) -> DataError:
    return DataError(
        f"{whole.source or whole.symbol}: no {bars.timeframe} bars between {start or 'the beginning'} and "
        f"{end or 'the end'}; it has {_extent(whole)}; choose a window inside them"
    )


def load_window(
    source: str | os.PathLike[str] | Bars,
    *,
    timeframe: str | None = None,
    start: When | None = None,
    end: When | None = None,
    warmup_bars: int = 0,
) -> Window:
    """The bars of start .. end with `warmup_bars` bars before them, as far as there are any.

    `trade_from` is always `warmup_bars`: where the data do not reach back far enough, the first bars of the window
    warm up and do not trade. Raises `DataError` as `load_bars` does, and when no bar is left to trade.
    """
    if warmup_bars < 0:
        raise DataError(f"warmup_bars is {warmup_bars}; give 0 or more")
    bars, first = _until_end(source, timeframe, start, end)
    opening = 0 if first is None else int(np.searchsorted(bars.time, first, side="left"))
    if opening >= len(bars):
        raise _nothing(bars, bars, start, end)
    window = bars.slice(max(0, opening - warmup_bars), len(bars))
    if len(window) <= warmup_bars:
        raise DataError(
            f"{bars.source or bars.symbol}: {len(window):,} bars, of which {warmup_bars:,} warm up, leave none to "
            "trade; lower warmup_bars or widen the window"
        )
    return Window(window, warmup_bars)


def import_file(
    path: str | os.PathLike[str],
    *,
    name: str | None = None,
    timeframe: str | None = None,
    symbol: str | None = None,
    timezone: str | None = None,
    replace: bool = False,
) -> dict[str, Any]:
    """Check a file's bars and keep them in `data_home()` under `name` (the file's own unless given); returns the label.

    Raises `DataError` when the name is taken and `replace` is false, and as `read_bars` does.
    """
    bars = read_bars(path, timeframe=timeframe, symbol=symbol, timezone=timezone)
    name = Path(path).name.partition(".")[0] if name is None else name
    return keep_bars(bars, name, replace=replace)


def keep_bars(
    bars: Bars, name: str, *, replace: bool = False, extra: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Keep bars in `data_home()` under `name`; returns the label. The same bars again are no conflict."""
    if not len(bars):
        raise DataError(f"{name}: no bars to keep")
    path = stored_path(name)
    if path.exists() and not replace and read_label(path)["fingerprint"] != bars.fingerprint:
        raise DataError(f"{name} is kept already with other bars, in {path}; give another name, or replace it")
    make_home()
    return write_stored(path, bars, name=name, extra=extra)


def make_home() -> None:
    """Make `data_home()`; raises `DataError` that names the variable when it cannot be made."""
    home = data_home()
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or str(error)
        raise DataError(
            f"{home}: cannot be made ({reason}); set GENESIS_HOME to a folder that may be written"
        ) from error


def stored_path(name: str) -> Path:
    """The Parquet file of an imported name; raises `DataError` for a name that is no plain file name."""
    if not _NAME.fullmatch(name):
        raise DataError(f"name {name!r} is not allowed; use letters, digits, '.', '_' and '-', beginning with one")
    return data_home() / f"{name}.parquet"


def stored_names() -> tuple[str, ...]:
    """Names of the imported data, sorted."""
    home = data_home()
    return tuple(sorted(p.stem for p in home.glob("*.parquet"))) if home.is_dir() else ()


def listing() -> list[dict[str, Any]]:
    """One mapping per sample and imported name: source, symbol, timeframe, rows, first, last, synthetic, path.

    A file that cannot be read, and a fetch that was killed before its end, are listed with `error`.
    """
    folder = resources.files("genesis.market") / "samples"
    with resources.as_file(folder) as samples:
        found = [(f"sample:{name}", Path(samples) / f"{name}.parquet") for name in sample_names()]
        found += [(name, stored_path(name)) for name in stored_names()]
        entries = [_entry(source, path) for source, path in found]
    begun = {path.stem: str(path) for path in sorted(data_home().glob("*.part"))}
    started = "a fetch that did not end; the same command goes on with it"
    entries += [
        {"source": name, "path": path, "error": started}
        for name, path in begun.items()
        if not stored_path(name).exists()
    ]
    return entries


def _entry(source: str, path: Path) -> dict[str, Any]:
    try:
        label = read_label(path)
    except DataError as error:
        return {"source": source, "path": str(path), "error": str(error)}
    wanted = ("symbol", "timeframe", "rows", "first", "last", "synthetic", "fingerprint")
    return {"source": source, **{key: label[key] for key in wanted}, "path": str(path)}


def summary(bars: Bars) -> dict[str, Any]:
    """What there is to say about bars: identity, extent, price range, gaps and notes; ready for JSON."""
    gaps = [{"after": iso(g.after), "before": iso(g.before), "missing": g.missing} for g in bars.gaps]
    return {
        "source": bars.source,
        "symbol": bars.symbol,
        "timeframe": bars.timeframe,
        "synthetic": bars.synthetic,
        "rows": len(bars),
        "first": iso(int(bars.time[0])),
        "last": iso(int(bars.time[-1])),
        "lowest": float(bars.low.min()),
        "highest": float(bars.high.max()),
        "without_volume": int((bars.volume == 0).sum()),
        "fingerprint": bars.fingerprint,
        "notes": list(bars.notes),
        "missing": sum(g.missing for g in bars.gaps),
        "gaps": gaps,
    }


def check_source(source: str, *, timeframe: str | None = None, timezone: str | None = None) -> dict[str, Any]:
    """The summary of a source whose every bar was checked; kept bars are also compared with their fingerprint.

    Raises `BadBarsError` naming the rows that break a rule, `DataError` when the source cannot be found or read, or
    kept bars are not those that were imported.
    """
    path = Path(source).expanduser()
    if path.is_file():
        return summary(read_bars(path, timeframe=timeframe, timezone=timezone))
    bars = load_bars(source)
    if _NAME.fullmatch(source) and stored_path(source).is_file():
        expected = read_label(stored_path(source))["fingerprint"]
        if expected != bars.fingerprint:
            raise DataError(
                f"{source}: fingerprint {bars.fingerprint[:12]}…, {expected[:12]}… when imported; import it again"
            )
    return summary(bars if timeframe is None else resample(bars, timeframe))


def _extent(bars: Bars) -> str:
    if not len(bars):
        return f"no {bars.timeframe} bars"
    return f"{len(bars):,} bars of {bars.timeframe}, {bars.index[0]:%Y-%m-%d} to {bars.index[-1]:%Y-%m-%d}"


def instant(value: When | None, name: str, *, last: bool = False) -> int | None:
    """UTC ns of an inclusive bound called `name`; for `last`, the first instant after it.

    Raises `DataError` for what is no date or time.
    """
    if value is None:
        return None
    import pandas as pd

    text = isinstance(value, str)
    bad = DataError(f"{name} {value!r} is not a date or time; write it 2010-12-31 or 2010-12-31T16:00:00Z")
    if not isinstance(value, (str, dt.date, np.datetime64)) or (text and not _DATE.fullmatch(str(value))):
        raise bad
    try:
        stamp = pd.Timestamp(value)
        stamp = stamp.tz_localize("UTC") if stamp.tzinfo is None else stamp.tz_convert("UTC")
        moment = int(stamp.as_unit("ns").value)
    except (ValueError, TypeError) as error:  # also years that nanoseconds cannot name
        raise bad from error
    if pd.isna(stamp):
        raise bad
    if not last:
        return moment
    whole_day = (
        (text and ":" not in str(value))
        or type(value) is dt.date
        or (isinstance(value, np.datetime64) and np.datetime_data(value.dtype)[0] == "D")
    )
    return moment + DAY if whole_day else moment + 1


def _find(name: str, timeframe: str | None) -> Bars:
    if name.startswith("sample:"):
        return _sample(name.removeprefix("sample:"))
    if name == "synthetic" or name.startswith("synthetic:"):
        return synthetic(name.partition(":")[2])
    path = Path(name).expanduser()
    if path.is_file():
        return _from_path(path, timeframe)
    if _NAME.fullmatch(name) and stored_path(name).is_file():
        return read_stored(stored_path(name))
    raise DataError(_not_found(name))


def _from_path(path: Path, timeframe: str | None) -> Bars:
    """A file's bars in their own timeframe; the one asked for decides where the times leave it open."""
    try:
        bars = read_bars(path)
    except BadBarsError:
        raise
    except DataError:
        return read_bars(path, timeframe=timeframe)
    if timeframe is None or bars.timeframe == parse_timeframe(timeframe).name:
        return bars
    return read_bars(path, timeframe=timeframe) if fits(bars.time, parse_timeframe(timeframe)) else bars


def _sample(name: str) -> Bars:
    entry = resources.files("genesis.market") / "samples" / f"{name.upper()}.parquet"
    if not name.isalnum() or not entry.is_file():
        raise DataError(f"sample {name!r} is unknown; the samples are {', '.join(sample_names())}")
    return read_stored(entry, source=f"sample:{name.upper()}")


def _not_found(name: str) -> str:
    """The message for a source that is nothing: what is near it, and what would be something."""
    known = [*(f"sample:{sample}" for sample in sample_names()), *stored_names()]
    folder = Path(name).expanduser().parent
    if folder.is_dir():
        beside = (p for p in sorted(folder.iterdir()) if p.suffix.lower() in (*SUFFIXES, ".gz"))
        known += [str(Path(name).with_name(p.name)) for p in beside]
    near = [k for k in known if k.lower() == f"sample:{name.lower()}"]
    near = near or difflib.get_close_matches(name, known, n=3, cutoff=0.6)
    hint = f"; did you mean {' or '.join(near)}? Or give" if near else "; give"
    return (
        f"no bars called {name!r}{hint} sample:NAME (of {', '.join(sample_names())}), a file's path, "
        "synthetic:seed=1,bars=10000,timeframe=5m, or a name from `genesis data list`"
    )
