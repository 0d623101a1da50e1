"""The portfolio is a function of what it was told, gives trials to who earns them, and finds more than its members."""

from __future__ import annotations

import numpy as np
import pytest

from genesis.search.cells import Cells
from genesis.search.cma import WORST, CmaRun
from genesis.search.portfolio import ARMS, PortfolioSampler
from genesis.search.samplers import make_sampler
from genesis.search.space import Space

MIXED = {
    "kind": {"type": "categorical", "choices": ["a", "b", "c"]},
    "x": {"type": "float", "low": -1.0, "high": 1.0},
    "y": {"type": "float", "low": 0.0, "high": 2.0, "step": 0.1},
    "n": {"type": "int", "low": 1, "high": 64, "log": True},
    "z": {"type": "float", "low": 0.0, "high": 1.0, "when": {"kind": ["a", "b"]}},
}


def _sphere(space: Space, vectors: np.ndarray) -> np.ndarray:
    at = {path: vectors[:, j] for j, path in enumerate(space.paths)}
    return -(
        (at["x"] - 0.31) ** 2
        + (at["y"] - 0.7) ** 2
        + (np.log2(at["n"]) - 3.0) ** 2 / 9
        + np.where(at["kind"] == 1, 0.0, 0.5)
        + np.where(np.isnan(at["z"]), 0.2, (at["z"] - 0.6) ** 2)
    )


def _auto(space: Space, seed: int = 3, size: int = 4) -> PortfolioSampler:
    sampler = make_sampler("auto", {}, space, seed=seed, concurrency=size, budget=1000)
    assert isinstance(sampler, PortfolioSampler)
    return sampler


def _run(space: Space, sampler: PortfolioSampler, generations: range, size: int = 4) -> list[tuple[object, ...]]:
    told = []
    for generation in generations:
        proposals = sampler.ask(size, generation)
        states = np.zeros(len(proposals.vectors), np.int8)
        states[(proposals.vectors.sum(axis=1) % 1.0) < 0.05] = 1  # a few trials fail
        entry = (
            proposals.vectors, _sphere(space, proposals.vectors), np.zeros(len(states)), states, proposals.origins,
        )  # fmt: skip
        sampler.tell(*entry)
        told.append(entry)
    return told


@pytest.mark.parametrize("stop", [1, 7, 33, 60])
def test_a_new_sampler_told_the_history_goes_on_the_same_way(stop: int) -> None:
    """Stopped after any generation and told it all again, it proposes what it would have proposed."""
    space = Space.from_spec(MIXED)
    first = _auto(space)
    told = _run(space, first, range(stop))
    second = _auto(space)
    for entry in told:
        second.tell(*entry)
    for a, b in zip(
        _run(space, first, range(stop, stop + 12)), _run(space, second, range(stop, stop + 12)), strict=True
    ):
        assert np.array_equal(a[0], b[0], equal_nan=True)
        assert a[4] == b[4]


def test_one_generation_may_be_under_way() -> None:
    """Told one generation late, with the running points expected, it is still a function of what it was told."""
    space = Space.from_spec(MIXED)

    def go(restart_at: int | None) -> list[np.ndarray]:
        sampler, waiting, told, asked = _auto(space), [], [], []
        for generation in range(40):
            if generation == restart_at:
                sampler = _auto(space)
                for entry in told:
                    sampler.tell(*entry)
            sampler.expect(np.concatenate([entry[0] for entry in waiting] or [np.empty((0, 5))]))
            proposals = sampler.ask(4, generation)
            asked.append(proposals.vectors)
            waiting.append(
                (
                    proposals.vectors,
                    _sphere(space, proposals.vectors),
                    np.zeros(4),
                    np.zeros(4, np.int8),
                    proposals.origins,
                )
            )
            if len(waiting) == 2:
                told.append(waiting.pop(0))
                sampler.tell(*told[-1])
        return asked

    for a, b in zip(go(None), go(23), strict=True):
        assert np.array_equal(a, b, equal_nan=True)


def test_every_point_is_in_the_space() -> None:
    """All members respect grid, bounds, conditions and rules."""
    space = Space.from_spec(MIXED, rules=["x < y"])
    vectors = np.concatenate([entry[0] for entry in _run(space, _auto(space), range(60))])
    assert np.array_equal(vectors, space.snap(vectors), equal_nan=True)
    assert space.allowed(vectors).all()


def test_all_members_take_part_and_shares_add_up() -> None:
    """Every member is asked, and the shares are a partition."""
    space = Space.from_spec(MIXED)
    sampler = _auto(space)
    told = _run(space, sampler, range(120))
    origins = {origin for entry in told for origin in entry[4]}
    assert {"startup", "tpe", "cma", "local"} <= origins
    shares = sampler.shares()
    assert sum(shares) == pytest.approx(1.0)
    assert min(shares) > 0.0
    assert len(shares) == len(ARMS)


