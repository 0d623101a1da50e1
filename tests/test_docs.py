"""The documentation says what the program does: commands, links and pages."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from genesis.cli import app

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def _commands(command: object, name: str = "genesis") -> list[tuple[str, object]]:
    children = getattr(command, "commands", {})
    return [(name, command), *(row for key, child in children.items() for row in _commands(child, f"{name} {key}"))]


COMMANDS = _commands(typer.main.get_command(app))


@pytest.mark.parametrize(("name", "command"), COMMANDS, ids=[name for name, _ in COMMANDS])
def test_every_command_and_every_option_explains_itself(name: str, command: object) -> None:
    assert (getattr(command, "help", None) or "").strip(), f"{name} has no help"
    for parameter in getattr(command, "params", []):
        if parameter.name not in {"help", "install_completion", "show_completion"}:
            assert (getattr(parameter, "help", None) or "").strip(), f"{name}: {parameter.name} has no help"


def test_the_page_of_commands_is_written_from_the_commands() -> None:
    script = ROOT / "scripts" / "write_command_docs.py"
    done = subprocess.run([sys.executable, str(script), "--check"], check=False)
    assert done.returncode == 0, "run: python scripts/write_command_docs.py"


@pytest.mark.parametrize("page", PAGES, ids=[str(p.relative_to(ROOT)) for p in PAGES])
def test_every_link_within_the_project_leads_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
        if "://" not in target and not target.startswith("mailto:"):
            assert (page.parent / target).exists(), f"{page.name}: {target} does not exist"


def test_every_page_is_in_the_sites_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    missing = [p for p in (ROOT / "docs").rglob("*.md") if str(p.relative_to(ROOT / "docs")) not in navigation]
    assert not missing


def test_every_benchmark_can_be_called_by_its_command() -> None:
    """`python -m benchmarks` calls each one's `main(quick)`."""
    found = sorted((ROOT / "benchmarks").glob("bench_*.py"))
    assert len(found) >= 4
    for path in found:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        (main,) = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "main"]
        assert main.args.args, path.name
        assert main.args.args[0].arg == "quick", path.name
        assert len(main.args.args) - 1 <= len(main.args.defaults), path.name
