"""The rules that bars must keep, the problems found when they do not, and the gaps between bars."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from genesis.errors import BadBarsError
from genesis.market.timeframe import DAY, Timeframe
from genesis.types import FloatArray, IntArray

LISTED = 5  # problems spelt out in a message; all are counted
PRICES = ("open", "high", "low", "close")
CLOSURE_DAYS = 2  # weekdays in a row without a daily bar that pass for a holiday


@dataclass(frozen=True, slots=True)
class Problem:
    """One broken rule: `row` counts from 1 (a file's header is not counted), `time` is ISO UTC text."""

    row: int
    time: str
    rule: str
    message: str


@dataclass(frozen=True, slots=True)
class Gap:
    """Bars that are not there: `after` and `before` are the opening times (UTC ns) around `missing` absent bars."""

    after: int
    before: int
    missing: int

    def __str__(self) -> str:
        return f"{iso(self.after)} .. {iso(self.before)}: {self.missing:,} bars missing"


def iso(time: int) -> str:
    """UTC text of a time in ns: the date alone at midnight, else with the clock."""
    stamp = str(np.datetime64(int(time), "ns").astype("datetime64[s]"))
    return stamp.removesuffix("T00:00:00").replace("T", " ")


def check_arrays(time: IntArray, columns: Mapping[str, FloatArray], *, origin: str) -> None:
    """Raise `BadBarsError` naming the first five problems and counting all; return silently when the rules hold.

    `time` is int64 UTC ns, `columns` maps open, high, low, close, volume to float64 arrays of the same length;
    `origin` opens the message. Rules: finite positive prices, finite volume not negative, low <= open, close <= high,
    times strictly increasing.
    """
    broken = [(rule, np.flatnonzero(mask), say) for rule, mask, say in _rules(time, columns) if mask.any()]
    if not broken:
        return
    total = sum(len(rows) for _, rows, _ in broken)
    order = sorted((int(row), k) for k, (_, rows, _) in enumerate(broken) for row in rows[:LISTED])[:LISTED]
    problems = [Problem(row + 1, iso(int(time[row])), broken[k][0], broken[k][2](row)) for row, k in order]
    raise bad_bars(origin, len(time), problems, total, {rule: len(rows) for rule, rows, _ in broken})


def bad_bars(origin: str, count: int, problems: list[Problem], total: int, counts: Mapping[str, int]) -> BadBarsError:
    """The exception that lists `problems` (the first few of `total`) found in `count` bars."""
    lines = [f"{origin}: {total:,} problem{'s' if total != 1 else ''} in {count:,} bars (rows count from 1)"]
    lines += [f"  row {p.row:,}, {p.time}: {p.message}" for p in problems]
    if total > len(problems):
        each = ", ".join(f"{rule} {number:,}" for rule, number in counts.items())
        lines.append(f"  … and {total - len(problems):,} more ({each})")
    listed = [{"row": p.row, "time": p.time, "rule": p.rule, "message": p.message} for p in problems]
    return BadBarsError("\n".join(lines), problems=listed, total=total, counts=dict(counts))


def _rules(
    time: IntArray, columns: Mapping[str, FloatArray]
) -> Iterator[tuple[str, NDArray[np.bool_], Callable[[int], str]]]:
    """Each rule as (name, mask of rows that break it, row -> sentence with the remedy)."""
    o, h, lo, c, v = (columns[name] for name in (*PRICES, "volume"))
    usable = np.ones(len(time), dtype=bool)
    for name in PRICES:
        x = columns[name]
        missing = np.isnan(x)
        yield f"{name} missing", missing, lambda i, n=name: f"{n} is NaN; fill in the price or remove the row"
        infinite = np.isinf(x)
        yield f"{name} infinite", infinite, lambda i, n=name: f"{n} is infinite; correct the price or remove the row"
        negative = ~missing & ~infinite & (x <= 0)
        yield (
            f"{name} not positive",
            negative,
            lambda i, n=name, x=x: f"{n} {x[i]:g} is not positive; prices must be above 0: correct or remove the row",
        )
        usable &= ~(missing | infinite)
    missing = ~np.isfinite(v)
    yield (
        "volume missing",
        missing,
        lambda i: f"volume {v[i]:g} is not a number; use 0 where unknown, or drop the column",
    )
    yield "volume negative", ~missing & (v < 0), lambda i: f"volume {v[i]:g} is negative; use 0 where unknown"
    crossed = usable & (h < lo)
    yield "high below low", crossed, lambda i: f"high {h[i]:.10g} < low {lo[i]:.10g}; are the two columns swapped?"
    for name, x in (("open", o), ("close", c)):
        outside = usable & ~crossed & ((x < lo) | (x > h))
        yield (
            f"{name} outside",
            outside,
            lambda i, n=name, x=x: (
                f"{n} {x[i]:.10g} is outside [low {lo[i]:.10g}, high {h[i]:.10g}]; correct the row or adjust all four prices alike"
            ),
        )
    step = np.diff(time, prepend=time[:1] - 1) if len(time) else time
    yield "time repeated", step == 0, lambda i: "the time of the row before, again; remove one of the two rows"
    yield "time unsorted", step < 0, lambda i: "earlier than the row before; sort the rows by time, oldest first"


def find_gaps(time: IntArray, timeframe: Timeframe) -> tuple[Gap, ...]:
    """Gaps between sorted opening times (UTC ns), leaving out the closures that the data themselves show to be regular.

    Daily bars without a weekend bar: weekends and up to two weekdays in a row (holidays) are no gap. Intraday bars: a
    break that spans a midnight and recurs on more than half of the days (overnight) is none, nor is a break of up to
    four days around a Saturday when no bar opens on one. Everything else is.
    """
    if len(time) < 2:
        return ()
    close = timeframe.close_of(time)
    tolerance = timeframe.step // 2 if timeframe.step >= DAY else 0  # a day has 23 or 25 hours twice a year
    holes = np.flatnonzero(time[1:] - close[:-1] > tolerance)
    if not len(holes):
        return ()
    absent = np.rint((time[holes + 1] - close[holes]) / timeframe.step).astype(np.int64).clip(min=1)
    day = time // DAY
    weekday = (day + 3) % 7  # Monday is 0
    before, after = day[holes], day[holes + 1]
    if timeframe.name == "1d" and not (weekday >= 5).any():
        absent = np.busday_count((before + 1).astype("datetime64[D]"), after.astype("datetime64[D]")).astype(np.int64)
        keep = absent > CLOSURE_DAYS
    elif timeframe.step < DAY:
        keep = ~_session_breaks(day, weekday, before, after, time[holes + 1] - close[holes])
    else:
        keep = np.ones(len(holes), dtype=bool)
    return tuple(Gap(int(time[i]), int(time[i + 1]), int(n)) for i, n in zip(holes[keep], absent[keep], strict=True))


def _session_breaks(
    day: IntArray, weekday: IntArray, before: IntArray, after: IntArray, length: IntArray
) -> NDArray[np.bool_]:
    """Which breaks between intraday bars are the market's regular closing."""
    overnight = after > before
    days = len(np.unique(day))
    regular = overnight & (length <= 5 * DAY) & bool(overnight.sum() * 2 > days)
    if (weekday == 5).any():
        return regular
    saturday = (before + (5 - (before + 3)) % 7 < after) & (length <= 4 * DAY)
    return regular | saturday
