"""Each optimization of the guide, through the guide's own door: it is there, it is right, and it does what it says."""

from __future__ import annotations

import copy
import json
import logging
import math
import multiprocessing
import random
import sqlite3
import threading
import warnings
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.optimizer.runner import (
    _TRIAL_KEY_CACHE,
    _deep_merge,
    _expand_value,
    _json_loads,
    _load_existing_trials,
    _select_optuna_sampler,
    _suggest_parameters,
    _trial_key,
)
from core.utils.optuna_helpers import _PARAM_SIG_CACHE, NoDupeGuard, param_signature


class Drawn:
    """A trial that answers from a seed and remembers what it was asked; it has nothing but `suggest_*`."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.asked: dict[str, tuple[Any, ...]] = {}

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        self.asked[name] = ("float", low, high, step, log)
        if step is not None:
            return low + self.random.randint(0, round((high - low) / step)) * step  # drifts, as floats do
        return self.random.uniform(low, high)

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        self.asked[name] = ("int", low, high, step, log)
        return self.random.randrange(low, high + 1, step)

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        self.asked[name] = ("categorical", tuple(choices))
        return self.random.choice(list(choices))


class TestDeepMergePerformance:
    """Optimization 3: a stack instead of recursion."""

    def test_depth_is_not_bounded_by_the_interpreter(self) -> None:
        """Ten thousand levels on both sides."""
        base: dict[str, Any] = {"a": 1, "b": 1}
        over: dict[str, Any] = {"b": 2}
        for _ in range(10_000):
            base, over = {"n": base}, {"n": over}
        node = _deep_merge(base, over)
        for _ in range(10_000):
            node = node["n"]
        assert node == {"a": 1, "b": 2}

    def test_the_inputs_are_untouched_and_not_shared(self) -> None:
        """Changing the result in any place changes neither input."""
        base = {"a": {"b": {"c": 1}}, "l": [{"x": 1}]}
        over = {"a": {"d": [1, {"y": 2}]}, "m": {"n": 1}}
        before = copy.deepcopy((base, over))
        merged = _deep_merge(base, over)
        assert merged == {"a": {"b": {"c": 1}, "d": [1, {"y": 2}]}, "l": [{"x": 1}], "m": {"n": 1}}
        merged["a"]["b"]["c"] = merged["a"]["d"][1]["y"] = merged["l"][0]["x"] = merged["m"]["n"] = 99
        assert (base, over) == before

    def test_a_wide_configuration(self) -> None:
        """Two hundred keys, half of them overridden."""
        merged = _deep_merge({f"k{n}": n for n in range(200)}, {f"k{n}": -n for n in range(0, 200, 2)})
        assert merged == {f"k{n}": n if n % 2 else -n for n in range(200)}


class TestJSONParsingPerformance:
    """Optimization 4: orjson, always, and what it would change goes another way."""

    @pytest.mark.parametrize("kind", [str, str.encode, lambda text: bytearray(text.encode())])
    def test_text_and_bytes(self, kind: Any) -> None:
        """Anything JSON can hold comes back equal, with its types."""
        value = {"a": [1, 2.5, True, None, "ü😀"], "b": {"c": -0.0, "d": 1e300}}
        loaded = _json_loads(kind(json.dumps(value)))
        assert loaded == value
        assert [type(each) for each in loaded["a"]] == [int, float, bool, type(None), str]

    def test_orjson_does_the_work(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The standard library is not asked for plain text."""
        monkeypatch.setattr(json, "loads", lambda *_: pytest.fail("the slow parser was asked"))
        assert _json_loads('{"a": [1, 2.5]}') == {"a": [1, 2.5]}

    def test_nothing_is_lost(self) -> None:
        """Integers beyond 64 bits stay integers, NaN and Infinity of older files are read."""
        assert _json_loads(str(2**80)) == 2**80
        loaded = _json_loads('{"a": NaN, "b": [-Infinity, 123456789012345678901234567890]}')
        assert math.isnan(loaded["a"])
        assert loaded["b"] == [-math.inf, 123456789012345678901234567890]

    @pytest.mark.parametrize(
        "text", ["", "{", "[1,]", "{'a': 1}", "nul", "NaNa", b"\xff", '{"a": 12345678901234567890123,}']
    )
    def test_what_is_not_json_is_a_value_error(self, text: Any) -> None:
        """The one exception the guide's callers catch."""
        with pytest.raises(ValueError):
            _json_loads(text)


