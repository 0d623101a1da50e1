"""Machine code is cached where it can be written, and never answers for a source that changed."""

from __future__ import annotations

import gc
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from genesis.engine import compile as engine_compile
from genesis.engine.compile import OPTIONS, folder_stamp

RULE = "from genesis.engine.compile import rule\n\n@rule\ndef factor(x):\n    return x * {factor}\n"
LOOP = """
from genesis.engine.compile import jit
from scaled_rule import factor

@jit
def scaled(x):
    return factor(x)
"""


def answer(folder: Path) -> float:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), *sys.path])}
    environment.pop("NUMBA_CACHE_DIR", None)
    done = subprocess.run(
        [sys.executable, "-c", "from scaled_loop import scaled; print(scaled(1.0))"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout)


def test_a_changed_rule_in_another_file_is_compiled_again(tmp_path):
    """Numba's own stamp sees only the file of the loop; ours sees the rule beside it, and would else answer 2."""
    (tmp_path / "scaled_loop.py").write_text(LOOP)
    (tmp_path / "scaled_rule.py").write_text(RULE.format(factor="2.0"))
    assert answer(tmp_path) == 2.0
    assert list((tmp_path / "__pycache__").glob("*.nbc")), "nothing was cached, so the test proves nothing"
    (tmp_path / "scaled_rule.py").write_text(RULE.format(factor="300.0"))
    assert answer(tmp_path) == 300.0


def test_the_options_keep_the_arithmetic_exact():
    """Reassociation is off, code is cached, and threads may run side by side."""
    assert OPTIONS["fastmath"] is False
    assert OPTIONS["cache"] is True
    assert OPTIONS["nogil"] is True


@pytest.mark.parametrize("collecting", [True, False])
def test_the_collector_goes_on_as_it_was(collecting):
    """It rests inside, whatever is raised there, and someone who had switched it off finds it off."""
    seen = []

    def work():
        with engine_compile.collector_resting():
            seen.append(gc.isenabled())
            raise KeyError

    before = gc.isenabled()
    try:
        (gc.enable if collecting else gc.disable)()
        with pytest.raises(KeyError):
            work()
        assert (seen, gc.isenabled()) == ([False], collecting)
    finally:
        (gc.enable if before else gc.disable)()


def test_the_stamp_names_every_file_of_the_folder(tmp_path):
    """One more file, or another length, is another stamp."""
    (tmp_path / "a.py").write_text("1")
    first = folder_stamp.__wrapped__(tmp_path)
    (tmp_path / "b.py").write_text("2")
    second = folder_stamp.__wrapped__(tmp_path)
    (tmp_path / "a.py").write_text("11")
    assert len({first, second, folder_stamp.__wrapped__(tmp_path)}) == 3


def test_without_a_writable_cache_a_private_folder_is_used(tmp_path, monkeypatch):
    """A package in a read-only place and no home: code is cached in a folder that only this user can write."""
    import numba

    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    monkeypatch.setattr(engine_compile, "_writable", lambda _: False)
    monkeypatch.setattr(engine_compile.tempfile, "gettempdir", lambda: str(tmp_path))
    engine_compile._ensure_cache_folder.__wrapped__(tmp_path)
    chosen = Path(numba.config.CACHE_DIR)
    assert chosen.parent == tmp_path
    assert stat.S_IMODE(chosen.stat().st_mode) == 0o700


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="POSIX permissions")
def test_a_folder_that_others_can_write_is_not_trusted(tmp_path, monkeypatch):
    """Cached code is executed: a folder left open by somebody is passed over for a new one."""
    monkeypatch.setattr(engine_compile.tempfile, "gettempdir", lambda: str(tmp_path))
    open_to_all = tmp_path / f"genesis-kernels-{os.getuid()}"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    assert engine_compile._private_temporary_folder() != open_to_all
