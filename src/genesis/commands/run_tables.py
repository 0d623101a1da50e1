"""Runs in words and tables for a terminal, and as JSON documents."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from genesis.report.terminal import budget_words, counts_words, duration, number, params_words
from genesis.run.proposals import CAUSES
from genesis.run.result import Run
from genesis.trials.codec import json_dumps
from genesis.types import TrialResult

MANY_PARAMETERS = 6  # more are cut to one line; `genesis show --trial` has them all
MANY_WIDTH = 36
SHOWN_METRICS = ("total_return", "sharpe", "max_drawdown", "trades")


def run_document(run: Run, *, top: int = 10) -> dict[str, Any]:
    """A run as one JSON-able mapping: what `--json` prints."""
    summary = run.summary
    states = run.states()
    return {
        "run_id": run.run_id,
        "path": str(run.path),
        "trials": run.count,
        "states": states,
        "stop_reason": run.stop_reason,
        "message": summary.get("message"),
        "elapsed": summary.get("elapsed"),
        "new_trials": summary.get("new_trials"),
        "seconds": run.seconds,
        "duplicates": run.duplicates,
        "behaviours": run.behaviours,
        "best": [trial_document(result) for result in run.top(top)],
        "holdout": run.holdout,
    }


def trial_document(result: TrialResult) -> dict[str, Any]:
    """One trial as a JSON-able mapping."""
    return {
        "number": result.number,
        "generation": result.generation,
        "key": result.key,
        "state": result.state,
        "score": result.score,
        "feasible": result.feasible,
        "params": result.params,
        "metrics": result.metrics,
        "violations": [
            {"name": one.name, "limit": one.limit, "actual": one.actual, "amount": one.amount}
            for one in result.violations
        ],
        "reason": result.reason,
        "traceback": result.traceback,
        "blocked": result.blocked,
        "fills_hash": result.fills_hash,
        "reports": list(result.reports),
    }


def print_json(document: Any) -> None:
    """One JSON document on stdout."""
    print(json_dumps(document).decode())  # noqa: T201 - a command prints


def print_run(run: Run, console: Console, *, top: int = 10) -> None:
    """A run's state, its best trials with the holdout beside them, and what the search cost."""
    states = run.states()
    console.print(Text(f"{run.run_id}: {run.count:,} trials kept in {run.path}", style="bold"))
    shown = run.top(top)
    if shown:
        console.print(best_table(shown, run.holdout, {column.path for column in run.space.columns}))
        if not shown[0].feasible:
            broken = ", ".join(one.name for one in shown[0].violations)
            console.print(Text(f"No trial keeps every constraint; the nearest breaks {broken}.", style="yellow"))
    else:
        console.print(Text("No trial has a score.", style="yellow"))
    facts = [("states", counts_words(states.items()))]
    if run.duplicates:
        words = "; ".join(f"{count:,} {CAUSES.get(cause, cause)}" for cause, count in run.duplicates.items())  # type: ignore[call-overload]
        facts.append(("not run twice", words))
    behaviours = run.behaviours
    if behaviours is not None:
        facts.append(("different", f"{behaviours:,} of {run.count:,} trials traded differently"))
    if run.stop_reason is not None:
        facts.append(("stopped", run.stop_reason + (f": {m}" if (m := run.summary.get("message")) else "")))
    if run.seconds:
        facts.append(("time", f"{duration(run.summary.get('elapsed'))}; {budget_words(run.seconds)}"))
    grid = Table.grid(padding=(0, 2))
    for label, words in facts:
        grid.add_row(Text(label, style="dim"), Text(words))
    console.print(grid)


def best_table(
    best: Sequence[TrialResult], holdout: Iterable[Mapping[str, Any]], searched: Collection[str] | None = None
) -> Table:
    """The best trials, each metric in sample, and out of sample where the trial is a finalist.

    `searched` are the dotted paths of the parameters to show; all of them if None.
    """
    judged = {row["number"]: row for row in holdout}
    common = set.intersection(*(set(result.metrics) for result in best)) if best else set()
    metrics = [name for name in SHOWN_METRICS if name in common] or sorted(common)[:4]
    metrics = [name for name in metrics if any(result.metrics[name] != result.score for result in best)]
    short = _short_names(flat(best[0].params)) if best else {}
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)
    table.add_column("trial", justify="right")
    table.add_column("score", justify="right")
    if judged:
        table.add_column("score\nholdout", justify="right", style="cyan")
    for name in metrics:
        table.add_column(name.replace("_", " "), justify="right")
        if judged:
            table.add_column("holdout", justify="right", style="cyan")
    table.add_column("parameters", overflow="fold")
    many = bool(best) and len(searched if searched is not None else flat(best[0].params)) > MANY_PARAMETERS
    for result in best:
        row = judged.get(result.number)
        cells = [f"{result.number}" if result.feasible else f"{result.number} *", number(result.score)]
        if judged:
            cells.append(number(row["holdout_score"]) if row else "")
        for name in metrics:
            cells.append(metric_words(name, result.metrics.get(name)))
            if judged:
                cells.append(metric_words(name, row["holdout_metrics"].get(name)) if row else "")
        params = flat(result.params)
        varying = {path: value for path, value in params.items() if searched is None or path in searched}
        words = params_words({short.get(path, path): value for path, value in varying.items()})
        table.add_row(*cells, f"{words[:MANY_WIDTH]}…" if many and len(words) > MANY_WIDTH else words)
    if any(not result.feasible for result in best):
        table.caption = "* breaks a constraint"
    return table


def flat(params: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested parameters by dotted path."""
    found: dict[str, Any] = {}
    for name, value in params.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = value
    return found


def _short_names(params: Mapping[str, Any]) -> dict[str, str]:
    """The shortest ending of each path that no other path has."""
    short = {}
    for path in params:
        parts = path.split(".")
        for length in range(1, len(parts) + 1):
            ending = ".".join(parts[-length:])
            if sum(other == ending or other.endswith(f".{ending}") for other in params) == 1:
                break
        short[path] = ending
    return short


def metric_words(name: str, value: float | None) -> str:
    """A metric for a table: fractions of money as per cent, counts whole."""
    if value is None:
        return "–"
    if name in ("total_return", "cagr", "volatility", "max_drawdown", "win_rate", "exposure"):
        return f"{value:.1%}"
    return f"{value:,.0f}" if name == "trades" else number(value)


def runs_table(runs: Sequence[Run]) -> Table:
    """One row per kept run."""
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)
    for name, justify in (("run", "left"), ("trials", "right"), ("best", "right"), ("stopped", "left"), ("of", "left")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    for run in runs:
        best = run.top(1)
        signature = run.study.get("signature", {})
        what = signature.get("strategy") or signature.get("evaluate") or " ".join(signature.get("command") or ())
        table.add_row(
            run.run_id, f"{run.count:,}", number(best[0].score if best else None), run.stop_reason or "–", what or "–"
        )
    return table
