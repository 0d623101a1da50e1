"""Genesis: search a trading strategy's parameters, backtest each set once, keep every result, believe the right ones."""

__version__ = "0.1.0"
