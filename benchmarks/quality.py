"""How good the points are: best value after n trials on known functions, sampler against sampler, seed by seed.

    python -m benchmarks.quality run OUT.jsonl --samplers tpe,optuna-tpe --seeds 0:20 --trials 1000
    python -m benchmarks.quality report OUT.jsonl

Each seed moves the problem (see `problems.py`), the same way for every sampler, so results are paired; the report
gives medians, quartiles and a two-sided Wilcoxon signed-rank p-value per pair. Values are minimised, smaller is better.
A sampler is written name@q/lag: q the size of a generation, lag how many generations are under way when the next is
proposed. Left out they are as in a study, 8 and 1 (0 for the first 300 trials), and 1 and 0 for Optuna's.
Options: tpe?n_ei_candidates=48.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict, deque
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.problems import FUNCTIONS, LANDSCAPES, PROBLEMS
from genesis.run.restored import told_before
from genesis.run.study import PROMPT_TRIALS
from genesis.search.samplers import make_sampler

CHECKPOINTS = (100, 300, 1000, 2000, 5000)


def one(label: str, function: str, seed: int, trials: int, kwargs: dict[str, Any] | None = None) -> dict[str, Any]:
    """Run one study; returns the best values at the checkpoints, repeats of known points, and the sampler's time."""
    name, _, size = label.partition("@")
    name, _, options = name.partition("?")
    given = dict(kwargs or {})
    for pair in filter(None, options.split("&")):
        key, _, text = pair.partition("=")
        given[key] = json.loads(text)
    peer = name.startswith(("optuna", "cmaes", "gp", "nsga"))
    size, _, behind = size.partition("/")
    q = int(size) if size else 1 if peer else 8
    lag = int(behind) if behind else 0 if peer or q == 1 else 1
    prompt = -(-PROMPT_TRIALS // q) if lag and not behind else 0
    problem = PROBLEMS[function](seed)
    sampler: Any = make_sampler(name, given, problem.space, seed=1000 + seed, concurrency=q, budget=trials)
    best, spent, done, generation = np.inf, 0.0, 0, 0
    path, seen, repeats = {}, set(), 0
    waiting: deque[tuple[Any, np.ndarray]] = deque()
    while done < trials:
        start = time.perf_counter()
        if hasattr(sampler, "expect"):
            sampler.expect(np.concatenate([np.empty((0, len(problem.space)))] + [one.vectors for one, _ in waiting]))
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
        waiting.append((proposals, values))
        start = time.perf_counter()
        while len(waiting) > generation + 1 - told_before(generation + 1, lag, prompt):
            told, results = waiting.popleft()
            count = len(results)
            sampler.tell(told.vectors, -results, np.zeros(count), np.zeros(count, np.int8), told.origins)
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
    runner.add_argument("--functions", default=",".join(FUNCTIONS | LANDSCAPES))
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
