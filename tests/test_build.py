"""The build hook compiles where it can, and an installation never fails because it cannot."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytest.importorskip("setuptools", reason="needs setuptools: pip install setuptools")


def can_compile() -> bool:
    if not Path(sysconfig.get_paths()["include"], "Python.h").exists():
        return False
    try:
        compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
        return subprocess.run([*compiler, "--version"], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


needs_compiler = pytest.mark.skipif(not can_compile(), reason="needs a C compiler: apt-get install gcc python3-dev")

# The hook as hatchling calls it, without hatchling: it is installed only where a build runs.
CALL = """
import json, sys, types
from pathlib import Path
sys.path.insert(0, sys.argv[1])
for name in ("hatchling", "hatchling.builders", "hatchling.builders.hooks", "hatchling.builders.hooks.plugin"):
    sys.modules[name] = types.ModuleType(name)
interface = types.ModuleType("interface")
interface.BuildHookInterface = object
sys.modules["hatchling.builders.hooks.plugin.interface"] = interface
from hatch_build import FastKeyHook
warnings = []
hook = FastKeyHook()
hook.root = sys.argv[1]
hook.app = types.SimpleNamespace(display_warning=warnings.append)
data = {"force_include": {}}
hook.initialize(sys.argv[2], data)
made = {to: Path(of).stat().st_size for of, to in data["force_include"].items()}
hook.finalize(sys.argv[2], data, "")
left = [of for of in data["force_include"] if Path(of).exists()]
print(json.dumps([data.get("infer_tag"), data.get("pure_python"), made, warnings, left]))
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What the hook works on: itself and the C source."""
    home = tmp_path / "src" / "genesis" / "trials"
    home.mkdir(parents=True)
    for source in (ROOT / "src" / "genesis" / "trials").glob("_fastkey*.[ch]"):
        shutil.copy(source, home)
    shutil.copy(ROOT / "hatch_build.py", tmp_path)
    return tmp_path


def build(checkout: Path, version: str, **env: str) -> tuple[bool | None, bool | None, dict[str, int], list[str]]:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CALL, str(checkout), version],
        env={**os.environ, **env},
        cwd=checkout,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    tag, pure, made, warnings, left = json.loads(done.stdout.splitlines()[-1])
    assert left == []
    return tag, pure, made, warnings


def libraries(checkout: Path) -> list[Path]:
    return sorted(
        path for path in (checkout / "src/genesis/trials").iterdir() if path.suffix in {".so", ".pyd", ".new"}
    )


@needs_compiler
def test_a_wheel_holds_the_compiled_module_and_is_for_this_platform(checkout: Path) -> None:
    """It is put in from outside: the source folder stays as it was."""
    tag, pure, made, warnings = build(checkout, "standard")
    assert (tag, pure, warnings) == (True, False, [])
    ((name, size),) = made.items()
    assert name.startswith("genesis/trials/_fastkey.")
    assert size > 10_000
    assert libraries(checkout) == []


@needs_compiler
def test_an_editable_installation_gets_it_beside_its_source(checkout: Path) -> None:
    """Once, and again over an old one."""
    for _ in range(2):
        tag, pure, made, warnings = build(checkout, "editable")
        assert (tag, pure, made, warnings) == (True, False, {}, [])
        (library,) = libraries(checkout)
        assert library.stat().st_size > 10_000


@pytest.mark.parametrize("version", ["standard", "editable"])
@pytest.mark.parametrize("trouble", ["no compiler", "a failing compiler", "a broken source"])
def test_without_a_compiler_the_python_code_is_installed(checkout: Path, version: str, trouble: str) -> None:
    """A warning, no compiled module, and a wheel for any platform."""
    env = {"CC": "/bin/false" if trouble == "a failing compiler" else "/nowhere/cc"}
    if trouble == "a broken source":
        (checkout / "src/genesis/trials/_fastkey.c").write_text("this is not C\n")
        env = {}
    tag, pure, made, (warning,) = build(checkout, version, **env)
    assert (tag, pure, made, libraries(checkout)) == (None, None, {}, [])
    assert warning.startswith("Genesis: trial keys come from Python, not from compiled code (")


def test_the_source_is_tracked_and_the_build_is_not() -> None:
    """A clone and an archive of the commit can build; what was built is no part of them."""
    done = subprocess.run(
        ["git", "archive", "HEAD", "src", "hatch_build.py"], cwd=ROOT, capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip("needs a git checkout: git clone the project")
    import io

    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        names = [name for name in archive.getnames() if "fastkey" in name or name == "hatch_build.py"]
    assert {Path(name).suffix for name in names} == {".c", ".h", ".py", ".pyi"}
