"""Figures about trading: equity and drawdown, price with fills and levels, monthly returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from genesis.report.figures import BLUE, GREEN, GREY, ORANGE, RED, VIOLET, Figure, axis
from genesis.report.tables import compact
from genesis.types import FloatArray, IntArray

OTHERS = (
    (ORANGE, "solid"),
    (GREEN, "solid"),
    (VIOLET, "solid"),
    ("#c45ab3", "solid"),
    ("#1fa3b5", "solid"),
    (ORANGE, "dot"),
    (GREEN, "dot"),
    (VIOLET, "dot"),
    ("#c45ab3", "dot"),
)
"""Colour and dash of the curves behind the best; of middling lightness, so that they show on white and on black."""
LINE_POINTS = 900
PRICE_POINTS = 1_800


@dataclass(frozen=True)
class Curve:
    """Equity of one trial over all bars: `equity` float64[n]; `name` as in the legend."""

    name: str
    equity: FloatArray


@dataclass(frozen=True)
class Spans:
    """The bar where trading starts and the one where out-of-sample starts (None without one); positions in the bars."""

    trade_from: int
    holdout_from: int | None = None


@dataclass(frozen=True)
class Marks:
    """Fills of one trial: bar positions, prices and sides (+1 bought, -1 sold), and level prices by name.

    `levels` maps a name to float64[n] (NaN where it does not stand).
    """

    bars: IntArray
    prices: FloatArray
    sides: IntArray
    levels: Mapping[str, FloatArray] = field(default_factory=dict)


def drawdown(equity: FloatArray) -> FloatArray:
    """Fall from the highest equity so far, as a fraction <= 0.

    >>> drawdown(np.array([1.0, 2.0, 1.5])).tolist()
    [0.0, 0.0, -0.25]
    """
    return equity / np.maximum.accumulate(equity) - 1.0


def thin(values: FloatArray, limit: int) -> IntArray:
    """Positions that keep the first, last, lowest and highest of each of `limit` / 4 equal stretches."""
    count = len(values)
    if count <= limit:
        return np.arange(count)
    edges = np.linspace(0, count, limit // 4 + 1).astype(np.int64)
    kept: list[int] = []
    for low, high in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        part = values[low:high]
        kept += [low, high - 1, low + int(np.argmin(part)), low + int(np.argmax(part))]
    return np.unique(np.array(kept, dtype=np.int64))


def dates(times: IntArray, positions: IntArray) -> list[str]:
    """UTC times (ns) as text, days only when every bar opens at midnight."""
    chosen = times[positions].astype("datetime64[ns]")
    whole = bool((times % 86_400_000_000_000 == 0).all())
    return [str(value) for value in chosen.astype("datetime64[D]" if whole else "datetime64[m]")]


def shades(times: IntArray, spans: Spans) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Shapes and annotations that mark the in-sample and the out-of-sample part."""
    start, end = dates(times, np.array([spans.trade_from, len(times) - 1]))
    if spans.holdout_from is None:
        return [], []
    cut = dates(times, np.array([spans.holdout_from]))[0]
    parts = [("in sample", start, cut, BLUE), ("out of sample", cut, end, ORANGE)]
    shapes: list[dict[str, Any]] = [
        {
            "type": "rect",
            "xref": "x",
            "yref": "paper",
            "x0": x0,
            "x1": x1,
            "y0": 0,
            "y1": 1,
            "fillcolor": colour,
            "opacity": 0.09,
            "line": {"width": 0},
            "layer": "below",
        }
        for _, x0, x1, colour in parts
    ]
    notes: list[dict[str, Any]] = [
        {
            "x": x0,
            "y": 1.0,
            "xref": "x",
            "yref": "paper",
            "text": name,
            "showarrow": False,
            "xanchor": "left",
            "yanchor": "bottom",
            "font": {"size": 11},
        }
        for name, x0, _, _ in parts
    ]
    return shapes, notes


