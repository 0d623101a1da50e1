"""The compiled code gives the Python code's answers, errors and caches, and Python serves where it cannot."""

from __future__ import annotations

import copy
import math
import os
import pickle
import subprocess
import sys
import threading
from decimal import Decimal
from enum import Enum, IntEnum
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from genesis.diagnose.doctor import check_installation
from genesis.trials import compiled, identity
from genesis.trials.canonical import OPTIONS, write
from genesis.trials.identity import clear_caches, param_signature, signature_cache, trial_key, trial_key_cache

ROOT = Path(__file__).parents[2]
fastkey: Any = compiled._module
needs_it = pytest.mark.skipif(
    fastkey is None, reason="needs the compiled code: apt-get install gcc python3-dev, then pip install -e ."
)


class Mode(Enum):
    TRAIL = "trail"
    MISSING = math.nan


class Level(IntEnum):
    LOW = 1


class Text(str):
    __slots__ = ()


class Table(dict[str, Any]):
    pass


ANY_FLOAT = st.floats() | st.sampled_from([-0.0, -0.05, 1e16, 1e-7, 0.1 + 0.2, 0.12345678901, -1e-12])
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**66), 2**66)
    | ANY_FLOAT
    | st.text(max_size=5)
    | st.sampled_from(["null", "-0.0", "1e-7", "nul", ".12345678901", "u", "\u2028", "😀", Text("t")])
    | st.sampled_from([Mode.TRAIL, Mode.MISSING, Level.LOW, Decimal("0.10"), Decimal("NaN"), np.float64(0.1), b"x", 1j])
    | st.builds(np.array, st.lists(ANY_FLOAT, max_size=2))
)
TREES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.frozensets(st.integers(0, 9), max_size=3)
        | st.dictionaries(st.text(max_size=4) | st.sampled_from(["a", "null", "-0.0"]), inner, max_size=3)
        | st.dictionaries(st.sampled_from("ab"), inner, max_size=2).map(Table)
        | st.dictionaries(st.integers(0, 2), inner, max_size=1)
    ),
    max_leaves=6,
)
SETS = st.dictionaries(st.text(max_size=3), TREES, max_size=4)
FUNCTIONS = [(trial_key, trial_key_cache), (param_signature, signature_cache)]


def answer(function: Any, *args: Any, **named: Any) -> Any:
    """What it returns, or the error it raises."""
    try:
        return function(*args, **named)
    except Exception as error:
        return type(error), str(error)


def both(function: Any, cache: dict[bytes, str], *args: Any, **named: Any) -> list[Any]:
    """[compiled, Python]: the answers of a cold call and a warm one, and what the cache holds then."""
    found = []
    for one in (function, function.__wrapped__):
        cache.clear()
        found.append(([answer(one, *args, **named) for _ in range(2)], dict(cache)))
    return found


@needs_it
@pytest.mark.parametrize(("function", "cache"), FUNCTIONS)
@given(params=SETS | TREES)
@example(params={"a": -0.0, "b": [None, -0.0], "": {"-0.0": "null"}})
@example(params={"a": -0.0})
@example(params={"a": [1, {"b": math.nan}]})
@example(params={"n": None, "x": Mode.MISSING})
@example(params={"a": 1e-7, "b": 1e16, "c": -5e-324})
@example(params={"a": 0.12345678901, "b": 0.1234567891, "c": "0.12345678901"})
@example(params={"a": "x" * 5_000})
@example(params={"\ud800": 1})
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_answer_is_the_python_codes(function: Any, cache: dict[bytes, str], params: Any) -> None:
    """Key or error with its message and path, cold and warm, and the same entry in the cache, for any tree."""
    ours, defined = both(function, cache, params)
    assert ours == defined


SHORT = st.builds(
    lambda number, decimals, steps: step(number / 10**decimals, steps),
    st.integers(-(10**16), 10**16) | st.integers(-1_000, 1_000),
    st.integers(0, 14),
    st.sampled_from([0, 0, 0, 1, -1, 5]),
)
EDGES = [
    32803870.130000003,
    0.009600000000000001,
    870715045.0999999,
    1e-4,
    9.999999999e-5,
    1e15,
    999999999999999.9,
    999999999999999.0,
    0.1,
    1.1e14,
    4.35,
    0.3,
    2.675,
    1 / 3,
    1e10,
]
ASCII = st.text(st.characters(max_codepoint=127), max_size=20)


def step(value: float, steps: int) -> float:
    for _ in range(abs(steps)):
        value = math.nextafter(value, math.copysign(math.inf, steps))
    return value


