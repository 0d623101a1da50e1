"""Every block of the README and of the first steps runs as it is printed, in order, in one folder."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from genesis.config import load_study
from genesis.diagnose.audit import brief_audit
from genesis.market.catalog import load_bars

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```(\w+)(?: title=\"([^\"]+)\")?\n(.*?)^```", re.MULTILINE | re.DOTALL)
SKIPPED_COMMANDS = {"git", "cd", "pip"}  # getting the project itself, which this test already has


def _blocks(page: str) -> list[tuple[str, str, str]]:
    return [(m[1], m[2] or "", m[3]) for m in BLOCK.finditer((ROOT / page).read_text(encoding="utf-8"))]


def _targets() -> set[str]:
    return set(re.findall(r"^([a-z]+)(?: [a-z]+)*:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def _run(command: list[str], folder: Path) -> None:
    env = {**os.environ, "GENESIS_HOME": str(folder / "home"), "COLUMNS": "120"}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"


@pytest.mark.parametrize("page", ["README.md", "docs/getting-started.md"])
def test_every_block_runs_as_printed(page: str, tmp_path: Path) -> None:
    genesis = str(Path(sys.executable).with_name("genesis"))
    if not Path(genesis).exists():
        genesis = shutil.which("genesis") or pytest.fail("the genesis command is not installed: pip install -e .")
    blocks = _blocks(page)
    assert {kind for kind, _, _ in blocks} >= {"bash", "yaml", "python"}
    for kind, title, text in blocks:
        if kind in {"yaml", "csv"} or (kind == "python" and title):
            assert title, f"{page}: a {kind} block needs a title, the file it is saved as"
            (tmp_path / title).write_text(text, encoding="utf-8")
        elif kind == "python":
            _run([sys.executable, "-W", "error", "-c", text], tmp_path)
        elif kind == "bash":
            for line in text.replace("\\\n", " ").splitlines():
                words = shlex.split(line, comments=True)
                if not words or words[0] in SKIPPED_COMMANDS:
                    continue
                if words[0] == "make":
                    assert words[1] in _targets(), f"{page}: the Makefile has no target {words[1]}"
                else:
                    assert words[0] in {"genesis", "python"}, f"{page}: what should run {words[0]}?"
                    _run([genesis if words[0] == "genesis" else sys.executable, *words[1:]], tmp_path)
        else:
            assert kind == "text", f"{page}: a block of an unknown kind {kind!r}"


def _first_studies() -> list[tuple[str, str]]:
    """The studies that a reader meets first: whole ones of the pages, and the files that come along."""
    pages = ("README.md", "docs/getting-started.md", "docs/study-file.md")
    found = [(page, text) for page in pages for kind, _, text in _blocks(page) if kind == "yaml" and "\nrun:" in text]
    files = [*sorted((ROOT / "examples").glob("*.yaml")), ROOT / "src" / "genesis" / "examples" / "demo.yaml"]
    return found + [(path.name, path.read_text(encoding="utf-8")) for path in files]


@pytest.mark.parametrize(("name", "text"), _first_studies(), ids=[name for name, _ in _first_studies()])
def test_a_readers_first_run_is_without_warnings(name: str, text: str, tmp_path: Path, monkeypatch) -> None:
    """An example that is warned of teaches to read past warnings."""
    monkeypatch.chdir(tmp_path)
    load_bars("synthetic:seed=7,bars=3000,timeframe=1h").to_frame().to_csv("candles.csv")  # as getting-started does
    assert brief_audit(load_study(yaml.safe_load(text), env={})) == []
