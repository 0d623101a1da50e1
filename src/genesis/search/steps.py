"""Exact arithmetic on a stepped range: which decimal grid point is nearest, and which float is it.

A step such as 0.1 has no exact float, so `low + k * step` in floats drifts and two proposals on one grid value would
become two parameter sets. Here low and step are the decimals a reader sees (`repr`), scaled to integers; a point is an
integer division, rounded once.
"""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction

import numpy as np

from genesis.types import FloatArray, IntArray

LARGEST_EXACT = 2**53
"""Up to here every integer is a float64 of its own."""

_TABLE_POINTS = 65_536
_EXACT_POWER = 22  # 10**22 is the largest power of ten that is a float64

STEP_DECIMALS: dict[float, int] = {
    **{10.0**power: 0 for power in range(7)},
    **{digit * 10.0**power: 0 for digit in (2, 5) for power in range(4)},
    **{float(f"{lead}e-{places}"): places for places in range(1, 11) for lead in (1, 2, 3, 4, 5, 6, 7, 8, 9)},
    **{float(f"{lead}e-{places}"): places for places in range(2, 9) for lead in (15, 25, 75, 125)},
}
"""Decimals of common steps, known before the first trial; others join when they are first met (bounded)."""

_STEP_DECIMALS_LIMIT = 4_096


def step_decimals(step: float) -> int:
    """How many decimals the shortest writing of `step` has: 0.25 has 2, 1e-05 has 5, 100.0 has 0.

    >>> step_decimals(2.5e-3), step_decimals(0.30000000000000004), step_decimals(10)
    (4, 17, 0)
    """
    known = STEP_DECIMALS.get(step)
    if known is None:
        known = _decimals(_decimal(step))
        if len(STEP_DECIMALS) < _STEP_DECIMALS_LIMIT:
            STEP_DECIMALS[float(step)] = known
    return known


def _decimal(value: float) -> Decimal:
    return Decimal(value) if isinstance(value, int) else Decimal(repr(float(value)))


def _decimals(value: Decimal) -> int:
    exponent = value.normalize().as_tuple().exponent
    assert isinstance(exponent, int), "the parser refuses NaN and infinity"
    return max(0, -exponent)


