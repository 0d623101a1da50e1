"""What makes two parameter sets the same: canonical bytes, their keys, and the bounded caches over them.

The bytes are UTF-8 JSON with sorted keys and no spaces (docs/identity.md pins them with golden keys). orjson writes
them directly for plain values; the rest is written by `genesis.trials.canonical`, which defines the rules.
"""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Mapping
from enum import Enum
from functools import lru_cache
from hashlib import sha256
from typing import Any

import orjson

from genesis.errors import ParameterError
from genesis.trials.canonical import OPTIONS as _OPTIONS
from genesis.trials.canonical import orjson_agrees, write
from genesis.trials.compiled import twin

TRIAL_KEY_LIMIT, TRIAL_KEY_KEPT = 10_000, 8_000
SIGNATURE_LIMIT, SIGNATURE_KEPT = 5_000, 4_000
_CACHED_LENGTH = 4_096  # longer sets are hashed each time: 10,000 of them would be an unbounded cache
_BRACE, _U, _MINUS = b"{u-"
_DIGITS = bytes(0x30 if 0x30 <= byte <= 0x39 else byte for byte in range(256))
_EXACT_DECIMALS = 20
_LONG_10 = "." + "0" * 11
_NEGATIVE_ZERO = re.compile(rb"-0\.0(?![0-9])")


def _cannot(*_: Any) -> bytes:
    raise TypeError


# An orjson that writes a plain value in its own way is not asked: every key goes the slow, defining road.
_dumps = orjson.dumps if orjson_agrees() else _cannot


# Plain dicts (a subclass costs a warm call a tenth of its time), looked up by orjson's bytes as they come: decoding
# them first made a warm call 0.46 µs instead of 0.35. What is kept is a copy, since orjson's own bytes sit in a buffer
# of 1 KiB, and keeping those costs a cold call 2 µs. The hash is `hashlib`'s: CPython's built-in SHA-256 is 4 % faster
# up to 55 bytes, 40 % slower at 60 and three times slower at 330, less than what asking for the length costs.
trial_key_cache: dict[bytes, str] = {}
signature_cache: dict[bytes, str] = {}
_known_key = trial_key_cache.get  # one call that no other thread can come between, bound once
_known_signature = signature_cache.get
_trimming = threading.Lock()


@twin(_dumps, _OPTIONS, trial_key_cache, limit=TRIAL_KEY_LIMIT, longest=_CACHED_LENGTH)
def trial_key(params: Mapping[str, Any]) -> str:
    """64 hex digits that identify a parameter set: SHA-256 of its canonical bytes, whatever the order of keys.

    Raises `ParameterError` naming the dotted path of a value that has no identity (NaN, infinity, an unknown type, a
    key that is not text).

    >>> trial_key({"b": 1, "a": [1.0, True]}) == trial_key({"a": [1.0, True], "b": 1})
    True
    """
    try:
        raw = _dumps(params, None, _OPTIONS)
    except TypeError:
        return sha256(canonical_bytes(params)).hexdigest()
    known = _known_key(raw)
    if known is not None:
        return known
    text = raw.decode()
    # orjson hides a NaN as `null`, and such text is never cached: what is found in the cache needs no look. One letter
    # is found far faster than four (20 ns against 100 to 230), so it is asked for first, here and below.
    if raw < b"{" or (_U in raw and "null" in text):
        return sha256(_checked(params, raw)).hexdigest()
    key = sha256(_checked(params, raw) if _MINUS in raw and "-0.0" in text else raw).hexdigest()
    if len(raw) <= _CACHED_LENGTH:
        trial_key_cache[text.encode()] = key
        if len(trial_key_cache) > TRIAL_KEY_LIMIT:
            _trim(trial_key_cache, TRIAL_KEY_LIMIT, TRIAL_KEY_KEPT)
    return key


