"""The exception tree: pickles whole, speaks for itself, exits with documented codes."""

from __future__ import annotations

import pickle

import pytest

from genesis import errors


def _tree(root: type[errors.GenesisError]) -> list[type[errors.GenesisError]]:
    return [root, *(kind for child in root.__subclasses__() for kind in _tree(child))]


@pytest.mark.parametrize("kind", _tree(errors.GenesisError), ids=lambda kind: kind.__name__)
def test_every_exception_survives_pickling_with_its_attributes(kind: type[errors.GenesisError]) -> None:
    before = kind("risk.stop: came 0.3; use 0.25", problems=["a", "b"], path="risk.stop")
    after = pickle.loads(pickle.dumps(before))  # noqa: S301 - our own bytes, made one line above
    assert type(after) is kind
    assert str(after) == str(before) == "risk.stop: came 0.3; use 0.25"
    assert after.details == before.details


@pytest.mark.parametrize("kind", _tree(errors.GenesisError), ids=lambda kind: kind.__name__)
def test_the_drawing_at_the_top_names_every_exception_with_its_exit_code(kind: type[errors.GenesisError]) -> None:
    lines = [line for line in (errors.__doc__ or "").splitlines() if kind.__name__ in line.split("─")[-1].split()]
    assert lines, f"{kind.__name__} is missing from the drawing"
    drawn = next(int(word) for word in lines[0].split() if word.isdigit())
    assert drawn == kind.exit_code


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("x" * 5_000, "'" + "x" * 77 + "…'"),
        (list(range(5_000)), None),
        ({f"k{i}": i for i in range(500)}, None),
    ],
)
def test_a_long_bad_value_is_shortened_in_the_message(value: object, shown: str | None) -> None:
    """What came is recognised by its beginning; what is allowed and what to do stay in sight."""
    error = errors.ConfigError(f"run.seed: {value!r} is not a whole number; write seed: 1")
    assert len(str(error)) < 150
    assert str(error).startswith(f"run.seed: {value!r:.60}")
    assert str(error).endswith(" is not a whole number; write seed: 1")
    if shown is not None:
        assert shown in str(error)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # noqa: S301 - our own bytes


def test_long_paths_and_prose_are_left_alone() -> None:
    """A path is needed whole to find the file, and an apostrophe does not begin a value."""
    path = "/folder" * 30
    words = f"the study's file {path!r} and the run's, which is in one folder with all the others' files, isn't there"
    assert str(errors.ConfigError(words)) == words