class StepGrid:
    """The points low, low + step, … up to the last one at or below high, as exact decimals.

    `divides` says whether high itself is a point. `high` is the last point, and `high_is_exact` whether its float reads
    back as the same decimal, so that a library which checks divisibility on floats agrees. Ties between two points go
    to the even multiple of the step.
    """

    __slots__ = (
        "_array", "_exact", "_low_int", "_scale", "_step_int", "count", "divides", "high", "high_is_exact",
        "low", "step",
    )  # fmt: skip

    def __init__(self, low: float, high: float, step: float) -> None:
        low_d, high_d, step_d = _decimal(low), _decimal(high), _decimal(step)
        digits = max(step_decimals(float(low)), step_decimals(float(step)))
        wide = max(digits, _decimals(high_d))
        self.low, self.step = float(low), float(step)
        self._scale: int = 10**digits
        self._low_int = int(Fraction(low_d) * self._scale)
        self._step_int = int(Fraction(step_d) * self._scale)
        span = int((Fraction(high_d) - Fraction(low_d)) * 10**wide)
        last = span // (self._step_int * 10 ** (wide - digits))
        if self.value(last + 1) <= high:  # the decimal is a hair beyond high, its float is not
            last += 1
        self.count: int = last + 1
        self.divides = self.value(last) == high
        high_int = self._low_int + last * self._step_int
        self.high = self.value(last)
        self.high_is_exact = Fraction(_decimal(self.high)) == Fraction(high_int, self._scale)
        largest = max(abs(self._low_int), abs(high_int))
        self._exact = digits <= _EXACT_POWER and largest <= LARGEST_EXACT
        self._array: FloatArray | None = None
        if not self._exact and self.count <= _TABLE_POINTS:
            self._array = np.array([self.value(k) for k in range(self.count)], dtype=np.float64)

    @property
    def line(self) -> tuple[float, float, float] | None:
        """(a, b, c) such that the floats (a + k * b) / c are `value` of each k of the grid, the same bits.

        None where floats do not give that, or are hardly finer than the step.
        """
        finest = 4.0 * float(np.spacing(max(abs(self.low), abs(self.high))))
        if not self._exact or (self.count - 1) * self._step_int > LARGEST_EXACT or self.step < finest:
            return None
        return float(self._low_int), float(self._step_int), float(self._scale)

    @property
    def collapses(self) -> bool:
        """Whether neighbours are so close that they are one float."""
        return self.step < float(np.spacing(max(abs(self.low), abs(self.high))))

    def value(self, k: int) -> float:
        """Return the float nearest to low + k * step."""
        return (self._low_int + k * self._step_int) / self._scale

    def values(self, k: IntArray) -> FloatArray:
        """Return `value` of each k, the same bits."""
        if self._exact:  # both operands are exact floats, so the division rounds once, as `value` does
            exact: FloatArray = (self._low_int + k * self._step_int).astype(np.float64) / float(self._scale)
            return exact
        if self._array is not None:
            return self._array[k]
        return np.array([self.value(one) for one in k.tolist()], dtype=np.float64)

    def on(self, x: float) -> bool:
        """Whether x is a point of the grid, bit for bit."""
        t = (x - self.low) / self.step
        if not -0.5 < t < self.count:  # NaN too
            return False
        k = round(t)
        return k < self.count and (self._low_int + k * self._step_int) / self._scale == x

    def nearest(self, x: float) -> int:
        """Return the k of the point nearest to x; outside the range, the end. Raises ValueError for NaN."""
        t = (x - self.low) / self.step
        if t != t:
            raise ValueError("NaN has no nearest point")
        if t <= -1.0:
            return 0
        if t >= self.count:
            return self.count - 1
        k = round(t)
        if abs(t - k) > 0.5 - self._doubt(abs(x), abs(t)):
            k = self._nearest_exact(x)
        return min(max(k, 0), self.count - 1)

    def nearest_many(self, x: FloatArray) -> IntArray:
        """Return `nearest` of each x."""
        with np.errstate(over="ignore"):  # a far point becomes infinite and is clipped
            # np.clip takes five times as long as its two halves
            t = np.minimum(np.maximum((x - self.low) / self.step, -1.0), float(self.count))
            doubt = (np.abs(x) + abs(self.low)) / self.step
        near = np.rint(t)
        unsure = np.abs(t - near) > 0.5 - (doubt + np.abs(t) + 1.0) * 2.0**-50
        k: IntArray = near.astype(np.int64)
        if unsure.any():
            for i in np.flatnonzero(unsure & (t > -1.0) & (t < self.count)).tolist():
                k[i] = self._nearest_exact(float(x[i]))
        inside: IntArray = np.minimum(np.maximum(k, 0), self.count - 1)
        return inside

    def _doubt(self, size: float, t: float) -> float:
        """How far the float quotient may be from the true one, in steps."""
        return ((size + abs(self.low)) / self.step + t + 1.0) * 2.0**-50

    def _nearest_exact(self, x: float) -> int:
        top, bottom = x.as_integer_ratio()
        return round(Fraction(top * self._scale - self._low_int * bottom, self._step_int * bottom))


def dividing_step(low: float, high: float, step: float, *, whole: bool = False) -> float | None:
    """Return the step nearest to `step` that divides [low, high] with at most one decimal more; None if there is none.

    `whole` asks for a whole number.

    >>> dividing_step(1.0, 2.0, 0.3)
    0.25
    """
    span = Fraction(_decimal(high)) - Fraction(_decimal(low))
    wanted = Fraction(_decimal(step))
    places = 1 if whole else 10 ** (max(step_decimals(step), step_decimals(low), step_decimals(high)) + 1)
    parts = math.floor(span / wanted)
    near = [span / n for n in range(max(1, parts - 20), parts + 21)]
    fits = [one for one in near if (one * places).denominator == 1]
    return float(min(fits, key=lambda one: abs(one - wanted))) if fits else None
