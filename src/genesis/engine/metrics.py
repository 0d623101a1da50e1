"""What a simulation was worth: each metric with one definition, from one compiled pass over equity and trades.

`docs/metrics.md` gives the formulas. Returns are per bar, `equity[i] / equity[i-1] - 1` from `trade_from` on, the first
against the capital. A metric that has no value is None, and `Metrics.reasons` says why; it is never NaN.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from genesis.engine.compile import jit
from genesis.types import FloatArray

if TYPE_CHECKING:
    from genesis.engine.kernel import Simulation
    from genesis.market.bars import Bars

_DAY = 86_400_000_000_000
_FLAT = 1e-12  # a variance below this share of the mean square is rounding, not risk


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric: its name, which way is better, its unit, and its definition in one line."""

    name: str
    better: Literal["higher", "lower"]
    unit: str
    definition: str


METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("total_return", "higher", "fraction", "final equity / capital - 1"),
        Metric("cagr", "higher", "fraction per year", "(final equity / capital) ** (periods per year / bars) - 1"),
        Metric("volatility", "lower", "fraction per year", "sample deviation of bar returns * sqrt(periods per year)"),
        Metric("sharpe", "higher", "ratio", "mean / sample deviation of bar returns * sqrt(periods per year)"),
        Metric("sortino", "higher", "ratio", "mean / root mean square loss of bar returns * sqrt(periods per year)"),
        Metric("calmar", "higher", "ratio", "cagr / max_drawdown"),
        Metric("max_drawdown", "lower", "fraction", "largest fall of equity at a close from its highest close before"),
        Metric("max_drawdown_duration", "lower", "bars", "longest stay below a highest close, to recovery or the end"),
        Metric("profit_factor", "higher", "ratio", "sum of winning trades' profit / sum of losing trades' loss, net"),
        Metric("win_rate", "higher", "fraction", "trades with a net profit above zero / trades"),
        Metric("expectancy", "higher", "fraction", "mean net profit of a trade as a fraction of its entry value"),
        Metric("exposure", "higher", "fraction", "bars at whose close a position was held / bars"),
        Metric("trades", "higher", "count", "positions opened and closed"),
        Metric("fees_paid", "lower", "cash", "sum of fees of all fills, slippage not included"),
        Metric("sqn", "higher", "ratio", "sqrt(trades) * mean / sample deviation of trades' net profit (Van Tharp)"),
    )
}

(
    SUM,
    SQUARES,
    LOSS_SQUARES,
    DRAWDOWN,
    DURATION,
    WON,
    LOST,
    WINS,
    RETURNS,
    PNL,
    PNL_SQUARES,
    HELD,
    FEES,
    COUNT,
    FINAL,
    SLOTS,
) = range(16)


@jit
def measure(equity: FloatArray, trades: NDArray[Any], count: int, trade_from: int, capital: float) -> FloatArray:
    """Sums behind the metrics; visits only the bars of trades, since between them nothing changes."""
    sums = np.zeros(SLOTS)
    n = equity.size
    total = squares = loss_squares = 0.0
    peak = trough = before = capital
    drawdown = 0.0
    peak_bar = trade_from - 1
    duration = 0
    done = trade_from - 1
    held = 0
    mean_pnl = spread = 0.0
    for t in range(count):
        record = trades[t]
        start = max(record.entry_bar, done + 1)
        if before >= peak:
            peak_bar = start - 1
        for j in range(start, record.exit_bar + 1):
            value = equity[j]
            r = value / before - 1.0
            before = value
            total += r
            squares += r * r
            if r < 0.0:
                loss_squares += r * r
            if value >= peak:
                if trough < peak:
                    drawdown = max(drawdown, 1.0 - trough / peak)
                    duration = max(duration, j - peak_bar)
                peak = trough = value
                peak_bar = j
            else:
                trough = min(trough, value)
        done = max(done, record.exit_bar)
        held += record.exit_bar - record.entry_bar
        pnl = record.pnl
        if pnl > 0.0:
            sums[WON] += pnl
            sums[WINS] += 1.0
        else:
            sums[LOST] -= pnl
        sums[RETURNS] += pnl / (record.units * record.entry_price)
        sums[FEES] += record.fees
        step = pnl - mean_pnl  # Welford (1962)
        mean_pnl += step / (t + 1)
        spread += step * (pnl - mean_pnl)
    if trough < peak:
        drawdown = max(drawdown, 1.0 - trough / peak)
        duration = max(duration, n - 1 - peak_bar)
    sums[SUM] = total
    sums[SQUARES] = squares
    sums[LOSS_SQUARES] = loss_squares
    sums[DRAWDOWN] = drawdown
    sums[DURATION] = duration
    sums[PNL] = mean_pnl
    sums[PNL_SQUARES] = spread
    sums[HELD] = held
    sums[COUNT] = count
    sums[FINAL] = equity[n - 1]
    return sums


