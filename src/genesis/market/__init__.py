"""Bars: reading, checking, resampling and finding market data."""
