"""One thing found about a study: what it is, why it matters, and the edit that mends it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

Severity = Literal["error", "warning", "info"]
_ORDER = {"error": 0, "warning": 1, "info": 2}


@dataclass(frozen=True, slots=True)
class Finding:
    """`code` is stable (for machines and for showing a warning once); the three sentences are for people."""

    code: str
    severity: Severity
    what: str
    why: str
    edit: str

    def to_dict(self) -> dict[str, Any]:
        """As plain data, for `--json`."""
        return asdict(self)

    def text(self) -> str:
        """The finding as three short lines."""
        return f"{self.severity}: {self.what}\n  why: {self.why}\n  do:  {self.edit}"


def by_severity(findings: Iterable[Finding]) -> list[Finding]:
    """Errors first, then warnings, then information; the order found within each."""
    return sorted(findings, key=lambda finding: _ORDER[finding.severity])
