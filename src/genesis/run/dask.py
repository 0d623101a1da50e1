"""Run trials on a Dask cluster: the same contract as the worker processes, the bars sent once to each worker."""

from __future__ import annotations

import queue
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from genesis.errors import MissingExtraError
from genesis.run.worker import failed_result, run_trial
from genesis.types import TrialResult, TrialSpec

if TYPE_CHECKING:
    from genesis.run.evaluate import Evaluator

CHUNKS_PER_CORE = 2


class DaskExecutor:
    """Runs trials on the workers of `cluster`: a `distributed.Client`, a `Cluster`, or a scheduler's address.

    Trials go in chunks, so that a task's cost at the scheduler (about a millisecond) is shared. A chunk whose worker is
    lost again and again fails, trial by trial, with Dask's own words; time limits and pruning are not offered here.

    Raises `MissingExtraError` when `distributed` is not installed.

        >>> from genesis.run.dask import DaskExecutor                                         # doctest: +SKIP
        >>> genesis.optimize("study.yaml", executor=lambda it: DaskExecutor(it, "tcp://host:8786"))  # doctest: +SKIP
    """

    def __init__(self, evaluator: Evaluator, cluster: Any) -> None:
        try:
            import distributed
        except ImportError as error:
            raise MissingExtraError("Dask is not installed: pip install 'genesis-core[dask]'") from error
        make: Any = distributed.Client
        self._owned = not isinstance(cluster, make)
        self._client: Any = make(cluster) if self._owned else cluster
        self.workers: int = max(1, sum(self._client.nthreads().values()))
        self._evaluator = self._client.scatter(evaluator.with_data(), broadcast=True, hash=False)
        self._done: queue.SimpleQueue[tuple[Any, list[TrialSpec]]] = queue.SimpleQueue()
        self._futures: set[Any] = set()
        self._outstanding = 0
        self._busy_seconds = 0.0

    @property
    def outstanding(self) -> int:
        """Trials submitted and not yet returned."""
        return self._outstanding

    @property
    def busy(self) -> int:
        """Cores that have work, at most."""
        return min(self.workers, len(self._futures))

    @property
    def busy_seconds(self) -> float:
        """Seconds that workers spent in trials, as they measured them."""
        return self._busy_seconds

    def submit(self, specs: Sequence[TrialSpec]) -> None:
        """Send trials off in chunks."""
        size = max(1, -(-len(specs) // (CHUNKS_PER_CORE * self.workers)))
        for start in range(0, len(specs), size):
            chunk = list(specs[start : start + size])
            future = self._client.submit(_run_chunk, self._evaluator, chunk, pure=False)
            self._futures.add(future)
            future.add_done_callback(lambda done, chunk=chunk: self._done.put((done, chunk)))
        self._outstanding += len(specs)

    def poll(self, timeout: float) -> list[TrialResult]:
        """Wait for a chunk and return what has come back."""
        results: list[TrialResult] = []
        while self._futures:
            try:
                future, chunk = self._done.get(timeout=0.0 if results else timeout)
            except queue.Empty:
                break
            self._futures.discard(future)
            if future.status == "finished":
                seconds, found = future.result()
                self._busy_seconds += seconds
            else:
                reason = (
                    f"its Dask worker was lost: {future.exception()!r}" if future.status == "error" else "cancelled"
                )
                found = [failed_result(spec, reason) for spec in chunk]
            results.extend(found)
        self._outstanding -= len(results)
        return results

    def close(self, *, kill: bool = False) -> None:
        """Let go of the cluster; with `kill` what runs is cancelled first."""
        if kill and self._futures:
            self._client.cancel(list(self._futures))
        self._futures.clear()
        self._outstanding = 0
        self._evaluator = None
        if self._owned:
            self._client.close()


def _run_chunk(evaluator: Evaluator, specs: list[TrialSpec]) -> tuple[float, list[TrialResult]]:
    begin = time.perf_counter()
    results = [run_trial(evaluator, spec, None) for spec in specs]
    return time.perf_counter() - begin, results
