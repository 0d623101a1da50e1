"""The geometry that samplers share: a space's columns as a unit cube, as grid cells, and as groups that live together.

Three coordinates of one point:

- *value* (the space's internal vector): the number itself, or a choice's index; NaN where a column is inactive;
- *model*: a continuous column's place in [0, 1] (after the logarithm, if any), a grid column's cell 0 … m-1, a
  categorical's index; NaN where inactive;
- *unit*: model, with cell k of m at its middle, (k + 1/2) / m, or at the logarithm's place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from genesis.errors import SpaceError
from genesis.search import cell_maps as maps
from genesis.types import FloatArray, IntArray

BoolArray = NDArray[np.bool_]


class ColumnLike(Protocol):
    """What a sampler reads of a column; `genesis.search.space.Column` and Optuna distributions both fit."""

    @property
    def path(self) -> str: ...  # noqa: D102
    @property
    def kind(self) -> str: ...  # noqa: D102
    @property
    def low(self) -> float | None: ...  # noqa: D102
    @property
    def high(self) -> float | None: ...  # noqa: D102
    @property
    def step(self) -> float | None: ...  # noqa: D102
    @property
    def log(self) -> bool: ...  # noqa: D102
    @property
    def choices(self) -> tuple[Any, ...] | None: ...  # noqa: D102
    @property
    def when(self) -> tuple[str, Sequence[Any]] | None: ...  # noqa: D102


class SpaceLike(Protocol):
    """The part of `genesis.search.space.Space` that samplers use."""

    @property
    def columns(self) -> Sequence[Any]: ...  # noqa: D102
    @property
    def rules(self) -> Sequence[Any]: ...  # noqa: D102
    @property
    def size(self) -> int | None: ...  # noqa: D102
    def snap(self, vectors: FloatArray) -> FloatArray: ...  # noqa: D102
    def allowed(self, vectors: FloatArray) -> BoolArray: ...  # noqa: D102
    def decode(self, vector: FloatArray) -> dict[str, Any]: ...  # noqa: D102
    def encode(self, params: Mapping[str, Any]) -> FloatArray: ...  # noqa: D102
    def distributions(self) -> dict[str, Any]: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Group:
    """Columns that are active together: `parent` is the column that decides (-1: always), `opens` its cells that do."""

    columns: tuple[int, ...]
    parent: int
    opens: tuple[int, ...]


class Cells:
    """Maps between the coordinates of a list of columns; arrays are `float64[n, d]` in column order.

    `count[j]` is the number of cells (0: continuous), `categorical[j]` and `log[j]` what they say, `edges[j]` the
    cells' borders in [0, 1]. `groups` is a partition of the columns in an order where parents come first. Of the
    columns that have several values and decide no other, `movable` says which are numeric, `loose` which are choices.
    """

    def __init__(self, columns: Sequence[ColumnLike]) -> None:
        d = len(columns)
        self.paths = tuple(column.path for column in columns)
        self.d = d
        self.count: IntArray = np.zeros(d, dtype=np.int64)
        self.categorical = np.zeros(d, dtype=np.bool_)
        self.log = np.zeros(d, dtype=np.bool_)
        self.low = np.zeros(d)
        self.high = np.ones(d)
        self.step = np.ones(d)
        self.edges: list[FloatArray] = []
        self.middles: list[FloatArray] = []
        for j, column in enumerate(columns):
            self._read(j, column)
        self._plan(columns)
        self.groups = _groups(columns, self)
        deciding = np.isin(np.arange(d), [group.parent for group in self.groups])
        self.movable = ~self.categorical & (self.count != 1) & ~deciding
        self.loose = self.categorical & (self.count > 1) & ~deciding

    def _read(self, j: int, column: ColumnLike) -> None:
        if column.kind == "categorical":
            assert column.choices is not None
            self.count[j] = len(column.choices)
            self.categorical[j] = True
        else:
            assert column.low is not None
            assert column.high is not None
            low, high = float(column.low), float(column.high)
            step = column.step if column.step is not None else (1 if column.kind == "int" else None)
            self.low[j], self.high[j], self.log[j] = low, high, bool(column.log)
            if step is not None:
                self.step[j] = float(step)
                self.count[j] = int(np.floor((high - low) / float(step) + 1e-9)) + 1
            elif high == low:
                self.count[j] = 1
        m = int(self.count[j])
        if m == 0:
            edges, middles = np.zeros(0), np.zeros(0)
        elif self.log[j] and m > 1:
            values = self.low[j] + np.arange(m) * self.step[j]
            borders = np.log(np.concatenate([values - self.step[j] / 2, [values[-1] + self.step[j] / 2]]))
            edges = (borders - borders[0]) / (borders[-1] - borders[0])
            middles = (np.log(values) - borders[0]) / (borders[-1] - borders[0])
        else:
            edges, middles = np.arange(m + 1) / m, (np.arange(m) + 0.5) / m
        self.edges.append(edges)
        self.middles.append(middles)

    def _plan(self, columns: Sequence[ColumnLike]) -> None:
        """Gather what whole-matrix conversions need: one formula for nearly all columns, lists for the others."""
        numeric = ~self.categorical
        grid = numeric & (self.count > 0)
        line = numeric & (self.count == 0) & ~self.log
        self._curve = np.flatnonzero(numeric & (self.count == 0) & self.log)
        self._curve_span = np.log(self.high[self._curve] / self.low[self._curve])
        self.uneven = self.log & (self.count > 1)
        self.edge_start = np.cumsum([0, *map(len, self.edges)])[:-1]
        self.middle_start = np.cumsum([0, *map(len, self.middles)])[:-1]
        self.all_edges = np.concatenate([*self.edges, np.zeros(0)])
        self.all_middles = np.concatenate([*self.middles, np.zeros(0)])
        # To the model: (value - from) / unit, whole on a grid, from 0 to most.
        self._rounded = grid
        self._from = np.where(grid | line, self.low, 0.0)
        self._unit = np.where(grid, self.step, np.where(line, self.high - self.low, 1.0))
        self._most = np.where(grid, self.count - 1.0, np.where(line, 1.0, np.inf))
        # To values: (a + model * b) / c, from least to largest; `_listed` are the grids whose floats that misses.
        self._a, self._b = self._from.copy(), self._unit.copy()
        self._c = np.ones(self.d)
        self._least = np.where(grid | line, self.low, 0.0)
        self._largest = np.where(grid | line, self.high, np.inf)
        self._listed: list[tuple[int, Any]] = []
        for j in np.flatnonzero(grid).tolist():
            steps = getattr(columns[j], "steps", None)
            if steps is not None and steps.line is not None:
                self._a[j], self._b[j], self._c[j] = steps.line
            elif steps is not None:
                self._listed.append((j, steps))

    def model(self, vectors: FloatArray) -> FloatArray:
        """Values to model coordinates; NaN stays NaN."""
        given = _matrix(vectors)
        out = np.empty_like(given)
        maps.to_model(given, self._from, self._unit, self._rounded, self._most, out)
        if len(self._curve):
            some = self._curve
            place = np.log(given[:, some] / self.low[some]) / self._curve_span
            out[:, some] = np.minimum(np.maximum(place, 0.0), 1.0)
        return out

    def values(self, model: FloatArray) -> FloatArray:
        """Model coordinates to values, the same bits as the space's own `snap`; NaN stays NaN."""
        given = _matrix(model)
        out = np.empty_like(given)
        maps.to_values(given, self._a, self._b, self._c, self._least, self._largest, out)
        for j, steps in self._listed:
            known = ~np.isnan(given[:, j])
            out[known, j] = np.asarray(steps.values(given[known, j].astype(np.int64))) + 0.0
        if len(self._curve):
            some = self._curve
            value = self.low[some] * np.exp(given[:, some] * self._curve_span)
            out[:, some] = np.minimum(np.maximum(value, self.low[some]), self.high[some])
        return out

    def unit(self, model: FloatArray) -> FloatArray:
        """Model coordinates to the unit cube; NaN stays NaN."""
        given = _matrix(model)
        out = np.empty_like(given)
        maps.to_unit(given, self.count, self.uneven, self.middle_start, self.all_middles, out)
        return out

    def from_unit(self, unit: FloatArray) -> FloatArray:
        """Points of the unit cube to model coordinates: the cell that holds them."""
        given = _matrix(unit)
        out = np.empty_like(given)
        maps.from_unit(given, self.count, self.uneven, self.edge_start, self.all_edges, out)
        return out

    def close(self, model: FloatArray) -> FloatArray:
        """Set the columns whose condition does not hold to NaN, in place; returns its argument."""
        for group in self.groups:
            if group.parent >= 0:
                shut = ~np.isin(model[:, group.parent], group.opens)
                for j in group.columns:
                    model[shut, j] = np.nan
        return model


