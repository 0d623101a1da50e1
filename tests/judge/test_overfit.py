"""Deflated Sharpe, overfitting probability and effective trials against hand-worked and simulated cases."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genesis.judge.overfit import (
    behaviours,
    deflated_sharpe,
    effective_trials,
    expected_best_sharpe,
    overfitting_probability,
    probabilistic_sharpe,
    sharpe_variance,
)


def test_paper_example() -> None:
    """The worked example of the paper: SR 2.5 a year over 1250 days, 100 trials, variance 1/2 a year: 0.90."""
    per_day = 2.5 / math.sqrt(250)
    best = expected_best_sharpe(0.5 / 250, 100)
    assert best == pytest.approx(0.1132, abs=5e-5)
    found = probabilistic_sharpe(per_day, best, 1250, skew=-3.0, kurtosis=10.0)
    assert found == pytest.approx(0.9004, abs=5e-5)


def test_expected_best_is_what_simulation_gives() -> None:
    """The expected best of 50 skill-less trials agrees with the mean of simulated maxima to 2 %."""
    drawn = np.random.default_rng(1).standard_normal((20_000, 50)).max(axis=1).mean()
    assert expected_best_sharpe(1.0, 50) == pytest.approx(drawn, rel=0.02)


@given(st.floats(1.0, 1e6), st.floats(1.0, 1e6))
def test_more_trials_expect_a_better_best(first: float, second: float) -> None:
    """Luck grows with the number of trials, never falls."""
    low, high = sorted((first, second))
    assert expected_best_sharpe(1.0, low) <= expected_best_sharpe(1.0, high) + 1e-12


def test_deflation_lowers_the_probability() -> None:
    """The same returns are believed less when they were the best of many."""
    returns = np.random.default_rng(2).normal(0.001, 0.01, 1_000)
    alone = deflated_sharpe(returns, trials=1, variance=0.001)
    many = deflated_sharpe(returns, trials=1_000, variance=0.001)
    assert alone.probability > 0.95
    assert many.probability < alone.probability
    assert many.expected_best > 0.0 == alone.expected_best


def test_constant_returns_have_no_deflated_sharpe() -> None:
    """No movement, no ratio: NaN, not an error and not zero."""
    assert math.isnan(deflated_sharpe(np.zeros(100), trials=5, variance=0.1).probability)


def _pbo_slowly(returns: np.ndarray, blocks: int) -> list[float]:
    rows = len(returns) // blocks
    parts = returns[len(returns) - rows * blocks :].reshape(blocks, rows, -1)
    logits = []
    for chosen in combinations(range(blocks), blocks // 2):
        inside = np.concatenate([parts[b] for b in chosen])
        outside = np.concatenate([parts[b] for b in range(blocks) if b not in chosen])
        best = (inside.mean(axis=0) / inside.std(axis=0)).argmax()
        ratios = outside.mean(axis=0) / outside.std(axis=0)
        rank = (ratios < ratios[best]).sum() + 1
        share = rank / (returns.shape[1] + 1)
        logits.append(math.log(share / (1 - share)))
    return logits


def test_pbo_agrees_with_a_slow_twin() -> None:
    """The block-sum form gives the logits of a plain loop over all splits."""
    returns = np.random.default_rng(3).normal(0.0, 0.01, (103, 7))
    found = overfitting_probability(returns, blocks=6)
    slow = _pbo_slowly(returns, 6)
    np.testing.assert_allclose(found.logits, slow, rtol=1e-9)
    assert found.pbo == np.mean(np.array(slow) <= 0.0)


def test_pbo_of_noise_and_of_skill() -> None:
    """Noise is overfitted about half the time on average; one truly better strategy is not."""
    draws = [np.random.default_rng(seed).normal(0.0, 0.01, (640, 20)) for seed in range(30)]
    assert 0.4 < np.mean([overfitting_probability(noise, blocks=8).pbo for noise in draws]) < 0.7
    noise = draws[0]
    skill = noise.copy()
    skill[:, 5] += 0.01
    assert overfitting_probability(skill, blocks=8).pbo == 0.0


@pytest.mark.parametrize(("bars", "strategies", "blocks"), [(100, 1, 4), (100, 3, 5), (5, 3, 4), (100, 3, 0)])
def test_pbo_refuses_what_it_cannot_split(bars: int, strategies: int, blocks: int) -> None:
    """Too few strategies, an odd number of blocks or too few bars are refused."""
    with pytest.raises(ValueError, match="even number of blocks"):
        overfitting_probability(np.ones((bars, strategies)), blocks=blocks)


@settings(max_examples=30)
@given(st.integers(2, 500), st.integers(0, 2**32 - 1))
def test_effective_trials_lie_between_one_and_all(distinct: int, seed: int) -> None:
    """Correlation only lowers the number, and never below one."""
    returns = np.random.default_rng(seed).normal(size=(60, 5)).cumsum(axis=1)
    assert 1.0 <= effective_trials(distinct, returns) <= distinct


def test_effective_trials_of_copies() -> None:
    """Copies of one behaviour are one trial; independent ones count fully."""
    one = np.random.default_rng(5).normal(size=500)
    assert effective_trials(100, np.column_stack([one, one, one])) == pytest.approx(1.0)
    assert effective_trials(100) == 100.0


def test_behaviours_and_variance() -> None:
    """Equal hashes are one behaviour; undefined ratios do not enter the variance."""
    assert behaviours(["a", "b", "a", None, None]) == 4
    assert sharpe_variance([1.0, None, 3.0, math.nan]) == 2.0
    assert sharpe_variance([1.0]) == 0.0
