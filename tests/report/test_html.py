"""The report as a file: complete, escaped, self-contained, true to the store, and loud when it is not."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
import sqlite3
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from genesis.errors import StoreError
from genesis.report import html
from genesis.report.facts import metric_words
from genesis.report.html import plotly_script, render, write_report
from genesis.report.replay import luck, replay
from genesis.report.source import read_run
from genesis.run.result import Run
from genesis.run.study import optimize
from genesis.trials.store import RunStore


def _unpacked(page: str, block: str) -> bytes:
    found = re.search(rf'id="{block}">([^<]*)<', page)
    assert found
    return gzip.decompress(base64.b64decode(found.group(1)))


def _payload(page: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(_unpacked(page, "payload"))
    return found


@pytest.fixture(scope="module")
def page(run: Run) -> str:
    return render(read_run(run.path))


class _Structure(HTMLParser):
    """Collects what a screen reader goes by."""

    def __init__(self) -> None:
        super().__init__()
        self.headings: list[int] = []
        self.plots: list[dict[str, str | None]] = []
        self.links: list[str] = []
        self.unscoped = 0
        self.ids: list[str] = []
        self.targets: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if "data-figure" in found:
            self.plots.append(found)
        if tag == "th" and "scope" not in found:
            self.unscoped += 1
        if found.get("id"):
            self.ids.append(str(found["id"]))
        for name in ("src", "href", "action", "data"):
            value = found.get(name)
            if value is not None:
                (self.targets if value.startswith("#") else self.links).append(value)


def test_structure_for_readers(page: str) -> None:
    """One h1, no skipped level, every th scoped, every figure labelled in words, ids unique, anchors resolve."""
    seen = _Structure()
    seen.feed(page)
    assert seen.headings.count(1) == 1
    assert all(after - before <= 1 for before, after in zip(seen.headings, seen.headings[1:], strict=False))
    assert seen.unscoped == 0
    assert all(plot["aria-label"] and plot["role"] == "img" for plot in seen.plots)
    assert len(set(seen.ids)) == len(seen.ids)
    assert {target[1:] for target in seen.targets} <= set(seen.ids)


def test_nothing_is_loaded_from_elsewhere(page: str) -> None:
    """No attribute points outside the file, and the policy forbids every connection."""
    seen = _Structure()
    seen.feed(page)
    assert seen.links == []
    assert "default-src 'none'" in unescape(page)
    assert "url(" not in page.split("<body>")[0]


def test_policy_allows_exactly_our_scripts(page: str) -> None:
    """The two hashes are those of the page's own script and of plotly.js."""
    own = page.rpartition("<script>")[2].partition("</script>")[0]
    for source in (own, plotly_script()):
        digest = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in unescape(page)
    assert _unpacked(page, "plotly").decode() == plotly_script()


def test_every_section_the_reader_needs(page: str) -> None:
    """Verdict first, then trading, search, parameters, trials, time, and what repeats the study."""
    order = [page.index(f'<section id="{name}"') for name in ("verdict", "trading", "search", "space", "trials")]
    assert order == sorted(order)
    figures = _payload(page)["figures"]
    drawn = set(re.findall(r'data-figure="([^"]+)"', page))
    assert drawn <= set(figures)
    for key in ("equity", "monthly", "best-so-far", "distribution", "importance", "parallel", "time", "slice-0"):
        assert key in drawn
    assert any(key.startswith("plateau-") for key in drawn)
    assert sum(key.startswith("price-") for key in figures) == 10


def test_figures_carry_the_true_trial(page: str, run: Run) -> None:
    """The table holds every trial with its score; the best comes first."""
    table = _payload(page)["table"]
    names = [column["name"] for column in table["columns"]]
    stored = run.trials()
    assert table["data"][0] == stored["number"].tolist()
    assert {"sharpe", "trades", "fast", "slow", "side"} <= set(names)
    assert table["data"][0][table["order"][0]] == run.best.number


def test_replay_agrees_to_the_bit(run: Run) -> None:
    """The best ten, run again from stored parameters, give every stored metric exactly, in and out of sample."""
    played = replay(read_run(run.path))
    assert len(played.trials) == 10
    assert played.alarms == []
    for again in played.trials:
        assert dict(again.inside.metrics) == run.trial(again.number).metrics
        assert again.outside is not None


def test_a_changed_result_is_said_loudly(run: Run, tmp_path: Path) -> None:
    """A store whose metric was altered gives an alarm that names trial, metric and both values."""
    folder = tmp_path / "copy"
    folder.mkdir()
    with sqlite3.connect(run.path / "run.db") as source, sqlite3.connect(folder / "run.db") as target:
        source.backup(target)
    source.close()
    target.close()
    data = read_run(folder)
    number = int(data.ledger.numbers[data.ledger.best_different[0]])
    with RunStore.open(folder, read_only=True) as store:
        stored = store.result(number)
    altered = replace(stored, metrics=stored.metrics | {"total_return": 99.0})
    original = RunStore.results

    def tampered(self: RunStore, numbers: Any = None) -> Any:
        for result in original(self, numbers):
            yield altered if result.number == number else result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunStore, "results", tampered)
        page = render(read_run(folder))
    assert 'role="alert"' in page
    assert f"Trial {number}, run again from its stored parameters, does not give its stored results" in page
    assert "total_return was 99.0" in page


