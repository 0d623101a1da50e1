"""The one place that decides how kernels are compiled, and where the machine code is kept.

Why each option is set:

- `cache=True`: compiling the engine takes seconds, loading it a fraction of one; every process after the first loads.
- `nogil=True`: a kernel touches no Python object, so threads may run kernels side by side.
- `fastmath=False`: reassociation would make equity depend on the CPU, and `x != x` is how a missing level is told.
- `error_model="numpy"`: no test for a zero divisor before each division; the kernels guard the divisions that need it.
- `boundscheck=False`: the doorway has checked every length; a test runs the loop with the check on.

Numba keys its disk cache by the file of the function that was called, and does not see an edit in a module which that
function calls. `jit` therefore stamps the entry with every Python file in the function's folder: a changed rule is
never answered with the code of the old one.
"""

from __future__ import annotations

import gc
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar, cast


@contextmanager
def collector_resting() -> Iterator[None]:
    """Let the garbage collector rest while much is made and nothing thrown away; it goes on as it was."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


with collector_resting():
    import numba

F = TypeVar("F", bound=Callable[..., Any])

OPTIONS: dict[str, Any] = {
    "cache": True,
    "nogil": True,
    "fastmath": False,
    "error_model": "numpy",
    "boundscheck": False,
}


def jit(function: F) -> F:
    """Compile an array loop: the options above, cached on disk, compiled at the first call."""
    _ensure_cache_folder(Path(function.__code__.co_filename).parent)
    dispatcher = numba.njit(**OPTIONS)(function)
    _stamp(dispatcher, Path(function.__code__.co_filename).parent)
    return cast("F", dispatcher)


def rule(function: F) -> F:
    """Compile a scalar rule that array loops call; it is always inlined into them, so it costs no call."""
    return cast("F", numba.njit(forceinline=True, **{**OPTIONS, "cache": False})(function))


@lru_cache(maxsize=1)
def ready() -> None:
    """Ready Numba for its first compiled call, which would else do the same with the garbage collector at work.

    Numba registers its implementations of NumPy there, and imports `scipy.linalg` for them: with a warm cache that is
    half of a new process's first result, and a sixth less of it with the collector resting.
    """
    from numba.core.registry import cpu_target

    with collector_resting():
        cpu_target.typing_context.refresh()
        cpu_target.target_context.refresh()


def _stamp(dispatcher: Any, folder: Path) -> None:
    index = getattr(dispatcher._cache, "_cache_file", None)
    if index is not None and hasattr(index, "_source_stamp"):
        index._source_stamp = (index._source_stamp, folder_stamp(folder))


@lru_cache(maxsize=64)
def folder_stamp(folder: Path) -> tuple[tuple[str, int, int], ...]:
    """Name, time and size of every Python file in a folder: what cached machine code is valid for."""
    found = []
    for path in sorted(folder.glob("*.py")):
        state = path.stat()
        found.append((path.name, state.st_mtime_ns, state.st_size))
    return tuple(found)


@lru_cache(maxsize=64)
def _ensure_cache_folder(folder: Path) -> None:
    """Point Numba at a private temporary folder when neither the package's nor the user's cache can be written."""
    config: Any = numba.config
    if config.CACHE_DIR or _writable(folder / "__pycache__") or _writable(_user_cache()):
        return
    config.CACHE_DIR = str(_private_temporary_folder())


def _user_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "numba"


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _private_temporary_folder() -> Path:
    """A folder of this user alone; cached code is executed, so one that others may write is not used."""
    folder = Path(tempfile.gettempdir()) / f"genesis-kernels-{os.getuid() if hasattr(os, 'getuid') else 'user'}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        state = folder.lstat()
        mine = not hasattr(os, "getuid") or state.st_uid == os.getuid()
        if stat.S_ISDIR(state.st_mode) and mine and not state.st_mode & 0o022:
            return folder
    except OSError:
        pass
    return Path(tempfile.mkdtemp(prefix="genesis-kernels-"))
