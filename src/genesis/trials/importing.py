"""Make a run out of a folder of `trial_*.json`, so that what an older optimizer found can be shown and compared."""

from __future__ import annotations

import math
import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson

from genesis.errors import SpaceError, StoreError
from genesis.search.space import Space
from genesis.trials.files import Refused, TrialFile, read_folder, trial_parameters
from genesis.trials.frame import flatten
from genesis.trials.merge import deep_merge
from genesis.trials.store import RunStore, Stored
from genesis.types import FloatArray, TrialResult, Violation

LARGEST_INT = 2**53  # of a range; integers beyond it are a choice of those seen


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import did: the run's folder, how many trials it holds, each file that was refused and why."""

    run_dir: Path
    imported: int
    refused: list[Refused]


def import_folder(folder: str | os.PathLike[str], run_dir: str | os.PathLike[str]) -> ImportReport:
    """Read every `trial_*.json` of a folder into a new run; the files are not touched.

    A file holds `parameters` (or `params`) and `score`: a number, or a mapping with `score`, `metrics` and
    `hard_failures`; `metrics` may also stand beside it, and `error` marks a failed trial. Scores are taken as they are:
    they are of the optimizer that wrote them. Of two files with the same parameters the first is kept; where they do
    not say the same, the refusal of the second names both. Where a name is a parameter in some files and a group of
    parameters in others, the fewer are refused. Raises `StoreError` if the folder cannot be read, holds nothing usable,
    or `run_dir` holds a run already.
    """
    found = read_folder(folder)
    refused = list(found.refused)
    sound: list[tuple[TrialFile, TrialResult]] = []
    for file in found.files:
        result = _result(0, file)
        if isinstance(result, TrialResult):
            sound.append((file, result))
        else:
            refused.append(Refused(file.name, result))
    sound = _of_one_shape(sound, refused)
    results: list[TrialResult] = []
    first: dict[str, tuple[str, TrialResult]] = {}
    for file, result in sound:
        if file.key in first:
            refused.append(Refused(file.name, _repeated(result, *first[file.key])))
        else:
            first[file.key] = file.name, result
            results.append(replace(result, number=len(results)))
    refused.sort(key=lambda each: each.name)
    if not results:
        raise StoreError(
            f"{found.path}: none of its {len(refused)} trial_*.json files can be used; {_examples(refused)}"
        )
    keep_imported(run_dir, results, observed_space([result.params for result in results]), found.path, len(refused))
    return ImportReport(Path(run_dir), len(results), refused)


def keep_imported(
    run_dir: str | os.PathLike[str],
    results: Sequence[TrialResult],
    spec: Mapping[str, Any],
    source: Path | str,
    refused: int,
) -> None:
    """Make a run of results that another optimizer found in the space of `spec`; `source` is where, for its notes.

    Raises `SpaceError` for a result outside the space and `StoreError` if `run_dir` holds a run already.
    """
    space = Space.from_spec(spec)
    study = {
        "run_id": Path(run_dir).name,
        "created": time.time(),
        "signature": {"imported": str(source.resolve() if isinstance(source, Path) else source)},
        "config": {"parameters": dict(spec)},
        "notes": [f"imported from {source}: the scores are those of the optimizer that wrote them"],
    }
    fallback: dict[str, Any] = {}
    for result in results:
        fallback = deep_merge(result.params, fallback)
    batch = [Stored(result, _vector(space, result.params, fallback), "imported") for result in results]
    with RunStore.create(run_dir, study) as store:
        store.append(batch, events=[{"event": "imported", "files": len(batch), "refused": refused}])


def _repeated(result: TrialResult, name: str, kept: TrialResult) -> str:
    """Why a file with the parameters of an earlier one is left out; both are named where they contradict each other."""
    same = f"has the parameters of {name}"
    if (result.score, result.state, result.metrics) == (kept.score, kept.state, kept.metrics):
        return f"{same} and says the same"
    told, before = _told(result), _told(kept)
    other = f"{told}, there {before}" if told != before else "other metrics"
    return f"{same} and contradicts it ({other}); {name} is kept: delete the one that is wrong and import again"


def _told(result: TrialResult) -> str:
    return "failed" if result.state == "failed" else f"score {result.score}"


def _of_one_shape(
    sound: list[tuple[TrialFile, TrialResult]], refused: list[Refused]
) -> list[tuple[TrialFile, TrialResult]]:
    """Those that make one space: no name is a parameter in some of them and a group of parameters in others.

    The fewer files of such a pair are refused, of as many those that come later.
    """
    leaves: dict[str, list[int]] = {}
    groups: dict[str, list[int]] = {}
    for index, (_, result) in enumerate(sound):
        paths = {path for path, _ in flatten(result.params)}
        above = {path[:at] for path in paths for at, letter in enumerate(path) if letter == "."}
        for path in paths:
            leaves.setdefault(path, []).append(index)
        for path in above:
            groups.setdefault(path, []).append(index)
    out: dict[int, str] = {}
    for path in sorted(leaves.keys() & groups.keys()):
        one, other = sorted((leaves[path], groups[path]), key=lambda rows: (-len(rows), rows[0]))
        kind = "a group of parameters" if other is groups[path] else "a parameter"
        for index in other:
            out[index] = f"has {path!r} as {kind}, unlike {sound[one[0]][0].name}; rename it, or import it apart"
    refused += [Refused(sound[index][0].name, reason) for index, reason in out.items()]
    return [each for index, each in enumerate(sound) if index not in out]


