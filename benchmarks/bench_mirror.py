"""A kept run into Optuna's storages: ours against Optuna's own `add_trials`, in turn, and how the cost grows.

The study has 20 parameters: 10 stepped floats, 5 integers, 3 continuous, 2 categoricals. Before anything is timed,
plain Optuna reads both ways of writing and finds equal trials. Ours includes reading the run's store.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import genesis
from benchmarks.timing import Compared, Timed, once, table, unit
from genesis.run.mirror import Mirror, opened
from genesis.run.mirror_rows import Columns, read_batch
from genesis.run.mirror_write import frozen

PARAMETERS: dict[str, dict[str, Any]] = {
    **{f"stepped{i}": {"type": "float", "low": -5.0, "high": 5.0, "step": 0.1} for i in range(10)},
    **{f"whole{i}": {"type": "int", "low": 1, "high": 200} for i in range(5)},
    **{f"smooth{i}": {"type": "float", "low": -5.0, "high": 5.0} for i in range(3)},
    **{f"choice{i}": {"type": "grid", "values": ["ema", "sma", "wma"]} for i in range(2)},
}
STORAGES = {"SQLite": "sqlite:///{}.db", "journal": "journal:{}.log"}
FIELDS = (
    *("number", "state", "values", "params", "distributions", "user_attrs", "system_attrs", "intermediate_values"),
    *("datetime_start", "datetime_complete"),
)


def loss(params: dict[str, Any]) -> dict[str, float]:
    return {"loss": sum(value * value for value in params.values() if not isinstance(value, str))}


def kept(folder: Path, trials: int) -> genesis.Run:
    study = {
        "evaluate": loss,
        "objective": {"metric": "loss", "direction": "minimize"},
        "parameters": PARAMETERS,
        "run": {"run_id": f"kept-{trials}", "max_trials": trials, "max_concurrent": 8, "seed": 1, "sampler": "random"},
    }
    return genesis.optimize(study, workers=0, runs_dir=folder)


def plain_study(run: genesis.Run, storage: Any, name: str) -> tuple[Any, list[Any]]:
    """What a user of Optuna would write, up to the call that is timed."""
    import optuna

    columns = Columns(run.space.distributions())
    study = optuna.create_study(storage=storage, study_name=name, direction="maximize")
    return study, [frozen(row, columns) for row in read_batch(run, 0, run.count)]


def check(run: genesis.Run, storage: Any) -> None:
    ours = Mirror(run, storage, "ours")
    ours.catch_up()
    plain, trials = plain_study(run, storage, "plain")
    plain.add_trials(trials)
    assert len(ours.study.trials) == len(plain.trials) == run.count
    for one, other in zip(ours.study.trials, plain.trials, strict=True):
        for field in FIELDS:
            assert getattr(one, field) == getattr(other, field), f"trial {one.number} differs in {field}"


def main(quick: bool) -> None:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    few = 100
    sizes = [few, 1_000] if quick else [few, 1_000, 10_000]
    rounds = 3 if quick else 7
    rows: list[list[object]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        runs = {size: kept(folder, size) for size in sizes}
        for label, form in STORAGES.items():
            with opened(form.format(folder / "check")) as storage:
                check(runs[few], storage)
            for size in sizes:
                ours, plain = [], []
                for turn in range(rounds):
                    with opened(form.format(folder / f"{size}-{turn}")) as storage:
                        mirror = Mirror(runs[size], storage, "ours")
                        ours.append(once(lambda _, it=mirror: it.catch_up(), 1) / size)
                        mirror.close()
                        study, trials = plain_study(runs[few], storage, "plain")
                        plain.append(once(lambda _, it=study, them=trials: it.add_trials(them), 1) / few)
                both = Compared(Timed(tuple(ours)), Timed(tuple(plain)))
                rows.append([label, f"{size:,}", unit(min(ours)), str(both)])
    print(f"a trial of 20 parameters, the storage open; add_trials with {few}")
    print(table(rows, ["storage", "trials", "ours, least", "ours against add_trials, medians and quartiles"]))
