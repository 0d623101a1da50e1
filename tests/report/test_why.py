"""A run and a trial explained from the store: the stop, the verdict, the fills."""

from __future__ import annotations

from genesis.report.why import explain_one, explain_run
from genesis.run.result import Run


def test_a_finished_run_says_how_it_ended_and_what_came_of_it(run: Run) -> None:
    """The stop first, then the verdict of the report."""
    found = explain_run(run.path)
    assert found.headline == "The run finished: it ran the 80 trials it was given."
    assert dict(found.lines)["verdict"].startswith(f"Trial {run.best.number} ")


def test_a_trial_is_shown_with_its_fills(run: Run) -> None:
    """The fills come from running it again, and nothing differs."""
    found = explain_one(run.path, run.best.number)
    labels = [label for label, _ in found.lines]
    assert labels.count("fill") == 21
    assert "alarm" not in labels
    assert found.headline.startswith(f"Trial {run.best.number} scored")


def test_a_finalist_is_shown_with_its_holdout(run: Run) -> None:
    """What the run judged on the holdout stands beside what the search saw."""
    judged = run.holdout[0]
    lines = dict(explain_one(run.path, judged["number"]).lines)
    assert lines["trades"].split() == [f"{judged[name]['trades']:.0f}" for name in ("metrics", "holdout_metrics")]