@needs_it
@given(
    numbers=st.lists(SHORT | st.sampled_from(EDGES) | st.integers(-(2**64), 2**64), max_size=6),
    names=st.lists(ASCII | st.sampled_from(["a", "ab", "abc", "", "\x00", "b"]), max_size=6, unique=True),
    texts=st.lists(ASCII, max_size=3),
)
@example(
    numbers=[*EDGES, 0.0, 2**63, -(2**63), 2**63 - 1, 0, -1],
    names=["b", "a", "", "ab"],
    texts=['"', "\\", "\x1f", "\x7f"],
)
@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_the_plainest_sets_are_written_as_defined(numbers: list[Any], names: list[str], texts: list[str]) -> None:
    """Floats of few decimals and their neighbours, integers of any size, names in any order."""
    params = {"numbers": numbers, "texts": (*texts, None), **{name: {name: numbers[:1]} for name in names}}
    leaves = [{"x": value} for value in (*numbers, *texts)]  # each alone: one that is not plain would hide the others
    for each in (params, dict(zip(names, numbers, strict=False)), dict.fromkeys(names, 1), *leaves):
        clear_caches()
        assert trial_key(each) == sha256(write(each)).hexdigest()
        assert all(raw == write(orjson.loads(raw)) for raw in trial_key_cache if b"-0.0" not in raw)


@needs_it
@pytest.mark.parametrize("size", [1, 15, 16, 17, 18, 31, 32, 33, 40, 400])
def test_where_the_plainest_sets_end(size: int) -> None:
    """Depth, number of keys and length around the limits of the C writer: one answer on both sides."""
    deep: Any = 0.5
    for _ in range(size):
        deep = {"d": [deep]} if size % 2 else {"d": deep}
    for params in (
        {"deep": deep},
        {f"k{n}": n / 8 for n in range(size)},
        {"deep": [[]] * size, "long": "x" * (5 * size), "last": {"a": {"b": {"c": {}}}}},
        *({"t": "x" * length, "n": [0.1] * 5} for length in range(1_800 + size, 2_060, 37)),
        *({"t": [-123456789.0625] * count, "u": {"v": [[[1]]]}} for count in range(size, size + 140, 7)),
    ):
        for function, cache in FUNCTIONS:
            ours, defined = both(function, cache, params)
            assert ours == defined
        assert trial_key(params) == sha256(write(params)).hexdigest()


@needs_it
@given(value=st.floats(allow_nan=False, allow_infinity=False), precision=st.sampled_from([0, 5, 10, 17, 10.0, True]))
@settings(max_examples=200, deadline=None)
def test_signatures_of_any_precision_are_the_python_codes(value: float, precision: Any) -> None:
    """The precision as it stands, by position or by name, also one that is refused."""
    params = {"a": value, "b": [round(value, 3)]}
    for position, name in (((precision,), {}), ((), {"precision": precision})):
        ours, defined = both(param_signature, signature_cache, params, *position, **name)
        assert ours == defined


@needs_it
@pytest.mark.parametrize("call", [((), {}), (({}, 1, 2), {}), (({},), {"other": 1}), ((), {"params": {"a": 1}})])
@pytest.mark.parametrize(("function", "cache"), FUNCTIONS)
def test_odd_arguments_are_the_python_functions(function: Any, cache: dict[bytes, str], call: Any) -> None:
    """Missing, too many, unknown and named arguments: its answer or its TypeError."""
    ours, defined = both(function, cache, *call[0], **call[1])
    assert ours == defined


@needs_it
def test_sha_256_by_instructions_and_in_portable_code() -> None:
    """Every length over five blocks, and a long text."""
    data = bytes(7 * n & 255 for n in range(5_000))
    for length in (*range(330), 5_000):
        expected = sha256(data[:length]).hexdigest()
        assert fastkey.sha256(data[:length], True) == expected
        assert fastkey.sha256(data[:length], False) == expected