class Metrics(dict[str, "float | None"]):
    """Metric values by name, None where undefined; `reasons` says why for each of those."""

    reasons: dict[str, str]

    def __init__(self, values: Mapping[str, float | None], reasons: dict[str, str] | None = None) -> None:
        super().__init__(values)
        self.reasons = reasons or {}

    def __reduce__(self) -> tuple[Any, ...]:
        return Metrics, (dict(self), self.reasons)


def compute_metrics(sim: Simulation, bars: Bars, trade_from: int | None = None) -> Metrics:
    """All of METRICS for one simulation, counted from `trade_from` (the simulation's own unless given).

    Values are floats, or None with a reason in `.reasons`; the formulas are in `docs/metrics.md`.

    >>> from genesis.engine.kernel import simulate
    >>> from genesis.market.catalog import load_bars
    >>> from genesis.types import Costs, Execution, Signals
    >>> bars = load_bars("sample:IBM")
    >>> idle = Signals(entry=np.zeros(len(bars), dtype=np.int8))
    >>> sim = simulate(bars, idle, costs=Costs(fee_bps=5, slippage_bps=2), execution=Execution())
    >>> made = compute_metrics(sim, bars)
    >>> made["trades"], made["sharpe"], made.reasons["sharpe"]
    (0.0, None, 'no trades')
    """
    start = sim.trade_from if trade_from is None else trade_from
    capital = float(sim.execution.capital)  # an int would be another signature to compile
    sums = measure(sim.equity, sim.trades, len(sim.trades), start, capital)
    return metrics_of(sums.tolist(), len(sim.equity) - start, periods_per_year(bars), capital)


def metrics_of(sums: list[float], bars: int, per_year: float, capital: float) -> Metrics:
    """Metrics from the sums of `measure` over `bars` bars."""
    reasons: dict[str, str] = {}
    trades = int(sums[COUNT])
    final = sums[FINAL]
    growth = final / capital
    values: dict[str, float | None] = dict.fromkeys(METRICS)
    values["total_return"] = growth - 1.0
    values["max_drawdown"] = sums[DRAWDOWN]
    values["max_drawdown_duration"] = sums[DURATION]
    values["exposure"] = sums[HELD] / bars
    values["trades"] = float(trades)
    values["fees_paid"] = sums[FEES]
    _risk_metrics(values, reasons, sums, bars, per_year, growth)
    _trade_metrics(values, reasons, sums, trades)
    return Metrics(values, reasons)


