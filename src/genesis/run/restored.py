"""What passes from an earlier session of a run to the next, and the told values that both share."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from genesis.run.proposals import Generation
from genesis.run.snapshots import Snapshots
from genesis.search.proposals import COMPLETE, FAILED, PRUNED
from genesis.trials.store import Stored
from genesis.types import FloatArray, Int8Array, IntArray, TrialResult

STATE_CODES = {"complete": COMPLETE, "failed": FAILED, "pruned": PRUNED}


def told_before(generation: int, lag: int, prompt: int) -> int:
    """How many generations are told when this one is proposed: all; beyond the first `prompt` all but `lag`."""
    return generation if generation < prompt else max(generation - lag, prompt - 1, 0)


class Values:
    """What the sampler is told, by trial number: growing columns of scores, violations and states."""

    def __init__(self) -> None:
        self.scores: FloatArray = np.full(1024, np.nan)
        self.violations: FloatArray = np.zeros(1024)
        self.states: Int8Array = np.zeros(1024, dtype=np.int8)

    def put(self, numbers: IntArray, scores: FloatArray, violations: FloatArray, states: Int8Array) -> None:
        """Set the values of trials, growing to the largest number."""
        need = int(numbers.max()) + 1 if len(numbers) else 0
        if need > len(self.scores):
            self._grow(need)
        self.scores[numbers] = scores
        self.violations[numbers] = violations
        self.states[numbers] = states

    def put_result(self, result: TrialResult) -> None:
        """Set one trial's values from its result."""
        number = result.number
        if number >= len(self.scores):
            self._grow(number + 1)
        self.scores[number] = np.nan if result.score is None else result.score
        self.violations[number] = sum(one.amount for one in result.violations) if result.violations else 0.0
        self.states[number] = STATE_CODES[result.state]

    def _grow(self, need: int) -> None:
        more = max(need, 2 * len(self.scores)) - len(self.scores)
        self.scores = np.concatenate([self.scores, np.full(more, np.nan)])
        self.violations = np.concatenate([self.violations, np.zeros(more)])
        self.states = np.concatenate([self.states, np.zeros(more, dtype=np.int8)])


@dataclass(slots=True)
class Restored:
    """Where a stopped run goes on: the first generation that is proposed again, and what is stored of those.

    `untold` are the complete generations before it whose results were not told when it was first proposed.
    """

    first_generation: int = 0
    untold: list[Generation] = field(default_factory=list)
    kept: dict[int, Stored] = field(default_factory=dict)
    recorded: set[int] = field(default_factory=set)
    snapshots: Snapshots | None = None
