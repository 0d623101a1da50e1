"""How much of a best score is luck: deflated Sharpe, probability of backtest overfitting, effective number of trials.

Sources: D. H. Bailey and M. López de Prado, "The Deflated Sharpe Ratio", Journal of Portfolio Management 40 (2014);
D. H. Bailey, J. Borwein, M. López de Prado and Q. J. Zhu, "The Probability of Backtest Overfitting", Journal of
Computational Finance 20 (2017).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy.stats import norm

from genesis.types import FloatArray

_EULER = 0.5772156649015329


@dataclass(frozen=True, slots=True)
class DeflatedSharpe:
    """`probability` that the true Sharpe ratio is above what luck alone would give; all ratios are per bar.

    `expected_best` is the best Sharpe ratio expected from `trials` independent trials without any skill.
    """

    probability: float
    sharpe: float
    expected_best: float
    trials: float
    bars: int


@dataclass(frozen=True, slots=True)
class Overfitting:
    """`pbo`: share of the symmetric splits where the in-sample best is below the out-of-sample median.

    `logits` float64[splits] are ln(w / (1 - w)) of its relative out-of-sample rank w (below 0: worse than median),
    `degradation` the median of out-of-sample minus in-sample Sharpe ratio of the in-sample best, per bar.
    """

    pbo: float
    logits: FloatArray
    degradation: float
    strategies: int
    blocks: int


def probabilistic_sharpe(
    sharpe: float, benchmark: float, bars: int, *, skew: float = 0.0, kurtosis: float = 3.0
) -> float:
    """Probability that the true Sharpe ratio exceeds `benchmark`, both per bar (2014, equation 1); NaN below 2 bars.

    `kurtosis` is the plain fourth moment ratio (3 for a normal), `skew` the third.

    >>> round(probabilistic_sharpe(0.1, 0.0, 1_000), 4)
    0.9992
    """
    spread = 1.0 - skew * sharpe + (kurtosis - 1.0) / 4.0 * sharpe * sharpe
    if bars < 2 or not spread > 0.0:
        return math.nan
    return float(norm.cdf((sharpe - benchmark) * math.sqrt(bars - 1.0) / math.sqrt(spread)))


def expected_best_sharpe(variance: float, trials: float) -> float:
    """The best Sharpe ratio expected from `trials` skill-less trials whose ratios have this variance (2014, eq. 2).

    >>> expected_best_sharpe(1.0, 1)
    0.0
    >>> round(expected_best_sharpe(1.0, 100), 3)
    2.531
    """
    if trials <= 1.0:
        return 0.0
    quantiles = (1.0 - _EULER) * norm.ppf(1.0 - 1.0 / trials) + _EULER * norm.ppf(1.0 - 1.0 / (trials * math.e))
    return max(0.0, math.sqrt(max(variance, 0.0)) * float(quantiles))


def deflated_sharpe(returns: FloatArray, *, trials: float, variance: float) -> DeflatedSharpe:
    """Deflated Sharpe ratio of one strategy chosen out of `trials`.

    `returns` float64[bars] are its simple returns per bar, `variance` that of the per-bar Sharpe ratios of all
    trials, `trials` the number of independent ones (see `effective_trials`). Constant or fewer than 3 returns give
    a probability of NaN.
    """
    count = len(returns)
    deviation = float(np.std(returns, ddof=1)) if count > 2 else 0.0
    best = expected_best_sharpe(variance, trials)
    if not deviation > 0.0:
        return DeflatedSharpe(math.nan, math.nan, best, trials, count)
    centred = (returns - returns.mean()) / np.std(returns)
    sharpe = float(returns.mean()) / deviation
    probability = probabilistic_sharpe(
        sharpe, best, count, skew=float(np.mean(centred**3)), kurtosis=float(np.mean(centred**4))
    )
    return DeflatedSharpe(probability, sharpe, best, trials, count)


def effective_trials(distinct: int, returns: FloatArray | None = None) -> float:
    """How many independent things were tried: N = r + (1 - r) * `distinct` with mean correlation r (2014, app. 3).

    `distinct` counts different behaviours (trials with equal fills are one); `returns` float64[bars, sample] of a
    sample of them gives r, clipped to [0, 1]; without it, r = 0, the cautious answer.

    >>> effective_trials(40)
    40.0
    """
    if distinct <= 1 or returns is None or returns.shape[1] < 2:
        return float(max(distinct, 0))
    moving: FloatArray = returns[:, returns.std(axis=0) > 0.0]
    if np.size(moving, 1) < 2:
        return float(distinct)
    matrix: FloatArray = np.atleast_2d(np.corrcoef(moving, rowvar=False))
    count = len(matrix)
    mean = float((matrix.sum() - count) / (count * (count - 1)))
    mean = min(max(mean, 0.0), 1.0)
    return mean + (1.0 - mean) * distinct


def behaviours(fills_hashes: Iterable[str | None]) -> int:
    """How many different behaviours: distinct hashes, each trial without one counting for itself.

    >>> behaviours(["a", "a", "b", None])
    3
    """
    seen: set[str] = set()
    unknown = 0
    for value in fills_hashes:
        if value is None:
            unknown += 1
        else:
            seen.add(value)
    return len(seen) + unknown


def overfitting_probability(returns: FloatArray, *, blocks: int = 16) -> Overfitting:
    """Probability of backtest overfitting by combinatorially symmetric cross-validation (2017, section 2).

    `returns` float64[bars, strategies], at least 2 strategies and 2 bars a block; `blocks` even. Bars beyond a
    multiple of `blocks` are cut from the start. Ties of out-of-sample rank take the middle; a strategy that never
    moves has a Sharpe ratio of 0. Raises ValueError for other shapes.
    """
    bars, strategies = int(returns.shape[0]), int(returns.shape[1])
    if blocks < 2 or blocks % 2 or strategies < 2 or bars < 2 * blocks:
        raise ValueError(
            f"overfitting_probability: {bars} bars x {strategies} strategies in {blocks} blocks; "
            "needs an even number of blocks, 2 strategies and 2 bars a block"
        )
    rows = bars // blocks
    cut = returns[bars - rows * blocks :].reshape(blocks, rows, strategies)
    sums, squares = cut.sum(axis=1), (cut * cut).sum(axis=1)
    halves = np.array(list(combinations(range(blocks), blocks // 2)), dtype=np.int64)
    chosen = np.zeros((len(halves), blocks))
    np.put_along_axis(chosen, halves, 1.0, axis=1)
    inside = _sharpes(chosen @ sums, chosen @ squares, rows * blocks // 2)
    outside = _sharpes((1.0 - chosen) @ sums, (1.0 - chosen) @ squares, rows * blocks // 2)
    best = inside.argmax(axis=1)
    row = np.arange(len(best))
    own = outside[row, best][:, None]
    rank = (outside < own).sum(axis=1) + ((outside == own).sum(axis=1) + 1) / 2.0
    relative = rank / (strategies + 1.0)
    logits = np.log(relative / (1.0 - relative))
    degradation = float(np.median(outside[row, best] - inside[row, best]))
    return Overfitting(float(np.mean(logits <= 0.0)), logits, degradation, strategies, blocks)


def _sharpes(total: FloatArray, square: FloatArray, count: int) -> FloatArray:
    mean = total / count
    variance = np.maximum(square / count - mean * mean, 0.0)
    # rounding leaves about 1e-16 of the mean square where returns are constant: that is no movement
    moving = variance > 1e-14 * np.maximum(square / count, 1e-300)
    return np.divide(mean, np.sqrt(variance), out=np.zeros_like(mean), where=moving)


def sharpe_variance(sharpes: Sequence[float | None] | FloatArray) -> float:
    """Variance of the defined Sharpe ratios of a study's different behaviours; 0.0 for fewer than two."""
    known = np.array([value for value in sharpes if value is not None and math.isfinite(value)], dtype=np.float64)
    return float(known.var(ddof=1)) if len(known) > 1 else 0.0
