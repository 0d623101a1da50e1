"""What samplers are compared on: known functions, and landscapes that the engine makes of real bars.

A seed moves the optimum of a function, and picks the stock and the years of a landscape, the same for every sampler.
Values are minimised. Functions see vectors of the space's internal form. The engine's landscapes are finite grids, run
through the evaluator of a study's trials: the value is the negated score, and `WORST` where a constraint fails or there
is no score (no trades).
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from genesis.config import load_study
from genesis.run.evaluate import Evaluator
from genesis.search.space import Space
from genesis.types import TrialSpec

WORST = 5.0


class Problem:
    """A space and a function of its vectors, shifted by the seed."""

    def __init__(self, spec: dict[str, Any], seed: int) -> None:
        self.space = Space.from_spec(spec)
        self.rng = np.random.default_rng([seed, 77])
        self.at = {path: j for j, path in enumerate(self.space.paths)}

    def __call__(self, v: np.ndarray) -> np.ndarray:
        raise NotImplementedError


class Sphere20(Problem):
    """Ten continuous, five stepped, three integer columns and two choices of four; optimum off centre."""

    def __init__(self, seed: int) -> None:
        spec: dict[str, Any] = {f"a{i}": {"type": "float", "low": -5.0, "high": 5.0} for i in range(10)}
        spec |= {f"b{i}": {"type": "float", "low": -5.0, "high": 5.0, "step": 0.25} for i in range(5)}
        spec |= {f"c{i}": {"type": "int", "low": -10, "high": 10} for i in range(3)}
        spec |= {f"d{i}": {"type": "categorical", "choices": ["p", "q", "r", "s"]} for i in range(2)}
        super().__init__(spec, seed)
        self.best = self.rng.uniform(-3.5, 3.5, 15)
        self.whole = self.rng.integers(-7, 8, 3)
        self.choice = self.rng.integers(0, 4, 2)

    def __call__(self, v: np.ndarray) -> np.ndarray:
        x = v[:, :15]
        grid = np.concatenate([self.best[:10], np.round(self.best[10:] * 4) / 4])
        return (
            ((x - grid) ** 2).sum(axis=1)
            + 0.25 * ((v[:, 15:18] - self.whole) ** 2).sum(axis=1)
            + 2.0 * (v[:, 18:] != self.choice).sum(axis=1)
        )


class Rastrigin10(Problem):
    """Ten continuous columns, many local optima."""

    def __init__(self, seed: int) -> None:
        super().__init__({f"x{i}": {"type": "float", "low": -5.12, "high": 5.12} for i in range(10)}, seed)
        self.best = self.rng.uniform(-2.5, 2.5, 10)

    def __call__(self, v: np.ndarray) -> np.ndarray:
        x = v - self.best
        return 100.0 + (x**2 - 10.0 * np.cos(2 * np.pi * x)).sum(axis=1)


_ALPHA = np.array([1.0, 1.2, 3.0, 3.2])
_A = np.array(
    [[10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14], [3, 3.5, 1.7, 10, 17, 8], [17, 8, 0.05, 10, 0.1, 14]]
)
_P = 1e-4 * np.array(
    [
        [1312, 1696, 5569, 124, 8283, 5886],
        [2329, 4135, 8307, 3736, 1004, 9991],
        [2348, 1451, 3522, 2883, 3047, 6650],
        [4047, 8828, 8732, 5743, 1091, 381],
    ]
)


class Hartmann6(Problem):
    """The six-dimensional Hartmann function, columns permuted and mirrored by the seed; regret to its minimum."""

    def __init__(self, seed: int) -> None:
        super().__init__({f"x{i}": {"type": "float", "low": 0.0, "high": 1.0} for i in range(6)}, seed)
        self.order = self.rng.permutation(6)
        self.mirror = self.rng.integers(0, 2, 6).astype(bool)

    def __call__(self, v: np.ndarray) -> np.ndarray:
        x = np.where(self.mirror, 1.0 - v, v)[:, self.order]
        inner = (_A[None] * (x[:, None, :] - _P[None]) ** 2).sum(axis=2)
        return 3.322368 - (_ALPHA * np.exp(-inner)).sum(axis=1)


class Plateau(Problem):
    """Six continuous, two stepped, two integer columns; 60 % of the space is flat at the worst value."""

    def __init__(self, seed: int) -> None:
        spec: dict[str, Any] = {f"a{i}": {"type": "float", "low": 0.0, "high": 1.0} for i in range(6)}
        spec |= {f"b{i}": {"type": "float", "low": 0.0, "high": 1.0, "step": 0.05} for i in range(2)}
        spec |= {f"c{i}": {"type": "int", "low": 0, "high": 20} for i in range(2)}
        super().__init__(spec, seed)
        self.best = self.rng.uniform(0.1, 0.55, 10)

    def __call__(self, v: np.ndarray) -> np.ndarray:
        x = v.copy()
        x[:, 8:] /= 20.0
        flat = (x[:, 0] > 0.737) | (x[:, 1] > 0.737) | (x[:, 6] > 0.737)  # 1 - 0.737**3 = 0.6
        return np.where(flat, 10.0, ((x - self.best) ** 2).sum(axis=1) * (1 + np.abs(np.sin(9 * x[:, 2]))))


class Branches(Problem):
    """A choice of three branches with four columns each, two shared columns and a logarithmic one."""

    def __init__(self, seed: int) -> None:
        spec: dict[str, Any] = {"kind": {"type": "categorical", "choices": ["p", "q", "r"]}}
        for kind in "pqr":
            for i in range(4):
                spec[f"{kind}{i}"] = {"type": "float", "low": -1.0, "high": 1.0, "when": {"kind": kind}}
        spec |= {f"s{i}": {"type": "int", "low": 1, "high": 50} for i in range(2)}
        spec["t"] = {"type": "float", "low": 1e-4, "high": 1.0, "log": True}
        super().__init__(spec, seed)
        self.best = self.rng.uniform(-0.8, 0.8, (3, 4))
        self.level = self.rng.permutation([0.0, 0.3, 0.6])
        self.shared = self.rng.integers(5, 46, 2)
        self.log = self.rng.uniform(-3.5, -0.5)

    def __call__(self, v: np.ndarray) -> np.ndarray:
        kind = v[:, self.at["kind"]].astype(int)
        total = self.level[kind]
        for k, name in enumerate("pqr"):
            columns = [self.at[f"{name}{i}"] for i in range(4)]
            rows = kind == k
            total[rows] += ((v[rows][:, columns] - self.best[k]) ** 2).sum(axis=1)
        total += sum(((v[:, self.at[f"s{i}"]] - self.shared[i]) / 25.0) ** 2 for i in range(2))
        return total + 0.2 * (np.log10(v[:, self.at["t"]]) - self.log) ** 2


class Ackley12(Problem):
    """Eight continuous, four stepped columns; a funnel under ripples."""

    def __init__(self, seed: int) -> None:
        spec: dict[str, Any] = {f"a{i}": {"type": "float", "low": -10.0, "high": 10.0} for i in range(8)}
        spec |= {f"b{i}": {"type": "float", "low": -10.0, "high": 10.0, "step": 0.5} for i in range(4)}
        super().__init__(spec, seed)
        self.best = self.rng.uniform(-7.0, 7.0, 12)
        self.best[8:] = np.round(self.best[8:] * 2) / 2

    def __call__(self, v: np.ndarray) -> np.ndarray:
        x = v - self.best
        far = -20.0 * np.exp(-0.2 * np.sqrt((x**2).mean(axis=1)))
        return far - np.exp(np.cos(2 * np.pi * x).mean(axis=1)) + 20.0 + np.e


class Rosenbrock6(Problem):
    """A curved valley in six continuous columns."""

    def __init__(self, seed: int) -> None:
        super().__init__({f"x{i}": {"type": "float", "low": -2.0, "high": 2.0} for i in range(6)}, seed)
        self.shift = self.rng.uniform(-0.6, 0.6, 6)

    def __call__(self, v: np.ndarray) -> np.ndarray:
        x = v - self.shift
        return (100.0 * (x[:, 1:] - x[:, :-1] ** 2) ** 2 + (1.0 - x[:, :-1]) ** 2).sum(axis=1)


class Griewank8(Problem):
    """Eight stepped columns of 241 cells, ripples on a wide bowl."""

    def __init__(self, seed: int) -> None:
        spec = {f"x{i}": {"type": "float", "low": -60.0, "high": 60.0, "step": 0.5} for i in range(8)}
        super().__init__(spec, seed)
        self.best = np.round(self.rng.uniform(-40.0, 40.0, 8) * 2) / 2

    def __call__(self, v: np.ndarray) -> np.ndarray:
        x = v - self.best
        return 1.0 + (x**2).sum(axis=1) / 400.0 - np.prod(np.cos(x / np.sqrt(np.arange(1, 9))), axis=1)


class Staircase(Problem):
    """Eight ints in treads of three, roughened by a hash of the point: flat steps with noise that repeats."""

    def __init__(self, seed: int) -> None:
        super().__init__({f"x{i}": {"type": "int", "low": 0, "high": 40} for i in range(8)}, seed)
        self.best = self.rng.integers(6, 35, 8)
        self.mix = self.rng.uniform(1.0, 99.0, 8)

    def __call__(self, v: np.ndarray) -> np.ndarray:
        treads = np.floor((np.abs(v - self.best) + 1) / 3)
        rough = np.modf(np.abs(np.sin(v @ self.mix) * 1e4))[0]
        return treads.sum(axis=1) + 0.3 * np.abs(treads[:, :4] - treads[:, 4:]).sum(axis=1) + 0.8 * rough


class Logs(Problem):
    """Learning-rate like columns: three logarithmic floats, two logarithmic ints, a choice, three plain ones."""

    def __init__(self, seed: int) -> None:
        spec: dict[str, Any] = {f"a{i}": {"type": "float", "low": 1e-5, "high": 1.0, "log": True} for i in range(3)}
        spec |= {f"b{i}": {"type": "int", "low": 1, "high": 1024, "log": True} for i in range(2)}
        spec |= {"c": {"type": "categorical", "choices": ["p", "q", "r"]}}
        spec |= {f"d{i}": {"type": "float", "low": 0.0, "high": 1.0, "step": 0.02} for i in range(3)}
        super().__init__(spec, seed)
        self.best = np.concatenate([self.rng.uniform(-4.2, -0.8, 3), self.rng.uniform(0.5, 2.5, 2)])
        self.choice = self.rng.integers(0, 3)
        self.rest = self.rng.uniform(0.1, 0.9, 3)

    def __call__(self, v: np.ndarray) -> np.ndarray:
        x = np.log10(v[:, :5]) - self.best
        bowl = (x**2).sum(axis=1) + 0.7 * x[:, 0] * x[:, 1]
        wrong = np.where(v[:, 5] == self.choice, 0.0, 0.6)
        return bowl + wrong + (1.0 + wrong) * ((v[:, 6:] - self.rest) ** 2).sum(axis=1)


class Spike(Problem):
    """A bowl seen on a quarter of the space's best side only: elsewhere flat, with a weak slope near the rim."""

    def __init__(self, seed: int) -> None:
        super().__init__({f"x{i}": {"type": "float", "low": 0.0, "high": 1.0} for i in range(5)}, seed)
        self.best = self.rng.uniform(0.2, 0.8, 5)

    def __call__(self, v: np.ndarray) -> np.ndarray:
        far = np.sqrt(((v - self.best) ** 2).sum(axis=1))
        return np.where(far > 0.45, 1.0, far / 0.45 * 0.8)


