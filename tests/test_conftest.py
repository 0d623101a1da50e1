"""A developer with a plain pytest, without pytest-timeout, can run the suite; only the limit on time is gone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_a_plain_pytest_reads_the_projects_settings() -> None:
    words = ["-m", "pytest", "-p", "no:timeout", "--collect-only", str(ROOT / "tests" / "test_types.py")]
    done = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
