"""What `append` returned from is there for every reader, whole, whatever happened to the process."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from genesis.errors import CorruptStoreError, StoreBusyError, StoreError
from genesis.trials.identity import trial_key
from genesis.trials.store import STATES, Duplicate, RunStore, Stored
from genesis.types import TrialResult, Violation

NUMBERS = count()  # an object's id may come again when it is gone


def stored(number: int, *, generation: int = 0, state: str = "complete", score: float | None = 1.5, **more) -> Stored:
    params = more.pop("params", {"ma": {"fast": number, "slow": number + 0.5}})
    result = TrialResult(
        number=number,
        generation=generation,
        key=trial_key(params),
        params=params,
        state=state,
        score=score,
        metrics=more.pop("metrics", {"sharpe": score, "trades": 7.0, "sortino": None}),
        **more,
    )
    return Stored(result, np.array([float(number), np.nan, -0.5]), "tpe")


FULL = {
    "violations": (Violation("min_trades", 30.0, 7.0, 0.77), Violation("sharpe", 0.0, None, 1.0)),
    "reason": "min_trades: 7 of 30",
    "traceback": "Traceback …\nValueError: ü\ud83d".encode("utf-8", "replace").decode(),
    "blocked": {"fib": 12},
    "fills_hash": "ab" * 32,
    "reports": (0.5, float("inf"), 0.1),
    "seconds": {"kernel": 1e-4},
}


def test_a_result_is_read_back_equal(tmp_path: Path) -> None:
    """Every field survives the file, also infinity, None, big integers and any Unicode."""
    item = stored(3, params={"n": 2**70, "f": 1.0, "i": 1, "b": True, "t": "ü\u2028", "l": [1, [2.0]]}, **FULL)
    with RunStore.create(tmp_path / "r", {"name": "x"}) as store:
        store.append([item])
    with RunStore.open(tmp_path / "r", read_only=True) as store:
        assert store.result(3) == item.result
        assert list(store.results()) == [item.result]
        assert [type(v) for v in store.result(3).params.values()] == [int, float, int, bool, str, list]


def test_the_columns_say_what_the_results_say(tmp_path: Path) -> None:
    """History holds numbers, keys, states, scores (NaN undefined), violations and vectors in trial order."""
    items = [
        stored(1, generation=1),
        stored(0, score=None, state="failed"),
        stored(2, generation=1, state="pruned", score=-1.0, **FULL),
    ]
    with RunStore.create(tmp_path / "r", {}) as store:
        store.append(items[:2])
        store.append(items[2:])
        history = store.history()
        assert store.count == len(history) == 3
    assert history.numbers.tolist() == [0, 1, 2]
    assert history.generations.tolist() == [0, 1, 1]
    assert [STATES[code] for code in history.states] == ["failed", "complete", "pruned"]
    np.testing.assert_array_equal(history.scores, [np.nan, 1.5, -1.0])
    np.testing.assert_allclose(history.violation, [0.0, 0.0, 1.77])
    np.testing.assert_array_equal(history.vectors, [[n, np.nan, -0.5] for n in range(3)])
    assert history.origins == ["tpe"] * 3
    assert [history.number_of(item.result.key) for item in items] == [1, 0, 2]
    assert history.number_of("0" * 64) is None


def test_an_empty_run_has_an_empty_history(tmp_path: Path) -> None:
    """Nothing stored: no rows anywhere, no snapshot, absent meta is None."""
    with RunStore.create(tmp_path / "deep" / "r", {"a": 1}) as store:
        assert (store.count, len(store.history()), store.duplicates(), store.snapshot()) == (0, 0, [], None)
        assert (store.meta("nothing"), store.events(), list(store.results())) == (None, [], [])
        assert store.frame().empty
        assert store.study == {"a": 1}


def test_everything_of_an_append_is_one_transaction(tmp_path: Path) -> None:
    """A batch with one stored key is refused whole: its other trials, duplicates, events and snapshot with it."""
    with RunStore.create(tmp_path / "r", {}) as store:
        store.append([stored(0)], duplicates=[Duplicate(0, 1, 0, "memory")], events=[{"e": 1}], snapshot=(0, b"s0"))
        for again in (stored(0, params={"other": 1}), stored(9, params=stored(0).result.params)):
            with pytest.raises(StoreError, match="stored already"):
                store.append([stored(1), again], duplicates=[Duplicate(1, 1, 0, "x")], events=[{}], snapshot=(1, b"s"))
        assert store.count == 1
        assert store.duplicates() == [Duplicate(0, 1, 0, "memory")]
        assert store.events() == [{"e": 1}]
        assert store.snapshot() == (0, b"s0")
        assert store.integrity().ok
        store.append([stored(1)], snapshot=(1, b"s1"))
        assert store.snapshot() == (1, b"s1")


def test_a_key_of_an_earlier_session_is_refused(tmp_path: Path) -> None:
    """A store opened again knows every key, whether its history was read before the append or not."""
    RunStore.create(tmp_path / "r", {}).close()
    for number in range(3):
        with RunStore.open(tmp_path / "r") as store:
            if number == 1:
                assert len(store.history()) == 1
            store.append([stored(number)])
            with pytest.raises(StoreError, match="stored already"):
                store.append([stored(7, params=stored(0).result.params)])
            with pytest.raises(StoreError, match="the same key twice"):
                store.append([stored(8), stored(9, params=stored(8).result.params)])
            assert store.count == number + 1


def test_a_store_whose_keys_have_an_index_goes_on(tmp_path: Path) -> None:
    """Runs begun when the file itself refused a repeated key are read and written as before."""
    RunStore.create(tmp_path / "r", {}).close()
    db = sqlite3.connect(tmp_path / "r" / "run.db")
    db.execute("CREATE UNIQUE INDEX old ON trials (key)")
    db.commit()
    db.close()
    with RunStore.open(tmp_path / "r") as store:
        store.append([stored(0), stored(1)])
        with pytest.raises(StoreError, match="stored already"):
            store.append([stored(2, params=stored(0).result.params)])
        assert store.integrity().ok
        assert store.count == 2


def test_a_wrong_key_is_refused(tmp_path: Path) -> None:
    """A key that is not 64 hex digits never reaches the file."""
    item = stored(0)
    bad = TrialResult(number=0, generation=0, key="xyz", params={}, state="complete", score=1.0, metrics={})
    with RunStore.create(tmp_path / "r", {}) as store:
        with pytest.raises(StoreError, match="64 hex digits"):
            store.append([Stored(bad, item.vector, "x")])
        assert store.count == 0


def test_a_second_writer_is_refused_and_readers_are_not(tmp_path: Path) -> None:
    """One writer at a time, in this process and in another; the lock goes with `close`."""
    with RunStore.create(tmp_path / "r", {}) as store:
        store.append([stored(0)])
        with pytest.raises(StoreBusyError, match="this process"):
            RunStore.open(tmp_path / "r")
        other = subprocess.run(
            [
                sys.executable,
                "-c",
                "import sys; from genesis.trials.store import RunStore; RunStore.open(sys.argv[1])",
                str(tmp_path / "r"),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        assert f"another coordinator holds the run (process {os.getpid()})" in other.stderr
        with RunStore.open(tmp_path / "r", read_only=True) as reader:
            assert reader.count == 1
            store.append([stored(1)])
            assert reader.count == 2
            with pytest.raises(StoreError, match="read-only"):
                reader.append([stored(2)])
    with RunStore.open(tmp_path / "r") as store:
        assert store.count == 2


def test_claims_are_exclusive_and_freed(tmp_path: Path) -> None:
    """A key is claimed once, never when it is stored; storing frees it, and so does opening the run again."""
    keys = [stored(n).result.key for n in range(4)]
    with RunStore.create(tmp_path / "r", {}) as store:
        assert store.claim(keys[:2], 0) == [True, True]
        assert store.claim(keys[:3], 0) == [False, False, True]
        store.append([stored(0)])
        assert store.claims() == sorted(keys[1:3])
        assert store.claim(keys, 1) == [False, False, False, True]
    with RunStore.open(tmp_path / "r") as store:
        assert store.claims() == []
        assert store.claim(keys, 1) == [False, True, True, True]


def test_create_refuses_a_folder_that_holds_a_run(tmp_path: Path) -> None:
    """A run is never overwritten; and a missing one is not made by opening it."""
    RunStore.create(tmp_path / "r", {"a": 1}).close()
    with pytest.raises(StoreError, match="holds a run already"):
        RunStore.create(tmp_path / "r", {"a": 2})
    with RunStore.open(tmp_path / "r") as store:
        assert store.study == {"a": 1}
    with pytest.raises(StoreError, match="no run is stored"):
        RunStore.open(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


def test_the_payload_memory_keeps_to_its_bytes(tmp_path: Path) -> None:
    """The memory of payloads never passes its stated size, and a changed result does not change the stored one."""
    with RunStore.create(tmp_path / "r", {}, cache_bytes=2_000) as store:
        store.append([stored(n) for n in range(20)])
        for n in [*range(20), 3, 3]:
            store.result(n).params.clear()
            assert store._payloads.used <= 2_000
        assert 0 < len(store._payloads) < 20
        assert store.result(3) == stored(3).result
        with pytest.raises(StoreError, match="no trial 99; 20 are stored"):
            store.result(99)


def test_the_frame_has_a_row_per_trial(tmp_path: Path) -> None:
    """Columns first, then parameters by dotted path and metrics by name; what a trial lacks is missing."""
    with RunStore.create(tmp_path / "r", {}) as store:
        store.append([stored(0), stored(1, params={"ma": {"fast": 3}, "mode": "x"}, **FULL)])
        frame = store.frame()
    assert frame["number"].tolist() == [0, 1]
    assert frame["feasible"].tolist() == [True, False]
    assert frame["params_ma.fast"].tolist() == [0, 3]
    assert frame["params_ma.slow"].isna().tolist() == [False, True]
    assert frame["params_mode"].tolist()[1] == "x"
    assert frame["metrics_trades"].tolist() == [7.0, 7.0]
    assert frame["metrics_sortino"].isna().all()


def test_threads_read_while_one_appends(tmp_path: Path) -> None:
    """Each thread has its own connection; none sees half a batch."""
    seen: list[int] = []
    with RunStore.create(tmp_path / "r", {}) as store:
        done = threading.Event()

        def read() -> None:
            while not done.is_set():
                seen.append(len(store.history()))

        threads = [threading.Thread(target=read) for _ in range(2)]
        for thread in threads:
            thread.start()
        for start in range(0, 200, 10):
            store.append([stored(n) for n in range(start, start + 10)])
        done.set()
        for thread in threads:
            thread.join()
    assert seen
    assert all(count % 10 == 0 for count in seen)


def test_a_killed_writer_loses_nothing_it_was_told_is_kept(tmp_path: Path) -> None:
    """SIGKILL in the middle of appending: every batch is whole or absent, every acknowledged one is there, and the
    lock is free.
    """
    script = textwrap.dedent("""
        import sys
        import numpy as np
        from genesis.trials.identity import trial_key
        from genesis.trials.store import RunStore, Stored
        from genesis.types import TrialResult
        store = RunStore.create(sys.argv[1], {})
        n = 0
        while True:
            batch = []
            for n in range(n, n + 50):
                params = {"n": n}
                result = TrialResult(number=n, generation=n // 50, key=trial_key(params), params=params,
                                     state="complete", score=1.0, metrics={"m": 1.0})
                batch.append(Stored(result, np.zeros(3), "x"))
            store.append(batch)
            n += 1
            print(n, flush=True)
    """)
    command = [sys.executable, "-c", script, str(tmp_path / "r")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        said = [int(child.stdout.readline()) for _ in range(5)]
        child.send_signal(signal.SIGKILL)
        acknowledged = max(said + [int(line) for line in child.stdout.read().split()])
    with RunStore.open(tmp_path / "r") as store:
        count = store.count
        assert count >= acknowledged
        assert count % 50 == 0
        assert store.history().numbers.tolist() == list(range(count))
        assert store.integrity().problems == []


def test_a_forked_reader_uses_a_connection_of_its_own(tmp_path: Path) -> None:
    """A child that was forked reads and exits without harming the parent's connection or its lock."""
    with RunStore.create(tmp_path / "r", {}) as store:
        store.append([stored(0)])
        child = os.fork()
        if child == 0:
            try:
                code = 0 if store.count == 1 and store.result(0).number == 0 else 1
                store.close()
            except BaseException:
                code = 2
            os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        store.append([stored(1)])
        with pytest.raises(StoreBusyError):
            RunStore.open(tmp_path / "r")
    with RunStore.open(tmp_path / "r") as store:
        assert store.count == 2
        assert store.integrity().ok


