"""A page that was appended is there after any crash, and a torn one is cut off without harm to the rest."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from genesis.errors import DataError
from genesis.market.bars import COLUMNS
from genesis.market.journal import PageJournal

ABOUT = {"exchange": "e", "symbol": "S", "asked_from": 0}


def page(first: int, count: int = 1):
    time = np.arange(first, first + count)
    return time, {name: time * 1.5 + i for i, name in enumerate(COLUMNS)}


def test_pages_come_back_in_order_and_bit_for_bit(tmp_path):
    path = tmp_path / "x.part"
    with PageJournal.open(path, ABOUT) as journal:
        assert journal.last is None
        assert len(journal.rows()) == 0
        journal.append(*page(0, 3))
        journal.append(*page(3, 2))
    with PageJournal.open(path, {"exchange": "other"}) as journal:
        assert journal.about == ABOUT
        assert journal.last == 4
        rows = journal.rows()
        assert rows["time"].tolist() == [0, 1, 2, 3, 4]
        assert rows["volume"].tolist() == [4.0, 5.5, 7.0, 8.5, 10.0]
        journal.remove()
    assert not path.exists()


def test_a_journal_cut_anywhere_keeps_every_whole_page_and_takes_more(tmp_path):
    path = tmp_path / "x.part"
    ends = []
    with PageJournal.open(path, ABOUT) as journal:
        for k in range(3):
            journal.append(*page(k))
            ends.append(path.stat().st_size)
    whole = path.read_bytes()
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        kept = sum(end <= cut for end in ends)
        with PageJournal.open(path, ABOUT) as journal:
            assert len(journal.rows()) == kept
            journal.append(*page(100, 3))
        with PageJournal.open(path, ABOUT) as journal:
            assert journal.rows()["time"].tolist() == [*range(kept), 100, 101, 102]


def test_a_flipped_byte_ends_the_journal_before_it(tmp_path):
    path = tmp_path / "x.part"
    with PageJournal.open(path, ABOUT) as journal:
        journal.append(*page(0, 3))
        end = path.stat().st_size
        journal.append(*page(3, 3))
    content = bytearray(path.read_bytes())
    content[end + 20] ^= 1
    path.write_bytes(content)
    with PageJournal.open(path, ABOUT) as journal:
        assert journal.rows()["time"].tolist() == [0, 1, 2]


def test_a_journal_without_pages_belongs_to_whoever_asks(tmp_path):
    with PageJournal.open(tmp_path / "x.part", ABOUT):
        pass
    with PageJournal.open(tmp_path / "x.part", {"exchange": "other"}) as journal:
        assert journal.about == {"exchange": "other"}


def test_a_second_process_is_refused_while_one_writes(tmp_path):
    code = (
        "import sys; from pathlib import Path; from genesis.market.journal import PageJournal\n"
        "from genesis.errors import DataError\n"
        "try:\n    PageJournal.open(Path(sys.argv[1]), {}).__enter__()\n"
        "except DataError as error:\n    print(error)"
    )
    path = tmp_path / "x.part"
    with PageJournal.open(path, ABOUT):
        told = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert "another fetch is writing it" in told.stdout
    with PageJournal.open(path, ABOUT) as journal:
        assert journal.about == ABOUT


KILLED = """
import sys
from pathlib import Path
import numpy as np
from genesis.market.bars import COLUMNS
from genesis.market.journal import PageJournal
with PageJournal.open(Path(sys.argv[1]), {}) as journal:
    for k in range(10**6):
        time = np.arange(50 * k, 50 * k + 50)
        journal.append(time, {name: time * 1.0 for name in COLUMNS})
        print(k, flush=True)
"""


def test_every_page_told_to_be_kept_survives_a_kill(tmp_path):
    path = tmp_path / "x.part"
    writer = subprocess.Popen([sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE)
    assert writer.stdout is not None
    told = -1
    while told < 20:
        told = int(writer.stdout.readline())
    os.kill(writer.pid, signal.SIGKILL)
    rest = writer.stdout.read().split()
    writer.wait()
    writer.stdout.close()
    told = int(rest[-1]) if rest else told
    with PageJournal.open(path, {}) as journal:
        time = journal.rows()["time"]
    assert len(time) >= 50 * (told + 1)
    assert (time == np.arange(len(time))).all()


def test_a_journal_in_a_folder_that_cannot_be_is_an_error_not_a_loss(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises((OSError, DataError)), PageJournal.open(tmp_path / "file" / "x.part", ABOUT):
        pass
