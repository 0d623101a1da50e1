"""The older Genesis-Core layout of a study file (`meta: {symbol, timeframe, warmup_bars, runs}`), moved to today's.

Nothing is dropped in silence: each value that has no place, or needed a guess, is a note.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genesis.engine.metrics import METRICS
from genesis.errors import ConfigError
from genesis.market.catalog import data_home, sample_names
from genesis.search.space import Space
from genesis.sections import PRUNERS, RUN_ID, SAMPLERS, StudyFile
from genesis.study_checks import declared_parameters

_SAMPLER_NAMES = {"tpesampler": "tpe", "randomsampler": "random", "cmaessampler": "cmaes", "cma-es": "cmaes",
                  "cma_es": "cmaes", "qmcsampler": "qmc", "gpsampler": "gp", "nsgaiisampler": "nsga2",
                  "nsgaii": "nsga2", "nsgaiiisampler": "nsga3", "gridsampler": "grid", "bruteforcesampler": "brute",
                  "bruteforce": "brute", "brute_force": "brute"}  # fmt: skip
_PRUNER_NAMES = {"nop": "none", "successivehalving": "successive_halving"}
_DATA_FOLDERS = ("", "data", "data/raw", "data/curated", "data/candles", "data/curated/v1/candles")
_SUFFIXES = (".parquet", ".feather", ".csv", ".csv.gz")
_ASSUMED_COSTS = {"fee_bps": 20.0, "slippage_bps": 5.0}
_META = {"symbol", "timeframe", "warmup_bars", "runs"}
_RUNS = {"run_id", "strategy", "max_trials", "max_concurrent", "resume", "allow_resume", "sample_start", "sample_end",
         "use_sample_range", "optuna", "validation", "seed"}  # fmt: skip
_OPTUNA = {
    "study_name",
    "direction",
    "sampler",
    "pruner",
    "timeout_seconds",
    "bootstrap_random_trials",
    "bootstrap_seed",
}
_VALIDATION = {"enabled", "sample_start", "sample_end", "use_sample_range", "top_n"}


def is_older_layout(raw: Mapping[str, Any]) -> bool:
    """Whether a raw study is in the older layout: it has `meta`, a key that today's has not."""
    return "meta" in raw


def from_older_layout(raw: Mapping[str, Any], folder: Path | None = None) -> tuple[dict[str, Any], list[str]]:
    """Return the study in today's layout, and a note for each value that was guessed, adjusted or has no place.

    Keys of today's layout beside `meta` are kept and win. `folder` is where data files are looked for first. Raises
    ConfigError when a part has the wrong shape.
    """
    return _Mover(raw, folder).move()


