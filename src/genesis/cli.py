"""The `genesis` command: registers each group of commands and turns errors into messages and exit codes."""

from __future__ import annotations

import importlib
import sys

import typer

from genesis.errors import GenesisError

app = typer.Typer(
    name="genesis",
    help="Search a trading strategy's parameters: each set backtested once, kept durably, judged honestly.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

_GROUPS = ("run", "inspect", "strategy", "data", "trials")

for _group in _GROUPS:
    importlib.import_module(f"genesis.commands.{_group}").register(app)


def main() -> None:
    """Run the command line; a `GenesisError` becomes one message on stderr and its branch's exit code."""
    try:
        app()
    except GenesisError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - the one place that speaks to stderr
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)  # noqa: T201
        sys.exit(130)
