"""Run a study from its configuration to a result, or from where it stopped."""

from __future__ import annotations

import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from genesis import __version__
from genesis.config import StudyConfig, load_study
from genesis.engine.kernel import KERNEL_VERSION
from genesis.errors import ConfigError, ResumeError, RunFailedError
from genesis.run.evaluate import Evaluator
from genesis.run.events import Progress, ProgressEvent, StopReason
from genesis.run.executors import Executor, ProcessExecutor, SerialExecutor
from genesis.run.external import code_version
from genesis.run.holdout import holdout_evaluator, is_judged, judge_holdout
from genesis.run.loop import Limits, Loop
from genesis.run.mirror_live import LiveMirror, storable
from genesis.run.proposals import Proposer
from genesis.run.reporting import Reports
from genesis.run.restored import Values
from genesis.run.result import Run
from genesis.run.resume import check_signature, restore
from genesis.run.tally import Tally
from genesis.run.warm import META as WARM
from genesis.run.warm import read_warm_start, warm_history
from genesis.run.worker import Report
from genesis.search.samplers import BatchSampler, make_sampler
from genesis.search.space import Space
from genesis.trials.store import RunStore
from genesis.types import FloatArray

if TYPE_CHECKING:
    from genesis.search.pruners import Pruner

DEFAULT_STREAK = 1_000
PROMPT_TRIALS = 300
NO_BUDGET = 1_000_000  # what a sampler plans for when the study ends by something else than trials

StudySource = str | os.PathLike[str] | Mapping[str, Any] | StudyConfig


def optimize(
    study: StudySource,
    *,
    workers: int | None = None,
    resume: bool | None = None,
    progress: Progress | None = None,
    runs_dir: str | os.PathLike[str] = "runs",
    executor: Callable[[Evaluator], Executor] | None = None,
    flags: Mapping[str, Any] | None = None,
) -> Run:
    """Search a study's parameters and return the run, kept in `runs_dir`/run_id; a run that is there goes on.

    `workers` processes (default: the cores this process may use; 0: in this process) change the speed and nothing else.
    `resume` overrides the study's `run.allow_resume`. `flags` are settings that win over the study, by dotted key, such
    as `{"run.max_trials": 5000}`. `executor` makes another place to run trials from the study's evaluator.

    Ctrl-C ends the search cleanly: workers stopped, finished trials kept, `stop_reason` "interrupted".

    Raises `ConfigError`, `DataError` or `StrategyError` before anything runs, `ResumeError` when the stored run is of
    another study, `StoreBusyError` when another process runs it, `RunFailedError` when too many trials fail.
    """
    config = load_study(study, flags=flags)
    run_dir = Path(runs_dir) / config.run.run_id
    exists = (run_dir / "run.db").is_file()
    allowed = config.run.allow_resume if resume is None else resume
    if exists and not allowed:
        raise ResumeError(
            f"{run_dir}: exists, and run.allow_resume is false; set it to true to go on, or choose another run.run_id"
        )
    if not exists and resume:
        raise ResumeError(f"{run_dir}: there is no run to resume; leave resume out to begin it")
    if exists:
        with RunStore.open(run_dir, read_only=True) as stored:
            config = config.adopting(stored.study["config"])
    evaluator = Evaluator(config, segments=config.run.segments)
    evaluator.prepare()
    identity = signature(config, evaluator)
    if exists and config.run.mirror is None and (complete := _complete(config, run_dir, identity)) is not None:
        return _already_complete(config, run_dir, complete, progress)
    plan = _plan(config)  # refuses what cannot work before a folder is made that a corrected study could not use
    judge = holdout_evaluator(config)
    if exists:
        store = RunStore.open(run_dir)
    else:
        warm = read_warm_start(config)
        public = replace(config, run=config.run.model_copy(update={"mirror": storable(config.run.mirror)}))
        store = RunStore.create(run_dir, _study_record(public, identity))
        store.set_meta(WARM, warm)
        (run_dir / "study.yaml").write_text(public.to_yaml(), encoding="utf-8")
    with store:
        if exists:
            check_signature(run_dir, store.study["signature"], identity)
        return _search(
            config, store, evaluator, judge, plan, workers=workers, progress=progress, make_executor=executor
        )


