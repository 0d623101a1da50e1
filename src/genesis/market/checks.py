"""The rules that bars must keep, the problems found when they do not, and the gaps between bars."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from genesis.errors import BadBarsError
from genesis.market.timeframe import DAY, Timeframe
from genesis.types import FloatArray, IntArray

LISTED = 5  # problems spelt out in a message; all are counted
PRICES = ("open", "high", "low", "close")
CLOSURE_DAYS = 2  # trading weekdays in a row without a daily bar that pass for a holiday
RARE_WEEKDAY = 0.02  # a weekday with a smaller share of the bars holds special sessions only

BoolArray = NDArray[np.bool_]
Rule = tuple[str, BoolArray, Callable[[int], str]]


@dataclass(frozen=True, slots=True)
class Problem:
    """One broken rule: `row` counts from 1 (a file's header is not counted), `time` is UTC text."""

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
        return f"{iso(self.after)} to {iso(self.before)}: {self.missing:,} missing"


def iso(time: int) -> str:
    """UTC text of a time in ns: the date alone at midnight, else with the clock."""
    stamp = str(np.datetime64(int(time), "ns").astype("datetime64[s]"))
    return stamp.removesuffix("T00:00:00").replace("T", " ")


def check_arrays(time: IntArray, columns: Mapping[str, FloatArray], *, origin: str) -> None:
    """Raise `BadBarsError` naming the first five problems and counting all; return silently when the rules hold.

    `time` is int64 UTC ns, `columns` maps open, high, low, close and volume to float64 arrays of the same length;
    `origin` opens the message. Rules: prices finite and positive, volume finite and not negative, low <= open and
    close <= high, times strictly increasing.
    """
    if _clean(time, columns):
        return
    broken = [(rule, np.flatnonzero(mask), say) for rule, mask, say in _rules(time, columns) if mask.any()]
    first = sorted((int(row), k) for k, (_, rows, _) in enumerate(broken) for row in rows[:LISTED])[:LISTED]
    problems = [Problem(row + 1, iso(int(time[row])), broken[k][0], broken[k][2](row)) for row, k in first]
    raise bad_bars(origin, len(time), problems, {rule: len(rows) for rule, rows, _ in broken})


def bad_bars(origin: str, count: int, problems: Sequence[Problem], counts: Mapping[str, int]) -> BadBarsError:
    """The exception that lists `problems`, the first few of those found in `count` bars; `counts` has all, by rule."""
    total = sum(counts.values())
    lines = [f"{origin}: {total:,} problem{'s' if total != 1 else ''} in {count:,} bars (rows count from 1)"]
    lines += [f"  row {p.row:,}{f', {p.time}' if p.time else ''}: {p.message}" for p in problems]
    if total > len(problems):
        each = ", ".join(f"{rule} {number:,}" for rule, number in counts.items())
        lines.append(f"  … and {total - len(problems):,} more; in all: {each}")
    return BadBarsError("\n".join(lines), problems=[asdict(p) for p in problems], total=total, counts=dict(counts))


def _clean(time: IntArray, columns: Mapping[str, FloatArray]) -> bool:
    """Whether every rule holds, in few passes; comparisons with NaN are false, so a NaN is never clean."""
    if not len(time):
        return True
    o, h, lo, c, v = (columns[name] for name in (*PRICES, "volume"))
    return bool(
        (time[1:] > time[:-1]).all()
        and (lo > 0).all()
        and (h < np.inf).all()
        and (lo <= o).all()
        and (o <= h).all()
        and (lo <= c).all()
        and (c <= h).all()
        and (v >= 0).all()
        and (v < np.inf).all()
    )


def _rules(time: IntArray, columns: Mapping[str, FloatArray]) -> Iterator[Rule]:
    """Each rule as (name, mask of rows that break it, row -> sentence with the remedy)."""
    usable = np.ones(len(time), dtype=np.bool_)
    for name in PRICES:
        x = columns[name]
        usable &= np.isfinite(x)
        yield from _price_rules(name, x)
    v = columns["volume"]
    unknown = ~np.isfinite(v)
    yield (
        "volume missing",
        unknown,
        lambda i: f"volume {v[i]:g} is not a number; use 0 where unknown, or drop the column",
    )
    yield "volume negative", ~unknown & (v < 0), lambda i: f"volume {v[i]:g} is negative; use 0 where unknown"
    yield from _order_rules(columns, usable)
    step = np.diff(time, prepend=time[:1] - 1)
    yield "time repeated", step == 0, lambda _: "the time of the row before again; keep one of the two rows"
    backwards = len(step) > 2 and bool((step[1:] < 0).all())
    remedy = "the rows run from newest to oldest: reverse them" if backwards else "sort the rows by time, oldest first"
    yield "time unsorted", step < 0, lambda _: f"earlier than the row before; {remedy}"


def _price_rules(name: str, x: FloatArray) -> Iterator[Rule]:
    missing, infinite = np.isnan(x), np.isinf(x)
    yield f"{name} missing", missing, lambda _: f"{name} is NaN (no value); fill in the price or remove the row"
    yield f"{name} infinite", infinite, lambda _: f"{name} is infinite; correct the price or remove the row"
    yield (
        f"{name} not positive",
        ~missing & ~infinite & (x <= 0),
        lambda i: f"{name} {x[i]:g} is not above 0; correct the price or remove the row",
    )


def _order_rules(columns: Mapping[str, FloatArray], usable: BoolArray) -> Iterator[Rule]:
    h, lo = columns["high"], columns["low"]
    crossed = usable & (h < lo)
    yield (
        "high below low",
        crossed,
        lambda i: f"high {h[i]:.10g} < low {lo[i]:.10g}; correct the row, or swap the columns if all rows are so",
    )
    for name in ("open", "close"):
        yield _outside(name, columns[name], h, lo, usable & ~crossed)


def _outside(name: str, x: FloatArray, h: FloatArray, lo: FloatArray, usable: BoolArray) -> Rule:
    return (
        f"{name} outside",
        usable & ((x < lo) | (x > h)),
        lambda i: (
            f"{name} {x[i]:.10g} is outside [low {lo[i]:.10g}, high {h[i]:.10g}]; correct the row, "
            "and adjust all four prices alike"
        ),
    )


def find_gaps(time: IntArray, timeframe: Timeframe) -> tuple[Gap, ...]:
    """Gaps between sorted opening times (UTC ns), leaving out the closures that the data show to be regular.

    Daily bars on fewer than seven weekdays: the other weekdays are no gap, nor are up to two trading weekdays in a
    row (a holiday). Intraday bars: a break over midnight that recurs on more than half of the days is none (the
    night), nor is one of up to four days around a Saturday when no bar opens on one. Everything else is a gap.
    """
    if len(time) < 2:
        return ()
    close = timeframe.close_of(time)
    tolerance = timeframe.step // 2 if timeframe.step >= DAY else 0  # a day has 23 or 25 hours twice a year
    holes = np.flatnonzero(time[1:] - close[:-1] > tolerance)
    if not len(holes):
        return ()
    hole = time[holes + 1] - close[holes]
    absent = np.maximum(np.rint(hole / timeframe.step).astype(np.int64), 1)
    day = time // DAY
    weekday = (day + 3) % 7  # Monday is 0
    before, after = day[holes], day[holes + 1]
    keep = np.ones(len(holes), dtype=np.bool_)
    if timeframe.name == "1d":
        open_on = np.bincount(weekday, minlength=7) > RARE_WEEKDAY * len(time)
        if not open_on.all():
            span = (before + 1).astype("datetime64[D]"), after.astype("datetime64[D]")
            absent = np.busday_count(*span, weekmask=open_on).astype(np.int64)
            keep = absent > CLOSURE_DAYS
    elif timeframe.step < DAY:
        keep = ~_session_breaks(day, weekday, before, after, hole)
    return tuple(Gap(int(time[i]), int(time[i + 1]), int(n)) for i, n in zip(holes[keep], absent[keep], strict=True))


def describe_gaps(gaps: Sequence[Gap]) -> list[str]:
    """One line on gaps, or none: `2 gaps, 14 bars missing; the first: …`."""
    if not gaps:
        return []
    missing = sum(gap.missing for gap in gaps)
    plural = "" if len(gaps) == 1 else "s"
    return [f"{len(gaps):,} gap{plural}, {missing:,} bar{'' if missing == 1 else 's'} missing; the first: {gaps[0]}"]


def _session_breaks(day: IntArray, weekday: IntArray, before: IntArray, after: IntArray, hole: IntArray) -> BoolArray:
    """Which breaks between intraday bars are the market's regular closing."""
    overnight = after > before
    nightly = int(overnight.sum()) * 2 > len(np.unique(day))
    regular = overnight & (hole <= 5 * DAY) if nightly else np.zeros(len(hole), dtype=np.bool_)
    if (weekday == 5).any():
        return regular
    saturday = before + (5 - (before + 3)) % 7
    return regular | ((saturday < after) & (hole <= 4 * DAY))
