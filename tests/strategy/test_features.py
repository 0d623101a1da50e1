"""Features are cached under bounds, read-only, strict about names, and the same from disk."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref

import numpy as np
import psutil
import pytest

from genesis.errors import StrategyError
from genesis.market.catalog import load_bars
from genesis.search.space import Space
from genesis.strategy.base import load_strategy
from genesis.strategy.feature_table import TABLE
from genesis.strategy.features import FeatureCache, Features
from genesis.strategy.precompute import precompute


def test_arrays_are_computed_once_and_cannot_be_written(market):
    """A second request returns the same memory; writing raises."""
    features = Features(market(1, 100))
    first = features.get("ema", period=20)
    assert features.ema(20) is first
    with pytest.raises(ValueError, match="read-only"):
        first[0] = 1.0
    assert features.higher("1w").get("ema", period=3) is features.higher("1w").get("ema", period=3)


def test_the_cache_is_bounded_and_forgets_the_longest_unused(market):
    """Bytes never pass the bound; what was used last stays."""
    bars = market(1, 100)
    cache = FeatureCache(3 * 800)
    features = Features(bars, cache=cache)
    for period in (2, 3, 4):
        features.sma(period)
    kept = features.sma(2)
    features.sma(5)
    assert cache.bytes <= cache.max_bytes
    assert len(cache) == 3
    assert features.sma(2) is kept
    misses = cache.misses
    again = features.sma(3)
    assert cache.misses == misses + 1, "the longest unused one was forgotten"
    assert np.array_equal(again, Features(bars).sma(3), equal_nan=True), "and is computed again"


def test_markets_may_share_a_cache(market):
    """The key holds the market: two markets, and two windows of one, never read each other's features."""
    cache = FeatureCache()
    one, other = market(1, 100), market(2, 100)
    shared = [Features(bars, cache=cache) for bars in (one, other, one.slice(10, 100))]
    for features in shared:
        for source, alone in ((features, Features(features.bars)), (features.higher("1w"), None)):
            name = "rsi" if alone is not None else "swing_high"
            expected = (alone or Features(features.bars).higher("1w")).get(name)
            assert np.array_equal(source.get(name), expected, equal_nan=True)


@pytest.mark.parametrize(
    ("name", "params", "words"),
    [
        ("rsii", {}, "did you mean 'rsi'"),
        ("rsi", {"perod": 3}, "did you mean 'period'"),
        ("rsi", {"period": 0}, "whole number from 1"),
        ("rsi", {"period": 2.5}, "whole number"),
        ("rsi", {"period": float("nan")}, "whole number"),
        ("obv", {"period": 3}, "no parameters"),
    ],
)
def test_mistakes_are_named(name, params, words, market):
    """Unknown names and impossible parameters raise, with the nearest known one."""
    with pytest.raises(StrategyError, match=words):
        Features(market(1, 10)).get(name, **params)


@pytest.mark.parametrize("n", [0, 1, 2, 5])
def test_few_bars_are_no_error(n, market):
    """Every feature of a market shorter than its period is NaN of the right length."""
    features = Features(market(1, 10).slice(0, n))
    for name, feature in TABLE.items():
        array = features.get(name)
        assert array.shape == (n,)
        assert not feature.defaults or np.isnan(array).all(), name


SPACES = {
    "fibonacci": {
        "features": {"rsi_period": {"type": "int", "low": 5, "high": 20, "step": 5}},
        "ltf_fib": {"swing_left": {"type": "int", "low": 2, "high": 4}},
        "htf_fib": {"swing_left": {"type": "grid", "values": [2, 3]}},
        "thresholds": {"entry_conf_overall": {"type": "float", "low": 0.2, "high": 0.4}},
        "htf": "1w",
    },
    "sma_cross": {"fast": {"type": "int", "low": 2, "high": 4}, "slow": {"type": "int", "low": 10, "high": 12}},
}


@pytest.mark.parametrize("name", SPACES)
def test_features_from_disk_are_the_same_bits(name, market, tmp_path):
    """Signals over mapped features equal signals over computed ones, and nothing is computed in the run."""
    bars, space, strategy = market(3, 500), Space.from_spec(SPACES[name]), load_strategy(name)
    made = precompute(bars, strategy, space, tmp_path)
    assert made.complete
    assert made.features == len(list(tmp_path.glob("*.npy")))
    mapped = Features(bars, cache=made.cache())
    plain = Features(bars)
    rng = np.random.default_rng(1)
    for _ in range(20):
        vector = [rng.choice(len(c.choices)) if c.choices else rng.uniform(c.low, c.high) for c in space.columns]
        params = space.decode(space.snap(np.array([vector]))[0])
        one, other = strategy.signals(params, mapped), strategy.signals(params, plain)
        assert one.entry.tobytes() == other.entry.tobytes()
        assert one.blocked == other.blocked
        assert (one.size is None and other.size is None) or one.size.tobytes() == other.size.tobytes()
    stored = {path.name for path in tmp_path.glob("*.npy")}
    assert {mapped.cache.path_of(key).name for key in mapped.cache.held} <= stored
    assert mapped.cache.bytes == 0, "mapped pages belong to the system"
    with pytest.raises(ValueError, match="read-only"):
        mapped.get("sma", period=3)[0] = 1.0


