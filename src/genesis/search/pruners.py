"""Any Optuna pruner by name, deciding on a trial's running scores by data segment.

How a run uses one. The coordinator owns a `Pruner`, calls `tell` for every finished trial in trial order, generation by
generation, and ships `told` (or the pickled pruner, which carries it) with the next generation's trials. A worker calls
`decide(number, reports)` after each segment with all of the trial's reports so far. A decision sees told trials only,
never those of its own generation, so it is a function of (name, kwargs, told history, number, reports): the same on any
number of workers, and after a resume.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

import optuna
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState

from genesis.errors import ConfigError
from genesis.search.optuna_bridge import quiet_optuna
from genesis.search.samplers import unknown

PRUNERS: dict[str, str] = {
    "none": "NopPruner",
    "median": "MedianPruner",
    "percentile": "PercentilePruner",
    "sha": "SuccessiveHalvingPruner",
    "asha": "SuccessiveHalvingPruner",
    "successive_halving": "SuccessiveHalvingPruner",
    "hyperband": "HyperbandPruner",
    "threshold": "ThresholdPruner",
    "patient": "PatientPruner",
    "wilcoxon": "WilcoxonPruner",
}
_STATES = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}
_THEN = datetime(1970, 1, 1, tzinfo=timezone.utc).replace(tzinfo=None)  # noqa: UP017 - Optuna keeps naive times
_NAME = "genesis"

Told = tuple[int, tuple[float, ...], str, float | None]


class _Storage(InMemoryStorage):
    """An in-memory study that shows the told trials and the one being decided, which leaves no trace."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[FrozenTrial] = []
        self.current: FrozenTrial | None = None

    def get_all_trials(self, study_id: int, deepcopy: bool = True, states: Any = None) -> list[FrozenTrial]:
        """List the told trials and the current one; never copies, nothing here changes a told trial."""
        del study_id, deepcopy
        shown = self.told if self.current is None else [*self.told, self.current]
        return list(shown) if states is None else [one for one in shown if one.state in states]

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """Return a trial by its id."""
        if self.current is not None and trial_id == self.current._trial_id:
            return self.current
        return next(one for one in self.told if one._trial_id == trial_id)

    def get_best_trial(self, study_id: int) -> FrozenTrial:
        """Return the complete trial of the largest value, the earlier of equals."""
        del study_id
        complete = [one for one in self.told if one.state == TrialState.COMPLETE]
        if not complete:
            raise ValueError("no trial is complete yet")
        return max(complete, key=lambda one: (one.value if one.value is not None else float("-inf"), -one.number))

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Keep what a pruner notes about the current trial, in a copy: lists shown before stay as they were."""
        assert self.current is not None
        assert trial_id == self.current._trial_id
        changed = copy.copy(self.current)
        changed._system_attrs = {**changed.system_attrs, key: value}
        self.current = changed


class Pruner:
    """One Optuna pruner over a told history; larger scores are better. Picklable; `told` is its whole state."""

    def __init__(self, name: str, kwargs: Mapping[str, Any]) -> None:
        self.name = name
        self.kwargs = dict(kwargs)
        self.told: list[Told] = []
        self._open()

    def _open(self) -> None:
        with quiet_optuna():
            self._make()  # a wrong argument is refused now, not at the first decision
            self._storage = _Storage()
            self._study = optuna.create_study(study_name=_NAME, storage=self._storage, direction="maximize")

    def __getstate__(self) -> dict[str, Any]:
        """Keep the name, the arguments and the told history."""
        return {"name": self.name, "kwargs": self.kwargs, "told": self.told}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Tell the history again."""
        self.name, self.kwargs, self.told = state["name"], state["kwargs"], []
        self._open()
        for one in state["told"]:
            self.tell(*one)

    def _make(self) -> optuna.pruners.BasePruner:
        return _build(self.name, self.kwargs)

    @property
    def active(self) -> bool:
        """Whether it can ever stop a trial."""
        return PRUNERS[self.name] != "NopPruner"

    def tell(self, number: int, reports: Sequence[float], state: str, score: float | None) -> None:
        """Add a finished trial: its reports (step 1 first), `complete`, `pruned` or `failed`, and its final score."""
        reports = tuple(float(one) for one in reports)
        self.told.append((number, reports, state, score))
        kind = _STATES[state]
        if kind == TrialState.COMPLETE and score is None:
            kind = TrialState.FAIL
        trial = _trial(number, kind, score if kind == TrialState.COMPLETE else None)
        if self.active:
            trial, _ = self._walk(trial, reports)
        self._storage.told.append(trial)

    def decide(self, number: int, reports: Sequence[float]) -> bool:
        """Whether to stop a running trial after the last of its `reports` (step 1 first)."""
        if not reports or not self.active:
            return False
        trial = _trial(number, TrialState.RUNNING, None)
        return self._walk(trial, [float(one) for one in reports])[1]

    def _walk(self, trial: FrozenTrial, reports: Sequence[float]) -> tuple[FrozenTrial, bool]:
        """Ask after each report in turn, as a pruner that keeps notes by rung expects; the last answer counts."""
        answer = False
        self._storage.current = trial
        try:
            with quiet_optuna():
                self._study.pruner = pruner = self._make()
                for step, value in enumerate(reports, start=1):
                    self._storage.current.intermediate_values[step] = value
                    answer = bool(pruner.prune(self._study, self._storage.current))
            return self._storage.current, answer
        finally:
            self._storage.current = None


