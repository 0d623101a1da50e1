"""The estimator's densities agree with a slow twin, and its proposals follow from what it was told."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from genesis.errors import ConfigError
from genesis.search import tpe_kernels as kernels
from genesis.search.cells import Cells
from genesis.search.proposals import generation_seed
from genesis.search.space import Space
from genesis.search.tpe import TpeModel, TpeOptions, TpeSampler, rank_weights
from genesis.search.tpe_mixtures import ramp

SPEC = {
    "line": {"type": "float", "low": -2.0, "high": 3.0},
    "curve": {"type": "float", "low": 1e-4, "high": 1.0, "log": True},
    "grid": {"type": "float", "low": 0.1, "high": 0.9, "step": 0.1},
    "whole": {"type": "int", "low": 0, "high": 6},
    "octave": {"type": "int", "low": 1, "high": 9, "log": True},
    "kind": {"type": "categorical", "choices": ["a", "b", "c"]},
}


def _rows(space: Space, cells: Cells, n: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return cells.close(cells.from_unit(rng.random((n, cells.d))))


def _sigmas(x: np.ndarray, n_kernels: int) -> np.ndarray:
    order = np.argsort(x, kind="stable")
    line = x[order]
    if len(x) == 1:
        raw = np.array([max(x[0], 1 - x[0])])
    else:
        gaps = np.diff(line)
        left, right = np.append(0.0, gaps), np.append(gaps, 0.0)
        raw = np.empty(len(x))
        raw[order] = np.maximum(left, right)
    return np.clip(raw, 1.0 / min(100.0, 1.0 + n_kernels), 1.0)


def _twin(cells: Cells, rows: np.ndarray, weights: np.ndarray, point: np.ndarray) -> float:
    """The mixture's log density at a point, straight from the definition: Bergstra 2011 with a uniform-like prior."""
    n = len(rows)
    unit = cells.unit(rows)
    density = np.append(weights, 1.0)
    for j in range(cells.d):
        m = int(cells.count[j])
        if cells.categorical[j]:
            share = np.full((n + 1, m), 1.0 / (n + 1))
            share[np.arange(n), rows[:, j].astype(int)] += 1.0
            share[n] = 1.0
            density = density * (share / share.sum(axis=1, keepdims=True))[:, int(point[j])]
            continue
        mean = np.append(unit[:, j], 0.5)
        sigma = np.append(_sigmas(unit[:, j], n + 1), 1.0)
        whole = stats.norm.cdf(1, mean, sigma) - stats.norm.cdf(0, mean, sigma)
        if m:
            low, high = cells.edges[j][int(point[j])], cells.edges[j][int(point[j]) + 1]
            density = density * (stats.norm.cdf(high, mean, sigma) - stats.norm.cdf(low, mean, sigma)) / whole
        else:
            density = density * stats.norm.pdf(point[j], mean, sigma) / whole
    return float(np.log(density.sum()))


@settings(max_examples=25, deadline=None)
@given(n=st.integers(1, 60), seed=st.integers(0, 10_000))
def test_the_density_agrees_with_its_definition(n: int, seed: int) -> None:
    """Up to one constant, a compiled mixture gives the density that the definition gives, on every sort of column."""
    space = Space.from_spec(SPEC)
    cells = Cells(space.columns)
    model = TpeModel(cells, TpeOptions())
    model.tell(_rows(space, cells, n, seed), np.full(n, 4, np.int8), np.zeros(n))  # failed: all of them are bad
    model.refresh(0)
    bad, points = model._bad, _rows(space, cells, 12, seed + 1)
    work = np.empty(bad.room, np.float32)
    weights = ramp(n, n)
    ours, twin = [], []
    for point in points:
        ours.append(
            kernels.log_density(
                point, model.group_columns, model.kind, model.start, model.edge_start, model.middles,
                bad.table, bad.lines, bad.base[0], bad.at[0], bad.n[0], work,
            )
        )  # fmt: skip
        twin.append(_twin(cells, model.rows, weights, point))
    gap = np.array(ours) - np.array(twin)
    assert gap - gap[0] == pytest.approx(np.zeros(len(gap)), abs=2e-4)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_values_are_the_spaces_own(seed: int) -> None:
    """Model coordinates become the very values that the space snaps to, and come back."""
    space = Space.from_spec(SPEC | {"far": {"type": "int", "low": 0, "high": 200_000}})
    cells = Cells(space.columns)
    rows = _rows(space, cells, 20, seed)
    values = cells.values(rows)
    assert np.array_equal(values, space.snap(values))
    grid = cells.count > 0
    assert np.array_equal(cells.model(values)[:, grid], rows[:, grid])
    assert cells.model(values) == pytest.approx(rows, abs=1e-12)


