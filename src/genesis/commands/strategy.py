"""`genesis new strategy` and `genesis backtest`: begin a strategy, and run one parameter set of any."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import orjson
import typer
import yaml

import genesis
from genesis.commands.guarded import guarded
from genesis.commands.imported import refuse_imported
from genesis.commands.writing import written
from genesis.errors import ConfigError, GenesisError, StrategyError

if TYPE_CHECKING:
    from genesis.engine.backtest import Backtest

new = typer.Typer(name="new", no_args_is_help=True, help="Write a documented file to start from.")


def register(app: typer.Typer) -> None:
    """Add this group's commands to the application."""
    app.add_typer(new)
    app.command("backtest")(backtest_command)


@new.command("strategy")
def new_strategy(
    name: Annotated[str, typer.Argument(help="The strategy's name, such as my_strategy.", show_default=False)],
    folder: Annotated[Path, typer.Option(help="Where the two files go.")] = Path(),
    way: Annotated[
        Literal["array", "compiled", "python"],
        typer.Option(help="array: NumPy arrays; compiled: a function of one bar; python: on_bar(window), slowest."),
    ] = "array",
) -> None:
    """Write a strategy that works, explained line by line, and its test.

    Nothing is replaced. The three ways to write a strategy give the same answers; docs/strategies.md compares them.
    """
    from genesis.strategy.starting import write_starting_files

    strategy, test = write_starting_files(name, folder, way)
    typer.echo(f"wrote {strategy} and {test}")
    cls = next(line.split()[1].rstrip(":") for line in strategy.read_text().splitlines() if line.startswith("class "))
    ref = strategy if strategy.is_absolute() else f"./{strategy}"
    typer.echo(f"next  genesis backtest {ref}:{cls} --data sample:IBM -p fast=10 -p slow=40")
    if find_spec("pytest") is None:
        typer.echo("      pip install pytest")
    typer.echo(f"      python -m pytest {test}")


def backtest_command(
    target: Annotated[
        str,
        typer.Argument(
            help="A strategy (sma_cross, fibonacci, ./file.py:Class, package.module:Class), a study file, or a run by "
            "its folder or run_id.",
            show_default=False,
        ),
    ],
    param: Annotated[
        list[str] | None,
        typer.Option("--param", "-p", help="One parameter, dotted: -p exit.max_hold_bars=20 (may be repeated)."),
    ] = None,
    params: Annotated[
        str | None, typer.Option("--params", help="All parameters: a JSON or YAML file, or the JSON itself.")
    ] = None,
    trial: Annotated[int | None, typer.Option("--trial", min=0, help="A run's trial; its best if left out.")] = None,
    window: Annotated[Literal["search", "holdout"], typer.Option(help="Which window of a study or run.")] = "search",
    data: Annotated[
        str, typer.Option(help="Bars for a strategy: sample:IBM, a file, an imported name.")
    ] = "sample:IBM",
    timeframe: Annotated[
        str | None, typer.Option(help="Length of a bar, such as 1d; the data's own if left out.")
    ] = None,
    start: Annotated[str | None, typer.Option(help="First day traded.")] = None,
    end: Annotated[str | None, typer.Option(help="Last day, included.")] = None,
    warmup_bars: Annotated[int, typer.Option(min=0, help="Bars before the first that may be traded.")] = 0,
    fee_bps: Annotated[float, typer.Option(help="Fee per side, basis points.")] = 10.0,
    slippage_bps: Annotated[float, typer.Option(help="Slippage per side, basis points.")] = 5.0,
    fill: Annotated[Literal["next_open", "same_close"], typer.Option(help="When a decision is filled.")] = "next_open",
    capital: Annotated[float, typer.Option(help="Money at the start.")] = 10_000.0,
    fills: Annotated[Path | None, typer.Option(help="Write the fills to this CSV file.")] = None,
    runs_dir: Annotated[
        Path, typer.Option("--runs-dir", help="Folder in which runs are kept, one folder each.")
    ] = Path("runs"),
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of text.")] = False,
) -> None:
    """Run one parameter set and print its metrics, trades and what each gate blocked.

    A study file lends its data, costs and execution, and the values it fixes; a run besides those the parameters of one
    of its trials. With either, the options for data and costs are left alone.
    """
    own = _given(params, param)
    path = Path(target)
    of_run = path.suffix not in (".yaml", ".yml") and (
        path.is_dir() or trial is not None or _names_a_run(target, runs_dir)
    )

    def made() -> Backtest:
        if path.suffix in (".yaml", ".yml"):
            return _of_study(path, {}, own, window)
        if of_run:
            return _of_run(target, runs_dir, trial, own, window)
        from genesis.types import Costs

        costs = Costs(fee_bps=fee_bps, slippage_bps=slippage_bps)
        market = {"source": data, "timeframe": timeframe, "start": start, "end": end, "warmup_bars": warmup_bars}
        return _run(target, own, market, costs=costs, fill=fill, capital=capital)

    def said() -> str:
        done = made()
        if fills is not None:
            with written(fills):
                done.fills.to_csv(fills, index=False)
        return _json(done, target) if as_json else _words(done, target)

    typer.echo(guarded(said, target))


def _given(params: str | None, param: list[str] | None) -> dict[str, Any]:
    """Parameters as typed, nested; single ones replace those of the whole set."""
    from genesis.trials.merge import deep_merge

    given: dict[str, Any] = {}
    if params is not None:
        text = Path(params).read_text(encoding="utf-8") if Path(params).is_file() else params
        try:
            given = yaml.safe_load(text) or {}
        except yaml.YAMLError as error:
            raise ConfigError(f"--params: {params!r} is neither a file nor JSON ({error})") from error
        if not isinstance(given, dict):
            raise ConfigError(f"--params: {params!r} holds {type(given).__name__}; give a mapping of parameters")
    for item in param or []:
        name, equals, text = item.partition("=")
        if not equals or not name:
            raise ConfigError(f"--param {item!r}: write name=value, such as -p exit.max_hold_bars=20")
        value: Any = yaml.safe_load(text)
        for part in reversed(name.split(".")):
            value = {part: value}
        given = deep_merge(given, value)
    return given


