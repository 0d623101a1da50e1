"""The sums behind the metrics for four sets at once, from the equity that `trade_lane` left; the bits of `measure`.

Three sums must be added in the order of the bars, and each addition waits for the one before it: four sets side by side
take as long as one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from genesis.engine.compile import jit
from genesis.engine.metrics import COUNT, DRAWDOWN, DURATION, LOSS_SQUARES, SQUARES, SUM
from genesis.engine.quiet import at
from genesis.types import FloatArray

ROWS = 4
_PART = 512  # returns of each set that are worked out before they are added, so that they stay near
_BLOCK = 16  # values looked at together for a new high


@jit
def measure_lanes(values: FloatArray, runs: NDArray[np.int64], n: int, trade_from: int, sums: FloatArray) -> None:
    """Complete `sums[ROWS, SLOTS]` from `values[ROWS, :]` and `runs[ROWS, :]`; a row of 0 trades costs nothing."""
    returns = np.empty(ROWS * _PART)
    a0 = a1 = a2 = a3 = 0.0
    b0 = b1 = b2 = b3 = 0.0
    c0 = c1 = c2 = c3 = 0.0
    longest = 0
    for row in range(ROWS):
        longest = max(longest, runs[row, at(2 * int(sums[row, COUNT]))] - 1)
    for start in range(0, longest, _PART):
        for row in range(ROWS):
            count = min(max(runs[row, at(2 * int(sums[row, COUNT]))] - 1 - start, 0), _PART)
            for k in range(count):
                returns[at(row * _PART + k)] = values[row, at(start + k + 1)] / values[row, at(start + k)] - 1.0
            for k in range(count, _PART):
                returns[at(row * _PART + k)] = 0.0  # adding it changes no sum
        for k in range(min(_PART, longest - start)):
            x0, x1 = returns[at(k)], returns[at(k + _PART)]
            x2, x3 = returns[at(k + 2 * _PART)], returns[at(k + 3 * _PART)]
            a0 += x0
            a1 += x1
            a2 += x2
            a3 += x3
            y0, y1, y2, y3 = x0 * x0, x1 * x1, x2 * x2, x3 * x3
            b0 += y0
            b1 += y1
            b2 += y2
            b3 += y3
            c0 += y0 if x0 < 0.0 else 0.0
            c1 += y1 if x1 < 0.0 else 0.0
            c2 += y2 if x2 < 0.0 else 0.0
            c3 += y3 if x3 < 0.0 else 0.0
    sums[0, SUM], sums[1, SUM], sums[2, SUM], sums[3, SUM] = a0, a1, a2, a3
    sums[0, SQUARES], sums[1, SQUARES], sums[2, SQUARES], sums[3, SQUARES] = b0, b1, b2, b3
    sums[0, LOSS_SQUARES], sums[1, LOSS_SQUARES], sums[2, LOSS_SQUARES], sums[3, LOSS_SQUARES] = c0, c1, c2, c3

    for row in range(ROWS):
        trades = int(sums[row, COUNT])
        end = runs[row, at(2 * trades)] if trades > 0 else 0
        peak = trough = values[row, 0]
        drawdown = 0.0
        duration = 0
        # the last bar at which equity stood at its peak; it stands there until the next trade begins
        peak_bar = runs[row, 1] - 1 if trades > 0 else trade_from - 1
        run = 0
        k = 1
        while k < end:
            stop = min(k + _BLOCK, end)
            if k + _BLOCK <= end:
                high = low = values[row, at(k)]
                for m in range(_BLOCK):
                    value = values[row, at(k + m)]
                    high = high if high > value else value
                    low = low if low < value else value
                if high < peak:
                    trough = min(trough, low)
                    k = stop
                    continue
            while k < stop:
                value = values[row, at(k)]
                if value >= peak:
                    while run + 1 < trades and runs[row, at(2 * run + 2)] <= k:
                        run += 1
                    bar = k + runs[row, at(2 * run + 1)] - runs[row, at(2 * run)]
                    if trough < peak:
                        drawdown = max(drawdown, 1.0 - trough / peak)
                        duration = max(duration, bar - peak_bar)
                    peak = trough = value
                    peak_bar = bar
                    while run + 1 < trades and runs[row, at(2 * run + 2)] <= k + 1:
                        run += 1
                        peak_bar = runs[row, at(2 * run + 1)] - 1
                else:
                    trough = min(trough, value)
                k += 1
        if trough < peak:
            drawdown = max(drawdown, 1.0 - trough / peak)
            duration = max(duration, n - 1 - peak_bar)
        sums[row, DRAWDOWN] = drawdown
        sums[row, DURATION] = duration
