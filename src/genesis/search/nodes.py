"""Reads a parameter specification, as a study file or a mapping writes it, into columns and fixed values.

Every problem is collected with its dotted path, so that a file is mended once and not error by error.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

from genesis.errors import SpaceError
from genesis.search.steps import LARGEST_EXACT, StepGrid, dividing_step

_SCALARS = frozenset({str, int, float, bool})
Kind = Literal["float", "int", "categorical"]

SPEC_KEYS: dict[str, frozenset[str]] = {
    "fixed": frozenset({"type", "value", "when"}),
    "grid": frozenset({"type", "values", "when"}),
    "categorical": frozenset({"type", "choices", "values", "when"}),
    "float": frozenset({"type", "low", "high", "step", "log", "when"}),
    "int": frozenset({"type", "low", "high", "step", "log", "when"}),
    "loguniform": frozenset({"type", "low", "high", "when"}),
}
_OTHER_NAMES = {
    **dict.fromkeys(("min", "minimum", "from", "start", "lower", "lo"), "low"),
    **dict.fromkeys(("max", "maximum", "to", "stop", "end", "upper", "hi"), "high"),
    **dict.fromkeys(("q", "increment", "by", "resolution"), "step"),
    **dict.fromkeys(("options", "candidates", "list"), "choices"),
}
"""The keys each type of specification takes."""


@dataclass(frozen=True, slots=True)
class Column:
    """One searched parameter.

    A float or int has `low` and `high`, both included, and `step` if it is stepped (an int always is) or `log`; a
    categorical has `choices`. `when` is (path of another parameter, its values for which this one exists). `steps` is
    the exact arithmetic of a stepped range.
    """

    path: str
    kind: Kind
    low: float | None = None
    high: float | None = None
    step: float | None = None
    log: bool = False
    choices: tuple[Any, ...] | None = None
    when: tuple[str, tuple[Any, ...]] | None = None
    steps: StepGrid | None = field(default=None, compare=False, repr=False)

    @property
    def count(self) -> int | None:
        """How many different values it has; None for a continuous float."""
        if self.choices is not None:
            return len(self.choices)
        return None if self.steps is None else self.steps.count

    @property
    def labels(self) -> tuple[Any, ...]:
        """The choices as scalars: as they are, or their JSON text if one is a list or mapping or two compare equal
        (1, 1.0 and True do), since samplers and databases keep scalars and compare with ==."""
        choices = self.choices or ()
        scalars = all(one is None or isinstance(one, bool | int | float | str) for one in choices)
        if scalars and len(set(choices)) == len(choices):
            return choices
        return tuple(json_text(one) for one in choices)


def json_text(value: Any) -> str:
    """Return the compact JSON of a value, mapping keys sorted; 1, 1.0 and true differ."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def is_finite(value: float) -> bool:
    """Whether a number is finite as a float: not NaN, not infinite, and no integer of 400 digits."""
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def plain_value(value: Any) -> Any:
    """Return a value as JSON can say it: tuples become lists, NumPy scalars Python ones, -0.0 becomes 0.0.

    Containers are copied, so the caller's are never shared. Raises ValueError for anything else, NaN and infinity.
    """
    kind = type(value)
    if value is None or kind in (str, bool, int):
        return value
    if kind is float:
        if not math.isfinite(value):
            raise ValueError(f"{value!r} is not a finite number")
        return value + 0.0
    if isinstance(value, list | tuple):
        return [plain_value(one) for one in value]
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise ValueError("a mapping has a key that is not text")
        return {key: plain_value(one) for key, one in value.items()}
    if hasattr(value, "item") and getattr(value, "shape", None) == ():
        return plain_value(value.item())
    raise ValueError(f"{value!r} is a {kind.__name__}; write text, a number, true/false, null, a list or a mapping")


def same_value(a: Any, b: Any) -> bool:
    """Whether two values are the same as JSON says them: 1, 1.0 and True are three values, a tuple is a list."""
    if type(a) is type(b) and type(a) in _SCALARS:
        return bool(a == b)
    try:
        return json_text(plain_value(a)) == json_text(plain_value(b))
    except (ValueError, TypeError):
        return False


