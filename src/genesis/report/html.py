"""The report of a run: one HTML file that needs nothing else, made from the store alone."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import os
import platform
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from importlib import metadata, resources
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from genesis import __version__
from genesis.diagnose.causes import find_cause
from genesis.diagnose.explain import flatten
from genesis.diagnose.findings import Finding, by_severity
from genesis.diagnose.warnings import review_ledger
from genesis.errors import StoreError
from genesis.report import figures, trading
from genesis.report.facts import counting, known, metric_words, objective_words, outcomes, tiles, windows
from genesis.report.figures import Figure
from genesis.report.plateau import find_plateau
from genesis.report.replay import Luck, Replay, curve, joined, luck, marks, out_of_sample, replay, returns_without_costs
from genesis.report.source import RunData, read_run
from genesis.report.tables import Ledger, trial_table
from genesis.report.verdict import Evidence, Verdict, judge

SLICES = 12
STATIC_ROWS, STATIC_COLUMNS = 20, 12


def write_report(
    run_dir: str | os.PathLike[str], *, output: str | os.PathLike[str] | None = None, refresh: int | None = None
) -> Path:
    """Write `report.html` of a run (finished or going) into its folder, or to `output`, and return its path.

    `refresh` makes the page load itself again after so many seconds. The file appears whole or not at all. Raises
    `StoreError` when there is no run, or the page cannot be written where it is wanted.
    """
    run = read_run(run_dir)
    path = Path(output) if output is not None else run.path / "report.html"
    if path.exists() and not path.is_file():
        raise StoreError(f"{path} is not a file; name a file to write the report to, such as report.html")
    page = render(run, refresh=refresh).encode()
    try:
        _place(page, path)
    except OSError as exc:
        remedy = "free space or name another file" if path.parent.is_dir() else f"make the folder {path.parent} first"
        raise StoreError(f"{path}: the report cannot be written ({exc.strerror or exc}); {remedy}") from exc
    return path


def _place(page: bytes, path: Path) -> None:
    """The file whole or not at all: written beside its place, then moved there."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".report-", suffix=".html")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(page)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def render(run: RunData, *, refresh: int | None = None) -> str:
    """The whole page as text."""
    ledger = run.ledger
    played = replay(run)
    chance = luck(run, played)
    verdict = weigh(run, played, chance)
    parts = _figures(run, played)
    table = trial_table(ledger)
    style, script = _asset("report.css"), _asset("report.js")
    payload = {
        "figures": {
            figure.key: figure.spec() | {"words": figure.summary} for group in parts.values() for figure in group
        },
        "table": {
            "columns": table["columns"],
            "data": table["data"],
            "order": _table_order(ledger, table["data"][0]),
        },
    }
    context = {
        "csp": _policy(script, plotly_script()),
        "refresh": refresh,
        "run_id": str(run.study.get("run_id", run.path.name)),
        "version": __version__,
        "subtitle": _subtitle(run),
        "sections": _sections(run, parts),
        "alarms": played.alarms,
        "verdict": verdict,
        "tiles": tiles(run, chance),
        "comparison": _comparison(run, played),
        "held_out": out_of_sample(run, played, ledger) is not None,
        "window_words": "".join(f", {name} {words}" for name, words in windows(run, played)),
        "best_number": _best_number(ledger),
        "best_params": _best_params(ledger),
        "outcomes": outcomes(ledger),
        "counting": counting(ledger),
        "findings": _findings(run, played),
        "static_head": [column["name"] for column in table["columns"][:STATIC_COLUMNS]],
        "static_rows": _static_rows(ledger, table),
        "table_note": f"{table['note']} Where the table is wider than the page, scroll it sideways.",
        "slices_note": f" The {SLICES} most important of {len(ledger.axes)}." if len(ledger.axes) > SLICES else "",
        "identity": _identity(run, played),
        "study_text": json.dumps(run.study.get("config", {}), indent=2, default=str),
        "signature_text": json.dumps(run.study.get("signature", {}), indent=2, default=str),
        "payload": Markup(_packed(json.dumps(payload, separators=(",", ":"), allow_nan=False).encode())),  # noqa: S704 - base64
        "plotly": Markup(_packed_plotly()),  # noqa: S704 - base64
        "style": Markup(style),  # noqa: S704 - our own file
        "script": Markup(script),  # noqa: S704 - our own file
        **parts,
    }
    return _template().render(context)


def weigh(run: RunData, played: Replay, chance: Luck) -> Verdict:
    """The verdict of a run."""
    ledger = run.ledger
    best = ledger.best
    inside = {} if best is None else {name: known(values[best]) for name, values in ledger.metrics.items()}
    objective = run.config.objective if run.config is not None else "score"
    return judge(
        Evidence(
            ledger=ledger,
            inside=inside,
            outside=out_of_sample(run, played, ledger),
            objective=objective_words(objective),
            distinct=chance.distinct,
            independent=chance.independent,
            plateau=find_plateau(ledger),
            deflated=chance.deflated,
            overfitting=chance.overfitting,
            cause=cause_of(run),
            holdout_problem=played.holdout_problem,
        )
    )


