"""The doorway refuses what does not fit, and what comes out of it lines up with the bars."""

from __future__ import annotations

import dataclasses
import hashlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.engine.markets import AT_OPEN, FREE, bars_of, entries, random_bars, random_signals

from genesis.engine.fills import FILL, TRADE
from genesis.engine.kernel import KERNEL_VERSION, simulate
from genesis.engine.loop import trade
from genesis.engine.metrics import compute_metrics, measure
from genesis.errors import ConfigError, StrategyError
from genesis.types import Costs, Execution, Rules, Signals

BARS = random_bars(3, 40)
N = len(BARS)
GO = entries(N, {1: 1, 9: -1, 20: 1})


def run(signals, bars=BARS, trade_from=0, costs=FREE):
    return simulate(bars, signals, costs=costs, execution=AT_OPEN, trade_from=trade_from)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"entry": GO.astype(np.int64)}, r"entry: int64\[40\] came, int8\[40\] is needed"),
        ({"entry": GO[:-1].copy()}, r"entry: int8\[39\] came, int8\[40\]"),
        ({"entry": GO.tolist()}, "entry: list came"),
        ({"entry": GO * np.int8(2)}, "entry: 2 at bar 1 is none of -1, 0, \\+1"),
        ({"size": np.zeros(N)}, "size: 0.0 at bar 1, which decides an entry, is not a positive number"),
        ({"size": np.full(N, np.nan)}, "size: nan at bar 1"),
        ({"size": np.full(N, np.inf)}, "size: inf at bar 1"),
        ({"stop_distance": np.full(N, -1.0)}, "distance at bar 1, which decides an entry, is negative"),
        ({"exit": np.zeros(N)}, r"exit: float64\[40\] came, int8\[40\]"),
        ({"partial_levels": np.ones((N, 2))}, "one column for each fraction"),
        ({"rules": Rules(stop_loss_pct=1.0)}, r"rules.stop_loss_pct: 1.0 is outside \[0, 1\)"),
        ({"rules": Rules(trailing_stop_pct=float("nan"))}, "rules.trailing_stop_pct: nan"),
        ({"rules": Rules(take_profit_pct=-0.1)}, "rules.take_profit_pct: -0.1"),
        ({"rules": Rules(max_hold_bars=-1)}, "rules.max_hold_bars: -1 is not a number of bars"),
        ({"rules": Rules(cooldown_bars=1.5)}, "rules.cooldown_bars: 1.5"),  # type: ignore[arg-type]
        ({"rules": Rules(opposite="hedge")}, "rules.opposite: 'hedge' is unknown"),  # type: ignore[arg-type]
        ({"rules": Rules(partial_fractions=(0.5, 1.5)), "partial_levels": np.ones((N, 2))}, "1.5 is outside"),
    ],
)
def test_signals_that_do_not_fit_are_refused_with_the_reason(changes, message):
    """Wrong type, length, value or rule: StrategyError naming the array, the bar and what is needed."""
    with pytest.raises(StrategyError, match=message):
        run(dataclasses.replace(Signals(entry=GO), **changes))


@pytest.mark.parametrize("start", [-1, N, N + 5])
def test_trade_from_is_one_of_the_bars(start):
    """A warm-up as long as the market leaves nothing to trade."""
    with pytest.raises(ConfigError, match=f"trade_from: {start} is not one of the 40 bars"):
        run(Signals(entry=GO), trade_from=start)


def test_an_entry_code_out_of_range_is_refused_while_a_position_is_held():
    """The loop looks at every bar's code, flat or not."""
    with pytest.raises(StrategyError, match="entry: 7 at bar 5"):
        run(Signals(entry=entries(N, {1: 1, 5: 7})))


def test_read_only_and_strided_arrays_trade_like_any_other():
    """Features are read-only and a user's array may be a column: the result is the same and the input untouched."""
    wide = np.zeros((N, 2), dtype=np.int8)
    wide[:, 0] = GO
    frozen = np.full(N, 1.5)
    frozen.setflags(write=False)
    odd = run(Signals(entry=wide[:, 0], stop_distance=frozen))
    plain = run(Signals(entry=GO, stop_distance=frozen.copy()))
    assert odd.fills.tobytes() == plain.fills.tobytes()
    assert len(odd.fills) > 0
    assert not frozen.flags.writeable


