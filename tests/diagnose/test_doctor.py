"""The doctor: a sound run passes, a broken one is named and left untouched."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from genesis.diagnose.doctor import check_installation, check_run, healthy
from genesis.trials.store import RunStore, Stored
from genesis.types import TrialResult


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    with RunStore.create(folder, {"run_id": "run"}) as store:
        results = [
            TrialResult(
                number=i, generation=0, key=f"{i:064x}", params={"x": i}, state="complete", score=1.0, metrics={}
            )
            for i in range(20)
        ]
        store.append([Stored(result, np.array([float(result.number)]), "test") for result in results])
    return folder


def test_a_sound_installation_and_run(run_dir: Path) -> None:
    """Every check passes and the trials are counted."""
    assert healthy(check_installation())
    checks = {check.name: check for check in check_run(run_dir)}
    assert healthy(checks.values())
    assert checks["trials"].found == "20 stored"
    assert checks["journal mode"].found == "wal"
    assert "killed" in checks["last session"].found


def test_an_imported_run_had_no_session(tmp_path: Path) -> None:
    """It never ran here, so nothing was killed."""
    with RunStore.create(tmp_path / "run", {"run_id": "run", "signature": {"imported": "/elsewhere/runs/old"}}):
        pass
    checks = {check.name: check for check in check_run(tmp_path / "run")}
    assert checks["last session"].found == "none: imported from /elsewhere/runs/old"


def test_a_damaged_store_is_named_and_untouched(run_dir: Path) -> None:
    """Garbage in the file is an error, and its bytes stay."""
    path = run_dir / "run.db"
    for name in ("run.db-wal", "run.db-shm"):
        (run_dir / name).unlink(missing_ok=True)
    damaged = bytearray(path.read_bytes())
    damaged[4096:] = b"\x55" * (len(damaged) - 4096)
    path.write_bytes(damaged)
    checks = check_run(run_dir)
    assert not healthy(checks)
    assert path.read_bytes() == bytes(damaged)


def test_no_run_is_an_error(tmp_path: Path) -> None:
    """A folder without a store is not a run."""
    (check,) = check_run(tmp_path)
    assert check.state == "error"
    assert "run.db" in check.found
