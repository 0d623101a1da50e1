"""A space says what may be tried: every point has one vector, one parameter set, one place in the enumeration."""

from __future__ import annotations

import math
import pickle
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from genesis.errors import SpaceError
from genesis.search.space import Space, expand_value, suggest

SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-5, 5), st.sampled_from([0.5, "a", "b.c", ""]))
VALUES = st.one_of(SCALARS, st.lists(SCALARS, max_size=3), st.dictionaries(st.sampled_from("xyz"), SCALARS, max_size=2))


@st.composite
def leaves(draw: st.DrawFn) -> Any:
    kind = draw(st.sampled_from(["fixed", "grid", "float", "stepped", "int", "log", "logint", "bare"]))
    low = draw(st.sampled_from([-2, 0, 1, 3]))
    if kind == "bare":
        return draw(SCALARS)
    if kind == "fixed":
        return {"type": "fixed", "value": draw(VALUES)}
    if kind == "grid":
        values = draw(st.lists(VALUES, min_size=1, max_size=4, unique_by=repr))
        return {"type": "grid", "values": values}
    if kind == "float":
        return {"type": "float", "low": float(low), "high": low + draw(st.floats(0.1, 5))}
    if kind == "stepped":
        step = draw(st.sampled_from([0.1, 0.25, 2.5e-3, 0.30000000000000004, 1e-05]))
        high = float(Fraction(Decimal(low)) + draw(st.integers(1, 9)) * Fraction(Decimal(repr(step))))
        return {"type": "float", "low": low, "high": high, "step": step}
    if kind == "int":
        step = draw(st.integers(1, 3))
        return {"type": "int", "low": low, "high": low + step * draw(st.integers(1, 5)), "step": step}
    if kind == "log":
        return {"type": "loguniform", "low": 1e-4, "high": draw(st.floats(1e-3, 1e3))}
    return {"type": "int", "low": 1, "high": draw(st.integers(2, 100)), "log": True}


NAMES = st.sampled_from(["a", "b", "c", "d"])
SPECS = st.recursive(
    leaves(), lambda inner: st.dictionaries(NAMES, inner, min_size=1, max_size=3), max_leaves=8
).filter(lambda spec: isinstance(spec, dict) and "type" not in spec)


def space_of(spec: Any) -> Space:
    """The space, lenient only where the float of a high rounds below its last decimal point."""
    return Space.from_spec(spec, lenient=True)


@given(SPECS, st.integers(0, 2**32 - 1))
@settings(max_examples=120, deadline=None)
def test_a_snapped_vector_decodes_and_encodes_back_to_itself(spec: Any, seed: int) -> None:
    space = space_of(spec)
    rng = np.random.default_rng(seed)
    vectors = space.snap(rng.normal(0, 4, (6, len(space))))
    assert np.array_equal(space.snap(vectors), vectors, equal_nan=True)
    many = space.decode_many(vectors)
    for vector, params in zip(vectors, many, strict=True):
        assert repr(space.decode(vector)) == repr(params)
        assert np.array_equal(space.encode(params), vector, equal_nan=True)


@given(SPECS, st.integers(0, 2**32 - 1))
@settings(max_examples=80, deadline=None)
def test_one_vector_and_many_are_snapped_to_the_same_parameters(spec: Any, seed: int) -> None:
    space = space_of(spec)
    raw = np.random.default_rng(seed).normal(0, 4, (5, len(space)))
    assert repr([space.decode(one) for one in raw]) == repr(space.decode_many(raw))


@given(SPECS)
@settings(max_examples=60, deadline=None)
def test_a_space_reads_back_from_its_own_specification(spec: Any) -> None:
    space = space_of(spec)
    assert Space.from_spec(space.spec(), lenient=True) == space
    again = pickle.loads(pickle.dumps(space))  # noqa: S301 - our own bytes
    assert again == space
    assert again.signature() == space.signature()


