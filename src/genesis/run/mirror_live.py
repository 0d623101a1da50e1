"""Mirror a run into an Optuna storage while it goes on, in a process of its own that the search never waits for.

The process reads what is kept, as `genesis show` does, and writes it in batches at a low priority. It cannot lose or
change a result: when the storage fails, the search goes on, a warning says so, and `genesis export` catches up later.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

EVERY_SECONDS = 1.0
RETRY_SECONDS = 5.0
CLOSING_SECONDS = 60.0  # how long the end of a run waits for its last trials to be mirrored


def hidden(url: str) -> str:
    """The URL without its password, for showing."""
    password = _password(url)
    return url.replace(f":{password}@", ":***@", 1) if password else url


def storable(url: str | None) -> str | None:
    """The URL as a run may keep it: None if it has a password, which is not written anywhere."""
    return None if url is None or _password(url) else url


def _password(url: str) -> str | None:
    return None if url.startswith("journal:") else urlsplit(url).password


class LiveMirror:
    """The mirroring process of one session; `problem` is None, or why the mirror is behind, in words."""

    def __init__(self, run_dir: Path, url: str) -> None:
        self.url = url
        self.problem: str | None = None
        self.added = 0
        self._told: str | None = None
        # The URL goes through the pipe: it may hold a password, and every user sees command lines.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "genesis.run.mirror_live"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._send(json.dumps({"run": str(run_dir), "url": url}) + "\n")
        self._reader = threading.Thread(target=self._read, name="genesis-mirror", daemon=True)
        self._reader.start()

    def news(self) -> str | None:
        """A problem that was not told yet, as one warning; None when there is none."""
        problem = self.problem
        if problem is None or problem == self._told:
            return None
        self._told = problem
        return self.words(problem)

    def words(self, problem: str) -> str:
        """A problem as a warning."""
        return f"the mirror {hidden(self.url)} is behind: {problem}. No result is lost"

    def close(self) -> dict[str, Any]:
        """Let the process mirror the last trials and end; what came of it, for the run's summary."""
        self._hang_up()
        try:
            code = self._process.wait(CLOSING_SECONDS)
            if code:
                self.problem = self.problem or f"its process ended with exit code {code}"
        except subprocess.TimeoutExpired:
            self.problem = f"the last trials were not taken within {CLOSING_SECONDS:g} seconds"
            self.kill()
        self._reader.join(5.0)
        if self._process.stdout is not None:
            self._process.stdout.close()
        return {"url": hidden(self.url), "added": self.added, "problem": self.problem}

    def kill(self) -> None:
        """End the process at once."""
        self._hang_up()
        self._process.kill()
        self._process.wait()

    def _send(self, text: str) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(text)
            self._process.stdin.flush()
        except OSError as error:
            self.problem = f"its process did not start: {error}"

    def _hang_up(self) -> None:
        try:
            if self._process.stdin is not None:
                self._process.stdin.close()
        except OSError:
            self.problem = self.problem or "its process ended early"

    def _read(self) -> None:
        assert self._process.stdout is not None
        for text in self._process.stdout:
            said = json.loads(text)
            self.added = said["added"]
            self.problem = said["problem"]


def main() -> None:
    """Follow the run named on the first line of stdin until stdin closes, then take its last trials and end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the run decides when it ends
    if hasattr(os, "nice"):
        os.nice(10)
    asked = json.loads(sys.stdin.readline())
    ended = threading.Event()

    def listen() -> None:
        sys.stdin.read()
        ended.set()

    threading.Thread(target=listen, daemon=True).start()
    _follow(Path(asked["run"]), asked["url"], ended)


def _follow(run_dir: Path, url: str, ended: threading.Event) -> None:
    added, problem = 0, None
    while True:
        last = ended.is_set()
        before = added, problem
        start = time.perf_counter()
        try:
            added += _round(run_dir, url)
            problem = None
        except Exception as error:  # noqa: BLE001 - whatever a storage does must not end the mirror
            problem = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
            password = _password(url)
            problem = problem.replace(password, "***") if password else problem
        if last or (added, problem) != before:
            sys.stdout.write(json.dumps({"added": added, "problem": problem}) + "\n")
            sys.stdout.flush()
        if last:
            return
        spent = time.perf_counter() - start
        ended.wait(RETRY_SECONDS if problem else max(EVERY_SECONDS, 4 * spent))  # at most a fifth of a core


_open: dict[str, Any] = {}


def _round(run_dir: Path, url: str) -> int:
    """Add what is new; the storage stays open between rounds and is opened afresh after a failure."""
    import optuna

    from genesis.run.mirror import Mirror, follow

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    mirror: Mirror | None = _open.pop(url, None)
    if mirror is None:
        mirror = follow(run_dir, url)
    added = mirror.catch_up()
    _open[url] = mirror
    return added


if __name__ == "__main__":
    main()
