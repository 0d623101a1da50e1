"""Judge the finalists on bars that the search never saw."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from genesis.run.evaluate import Evaluator
from genesis.trials.store import STATES, RunStore
from genesis.types import TrialResult, TrialSpec

if TYPE_CHECKING:
    from genesis.config import StudyConfig

META = "holdout"


LOOKED_AT = 20  # results read per finalist wanted, before trials that trade alike are taken as they come


def finalists(store: RunStore, count: int, *, distinct: bool = False) -> list[int]:
    """The numbers of the best trials: feasible ones first, then by score, then the earlier.

    With `distinct`, a trial whose fills are those of a better one gives its place to the next: judging the same
    trades twice says nothing new.
    """
    history = store.history()
    scored = (history.states == STATES.index("complete")) & ~np.isnan(history.scores)
    index = np.flatnonzero(scored)
    order = np.lexsort((history.numbers[index], -history.scores[index], history.violation[index] > 0))
    numbers = [int(number) for number in history.numbers[index[order[: count * (LOOKED_AT if distinct else 1)]]]]
    if not distinct:
        return numbers
    chosen: list[int] = []
    seen: set[str] = set()
    for result in store.results(numbers):
        if result.fills_hash is None or result.fills_hash not in seen:
            chosen.append(result.number)
            seen.add(result.fills_hash or "")
        if len(chosen) == count:
            break
    return chosen


def holdout_evaluator(config: StudyConfig) -> Evaluator | None:
    """What judges the finalists, its bars loaded; None when the study has no holdout or is no strategy on bars."""
    if config.holdout is None or config.strategy is None:
        return None
    evaluator = Evaluator(config, window="holdout")
    evaluator.prepare()
    return evaluator


def judge_holdout(evaluator: Evaluator, store: RunStore) -> list[dict[str, Any]]:
    """Run the finalists on the holdout window and keep what came out under the store's meta `holdout`.

    Features warm up on the bars before the window; no entry is decided before it.
    """
    assert evaluator.config.holdout is not None
    top = finalists(store, evaluator.config.holdout.top_n, distinct=True)
    rows = [_row(evaluator(_spec(result)), result) for result in store.results(top)]
    store.set_meta(META, {"trials": store.count, "of": _window(evaluator.config), "finalists": rows})
    return rows


def is_judged(config: StudyConfig, store: RunStore) -> bool:
    """Whether there is nothing left to judge: no holdout, or all trials there are were judged on this one."""
    if config.holdout is None or config.strategy is None:
        return True
    kept = store.meta(META)
    return kept is not None and kept["trials"] == store.count and kept.get("of") == _window(config)


def _window(config: StudyConfig) -> dict[str, Any]:
    assert config.holdout is not None
    found: dict[str, Any] = config.holdout.model_dump(mode="json")
    return found


def stored_holdout(store: RunStore) -> list[dict[str, Any]]:
    """What `judge_holdout` kept last; empty if it never ran."""
    kept = store.meta(META)
    return list(kept["finalists"]) if kept else []


def _spec(result: TrialResult) -> TrialSpec:
    return TrialSpec(number=result.number, generation=result.generation, key=result.key, params=result.params, seed=0)


def _row(out: TrialResult, inside: TrialResult) -> dict[str, Any]:
    return {
        "number": inside.number,
        "params": inside.params,
        "score": inside.score,
        "metrics": inside.metrics,
        "feasible": inside.feasible,
        "holdout_score": out.score,
        "holdout_metrics": out.metrics,
        "holdout_reason": out.reason,
    }
