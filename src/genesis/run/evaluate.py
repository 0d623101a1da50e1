"""The one function that workers run: a trial's parameters in, its scored result out, nothing raised."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from genesis.engine.kernel import simulate
from genesis.engine.metrics import compute_metrics
from genesis.errors import StrategyError
from genesis.judge.scoring import score_metrics
from genesis.market.bars import Bars
from genesis.market.catalog import data_home, load_window
from genesis.run.external import BadOutcomeError, Metrics, call, load_callable, run_command, wanted_arguments
from genesis.run.worker import Report, described, failed_result
from genesis.settings import read_settings
from genesis.strategy.authored import Authored
from genesis.strategy.base import load_strategy
from genesis.strategy.features import FeatureCache, Features, Key
from genesis.strategy.precompute import precompute
from genesis.types import Costs, FloatArray, Signals, TrialResult, TrialSpec

if TYPE_CHECKING:
    from genesis.config import StudyConfig

Window = Literal["search", "holdout"]


class _TimedCache(FeatureCache):
    """A feature cache that knows how many seconds its misses took."""

    seconds: float = 0.0

    def fetch(self, key: Key, compute: Callable[[], FloatArray]) -> FloatArray:
        """The feature, computed and timed if it is not there."""

        def timed() -> FloatArray:
            begin = time.perf_counter()
            try:
                return compute()
            finally:
                self.seconds += time.perf_counter() - begin

        return super().fetch(key, timed)


@dataclass(slots=True)
class _Loaded:
    bars: Bars | None = None
    trade_from: int = 0
    strategy: Any = None
    cache: _TimedCache = field(default_factory=lambda: _TimedCache())
    features: Features | None = None
    function: Any = None
    arguments: frozenset[str] = frozenset()


class Evaluator:
    """Runs trials of one study on one window of its data.

    Picklable: what it loads (bars, features, strategy) is left behind and loaded again on first use, so that it can be
    sent anywhere; forked workers share what the coordinator loaded with `prepare`. With a `report` function a trial
    is judged after each of `segments` equal parts of the data and may be stopped there.
    """

    def __init__(self, config: StudyConfig, *, window: Window = "search", segments: int = 5) -> None:
        self.config = config
        self.window: Window = window
        self.segments = segments
        self._loaded: _Loaded | None = None
        self._data: tuple[Bars, int] | None = None

    def with_data(self) -> Evaluator:
        """A copy that takes its bars along when it is pickled, for workers that cannot read the study's data."""
        loaded = self.prepare()
        copy = Evaluator(self.config, window=self.window, segments=self.segments)
        copy._data = None if loaded.bars is None else (loaded.bars, loaded.trade_from)
        return copy

    def __getstate__(self) -> dict[str, Any]:
        return {"config": self.config, "window": self.window, "segments": self.segments, "data": self._data}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["config"], window=state["window"], segments=state["segments"])  # type: ignore[misc]
        self._data = state["data"]

    def prepare(self) -> _Loaded:
        """Load the bars and the strategy or callable, once; raises `DataError` or `StrategyError`."""
        if self._loaded is None:
            self._loaded = self._load()
        return self._loaded

    def _load(self) -> _Loaded:
        config = self.config
        loaded = _Loaded()
        if self._data is not None:
            loaded.bars, loaded.trade_from = self._data
        elif config.data is not None:
            span = config.data if self.window == "search" else config.holdout
            assert span is not None
            window = load_window(
                config.data.source,
                timeframe=config.data.timeframe,
                start=span.start,
                end=span.end,
                warmup_bars=config.data.warmup_bars,
            )
            loaded.bars, loaded.trade_from = window.bars, window.trade_from
        if config.strategy is not None:
            loaded.strategy = load_strategy(config.strategy)
            if loaded.bars is None:
                raise StrategyError("data: missing; a strategy needs bars, for example data: {source: 'sample:IBM'}")
            if self.window == "search" and read_settings().precompute_features:
                # Kept between runs: a file's name holds the market's fingerprint. Workers find the files and map them.
                folder = data_home().parent / "features"
                loaded.cache = _TimedCache(folder=precompute(loaded.bars, loaded.strategy, config.space, folder).folder)
            loaded.features = Features(loaded.bars, cache=loaded.cache)
        elif config.evaluate is not None:
            loaded.function = load_callable(config.evaluate)
            loaded.arguments = wanted_arguments(loaded.function)
        return loaded

    def warm(self, params: dict[str, Any]) -> None:
        """Compile, or load from the disk cache, what trials will call, so that forked workers need not.

        A strategy of ours is run once; of a user's strategy nothing is called here, since it may loop or exit.
        """
        loaded = self.prepare()
        if loaded.strategy is None or loaded.bars is None:
            return
        if not isinstance(loaded.strategy, Authored):
            self(TrialSpec(number=-1, generation=-1, key="", params=params, seed=0))
            return
        entry = np.zeros(len(loaded.bars), dtype=np.int8)
        entry[-2:] = 1
        simulation = simulate(loaded.bars, Signals(entry=entry), costs=self._costs, execution=self.config.execution)
        compute_metrics(simulation, loaded.bars)

    @property
    def bars(self) -> Bars | None:
        """The bars of the window with their warm-up, or None when the study names no data."""
        return self.prepare().bars

    @property
    def _costs(self) -> Costs:
        assert self.config.costs is not None  # a study with a strategy has them
        return self.config.costs

    def __call__(self, spec: TrialSpec, report: Report | None = None) -> TrialResult:
        """Run one trial; an exception of the strategy or callable becomes a failed result with its traceback."""
        loaded = self.prepare()
        try:
            if loaded.strategy is not None:
                return self._run_strategy(loaded, spec, report)
            return self._run_external(loaded, spec, report)
        except BadOutcomeError as error:
            return failed_result(spec, str(error))
        except Exception as error:  # noqa: BLE001 - whatever a user's code raises is a result, not the run's end
            return failed_result(spec, *described(error))

    def _run_strategy(self, loaded: _Loaded, spec: TrialSpec, report: Report | None) -> TrialResult:
        config = self.config
        assert loaded.bars is not None
        reports: list[float] = []
        if report is not None:
            pruned = self._segment_scores(loaded, spec, report, reports)
            if pruned is not None:
                return replace(
                    self._result(spec, pruned, {}, None, {}, reports),
                    state="pruned",
                    reason=f"pruned after {len(reports)} of {self.segments} segments",
                )
        cache = loaded.cache
        begin, before = time.perf_counter(), cache.seconds
        signals = loaded.strategy.signals(spec.params, loaded.features)
        signalled = time.perf_counter()
        simulation = simulate(
            loaded.bars, signals, costs=self._costs, execution=config.execution, trade_from=loaded.trade_from
        )
        traded = time.perf_counter()
        metrics = dict(compute_metrics(simulation, loaded.bars, trade_from=loaded.trade_from))
        seconds = {
            "features": cache.seconds - before,
            "signals": signalled - begin - (cache.seconds - before),
            "kernel": traded - signalled,
            "metrics": time.perf_counter() - traded,
        }
        return self._result(spec, metrics, dict(simulation.blocked), simulation.fills_hash, seconds, reports)

    def _segment_scores(self, loaded: _Loaded, spec: TrialSpec, report: Report, reports: list[float]) -> Metrics | None:
        """Report the running score after each segment but the last; the metrics so far if the pruner stops it.

        Signals obey the truncation law, so the first part of the whole signals is the signals of the first part.
        """
        bars, start = loaded.bars, loaded.trade_from
        assert bars is not None
        signals = loaded.strategy.signals(spec.params, loaded.features)
        for step in range(1, self.segments):
            cut = start + (len(bars) - start) * step // self.segments
            part = bars.slice(0, cut)
            simulation = simulate(
                part, _head(signals, cut), costs=self._costs, execution=self.config.execution, trade_from=start
            )
            metrics = compute_metrics(simulation, part, trade_from=start)
            score = score_metrics(metrics, self.config.objective, {}).value
            reports.append(math.nan if score is None else score)
            if report(spec, step, reports[-1]):
                return metrics
        return None

    def _run_external(self, loaded: _Loaded, spec: TrialSpec, report: Report | None) -> TrialResult:
        begin = time.perf_counter()
        reports: list[float] = []
        metrics: Metrics
        if loaded.function is None:
            assert self.config.command is not None
            metrics = run_command(self.config.command, spec, self.config.run.trial_seconds)
        else:
            extra = {name: spec.seed if name == "seed" else loaded.bars for name in loaded.arguments}
            steps = call(loaded.function, spec, extra)
            while True:
                try:
                    value = next(steps)
                except StopIteration as stop:
                    metrics = stop.value
                    break
                if self._stop_here(spec, value, report, reports):
                    steps.close()
                    known = value if isinstance(value, dict) else {}
                    return replace(
                        self._result(spec, known, {}, None, {"backtest": time.perf_counter() - begin}, reports),
                        state="pruned",
                        reason=f"pruned at report {len(reports)}",
                    )
        return self._result(spec, metrics, {}, None, {"backtest": time.perf_counter() - begin}, reports)

    def _stop_here(self, spec: TrialSpec, value: Metrics | float, report: Report | None, reports: list[float]) -> bool:
        score = score_metrics(value, self.config.objective, {}).value if isinstance(value, dict) else value
        if score is None:
            return False
        reports.append(score)
        return report is not None and report(spec, len(reports), score)

    def _result(
        self,
        spec: TrialSpec,
        metrics: Mapping[str, float | None],
        blocked: dict[str, int],
        fills_hash: str | None,
        seconds: dict[str, float],
        reports: list[float],
    ) -> TrialResult:
        score = score_metrics(metrics, self.config.objective, self.config.constraints)
        return TrialResult(
            number=spec.number,
            generation=spec.generation,
            key=spec.key,
            params=spec.params,
            state="complete",
            score=score.value,
            metrics=dict(metrics),
            violations=score.violations,
            reason=score.reason,
            blocked=blocked,
            fills_hash=fills_hash,
            reports=tuple(reports),
            seconds=seconds,
        )


def _head(signals: Signals, n: int) -> Signals:
    """The first `n` bars of the signals."""

    def cut(array: Any) -> Any:
        return None if array is None else array[:n]

    return replace(
        signals,
        entry=signals.entry[:n],
        exit=cut(signals.exit),
        size=cut(signals.size),
        stop_distance=cut(signals.stop_distance),
        target_distance=cut(signals.target_distance),
        trail_distance=cut(signals.trail_distance),
        partial_levels=cut(signals.partial_levels),
    )
