"""The guide's door: each name is one line from its home in `genesis`, and no logic lives here."""

from __future__ import annotations

from importlib.util import find_spec as _find_spec

from genesis.search.samplers import select_optuna_sampler as _select_optuna_sampler
from genesis.search.space import expand_value as _expand_value
from genesis.search.space import suggest as _suggest_parameters
from genesis.trials.codec import json_loads as _json_loads
from genesis.trials.files import load_existing_trials as _load_existing_trials
from genesis.trials.identity import trial_key as _trial_key
from genesis.trials.identity import trial_key_cache as _TRIAL_KEY_CACHE  # noqa: N812 - the guide's name
from genesis.trials.merge import deep_merge as _deep_merge

OPTUNA_AVAILABLE: bool = _find_spec("optuna") is not None

__all__ = [
    "OPTUNA_AVAILABLE",
    "_TRIAL_KEY_CACHE",
    "_deep_merge",
    "_expand_value",
    "_json_loads",
    "_load_existing_trials",
    "_select_optuna_sampler",
    "_suggest_parameters",
    "_trial_key",
]
