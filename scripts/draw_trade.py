"""Draw one trade of the fibonacci strategy, docs/img/fibonacci-trade.png: levels, gates, entry, partials, exit.

    python scripts/draw_trade.py [--trade 4] [--out docs/img/fibonacci-trade.png]

Plotly makes a page, headless Chromium takes its picture. Everything drawn comes from the backtest and from
`Fibonacci.explain`; nothing is drawn by hand but the words.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

import genesis
from genesis.strategy.fibonacci import Fibonacci
from genesis.strategy.fibonacci_parameters import PARAMETERS
from genesis.strategy.gates import GATES

WIDTH, HEIGHT = 1280, 900
UP, DOWN, INK, TEAL, AMBER, VIOLET = "#2a9d8f", "#c8553d", "#22333b", "#00796b", "#e09f3e", "#6a4c93"
LADDER = (0.0, 0.236, 0.382, 0.5, 0.618, 0.786, 1.0, 1.272)


def figure(number: int) -> go.Figure:
    """The trade with this number on IBM, 2003 to 2010, all parameters at their defaults."""
    bars = genesis.load_bars("sample:IBM", start="2003-01-01", end="2010-12-31")
    features = genesis.Features(bars)
    costs = genesis.Costs(fee_bps=10, slippage_bps=5)
    bt = genesis.backtest(bars, "fibonacci", {}, costs=costs, features=features)
    shown = Fibonacci().explain({}, features)
    trade = bt.trades.iloc[number]
    fills = bt.fills[bt.fills.trade == number]
    entered, left = int(trade.entry_bar), int(trade.exit_bar)
    decided = entered - 1
    view = slice(max(0, entered - 42), min(len(bars), left + 12))
    when = bars.index[view]
    made = make_subplots(
        rows=3,
        cols=1,
        shared_xaxes=True,
        row_heights=[0.60, 0.16, 0.24],
        vertical_spacing=0.045,
        subplot_titles=("", "confidence of a long and of a short", "which gate stopped each bar"),
    )
    price(made, bars, features, view)
    ladders(made, bars, shown, decided, when)
    orders(made, bars, features, fills, trade, entered, left)
    confidence(made, shown, view, when)
    strip(made, shown, view, when)
    side = "long" if trade.side > 0 else "short"
    title = (
        f"<b>One {side} of <i>fibonacci</i></b>   IBM daily, decided at the close of {bars.index[decided]:%Y-%m-%d}, "
        f"filled at the next open   ·   {trade['return']:+.1%} of its money in {int(trade.bars_held)} bars"
    )
    made.update_layout(
        title={"text": title, "x": 0.012, "y": 0.975, "font": {"size": 17}},
        width=WIDTH,
        height=HEIGHT,
        margin={"l": 128, "r": 150, "t": 58, "b": 34},
        plot_bgcolor="#fbfaf7",
        paper_bgcolor="white",
        font={"family": "Helvetica, Arial, sans-serif", "size": 12, "color": INK},
        showlegend=False,
        xaxis_rangeslider_visible=False,
    )
    made.update_xaxes(
        range=[when[0] - (when[1] - when[0]), when[-1]], showgrid=False, rangebreaks=[{"bounds": ["sat", "mon"]}]
    )
    made.update_yaxes(gridcolor="#ece8df", zeroline=False)
    return made


def price(made: go.Figure, bars: Any, features: Any, view: slice) -> None:
    """Candles and the mean that tells the regime."""
    when = bars.index[view]
    made.add_trace(
        go.Candlestick(
            x=when,
            open=bars.open[view],
            high=bars.high[view],
            low=bars.low[view],
            close=bars.close[view],
            increasing={"line": {"color": UP, "width": 1}, "fillcolor": UP},
            decreasing={"line": {"color": DOWN, "width": 1}, "fillcolor": DOWN},
        ),
        row=1,
        col=1,
    )
    made.add_trace(go.Scatter(x=when, y=features.ema(50)[view], line={"color": AMBER, "width": 1.6}), row=1, col=1)
    made.add_annotation(
        x=when[36], y=features.ema(50)[view][36], text="EMA 50", showarrow=False, xanchor="left", yshift=-12,
        font={"color": AMBER}, row=1, col=1,
    )  # fmt: skip


def ladders(made: go.Figure, bars: Any, shown: Any, at: int, when: Any) -> None:
    """The ladder of the traded bars as known when the trade was decided, and the higher timeframe's two ends."""
    top, bottom = shown.swing_high[at], shown.swing_low[at]
    for level in LADDER:
        value = bottom + level * (top - bottom)
        end = level in (0.0, 1.0)
        made.add_shape(
            type="line", x0=bars.index[at], x1=when[-1], y0=value, y1=value,
            line={"color": TEAL, "width": 1.6 if end else 0.9, "dash": "solid" if end else "dot"}, row=1, col=1,
        )  # fmt: skip
        name = {0.0: " swing low", 1.0: " swing high"}.get(level, "")
        made.add_annotation(
            x=when[-1], y=value, text=f"{level:g}{name}  {value:.2f}", showarrow=False, xanchor="left", xshift=6,
            font={"color": TEAL, "size": 11}, row=1, col=1,
        )  # fmt: skip
    first, last = bars.index.get_loc(when[0]), bars.index.get_loc(when[-1])
    low, high = bars.low[first : last + 1].min(), bars.high[first : last + 1].max()
    for value, word in ((shown.htf_swing_high[at], "weekly swing high"), (shown.htf_swing_low[at], "weekly swing low")):
        if low * 0.985 <= value <= high * 1.015:
            made.add_shape(
                type="line", x0=when[0], x1=bars.index[at], y0=value, y1=value,
                line={"color": VIOLET, "width": 1.4, "dash": "dash"}, row=1, col=1,
            )  # fmt: skip
            made.add_annotation(
                x=when[6], y=value, text=f"{word} {value:.2f}", showarrow=False, yshift=9,
                font={"color": VIOLET, "size": 11}, row=1, col=1,
            )  # fmt: skip


