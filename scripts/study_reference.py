"""Write the key tables of docs/study-file.md from the models that read a study: python scripts/study_reference.py."""

from __future__ import annotations

import re
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from genesis.sections import (
    CostsSection,
    DataSection,
    ExecutionSection,
    HoldoutSection,
    PrunerSection,
    RunSection,
    SamplerSection,
    StudyFile,
)
from genesis.study_yaml import dump_yaml

PAGE = Path(__file__).parents[1] / "docs" / "study-file.md"
SECTIONS: dict[str, type[BaseModel]] = {
    "": StudyFile,
    "data.": DataSection,
    "holdout.": HoldoutSection,
    "costs.": CostsSection,
    "execution.": ExecutionSection,
    "run.": RunSection,
    "run.sampler.": SamplerSection,
    "run.pruner.": PrunerSection,
}
_WORDS = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    dict: "a mapping",
    tuple: "a list",
}
_OWN = {
    "data.timeframe": "such as 5m, 4h, 1d, 1w, 1M",
    "run.max_concurrent": "auto or 1 to 1024",
    "run.run_id": "at most 100 letters, digits, `.`, `_`, `-`",
    "run.sampler.type": "see below",
    "run.pruner.type": "see below",
    "run.sampler": "a name or a mapping",
    "run.pruner": "a name or a mapping",
    "objective": "see below",
    "parameters": "see below",
    "constraints": "see below",
    "rules": "see below",
    **dict.fromkeys(("strategy", "evaluate"), "a reference"),
    **dict.fromkeys(
        ("data.start", "data.end", "holdout.start", "holdout.end"), "`2010-12-31` or `2010-12-31T16:00:00Z`"
    ),
}


def allowed(path: str, info: FieldInfo) -> str:
    """What a key takes: its kind and its limits."""
    if path in _OWN:
        return _OWN[path]
    kind: Any = info.annotation
    if get_origin(kind) in (Union, UnionType):
        kind = next(one for one in get_args(kind) if one is not type(None))
    if get_origin(kind) is Literal:
        return " or ".join(f"`{one}`" for one in get_args(kind))
    kind = get_origin(kind) or kind
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return "a mapping"
    limits = {type(one).__name__: one for one in info.metadata}
    words = _WORDS.get(kind, "a list")
    low, above, high = (limits.get(name) for name in ("Ge", "Gt", "Le"))
    if low is not None or above is not None:
        least = f"{low.ge:g}" if low is not None else f"above {above.gt:g}"
        return f"{words}, {least} to {high.le:.12g}" if high is not None else f"{words}, {least} or more"
    return words


def default(info: FieldInfo) -> str:
    """The value of a key that is left out."""
    if info.is_required():
        return "required"
    value: Any = info.default
    if value is None or value in ((), "") or info.default_factory is not None:
        return "–"
    if isinstance(value, BaseModel):
        return "its own"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def table(prefix: str, model: type[BaseModel]) -> str:
    """One section's keys as a Markdown table."""
    lines = ["| key | meaning | takes | left out | example |", "|---|---|---|---|---|"]
    for name, info in model.model_fields.items():
        path = f"{prefix}{name}"
        example = dump_yaml({name: (info.examples or [None])[0]}, flow=True).strip()[1:-1]
        lines.append(f"| `{path}` | {info.description} | {allowed(path, info)} | {default(info)} | `{example}` |")
    return "\n".join(lines)


def render(page: str) -> str:
    """The page with every table between `<!-- keys PREFIX -->` and `<!-- end -->` written anew."""
    for prefix, model in SECTIONS.items():
        mark = f"<!-- keys {prefix or 'top'} -->"
        start, end = re.escape(mark), re.escape("<!-- end -->")
        replacement = f"{mark}\n{table(prefix, model)}\n<!-- end -->"
        page, found = re.subn(f"{start}.*?{end}", lambda _, text=replacement: text, page, flags=re.DOTALL)
        assert found == 1, f"{PAGE.name}: {mark} occurs {found} times"
    return page


if __name__ == "__main__":
    PAGE.write_text(render(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
