"""A seeded market that never was: regimes, clustered volatility and fat tails, any length and timeframe."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np

from genesis.errors import DataError
from genesis.market.bars import Bars
from genesis.market.timeframe import DAY, parse_timeframe
from genesis.types import FloatArray

YEAR = 365 * DAY
LAST = np.datetime64("2262-01-01", "ns").astype(np.int64)  # int64 nanoseconds end in that year
DIGITS = 9  # significant ones of a price; such rounding is monotone: low <= open, close <= high survives it
# name: annual drift of the logarithm, volatility as a multiple, mean length in days
REGIMES = {"bull": (0.35, 0.8, 120.0), "range": (0.0, 0.7, 90.0), "bear": (-0.45, 1.5, 60.0)}
TAIL_DEGREES = 4.0  # Student-t degrees of freedom of the returns
CLUSTER_HALF_LIFE_DAYS = 15.0  # of the logarithm of volatility
CLUSTER_SPREAD = 0.4  # its standard deviation
ANCHOR_HALF_LIFE_YEARS = 5.0  # a weak pull to the first price keeps a million bars in a plausible range


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntheticSpec:
    """What a synthetic market is made from; equal specs make equal bars.

    `bars` is their number, `start` the first opening date, `price` the first opening price, `volatility` the
    annual standard deviation of log returns (0.6 is 60 %).
    """

    seed: int = 0
    bars: int = 10_000
    timeframe: str = "1h"
    start: str = "2000-01-01"
    price: float = 100.0
    volatility: float = 0.6

    @classmethod
    def parse(cls, text: str) -> SyntheticSpec:
        """Read `seed=7,bars=10000,timeframe=5m`; raises `DataError` naming what is unknown or unreadable."""
        kinds = {f.name: {"int": int, "float": float, "str": str}[str(f.type)] for f in fields(cls)}
        given: dict[str, object] = {}
        for part in filter(None, (piece.strip() for piece in text.split(","))):
            name, _, value = (piece.strip() for piece in part.partition("="))
            if name not in kinds:
                raise DataError(f"synthetic: {part!r} is unknown; give any of {', '.join(f'{k}=' for k in kinds)}")
            try:
                given[name] = kinds[name](value.replace("_", "") if kinds[name] is int else value)
            except ValueError as error:
                raise DataError(f"synthetic: {name}={value!r} is not a {kinds[name].__name__}") from error
        return cls(**given)  # type: ignore[arg-type]


def synthetic(spec: SyntheticSpec | str | None = None, **settings: object) -> Bars:
    """Bars of a market that never was, labelled so in `symbol`, `source` and `synthetic`.

    Takes a spec, its text, or its fields. Log returns have a regime's drift (bull, range, bear: a Markov chain),
    volatility whose logarithm is a slow autoregression, and Student-t shocks. The high and low inside a bar are those
    of a Brownian bridge from open to close. Bars follow each other round the clock.

    Raises `DataError` for a spec outside its limits.

    >>> synthetic("seed=7,bars=100,timeframe=5m").synthetic
    True
    """
    if isinstance(spec, str):
        spec = SyntheticSpec.parse(spec)
    if spec is None:
        spec = SyntheticSpec(**settings)  # type: ignore[arg-type]
    frame = parse_timeframe(spec.timeframe)
    _check(spec)
    first = np.datetime64(spec.start, "ns").astype(np.int64)
    if frame.months:
        months = (first.astype("datetime64[ns]").astype("datetime64[M]").astype(np.int64)) + frame.months * np.arange(
            spec.bars
        )
        if int(months[-1]) + frame.months >= int(np.datetime64("2262-01", "M").astype(np.int64)):
            raise _too_long(spec)
        time = months.astype("datetime64[M]").astype("datetime64[ns]").astype(np.int64)
    else:
        if int(first) + frame.step * spec.bars > int(LAST):
            raise _too_long(spec)
        time = int(first) + frame.step * np.arange(spec.bars, dtype=np.int64)
    o, h, lo, c, v = _prices(spec, frame.step)
    label = f"seed={spec.seed},bars={spec.bars},timeframe={frame.name}"
    extra = [f"{f.name}={getattr(spec, f.name)}" for f in fields(spec)[3:] if getattr(spec, f.name) != f.default]
    source = "synthetic:" + ",".join([label, *extra])
    return Bars(
        time, o, h, lo, c, v, frame.name, f"SYNTHETIC-{spec.seed}", True, source, ("synthetic: not a real market",)
    )


def _check(spec: SyntheticSpec) -> None:
    for name, value, low, high in (
        ("seed", spec.seed, 0, 2**63 - 1),
        ("bars", spec.bars, 1, 100_000_000),
        ("price", spec.price, 1e-3, 1e9),
        ("volatility", spec.volatility, 1e-3, 5.0),
    ):
        if not low <= value <= high:
            raise DataError(f"synthetic: {name}={value!r} is outside [{low:g}, {high:g}]")
    try:
        stamp = np.datetime64(spec.start, "D")
    except ValueError as error:
        raise DataError(f"synthetic: start={spec.start!r} is not a date such as 2000-01-01") from error
    if not np.datetime64("1700-01-01") <= stamp < np.datetime64("2262-01-01"):
        raise DataError(f"synthetic: start={spec.start!r} is outside 1700 to 2261")


def _too_long(spec: SyntheticSpec) -> DataError:
    return DataError(
        f"synthetic: {spec.bars:,} bars of {spec.timeframe} from {spec.start} end after 2261, the last year that "
        "nanoseconds can name; use fewer bars, a shorter timeframe or an earlier start"
    )


def _prices(spec: SyntheticSpec, step: int) -> tuple[FloatArray, ...]:
    n = spec.bars
    rng = np.random.default_rng(np.random.SeedSequence([spec.seed, 0x67656E]))
    drift, scale = _regimes(rng, n, step)
    fraction = step / YEAR
    decay = 0.5 ** (step / DAY / CLUSTER_HALF_LIFE_DAYS)
    begin = CLUSTER_SPREAD * rng.standard_normal()
    shocks = CLUSTER_SPREAD * math.sqrt(1 - decay * decay) * rng.standard_normal(n)
    cluster = _decaying_sum(shocks, decay, begin)
    # E[exp(2x)] of a normal x is exp(2 spread^2): subtracting spread^2 keeps the mean variance at scale^2
    sigma = spec.volatility * math.sqrt(fraction) * scale * np.exp(cluster - CLUSTER_SPREAD**2)
    tails = rng.standard_t(TAIL_DEGREES, n) / math.sqrt(TAIL_DEGREES / (TAIL_DEGREES - 2))
    moves = drift * fraction + sigma * np.clip(tails, -12, 12)
    pull = 0.5 ** (fraction / ANCHOR_HALF_LIFE_YEARS)
    path = np.concatenate(([0.0], _decaying_sum(moves, pull, 0.0)))
    o, c = path[:-1], path[1:]
    move, spread = c - o, 2 * sigma * sigma
    # extremes of a Brownian bridge: P(max < m) = 1 - exp(-2 m (m - move) / sigma^2); solved for m at a uniform draw
    up = 0.5 * (move + np.sqrt(move * move - spread * np.log(1.0 - rng.random(n))))
    down = 0.5 * (move - np.sqrt(move * move - spread * np.log(1.0 - rng.random(n))))
    volume = np.round(1e6 * fraction * 365 * np.exp(0.5 * rng.standard_normal(n) + cluster) * (1 + np.abs(tails)), 2)
    logs = (o, np.maximum(o + up, np.maximum(o, c)), np.minimum(o + down, np.minimum(o, c)), c)
    return (*(_rounded(spec.price * np.exp(x)) for x in logs), volume)


def _rounded(x: FloatArray) -> FloatArray:
    scale = 10.0 ** (DIGITS - 1 - np.floor(np.log10(x)))
    return np.rint(x * scale) / scale


def _decaying_sum(x: FloatArray, decay: float, begin: float) -> FloatArray:
    """y[i] = decay * y[i-1] + x[i] with y[-1] = begin, in blocks so short that decay ** -length stays small."""
    length = int(min(max(math.log(1e-6) / math.log(decay), 1.0), 8_192.0))
    y = np.empty_like(x)
    for first in range(0, len(x), length):
        block = x[first : first + length]
        weight = decay ** np.arange(1, len(block) + 1)
        y[first : first + length] = (np.cumsum(block / weight) + begin) * weight
        begin = float(y[first + len(block) - 1])
    return y


def _regimes(rng: np.random.Generator, n: int, step: int) -> tuple[FloatArray, FloatArray]:
    """Drift and volatility multiple of each bar: a Markov chain drawn by its stays, whose lengths are geometric."""
    table = np.array(list(REGIMES.values()))
    stay = np.maximum(table[:, 2] * DAY / step, 1.0)
    states: list[int] = []
    lengths: list[int] = []
    state, total = int(rng.integers(3)), 0
    while total < n:
        states.append(state)
        lengths.append(min(int(rng.geometric(1.0 / stay[state])), n - total))
        total += lengths[-1]
        state = (state + 1 + int(rng.integers(2))) % 3  # one of the two others, evenly
    which = np.repeat(states, lengths)
    return table[which, 0], table[which, 1]
