"""The bundled samples are exactly what their script makes from the public source."""

from __future__ import annotations

import importlib.util
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from genesis.market.catalog import load_bars, sample_names

SCRIPT = Path(__file__).parents[2] / "scripts" / "rebuild_samples.py"
FINGERPRINTS = {
    "AAPL": "d4b0b14d881d1fa3938f8b156273e8759182cae70b43b0d01fb72da21c9792c3",
    "FB": "144f70e793aa651143a503082a5fb714a31699ecd86733bc3a5f429a0a7008fc",
    "GOOG": "2422db1f14824be6250ce0acb49bcaa7c98c13ca71d9c45b9440c170fdc20814",
    "IBM": "2e7bd6b9d4f16e72bc2756219ed775774cadb32700533c323ea39ea0df22c6f8",
    "MSFT": "8f80ce4fd95ffc68aeec12fee2cdf12dbb440ab02db67136eed2a14eacfcd8d0",
}


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("rebuild_samples", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_samples_are_pinned():
    assert {name: load_bars(f"sample:{name}").fingerprint for name in sample_names()} == FINGERPRINTS


@pytest.mark.parametrize("symbol", sorted(FINGERPRINTS))
def test_rebuilding_a_sample_gives_the_same_bars(script, symbol):
    stocks = pytest.importorskip("bokeh_sampledata.stocks", reason="type: pip install bokeh-sampledata")
    origin = f"bokeh-sampledata {metadata.version('bokeh_sampledata')}, stocks"
    assert script.adjusted(symbol, getattr(stocks, symbol), origin).fingerprint == FINGERPRINTS[symbol]


def test_adjustment_scales_prices_by_one_factor_and_keeps_the_traded_value(script):
    stocks = pytest.importorskip("bokeh_sampledata.stocks", reason="type: pip install bokeh-sampledata")
    raw = {name: np.array(values) for name, values in stocks.AAPL.items() if name != "date"}
    bars = load_bars("sample:AAPL")
    np.testing.assert_allclose(bars.close, raw["adj_close"], rtol=1e-15)
    np.testing.assert_allclose(bars.high / bars.close, raw["high"] / raw["close"], rtol=1e-14)
    np.testing.assert_allclose(bars.close * bars.volume, raw["close"] * raw["volume"], rtol=1e-14)
