"""What a command says of a file of the user's choice that cannot be written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from genesis.errors import StoreError


@contextmanager
def written(file: Path) -> Iterator[None]:
    """Turn an OSError met while `file` is written into a StoreError of one line."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise StoreError(f"{file}: cannot be written ({reason}); name a file in a folder that is there") from error
