"""A run's kept trials in the flat form that goes into an Optuna storage, read in batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from genesis.errors import CorruptStoreError
from genesis.run.result import Run
from genesis.trials.codec import json_loads
from genesis.trials.store import STATES

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

NUMBER = "genesis:number"
CREATED = "genesis:created"
BATCH = 1_000
FEASIBLE = [0.0]  # the constraint values of a trial that violates none
_NAMES = {"complete": "COMPLETE", "failed": "FAIL", "pruned": "PRUNED"}
_STATES = tuple(_NAMES[name] for name in STATES)
_MILLISECOND = timedelta(milliseconds=1)


class Row(NamedTuple):
    """One trial: `internal` are Optuna's internal values of the columns listed in `active`; times are aware, UTC."""

    number: int
    state: str
    value: float | None
    active: tuple[int, ...]
    internal: list[float]
    user: dict[str, Any]
    constraints: Sequence[float]
    reports: Sequence[tuple[int, float]]
    start: datetime
    complete: datetime


class Columns:
    """The parameters of a run's space as Optuna knows them, with the JSON of each distribution made once."""

    def __init__(self, distributions: dict[str, BaseDistribution]) -> None:
        from optuna.distributions import distribution_to_json

        self.paths = tuple(distributions)
        self.kinds = tuple(distributions.values())
        self.texts = tuple(distribution_to_json(one) for one in self.kinds)


def read_rows(run: Run, first: int = 0) -> Iterator[list[Row]]:
    """The trials from number `first` on, in trial order, in batches; what is kept while this reads comes too."""
    while batch := read_batch(run, first, BATCH):
        yield batch
        first = batch[-1].number + 1


def read_batch(run: Run, first: int, limit: int) -> list[Row]:
    """At most `limit` trials from number `first` on."""
    stored = run.store.raw(first, limit)
    if not stored:
        return []
    began = datetime.fromtimestamp(run.study.get("created", 0.0), UTC)
    if len({len(one[3]) for one in stored}) > 1:
        raise CorruptStoreError("the stored points have different lengths; the run mixes two spaces")
    points = np.frombuffer(b"".join(one[3] for one in stored), dtype="<f8").reshape(len(stored), -1)
    every = tuple(range(points.shape[1]))
    active, internal = [every] * len(stored), points.tolist()
    for k in np.flatnonzero(np.isnan(points).any(axis=1)).tolist():  # an inactive parameter is NaN
        active[k] = tuple(j for j in every if internal[k][j] == internal[k][j])
        internal[k] = [internal[k][j] for j in active[k]]
    return [_row(one, which, values, began) for one, which, values in zip(stored, active, internal, strict=True)]


def _row(
    stored: tuple[int, int, float | None, bytes, str, bytes | None],
    active: tuple[int, ...],
    internal: list[float],
    began: datetime,
) -> Row:
    number, code, score, _, origin, body = stored
    try:
        fields = json_loads(body or b"")
        metrics, violations, reports = fields["metrics"], fields["violations"], fields["reports"]
    except (ValueError, TypeError, KeyError) as exc:
        raise CorruptStoreError(
            f"trial {number}: its stored result cannot be read ({exc}); restore run.db from a copy"
        ) from exc
    state = _STATES[code]
    if state == "COMPLETE" and score is None:
        state = "FAIL"
    user: dict[str, Any] = {NUMBER: number, "origin": origin}
    for name, value in metrics.items():
        user[f"metrics.{name}"] = value
    if fields.get("reason"):
        user["reason"] = fields["reason"]
    start = began + number * _MILLISECOND
    return Row(
        number,
        state,
        None if state == "FAIL" else score,
        active,
        internal,
        user,
        [one[3] for one in violations] or FEASIBLE,
        [(step, said) for step, said in enumerate(reports, 1) if said == said] if reports else (),
        start,
        start + _MILLISECOND,
    )
