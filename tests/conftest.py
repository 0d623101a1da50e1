"""A plain pytest runs the suite too: the limit on a test's time is pytest-timeout's, and without it there is none."""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """Know the setting `timeout` where the plugin that reads it is not installed."""
    if not pluginmanager.hasplugin("timeout"):
        parser.addini("timeout", "seconds that a test may take; install pytest-timeout to have it kept")
