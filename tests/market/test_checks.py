"""Every broken rule is found, named with its row, time and remedy; gaps are told from a market's own closing times."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from genesis.errors import BadBarsError
from genesis.market.checks import check_arrays, describe_gaps, find_gaps
from genesis.market.timeframe import DAY, HOUR, MINUTE, parse_timeframe

START = np.datetime64("2024-01-01", "ns").astype(np.int64)


def columns(n: int = 10) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    price = np.linspace(10.0, 11.0, n)
    time = START + np.arange(n) * DAY
    return time, {"open": price, "high": price + 1, "low": price - 1, "close": price + 0.5, "volume": np.ones(n)}


def refusal(time, cols) -> BadBarsError:
    with pytest.raises(BadBarsError) as caught:
        check_arrays(time, cols, origin="prices.csv")
    return caught.value


def test_bars_that_keep_the_rules_pass():
    check_arrays(*columns(), origin="x")
    check_arrays(np.array([], dtype=np.int64), {k: v[:0] for k, v in columns()[1].items()}, origin="x")


@pytest.mark.parametrize(
    ("column", "value", "rule", "says"),
    [
        ("open", np.nan, "open missing", "open is NaN"),
        ("high", np.inf, "high infinite", "high is infinite"),
        ("low", 0.0, "low not positive", "low 0 is not above 0"),
        ("close", -3.0, "close not positive", "close -3 is not above 0"),
        ("close", 99.0, "close outside", "close 99 is outside [low 9.333333333, high 11.33333333]"),
        ("open", 0.5, "open outside", "open 0.5 is outside"),
        ("high", 2.0, "high below low", "high 2 < low 9.333333333"),
        ("volume", -1.0, "volume negative", "volume -1 is negative"),
        ("volume", np.nan, "volume missing", "use 0 where unknown"),
        ("volume", np.inf, "volume missing", "use 0 where unknown"),
    ],
)
def test_a_broken_rule_names_row_time_and_remedy(column, value, rule, says):
    time, cols = columns()
    cols[column] = cols[column].copy()
    cols[column][3] = value
    error = refusal(time, cols)
    assert error.details["problems"][0] | {"message": ""} == {
        "row": 4, "time": "2024-01-04", "rule": rule, "message": "",
    }  # fmt: skip
    assert "row 4, 2024-01-04: " in str(error)
    assert says in str(error)
    assert str(error).startswith("prices.csv: ")


@pytest.mark.parametrize(("shift", "rule"), [(0, "time repeated"), (-1, "time unsorted")])
def test_repeated_and_unsorted_times_are_refused(shift, rule):
    time, cols = columns()
    time[5] = time[4] + shift
    assert refusal(time, cols).details["counts"] == {rule: 1}


def test_rows_from_newest_to_oldest_are_told_so():
    time, cols = columns()
    error = refusal(time[::-1].copy(), cols)
    assert error.details["counts"] == {"time unsorted": 9}
    assert "reverse them" in str(error)
    time[5] = time[4] - 1
    assert "sort the rows by time" in str(refusal(time, cols))


def test_five_problems_are_listed_in_row_order_and_all_are_counted():
    time, cols = columns(1_000)
    cols["close"] = cols["close"].copy()
    cols["close"][100:200] = np.nan
    cols["volume"][50] = -1
    error = refusal(time, cols)
    assert [p["row"] for p in error.details["problems"]] == [51, 101, 102, 103, 104]
    assert error.details["total"] == 101
    assert "101 problems in 1,000 bars" in str(error)
    assert "… and 96 more; in all: close missing 100, volume negative 1" in str(error)
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes: errors cross processes
    assert again.details == error.details


def test_a_nan_price_is_one_problem_not_several():
    time, cols = columns()
    cols["high"] = cols["high"].copy()
    cols["high"][2] = np.nan
    assert refusal(time, cols).details["counts"] == {"high missing": 1}


def weekdays(first: str, last: str) -> np.ndarray:
    days = np.arange(first, last, dtype="datetime64[D]")
    return days[np.is_busday(days)].astype("datetime64[ns]").astype(np.int64)


def test_weekends_and_holidays_are_no_gaps_in_daily_bars_but_a_lost_week_is():
    daily = parse_timeframe("1d")
    time = weekdays("2024-01-01", "2024-07-01")
    assert find_gaps(time, daily) == ()
    assert find_gaps(np.delete(time, [30, 60, 61]), daily) == ()  # a holiday, and two in a row
    (gap,) = find_gaps(np.delete(time, slice(30, 35)), daily)
    assert (gap.after, gap.before, gap.missing) == (time[29], time[35], 5)
    assert describe_gaps([gap]) == [f"1 gap, 5 bars missing; the first: {gap}"]


def test_every_missing_day_is_a_gap_where_all_days_trade():
    time = START + np.arange(60) * DAY
    (gap,) = find_gaps(np.delete(time, 20), parse_timeframe("1d"))
    assert gap.missing == 1


def test_days_of_23_and_25_hours_are_no_gaps():
    time = START + np.arange(60) * DAY
    time[30:] -= HOUR
    time[45:] += HOUR
    assert find_gaps(time, parse_timeframe("1d")) == ()


def test_nights_and_weekends_are_no_gaps_in_a_session_market_but_a_hole_in_the_day_is():
    days = weekdays("2024-01-01", "2024-03-01")
    session = (days[:, None] + 14 * HOUR + np.arange(78) * 5 * MINUTE).ravel()
    assert find_gaps(session, parse_timeframe("5m")) == ()
    (gap,) = find_gaps(np.delete(session, slice(100, 104)), parse_timeframe("5m"))
    assert gap.missing == 4


def test_the_weekend_of_a_five_day_round_the_clock_market_is_no_gap():
    hours = START + np.arange(24 * 7 * 8) * HOUR
    weekday = (hours // DAY + 3) % 7
    clock = hours // HOUR % 24
    closed = (weekday == 5) | ((weekday == 4) & (clock >= 22)) | ((weekday == 6) & (clock < 22))
    time = hours[~closed]
    assert find_gaps(time, parse_timeframe("1h")) == ()
    (gap,) = find_gaps(np.delete(time, 40), parse_timeframe("1h"))
    assert gap.missing == 1


def test_a_missing_candle_round_the_clock_is_a_gap():
    time = np.delete(START + np.arange(3_000) * 5 * MINUTE, [500, 501, 502, 2_000])
    gaps = find_gaps(time, parse_timeframe("5m"))
    assert [g.missing for g in gaps] == [3, 1]
    assert find_gaps(time[:1], parse_timeframe("5m")) == ()
