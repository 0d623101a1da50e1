from collections.abc import Callable
from typing import Any

INSTRUCTIONS: bool
"""SHA-256 is hashed by the processor's instructions."""
SOURCE: int
"""Checksum of the C source this was built from."""

class Keyed:
    """Stands before a function of `genesis.trials.identity` and answers the usual calls itself."""

    def __init__(
        self,
        function: Callable[..., str],
        dumps: Callable[..., bytes],
        options: int,
        cache: dict[bytes, str],
        limit: int,
        longest: int,
        precision: int | None,
    ) -> None: ...
    def __call__(self, *args: Any, **kwargs: Any) -> str: ...

def sha256(data: bytes, portable: bool, /) -> str:
    """64 hex digits, as the keys are hashed or by the code for any processor."""
