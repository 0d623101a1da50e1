"""The parameters of a study: validated once, then counted, snapped to their grids, decoded and suggested.

A point travels as a vector of float64, one entry per column in the order of `Space.columns` (sorted by path): the value
of a float or int, the position of a choice, NaN where a conditional parameter does not exist.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson

from genesis.errors import SpaceError
from genesis.search.asking import ask, distribution, question_for
from genesis.search.conditions import apply_conditions, condition_order, said
from genesis.search.counting import Enumeration, endless
from genesis.search.decoding import Decoder, flatten
from genesis.search.nodes import (
    Column,
    is_finite,
    json_text,
    nearest_name,
    parse,
    plain_value,
    raise_problems,
    same_value,
)
from genesis.search.rules import Rule
from genesis.search.snapping import Snapper
from genesis.search.steps import STEP_DECIMALS, StepGrid, step_decimals
from genesis.types import FloatArray

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

__all__ = ["STEP_DECIMALS", "Column", "Rule", "Space", "StepGrid", "expand_value", "step_decimals", "suggest"]

_EXPAND_LIMIT = 1_000_000


class Space:
    """A searchable set of parameters; immutable, picklable, equal when the signatures are.

    - `columns`: the searched parameters, sorted by path. `fixed`: the others, by dotted path.
    - `rules`: expressions every point satisfies. `notes`: what was adjusted (only when read leniently).
    - `warnings`: what can be searched and probably should not.
    """

    def __init__(
        self,
        columns: Sequence[Column],
        fixed: Mapping[str, Any],
        *,
        rules: Sequence[str] = (),
        notes: Sequence[str] = (),
    ) -> None:
        self.columns: tuple[Column, ...] = tuple(sorted(columns, key=lambda one: one.path))
        self.fixed: dict[str, Any] = dict(sorted(fixed.items()))
        self.notes: tuple[str, ...] = tuple(notes)
        self.paths: tuple[str, ...] = tuple(one.path for one in self.columns)
        self._position = {path: i for i, path in enumerate(self.paths)}
        self._order, self._conditions = condition_order(self.columns, self._position)
        self._questions = [question_for(one) for one in self.columns]
        self._snapper = Snapper(self.columns, self._order, self._conditions)
        self._decoder = Decoder(self.columns, self.fixed)
        self.rules: tuple[Rule, ...] = tuple(Rule(text) for text in rules)
        self._constants = self._rule_constants()
        self._check_rules()
        self._enumeration = Enumeration(self.columns, self._conditions, self._order)

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any], *, rules: Sequence[str] = (), lenient: bool = False) -> Space:
        """Read a specification: nested to any depth, dotted keys welcome.

        `lenient` is for the older layout: a high that is off its step is lowered to the last point, as Optuna does,
        and the change is in `notes`. Raises SpaceError with every problem in `details["problems"]`.

        >>> space = Space.from_spec({"ma": {"fast": {"type": "int", "low": 5, "high": 20}, "kind": "ema"}})
        >>> space.size, space.decode(np.array([7.0]))
        (16, {'ma': {'kind': 'ema', 'fast': 7}})
        """
        if not isinstance(spec, Mapping):
            raise SpaceError(f"parameters: {spec!r} is not a mapping; write name: {{type: …}} entries")
        parsed = parse(spec, lenient=lenient)
        columns = apply_conditions(parsed)
        raise_problems(parsed.problems)
        return cls(columns, parsed.fixed, rules=rules, notes=parsed.notes)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self.columns, self.fixed, tuple(rule.text for rule in self.rules), self.notes)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Space) and self.signature() == other.signature()

    def __hash__(self) -> int:
        return hash(json_text(self.signature()))

    def __len__(self) -> int:
        return len(self.columns)

    def __repr__(self) -> str:
        return f"Space({len(self.columns)} searched, {len(self.fixed)} fixed, size={self.size})"

    def column(self, path: str) -> Column:
        """Return the column at a dotted path; raises SpaceError with the closest name."""
        if path not in self._position:
            raise SpaceError(f"{path}: is not a searched parameter{nearest_name(path, self.paths)}")
        return self.columns[self._position[path]]

    def signature(self) -> dict[str, Any]:
        """Return what decides which points exist, as JSON can say it; the order of keys in the file does not count."""
        columns = []
        for one in self.columns:
            entry: dict[str, Any] = {"path": one.path, "kind": one.kind}
            if one.choices is not None:
                entry["choices"] = list(one.choices)
            else:
                entry |= {"low": one.low, "high": one.high, "step": one.step, "log": one.log}
            if one.when is not None:
                entry["when"] = {one.when[0]: list(one.when[1])}
            columns.append(entry)
        return {"columns": columns, "fixed": self.fixed, "rules": sorted(rule.text for rule in self.rules)}

    def spec(self) -> dict[str, Any]:
        """Return a specification by dotted path that reads back as this space."""
        spec: dict[str, Any] = {
            path: {"type": "fixed", "value": value} if isinstance(value, dict) and value else value
            for path, value in self.fixed.items()
        }
        for one in self.columns:
            node: dict[str, Any] = {"type": one.kind if one.choices is None else "grid"}
            if one.choices is not None:
                node["values"] = list(one.choices)
            else:
                node |= {"low": one.low, "high": one.high}
                node |= {"log": True} if one.log else {} if one.step is None else {"step": one.step}
            if one.when is not None:
                node["when"] = {one.when[0]: list(one.when[1])}
            spec[one.path] = node
        return spec

    # -- points ---------------------------------------------------------------------------------------------------

    def snap(self, vectors: FloatArray) -> FloatArray:
        """Return the vectors (n, d) moved to the nearest allowed values: clipped, on their steps, inactive ones NaN.

        Raises SpaceError for a NaN in an active column or a wrong width.
        """
        return self._snapper.many(vectors)

    def decode(self, vector: FloatArray | Sequence[float]) -> dict[str, Any]:
        """Return a vector's parameters: nested, typed, snapped, fixed values included, inactive ones absent."""
        values = vector.tolist() if isinstance(vector, np.ndarray) else list(vector)
        if len(values) != len(self.columns):
            raise SpaceError(f"vector: {len(values)} entries do not fit {len(self.columns)} columns")
        return self._decoder.params(self._snapper.row(values))

    def decode_many(self, vectors: FloatArray) -> list[dict[str, Any]]:
        """Return `decode` of each row of (n, d), snapped together."""
        return [self._decoder.params(row) for row in self.snap(vectors).tolist()]

    def params_of(self, snapped: FloatArray) -> list[dict[str, Any]]:
        """Return `decode` of each row of (n, d) that `snap` returned, without snapping again."""
        return [self._decoder.params(row) for row in snapped.tolist()]

    def encode(self, params: Mapping[str, Any], *, snap: bool = False) -> FloatArray:
        """Return the vector of nested (or dotted) parameters; fixed ones may be left out, but may not differ.

        A value off its grid or out of its range is refused, or with `snap` moved to the nearest. Raises SpaceError
        with every problem.
        """
        flat = flatten(params, {*self.paths, *self.fixed})
        problems = [
            f"{path}: is not a parameter of this space{nearest_name(path, [*self.paths, *self.fixed])}; remove it"
            for path in flat
            if path not in self._position and path not in self.fixed
        ]
        problems += [
            f"{path}: {flat[path]!r} differs from the fixed {self.fixed[path]!r}; remove it"
            for path in sorted(flat.keys() & self.fixed.keys())
            if not same_value(flat[path], self.fixed[path])
        ]
        vector = np.full(len(self.columns), np.nan)
        for j in self._order:
            one, condition = self.columns[j], self._conditions[j]
            active = condition is None or vector[condition[0]] in condition[1]
            if one.path not in flat:
                if active:
                    problems.append(f"{one.path}: is missing; give it a value")
            elif active:
                try:
                    vector[j] = self._code(one, flat[one.path], snap)
                except SpaceError as exc:
                    problems.append(exc.message)
            else:
                problems.append(f"{one.path}: does not exist here ({said(one)}); remove it")
        raise_problems(problems)
        return vector

    def allowed(self, vectors: FloatArray) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Return for each row of (n, d), already on its grid, whether every rule holds."""
        n = len(vectors)
        good = np.ones(n, dtype=bool)
        if not self.rules:
            return good
        values: dict[str, Any] = dict(self._constants)
        for path in {path for rule in self.rules for path in rule.paths} & self._position.keys():
            values[path] = self._rule_values(self._position[path], np.asarray(vectors)[:, self._position[path]])
        for rule in self.rules:
            holds = np.broadcast_to(rule.holds(values), (n,))
            inactive = np.zeros(n, dtype=bool)
            for path in rule.paths:
                if path in self._position:
                    inactive |= np.isnan(vectors[:, self._position[path]])
            good &= holds | inactive
        return good

    # -- counting -------------------------------------------------------------------------------------------------

    @property
    def size(self) -> int | None:
        """How many different points exist before the rules; None if a float is continuous. A space of fixed values
        has one."""
        return self._enumeration.size

    @property
    def warnings(self) -> tuple[str, ...]:
        """What can be searched but rarely is meant: nothing to search, a choice of one, one decided by a bound."""
        found = [] if self.columns else ["parameters: everything is fixed, so there is one point to try"]
        found += [
            f"{one.path}: has one value only, so it is not searched; write the value alone"
            for one in self.columns
            if one.count == 1 and one.when is None
        ]
        return tuple(found)

    def point(self, index: int) -> FloatArray:
        """Return the vector at a position of the enumeration (the last path runs fastest), 0 <= index < size."""
        if self.size is None:
            raise endless(self.columns)
        if not 0 <= index < self.size:
            raise SpaceError(f"point: index {index} is outside [0, {self.size})")
        vector = np.full(len(self.columns), np.nan)
        self._enumeration.write(index, vector)
        return vector

    def grid(self, limit: int | None = None, *, start: int = 0) -> Iterator[FloatArray]:
        """Yield the vectors of every point that satisfies the rules, in the order of `point`, at most `limit`.

        `start` is a position of the enumeration. Raises SpaceError if a float has neither step nor values.
        """
        if self.size is None:
            raise endless(self.columns)
        points = (self.point(index) for index in range(start, self.size))
        kept = (one for one in points if self.allowed(one[None, :])[0]) if self.rules else points
        yield from islice(kept, limit)

    # -- Optuna ---------------------------------------------------------------------------------------------------

    def distributions(self) -> dict[str, BaseDistribution]:
        """Return an Optuna distribution per column; lists and mappings appear as their JSON text."""
        return {one.path: distribution(one) for one in self.columns}

    def suggest(self, trial: Any) -> dict[str, Any]:
        """Ask an Optuna-like trial for every active parameter; needs only its `suggest_*` methods."""
        values = [math.nan] * len(self.columns)
        for j in self._order:
            condition = self._conditions[j]
            if condition is None or values[condition[0]] in condition[1]:
                values[j] = self._snapper.value(j, ask(trial, self._questions[j]))
        return self._decoder.params(values)

    # -- inside ---------------------------------------------------------------------------------------------------

    def _code(self, one: Column, value: Any, snap: bool) -> float:
        """The vector entry of one value."""
        if one.choices is not None:
            for position, choice in enumerate(one.choices):
                if same_value(choice, value):
                    return float(position)
            raise SpaceError(f"{one.path}: {value!r} is not one of {list(one.choices)!r}; choose one of them")
        if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
            raise SpaceError(f"{one.path}: {value!r} is not a number; give one in [{one.low!r}, {one.high!r}]")
        x = float(value)
        near = self._snapper.value(self._position[one.path], x)
        slack = 4.0 * float(np.spacing(max(abs(x), abs(near), 1e-300)))
        if near == x or snap or abs(near - x) <= slack:
            return near
        assert one.low is not None
        assert one.high is not None
        allowed = int(near) if one.kind == "int" else near
        if not one.low <= x <= one.high:
            raise SpaceError(f"{one.path}: {value!r} is outside [{one.low!r}, {one.high!r}]; use {allowed!r}")
        raise SpaceError(f"{one.path}: {value!r} is off its step {one.step!r}; use {allowed!r}")

    def _rule_constants(self) -> dict[str, Any]:
        constants: dict[str, Any] = {}
        problems = []
        for rule in self.rules:
            for path in rule.paths:
                if path in self.fixed:
                    value = self.fixed[path]
                    if type(value) is int and not is_finite(value):
                        problems.append(
                            f"{path}: a number of {len(str(value))} digits cannot be compared; write a smaller one"
                        )
                        continue
                    constants[path] = float(value) if type(value) is int else value
                elif path not in self._position:
                    known = [*self.paths, *self.fixed]
                    near = nearest_name(path, known) or f"; the parameters are {', '.join(known[:8])}"
                    more = f" and {len(known) - 8} more" if len(known) > 8 and near.startswith(";") else ""
                    problems.append(f"rules: {rule.text!r} reads {path}, which no parameter has{near}{more}")
        raise_problems(problems)
        return constants

    def _check_rules(self) -> None:
        """Run every rule once, on one point, so that text compared with a number fails here and not in a study."""
        for rule in self.rules:
            values = dict(self._constants)
            for path in rule.paths:
                if path in self._position:
                    values[path] = self._rule_values(self._position[path], np.zeros(1))
            holds = rule.holds(values)
            if not any(path in self._position for path in rule.paths) and not holds.all():
                raise SpaceError(f"rules: {rule.text!r} is false for the fixed values, so no point exists; mend either")

    def _rule_values(self, j: int, column: FloatArray) -> Any:
        choices = self.columns[j].choices
        if choices is None:
            return column
        codes = np.where(np.isnan(column), 0.0, column).astype(np.int64)
        numeric = all(isinstance(one, int | float) for one in choices)
        table = np.empty(len(choices), dtype=np.float64 if numeric else object)
        table[:] = choices if numeric else list(choices)
        return table[codes]


def suggest(trial: Any, spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested parameters of a specification, asked from an Optuna-like trial by its `suggest_*` methods alone.

    Read leniently: a high that is off its step is lowered to the last point. A float on a step is exactly the nearest
    multiple, whatever the trial answers.
    """
    return _space_of(spec).suggest(trial)


