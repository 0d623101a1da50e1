"""Features of a whole search space computed ahead, kept on disk and mapped by every worker: the same bits."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genesis.strategy.features import FeatureCache, Features, Key
from genesis.strategy.needs import Need
from genesis.types import FloatArray

if TYPE_CHECKING:
    from collections.abc import Callable

    from genesis.market.bars import Bars
    from genesis.search.nodes import Column
    from genesis.search.space import Space
    from genesis.strategy.base import Strategy

DEFAULT_LIMIT_BYTES = 4 * 1024**3
GRID_LIMIT = 1_000


@dataclass(frozen=True, slots=True)
class Precomputed:
    """What lies in the folder: how many features, their bytes, and whether every one that was wanted fitted."""

    folder: Path
    features: int
    bytes: int
    complete: bool

    def cache(self, max_bytes: int | None = None) -> FeatureCache:
        """A feature cache that maps these arrays and computes whatever is not among them."""
        return FeatureCache(folder=self.folder) if max_bytes is None else FeatureCache(max_bytes, folder=self.folder)


class _Full(BaseException):
    """The folder has reached its limit; no Exception, so that it passes through an author's code."""


class _Saving(FeatureCache):
    """A cache that keeps every array on disk, until the limit, and the mapped file in place of the array."""

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        super().__init__(folder=folder)
        self.limit_bytes = limit_bytes
        self.saved: dict[Key, int] = {}

    def fetch(self, key: Key, compute: Callable[[], FloatArray]) -> FloatArray:
        """The array, put on disk when it was not there."""
        array = super().fetch(key, compute)
        if key not in self.saved:
            if sum(self.saved.values()) + array.nbytes > self.limit_bytes:
                raise _Full
            self.saved[key] = array.nbytes
            if not self.path_of(key).exists():
                self.save(key, array)
                array = self.reload(key)
        return array


def precompute(
    bars: Bars,
    strategy: Strategy,
    space: Space,
    folder: str | Path,
    *,
    limit_bytes: int = DEFAULT_LIMIT_BYTES,
) -> Precomputed:
    """Compute the features that the discrete part of `space` can ask for, and keep them in `folder` as .npy files.

    A strategy that declares `needs` gets, for each feature, the product of the values of only those parameters it
    hangs on. One that does not is run on the points of its grid (at most 1,000; beyond, on each parameter's values with
    the others held). What is not computed ahead is computed when asked for, with the same result. The bars' fingerprint
    is part of every file's name, so a folder may serve several markets and be kept between runs.
    """
    cache = _Saving(Path(folder), limit_bytes)
    features = Features(bars, cache=cache)
    complete = True
    try:
        needs: Sequence[Need] = getattr(strategy, "needs", ())
        if needs:
            for need in needs:
                for values in _products(need, space, strategy):
                    need.fetch(features, values)
        else:
            for params in _probes(space):
                with suppress(Exception):  # an author's error is told by the trial that meets it
                    strategy.signals(params, features)
    except _Full:
        complete = False
    _give_back()
    return Precomputed(Path(folder), len(cache.saved), sum(cache.saved.values()), complete)


def _give_back() -> None:
    """Let the C library return freed memory to the system, where it can (glibc): workers start after this."""
    with suppress(OSError, TypeError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _products(need: Need, space: Space, strategy: Strategy) -> Iterator[dict[str, Any]]:
    """The values of the need's parameters, every combination the space allows."""
    defaults: Mapping[str, Any] = getattr(strategy, "defaults", {})
    paths = need.paths
    for values in product(*(_values(path, space, defaults) for path in paths)):
        yield dict(zip(paths, values, strict=True))


def _values(path: str, space: Space, defaults: Mapping[str, Any]) -> list[Any]:
    """What the space lets a parameter be; nothing for a continuous one, whose features are computed as they come."""
    for column in space.columns:
        if column.path == path:
            if column.choices is not None:
                return list(column.choices)
            return _whole_numbers(column) if column.kind == "int" else []
    return [space.fixed.get(path, defaults[path])]


def _whole_numbers(column: Column) -> list[int]:
    assert column.low is not None
    assert column.high is not None
    return list(range(int(column.low), int(column.high) + 1, int(column.step or 1)))


def _probes(space: Space) -> Iterator[dict[str, Any]]:
    size = space.size
    if size is not None and size <= GRID_LIMIT:
        for point in space.grid():
            yield space.decode(point)
        return
    codes = [_codes(column) for column in space.columns]
    base = [values[0] for values in codes]
    for place, values in enumerate(codes):
        for code in values:
            yield space.decode([*base[:place], code, *base[place + 1 :]])


def _codes(column: Column) -> list[float]:
    """A column's values as a point spells them; only the lowest of a float's."""
    if column.choices is not None:
        return [float(k) for k in range(len(column.choices))]
    if column.kind == "int":
        return [float(value) for value in _whole_numbers(column)]
    assert column.low is not None
    return [float(column.low)]
