"""A run as it goes: a panel on a terminal, lines in a log, JSON for machines, the same facts in a notebook."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from html import escape
from time import monotonic
from types import TracebackType
from typing import Any, Literal, Self, TextIO

import orjson
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from genesis.config import StudyConfig
from genesis.diagnose.findings import Finding
from genesis.diagnose.warnings import Watcher, diagnose_loading
from genesis.report.terminal import facts, line, sparkline
from genesis.run.events import ProgressEvent
from genesis.types import TrialResult

Mode = Literal["auto", "live", "log", "json", "notebook", "quiet"]


class Display(AbstractContextManager["Display"]):
    """A watcher of a run: call it with events, tell it warnings, and leave its context to tidy the screen."""

    def __call__(self, event: ProgressEvent) -> None:
        """Show one snapshot."""

    def warn(self, finding: Finding) -> None:
        """Show one warning; the run says each only once."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


class LogLines(Display):
    """One line per `every` seconds and at each change of phase, for pipes and log files."""

    def __init__(self, stream: TextIO | None = None, *, every: float = 5.0) -> None:
        self._stream, self._every = stream or sys.stderr, every
        self._last, self._phase = -math.inf, ""

    def __call__(self, event: ProgressEvent) -> None:
        """Show one snapshot."""
        now = monotonic()
        if event.phase == self._phase and now - self._last < self._every:
            return
        self._last, self._phase = now, event.phase
        self._write(line(event))

    def warn(self, finding: Finding) -> None:
        """Show one warning."""
        self._write(finding.text())

    def _write(self, words: str) -> None:
        self._stream.write(words + "\n")
        self._stream.flush()


class JsonLines(Display):
    """Every event and warning as one JSON object a line, with `kind` "progress" or "warning"."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout

    def __call__(self, event: ProgressEvent) -> None:
        """Show one snapshot."""
        self._write({"kind": "progress"} | asdict(event))

    def warn(self, finding: Finding) -> None:
        """Show one warning."""
        self._write({"kind": "warning"} | finding.to_dict())

    def _write(self, values: Mapping[str, Any]) -> None:
        packed = orjson.dumps(values, default=str, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY)
        self._stream.write(packed.decode() + "\n")
        self._stream.flush()


class LivePanel(Display):
    """A panel redrawn in place; warnings stay above it."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)
        self._live = Live(console=self._console, refresh_per_second=4, transient=False, auto_refresh=False)
        self._scores: list[float] = []

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def __call__(self, event: ProgressEvent) -> None:
        """Show one snapshot."""
        if event.best_score is not None:
            self._scores.append(event.best_score)
            if len(self._scores) > 4_000:  # a day at the loop's pace; thin evenly, keep the shape
                self._scores = self._scores[::2]
        self._live.update(panel(event, self._scores), refresh=True)

    def warn(self, finding: Finding) -> None:
        """Show one warning."""
        style = {"error": "bold red", "warning": "yellow", "info": "cyan"}[finding.severity]
        self._console.print(Text(finding.text(), style=style))


