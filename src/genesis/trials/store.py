"""The durable results of one run: `run.db` in its folder, one writer, any number of readers.

Contract. `append` is one transaction: all of its trials, duplicates, events and the snapshot are there after it
returns, or none is. What it returned from survives the death of the process (`kill -9`); a power cut may take the last
transactions and never leaves half of one, and the trials it took are run again with the same answers. A trial number
and a key are stored at most once: a second append raises and changes nothing. Absent numbers raise, absent meta is
None.

That a key is new is looked up in the writer's memory, which its lock makes sufficient: an index over random keys would
cost as much as all the rest of a transaction, since every trial of it touches another page.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from genesis.errors import CorruptStoreError, StoreError
from genesis.trials.codec import json_dumps, json_loads
from genesis.trials.lock import RunLock
from genesis.trials.payload import PayloadCache, decode_result, encode_result, result_marks
from genesis.trials.sqlite import Database
from genesis.types import FloatArray, Int8Array, IntArray, TrialResult

if TYPE_CHECKING:
    import pandas as pd

STATES = ("complete", "failed", "pruned")  # the code in `trials.state` is the position
DEFAULT_CACHE_BYTES = 32 * 1024 * 1024
_CHUNK = 2_000  # rows at a time: what fits the processor's cache is turned into columns twice as fast as all at once
_KEY_BYTES = 32
_KIND = 0x47_4E_53_52  # "GNSR", SQLite's application_id

_SCHEMA = (
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
    """CREATE TABLE trials (
        number INTEGER PRIMARY KEY, generation INTEGER NOT NULL, key BLOB NOT NULL, state INTEGER NOT NULL,
        score REAL, violation REAL NOT NULL, vector BLOB NOT NULL, origin TEXT NOT NULL)""",
    # Apart from `trials`, so that reading every key does not read every payload.
    "CREATE TABLE payloads (number INTEGER PRIMARY KEY, body BLOB NOT NULL)",
    """CREATE TABLE duplicates (
        id INTEGER PRIMARY KEY, generation INTEGER NOT NULL, position INTEGER NOT NULL, original INTEGER NOT NULL,
        cause TEXT NOT NULL, origin TEXT NOT NULL)""",
    "CREATE TABLE events (id INTEGER PRIMARY KEY, body BLOB NOT NULL)",
    "CREATE TABLE snapshots (generation INTEGER PRIMARY KEY, body BLOB NOT NULL)",
    "CREATE TABLE claims (key BLOB PRIMARY KEY, generation INTEGER NOT NULL) WITHOUT ROWID",
)


@dataclass(frozen=True, slots=True)
class Stored:
    """A result with the point it came from: `vector` float64[d] in column order, `origin` who proposed it."""

    result: TrialResult
    vector: FloatArray
    origin: str


@dataclass(frozen=True, slots=True)
class Duplicate:
    """A proposal that was not run: the value of trial `number_of_original` was replayed; `origin` proposed it."""

    generation: int
    position: int
    number_of_original: int
    cause: str
    origin: str = ""


@dataclass(frozen=True)
class History:
    """Every trial's columns, in trial order, m trials of d coordinates.

    `scores` float64[m], NaN undefined; `violation` float64[m], the sum of amounts (0: none failed); `states` int8[m],
    positions in `STATES`; `keys` the 32 raw bytes of each trial key.
    """

    numbers: IntArray
    generations: IntArray
    keys: list[bytes]
    states: Int8Array
    scores: FloatArray
    violation: FloatArray
    vectors: FloatArray
    origins: list[str]

    def __len__(self) -> int:
        return len(self.keys)

    @cached_property
    def index(self) -> dict[bytes, int]:
        """Trial number by raw key."""
        return dict(zip(self.keys, self.numbers.tolist(), strict=True))

    def number_of(self, key: str) -> int | None:
        """The number of the trial with this key (64 hex digits), None if it was never run."""
        return self.index.get(bytes.fromhex(key))


@dataclass(frozen=True, slots=True)
class Integrity:
    """What a check of the whole store found; `problems` is empty when it is sound."""

    trials: int
    problems: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """No problem was found."""
        return not self.problems


class RunStore:
    """The results of one run; see the module for the contract. Use it as a context manager, or call `close`."""

    def __init__(self, run_dir: Path, database: Database, lock: RunLock | None, cache_bytes: int) -> None:
        self.run_dir = run_dir
        self._database = database
        self._lock = lock
        self._payloads = PayloadCache(cache_bytes)
        self._writing = threading.Lock()
        self._keys: set[bytes] | None = None  # of all stored trials, once a writer needs them
        self._claimed = False

    @classmethod
    def create(
        cls, run_dir: str | os.PathLike[str], study: Mapping[str, Any], *, cache_bytes: int = DEFAULT_CACHE_BYTES
    ) -> Self:
        """A new store for `study` (JSON values); the folder is made. `StoreError` if it holds a run already."""
        folder = Path(run_dir)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise StoreError(f"{folder}: cannot be made ({exc.strerror}); check the path and its permissions") from exc
        lock = RunLock(folder / "run.lock")
        store = cls._attach(folder, lock, cache_bytes, create=True)
        with _closing_on_error(store):
            store._begin(study)
        return store

    @classmethod
    def open(
        cls, run_dir: str | os.PathLike[str], *, read_only: bool = False, cache_bytes: int = DEFAULT_CACHE_BYTES
    ) -> Self:
        """The store of an existing run; a writer takes the run's lock (`StoreBusyError`) and frees stale claims."""
        folder = Path(run_dir)
        path = folder / "run.db"
        if not path.is_file():
            raise StoreError(f"{folder}: no run is stored here (there is no run.db); check the run_id")
        lock = None if read_only else RunLock(folder / "run.lock")
        store = cls._attach(folder, lock, cache_bytes, create=False)
        with _closing_on_error(store):
            store._go_on()
        return store

    @classmethod
    def _attach(cls, folder: Path, lock: RunLock | None, cache_bytes: int, *, create: bool) -> Self:
        try:
            database = Database(folder / "run.db", schema=_SCHEMA, kind=_KIND, create=create, read_only=lock is None)
            return cls(folder, database, lock, cache_bytes)
        except BaseException:
            if lock is not None:
                lock.release()
            raise

    def _begin(self, study: Mapping[str, Any]) -> None:
        if self._meta_raw("study") is not None:
            raise StoreError(f"{self.run_dir}: holds a run already; resume it or choose another run_id")
        self.set_meta("study", dict(study))

    def _go_on(self) -> None:
        if self._meta_raw("study") is None:
            raise CorruptStoreError(
                f"{self.run_dir}: run.db holds no study; the run was never begun, remove the folder"
            )
        if self._lock is not None:
            self.free_claims()

    def close(self) -> None:
        """Fold the write-ahead log into the file and let the next writer in."""
        self._database.close()
        if self._lock is not None:
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def study(self) -> dict[str, Any]:
        """The study this run was created with."""
        study = self.meta("study")
        if not isinstance(study, dict):
            raise CorruptStoreError(f"{self.run_dir}: its study cannot be read; restore run.db from a copy")
        return study

    @property
    def count(self) -> int:
        """How many trials are stored."""
        return int(self._rows("SELECT count(*) FROM trials")[0][0])

    def append(
        self,
        batch: Sequence[Stored],
        *,
        duplicates: Sequence[Duplicate] = (),
        events: Sequence[Mapping[str, Any]] = (),
        snapshot: tuple[int, bytes] | None = None,
    ) -> None:
        """Keep all of it or nothing, durably; frees the claims of the batch. Raises `StoreError` on a repeated key."""
        heads = [_head(item) for item in batch]
        bodies = [(item.result.number, encode_result(item.result)) for item in batch]
        said = [(json_dumps(dict(event)),) for event in events]
        repeats = [(d.generation, d.position, d.number_of_original, d.cause, d.origin) for d in duplicates]
        with self._writing:
            fresh = self._new_keys(heads)
            with self._database.transaction() as db:
                try:
                    db.executemany("INSERT INTO trials VALUES (?,?,?,?,?,?,?,?)", heads)
                except sqlite3.IntegrityError as exc:
                    raise self._repeated(exc) from exc
                db.executemany("INSERT INTO payloads VALUES (?,?)", bodies)
                if self._claimed:
                    db.executemany("DELETE FROM claims WHERE key=?", [(key,) for key in fresh])
                if repeats:
                    db.executemany(
                        "INSERT INTO duplicates (generation, position, original, cause, origin) VALUES (?,?,?,?,?)",
                        repeats,
                    )
                if said:
                    db.executemany("INSERT INTO events (body) VALUES (?)", said)
                if snapshot is not None:
                    db.execute("DELETE FROM snapshots")
                    db.execute("INSERT INTO snapshots VALUES (?,?)", snapshot)
            if fresh:
                self._stored_keys().update(fresh)

    def _new_keys(self, heads: Sequence[tuple[Any, ...]]) -> set[bytes]:
        """The keys of a batch; raises `StoreError` if one is twice in it or stored."""
        fresh = {head[2] for head in heads}
        if len(fresh) < len(heads):
            raise self._repeated("the same key twice")
        if heads and not fresh.isdisjoint(self._stored_keys()):
            number = next(head[0] for head in heads if head[2] in self._stored_keys())
            raise self._repeated(f"the key of trial {number}")
        return fresh

    def _stored_keys(self) -> set[bytes]:
        if self._keys is None:
            self._keys = {key for (key,) in self._rows("SELECT key FROM trials")}
        return self._keys

    def _repeated(self, what: object) -> StoreError:
        return StoreError(
            f"{self.run_dir}: a trial of this batch is stored already ({what}); nothing of it was written"
        )

    def history(self) -> History:
        """All columns of all trials; payloads stay on disk."""
        with self._database.errors():
            cursor = self._database.connection().execute(
                "SELECT number, generation, key, state, score, violation, vector, origin FROM trials ORDER BY number"
            )
            parts: list[History] = []
            while rows := cursor.fetchmany(_CHUNK):
                parts.append(_columns(rows))
        history = _join(parts)
        if self._lock is not None:
            with self._writing:
                if self._keys is None:  # so nothing was appended since
                    self._keys = set(history.keys)
        return history

    def result(self, number: int) -> TrialResult:
        """One trial, whole; `StoreError` if no trial has this number."""
        body = self._payloads.get(number)
        if body is None:
            rows = self._rows("SELECT body FROM payloads WHERE number=?", (number,))
            if not rows:
                if self._rows("SELECT 1 FROM trials WHERE number=?", (number,)):
                    raise CorruptStoreError(
                        f"{self.run_dir}: the stored result of trial {number} is lost; restore run.db from a copy "
                        f"(genesis doctor {self.run_dir} says what else is damaged)"
                    )
                raise StoreError(f"{self.run_dir}: no trial {number}; {self.count} are stored")
            body = rows[0][0]
            assert isinstance(body, bytes)
            self._payloads.keep(number, body)
        return decode_result(number, body)

    def results(self, numbers: Iterable[int] | None = None) -> Iterator[TrialResult]:
        """Whole trials in trial order (or in the order of `numbers`), read as they are asked for."""
        if numbers is not None:
            for number in numbers:
                yield self.result(int(number))
            return
        after = -(2**63)
        while True:
            rows = self._rows("SELECT number, body FROM payloads WHERE number>? ORDER BY number LIMIT 512", (after,))
            if not rows:
                return
            for number, body in rows:
                yield decode_result(number, body)
            after = rows[-1][0]

    def marks(self, count: int) -> Iterator[tuple[str | None, bool]]:
        """The hash of the fills (None without) and whether it made no trade, of each of the first `count` trials."""
        after, left = -(2**63), count
        while left > 0:
            rows = self._rows(
                "SELECT number, body FROM payloads WHERE number>? ORDER BY number LIMIT ?", (after, min(left, _CHUNK))
            )
            if not rows:
                return
            for number, body in rows:
                yield result_marks(number, body)
            after, left = rows[-1][0], left - len(rows)

    def raw(self, first: int, limit: int) -> list[tuple[int, int, float | None, bytes, str, bytes | None]]:
        """At most `limit` trials from number `first` on: number, code in `STATES`, score, vector, origin, payload.

        The payload is None where a damaged file has lost it.
        """
        return self._rows(
            "SELECT number, state, score, vector, origin, body FROM trials LEFT JOIN payloads USING (number) "
            "WHERE number>=? ORDER BY number LIMIT ?",
            (first, limit),
        )

    def duplicates(self) -> list[Duplicate]:
        """Every proposal that was not run, in the order it was recorded."""
        rows = self._rows("SELECT generation, position, original, cause, origin FROM duplicates ORDER BY id")
        return [Duplicate(*row) for row in rows]

    def events(self) -> list[dict[str, Any]]:
        """Every event, in the order it was recorded."""
        return [self._parse(body, "an event") for (body,) in self._rows("SELECT body FROM events ORDER BY id")]

    def snapshot(self) -> tuple[int, bytes] | None:
        """The last sampler snapshot and its generation."""
        rows = self._rows("SELECT generation, body FROM snapshots")
        return (rows[0][0], rows[0][1]) if rows else None

    def set_meta(self, key: str, value: Any) -> None:
        """Keep a JSON value under a name, replacing what was there."""
        raw = json_dumps(value)
        with self._database.transaction() as db:
            db.execute("INSERT INTO meta VALUES (?,?) ON CONFLICT(name) DO UPDATE SET value=excluded.value", (key, raw))

    def meta(self, key: str) -> Any:
        """The JSON value kept under a name; None if there is none."""
        raw = self._meta_raw(key)
        return None if raw is None else self._parse(raw, f"its record {key!r}")

    def _parse(self, raw: bytes | str, what: str) -> Any:
        try:
            return json_loads(raw)
        except ValueError as exc:
            raise CorruptStoreError(
                f"{self.run_dir}: {what} cannot be read ({exc}); restore run.db from a copy or start a new run"
            ) from exc

    def claim(self, keys: Sequence[str], generation: int) -> list[bool]:
        """For each key: True if it is now claimed, False if it is stored or claimed already. One transaction."""
        raws = [bytes.fromhex(key) for key in keys]
        with self._writing, self._database.transaction() as db:
            self._claimed = True
            stored = self._stored_keys()
            return [
                raw not in stored
                and db.execute("INSERT OR IGNORE INTO claims VALUES (?,?)", (raw, generation)).rowcount == 1
                for raw in raws
            ]

    def claims(self) -> list[str]:
        """Keys claimed and not yet stored."""
        return [raw.hex() for (raw,) in self._rows("SELECT key FROM claims ORDER BY key")]

    def free_claims(self) -> int:
        """Give every unfinished claim back; how many there were."""
        with self._database.transaction() as db:
            return int(db.execute("DELETE FROM claims").rowcount)

    def integrity(self) -> Integrity:
        """Read the whole file: pages, and that every trial has a payload which says the same as its columns."""
        problems = [row[0] for row in self._rows("PRAGMA integrity_check") if row[0] != "ok"]
        rows = self._rows(
            "SELECT number FROM trials EXCEPT SELECT number FROM payloads "
            "UNION ALL SELECT number FROM (SELECT number FROM payloads EXCEPT SELECT number FROM trials)"
        )
        problems += [f"trial {number}: columns and payload are not both there" for (number,) in rows]
        twice = self._rows("SELECT max(number), min(number) FROM trials GROUP BY key HAVING count(*) > 1")
        problems += [f"trial {later}: has the key of trial {first}" for later, first in twice]
        stored = self._rows("SELECT number, key, state, score FROM trials ORDER BY number")
        for (number, key, state, score), result in zip(stored, self.results(), strict=False):
            if (number, key.hex(), STATES[state], score) != (result.number, result.key, result.state, result.score):
                problems.append(f"trial {number}: columns and payload differ")
        return Integrity(len(stored), problems)

    def frame(self) -> pd.DataFrame:
        """One row per trial: its columns, then `params_<dotted path>` and `metrics_<name>`."""
        from genesis.trials.frame import results_frame

        return results_frame(self)

    def pragmas(self) -> dict[str, int | str]:
        """The settings this connection runs with, read back from SQLite."""
        return self._database.pragmas()

    def _meta_raw(self, key: str) -> bytes | None:
        rows = self._rows("SELECT value FROM meta WHERE name=?", (key,))
        return rows[0][0] if rows else None

    def _rows(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        with self._database.errors():
            return self._database.connection().execute(query, values).fetchall()


@contextmanager
def _closing_on_error(store: RunStore) -> Iterator[None]:
    try:
        yield
    except BaseException:
        store.close()
        raise


def _head(item: Stored) -> tuple[Any, ...]:
    result = item.result
    try:
        key = bytes.fromhex(result.key)
    except ValueError:
        key = b""
    if len(key) != _KEY_BYTES:
        raise StoreError(f"trial {result.number}: key {result.key!r} is not 64 hex digits; use trial_key(params)")
    score = None if result.score is None or result.score != result.score else float(result.score)
    amount = sum(violation.amount for violation in result.violations) if result.violations else 0.0
    vector = np.asarray(item.vector, dtype="<f8")
    return (
        int(result.number),
        int(result.generation),
        key,
        STATES.index(result.state),
        score,
        float(amount),
        vector.tobytes(),
        item.origin,
    )


def _columns(rows: list[tuple[Any, ...]]) -> History:
    numbers, generations, keys, states, scores, violation, vectors, origins = zip(*rows, strict=True)
    count = len(rows)
    flat = np.frombuffer(b"".join(vectors), dtype="<f8")
    if len({len(vector) for vector in vectors}) > 1:
        raise CorruptStoreError("the stored points have different lengths; the run mixes two spaces")
    return History(
        numbers=np.fromiter(numbers, np.int64, count),
        generations=np.fromiter(generations, np.int64, count),
        keys=list(keys),
        states=np.fromiter(states, np.int8, count),
        scores=np.array(scores, dtype=np.float64),  # None becomes NaN
        violation=np.fromiter(violation, np.float64, count),
        vectors=flat.reshape(count, -1),
        origins=list(origins),
    )


def _join(parts: list[History]) -> History:
    if not parts:
        none = np.empty(0)
        whole = np.empty(0, np.int64)
        return History(whole, whole, [], np.empty(0, np.int8), none, none, np.empty((0, 0)), [])
    if len(parts) == 1:
        return parts[0]
    if len({part.vectors.shape[1] for part in parts}) > 1:
        raise CorruptStoreError("the stored points have different lengths; the run mixes two spaces")
    return History(
        numbers=np.concatenate([part.numbers for part in parts]),
        generations=np.concatenate([part.generations for part in parts]),
        keys=[key for part in parts for key in part.keys],
        states=np.concatenate([part.states for part in parts]),
        scores=np.concatenate([part.scores for part in parts]),
        violation=np.concatenate([part.violation for part in parts]),
        vectors=np.concatenate([part.vectors for part in parts]),
        origins=[origin for part in parts for origin in part.origins],
    )