STOCKS = ("IBM", "MSFT", "AAPL")


class Landscape(Problem):
    """A strategy on six years of one of three stocks, daily bars and costs; the seed picks stock and years."""

    strategy: ClassVar[str]
    spec: ClassVar[dict[str, Any]]
    objective: ClassVar[Any] = "sharpe"
    constraints: ClassVar[dict[str, float]]

    def __init__(self, seed: int) -> None:
        super().__init__(self.spec, seed)
        year = 2000 + seed // 3 % 7
        self.study = load_study(
            {
                "data": {"source": f"sample:{STOCKS[seed % 3]}", "start": f"{year}-01-01", "end": f"{year + 5}-12-31"},
                "strategy": self.strategy,
                "costs": {"fee_bps": 10, "slippage_bps": 5},
                "objective": self.objective,
                "constraints": self.constraints,
                "parameters": self.spec,
                "run": {"max_trials": 1},
            },
            env={},
        )
        self.evaluate = Evaluator(self.study)
        self.known: dict[bytes, float] = {}

    def __call__(self, v: np.ndarray) -> np.ndarray:
        return np.array([self._value(row) for row in v])

    def _value(self, row: np.ndarray) -> float:
        key = row.tobytes()
        if key not in self.known:
            spec = TrialSpec(number=0, generation=0, key="", params=self.space.decode(row), seed=0)
            result = self.evaluate(spec)
            assert result.state == "complete", result.reason
            fails = result.score is None or result.violations
            self.known[key] = WORST if fails else -result.score
        return self.known[key]


