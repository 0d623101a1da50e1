"""The canonical bytes of a parameter set, written slowly and for every type: the definition of identity.

UTF-8 JSON, keys sorted, no spaces. For plain values (None, booleans, integers of 64 bits, finite floats but -0.0, text,
lists, tuples and mappings of text) orjson with `OPTIONS` writes the same bytes: `orjson_agrees` asks the one installed,
since its releases differ (3.11.4 writes 1e16, 3.13.0 writes 1e+16) and a key may not change with a dependency.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable, Mapping
from decimal import Decimal
from enum import Enum
from functools import cache
from json.encoder import encode_basestring
from pathlib import PurePath
from typing import Any
from uuid import UUID

import numpy as np
import orjson

from genesis.errors import ParameterError

OPTIONS = orjson.OPT_SORT_KEYS | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS
_DEEPEST = 100_000  # beyond it, a mapping most likely holds itself


def write(params: Mapping[str, Any], precision: int | None = None) -> bytes:
    """Canonical bytes; floats are rounded to `precision` decimals first, None leaves them. Works at any sane depth.

    Raises `ParameterError` naming the dotted path of a value without identity.
    """
    if not isinstance(params, Mapping):
        raise ParameterError(f"parameters: {type(params).__name__} came; give a mapping of names to values")
    out: list[bytes] = []
    _Writer(precision).drain([(params, ())], out)
    return b"".join(out)


class _Writer:
    """What is left to write is a stack of bytes and of (value, path) pairs, so depth costs no recursion."""

    def __init__(self, precision: int | None) -> None:
        self._precision = precision

    def drain(self, todo: list[Any], out: list[bytes]) -> None:
        while todo:
            item = todo.pop()
            if isinstance(item, bytes):
                out.append(item)
            else:
                self._node(item[0], item[1], out, todo)

    def _node(self, value: Any, path: tuple[Any, ...], out: list[bytes], todo: list[Any]) -> None:
        value = _plain(value, path)
        if isinstance(value, Mapping):
            todo.append(b"}")
            for index, (name, child) in reversed(list(enumerate(_sorted_items(value, path)))):
                todo.append((child, _below(path, name)))
                todo.append((b"," if index else b"") + encode_basestring(name).encode() + b":")
            todo.append(b"{")
        elif isinstance(value, (list, tuple)):
            todo.append(b"]")
            for index in range(len(value) - 1, -1, -1):
                todo.append((value[index], _below(path, index)))
                if index:
                    todo.append(b",")
            todo.append(b"[")
        elif isinstance(value, (set, frozenset)):
            members = sorted({self._member(child, path) for child in value})
            out.append(b"[" + b",".join(members) + b"]")
        else:
            out.append(self._leaf(value, path))

    def _member(self, value: Any, path: tuple[Any, ...]) -> bytes:
        out: list[bytes] = []
        self.drain([(value, _below(path, "{}"))], out)
        return b"".join(out)

    def _leaf(self, value: Any, path: tuple[Any, ...]) -> bytes:
        if value is None or isinstance(value, bool):
            return b"null" if value is None else b"true" if value else b"false"
        if isinstance(value, int):
            return self._integer(value, path)
        if isinstance(value, float):
            return self._float(float(value), path)
        if isinstance(value, Decimal):
            return self._decimal(value, path)
        if isinstance(value, str):
            return _text(value, path)
        raise ParameterError(
            f"{_dotted(path)}: {type(value).__name__} has no identity; use numbers, text, booleans, None, lists "
            "or mappings"
        )

    def _integer(self, value: int, path: tuple[Any, ...]) -> bytes:
        try:
            return b"%d" % value
        except ValueError as exc:  # Python writes 4,300 digits at most
            raise ParameterError(f"{_dotted(path)}: an integer of {value.bit_length()} bits is too long") from exc

    def _float(self, value: float, path: tuple[Any, ...]) -> bytes:
        if not math.isfinite(value):
            raise ParameterError(f"{_dotted(path)}: {value!r} is not a finite number; give a finite one or None")
        if self._precision is not None:
            value = round(value, self._precision)
        return _number(value + 0.0).encode()

    def _decimal(self, value: Decimal, path: tuple[Any, ...]) -> bytes:
        near = float(value) if value.is_finite() else math.nan
        if self._precision is not None or not math.isfinite(near) or Decimal(repr(near)) == value:
            return self._float(near, path)
        return b"%s" % format(value.normalize(), "f").encode()


def _plain(value: Any, path: tuple[Any, ...]) -> Any:
    while isinstance(value, Enum):
        value = value.value
    if isinstance(value, (np.generic, np.ndarray)):
        if value.dtype.kind not in "biufUO":
            raise ParameterError(f"{_dotted(path)}: NumPy {value.dtype} has no identity; use numbers or text")
        return value.tolist()
    if isinstance(value, (dt.datetime, dt.date, dt.time)):
        return value.isoformat()
    if isinstance(value, PurePath):
        return value.as_posix()
    return str(value) if isinstance(value, UUID) else value


def _sorted_items(value: Mapping[Any, Any], path: tuple[Any, ...]) -> Iterable[tuple[str, Any]]:
    named: dict[str, Any] = {}
    for key, child in value.items():
        name = key.value if isinstance(key, Enum) else key
        if not isinstance(name, str):
            raise ParameterError(f"{_dotted(path)}: the key {key!r} is not text; write it as {str(key)!r}")
        name = str.__str__(name)
        if name in named:
            raise ParameterError(f"{_dotted(_below(path, name))}: two keys write the same name; keep one")
        _text(name, _below(path, "<key>"))
        named[name] = child
    return [(name, named[name]) for name in sorted(named)]


def _number(value: float) -> str:
    """The shortest decimal that reads back as `value`; an exponent below -5 or from +16 on, with its sign."""
    text = repr(value)
    if "e" not in text:
        return text
    digits, exponent = text.split("e")
    power = int(exponent)
    if power == -5:
        return ("-" if value < 0 else "") + "0.0000" + digits.lstrip("-").replace(".", "")
    return f"{digits}e{power:+d}"


_PROBES: tuple[Any, ...] = (
    *(
        sign * lead * 10.0**power
        for sign in (1, -1)
        for lead in (1, 1.5, 1.2345678901234567)
        for power in range(-25, 25)
    ),
    *(5e-324, 1.7976931348623157e308, 0.1 + 0.2, 123456.789, 0.0, 2**53, 2.0**64, 1, -1, 2**64 - 1, -(2**63)),
    *("".join(map(chr, range(0x100))), '\u2028\ufffe😀"\\/'),
    *(True, False, None, [], {}, (1, [2]), {"b": [1.0, "x"], "a": {"é": 1, "z": 2}}),
)


@cache
def orjson_agrees() -> bool:
    """True if the installed orjson writes plain values as this module defines them."""
    return all(orjson.dumps({"p": probe}, None, OPTIONS) == write({"p": probe}) for probe in _PROBES)


def _text(value: str, path: tuple[Any, ...]) -> bytes:
    try:
        return encode_basestring(str.__str__(value)).encode()
    except UnicodeEncodeError as exc:
        raise ParameterError(f"{_dotted(path)}: {value!r} is not valid Unicode; remove the lone surrogate") from exc


def _below(path: tuple[Any, ...], name: str | int) -> tuple[Any, ...]:
    depth = path[2] + 1 if path else 1
    if depth > _DEEPEST:
        raise ParameterError(f"parameters: nested more than {_DEEPEST:,} deep; does a mapping hold itself?")
    return (path, name, depth)


def _dotted(path: tuple[Any, ...]) -> str:
    names: list[str] = []
    while path:
        path, name, _ = path
        names.append(f"[{name}]" if isinstance(name, int) else f".{name}")
    return "".join(reversed(names)).removeprefix(".") or "parameters"
