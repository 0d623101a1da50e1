"""Compiled kernels of the tree-structured Parzen estimator: build two mixtures, draw candidates, compare densities.

A mixture is a weighted sum of products over columns (Bergstra et al. 2011; product kernels: Falkner et al. 2018,
section 3; bandwidths and weights as analysed by Watanabe 2023, "Tree-structured Parzen estimator"). Per column a
kernel is a normal truncated to [0, 1], its mass per cell for a grid, or a smoothed indicator for a categorical.

Layout: `table[start[j] + x, k]` is the log mass that kernel k gives to cell x of a tabled column j, so that scoring a
candidate adds contiguous rows; `mu` [d, K] holds every numeric kernel's place and `inv` [d, K] 1 / (√2 σ); `base[g, k]`
is the log weight plus the log normalisers of continuous columns. Constants that all kernels of a mixture share are left
out: only ranks matter. Densities are summed in float32 and compared in float64.

No fast-math: sums keep their order, so the same inputs give the same proposals.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from genesis.engine.compile import jit

CONTINUOUS, TABLED, CATEGORICAL, LOG_TABLED, FINE = 0, 1, 2, 3, 4
_SQRT_HALF = math.sqrt(0.5)
_LOG_ROOT_2PI = 0.5 * math.log(2.0 * math.pi)
_TINY = 1e-300


@jit
def _span_log(a: float, b: float, mean: float, sigma: float) -> float:
    """Log of the normal's mass in [a, b]; in far tails the density at the nearer end times the width."""
    lo, hi = (a - mean) / sigma, (b - mean) / sigma
    if lo < -8.3 and hi > 8.3:
        return 0.0  # all of it, in float64
    if lo < 0.0 < hi:
        return math.log(0.5 * (math.erf(hi * _SQRT_HALF) - math.erf(lo * _SQRT_HALF)))
    if hi <= 0.0:
        lo, hi = -hi, -lo
    mass = 0.5 * (math.erfc(lo * _SQRT_HALF) - math.erfc(hi * _SQRT_HALF))
    if mass > _TINY:
        return math.log(mass)
    return math.log(max(hi - lo, _TINY)) - 0.5 * lo * lo - _LOG_ROOT_2PI


@jit
def distance_table(m: int) -> Any:
    """`[m + 1, m]`: log mass of a cell o (column) cells away from a kernel of bandwidth g (row) cells; row 0 unused."""
    out = np.zeros((m + 1, m))
    for g in range(1, m + 1):
        for o in range(m):
            out[g, o] = _span_log(o - 0.5, o + 0.5, 0.0, float(g))
    return out


@jit
def norm_table(m: int) -> Any:
    """`[m + 1, m]`: log mass that the grid leaves of a kernel at cell c (column) of bandwidth g cells (row)."""
    out = np.zeros((m + 1, m))
    for g in range(1, m + 1):
        for c in range(m):
            out[g, c] = _span_log(-0.5, m - 0.5, float(c), float(g))
    return out


@jit
def _bandwidth(left: float, right: float, smallest: float) -> float:
    return min(max(left, right, smallest), 1.0)


@jit
def _neighbour_sigmas(x: Any, n: int, smallest: float, out: Any) -> None:
    """Distance to the farther of the two neighbours, clipped to [smallest, 1]; the ends look inwards only."""
    if n == 1:
        out[0] = _bandwidth(x[0], 1.0 - x[0], smallest)
        return
    order = np.argsort(x[:n], kind="mergesort")
    for i in range(n):
        k = order[i]
        left = x[k] - x[order[i - 1]] if i > 0 else 0.0
        right = x[order[i + 1]] - x[k] if i < n - 1 else 0.0
        out[k] = _bandwidth(left, right, smallest)


