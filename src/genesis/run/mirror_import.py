"""Read an Optuna study: as a run of ours, or as the history that a search begins with."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genesis.errors import ConfigError, SpaceError, StoreError
from genesis.run.mirror import opened
from genesis.run.mirror_live import hidden
from genesis.search.space import Space
from genesis.trials.files import Refused
from genesis.trials.identity import trial_key
from genesis.trials.importing import ImportReport, keep_imported, observed_space
from genesis.types import TrialResult, Violation

if TYPE_CHECKING:
    import optuna

FILES = ("sqlite:///", "journal:")
MADE_BY_US = "metrics."
_STATES = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}


def split_source(source: str) -> tuple[str, str]:
    """`URL#STUDY`, with or without `optuna:` before it, as its two parts; the study's name may hold `#` itself.

    The URL of a file ends at the first `#` behind a file that is there, that of a server at the first `#` behind the
    server; where neither tells, at the last one.
    """
    source = source.removeprefix("optuna:")
    marks = [at for at, letter in enumerate(source) if letter == "#"]
    if source.startswith(FILES):
        ends = [at for at in marks if _file(source[:at]).is_file()]
    else:  # a password may hold one too
        server = source.find("/", source.find("://") + 3)
        ends = [at for at in marks if 0 <= server < at]
    end = (ends or marks[-1:] or [0])[0]
    url, name = source[:end], source[end + 1 :]
    if not url or not name:
        raise ConfigError(f"optuna: {hidden(source)!r} names no study; write sqlite:///FILE#STUDY")
    return url, name


def _file(url: str) -> Path:
    """The file of a URL of `FILES`."""
    mark = next(one for one in FILES if url.startswith(one))
    return Path(url.removeprefix(mark).partition("?")[0])


@contextmanager
def opened_study(source: str) -> Iterator[optuna.Study]:
    """The study `URL#STUDY`, its storage closed at the end; raises `ConfigError` naming the studies that are there."""
    import optuna

    url, name = split_source(source)
    if url.startswith(FILES) and not _file(url).is_file():  # Optuna would make an empty one
        raise ConfigError(f"optuna: no file {_file(url)}; check the path in {url}#{name}")
    with opened(url) as storage:
        there = [one.study_name for one in storage.get_all_studies()]
        if name not in there:
            some = ", ".join(map(repr, there[:10])) or "no study"
            raise ConfigError(f"optuna: no study {name!r} in {hidden(url)}; there is {some}")
        study = optuna.load_study(storage=storage, study_name=name)
        if len(study.directions) != 1:
            raise ConfigError(
                f"optuna: the study {name!r} has {len(study.directions)} objectives; only one can be ranked, "
                "so copy its trials into a study of one objective first"
            )
        yield study


def import_study(source: str, run_dir: str | os.PathLike[str]) -> ImportReport:
    """Make a run of an Optuna study `URL#STUDY`, which is only read.

    A larger score is better, so a study that minimizes has its values with the sign changed, and the value itself as
    the metric `value`. Numbers among a trial's user attributes are metrics, constraint values above zero violations,
    reported values the running scores. Trials that are not finished, and repeats of the same parameters, are left out
    and named. Raises `ConfigError` when the study cannot be read and `StoreError` when nothing can be kept.
    """
    with opened_study(source) as study:
        sign = 1.0 if study.direction.name == "MAXIMIZE" else -1.0
        trials = study.get_trials(deepcopy=False)
    refused: list[Refused] = []
    results: list[TrialResult] = []
    used = []
    first: dict[str, int] = {}
    for trial in trials:
        found = _result(trial, len(results), sign)
        if isinstance(found, TrialResult) and found.key in first:
            found = f"has the parameters of trial {first[found.key]}"
        if isinstance(found, TrialResult):
            first[found.key] = trial.number
            results.append(found)
            used.append(trial)
        else:
            refused.append(Refused(f"trial {trial.number}", found))
    url, name = split_source(source)
    if not results:
        raise StoreError(f"{hidden(url)}#{name}: none of its {len(trials)} trials can be imported")
    keep_imported(run_dir, results, _space(used, results), f"{hidden(url)}#{name}", len(refused))
    return ImportReport(Path(run_dir), len(results), refused)


def _result(trial: optuna.trial.FrozenTrial, number: int, sign: float) -> TrialResult | str:
    """A trial of ours, or why it is none."""
    if trial.state.name not in _STATES:
        return f"is not finished ({trial.state.name.lower()})"
    if not trial.params:
        return "has no parameters"
    try:
        params = _nested(trial.params)
        key = trial_key(params)
    except (ConfigError, StoreError) as error:
        return str(error)
    score = None if trial.value is None or trial.value != trial.value else sign * trial.value
    metrics = {
        name.removeprefix(MADE_BY_US): float(value)
        for name, value in trial.user_attrs.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool) and not name.startswith("genesis:")
    }
    if score is not None:
        metrics.setdefault("value", sign * score)
    amounts = trial.system_attrs.get("constraints") or ()
    reason = trial.user_attrs.get("reason")
    return TrialResult(
        number=number,
        generation=0,
        key=key,
        params=params,
        state=_STATES[trial.state.name],  # type: ignore[arg-type]
        score=score,
        metrics=dict(metrics),
        violations=tuple(Violation(f"constraint {k}", 0.0, one, one) for k, one in enumerate(amounts, 1) if one > 0),
        reason=str(reason) if reason is not None else "failed in Optuna" if trial.state.name == "FAIL" else None,
        reports=tuple(sign * value for _, value in sorted(trial.intermediate_values.items())),
    )


def _nested(params: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters of dotted names as the mappings that they stand for."""
    nested: dict[str, Any] = {}
    for path, value in params.items():
        *outer, last = path.split(".")
        inner = nested
        for part in outer:
            inner = inner.setdefault(part, {})
            if not isinstance(inner, dict):
                raise StoreError(f"has both {part!r} and {path!r} as parameters")
        if last in inner:
            raise StoreError(f"has {path!r} twice, as a parameter and as a group")
        inner[last] = value
    return nested


def _space(trials: Sequence[optuna.trial.FrozenTrial], results: Sequence[TrialResult]) -> dict[str, Any]:
    """The study's own ranges where they never changed, else the ranges seen."""
    kinds: dict[str, Any] = {}
    changed = False
    for trial in trials:
        for path, kind in trial.distributions.items():
            changed |= kinds.setdefault(path, kind) != kind
    spec = {path: _spec(kind) for path, kind in kinds.items()}
    params = [result.params for result in results]
    try:
        space = Space.from_spec(spec)
        whole = [one for one, trial in zip(params, trials, strict=True) if len(trial.params) == len(kinds)]
        if not changed and whole:
            for one in whole:
                space.encode(one)
            return spec
    except SpaceError:  # a distribution that our spaces do not have, or a value outside its own
        pass
    return observed_space(params)


def _spec(kind: Any) -> dict[str, Any]:
    import optuna

    if isinstance(kind, optuna.distributions.CategoricalDistribution):
        return {"type": "grid", "values": list(kind.choices)}
    if kind.low == kind.high:
        return {"type": "grid", "values": [kind.low]}
    made = {"type": "float" if isinstance(kind.low, float) else "int", "low": kind.low, "high": kind.high}
    if kind.log:
        made["log"] = True
    elif kind.step not in (None, 1):
        made["step"] = kind.step
    elif kind.step == 1 and made["type"] == "float":
        made["step"] = 1.0
    return made
