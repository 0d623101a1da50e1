"""The shape of a study file: its sections and keys, each with its type, limits, default and meaning."""

from __future__ import annotations

import datetime as dt
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator

from genesis.errors import SHOWN, DataError
from genesis.market.timeframe import parse_timeframe
from genesis.search.nodes import nearest_name
from genesis.settings import LARGEST_SEED, MOST_CONCURRENT

SAMPLERS: tuple[str, ...] = (
    "auto", "tpe", "random", "grid", "brute", "cmaes", "qmc", "gp", "nsga2", "nsga3",
    "optuna-tpe", "optuna-random", "optuna-brute", "rustuna-tpe",
)  # fmt: skip
"""The samplers a study can name; `search.samplers` makes them."""

PRUNERS: tuple[str, ...] = (
    "none", "median", "percentile", "sha", "asha", "successive_halving", "hyperband", "threshold", "patient",
    "wilcoxon",
)  # fmt: skip
"""The pruners a study can name; `search.pruners` makes them."""


RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
"""What a run may be called: it is a folder's name too."""


def written(value: Any) -> str:
    """A bad value for a message: dates as a study file has them, anything else as Python writes it, long ones cut."""
    text = f"the date {value.isoformat()}" if isinstance(value, dt.date) else repr(value)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}…"


def _moment(value: Any) -> str:
    """A date or time as ISO text; a date means the whole day."""
    if isinstance(value, dt.datetime):
        return value.isoformat()
    if isinstance(value, dt.date):
        return value.isoformat()
    if isinstance(value, str):
        try:
            dt.datetime.fromisoformat(value.strip())
        except ValueError:
            pass
        else:
            return value.strip()
    raise ValueError(f"{written(value)} is not a date; write it as 2010-12-31 or 2010-12-31T16:00:00Z")


def _timeframe(value: Any) -> str:
    if isinstance(value, str):
        try:
            return parse_timeframe(value).name
        except DataError:
            pass
    raise ValueError(
        f"{written(value)} is not a timeframe; write a number and s, m, h, d, w or M (a month), "
        f"such as timeframe: {_timeframe_meant(value)}"
    )


_SPOKEN = {"mo": "1M", "min": "1m", "hour": "1h", "da": "1d", "week": "1w", "year": "12M"}


def _timeframe_meant(value: Any) -> str:
    """The likeliest timeframe behind a wrong one: 15 counts minutes, `daily` is 1d, `2 hours` is 2h, `1dd` is 1d."""
    text = str(value[0] if isinstance(value, list | tuple) and value else value).strip()
    digits = re.match(r"\d{1,6}(?!\d)", text)
    count = int(digits.group()) if digits else 1
    word = next((name for begin, name in _SPOKEN.items() if begin in text.lower()), "")
    letter = re.match(r"\d+\s*([smhdwM])", text)
    unit = "m" if text.isdigit() else letter[1] if letter else ""
    try:
        return parse_timeframe(f"{count * int(word[:-1])}{word[-1]}" if word else f"{count}{unit}").name
    except DataError:
        return "1h"


def _concurrency(value: Any) -> int | str:
    if value == "auto" or (type(value) is int and 1 <= value <= MOST_CONCURRENT):
        result: int | str = value
        return result
    raise ValueError(
        f"{written(value)} is not auto or a whole number from 1 to {MOST_CONCURRENT}; write max_concurrent: 8"
    )


def _mirror(value: str) -> str:
    if value.startswith("journal:") and len(value) > len("journal:"):
        return value
    if "://" in value.strip(":/"):
        return value
    raise ValueError(f"{written(value)} is no storage; use sqlite:///FILE, postgresql://… or journal:FILE")


def _run_id(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str) and RUN_ID.fullmatch(value):
        return value
    plain = value.isoformat() if isinstance(value, dt.date) else str(value)
    if isinstance(value, bool | int | float | dt.date) and RUN_ID.fullmatch(plain):
        wrong, meant = "is not text", f"'{plain}', with the quotes"
    else:
        wrong = "is not a name of at most 100 letters, digits, '.', '_' and '-', the first a letter or digit"
        meant = re.sub(r"[^A-Za-z0-9._-]+", "-", plain).strip("-._")[:100] if isinstance(value, str) else ""
    raise ValueError(f"{written(value)} {wrong}; write run_id: {meant or 'ibm-fib'}")


