"""JSON in and out: orjson for what it says exactly, the standard library for what it would change.

orjson reads an integer beyond 64 bits as a float and refuses `NaN`; it writes NaN as `null`. Files of older runs and
results of user callables contain all three, so both directions notice them and take the slower, faithful road.
"""

from __future__ import annotations

import json
import math
from typing import Any

import orjson

from genesis.errors import StoreError

_DIGITS = bytes(0x30 if 0x30 <= byte <= 0x39 else byte for byte in range(256))
_LONG_RUN = b"0" * 19  # a 64-bit integer has at most 20 digits; shorter runs cannot overflow one


def json_loads(data: bytes | bytearray | memoryview | str) -> Any:
    """Parse JSON text (UTF-8 bytes or str); integers of any size stay integers, `NaN` and `Infinity` are accepted.

    Raises `json.JSONDecodeError` (a `ValueError`) for anything else that is not JSON.
    """
    if type(data) is bytes:
        raw = data
    else:
        raw = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else bytes(data)
    if not _has_long_integer(raw):
        try:
            return orjson.loads(raw)
        except orjson.JSONDecodeError:
            if b"NaN" not in raw and b"Infinity" not in raw:
                raise
    try:
        return json.loads(raw)
    except UnicodeDecodeError as exc:
        raise json.JSONDecodeError(f"not UTF-8: {exc.reason}", "", exc.start) from exc


def _has_long_integer(raw: bytes) -> bool:
    """Whether an integer may not fit 64 bits; a fraction such as 0.00012345678901234567 has as many digits and fits."""
    digits = raw.translate(_DIGITS)
    at = digits.find(_LONG_RUN)
    while at >= 0:
        if digits[at - 1 : at] != b".":
            return True
        at += len(_LONG_RUN)
        while digits[at : at + 1] == b"0":
            at += 1
        at = digits.find(_LONG_RUN, at)
    return False


def json_dumps(value: Any, *, sort_keys: bool = False) -> bytes:
    """Write compact UTF-8 JSON that `json_loads` reads back equal; NaN and infinity are written as the standard
    library does (`NaN`, `Infinity`), integers of any size as their digits.

    NumPy scalars and arrays become numbers and lists. Raises `StoreError` for a type JSON has no word for.
    """
    options = orjson.OPT_SERIALIZE_NUMPY | (orjson.OPT_SORT_KEYS if sort_keys else 0)
    try:
        raw = orjson.dumps(value, None, options)
    except TypeError:
        raw = None
    if raw is not None and (b"null" not in raw or not _has_non_finite(value)):
        return raw
    try:
        text = json.dumps(value, sort_keys=sort_keys, separators=(",", ":"), ensure_ascii=False, default=_plain)
        return text.encode()
    except (TypeError, ValueError, RecursionError) as exc:
        raise StoreError(f"a value cannot be written as JSON: {exc}; use numbers, text, lists and mappings") from exc


def _plain(value: Any) -> Any:
    item = getattr(value, "tolist", None)  # NumPy scalars and arrays
    if item is not None:
        return item()
    raise TypeError(f"{type(value).__name__} is not a JSON type")


def _has_non_finite(value: Any) -> bool:
    todo = [value]
    while todo:
        node = todo.pop()
        if isinstance(node, float):
            if not math.isfinite(node):
                return True
        elif isinstance(node, dict):
            todo.extend(node.values())
        elif isinstance(node, (list, tuple)):
            todo.extend(node)
        elif hasattr(node, "tolist"):
            todo.append(node.tolist())
    return False
