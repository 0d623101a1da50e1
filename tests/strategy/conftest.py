from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from genesis.market.bars import Bars

DAY = 86_400_000_000_000
STEPS = {"5m": DAY // 288, "1h": DAY // 24, "1d": DAY}


def random_bars(seed: int, n: int, timeframe: str = "1d", tick: float = 0.0) -> Bars:
    """A random walk with bars inside their ranges; with a tick, prices are rounded, so that many are equal."""
    rng = np.random.default_rng(seed)
    close = 100.0 * np.exp(np.cumsum(rng.standard_t(4, n) * 0.01))
    if tick:
        close = np.maximum(np.round(close / tick), 1.0) * tick
    opened = np.r_[close[:1], close[:-1]]
    spread = np.abs(rng.normal(0.0, 0.004, (2, n))) * close
    if tick:
        spread = np.round(spread / tick) * tick
    high = np.maximum(opened, close) + spread[0]
    low = np.maximum(np.minimum(opened, close) - spread[1], np.minimum(np.minimum(opened, close), 0.01))
    volume = rng.integers(0, 1000, n).astype(float)
    time = np.arange(n, dtype=np.int64) * STEPS[timeframe]
    return Bars(time, opened, high, low, close, volume, timeframe)


@pytest.fixture(scope="session")
def market() -> Callable[..., Bars]:
    return random_bars
