"""What a sampler made of its history, kept now and then beside the trials, so that a resume need not tell all again.

A snapshot is bound to what it was made of: the number of told results and a digest of them, in the order told. One that
does not fit the stored trials, is of another version or cannot be read is not used; then all is told again, which takes
longer and comes to the same.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from genesis.search.proposals import BatchSampler, Snapshotting
from genesis.trials.codec import json_dumps, json_loads
from genesis.types import FloatArray, Int8Array

VERSION = 1
EVERY = 256  # generations: making one takes about a millisecond, telling as many again a few hundred
_MOST_WAITING = 2_048  # results
LARGEST = 1_000_000  # bytes; a sampler whose state grows beyond is told everything again


@dataclass(frozen=True, slots=True)
class Told:
    """Results as a sampler is told them: aligned columns, in the order told."""

    vectors: FloatArray
    scores: FloatArray
    violations: FloatArray
    states: Int8Array
    origins: Sequence[str]

    def to(self, sampler: BatchSampler) -> None:
        """Tell them in one call."""
        if len(self.states):
            sampler.tell(self.vectors, self.scores, self.violations, self.states, self.origins)


def joined(portions: Sequence[Told]) -> Told:
    """Several portions as one."""
    return Told(
        np.concatenate([one.vectors for one in portions]),
        np.concatenate([one.scores for one in portions]),
        np.concatenate([one.violations for one in portions]),
        np.concatenate([one.states for one in portions]),
        [origin for one in portions for origin in one.origins],
    )


class Digest:
    """A digest of everything told, the same however the results were portioned.

    Portions wait until there are many, since hashing eight results takes as long as hashing a thousand.
    """

    def __init__(self) -> None:
        self.count = 0
        self._columns = [hashlib.blake2b(digest_size=16) for _ in range(5)]
        self._waiting: list[Told] = []
        self._taken = 0

    def add(self, told: Told) -> None:
        """Note results, whose arrays nobody may change any more."""
        self.count += len(told.states)
        self._waiting.append(told)
        if self.count - self._taken > _MOST_WAITING:
            self._take_in()

    def _take_in(self) -> None:
        if not self._waiting:
            return
        told = joined(self._waiting)
        self._waiting, self._taken = [], self.count
        said = "".join(f"{origin}\n" for origin in told.origins).encode()
        scores = np.asarray(told.scores) + 0.0  # a stored -0.0 comes back as 0.0
        data: list[bytes] = [one.tobytes() for one in (told.vectors, scores, told.violations, told.states)]
        data.append(said)
        for column, more in zip(self._columns, data, strict=True):
            column.update(more)

    def words(self) -> str:
        """The digest so far, in hex."""
        self._take_in()
        return hashlib.blake2b(b"".join(one.digest() for one in self._columns), digest_size=16).hexdigest()


class Snapshots:
    """Makes a snapshot every `EVERY` generations and gives it out for keeping as soon as any resume could use it.

    A resume proposes again up to `lag` generations before the last kept one, knowing those `lag` before; a younger
    snapshot than that would know too much.
    """

    def __init__(self, sampler: BatchSampler, lag: int) -> None:
        self._sampler = sampler if isinstance(sampler, Snapshotting) else None
        self._delay = 2 * lag
        self._digest = Digest()
        self._waiting: deque[tuple[int, bytes]] = deque()

    def told(self, told: Told, generation: int | None = None) -> None:
        """Note what was told just now; `generation` says that it was this one, by itself."""
        if self._sampler is None:
            return
        self._digest.add(told)
        if generation is None or (generation + 1) % EVERY:
            return
        body = json_dumps(
            {
                "version": VERSION,
                "sampler": self._sampler_name,
                "told": self._digest.count,
                "digest": self._digest.words(),
                "state": self._sampler.snapshot().decode(),
            }
        )
        if len(body) <= LARGEST:
            self._waiting.append((generation + 1, body))

    def due(self, generation: int) -> tuple[int, bytes] | None:
        """The snapshot to keep with this generation's results, if one has come of age."""
        found = None
        while self._waiting and self._waiting[0][0] + self._delay <= generation:
            found = self._waiting.popleft()
        return found

    @property
    def _sampler_name(self) -> str:
        name: str = self._sampler.name  # type: ignore[union-attr] # asked where there is one
        return name


def restore_sampler(sampler: BatchSampler, body: bytes, told: Told) -> None:
    """Bring a new sampler to a stored snapshot, `told` being what the store says was told before it was made.

    Raises ValueError saying why it cannot be used; the sampler is as new then.
    """
    assert isinstance(sampler, Snapshotting)
    found: Any = json_loads(body)
    if not isinstance(found, dict) or found.get("version") != VERSION:
        raise ValueError("it is of another version")
    if found.get("sampler") != sampler.name:
        raise ValueError(f"it is of the sampler {found.get('sampler')!r}")
    digest = Digest()
    digest.add(told)
    if (found.get("told"), found.get("digest")) != (digest.count, digest.words()):
        raise ValueError("it was not made of the trials that are stored")
    sampler.restore(
        str(found.get("state")).encode(), told.vectors, told.scores, told.violations, told.states, told.origins
    )
