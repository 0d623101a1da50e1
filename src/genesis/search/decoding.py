"""From a vector's entries to nested parameters by a plan made once, and from parameters to dotted paths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from genesis.search.nodes import Column, plain_value

_FLOAT, _INT, _CHOICE = range(3)
_CONTAINERS = (list, dict)


class Decoder:
    """Assembles nested parameters: which group each one belongs to is known beforehand, so no path is walked."""

    def __init__(self, columns: Sequence[Column], fixed: Mapping[str, Any]) -> None:
        positions: dict[str, int] = {"": 0}
        self._groups: list[tuple[int, str]] = []

        def place(path: str) -> tuple[int, str]:
            above, _, key = path.rpartition(".")
            parts = above.split(".") if above else []
            for depth in range(1, len(parts) + 1):
                prefix = ".".join(parts[:depth])
                if prefix not in positions:
                    self._groups.append((positions[".".join(parts[: depth - 1])], parts[depth - 1]))
                    positions[prefix] = len(self._groups)
            return positions[above], key

        self._plan: list[tuple[int, int, str, Any]] = []
        for one in columns:
            kind = _CHOICE if one.choices is not None else _INT if one.kind == "int" else _FLOAT
            self._plan.append((kind, *place(one.path), one.choices))
        self._fixed = [(*place(path), value, type(value) in _CONTAINERS) for path, value in fixed.items()]

    def params(self, values: Sequence[float]) -> dict[str, Any]:
        """Return the parameters of a snapped vector: typed, fixed values included, inactive ones (NaN) absent."""
        root: dict[str, Any] = {}
        groups = [root]
        for parent, key in self._groups:
            inner: dict[str, Any] = {}
            groups[parent][key] = inner
            groups.append(inner)
        for group, key, value, shared in self._fixed:
            groups[group][key] = plain_value(value) if shared else value
        for x, (kind, group, key, choices) in zip(values, self._plan, strict=True):
            if x != x:
                continue
            if kind == _INT:
                groups[group][key] = int(x)
            elif kind == _CHOICE:
                choice = choices[int(x)]
                groups[group][key] = plain_value(choice) if type(choice) in _CONTAINERS else choice
            else:
                groups[group][key] = x + 0.0
        return root


def flatten(params: Mapping[str, Any], leaves: set[str]) -> dict[str, Any]:
    """Nested or dotted parameters by dotted path; a mapping at a known leaf is a value, not a group."""
    flat: dict[str, Any] = {}
    stack: list[tuple[str, Mapping[str, Any]]] = [("", params)]
    while stack:
        above, group = stack.pop()
        for key, value in group.items():
            path = f"{above}.{key}" if above else str(key)
            if isinstance(value, Mapping) and path not in leaves:
                stack.append((path, value))
            else:
                flat[path] = value
    return flat
