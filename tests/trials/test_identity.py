"""Equal parameters have equal keys, different ones different keys, whatever the types and whatever the caches hold."""

from __future__ import annotations

import datetime as dt
import json
import math
import re
import threading
from collections import OrderedDict, UserDict, namedtuple
from decimal import Decimal
from enum import Enum, IntEnum
from hashlib import sha256
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any
from uuid import UUID

import numpy as np
import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from genesis.errors import GenesisError, ParameterError
from genesis.trials import identity
from genesis.trials.canonical import OPTIONS, orjson_agrees, write
from genesis.trials.identity import (
    canonical_bytes,
    clear_caches,
    param_signature,
    result_key,
    signature_cache,
    trial_key,
    trial_key_cache,
)


class Mode(Enum):
    TRAIL = "trail"
    FIXED = 2


class Level(IntEnum):
    LOW = 1


Point = namedtuple("Point", "x y")

# The bytes are the law, the key is pinned beside them: neither may ever change.
GOLDEN: list[tuple[dict[str, Any], bytes, str]] = [
    ({}, b"{}", "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"),
    ({"a": 1}, b'{"a":1}', "015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862"),
    ({"a": 1.0}, b'{"a":1.0}', "c29a44abc114a1d75486434c013102c9e736f526b4fd19658d9492b7b224de6d"),
    ({"a": True}, b'{"a":true}', "5daa0644c4a1c43ea018f7f1ef2944b90e0165ef1f2d5669ca89e5d4f69ac597"),
    ({"a": False}, b'{"a":false}', "5cd40cde8aebb4b90dfb1cf75cb2f0580d58a86bda6f6f19bf872ab9e041fa32"),
    ({"a": 0}, b'{"a":0}', "45b619e97b5d9b029af4522e9ffb02fa99ff2bf226c82ee22a7cc10269a557e8"),
    ({"a": None}, b'{"a":null}', "d091f9c83c091f79652fe8786375b3fe4ce0861a56f5bfbafedbe431877ff0e8"),
    ({"a": "1"}, b'{"a":"1"}', "9afeb0f2b203f254312ec8ded441d0318b7c34c57f8695ede42d2215a30c0960"),
    ({"a": 0.0}, b'{"a":0.0}', "3ffe34cc6902ab23dde112a059e214120ea2ad51b00bc5d2283b5888978df4dc"),
    ({"a": -0.0}, b'{"a":0.0}', "3ffe34cc6902ab23dde112a059e214120ea2ad51b00bc5d2283b5888978df4dc"),
    ({"a": [-0.0, -0.05]}, b'{"a":[0.0,-0.05]}', "362cad7f869dd891cfb6680027ff2fa7b99b582d087536b6b8ac8f5c4407ed45"),
    (
        {"a": 0.1 + 0.2},
        b'{"a":0.30000000000000004}',
        "29e5dbf7117c7b85bd446837b66c63ef1020f8eb93226b77db3928ddf09aa353",
    ),
    (
        {"a": 1e16, "b": 1e-7, "c": 5e-324},
        b'{"a":1e+16,"b":1e-7,"c":5e-324}',
        "5fe5840aad82a4c54301b7a298a8c6ad22d1a602c057ec9ab8180a582df1f746",
    ),
    ({"a": 2**63}, b'{"a":9223372036854775808}', "73c5c9bbf82ebafd8e6cf0ee616f6233b6b1c834e8d1628c6e530e65ea80f2a9"),
    ({"a": 2**64}, b'{"a":18446744073709551616}', "4ceb4fe444fd0ec16369377d33cc04f6f94c74dcb96b2e5c6a049fb04adf5b83"),
    (
        {"a": -(2**70)},
        b'{"a":-1180591620717411303424}',
        "ab2b2114f425f2636569febd08f5f64cf4c725a29bcc9ebcd28de3b7169c3a42",
    ),
    (
        {"a": "naïve ☃ 😀"},
        '{"a":"naïve ☃ 😀"}'.encode(),
        "29851e4e8be173c1243f9e5ba1946e0c2ba4b0901d66a2d3f9314862fca9873e",
    ),
    (
        {"a": 'q"\\\n\t\x00'},
        rb'{"a":"q\"\\\n\t\u0000"}',
        "9a2b304f58d1cfca69e7158e86ba66fbfafc437b991ac9cc914261bb08423cda",
    ),
    (
        {"b": 1, "a": 2, "é": 3, "Z": 4},
        '{"Z":4,"a":2,"b":1,"é":3}'.encode(),
        "f42490331d281d5684ce3ead1597c84179d3c711e721b413c9fef552265d56a0",
    ),
    (
        {"a": [1, [2, [3.0, []]], {}]},
        b'{"a":[1,[2,[3.0,[]]],{}]}',
        "2ace2a628195c25f0bad5a34fcdfe39513c05f9ce434513f0b7692ba52b563a1",
    ),
    (
        {"a": {"b": {"d": 1, "c": None}}},
        b'{"a":{"b":{"c":null,"d":1}}}',
        "b5f2de5e52e1409ab3d72b43e95eccf556b26463af18c8bf9441a1bee6667d20",
    ),
    ({"a": (1, 2)}, b'{"a":[1,2]}', "01530d164d479cf08e26d3b1ad9bdba927120d97e2d057a6d792db778780d720"),
    ({"a": {3, 1, 20}}, b'{"a":[1,20,3]}', "a6ce4c43f02053d7ad1e5a0c1dcaf9816c0da8ebf0b1c46e973f9327e290b412"),
    (
        {"a": frozenset({"y", "x"})},
        b'{"a":["x","y"]}',
        "77cc9dceb791e1768cc9294ea3c46e866e65fd83edb57e37e4d411748642a3d3",
    ),
    (
        {"a": np.int64(5), "b": np.float64(0.5), "c": np.bool_(True)},
        b'{"a":5,"b":0.5,"c":true}',
        "43c65e1f351497f0971fe37be42e0b8e2630d90c6fa9319d8f4783adc5c8c49b",
    ),
    (
        {"a": np.float32(0.1)},
        b'{"a":0.10000000149011612}',
        "56cc82eb26464d9bd731508b35671cc7991c97699cee11d928d0042bcebfafd3",
    ),
    (
        {"a": np.array([[1, 2], [3, 4]])},
        b'{"a":[[1,2],[3,4]]}',
        "98da7f7f5f1a86edf3a7d006350ab3b488f9580eb0e5f81fd444ff548dc61708",
    ),
    (
        {"a": Decimal("0.10"), "b": Decimal(7)},
        b'{"a":0.1,"b":7.0}',
        "0912b3e306c101cb546bea3e5151ea482ba1995e8455094e848937845311bfb8",
    ),
    (
        {"a": Decimal("0.1000000000000000000001")},
        b'{"a":0.1000000000000000000001}',
        "3abfe228089ac82f7177cfe1bdd58e1174d4a3e72071b43eaf66465d58bf169a",
    ),
    (
        {"a": PurePosixPath("x/y.csv")},
        b'{"a":"x/y.csv"}',
        "09bbf1c47514f9920203cf313db2f3c3daab3156c619582c4d9020aaba1860f9",
    ),
    (
        {"a": dt.datetime(2020, 1, 2, 3, 4, 5, tzinfo=dt.UTC)},
        b'{"a":"2020-01-02T03:04:05+00:00"}',
        "854c380e0a521f340c223555058378f2c2378e41ebd013d6fd99b1a89aec8641",
    ),
    (
        {"a": dt.date(2020, 1, 2), "b": dt.time(9, 30)},
        b'{"a":"2020-01-02","b":"09:30:00"}',
        "0aa0c6fe7d5bde7ab03661daeb85908e1fc94fc06bf2484e03349c3b65e1fd9e",
    ),
    (
        {"a": Mode.TRAIL, "b": Mode.FIXED, "c": Level.LOW},
        b'{"a":"trail","b":2,"c":1}',
        "214dcbfb31e1039519b15ceb913ee8195f4ed1edaecb26bf3702d37b971c1853",
    ),
    (
        {"a": UUID(int=5)},
        b'{"a":"00000000-0000-0000-0000-000000000005"}',
        "387b6db3e0de50a458956cf253eb03531bef49e8304843c30edd7548a58999b4",
    ),
]


