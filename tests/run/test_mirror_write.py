"""Trials written at once are, to plain Optuna, those that `Study.add_trials` writes one by one."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import time
from datetime import UTC, datetime, timedelta

import optuna
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.testing.pytest_storages import StorageTestCase

import genesis
from genesis.errors import StoreError
from genesis.run import mirror_write
from genesis.run.mirror import Mirror, export_optuna, opened
from genesis.run.mirror_journal import JournalWriter
from genesis.run.mirror_rows import CREATED, NUMBER, Columns, Row
from genesis.run.mirror_sqlite import WIDTH, SqliteWriter
from genesis.run.mirror_write import PlainWriter, TablesWriter, writer_for

CREATED_AT = 1_750_000_000.25
FIELDS = (
    *("number", "state", "values", "params", "distributions", "user_attrs", "system_attrs", "intermediate_values"),
    *("datetime_start", "datetime_complete"),
)
KINDS = {
    "plain": FloatDistribution(-5.0, 5.0),
    "deep.log": FloatDistribution(1e-9, 1e3, log=True),
    "stepped": FloatDistribution(0.0, 1.0, step=0.1),
    "whole": IntDistribution(-3, 10**9),
    "whole.log": IntDistribution(1, 512, log=True),
    'it\'s "odd" ü 中': CategoricalDistribution(["a'b", 'c"d', "ü", None, 2.5, "[1, 2]"]),
    "alone": IntDistribution(4, 4),
}
COLUMNS = Columns(KINDS)
INTERNAL = (
    st.floats(-5.0, 5.0),
    st.floats(1e-9, 1e3),
    st.integers(0, 10).map(lambda k: round(k * 0.1, 10)),
    st.integers(-3, 10**9).map(float),
    st.integers(1, 512).map(float),
    st.integers(0, 5).map(float),
    st.just(4.0),
)
METRICS = st.dictionaries(
    st.sampled_from(["sharpe", "it's", 'a"b', "ü", "trades", "x.y"]),
    st.none() | st.floats(allow_nan=False, allow_infinity=True) | st.integers(-(10**25), 10**25) | st.just(1e-07),
)
STEPS = st.lists(st.floats(allow_nan=False), max_size=4)
REASONS = st.none() | st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
FORMS = ("sqlite:///{}/optuna.db", "journal:{}/optuna.log")
names = itertools.count()


@st.composite
def rows(draw):
    """Rows as a run may have them: any columns active, any state, any metrics."""
    made = []
    for number in draw(st.lists(st.integers(0, 10**6), max_size=6, unique=True)):
        active = tuple(sorted(draw(st.sets(st.integers(0, len(KINDS) - 1)))))
        state = draw(st.sampled_from(["COMPLETE", "FAIL", "PRUNED"]))
        value = draw(st.floats(allow_nan=False)) if state == "COMPLETE" else None
        if state == "PRUNED":
            value = draw(st.none() | st.floats(-1e300, 1e300))
        user = {NUMBER: number, "origin": draw(st.sampled_from(["tpe", "startup", "it's"]))}
        user |= {f"metrics.{name}": one for name, one in draw(METRICS).items()}
        if (reason := draw(REASONS)) is not None:
            user["reason"] = reason
        start = datetime(2025, 6, 15, 12, tzinfo=UTC) + timedelta(milliseconds=number)
        made.append(
            Row(
                number,
                state,
                value,
                active,
                [draw(INTERNAL[j]) for j in active],
                user,
                draw(st.lists(st.floats(0.0, 1e300), min_size=1, max_size=3)),
                list(enumerate(draw(STEPS), 1)),
                start,
                start + timedelta(milliseconds=1),
            )
        )
    return made


@pytest.fixture(scope="module", params=FORMS)
def storage(request, tmp_path_factory):
    with opened(request.param.format(tmp_path_factory.mktemp("optuna"))) as one:
        yield one


@pytest.fixture(autouse=True)
def far_from_greenwich(monkeypatch):
    """Optuna keeps local times, and a clock that shows UTC would hide every mistake about them."""
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def study_in(storage, name=None):
    study = optuna.create_study(storage=storage, study_name=name or f"s{next(names)}", direction="maximize")
    study.set_user_attr(CREATED, CREATED_AT)
    return study


def same(left, right, fields=FIELDS):
    left, right = left.get_trials(), right.get_trials()
    assert len(left) == len(right)
    for one, other in zip(left, right, strict=True):
        for field in fields:
            assert getattr(one, field) == getattr(other, field), field
        assert list(one.params) == list(other.params)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=rows(), second=rows())
def test_what_is_written_at_once_is_what_optuna_writes(storage, tmp_path, first, second):
    """Every kind of column, conditional ones, every state, any metrics and reports; in two batches, each row once."""
    quick, slow = study_in(storage), study_in(storage)
    writer = writer_for(quick, storage, CREATED_AT, COLUMNS, tmp_path)
    assert type(writer) in (SqliteWriter, JournalWriter)
    plain = PlainWriter(slow, COLUMNS, tmp_path)
    for batch in (first, second, first):
        assert writer.add(batch) == plain.add(batch)
    writer.close()
    same(optuna.load_study(storage=storage, study_name=quick.study_name), slow)


def test_the_way_through_sqlalchemy_writes_the_same(tmp_path):
    """The tables that PostgreSQL is written through, here in SQLite, hold what the quick way writes."""
    batch = [made_row(number) for number in range(30)]
    with opened(FORMS[0].format(tmp_path)) as storage:
        quick, other = study_in(storage), study_in(storage)
        tables = TablesWriter(storage, other._study_id, CREATED_AT, COLUMNS)
        writer = writer_for(quick, storage, CREATED_AT, COLUMNS, tmp_path)
        for some in (batch[:10], batch[5:], batch):
            assert writer.add(some) == tables.add(some)
        writer.close()
        same(quick, other)


def made_row(number, active=(0, 3), internal=(0.5, 7.0), columns=None):
    start = datetime(2025, 6, 15, 12, tzinfo=UTC) + timedelta(milliseconds=number)
    user = {NUMBER: number, "origin": "tpe", "metrics.loss": number / 7, "metrics.none": None}
    active = active if columns is None else tuple(range(len(columns.paths)))
    internal = list(internal) if columns is None else [0.25 * j for j in active]
    return Row(number, "COMPLETE", 1.5, active, internal, user, [0.0], [(1, 0.25)], start, start + timedelta(seconds=1))


def test_more_parameters_than_one_statement_takes(storage, tmp_path):
    """A trial whose parameters fill several statements arrives whole and in order."""
    columns = Columns({f"p{j}": FloatDistribution(0.0, 1e6) for j in range(2 * WIDTH + 7)})
    study = study_in(storage)
    writer = writer_for(study, storage, CREATED_AT, columns, tmp_path)
    writer.add([made_row(number, columns=columns) for number in range(3)])
    writer.close()
    for trial in study.get_trials():
        assert trial.params == {f"p{j}": 0.25 * j for j in range(2 * WIDTH + 7)}


def test_tables_of_another_form_are_written_by_optuna_itself(tmp_path):
    """A column that is not known means another schema: Optuna itself writes, and the trials arrive all the same."""
    with opened(FORMS[0].format(tmp_path)) as storage:
        study = study_in(storage)
        with storage.engine.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE trials ADD COLUMN extra INTEGER")
        writer = writer_for(study, storage, CREATED_AT, COLUMNS, tmp_path)
        assert type(writer) is PlainWriter
        assert writer.add([made_row(0), made_row(1)]) == 2
        assert [trial.user_attrs[NUMBER] for trial in study.get_trials()] == [0, 1]


def test_an_optuna_that_was_not_checked_is_written_by_itself(storage, tmp_path, monkeypatch):
    """Another version of Optuna may have other tables and records."""
    monkeypatch.setattr(optuna, "__version__", "6.0.0")
    assert type(writer_for(study_in(storage), storage, CREATED_AT, COLUMNS, tmp_path)) is PlainWriter


def _race(form, folder, name, plain, begin, count):
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if plain:
        mirror_write.KNOWN_VERSIONS = ("0.0",)
    with opened(form.format(folder)) as storage:
        study = optuna.load_study(storage=storage, study_name=name)
        writer = writer_for(study, storage, CREATED_AT, COLUMNS, folder)
        begin.wait(60)
        for number in range(count):
            writer.add([made_row(number), made_row(count + number // 2)])
        writer.close()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("plain", [False, True])
def test_two_mirrors_at_once_add_no_trial_twice(form, plain, tmp_path):
    """Processes that write the same trials into one study leave each trial once, numbered without a gap."""
    count = 12
    with opened(form.format(tmp_path)) as storage:
        study_in(storage, "raced")
    context = multiprocessing.get_context("spawn")
    begin = context.Barrier(2)
    racers = [context.Process(target=_race, args=(form, str(tmp_path), "raced", plain, begin, count)) for _ in range(2)]
    for one in racers:
        one.start()
    for one in racers:
        one.join(120)
        assert one.exitcode == 0
    with opened(form.format(tmp_path)) as storage:
        trials = optuna.load_study(storage=storage, study_name="raced").trials
    assert sorted(trial.user_attrs[NUMBER] for trial in trials) == list(range(count + count // 2))
    assert [trial.number for trial in trials] == list(range(len(trials)))


def test_a_study_that_was_replaced_is_not_written(storage, tmp_path):
    """A mirror whose study was deleted, also when one of the same name took its place, says so and writes nothing."""
    study = study_in(storage)
    writer = writer_for(study, storage, CREATED_AT, COLUMNS, tmp_path)
    writer.add([made_row(0)])
    optuna.delete_study(study_name=study.study_name, storage=storage)
    with pytest.raises(StoreError, match="deleted or replaced"):
        writer.add([made_row(1)])
    again = study_in(storage, study.study_name)
    with pytest.raises(StoreError, match="deleted or replaced"):
        writer.add([made_row(1)])
    writer.close()
    assert again.trials == []


def test_a_batch_that_fails_leaves_nothing(tmp_path):
    """A row that cannot be written takes its whole batch with it, and the study goes on."""
    with opened(FORMS[0].format(tmp_path)) as storage:
        study = study_in(storage)
        writer = writer_for(study, storage, CREATED_AT, COLUMNS, tmp_path)
        with pytest.raises(TypeError):
            writer.add([made_row(0), made_row(1)._replace(constraints=[object()])])
        assert study.get_trials() == []
        assert writer.add([made_row(0)]) == 1
        writer.close()
        assert len(study.get_trials()) == 1


def test_optunas_own_trials_beside_ours_keep_their_numbers(storage, tmp_path):
    """Trials that plain Optuna adds between our batches are counted, and none gets another's number."""
    study = study_in(storage)
    writer = writer_for(study, storage, CREATED_AT, COLUMNS, tmp_path)
    writer.add([made_row(0)])
    study.add_trial(optuna.trial.create_trial(value=3.0, params={}, distributions={}))
    writer.add([made_row(1)])
    study.optimize(lambda trial: trial.suggest_float("plain", -5.0, 5.0), n_trials=1)
    writer.add([made_row(2)])
    writer.close()
    trials = study.get_trials()
    assert [trial.number for trial in trials] == [0, 1, 2, 3, 4]
    assert [trial.user_attrs.get(NUMBER) for trial in trials] == [0, None, 1, None, 2]


