"""A strategy in a file of one's own: buy dips in a rising week, leave when they have recovered.

Backtest it:  genesis backtest examples/my_strategy.py:MyStrategy --data sample:IBM -p entry.rsi_below=35
Search it:    strategy: ./examples/my_strategy.py:MyStrategy   in a study file
"""

from __future__ import annotations

import numpy as np

from genesis import Rules, Signals


class MyStrategy:
    """Long while the weekly close is above its mean and the daily RSI is low."""

    # Searched when a study names no parameters of its own; the same words as in a study file.
    space = {
        "entry": {
            "rsi_period": {"type": "int", "low": 2, "high": 20},
            "rsi_below": {"type": "float", "low": 10, "high": 45, "step": 2.5},
        },
        "exit": {
            "rsi_above": {"type": "float", "low": 50, "high": 80, "step": 2.5},
            "stop_atr": {"type": "float", "low": 1.5, "high": 6.0, "step": 0.5},
        },
    }

    def signals(self, params, features):
        entry, leave = params.get("entry", {}), params.get("exit", {})
        rsi = features.rsi(int(entry.get("rsi_period", 5)))
        atr = features.atr(14)
        weekly = features.higher("1w").get("ema_gap", period=20)  # as of the last week that has closed
        buy = (weekly > 0.0) & (rsi < entry.get("rsi_below", 35)) & (atr > 0.0)
        return Signals(
            entry=buy.astype(np.int8),
            exit=np.where(rsi > leave.get("rsi_above", 65), 1, 0).astype(np.int8),
            stop_distance=np.where(buy, leave.get("stop_atr", 3.0) * atr, 0.0),
            rules=Rules(max_hold_bars=30),
            blocked={"week_not_rising": int(np.count_nonzero(~(weekly > 0.0)))},
        )