def test_a_member_that_finds_the_best_is_asked_more() -> None:
    """A member whose points are new bests earns trials; the others lose them."""
    space = Space.from_spec({"x": {"type": "float", "low": 0.0, "high": 1.0}})
    sampler = _auto(space)
    before = sampler.shares()
    for i in range(12):
        value = np.array([float(i)])
        sampler.tell(np.array([[i / 20]]), value, np.zeros(1), np.zeros(1, np.int8), ["tpe"])
        sampler.tell(np.array([[1 - i / 20]]), value - 100, np.zeros(1), np.zeros(1, np.int8), ["cma"])
    after = sampler.shares()
    assert after[ARMS.index("tpe")] > before[ARMS.index("tpe")]
    assert after[ARMS.index("cma")] < before[ARMS.index("cma")]


def test_a_small_space_is_used_up_without_hanging() -> None:
    """When everything is known, it still answers, and every point was found."""
    space = Space.from_spec(
        {"k": {"type": "categorical", "choices": [1, 2]}, "n": {"type": "int", "low": 0, "high": 8}}
    )
    sampler = _auto(space)
    seen: set[bytes] = set()
    for generation in range(80):
        proposals = sampler.ask(4, generation)
        seen |= {vector.tobytes() for vector in proposals.vectors}
        sampler.tell(
            proposals.vectors, proposals.vectors.sum(axis=1), np.zeros(4), np.zeros(4, np.int8), proposals.origins
        )
    assert len(seen) == space.size


@pytest.mark.parametrize("spec", [{"k": {"type": "categorical", "choices": ["a", "b", "c"]}}, {"c": 1.0}])
def test_spaces_without_numbers_to_move(spec: dict[str, object]) -> None:
    """Only choices, or nothing at all, to search is no error."""
    space = Space.from_spec(spec)
    sampler = _auto(space)
    for generation in range(30):
        proposals = sampler.ask(2, generation)
        assert proposals.vectors.shape == (2, len(space))
        sampler.tell(proposals.vectors, np.zeros(2), np.zeros(2), np.zeros(2, np.int8), proposals.origins)


def test_the_strategy_finds_the_middle_of_a_bowl() -> None:
    """One run, fed ranks alone, converges; the steps and the int end on their best cell."""
    space = Space.from_spec(
        {f"x{i}": {"type": "float", "low": -1.0, "high": 1.0} for i in range(4)}
        | {"s": {"type": "float", "low": 0.0, "high": 1.0, "step": 0.1}, "w": {"type": "int", "low": 0, "high": 20}}
    )
    cells = Cells(space.columns)
    run = CmaRun(cells, np.zeros(6), np.full(6, 0.5), np.full(6, 0.2), seed=1, number=1, size=10)
    best = WORST
    goal = np.array([0.3, 13.0, 0.2, -0.4, 0.1, 0.6])
    assert space.paths == ("s", "w", "x0", "x1", "x2", "x3")
    for _ in range(80):
        values = cells.values(run.points)
        losses = (((values - goal) / [1, 20, 1, 1, 1, 1]) ** 2).sum(axis=1)
        assert not run.finished(0.0)
        for slot, loss in enumerate(losses):
            best = min(best, (0, float(loss)))
            complete = run.result(slot, (0, float(loss)), None)
        assert complete
        run.go_on()
    assert best[1] < 1e-4


def test_it_does_not_lose_to_chance_or_its_parts() -> None:
    """On a smooth mixed bowl, medians of five seeds: the portfolio is at least as good as the estimator alone."""
    space = Space.from_spec(
        {f"x{i}": {"type": "float", "low": -1.0, "high": 1.0} for i in range(8)}
        | {"k": {"type": "categorical", "choices": ["a", "b", "c"]}}
    )

    def best(name: str, seed: int) -> float:
        sampler = make_sampler(name, {}, space, seed=seed, concurrency=8, budget=400)
        top = -np.inf
        for generation in range(50):
            proposals = sampler.ask(8, generation)
            v = proposals.vectors
            scores = -((v[:, 1:] - 0.3) ** 2).sum(axis=1) - 0.3 * (v[:, 0] != 2)
            top = max(top, float(scores.max()))
            sampler.tell(v, scores, np.zeros(8), np.zeros(8, np.int8), proposals.origins)
        return top

    medians = {name: np.median([best(name, seed) for seed in range(5)]) for name in ("auto", "tpe", "random")}
    assert medians["auto"] > medians["tpe"] > medians["random"]
