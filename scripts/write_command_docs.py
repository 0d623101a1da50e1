"""Write docs/commands.md from the commands themselves, so that the page cannot fall behind.

Run: python scripts/write_command_docs.py [--check]
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import typer

from genesis.cli import app

PAGE = Path(__file__).parents[1] / "docs" / "commands.md"
HEAD = """# Commands

`genesis --help` and `genesis COMMAND --help` say the same on a terminal; `genesis --install-completion` teaches your
shell to complete them. Exit codes: 0 success, 1 any other failure, 2 a study, flag or variable that cannot be used,
3 data, 4 a strategy, 5 the store, 6 a resume that does not match, 7 too many failed trials, 8 an optional package is
missing, 130 interrupted. This page is written by `scripts/write_command_docs.py`.
"""


def _parameter(parameter: Any) -> str:
    record = getattr(parameter, "help", None) or ""
    names = str(parameter.name).upper() if parameter.param_type_name == "argument" else None
    shown = names or ", ".join(parameter.opts + parameter.secondary_opts)
    required = " (required)" if parameter.required and names is None else ""
    return f"- `{shown}`{required}: {' '.join(record.split())}".rstrip(": ")


def _section(name: str, command: Any, depth: int) -> list[str]:
    lines = [f"{'#' * depth} {name}", "", (command.help or "").replace("\b\n", "").strip(), ""]
    shown = [p for p in command.params if not getattr(p, "hidden", False)]
    parameters = [p for p in shown if p.name not in {"help", "install_completion", "show_completion"}]
    if parameters:
        lines += [*(_parameter(p) for p in parameters), ""]
    for child_name, child in sorted(getattr(command, "commands", {}).items()):
        lines += _section(f"{name} {child_name}", child, depth + 1 if depth < 3 else depth)
    return lines


def page() -> str:
    """The whole page as Markdown."""
    root = typer.main.get_command(app)
    lines = [HEAD]
    for name, command in sorted(getattr(root, "commands", {}).items()):
        lines += _section(f"genesis {name}", command, 2)
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(PAGE.read_text(encoding="utf-8") != page())
    PAGE.write_text(page(), encoding="utf-8")
