"""The environment variables, read and checked in one place, and the order in which settings override each other.

A flag wins over the environment, the environment over the study file, the file over the default.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from genesis.errors import ConfigError

LARGEST_SEED = 2**32 - 1
MOST_CONCURRENT = 1_024
MOST_CACHED = 1_000_000

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the environment asks for; None leaves it to the study file."""

    json_cache: bool = False
    json_cache_size: int = 256
    fast_window: bool = False
    precompute_features: bool = False
    max_concurrent: int | None = None
    random_seed: int | None = None
    max_duplicate_streak: int | None = None
    pure_python: bool = False


@dataclass(frozen=True, slots=True)
class Variable:
    """One environment variable: the `Settings` field it fills, the study key it overrides, what it does."""

    name: str
    setting: str
    overrides: str | None
    allowed: str
    meaning: str
    read: Callable[[str], Any]


def _switch(text: str) -> bool:
    low = text.lower()
    if low in _TRUE:
        return True
    if low in _FALSE:
        return False
    raise ValueError(text)


def _whole(low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if len(text) > 20 or not text.removeprefix("-").isascii() or not text.removeprefix("-").isdigit():
            raise ValueError(text)
        value = int(text)
        if not low <= value <= high:
            raise ValueError(text)
        return value

    return read


_SWITCH = "1, true, yes, on or 0, false, no, off"

VARIABLES: tuple[Variable, ...] = (
    Variable(
        "GENESIS_OPTIMIZER_JSON_CACHE",
        "json_cache",
        None,
        _SWITCH,
        "keep parsed trial files in memory, by path, size and time of change",
        _switch,
    ),
    Variable(
        "GENESIS_OPTIMIZER_JSON_CACHE_SIZE",
        "json_cache_size",
        None,
        f"a whole number from 1 to {MOST_CACHED}",
        "how many parsed trial files that cache keeps",
        _whole(1, MOST_CACHED),
    ),
    Variable(
        "GENESIS_FAST_WINDOW",
        "fast_window",
        None,
        _SWITCH,
        "give plain-Python strategies read-only views of the bars in place of copies",
        _switch,
    ),
    Variable(
        "GENESIS_PRECOMPUTE_FEATURES",
        "precompute_features",
        None,
        _SWITCH,
        "compute all features of the space before the first trial and share them between workers",
        _switch,
    ),
    Variable(
        "GENESIS_MAX_CONCURRENT",
        "max_concurrent",
        "run.max_concurrent",
        f"a whole number from 1 to {MOST_CONCURRENT}",
        "how many trials are proposed at once",
        _whole(1, MOST_CONCURRENT),
    ),
    Variable(
        "GENESIS_RANDOM_SEED",
        "random_seed",
        "run.seed",
        f"a whole number from 0 to {LARGEST_SEED}",
        "the seed of the study",
        _whole(0, LARGEST_SEED),
    ),
    Variable(
        "OPTUNA_MAX_DUPLICATE_STREAK",
        "max_duplicate_streak",
        "run.max_duplicate_streak",
        "a whole number from 1 to 1000000",
        "how many proposals in a row may be known already before the run ends",
        _whole(1, 1_000_000),
    ),
    Variable(
        "GENESIS_PURE_PYTHON",
        "pure_python",
        None,
        _SWITCH,
        "compute trial keys in Python also where the compiled code was built",
        _switch,
    ),
)


def read_settings(env: Mapping[str, str] | None = None) -> Settings:
    """Read the variables from `env` (the process environment if None); an empty one counts as unset.

    Raises ConfigError naming every variable whose value is absurd.

    >>> read_settings({"GENESIS_RANDOM_SEED": "42"}).random_seed
    42
    """
    found: dict[str, Any] = {}
    problems = []
    for variable in VARIABLES:
        try:
            value = read_variable(variable.name, env)
        except ConfigError as error:
            problems.append(str(error))
        else:
            if value is not None:
                found[variable.setting] = value
    if problems:
        text = problems[0] if len(problems) == 1 else "\n  ".join([f"{len(problems)} problems:", *problems])
        raise ConfigError(text, problems=problems)
    return Settings(**found)


def read_variable(name: str, env: Mapping[str, str] | None = None) -> Any:
    """Read one of the variables; None if it is unset or empty. Raises ConfigError for an absurd value.

    >>> read_variable("GENESIS_MAX_CONCURRENT", {"GENESIS_MAX_CONCURRENT": "4"})
    4
    """
    variable = next(one for one in VARIABLES if one.name == name)
    text = (os.environ if env is None else env).get(name, "").strip()
    if not text:
        return None
    try:
        return variable.read(text)
    except ValueError:
        problem = f"{name}: {text!r} is not {variable.allowed}; change it, or unset {name}"
        raise ConfigError(problem, problems=[problem]) from None


def misspelt_variables(env: Mapping[str, str] | None = None) -> list[str]:
    """Return a note for each set variable that looks like one of ours and is not."""
    env = os.environ if env is None else env
    known = [variable.name for variable in VARIABLES]
    notes = []
    for name in sorted(env):
        if name.startswith("GENESIS_") and name not in known:
            close = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
            if close:
                notes.append(f"{name}: is not read; did you mean {close[0]}?")
    return notes


def study_overrides(settings: Settings) -> dict[str, tuple[str, Any]]:
    """Return {study key: (variable, value)} for the variables that override the study file."""
    return {
        variable.overrides: (variable.name, value)
        for variable in VARIABLES
        if variable.overrides is not None and (value := getattr(settings, variable.setting)) is not None
    }
