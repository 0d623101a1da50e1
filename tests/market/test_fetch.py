"""Fetched candles are the exchange's closed ones, whole and once, whatever interrupted the fetch."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from genesis.errors import BadBarsError, DataError, MissingExtraError
from genesis.market.bars import Bars
from genesis.market.catalog import keep_bars, listing, load_bars, stored_names, stored_path
from genesis.market.fetch import Patience, fetch_candles, make_exchange
from genesis.market.files import read_label

sys.path.insert(0, str(Path(__file__).parent))
from exchange_double import MS, ExchangeDouble, market

ccxt = pytest.importorskip("ccxt", reason="type: pip install 'genesis-core[exchange]'")

NAME = "binance-BTCUSDT-5m"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("GENESIS_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def double():
    with ExchangeDouble(market()) as running:
        yield running


class Naps:
    """A sleep that only remembers."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


def fetch(double: ExchangeDouble, *, naps: Naps | None = None, **options):
    options = {"start": int(double.bars.time[0]), "patience": Patience(sleep=naps or Naps()), **options}
    return fetch_candles(double.exchange(), "BTC/USDT", "5m", **options)


def fetched() -> Bars:
    return load_bars(NAME)


def test_all_closed_candles_come_in_pages_and_are_kept(double):
    pages = []
    label = fetch(double, progress=pages.append)
    assert fetched().fingerprint == double.bars.fingerprint
    assert [p.candles for p in pages] == [200, 400, 600, 800, 1_000]
    assert label["rows"] == 1_000
    assert (label["exchange"], label["symbol"], label["source"]) == ("binance", "BTC/USDT", "binance:BTC/USDT")
    assert fetched().symbol == "BTC/USDT"
    assert not fetched().synthetic
    assert not stored_path(NAME).with_suffix(".part").exists()


def test_the_candle_that_is_still_open_is_left_out_by_the_exchange_clock(double):
    double.now = int(double.bars.time[-1]) // MS + 60_000  # one minute into the last candle
    fetch(double, patience=Patience(sleep=Naps(), now_ms=lambda: 10**15))  # our own clock is far ahead
    assert len(fetched()) == 999
    double.now += 4 * 60_000
    fetch(double)
    assert fetched().fingerprint == double.bars.fingerprint


def test_without_a_clock_of_the_exchange_ours_serves(double):
    exchange = double.exchange()
    exchange.has["fetchTime"] = None
    now = int(double.bars.time[500]) // MS + 1
    fetch_candles(exchange, "BTC/USDT", "5m", start=int(double.bars.time[0]), patience=Patience(now_ms=lambda: now))
    assert len(fetched()) == 500


def test_start_and_stop_bound_the_opening_times(double):
    fetch(double, start=int(double.bars.time[10]) - 1, stop=int(double.bars.time[310]))
    assert fetched().fingerprint == double.bars.slice(10, 310).fingerprint


def test_the_same_fetch_again_asks_only_for_what_is_new(double):
    fetch(double, stop=int(double.bars.time[400]))
    before = len(double.candle_requests)
    fetch(double)
    assert double.candle_requests[before] == int(double.bars.time[400]) // MS
    assert fetched().fingerprint == double.bars.fingerprint
    before = len(double.candle_requests)
    fetch(double)
    assert len(double.candle_requests) == before  # nothing new can have closed
    assert fetched().fingerprint == double.bars.fingerprint


@pytest.mark.parametrize("fault", [503, 429, "drop", "garbage"])
def test_network_trouble_is_waited_out_with_doubling_pauses(double, fault):
    naps = Naps()
    double.faults = [fault, fault, fault]
    fetch(double, naps=naps)
    assert fetched().fingerprint == double.bars.fingerprint
    assert naps.seconds == [1.0, 2.0, 4.0]


def test_an_exchange_that_stays_away_is_an_error_and_what_came_is_kept(double):
    naps = Naps()
    exchange = double.exchange()

    def fail_after(progress):
        if progress.candles == 400:
            double.faults = ["forever"]

    with pytest.raises(
        DataError, match=r"did not give candles from 2024-01-02 09:20:00 in 7 tries .* is kept"
    ) as caught:
        fetch_candles(
            exchange, "BTC/USDT", "5m", start=int(double.bars.time[0]), patience=Patience(sleep=naps),
            progress=fail_after,
        )  # fmt: skip
    assert isinstance(caught.value.__cause__, ccxt.NetworkError)
    assert naps.seconds == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0]
    assert len(fetched()) == 400
    double.faults = []
    fetch(double)
    assert fetched().fingerprint == double.bars.fingerprint


def test_an_interrupt_keeps_what_came(double):
    def interrupt(progress):
        if progress.candles == 600:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(double, progress=interrupt)
    assert len(fetched()) == 600
    fetch(double)
    assert fetched().fingerprint == double.bars.fingerprint


KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
from exchange_double import ExchangeDouble, market
from genesis.market.fetch import fetch_candles

