"""Move vectors onto the grids of a space: clipped, on their steps, inactive columns NaN."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from genesis.errors import SpaceError
from genesis.search.conditions import Conditions
from genesis.search.nodes import Column
from genesis.search.steps import StepGrid
from genesis.types import FloatArray


class Snapper:
    """Snaps points of `columns`, whose `conditions` are settled in `order` (parents first)."""

    def __init__(self, columns: Sequence[Column], order: Sequence[int], conditions: Conditions) -> None:
        self._columns = columns
        self._order = order
        self._conditions = conditions
        self._bounds = [_bounds(one) for one in columns]
        self._conditional = [(j, *found) for j, found in enumerate(conditions) if found is not None]
        self._lines = _lines(columns)

    def many(self, vectors: FloatArray) -> FloatArray:
        """Return (n, d) vectors moved to the nearest allowed values; raises SpaceError for a NaN in an active column.

        Points that are on their grids already, as samplers' usually are, are seen to be so all at once and copied.
        """
        given = np.asarray(vectors, dtype=np.float64)
        if given.ndim != 2 or given.shape[1] != len(self._columns):
            raise SpaceError(f"vectors: shape {given.shape} does not fit (n, {len(self._columns)}); one row per point")
        if self._all_on(given):
            whole: FloatArray = given + 0.0  # a copy in which -0.0 is 0.0
            if self._conditional:
                whole[np.isnan(whole)] = np.nan  # one NaN of the many there are
            return whole
        out = np.empty(given.shape, dtype=np.float64)
        for j in self._order:
            one, x = self._columns[j], given[:, j]
            missing = np.isnan(x)
            condition = self._conditions[j]
            inactive = None if condition is None else ~np.isin(out[:, condition[0]], condition[1])
            if missing.any():
                if inactive is None or (missing & ~inactive).any():
                    raise SpaceError(f"{one.path}: NaN is not a value; give every active parameter one")
                x = np.where(missing, 0.0, x)
            if one.steps is not None:
                snapped = one.steps.values(one.steps.nearest_many(x))
            elif one.choices is not None:
                snapped = np.minimum(np.maximum(np.rint(x), 0.0), len(one.choices) - 1.0) + 0.0
            else:
                assert one.low is not None
                assert one.high is not None
                snapped = np.minimum(np.maximum(x, one.low), one.high) + 0.0
            out[:, j] = snapped if inactive is None else np.where(inactive, np.nan, snapped)
        return out

    def row(self, values: list[float]) -> list[float]:
        """Snap one vector in place and return it."""
        for j in self._order:
            condition = self._conditions[j]
            if condition is not None and values[condition[0]] not in condition[1]:
                values[j] = math.nan
                continue
            low, high, steps = self._bounds[j]
            x = values[j]
            if not (low <= x <= high if steps is None else steps.on(x)):
                values[j] = self.value(j, x)
        return values

    def value(self, j: int, x: float) -> float:
        """The nearest value of column `j`; raises SpaceError for NaN."""
        one = self._columns[j]
        if x != x:
            raise SpaceError(f"{one.path}: NaN is not a value; give every active parameter one")
        if one.steps is not None:
            if one.steps.on(x):
                return x + 0.0
            return one.steps.value(one.steps.nearest(x))
        assert (one.low is not None and one.high is not None) or one.choices is not None
        if one.choices is not None:
            return float(min(max(round(min(max(x, -1.0), len(one.choices))), 0), len(one.choices) - 1))
        return min(max(float(x), one.low), one.high) + 0.0  # type: ignore[type-var,operator] # asserted above

    def _all_on(self, given: FloatArray) -> bool:
        """Whether snapping would change nothing (but the sign of a zero); False where that is not quickly known."""
        if self._lines is None:
            return False
        low, high, step, first, stride, scale, smooth = self._lines
        inside = (given >= low) & (given <= high)
        with np.errstate(over="ignore", invalid="ignore"):  # far values and NaN are on no grid
            inside &= ((first + np.rint((given - low) / step) * stride) / scale == given) | smooth
        for j, parent, codes in self._conditional:
            active = np.isin(given[:, parent], codes)
            if not np.array_equal(np.isnan(given[:, j]), ~active):
                return False
            inside[:, j] |= ~active
        return bool(inside.all())


Lines = tuple[FloatArray, FloatArray, FloatArray, FloatArray, FloatArray, FloatArray, NDArray[np.bool_]]


def _lines(columns: Sequence[Column]) -> Lines | None:
    """Per column low, high, step, `StepGrid.line` and whether it has no steps; None if a grid has no exact line."""
    rows = []
    for one in columns:
        if one.choices is not None:
            rows.append((0.0, len(one.choices) - 1.0, 1.0, 0.0, 1.0, 1.0, False))
        elif one.steps is None:
            assert one.low is not None
            assert one.high is not None
            rows.append((one.low, one.high, 1.0, 0.0, 1.0, 1.0, True))
        elif one.steps.line is None:
            return None
        else:
            rows.append((one.steps.low, one.steps.high, one.steps.step, *one.steps.line, False))
    table = np.array(rows, dtype=np.float64).reshape(len(rows), 7).T
    return (*table[:6], table[6] > 0.0)


def _bounds(one: Column) -> tuple[float, float, StepGrid | None]:
    """What decides in a hurry that a value stays as it is."""
    if one.choices is not None:
        return 0.0, 0.0, StepGrid(0, len(one.choices) - 1, 1)
    assert one.low is not None
    assert one.high is not None
    return one.low, one.high, one.steps