def _trial(number: int, state: TrialState, value: float | None) -> FrozenTrial:
    finished = None if state == TrialState.RUNNING else _THEN
    return FrozenTrial(
        number=number, state=state, value=value, datetime_start=_THEN, datetime_complete=finished, params={},
        distributions={}, user_attrs={}, system_attrs={}, intermediate_values={}, trial_id=number,
    )  # fmt: skip


def _build(name: str, kwargs: Mapping[str, Any]) -> optuna.pruners.BasePruner:
    kind = getattr(optuna.pruners, PRUNERS[name])
    allowed = inspect.signature(kind).parameters
    wrong = sorted(set(kwargs) - set(allowed))
    if wrong:
        takes = ", ".join(sorted(allowed)) or "no arguments"
        raise ConfigError(f"pruner {name}: unknown argument {', '.join(map(repr, wrong))}; it takes {takes}")
    given = dict(kwargs)
    if "wrapped_pruner" in given and not isinstance(given["wrapped_pruner"], optuna.pruners.BasePruner):
        inner = given["wrapped_pruner"]
        inner = {"type": inner} if isinstance(inner, str) else dict(inner or {"type": "none"})
        given["wrapped_pruner"] = _build(_known(str(inner.get("type"))), inner.get("kwargs") or {})
    try:
        made: optuna.pruners.BasePruner = kind(**given)
    except (TypeError, ValueError) as exc:
        raise ConfigError(f"pruner {name}: {exc}") from exc
    return made


def _known(name: str) -> str:
    if name not in PRUNERS:
        raise unknown("pruner", name, PRUNERS)
    return name


def make_pruner(name: str | None, kwargs: Mapping[str, Any] | None = None) -> Pruner:
    """A pruner by name, with Optuna's arguments; `none` (or None) never stops a trial.

    `patient` takes another as `wrapped_pruner`: a name, or {type, kwargs}. Raises ConfigError for an unknown name or
    argument.

    >>> pruner = make_pruner("median", {"n_startup_trials": 1, "n_warmup_steps": 0})
    >>> pruner.tell(0, [1.0, 2.0], "complete", 3.0)
    >>> pruner.decide(1, [0.5]), pruner.decide(2, [1.5])
    (True, False)
    """
    return Pruner(_known("none" if name is None else name), kwargs or {})
