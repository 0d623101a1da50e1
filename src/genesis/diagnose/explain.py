"""One trial or one stop in plain words: what was tried, what stood in the way, why the score is what it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from genesis.diagnose.zero_trades import gate_counts
from genesis.types import TrialResult

FILLS = 20  # printed of a trial; `genesis backtest RUN --trial N --fills FILE` writes all


@dataclass(frozen=True, slots=True)
class Explanation:
    """`headline` names the cause in one sentence; `lines` are (label, text) pairs in reading order."""

    headline: str
    lines: tuple[tuple[str, str], ...]

    def text(self) -> str:
        """The explanation as lines for a terminal."""
        if not self.lines:
            return self.headline
        width = max(len(label) for label, _ in self.lines)
        return "\n".join([self.headline, "", *(f"{label:<{width}}  {words}" for label, words in self.lines)])

    def to_dict(self) -> dict[str, Any]:
        """As plain data, for `--json`."""
        return {"headline": self.headline, "lines": [list(line) for line in self.lines]}


def flatten(params: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested parameters as dotted paths.

    >>> flatten({"ma": {"fast": 10}, "side": "long"})
    {'ma.fast': 10, 'side': 'long'}
    """
    flat: dict[str, Any] = {}
    for name, value in params.items():
        path = f"{prefix}{name}"
        if isinstance(value, Mapping):
            flat.update(flatten(value, path + "."))
        else:
            flat[path] = value
    return flat


def shown(value: Any) -> str:
    """A number for people: six significant digits, whole numbers whole."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:,.6g}"


def why_score(result: TrialResult) -> str:
    """Why a trial's score is what it is, in one sentence that names the cause.

    The causes are asked in this order: failed, pruned, no trade, undefined score, constraints, none.
    """
    if result.state == "failed":
        return f"Trial {result.number} failed: {result.reason or 'it raised an exception'}."
    if result.state == "pruned":
        return f"Trial {result.number} was pruned: {result.reason or 'its running score was worse than the others'}."
    gates = gate_counts([result])
    if result.metrics.get("trades") == 0:
        if not gates:
            return f"Trial {result.number} made no trade: its entry condition never came true."
        gate, bars = next(iter(gates.items()))
        return f"Trial {result.number} made no trade: gate '{gate}' blocked {bars:,} bars."
    if result.score is None:
        return f"Trial {result.number} has no score: {result.reason or 'its objective is undefined'}."
    if result.violations:
        worst = max(result.violations, key=lambda violation: violation.amount)
        actual = "undefined" if worst.actual is None else shown(worst.actual)
        return (
            f"Trial {result.number} breaks {len(result.violations)} constraint(s), the worst being {worst.name} "
            f"{shown(worst.limit)} (it has {actual})."
        )
    return f"Trial {result.number} scored {shown(result.score)} and keeps every constraint."


def explain_trial(result: TrialResult, *, fills: Any = None, holdout: Mapping[str, Any] | None = None) -> Explanation:
    """Explain one stored trial.

    `fills` is its table of fills (a DataFrame) when it was run again, `holdout` its row among the judged finalists.
    """
    lines = [("key", result.key), ("state", result.state), ("generation", str(result.generation))]
    lines += [(f"param {path}", shown(value)) for path, value in flatten(result.params).items()]
    lines += _metric_lines(result.metrics, holdout)
    lines += [
        (
            f"constraint {violation.name}",
            f"limit {shown(violation.limit)}, has "
            + ("an undefined value" if violation.actual is None else shown(violation.actual)),
        )
        for violation in result.violations
    ]
    lines += [(f"gate {gate}", f"blocked {bars:,} bars") for gate, bars in gate_counts([result]).items()]
    lines += [(f"time {stage}", f"{seconds * 1e3:.3f} ms") for stage, seconds in result.seconds.items()]
    if result.fills_hash:
        lines.append(("fills hash", result.fills_hash))
    if fills is not None:
        lines += [("fill" if row else "fills", words) for row, words in enumerate(_fill_rows(fills.head(FILLS)))]
        if len(fills) > FILLS:
            lines.append(("fill", f"... and {len(fills) - FILLS:,} more"))
    if result.traceback:
        lines += [("traceback", line) for line in result.traceback.rstrip().splitlines()]
    return Explanation(why_score(result), tuple(lines))


def _metric_lines(metrics: Mapping[str, float | None], holdout: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """The metrics; for a finalist a column each for the search and the holdout, under a heading."""
    inside = {name: _defined(value) for name, value in metrics.items()}
    if holdout is None:
        return list(inside.items())
    width = max(9, *map(len, inside.values())) + 3
    lines = [("metric", f"{'in search':<{width}}in holdout")]
    judged = holdout["holdout_metrics"]
    for name, words in inside.items():
        lines.append((name, f"{words:<{width}}{_defined(judged.get(name))}"))
    if holdout.get("holdout_score") is None and holdout.get("holdout_reason"):
        lines.append(("holdout", str(holdout["holdout_reason"])))
    return lines


def _defined(value: float | None) -> str:
    return "undefined" if value is None else shown(value)


def _fill_rows(fills: Any) -> list[str]:
    """A table of fills under its headings, numbers to the right; the time of day only where one is not midnight."""
    columns = []
    for name in fills.columns:
        cells = [shown(value) for value in fills[name].tolist()]
        if all(cell.endswith(" 00:00:00+00:00") for cell in cells):
            cells = [cell.removesuffix(" 00:00:00+00:00") for cell in cells]
        cells.insert(0, str(name))
        width = max(map(len, cells))
        number = fills[name].dtype.kind in "iuf"
        columns.append([cell.rjust(width) if number else cell.ljust(width) for cell in cells])
    return ["  ".join(row).rstrip() for row in zip(*columns, strict=True)]


_STOPS = {
    "trials": "The run finished: it ran the {trials} trials it was given.",
    "exhausted": "The run finished early: every one of the space's {size} points has been tried.",
    "seconds": "The run stopped at its time limit after {trials} trials.",
    "target": "The run stopped because the target score was reached: {best}.",
    "plateau": "The run stopped because nothing improved for as many trials as run.patience allows.",
    "failures": "The run stopped because too many trials failed.",
    "interrupted": "The run was interrupted after {trials} trials; `genesis resume` goes on where it stopped.",
}


def explain_stop(reason: str | None, facts: Mapping[str, Any]) -> Explanation:
    """Explain why a run stopped; `facts` may hold trials, size, best, duplicates, failed, message.

    An unknown `reason` is repeated as it is; None means no stop was recorded (running, or killed).
    """
    known = {"trials": "?", "size": "?", "best": "?"} | {name: shown(value) for name, value in facts.items()}
    if reason is None:
        headline = "No stop is recorded: the run is going on or was killed; `genesis resume` continues it."
    elif reason == "exhausted" and facts.get("trials") == 0:
        headline = "No trial ran: not one of the space's points keeps its rules; loosen `rules` or widen the ranges."
    elif reason in _STOPS:
        headline = _STOPS[reason].format(**known)
    else:
        headline = f"The run stopped: {reason}."
    return Explanation(headline, tuple((name, known[name]) for name in facts))
