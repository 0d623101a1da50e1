"""Figures about the search: plain data in, a Plotly figure as plain data out, with its caption in words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from genesis.report.plateau import cells, cut
from genesis.report.tables import Axis, Ledger, compact
from genesis.report.terminal import number
from genesis.types import FloatArray, IntArray

BLUE, ORANGE, GREEN, RED, GREY, VIOLET = "#3b82c4", "#d9822b", "#2f9e6e", "#d1495b", "#8a94a6", "#8b6fc0"
SCALE = [[0.0, "#443a83"], [0.25, "#31688e"], [0.5, "#21918c"], [0.75, "#5ec962"], [1.0, "#fde725"]]
POINT_LIMIT = 1_500


@dataclass(frozen=True)
class Figure:
    """One figure: `data` and `layout` are Plotly's, `summary` says in words what it shows, `note` what was left out."""

    key: str
    title: str
    summary: str
    data: list[dict[str, Any]]
    layout: dict[str, Any] = field(default_factory=dict)
    note: str = ""
    height: int = 380

    def spec(self) -> dict[str, Any]:
        """What the page draws."""
        return {"key": self.key, "data": self.data, "layout": self.layout, "height": self.height}


def axis(title: str, **more: Any) -> dict[str, Any]:
    """An axis with a title."""
    return {"title": {"text": title}, "automargin": True} | more


def sample(count: int, limit: int, keep: IntArray | None = None) -> IntArray:
    """At most about `limit` positions out of `count`, evenly spread, with `keep` always among them.

    >>> sample(5, 10).tolist()
    [0, 1, 2, 3, 4]
    """
    positions = np.arange(count) if count <= limit else np.unique(np.linspace(0, count - 1, limit).astype(np.int64))
    return positions if keep is None else np.union1d(positions, keep)


def visible_range(scores: FloatArray) -> list[float] | None:
    """A score axis that shows the best and the bulk and cuts a long tail of bad scores; None when nothing is cut."""
    known = scores[np.isfinite(scores)]
    if len(known) < 20:
        return None
    low, middle, top = (float(value) for value in np.quantile(known, [0.02, 0.5, 1.0]))
    floor = max(float(known.min()), middle - 3.0 * (middle - low) - (top - middle))
    if floor <= float(known.min()) or top <= floor:
        return None
    pad = 0.05 * (top - floor)
    return [floor - pad, top + pad]


def best_so_far(ledger: Ledger) -> Figure:
    """Scores by trial number with the best so far (feasible trials only) and each improvement."""
    usable = np.flatnonzero(ledger.feasible)
    scores = ledger.scores[usable]
    record = np.maximum.accumulate(scores) if len(scores) else scores
    steps = np.flatnonzero(np.diff(record, prepend=-np.inf) > 0.0)
    shown = sample(len(ledger), POINT_LIMIT, usable[steps])
    ok = ledger.feasible[shown]
    rest = ledger.scored[shown] & ~ok
    x_line = np.append(ledger.numbers[usable[steps]], ledger.numbers[-1:])
    y_line = np.append(record[steps], record[-1:]) if len(record) else record
    data: list[dict[str, Any]] = [
        _dots("constraint broken", ledger.numbers[shown[rest]], ledger.scores[shown[rest]], GREY, 3),
        _dots("trial", ledger.numbers[shown[ok]], ledger.scores[shown[ok]], BLUE, 4),
    ]
    if len(steps):
        data.append(
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": "best so far",
                "x": compact(x_line.astype(np.float64), digits=9),
                "y": compact(y_line),
                "line": {"shape": "hv", "color": ORANGE, "width": 2.5},
                "marker": {"size": 5},
            }
        )
    limits = visible_range(ledger.scores[ledger.scored])
    layout = {
        "xaxis": axis("trial", tickformat="d", hoverformat="d"),
        "yaxis": axis("score (larger is better)") | ({"range": limits} if limits else {}),
        "legend": {"itemsizing": "constant"},
    }
    if len(steps):
        last = int(usable[steps[-1]])
        count, top = len(steps), number(float(ledger.scores[last]))
        summary = f"{count} improvement{'s' * (count > 1)}; the last, to {top}, came at trial {ledger.numbers[last]}"
        summary += f" of {len(ledger):,}."
    else:
        summary = "No trial has a score that keeps every constraint, so there is no best so far."
    if not ledger.scored.any():
        return Figure("best-so-far", "Best score so far", summary, [])
    notes = []
    if len(shown) < len(ledger):
        notes.append(f"{len(shown):,} of {len(ledger):,} trials are drawn (an even sample and every improvement)")
    if limits:
        below = int((ledger.scores[ledger.scored] < limits[0]).sum())
        notes.append(f"{below:,} scores lie below the axis; double-click to see them")
    note = "; ".join(notes)
    return Figure(
        "best-so-far", "Best score so far", summary, data, layout, note[:1].upper() + note[1:] + "." * bool(note)
    )


