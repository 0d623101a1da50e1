"""SQLite connections for the trial stores: one per thread and process, opened with pragmas that are checked, errors
translated at this one seam.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from genesis.errors import CorruptStoreError, StoreBusyError, StoreError

PAGE_BYTES = 16_384
_LAYOUT = 1
_HEADER = b"SQLite format 3\x00"
# Closing a connection that a forked child inherited would let the child checkpoint and delete the parent's WAL, so a
# child keeps the ones it got and never touches them.
_inherited: list[sqlite3.Connection] = []
_databases: weakref.WeakSet[Database] = weakref.WeakSet()


class Database:
    """A file of SQLite tables shared by threads and processes; `schema` is run once, inside a transaction.

    `kind` is written into the file, and a file of another kind or with foreign tables is refused untouched.

    Each thread of each process gets its own connection, opened at first use and kept. A process that was forked opens
    its own. Page size (16 KiB) is set before the first table and before WAL, which is when it holds.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        schema: tuple[str, ...],
        kind: int,
        create: bool = True,
        read_only: bool = False,
        busy_seconds: float = 60.0,
        cache_kib: int = 16_384,
    ) -> None:
        self.path = Path(path)
        self.read_only = read_only
        self._schema = schema
        self._kind = kind
        self._create = create
        self._busy_seconds = busy_seconds
        self._cache_kib = cache_kib
        self._lock = threading.Lock()
        self._local = threading.local()
        self._open: list[tuple[threading.Thread, sqlite3.Connection]] = []
        self._closed = False
        _databases.add(self)
        self._check_file()
        with self.errors():
            self.connection()

    def connection(self) -> sqlite3.Connection:
        """This thread's connection, opened on first use in this process."""
        held: sqlite3.Connection | None = getattr(self._local, "connection", None)
        return self._connect() if held is None else held

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Translate SQLite's and the file system's errors into `StoreError`s that say what to do."""
        try:
            yield
        except sqlite3.Error as exc:
            raise self._translate(exc) from exc
        except OSError as exc:
            raise StoreError(f"{self.path}: {exc.strerror or exc}; check the folder's permissions and space") from exc

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing: takes the write lock at once, commits at the end, rolls back on any exception."""
        if self.read_only:
            raise StoreError(f"{self.path}: opened read-only; open it for writing to change it")
        with self.errors():
            connection = self.connection()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:  # a full disk has rolled back already
                    connection.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Close every connection of this process; the last one out folds the WAL into the file."""
        self._closed = True
        with self.errors(), self._lock:
            while self._open:
                self._open.pop()[1].close()
            self._local = threading.local()

    def pragmas(self) -> dict[str, int | str]:
        """What this thread's connection really runs with, read back from SQLite."""
        names = ("journal_mode", "synchronous", "page_size", "temp_store", "cache_size", "busy_timeout", "mmap_size")
        with self.errors():
            connection = self.connection()
            rows = {name: connection.execute(f"PRAGMA {name}").fetchone() for name in names}
        return {name: row[0] for name, row in rows.items() if row is not None}

    def _check_file(self) -> None:
        with self.errors():
            if self.path.is_dir():
                raise StoreError(f"{self.path}: is a folder; name a file in it")
            if not self.path.parent.is_dir():
                raise StoreError(f"{self.path}: the folder {self.path.parent} does not exist; create it first")
            if not self.path.exists():
                if self._create and not self.read_only:
                    return
                raise StoreError(f"{self.path}: no such file; check the path")
            with self.path.open("rb") as file:
                head = file.read(len(_HEADER))
            if head and head != _HEADER:
                raise CorruptStoreError(
                    f"{self.path}: not a SQLite database (it begins with {head!r}); it was left untouched, "
                    "move it away or name another file"
                )

    def _connect(self) -> sqlite3.Connection:
        if self._closed:
            raise StoreError(f"{self.path}: the store is closed; open it again")
        with self._lock:
            for entry in [entry for entry in self._open if not entry[0].is_alive()]:
                self._open.remove(entry)
                entry[1].close()
            connection = self._open_connection()
            self._open.append((threading.current_thread(), connection))
            self._local.connection = connection
        return connection

    def _after_fork(self) -> None:
        _inherited.extend(connection for _, connection in self._open)
        self._open = []
        self._local = threading.local()
        self._lock = threading.Lock()

    def _open_connection(self) -> sqlite3.Connection:
        if self.read_only:
            return self._open_read_only()
        connection = self._raw_connection(self.path.absolute().as_uri() + "?mode=rwc")
        try:
            self._is_ours(connection)  # before anything is changed
            connection.execute(f"PRAGMA page_size={PAGE_BYTES}")
            self._switch_to_wal(connection)
            connection.execute("PRAGMA synchronous=NORMAL")
            self._tune(connection)
            self._make_tables(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _open_read_only(self) -> sqlite3.Connection:
        uri = self.path.absolute().as_uri()
        for query in ("?mode=ro", "?mode=ro&immutable=1"):
            connection = self._raw_connection(uri + query)
            try:
                ours = self._is_ours(connection)
            except sqlite3.OperationalError:
                connection.close()
                # A folder we may not write to cannot hold WAL's shared memory; without a WAL nothing can change.
                if "immutable" in query or self.path.with_name(self.path.name + "-wal").exists():
                    raise
            else:
                self._tune(connection)
                if not ours:
                    connection.close()
                    raise CorruptStoreError(f"{self.path}: holds no tables; nothing was ever stored in it, remove it")
                return connection
        raise AssertionError("unreachable")

    def _raw_connection(self, uri: str) -> sqlite3.Connection:
        return sqlite3.connect(
            uri,
            uri=True,
            timeout=self._busy_seconds,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=64,
        )

    def _switch_to_wal(self, connection: sqlite3.Connection) -> None:
        # Two processes creating the same file race for the switch, and SQLite answers "locked" without waiting.
        if connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal":
            return
        deadline = _Deadline(self._busy_seconds)
        while True:
            try:
                mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
            except sqlite3.OperationalError as exc:
                if "locked" not in str(exc) or deadline.passed():
                    raise
                deadline.pause()
            else:
                if mode != "wal":
                    raise StoreError(f"{self.path}: this file system cannot hold a WAL ({mode}); use a local folder")
                return

    def _tune(self, connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA temp_store=MEMORY")
        connection.execute(f"PRAGMA cache_size=-{self._cache_kib}")

    def _make_tables(self, connection: sqlite3.Connection) -> None:
        if self._is_ours(connection):
            return
        connection.execute("BEGIN IMMEDIATE")
        try:
            if not self._is_ours(connection):  # another process may have been first
                for statement in self._schema:
                    connection.execute(statement)
                connection.execute(f"PRAGMA application_id={self._kind}")
                connection.execute(f"PRAGMA user_version={_LAYOUT}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    def _is_ours(self, connection: sqlite3.Connection) -> bool:
        """True for a file of this kind, False for one with no tables yet; anything else is refused."""
        kind, layout, tables = connection.execute(
            "SELECT (SELECT application_id FROM pragma_application_id), "
            "(SELECT user_version FROM pragma_user_version), (SELECT count(*) FROM sqlite_master)"
        ).fetchone()
        if kind == self._kind and layout == _LAYOUT:
            return True
        if kind == self._kind and layout:
            raise StoreError(
                f"{self.path}: written in layout {layout}, this version reads {_LAYOUT}; use the newer one"
            )
        if kind or layout or tables:
            raise CorruptStoreError(
                f"{self.path}: a SQLite database of something else; it was left untouched, name another file"
            )
        return False

    def _translate(self, exc: sqlite3.Error) -> StoreError:
        text = str(exc)
        if "not a database" in text or "malformed" in text or "corrupt" in text:
            return CorruptStoreError(f"{self.path}: not a readable store ({text}); restore a copy or start a new one")
        if "full" in text:
            return StoreError(
                f"{self.path}: the disk is full; nothing of this batch was written and everything before it is safe, "
                "free some space and go on"
            )
        if "locked" in text or "busy" in text:
            return StoreBusyError(
                f"{self.path}: another process kept it locked for {self._busy_seconds:g} s; try again"
            )
        if "readonly" in text or "unable to open" in text:
            return StoreError(f"{self.path}: cannot be written ({text}); check the folder's permissions")
        return StoreError(
            f"{self.path}: cannot be read or written ({text}); everything kept before is safe, "
            "check the disk, its quota and limits, and go on"
        )


class _Deadline:
    """Wait a little longer each time, until a number of seconds has passed."""

    def __init__(self, seconds: float) -> None:
        self._event = threading.Event()
        self._left = seconds
        self._step = 0.001

    def passed(self) -> bool:
        return self._left <= 0

    def pause(self) -> None:
        self._event.wait(self._step)
        self._left -= self._step
        self._step = min(self._step * 2, 0.05)


def _disown_all() -> None:
    for database in list(_databases):
        database._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_disown_all)
