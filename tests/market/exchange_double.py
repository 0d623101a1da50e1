"""A local server that answers as an exchange's public market API does: markets, clock, candles; and fails on demand."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np

from genesis.market.bars import Bars
from genesis.market.synthetic import synthetic
from genesis.market.timeframe import parse_timeframe

MS = 1_000_000


class ExchangeDouble:
    """Serves the candles of one synthetic market; `now` is its clock in ms, `page` the most candles it gives at once.

    `faults` are used up one per candle request: an HTTP status to answer with, "drop" to close the connection,
    "garbage" for a body that is no JSON, "forever" (kept) for 503 each time. A `windowed` exchange gives the candles
    of the next `page` steps, be there any or none, instead of the next `page` candles. `requests` are the paths asked
    for.
    """

    def __init__(self, bars: Bars, *, page: int = 200, windowed: bool = False) -> None:
        self.bars = bars
        self.page = page
        self.windowed = windowed
        self.now = int(bars.close_time[-1]) // MS
        self.faults: list[Any] = []
        self.requests: list[str] = []
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    def __enter__(self) -> ExchangeDouble:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    @property
    def candle_requests(self) -> list[int]:
        """The start times (ms) of the candle requests, in order."""
        asked = [urlsplit(path) for path in self.requests]
        return [int(parse_qs(a.query)["startTime"][0]) for a in asked if a.path.endswith("/klines")]

    def exchange(self) -> Any:
        """A ccxt exchange that speaks to this server and to nothing else."""
        import ccxt

        exchange = ccxt.binance({"enableRateLimit": False, "options": {"fetchMarkets": {"types": ["spot"]}}})
        exchange.urls["api"] = {key: f"{self.url}/{key}" for key in exchange.urls["api"]}
        exchange.has["fetchCurrencies"] = False
        return exchange

    def answer(self, path: str) -> Any:
        """The JSON for a request; an int is a status to fail with."""
        url = urlsplit(path)
        self.requests.append(path)
        if url.path.endswith("/exchangeInfo"):
            return {
                "timezone": "UTC",
                "serverTime": self.now,
                "rateLimits": [],
                "symbols": [_market("BTC"), _market("ETH")],
            }
        if url.path.endswith("/time"):
            return {"serverTime": self.now}
        if not url.path.endswith("/klines"):
            return 404
        if self.faults:
            return self.faults[0] if self.faults[0] == "forever" else self.faults.pop(0)
        asked = {key: values[0] for key, values in parse_qs(url.query).items()}
        if asked["symbol"] != "BTCUSDT":
            return []
        return self._candles(int(asked["startTime"]), min(int(asked["limit"]), self.page), asked["interval"])

    def _candles(self, start: int, limit: int, interval: str) -> list[list[Any]]:
        bars = self.bars
        assert interval == bars.timeframe
        first = int(np.searchsorted(bars.time, start * MS))
        step = parse_timeframe(interval).step // MS
        return [
            [
                int(bars.time[i]) // MS,
                *(repr(float(getattr(bars, name)[i])) for name in ("open", "high", "low", "close", "volume")),
                int(bars.time[i]) // MS + step - 1, "0", 1, "0", "0", "0",
            ]
            for i in range(first, min(first + limit, len(bars)))
            if bars.time[i] <= self.now * MS  # the last one may still be open
            and not (self.windowed and bars.time[i] >= (start + limit * step) * MS)
        ]  # fmt: skip


def _market(base: str) -> dict[str, Any]:
    return {
        "symbol": f"{base}USDT", "status": "TRADING", "baseAsset": base, "quoteAsset": "USDT",
        "baseAssetPrecision": 8, "quotePrecision": 8, "quoteAssetPrecision": 8, "orderTypes": ["LIMIT"],
        "isSpotTradingAllowed": True, "isMarginTradingAllowed": False, "permissions": ["SPOT"],
        "permissionSets": [["SPOT"]], "filters": [{"filterType": "PRICE_FILTER", "tickSize": "0.01"}],
    }  # fmt: skip


def _handler(double: ExchangeDouble) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = double.answer(self.path)
            if answer == "drop":
                self.close_connection = True
                return
            status = 503 if answer == "forever" else answer if isinstance(answer, int) else 200
            body = b"<html>" if answer == "garbage" else json.dumps({} if status != 200 else answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    return Handler


def market(count: int = 1_000) -> Bars:
    """Five-minute candles from 2024 on."""
    return synthetic(f"seed=11,bars={count},timeframe=5m,start=2024-01-01")