def cause_of(run: RunData) -> Finding | None:
    """The cause that makes a run worthless, or None."""
    config = run.config
    if config is None:
        return None
    bars = (run.study.get("signature") or {}).get("bars") or {}
    count = bars.get("count")
    warmup = config.data.warmup_bars if config.data is not None else 0
    found = find_cause(
        run.ledger,
        config.space,
        bars=None if count is None else int(count) - warmup,
        fixed=flatten(config.space.fixed),
        blocked=run.blocked,
        free=None if config.strategy is None else lambda: returns_without_costs(run),
    )
    return found or run.looks_ahead


def _figures(run: RunData, played: Replay) -> dict[str, list[Figure]]:
    ledger = run.ledger
    shares = figures.importance(ledger) if ledger.axes else []
    place = {axis.path: index for index, axis in enumerate(ledger.axes)}
    ordered = [place[path] for path, _ in shares]
    many = bool(len(ledger.ranking) > 1 and ordered)
    top = ordered[:3]
    pairs = [(top[i], top[j]) for i in range(len(top)) for j in range(i + 1, len(top))] if many else []
    seconds = run.summary.get("seconds") or ledger.seconds
    return {
        "trading": _trading(played),
        "prices": _prices(played),
        "search": [figures.best_so_far(ledger), figures.score_distribution(ledger)],
        "space": [figures.importance_figure(shares), figures.parallel(ledger, shares)] if many else [],
        "slices": [figures.slice_figure(ledger, index) for index in ordered[:SLICES]] if many else [],
        "pairs": [figure for first, second in pairs for figure in figures.pair_figures(ledger, first, second)],
        "time": [figures.time_budget(seconds)],
    }


def _trading(played: Replay) -> list[Figure]:
    if not played.trials:
        return []
    first = played.trials[0]
    times, _, equity, spans = joined(first, played)
    curves = [curve(again, played) for again in played.trials]
    return [
        trading.equity_figure(times, curves, spans),
        trading.monthly_figure(times, equity, name=f"Trial {first.number}"),
    ]


def _prices(played: Replay) -> list[Figure]:
    found = []
    for again in played.trials:
        times, close, _, spans = joined(again, played)
        figure = trading.price_figure(times, close, marks(again, played), spans, name=f"trial {again.number}")
        found.append(
            Figure(
                f"price-{again.number}",
                f"trial {again.number}",
                figure.summary[:1].upper() + figure.summary[1:],
                figure.data,
                figure.layout,
                figure.note,
                figure.height,
            )
        )
    return found


def _findings(run: RunData, played: Replay) -> list[Finding]:
    found = []
    if played.problem:
        found.append(
            Finding(
                "no-replay",
                "info",
                "The figures about trading are missing",
                played.problem,
                "make the report where the strategy and the data are"
                if run.config is None or run.config.strategy is not None
                else "nothing; the rest of the report is complete",
            )
        )
    elif played.trials and played.trials[0].inside.bars.synthetic:
        found.append(
            Finding(
                "synthetic",
                "warning",
                "The bars are synthetic: they were drawn, not traded",
                "what is found in made-up prices says nothing about a market",
                "set data.source to real bars before believing a result",
            )
        )
    config = run.config
    if config is not None:
        found += review_ledger(
            run.ledger,
            config.space,
            blocked=run.blocked,
            concurrency=config.concurrency,
            budget=config.run.max_trials or len(run.ledger),
        )
        if config.costs is not None and config.strategy is not None and not _costly(config.costs):
            found.append(
                Finding(
                    "zero-costs",
                    "warning",
                    "The study trades without costs",
                    "a rule that trades often looks best exactly when trading is free",
                    "set costs.fee_bps and costs.slippage_bps to what your broker and market take",
                )
            )
    cause = cause_of(run)
    return by_severity(finding for finding in found if cause is None or finding.what != cause.what)


def _costly(costs: Any) -> bool:
    return bool(costs.fee_bps or costs.slippage_bps or costs.fee_fixed)


_ENDS = {
    "trials": "as planned",
    "seconds": "until its time limit",
    "target": "until its target score",
    "plateau": "until nothing improved any more",
    "exhausted": "until every point was tried",
    "interrupted": "until it was interrupted",
    "failures": "until too many had failed",
}


def _subtitle(run: RunData) -> str:
    state = "so far" if run.running else _ENDS.get(str(run.summary.get("stop_reason")), "")
    data = run.config.data.source if run.config is not None and run.config.data is not None else ""
    words = [f"{len(run.ledger):,} trials {state}", run.evaluates, str(data)]
    return " · ".join(word for word in words if word)


