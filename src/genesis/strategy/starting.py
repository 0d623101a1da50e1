"""The files that `genesis new strategy` writes: a documented strategy that trades, and a test of its law."""

from __future__ import annotations

import keyword
import re
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from genesis.errors import StoreError, StrategyError

Way = Literal["array", "compiled", "python"]

_HEAD = '''"""{title}: {story}

Backtest it:    genesis backtest ./{module}.py:{cls} --data sample:IBM -p fast=10 -p slow=40
Search it:      strategy: ./{module}.py:{cls}   in a study file, then genesis run study.yaml
Test it:        python -m pytest test_{module}.py
"""

from __future__ import annotations

{imports}


class {cls}:
    """Long when the fast mean crosses above the slow one; left when it falls below, on a stop, or after a while."""

    # What to search when a study names no parameters of its own. Same words as in a study file.
    space = {{
        "fast": {{"type": "int", "low": 5, "high": 30}},
        "slow": {{"type": "int", "low": 20, "high": 120}},
        "stop_atr": {{"type": "float", "low": 1.0, "high": 6.0, "step": 0.5}},
    }}
'''

_ARRAY = '''
    def signals(self, params, features):
        """One value per bar, from bars up to and including it; the position is the engine's business.

        `params` is the nested mapping of one trial. `features` computes and keeps indicators: features.sma(20),
        features.get("bollinger_position", period=20), features.higher("1w").get("rsi"), features.bars.close.
        """
        fast, slow = features.sma(int(params["fast"])), features.sma(int(params["slow"]))
        atr = features.atr(14)
        above = fast > slow
        crossed = np.zeros(features.n, dtype=bool)
        crossed[1:] = above[1:] & (fast[:-1] <= slow[:-1])
        return Signals(
            entry=np.where(crossed & (atr > 0.0), 1, 0).astype(np.int8),  # 1 long, -1 short, 0 nothing
            exit=np.where(above, 0, 1).astype(np.int8),  # 1 leaves a long, 2 a short, 3 both
            stop_distance=np.where(atr > 0.0, float(params.get("stop_atr", 3.0)) * atr, 0.0),  # in price units
            rules=Rules(max_hold_bars=60),
        )
'''

_COMPILED = '''
    # The numbers that `signal` gets as p, in this order.
    parameters = ("fast", "slow", "stop_atr")

    def columns(self, params, features):
        """The rows of f: float64 arrays of one value per bar."""
        return [features.sma(int(params["fast"])), features.sma(int(params["slow"])), features.atr(14)]

    def rules(self, params):
        """What depends on the position."""
        return Rules(max_hold_bars=60)

    @staticmethod
    def signal(p, f, i):
        """Compiled, and called at every bar i; read f[:, j] at j <= i only. Plain arithmetic, no Python objects.

        Returns entry (1 long, -1 short, 0 nothing), exit (1 leaves a long, 2 a short), size, stop distance.
        """
        above = f[0, i] > f[1, i]
        crossed = i > 0 and above and f[0, i - 1] <= f[1, i - 1]
        ready = f[2, i] > 0.0
        return 1 if crossed and ready else 0, 0 if above else 1, 1.0, p[2] * f[2, i] if ready else 0.0
'''

_PYTHON = '''
    def rules(self, params):
        """What depends on the position."""
        return Rules(max_hold_bars=60)

    def on_bar(self, window):
        """Called at the close of every bar with the market so far: window.close[-1] is this bar's close.

        Returns entry (1 long, -1 short, 0 nothing), exit (1 leaves a long, 2 a short), size, stop distance; or None.
        """
        params = window.params
        fast = window.feature("sma", period=int(params["fast"]))
        slow = window.feature("sma", period=int(params["slow"]))
        atr = window.feature("atr", period=14)[-1]
        above = fast[-1] > slow[-1]
        crossed = len(window) > 1 and above and fast[-2] <= slow[-2]
        ready = atr > 0.0
        stop = float(params.get("stop_atr", 3.0)) * atr if ready else 0.0
        return int(crossed and ready), 0 if above else 1, 1.0, stop
'''

