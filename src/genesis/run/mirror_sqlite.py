"""Write rows straight into the tables of an Optuna SQLite file, many values to a statement.

Optuna's tables are not public: this is used only when the version of Optuna is one whose tables were checked and the
file has exactly these columns. One statement writes all parameters of a trial, their names and distributions being part
of its text, so that a trial of twenty parameters binds 21 values and not 80.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import orjson

from genesis.errors import StoreBusyError, StoreError
from genesis.run.mirror_rows import CREATED, FEASIBLE, NUMBER, Columns, Row

BUSY_SECONDS = 60.0
WIDTH = 100  # values of one trial in one statement; SQLite's older limit is 999 variables
SCHEMA = {
    "studies": {"study_id", "study_name"},
    "study_user_attributes": {"study_user_attribute_id", "study_id", "key", "value_json"},
    "trials": {"trial_id", "number", "study_id", "state", "datetime_start", "datetime_complete"},
    "trial_params": {"param_id", "trial_id", "param_name", "param_value", "distribution_json"},
    "trial_values": {"trial_value_id", "trial_id", "objective", "value", "value_type"},
    "trial_intermediate_values": {
        "trial_intermediate_value_id",
        "trial_id",
        "step",
        "intermediate_value",
        "intermediate_value_type",
    },
    "trial_user_attributes": {"trial_user_attribute_id", "trial_id", "key", "value_json"},
    "trial_system_attributes": {"trial_system_attribute_id", "trial_id", "key", "value_json"},
}
REPLACED = "the study was deleted or replaced while the run was mirrored into it; export the run again"

_OTHERS = """SELECT t.trial_id, a.value_json FROM trials t
    LEFT JOIN trial_user_attributes a ON a.trial_id = t.trial_id AND a."key" = ?
    WHERE t.study_id = ? AND t.trial_id > ? ORDER BY t.trial_id"""


class SqliteWriter:
    """Adds rows to one study of an Optuna SQLite file, each batch in a transaction that also looks who else wrote.

    The file's own journal mode is left as it is and other processes' locks are waited for, at most `BUSY_SECONDS`.
    """

    def __init__(self, path: str, study_id: int, created: float, columns: Columns) -> None:
        self._study = study_id
        self._created = created
        self._columns = columns
        self._present: set[int] = set()
        self._last = 0  # the study's newest trial that was looked at, by its key
        self._count = 0  # the study's trials up to there
        self._connection = sqlite3.connect(
            Path(path).absolute().as_uri() + "?mode=rw",
            uri=True,
            timeout=BUSY_SECONDS,
            isolation_level=None,
            check_same_thread=False,
        )
        self._connection.execute("PRAGMA cache_size=-32768")

    def known(self) -> bool:
        """Whether the file's tables are the ones this module writes."""
        found = {table: {row[1] for row in self._connection.execute(f"PRAGMA table_info({table})")} for table in SCHEMA}
        return found == SCHEMA

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def add(self, rows: Sequence[Row]) -> int:
        """Add the rows that the study does not have, all or none, and return how many there were."""
        with self._transaction() as db:
            self._look(db)
            fresh = [row for row in rows if row.number not in self._present]
            if fresh:
                first = db.execute("SELECT coalesce(max(trial_id), 0) + 1 FROM trials").fetchone()[0]
                self._insert(db, fresh, first)
        if fresh:
            self._last = first + len(fresh) - 1
            self._count += len(fresh)
            self._present.update(row.number for row in fresh)
        return len(fresh)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        db = self._connection
        try:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                raise StoreBusyError(
                    f"the Optuna storage was locked by another process for {BUSY_SECONDS:g} seconds; export again"
                ) from error
            raise StoreError(f"the Optuna storage cannot be written: {error}; nothing of this batch was") from error

    def _look(self, db: sqlite3.Connection) -> None:
        """Learn what others have added since the last look; raises `StoreError` when the study is another one."""
        said = db.execute(
            'SELECT value_json FROM study_user_attributes WHERE study_id = ? AND "key" = ?', (self._study, CREATED)
        ).fetchone()
        newest = db.execute(
            "SELECT number FROM trials WHERE trial_id = ? AND study_id = ?", (self._last, self._study)
        ).fetchone()
        if said is None or json.loads(said[0]) != self._created or (self._last and newest != (self._count - 1,)):
            raise StoreError(REPLACED)
        for trial_id, number in db.execute(_OTHERS, (NUMBER, self._study, self._last)):
            self._last = trial_id
            self._count += 1
            if number is not None:
                self._present.add(json.loads(number))

    def _insert(self, db: sqlite3.Connection, rows: Sequence[Row], first: int) -> None:
        db.executemany(
            "INSERT INTO trials (trial_id, number, study_id, state, datetime_start, datetime_complete) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            [
                (first + k, self._count + k, self._study, row.state, _naive(row.start), _naive(row.complete))
                for k, row in enumerate(rows)
            ],
        )
        params: dict[tuple[int, ...], list[tuple[int, Sequence[Any]]]] = {}
        user: dict[tuple[str, ...], list[tuple[int, Sequence[Any]]]] = {}
        values, system, steps = [], [], []
        for key, row in enumerate(rows, first):
            params.setdefault(row.active, []).append((key, row.internal))
            user.setdefault(tuple(row.user), []).append((key, _jsons(list(row.user.values()))))
            system.append((key, "[0.0]" if row.constraints is FEASIBLE else json.dumps(row.constraints)))
            if row.value is not None:
                values.append((key, *_stored(row.value)))
            for step, said in row.reports:
                steps.append((key, step, *_stored(said)))
        paths, texts = self._columns.paths, self._columns.texts
        for active, group in params.items():
            fixed = [(_literal(paths[j]), _literal(texts[j])) for j in active]
            _spread(db, "trial_params (param_name, distribution_json, trial_id, param_value)", fixed, group)
        for keys, group in user.items():
            fixed_keys = [(_literal(key),) for key in keys]
            _spread(db, 'trial_user_attributes ("key", trial_id, value_json)', fixed_keys, group)
        db.executemany(
            "INSERT INTO trial_system_attributes (trial_id, \"key\", value_json) VALUES (?, 'constraints', ?)", system
        )
        db.executemany("INSERT INTO trial_values (trial_id, objective, value, value_type) VALUES (?, 0, ?, ?)", values)
        db.executemany(
            "INSERT INTO trial_intermediate_values (trial_id, step, intermediate_value, intermediate_value_type) "
            "VALUES (?, ?, ?, ?)",
            steps,
        )


