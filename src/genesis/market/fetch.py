"""Candles from an exchange through ccxt: page by page, kept as they come, going on where the last fetch stopped."""

from __future__ import annotations

import difflib
import functools
import time as clock
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from genesis.errors import DataError, MissingExtraError
from genesis.market.bars import COLUMNS, Bars
from genesis.market.catalog import keep_bars, make_home, stored_path
from genesis.market.checks import check_arrays, describe_gaps, find_gaps, iso
from genesis.market.files import read_label, read_stored
from genesis.market.journal import PageJournal
from genesis.market.timeframe import Timeframe, parse_timeframe
from genesis.types import FloatArray, IntArray

RETRIES = 6
FIRST_PAUSE = 1.0  # seconds, doubled at each retry
LONGEST_PAUSE = 60.0
SMALL_PAGE = 100  # candles; every exchange gives as many at once
MS = 1_000_000


Rows = Sequence[Sequence[float | None]]


class Exchange(Protocol):
    """What is used of a ccxt exchange."""

    id: str
    has: dict[str, Any]
    timeframes: dict[str, Any] | None
    symbols: list[str] | None

    def load_markets(self) -> Any:
        """Learn the symbols."""

    def fetch_ohlcv(
        self, symbol: str, timeframe: str, since: int, limit: int | None
    ) -> Sequence[Sequence[float | None]]:
        """Candles from `since` (ms) on, oldest first: [ms, open, high, low, close, volume]."""

    def fetch_time(self) -> int:
        """The exchange's clock in ms."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Told after each page: candles so far, and the opening time (UTC ns) of the last."""

    candles: int
    last: int


