"""Turn a sampler's points into trials that were never run: snapped, identified, topped up, in a fixed order."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from genesis.search.samplers import BatchSampler
from genesis.search.space import Space
from genesis.trials.identity import trial_key
from genesis.trials.store import Stored
from genesis.types import FloatArray, TrialResult, TrialSpec

Cause = Literal["same_generation", "snapped", "claimed", "stored"]

CAUSES: Mapping[Cause, str] = {
    "same_generation": "the same point twice in one generation",
    "snapped": "off the grid, and snapped onto a point already known",
    "claimed": "being run in an earlier generation that is not finished",
    "stored": "already in the store",
}

MAX_ATTEMPTS = 3  # asks of the sampler for one generation after its first
FILL_LIMIT = 20_000  # finite spaces up to this size are listed to find what was never tried


@dataclass(frozen=True, slots=True)
class Repeat:
    """A proposal that was not run because `original` is the same point; its true value is told instead."""

    position: int
    original: int
    cause: Cause
    origin: str
    vector: FloatArray


@dataclass(slots=True, eq=False)
class Generation:
    """One generation: new trials and repeats; `order` is that of the proposals, a trial's index or ~a repeat's."""

    index: int
    first: int
    specs: list[TrialSpec] = field(default_factory=list)
    vectors: list[FloatArray] = field(default_factory=list)
    origins: list[str] = field(default_factory=list)
    repeats: list[Repeat] = field(default_factory=list)
    order: list[int] = field(default_factory=list)
    results: dict[int, TrialResult] = field(default_factory=dict)
    kept: set[int] = field(default_factory=set)
    recorded: bool = False
    told_vectors: FloatArray | None = None  # in the order of the proposals, once they are all there

    def runnable(self, budget: int | None) -> list[TrialSpec]:
        """The trials whose numbers are inside the budget."""
        return self.specs if budget is None else [spec for spec in self.specs if spec.number < budget]


def trial_seed(study_seed: int, number: int) -> int:
    """The seed of a trial, a function of the study's seed and the trial's number only; in [0, 2**32)."""
    digest = hashlib.blake2b(f"{study_seed}:{number}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big")


def closed_generation(index: int, first: int, stored: Sequence[Stored], study_seed: int) -> Generation:
    """A generation of stored trials, all of them finished and kept, without repeats."""
    found = Generation(index=index, first=first, recorded=True)
    for one in sorted(stored, key=lambda item: item.result.number):
        result = one.result
        seed = trial_seed(study_seed, result.number)
        found.order.append(len(found.specs))
        found.specs.append(
            TrialSpec(number=result.number, generation=index, key=result.key, params=result.params, seed=seed)
        )
        found.vectors.append(one.vector)
        found.origins.append(one.origin)
        found.results[result.number] = result
        found.kept.add(result.number)
    return found


class Proposer:
    """Proposes generation after generation; the same from the same told history, whoever runs the trials.

    `known` maps a trial's key to its number: what was run, what is being run, what is about to be. Points of `enqueued`
    come first, `size` at a time. `streak` counts proposals in a row that were known already, `exhausted` says that
    nothing new is left (or that the streak reached its limit) and `why` says which in words.
    """

    def __init__(
        self,
        space: Space,
        sampler: BatchSampler,
        *,
        seed: int,
        size: int,
        max_streak: int,
        enqueued: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        self.space = space
        self.sampler = sampler
        self.seed = seed
        self.size = size
        self.max_streak = max_streak
        self.enqueued = list(enqueued)
        self.known: dict[str, int] = {}
        self.next_number = 0
        self.streak = 0
        self.why: str | None = None
        self._unseen: deque[FloatArray] | None = None

    @property
    def exhausted(self) -> bool:
        """Whether there is nothing new to propose."""
        return self.why is not None

    def propose(self, index: int, told_below: int) -> Generation:
        """The generation `index`: at most `size` new trials, fewer (or none) when the space gives no more.

        `told_below` is the number of the first trial whose result the sampler does not know yet.
        """
        generation = Generation(index=index, first=self.next_number)
        start = min(index * self.size, len(self.enqueued))
        queued = self.enqueued[start : start + self.size]
        if queued:
            vectors = np.stack([self.space.encode(point, snap=True) for point in queued])
            self._take(generation, vectors, ["enqueued"] * len(queued), told_below)
        attempt = 0
        while (missing := self.size - len(generation.specs)) > 0 and attempt <= MAX_ATTEMPTS and not self._full():
            proposals = self.sampler.ask(missing, index, attempt)
            if len(proposals.vectors) == 0:
                self.why = "every point of the grid was tried"
                break
            self._take(generation, proposals.vectors, proposals.origins, told_below)
            if self.streak >= self.max_streak:
                break
            attempt += 1
        if not self.exhausted and len(generation.specs) < self.size:
            self._fill(generation, told_below)
        if self._full():
            self.why = f"all {self.space.size} points of the space were tried"
        elif self.streak >= self.max_streak and not generation.specs:
            self.why = f"{self.streak} proposals in a row were known already (OPTUNA_MAX_DUPLICATE_STREAK)"
        return generation

    def _full(self) -> bool:
        return self.space.size is not None and len(self.known) >= self.space.size

    def _fill(self, generation: Generation, told_below: int) -> None:
        """Where the sampler only repeats itself, take points of a small finite space that were never tried."""
        size = self.space.size
        if size is None or size > FILL_LIMIT:
            return
        if self._unseen is None:
            points = list(self.space.grid())
            order = np.random.default_rng([self.seed & 0xFFFFFFFF, 0xF111]).permutation(len(points))
            self._unseen = deque(points[i] for i in order)
        # The list is walked from its start each session, so what a stopped run skipped is skipped again.
        while self._unseen and len(generation.specs) < self.size:
            vector = self._unseen.popleft()[None, :]
            if trial_key(self.space.params_of(vector)[0]) not in self.known:
                self._take(generation, vector, ["fill"], told_below)
        if not self._unseen and not generation.specs:
            self.why = (
                f"all {len(self.known)} allowed points of the space were tried"
                if self.known
                else "no point of the space keeps the rules; mend rules or widen the ranges"
            )

    def _take(self, generation: Generation, raw: FloatArray, origins: Sequence[str], told_below: int) -> None:
        snapped = self.space.snap(raw)
        moved = ~np.all((snapped == raw) | (np.isnan(snapped) & np.isnan(raw)), axis=1)
        decoded = self.space.params_of(snapped)
        allowed = self.space.allowed(snapped)
        for row, origin in enumerate(origins):
            if not allowed[row]:  # a sampler that finds nothing allowed may give up and propose anything
                self.streak += 1
                continue
            vector, params = snapped[row], decoded[row]
            key = trial_key(params)
            number = self.known.get(key)
            if number is not None:
                self.streak += 1
                cause: Cause = (
                    "snapped"
                    if moved[row]
                    else "same_generation"
                    if number >= generation.first
                    else "claimed"
                    if number >= told_below
                    else "stored"
                )
                generation.order.append(~len(generation.repeats))
                generation.repeats.append(Repeat(len(generation.order) - 1, number, cause, origin, vector))
                continue
            self.streak = 0
            number = self.known[key] = self.next_number
            self.next_number += 1
            generation.order.append(len(generation.specs))
            generation.specs.append(
                TrialSpec(
                    number=number,
                    generation=generation.index,
                    key=key,
                    params=params,
                    seed=trial_seed(self.seed, number),
                )
            )
            generation.vectors.append(vector)
            generation.origins.append(origin)
