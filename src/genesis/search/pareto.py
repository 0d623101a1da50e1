"""Order points with several objectives: by non-domination front, then by crowding distance."""

from __future__ import annotations

import numpy as np

from genesis.types import FloatArray, IntArray


def fronts(losses: FloatArray) -> IntArray:
    """Front of each of n points (n, k), 0 the undominated; smaller is better. O(n² k): keep n in the hundreds."""
    n = len(losses)
    no_worse = np.all(losses[:, None, :] <= losses[None, :, :], axis=2)
    dominates = np.asarray(no_worse & np.any(losses[:, None, :] < losses[None, :, :], axis=2))
    rank = np.full(n, -1, dtype=np.int64)
    level = 0
    while (rank < 0).any():
        left = rank < 0
        beaten = dominates[left].any(axis=0)
        rank[left & ~beaten] = level
        level += 1
    return rank


def crowding(losses: FloatArray) -> FloatArray:
    """Crowding distance of each point of one front (Deb et al. 2002); infinite at the ends of an objective."""
    n, k = losses.shape
    out = np.zeros(n)
    for j in range(k):
        order = np.argsort(losses[:, j], kind="stable")
        values = losses[order, j]
        span = values[-1] - values[0]
        out[order[0]] = out[order[-1]] = np.inf
        if span > 0 and np.isfinite(span) and n > 2:
            out[order[1:-1]] += (values[2:] - values[:-2]) / span
    return out


def pareto_order(losses: FloatArray) -> IntArray:
    """Positions of n points (n, k), best first: by front, then the least crowded, then the earlier."""
    if not len(losses):
        return np.zeros(0, dtype=np.int64)
    rank = fronts(losses)
    far = np.empty(len(losses))
    for level in range(int(rank.max()) + 1):
        members = rank == level
        far[members] = crowding(losses[members])
    return np.lexsort((np.arange(len(losses)), -far, rank))