def _dots(name: str, x: IntArray, y: FloatArray, colour: str, size: int) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": x.tolist(),
        "y": compact(y),
        "marker": {"size": size, "color": colour, "opacity": 0.55},
    }


def score_distribution(ledger: Ledger, *, bins: int = 40) -> Figure:
    """How scores are spread, with broken constraints, silent trials and repeats of the same fills marked."""
    groups = (
        ("different and feasible", ledger.feasible & ~ledger.repeats & ~ledger.silent, BLUE),
        ("same fills as an earlier trial", ledger.scored & ledger.repeats & ~ledger.silent, VIOLET),
        ("constraint broken", ledger.scored & ~ledger.feasible & ~ledger.repeats & ~ledger.silent, GREY),
        ("no trades", ledger.scored & ledger.silent, RED),
    )
    known = ledger.scores[ledger.scored]
    limits = visible_range(known)
    data: list[dict[str, Any]] = []
    if len(known):
        low, high = limits or [float(known.min()), float(known.max())]
        edges = np.linspace(low, high if high > low else low + 1.0, bins + 1)
        for name, mask, colour in groups:
            values = np.clip(ledger.scores[mask], edges[0], edges[-1])
            counts = np.histogram(values, edges)[0]
            if counts.any():
                data.append(
                    {
                        "type": "bar",
                        "name": name,
                        "x": compact((edges[1:] + edges[:-1]) / 2.0),
                        "y": counts.tolist(),
                        "text": [f"{start:.3g} to {stop:.3g}" for start, stop in pairwise(edges.tolist())],
                        "textposition": "none",
                        "hovertemplate": "%{y:,d} trials with a score of %{text}<extra>" + name + "</extra>",
                        "marker": {"color": colour},
                    }
                )
    unscored = int((~ledger.scored).sum())
    silent, repeated = int(ledger.silent.sum()), int((ledger.repeats & ~ledger.silent).sum())
    parts = [
        (int(ledger.infeasible.sum()), "broke a constraint"),
        (silent, "made no trade"),
        (repeated, "traded exactly like an earlier trial"),
        (unscored, "have no score (failed, pruned or undefined) and are not drawn"),
    ]
    told = [f"{len(known):,} of {len(ledger):,} trials have a score"]
    summary = "; ".join(told + [f"{count:,} {words}" for count, words in parts if count]) + "."
    layout = {"barmode": "stack", "bargap": 0.05, "xaxis": axis("score (larger is better)"), "yaxis": axis("trials")}
    note = "The first bar holds everything below it." if limits else ""
    return Figure("distribution", "Distribution of scores", summary, data, layout, note)


def importance(ledger: Ledger, *, bins: int = 8) -> list[tuple[str, float]]:
    """Share of the variance of score ranks that each parameter explains alone, largest first, each in [0, 1].

    The correlation ratio of the ranks over `bins` equal-count bins (or choices), corrected for chance (Kelley's
    epsilon squared), over scored trials where the parameter is active; interactions are not counted.
    """
    found = []
    ranks = _ranks(ledger.scores[ledger.scored])
    for index, column in enumerate(ledger.axes):
        values = ledger.vectors[ledger.scored, index]
        active = ~np.isnan(values)
        found.append((column.path, _explained(values[active], ranks[active], bins)))
    return sorted(found, key=lambda item: -item[1])


def _ranks(values: FloatArray) -> FloatArray:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return np.asarray((ends - (counts - 1) / 2.0)[inverse], dtype=np.float64)


