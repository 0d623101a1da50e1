"""A mixture that is brought up to date is the mixture built afresh."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from genesis.search import tpe_mixtures as mixtures
from genesis.search.cells import Cells
from genesis.search.space import Space
from genesis.search.tpe import TpeModel, TpeOptions, _Mixture

SPEC = {
    "line": {"type": "float", "low": -2.0, "high": 3.0},
    "curve": {"type": "float", "low": 1e-4, "high": 1.0, "log": True},
    "grid": {"type": "float", "low": 0.1, "high": 0.9, "step": 0.1},
    "twin": {"type": "int", "low": 0, "high": 8},
    "fine": {"type": "int", "low": 0, "high": 300},
    "octave": {"type": "int", "low": 1, "high": 9, "log": True},
    "kind": {"type": "categorical", "choices": ["a", "b", "c"]},
    "only": {"type": "float", "low": 0.0, "high": 1.0, "step": 0.125, "when": {"kind": "a"}},
    "some": {"type": "float", "low": 0.0, "high": 1.0, "when": {"kind": ["b", "c"]}},
}
CELLS = Cells(Space.from_spec(SPEC).columns)


def _parts(model: TpeModel, side: _Mixture) -> list[bytes]:
    """Everything a proposal reads of a mixture."""
    found = []
    for g, group in enumerate(model.groups):
        slots = slice(int(side.at[g]), int(side.at[g] + side.n[g]))
        found.append(side.base[g, slots].tobytes())
        for j in group.columns:
            cells = 0 if model.kind[j] in (mixtures.CONTINUOUS, mixtures.FINE) else int(CELLS.count[j])
            first = int(model.start[j])
            found.append(side.table[first : first + cells, slots].tobytes())
            found.append(side.lines[mixtures.MIDDLE, j, slots].tobytes())
            if model.kind[j] != mixtures.CATEGORICAL:
                found.append(side.lines[mixtures.INVERSE, j, slots].tobytes())
    return found


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    sizes=st.lists(st.integers(0, 12), min_size=1, max_size=40),
    first=st.sampled_from([0, 1, 30, 110, 480]),
    kernels=st.sampled_from([1, 7, 60, 300]),
    clip=st.booleans(),
    liars=st.integers(0, 4),
)
def test_up_to_date_is_as_good_as_new(
    seed: int, sizes: list[int], first: int, kernels: int, clip: bool, liars: int
) -> None:
    """Told bit by bit, with liars between, both mixtures are bit for bit those of a model that was told all at once."""
    options = TpeOptions(bad_kernels=kernels, consider_magic_clip=clip)
    rng = np.random.default_rng(seed)
    n = first + sum(sizes)
    rows = CELLS.close(CELLS.from_unit(rng.random((n + liars, CELLS.d))))
    classes = rng.choice(np.array([0, 0, 0, 1, 2, 4], np.int8), n)
    losses = rng.integers(0, 50, n) - np.arange(n) * rng.choice([0.0, 0.3])
    steps = TpeModel(CELLS, options)
    told = 0
    for size in [first, *sizes]:
        steps.tell(rows[told : told + size], classes[told : told + size], losses[told : told + size])
        told += size
        steps.refresh(liars)
        steps.lie(rows[n:])
    steps.refresh(liars)
    once = TpeModel(CELLS, options)
    once.tell(rows[:n], classes, losses)
    once.refresh(liars)
    assert _parts(steps, steps._good) == _parts(once, once._good)
    assert _parts(steps, steps._bad) == _parts(once, once._bad)


def _filled_bit_by_bit(kernels: int, n: int, seed: int) -> list[tuple[int, int]]:
    """Room and first slot after each of n bad trials; the last mixture is bit for bit that of all told at once."""
    options = TpeOptions(bad_kernels=kernels)
    rows = CELLS.close(CELLS.from_unit(np.random.default_rng(seed).random((n, CELLS.d))))
    steps, seen = TpeModel(CELLS, options), []
    for i in range(n):
        steps.tell(rows[i : i + 1], np.full(1, 4, np.int8), np.zeros(1))
        steps.refresh(0)
        seen.append((steps._bad.room, int(steps._bad.at[0])))
    once = TpeModel(CELLS, options)
    once.tell(rows, np.full(n, 4, np.int8), np.zeros(n))
    once.refresh(0)
    assert _parts(steps, steps._bad) == _parts(once, once._bad)
    return seen


def test_the_room_grows_without_a_difference() -> None:
    """A mixture of up to 300 kernels is moved to larger rooms as it fills."""
    rooms = [room for room, _ in _filled_bit_by_bit(300, 700, seed=2)]
    assert len(set(rooms)) >= 2
    assert rooms == sorted(rooms)


def test_kernels_keep_their_slots_until_the_room_ends() -> None:
    """Through several rounds of the room the window moves on slot by slot, and back, without a difference."""
    moved = np.diff([at for _, at in _filled_bit_by_bit(20, 900, seed=1)][100:])
    assert (moved == 1).sum() > 700
    assert (moved < 0).sum() >= 2
