"""How good the points are: best value after n trials on known functions, sampler against sampler, seed by seed.

    python benchmarks/quality.py run OUT.jsonl --samplers tpe,optuna-tpe --seeds 0:20 --trials 1000
    python benchmarks/quality.py report OUT.jsonl

Each seed shifts the optimum, the same way for every sampler, so results are paired; the report gives medians,
quartiles and a two-sided Wilcoxon signed-rank p-value per pair. Values are minimised, smaller is better.
A sampler is written name or name@q, q the size of a generation (default 8; Optuna's
own samplers are asked one at a time).
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from genesis.search.samplers import make_sampler
from genesis.search.space import Space

CHECKPOINTS = (100, 300, 1000, 2000, 5000)


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


PROBLEMS = {
    "sphere20": Sphere20, "rastrigin10": Rastrigin10, "hartmann6": Hartmann6, "plateau": Plateau, "branches": Branches,
}  # fmt: skip


def one(label: str, function: str, seed: int, trials: int, kwargs: dict[str, Any] | None = None) -> dict[str, Any]:
    """Run one study; returns the best values at the checkpoints, repeats of known points, and the sampler's time."""
    name, _, size = label.partition("@")
    name, _, options = name.partition("?")
    given = dict(kwargs or {})
    for pair in filter(None, options.split("&")):
        key, _, text = pair.partition("=")
        given[key] = json.loads(text)
    q = int(size) if size else (1 if name.startswith(("optuna", "cmaes", "gp", "nsga")) else 8)
    problem = PROBLEMS[function](seed)
    sampler = make_sampler(name, given, problem.space, seed=1000 + seed, concurrency=q, budget=trials)
    best, spent, done, generation = np.inf, 0.0, 0, 0
    path, seen, repeats = {}, set(), 0
    while done < trials:
        start = time.perf_counter()
        proposals = sampler.ask(min(q, trials - done), generation)
        spent += time.perf_counter() - start
        values = problem(proposals.vectors)
        for vector, value in zip(proposals.vectors, values, strict=True):
            repeats += vector.tobytes() in seen
            seen.add(vector.tobytes())
            best = min(best, float(value))
            done += 1
            if done in CHECKPOINTS:
                path[done] = best
        count = len(values)
        start = time.perf_counter()
        sampler.tell(proposals.vectors, -values, np.zeros(count), np.zeros(count, np.int8), proposals.origins)
        spent += time.perf_counter() - start
        generation += 1
    return {
        "sampler": label, "function": function, "seed": seed, "trials": trials, "best": path, "repeats": repeats,
        "ms": spent / trials * 1e3,
    }  # fmt: skip


def run(args: argparse.Namespace) -> None:
    """Append one line per study; those already in the file are not run again."""
    out = Path(args.out)
    known = set()
    if out.exists():
        for line in out.read_text().splitlines():
            entry = json.loads(line)
            known.add((entry["sampler"], entry["function"], entry["seed"], entry["trials"]))
    low, _, high = args.seeds.partition(":")
    for seed in range(int(low), int(high)):
        for function in args.functions.split(","):
            for label in args.samplers.split(","):
                if (label, function, seed, args.trials) in known:
                    continue
                entry = one(label, function, seed, args.trials)
                with out.open("a") as file:
                    file.write(json.dumps(entry) + "\n")


def report(args: argparse.Namespace) -> None:
    """Print a Markdown table per function, and for each pair of samplers the p-value of the paired rank test."""
    from scipy.stats import wilcoxon

    table: dict[tuple[str, int], dict[str, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
    repeats: dict[tuple[str, str], list[float]] = defaultdict(list)
    for path in args.files:
        for line in Path(path).read_text().splitlines():
            entry = json.loads(line)
            repeats[entry["function"], entry["sampler"]].append(entry["repeats"] / entry["trials"])
            for point, value in entry["best"].items():
                table[entry["function"], int(point)][entry["sampler"]][entry["seed"]] = value
    wanted = args.samplers.split(",") if args.samplers else None
    print(
        "| function | trials | sampler | seeds | median | quartiles | repeats | p against |"
        "\n|---|---|---|---|---|---|---|---|"
    )
    for (function, point), samplers in sorted(table.items()):
        names = wanted or sorted(samplers)
        for name in names:
            if name not in samplers:
                continue
            values = np.array(list(samplers[name].values()))
            low, middle, high = np.percentile(values, [25, 50, 75])
            pairs = []
            for other in names:
                if other == name or other not in samplers:
                    continue
                shared = sorted(samplers[name].keys() & samplers[other].keys())
                a = np.array([samplers[name][s] for s in shared])
                b = np.array([samplers[other][s] for s in shared])
                if len(shared) >= 6 and np.any(a != b):
                    sign = "<" if np.median(a - b) < 0 else ">"
                    pairs.append(f"{sign}{other} {wilcoxon(a, b).pvalue:.2g}")
            share = np.mean(repeats[function, name])
            print(
                f"| {function} | {point} | {name} | {len(values)} | {middle:.4g} | {low:.4g}–{high:.4g} | {share:.1%} "
                f"| {', '.join(pairs)} |"
            )


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    runner = commands.add_parser("run")
    runner.add_argument("out")
    runner.add_argument("--samplers", default="tpe,optuna-tpe")
    runner.add_argument("--functions", default=",".join(PROBLEMS))
    runner.add_argument("--seeds", default="0:20")
    runner.add_argument("--trials", type=int, default=1000)
    runner.set_defaults(call=run)
    printer = commands.add_parser("report")
    printer.add_argument("files", nargs="+")
    printer.add_argument("--samplers", default="")
    printer.set_defaults(call=report)
    args = parser.parse_args()
    args.call(args)


if __name__ == "__main__":
    main()
