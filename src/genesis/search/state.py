"""An object's attributes as text and back, bit for bit, for the snapshots of samplers; no code is ever read from them.

What can be said: None, booleans, numbers, text, bytes, tuples, lists, dictionaries, NumPy scalars and arrays, NumPy's
`RandomState`, and objects of the classes that the reader names. Anything else raises `TypeError` when written. What
reads differently than it was written by this version raises `ValueError`.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np

from genesis.trials.codec import json_dumps, json_loads

Classes = Mapping[str, type]
Shared = Mapping[str, Any]


def dump(attributes: Mapping[str, Any], *, classes: Classes, shared: Shared) -> bytes:
    """The attributes as JSON; objects of `classes` by name, those in `shared` (by identity) as a mere reference."""
    names = {one: name for name, one in classes.items()}
    known = {id(one): name for name, one in shared.items()}
    return json_dumps({name: _out(value, names, known) for name, value in attributes.items()})


def load(data: bytes, *, classes: Classes, shared: Shared) -> dict[str, Any]:
    """The attributes again; raises `ValueError` for what `dump` did not write."""
    try:
        return {name: _in(value, classes, shared) for name, value in json_loads(data).items()}
    except (AttributeError, KeyError, TypeError, IndexError) as error:
        raise ValueError(f"not a state that this version wrote: {error}") from error


def _out(value: Any, names: Mapping[type, str], known: Mapping[int, str]) -> Any:
    kind = type(value)
    if value is None or kind in (bool, int, str):
        return value
    if kind is float:
        return value if np.isfinite(value) else ["float", repr(value)]
    if kind is bytes:
        return ["bytes", _text(value)]
    if kind in (tuple, list):
        return [kind.__name__, *(_out(one, names, known) for one in value)]
    if kind is dict:
        return ["dict", *([_out(k, names, known), _out(v, names, known)] for k, v in value.items())]
    if id(value) in known:
        return ["shared", known[id(value)]]
    if isinstance(value, np.ndarray):
        return ["array", *_array(value)]
    if isinstance(value, np.generic):
        return ["scalar", *_array(np.asarray(value))]
    if kind is np.random.RandomState:
        return ["random", _out(value.get_state(legacy=True), names, known)]
    if kind in names:
        return ["object", names[kind], {name: _out(one, names, known) for name, one in vars(value).items()}]
    raise TypeError(f"{kind.__name__} cannot be put into a snapshot")


def _in(value: Any, classes: Classes, shared: Shared) -> Any:
    if not isinstance(value, list):
        return value
    kind, *rest = value
    if kind in ("tuple", "list"):
        made = [_in(one, classes, shared) for one in rest]
        return tuple(made) if kind == "tuple" else made
    if kind == "dict":
        return {_in(k, classes, shared): _in(v, classes, shared) for k, v in rest}
    if kind == "float":
        return float(rest[0])
    if kind == "bytes":
        return base64.b64decode(rest[0])
    if kind == "array":
        return _arrayed(*rest)
    if kind == "scalar":
        return _arrayed(*rest)[()]
    if kind == "shared":
        return shared[rest[0]]
    if kind == "random":
        state = np.random.RandomState(0)
        state.set_state(_in(rest[0], classes, shared))
        return state
    if kind == "object":
        name, attributes = rest
        made_object: Any = object.__new__(classes[name])
        for attribute, one in attributes.items():
            setattr(made_object, attribute, _in(one, classes, shared))
        return made_object
    raise ValueError(f"a snapshot says {kind!r}, which this version does not")


def _array(value: np.ndarray[Any, Any]) -> list[Any]:
    """Type, shape, order in memory (products of matrices may differ in their last bits by it) and bytes."""
    if value.dtype.kind not in "biuf":
        raise TypeError(f"an array of {value.dtype} cannot be put into a snapshot")
    if value.flags.c_contiguous:
        order = "C"
    elif value.flags.f_contiguous:
        order = "F"
    else:
        raise TypeError("an array that is not contiguous cannot be put into a snapshot")
    return [value.dtype.str, list(value.shape), order, _text(value.tobytes("A"))]


def _arrayed(kind: str, shape: list[int], order: str, text: str) -> Any:
    if np.dtype(kind).kind not in "biuf":
        raise ValueError(f"a snapshot holds an array of {kind}")
    flat = np.frombuffer(base64.b64decode(text), dtype=kind)
    return flat.reshape(shape, order="F" if order == "F" else "C").copy("K")


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
