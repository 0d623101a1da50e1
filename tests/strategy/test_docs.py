"""What the author's guide and the strategy's page say is run and compared."""

from __future__ import annotations

import json
import re
import shutil
import struct
from pathlib import Path

import pytest

import genesis
from genesis.strategy.base import load_strategy
from genesis.strategy.feature_table import TABLE
from genesis.strategy.fibonacci import Fibonacci
from genesis.strategy.fibonacci_parameters import PARAMETERS
from genesis.strategy.gates import GATES

ROOT = Path(__file__).parents[2]
STRATEGIES = (ROOT / "docs" / "strategies.md").read_text(encoding="utf-8")
FIBONACCI = (ROOT / "docs" / "fibonacci.md").read_text(encoding="utf-8")


def blocks(text, language):
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.S)


def test_the_three_strategies_of_the_guide_trade_alike(tmp_path, capsys):
    """The blocks of the guide, in one file, print one hash three times."""
    python = [block for block in blocks(STRATEGIES, "python") if not block.startswith("# my_")]
    assert len(python) == 4
    path = tmp_path / "guide.py"
    path.write_text("\n".join(python))
    load_strategy(f"{path}:Cross")  # runs the file, the last block included
    lines = capsys.readouterr().out.split("\n")[:3]
    assert [line.split()[0] for line in lines] == ["Cross", "CrossCompiled", "CrossPython"]
    assert len({line.split()[-1] for line in lines}) == 1
    assert float(lines[0].split()[1]) > 10


@pytest.mark.filterwarnings("ignore")  # the other package's own, about pandas
def test_another_backtester_is_searched_as_the_guide_shows(tmp_path, monkeypatch):
    """The backtesting.py example is a study that runs and finds a best trial."""
    monkeypatch.chdir(tmp_path)
    (block,) = [block for block in blocks(STRATEGIES, "python") if block.startswith("# my_backtest.py")]
    (study,) = [block for block in blocks(STRATEGIES, "yaml") if block.startswith("# study.yaml")]
    Path("my_backtest.py").write_text(block)
    Path("study.yaml").write_text(study.replace("max_trials: 60", "max_trials: 4"))
    run = genesis.optimize("study.yaml", workers=0)
    assert run.states()["complete"] == 4, run.trial(0).reason
    assert run.best.metrics["trades"] >= 5


def test_a_command_is_searched_as_the_guide_shows(tmp_path, monkeypatch):
    """The program and its study, as printed."""
    monkeypatch.chdir(tmp_path)
    (block,) = [block for block in blocks(STRATEGIES, "python") if block.startswith("# my_program.py")]
    (study,) = [block for block in blocks(STRATEGIES, "yaml") if block.startswith("command:")]
    Path("my_program.py").write_text(block)
    python = shutil.which("python3") or shutil.which("python")
    text = study.replace("[python,", f"[{json.dumps(python)},").replace("max_trials: 50", "max_trials: 3")
    Path("study.yaml").write_text(text)
    run = genesis.optimize("study.yaml", workers=0)
    assert run.states()["complete"] == 3, run.trial(0).reason


def test_the_tables_are_those_of_the_code():
    """Every parameter, feature and gate is on its page, as the code has it."""
    assert PARAMETERS.markdown() in FIBONACCI
    for feature in TABLE.values():
        assert f"| `{feature.name}` |" in STRATEGIES
        assert feature.meaning in STRATEGIES
    asked = [FIBONACCI.index(f"| `{gate}` |") for gate in GATES]
    assert asked == sorted(asked)


def test_the_picture_shows_the_trade_that_the_page_describes():
    """The figures in the page's words are those of the backtest, and the picture is there."""
    png = (ROOT / "docs" / "img" / "fibonacci-trade.png").read_bytes()
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", png[16:24])
    assert width >= 1000
    assert height >= 700
    bars = genesis.load_bars("sample:IBM", start="2003-01-01", end="2010-12-31")
    bt = genesis.backtest(bars, "fibonacci", {}, costs=genesis.Costs(fee_bps=10, slippage_bps=5))
    trade, fills = bt.trades.iloc[4], bt.fills[bt.fills.trade == 4]
    decided = int(trade.entry_bar) - 1
    shown = Fibonacci().explain({}, genesis.Features(bars))
    assert f"{bars.index[decided]:%d %B %Y}" in FIBONACCI
    assert f"{shown.swing_low[decided]:.2f} up to {shown.swing_high[decided]:.2f}" in FIBONACCI
    assert (shown.confidence_long[decided - 2 : decided + 1] > 0.35).all()
    assert shown.confidence_long[decided - 3] <= 0.35
    assert fills.reason.tolist() == ["entry", "partial", "partial", "max_hold"]
    assert bt.blocked["missing_features"] == 113


def test_the_example_strategy_trades():
    """examples/my_strategy.py loads, trades, and its space holds what it reads."""
    bars = genesis.load_bars("sample:IBM", start="2003-01-01", end="2006-12-31")
    strategy = load_strategy(f"{ROOT / 'examples' / 'my_strategy.py'}:MyStrategy")
    bt = genesis.backtest(bars, strategy, {}, costs=genesis.Costs(fee_bps=10, slippage_bps=5))
    assert bt.metrics["trades"] >= 10
    params = {"entry": {"rsi_period": 3, "rsi_below": 20.0}, "exit": {"rsi_above": 60.0, "stop_atr": 2.0}}
    space = genesis.Space.from_spec(strategy.space)
    assert {column.path for column in space.columns} == {f"{g}.{k}" for g, names in params.items() for k in names}
    other = genesis.backtest(bars, strategy, params, costs=genesis.Costs(fee_bps=10, slippage_bps=5))
    assert other.fills_hash != bt.fills_hash


@pytest.mark.parametrize("name", ["sma_cross", "fibonacci"])
def test_a_study_without_parameters_may_take_the_strategys_own(name):
    """The declared space decodes to parameters the strategy accepts."""
    strategy = load_strategy(name)
    space = genesis.Space.from_spec(strategy.space)
    bars = genesis.load_bars("sample:MSFT", start="2003-01-01", end="2004-12-31")
    point = [c.high if c.choices is None else 0.0 for c in space.columns]
    assert strategy.signals(space.decode(point), genesis.Features(bars)).entry.any()
