"""`genesis run`, `resume`, `show`, `list`, `export` and `demo`: search, go on, look, pass on."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
import yaml

from genesis.commands.following import say_what_next, with_remedy
from genesis.commands.guarded import guarded
from genesis.commands.imported import refuse_imported
from genesis.commands.writing import written
from genesis.errors import ConfigError, RunFailedError, StoreError, StrategyError

if TYPE_CHECKING:
    from genesis.config import StudyConfig
    from genesis.run.result import Run

EXIT_CODES = (
    "Exit codes: 0 done, 2 the study cannot be used, 3 bars, 4 the strategy, 5 the store (another process holds the "
    "run, say), 6 the stored run is of another study, 7 too many trials failed, 8 an optional package is missing, "
    "130 stopped by Ctrl-C or SIGTERM after a clean end."
)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout; progress goes to stderr.")]
Workers = Annotated[
    int | None,
    typer.Option("--workers", "-w", min=0, help="Processes; the cores there are if left out, 0: none but this one."),
]
MaxTrials = Annotated[int | None, typer.Option("--max-trials", min=1, help="Trials to keep in all.")]
Seconds = Annotated[float | None, typer.Option("--seconds", min=0.0, help="End this session after so long.")]
RunsDir = Annotated[Path, typer.Option("--runs-dir", help="Folder in which runs are kept, one folder each.")]
ProgressMode = Annotated[
    Literal["auto", "live", "log", "json", "quiet"],
    typer.Option("--progress", help="live: a panel; log: lines; json: one object a line; auto: by where we are."),
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", help="Override a setting of the study: --set run.patience=300 (may be repeated)."),
]
Dask = Annotated[
    str | None,
    typer.Option("--dask", help="Address of a Dask scheduler whose workers run the trials.", show_default=False),
]
MirrorUrl = Annotated[
    str | None,
    typer.Option(
        "--mirror",
        help="Optuna storage that gets the trials meanwhile: sqlite:///FILE, postgresql://…, journal:FILE.",
        show_default=False,
    ),
]
RunName = Annotated[str, typer.Argument(metavar="RUN", help="A run's folder, or its run_id.", show_default=False)]


def register(app: typer.Typer) -> None:
    """Add this group's commands to the application."""
    app.command("run", epilog=EXIT_CODES)(run_command)
    app.command("resume", epilog=EXIT_CODES)(resume_command)
    app.command("show")(show_command)
    app.command("list")(list_command)
    app.command("export")(export_command)
    app.command("demo", epilog=EXIT_CODES)(demo_command)


def run_command(
    study: Annotated[Path, typer.Argument(help="The study file (YAML).", show_default=False)],
    workers: Workers = None,
    max_trials: MaxTrials = None,
    seconds: Seconds = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of the study.")] = None,
    run_id: Annotated[str | None, typer.Option("--run-id", help="Name of the run and of its folder.")] = None,
    sampler: Annotated[str | None, typer.Option(help="Sampler by name: tpe, auto, cmaes, random, grid, …")] = None,
    settings: Set = None,
    dask: Dask = None,
    mirror: MirrorUrl = None,
    runs_dir: RunsDir = Path("runs"),
    progress: ProgressMode = "auto",
    as_json: Json = False,
) -> None:
    """Search a study's parameters; a run of the same name goes on where it stopped.

    The number of workers changes the speed and nothing else: the same seed gives the same trials and scores. Ctrl-C
    ends the search cleanly; typed again, it loses nothing. Flags win over GENESIS_* variables, those over the file.
    """
    flags: dict[str, Any] = {
        "run.max_trials": max_trials,
        "run.timeout_seconds": seconds,
        "run.seed": seed,
        "run.run_id": run_id,
        "run.sampler.type": sampler,
        "run.mirror": mirror,
        **_settings(settings),
    }
    _search(study, flags, workers=workers, runs_dir=runs_dir, progress=progress, as_json=as_json, dask=dask)


def resume_command(
    run: RunName,
    workers: Workers = None,
    max_trials: MaxTrials = None,
    seconds: Seconds = None,
    settings: Set = None,
    dask: Dask = None,
    mirror: MirrorUrl = None,
    runs_dir: RunsDir = Path("runs"),
    progress: ProgressMode = "auto",
    as_json: Json = False,
) -> None:
    """Go on with a run from its own folder, with a larger budget if you like.

    A larger --max-trials later gives the trials that it would have given at once.
    """
    from genesis.run.result import open_run

    kept = open_run(run, runs_dir=runs_dir)
    refuse_imported(kept, "resume")
    flags = {
        "run.max_trials": max_trials,
        "run.timeout_seconds": seconds,
        "run.run_id": kept.path.name,
        "run.mirror": mirror,
        **_settings(settings),
    }
    kept.close()
    _search(
        kept.path / "study.yaml",
        flags,
        workers=workers,
        runs_dir=kept.path.parent,
        progress=progress,
        as_json=as_json,
        dask=dask,
    )