class StrategyCross(Landscape):
    """`sma_cross`, 73,062 points; at least 15 trades."""

    strategy = "sma_cross"
    spec: ClassVar[dict[str, Any]] = {
        "fast": {"type": "int", "low": 2, "high": 100},
        "slow": {"type": "int", "low": 5, "high": 250},
        "side": {"type": "categorical", "choices": ["both", "long", "short"]},
    }
    constraints: ClassVar[dict[str, float]] = {"min_trades": 15}


class StrategyFib(Landscape):
    """`fibonacci` in five stepped columns, 2,108,160 points; at least 30 trades, drawdown at most 35 %."""

    strategy = "fibonacci"
    spec: ClassVar[dict[str, Any]] = {
        "thresholds.entry_conf_overall": {"type": "float", "low": 0.25, "high": 0.85, "step": 0.01},
        "htf_fib.entry.tolerance_atr": {"type": "float", "low": 0.5, "high": 6.0, "step": 0.5},
        "ltf_fib.entry.tolerance_atr": {"type": "float", "low": 0.25, "high": 4.0, "step": 0.25},
        "exit.max_hold_bars": {"type": "int", "low": 5, "high": 60, "step": 5},
        "exit.trailing_atr": {"type": "float", "low": 1.0, "high": 8.0, "step": 0.5},
    }
    constraints: ClassVar[dict[str, float]] = {"min_trades": 30, "max_drawdown": 0.35}


