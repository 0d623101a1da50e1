"""Runs side by side: what differed in the studies, and what came out."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from genesis.diagnose.explain import flatten
from genesis.errors import ConfigError
from genesis.report.facts import metric_words
from genesis.report.html import cause_of
from genesis.report.plateau import find_plateau
from genesis.report.source import RunData, read_run
from genesis.report.terminal import number


@dataclass(frozen=True)
class Comparison:
    """`names` one per run, `outcomes` and `differences` rows of (label, one text per run)."""

    names: list[str]
    outcomes: list[tuple[str, list[str]]]
    differences: list[tuple[str, list[str]]]

    def to_dict(self) -> dict[str, Any]:
        """As plain data, for `--json`."""
        return {
            "runs": self.names,
            "outcomes": dict(self.outcomes),
            "differences": dict(self.differences),
        }


def compare(run_dirs: Sequence[str | os.PathLike[str]]) -> Comparison:
    """Compare two or more runs; raises ConfigError for fewer, StoreError for a folder without a run.

    Scores are comparable only between runs of one objective, data and costs: the differences say which are not.
    """
    if len(run_dirs) < 2:
        raise ConfigError(f"compare: {len(run_dirs)} run(s) given; give two or more run folders")
    runs = [read_run(folder) for folder in run_dirs]
    names = [str(run.study.get("run_id", run.path.name)) for run in runs]
    return Comparison(names, _outcomes(runs), _differences(runs))


def _outcomes(runs: list[RunData]) -> list[tuple[str, list[str]]]:
    rows: dict[str, list[str]] = {}
    every = list(dict.fromkeys(name for run in runs for name in run.ledger.metrics))
    for run in runs:
        facts = _facts(run, every)
        for label, words in facts.items():
            rows.setdefault(label, []).append(words)
    return list(rows.items())


def _facts(run: RunData, metrics: Sequence[str]) -> dict[str, str]:
    ledger = run.ledger
    best = ledger.best
    cause = cause_of(run)
    facts = {
        "trials": f"{len(ledger):,}",
        "broke a constraint": f"{int(ledger.infeasible.sum()):,}",
        "made no trade": f"{int(ledger.silent.sum()):,}",
        "pruned": f"{list(ledger.states).count('pruned'):,}",
        "failed": f"{list(ledger.states).count('failed'):,}",
        "different behaviours": f"{ledger.behaviours:,}" if ledger.has_fills else "–",
        "repeats not run": f"{sum(ledger.duplicates.values()):,}",
        "verdict": cause.what if cause is not None else "has an answer",
        "stands on": find_plateau(ledger).kind,
        "best trial": "–" if best is None else str(ledger.numbers[best]),
        "best score": "–" if best is None else number(float(ledger.scores[best])),
    }
    held: Mapping[str, float | None] = {}
    if best is not None:
        held = next((row["holdout_metrics"] for row in run.holdout if row["number"] == ledger.numbers[best]), {})
    for name in metrics:
        values = ledger.metrics.get(name)
        value = None if best is None or values is None or values[best] != values[best] else float(values[best])
        facts[name] = metric_words(name, value)
        if held:
            facts[name] += f" → {metric_words(name, held.get(name))}"
    return facts


def _differences(runs: list[RunData]) -> list[tuple[str, list[str]]]:
    studies = [flatten(run.study.get("config") or {}) for run in runs]
    for study, run in zip(studies, runs, strict=True):
        study["bars"] = (run.study.get("signature") or {}).get("bars")
    paths = list(dict.fromkeys(path for study in studies for path in study))
    rows = []
    for path in paths:
        cells = [json.dumps(study.get(path), default=str) if path in study else "–" for study in studies]
        if len(set(cells)) > 1:
            rows.append((path, cells))
    return rows
