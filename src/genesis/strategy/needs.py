"""A strategy's declaration of the features it reads and the parameters that each hangs on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from genesis.types import FloatArray

if TYPE_CHECKING:
    from genesis.strategy.features import Features


@dataclass(frozen=True, slots=True)
class Need:
    """One feature: `arguments` maps its parameters to the strategy's dotted names.

    `timeframe` is the strategy's parameter that names the higher timeframe it is read on; `resolve(base, value)` turns
    that parameter's value into a timeframe, or None for no higher one.
    """

    feature: str
    arguments: Mapping[str, str] = field(default_factory=dict)
    timeframe: str | None = None
    resolve: Callable[[str, Any], str | None] | None = None

    @property
    def paths(self) -> tuple[str, ...]:
        """The strategy's parameters that this feature hangs on."""
        names = tuple(dict.fromkeys(self.arguments.values()))
        return names if self.timeframe is None else (*names, self.timeframe)

    def fetch(self, features: Features, values: Mapping[str, Any]) -> FloatArray | None:
        """The feature for these values of the strategy's parameters; None where there is no higher timeframe."""
        given = {name: values[path] for name, path in self.arguments.items()}
        if self.timeframe is None:
            return features.get(self.feature, **given)
        wanted = values[self.timeframe]
        timeframe = self.resolve(features.bars.timeframe, wanted) if self.resolve else wanted
        return None if timeframe is None else features.higher(timeframe).get(self.feature, **given)
