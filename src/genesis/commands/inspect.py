"""`genesis audit`, `smoke`, `report`, `compare` and `doctor`: look before, during and after a search."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated

import orjson
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from genesis.commands.guarded import guarded
from genesis.diagnose.findings import Finding

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of words.")]
StudyPath = Annotated[Path, typer.Argument(help="The study file.", metavar="STUDY")]
RunsDir = Annotated[Path, typer.Option("--runs-dir", help="Where runs are kept.")]
_STYLES = {"error": "bold red", "warning": "yellow", "info": "cyan", "ok": "green"}


def register(app: typer.Typer) -> None:
    """Add this group's commands to the application."""
    app.command("audit")(audit_command)
    app.command("smoke")(smoke_command)
    app.command("report")(report_command)
    app.command("compare")(compare_command)
    app.command("doctor")(doctor_command)


def audit_command(
    study: StudyPath,
    quick: Annotated[bool, typer.Option("--quick", help="Do not time two trials.")] = False,
    json: Json = False,
) -> None:
    """Check a study before it runs: space, budget, data, costs, and how long it will take.

    Each finding says what, why it matters, and the edit that mends it. Exit code 1 when there is an error.
    """
    from genesis.diagnose.audit import audit

    found = guarded(lambda: audit(study, timed=not quick), str(study))
    if json:
        _print_json(found.to_dict())
    else:
        _print_findings(found.findings)
        errors = sum(finding.severity == "error" for finding in found.findings)
        warnings = sum(finding.severity == "warning" for finding in found.findings)
        _say(f"{errors} error(s), {warnings} warning(s)" if errors or warnings else "Nothing stands in the way.")
    if not found.ok:
        raise typer.Exit(1)


def smoke_command(
    study: StudyPath,
    trials: Annotated[int, typer.Option(min=2, max=5, help="How many trials to run.")] = 3,
    json: Json = False,
) -> None:
    """Run 2 to 5 trials and keep nothing: does any trade, which gates block, how long is one?

    Exit code 1 when the study is not healthy: no trial traded, no trial has a score, a trial failed, or the strategy
    looks ahead.
    """
    from genesis.diagnose.explain import flatten, shown
    from genesis.diagnose.smoke import smoke
    from genesis.diagnose.zero_trades import gate_counts

    found = guarded(lambda: smoke(study, trials=trials), str(study))
    if json:
        _print_json(found.to_dict())
    else:
        table = Table(box=None, pad_edge=False)
        for name in ("trial", "state", "trades", "score", "ms", "gates that blocked bars", "parameters"):
            table.add_column(name, overflow="fold")
        for result, seconds in zip(found.results, found.seconds, strict=True):
            gates = ", ".join(f"{gate} {bars:,}" for gate, bars in list(gate_counts([result]).items())[:4])
            table.add_row(
                str(result.number),
                result.state,
                shown(result.metrics.get("trades", "–")),
                "–" if result.score is None else shown(result.score),
                f"{seconds * 1e3:.1f}",
                Text(gates or "–"),
                Text(" ".join(f"{path}={shown(value)}" for path, value in flatten(result.params).items())),
            )
        _console().print(table)
        _print_findings(found.findings)
        _say("Healthy: the study can be searched." if found.healthy else "Not healthy: see above.")
    if not found.healthy:
        raise typer.Exit(1)


def report_command(
    run: Annotated[str, typer.Argument(help="A run folder, or the name of a run.", metavar="RUN")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where to write; default RUN/report.html.")
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Write it again while the run goes; Ctrl-C stops.")] = False,
    every: Annotated[float, typer.Option(min=1.0, help="Seconds between refreshes with --watch.")] = 10.0,
    runs_dir: RunsDir = Path("runs"),
    json: Json = False,
) -> None:
    """Write the report of a run as one HTML file that opens from disk; the run may still be going."""
    from genesis.report.html import write_report
    from genesis.run.result import open_run

    folder = open_run(run, runs_dir=runs_dir).path
    if watch:
        _watch(folder, output, every)
        return
    path = write_report(folder, output=output)
    if json:
        _print_json({"path": str(path), "bytes": path.stat().st_size})
    else:
        _say(str(path))


def _watch(folder: Path, output: Path | None, every: float) -> None:
    from genesis.report.html import write_report
    from genesis.run.result import open_run

    seen = -1
    try:
        while True:
            run = open_run(folder)
            count = run.count
            ended = run.summary.get("trials") == count  # an earlier session's summary counts fewer
            run.close()
            if count != seen:
                path = write_report(folder, output=output, refresh=None if ended else max(2, round(every)))
                _say(f"{path}  {count:,} trials")
            if ended and count == seen:
                write_report(folder, output=output)
                return
            seen = count
            time.sleep(every)
    except KeyboardInterrupt:
        write_report(folder, output=output)


def compare_command(
    runs: Annotated[list[str], typer.Argument(help="Two or more run folders or names.", metavar="RUN RUN…")],
    runs_dir: RunsDir = Path("runs"),
    json: Json = False,
) -> None:
    """Put runs side by side: what differed in the studies, and what came out (in sample → out of sample)."""
    from genesis.report.compare import compare
    from genesis.run.result import open_run

    found = compare([open_run(run, runs_dir=runs_dir).path for run in runs])
    if json:
        _print_json(found.to_dict())
        return
    console = _console()
    for title, rows in (("Outcomes", found.outcomes), ("Differences between the studies", found.differences)):
        table = Table(title=title, title_justify="left", box=None, pad_edge=False)
        table.add_column("")
        for name in found.names:
            table.add_column(Text(name), overflow="fold", justify="right")
        for label, cells in rows:
            table.add_row(Text(label), *(Text(cell) for cell in cells))
        if rows:
            console.print(table)
        else:
            console.print(f"{title}: none")


def doctor_command(
    run: Annotated[str | None, typer.Argument(help="A run folder or name to check too.", metavar="[RUN]")] = None,
    runs_dir: RunsDir = Path("runs"),
    json: Json = False,
) -> None:
    """Check the installation, and a run folder if given: versions, caches, permissions, disk, WAL, integrity.

    Exit code 1 when a check fails.
    """
    from genesis.diagnose.doctor import check_installation, check_run, healthy

    checks = check_installation()
    if run is not None:
        folder = Path(run) if Path(run).is_dir() else runs_dir / run
        checks += check_run(folder)
    if json:
        _print_json({"healthy": healthy(checks), "checks": [check.to_dict() for check in checks]})
    else:
        table = Table(box=None, pad_edge=False, show_header=False)
        for check in checks:
            words = check.found + (f"\ndo: {check.remedy}" if check.remedy else "")
            table.add_row(Text(check.name), Text(check.state, style=_STYLES[check.state]), Text(words, overflow="fold"))
        _console().print(table)
    if not healthy(checks):
        raise typer.Exit(1)


def _console() -> Console:
    return Console(highlight=False, width=None if sys.stdout.isatty() else 160)


def _say(words: str) -> None:
    typer.echo(words)


def _print_json(value: object) -> None:
    typer.echo(orjson.dumps(value, default=str, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY).decode())


def _print_findings(findings: list[Finding]) -> None:
    console = _console()
    for finding in findings:
        console.print(Text(f"{finding.severity}: {finding.what}", style=_STYLES[finding.severity]))
        if finding.severity != "info":
            console.print(Text(f"  why: {finding.why}"))
            console.print(Text(f"  do:  {finding.edit}"))
        elif finding.edit != "nothing to mend":
            console.print(Text(f"  {finding.why}", style="dim"))
