"""Contents of small files read again and again, by path, size and modification time.

Switched on by `GENESIS_OPTIMIZER_JSON_CACHE=1`; `GENESIS_OPTIMIZER_JSON_CACHE_SIZE` is the number of files (256). Bytes
are kept and parsed at each use: a caller that changes what it got cannot change what the next one gets, and parsing is
cheaper than the deep copy that would be needed otherwise.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Mapping

from genesis.settings import read_settings

CACHE_VARIABLE = "GENESIS_OPTIMIZER_JSON_CACHE"
SIZE_VARIABLE = "GENESIS_OPTIMIZER_JSON_CACHE_SIZE"
_FIRST_READ = 65_536


def read_bytes(path: str) -> bytes:
    """A whole file with three system calls, where `Path.read_bytes` takes eight."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = os.read(descriptor, _FIRST_READ)
        if len(data) < _FIRST_READ:
            return data
        parts = [data]
        while part := os.read(descriptor, 1 << 20):
            parts.append(part)
        return b"".join(parts)
    finally:
        os.close(descriptor)


class FileCache:
    """Bytes of the `size` files read last; a file whose size or mtime_ns changed is read again. Thread-safe."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.hits = 0
        self.misses = 0
        self._kept: OrderedDict[str, tuple[int, int, bytes]] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, path: str) -> bytes:
        """The file's bytes; raises `OSError` as opening it would."""
        before = os.stat(path)  # noqa: PTH116 - a Path costs more than the call
        with self._lock:
            kept = self._kept.get(path)
            if kept is not None and kept[0] == before.st_size and kept[1] == before.st_mtime_ns:
                self._kept.move_to_end(path)
                self.hits += 1
                return kept[2]
        data = read_bytes(path)
        with self._lock:
            self.misses += 1
            if len(data) == before.st_size:  # else it is being written: not worth keeping
                self._kept[path] = (before.st_size, before.st_mtime_ns, data)
                self._kept.move_to_end(path)
            while len(self._kept) > self.size:
                self._kept.popitem(last=False)
        return data

    def clear(self) -> None:
        """Forget every file."""
        with self._lock:
            self._kept.clear()

    def __len__(self) -> int:
        return len(self._kept)


_cache: FileCache | None = None


def active_cache(environment: Mapping[str, str] | None = None) -> FileCache | None:
    """The process's cache if the environment asks for one, of the size it asks for; None if it does not.

    Raises `ConfigError` naming the variable if its value is absurd.
    """
    global _cache
    settings = read_settings(environment)
    if not settings.json_cache:
        return None
    if _cache is None or _cache.size != settings.json_cache_size:
        _cache = FileCache(settings.json_cache_size)
    return _cache
