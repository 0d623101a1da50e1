"""Strategies are found by name, file, module or object, versioned by their source, and refused in plain words."""

from __future__ import annotations

import hashlib
import sys
from importlib.metadata import EntryPoint

import numpy as np
import pytest

from genesis.errors import StrategyError
from genesis.strategy import loading
from genesis.strategy.authored import check_signals
from genesis.strategy.base import Strategy, default_space, load_strategy
from genesis.strategy.features import Features
from genesis.types import Rules, Signals

SOURCE = """
import numpy as np

class Buy:
    space = {"at": {"type": "int", "low": 1, "high": 9}}

    def signals(self, params, features):
        entry = np.zeros(features.n, dtype=np.int8)
        entry[params.get("at", 0)] = 1
        return entry

class Nothing:
    def signal_(self):
        return None
"""


@pytest.fixture
def author(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(SOURCE)
    return path


@pytest.mark.parametrize("name", ["sma_cross", "fibonacci"])
def test_built_in_strategies_satisfy_the_protocol(name):
    """They load by name, with an id, a version and a space."""
    strategy = load_strategy(name)
    assert isinstance(strategy, Strategy)
    assert strategy.id == name
    assert strategy.version
    assert default_space(strategy)


def test_a_file_is_versioned_by_its_source(author, market):
    """The version is the hash of the file; an edit gives another version and other code in the same process."""
    first = load_strategy(f"{author}:Buy")
    assert first.version == hashlib.sha256(author.read_bytes()).hexdigest()
    assert np.flatnonzero(first.signals({"at": 3}, Features(market(1, 10))).entry).tolist() == [3]
    assert default_space(first) == {"at": {"type": "int", "low": 1, "high": 9}}
    author.write_text(SOURCE.replace("= 1\n", "= -1\n"))
    second = load_strategy(f"{author}:Buy")
    assert second.version != first.version
    assert second.signals({"at": 3}, Features(market(1, 10))).entry[3] == -1
    assert first.signals({"at": 3}, Features(market(1, 10))).entry[3] == 1


def test_files_of_one_name_do_not_meet(author, tmp_path, market):
    """Two files named alike in two folders are two modules."""
    other = tmp_path / "other" / "mine.py"
    other.parent.mkdir()
    other.write_text(SOURCE.replace("= 1\n", "= -1\n"))
    features = Features(market(1, 10))
    assert load_strategy(f"{author}:Buy").signals({"at": 2}, features).entry[2] == 1
    assert load_strategy(f"{other}:Buy").signals({"at": 2}, features).entry[2] == -1


def test_modules_and_entry_points(author, monkeypatch):
    """`package.module:Class` and the group genesis.strategies."""
    monkeypatch.syspath_prepend(str(author.parent))
    assert load_strategy("mine:Buy").version == hashlib.sha256(author.read_bytes()).hexdigest()
    point = EntryPoint("buyer", "mine:Buy", loading.GROUP)
    monkeypatch.setattr(loading, "entry_points", lambda group: [point] if group == "genesis.strategies" else [])
    assert load_strategy("buyer").id == "Buy"
    with pytest.raises(StrategyError, match="did you mean 'buyer'"):
        load_strategy("buyerr")
    sys.modules.pop("mine", None)


@pytest.mark.parametrize(
    ("ref", "words"),
    [
        ("fibonaci", "did you mean 'fibonacci'"),
        ("{folder}/mien.py:Buy", "did you mean 'mine.py'"),
        ("{folder}/mine.py:Bye", "did you mean 'Buy'"),
        ("{folder}/mine.py:Nothing", "did you mean 'signals'|did you mean 'signal'"),
        ("{folder}/mine.py", "ClassName"),
        ("no_such_package.x:Y", "cannot be imported"),
    ],
)
def test_what_cannot_be_found_is_named(ref, words, author):
    """Each refusal says what was asked for and what is there."""
    with pytest.raises(StrategyError, match=words):
        load_strategy(ref.format(folder=author.parent))


def test_a_file_that_raises_is_named_with_its_error(author):
    """Import errors of the author's file become one StrategyError, and a repaired file loads."""
    author.write_text("raise RuntimeError('not today')")
    with pytest.raises(StrategyError, match="RuntimeError: not today"):
        load_strategy(f"{author}:Buy")
    author.write_text(SOURCE)
    assert load_strategy(f"{author}:Buy").id == "Buy"


def test_a_class_without_source_needs_a_version():
    """Code typed at a prompt cannot be told apart from another version of itself: it must say its version."""
    names: dict = {}
    exec("class Typed:\n    def signals(self, p, f): ...", {"__name__": "prompt"}, names)  # noqa: S102 - a prompt's class
    with pytest.raises(StrategyError, match="version"):
        load_strategy(names["Typed"])
    names["Typed"].version = "7"
    assert load_strategy(names["Typed"]).version == "7"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"entry": np.zeros(4, np.int8)}, r"entry has shape \(4,\)"),
        ({"entry": np.full(5, 2)}, r"entry\[0\] is .*2"),
        ({"entry": np.array([0, 1, np.nan, 0, 0])}, r"entry\[2\] is .*nan"),
        ({"entry": np.array([0, 0.5, 0, 0, 0])}, r"entry\[1\]"),
        ({"entry": np.array(["a"] * 5)}, "dtype"),
        ({"exit": np.full(5, 4)}, r"exit\[0\]"),
        ({"size": np.array([1, 1, 0, 1, 1.0])}, r"size\[2\] is .*0"),
        ({"size": np.array([1, 1, 1, np.nan, 1])}, r"size\[3\]"),
        ({"stop_distance": np.array([0, 0, -1.0, 0, 0])}, r"stop_distance\[2\]"),
        ({"target_distance": np.full(5, np.inf)}, r"target_distance\[0\]"),
        ({"partial_levels": np.zeros((5, 2))}, "one column per part"),
        ({"rules": Rules(partial_fractions=(0.5,))}, "partial_levels is None"),
        ({"rules": Rules(partial_fractions=(0.7, 0.7)), "partial_levels": np.ones((5, 2))}, "at most 1"),
        ({"rules": {}}, "rules came as dict"),
    ],
)
def test_signals_that_break_the_contract_are_refused(change, words):
    """The message names the array, the place and what is allowed."""
    with pytest.raises(StrategyError, match=words):
        check_signals(Signals(**{"entry": np.zeros(5, dtype=np.int8), **change}), 5, "mine")


