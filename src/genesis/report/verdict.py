"""The verdict in words: is there an answer, how good is it outside the data it was found in, and how much was luck."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from genesis.diagnose.findings import Finding
from genesis.judge.overfit import DeflatedSharpe, Overfitting
from genesis.report.plateau import Plateau
from genesis.report.tables import Ledger
from genesis.report.terminal import number

FEW_INSIDE, FEW_OUTSIDE = 30, 20
"""Trades below which a result is called few: a mean of n trades is known to about 1 / sqrt(n) of their spread."""

Standing = Literal["none", "doubtful", "mixed", "promising"]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the verdict weighs; None where a study cannot say.

    `inside` and `outside` are the best trial's metrics in and out of sample; `independent` the effective number of
    trials behind `distinct` different behaviours.
    """

    ledger: Ledger
    inside: Mapping[str, float | None]
    outside: Mapping[str, float | None] | None
    objective: str
    distinct: int
    independent: float
    plateau: Plateau
    deflated: DeflatedSharpe | None = None
    overfitting: Overfitting | None = None
    cause: Finding | None = None
    holdout_problem: str | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """`headline` in one sentence, `reasons` in the order they weigh, and how much to believe it."""

    standing: Standing
    headline: str
    reasons: tuple[str, ...]

    def text(self) -> str:
        """The verdict for a terminal."""
        return "\n".join([self.headline, *(f"  - {reason}" for reason in self.reasons)])


def judge(evidence: Evidence) -> Verdict:
    """Weigh the evidence; the first sentence names the cause when there is no answer."""
    best = evidence.ledger.best
    if evidence.cause is not None:
        cause = evidence.cause
        return Verdict("none", cause.what + ".", (_sentence(cause.why), "To mend it: " + cause.edit + "."))
    assert best is not None
    marks: list[int] = []
    reasons = [_best_words(evidence, best), _tried_words(evidence)]
    for sentence, mark in (_outside_words(evidence), _deflated_words(evidence), _overfit_words(evidence)):
        if sentence:
            reasons.append(sentence)
            marks.append(mark)
    reasons.append(evidence.plateau.sentence())
    marks.append({"plateau": 1, "slope": 0, "spike": -1, "unknown": 0}[evidence.plateau.kind])
    few = evidence.inside.get("trades")
    if few is not None and few < FEW_INSIDE:
        reasons.append(f"It made only {few:.0f} trades; fewer than {FEW_INSIDE} say little about a rule.")
        marks.append(-1)
    number_of_best = int(evidence.ledger.numbers[best])
    if -1 in marks:
        standing: Standing = "doubtful" if marks.count(-1) > 1 or evidence.outside is None else "mixed"
    else:
        standing = "promising" if evidence.outside is not None and marks[0] == 1 else "mixed"
    return Verdict(standing, _headline(standing, number_of_best, evidence), tuple(reasons))


def _headline(standing: Standing, best: int, evidence: Evidence) -> str:
    if standing == "promising":
        return f"Trial {best} holds up: what it made in sample it largely kept out of sample."
    if evidence.outside is None:
        tail = "nothing was held out, so how it fares on other data is unknown."
    elif standing == "mixed":
        tail = "the evidence is not all for it."
    else:
        tail = "the evidence says that much of its score is luck."
    return f"Trial {best} is the best found, but {tail}"


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:] + "."


def _best_words(evidence: Evidence, best: int) -> str:
    ledger = evidence.ledger
    score = f"Its score is {number(float(ledger.scores[best]))}"
    trades, fees = evidence.inside.get("trades"), evidence.inside.get("fees_paid")
    parts = [score + f" ({evidence.objective})"]
    if trades is not None:
        parts.append(f"from {trades:.0f} trades")
    if fees is not None:
        parts.append(f"after {fees:,.2f} of fees")
    return " ".join(parts) + "."


def _tried_words(evidence: Evidence) -> str:
    ledger = evidence.ledger
    states = list(ledger.states)
    counted = [
        (int(ledger.infeasible.sum()), "broke a constraint"),
        (int(ledger.silent.sum()), "made no trade"),
        (states.count("pruned"), "were pruned"),
        (states.count("failed"), "failed"),
    ]
    sentence = f"{len(ledger):,} trials ran"
    if any(count for count, _ in counted):
        sentence += ": " + ", ".join(f"{count:,} {words}" for count, words in counted if count)
    if ledger.has_fills:
        sentence += f". Those that traded did so in {evidence.distinct:,} different ways (equal fills are one)"
        if evidence.independent < 0.95 * evidence.distinct:
            sentence += f", about {evidence.independent:,.0f} of them independent"
    repeats = sum(ledger.duplicates.values())
    if repeats:
        sentence += f". {repeats:,} more proposals were points already tried and were not run again"
    return sentence + "."


def _outside_words(evidence: Evidence) -> tuple[str, int]:
    if evidence.outside is None:
        return (
            "There is no out-of-sample window; set holdout in the study to judge the best on data it never saw.",
            -1,
        )
    for name in ("sharpe", "total_return"):
        before, after = evidence.inside.get(name), evidence.outside.get(name)
        if before is None or after is None:
            continue
        label = "Sharpe ratio" if name == "sharpe" else "total return"
        kept = after / before if before > 0.0 else math.nan
        mark = 1 if kept >= 0.5 else 0 if after > 0.0 else -1
        words = f"In sample its {label} was {number(before)}, out of sample {number(after)}"
        count = evidence.outside.get("trades")
        if count is not None and count < FEW_OUTSIDE:
            return f"{words}, from only {count:.0f} trades there, which says little either way.", min(mark, 0)
        return words + ".", mark
    return "Its out-of-sample metrics are undefined (no trade was made there).", -1


def _deflated_words(evidence: Evidence) -> tuple[str, int]:
    deflated = evidence.deflated
    if deflated is None or not math.isfinite(deflated.probability):
        return "", 0
    scale = evidence.inside.get("sharpe")
    luck = deflated.expected_best / deflated.sharpe * scale if scale and deflated.sharpe else math.nan
    shown = f"the {number(luck)} a best of {deflated.trials:,.0f} skill-less trials would show"
    mark = 1 if deflated.probability >= 0.95 else 0 if deflated.probability >= 0.5 else -1
    meaning = {
        1: "more than luck explains it",
        0: "luck may explain it",
        -1: "it is no better than luck would give",
    }[mark]
    words = (
        f"Deflated Sharpe ratio {deflated.probability:.2f}: the probability that its true Sharpe ratio is above "
        f"{shown}; {meaning} (0.95 is the usual bar)."
    )
    return words, mark


def _overfit_words(evidence: Evidence) -> tuple[str, int]:
    found = evidence.overfitting
    if found is None:
        return "", 0
    mark = -1 if found.pbo > 0.5 else 0 if found.pbo > 0.2 else 1
    words = (
        f"Probability of backtest overfitting {found.pbo:.0%}: how often the best of {found.strategies} sampled trials "
        f"in one half of the data falls below their median in the other half ({len(found.logits):,} symmetric splits)."
    )
    return words, mark