def _matrix(given: FloatArray) -> FloatArray:
    return np.array(given, dtype=np.float64, order="C", ndmin=2)


def _groups(columns: Sequence[ColumnLike], cells: Cells) -> tuple[Group, ...]:
    index = {column.path: j for j, column in enumerate(columns)}
    found: dict[tuple[int, tuple[int, ...]], list[int]] = {}
    for j, column in enumerate(columns):
        if column.when is None:
            found.setdefault((-1, ()), []).append(j)
            continue
        path, wanted = column.when
        if path not in index:
            raise SpaceError(f"{column.path}: its condition names {path!r}, which is not a searched parameter")
        parent = index[path]
        found.setdefault((parent, _opening(columns[parent], cells, parent, wanted)), []).append(j)
    groups: list[Group] = []
    placed: set[int] = {-1}
    waiting = sorted(found.items())
    while waiting:
        ready = [item for item in waiting if item[0][0] in placed]
        if not ready:
            raise SpaceError("conditions form a circle: " + ", ".join(columns[j].path for _, js in waiting for j in js))
        for (parent, opens), members in ready:
            groups.append(Group(tuple(members), parent, opens))
            placed.update(members)
        waiting = [item for item in waiting if item not in ready]
    return tuple(groups)


def _opening(parent: ColumnLike, cells: Cells, j: int, wanted: Sequence[Any]) -> tuple[int, ...]:
    if parent.kind == "categorical":
        assert parent.choices is not None
        choices = parent.choices
        return tuple(k for k, c in enumerate(choices) if any(type(c) is type(w) and c == w for w in wanted))
    if not cells.count[j]:
        raise SpaceError(f"{parent.path}: a condition on a continuous parameter is not supported; give it a step")
    values = cells.low[j] + np.arange(cells.count[j]) * cells.step[j]
    return tuple(k for k, v in enumerate(values) if any(abs(v - float(w)) <= 1e-9 * cells.step[j] for w in wanted))
