"""Every metric equals its written definition, worked in plain NumPy; an undefined one is None with a reason."""

from __future__ import annotations

import dataclasses
import math
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.engine.markets import AT_CLOSE, AT_OPEN, DAY, FREE, bars_of, entries, random_bars, random_signals

from genesis.engine.kernel import simulate
from genesis.engine.metrics import METRICS, compute_metrics, periods_per_year, undefined
from genesis.market.bars import Bars
from genesis.types import Costs, Execution, Rules, Signals

FLAT = (100.0, 100.0, 100.0, 100.0)
NAMES = [
    *("total_return", "cagr", "volatility", "sharpe", "sortino", "calmar", "max_drawdown", "max_drawdown_duration"),
    *("profit_factor", "win_rate", "expectancy", "exposure", "trades", "fees_paid", "sqn"),
]


def by_definition(sim, per_year):
    """The formulas of docs/metrics.md, one line each, over the whole equity."""
    capital, start = sim.execution.capital, sim.trade_from
    equity = sim.equity[start:]
    m = len(equity)
    curve = np.r_[capital, equity]
    r = curve[1:] / curve[:-1] - 1.0
    peak = np.maximum.accumulate(curve)
    below = curve < peak
    # a stay below that recovers lasts until the bar of recovery; one that does not, until the last bar
    recovered = 0
    for k in range(1, len(below)):
        if below[k - 1] and not below[k]:
            stay = 0
            while below[k - 1 - stay]:
                stay += 1
            recovered = max(recovered, stay + 1)
    tail = 0
    while tail < len(below) and below[len(below) - 1 - tail]:
        tail += 1
    pnl, entry_value = sim.trades["pnl"], sim.trades["units"] * sim.trades["entry_price"]
    won, lost = pnl[pnl > 0].sum(), -pnl[pnl <= 0].sum()
    growth = equity[-1] / capital
    drawdown = (1 - curve / peak).max()
    year = math.sqrt(per_year)
    count = len(pnl)
    out = {
        "total_return": growth - 1,
        "max_drawdown": drawdown,
        "max_drawdown_duration": max(recovered, tail),
        "win_rate": (pnl > 0).mean() if count else None,
        "profit_factor": won / lost if lost > 0 else None,
        "expectancy": (pnl / entry_value).mean() if count else None,
        "sqn": math.sqrt(count) * pnl.mean() / pnl.std(ddof=1) if count > 1 and pnl.std() > 1e-9 else None,
        "trades": count,
        "fees_paid": sim.fills["fee"].sum(),
        "exposure": (sim.position[start:] != 0).mean(),
    }
    if growth > 0 and m > 1 and r.std() > 1e-9:
        losses = math.sqrt((np.minimum(r, 0) ** 2).mean())
        out["cagr"] = growth ** (per_year / m) - 1
        out["volatility"] = r.std(ddof=1) * year
        out["sharpe"] = r.mean() / r.std(ddof=1) * year
        out["sortino"] = r.mean() / losses * year if losses > 0 else None
        out["calmar"] = out["cagr"] / drawdown if drawdown > 0 else None
    return out


@settings(max_examples=200, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    n=st.integers(3, 80),
    start=st.integers(0, 8),
    fill=st.sampled_from(["next_open", "same_close"]),
    density=st.sampled_from([0.03, 0.3]),
    swing=st.sampled_from([0.02, 0.3]),
)
def test_metrics_equal_their_definitions(seed, n, start, fill, density, swing):
    """One compiled pass over the bars of trades gives what the formulas give over all bars."""
    bars = random_bars(seed, n, swing=swing)
    rules = Rules(stop_loss_pct=0.05, partial_fractions=(0.5,))
    signals = random_signals(seed, bars, rules, density=density, optional=frozenset({"exit"}))
    sim = simulate(
        bars,
        signals,
        costs=Costs(fee_bps=10.0, slippage_bps=5.0),
        execution=Execution(fill=fill),
        trade_from=min(start, n - 1),
    )
    made = compute_metrics(sim, bars)
    assert list(made) == list(METRICS)
    for name, wanted in by_definition(sim, periods_per_year(bars)).items():
        if wanted is None or not math.isfinite(wanted):
            assert made[name] is None, name
        else:
            assert made[name] == pytest.approx(float(wanted), rel=1e-9, abs=1e-11), name
    assert all(math.isfinite(value) for value in made.values() if value is not None)
    assert set(undefined(made)) == set(made.reasons)
    assert all(made.reasons.values())


def metrics_for(rows, at, *, costs=FREE, execution=AT_OPEN, rules=None):
    bars = bars_of(rows)
    sim = simulate(
        bars, Signals(entry=entries(len(rows), at), rules=rules or Rules()), costs=costs, execution=execution
    )
    return compute_metrics(sim, bars)


def test_the_names_are_the_promised_ones():
    """Fifteen metrics, each described, with a direction."""
    assert list(METRICS) == NAMES
    assert {m.better for m in METRICS.values()} == {"higher", "lower"}
    assert all(m.definition and m.unit for m in METRICS.values())


