"""The compiled position loop and the helpers inlined into it; `kernel.py` is its doorway.

The order of events inside a bar is written in `docs/execution.md`; the comments name its steps.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genesis.engine.compile import jit, rule
from genesis.engine.execution import EXIT, REVERSE, first_stop, first_target, sized, slipped, trailing_stop
from genesis.engine.fills import (
    BANKRUPT,
    BREAK_EVEN,
    END,
    ENTRY,
    FILL,
    MAX_HOLD,
    OPPOSITE,
    PARTIAL,
    SIGNAL,
    STOP,
    TARGET,
    TRADE,
    TRAILING,
)
from genesis.types import FloatArray

OK, BAD_ENTRY, BAD_SIZE, BAD_DISTANCE = range(4)
_DUST = 1e-9  # a remainder below this share of the entry is rounding, and leaves with the last part


@jit
def _grown(records: NDArray[Any], count: int) -> NDArray[Any]:
    larger = np.empty(2 * records.size, records.dtype)
    for k in range(count):  # not a slice: assigning one compiles its error message too, for two seconds
        larger[k] = records[k]
    return larger


@rule
def _write(fill: Any, bar: int, side: int, units: float, price: float, fee: float, number: int, reason: Any) -> None:
    fill.bar = bar
    fill.side = side
    fill.units = units
    fill.price = price
    fill.fee = fee
    fill.trade = number
    fill.reason = reason


@rule
def tightened(
    stop: float,
    reason: int,
    best: float,
    price: float,
    side: int,
    trail_pct: float,
    trail_gap: float,
    even_pct: float,
    even_at: float,
) -> tuple[float, int]:
    """Stop and its reason after a new best price; it only ever comes nearer, and an equal level keeps the old name."""
    trail = trailing_stop(best, side, trail_pct, trail_gap)
    if side * (trail - stop) > 0.0:
        stop = trail
        reason = TRAILING
    if even_pct > 0.0 and side * (best - even_at) >= 0.0 and side * (price - stop) > 0.0:
        stop = price
        reason = BREAK_EVEN
    return stop, reason


@jit
def trade(
    open_: FloatArray,
    high: FloatArray,
    low: FloatArray,
    close: FloatArray,
    entry: NDArray[np.int8],
    exit_: NDArray[np.int8],
    size_map: FloatArray,
    stop_distance: FloatArray,
    target_distance: FloatArray,
    trail_distance: FloatArray,
    levels: FloatArray,
    fractions: FloatArray,
    next_open: bool,
    capital: float,
    fee_rate: float,
    slippage: float,
    fee_fixed: float,
    sizing: int,
    size: float,
    whole: bool,
    max_hold: int,
    stop_pct: float,
    target_pct: float,
    trail_pct: float,
    even_pct: float,
    cooldown: int,
    opposite: int,
    trade_from: int,
    equity: FloatArray,
) -> tuple[int, int, int, int, NDArray[Any], int, NDArray[Any], int]:
    """Trade one set of signals; an optional array of length 0 stands for None. Lengths are the caller's promise.

    Returns (status, bar of the problem or of the bankruptcy or -1, unfilled entries, index of the first bar not in
    `equity` (always n), fills, their number, trades, their number) and fills `equity[n]`.
    """
    n = close.size
    fills = np.empty(64, FILL)
    trades = np.empty(32, TRADE)
    fill_count: Any = np.int64(0)  # typed: each literal would compile `_write` once more
    trade_count: Any = np.int64(0)
    unfilled = 0
    bankrupt_bar = -1
    cash = capital
    lag = 1 if next_open else 0
    exits = exit_.size > 0
    parts = fractions.size
    level = np.empty(parts, np.float64)
    i = trade_from  # the next bar whose close may decide an entry
    marked = 0  # equity is written before this bar
    reversal = 0  # side of an entry that an exit at the same price makes room for
    bar = 0
    decided = 0
    while True:
        if reversal != 0:
            side = reversal
        else:
            while i < n - 1 and entry[i] == 0:
                i += 1
            if i >= n - 1:  # nothing decided at the last close can be filled
                break
            side = int(entry[i])
            if side != 1 and side != -1:
                return BAD_ENTRY, i, unfilled, marked, fills, fill_count, trades, trade_count
            decided = i
            bar = i + lag

        # --- entry, at the open or the close of `bar`
        raw = open_[bar] if next_open else close[bar]
        price = slipped(raw, side, slippage)
        weight = 1.0
        if size_map.size > 0:
            weight = size_map[decided]
            if not 0.0 < weight < math.inf:
                return BAD_SIZE, decided, unfilled, marked, fills, fill_count, trades, trade_count
        units = sized(cash, price, size, weight, sizing, whole, fee_rate, fee_fixed)
        if not units > 0.0:
            unfilled += 1
            if reversal != 0:
                reversal = 0
                i = bar if next_open else bar + 1
            else:
                i += 1
            continue
        stop_gap = stop_distance[decided] if stop_distance.size > 0 else 0.0
        target_gap = target_distance[decided] if target_distance.size > 0 else 0.0
        trail_gap = trail_distance[decided] if trail_distance.size > 0 else 0.0
        if stop_gap < 0.0 or target_gap < 0.0 or trail_gap < 0.0:
            return BAD_DISTANCE, decided, unfilled, marked, fills, fill_count, trades, trade_count
        reversal = 0
        for j in range(marked, bar):
            equity[j] = cash
        fee = fee_rate * units * price + fee_fixed
        cash -= side * units * price + fee
        if fill_count == fills.size:
            fills = _grown(fills, fill_count)
        _write(fills[fill_count], bar, side, units, price, fee, trade_count, np.int64(ENTRY))
        fill_count += 1
        entry_units = units
        fees = fee
        exit_value = 0.0

        best = price
        stop = first_stop(price, side, stop_pct, stop_gap)
        stop_reason = STOP
        target = first_target(price, side, target_pct, target_gap)
        trails = trail_pct > 0.0 or trail_gap > 0.0
        ratchets = trails or even_pct > 0.0
        even_at = price * (1.0 + side * even_pct)
        if trails:
            trail = trailing_stop(best, side, trail_pct, trail_gap)
            if side * (trail - stop) > 0.0:
                stop = trail
                stop_reason = TRAILING
        live = 0  # partial exits still to come
        for k in range(parts):
            level[k] = levels[decided, k]
            if side * (level[k] - price) > 0.0:
                live += 1
            else:
                level[k] = math.nan
        watched = live > 0 or ratchets or not (math.isinf(stop) and math.isinf(target))

        # --- holding, bar by bar
        wanted = 1 if side > 0 else 2
        reason = 0
        out_bar = 0
        j = bar
        reach = price
        if not next_open:  # entered at the close: this bar's high and low came before
            equity[bar] = cash + side * units * close[bar]
            j += 1
        quiet = n - 1  # the first bar at which the position may end for its age or the end of the bars
        if max_hold > 0:
            quiet = min(quiet, bar + max_hold - lag)
        while True:
            # --- bars on which nothing happens: no price in reach, nothing decided
            limit = target  # the nearest price in front that fills something
            if live > 0:
                for k in range(parts):
                    if side * (limit - level[k]) > 0.0:
                        limit = level[k]
            signed = side * units
            while j < quiet:
                if watched:
                    worst = low[j] if side > 0 else high[j]
                    reach = high[j] if side > 0 else low[j]
                    if side * (worst - stop) <= 0.0 or side * (reach - limit) >= 0.0:
                        break
                signal = entry[j]
                if signal != 0 and signal != side:
                    break
                if exits and exit_[j] & wanted:
                    break
                value = cash + signed * close[j]
                if not value > 0.0:
                    break
                equity[j] = value
                j += 1
                if ratchets and side * (reach - best) > 0.0:
                    best = reach
                    stop, stop_reason = tightened(
                        stop, stop_reason, best, price, side, trail_pct, trail_gap, even_pct, even_at
                    )
            # --- a bar on which something may happen
            if watched:
                o = open_[j]
                out_bar = j
                if side * (o - stop) <= 0.0:
                    reason, raw = stop_reason, o
                elif side * (o - target) >= 0.0:
                    reason, raw = TARGET, o
                else:
                    worst = low[j] if side > 0 else high[j]
                    reach = high[j] if side > 0 else low[j]
                    stopped = side * (worst - stop) <= 0.0
                    if live > 0:
                        # levels gapped over fill at the open, before anything inside the bar; a level inside the bar
                        # only if the stop is not touched, and if the target does not come first
                        for at_open in (True, False):
                            for k in range(parts):
                                if at_open:
                                    hit = side * (o - level[k]) >= 0.0
                                    raw = o
                                else:
                                    hit = not stopped and side * (reach - level[k]) >= 0.0
                                    hit = hit and side * (target - level[k]) > 0.0
                                    raw = level[k]
                                if not hit or units == 0.0:
                                    continue
                                level[k] = math.nan
                                live -= 1
                                part = entry_units * fractions[k]
                                if whole:
                                    part = math.floor(part)
                                if not part > 0.0:
                                    continue
                                if units - part <= _DUST * entry_units:
                                    part = units
                                price_out = slipped(raw, -side, slippage)
                                fee = fee_rate * part * price_out + fee_fixed
                                cash += side * part * price_out - fee
                                fees += fee
                                exit_value += part * price_out
                                units = 0.0 if part == units else units - part
                                if fill_count == fills.size:
                                    fills = _grown(fills, fill_count)
                                _write(
                                    fills[fill_count], j, -side, part, price_out, fee, trade_count, np.int64(PARTIAL)
                                )
                                fill_count += 1
                    if units == 0.0:
                        reason = PARTIAL
                    elif stopped:
                        reason, raw = stop_reason, stop
                    elif side * (reach - target) >= 0.0:
                        reason, raw = TARGET, target
                    elif ratchets and side * (reach - best) > 0.0:
                        # the new best price tightens the stop from the next bar on
                        best = reach
                        stop, stop_reason = tightened(
                            stop, stop_reason, best, price, side, trail_pct, trail_gap, even_pct, even_at
                        )
                if reason != 0:
                    i = j + cooldown  # this bar's close may decide again
                    break
            # --- the close: mark, then decide
            value = cash + side * units * close[j]
            equity[j] = value
            signal = entry[j]
            if signal != 0 and signal != side and signal != -side:
                return BAD_ENTRY, j, unfilled, marked, fills, fill_count, trades, trade_count
            if not value > 0.0:
                reason = BANKRUPT
            elif signal == -side and opposite == REVERSE:
                reason = OPPOSITE
            elif exits and exit_[j] & wanted:
                reason = SIGNAL
            elif signal == -side and opposite == EXIT:
                reason = OPPOSITE
            elif max_hold > 0 and j + lag - bar >= max_hold:
                reason = MAX_HOLD
            if reason == BANKRUPT or (j == n - 1 and (next_open or reason == 0)):
                out_bar = j
                raw = close[j]
                if reason != BANKRUPT:
                    reason = END
                i = n
                break
            if reason != 0:
                out_bar = j + lag
                raw = open_[out_bar] if next_open else close[j]
                i = max(j + 1, out_bar + cooldown)
                if reason == OPPOSITE and opposite == REVERSE and cooldown == 0 and out_bar + 1 - lag < n:
                    reversal = signal
                    decided = j
                break
            j += 1

        # --- exit of what is left, at `raw` in `out_bar`
        if units > 0.0:
            price_out = slipped(raw, -side, slippage)
            fee = fee_rate * units * price_out + fee_fixed
            cash += side * units * price_out - fee
            fees += fee
            exit_value += units * price_out
            if fill_count == fills.size:
                fills = _grown(fills, fill_count)
            _write(fills[fill_count], out_bar, -side, units, price_out, fee, trade_count, reason)
            fill_count += 1
        if trade_count == trades.size:
            trades = _grown(trades, trade_count)
        record = trades[trade_count]
        record.entry_bar = bar
        record.exit_bar = out_bar
        record.units = entry_units
        record.entry_price = price
        record.exit_value = exit_value
        record.fees = fees
        record.pnl = side * (exit_value - entry_units * price) - fees
        record.side = side
        record.reason = reason
        trade_count += 1
        equity[out_bar] = cash
        marked = out_bar + 1
        bar = out_bar
        if not cash > 0.0:
            bankrupt_bar = out_bar
            break
        if reversal != 0:
            marked = out_bar
    for j in range(marked, n):
        equity[j] = cash
    return OK, bankrupt_bar, unfilled, n, fills, fill_count, trades, trade_count
