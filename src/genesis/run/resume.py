"""Open a run for searching: make it, or check that it is the same study and bring the sampler back to where it was."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from genesis.errors import ResumeError
from genesis.run.proposals import Cause, Generation, Proposer, Repeat, closed_generation
from genesis.run.restored import Restored, Values, told_before
from genesis.run.snapshots import Snapshots, Told, joined, restore_sampler
from genesis.run.tally import Tally
from genesis.search.proposals import BatchSampler, Snapshotting
from genesis.trials.codec import json_dumps, json_loads
from genesis.trials.store import Duplicate, History, RunStore, Stored
from genesis.types import IntArray

if TYPE_CHECKING:
    from genesis.search.pruners import Pruner

TOLD_AT_ONCE = frozenset({"tpe", "random", "grid", "brute"})
"""Samplers to which it is all the same in what portions they are told."""

REPLAYED_BY_TELLING = TOLD_AT_ONCE | {"auto"}
"""Samplers that told results bring back exactly. The others keep state of their own: their asks are repeated too, which
takes as long as it took the first time, trials excepted."""


def differences(stored: Any, asked: Any, path: str = "") -> list[str]:
    """Every dotted path at which two JSON values differ, with both values, in words."""
    if isinstance(stored, Mapping) and isinstance(asked, Mapping):
        found: list[str] = []
        for name in sorted({*stored, *asked}, key=str):
            below = f"{path}.{name}" if path else str(name)
            if name not in stored:
                found.append(f"{below}: not in the stored study, now {_short(asked[name])}")
            elif name not in asked:
                found.append(f"{below}: was {_short(stored[name])}, now absent")
            else:
                found += differences(stored[name], asked[name], below)
        return found
    if isinstance(stored, list) and isinstance(asked, list) and len(stored) == len(asked):
        return [
            line
            for i, (a, b) in enumerate(zip(stored, asked, strict=True))
            for line in differences(a, b, f"{path}[{i}]")
        ]
    return [] if stored == asked else [f"{path}: was {_short(stored)}, now {_short(asked)}"]


def check_signature(run_dir: Path, stored: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    """Raise `ResumeError` naming what differs between a stored study and the one asked for, if anything does."""
    found = differences(stored, json_loads(json_dumps(asked)))
    if found:
        raise ResumeError(
            f"{run_dir}: holds another study, so its results would not compare. What differs:\n  "
            + "\n  ".join(found)
            + "\nGive this study another run.run_id, or put back what was changed.",
            differences=found,
        )


def restore(
    store: RunStore,
    proposer: Proposer,
    values: Values,
    tally: Tally,
    *,
    lag: int,
    prompt: int = 0,
    sampler_name: str,
    pruner: Pruner | None = None,
    in_order: bool = True,
    warm: Sequence[Told] = (),
) -> Restored:
    """Tell the sampler what was told when the first unfinished generation was proposed, and say where to go on.

    The last 1 + lag generations (of the first `prompt` only the last) may be unfinished: they are proposed again, and
    matched with what is stored. A run that is not told in order (mode `async`) goes on behind its last trial instead.
    `warm` is told before everything else.
    """
    snapshots = Snapshots(proposer.sampler, lag) if in_order else None
    history = store.history()
    duplicates = store.duplicates()
    if not len(history) and not duplicates:
        _tell(proposer.sampler, warm, snapshots)
        return Restored(snapshots=snapshots)
    past = _Past(store, history, duplicates, proposer.seed)
    if in_order:
        first = told_before(past.last, lag, prompt) if sampler_name in REPLAYED_BY_TELLING else 0
        told = told_before(first, lag, prompt)
    else:  # what did not finish is not proposed again, and its numbers stay unused
        first = told = past.last + 1
    values.put(history.numbers, history.scores, history.violation, history.states)
    settled, next_number = past.before(first)
    numbers = history.numbers[:settled].tolist()
    proposer.known.update((key.hex(), number) for key, number in zip(history.keys[:settled], numbers, strict=True))
    proposer.next_number = next_number
    if sampler_name in TOLD_AT_ONCE:
        _tell(proposer.sampler, [*warm, past.told(0, told, values)], snapshots)
    else:
        begin = _from_snapshot(store, proposer.sampler, past, values, warm, told, snapshots)
        _tell(proposer.sampler, [past.told(index, index + 1, values) for index in range(begin, told)], snapshots)
    counted, _ = past.before(told)
    tally.add_stored(store, history, counted)
    if pruner is not None:
        for result in store.results(history.numbers[:counted].tolist()):
            pruner.tell(result.number, result.reports, result.state, result.score)
    tally.duplicates.update(Counter(one.cause for one in duplicates if one.generation < told))
    tally.resumed = len(history)
    return Restored(
        first,
        [past.generation(index) for index in range(told, first)],
        {int(history.numbers[row]): past.stored(row) for row in range(settled, len(history))},
        {one.generation for one in duplicates if one.generation >= first},
        snapshots,
    )


def _tell(sampler: BatchSampler, portions: Iterable[Told], snapshots: Snapshots | None) -> None:
    for portion in portions:
        portion.to(sampler)
        if snapshots is not None:
            snapshots.told(portion)


def _from_snapshot(
    store: RunStore,
    sampler: BatchSampler,
    past: _Past,
    values: Values,
    warm: Sequence[Told],
    limit: int,
    snapshots: Snapshots | None,
) -> int:
    """Restore the stored snapshot, if there is one that fits; the first generation that must be told after it."""
    kept = store.snapshot() if snapshots is not None and isinstance(sampler, Snapshotting) else None
    if kept is not None and kept[0] <= limit:
        generation, body = kept
        whole = joined([*warm, past.told(0, generation, values)])
        try:
            restore_sampler(sampler, body, whole)
        except ValueError as error:
            said = f"the sampler's snapshot is not used ({error}); everything was told again, which comes to the same"
            store.append([], events=[{"kind": "snapshot", "generation": generation, "message": said}])
        else:
            assert snapshots is not None
            snapshots.told(whole)
            return generation
    _tell(sampler, warm, snapshots)
    return 0


class _Past:
    """The stored run by generation; a later number is never of an earlier generation."""

    def __init__(self, store: RunStore, history: History, duplicates: list[Duplicate], seed: int) -> None:
        self.store = store
        self.history = history
        self.seed = seed
        self.repeats: dict[int, list[Duplicate]] = {}
        for one in duplicates:
            self.repeats.setdefault(one.generation, []).append(one)
        for repeats in self.repeats.values():
            repeats.sort(key=lambda one: one.position)
        self.row_of = dict(zip(history.numbers.tolist(), range(len(history)), strict=True))
        latest = int(history.generations[-1]) if len(history) else 0
        self.last = max(latest, *self.repeats) if self.repeats else latest
        self.edges = np.searchsorted(history.generations, np.arange(self.last + 3))

    def before(self, generation: int) -> tuple[int, int]:
        """How many rows are of earlier generations, and the number after theirs."""
        rows = int(self.edges[generation])
        return rows, int(self.history.numbers[rows - 1]) + 1 if rows else 0

    def told(self, first: int, end: int, values: Values) -> Told:
        """Generations first … end - 1 as they were told: trials by number, repeats at their positions."""
        pieces: list[IntArray] = []
        origins: list[str] = []
        at = int(self.edges[first])
        for generation in sorted(one for one in self.repeats if first <= one < end):
            begin, stop = int(self.edges[generation]), int(self.edges[generation + 1])
            rows = list(range(begin, stop))
            own = self.history.origins[begin:stop]
            for one in self.repeats[generation]:
                rows.insert(one.position, self.row_of[one.number_of_original])
                own.insert(one.position, one.origin)
            pieces += [np.arange(at, begin), np.array(rows, dtype=np.int64)]
            origins += self.history.origins[at:begin] + own
            at = stop
        stop = int(self.edges[end])
        rows_told = np.concatenate([*pieces, np.arange(at, stop)])
        numbers = self.history.numbers[rows_told]
        return Told(
            self.history.vectors[rows_told],
            values.scores[numbers],
            values.violations[numbers],
            values.states[numbers],
            origins + self.history.origins[at:stop],
        )

    def stored(self, row: int) -> Stored:
        """One trial, whole."""
        history = self.history
        return Stored(self.store.result(int(history.numbers[row])), history.vectors[row], history.origins[row])

    def generation(self, index: int) -> Generation:
        """One complete generation, as it stood before it was told."""
        own = [self.stored(row) for row in range(int(self.edges[index]), int(self.edges[index + 1]))]
        found = closed_generation(index, self.before(index)[1], own, self.seed)
        for one in self.repeats.get(index, ()):
            found.order.insert(one.position, ~len(found.repeats))
            vector = self.history.vectors[self.row_of[one.number_of_original]]
            cause = cast("Cause", one.cause)
            found.repeats.append(Repeat(one.position, one.number_of_original, cause, one.origin, vector))
        return found


def _short(value: Any) -> str:
    text = json_dumps(value).decode()
    return text if len(text) <= 80 else text[:77] + "..."
