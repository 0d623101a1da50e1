"""Every Python block of the page on data runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "data.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)


def test_the_page_has_examples():
    assert len(BLOCKS) >= 2


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_a_block_runs(block):
    exec(compile(block, str(PAGE), "exec"), {})  # noqa: S102 - our own page


def test_the_page_shows_the_commands_options_as_they_are():
    from typer.main import get_command

    from genesis.commands.data import data

    text = PAGE.read_text(encoding="utf-8")
    for name, command in get_command(data).commands.items():  # type: ignore[attr-defined]
        assert f"genesis data {name}" in text
        for parameter in command.params:
            for option in parameter.opts:
                if option.startswith("--"):
                    assert option in text, f"{name} {option}"
