"""Snapshots of the portfolio: what telling the whole history at once does not bring back."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from genesis.search import state
from genesis.search.cma import CmaRun
from genesis.search.proposals import rank_classes
from genesis.types import FloatArray, Int8Array

if TYPE_CHECKING:
    from genesis.search.portfolio import PortfolioSampler

_GIVEN = frozenset({"space", "seed", "concurrency", "options", "cells"})
_TOLD = frozenset({"tpe", "model", "_known"})  # what every told result goes into, in whatever portions
_DERIVED = frozenset({"_bottoms"})  # worked out again when it is asked for
_LEFT_OUT = _GIVEN | _TOLD | _DERIVED


def snapshot(sampler: PortfolioSampler) -> bytes:
    """Everything else, of the library's strategy too: each attribute that the sampler has, whatever its name."""
    kept = {name: one for name, one in vars(sampler).items() if name not in _LEFT_OUT}
    return state.dump({"made_by": made_by(), **kept}, classes=_classes(), shared={"cells": sampler.cells})


def restore(
    sampler: PortfolioSampler,
    data: bytes,
    vectors: FloatArray,
    scores: FloatArray,
    violations: FloatArray,
    states: Int8Array,
    origins: Sequence[str],
) -> None:
    """Bring a new sampler to where `snapshot` was taken, after those results; `ValueError` changes nothing."""
    kept = state.load(data, classes=_classes(), shared={"cells": sampler.cells})
    made = kept.pop("made_by", None)
    if made != made_by():
        raise ValueError(f"it was made by {made}, this is {made_by()}")
    if kept.keys() != vars(sampler).keys() - _LEFT_OUT:
        raise ValueError("it does not hold what this version keeps")
    vectors = np.asarray(vectors, dtype=np.float64).reshape(len(states), sampler.cells.d)
    sampler.tpe.tell(vectors, scores, violations, states, origins)
    classes, losses = rank_classes(scores, violations, states)
    for vector, kind, loss in zip(vectors, classes.tolist(), losses.tolist(), strict=True):
        sampler._known.setdefault(vector.tobytes(), (kind, loss))
    vars(sampler).update(kept)


@cache
def made_by() -> str:
    """The versions of all that decides what the attributes mean."""
    from genesis import __version__

    return f"genesis {__version__}, cmaes {version('cmaes')}, numpy {np.__version__}"


@cache
def _classes() -> dict[str, Any]:
    from cmaes import CMA, CMAwM

    return {"CmaRun": CmaRun, "CMAwM": CMAwM, "CMA": CMA}
