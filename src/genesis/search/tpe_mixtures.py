"""Compiled kernels that build a mixture, and keep it up to date without computing again what has stayed the same.

Slots: a group's kernels stand in the slots `at`, `at` + 1, … of every array's last axis, the prior first, then the
observations in their order. When the oldest leaves and a new one comes, all others keep their slots and the prior
moves up by one. A kernel is written again only if its bandwidth has changed, which is a few of 256; sums keep the order
of the observations, so a mixture brought up to date is bit for bit the one built afresh.

`table[start[j] + x, slot]` is the log mass that a kernel gives to cell x of a tabled column j. `lines[what, j, slot]`
holds per column a kernel's middle, 1 / (√2 σ), place in model coordinates, σ (NaN: not written yet) and what the column
adds to the kernel's `base`, its log weight plus the log normalisers.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from genesis.engine.compile import jit

CONTINUOUS, TABLED, CATEGORICAL, LOG_TABLED, FINE = 0, 1, 2, 3, 4
MIDDLE, INVERSE, PLACE, SIGMA, PART = 0, 1, 2, 3, 4
MOST_GOOD = 25
SLACK = 32
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
def others(n: int, good: Any, most: int) -> Any:
    """The last `most` of the numbers below n that are not in `good`, ascending."""
    first = max(0, n - most - len(good))
    left = np.ones(n - first, np.bool_)
    for number in good:
        if number >= first:
            left[number - first] = False
    index = np.flatnonzero(left)
    return index[max(0, len(index) - most) :] + first


@jit
def ramp(total: int, last: int) -> Any:
    """Weights of the last points of `total`: the newest 25 count 1, older ones fall in a line to 1 / total."""
    weights = np.ones(last)
    length = max(total - MOST_GOOD - 1, 1)
    for k in range(last):
        age = float(last - 1 - k)
        if total > MOST_GOOD and age >= MOST_GOOD:
            weights[k] = max(1.0 - (age - MOST_GOOD + 1.0) / length * (1.0 - 1.0 / total), 1.0 / total)
    return weights


@jit
def last_others(n: int, good: Any, most: int) -> Any:
    """`others`, and their weights."""
    index = others(n, good, most)
    return index, ramp(n - len(good), len(index))


@jit
def bandwidth(left: float, right: float, smallest: float) -> float:
    """The farther neighbour's distance, in its bounds."""
    return min(max(left, right, smallest), 1.0)


@jit
def _line_sigmas(x: Any, order: Any, n: int, smallest: float, out: Any) -> None:
    """Distance to the farther of the two neighbours, clipped to [smallest, 1]; the ends look inwards only."""
    if n == 1:
        out[0] = bandwidth(x[0], 1.0 - x[0], smallest)
        return
    here = x[order[0]]
    left = 0.0
    for i in range(n):
        right = 0.0
        there = here
        if i < n - 1:
            there = x[order[i + 1]]
            right = there - here
        out[order[i]] = bandwidth(left, right, smallest)
        left, here = right, there


@jit
def _cell_sigmas(cells: Any, n: int, m: int, smallest: float, out: Any, ends: Any) -> None:
    """`_line_sigmas` for an even grid without sorting: of equal points the first looks left, the last right."""
    if n == 1:
        middle = (cells[0] + 0.5) / m
        out[0] = bandwidth(middle, 1.0 - middle, smallest)
        return
    for c in range(m):
        ends[0, c] = -1
    for k in range(n):
        out[k] = smallest
        ends[1, int(cells[k])] = k
    for k in range(n - 1, -1, -1):
        ends[0, int(cells[k])] = k
    before = -1
    for c in range(m):
        if ends[0, c] < 0:
            continue
        if before >= 0:
            gap = (c - before) / m
            one, other = ends[1, before], ends[0, c]
            out[one] = min(max(out[one], gap), 1.0)
            out[other] = min(max(out[other], gap), 1.0)
        before = c