def test_everything_lines_up_with_the_bars():
    """Equity and position have one value per bar; tables carry the bars' times; records have the documented types."""
    sim = run(Signals(entry=GO, rules=Rules(stop_loss_pct=0.05)), costs=Costs(fee_bps=5.0, slippage_bps=5.0))
    assert (sim.fills.dtype, sim.trades.dtype) == (FILL, TRADE)
    assert len(sim.equity) == len(sim.position) == N
    fills, trades = sim.fills_frame, sim.trades_frame
    assert (fills["time"].to_numpy() == BARS.index[fills["bar"]].to_numpy()).all()
    assert (trades["entry_time"].to_numpy() == BARS.index[trades["entry_bar"]].to_numpy()).all()
    assert trades["pnl"].sum() == pytest.approx(sim.equity[-1] - 10_000.0)
    assert fills["fee"].sum() == pytest.approx(sim.fees_paid) == pytest.approx(trades["fees"].sum())
    assert set(fills["trade"]) == set(range(len(trades)))
    assert fills["reason"].iloc[0] == "entry"
    assert sim.position[-1] == 0.0


def test_records_have_no_padding():
    """Equal records are equal bytes: nothing uninitialised lies between the fields."""
    for dtype in (FILL, TRADE):
        assert dtype.itemsize == sum(dtype[name].itemsize for name in dtype.names)


def test_more_trades_than_there_was_room_for():
    """The room for records grows and the run starts again: the same fills as when there was room from the start."""
    n = 6_000
    bars = random_bars(5, n)
    turns = Signals(entry=np.where(np.arange(n) % 2 == 0, 1, -1).astype(np.int8))
    cold = _in_a_new_thread(turns, bars)
    warm = run(turns, bars)
    assert len(cold.trades) > 5_000
    assert cold.fills.tobytes() == warm.fills.tobytes()
    assert cold.trades.tobytes() == warm.trades.tobytes()
    np.testing.assert_array_equal(cold.equity, warm.equity)
    assert cold.equity[-1] == pytest.approx(10_000.0 + cold.trades["pnl"].sum())


def _in_a_new_thread(signals, bars):
    """A thread has its own room, which begins small."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(run, signals, bars).result()


@pytest.mark.parametrize("cooldown", [N, 10_000_000])
def test_a_cooldown_longer_than_the_market_ends_the_trading(cooldown):
    """After the first exit nothing is decided any more, however far beyond the end the cooldown reaches."""
    sim = run(Signals(entry=GO, rules=Rules(max_hold_bars=2, cooldown_bars=cooldown)))
    assert len(sim.trades) == 1
    assert (sim.equity[5:] == sim.equity[4]).all()


def test_an_empty_simulation_has_empty_tables():
    """No signal: no fill, no trade, and the tables have their columns all the same."""
    sim = run(Signals(entry=np.zeros(N, dtype=np.int8)))
    assert sim.fills_frame.empty
    assert sim.trades_frame.empty
    assert "mae" in sim.trades_frame.columns
    assert "reason" in sim.fills_frame.columns


def test_excursions_by_hand():
    """Bought at 100, bars span 95 to 108, out at 102: worst -5 %, best +8 %; the exit bar's range does not count."""
    flat = (100.0, 100.0, 100.0, 100.0)
    bars = bars_of([flat, (100, 104, 95, 101), (101, 108, 99, 103), (102, 130, 80, 100), flat])
    sim = run(Signals(entry=entries(5, {0: 1}), exit=entries(5, {2: 1})), bars)
    trade = sim.trades_frame.iloc[0]
    assert (trade["exit_price"], trade["bars_held"]) == (102.0, 2)
    assert trade["mae"] == pytest.approx(-0.05)
    assert trade["mfe"] == pytest.approx(0.08)


