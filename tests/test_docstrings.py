"""Every example in a docstring runs and says what it claims."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from pathlib import Path

import pytest

import genesis

MODULES = sorted(
    one.name for one in pkgutil.walk_packages(genesis.__path__, "genesis.") if not one.name.endswith("__main__")
)


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_in_a_module_hold(name: str, tmp_path: Path) -> None:
    """An example may use `folder`, an empty folder of its own."""
    failed, _ = doctest.testmod(importlib.import_module(name), extraglobs={"folder": tmp_path})
    assert failed == 0