@jit
def _put(
    slot: int, j: int, x: float, sigma: float, kind: Any, count: Any, start: Any, edges: Any, edge_start: Any,
    middles: Any, table: Any, lines: Any,
) -> float:  # fmt: skip
    """Write a kernel of a numeric column; returns what it adds to the kernel's base."""
    middle = x
    if kind[j] != CONTINUOUS:
        middle = middles[edge_start[j] + int(x)]
    lines[MIDDLE, j, slot] = middle
    lines[INVERSE, j, slot] = _SQRT_HALF / sigma
    norm = _span_log(0.0, 1.0, middle, sigma)
    if kind[j] == TABLED or kind[j] == LOG_TABLED:
        for c in range(count[j]):
            a, b = edges[edge_start[j] + c], edges[edge_start[j] + c + 1]
            table[start[j] + c, slot] = _span_log(a, b, middle, sigma)
        return -norm
    return -norm - math.log(sigma)


@jit
def _put_choice(slot: int, x: int, first: int, m: int, off: float, table: Any) -> None:
    """Write a kernel of a categorical column: `off` of its mass is spread over all choices."""
    log_off = math.log(off / (1.0 + m * off)) if off > 0.0 else -1e3
    for c in range(m):
        table[first + c, slot] = log_off
    table[first + x, slot] = math.log((1.0 + off) / (1.0 + m * off))


@jit
def _put_cell(
    slot: int, j: int, cell: int, sigma: float, m: int, first: int, known: Any, small: Any, table: Any, lines: Any
) -> float:
    """`_put` on an even grid: masses and norms by bandwidth in cells are looked up; the middle is there already."""
    lines[INVERSE, j, slot] = _SQRT_HALF / sigma
    gap = int(sigma * m + 0.5)
    if gap >= 1 and abs(gap - sigma * m) < 1e-6:
        for c in range(m):
            table[first + c, slot] = known[gap * m + abs(c - cell)]
        return -float(known[(m + 1) * m + gap * m + cell])
    for c in range(m):
        table[first + c, slot] = small[0, abs(c - cell)]
    return -float(small[1, cell])


@jit
def put_prior(j: int, kind: Any, count: Any, start: Any, edges: Any, edge_start: Any, table: Any) -> None:
    """Write the prior into the first slot: a kernel at the middle as wide as the range, or all choices alike."""
    if kind[j] == CATEGORICAL:
        for c in range(count[j]):
            table[start[j] + c, 0] = -math.log(count[j])
    elif kind[j] == TABLED or kind[j] == LOG_TABLED:
        for c in range(count[j]):
            a, b = edges[edge_start[j] + c], edges[edge_start[j] + c + 1]
            table[start[j] + c, 0] = _span_log(a, b, 0.5, 1.0)


@jit
def _least(m: int, smallest: float, middles: Any, small: Any) -> None:
    """Masses and norms of the least bandwidth, which stays the same from 98 kernels on."""
    if small[2, 0] == smallest:
        return
    small[2, 0] = smallest
    for c in range(m):
        small[0, c] = _span_log((c - 0.5) / m, (c + 0.5) / m, 0.0, smallest)
        small[1, c] = _span_log(0.0, 1.0, middles[c], smallest)


@jit
def _sort_in(order: Any, x: Any, now_at: Any, news: Any) -> None:
    """Bring the stable order of a column's values up to date: where the old ones are now (-1: gone), who is new."""
    held = 0
    for i in range(len(now_at)):
        if now_at[order[i]] >= 0:
            order[held] = now_at[order[i]]
            held += 1
    for k in news:
        i = held
        while i > 0 and (x[order[i - 1]] > x[k] or (x[order[i - 1]] == x[k] and order[i - 1] > k)):
            order[i] = order[i - 1]
            i -= 1
        order[i] = k
        held += 1


