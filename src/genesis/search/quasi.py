"""Quasi-random points: a scrambled Sobol sequence over the unit cube, mapped to the space's own grid and conditions."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np

from genesis.search.cells import Cells, SpaceLike
from genesis.search.proposals import Proposals
from genesis.types import FloatArray, Int8Array

_BLOCK = 256
_RULE_TRIES = 64
_BLOCKS: OrderedDict[tuple[int, int, int], FloatArray] = OrderedDict()
_SEQUENCES: OrderedDict[tuple[int, int], Any] = OrderedDict()


def _block(d: int, seed: int, number: int) -> FloatArray:
    """Points number * 256 … of the sequence scrambled by `seed`; at most 64 blocks are kept."""
    key = (d, seed, number)
    if key not in _BLOCKS:
        engine = _sequence(d, seed)
        if engine.num_generated > number * _BLOCK:
            engine.reset()
        if ahead := number * _BLOCK - engine.num_generated:
            engine.fast_forward(ahead)
        _BLOCKS[key] = engine.random(_BLOCK)
        if len(_BLOCKS) > 64:
            _BLOCKS.popitem(last=False)
    return _BLOCKS[key]


def _sequence(d: int, seed: int) -> Any:
    """The sequence itself, wherever it stands; scrambling takes as long as hundreds of points, so eight are kept."""
    key = (d, seed)
    if key not in _SEQUENCES:
        from scipy.stats import qmc

        _SEQUENCES[key] = qmc.Sobol(d, scramble=True, rng=np.random.default_rng(seed & 0xFFFFFFFFFFFFFFFF))
        if len(_SEQUENCES) > 8:
            _SEQUENCES.popitem(last=False)
    _SEQUENCES.move_to_end(key)
    return _SEQUENCES[key]


def sobol(d: int, count: int, *, seed: int, first: int) -> FloatArray:
    """Points first … first + count - 1 of the d-dimensional sequence, float64[count, d] in [0, 1)."""
    out = np.empty((count, d))
    done = 0
    while done < count:
        number, offset = divmod(first + done, _BLOCK)
        block = _block(d, seed, number)
        take = min(_BLOCK - offset, count - done)
        out[done : done + take] = block[offset : offset + take]
        done += take
    return out


def quasi_points(space: SpaceLike, cells: Cells, count: int, *, seed: int, first: int, attempt: int = 0) -> FloatArray:
    """`count` points of the space, float64[count, d]; those that break its rules are replaced by seeded random draws.

    A point that 64 random draws cannot replace is returned as it is; the caller's claim refuses it with its reason.
    """
    if cells.d == 0:
        return np.empty((count, 0))
    scramble = seed if attempt == 0 else seed + 104_729 * attempt
    vectors = to_space(cells, sobol(cells.d, count, seed=scramble, first=first))
    if not len(space.rules):
        return vectors
    rng = np.random.default_rng([seed & 0xFFFFFFFFFFFFFFFF, first, attempt, 3])
    for _ in range(_RULE_TRIES):
        broken = ~space.allowed(vectors)
        if not broken.any():
            break
        vectors[broken] = to_space(cells, rng.random((int(broken.sum()), cells.d)))
    return vectors


def to_space(cells: Cells, unit: FloatArray) -> FloatArray:
    """Points of the unit cube as vectors of the space: on its grid, inactive columns NaN."""
    return cells.values(cells.close(cells.from_unit(unit)))


class QuasiSampler:
    """`random`: the quasi-random sequence itself, which covers a box more evenly than independent draws."""

    name = "random"

    def __init__(self, space: SpaceLike, *, seed: int, concurrency: int = 1) -> None:
        self.space = space
        self.seed = seed
        self.concurrency = concurrency
        self.cells = Cells(space.columns)

    def ask(self, count: int, generation: int, attempt: int = 0) -> Proposals:
        """The generation's own stretch of the sequence; a further attempt reads a sequence scrambled anew."""
        first = generation * max(count, self.concurrency)
        vectors = quasi_points(self.space, self.cells, count, seed=self.seed, first=first, attempt=attempt)
        return Proposals(vectors, ["random"] * count)

    def tell(self, vectors: Any, scores: Any, violations: Any, states: Int8Array, origins: Sequence[str]) -> None:
        """Nothing is learnt."""
        del vectors, scores, violations, states, origins
