"""Every exception Genesis raises on purpose, and the exit code of each branch.

    GenesisError                 1   anything below; catch this one to catch them all
    ├── ConfigError              2   a study file, flag or environment variable cannot be used
    │   ├── SpaceError           2   a parameter specification cannot be searched
    │   └── ParameterError       2   a parameter value has no identity (NaN, an unknown type); also a ValueError
    ├── DataError                3   bars cannot be found, read or believed
    │   └── BadBarsError         3   bars were read and break a rule; names the first rows
    ├── StrategyError            4   a strategy or callable cannot be loaded or broke its contract
    ├── StoreError               5   results cannot be kept or read
    │   ├── CorruptStoreError    5   the file is there and is not a readable store
    │   └── StoreBusyError       5   another coordinator holds the run
    ├── ResumeError              6   the stored study and the one asked for differ
    ├── RunFailedError           7   the run stopped because too many trials failed
    └── MissingExtraError        8   an optional package is needed; the message is the line to type

Exit code 0 is success, 130 an interrupt (Ctrl-C) after a clean stop. A message says what came, what is
allowed and what to do. Every exception survives pickling with its attributes, since it crosses processes.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

SHOWN = 80  # characters of a bad value that a message repeats
SHOWN_PATH = 300
_LONG = re.compile(r"(?<!\w)(?:'[^'\n]{81,}'|\"[^\"\n]{81,}\")(?!\w)|\[[^\[\]\n]{81,}\]|\{[^{}\n]{81,}\}")


class GenesisError(Exception):
    """Root of the tree; `details` are the attributes a subclass wants kept across processes.

    A quoted value, a list or a mapping that is long is shortened in the message, wherever it came from.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, **details: Any) -> None:
        message = _LONG.sub(_shortened, message)
        super().__init__(message)
        self.message = message
        self.details = details

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.message, self.details)

    def __str__(self) -> str:
        return self.message


def _shortened(found: re.Match[str]) -> str:
    text = found.group()
    limit = SHOWN_PATH if "/" in text else SHOWN
    return text if len(text) <= limit else f"{text[: limit - 2]}…{text[-1]}"


def _rebuild(kind: type[GenesisError], message: str, details: dict[str, Any]) -> GenesisError:
    return kind(message, **details)


class ConfigError(GenesisError, ValueError):
    """A study file, flag or environment variable cannot be used; a `ValueError` too, as callers of a library expect."""

    exit_code = 2


class SpaceError(ConfigError):
    """A parameter specification cannot be searched."""


class ParameterError(ConfigError, ValueError):
    """A parameter value has no identity: NaN, infinity, an unknown type, a key that is not text."""


class DataError(GenesisError):
    """Bars cannot be found, read or believed."""

    exit_code = 3


class BadBarsError(DataError):
    """Bars were read and break a rule; `details["problems"]` lists them."""


class StrategyError(GenesisError):
    """A strategy or callable cannot be loaded or broke its contract."""

    exit_code = 4


class StoreError(GenesisError):
    """Results cannot be kept or read."""

    exit_code = 5


class CorruptStoreError(StoreError):
    """The file is there and is not a readable store."""


class StoreBusyError(StoreError):
    """Another coordinator holds the run."""


class ResumeError(GenesisError):
    """The stored study and the one asked for differ; `details["differences"]` names them."""

    exit_code = 6


class RunFailedError(GenesisError):
    """The run stopped because too many trials failed."""

    exit_code = 7


class MissingExtraError(GenesisError):
    """An optional package is needed; the message is the line to type."""

    exit_code = 8
