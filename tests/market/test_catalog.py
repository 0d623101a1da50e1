"""Bars are found by name, cut to a window that leaks nothing, and kept under a home that the user chooses."""

from __future__ import annotations

import datetime as dt
import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from genesis.errors import BadBarsError, DataError
from genesis.market.bars import align_closed, resample
from genesis.market.catalog import (
    check_source,
    data_home,
    import_file,
    keep_bars,
    listing,
    load_bars,
    load_window,
    sample_names,
    stored_names,
    stored_path,
    summary,
)
from genesis.market.synthetic import synthetic
from genesis.market.timeframe import DAY


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("GENESIS_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def five_minutes(tmp_path):
    bars = synthetic("seed=3,bars=2000,timeframe=5m,start=2024-01-01")
    path = tmp_path / "btc.csv"
    bars.to_frame().to_csv(path)
    return path, bars


def test_the_samples_are_the_five_that_the_guide_names():
    assert sample_names() == ("AAPL", "FB", "GOOG", "IBM", "MSFT")
    ibm = load_bars("sample:ibm")
    assert (ibm.symbol, ibm.timeframe, ibm.synthetic, ibm.source) == ("IBM", "1d", False, "sample:IBM")
    assert len(ibm) == 3_270


def test_a_split_leaves_no_jump_in_a_sample():
    """AAPL split 2:1 on 2005-02-28 and MSFT on 2003-02-18: unadjusted, the close halves over night."""
    for source, day in (("sample:AAPL", "2005-02-28"), ("sample:MSFT", "2003-02-18")):
        bars = load_bars(source, end=day)
        assert abs(bars.close[-1] / bars.close[-2] - 1) < 0.05


def test_start_and_end_are_inclusive_in_every_way_of_writing_them():
    whole = load_bars("sample:IBM", start="2003-01-02", end="2003-12-31")
    assert str(whole.index[0])[:10] == "2003-01-02"
    assert str(whole.index[-1])[:10] == "2003-12-31"
    for start, end in (
        (dt.date(2003, 1, 2), dt.date(2003, 12, 31)),
        (dt.datetime(2003, 1, 2, tzinfo=dt.UTC), dt.datetime(2003, 12, 31, tzinfo=dt.UTC)),
        (pd.Timestamp("2003-01-02"), pd.Timestamp("2003-12-31")),
        (np.datetime64("2003-01-02"), np.datetime64("2003-12-31")),
        ("2003-01-02T00:00:00Z", "2003-12-30T19:00:00-05:00"),
    ):
        assert load_bars("sample:IBM", start=start, end=end).fingerprint == whole.fingerprint


def test_an_end_without_a_clock_is_the_whole_day_and_one_with_a_clock_is_that_moment(five_minutes):
    path, _ = five_minutes
    assert str(load_bars(path, end="2024-01-03").index[-1]) == "2024-01-03 23:55:00+00:00"
    assert str(load_bars(path, end="2024-01-03T12:00").index[-1]) == "2024-01-03 12:00:00+00:00"
    assert str(load_bars(path, end=dt.date(2024, 1, 3)).index[-1]) == "2024-01-03 23:55:00+00:00"


@pytest.mark.parametrize(
    "bad", ["2003", "2003-01", "31/12/2003", "soon", 2003, True, np.datetime64("NaT"), "2003-02-30"]
)
def test_what_is_no_date_is_refused_with_the_way_to_write_it(bad):
    with pytest.raises(DataError, match="is not a date or time; write it 2010-12-31"):
        load_bars("sample:IBM", start=bad)


def test_a_window_with_nothing_in_it_says_what_there_is():
    with pytest.raises(DataError, match="start 2005-01-01 is after end 2004-01-01"):
        load_bars("sample:IBM", start="2005-01-01", end="2004-01-01")
    with pytest.raises(
        DataError, match=r"no 1d bars between 2020-01-01 and the end; it has 3,270 bars of 1d, 2000-03-01"
    ):
        load_bars("sample:IBM", start="2020-01-01")


def test_a_coarser_timeframe_is_resampled_and_noted_and_a_finer_one_refused(five_minutes):
    path, bars = five_minutes
    hours = load_bars(path, timeframe="1h")
    assert hours.fingerprint == resample(bars, "1h").fingerprint
    assert "resampled from 5m to 1h" in hours.notes
    assert len(load_bars("sample:IBM", timeframe="1w")) == len(resample(load_bars("sample:IBM"), "1w"))
    with pytest.raises(DataError, match="5m bars do not fill 1m bars"):
        load_bars(path, timeframe="1m")


def test_a_thin_market_is_read_in_the_timeframe_asked_for(tmp_path):
    bars = synthetic("seed=3,bars=900,timeframe=5m")
    thin = bars.to_frame().iloc[np.flatnonzero(np.random.default_rng(0).random(900) < 0.3)]
    thin.to_csv(tmp_path / "thin.csv")
    assert load_bars(tmp_path / "thin.csv", timeframe="5m").timeframe == "5m"
    thin.iloc[:1].to_csv(tmp_path / "one.csv")
    assert load_bars(tmp_path / "one.csv", timeframe="5m").timeframe == "5m"
    with pytest.raises(DataError, match="do not tell their timeframe"):
        load_bars(tmp_path / "one.csv")


def test_no_bar_after_the_end_leaks_into_a_coarser_bar():
    """End on a Wednesday: the week that holds it is not known yet, and what comes later changes nothing."""
    weeks = load_bars("sample:IBM", timeframe="1w", end="2008-10-08")
    cut = resample(load_bars("sample:IBM", end="2008-10-08"), "1w")
    assert weeks.fingerprint == cut.fingerprint
    assert weeks.close_time[-1] <= np.datetime64("2008-10-09", "ns").astype(np.int64)


def test_a_window_brings_its_warm_up_from_before_the_start():
    window = load_window("sample:IBM", timeframe="1d", start="2003-01-01", end="2010-12-31", warmup_bars=150)
    assert window.trade_from == 150
    assert str(window.bars.index[150])[:10] == "2003-01-02"
    assert str(window.bars.index[-1])[:10] == "2010-12-31"
    assert len(window.bars) == 150 + len(load_bars("sample:IBM", start="2003-01-01", end="2010-12-31"))


def test_where_there_is_nothing_before_the_start_the_first_bars_warm_up_and_do_not_trade():
    window = load_window("sample:IBM", warmup_bars=150)
    assert (window.trade_from, len(window.bars)) == (150, 3_270)
    some = load_window("sample:IBM", start="2000-03-15", warmup_bars=150)  # ten bars before the start
    assert (some.trade_from, str(some.bars.index[0])[:10]) == (150, "2000-03-01")


def test_a_window_that_leaves_nothing_to_trade_is_refused():
    with pytest.raises(DataError, match="150 warm up, leave none to trade"):
        load_window("sample:IBM", end="2000-05-01", warmup_bars=150)
    with pytest.raises(DataError, match="no 1d bars between 2014-01-01 and the end"):
        load_window("sample:IBM", start="2014-01-01", warmup_bars=5)
    with pytest.raises(DataError, match="warmup_bars is -1"):
        load_window("sample:IBM", warmup_bars=-1)


def test_bars_themselves_are_a_source():
    bars = load_bars("synthetic:seed=1,bars=90,timeframe=1d")
    assert load_bars(bars) is not bars
    assert load_window(bars, warmup_bars=10).bars.fingerprint == bars.fingerprint


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("IBM", "did you mean sample:IBM?"),
        ("sample:IBMM", "sample 'IBMM' is unknown; the samples are AAPL, FB, GOOG, IBM, MSFT"),
        ("sample:../IBM", "is unknown; the samples are"),
        ("btcusd", "did you mean btcusdt?"),
        ("nothing-like-it", r"give sample:NAME \(of AAPL, FB, GOOG, IBM, MSFT\), a file's path, synthetic:"),
        ("synthetic:sed=1", "'sed=1' is unknown"),
    ],
)
def test_a_source_that_is_nothing_says_what_is_near(source, says):
    keep_bars(synthetic("seed=1,bars=9,timeframe=1d"), "btcusdt")
    with pytest.raises(DataError, match=says):
        load_bars(source)