def equity_figure(times: IntArray, curves: Sequence[Curve], spans: Spans) -> Figure:
    """Equity (log scale when it grows a lot) and drawdown of the best trials; the first curve is the best."""
    if not curves:
        return Figure(
            "equity", "Equity and drawdown", "No trial could be run again, so there is no equity to draw.", []
        )
    data: list[dict[str, Any]] = []
    fall = drawdown(curves[0].equity)
    for place, curve in reversed(list(enumerate(curves))):
        top = place == 0
        kept = thin(curve.equity, LINE_POINTS if top else LINE_POINTS // 2)
        colour, dash = (BLUE, "solid") if top else OTHERS[(place - 1) % len(OTHERS)]
        data.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": f"{curve.name}, the best" if top and len(curves) > 1 else curve.name,
                "x": dates(times, kept),
                "y": compact(curve.equity[kept], digits=6),
                "line": {"color": colour, "dash": dash, "width": 3 if top else 1.4},
                "opacity": 1.0 if top else 0.9,
                "legendrank": place,
            }
        )
    kept = thin(fall, LINE_POINTS)
    data.append(
        {
            "type": "scatter",
            "mode": "lines",
            "name": "drawdown of the best",
            "x": dates(times, kept),
            "y": compact(fall[kept]),
            "line": {"color": RED, "width": 1.2},
            "fill": "tozeroy",
            "yaxis": "y2",
            "legendrank": len(curves),
        }
    )
    shapes, notes = shades(times, spans)
    tall = float(curves[0].equity.max()) > 5.0 * float(curves[0].equity[0]) and float(curves[0].equity.min()) > 0.0
    layout = {
        "xaxis": {"anchor": "y2", "automargin": True},
        "yaxis": axis("equity", domain=[0.36, 1.0], type="log" if tall else "linear", hoverformat=",.2f"),
        "yaxis2": axis("drawdown", domain=[0.0, 0.28], tickformat=".0%"),
        "shapes": shapes,
        "annotations": notes,
        "showlegend": True,
        "legend": {"y": -0.1},
        "hovermode": "x unified" if len(curves) < 4 else "closest",
    }
    equity = curves[0].equity
    ends = f"{equity[0]:,.0f} to {equity[-1]:,.0f}"
    name = curves[0].name
    summary = f"{name[:1].upper()}{name[1:]} went from {ends}, with a deepest drawdown of {-fall.min():.1%}."
    if spans.holdout_from is not None:
        cut = spans.holdout_from
        before, after = equity[cut - 1] / equity[0] - 1.0, equity[-1] / equity[cut - 1] - 1.0
        summary += f" In sample it made {before:+.1%}, out of sample {after:+.1%}."
    notes_below = ["Click a name to hide or show its curve, double-click to see it alone."] if len(curves) > 1 else []
    if len(times) > LINE_POINTS:
        notes_below.append(f"Curves of {len(times):,} bars keep each stretch's ends, low and high.")
    return Figure("equity", "Equity and drawdown of the ten best", summary, data, layout, " ".join(notes_below), 560)


def opening_window(count: int, spans: Spans, *, bars: int = 250) -> tuple[int, int]:
    """The bars that a price figure opens on: the last 250 in sample, or all of a short history.

    >>> opening_window(3_000, Spans(0, 2_000)), opening_window(300, Spans(0))
    ((1750, 2000), (0, 300))
    """
    if count <= 2 * bars:
        return 0, count
    end = count if spans.holdout_from is None else spans.holdout_from
    return max(0, end - bars), end


