"""Linear algebra on one thread, so that what comes out of it does not hang on the number of processors.

NumPy's BLAS starts as many threads as there are processors; the last bits of a product change with their number, and
with them proposals. While workers keep the processors busy these threads wait for each other as well: the fit of a
surface over ten columns took 15 ms instead of 0.4. threadpoolctl sets the number.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from typing import Any

_ASKED = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
_lock = threading.Lock()
_holders = 0
_before: list[int] = []


@cache
def _libraries() -> list[Any]:
    """threadpoolctl's controllers of the BLAS libraries in this process; its own contexts take half as long again."""
    from threadpoolctl import ThreadpoolController

    return list(ThreadpoolController().select(user_api="blas").lib_controllers)


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """NumPy's linear algebra on one thread meanwhile.

    The number is the whole process's: the first who wants it sets it, the last gives back what was there before.
    """
    global _holders, _before
    with _lock:
        if not _holders:
            _before = [library.num_threads for library in _libraries()]
            _set([1] * len(_before), _before)
        _holders += 1
    try:
        yield
    finally:
        with _lock:
            _holders -= 1
            if not _holders:
                _set(_before, [1] * len(_before))


def keep_one_blas_thread() -> None:
    """For a worker's whole life, unless the environment asks for a number: workers have a processor each."""
    if not _asked():
        _set([1] * len(_libraries()), [])


def blas_as_in_workers() -> AbstractContextManager[Any]:
    """For trials in this process, so that they come out as in a worker."""
    return nullcontext() if _asked() else one_blas_thread()


def _set(numbers: list[int], now: list[int]) -> None:
    if numbers != now:
        for library, number in zip(_libraries(), numbers, strict=True):
            library.set_num_threads(number)


def _asked() -> bool:
    return any(os.environ.get(name) for name in _ASKED)


def _after_fork() -> None:
    """Whoever held the lock is not in the child."""
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