def test_a_misspelt_file_names_the_one_beside_it(five_minutes):
    path, _ = five_minutes
    with pytest.raises(DataError, match=r"did you mean .*btc\.csv\?"):
        load_bars(path.with_name("btx.csv"))


def test_imported_bars_are_found_by_name_and_listed(five_minutes, home):
    path, bars = five_minutes
    label = import_file(path, symbol="BTC/USDT")
    assert stored_names() == ("btc",)
    assert data_home() == home / "data"
    kept = load_bars("btc")
    assert kept.fingerprint == bars.fingerprint == label["fingerprint"]
    assert (kept.symbol, kept.source) == ("BTC/USDT", "btc")
    sidecar = json.loads((home / "data" / "btc.json").read_text())
    assert sidecar["rows"] == 2_000
    assert sidecar["source"] == str(path)
    assert sidecar["timezone"] == "times are UTC"
    entry = next(e for e in listing() if e["source"] == "btc")
    assert (entry["rows"], entry["timeframe"], entry["synthetic"]) == (2_000, "5m", False)


def test_the_time_zone_decision_is_kept_beside_the_bars(tmp_path, home):
    daily = synthetic("seed=1,bars=90,timeframe=1d").to_frame().tz_localize(None)
    daily.to_csv(tmp_path / "naive.csv")
    assert import_file(tmp_path / "naive.csv")["timezone"] == "times carry no time zone: taken as UTC"
    label = import_file(tmp_path / "naive.csv", name="ny", timezone="America/New_York")
    assert label["timezone"] == "times carry no time zone: taken as America/New_York"
    assert load_bars("ny").time[0] == load_bars("naive").time[0] + 5 * DAY // 24


