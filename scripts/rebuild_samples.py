"""Rebuild the bundled sample bars from the package bokeh-sampledata: `python scripts/rebuild_samples.py`."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import numpy as np

from genesis.market.bars import COLUMNS, Bars
from genesis.market.files import write_stored

FOLDER = Path(__file__).resolve().parent.parent / "src" / "genesis" / "market" / "samples"
SYMBOLS = ("AAPL", "FB", "GOOG", "IBM", "MSFT")


def main() -> None:
    """Write one Parquet file per symbol and print what was done to its bars."""
    from bokeh_sampledata import stocks

    version = metadata.version("bokeh_sampledata")
    for symbol in SYMBOLS:
        bars = adjusted(symbol, getattr(stocks, symbol), f"bokeh-sampledata {version}, stocks")
        write_stored(FOLDER / f"{symbol}.parquet", bars, name=f"sample:{symbol}")
        print(
            f"{symbol}: {len(bars):,} bars, {bars.index[0]:%Y-%m-%d} to {bars.index[-1]:%Y-%m-%d}, {bars.fingerprint}"
        )
        for note in bars.notes:
            print(f"  {note}")


def adjusted(symbol: str, rows: dict[str, list[float]], origin: str) -> Bars:
    """Bars scaled by adjusted close / close; the same factor divides the volume, so traded value is unchanged."""
    raw = {name: np.array(rows[name], dtype=np.float64) for name in (*COLUMNS, "adj_close")}
    factor = raw["adj_close"] / raw["close"]
    # one factor per row for all four prices: multiplication is monotone, so the order low <= open, close <= high stays
    prices = {name: raw[name] * factor for name in COLUMNS[:4]}
    drift = float(np.abs(prices["close"] / raw["adj_close"] - 1).max())
    return Bars(
        np.array(rows["date"], dtype="datetime64[ns]").astype(np.int64),
        **prices,
        volume=raw["volume"] / factor,
        timeframe="1d",
        symbol=symbol,
        source=f"sample:{symbol}",
        notes=(
            f"source: {origin} (Quandl WIKI prices, public domain)",
            "prices multiplied by adjusted close / close (splits and dividends), volume divided by it",
            f"no row dropped or changed otherwise; close differs from the adjusted close by at most {drift:.1g} of it",
            "dates are trading days; the opening time is midnight UTC of the day",
        ),
    )


if __name__ == "__main__":
    main()
