"""Rustuna's estimator behind the batch face, an optional extra: Optuna's algorithm written in Rust."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from genesis.errors import ConfigError, MissingExtraError
from genesis.search.cells import Cells, SpaceLike
from genesis.search.proposals import FAILED, Proposals
from genesis.types import FloatArray, Int8Array

_RULE_TRIES = 20


class RustunaSampler:
    """Asks one point at a time. A run that resumes repeats its asks, since the library's generator cannot be set."""

    name = "rustuna-tpe"

    def __init__(self, space: SpaceLike, kwargs: Mapping[str, Any], *, seed: int, startup: int) -> None:
        try:
            import rustuna
        except ImportError as exc:
            raise MissingExtraError("sampler rustuna-tpe needs: pip install 'genesis-core[rustuna]'") from exc
        self.space = space
        self.cells = Cells(space.columns)
        given = {"n_startup_trials": startup, "multivariate": True, "seed": seed & 0xFFFFFFFF, **kwargs}
        try:
            sampler = rustuna.samplers.TPESampler(**given)
        except (TypeError, ValueError) as exc:
            raise ConfigError(f"sampler rustuna-tpe: {exc}") from exc
        self._state = rustuna.trial.TrialState
        self._study = rustuna.create_study(direction="maximize", sampler=sampler)
        self._open: dict[bytes, list[int]] = {}

    def ask(self, count: int, generation: int, attempt: int = 0) -> Proposals:
        """Ask `count` times; a point that the rules refuse is told as failed and asked again, 20 times."""
        del generation, attempt
        vectors = np.empty((count, self.cells.d))
        for i in range(count):
            for _ in range(_RULE_TRIES):
                number, vector = self._one()
                if not len(self.space.rules) or self.space.allowed(vector[None, :])[0]:
                    break
                self._study.tell(number, None, self._state.FAIL)
            vectors[i] = vector
            self._open.setdefault(vector.tobytes(), []).append(number)
        return Proposals(vectors, [self.name] * count)

    def _one(self) -> tuple[int, FloatArray]:
        trial = self._study.ask()
        cells = self.cells
        vector = np.full(cells.d, np.nan)
        model = np.full(cells.d, np.nan)
        for group in cells.groups:
            if group.parent >= 0 and model[group.parent] not in group.opens:
                continue
            for j in group.columns:
                path = cells.paths[j]
                if cells.categorical[j]:
                    vector[j] = trial.suggest_categorical(path, list(range(int(cells.count[j]))))
                elif cells.count[j] and not cells.log[j]:
                    index = trial.suggest_int(path, 0, int(cells.count[j]) - 1)
                    vector[j] = cells.low[j] + index * cells.step[j]
                else:
                    vector[j] = trial.suggest_float(path, cells.low[j], cells.high[j], log=bool(cells.log[j]))
                one = np.full((1, cells.d), np.nan)
                one[0, j] = vector[j]
                model[j] = cells.model(one)[0, j]
        return int(trial.number), np.asarray(self.space.snap(vector[None, :]))[0]

    def tell(
        self,
        vectors: FloatArray,
        scores: FloatArray,
        violations: FloatArray,
        states: Int8Array,
        origins: Sequence[str],
    ) -> None:
        """Tell results in trial order; infeasible ones as failed, since the library knows no constraints.

        A point that it never asked for is passed over.
        """
        del origins
        vectors = np.asarray(vectors, dtype=np.float64).reshape(len(states), self.cells.d)
        for vector, score, violation, state in zip(vectors, scores, violations, states, strict=True):
            waiting = self._open.get(vector.tobytes())
            if not waiting:
                continue
            number = waiting.pop(0)
            if not waiting:
                del self._open[vector.tobytes()]
            if state == FAILED or np.isnan(score) or violation > 0:
                self._study.tell(number, None, self._state.FAIL)
            else:
                self._study.tell(number, float(score))
