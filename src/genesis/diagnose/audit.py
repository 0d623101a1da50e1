"""Look at a study before it runs: the space, the budget, the data, the costs, and how long it will take."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from time import perf_counter
from typing import Any

import numpy as np

from genesis.config import StudyConfig, concurrency_for, load_study
from genesis.diagnose.duplicates import expected_duplicates
from genesis.diagnose.explain import flatten
from genesis.diagnose.findings import Finding, by_severity
from genesis.diagnose.lookahead import find_lookahead
from genesis.diagnose.timing import process_age, sampler_of, time_finding
from genesis.diagnose.windows import audit_trades, audit_window
from genesis.errors import ConfigError, DataError, MissingExtraError, StrategyError
from genesis.market.checks import describe_gaps
from genesis.run.evaluate import Evaluator
from genesis.search.samplers import startup_trials
from genesis.trials.identity import trial_key
from genesis.types import FloatArray, TrialResult, TrialSpec

FEW_BARS = 250
_PAIRS = (("fast", "slow"), ("short", "long"), ("low", "high"), ("min", "max"), ("lower", "upper"), ("inner", "outer"))
_MODELLED = ("tpe", "auto", "optuna-tpe", "rustuna-tpe")


@dataclass(frozen=True)
class Audit:
    """What was found, errors first, and the facts behind it (size, trials, seconds a trial, …)."""

    findings: list[Finding]
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """No error was found; warnings may have been."""
        return all(finding.severity != "error" for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """As plain data, for `--json`."""
        return {"ok": self.ok, "facts": self.facts, "findings": [finding.to_dict() for finding in self.findings]}


def audit(
    study: str | os.PathLike[str] | Mapping[str, Any] | StudyConfig, *, timed: bool = True, workers: int | None = None
) -> Audit:
    """Audit a study; a file that cannot be used gives errors, it does not raise.

    `timed` runs two trials to estimate the time of the whole search on `workers` processes (default: the cores).
    """
    try:
        config = load_study(study)
    except ConfigError as error:
        problems = error.details.get("problems") or [error.message]
        return Audit([_problem(str(problem)) for problem in problems])
    facts: dict[str, Any] = {"run_id": config.run.run_id, "size": config.space.size, "budget": config.run.max_trials}
    found = [Finding("note", "info", note, "this was decided for you", "say it in the study") for note in config.notes]
    found += audit_space(config.space)
    wrong = audit_sampler(config)
    found += wrong or audit_budget(config)
    found += audit_costs(config)
    evaluator = Evaluator(config)
    try:
        evaluator.prepare()
    except (DataError, StrategyError) as error:
        found.append(_unusable(error))
        return Audit(by_severity(found), facts)
    found += audit_data(config, evaluator, facts)
    if timed and not wrong:
        found += audit_time(config, evaluator, facts, workers or os.cpu_count() or 1)
    else:
        found += audit_lookahead(config, evaluator)
    return Audit(by_severity(found), facts)


def brief_audit(config: StudyConfig) -> list[str]:
    """The warnings and errors of an audit without timing, one line each, as a run says them when it starts.

    All are called warnings, since the run goes on. What stops it (data, a strategy or a sampler that cannot be used) is
    left to the run to say.
    """
    return [
        f"warning: {finding.what}; {finding.edit}"
        for finding in audit(config, timed=False).findings
        if finding.severity != "info" and finding.code not in ("data", "strategy", "sampler")
    ]


def _problem(words: str) -> Finding:
    what, _, edit = words.partition("; ")
    return Finding("config", "error", what, "the study cannot be used as it is", edit or "correct this line")


def _unusable(error: DataError | StrategyError) -> Finding:
    code = "data" if isinstance(error, DataError) else "strategy"
    what, _, edit = error.message.partition("; ")
    return Finding(code, "error", what, "no trial can run without it", edit or f"correct {code} in the study")


def audit_space(space: Any) -> list[Finding]:
    """What is wrong or odd about a search space."""
    found = [_size(space)]
    for column in space.columns:
        most = 1 if column.kind == "categorical" else 2  # a switch of two choices is what it is
        if column.count is not None and column.count <= most:
            found.append(_few_choices(column))
        if column.steps is not None and column.steps.collapses:
            found.append(
                Finding(
                    "collapsing-step",
                    "error",
                    f"{column.path}: step {column.step:g} is so fine that neighbouring values are one number",
                    "different points become the same trial and count as duplicates",
                    f"set {column.path}.step to {(column.high - column.low) / 1000:g} or drop it",
                )
            )
        elif column.kind == "float" and column.step and column.step < 1e-9:
            found.append(
                Finding(
                    "collapsing-step",
                    "warning",
                    f"{column.path}: step {column.step:g} is finer than the 10 decimals of a parameter signature",
                    "different points are one to `param_signature`, which rounds to 10 decimals",
                    f"set {column.path}.step to {(column.high - column.low) / 1000:g} or drop it",
                )
            )
    return found + crossings(space) + audit_rules(space)


def _size(space: Any) -> Finding:
    counts = ", ".join(f"{one.path} {'continuous' if one.count is None else f'{one.count:,}'}" for one in space.columns)
    if space.size == 1:
        return Finding(
            "one-point",
            "error",
            "The search space has one point: there is nothing to search",
            "every parameter has one value",
            "give at least one parameter a range or choices",
        )
    words = "unbounded (a parameter is continuous)" if space.size is None else f"{space.size:,} points"
    rules = f", before {len(space.rules)} rule(s)" if space.rules else ""
    return Finding(
        "size", "info", f"The space is {words}{rules}", f"values per parameter: {counts or 'none'}", "nothing to mend"
    )


def _few_choices(column: Any) -> Finding:
    values = [column.low, column.high] if column.choices is None else list(column.choices)
    return Finding(
        "few-choices",
        "warning",
        f"{column.path} has {column.count} value{'s' if column.count != 1 else ''}: {values[: column.count]}",
        "a parameter with so few values adds little to search and makes repeats likely",
        f"widen {column.path}, or write the value alone"
        if column.count == 1
        else f"widen {column.path} or make it two studies",
    )


def crossings(space: Any, *, draws: int = 2_000) -> list[Finding]:
    """Pairs such as fast and slow whose ranges overlap without a rule that keeps them in order."""
    ruled = [set(rule.paths) for rule in space.rules]
    by_path = {column.path: column for column in space.columns if column.kind != "categorical"}
    found = []
    for path, small in by_path.items():
        for word, other in _PAIRS:
            parent, _, name = path.rpartition(".")
            if word not in name.split("_"):
                continue
            renamed = "_".join(other if part == word else part for part in name.split("_"))
            partner = f"{parent}.{renamed}" if parent else renamed
            large = by_path.get(partner)
            if large is None or small.high < large.low or any({path, partner} <= paths for paths in ruled):
                continue
            drawn = random_vectors(space, draws, seed=0)
            index = [space.paths.index(path), space.paths.index(partner)]
            left, right = drawn[:, index[0]], drawn[:, index[1]]
            share = float(np.mean(left >= right))
            found.append(
                Finding(
                    "crossing",
                    "warning",
                    f"{path} can be at or above {partner} (ranges overlap, about {share:.0%} of the space)",
                    "such points are backtested although they make no sense, or trade the rule upside down",
                    f'add rules: ["{path} < {partner}"] to the study',
                )
            )
    return found


def audit_rules(space: Any, *, draws: int = 20_000) -> list[Finding]:
    """Rules that no random point keeps."""
    if not len(space.rules) or any(
        space.allowed(random_vectors(space, count, seed=0)).any()
        for count in (draws // 20, draws)  # nearly always the first few are enough
    ):
        return []
    return [
        Finding(
            "rules",
            "error",
            f"None of {draws:,} random points keeps the rules: {', '.join(repr(rule.text) for rule in space.rules)}",
            "the rules exclude all or nearly all of the space, so nothing can be proposed",
            "remove one of two rules that contradict each other, or widen the ranges they compare",
        )
    ]


def random_vectors(space: Any, count: int, *, seed: int) -> FloatArray:
    """Points drawn evenly over every column (in the logarithm where searched so), snapped; rules are not asked."""
    generator = np.random.default_rng(seed)
    raw = np.empty((count, len(space.columns)))
    for index, column in enumerate(space.columns):
        share = generator.random(count)
        if column.choices is not None:
            raw[:, index] = np.floor(share * len(column.choices))
        elif column.log:
            raw[:, index] = np.exp(np.log(column.low) + share * (np.log(column.high) - np.log(column.low)))
        else:
            raw[:, index] = column.low + share * (column.high - column.low)
    snapped: FloatArray = space.snap(raw)
    return snapped


def sample_points(space: Any, count: int, *, seed: int) -> FloatArray:
    """At most `count` different random points that keep the rules."""
    drawn = random_vectors(space, 200 * count, seed=seed)
    kept = drawn[space.allowed(drawn)]
    _, first = np.unique(np.nan_to_num(kept, nan=-1.0e300), axis=0, return_index=True)
    chosen: FloatArray = kept[np.sort(first)[:count]]
    return chosen


def run_points(evaluator: Evaluator, space: Any, points: FloatArray) -> Iterator[TrialResult]:
    """Evaluate points one after the other, without a store."""
    for number, vector in enumerate(points):
        params = space.decode(vector)
        yield evaluator(TrialSpec(number=number, generation=0, key=trial_key(params), params=params, seed=number))


def audit_budget(config: StudyConfig) -> list[Finding]:
    """The budget against the space, the sampler and the concurrency."""
    size, budget = config.space.size, config.run.max_trials
    found = []
    sampler, concurrency = config.run.sampler.type or "tpe", config.concurrency
    if budget and size is not None and size > 1 and sampler not in ("grid", "brute"):
        repeats = expected_duplicates(size, budget)
        if budget >= size:
            found.append(
                Finding(
                    "budget",
                    "warning",
                    f"{budget:,} trials are asked for and the space has {size:,} points",
                    f"every point is tried once at most; random draws would repeat about {repeats:,.0f} times",
                    "set run.strategy: grid to try them all, or widen the space",
                )
            )
        elif repeats > 0.1 * budget:
            found.append(
                Finding(
                    "budget",
                    "info",
                    f"about {repeats:,.0f} repeats are expected: {budget:,} trials in {size:,} points",
                    "repeats are not run again, but proposing them takes time",
                    "widen the space, loosen steps, or lower run.max_trials",
                )
            )
    advised, kind = concurrency_for(config.space)
    if concurrency > 2 * advised:
        found.append(
            Finding(
                "concurrency",
                "warning",
                f"run.max_concurrent is {concurrency}; {advised} suits {kind}",
                "points proposed together do not know each other's results, so many at once repeat each other",
                f"set run.max_concurrent: {advised} (it is not the number of processes)",
            )
        )
    startup = int(config.run.sampler.kwargs.get("n_startup_trials", startup_trials(concurrency)))
    if budget and sampler in _MODELLED and budget < 2 * startup:
        found.append(
            Finding(
                "startup",
                "warning",
                f"{min(budget, startup)} of {budget} trials are random before {sampler} models anything",
                f"n_startup_trials is {startup} (max(25, 5 x concurrency) unless given)",
                f"raise run.max_trials above {4 * startup}, or lower run.max_concurrent",
            )
        )
    return found


def audit_sampler(config: StudyConfig) -> list[Finding]:
    """Arguments that the sampler or the pruner does not take, found by making them."""
    found = []
    for name, make in (("sampler", sampler_of), ("pruner", _make_pruner)):
        try:
            make(config)
        except (ConfigError, MissingExtraError) as error:
            found.append(_refused(error, name))
    return found


def _refused(error: ConfigError | MissingExtraError, name: str) -> Finding:
    what, _, edit = error.message.partition("; ")
    if not edit and isinstance(error, MissingExtraError):
        edit = f"install it, or choose another run.{name}.type"
    edit = edit or f"correct or leave out run.{name}.kwargs"
    return Finding("sampler", "error", what, f"no trial can run without the {name}", edit)


def _make_pruner(config: StudyConfig) -> None:
    if config.run.pruner.type != "none":  # which imports Optuna
        from genesis.search.pruners import make_pruner

        make_pruner(config.run.pruner.type, config.run.pruner.kwargs)


def audit_costs(config: StudyConfig) -> list[Finding]:
    """Costs of zero."""
    costs = config.costs
    if costs is None or costs.fee_bps or costs.slippage_bps or costs.fee_fixed:
        return []
    return [
        Finding(
            "zero-costs",
            "warning",
            "Trading is free: fee_bps, slippage_bps and fee_fixed are zero",
            "the search will prefer rules that trade often, which cost most in a real market",
            "set costs: {fee_bps: 10, slippage_bps: 5} or what your broker and market take",
        )
    ]


def audit_data(config: StudyConfig, evaluator: Evaluator, facts: dict[str, Any]) -> list[Finding]:
    """Length after warm-up, gaps, the longest period, and the holdout."""
    loaded = evaluator.prepare()
    if loaded.bars is None or config.data is None:
        return []
    bars, found = loaded.bars, []
    usable = len(bars) - loaded.trade_from
    facts |= {"bars": usable, "warmup_bars": loaded.trade_from, "timeframe": bars.timeframe}
    needed = _longest(config.space)
    if needed is not None and usable <= needed[1]:
        found.append(
            Finding(
                "short-data",
                "error",
                f"The data are shorter than the warm-up: {usable:,} bars may trade, {needed[0]} reaches {needed[1]:,}",
                "an indicator that needs more bars than there are never gives a signal",
                f"give more bars (data.start earlier) or lower {needed[0]}",
            )
        )
    elif usable < FEW_BARS:
        found.append(
            Finding(
                "few-bars",
                "warning",
                f"Only {usable:,} bars may trade",
                "few bars give few trades, and few trades give scores that are luck",
                "start data.start earlier or use a finer timeframe",
            )
        )
    if needed is not None and config.data.warmup_bars < needed[1] < usable:
        found.append(
            Finding(
                "warmup",
                "info",
                f"data.warmup_bars is {config.data.warmup_bars} and {needed[0]} reaches {needed[1]:,} bars",
                "parameter sets with long periods begin to trade later than those with short ones",
                f"set data.warmup_bars: {needed[1]} to start them all at the same bar",
            )
        )
    found += audit_window("data", config.data.start, config.data.end, bars, loaded.trade_from)
    found += audit_trades(config, loaded.strategy, usable)
    if bars.gaps:
        found.append(
            Finding(
                "gaps",
                "warning",
                f"The bars have {describe_gaps(bars.gaps)[0]}",
                "a stop or an indicator does not see what happened inside a gap",
                "look at them with `genesis data check` and fill or cut them at the source",
            )
        )
    return found + _audit_holdout(config, usable, facts)


def _longest(space: Any) -> tuple[str, int] | None:
    """The whole-number parameter that can be largest, by path; periods are whole numbers."""
    tops = [(column.path, int(column.high)) for column in space.columns if column.kind == "int"]
    tops += [
        (path, value)
        for path, value in flatten(space.fixed).items()
        if isinstance(value, int) and not isinstance(value, bool)
    ]
    return max(tops, key=lambda item: item[1]) if tops else None


def _audit_holdout(config: StudyConfig, usable: int, facts: dict[str, Any]) -> list[Finding]:
    if config.holdout is None:
        return [
            Finding(
                "no-holdout",
                "warning",
                "No out-of-sample window is held out",
                "the best of many trials looks good on the data it was chosen on; only other data can tell",
                "add holdout: {start: …} after data.end",
            )
        ]
    try:
        held = Evaluator(config, window="holdout").prepare()
    except DataError as error:
        return [_unusable(error)]
    assert held.bars is not None
    count = len(held.bars) - held.trade_from
    facts["holdout_bars"] = count
    found = audit_window("holdout", config.holdout.start, config.holdout.end, held.bars, held.trade_from)
    if count * 10 >= usable:
        return found
    return [
        *found,
        Finding(
            "short-holdout",
            "warning",
            f"The holdout has {count:,} bars beside {usable:,} to search on",
            "a short holdout has few trades, so it cannot tell luck from skill",
            "end the search data earlier; a fifth to a third held out is usual",
        ),
    ]


def audit_lookahead(config: StudyConfig, evaluator: Evaluator) -> list[Finding]:
    """Whether the strategy looks ahead, with one random point; what it raises is left to its trials."""
    loaded = evaluator.prepare()
    points = sample_points(config.space, 1, seed=config.run.seed or 0)
    if loaded.bars is None or not len(points):
        return []
    try:
        ahead = find_lookahead(loaded.strategy, loaded.bars, config.space.decode(points[0]))
    except Exception:  # noqa: BLE001 - an author's code may raise anything
        return []
    return [] if ahead is None else [ahead]


def audit_time(config: StudyConfig, evaluator: Evaluator, facts: dict[str, Any], workers: int) -> list[Finding]:
    """Estimated time of the search from two timed trials (after one that compiles and fills caches), and whether the
    strategy looks ahead in the first that ran.
    """
    points = sample_points(config.space, 3, seed=config.run.seed or 0)
    if not len(points):
        return []
    age, marks = process_age(), [perf_counter()]
    results = []
    for result in run_points(evaluator, config.space, points):
        results.append(result)
        marks.append(perf_counter())
    loaded = evaluator.prepare()
    spent = [after - before for before, after in pairwise(marks)]
    one = float(np.mean(spent[1:])) if len(spent) > 1 else spent[0]
    failed = [result for result in results if result.state == "failed"]
    found = []
    if len(failed) == len(results):
        found.append(
            Finding(
                "all-failed",
                "error",
                f"Every timed trial failed: {failed[0].reason}",
                "a study whose trials raise learns nothing",
                "mend the strategy or the parameters; `genesis smoke` shows the traceback",
            )
        )
    elif loaded.bars is not None:
        runs = next(result for result in results if result.state != "failed")
        ahead = find_lookahead(loaded.strategy, loaded.bars, runs.params)
        found += [] if ahead is None else [ahead]
    facts["seconds_per_trial"] = one
    try:
        found += time_finding(config, facts, each=one, first=max(0.0, spent[0] - one), age=age, workers=workers)
    except ConfigError as error:  # arguments of which Optuna makes a sampler that cannot propose
        found.append(_refused(error, "sampler"))
    return found