@given(SPECS)
@settings(max_examples=60, deadline=None)
def test_a_finite_space_is_enumerated_once_each_and_counted(spec: Any) -> None:
    space = space_of(spec)
    assume(space.size is not None and space.size <= 300)
    points = [repr(space.decode(one)) for one in space.grid()]
    assert len(points) == space.size == len(set(points))
    assert len(list(space.grid(3, start=1))) == min(3, len(points) - 1)


CONDITIONAL = {
    "filter": {"kind": {"type": "grid", "values": ["none", "adx", "rsi"]}},
    "filter.adx": {"type": "int", "low": 10, "high": 13, "when": {"filter.kind": "adx"}},
    "filter.rsi": {"type": "float", "low": 0.1, "high": 0.3, "step": 0.1, "when": {"filter.kind": ["rsi"]}},
    "filter.smooth": {"type": "grid", "values": [True, False], "when": {"filter.adx": [10, 12]}},
    "filter.flag": {"type": "fixed", "value": "on", "when": {"filter.kind": ["adx", "rsi"]}},
}


def test_conditional_parameters_exist_only_where_their_condition_holds() -> None:
    space = Space.from_spec(CONDITIONAL)
    points = [space.decode(one) for one in space.grid()]
    by_hand = [
        {"filter": {"kind": "none"}},
        *(
            {"filter": {"kind": "adx", "flag": "on", "adx": adx} | smooth}
            for adx in range(10, 14)
            for smooth in ([{"smooth": True}, {"smooth": False}] if adx in (10, 12) else [{}])
        ),
        *({"filter": {"kind": "rsi", "flag": "on", "rsi": rsi}} for rsi in (0.1, 0.2, 0.3)),
    ]
    assert space.size == len(by_hand) == 10
    assert len(points) == 10
    assert all(one in points for one in by_hand)
    for vector in space.grid():
        assert np.array_equal(space.encode(space.decode(vector)), vector, equal_nan=True)
        assert np.array_equal(space.snap(vector[None, :])[0], vector, equal_nan=True)


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        (
            {"risk": {"stop": {"type": "float", "low": 1.0, "high": 2.0, "step": 0.3}}},
            "risk.stop: step=0.3 does not divide [1.0, 2.0]; use high=1.9 or step=0.25",
        ),
        (
            {"a": {"type": "int", "low": 5, "high": 60, "step": 7}},
            "a: step=7 does not divide [5, 60]; use high=54 or step=5",
        ),
        ({"a": {"type": "float", "low": 0.0, "high": 1.0, "step": 2.0}}, "a: step=2.0 is wider than [0.0, 1.0]"),
        ({"a": {"type": "flaot", "low": 1, "high": 2}}, "type='flaot' is unknown (did you mean 'float'?)"),
        ({"a": {"type": "float", "low": 1, "hihg": 2}}, "hihg=2 is not a key of type float (did you mean 'high'?)"),
        ({"a": {"type": "float", "min": 1, "high": 2}}, "min=1 is not a key of type float (did you mean 'low'?)"),
        ({"a": {"type": "int", "low": 1, "Upper": 2}}, "Upper=2 is not a key of type int (did you mean 'high'?)"),
        ({"a": {"type": "float", "low": 2.0, "high": 2.0}}, "a: low and high are both 2.0; write the value alone"),
        ({"a": {"type": "float", "low": 3.0, "high": 2.0}}, "a: low=3.0 is above high=2.0; swap them"),
        ({"a": {"type": "float", "low": math.nan, "high": 2.0}}, "a: low=nan is not finite"),
        ({"a": {"type": "float", "low": 0.0, "high": math.inf}}, "a: high=inf is not finite"),
        ({"a": {"type": "float", "low": -1e308, "high": 1e308}}, "wider than a float can say"),
        ({"a": {"type": "float", "low": 0.0, "high": 1.0, "step": 0.0}}, "a: step=0.0 is not above 0"),
        ({"a": {"type": "float", "low": 0.0, "high": 1.0, "step": -0.1}}, "a: step=-0.1 is not above 0"),
        ({"a": {"type": "float", "low": 0.0, "high": 1.0, "log": True}}, "a: log needs low above 0, not 0.0"),
        ({"a": {"type": "loguniform", "low": -1.0, "high": 1.0}}, "a: log needs low above 0"),
        (
            {"a": {"type": "float", "low": 0.1, "high": 1.0, "step": 0.1, "log": True}},
            "a: log and step=0.1 exclude each other",
        ),
        ({"a": {"type": "int", "low": 1, "high": 9, "step": 2, "log": True}}, "log and step=2 exclude"),
        ({"a": {"type": "int", "low": 1.5, "high": 9}}, "a: low=1.5 is not a whole number; use type: float"),
        ({"a": {"type": "int", "low": 1.0, "high": 9}}, "a: low=1.0 is not a whole number; write low: 1"),
        ({"a": {"type": "int", "low": True, "high": 9}}, "a: low=True is not a whole number"),
        ({"a": {"type": "float", "low": False, "high": 9}}, "a: low=False is not a number"),
        ({"a": {"type": "float", "low": "0.1", "high": 9}}, "a: low='0.1' is not a number; remove the quotes"),
        ({"a": {"type": "int", "low": 0, "high": 2**60}}, "beyond ±2**53"),
        ({"a": {"type": "float", "low": 0.0, "high": 1e6, "step": 1e-12}}, "more than 2**53"),
        ({"a": {"type": "float", "low": 1e9, "high": 1e9 + 1, "step": 2.0**-30}}, "finer than neighbouring floats"),
        ({"a": {"type": "float", "low": 0.0}}, "a: high is missing"),
        ({"a": {"type": "float", "low": 0.0, "high": 1.0, "log": "yes"}}, "a: log='yes' is not true or false"),
        ({"a": {"type": "grid", "values": []}}, "a: values=[] is not a list with at least one entry"),
        ({"a": {"type": "grid", "values": "abc"}}, "a: values='abc' is not a list"),
        ({"a": {"type": "grid"}}, "a: values=None is not a list"),
        ({"a": {"type": "grid", "values": [1, 2, 1]}}, "a: entry 2 repeats entry 0"),
        ({"a": {"type": "grid", "values": [[1, 2], (1, 2)]}}, "a: entry 1 repeats entry 0"),
        ({"a": {"type": "grid", "values": [1.0, math.nan]}}, "a: entry 1: nan is not a finite number"),
        ({"a": {"type": "categorical", "values": [1], "choices": [2]}}, "has both choices and values"),
        ({"a": {"type": "fixed"}}, "a: type fixed has no value"),
        ({"a": math.inf}, "a: inf is not a finite number"),
        ({"a": object()}, "is a object"),
        ({"a": [{"type": "int", "low": 1, "high": 2}]}, "a list is a fixed value"),
        ({True: 1}, "the key True is not a name"),
        ({"a": {3: 1}}, "a: the key 3 is not a name"),
        ({"a..b": 1}, "the key 'a..b' is not a name"),
        ({"a.b": 1, "a": {"b": 2}}, "a.b: given twice"),
        ({"a": 1, "a.b": 2}, "a: is both a parameter and a group"),
        ({"a.b": 2, "a": {"type": "int", "low": 1, "high": 3}}, "a: is both a parameter and a group"),
        ({"a": {"type": "int", "low": 1, "high": 3, "when": {"b": 1}}}, "a: when names b, which is no parameter"),
        ({"a": {"type": "int", "low": 1, "high": 3, "when": {"a": 1}}}, "a: its when leads back to itself"),
        ({"a": {"type": "int", "low": 1, "high": 3, "when": ["b"]}}, "is not one {path: value}"),
        (
            {
                "b": {"type": "grid", "values": ["x", "y"]},
                "a": {"type": "int", "low": 1, "high": 3, "when": {"b": "z"}},
            },
            "a: when.b: 'z' is not a value that b can have",
        ),
        (
            {
                "b": {"type": "float", "low": 0.0, "high": 1.0},
                "a": {"type": "int", "low": 1, "high": 3, "when": {"b": 1}},
            },
            "a: when names b, a continuous float",
        ),
    ],
)
def test_a_specification_that_cannot_be_searched_is_refused_with_the_remedy(spec: Any, says: str) -> None:
    with pytest.raises(SpaceError) as caught:
        Space.from_spec(spec)
    assert says in str(caught.value)


