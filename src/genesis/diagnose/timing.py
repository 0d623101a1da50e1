"""How long a search will take: what starting costs, what a trial and a proposal cost, and what no estimate knows."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import psutil

from genesis.config import StudyConfig
from genesis.diagnose.findings import Finding
from genesis.report.terminal import duration
from genesis.search.samplers import BatchSampler, make_sampler, startup_trials

START_SECONDS = 2.5  # a `genesis run` of four short trials on an idle core of 2.5 GHz, nearly all of it imports
WORKER_SECONDS = 0.1  # to fork one, hand it trials and end it: 0.2 s for one, 0.7 s for eight
_COMMAND_SECONDS = 120.0  # an older process is a notebook or a service: its age says nothing about a command's start
_SPREAD = 1.5  # two timed trials and a made-up history are a small sample


@dataclass(frozen=True, slots=True)
class Proposing:
    """Seconds the sampler takes for one proposal once it models, and what its first ones cost beyond that."""

    each: float
    start: float


def sampler_of(config: StudyConfig) -> BatchSampler:
    """The study's sampler, new. Raises ConfigError for wrong arguments, MissingExtraError for what is not installed."""
    return make_sampler(
        config.run.sampler.type or "tpe",
        config.run.sampler.kwargs,
        config.space,
        seed=0,
        concurrency=config.concurrency,
        budget=config.run.max_trials or 1_000,
    )


def propose_seconds(config: StudyConfig) -> Proposing:
    """What proposing costs, measured on a made-up history of random scores. Raises ConfigError for wrong arguments."""
    width = config.concurrency
    sampler = sampler_of(config)
    generator = np.random.default_rng(0)
    spent: list[float] = []
    counts: list[int] = []
    while sum(counts) < 2 * startup_trials(width) + 3 * width:
        mark = time.perf_counter()
        proposals = sampler.ask(width, len(counts))
        count = len(proposals.vectors)
        if not count:
            break
        spent.append(time.perf_counter() - mark)
        counts.append(count)
        sampler.tell(
            proposals.vectors,
            generator.standard_normal(count),
            np.zeros(count),
            np.zeros(count, dtype=np.int8),
            proposals.origins,
        )
    if not spent:
        return Proposing(0.0, 0.0)
    each = float(np.median(np.divide(spent, counts)[-3:]))
    return Proposing(each, max(0.0, float(np.max(np.subtract(spent, np.multiply(each, counts))))))


def process_age() -> float:
    """Seconds since this process began, its imports included."""
    return float(time.time() - psutil.Process().create_time())


def time_finding(
    config: StudyConfig, facts: dict[str, Any], *, each: float, first: float, age: float, workers: int
) -> list[Finding]:
    """The time of the whole search, from about to about, starting included; what it rests on goes to `facts`.

    `each` are the seconds of a trial, `first` what the first one took beyond that, `age` how old the process was before
    it: for a command, the least that starting costs on this machine now. A run imports more than an audit, twice that.
    """
    budget = config.run.max_trials
    if config.space.size is not None and config.run.sampler.type in ("grid", "brute"):
        budget = min(budget or config.space.size, config.space.size)
    if not budget:
        return []
    proposing = propose_seconds(config)
    searching = each * budget / workers + proposing.each * budget
    loading = max(START_SECONDS, age if age < _COMMAND_SECONDS else 0.0)
    begin = loading + WORKER_SECONDS * workers
    begin_most = 2 * begin + first + proposing.start
    least, most = searching + begin, searching * _SPREAD + begin_most
    facts |= {
        "seconds_per_proposal": proposing.each,
        "start_seconds": begin,
        "start_seconds_most": begin_most,
        "estimated_seconds": least,
        "estimated_seconds_most": most,
    }
    return [
        Finding(
            "time",
            "info",
            f"About {_span(least, most)} for {budget:,} trials on {workers} process{'es' if workers != 1 else ''}, "
            f"{_span(begin, begin_most)} of it to start; repeats, storing and the holdout come on top",
            f"one trial takes {each * 1e3:.3g} ms (two were timed), proposing one {proposing.each * 1e3:.3g} ms",
            "nothing to mend",
        )
    ]


def _span(least: float, most: float) -> str:
    """Whole seconds below a minute: more digits would be a promise."""
    if most < 59.5:
        return f"{max(1, round(least))} to {max(2, round(most))} s"
    low = f"{max(1, round(least))} s" if least < 59.5 else duration(least)
    return f"{low} to {duration(most)}"
