"""Begin a search with what another one learned: a run of Genesis, or an Optuna study."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from genesis.errors import ConfigError, SpaceError
from genesis.run.restored import STATE_CODES
from genesis.run.result import Run
from genesis.run.snapshots import Told
from genesis.search.space import Space
from genesis.trials.store import RunStore

if TYPE_CHECKING:
    from genesis.config import StudyConfig

META = "warm_start"
BATCH = 100
ORIGIN = "warm"


def read_warm_start(config: StudyConfig) -> dict[str, Any] | None:
    """What `run.warm_start` names, as points of this study's space with their scores; None when it names nothing.

    `FOLDER` is a kept run, `optuna:URL#STUDY` a study in an Optuna storage. Points that do not fit this space are left
    out and counted as `skipped`. It is read once, when the run begins, and kept with it. Raises `ConfigError` when
    nothing can be read or nothing fits.
    """
    source = config.run.warm_start
    if source is None:
        return None
    trials = _from_optuna(source) if source.startswith("optuna:") else _from_run(source)
    rows, skipped = [], 0
    for params, score, violation, state in trials:
        try:
            vector = config.space.encode(params, snap=True)
        except SpaceError:
            skipped += 1
            continue
        rows.append([vector.tolist(), score, violation, state])
    if not rows:
        raise ConfigError(f"run.warm_start: none of the {skipped} trials of {source!r} fits this study's parameters")
    return {"source": source, "rows": rows, "skipped": skipped}


def warm_history(store: RunStore, space: Space) -> Iterator[Told]:
    """The kept warm start in the batches in which the sampler is told it, before the first generation."""
    kept = store.meta(META)
    rows = kept["rows"] if kept else []
    for start in range(0, len(rows), BATCH):
        batch = rows[start : start + BATCH]
        yield Told(
            np.array([row[0] for row in batch], dtype=np.float64).reshape(len(batch), len(space.columns)),
            np.array([row[1] for row in batch], dtype=np.float64),
            np.array([row[2] for row in batch], dtype=np.float64),
            np.array([STATE_CODES[row[3]] for row in batch], dtype=np.int8),
            [ORIGIN] * len(batch),
        )


def _from_run(source: str) -> Iterator[tuple[Mapping[str, Any], float | None, float, str]]:
    if not (Path(source) / "run.db").is_file():
        raise ConfigError(f"run.warm_start: no run is kept in {source!r}; give a run's folder, such as runs/ibm-first")
    run = Run(source)
    for result in run.store.results():
        yield result.params, result.score, float(sum(one.amount for one in result.violations)), result.state
    run.close()


def _from_optuna(source: str) -> Iterator[tuple[Mapping[str, Any], float | None, float, str]]:
    from genesis.run.mirror_import import opened_study

    try:
        with opened_study(source) as study:
            sign = 1.0 if study.direction.name == "MAXIMIZE" else -1.0
            trials = study.get_trials(deepcopy=False)
    except ConfigError as error:
        raise ConfigError(f"run.warm_start: {error.message.removeprefix('optuna: ')}") from error
    for trial in trials:
        if trial.state.name == "COMPLETE" and trial.value is not None:
            amounts = trial.system_attrs.get("constraints") or []
            yield trial.params, sign * trial.value, float(sum(max(0.0, one) for one in amounts)), "complete"
