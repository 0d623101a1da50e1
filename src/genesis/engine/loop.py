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
    MAX_HOLD,
    OPPOSITE,
    PARTIAL,
    SIGNAL,
    STOP,
    TARGET,
    TRAILING,
)
from genesis.engine.quiet import at, find_coded, find_flagged, mark_flat, mark_held
from genesis.types import FloatArray

OK, BAD_ENTRY, BAD_SIZE, BAD_DISTANCE, FULL = range(5)
DUST = 1e-9  # a remainder below this share of the entry is rounding, and leaves with the last part


@jit
def _kept(records: NDArray[Any], count: int) -> NDArray[Any]:
    """A copy of the first `count` records."""
    kept = np.empty(count, records.dtype)
    for k in range(count):  # not a slice: assigning one compiles its error message too, for two seconds
        kept[k] = records[k]
    return kept


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
    fill_room: NDArray[Any],
    trade_room: NDArray[Any],
) -> tuple[int, int, int, NDArray[Any], NDArray[Any]]:
    """Trade one set of signals; an optional array of length 0 stands for None. Lengths are the caller's promise.

    Returns (status, bar of the problem or of the bankruptcy or -1, unfilled entries, fills, trades) and fills
    `equity[n]`. Records are written into `fill_room` and `trade_room`, and copied from there once their number is
    known: an array that could grow would count its references on every trade (an eighth of a microsecond each).
    FULL says that the room was too small, and nothing else.
    """
    n = close.size
    fill_count: Any = np.int64(0)  # typed: each literal would compile `_write` once more
    trade_count: Any = np.int64(0)
    unfilled = 0
    status = OK
    problem = -1  # bar of a bad signal, or of the bankruptcy
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
    coded = np.empty(n + 1, np.int32)
    find_coded(entry, coded)
    here = 0  # the coded bars before it are past
    front = 0  # the same, of those that a position has passed
    exit_long = exit_short = -1  # the next bar that leaves a long, a short; looked up when the one before it is past
    while True:
        if reversal != 0:
            side = reversal
        else:
            if i < n:
                while coded[at(here)] < i:
                    here += 1
                i = coded[at(here)]
            if i >= n - 1:  # nothing decided at the last close can be filled
                break
            side = int(entry[at(i)])
            if side != 1 and side != -1:
                status, problem = BAD_ENTRY, i
                break
            decided = i
            bar = i + lag

        # --- entry, at the open or the close of `bar`
        raw = open_[bar] if next_open else close[bar]
        price = slipped(raw, side, slippage)
        weight = 1.0
        if size_map.size > 0:
            weight = size_map[decided]
            if not 0.0 < weight < math.inf:
                status, problem = BAD_SIZE, decided
                break
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
            status, problem = BAD_DISTANCE, decided
            break
        if fill_count + parts + 2 > fill_room.size or trade_count == trade_room.size:
            status = FULL
            break
        reversal = 0
        mark_flat(equity, marked, bar, cash)
        fee = fee_rate * units * price + fee_fixed
        cash -= side * units * price + fee
        _write(fill_room[fill_count], bar, side, units, price, fee, trade_count, np.int64(ENTRY))
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
            while coded[at(front)] < j or (coded[at(front)] < quiet and entry[at(coded[at(front)])] == side):
                front += 1
            until = min(quiet, coded[at(front)])
            if exits:
                flagged = exit_long if side > 0 else exit_short
                if flagged < j:
                    flagged = find_flagged(exit_, j, wanted)
                    if side > 0:
                        exit_long = flagged
                    else:
                        exit_short = flagged
                until = min(until, flagged)
            if not watched:
                if j < until:
                    if mark_held(equity, close, j, until, cash, signed):
                        while equity[at(j)] > 0.0:
                            j += 1
                    else:
                        j = until
            else:
                # prices times the side: what is worse is then smaller for a short too, without a choice or a branch
                sign = float(side)
                floor = sign * stop
                ceiling = sign * limit
                if even_pct > 0.0 and side * (price - stop) > 0.0:
                    ceiling = min(ceiling, sign * even_at)  # the bar that moves the stop to the entry price
                top = sign * best
                # the trail on every bar, infinitely far when there is none: a branch on each new best price costs more
                keep = 1.0 - side * trail_pct if trail_pct > 0.0 else 0.0
                no_pct = 0.0 if trail_pct > 0.0 else math.inf
                gap = trail_gap if trail_gap > 0.0 else math.inf
                while j < until:
                    worst = sign * (low[at(j)] if side > 0 else high[at(j)])
                    reach = sign * (high[at(j)] if side > 0 else low[at(j)])
                    value = cash + signed * close[at(j)]
                    if worst <= floor or reach >= ceiling or not value > 0.0:
                        break
                    equity[at(j)] = value
                    j += 1
                    top = max(top, reach)
                    floor = max(floor, max(top * keep - no_pct, top - gap))
                if floor > sign * stop:
                    stop = sign * floor
                    stop_reason = TRAILING
                best = sign * top
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
                        for turn in range(2):
                            for k in range(parts):
                                if turn == 0:
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
                                if units - part <= DUST * entry_units:
                                    part = units
                                price_out = slipped(raw, -side, slippage)
                                fee = fee_rate * part * price_out + fee_fixed
                                cash += side * part * price_out - fee
                                fees += fee
                                exit_value += part * price_out
                                units = 0.0 if part == units else units - part
                                _write(
                                    fill_room[fill_count],
                                    j,
                                    -side,
                                    part,
                                    price_out,
                                    fee,
                                    trade_count,
                                    np.int64(PARTIAL),
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
                status, problem = BAD_ENTRY, j
                break
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

        if status != OK:
            break

        # --- exit of what is left, at `raw` in `out_bar`
        if units > 0.0:
            price_out = slipped(raw, -side, slippage)
            fee = fee_rate * units * price_out + fee_fixed
            cash += side * units * price_out - fee
            fees += fee
            exit_value += units * price_out
            _write(fill_room[fill_count], out_bar, -side, units, price_out, fee, trade_count, reason)
            fill_count += 1
        record = trade_room[trade_count]
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
            problem = out_bar
            break
        if reversal != 0:
            marked = out_bar
    mark_flat(equity, marked, n, cash)
    return status, problem, unfilled, _kept(fill_room, fill_count), _kept(trade_room, trade_count)
