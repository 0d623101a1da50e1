"""How a signature, which is any string, is stored in SQLite and sent there by the thousand."""

from __future__ import annotations

from collections.abc import Iterable

import orjson

from genesis.errors import StoreError

JSON_CHUNK = 50_000  # signatures a statement; SQLite limits a text to 1e9 bytes and memory is dearer

Row = str | bytes


def listed(sigs: Iterable[str]) -> list[str]:
    """The batch as a list of its own."""
    if isinstance(sigs, str):
        raise StoreError(f"signatures: one text came ({sigs!r}); give a list of them")
    return list(sigs)


def parts(sigs: list[str]) -> Iterable[list[str]]:
    """The batch cut into what one statement takes."""
    return (sigs[start : start + JSON_CHUNK] for start in range(0, len(sigs), JSON_CHUNK))


def row_of(sig: str) -> Row:
    """What is stored: the text, or its bytes where UTF-8 cannot hold it (a lone surrogate)."""
    if not isinstance(sig, str):
        raise StoreError(f"a signature is text; {type(sig).__name__} came ({sig!r})")
    try:
        sig.encode()
    except UnicodeEncodeError:
        return sig.encode("utf-8", "surrogatepass")
    return sig


def sig_of(row: Row) -> str:
    """The signature that `row_of` stored."""
    return row if isinstance(row, str) else row.decode("utf-8", "surrogatepass")


def as_json(sigs: list[str]) -> str | None:
    """The batch as one JSON text; None if some signature is not stored as text."""
    try:
        raw = orjson.dumps(sigs)
    except TypeError:
        for sig in sigs:
            row_of(sig)  # says which is no text
        return None
    if b"\\u0000" in raw:  # SQLite's JSON ends a text there
        return None
    if set(map(type, sigs)) != {str}:  # orjson also writes numbers
        for sig in sigs:
            row_of(sig)
    return raw.decode()