def _result(number: int, file: TrialFile) -> TrialResult | str:
    """The trial a file speaks of, or why it cannot be used."""
    trial = file.trial
    params = trial_parameters(trial)
    assert params is not None, "read_folder refuses files without"
    told = trial.get("score", trial.get("value"))
    details = told if isinstance(told, Mapping) else {}
    score: Any = details.get("score") if details else told
    error = trial.get("error")
    if error is None and not _is_number(score):
        return f"its score is {score!r}, not a number"
    metrics = trial.get("metrics", details.get("metrics", {}))
    if not isinstance(metrics, Mapping):
        return f"its metrics are {type(metrics).__name__}, not a mapping"
    failures = details.get("hard_failures") or ()
    if not isinstance(failures, list | tuple):
        return f"its hard_failures are {type(failures).__name__}, not a list of names"
    huge = [name for name, value in (("score", score), *metrics.items()) if _is_number(value) and not _fits(value)]
    if huge:
        return f"its {huge[0]} is beyond what a float can hold"
    unsound = _unsound(params)
    if unsound is not None:
        return unsound
    finite = _is_number(score) and math.isfinite(score)
    return TrialResult(
        number=number,
        generation=0,
        key=file.key,
        params=dict(params),
        state="complete" if error is None else "failed",
        score=float(score) if error is None and finite else None,
        metrics={str(name): _metric(value) for name, value in metrics.items() if value is None or _is_number(value)},
        violations=tuple(Violation(str(name), 0.0, None, 1.0) for name in failures),
        reason=None if error is None and finite else str(error or f"its score is {score}"),
        traceback=trial.get("traceback") if isinstance(trial.get("traceback"), str) else None,
    )


def _unsound(params: Mapping[str, Any]) -> str | None:
    """Why the names of these parameters cannot be those of a space, whatever the other files hold; None if they can."""
    paths = [path for path, _ in flatten(params)]
    twice = next((path for path, count in Counter(paths).items() if count > 1), None)
    if twice is not None:
        return f"says {twice!r} twice"
    empty = next((path for path in paths if not all(path.split("."))), None)
    if empty is not None:
        return f"has {empty!r} as a parameter, which is no name"
    both = next((path for path in paths if any(other.startswith(f"{path}.") for other in paths)), None)
    if both is not None:
        return f"has {both!r} both as a parameter and as a group of parameters"
    try:
        orjson.dumps(params)
    except TypeError as exc:
        return f"has a parameter that no space can hold ({exc})"
    return None


def _vector(space: Space, params: Mapping[str, Any], fallback: Mapping[str, Any]) -> FloatArray:
    """The point in the space; NaN, as for an inactive parameter, where a file leaves one out that others have."""
    vector = space.encode(deep_merge(fallback, params))
    given = {path for path, _ in flatten(params)}
    for index, column in enumerate(space.columns):
        if column.path not in given:
            vector[index] = math.nan
    return vector


def observed_space(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A specification that holds every point seen: ranges of numbers, grids of the rest, by dotted path."""
    seen: dict[str, list[Any]] = {}
    for params in rows:
        for path, value in flatten(params):
            seen.setdefault(path, []).append(value)
    spec = {path: _observed(values, complete=len(values) == len(rows)) for path, values in seen.items()}
    try:
        Space.from_spec(spec)
    except SpaceError as exc:
        raise StoreError(f"the imported parameters do not make one space: {exc}") from exc
    return spec


def _observed(values: list[Any], *, complete: bool) -> dict[str, Any]:
    kinds = {type(value) for value in values}
    if kinds <= {int, float} and complete:
        low, high = min(values), max(values)
        whole = kinds == {int}
        fits = max(abs(low), abs(high)) <= LARGEST_INT if whole else math.isfinite(float(high) - float(low))
        if low < high and fits:
            return {"type": "int" if whole else "float", "low": low, "high": high}
    distinct: dict[str, Any] = {f"{type(value).__name__}:{value!r}": value for value in values}
    return {"type": "grid", "values": list(distinct.values())}


def _fits(value: float) -> bool:
    try:
        float(value)
    except OverflowError:
        return False
    return True


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _metric(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)


def _examples(refused: Sequence[Refused]) -> str:
    return "; ".join(f"{each.name} {each.reason}" for each in refused[:3]) or "there are no such files"
