"""A study, read whole from a file or mapping, checked before anything runs, and frozen."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from genesis.errors import ConfigError, SpaceError, StrategyError
from genesis.legacy import from_older_layout, is_older_layout
from genesis.search.nodes import json_text, plain_value
from genesis.search.space import Space
from genesis.sections import DataSection, HoldoutSection, RunSection, StudyFile
from genesis.settings import misspelt_variables, read_settings, study_overrides
from genesis.strategy.base import default_space, load_strategy
from genesis.study_checks import check_constraints, check_kind, check_objective, check_parameters, check_windows
from genesis.study_errors import failed, sentence
from genesis.study_raw import copied, get_path, reference_name, set_path, tidy, without_blanks, without_folders
from genesis.study_yaml import dump_yaml, read_yaml
from genesis.types import Costs, Execution

AUTO_SAMPLER_FROM = 500
"""A study of more trials that names no sampler uses `auto`, else `tpe`."""


@dataclass(frozen=True)
class StudyConfig:
    """One study, with every default filled in and every `auto` decided; made by `load_study`.

    Exactly one of `strategy`, `evaluate`, `command` is set; `costs` is set with a strategy. `run.max_concurrent` and
    `run.sampler.type` are decided. `notes` say what was decided, adjusted or could not be mapped; `defaulted` are the
    paths of decided values that the file did not give.
    """

    objective: str | dict[str, Any]
    run: RunSection
    parameters: dict[str, Any]
    data: DataSection | None = None
    holdout: HoldoutSection | None = None
    strategy: Any = None
    evaluate: Any = None
    command: tuple[str, ...] | None = None
    costs: Costs | None = None
    execution: Execution = field(default_factory=Execution)
    constraints: dict[str, float] = field(default_factory=dict)
    rules: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=(), compare=False)
    defaulted: frozenset[str] = field(default=frozenset(), compare=False)

    @cached_property
    def space(self) -> Space:
        """The parameters as a searchable space."""
        return Space.from_spec(self.parameters, rules=self.rules)

    @property
    def concurrency(self) -> int:
        """`run.max_concurrent` as the number it was decided to be."""
        assert isinstance(self.run.max_concurrent, int)
        return self.run.max_concurrent

    def to_dict(self) -> dict[str, Any]:
        """Return the study as plain data in the layout of a study file; `load_study` reads it back equal."""
        out: dict[str, Any] = {}
        if self.data is not None:
            out["data"] = self.data.model_dump(exclude_none=True)
        if self.holdout is not None:
            out["holdout"] = self.holdout.model_dump(exclude_none=True)
        for name in ("strategy", "evaluate"):
            if (target := getattr(self, name)) is not None:
                out[name] = reference_name(target)
        if self.command is not None:
            out["command"] = list(self.command)
        if self.costs is not None:
            out["costs"] = asdict(self.costs)
        if self.strategy is not None:
            out["execution"] = asdict(self.execution)
        out["objective"] = plain_value(self.objective)
        if self.constraints:
            out["constraints"] = dict(self.constraints)
        out["parameters"] = plain_value(self.parameters)
        if self.rules:
            out["rules"] = list(self.rules)
        run = self.run.model_dump()
        run["enqueue"] = plain_value(run["enqueue"])
        out["run"] = run
        return out

    def to_yaml(self) -> str:
        """Return the study as the text of a study file, decided values written out."""
        return dump_yaml(self.to_dict())

    def signature(self) -> dict[str, Any]:
        """Return what decides a trial's outcome and the order of trials, part by part, as JSON can say it.

        Budgets, names and the holdout are not in it: they may change between a stop and a resume. The data
        fingerprint and the strategy's version are added by whoever loads them.
        """
        data = None
        if self.data is not None:
            data = self.data.model_dump()
            data["source"] = without_folders(self.data.source)
        run = self.run
        return {
            "data": data,
            "strategy": None if self.strategy is None else without_folders(reference_name(self.strategy)),
            "evaluate": None if self.evaluate is None else without_folders(reference_name(self.evaluate)),
            "command": None if self.command is None else list(self.command),
            "costs": None if self.costs is None else asdict(self.costs),
            "execution": None if self.strategy is None else asdict(self.execution),
            "objective": plain_value(self.objective),
            "constraints": dict(sorted(self.constraints.items())),
            "space": self.space.signature(),
            "search": run.strategy,
            "sampler": {"type": run.sampler.type, "kwargs": plain_value(run.sampler.kwargs)},
            "pruner": {"type": run.pruner.type, "kwargs": plain_value(run.pruner.kwargs), "segments": run.segments}
            if run.pruner.type != "none"
            else None,
            "max_concurrent": run.max_concurrent,
            "mode": run.mode,
            "lag": run.lag,
            "seed": run.seed,
            "enqueue": plain_value(list(run.enqueue)),
            "warm_start": run.warm_start,
        }

    def adopting(self, stored: Mapping[str, Any]) -> StudyConfig:
        """Return this study with the values it did not give itself taken from a stored one (`to_dict`).

        A resumed run keeps the sampler and concurrency that were decided when it began, even if a larger budget would
        decide otherwise today.
        """
        raw = self.to_dict()
        taken = []
        for path in sorted(self.defaulted):
            value = get_path(stored, path)
            if value is not None and value != get_path(raw, path):
                set_path(raw, path, value)
                taken.append(f"{path}: {value!r}, as the run began")
        if not taken:
            return self
        again = load_study(raw, env={})
        kept = tuple(note for note in self.notes if note.partition(":")[0] not in self.defaulted)
        return _replace(again, notes=(*kept, *taken), defaulted=self.defaulted)


def load_study(
    source: str | os.PathLike[str] | Mapping[str, Any] | StudyConfig,
    *,
    env: Mapping[str, str] | None = None,
    flags: Mapping[str, Any] | None = None,
) -> StudyConfig:
    """Read and check a study: a YAML file's path, a mapping of the same shape, or a config, which keeps its values.

    `flags` override by dotted path (`run.max_trials`) or by the name of a `run` key; None leaves alone. `env` is the
    process environment unless given. A flag wins over the environment, that over the file, that over the default.
    Raises ConfigError with every problem in `details["problems"]`.

    >>> study = load_study({"evaluate": "examples.sphere:evaluate", "objective": {"metric": "loss",
    ...     "direction": "minimize"}, "parameters": {"x": {"type": "float", "low": -1.0, "high": 1.0}},
    ...     "run": {"max_trials": 50}}, env={})
    >>> study.run.sampler.type, study.concurrency
    ('tpe', 4)
    """
    try:
        return _load(source, env, {key: value for key, value in (flags or {}).items() if value is not None})
    except RecursionError as exc:
        raise ConfigError("study: is nested too deep, or contains itself; write it flatter, with dotted keys") from exc


def _load(source: Any, env: Mapping[str, str] | None, flags: Mapping[str, Any]) -> StudyConfig:
    if isinstance(source, StudyConfig):
        if not flags:
            return source
        raw, file, env, inherited = _raw_of(source), None, {}, source.notes
    elif isinstance(source, str | os.PathLike):
        file = Path(source).expanduser().resolve()
        raw, inherited = copied(read_yaml(Path(source))), ()
    elif isinstance(source, Mapping):
        raw, file, inherited = copied(source), None, ()
    else:
        raise ConfigError(f"study: {type(source).__name__} is not a study; give a YAML file's path or a mapping")
    reader = _Reader(raw, file, list(inherited))
    reader.override(env, flags)
    return reader.read()


class _Reader:
    """Reads one raw mapping, collecting problems and notes on the way."""

    def __init__(self, raw: dict[str, Any], file: Path | None, notes: list[str]) -> None:
        self.notes, self.problems = notes, list[str]()
        self.defaulted: set[str] = set()
        self.file = file
        self.folder = None if file is None else file.parent
        self.older = is_older_layout(raw)
        if self.older:
            raw, notes = from_older_layout(raw, self.folder)
            self.notes += notes
        self.raw = raw

    def override(self, env: Mapping[str, str] | None, flags: Mapping[str, Any]) -> None:
        """Lay the environment, then the flags, over the file."""
        for path, (variable, value) in study_overrides(read_settings(env)).items():
            before = get_path(self.raw, path)
            if before != value:
                said = f" (the file says {before!r})" if before is not None else ""
                self.notes.append(f"{path}: {value!r} from {variable}{said}")
            self.put(path, value)
        self.notes += misspelt_variables(env)
        for key, value in flags.items():
            self.put(key if "." in key or key in StudyFile.model_fields else f"run.{key}", value)

    def put(self, path: str, value: Any) -> None:
        if not set_path(self.raw, path, value):
            self.problems.append(f"{path}: cannot be set, since {path.split('.', maxsplit=1)[0]} is not a mapping")

    def read(self) -> StudyConfig:
        raw = without_blanks({key: asdict(value) if _is_section(value) else value for key, value in self.raw.items()})
        self.problems += check_kind(raw)
        try:
            study = StudyFile.model_validate(raw)
        except ValidationError as exc:
            self.problems += [sentence(one) for one in exc.errors()]
            self.check_parts(raw)
            raise failed(self.problems) from exc
        self.problems += check_windows(study)
        self.problems += check_objective(study.objective, study.strategy is not None)
        self.problems += check_constraints(study.constraints, study.strategy is not None)
        space, parameters = self.read_space(study.parameters, study.rules, study.strategy)
        run = self.decide(study.run, space)
        if space is not None:
            self.check_points(run, space)
        if self.problems:
            raise failed(self.problems)
        assert space is not None
        return self.named(
            StudyConfig(
                objective=study.objective if isinstance(study.objective, str) else dict(study.objective),
                run=run,
                parameters=parameters,
                data=self.resolved_data(study.data),
                holdout=study.holdout,
                strategy=self.resolved(study.strategy),
                evaluate=self.resolved(study.evaluate),
                command=study.command,
                costs=None if study.costs is None else Costs(**study.costs.model_dump()),
                execution=Execution(**study.execution.model_dump()),
                constraints=dict(study.constraints),
                rules=study.rules,
                notes=tuple(dict.fromkeys([*self.notes, *(f"parameters.{note}" for note in space.notes)])),
                defaulted=frozenset(self.defaulted),
            )
        )

    def named(self, study: StudyConfig) -> StudyConfig:
        """The study with a run_id: its own, the file's name, or the strategy's name with a hash of the signature."""
        if study.run.run_id:
            return study
        if self.file is not None:
            name = tidy(self.file.stem)
        else:
            target = study.strategy or study.evaluate or (study.command or ("command",))[0]
            text = json_text(plain_value(study.signature()))
            name = f"{tidy(without_folders(reference_name(target)))}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
        return _replace(
            study,
            run=study.run.model_copy(update={"run_id": name}),
            notes=(*study.notes, f"run.run_id: {name}, since none is given"),
            defaulted=study.defaulted | {"run.run_id"},
        )

    def check_parts(self, raw: Mapping[str, Any]) -> None:
        """What can be said about parameters, objective and constraints although the shape is wrong elsewhere."""
        strategy = raw.get("evaluate") is None and raw.get("command") is None
        if isinstance(raw.get("parameters"), Mapping):
            rules = raw.get("rules")
            texts = [one for one in rules if isinstance(one, str)] if isinstance(rules, list | tuple) else []
            self.read_space(raw["parameters"], texts, raw.get("strategy"))
        if "objective" in raw:
            self.problems += check_objective(raw["objective"], strategy)
        if isinstance(raw.get("constraints"), Mapping):
            self.problems += check_constraints(raw["constraints"], strategy)

    def read_space(self, given: Any, rules: Sequence[str], strategy: Any) -> tuple[Space | None, dict[str, Any]]:
        if given is None:
            given = self.declared_space(strategy)
            if given is None:
                return None, {}
        if isinstance(given, Mapping) and not given:
            self.problems.append(
                "parameters: is empty; write parameters: {fast: {type: int, low: 5, high: 50}}, or leave it out"
            )
            return None, {}
        try:
            bare = Space.from_spec(given)
        except SpaceError as exc:
            for text in exc.details.get("problems", [exc.message]):
                self.problems.append(text if text.startswith("parameters: ") else f"parameters.{text}")
            return None, {}
        broken = len(self.problems)
        for rule in rules:
            try:
                Space(bare.columns, bare.fixed, rules=[rule])
            except SpaceError as exc:
                self.problems += exc.details.get("problems", [exc.message])
        if len(self.problems) > broken:
            return None, {}
        wrong = check_parameters(strategy, bare)
        if wrong:
            self.problems += wrong
            return None, {}
        space = Space(bare.columns, bare.fixed, rules=rules, notes=bare.notes)
        return space, {key: _plain_spec(value) for key, value in given.items()}

    def declared_space(self, strategy: Any) -> Mapping[str, Any] | None:
        if strategy is None:
            if not any(one.startswith("strategy") for one in self.problems):
                self.problems.append("parameters: is missing; write parameters: {x: {type: float, low: 0, high: 1}}")
            return None
        try:
            declared = default_space(load_strategy(self.resolved(strategy)))
        except StrategyError as exc:
            self.problems.append(f"strategy: {exc.message}")
            return None
        if not declared:
            self.problems.append(
                f"parameters: is missing, and {reference_name(strategy)} declares none; add parameters:"
            )
            return None
        self.notes.append(f"parameters: the space that {reference_name(strategy)} declares")
        self.defaulted.add("parameters")
        return declared

    def decide(self, run: RunSection, space: Space | None) -> RunSection:
        """Fill in what was left open: the sampler, and how many trials are proposed at once."""
        changes: dict[str, Any] = {}
        kind = run.sampler.type
        if run.strategy == "grid":
            if kind not in (None, "grid", "brute"):
                self.problems.append(f"run.sampler.type: {kind!r} excludes run.strategy: grid; remove one of them")
            kind = kind or "grid"
        elif kind is None:
            kind = "auto" if run.max_trials is None or run.max_trials > AUTO_SAMPLER_FROM else "tpe"
            why = f"more than {AUTO_SAMPLER_FROM} trials" if kind == "auto" else f"up to {AUTO_SAMPLER_FROM} trials"
            self.notes.append(f"run.sampler.type: {kind}, chosen for {why}")
        if run.sampler.type is None:
            self.defaulted.add("run.sampler.type")
            changes["sampler"] = run.sampler.model_copy(update={"type": kind})
        finite = kind in ("grid", "brute")
        if run.max_trials is None and not finite and not (run.timeout_seconds or run.target_score or run.patience):
            self.problems.append(
                "run.max_trials: is missing; say how many trials the run may make, such as max_trials: 500"
            )
        if finite and space is not None and space.size is None:
            endless = ", ".join(one.path for one in space.columns if one.count is None)
            self.problems.append(
                f"parameters: {kind} needs a finite space, and {endless} is continuous; give it a step"
            )
        if run.max_concurrent == "auto" and space is not None:
            changes["max_concurrent"], why = concurrency_for(space)
            self.notes.append(f"run.max_concurrent: {changes['max_concurrent']}, chosen for {why}")
            self.defaulted.add("run.max_concurrent")
        return run.model_copy(update=changes)

    def check_points(self, run: RunSection, space: Space) -> None:
        for position, params in enumerate(run.enqueue):
            try:
                vector = space.encode(params)
            except SpaceError as exc:
                self.problems += [
                    f"run.enqueue[{position}].{one}" for one in exc.details.get("problems", [exc.message])
                ]
                continue
            if not space.allowed(vector[None, :])[0]:
                broken = next(
                    one.text
                    for one in space.rules
                    if not Space(space.columns, space.fixed, rules=[one.text]).allowed(vector[None, :])[0]
                )
                self.problems.append(f"run.enqueue[{position}]: breaks the rule {broken!r}; change it or the rule")

    def resolved_data(self, data: DataSection | None) -> DataSection | None:
        if data is None or self.folder is None or ":" in data.source:
            return data
        beside = self.folder / data.source
        if Path(data.source).is_absolute() or not beside.is_file():
            return data
        return data.model_copy(update={"source": str(beside)})

    def resolved(self, reference: Any) -> Any:
        """A reference into a file beside the study file, as a whole path; anything else as it is."""
        if not isinstance(reference, str) or self.folder is None:
            return reference
        place, colon, name = reference.rpartition(":")
        if not colon or not place.endswith(".py") or Path(place).is_absolute():
            return reference
        beside = self.folder / place
        return f"{beside.resolve()}:{name}" if beside.is_file() else reference


def concurrency_for(space: Space) -> tuple[int, str]:
    """Return how many trials to propose at once, and the kind of space that decides it.

    A finite space takes 2 up to 1,000 points, 3 up to 100,000, else 4; one with a continuous parameter takes 4 up to 3
    parameters, 6 up to 7, else 8; a very large one (over 20 parameters, or over 10**15 points) takes 16.
    """
    size, width = space.size, len(space.columns)
    if width > 20 or (size is not None and size > 10**15):
        return 16, f"a very large space ({width} parameters)"
    if size is not None:
        return (2 if size <= 1_000 else 3 if size <= 100_000 else 4), f"a discrete space of {size:,} points"
    return (4 if width <= 3 else 6 if width <= 7 else 8), f"a continuous space of {width} parameters"


def _plain_spec(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else plain_value(value)


def _is_section(value: Any) -> bool:
    return is_dataclass(value) and isinstance(value, Costs | Execution)


def _raw_of(study: StudyConfig) -> dict[str, Any]:
    """A config as a raw mapping that keeps classes and functions themselves."""
    raw = study.to_dict()
    for name in ("strategy", "evaluate"):
        if getattr(study, name) is not None:
            raw[name] = getattr(study, name)
    for path in study.defaulted:  # decide again, since a flag may change what it depends on
        if path not in ("parameters", "run.run_id"):
            set_path(raw, path, "auto" if path == "run.max_concurrent" else None)
    return raw


def _replace(study: StudyConfig, **changes: Any) -> StudyConfig:
    return StudyConfig(**{one.name: getattr(study, one.name) for one in fields(study)} | changes)