@jit
def _cell_sigmas(cells: Any, n: int, m: int, smallest: float, out: Any) -> None:
    """`_neighbour_sigmas` for an even grid by counting: of equal points the first looks left, the last right."""
    count = np.zeros(m, np.int64)
    seen = np.zeros(m, np.int64)
    for k in range(n):
        count[int(cells[k])] += 1
    before = np.full(m, -1, np.int64)
    after = np.full(m, -1, np.int64)
    last = -1
    for c in range(m):
        before[c] = last
        if count[c]:
            last = c
    last = -1
    for c in range(m - 1, -1, -1):
        after[c] = last
        if count[c]:
            last = c
    for k in range(n):
        c = int(cells[k])
        seen[c] += 1
        left = (c - before[c]) / m if seen[c] == 1 and before[c] >= 0 else 0.0
        right = (after[c] - c) / m if seen[c] == count[c] and after[c] >= 0 else 0.0
        if n == 1:
            left, right = (c + 0.5) / m, 1.0 - (c + 0.5) / m
        out[k] = _bandwidth(left, right, smallest)


@jit
def _place(
    k: int,
    j: int,
    x: float,
    sigma: float,
    kind: Any,
    count: Any,
    start: Any,
    edges: Any,
    edge_start: Any,
    middles: Any,
    off_choice: float,
    table: Any,
    mu: Any,
    inv: Any,
) -> float:
    """Write kernel k of column j (x in model coordinates); returns what it adds to the kernel's base."""
    m = count[j]
    if kind[j] == CATEGORICAL:
        log_off = math.log(off_choice / (1.0 + m * off_choice)) if off_choice > 0.0 else -1e3
        log_on = math.log((1.0 + off_choice) / (1.0 + m * off_choice))
        for c in range(m):
            table[start[j] + c, k] = log_off
        table[start[j] + int(x), k] = log_on
        mu[j, k] = x
        return 0.0
    middle = x
    if kind[j] != CONTINUOUS:
        middle = middles[edge_start[j] + int(x)]
    mu[j, k] = middle
    inv[j, k] = _SQRT_HALF / sigma
    norm = _span_log(0.0, 1.0, middle, sigma)
    if kind[j] == TABLED or kind[j] == LOG_TABLED:
        for c in range(m):
            a, b = edges[edge_start[j] + c], edges[edge_start[j] + c + 1]
            table[start[j] + c, k] = _span_log(a, b, middle, sigma)
        return -norm
    return -norm - math.log(sigma)


@jit
def build(
    rows: Any,
    weights: Any,
    g: int,
    columns: Any,
    kind: Any,
    count: Any,
    start: Any,
    edges: Any,
    edge_start: Any,
    middles: Any,
    distance: Any,
    distance_start: Any,
    prior_weight: float,
    magic_clip: bool,
    table: Any,
    mu: Any,
    inv: Any,
    base: Any,
    cumulative: Any,
    small: Any,
) -> int:
    """Fill one group's mixture from `rows` [n, d] (model coordinates) and their weights; the prior comes first."""
    n = rows.shape[0]
    total: int = n + 1
    smallest = 1.0 / min(100.0, 1.0 + total) if magic_clip else 1e-12
    off = prior_weight / total
    prior = prior_weight if n > 0 else 1.0
    base[g, 0] = math.log(prior) if prior > 0.0 else -1e30
    for k in range(n):
        base[g, k + 1] = math.log(weights[k]) if weights[k] > 0.0 else -1e30
    cumulative[g, 0] = prior
    for k in range(n):
        cumulative[g, k + 1] = cumulative[g, k] + weights[k]
    line = np.empty(n)
    sigmas = np.empty(n)
    for j in columns:
        m = count[j]
        if kind[j] == CATEGORICAL:
            for c in range(m):
                table[start[j] + c, 0] = -math.log(m)
            mu[j, 0] = -1.0
        else:
            mu[j, 0] = 0.5
            inv[j, 0] = _SQRT_HALF
            norm = _span_log(0.0, 1.0, 0.5, 1.0)
            base[g, 0] -= norm
            if kind[j] == TABLED or kind[j] == LOG_TABLED:
                for c in range(m):
                    a, b = edges[edge_start[j] + c], edges[edge_start[j] + c + 1]
                    table[start[j] + c, 0] = _span_log(a, b, 0.5, 1.0)
        if n > 0 and kind[j] == TABLED:
            _cell_sigmas(rows[:, j], n, m, smallest, sigmas)
            if small[2, edge_start[j]] != smallest:  # it stays the same from 98 kernels on
                small[2, edge_start[j]] = smallest
                for c in range(m):
                    small[0, edge_start[j] + c] = _span_log((c - 0.5) / m, (c + 0.5) / m, 0.0, smallest)
                    small[1, edge_start[j] + c] = _span_log(0.0, 1.0, middles[edge_start[j] + c], smallest)
        elif n > 0 and kind[j] != CATEGORICAL:
            for k in range(n):
                line[k] = rows[k, j] if kind[j] == CONTINUOUS else middles[edge_start[j] + int(rows[k, j])]
            _neighbour_sigmas(line, n, smallest, sigmas)
        if kind[j] == TABLED and n > 1:
            _place_grid(
                j, rows, sigmas, m, start[j], middles[edge_start[j] : edge_start[j] + m],
                distance[distance_start[j] :], small[:, edge_start[j] : edge_start[j] + m], table, mu, inv, base[g],
            )  # fmt: skip
            continue
        for k in range(n):
            base[g, k + 1] += _place(
                k + 1, j, rows[k, j], sigmas[k], kind, count, start, edges, edge_start, middles, off, table, mu, inv,
            )  # fmt: skip
    return total


