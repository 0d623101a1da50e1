"""Run what calls an author's code in a process of its own: code that ends its process must not end the command."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import sys
import traceback
import warnings
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from genesis.errors import GenesisError, StrategyError

T = TypeVar("T")


def guarded(function: Callable[[], T], name: str) -> T:
    """What the function returns or raises, computed in a forked child; the result must survive pickling.

    Raises `StrategyError` if the child ended before it answered (`os._exit`, a crash of compiled code): `name` is whose
    code it ran. Where processes are not forked (macOS, Windows) it is called here, without protection: a new process
    would load everything again.
    """
    if sys.platform != "linux":
        return function()
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=_answer, args=(function, theirs))
    with warnings.catch_warnings():
        # The child computes and speaks through its own pipe; it touches nothing that another thread may hold.
        warnings.filterwarnings("ignore", message=".*multi-threaded.*fork.*", category=DeprecationWarning)
        child.start()
    theirs.close()
    try:
        fine, said = ours.recv()
        value = _received(ours, said)
    except EOFError:
        child.join()
        raise StrategyError(
            f"{name}: its code ended the process ({_exit_words(child.exitcode)}) before a trial was over; a strategy "
            "returns its signals or raises an error: look for os._exit, or for compiled code that crashes"
        ) from None
    finally:
        child.kill()
        child.join()
        ours.close()
    if not fine:
        raise value
    return value  # type: ignore[no-any-return]


def _received(pipe: Connection, said: str) -> Any:
    """What the child sends after its words; an exception that cannot be passed on is quoted by a `RuntimeError`."""
    try:
        return pipe.recv()
    except Exception as error:  # an author's exception may do anything
        raise RuntimeError(said or "the result cannot be passed on") from error


def _answer(function: Callable[[], object], pipe: Connection) -> None:
    said = ""
    try:
        value: object = function()
    except BaseException as error:  # noqa: BLE001 - it is raised again where the command is
        value, said = error, traceback.format_exc()
        if not isinstance(error, GenesisError):
            error.add_note(said)
    with contextlib.suppress(OSError):  # nobody listens any more: Ctrl-C ended the command
        pipe.send((not said, said))
        with contextlib.suppress(Exception):  # what cannot be pickled is not sent
            pipe.send(value)


def _exit_words(code: int | None) -> str:
    if code is None or code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {-code}, {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"