def _explained(values: FloatArray, ranks: FloatArray, bins: int) -> float:
    count = len(values)
    known = np.unique(values)
    if len(known) > bins:
        edges = np.unique(np.quantile(values, np.linspace(0.0, 1.0, bins + 1)[1:-1]))
        group = np.searchsorted(edges, values, side="right")
    else:
        group = np.searchsorted(known, values)
    groups = int(group.max()) + 1 if count else 0
    total = float(((ranks - ranks.mean()) ** 2).sum()) if count else 0.0
    if groups < 2 or count <= groups or total == 0.0:
        return 0.0
    sizes = np.bincount(group, minlength=groups)
    means = np.bincount(group, weights=ranks, minlength=groups) / np.maximum(sizes, 1)
    within = float(((ranks - means[group]) ** 2).sum())
    occupied = int((sizes > 0).sum())
    return max(0.0, 1.0 - (within / (count - occupied)) / (total / (count - 1)))


def importance_figure(shares: Sequence[tuple[str, float]]) -> Figure:
    """The importances as bars, at most twenty."""
    shown = list(shares)[:20][::-1]
    data = [
        {
            "type": "bar",
            "orientation": "h",
            "x": [round(share, 4) for _, share in shown],
            "y": [path for path, _ in shown],
            "marker": {"color": BLUE},
            "hovertemplate": "%{y}: %{x:.1%}<extra></extra>",
        }
    ]
    top = [f"{path} ({share:.0%})" for path, share in shares[:3] if share >= 0.01]
    summary = (
        "Share of the differences between score ranks that each parameter explains alone: " + ", ".join(top) + "."
        if top
        else "No parameter alone explains the differences between scores."
    )
    layout = {"xaxis": axis("explained alone", tickformat=".0%", rangemode="tozero"), "yaxis": {"automargin": True}}
    note = "Correlation ratio of ranks over eight bins, corrected for chance; interactions are not counted."
    return Figure("importance", "Which parameters matter", summary, data, layout, note, 140 + 26 * len(shown))


def slice_figure(ledger: Ledger, index: int) -> Figure:
    """Scores along one parameter, with the median per bin and the best trial."""
    column = ledger.axes[index]
    active = np.flatnonzero(ledger.scored & ~np.isnan(ledger.vectors[:, index]))
    shown = active[sample(len(active), 400)] if len(active) else active
    values, scores = ledger.vectors[active, index], ledger.scores[active]
    data: list[dict[str, Any]] = []
    summary = f"{column.path} was never active in a scored trial."
    if len(active):
        parts = cut(column, values)
        known = np.unique(parts.index)
        row = np.array([np.median(scores[parts.index == cell]) for cell in known])
        labels = [parts.labels[cell] for cell in known]
        tried = np.bincount(parts.index)[known]
        data = [
            {
                "type": "scatter",
                "mode": "markers",
                "name": "trial",
                "x": _along(column, ledger.vectors[shown, index]),
                "y": compact(ledger.scores[shown]),
                "marker": {"size": 4, "color": BLUE, "opacity": 0.45},
            },
            {
                "type": "scatter",
                "mode": "markers" if column.kind == "categorical" else "lines+markers",
                "name": "median",
                "x": labels if column.kind == "categorical" else compact(parts.middles[known], digits=7),
                "y": compact(row),
                "text": [
                    f"{label}: median of {count:,} trial{'s' * (count > 1)}"
                    for label, count in zip(labels, tried.tolist(), strict=True)
                ],
                "hovertemplate": "%{text} %{y}<extra></extra>",
                "line": {"color": ORANGE, "width": 2},
                "marker": {"size": 10 if column.kind == "categorical" else 6, "color": ORANGE},
            },
        ]
        top = int(row.argmax())
        ties = int((row == row[top]).sum()) - 1
        also = f", and the same at {ties} other{'s' * (ties > 1)}" if ties else ""
        summary = f"The median score is highest at {column.path} = {labels[top]} ({number(float(row[top]))}){also}."
        best = ledger.best
        if best is not None and not math.isnan(ledger.vectors[best, index]):
            data.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "name": "best trial",
                    "x": _along(column, ledger.vectors[best : best + 1, index]),
                    "y": compact(ledger.scores[best : best + 1]),
                    "marker": {"size": 12, "color": RED, "symbol": "star"},
                }
            )
    limits = visible_range(scores) if len(active) else None
    kind: dict[str, Any] = {"exponentformat": "e", "minexponent": 5} | ({"type": "log"} if column.log else {})
    if column.kind == "categorical":
        kind = {"type": "category", "categoryorder": "array", "categoryarray": [str(one) for one in column.choices]}
    layout = {
        "xaxis": axis(column.path) | kind,
        "yaxis": axis("score") | ({"range": limits} if limits else {}),
        "showlegend": False,
    }
    note = f"{len(shown):,} of {len(active):,} trials drawn." if len(shown) < len(active) else ""
    return Figure(f"slice-{index}", column.path, summary, data, layout, note, 260)


