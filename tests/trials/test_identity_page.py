"""docs/identity.md says what the code does: every golden key of its table, and every line of its example."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from genesis.trials.identity import canonical_bytes, param_signature, trial_key

PAGE = (Path(__file__).parents[2] / "docs" / "identity.md").read_text("utf-8")
ROW = re.compile(r"^\| `(\{.*\})` \| `(\{.*\})` \| `([0-9a-f]{64})` \|$", re.MULTILINE)


def test_the_golden_keys_of_the_page() -> None:
    """Parameters, bytes and key of each row belong together."""
    rows = ROW.findall(PAGE)
    assert len(rows) >= 12
    for params, raw, key in rows:
        value = ast.literal_eval(params)
        assert canonical_bytes(value).decode() == raw
        assert trial_key(value) == key


def test_the_example_of_the_page() -> None:
    """The three lines are true."""
    assert "param_signature({" in PAGE
    assert trial_key({"b": 1, "a": [1.0, True]}) == trial_key({"a": [1.0, True], "b": 1})
    assert canonical_bytes({"b": 1, "a": [1.0, True]}) == b'{"a":[1.0,true],"b":1}'
    assert param_signature({"a": 0.1 + 0.2}) == param_signature({"a": 0.3})
