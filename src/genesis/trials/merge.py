"""Deep merge of nested mappings, without recursion and without sharing a container with its inputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def deep_merge(base: Mapping[str, Any], override: Mapping[str, Any]) -> dict[str, Any]:
    """A new dict: `override` laid over `base`, mapping into mapping, anything else replaced whole.

    Neither input is changed and the result shares no dict or list with them, at any depth (10,000 levels are fine).
    Keys keep the order of `base`, new ones follow in the order of `override`. Lists are replaced, not joined.
    """
    merged: dict[str, Any] = {}
    todo: list[tuple[dict[str, Any], Mapping[str, Any], Mapping[str, Any]]] = [(merged, base, override)]
    copies: list[tuple[Any, Any]] = []
    while todo:
        target, low, high = todo.pop()
        target.update(low)
        for key, value in high.items():
            below = low.get(key)
            if isinstance(value, Mapping) and isinstance(below, Mapping):
                child: dict[str, Any] = {}
                target[key] = child
                todo.append((child, below, value))
            else:
                target[key] = value
        _detach(target, low, high, copies)
        while copies:
            _copy_into(*copies.pop(), copies)
    return merged


def _detach(
    target: dict[str, Any], low: Mapping[str, Any], high: Mapping[str, Any], copies: list[tuple[Any, Any]]
) -> None:
    """Give `target` containers of its own where it still holds those of its inputs."""
    for key, value in target.items():
        if isinstance(value, (Mapping, list)) and (value is high.get(key) or value is low.get(key)):
            fresh: Any = [] if isinstance(value, list) else {}
            copies.append((fresh, value))
            target[key] = fresh


def _copy_into(fresh: Any, source: Any, copies: list[tuple[Any, Any]]) -> None:
    pairs = enumerate(source) if isinstance(source, list) else source.items()
    for key, value in pairs:
        kept = value
        if isinstance(value, (Mapping, list)):
            kept = [] if isinstance(value, list) else {}
            copies.append((kept, value))
        if isinstance(source, list):
            fresh.append(kept)
        else:
            fresh[key] = kept
