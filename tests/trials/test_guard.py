"""Of any number of callers, threads or processes, exactly one is told that a signature is new."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sqlite3
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from genesis.errors import CorruptStoreError, StoreBusyError, StoreError
from genesis.trials.guard import NoDupeGuard
from genesis.trials.identity import trial_key

NUMBERS = count()  # an object's id may come again when it is gone
SIGS = [trial_key({"n": n}) for n in range(10_000)]
ODD = ["", "a\0", "a", "a\0b", "\ud800", "\ud801", "ü", "\\u0000", "1", "1.0", "x'; DROP TABLE signatures;--", "😀"]


@pytest.fixture
def guard(tmp_path: Path):
    with NoDupeGuard(sqlite_path=tmp_path / "seen.db") as made:
        yield made


def in_children(count: int, work: Callable[[int], object]) -> list[object]:
    """Fork `count` children that end in order, run `work(i)` in each, and give back what each returned."""
    fork = multiprocessing.get_context("fork")
    answers = fork.SimpleQueue()

    def child(index: int) -> None:
        try:
            answers.put((index, work(index), ""))
        except BaseException:
            answers.put((index, None, traceback.format_exc()))

    children = [fork.Process(target=child, args=(index,)) for index in range(count)]
    for each in children:
        each.start()
    said = {index: (answer, error) for index, answer, error in (answers.get() for _ in children)}
    for each in children:
        each.join()
    answers.close()
    assert [error for _, error in said.values() if error] == []
    return [said[index][0] for index in range(count)]


def test_a_signature_is_new_once(guard: NoDupeGuard) -> None:
    """`add` is True the first time only; `remove` makes it new again."""
    assert (guard.add("a"), guard.add("a"), guard.seen("a"), guard.seen("b")) == (True, False, True, False)
    assert (guard.remove("a"), guard.remove("a"), guard.seen("a"), guard.add("a")) == (True, False, False, True)
    assert ("a" in guard, "b" in guard, 5 in guard, len(guard)) == (True, False, False, 1)


def test_a_batch_counts_the_new(guard: NoDupeGuard) -> None:
    """`add_batch` counts what was not there, repeats inside the batch once; `seen_batch` answers for each."""
    assert guard.add_batch([]) == 0
    assert guard.seen_batch([]) == {}
    assert guard.add_batch(["a", "b", "a"]) == 2
    assert guard.add_batch(["b", "c"]) == 1
    assert guard.seen_batch(["c", "x", "a"]) == {"c": True, "x": False, "a": True}
    assert guard.add_batch(sig for sig in SIGS) == 10_000
    assert all(guard.seen_batch(SIGS).values())


def test_a_batch_longer_than_one_statement(guard: NoDupeGuard, monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches are cut into statements inside one transaction; the answers do not show it."""
    monkeypatch.setattr("genesis.trials.signatures.JSON_CHUNK", 7)
    assert guard.add_batch(SIGS[:50]) == 50
    assert guard.add_batch(SIGS[:60]) == 10
    assert guard.seen_batch(SIGS[55:65]) == {sig: position < 60 for position, sig in enumerate(SIGS[55:65], 55)}


@pytest.mark.parametrize("sig", ODD)
def test_any_string_is_a_signature(guard: NoDupeGuard, sig: str) -> None:
    """Empty, NUL, lone surrogates, quotes: each is itself and no other, alone and in a batch."""
    others = [other for other in ODD if other != sig]
    assert guard.add_batch(others) == len(others)
    assert not guard.seen(sig)
    assert guard.seen_batch(ODD) == {other: other != sig for other in ODD}
    assert guard.seen_batch([sig]) == {sig: False}
    assert guard.add(sig)
    assert guard.seen(sig)
    assert guard.seen_batch([sig]) == {sig: True}
    assert guard.add_batch([sig]) == 0
    assert guard.remove(sig)
    assert guard.claim(sig)
    assert guard.claims() == [sig]


def test_what_is_not_text_is_refused(guard: NoDupeGuard) -> None:
    """A number is not a signature, and a text is not a batch."""
    for act in (lambda: guard.add(5), lambda: guard.add_batch(["a", 5]), lambda: guard.seen_batch([b"a"])):
        with pytest.raises(StoreError, match="a signature is text"):
            act()
    with pytest.raises(StoreError, match="give a list"):
        guard.add_batch("abc")
    assert len(guard) == 0


