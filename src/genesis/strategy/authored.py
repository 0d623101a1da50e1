"""An author's class behind the strategy protocol: three ways to write it, one kind of signals, checked."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np

from genesis.errors import GenesisError, StrategyError
from genesis.strategy.features import Features
from genesis.types import Params, Rules, Signals

METHODS = ("signals", "signal", "on_bar")


class Authored:
    """One author's strategy: `target` is their class or object, `version` the hash of its source.

    A class is made anew for every parameter set, so nothing that one trial leaves on `self` reaches the next.
    """

    def __init__(self, target: Any, *, version: str, ref: str) -> None:
        self._target = target
        self.ref = ref
        kind = target if inspect.isclass(target) else type(target)
        self.id: str = str(getattr(target, "id", None) or kind.__name__)
        self.version = version
        self.way = next(method for method in METHODS if callable(getattr(target, method, None)))
        space = getattr(target, "space", None)
        self.space: Mapping[str, Any] = space if isinstance(space, Mapping) else {}
        self.higher: str | None = getattr(target, "higher", None)
        self.needs = tuple(getattr(target, "needs", ()))
        self._loop: Any = None

    def __repr__(self) -> str:
        return f"<strategy {self.id} ({self.way}) from {self.ref}>"

    def signals(self, params: Params, features: Features) -> Signals:
        """The author's signals, checked; an exception of theirs passes through unchanged, with its traceback.

        But for SystemExit, which would end whoever asks without a word: it becomes a StrategyError.
        """
        try:
            return self._signals(params, features)
        except SystemExit as error:
            raise StrategyError(
                f"{self.ref}: the strategy called sys.exit({error.code!r}); raise an exception that says what is wrong"
            ) from error

    def _signals(self, params: Params, features: Features) -> Signals:
        made = self._make()
        features, params = features.sealed, copy.deepcopy(params)
        if self.way == "signals":
            return check_signals(made.signals(params, features), features.n, self.ref)
        if self.way == "signal":
            from genesis.strategy.compiled import run_compiled

            if self._loop is None:
                self._loop = {}
            return check_signals(run_compiled(made, params, features, self.ref, self._loop), features.n, self.ref)
        from genesis.strategy.windows import run_on_bar

        return check_signals(run_on_bar(made, params, features, self.ref), features.n, self.ref)

    def _make(self) -> Any:
        if not inspect.isclass(self._target):
            return self._target
        try:
            return self._target()
        except GenesisError:
            raise
        except Exception as error:
            raise StrategyError(
                f"{self.ref}: making {self._target.__name__}() raised {type(error).__name__}: {error}"
            ) from error


def check_signals(made: Any, n: int, ref: str) -> Signals:
    """`made` as Signals whose arrays have the right shape, type and values; StrategyError names what is wrong.

    A bare array is taken as the entries.
    """
    if isinstance(made, (np.ndarray, list, tuple)):
        made = Signals(entry=np.asarray(made))
    if not isinstance(made, Signals):
        raise StrategyError(
            f"{ref}: signals came as {type(made).__name__}; return genesis.Signals or an array of entries"
        )
    if not isinstance(made.rules, Rules):
        raise StrategyError(f"{ref}: rules came as {type(made.rules).__name__}; give genesis.Rules")
    return Signals(
        entry=_codes("entry", made.entry, n, -1, 1, ref),
        exit=None if made.exit is None else _codes("exit", made.exit, n, 0, 3, ref),
        size=None if made.size is None else _floats("size", made.size, n, ref, positive=True),
        stop_distance=_distance("stop_distance", made.stop_distance, n, ref),
        target_distance=_distance("target_distance", made.target_distance, n, ref),
        trail_distance=_distance("trail_distance", made.trail_distance, n, ref),
        partial_levels=_levels(made, n, ref),
        rules=made.rules,
        blocked={str(name): int(count) for name, count in made.blocked.items()},
    )


def _codes(name: str, values: Any, n: int, low: int, high: int, ref: str) -> Any:
    array = np.asarray(values)
    if array.shape != (n,):
        raise StrategyError(f"{ref}: {name} has shape {array.shape}; give one value per bar, shape ({n},)")
    if array.dtype.kind not in "iufb":
        raise StrategyError(f"{ref}: {name} has dtype {array.dtype}; give whole numbers {low}..{high} (int8)")
    bad = ~((array >= low) & (array <= high))
    if array.dtype.kind == "f":
        bad |= array != np.floor(array)
    if bad.any():
        at = int(np.argmax(bad))
        raise StrategyError(f"{ref}: {name}[{at}] is {array[at].item()!r}; allowed are the whole numbers {low}..{high}")
    return np.ascontiguousarray(array, dtype=np.int8)


def _floats(name: str, values: Any, n: int, ref: str, *, positive: bool) -> Any:
    array = np.asarray(values)
    if array.shape != (n,):
        raise StrategyError(f"{ref}: {name} has shape {array.shape}; give one value per bar, shape ({n},)")
    if array.dtype.kind not in "iuf":
        raise StrategyError(f"{ref}: {name} has dtype {array.dtype}; give float64")
    array = np.ascontiguousarray(array, dtype=np.float64)
    bad = ~(array > 0.0) | np.isinf(array) if positive else (array < 0.0) | np.isinf(array)
    if bad.any():
        at = int(np.argmax(bad))
        rule = "finite numbers above 0" if positive else "0 or NaN (none) and finite numbers above 0"
        raise StrategyError(f"{ref}: {name}[{at}] is {array[at].item()!r}; allowed are {rule}")
    return array


def _distance(name: str, values: Any, n: int, ref: str) -> Any:
    return None if values is None else _floats(name, values, n, ref, positive=False)


def _levels(made: Signals, n: int, ref: str) -> Any:
    fractions = made.rules.partial_fractions
    if made.partial_levels is None:
        if fractions:
            raise StrategyError(f"{ref}: rules.partial_fractions has {len(fractions)} parts and partial_levels is None")
        return None
    levels = np.ascontiguousarray(made.partial_levels, dtype=np.float64)
    if levels.shape != (n, len(fractions)):
        raise StrategyError(
            f"{ref}: partial_levels has shape {levels.shape}; give one column per part of rules.partial_fractions, "
            f"shape ({n}, {len(fractions)})"
        )
    if sum(fractions) > 1.0 + 1e-9 or not all(0.0 < part <= 1.0 for part in fractions):
        raise StrategyError(
            f"{ref}: rules.partial_fractions is {fractions}; give parts above 0 that add up to at most 1"
        )
    return levels