def _named(value: Any) -> Any:
    """A bare name stands for {type: name}; YAML's null for none."""
    if value is None:
        return {"type": "none"}
    return {"type": value} if isinstance(value, str) else value


def _one_of(names: Sequence[str]) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if isinstance(value, str) and value in names:
            return value
        near = nearest_name(value, names) if isinstance(value, str) else ""
        raise ValueError(f"{written(value)} is unknown{near}; use one of {', '.join(names)}")

    return check


def _words(value: Any) -> tuple[str, ...]:
    if isinstance(value, list | tuple) and value and all(isinstance(one, str) and one for one in value):
        return tuple(value)
    words = value.split() if isinstance(value, str) else []
    meant = ", ".join(word if re.fullmatch(r"[\w./+-]+", word) else f"'{word}'" for word in words)
    raise ValueError(f"{written(value)} is not a list of words; write command: [{meant or 'python, evaluate.py'}]")


def _texts(value: Any) -> tuple[str, ...]:
    if isinstance(value, list | tuple) and all(isinstance(one, str) for one in value):
        return tuple(value)
    meant = value.strip() if isinstance(value, str) and "'" not in value else ""
    raise ValueError(f"{written(value)} is not a list of expressions; write rules: ['{meant or 'ma.fast < ma.slow'}']")


def _points(value: Any) -> tuple[dict[str, Any], ...]:
    if isinstance(value, list | tuple) and all(isinstance(one, Mapping) for one in value):
        return tuple(dict(one) for one in value)
    raise ValueError(f"{written(value)} is not a list of parameter mappings; write enqueue: [{{fast: 10, slow: 30}}]")


def _reference(key: str, example: str) -> Callable[[Any], Any]:
    """Text, or from Python the class, object or function itself."""

    def check(value: Any) -> Any:
        if isinstance(value, str) and value.strip():
            return value.strip()
        if value is None or isinstance(value, bool | int | float | list | dict | str | bytes):
            raise ValueError(f"{written(value)} is not a reference; write {key}: {example}")
        return value

    return check


def _limits(value: Any) -> dict[str, Any]:
    if isinstance(value, Mapping):
        return {str(name): limit for name, limit in value.items()}
    raise ValueError(f"{written(value)} is not a mapping; write constraints: {{min_trades: 30}}")


_Strategy = Annotated[Any, PlainValidator(_reference("strategy", "sma_cross or ./my_strategy.py:MyStrategy"))]
_Function = Annotated[Any, PlainValidator(_reference("evaluate", "./file.py:function or package.module:function"))]


class Section(BaseModel):
    """A part of the file: unknown keys are refused, no text is read as a number, nothing changes afterwards."""

    model_config = ConfigDict(
        strict=True, extra="forbid", frozen=True, allow_inf_nan=False, arbitrary_types_allowed=True
    )


Moment = Annotated[str, PlainValidator(_moment)]


class DataSection(Section):
    """The bars that the search sees."""

    source: str = Field(
        min_length=1,
        description="Where the bars come from: `sample:IBM`, a CSV, Parquet or Feather file, an imported name, or "
        "`synthetic:seed=7,bars=5000`. A relative path is looked for beside the study file, then where you are.",
        examples=["sample:IBM"],
    )
    timeframe: Annotated[str, PlainValidator(_timeframe)] | None = Field(
        default=None,
        description="Bar length; a coarser one than the source's is resampled. Left out: the source's own.",
        examples=["1d"],
    )
    start: Moment | None = Field(
        default=None, description="First day or moment, included. Left out: the first bar.", examples=["2003-01-01"]
    )
    end: Moment | None = Field(
        default=None,
        description="Last day (all of it) or moment, included. Left out: the last bar.",
        examples=["2010-12-31"],
    )
    warmup_bars: int = Field(
        default=0,
        ge=0,
        le=10_000_000,
        description="Bars before `start` that feed indicators and never trade.",
        examples=[150],
    )


class HoldoutSection(Section):
    """Bars that the search never sees, on which its finalists are judged."""

    start: Moment = Field(description="First day or moment, included; after `data.end`.", examples=["2011-01-01"])
    end: Moment | None = Field(
        default=None, description="Last day or moment, included. Left out: the last bar.", examples=["2012-12-31"]
    )
    top_n: int = Field(
        default=10, ge=1, le=10_000, description="How many of the best trials are judged on the holdout.", examples=[10]
    )