def test_equal_behaviour_has_an_equal_hash():
    """Another reason or fee is the same behaviour; another bar, side, size or price is not."""
    base = run(Signals(entry=GO))
    far = run(Signals(entry=GO, rules=Rules(stop_loss_pct=0.99)))
    dear = simulate(BARS, Signals(entry=GO), costs=FREE, execution=Execution(sizing="fixed_units", size=1.0))
    dearer = simulate(
        BARS,
        Signals(entry=GO),
        costs=Costs(fee_bps=10.0, slippage_bps=0.0),
        execution=Execution(sizing="fixed_units", size=1.0),
    )
    assert base.fills_hash == far.fills_hash
    assert dear.fills_hash == dearer.fills_hash != base.fills_hash
    assert run(Signals(entry=entries(N, {2: 1}))).fills_hash != base.fills_hash
    assert run(Signals(entry=-GO)).fills_hash != base.fills_hash


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    n=st.integers(3, 60),
    cut=st.integers(2, 59),
    fill=st.sampled_from(["next_open", "same_close"]),
)
def test_nothing_fills_on_what_comes_later(seed, n, cut, fill):
    """Cut the market after bar t: fills before t, and equity before t, are the same bits."""
    cut = min(cut, n - 1)
    rules = Rules(stop_loss_pct=0.06, trailing_stop_pct=0.08, break_even_pct=0.03, partial_fractions=(0.5,))
    bars = random_bars(seed, n)
    signals = random_signals(seed, bars, rules, density=0.3, optional=frozenset({"exit", "size", "trail_distance"}))
    arrays = ("entry", "exit", "size", "stop_distance", "target_distance", "trail_distance", "partial_levels")
    short = {name: value[:cut].copy() for name in arrays if (value := getattr(signals, name)) is not None}
    costs, execution = Costs(fee_bps=5.0, slippage_bps=5.0), Execution(fill=fill)
    whole = simulate(bars, signals, costs=costs, execution=execution)
    part = simulate(bars.slice(0, cut), Signals(**short, rules=rules), costs=costs, execution=execution)
    before = cut - 1  # the last bar of the cut market closes its position
    assert whole.fills[whole.fills["bar"] < before].tobytes() == part.fills[part.fills["bar"] < before].tobytes()
    np.testing.assert_array_equal(whole.equity[:before], part.equity[:before])


def test_outcomes_are_pinned_to_the_kernel_version():
    """The same inputs give these outcomes for as long as KERNEL_VERSION stands; if this fails, raise it on purpose."""
    digest = hashlib.sha256()
    for seed in range(40):
        rules = Rules(stop_loss_pct=0.06, trailing_stop_pct=0.08, partial_fractions=(0.5,), cooldown_bars=seed % 3)
        bars = random_bars(seed, 60)
        signals = random_signals(seed, bars, rules, density=0.2, optional=frozenset({"exit", "size", "stop_distance"}))
        execution = Execution(fill="next_open" if seed % 2 else "same_close")
        sim = simulate(bars, signals, costs=Costs(fee_bps=5.0, slippage_bps=5.0), execution=execution)
        shown = {name: f"{value:.9e}" for name, value in compute_metrics(sim, bars).items() if value is not None}
        digest.update(repr((np.round(sim.equity, 6).tolist(), shown)).encode())
    assert (KERNEL_VERSION, digest.hexdigest()[:16]) == (1, "086782a36e57e82c")


def test_whatever_the_types_of_the_arguments_one_machine_code_serves():
    """Integers for floats, read-only arrays, slices: none of them costs another compilation."""
    sim = run(Signals(entry=GO))
    compute_metrics(sim, BARS)
    before = len(trade.overloads), len(measure.overloads)
    frozen = GO.copy()
    frozen.setflags(write=False)
    part = BARS.slice(2, 30)
    sim = simulate(
        part,
        Signals(entry=frozen[2:30], size=np.ones(28), rules=Rules(stop_loss_pct=0, max_hold_bars=3)),
        costs=Costs(fee_bps=1, slippage_bps=1),
        execution=Execution(capital=500, size=1, units="whole"),
        trade_from=np.int64(2),
    )
    compute_metrics(sim, part)
    assert (len(trade.overloads), len(measure.overloads)) == before == (1, 1)
