"""Study files are plain data: repeated keys refused, numbers read as numbers, nothing executed."""

from __future__ import annotations

import datetime as dt
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from genesis.errors import ConfigError
from genesis.study_yaml import dump_yaml, parse_yaml, read_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-5", 1e-05), ("1E5", 1e5), ("-2e+3", -2000.0), (".5e1", 5.0), ("1.5e-3", 0.0015), ("1.5e3", 1500.0),
        ("1e", "1e"), ("e5", "e5"), ("1-e5", "1-e5"), ("0x10", 16), ("1_000", 1000), ("12", 12), ("'1e-5'", "1e-5"),
        ("2003-01-01", dt.date(2003, 1, 1)), ("2003-13-01", "2003-13-01"), ("none", "none"), ("null", None),
    ],
)  # fmt: skip
def test_a_scalar_is_read_as_it_is_meant(text: str, value: object) -> None:
    read = parse_yaml(f"x: {text}")["x"]
    assert (read, type(read)) == (value, type(value))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: 1\nb: 2\na: 3", "has the key 'a' twice, on lines 1 and 3"),
        ("x: {a: 1, a: 2}", "has the key 'a' twice"),
        ("? [1]\n: 2", "a list or mapping as a key"),
        ("a: !!python/object/apply:os.system ['true']", "a study is plain data; remove the tag"),
        ("a: !!python/name:os.system", "a study is plain data; remove the tag"),
        ("a: [1", "line 1"),
        ("a:\n\tb: 1", "line 2"),
        ("[" * 500 + "]" * 500, "nested deeper"),
        ("a: 1\n---\nb: 2", "expected a single document"),
        ("a: *b", "undefined alias"),
        ("a: &a [*a]", "aliases repeat"),
        ("a: b: 1", "(line 1, column 5); begin each key on a line of its own"),
        ("a: {b: 1\nc: 2", "close the bracket that opens on line 1"),
        ("a: 1\nb: 'c\n", "close the quote that opens on line 2"),
        ("a: [1]]", "remove the bracket, which closes nothing"),
        ("a: @b", "put the text in quotes"),
        ("a: 1\nb\n", "write key: value, with a space after the colon"),
        ("a:\n  b: 1\n c: 2", "begin the keys of one block in the same column"),
        ("a: 1\n---\nb: 2", "remove the line '---'"),
        ('a: "\\q"', "correct this line"),
        (
            "a: &a [1, 2]\n" + "".join(f"{y}: &{y} [*{x}, *{x}]\n" for x, y in pairwise("abcdefghijklmnopqrstuvwxyz")),
            "aliases repeat",
        ),
    ],
)
def test_what_is_not_plain_is_refused_with_its_place(text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=r"^study: ") as caught:
        parse_yaml(text)
    assert says in str(caught.value)


def test_a_merge_key_is_not_a_repeated_key() -> None:
    assert parse_yaml("a: &x {b: 1}\nc: {<<: *x, b: 2}")["c"] == {"b": 2}


TEXT = st.text("aeE1.-+ y:#'\"é\n", max_size=9)
NUMBERS = st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False))
DATA = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXT),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXT, inner, max_size=3)),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["a", "b.c", "on", "1"]), DATA, max_size=3))
@settings(max_examples=150, deadline=None)
def test_what_is_written_reads_back_equal_here_and_by_any_reader(data: dict[str, Any]) -> None:
    for text in (dump_yaml(data), dump_yaml(data, flow=True)):
        assert repr(parse_yaml(text)) == repr(data)
        assert repr(yaml.safe_load(text)) == repr(data)


def test_a_small_number_is_written_as_a_person_would() -> None:
    assert dump_yaml({"step": 1e-05, "high": 1e22, "low": 0.1}) == "{step: 1.0e-05, high: 1.0e+22, low: 0.1}\n"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"- 1\n", "holds list, not a mapping"),
        (b"a: \xff\xfe", "is not UTF-8"),
        (b"a: \x00", "study"),
    ],
)
def test_a_file_that_is_no_study_is_refused_by_name(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "study.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"study\.yaml") as caught:
        read_yaml(path)
    assert says in str(caught.value)


def test_a_missing_file_is_answered_with_the_nearest_name(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text("a: 1", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"did you mean .*study\.yaml"):
        read_yaml(tmp_path / "stduy.yaml")
    with pytest.raises(ConfigError, match="is a folder"):
        read_yaml(tmp_path)


def test_a_tag_and_a_bomb_are_refused_in_one_plain_sentence():
    """The name of the file stands once, and the words say what to remove."""
    with pytest.raises(
        ConfigError, match=r"^study: has the tag 'tag:yaml.org,2002:python/[^ ]*', and a study is plain"
    ):
        parse_yaml("strategy: !!python/object/apply:os.system ['true']")
    bomb = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
        f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
    )
    with pytest.raises(ConfigError, match=r"^study: its aliases repeat into more"):
        parse_yaml(bomb)