def expand_value(node: Any) -> list[Any]:
    """Return every value a specification stands for, each a value of its own: a grid's values, a range's points, the
    combinations of a nested mapping; anything bare is one fixed value.

    Raises SpaceError for a continuous float, and for more than a million values.

    >>> expand_value({"type": "float", "low": 0.1, "high": 0.3, "step": 0.1}), expand_value("ema")
    ([0.1, 0.2, 0.3], ['ema'])
    """
    if not isinstance(node, Mapping):
        return [plain_value(node)]
    space = Space.from_spec({"value": node}, lenient=True)
    if (space.size or 0) > _EXPAND_LIMIT:
        raise SpaceError(f"parameters: {space.size} values are too many to list; use Space.grid, which yields them")
    return [space.decode(one)["value"] for one in space.grid()]


_SPACES: dict[bytes, Space] = {}
_SPACES_LIMIT = 64


def _space_of(spec: Mapping[str, Any]) -> Space:
    """The space of a specification, remembered by its content since a study suggests from one again and again."""
    try:
        key = orjson.dumps(spec)
    except TypeError:  # holds something JSON cannot say: read it each time
        return Space.from_spec(spec, lenient=True)
    space = _SPACES.get(key)
    if space is None:
        space = Space.from_spec(spec, lenient=True)
        while len(_SPACES) >= _SPACES_LIMIT:
            _SPACES.pop(next(iter(_SPACES)), None)
        _SPACES[key] = space
    return space


def _rebuild(columns: Sequence[Column], fixed: Mapping[str, Any], rules: Sequence[str], notes: Sequence[str]) -> Space:
    return Space(columns, fixed, rules=rules, notes=notes)
