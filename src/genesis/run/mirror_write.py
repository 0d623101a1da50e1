"""Write many finished trials into an Optuna storage at once, where Optuna itself writes them one by one.

Optuna's tables and its journal's records are not public, so this is done for the versions of Optuna whose forms were
checked, and every other version and storage gets its trials through `Study.add_trials`.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

KNOWN_VERSIONS = ("5.0",)
TORN = ".torn"


def add_finished(study: optuna.Study, storage: optuna.storages.BaseStorage, trials: Sequence[FrozenTrial]) -> None:
    """Add finished single-objective trials to a study, all of them or none where the storage has transactions."""
    import optuna

    known = optuna.__version__.startswith(tuple(f"{one}." for one in KNOWN_VERSIONS))
    if known and type(storage) is optuna.storages.RDBStorage:
        _insert(study, storage, trials)
    elif known and type(storage) is optuna.storages.JournalStorage:
        _append(study, storage, trials)
    else:
        study.add_trials(trials)


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
        if _whole(file):
            return 0
        content = file.read_bytes()
        end = content.rfind(b"\n") + 1
        with Path(f"{file}{TORN}").open("ab") as kept:
            kept.write(content[end:] + b"\n")
            kept.flush()
            os.fsync(kept.fileno())
        with file.open("r+b") as journal:
            journal.truncate(end)
            os.fsync(journal.fileno())
        return len(content) - end
    finally:
        lock.release()


def _whole(file: Path) -> bool:
    with file.open("rb") as journal:
        size = journal.seek(0, os.SEEK_END)
        if size == 0:
            return True
        journal.seek(-1, os.SEEK_END)
        return journal.read(1) == b"\n"


def _distributions(trials: Sequence[FrozenTrial]) -> dict[int, str]:
    """The JSON of each distribution object, made once."""
    from optuna.distributions import distribution_to_json

    different = {id(one): one for trial in trials for one in trial.distributions.values()}
    return {key: distribution_to_json(one) for key, one in different.items()}


def _append(study: optuna.Study, storage: Any, trials: Sequence[FrozenTrial]) -> None:
    text = _distributions(trials)
    worker = f"genesis-{uuid.uuid4()}"
    storage._backend.append_logs(
        [
            {
                "op_code": 4,  # a trial is created
                "worker_id": worker,
                "study_id": study._study_id,
                "datetime_start": _utc(one.datetime_start).isoformat(timespec="microseconds"),
                "datetime_complete": _utc(one.datetime_complete).isoformat(timespec="microseconds"),
                "state": int(one.state),
                "value": one.value,
                "values": None,
                "distributions": {path: text[id(kind)] for path, kind in one.distributions.items()},
                "params": {path: one.distributions[path].to_internal_repr(value) for path, value in one.params.items()},
                "user_attrs": one.user_attrs,
                "system_attrs": one.system_attrs,
                "intermediate_values": one.intermediate_values,
            }
            for one in trials
        ]
    )


def _insert(study: optuna.Study, storage: Any, trials: Sequence[FrozenTrial]) -> None:
    import sqlalchemy as sql
    from optuna.storages._rdb import models

    text = _distributions(trials)
    studies, table = models.StudyModel.__table__, models.TrialModel.__table__
    mine = study._study_id
    with storage.engine.begin() as connection:
        # An update that changes nothing takes the lock that keeps others from numbering trials meanwhile.
        connection.execute(
            sql.update(studies).where(studies.c.study_id == mine).values(study_name=studies.c.study_name)
        )
        count = connection.execute(sql.select(sql.func.count()).where(table.c.study_id == mine)).scalar_one()
        connection.execute(
            sql.insert(table),
            [
                {
                    "number": number,
                    "study_id": mine,
                    "state": one.state,
                    "datetime_start": _utc(one.datetime_start).replace(tzinfo=None),
                    "datetime_complete": _utc(one.datetime_complete).replace(tzinfo=None),
                }
                for number, one in enumerate(trials, count)
            ],
        )
        found = connection.execute(
            sql.select(table.c.trial_id)
            .where(table.c.study_id == mine, table.c.number >= count)
            .order_by(table.c.number)
        )
        ids = [row[0] for row in found]
        rows: dict[Any, list[dict[str, Any]]] = {
            models.TrialParamModel: [],
            models.TrialValueModel: [],
            models.TrialIntermediateValueModel: [],
            models.TrialUserAttributeModel: [],
            models.TrialSystemAttributeModel: [],
        }
        params, values, steps, user, system = rows.values()
        for key, one in zip(ids, trials, strict=True):
            for path, value in one.params.items():
                kind = one.distributions[path]
                params.append(
                    {
                        "trial_id": key,
                        "param_name": path,
                        "param_value": kind.to_internal_repr(value),
                        "distribution_json": text[id(kind)],
                    }
                )
            if one.value is not None:
                stored, code = models.TrialValueModel.value_to_stored_repr(one.value)
                values.append({"trial_id": key, "objective": 0, "value": stored, "value_type": code})
            for step, value in one.intermediate_values.items():
                held, sort = models.TrialIntermediateValueModel.intermediate_value_to_stored_repr(value)
                steps.append(
                    {
                        "trial_id": key,
                        "step": step,
                        "intermediate_value": held,
                        "intermediate_value_type": sort,
                    }
                )
            user += [{"trial_id": key, "key": name, "value_json": _json(what)} for name, what in one.user_attrs.items()]
            system += [
                {"trial_id": key, "key": name, "value_json": _json(what)} for name, what in one.system_attrs.items()
            ]
        for model, batch in rows.items():
            if batch:
                connection.execute(sql.insert(model.__table__), batch)


def _json(value: Any) -> str:
    return json.dumps(value)


def _utc(moment: datetime | None) -> datetime:
    assert moment is not None  # a finished trial has both
    return moment.astimezone(UTC)
