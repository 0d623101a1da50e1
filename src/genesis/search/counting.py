"""How many points a space has, and which is the k-th: conditions included, nothing listed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from genesis.errors import SpaceError
from genesis.search.conditions import Conditions
from genesis.search.nodes import Column
from genesis.types import FloatArray


class Enumeration:
    """Points in a fixed order, the last path running fastest; a conditional parameter runs inside its parent's value.

    `size` is None if a float is continuous. `order` has parents before children.
    """

    def __init__(self, columns: Sequence[Column], conditions: Conditions, order: Sequence[int]) -> None:
        self._columns = columns
        self._roots = [j for j, condition in enumerate(conditions) if condition is None]
        self._children: list[list[tuple[int, tuple[float, ...]]]] = [[] for _ in columns]
        for j, condition in enumerate(conditions):
            if condition is not None:
                self._children[condition[0]].append((j, condition[1]))
        self._woken = [sorted({code for _, codes in inner for code in codes}) for inner in self._children]
        self._counts: list[int | None] = [None] * len(columns)
        for j in reversed(order):
            self._counts[j] = self._count(j)
        self.size = self._product(self._roots)

    def write(self, index: int, vector: FloatArray) -> None:
        """Write the point at `index` (0 <= index < size) into a vector of NaN."""
        self._write(self._roots, index, vector)

    def _count(self, j: int) -> int | None:
        """The points of a column together with everything it wakes."""
        total = self._columns[j].count
        if total is None:
            return None
        for code in self._woken[j]:
            below = self._product(self._inner(j, code))
            if below is None:
                return None
            total += below - 1
        return total

    def _inner(self, j: int, code: float) -> list[int]:
        return [child for child, codes in self._children[j] if code in codes]

    def _product(self, members: Iterable[int]) -> int | None:
        total = 1
        for j in members:
            count = self._counts[j]
            if count is None:
                return None
            total *= count
        return total

    def _write(self, members: Sequence[int], index: int, vector: FloatArray) -> None:
        for j in reversed(members):
            count = self._counts[j]
            assert count is not None
            index, place = divmod(index, count)
            position, below = self._locate(j, place)
            steps = self._columns[j].steps
            vector[j] = float(position) if steps is None else steps.value(position)
            inner = self._inner(j, vector[j]) if self._woken[j] else []
            if inner:
                self._write(inner, below, vector)

    def _locate(self, j: int, place: int) -> tuple[int, int]:
        """The position of a column's value that owns `place` of its points, and what is left for what it wakes."""
        steps = self._columns[j].steps
        shift = 0  # points so far beyond one per value
        for code in self._woken[j]:
            position = int(code) if steps is None else steps.nearest(code)
            first = position + shift
            if place < first:
                break
            width = self._product(self._inner(j, code)) or 1
            if place < first + width:
                return position, place - first
            shift += width - 1
        return place - shift, 0


def endless(columns: Sequence[Column]) -> SpaceError:
    """The error of listing a space that has no size."""
    first = next(one.path for one in columns if one.count is None)
    return SpaceError(f"{first}: has neither step nor values, so a grid of it is endless; add a step")