def test_integrity_tells_a_damaged_row(tmp_path: Path) -> None:
    """A payload that disagrees with its columns, or is missing, is named."""
    with RunStore.create(tmp_path / "r", {}) as store:
        store.append([stored(0), stored(1), stored(2)])
        with store._database.transaction() as db:
            db.execute("UPDATE trials SET score=9 WHERE number=1")
            db.execute("DELETE FROM payloads WHERE number=2")
            db.execute("UPDATE trials SET key=(SELECT key FROM trials WHERE number=0) WHERE number=2")
        found = store.integrity()
    assert not found.ok
    assert any("trial 1" in problem for problem in found.problems)
    assert any("trial 2: columns and payload are not both there" in problem for problem in found.problems)
    assert any("trial 2: has the key of trial 0" in problem for problem in found.problems)


def test_a_file_that_is_not_a_store_is_refused_untouched(tmp_path: Path) -> None:
    """`run.db` with something else in it is an error that names it, and stays as it was."""
    folder = tmp_path / "r"
    folder.mkdir()
    (folder / "run.db").write_bytes(b"PK\x03\x04 this is something else entirely")
    for act in (lambda: RunStore.open(folder), lambda: RunStore.create(folder, {})):
        with pytest.raises(CorruptStoreError, match="not a SQLite database"):
            act()
    assert (folder / "run.db").read_bytes().startswith(b"PK\x03\x04 this")