def _risk_metrics(
    values: dict[str, float | None],
    reasons: dict[str, str],
    sums: list[float],
    bars: int,
    per_year: float,
    growth: float,
) -> None:
    if growth <= 0.0:
        for name in ("cagr", "volatility", "sharpe", "sortino", "calmar"):
            reasons[name] = "bankrupt: equity reached zero"
        return
    cagr = _power(growth, per_year / bars)
    if math.isfinite(cagr):
        values["cagr"] = cagr
    else:
        reasons["cagr"] = f"{bars} bars are too few to state a rate per year"
    if bars < 2:
        for name in ("volatility", "sharpe", "sortino"):
            reasons[name] = "one bar has no deviation"
    else:
        mean = sums[SUM] / bars
        spread = sums[SQUARES] - sums[SUM] * mean
        year = math.sqrt(per_year)
        flat = spread <= _FLAT * sums[SQUARES]
        deviation = 0.0 if flat else math.sqrt(spread / (bars - 1))
        values["volatility"] = deviation * year
        idle = "no trades" if sums[COUNT] == 0 else None
        if flat:
            reasons["sharpe"] = idle or "bar returns do not vary"
        else:
            values["sharpe"] = mean / deviation * year
        if sums[LOSS_SQUARES] <= 0.0:
            reasons["sortino"] = idle or "no bar lost"
        else:
            values["sortino"] = mean / math.sqrt(sums[LOSS_SQUARES] / bars) * year
    if values["cagr"] is None:
        reasons["calmar"] = reasons["cagr"]
    elif sums[DRAWDOWN] <= 0.0:
        reasons["calmar"] = "no trades" if sums[COUNT] == 0 else "no drawdown"
    else:
        values["calmar"] = values["cagr"] / sums[DRAWDOWN]


def _trade_metrics(values: dict[str, float | None], reasons: dict[str, str], sums: list[float], trades: int) -> None:
    if trades == 0:
        for name in ("profit_factor", "win_rate", "expectancy", "sqn"):
            reasons[name] = "no trades"
        return
    values["win_rate"] = sums[WINS] / trades
    values["expectancy"] = sums[RETURNS] / trades
    if sums[LOST] > 0.0:
        values["profit_factor"] = sums[WON] / sums[LOST]
    else:
        reasons["profit_factor"] = "no losing trade"
    mean = sums[PNL]
    if trades == 1:
        reasons["sqn"] = "one trade has no deviation"
    elif sums[PNL_SQUARES] <= _FLAT * (sums[PNL_SQUARES] + trades * mean * mean):
        reasons["sqn"] = "trades' profits do not vary"
    else:
        values["sqn"] = math.sqrt(trades) * mean / math.sqrt(sums[PNL_SQUARES] / (trades - 1))


def _power(base: float, exponent: float) -> float:
    try:
        return math.pow(base, exponent) - 1.0
    except OverflowError:
        return math.inf


def periods_per_year(bars: Bars) -> float:
    """How many bars make a year: 252 trading days (365 where Saturdays trade) times the bars of a usual day.

    Bars of a day or longer go by their length: 252 or 365 days, 365.25 / 7 weeks, 12 months. Shorter ones are counted:
    the median number of bars over the days that have any, or what fits into 24 hours when there are under three days.
    """
    cache: dict[str, float] = bars._cache
    if "periods_per_year" not in cache:
        cache["periods_per_year"] = _count_periods(bars)
    return cache["periods_per_year"]


def _count_periods(bars: Bars) -> float:
    frame = bars.frame
    if frame.months:
        return 12.0 / frame.months
    days, counts = np.unique(bars.time // _DAY, return_counts=True)
    step = frame.step
    if step > _DAY:
        return 365.25 * _DAY / step
    saturdays = np.count_nonzero((days + 3) % 7 == 5)  # day 0, 1970-01-01, was a Thursday: 3 when Monday is 0
    year: float = 365.0 if saturdays * 14 >= len(days) else 252.0
    if step == _DAY:
        return year
    per_day = float(np.median(counts)) if len(days) >= 3 else _DAY / step
    return year * per_day


def undefined(metrics: Mapping[str, float | None]) -> Iterator[str]:
    """Names of the metrics that have no value."""
    return (name for name, value in metrics.items() if value is None)