def _along(column: Axis, values: FloatArray) -> list[Any]:
    if column.kind == "categorical":
        return [column.label(value) for value in values]
    return list(compact(values, digits=7))


def pair_figures(ledger: Ledger, first: int, second: int) -> tuple[Figure, Figure]:
    """Two heat maps of a pair of parameters: median score per cell, and per neighbourhood (the plateau view)."""
    x_axis, y_axis = ledger.axes[first], ledger.axes[second]
    both = ledger.scored & ~np.isnan(ledger.vectors[:, first]) & ~np.isnan(ledger.vectors[:, second])
    x, y, scores = ledger.vectors[both, first], ledger.vectors[both, second], ledger.scores[both]
    name = f"{x_axis.path} × {y_axis.path}"
    if not len(scores):
        empty = Figure(f"pair-{first}-{second}", name, "No scored trial has both parameters active.", [])
        return empty, empty
    single, wide, labels_x, labels_y = cells(x_axis, y_axis, x, y, scores)
    known = single[~np.isnan(single)]
    low, high = float(np.quantile(known, 0.05)), float(known.max())
    made = []
    for kind, grid, title in (("pair", single, name), ("plateau", wide, f"{name}, plateau view")):
        rows, columns = np.unravel_index(int(np.nanargmax(grid)), grid.shape)
        what = "cell" if kind == "pair" else "neighbourhood of 3 × 3 cells"
        if kind == "plateau" and "categorical" in (x_axis.kind, y_axis.kind):
            what = "neighbourhood (choices have no neighbours)"
        score = "median score" if kind == "pair" else "median score with its neighbours"
        summary = (
            f"The best {what} is {x_axis.path} = {labels_x[columns]}, {y_axis.path} = {labels_y[rows]} "
            f"with a median score of {number(float(grid[rows, columns]))}."
        )
        data = [
            {
                "type": "heatmap",
                "x": labels_x,
                "y": labels_y,
                "z": [compact(row, digits=4) for row in grid],
                "colorscale": SCALE,
                "zmin": low,
                "zmax": high if high > low else low + 1.0,
                "hoverongaps": False,
                "colorbar": {"thickness": 10, "outlinewidth": 0},
                "hovertemplate": f"{x_axis.path} = %{{x}}<br>{y_axis.path} = %{{y}}<br>{score} %{{z}}<extra></extra>",
            }
        ]
        small = {"type": "category", "tickfont": {"size": 10}}
        layout = {"xaxis": axis(x_axis.path, **small), "yaxis": axis(y_axis.path, **small)}
        note = "Median score of all trials in a cell; empty cells were not tried; colours start at the 5 % quantile."
        made.append(Figure(f"{kind}-{first}-{second}", title, summary, data, layout, note, 340))
    return made[0], made[1]


