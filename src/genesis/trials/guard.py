"""A set of signatures on disk that many threads and processes share: what was tried is not tried again.

Contract. A signature is any string. `add` and `claim` are atomic: of any number of callers exactly one is told True.
A batch is written whole or not at all, also when its process is killed. What a call returned from survives the death
of the process; a power cut may take the last calls, never half of one. A claim belongs to its process: `add` makes it
permanent, `release` and `remove` end it. If the process was killed or crashed, the next `claim` takes it over; if it
ended in order, its claims stand (it may have told someone else) until `recover` is asked for.
"""

from __future__ import annotations

import os
import socket
import sqlite3
import time
from collections.abc import Iterable
from contextlib import closing, suppress
from multiprocessing.util import Finalize
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson
import psutil

from genesis.errors import StoreError
from genesis.trials.front import Front, worth_reading
from genesis.trials.signatures import as_json, listed, parts, row_of, sig_of
from genesis.trials.sqlite import Database

_KIND = 0x47_4E_53_47  # "GNSG", SQLite's application_id
_SCHEMA = (
    # owner 0: tried; otherwise the claim of that owner
    "CREATE TABLE signatures (sig TEXT PRIMARY KEY, owner INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID",
    "CREATE INDEX claimed ON signatures (owner) WHERE owner <> 0",
    """CREATE TABLE owners (
        id INTEGER PRIMARY KEY AUTOINCREMENT, host TEXT NOT NULL, pid INTEGER NOT NULL, started REAL NOT NULL,
        last_claim REAL NOT NULL, left INTEGER NOT NULL DEFAULT 0)""",
)
_ADD = "ON CONFLICT (sig) DO UPDATE SET owner=0 WHERE owner<>0"
_FROM_JSON = "SELECT value FROM json_each(?)"
_SEEN = "SELECT 1 FROM signatures WHERE sig=?"
_START_SLACK = 2.0  # seconds; the kernel reports a start in ticks since a boot time that drifts


