"""JSON read back: integers of any size stay integers, fractions of any length stay the same floats."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genesis.trials import codec
from genesis.trials.codec import json_dumps, json_loads

VALUES = st.recursive(
    st.integers(-(10**30), 10**30) | st.floats(allow_nan=False) | st.text(st.characters(codec="utf-8")) | st.none(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
    max_leaves=12,
)


@given(VALUES)
def test_what_is_written_is_read(value):
    """A round trip changes nothing, and reads what the standard library reads."""
    raw = json_dumps(value)
    back, plain = json_loads(raw), json.loads(raw)
    assert back == plain == value
    assert repr(back) == repr(plain)  # 1 and 1.0 are equal and not the same


@pytest.mark.parametrize(
    "text",
    [
        "[0.00012345678901234567, 18446744073709551617]",
        "[18446744073709551617, 0.00012345678901234567]",
        "18446744073709551617",
        "-18446744073709551617",
        '{"a":0.00012345678901234567,"b":0.00000000000000000001234}',
        '{"99999999999999999999.1":99999999999999999999}',
        "0.1234567890123456789012345678901234567890",
    ],
)
def test_long_runs_of_digits(text):
    """An integer beyond 64 bits is told from a long fraction, wherever they stand."""
    assert repr(json_loads(text.encode())) == repr(json.loads(text))


def test_a_long_fraction_takes_the_quick_road(monkeypatch):
    """Small times and metrics have nineteen digits behind the point; they are no reason for the slow reader."""
    monkeypatch.setattr(codec.json, "loads", lambda _: pytest.fail("the slow reader was asked"))
    assert json_loads(b'{"seconds":0.00012345678901234567}') == {"seconds": 0.00012345678901234567}
