"""Passing over bars on which nothing can happen: where the next signal is, and what equity was meanwhile.

Indices go through `at`: an unsigned one is never counted from the end, which spares a comparison at every access and
lets the compiler take several bars at once. No slice is made, since each would count a reference in the loop.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from genesis.engine.compile import rule
from genesis.types import FloatArray

_BLOCK = 32  # flags looked at together
at = np.uint64


@rule
def find_coded(entry: NDArray[np.int8], bars: NDArray[np.int32]) -> Any:
    """Put the bars that have an entry code into `bars`, and after them n; their number."""
    n = entry.size
    count = at(0)
    for block in range(n // _BLOCK + 1):
        start = block * _BLOCK
        seen = np.int8(0)
        if start + _BLOCK <= n:
            for k in range(_BLOCK):
                seen |= entry[at(start + k)]
        else:
            seen = np.int8(1)
        if seen:
            for k in range(start, min(start + _BLOCK, n)):
                bars[count] = k
                count += at(entry[at(k)] != 0)
    bars[count] = n
    return count


@rule
def find_flagged(flags: NDArray[np.int8], start: int, mask: int) -> int:
    """The first bar from `start` on that has a bit of `mask`; n when there is none."""
    n = flags.size
    bits = np.int8(mask)
    k = start
    while k + _BLOCK <= n:
        seen = np.int8(0)
        for j in range(_BLOCK):
            seen |= flags[at(k + j)]
        if seen & bits:
            break
        k += _BLOCK
    while k < n and not flags[at(k)] & bits:
        k += 1
    return k


@rule
def mark_held(equity: FloatArray, close: FloatArray, start: int, end: int, cash: float, signed: float) -> bool:
    """Mark the bars start..end-1; whether any equity is not above zero."""
    poor = False
    for k in range(start, end):
        value = cash + signed * close[at(k)]
        equity[at(k)] = value
        poor |= not value > 0.0
    return poor


@rule
def mark_flat(equity: FloatArray, start: int, end: int, cash: float) -> None:
    """Mark the bars start..end-1, on which nothing is held."""
    for k in range(start, end):
        equity[at(k)] = cash