@twin(_dumps, _OPTIONS, signature_cache, limit=SIGNATURE_LIMIT, longest=_CACHED_LENGTH, precision=10)
def param_signature(params: Mapping[str, Any], precision: int = 10) -> str:
    """64 hex digits, equal exactly when the parameters are once every float is rounded to `precision` decimals.

    Integers, booleans and text are compared as they are: 1 and 1.0 differ, as in `trial_key`; -0.0 is 0.0.
    Raises `ParameterError` as `trial_key` does, and for a precision that is not a whole number from 0 on.

    >>> param_signature({"a": 0.1 + 0.2}) == param_signature({"a": 0.3}), param_signature({"a": 1}, precision=2)[:8]
    (True, '015abd7f')
    """
    try:
        raw = _dumps(params, None, _OPTIONS)
    except TypeError:
        return sha256(write(params, _checked_precision(precision))).hexdigest()
    asked = raw if precision == 10 else raw + repr(precision).encode()  # the JSON ends in a brace: no two collide
    known = _known_signature(asked)
    if known is not None:
        return known
    shape = raw.translate(_DIGITS).decode()
    if shape < "{" or ("u" in shape and "null" in shape):
        return sha256(_rounded_bytes(params, _checked(params, raw), precision)).hexdigest()
    long_fraction = _LONG_10 if precision == 10 else _long_fraction(precision)
    if long_fraction in shape or "0e" in shape or ("-" in shape and "-0.0" in shape):
        raw = _rounded_bytes(params, raw, precision)
    key = sha256(raw).hexdigest()
    if len(asked) <= _CACHED_LENGTH:
        signature_cache[asked.decode().encode()] = key
        if len(signature_cache) > SIGNATURE_LIMIT:
            _trim(signature_cache, SIGNATURE_LIMIT, SIGNATURE_KEPT)
    return key


def _trim(cache: dict[bytes, str], limit: int, kept: int) -> None:
    """Cut a cache that passed its limit back to the newest `kept` entries."""
    with _trimming:
        if len(cache) > limit:
            for text in list(cache)[: len(cache) - kept]:
                cache.pop(text, None)


def canonical_bytes(params: Mapping[str, Any]) -> bytes:
    """The bytes that `trial_key` hashes; docs/identity.md states what each type becomes."""
    try:
        raw = _dumps(params, None, _OPTIONS)
    except TypeError:
        return write(params)
    return _checked(params, raw)


def result_key(key: str, context: Mapping[str, Any]) -> str:
    """Identity of an outcome: the trial key with everything else that decides it (data, window, costs, versions)."""
    return trial_key({"context": context, "trial": key})


def clear_caches() -> None:
    """Forget every remembered key and signature."""
    trial_key_cache.clear()
    signature_cache.clear()


def _checked(params: Mapping[str, Any], raw: bytes) -> bytes:
    """`raw`, or what should stand there if it hides a NaN or writes -0.0."""
    hides = raw.find(b"null") >= 0 and not _is_finite(params)
    if hides or raw[0] != _BRACE or _NEGATIVE_ZERO.search(raw) is not None:
        return write(params)
    return raw


def _is_finite(node: Any) -> bool:
    """False if a float in a tree orjson could write (so: no deeper than it goes) is NaN or infinite, or may be."""
    if node is None or isinstance(node, (str, int)):
        return not isinstance(node, Enum)
    if isinstance(node, float):
        return math.isfinite(node)
    if isinstance(node, dict):
        return all(map(_is_finite, node.values()))
    return isinstance(node, (list, tuple)) and all(map(_is_finite, node))


def _rounded_bytes(params: Mapping[str, Any], raw: bytes, precision: int) -> bytes:
    shape = raw.translate(_DIGITS).decode()
    if _long_fraction(precision) not in shape and "0e" not in shape and _NEGATIVE_ZERO.search(raw) is None:
        return raw
    try:
        return _dumps(_rounded(params, precision), None, _OPTIONS)
    except TypeError:  # an unusual type
        return write(params, precision)


def _rounded(node: Any, precision: int) -> Any:
    """A copy with every float rounded, of a tree orjson could write; TypeError for types it takes for others."""
    kind = type(node)
    if kind is float:
        return round(node, precision) + 0.0  # adding zero turns -0.0 into 0.0 and changes nothing else
    if kind is dict:
        return {key: _rounded(value, precision) for key, value in node.items()}
    if kind is list or kind is tuple:
        return [_rounded(value, precision) for value in node]
    if kind is str or kind is int or kind is bool or node is None:
        return node
    raise TypeError


def _checked_precision(precision: int) -> int:
    if isinstance(precision, bool) or not isinstance(precision, int) or precision < 0:
        raise ParameterError(f"precision: {precision!r} is not a number of decimals; use a whole number such as 10")
    return precision


@lru_cache(maxsize=64)
def _long_fraction(precision: int) -> str:
    """With every digit mapped to 0: how a float with more than `precision` decimals looks.

    A float written with at most p <= 20 decimals and no exponent is its own rounding to p decimals: it lies within half
    a unit of that decimal, and where the float's spacing is about 10**-p, so that its uneven spacing below a power of
    two could matter, powers of two down to 2**-(2.33 p - 52) are decimals of at most p places themselves.
    """
    decimals = _checked_precision(precision)
    return "." + "0" * (decimals + 1) if decimals <= _EXACT_DECIMALS else "."
