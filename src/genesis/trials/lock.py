"""One writer per run: a lock the kernel releases when its process dies, however it dies."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Final

from genesis.errors import StoreBusyError, StoreError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]
_LOCKS = fcntl is not None

# POSIX record locks, not flock: forked workers must not inherit the lock and keep a dead coordinator's run busy. They
# say nothing inside one process, so the process keeps its own list.
_held: Final[dict[Path, int]] = {}
_guard = threading.Lock()


class RunLock:
    """Held from construction to `release`; raises `StoreBusyError` naming the process that holds it."""

    def __init__(self, path: Path) -> None:
        self._path = path.absolute()
        self._pid = os.getpid()
        with _guard:
            if _held.get(self._path) == self._pid:
                raise StoreBusyError(f"{path.parent}: this process has the run open already; close it first")
            self._fd = self._take()
            _held[self._path] = self._pid

    def release(self) -> None:
        """Let the next writer in; a second call does nothing."""
        if self._fd < 0 or self._pid != os.getpid():
            return
        with _guard:
            os.close(self._fd)
            self._fd = -1
            _held.pop(self._path, None)

    def _take(self) -> int:
        try:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as exc:
            raise StoreError(f"{self._path}: {exc.strerror}; check the folder's permissions") from exc
        if not _LOCKS:
            return fd
        try:
            fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            holder = os.read(fd, 32).decode("ascii", "replace").strip() or "unknown"
            os.close(fd)
            raise StoreBusyError(
                f"{self._path.parent}: another coordinator holds the run (process {holder}); wait for it or stop it"
            ) from exc
        os.ftruncate(fd, 0)
        os.write(fd, f"{self._pid}\n".encode())
        return fd
