"""Folders of `trial_*.json` that earlier runs left: read many at once, keep what is good, report what is not.

A file is never changed. What cannot be used is refused by name and reason and the rest goes on.
"""

from __future__ import annotations

import gc
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from time import perf_counter
from typing import Any

from genesis.errors import ParameterError, StoreError
from genesis.trials.codec import json_loads
from genesis.trials.file_cache import active_cache, read_bytes
from genesis.trials.identity import trial_key

log = logging.getLogger(__name__)

_THREADS = 8  # they wait for the disk, not for the processor
_CHUNK = 256
# Seconds a file: above it the disk is being waited for and threads overlap the waits; below it the files are in memory
# and one thread is faster than eight that share an interpreter.
_SLOW_FILE = 200e-6
_PARAMETER_NAMES = ("parameters", "params")

Trial = dict[str, Any]


@dataclass(frozen=True, slots=True)
class TrialFile:
    """One readable file: its name, its content, and the key of its parameters."""

    name: str
    key: str
    trial: Trial


@dataclass(frozen=True, slots=True)
class Refused:
    """One file that could not be used, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class TrialFolder:
    """Everything found in a folder, in order of file names."""

    path: Path
    files: list[TrialFile] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)


def read_folder(folder: str | os.PathLike[str]) -> TrialFolder:
    """Read every `trial_*.json` of a folder, by several threads when the disk is slow.

    Honours `GENESIS_OPTIMIZER_JSON_CACHE` and `GENESIS_OPTIMIZER_JSON_CACHE_SIZE`. Raises `StoreError` if the folder
    itself cannot be listed.
    """
    path = Path(folder)
    names = _trial_names(path)
    found = TrialFolder(path)
    for item in _read_all(path, names):
        if isinstance(item, TrialFile):
            found.files.append(item)
        else:
            found.refused.append(item)
    return found


def load_existing_trials(run_dir: str | os.PathLike[str]) -> dict[str, Trial]:
    """Content of every usable `trial_*.json` by its trial key; of two with one key the later file name stays.

    A corrupt file is skipped with a warning in the log `genesis.trials.files`; a folder that is not there has none.
    """
    if not Path(run_dir).is_dir():
        return {}
    found = read_folder(run_dir)
    for refused in found.refused:
        log.warning("%s: skipped, %s", found.path / refused.name, refused.reason)
    return {item.key: item.trial for item in found.files}


def trial_parameters(trial: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The parameters a trial file speaks of (`parameters`, or `params`); None if there are none."""
    for name in _PARAMETER_NAMES:
        value = trial.get(name)
        if isinstance(value, Mapping):
            return value
    return None


def _trial_names(path: Path) -> list[str]:
    try:
        listed = os.listdir(path)  # noqa: PTH208 - 10,000 Paths cost more than reading the files
        return sorted(name for name in listed if name.startswith("trial_") and name.endswith(".json"))
    except OSError as exc:
        raise StoreError(f"{path}: cannot be listed ({exc.strerror}); give a folder of trial_*.json files") from exc


def _read_all(path: Path, names: list[str]) -> list[TrialFile | Refused]:
    cache = active_cache()
    read = read_bytes if cache is None else cache.read
    prefix = f"{path}{os.sep}"

    def part(start: int) -> list[TrialFile | Refused]:
        return [_read_one(prefix, name, read) for name in names[start : start + _CHUNK]]

    with _no_collection():
        begun = perf_counter()
        items = part(0)
        slow = (perf_counter() - begun) > _SLOW_FILE * _CHUNK
        starts = range(_CHUNK, len(names), _CHUNK)
        if slow and starts:
            with ThreadPoolExecutor(_THREADS, thread_name_prefix="genesis-read") as pool:
                items.extend(chain.from_iterable(pool.map(part, starts)))
        else:
            items.extend(chain.from_iterable(map(part, starts)))
    return items


@contextmanager
def _no_collection() -> Iterator[None]:
    # Everything read is kept, so looking for garbage among it is work for nothing: a third of the time at 10,000.
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _read_one(prefix: str, name: str, read: Callable[[str], bytes]) -> TrialFile | Refused:
    try:
        trial = json_loads(read(prefix + name))
    except OSError as exc:
        return Refused(name, f"cannot be read ({exc.strerror})")
    except ValueError as exc:
        return Refused(name, f"is not JSON ({exc})")
    except RecursionError:
        return Refused(name, "is nested too deeply")
    if type(trial) is not dict:
        return Refused(name, f"holds {type(trial).__name__}, not a mapping")
    params = trial_parameters(trial)
    if params is None:
        return Refused(name, "has no `parameters`")
    try:
        return TrialFile(name, trial_key(params), trial)
    except ParameterError as exc:
        return Refused(name, f"has parameters without identity ({exc})")