def _of_study(path: Path, params: Mapping[str, Any], own: dict[str, Any], window: str) -> Backtest:
    from genesis.config import load_study

    return _with_config(load_study(path), params, own, window)


def _names_a_run(target: str, runs_dir: Path) -> bool:
    """Whether a name is a kept run's; a strategy of the same name comes first, unless `--trial` is given."""
    from genesis.strategy.loading import load_strategy

    if not (runs_dir / target / "run.db").is_file():
        return False
    try:
        load_strategy(target)
    except StrategyError:
        return True
    return False


def _of_run(target: str, runs_dir: Path, trial: int | None, own: dict[str, Any], window: str) -> Backtest:
    from genesis.config import load_study
    from genesis.run.result import open_run

    run = open_run(target, runs_dir=runs_dir)
    try:
        refuse_imported(run, "backtest")
        found = run.best if trial is None else run.trial(trial)
        return _with_config(load_study(run.study["config"], env={}), found.params, own, window)
    finally:
        run.close()


def _with_config(config: Any, params: Mapping[str, Any], own: dict[str, Any], window: str) -> Backtest:
    """A study's data, costs and execution; its fixed values, then `params`, then the reader's own."""
    from genesis.trials.merge import deep_merge

    if config.strategy is None or config.data is None:
        raise ConfigError("the study searches a callable or command; `genesis backtest` runs strategies")
    span = config.data if window == "search" else config.holdout
    if span is None:
        raise ConfigError("holdout: missing; add holdout: {start: …, end: …} to the study, or use --window search")
    merged: dict[str, Any] = {}
    if not params:
        for name, value in config.space.fixed.items():
            for part in reversed(name.split(".")):
                value = {part: value}
            merged = deep_merge(merged, value)
    merged = deep_merge(deep_merge(merged, params), own)
    market = {
        "source": config.data.source,
        "timeframe": config.data.timeframe,
        "start": span.start,
        "end": span.end,
        "warmup_bars": config.data.warmup_bars,
    }
    return _run(config.strategy, merged, market, costs=config.costs, execution=config.execution)


def _run(strategy: Any, params: dict[str, Any], market: dict[str, Any], **options: Any) -> Backtest:
    from genesis.engine.backtest import backtest
    from genesis.market.catalog import load_window
    from genesis.strategy.base import load_strategy

    loaded = load_strategy(strategy)
    found = load_window(market.pop("source"), **market)
    with _in_one_line(loaded):
        return backtest(found.bars, loaded, params, trade_from=found.trade_from, **options)


@contextmanager
def _in_one_line(strategy: Any) -> Iterator[None]:
    """Say what an author's code raised and where, without the calls that led there; an error of ours keeps its own."""
    from genesis.strategy.authored import Authored

    try:
        yield
    except GenesisError:
        raise
    except Exception as error:
        if not isinstance(strategy, Authored):
            raise
        frames = traceback.extract_tb(error.__traceback__)
        others = [frame for frame in frames if not Path(frame.filename).is_relative_to(Path(genesis.__file__).parent)]
        own = [frame for frame in others if "site-packages" not in Path(frame.filename).parts]
        at = (own or others or frames)[-1]
        do = "give the parameter with -p NAME=VALUE" if isinstance(error, KeyError) else "mend the strategy"
        said = f"{type(error).__name__}: {error} ({at.filename}, line {at.lineno})"
        raise StrategyError(f"{strategy.ref}: {said}; {do}") from error


def _json(made: Backtest, target: str) -> str:
    bars = made.bars
    document = {
        "target": target,
        "params": made.params,
        "data": {
            "symbol": bars.symbol,
            "timeframe": bars.timeframe,
            "bars": len(bars),
            "trade_from": made.simulation.trade_from,
            "fingerprint": bars.fingerprint,
            "synthetic": bars.synthetic,
        },
        "execution": asdict(made.simulation.execution),
        "metrics": dict(made.metrics),
        "undefined": dict(made.metrics.reasons),
        "blocked": dict(made.blocked),
        "fills": len(made.simulation.fills),
        "fills_hash": made.fills_hash,
    }
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY).decode()


def _words(made: Backtest, target: str) -> str:
    from genesis.report.terminal import COUNTS

    bars = made.bars
    kind = ", synthetic: not a real market" if bars.synthetic else ""
    first, last = bars.index[made.simulation.trade_from], bars.index[-1]
    lines = [
        f"{target} on {bars.symbol or 'bars'} {bars.timeframe}{kind}, {first:%Y-%m-%d} to {last:%Y-%m-%d}",
        f"  parameters {orjson.dumps(made.params).decode()}" if made.params else "  parameters: the defaults",
        "",
    ]
    reasons = made.metrics.reasons
    for name, value in made.metrics.items():
        if value is None:
            lines.append(f"  {name:<22}     undefined  {reasons[name]}")
        else:
            lines.append(f"  {name:<22}" + (f"{value:>14,.0f}" if name in COUNTS else f"{value:>14,.4f}"))
    stopped = [f"{name} {count:,}" for name, count in made.blocked.items() if count]
    if stopped:
        lines += ["", "  bars stopped, gate by gate: " + ", ".join(stopped)]
    return "\n".join([*lines, "", f"  fills {len(made.simulation.fills):,}, hash {made.fills_hash[:16]}"])
