"""What a guard answers from memory is what its file holds at that moment, whoever wrote it and however it ended."""

from __future__ import annotations

import multiprocessing
import random
import sqlite3
import threading
import tracemalloc
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from genesis.errors import StoreError
from genesis.trials import front as module
from genesis.trials.front import Front
from genesis.trials.guard import NoDupeGuard

NUMBERS = count()  # an object's id may come again when it is gone
EVERY = ["a", "b", "c", "ü", "\ud800", "a\0", "", "never"]
HEX = [f"{n:064x}" for n in range(5_000)]


@pytest.fixture
def guard(tmp_path: Path):
    with NoDupeGuard(sqlite_path=tmp_path / "seen.db") as made:
        yield made


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is read again after the first look into it."""
    monkeypatch.setattr(module, "_PATIENCE", 0)


def from_memory(guard: NoDupeGuard, sigs: list[str]) -> dict[str, bool]:
    """`seen_batch` of a guard that may not look into its file."""

    def refuse(*_: Any) -> dict[str, bool]:
        raise AssertionError("looked into the file")

    guard._looked_up = refuse  # type: ignore[method-assign]
    try:
        return guard.seen_batch(sigs)
    finally:
        del guard._looked_up  # type: ignore[method-assign]


def test_what_this_process_wrote_is_answered_from_memory(guard: NoDupeGuard) -> None:
    """Adds, claims, removals and releases of a guard that began empty: no look into the file, and the right answer."""
    guard.add("a")
    guard.add_batch(["b", "ü", "\ud800", "a\0", "b"])
    guard.claim_batch(["a", "", "c"])
    assert guard.release("c")
    assert not guard.release("b")
    assert guard.remove("ü")
    assert not guard.remove("never")
    there = {"a", "b", "\ud800", "a\0", ""}
    assert from_memory(guard, EVERY) == {sig: sig in there for sig in EVERY}
    assert guard._looked_up(guard._database.connection(), EVERY) == from_memory(guard, EVERY)


def test_a_file_is_read_once_enough_was_asked(guard: NoDupeGuard) -> None:
    """A guard opened on a file asks it four times its length, and then never again."""
    guard.add_batch(HEX)
    with NoDupeGuard(guard._database.path) as other:
        assert other._front is None
        pages = other._database.connection().execute("PRAGMA page_count").fetchone()[0]
        asked = 0
        while asked < pages * 200 * 4:
            assert other._front is None
            assert all(other.seen_batch(HEX[:3_000]).values())
            asked += 3_000
        assert from_memory(other, [*HEX[4_990:], "x"]) == dict.fromkeys(HEX[4_990:], True) | {"x": False}


@pytest.mark.usefixtures("eager")
def test_a_write_while_the_file_is_read_is_seen(guard: NoDupeGuard, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody removes and adds between two rows: the reading is worth nothing, the next look finds both."""
    with NoDupeGuard(guard._database.path) as writer:
        writer.add_batch(["a", "b"])

        def meanwhile(row: str) -> str:
            writer.remove("a")
            writer.add("c")
            return row

        monkeypatch.setattr(module, "sig_of", meanwhile)
        guard.seen_batch(["a"])
        assert guard._front is not None
        assert guard.seen_batch(["a", "b", "c"]) == {"a": False, "b": True, "c": True}


def _obey(path: str, pipe: Any) -> None:
    with NoDupeGuard(path) as guard:
        while (order := pipe.recv()) is not None:
            name, value = order
            pipe.send(getattr(guard, name)(value))


@pytest.mark.parametrize("patience", [0, 4])
def test_another_process_is_seen_at_once(guard: NoDupeGuard, monkeypatch: pytest.MonkeyPatch, patience: int) -> None:
    """Two processes add, claim and remove in turn at random: after each act both answer as a plain set would."""
    monkeypatch.setattr(module, "_PATIENCE", patience)
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    child = context.Process(target=_obey, args=(str(guard._database.path), there))
    child.start()

    def ask(name: str, value: Any) -> Any:
        here.send((name, value))
        return here.recv()

    model: set[str] = set()
    draw = random.Random(7)
    for _ in range(250):
        mine = draw.random() < 0.5
        name = draw.choice(["add", "add_batch", "remove", "claim_batch", "seen"])
        value: Any = draw.choice(EVERY[:-1])
        if name.endswith("batch"):
            value = draw.sample(EVERY[:-1], 2)
        getattr(guard, name)(value) if mine else ask(name, value)
        if name == "remove":
            model.discard(value)
        elif name != "seen":
            model.update(value if isinstance(value, list) else [value])
        expected = {sig: sig in model for sig in EVERY}
        assert guard.seen_batch(EVERY) == expected
        if draw.random() < 0.5:
            assert ask("seen_batch", EVERY) == expected
    here.send(None)
    child.join()
    assert child.exitcode == 0


