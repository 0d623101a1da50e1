"""The smoke test: few trials, nothing kept, and the value that would open a closed study."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest

from genesis.diagnose.smoke import smoke
from genesis.errors import ConfigError

FIB: dict[str, Any] = {
    "data": {"source": "sample:IBM", "end": "2008-12-31"},
    "strategy": "fibonacci",
    "costs": {"fee_bps": 5.0, "slippage_bps": 2.0},
    "objective": "sharpe",
    "parameters": {
        "thresholds": {
            "entry_conf_overall": {"type": "float", "low": 0.97, "high": 0.99},
        }
    },
    "run": {"run_id": "fib", "max_trials": 30, "seed": 1},
}


def test_a_trading_study_is_healthy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It trades, it is timed, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    study = copy.deepcopy(FIB)
    study["parameters"] = {"thresholds": {"entry_conf_overall": {"type": "float", "low": 0.25, "high": 0.35}}}
    found = smoke(study, trials=2)
    assert found.healthy
    assert len(found.results) == len(found.seconds) == 2
    assert all(seconds > 0.0 for seconds in found.seconds)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("trials", [0, 1, 6])
def test_two_to_five_trials(trials: int) -> None:
    """Another number is refused."""
    with pytest.raises(ConfigError, match="2 to 5"):
        smoke(FIB, trials=trials)


def test_gates_are_counted_when_nothing_trades() -> None:
    """Every gate that blocked is named with bars a trial."""
    found = smoke(FIB)
    assert not found.healthy
    (finding,) = found.findings
    assert finding.what.startswith("No trial traded")
    gate = max(found.results[0].blocked, key=lambda name: found.results[0].blocked[name])
    assert gate in finding.why


def test_the_probe_names_the_value_that_opens() -> None:
    """With only the confidence in the way, its low end is found and said."""
    study = copy.deepcopy(FIB)
    study["parameters"] = {"thresholds": {"entry_conf_overall": {"type": "float", "low": 0.2, "high": 40.0 / 41.0}}}
    study["run"]["seed"] = next(
        seed for seed in range(50) if not smoke({**study, "run": study["run"] | {"seed": seed}}, trials=2).healthy
    )
    found = smoke(study, trials=2)
    assert "entry_conf_overall: 0.2 gives" in found.findings[0].edit


def test_a_gate_closed_over_the_whole_range_is_opened_outside_it() -> None:
    """When no searched value trades, the parameter that the blocking gate is named after is tried beyond its range."""
    found = smoke(FIB)
    words = re.search(r"set thresholds.entry_conf_overall near ([0-9.]+), where (\d+) trades", found.findings[0].edit)
    assert words
    opened = copy.deepcopy(FIB)
    opened["parameters"] = {
        "thresholds": {"entry_conf_overall": float(words.group(1))},
        "exit": {"max_hold_bars": {"type": "grid", "values": [30, 31]}},
    }
    assert max(result.metrics["trades"] or 0 for result in smoke(opened, trials=2).results) == float(words.group(2))