def _spread(
    db: sqlite3.Connection,
    target: str,
    fixed: Sequence[tuple[str, ...]],
    group: Sequence[tuple[int, Sequence[Any]]],
) -> None:
    """Insert one table row for each value of each trial; `fixed` are the literals that stand before trial and value."""
    for begin in range(0, len(fixed), WIDTH):
        some = fixed[begin : begin + WIDTH]
        rows = ", ".join(f"({', '.join(literals)}, ?1, ?{k})" for k, literals in enumerate(some, 2))
        end = begin + WIDTH
        statement = f"INSERT INTO {target} VALUES {rows}"  # noqa: S608 - its text comes through `_literal`
        db.executemany(statement, [(key, *values[begin:end]) for key, values in group])


def _literal(text: str) -> str:
    """Text as it stands in a statement; a zero byte, which would end the statement, goes through its hex digits."""
    if "\0" in text:
        return f"CAST(x'{text.encode().hex()}' AS TEXT)"
    return "'" + text.replace("'", "''") + "'"


def _jsons(values: list[Any]) -> list[str]:
    """Each value's JSON; what follows number and origin is nearly always numbers and None, written in one call."""
    texts, numbers = [str(values[0]), _text(values[1])], values[2:]
    if numbers and set(map(type, numbers)) <= {float, type(None)}:
        text = orjson.dumps(numbers)
        if text.count(b"null") == numbers.count(None):  # NaN and infinity would be null too
            return texts + text[1:-1].decode().split(",")
    return texts + [json.dumps(one) for one in numbers]


@lru_cache(64)
def _text(origin: str) -> str:
    return json.dumps(origin)


def _stored(value: float) -> tuple[float | None, str]:
    """A number as Optuna's tables keep it."""
    if value - value == 0:
        return value, "FINITE"
    return (None, "NAN") if value != value else (None, "INF_POS" if value > 0 else "INF_NEG")


def _naive(moment: datetime) -> str:
    return moment.isoformat(" ", "microseconds")[:26]  # without its zone, which is UTC
