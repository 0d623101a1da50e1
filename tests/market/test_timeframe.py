"""Timeframes have one name per length, floor to calendar openings, and are told from the times."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genesis.errors import DataError
from genesis.market.timeframe import DAY, HOUR, MINUTE, fits, infer_timeframe, parse_timeframe


def ns(*stamps: str) -> np.ndarray:
    return np.array(stamps, dtype="datetime64[ns]").astype(np.int64)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("5m", "5m"), ("60m", "1h"), ("24h", "1d"), ("1D", "1d"), ("7d", "1w"), ("1W", "1w"), ("1M", "1M"),
        ("1mo", "1M"), ("1y", "12M"), ("90s", "90s"), ("120s", "2m"), ("15min", "15m"), (" 4h ", "4h"),
    ],
)  # fmt: skip
def test_equal_lengths_share_one_name(text, name):
    assert parse_timeframe(text).name == name


@pytest.mark.parametrize("text", ["", "5", "m", "0m", "-5m", "5x", "1.5h", "5 m m", None, 5, "999999d"])
def test_what_is_no_timeframe_is_refused_with_what_is_allowed(text):
    with pytest.raises(DataError, match=r"is not understood; give .*such as 5m"):
        parse_timeframe(text)


def test_weeks_open_on_monday_and_months_on_the_first():
    when = ns("2024-02-29T13:07:00", "2024-03-04", "2024-03-03T23:59:59")
    assert (parse_timeframe("1w").floor(when) == ns("2024-02-26", "2024-03-04", "2024-02-26")).all()
    assert (parse_timeframe("1M").floor(when) == ns("2024-02-01", "2024-03-01", "2024-03-01")).all()
    assert (parse_timeframe("3M").floor(when) == ns("2024-01-01", "2024-01-01", "2024-01-01")).all()
    assert (parse_timeframe("4h").floor(when) == ns("2024-02-29T12", "2024-03-04", "2024-03-03T20")).all()


def test_a_month_closes_when_the_next_one_opens():
    assert (parse_timeframe("1M").close_of(ns("2024-02-01", "2023-12-01")) == ns("2024-03-01", "2024-01-01")).all()
    assert (parse_timeframe("1d").close_of(ns("2024-02-29")) == ns("2024-03-01")).all()


@given(
    st.sampled_from(["1m", "7m", "1h", "4h", "1d", "1w", "2w", "1M", "3M", "12M"]),
    st.lists(st.integers(-(2**61), 2**61), min_size=1, max_size=20),
)
def test_a_time_lies_inside_its_own_bucket(name, times):
    frame, time = parse_timeframe(name), np.array(times)
    opening = frame.floor(time)
    assert (opening <= time).all()
    assert (time < frame.close_of(opening)).all()
    assert (frame.floor(opening) == opening).all()


@pytest.mark.parametrize("name", ["1s", "5m", "1h", "4h", "1d", "1w", "1M", "3M", "12M"])
def test_the_timeframe_is_told_from_times_made_with_it(name):
    frame = parse_timeframe(name)
    time = [0]
    for _ in range(30):
        time.append(int(frame.close_of(np.array(time[-1:]))[0]))
    assert infer_timeframe(np.array(time)) == frame


def test_weekday_bars_are_daily_and_one_hole_does_not_change_the_timeframe():
    weekdays = np.arange("2024-01-01", "2024-03-01", dtype="datetime64[D]")
    weekdays = weekdays[np.is_busday(weekdays)].astype("datetime64[ns]").astype(np.int64)
    assert infer_timeframe(weekdays).name == "1d"
    minutes = np.delete(np.arange(100) * 5 * MINUTE, slice(40, 60))
    assert infer_timeframe(minutes).name == "5m"


def test_too_few_or_uneven_times_tell_no_timeframe():
    with pytest.raises(DataError, match="do not tell their timeframe"):
        infer_timeframe(np.array([0]))
    with pytest.raises(DataError, match=r"median step between bars is 0\.5 s"):
        infer_timeframe(np.arange(5) * 500_000_000)


def test_times_fit_a_finer_timeframe_only_when_its_step_occurs_and_divides_all():
    thin = np.cumsum([0, 10, 10, 5, 20, 10, 15]) * MINUTE  # a market where nobody trades in most five minutes
    assert infer_timeframe(thin).name == "10m"
    assert fits(thin, parse_timeframe("5m"))
    assert not fits(thin, parse_timeframe("1m"))
    assert not fits(thin, parse_timeframe("1h"))
    assert not fits(np.arange(9) * HOUR, parse_timeframe("1d"))
    assert fits(np.arange(9) * DAY, parse_timeframe("1d"))


@pytest.mark.parametrize(
    ("fine", "coarse", "whole"),
    [("5m", "1h", True), ("7m", "1h", False), ("1d", "1w", True), ("1d", "1M", True), ("1w", "1M", False),
     ("1M", "3M", True), ("1M", "1w", False), ("1h", "5m", False), ("4h", "1M", True), ("7h", "1M", False)],
)  # fmt: skip
def test_divides_says_whether_whole_bars_fill_a_coarser_one(fine, coarse, whole):
    assert parse_timeframe(fine).divides(parse_timeframe(coarse)) is whole