def test_user_text_is_escaped(tmp_path: Path, study: dict[str, Any]) -> None:
    """A choice that is HTML stays text, in the page and in the data block."""
    evil = "<img src=x onerror=alert(1)></script>"
    found = optimize(
        {
            "evaluate": evaluate_evil,
            "objective": "score",
            "parameters": {"word": {"type": "grid", "values": [evil, "b"]}, "x": {"type": "int", "low": 0, "high": 9}},
            "run": {"run_id": "evil", "max_trials": 15, "seed": 1, "sampler": "random"},
        },
        workers=0,
        runs_dir=tmp_path,
    )
    page = render(read_run(found.path))
    assert evil not in page
    assert "&lt;img" in page
    assert page.count("</script>") == 3


def evaluate_evil(params: dict[str, Any]) -> dict[str, float]:
    return {"score": float(params["x"])}


def test_written_whole_and_in_place(run: Run, tmp_path: Path) -> None:
    """The file is complete under its name, small, and no temporary file stays."""
    path = write_report(run.path, output=tmp_path / "r.html")
    assert path.read_text(encoding="utf-8").rstrip().endswith("</html>")
    assert path.stat().st_size < 6_000_000
    assert [entry.name for entry in tmp_path.iterdir()] == ["r.html"]


def test_a_page_goes_into_a_file_or_nowhere(run: Run, tmp_path: Path) -> None:
    """A device or folder is never replaced, and a missing folder is named."""
    with pytest.raises(StoreError, match="is not a file"):
        write_report(run.path, output="/dev/null")
    assert not Path("/dev/null").is_file()
    with pytest.raises(StoreError, match="is not a file"):
        write_report(run.path, output=tmp_path)
    with pytest.raises(StoreError, match="cannot be written"):
        write_report(run.path, output=tmp_path / "missing" / "report.html")


def test_refresh_reloads_only_when_asked(run: Run) -> None:
    """A report of a going run reloads itself; a final one does not."""
    data = read_run(run.path)
    assert 'http-equiv="refresh" content="10"' in render(data, refresh=10)
    assert 'http-equiv="refresh"' not in render(data)


def test_luck_counts_what_was_tried(run: Run) -> None:
    """Different behaviours bound the effective number; the deflated Sharpe ratio and the split test are there."""
    data = read_run(run.path)
    found = luck(data, replay(data))
    assert 1.0 <= found.independent <= found.distinct <= run.count
    assert found.deflated is not None
    assert 0.0 <= found.deflated.probability <= 1.0
    assert found.overfitting is not None
    assert found.sampled > 10


def test_metric_words() -> None:
    """Shares are per cent, counts whole, an undefined value is a dash."""
    assert metric_words("total_return", -0.0123) == "-1.23%"
    assert metric_words("trades", 1234.0) == "1,234"
    assert metric_words("signals", 123_456.0) == "123,456"
    assert metric_words("sharpe", None) == "–"


def test_what_became_of_the_trials_is_counted(tmp_path: Path, study: dict[str, Any]) -> None:
    """Broken constraints, silence, failures and behaviours each have a row, and the page says how they are counted."""
    strict = study | {"constraints": {"min_trades": 40}, "run": study["run"] | {"max_trials": 40}}
    run = optimize(strict, workers=0, runs_dir=tmp_path)
    page = render(read_run(run.path))
    table = page.partition('<table class="outcomes">')[2].partition("</table>")[0]
    rows = {
        re.sub(" <span.*", "", name): int(count.replace(",", ""))
        for name, count in re.findall(r'<th scope="row">(.*?)</th><td>([\d,]+)</td>', table)
    }
    stored = run.trials()
    broke = int((stored["metrics_trades"] < 40).sum())
    assert 0 < broke < run.count
    assert rows["ran"] == run.count
    assert rows["broke a constraint"] == broke
    assert rows["kept every constraint"] == run.count - broke
    assert (rows["failed"], rows["pruned"]) == (0, 0)
    assert rows["different behaviours"] == stored.loc[stored["metrics_trades"] > 0, "fills_hash"].nunique()
    assert f'<span class="note">min_trades {broke}</span>' in table
    assert "no trade are none" in table


