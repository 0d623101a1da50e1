"""Samplers by name, with the guide's defaults."""

from __future__ import annotations

import difflib
import importlib.util
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from genesis.errors import ConfigError, MissingExtraError
from genesis.search.cells import SpaceLike
from genesis.search.proposals import BatchSampler, Proposals

if TYPE_CHECKING:
    import optuna

__all__ = [
    "AUTO_BUDGET",
    "SAMPLERS",
    "BatchSampler",
    "Proposals",
    "default_sampler",
    "make_sampler",
    "select_optuna_sampler",
    "startup_trials",
]

# What Optuna imports at the first proposal only, when the run has long begun.
_NEEDS = {"gp": ("torch", "scipy"), "cmaes": ("cmaes",)}

SAMPLERS = (
    "auto", "tpe", "random", "grid", "brute", "cmaes", "qmc", "gp", "nsga2", "nsga3",
    "optuna-tpe", "optuna-random", "optuna-brute", "rustuna-tpe",
)  # fmt: skip
AUTO_BUDGET = 500


def startup_trials(concurrency: int) -> int:
    """How many trials precede the first model: five per concurrent trial, at least 25."""
    return max(25, 5 * concurrency)


def default_sampler(budget: int) -> str:
    """The sampler for a study that names none: `auto` beyond 500 trials, else `tpe`."""
    return "auto" if budget > AUTO_BUDGET else "tpe"


