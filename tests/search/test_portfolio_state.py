"""A portfolio that is brought to a snapshot goes on as the one that the snapshot was taken of."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from genesis.search import portfolio_state, state
from genesis.search.portfolio import PortfolioSampler
from genesis.search.samplers import make_sampler
from genesis.search.space import Space

MIXED: dict[str, Any] = {f"f{i}": {"type": "float", "low": 0.0, "high": 1.0, "step": 0.05} for i in range(3)}
MIXED |= {"c": {"type": "float", "low": -1.0, "high": 1.0}, "n": {"type": "int", "low": 1, "high": 40}}
MIXED |= {"k": {"type": "categorical", "choices": ["a", "b", "c"]}}
BRANCHED = MIXED | {
    "x": {"type": "float", "low": 0.01, "high": 9.0, "log": True, "when": {"k": ["a"]}},
    "y": {"type": "int", "low": 0, "high": 5, "when": {"k": ["b", "c"]}},
}
SMALL = {"n": {"type": "int", "low": 0, "high": 30}, "m": {"type": "int", "low": 0, "high": 9}}


def made(spec: Any, rules: list[str] = []) -> PortfolioSampler:  # noqa: B006 - only read
    space = Space.from_spec(spec, rules=rules)
    sampler = make_sampler("auto", {}, space, seed=5, concurrency=8, budget=2_000)
    assert isinstance(sampler, PortfolioSampler)
    return sampler


def go(sampler: PortfolioSampler, generations: range, history: list[Any]) -> list[bytes]:
    """Ask and tell, one generation behind, as the coordinator does."""
    asked = []
    for generation in generations:
        sampler.expect(history[-1][0] if history else np.empty((0, sampler.cells.d)))
        vectors = sampler.ask(8, generation)
        score = -np.nansum((vectors.vectors - 0.3) ** 2, axis=1)
        score[generation % 8] = np.nan
        if history:
            sampler.tell(*history[-1])
        states = np.where(np.isnan(score), 1, 0).astype(np.int8)
        history.append((vectors.vectors, score, (score < -900.0) * 0.5, states, vectors.origins))
        asked.append(vectors.vectors.tobytes() + "".join(vectors.origins).encode())
    return asked


def told(history: list[Any]) -> list[Any]:
    """Everything but the generation that is still running, as one."""
    columns = list(zip(*history[:-1], strict=True))
    return [*(np.concatenate(one) for one in columns[:4]), [origin for one in columns[4] for origin in one]]


@pytest.mark.parametrize(
    ("spec", "rules"), [(MIXED, []), (BRANCHED, []), (MIXED, ["n > 5"]), (SMALL, [])], ids=["m", "b", "rules", "small"]
)
@pytest.mark.parametrize("when", [3, 17, 60, 141])
def test_a_restored_portfolio_asks_the_same(spec: Any, rules: list[str], when: int) -> None:
    """From start-up, in a narrow run or a wide one: every later generation is the same to the bit."""
    whole, history = made(spec, rules), []
    go(whole, range(when), history)
    data = whole.snapshot()
    twin, again = made(spec, rules), list(history)
    twin.restore(data, *told(history))
    assert twin.snapshot() == data
    assert go(twin, range(when, when + 60), again) == go(whole, range(when, when + 60), history)


def test_a_snapshot_does_not_grow_with_the_history() -> None:
    """After eight times the trials it is about as large."""
    sampler, history = made(MIXED), []
    go(sampler, range(60), history)
    early = len(sampler.snapshot())
    go(sampler, range(60, 500), history)
    assert len(sampler.snapshot()) < 4 * early


def test_a_snapshot_of_another_version_is_refused_and_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other libraries, other attributes or bytes that are none: a ValueError, and the sampler is as new."""
    whole, history = made(MIXED), []
    go(whole, range(30), history)
    data = whole.snapshot()
    fresh = made(MIXED)
    before = fresh.snapshot()
    kept = state.load(data, classes=portfolio_state._classes(), shared={"cells": whole.cells})
    kept["surprise"] = 1
    more = state.dump(kept, classes=portfolio_state._classes(), shared={"cells": whole.cells})
    for wrong in (b"{", b"[]", b"{}", data.replace(b'"object"', b'"pickle"'), more):
        with pytest.raises(ValueError, match=r"."):
            fresh.restore(wrong, *told(history))
    monkeypatch.setattr(portfolio_state, "made_by", lambda: "genesis 9")
    with pytest.raises(ValueError, match="it was made by genesis 0"):
        fresh.restore(data, *told(history))
    monkeypatch.undo()
    assert fresh.snapshot() == before
    assert fresh.model.n == 0


VALUES: list[Any] = [
    None, True, 3, -0.5, 0.1 + 0.2, float("inf"), "ü", b"\x00\xff", (1, (2.0, [None])), {b"k": [1], (1, 2): "x"},
    np.float64(0.1), np.int64(3), np.bool_(True), np.zeros((0, 3)), np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    np.array([np.nan, -0.0]), np.arange(3) > 1,
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_value_comes_back_as_it_was(value: Any) -> None:
    """Type, bits and an array's order in memory survive."""
    back = state.load(state.dump({"v": value}, classes={}, shared={}), classes={}, shared={})["v"]
    assert type(back) is type(value)
    if isinstance(value, np.ndarray):
        assert (back.dtype, back.shape) == (value.dtype, value.shape)
        assert back.tobytes("A") == value.tobytes("A")
        assert back.flags.f_contiguous == value.flags.f_contiguous
        back[...] = 0  # its own, and writable
    else:
        assert repr(back) == repr(value)


def test_a_generator_goes_on_where_it_stood() -> None:
    """NumPy's RandomState is restored in the middle of its sequence, a spare normal included."""
    random = np.random.RandomState(3)
    random.normal(size=5)
    back = state.load(state.dump({"r": random}, classes={}, shared={}), classes={}, shared={})["r"]
    assert back.normal(size=9).tobytes() == random.normal(size=9).tobytes()


@pytest.mark.parametrize("value", [{1, 2}, object(), np.array([None]), np.arange(6)[::2], print])
def test_what_cannot_be_said_is_refused(value: Any) -> None:
    """A set, a foreign object, an array of objects or with gaps is no part of a snapshot."""
    with pytest.raises(TypeError, match="cannot be put into a snapshot"):
        state.dump({"v": value}, classes={}, shared={})
