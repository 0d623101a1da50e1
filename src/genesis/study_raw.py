"""Small operations on a study that is still a plain mapping."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from pydantic import BaseModel

from genesis.sections import StudyFile, model_at


def copied(value: Any) -> Any:
    """Containers copied, so that no caller's mapping is changed; NumPy's values and paths as plain ones."""
    if isinstance(value, Mapping):
        return {key: copied(one) for key, one in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return [copied(one) for one in value] if isinstance(value, list | tuple) else value


def without_blanks(raw: Mapping[str, Any]) -> dict[str, Any]:
    """The study without keys that are there and empty (YAML's null): they count as left out.

    What is searched, limited or passed on keeps its nulls: there they may be meant.
    """
    kept = _filled(raw, StudyFile)
    for path in ("data", "holdout", "costs", "execution", "run", "run.sampler", "run.pruner"):
        part = get_path(kept, path)
        section = model_at(path.split("."))
        if isinstance(part, Mapping) and section is not None:
            set_path(kept, path, _filled(part, section))
    return kept


def _filled(part: Mapping[str, Any], section: type[BaseModel]) -> dict[str, Any]:
    """A section without its own keys that are empty; an unknown key stays, to be refused."""
    return {key: value for key, value in part.items() if value is not None or key not in section.model_fields}


def reference_name(target: Any) -> str:
    """A reference as text: itself, or module:name of a class, function or object."""
    if isinstance(target, str):
        return target
    named = target if hasattr(target, "__qualname__") else type(target)
    return f"{named.__module__}:{named.__qualname__}"


def without_folders(reference: str) -> str:
    """A path without its folders, so that a study may move; content is what tells files apart."""
    if reference.startswith(("sample:", "synthetic")):
        return reference
    return reference.replace("\\", "/").rpartition("/")[2]


def tidy(name: str) -> str:
    """A name as a run_id may be: other characters become '-'."""
    tidy = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-._")[:80]
    return tidy or "study"


def get_path(raw: Mapping[str, Any], path: str) -> Any:
    """The value at a dotted path, None where there is none."""
    at: Any = raw
    for part in path.split("."):
        if not isinstance(at, Mapping):
            return None
        at = at.get(part)
    return at


def set_path(raw: dict[str, Any], path: str, value: Any) -> bool:
    """Put a value at a dotted path, making the mappings above it; False if something else stands there."""
    *above, leaf = path.split(".")
    at = raw
    for part in above:
        if at.get(part) is None:
            at[part] = {}
        if part in ("sampler", "pruner") and isinstance(at[part], str):
            at[part] = {"type": at[part]}
        if not isinstance(at[part], dict):
            return False
        at = at[part]
    at[leaf] = value
    return True