@dataclass(frozen=True, slots=True)
class Patience:
    """How often and how long to wait for an exchange that does not answer; `sleep` and `now_ms` are the clocks."""

    retries: int = RETRIES
    first_pause: float = FIRST_PAUSE
    sleep: Callable[[float], None] = field(default=clock.sleep)
    now_ms: Callable[[], int] = field(default=lambda: clock.time_ns() // MS)


def make_exchange(name: str) -> Exchange:
    """A ccxt exchange that keeps to the exchange's own rate limit.

    Raises `MissingExtraError` without ccxt, `DataError` for an exchange that ccxt does not know.
    """
    try:
        import ccxt
    except ImportError as error:
        raise MissingExtraError("fetching candles needs ccxt: pip install 'genesis-core[exchange]'") from error
    if name not in ccxt.exchanges:
        near = difflib.get_close_matches(name, ccxt.exchanges, n=3)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise DataError(f"exchange {name!r} is unknown to ccxt {ccxt.__version__}{hint}")
    exchange: Exchange = getattr(ccxt, name)({"enableRateLimit": True})
    return exchange


def fetch_candles(
    exchange: Exchange | str,
    symbol: str,
    timeframe: str,
    *,
    start: int,
    stop: int | None = None,
    name: str | None = None,
    replace: bool = False,
    patience: Patience | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> dict[str, Any]:
    """Fetch the candles that open in [start, stop) (UTC ns; None is now) and keep them under `name`; returns the label.

    Every page is on disk before the next is asked for, and the same call again goes on after the last candle kept,
    whatever stopped it. Candles that are still open by the exchange's clock are left out. An exchange that does not
    answer is asked again, with doubling pauses. Pages are checked as all bars are.

    Raises `DataError` for an unknown exchange, symbol or timeframe, a name that holds other candles, and an exchange
    that fails; `BadBarsError` for candles that break a rule; `MissingExtraError` without ccxt.
    """
    frame = parse_timeframe(timeframe)
    source = make_exchange(exchange) if isinstance(exchange, str) else exchange
    patience = patience or Patience()
    name = name or default_name(source.id, symbol, frame.name)
    about = {"exchange": source.id, "symbol": symbol, "timeframe": frame.name, "asked_from": start}
    path = stored_path(name)
    part = path.with_suffix(".part")
    if replace:
        part.unlink(missing_ok=True)
    kept = read_stored(path) if path.exists() and not replace else None
    if kept is not None:
        _same(name, read_label(path), about)
    _ready(source, symbol, frame, patience)
    make_home()
    with PageJournal.open(part, about) as journal:
        _same(name, journal.about, about)
        now = _exchange_now(source, patience)
        ends = [journal.last, None if kept is None else int(kept.time[-1])]
        last = max((end for end in ends if end is not None), default=None)
        since = start if last is None else _close(frame, last)
        have = (0 if kept is None else len(kept)) + len(journal.rows())
        try:
            for time, columns in _pages(source, symbol, frame, since, now if stop is None else stop, now, patience):
                journal.append(time, columns)
                have += len(time)
                if progress is not None:
                    progress(Progress(have, int(time[-1])))
        except (DataError, KeyboardInterrupt):
            if journal.last is not None:
                _settle(name, about, frame, kept, journal)
            raise
        return _settle(name, about, frame, kept, journal)


def default_name(exchange: str, symbol: str, timeframe: str) -> str:
    """The name candles are kept under: `binance-BTCUSDT-5m`."""
    return f"{exchange}-{symbol.replace('/', '').replace(':', '-')}-{timeframe}"


def _same(name: str, found: dict[str, Any], asked: dict[str, Any]) -> None:
    """Refuse to mix candles of different origin, or to begin before those already kept."""
    differs = [
        f"{k} {found.get(k)!r}, not {asked[k]!r}"
        for k in ("exchange", "symbol", "timeframe")
        if found.get(k) != asked[k]
    ]
    if differs:
        raise DataError(f"{name} holds {'; '.join(differs)}; give another name, or replace it")
    if asked["asked_from"] < found["asked_from"]:
        raise DataError(
            f"{name} was fetched from {iso(found['asked_from'])} on, not from {iso(asked['asked_from'])}; "
            "give another name, or replace it"
        )


def _ready(source: Exchange, symbol: str, frame: Timeframe, patience: Patience) -> None:
    if not source.has.get("fetchOHLCV"):
        raise DataError(f"{source.id} gives no candles through ccxt; choose another exchange")
    _ask(source, "load its markets", source.load_markets, patience)
    if source.timeframes and frame.name not in source.timeframes:
        raise DataError(f"{source.id} has no {frame.name} candles; it has {', '.join(source.timeframes)}")
    if source.symbols is not None and symbol not in source.symbols:
        near = difflib.get_close_matches(symbol.upper(), source.symbols, n=3)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise DataError(f"{source.id} has no symbol {symbol!r}{hint}")


def _exchange_now(source: Exchange, patience: Patience) -> int:
    """The exchange's clock, UTC ns: a candle that is open there must not pass for closed because ours is ahead."""
    if source.has.get("fetchTime") is True:
        return int(_ask(source, "tell the time", source.fetch_time, patience)) * MS
    return patience.now_ms() * MS


def _pages(
    source: Exchange, symbol: str, frame: Timeframe, since: int, stop: int, now: int, patience: Patience
) -> Iterator[tuple[IntArray, dict[str, FloatArray]]]:
    """Checked pages of closed candles that open in [since, stop), each after the one before."""
    limit = _page_limit(source, symbol)
    longest = min(limit or SMALL_PAGE, SMALL_PAGE)
    while since < stop and _close(frame, since) <= now:
        ask = functools.partial(_candles, source, symbol, frame.name, -(-since // MS), limit)
        time, columns = _arrays(_ask(source, f"give candles from {iso(since)}", ask, patience), source.id)
        wanted = (time >= since) & (time < stop) & (frame.close_of(time) <= now)
        if wanted.any():
            page = {name: values[wanted] for name, values in columns.items()}
            check_arrays(time[wanted], page, origin=f"{source.id} {symbol}, page from {iso(since)}")
            yield time[wanted], page
        longest = max(longest, len(time))
        new = time[time >= since]
        # a page without a new candle is a hole in the market's history: step over as much as a page would hold
        since = _close(frame, int(new.max())) if len(new) else since + longest * frame.step


def _candles(source: Exchange, symbol: str, timeframe: str, since: int, limit: int | None) -> Rows:
    """One page; an empty one is believed only if the answer was JSON: ccxt makes no candles of an error page too."""
    import ccxt

    rows = source.fetch_ohlcv(symbol, timeframe, since, limit)
    answer = getattr(source, "last_http_response", None)
    if not rows and isinstance(answer, str) and answer.lstrip()[:1] not in ("[", "{"):
        raise ccxt.ExchangeNotAvailable(f"answered {answer[:80]!r}, which is no JSON")
    return rows


def _close(frame: Timeframe, opening: int) -> int:
    return int(frame.close_of(np.array([opening]))[0])


def _page_limit(source: Exchange, symbol: str) -> int | None:
    """How many candles the exchange gives at once, as far as ccxt knows; None leaves it to the exchange."""
    known = getattr(source, "feature_value", None)
    limit = known(symbol, "fetchOHLCV", "limit") if callable(known) else None
    return int(limit) if limit else None


def _arrays(raw: Rows, origin: str) -> tuple[IntArray, dict[str, FloatArray]]:
    try:
        table = np.array([row[:6] for row in raw], dtype=np.float64).reshape(-1, 6)  # None becomes NaN
    except (ValueError, TypeError) as error:
        raise DataError(f"{origin}: candles of an unknown form: {error}") from error
    if np.isnan(table[:, 0]).any():
        raise DataError(f"{origin}: a candle without a time")
    columns = {name: np.ascontiguousarray(table[:, i + 1]) for i, name in enumerate(COLUMNS)}
    return table[:, 0].astype(np.int64) * MS, columns


def _ask(source: Exchange, what: str, call: Callable[[], Any], patience: Patience) -> Any:
    """The answer to one request; network trouble is waited out, any other refusal is a `DataError`."""
    import ccxt

    for attempt in range(patience.retries + 1):
        try:
            return call()
        except ccxt.NetworkError as error:  # also time-outs, rate limits and maintenance
            if attempt == patience.retries:
                raise DataError(
                    f"{source.id} did not {what} in {attempt + 1} tries ({_short(error)}); what was fetched is kept: "
                    "the same command goes on from there"
                ) from error
            patience.sleep(min(patience.first_pause * 2**attempt, LONGEST_PAUSE))
        except ccxt.BaseError as error:
            raise DataError(f"{source.id} refused to {what}: {_short(error)}") from error
    raise AssertionError("unreachable: the last attempt returns or raises")


def _short(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else text[:199] + "…"


def _settle(
    name: str, about: dict[str, Any], frame: Timeframe, kept: Bars | None, journal: PageJournal
) -> dict[str, Any]:
    """Join what was kept and what came, write it, clear the journal; returns the label."""
    rows = journal.rows()
    if kept is not None:
        rows = rows[rows["time"] > kept.time[-1]]  # a crash between keeping and clearing leaves candles in both
        about = {**about, "asked_from": read_label(stored_path(name))["asked_from"]}
    market = f"{about['symbol']} from {about['exchange']}"
    if kept is None and not len(rows):
        journal.remove()
        raise DataError(f"no closed {frame.name} candles of {market} in that time; check start and end")
    joined: dict[str, Any] = {
        column: rows[column] if kept is None else np.concatenate((getattr(kept, column), rows[column]))
        for column in ("time", *COLUMNS)
    }
    gaps = describe_gaps(find_gaps(np.ascontiguousarray(joined["time"]), frame))
    bars = Bars(
        **joined,
        timeframe=frame.name,
        symbol=about["symbol"],
        source=f"{about['exchange']}:{about['symbol']}",
        notes=(f"candles of {market}", "times are opening times in UTC", *gaps),
    )
    label = keep_bars(bars, name, replace=True, extra=about)
    journal.remove()
    return label