def _study(space: Space, generations: range, sampler: TpeSampler, size: int = 4) -> list[np.ndarray]:
    asked = []
    for generation in generations:
        proposals = sampler.ask(size, generation)
        asked.append(proposals.vectors)
        sampler.tell(
            proposals.vectors, _score(proposals.vectors), np.zeros(size), np.zeros(size, np.int8), proposals.origins
        )
    return asked


def _score(vectors: np.ndarray) -> np.ndarray:
    return -((np.nan_to_num(vectors, nan=1.0) - 0.4) ** 2).sum(axis=1)


def _sampler(space: Space, **options: object) -> TpeSampler:
    return TpeSampler(space, seed=5, options=TpeOptions(n_startup_trials=8, **options), concurrency=4)  # type: ignore[arg-type]


def test_a_history_told_at_once_gives_the_same_next_points() -> None:
    """Ten generations told one by one, or all in one call to a new sampler: the eleventh is the same."""
    space = Space.from_spec(SPEC)
    first = _sampler(space)
    asked = np.concatenate(_study(space, range(30), first))
    second = _sampler(space)
    second.tell(asked, _score(asked), np.zeros(120), np.zeros(120, np.int8), ["tpe"] * 120)
    assert np.array_equal(first.ask(4, 30).vectors, second.ask(4, 30).vectors)


def test_points_of_one_generation_repel_each_other() -> None:
    """With the liar on, a generation covers more of a line than with it off."""
    space = Space.from_spec({"x": {"type": "float", "low": 0.0, "high": 1.0}})
    spread = {}
    for liar in (True, False):
        widths = []
        for seed in range(12):
            options = TpeOptions(n_startup_trials=1, constant_liar=liar)
            sampler = TpeSampler(space, seed=seed, options=options)
            known = np.random.default_rng(seed).random((40, 1))
            sampler.tell(known, -((known[:, 0] - 0.5) ** 2), np.zeros(40), np.zeros(40, np.int8), ["x"] * 40)
            widths.append(np.diff(np.sort(sampler.ask(16, 3).vectors[:, 0])).min())
        spread[liar] = np.median(widths)
    assert spread[True] > spread[False]


def test_expected_points_are_liars_until_they_are_told() -> None:
    """A point said to be running changes what is proposed; once told, it is no longer running."""
    space = Space.from_spec(SPEC)
    plain, waiting = _sampler(space), _sampler(space)
    for sampler in (plain, waiting):
        _study(space, range(10), sampler)
    running = plain.ask(4, 10).vectors
    plain.expect(np.empty((0, 6)))
    waiting.expect(running)
    assert not np.array_equal(plain.ask(40, 11).vectors, waiting.ask(40, 11).vectors)
    waiting.tell(running, _score(running), np.zeros(4), np.zeros(4, np.int8), ["tpe"] * 4)
    assert not any(waiting.is_open(vector.tobytes()) for vector in running)


def test_failed_and_undefined_trials_are_never_good() -> None:
    """Among many failures the only complete trial, however poor, is the good one."""
    space = Space.from_spec({"x": {"type": "float", "low": 0.0, "high": 1.0}})
    sampler = TpeSampler(space, seed=1, options=TpeOptions(n_startup_trials=0))
    scores = np.full(30, 9.0)
    scores[20:] = np.nan
    states = np.ones(30, np.int8)
    states[20:] = 0
    scores[7], states[7] = -5.0, 0
    sampler.tell(np.linspace(0, 1, 30)[:, None], scores, np.zeros(30), states, ["x"] * 30)
    assert sampler.model.good_index().tolist() == [7]


def test_conditional_columns_are_drawn_only_where_they_exist() -> None:
    """Each branch's columns are NaN in the other branch, two levels deep."""
    space = Space.from_spec(
        {
            "kind": {"type": "categorical", "choices": ["a", "b"]},
            "x": {"type": "int", "low": 0, "high": 3, "when": {"kind": "a"}},
            "y": {"type": "float", "low": 0.0, "high": 1.0, "when": {"kind": "b"}},
            "z": {"type": "float", "low": 0.0, "high": 1.0, "when": {"x": [1, 2]}},
        }
    )
    points = np.concatenate(_study(space, range(40), _sampler(space)))
    kind, x, y, z = points.T
    assert np.array_equal(np.isnan(x), kind == 1)
    assert np.array_equal(np.isnan(y), kind == 0)
    assert np.array_equal(np.isnan(z), ~np.isin(x, [1, 2]))
    assert len(set(kind)) == 2
    assert np.isfinite(z).any()


