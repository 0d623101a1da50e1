"""What happens inside a worker process, and the form in which trials and results cross its pipe."""

from __future__ import annotations

import contextlib
import ctypes
import pickle
import signal
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, Protocol

from genesis.search.one_thread import keep_one_blas_thread
from genesis.types import TrialResult, TrialSpec, Violation

Report = Callable[[TrialSpec, int, float], bool]
"""Takes (trial, step, running score) and says whether to stop the trial there."""


class Evaluate(Protocol):
    """The function that workers run; it returns failed results instead of raising."""

    def __call__(self, spec: TrialSpec, report: Report | None = None) -> TrialResult:
        """Run one trial."""


def failed_result(spec: TrialSpec, reason: str, trace: str | None = None) -> TrialResult:
    """The result of a trial that could not be run to its end, with the reason in words."""
    return TrialResult(
        number=spec.number,
        generation=spec.generation,
        key=spec.key,
        params=spec.params,
        state="failed",
        score=None,
        metrics={},
        reason=_storable(reason),
        traceback=None if trace is None else _storable(trace),
    )


def described(error: BaseException) -> tuple[str, str]:
    """An exception as one line and its traceback, whatever its author made of its message."""
    try:
        words = str(error)
    except Exception:  # noqa: BLE001 - an author's __str__ may raise as well
        words = "its message cannot be read"
    return f"{type(error).__name__}: {words}", traceback.format_exc(limit=-20)


def _storable(text: str) -> str:
    """The text with what UTF-8 cannot hold (lone surrogates, as in odd file names) written as escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


def run_trial(evaluate: Evaluate, spec: TrialSpec, report: Report | None) -> TrialResult:
    """Run one trial so that whatever it raises, `SystemExit` included, becomes a failed result."""
    try:
        return evaluate(spec, report)
    except Exception as error:  # noqa: BLE001 - anything a user's code raises is a result
        return failed_result(spec, *described(error))
    except KeyboardInterrupt as error:
        if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:  # a real Ctrl-C, in the coordinator's own process
            raise
        return failed_result(spec, *described(error))
    except SystemExit as error:
        return failed_result(spec, f"the trial called sys.exit({error.code!r})", traceback.format_exc(limit=-20))


# Tuples cross the pipe: pickling a slotted dataclass takes ten times as long, and parameters need not come back.


def spec_out(spec: TrialSpec) -> tuple[Any, ...]:
    """A trial as a plain tuple."""
    return spec.number, spec.generation, spec.key, spec.params, spec.seed


def spec_in(values: tuple[Any, ...]) -> TrialSpec:
    """A trial from its tuple."""
    number, generation, key, params, seed = values
    return TrialSpec(number=number, generation=generation, key=key, params=params, seed=seed)


def result_out(result: TrialResult) -> tuple[Any, ...]:
    """A result as a plain tuple, without what its trial says already."""
    return (
        result.number,
        result.state,
        result.score,
        result.metrics,
        tuple((one.name, one.limit, one.actual, one.amount) for one in result.violations),
        result.reason,
        result.traceback,
        result.blocked,
        result.fills_hash,
        result.reports,
        result.seconds,
    )


def result_in(values: tuple[Any, ...], specs: dict[int, TrialSpec]) -> TrialResult:
    """A result from its tuple and its trial."""
    number, state, score, metrics, violations, reason, trace, blocked, fills, reports, seconds = values
    spec = specs[number]
    return TrialResult(
        number=number,
        generation=spec.generation,
        key=spec.key,
        params=spec.params,
        state=state,
        score=score,
        metrics=metrics,
        violations=tuple(Violation(*one) for one in violations),
        reason=reason,
        traceback=trace,
        blocked=blocked,
        fills_hash=fills,
        reports=reports,
        seconds=seconds,
    )


def work(evaluate: Evaluate, pipe: Connection, slot: Any, reports: bool, inherited: list[Connection]) -> None:
    """The life of a worker: run what comes through the pipe until it closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the coordinator decides
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _die_with_parent()
    keep_one_blas_thread()
    for connection in inherited:  # otherwise a worker keeps its siblings' pipes open after the coordinator is gone
        connection.close()
    waiting: deque[bytes] = deque()

    def ask(spec: TrialSpec, step: int, value: float) -> bool:
        pipe.send_bytes(pickle.dumps(("report", spec.number, step, value), protocol=5))
        while True:
            answer = pipe.recv_bytes()
            if not answer:
                raise SystemExit(0)
            decision = pickle.loads(answer)  # noqa: S301 - from the coordinator
            if isinstance(decision, bool):
                return decision
            waiting.append(answer)

    while True:
        try:
            payload = waiting.popleft() if waiting else pipe.recv_bytes()
        except (EOFError, OSError):
            return
        if not payload:
            return
        batch = [spec_in(one) for one in pickle.loads(payload)]  # noqa: S301 - from the coordinator
        results = []
        started = time.monotonic()
        for spec in batch:
            begin = time.monotonic()
            slot[1] = begin
            slot[0] = spec.number + 1
            results.append(result_out(run_trial(evaluate, spec, ask if reports else None)))
            slot[0] = 0
            slot[2] += time.monotonic() - begin
        try:
            pipe.send_bytes(pickle.dumps(("results", time.monotonic() - started, results), protocol=5))
        except OSError:
            return


def _die_with_parent() -> None:
    """Ask Linux to kill this worker when the coordinator goes, even in the middle of a long trial."""
    if sys.platform == "linux":
        parent_death_signal = 1
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(parent_death_signal, signal.SIGKILL)
