"""Pass a run's trials on to an Optuna storage, in batches, so that Optuna's own tools read them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from genesis.errors import ConfigError, MissingExtraError
from genesis.run.holdout import finalists
from genesis.run.mirror_live import hidden
from genesis.run.mirror_write import add_finished, cut_torn_line
from genesis.run.result import Run
from genesis.search.space import Space

if TYPE_CHECKING:
    import optuna

BATCH = 1_000
NUMBER = "genesis:number"


def open_storage(url: str) -> optuna.storages.BaseStorage:
    """An Optuna storage by URL: `sqlite:///FILE`, `postgresql://…`, any other SQLAlchemy URL, or `journal:FILE`.

    Raises `ConfigError` for a URL that cannot be opened, `MissingExtraError` without a driver for PostgreSQL.
    """
    import optuna

    if url.startswith("journal:"):
        path = url.removeprefix("journal:")
        from optuna.storages.journal import JournalFileBackend

        return optuna.storages.JournalStorage(JournalFileBackend(path))
    if "://" not in url:
        raise ConfigError(f"optuna: {url!r} is no storage; use sqlite:///FILE, postgresql://… or journal:FILE")
    shown = hidden(url)
    if url.startswith(("postgresql://", "postgres://")):
        url = "postgresql+psycopg://" + url.partition("://")[2]
    try:
        return optuna.storages.RDBStorage(url)
    except ImportError as error:
        if "psycopg" in str(error):
            raise MissingExtraError(
                "a PostgreSQL storage needs its driver: pip install 'genesis-core[postgres]'"
            ) from error
        raise ConfigError(f"optuna: {shown!r} cannot be opened: {error}") from error
    except Exception as error:
        raise ConfigError(f"optuna: {shown!r} cannot be opened: {type(error).__name__}: {error}") from error


@contextmanager
def opened(url: str) -> Iterator[optuna.storages.BaseStorage]:
    """`open_storage`, its connections closed at the end."""
    storage = open_storage(url)
    try:
        yield storage
    finally:
        engine = getattr(storage, "engine", None)
        if engine is not None:
            storage.remove_session()
            engine.dispose()


def export_optuna(run: Run, url: str, name: str | None = None, best: int | None = None) -> int:
    """Add the run's trials to an Optuna study of the same name and return how many were new.

    Trials that are there already (by their number here) are left alone, so that an export may be repeated while the run
    goes on. With `best` only the best ones go, and as many others spread evenly over the run. A larger score is better;
    violated constraints become Optuna's constraint values. A journal's torn last line is cut first, kept in
    `FILE.torn`, and the study's `genesis:torn` says how many bytes it had.

    Raises `ConfigError` when the storage cannot be opened, or when its study of this name is of something else.
    """
    torn = _cut(url)
    with opened(url) as storage:
        return Mirror(run, storage, name, torn=torn).catch_up(best)


def follow(run_dir: Path, url: str) -> Mirror:
    """A mirror of the run kept in a folder that stays open, as long as this process lives."""
    torn = _cut(url)
    return Mirror(Run(run_dir), open_storage(url), torn=torn)


def _cut(url: str) -> int:
    return cut_torn_line(url.removeprefix("journal:")) if url.startswith("journal:") else 0


class Mirror:
    """A run and the Optuna study that follows it; `catch_up` adds what is new."""

    def __init__(
        self, run: Run, storage: optuna.storages.BaseStorage, name: str | None = None, *, torn: int = 0
    ) -> None:
        import optuna

        self.run = run
        self.storage = storage
        name = name or run.run_id
        maximize = optuna.study.StudyDirection.MAXIMIZE
        self.study = optuna.create_study(storage=storage, study_name=name, direction="maximize", load_if_exists=True)
        attrs = self.study.user_attrs
        if (
            self.study.directions != [maximize]
            or attrs.get("genesis:created", run.study["created"]) != (run.study["created"])
        ):
            raise ConfigError(
                f"optuna: the storage has another study {name!r}, not of this run; choose another name (--name), or "
                "delete that study"
            )
        if "genesis:created" not in attrs:
            self.study.set_user_attr("genesis:run", str(run.path))
            self.study.set_user_attr("genesis:created", run.study["created"])
        if torn:
            self.study.set_user_attr("genesis:torn", [*attrs.get("genesis:torn", []), torn])
        self.present = {trial.user_attrs.get(NUMBER) for trial in self.study.get_trials(deepcopy=False)}

    def catch_up(self, best: int | None = None) -> int:
        """Add the trials that the study does not have yet and return how many there were."""
        wanted = [number for number in _chosen(self.run, best) if number not in self.present]
        for batch in _batches(wanted):
            add_finished(self.study, self.storage, _frozen(self.run, self.run.space, batch))
            self.present.update(batch)
        return len(wanted)


def _chosen(run: Run, best: int | None) -> list[int]:
    numbers = run.store.history().numbers
    if best is None:
        return [int(one) for one in numbers]
    top = finalists(run.store, best)
    spread = numbers[np.unique(np.linspace(0, len(numbers) - 1, best).astype(int))] if len(numbers) else numbers
    return sorted({*top, *(int(one) for one in spread)})


def _batches(numbers: Sequence[int]) -> Iterable[Sequence[int]]:
    return (numbers[i : i + BATCH] for i in range(0, len(numbers), BATCH))


def _frozen(run: Run, space: Space, numbers: Sequence[int]) -> list[optuna.trial.FrozenTrial]:
    from optuna.trial import FrozenTrial, TrialState

    distributions = space.distributions()
    history = run.store.history()
    row_of = {int(number): row for row, number in enumerate(history.numbers)}
    began = datetime.fromtimestamp(run.study.get("created", 0.0))  # noqa: DTZ006 - Optuna keeps local naive times
    trials = []
    for result in run.store.results(numbers):
        vector = history.vectors[row_of[result.number]]
        params: dict[str, Any] = {}
        for column, value in zip(space.columns, vector.tolist(), strict=True):
            if value == value:  # an inactive parameter is NaN
                params[column.path] = distributions[column.path].to_external_repr(value)
        state = {"complete": TrialState.COMPLETE, "failed": TrialState.FAIL, "pruned": TrialState.PRUNED}[result.state]
        if state == TrialState.COMPLETE and result.score is None:
            state = TrialState.FAIL
        user: dict[str, Any] = {NUMBER: result.number, "origin": history.origins[row_of[result.number]]}
        user |= {f"metrics.{metric}": value for metric, value in result.metrics.items()}
        if result.reason:
            user["reason"] = result.reason
        moment = began + timedelta(milliseconds=result.number)
        trials.append(
            FrozenTrial(
                number=-1,
                state=state,
                value=result.score if state != TrialState.FAIL else None,
                datetime_start=moment,
                datetime_complete=moment + timedelta(milliseconds=1),
                params=params,
                distributions={path: distributions[path] for path in params},
                user_attrs=user,
                system_attrs={"constraints": [one.amount for one in result.violations] or [0.0]},
                intermediate_values={step: score for step, score in enumerate(result.reports, 1) if score == score},
                trial_id=-1,
            )
        )
    return trials