def test_a_forked_child_and_its_parent_see_each_other(guard: NoDupeGuard) -> None:
    """What was in memory at the fork is nobody's answer any more once the other has written."""
    guard.add_batch(["a", "b"])
    assert from_memory(guard, ["a", "c"]) == {"a": True, "c": False}
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()

    def work() -> None:
        for _ in range(2):
            there.recv()
            there.send(guard.seen_batch(["a", "b", "c", "d"]))
            guard.add("d")
            guard.remove("b")
            there.send(None)

    child = context.Process(target=work)
    child.start()
    guard.add("c")
    guard.remove("a")
    here.send(None)
    assert here.recv() == {"a": False, "b": True, "c": True, "d": False}
    assert here.recv() is None
    assert guard.seen_batch(["a", "b", "c", "d"]) == {"a": False, "b": False, "c": True, "d": True}
    guard.remove("c")
    here.send(None)
    assert here.recv() == {"a": False, "b": False, "c": False, "d": True}
    child.join()


@pytest.mark.usefixtures("eager")
def test_threads_answer_for_what_they_did(guard: NoDupeGuard) -> None:
    """Four threads add and remove their own signatures through one guard: each finds its own as it left them."""
    wrong: list[object] = []

    def work(index: int) -> None:
        draw, held = random.Random(index), set()
        every = [f"{index}-{n}" for n in range(20)]
        for _ in range(60):
            sig = draw.choice(every)
            if draw.random() < 0.6:
                guard.add(sig)
                held.add(sig)
            else:
                guard.remove(sig)
                held.discard(sig)
            said = guard.seen_batch(every)
            if said != {sig: sig in held for sig in every}:
                wrong.append((index, said))

    threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize("act", ["add", "remove", "add_batch", "claim_batch", "release"])
def test_a_call_interrupted_after_its_commit(guard: NoDupeGuard, monkeypatch: pytest.MonkeyPatch, act: str) -> None:
    """What was written before the interruption is seen, what was deleted is not."""
    guard.claim("a")
    given: Any = ["b", "c"] if act.endswith("batch") else "b" if act == "add" else "a"

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    for name in ("added", "removed"):
        monkeypatch.setattr(Front, name, interrupt)
    with pytest.raises(KeyboardInterrupt):
        getattr(guard, act)(given)
    monkeypatch.undo()
    assert guard.seen_batch(["a", "b"]) == {"a": act not in ("remove", "release"), "b": act.startswith(("add", "cl"))}


def test_what_was_taken_back_is_not_seen(guard: NoDupeGuard) -> None:
    """A batch that fails, and an add within a transaction that is rolled back, leave nothing in memory."""
    with pytest.raises(StoreError):
        guard.add_batch(["a", "\ud800", 7])  # type: ignore[list-item]
    assert guard.seen_batch(["a"]) == {"a": False}

    with pytest.raises(ZeroDivisionError), guard._database.transaction():
        1 / guard.remove(str(guard.add("b")))
    assert guard.seen_batch(["b"]) == {"b": False}
    assert guard.add_batch(["a", "b"]) == 2
    assert guard.seen_batch(["a", "b"]) == {"a": True, "b": True}


def test_text_with_rules_of_its_own_is_not_kept(guard: NoDupeGuard) -> None:
    """A `str` that says it equals others is stored as the text it is."""

    class Same(str):
        def __eq__(self, other: object) -> bool:
            return True

        def __hash__(self) -> int:
            return hash("never")

    guard.add(Same("a"))
    assert guard.seen_batch(["a", "never"]) == {"a": True, "never": False}
    guard.remove(Same("a"))
    assert guard.seen_batch(["a"]) == {"a": False}
    with pytest.raises(StoreError, match="a signature is text"):
        guard.seen_batch(["a", 5])  # type: ignore[list-item]


