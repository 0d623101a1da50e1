"""Cases worked by hand: one rule each, right to the cent. `docs/execution.md` shows the same tables."""

from __future__ import annotations

import numpy as np
import pytest
from tests.engine.markets import AT_CLOSE, AT_OPEN, FREE, bars_of, entries

from genesis.engine.fills import REASONS
from genesis.engine.kernel import simulate
from genesis.types import Costs, Execution, Rules, Signals

FLAT = (100.0, 100.0, 100.0, 100.0)


def run(rows, at, *, rules=None, costs=FREE, execution=AT_OPEN, trade_from=0, **arrays):
    """Fills as (bar, side, units, price, reason) and the equity, rounded to a millionth."""
    bars = bars_of(rows)
    n = len(bars)
    given = {name: np.full(n, value) if np.isscalar(value) else np.asarray(value) for name, value in arrays.items()}
    signals = Signals(entry=entries(n, at), rules=rules or Rules(), **given)
    sim = simulate(bars, signals, costs=costs, execution=execution, trade_from=trade_from)
    fills = [
        (int(f["bar"]), int(f["side"]), round(float(f["units"]), 6), round(float(f["price"]), 6), REASONS[f["reason"]])
        for f in sim.fills
    ]
    return fills, [round(x, 6) for x in sim.equity.tolist()], sim


def test_a_decision_at_the_close_fills_at_the_next_open():
    """Decided at close 0, bought at open 1 (102): 10,000 / 102 units; sold at the last close."""
    fills, equity, _ = run([(100, 101, 99, 100), (102, 105, 101, 104), (104, 107, 103, 106)], {0: 1})
    assert fills == [(1, 1, 98.039216, 102.0, "entry"), (2, -1, 98.039216, 106.0, "end")]
    assert equity == [10_000.0, 10_196.078431, 10_392.156863]


def test_same_close_fills_at_the_deciding_close():
    """Decided and bought at close 0 (100): 100 units, marked at 104, sold at 106."""
    rows = [(100, 101, 99, 100), (102, 105, 101, 104), (104, 107, 103, 106)]
    fills, equity, _ = run(rows, {0: 1}, execution=AT_CLOSE)
    assert fills == [(0, 1, 100.0, 100.0, "entry"), (2, -1, 100.0, 106.0, "end")]
    assert equity == [10_000.0, 10_400.0, 10_600.0]


def test_a_short_gains_when_the_price_falls():
    """100 units sold at 100 and bought back at 90: 1,000 gained."""
    fills, equity, _ = run([FLAT, (100, 100, 95, 95), (95, 95, 90, 90)], {0: -1})
    assert fills == [(1, -1, 100.0, 100.0, "entry"), (2, 1, 100.0, 90.0, "end")]
    assert equity == [10_000.0, 10_500.0, 11_000.0]


def test_costs_to_the_cent():
    """50 units; fee 10 bps + 1, slippage 20 bps: bought at 100.20 for 5,010 + 6.01, sold at 109.78 less 6.489."""
    costs = Costs(fee_bps=10.0, slippage_bps=20.0, fee_fixed=1.0)
    execution = Execution(sizing="fixed_units", size=50.0)
    fills, equity, sim = run([FLAT, FLAT, (110, 110, 110, 110)], {0: 1}, costs=costs, execution=execution)
    assert fills == [(1, 1, 50.0, 100.2, "entry"), (2, -1, 50.0, 109.78, "end")]
    assert equity == [10_000.0, 9_983.99, 10_466.501]
    assert sim.fees_paid == pytest.approx(6.01 + 6.489)
    assert float(sim.trades["pnl"][0]) == pytest.approx(466.501)


def test_all_the_cash_includes_the_fees():
    """With 1 % fee and 100 fixed, 10,000 buys (10,000 - 100) / 101 = 98.019802 units, and no cash is left."""
    costs = Costs(fee_bps=100.0, slippage_bps=0.0, fee_fixed=100.0)
    fills, equity, _ = run([FLAT, FLAT, FLAT], {0: 1}, costs=costs)
    assert fills[0] == (1, 1, 98.019802, 100.0, "entry")
    assert equity[1] == pytest.approx(9_801.980198)


