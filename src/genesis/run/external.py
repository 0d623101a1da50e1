"""Trials that are not a strategy of ours: a Python callable, a generator of running scores, or a command."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import importlib
import importlib.util
import inspect
import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from numbers import Real
from pathlib import Path
from typing import Any

from genesis.errors import StrategyError
from genesis.trials.codec import json_dumps, json_loads
from genesis.types import TrialSpec

Metrics = dict[str, float | None]
STDERR_TAIL = 2_000  # characters of a failed command's stderr that its result keeps

_PLAIN = frozenset({float, int, str, bool, type(None)})


class BadOutcomeError(Exception):
    """What a callable or command returned cannot be used; the message becomes the failed trial's reason."""


def load_callable(reference: str | Callable[..., Any]) -> Callable[..., Any]:
    """Find `package.module:function` or `./file.py:function`; a callable is returned as it is.

    Raises `StrategyError` naming what is missing.
    """
    if callable(reference):
        return reference
    where, _, name = reference.rpartition(":")
    if not where or not name:
        raise StrategyError(
            f"evaluate: {reference!r} names no function; use 'package.module:function' or './file.py:function'"
        )
    if where.endswith(".py"):
        path = Path(where).expanduser().resolve()
        if not path.is_file():
            raise StrategyError(f"evaluate: no file {path}; the path is relative to where the command is typed")
        spec = importlib.util.spec_from_file_location(f"genesis_user_{path.stem}", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
    else:
        with contextlib.suppress(ValueError):
            sys.path.remove("")
        sys.path.insert(0, "")  # a module beside the study is found as `python -m` would find it
        try:
            module = importlib.import_module(where)
        except ModuleNotFoundError as error:
            raise StrategyError(
                f"evaluate: no module {error.name!r} for {reference!r}; is it installed, or beside you?"
            ) from error
    function = getattr(module, name, None)
    if not callable(function):
        raise StrategyError(f"evaluate: {where} has no function {name!r}")
    return function  # type: ignore[no-any-return]


def code_version(reference: str | Callable[..., Any]) -> str | None:
    """What the code of a callable is, as a hash: of the whole file for `./file.py:function`, else of the function.

    None where there is no source to read. A script that holds both a function and the call of `optimize` may so change
    its budget without becoming another study.
    """
    if isinstance(reference, str) and (where := reference.rpartition(":")[0]).endswith(".py"):
        return hashlib.sha256(Path(where).expanduser().read_bytes()).hexdigest()
    try:
        return hashlib.sha256(inspect.getsource(load_callable(reference)).encode()).hexdigest()
    except (OSError, TypeError):
        return None


def wanted_arguments(function: Callable[..., Any]) -> frozenset[str]:
    """Which of `seed` and `bars` the callable asks for by name."""
    try:
        names = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return frozenset()
    return frozenset(name for name in ("seed", "bars") if name in names)


def call(
    function: Callable[..., Any], spec: TrialSpec, extra: Mapping[str, Any]
) -> Generator[Metrics | float, None, Metrics]:
    """Run a callable on one trial: yields its running scores or metrics, and returns the final metrics.

    A generator's returned mapping, or else its last yielded mapping, is final.
    """
    outcome = function(_copied(spec.params), **extra)  # what it does to them must not reach the store
    if not isinstance(outcome, Generator):
        return checked_metrics(outcome)
    last: Metrics | None = None
    while True:
        try:
            value = next(outcome)
        except StopIteration as stop:
            if stop.value is not None:
                last = checked_metrics(stop.value)
            break
        if isinstance(value, Mapping):
            last = checked_metrics(value)
            yield last
        elif isinstance(value, Real) and math.isfinite(float(value)):
            yield float(value)
        else:
            raise BadOutcomeError(
                f"yielded {value!r}; yield a finite running score (larger is better) or a mapping of metrics"
            )
    if last is None:
        raise BadOutcomeError(
            "a generator must return, or yield last, a mapping of metrics; it gave running scores only"
        )
    return last


def _copied(value: Any) -> Any:
    """A deep copy; of what parameters are made of in a tenth of the time that `copy.deepcopy` takes."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is dict:
        return {name: one if type(one) in _PLAIN else _copied(one) for name, one in value.items()}
    return [_copied(one) for one in value] if kind is list else copy.deepcopy(value)


def checked_metrics(outcome: object) -> Metrics:
    """Metrics as plain floats or None; raises `BadOutcomeError` for anything else, naming it."""
    if not isinstance(outcome, Mapping):
        raise BadOutcomeError(f"returned {type(outcome).__name__}; return a mapping of metric names to numbers")
    if not outcome:
        raise BadOutcomeError("returned an empty mapping; return at least the objective's metric")
    metrics: Metrics = {}
    for name, value in outcome.items():
        if not isinstance(name, str) or (not name.isascii() and any("\ud800" <= one <= "\udfff" for one in name)):
            raise BadOutcomeError(f"returned the metric name {name!r}; names are text")
        if value is None:
            metrics[name] = None
            continue
        try:
            number = float(value) if isinstance(value, Real) or hasattr(value, "__float__") else math.nan
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if not math.isfinite(number) or isinstance(value, str):
            raise BadOutcomeError(
                f"returned {name}={f'{value!r}':.80}; a metric is a finite number, or None where it is undefined"
            )
        metrics[name] = number
    return metrics


def run_command(command: Sequence[str], spec: TrialSpec, time_limit: float | None) -> Metrics:
    """Give a command the trial as JSON on stdin and read its metrics as JSON from the last line of stdout.

    stdin is `{"number": …, "seed": …, "params": {…}}`. Raises `BadOutcomeError` when it fails, loops or says nonsense.
    """
    payload = json_dumps({"number": spec.number, "seed": spec.seed, "params": spec.params})
    try:
        process = subprocess.Popen(  # noqa: S603 - the study's own command, without a shell
            list(command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        raise BadOutcomeError(f"cannot start {command[0]!r}: {error.strerror or error}") from error
    try:
        out, err = process.communicate(payload, timeout=time_limit)
    except subprocess.TimeoutExpired as error:
        _kill_group(process)
        raise BadOutcomeError(f"the command took longer than its limit of {time_limit:g} s and was stopped") from error
    except BaseException:
        _kill_group(process)
        raise
    if process.returncode != 0:
        tail = err.decode(errors="replace")[-STDERR_TAIL:].strip()
        raise BadOutcomeError(f"the command ended with exit code {process.returncode}: {tail or 'nothing on stderr'}")
    text = out.decode(errors="replace").strip()
    if not text:
        raise BadOutcomeError("the command printed nothing; print a JSON mapping of metrics as the last line")
    last = text.splitlines()[-1]
    try:
        outcome = json_loads(last if last.lstrip().startswith("{") else text)
    except ValueError as error:
        raise BadOutcomeError(f"the command's last line is not a JSON mapping: {last[:200]!r}") from error
    return checked_metrics(outcome)


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
