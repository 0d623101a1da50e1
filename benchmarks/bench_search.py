"""What a proposal costs, sampler against sampler in one run, from 100 to 100,000 trials.

    python benchmarks/bench_search.py [--sizes 100,1000,10000,100000] [--peers optuna-tpe,rustuna-tpe]

The space has 20 parameters: 10 stepped floats, 5 ints, 3 continuous floats, 2 categoricals. A history of n random
points is told first; then generations of 8 (and of 1) are asked and told. Every time is per trial: the lower decile of
the generations, since whatever else the machine does only adds. Before timing, the compiled densities are checked
against a plain NumPy evaluation.
Peers run the same points at the sizes where they end in reasonable time; the ratio is theirs over ours.
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import optuna

from genesis.search import tpe_kernels as kernels
from genesis.search import tpe_mixtures as mixtures
from genesis.search.samplers import make_sampler
from genesis.search.space import Space
from genesis.search.tpe import TpeModel
from genesis.search.tpe_mixtures import ramp

SPEC: dict[str, Any] = {f"f{i}": {"type": "float", "low": 0.0, "high": 1.0, "step": 0.05} for i in range(10)}
SPEC |= {f"i{i}": {"type": "int", "low": 0, "high": 20} for i in range(5)}
SPEC |= {f"c{i}": {"type": "float", "low": -1.0, "high": 1.0} for i in range(3)}
SPEC |= {f"k{i}": {"type": "categorical", "choices": ["a", "b", "c"]} for i in range(2)}
PEER_LIMIT = {"optuna-tpe": 2_000, "rustuna-tpe": 10_000}
FACE_LIMIT = 10_000


def score(vectors: np.ndarray) -> np.ndarray:
    """A trivial objective."""
    return -((vectors - 0.3) ** 2).sum(axis=1)


def check() -> None:
    """The compiled density of continuous columns is that of the definition."""
    from scipy import stats

    space = Space.from_spec({f"x{i}": {"type": "float", "low": 0.0, "high": 1.0} for i in range(3)})
    sampler = make_sampler("tpe", {}, space, seed=1, concurrency=8, budget=1000)
    model: TpeModel = sampler.model  # type: ignore[attr-defined]
    rows = np.random.default_rng(1).random((80, 3))
    model.tell(rows, np.full(80, 4, np.int8), np.zeros(80))
    model.refresh(0)
    bad = model._bad
    work = np.empty(bad.room, np.float32)
    points = np.random.default_rng(2).random((20, 3))
    weights = np.append(1.0, ramp(80, 80))
    ours, plain = [], []
    for x in points:
        ours.append(
            kernels.log_density(
                x, model.group_columns, model.kind, model.start, model.edge_start, model.middles,
                bad.table, bad.lines, bad.base[0], bad.at[0], bad.n[0], work,
            )
        )  # fmt: skip
        slots = slice(bad.at[0], bad.at[0] + bad.n[0])
        sigma = np.sqrt(0.5) / bad.lines[mixtures.INVERSE, :, slots]
        mean = bad.lines[mixtures.MIDDLE, :, slots]
        cut = stats.norm.cdf(1, mean, sigma) - stats.norm.cdf(0, mean, sigma)
        plain.append(np.log((weights * (stats.norm.pdf(x[:, None], mean, sigma) / cut).prod(axis=0)).sum()))
    gap = np.array(ours) - np.array(plain)
    assert np.abs(gap - gap[0]).max() < 1e-3, gap


def told(name: str, kwargs: dict[str, Any], space: Space, n: int, q: int) -> tuple[Any, float]:
    """A sampler that was told n scored random points, and the seconds that took."""
    sampler = make_sampler(name, kwargs, space, seed=3, concurrency=q, budget=n)
    vectors = make_sampler("random", {}, space, seed=5, concurrency=n, budget=n).ask(n, 0).vectors
    start = time.perf_counter()
    sampler.tell(vectors, score(vectors), np.zeros(n), np.zeros(n, np.int8), ["random"] * n)
    return sampler, time.perf_counter() - start


def per_trial(sampler: Any, q: int, generations: int, first: int) -> tuple[float, float]:
    """Microseconds per trial of ask and of tell, the lower decile."""
    asks, tells = [], []
    for generation in range(first, first + generations):
        start = time.perf_counter()
        proposals = sampler.ask(q, generation)
        asks.append(time.perf_counter() - start)
        values = score(proposals.vectors)
        start = time.perf_counter()
        sampler.tell(proposals.vectors, values, np.zeros(q), np.zeros(q, np.int8), proposals.origins)
        tells.append(time.perf_counter() - start)
    return float(np.percentile(asks, 10)) / q * 1e6, float(np.percentile(tells, 10)) / q * 1e6


class Clocked(optuna.samplers.BaseSampler):
    """A sampler that passes everything on and adds up the seconds spent in it."""

    def __init__(self, sampler: optuna.samplers.BaseSampler) -> None:
        self.sampler = sampler
        self.seconds = 0.0

    def _timed(self, method: str, *args: Any) -> Any:
        start = time.process_time()
        found = getattr(self.sampler, method)(*args)
        self.seconds += time.process_time() - start
        return found

    def infer_relative_search_space(self, *args: Any) -> Any:
        return self._timed("infer_relative_search_space", *args)

    def sample_relative(self, *args: Any) -> Any:
        return self._timed("sample_relative", *args)

    def sample_independent(self, *args: Any) -> Any:
        return self._timed("sample_independent", *args)

    def before_trial(self, *args: Any) -> None:
        self._timed("before_trial", *args)

    def after_trial(self, *args: Any) -> None:
        self._timed("after_trial", *args)


class Idle(optuna.samplers.BaseSampler):
    """Always the same point: what is left of a trial's time is Optuna's own."""

    def __init__(self, space: dict[str, Any], point: dict[str, Any]) -> None:
        self.space, self.point = space, point

    def infer_relative_search_space(self, *_: Any) -> dict[str, Any]:
        return self.space

    def sample_relative(self, *_: Any) -> dict[str, Any]:
        return self.point

    def sample_independent(self, *_: Any) -> Any:
        raise AssertionError("every parameter is relative")


def optuna_face(n: int, trials: int) -> tuple[list[float], list[float]]:
    """Milliseconds a trial (ask, 20 suggestions, tell) in a plain Optuna study, and those of them in the sampler.

    Ours, Optuna's own (48 candidates both) and one that does nothing, in turn; lower deciles of processor time, since a
    busy machine interrupts a trial of Optuna's sampler and not one of ours.
    """
    from genesis.samplers import TPESampler
    from genesis.search.samplers import select_optuna_sampler

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    space = Space.from_spec(SPEC)
    distributions = space.distributions()
    vectors = make_sampler("random", {}, space, seed=5, concurrency=n, budget=n).ask(n, 0).vectors
    values = score(vectors)
    history = [
        optuna.trial.create_trial(params=space.decode(v), distributions=distributions, value=float(y))
        for v, y in zip(vectors, values, strict=True)
    ]
    samplers = (
        TPESampler(seed=1, n_ei_candidates=48),
        select_optuna_sampler("tpe", seed=1),
        Idle(distributions, history[0].params),
    )
    studies = [optuna.create_study(direction="maximize", sampler=Clocked(one)) for one in samplers]
    whole: list[list[float]] = [[] for _ in samplers]
    inside: list[list[float]] = [[] for _ in samplers]
    for study in studies:
        study.add_trials(history)
    for turn in range(trials + 2):
        for study, times, own in zip(studies, whole, inside, strict=True):
            sampler: Any = study.sampler
            sampler.seconds = 0.0
            start = time.process_time()
            trial = study.ask(distributions)
            asked = time.process_time()
            value = float(score(space.encode(trial.params)[None])[0])
            told = time.process_time()
            study.tell(trial, value)
            if turn >= 2:  # after the first has taken in the history
                times.append(time.process_time() - told + asked - start)
                own.append(sampler.seconds)
    return [float(np.percentile(one, 10)) * 1e3 for one in whole], [
        float(np.percentile(one, 10)) * 1e3 for one in inside
    ]


def main(quick: bool = False, arguments: Sequence[str] = ()) -> None:
    """Print one table per face."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="100,1000" if quick else "100,1000,10000,100000")
    parser.add_argument("--peers", default="optuna-tpe,rustuna-tpe")
    parser.add_argument("--no-face", action="store_true", help="leave out the plain Optuna study")
    parser.add_argument("--face", action="store_true", help="the plain Optuna study only")
    args = parser.parse_args(arguments)
    check()
    sizes = [int(one) for one in args.sizes.split(",")]
    if args.face:
        face([one for one in sizes if one <= FACE_LIMIT])
        return
    space = Space.from_spec(SPEC)
    print(f"machine: {platform.processor() or platform.machine()}, Python {platform.python_version()}; 20 parameters")
    print("| sampler | q | told | ask µs | tell µs | history told in s |\n|---|---|---|---|---|---|")
    base: dict[int, float] = {}
    rows = [("tpe", 24, 256, 8), ("tpe", 48, 256, 8), ("tpe", 48, 1024, 8), ("tpe", 24, 1024, 1), ("auto", 24, 256, 8)]
    for name, candidates, most, q in rows:
        kwargs = {"n_ei_candidates": candidates, "bad_kernels": most}
        per_trial(told(name, kwargs, space, 300, q)[0], q, 20, 100)
        for n in sizes:
            sampler, loading = told(name, kwargs, space, n, q)
            ask, tell = per_trial(sampler, q, 100, n)
            label = f"{name}, {candidates} candidates, {most} kernels"
            print(f"| {label} | {q} | {n:,} | {ask:.0f} | {tell:.0f} | {loading:.3f} |", flush=True)
            if (name, candidates, most, q) == ("tpe", 48, 256, 8):
                base[n] = ask
    for peer in filter(None, args.peers.split(",")):
        for n in sizes:
            if n > PEER_LIMIT.get(peer, 1_000):
                continue
            try:
                sampler, loading = told(peer, {}, space, n, 1) if peer != "rustuna-tpe" else grown(peer, space, n)
            except Exception as exc:  # noqa: BLE001 - a peer that is not installed is left out, and said so
                print(f"| {peer} | 1 | {n:,} | {exc} | | |")
                break
            ask, tell = per_trial(sampler, 1, 10, n)
            ratio = f" ({ask / base[n]:.0f}×)" if n in base else ""
            print(f"| {peer} | 1 | {n:,} | {ask:.0f}{ratio} | {tell:.0f} | {loading:.3f} |", flush=True)
    if not args.no_face:
        face([one for one in sizes if one <= FACE_LIMIT])