def _sections(run: RunData, parts: dict[str, list[Figure]]) -> list[tuple[str, str]]:
    del run
    names = [("verdict", "Verdict")]
    if parts["trading"]:
        names.append(("trading", "Trading"))
    names.append(("search", "Search"))
    if parts["slices"]:
        names.append(("space", "Parameters"))
    return [*names, ("trials", "Trials"), ("time", "Time"), ("repeat", "To repeat it")]


def _best_number(ledger: Ledger) -> int | None:
    return None if ledger.best is None else int(ledger.numbers[ledger.best])


def _best_params(ledger: Ledger) -> list[tuple[str, str, str]]:
    if ledger.best is None:
        return []
    found = ledger.params(ledger.best)
    rows = []
    for axis in ledger.axes:
        if axis.path in found:
            searched = (
                ", ".join(str(choice) for choice in axis.choices)
                if axis.kind == "categorical"
                else f"{axis.label(axis.low)} to {axis.label(axis.high)}" + (", log" if axis.log else "")
            )
            rows.append((axis.path, found[axis.path], searched))
    return rows


def _comparison(run: RunData, played: Replay) -> list[tuple[str, str, str]]:
    ledger = run.ledger
    if ledger.best is None:
        return []
    outside = out_of_sample(run, played, ledger) or {}
    return [
        (name, metric_words(name, known(values[ledger.best])), metric_words(name, outside.get(name)))
        for name, values in ledger.metrics.items()
    ]


def _table_order(ledger: Ledger, numbers: Sequence[int]) -> list[int]:
    row = {value: index for index, value in enumerate(numbers)}
    ranked = [row[value] for value in ledger.numbers[ledger.ranking].tolist() if value in row]
    seen = set(ranked)
    return ranked + [index for index in range(len(numbers)) if index not in seen]


def _static_rows(ledger: Ledger, table: dict[str, Any]) -> list[list[str]]:
    order = _table_order(ledger, table["data"][0])[:STATIC_ROWS]
    shown = list(zip(table["columns"], table["data"], strict=True))[:STATIC_COLUMNS]
    return [[_cell(values[row], "as" in column) for column, values in shown] for row in order]


def _cell(value: Any, typed: bool) -> str:
    if value is None:
        return "–"
    return f"{value:.5g}" if isinstance(value, float) and not typed else str(value)


def _identity(run: RunData, played: Replay) -> list[tuple[str, str]]:
    study, signature = run.study, run.study.get("signature") or {}
    created, settings = study.get("created"), run.settings
    rows = [
        ("run folder", str(run.path)),
        ("created", datetime.fromtimestamp(created, UTC).strftime("%Y-%m-%d %H:%M:%S UTC") if created else "unknown"),
        ("created with", f"Genesis {study.get('version', 'unknown')}"),
        ("seed", str(settings.get("seed"))),
        ("sampler", json.dumps(settings.get("sampler"), default=str)),
        ("concurrency, lag", f"{settings.get('max_concurrent')}, {settings.get('lag')}"),
        ("strategy", json.dumps(signature.get("strategy_code") or run.evaluates, default=str)),
        ("bars", json.dumps(signature.get("bars") or "none", default=str)),
        ("dates of the bars", "; ".join(f"{name} {words}" for name, words in windows(run, played)) or "none"),
        ("kernel version", str(signature.get("kernel", "none"))),
        ("study signature (SHA-256)", _digest(signature)),
        ("report made", datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")),
        ("report made with", _environment()),
    ]
    origins = sorted(set(run.ledger.origins))
    if origins:
        rows.insert(
            5, ("proposed by", ", ".join(f"{name} {list(run.ledger.origins).count(name):,}" for name in origins))
        )
    return rows


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def _environment() -> str:
    packages = ("numpy", "numba", "optuna", "plotly", "pandas")
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in packages)
    python, system = platform.python_version(), f"{platform.system()} {platform.machine()}"
    return f"Genesis {__version__}, Python {python}, {versions}, {system}"


def _policy(*scripts: str) -> str:
    """A content policy that allows our own inline scripts by hash, inline styles (Plotly sets them), and no network."""
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" for script in scripts
    )
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'; "
        "form-action 'none'"
    )


@lru_cache(maxsize=1)
def plotly_script() -> str:
    """The source of plotly.js as its Python package ships it."""
    from plotly.offline import get_plotlyjs

    return str(get_plotlyjs())


@lru_cache(maxsize=1)
def _packed_plotly() -> str:
    return _packed(plotly_script().encode())


def _packed(raw: bytes) -> str:
    return base64.b64encode(gzip.compress(raw, 6, mtime=0)).decode()


def _asset(name: str) -> str:
    return (resources.files("genesis.report") / "templates" / name).read_text(encoding="utf-8")


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.from_string(_asset("report.html"))