def unknown(what: str, name: str, known: Iterable[str]) -> ConfigError:
    """An error that names what is allowed and the nearest of it."""
    names = sorted(known)
    near = difflib.get_close_matches(str(name).lower(), names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return ConfigError(f"{what}: {name!r} is unknown{hint} Use one of {', '.join(names)}")


def make_sampler(
    name: str,
    kwargs: Mapping[str, Any] | None,
    space: SpaceLike,
    *,
    seed: int,
    concurrency: int,
    budget: int,
) -> BatchSampler:
    """A batch sampler by name; `concurrency` is the size of a generation, `budget` the trials planned.

    Raises ConfigError for an unknown name or argument, MissingExtraError when what the sampler needs is not
    installed.
    """
    del budget  # for samplers to come; `default_sampler` has used it
    given = dict(kwargs or {})
    if name == "tpe":
        from genesis.search.tpe import TpeSampler

        options = tpe_options(given, concurrency, name=name)
        return TpeSampler(space, seed=seed, options=options, concurrency=concurrency)
    if name == "auto":
        from genesis.search.portfolio import PortfolioSampler

        options = tpe_options(given, concurrency, name=name)
        return PortfolioSampler(space, seed=seed, options=options, concurrency=concurrency)
    if name in ("random", "grid", "brute"):
        _check_names(name, given, ())
        if name == "random":
            from genesis.search.quasi import QuasiSampler

            return QuasiSampler(space, seed=seed, concurrency=concurrency)
        from genesis.search.grid_sampler import GridSampler

        return GridSampler(space, seed=seed, shuffle=name == "brute")
    if name == "rustuna-tpe":
        from genesis.search.rustuna_bridge import RustunaSampler

        _check_names(name, given, ("seed", "n_startup_trials", "multivariate"))
        _check_values(name, given)
        return RustunaSampler(space, given, seed=seed, startup=startup_trials(concurrency))
    if name not in SAMPLERS:
        raise unknown("sampler", name, SAMPLERS)
    from genesis.search.optuna_bridge import OptunaSampler

    made = select_optuna_sampler(name, given, concurrency=concurrency, seed=seed)
    _check_values(name, given)
    return OptunaSampler(name, made, space, seed=seed, arguments=given)


def tpe_options(given: Mapping[str, Any], concurrency: int, *, name: str = "tpe") -> Any:
    """Our estimator's options with the guide's defaults; `name` is the sampler's in messages."""
    from genesis.search.tpe import MANY_KERNELS, TpeOptions

    known = {field.name for field in fields(TpeOptions)}
    _check_names(name, given, known, also={"group", "seed", "consider_endpoints", "warn_independent_sampling"})
    _check_values(name, given)
    defaults = {"n_startup_trials": startup_trials(concurrency)}
    if name == "tpe" and concurrency == 1:
        defaults["bad_kernels"] = MANY_KERNELS
    return TpeOptions(**{**defaults, **{k: v for k, v in given.items() if k in known}})


def _check_names(name: str, given: Mapping[str, Any], known: Iterable[str], *, also: Iterable[str] = ()) -> None:
    """Refuse an argument that the sampler does not have; those of Optuna in `also` pass and do nothing."""
    names = sorted(known)
    wrong = sorted(set(map(str, given)) - {*names, *also})
    if not wrong:
        return
    if not names:
        raise ConfigError(f"sampler {name}: takes no arguments, got {', '.join(wrong)}; leave out run.sampler.kwargs")
    near = difflib.get_close_matches(wrong[0], names, n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    raise ConfigError(f"sampler {name}: has no argument {wrong[0]!r}{hint}; use one of {', '.join(names)}")


# Arguments of several samplers, whose libraries fail at the first proposal only, or take any value as true.
_WHOLE = {"n_startup_trials": 0, "n_ei_candidates": 1, "bad_kernels": 1, "popsize": 2}
_SWITCHES = ("multivariate", "constant_liar", "consider_magic_clip", "group", "scramble", "with_margin", "lr_adapt")


def _check_values(name: str, given: Mapping[str, Any]) -> None:
    for key, value in given.items():
        low = _WHOLE.get(key)
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if value is None and name not in ("tpe", "auto"):  # where the library has a default of its own
            continue
        if low is not None and (not isinstance(value, int) or not number or value < low):
            allowed, example = f"a whole number of at least {low}", "32"
        elif key in _SWITCHES and not isinstance(value, bool):
            allowed, example = "true or false", "true"
        elif key == "prior_weight" and not (number and 0.0 <= value < float("inf")):
            allowed, example = "a number from 0 up", "1.0"
        elif key == "perturbation" and not (number and 0.0 < value <= 1.0):
            allowed, example = "a number above 0, at most 1", "0.3"
        else:
            continue
        raise ConfigError(f"sampler {name}: {key} is {value!r}, not {allowed}; write kwargs: {{{key}: {example}}}")


def select_optuna_sampler(
    name: str | None = None,
    kwargs: Mapping[str, Any] | None = None,
    concurrency: int = 1,
    *,
    seed: int | None = None,
) -> optuna.samplers.BaseSampler:
    """An Optuna sampler by name, in any case; None is `tpe`.

    For `tpe` and `optuna-tpe` the guide's defaults apply, each overridable:
    `multivariate` and `constant_liar` on, `n_startup_trials` max(25, 5 × concurrency), `n_ei_candidates` 48. `tpe` is
    Optuna's estimator here too; ours is `genesis.samplers.TPESampler`. No Optuna warning about an experimental or
    deprecated argument is shown. `grid` needs Optuna's `search_space` among the arguments.

    >>> type(select_optuna_sampler("tpe", {"n_ei_candidates": 24}, concurrency=8, seed=7)).__name__
    'TPESampler'
    """
    from genesis.search.optuna_bridge import OPTUNA_GRID, build_optuna, optuna_sampler_names

    name = "tpe" if name is None else name.lower()
    key = {"tpe": "optuna-tpe", "random": "optuna-random", "brute": "optuna-brute", "grid": "optuna-grid"}.get(
        name, name
    )
    names = optuna_sampler_names()
    if key not in {**names, **OPTUNA_GRID}:
        raise unknown("sampler", name, [*names, "tpe", "random", "brute", "grid"])
    for package in _NEEDS.get(key, ()):
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(f"the sampler {name!r} needs the package {package}: pip install {package}")
    given = dict(kwargs or {})
    if key == "optuna-tpe":
        defaults = {
            "multivariate": True,
            "constant_liar": True,
            "n_startup_trials": startup_trials(concurrency),
            "n_ei_candidates": 48,
        }
        given = {**defaults, **given}
    return build_optuna(key, given, seed)
