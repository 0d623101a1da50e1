"""Where trials run: in this process, or on worker processes that may die without taking the run along."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import selectors
import signal
import sys
import time
import warnings
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any, Protocol

from genesis.errors import RunFailedError
from genesis.run.worker import Evaluate, Report, failed_result, result_in, run_trial, spec_out, work
from genesis.search.one_thread import blas_as_in_workers
from genesis.types import TrialResult, TrialSpec

TARGET_CHUNK_SECONDS = 0.004  # long enough to hide a pipe's 0.1 ms, short enough that no worker waits for another
MAX_CHUNK = 32
IN_FLIGHT_BYTES = 48_000  # a pipe holds more than twice this, so the coordinator never blocks in a send
MAX_DEATHS = 2  # a worker killed from outside costs its trial one retry; one that dies twice is the trial's doing


class Executor(Protocol):
    """Runs trials somewhere. Results come back in any order; each submitted trial comes back exactly once.

    `submit` never blocks for long; `poll` waits at most `timeout` seconds and returns what has finished; `outstanding`
    counts trials submitted and not yet returned. `close` ends the workers; with `kill` it does not wait for trials.
    """

    workers: int

    @property
    def outstanding(self) -> int: ...  # noqa: D102 - the class docstring says it

    @property
    def busy(self) -> int: ...  # noqa: D102

    @property
    def busy_seconds(self) -> float: ...  # noqa: D102

    def submit(self, specs: Sequence[TrialSpec]) -> None: ...  # noqa: D102

    def poll(self, timeout: float) -> list[TrialResult]: ...  # noqa: D102

    def close(self, *, kill: bool = False) -> None: ...  # noqa: D102


class SerialExecutor:
    """Runs trials one by one in this process: for debugging, and for `workers=0`.

    There is no protection: a trial that loops or ends the process does so here.
    """

    def __init__(self, evaluate: Evaluate, *, report: Report | None = None) -> None:
        self.workers = 1
        self._evaluate = evaluate
        self._report = report
        self._queue: deque[TrialSpec] = deque()
        self._busy_seconds = 0.0

    @property
    def outstanding(self) -> int:
        """Trials submitted and not yet returned."""
        return len(self._queue)

    @property
    def busy(self) -> int:
        """Whether there is work, as 0 or 1."""
        return int(bool(self._queue))

    @property
    def busy_seconds(self) -> float:
        """Seconds spent in trials."""
        return self._busy_seconds

    def submit(self, specs: Sequence[TrialSpec]) -> None:
        """Queue trials for the next `poll`."""
        self._queue.extend(specs)

    def poll(self, timeout: float) -> list[TrialResult]:  # noqa: ARG002 - the protocol's
        """Run trials for about `TARGET_CHUNK_SECONDS`, at least one."""
        results: list[TrialResult] = []
        start = time.perf_counter()
        with blas_as_in_workers():
            while self._queue:
                results.append(run_trial(self._evaluate, self._queue.popleft(), self._report))
                if time.perf_counter() - start >= TARGET_CHUNK_SECONDS:
                    break
        self._busy_seconds += time.perf_counter() - start
        return results

    def close(self, *, kill: bool = False) -> None:  # noqa: ARG002 - the protocol's
        """Forget what was queued."""
        self._queue.clear()


@dataclass(slots=True, eq=False)
class _Worker:
    process: Any
    connection: Connection
    slot: Any  # shared [trial number + 1 or 0, its start, seconds spent in trials]
    batches: deque[tuple[list[TrialSpec], int]] = field(default_factory=deque)
    in_flight: int = 0  # bytes sent and not yet answered


class ProcessExecutor:
    """Runs trials on `workers` processes that share, by fork, everything `evaluate` has already loaded.

    A chunk's size follows the measured time of a trial; two chunks are in flight per worker so that none waits for the
    coordinator. A worker that dies is replaced: the trial it was in is tried once more, alone, and fails the second
    time; the others of its chunk run again elsewhere. A trial that runs longer than `time_limit` seconds is killed
    with its worker and fails. Workers die with the coordinator and leave Ctrl-C to it.
    """

    def __init__(
        self,
        evaluate: Evaluate,
        workers: int,
        *,
        time_limit: float | None = None,
        report: Report | None = None,
    ) -> None:
        self.workers = max(1, workers)
        self._evaluate = evaluate
        self._time_limit = time_limit
        self._report = report
        self._context: Any = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
        self._queue: deque[TrialSpec] = deque()
        self._alone: deque[TrialSpec] = deque()
        self._deaths: dict[int, int] = {}
        self._mean = 0.0
        self._outstanding = 0
        self._spent = 0.0
        self._dead_early = 0
        self._pool: list[_Worker] = []
        self._selector = selectors.DefaultSelector()
        for _ in range(self.workers):
            self._pool.append(self._start())

    @property
    def outstanding(self) -> int:
        """Trials submitted and not yet returned."""
        return self._outstanding

    @property
    def busy(self) -> int:
        """Workers that are inside a trial now."""
        return sum(1 for worker in self._pool if worker.batches)

    @property
    def busy_seconds(self) -> float:
        """Seconds that workers spent in trials, summed."""
        return self._spent + sum(float(worker.slot[2]) for worker in self._pool)

    @property
    def pids(self) -> list[int]:
        """The process ids of the workers."""
        return [worker.process.pid for worker in self._pool]

    def submit(self, specs: Sequence[TrialSpec]) -> None:
        """Queue trials and hand out what fits."""
        self._queue.extend(specs)
        self._outstanding += len(specs)
        self._feed()

    def poll(self, timeout: float) -> list[TrialResult]:
        """Wait for at most `timeout` seconds and return what has finished, replacing workers that died."""
        if not self._outstanding:
            return []
        results = self._overdue()
        if results:
            timeout = 0.0
        if self._time_limit is not None:
            timeout = min(timeout, max(self._time_limit / 10, 0.005))
        ready = [key.data for key, _ in self._selector.select(timeout)]
        for worker in ready:
            results.extend(self._receive(worker))
        if results or ready:
            self._outstanding -= len(results)
            self._feed()
        return results

    def close(self, *, kill: bool = False) -> None:
        """End the workers; without `kill` each may finish the trial it is in."""
        for worker in self._pool:
            if kill:
                worker.process.kill()
            else:
                with contextlib.suppress(OSError):
                    worker.connection.send_bytes(b"")
        for worker in self._pool:
            worker.process.join(timeout=5.0)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
            self._spent += float(worker.slot[2])
            worker.connection.close()
            worker.process.close()
        self._pool = []
        self._selector.close()
        self._queue.clear()
        self._alone.clear()
        self._outstanding = 0

    def _start(self) -> _Worker:
        ours, theirs = self._context.Pipe(duplex=True)
        slot = self._context.RawArray("d", 3)
        inherited = [ours, *(worker.connection for worker in self._pool)]
        process = self._context.Process(
            target=work,
            args=(self._evaluate, theirs, slot, self._report is not None, inherited if os.name == "posix" else []),
            daemon=True,
        )
        with warnings.catch_warnings():
            # The child never touches what other threads hold: it computes, and speaks through its own pipe only.
            warnings.filterwarnings("ignore", message=".*multi-threaded.*fork.*", category=DeprecationWarning)
            process.start()
        theirs.close()
        worker = _Worker(process, ours, slot)
        self._selector.register(ours, selectors.EVENT_READ, worker)
        return worker

    def _chunk_size(self) -> int:
        if self._mean <= 0.0:
            return 1
        share = -(-len(self._queue) // self.workers)  # the next generation's chunk comes behind this one
        return max(1, min(share, int(TARGET_CHUNK_SECONDS / self._mean) + 1, MAX_CHUNK))

    def _feed(self) -> None:
        depth = 1 if self._mean > 0.05 else 2  # a slow trial must not wait in one worker's pipe while another idles
        size = self._chunk_size()
        for level in range(depth):
            for worker in self._pool:
                if len(worker.batches) <= level and (self._queue or self._alone) and worker.in_flight < IN_FLIGHT_BYTES:
                    self._send(worker, size)

    def _send(self, worker: _Worker, size: int) -> None:
        if self._alone and not worker.batches:
            batch = [self._alone.popleft()]
        elif self._queue:
            batch = [self._queue.popleft() for _ in range(min(size, len(self._queue)))]
        else:
            return
        payload = pickle.dumps([spec_out(spec) for spec in batch], protocol=5)
        if worker.batches and worker.in_flight + len(payload) > IN_FLIGHT_BYTES:
            self._queue.extendleft(reversed(batch))
            return
        worker.batches.append((batch, len(payload)))
        worker.in_flight += len(payload)
        with contextlib.suppress(OSError):  # it died: the next poll reads that from its end of the pipe
            worker.connection.send_bytes(payload)

    def _receive(self, worker: _Worker) -> list[TrialResult]:
        try:
            message = pickle.loads(worker.connection.recv_bytes())  # noqa: S301 - from our own child, not from disk
        except (EOFError, OSError, pickle.UnpicklingError):
            return self._bury(worker)
        if message[0] == "report":
            _, number, step, value = message
            assert self._report is not None
            spec = next(one for batch, _ in worker.batches for one in batch if one.number == number)
            with contextlib.suppress(OSError):
                worker.connection.send_bytes(pickle.dumps(self._report(spec, step, value)))
            return []
        batch, size = worker.batches.popleft()
        worker.in_flight -= size
        _, elapsed, results = message
        mean = elapsed / len(batch)
        self._mean = mean if not self._mean else 0.9 * self._mean + 0.1 * mean
        self._dead_early = 0
        specs = {spec.number: spec for spec in batch}
        return [result_in(one, specs) for one in results]

    def _bury(self, worker: _Worker, overdue: bool = False) -> list[TrialResult]:
        worker.process.join(timeout=2.0)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()
        code = worker.process.exitcode
        current = int(worker.slot[0]) - 1
        self._spent += float(worker.slot[2])
        results: list[TrialResult] = []
        again: list[TrialSpec] = []
        for batch, _ in worker.batches:
            for spec in batch:
                if spec.number != current:
                    again.append(spec)
                elif overdue:
                    results.append(
                        failed_result(spec, f"took longer than its limit of {self._time_limit:g} s and was stopped")
                    )
                else:
                    deaths = self._deaths[current] = self._deaths.get(current, 0) + 1
                    if deaths < MAX_DEATHS:
                        self._alone.append(spec)
                    else:
                        results.append(failed_result(spec, f"its worker process died twice: {_exit_words(code)}"))
        self._queue.extendleft(reversed(again))
        if current < 0 and not overdue:
            self._dead_early += 1
            if self._dead_early > 10 * self.workers:
                raise RunFailedError(
                    f"run: workers die before they reach a trial ({_exit_words(code)}); try --workers 0 to see why"
                )
        self._selector.unregister(worker.connection)
        worker.connection.close()
        worker.process.close()
        self._pool.remove(worker)
        self._pool.append(self._start())
        return results

    def _overdue(self) -> list[TrialResult]:
        if self._time_limit is None:
            return []
        results: list[TrialResult] = []
        now = time.monotonic()
        for worker in list(self._pool):
            if worker.slot[0] and now - worker.slot[1] > self._time_limit:
                worker.process.kill()
                results.extend(self._bury(worker, overdue=True))
        return results


def _exit_words(code: int | None) -> str:
    if code is not None and code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = "unknown"
        extra = "; the machine may be out of memory" if name == "SIGKILL" else ""
        return f"signal {-code} ({name}){extra}"
    return f"exit code {code}"
