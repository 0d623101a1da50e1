"""Check an installation and a run folder: versions, caches, permissions, disk, the store's mode and integrity."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from genesis import __version__
from genesis.engine import compile as kernels
from genesis.errors import GenesisError
from genesis.trials import compiled
from genesis.trials.store import RunStore

State = Literal["ok", "warning", "error"]
LOW_DISK = 1_000_000_000
_NEEDED = ("numpy", "numba", "optuna", "pandas", "plotly", "pydantic", "orjson", "rich", "typer", "pyarrow", "scipy")
_EXTRAS = {"dask": "distributed", "exchange": "ccxt", "polars": "polars", "postgres": "psycopg", "rustuna": "rustuna"}


@dataclass(frozen=True, slots=True)
class Check:
    """One thing checked; `remedy` is the edit or line to type when it is not ok."""

    name: str
    state: State
    found: str
    remedy: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As plain data, for `--json`."""
        return asdict(self)


def healthy(checks: Iterable[Check]) -> bool:
    """No check is an error."""
    return all(check.state != "error" for check in checks)


def check_installation() -> list[Check]:
    """Versions, optional packages, the code behind trial keys, the compiler's cache, the temporary folder, cores."""
    checks = [Check("genesis", "ok", __version__), _python()]
    checks += [_package(name) for name in _NEEDED]
    for extra, name in _EXTRAS.items():
        there = _version(name)
        words = f"{name} {there}" if there else f"not installed: pip install 'genesis-core[{extra}]'"
        checks.append(Check(f"extra {extra}", "ok", words))
    checks.append(_trial_keys())
    checks.append(_writable("compile cache", _compile_cache()))
    checks.append(_writable("temporary folder", Path(tempfile.gettempdir())))
    checks.append(Check("cores", "ok", f"{_cores()} usable of {os.cpu_count()}"))
    return checks


def _trial_keys() -> Check:
    if compiled.refused():
        return Check("trial keys", "error", compiled.DESCRIPTION, f"unset {compiled.PURE_PYTHON}")
    return Check("trial keys", "ok", compiled.DESCRIPTION)


def _compile_cache() -> Path:
    """Where Numba keeps machine code: its configured folder, else beside the kernels."""
    import numba

    settings: Any = numba.config
    configured = str(settings.CACHE_DIR)
    return Path(configured) if configured else Path(str(kernels.__file__)).parent / "__pycache__"


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _python() -> Check:
    found = ".".join(str(part) for part in sys.version_info[:3])
    return Check("python", "ok", found)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _package(name: str) -> Check:
    found = _version(name)
    if found is None:
        return Check(name, "error", "not installed", f"pip install {name}")
    return Check(name, "ok", found)


def _writable(name: str, folder: Path) -> Check:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder):
            pass
    except OSError as error:
        return Check(name, "warning", f"{folder}: {error.strerror}", f"make {folder} writable")
    return Check(name, "ok", str(folder))


def check_run(run_dir: str | os.PathLike[str]) -> list[Check]:
    """A run's folder, disk, lock, journal mode and integrity (reads the whole store)."""
    folder = Path(run_dir)
    if not (folder / "run.db").is_file():
        return [Check("run", "error", f"{folder}: there is no run.db", "give the folder of a run, such as runs/my-run")]
    checks = [_writable("run folder", folder), _disk(folder), *_sizes(folder)]
    try:
        with RunStore.open(folder, read_only=True) as store:
            checks.append(Check("trials", "ok", f"{store.count:,} stored"))
            checks.append(_journal(store))
            summary = store.meta("summary")
            imported = store.study.get("signature", {}).get("imported")
            if summary:
                ended = f"stopped: {summary['stop_reason']}"
            elif imported:
                ended = f"none: imported from {imported}"
            else:
                ended = "no stop is recorded: going on, or killed"
            checks.append(Check("last session", "ok", ended))
            found = store.integrity()
    except GenesisError as error:
        return [
            *checks,
            Check("store", "error", str(error), "restore run.db from a copy; the folder is left untouched"),
        ]
    if found.ok:
        checks.append(Check("integrity", "ok", f"all {found.trials:,} trials read back and agree with their columns"))
    else:
        words = "; ".join(found.problems[:3]) + (" ..." if len(found.problems) > 3 else "")
        checks.append(Check("integrity", "error", words, "restore run.db from a copy; export what can be read first"))
    return checks


def _disk(folder: Path) -> Check:
    free = shutil.disk_usage(folder).free
    words = f"{free / 1e9:.1f} GB free"
    if free < LOW_DISK:
        return Check("disk", "warning", words, "free some space: a store that cannot grow stops the run")
    return Check("disk", "ok", words)


def _sizes(folder: Path) -> list[Check]:
    checks = [Check("run.db", "ok", f"{(folder / 'run.db').stat().st_size / 1e6:.2f} MB")]
    log = folder / "run.db-wal"
    if log.is_file() and log.stat().st_size:
        size = log.stat().st_size / 1e6
        large = size > 256
        remedy = "resume the run once; it is folded in" if large else ""
        checks.append(Check("write-ahead log", "warning" if large else "ok", f"{size:.2f} MB", remedy))
    return checks


def _journal(store: RunStore) -> Check:
    mode = str(store.pragmas().get("journal_mode", "unknown"))
    if mode == "wal":
        return Check("journal mode", "ok", mode)
    return Check("journal mode", "warning", mode, "keep runs on a local disk: WAL does not work over a network folder")