def panel(event: ProgressEvent, scores: list[float]) -> RenderableType:
    """The panel of one event; `scores` are the best scores so far, oldest first."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for label, words in facts(event):
        table.add_row(Text(label), Text(words))
    if len(scores) > 1:
        table.add_row(Text("best so far"), Text(sparkline(scores), style="green"))
    parts: list[RenderableType] = [table]
    if event.total:
        bar = ProgressBar(total=event.total, completed=min(event.done, event.total))
        parts.insert(0, Padding(bar, (0, 0, 1, 0)))  # the bar itself ends without a line break
    title = Text(f"{event.run_id} · {event.phase}")
    if event.stop_reason:
        title.append(f" ({event.stop_reason})")
    return Panel(Group(*parts), title=title, title_align="left")


class Notebook(Display):
    """The same facts as an HTML table that a notebook updates in place."""

    def __init__(self) -> None:
        from IPython.display import HTML, display  # optional: only there when a notebook runs us

        make: Any = HTML
        self._html: Any = make
        show: Any = display
        self._handle: Any = show(self._html(""), display_id=True)
        self._scores: list[float] = []
        self._warnings: list[Finding] = []

    def __call__(self, event: ProgressEvent) -> None:
        """Show one snapshot."""
        if event.best_score is not None:
            self._scores.append(event.best_score)
        self._handle.update(self._html(notebook_html(event, self._scores, self._warnings)))

    def warn(self, finding: Finding) -> None:
        """Show one warning."""
        self._warnings.append(finding)


def notebook_html(event: ProgressEvent, scores: list[float], warnings: list[Finding]) -> str:
    """An event as an escaped HTML fragment."""
    rows = "".join(
        f'<tr><th scope="row" style="text-align:left">{escape(label)}</th>'
        f'<td style="text-align:left">{escape(words)}</td></tr>'
        for label, words in facts(event)
    )
    if len(scores) > 1:
        rows += f'<tr><th scope="row" style="text-align:left">best so far</th><td>{sparkline(scores)}</td></tr>'
    told = "".join(
        f"<p><b>{escape(item.severity)}</b>: {escape(item.what)}. {escape(item.edit)}</p>" for item in warnings
    )
    caption = f"{escape(event.run_id)} · {escape(event.phase)}"
    return f"<table><caption>{caption}</caption>{rows}</table>{told}"


class Watched(Display):
    """A display that is also told the study's warnings, each once, as results are kept.

    Give it to `optimize(progress=...)`: the loop calls it with events and calls `keep` with results.
    """

    def __init__(self, display: Display, config: StudyConfig) -> None:
        self._display = display
        budget = config.run.max_trials or 0
        self._watcher = Watcher(config.space, concurrency=config.concurrency, budget=budget)
        self.warnings: list[Finding] = []

    def __enter__(self) -> Self:
        self._display.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._display.__exit__(kind, error, trace)

    def __call__(self, event: ProgressEvent) -> None:
        """Show one snapshot, and what its counts of repeats give reason to say."""
        self._tell(self._watcher.observe([], duplicates=event.duplicates, earlier=event.resumed))
        self._display(event)

    def loaded(self, trials: int, seconds: float) -> None:
        """Take in how long the stored trials of earlier sessions took to load."""
        slow = diagnose_loading(trials, seconds)
        if slow is not None:
            self.warn(slow)

    def mirror_behind(self, words: str) -> None:
        """Take in that the run's mirror fell behind."""
        why = "its Optuna storage refuses or cannot be reached; the search does not wait for it"
        self.warn(Finding("mirror", "warning", words, why, "later: genesis export RUN --optuna URL catches up"))

    def keep(self, results: Sequence[TrialResult]) -> None:
        """Take in results that were kept."""
        self._tell(self._watcher.observe(results))

    def warn(self, finding: Finding) -> None:
        """Show one warning."""
        self.warnings.append(finding)
        self._display.warn(finding)

    def _tell(self, findings: list[Finding]) -> None:
        for finding in findings:
            self.warn(finding)


def in_notebook() -> bool:
    """Whether a Jupyter kernel is running this process."""
    shell = sys.modules.get("IPython")
    if shell is None:
        return False
    current = shell.get_ipython()
    return current is not None and type(current).__name__ == "ZMQInteractiveShell"


def make_display(
    mode: Mode = "auto",
    *,
    config: StudyConfig | None = None,
    console: Console | None = None,
    stream: TextIO | None = None,
) -> Display:
    """The display for where we are: a notebook, a terminal, or a pipe; with `config`, it also tells warnings.

    `auto` picks; "live", "log", "json" (`--json-lines`), "notebook" and "quiet" force one.
    """
    if mode == "auto":
        interactive = console.is_terminal if console is not None else sys.stderr.isatty()
        mode = "notebook" if in_notebook() else "live" if interactive else "log"
    kinds: dict[str, Callable[[], Display]] = {
        "live": lambda: LivePanel(console),
        "log": lambda: LogLines(stream),
        "json": lambda: JsonLines(stream),
        "notebook": Notebook,
        "quiet": Display,
    }
    display = kinds[mode]()
    return display if config is None else Watched(display, config)
