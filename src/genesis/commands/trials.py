"""`genesis import` and `genesis bench`: trials of older optimizers, and how fast this machine keeps trials."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]


def register(app: typer.Typer) -> None:
    """Add this group's commands to the application."""
    app.command("import")(import_)
    app.command()(bench)


def import_(
    folder: Annotated[Path, typer.Argument(help="A folder of trial_*.json files.", show_default=False)],
    run_id: Annotated[str | None, typer.Option(help="Name of the new run; the folder's if left out.")] = None,
    runs: Annotated[Path, typer.Option(help="Folder that holds the runs.")] = Path("runs"),
    as_json: Json = False,
) -> None:
    """Make a run of the trials that an older optimizer left as trial_*.json files.

    The files are read several at a time and never changed. One that cannot be used is named with its reason, and the
    others are imported. The scores are taken as they are.
    """
    from genesis.trials.importing import import_folder

    name = run_id or folder.resolve().name
    report = import_folder(folder, runs / name)
    if as_json:
        refused = [{"file": each.name, "reason": each.reason} for each in report.refused]
        typer.echo(json.dumps({"run": str(report.run_dir), "imported": report.imported, "refused": refused}, indent=2))
        return
    typer.echo(f"{report.imported} trials imported into {report.run_dir}")
    if report.refused:
        typer.echo(f"{len(report.refused)} files refused:")
    for each in report.refused:
        typer.echo(f"  {each.name}: {each.reason}")
    typer.echo(f"next: genesis show {report.run_dir}")


def bench(
    trials: Annotated[int, typer.Option(min=100, max=1_000_000, help="How many trials to identify and keep.")] = 10_000,
    as_json: Json = False,
) -> None:
    """Print the guide's benchmark for this machine, then how fast it keeps trials and opens them again.

    Against the guide's own algorithm: python scripts/benchmark_optuna_performance.py, in the repository.
    """
    from genesis.diagnose.bench import guide_figures, measure

    guide, figures = guide_figures(), measure(trials)
    if as_json:
        typer.echo(json.dumps(figures | {"guide": guide}, indent=2))
        return
    for title, fields in guide.items():
        typer.echo("\n".join([f"{title}:", *(f"  {name}: {value:,}" for name, value in fields.items()), ""]))
    for name, value in figures.items():
        typer.echo(
            f"{name:<28} {value:>14,.0f}" if isinstance(value, float) and value >= 100 else f"{name:<28} {value:>14}"
        )