def show_command(
    run: RunName,
    trial: Annotated[int | None, typer.Option(help="Show one trial: its score, why, and what it traded.")] = None,
    why: Annotated[
        bool, typer.Option("--why", help="Say why it stopped, what came of it, and what stood in the way.")
    ] = False,
    top: Annotated[int, typer.Option(min=1, help="How many of the best trials.")] = 10,
    runs_dir: RunsDir = Path("runs"),
    as_json: Json = False,
) -> None:
    """Show a run: its best trials with the holdout beside them, what was tried, where the time went.

    Works while the run goes on, from another terminal.
    """
    from genesis.commands import run_tables as tables
    from genesis.run.result import open_run

    kept = open_run(run, runs_dir=runs_dir)
    if why:
        from genesis.report.why import explain_run

        explained = explain_run(kept.path)
        if as_json:
            tables.print_json(explained.to_dict())
        else:
            print(explained.text())  # noqa: T201 - a command prints
    elif trial is not None:
        if as_json:
            judged = [row for row in kept.holdout if row["number"] == trial]
            more = {name: value for row in judged for name, value in row.items() if name.startswith("holdout_")}
            tables.print_json(tables.trial_document(kept.trial(trial)) | more)
            return
        from genesis.report.why import explain_one

        print(explain_one(kept.path, trial).text())  # noqa: T201 - a command prints
    elif as_json:
        tables.print_json(tables.run_document(kept, top=top))
    else:
        tables.print_run(kept, _console(), top=top)


def list_command(runs_dir: RunsDir = Path("runs"), as_json: Json = False) -> None:
    """List the runs that are kept."""
    from genesis.commands import run_tables as tables
    from genesis.run.result import list_runs

    runs = list_runs(runs_dir)
    if as_json:
        tables.print_json([tables.run_line(one) for one in runs])
    elif runs:
        _console().print(tables.runs_table(runs))
    else:
        print(f"no runs in {runs_dir}; `genesis demo` or `genesis run study.yaml` makes one")  # noqa: T201


def export_command(
    run: RunName,
    optuna: Annotated[
        str | None,
        typer.Option(help="Optuna storage: sqlite:///FILE, postgresql://…, journal:FILE.", show_default=False),
    ] = None,
    csv: Annotated[Path | None, typer.Option(help="Write the trials as a CSV file.", show_default=False)] = None,
    parquet: Annotated[
        Path | None, typer.Option(help="Write the trials as a Parquet file.", show_default=False)
    ] = None,
    best: Annotated[
        int | None, typer.Option(min=1, help="Into Optuna only the best N and as many spread evenly over the rest.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the Optuna study; the run_id if left out.")] = None,
    runs_dir: RunsDir = Path("runs"),
    as_json: Json = False,
) -> None:
    """Pass a run on: into an Optuna storage, for optuna-dashboard and Optuna's plots, or as a table.

    Exporting to Optuna again adds the trials that are new. optuna-dashboard takes seconds to open 10,000 trials; with
    --best 500 it gets a study of at most 1,000.
    """
    from genesis.commands import run_tables as tables
    from genesis.run.mirror import export_optuna
    from genesis.run.mirror_live import hidden
    from genesis.run.result import open_run

    kept = open_run(run, runs_dir=runs_dir)
    if optuna is None and csv is None and parquet is None:
        raise ConfigError("export: nothing to write to; give --optuna URL, --csv FILE or --parquet FILE")
    if best is not None and optuna is None:
        raise ConfigError("export --best: a table takes all trials; leave --best out, or give --optuna URL too")
    done: dict[str, Any] = {"run_id": kept.run_id}
    if optuna is not None:
        done["optuna"] = {
            "url": hidden(optuna),
            "study": name or kept.run_id,
            "added": export_optuna(kept, optuna, name, best),
        }
    for kind, file in (("csv", csv), ("parquet", parquet)):
        if file is not None:
            with written(file):
                getattr(kept.trials(), f"to_{kind}")(file, index=False)
            done[kind] = str(file)
    if as_json:
        tables.print_json(done)
        return
    if optuna is not None:
        print(f"{done['optuna']['added']:,} trials added to the study {done['optuna']['study']!r} in {hidden(optuna)}")  # noqa: T201
    for file in (csv, parquet):
        if file is not None:
            print(f"{kept.count:,} trials written to {file}")  # noqa: T201


