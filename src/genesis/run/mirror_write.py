"""Choose how a run's trials are written into an Optuna storage, and write them the ways that go through Optuna's code.

Optuna's tables and its journal's records are not public, so the quick ways are taken for the versions of Optuna whose
forms were checked, and for tables that have exactly the columns known; every other version and storage gets its trials
through `Study.add_trials`, one by one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from genesis.errors import StoreError
from genesis.run.mirror_journal import JournalWriter
from genesis.run.mirror_rows import CREATED, NUMBER, Columns, Row
from genesis.run.mirror_sqlite import REPLACED, SCHEMA, SqliteWriter

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]
_LOCKS = fcntl is not None

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

KNOWN_VERSIONS = ("5.0",)


class Writer(Protocol):
    """Adds rows to one study. Two writers at once, in two processes as well, add no trial twice."""

    def add(self, rows: Sequence[Row]) -> int: ...  # noqa: D102 - the class docstring says it

    def close(self) -> None: ...  # noqa: D102


def writer_for(
    study: optuna.Study, storage: optuna.storages.BaseStorage, created: float, columns: Columns, run_dir: Path
) -> Writer:
    """The quickest writer that is known to be right for this version of Optuna and this storage."""
    import optuna

    known = optuna.__version__.startswith(tuple(f"{one}." for one in KNOWN_VERSIONS))
    mine = study._study_id
    if known and type(storage) is optuna.storages.JournalStorage:
        file = getattr(storage._backend, "_file_path", None)
        if type(file) is str:
            return JournalWriter(file, mine, created, columns)
    if known and type(storage) is optuna.storages.RDBStorage:
        url = storage.engine.url
        if url.get_backend_name() == "sqlite" and url.database not in (None, "", ":memory:") and not url.query:
            quick = SqliteWriter(url.database, mine, created, columns)
            if quick.known():
                return quick
            quick.close()
        if _tables_known(storage):
            return TablesWriter(storage, mine, created, columns)
    return PlainWriter(study, columns, run_dir)


def _tables_known(storage: Any) -> bool:
    import sqlalchemy as sql

    found = sql.inspect(storage.engine)
    return all(
        found.has_table(table) and {one["name"] for one in found.get_columns(table)} == columns
        for table, columns in SCHEMA.items()
    )


class PlainWriter:
    """Adds rows through `Study.add_trials`, holding the run's folder so that two mirrors take turns."""

    def __init__(self, study: optuna.Study, columns: Columns, run_dir: Path) -> None:
        self._study_object = study
        self._columns = columns
        self._run_dir = run_dir
        self._present: set[int] = set()
        self._seen = 0

    def close(self) -> None:
        """Nothing stays open between batches."""

    def add(self, rows: Sequence[Row]) -> int:
        """Add the rows that the study does not have and return how many there were."""
        with _held(self._run_dir):
            trials = self._study_object.get_trials(deepcopy=False)
            for trial in trials[self._seen :]:
                self._present.add(trial.user_attrs.get(NUMBER, -1))
            self._seen = len(trials)
            fresh = [row for row in rows if row.number not in self._present]
            self._study_object.add_trials([frozen(row, self._columns) for row in fresh])
        return len(fresh)


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """An exclusive lock on a folder, which the kernel releases when its holder dies."""
    if not _LOCKS:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def frozen(row: Row, columns: Columns) -> FrozenTrial:
    """A row as Optuna's own trial; Optuna keeps local times without a zone."""
    from optuna.trial import FrozenTrial, TrialState

    kinds = {columns.paths[j]: columns.kinds[j] for j in row.active}
    return FrozenTrial(
        number=-1,
        state=TrialState[row.state],
        value=row.value,
        datetime_start=_local(row.start),
        datetime_complete=_local(row.complete),
        params={
            path: kind.to_external_repr(value) for (path, kind), value in zip(kinds.items(), row.internal, strict=True)
        },
        distributions=kinds,
        user_attrs=row.user,
        system_attrs={"constraints": row.constraints},
        intermediate_values=dict(row.reports),
        trial_id=-1,
    )


def _local(moment: datetime) -> datetime:
    return moment.astimezone().replace(tzinfo=None)


