"""A strategy's declared parameters: defaults, limits and meaning by dotted path, read quickly and strictly."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from genesis.errors import GenesisError, StrategyError
from genesis.strategy.features import did_you_mean
from genesis.types import FloatArray

Reader = Callable[[str, Any], Any]
_OF_A_RANGE = frozenset(("low", "high", "step", "choices", "log"))


@dataclass(frozen=True, slots=True)
class Parameter:
    """One declared parameter; `index` is its place in the flat vector, -1 for one that is not a number."""

    path: str
    default: Any
    allowed: str
    meaning: str
    read: Reader
    index: int = -1


@dataclass(frozen=True, slots=True)
class Settings:
    """Parameters as read: numbers in the flat vector `p`, everything else in `other` by path."""

    p: FloatArray
    other: Mapping[str, Any]


def number(low: float, high: float, *, none: float | None = None) -> tuple[str, Reader]:
    """A number in [low, high]; `none` is what null stands for, where null is allowed."""

    def read(path: str, value: Any) -> float:
        if type(value) is float and low <= value <= high:  # what most values are
            return value
        if value is None and none is not None:
            return none
        if isinstance(value, bool) or not isinstance(value, (int, float, np.number)) or not low <= value <= high:
            raise StrategyError(f"{path}: {value!r} is not allowed; give a number in [{low:g}, {high:g}]")
        return float(value)

    return f"[{low:g}, {high:g}]" + (" or null" if none is not None else ""), read


def whole(low: int, high: int) -> tuple[str, Reader]:
    """A whole number in [low, high]."""

    def read(path: str, value: Any) -> float:
        if type(value) is int and low <= value <= high:  # what most values are
            return float(value)
        good = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
        if not good or not low <= value <= high or value != math.floor(value):
            raise StrategyError(f"{path}: {value!r} is not allowed; give a whole number in [{low}, {high}]")
        return float(value)

    return f"whole, [{low}, {high}]", read


def flag() -> tuple[str, Reader]:
    """True or false (1 and 0 count as such)."""

    def read(path: str, value: Any) -> float:
        if value is True or value is False or (isinstance(value, (int, float)) and value in (0, 1)):
            return float(value)
        raise StrategyError(f"{path}: {value!r} is not allowed; give true or false")

    return "true or false", read


def choice(*words: str) -> tuple[str, Reader]:
    """One of some words, kept in the flat vector as its place among them."""

    def read(path: str, value: Any) -> float:
        if isinstance(value, str) and value in words:
            return float(words.index(value))
        raise StrategyError(f"{path}: {value!r} is not allowed; give one of {', '.join(words)}")

    return " or ".join(words), read


def numbers(low: float, high: float, most: int) -> tuple[str, Reader]:
    """A list of at most `most` numbers in [low, high]."""

    def read(path: str, value: Any) -> FloatArray:
        items = [value] if isinstance(value, (int, float)) and not isinstance(value, bool) else value
        if isinstance(items, str) or not isinstance(items, Sequence) or len(items) > most:
            raise StrategyError(f"{path}: {value!r} is not allowed; give a list of at most {most} numbers")
        one = number(low, high)[1]
        return np.array([one(f"{path}[{k}]", item) for k, item in enumerate(items)], dtype=np.float64)

    return f"list of at most {most} numbers in [{low:g}, {high:g}]", read


def text(check: Callable[[str], str], allowed: str) -> tuple[str, Reader]:
    """Text that `check` accepts (it raises ValueError or a GenesisError otherwise)."""

    def read(path: str, value: Any) -> str:
        if not isinstance(value, str):
            raise StrategyError(f"{path}: {value!r} is not allowed; give {allowed}")
        try:
            return check(value)
        except (GenesisError, ValueError) as error:
            raise StrategyError(f"{path}: {value!r} is not allowed; give {allowed} ({error})") from error

    return allowed, read


class ParameterTable:
    """The parameters of a strategy: `read` turns nested or dotted values into `Settings`, refusing unknown names.

    A number given where a group of numbers is declared (`thresholds.regime_proba: 0.6`) is given to each of the group
    when the group is named in `spread`.
    """

    def __init__(self, name: str, rows: Iterable[tuple[str, Any, tuple[str, Reader], str]], spread: Sequence[str] = ()):
        self.name = name
        self.parameters: dict[str, Parameter] = {}
        self._spread = frozenset(spread)
        self._tree: dict[str, Any] = {}
        flat: list[float] = []
        other: dict[str, Any] = {}
        for path, default, (allowed, reader), meaning in rows:
            value = reader(path, default)
            index = len(flat) if isinstance(value, float) else -1
            if index >= 0:
                flat.append(value)
            else:
                other[path] = value
            parameter = Parameter(path, default, allowed, meaning, reader, index)
            self.parameters[path] = parameter
            self._place(path, parameter)
        self._flat = np.array(flat, dtype=np.float64)
        self._other = other

    def _place(self, path: str, parameter: Parameter) -> None:
        node = self._tree
        *groups, leaf = path.split(".")
        for group in groups:
            node = node.setdefault(group, {})
        node[leaf] = parameter

    @property
    def defaults(self) -> dict[str, Any]:
        """Every parameter's default by dotted path."""
        return {path: item.default for path, item in self.parameters.items()}

    def knows(self, path: str) -> bool:
        """Whether a dotted path is a parameter, or a group whose members one number may stand for."""
        return path in self.parameters or path in self._spread

    def read(self, params: Mapping[str, Any]) -> Settings:
        """Defaults overlaid with `params`; StrategyError names an unknown path or a value that is not allowed."""
        p = self._flat.copy()
        other = dict(self._other)
        self._walk(params, self._tree, "", p, other)
        return Settings(p, other)

    def _walk(
        self, given: Mapping[str, Any], tree: dict[str, Any], at: str, p: FloatArray, other: dict[str, Any]
    ) -> None:
        for name, value in given.items():
            node = tree.get(name)
            if node is None:
                node = self._dotted(name, tree, f"{at}{name}")
            if type(node) is Parameter:
                if node.index >= 0:
                    p[node.index] = node.read(node.path, value)
                else:
                    other[node.path] = node.read(node.path, value)
            elif isinstance(value, Mapping):
                self._walk(value, node, f"{at}{name}.", p, other)
            elif f"{at}{name}" in self._spread:
                self._walk(dict.fromkeys(node, value), node, f"{at}{name}.", p, other)
            else:
                raise StrategyError(f"{at}{name}: {value!r} is not allowed; it is a group of {', '.join(node)}")

    def _dotted(self, name: Any, tree: dict[str, Any], path: str) -> Any:
        node: Any = tree
        for part in str(name).split("."):
            node = node.get(part) if isinstance(node, dict) else None
            if node is None:
                if path.rpartition(".")[2] in _OF_A_RANGE:
                    owner = path.rpartition(".")[0]
                    raise StrategyError(
                        f"{self.name} has no parameter {path!r}; if {owner} is to be searched, its type is missing: "
                        "write type: int, float or categorical beside it"
                    )
                hint = did_you_mean(path, self.parameters) or did_you_mean(str(name), tree)
                raise StrategyError(f"{self.name} has no parameter {path!r}{hint}; this group knows {', '.join(tree)}")
        return node

    def markdown(self) -> str:
        """The table as Markdown: path, default, allowed, meaning."""
        lines = ["| parameter | default | allowed | meaning |", "|---|---|---|---|"]
        for item in self.parameters.values():
            default = (
                "null"
                if item.default is None
                else str(item.default).lower()
                if isinstance(item.default, bool)
                else item.default
            )
            lines.append(f"| `{item.path}` | {default} | {item.allowed} | {item.meaning} |")
        return "\n".join(lines)