@dataclass(slots=True)
class Parsed:
    """What a specification says: columns and fixed values by path, notes on what was adjusted, problems found."""

    columns: dict[str, Column] = field(default_factory=dict)
    fixed: dict[str, Any] = field(default_factory=dict)
    conditions: dict[str, tuple[str, tuple[Any, ...]]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def is_leaf(node: Any) -> bool:
    """Whether a mapping specifies one parameter (it has a `type` that is text) rather than a group."""
    return isinstance(node, Mapping) and isinstance(node.get("type"), str)


def parse(spec: Mapping[str, Any], *, lenient: bool = False) -> Parsed:
    """Read a whole specification; `lenient` adjusts what the older layout allowed and notes each adjustment."""
    parsed = Parsed()
    groups: set[str] = set()
    for path, node in _leaves(spec, parsed):
        _check_clash(path, parsed, groups)
        _Leaf(path, node, parsed, lenient).read()
    return parsed


def raise_problems(problems: Sequence[str], *, error: type[SpaceError] = SpaceError) -> None:
    """Raise one error that lists every problem; none, and nothing happens."""
    if problems:
        text = problems[0] if len(problems) == 1 else f"{len(problems)} problems:\n  " + "\n  ".join(problems)
        raise error(text, problems=list(problems))


def nearest_name(name: str, known: Sequence[str]) -> str:
    """Return ` (did you mean 'x'?)` for the closest known name, or nothing."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _nearest_key(key: str, allowed: Sequence[str]) -> str:
    """`nearest_name` among a node's keys, which also knows what others call them."""
    usual = _OTHER_NAMES.get(key.lower())
    return f" (did you mean {usual!r}?)" if usual in allowed else nearest_name(key, allowed)


def _leaves(spec: Mapping[str, Any], parsed: Parsed) -> Iterator[tuple[str, Any]]:
    """Every parameter with its dotted path, in file order; a stack, so depth is not limited by recursion."""
    stack: list[tuple[str, Any]] = [("", spec)]
    while stack:
        path, node = stack.pop()
        if not isinstance(node, Mapping) or (path and (not node or is_leaf(node))):
            yield path, node
            continue
        inner = []
        for key, value in node.items():
            if not isinstance(key, str) or not all(part.strip() for part in key.split(".")):
                where = path or "parameters"
                parsed.problems.append(
                    f"{where}: the key {key!r} is not a name; use text between the dots (quote words like on, yes, 1)"
                )
                continue
            inner.append((f"{path}.{key}" if path else key, value))
        stack.extend(reversed(inner))


def _check_clash(path: str, parsed: Parsed, groups: set[str]) -> None:
    if path in parsed.columns or path in parsed.fixed:
        parsed.problems.append(f"{path}: given twice (nested and by dotted key?); keep one")
    parts = path.split(".")
    above = [".".join(parts[:n]) for n in range(1, len(parts))]
    groups.update(above)
    clash = next((one for one in above if one in parsed.columns or one in parsed.fixed), None)
    if clash or path in groups:
        parsed.problems.append(f"{clash or path}: is both a parameter and a group of parameters; rename one")


class _Leaf:
    """One parameter's specification on its way to a column."""

    def __init__(self, path: str, node: Any, parsed: Parsed, lenient: bool) -> None:
        self.path, self.node, self.out, self.lenient = path, node, parsed, lenient

    def problem(self, text: str) -> None:
        self.out.problems.append(f"{self.path}: {text}")

    def note(self, text: str) -> None:
        self.out.notes.append(f"{self.path}: {text}")

    def read(self) -> None:
        if not is_leaf(self.node):
            self.fix(self.node)
            return
        kind = self.node["type"]
        if kind not in SPEC_KEYS:
            self.problem(
                f"type={kind!r} is unknown{nearest_name(kind, list(SPEC_KEYS))}; use one of "
                f"{', '.join(sorted(SPEC_KEYS))}, or {{type: fixed, value: {kind}}} for a parameter named 'type'"
            )
            return
        unknown = [key for key in self.node if key not in SPEC_KEYS[kind]]
        for key in unknown:
            allowed = sorted(SPEC_KEYS[kind])
            self.problem(
                f"{key}={self.node[key]!r} is not a key of type {kind}{_nearest_key(str(key), allowed)}; "
                f"allowed: {', '.join(allowed)}"
            )
        when_ok = self.read_when()
        if unknown or not when_ok:
            return
        if kind == "fixed":
            self.read_fixed()
        elif kind in ("grid", "categorical"):
            self.read_choices(kind)
        else:
            self.read_range(kind)

    def read_when(self) -> bool:
        when = self.node.get("when")
        if when is None:
            return True
        if not isinstance(when, Mapping) or len(when) != 1 or not isinstance(next(iter(when)), str):
            self.problem(f"when={when!r} is not one {{path: value}}; write for example when: {{filter.kind: adx}}")
            return False
        path, given = next(iter(when.items()))
        try:
            values = tuple(plain_value(list(given) if isinstance(given, list | tuple) else [given]))
        except ValueError as exc:
            self.problem(f"when.{path}: {exc}")
            return False
        if not values:
            self.problem(f"when.{path}: an empty list never applies; name at least one value")
            return False
        self.out.conditions[self.path] = (path, values)
        return True

    def fix(self, value: Any) -> None:
        try:
            plain = plain_value(value)
        except ValueError as exc:
            self.problem(f"{exc}; fix it to something a trial can record")
            return
        hidden = [one for one in plain if is_leaf(one) and one["type"] in SPEC_KEYS] if isinstance(plain, list) else []
        if hidden:
            self.problem(
                f"a list is a fixed value, but this one contains {hidden[0]!r}; use {{type: grid, values: […]}}"
            )
            return
        self.out.fixed[self.path] = plain

    def read_fixed(self) -> None:
        if "value" not in self.node:
            self.problem("type fixed has no value; write {type: fixed, value: …}, or the value alone")
        elif self.path in self.out.conditions:  # exists only sometimes: a column of one choice
            self.add_choices([self.node["value"]])
        else:
            self.fix(self.node["value"])

    def read_choices(self, kind: str) -> None:
        key = "values" if kind == "grid" or "values" in self.node else "choices"
        if "values" in self.node and "choices" in self.node:
            self.problem("has both choices and values; keep one")
            return
        given = self.node.get(key)
        if hasattr(given, "tolist"):
            given = given.tolist()
        if not isinstance(given, list | tuple) or not given:
            self.problem(f"{key}={given!r} is not a list with at least one entry; write {key}: [a, b]")
            return
        self.add_choices(given)

    def add_choices(self, given: Sequence[Any]) -> None:
        choices: list[Any] = []
        seen: dict[str, int] = {}
        for position, one in enumerate(given):
            try:
                plain = plain_value(one)
            except ValueError as exc:
                self.problem(f"entry {position}: {exc}")
                return
            text = json_text(plain)
            if text in seen:
                self.problem(f"entry {position} repeats entry {seen[text]} ({text[:60]}); keep one")
                return
            seen[text] = position
            choices.append(plain)
        self.out.columns[self.path] = Column(self.path, "categorical", choices=tuple(choices))

    def number(self, key: str, integer: bool, default: float | None = None) -> float | None:
        value = self.node.get(key, default)
        if value is None and key == "step":
            return None
        if hasattr(value, "item") and getattr(value, "shape", None) == ():
            value = value.item()
        what = "a whole number" if integer else "a number"
        if value is None:
            self.problem(f"{key} is missing; add {key}: with {what}")
        elif isinstance(value, bool) or not isinstance(value, int | float):
            hint = "; remove the quotes" if isinstance(value, str) else ""
            self.problem(f"{key}={value!r} is not {what}{hint}")
        elif not is_finite(value):
            shown = f"{value!r:.40}"
            self.problem(f"{key}={shown} is not finite; give a bound that is")
        elif integer and isinstance(value, float):
            if self.lenient and value.is_integer():
                self.note(f"{key}={value!r} was read as {int(value)}")
                return int(value)
            remedy = f"write {key}: {int(value)}" if value.is_integer() else "use type: float, or a whole number"
            self.problem(f"{key}={value!r} is not a whole number; {remedy}")
        elif integer and abs(value) > LARGEST_EXACT:
            self.problem(f"{key}={value!r} is beyond ±2**53; search a smaller number and scale it in the strategy")
        else:
            return value if integer else float(value) + 0.0
        return math.nan

    def read_range(self, kind: str) -> None:
        integer = kind == "int"
        low, high = self.number("low", integer), self.number("high", integer)
        step = self.number("step", integer)
        log = self.node.get("log", False)
        if not isinstance(log, bool):
            self.problem(f"log={log!r} is not true or false")
            return
        log = log or kind == "loguniform"
        assert low is not None
        assert high is not None
        if low != low or high != high or (step is not None and step != step):
            return  # said already
        if self.check_bounds(low, high, step, log, integer):
            return
        if integer and step is None:
            step = 1
        if step is None:
            if not math.isfinite(high - low):
                self.problem(f"[{low!r}, {high!r}] is wider than a float can say; narrow it")
                return
            self.out.columns[self.path] = Column(self.path, "float", low, high, None, log)
            return
        self.add_stepped(low, high, step, log, integer)

    def check_bounds(self, low: float, high: float, step: float | None, log: bool, integer: bool) -> bool:
        """Whether the range is unusable (or, leniently, a single value): nothing more to do."""
        if low > high:
            self.problem(f"low={low!r} is above high={high!r}; swap them")
        elif low == high:
            if not self.lenient:
                self.problem(f"low and high are both {low!r}; write the value alone to fix it")
                return True
            self.only(low, f"low and high are both {low!r}: fixed to it")
        elif step is not None and step <= 0:
            self.problem(f"step={step!r} is not above 0; " + ("use step: 1" if integer else "leave it out, or use 0.1"))
        elif log and low <= 0:
            self.problem(f"log needs low above 0, not {low!r}; " + ("use low: 1" if integer else "use low: 1e-6, say"))
        elif log and step is not None and not (integer and step == 1):
            self.problem(f"log and step={step!r} exclude each other; remove one of them")
        else:
            return False
        return True

    def only(self, value: float, note: str) -> None:
        """A range of one value: fixed, or a single choice where it exists only sometimes."""
        self.note(note)
        if self.path in self.out.conditions:
            self.add_choices([value])
        else:
            self.out.fixed[self.path] = value

    def add_stepped(self, low: float, high: float, step: float, log: bool, integer: bool) -> None:
        grid = StepGrid(low, high, step)
        shown = int if integer else float
        if grid.count > LARGEST_EXACT:
            self.problem(f"step={step!r} makes {grid.count:.3g} points, more than 2**53; use a larger step or none")
            return
        if grid.collapses:
            self.problem(
                f"step={step!r} is finer than neighbouring floats at {max(abs(low), abs(high))!r}; use a larger step"
            )
            return
        if not grid.divides:
            last = shown(grid.high)
            if not self.lenient and grid.count > 1:
                better = dividing_step(low, high, step, whole=integer)
                or_step = f" or step={shown(better)!r}" if better else ""
                self.problem(f"step={step!r} does not divide [{low!r}, {high!r}]; use high={last!r}{or_step}")
                return
            if not self.lenient:
                self.problem(f"step={step!r} is wider than [{low!r}, {high!r}]; use a step of {high - low:g} or less")
                return
            if grid.count == 1:
                self.only(low, f"step={step!r} is wider than [{low!r}, {high!r}]: fixed to {low!r}")
                return
            self.note(f"step={step!r} does not divide [{low!r}, {high!r}]: high lowered to {last!r}")
            high = last
        self.out.columns[self.path] = Column(self.path, "int" if integer else "float", low, high, step, log, steps=grid)
