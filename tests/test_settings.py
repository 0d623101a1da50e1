"""The environment is read in one place; what makes no sense is refused by the variable's name."""

from __future__ import annotations

from pathlib import Path

import pytest

from genesis.errors import ConfigError
from genesis.settings import VARIABLES, Settings, misspelt_variables, read_settings

ROOT = Path(__file__).parents[1]


def test_an_empty_environment_leaves_everything_to_the_study() -> None:
    assert read_settings({}) == Settings()
    assert read_settings({variable.name: " " for variable in VARIABLES}) == Settings()


@pytest.mark.parametrize(("text", "value"), [("1", True), ("TRUE", True), ("on", True), ("0", False), ("no", False)])
def test_a_switch_has_the_usual_words(text: str, value: bool) -> None:
    assert read_settings({"GENESIS_FAST_WINDOW": text}).fast_window is value


def test_each_variable_fills_its_own_setting() -> None:
    env = {
        "GENESIS_OPTIMIZER_JSON_CACHE": "1",
        "GENESIS_OPTIMIZER_JSON_CACHE_SIZE": "512",
        "GENESIS_FAST_WINDOW": "1",
        "GENESIS_PRECOMPUTE_FEATURES": "1",
        "GENESIS_MAX_CONCURRENT": "4",
        "GENESIS_RANDOM_SEED": "42",
        "OPTUNA_MAX_DUPLICATE_STREAK": "7",
        "GENESIS_PURE_PYTHON": "on",
    }
    assert set(env) == {variable.name for variable in VARIABLES}
    assert read_settings(env) == Settings(
        json_cache=True,
        json_cache_size=512,
        fast_window=True,
        precompute_features=True,
        max_concurrent=4,
        random_seed=42,
        max_duplicate_streak=7,
        pure_python=True,
    )


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("GENESIS_MAX_CONCURRENT", "0"),
        ("GENESIS_MAX_CONCURRENT", "-3"),
        ("GENESIS_MAX_CONCURRENT", "1e3"),
        ("GENESIS_MAX_CONCURRENT", "100000"),
        ("GENESIS_MAX_CONCURRENT", "eight"),
        ("GENESIS_MAX_CONCURRENT", "٨"),
        ("GENESIS_RANDOM_SEED", "-1"),
        ("GENESIS_RANDOM_SEED", "4294967296"),
        ("GENESIS_RANDOM_SEED", "9" * 5_000),
        ("GENESIS_RANDOM_SEED", "4.2"),
        ("GENESIS_OPTIMIZER_JSON_CACHE", "maybe"),
        ("GENESIS_OPTIMIZER_JSON_CACHE", "2"),
        ("GENESIS_OPTIMIZER_JSON_CACHE_SIZE", "0"),
        ("GENESIS_OPTIMIZER_JSON_CACHE_SIZE", "10GB"),
        ("GENESIS_FAST_WINDOW", "yess"),
        ("GENESIS_PRECOMPUTE_FEATURES", "nan"),
        ("OPTUNA_MAX_DUPLICATE_STREAK", "0"),
        ("GENESIS_PURE_PYTHON", "perhaps"),
    ],
)
def test_an_absurd_value_is_refused_by_name(name: str, text: str) -> None:
    with pytest.raises(ConfigError, match=f"^{name}: .* is not "):
        read_settings({name: text})


def test_all_absurd_values_are_named_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        read_settings({"GENESIS_RANDOM_SEED": "x", "GENESIS_FAST_WINDOW": "x"})
    assert len(caught.value.details["problems"]) == 2


def test_a_variable_that_is_nearly_ours_is_noted() -> None:
    (note,) = misspelt_variables({"GENESIS_RANDOMSEED": "1", "GENESIS_HOME": "/x", "PATH": "/bin"})
    assert note == "GENESIS_RANDOMSEED: is not read; did you mean GENESIS_RANDOM_SEED?"


def test_the_page_names_every_variable_and_what_it_allows() -> None:
    page = (ROOT / "docs" / "environment.md").read_text(encoding="utf-8")
    for variable in VARIABLES:
        row = f"| `{variable.name}` | {variable.meaning} | {variable.allowed} |"
        assert row in page, row
