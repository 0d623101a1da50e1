"""Samplers for plain Optuna studies: `optuna.create_study(sampler=genesis.samplers.TPESampler())`."""

from __future__ import annotations

from genesis.search.samplers import select_optuna_sampler
from genesis.search.tpe_optuna import TPESampler

__all__ = ["TPESampler", "select_optuna_sampler"]
