"""The position loop of a batch: the trades of `loop.py` to the bit, without records and with fewer bars looked at.

Three things differ. Signals come as a list of the bars that have an entry code, so nothing is read where none is. Bars
are passed eight at a time wherever the lowest low and the highest high of the eight reach nothing. And what is left
behind is what the metrics read: equity at the bars of trades, one after the other, and the sums over trades.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from genesis.engine.compile import jit
from genesis.engine.execution import EXIT, REVERSE, first_stop, first_target, sized, slipped, trailing_stop
from genesis.engine.fills import BANKRUPT, END, MAX_HOLD, OPPOSITE, PARTIAL, SIGNAL, STOP, TARGET, TRAILING
from genesis.engine.loop import BAD_DISTANCE, BAD_SIZE, DUST, OK, tightened
from genesis.engine.metrics import COUNT, FEES, FINAL, HELD, LOST, PNL, PNL_SQUARES, RETURNS, WINS, WON
from genesis.engine.quiet import at, find_coded, find_flagged
from genesis.types import FloatArray

STEP = 8  # bars passed at once


@jit
def spread_prices(
    high: FloatArray, low: FloatArray, close: FloatArray, single: FloatArray, several: FloatArray, closes: FloatArray
) -> None:
    """Fill the prices as `trade_lane` reads them, for n bars and STEP behind them.

    `single` holds (low, high) of each bar, `several` those of the STEP bars from each bar on; where not all of them are
    there it is infinitely wide, so that nobody passes.
    """
    n = close.shape[0]
    wide = n + STEP
    bottom = np.empty(wide)
    top = np.empty(wide)
    for i in range(n):
        bottom[i] = low[i]
        top[i] = high[i]
        closes[i] = close[i]
        single[at(2 * i)] = low[i]
        single[at(2 * i + 1)] = high[i]
    for i in range(n, wide):
        bottom[i] = -math.inf
        top[i] = math.inf
        closes[i] = close[n - 1]
    for reach in (1, 2, 4):
        for i in range(wide - reach):
            bottom[at(i)] = min(bottom[at(i)], bottom[at(i + reach)])
            top[at(i)] = max(top[at(i)], top[at(i + reach)])
    for i in range(n):
        several[at(2 * i)] = bottom[i]
        several[at(2 * i + 1)] = top[i]


@jit
def list_entries(entry: NDArray[np.int8], coded: NDArray[np.int32]) -> int:
    """Put the bars that have an entry code into `coded`, which has room for one more; their number, or -1 when one is
    not a side."""
    wrong = False
    for i in range(entry.shape[0]):
        wrong |= (entry[at(i)] < -1) | (entry[at(i)] > 1)
    count = find_coded(entry, coded)
    return -1 if wrong else int(np.int64(count))


@jit
def trade_lane(
    open_: FloatArray,
    closes: FloatArray,
    single: FloatArray,
    several: FloatArray,
    coded: NDArray[np.int32],
    count: int,
    turns: NDArray[np.int32],
    entry: NDArray[np.int8],
    exit_: NDArray[np.int8],
    size_map: FloatArray,
    stop_distance: FloatArray,
    target_distance: FloatArray,
    trail_distance: FloatArray,
    levels: FloatArray,
    fractions: FloatArray,
    numbers: FloatArray,
    values: FloatArray,
    runs: NDArray[np.int64],
    sums: FloatArray,
) -> int:
    """Trade one set of signals: a status of `loop.py`; anything but OK means that nothing here is to be read.

    `coded[:count]` are the bars with an entry code, which are +1 or -1 there; the other columns are read at those bars
    only, except `exit_`. `numbers` are the Terms, the ExitTerms and `trade_from`. `coded`, `turns` (room for the
    search) have count + 1 places. `values` is set to the capital and equity at each bar of a trade in order, and has
    room for n + 1 + STEP; `runs` to (place in values, bar) at which each trade begins, and the place after the last.
    """
    next_open = numbers[0] != 0.0
    capital, fee_rate, slippage, fee_fixed = numbers[1], numbers[2], numbers[3], numbers[4]
    sizing, size, whole = int(numbers[5]), numbers[6], numbers[7] != 0.0
    max_hold = int(numbers[8])
    stop_pct, target_pct, trail_pct, even_pct = numbers[9], numbers[10], numbers[11], numbers[12]
    cooldown, opposite, trade_from = int(numbers[13]), int(numbers[14]), int(numbers[15])
    n = open_.shape[0]
    lag = 1 if next_open else 0
    exits = exit_.shape[0] > 0
    parts = fractions.shape[0]
    level = np.empty(parts, np.float64)

    # for each coded bar the next one of the other side
    coded[count] = n
    turns[count] = count
    for back in range(count):
        k = count - 1 - back
        same = entry[at(coded[at(k)])] == entry[at(coded[at(min(k + 1, count - 1))])]
        turns[at(k)] = turns[at(k + 1)] if same else k + 1

    cash = capital
    values[0] = capital
    place = 1  # where the next value goes
    last = -1  # the bar of the value before it
    trades = 0
    held = 0
    won = lost = wins = returns = paid = mean_pnl = spread = 0.0
    i = trade_from  # the next bar whose close may decide an entry
    here = 0  # the coded bars before it are past
    reversal = 0  # side of an entry that an exit at the same price makes room for
    bar = decided = 0
    exit_long = exit_short = -1  # the next bar that leaves a long, a short; looked up when the one before it is past
    status = OK
    while True:
        if reversal != 0:
            side = reversal
        else:
            if i >= n - 1:  # nothing decided at the last close can be filled
                break
            while coded[at(here)] < i:
                here += 1
            i = coded[at(here)]
            if i >= n - 1:
                break
            side = int(entry[at(i)])
            decided = i
            bar = i + lag

        # --- entry, at the open or the close of `bar`
        raw = open_[at(bar)] if next_open else closes[at(bar)]
        price = slipped(raw, side, slippage)
        weight = 1.0
        if size_map.shape[0] > 0:
            weight = size_map[at(decided)]
            if not 0.0 < weight < math.inf:
                status = BAD_SIZE
                break
        units = sized(cash, price, size, weight, sizing, whole, fee_rate, fee_fixed)
        if not units > 0.0:
            if reversal != 0:
                reversal = 0
                i = bar if next_open else bar + 1
            else:
                i += 1
            continue
        stop_gap = stop_distance[at(decided)] if stop_distance.shape[0] > 0 else 0.0
        target_gap = target_distance[at(decided)] if target_distance.shape[0] > 0 else 0.0
        trail_gap = trail_distance[at(decided)] if trail_distance.shape[0] > 0 else 0.0
        if stop_gap < 0.0 or target_gap < 0.0 or trail_gap < 0.0:
            status = BAD_DISTANCE
            break
        reversal = 0
        again = bar == last  # this bar's equity is marked once more
        runs[at(2 * trades)] = place
        runs[at(2 * trades + 1)] = bar + 1 if again else bar
        if again:
            place -= 1
        fee = fee_rate * units * price + fee_fixed
        cash -= side * units * price + fee
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
        live = 0  # partial exits still to come, their levels times the side; infinity is none
        for k in range(parts):
            ahead = side * levels[at(decided), at(k)]
            good = ahead > side * price
            live += good
            level[at(k)] = ahead if good else math.inf
        watched = live > 0 or ratchets or not (math.isinf(stop) and math.isinf(target))

        # --- holding
        wanted = 1 if side > 0 else 2
        reason = 0
        out_bar = 0
        j = bar
        reach = price
        if not next_open:  # entered at the close: this bar's high and low came before
            values[at(place)] = cash + side * units * closes[at(bar)]
            place += 1
            j += 1
        quiet = n - 1  # the first bar at which the position may end for its age or the end of the bars
        if max_hold > 0:
            quiet = min(quiet, bar + max_hold - lag)
        turned = n  # the first that says the other side, if that ends a position
        if opposite in (REVERSE, EXIT):
            turned = coded[at(turns[at(here)])]
        sign = float(side)
        # prices times the side: what is worse is then smaller for a short too
        back = 0 if side > 0 else 1  # its worst price is the low, a short's the high
        front = 1 - back
        # the trail on every bar, infinitely far when there is none
        keep = 1.0 - side * trail_pct if trail_pct > 0.0 else 0.0
        no_pct = 0.0 if trail_pct > 0.0 else math.inf
        gap = trail_gap if trail_gap > 0.0 else math.inf
        while True:
            # --- bars on which nothing happens: no price in reach, nothing decided
            ceiling = side * target  # the nearest price in front that fills something
            for k in range(parts):
                ceiling = min(ceiling, level[at(k)])
            signed = side * units
            until = min(quiet, turned)
            if exits:
                flagged = exit_long if side > 0 else exit_short
                if flagged < j:
                    flagged = find_flagged(exit_, j, wanted)
                    if side > 0:
                        exit_long = flagged
                    else:
                        exit_short = flagged
                until = min(until, flagged)
            began = j
            poor = False
            if not watched:
                j = max(j, until)
            else:
                floor = sign * stop
                if even_pct > 0.0 and side * (price - stop) > 0.0:
                    ceiling = min(ceiling, sign * even_at)  # the bar that moves the stop to the entry price
                top = sign * best
                lasts = False
                while True:
                    # The stop rises with the best price alone, and rounding keeps the order of two numbers: after STEP
                    # bars it is what the highest of them makes it. If no low reaches even that, none is reached. Many
                    # positions are over before that pays, so the first bars are looked at one by one.
                    while lasts and j + STEP <= until:
                        worst = sign * several[at(2 * j + back)]
                        reach = sign * several[at(2 * j + front)]
                        raised = max(top, reach)
                        under = max(floor, max(raised * keep - no_pct, raised - gap))
                        if worst <= under or reach >= ceiling or not cash + units * worst > 0.0:
                            break
                        top = raised
                        floor = under
                        j += STEP
                    end = min(until, j + STEP)
                    while j < end:
                        worst = sign * single[at(2 * j + back)]
                        reach = sign * single[at(2 * j + front)]
                        if worst <= floor or reach >= ceiling or not cash + signed * closes[at(j)] > 0.0:
                            break
                        j += 1
                        top = max(top, reach)
                        floor = max(floor, max(top * keep - no_pct, top - gap))
                    if j < end or j >= until:
                        break
                    lasts = True
                if floor > sign * stop:
                    stop = sign * floor
                    stop_reason = TRAILING
                best = sign * top
            # whole steps, so that none is taken bar by bar: what is marked too many is written over
            for start in range(began, j, STEP):
                for k in range(STEP):
                    value = cash + signed * closes[at(start + k)]
                    values[at(place + start - began + k)] = value
                    poor |= not value > 0.0
            if poor and not watched:
                j = began
                while j < until and values[at(place + j - began)] > 0.0:
                    j += 1
            place += j - began
            # --- a bar on which something may happen
            if watched:
                o = open_[at(j)]
                out_bar = j
                if side * (o - stop) <= 0.0:
                    reason, raw = stop_reason, o
                elif side * (o - target) >= 0.0:
                    reason, raw = TARGET, o
                else:
                    worst = single[at(2 * j + back)]
                    reach = single[at(2 * j + front)]
                    stopped = side * (worst - stop) <= 0.0
                    if live > 0:
                        # levels gapped over fill at the open, before anything inside the bar; a level inside the bar
                        # only if the stop is not touched, and if the target does not come first
                        for turn in range(2):
                            for k in range(parts):
                                if turn == 0:
                                    hit = side * o >= level[k]
                                    raw = o
                                else:
                                    hit = not stopped and side * reach >= level[k]
                                    hit = hit and side * target > level[k]
                                    raw = side * level[k]
                                if not hit or units == 0.0:
                                    continue
                                level[k] = math.inf
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
            value = cash + side * units * closes[at(j)]
            values[at(place)] = value
            place += 1
            if not value > 0.0:
                reason = BANKRUPT
            elif j == turned and opposite == REVERSE:
                reason = OPPOSITE
            elif exits and exit_[at(j)] & wanted:
                reason = SIGNAL
            elif j == turned and opposite == EXIT:
                reason = OPPOSITE
            elif max_hold > 0 and j + lag - bar >= max_hold:
                reason = MAX_HOLD
            if reason == BANKRUPT or (j == n - 1 and (next_open or reason == 0)):
                out_bar = j
                raw = closes[at(j)]
                if reason != BANKRUPT:
                    reason = END
                i = n
                place -= 1  # the exit's cash takes the place of the mark
                break
            if reason != 0:
                out_bar = j + lag
                raw = open_[at(out_bar)] if next_open else closes[at(j)]
                i = max(j + 1, out_bar + cooldown)
                if reason == OPPOSITE and opposite == REVERSE and cooldown == 0 and out_bar + 1 - lag < n:
                    reversal = -side
                    decided = j
                    here = turns[at(here)]
                if not next_open:
                    place -= 1
                break
            j += 1

        # --- exit of what is left, at `raw` in `out_bar`
        if units > 0.0:
            price_out = slipped(raw, -side, slippage)
            fee = fee_rate * units * price_out + fee_fixed
            cash += side * units * price_out - fee
            fees += fee
            exit_value += units * price_out
        values[at(place)] = cash
        place += 1
        last = out_bar
        held += out_bar - bar
        pnl = side * (exit_value - entry_units * price) - fees
        won += pnl if pnl > 0.0 else 0.0
        wins += 1.0 if pnl > 0.0 else 0.0
        lost -= 0.0 if pnl > 0.0 else pnl
        returns += pnl / (entry_units * price)
        paid += fees
        step = pnl - mean_pnl  # Welford (1962)
        trades += 1
        mean_pnl += step / trades
        spread += step * (pnl - mean_pnl)
        bar = out_bar
        if not cash > 0.0:
            break
    runs[at(2 * trades)] = place
    sums[WON] = won
    sums[LOST] = lost
    sums[WINS] = wins
    sums[RETURNS] = returns
    sums[PNL] = mean_pnl
    sums[PNL_SQUARES] = spread
    sums[HELD] = held
    sums[FEES] = paid
    sums[COUNT] = trades
    sums[FINAL] = cash
    return status