@pytest.mark.parametrize(
    ("execution", "weight", "units"),
    [
        (Execution(sizing="equity_fraction", size=0.5), None, 50.0),
        (Execution(sizing="equity_fraction", size=0.5), 0.5, 25.0),
        (Execution(sizing="fixed_cash", size=2_500.0), None, 25.0),
        (Execution(sizing="fixed_cash", size=2_500.0), 2.0, 50.0),
        (Execution(sizing="fixed_units", size=7.0), None, 7.0),
        (Execution(sizing="fixed_units", size=7.0), 0.5, 3.5),
        (Execution(sizing="fixed_units", size=7.0, units="whole"), 0.5, 3.0),
        (Execution(sizing="fixed_units", size=700.0), None, 100.0),
        (Execution(sizing="equity_fraction", size=3.0), None, 100.0),
    ],
)
def test_each_way_of_sizing(execution, weight, units):
    """Fraction, cash or units, times the signal's size; never beyond the cash, for no order is levered."""
    arrays = {} if weight is None else {"size": weight}
    for side in (1, -1):
        fills, _, _ = run([FLAT, FLAT, FLAT], {0: side}, execution=execution, **arrays)
        assert fills[0][2] == units


def test_an_entry_too_small_for_one_whole_unit_is_counted_not_filled():
    """Half a unit cannot be bought in whole units: no fill, one unfilled entry."""
    fills, equity, sim = run(
        [FLAT, FLAT, FLAT], {0: 1}, execution=Execution(units="whole", sizing="fixed_units", size=0.5)
    )
    assert (fills, sim.unfilled) == ([], 1)
    assert equity == [10_000.0] * 3


def test_a_stop_inside_the_bar_fills_at_the_stop():
    """Bought at 100, stop 5 % at 95, low 94: out at 95."""
    fills, _, _ = run([FLAT, FLAT, (99, 101, 94, 100), FLAT], {0: 1}, rules=Rules(stop_loss_pct=0.05))
    assert fills[1] == (2, -1, 100.0, 95.0, "stop_loss")


def test_a_gap_over_the_stop_fills_at_the_open():
    """Stop 95, the bar opens at 90: out at 90, not at 95."""
    fills, _, _ = run([FLAT, FLAT, (90, 96, 89, 95), FLAT], {0: 1}, rules=Rules(stop_loss_pct=0.05))
    assert fills[1] == (2, -1, 100.0, 90.0, "stop_loss")


def test_a_gap_over_the_target_fills_at_the_better_open():
    """Target 110, the bar opens at 112: out at 112."""
    fills, _, _ = run(
        [FLAT, FLAT, (112, 113, 90, 95), FLAT], {0: 1}, rules=Rules(take_profit_pct=0.1, stop_loss_pct=0.05)
    )
    assert fills[1] == (2, -1, 100.0, 112.0, "take_profit")


def test_stop_and_target_in_one_bar_is_a_stop():
    """Low 94 and high 111 around stop 95 and target 110: the worse is taken, for longs and for shorts."""
    rules = Rules(stop_loss_pct=0.05, take_profit_pct=0.1)
    fills, _, _ = run([FLAT, FLAT, (100, 111, 94, 110), FLAT], {0: 1}, rules=rules)
    assert fills[1] == (2, -1, 100.0, 95.0, "stop_loss")
    fills, _, _ = run([FLAT, FLAT, (100, 106, 89, 90), FLAT], {0: -1}, rules=rules)
    assert fills[1] == (2, 1, 100.0, 105.0, "stop_loss")


