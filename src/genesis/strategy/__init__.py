"""Strategies and the causal features they read."""
