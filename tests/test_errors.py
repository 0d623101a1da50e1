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