def test_a_name_is_never_given_to_other_bars_unless_told_to(five_minutes):
    path, bars = five_minutes
    import_file(path)
    import_file(path)  # the same bars again are no conflict
    with pytest.raises(DataError, match="btc is kept already with other bars"):
        keep_bars(bars.slice(0, 100), "btc")
    keep_bars(bars.slice(0, 100), "btc", replace=True)
    assert len(load_bars("btc")) == 100


@pytest.mark.parametrize("name", ["../evil", "a/b", ".hidden", "", "x" * 101, "sp ace", "sample:IBM"])
def test_a_name_that_is_no_plain_file_name_is_refused(five_minutes, name):
    with pytest.raises(DataError, match="is not allowed; use letters, digits"):
        import_file(five_minutes[0], name=name)


def test_bad_bars_are_not_kept(five_minutes, tmp_path):
    table = pd.read_csv(five_minutes[0])
    table.loc[5, "close"] = -1
    table.to_csv(tmp_path / "bad.csv", index=False)
    with pytest.raises(BadBarsError):
        import_file(tmp_path / "bad.csv")
    assert stored_names() == ()
    with pytest.raises(BadBarsError, match="row 6"):
        check_source(str(tmp_path / "bad.csv"))


def test_an_unreadable_file_is_listed_with_its_error():
    stored_path("x").parent.mkdir(parents=True)
    stored_path("x").write_bytes(b"nothing")
    (entry,) = (e for e in listing() if e["source"] == "x")
    assert "not a data file that Genesis wrote" in entry["error"]


def test_a_check_finds_kept_bars_that_are_not_those_imported(five_minutes):
    path, bars = five_minutes
    keep_bars(bars, "x", extra={"fingerprint": "0" * 64})
    with pytest.raises(DataError, match="000000000000… when imported"):
        check_source("x")
    import_file(path)
    facts = check_source("btc")
    assert (facts["rows"], facts["gaps"], facts["missing"]) == (2_000, [], 0)


def test_a_summary_names_the_gaps():
    facts = summary(load_bars("sample:IBM"))
    assert facts["gaps"] == [{"after": "2001-09-10", "before": "2001-09-17", "missing": 4}]  # the exchange was closed
    assert facts["without_volume"] == 0


def test_weekly_bars_align_on_the_sample():
    bars = load_bars("sample:IBM")
    aligned = align_closed(bars, resample(bars, "1w"))
    assert (np.diff(aligned) >= 0).all()
    monday = (bars.time // DAY + 3) % 7 == 0
    assert (np.diff(aligned, prepend=-1)[1:][monday[1:] & (bars.time[1:] > bars.time[8])] == 1).all()


def test_loading_a_sample_imports_neither_pandas_nor_anything_heavier():
    code = (
        "import sys; from genesis.market.catalog import load_bars; load_bars('sample:IBM')\n"
        "heavy = {'pandas', 'polars', 'ccxt', 'optuna', 'dask', 'plotly', 'numba', 'scipy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