class TestTrialKeyPerformance:
    """Optimization 1: direct serialization first."""

    def test_the_format(self) -> None:
        """64 hex digits, the same for any order of keys, a new one for any change."""
        key = _trial_key({"a": 1, "b": {"c": 2.5, "d": "x"}})
        assert len(key) == 64
        assert set(key) <= set("0123456789abcdef")
        assert key == _trial_key({"b": {"d": "x", "c": 2.5}, "a": 1})
        assert key != _trial_key({"a": 1, "b": {"c": 2.5, "d": "y"}})

    @pytest.mark.parametrize("value", [(1, 2), np.array([1, 2]), [np.int64(1), 2]])
    def test_unusual_types_have_the_key_of_the_plain_ones(self, value: Any) -> None:
        """Tuples, arrays and NumPy integers are the lists and numbers they hold."""
        assert _trial_key({"a": value}) == _trial_key({"a": [1, 2]})

    def test_types_are_kept_apart(self) -> None:
        """1, 1.0, True and "1" are four different points."""
        assert len({_trial_key({"a": value}) for value in (1, 1.0, True, "1")}) == 4

    def test_the_cache_trims(self) -> None:
        """10,000 entries, cut to 8,000 by the next."""
        _TRIAL_KEY_CACHE.clear()
        for n in range(10_001):
            _trial_key({"n": n})
        assert len(_TRIAL_KEY_CACHE) == 8_000

    @pytest.mark.parametrize("bad", [math.nan, math.inf])
    def test_nan_is_refused_with_its_path(self, bad: float) -> None:
        """orjson would write null, and two different points would collide."""
        with pytest.raises(ValueError, match=r"a\.b\[1\]"):
            _trial_key({"a": {"b": [None, bad]}})


class TestParamSignaturePerformance:
    """The second identity: equal up to a precision."""

    def test_precision(self) -> None:
        """Ten decimals by default, any other by choice."""
        assert param_signature({"a": 0.1 + 0.2}) == param_signature({"a": 0.3})
        assert param_signature({"a": 0.12345}, precision=3) == param_signature({"a": 0.1231}, precision=3)
        assert param_signature({"a": 0.12345}) != param_signature({"a": 0.1231})
        assert len(param_signature({})) == 64

    def test_the_cache_trims(self) -> None:
        """5,000 entries, cut to 4,000 by the next."""
        _PARAM_SIG_CACHE.clear()
        for n in range(5_001):
            param_signature({"n": n})
        assert len(_PARAM_SIG_CACHE) == 4_000


class TestExpandValuePerformance:
    """A specification to the list of its values."""

    @pytest.mark.parametrize(
        ("node", "expected"),
        [
            (5, [5]),
            ("x", ["x"]),
            (None, [None]),
            ({"type": "fixed", "value": 3}, [3]),
            ({"type": "grid", "values": [1, 2.5, "a"]}, [1, 2.5, "a"]),
            ({"type": "grid", "values": [{"x": 1}, [2]]}, [{"x": 1}, [2]]),
            ({"type": "int", "low": 1, "high": 7, "step": 3}, [1, 4, 7]),
            ({"type": "float", "low": 0.1, "high": 0.5, "step": 0.1}, [0.1, 0.2, 0.3, 0.4, 0.5]),
        ],
    )
    def test_values(self, node: Any, expected: list[Any]) -> None:
        """A bare value is fixed; a stepped range is its exact points."""
        values = _expand_value(node)
        assert values == expected
        assert [type(value) for value in values] == [type(value) for value in expected]

    def test_the_values_are_not_shared(self) -> None:
        """Changing an expanded value leaves the specification alone."""
        node = {"type": "grid", "values": [{"x": [1]}]}
        _expand_value(node)[0]["x"].append(2)
        assert node == {"type": "grid", "values": [{"x": [1]}]}


