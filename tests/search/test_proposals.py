"""Results are ordered the same, told one generation at a time or all at once."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from genesis.search.proposals import COMPLETE, FAILED, PRUNED, rank_classes

NUMBERS = st.one_of(st.floats(-2, 2), st.sampled_from([0.0, -0.0, np.nan, np.inf, -np.inf, 1.7e308]))
RESULTS = st.lists(st.tuples(NUMBERS, NUMBERS, st.sampled_from([COMPLETE, FAILED, PRUNED])), min_size=1, max_size=90)


@given(RESULTS)
@settings(max_examples=150, deadline=None)
def test_a_few_results_are_ranked_as_many_are(results: list[tuple[float, float, int]]) -> None:
    """Class and loss of a result do not depend on how many are told with it, to the bit."""
    scores, violations, states = (np.array(one) for one in zip(*results, strict=True))
    many = [np.tile(one, 90) for one in (scores, violations, states)]
    classes, losses = rank_classes(*many)
    for first in range(0, len(results), 8):
        some = slice(first, first + 8)
        few = rank_classes(scores[some], violations[some], states[some])
        assert few[0].tolist() == classes[some].tolist()[: len(few[0])]
        assert few[1].tobytes() == losses[some][: len(few[1])].tobytes()


def test_the_order_of_results() -> None:
    """Feasible by score, then pruned, then infeasible by violation, then undefined, then failed."""
    scores = np.array([1.0, 3.0, 2.0, 9.0, 9.0, np.nan, np.nan])
    violations = np.array([0.0, 0.0, 0.0, 0.5, 0.1, 0.0, 0.0])
    states = np.array([0, 0, 2, 0, 0, 0, 1], dtype=np.int8)
    classes, losses = rank_classes(scores, violations, states)
    assert np.lexsort((losses, classes)).tolist() == [1, 0, 2, 4, 3, 5, 6]