@jit
def _place_grid(
    j: int, rows: Any, sigmas: Any, m: int, first: int, middles: Any, known: Any, small: Any,
    table: Any, mu: Any, inv: Any, base: Any,
) -> None:  # fmt: skip
    """`_place` for all kernels of an even grid: masses and norms by bandwidth in cells are looked up, not computed."""
    n = rows.shape[0]
    block = np.empty((m + 1) * m, np.float32)  # bandwidth in cells (0: the smallest) by distance
    for i in range((m + 1) * m):
        block[i] = known[i]
    for o in range(m):
        block[o] = small[0, o]
    norms = (m + 1) * m
    cell = np.empty(n, np.int32)
    row = np.empty(n, np.int32)
    for k in range(n):
        cell[k] = int(rows[k, j])
        gap = int(sigmas[k] * m + 0.5)
        even = gap >= 1 and abs(gap - sigmas[k] * m) < 1e-6
        row[k] = gap * m if even else 0
        base[k + 1] -= known[norms + gap * m + cell[k]] if even else small[1, cell[k]]
        mu[j, k + 1] = middles[cell[k]]
        inv[j, k + 1] = _SQRT_HALF / sigmas[k]
    for c in range(m):
        line = table[first + c]
        for k in range(n):
            line[k + 1] = block[np.uint64(row[k] + abs(c - cell[k]))]  # unsigned: no test for a negative index


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
    table: Any, mu: Any, inv: Any, base: Any, n: int, work: Any,
) -> float:  # fmt: skip
    """Log of the mixture's density at x (model coordinates), up to a constant of the mixture."""
    for k in range(n):
        work[k] = base[k]
    for j in columns:
        if kind[j] == TABLED or kind[j] == CATEGORICAL or kind[j] == LOG_TABLED:
            row = table[start[j] + int(x[j])]
            for k in range(n):
                work[k] += row[k]
        else:
            z = x[j] if kind[j] == CONTINUOUS else middles[edge_start[j] + int(x[j])]
            means, widths = mu[j], inv[j]
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
def _candidate(
    state: Any, x: Any, columns: Any, kind: Any, count: Any, edges: Any, edge_start: Any,
    mu: Any, inv: Any, k: int, off_choice: float,
) -> None:  # fmt: skip
    """Draw x's columns of one group from kernel k."""
    for j in columns:
        m = count[j]
        if kind[j] == CATEGORICAL:
            known = int(mu[j, k])
            share = 1.0 if known < 0 else m * off_choice / (1.0 + m * off_choice)
            if _next(state) < share:
                x[j] = min(int(_next(state) * m), m - 1)
            else:
                x[j] = known
            continue
        z = _inside(state, mu[j, k], _SQRT_HALF / inv[j, k])
        if kind[j] == CONTINUOUS:
            x[j] = z
        elif kind[j] == LOG_TABLED or (kind[j] == FINE and edges[edge_start[j] + 1] * m > 1.0 + 1e-9):
            first = edge_start[j]
            low, high = 0, m - 1
            while low < high:
                middle = (low + high) // 2
                if edges[first + middle + 1] > z:
                    high = middle
                else:
                    low = middle + 1
            x[j] = low
        else:
            x[j] = min(int(z * m), m - 1)


