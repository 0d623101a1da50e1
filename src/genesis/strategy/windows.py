"""Plain-Python strategies: `on_bar(window)` is called bar by bar and can see no further than its bar."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np

from genesis.errors import StrategyError
from genesis.strategy.answers import Answers
from genesis.strategy.features import Features
from genesis.types import FloatArray, IntArray, Params, Signals

Column = Literal["time", "open", "high", "low", "close", "volume"]
FAST_WINDOW = "GENESIS_FAST_WINDOW"


class Window:
    """The market as known at the close of bar `i`: columns and features end with that bar, `close[-1]` is its close.

    Columns are copies; with GENESIS_FAST_WINDOW=1 they are read-only views on the market itself, with the same values
    and without the copying.
    """

    __slots__ = ("_features", "_share", "i", "params")

    def __init__(self, features: Features, params: Params, *, share: bool) -> None:
        self._features = features
        self._share = share
        self.params = params
        self.i = -1

    def __len__(self) -> int:
        return self.i + 1

    def _cut(self, array: Any) -> Any:
        part = array[: self.i + 1]
        if not self._share:
            return part.copy()
        part.setflags(write=False)
        return part

    @property
    def time(self) -> IntArray:
        """Opening times, UTC nanoseconds."""
        cut: IntArray = self._cut(self._features.bars.time)
        return cut

    @property
    def open(self) -> FloatArray:
        """Opens."""
        cut: FloatArray = self._cut(self._features.bars.open)
        return cut

    @property
    def high(self) -> FloatArray:
        """Highs."""
        cut: FloatArray = self._cut(self._features.bars.high)
        return cut

    @property
    def low(self) -> FloatArray:
        """Lows."""
        cut: FloatArray = self._cut(self._features.bars.low)
        return cut

    @property
    def close(self) -> FloatArray:
        """Closes."""
        cut: FloatArray = self._cut(self._features.bars.close)
        return cut

    @property
    def volume(self) -> FloatArray:
        """Volumes."""
        cut: FloatArray = self._cut(self._features.bars.volume)
        return cut

    def feature(self, name: str, *, timeframe: str | None = None, **params: int) -> FloatArray:
        """A feature by name (as `Features.get`), on a higher timeframe if one is named; ends with this bar."""
        source = self._features if timeframe is None else self._features.higher(timeframe)
        cut: FloatArray = self._cut(source.get(name, **params))
        return cut


def fast_windows() -> bool:
    """Whether GENESIS_FAST_WINDOW asks for views in place of copies; it changes the speed and never an answer."""
    return os.environ.get(FAST_WINDOW, "").strip().lower() in ("1", "true", "yes", "on")


def run_on_bar(strategy: Any, params: Params, features: Features, ref: str) -> Signals:
    """Call `start(params)` if there is one, then `on_bar(window)` at every bar, and gather its answers.

    An answer is as `Answers` describes; None is nothing. `rules(params)`, if there is one, gives the position rules.
    """
    window = Window(features, params, share=fast_windows())
    start = getattr(strategy, "start", None)
    if callable(start):
        start(params)
    on_bar: Callable[[Window], Any] = strategy.on_bar
    answers = Answers(features.n)
    for i in range(features.n):
        window.i = i
        answer = on_bar(window)
        if answer is not None:
            answers.put(i, answer, ref)
    return answers.signals(rules_of(strategy, params, ref))


def rules_of(strategy: Any, params: Mapping[str, Any], ref: str) -> Any:
    """The author's `rules(params)`, or rules that do nothing."""
    from genesis.types import Rules

    make = getattr(strategy, "rules", None)
    if make is None:
        return Rules()
    made = make(params) if callable(make) else make
    if not isinstance(made, Rules):
        raise StrategyError(f"{ref}: rules came as {type(made).__name__}; return genesis.Rules")
    return made


def floats(values: Any, what: str, ref: str) -> FloatArray:
    """A flat float64 array of numbers, or StrategyError naming what came instead."""
    try:
        array = np.array(values, dtype=np.float64).reshape(-1)
    except (TypeError, ValueError) as error:
        raise StrategyError(f"{ref}: {what} cannot be read as numbers ({error}); return a list of floats") from error
    return array