def test_all_problems_are_named_at_once() -> None:
    spec = {"a": {"type": "int", "low": 1}, "g": {"b": {"type": "grid", "values": []}, "c": {"type": "what"}}}
    with pytest.raises(SpaceError) as caught:
        Space.from_spec(spec)
    assert [one.split(":")[0] for one in caught.value.details["problems"]] == ["a", "g.b", "g.c"]


@pytest.mark.parametrize(
    ("spec", "params", "note"),
    [
        ({"type": "float", "low": 1.0, "high": 2.0, "step": 0.3}, 1.9, "high lowered to 1.9"),
        ({"type": "int", "low": 1.0, "high": 9}, 9, "low=1.0 was read as 1"),
        ({"type": "int", "low": 4, "high": 4}, 4, "fixed to it"),
        ({"type": "float", "low": 4.0, "high": 4.5, "step": 1.0}, 4.0, "fixed to 4.0"),
    ],
)
def test_read_leniently_an_adjustment_is_made_and_noted(spec: Any, params: Any, note: str) -> None:
    space = Space.from_spec({"x": spec}, lenient=True)
    assert [one for one in space.notes if note in one]
    assert space.decode(np.full(len(space), 1e9))["x"] == params


def test_values_keep_their_types_and_containers_are_never_shared() -> None:
    choices: list[Any] = [1, 1.0, True, "1", None, [1, {"a": (2,)}], {"k": []}]
    space = Space.from_spec({"c": {"type": "grid", "values": choices}, "f": {"type": "fixed", "value": {"z": [1]}}})
    decoded = [space.decode([float(i)]) for i in range(len(choices))]
    assert [repr(one["c"]) for one in decoded] == ["1", "1.0", "True", "'1'", "None", "[1, {'a': [2]}]", "{'k': []}"]
    decoded[5]["c"].append(3)
    decoded[0]["f"]["z"].append(3)
    choices[6]["k"].append(9)
    assert space.decode([5.0])["c"] == [1, {"a": [2]}]
    assert space.decode([6.0]) == {"c": {"k": []}, "f": {"z": [1]}}
    assert type(space.decode([0.0])["c"]) is int


