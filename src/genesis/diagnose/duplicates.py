"""Why a study proposes what it has already tried, and what would help this one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from genesis.config import concurrency_for
from genesis.diagnose.findings import Finding
from genesis.search.samplers import startup_trials
from genesis.types import FloatArray

DUPLICATE_WARNING = 0.5
_RECENT = 500


@dataclass(frozen=True, slots=True)
class Spread:
    """How many different values a parameter took lately, `used` being the effective number (e to the entropy)."""

    path: str
    distinct: int
    used: float
    possible: int | None


def expected_duplicates(size: int | None, budget: int) -> float:
    """Duplicates expected when `budget` points are drawn at random from `size`; 0 for an unbounded space.

    >>> round(expected_duplicates(100, 100))
    37
    """
    if size is None:
        return 0.0
    if size <= 1:
        return float(max(0, budget - size))
    distinct = -size * math.expm1(budget * math.log1p(-1.0 / size))
    return max(0.0, budget - distinct)


def spreads(space: Any, vectors: FloatArray) -> list[Spread]:
    """How varied each parameter was over the last proposals (float64[m, d]), the most collapsed first."""
    recent = vectors[-_RECENT:]
    found = []
    for index, column in enumerate(space.columns):
        values = recent[:, index]
        values = values[~np.isnan(values)]
        if not len(values):
            continue
        counts = np.unique(values, return_counts=True)[1]
        share = counts / counts.sum()
        used = float(np.exp(-(share * np.log(share)).sum()))
        found.append(Spread(column.path, len(counts), used, column.count))
    return sorted(found, key=lambda spread: spread.used / min(spread.possible or math.inf, len(recent)))


def diagnose_duplicates(
    space: Any,
    vectors: FloatArray,
    *,
    trials: int,
    duplicates: Mapping[str, int],
    concurrency: int,
    budget: int,
) -> Finding | None:
    """The duplicate warning of this study, or None at or below half of all proposals.

    `trials` is how many were run, `duplicates` how many proposals were repeats, by cause.
    """
    repeated = sum(duplicates.values())
    proposed = trials + repeated
    if not proposed or repeated / proposed <= DUPLICATE_WARNING:
        return None
    what = f"{repeated} of {proposed} proposals ({repeated / proposed:.0%}) were points already tried"
    if duplicates:
        causes = ", ".join(f"{name}: {count}" for name, count in sorted(duplicates.items(), key=lambda item: -item[1]))
        what += f" ({causes})"
    return Finding("duplicates", "warning", what, _why(space, vectors), _remedy(space, trials, concurrency, budget))


def _why(space: Any, vectors: FloatArray) -> str:
    size = space.size
    reasons = []
    if size is not None and len(vectors) >= 0.5 * size:
        reasons.append(f"{len(vectors)} of the space's {size:,} points have been tried")
    collapsed = [spread for spread in spreads(space, vectors) if spread.used < 3.0][:3]
    if collapsed:
        named = ", ".join(
            f"{spread.path} takes about {spread.used:.1f} values"
            + (f" of {spread.possible}" if spread.possible is not None else "")
            for spread in collapsed
        )
        reasons.append(f"the sampler has narrowed: {named}")
    return "; ".join(reasons) or "every repeat is time that taught the search nothing new"


def _remedy(space: Any, trials: int, concurrency: int, budget: int) -> str:
    size = space.size
    advised, kind = concurrency_for(space)
    steps = []
    if size is not None and size <= 2 * budget:
        steps.append(
            f"set run.max_trials to at most {size:,} (the size of the space) or run.strategy: grid"
            if size <= budget
            else f"widen the space: it has {size:,} points for {budget:,} trials"
        )
    stepped = [column for column in space.columns if column.kind == "float" and column.step]
    if stepped:
        named = ", ".join(f"{column.path} (step {column.step:g} -> {column.step / 2:g})" for column in stepped[:3])
        steps.append(f"loosen steps: {named}")
    if concurrency > advised:
        steps.append(f"lower run.max_concurrent from {concurrency} to {advised} ({kind})")
    needed = startup_trials(concurrency)
    if trials > needed:
        steps.append(f"raise run.sampler.kwargs.n_startup_trials above {needed} and keep multivariate: true")
    if not steps:
        steps.append("widen parameter ranges or remove steps")
    return "; ".join(steps)