class StrategyMixed(Landscape):
    """`fibonacci` in six stepped columns and two choices, 943,488 points; Sharpe and drawdown, at least 20 trades."""

    strategy = "fibonacci"
    spec: ClassVar[dict[str, Any]] = {
        "thresholds.entry_conf_overall": {"type": "float", "low": 0.25, "high": 0.85, "step": 0.05},
        "regime.ema_period": {"type": "int", "low": 20, "high": 120, "step": 20},
        "htf_fib.entry.long_max_level": {"type": "float", "low": 0.5, "high": 1.0, "step": 0.1},
        "ltf_fib.entry.tolerance_atr": {"type": "float", "low": 0.5, "high": 4.0, "step": 0.5},
        "model.weights.rsi": {"type": "float", "low": -1.5, "high": 1.5, "step": 0.5},
        "exit.max_hold_bars": {"type": "int", "low": 10, "high": 60, "step": 10},
        "exit.opposite": {"type": "categorical", "choices": ["reverse", "exit", "ignore"]},
        "multi_timeframe.allow_ltf_override": {"type": "categorical", "choices": [True, False]},
    }
    objective: ClassVar[Any] = {"sharpe": 1.0, "max_drawdown": -0.5}
    constraints: ClassVar[dict[str, float]] = {"min_trades": 20}


FUNCTIONS: dict[str, type[Problem]] = {
    "sphere20": Sphere20, "rastrigin10": Rastrigin10, "hartmann6": Hartmann6, "plateau": Plateau, "branches": Branches,
}  # fmt: skip
LANDSCAPES: dict[str, type[Problem]] = {
    "strategy-cross": StrategyCross, "strategy-fib": StrategyFib, "strategy-mixed": StrategyMixed,
}  # fmt: skip
OTHERS: dict[str, type[Problem]] = {  # nothing was tuned on these
    "ackley12": Ackley12, "rosenbrock6": Rosenbrock6, "griewank8": Griewank8, "staircase": Staircase, "logs": Logs,
    "spike": Spike,
}  # fmt: skip
PROBLEMS = FUNCTIONS | LANDSCAPES | OTHERS
