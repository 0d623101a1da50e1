"""From a reference (`sma_cross`, `./file.py:Class`, `package.module:Class`, an object) to a checked strategy."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import sys
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

from genesis.errors import StrategyError
from genesis.strategy.authored import METHODS, Authored
from genesis.strategy.features import did_you_mean

if TYPE_CHECKING:
    from genesis.strategy.base import Strategy

GROUP = "genesis.strategies"
BUILT_IN = {
    "fibonacci": ("genesis.strategy.fibonacci", "Fibonacci"),
    "sma_cross": ("genesis.strategy.sma_cross", "SmaCross"),
}


def load_strategy(ref: str | type | object) -> Strategy:
    """The strategy a reference names.

    `ref` is a built-in name (`sma_cross`, `fibonacci`), the name of an entry point in the group `genesis.strategies`,
    `path/to/file.py:Class`, `package.module:Class`, or a class or object with one of the methods `signals`, `signal`
    or `on_bar`. Code of a file is run under a module name of its own; its version is the SHA-256 of its source.

    Raises `StrategyError` for anything that cannot be found, imported or used, saying what is there instead.

    >>> load_strategy("sma_cross").id
    'sma_cross'
    """
    if not isinstance(ref, str):
        return _adopt(ref)
    if ref in BUILT_IN:
        module, name = BUILT_IN[ref]
        built: Strategy = getattr(importlib.import_module(module), name)()
        return built
    place, colon, name = ref.rpartition(":")
    if colon and (place.endswith(".py") or "/" in place or "\\" in place):
        return _from_file(Path(place), name, ref)
    if colon:
        return _from_module(place, name, ref)
    return _from_entry_point(ref)


def _from_file(path: Path, name: str, ref: str) -> Strategy:
    file = path.expanduser().resolve()
    if not file.is_file():
        near = [p.name for p in file.parent.glob("*.py")] if file.parent.is_dir() else []
        raise StrategyError(
            f"{ref}: there is no file {file}{did_you_mean(file.name, near)}; give path/to/file.py:Class"
        )
    source = file.read_bytes()
    version = hashlib.sha256(source).hexdigest()
    module = _run_file(file, version, ref)
    return _adopt(_attribute(module, name, ref), version=version, ref=ref)


def _run_file(file: Path, version: str, ref: str) -> ModuleType:
    """Import a file under a name made of its path and content, so equal names elsewhere never meet."""
    tag = hashlib.sha256(f"{file}\0{version}".encode()).hexdigest()[:16]
    name = f"genesis_user_{file.stem}_{tag}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise StrategyError(f"{ref}: {file} cannot be imported; give a Python file (.py)")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        if not isinstance(error, Exception | SystemExit):
            raise
        raise StrategyError(f"{ref}: importing {file.name} raised {type(error).__name__}: {error}") from error
    return module


def _from_module(place: str, name: str, ref: str) -> Strategy:
    try:
        module = importlib.import_module(place)
    except ImportError as error:
        raise StrategyError(f"{ref}: module {place!r} cannot be imported ({error}); is it installed?") from error
    return _adopt(_attribute(module, name, ref), ref=ref)


def _from_entry_point(ref: str) -> Strategy:
    found = {point.name: point for point in entry_points(group=GROUP)}
    if ref in found:
        try:
            return _adopt(found[ref].load(), ref=ref)
        except (ImportError, AttributeError) as error:
            raise StrategyError(
                f"strategy {ref!r} is registered as {found[ref].value}, which fails: {error}"
            ) from error
    known = [*BUILT_IN, *found]
    hint = f"; a file is named with its class, {ref}:ClassName" if ref.endswith(".py") else ""
    raise StrategyError(
        f"strategy {ref!r} is unknown{did_you_mean(ref, known)}; "
        f"known: {', '.join(sorted(known))}; or give ./file.py:Class or package.module:Class{hint}"
    )


def _attribute(module: ModuleType, name: str, ref: str) -> Any:
    if not hasattr(module, name):
        classes = [
            key for key, value in vars(module).items() if inspect.isclass(value) and value.__module__ == module.__name__
        ]
        raise StrategyError(
            f"{ref}: there is no {name!r}{did_you_mean(name, classes)}; classes there: {', '.join(classes) or 'none'}"
        )
    return getattr(module, name)


def _adopt(target: Any, *, version: str | None = None, ref: str | None = None) -> Strategy:
    """An author's class or object behind the protocol; our own come through as they are."""
    kind = target if inspect.isclass(target) else type(target)
    if isinstance(target, Authored) or kind.__module__.startswith("genesis.strategy."):
        return cast("Strategy", target() if inspect.isclass(target) else target)
    if not any(callable(getattr(target, method, None)) for method in METHODS):
        public = [key for key in dir(kind) if not key.startswith("_") and callable(getattr(kind, key))]
        raise StrategyError(
            f"{ref or kind.__name__}: a strategy has a method {', '.join(METHODS)}; "
            f"{kind.__name__} has {', '.join(public) or 'no public method'}"
            + next((did_you_mean(key, METHODS) for key in public if did_you_mean(key, METHODS)), "")
        )
    return Authored(target, version=version or _version_of(kind), ref=ref or kind.__name__)


def _version_of(kind: type) -> str:
    """SHA-256 of the source file that defines the class; of the class's own code where there is no file."""
    declared = getattr(kind, "version", None)
    if isinstance(declared, str) and declared:
        return declared
    try:
        file = inspect.getsourcefile(kind)
        if file is not None and Path(file).is_file():
            return hashlib.sha256(Path(file).read_bytes()).hexdigest()
        return hashlib.sha256(inspect.getsource(kind).encode()).hexdigest()
    except (OSError, TypeError):
        raise StrategyError(
            f"{kind.__name__}: its source cannot be read, so results could not be told apart from another version's; "
            "give it a class attribute version = '…', or keep it in a file"
        ) from None
