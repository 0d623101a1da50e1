"""Whether the best trial stands on a plateau or on a spike: the median score of its neighbourhood."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from genesis.report.tables import Axis, Ledger
from genesis.report.terminal import number
from genesis.search.steps import StepGrid
from genesis.types import FloatArray, IntArray

NEIGHBOUR_REACH = 0.10
_LEAST = 8
_LEAST_BASELINE = 20
_MOST_VALUES = 24  # cells of a heat map of the report's width that can still be told apart
DRAWN = ("startup", "random", "qmc")
"""Origins of points that no earlier result has drawn anywhere: what an average point of the space is worth."""


@dataclass(frozen=True, slots=True)
class Plateau:
    """The neighbourhood of the best trial.

    `kept` = (neighbours' median - `overall`) / (best - `overall`): 1 is flat, 0 means that the neighbours are no better
    than a random trial. `overall` is the median of the randomly drawn trials (of all when fewer than 20 were), since a
    search that has narrowed puts most of its trials into the neighbourhood itself. `widened` tells that fewer than 8
    trials lay within 10 % of each range, so the 8 nearest were taken, up to `reach` away.
    """

    kind: Literal["plateau", "slope", "spike", "unknown"]
    kept: float
    best: float
    neighbours: int
    median: float
    overall: float
    reach: float
    widened: bool

    def sentence(self) -> str:
        """The finding in words."""
        if self.kind == "unknown":
            return "Too few scored trials lie near the best one to tell a plateau from a spike."
        near = (
            f"the {self.neighbours} nearest trials (up to {self.reach:.0%} of a range away)"
            if self.widened
            else f"the {self.neighbours} trials within {self.reach:.0%} of every range"
        )
        facts = (
            f"{near} have a median score of {number(self.median)}, the best {number(self.best)}, "
            f"an average point {number(self.overall)}"
        )
        return {
            "plateau": f"It stands on a plateau: {facts}, so small changes of the parameters cost little.",
            "slope": f"It stands on a slope: {facts}, so small changes of a parameter cost a good part of it.",
            "spike": f"It stands on a spike: {facts}, so a small change of the parameters loses most of the score.",
        }[self.kind]


def distances(axes: tuple[Axis, ...], vectors: FloatArray, centre: FloatArray) -> FloatArray:
    """Largest distance per axis from `centre`, as a fraction of the range; 1 for another choice or inactive."""
    worst = np.zeros(len(vectors))
    for index, axis in enumerate(axes):
        values, own = vectors[:, index], centre[index]
        if axis.kind == "categorical":
            away = (values != own).astype(np.float64)
        else:
            away = np.abs(axis.unit(values) - axis.unit(np.array([own]))[0])
        both = np.isnan(values) & np.isnan(own)
        worst = np.maximum(worst, np.where(both, 0.0, np.where(np.isnan(away), 1.0, away)))
    return worst


def find_plateau(ledger: Ledger) -> Plateau:
    """Judge the neighbourhood of the best trial among all scored ones."""
    best = ledger.best
    scored = np.flatnonzero(ledger.scored)
    if best is None or len(scored) < 2 * _LEAST or not ledger.axes:
        return Plateau("unknown", float("nan"), float("nan"), 0, float("nan"), float("nan"), 0.0, False)
    others = scored[scored != best]
    away = distances(ledger.axes, ledger.vectors[others], ledger.vectors[best])
    near = away <= NEIGHBOUR_REACH + 1e-12
    reach, widened = NEIGHBOUR_REACH, bool(near.sum() < _LEAST)
    if widened:
        reach = float(np.sort(away)[_LEAST - 1])
        near = away <= reach
    scores = ledger.scores
    top, median, overall = float(scores[best]), float(np.median(scores[others[near]])), _baseline(ledger)
    if reach >= 1.0 or top <= overall:
        return Plateau("unknown", float("nan"), top, int(near.sum()), median, overall, reach, widened)
    kept = (median - overall) / (top - overall)
    kind: Literal["plateau", "slope", "spike"] = "plateau" if kept >= 0.6 else "slope" if kept >= 0.25 else "spike"
    return Plateau(kind, kept, top, int(near.sum()), median, overall, reach, widened)


def _baseline(ledger: Ledger) -> float:
    drawn = np.array([origin in DRAWN for origin in ledger.origins] or [False] * len(ledger), dtype=np.bool_)
    chosen = ledger.scored & drawn
    return float(np.median(ledger.scores[chosen if chosen.sum() >= _LEAST_BASELINE else ledger.scored]))


@dataclass(frozen=True, slots=True)
class Cells:
    """One axis cut into cells: the cell of each value, and of each cell its name and where to draw it.

    A cell is one value that was or can be tried, named as it is typed; where cells join several, the name is the first
    and the last of them ("20 to 23"), and a middle is only a place. Choices are drawn by name, so have no middles.
    """

    index: IntArray
    labels: list[str]
    middles: FloatArray


def cut(axis: Axis, values: FloatArray, *, bins: int = 12) -> Cells:
    """Cut an axis into cells: each value of a grid of at most 24, or of at most `bins` that were tried; else `bins`."""
    grid, known = axis.grid, np.unique(values)
    if axis.kind == "categorical":
        return Cells(np.searchsorted(known, values), [axis.label(value) for value in known], known)
    if grid is not None and grid.count <= _MOST_VALUES:
        every = grid.values(np.arange(grid.count))
        return Cells(grid.nearest_many(values), [axis.label(value) for value in every], every)
    if len(known) <= bins:
        labels = [axis.label(value) for value in known] if grid is not None else _apart(known)
        return Cells(np.searchsorted(known, values), labels, known)
    edges = axis.at(np.arange(bins + 1) / bins)
    if grid is None:
        index = np.clip((axis.unit(values) * bins).astype(np.int64), 0, bins - 1)
        labels = [f"{low} to {high}" for low, high in pairwise(_apart(edges))]
        return Cells(index, labels, axis.at((np.arange(bins) + 0.5) / bins))
    firsts = _firsts(axis, grid, edges, bins)
    lows, highs = grid.values(firsts), grid.values(np.append(firsts[1:], grid.count) - 1)
    labels = [
        axis.label(low) if low == high else f"{axis.label(low)} to {axis.label(high)}"
        for low, high in zip(lows.tolist(), highs.tolist(), strict=True)
    ]
    index = np.searchsorted(firsts, grid.nearest_many(values), side="right") - 1
    return Cells(index, labels, axis.at((axis.unit(lows) + axis.unit(highs)) / 2.0))


def _firsts(axis: Axis, grid: StepGrid, edges: FloatArray, bins: int) -> IntArray:
    """Position on the grid of each cell's first value: equal counts, or equal ratios where the range is logarithmic."""
    if not axis.log:
        return np.arange(bins) * grid.count // bins
    near = grid.nearest_many(edges[1:-1])
    first = near + (grid.values(near) < edges[1:-1])
    return np.unique(np.append(0, first[first < grid.count]))


def _apart(values: FloatArray) -> list[str]:
    """Different values as different texts, with three digits where these are enough."""
    for digits in range(3, 17):
        texts = [f"{value:.{digits}g}" for value in values.tolist()]
        if len(set(texts)) == len(texts):
            return texts
    return [repr(value) for value in values.tolist()]


def cells(
    axis_x: Axis, axis_y: Axis, x: FloatArray, y: FloatArray, scores: FloatArray, *, bins: int = 12
) -> tuple[FloatArray, FloatArray, list[str], list[str]]:
    """Median score per cell and per 3 x 3 neighbourhood of cells, each float64[ny, nx], NaN where nothing was tried.

    The neighbourhood pools the trials of the cells (it is not a median of medians). Also gives the names of the
    columns and rows. Trials with an inactive parameter or no score must be left out by the caller.
    """
    columns, rows = cut(axis_x, x, bins=bins), cut(axis_y, y, bins=bins)
    width, height = len(columns.labels), len(rows.labels)
    pools: list[list[list[float]]] = [[[] for _ in range(width)] for _ in range(height)]
    for i, j, score in zip(rows.index.tolist(), columns.index.tolist(), scores.tolist(), strict=True):
        pools[i][j].append(score)
    single, wide = np.full((height, width), np.nan), np.full((height, width), np.nan)
    for i in range(height):
        for j in range(width):
            if pools[i][j]:
                single[i, j] = np.median(pools[i][j])
            above = [i] if axis_y.kind == "categorical" else range(max(0, i - 1), min(height, i + 2))
            beside = [j] if axis_x.kind == "categorical" else range(max(0, j - 1), min(width, j + 2))
            pooled = [score for a in above for b in beside for score in pools[a][b]]
            if pooled:
                wide[i, j] = np.median(pooled)
    return single, wide, columns.labels, rows.labels
