"""Answer running trials: collect each one's running scores, and ask the pruner whether it goes on."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from genesis.search.pruners import Pruner
    from genesis.types import TrialSpec

REMEMBERED = 10_000  # trials whose reports are held; a trial of long ago has ended


class Reports:
    """A `Report` that asks a pruner with all of the trial's reports so far."""

    def __init__(self, pruner: Pruner) -> None:
        self._pruner = pruner
        self._reports: dict[int, list[float]] = {}

    def __call__(self, spec: TrialSpec, step: int, value: float) -> bool:
        """Whether to stop the trial here; an undefined score (NaN) never stops one."""
        if step == 1:
            self._reports[spec.number] = []
            if len(self._reports) > REMEMBERED:
                del self._reports[next(iter(self._reports))]
        reports = self._reports[spec.number]
        reports.append(value)
        return not math.isnan(value) and self._pruner.decide(spec.number, reports)
