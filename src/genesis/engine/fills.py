"""The records a simulation leaves, fills and trades, and their tables.

Kernels write these records; tables with times and reason names are made only when somebody looks at them.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

    from genesis.types import FloatArray, IntArray

# no padding in either record, so that equal records are equal bytes
FILL = np.dtype(
    [
        ("bar", np.int64),
        ("units", np.float64),
        ("price", np.float64),
        ("fee", np.float64),
        ("trade", np.int32),
        ("side", np.int16),
        ("reason", np.int16),
    ],
    align=True,
)
TRADE = np.dtype(
    [
        ("entry_bar", np.int64),
        ("exit_bar", np.int64),
        ("units", np.float64),
        ("entry_price", np.float64),
        ("exit_value", np.float64),
        ("fees", np.float64),
        ("pnl", np.float64),
        ("side", np.int32),
        ("reason", np.int32),
    ],
    align=True,
)

ENTRY, SIGNAL, OPPOSITE, STOP, TARGET, TRAILING, BREAK_EVEN, PARTIAL, MAX_HOLD, END, BANKRUPT = range(11)
REASONS = (
    "entry",
    "signal",
    "opposite",
    "stop_loss",
    "take_profit",
    "trailing_stop",
    "break_even",
    "partial",
    "max_hold",
    "end",
    "bankrupt",
)
_NAMES = np.array(REASONS, dtype=object)
_HASHED = ("bar", "side", "units", "price")


def fills_hash(fills: NDArray[Any]) -> str:
    """SHA-256 of the fills as little-endian columns bar, side, units, price: equal means the same behaviour.

    Fees and reasons are left out: two parameter sets that trade alike are alike, whatever name the exit had.
    """
    digest = hashlib.sha256(len(fills).to_bytes(8, "little"))
    for name, kind in zip(_HASHED, ("<i8", "<i1", "<f8", "<f8"), strict=True):
        digest.update(fills[name].astype(kind).tobytes())
    return digest.hexdigest()


def fills_table(fills: NDArray[Any], times: IntArray) -> pd.DataFrame:
    """One row per fill: time (of the bar, UTC), bar, side (+1 buy, -1 sell), units, price, fee, reason, trade."""
    import pandas as pd  # slow to import, and only tables need it

    return pd.DataFrame(
        {
            "time": pd.to_datetime(times[fills["bar"]], utc=True),
            "bar": fills["bar"],
            "side": fills["side"].astype(np.int64),
            "units": fills["units"],
            "price": fills["price"],
            "fee": fills["fee"],
            "reason": _NAMES[fills["reason"]],
            "trade": fills["trade"].astype(np.int64),
        }
    )


def trades_table(
    trades: NDArray[Any], times: IntArray, high: FloatArray, low: FloatArray, *, next_open: bool
) -> pd.DataFrame:
    """One row per trade: entry and exit, net profit, return on the entry value, bars held, excursions, exit reason.

    `mae` and `mfe` are the worst and the best price that the position surely met, as fractions of the entry price: the
    bars between entry and exit, and the exit price; the rest of the exit bar may have come after the exit.
    """
    import pandas as pd

    entry_value = trades["units"] * trades["entry_price"]
    exit_price = trades["exit_value"] / trades["units"]
    adverse, favourable = _excursions(trades, exit_price, high, low, next_open=next_open)
    return pd.DataFrame(
        {
            "entry_time": pd.to_datetime(times[trades["entry_bar"]], utc=True),
            "exit_time": pd.to_datetime(times[trades["exit_bar"]], utc=True),
            "entry_bar": trades["entry_bar"],
            "exit_bar": trades["exit_bar"],
            "side": trades["side"].astype(np.int64),
            "units": trades["units"],
            "entry_price": trades["entry_price"],
            "exit_price": exit_price,
            "fees": trades["fees"],
            "pnl": trades["pnl"],
            "return": trades["pnl"] / entry_value,
            "bars_held": trades["exit_bar"] - trades["entry_bar"],
            "mae": adverse,
            "mfe": favourable,
            "reason": _NAMES[trades["reason"]],
        }
    )


def _excursions(
    trades: NDArray[Any], exit_price: FloatArray, high: FloatArray, low: FloatArray, *, next_open: bool
) -> tuple[FloatArray, FloatArray]:
    adverse, favourable = np.zeros(len(trades)), np.zeros(len(trades))
    for row, trade in enumerate(trades):
        inside = slice(int(trade["entry_bar"]) + (0 if next_open else 1), int(trade["exit_bar"]))
        price, side, last = float(trade["entry_price"]), int(trade["side"]), float(exit_price[row])
        top = max(price, last, float(high[inside].max(initial=-np.inf)))
        bottom = min(price, last, float(low[inside].min(initial=np.inf)))
        worst, best = (bottom, top) if side > 0 else (top, bottom)
        adverse[row], favourable[row] = side * (worst / price - 1.0), side * (best / price - 1.0)
    return adverse, favourable
