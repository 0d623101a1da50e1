"""Real runs, made once: a small strategy study with a holdout, and synthetic ledgers of any size."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genesis.report.tables import Axis, Ledger
from genesis.run.result import Run
from genesis.run.study import optimize

STUDY: dict[str, Any] = {
    "data": {"source": "sample:IBM", "end": "2008-12-31", "warmup_bars": 60},
    "holdout": {"start": "2009-01-01"},
    "strategy": "sma_cross",
    "costs": {"fee_bps": 5.0, "slippage_bps": 2.0},
    "objective": "sharpe",
    "constraints": {"min_trades": 10},
    "parameters": {
        "fast": {"type": "int", "low": 3, "high": 30},
        "slow": {"type": "int", "low": 20, "high": 60},
        "side": {"type": "grid", "values": ["both", "long"]},
    },
    "rules": ["fast < slow"],
    "run": {"run_id": "small", "max_trials": 80, "seed": 3, "max_concurrent": 4},
}


@pytest.fixture(scope="session")
def study() -> dict[str, Any]:
    return STUDY


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return optimize(STUDY, workers=0, runs_dir=tmp_path_factory.mktemp("runs"))


@pytest.fixture
def run_dir(run: Run) -> Path:
    return run.path


@pytest.fixture(scope="session")
def ledger_of() -> Callable[..., Ledger]:
    """A ledger of any size: score is a smooth hill over x with noise, `kind` does nothing."""

    def make(count: int, *, seed: int = 0, noise: float = 0.1) -> Ledger:
        generator = np.random.default_rng(seed)
        x = generator.uniform(0.0, 10.0, count)
        rate = np.exp(generator.uniform(np.log(1e-3), 0.0, count))
        kind = generator.integers(0, 3, count).astype(float)
        scores = np.exp(-((x - 5.0) ** 2) / 4.0) + noise * generator.standard_normal(count)
        trades = generator.integers(0, 50, count).astype(float)
        return Ledger(
            numbers=np.arange(count),
            scores=scores,
            states=["complete"] * count,
            violation=np.where(trades < 5, 1.0, 0.0),
            axes=(
                Axis("x", "float", 0.0, 10.0),
                Axis("rate", "float", 1e-3, 1.0, log=True),
                Axis("kind", "categorical", 0.0, 2.0, choices=("a", "b", "c")),
            ),
            vectors=np.column_stack([x, rate, kind]),
            metrics={"sharpe": scores, "trades": trades},
            hashes=[f"h{i}" for i in range(count)],
        )

    return make
