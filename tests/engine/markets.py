"""Random and hand-made markets and signals for the engine's tests; everything follows from the seed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from genesis.market.bars import Bars
from genesis.types import Costs, Execution, Rules, Signals

DAY = 86_400_000_000_000


def bars_of(rows: Sequence[tuple[float, float, float, float]], timeframe: str = "1d", step: int = DAY) -> Bars:
    """Bars from (open, high, low, close) rows, one step apart from Monday 2024-01-01."""
    table = np.array(rows, dtype=float).reshape(-1, 4)
    time = 19_723 * DAY + np.arange(len(table)) * step
    columns = [np.ascontiguousarray(table[:, k]) for k in range(4)]
    return Bars(time, *columns, np.ones(len(table)), timeframe)


def random_bars(seed: int, n: int, *, tick: float = 0.25, swing: float = 0.04) -> Bars:
    """A jumpy market on a coarse price grid: gaps over levels, and exact ties with them, are common."""
    rng = np.random.default_rng(seed)
    close = 20.0 * np.exp(np.cumsum(rng.normal(0.0, swing, n)))
    open_ = np.r_[20.0, close[:-1]] * np.exp(rng.normal(0.0, swing / 3, n) * (rng.random(n) < 0.5))
    grid = [np.maximum(tick, np.round(x / tick) * tick) for x in (open_, close)]
    high = np.maximum(*grid) + tick * rng.integers(0, 4, n)
    low = np.maximum(tick, np.minimum(*grid) - tick * rng.integers(0, 4, n))
    return bars_of(np.column_stack([grid[0], high, low, grid[1]]))


def random_signals(seed: int, bars: Bars, rules: Rules, *, density: float, optional: frozenset[str]) -> Signals:
    """Random entries; each optional array named in `optional` is random too, with NaN and zeros among its values."""
    rng = np.random.default_rng([seed, 1])
    n = len(bars)

    def distance(scale: float) -> Any:
        values = rng.uniform(0.0, scale, n)
        values[rng.random(n) < 0.2] = np.nan
        values[rng.random(n) < 0.2] = 0.0
        return values

    entry = np.where(rng.random(n) < density, rng.choice([-1, 1], n), 0).astype(np.int8)
    parts = len(rules.partial_fractions)
    levels = bars.close[:, None] + rng.uniform(-3.0, 3.0, (n, parts))
    levels[rng.random((n, parts)) < 0.1] = np.nan
    made: dict[str, Any] = {
        "exit": np.where(rng.random(n) < 0.15, rng.integers(1, 4, n), 0).astype(np.int8),
        "size": rng.uniform(0.05, 2.0, n),
        "stop_distance": distance(3.0),
        "target_distance": distance(4.0),
        "trail_distance": distance(3.0),
    }
    chosen = {name: made[name] for name in sorted(made) if name in optional}
    return Signals(entry=entry, partial_levels=levels if parts else None, rules=rules, **chosen)


FREE = Costs(fee_bps=0.0, slippage_bps=0.0)
AT_CLOSE = Execution(fill="same_close")
AT_OPEN = Execution(fill="next_open")


def entries(n: int, at: dict[int, int]) -> Any:
    """int8[n] with the given values at the given bars."""
    made = np.zeros(n, dtype=np.int8)
    for bar, value in at.items():
        made[bar] = value
    return made


def run_with_bounds_checked(script: str, cache: Path) -> None:
    """Run a script in a process whose kernels raise IndexError outside their arrays, compiled anew into `cache`."""
    environment = {**os.environ, "NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(cache)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