def test_the_pragmas_hold(tmp_path: Path) -> None:
    """WAL, 16 KiB pages and NORMAL are what SQLite says it runs with, also after opening again."""
    RunStore.create(tmp_path / "r", {}).close()
    with RunStore.open(tmp_path / "r") as store:
        pragmas = store.pragmas()
    assert (pragmas["journal_mode"], pragmas["synchronous"], pragmas["page_size"]) == ("wal", 1, 16_384)
    assert (pragmas["temp_store"], pragmas["cache_size"]) == (2, -16_384)


class Memory:
    """The reference: a dict of results and lists, nothing durable and nothing clever."""

    def __init__(self) -> None:
        self.items: dict[int, Stored] = {}
        self.repeats: list[Duplicate] = []
        self.claimed: set[str] = set()
        self.said: list[dict] = []

    def append(self, batch: list[Stored], duplicates: list[Duplicate], events: list[dict]) -> bool:
        numbers = [item.result.number for item in batch]
        keys = [item.result.key for item in batch]
        stored = {item.result.key for item in self.items.values()}
        if len(set(numbers)) < len(numbers) or len(set(keys)) < len(keys):
            return False
        if set(numbers) & self.items.keys() or set(keys) & stored:
            return False
        self.items.update(zip(numbers, batch, strict=True))
        self.repeats += duplicates
        self.said += events
        self.claimed -= set(keys)
        return True


