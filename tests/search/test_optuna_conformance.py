"""Our estimator passes Optuna's own public sampler tests."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from optuna.samplers import BaseSampler
from optuna.testing.pytest_samplers import BasicSamplerTestCase, MultiObjectiveSamplerTestCase, RelativeSamplerTestCase

from genesis.samplers import TPESampler


class TestDefaults(BasicSamplerTestCase, RelativeSamplerTestCase, MultiObjectiveSamplerTestCase):
    """With no startup trials, so that the model is under test from the first trial on."""

    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return lambda: TPESampler(n_startup_trials=0, seed=1)


class TestIndependent(BasicSamplerTestCase, MultiObjectiveSamplerTestCase):
    """Each parameter alone."""

    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return lambda: TPESampler(n_startup_trials=0, multivariate=False, constant_liar=False, seed=1)


class TestGroups(BasicSamplerTestCase, RelativeSamplerTestCase):
    """Conditional spaces decomposed into groups."""

    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return lambda: TPESampler(n_startup_trials=0, group=True, seed=1)