@jit
def update(
    rows: Any, index: Any, weights: Any, g: int, columns: Any, kind: Any, count: Any, start: Any, edges: Any,
    edge_start: Any, middles: Any, small_start: Any, distance: Any, distance_start: Any, prior_weight: float,
    magic_clip: bool, spare: int, prior: Any,
    n_kernels: Any, at: Any, held: Any, ids: Any, order: Any, table: Any, lines: Any, base: Any,
    cumulative: Any, small: Any,
) -> None:  # fmt: skip
    """Make group g's mixture that of the `rows` (model coordinates) in `index`, with their weights; drop all liars.

    `ids[g, slot]` says which row stands there, `prior` is the prior's column of the table, `spare` the number of slots
    that are left free for liars.
    """
    n, old_at, old_n = len(index), at[g], held[g]
    total = n + 1
    smallest = 1.0 / min(100.0, 1.0 + total) if magic_clip else 1e-12
    off = prior_weight / total
    source = np.full(n, -1, np.int64)  # the slot where an observation stands already
    now_at = np.full(old_n, -1, np.int64)
    first, anew = 0, True
    if n > 1 and old_n > 1:  # a single observation's bandwidth looks to the ends of the range
        k, p = n - 1, old_n - 1
        while k >= 0 and p >= 0:
            want, there = index[k], ids[g, old_at + 1 + p]
            if want == there:
                if anew:
                    first, anew = old_at + p - k, False  # the newest that stays keeps its slot
                source[k], now_at[p] = old_at + 1 + p, k
            if want >= there:
                k -= 1
            if want <= there:
                p -= 1
    if anew or first < 0 or first + total + spare > table.shape[1]:
        first = max(0, min(SLACK, table.shape[1] - total - spare))
    to = np.arange(first + 1, first + total)
    ids[g, first + 1 : first + total] = index
    moves: Any = np.append(np.flatnonzero(source > to), np.flatnonzero((source >= 0) & (source < to))[::-1])
    news: Any = np.flatnonzero(source < 0)
    fresh = np.empty(n)
    ends = np.empty((2, 1 + np.max(count)), np.int64)
    base[g, first] = math.log(prior_weight if n > 0 else 1.0) if n == 0 or prior_weight > 0.0 else -1e30
    for k in range(n):
        base[g, to[k]] = math.log(weights[k]) if weights[k] > 0.0 else -1e30
    prior_norm = _span_log(0.0, 1.0, 0.5, 1.0)
    for j in columns:
        m = count[j]
        tabled = kind[j] != CONTINUOUS and kind[j] != FINE
        for k in moves:
            for what in range(5):
                lines[what, j, to[k]] = lines[what, j, source[k]]
        if tabled and len(moves):
            for c in range(m):
                row = table[start[j] + c]
                for k in moves:
                    row[to[k]] = row[source[k]]
        if anew or first != old_at:
            lines[MIDDLE, j, first] = 0.5 if kind[j] != CATEGORICAL else -1.0
            lines[INVERSE, j, first] = _SQRT_HALF
            if tabled:
                for c in range(m):
                    table[start[j] + c, first] = prior[start[j] + c]
        for k in news:
            x = rows[index[k], j]
            grid = kind[j] != CONTINUOUS and kind[j] != CATEGORICAL
            lines[MIDDLE, j, to[k]] = middles[edge_start[j] + int(x)] if grid else x
            lines[PLACE, j, to[k]], lines[SIGMA, j, to[k]] = x, np.nan
        place, sigma, part = lines[PLACE, j], lines[SIGMA, j], lines[PART, j]
        if kind[j] == CATEGORICAL:
            for k in range(n):
                if sigma[to[k]] != off:
                    _put_choice(to[k], int(place[to[k]]), start[j], m, off, table)
                    sigma[to[k]] = off
            continue
        base[g, first] -= prior_norm
        if kind[j] == TABLED:
            _cell_sigmas(place[first + 1 : first + total], n, m, smallest, fresh, ends)
        else:
            middle = lines[MIDDLE, j, first + 1 : first + total]
            if anew:
                order[j, :n] = np.argsort(middle, kind="mergesort")
            else:
                _sort_in(order[j], middle, now_at, news)
            _line_sigmas(middle, order[j], n, smallest, fresh)
        if kind[j] == TABLED and n > 1:
            s, e = small_start[j], edge_start[j]
            _least(m, smallest, middles[e : e + m], small[:, s : s + m])
            known = distance[distance_start[j] :]
            for k in range(n):
                if sigma[to[k]] != fresh[k]:
                    part[to[k]] = _put_cell(
                        to[k], j, int(place[to[k]]), fresh[k], m, start[j], known, small[:, s : s + m], table, lines
                    )
        else:
            for k in range(n):
                if sigma[to[k]] != fresh[k]:
                    part[to[k]] = _put(
                        to[k], j, place[to[k]], fresh[k], kind, count, start, edges, edge_start, middles, table, lines
                    )
        for k in range(n):
            sigma[to[k]] = fresh[k]
            base[g, to[k]] += part[to[k]]
    cumulative[g, 0] = prior_weight if n > 0 else 1.0
    for k in range(n):
        cumulative[g, k + 1] = cumulative[g, k] + weights[k]
    n_kernels[g], at[g], held[g] = total, first, n