def test_the_dates_are_those_of_the_bars_used(tmp_path: Path, study: dict[str, Any], page: str) -> None:
    """Where the data begin later or end earlier than the study asks, both are said; the warm-up is not used."""
    data = {"source": "sample:IBM", "start": "1990-01-01", "end": "2008-12-31", "warmup_bars": 60}
    beyond = study | {"data": data, "holdout": {"start": "2009-01-02", "end": "2031-05-05"}}
    found = optimize(beyond | {"run": study["run"] | {"max_trials": 16}}, workers=0, runs_dir=tmp_path)
    data_run = read_run(found.path)
    played = replay(data_run)
    bars, ahead = played.trials[0].inside.bars, played.trials[0].outside
    assert ahead is not None
    first, last = f"{bars.index[60]:%Y-%m-%d}", f"{ahead.bars.index[-1]:%Y-%m-%d}"
    shown = render(data_run)
    assert f"in sample {first} to 2008-12-31 (asked for: 1990-01-01 to 2008-12-31)" in shown
    assert f"out of sample 2009-01-02 to {last} (asked for: 2009-01-02 to 2031-05-05)" in shown
    assert "2031" not in first + last
    assert "in sample" in page
    assert "asked for" not in page.partition("</caption>")[0].partition("in sample ")[2].partition(",")[0]


def test_identity_names_everything_to_repeat_it(page: str, run: Run) -> None:
    """Seed, signature digest, data fingerprint and kernel version are in the page."""
    signature = run.study["signature"]
    for words in (
        signature["bars"]["fingerprint"],
        f">{run.study['config']['run']['seed']}<",
        html._digest(signature),
        "Python 3.",
    ):
        assert words in page


def sphere(params: dict[str, Any]) -> dict[str, float]:
    return {"loss": params["x"] ** 2 + (0.5 if params["kind"] == "b" else 0.0)}


def test_a_callable_without_data_has_a_report(tmp_path: Path) -> None:
    """A study that trades nothing has no trading section, says why, and the rest stands."""
    found = optimize(
        {
            "evaluate": sphere,
            "objective": {"metric": "loss", "direction": "minimize"},
            "parameters": {
                "x": {"type": "float", "low": -1.0, "high": 1.0},
                "kind": {"type": "grid", "values": ["a", "b"]},
            },
            "run": {"run_id": "sphere", "max_trials": 10, "seed": 1},
        },
        workers=0,
        runs_dir=tmp_path,
    )
    page = render(read_run(found.path))
    assert '<section id="trading"' not in page
    assert "does not trade bars" in page
    assert "the rest of the report is complete" in page
    assert "behaviours cannot be counted" in page
    assert "made no trade" not in page
    assert f"Trial {found.best.number} is the best found" in page


def test_a_run_without_trials_has_a_report(run: Run, tmp_path: Path) -> None:
    """A run that was killed at its start: the verdict says that nothing ran."""
    with RunStore.create(tmp_path / "empty", run.study) as store:
        assert store.count == 0
    page = render(read_run(tmp_path / "empty"))
    assert "No trial has run." in page
    assert "0 trials so far" in page


def test_a_going_run_is_read_beside_its_writer(run: Run, tmp_path: Path) -> None:
    """The report of a run that another process holds is made from what is durable."""
    from genesis.trials.store import Stored

    with RunStore.create(tmp_path / "going", run.study) as writer:
        first = [run.trial(number) for number in range(12)]
        writer.append([Stored(result, run.space.encode(result.params), "tpe") for result in first])
        page = render(read_run(tmp_path / "going"))
        assert "12 trials so far" in page
        assert _payload(page)["table"]["data"][0] == list(range(12))


def test_a_study_that_cannot_be_loaded_still_has_a_report(run: Run, tmp_path: Path) -> None:
    """When the strategy's file is gone the stored facts are shown and the reason is said."""
    study = json.loads(json.dumps(run.study))
    study["config"]["strategy"] = "gone.py:Strategy"
    with RunStore.create(tmp_path / "gone", study) as store:
        from genesis.trials.store import Stored

        results = [run.trial(number) for number in range(30)]
        store.append([Stored(result, run.space.encode(result.params), "tpe") for result in results])
    page = render(read_run(tmp_path / "gone"))
    assert "The figures about trading are missing" in page
    assert "gone.py" in page


def test_synthetic_bars_are_said(tmp_path: Path, study: dict[str, Any]) -> None:
    """A result on drawn prices is marked, and without a holdout there is no empty column for one."""
    drawn = {key: value for key, value in study.items() if key != "holdout"} | {
        "data": {"source": "synthetic:seed=3,bars=2000"},
        "objective": {"sharpe": 1.0, "max_drawdown": -0.5},
    }
    found = optimize(drawn, workers=0, runs_dir=tmp_path)
    page = render(read_run(found.path))
    assert "The bars are synthetic" in page
    assert "1 × sharpe − 0.5 × max_drawdown" in page
    assert '<th scope="col">out of sample</th>' not in page
