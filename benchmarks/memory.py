"""What two workers and their coordinator hold in memory over features on disk: `python -m benchmarks.memory 1000000`.

A process of its own, so that nothing else is counted. Proportional set size shares a page among those who map it, so
the sum over all processes is what the machine gives; unique set size is what one worker has for itself alone.
"""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
import tempfile
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import psutil

from genesis.engine.backtest import backtest
from genesis.market.catalog import load_bars
from genesis.search.space import Space
from genesis.strategy.base import load_strategy
from genesis.strategy.features import Features
from genesis.strategy.precompute import Precomputed, precompute
from genesis.types import Costs

SPACE = {"features": {"rsi_period": {"type": "int", "low": 10, "high": 12}}}


def work(made: Precomputed, features: Features, pipe: Connection) -> None:
    """Read every page of every feature, run two backtests, and wait to be measured."""
    held = [np.load(path, mmap_mode="r") for path in sorted(made.folder.glob("*.npy"))]
    assert all(np.isfinite(array).any() for array in held)
    for least in (0.3, 0.4):
        backtest(
            features.bars,
            "fibonacci",
            {"thresholds": {"entry_conf_overall": least}},
            costs=Costs(fee_bps=5, slippage_bps=2),
            features=features,
        )
    pipe.send("ready")
    pipe.recv()


def of_files(process: psutil.Process) -> tuple[float, float]:
    """MB of feature files: this process's share of the machine's memory, and what it has copied of them."""
    maps = [one for one in process.memory_maps(grouped=True) if one.path.endswith(".npy")]
    return sum(one.pss for one in maps) / 1e6, sum(one.private_dirty for one in maps) / 1e6


def warm() -> None:
    """Load the code, so that it can be told from the data."""
    few = load_bars("synthetic:seed=7,bars=2000,timeframe=1h")
    backtest(few, "fibonacci", {}, costs=Costs(fee_bps=5, slippage_bps=2))


def main(size: int) -> None:
    """Print one line."""
    warm()
    empty = psutil.Process().memory_full_info().pss
    bars = load_bars(f"synthetic:seed=7,bars={size},timeframe=1h")
    me = psutil.Process()
    with tempfile.TemporaryDirectory() as folder:
        made = precompute(bars, load_strategy("fibonacci"), Space.from_spec(SPACE), folder)
        features = Features(bars, cache=made.cache())
        backtest(bars, "fibonacci", {}, costs=Costs(fee_bps=5, slippage_bps=2), features=features)
        context = multiprocessing.get_context("fork")
        pipes, workers = [], []
        for _ in range(2):
            mine, theirs = context.Pipe()
            worker = context.Process(target=work, args=(made, features, theirs))
            worker.start()
            pipes.append(mine)
            workers.append(worker)
        for pipe in pipes:
            assert pipe.recv() == "ready"
        children = [psutil.Process(worker.pid) for worker in workers]
        shares = [of_files(child) for child in children]
        full = [process.memory_full_info() for process in (me, *children)]
        long = sum(path.stat().st_size > 4 * size for path in Path(folder).glob("*.npy"))
        for pipe in pipes:
            pipe.send("stop")
        for worker in workers:
            worker.join()
    own = " and ".join(f"{one.uss / 1e6:,.0f}" for one in full[1:])
    print(
        f"{long} features of {size:,} bars in {made.bytes / 1e6:,.0f} MB of files, mapped by two workers: "
        f"{sum(one.pss for one in full) / 1e6:,.0f} MB for all three processes, code and bars included "
        f"({empty / 1e6:,.0f} MB before the bars were loaded); "
        f"of the files {sum(share for share, _ in shares):,.0f} MB in the workers together, "
        f"{sum(copied for _, copied in shares):,.0f} MB copied; a worker's own {own} MB"
    )


def in_a_process_of_its_own(size: int) -> str:
    """The line that `main` prints."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.memory", str(size)], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
