"""Files of every usual kind give the same bars; what Genesis keeps appears whole, is verified, and survives a kill."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pytest

from genesis.errors import BadBarsError, DataError
from genesis.market.files import read_bars, read_label, read_stored, write_atomic, write_stored
from genesis.market.synthetic import synthetic


@pytest.fixture(scope="module")
def bars():
    return synthetic("seed=3,bars=400,timeframe=5m,start=2024-01-01")


def frame(bars) -> pd.DataFrame:
    return bars.to_frame().reset_index().rename(columns={"time": "date"})


def write(bars, path: Path) -> Path:
    table = frame(bars)
    kind = path.name.removesuffix(".gz").rpartition(".")[2]
    if kind in ("csv", "txt"):
        table.to_csv(path, index=False)
    elif kind == "tsv":
        table.to_csv(path, index=False, sep="\t")
    elif kind in ("parquet", "pq"):
        table.to_parquet(path)
    else:
        pyarrow.feather.write_feather(pa.Table.from_pandas(table), path, compression="lz4")
    return path


@pytest.mark.parametrize(
    "name",
    ["a.csv", "a.txt", "a.tsv", "a.CSV", "a.csv.gz", "a.parquet", "a.pq", "a.feather", "a.arrow"],
)
def test_every_kind_of_file_gives_the_same_bars(bars, tmp_path, name):
    path = write(bars, tmp_path / name.lower())
    path = path.rename(tmp_path / name)
    read = read_bars(path)
    assert read.fingerprint == bars.fingerprint
    assert (read.symbol, read.timeframe, read.source) == ("a", "5m", str(path))


@pytest.mark.parametrize("name", ["b.parquet.gz", "b.feather.gz"])
def test_a_binary_file_may_be_gzipped_too(bars, tmp_path, name):
    plain = write(bars, tmp_path / name.removesuffix(".gz"))
    (tmp_path / name).write_bytes(gzip.compress(plain.read_bytes()))
    assert read_bars(tmp_path / name).fingerprint == bars.fingerprint


def test_five_minute_crypto_candles_in_a_feather_file(bars, tmp_path):
    """The layout crypto trading bots keep: date in UTC milliseconds, then OHLCV."""
    table = frame(bars)
    table["date"] = table["date"].dt.as_unit("ms")
    table.to_feather(tmp_path / "BTC_USDT-5m.feather")
    read = read_bars(tmp_path / "BTC_USDT-5m.feather")
    assert (read.fingerprint, read.symbol, read.notes) == (bars.fingerprint, "BTC_USDT-5m", ())


def test_a_csv_with_an_index_semicolons_a_byte_order_mark_and_no_volume(bars, tmp_path):
    table = frame(bars).drop(columns="volume").assign(note="x")
    (tmp_path / "c.csv").write_text("\ufeff" + table.to_csv(index=False, sep=";"), encoding="utf-8")
    read = read_bars(tmp_path / "c.csv", symbol="ABC")
    assert (read.close == bars.close).all()
    assert read.symbol == "ABC"
    assert read.notes == ("no volume column: volume is 0", "columns not used: note")


def test_text_prices_are_read_to_the_nearest_float(tmp_path):
    values = [0.1 + 0.2, 1 / 3, 2e-7 / 7, 123456.78901234567, 5e-324 * 2**60]
    lines = [f"2024-01-0{i + 1},{v!r},{v!r},{v!r},{v!r}" for i, v in enumerate(values)]
    (tmp_path / "d.csv").write_text("\n".join(["date,open,high,low,close", *lines]))
    assert read_bars(tmp_path / "d.csv").close.tolist() == values


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("e.xlsx", b"x", "xlsx suffix; give one of .csv"),
        ("e", b"x", "no suffix; give one of .csv"),
        ("e.parquet", b"not parquet", "cannot be read as parquet"),
        ("e.feather", b"", "cannot be read as feather"),
        ("e.csv", b"", "cannot be read as csv"),
        ("e.csv", b"\xff\xfe\x00bad", "cannot be read as csv"),
        ("e.csv.gz", b"not gzip", "cannot be read as csv"),
        ("e.csv", b"date,open,high,low,close\n2024-01-01,1,1,1,1,7,8\n", "cannot be read as csv: Length of header"),
        ("e.csv", b"1704067200000,42.1,42.9,42.0,42.5,7\n", "the first line is taken as the header, add one"),
        ("e.csv", b"a,b\n1,2\n", "no column open, high, low, close and no time; found a, b"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(tmp_path, name, content, says):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=says):
        read_bars(tmp_path / name)


def test_a_missing_file_and_bad_rows_name_the_file(bars, tmp_path):
    with pytest.raises(DataError, match=r"nowhere\.csv: no such file$"):
        read_bars(tmp_path / "nowhere.csv")
    write(bars, tmp_path / "btcusdt.csv")
    with pytest.raises(DataError, match=r"btcusd\.csv: no such file; did you mean .*btcusdt\.csv\?"):
        read_bars(tmp_path / "btcusd.csv")
    table = frame(bars)
    table.loc[7, "low"] = 1e9
    table.to_csv(tmp_path / "f.csv", index=False)
    with pytest.raises(BadBarsError, match=r"f\.csv: 1 problem in 400 bars .*\n  row 8, 2024-01-01 00:35:00: high"):
        read_bars(tmp_path / "f.csv")


def test_what_is_kept_comes_back_bit_for_bit_with_its_label(bars, tmp_path):
    path = tmp_path / "kept" / "x.parquet"
    label = write_stored(path, bars, name="x", extra={"exchange": "none"})
    again = read_stored(path)
    assert again.fingerprint == bars.fingerprint == label["fingerprint"]
    assert (again.synthetic, again.symbol, again.notes, again.source) == (True, bars.symbol, bars.notes, "x")
    assert again.close.flags.writeable
    assert json.loads(path.with_suffix(".json").read_text()) == read_label(path) == label
    assert sorted(p.name for p in path.parent.iterdir()) == ["x.json", "x.parquet"]


def test_a_damaged_file_is_refused_wherever_the_damage_is(bars, tmp_path):
    path = tmp_path / "x.parquet"
    write_stored(path, bars, name="x")
    whole = path.read_bytes()
    for at in np.linspace(4, len(whole) - 9, 40).astype(int):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
        try:
            read = read_stored(path)
        except DataError:
            continue
        assert read.fingerprint == bars.fingerprint  # the flipped byte was in a part that says nothing
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="not a data file that Genesis wrote, or damaged"):
        read_stored(path)
    with pytest.raises(DataError, match="not a data file that Genesis wrote, or damaged"):
        read_label(path)
    frame(bars).to_parquet(path)
    with pytest.raises(DataError, match="not a data file that Genesis wrote"):
        read_stored(path)


def test_a_failed_write_leaves_the_old_file_and_nothing_beside_it(tmp_path, monkeypatch):
    path = tmp_path / "x"
    write_atomic(path, b"old")

    def full(_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="disk full"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


WRITER = """
import sys
from pathlib import Path
from genesis.market.files import write_atomic
path, size = Path(sys.argv[1]), 2_000_000
while True:
    for letter in (b"a", b"b"):
        write_atomic(path, letter * size)
        print("written", flush=True)