class CostsSection(Section):
    """What a fill costs, per side."""

    fee_bps: float = Field(ge=0, le=5_000, description="Fee in basis points of the traded value.", examples=[10])
    slippage_bps: float = Field(
        ge=0, le=5_000, description="How far the price moves against you, in basis points.", examples=[5]
    )
    fee_fixed: float = Field(
        default=0.0, ge=0, le=1e9, description="Cash per fill, beside the basis points.", examples=[1]
    )


class ExecutionSection(Section):
    """How orders become fills."""

    fill: Literal["next_open", "same_close"] = Field(
        default="next_open", description="At which price a decision is filled.", examples=["next_open"]
    )
    capital: float = Field(default=10_000.0, ge=1e-9, le=1e15, description="Cash at the start.", examples=[10_000])
    units: Literal["fractional", "whole"] = Field(
        default="fractional", description="Whether parts of a unit can be bought.", examples=["whole"]
    )
    sizing: Literal["equity_fraction", "fixed_cash", "fixed_units"] = Field(
        default="equity_fraction", description="What `size` counts.", examples=["fixed_cash"]
    )
    size: float = Field(
        default=1.0,
        ge=1e-12,
        le=1e15,
        description="Fraction of equity, cash or units of an entry, by `sizing`.",
        examples=[1.0],
    )


class SamplerSection(Section):
    """What proposes parameter sets."""

    type: Annotated[str, PlainValidator(_one_of(SAMPLERS))] | None = Field(
        default=None, description="Its name. Left out: `tpe` up to 500 trials, `auto` beyond.", examples=["tpe"]
    )
    kwargs: dict[str, Any] = Field(
        default_factory=dict, description="Its arguments by name.", examples=[{"n_ei_candidates": 64}]
    )


class PrunerSection(Section):
    """What stops a trial early."""

    type: Annotated[str, PlainValidator(_one_of(PRUNERS))] = Field(
        default="none", description="Its name, such as `median`, or `none`.", examples=["median"]
    )
    kwargs: dict[str, Any] = Field(
        default_factory=dict, description="Its arguments by name.", examples=[{"n_startup_trials": 10}]
    )


class RunSection(Section):
    """How long, how wide and how the search goes."""

    run_id: Annotated[str, PlainValidator(_run_id)] = Field(
        default="",
        description="Name of the run and of its folder. Left out: the study file's name, or the strategy's with a "
        "hash of the study.",
        examples=["ibm-fib"],
    )
    strategy: Literal["optuna", "grid"] = Field(
        default="optuna", description="`optuna` samples; `grid` tries every point of a finite space.", examples=["grid"]
    )
    max_trials: int | None = Field(
        default=None,
        ge=1,
        le=1_000_000_000,
        description="Trials to keep in all. May be left out for a grid, or if time, target or patience end the run.",
        examples=[2000],
    )
    max_concurrent: Annotated[int | Literal["auto"], PlainValidator(_concurrency)] = Field(
        default="auto",
        description="Trials proposed at once, whatever the number of workers; decides the outcome. `auto` goes by the "
        "kind of space.",
        examples=[8],
    )
    allow_resume: bool = Field(
        default=True, description="Whether a run of this name that exists is continued.", examples=[True]
    )
    seed: int = Field(
        default=42, ge=0, le=LARGEST_SEED, description="Same seed, same trials, same scores.", examples=[42]
    )
    timeout_seconds: float | None = Field(
        default=None, gt=0, le=1e9, description="End the run after this long.", examples=[3600]
    )
    target_score: float | None = Field(
        default=None, description="End the run when a feasible trial scores this or more.", examples=[2.0]
    )
    patience: int | None = Field(
        default=None,
        ge=1,
        le=1_000_000_000,
        description="End the run after this many trials without a better one.",
        examples=[500],
    )
    max_failures: int | None = Field(
        default=None,
        ge=0,
        le=1_000_000_000,
        description="End the run when more trials than this raised. Left out: when the first 50 all did, or more than "
        "half past 100.",
        examples=[20],
    )
    max_duplicate_streak: int | None = Field(
        default=None,
        ge=1,
        le=1_000_000,
        description="End the run after this many proposals in a row that were known already.",
        examples=[200],
    )
    trial_seconds: float | None = Field(
        default=None, gt=0, le=1e7, description="Stop one trial after this long; it fails.", examples=[60]
    )
    sampler: Annotated[SamplerSection, BeforeValidator(_named)] = Field(
        default=SamplerSection(), description="A name, or {type, kwargs}.", examples=["tpe"]
    )
    pruner: Annotated[PrunerSection, BeforeValidator(_named)] = Field(
        default=PrunerSection(), description="A name, or {type, kwargs}.", examples=["none"]
    )
    segments: int = Field(
        default=5,
        ge=2,
        le=1_000,
        description="Equal parts of the data after which a pruner may stop a trial.",
        examples=[5],
    )
    mode: Literal["generations", "async"] = Field(
        default="generations",
        description="`generations` repeats exactly on any number of workers; `async` never waits.",
        examples=["async"],
    )
    lag: int | None = Field(
        default=None,
        ge=0,
        le=16,
        description="Generations that may be under way when the next is proposed. Left out: none in the first 300 "
        "trials, then 1 with `tpe` and `auto`; always 0 with other samplers, a pruner or `max_concurrent: 1`.",
        examples=[1],
    )
    enqueue: Annotated[tuple[dict[str, Any], ...], PlainValidator(_points)] = Field(
        default=(), description="Parameter sets to try first.", examples=[[{"fast": 10, "slow": 30}]]
    )
    warm_start: str | None = Field(
        default=None,
        min_length=1,
        description="A kept run's folder, or `optuna:URL#STUDY`: its results are told to the sampler first.",
        examples=["runs/ibm-first"],
    )
    mirror: Annotated[str, AfterValidator(_mirror)] | None = Field(
        default=None,
        description="Optuna storage that gets the trials while the run goes on: `sqlite:///FILE`, `postgresql://…` or "
        "`journal:FILE`. Never changes the outcome; a URL with a password is not kept with the run.",
        examples=["sqlite:///mirror.db"],
    )


