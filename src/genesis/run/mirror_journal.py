"""Append rows to an Optuna journal file as finished lines, under Optuna's own lock.

The journal's records are not public: this is used only with versions of Optuna whose records were checked.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from genesis.errors import ConfigError, StoreError
from genesis.run.mirror_rows import CREATED, NUMBER, Columns, Row
from genesis.run.mirror_sqlite import REPLACED
from genesis.trials.codec import json_dumps, json_loads

TORN = ".torn"
_LONGEST = 1 << 24
_BEGINNING = b'{"op_code"'
_DELETE_STUDY, _STUDY_USER_ATTR, _CREATE_TRIAL = 1, 2, 4
_STATES = {"COMPLETE": 1, "PRUNED": 2, "FAIL": 3}


class JournalWriter:
    """Adds rows to one study of a journal file; each batch is one write, behind a look at what others appended."""

    def __init__(self, path: str, study_id: int, created: float, columns: Columns) -> None:
        from optuna.storages.journal import JournalFileSymlinkLock

        self._file = Path(path)
        self._lock = JournalFileSymlinkLock(str(self._file))
        self._study = study_id
        self._created = created
        self._columns = columns
        self.torn = 0  # bytes of torn lines that were cut
        self._present: set[int] = set()
        self._read = 0  # bytes of the journal that were looked at
        self._ours = False  # whether the study is known to be this run's
        self._heads: dict[tuple[int, ...], bytes] = {}
        self._worker = f"genesis-{uuid.uuid4()}"

    def close(self) -> None:
        """Nothing stays open between batches."""

    def add(self, rows: Sequence[Row]) -> int:
        """Add the rows that the study does not have, all or none, and return how many there were."""
        self._look()  # what is long is read before the lock is held
        self._lock.acquire()
        try:
            self.torn += cut_locked(self._file)
            self._look()
            fresh = [row for row in rows if row.number not in self._present]
            if fresh:
                self._append(b"".join(self._line(row) for row in fresh))
                self._present.update(row.number for row in fresh)
            return len(fresh)
        finally:
            self._lock.release()

    def _look(self) -> None:
        """Learn what others have appended since the last look; raises `StoreError` when the study is another one."""
        with self._file.open("rb") as journal:
            if journal.seek(0, os.SEEK_END) < self._read:
                raise StoreError(REPLACED)
            journal.seek(self._read)
            for line in journal:
                if not line.endswith(b"\n"):  # being written, or torn
                    break
                self._learn(json_loads(line))
                self._read += len(line)
        if not self._ours:
            raise StoreError(REPLACED)

    def _learn(self, record: dict[str, Any]) -> None:
        if record.get("study_id") != self._study:
            return
        code = record["op_code"]
        if code == _CREATE_TRIAL:
            number = record.get("user_attrs", {}).get(NUMBER)
            if number is not None:
                self._present.add(number)
        elif code == _STUDY_USER_ATTR and CREATED in record["user_attr"]:
            self._ours = record["user_attr"][CREATED] == self._created
        elif code == _DELETE_STUDY:
            raise StoreError(REPLACED)

    def _append(self, lines: bytes) -> None:
        with self._file.open("ab") as journal:
            try:
                journal.write(lines)
                journal.flush()
                os.fsync(journal.fileno())
            except OSError as error:
                os.ftruncate(journal.fileno(), self._read)  # half a line would make the journal unreadable
                raise StoreError(
                    f"{self._file}: cannot be written ({error.strerror or error}); nothing of this batch was"
                ) from error
        self._read += len(lines)

    def _line(self, row: Row) -> bytes:
        paths = self._columns.paths
        said = json_dumps(
            {
                "state": _STATES[row.state],
                "value": row.value,
                "params": dict(zip((paths[j] for j in row.active), row.internal, strict=True)),
                "user_attrs": row.user,
                "system_attrs": {"constraints": row.constraints},
                "intermediate_values": {str(step): value for step, value in row.reports},
                "datetime_start": row.start.isoformat(timespec="microseconds"),
                "datetime_complete": row.complete.isoformat(timespec="microseconds"),
            }
        )
        return self._head(row.active) + said[1:] + b"\n"

    def _head(self, active: tuple[int, ...]) -> bytes:
        """What the lines of all trials with these parameters begin with."""
        head = self._heads.get(active)
        if head is None:
            columns = self._columns
            head = self._heads[active] = (
                orjson.dumps(
                    {
                        "op_code": _CREATE_TRIAL,
                        "worker_id": self._worker,
                        "study_id": self._study,
                        "distributions": {columns.paths[j]: columns.texts[j] for j in active},
                    }
                )[:-1]
                + b","
            )
        return head


def cut_torn_line(path: str | os.PathLike[str]) -> int:
    """Cut a journal's last line if it has no end, which a killed writer leaves; the bytes cut, 0 for a whole journal.

    A line appended behind it would make the whole journal unreadable. What is cut is added to `FILE.torn`. Optuna's own
    lock is held meanwhile, so a line that another process is writing is not taken for a torn one.
    """
    from optuna.storages.journal import JournalFileSymlinkLock

    file = Path(path)
    if not file.is_file() or _whole(file):
        return 0
    lock = JournalFileSymlinkLock(str(file))
    lock.acquire()
    try:
        return cut_locked(file)
    finally:
        lock.release()


def cut_locked(file: Path) -> int:
    """`cut_torn_line` for who holds the journal's lock."""
    if _whole(file):
        return 0
    content = file.read_bytes()
    end = content.rfind(b"\n") + 1
    require_journal(file)
    with Path(f"{file}{TORN}").open("ab") as kept:
        kept.write(content[end:] + b"\n")
        kept.flush()
        os.fsync(kept.fileno())
    with file.open("r+b") as journal:
        journal.truncate(end)
        os.fsync(journal.fileno())
    return len(content) - end


def require_journal(file: Path) -> None:
    """Raise `ConfigError` for a file that does not begin as a journal: its last line without an end is not torn.

    An empty file may become one.
    """
    with file.open("rb") as journal:
        first = journal.readline(_LONGEST)
    if first.endswith(b"\n"):
        try:
            record = json_loads(first)
        except ValueError:
            record = None
        ours = isinstance(record, dict) and "op_code" in record
    else:  # torn in its very first record
        ours = first[: len(_BEGINNING)] == _BEGINNING[: len(first)]
    if not ours:
        raise ConfigError(f"{file} is no journal of Optuna; it was left untouched, name another file")


def _whole(file: Path) -> bool:
    with file.open("rb") as journal:
        size = journal.seek(0, os.SEEK_END)
        if size == 0:
            return True
        journal.seek(-1, os.SEEK_END)
        return journal.read(1) == b"\n"
