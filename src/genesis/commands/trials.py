"""`genesis import` and `genesis bench`: trials of older optimizers, and how fast this machine keeps trials."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from genesis.errors import ConfigError
from genesis.sections import RUN_ID

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")]


def register(app: typer.Typer) -> None:
    """Add this group's commands to the application."""
    app.command("import")(import_)
    app.command()(bench)


def import_(
    source: Annotated[
        str, typer.Argument(help="A folder of trial_*.json files, or an Optuna study: URL#STUDY.", show_default=False)
    ],
    run_id: Annotated[
        str | None, typer.Option(help="Name of the new run; the folder's or the study's if left out.")
    ] = None,
    runs_dir: Annotated[
        Path, typer.Option("--runs-dir", help="Folder in which runs are kept, one folder each.")
    ] = Path("runs"),
    runs: Annotated[Path | None, typer.Option("--runs", hidden=True, help="The former name of --runs-dir.")] = None,
    as_json: Json = False,
) -> None:
    """Make a run of the trials that an older optimizer left as trial_*.json files, or of an Optuna study.

    The study is sqlite:///FILE#STUDY, postgresql://…#STUDY or journal:FILE#STUDY; a value that was minimized becomes a
    score with its sign changed. What is imported is only read, never changed. What cannot be used is named with its
    reason, and the rest is imported. The scores are taken as they are.
    """
    from genesis.trials.importing import import_folder

    runs = runs_dir if runs is None else runs
    if "#" in source and not Path(source).is_dir():
        from genesis.run.mirror_import import import_study, split_source

        name = _run_name(run_id or split_source(source)[1])
        report = import_study(source, runs / name)
    elif "://" in source or (source.startswith("journal:") and not Path(source).is_dir()):
        raise ConfigError(f"import: {source!r} names a storage and no study in it; write {source}#STUDY")
    else:
        name = _run_name(run_id or Path(source).resolve().name)
        report = import_folder(source, runs / name)
    if as_json:
        refused = [{"file": each.name, "reason": each.reason} for each in report.refused]
        typer.echo(json.dumps({"run": str(report.run_dir), "imported": report.imported, "refused": refused}, indent=2))
        return
    typer.echo(f"{report.imported} trials imported into {report.run_dir}")
    if report.refused:
        typer.echo(f"{len(report.refused)} refused:")
    for each in report.refused:
        typer.echo(f"  {each.name}: {each.reason}")
    if report.refused:
        typer.echo("to have them too, correct them where they are and import again with another --run-id")
    typer.echo(f"next: genesis show {report.run_dir}")


def _run_name(name: str) -> str:
    if not RUN_ID.fullmatch(name):
        raise ConfigError(f"import: {name!r} cannot be a run's name; give one of letters and digits with --run-id NAME")
    return name


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