class TestSuggestParametersPerformance:
    """Optimization 2: step decimals known ahead, and exact."""

    def test_the_trial_needs_only_its_suggest_methods(self) -> None:
        """Every kind of parameter, nested, asked under its dotted path."""
        spec = {
            "a": {"type": "float", "low": 0.0, "high": 1.0},
            "b": {"c": {"type": "int", "low": 1, "high": 9, "step": 2}, "d": {"type": "fixed", "value": 7}},
            "e": {"type": "grid", "values": ["x", "y"]},
            "f": 3,
        }
        trial = Drawn(1)
        params = _suggest_parameters(trial, spec)
        assert params.keys() == spec.keys()
        assert (params["b"]["d"], params["f"]) == (7, 3)
        assert params["b"]["c"] in (1, 3, 5, 7, 9)
        assert params["e"] in ("x", "y")
        assert {"a", "b.c", "e"} <= trial.asked.keys()

    @given(
        st.integers(-50, 50),
        st.integers(1, 400),
        st.sampled_from(["0.001", "0.01", "0.1", "0.05", "0.25", "1e-05", "2.5e-3", "0.3", "1.0", "7.0"]),
        st.integers(0, 10**6),
    )
    @settings(max_examples=100, deadline=None)
    def test_a_float_is_exactly_the_nearest_multiple(self, first: int, count: int, step: str, seed: int) -> None:
        """Whatever a trial's arithmetic drifts to, the value is the float of its decimal point: one point, one key."""
        low = Decimal(first) * Decimal(step)
        high = low + count * Decimal(step)
        spec = {"x": {"type": "float", "low": float(low), "high": float(high), "step": float(step)}}
        value = _suggest_parameters(Drawn(seed), spec)["x"]
        place = round((Decimal(repr(value)) - low) / Decimal(step))
        assert value == float(low + place * Decimal(step))
        assert low <= Decimal(repr(value)) <= high

    def test_two_ways_to_one_grid_value_have_one_key(self) -> None:
        """0.1 + 0.2 and 0.3 from the sampler are one trial."""

        class Says(Drawn):
            def suggest_float(self, name: str, low: float, high: float, **_: Any) -> float:
                return self.value

        spec = {"x": {"type": "float", "low": 0.0, "high": 1.0, "step": 0.1}}
        keys = set()
        for value in (0.1 + 0.2, 0.3, 0.30000000000000004, math.nextafter(0.3, 0)):
            trial = Says(0)
            trial.value = value
            keys.add(_trial_key(_suggest_parameters(trial, spec)))
        assert keys == {_trial_key({"x": 0.3})}


