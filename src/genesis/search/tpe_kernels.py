"""Compiled kernels of the tree-structured Parzen estimator: draw candidates from one mixture, compare densities of two.

A mixture is a weighted sum of products over columns (Bergstra et al. 2011; product kernels: Falkner et al. 2018,
section 3; bandwidths and weights as analysed by Watanabe 2023, "Tree-structured Parzen estimator"). Per column a
kernel is a normal truncated to [0, 1], its mass per cell for a grid, or a smoothed indicator for a categorical. How
mixtures lie in memory is said in `tpe_mixtures`.

A candidate leaves a good point in some columns only, as in Regis and Shoemaker 2013, "Combining radial basis function
surrogates and dynamic coordinate search" (DYCORS): in many columns at once hardly a step is a step down.

Scoring a candidate adds contiguous rows. Constants that all kernels of a mixture share are left out: only ranks matter.
Densities are summed in float32 and compared in float64.

No fast-math: sums keep their order, so the same inputs give the same proposals.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from genesis.engine.compile import jit
from genesis.search.tpe_mixtures import (
    CATEGORICAL,
    CONTINUOUS,
    FINE,
    INVERSE,
    LOG_TABLED,
    MIDDLE,
    PLACE,
    TABLED,
    add_liar,
)

_SQRT_HALF = math.sqrt(0.5)
_TRIES = 8  # draws of a candidate that moves from its kernel


@jit
def _next(state: Any) -> float:
    """xoshiro256+ (Blackman and Vigna 2018): the next uniform in [0, 1)."""
    s0, s1, s2, s3 = state[0], state[1], state[2], state[3]
    result = s0 + s3
    t = s1 << np.uint64(17)
    s2 ^= s0
    s3 ^= s1
    s1 ^= s2
    s0 ^= s3
    s2 ^= t
    s3 = (s3 << np.uint64(45)) | (s3 >> np.uint64(19))
    state[0], state[1], state[2], state[3] = s0, s1, s2, s3
    return float(result >> np.uint64(11)) * (1.0 / 9007199254740992.0)


@jit
def _normal(state: Any) -> float:
    """One standard normal by Marsaglia's polar method."""
    while True:
        u = 2.0 * _next(state) - 1.0
        v = 2.0 * _next(state) - 1.0
        s = u * u + v * v
        if 0.0 < s < 1.0:
            return u * math.sqrt(-2.0 * math.log(s) / s)


@jit
def _inside(state: Any, mean: float, sigma: float) -> float:
    """A normal truncated to [0, 1]; with the mean inside and sigma at most 1 one try in three succeeds or more."""
    while True:
        z = mean + sigma * _normal(state)
        if 0.0 <= z <= 1.0:
            return z


@jit
def _pick_kernel(state: Any, cumulative: Any, n: int) -> int:
    u = _next(state) * cumulative[n - 1]
    low, high = 0, n - 1
    while low < high:
        middle = (low + high) // 2
        if cumulative[middle] > u:
            high = middle
        else:
            low = middle + 1
    return low


@jit
def log_density(
    x: Any, columns: Any, kind: Any, start: Any, edge_start: Any, middles: Any,
    table: Any, lines: Any, base: Any, first: int, n: int, work: Any,
) -> float:  # fmt: skip
    """Log of the density at x (model coordinates) of the mixture in `n` slots from `first` on, up to a constant."""
    last = first + n
    row = base[first:last]
    for k in range(n):
        work[k] = row[k]
    for j in columns:
        if kind[j] == TABLED or kind[j] == CATEGORICAL or kind[j] == LOG_TABLED:
            logs = table[start[j] + int(x[j]), first:last]
            for k in range(n):
                work[k] += logs[k]
        else:
            z = x[j] if kind[j] == CONTINUOUS else middles[edge_start[j] + int(x[j])]
            means, widths = lines[MIDDLE, j, first:last], lines[INVERSE, j, first:last]
            for k in range(n):
                t = np.float32((z - means[k]) * widths[k])
                work[k] -= t * t
    top: float = work[0]
    for k in range(1, n):
        top = max(top, work[k])
    total = 0.0
    for k in range(n):
        gap = work[k] - top
        if gap > -36.0:  # below one part in 10^15 of the largest term
            total += math.exp(gap)
    return top + math.log(total)


