"""Percentile ranks in a sliding window, counted exactly: by 16-bit keys for usual windows, by a tree for long ones."""

from __future__ import annotations

import numpy as np

from genesis.engine.compile import jit
from genesis.types import FloatArray

_BLOCK = 1_024  # bars whose keys share one scale
_MOST = 32_766  # the largest key, so that the difference of two keys, less one, fits into 16 bits
_SAME = 65_535  # that difference, read without its sign, where two keys are equal


@jit
def percentile_rank(x: FloatArray, window: int, first: int) -> FloatArray:
    """Share of the last `window` values (this one included) that are at or below this one, in 0..1.

    `first` is the index of x's first known value; the rank is known from `first + window - 1` on. `window` is at most
    32,000.

    Values are compared by keys that never fall when the value rises: smaller and larger keys decide, and a bar whose
    key is met again in its window is counted anew by the values themselves. The keys of a block look at its later
    bars too, which decides how fast a count is and never what it is. A vector holds four times as many keys as
    values, and its lanes are bars, not offsets, so that no count has to be added up across it.
    """
    n = x.shape[0]
    out = np.empty(n)
    start = first + window - 1
    for i in range(min(start, n)):
        out[i] = np.nan
    bits = x.view(np.int64)
    order = np.empty(_BLOCK + window, dtype=np.int64)
    keys = np.empty(_BLOCK + window, dtype=np.int16)
    count = np.empty(_BLOCK, dtype=np.int16)
    near = np.empty(_BLOCK, dtype=np.uint16)
    for block in range(start, n, _BLOCK):
        bars = min(_BLOCK, n - block)
        known = bars + window - 1
        values, raw, to = x[block - window + 1 :], bits[block - window + 1 :], out[block:]  # indices from 0 on:
        least, most = np.int64(2**63 - 1), np.int64(-(2**63))  # only then are the loops vectorised
        for k in range(known):
            place = raw[k] ^ ((raw[k] >> 63) & np.int64(2**63 - 1))  # integers in the order of the floats,
            place += place < 0  # with one place for both zeros
            order[k] = place
            least, most = min(least, place), max(most, place)
        shift = np.uint64(0)
        while np.uint64(most - least) >> shift > np.uint64(_MOST):
            shift += np.uint64(1)
        for k in range(known):
            keys[k] = np.int16(np.uint64(order[k] - least) >> shift)
        for k in range(bars):
            count[k] = 1
            near[k] = 0
        now = keys[window - 1 :]
        offset = 1
        while offset + 8 <= window:
            j = window - 1 - offset
            x0, x1, x2, x3 = keys[j:], keys[j - 1 :], keys[j - 2 :], keys[j - 3 :]
            x4, x5, x6, x7 = keys[j - 4 :], keys[j - 5 :], keys[j - 6 :], keys[j - 7 :]
            for k in range(bars):
                above = np.int16(now[k] + 1)
                d0, d1 = np.int16(x0[k] - above), np.int16(x1[k] - above)  # below 0: at or below this one's key
                d2, d3 = np.int16(x2[k] - above), np.int16(x3[k] - above)
                d4, d5 = np.int16(x4[k] - above), np.int16(x5[k] - above)
                d6, d7 = np.int16(x6[k] - above), np.int16(x7[k] - above)
                low = (d0 >> 15) + (d1 >> 15) + (d2 >> 15) + (d3 >> 15)
                count[k] -= np.int16(low + (d4 >> 15) + (d5 >> 15) + (d6 >> 15) + (d7 >> 15))
                a = max(max(np.uint16(d0), np.uint16(d1)), max(np.uint16(d2), np.uint16(d3)))
                b = max(max(np.uint16(d4), np.uint16(d5)), max(np.uint16(d6), np.uint16(d7)))
                near[k] = max(max(a, b), near[k])
            offset += 8
        while offset < window:
            x0 = keys[window - 1 - offset :]
            for k in range(bars):
                d0 = np.int16(x0[k] - now[k] - 1)
                count[k] -= np.int16(d0 >> 15)
                near[k] = max(near[k], np.uint16(d0))
            offset += 1
        for k in range(bars):
            to[k] = count[k] / window
        for k in range(bars):
            if near[k] == _SAME:
                recent, value, below = values[k : k + window], values[k + window - 1], 0
                for j in range(window):
                    below += recent[j] <= value
                to[k] = below / window
    return out


@jit
def percentile_rank_long(x: FloatArray, window: int, first: int) -> FloatArray:
    """The same numbers as `percentile_rank` for long windows: a Fenwick tree over the values' order, O(n log n).

    The order is taken over all values at once, and that cannot leak the future: a count depends only on how the
    values inside the window compare with each other.
    """
    n = x.shape[0]
    out = np.full(n, np.nan)
    if n - first < window:
        return out
    order = np.argsort(x[first:])
    rank = np.empty(n - first, dtype=np.int64)
    at = 0
    for k in range(order.shape[0]):
        if k == 0 or x[first + order[k]] != x[first + order[k - 1]]:
            at = k + 1
        rank[order[k]] = at
    tree = np.zeros(n - first + 1, dtype=np.int64)
    for i in range(n - first):
        j = rank[i]
        while j < tree.shape[0]:
            tree[j] += 1
            j += j & -j
        if i >= window:
            j = rank[i - window]
            while j < tree.shape[0]:
                tree[j] -= 1
                j += j & -j
        if i >= window - 1:
            below = 0
            j = rank[i]
            while j > 0:
                below += tree[j]
                j -= j & -j
            out[first + i] = below / window
    return out