def test_an_entry_at_the_open_may_be_stopped_in_its_own_bar_one_at_the_close_may_not():
    """Bar 1 falls to 90: an entry at its open is out at 95; an entry at its close saw that fall before it began."""
    rows = [FLAT, (100, 101, 90, 100), (100, 101, 96, 100), FLAT]
    rules = Rules(stop_loss_pct=0.05)
    fills, _, _ = run(rows, {0: 1}, rules=rules)
    assert fills[1] == (1, -1, 100.0, 95.0, "stop_loss")
    fills, _, _ = run(rows, {1: 1}, rules=rules, execution=AT_CLOSE)
    assert fills[1] == (3, -1, 100.0, 100.0, "end")


def test_the_tighter_of_percentage_and_distance_is_the_stop():
    """5 % is 95, a distance of 3 is 97: out at 97; of 8 is 92: out at 95."""
    rows = [FLAT, FLAT, (99, 100, 90, 95), FLAT]
    for distance, price in ((3.0, 97.0), (8.0, 95.0), (np.nan, 95.0), (0.0, 95.0)):
        fills, _, _ = run(rows, {0: 1}, rules=Rules(stop_loss_pct=0.05), stop_distance=distance)
        assert fills[1][3] == price


def test_a_distance_is_read_at_the_deciding_bar():
    """Distance 3 at bar 0, which decides, 50 afterwards: the stop stays at 97."""
    fills, _, _ = run([FLAT, FLAT, (99, 100, 90, 95), FLAT], {0: 1}, stop_distance=[3.0, 50.0, 50.0, 50.0])
    assert fills[1] == (2, -1, 100.0, 97.0, "stop_loss")


def test_levels_count_from_the_fill_price_with_its_slippage():
    """Bought at 101 with 1 % slippage: the 10 % stop is 90.90, filled at 90.90 * 0.99 = 89.991."""
    costs = Costs(fee_bps=0.0, slippage_bps=100.0)
    fills, _, _ = run([FLAT, FLAT, (99, 100, 90, 95), FLAT], {0: 1}, rules=Rules(stop_loss_pct=0.1), costs=costs)
    assert fills[1][3:] == (89.991, "stop_loss")


def test_a_trailing_stop_follows_the_best_price_of_finished_bars_only():
    """Bar 2 spans 105 to 120: not stopped, though 10 % under 120 is 108; bar 3 is, at 108."""
    rows = [FLAT, FLAT, (106, 120, 105, 115), (114, 116, 107, 110), FLAT]
    fills, _, _ = run(rows, {0: 1}, rules=Rules(trailing_stop_pct=0.1))
    assert fills[1] == (3, -1, 100.0, 108.0, "trailing_stop")


def test_a_trailing_distance_works_alike_and_before_any_rise_it_is_a_stop():
    """15 under the best price, 100 at entry: 85 in bar 2; after a high of 120 it is 105."""
    fills, _, _ = run([FLAT, FLAT, (90, 90, 80, 90), FLAT], {0: 1}, trail_distance=15.0)
    assert fills[1] == (2, -1, 100.0, 85.0, "trailing_stop")
    rows = [FLAT, FLAT, (100, 120, 100, 115), (114, 116, 104, 110), FLAT]
    fills, _, _ = run(rows, {0: 1}, trail_distance=15.0)
    assert fills[1] == (3, -1, 100.0, 105.0, "trailing_stop")


def test_break_even_moves_the_stop_to_the_entry_after_the_bar_that_earned_it():
    """A high of 103 (3 %) lifts the stop from 90 to 100 for the next bar, which falls to 99: out at 100."""
    rows = [FLAT, FLAT, (100, 103, 98, 102), (102, 102, 99, 101), FLAT]
    rules = Rules(stop_loss_pct=0.1, break_even_pct=0.03)
    fills, _, _ = run(rows, {0: 1}, rules=rules)
    assert fills[1] == (3, -1, 100.0, 100.0, "break_even")
    fills, _, _ = run(rows, {0: 1}, rules=Rules(stop_loss_pct=0.1, break_even_pct=0.031))
    assert fills[1] == (4, -1, 100.0, 100.0, "end")