@jit
def _drawn(
    state: Any, j: int, m: int, kind: int, edges: Any, first: int, lines: Any, slot: int, off_choice: float
) -> float:
    """Column j of a candidate, in model coordinates, drawn from the kernel in a slot."""
    if kind == CATEGORICAL:
        known = int(lines[MIDDLE, j, slot])
        share = 1.0 if known < 0 else m * off_choice / (1.0 + m * off_choice)
        if _next(state) < share:
            return float(min(int(_next(state) * m), m - 1))
        return float(known)
    z = _inside(state, lines[MIDDLE, j, slot], _SQRT_HALF / lines[INVERSE, j, slot])
    if kind == CONTINUOUS:
        return z
    if kind == LOG_TABLED or (kind == FINE and edges[first + 1] * m > 1.0 + 1e-9):
        low, high = 0, m - 1
        while low < high:
            middle = (low + high) // 2
            if edges[first + middle + 1] > z:
                high = middle
            else:
                low = middle + 1
        return float(low)
    return float(min(int(z * m), m - 1))


@jit
def _candidate(
    state: Any, x: Any, columns: Any, kind: Any, count: Any, edges: Any, edge_start: Any,
    lines: Any, slot: int, off_choice: float, stay: float,
) -> None:  # fmt: skip
    """Draw x's columns of one group from the kernel in a slot.

    Each column stays at the kernel's own place with the probability `stay`, but not all of them.
    """
    n = columns.shape[0]
    sparse = stay > 0.0 and n > 1
    for _ in range(_TRIES):
        same = sparse
        mover = min(int(_next(state) * n), n - 1) if sparse else 0
        for i in range(n):
            j = columns[i]
            if sparse and i != mover and _next(state) < stay:
                x[j] = lines[PLACE, j, slot]
            else:
                x[j] = _drawn(state, j, count[j], kind[j], edges, edge_start[j], lines, slot, off_choice)
                same = same and x[j] == lines[PLACE, j, slot]
        if not same:
            break


@jit
def draw(
    state: Any, ranked: Any, n_points: int, keep: int, candidates: int,
    group_columns: Any, group_start: Any, group_parent: Any, opens: Any,
    kind: Any, count: Any, start: Any, edges: Any, edge_start: Any, middles: Any,
    prior_weight: float, magic_clip: bool, perturbation: float,
    good_n: Any, good_at: Any, good_table: Any, good_lines: Any, good_base: Any, cumulative: Any,
    bad_n: Any, bad_at: Any, bad_table: Any, bad_lines: Any, bad_base: Any, bad_small: Any,
    small_start: Any, distance: Any, distance_start: Any, liar: bool,
) -> None:  # fmt: skip
    """Propose `n_points`: per group the candidate of the largest log good - log bad; `ranked` [n_points, keep, d].

    Line r of a point holds each group's r-th best candidate, with the columns of groups that its own parents leave
    shut at NaN. With `liar`, line 0 joins the bad mixture before the next point is drawn.
    """
    d = kind.shape[0]
    work = np.empty(max(bad_table.shape[1], good_table.shape[1]), np.float32)
    found = np.empty((candidates, d))
    gain = np.empty(candidates)
    n_groups = group_parent.shape[0]
    for i in range(n_points):
        ranked[i] = np.nan
        for g in range(n_groups):
            columns = group_columns[group_start[g] : group_start[g + 1]]
            parent = group_parent[g]
            needed = parent < 0
            for r in range(keep):
                if parent >= 0 and not math.isnan(ranked[i, r, parent]):
                    needed = needed or opens[g, int(ranked[i, r, parent])]
            if not needed:
                continue
            off = prior_weight / good_n[g]
            for c in range(candidates):
                k = _pick_kernel(state, cumulative[g], good_n[g])
                slot = good_at[g] + k
                stay = 1.0 - perturbation if k > 0 else 0.0  # the prior has no place of its own
                _candidate(state, found[c], columns, kind, count, edges, edge_start, good_lines, slot, off, stay)
                good = log_density(
                    found[c], columns, kind, start, edge_start, middles, good_table, good_lines,
                    good_base[g], good_at[g], good_n[g], work,
                )  # fmt: skip
                bad = log_density(
                    found[c], columns, kind, start, edge_start, middles, bad_table, bad_lines,
                    bad_base[g], bad_at[g], bad_n[g], work,
                )  # fmt: skip
                gain[c] = good - bad
            order = np.argsort(-gain, kind="mergesort") if keep > 1 else np.full(1, np.argmax(gain))
            for r in range(keep):
                shut = parent >= 0 and (math.isnan(ranked[i, r, parent]) or not opens[g, int(ranked[i, r, parent])])
                if not shut:
                    for j in columns:
                        ranked[i, r, j] = found[order[r], j]
        if liar:
            add_liar(
                ranked[i, 0], group_columns, group_start, kind, count, start, edges, edge_start, middles, small_start,
                distance, distance_start, prior_weight, magic_clip, bad_n, bad_at, bad_table, bad_lines, bad_base,
                bad_small,
            )  # fmt: skip
