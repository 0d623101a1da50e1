"""The Optuna face of our estimator: a `BaseSampler` for any Optuna study.

Finished trials are taken in once, by number, so an ask costs the same however long the study is, apart from what Optuna
itself spends on listing its trials.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from genesis.search.cells import Cells
from genesis.search.nodes import Column
from genesis.search.pareto import pareto_order
from genesis.search.tpe import MANY_KERNELS, MOST_GOOD, TpeModel, TpeOptions
from genesis.types import FloatArray, IntArray

_CONSTRAINTS = "constraints"
_ARCHIVE = 200
_MOST_FITS = 256
_FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)


class TPESampler(BaseSampler):
    """Tree-structured Parzen estimator for Optuna studies, at a cost that does not grow with the study.

    - `n_startup_trials` finished trials are drawn at random first; `n_ei_candidates` are compared per proposal.
    - `multivariate` models all parameters jointly, for several objectives too; False models each alone.
    - `group` decomposes a conditional space into the sets of parameters that appear together and models each set;
      without it the parameters that every trial has are joint, the others independent.
    - `constant_liar` lets running trials count as bad, so that parallel workers spread out.
    - `constraints_func(trial)` gives numbers, feasible at or below 0; `trial.set_constraint` works as well. Feasible
      trials rank first, then pruned ones by how far they came, then infeasible ones by the sum of their violations.
    - Several objectives: the good trials are the first of non-domination fronts, the least crowded first in a front.
    - Failed trials and NaN values are left out, as Optuna leaves them out.
    - `prior_weight`, `consider_magic_clip`, `perturbation` and `bad_kernels` as in `genesis.search.tpe.TpeOptions`.

    >>> import optuna
    >>> optuna.logging.set_verbosity(optuna.logging.WARNING)
    >>> study = optuna.create_study(sampler=TPESampler(seed=1))
    >>> study.optimize(lambda trial: (trial.suggest_float("x", -1, 1) - 0.25) ** 2, n_trials=50)
    >>> abs(study.best_params["x"] - 0.25) < 0.05
    True
    """

    def __init__(
        self,
        *,
        n_startup_trials: int = 10,
        n_ei_candidates: int = 24,
        seed: int | None = None,
        multivariate: bool = True,
        group: bool = False,
        constant_liar: bool = True,
        constraints_func: Callable[[FrozenTrial], Sequence[float]] | None = None,
        prior_weight: float = 1.0,
        consider_magic_clip: bool = True,
        perturbation: float = 0.3,
        bad_kernels: int = MANY_KERNELS,
    ) -> None:
        if group and not multivariate:
            raise ValueError("group=True needs multivariate=True: it says which parameters are modelled jointly")
        self._options = TpeOptions(
            n_startup_trials=n_startup_trials,
            n_ei_candidates=n_ei_candidates,
            constant_liar=constant_liar,
            prior_weight=prior_weight,
            consider_magic_clip=consider_magic_clip,
            perturbation=perturbation,
            bad_kernels=bad_kernels,
        )
        self._multivariate = multivariate
        self._group = group
        self._constraints_func = constraints_func
        self._random = RandomSampler(seed=seed)
        self._state = np.random.SeedSequence(seed).generate_state(4, np.uint64)
        self._lock = threading.RLock()
        self._history: _History | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave the lock and the history behind; a copy reads its study again."""
        return {**self.__dict__, "_lock": None, "_history": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Make a new lock."""
        self.__dict__.update(state)
        self._lock = threading.RLock()

    def reseed_rng(self) -> None:
        """Draw new entropy, as Optuna asks of a sampler that is copied to another worker."""
        self._random.reseed_rng()
        self._state = np.random.SeedSequence().generate_state(4, np.uint64)

    def _sync(self, study: Study) -> _History:
        key = (id(study._storage), study._study_id)
        if self._history is None or self._history.key != key:
            self._history = _History(key, study.directions)
        self._history.sync(study)
        return self._history

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Name the parameters that are drawn jointly."""
        del trial
        if not self._multivariate:
            return {}
        with self._lock:
            history = self._sync(study)
            if self._group:
                return {name: dist for sub in history.groups for name, dist in sub.items() if name in history.wide}
            return dict(history.common)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Draw the joint parameters; nothing before `n_startup_trials` trials have finished."""
        if not search_space:
            return {}
        with self._lock:
            history = self._sync(study)
            if len(history.trials) < self._options.n_startup_trials:
                return {}
            found: dict[str, Any] = {}
            spaces: list[Mapping[str, BaseDistribution]] = [search_space]
            if self._group:
                spaces = [{n: d for n, d in sub.items() if n in search_space} for sub in history.groups]
            for space in spaces:
                if space:
                    found.update(self._draw(history, trial, space))
            history.asked[trial.number] = found
            return found

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """Draw one parameter alone; at random before `n_startup_trials` trials have finished."""
        with self._lock:
            history = self._sync(study)
            if len(history.trials) < self._options.n_startup_trials:
                return self._random.sample_independent(study, trial, param_name, param_distribution)
            return self._draw(history, trial, {param_name: param_distribution})[param_name]

    def _draw(self, history: _History, trial: FrozenTrial, space: Mapping[str, BaseDistribution]) -> dict[str, Any]:
        fit = history.fit(space, self._options)
        liars = fit.running(history, trial.number) if self._options.constant_liar else []
        fit.model.refresh(len(liars), good=fit.good(history))
        if liars:
            fit.model.lie(fit.cells.model(np.array(liars, dtype=np.float64)))
        return fit.params(fit.model.draw(self._state, 1, liar=False)[:, 0])

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Nothing to prepare."""

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """Evaluate and keep the constraints of a finished trial."""
        del values
        if self._constraints_func is None or state not in _FINISHED:
            return
        found: tuple[float, ...] | None = None
        try:
            found = tuple(float(one) for one in self._constraints_func(trial))
            if any(np.isnan(one) for one in found):
                found = None
                raise ValueError("constraints_func returned NaN; give numbers, feasible at or below 0")
        finally:
            study._storage.set_trial_system_attr(trial._trial_id, _CONSTRAINTS, found)


def _violation(trial: FrozenTrial) -> float:
    attrs = trial.system_attrs
    if not attrs:
        return 0.0
    found = list(attrs.get(_CONSTRAINTS) or ())
    found += [value for key, value in attrs.items() if key.startswith(_CONSTRAINTS + ":")]
    return float(sum(value for value in found if value > 0))


class _History:
    """What a study's finished trials say, taken in once each."""

    def __init__(self, key: tuple[int, int], directions: Sequence[StudyDirection]) -> None:
        self.key = key
        self.signs = np.array([-1.0 if one == StudyDirection.MAXIMIZE else 1.0 for one in directions])
        self.trials: list[FrozenTrial] = []
        self.ranks: list[tuple[int, float]] = []
        self.open: dict[int, FrozenTrial] = {}
        self.asked: dict[int, dict[str, Any]] = {}
        self.groups: list[dict[str, BaseDistribution]] = []
        self.best: list[int] = []
        self._read = 0
        self.common: dict[str, BaseDistribution] = {}
        self.wide: set[str] = set()
        self._last: list[FrozenTrial] | None = None
        self._shared: dict[str, BaseDistribution] | None = None
        self._before: Mapping[str, BaseDistribution] | None = None
        self._shapes: set[frozenset[str]] = set()
        self._fits: dict[tuple[str, ...], list[_Fit]] = {}

    def sync(self, study: Study) -> None:
        """Take in what has finished since the last call; remember what is running.

        Optuna caches the trials per thread, so that a thread may come with a shorter list than another showed before:
        what it lacks stays as it was.
        """
        trials = study._get_trials(deepcopy=False, use_cache=True)
        if trials is self._last:
            return
        self._last = trials
        seen = [number for number in sorted(self.open) if number < len(trials)]
        fresh = [trials[number] for number in seen] + trials[self._read :]
        self._read = max(self._read, len(trials))
        for number in seen:
            del self.open[number]
        for trial in fresh:
            if not trial.state.is_finished():
                self.open[trial.number] = trial
                continue
            self.asked.pop(trial.number, None)
            if trial.state in _FINISHED:
                self._take(trial)

    def _take(self, trial: FrozenTrial) -> None:
        violation = _violation(trial)
        if violation > 0:
            rank = (2, violation)
        elif trial.state == TrialState.PRUNED:
            rank = (1, self._pruned(trial))
        elif len(self.signs) > 1:
            rank = (0, 0.0)
        else:
            rank = (0, float(self.signs[0] * trial.value)) if trial.value is not None else (3, 0.0)
        self.trials.append(trial)
        self.ranks.append(rank)
        if len(self.signs) > 1:
            self._archive()
        self._narrow(trial.distributions)

    def _pruned(self, trial: FrozenTrial) -> float:
        """Pruned trials rank by how far they came, then by what they reported last; squeezed into one number."""
        if not trial.intermediate_values:
            return 2.0
        step, value = max(trial.intermediate_values.items())
        place = 0.5 if np.isnan(value) else 0.5 * float(np.arctan(self.signs[0] * value)) / np.pi
        return -float(step) + place

    def _archive(self) -> None:
        """Keep the best 200 to 400 trials by (class, front, crowding), the reservoir of the good ones."""
        self.best.append(len(self.trials) - 1)
        if len(self.best) >= 2 * _ARCHIVE:
            self.best = sorted(self.order()[:_ARCHIVE].tolist())

    def order(self) -> IntArray:
        """The archive, best first."""
        index = np.array(self.best, dtype=np.int64)
        classes = np.array([self.ranks[i][0] for i in index])
        out = []
        feasible = index[classes == 0]
        if len(feasible):
            losses = np.array([self.trials[i].values for i in feasible]) * self.signs
            out += feasible[pareto_order(np.nan_to_num(losses, nan=np.inf))].tolist()
        out += sorted(index[classes > 0].tolist(), key=lambda i: self.ranks[i])
        return np.array(out, dtype=np.int64)

    def _narrow(self, distributions: Mapping[str, BaseDistribution]) -> None:
        """Keep `common`, the parameters that every finished trial has with one distribution, in order of their names,
        and `groups`, the sets that appear together; both without those of a single value (not in `wide`)."""
        if distributions == self._before:  # nearly always, and the same objects: told at once
            return
        self._before = distributions
        if self._shared is None:
            self._shared = dict(sorted(distributions.items()))
            self.common = {name: dist for name, dist in self._shared.items() if not dist.single()}
        else:
            gone = [n for n, d in self._shared.items() if n not in distributions or not _same(distributions[n], d)]
            for name in gone:
                del self._shared[name]
                self.common.pop(name, None)
        shape = frozenset(distributions)
        if shape in self._shapes:
            return
        self._shapes.add(shape)
        left = set(shape)
        groups: list[dict[str, BaseDistribution]] = []
        for sub in self.groups:
            groups += [{n: sub[n] for n in sub if n in left}, {n: sub[n] for n in sub if n not in left}]
            left -= set(sub)
        groups.append({n: distributions[n] for n in sorted(left)})
        self.groups = [sub for sub in groups if sub]
        self.wide = {name for sub in self.groups for name, dist in sub.items() if not dist.single()}

    def fit(self, space: Mapping[str, BaseDistribution], options: TpeOptions) -> _Fit:
        """The model of a search space, up to date."""
        names = tuple(space)
        same = [one for one in self._fits.get(names, []) if one.space == space]
        if same:
            fit = same[0]
        else:
            if sum(map(len, self._fits.values())) >= _MOST_FITS:
                self._fits.clear()
            fit = _Fit(dict(space), options)
            self._fits.setdefault(names, []).append(fit)
        fit.update(self)
        return fit


def _same(one: BaseDistribution, other: BaseDistribution) -> bool:
    """Optuna's `==`, which takes long for choices; those it takes for equal have equal attributes nearly always."""
    return one is other or (type(one) is type(other) and one.__dict__ == other.__dict__) or one == other


class _Fit:
    """One search space's model, and which of the history's trials it has seen."""

    def __init__(self, space: dict[str, BaseDistribution], options: TpeOptions) -> None:
        self.space = space
        self.cells = Cells([column(name, dist) for name, dist in space.items()])
        self.model = TpeModel(self.cells, options)
        self.seen = 0
        self.row_of: dict[int, int] = {}
        self._plan = [(name, dist, *_limits(dist)) for name, dist in space.items()]

    def _row(self, params: Mapping[str, Any]) -> list[float] | None:
        """The internal values of a trial, None where one is absent or outside today's range."""
        row = []
        for name, dist, choices, low, high in self._plan:
            if name not in params:
                return None
            value = params[name]
            if choices is not None or type(value) is not float:
                try:
                    value = dist.to_internal_repr(value)
                except ValueError:
                    return None
            if choices is None and not low <= value <= high:
                return None
            row.append(value)
        return row

    def params(self, model: FloatArray) -> dict[str, Any]:
        """One point in model coordinates, `[1, d]`, as parameters."""
        found: dict[str, Any] = {}
        values: list[float] = self.cells.values(model)[0].tolist()
        for (name, dist, choices, _, high), value in zip(self._plan, values, strict=True):
            found[name] = dist.to_external_repr(min(value, high)) if choices is None else choices[int(value)]
        return found

    def update(self, history: _History) -> None:
        """Take in the trials that finished since."""
        rows: list[list[float]] = []
        ranks: list[tuple[int, float]] = []
        for number in range(self.seen, len(history.trials)):
            row = self._row(history.trials[number].params)
            if row is not None:
                self.row_of[number] = self.model.n + len(rows)
                rows.append(row)
                ranks.append(history.ranks[number])
        self.seen = len(history.trials)
        if rows:
            classes = np.array([kind for kind, _ in ranks], dtype=np.int8)
            losses = np.array([loss for _, loss in ranks])
            self.model.tell(self.cells.model(np.array(rows, dtype=np.float64)), classes, losses)

    def running(self, history: _History, number: int) -> list[list[float]]:
        """Points of the other running trials, as far as they are known."""
        rows: list[list[float]] = []
        for other, trial in history.open.items():
            if other != number:
                row = self._row({**history.asked.get(other, {}), **trial.params})
                if row is not None:
                    rows.append(row)
        return rows

    def good(self, history: _History) -> IntArray | None:
        """The good rows with several objectives; None leaves it to the model."""
        if len(history.signs) == 1:
            return None
        size = min(-(-len(history.trials) // 10), MOST_GOOD)
        rows = [self.row_of[i] for i in history.order()[:size].tolist() if i in self.row_of]
        return np.array(sorted(rows), dtype=np.int64)


def _limits(dist: BaseDistribution) -> tuple[Sequence[Any] | None, float, float]:
    """The choices of a categorical distribution, or None and the ends of a numeric one's range."""
    if isinstance(dist, CategoricalDistribution):
        return dist.choices, 0.0, 0.0
    assert isinstance(dist, FloatDistribution | IntDistribution)
    return None, dist.low, dist.high


def column(name: str, dist: BaseDistribution) -> Column:
    """An Optuna distribution as a column."""
    if isinstance(dist, CategoricalDistribution):
        return Column(path=name, kind="categorical", choices=tuple(dist.choices))
    assert isinstance(dist, FloatDistribution | IntDistribution)
    kind: Any = "int" if isinstance(dist, IntDistribution) else "float"
    step = None if dist.step is None else float(dist.step)
    return Column(path=name, kind=kind, low=float(dist.low), high=float(dist.high), step=step, log=dist.log)