class _Mover:
    def __init__(self, raw: Mapping[str, Any], folder: Path | None) -> None:
        self.raw, self.folder = raw, folder
        self.notes: list[str] = []
        self.meta = self.part(raw, "meta", "meta")
        self.runs = self.part(self.meta, "runs", "meta.runs")
        self.optuna = self.part(self.runs, "optuna", "meta.runs.optuna")
        self.validation = self.part(self.runs, "validation", "meta.runs.validation")

    def part(self, above: Mapping[str, Any], key: str, path: str) -> Mapping[str, Any]:
        value = above.get(key)
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            raise ConfigError(f"{path}: {value!r} is not a mapping; indent its keys under it")
        return value

    def move(self) -> tuple[dict[str, Any], list[str]]:
        out = {key: value for key, value in self.raw.items() if key in StudyFile.model_fields and value is not None}
        self.unmapped(self.raw, {"meta", *StudyFile.model_fields}, "")
        self.unmapped(self.meta, _META, "meta.")
        self.unmapped(self.runs, _RUNS, "meta.runs.")
        self.unmapped(self.optuna, _OPTUNA, "meta.runs.optuna.")
        self.unmapped(self.validation, _VALIDATION, "meta.runs.validation.")
        out.setdefault("data", self.data())
        holdout = self.holdout()
        if holdout:
            out.setdefault("holdout", holdout)
        if not any(name in out for name in ("strategy", "evaluate", "command")):
            out["strategy"] = "fibonacci"
            self.notes.append("strategy: the older layout names none; fibonacci is used")
        if "strategy" in out and "costs" not in out:
            out["costs"] = dict(_ASSUMED_COSTS)
            self.notes.append(
                "costs: the older layout has none; fee_bps 20 and slippage_bps 5 per side are assumed; "
                "write costs: {fee_bps: …, slippage_bps: …} beside meta"
            )
        if "objective" not in out:
            out["objective"] = "sharpe"
            self.notes.append("objective: the older layout names none; sharpe is used; write objective: beside meta")
        out["constraints"] = self.constraints(out.get("constraints"))
        if isinstance(out.get("parameters"), Mapping):
            out["parameters"] = self.parameters(out["parameters"], out.get("strategy"))
        given = out.get("run")
        out["run"] = self.run() | (dict(given) if isinstance(given, Mapping) else {})
        return out, self.notes

    def unmapped(self, part: Mapping[str, Any], known: set[str], prefix: str) -> None:
        for key, value in part.items():
            if key not in known:
                shown = repr(value)
                self.notes.append(f"{prefix}{key}: {shown[:60]} has no place here and is not used")

    def data(self) -> dict[str, Any]:
        found: dict[str, Any] = {"source": self.source()}
        for key in ("timeframe", "warmup_bars"):
            if self.meta.get(key) is not None:
                found[key] = self.meta[key]
        if self.runs.get("use_sample_range") is False:
            for key in ("sample_start", "sample_end"):
                if self.runs.get(key) is not None:
                    self.notes.append(f"meta.runs.{key}: is not used, since use_sample_range is false")
            return found
        for key, name in (("sample_start", "start"), ("sample_end", "end")):
            if self.runs.get(key) is not None:
                found[name] = self.runs[key]
        return found

    def source(self) -> Any:
        """The bars of a symbol: a file near the study, imported data, or a bundled sample."""
        symbol = self.meta.get("symbol")
        if not isinstance(symbol, str) or not symbol.strip():
            if self.raw.get("data") is None:
                raise ConfigError(
                    f"meta.symbol: {symbol!r} names no market; write symbol: tBTCUSD, or add data: {{source: …}}"
                )
            return ""
        names = [f"{symbol}_{self.meta.get('timeframe')}", symbol]
        for base in dict.fromkeys([self.folder or Path.cwd(), Path.cwd()]):
            for name in names:
                for inner in _DATA_FOLDERS:
                    for suffix in _SUFFIXES:
                        path = base / inner / f"{name}{suffix}"
                        if "/" not in name and path.is_file():
                            self.notes.append(f"data.source: {path}, found for the symbol {symbol}")
                            return str(path)
        for name in names:
            if "/" not in name and (data_home() / f"{name}.parquet").is_file():
                self.notes.append(f"data.source: the imported {name}, for the symbol {symbol}")
                return name
        if symbol.upper() in sample_names():
            self.notes.append(f"data.source: the bundled sample:{symbol.upper()}, for the symbol {symbol}")
            return f"sample:{symbol.upper()}"
        self.notes.append(
            f"data.source: no bars were found for the symbol {symbol}; genesis data import FILE --name {symbol}"
        )
        return symbol

    def holdout(self) -> dict[str, Any] | None:
        given = self.validation
        if not given or given.get("enabled") is False:
            return None
        if given.get("sample_start") is None:
            self.notes.append(
                "meta.runs.validation: has no sample_start, so the finalists are not judged on bars of their own; "
                "write holdout: {start: …} beside meta"
            )
            return None
        found = {"start": given["sample_start"]}
        if given.get("sample_end") is not None:
            found["end"] = given["sample_end"]
        if given.get("top_n") is not None:
            found["top_n"] = given["top_n"]
        return found

    def constraints(self, given: Any) -> Any:
        """Limits on metrics we have; anything else is noted, since nothing here could decide it."""
        if given is None:
            return {}
        if not isinstance(given, Mapping):
            return given
        kept: dict[str, Any] = {}
        for key, value in given.items():
            name = str(key)
            metric = name if name in METRICS and name.startswith("max_") else name.partition("_")[2]
            number = not isinstance(value, bool) and isinstance(value, int | float) and math.isfinite(value)
            if name.startswith(("min_", "max_")) and metric in METRICS and number:
                kept[name] = value
            else:
                self.notes.append(f"constraints.{name}: {value!r} has no place here and is not used")
        return kept

    def parameters(self, given: Mapping[str, Any], strategy: Any) -> Mapping[str, Any]:
        """The space as it is searched: off-step highs lowered, as the older code left to Optuna, and parameters that
        the strategy does not have left out; each is noted."""
        try:
            space = Space.from_spec(given, lenient=True)
        except ConfigError:
            return given  # the reader reports its problems together with the others
        self.notes += [f"parameters.{note}" for note in space.notes]
        table = declared_parameters(strategy)
        if table is None:
            return space.spec() if space.notes else given
        spec = space.spec()
        foreign = [path for path in spec if not table.knows(path)]
        for path in foreign:
            del spec[path]
        for path, column in ((one.path, one) for one in space.columns):
            if column.when is not None and column.when[0] in foreign and path in spec:
                del spec[path]
                foreign.append(path)
        if foreign:
            self.notes.append(f"parameters: {strategy} has no {', '.join(sorted(foreign))}; not used")
        return spec if space.notes or foreign else given

    def run(self) -> dict[str, Any]:
        run: dict[str, Any] = {}
        for key, name in (("run_id", "run_id"), ("max_trials", "max_trials"), ("max_concurrent", "max_concurrent"),
                          ("resume", "allow_resume"), ("allow_resume", "allow_resume"), ("seed", "seed")):  # fmt: skip
            if self.runs.get(key) is not None:
                run[name] = self.runs[key]
        self.study_name(run)
        self.search(run)
        if self.optuna.get("timeout_seconds") is not None:
            run["timeout_seconds"] = self.optuna["timeout_seconds"]
        sampler = self.named("sampler")
        if sampler is not None:
            run["sampler"] = sampler
        self.bootstrap(run)
        pruner = self.named("pruner")
        if pruner is not None:
            run["pruner"] = pruner
        return run

    def study_name(self, run: dict[str, Any]) -> None:
        name, direction = self.optuna.get("study_name"), self.optuna.get("direction")
        if isinstance(name, str) and "run_id" not in run and RUN_ID.fullmatch(name):
            run["run_id"] = name
            self.notes.append(f"run.run_id: {name}, from meta.runs.optuna.study_name")
        elif name is not None:
            self.notes.append(f"meta.runs.optuna.study_name: {name!r} is not used as run.run_id")
        if direction not in (None, "maximize"):
            self.notes.append(
                f"meta.runs.optuna.direction: {direction!r} has no place here; write objective: beside meta"
            )

    def search(self, run: dict[str, Any]) -> None:
        strategy = self.runs.get("strategy")
        if strategy in ("optuna", "grid"):
            run["strategy"] = strategy
        elif strategy == "random":
            run["sampler"] = "random"
            self.notes.append("meta.runs.strategy: random is the sampler random here")
        elif strategy is not None:
            self.notes.append(f"meta.runs.strategy: {strategy!r} has no place here; optuna is used")

    def named(self, key: str) -> Any:
        """A sampler or pruner as {type, kwargs}, its name as it is called here."""
        given = self.optuna.get(key)
        if given is None:
            return None
        if isinstance(given, str):
            given = {"type": given}
        if not isinstance(given, Mapping):
            return given
        name = given.get("type", given.get("name"))
        self.unmapped(given, {"type", "name", "kwargs"}, f"meta.runs.optuna.{key}.")
        if isinstance(name, str):
            low = name.lower()
            if key == "sampler":
                name, known, instead = _SAMPLER_NAMES.get(low, low), SAMPLERS, "tpe"
            else:
                name = _PRUNER_NAMES.get(low.removesuffix("pruner"), low.removesuffix("pruner"))
                known, instead = PRUNERS, "none"
            if name not in known:
                self.notes.append(f"meta.runs.optuna.{key}: {low!r} is unknown here; {instead} is used")
                name = instead
        return {"type": name, "kwargs": dict(given.get("kwargs") or {})}

    def bootstrap(self, run: dict[str, Any]) -> None:
        """The random trials before the model become the sampler's startup trials, where it has such."""
        count = self.optuna.get("bootstrap_random_trials")
        seed = self.optuna.get("bootstrap_seed")
        if seed is not None and "seed" not in run:
            run["seed"] = seed
            self.notes.append(f"run.seed: {seed!r}, from meta.runs.optuna.bootstrap_seed")
        elif seed is not None:
            self.notes.append("meta.runs.optuna.bootstrap_seed: is not used; run.seed decides every trial")
        if count is None:
            return
        sampler = run.setdefault("sampler", {"type": "tpe", "kwargs": {}})
        takes = isinstance(sampler, dict) and sampler.get("type") in ("tpe", "optuna-tpe", "auto")
        if takes and type(count) is int and count > 0:
            sampler["kwargs"].setdefault("n_startup_trials", count)
            told = sampler["kwargs"]["n_startup_trials"]
            self.notes.append(f"meta.runs.optuna.bootstrap_random_trials: {count}, as n_startup_trials={told}")
        elif count:
            self.notes.append(f"meta.runs.optuna.bootstrap_random_trials: {count!r} has no place with this sampler")