def test_a_claim_is_exclusive_until_its_end(guard: NoDupeGuard) -> None:
    """Claimed is seen; `add` confirms it once; `release` and `remove` give it back."""
    assert (guard.claim("a"), guard.claim("a"), guard.seen("a")) == (True, False, True)
    assert guard.claim_batch(["a", "b", "b", "c"]) == ["b", "c"]
    assert guard.claims() == ["a", "b", "c"]
    assert (guard.add("a"), guard.add("a"), guard.claim("a")) == (True, False, False)
    assert (guard.release("a"), guard.release("b"), guard.seen("b"), guard.claim("b")) == (False, True, False, True)
    assert guard.add_batch(["b", "c", "d"]) == 3
    assert guard.claims() == []


def test_eight_processes_claim_each_signature_once(guard: NoDupeGuard) -> None:
    """Racing forked processes, one by one and in batches: every signature claimed exactly once, no error."""

    def work(index: int) -> list[int]:
        order = SIGS[index * 1_250 :] + SIGS[: index * 1_250]
        mine = [sig for sig in order[:400] if guard.claim(sig)]
        for start in range(0, len(order), 500):
            mine += guard.claim_batch(order[start : start + 500])
        return mine

    claimed = [sig for mine in in_children(8, work) for sig in mine]
    assert len(claimed) == 10_000
    assert set(claimed) == set(SIGS)
    assert len(guard) == 10_000


def test_eight_processes_create_the_same_file(tmp_path: Path) -> None:
    """A file that does not exist yet is made by all of them at once, and every add is counted once."""
    path = tmp_path / "new" / "seen.db"

    def work(index: int) -> int:
        with NoDupeGuard(path) as mine:
            return sum(mine.add(sig) for sig in SIGS[:100]) + mine.add_batch(SIGS[50:300])

    assert sum(in_children(8, work)) == 300


def test_threads_share_one_guard(guard: NoDupeGuard) -> None:
    """Eight threads add the same signatures: each is new to exactly one of them."""
    new: list[str] = []

    def work() -> None:
        new.extend(sig for sig in SIGS[:300] if guard.add(sig))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(new) == sorted(SIGS[:300])
    assert len(guard) == 300


def test_connections_of_finished_threads_are_closed(guard: NoDupeGuard) -> None:
    """A thousand short threads do not leave a thousand open files."""
    for _ in range(30):
        thread = threading.Thread(target=lambda: guard.seen("a"))
        thread.start()
        thread.join()
    assert len(guard._database._open) <= 2


def test_claims_of_a_dead_process_are_free(guard: NoDupeGuard) -> None:
    """A process that claimed and was killed: `claim` takes its claims over, `recover` frees them; adds stay."""

    def work() -> None:
        guard.add("done")
        guard.claim_batch(["a", "b", "done"])
        os.kill(os.getpid(), signal.SIGKILL)

    child = multiprocessing.get_context("fork").Process(target=work)
    child.start()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    assert guard.claims() == ["a", "b"]
    assert guard.claim("a")
    assert guard.recover() == 1
    assert guard.claims() == ["a"]
    assert (guard.seen("b"), guard.seen("done")) == (False, True)


def test_claims_of_a_process_that_ended_in_order_stand(guard: NoDupeGuard) -> None:
    """A worker that claimed and finished may have told someone: only `recover` frees its claims."""
    assert in_children(1, lambda index: guard.claim_batch(["a", "b"])) == [["a", "b"]]
    script = "import sys; from genesis.trials.guard import NoDupeGuard; NoDupeGuard(sys.argv[1]).claim('c')"
    subprocess.run([sys.executable, "-c", script, str(guard._database.path)], check=True, timeout=60)
    assert guard.claim_batch(["a", "b", "c"]) == []
    assert guard.recover() == 3
    assert guard.claim_batch(["a", "b", "c"]) == ["a", "b", "c"]


def test_claims_of_a_living_process_are_kept(guard: NoDupeGuard) -> None:
    """Another living process's claim is neither taken nor released nor recovered."""
    assert guard.claim("a")

    def work(index: int) -> list[object]:
        return [guard.claim("a"), guard.release("a"), guard.recover(), guard.claims()]

    assert in_children(2, work) == [[False, False, 0, ["a"]]] * 2


def test_claims_of_another_host_have_a_lease(guard: NoDupeGuard) -> None:
    """A process that cannot be looked up keeps its claims for the lease, then loses them."""
    guard.claim("a")
    with guard._database.transaction() as db:
        db.execute("UPDATE owners SET host='elsewhere', last_claim=last_claim-100")
    with NoDupeGuard(guard._database.path, lease_seconds=200) as patient:
        assert not patient.claim("a")
    with NoDupeGuard(guard._database.path, lease_seconds=50) as eager:
        assert eager.claim("a")


