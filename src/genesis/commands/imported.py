"""What a command says of a run that `genesis import` made: its trials are here, the study that made them is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from genesis.errors import ConfigError

if TYPE_CHECKING:
    from genesis.run.result import Run


def refuse_imported(run: Run, what: str) -> None:
    """Raise `ConfigError` for an imported run: `what` (run, resume, backtest) needs a study, data and a strategy."""
    if run.imported is not None:
        raise ConfigError(
            f"{what}: {run.path} was imported from {run.imported}, without a study that could run; its trials can be "
            f"shown, reported, exported; a study of another name with run.warm_start: {run.path} begins with them"
        )
