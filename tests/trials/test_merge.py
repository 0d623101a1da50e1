"""A merge is a new mapping with the later values on top, and no part of it belongs to its inputs."""

from __future__ import annotations

import copy
import threading
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genesis.trials.merge import deep_merge

leaves = st.none() | st.integers(-3, 3) | st.floats(-1, 1) | st.text(max_size=2)
trees = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=10,
)
configs = st.dictionaries(st.sampled_from("abcd"), trees, max_size=4)


def plainly(base: dict[str, Any], override: dict[str, Any]) -> dict[str, Any]:
    merged = copy.deepcopy(base)
    for key, value in override.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = plainly(merged[key], value) if both else copy.deepcopy(value)
    return merged


def containers(node: Any) -> list[int]:
    if isinstance(node, dict):
        return [id(node)] + [inner for value in node.values() for inner in containers(value)]
    return [id(node)] + [i for value in node for i in containers(value)] if isinstance(node, list) else []


@given(configs, configs)
@settings(max_examples=200, deadline=None)
def test_it_is_the_recursive_merge(base: dict[str, Any], override: dict[str, Any]) -> None:
    """Equal to the plain recursive twin, in the order of its keys too; inputs as before; nothing shared."""
    before = copy.deepcopy((base, override))
    merged = deep_merge(base, override)
    assert merged == plainly(base, override)
    assert list(merged) == list(plainly(base, override))
    assert (base, override) == before
    assert not set(containers(merged)) & set(containers(base) + containers(override))


@given(configs)
@settings(max_examples=50, deadline=None)
def test_the_empty_mapping_is_neutral(config: dict[str, Any]) -> None:
    """Merging nothing, from either side, or itself, changes nothing."""
    assert deep_merge(config, {}) == deep_merge({}, config) == deep_merge(config, config) == config


def test_ten_thousand_levels() -> None:
    """Depth costs no recursion: below, above, and in lists."""
    base: Any = {"x": 1, "keep": [1]}
    over: Any = {"x": 2}
    only: Any = {"l": []}
    for _ in range(10_000):
        base, over, only = {"d": base}, {"d": over}, {"l": [only]}
    node = deep_merge(base, over)
    for _ in range(10_000):
        node = node["d"]
    assert node == {"x": 2, "keep": [1]}
    for merged in (deep_merge(only, {}), deep_merge({}, only)):
        inner: Any = merged
        for _ in range(10_000):
            inner = inner["l"][0]
        assert inner == {"l": []}


@pytest.mark.parametrize(
    ("base", "override", "expected"),
    [
        ({"a": {"x": 1}}, {"a": 2}, {"a": 2}),
        ({"a": 2}, {"a": {"x": 1}}, {"a": {"x": 1}}),
        ({"a": {"x": 1}}, {"a": None}, {"a": None}),
        ({"a": {"x": 1}}, {"a": {}}, {"a": {"x": 1}}),
        ({"a": [1, 2]}, {"a": [3]}, {"a": [3]}),
        ({1: {"x": 1}}, {1: {"y": 2}}, {1: {"x": 1, "y": 2}}),
        (MappingProxyType({"a": MappingProxyType({"x": 1})}), {"a": {"y": 2}}, {"a": {"x": 1, "y": 2}}),
        ({"a": {1, 2}}, {}, {"a": {1, 2}}),
    ],
)
def test_cases_by_hand(base: Any, override: Any, expected: Any) -> None:
    """A mapping and a value replace each other; lists are not joined; any mapping becomes a dict."""
    merged = deep_merge(base, override)
    assert merged == expected
    assert type(merged) is dict
    assert all(type(value) is not MappingProxyType for value in merged.values())


def test_mutable_values_of_other_types_are_copied() -> None:
    """Sets, lists in tuples and objects are the result's own; what cannot be copied is shared."""
    lock = threading.Lock()
    base = {"s": {1}, "t": ([1],), "lock": lock, "n": {"s": {2}}}
    merged = deep_merge(base, {"o": ([2],)})
    merged["s"].add(9)
    merged["t"][0].append(9)
    merged["n"]["s"].add(9)
    assert base == {"s": {1}, "t": ([1],), "lock": lock, "n": {"s": {2}}}
    assert merged["lock"] is lock
