"""What a strategy is: features and parameters in, position-independent signals out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from genesis.strategy.features import Features
from genesis.strategy.loading import load_strategy
from genesis.types import Params, Signals

__all__ = ["Features", "Signals", "Strategy", "load_strategy"]


@runtime_checkable
class Strategy(Protocol):
    """A strategy: `id` and `version` are part of every result's identity, `signals` is a pure function.

    `signals` returns arrays of `features.n` bars. Value i may depend on bars 0..i alone, and never on a position:
    that is what lets one compiled loop trade any strategy, and results be replayed. It raises `StrategyError` for
    parameters it does not know.

    Optional class attributes: `space` (the parameter space to search when a study names none; parameter specs as in
    a study file), `higher` (the default higher timeframe), `needs` (which features hang on which parameters, read by
    `precompute`), `lanes` (many parameter sets at once, see `engine.lanes`).
    """

    id: str
    version: str

    def signals(self, params: Params, features: Features) -> Signals:
        """Signals for one parameter set (nested mapping)."""
        ...


def default_space(strategy: Strategy) -> Mapping[str, Any]:
    """The space declared beside the strategy, empty when it declares none."""
    space = getattr(strategy, "space", None)
    return space if isinstance(space, Mapping) else {}