@jit
def add_liar(
    x: Any, group_columns: Any, group_start: Any, kind: Any, count: Any, start: Any, edges: Any, edge_start: Any,
    middles: Any, small_start: Any, distance: Any, distance_start: Any, prior_weight: float, magic_clip: bool,
    n_kernels: Any, at: Any, table: Any, lines: Any, base: Any, small: Any,
) -> None:  # fmt: skip
    """Append x (model coordinates) to the bad mixture of each group active in it; neighbours keep their width."""
    for g in range(group_start.shape[0] - 1):
        columns = group_columns[group_start[g] : group_start[g + 1]]
        k, slot = n_kernels[g], at[g] + n_kernels[g]
        if columns.shape[0] == 0 or math.isnan(x[columns[0]]) or slot >= table.shape[1]:
            continue
        smallest = 1.0 / min(100.0, 2.0 + k) if magic_clip else 1e-12
        base[g, slot] = 0.0
        for j in columns:
            m, s = count[j], small_start[j]
            if kind[j] == CATEGORICAL:
                lines[MIDDLE, j, slot] = x[j]
                _put_choice(slot, int(x[j]), start[j], m, prior_weight / (k + 1), table)
                continue
            z = x[j] if kind[j] == CONTINUOUS else middles[edge_start[j] + int(x[j])]
            left, right = 2.0, 2.0
            for i in range(at[g] + 1, slot):
                gap = z - lines[MIDDLE, j, i]
                if gap >= 0.0:
                    left = min(left, gap)
                if gap <= 0.0:
                    right = min(right, -gap)
            left = left if left < 2.0 else 0.0
            right = right if right < 2.0 else 0.0
            sigma = bandwidth(left, right, smallest) if k > 1 else bandwidth(z, 1.0 - z, smallest)
            if kind[j] == TABLED and k > 1:
                lines[MIDDLE, j, slot] = z
                known = distance[distance_start[j] :]
                base[g, slot] += _put_cell(
                    slot, j, int(x[j]), sigma, m, start[j], known, small[:, s : s + m], table, lines
                )
            else:
                base[g, slot] += _put(
                    slot, j, x[j], sigma, kind, count, start, edges, edge_start, middles, table, lines
                )
        n_kernels[g] += 1


@jit
def add_liars(
    points: Any, group_columns: Any, group_start: Any, kind: Any, count: Any, start: Any, edges: Any, edge_start: Any,
    middles: Any, small_start: Any, distance: Any, distance_start: Any, prior_weight: float, magic_clip: bool,
    n_kernels: Any, at: Any, table: Any, lines: Any, base: Any, small: Any,
) -> None:  # fmt: skip
    """`add_liar` for one point after the other."""
    for i in range(points.shape[0]):
        add_liar(
            points[i], group_columns, group_start, kind, count, start, edges, edge_start, middles, small_start,
            distance, distance_start, prior_weight, magic_clip, n_kernels, at, table, lines, base, small,
        )  # fmt: skip
