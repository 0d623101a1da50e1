"""Time two ways of one work in turn, A B A B, and state their ratio with its spread.

Rounds alternate, so that a slow minute of a shared machine falls on both; the ratio is the median of the rounds'
ratios, the spread their quartiles. Times are the medians too. The garbage collector rests while the clock runs.
"""

from __future__ import annotations

import gc
import os
import platform
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

Work = Callable[[int], object]
Clock = Callable[[], float]

wall: Clock = time.perf_counter
_clock: list[Clock] = [wall]


def use_processor_time() -> None:
    """Count this process's processor time instead of the wall clock's, for a machine that does other work meanwhile."""
    _clock[0] = time.process_time


def clock_name() -> str:
    """What is counted, in words."""
    return "wall clock" if _clock[0] is wall else "processor time of one process"


@dataclass(frozen=True)
class Timed:
    """Seconds per call of one work, one value per round."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return float(np.median(self.seconds))


@dataclass(frozen=True)
class Compared:
    """Two works timed in turn."""

    ours: Timed
    peer: Timed

    @property
    def ratios(self) -> list[float]:
        return [p / o for o, p in zip(self.ours.seconds, self.peer.seconds, strict=True)]

    def __str__(self) -> str:
        low, middle, high = np.percentile(self.ratios, [25, 50, 75])
        return f"{unit(self.ours.median)} against {unit(self.peer.median)}: {middle:,.3g}x [{low:,.3g}, {high:,.3g}]"


def once(work: Work, calls: int, start: int = 0, *, clock: Clock | None = None) -> float:
    """Seconds per call of `work(k)` for k = start .. start+calls-1; the number lets parameters differ on every call."""
    now = clock or _clock[0]
    gc.collect()
    gc.disable()
    try:
        began = now()
        for k in range(start, start + calls):
            work(k)
        return (now() - began) / calls
    finally:
        gc.enable()


def compare(
    ours: Work,
    peer: Work,
    *,
    rounds: int = 5,
    our_calls: int = 100,
    peer_calls: int = 1,
    clock: Clock | None = None,
) -> Compared:
    """Time `ours` and `peer` in turn, after one call of each that does not count."""
    ours(0)
    peer(0)
    a: list[float] = []
    b: list[float] = []
    for turn in range(rounds):
        a.append(once(ours, our_calls, turn * our_calls, clock=clock))
        b.append(once(peer, peer_calls, turn * peer_calls, clock=clock))
    return Compared(Timed(tuple(a)), Timed(tuple(b)))


def alone(work: Work, *, rounds: int = 5, calls: int = 100) -> Timed:
    """Time one work that has no peer."""
    work(0)
    return Timed(tuple(once(work, calls, turn * calls) for turn in range(rounds)))


def unit(seconds: float) -> str:
    """Seconds in a unit one can read."""
    for factor, name in ((1e6, "µs"), (1e3, "ms")):
        if seconds * factor < 1_000:
            return f"{seconds * factor:,.3g} {name}"
    return f"{seconds:,.3g} s"


def machine() -> str:
    """One line: processor, cores, load, Python, NumPy, Numba and the commit measured."""
    import numba

    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    return (
        f"{processor()}, {os.cpu_count()} cores, load {load:.1f}; Python {platform.python_version()}, "
        f"NumPy {np.__version__}, Numba {numba.__version__}; commit {commit()}"
    )


def processor() -> str:
    """The processor's name."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def commit() -> str:
    """Short id of the commit checked out, with `+` when files differ from it."""
    here = Path(__file__).parent

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=here, capture_output=True, text=True, check=False)
        return done.stdout.strip()

    return (git("rev-parse", "--short", "HEAD") or "unknown") + ("+" if git("status", "--porcelain", "-uno") else "")


def table(rows: Sequence[Sequence[object]], heads: Sequence[str]) -> str:
    """Rows as aligned text."""
    cells = [[str(head) for head in heads], *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[k]) for row in cells) for k in range(len(heads))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in cells)