def test_a_batch_in_a_killed_process_is_whole_or_absent(tmp_path: Path) -> None:
    """SIGKILL while batches are written: their number is a multiple of the batch, none acknowledged is missing."""
    path = tmp_path / "seen.db"
    script = (
        "import sys\nfrom genesis.trials.guard import NoDupeGuard\nguard = NoDupeGuard(sys.argv[1])\n"
        "for n in range(10**6):\n"
        "    guard.add_batch(f'{n}-{k}' for k in range(500))\n    print(n, flush=True)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        said = [int(child.stdout.readline()) for _ in range(10)]
        child.send_signal(signal.SIGKILL)
        last = max(said + [int(line) for line in child.stdout.read().split()])
    with NoDupeGuard(path) as guard:
        assert len(guard) % 500 == 0
        assert len(guard) >= (last + 1) * 500
        assert all(guard.seen_batch(f"{last}-{k}" for k in range(500)).values())


def test_a_failed_batch_leaves_nothing(guard: NoDupeGuard) -> None:
    """An error in the middle of a batch takes the whole batch back, and the guard goes on."""
    with pytest.raises(StoreError):
        guard.add_batch([*SIGS[:100], "\ud800", 7])
    assert len(guard) == 0
    assert guard.add_batch(SIGS[:5]) == 5


def test_a_full_disk_is_one_clear_error(guard: NoDupeGuard) -> None:
    """No page left: the batch is refused whole, what was there stays, and with room again it goes on."""
    guard.add_batch(SIGS[:500])
    db = guard._database.connection()
    pages = db.execute("PRAGMA page_count").fetchone()[0]
    db.execute(f"PRAGMA max_page_count={pages + 1}")
    with pytest.raises(StoreError, match="the disk is full"):
        guard.add_batch(SIGS)
    with pytest.raises(StoreError, match="the disk is full"):
        any(not guard.add(sig) for sig in SIGS[500:])
    assert len(guard) >= 500
    assert all(guard.seen_batch(SIGS[:500]).values())
    db.execute("PRAGMA max_page_count=1000000")
    guard.add_batch(SIGS)
    assert len(guard) == 10_000


def test_a_write_the_system_refuses_is_one_clear_error(tmp_path: Path) -> None:
    """A file-size limit of the operating system: a StoreError that names the file, and the file stays sound."""
    path = tmp_path / "seen.db"
    script = (
        "import resource, sys\nfrom genesis.errors import StoreError\nfrom genesis.trials.guard import NoDupeGuard\n"
        "guard = NoDupeGuard(sys.argv[1])\nguard.add_batch(f'a{k}' for k in range(100))\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))\n"
        "try:\n    guard.add_batch(f'b{k}' for k in range(100_000))\n"
        "except StoreError as error:\n    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True, timeout=60
    )
    assert str(path) in done.stdout
    with NoDupeGuard(path) as guard:
        assert len(guard) == 100


def test_a_file_of_something_else_is_refused_untouched(tmp_path: Path) -> None:
    """Not a database, or somebody else's database: one error that names it, and the bytes stay as they were."""
    text = tmp_path / "text.db"
    text.write_text("this is not a database, and it is longer than a header")
    foreign = tmp_path / "foreign.db"
    db = sqlite3.connect(foreign)
    db.execute("CREATE TABLE signatures (something TEXT)")
    db.commit()
    db.close()
    for path, words in ((text, "not a SQLite database"), (foreign, "something else")):
        before = path.read_bytes()
        with pytest.raises(CorruptStoreError, match=words):
            NoDupeGuard(path)
        assert path.read_bytes() == before
    with pytest.raises(StoreError, match="is a folder"):
        NoDupeGuard(tmp_path)


def test_a_damaged_file_is_one_clear_error(tmp_path: Path) -> None:
    """A database overwritten in the middle is a CorruptStoreError, not a wrong answer."""
    path = tmp_path / "seen.db"
    with NoDupeGuard(path) as guard:
        guard.add_batch(SIGS)
    data = bytearray(path.read_bytes())
    data[16_384:] = b"\xff" * (len(data) - 16_384)
    path.write_bytes(data)
    with pytest.raises(CorruptStoreError, match="not a readable store"), NoDupeGuard(path) as guard:
        guard.seen_batch(SIGS)


def test_a_folder_that_cannot_be_written_is_one_clear_error() -> None:
    """The folder's name and the remedy; nothing else happens."""
    with pytest.raises(StoreError, match="permissions"):
        NoDupeGuard("/proc/nowhere/seen.db")
    with pytest.raises(StoreError, match="permissions"):
        NoDupeGuard("/proc/seen.db")


def test_a_locked_file_is_one_clear_error(tmp_path: Path) -> None:
    """A writer that never ends: StoreBusyError after the stated seconds, reads go on meanwhile."""
    with NoDupeGuard(tmp_path / "seen.db") as holder, NoDupeGuard(tmp_path / "seen.db", busy_seconds=0.05) as waiter:
        holder.add("a")
        with holder._database.transaction():
            assert waiter.seen("a")
            with pytest.raises(StoreBusyError, match="locked"):
                waiter.add("b")
        assert waiter.add("b")


def test_the_pragmas_hold(tmp_path: Path) -> None:
    """Read back from SQLite, in every thread, and from the file itself: WAL, NORMAL, 16 KiB pages, memory, cache."""
    said: list[dict[str, int | str]] = []
    with NoDupeGuard(tmp_path / "seen.db") as guard:
        guard.add("a")
        thread = threading.Thread(target=lambda: said.append(guard.pragmas()))
        thread.start()
        thread.join()
        said.append(guard.pragmas())
    for pragmas in said:
        assert (pragmas["journal_mode"], pragmas["synchronous"], pragmas["page_size"]) == ("wal", 1, 16_384)
        assert (pragmas["temp_store"], pragmas["cache_size"]) == (2, -16_384)
    db = sqlite3.connect(tmp_path / "seen.db")
    assert db.execute("PRAGMA page_size").fetchone() == (16_384,)
    assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    db.close()


def test_a_guard_travels_to_another_process(guard: NoDupeGuard) -> None:
    """Pickled, it opens the same file; closed, it says so."""
    guard.add("a")
    with pickle.loads(pickle.dumps(guard)) as other:  # noqa: S301 - our own bytes
        assert other.seen("a")
    with pytest.raises(StoreError, match="closed"):
        other.seen("a")


class GuardMachine(RuleBasedStateMachine):
    """The file agrees with a plain dict of what each signature is, whatever is done in whatever order."""

    sigs = st.sampled_from(["a", "b", "c", "ü", "\ud800", "a\0"])

    @initialize()
    def start(self) -> None:
        self.guard = NoDupeGuard(self.folder / f"{next(NUMBERS)}.db")
        self.model: dict[str, str] = {}

    @rule(sig=sigs)
    def add(self, sig: str) -> None:
        assert self.guard.add(sig) == (self.model.get(sig) != "tried")
        self.model[sig] = "tried"

    @rule(sigs=st.lists(sigs, max_size=5))
    def add_batch(self, sigs: list[str]) -> None:
        assert self.guard.add_batch(sigs) == sum(self.model.get(sig) != "tried" for sig in set(sigs))
        self.model.update(dict.fromkeys(sigs, "tried"))

    @rule(sigs=st.lists(sigs, max_size=5))
    def claim(self, sigs: list[str]) -> None:
        new = [sig for sig in dict.fromkeys(sigs) if sig not in self.model]
        assert self.guard.claim_batch(sigs) == new
        self.model.update(dict.fromkeys(new, "claimed"))

    @rule(sig=sigs)
    def release(self, sig: str) -> None:
        held = self.model.get(sig) == "claimed"
        assert self.guard.release(sig) == held
        if held:
            del self.model[sig]

    @rule(sig=sigs)
    def remove(self, sig: str) -> None:
        assert self.guard.remove(sig) == (self.model.pop(sig, None) is not None)

    @rule()
    def reopen(self) -> None:
        path = self.guard._database.path
        self.guard.close()
        self.guard = NoDupeGuard(path)
        self.guard.claim_batch([])  # registers this process, so that its earlier claims are its own again

    @invariant()
    def agree(self) -> None:
        if hasattr(self, "guard"):
            every = ["a", "b", "c", "ü", "\ud800", "a\0", "never"]
            assert self.guard.seen_batch(every) == {sig: sig in self.model for sig in every}
            assert len(self.guard) == len(self.model)

    def teardown(self) -> None:
        if hasattr(self, "guard"):
            self.guard.close()


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path) -> None:
    GuardMachine.folder = tmp_path


TestGuardMachine = GuardMachine.TestCase
TestGuardMachine.settings = settings(
    max_examples=20, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
)
