"""Pass a run's trials on to an Optuna storage, in batches, so that Optuna's own tools read them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from genesis.errors import ConfigError, MissingExtraError
from genesis.run.holdout import finalists
from genesis.run.mirror_journal import JournalWriter, cut_torn_line, require_journal
from genesis.run.mirror_live import hidden
from genesis.run.mirror_rows import CREATED, Columns, Row, read_batch, read_rows
from genesis.run.mirror_write import Writer, writer_for
from genesis.run.result import Run

if TYPE_CHECKING:
    import optuna

TORN = "genesis:torn"


def open_storage(url: str) -> optuna.storages.BaseStorage:
    """An Optuna storage by URL: `sqlite:///FILE`, `postgresql://…`, any other SQLAlchemy URL, or `journal:FILE`.

    Raises `ConfigError` for a URL that cannot be opened, `MissingExtraError` without a driver for PostgreSQL.
    """
    shown = hidden(url)
    if not url.startswith("journal:") and "://" not in url:
        raise ConfigError(f"optuna: {shown!r} is no storage; use sqlite:///FILE, postgresql://… or journal:FILE")
    try:
        return _journal(url.removeprefix("journal:")) if url.startswith("journal:") else _tables(url)
    except ImportError as error:
        if "psycopg" in str(error) or url.startswith("postgres"):
            raise MissingExtraError(
                "a PostgreSQL storage needs its driver: pip install 'genesis-core[postgres]'"
            ) from error
        raise ConfigError(
            f"optuna: {shown!r} needs the driver of its database, which is not installed; install one with pip and "
            "name it in the URL, such as mysql+pymysql://…"
        ) from error
    except Exception as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigError(
            f"optuna: {shown!r} cannot be opened ({said}); check that its folder is there and may be written, and that "
            "what is there is an Optuna storage"
        ) from error


def _journal(path: str) -> optuna.storages.BaseStorage:
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    if Path(path).is_dir():
        raise ConfigError(f"{path} is a folder; name a file in it")
    if Path(path).is_file():
        require_journal(Path(path))
    return JournalStorage(JournalFileBackend(path))


def _tables(url: str) -> optuna.storages.BaseStorage:
    from optuna.storages import RDBStorage

    if url.startswith(("postgresql://", "postgres://")):
        url = "postgresql+psycopg://" + url.partition("://")[2]
    return RDBStorage(url)


@contextmanager
def opened(url: str) -> Iterator[optuna.storages.BaseStorage]:
    """`open_storage`, its connections closed at the end."""
    storage = open_storage(url)
    try:
        yield storage
    finally:
        engine = getattr(storage, "engine", None)
        if engine is not None:
            storage.remove_session()
            engine.dispose()


def export_optuna(run: Run, url: str, name: str | None = None, best: int | None = None) -> int:
    """Add the run's trials to an Optuna study of the same name and return how many were new.

    Trials that are there already (by their number here) are left alone, so that an export may be repeated while the run
    goes on, also beside a live mirror. With `best` only the best ones go, and as many others spread evenly over the
    run. A larger score is better; violated constraints become Optuna's constraint values. A journal's torn last line is
    cut first, kept in `FILE.torn`, and the study's `genesis:torn` says how many bytes it had.

    Raises `ConfigError` when the storage cannot be opened, or when its study of this name is of something else, and
    `StoreError` when it cannot be written.
    """
    torn = _cut(url)
    with opened(url) as storage:
        mirror = Mirror(run, storage, name, torn=torn)
        try:
            return mirror.catch_up(best)
        finally:
            mirror.close()


def follow(run_dir: Path, url: str) -> Mirror:
    """A mirror of the run kept in a folder that stays open, as long as this process lives."""
    torn = _cut(url)
    return Mirror(Run(run_dir), open_storage(url), torn=torn)


def _cut(url: str) -> int:
    return cut_torn_line(url.removeprefix("journal:")) if url.startswith("journal:") else 0


class Mirror:
    """A run and the Optuna study that follows it; `catch_up` adds what is new and reads nothing twice."""

    def __init__(
        self, run: Run, storage: optuna.storages.BaseStorage, name: str | None = None, *, torn: int = 0
    ) -> None:
        self.run = run
        name = name or run.run_id
        created = run.study["created"]
        self.study = _study(storage, name)
        attrs = self.study.user_attrs
        directions = [one.name for one in self.study.directions]
        if directions != ["MAXIMIZE"] or attrs.get(CREATED, created) != created:
            raise ConfigError(
                f"optuna: the storage has another study {name!r}, not of this run; choose another name (--name), or "
                "delete that study"
            )
        if CREATED not in attrs:
            self.study.set_user_attr("genesis:run", str(run.path))
            self.study.set_user_attr(CREATED, created)
        self._note_torn(torn)
        self._writer: Writer = writer_for(self.study, storage, created, Columns(run.space.distributions()), run.path)
        self._taken: set[int] = set()
        self._whole = 0  # every trial below this number was taken

    def catch_up(self, best: int | None = None) -> int:
        """Add the trials that the study does not have yet and return how many there were."""
        added = 0
        for batch in read_rows(self.run, self._whole) if best is None else _decimated(self.run, best):
            fresh = [row for row in batch if row.number not in self._taken]
            if fresh:
                added += self._writer.add(fresh)
                self._taken.update(row.number for row in fresh)
            if isinstance(self._writer, JournalWriter) and self._writer.torn:
                self._note_torn(self._writer.torn)
                self._writer.torn = 0
        while self._whole in self._taken:
            self._taken.remove(self._whole)
            self._whole += 1
        return added

    def close(self) -> None:
        """Close what was opened for writing; the storage itself is its opener's."""
        self._writer.close()

    def _note_torn(self, size: int) -> None:
        if size:
            self.study.set_user_attr(TORN, [*self.study.user_attrs.get(TORN, []), size])


def _study(storage: optuna.storages.BaseStorage, name: str) -> optuna.Study:
    """The study of this name, made if there is none, without Optuna's line of log about it."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(max(before, optuna.logging.WARNING))
    try:
        return optuna.create_study(storage=storage, study_name=name, direction="maximize", load_if_exists=True)
    finally:
        optuna.logging.set_verbosity(before)


def _decimated(run: Run, best: int) -> Iterator[list[Row]]:
    """The best trials and as many others spread evenly over the run."""
    numbers = run.store.history().numbers
    top = finalists(run.store, best)
    spread = numbers[np.unique(np.linspace(0, len(numbers) - 1, best).astype(int))] if len(numbers) else numbers
    yield [row for number in sorted({*top, *spread.tolist()}) for row in read_batch(run, number, 1)]