def test_a_strategy_without_needs_is_probed(market, tmp_path):
    """An author's strategy is run over its grid, and its features are found on disk afterwards."""

    class Mine:
        version = "1"

        def signals(self, params, features):
            return (features.rsi(params["n"]) > features.higher("1w").get("rsi", period=2)).astype(np.int8)

    bars, space = market(1, 200), Space.from_spec({"n": {"type": "int", "low": 3, "high": 6}})
    made = precompute(bars, load_strategy(Mine), space, tmp_path)
    assert made.features == 4 + 2  # four RSIs; the weekly one raw and spread
    again = precompute(bars, load_strategy(Mine), space, tmp_path)
    assert (again.features, again.complete) == (5, True), "the spread weekly one is there: its source is not asked for"


def test_the_folder_has_a_limit(market, tmp_path):
    """Beyond the limit precomputing stops and says so; the run still gets every feature."""
    bars, space = market(1, 100), Space.from_spec(SPACES["sma_cross"])
    made = precompute(bars, load_strategy("sma_cross"), space, tmp_path, limit_bytes=2_000)
    assert not made.complete
    assert made.features == 2
    assert np.array_equal(Features(bars, cache=made.cache()).sma(12), Features(bars).sma(12), equal_nan=True)


def test_precomputing_is_asked_for_by_variable_and_changes_no_result(tmp_path, monkeypatch):
    """A study with GENESIS_PRECOMPUTE_FEATURES=1 gives the trials of one without, and leaves the features on disk."""
    import genesis

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GENESIS_HOME", str(tmp_path / "home"))
    study = {
        "data": {"source": "sample:IBM", "start": "2003-01-01", "end": "2004-12-31", "warmup_bars": 100},
        "strategy": "fibonacci",
        "costs": {"fee_bps": 5, "slippage_bps": 5},
        "objective": "sharpe",
        "parameters": SPACES["fibonacci"],
        "run": {"run_id": "plain", "max_trials": 12, "seed": 3},
    }
    plain = genesis.optimize(study, workers=0)
    assert not (tmp_path / "home").exists()
    monkeypatch.setenv("GENESIS_PRECOMPUTE_FEATURES", "1")
    ahead = genesis.optimize({**study, "run": {**study["run"], "run_id": "ahead"}}, workers=0)
    hashes = [[run.trial(number).fills_hash for number in range(12)] for run in (plain, ahead)]
    assert hashes[0] == hashes[1]
    assert len(set(hashes[0])) > 3
    files = list((tmp_path / "home" / "features").glob("*.npy"))
    assert sum("-rsi-" in file.name for file in files) == 4, "one for each period in the space"


def test_features_are_freed_with_their_owner(market):
    """Nothing in them points back in a circle: memory of a trial's features is free when the trial lets go of them."""
    features = Features(market(1, 100), cache=FeatureCache())
    features.higher("1w").get("rsi", period=3)
    watched = weakref.ref(features)
    gc.disable()
    try:
        del features
        assert watched() is None
    finally:
        gc.enable()


def test_the_last_value_is_held_for_its_key_only(market):
    """Another key makes the value anew and lets the one before go; names do not mix."""
    features = Features(market(1, 10))
    made = []

    def make(value):
        made.append(value)
        return value

    asked = [("a", 1), ("a", 1), ("b", 1), ("a", 2), ("a", 1)]
    assert [features.last(name, key, lambda k=(name, key): make(k)) for name, key in asked] == asked
    assert made == [("a", 1), ("b", 1), ("a", 2), ("a", 1)]
    assert features.sealed.last("b", 1, lambda: make("new")) == ("b", 1)


WORKER = """
import sys
from genesis.market.catalog import load_bars
from genesis.strategy.base import load_strategy
from genesis.strategy.features import FeatureCache, Features
features = Features(load_bars(sys.argv[1]), cache=FeatureCache(folder=sys.argv[2]))
strategy = load_strategy("fibonacci")
held = [need.fetch(features, strategy.defaults) for need in strategy.needs]
strategy.signals({}, features)
print(len(held), sum(float(array[array == array].sum()) != 0.0 for array in held), flush=True)
sys.stdin.readline()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory maps are read from /proc")
def test_workers_map_one_copy_of_the_features(tmp_path):
    """Two processes that use precomputed features map the same files, whole, and copy not one page of them."""
    source = "synthetic:seed=7,bars=20000,timeframe=1h"
    strategy = load_strategy("fibonacci")
    precompute(load_bars(source), strategy, Space.from_spec({"htf": "auto"}), tmp_path)
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, source, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    try:
        count = len(strategy.needs)
        assert [worker.stdout.readline().split() for worker in workers] == [[str(count), str(count)]] * 2
        maps = [
            {one.path: one for one in psutil.Process(worker.pid).memory_maps() if one.path.startswith(str(tmp_path))}
            for worker in workers
        ]
    finally:
        for worker in workers:
            worker.communicate("done")
    assert len(maps[0]) == count
    assert maps[0].keys() == maps[1].keys()
    for path in maps[0]:
        one, other = maps[0][path], maps[1][path]
        assert one.rss == other.rss >= 20_000 * 8, "each has read all of it"
        assert one.private_dirty == other.private_dirty == one.anonymous == other.anonymous == 0, "nothing is copied"
        assert one.pss + other.pss <= one.rss, "both together hold what one would"
