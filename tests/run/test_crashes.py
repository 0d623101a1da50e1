"""A run that dies at any moment of keeping, and is typed again, ends as one that never died."""

from __future__ import annotations

import pytest
from tests.run.test_loop import search

from genesis.trials.store import RunStore


class Died(Exception):  # noqa: N818 - it stands for a kill
    """From here on the process does nothing durable any more."""


def dying(monkeypatch, after, *, kept):
    """Let the process die at its append number `after`, before that is durable or (`kept`) right after."""
    append, calls = RunStore.append, []

    def mortal(self, batch, **more):
        calls.append(len(batch))
        if len(calls) == after and kept:
            append(self, batch, **more)
        if len(calls) >= after:
            raise Died
        append(self, batch, **more)

    monkeypatch.setattr(RunStore, "append", mortal)


@pytest.mark.parametrize("lag", [0, 1, 2])
@pytest.mark.parametrize(
    "limits", [{"target": -0.002}, {"patience": 25}, {"trials": 61}], ids=["target", "plateau", "trials"]
)
@pytest.mark.parametrize("sampler", ["tpe", "auto"])
def test_a_death_at_any_keep_changes_nothing(tmp_path, monkeypatch, sampler, limits, lag):
    """Whatever ends the run, and whether the last transaction was durable: the trials of an undisturbed run."""
    how = {"trials": 300, "sampler": sampler, "lag": lag, "size": 4} | limits
    whole = search(tmp_path / "whole", **how)
    assert len(whole[1]) < 300
    appends = len({row[1] for row in whole[1]})
    for after in [1, 2, 3, *range(max(4, appends - 3 * lag - 3), appends + 2)]:
        for kept in (False, True):
            folder = tmp_path / f"{after}-{kept}"
            with monkeypatch.context() as patch:
                dying(patch, after, kept=kept)
                try:
                    search(folder, **how)
                except Died:
                    died = True
                else:
                    died = False
            assert died or after > appends
            assert search(folder, **how)[:3] == whole[:3], (after, kept)


def test_a_run_that_dies_again_and_again_comes_to_its_end(tmp_path, monkeypatch):
    """Each session keeps two generations and dies: after enough of them the run is the undisturbed one."""
    whole = search(tmp_path / "whole", 200, sampler="auto", target=-0.0)
    for _ in range(80):
        with monkeypatch.context() as patch:
            dying(patch, 2, kept=True)
            try:
                search(tmp_path / "cut", 200, sampler="auto", target=-0.0)
            except Died:
                continue
            break
    assert search(tmp_path / "cut", 200, sampler="auto", target=-0.0)[:3] == whole[:3]


@pytest.mark.parametrize("lag", [0, 1, 2])
def test_a_limit_that_the_stored_trials_have_reached_counts_them_all(tmp_path, lag):
    """Typed again with a target that was reached long ago, a run adds nothing and leaves none of its trials out."""
    whole = search(tmp_path, 96, lag=lag, sampler="tpe")
    again = search(tmp_path, 400, lag=lag, sampler="tpe", target=-30.0)
    assert again[0] == "target"
    assert again[1:3] == whole[1:3]
    assert again[3].tally.done == 96
    assert again[3].tally.best == whole[3].tally.best
