"""Indicators of one market, computed once per (name, parameters), read-only, and shared by every trial that asks."""

from __future__ import annotations

import difflib
import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from genesis.engine.compile import jit
from genesis.errors import StrategyError
from genesis.strategy.feature_table import TABLE, Feature
from genesis.types import FloatArray, IntArray

if TYPE_CHECKING:
    from genesis.market.bars import Bars

Key = tuple[Any, ...]
T = TypeVar("T")
DEFAULT_CACHE_BYTES = 256 * 1024 * 1024

# The C library on Linux gives freed memory back to the system above a limit of 128 KiB, and getting it anew costs more
# than the indicators written to it (measured: 800 of 1,600 µs). Freeing one large block raises the limit to 8 MiB; the
# block is never touched.
np.empty(4 * 1024 * 1024, dtype=np.uint8)


class FeatureCache:
    """Computed arrays by key, the longest unused forgotten first once `max_bytes` is passed; safe between threads.

    With a `folder` (see `precompute`) an absent key is looked up on disk first and memory-mapped: the operating
    system then keeps one copy for all workers, so those arrays do not count against `max_bytes`.
    """

    def __init__(self, max_bytes: int = DEFAULT_CACHE_BYTES, *, folder: str | Path | None = None) -> None:
        self.max_bytes = max_bytes
        self.folder = None if folder is None else Path(folder)
        self.bytes = 0
        self.hits = 0
        self.misses = 0
        self._items: OrderedDict[Key, FloatArray] = OrderedDict()
        self._lock = threading.RLock()

    def __len__(self) -> int:
        return len(self._items)

    @property
    def held(self) -> tuple[Key, ...]:
        """The keys held, the longest unused first."""
        with self._lock:
            return tuple(self._items)

    def fetch(self, key: Key, compute: Callable[[], FloatArray]) -> FloatArray:
        """The array under `key`, computed (or mapped from the folder) when absent."""
        with self._lock:
            found = self._items.get(key)
            if found is not None:
                self._items.move_to_end(key)
                self.hits += 1
                return found
        self.misses += 1
        made = self._load(key)
        if made is None:
            made = np.ascontiguousarray(compute())
            made.setflags(write=False)
        with self._lock:
            self._put(key, made)
        return made

    def holds(self, key: Key) -> bool:
        """Whether `fetch` would find the key, in memory or in the folder; it is not touched."""
        return key in self._items or (self.folder is not None and self.path_of(key).exists())

    def _put(self, key: Key, array: FloatArray) -> None:
        self.bytes += _weight(array) - (_weight(self._items[key]) if key in self._items else 0)
        self._items[key] = array
        while self.bytes > self.max_bytes and len(self._items) > 1:
            _, old = self._items.popitem(last=False)
            self.bytes -= _weight(old)

    def _load(self, key: Key) -> FloatArray | None:
        if self.folder is None:
            return None
        path = self.path_of(key)
        if not path.exists():
            return None
        return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))  # a plain view: the type compiled for

    def reload(self, key: Key) -> FloatArray:
        """The array under `key` as the folder keeps it, from now on held in place of the one in memory."""
        made = self._load(key)
        if made is None:
            raise StrategyError(f"{self.path_of(key)} is not there; save the feature first")
        with self._lock:
            self._put(key, made)
        return made

    def path_of(self, key: Key) -> Path:
        """Where the folder keeps this key, whether it is there or not."""
        if self.folder is None:
            raise StrategyError("this feature cache has no folder; make it with FeatureCache(folder=…)")
        return self.folder / key_filename(key)

    def save(self, key: Key, array: FloatArray) -> Path:
        """Keep an array in the folder: written beside its place and moved there whole."""
        path = self.path_of(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_suffix(f".{os.getpid()}.part")
        with beside.open("wb") as file:
            np.save(file, array, allow_pickle=False)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
        return path


def _weight(array: FloatArray) -> int:
    """Bytes that the cache holds alive; none for a mapped file, whose pages belong to the system."""
    return 0 if isinstance(array.base, np.memmap) else array.nbytes


def _sealed(array: FloatArray) -> FloatArray:
    """A read-only view: what compiled functions are given, so that each is compiled for one kind of array."""
    view = array.view()
    view.setflags(write=False)
    return view


def key_filename(key: Key) -> str:
    """File name of a feature: readable first, made unique by a hash over the whole key (market included)."""
    market, timeframe, name, *values = key
    digest = hashlib.sha256(repr((market, timeframe, name, *values)).encode()).hexdigest()[:24]
    return "-".join(str(part) for part in (timeframe, name, *values)) + f"-{digest}.npy"


class Features:
    """Features of `bars` by name, each a read-only float64[n] that is NaN until enough bars are known.

    Every value at index i depends on bars 0..i alone. Arrays are computed at first use and kept in `cache`, which may
    be shared between markets and windows: the key holds the fingerprint of the bars.

        >>> features.get("ema", period=20)          # doctest: +SKIP
        >>> features.higher("1w").get("rsi")        # doctest: +SKIP
    """

    def __init__(self, bars: Bars, *, cache: FeatureCache | None = None) -> None:
        self.bars = bars
        self.n = len(bars)
        self._cache = FeatureCache() if cache is None else cache
        self._market = "" if cache is None else bars.fingerprint
        self._higher: dict[str, HigherFeatures] = {}
        self._last: dict[str, tuple[Any, Any]] = {}

    @cached_property
    def sealed(self) -> Features:
        """These features with read-only bars, for an author's code."""
        return SealedFeatures(self)

    @property
    def cache(self) -> FeatureCache:
        """Where the arrays are kept."""
        return self._cache

    def get(self, name: str, **params: int) -> FloatArray:
        """The feature `name` with these parameters (its defaults for the rest); unknown names raise StrategyError."""
        return self.fetch(name, *bind(name, params))

    def fetch(self, name: str, *values: int) -> FloatArray:
        """`get` with every parameter given in the table's order and already checked: the fast way for strategies."""
        key = (self._market, self.bars.timeframe, name, *values)
        return self._cache.fetch(key, lambda: TABLE[name].compute(self, *values))

    def fetch_made(self, name: str, values: tuple[int, ...], make: Callable[[], FloatArray]) -> FloatArray:
        """`fetch` for a strategy that makes several features in one pass: an absent one is what `make` gives.

        `make` gives the very bits that the table's function would.
        """
        return self._cache.fetch((self._market, self.bars.timeframe, name, *values), make)

    def holds(self, name: str, values: tuple[int, ...]) -> bool:
        """Whether the feature is there already, in memory or in the cache's folder."""
        return self._cache.holds((self._market, self.bars.timeframe, name, *values))

    def last(self, name: str, key: Any, make: Callable[[], T]) -> T:
        """What `make` gave when `name` was asked for with this key the time before; made anew for another key.

        One value is held for each name, beside the cache and its bound: for what a strategy derives from features
        that are the same for many trials in a row. `key` decides the value; nobody may write to what is held.
        """
        held = self._last.get(name)
        if held is None or held[0] != key:
            held = self._last[name] = (key, make())
        found: T = held[1]
        return found

    @cached_property
    def unknown(self) -> FloatArray:
        """float64[n] of NaN, for what a market does not have."""
        array = np.full(self.n, np.nan)
        array.setflags(write=False)
        return array

    def sma(self, period: int) -> FloatArray:
        """Mean of the last `period` closes."""
        return self.get("sma", period=period)

    def ema(self, period: int) -> FloatArray:
        """Exponential mean of the close."""
        return self.get("ema", period=period)

    def rsi(self, period: int = 14) -> FloatArray:
        """Wilder's relative strength, 0..100."""
        return self.get("rsi", period=period)

    def atr(self, period: int = 14) -> FloatArray:
        """Wilder's average true range, in price units."""
        return self.get("atr", period=period)

    def adx(self, period: int = 14) -> FloatArray:
        """Wilder's average directional index, 0..100."""
        return self.get("adx", period=period)

    def higher(self, timeframe: str) -> HigherFeatures:
        """The same features on a higher timeframe, as of its last bar closed at each bar's close."""
        found = self._higher.get(timeframe)
        if found is None:
            found = self._higher[timeframe] = HigherFeatures(self, timeframe)
        return found


class SealedFeatures(Features):
    """Features as an author's code is given them: its bars are read-only, so that no trial changes the next one's.

    The arrays are those of `inner`, whose own bars stay writable for the compiled functions, which know one kind.
    """

    def __init__(self, inner: Features) -> None:
        self._inner = inner
        self.bars = inner.bars.sealed()
        self.n = inner.n
        self._cache = inner._cache
        self._market = inner._market
        self._higher = inner._higher
        self._last = inner._last

    def fetch(self, name: str, *values: int) -> FloatArray:
        """`get` with checked values in the table's order."""
        return self._inner.fetch(name, *values)

    def higher(self, timeframe: str) -> HigherFeatures:
        """The same features on a higher timeframe, as of its last bar closed at each bar's close."""
        return self._inner.higher(timeframe)


class HigherFeatures:
    """Features of the resampled bars, spread over the base bars: float64[n], NaN before the first closed higher bar."""

    def __init__(self, base: Features, timeframe: str) -> None:
        from genesis.market.bars import higher_bars

        self.timeframe = timeframe
        self.cache = base.cache
        # not `base` itself: it holds these features, and what is in a circle is freed only when the collector comes by
        self._place = (base._market, f"{base.bars.timeframe}<{timeframe}")
        own, self.index = higher_bars(base.bars, timeframe)
        # The arrays of the higher bars live beside the base's in the same cache, under the base market's name.
        self.raw = Features(own, cache=base.cache)
        self.raw._market = f"{base._market}>{timeframe}"

    @cached_property
    def bars(self) -> Bars:
        """The higher bars, read-only."""
        return self.raw.bars.sealed()

    def get(self, name: str, **params: int) -> FloatArray:
        """The feature of the last closed higher bar at each base bar."""
        return self.fetch(name, *bind(name, params))

    def fetch(self, name: str, *values: int) -> FloatArray:
        """`get` with checked values in the table's order."""
        return self.cache.fetch(
            (*self._place, name, *values), lambda: _spread(self.raw.fetch(name, *values), self.index)
        )

    def column(self, field: str) -> FloatArray:
        """A price column (`open`, `high`, `low`, `close`, `volume`) of the last closed higher bar."""
        return self.cache.fetch(
            (*self._place, f"bar_{field}"), lambda: _spread(_sealed(getattr(self.bars, field)), self.index)
        )


@jit
def _spread(values: FloatArray, index: IntArray) -> FloatArray:
    """values[index], NaN where the index is -1."""
    out = np.empty(index.shape[0])
    for i in range(index.shape[0]):
        out[i] = values[index[i]] if index[i] >= 0 else np.nan
    return out


def bind(name: str, params: dict[str, int]) -> tuple[int, ...]:
    """Parameters of a feature in the table's order, checked: StrategyError names what is unknown or out of range."""
    feature = TABLE.get(name)
    if feature is None:
        raise StrategyError(
            f"feature {name!r} is unknown{did_you_mean(name, TABLE)}; known: {', '.join(sorted(TABLE))}"
        )
    for key in params:
        if key not in feature.defaults:
            allowed = ", ".join(feature.defaults) or "no parameters"
            raise StrategyError(
                f"feature {name!r} has no parameter {key!r}{did_you_mean(key, feature.defaults)}; it takes {allowed}"
            )
    return tuple(_whole(feature, key, params.get(key, default)) for key, default in feature.defaults.items())


def _whole(feature: Feature, key: str, value: int) -> int:
    whole = int(value) if value == value and abs(value) < 1e9 else 0
    if whole != value or whole < feature.least:
        raise StrategyError(f"feature {feature.name!r}: {key}={value!r}; give a whole number from {feature.least} on")
    return whole


def did_you_mean(word: str, known: Any) -> str:
    """A hint in brackets when a known word is close, else nothing."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" (did you mean {close[0]!r}?)" if close else ""