@pytest.mark.parametrize("options", [{}, {"multivariate": False}, {"n_ei_candidates": 48, "bad_kernels": 1024}])
def test_it_finds_more_than_chance(options: dict[str, object]) -> None:
    """After 200 trials of a six-column sphere the median best of five seeds is far below that of random points."""
    space = Space.from_spec({f"x{i}": {"type": "float", "low": -1.0, "high": 1.0} for i in range(6)})
    ours, chance = [], []
    for seed in range(5):
        sampler = TpeSampler(space, seed=seed, options=TpeOptions(**options), concurrency=4)  # type: ignore[arg-type]
        ours.append(max(_score(v).max() for v in _study(space, range(50), sampler)))
        chance.append(_score(np.random.default_rng(seed).uniform(-1, 1, (200, 6))).max())
    assert np.median(ours) > 0.3 * np.median(chance)


def _drawn(space: Space, perturbation: float, *, told: int = 300) -> tuple[TpeModel, np.ndarray]:
    """400 points drawn from a model of `told` trials; one candidate each, so that nothing is chosen, and no prior."""
    cells = Cells(space.columns)
    model = TpeModel(cells, TpeOptions(n_ei_candidates=1, perturbation=perturbation, prior_weight=1e-9))
    model.tell(_rows(space, cells, told, 4), np.zeros(told, np.int8), np.arange(float(told)))
    model.refresh(0)
    return model, model.draw(generation_seed(1, 2, 3, 1), 400, liar=False)[:, 0]


EIGHT = {f"x{i}": {"type": "float", "low": 0.0, "high": 1.0} for i in range(8)}


@pytest.mark.parametrize(
    ("perturbation", "told", "expected"), [(0.1, 300, 0.1), (0.3, 300, 0.3), (0.7, 300, 0.7), (0.1, 40, 0.5)]
)
def test_a_candidate_leaves_a_good_point_in_some_columns(perturbation: float, told: int, expected: float) -> None:
    """The probability falls to the option's value; one column, any of them, always moves."""
    model, points = _drawn(Space.from_spec(EIGHT), perturbation, told=told)
    kept = (points[:, None, :] == model.rows[model.good_index()]).sum(axis=2).max(axis=1)
    assert kept.max() <= 7
    assert 8 - kept.mean() == pytest.approx(1 + 7 * expected, abs=0.25)


@pytest.mark.parametrize(("perturbation", "told"), [(1.0, 300), (0.1, 20)])
def test_at_first_or_with_a_perturbation_of_one_no_value_is_kept(perturbation: float, told: int) -> None:
    """No continuous value of a good point comes again."""
    model, points = _drawn(Space.from_spec(EIGHT), perturbation, told=told)
    assert not np.isin(points, model.rows).any()


def test_the_probability_falls_with_the_generations() -> None:
    """One for twenty generations of any size, then twenty of their number, down to the option."""
    cells = Cells(Space.from_spec(EIGHT).columns)
    for concurrency in (1, 8):
        model = TpeModel(cells, TpeOptions(), concurrency=concurrency)
        found = []
        for _ in range(100):
            found.append(model.perturbation)
            model.tell(np.full((concurrency, 8), 0.5), np.zeros(concurrency, np.int8), np.zeros(concurrency))
        assert found[:21] == [1.0] * 21
        assert found[40] == 0.5
        assert found[67:] == [0.3] * 33


def test_a_candidate_is_no_copy_of_a_good_point() -> None:
    """Where every column has a grid or choices, a draw that moved nothing is drawn again."""
    space = Space.from_spec(
        {f"k{i}": {"type": "categorical", "choices": ["a", "b"]} for i in range(2)}
        | {"n": {"type": "int", "low": 1, "high": 9}, "g": {"type": "float", "low": 0.0, "high": 1.0, "step": 0.05}}
    )
    model, points = _drawn(space, 0.05)
    good = {row.tobytes() for row in model.rows[model.good_index()]}
    assert sum(point.tobytes() in good for point in points) < 80  # 292 without a second try