@needs_it
def test_calls_leave_nothing_behind() -> None:
    """100,000 calls of each kind: no object more than before, and the counts of those handed in unchanged."""
    # Odd sets: a hidden NaN, a None, -0.0, one for the slow writer, one to be rounded, no mapping at all.
    odd = [{"a": math.nan}, {"a": None}, {"a": -0.0}, {"a": {1}}, {"a": 0.1 + 0.2}, [1]]
    plain = {"a": 1.5, "b": {"c": 2, "d": "text"}}

    def work(times: int) -> None:
        for function, cache in FUNCTIONS:
            for _ in range(times):
                function(plain)
                cache.clear()
                function(plain)
            for params in odd * (times // 50):
                answer(function, params)

    work(1_000)
    held = [sys.getrefcount(one) for one in (plain, plain["b"], None.__class__, orjson.dumps, trial_key_cache)]
    before = sys.getallocatedblocks()
    work(50_000)
    assert abs(sys.getallocatedblocks() - before) < 500
    assert [sys.getrefcount(one) for one in (plain, plain["b"], None.__class__, orjson.dumps, trial_key_cache)] == held


@needs_it
def test_a_stand_in_goes_with_its_function() -> None:
    """Made and dropped a thousand times, also in a cycle: the collector takes it and what it held."""
    import gc

    def function(params: Any) -> str:
        return str(params)

    held = sys.getrefcount(function)
    for _ in range(1_000):
        one = fastkey.Keyed(function, orjson.dumps, OPTIONS, {}, 10, 100, 10)
        one.me = one
        assert one({1}) == "{1}"
    del one
    gc.collect()
    assert sys.getrefcount(function) == held


@needs_it
def test_threads_share_a_small_cache() -> None:
    """Eight threads through a cache that the Python function trims all the time: every answer right."""
    cache: dict[bytes, str] = {}

    def trimming(params: Any) -> str:
        for oldest in list(cache)[:-40]:
            cache.pop(oldest, None)
        return trial_key.__wrapped__(params)  # type: ignore[attr-defined,no-any-return]

    key = fastkey.Keyed(trimming, orjson.dumps, OPTIONS, cache, 50, 4_096, None)
    expected = {n: sha256(b'{"n":%d}' % n).hexdigest() for n in range(300)}
    wrong: list[int] = []

    def work(offset: int) -> None:
        for n in range(3_000):
            number = (n * 7 + offset) % 300
            if key({"n": number}) != expected[number]:
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(offset,)) for offset in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert 0 < len(cache) <= 50


@needs_it
@pytest.mark.parametrize("arguments", [(1, 2), (None, None, 0, {}, 10, 100, 21), (None, None, 0, [], 10, 100, None)])
def test_a_stand_in_checks_what_it_is_made_of(arguments: Any) -> None:
    """A precision beyond 20, or a cache that is no dict, is an error where it is given."""
    with pytest.raises((TypeError, ValueError)):
        fastkey.Keyed(*arguments)


def test_the_functions_keep_their_names() -> None:
    """Documented, signed, pickled and copied as the functions they stand for."""
    for function, _ in FUNCTIONS:
        assert pickle.loads(pickle.dumps(function)) is copy.deepcopy(function) is function  # noqa: S301 - our own
        assert function.__module__ == identity.__name__
        assert "64 hex digits" in (function.__doc__ or "")
    import inspect

    assert list(inspect.signature(param_signature).parameters) == ["params", "precision"]


def say(code: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **env}, capture_output=True, text=True, check=False
    )


def test_the_python_code_passes_the_same_tests() -> None:
    """All of test_identity.py with GENESIS_PURE_PYTHON=1; the doctor says so."""
    tests = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/trials/test_identity.py"]
    env = {**os.environ, "GENESIS_PURE_PYTHON": "1"}
    done = subprocess.run(tests, env=env, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    told = say("from genesis.trials.compiled import DESCRIPTION; print(DESCRIPTION)", GENESIS_PURE_PYTHON="yes")
    assert told.stdout == "Python, since GENESIS_PURE_PYTHON asks for it\n"


def test_an_absurd_switch_is_refused_by_name() -> None:
    """By every call and by the doctor; importing is no error, so that a command can say it in one line."""
    code = "from core.optimizer.runner import _trial_key\ntry: _trial_key({})\nexcept ValueError as error: print(error)"
    told = say(code, GENESIS_PURE_PYTHON="perhaps").stdout
    assert told.startswith("GENESIS_PURE_PYTHON: 'perhaps' is not 1, true, yes, on or 0")
    doctor = [sys.executable, "-c", "from genesis.cli import main; main()", "doctor"]
    env = {**os.environ, "GENESIS_PURE_PYTHON": "perhaps"}
    done = subprocess.run(doctor, env=env, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "GENESIS_PURE_PYTHON" in done.stdout + done.stderr


def test_the_doctor_says_which_code_serves() -> None:
    """What this process uses."""
    (check,) = [check for check in check_installation() if check.name == "trial keys"]
    assert check.found == compiled.DESCRIPTION
    assert check.found.startswith("Python" if compiled._module is None else "compiled, SHA-256 ")
    assert "wrongly" not in check.found
    assert "another" not in check.found, "the build is older than its source: pip install -e ."


@needs_it
def test_a_stale_or_broken_build_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Built from another source, or hashing wrongly: Python serves, and the words say why."""
    monkeypatch.setattr(fastkey, "SOURCE", fastkey.SOURCE ^ 1)
    assert compiled._load() == (None, "Python: the compiled code was built from another _fastkey.c")
    monkeypatch.undo()
    monkeypatch.setattr(fastkey, "sha256", lambda *_: "0" * 64)
    assert compiled._load() == (None, "Python: the compiled code hashes wrongly on this processor")
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "genesis.trials._fastkey", None)
    assert compiled._load()[1].startswith("Python: no compiled code here")