def orders(made: go.Figure, bars: Any, features: Any, fills: Any, trade: Any, entered: int, left: int) -> None:
    """Fills with their reasons, the stop, and the trailing stop as it followed the price."""
    long = trade.side > 0
    defaults = PARAMETERS.defaults
    held = slice(entered, left + 1)
    distance = defaults["exit.trailing_atr"] * features.atr(defaults["features.atr_period"])[entered - 1]
    best = np.maximum.accumulate(bars.high[held]) if long else np.minimum.accumulate(bars.low[held])
    trail = best - distance if long else best + distance
    stop = trade.entry_price * (1.0 - defaults["exit.stop_loss_pct"] * (1 if long else -1))
    for values, word in ((trail, "trailing stop"), (np.full(len(trail), stop), "stop")):
        made.add_trace(
            go.Scatter(x=bars.index[held], y=values, line={"color": DOWN, "width": 1.2, "dash": "dashdot"}),
            row=1,
            col=1,
        )
        made.add_annotation(
            x=bars.index[entered], y=values[0], text=word, showarrow=False, xanchor="right", xshift=-6,
            font={"color": DOWN, "size": 11}, row=1, col=1,
        )  # fmt: skip
    exits = 0
    for fill in fills.itertuples():
        opens = fill.reason == "entry"
        share = fill.units / fills.units.iloc[0]
        height = 56 if opens else (-52, -100)[exits % 2]  # neighbours at two heights
        exits += not opens
        words = f"<b>{fill.reason.replace('_', ' ')}</b><br>{fill.price:.2f}" + ("" if opens else f", {share:.0%}")
        made.add_trace(
            go.Scatter(
                x=[bars.index[fill.bar]],
                y=[fill.price],
                mode="markers",
                marker={
                    "symbol": "triangle-up" if fill.side > 0 else "triangle-down",
                    "size": 15,
                    "color": TEAL if opens else AMBER if fill.reason == "partial" else DOWN,
                    "line": {"color": "white", "width": 1.2},
                },
            ),
            row=1,
            col=1,
        )
        made.add_annotation(
            x=bars.index[fill.bar], y=fill.price, text=words, ax=0, ay=height, arrowwidth=1, arrowsize=0.8,
            arrowcolor=INK, bgcolor="rgba(255,255,255,0.85)", row=1, col=1,
        )  # fmt: skip


def confidence(made: go.Figure, shown: Any, view: slice, when: Any) -> None:
    """Both confidences with the thresholds of entry and exit."""
    for values, color in ((shown.confidence_long, UP), (shown.confidence_short, DOWN)):
        made.add_trace(go.Scatter(x=when, y=values[view], line={"color": color, "width": 1.8}), row=2, col=1)
    for path, word in (("thresholds.entry_conf_overall", "entry"), ("exit.exit_conf_threshold", "exit")):
        level = PARAMETERS.defaults[path]
        made.add_hline(y=level, line={"color": INK, "width": 1, "dash": "dot"}, row=2, col=1)
        made.add_annotation(
            x=when[-1], y=level, text=f"{word} {level:g}", showarrow=False, xanchor="left", xshift=6, row=2, col=1
        )
    made.update_yaxes(tickformat=".1f", row=2, col=1)


def strip(made: go.Figure, shown: Any, view: slice, when: Any) -> None:
    """One mark per bar in the row of the gate that stopped it, in the order the gates are asked."""
    rows = [name for name in GATES if (shown.gate[view] == name).any()]
    names = [*rows, "enters"]
    place = [names.index(name) if name else len(rows) for name in shown.gate[view]]
    colors = [TEAL if spot == len(rows) else "#9a948a" for spot in place]
    made.add_trace(
        go.Scatter(x=when, y=place, mode="markers", marker={"symbol": "square", "size": 9, "color": colors}),
        row=3,
        col=1,
    )
    made.update_yaxes(
        tickvals=list(range(len(names))), ticktext=names, range=[len(names) - 0.4, -0.6], showgrid=True, row=3, col=1
    )


def shoot(made: go.Figure, out: Path) -> None:
    """Save the figure's picture, taken by headless Chromium."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        raise SystemExit("no Chromium found: install it (apt-get install chromium), then run this again")
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "trade.html"
        body = made.to_html(include_plotlyjs=True, config={"staticPlot": True, "displayModeBar": False})
        page.write_text(body.replace("<body>", "<body style='margin:0'>"), encoding="utf-8")
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=8000"]
        options += [f"--user-data-dir={folder}/profile", f"--window-size={WIDTH},{HEIGHT}"]
        command = [browser, *options, f"--screenshot={out.resolve()}", page.as_uri()]
        subprocess.run(command, check=True, capture_output=True, timeout=120)


def main() -> None:
    """Read the arguments, draw, say where."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trade", type=int, default=4, help="number of the trade in the backtest")
    parser.add_argument("--out", type=Path, default=Path("docs/img/fibonacci-trade.png"))
    given = parser.parse_args()
    given.out.parent.mkdir(parents=True, exist_ok=True)
    shoot(figure(given.trade), given.out)
    print(f"wrote {given.out}")


if __name__ == "__main__":
    main()