def signature(config: StudyConfig, evaluator: Evaluator) -> dict[str, Any]:
    """What decides a run's trials and scores, as JSON values: the study's own part, the bars, the code that judges."""
    found: dict[str, Any] = dict(config.signature())
    bars = evaluator.bars
    if bars is not None:
        found["bars"] = {"fingerprint": bars.fingerprint, "count": len(bars)}
    strategy = evaluator.prepare().strategy
    if strategy is not None:
        found["strategy_code"] = {"id": strategy.id, "version": strategy.version}
        found["kernel"] = KERNEL_VERSION
    if config.evaluate is not None:
        found["evaluate_code"] = code_version(config.evaluate)
    return found


ENDED = ("trials", "target", "plateau", "exhausted")
"""Reasons that hold for as long as the limits and the trials are the same."""


def _limits(config: StudyConfig) -> dict[str, Any]:
    """What may end a run, as JSON values."""
    run = config.run
    names = ("max_trials", "timeout_seconds", "target_score", "patience", "max_failures", "max_duplicate_streak")
    return {name: getattr(run, name) for name in names}


def _complete(config: StudyConfig, run_dir: Path, identity: Mapping[str, Any]) -> dict[str, Any] | None:
    """The summary of a run that ended by these very limits and has nothing left to run or judge, else None."""
    with RunStore.open(run_dir, read_only=True) as store:
        check_signature(run_dir, store.study["signature"], identity)
        summary = store.meta("summary")
        if summary is None or summary["stop_reason"] not in ENDED or summary["trials"] != store.count:
            return None
        same = summary.get("limits") == _limits(config) and is_judged(config, store)
        return dict(summary) if same else None


def _already_complete(config: StudyConfig, run_dir: Path, summary: dict[str, Any], progress: Progress | None) -> Run:
    """A complete run as it is: no sampler, no workers, nothing compiled; its summary is its last session's."""
    run = Run(run_dir, session={**summary, "new_trials": 0})
    if progress is not None:
        tally = Tally(config.run.run_id, config.run.max_trials, 0)
        history = run.store.history()
        tally.add_stored(run.store, history, len(history))
        tally.duplicates.update(run.duplicates)
        tally.resumed = len(history)
        last = int(history.generations[-1]) + 1 if len(history) else 0
        progress(tally.event("finished", last, stop_reason=summary["stop_reason"], message=summary["message"]))
    return run


def _study_record(config: StudyConfig, identity: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "run_id": config.run.run_id,
        "created": time.time(),
        "version": __version__,
        "signature": dict(identity),
        "config": config.to_dict(),
        "notes": list(config.notes),
    }


def _lag(asked: int | None, sampler: BatchSampler, pruner: Pruner | None, concurrency: int) -> int:
    """One generation ahead where the sampler can be told which points are still running, else none.

    With a pruner none: what it knows must not change while a generation runs. One at a time means that none runs.
    """
    able = hasattr(sampler, "expect") and pruner is None
    if asked is None:
        return int(able and concurrency > 1)
    if asked and not able:
        what = f"the sampler {sampler.name!r}" if pruner is None else f"the pruner {pruner.name!r}"
        raise ConfigError(f"run.lag: {asked} cannot be used with {what}; use 0")
    return asked


