"""Runs in words and tables for a terminal, and as JSON documents."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from genesis.errors import StoreError
from genesis.report.terminal import budget_words, counts_words, duration, number, params_words
from genesis.run.proposals import CAUSES
from genesis.run.result import Run
from genesis.trials.codec import json_dumps
from genesis.types import TrialResult

MANY_PARAMETERS = 6  # more are cut to one line; `genesis show --trial` has them all
MANY_WIDTH = 100
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
        "infeasible": run.infeasible,
        "no_trades": run.without_trades,
        "imported": run.imported,
        "ended": run.ended,
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
    shown = run.top(top, distinct=True)
    if shown:
        console.print(best_table(shown, run.holdout))
        console.print(parameters_table(shown, {column.path for column in run.space.columns}))
        if not shown[0].feasible:
            broken = ", ".join(one.name for one in shown[0].violations)
            console.print(Text(f"No trial keeps every constraint; the nearest breaks {broken}.", style="yellow"))
    else:
        console.print(Text("No trial has a score.", style="yellow"))
    facts = [("states", counts_words(states.items()))]
    if (words := counts_words([("broke a constraint", run.infeasible), ("no trades", run.without_trades)])) != "none":
        facts.append(("among them", words))
    if states["failed"] or (run.count and not shown):
        facts.append(("why", _commonest_reason(run)))
    if run.duplicates:
        words = "; ".join(f"{count:,} {CAUSES.get(cause, cause)}" for cause, count in run.duplicates.items())  # type: ignore[call-overload]
        facts.append(("not run twice", words))
    behaviours = run.behaviours
    if behaviours is not None:
        facts.append(("different", f"{behaviours:,} behaviours among the {run.traded:,} trials that traded"))
    facts += _end(run)
    grid = Table.grid(padding=(0, 2))
    for label, words in facts:
        grid.add_row(Text(label, style="dim"), Text(words))
    console.print(grid)


def _end(run: Run) -> list[tuple[str, str]]:
    """How the last session ended and where its time went; for a run that has no end, what to type."""
    if run.imported is not None:
        return [("imported", f"from {run.imported}, with the scores it had there; there is no study to go on with")]
    if not run.ended:
        return [
            ("stopped", f"no end is recorded: the run goes on, or it was killed; genesis resume {run.path} goes on")
        ]
    facts = [("stopped", f"{run.stop_reason}" + (f": {m}" if (m := run.summary.get("message")) else ""))]
    if run.seconds:
        kept = run.store.meta("summary")  # a complete run typed again has no session of its own
        spent = f"{kept['new_trials']:,} trials in {duration(kept['elapsed'])} of search (loading and holdout apart)"
        facts.append(("last session", f"{spent}; all its processes: {budget_words(run.seconds)}"))
    return facts


def _commonest_reason(run: Run) -> str:
    """Why trials failed (or, if none failed, have no score): the commonest reason among the first 200, and where."""
    history = run.store.history()
    failed = [int(number) for number in history.numbers[history.states == 1][:200]]
    silent = failed or [int(number) for number in history.numbers[:200]]
    reasons: dict[str, list[int]] = {}
    for result in map(run.trial, silent):
        reasons.setdefault(result.reason or "no score", []).append(result.number)
    words, numbers = max(reasons.items(), key=lambda item: len(item[1]))
    return f"{words.strip()[:300]} (trial {numbers[0]}; genesis show {run.path} --trial {numbers[0]} has it whole)"


def best_table(best: Sequence[TrialResult], holdout: Iterable[Mapping[str, Any]]) -> Table:
    """The best trials, each metric in sample, and out of sample where the trial is a finalist."""
    judged = {row["number"]: row for row in holdout}
    common = set.intersection(*(set(result.metrics) for result in best)) if best else set()
    metrics = [name for name in SHOWN_METRICS if name in common] or sorted(common)[:4]
    metrics = [name for name in metrics if any(result.metrics[name] != result.score for result in best)]
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)
    table.add_column("trial", justify="right")
    for name in ("score", *(name.replace("_", " ") for name in metrics)):
        table.add_column(name, justify="right")
        if judged:
            table.add_column("holdout", justify="right", style="cyan")
    for result in best:
        row = judged.get(result.number)
        cells = [_numbered(result), number(result.score)]
        if judged:
            cells.append(number(row["holdout_score"]) if row else "")
        for name in metrics:
            cells.append(metric_words(name, result.metrics.get(name)))
            if judged:
                cells.append(metric_words(name, row["holdout_metrics"].get(name)) if row else "")
        table.add_row(*cells)
    if any(not result.feasible for result in best):
        table.caption = "* breaks a constraint"
    return table


def parameters_table(best: Sequence[TrialResult], searched: Collection[str] | None = None) -> Table:
    """The same trials' parameters, a column each; in one column of words when there are many.

    `searched` are the dotted paths to show; all of them if None.
    """
    rows = [{p: v for p, v in flat(one.params).items() if searched is None or p in searched} for one in best]
    paths = list(dict.fromkeys(path for row in rows for path in row))
    short = _short_names(dict.fromkeys(paths))
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)
    table.add_column("trial", justify="right")
    if len(paths) > MANY_PARAMETERS:
        table.add_column("parameters", overflow="fold")
        for result, row in zip(best, rows, strict=True):
            words = params_words({short[path]: value for path, value in row.items()})
            table.add_row(_numbered(result), f"{words[:MANY_WIDTH]}…" if len(words) > MANY_WIDTH else words)
        return table
    for path in paths:
        table.add_column(short[path], justify="right", overflow="fold")
    for result, row in zip(best, rows, strict=True):
        table.add_row(_numbered(result), *(_value_words(row[path]) if path in row else "" for path in paths))
    return table


def _value_words(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _numbered(result: TrialResult) -> str:
    return f"{result.number}" if result.feasible else f"{result.number} *"


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


def run_line(run: Run) -> dict[str, Any]:
    """A run as one JSON-able line of a list; with `error` in place of its facts where it cannot be read."""
    try:
        best = run.top(1)
        return {
            "run_id": run.run_id,
            "path": str(run.path),
            "trials": run.count,
            "stop_reason": run.stop_reason,
            "best": best[0].score if best else None,
        }
    except StoreError as error:
        return {"run_id": run.path.name, "path": str(run.path), "error": str(error)}


def runs_table(runs: Sequence[Run]) -> Table:
    """One row per kept run."""
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)
    for name, justify in (("run", "left"), ("trials", "right"), ("best", "right"), ("stopped", "left"), ("of", "left")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    for run in runs:
        try:
            best = run.top(1)
        except StoreError as error:
            table.add_row(run.path.name, "–", "–", "cannot be read", str(error))
            continue
        signature = run.study.get("signature", {})
        what = signature.get("strategy") or signature.get("evaluate") or " ".join(signature.get("command") or ())
        stopped = run.stop_reason or ("imported" if run.imported else "no end recorded")
        table.add_row(run.run_id, f"{run.count:,}", number(best[0].score if best else None), stopped, what or "–")
    return table
