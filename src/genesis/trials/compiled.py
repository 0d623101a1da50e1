"""Which code answers for identity: the compiled twin of a function if it was built and can be trusted, else Python.

The twin (`_fastkey.c`) is built when Genesis is installed where a C compiler is; without one nothing is missing but
speed. It gives the same answers, since whatever is unusual it hands to the Python function it stands before.
`GENESIS_PURE_PYTHON=1` keeps it out: read here, on the bottom floor, since the choice falls when identity is imported.
"""

from __future__ import annotations

import functools
import hashlib
import zlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar, cast

from genesis.errors import ConfigError
from genesis.settings import read_variable

Function = TypeVar("Function", bound=Callable[..., str])

PURE_PYTHON = "GENESIS_PURE_PYTHON"
_PROBES = tuple(b"genesis" * n for n in (0, 1, 8, 9, 17, 18, 50))  # around the lengths where padding takes a block more


def checksum(folder: Path) -> int:
    """Of the C source in a folder, as `hatch_build.py` gives it to a build, so that a stale one shows; 0 if none."""
    return zlib.crc32(b"".join(path.read_bytes() for path in sorted(folder.glob("_fastkey*.[ch]")))) & 0x7FFF_FFFF


def _load() -> tuple[ModuleType | None, str]:
    """The compiled module, and what `genesis doctor` says of it; None if Python serves."""
    try:
        if read_variable(PURE_PYTHON):
            return None, f"Python, since {PURE_PYTHON} asks for it"
    except ConfigError as error:
        return None, str(error)
    try:
        import genesis.trials._fastkey as _fastkey  # the compiled module itself, not the floor above it
    except ImportError as error:
        return None, f"Python: no compiled code here ({error})"
    if checksum(Path(__file__).parent) not in (0, _fastkey.SOURCE):  # a wheel has no source in it
        return None, "Python: the compiled code was built from another _fastkey.c"
    if any(_fastkey.sha256(probe, False) != hashlib.sha256(probe).hexdigest() for probe in _PROBES):
        return None, "Python: the compiled code hashes wrongly on this processor"
    return _fastkey, f"compiled, SHA-256 {'by the processor' if _fastkey.INSTRUCTIONS else 'in portable code'}"


_module, DESCRIPTION = _load()


def refused() -> bool:
    """True if the environment variable's value is absurd; `DESCRIPTION` says how, and so does every call."""
    return DESCRIPTION.startswith(f"{PURE_PYTHON}:")


def twin(
    dumps: Callable[..., bytes],
    options: int,
    cache: dict[bytes, str],
    *,
    limit: int,
    longest: int,
    precision: int | None = None,
) -> Callable[[Function], Function]:
    """Decorator: the compiled twin in place of a function of identity, which stays as its `__wrapped__`.

    The function itself if there is no twin. If the environment variable is absurd, every call says so.
    """

    def choose(function: Function) -> Function:
        if refused():

            def refuse(*_: Any, **__: Any) -> str:
                raise ConfigError(DESCRIPTION, problems=[DESCRIPTION])

            return cast(Function, functools.wraps(function)(refuse))
        if _module is None:
            return function
        stand_in = _module.Keyed(function, dumps, options, cache, limit, longest, precision)
        functools.update_wrapper(stand_in, function)
        return cast(Function, stand_in)

    return choose
