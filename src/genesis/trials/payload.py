"""A trial's whole result as bytes, and the byte-bounded memory of those read last."""

from __future__ import annotations

import re
import sys
import threading
from collections import OrderedDict
from typing import Any

from genesis.errors import CorruptStoreError, StoreError
from genesis.trials.codec import json_dumps, json_loads
from genesis.types import TrialResult, Violation

_FILLS = re.compile(rb',"fills_hash":"([0-9a-f]+)"\}\Z')  # as `encode_result` ends; quotes inside a text are escaped
_TAIL = 200


def encode_result(result: TrialResult) -> bytes:
    """JSON bytes that `decode_result` turns back into an equal result (tuples in params come back as lists)."""
    present = {  # left out, not null: a null costs the codec a search for NaN in all the rest
        name: value
        for name, value in (
            ("reason", result.reason),
            ("traceback", result.traceback),
            ("fills_hash", result.fills_hash),
        )
        if value is not None
    }
    return json_dumps(
        {
            "number": result.number,
            "generation": result.generation,
            "key": result.key,
            "params": result.params,
            "state": result.state,
            "score": result.score,
            "metrics": result.metrics,
            "violations": [[v.name, v.limit, v.actual, v.amount] for v in result.violations],
            "blocked": result.blocked,
            "reports": result.reports,
            "seconds": result.seconds,
            **present,
        }
    )


def decode_result(number: int, body: bytes) -> TrialResult:
    """The result in `body`; `CorruptStoreError` naming the trial if the bytes are not one."""
    try:
        fields: dict[str, Any] = json_loads(body)
        fields["violations"] = tuple(Violation(*each) for each in fields["violations"])
        fields["reports"] = tuple(fields["reports"])
        return TrialResult(**fields)
    except (ValueError, TypeError, KeyError) as exc:
        raise CorruptStoreError(f"trial {number}: its stored result cannot be read ({exc}); restore a copy") from exc


def result_marks(number: int, body: bytes) -> tuple[str | None, bool]:
    """The hash of the fills and whether the trades were none, without reading more of `body` than decides it."""
    fills = None
    if b'"fills_hash"' in body:
        found = _FILLS.search(body, max(0, len(body) - _TAIL))
        fills = decode_result(number, body).fills_hash if found is None else found[1].decode()
    idle = b'"trades":0' in body or b'"trades":-0' in body
    return fills, idle and decode_result(number, body).metrics.get("trades") == 0


class PayloadCache:
    """Bytes by trial number, the least recently used leaving first, never more than `limit` bytes in all.

    Bytes are kept, not objects: a caller that changes a result it was given cannot change what the next one gets.
    """

    def __init__(self, limit: int) -> None:
        if limit < 0:
            raise StoreError(f"cache_bytes: {limit} is negative; use 0 to keep nothing, or a number of bytes")
        self.limit = limit
        self.used = 0
        self._kept: OrderedDict[int, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, number: int) -> bytes | None:
        """The bytes, now the most recently used; None if they are not here."""
        with self._lock:
            body = self._kept.get(number)
            if body is not None:
                self._kept.move_to_end(number)
            return body

    def keep(self, number: int, body: bytes) -> None:
        """Remember the bytes; more than the whole limit is not kept at all."""
        size = sys.getsizeof(body)
        with self._lock:
            if number in self._kept or size > self.limit:
                return
            self._kept[number] = body
            self.used += size
            while self.used > self.limit:
                self.used -= sys.getsizeof(self._kept.popitem(last=False)[1])

    def __len__(self) -> int:
        return len(self._kept)
