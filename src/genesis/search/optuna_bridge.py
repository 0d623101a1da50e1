"""Any Optuna sampler behind the batch face: an in-memory study that is asked and told."""

from __future__ import annotations

import json
import warnings
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from genesis.errors import ConfigError
from genesis.search.cells import Cells, SpaceLike
from genesis.search.one_thread import one_blas_thread
from genesis.search.proposals import FAILED, PRUNED, Proposals
from genesis.types import FloatArray, Int8Array

if TYPE_CHECKING:
    import optuna

_RULE_TRIES = 20
_PAYLOAD = "genesis:violation"


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """No Optuna warning about experimental or deprecated arguments, nor its log lines, reach the user from here."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", category=optuna.exceptions.ExperimentalWarning)
            warnings.simplefilter("ignore", category=FutureWarning)
            warnings.simplefilter("ignore", category=UserWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)


class OptunaSampler:
    """Asks an Optuna sampler one point at a time and tells it the results in trial order.

    Deterministic for a seeded sampler. Optuna samplers keep state that cannot be read out, so a resumed study replays:
    `restore` is not needed, but the proposals that follow a replay of k told trials come from a sampler reseeded by
    the generation. Every generation, resumed or not, reseeds, so both go the same way.
    """

    def __init__(
        self,
        name: str,
        sampler: optuna.samplers.BaseSampler,
        space: SpaceLike,
        *,
        seed: int,
        arguments: Mapping[str, Any] | None = None,
    ) -> None:
        import optuna

        self.name = name
        self.arguments = dict(arguments or {})
        self.space = space
        self.seed = seed
        self.cells = Cells(space.columns)
        self._distributions: dict[str, Any] = dict(space.distributions())
        self._always = all(column.when is None for column in space.columns)
        with quiet_optuna():
            self._study = optuna.create_study(direction="maximize", sampler=sampler)
        self._open: OrderedDict[bytes, list[Any]] = OrderedDict()

    def ask(self, count: int, generation: int, attempt: int = 0) -> Proposals:
        """Ask `count` times; a point that the space's rules refuse is told as failed and asked again, 20 times."""
        vectors = np.empty((count, self.cells.d))
        with quiet_optuna(), one_blas_thread():
            self._reseed(generation, attempt)
            for i in range(count):
                for _ in range(_RULE_TRIES):
                    trial, vector = self._asked()
                    if not len(self.space.rules) or self.space.allowed(vector[None, :])[0]:
                        break
                    self._finish(trial, vector, np.nan, np.inf, FAILED)
                vectors[i] = vector
                self._open.setdefault(vector.tobytes(), []).append(trial)
        return Proposals(vectors, [self.name] * count)

    def _reseed(self, generation: int, attempt: int) -> None:
        seed = int(np.random.SeedSequence([self.seed & 0xFFFFFFFFFFFFFFFF, generation, attempt]).generate_state(1)[0])
        for owner in (self._study.sampler, getattr(self._study.sampler, "_random_sampler", None)):
            lazy = getattr(owner, "_rng", None)
            rng = getattr(lazy, "rng", None)
            if isinstance(rng, np.random.RandomState):
                rng.seed(seed)

    def _asked(self) -> tuple[Any, FloatArray]:
        try:
            return self._one()
        except (TypeError, ValueError, ArithmeticError, AttributeError, AssertionError) as exc:
            given = ", ".join(f"{key}={f'{value!r}':.40}" for key, value in self.arguments.items())
            if not given:
                raise
            raise ConfigError(
                f"sampler {self.name}: cannot propose with {given} ({exc}); mend or leave out run.sampler.kwargs"
            ) from exc

    def _one(self) -> tuple[Any, FloatArray]:
        trial = self._study.ask(self._distributions) if self._always else self._study.ask()
        row = np.full((1, self.cells.d), np.nan)
        for group in self.cells.groups:
            if group.parent >= 0 and self.cells.model(row)[0, group.parent] not in group.opens:
                continue
            for j in group.columns:
                path = self.cells.paths[j]
                distribution = self._distributions[path]
                row[0, j] = distribution.to_internal_repr(trial._suggest(path, distribution))
        model = self.cells.model(row)
        return trial, np.asarray(self.space.snap(self.cells.values(model)))[0]

    def tell(
        self,
        vectors: FloatArray,
        scores: FloatArray,
        violations: FloatArray,
        states: Int8Array,
        origins: Sequence[str],
    ) -> None:
        """Tell results in trial order; points it never asked for are added as finished trials."""
        del origins
        vectors = np.asarray(vectors, dtype=np.float64).reshape(len(states), self.cells.d)
        with quiet_optuna(), one_blas_thread():
            for vector, score, violation, state in zip(vectors, scores, violations, states, strict=True):
                key = vector.tobytes()
                waiting = self._open.get(key)
                trial = waiting.pop(0) if waiting else None
                if waiting is not None and not waiting:
                    del self._open[key]
                self._finish(trial, vector, float(score), float(violation), int(state))

    def _finish(self, trial: Any, vector: FloatArray, score: float, violation: float, state: int) -> None:
        import optuna

        kind = optuna.trial.TrialState.COMPLETE
        if state == FAILED or np.isnan(score):
            kind = optuna.trial.TrialState.FAIL
        elif state == PRUNED:
            kind = optuna.trial.TrialState.PRUNED
        attrs = {"constraints": [violation if np.isfinite(violation) else 1e300]}
        if trial is not None:
            storage = self._study._storage
            storage.set_trial_system_attr(trial._trial_id, "constraints", attrs["constraints"])
            if kind == optuna.trial.TrialState.PRUNED:
                trial.report(score, 0)
                self._study.tell(trial, state=kind)
            else:
                values = None if kind == optuna.trial.TrialState.FAIL else score
                self._study.tell(trial, values, state=kind)
            return
        known = {path: d for j, (path, d) in enumerate(self._named(vector)) if not np.isnan(vector[j])}
        params = {path: d.to_external_repr(float(vector[self.cells.paths.index(path)])) for path, d in known.items()}
        self._study.add_trial(
            optuna.trial.create_trial(
                state=kind,
                value=score if kind == optuna.trial.TrialState.COMPLETE else None,
                params=params,
                distributions=known,
                system_attrs=attrs,
                intermediate_values={0: score} if kind == optuna.trial.TrialState.PRUNED else {},
            )
        )

    def _named(self, vector: FloatArray) -> list[tuple[str, Any]]:
        del vector
        return [(path, self._distributions[path]) for path in self.cells.paths]