_TEST = '''"""{cls} trades, and never reads a bar that has not happened yet."""

from pathlib import Path

import genesis
import numpy as np
import pytest

STRATEGY = f"{{Path(__file__).with_name('{module}.py')}}:{cls}"
PARAMS = {{"fast": 10, "slow": 40, "stop_atr": 3.0}}


@pytest.fixture(scope="module")
def bars():
    return genesis.load_bars("sample:IBM", start="2003-01-01", end="2005-12-31")


def test_it_trades(bars):
    """The parameters above make trades and a defined result."""
    bt = genesis.backtest(bars, STRATEGY, PARAMS, costs=genesis.Costs(fee_bps=10, slippage_bps=5))
    assert bt.metrics["trades"] >= 3
    assert np.isfinite(bt.equity).all()


@pytest.mark.parametrize("cut", [1, 41, 300, 555])
def test_it_does_not_look_ahead(bars, cut):
    """Cut the data after a bar, and no signal at or before it changes."""
    strategy = genesis.load_strategy(STRATEGY)
    whole = strategy.signals(PARAMS, genesis.Features(bars))
    part = strategy.signals(PARAMS, genesis.Features(bars.slice(0, cut)))
    for name in ("entry", "exit", "size", "stop_distance", "target_distance", "trail_distance"):
        full, short = getattr(whole, name), getattr(part, name)
        assert short is None or np.array_equal(full[:cut], short, equal_nan=True), name
'''

_BODIES: dict[Way, tuple[str, str]] = {
    "array": (_ARRAY, "import numpy as np\nfrom genesis import Rules, Signals"),
    "compiled": (_COMPILED, "from genesis import Rules"),
    "python": (_PYTHON, "from genesis import Rules"),
}
_STORIES: dict[Way, str] = {
    "array": "arrays in, arrays out.",
    "compiled": "a function of one bar, compiled into the loop.",
    "python": "plain Python, bar by bar; the easiest to write and the slowest to run.",
}


def starting_files(name: str, way: Way = "array") -> dict[str, str]:
    """The files of a new strategy by name: the strategy and its test.

    `name` may be written as words, snake_case or CamelCase. Raises `StrategyError` when no Python name comes of it.
    """
    words = re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])", name)
    module = "_".join(word.lower() for word in words)
    cls = "".join(word[:1].upper() + word[1:] for word in words)
    usable = re.fullmatch(r"[\w\s-]+", name) and module.isidentifier() and not keyword.iskeyword(module)
    if not usable or cls in ("Rules", "Signals"):
        raise StrategyError(f"{name!r} makes no name for a Python class; use letters, such as my_strategy")
    body, imports = _BODIES[way]
    facts = {"title": cls, "story": _STORIES[way], "module": module, "cls": cls, "imports": imports}
    return {f"{module}.py": _HEAD.format(**facts) + body, f"test_{module}.py": _TEST.format(**facts)}


def _is_installed(module: str) -> bool:
    """Whether the name is one of Python's own modules, or of an installed package."""
    spec = None if module in sys.stdlib_module_names else find_spec(module)
    places = {"site-packages", "dist-packages"}
    return module in sys.stdlib_module_names or bool(spec and spec.origin and places & set(Path(spec.origin).parts))


def write_starting_files(name: str, folder: str | Path = ".", way: Way = "array") -> list[Path]:
    """Write the files of a new strategy and return their paths; refuses to replace one that is there."""
    folder = Path(folder)
    files = starting_files(name, way)
    there = [file for file in files if (folder / file).exists()]
    if there:
        raise StrategyError(f"{folder / there[0]} exists and is not replaced; choose another name or folder")
    module = next(iter(files)).removesuffix(".py")
    if _is_installed(module):
        raise StrategyError(f"{module} is the name of a Python module, which the file would hide; choose another name")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file, text in files.items():
            with (folder / file).open("x", encoding="utf-8") as out:
                out.write(text)
    except OSError as error:
        reason = error.strerror or str(error)
        raise StoreError(f"{folder}: cannot be written ({reason}); name another with --folder") from error
    return [folder / file for file in files]
