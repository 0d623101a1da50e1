"""Run a handful of trials before a long search: does anything trade, what stands in the way, how long is one?"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any

import numpy as np

from genesis.config import StudyConfig, load_study
from genesis.diagnose.audit import run_points, sample_points
from genesis.diagnose.explain import flatten, shown
from genesis.diagnose.findings import Finding, by_severity
from genesis.diagnose.lookahead import find_lookahead
from genesis.diagnose.zero_trades import gate_counts
from genesis.errors import ConfigError, SpaceError
from genesis.run.evaluate import Evaluator
from genesis.trials.identity import trial_key
from genesis.trials.merge import deep_merge
from genesis.types import Costs, TrialResult, TrialSpec

PROBE_LIMIT = 80
PROBE_SECONDS = 20.0


@dataclass(frozen=True)
class Smoke:
    """What a smoke test saw: the trials, their seconds, and findings; `healthy` is False when none of them traded."""

    results: list[TrialResult]
    seconds: list[float]
    findings: list[Finding]

    @property
    def healthy(self) -> bool:
        """Every trial ran, none looked ahead, and one traded at least (or was scored, if they do not count trades)."""
        return all(finding.severity != "error" for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """As plain data, for `--json`."""
        return {
            "healthy": self.healthy,
            "findings": [finding.to_dict() for finding in self.findings],
            "trials": [
                {
                    "params": result.params,
                    "state": result.state,
                    "reason": result.reason,
                    "score": result.score,
                    "metrics": result.metrics,
                    "blocked": result.blocked,
                    "seconds": seconds,
                }
                for result, seconds in zip(self.results, self.seconds, strict=True)
            ],
        }


def smoke(
    study: str | os.PathLike[str] | Mapping[str, Any] | StudyConfig, *, trials: int = 3, seed: int | None = None
) -> Smoke:
    """Run 2 to 5 random trials of a study, keep nothing, and say whether it can work.

    When no trial trades, each parameter's ends are tried until something does (at most 80 backtests or 20 s). Raises
    ConfigError for another number of trials, and what loading the study raises.
    """
    if not 2 <= trials <= 5:
        raise ConfigError(f"smoke: {trials} trials; use 2 to 5")
    config = load_study(study)
    points = sample_points(config.space, trials, seed=config.run.seed or 0 if seed is None else seed)
    if not len(points):
        raise SpaceError("rules: no random point keeps them; check them for a contradiction with the ranges")
    evaluator = Evaluator(config)
    evaluator.prepare()
    results, seconds = [], []
    mark = perf_counter()
    for result in run_points(evaluator, config.space, points):
        now = perf_counter()
        results.append(result)
        seconds.append(now - mark)
        mark = now
    return Smoke(results, seconds, by_severity(_judge(config, evaluator, results)))


def _judge(config: StudyConfig, evaluator: Evaluator, results: list[TrialResult]) -> list[Finding]:
    failed = [result for result in results if result.state == "failed"]
    if len(failed) == len(results):
        return [
            Finding(
                "all-failed",
                "error",
                f"Every trial failed: {failed[0].reason}",
                (failed[0].traceback or "there is no traceback").rstrip(),
                "mend the strategy or the parameters that raise",
            )
        ]
    found = []
    if failed:
        found.append(
            Finding(
                "failures",
                "error",
                f"{len(failed)} of {len(results)} trials failed: {failed[0].reason}",
                f"it happened with {_point(failed[0])}",
                "mend the strategy, or narrow the parameters that raise",
            )
        )
    done = [result for result in results if result.state == "complete"]
    loaded = evaluator.prepare()
    if loaded.bars is not None and done:
        ahead = find_lookahead(loaded.strategy, loaded.bars, done[0].params)
        found += [] if ahead is None else [ahead]
    counts = [result.metrics.get("trades") for result in done]
    if all(count == 0 for count in counts):
        found.append(_no_trades(config, evaluator, done))
    elif all(result.score is None for result in done):
        found.append(
            Finding(
                "no-score",
                "error",
                f"No trial has a score: {done[0].reason or 'the objective is undefined'}",
                "without a score there is nothing to maximise",
                "choose an objective that is defined for these trials, or return finite numbers",
            )
        )
    else:
        found += _costs(config, done)
    return found


def _point(result: TrialResult) -> str:
    return ", ".join(f"{path}={shown(value)}" for path, value in flatten(result.params).items())


def _no_trades(config: StudyConfig, evaluator: Evaluator, done: list[TrialResult]) -> Finding:
    gates = gate_counts(done)
    bars = evaluator.bars
    length = "" if bars is None else f" of {len(bars):,} bars each"
    why = (
        "bars blocked per trial"
        + length
        + ": "
        + ", ".join(f"{gate} {count / len(done):,.0f}" for gate, count in list(gates.items())[:5])
        if gates
        else f"no gate blocked a bar{length}: the entry condition itself never came true"
    )
    opens, tried = probe(config, evaluator)
    if opens is None:
        opens, more = probe_gates(evaluator, done[0].params, list(gates)[:3])
        tried += more
    edit = (
        f"{opens} (found with {tried} backtests)"
        if opens
        else f"no end of any single parameter trades either ({tried} backtests): check the data's length against the "
        "longest period, or start from parameters that are known to trade"
    )
    return Finding("no-trades", "error", f"No trial traded: all {len(done)} made 0 trades", why, edit)


def probe(config: StudyConfig, evaluator: Evaluator) -> tuple[str | None, int]:
    """The single-parameter changes from a middle point that trade most, in words, and how many backtests it took."""
    space = config.space
    base = sample_points(space, 1, seed=1)[0]
    for index, column in enumerate(space.columns):
        if column.low is not None and column.high is not None and not np.isnan(base[index]):
            base[index] = (column.low + column.high) / 2.0
    until, tried = perf_counter() + PROBE_SECONDS, 0
    best: list[tuple[float, str]] = []
    for index, column in enumerate(space.columns):
        ends = _ends(column)
        for value in ends:
            if tried >= PROBE_LIMIT or perf_counter() > until:
                break
            point = base.copy()
            point[index] = value
            try:
                snapped = space.snap(point[None, :])
            except SpaceError:  # the value wakes a parameter that the base point does not have
                continue
            if not space.allowed(snapped)[0]:
                continue
            tried += 1
            result = next(run_points(evaluator, space, snapped))
            trades = result.metrics.get("trades")
            if trades:
                label = column.choices[int(value)] if column.choices is not None else shown(value)
                best.append((trades, f"{column.path}: {label} gives {trades:.0f} trades"))
    best.sort(key=lambda item: -item[0])
    return ("move the study towards " + "; ".join(words for _, words in best[:3]) if best else None), tried


def probe_gates(evaluator: Evaluator, params: Mapping[str, Any], gates: list[str]) -> tuple[str | None, int]:
    """The first value outside the searched range that lets something trade, of a parameter that a blocking gate is
    named after, in words, and how many backtests it took.

    Numeric parameters, searched or not, whose path has the gate's name in it are lowered step by step towards 0, then
    raised up to four times; the nearest value that trades is kept.
    """
    defaults = getattr(evaluator.prepare().strategy, "defaults", {})
    flat = flatten(defaults) | flatten(params)
    until, tried = perf_counter() + PROBE_SECONDS, 0
    for gate in gates:
        for path, value in flat.items():
            if (
                gate not in path.split(".")
                or isinstance(value, bool)
                or not isinstance(value, int | float)
                or not value
            ):
                continue
            for factor in (0.9, 1.25, 0.8, 1.5, 0.7, 2.0, 0.6, 3.0, 0.5, 4.0, 0.4, 0.3, 0.2, 0.1):
                if tried >= PROBE_LIMIT or perf_counter() > until:
                    return None, tried
                tried += 1
                moved = float(f"{value * factor:.3g}") if isinstance(value, float) else max(1, round(value * factor))
                trades = _trades_with(evaluator, params, path, moved)
                if trades:
                    return f"set {path} near {shown(moved)}, where {trades:.0f} trades are made", tried
    return None, tried


def _trades_with(evaluator: Evaluator, params: Mapping[str, Any], path: str, value: float) -> float:
    override: Any = value
    for name in reversed(path.split(".")):
        override = {name: override}
    changed = deep_merge(params, override)
    result = evaluator(TrialSpec(number=0, generation=0, key=trial_key(changed), params=changed, seed=0))
    return result.metrics.get("trades") or 0.0


def _ends(column: Any) -> list[float]:
    """The values of a column that a probe tries: both ends, or up to six choices by index."""
    if column.choices is not None:
        return [float(index) for index in range(min(6, len(column.choices)))]
    return [float(column.low), float(column.high)]


def _costs(config: StudyConfig, done: list[TrialResult]) -> list[Finding]:
    """Whether costs turn every trial's profit into a loss: the same trials without costs."""
    if config.costs is None or any((result.metrics.get("total_return") or 0.0) > 0.0 for result in done):
        return []
    free = Evaluator(replace(config, costs=Costs(fee_bps=0.0, slippage_bps=0.0)))
    gross = []
    for result in done:
        vector = config.space.encode(result.params)
        again = next(run_points(free, config.space, vector[None, :]))
        gross.append(again.metrics.get("total_return") or 0.0)
    gained = sum(value > 0.0 for value in gross)
    if not gained:
        return []
    return [
        Finding(
            "costs",
            "warning",
            f"Costs eat every trade: all {len(done)} trials lose money, and {gained} would gain without costs",
            f"without costs they return {', '.join(f'{value:+.1%}' for value in gross)}",
            "trade less often (longer periods, a cooldown, a stricter entry) or check costs against your broker",
        )
    ]
