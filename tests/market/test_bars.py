"""Bars are checked when made, resample by closing time, and never show a coarser bar before it has closed."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genesis.errors import BadBarsError, DataError
from genesis.market.bars import COLUMNS, Bars, align_closed, higher_bars, resample
from genesis.market.timeframe import DAY, HOUR, MINUTE, parse_timeframe

MONDAY = np.datetime64("2024-01-01", "ns").astype(np.int64)


def make(time: np.ndarray, timeframe: str, seed: int = 0) -> Bars:
    rng = np.random.default_rng(seed)
    n = len(time)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, n)))
    open_ = close * np.exp(rng.normal(0, 0.005, n))
    high = np.maximum(open_, close) * (1 + rng.random(n) / 100)
    low = np.minimum(open_, close) * (1 - rng.random(n) / 100)
    return Bars(time, open_, high, low, close, rng.integers(0, 9, n).astype(float), timeframe, symbol="T")


def same(a: Bars, b: Bars) -> bool:
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in ("time", *COLUMNS))


# frames to resample from and to, with the step and an offset of the fine bars against the clock
CASES = [("1d", "1w", 0), ("1d", "1M", 0), ("1d", "1w", 5 * HOUR), ("1d", "1w", 22 * HOUR), ("1h", "1d", 0),
         ("1h", "4h", 30 * MINUTE), ("5m", "1h", 0), ("4h", "3d", 0), ("1d", "3M", 0)]  # fmt: skip


@st.composite
def markets(draw):
    fine, coarse, offset = draw(st.sampled_from(CASES))
    n = draw(st.integers(1, 120))
    steps = draw(st.lists(st.sampled_from([1, 1, 1, 1, 1, 2, 3, 9]), min_size=n, max_size=n))
    first = draw(st.integers(0, 40))
    time = MONDAY + offset + (first + np.cumsum(steps)) * parse_timeframe(fine).step
    return make(time, fine, draw(st.integers(0, 5))), coarse


@settings(max_examples=150, deadline=None)
@given(markets(), st.data())
def test_cutting_the_data_changes_nothing_that_was_known(market, data):
    """The truncation law: what is aligned to bars up to t is the same with and without the bars after t."""
    bars, coarse = market
    t = data.draw(st.integers(0, len(bars) - 1))
    whole, cut = resample(bars, coarse), resample(bars.slice(0, t + 1), coarse)
    seen, seen_cut = align_closed(bars, whole)[: t + 1], align_closed(bars.slice(0, t + 1), cut)
    assert np.array_equal(seen, seen_cut)
    known = int(seen.max()) + 1
    for name in ("time", *COLUMNS):
        assert np.array_equal(getattr(whole, name)[:known], getattr(cut, name)[:known])


@settings(max_examples=150, deadline=None)
@given(markets())
def test_a_coarse_bar_is_made_only_of_bars_closed_when_it_is_seen(market):
    """The slow twin: for each fine bar, look for the last complete bucket by hand and compare."""
    bars, coarse = market
    high, frame = resample(bars, coarse), parse_timeframe(coarse)
    aligned = align_closed(bars, high)
    owner = frame.floor(bars.close_time - 1)
    reached = [b for b in np.unique(owner) if frame.close_of(np.array([b]))[0] <= bars.close_time[-1]]
    assert list(high.time) == [b for b in reached if b >= bars.time[0]]
    for i in range(len(bars)):
        now = bars.close_time[i]
        closed = [k for k in range(len(high)) if frame.close_of(high.time[k : k + 1])[0] <= now]
        assert aligned[i] == (closed[-1] if closed else -1)
        if closed:
            members = np.flatnonzero(owner == high.time[closed[-1]])
            assert members.max() <= i
            assert high.open[closed[-1]] == bars.open[members[0]]
            assert high.close[closed[-1]] == bars.close[members[-1]]
            assert high.high[closed[-1]] == bars.high[members].max()
            assert high.low[closed[-1]] == bars.low[members].min()
            assert high.volume[closed[-1]] == bars.volume[members].sum()


def test_a_week_of_daily_bars_is_first_seen_when_the_week_is_over():
    days = MONDAY + np.array([0, 1, 2, 3, 4, 7, 8, 9, 10, 11, 14]) * DAY  # two trading weeks and a Monday
    bars = make(days, "1d")
    week = resample(bars, "1w")
    assert list(week.index.strftime("%Y-%m-%d")) == ["2024-01-01", "2024-01-08"]
    assert list(align_closed(bars, week)) == [-1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 1]
    assert week.volume[0] == bars.volume[:5].sum()


def test_a_week_not_finished_and_one_not_begun_are_left_out():
    wednesday = make(MONDAY + np.arange(2, 13) * DAY, "1d")  # Wednesday to the Saturday of the next week
    assert len(resample(wednesday, "1w")) == 0
    until_sunday = make(MONDAY + np.arange(2, 14) * DAY, "1d")
    assert len(resample(until_sunday, "1w")) == 1
    assert len(align_closed(wednesday, resample(wednesday, "1w"))) == len(wednesday)
    assert (align_closed(wednesday, resample(wednesday, "1w")) == -1).all()


def test_a_daily_bar_stamped_on_sunday_evening_belongs_to_the_week_it_closes_in():
    stamps = MONDAY - 2 * HOUR + np.arange(0, 9) * DAY  # opens Sunday 22:00, closes Monday 22:00
    week = resample(make(stamps, "1d"), "1w")
    assert week.time[0] == MONDAY
    assert week.open[0] == make(stamps, "1d").open[0]


def test_resampling_in_two_steps_is_resampling_in_one():
    bars = make(MONDAY + np.arange(24 * 12 * 16) * 5 * MINUTE, "5m")
    once, twice = resample(bars, "1d"), resample(resample(bars, "1h"), "1d")
    assert np.array_equal(once.close, twice.close)
    assert np.allclose(once.volume, twice.volume)
    assert "resampled from 5m to 1d" in once.notes
    assert resample(bars, "5m") is bars


def test_bars_that_do_not_fill_coarser_ones_are_refused():
    with pytest.raises(DataError, match="1d bars do not fill 1h bars"):
        resample(make(MONDAY + np.arange(9) * DAY, "1d"), "1h")


def test_columns_are_writable_contiguous_and_of_one_type_whatever_came():
    frozen = np.arange(1.0, 6.0)[::-1].astype(np.float32)
    frozen.flags.writeable = False
    time = pd.date_range("2024-01-01", periods=5, tz="UTC").as_unit("ns").asi8
    bars = Bars(time, frozen, frozen, frozen, frozen, frozen, "1d")
    for name in ("time", *COLUMNS):
        column = getattr(bars, name)
        assert column.flags.c_contiguous
        assert column.flags.writeable
        assert column.dtype == (np.int64 if name == "time" else np.float64)
    assert bars.slice(1, 4).close.flags.c_contiguous


def test_columns_of_unequal_length_are_refused():
    with pytest.raises(DataError, match="low has shape"):
        Bars(np.arange(3) * DAY, *(np.ones(n) for n in (3, 3, 2, 3, 3)), "1d")


def test_a_slice_shares_memory_and_keeps_the_labels():
    bars = make(MONDAY + np.arange(50) * DAY, "1d")
    part = bars.slice(10, 20)
    assert np.shares_memory(part.close, bars.close)
    assert (part.symbol, part.timeframe, len(part)) == ("T", "1d", 10)
    assert part.fingerprint != bars.fingerprint
    assert bars.between(bars.time[3], bars.time[5]).time.tolist() == bars.time[3:5].tolist()
    assert len(bars.between(bars.time[-1] + 1, None)) == 0


def test_the_fingerprint_is_of_content_and_timeframe_alone():
    time = MONDAY + np.arange(20) * DAY
    a, b = make(time, "1d"), make(time, "1d")
    b.volume[b.volume == 0] = -0.0
    other = Bars(*(getattr(b, n).copy() for n in ("time", *COLUMNS)), "1d", symbol="Z", source="/else/where.csv")
    assert a.fingerprint == b.fingerprint == other.fingerprint
    nudged = Bars(*(getattr(a, n).copy() for n in ("time", *COLUMNS[:4])), a.volume + 1, "1d")
    assert nudged.fingerprint != a.fingerprint
    assert make(time, "1d").fingerprint != make(time, "12h").fingerprint


def test_the_fingerprint_is_pinned():
    """Golden: a change here orphans every stored result."""
    one = np.array([1.0, 2.0])
    bars = Bars(np.array([0, DAY]), one, one, one, one, np.zeros(2), "1d")
    assert bars.fingerprint == "09e952cce07dd46b4901f67dd0801fa64fd5938b4a974737c41550580c000ae1"


def test_bars_survive_pickling_with_their_notes():
    bars = make(MONDAY + np.arange(9) * DAY, "1d")
    again = pickle.loads(pickle.dumps(bars))  # noqa: S301 - our own bytes: bars cross processes
    assert same(again, bars)
    assert again.fingerprint == bars.fingerprint
    assert again.close.flags.writeable


def test_a_frame_round_trips():
    bars = make(MONDAY + np.arange(90) * 5 * MINUTE, "5m")
    again = Bars.from_frame(bars.to_frame(), symbol="T")
    assert same(again, bars)
    assert again.timeframe == "5m"
    assert repr(again).startswith("<Bars T 5m: 90 bars 2024-01-01")


def test_a_timeframe_that_the_times_contradict_is_refused_with_the_one_they_tell():
    frame = make(MONDAY + np.arange(9) * HOUR, "1h").to_frame()
    with pytest.raises(DataError, match="timeframe 5m was given, the bars step 1h"):
        Bars.from_frame(frame, timeframe="5m")
    with pytest.raises(DataError, match="timeframe 1d was given, the bars step 1h"):
        Bars.from_frame(frame, timeframe="1d")
    assert Bars.from_frame(frame, timeframe="60m").timeframe == "1h"


def test_gaps_and_overlaps_are_noted_and_allowed():
    time = MONDAY + np.delete(np.arange(100), [40, 41]) * HOUR
    bars = Bars.from_frame(make(time, "1h").to_frame())
    assert any(note.startswith("1 gap, 2 bars missing") for note in bars.notes)
    assert [gap.missing for gap in bars.gaps] == [2]
    time = np.sort(np.append(MONDAY + np.arange(50) * HOUR, MONDAY + 30 * MINUTE))
    notes = Bars.from_frame(make(time, "1h").to_frame()).notes
    assert "2 bars open before the bar before them has closed" in notes


def test_bad_rows_are_refused_before_the_timeframe_is_told():
    frame = make(MONDAY + np.arange(9) * HOUR, "1h").to_frame()
    frame.iloc[4, 3] = np.nan
    with pytest.raises(BadBarsError, match="row 5, 2024-01-01 04:00:00: close is NaN"):
        Bars.from_frame(frame, timeframe="5m")


def test_daily_bars_stamped_at_local_midnight_are_daily_through_both_clock_changes():
    local = pd.date_range("2024-01-01", "2024-12-31", freq="B", tz="America/New_York")
    frame = make(local.tz_convert("UTC").as_unit("ns").asi8, "1d").to_frame().set_axis(local)
    bars = Bars.from_frame(frame)
    assert bars.timeframe == "1d"
    assert bars.gaps == ()
    assert bars.notes == ("times converted from America/New_York to UTC",)
    weeks = resample(bars, "1w")
    assert len(weeks) == 51  # the first bar opens five hours into its week, the last week is not over
    assert weeks.volume[0] == bars.volume[5:10].sum()


@pytest.mark.parametrize(("freq", "name"), [("W-MON", "1w"), ("W-FRI", "1w"), ("MS", "1M"), ("ME", "1M"), ("QS", "3M")])
def test_calendar_bars_are_told_by_their_steps(freq, name):
    time = pd.date_range("2015-01-01", periods=60, freq=freq, tz="UTC").as_unit("ns").asi8
    bars = Bars.from_frame(make(time, "1d").to_frame())
    assert (bars.timeframe, bars.gaps) == (name, ())
    assert (np.diff(bars.close_time) > 0).all()


def test_higher_bars_are_worked_out_once():
    """The coarser bars and their alignment stay with the bars, the alignment read-only, equal to the direct ones."""
    bars = make(MONDAY + np.arange(40) * DAY, "1d")
    week, index = higher_bars(bars, "7d")
    assert higher_bars(bars, "1w")[0] is week
    assert np.array_equal(week.close, resample(bars, "1w").close)
    assert np.array_equal(index, align_closed(bars, resample(bars, "1w")))
    with pytest.raises(ValueError, match="read-only"):
        index[0] = 3
    part = bars.slice(0, 20)
    assert len(higher_bars(part, "1w")[0]) == 2, "a window has its own"