def test_keys_in_another_order_or_dotted_are_the_same_space() -> None:
    nested = {
        "ma": {"slow": {"type": "int", "low": 20, "high": 50}, "fast": {"type": "int", "low": 2, "high": 9}},
        "k": 1,
    }
    dotted = {"k": 1, "ma.fast": {"type": "int", "low": 2, "high": 9}, "ma": {"slow": nested["ma"]["slow"]}}
    assert Space.from_spec(nested) == Space.from_spec(dotted)
    assert hash(Space.from_spec(nested)) == hash(Space.from_spec(dotted))


def test_a_depth_beyond_the_recursion_limit_is_read() -> None:
    spec: Any = {"type": "int", "low": 1, "high": 3}
    for _ in range(3_000):
        spec = {"g": spec}
    space = Space.from_spec(spec)
    params = space.decode(np.array([2.0]))
    for _ in range(3_000):
        params = params["g"]
    assert params == 2


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"n": 3}, "x: is missing"),
        ({"n": 3, "x": 0.16}, "x: 0.16 is off its step 0.1; use 0.2"),
        ({"n": 30, "x": 0.1}, "n: 30 is outside [1, 9]; use 9"),
        ({"n": True, "x": 0.1}, "n: True is not a number"),
        ({"n": 3, "x": 0.1, "m": 1}, "m: is not a parameter of this space"),
        ({"n": 3, "x": 0.1, "k": 8}, "k: 8 differs from the fixed 7"),
        ({"n": 3, "x": math.nan}, "x: NaN is not a value"),
    ],
)
def test_parameters_that_are_no_point_are_refused(params: dict[str, Any], says: str) -> None:
    space = Space.from_spec(
        {
            "n": {"type": "int", "low": 1, "high": 9},
            "x": {"type": "float", "low": 0.0, "high": 1.0, "step": 0.1},
            "k": 7,
        }
    )
    with pytest.raises(SpaceError) as caught:
        space.encode(params)
    assert says in str(caught.value)
    assert "use 9." not in str(caught.value)  # a whole number is advised as one