class TestTrialLoadingPerformance:
    """Stored trials are read by key, and a broken file stops nothing."""

    def test_trials_by_key(self, tmp_path: Path) -> None:
        """The key of the parameters, the content of the file."""
        trials = [{"parameters": {"a": {"b": n / 4}}, "score": {"score": n}} for n in range(120)]
        for n, trial in enumerate(trials):
            (tmp_path / f"trial_{n:03d}.json").write_text(json.dumps(trial))
        assert _load_existing_trials(tmp_path) == {_trial_key(trial["parameters"]): trial for trial in trials}

    def test_a_corrupt_file_is_skipped_with_a_warning(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        """The others are there, the log names the file, the file is untouched."""
        (tmp_path / "trial_001.json").write_text('{"parameters": {"a": 1}}')
        (tmp_path / "trial_002.json").write_text('{"parameters": {"a"')
        with caplog.at_level(logging.WARNING):
            assert list(_load_existing_trials(tmp_path)) == [_trial_key({"a": 1})]
        assert "trial_002.json" in caplog.text
        assert (tmp_path / "trial_002.json").read_text() == '{"parameters": {"a"'

    def test_the_json_cache_is_an_environment_variable(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Switched on, a file is read from disk once; changed, again."""
        (tmp_path / "trial_001.json").write_text('{"parameters": {"a": 1}}')
        monkeypatch.setenv("GENESIS_OPTIMIZER_JSON_CACHE", "1")
        reads: list[str] = []
        read = __import__("genesis.trials.file_cache", fromlist=["x"]).read_bytes
        monkeypatch.setattr("genesis.trials.file_cache.read_bytes", lambda path: reads.append(path) or read(path))
        monkeypatch.setattr("genesis.trials.file_cache._cache", None)
        for _ in range(3):
            _load_existing_trials(tmp_path)
        assert len(reads) == 1
        (tmp_path / "trial_001.json").write_text('{"parameters": {"a": 22}}')
        assert list(_load_existing_trials(str(tmp_path))) == [_trial_key({"a": 22})]
        assert len(reads) == 2


def _claim_all(path: str, answers: Any) -> None:
    with NoDupeGuard(sqlite_path=path) as guard:
        answers.put(sum(guard.add(f"s{n}") for n in range(300)) + guard.add_batch(f"t{n}" for n in range(300)))


class TestSQLitePerformance:
    """Optimization 6: pragmas that hold, connections that are kept, answers that are shared."""

    def test_the_pragmas_are_read_back(self, tmp_path: Path) -> None:
        """WAL and 16 KiB pages in the file; NORMAL, memory and cache in the connection."""
        with NoDupeGuard(sqlite_path=tmp_path / "d.db") as guard:
            pragmas = guard.pragmas()
        assert pragmas["synchronous"] == 1
        assert pragmas["temp_store"] == 2
        assert pragmas["cache_size"] == -16_384
        db = sqlite3.connect(tmp_path / "d.db")
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert db.execute("PRAGMA page_size").fetchone() == (16_384,)
        db.close()

    def test_the_interface(self, tmp_path: Path) -> None:
        """add, add_batch, seen, seen_batch, remove."""
        with NoDupeGuard(sqlite_path=str(tmp_path / "d.db")) as guard:
            assert (guard.add("a"), guard.add("a")) == (True, False)
            assert guard.add_batch(["a", "b", "c", "b"]) == 2
            assert guard.seen("b")
            assert guard.seen_batch(["a", "z"]) == {"a": True, "z": False}
            assert guard.remove("a")
            assert not guard.seen("a")
        with NoDupeGuard(sqlite_path=tmp_path / "d.db") as again:
            assert again.seen_batch(["a", "b", "c"]) == {"a": False, "b": True, "c": True}

    def test_processes_share_it(self, tmp_path: Path) -> None:
        """Four processes add the same 600: each is new to exactly one."""
        fork = multiprocessing.get_context("fork")
        answers = fork.SimpleQueue()
        workers = [fork.Process(target=_claim_all, args=(str(tmp_path / "d.db"), answers)) for _ in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert [worker.exitcode for worker in workers] == [0] * 4
        assert sum(answers.get() for _ in workers) == 600
        answers.close()

    def test_threads_share_it(self, tmp_path: Path) -> None:
        """The same with threads and one guard."""
        new: list[int] = []
        with NoDupeGuard(sqlite_path=tmp_path / "d.db") as guard:
            threads = [
                threading.Thread(target=lambda: new.append(sum(guard.add(f"s{n}") for n in range(100))))
                for _ in range(4)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert sum(new) == 100


class TestSamplerDefaultsPerformance:
    """The guide's TPE, and every sampler by name, without a warning."""

    def test_the_tpe_defaults(self) -> None:
        """multivariate and constant_liar on, 48 candidates, max(25, 5 x concurrency) startup trials."""
        sampler = _select_optuna_sampler("tpe", {}, concurrency=8)
        assert sampler._multivariate
        assert sampler._constant_liar
        assert sampler._n_ei_candidates == 48
        assert sampler._n_startup_trials == 40

    def test_the_defaults_can_be_overridden(self) -> None:
        """What the user says wins."""
        given = {"multivariate": False, "n_ei_candidates": 10, "n_startup_trials": 3}
        sampler = _select_optuna_sampler("tpe", given, concurrency=8)
        assert (sampler._multivariate, sampler._n_ei_candidates, sampler._n_startup_trials) == (False, 10, 3)

    @pytest.mark.parametrize("name", ["tpe", "random", "cmaes", "qmc", "nsga2", "brute"])
    def test_samplers_by_name_without_a_warning(self, name: str) -> None:
        """Optuna's notes about experimental or deprecated arguments do not reach the user."""
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            sampler = _select_optuna_sampler(name, {}, concurrency=2)
        assert type(sampler).__module__.startswith("optuna")

    def test_an_unknown_name_says_what_there_is(self) -> None:
        """The message lists the names."""
        with pytest.raises(Exception, match="tpe"):
            _select_optuna_sampler("nonsense", {}, concurrency=2)
