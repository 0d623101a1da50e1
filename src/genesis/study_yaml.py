"""YAML of a study file: read safely, with repeated keys refused and `1e-5` a number; written back readably."""

from __future__ import annotations

import difflib
import re
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import yaml

from genesis.errors import ConfigError

_LARGEST_FILE = 4_000_000  # bytes; a study file is a page, and YAML is slow
_DEEPEST = 200
_MOST_VALUES = 1_000_000


class _Loader(yaml.SafeLoader):
    """Plain data only; PyYAML's own rules take the last of two equal keys and read `1e-5` as text."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self.depth += 1
        if self.depth > _DEEPEST:
            raise yaml.constructor.ConstructorError(
                None, None, f"is nested deeper than {_DEEPEST} levels; use dotted keys"
            )
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: dict[Any, int] = {}
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                raise yaml.constructor.ConstructorError(
                    None, None, "has a list or mapping as a key", key_node.start_mark
                )
            line = key_node.start_mark.line + 1
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"has the key {key!r} twice, on lines {seen[key]} and {line}; keep one"
                )
            seen[key] = line
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:[0-9][0-9_]*(?:\.[0-9_]*)?|\.[0-9][0-9_]*)[eE][-+]?[0-9]+$"),
    list("-+0123456789."),
)


def _moment(loader: _Loader, node: yaml.ScalarNode) -> Any:
    try:
        return loader.construct_yaml_timestamp(node)
    except ValueError:  # such as month 13: text, which the reader then refuses by its path
        return node.value


_Loader.add_constructor("tag:yaml.org,2002:timestamp", _moment)


def parse_yaml(text: str, *, name: str = "study") -> Any:
    """Read YAML text into plain data. Raises ConfigError with the line of the trouble.

    >>> parse_yaml("step: 1e-5")
    {'step': 1e-05}
    """
    loader = None
    try:
        loader = _Loader(text)
        data = loader.get_single_data()
        size = _expanded(data, {})
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        said = ", ".join(part for part in (exc.context, exc.problem) if part)
        hint = _hint(said, exc.context_mark)
        if "could not determine a constructor for the tag" in said:
            said = f"has the tag {said.rpartition(' ')[2]}, and a study is plain data; remove the tag"
        raise ConfigError(f"{name}: {said}{where}{hint}") from exc
    except (yaml.YAMLError, ValueError, RecursionError, OverflowError) as exc:
        said = " ".join(str(exc).split())
        raise ConfigError(f"{name}: cannot be read as YAML: {said}; save the study as plain text") from exc
    finally:
        if loader is not None:
            loader.dispose()
    if size > _MOST_VALUES:
        raise ConfigError(f"{name}: its aliases repeat into more than {_MOST_VALUES:,} values; write it without them")
    return data


_HINTS = (
    ("\\t", "indent with spaces, not tabs"),
    (
        "mapping values are not allowed",
        "begin each key on a line of its own, in its block's column, and quote text with ': '",
    ),
    ("expected ',' or", "close the bracket that opens {place}, or put a comma between two entries"),
    ("could not find expected ':'", "write key: value, with a space after the colon"),
    ("expected a single document", "remove the line '---' and keep one study in a file"),
    ("as a key", "write a plain name before the colon"),
    ("but found ']'", "remove the bracket, which closes nothing"),
    ("but found '}'", "remove the bracket, which closes nothing"),
    ("expected <block end>", "begin the keys of one block in the same column"),
    ("that cannot start any token", "put the text in quotes"),
    ("unexpected end of stream", "close the quote that opens {place}"),
    ("undefined alias", "put text that begins with * in quotes"),
    ("expected the node content", "write a value after the colon or dash, and put special characters in quotes"),
    ("expected alphabetic or numeric", "put text that begins with * or & in quotes"),
)


def _hint(problem: str, opened: Any) -> str:
    """What to type for the parser's own complaints, which name no remedy."""
    place = f"on line {opened.line + 1}" if opened else "above"
    if "tag" in problem or "; keep one" in problem or "nested deeper" in problem:  # ours, or with a remedy already
        return ""
    found = next((say.format(place=place) for words, say in _HINTS if words in problem), None)
    return f"; {found or 'correct this line, or put its text in quotes'}"


def _expanded(value: Any, known: dict[int, int]) -> int:
    """How many values there are once every alias is written out; a list that contains itself has no end."""
    if not isinstance(value, dict | list):
        return 1
    if id(value) not in known:
        known[id(value)] = _MOST_VALUES + 1  # while it is being counted, so that a circle is too many
        inner = value.values() if isinstance(value, dict) else value
        known[id(value)] = min(1 + sum(_expanded(one, known) for one in inner), _MOST_VALUES + 1)
    return known[id(value)]


def read_yaml(path: Path) -> Mapping[str, Any]:
    """Read a study file into a mapping. Raises ConfigError for a missing, huge, binary or non-mapping file."""
    path = Path(path).expanduser()
    try:
        if path.is_dir():
            raise ConfigError(f"{path}: is a folder; name the study file in it")
        if path.stat().st_size > _LARGEST_FILE:
            raise ConfigError(f"{path}: is larger than {_LARGEST_FILE:,} bytes; a study file is a page of YAML")
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as exc:
        near = [one.name for one in path.parent.glob("*.y*ml")] if path.parent.is_dir() else []
        close = difflib.get_close_matches(path.name, near, n=1, cutoff=0.5)
        hint = f"did you mean {path.with_name(close[0])}?" if close else "name an existing YAML file"
        raise ConfigError(f"{path}: there is no such study file; {hint}") from exc
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{path}: is not UTF-8 text (byte {exc.start}); save it as UTF-8") from exc
    except OSError as exc:
        raise ConfigError(f"{path}: cannot be read: {exc.strerror or exc}") from exc
    data = parse_yaml(text, name=str(path))
    if not isinstance(data, Mapping):
        what = "is empty" if data is None else f"holds {type(data).__name__}, not a mapping"
        raise ConfigError(f"{path}: {what}; start with lines such as 'strategy: sma_cross'")
    return data


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the hook's signature
        return True


def _float(dumper: yaml.SafeDumper, value: float) -> yaml.ScalarNode:
    text = repr(value)  # PyYAML writes 1e-05 so that it reads back as a float only with a dot
    if "e" in text and "." not in text:
        text = text.replace("e", ".0e")
    return dumper.represent_scalar("tag:yaml.org,2002:float", text)


_Dumper.add_representer(float, _float)


def dump_yaml(data: Mapping[str, Any], *, flow: bool = False) -> str:
    """Write plain data as YAML that `parse_yaml`, and any YAML 1.1 reader, reads back equal; `flow` is one line."""
    return yaml.dump(
        dict(data),
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=True if flow else None,
        width=100_000 if flow else 110,
    )
