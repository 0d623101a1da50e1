"""Proposals do not hang on how many threads NumPy's linear algebra has, and its number is as it was afterwards."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import ThreadpoolController, threadpool_limits

from genesis.search.one_thread import one_blas_thread
from genesis.search.samplers import make_sampler
from genesis.search.space import Space


def _threads() -> list[int]:
    return [one["num_threads"] for one in ThreadpoolController().info() if one["user_api"] == "blas"]


def blas_threads(params: dict[str, float]) -> dict[str, float]:
    """A trial that says how many threads its products may take."""
    return {"loss": params["x"], "threads": float(max(_threads(), default=1))}


def test_the_number_is_as_before_afterwards() -> None:
    """Nested, after an error, and with several threads that want it: one inside, the old number outside."""
    found: list[list[int]] = []

    def other() -> None:
        for _ in range(50):
            with one_blas_thread():
                found.append(_threads())

    with threadpool_limits(limits=2, user_api="blas"):
        before = _threads()
        with one_blas_thread(), one_blas_thread():
            found.append(_threads())
        with pytest.raises(ZeroDivisionError), one_blas_thread():
            1 / 0  # noqa: B018
        assert _threads() == before
    before = _threads()
    threads = [threading.Thread(target=other) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert _threads() == before
    assert len(found) == 151
    assert {count for counts in found for count in counts} <= {1}


@pytest.mark.parametrize("threads", [2, 3])
def test_the_portfolio_proposes_the_same_on_any_number_of_threads(threads: int) -> None:
    """Ten columns that a surface crosses: with two threads the last bits of its fit were others."""
    space = Space.from_spec({f"x{i}": {"type": "float", "low": -5.12, "high": 5.12} for i in range(10)})

    def proposed() -> bytes:
        sampler = make_sampler("auto", {}, space, seed=1, concurrency=8, budget=400)
        said = []
        for generation in range(45):
            asked = sampler.ask(8, generation)
            vectors = asked.vectors
            said.append(vectors)
            x = vectors - 1.3
            loss = 100.0 + (x**2 - 10.0 * np.cos(2 * np.pi * x)).sum(axis=1)
            sampler.tell(vectors, -loss, np.zeros(8), np.zeros(8, np.int8), asked.origins)
        return np.concatenate(said).tobytes()

    with threadpool_limits(limits=1, user_api="blas"):
        alone = proposed()
    with threadpool_limits(limits=threads, user_api="blas"):
        assert proposed() == alone


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(("asked", "expected"), [(None, 1.0), ("2", 2.0)])
def test_a_trial_has_one_thread_unless_the_environment_asks(
    tmp_path: Path, asked: str | None, expected: float, workers: int
) -> None:
    """As many workers as processors leave one each; without workers it is the same; OMP_NUM_THREADS counts."""
    text = (
        "import genesis\n"
        "from tests.search.test_one_thread import blas_threads\n"
        "study = {'evaluate': blas_threads, 'objective': {'metric': 'loss', 'direction': 'minimize'},\n"
        "         'parameters': {'x': {'type': 'float', 'low': 0.0, 'high': 1.0}},\n"
        "         'run': {'run_id': 'threads', 'max_trials': 4, 'sampler': 'random'}}\n"
        f"run = genesis.optimize(study, workers={workers}, runs_dir={str(tmp_path)!r})\n"
        "print(max(trial.metrics['threads'] for trial in run.top(4)))\n"
    )
    names = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
    environment = {name: value for name, value in os.environ.items() if name not in names}
    environment |= {"OMP_NUM_THREADS": asked} if asked else {}
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    said = subprocess.run([sys.executable, "-c", text], env=environment, capture_output=True, text=True, check=True)
    most = float(os.cpu_count() or 1) if _threads() else 1.0  # macOS's own library has no number that could be set
    assert float(said.stdout) == min(expected, most)