def parallel(ledger: Ledger, shares: Sequence[tuple[str, float]], *, limit: int = 240) -> Figure:
    """Parallel coordinates of the most important parameters: one line per trial, coloured by score, best on top."""
    order = {path: position for position, (path, _) in enumerate(shares)}
    chosen = sorted(range(len(ledger.axes)), key=lambda index: order.get(ledger.axes[index].path, 99))[:8]
    rank = ledger.ranking
    picks = rank[sample(len(rank), limit)] if len(rank) else rank
    top = max(1, len(rank) // 10)
    inside = set(rank[:top].tolist())
    best_tenth = rank[:top][sample(top, limit // 3)] if len(rank) else rank
    others = np.array([position for position in picks if int(position) not in inside], dtype=np.int64)
    groups = (
        ("the other 90 %", others, GREY, 0.35, 1),
        ("best 10 %", best_tenth, ORANGE, 0.6, 1),
        ("best trial", rank[:1], RED, 1.0, 3),
    )
    names = [ledger.axes[index].path for index in chosen]
    data = []
    for name, positions, colour, opacity, width in groups:
        x: list[Any] = []
        y: list[float | None] = []
        text: list[str | None] = []
        for position in positions.tolist():
            for place, index in enumerate(chosen):
                value = ledger.vectors[position, index : index + 1]
                unit = float(ledger.axes[index].unit(value)[0])
                x.append(place)
                y.append(None if math.isnan(unit) else round(unit, 3))
                text.append(f"trial {ledger.numbers[position]}: {ledger.axes[index].label(float(value[0]))}")
            x.append(None)
            y.append(None)
            text.append(None)
        data.append(
            {
                "type": "scatter",
                "mode": "lines+markers" if width > 1 else "lines",
                "name": name,
                "x": x,
                "y": y,
                "text": text,
                "hovertemplate": "%{text}<extra></extra>",
                "connectgaps": False,
                "line": {"color": colour, "width": width},
                "opacity": opacity,
            }
        )
    ends = [path.rpartition(".") for path in names]  # the name below its groups: half as long, and still whole
    words = [f"{groups}.<br>{last}" if groups else last for groups, _, last in ends]
    layout = {
        "xaxis": {"tickvals": list(range(len(names))), "ticktext": words, "automargin": True, "zeroline": False},
        "yaxis": {"tickvals": [0, 1], "ticktext": ["low end", "high end"], "range": [-0.05, 1.05], "automargin": True},
        "hovermode": "closest",
        "legend": {"y": 1.02, "yanchor": "bottom"},  # below are the names of the axes, as long as they may be
        "margin": {"t": 48},
    }
    summary = _parallel_words(ledger, chosen, rank[:top])
    drawn = len(others) + len(best_tenth)
    note = f"{drawn:,} of {len(rank):,} scored trials drawn; each axis runs over the searched range"
    if len(ledger.axes) > len(chosen):
        note += f"; the {len(chosen)} most important of {len(ledger.axes)} parameters"
    return Figure("parallel", "Parallel coordinates", summary, data, layout, note + ".", 420)


def _parallel_words(ledger: Ledger, chosen: list[int], top: IntArray) -> str:
    if not len(top):
        return "No trial has a score."
    parts = []
    for index in chosen[:3]:
        values = ledger.vectors[top, index]
        values = values[~np.isnan(values)]
        column = ledger.axes[index]
        if not len(values):
            continue
        if column.kind == "categorical":
            common = np.bincount(values.astype(np.int64)).argmax()
            parts.append(f"{column.path} mostly {column.label(float(common))}")
        else:
            low, high = np.quantile(values, [0.1, 0.9], method="nearest")
            parts.append(f"{column.path} from {column.label(float(low))} to {column.label(float(high))}")
    return f"The best tenth ({len(top):,} trials) lies at " + ", ".join(parts) + "."


def time_budget(seconds: Mapping[str, float]) -> Figure:
    """Where the time of the run went, by stage, summed over processes."""
    ordered = sorted(((name, spent) for name, spent in seconds.items() if spent > 0.0), key=lambda item: item[1])
    total = sum(spent for _, spent in ordered)
    data = [
        {
            "type": "bar",
            "orientation": "h",
            "x": [float(f"{spent:.4g}") for _, spent in ordered],
            "y": [name for name, _ in ordered],
            "marker": {"color": GREEN},
            "hovertemplate": "%{y}: %{x:.3g} s<extra></extra>",
        }
    ]
    parts = ", ".join(f"{name} {spent / total:.0%}" for name, spent in reversed(ordered[-3:])) if total else ""
    summary = f"{total:.3g} s of work in all: {parts}." if total else "No stage recorded its time."
    layout = {"xaxis": axis("seconds, summed over processes", rangemode="tozero"), "yaxis": {"automargin": True}}
    return Figure("time", "Where the time went", summary, data, layout, "", 130 + 26 * len(ordered))