def test_good_signals_pass_and_are_made_uniform():
    """Bare lists, booleans and floats that are whole become int8; NaN distances stay."""
    assert check_signals([0, 1, -1], 3, "mine").entry.dtype == np.int8
    made = check_signals(
        Signals(
            entry=np.array([1.0, 0.0, -1.0]), exit=np.array([True, False, True]), stop_distance=np.array([np.nan, 0, 2])
        ),
        3,
        "mine",
    )
    assert made.entry.tolist() == [1, 0, -1]
    assert made.exit.dtype == np.int8
    with pytest.raises(StrategyError, match="came as dict"):
        check_signals({"entry": [1]}, 1, "mine")


@pytest.mark.parametrize("made", ["class", "object"])
def test_a_backtest_checks_an_authors_strategy_however_it_comes(made, market):
    """A class or an object with nonsense signals is refused by the backtest in the same words."""
    import genesis

    class Sevens:
        version = "1"

        def signals(self, params, features):
            return np.full(features.n, 7)

    target = Sevens if made == "class" else Sevens()
    with pytest.raises(StrategyError, match=r"entry\[0\]"):
        genesis.backtest(market(1, 30), target, {}, costs=genesis.Costs(fee_bps=0, slippage_bps=0))


def test_a_file_that_exits_while_it_is_imported_is_an_error_of_the_strategy(tmp_path):
    """`sys.exit()` at the top of a strategy file does not end Genesis without a word."""
    file = tmp_path / "leaves.py"
    file.write_text("import sys\nsys.exit(3)\n")
    with pytest.raises(StrategyError, match=r"importing leaves.py raised SystemExit: 3"):
        load_strategy(f"{file}:Any")


def test_a_strategy_cannot_write_into_the_market(market):
    """Bars are shared by all trials of a process: an author's code gets them read-only, and reads the same values."""

    class Writes:
        version = "1"

        def signals(self, params, features):
            assert features.bars.close.tolist() == bars.close.tolist()
            assert features.bars.fingerprint == bars.fingerprint
            place = features.higher("1w").bars if params["higher"] else features.bars
            place.close[:] = 1.0

    bars = market(1, 60)
    before = bars.close.tolist()
    for higher in (False, True):
        with pytest.raises(ValueError, match="read-only"):
            load_strategy(Writes).signals({"higher": higher}, Features(bars))
    assert bars.close.tolist() == before