def test_without_trades_risk_is_nought_and_ratios_are_undefined():
    """No trades: return, volatility and drawdown are zero; every ratio is None because of it."""
    made = metrics_for([FLAT] * 5, {})
    assert (made["total_return"], made["cagr"], made["volatility"], made["max_drawdown"]) == (0.0, 0.0, 0.0, 0.0)
    assert (made["trades"], made["exposure"], made["fees_paid"], made["max_drawdown_duration"]) == (0.0,) * 4
    for name in ("sharpe", "sortino", "calmar", "profit_factor", "win_rate", "expectancy", "sqn"):
        assert made[name] is None
        assert made.reasons[name] == "no trades"


def test_one_winning_trade_by_hand():
    """100 units from 100 to 110 in one bar of five: 10 % in all, nothing lost, one trade has no deviation."""
    made = metrics_for(
        [FLAT, FLAT, (110, 110, 110, 110), *[(110, 110, 110, 110)] * 2], {0: 1}, rules=Rules(max_hold_bars=1)
    )
    assert made["total_return"] == pytest.approx(0.1)
    assert made["cagr"] == pytest.approx(1.1 ** (252 / 5) - 1)
    deviation = math.sqrt((0.01 - 5 * 0.02**2) / 4)
    assert made["volatility"] == pytest.approx(deviation * math.sqrt(252))
    assert made["sharpe"] == pytest.approx(0.02 / deviation * math.sqrt(252))
    assert (made["win_rate"], made["trades"], made["exposure"]) == (1.0, 1.0, 0.2)
    assert made["expectancy"] == pytest.approx(0.1)
    assert made.reasons == {
        "sortino": "no bar lost",
        "calmar": "no drawdown",
        "profit_factor": "no losing trade",
        "sqn": "one trade has no deviation",
    }


def test_returns_that_do_not_vary_have_no_sharpe():
    """A position that doubles in every bar: deviation 0, so Sharpe is undefined and not infinite."""
    bars = bars_of([(p, p, p, p) for p in 100.0 * 2.0 ** np.arange(6)])
    sim = simulate(bars, Signals(entry=entries(6, {0: 1})), costs=FREE, execution=AT_CLOSE)
    assert sim.equity.tolist() == [10_000.0 * 2**k for k in range(6)]
    late = dataclasses.replace(sim, equity=sim.equity[1:], trades=sim.trades.copy())
    late.trades["entry_bar"], late.trades["exit_bar"] = 0, 4
    made = compute_metrics(late, bars)
    assert made["volatility"] == 0.0
    assert (made["sharpe"], made.reasons["sharpe"]) == (None, "bar returns do not vary")


def test_a_bankrupt_account_has_a_return_and_no_ratios():
    """Equity -1,000 of 10,000: return -110 %, drawdown 110 %; rates and risk ratios say bankrupt."""
    made = metrics_for([FLAT, FLAT, (150, 215, 150, 210), FLAT], {0: -1})
    assert made["total_return"] == pytest.approx(-1.1)
    assert made["max_drawdown"] == pytest.approx(1.1)
    for name in ("cagr", "volatility", "sharpe", "sortino", "calmar"):
        assert made[name] is None
        assert made.reasons[name] == "bankrupt: equity reached zero"


def test_metrics_survive_pickling_with_their_reasons():
    """A worker's metrics arrive with the reasons."""
    made = metrics_for([FLAT] * 5, {})
    again = pickle.loads(pickle.dumps(made))  # noqa: S301 - our own bytes
    assert (again, again.reasons) == (made, made.reasons)


def market(days, per_day, timeframe, step):
    time = np.concatenate([day * DAY + np.arange(per_day) * step for day in days])
    price = np.full(len(time), 100.0)
    return Bars(time, price, price, price, price, price, timeframe)


MONDAY = 19_723
WEEKDAYS = [MONDAY + 7 * w + d for w in range(6) for d in range(5)]
HOUR = DAY // 24


@pytest.mark.parametrize(
    ("bars", "wanted"),
    [
        (market(WEEKDAYS, 1, "1d", DAY), 252.0),
        (market(range(MONDAY, MONDAY + 40), 1, "1d", DAY), 365.0),
        (market([MONDAY + 7 * w for w in range(30)], 1, "1w", 7 * DAY), 365.25 / 7),
        (market(WEEKDAYS, 7, "1h", HOUR), 252.0 * 7),
        (market(range(MONDAY, MONDAY + 40), 24, "1h", HOUR), 365.0 * 24),
        (market([MONDAY, MONDAY + 1], 3, "4h", 4 * HOUR), 252.0 * 6),
    ],
    ids=["weekdays", "every day", "weekly", "seven hours of weekdays", "around the clock", "two days only"],
)
def test_periods_per_year_follow_the_calendar(bars, wanted):
    """252 or 365 days by whether Saturdays trade, times the bars of a usual day."""
    assert periods_per_year(bars) == pytest.approx(wanted)


def test_an_early_close_does_not_change_the_periods_per_year():
    """The median day counts: one short day among thirty changes nothing."""
    full = market(WEEKDAYS, 7, "1h", HOUR)
    assert periods_per_year(full.slice(0, len(full) - 4)) == 252.0 * 7
