"""Pages of candles on their way into the store: appended durably one by one, so that a killed fetch loses none."""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from genesis.errors import DataError
from genesis.types import FloatArray, IntArray

ROW = np.dtype([("time", "<i8"), ("open", "<f8"), ("high", "<f8"), ("low", "<f8"), ("close", "<f8"), ("volume", "<f8")])
_HEAD = struct.Struct("<4sII")  # kind, length of the body in bytes, its CRC-32
_ABOUT, _PAGE = b"GABT", b"GPAG"


class PageJournal:
    """An append-only file of pages; `about` says what they belong to and is its first record.

    `append` returns after the page is on disk. A record cut short or damaged by a crash ends the journal: it and what
    follows are cut off when the journal is opened again. One process at a time holds it (where the system has flock).
    """

    def __init__(self, path: Path, stream: IO[bytes], about: dict[str, Any]) -> None:
        self._path = path
        self._stream = stream
        self.about = about
        self._pages: list[NDArray[Any]] = []

    @classmethod
    @contextmanager
    def open(cls, path: Path, about: Mapping[str, Any]) -> Iterator[PageJournal]:
        """Open or begin the journal; one that holds pages keeps its own `about`.

        Raises `DataError` when another process holds it.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b") as stream:
            _lock(stream, path)
            stream.seek(0)
            records = list(_records(stream.read()))
            journal = cls(path, stream, dict(about))
            pages = [np.frombuffer(body, ROW) for kind, body, _ in records if kind == _PAGE]
            if records and records[0][0] == _ABOUT and pages:
                journal.about, journal._pages = json.loads(records[0][1]), pages
                stream.truncate(records[-1][2])
            else:  # nothing in it yet: it belongs to whoever asks
                stream.truncate(0)
                journal._write(_ABOUT, json.dumps(journal.about).encode())
            yield journal

    def append(self, time: IntArray, columns: Mapping[str, FloatArray]) -> None:
        """Add one page; when this returns the page survives a crash."""
        page = np.empty(len(time), ROW)
        page["time"] = time
        for name, values in columns.items():
            page[name] = values
        self._write(_PAGE, page.tobytes())
        self._pages.append(page)

    def rows(self) -> NDArray[Any]:
        """All candles as one structured array, in the order they were appended."""
        return np.concatenate(self._pages) if self._pages else np.empty(0, ROW)

    @property
    def last(self) -> int | None:
        """The opening time (UTC ns) of the last candle."""
        return next((int(page["time"][-1]) for page in reversed(self._pages) if len(page)), None)

    def remove(self) -> None:
        """Delete the file: its candles are kept elsewhere by now."""
        self._path.unlink(missing_ok=True)

    def _write(self, kind: bytes, body: bytes) -> None:
        self._stream.seek(0, os.SEEK_END)
        self._stream.write(_HEAD.pack(kind, len(body), zlib.crc32(body)) + body)
        self._stream.flush()
        os.fsync(self._stream.fileno())


def _records(content: bytes) -> Iterator[tuple[bytes, bytes, int]]:
    """Each whole record as (kind, body, offset after it); stops at the first that is not."""
    offset = 0
    while offset + _HEAD.size <= len(content):
        kind, length, crc = _HEAD.unpack_from(content, offset)
        body = content[offset + _HEAD.size : offset + _HEAD.size + length]
        if kind not in (_ABOUT, _PAGE) or len(body) != length or zlib.crc32(body) != crc:
            return
        offset += _HEAD.size + length
        yield kind, body, offset


def _lock(stream: IO[bytes], path: Path) -> None:
    with suppress(ImportError):  # no flock on Windows: two fetches of one name are then the user's to avoid
        import fcntl

        try:
            fcntl.flock(stream.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise DataError(f"{path.name}: another fetch is writing it; wait for it or give another name") from error
