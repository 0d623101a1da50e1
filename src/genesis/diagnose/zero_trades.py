"""Why trials do not trade: which gate stood in the way, which parameter region is closed, what value would open it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from genesis.diagnose.findings import Finding
from genesis.types import FloatArray, TrialResult

ZERO_TRADE_WARNING = 0.5
_LEAST_SIDE = 5
_EVIDENCE = 4.0  # standard errors; the threshold is chosen among all, so 2 would be met by chance


@dataclass(frozen=True, slots=True)
class Region:
    """A side of one parameter where trials do not trade.

    `closed` of the `inside` trials there did not trade, against `outside_closed` of `outside` elsewhere; `edit`
    keeps the part of the range that trades.
    """

    path: str
    words: str
    edit: str
    inside: int
    closed: int
    outside: int
    outside_closed: int

    @property
    def contrast(self) -> float:
        """Share without trades inside minus outside."""
        return self.closed / self.inside - self.outside_closed / max(self.outside, 1)

    @property
    def evidence(self) -> float:
        """The contrast in standard errors of two equal shares."""
        count = self.inside + self.outside
        share = (self.closed + self.outside_closed) / count
        spread = share * (1.0 - share) * (1.0 / self.inside + 1.0 / max(self.outside, 1))
        return self.contrast / math.sqrt(spread) if spread > 0.0 else 0.0


def gate_counts(results: Sequence[TrialResult]) -> dict[str, int]:
    """Bars blocked per gate, summed over the trials, most blocking first.

    >>> gate_counts([])
    {}
    """
    total: dict[str, int] = {}
    for result in results:
        for gate, bars in result.blocked.items():
            total[gate] = total.get(gate, 0) + int(bars)
    return dict(sorted(((gate, bars) for gate, bars in total.items() if bars), key=lambda item: -item[1]))


def traded(metrics: Mapping[str, float | None]) -> bool | None:
    """Whether a trial traded; None when its metrics do not say."""
    count = metrics.get("trades")
    return None if count is None else count > 0


def closed_regions(space: Any, vectors: FloatArray, silent: np.ndarray[Any, Any], *, limit: int = 3) -> list[Region]:
    """The parameter regions that best separate silent trials (bool[m]) from trading ones, the clearest first.

    One threshold per numeric parameter and one set of choices per categorical one; both sides need 5 trials.
    """
    regions = []
    for index, column in enumerate(space.columns):
        values = vectors[:, index]
        known = ~np.isnan(values)
        if known.sum() < 2 * _LEAST_SIDE:
            continue
        region = (
            _closed_choices(column, values[known].astype(np.int64), silent[known])
            if column.kind == "categorical"
            else _closed_side(column, values[known], silent[known])
        )
        if region is not None and region.contrast >= 0.2 and region.evidence >= _EVIDENCE:
            regions.append(region)
    return sorted(regions, key=lambda region: -region.contrast)[:limit]


def _closed_side(column: Any, values: FloatArray, silent: np.ndarray[Any, Any]) -> Region | None:
    order = np.argsort(values, kind="stable")
    ordered, quiet = values[order], silent[order]
    count, total = len(ordered), int(quiet.sum())
    below = np.cumsum(quiet)[:-1]
    left = np.arange(1, count)
    cut = (ordered[1:] > ordered[:-1]) & (left >= _LEAST_SIDE) & (count - left >= _LEAST_SIDE)
    if not cut.any():
        return None
    share_left, share_right = below / left, (total - below) / (count - left)
    weight = left * (count - left) / count**2
    gain = np.where(cut, weight * (share_left - share_right) ** 2, -1.0)
    at = int(gain.argmax())
    shown = "d" if column.kind == "int" else ".6g"
    low_side = share_left[at] > share_right[at]
    if low_side:
        inside, closed = int(left[at]), int(below[at])
        edge, opens = ordered[at], ordered[at + 1]
        words, bound = f"{column.path} <= {_shown(edge, shown)}", "low"
    else:
        inside, closed = int(count - left[at]), int(total - below[at])
        edge, opens = ordered[at + 1], ordered[at]
        words, bound = f"{column.path} >= {_shown(edge, shown)}", "high"
    edit = f"set {column.path}: {bound}: {_shown(opens, shown)}"
    return Region(column.path, words, edit, inside, closed, count - inside, total - closed)


def _shown(value: float, style: str) -> str:
    return format(int(value), "d") if style == "d" else format(float(value), style)


def _closed_choices(column: Any, values: np.ndarray[Any, Any], silent: np.ndarray[Any, Any]) -> Region | None:
    overall = float(silent.mean())
    closed_set: list[int] = []
    open_set: list[int] = []
    for index in range(len(column.choices)):
        here = silent[values == index]
        if not len(here):
            continue
        (closed_set if here.mean() > overall else open_set).append(index)
    if not closed_set or not open_set:
        return None
    inside = np.isin(values, closed_set)
    names = [str(column.choices[index]) for index in closed_set]
    keep = [column.choices[index] for index in open_set]
    return Region(
        column.path,
        f"{column.path} in {{{', '.join(names)}}}",
        f"keep {column.path}: {keep}",
        int(inside.sum()),
        int(silent[inside].sum()),
        int((~inside).sum()),
        int(silent[~inside].sum()),
    )


def diagnose_zero_trades(
    space: Any, vectors: FloatArray, trade_counts: FloatArray, blocked: Mapping[str, int], *, bars: int | None = None
) -> Finding | None:
    """The zero-trade warning of this study, or None at or below half of the trials.

    `trade_counts` float64[m] has NaN where a trial does not say; `blocked` sums bars per gate over silent trials.
    """
    known = ~np.isnan(trade_counts)
    count = int(known.sum())
    silent = trade_counts[known] == 0
    quiet = int(silent.sum())
    if not count or quiet / count <= ZERO_TRADE_WARNING:
        return None
    what = (
        f"No trial traded: all {count} made 0 trades"
        if quiet == count
        else f"{quiet} of {count} trials ({quiet / count:.0%}) made no trade"
    )
    regions = [] if quiet == count else closed_regions(space, vectors[known], silent)
    return Finding("zero-trades", "warning", what, _why(blocked, quiet, bars, regions), _edit(blocked, regions))


def _why(blocked: Mapping[str, int], quiet: int, bars: int | None, regions: list[Region]) -> str:
    parts = []
    if blocked:
        total = sum(blocked.values())
        gates = ", ".join(
            f"{gate} blocked {number / max(quiet, 1):,.0f} bars a trial ({number / total:.0%} of all blocking)"
            for gate, number in list(blocked.items())[:3]
            if number / total >= 0.005
        )
        parts.append(f"gates: {gates}" + (f", of {bars:,} bars" if bars else ""))
    else:
        parts.append("no gate reported blocking a bar: the entry condition itself never came true")
    parts.extend(
        f"where {region.words}, {region.closed} of {region.inside} did not trade"
        f" (elsewhere {region.outside_closed} of {region.outside})"
        for region in regions
    )
    return "; ".join(parts)


# gates named as the guide names them, and the guide's remedy for each
_REMEDIES = (
    ("conf", "lower entry_conf_overall (try 0.25-0.35)"),
    ("fib", "widen the Fibonacci tolerance_atr range"),
    ("htf", "enable the LTF override or relax the higher-timeframe gate"),
    ("ltf", "enable the LTF override"),
    ("timeframe", "enable the LTF override or relax the higher-timeframe gate"),
    ("regime", "widen the regime limits"),
    ("vol", "widen the volatility limits"),
)


def _edit(blocked: Mapping[str, int], regions: list[Region]) -> str:
    steps = [region.edit for region in regions]
    if blocked:
        gate = next(iter(blocked))
        remedy = next((words for part, words in _REMEDIES if part in gate.lower()), f"loosen what feeds gate '{gate}'")
        steps.append(remedy)
    if not regions:
        steps.append("run `genesis smoke` on the study: it tries each parameter's ends until something trades")
    return "; ".join(steps)