class TablesWriter:
    """Adds rows through SQLAlchemy, a table at a time, holding the study's row as Optuna does to number its trials."""

    def __init__(self, storage: Any, study_id: int, created: float, columns: Columns) -> None:
        self._storage = storage
        self._study = study_id
        self._created = created
        self._columns = columns
        self._present: set[int] = set()
        self._last = 0
        self._count = 0

    def close(self) -> None:
        """The engine is the storage's and is closed with it."""

    def add(self, rows: Sequence[Row]) -> int:
        """Add the rows that the study does not have, all or none, and return how many there were."""
        import sqlalchemy as sql
        from optuna.storages._rdb import models

        studies = models.StudyModel.__table__
        with self._storage.engine.begin() as connection:
            # An update that changes nothing takes the lock that keeps others from numbering trials meanwhile.
            connection.execute(
                sql.update(studies).where(studies.c.study_id == self._study).values(study_name=studies.c.study_name)
            )
            self._look(connection)
            fresh = [row for row in rows if row.number not in self._present]
            last = self._insert(connection, fresh) if fresh else self._last
        self._last = last
        self._count += len(fresh)
        self._present.update(row.number for row in fresh)
        return len(fresh)

    def _look(self, connection: Any) -> None:
        """Learn what others have added since the last look; raises `StoreError` when the study is another one."""
        import sqlalchemy as sql
        from optuna.storages._rdb import models

        about, user = models.StudyUserAttributeModel.__table__, models.TrialUserAttributeModel.__table__
        table = models.TrialModel.__table__
        said = connection.execute(
            sql.select(about.c.value_json).where(about.c.study_id == self._study, about.c.key == CREATED)
        ).scalar_one_or_none()
        newest = connection.execute(
            sql.select(table.c.number).where(table.c.trial_id == self._last, table.c.study_id == self._study)
        ).scalar_one_or_none()
        if said is None or json.loads(said) != self._created or (self._last and newest != self._count - 1):
            raise StoreError(REPLACED)
        numbers = sql.and_(user.c.trial_id == table.c.trial_id, user.c.key == NUMBER)
        others = (
            sql.select(table.c.trial_id, user.c.value_json)
            .select_from(table.outerjoin(user, numbers))
            .where(table.c.study_id == self._study, table.c.trial_id > self._last)
            .order_by(table.c.trial_id)
        )
        for trial_id, number in connection.execute(others):
            self._last = trial_id
            self._count += 1
            if number is not None:
                self._present.add(json.loads(number))

    def _insert(self, connection: Any, rows: Sequence[Row]) -> int:
        import sqlalchemy as sql
        from optuna.storages._rdb import models

        table = models.TrialModel.__table__
        connection.execute(
            sql.insert(table),
            [
                {
                    "number": number,
                    "study_id": self._study,
                    "state": row.state,
                    "datetime_start": row.start.replace(tzinfo=None),
                    "datetime_complete": row.complete.replace(tzinfo=None),
                }
                for number, row in enumerate(rows, self._count)
            ],
        )
        found = connection.execute(
            sql.select(table.c.trial_id)
            .where(table.c.study_id == self._study, table.c.number >= self._count)
            .order_by(table.c.number)
        )
        ids = [int(key) for (key,) in found]
        for model, batch in self._children(ids, rows).items():
            if batch:
                connection.execute(sql.insert(model.__table__), batch)
        return max(ids)

    def _children(self, ids: Sequence[int], rows: Sequence[Row]) -> dict[Any, list[dict[str, Any]]]:
        from optuna.storages._rdb import models

        paths, texts = self._columns.paths, self._columns.texts
        params: list[dict[str, Any]] = []
        values: list[dict[str, Any]] = []
        steps: list[dict[str, Any]] = []
        user: list[dict[str, Any]] = []
        system: list[dict[str, Any]] = []
        for key, row in zip(ids, rows, strict=True):
            params += [
                {"trial_id": key, "param_name": paths[j], "param_value": value, "distribution_json": texts[j]}
                for j, value in zip(row.active, row.internal, strict=True)
            ]
            if row.value is not None:
                stored, code = models.TrialValueModel.value_to_stored_repr(row.value)
                values.append({"trial_id": key, "objective": 0, "value": stored, "value_type": code})
            for step, value in row.reports:
                held, sort = models.TrialIntermediateValueModel.intermediate_value_to_stored_repr(value)
                steps.append(
                    {"trial_id": key, "step": step, "intermediate_value": held, "intermediate_value_type": sort}
                )
            user += [{"trial_id": key, "key": name, "value_json": json.dumps(what)} for name, what in row.user.items()]
            system.append({"trial_id": key, "key": "constraints", "value_json": json.dumps(row.constraints)})
        return {
            models.TrialParamModel: params,
            models.TrialValueModel: values,
            models.TrialIntermediateValueModel: steps,
            models.TrialUserAttributeModel: user,
            models.TrialSystemAttributeModel: system,
        }
