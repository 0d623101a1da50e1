"""Rules are arithmetic and comparisons, read without running anything."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from genesis.errors import SpaceError
from genesis.search.rules import Rule
from genesis.search.space import Space


@pytest.mark.parametrize(
    ("text", "values", "expected"),
    [
        ("ma.fast < ma.slow", {"ma.fast": np.array([1.0, 5.0]), "ma.slow": np.array([5.0, 5.0])}, [True, False]),
        (
            "a <= b < c",
            {"a": np.array([1.0, 1.0, 2.0]), "b": np.array([1.0, 2.0, 1.0]), "c": 2.0},
            [True, False, False],
        ),
        ("a * 2 + 1 >= b and not a == 3", {"a": np.array([1.0, 3.0]), "b": 3.0}, [True, False]),
        ("a > 1 or b", {"a": np.array([0.0, 2.0]), "b": False}, [False, True]),
        ("max(a, b) - min(a, b) > 2", {"a": np.array([1.0, 4.0]), "b": np.array([2.0, 1.0])}, [False, True]),
        ("abs(-a) == 2", {"a": np.array([2.0, -2.0, 1.0])}, [True, True, False]),
        ("a in [1, 3]", {"a": np.array([1.0, 2.0, 3.0])}, [True, False, True]),
        ("kind not in ['ema', 'sma']", {"kind": np.array(["ema", "wma"], dtype=object)}, [False, True]),
        ("kind == 'ema'", {"kind": np.array(["ema", "wma"], dtype=object)}, [True, False]),
        ("kind != 1", {"kind": np.array(["ema"], dtype=object)}, [True]),
        ("flag == true", {"flag": np.array([True, False])}, [True, False]),
        ("a / b > 1", {"a": np.array([1.0, 1.0]), "b": np.array([0.5, 2.0])}, [True, False]),
        ("a % 2 == 0", {"a": np.array([1.0, 2.0])}, [False, True]),
        ("a // 2 == 1", {"a": np.array([1.0, 3.0])}, [False, True]),
        ("0 / a > 0", {"a": np.array([0.0])}, [False]),
    ],
)
def test_a_rule_holds_where_python_would_say_so(text: str, values: dict[str, object], expected: list[bool]) -> None:
    assert Rule(text).holds(values).tolist() == expected


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "().__class__ < 1",
        "a ** 9 < 1",
        "a < (lambda: 1)()",
        "[x for x in a] < 1",
        "open('f') < 1",
        "a if b else c",
        "a := 3",
        "f'{a}' < 1",
        "a[0] < 1",
        "a < b.c()",
        "a is b",
        "a in b",
        "a < *b",
        "a + b",
        "a",
        "",
        "a <",
        "max() < 1",
        "min(a, key=b) < 1",
        "abs(a, b) < 1",
        "a << 3 < 4",
        "a < 3j",
        "a < b'x'",
        "a < ...",
        "(" * 400 + "a" + ")" * 400 + " < 1",
        "a < " + "1 + " * 400 + "1",
        "-" * 900 + "a < 1",
        "not " * 200 + "a < 1",
    ],
)
def test_anything_else_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(SpaceError, match="rules: "):
        Rule(text)


def test_a_rule_survives_pickling() -> None:
    rule = pickle.loads(pickle.dumps(Rule("a.b < 3")))  # noqa: S301 - our own bytes
    assert (rule.text, rule.paths) == ("a.b < 3", ("a.b",))


INT = {"type": "int", "low": 1, "high": 9}


@pytest.mark.parametrize(
    ("rules", "says"),
    [
        (["fast < slwo"], "reads slwo, which no parameter has (did you mean 'slow'?)"),
        (["fast < zzz"], "reads zzz, which no parameter has; the parameters are fast, kind, slow, fixed"),
        (["fast < kind"], "no order"),
        (["kind + 1 < 3"], "not numbers"),
        (["fixed > 5"], "is false for the fixed values"),
    ],
)
def test_a_rule_that_cannot_work_on_the_space_is_refused_when_read(rules: list[str], says: str) -> None:
    spec = {"fast": INT, "slow": INT, "kind": {"type": "grid", "values": ["x", "y"]}, "fixed": 3}
    with pytest.raises(SpaceError) as caught:
        Space.from_spec(spec, rules=rules)
    assert says in str(caught.value)


def test_a_rule_about_a_parameter_that_does_not_exist_at_a_point_holds_there() -> None:
    spec = {"on": {"type": "grid", "values": [False, True]}, "n": {**INT, "when": {"on": True}}, "limit": 5}
    space = Space.from_spec(spec, rules=["n < limit"])
    kept = [space.decode(one) for one in space.grid()]
    assert kept == [{"on": False, "limit": 5}, *({"on": True, "limit": 5, "n": n} for n in range(1, 5))]
