"""Tables from outside become the same columns whatever their names, order and way of writing time."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genesis.errors import BadBarsError, DataError
from genesis.market.bars import Bars
from genesis.market.reading import parse_frame

N = 6
TIME = pd.date_range("2024-03-04", periods=N, freq="5min", tz="UTC").as_unit("ns")
NS = TIME.asi8
PRICE = np.linspace(10.0, 11.0, N)


def table(**time) -> pd.DataFrame:
    return pd.DataFrame({**time, "open": PRICE, "high": PRICE + 1, "low": PRICE - 1, "close": PRICE, "volume": 1.0})


def read(frame, **options):
    return parse_frame(frame, origin="t", **options)


@pytest.mark.parametrize("name", ["timestamp", "Datetime", "DATE", "time", "open_time", "Open Time", " date "])
def test_the_time_column_is_found_by_any_of_its_names(name):
    assert (read(table(**{name: TIME})).time == NS).all()


@pytest.mark.parametrize(
    ("write", "note"),
    [
        (lambda: TIME, None),
        (lambda: TIME.as_unit("s"), None),
        (lambda: TIME.tz_localize(None), "times carry no time zone: taken as UTC"),
        (lambda: TIME.tz_convert("America/New_York"), "times converted from America/New_York to UTC"),
        (lambda: NS // 10**9, "times are epoch seconds, UTC"),
        (lambda: NS / 10**9, "times are epoch seconds, UTC"),
        (lambda: NS // 10**6, "times are epoch milliseconds, UTC"),
        (lambda: NS // 10**3, "times are epoch microseconds, UTC"),
        (lambda: NS, "times are epoch nanoseconds, UTC"),
        (lambda: (NS // 10**9).astype("uint64"), "times are epoch seconds, UTC"),
        (lambda: TIME.strftime("%Y-%m-%dT%H:%M:%SZ"), None),
        (lambda: TIME.strftime("%Y-%m-%d %H:%M"), "times carry no time zone: taken as UTC"),
        (lambda: TIME.strftime("%Y-%m-%dT%H:%M:%S.%f+00:00"), None),
        (lambda: TIME.tz_convert("Asia/Tokyo").strftime("%Y-%m-%dT%H:%M%z"), "times converted from UTC+09:00 to UTC"),
        (lambda: [t.to_pydatetime() for t in TIME], None),
        (lambda: pd.array(NS // 10**9, dtype="Int64"), "times are epoch seconds, UTC"),
    ],
)  # fmt: skip
def test_every_way_of_writing_time_gives_the_same_nanoseconds_and_says_what_was_decided(write, note):
    parsed = read(table(date=write()))
    assert parsed.time.dtype == np.int64
    assert (parsed.time == NS).all()
    assert parsed.notes == ((note,) if note else ())


@settings(max_examples=60, deadline=None)
@given(
    st.integers(631_152_000, 4_000_000_000),  # 1990 to 2096
    st.sampled_from([1, 10**3, 10**6, 10**9]),
    st.integers(1, 100_000),
)
def test_epoch_units_are_told_apart_by_size(first, per_second, step):
    frame = table(timestamp=[(first + i * step) * per_second for i in range(N)])
    assert (read(frame).time == [(first + i * step) * 10**9 for i in range(N)]).all()


def test_whole_nanoseconds_are_kept_to_the_last():
    odd = NS + np.arange(1, N + 1)
    assert (read(table(timestamp=odd)).time == odd).all()


def test_dates_without_a_clock_are_read():
    days = [dt.date(2024, 3, 4) + dt.timedelta(days=i) for i in range(N)]
    expected = pd.DatetimeIndex(days).as_unit("ns").asi8
    assert (read(table(date=days)).time == expected).all()
    assert (read(table(date=[d.isoformat() for d in days])).time == expected).all()
    digits = read(table(date=[int(f"{d:%Y%m%d}") for d in days]))
    assert (digits.time == expected).all()
    assert digits.notes == ("times are dates written YYYYMMDD: taken as UTC",)


def test_a_day_and_a_clock_in_two_columns_are_joined():
    frame = table(**{"<DATE>": TIME.strftime("%Y.%m.%d"), "<TIME>": TIME.strftime("%H:%M:%S")})
    assert (read(frame).time == NS).all()


def test_an_index_serves_as_time():
    frame = table().set_axis(TIME)
    assert (read(frame).time == NS).all()
    assert (read(table().set_axis(pd.Index(NS // 10**6, name="timestamp"))).time == NS).all()
    assert (read(table(**{"Unnamed: 0": TIME.strftime("%Y-%m-%d %H:%M:%S")})).time == NS).all()


def test_columns_in_levels_are_read_for_one_market_and_refused_for_several():
    frame = table().set_axis(TIME)
    one = pd.concat({"IBM": frame}, axis=1).swaplevel(axis=1)
    assert (read(one).columns["close"] == PRICE).all()
    with pytest.raises(DataError, match=r"columns of several markets \(IBM, MSFT\); give one"):
        read(pd.concat({"IBM": frame, "MSFT": frame}, axis=1).swaplevel(axis=1))


def test_naive_times_are_read_in_the_time_zone_given():
    local = TIME.tz_convert("America/New_York").tz_localize(None)
    parsed = read(table(date=local), timezone="America/New_York")
    assert (parsed.time == NS).all()
    assert parsed.notes == ("times carry no time zone: taken as America/New_York",)
    with pytest.raises(DataError, match="time zone 'Mars/Olympus'"):
        read(table(date=local), timezone="Mars/Olympus")
    with pytest.raises(DataError, match="epoch times are UTC by definition"):
        read(table(date=NS), timezone="America/New_York")


MIXED = ["2024-03-04T00:00:00+01:00", *TIME[1:].strftime("%Y-%m-%dT%H:%M:%SZ")]


def test_mixed_time_zones_are_refused_unless_told_that_they_may_be_converted():
    with pytest.raises(BadBarsError, match="mixed time zones") as caught:
        read(table(date=MIXED))
    assert caught.value.details["counts"] == {"mixed time zones": N - 1}
    assert caught.value.details["problems"][0]["row"] == 2
    assert read(table(date=MIXED), timezone="UTC").time[0] == NS[0] - 3_600 * 10**9


def test_times_with_and_without_a_zone_are_refused_whatever_is_told():
    stamps = [*TIME[:-1].strftime("%Y-%m-%dT%H:%M:%SZ"), "2024-03-04T00:25:00"]
    for timezone in (None, "UTC"):
        with pytest.raises(BadBarsError, match=r"row 6: 2024-03-04T00:25:00 is not in the first row's") as caught:
            read(table(date=stamps), timezone=timezone)
        assert caught.value.details["total"] == 1
    both = [TIME[0].to_pydatetime(), *[t.to_pydatetime().replace(tzinfo=None) for t in TIME[1:]]]
    with pytest.raises(BadBarsError, match="mixed time zones"):
        read(table(date=both))


@pytest.mark.parametrize(
    ("bad", "rule"),
    [("01/02/2024", "time unreadable"), ("2024-13-01", "time unreadable"), ("soon", "time unreadable"),
     (None, "time missing")],
)  # fmt: skip
def test_an_unreadable_time_names_its_row_and_the_way_to_write_it(bad, rule):
    stamps = list(TIME.strftime("%Y-%m-%dT%H:%M:%SZ"))
    stamps[2] = bad
    with pytest.raises(BadBarsError, match=r"row 3: .*(write 2024-01-31|give one or remove the row)") as caught:
        read(table(date=stamps))
    assert caught.value.details["counts"] == {rule: 1}


def test_epoch_times_in_two_units_are_refused():
    stamps = NS // 10**9
    stamps[3] *= 1_000
    with pytest.raises(BadBarsError, match="is not in epoch milliseconds as the largest is"):
        read(table(date=stamps))


def test_a_missing_volume_is_zero_and_extra_columns_are_named():
    parsed = read(table(date=TIME).drop(columns="volume").assign(quote=1.0, trades=3))
    assert (parsed.columns["volume"] == 0).all()
    assert parsed.notes == ("no volume column: volume is 0", "columns not used: quote, trades")


def test_numbers_written_as_text_are_read_and_words_are_refused_with_their_row():
    frame = table(date=TIME).astype({"close": str})
    assert (read(frame).columns["close"] == PRICE).all()
    frame.loc[4, "close"] = "n.a."
    with pytest.raises(BadBarsError, match=r"row 5: n\.a\. is no close; write digits and a decimal point"):
        read(frame)


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        (lambda: table(date=TIME).drop(columns="high"), "no column high; found date, open, low, close, volume"),
        (table, "no time; found open, high, low, close, volume"),
        (lambda: table(date=TIME).assign(Close=1.0), "columns 'close' and 'Close' both mean close"),
        (lambda: table(date=TIME).iloc[:0], "no bars; give at least one row"),
        (lambda: table(date=[True] * N), "holds true and false"),
        (lambda: [1, 2, 3], "list is no table"),
    ],
)
def test_a_table_that_cannot_be_understood_says_what_is_missing(frame, says):
    with pytest.raises(DataError, match=f"^t: .*{says}"):
        read(frame())


@pytest.mark.parametrize(
    "time",
    [TIME, TIME.tz_localize(None), TIME.as_unit("ms"), NS // 10**6, TIME.strftime("%Y-%m-%dT%H:%M:%SZ")],
    ids=["aware", "naive", "milliseconds", "epoch", "text"],
)
def test_polars_frames_give_the_same_bars_as_pandas_ones(time):
    frame = table(date=time)
    columns = {name: frame[name].tolist() for name in frame.columns if name != "date"}
    stamps = pl.Series(frame["date"].tolist()) if frame["date"].dtype.kind != "M" else pl.from_pandas(frame)["date"]
    for given_frame in (pl.DataFrame({"date": stamps, **columns}), pl.DataFrame({"date": stamps, **columns}).lazy()):
        bars = Bars.from_frame(given_frame)
        assert bars.fingerprint == Bars.from_frame(frame).fingerprint


def test_polars_is_not_imported_unless_it_comes_in():
    code = (
        "import sys, pandas as pd; from genesis.market.bars import Bars\n"
        "t = pd.date_range('2024-01-01', periods=3, tz='UTC'); p = [1.0, 1.0, 1.0]\n"
        "Bars.from_frame(pd.DataFrame(dict(date=t, open=p, high=p, low=p, close=p)))\n"
        "assert 'polars' not in sys.modules and 'ccxt' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_everything_wrong_with_the_columns_is_said_at_once():
    """What is missing and what is near it, then the first unreadable row of every column, in the order of the file."""
    broken = pd.DataFrame({"stamp": ["x"], "opn": [1], "high": [2], "close_time": [1], "volume": ["q"]})
    with pytest.raises(DataError) as caught:
        parse_frame(broken, origin="f")
    first, *rows = caught.value.message.splitlines()
    assert first.startswith("f: no column open, low, close and no time; found stamp, opn, high, close_time, volume;")
    assert "; rename 'opn' to open; rename 'stamp' to timestamp; name the columns" in first
    assert "rename 'close_time'" not in first
    assert [row for row in rows if "q is no volume" in row]

    many = {"date": ["2020-01-01", "foo"] * 5, "open": ["a", 1] * 5, "high": [2, "z"] * 5, "low": 1, "close": 1}
    with pytest.raises(BadBarsError) as refused:
        parse_frame(pd.DataFrame(many), origin="f")
    assert refused.value.details["counts"] == {"time unreadable": 5, "open not a number": 5, "high not a number": 5}
    assert {one["rule"] for one in refused.value.details["problems"]} == set(refused.value.details["counts"])
    shown = [one["row"] for one in refused.value.details["problems"]]
    assert shown == sorted(shown)
