"""What a guard's file holds, kept in memory for as long as it is certain to be all of it.

A batch look-up in SQLite costs 0.4 to 0.8 µs a signature; in a Python set it costs a tenth. The set is right as long as
nobody else has written, and SQLite tells that for 4 µs a call: `PRAGMA data_version` changes with every commit of
another connection, of this process or any other. What this connection writes is told to the set, and checked too:
SQLite counts the rows it changes, and a change that was not told (an interrupted call, a failed transaction) ends it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from typing import Self

from genesis.trials.signatures import sig_of
from genesis.trials.sqlite import PAGE_BYTES

LIMIT_BYTES = 32 * 2**20  # 131,072 signatures of 64 digits; beyond, SQLite answers
_ROWS_A_PAGE = 200  # of 64 digits
_PATIENCE = 4
_ROWS_AT_ONCE = 4_096


class Front:
    """All signatures of the file, for the one thread that uses the connection `db`; empty until something is told."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._known: set[str] = set()
        self._bytes = 0
        self._version, self._changes = _seal(db)

    @classmethod
    def of_empty(cls, db: sqlite3.Connection) -> Self | None:
        """If the table is empty."""
        front = cls(db)
        return front if db.execute("SELECT 1 FROM signatures LIMIT 1").fetchone() is None else None

    @classmethod
    def read(cls, db: sqlite3.Connection) -> Self | None:
        """The table read, unless it is too long."""
        front = cls(db)  # sealed before it is read: it does not serve if somebody writes meanwhile
        with closing(db.execute("SELECT sig FROM signatures")) as cursor:
            while rows := cursor.fetchmany(_ROWS_AT_ONCE):
                if not front._keep([sig_of(row) for (row,) in rows]):
                    return None
        return front

    def belongs(self, db: sqlite3.Connection) -> bool:
        """True for the connection it was made with."""
        return db is self._db

    def serves(self, db: sqlite3.Connection) -> bool:
        """True if this is what a look into the file through `db` would find now."""
        return self.belongs(db) and self._bytes <= LIMIT_BYTES and (self._version, self._changes) == _seal(db)

    def answers(self, sigs: list[str]) -> dict[str, bool] | None:
        """Is it there, for each; None if one of them is not exactly a `str`."""
        if set(map(type, sigs)) != {str}:
            return None
        known = self._known
        return {sig: sig in known for sig in sigs}

    def added(self, db: sqlite3.Connection, sigs: list[str], changes: int) -> None:
        """These are in the file now: `db` saw to it by changing so many rows, and committed."""
        # Inside a transaction this is a call within a call (a signal's handler); what becomes of it is not known yet.
        if db is self._db and not db.in_transaction and set(map(type, sigs)) <= {str}:
            self._keep(sigs)
            self._changes += changes

    def removed(self, db: sqlite3.Connection, sig: str, changes: int) -> None:
        """This is not: `db` deleted so many rows, and committed."""
        if db is self._db and not db.in_transaction and type(sig) is str:
            if sig in self._known:
                self._known.discard(sig)
                self._bytes -= _size(sig)
            self._changes += changes

    def _keep(self, sigs: Iterable[str]) -> bool:
        new = set(sigs).difference(self._known)
        self._bytes += sum(map(_size, new))
        if self._bytes > LIMIT_BYTES:  # for good: it does not serve again
            self._known.clear()
            return False
        self._known |= new
        return True


def worth_reading(db: sqlite3.Connection, asked: int) -> bool:
    """True if so many signatures were looked up in the file that reading it all has become the smaller part.

    Reading a row takes as long as looking for one or two. After four looks a row, in a file that somebody else writes
    before the reading has paid, all looks together take half longer at worst than if it had never been read.
    """
    (pages,) = db.execute("PRAGMA page_count").fetchone()
    return bool(asked >= pages * _ROWS_A_PAGE * _PATIENCE and pages * PAGE_BYTES <= LIMIT_BYTES)


def _size(sig: str) -> int:
    """Bytes in memory at the most: a set's slots at their emptiest, the object, and its text, twice if not ASCII."""
    return 128 + (len(sig) if sig.isascii() else 8 * len(sig))


def _seal(db: sqlite3.Connection) -> tuple[int, int]:
    """Changes when somebody else commits (first) or this connection changes a row (second)."""
    return db.execute("PRAGMA data_version").fetchone()[0], db.total_changes
