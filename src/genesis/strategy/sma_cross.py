"""Two moving averages: long when the fast one crosses above the slow one, short when it crosses below."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from genesis.engine.compile import jit
from genesis.strategy.features import Features
from genesis.strategy.needs import Need
from genesis.strategy.parameters import ParameterTable, choice, whole
from genesis.types import FloatArray, Int8Array, Params, Rules, Signals

PARAMETERS = ParameterTable(
    "sma_cross",
    [
        ("fast", 10, whole(1, 100_000), "bars of the fast mean"),
        ("slow", 30, whole(1, 100_000), "bars of the slow mean"),
        (
            "side",
            "both",
            choice("both", "long", "short"),
            "which positions may be opened; a cross against one closes it",
        ),
    ],
)


@jit
def crosses(fast: FloatArray, slow: FloatArray) -> Int8Array:
    """+1 where fast was below slow a bar ago and is above now, -1 the other way; touching is no cross."""
    out = np.zeros(fast.shape[0], dtype=np.int8)
    for i in range(1, fast.shape[0]):
        before = fast[i - 1] - slow[i - 1]
        now = fast[i] - slow[i]
        if before < 0.0 and now > 0.0:
            out[i] = 1
        elif before > 0.0 and now < 0.0:
            out[i] = -1
    return out


class SmaCross:
    """The classic crossover, on closes; always in the market after the first cross unless `side` says otherwise."""

    id: ClassVar[str] = "sma_cross"
    version: ClassVar[str] = "1"
    higher: ClassVar[str | None] = None
    defaults: ClassVar[dict[str, Any]] = PARAMETERS.defaults
    needs: ClassVar[tuple[Need, ...]] = (Need("sma", {"period": "fast"}), Need("sma", {"period": "slow"}))
    space: ClassVar[dict[str, Any]] = {
        "fast": {"type": "int", "low": 5, "high": 50},
        "slow": {"type": "int", "low": 20, "high": 200},
    }

    def signals(self, params: Params, features: Features) -> Signals:
        """Entries at the bar of the cross; with one side, the opposite cross leaves the position."""
        fast, slow, side = PARAMETERS.read(params).p
        cross = crosses(features.fetch("sma", int(fast)), features.fetch("sma", int(slow)))
        if side == 0.0:
            return Signals(entry=cross)
        keep = 1 if side == 1.0 else -1
        entry = np.where(cross == keep, cross, 0).astype(np.int8)
        leave = np.where(cross == -keep, 1 if keep == 1 else 2, 0).astype(np.int8)
        blocked = {"side": int(np.count_nonzero(cross == -keep))}
        return Signals(entry=entry, exit=leave, rules=Rules(opposite="exit"), blocked=blocked)