class NoDupeGuard:
    """Signatures already tried, in a SQLite file that threads and processes share (made with its folders if absent).

    `lease_seconds`: after so long without a claim the claims of a process on *another* host count as stale; a process
    of this host is looked up instead. Raises `StoreError` for a file that cannot be used or written.

    >>> guard = NoDupeGuard(sqlite_path=folder / "seen.db")
    >>> guard.add("a"), guard.add("a"), guard.seen("a"), guard.add_batch(["a", "b", "b"])
    (True, False, True, 1)
    """

    def __init__(
        self, sqlite_path: str | os.PathLike[str], *, lease_seconds: float = 3_600.0, busy_seconds: float = 120.0
    ) -> None:
        path = Path(sqlite_path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise StoreError(f"{path.parent}: cannot be made ({exc.strerror}); check its permissions") from exc
        self._lease = lease_seconds
        self._database = Database(path, schema=_SCHEMA, kind=_KIND, busy_seconds=busy_seconds)
        self._owner = (0, 0)  # (pid, id), of the process that last claimed through this object
        self._asked = 0  # signatures looked up in the file since it was last read
        with self._database.errors():
            self._front = Front.of_empty(self._database.connection())

    def add(self, sig: str) -> bool:
        """Mark as tried; True the first time. Confirms a claim, whoever holds it."""
        with self._database.errors():
            db = self._database.connection()
            changes = db.execute(
                f"INSERT INTO signatures (sig) VALUES (?) {_ADD}",  # noqa: S608 - a constant
                (row_of(sig),),
            ).rowcount
        if (front := self._front) is not None:
            front.added(db, [sig], changes)
        return changes == 1

    def add_batch(self, sigs: Iterable[str]) -> int:
        """Mark all as tried in one transaction; how many were new (repeats inside the batch count once)."""
        given = listed(sigs)
        with self._database.transaction() as db:
            before = db.total_changes
            for part in parts(given):
                text = as_json(part)
                if text is None:
                    db.executemany(
                        f"INSERT INTO signatures (sig) VALUES (?) {_ADD}",  # noqa: S608 - a constant
                        [(row_of(sig),) for sig in part],
                    )
                else:  # sorted, so that neighbours share a page
                    db.execute(
                        f"INSERT INTO signatures (sig) {_FROM_JSON} WHERE true ORDER BY value {_ADD}",
                        (text,),
                    )
            changes = db.total_changes - before
        if (front := self._front) is not None:
            front.added(db, given, changes)
        return changes

    def seen(self, sig: str) -> bool:
        """True if it was added or is claimed."""
        try:
            return self._database.connection().execute(_SEEN, (sig,)).fetchone() is not None
        except (sqlite3.Error, UnicodeEncodeError):
            with self._database.errors():
                return self._database.connection().execute(_SEEN, (row_of(sig),)).fetchone() is not None

    def seen_batch(self, sigs: Iterable[str]) -> dict[str, bool]:
        """`seen` for each, as of one moment per 50,000.

        Answered from memory (32 MiB at most) while nobody else writes, otherwise by the file.
        """
        given = listed(sigs)
        with self._database.errors():
            db = self._database.connection()
            front = self._front
            if front is not None and front.belongs(db):
                if front.serves(db):
                    answers = front.answers(given)
                    if answers is not None:
                        return answers
                else:
                    self._front = None
            answers = self._looked_up(db, given)
            self._asked += len(given)
            if worth_reading(db, self._asked):
                self._asked = 0
                self._front = Front.read(db)
        return answers

    def _looked_up(self, db: sqlite3.Connection, given: list[str]) -> dict[str, bool]:
        answers = dict.fromkeys(given, False)
        for part in parts(given):
            text = as_json(part)
            if text is None:
                answers.update((sig, db.execute(_SEEN, (row_of(sig),)).fetchone() is not None) for sig in part)
                continue
            # Positions instead of texts come back, as one JSON array: half the time of a row each. Asking in order,
            # by `IN` and signature by signature was measured to be no faster, 1.5 and 6 times slower.
            (positions,) = db.execute(
                "SELECT json_group_array(j.key) FROM json_each(?) j CROSS JOIN signatures s ON s.sig=j.value",
                (text,),
            ).fetchone()
            answers.update(dict.fromkeys(map(part.__getitem__, orjson.loads(positions)), True))
        return answers

    def remove(self, sig: str) -> bool:
        """Forget it, added or claimed; True if it was there."""
        with self._database.errors():
            db = self._database.connection()
            changes = db.execute("DELETE FROM signatures WHERE sig=?", (row_of(sig),)).rowcount
        if (front := self._front) is not None:
            front.removed(db, sig, changes)
        return changes == 1

    def claim(self, sig: str) -> bool:
        """True if nobody has added or claimed it: it is now this process's to try. Takes over a dead one's claim."""
        return bool(self.claim_batch((sig,)))

    def claim_batch(self, sigs: Iterable[str]) -> list[str]:
        """Those of `sigs` that are now this process's to try, in order, claimed in one transaction."""
        given = listed(sigs)
        with self._database.transaction() as db:
            before = db.total_changes
            owner = self._owner_id(db)
            mine: list[str] = []
            stale: dict[int, bool] = {}
            for sig in dict.fromkeys(given):
                row = row_of(sig)
                if db.execute("INSERT OR IGNORE INTO signatures VALUES (?,?)", (row, owner)).rowcount == 1:
                    mine.append(sig)
                    continue
                (holder,) = db.execute("SELECT owner FROM signatures WHERE sig=?", (row,)).fetchone()
                if holder in (0, owner):
                    continue
                if holder not in stale:
                    stale[holder] = self._is_dead(db, holder, in_order=False)
                if stale[holder]:
                    db.execute("UPDATE signatures SET owner=? WHERE sig=?", (owner, row))
                    mine.append(sig)
            db.execute("UPDATE owners SET last_claim=?, left=0 WHERE id=?", (time.time(), owner))
            changes = db.total_changes - before
        if (front := self._front) is not None:
            front.added(db, given, changes)
        if self._owner[0] != os.getpid():
            self._owner = (os.getpid(), owner)
            # Runs when this object goes and when the process ends in order, also a multiprocessing child, which
            # skips `atexit`; not when it is killed.
            Finalize(self, _leave, (self._database.path, owner), exitpriority=10)
        return mine

    def release(self, sig: str) -> bool:
        """Give a claim of this process back untried; True if there was one."""
        pid, owner = self._owner
        if pid != os.getpid():
            return False
        with self._database.errors():
            db = self._database.connection()
            changes = db.execute("DELETE FROM signatures WHERE sig=? AND owner=?", (row_of(sig), owner)).rowcount
        if changes and (front := self._front) is not None:
            front.removed(db, sig, changes)
        return changes == 1

    def recover(self) -> int:
        """Free every claim whose process is gone, in whatever way; how many there were."""
        with self._database.transaction() as db:
            holders = [row[0] for row in db.execute("SELECT DISTINCT owner FROM signatures WHERE owner<>0")]
            dead = [holder for holder in holders if self._is_dead(db, holder, in_order=True)]
            return sum(db.execute("DELETE FROM signatures WHERE owner=?", (holder,)).rowcount for holder in dead)

    def claims(self) -> list[str]:
        """Signatures claimed and not yet added."""
        with self._database.errors():
            rows = self._database.connection().execute("SELECT sig FROM signatures WHERE owner<>0 ORDER BY sig")
            return [sig_of(row) for (row,) in rows]

    def pragmas(self) -> dict[str, int | str]:
        """The settings this thread's connection runs with, read back from SQLite."""
        return self._database.pragmas()

    def close(self) -> None:
        """Close this process's connections; the file and the claims stay."""
        pid, owner = self._owner
        if pid == os.getpid():
            _leave(self._database.path, owner)
        self._database.close()
        self._front = None

    def __len__(self) -> int:
        with self._database.errors():
            return int(self._database.connection().execute("SELECT count(*) FROM signatures").fetchone()[0])

    def __contains__(self, sig: object) -> bool:
        return isinstance(sig, str) and self.seen(sig)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (self._database.path, self._lease)

    def _owner_id(self, db: sqlite3.Connection) -> int:
        pid, owner = self._owner
        if pid == os.getpid():
            return owner
        me = (socket.gethostname(), os.getpid(), psutil.Process().create_time())
        known = db.execute("SELECT id FROM owners WHERE host=? AND pid=? AND started=?", me).fetchone()
        if known is not None:
            return int(known[0])
        return int(
            db.execute(
                "INSERT INTO owners (host, pid, started, last_claim) VALUES (?,?,?,?)", (*me, time.time())
            ).lastrowid
            or 0
        )

    def _is_dead(self, db: sqlite3.Connection, owner: int, *, in_order: bool) -> bool:
        found = db.execute("SELECT host, pid, started, last_claim, left FROM owners WHERE id=?", (owner,)).fetchone()
        if found is None:
            return True
        host, pid, started, last_claim, left = found
        if left and not in_order:
            return False
        if host != socket.gethostname():
            return bool(time.time() - last_claim > self._lease)
        try:
            process = psutil.Process(pid)
            return bool(abs(process.create_time() - started) > _START_SLACK or process.status() == psutil.STATUS_ZOMBIE)
        except psutil.NoSuchProcess:
            return True
        except psutil.AccessDenied:  # it exists and is somebody else's
            return False


def _reopen(path: Path, lease_seconds: float) -> NoDupeGuard:
    return NoDupeGuard(path, lease_seconds=lease_seconds)


def _leave(path: Path, owner: int) -> None:
    # A courtesy at the end of a process: if it cannot be written, the claims count as those of a crashed one.
    with suppress(sqlite3.Error), closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True)) as db, db:
        db.execute("UPDATE owners SET left=1 WHERE id=?", (owner,))
