"""Bars in files: reading other people's CSV, Parquet and Feather, and keeping our own Parquet durably."""

from __future__ import annotations

import difflib
import gzip
import io
import json
import os
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from genesis.errors import DataError
from genesis.market.bars import COLUMNS, Bars

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

SUFFIXES = (".csv", ".txt", ".tsv", ".parquet", ".pq", ".feather", ".arrow")


def read_bars(
    path: str | os.PathLike[str],
    *,
    timeframe: str | None = None,
    symbol: str | None = None,
    timezone: str | None = None,
) -> Bars:
    """Bars from a `.csv`, `.txt`, `.tsv`, `.parquet`, `.pq`, `.feather` or `.arrow` file, also with `.gz`.

    Columns, times, `timeframe` and `timezone` are as in `Bars.from_frame`; `symbol` is the file's name unless given.
    Raises `DataError` when the file is missing, of another kind or unreadable, `BadBarsError` for rows that break a
    rule.
    """
    path = Path(path)
    label = path.name.partition(".")[0] if symbol is None else symbol
    return Bars.from_frame(read_file(path), timeframe=timeframe, symbol=label, source=str(path), timezone=timezone)


def read_file(path: str | os.PathLike[str]) -> Any:
    """The file's table as a pandas frame, its columns untouched."""
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file{_beside(path)}")
    kind = (path.with_suffix("") if path.suffix.lower() == ".gz" else path).suffix.lower()
    if kind not in SUFFIXES:
        raise DataError(f"{path}: {kind or 'no'} suffix; give one of {', '.join(SUFFIXES)}, or the same with .gz")
    try:
        with _opened(path) as stream:
            return _read(stream, kind)
    except (OSError, ValueError, EOFError, Warning) as error:  # parse errors of pyarrow and pandas are ValueErrors
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise DataError(f"{path}: cannot be read as {kind[1:]}: {reason}") from error


def _beside(path: Path) -> str:
    """A question that names the files like `path` in its folder, or nothing."""
    if not path.parent.is_dir():
        return ""
    names = [p.name for p in path.parent.iterdir() if p.suffix.lower() in (*SUFFIXES, ".gz")]
    near = difflib.get_close_matches(path.name, sorted(names), n=3)
    return f"; did you mean {' or '.join(str(path.with_name(name)) for name in near)}?" if near else ""


def _opened(path: Path) -> IO[bytes]:
    if path.suffix.lower() != ".gz":
        return path.open("rb")
    with gzip.open(path, "rb") as stream:
        return io.BytesIO(stream.read())


def _without_threads(content: bytes, kind: str) -> Any:
    """A Parquet or Feather file as a pandas frame, by this thread alone.

    A thread of Arrow's that is alive as the process ends can abort it ("terminate called without an active exception"),
    which happens where a command ends soon after it has read its bars.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    buffer = pa.py_buffer(content)
    if kind in (".parquet", ".pq"):
        table = pq.ParquetFile(buffer).read(use_threads=False)
    else:
        table = pa.ipc.open_file(buffer, options=pa.ipc.IpcReadOptions(use_threads=False)).read_all()
    return table.to_pandas(use_threads=False)


def _read(stream: IO[bytes], kind: str) -> Any:
    import pandas as pd

    if kind in (".parquet", ".pq", ".feather", ".arrow"):
        content = stream.read()
        if content[:4] == b"FEA1":  # Feather's first version, which is no Arrow file
            return pd.read_feather(io.BytesIO(content))
        return _without_threads(content, kind)
    head = stream.readline().decode("utf-8-sig", errors="replace")
    stream.seek(0)
    separator = max(",;\t|", key=head.count)  # the first wins a draw
    # before 3.1 the default parser could miss the nearest float by one unit in the last place
    old = tuple(int(part) for part in pd.__version__.split(".")[:2]) < (3, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)  # rows longer than the header would be cut short
        return pd.read_csv(
            stream,
            sep=separator,
            encoding="utf-8-sig",
            skipinitialspace=True,
            index_col=False,  # a column too many would become an index, and shift all others
            low_memory=False,
            float_precision="round_trip" if old else None,
        )


def write_stored(path: Path, bars: Bars, *, name: str, extra: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Keep bars as Parquet with their label inside, and the label beside it as JSON; returns the label.

    The Parquet file appears whole or not at all, and it alone is believed: the JSON is for people and other tools.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    label = {
        "name": name,
        "symbol": bars.symbol,
        "timeframe": bars.timeframe,
        "synthetic": bars.synthetic,
        "rows": len(bars),
        "first": str(bars.index[0]),
        "last": str(bars.index[-1]),
        "fingerprint": bars.fingerprint,
        "source": bars.source,
        "timezone": next((note for note in bars.notes if note.startswith("times ")), "times are UTC"),
        "notes": list(bars.notes),
        **(extra or {}),
    }
    columns = {"time": pa.array(bars.time, pa.int64()).cast(pa.timestamp("ns", tz="UTC"))}
    columns |= {column: pa.array(getattr(bars, column)) for column in COLUMNS}
    table = pa.table(columns).replace_schema_metadata({"genesis": json.dumps(label)})
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", write_statistics=False, write_page_checksum=True)
    write_atomic(path, sink.getvalue())
    write_atomic(path.with_suffix(".json"), (json.dumps(label, indent=2, ensure_ascii=False) + "\n").encode())
    return label


def read_stored(path: Path | Traversable, *, source: str | None = None) -> Bars:
    """Bars from a Parquet file that Genesis wrote; page checksums are verified, `source` replaces the label's name.

    Raises `DataError` when the file is not one, or is damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with path.open("rb") as stream:
            file = pq.ParquetFile(pa.py_buffer(stream.read()), page_checksum_verification=True)
        table = file.read(use_threads=False)  # see `_without_threads`
        label = json.loads((table.schema.metadata or {})[b"genesis"])
        # by DLPack: to_numpy would import pandas, half of the time that a first load takes
        columns: dict[str, Any] = {name: np.from_dlpack(table[name].combine_chunks()) for name in COLUMNS}
        time: Any = np.from_dlpack(table["time"].cast(pa.int64()).combine_chunks())
        named: dict[str, Any] = {key: label[key] for key in ("timeframe", "symbol", "synthetic", "notes")}
    except (OSError, ValueError, KeyError, TypeError, BufferError) as error:
        raise DataError(f"{path}: not a data file that Genesis wrote, or damaged ({error}); import it again") from error
    return Bars(time, **columns, **named, source=source or label["name"])


def read_label(path: Path) -> dict[str, Any]:
    """The label inside a Parquet file that Genesis wrote, without reading the bars."""
    import pyarrow.parquet as pq

    try:
        label = json.loads((pq.read_schema(path).metadata or {})[b"genesis"])
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{path}: not a data file that Genesis wrote, or damaged ({error}); import it again") from error
    if not isinstance(label, dict):
        raise DataError(f"{path}: its label is a {type(label).__name__}; import the data again")
    return label


def write_atomic(path: Path, content: bytes) -> None:
    """Replace `path` by `content`: temporary file in the same folder, fsync, rename, fsync of the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        mask = os.umask(0)
        os.umask(mask)
        Path(temporary).chmod(0o666 & ~mask)  # mkstemp makes files private; these follow the user's umask
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    if os.name == "nt":  # Windows opens no folders; its rename is durable as it is
        return
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