"""


def test_a_reader_sees_a_whole_file_at_any_moment_and_after_a_kill(tmp_path):
    path = tmp_path / "x"
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE)
    assert writer.stdout is not None
    writer.stdout.readline()
    seen = [path.read_bytes() for _ in range(60)]
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    writer.stdout.close()
    for content in (*seen, path.read_bytes()):
        assert len(content) == 2_000_000
        assert len(set(content)) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="threads are counted in /proc")
def test_reading_bars_starts_no_thread(tmp_path):
    """A thread of Arrow's that is alive when the process ends can abort it."""
    frame = pd.DataFrame({"time": pd.date_range("2020-01-01", periods=4, tz="UTC"), "open": 1.0, "high": 2.0})
    frame = frame.assign(low=0.5, close=1.5, volume=3.0)
    frame.to_parquet(tmp_path / "a.parquet")
    frame.to_feather(tmp_path / "a.feather")
    program = (
        "import os, pandas, pyarrow.feather, pyarrow.parquet, genesis\n"
        "def threads(): return len(os.listdir('/proc/self/task'))\n"
        "before = threads()\n"
        "for source in ('sample:IBM', 'a.parquet', 'a.feather'):\n"
        "    assert len(genesis.load_bars(source)) >= 4\n"
        "print(threads() - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0"
