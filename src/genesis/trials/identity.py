"""What makes two parameter sets the same: canonical bytes, their keys, and the bounded caches over them.

The bytes are UTF-8 JSON with sorted keys and no spaces (docs/identity.md pins them with golden keys). orjson writes
them directly for plain values; anything it cannot say is written by `_Writer`, which defines the rules.
"""

from __future__ import annotations

import datetime as dt
import math
import threading
from collections.abc import Iterable, Mapping
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from hashlib import sha256
from pathlib import PurePath
from typing import Any
from uuid import UUID

import numpy as np
import orjson

from genesis.errors import ParameterError

TRIAL_KEY_LIMIT, TRIAL_KEY_KEPT = 10_000, 8_000
SIGNATURE_LIMIT, SIGNATURE_KEPT = 5_000, 4_000
_CACHED_BYTES = 4_096  # longer sets are hashed each time: 10,000 of them would be an unbounded cache
_OPTIONS = orjson.OPT_SORT_KEYS | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS
_dumps = orjson.dumps
_DIGITS = bytes(0x30 if 0x30 <= byte <= 0x39 else byte for byte in range(256))
_EXACT_DIGITS = 15  # every decimal of at most 15 significant digits survives a round trip through float64


class BoundedCache(dict[bytes, str]):
    """A dict that is cut back to `kept` entries, the oldest leaving first, when it passes `limit`; thread-safe."""

    def __init__(self, limit: int, kept: int) -> None:
        super().__init__()
        self.limit = limit
        self.kept = kept
        self._trimming = threading.Lock()

    def keep(self, raw: bytes, key: str) -> None:
        """Remember `key` for `raw`."""
        # orjson's bytes sit in a buffer sized for more; keeping a copy lets it reuse that buffer (2.4 µs a call).
        self[b"%b" % raw] = key
        if len(self) > self.limit:
            self._trim()

    def _trim(self) -> None:
        with self._trimming:
            if len(self) > self.limit:
                for raw in list(self)[: len(self) - self.kept]:
                    self.pop(raw, None)


trial_key_cache = BoundedCache(TRIAL_KEY_LIMIT, TRIAL_KEY_KEPT)
signature_cache = BoundedCache(SIGNATURE_LIMIT, SIGNATURE_KEPT)


def trial_key(params: Mapping[str, Any]) -> str:
    """64 hex digits that identify a parameter set: SHA-256 of its canonical bytes, whatever the order of keys.

    Raises `ParameterError` naming the dotted path of a value that has no identity (NaN, infinity, an unknown type, a
    key that is not text).
    """
    try:
        raw = _dumps(params, None, _OPTIONS)
    except TypeError:
        return sha256(canonical_bytes(params)).hexdigest()
    key = trial_key_cache.get(raw)
    if key is not None:
        return key
    # `null` may be a NaN that orjson hid, and such bytes are never cached, so a hit needs no such look.
    if raw.find(b"null") >= 0 or raw.find(b"-0.0") >= 0 or raw[0] != 0x7B or len(raw) > _CACHED_BYTES:
        return sha256(canonical_bytes(params)).hexdigest()
    key = sha256(raw).hexdigest()
    trial_key_cache.keep(raw, key)
    return key


def param_signature(params: Mapping[str, Any], precision: int = 10) -> str:
    """64 hex digits, equal exactly when the parameters are once every float is rounded to `precision` decimals.

    Integers, booleans and text are compared as they are: 1 and 1.0 differ, as in `trial_key`; -0.0 is 0.0.
    Raises `ParameterError` as `trial_key` does, and for a precision that is not an integer.
    """
    try:
        raw = _dumps(params, None, _OPTIONS)
    except TypeError:
        return sha256(_rounded_bytes(params, precision)).hexdigest()
    tagged = raw if precision == 10 else raw + b"%a" % (precision,)  # `raw` ends in a brace: no two tags collide
    key = signature_cache.get(tagged)
    if key is not None:
        return key
    if raw.find(b"null") >= 0 or raw[0] != 0x7B or len(raw) > _CACHED_BYTES:
        return sha256(_rounded_bytes(params, precision)).hexdigest()
    long_fraction, long_whole = _rounding_marks(precision)
    shape = raw.translate(_DIGITS)
    find = shape.find
    if find(long_fraction) >= 0 or find(long_whole) >= 0 or find(b"0e") >= 0 or find(b"-0.") >= 0:
        raw = _rounded_bytes(params, precision)
    key = sha256(raw).hexdigest()
    signature_cache.keep(tagged, key)
    return key


