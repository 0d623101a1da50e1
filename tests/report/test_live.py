"""Displays: the same facts on a terminal, in a log, for machines and in a notebook; warnings once."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from genesis.config import load_study
from genesis.diagnose.findings import Finding
from genesis.report.live import Display, JsonLines, LivePanel, LogLines, Watched, make_display, notebook_html
from genesis.report.terminal import facts, line, sparkline
from genesis.run.events import ProgressEvent
from genesis.run.result import Run
from genesis.run.study import optimize

EVENT = ProgressEvent(
    run_id="demo", phase="searching", done=120, total=200, resumed=20, generation=9, elapsed=75.0, rate=12.5, eta=6.4,
    best_score=1.234567, best_number=88, best_params={"ma": {"fast": 10}, "side": "<b>"}, best_metrics={"trades": 3.0},
    best_feasible=True, last_improvement=88, duplicates={"stored": 30, "claimed": 0}, behaviours=70, zero_trades=60,
    infeasible=5, failures=2, pruned=1, workers=2, workers_busy=1, seconds={"backtest": 3.0, "idle": 1.0},
)  # fmt: skip
WARNING = Finding("zero-trades", "warning", "60 of 120 trials <i>", "a gate", "lower it")


def test_facts_say_everything_the_run_knows() -> None:
    """Rate, best, parameters, improvement, repeats by cause, silence, failures, workers, time, ETA."""
    text = "\n".join(f"{label} {words}" for label, words in facts(EVENT))
    for words in ("120 of 200", "12.5 trials/s", "1 min 15 s", "1.235 by trial 88", "ma.fast=10", "31 trials ago",
                  "20% (stored 30)",
                  "60 (50%)", "failed 2", "70 behaviours", "1 of 2 busy", "backtest 75%", "6.4 s"):  # fmt: skip
        assert words in text


def test_nothing_yet_is_said_plainly() -> None:
    """Before the first trial there is no best, no rate, and nothing breaks."""
    empty = ProgressEvent(
        run_id="demo", phase="starting", done=0, total=None, resumed=0, generation=0, elapsed=0.0, rate=None, eta=None,
        best_score=None, best_number=None, best_params=None, best_metrics=None, best_feasible=False,
        last_improvement=None,
    )  # fmt: skip
    assert facts(empty)[0][1].startswith("0, –")
    assert line(empty) == "demo starting 0 | –"


def test_log_lines_are_few_and_end_with_the_stop() -> None:
    """A line when the phase changes, not one an event."""
    stream = io.StringIO()
    log = LogLines(stream, every=1e9)
    for _ in range(50):
        log(EVENT)
    log(replace(EVENT, phase="finished", stop_reason="trials"))
    log.warn(WARNING)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 2 + 3
    assert "stopped: trials" in lines[1]
    assert lines[2].startswith("warning: 60 of 120")


def test_json_lines_parse() -> None:
    """Every line is one JSON object with its kind."""
    stream = io.StringIO()
    out = JsonLines(stream)
    out(EVENT)
    out.warn(WARNING)
    first, second = (json.loads(text) for text in stream.getvalue().splitlines())
    assert (first["kind"], first["done"], first["best_params"]["ma"]["fast"]) == ("progress", 120, 10)
    assert (second["kind"], second["code"]) == ("warning", "zero-trades")


def test_the_panel_draws_and_keeps_text_as_text() -> None:
    """The panel shows facts, a sparkline and warnings; markup in user text is not interpreted."""
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=100, color_system=None)
    with LivePanel(console) as panel:
        panel(EVENT)
        panel(replace(EVENT, best_score=2.0, best_params={"side": "[red]x[/red]"}))
        panel.warn(WARNING)
    text = stream.getvalue()
    for words in ("demo · searching", "▁█", "[red]x[/red]", "60 of 120 trials"):
        assert words in text
    assert not any("━" in row and "trials" in row for row in text.splitlines())  # the bar has its own line


def test_the_notebook_escapes() -> None:
    """Parameters and warnings are text in HTML."""
    page = notebook_html(EVENT, [1.0, 2.0], [WARNING])
    assert "side=&lt;b&gt;" in page
    assert "&lt;i&gt;" in page
    assert "▁█" in page


@pytest.mark.parametrize(
    ("values", "shown"),
    [([], ""), ([5.0, 5.0], "▁▁"), ([0.0, float("nan"), 7.0], "▁ █"), ([float("nan")], " ")],
)
def test_sparkline(values: list[float], shown: str) -> None:
    """Lowest to highest; constants are low, holes are blank."""
    assert sparkline(values) == shown
    assert len(sparkline([float(i) for i in range(1_000)], width=30)) == 30


def test_modes() -> None:
    """Each mode has its display; a pipe gets lines."""
    stream = io.StringIO()
    assert isinstance(make_display("auto", console=Console(file=stream)), LogLines)
    assert isinstance(make_display("json", stream=stream), JsonLines)
    assert type(make_display("quiet")) is Display


class _Record(Display):
    def __init__(self) -> None:
        self.events: list[ProgressEvent] = []
        self.warned: list[Finding] = []

    def __call__(self, event: ProgressEvent) -> None:
        self.events.append(event)

    def warn(self, finding: Finding) -> None:
        self.warned.append(finding)


def test_a_run_tells_its_warnings_once(tmp_path: Any) -> None:
    """A study whose trials never trade says so while it runs, once, with the gate."""
    config = load_study(
        {
            "data": {"source": "sample:IBM", "end": "2004-12-31"},
            "strategy": "fibonacci",
            "costs": {"fee_bps": 5.0, "slippage_bps": 2.0},
            "objective": "sharpe",
            "parameters": {"thresholds": {"entry_conf_overall": {"type": "float", "low": 0.97, "high": 0.99}}},
            "run": {"run_id": "silent", "max_trials": 60, "seed": 1, "sampler": "random"},
        },
        env={},
    )
    record = _Record()
    with Watched(record, config) as display:
        optimize(config, workers=0, runs_dir=tmp_path, progress=display)
    assert [finding.code for finding in record.warned] == ["zero-trades"]
    assert "conf" in record.warned[0].why
    assert record.events[-1].phase == "finished"


def test_a_resumed_run_tells_how_long_it_loaded(run: Run, study: dict[str, Any], tmp_path: Path) -> None:
    """The loop reports the load of a resume, and a slow one is a warning."""
    seen: list[tuple[int, float]] = []

    class Loads(_Record):
        def loaded(self, trials: int, seconds: float) -> None:
            seen.append((trials, seconds))

    for budget in (10, 14):
        config = load_study(study | {"run": study["run"] | {"max_trials": budget}}, env={})
        optimize(config, workers=0, runs_dir=tmp_path, progress=Loads())
    assert [trials for trials, _ in seen] == [0, 10]
    record = _Record()
    watched = Watched(record, config)
    watched.loaded(10, 0.01)
    watched.loaded(20_000, 5.0)
    assert [finding.code for finding in record.warned] == ["slow-loading"]