def face(sizes: Sequence[int]) -> None:
    """Print what a trial costs in a plain Optuna study."""
    print("\nA trial (ask, 20 suggestions, tell) in a plain Optuna study, 48 candidates, ms of CPU:\n")
    print("| told | ours | Optuna's TPE | ratio | in our sampler | in Optuna's | ratio | Optuna with an idle sampler |")
    print("|---|---|---|---|---|---|---|---|")
    for n in sizes:
        (ours, theirs, idle), (own, their_own, _) = optuna_face(n, 40 if n <= 2_000 else 10)
        print(
            f"| {n:,} | {ours:.3f} | {theirs:.1f} | {theirs / ours:.0f}× | {own:.3f} | {their_own:.1f} "
            f"| {their_own / own:.0f}× | {idle:.3f} |",
            flush=True,
        )


def grown(peer: str, space: Space, n: int) -> tuple[Any, float]:
    """Rustuna takes no foreign points here, so it grows its own history at random first."""
    start = time.perf_counter()
    sampler = make_sampler(peer, {"n_startup_trials": n}, space, seed=3, concurrency=1, budget=n)
    for generation in range(n):
        proposals = sampler.ask(1, generation)
        sampler.tell(proposals.vectors, score(proposals.vectors), np.zeros(1), np.zeros(1, np.int8), ["random"])
    return sampler, time.perf_counter() - start


if __name__ == "__main__":
    main(arguments=sys.argv[1:])