class StudyFile(Section):
    """A whole study file."""

    data: DataSection | None = Field(
        default=None,
        description="The bars that the search sees; a strategy needs them.",
        examples=[{"source": "sample:IBM"}],
    )
    holdout: HoldoutSection | None = Field(
        default=None, description="Bars kept for judging the finalists.", examples=[{"start": "2011-01-01"}]
    )
    strategy: _Strategy | None = Field(
        default=None,
        description="`fibonacci`, `sma_cross`, `./file.py:Class`, `package.module:Class` or an installed one's name.",
        examples=["sma_cross"],
    )
    evaluate: _Function | None = Field(
        default=None,
        description="In place of a strategy: a function from parameters to a mapping of metrics.",
        examples=["./objective.py:evaluate"],
    )
    command: Annotated[tuple[str, ...], PlainValidator(_words)] | None = Field(
        default=None,
        description="In place of a strategy: a program that reads a trial as JSON and prints metrics as JSON.",
        examples=[["python", "trial.py"]],
    )
    costs: CostsSection | None = Field(
        default=None,
        description="What a fill costs; required with a strategy.",
        examples=[{"fee_bps": 10, "slippage_bps": 5}],
    )
    execution: ExecutionSection = Field(
        default=ExecutionSection(), description="How orders become fills.", examples=[{"fill": "next_open"}]
    )
    objective: Any = Field(
        description="A metric, `{metric: name, direction: minimize}`, or weights: `{sharpe: 1.0, max_drawdown: -0.5}`.",
        examples=["sharpe"],
    )
    constraints: Annotated[dict[str, float], PlainValidator(_limits)] = Field(
        default_factory=dict,
        description="`min_<metric>` and `max_<metric>` limits, the limit itself passing.",
        examples=[{"min_trades": 30}],
    )
    parameters: Any = Field(
        default=None,
        description="What is searched and what is fixed. Left out: the space the strategy declares.",
        examples=[{"fast": {"type": "int", "low": 5, "high": 50}}],
    )
    rules: Annotated[tuple[str, ...], PlainValidator(_texts)] = Field(
        default=(), description="Expressions that every parameter set satisfies.", examples=[["fast < slow"]]
    )
    run: RunSection = Field(
        default=RunSection(),
        description="How long, how wide and how the search goes.",
        examples=[{"max_trials": 500}],
    )


def model_at(loc: Sequence[Any]) -> type[BaseModel] | None:
    """The section at a path of keys, None where no section stands."""
    model: type[BaseModel] = StudyFile
    for part in loc:
        info = model.model_fields.get(str(part))
        candidates = [] if info is None else [info.annotation, *getattr(info.annotation, "__args__", ())]
        inner = next((one for one in candidates if inspect.isclass(one) and issubclass(one, BaseModel)), None)
        if inner is None:
            return None
        model = inner
    return model
