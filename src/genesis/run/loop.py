"""The coordinator's loop: propose, claim, run, keep, tell; the same trials and scores on any number of workers.

Generation g is proposed when the results of generation g - 1 - lag and before were told, never more and never fewer,
and results are told in trial order after they are durable. So what is proposed depends on the study alone, and not on
workers, their speed, stops or kills. A stopped run proposes its unfinished generations again, finds the trials that
were kept under the same numbers and keys, and runs the rest.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from genesis.run.events import Progress, StopReason
from genesis.run.executors import Executor
from genesis.run.proposals import Generation, Proposer, closed_generation
from genesis.run.restored import Restored, Values, told_before
from genesis.run.snapshots import Told
from genesis.run.tally import Tally
from genesis.trials.store import Duplicate, RunStore, Stored
from genesis.types import FloatArray, TrialResult

if TYPE_CHECKING:
    from genesis.search.pruners import Pruner

KEEP_SECONDS = 0.5  # results of a slow generation are made durable this often, before it is complete
EVENT_SECONDS = 0.1
POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """When a run ends: by number of trials, seconds of this session, score, trials without improvement, failures."""

    trials: int | None
    seconds: float | None = None
    target: float | None = None
    patience: int | None = None
    failures: int | None = None


class Loop:
    """One session of a run, from the first generation that is not told to a reason to stop.

    Up to `lag` generations are under way when the next is proposed, none before one of the first `prompt`.
    `store` is open for writing; `restored` is what an earlier session left, and `proposer`, `values` and `tally` know
    all that it counts as told. With `in_order` false (mode `async`) generations of one trial are told as they finish.
    """

    def __init__(
        self,
        *,
        store: RunStore,
        proposer: Proposer,
        executor: Executor,
        values: Values,
        tally: Tally,
        limits: Limits,
        lag: int,
        prompt: int = 0,
        restored: Restored,
        progress: Progress | None,
        stop_asked: Callable[[], bool],
        on_keep: Callable[[Sequence[TrialResult]], None] | None = None,
        pruner: Pruner | None = None,
        in_order: bool = True,
    ) -> None:
        self.store = store
        self.proposer = proposer
        self.executor = executor
        self.values = values
        self.tally = tally
        self.limits = limits
        self.lag = lag
        self.prompt = prompt
        self.kept = restored.kept
        self.recorded = restored.recorded
        self.snapshots = restored.snapshots
        self.progress = progress
        self.stop_asked = stop_asked
        self.on_keep = on_keep
        self.pruner = pruner
        self.in_order = in_order
        self.message: str | None = None
        self._next = restored.first_generation
        self._open: deque[Generation] = deque(restored.untold)
        self._running: dict[int, Generation] = {}
        self._unsaved = 0
        self._last_keep = self._last_event = time.perf_counter()
        self._last_best = tally.best.number if tally.best else -1
        self._deadline = None if limits.seconds is None else time.perf_counter() + limits.seconds

    @property
    def generation(self) -> int:
        """The next generation to propose."""
        return self._next

    # -- the loop -------------------------------------------------------------------------------------------------

    def run(self) -> StopReason:
        """Search until something ends it; whatever finished is kept when this returns or raises."""
        try:
            reason = self._search()
        finally:
            self._keep_open()
        for generation in self._open:  # told or not, they count
            self._count(generation)
        self._emit(reason)
        return reason

    def _search(self) -> StopReason:
        while True:
            reason = self._stop_reason()
            if reason is not None:
                if self.in_order and reason in ("target", "plateau", "failures"):
                    self._drain()
                return reason
            self._propose_ahead()
            if not self._open:
                return self._why_nothing_left()
            head = self._ready()
            if head is not None:
                if not self._tellable(head):  # the budget ends inside it; its rest waits for a larger budget
                    return "trials"
                self._finish(head)
                self._emit()
                continue
            self._collect()
            if self._unsaved and time.perf_counter() - self._last_keep > KEEP_SECONDS:
                self._keep_open()
            self._emit()

    def _drain(self) -> None:
        """Finish what was under way when results ended the run: what is kept must not depend on the workers' speed.

        What an earlier session kept of later generations (it died while it did this, or had no such limit) counts too.
        """
        while not self._asked_to_end():
            while self.kept and self._may_propose():
                self._propose()
            if not self._open:
                return
            head = self._ready()
            if head is None:
                self._collect()
            elif self._tellable(head):
                self._finish(head)
            else:
                return

    def _asked_to_end(self) -> bool:
        return self.stop_asked() or (self._deadline is not None and time.perf_counter() >= self._deadline)

    def _propose_ahead(self) -> None:
        while self._may_propose():
            self._propose()

    def _may_propose(self) -> bool:
        budget = self.limits.trials
        within = budget is None or self.proposer.next_number < budget
        room = len(self._open) <= self._next - told_before(self._next, self.lag, self.prompt)
        return within and room and not self.proposer.exhausted

    def _propose(self) -> None:
        start = time.perf_counter()
        pending = [self._told_vectors(generation) for generation in self._open]
        expect = getattr(self.proposer.sampler, "expect", None)
        if expect is not None:
            width = len(self.proposer.space.columns)
            expect(np.concatenate(pending) if pending else np.empty((0, width)))
        told_below = self._open[0].first if self._open else self.proposer.next_number
        generation = self.proposer.propose(self._next, told_below)
        self.tally.seconds["propose"] += time.perf_counter() - start
        self._next += 1
        if not generation.order:
            return
        generation = self._adopt(generation)
        self._open.append(generation)
        runnable = generation.runnable(self.limits.trials)
        if generation.results:
            runnable = [spec for spec in runnable if spec.number not in generation.results]
        for spec in runnable:
            self._running[spec.number] = generation
        start = time.perf_counter()
        self.executor.submit(runnable)
        self.tally.seconds["claim"] += time.perf_counter() - start

    def _adopt(self, generation: Generation) -> Generation:
        """Give a generation the results that an earlier session kept under the same numbers and keys.

        Where the sampler does not propose the same trials again (its own library changed between the sessions, say) the
        stored ones are used as they are, and the run records that it went another way.
        """
        generation.recorded = generation.index in self.recorded
        stored = [one for one in self.kept.values() if one.result.generation == generation.index]
        if not stored:
            return generation
        for one in stored:
            del self.kept[one.result.number]
        proposed = {spec.number: spec.key for spec in generation.specs}
        if any(proposed.get(one.result.number) != one.result.key for one in stored):
            return self._replace(generation, stored)
        for one in stored:
            generation.results[one.result.number] = one.result
            generation.kept.add(one.result.number)
        return generation

    def _replace(self, generation: Generation, stored: list[Stored]) -> Generation:
        proposer = self.proposer
        for spec in generation.specs:
            del proposer.known[spec.key]
        closed = closed_generation(generation.index, generation.first, stored, proposer.seed)
        proposer.known.update((spec.key, spec.number) for spec in closed.specs)
        proposer.next_number = closed.specs[-1].number + 1
        self.message = (
            f"generation {closed.index} was proposed differently than before the stop; its {len(stored)} stored "
            "trials are used as they are, and from here on this run differs from one that was never stopped"
        )
        self.store.append([], events=[{"kind": "rederived", "generation": closed.index, "message": self.message}])
        return closed

    def _collect(self) -> None:
        start = time.perf_counter()
        results = self.executor.poll(POLL_SECONDS)
        self.tally.seconds["idle"] += time.perf_counter() - start
        for result in results:
            self._running.pop(result.number).results[result.number] = result
        self._unsaved += len(results)

    # -- keep and tell --------------------------------------------------------------------------------------------

    def _ready(self) -> Generation | None:
        """The generation to tell next, if it is complete; out of order (`async`) the first that is."""
        candidates = [self._open[0]] if self.in_order else self._open
        return next((one for one in candidates if self._complete(one)), None)

    def _complete(self, generation: Generation) -> bool:
        return len(generation.results) >= len(generation.runnable(self.limits.trials))

    def _tellable(self, generation: Generation) -> bool:
        return len(generation.results) == len(generation.specs)

    def _finish(self, generation: Generation) -> None:
        self._keep([generation], whole=True)
        self._open.remove(generation)
        start = time.perf_counter()
        self._count(generation)
        numbers = self._told_numbers(generation)
        told = Told(
            self._told_vectors(generation),
            self.values.scores[numbers],
            self.values.violations[numbers],
            self.values.states[numbers],
            self._told_origins(generation),
        )
        told.to(self.proposer.sampler)
        if self.snapshots is not None:
            self.snapshots.told(told, generation.index)
        self.tally.seconds["tell"] += time.perf_counter() - start

    def _keep_open(self) -> None:
        self._keep(list(self._open))

    def _keep(self, generations: list[Generation], *, whole: bool = False) -> None:
        start = time.perf_counter()
        batch: list[Stored] = []
        duplicates: list[Duplicate] = []
        for generation in generations:
            for spec, vector, origin in zip(generation.specs, generation.vectors, generation.origins, strict=True):
                result = generation.results.get(spec.number)
                if result is not None and spec.number not in generation.kept:
                    batch.append(Stored(result, vector, origin))
            if not generation.recorded and generation.repeats and (whole or generation.results):
                duplicates += [
                    Duplicate(generation.index, one.position, one.original, one.cause, one.origin)
                    for one in generation.repeats
                ]
        if batch or duplicates:
            due = self.snapshots.due(generations[0].index) if self.snapshots is not None and whole else None
            self.store.append(batch, duplicates=duplicates, snapshot=due)
            for generation in generations:
                generation.kept.update(generation.results)
                generation.recorded = generation.recorded or whole or bool(generation.results)
            if self.on_keep is not None and batch:
                self.on_keep([one.result for one in batch])
        self._unsaved = 0
        self._last_keep = time.perf_counter()
        self.tally.seconds["keep"] += self._last_keep - start

    def _count(self, generation: Generation) -> None:
        for spec, origin in zip(generation.specs, generation.origins, strict=True):
            result = generation.results.get(spec.number)
            if result is None:
                continue
            self.values.put_result(result)
            self.tally.add_seconds(result.seconds)
            if self.pruner is not None:
                self.pruner.tell(result.number, result.reports, result.state, result.score)
            if self.tally.add(result, origin):
                self._last_best = result.number
        self.tally.duplicates.update(one.cause for one in generation.repeats)

    def _told_numbers(self, generation: Generation) -> list[int]:
        return [generation.specs[i].number if i >= 0 else generation.repeats[~i].original for i in generation.order]

    def _told_vectors(self, generation: Generation) -> FloatArray:
        if generation.told_vectors is None:
            rows = [generation.vectors[i] if i >= 0 else generation.repeats[~i].vector for i in generation.order]
            generation.told_vectors = np.array(rows)
        return generation.told_vectors

    def _told_origins(self, generation: Generation) -> list[str]:
        return [generation.origins[i] if i >= 0 else generation.repeats[~i].origin for i in generation.order]

    # -- stopping -------------------------------------------------------------------------------------------------

    def _stop_reason(self) -> StopReason | None:
        if self.stop_asked():
            return "interrupted"
        tally, limits = self.tally, self.limits
        failures = tally.too_many_failures(limits.failures)
        if failures is not None:
            self.message = failures
            return "failures"
        best = tally.best
        if limits.target is not None and best is not None and tally.best_is_feasible:
            assert best.score is not None
            if best.score >= limits.target:
                self.message = f"trial {best.number} reached {best.score:g}; the target was {limits.target:g}"
                return "target"
        if limits.patience is not None and tally.done - 1 - self._last_best >= limits.patience > 0:
            self.message = f"no improvement in {limits.patience} trials"
            return "plateau"
        if self._deadline is not None and time.perf_counter() >= self._deadline:
            self.message = f"{limits.seconds:g} seconds have passed"
            return "seconds"
        if not self._open and limits.trials is not None and self.proposer.next_number >= limits.trials:
            return "trials"
        return None

    def _why_nothing_left(self) -> StopReason:
        if self.proposer.exhausted:
            self.message = self.proposer.why
            return "exhausted"
        return "trials"

    def _emit(self, reason: StopReason | None = None) -> None:
        now = time.perf_counter()
        if self.progress is None or (reason is None and now - self._last_event < EVENT_SECONDS):
            return
        self._last_event = now
        self.progress(
            self.tally.event("searching", self._next, busy=self.executor.busy, stop_reason=reason, message=self.message)
        )
