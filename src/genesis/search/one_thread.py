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
_lock = threading.RLock()


@cache
def _controller() -> Any:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """NumPy's linear algebra on one thread meanwhile.

    The number is the whole process's, and threadpoolctl lets one thread at a time change it: another one waits here.
    """
    with _lock, _controller().limit(limits=1, user_api="blas"):
        yield


def keep_one_blas_thread() -> None:
    """For a worker's whole life, unless the environment asks for a number: workers have a processor each."""
    if not _asked():
        _controller().limit(limits=1, user_api="blas")


def blas_as_in_workers() -> AbstractContextManager[Any]:
    """For trials in this process, so that they come out as in a worker; no other thread waits for them."""
    return nullcontext() if _asked() else _controller().limit(limits=1, user_api="blas")


def _asked() -> bool:
    return any(os.environ.get(name) for name in _ASKED)


def _after_fork() -> None:
    """Whoever held the lock is not in the child."""
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
