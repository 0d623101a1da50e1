"""What a coordinator and a sampler say to each other: ask for a generation, tell its results in trial order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from genesis.types import FloatArray, Int8Array

COMPLETE, FAILED, PRUNED = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Proposals:
    """Points to try: `vectors` float64[count, d] in the space's internal form, `origins` who proposed each."""

    vectors: FloatArray
    origins: list[str]


class BatchSampler(Protocol):
    """A sampler that proposes whole generations.

    Its proposals are a function of the space, the seed, the generation, the attempt and everything told so far, in
    order; so a stopped study that is told its history again goes on as if it had never stopped.

    - `ask(count, generation, attempt=k)` with k > 0 tops up a generation whose earlier points were already known; it
      may return fewer than `count` points only when the space is used up (grid, brute).
    - Every proposed point must be told once, with its own result or, for a duplicate, the known one.
    - `tell` takes aligned arrays in trial order: `scores` larger-is-better with NaN for undefined, `violations` >= 0
      (0: feasible), `states` 0 complete, 1 failed, 2 pruned. Points that the sampler never asked for are welcome.
    - Telling results in one call or in many must come to the same, or else the sampler is a `Snapshotting` one.
    """

    name: str

    def ask(self, count: int, generation: int, attempt: int = 0) -> Proposals:
        """Propose up to `count` points."""
        ...

    def tell(
        self,
        vectors: FloatArray,
        scores: FloatArray,
        violations: FloatArray,
        states: Int8Array,
        origins: Sequence[str],
    ) -> None:
        """Take in finished trials."""
        ...


@runtime_checkable
class Snapshotting(Protocol):
    """A sampler that depends on the portions in which it was told, and can say what it made of them."""

    def snapshot(self) -> bytes:
        """State that the told history does not carry; of bounded size."""
        ...

    def restore(
        self,
        data: bytes,
        vectors: FloatArray,
        scores: FloatArray,
        violations: FloatArray,
        states: Int8Array,
        origins: Sequence[str],
    ) -> None:
        """Bring a new sampler to where the snapshot was taken: after these results, everything told before.

        Raises ValueError, having changed nothing, for a snapshot of another version.
        """
        ...


def generation_seed(seed: int, generation: int, attempt: int, stream: int) -> Any:
    """Four uint64 words of generator state for one ask."""
    entropy = [seed & 0xFFFFFFFFFFFFFFFF, generation, attempt, stream]
    return np.random.SeedSequence(entropy).generate_state(4, np.uint64)


_FEW = 64  # results up to which a plain loop is quicker than NumPy's calls
_LARGEST = float(np.finfo(np.float64).max)


def rank_classes(scores: FloatArray, violations: FloatArray, states: Int8Array) -> tuple[Int8Array, FloatArray]:
    """Order results by (class, loss): feasible by score, then pruned, infeasible by violation, undefined, failed."""
    scores = np.asarray(scores, dtype=np.float64).reshape(-1)
    violations = np.asarray(violations, dtype=np.float64).reshape(-1)
    states = np.asarray(states, dtype=np.int8).reshape(-1)
    if len(scores) <= _FEW:
        ranks = [_rank(*one) for one in zip(scores.tolist(), violations.tolist(), states.tolist(), strict=True)]
        return np.array([kind for kind, _ in ranks], dtype=np.int8), np.array([loss for _, loss in ranks])
    violations = np.nan_to_num(violations, nan=np.inf)
    undefined = np.isnan(scores)
    classes = np.zeros(len(scores), dtype=np.int8)
    classes[states == PRUNED] = 1
    classes[(violations > 0) & (states != FAILED)] = 2
    classes[undefined & (classes == 0)] = 3
    classes[states == FAILED] = 4
    losses = np.where(undefined, np.inf, -scores)
    losses = np.where(classes == 2, violations, losses)
    return classes, np.where(classes >= 3, 0.0, losses)


def _rank(score: float, violation: float, state: int) -> tuple[int, float]:
    """`rank_classes` of one result."""
    if state == FAILED:
        return 4, 0.0
    if violation != violation:
        return 2, np.inf
    if violation > 0.0:
        return 2, min(violation, _LARGEST)
    if state == PRUNED:
        return 1, np.inf if score != score else -score
    return (3, 0.0) if score != score else (0, -score)
