"""Genesis: search a strategy's parameters, backtest each set once, keep every result, believe the right ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genesis.config import StudyConfig, load_study
    from genesis.engine.backtest import Backtest, backtest
    from genesis.engine.lanes import backtest_many
    from genesis.errors import GenesisError
    from genesis.market.bars import Bars, resample
    from genesis.market.catalog import load_bars
    from genesis.run.events import ProgressEvent
    from genesis.run.result import Run, list_runs, open_run
    from genesis.run.study import optimize
    from genesis.search.space import Space
    from genesis.strategy.base import Strategy, load_strategy
    from genesis.strategy.features import Features
    from genesis.types import Costs, Execution, Rules, Signals, TrialResult

__version__ = "0.1.0"

_HOMES = {
    "Backtest": "engine.backtest",
    "Bars": "market.bars",
    "Costs": "types",
    "Execution": "types",
    "Features": "strategy.features",
    "GenesisError": "errors",
    "ProgressEvent": "run.events",
    "Rules": "types",
    "Run": "run.result",
    "Signals": "types",
    "Space": "search.space",
    "Strategy": "strategy.base",
    "StudyConfig": "config",
    "TrialResult": "types",
    "backtest": "engine.backtest",
    "backtest_many": "engine.lanes",
    "list_runs": "run.result",
    "load_bars": "market.catalog",
    "load_strategy": "strategy.base",
    "load_study": "config",
    "open_run": "run.result",
    "optimize": "run.study",
    "resample": "market.bars",
}
"""Where each public name lives; it is imported when first asked for, so that `import genesis` is quick."""

__all__ = [
    "Backtest",
    "Bars",
    "Costs",
    "Execution",
    "Features",
    "GenesisError",
    "ProgressEvent",
    "Rules",
    "Run",
    "Signals",
    "Space",
    "Strategy",
    "StudyConfig",
    "TrialResult",
    "__version__",
    "backtest",
    "backtest_many",
    "list_runs",
    "load_bars",
    "load_strategy",
    "load_study",
    "open_run",
    "optimize",
    "resample",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'genesis' has no attribute {name!r}; it offers {', '.join(__all__)}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(f"genesis.{home}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