def test_partial_exits_leave_at_their_levels_and_the_rest_goes_on():
    """Half leaves at 105, a quarter at 110, the last quarter at the end (108): 250 + 250 + 200 = 700."""
    rows = [FLAT, FLAT, (100, 106, 99, 104), (104, 111, 103, 109), (109, 109, 107, 108)]
    rules = Rules(partial_fractions=(0.5, 0.25))
    fills, equity, sim = run(rows, {0: 1}, rules=rules, partial_levels=np.tile([105.0, 110.0], (5, 1)))
    assert fills[1:] == [
        (2, -1, 50.0, 105.0, "partial"),
        (3, -1, 25.0, 110.0, "partial"),
        (4, -1, 25.0, 108.0, "end"),
    ]
    assert equity == [10_000.0, 10_000.0, 10_450.0, 10_725.0, 10_700.0]
    assert len(sim.trades) == 1
    assert float(sim.trades["pnl"][0]) == pytest.approx(700.0)
    assert sim.position.tolist() == [0.0, 100.0, 50.0, 25.0, 0.0]


def test_a_partial_level_gapped_over_fills_at_the_open_even_if_the_bar_then_stops():
    """Open 107 beyond the level 105: half leaves at 107; the bar then falls to 94, the rest at the stop, 95."""
    rules = Rules(partial_fractions=(0.5,), stop_loss_pct=0.05)
    levels = np.full((4, 1), 105.0)
    fills, _, _ = run([FLAT, FLAT, (107, 108, 94, 95), FLAT], {0: 1}, rules=rules, partial_levels=levels)
    assert fills[1:] == [(2, -1, 50.0, 107.0, "partial"), (2, -1, 50.0, 95.0, "stop_loss")]
    fills, _, _ = run([FLAT, FLAT, (104, 108, 94, 95), FLAT], {0: 1}, rules=rules, partial_levels=levels)
    assert fills[1:] == [(2, -1, 100.0, 95.0, "stop_loss")]


def test_a_partial_level_behind_the_fill_or_beyond_the_target_never_fills():
    """Level 99 is behind a long bought at 100; level 112 lies beyond the target 110, which takes everything."""
    rules = Rules(partial_fractions=(0.5, 0.5), take_profit_pct=0.1)
    levels = np.tile([99.0, 112.0], (4, 1))
    fills, _, _ = run([FLAT, FLAT, (100, 115, 99, 114), FLAT], {0: 1}, rules=rules, partial_levels=levels)
    assert fills[1:] == [(2, -1, 100.0, 110.0, "take_profit")]


def test_partials_in_whole_units_round_down():
    """A third of 10 units is 3; a tenth of 5 would be nothing and is skipped."""
    execution = Execution(sizing="fixed_units", size=10.0, units="whole")
    rules = Rules(partial_fractions=(1 / 3,))
    fills, _, _ = run(
        [FLAT, FLAT, (100, 106, 99, 104), FLAT],
        {0: 1},
        rules=rules,
        execution=execution,
        partial_levels=np.full((4, 1), 105.0),
    )
    assert [f[2] for f in fills] == [10.0, 3.0, 7.0]


@pytest.mark.parametrize("execution", [AT_OPEN, AT_CLOSE])
def test_max_hold_is_the_distance_from_entry_to_exit_in_bars(execution):
    """With max_hold_bars=3 the exit bar is the entry bar plus three, whichever the fill."""
    fills, _, _ = run([FLAT] * 9, {1: 1}, rules=Rules(max_hold_bars=3), execution=execution)
    assert fills[1][0] - fills[0][0] == 3
    assert fills[1][4] == "max_hold"


def test_exit_bits_leave_longs_and_shorts_apart():
    """Bit 1 leaves a long, bit 2 a short, 3 both; the fill is the next open."""
    for side, bits, leaves in ((1, 1, True), (1, 2, False), (-1, 1, False), (-1, 2, True), (1, 3, True), (-1, 3, True)):
        fills, _, _ = run([FLAT] * 5, {0: side}, exit=np.array([0, 0, bits, 0, 0], dtype=np.int8))
        assert fills[1][0::4] == ((3, "signal") if leaves else (4, "end"))