def test_encoding_takes_the_float_noise_of_others_and_snaps_only_if_asked() -> None:
    space = Space.from_spec({"x": {"type": "float", "low": 0.0, "high": 1.0, "step": 0.1}})
    assert space.encode({"x": 0.1 + 0.2}).tolist() == [0.3]
    assert space.encode({"x": 0.44}, snap=True).tolist() == [0.4]


@pytest.mark.parametrize("x", [math.inf, -math.inf, 1e300, -1e300])
def test_far_values_are_clipped_alike_one_by_one_and_together(x: float) -> None:
    spec = {
        "a": {"type": "float", "low": 0.0, "high": 1.0, "step": 1e-05},
        "b": {"type": "int", "low": 1, "high": 9},
        "c": {"type": "grid", "values": ["x", "y"]},
        "d": {"type": "float", "low": 0.0, "high": 1.0},
    }
    space = Space.from_spec(spec)
    expected = {"a": 1.0, "b": 9, "c": "y", "d": 1.0} if x > 0 else {"a": 0.0, "b": 1, "c": "x", "d": 0.0}
    assert space.decode([x] * 4) == expected
    assert space.decode_many(np.full((1, 4), x)) == [expected]


def test_nan_where_a_value_is_due_is_refused_by_its_path() -> None:
    space = Space.from_spec({"a": {"b": {"type": "float", "low": 0.0, "high": 1.0}}})
    for call in (space.decode, lambda v: space.snap(v[None, :])):
        with pytest.raises(SpaceError, match=r"a\.b: NaN"):
            call(np.array([math.nan]))


def test_a_continuous_space_has_no_grid() -> None:
    space = Space.from_spec({"a": {"type": "float", "low": 0.0, "high": 1.0}})
    assert space.size is None
    with pytest.raises(SpaceError, match="a: has neither step nor values"):
        next(space.grid())


def test_a_space_of_fixed_values_has_one_point_and_says_so() -> None:
    space = Space.from_spec({"a": 1})
    assert (space.size, [space.decode(one) for one in space.grid()]) == (1, [{"a": 1}])
    assert "everything is fixed" in space.warnings[0]


class Answers:
    """A trial with the three methods alone, answering from a random generator, off the grid on purpose."""

    def __init__(self, seed: int) -> None:
        self.rng, self.asked = np.random.default_rng(seed), dict[str, Any]()

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> float:
        self.asked[name] = (low, high, step, log)
        return float(self.rng.uniform(low, high))

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1, log: bool = False) -> int:
        self.asked[name] = (low, high, step, log)
        return int(self.rng.integers(low, high + 1))

    def suggest_categorical(self, name: str, choices: list[Any]) -> Any:
        self.asked[name] = choices
        return choices[int(self.rng.integers(len(choices)))]


@given(SPECS, st.integers(0, 2**32 - 1))
@settings(max_examples=80, deadline=None)
def test_a_suggestion_is_a_point_of_the_space_whatever_the_trial_answers(spec: Any, seed: int) -> None:
    trial = Answers(seed)
    params = suggest(trial, spec)
    space = space_of(spec)
    assert repr(space.decode(space.encode(params))) == repr(params)
    assert set(trial.asked) == set(space.paths)


