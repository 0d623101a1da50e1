"""What to type after a run: more trials where they help, and where to look for the fault where they do not."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from genesis.errors import RunFailedError

if TYPE_CHECKING:
    from genesis.run.result import Run


def say_what_next(run: Run, budget: int | None, page: Path | None, study: Path) -> None:
    """Print whether anything was run, the report's `page`, and the commands worth typing next.

    `budget` is the number of trials asked for, `study` the file to try again where nothing has a score.
    """
    lines = []
    if run.stop_reason == "interrupted":
        lines.append(f"Stopped. To go on: {typed()} resume {run.path}")
    elif run.stop_reason == "trials" and not run.summary.get("new_trials"):
        lines.append(_nothing_run(run.count, budget))
    if page is not None:
        lines.append(f"report:   {page}")
    print("\n".join([*lines, "next:", *(f"  {typed()} {words}" for words in _next(run, budget, page, study))]))  # noqa: T201


def _nothing_run(count: int, budget: int | None) -> str:
    if budget is not None and budget < count:
        return f"{budget:,} trials or more are kept already: {count:,} of them. Nothing was run."
    return f"Complete: all {count:,} trials were kept before, nothing was run."


def _next(run: Run, budget: int | None, page: Path | None, study: Path) -> list[str]:
    """The commands worth typing after a run, without the program's name."""
    best = run.top(1)
    if not best and run.count:  # more trials of the same would not have a score either
        first = int(run.store.history().numbers[0])
        return [f"show {run.path} --trial {first}", f"smoke {study}"]
    lines = []
    if run.stop_reason in ("trials", "seconds", "plateau"):
        extra = f" --max-trials {2 * max(budget or 0, run.count)}" if run.stop_reason == "trials" else ""
        lines.append(f"resume {run.path}{extra}")
    if best:
        lines.append(f"show {run.path} --trial {best[0].number}")
    if page is None:
        lines.append(f"report {run.path}")
    return [*lines, f"export {run.path} --optuna sqlite:///{run.run_id}.db"]


def typed() -> str:
    """How to type this program from here: `genesis`, or its path where the shell would not find it."""
    if shutil.which("genesis") is not None or Path(sys.argv[0]).name != "genesis":
        return "genesis"
    path = Path(sys.argv[0]).absolute()
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def with_remedy(error: RunFailedError, study: Path) -> RunFailedError:
    """The error of a run that too many failures stopped, with the commands that look for their cause."""
    from genesis.run.result import Run
    from genesis.trials.store import STATES

    run = Run(error.details["path"])
    history = run.store.history()
    failed = int(history.numbers[history.states == STATES.index("failed")][-1])
    run.close()
    return RunFailedError(
        f"{error.message}, `genesis show {run.path} --trial {failed}` shows a failure whole, `genesis smoke {study}` "
        "tries a few trials once its cause is mended",
        **error.details,
    )