@pytest.mark.parametrize(
    ("opposite", "wanted"),
    [
        ("reverse", [(1, 1, "entry"), (3, -1, "opposite"), (3, -1, "entry"), (5, 1, "end")]),
        ("exit", [(1, 1, "entry"), (3, -1, "opposite")]),
        ("ignore", [(1, 1, "entry"), (5, -1, "end")]),
    ],
)
def test_an_opposite_entry_reverses_exits_or_is_ignored(opposite, wanted):
    """Long from bar 1, a short entry decided at bar 2."""
    fills, _, _ = run([FLAT] * 6, {0: 1, 2: -1}, rules=Rules(opposite=opposite))
    assert [(f[0], f[1], f[4]) for f in fills] == wanted


def test_an_exit_signal_wins_over_an_entry_in_the_same_direction():
    """Exit and another long entry at bar 2: out at open 3, and that entry is spent."""
    fills, _, _ = run([FLAT] * 6, {0: 1, 2: 1}, exit=np.array([0, 0, 1, 0, 0, 0], dtype=np.int8))
    assert [(f[0], f[4]) for f in fills] == [(1, "entry"), (3, "signal")]


@pytest.mark.parametrize(("cooldown", "entry_bar"), [(0, 3), (1, 4), (3, 6)])
def test_cooldown_counts_from_the_bar_of_the_exit(cooldown, entry_bar):
    """Stopped in bar 2; entries wanted at every close: the first decided is at bar 2 + cooldown."""
    rows = [FLAT, FLAT, (99, 100, 90, 95), *[FLAT] * 6]
    at = dict.fromkeys(range(9), 1)
    fills, _, _ = run(rows, at, rules=Rules(stop_loss_pct=0.05, cooldown_bars=cooldown))
    assert fills[2][0] == entry_bar


def test_a_cooldown_makes_a_reversal_an_exit():
    """With cooldown 2 the opposite entry at bar 2 only leaves at open 3; the short decided at bar 5 is the next."""
    fills, _, _ = run([FLAT] * 8, {0: 1, 2: -1, 4: -1, 5: -1}, rules=Rules(cooldown_bars=2))
    assert [(f[0], f[1], f[4]) for f in fills[:3]] == [(1, 1, "entry"), (3, -1, "opposite"), (6, -1, "entry")]


def test_nothing_decided_at_the_last_close_is_filled():
    """There is no next open, and a position bought at the last close would only be sold there."""
    for execution in (AT_OPEN, AT_CLOSE):
        fills, equity, _ = run([FLAT, FLAT, FLAT], {2: 1}, execution=execution)
        assert fills == []
        assert equity == [10_000.0] * 3


def test_no_entry_is_decided_before_trade_from():
    """An entry wanted at bars 0..5 with trade_from=3 is bought at open 4; equity before is the capital."""
    fills, _, _ = run([FLAT] * 7, dict.fromkeys(range(6), 1), trade_from=3)
    assert fills[0][0] == 4


def test_a_short_that_loses_everything_is_closed_at_the_close_and_trading_stops():
    """100 units short at 100; at close 2 the price is 210: equity -1,000. Closed there, and never traded again."""
    rows = [FLAT, FLAT, (150, 215, 150, 210), (50, 50, 50, 50), (50, 50, 50, 50)]
    fills, equity, sim = run(rows, {0: -1, 2: 1, 3: 1})
    assert fills == [(1, -1, 100.0, 100.0, "entry"), (2, 1, 100.0, 210.0, "bankrupt")]
    assert equity == [10_000.0, 10_000.0, -1_000.0, -1_000.0, -1_000.0]
    assert (sim.bankrupt, sim.bankrupt_bar) == (True, 2)