def test_a_torn_line_between_two_batches_is_cut(tmp_path):
    """Another writer that is killed while a mirror is open does not make the journal unreadable."""
    with opened(FORMS[1].format(tmp_path)) as storage:
        study = study_in(storage)
        writer = writer_for(study, storage, CREATED_AT, COLUMNS, tmp_path)
        writer.add([made_row(0)])
        with (tmp_path / "optuna.log").open("ab") as journal:
            journal.write(b'{"op_code":4,')
        writer.add([made_row(1)])
    assert writer.torn == 13
    with opened(FORMS[1].format(tmp_path)) as storage:
        assert len(optuna.load_study(storage=storage, study_name=study.study_name).trials) == 2


def test_a_journal_that_cannot_take_a_batch_stays_whole(tmp_path, monkeypatch):
    """A disk that fails in the middle of a batch leaves no part of it behind."""
    with opened(FORMS[1].format(tmp_path)) as storage:
        study = study_in(storage)
        writer = writer_for(study, storage, CREATED_AT, COLUMNS, tmp_path)
        writer.add([made_row(0)])
        before = (tmp_path / "optuna.log").read_bytes()

        def full(handle):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(StoreError, match="No space left"):
            writer.add([made_row(1)])
        monkeypatch.undo()
        assert (tmp_path / "optuna.log").read_bytes() == before
        assert writer.add([made_row(1)]) == 1
        assert len(study.get_trials()) == 2


