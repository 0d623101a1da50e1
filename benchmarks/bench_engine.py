"""The engine: one backtest against backtesting.py and vectorbt, batches, sizes, features, cores, memory, first result.

Answers are compared before anything is timed. Parameters differ on every call: one set repeated lets the branch
predictor learn it, and flatters by a third. Two workers are timed
by the wall clock always.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.memory import in_a_process_of_its_own
from benchmarks.timing import alone, clock_name, compare, table, unit, wall
from genesis.engine.backtest import backtest
from genesis.engine.lanes import backtest_many
from genesis.market.bars import Bars
from genesis.market.catalog import load_bars
from genesis.strategy.base import load_strategy
from genesis.strategy.features import FeatureCache, Features
from genesis.types import Costs, Execution

os.environ["TQDM_DISABLE"] = "1"  # a peer draws a progress bar
COSTS = Costs(fee_bps=5.0, slippage_bps=0.0)
WHOLE = Execution(capital=1e6, units="whole", sizing="fixed_units", size=100.0)
PAIRS = [{"fast": fast, "slow": slow} for fast in range(5, 25) for slow in range(fast + 10, fast + 40)]
SHUFFLED = [PAIRS[k] for k in np.random.default_rng(1).permutation(len(PAIRS))]


def synthetic(bars: int) -> Bars:
    """A market of so many hourly bars."""
    return load_bars(f"synthetic:seed=7,bars={bars},timeframe=1h")


def naive_frame(bars: Bars) -> pd.DataFrame:
    frame = bars.to_frame().rename(columns=str.capitalize)
    frame.index = frame.index.tz_localize(None)
    return frame


def ours(bars: Bars, params: dict[str, int], features: Features | None = None) -> Any:
    """One backtest, indicators included unless `features` holds them: fills, equity and metrics."""
    made = features if features is not None else Features(bars, cache=FeatureCache())
    return backtest(bars, SMA, params, costs=COSTS, execution=WHOLE, features=made)


SMA = load_strategy("sma_cross")


def peer_backtesting(bars: Bars) -> Any:
    """A function of (fast, slow) that runs backtesting.py and returns its statistics."""
    import backtesting

    frame = naive_frame(bars)
    close = pd.Series(bars.close)

    class Cross(backtesting.Strategy):
        fast = 10
        slow = 30

        def init(self):
            self.a = self.I(lambda: close.rolling(self.fast).mean().to_numpy())
            self.b = self.I(lambda: close.rolling(self.slow).mean().to_numpy())

        def next(self):
            if self.a[-2] < self.b[-2] and self.a[-1] > self.b[-1]:
                self.position.close()
                self.buy(size=100)
            elif self.a[-2] > self.b[-2] and self.a[-1] < self.b[-1]:
                self.position.close()
                self.sell(size=100)

    def run(params):
        engine = backtesting.Backtest(frame, Cross, cash=1e6, commission=COSTS.fee_bps * 1e-4, finalize_trades=False)
        return engine.run(**params)

    return run


def peer_vectorbt(bars: Bars) -> Any:
    """A function of parameter sets that runs vectorbt's from_signals over all of them and takes six metrics.

    Means and crosses come from NumPy and pandas, which is quicker there than vectorbt's own indicator objects.
    """
    import vectorbt as vbt

    close = pd.Series(bars.close)
    opens = bars.open[:, None]

    def run(sets):
        means = {p: close.rolling(p).mean().to_numpy() for p in {p for one in sets for p in one.values()}}
        up = np.zeros((len(bars), len(sets)), dtype=bool)
        down = np.zeros_like(up)
        for k, one in enumerate(sets):
            gap = means[one["fast"]] - means[one["slow"]]
            up[2:, k] = (gap[:-2] < 0) & (gap[1:-1] > 0)  # seen at a close, filled at the next open
            down[2:, k] = (gap[:-2] > 0) & (gap[1:-1] < 0)
        portfolio = vbt.Portfolio.from_signals(
            bars.close[:, None],
            entries=up,
            short_entries=down,
            price=opens,
            size=100.0,
            fees=COSTS.fee_bps * 1e-4,
            init_cash=1e6,
            upon_opposite_entry="reverse",
            freq="1h",
        )
        metrics = [
            portfolio.total_return(),
            portfolio.sharpe_ratio(),
            portfolio.sortino_ratio(),
            portfolio.max_drawdown(),
            portfolio.trades.win_rate(),
            portfolio.trades.profit_factor(),
        ]
        return portfolio, metrics

    return run


def against_backtesting(bars: Bars, rounds: int) -> str:
    run = peer_backtesting(bars)
    mine, theirs = ours(bars, PAIRS[100]), run(PAIRS[100])
    trades = theirs["_trades"]
    assert mine.trades["entry_bar"].tolist()[: len(trades)] == trades["EntryBar"].tolist(), "fills differ"
    # the last bar differs: ours closes the last position there
    np.testing.assert_allclose(mine.equity[:-1], theirs["_equity_curve"]["Equity"].to_numpy(float)[:-1], rtol=1e-9)
    return str(
        compare(
            lambda k: ours(bars, SHUFFLED[k % len(SHUFFLED)]),
            lambda k: run(SHUFFLED[k % len(SHUFFLED)]),
            rounds=rounds,
            our_calls=120,
        )
    )


def against_vectorbt(bars: Bars, rounds: int) -> tuple[str, str]:
    run = peer_vectorbt(bars)
    mine = ours(bars, PAIRS[100])
    portfolio, _ = run([PAIRS[100]])
    value = portfolio.value().to_numpy().ravel()
    np.testing.assert_allclose(mine.equity[:-1], value[:-1], rtol=1e-9)  # ours sells the last position, with its fee
    single = compare(
        lambda k: ours(bars, SHUFFLED[k % len(SHUFFLED)]),
        lambda k: run([SHUFFLED[k % len(SHUFFLED)]]),
        rounds=rounds,
        our_calls=120,
        peer_calls=5,
    )
    hundred = [SHUFFLED[k * 100 : k * 100 + 100] for k in range(6)]
    batch = compare(
        lambda k: backtest_many(
            bars, SMA, hundred[k % 6], costs=COSTS, execution=WHOLE, features=Features(bars, cache=FeatureCache())
        ),
        lambda k: run(hundred[k % 6]),
        rounds=rounds,
        our_calls=2,
    )
    return str(single), str(batch)


def by_size(sizes: list[int], rounds: int) -> list[list[object]]:
    rows: list[list[object]] = []
    for size in sizes:
        bars = synthetic(size)
        calls = max(2, min(200, 2_000_000 // size))
        features = Features(bars, cache=FeatureCache())
        for params in SHUFFLED[:calls]:
            ours(bars, params, features)
        cached = alone(lambda k, b=bars, f=features, c=calls: ours(b, SHUFFLED[k % c], f), rounds=rounds, calls=calls)
        fresh = alone(lambda k, b=bars: ours(b, SHUFFLED[k % len(SHUFFLED)]), rounds=rounds, calls=calls)
        speeds = [f"{size / timed.median / 1e6:.0f}" for timed in (cached, fresh)]
        rows.append([f"{size:,}", unit(cached.median), speeds[0], unit(fresh.median), speeds[1]])
    return rows


def fibonacci_sets(count: int, seed: int, *, indicators: bool) -> list[dict[str, Any]]:
    """Parameter sets that differ in thresholds and exits, and in the indicators too when asked."""
    rng = np.random.default_rng(seed)
    sets = []
    for _ in range(count):
        one: dict[str, Any] = {
            "thresholds": {"entry_conf_overall": float(rng.uniform(0.3, 0.6))},
            "exit": {
                "max_hold_bars": int(rng.integers(20, 100)),
                "stop_loss_pct": float(rng.uniform(0.01, 0.05)),
                "take_profit_pct": float(rng.uniform(0.02, 0.1)),
                "trailing_stop_pct": float(rng.uniform(0.01, 0.05)),
            },
        }
        if indicators:
            one["thresholds"]["signal_adaptation"] = {"atr_period": int(rng.integers(5, 60))}
        sets.append(one)
    return sets


def fibonacci(bars: Bars, rounds: int) -> list[list[object]]:
    strategy = load_strategy("fibonacci")
    features = Features(bars, cache=FeatureCache())
    costs = Costs(fee_bps=5.0, slippage_bps=2.0)
    sets = fibonacci_sets(200, 3, indicators=False)
    new = fibonacci_sets(200, 4, indicators=True)

    def one(k: int) -> object:
        return backtest(bars, strategy, sets[k % 200], costs=costs, features=features)

    def fresh(k: int) -> object:
        return backtest(bars, strategy, new[k % 200], costs=costs, features=Features(bars, cache=FeatureCache()))

    def lanes(_: int) -> object:
        return backtest_many(bars, strategy, sets, costs=costs, features=features)

    single = [backtest(bars, strategy, params, costs=costs, features=features) for params in sets]
    assert [dict(b.metrics) for b in single] == [dict(m) for m in lanes(0)], "batch and single differ"  # type: ignore[attr-defined]
    trades = float(np.mean([b.metrics["trades"] for b in single]))
    cached, made = alone(one, rounds=rounds, calls=200), alone(fresh, rounds=rounds, calls=20)
    many = alone(lanes, rounds=rounds, calls=1).median / len(sets)
    n = len(bars)
    return [
        [name, unit(seconds), f"{n / seconds / 1e6:.0f}", f"{trades:.0f}"]
        for name, seconds in (
            ("features cached", cached.median),
            ("every indicator computed anew", made.median),
            ("a batch of 200, metrics only", many),
        )
    ]


_WORK: dict[str, Any] = {}


def _prepare(size: int) -> None:
    bars = synthetic(size)
    features = Features(bars, cache=FeatureCache())
    for params in SHUFFLED:
        ours(bars, params, features)
    _WORK.update(bars=bars, features=features)


def _batch(chunk: list[int]) -> int:
    for k in chunk:
        ours(_WORK["bars"], SHUFFLED[k % len(SHUFFLED)], _WORK["features"])
    return len(chunk)


def _counting(chunk: list[int]) -> int:
    for _ in chunk:
        sum(range(4_000))
    return len(chunk)


def two_workers(rounds: int) -> tuple[str, str]:
    """20,000 backtests by one process and by two, workers warm; and as much counting, which is what the cores can do.

    The first call of each way does not count: it starts the processes. Both ways send the same chunks of 500.
    """
    _prepare(10_000)
    context = multiprocessing.get_context("fork")
    chunks = [list(range(k, k + 500)) for k in range(0, 20_000, 500)]
    with (
        ProcessPoolExecutor(1, mp_context=context) as single,
        ProcessPoolExecutor(2, mp_context=context) as double,
    ):
        done = [
            compare(
                lambda _, work=work: sum(double.map(work, chunks)),
                lambda _, work=work: sum(single.map(work, chunks)),
                rounds=rounds,
                our_calls=1,
                clock=wall,
            )
            for work in (_batch, _counting)
        ]
    return str(done[0]), str(done[1])


FIRST = """
import sys, time
now = time.process_time if sys.argv[1] == "cpu" else time.perf_counter
began = 0.0 if sys.argv[1] == "cpu" else now()
from genesis.engine.backtest import backtest
from genesis.market.catalog import load_bars
from genesis.types import Costs
made = backtest(load_bars("synthetic:seed=7,bars=10000,timeframe=1h"), "sma_cross", {"fast": 10, "slow": 30},
                costs=Costs(fee_bps=5, slippage_bps=2))
