"""Stored trials as one pandas table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from genesis.trials.store import RunStore


def results_frame(store: RunStore) -> pd.DataFrame:
    """One row per trial: columns, then `params_<dotted path>` and `metrics_<name>` in order of first appearance."""
    history = store.history()
    columns: dict[str, dict[int, Any]] = {}
    reasons: list[str | None] = []
    states: list[str] = []
    hashes: list[str | None] = []
    feasible: list[bool] = []
    for row, result in enumerate(store.results()):
        states.append(result.state)
        reasons.append(result.reason)
        hashes.append(result.fills_hash)
        feasible.append(result.feasible)
        for path, value in flatten(result.params):
            columns.setdefault(f"params_{path}", {})[row] = value
        for name, value in result.metrics.items():
            columns.setdefault(f"metrics_{name}", {})[row] = value
    count = len(states)
    data: dict[str, Any] = {
        "number": history.numbers[:count],
        "generation": history.generations[:count],
        "state": states,
        "score": history.scores[:count],
        "violation": history.violation[:count],
        "feasible": feasible,
        "origin": history.origins[:count],
        "reason": reasons,
        "fills_hash": hashes,
        "key": [key.hex() for key in history.keys[:count]],
    }
    ordered = sorted(columns, key=lambda name: not name.startswith("params_"))
    data.update({name: _column(columns[name], count, number=name.startswith("metrics_")) for name in ordered})
    return pd.DataFrame(data)


def flatten(params: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """(dotted path, value) of every leaf, in order; an empty mapping is a leaf."""
    leaves: list[tuple[str, Any]] = []
    todo: list[tuple[str, Any]] = [(key, value) for key, value in reversed(list(params.items()))]
    while todo:
        path, value = todo.pop()
        if isinstance(value, Mapping) and value:
            todo.extend((f"{path}.{key}", child) for key, child in reversed(list(value.items())))
        else:
            leaves.append((path, value))
    return leaves


def _column(cells: Mapping[int, Any], count: int, *, number: bool) -> Any:
    values = [cells.get(row) for row in range(count)]
    return np.array(values, dtype=np.float64) if number else pd.Series(values)