@jit
def draw(
    state: Any, ranked: Any, n_points: int, keep: int, candidates: int,
    group_columns: Any, group_start: Any, group_parent: Any, opens: Any,
    kind: Any, count: Any, start: Any, edges: Any, edge_start: Any, middles: Any,
    prior_weight: float, magic_clip: bool,
    good_n: Any, good_table: Any, good_mu: Any, good_inv: Any, good_base: Any, cumulative: Any,
    bad_n: Any, bad_table: Any, bad_mu: Any, bad_inv: Any, bad_base: Any, bad_small: Any,
    distance: Any, distance_start: Any, liar: bool,
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
                _candidate(state, found[c], columns, kind, count, edges, edge_start, good_mu, good_inv, k, off)
                good = log_density(
                    found[c], columns, kind, start, edge_start, middles, good_table, good_mu, good_inv,
                    good_base[g], good_n[g], work,
                )  # fmt: skip
                bad = log_density(
                    found[c], columns, kind, start, edge_start, middles, bad_table, bad_mu, bad_inv,
                    bad_base[g], bad_n[g], work,
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
                ranked[i, 0], group_columns, group_start, kind, count, start, edges, edge_start, middles,
                distance, distance_start, prior_weight, magic_clip, bad_n, bad_table, bad_mu, bad_inv, bad_base,
                bad_small,
            )  # fmt: skip


@jit
def add_liar(
    x: Any, group_columns: Any, group_start: Any, kind: Any, count: Any, start: Any, edges: Any, edge_start: Any,
    middles: Any, distance: Any, distance_start: Any, prior_weight: float, magic_clip: bool,
    bad_n: Any, table: Any, mu: Any, inv: Any, base: Any, small: Any,
) -> None:  # fmt: skip
    """Append x (model coordinates) to the bad mixture of each group active in it; neighbours keep their width."""
    for g in range(group_start.shape[0] - 1):
        columns = group_columns[group_start[g] : group_start[g + 1]]
        if columns.shape[0] == 0 or math.isnan(x[columns[0]]) or bad_n[g] >= table.shape[1]:
            continue
        k = bad_n[g]
        smallest = 1.0 / min(100.0, 2.0 + k) if magic_clip else 1e-12
        off = prior_weight / (k + 1)
        base[g, k] = 0.0
        for j in columns:
            sigma = 1.0
            if kind[j] != CATEGORICAL:
                z = x[j] if kind[j] == CONTINUOUS else middles[edge_start[j] + int(x[j])]
                left, right = 2.0, 2.0
                for i in range(1, k):
                    gap = z - mu[j, i]
                    if gap >= 0.0:
                        left = min(left, gap)
                    if gap <= 0.0:
                        right = min(right, -gap)
                left = left if left < 2.0 else 0.0
                right = right if right < 2.0 else 0.0
                sigma = _bandwidth(left, right, smallest) if k > 1 else _bandwidth(z, 1.0 - z, smallest)
            if kind[j] == TABLED and k > 1:
                m, at, cell = count[j], edge_start[j], int(x[j])
                gap = int(sigma * m + 0.5)
                even = gap >= 1 and abs(gap - sigma * m) < 1e-6
                known = distance[distance_start[j] + gap * m :]
                for c in range(m):
                    table[start[j] + c, k] = known[abs(c - cell)] if even else small[0, at + abs(c - cell)]
                base[g, k] -= known[(m + 1) * m + cell] if even else small[1, at + cell]
                mu[j, k], inv[j, k] = middles[at + cell], _SQRT_HALF / sigma
                continue
            base[g, k] += _place(
                k, j, x[j], sigma, kind, count, start, edges, edge_start, middles, off, table, mu, inv,
            )  # fmt: skip
        bad_n[g] += 1