def python(function: Any) -> Any:
    """The Python code of a function that compiled code may stand before."""
    return getattr(function, "__wrapped__", function)


DIFFERENT = [
    {"a": value} for value in (1, 1.0, True, "1", None, [1], {"b": 1}, 0, 0.0, False, "", [], {}, 2**64, 1e308)
]

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"), max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)
mappings = st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=4), plain, max_size=4)


@pytest.mark.parametrize(("params", "raw", "key"), GOLDEN, ids=[case[1].decode()[:40] for case in GOLDEN])
def test_golden_keys(params: dict[str, Any], raw: bytes, key: str) -> None:
    """Each rule of docs/identity.md as bytes and as the key they hash to; cold, warm and by the slow writer."""
    clear_caches()
    assert canonical_bytes(params) == raw
    assert write(params) == raw
    assert [trial_key(params) for _ in range(2)] == [key, key]
    assert sha256(raw).hexdigest() == key


def test_an_orjson_that_writes_differently_changes_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the installed release does not agree with the definition, the keys are the same, only slower."""
    assert orjson_agrees()
    monkeypatch.setattr(identity, "_dumps", identity._cannot)
    clear_caches()
    key_of, signature_of = python(trial_key), python(param_signature)
    for params, raw, key in GOLDEN:
        assert (canonical_bytes(params), key_of(params)) == (raw, key)
    assert signature_of({"a": 0.1 + 0.2}) == signature_of({"a": 0.3})
    assert len(trial_key_cache) == 0
    this = orjson.dumps
    monkeypatch.setattr(orjson, "dumps", lambda value, *_: this(value, None, OPTIONS).replace(b"e+", b"e"))
    orjson_agrees.cache_clear()
    assert not orjson_agrees()
    orjson_agrees.cache_clear()


def test_different_values_have_different_keys() -> None:
    """Integers, floats, booleans, text, None and containers never share a key or a signature, also when cached."""
    clear_caches()
    for _ in range(2):
        assert len({trial_key(params) for params in DIFFERENT}) == len(DIFFERENT)
        assert len({param_signature(params) for params in DIFFERENT}) == len(DIFFERENT)


@given(mappings)
@example({"a": -0.0, "b": [None, -0.0], "": {"-0.0": "null"}})
@settings(max_examples=200, deadline=None)
def test_the_fast_path_writes_what_the_definition_says(params: dict[str, Any]) -> None:
    """orjson and the slow writer give the same bytes, and these parse back to equal values."""
    raw = write(params)
    assert canonical_bytes(params) == raw
    assert trial_key(params) == trial_key(params) == sha256(raw).hexdigest()
    assert orjson.loads(raw) == params
    assert re.fullmatch("[0-9a-f]{64}", trial_key(params))


@given(mappings, st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_the_order_of_keys_does_not_matter(params: dict[str, Any], random: Any) -> None:
    """Shuffled at every level: same key, same signature."""

    def shuffled(node: Any) -> Any:
        if isinstance(node, dict):
            items = list(node.items())
            random.shuffle(items)
            return {key: shuffled(value) for key, value in items}
        return [shuffled(value) for value in node] if isinstance(node, list) else node

    other = shuffled(params)
    assert trial_key(other) == trial_key(params)
    assert param_signature(other) == param_signature(params)


@given(mappings, mappings)
@settings(max_examples=100, deadline=None)
def test_keys_are_equal_only_for_equal_parameters(one: dict[str, Any], two: dict[str, Any]) -> None:
    """The key says what JSON of the two says, with -0.0 as 0.0."""

    def plain_text(params: dict[str, Any]) -> str:
        return re.sub(r"(?<![\w.])-0\.0(?=[,}\]])", "0.0", json.dumps(params, sort_keys=True))

    if '"-0.0' not in json.dumps([one, two]):
        assert (trial_key(one) == trial_key(two)) == (plain_text(one) == plain_text(two))


@pytest.mark.parametrize(
    "build",
    [
        lambda d: OrderedDict(reversed(d.items())),
        MappingProxyType,
        UserDict,
        lambda d: {"n": tuple(d["n"]), "m": MappingProxyType(d["m"])},
        lambda d: {"n": np.array(d["n"]), "m": OrderedDict(d["m"])},
        lambda d: {"n": Point(*d["n"]), "m": d["m"]},
        lambda d: {"n": [Decimal(1), *d["n"][1:]], "m": {Mode.TRAIL: 1}},
    ],
)
def test_the_container_does_not_matter(build: Any) -> None:
    """Any mapping is a mapping and any sequence of numbers a list."""
    base = {"n": [1.0, 2.5], "m": {"trail": 1}}
    assert trial_key(build(base)) == trial_key(base)
    assert param_signature(build(base)) == param_signature(base)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, np.float32("nan"), Decimal("NaN"), Decimal("Infinity")])
@pytest.mark.parametrize(
    ("wrap", "path"),
    [
        (lambda v: {"x": v}, "x"),
        (lambda v: {"a": {"b.c": [1, {"d": v}]}}, "a.b.c[1].d"),
        (lambda v: {"n": None, "t": (None, v)}, "t[1]"),
        (lambda v: {"n": {1, v}}, "n.{}"),
        (lambda v: {"n": np.array([1.0, float(v)])}, "n[1]"),
    ],
)
def test_nan_and_infinity_are_refused_with_their_path(bad: Any, wrap: Any, path: str) -> None:
    """Nowhere may they pass as null, and the caches must not let them pass either."""
    params = wrap(bad)
    for function in (trial_key, param_signature, canonical_bytes):
        with pytest.raises(ParameterError, match=rf"^{re.escape(path)}: .* is not a finite number") as caught:
            function(params)
        assert isinstance(caught.value, (ValueError, GenesisError))


def test_a_cached_null_does_not_let_a_nan_pass() -> None:
    """None is asked first, many times; NaN, which orjson writes the same, is refused after it."""
    for _ in range(3):
        trial_key({"a": None})
        param_signature({"a": None})
    for function in (trial_key, param_signature):
        with pytest.raises(ParameterError, match="a: nan"):
            function({"a": math.nan})


class Odd:
    pass


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"a": Odd()}, "a: Odd has no identity"),
        ({"a": {"b": b"bytes"}}, r"a\.b: bytes has no identity"),
        ({"a": 1j}, "a: complex has no identity"),
        ({"a": np.array([1j])}, "a: NumPy complex128 has no identity"),
        ({"a": np.datetime64("2020-01-01")}, "a: NumPy datetime64"),
        ({"a": {1: 2}}, "a: the key 1 is not text; write it as '1'"),
        ({True: 2}, "the key True is not text"),
        ({"a": {Mode.TRAIL: 1, "trail": 2}}, r"a\.trail: two keys"),
        ({"a": "\ud800"}, "a: .* is not valid Unicode"),
        ({"\udfff": 1}, "is not valid Unicode"),
        ([1], "list came; give a mapping"),
        ("text", "str came; give a mapping"),
        (None, "NoneType came; give a mapping"),
        ({"a": 10**5000}, "a: an integer of 16610 bits is too long"),
    ],
)
def test_what_has_no_identity_is_refused(params: Any, words: str) -> None:
    """The path, what came and what is allowed."""
    for function in (trial_key, param_signature):
        with pytest.raises(ParameterError, match=words):
            function(params)


def test_any_sane_depth_has_a_key_and_a_cycle_is_refused() -> None:
    """Ten thousand levels are hashed; a mapping that holds itself is an error, not the end of memory."""
    deep: dict[str, Any] = {"x": 0.5}
    for _ in range(10_000):
        deep = {"d": deep}
    assert trial_key(deep) == sha256(b'{"d":' * 10_000 + b'{"x":0.5}' + b"}" * 10_000).hexdigest()
    assert param_signature(deep) == trial_key(deep)
    cycle: dict[str, Any] = {}
    cycle["me"] = cycle
    with pytest.raises(ParameterError, match="does a mapping hold itself"):
        trial_key(cycle)


finite = st.floats(allow_nan=False, allow_infinity=False)
near = st.builds(
    lambda base, k, scale: base + k * 10.0**-scale, st.floats(-1e6, 1e6), st.integers(-20, 20), st.integers(0, 18)
)


@given(finite | near, st.integers(0, 17), st.integers(0, 18), st.integers(-3, 3))
@example(0.1 + 0.2, 10, 17, 0)
@example(2.0**30, 7, 16, 1)
@example(1e22, 0, 0, 0)
@settings(max_examples=500, deadline=None)
def test_signatures_are_equal_exactly_when_rounded_floats_are(x: float, precision: int, place: int, k: int) -> None:
    """For a float and a near one, alone and nested, at every precision."""
    y = x + k * 10.0**-place
    expected = round(x, precision) == round(y, precision)
    for wrap in (lambda v: {"a": v}, lambda v: {"a": {"b": [1, v, {"c": v}]}}):
        one, two = (param_signature(wrap(value), precision) for value in (x, y))
        assert (one == two) == expected
        assert one == param_signature(wrap(round(x, precision)), precision)


@given(finite, st.integers(0, 20))
@settings(max_examples=300, deadline=None)
def test_the_fast_signature_is_the_defined_one(x: float, precision: int) -> None:
    """Skipping the rounding is allowed only where it changes nothing: the bytes are those of the slow writer."""
    params = {"a": x, "b": [x, {"c": -x}]}
    assert param_signature(params, precision) == sha256(write(params, precision)).hexdigest()


def test_precision_is_part_of_the_signature_cache() -> None:
    """One set asked at several precisions gives each its own answer, in any order."""
    clear_caches()
    params = {"a": 0.123456789012}
    first = {p: param_signature(params, p) for p in (10, 5, 0, 1, 55)}
    assert {p: param_signature(params, precision=p) for p in (55, 1, 0, 5, 10)} == first
    assert len({first[p] for p in (10, 5, 0, 1)}) == 4
    assert first[5] == param_signature({"a": 0.12346}, 5)
    assert param_signature(params) == first[10]


@pytest.mark.parametrize("precision", [-1, 1.5, "3", True, None])
def test_an_odd_precision_is_refused(precision: Any) -> None:
    """Also when the same parameters were signed before."""
    param_signature({"a": 1.0})
    for params in ({"a": 1.0}, {"a": (np.float64(1),)}):
        with pytest.raises(ParameterError, match=r"precision: .* is not a number of decimals"):
            param_signature(params, precision)


@pytest.mark.parametrize(
    ("cache", "function", "limit", "kept"),
    [(trial_key_cache, trial_key, 10_000, 8_000), (signature_cache, param_signature, 5_000, 4_000)],
)
def test_the_caches_trim_at_their_limits(cache: Any, function: Any, limit: int, kept: int) -> None:
    """Full at the limit, cut to the stated size by the next, the newest stay; answers do not change."""
    clear_caches()
    keys = [function({"n": n}) for n in range(limit)]
    assert len(cache) == limit
    keys.append(function({"n": limit}))
    assert len(cache) == kept
    assert function({"n": limit}) == keys[-1]
    assert len(cache) == kept
    assert [function({"n": n}) for n in range(0, limit, 997)] == keys[:limit:997]
    cache.clear()
    assert len(cache) == 0


def test_a_huge_set_is_not_kept() -> None:
    """Memory of the caches is bounded: longer sets are hashed each time."""
    clear_caches()
    params = {"a": ["x" * 100] * 1_000}
    assert trial_key(params) == trial_key(params)
    assert param_signature(params) == param_signature(params)
    assert (len(trial_key_cache), len(signature_cache)) == (0, 0)


def test_a_changed_mapping_has_a_changed_key() -> None:
    """Nothing is remembered by object: a dict changed in place is another point."""
    params = {"a": {"b": 1}}
    first = (trial_key(params), param_signature(params))
    params["a"]["b"] = 2
    assert trial_key(params) != first[0]
    assert param_signature(params) != first[1]


def test_threads_share_the_caches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight threads through a small cache that trims all the time: every answer right, never above the limit."""
    monkeypatch.setattr(identity, "TRIAL_KEY_LIMIT", 50)
    monkeypatch.setattr(identity, "TRIAL_KEY_KEPT", 40)
    clear_caches()
    key_of = python(trial_key)
    expected = {n: sha256(b'{"n":%d}' % n).hexdigest() for n in range(300)}
    wrong: list[int] = []

    def work(offset: int) -> None:
        for n in range(2_000):
            number = (n * 7 + offset) % 300
            if key_of({"n": number}) != expected[number]:
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(offset,)) for offset in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(trial_key_cache) <= 58  # each thread may be one entry past the limit before it trims
    clear_caches()


def test_a_result_key_changes_with_anything_that_decides_the_outcome() -> None:
    """Same trial, other data or costs: another result key."""
    key = trial_key({"a": 1})
    context = {"data": "d1", "costs": {"fee_bps": 10.0}}
    assert result_key(key, context) == result_key(key, dict(reversed(context.items())))
    assert (
        len({result_key(key, context), result_key(key, {**context, "data": "d2"}), result_key("0" * 64, context)}) == 3
    )
