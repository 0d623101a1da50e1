"""Deep merge of nested mappings, without recursion and without sharing a container with its inputs."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

_ATOMS = frozenset({int, float, str, bool, bytes, complex, type(None)})
_ABSENT: Any = object()


def deep_merge(base: Mapping[str, Any], override: Mapping[str, Any]) -> dict[str, Any]:
    """A new dict: `override` laid over `base`, mapping into mapping, anything else replaced whole.

    Neither input is changed and the result shares no mutable value with them, at any depth (10,000 levels are fine;
    an object that refuses `copy.deepcopy` is shared). Keys keep the order of `base`, new ones follow in the order of
    `override`. Lists are replaced, not joined; any mapping becomes a dict.

    >>> deep_merge({"a": {"x": 1, "y": [1]}, "b": 2}, {"a": {"x": 9}, "c": 3})
    {'a': {'x': 9, 'y': [1]}, 'b': 2, 'c': 3}
    """
    merged: dict[str, Any] = {}
    merges: list[tuple[dict[str, Any], Mapping[str, Any], Mapping[str, Any]]] = [(merged, base, override)]
    copies: list[tuple[Any, Any]] = []
    while merges:
        target, low, high = merges.pop()
        target.update(low)
        target.update(high)
        for key, value in target.items():
            if type(value) in _ATOMS:
                continue
            if _is_mapping(value) and key in high and _is_mapping(below := low.get(key, _ABSENT)):
                child: dict[str, Any] = {}
                target[key] = child
                merges.append((child, below, value))
            else:
                target[key] = _own(value, copies)
        while copies:
            _fill(*copies.pop(), copies)
    return merged


def _fill(fresh: Any, source: Any, copies: list[tuple[Any, Any]]) -> None:
    """Put the values of `source` into the empty `fresh`, containers as new ones still to be filled."""
    if type(fresh) is dict:
        fresh.update(source)
        for key, value in fresh.items():
            if type(value) not in _ATOMS:
                fresh[key] = _own(value, copies)
    else:
        fresh.extend(value if type(value) in _ATOMS else _own(value, copies) for value in source)


def _own(value: Any, copies: list[tuple[Any, Any]]) -> Any:
    """A value to keep: an empty container noted in `copies`, or a copy of anything else."""
    if type(value) is list or _is_mapping(value):
        fresh: Any = [] if type(value) is list else {}
        copies.append((fresh, value))
        return fresh
    try:
        return copy.deepcopy(value)
    except TypeError:  # a lock, a generator
        return value


def _is_mapping(value: Any) -> bool:
    return type(value) is dict or isinstance(value, Mapping)
