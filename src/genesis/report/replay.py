"""Run the best trials again from their stored parameters, and check that they are the same to the bit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from genesis.config import StudyConfig
from genesis.diagnose.explain import flatten
from genesis.engine.backtest import Backtest, backtest
from genesis.errors import GenesisError
from genesis.judge.overfit import (
    DeflatedSharpe,
    Overfitting,
    deflated_sharpe,
    effective_trials,
    overfitting_probability,
    sharpe_variance,
)
from genesis.report.source import RunData
from genesis.report.tables import Ledger
from genesis.report.trading import Curve, Marks, Spans
from genesis.run.evaluate import Evaluator
from genesis.trials.store import RunStore
from genesis.types import Costs, FloatArray, IntArray, TrialResult

SHOWN = 10
SAMPLED = 64
SAMPLE_SECONDS = 10.0
LADDER = (0.0, 0.236, 0.382, 0.5, 0.618, 0.786, 1.0)


@dataclass(frozen=True)
class Again:
    """One trial run again; `differs` names stored values that came out differently (it must be empty).

    `levels` are prices by name at each bar of a window, float64[n]: the Fibonacci ladder of a strategy that has one.
    """

    number: int
    params: Mapping[str, Any]
    inside: Backtest
    outside: Backtest | None
    differs: tuple[str, ...]
    levels_inside: Mapping[str, FloatArray] = field(default_factory=dict)
    levels_outside: Mapping[str, FloatArray] = field(default_factory=dict)


@dataclass(frozen=True)
class Replay:
    """The best different trials run again, with the bars of both windows; `problem` says why nothing could be run.

    `used` are the opening times (UTC ns) of the first and last bar that could trade, of "search" and "holdout".
    """

    trials: list[Again] = field(default_factory=list)
    trade_from: int = 0
    holdout_from: int = 0
    problem: str | None = None
    holdout_problem: str | None = None
    used: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def alarms(self) -> list[str]:
        """One sentence for every trial that came out differently."""
        return [
            f"Trial {again.number}, run again from its stored parameters, does not give its stored results: "
            f"{'; '.join(again.differs)}. The strategy, the data or the engine changed since it ran."
            for again in self.trials
            if again.differs
        ]


def replay(run: RunData, *, count: int = SHOWN) -> Replay:
    """Run the best `count` trials with different fills again on the search window and the holdout."""
    config = run.config
    if config is None:
        return Replay(problem=f"the study cannot be loaded here: {run.config_problem}")
    if config.strategy is None or config.data is None or config.costs is None:
        problem = "the study does not trade bars with a strategy, so there is no equity to draw"
        return Replay(problem=problem, used=_used_without_trading(config))
    used: dict[str, tuple[int, int]] = {}
    try:
        inside = Evaluator(config, window="search").prepare()
        outside, missing = _holdout(config)
        used = _used(inside, outside)
        with RunStore.open(run.path, read_only=True) as store:
            stored = list(store.results(run.ledger.numbers[run.ledger.best_different[:count]].tolist()))
        kept = {row["number"]: row for row in run.holdout}
        trials = [_again(config, inside, outside, result, kept.get(result.number)) for result in stored]
    except (GenesisError, OSError) as error:
        return Replay(problem=f"the trials cannot be run again here: {error}", used=used)
    return Replay(trials, inside.trade_from, 0 if outside is None else outside.trade_from, None, missing, used)


def _used(inside: Any, outside: Any) -> dict[str, tuple[int, int]]:
    loaded = {"search": inside, "holdout": outside}
    return {
        name: (int(window.bars.time[window.trade_from]), int(window.bars.time[-1]))
        for name, window in loaded.items()
        if window is not None and window.bars is not None
    }


def _used_without_trading(config: StudyConfig) -> dict[str, tuple[int, int]]:
    """The bars that a callable was given; none when they cannot be loaded here."""
    if config.data is None:
        return {}
    try:
        return _used(Evaluator(config, window="search").prepare(), _holdout(config)[0])
    except (GenesisError, OSError):
        return {}


def replay_trial(run: RunData, result: TrialResult) -> Again | None:
    """One trial run again on the search window; None when that cannot be done here."""
    config = run.config
    if config is None or config.strategy is None or config.data is None:
        return None
    try:
        return _again(config, Evaluator(config, window="search").prepare(), None, result, None)
    except (GenesisError, OSError):
        return None


def _holdout(config: StudyConfig) -> tuple[Any, str | None]:
    """The loaded holdout window, or None and why; a broken holdout does not hide what the search found."""
    if config.holdout is None:
        return None, None
    try:
        return Evaluator(config, window="holdout").prepare(), None
    except GenesisError as error:
        return None, str(error)


def _again(config: StudyConfig, inside: Any, outside: Any, result: TrialResult, holdout: Any) -> Again:
    first = _run(config, inside, result.params)
    differs = list(_differences(result.metrics, first.metrics))
    if result.fills_hash is not None and result.fills_hash != first.fills_hash:
        differs.append("its fills differ")
    second = None if outside is None else _run(config, outside, result.params)
    if second is not None and holdout is not None:
        differs += [f"out of sample {words}" for words in _differences(holdout["holdout_metrics"], second.metrics)]
    return Again(
        result.number,
        result.params,
        first,
        second,
        tuple(differs),
        levels(inside.strategy, result.params, inside.features),
        {} if outside is None else levels(outside.strategy, result.params, outside.features),
    )


def levels(strategy: Any, params: Mapping[str, Any], features: Any) -> Mapping[str, FloatArray]:
    """The price levels a strategy looked at, by name, float64[n] with NaN where there is none.

    A strategy says so with a method `levels(params, features)`; the `fibonacci` strategy's are its lower ladder.
    """
    own = getattr(strategy, "levels", None)
    if callable(own):
        found: Mapping[str, FloatArray] = own(params, features)
        return found
    if strategy.id != "fibonacci":
        return {}
    flat = flatten(strategy.defaults) | flatten(params)
    swing = int(flat["ltf_fib.swing_left"]), int(flat["ltf_fib.swing_right"])
    top, bottom = features.fetch("swing_high", *swing), features.fetch("swing_low", *swing)
    span = np.where(top > bottom, top - bottom, np.nan)
    return {f"{share:g}": bottom + share * span for share in LADDER}


def _run(config: StudyConfig, loaded: Any, params: Mapping[str, Any]) -> Backtest:
    assert config.costs is not None
    return backtest(
        loaded.bars,
        loaded.strategy,
        params,
        costs=config.costs,
        execution=config.execution,
        features=loaded.features,
        trade_from=loaded.trade_from,
    )


def _differences(stored: Mapping[str, float | None], now: Mapping[str, float | None]) -> list[str]:
    return [
        f"{name} was {value!r}, is {now.get(name)!r}"
        for name, value in stored.items()
        if now.get(name) != value and not (value is not None and math.isnan(value) and now.get(name) is None)
    ]


def joined(again: Again, played: Replay) -> tuple[IntArray, FloatArray, FloatArray, Spans]:
    """Times, closes, equity and spans of one trial over both windows.

    The warm-up is cut; the out-of-sample equity starts flat and is scaled to go on where the in-sample one ended.
    """
    first, start = again.inside, played.trade_from
    times, close, equity = first.bars.time[start:], first.bars.close[start:], first.equity[start:]
    if again.outside is None:
        return times, close, equity, Spans(0)
    second, cut = again.outside, played.holdout_from
    capital = float(second.equity[0])
    more = second.equity[cut:] * (float(equity[-1]) / capital)
    return (
        np.concatenate([times, second.bars.time[cut:]]),
        np.concatenate([close, second.bars.close[cut:]]),
        np.concatenate([equity, more]),
        Spans(0, len(times)),
    )


def curve(again: Again, played: Replay) -> Curve:
    """The equity of one trial over both windows."""
    return Curve(f"trial {again.number}", joined(again, played)[2])


def marks(again: Again, played: Replay) -> Marks:
    """The fills of one trial at their positions in the joined windows, with its Fibonacci ladder if it has one."""
    length = len(again.inside.bars) - played.trade_from
    parts = [_fills(again.inside, played.trade_from, 0)]
    if again.outside is not None:
        parts.append(_fills(again.outside, played.holdout_from, length))
    bars, prices, sides = (np.concatenate([part[place] for part in parts]) for place in range(3))
    ladder = {name: level[played.trade_from :] for name, level in again.levels_inside.items()}
    if again.outside is not None:
        ladder = {
            name: np.concatenate([level, again.levels_outside[name][played.holdout_from :]])
            for name, level in ladder.items()
        }
    return Marks(bars.astype(np.int64), prices, sides.astype(np.int64), ladder)


def _fills(done: Backtest, start: int, shift: int) -> tuple[IntArray, FloatArray, IntArray]:
    fills = done.simulation.fills
    return fills["bar"] - start + shift, fills["price"].astype(np.float64), np.sign(fills["side"]).astype(np.int64)


@dataclass(frozen=True, slots=True)
class Luck:
    """How much was tried and how much of the best is luck; `sampled` trials were run again for the last two."""

    distinct: int
    independent: float
    deflated: DeflatedSharpe | None
    overfitting: Overfitting | None
    sampled: int


def luck(run: RunData, played: Replay) -> Luck:
    """Deflated Sharpe ratio of the best and probability of overfitting, from an even sample of different trials."""
    ledger = run.ledger
    distinct = ledger.behaviours
    if not played.trials or run.config is None:
        return Luck(distinct, float(distinct), None, None, 0)
    returns = _sample_returns(run, played)
    independent = effective_trials(distinct, returns)
    best = _bar_returns(played.trials[0].inside, played.trade_from)
    own = played.trials[0].inside.metrics.get("sharpe")
    deviation = float(best.std(ddof=1)) if len(best) > 2 else 0.0
    deflated = None
    if own and deviation > 0.0:
        scale = float(best.mean()) / deviation / own
        sharpes = ledger.metrics["sharpe"][ledger.best_different] * scale
        deflated = deflated_sharpe(best, trials=independent, variance=sharpe_variance(sharpes))
    overfitting = None
    if returns.shape[1] >= 8 and len(returns) >= 64:
        overfitting = overfitting_probability(returns, blocks=16 if len(returns) >= 320 else 8)
    return Luck(distinct, independent, deflated, overfitting, int(returns.shape[1]))


def _sample_returns(run: RunData, played: Replay) -> FloatArray:
    assert run.config is not None
    loaded = Evaluator(run.config, window="search").prepare()
    order = run.ledger.best_different
    chosen = np.unique(np.linspace(0, len(order) - 1, min(SAMPLED, len(order))).astype(np.int64))
    columns = []
    until = perf_counter() + SAMPLE_SECONDS
    with RunStore.open(Path(run.path), read_only=True) as store:
        for result in store.results(run.ledger.numbers[order[chosen]].tolist()):
            columns.append(_bar_returns(_run(run.config, loaded, result.params), played.trade_from))
            if perf_counter() > until:
                break
    return np.column_stack(columns)


def returns_without_costs(run: RunData, *, count: int = 32) -> FloatArray:
    """Total returns of an even sample of trading trials, run again without costs; empty when that cannot be done."""
    config = run.config
    if config is None or config.strategy is None or config.data is None:
        return np.empty(0)
    trading = np.flatnonzero(run.ledger.complete & (run.ledger.metrics["trades"] > 0))
    chosen = trading[np.unique(np.linspace(0, len(trading) - 1, min(count, len(trading))).astype(np.int64))]
    free = replace(config, costs=Costs(fee_bps=0.0, slippage_bps=0.0))
    try:
        loaded = Evaluator(free).prepare()
        with RunStore.open(run.path, read_only=True) as store:
            done = [
                _run(free, loaded, result.params).metrics["total_return"]
                for result in store.results(run.ledger.numbers[chosen].tolist())
            ]
    except GenesisError:
        return np.empty(0)
    return np.array([0.0 if value is None else value for value in done])


def _bar_returns(done: Backtest, trade_from: int) -> FloatArray:
    equity = done.equity[max(trade_from - 1, 0) :]
    with np.errstate(divide="ignore", invalid="ignore"):
        returns = np.asarray(equity[1:] / equity[:-1] - 1.0, dtype=np.float64)
    return np.nan_to_num(returns, nan=0.0, posinf=0.0, neginf=0.0)


def out_of_sample(run: RunData, played: Replay, ledger: Ledger) -> Mapping[str, float | None] | None:
    """The best trial's metrics on the holdout: stored if the run judged it, else run again here."""
    best = ledger.best
    if best is None:
        return None
    number = int(ledger.numbers[best])
    for row in run.holdout:
        if row["number"] == number:
            return dict(row["holdout_metrics"])
    again = next((trial for trial in played.trials if trial.number == number), None)
    return dict(again.outside.metrics) if again is not None and again.outside is not None else None