def test_many_columns_are_descended_a_few_at_a_time() -> None:
    """Rastrigin's function in ten columns, 400 trials: with most of a good point's values kept, less is left."""
    space = Space.from_spec({f"x{i}": {"type": "float", "low": -5.12, "high": 5.12} for i in range(10)})
    left: dict[float, list[float]] = {0.3: [], 1.0: []}
    for seed in range(5):
        best = np.random.default_rng(seed).uniform(-2.5, 2.5, 10)
        for perturbation, found in left.items():
            options = TpeOptions(perturbation=perturbation)
            sampler, lowest = TpeSampler(space, seed=seed, options=options, concurrency=2), np.inf
            for generation in range(200):
                asked = sampler.ask(2, generation)
                x = asked.vectors - best
                loss = 100.0 + (x**2 - 10.0 * np.cos(2 * np.pi * x)).sum(axis=1)
                lowest = min(lowest, loss.min())
                sampler.tell(asked.vectors, -loss, np.zeros(2), np.zeros(2, np.int8), asked.origins)
            found.append(lowest)
    assert np.mean(left[0.3]) < 0.85 * np.mean(left[1.0])


def test_the_best_are_kept_as_a_sort_would_keep_them() -> None:
    """Told in pieces of any size, the good set is the first tenth of the stable order, at most 25."""
    rng = np.random.default_rng(3)
    cells = Cells(Space.from_spec({"x": {"type": "float", "low": 0.0, "high": 1.0}}).columns)
    model = TpeModel(cells, TpeOptions())
    losses, classes = rng.integers(0, 40, 700).astype(float), rng.integers(0, 3, 700).astype(np.int8)
    at = 0
    for size in (1, 3, 150, 8, 200, 2, 336):
        rows = rng.random((size, 1))
        model.tell(rows, classes[at : at + size], losses[at : at + size])
        at += size
        order = np.lexsort((losses[:at], classes[:at]))[: min(-(-at // 10), 25)]
        assert model.good_index().tolist() == order.tolist()


def test_good_points_weigh_by_rank() -> None:
    """The best weighs most, the weights fall from place to place and are one on average."""
    for n in (1, 2, 7, 25):
        weights = rank_weights(n)
        assert weights.mean() == pytest.approx(1.0)
        assert (np.diff(weights) < 0).all()
    assert rank_weights(0).tolist() == []


@pytest.mark.parametrize("rules", [[], ["n >= 2"]])
def test_no_point_of_a_finite_space_comes_twice(rules: list[str]) -> None:
    """Neither a told point nor a running one nor one of the same generation is proposed again while others are left."""
    space = Space.from_spec(
        {
            "kind": {"type": "categorical", "choices": ["a", "b"]},
            "n": {"type": "int", "low": 1, "high": 6},
            "x": {"type": "float", "low": 0.0, "high": 1.0, "step": 0.1, "when": {"kind": "a"}},
        },
        rules=rules,
    )
    sampler = TpeSampler(space, seed=2, options=TpeOptions(n_startup_trials=1), concurrency=6)
    told = sampler.ask(6, 0).vectors
    sampler.tell(told, _score(told), np.zeros(6), np.zeros(6, np.int8), ["tpe"] * 6)
    running = sampler.ask(6, 1).vectors
    proposed = sampler.ask(6, 2).vectors
    known = {vector.tobytes() for vector in told}
    new = [vector.tobytes() for vector in np.concatenate([running, proposed])]
    assert len(set(new)) == 12
    assert known.isdisjoint(new)
    assert space.allowed(np.concatenate([running, proposed])).all()


def test_weights_fall_with_age() -> None:
    """The newest 25 weigh one, the oldest of n one n-th, and the rest lie on the line between."""
    weights = ramp(100, 100)
    assert weights[-25:].tolist() == [1.0] * 25
    assert weights[0] == pytest.approx(0.01)
    assert np.diff(weights).min() >= 0
    assert ramp(100, 30) == pytest.approx(weights[-30:])
    assert ramp(10, 10).tolist() == [1.0] * 10


def test_seeds_differ_by_generation_and_attempt() -> None:
    """No two asks share their generator's state."""
    states = {tuple(generation_seed(1, g, a, 1).tolist()) for g in range(20) for a in range(4)}
    assert len(states) == 80


@pytest.mark.parametrize(
    "options", [{"n_ei_candidates": 0}, {"bad_kernels": 1.5}, {"prior_weight": float("nan")}, {"perturbation": 0}]
)
def test_options_that_cannot_be_used_are_refused(options: dict[str, object]) -> None:
    """A bad option is refused by name."""
    with pytest.raises(ConfigError, match=f"sampler.{next(iter(options))}"):
        TpeOptions(**options)  # type: ignore[arg-type]
