"""A study's history as columns: what the figures, the verdict and the sortable table read."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from genesis.judge.overfit import behaviours
from genesis.search.steps import StepGrid
from genesis.types import FloatArray, IntArray

BoolArray = np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True, slots=True)
class Axis:
    """One searched parameter: its path, kind ("float", "int" or "categorical"), range, choices and grid if stepped."""

    path: str
    kind: str
    low: float
    high: float
    log: bool = False
    choices: tuple[Any, ...] = ()
    steps: StepGrid | None = field(default=None, compare=False, repr=False)

    @classmethod
    def of(cls, column: Any) -> Axis:
        """From a search column."""
        if column.kind == "categorical":
            return cls(column.path, column.kind, 0.0, float(len(column.choices) - 1), False, tuple(column.choices))
        low, high = float(column.low), float(column.high)
        return cls(column.path, column.kind, low, high, bool(column.log), steps=column.steps)

    @property
    def grid(self) -> StepGrid | None:
        """The values that a stepped range has, and any range of whole numbers; None for a continuous one."""
        if self.steps is None and self.kind == "int":
            return StepGrid(self.low, self.high, 1.0)
        return self.steps

    def unit(self, values: FloatArray) -> FloatArray:
        """Values on [0, 1] along the range (logarithmic if searched so); choices by index, NaN stays."""
        low, high = self.low, self.high
        if self.log and low > 0.0:
            values, low, high = np.log(values), math.log(low), math.log(high)
        return (values - low) / (high - low) if high > low else np.where(np.isnan(values), np.nan, 0.5)

    def at(self, shares: FloatArray) -> FloatArray:
        """The values at shares of the range: `unit` undone."""
        if self.log and self.low > 0.0:
            low, high = math.log(self.low), math.log(self.high)
            return np.asarray(np.exp(low + shares * (high - low)), dtype=np.float64)
        return self.low + shares * (self.high - self.low)

    def label(self, value: float) -> str:
        """A value as people write it: whole where it is stepped, so that it can be typed into a study."""
        if math.isnan(value):
            return "–"
        if self.kind == "categorical":
            return str(self.choices[int(value)])
        if self.kind == "int":
            return f"{int(value)}"
        return f"{value:.6g}" if self.steps is None else repr(float(value)).removesuffix(".0")


@dataclass(frozen=True)
class Ledger:
    """All trials of a run in the order of their numbers.

    `scores` float64[m] larger is better, NaN undefined; `states` str[m]; `violation` float64[m] 0 when feasible;
    `vectors` float64[m, d] in axis order, NaN inactive; `metrics` name -> float64[m] NaN undefined; `hashes` the
    fills hash or None; `seconds` stage -> total; `duplicates` cause -> proposals not run because already tried.
    """

    numbers: IntArray
    scores: FloatArray
    states: Sequence[str]
    violation: FloatArray
    axes: tuple[Axis, ...]
    vectors: FloatArray
    metrics: Mapping[str, FloatArray]
    hashes: Sequence[str | None]
    origins: Sequence[str] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    duplicates: Mapping[str, int] = field(default_factory=dict)
    broken: Mapping[str, int] = field(default_factory=dict)
    reasons: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.numbers)

    @cached_property
    def complete(self) -> BoolArray:
        """bool[m]: ran to the end."""
        return np.array([state == "complete" for state in self.states], dtype=np.bool_)

    @cached_property
    def scored(self) -> BoolArray:
        """bool[m]: complete with a defined score."""
        return self.complete & np.isfinite(self.scores)

    @cached_property
    def feasible(self) -> BoolArray:
        """bool[m]: scored and no constraint broken."""
        return self.scored & (self.violation <= 0.0)

    @cached_property
    def silent(self) -> BoolArray:
        """bool[m]: complete and made no trade."""
        trades = self.metrics.get("trades")
        return np.zeros(len(self), dtype=np.bool_) if trades is None else self.complete & (trades == 0)

    @cached_property
    def infeasible(self) -> BoolArray:
        """bool[m]: broke a constraint, whatever else came of it (a trial without trades may break one too)."""
        return self.violation > 0.0

    @cached_property
    def behaviours(self) -> int:
        """How many different ways of trading: equal fills are one; trials that failed or made no trade are none.

        Where nothing has fills (a callable, say) every complete trial counts for itself.
        """
        traded = self.complete & ~self.silent
        return behaviours(value for value, counts in zip(self.hashes, traded, strict=True) if counts)

    @cached_property
    def has_fills(self) -> bool:
        """Whether any trial's fills are known."""
        return any(value is not None for value in self.hashes)

    @cached_property
    def repeats(self) -> BoolArray:
        """bool[m]: its fills equal those of an earlier trial (another point, the same behaviour)."""
        seen: set[str] = set()
        found = np.zeros(len(self), dtype=np.bool_)
        for index, value in enumerate(self.hashes):
            if value is None:
                continue
            found[index] = value in seen
            seen.add(value)
        return found

    @cached_property
    def ranking(self) -> IntArray:
        """Positions of scored trials, best first: feasible before infeasible, then score, then lower number."""
        chosen = np.flatnonzero(self.scored)
        order = np.lexsort((self.numbers[chosen], -self.scores[chosen], ~self.feasible[chosen]))
        return chosen[order].astype(np.int64)

    @cached_property
    def best_different(self) -> IntArray:
        """The ranking without trials whose fills equal those of a better one; all without a trade are equal."""
        seen: set[str] = set()
        kept = []
        for position in self.ranking:
            value = "" if self.silent[position] else self.hashes[int(position)]
            if value is None or value not in seen:
                kept.append(int(position))
            if value is not None:
                seen.add(value)
        return np.array(kept, dtype=np.int64)

    @property
    def best(self) -> int | None:
        """Position of the best trial, or None when no trial has a score."""
        return int(self.ranking[0]) if len(self.ranking) else None

    def params(self, position: int) -> dict[str, str]:
        """The searched parameters of one trial as text."""
        return {
            axis.path: axis.label(value)
            for axis, value in zip(self.axes, self.vectors[position], strict=True)
            if not math.isnan(value)
        }


