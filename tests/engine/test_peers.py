"""On identical conventions backtesting.py and vectorbt agree with the engine: every fill, and equity to 1e-9.

Where a peer's convention differs, the cases avoid it and say so here. backtesting.py: a position is flat before the
last bar (it closes a last one at the last *open*); with fills at the close it books a fill's fee one bar later, so that
mode is compared without fees; its spread is charged on entry only, so slippage is left to vectorbt. vectorbt: a
reversal is one order there and two fills here, so units are netted per bar.
"""

from __future__ import annotations

import sys
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tests.engine.markets import random_bars

from genesis.engine.kernel import simulate
from genesis.engine.metrics import compute_metrics
from genesis.market.bars import Bars
from genesis.market.catalog import load_bars
from genesis.types import Costs, Execution, Rules, Signals

MISSING = "peers are not installed; type: pip install 'genesis-core[peers]'"


@pytest.fixture(scope="module")
def peer():
    """The module backtesting.py, imported quietly."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("backtesting", reason=MISSING)


@pytest.fixture(scope="module")
def vbt():
    """The module vectorbt, imported quietly."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("vectorbt", reason=MISSING)


def sma_cross(bars: Bars, fast: int, slow: int) -> np.ndarray:
    """+1 where the fast mean crosses above the slow one, -1 below; plain pandas."""
    close = pd.Series(bars.close)
    above = (close.rolling(fast).mean() > close.rolling(slow).mean()).to_numpy()
    entry = np.zeros(len(bars), dtype=np.int8)
    turned = np.flatnonzero(above[1:] != above[:-1]) + 1
    entry[turned] = np.where(above[turned], 1, -1)
    entry[: slow + 1] = 0
    return entry


