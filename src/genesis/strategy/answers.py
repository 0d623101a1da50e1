"""What a strategy answers at one bar, gathered into signals: a direction, or a tuple that begins with one."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from genesis.errors import StrategyError
from genesis.types import Rules, Signals

FIELDS = ("entry", "exit", "size", "stop_distance", "target_distance", "trail_distance")
ALLOWED = "-1, 0 or 1, or a tuple (entry, exit, size, stop_distance, target_distance, trail_distance) cut at any length"


class Answers:
    """Columns that answers are put into, bar by bar; a column nobody answered for stays out of the signals.

    `entry` is -1, 0 or 1; `exit` 0..3 (1 leaves a long, 2 a short, 3 both); `size` multiplies the size of an entry;
    distances are in price units, 0 or NaN is none.
    """

    def __init__(self, n: int) -> None:
        self.columns: list[Any] = [
            np.zeros(n, dtype=np.int8),
            np.zeros(n, dtype=np.int8),
            np.ones(n),
            *(np.zeros(n) for _ in range(3)),
        ]
        self.width = 1

    def put(self, i: int, answer: Any, ref: str) -> None:
        """Keep the answer of bar i; StrategyError names a bar whose answer is not one."""
        parts = answer if isinstance(answer, tuple) else (answer,)
        if not 1 <= len(parts) <= len(FIELDS):
            raise StrategyError(f"{ref}: bar {i} answered {answer!r}; allowed is {ALLOWED}")
        try:
            codes = [operator.index(part) for part in parts[:2]]
            values = [float(part) for part in parts[2:]]
        except (TypeError, ValueError) as error:
            raise StrategyError(f"{ref}: bar {i} answered {answer!r}; allowed is {ALLOWED}") from error
        if not -1 <= codes[0] <= 1 or (len(codes) == 2 and not 0 <= codes[1] <= 3):
            raise StrategyError(f"{ref}: bar {i} answered {answer!r}; allowed is {ALLOWED}")
        for column, value in zip(self.columns, [*codes, *values], strict=False):
            column[i] = value
        self.width = max(self.width, len(parts))

    def signals(self, rules: Rules) -> Signals:
        """The columns as signals with these rules."""
        return to_signals(self.columns[: self.width], rules)


def to_signals(columns: list[Any], rules: Rules) -> Signals:
    """Signals from columns in the order of FIELDS; missing ones are None."""
    given: dict[str, Any] = dict(zip(FIELDS, columns, strict=False))
    return Signals(rules=rules, **given)
