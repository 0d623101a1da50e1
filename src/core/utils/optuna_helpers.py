"""The guide's door: each name is one line from its home in `genesis`, and no logic lives here."""

from __future__ import annotations

from genesis.trials.guard import NoDupeGuard
from genesis.trials.identity import param_signature
from genesis.trials.identity import signature_cache as _PARAM_SIG_CACHE  # noqa: N812 - the guide's name

__all__ = ["_PARAM_SIG_CACHE", "NoDupeGuard", "param_signature"]
