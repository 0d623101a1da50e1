"""`genesis data` imports, fetches, lists, shows, checks; each report has a JSON form, each refusal its exit code."""

from __future__ import annotations

import json

import pytest
import typer
from typer.testing import CliRunner

from genesis.commands import data
from genesis.errors import BadBarsError, DataError
from genesis.market import fetch
from genesis.market.catalog import load_bars
from genesis.market.synthetic import synthetic


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("GENESIS_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def bars():
    return synthetic("seed=3,bars=600,timeframe=5m,start=2024-01-01")


@pytest.fixture
def file(bars, tmp_path):
    path = tmp_path / "btc.csv"
    bars.to_frame().drop(index=bars.index[50:53]).to_csv(path)
    return str(path)


def run(*words: str, code: int = 0):
    app = typer.Typer()
    data.register(app)
    result = CliRunner().invoke(app, ["data", *words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


@pytest.mark.parametrize("command", ["import", "fetch", "list", "show", "check"])
def test_every_command_says_what_it_does(command):
    told = run(command, "--help").output
    assert "--json" in told
    assert len(told.split()) > 40


def test_import_keeps_the_bars_and_says_how_to_use_them(file):
    told = run("import", file, "--name", "btc-5m", "--symbol", "BTC/USDT").output
    assert "kept 597 bars of 5m as btc-5m in " in told
    assert "note: 1 gap, 3 bars missing" in told
    assert "data: {source: btc-5m}" in told
    assert len(load_bars("btc-5m")) == 597


def test_import_in_json_is_one_document_with_the_path(file, home):
    label = json.loads(run("import", file, "--json").stdout)
    assert label["path"] == str(home / "data" / "btc.parquet")
    assert (label["rows"], label["name"], label["timeframe"]) == (597, "btc", "5m")
    assert label["fingerprint"] == load_bars("btc").fingerprint


def test_import_refuses_other_bars_under_a_name_that_is_taken(file, bars, tmp_path):
    run("import", file)
    bars.to_frame().to_csv(tmp_path / "other.csv")
    with pytest.raises(DataError, match="btc is kept already"):
        run("import", str(tmp_path / "other.csv"), "--name", "btc")
    run("import", str(tmp_path / "other.csv"), "--name", "btc", "--replace")
    assert len(load_bars("btc")) == 600


def test_import_refuses_a_timeframe_that_the_bars_contradict(file):
    with pytest.raises(DataError, match="timeframe 1h was given, the bars step 5m"):
        run("import", file, "--timeframe", "1h")


def test_list_names_samples_and_imports(file):
    run("import", file)
    told = run("list").output
    assert "sample:IBM" in told
    assert "3,270 bars  2000-03-01 to 2013-03-01" in told
    assert [e["source"] for e in json.loads(run("list", "--json").stdout)][-2:] == ["sample:MSFT", "btc"]


def test_list_goes_on_after_a_file_that_cannot_be_read(home):
    (home / "data").mkdir(parents=True)
    (home / "data" / "x.parquet").write_bytes(b"?")
    assert "no bars: " in run("list").output


def test_show_prints_the_ends(file):
    told = run("show", "sample:IBM", "--rows", "2", "--timeframe", "1w", "--end", "2003-12-31").output
    assert "sample:IBM: 199 bars of 1w, IBM" in told
    assert "note: resampled from 1d to 1w" in told
    shown = json.loads(run("show", file, "--rows", "1", "--json").stdout)
    assert [bar["time"] for bar in shown["bars"]] == ["2024-01-01", "2024-01-03 01:55:00"]
    assert shown["bars"][0]["open"] == 100.0
    assert json.loads(run("show", "synthetic:bars=2,timeframe=1d", "--json").stdout)["synthetic"] is True
    assert "not a real market" in run("show", "synthetic:bars=2,timeframe=1d").output


def test_check_names_the_gaps(file):
    told = run("check", file).output
    assert "gap  2024-01-01 04:05:00 to 2024-01-01 04:25:00: 3 missing" in told
    assert "every bar keeps the rules; 1 gap, 3 bars missing" in told
    facts = json.loads(run("check", file, "--json").stdout)
    assert facts["ok"] is True
    assert facts["missing"] == 3
    assert "(--limit 1 prints all)" in run("check", file, "--limit", "0").output


def test_check_of_bad_bars_ends_with_the_exit_code_of_data(bars, tmp_path):
    table = bars.to_frame()
    table.iloc[4, 1] = 0.5
    table.to_csv(tmp_path / "bad.csv")
    with pytest.raises(BadBarsError, match=r"row 5, 2024-01-01 00:20:00: high 0\.5 < low"):
        run("check", str(tmp_path / "bad.csv"))
    told = json.loads(run("check", str(tmp_path / "bad.csv"), "--json", code=BadBarsError.exit_code).stdout)
    assert told["ok"] is False
    assert (told["total"], told["problems"][0]["row"]) == (1, 5)


def test_fetch_passes_what_was_asked_and_reports_what_is_kept(monkeypatch, bars):
    from genesis.market.catalog import keep_bars

    asked = {}

    def fake(exchange, symbol, timeframe, **options):
        asked.update(options, exchange=exchange, symbol=symbol, timeframe=timeframe)
        options["progress"](fetch.Progress(600, int(bars.time[-1])))
        return keep_bars(bars, "x")

    monkeypatch.setattr(fetch, "fetch_candles", fake)
    told = run("fetch", "binance", "BTC/USDT", "--timeframe", "5m", "--start", "2024-01-01", "--end", "2024-01-02")
    assert (asked["exchange"], asked["symbol"], asked["timeframe"]) == ("binance", "BTC/USDT", "5m")
    assert asked["stop"] - asked["start"] == 2 * 86_400 * 10**9
    assert asked["start"] == bars.time[0]
    assert "kept 600 bars of 5m as x" in told.stdout
    assert "600 candles, to 2024-01-03 01:55:00" in told.stderr
    with pytest.raises(DataError, match="start 2024-01-02 is after end 2024-01-01; swap them"):
        run("fetch", "binance", "BTC/USDT", "--timeframe", "5m", "--start", "2024-01-02", "--end", "2024-01-01")


def test_a_home_that_cannot_be_made_is_named(file, tmp_path, monkeypatch):
    """GENESIS_HOME below a file: the variable is what to change."""
    (tmp_path / "plain").write_text("")
    monkeypatch.setenv("GENESIS_HOME", str(tmp_path / "plain" / "x"))
    with pytest.raises(DataError, match="set GENESIS_HOME"):
        run("import", file)
