"""Run trials on a Dask cluster: the same contract as the worker processes, the bars sent once to each worker."""

from __future__ import annotations

import ctypes
import os
import queue
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from genesis.errors import ConfigError, MissingExtraError
from genesis.run.reporting import Reports
from genesis.run.worker import failed_result, run_trial
from genesis.types import TrialResult, TrialSpec

if TYPE_CHECKING:
    from genesis.run.evaluate import Evaluator
    from genesis.search.pruners import Pruner, Told

CHUNKS_PER_CORE = 2
BLOCK = 256  # finished trials that a worker is sent at once, and only once, for its pruner to know


class DaskExecutor:
    """Runs trials on the workers of `cluster`: a `distributed.Client`, a `Cluster`, or a scheduler's address.

    Trials go in chunks, so that a task's cost at the scheduler (about a millisecond) is shared. A chunk whose worker is
    lost again and again fails, trial by trial, with Dask's own words.

    A pruner decides on the worker, from a copy that is told what the coordinator's was told before the generation
    began, so its answers are those of the built-in workers. With a time limit a trial is a task of its own; one that
    takes longer is interrupted where it next runs Python. One that stays in compiled code for the limit once more ends
    its worker process, which Dask's nanny starts again; a worker without a nanny cannot be stopped there.

    Raises `MissingExtraError` when `distributed` is not installed, `ConfigError` when the cluster cannot be reached.

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
        try:
            self._client: Any = make(cluster) if self._owned else cluster
        except (OSError, ValueError) as error:
            said = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ConfigError(f"dask: {cluster!r} cannot be reached ({said}); start it with: dask scheduler") from error
        self.workers: int = max(1, sum(self._client.nthreads().values()))
        self._evaluator = self._client.scatter(evaluator.with_data(), broadcast=True, hash=False)
        self._done: queue.SimpleQueue[tuple[Any, list[TrialSpec]]] = queue.SimpleQueue()
        self._futures: set[Any] = set()
        self._outstanding = 0
        self._busy_seconds = 0.0
        self._limit: float | None = None
        self._pruner: Pruner | None = None
        self._blocks: list[Any] = []
        self._token = uuid.uuid4().hex

    def prune_with(self, pruner: Pruner) -> None:
        """Let a pruner stop trials; it is told of finished trials between generations only."""
        self._pruner = pruner

    def limit_to(self, seconds: float) -> None:
        """Stop trials that take longer."""
        self._limit = seconds

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
        size = 1 if self._limit else max(1, -(-len(specs) // (CHUNKS_PER_CORE * self.workers)))
        pruning = self._told()
        for start in range(0, len(specs), size):
            chunk = list(specs[start : start + size])
            future = self._client.submit(
                _run_chunk, self._evaluator, chunk, self._limit, pruning, self._blocks[:], pure=False
            )
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
                reason = self._lost(future)
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

    def _lost(self, future: Any) -> str:
        if future.status != "error":
            return "cancelled"
        hint = f"; it may have taken longer than its limit of {self._limit:g} s" if self._limit else ""
        return f"its Dask worker was lost: {future.exception()!r}{hint}"

    def _told(self) -> _Pruning | None:
        """What the workers need to know of finished trials, full blocks of them scattered once."""
        if self._pruner is None:
            return None
        told = self._pruner.told
        while len(told) >= BLOCK * (len(self._blocks) + 1):
            first = BLOCK * len(self._blocks)
            self._blocks.append(self._client.scatter(list(told[first : first + BLOCK]), broadcast=True, hash=False))
        return self._token, self._pruner.name, self._pruner.kwargs, list(told[BLOCK * len(self._blocks) :])


_Pruning = tuple[str, str, dict[str, Any], list["Told"]]


# -- on the worker ----------------------------------------------------------------------------------------------------

_known: dict[str, Pruner] = {}  # one run's pruner in this process, told more as generations come
_deciding = threading.RLock()  # a worker runs trials in several threads, and a pruner is for one at a time


class _TooLongError(BaseException):
    """Raised inside a trial whose time is over; no Exception, so that a trial's own handlers let it pass."""


def _run_chunk(
    evaluator: Evaluator,
    specs: list[TrialSpec],
    limit: float | None,
    pruning: _Pruning | None,
    blocks: list[list[Told]],
) -> tuple[float, list[TrialResult]]:
    begin = time.perf_counter()
    report = None if pruning is None else _asking(pruning, blocks)
    results = []
    for spec in specs:
        try:
            with _limited(limit):
                result = run_trial(evaluator, spec, report)
        except _TooLongError:
            result = failed_result(spec, f"took longer than its limit of {limit:g} s and was stopped")
        results.append(result)
    return time.perf_counter() - begin, results


def _asking(pruning: _Pruning, blocks: list[list[Told]]) -> Any:
    """The answer to running scores, from this process's copy of the pruner, told what it did not know."""
    from genesis.search.pruners import make_pruner

    token, name, kwargs, tail = pruning
    with _deciding:
        if token not in _known:
            _known.clear()
            _known[token] = make_pruner(name, kwargs)
        pruner = _known[token]
        for first, some in enumerate([*blocks, tail]):
            for one in some[max(0, len(pruner.told) - BLOCK * first) :]:
                pruner.tell(*one)
    ask = Reports(pruner)

    def report(spec: TrialSpec, step: int, value: float) -> bool:
        with _deciding:
            return ask(spec, step, value)

    return report


@contextmanager
def _limited(seconds: float | None) -> Iterator[None]:
    """Raise `_TooLongError` in this thread when the time is over, and end the process when that changes nothing."""
    if seconds is None:
        yield
        return
    mine = threading.get_ident()
    ended = threading.Event()
    turn = threading.Lock()
    supervised = _has_nanny()

    def watch() -> None:
        if ended.wait(seconds):
            return
        with turn:
            if ended.is_set():
                return
            _raise_in(mine, _TooLongError)
        if not ended.wait(max(seconds, 1.0)) and supervised:
            os._exit(1)

    watcher = threading.Thread(target=watch, name="genesis-limit", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        while not ended.is_set():
            try:
                with turn:
                    ended.set()
                # What was asked for and not raised yet comes at the next jump backwards. It is not taken back, since
                # that leaves CPython looking for it for ever: slower, and in 3.11 a call under a profiler never ends.
                for _ in range(100):
                    pass
            except _TooLongError:  # the trial ended in time after all
                continue


def _raise_in(thread: int, error: type[BaseException]) -> None:
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(error))


def _has_nanny() -> bool:
    from distributed import get_worker

    try:
        return get_worker().nanny is not None
    except ValueError:  # not on a worker
        return False
