"""Parameters that exist only where another one has some value: resolved once, ordered parents first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from genesis.search.nodes import Column, Parsed, nearest_name, same_value

Conditions = list[tuple[int, tuple[float, ...]] | None]
"""Per column the position of its parent and the vector entries of the parent that wake it; None is always there."""


def apply_conditions(parsed: Parsed) -> list[Column]:
    """The columns with their `when`; one that depends on a fixed value is decided now, and noted."""
    for path, (parent, values) in parsed.conditions.items():
        column = parsed.columns.get(path)
        if column is None:
            continue
        if parent in parsed.fixed:
            if any(same_value(parsed.fixed[parent], one) for one in values):
                parsed.notes.append(f"{path}: {parent} is fixed to {parsed.fixed[parent]!r}, so it always exists")
            else:
                parsed.notes.append(f"{path}: {parent} is fixed to {parsed.fixed[parent]!r}, so it never exists")
                del parsed.columns[path]
            continue
        above = parsed.columns.get(parent)
        if above is None:
            known = [*parsed.columns, *parsed.fixed]
            if not any(one.startswith(f"{parent}:") for one in parsed.problems):
                parsed.problems.append(
                    f"{path}: when names {parent}, which is no parameter{nearest_name(parent, known)}"
                )
        elif above.count is None:
            parsed.problems.append(f"{path}: when names {parent}, a continuous float; give that a step, or use choices")
        else:
            for one in values:
                if not _is_value(above, one):
                    parsed.problems.append(f"{path}: when.{parent}: {one!r} is not a value that {parent} can have")
            parsed.columns[path] = replace(column, when=(parent, values))
    for path in _circular(parsed.columns):
        parsed.problems.append(f"{path}: its when leads back to itself; break the circle")
    return list(parsed.columns.values())


def _circular(columns: Mapping[str, Column]) -> list[str]:
    found = []
    for path in columns:
        seen, at = set(), path
        while at in columns and at not in seen:
            seen.add(at)
            when = columns[at].when
            if when is None:
                break
            at = when[0]
        else:
            if at == path:
                found.append(path)
    return found


def _is_value(one: Column, value: Any) -> bool:
    if one.choices is not None:
        return any(same_value(choice, value) for choice in one.choices)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and one.steps is not None and one.steps.on(float(value))


def condition_order(columns: Sequence[Column], position: Mapping[str, int]) -> tuple[list[int], Conditions]:
    """The columns with parents before children, and each one's (parent, codes of the parent that wake it)."""
    conditions: Conditions = []
    for one in columns:
        if one.when is None:
            conditions.append(None)
            continue
        parent = columns[position[one.when[0]]]
        if parent.choices is not None:
            codes = tuple(
                float(i) for i, choice in enumerate(parent.choices) if any(same_value(choice, v) for v in one.when[1])
            )
        else:
            codes = tuple(float(v) for v in one.when[1])
        conditions.append((position[parent.path], codes))

    def depth(j: int) -> int:
        level, condition = 0, conditions[j]
        while condition is not None:
            level, condition = level + 1, conditions[condition[0]]
        return level

    return sorted(range(len(columns)), key=lambda j: (depth(j), j)), conditions


def said(one: Column) -> str:
    """Say when a conditional column exists."""
    assert one.when is not None
    return f"only when {one.when[0]} is {' or '.join(repr(value) for value in one.when[1])}"