assert made.metrics["trades"] > 10
print(now() - began)
"""


def first_result(rounds: int) -> tuple[str, str]:
    """Seconds from the first import to the first metrics in a new process: empty cache, and warm."""
    cold, warm = [], []
    for _ in range(max(1, rounds // 2)):
        with tempfile.TemporaryDirectory() as folder:
            environment = {**os.environ, "NUMBA_CACHE_DIR": folder}

            def run(environment: dict[str, str] = environment) -> float:
                done = subprocess.run(
                    [sys.executable, "-c", FIRST, "wall" if clock_name() == "wall clock" else "cpu"],
                    env=environment,
                    capture_output=True,
                    text=True,
                    check=True,
                )
                return float(done.stdout)

            cold.append(run())
            warm.extend(run() for _ in range(3))
    return unit(float(np.median(cold))), unit(float(np.median(warm)))


def main(quick: bool) -> None:
    """Print every figure."""
    rounds = 3 if quick else 7
    warnings.simplefilter("ignore")
    began = time.perf_counter()
    bars = synthetic(10_000)
    print("SMA cross, 10,000 bars, indicators included, with fills, equity and metrics:")
    try:
        print(f"  against backtesting.py          {against_backtesting(bars, rounds)}", flush=True)
    except ImportError:
        print("  backtesting.py is missing; type: pip install 'genesis-core[peers]'")
    try:
        single, batch = against_vectorbt(bars, rounds)
        print(f"  against vectorbt, six metrics   {single}")
        print(f"  a hundred sets, vectorbt batch  {batch}", flush=True)
    except ImportError:
        print("  vectorbt is missing; type: pip install 'genesis-core[peers]'")
    sizes = [2_000, 10_000, 100_000] + ([] if quick else [1_000_000])
    print("\nSMA cross by size, parameters new on every call:")
    print(table(by_size(sizes, rounds), ["bars", "features cached", "Mbars/s", "indicators anew", "Mbars/s"]))
    print("\nfibonacci, 10,000 bars:")
    print(table(fibonacci(bars, rounds), ["", "per set", "Mbars/s", "trades"]), flush=True)
    backtests, counting = two_workers(max(3, rounds // 2))
    print(f"\ntwo workers against one, 20,000 backtests: {backtests}")
    print(f"the same, counting to 4,000 in place of each: {counting}", flush=True)
    print(f"memory: {in_a_process_of_its_own(100_000 if quick else 1_000_000)}", flush=True)
    cold, warm = first_result(rounds)
    print(f"first result in a new process: {warm} with a warm disk cache, {cold} with an empty one")
    print(f"(measured in {time.perf_counter() - began:.0f} s)")


if __name__ == "__main__":
    main("--quick" in sys.argv)