def canonical_bytes(params: Mapping[str, Any]) -> bytes:
    """The bytes that `trial_key` hashes; docs/identity.md states what each type becomes."""
    try:
        raw = _dumps(params, None, _OPTIONS)
    except TypeError:
        raw = b""
    if raw[:1] == b"{" and b"null" not in raw and b"-0.0" not in raw:
        return raw
    return _Writer(None).write(params)


def result_key(key: str, context: Mapping[str, Any]) -> str:
    """Identity of an outcome: the trial key with everything else that decides it (data, window, costs, versions)."""
    return trial_key({"context": context, "trial": key})


def clear_caches() -> None:
    """Forget every remembered key and signature."""
    trial_key_cache.clear()
    signature_cache.clear()


def _rounded_bytes(params: Mapping[str, Any], precision: int) -> bytes:
    _rounding_marks(precision)
    return _Writer(precision).write(params)


@lru_cache(maxsize=64)
def _rounding_marks(precision: int) -> tuple[bytes, bytes]:
    # With digits mapped to 0: a float with more than `precision` decimals, or so long a whole part that whole and
    # decimals pass 15 digits together. Without either (and no exponent), rounding returns the same float.
    if isinstance(precision, bool) or not isinstance(precision, int):
        raise ParameterError(f"precision: {precision!r} is not a whole number of decimals; use one such as 10")
    decimals = max(precision, 0)
    whole = max(_EXACT_DIGITS - decimals, 0)
    return b"." + b"0" * (decimals + 1), b"0" * (whole + 1) + b"."


class _Writer:
    """Writes canonical bytes without recursion; `precision` rounds floats first, None leaves them."""

    def __init__(self, precision: int | None) -> None:
        self._precision = precision

    def write(self, params: Mapping[str, Any]) -> bytes:
        if not isinstance(params, Mapping):
            raise ParameterError(f"parameters: {type(params).__name__} came; give a mapping of names to values")
        out: list[bytes] = []
        todo: list[Any] = [(params, ())]
        while todo:
            item = todo.pop()
            if isinstance(item, bytes):
                out.append(item)
            else:
                self._node(item[0], item[1], out, todo)
        return b"".join(out)

    def _node(self, value: Any, path: tuple[Any, ...], out: list[bytes], todo: list[Any]) -> None:
        value = _plain(value, path)
        if isinstance(value, Mapping):
            todo.append(b"}")
            for index, (name, child) in reversed(list(enumerate(_sorted_items(value, path)))):
                todo.append((child, (path, name)))
                todo.append((b"," if index else b"") + _dumps(name) + b":")
            todo.append(b"{")
        elif isinstance(value, (list, tuple)):
            todo.append(b"]")
            for index in range(len(value) - 1, -1, -1):
                todo.append((value[index], (path, index)))
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
        todo: list[Any] = [(value, (path, "{}"))]
        while todo:
            item = todo.pop()
            if isinstance(item, bytes):
                out.append(item)
            else:
                self._node(item[0], item[1], out, todo)
        return b"".join(out)

    def _leaf(self, value: Any, path: tuple[Any, ...]) -> bytes:
        if value is None or isinstance(value, bool):
            return _dumps(value)
        if isinstance(value, int):
            return b"%d" % value
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

    def _float(self, value: float, path: tuple[Any, ...]) -> bytes:
        if not math.isfinite(value):
            raise ParameterError(f"{_dotted(path)}: {value!r} is not a finite number; give a finite one or None")
        if self._precision is not None:
            value = round(value, self._precision)
        return _dumps(value + 0.0)  # adding zero turns -0.0 into 0.0 and changes nothing else

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
            raise ParameterError(f"{_dotted((path, name))}: two keys of one mapping write the same name; keep one")
        _text(name, (path, "<key>"))
        named[name] = child
    return [(name, named[name]) for name in sorted(named)]


def _text(value: str, path: tuple[Any, ...]) -> bytes:
    try:
        return _dumps(str.__str__(value))
    except TypeError as exc:
        raise ParameterError(f"{_dotted(path)}: {value!r} is not valid Unicode; remove the lone surrogate") from exc


def _dotted(path: tuple[Any, ...]) -> str:
    names: list[str] = []
    while path:
        path, name = path
        names.append(f"[{name}]" if isinstance(name, int) else f".{name}")
    return "".join(reversed(names)).removeprefix(".") or "parameters"