class StoreMachine(RuleBasedStateMachine):
    """The file and the reference agree after any sequence of appends, refused appends, claims and reopenings."""

    points = st.integers(0, 15)

    @initialize()
    def begin(self) -> None:
        self.path = self.folder / str(next(NUMBERS))
        self.store = RunStore.create(self.path, {"study": 1}, cache_bytes=3_000)
        self.memory = Memory()

    @rule(
        pairs=st.lists(st.tuples(points, points), max_size=4),
        scores=st.lists(st.none() | st.floats(allow_nan=False), min_size=4, max_size=4),
        repeats=st.integers(0, 2),
    )
    def append(self, pairs: list[tuple[int, int]], scores: list[float | None], repeats: int) -> None:
        batch = [
            stored(number, params={"p": point}, score=score)
            for (number, point), score in zip(pairs, scores, strict=False)
        ]
        duplicates = [Duplicate(3, position, 0, "memory", "tpe") for position in range(repeats)]
        events = [{"batch": len(batch), "value": None}]
        if self.memory.append(batch, duplicates, events):
            self.store.append(batch, duplicates=duplicates, events=events)
        else:
            with pytest.raises(StoreError, match="stored already"):
                self.store.append(batch, duplicates=duplicates, events=events)

    @rule(wanted=st.lists(points, max_size=4))
    def claim(self, wanted: list[int]) -> None:
        keys = [trial_key({"p": point}) for point in wanted]
        taken = {item.result.key for item in self.memory.items.values()} | self.memory.claimed
        expected = []
        for key in keys:
            expected.append(key not in taken)
            taken.add(key)
        assert self.store.claim(keys, 1) == expected
        self.memory.claimed |= {key for key, new in zip(keys, expected, strict=True) if new}

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = RunStore.open(self.path, cache_bytes=3_000)
        self.memory.claimed.clear()

    @invariant()
    def agree(self) -> None:
        if not hasattr(self, "store"):
            return
        items = [self.memory.items[number] for number in sorted(self.memory.items)]
        history = self.store.history()
        assert history.numbers.tolist() == [item.result.number for item in items]
        assert [key.hex() for key in history.keys] == [item.result.key for item in items]
        np.testing.assert_array_equal(
            history.scores, [np.nan if item.result.score is None else item.result.score for item in items]
        )
        assert list(self.store.results()) == [item.result for item in items]
        assert [self.store.result(item.result.number) for item in items] == [item.result for item in items]
        assert self.store.duplicates() == self.memory.repeats
        assert self.store.events() == self.memory.said
        assert self.store.claims() == sorted(self.memory.claimed)
        assert self.store.count == len(items)

    def teardown(self) -> None:
        if hasattr(self, "store"):
            assert self.store.integrity().problems == []
            self.store.close()


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path) -> None:
    StoreMachine.folder = tmp_path