def die(progress):
    if progress.candles >= 600:
        os.kill(os.getpid(), signal.SIGKILL)

with ExchangeDouble(market()) as double:
    fetch_candles(double.exchange(), "BTC/USDT", "5m", start=int(double.bars.time[0]), progress=die)
"""


def test_a_killed_fetch_loses_no_page_and_doubles_none(double):
    run = subprocess.run(
        [sys.executable, "-c", KILLED, str(Path(__file__).parent)], env={**os.environ}, capture_output=True
    )
    assert run.returncode == -signal.SIGKILL, run.stderr.decode()
    assert stored_names() == ()
    assert stored_path(NAME).with_suffix(".part").exists()
    (entry,) = (e for e in listing() if e["source"] == NAME)
    assert "the same command goes on with it" in entry["error"]
    pages = []
    fetch(double, progress=pages.append)
    assert double.candle_requests[0] == int(double.bars.time[600]) // MS
    assert pages[0].candles == 800
    assert fetched().fingerprint == double.bars.fingerprint


def test_a_crash_between_keeping_and_clearing_doubles_nothing(double):
    fetch(double, stop=int(double.bars.time[400]))
    from genesis.market.bars import COLUMNS
    from genesis.market.journal import PageJournal

    label = read_label(stored_path(NAME))
    about = {key: label[key] for key in ("exchange", "symbol", "timeframe", "asked_from")}
    with PageJournal.open(stored_path(NAME).with_suffix(".part"), about) as journal:
        again = double.bars.slice(200, 400)
        journal.append(again.time, {name: getattr(again, name) for name in COLUMNS})
    fetch(double)
    assert fetched().fingerprint == double.bars.fingerprint


@pytest.mark.parametrize("windowed", [False, True])
def test_a_hole_in_the_history_is_stepped_over_and_named(windowed):
    whole = market(3_000)
    holed = np.r_[0:300, 2_500:3_000]
    columns = (whole.time, whole.open, whole.high, whole.low, whole.close, whole.volume)
    with ExchangeDouble(Bars(*(c[holed] for c in columns), timeframe="5m"), windowed=windowed) as double:
        label = fetch(double)
        assert fetched().fingerprint == double.bars.fingerprint
    assert any("1 gap, 2,200 bars missing" in note for note in label["notes"])


def test_candles_that_break_a_rule_are_refused_and_the_pages_before_are_kept(double):
    double.bars.high[500] = double.bars.low[500] / 2
    with pytest.raises(BadBarsError, match=r"binance BTC/USDT, page from .*: 1 problem in 200 bars") as caught:
        fetch(double)
    assert caught.value.details["problems"][0]["rule"] == "high below low"
    assert len(fetched()) == 400


def test_a_name_holds_the_candles_of_one_market_from_one_day_on(double):
    fetch(double, start=int(double.bars.time[100]), name="x")
    with pytest.raises(DataError, match="x was fetched from 2024-01-01 08:20:00 on, not from 2024-01-01; give another"):
        fetch(double, name="x")
    with pytest.raises(DataError, match="x holds symbol 'BTC/USDT', not 'ETH/USDT'"):
        fetch_candles(double.exchange(), "ETH/USDT", "5m", start=int(double.bars.time[100]), name="x")
    keep_bars(double.bars.slice(0, 10), "imported")
    with pytest.raises(DataError, match="imported holds exchange None, not 'binance'"):
        fetch(double, name="imported")
    fetch(double, name="x", replace=True)
    assert load_bars("x").fingerprint == double.bars.fingerprint


@pytest.mark.parametrize(
    ("symbol", "timeframe", "says"),
    [
        ("BTC/USD", "5m", r"binance has no symbol 'BTC/USD'; did you mean BTC/USDT"),
        ("BTC/USDT", "7m", "binance has no 7m candles; it has 1s, 1m"),
        ("BTC/USDT", "5x", "timeframe '5x' is not understood"),
        ("ETH/USDT", "5m", "no closed 5m candles of ETH/USDT from binance in that time"),
    ],
)
def test_what_the_exchange_does_not_have_is_refused_with_what_it_has(double, symbol, timeframe, says):
    with pytest.raises(DataError, match=says):
        fetch_candles(double.exchange(), symbol, timeframe, start=int(double.bars.time[0]))
    assert stored_names() == ()
    assert list(stored_path("x").parent.glob("*.part")) == []


def test_an_exchange_is_made_by_its_name_and_keeps_to_its_rate_limit():
    assert make_exchange("binance").enableRateLimit is True
    with pytest.raises(DataError, match=r"exchange 'binanze' is unknown to ccxt .*did you mean binance"):
        make_exchange("binanze")


def test_without_ccxt_the_message_is_the_line_to_type(monkeypatch):
    monkeypatch.setitem(sys.modules, "ccxt", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'genesis-core\[exchange\]'"):
        fetch_candles("binance", "BTC/USDT", "5m", start=0)
