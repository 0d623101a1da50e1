"""Constraint expressions between parameters, such as `ma.fast < ma.slow`: checked, and run on a whole generation.

The text is read with `ast` and only the forms below are built; nothing is ever executed as Python. Allowed are
parameter paths, numbers, strings, booleans, `+ - * / // %`, comparisons (chained too), `in` with a list of constants,
`and`, `or`, `not`, and the functions `min`, `max`, `abs`.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any

import numpy as np

from genesis.errors import SpaceError

Values = Mapping[str, Any]
"""Path to an array of one value per point, or to one scalar."""
_Node = Callable[[Values], Any]

_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: np.true_divide,
    ast.FloorDiv: np.floor_divide,
    ast.Mod: np.mod,
}
_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_CALLS: dict[str, Callable[..., Any]] = {
    "min": lambda *given: reduce(np.minimum, given),
    "max": lambda *given: reduce(np.maximum, given),
    "abs": np.abs,
}
_WORDS = {"true": True, "false": False}  # as a study file writes them
_MAX_LENGTH = 1_000
_MAX_DEPTH = 60


class Rule:
    """One expression that a point must satisfy; `paths` are the parameters it reads.

    A rule that reads a parameter which is inactive at a point is satisfied there. Division by zero satisfies nothing.

    >>> rule = Rule("ma.fast * 2 <= ma.slow")
    >>> rule.paths, rule.holds({"ma.fast": np.array([5.0, 20.0]), "ma.slow": 30.0}).tolist()
    (('ma.fast', 'ma.slow'), [True, False])
    """

    __slots__ = ("_run", "paths", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        found: set[str] = set()
        self._run = _Reader(text, found).read()
        self.paths: tuple[str, ...] = tuple(sorted(found))

    def __reduce__(self) -> tuple[type[Rule], tuple[str]]:
        return Rule, (self.text,)

    def __repr__(self) -> str:
        return f"Rule({self.text!r})"

    def holds(self, values: Values) -> Any:
        """Return the truth of the rule for each point, a bool array (a numpy bool if every value is a scalar)."""
        with np.errstate(all="ignore"):
            return np.asarray(self._run(values), dtype=bool)


class _Reader:
    """Turns the syntax tree into nested closures, refusing what is not listed at the top."""

    def __init__(self, text: str, found: set[str]) -> None:
        self.text, self.found = text, found

    def fail(self, what: str) -> SpaceError:
        return SpaceError(
            f"rules: {self.text!r} {what}; write a comparison of parameter paths and numbers, "
            "for example 'ma.fast < ma.slow'"
        )

    def read(self) -> _Node:
        if len(self.text) > _MAX_LENGTH:
            raise SpaceError(f"rules: an expression has {len(self.text)} characters; {_MAX_LENGTH} are allowed")
        try:
            tree = ast.parse(self.text.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as exc:
            raise self.fail("cannot be read") from exc
        if _too_deep(tree):
            raise self.fail(f"is nested deeper than {_MAX_DEPTH} levels")
        if not isinstance(tree, ast.Compare | ast.BoolOp) and not (
            isinstance(tree, ast.UnaryOp) and isinstance(tree.op, ast.Not)
        ):
            raise self.fail("is not true or false")
        return self.truth(tree)

    def truth(self, node: ast.expr) -> _Node:
        if isinstance(node, ast.BoolOp):
            parts = [self.truth(one) for one in node.values]
            join = np.logical_and if isinstance(node.op, ast.And) else np.logical_or
            return lambda v: reduce(join, [part(v) for part in parts])
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            inner = self.truth(node.operand)
            return lambda v: np.logical_not(inner(v))
        if isinstance(node, ast.Compare):
            return self.comparison(node)
        value = self.value(node)  # a boolean parameter stands for itself
        return lambda v: np.equal(value(v), True)

    def comparison(self, node: ast.Compare) -> _Node:
        terms = [node.left, *node.comparators]
        links: list[_Node] = []
        for left, op, right in zip(terms, node.ops, terms[1:], strict=False):
            links.append(self.link(left, op, right))
        return lambda v: reduce(np.logical_and, [link(v) for link in links])

    def link(self, left: ast.expr, op: ast.cmpop, right: ast.expr) -> _Node:
        a = self.value(left)
        if isinstance(op, ast.In | ast.NotIn):
            if not isinstance(right, ast.List | ast.Tuple | ast.Set):
                raise self.fail("uses 'in' without a list")
            items = [self.constant(one) for one in right.elts]
            inside: _Node = lambda v: reduce(np.logical_or, [_equal(a(v), one) for one in items], np.False_)  # noqa: E731 (three lines nested in a method read worse)
            return inside if isinstance(op, ast.In) else lambda v: np.logical_not(inside(v))
        b = self.value(right)
        compare = _COMPARE.get(type(op))
        if compare is None:
            raise self.fail("uses a comparison that is not allowed")
        if compare is operator.eq:
            return lambda v: _equal(a(v), b(v))
        if compare is operator.ne:
            return lambda v: np.logical_not(_equal(a(v), b(v)))
        return lambda v: self.ordered(compare, a(v), b(v))

    def ordered(self, compare: Callable[[Any, Any], Any], a: Any, b: Any) -> Any:
        try:
            return compare(a, b)
        except TypeError as exc:
            raise self.fail("compares values that have no order") from exc

    def value(self, node: ast.expr) -> _Node:
        if isinstance(node, ast.Constant):
            constant = self.constant(node)
            return lambda _: constant
        if isinstance(node, ast.Name) and node.id in _WORDS:
            word = _WORDS[node.id]
            return lambda _: word
        if isinstance(node, ast.Name | ast.Attribute):
            path = self.path(node)
            self.found.add(path)
            return lambda v: v[path]
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
            inner = self.value(node.operand)
            return (lambda v: -inner(v)) if isinstance(node.op, ast.USub) else inner
        if isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
            apply, a, b = _BINARY[type(node.op)], self.value(node.left), self.value(node.right)
            return lambda v: self.computed(apply, a(v), b(v))
        if isinstance(node, ast.Call):
            return self.call(node)
        raise self.fail(f"contains {ast.unparse(node)!r}, which is not allowed")

    def call(self, node: ast.Call) -> _Node:
        known = isinstance(node.func, ast.Name) and node.func.id in _CALLS
        if not known or node.keywords or not node.args:
            raise self.fail(f"calls {ast.unparse(node.func)!r}; only min, max and abs of numbers are allowed")
        assert isinstance(node.func, ast.Name)
        if node.func.id == "abs" and len(node.args) != 1:
            raise self.fail("gives abs more than one number")
        apply, given = _CALLS[node.func.id], [self.value(one) for one in node.args]
        return lambda v: self.computed(apply, *(one(v) for one in given))

    def computed(self, apply: Callable[..., Any], *given: Any) -> Any:
        try:
            return apply(*given)
        except TypeError as exc:
            raise self.fail("computes with values that are not numbers") from exc

    def path(self, node: ast.expr) -> str:
        if isinstance(node, ast.Name):
            return node.id
        if isinstance(node, ast.Attribute):
            return f"{self.path(node.value)}.{node.attr}"
        raise self.fail(f"contains {ast.unparse(node)!r}, which is not a parameter path")

    def constant(self, node: ast.expr) -> Any:
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            return -self.constant(node.operand)
        if isinstance(node, ast.Name) and node.id in _WORDS:
            return _WORDS[node.id]
        if isinstance(node, ast.Constant) and isinstance(node.value, bool | int | float | str):
            return float(node.value) if type(node.value) is int else node.value  # no integer overflow, no 0 // 0
        raise self.fail(f"contains {ast.unparse(node)!r}, which is not a number, a string or true/false")


def _too_deep(tree: ast.expr) -> bool:
    level: list[ast.AST] = [tree]
    for _ in range(_MAX_DEPTH):
        level = [child for node in level for child in ast.iter_child_nodes(node)]
        if not level:
            return False
    return True


def _equal(a: Any, b: Any) -> Any:
    """Element-wise equality that is False, not an error, between numbers and text."""
    if isinstance(a, np.ndarray) and a.dtype == object:
        return (
            np.fromiter((one == b for one in a.tolist()), dtype=bool, count=len(a))
            if not isinstance(b, np.ndarray)
            else np.fromiter((one == two for one, two in zip(a.tolist(), b.tolist(), strict=True)), bool, count=len(a))
        )
    if isinstance(b, np.ndarray) and b.dtype == object:
        return _equal(b, a)
    if isinstance(a, str) != isinstance(b, str):
        size = max(np.size(a), np.size(b))
        return np.zeros(size, dtype=bool) if size > 1 else np.False_
    return np.equal(a, b) if not isinstance(a, str) else np.bool_(a == b)