def demo_command(
    workers: Workers = None,
    max_trials: MaxTrials = None,
    runs_dir: RunsDir = Path("runs"),
    progress: ProgressMode = "auto",
    as_json: Json = False,
) -> None:
    """Search the bundled example: the fibonacci strategy on real IBM bars, judged on two years it never saw.

    Typed again, it goes on where it stopped, or says that it is complete and how to extend it.
    """
    with as_file(files("genesis.examples") / "demo.yaml") as study:
        _search(
            study,
            {"run.max_trials": max_trials},
            workers=workers,
            runs_dir=runs_dir,
            progress=progress,
            as_json=as_json,
            report=True,
        )


def _search(
    study: Path,
    flags: Mapping[str, Any],
    *,
    workers: int | None,
    runs_dir: Path,
    progress: Literal["auto", "live", "log", "json", "quiet"],
    as_json: bool,
    report: bool = False,
    dask: str | None = None,
) -> None:
    """Run, print what came of it and what to type next; interrupted exits with 130, every trial failed with 7."""
    from genesis.commands import run_tables as tables
    from genesis.config import load_study
    from genesis.report.live import make_display
    from genesis.run.study import optimize

    config = load_study(study, flags=flags)
    _refuse_imported(runs_dir / config.run.run_id)

    def advise() -> None:
        if as_json and workers != 0:  # without workers a strategy that ends its process would end the command unsaid
            return
        warnings = _warnings(config, workers)
        for words in () if as_json else (*(f"note: {note}" for note in config.notes), *warnings):
            print(words, file=sys.stderr)  # noqa: T201

    with make_display(progress, config=config) as display:
        try:
            run = optimize(
                config,
                workers=workers,
                progress=_Advised(display, advise),
                runs_dir=runs_dir,
                executor=_on_dask(dask) if dask else None,
            )
        except RunFailedError as error:
            if "path" not in error.details:
                raise
            raise with_remedy(error, study) from error
    page = _report(run) if report and run.stop_reason != "interrupted" else None
    if as_json:
        tables.print_json(tables.run_document(run) | {"report": str(page) if page else None})
    else:
        tables.print_run(run, _console())
        say_what_next(run, config.run.max_trials, page, study)
    if run.stop_reason == "interrupted":
        raise typer.Exit(130)
    if run.count and run.states()["failed"] == run.count:
        print(f"error: all {run.count:,} trials failed; genesis show {run.path} --trial 0 says how", file=sys.stderr)  # noqa: T201
        raise typer.Exit(RunFailedError.exit_code)


def _warnings(config: StudyConfig, workers: int | None) -> list[str]:
    """What the audit warns of. It calls an author's strategy, which may end the process: workers go on without it."""
    from genesis.diagnose.audit import brief_audit
    from genesis.strategy.loading import BUILT_IN

    if config.strategy is None or config.strategy in BUILT_IN:
        return brief_audit(config)
    try:
        return guarded(lambda: brief_audit(config), str(config.strategy))
    except StrategyError as error:
        if workers == 0:
            raise
        return [f"warning: {error}"]


def _refuse_imported(run_dir: Path) -> None:
    """Refuse a run of that name that was imported; a store that cannot be read is left to the run."""
    from genesis.run.result import Run

    if not (run_dir / "run.db").is_file():
        return
    with suppress(StoreError):
        kept = Run(run_dir)
        try:
            refuse_imported(kept, "run")
        finally:
            kept.close()


class _Advised:
    """A display before whose first event the advice is given: a run that cannot begin says only why."""

    def __init__(self, display: Any, advise: Callable[[], None]) -> None:
        self._display = display
        self._advise: Callable[[], None] | None = advise

    def __call__(self, event: Any) -> None:
        if self._advise is not None:
            advise, self._advise = self._advise, None
            advise()
        self._display(event)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._display, name)


def _on_dask(address: str) -> Callable[[Any], Any]:
    from genesis.run.dask import DaskExecutor

    return lambda evaluator: DaskExecutor(evaluator, address)


def _report(run: Run) -> Path:
    """The run's page; where nothing was run since it was written, the page there is."""
    page = run.path / "report.html"
    if page.is_file() and not run.summary.get("new_trials"):
        run.close()  # a reader's empty files beside the store go
        kept = [file.stat() for name in ("run.db", "run.db-wal") if (file := run.path / name).is_file()]
        if page.stat().st_mtime > max(one.st_mtime for one in kept if one.st_size):
            return page
    from genesis.report.html import write_report

    return Path(write_report(run.path))


def _settings(texts: list[str] | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for text in texts or ():
        path, equals, value = text.partition("=")
        if not equals or not path:
            raise ConfigError(f"--set {text!r}: write --set PATH=VALUE, for example --set run.patience=300")
        try:
            found[path] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ConfigError(f"--set {text!r}: the value is not YAML ({error})") from error
    return found


def _console() -> Any:
    from rich.console import Console

    console = Console()
    return console if console.is_terminal else Console(width=140)
