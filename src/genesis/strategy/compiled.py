"""Compiled strategies: the author's scalar `signal(p, f, i)` is inlined into one loop over the bars."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numba
import numpy as np

from genesis.engine.compile import OPTIONS
from genesis.errors import StrategyError
from genesis.strategy.answers import ALLOWED, FIELDS, to_signals
from genesis.strategy.features import Features
from genesis.strategy.windows import floats, rules_of
from genesis.types import Params, Signals


def run_compiled(strategy: Any, params: Params, features: Features, ref: str, loops: dict[str, Any]) -> Signals:
    """Signals of `signal(p, f, i)` at every bar.

    The author's class has `signal`, a static function (compiled here unless it already is) of the parameters
    `p` (float64[k]), the features `f` (float64[m, n], one row each) and the bar `i`; `columns(params, features)`,
    which returns the rows of `f`; and `parameters`, the dotted names whose values become `p` in that order, or a
    method `numbers(params)` that returns them. It must read `f[:, j]` at j <= i only. `loops` keeps what is compiled.
    """
    p = _numbers(strategy, params, ref)
    f = _columns(strategy, params, features, ref)
    if "loop" not in loops:
        loops["signal"] = _compiled(strategy.signal, ref)
    signal = loops["signal"]
    if features.n == 0:
        return to_signals([np.zeros(0, dtype=np.int8)], rules_of(strategy, params, ref))
    if "loop" not in loops:
        loops["loop"], loops["width"] = _loop_for(signal, p, f, ref)
    out = np.zeros((loops["width"], features.n))
    loops["loop"](signal, p, f, out)
    return to_signals(list(out), rules_of(strategy, params, ref))


def _compiled(function: Any, ref: str) -> Any:
    if isinstance(function, numba.core.registry.CPUDispatcher):
        return function
    if not inspect.isfunction(function):
        raise StrategyError(f"{ref}: signal is {type(function).__name__}; make it a @staticmethod signal(p, f, i)")
    return numba.njit(**{**OPTIONS, "cache": False})(function)


def _loop_for(signal: Any, p: Any, f: Any, ref: str) -> tuple[Callable[..., None], int]:
    """The loop that suits what `signal` returns, and how many columns that is."""
    try:
        answer = signal(p, f, 0)
    except numba.core.errors.NumbaError as error:
        raise StrategyError(f"{ref}: signal(p, f, i) cannot be compiled: {error}") from error
    if isinstance(answer, tuple):
        if not 1 <= len(answer) <= len(FIELDS):
            raise StrategyError(f"{ref}: signal(p, f, i) answered {answer!r}; allowed is {ALLOWED}")
        return _tuple_loop(len(answer)), len(answer)
    if not isinstance(answer, (int, float, np.number)):
        raise StrategyError(f"{ref}: signal(p, f, i) answered {answer!r}; allowed is {ALLOWED}")
    return _scalar_loop, 1


@numba.njit(**{**OPTIONS, "cache": False})
def _scalar_loop(signal: Any, p: Any, f: Any, out: Any) -> None:
    for i in range(f.shape[1]):
        out[0, i] = signal(p, f, i)


def _tuple_loop(width: int) -> Callable[..., None]:
    store = _store(width)

    def loop(signal: Any, p: Any, f: Any, out: Any) -> None:
        for i in range(f.shape[1]):
            store(out, i, signal(p, f, i))

    made: Callable[..., None] = numba.njit(**{**OPTIONS, "cache": False})(loop)
    return made


def _store(width: int) -> Callable[..., None]:
    """Put the first `width` parts of a tuple into their rows; a tuple of mixed types takes constant places only."""
    last = width - 1
    before: Any = _store(last) if last else None

    def only(out: Any, i: int, answer: Any) -> None:
        out[0, i] = answer[0]

    def also(out: Any, i: int, answer: Any) -> None:
        before(out, i, answer)
        out[last, i] = answer[last]

    made: Callable[..., None] = numba.njit(**{**OPTIONS, "cache": False})(also if last else only)
    return made


def _numbers(strategy: Any, params: Params, ref: str) -> Any:
    make = getattr(strategy, "numbers", None)
    if callable(make):
        return floats(make(params), "numbers(params)", ref)
    names = getattr(strategy, "parameters", None)
    if names is None:
        raise StrategyError(
            f"{ref}: say which parameters signal(p, f, i) gets: parameters = ('fast', 'slow'), in p's order"
        )
    return floats([_lookup(params, name, ref) for name in names], "parameters", ref)


def _lookup(params: Mapping[str, Any], name: str, ref: str) -> Any:
    if name in params:
        return params[name]
    node: Any = params
    for part in name.split("."):
        if not isinstance(node, Mapping) or part not in node:
            raise StrategyError(f"{ref}: parameter {name!r} is missing; given: {', '.join(map(str, params)) or 'none'}")
        node = node[part]
    return node


def _columns(strategy: Any, params: Params, features: Features, ref: str) -> Any:
    make = getattr(strategy, "columns", None)
    if not callable(make):
        raise StrategyError(
            f"{ref}: say which rows f has: def columns(self, params, features): return [features.sma(10), …]"
        )
    rows = [np.asarray(row) for row in make(params, features)]
    for k, row in enumerate(rows):
        if row.shape != (features.n,) or row.dtype.kind not in "iuf":
            raise StrategyError(
                f"{ref}: columns(…)[{k}] has shape {row.shape} and dtype {row.dtype}; give float64[{features.n}]"
            )
    return np.ascontiguousarray(rows, dtype=np.float64).reshape(len(rows), features.n)