@given(
    st.sampled_from([0.0, -1.0, 0.1, 0.25, 1e-05, 3.7]),
    st.sampled_from([1e-05, 0.30000000000000004, 2.5e-3, 0.1, 0.3, 0.07]),
    st.integers(2, 400),
    st.integers(0, 2**32 - 1),
)
@settings(max_examples=80, deadline=None)
def test_a_suggested_float_is_exactly_a_multiple_on_its_grid(low: float, step: float, count: int, seed: int) -> None:
    exact_low, exact_step = Fraction(Decimal(repr(low))), Fraction(Decimal(repr(step)))
    high = float(exact_low + count * exact_step)
    grid = {float(exact_low + k * exact_step) for k in range(count + 1)}
    for one in range(5):
        value = suggest(Answers(seed + one), {"x": {"type": "float", "low": low, "high": high, "step": step}})["x"]
        assert value in grid


def test_suggestions_come_from_a_real_optuna_study_without_a_warning() -> None:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    spec = {
        **CONDITIONAL,
        "x": {"type": "float", "low": 0.0, "high": 0.9, "step": 0.30000000000000004},
        "y": {"type": "float", "low": 0.0, "high": 1.0, "step": 0.3},
        "z": {"type": "grid", "values": [[1, 2], {"a": 1}, 1, True]},
        "w": {"type": "loguniform", "low": 1e-5, "high": 1.0},
        "v": {"type": "int", "low": 1, "high": 8, "log": True},
    }
    space = Space.from_spec(spec, lenient=True)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    for _ in range(40):
        trial = study.ask()
        params = suggest(trial, spec)
        assert np.isfinite(space.encode(params)[space.paths.index("x")])
        study.tell(trial, 0.0)
    distributions = space.distributions()
    assert set(distributions) == set(space.paths)
    assert all(distributions[path] == found for t in study.trials for path, found in t.distributions.items())


def test_a_changed_specification_is_read_anew() -> None:
    spec: dict[str, Any] = {"x": {"type": "int", "low": 1, "high": 2}}
    suggest(Answers(0), spec)
    spec["x"]["low"], spec["x"]["high"] = 7, 8
    assert suggest(Answers(0), spec)["x"] in (7, 8)


@pytest.mark.parametrize(
    ("node", "values"),
    [
        (5, [5]),
        ([1, 2], [[1, 2]]),
        (None, [None]),
        ({"type": "fixed", "value": [1]}, [[1]]),
        ({"type": "grid", "values": [1, [2], {"a": 3}]}, [1, [2], {"a": 3}]),
        ({"type": "float", "low": 0.1, "high": 0.3, "step": 0.1}, [0.1, 0.2, 0.3]),
        ({"type": "int", "low": 1, "high": 7, "step": 3}, [1, 4, 7]),
        ({"a": {"type": "grid", "values": [1, 2]}, "b": 0}, [{"b": 0, "a": 1}, {"b": 0, "a": 2}]),
    ],
)
def test_a_node_expands_to_every_value_it_stands_for(node: Any, values: list[Any]) -> None:
    assert expand_value(node) == values


def test_an_expanded_value_shares_nothing_with_the_node_or_its_neighbours() -> None:
    node = {"type": "grid", "values": [{"a": [1]}, {"a": [2]}]}
    first = expand_value(node)
    first[0]["a"].append(9)
    assert expand_value(node) == [{"a": [1]}, {"a": [2]}]


@pytest.mark.parametrize(
    "node", [{"type": "float", "low": 0.0, "high": 1.0}, {"type": "int", "low": 0, "high": 10**7}, {"type": "x"}]
)
def test_what_cannot_be_listed_is_refused(node: Any) -> None:
    with pytest.raises(SpaceError):
        expand_value(node)