STUDY = {
    "evaluate": lambda params: {"loss": params["x"] ** 2},
    "objective": {"metric": "loss", "direction": "minimize"},
    "parameters": {"x": {"type": "float", "low": -5.0, "high": 5.0}},
    "run": {"run_id": "followed", "max_trials": 30, "max_concurrent": 5, "seed": 3, "sampler": "random"},
}


@pytest.mark.parametrize("form", FORMS)
def test_catching_up_reads_only_what_is_new(form, tmp_path, monkeypatch):
    """A mirror that has taken all trials below one asks its run for that one and later ones only."""
    run = genesis.optimize(STUDY, workers=0, runs_dir=tmp_path)
    asked = []
    with opened(form.format(tmp_path)) as storage:
        mirror = Mirror(run, storage)
        assert mirror.catch_up() == 30
        plain = run.store.raw
        monkeypatch.setattr(run.store, "raw", lambda first, limit: asked.append(first) or plain(first, limit))
        genesis.optimize(STUDY, workers=0, runs_dir=tmp_path, flags={"run.max_trials": 42})
        assert mirror.catch_up() == 12
        assert min(asked) == 30
        mirror.close()
    assert export_optuna(run, form.format(tmp_path)) == 0


def test_an_export_prints_nothing_of_optuna(tmp_path, capfd):
    """Optuna's own lines of log do not mix with what the command prints, and its verbosity is left as it was."""
    run = genesis.optimize(STUDY, workers=0, runs_dir=tmp_path)
    before = optuna.logging.get_verbosity()
    export_optuna(run, FORMS[0].format(tmp_path))
    assert "study" not in capfd.readouterr().err
    assert optuna.logging.get_verbosity() == before


class TestMirroredStorage(StorageTestCase):
    """Optuna's own storage tests hold in a storage that a mirror wrote, and a mirror can write behind them again.

    They begin with no study, so the mirrored one is deleted first, by Optuna, as a user would.
    """

    @pytest.fixture(params=FORMS)
    def storage(self, request, tmp_path):
        with opened(request.param.format(tmp_path)) as one:
            # Of a study deleted from a journal Optuna goes on knowing the trials, which this test of its own denies.
            if (request.node.originalname, request.param) != ("test_get_trial_id_from_study_id_trial_number", FORMS[1]):
                self.mirrored(one, tmp_path)
                optuna.delete_study(study_name="ours", storage=one)
            yield one
            self.mirrored(one, tmp_path)

    def mirrored(self, storage, folder):
        study = study_in(storage, "ours")
        writer = writer_for(study, storage, CREATED_AT, COLUMNS, folder)
        writer.add([made_row(number) for number in range(5)])
        writer.close()
        assert type(writer) in (SqliteWriter, JournalWriter)
        kept = optuna.load_study(storage=storage, study_name="ours").trials
        assert [(trial.number, trial.user_attrs[NUMBER]) for trial in kept] == [(k, k) for k in range(5)]