def optuna_sampler_names() -> dict[str, str]:
    """Short name → class name of every sampler that Optuna offers under a name of its own."""
    return {
        "optuna-tpe": "TPESampler",
        "optuna-random": "RandomSampler",
        "cmaes": "CmaEsSampler",
        "qmc": "QMCSampler",
        "gp": "GPSampler",
        "nsga2": "NSGAIISampler",
        "nsga3": "NSGAIIISampler",
        "optuna-brute": "BruteForceSampler",
    }


# Optuna's grid needs a `search_space` of its own; studies take `grid`, which needs no Optuna.
OPTUNA_GRID = {"optuna-grid": "GridSampler"}


def build_optuna(name: str, kwargs: Mapping[str, Any], seed: int | None) -> optuna.samplers.BaseSampler:
    """Make an Optuna sampler by short name; a wrong argument is refused with the ones that exist."""
    import inspect

    import optuna

    kind = getattr(optuna.samplers, {**optuna_sampler_names(), **OPTUNA_GRID}[name])
    allowed = inspect.signature(kind).parameters
    wrong = sorted(set(kwargs) - set(allowed))
    if wrong:
        raise ConfigError(
            f"sampler {name}: unknown argument {', '.join(map(repr, wrong))}; it takes {', '.join(sorted(allowed))}"
        )
    given = dict(kwargs)
    if "seed" in allowed:
        given.setdefault("seed", seed)
    try:
        with quiet_optuna():
            made: optuna.samplers.BaseSampler = kind(**given)
    except ImportError as exc:
        raise ConfigError(f"sampler {name}: {exc}") from exc
    except (TypeError, ValueError) as exc:
        raise ConfigError(f"sampler {name}: {json.dumps(given, default=str)}: {exc}") from exc
    return made
