"""Turns what pydantic finds in a study into sentences: the dotted path, what came, what is allowed, the edit."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel

from genesis.errors import ConfigError
from genesis.search.nodes import nearest_name
from genesis.sections import StudyFile, model_at, written
from genesis.study_yaml import dump_yaml


def sentence(error: Any) -> str:
    """One problem that pydantic found, as what came, what is allowed and the edit."""
    loc = [part for part in error["loc"] if not (isinstance(part, str) and part.startswith(("function-", "nullable")))]
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc).lstrip(".") or "study"
    kind, given, context = error["type"], error.get("input"), error.get("ctx") or {}
    section, leaf = model_at(loc[:-1]), str(loc[-1]) if loc else ""
    if kind == "invalid_key":
        return f"{path}: is not a key here; keys are text"
    if kind == "extra_forbidden":
        known = list(section.model_fields) if section else []
        hint = _misplaced(leaf, known)
        return f"{path}: is not a key here{hint}" + ("" if hint else f"; allowed: {', '.join(known)}")
    example = _example(section, leaf)
    if kind == "missing":
        return f"{path}: is missing; write {example}"
    if kind == "value_error":
        return f"{path}: {str(error['msg']).removeprefix('Value error, ')}"
    allowed = _ALLOWED.get(kind, "").format(**context) or str(error["msg"]).lower()
    return f"{path}: {written(given)} is not {allowed}; write {_meant(kind, leaf, given) or example}"


def _meant(kind: str, leaf: str, given: Any) -> str:
    """The edit for a value whose meaning is plain: a number or true in quotes, 100.0 for 100, 0.1 % in basis points."""
    if kind == "int_type" and isinstance(given, float) and given.is_integer():
        return f"{leaf}: {int(given)}"
    if not isinstance(given, str):
        return ""
    text = given.strip()
    if kind == "bool_type" and text.lower() in ("true", "yes", "on", "false", "no", "off"):
        return f"{leaf}: {'true' if text.lower() in ('true', 'yes', 'on') else 'false'}, without quotes"
    number = re.fullmatch(r"(\d{1,12}(?:\.\d{1,12})?)\s*(%|bps)?", text)
    if number is None or kind not in ("int_type", "float_type") or (kind == "int_type" and not text.isdigit()):
        return ""
    if number[2] is None:
        return f"{leaf}: {text}, without quotes"
    if not leaf.endswith("_bps"):
        return ""
    return f"{leaf}: {float(number[1]) * (100 if number[2] == '%' else 1):.12g}, for {text}"


_ALLOWED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "string_type": "text",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "literal_error": "one of {expected}",
    "greater_than_equal": "{ge:.12g} or more",
    "greater_than": "above {gt:.12g}",
    "less_than_equal": "{le:.12g} or less",
    "string_too_short": "text of at least one character",
}


def _example(section: type[BaseModel] | None, leaf: str) -> str:
    info = section.model_fields.get(leaf) if section else None
    if info is None or not info.examples:
        return "another value"
    return dump_yaml({leaf: info.examples[0]}, flow=True).strip()[1:-1]


def _misplaced(leaf: str, known: Sequence[str]) -> str:
    """A near name in this section, or the section in which the key does exist."""
    near = nearest_name(leaf, known)
    if near:
        return near
    for name, info in StudyFile.model_fields.items():
        inner = model_at([name])
        if inner is not None and leaf in inner.model_fields and info:
            return f" (it belongs under {name})"
    return " (it belongs at the top of the file)" if leaf in StudyFile.model_fields else ""


def failed(problems: Sequence[str]) -> ConfigError:
    """One error of all problems, each once."""
    unique = list(dict.fromkeys(problems))
    text = unique[0] if len(unique) == 1 else "\n  ".join([f"{len(unique)} problems in the study:", *unique])
    return ConfigError(text, problems=unique)