TestStoreMachine = StoreMachine.TestCase
TestStoreMachine.settings = settings(
    max_examples=15, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck)
)


def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    """No page left: the append is refused whole, what was kept stays, and with room again the same batch is kept."""
    with RunStore.create(tmp_path / "r", {}) as store:
        store.append([stored(n) for n in range(20)])
        db = store._database.connection()
        db.execute(f"PRAGMA max_page_count={db.execute('PRAGMA page_count').fetchone()[0] + 1}")
        batch = [stored(n) for n in range(20, 500)]
        with pytest.raises(StoreError, match="the disk is full"):
            store.append(batch, events=[{"lost": True}])
        assert (store.count, store.events(), store.integrity().problems) == (20, [], [])
        db.execute("PRAGMA max_page_count=1000000")
        store.append(batch)
        assert store.count == 500


def test_a_history_read_in_parts_is_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are turned into columns a few at a time; where the parts meet does not show."""
    with RunStore.create(tmp_path / "r", {}) as store:
        store.append([stored(n, score=None if n % 3 else n / 7) for n in range(10)])
        whole = store.history()
        for rows in (1, 3, 5, 10):
            monkeypatch.setattr("genesis.trials.store._CHUNK", rows)
            parts = store.history()
            assert (parts.keys, parts.origins) == (whole.keys, whole.origins)
            for name in ("numbers", "generations", "states", "scores", "violation", "vectors"):
                np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name))
                assert getattr(parts, name).dtype == getattr(whole, name).dtype


def test_a_record_that_is_no_json_is_a_corrupt_store(tmp_path):
    """Damage inside a page that SQLite still reads is named as damage, with the folder and what to do."""
    with RunStore.create(tmp_path / "run", {"seed": 1}) as store:
        store.set_meta("summary", {"trials": 1})
    with sqlite3.connect(tmp_path / "run" / "run.db") as db:
        db.execute("UPDATE meta SET value = x'7bca22'")
    with RunStore.open(tmp_path / "run", read_only=True) as store:
        for read in (lambda: store.study, lambda: store.meta("summary")):
            with pytest.raises(CorruptStoreError, match=r"cannot be read.*restore run\.db"):
                read()
