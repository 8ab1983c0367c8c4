"""Plans of a round's shots: balance, and what they refuse."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ceas.errors import DomainError
from ceas.learning.shot_plan import MINIMUM_SHOTS, plan_shots


@given(
    n_shots=st.lists(st.integers(0, 60), min_size=1, max_size=6),
    n_samples=st.integers(1, 9),
    n_terms=st.integers(1, 12),
    minibatch=st.integers(1, 12),
    readout_share=st.floats(0.01, 0.99),
    seed=st.integers(0, 2**63),
)
@settings(deadline=None, max_examples=200)
def test_plans_are_balanced(
    *, n_shots: list[int], n_samples: int, n_terms: int, minibatch: int, readout_share: float, seed: int
) -> None:
    shot_learner = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(n_shots)), n_shots))
    sample_count = np.full(len(n_shots), n_samples)
    terms = 7 * np.arange(n_terms) + 2
    plan = plan_shots(shot_learner, sample_count, terms, minibatch=minibatch, readout_share=readout_share, seed=seed)
    taking_part = np.array(n_shots) >= MINIMUM_SHOTS
    np.testing.assert_array_equal(np.sort(plan.source), np.flatnonzero(taking_part[shot_learner]))
    np.testing.assert_array_equal(shot_learner[plan.source], plan.learner)
    for learner in np.flatnonzero(taking_part):
        mine = plan.learner == learner
        term, slot, sign = plan.term[mine], plan.slot[mine], plan.sign[mine]
        np.testing.assert_array_equal(plan.counter[mine], np.arange(n_shots[learner]))
        size, n_readouts = plan.batch_size[learner], np.sum(term < 0)
        assert size == min(minibatch, n_samples, n_readouts)
        assert n_readouts >= 1
        surplus = n_readouts - readout_share * n_shots[learner]
        assert surplus < 2 + 1e-9
        assert surplus > -1e-9 or plan.pairs[learner] == 1
        batch = plan.batch[learner, :size]
        assert np.unique(batch).size == size
        assert batch.max() < n_samples
        assert np.ptp(np.bincount(slot[term < 0], minlength=size)) <= 1
        up, down = (np.stack([term, slot, sign])[:, term >= 0][:, first::2] for first in (0, 1))
        np.testing.assert_array_equal(up[:2], down[:2])
        assert np.all(up[2] == 1)
        assert np.all(down[2] == -1)
        times = np.array([np.sum(up[0] == one) for one in terms])
        assert times.sum() == plan.pairs[learner]
        assert np.ptp(times) <= 1
        for one in terms:
            assert np.ptp(np.bincount(up[1, up[0] == one], minlength=size)) <= 1
    assert np.all(plan.batch_size[~taking_part] == 0)
    assert np.all(plan.pairs == [np.sum(plan.term[plan.learner == k] >= 0) // 2 for k in range(len(n_shots))])


def test_wrong_arguments_are_refused() -> None:
    for learner in (-1, 2):
        with pytest.raises(DomainError, match="`shot_learner` must"):
            plan_shots(np.array([0, learner]), np.array([3, 3]), np.arange(4), minibatch=4, readout_share=0.3, seed=0)
    with pytest.raises(DomainError, match="`terms` must"):
        plan_shots(np.array([0]), np.array([3]), np.arange(0), minibatch=4, readout_share=0.3, seed=0)