@pytest.mark.usefixtures("eager")
def test_the_memory_has_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond it the file answers, whether the signatures came by adding or by reading; below, memory."""
    monkeypatch.setattr(module, "LIMIT_BYTES", 300_000)
    for path, batches in (
        (tmp_path / "few.db", [HEX[:1_000]]),
        (tmp_path / "many.db", [HEX[:1_500], HEX[1_500:3_000]]),
    ):
        few = len(batches) == 1
        with NoDupeGuard(path) as writer, NoDupeGuard(path) as reader:
            for batch in batches:
                writer.add_batch(batch)
            for _ in range(2):
                for guard in (writer, reader):
                    assert guard.seen_batch(HEX[500:1_500]) == {
                        sig: few <= (sig < HEX[1_000]) for sig in HEX[500:1_500]
                    }
            assert (writer._front is not None) == (reader._front is not None) == few
    monkeypatch.setattr(module, "_ROWS_AT_ONCE", 500)
    db = sqlite3.connect(tmp_path / "many.db")
    tracemalloc.start()
    try:
        assert Front.read(db) is None
        assert tracemalloc.get_traced_memory()[1] < 600_000  # what was kept and one fetch, not the whole file
    finally:
        tracemalloc.stop()
        db.close()


@pytest.mark.parametrize("of", ["", "ä", "☃", "😀"])
def test_the_memory_is_what_it_is_counted_as(guard: NoDupeGuard, of: str) -> None:
    """Whatever the alphabet, at the worst fill of a set and with the copies that SQLite's binding leaves behind."""
    assert guard._front is not None
    tracemalloc.start()
    try:
        for start in range(0, 2_000, 100):
            guard.add_batch([of + f"{n:064x}" for n in range(start, start + 100)])
            guard.add(of + f"{start}")
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert 0.3 * guard._front._bytes < held < guard._front._bytes + 20_000
    for start in range(2_000):
        guard.remove(of + f"{start:064x}")
    for start in range(0, 2_000, 100):
        guard.remove(of + f"{start}")
    assert guard._front._bytes == 0


class FrontMachine(RuleBasedStateMachine):
    """Two guards on one file and a thread: memory and file give one answer, whatever is done in whatever order."""

    sigs = st.sampled_from(EVERY[:-1])
    who = st.integers(0, 1)

    @initialize()
    def start(self) -> None:
        path = self.folder / f"{next(NUMBERS)}.db"
        self.guards = [NoDupeGuard(path), NoDupeGuard(path)]
        self.model: set[str] = set()

    @rule(who=who, sig=sigs)
    def add(self, who: int, sig: str) -> None:
        self.guards[who].add(sig)
        self.model.add(sig)

    @rule(who=who, sigs=st.lists(sigs, max_size=4), claim=st.booleans())
    def add_batch(self, who: int, sigs: list[str], claim: bool) -> None:
        act = self.guards[who].claim_batch if claim else self.guards[who].add_batch
        act(sigs)
        self.model.update(sigs)

    @rule(who=who, sig=sigs)
    def remove(self, who: int, sig: str) -> None:
        assert self.guards[who].remove(sig) == (sig in self.model)
        self.model.discard(sig)

    @rule(who=who, sig=sigs)
    def release(self, who: int, sig: str) -> None:
        if self.guards[who].release(sig):
            self.model.discard(sig)

    @rule(who=who, sig=sigs)
    def add_in_a_thread(self, who: int, sig: str) -> None:
        thread = threading.Thread(target=lambda: (self.guards[who].add(sig), self.guards[who].seen_batch(EVERY)))
        thread.start()
        thread.join()
        self.model.add(sig)

    @rule(who=who)
    def fail(self, who: int) -> None:
        with pytest.raises(StoreError):
            self.guards[who].add_batch([*EVERY, 7])  # type: ignore[list-item]

    @rule(who=who)
    def behind_the_back(self, who: int) -> None:
        self.guards[who]._database.connection().execute("DELETE FROM signatures WHERE sig='a'")
        self.model.discard("a")

    @rule(who=who)
    def reopen(self, who: int) -> None:
        path = self.guards[who]._database.path
        self.guards[who].close()
        self.guards[who] = NoDupeGuard(path)

    @invariant()
    def agree(self) -> None:
        for guard in getattr(self, "guards", ()):
            assert guard.seen_batch(EVERY) == {sig: sig in self.model for sig in EVERY}

    def teardown(self) -> None:
        for guard in getattr(self, "guards", ()):
            guard.close()


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path) -> None:
    FrontMachine.folder = tmp_path


@pytest.mark.parametrize("patience", [0, 4])
@pytest.mark.parametrize("limit", [300, 2**20])
def test_memory_and_file_agree(monkeypatch: pytest.MonkeyPatch, patience: int, limit: int) -> None:
    """With a file that is read at once or late, in a memory that holds all or two signatures."""
    from hypothesis.stateful import run_state_machine_as_test

    monkeypatch.setattr(module, "_PATIENCE", patience)
    monkeypatch.setattr(module, "LIMIT_BYTES", limit)
    run_state_machine_as_test(
        FrontMachine,
        settings=settings(
            max_examples=15, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