def flat_at_the_end(entry: np.ndarray, exit_: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The signals with no decision at bar 0, and everything left well before the last bar."""
    entry, exit_ = entry.copy(), exit_.copy()
    entry[0] = 0
    entry[-4:] = 0
    exit_[-4:] = 3
    return entry, exit_


def run_backtesting(peer, bars, entry, exit_, *, execution, fee=0.0, stop=0.0, target=0.0):
    """Trades and equity of backtesting.py for the same signals."""

    class Follow(peer.Strategy):
        def init(self):
            pass

        def next(self):
            i = len(self.data) - 1
            want, leave, held = int(entry[i]), int(exit_[i]), self.position.size
            if held and want == -np.sign(held):
                self.position.close()
            elif held:
                if leave & (1 if held > 0 else 2):
                    self.position.close()
                return
            if want:
                price = bars.close[i]
                brackets = {}
                if stop:
                    brackets["sl"] = price * (1.0 - want * stop)
                if target:
                    brackets["tp"] = price * (1.0 + want * target)
                order = self.buy if want > 0 else self.sell
                if execution.sizing == "fixed_units":
                    order(size=execution.size, **brackets)
                else:
                    order(**brackets)

    frame = bars.to_frame().rename(columns=str.capitalize)
    frame.index = frame.index.tz_localize(None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return peer.Backtest(
            frame,
            Follow,
            cash=execution.capital,
            commission=fee,
            trade_on_close=execution.fill == "same_close",
        ).run()


def check_backtesting(peer, bars, entry, exit_, *, execution, fee_bps=0.0, stop=0.0, target=0.0):
    entry, exit_ = flat_at_the_end(entry, exit_)
    sim = simulate(
        bars,
        Signals(entry=entry, exit=exit_, rules=Rules(stop_loss_pct=stop, take_profit_pct=target)),
        costs=Costs(fee_bps=fee_bps, slippage_bps=0.0),
        execution=execution,
    )
    stats = run_backtesting(peer, bars, entry, exit_, execution=execution, fee=fee_bps * 1e-4, stop=stop, target=target)
    theirs = stats["_trades"].sort_values(["EntryBar", "ExitBar"], kind="stable").reset_index(drop=True)
    ours = sim.trades_frame
    assert ours["entry_bar"].tolist() == theirs["EntryBar"].tolist()
    assert ours["exit_bar"].tolist() == theirs["ExitBar"].tolist()
    assert (ours["side"] * ours["units"]).tolist() == theirs["Size"].tolist()
    for name, other in (("entry_price", "EntryPrice"), ("exit_price", "ExitPrice"), ("pnl", "PnL")):
        np.testing.assert_allclose(ours[name], theirs[other].astype(float), rtol=1e-9, atol=1e-7, err_msg=name)
    np.testing.assert_allclose(sim.equity, stats["_equity_curve"]["Equity"].to_numpy(float), rtol=1e-9)
    return sim, stats


def random_case(seed: int, n: int) -> tuple[Bars, np.ndarray, np.ndarray]:
    rng = np.random.default_rng([seed, 7])
    bars = random_bars(seed, n, swing=0.03)
    entry = np.where(rng.random(n) < 0.2, rng.choice([-1, 1], n), 0).astype(np.int8)
    exit_ = np.where(rng.random(n) < 0.1, rng.integers(1, 4, n), 0).astype(np.int8)
    return bars, entry, exit_


# all the equity is a hair less than 1 there, which tells when the cash is an exact multiple of the price
WHOLE: dict[str, Any] = {"units": "whole", "capital": 100_000.0, "size": 1.0 - sys.float_info.epsilon}


@pytest.mark.parametrize(("fill", "fee_bps"), [("next_open", 0.0), ("next_open", 10.0), ("same_close", 0.0)])
@pytest.mark.parametrize("name", ["IBM", "GOOG"])
def test_backtesting_agrees_on_sma_crosses_over_real_bars(peer, name, fill, fee_bps):
    """The whole equity in whole units, reversing at every cross of 10 and 30 closes, on real daily bars."""
    bars = load_bars(f"sample:{name}").slice(0, 800)
    entry = sma_cross(bars, 10, 30)
    execution = Execution(fill=fill, **WHOLE)
    sim, stats = check_backtesting(peer, bars, entry, np.zeros_like(entry), execution=execution, fee_bps=fee_bps)
    assert len(sim.trades) > 15
    made = compute_metrics(sim, bars)
    assert made["total_return"] == pytest.approx(stats["Return [%]"] / 100, rel=1e-9)
    assert made["max_drawdown"] == pytest.approx(-stats["Max. Drawdown [%]"] / 100, rel=1e-9)
    assert made["win_rate"] == pytest.approx(stats["Win Rate [%]"] / 100, rel=1e-9)
    assert made["expectancy"] == pytest.approx(stats["Expectancy [%]"] / 100, rel=1e-6)
    assert made["sqn"] == pytest.approx(stats["SQN"], rel=1e-9)
    assert made["trades"] == stats["# Trades"]
    days = (bars.time[1:] - bars.time[:-1]).max() // 86_400_000_000_000
    assert days < 10  # the duration in bars below is in days there
    index = pd.DatetimeIndex(bars.index.tz_localize(None))
    drawdown = 1 - sim.equity / np.maximum.accumulate(sim.equity)
    at_peak = np.unique(np.r_[np.flatnonzero(drawdown == 0), len(bars) - 1])
    longest = int(np.argmax(index[at_peak[1:]] - index[at_peak[:-1]]))
    assert stats["Max. Drawdown Duration"] == index[at_peak[longest + 1]] - index[at_peak[longest]]
    assert made["max_drawdown_duration"] == np.diff(at_peak).max()


@pytest.mark.parametrize("block", range(4))
def test_backtesting_agrees_on_200_random_signal_sets(peer, block):
    """Next open with fees, and same close without, over random entries, exits and reversals."""
    for seed in range(50 * block, 50 * block + 50):
        bars, entry, exit_ = random_case(seed, 70)
        fill = "next_open" if seed % 2 else "same_close"
        sizing = {"sizing": "fixed_units", "size": 100.0} if seed % 3 == 0 else {}
        execution = Execution(fill=fill, **{**WHOLE, **sizing})
        check_backtesting(peer, bars, entry, exit_, execution=execution, fee_bps=12.0 if seed % 2 else 0.0)


def test_backtesting_agrees_on_stops_and_targets(peer):
    """Stop and target from a fill at the close: inside bars, through gaps, and both in one bar."""
    reasons: set[str] = set()
    for seed in range(60):
        bars, entry, exit_ = random_case(seed, 70)
        execution = Execution(fill="same_close", **{**WHOLE, "sizing": "fixed_units", "size": 100.0})
        stop, target = (0.04, 0.05) if seed % 2 else (0.08, 0.03)
        sim, _ = check_backtesting(peer, bars, entry, exit_, execution=execution, stop=stop, target=target)
        reasons |= set(sim.trades_frame["reason"])
    assert {"stop_loss", "take_profit", "opposite", "signal"} <= reasons


def run_vectorbt(vbt, bars, entry, exit_, *, execution, costs):
    """The vectorbt portfolio of the same signals, an order at the next open given as a signal one bar later."""

    def later(mask):
        return np.r_[False, mask[:-1]] if execution.fill == "next_open" else mask

    return vbt.Portfolio.from_signals(
        pd.Series(bars.close, index=bars.index),
        entries=later(entry == 1),
        exits=later((exit_ & 1) > 0),
        short_entries=later(entry == -1),
        short_exits=later((exit_ & 2) > 0),
        price=bars.open if execution.fill == "next_open" else bars.close,
        size=execution.size if execution.sizing == "fixed_units" else np.inf,
        fees=costs.fee_bps * 1e-4,
        slippage=costs.slippage_bps * 1e-4,
        init_cash=execution.capital,
        upon_opposite_entry="reverse",
        freq="1d",
    )


def check_vectorbt(vbt, bars, entry, exit_, *, execution, costs):
    """Net units per bar, prices, and equity; the exit of a bar with an entry too is left out of both."""
    entry, exit_ = flat_at_the_end(entry, exit_)
    exit_ = np.where(entry != 0, 0, exit_).astype(np.int8)  # there a bar with both cancels; here the exit wins
    sim = simulate(bars, Signals(entry=entry, exit=exit_), costs=costs, execution=execution)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        portfolio = run_vectorbt(vbt, bars, entry, exit_, execution=execution, costs=costs)
        orders = portfolio.orders.values
        value = portfolio.value().to_numpy()
    net = np.zeros(len(bars))
    np.add.at(net, orders["idx"], np.where(orders["side"] == 0, 1.0, -1.0) * orders["size"])
    ours = np.zeros(len(bars))
    np.add.at(ours, sim.fills["bar"], sim.fills["side"] * sim.fills["units"])
    np.testing.assert_allclose(ours, net, rtol=1e-9, atol=1e-9)
    prices = dict(zip(orders["idx"].tolist(), orders["price"].tolist(), strict=True))
    for fill in sim.fills:
        assert float(fill["price"]) == pytest.approx(prices[int(fill["bar"])], rel=1e-9)
    assert sim.fees_paid == pytest.approx(float(orders["fees"].sum()), rel=1e-9)
    np.testing.assert_allclose(sim.equity, value, rtol=1e-9)
    return sim, portfolio


VBT_COSTS = Costs(fee_bps=9.0, slippage_bps=6.0)


@pytest.mark.parametrize("fill", ["next_open", "same_close"])
def test_vectorbt_agrees_on_sma_crosses_over_real_bars(vbt, fill):
    """A fixed number of units long and short, with fee and slippage, and the metrics whose definitions are the same."""
    bars = load_bars("sample:IBM")
    entry = sma_cross(bars, 10, 30)
    execution = Execution(fill=fill, sizing="fixed_units", size=50.0, capital=100_000.0)
    sim, portfolio = check_vectorbt(vbt, bars, entry, np.zeros_like(entry), execution=execution, costs=VBT_COSTS)
    made = compute_metrics(sim, bars)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = portfolio.returns().vbt.returns(freq="1d", year_freq="252d")
        wanted = {
            "total_return": portfolio.total_return(),
            "cagr": theirs.annualized(),
            "volatility": theirs.annualized_volatility(),
            "sharpe": theirs.sharpe_ratio(),
            "sortino": theirs.sortino_ratio(),
            "calmar": theirs.calmar_ratio(),
            "max_drawdown": -theirs.max_drawdown(),
            "profit_factor": portfolio.trades.profit_factor(),
            "win_rate": portfolio.trades.win_rate(),
            "trades": portfolio.trades.count(),
            "exposure": portfolio.position_coverage(),
            "sqn": portfolio.trades.sqn(),
        }
    for name, value in wanted.items():
        assert made[name] == pytest.approx(float(value), rel=1e-9), name


@pytest.mark.parametrize("fill", ["next_open", "same_close"])
def test_vectorbt_agrees_on_the_whole_equity_of_a_long_only_strategy(vbt, fill):
    """All cash in, fees fitted in, all out again: the size that the cash allows is the same."""
    for seed in range(20):
        bars, entry, exit_ = random_case(seed, 120)
        entry = np.where(entry > 0, entry, 0).astype(np.int8)
        check_vectorbt(vbt, bars, entry, exit_, execution=Execution(fill=fill), costs=VBT_COSTS)


def test_vectorbt_agrees_on_200_random_signal_sets(vbt):
    """Entries, exits and reversals on both sides, both fills, fee and slippage."""
    for seed in range(200):
        bars, entry, exit_ = random_case(seed, 70)
        execution = Execution(
            fill="next_open" if seed % 2 else "same_close", sizing="fixed_units", size=100.0, capital=1_000_000.0
        )
        check_vectorbt(vbt, bars, entry, exit_, execution=execution, costs=VBT_COSTS)
