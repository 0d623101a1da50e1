"""The compiled loop and its slow twin do the same on random markets, for every option."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.engine.markets import random_bars, random_signals, run_with_bounds_checked
from tests.engine.twin import Twin

from genesis.engine.fills import REASONS
from genesis.engine.kernel import simulate
from genesis.types import Costs, Execution, Rules

OPTIONAL = ("exit", "size", "stop_distance", "target_distance", "trail_distance")


def fraction(top: float) -> st.SearchStrategy[float]:
    return st.one_of(st.just(0.0), st.floats(0.005, top))


RULES = st.builds(
    Rules,
    max_hold_bars=st.integers(0, 6),
    stop_loss_pct=fraction(0.2),
    take_profit_pct=fraction(0.3),
    trailing_stop_pct=fraction(0.2),
    break_even_pct=fraction(0.1),
    cooldown_bars=st.integers(0, 4),
    opposite=st.sampled_from(["reverse", "exit", "ignore"]),
    partial_fractions=st.sampled_from([(), (0.5,), (0.25, 0.5), (0.5, 0.5), (0.1,) * 10, (0.7, 0.7), (1.0,)]),
)
COSTS = st.builds(
    Costs,
    fee_bps=st.sampled_from([0.0, 7.5, 200.0]),
    slippage_bps=st.sampled_from([0.0, 3.0, 150.0]),
    fee_fixed=st.sampled_from([0.0, 1.0, 500.0]),
)
EXECUTION = st.builds(
    Execution,
    fill=st.sampled_from(["next_open", "same_close"]),
    capital=st.sampled_from([30.0, 1_000.0, 1e6]),
    units=st.sampled_from(["fractional", "whole"]),
    sizing=st.sampled_from(["equity_fraction", "fixed_cash", "fixed_units"]),
    size=st.sampled_from([0.3, 1.0, 40.0, 1e5]),
)


def same(bars, signals, costs, execution, trade_from):
    fast = simulate(bars, signals, costs=costs, execution=execution, trade_from=trade_from)
    slow = Twin(bars, signals, costs, execution, trade_from).run()
    names = ("bar", "side", "units", "price", "fee", "reason", "trade")
    rows = [tuple(REASONS[f[x]] if x == "reason" else f[x].item() for x in names) for f in fast.fills]
    assert rows == slow.fills
    np.testing.assert_allclose(fast.equity, slow.equity_array, rtol=1e-9, atol=1e-9 * execution.capital)
    assert fast.bankrupt_bar == slow.bankrupt_bar
    assert fast.unfilled == slow.unfilled
    for made, wanted in zip(fast.trades, slow.trades, strict=True):
        assert REASONS[made["reason"]] == wanted.pop("reason")
        for name, value in wanted.items():
            assert made[name] == pytest.approx(value, rel=1e-9, abs=1e-9), name
    return fast


@settings(max_examples=500, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    n=st.integers(1, 60),
    density=st.sampled_from([0.05, 0.3, 1.0]),
    swing=st.sampled_from([0.02, 0.08, 0.4]),
    optional=st.frozensets(st.sampled_from(OPTIONAL)),
    rules=RULES,
    costs=COSTS,
    execution=EXECUTION,
    start=st.integers(0, 10),
)
def test_the_loop_and_its_twin_agree_on_every_fill(seed, n, density, swing, optional, rules, costs, execution, start):
    """Same fills to the bit, same equity to 1e-9, same trades, for any market, signals, rules, costs and execution."""
    bars = random_bars(seed, n, swing=swing)
    signals = random_signals(seed, bars, rules, density=density, optional=optional)
    same(bars, signals, costs, execution, min(start, n - 1))


def test_every_reason_to_leave_is_met_by_the_random_cases():
    """The agreement above is not empty: in a fixed sample of random cases every reason occurs many times."""
    rng = np.random.default_rng(5)
    counts = dict.fromkeys(REASONS, 0)
    for seed in range(400):
        rules = Rules(
            max_hold_bars=int(rng.choice([0, 5])),
            stop_loss_pct=float(rng.choice([0.0, 0.08])),
            take_profit_pct=float(rng.choice([0.0, 0.12])),
            trailing_stop_pct=float(rng.choice([0.0, 0.1])),
            break_even_pct=float(rng.choice([0.0, 0.04])),
            opposite=str(rng.choice(["reverse", "exit", "ignore"])),  # type: ignore[arg-type]
            partial_fractions=(0.5, 0.5),
        )
        bars = random_bars(seed, 50, swing=float(rng.choice([0.05, 0.5])))
        signals = random_signals(seed, bars, rules, density=0.2, optional=frozenset(OPTIONAL if seed % 2 else ()))
        execution = Execution(fill="next_open" if seed % 3 else "same_close")
        made = same(bars, signals, Costs(fee_bps=10.0, slippage_bps=5.0), execution, 0)
        for fill in made.fills:
            counts[REASONS[fill["reason"]]] += 1
    assert min(counts.values()) >= 10, counts


@pytest.mark.slow
def test_the_loop_stays_inside_its_arrays(tmp_path):
    """With bounds checked on every access the loop raises nothing on the random cases."""
    script = (
        "from tests.engine.test_twin import *\n"
        "for seed in range(300):\n"
        "    bars = random_bars(seed, 1 + seed % 50, swing=0.1)\n"
        "    rules = Rules(trailing_stop_pct=0.05, max_hold_bars=seed % 4, partial_fractions=(0.4, 0.6))\n"
        "    signals = random_signals(seed, bars, rules, density=0.4, optional=frozenset(OPTIONAL))\n"
        "    fill = ['next_open', 'same_close'][seed % 2]\n"
        "    same(bars, signals, Costs(fee_bps=1, slippage_bps=1), Execution(fill=fill), 0)\n"
    )
    run_with_bounds_checked(script, tmp_path)