TABLE_LIMIT = 10_000


def trial_table(ledger: Ledger, *, limit: int = TABLE_LIMIT) -> dict[str, Any]:
    """The sortable table as columns: `columns` [{name, kind}], `data` one list per column, `note` on what is left out.

    The trial, its score and state come first, then the searched parameters, then the metrics. A column `as` "typed" is
    shown digit by digit, as a study has it; other numbers are rounded, and counts are whole. Beyond `limit` trials the
    best half and an even sample of the rest are kept.
    """
    keep = np.arange(len(ledger))
    note = f"All {len(ledger):,} trials."
    if len(ledger) > limit:
        best = ledger.ranking[: limit // 2]
        rest = np.setdiff1d(keep, best)
        keep = np.sort(np.concatenate([best, rest[:: math.ceil(len(rest) / (limit - len(best)))]]))
        note = f"{len(keep):,} of {len(ledger):,} trials: the best {len(best):,} and an even sample of the others."
    columns: list[dict[str, str]] = [{"name": "trial", "kind": "number", "as": "typed"}]
    columns += [{"name": "score", "kind": "number"}, {"name": "state", "kind": "text"}]
    data: list[list[Any]] = [ledger.numbers[keep].tolist(), compact(ledger.scores[keep])]
    data.append([_standing(ledger, int(position)) for position in keep])
    for index, axis in enumerate(ledger.axes):
        values = ledger.vectors[keep, index]
        if axis.kind == "categorical" and all(type(choice) in (int, float) for choice in axis.choices):
            columns.append({"name": axis.path, "kind": "number", "as": "typed"})
            data.append([None if math.isnan(value) else axis.choices[int(value)] for value in values.tolist()])
        elif axis.kind == "categorical":
            columns.append({"name": axis.path, "kind": "text"})
            data.append([axis.label(value) for value in values])
        else:
            columns.append({"name": axis.path, "kind": "number", "as": "typed"})
            data.append(compact(values, digits=7 if axis.steps is None else 17))
    for name, measured in ledger.metrics.items():
        columns.append({"name": name, "kind": "number"})
        data.append(compact(measured[keep]))
    return {"columns": columns, "data": data, "note": note}


def _standing(ledger: Ledger, position: int) -> str:
    if ledger.states[position] != "complete":
        return ledger.states[position]
    if ledger.silent[position]:
        return "no trades"
    if not ledger.scored[position]:
        return "no score"
    if not ledger.feasible[position]:
        return "constraint broken"
    return "same fills" if ledger.repeats[position] else "complete"


def compact(values: FloatArray, *, digits: int = 5) -> list[float | int | None]:
    """Numbers for JSON with a few significant digits; NaN and infinities become None, whole numbers lose the point.

    >>> compact(np.array([1.0, 0.1234567, np.nan]))
    [1, 0.12346, None]
    """
    out: list[float | int | None] = []
    for value in values.tolist():
        if not math.isfinite(value):
            out.append(None)
        elif value.is_integer() and abs(value) < 1e15:
            out.append(int(value))
        else:
            short = float(f"{value:.{digits}g}")
            out.append(short if math.isfinite(short) else value)  # the largest floats round up to infinity
    return out