def _prompt(config: StudyConfig, lag: int) -> int:
    """How many of the first generations wait for the one before, where the study leaves the lag to us.

    With few generations behind it each tells the sampler much, and a lag halves how often it learns.
    """
    return -(-PROMPT_TRIALS // config.concurrency) if config.run.lag is None and lag else 0


def _pruner(config: StudyConfig) -> Pruner | None:
    chosen = config.run.pruner
    if chosen.type == "none":
        return None
    from genesis.search.pruners import make_pruner

    pruner = make_pruner(chosen.type, chosen.kwargs)
    return pruner if pruner.active else None


class _Plan(NamedTuple):
    """How a study is searched: the sampler by its name, the pruner if there is one, the lag, generations or async."""

    name: str
    sampler: BatchSampler
    pruner: Pruner | None
    lag: int
    prompt: int
    in_order: bool


def _plan(config: StudyConfig) -> _Plan:
    run = config.run
    name = run.sampler.type
    assert name is not None
    sampler = make_sampler(
        name,
        run.sampler.kwargs,
        config.space,
        seed=run.seed,
        concurrency=config.concurrency,
        budget=run.max_trials or NO_BUDGET,
    )
    pruner = _pruner(config)
    in_order = run.mode == "generations"
    if not in_order and pruner is not None:
        raise ConfigError("run.mode: async cannot be used with a pruner; use generations")
    lag = _lag(run.lag, sampler, pruner, config.concurrency) if in_order else config.concurrency - 1
    return _Plan(name, sampler, pruner, lag, _prompt(config, lag) if in_order else 0, in_order)


def _search(
    config: StudyConfig,
    store: RunStore,
    evaluator: Evaluator,
    judge: Evaluator | None,
    plan: _Plan,
    *,
    workers: int | None,
    progress: Progress | None,
    make_executor: Callable[[Evaluator], Executor] | None,
) -> Run:
    run, space = config.run, config.space
    name, sampler, pruner, lag, prompt, in_order = plan
    processes = available_cores() if workers is None else workers
    tally = Tally(run.run_id, run.max_trials, max(processes, 1))
    tally.resumed = store.count
    if progress is not None:
        progress(tally.event("starting", 0, message="loading; the first run on a machine compiles, later ones do not"))
    proposer = Proposer(
        space,
        sampler,
        seed=run.seed,
        size=config.concurrency if in_order else 1,
        max_streak=run.max_duplicate_streak or DEFAULT_STREAK,
        enqueued=run.enqueue,
    )
    values = Values()
    began = time.perf_counter()
    restored = restore(
        store,
        proposer,
        values,
        tally,
        lag=lag,
        prompt=prompt,
        sampler_name=name,
        pruner=pruner,
        in_order=in_order,
        warm=list(warm_history(store, space)),
    )
    if (loaded := getattr(progress, "loaded", None)) is not None:
        loaded(tally.resumed, time.perf_counter() - began)
    before = tally.resumed
    unused = 0 if in_order else proposer.next_number - before  # numbers of trials that an async session did not finish
    evaluator.warm(space.decode(space.snap(_middle(space))[0]))
    if make_executor is not None:
        executor = _prepared(make_executor(evaluator), pruner, run.trial_seconds)
    else:
        report = None if pruner is None else Reports(pruner)
        executor = _executor(evaluator, processes, run.trial_seconds, report)
    started = time.perf_counter()
    mirror = None if run.mirror is None else LiveMirror(store.run_dir, run.mirror)
    with _stop_signals() as stop_asked:
        try:
            loop = Loop(
                store=store,
                proposer=proposer,
                executor=executor,
                values=values,
                tally=tally,
                limits=Limits(
                    trials=None if run.max_trials is None else run.max_trials + unused,
                    seconds=run.timeout_seconds,
                    target=run.target_score,
                    patience=run.patience,
                    failures=run.max_failures,
                ),
                lag=lag,
                prompt=prompt,
                restored=restored,
                progress=_with_news(progress, mirror),
                stop_asked=stop_asked,
                pruner=pruner,
                on_keep=getattr(progress, "keep", None),
            )
            reason = loop.run()
            elapsed = time.perf_counter() - started
        except BaseException:
            if mirror is not None:
                mirror.kill()
            raise
        finally:
            executor.close(kill=True)
    _account(tally, executor, elapsed)
    finalists = []
    if judge is not None and reason not in ("interrupted", "failures"):
        if progress is not None:
            progress(tally.event("holdout", loop.generation))
        finalists = judge_holdout(judge, store)
    summary = _summary(tally, reason, loop.message, elapsed, store.count, before) | {"limits": _limits(config)}
    if mirror is not None:
        mirrored = mirror.close()
        summary["mirror"] = mirrored
        if mirrored["problem"]:
            store.append([], events=[{"kind": "mirror", "message": mirror.words(mirrored["problem"])}])
    store.set_meta("summary", summary)
    if mirror is not None and (said := mirror.news()) is not None:
        _warn(progress, said)
    if progress is not None:
        progress(tally.event("finished", loop.generation, stop_reason=reason, message=loop.message))
    if reason == "failures":
        raise RunFailedError(
            f"{store.run_dir}: stopped after {tally.done} trials: {loop.message}. What finished is kept; "
            f"`genesis show {store.run_dir}` lists it",
            path=str(store.run_dir),
        )
    return Run(store.run_dir, session=summary, holdout=finalists or None)


def _with_news(progress: Progress | None, mirror: LiveMirror | None) -> Progress | None:
    """The watcher, also told when the mirror falls behind."""
    if progress is None or mirror is None:
        return progress

    def watch(event: ProgressEvent) -> None:
        if (said := mirror.news()) is not None:
            _warn(progress, said)
        progress(event)

    return watch


def _warn(progress: Progress | None, words: str) -> None:
    """Warn by the watcher if it can show warnings, else as Python warns."""
    show = getattr(progress, "mirror_behind", None)
    if show is not None:
        show(words)
    else:
        warnings.warn(f"{words}; `genesis export --optuna` catches up", stacklevel=3)


def _middle(space: Space) -> FloatArray:
    """A point of the space, for warming up: numbers from the middle of their ranges, first choices."""
    middle = [
        0.0 if one.low is None or one.high is None else (float(one.low) + float(one.high)) / 2 for one in space.columns
    ]
    return np.array([middle], dtype=np.float64).reshape(1, len(middle))


def available_cores() -> int:
    """Cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


def _executor(evaluator: Evaluator, workers: int, trial_seconds: float | None, report: Report | None) -> Executor:
    if workers == 0:
        return SerialExecutor(evaluator, report=report)
    return ProcessExecutor(evaluator, workers, time_limit=trial_seconds, report=report)


def _prepared(executor: Executor, pruner: Pruner | None, trial_seconds: float | None) -> Executor:
    """A user's executor, told of what it has to do besides running trials, or refused when it cannot."""
    for key, what, method in (("pruner", pruner, "prune_with"), ("trial_seconds", trial_seconds, "limit_to")):
        if what is None:
            continue
        if not hasattr(executor, method):
            executor.close(kill=True)
            kind = type(executor).__name__
            raise ConfigError(f"run.{key}: {kind} has no {method}(); leave run.{key} out or use the built-in workers")
        getattr(executor, method)(what)
    return executor


def _account(tally: Tally, executor: Executor, elapsed: float) -> None:
    """Turn what the coordinator waited into what the workers idled; stages are summed over processes.

    Where the coordinator runs the trials itself, what it does besides them is no idling.
    """
    besides = 0.0
    if isinstance(executor, SerialExecutor):
        besides = sum(tally.seconds[stage] for stage in ("propose", "claim", "keep", "tell"))
    tally.seconds["idle"] = max(0.0, executor.workers * elapsed - executor.busy_seconds - besides)
    spent = tally.seconds["features"] + tally.seconds["backtest"]
    if spent < executor.busy_seconds:
        tally.seconds["backtest"] += executor.busy_seconds - spent


def _summary(
    tally: Tally, reason: StopReason, message: str | None, elapsed: float, count: int, before: int
) -> dict[str, Any]:
    return {
        **tally.stored(),
        "stop_reason": reason,
        "message": message,
        "elapsed": elapsed,
        "workers": tally.workers,
        "trials": count,
        "new_trials": count - before,
        "seconds": dict(tally.seconds),
    }


@contextmanager
def _stop_signals() -> Iterator[Callable[[], bool]]:
    """Ctrl-C and SIGTERM ask the loop to stop; a second Ctrl-C interrupts at once. Only the main thread can listen."""
    asked: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: bool(asked)
        return

    def handle(number: int, frame: FrameType | None) -> None:
        del frame
        if asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        asked.append(number)

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
