"""The rules of the house that a reader could not see by eye: floors, light imports, safe habits."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "genesis"

# The floor of each module: the longest prefix that matches wins. A module imports its own floor and lower ones.
FLOORS = {
    "genesis.errors": 0,
    "genesis.types": 0,
    "genesis.trials.identity": 1,
    "genesis.trials.canonical": 1,
    "genesis.trials.codec": 1,
    "genesis.trials.compiled": 1,
    "genesis.trials.merge": 1,
    "genesis.trials": 2,
    "genesis.search": 3,
    "genesis.search.asking": 1,
    "genesis.search.conditions": 1,
    "genesis.search.counting": 1,
    "genesis.search.decoding": 1,
    "genesis.search.nodes": 1,
    "genesis.search.rules": 1,
    "genesis.search.snapping": 1,
    "genesis.search.space": 1,
    "genesis.search.steps": 1,
    "genesis.market": 1,
    "genesis.market.catalog": 2,
    "genesis.market.fetch": 2,
    "genesis.market.files": 2,
    "genesis.market.journal": 2,
    "genesis.strategy": 1,
    "genesis.engine": 1,
    "genesis.judge": 1,
    "genesis.config": 2,
    "genesis.legacy": 2,
    "genesis.sections": 2,
    "genesis.settings": 1,
    "genesis.study_checks": 2,
    "genesis.study_errors": 2,
    "genesis.study_raw": 2,
    "genesis.study_yaml": 2,
    "genesis.run": 3,
    "genesis.samplers": 3,
    "genesis.diagnose": 4,
    "genesis.report": 4,
    "genesis.commands": 5,
    "genesis.cli": 5,
    "genesis": 5,
}

# Packages that only the modules named for them may import (house rule: heavy or optional packages).
HEAVY = {
    "optuna": ("genesis.search.", "genesis.samplers", "genesis.run.mirror", "genesis.report.importance"),
    "distributed": ("genesis.run.dask",),
    "dask": ("genesis.run.dask",),
    "plotly": ("genesis.report.",),
    "ccxt": ("genesis.market.fetch",),
}


def _modules() -> list[tuple[str, Path]]:
    found = []
    for path in sorted(SOURCE.rglob("*.py")):
        parts = ("genesis", *path.relative_to(SOURCE).with_suffix("").parts)
        found.append((".".join(parts[:-1] if parts[-1] == "__init__" else parts), path))
    return found


def _floor(module: str) -> int:
    parts = module.split(".")
    for length in range(len(parts), 0, -1):
        prefix = ".".join(parts[:length])
        if prefix in FLOORS:
            return FLOORS[prefix]
    raise AssertionError(f"{module} has no floor")


def _imports(path: Path) -> list[tuple[str, bool]]:
    """Every imported module with whether the import runs when the module is loaded."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found: list[tuple[str, bool]] = []

    def visit(node: ast.AST, at_load: bool) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                found.extend((alias.name, at_load) for alias in child.names)
            elif isinstance(child, ast.ImportFrom) and child.module:
                found.append((child.module, at_load))
                found.extend((f"{child.module}.{alias.name}", at_load) for alias in child.names)
            elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                visit(child, at_load=False)
            elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                continue
            else:
                visit(child, at_load)

    visit(tree, at_load=True)
    return found


NAMES = [name for name, _ in _modules()]


@pytest.mark.parametrize(("module", "path"), _modules(), ids=NAMES)
def test_a_module_imports_its_own_floor_and_lower_ones_only(module: str, path: Path) -> None:
    known = set(NAMES)
    # A package's own __init__ re-exports what lies inside it.
    for imported, _ in _imports(path):
        target = imported
        while target and target not in known:
            target = target.rpartition(".")[0]
        # `from genesis import __version__` reads a constant; packages without content of their own carry no floor.
        if not target or target in {"genesis", module} or target.startswith(f"{module}."):
            continue
        if (SOURCE / Path(*target.split(".")[1:]) / "__init__.py").exists() and imported != target:
            continue
        assert _floor(target) <= _floor(module), (
            f"{module} (floor {_floor(module)}) imports {target} ({_floor(target)})"
        )


@pytest.mark.parametrize(("module", "path"), _modules(), ids=NAMES)
def test_nothing_in_genesis_imports_the_core_doors(module: str, path: Path) -> None:
    assert not [name for name, _ in _imports(path) if name.split(".")[0] == "core"]


@pytest.mark.parametrize(("module", "path"), _modules(), ids=NAMES)
def test_heavy_packages_are_imported_only_in_the_modules_named_for_them(module: str, path: Path) -> None:
    for name, at_load in _imports(path):
        allowed = HEAVY.get(name.split(".")[0])
        if allowed is not None and at_load:
            assert module.startswith(allowed), f"{module} imports {name} when it is loaded"


def test_import_genesis_loads_no_heavy_package() -> None:
    code = "import sys, genesis; print(sorted({m.split('.')[0] for m in sys.modules}))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    loaded = set(ast.literal_eval(out))
    assert not loaded & {"optuna", "dask", "distributed", "plotly", "ccxt", "polars", "sqlalchemy", "jinja2"}


def test_the_public_names_are_sorted_and_each_exists() -> None:
    import genesis

    assert list(genesis.__all__) == sorted(genesis.__all__)
    assert all(hasattr(genesis, name) for name in genesis.__all__)


def test_every_package_and_module_opens_with_a_sentence() -> None:
    for module, path in _modules():
        first = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").strip()
        assert first, f"{module} has no docstring"


# Bytes on a pipe between the coordinator and the worker processes it started itself; nothing from disk.
PIPES = {"genesis.run.executors: pickle.loads(", "genesis.run.worker: pickle.loads("}


def test_nothing_from_data_is_executed() -> None:
    forbidden = re.compile(
        r"(?<![\w.])(eval|exec)\(|pickle\.loads?\(|yaml\.(unsafe_|full_)?load\(|shell=True|allow_pickle=True"
    )
    offenders = [f"{m}: {hit.group()}" for m, path in _modules() for hit in forbidden.finditer(path.read_text("utf-8"))]
    assert set(offenders) <= PIPES


def test_no_package_index_address_is_tracked() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if tracked.returncode:
        pytest.skip("needs a git checkout: git clone the project")
    for name in tracked.stdout.splitlines():
        path = ROOT / name
        if path.suffix in {".parquet", ".png", ".ipynb"} or not path.is_file() or path == Path(__file__):
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        assert not re.search(r"https?://\S+/(simple|packages)/|--(extra-)?index-url[ =]\S", text), name