def price_figure(times: IntArray, close: FloatArray, marks: Marks, spans: Spans, *, name: str) -> Figure:
    """Close with the fills and levels of one trial."""
    window = opening_window(len(close), spans)
    kept = np.union1d(np.union1d(thin(close, PRICE_POINTS), marks.bars[:2_000]), np.arange(*window))
    data: list[dict[str, Any]] = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": "close",
            "x": dates(times, kept),
            "y": compact(close[kept], digits=6),
            "line": {"color": GREY, "width": 1.2},
        }
    ]
    tints = (GREY, VIOLET, BLUE, GREEN, ORANGE, RED)
    for place, (label, level) in enumerate(marks.levels.items()):
        steps = np.union1d(np.flatnonzero(np.diff(level, prepend=np.nan) != 0.0), [0, len(level) - 1])
        steps = steps if len(steps) <= LINE_POINTS else kept  # a ladder that moves at most bars is thinned as the close
        data.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": label,
                "x": dates(times, steps),
                "y": compact(level[steps], digits=6),
                "line": {"color": tints[place % len(tints)], "width": 1, "shape": "hv"},
                "connectgaps": False,
                "opacity": 0.55,
            }
        )
    for side, label, symbol, colour in ((1, "bought", "triangle-up", GREEN), (-1, "sold", "triangle-down", RED)):
        here = np.flatnonzero(marks.sides == side)[:1_000]
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": label,
                "x": dates(times, marks.bars[here]),
                "y": compact(marks.prices[here], digits=6),
                "marker": {"symbol": symbol, "size": 9, "color": colour, "line": {"width": 1, "color": "white"}},
            }
        )
    shapes, notes = shades(times, spans)
    bought, sold = int((marks.sides > 0).sum()), int((marks.sides < 0).sum())
    layout: dict[str, Any] = {
        "xaxis": {"automargin": True, "rangeslider": {"visible": False}},
        "yaxis": axis("price"),
        "shapes": shapes,
        "annotations": notes,
    }
    whole = window == (0, len(close))
    if not whole:
        seen = close[window[0] : window[1]]
        pad = 0.08 * (float(seen.max()) - float(seen.min()) or 1.0)
        layout["xaxis"]["range"] = dates(times, np.array([window[0], window[1] - 1]))
        layout["yaxis"]["range"] = compact(np.array([seen.min() - pad, seen.max() + pad]))
        layout["annotations"] = []
    summary = f"{name} bought {bought:,} times and sold {sold:,} times" + (
        f"; levels shown: {', '.join(marks.levels)}." if marks.levels else "."
    )
    notes_below = [] if whole else [f"Opens on {window[1] - window[0]} bars; double-click for all, drag to zoom."]
    if len(kept) < len(times):
        notes_below.append(f"{len(kept):,} of {len(times):,} closes drawn (each stretch's ends, low and high).")
    if max(bought, sold) > 1_000:
        notes_below.append("The first 1,000 fills of each side.")
    note = " ".join(notes_below)
    return Figure("price", f"Price and fills of {name}", summary, data, layout, note, 460)


def monthly_returns(times: IntArray, equity: FloatArray) -> pd.DataFrame:
    """Returns per calendar month (UTC), rows years, columns 1 to 12, NaN where there are no bars."""
    series = pd.Series(equity, index=pd.to_datetime(times, utc=True))
    months = series.resample("ME").last().dropna()
    start = pd.Series([equity[0]], index=[months.index[0] - pd.offsets.MonthEnd(1)])
    returns = pd.concat([start, months]).pct_change().iloc[1:]
    index = pd.DatetimeIndex(returns.index)
    frame = pd.DataFrame({"year": index.year, "month": index.month, "value": returns.to_numpy()})
    return frame.pivot_table(index="year", columns="month", values="value").reindex(columns=range(1, 13))


_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def monthly_figure(times: IntArray, equity: FloatArray, *, name: str) -> Figure:
    """Monthly returns as a calendar, at most the last 40 years."""
    table = monthly_returns(times, equity).iloc[-40:]
    values = table.to_numpy(dtype=np.float64)
    text = [["" if np.isnan(value) else f"{value:.1%}" for value in row] for row in values]
    known = values[~np.isnan(values)]
    span = float(np.quantile(np.abs(known), 0.95)) if len(known) else 0.01
    data = [
        {
            "type": "heatmap",
            "x": list(_MONTHS),
            "y": [str(year) for year in table.index],
            "z": [compact(row, digits=4) for row in values],
            "text": text,
            "texttemplate": "%{text}",
            "textfont": {"size": 10, "color": "#1c2430"},  # all cells are light or middling, in both themes
            "colorscale": [[0.0, "#d1495b"], [0.5, "#e9edf2"], [1.0, "#2f9e6e"]],
            "zmid": 0.0,
            "zmin": -max(span, 1e-6),
            "zmax": max(span, 1e-6),
            "showscale": False,
            "hoverongaps": False,
            "hovertemplate": "%{y} %{x}: %{text}<extra></extra>",
            "xgap": 1,
            "ygap": 1,
        }
    ]
    layout = {
        "xaxis": {"side": "top", "fixedrange": True},
        "yaxis": {"autorange": "reversed", "type": "category", "automargin": True, "fixedrange": True},
        "margin": {"t": 28, "b": 8},
    }
    if len(known):
        summary = (
            f"{name}: {int((known > 0).sum())} of {len(known)} months gained; "
            f"the best {known.max():+.1%}, the worst {known.min():+.1%}."
        )
    else:
        summary = "There is no month to show."
    return Figure("monthly", "Monthly returns of the best trial", summary, data, layout, "", 110 + 24 * len(table))
