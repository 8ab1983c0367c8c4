"""Splits over learners: every sample to one learner, and the law of each kind."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from ceas.errors import DomainError, UnknownNameError
from ceas.learning.data import pad_samples
from ceas.learning.splits import split_over_learners


@given(
    labels=st.lists(st.integers(0, 3), min_size=1, max_size=60),
    learner_share=st.floats(0, 1),
    choice=st.one_of(
        st.just({"kind": "iid"}),
        st.sampled_from([{"kind": "dirichlet", "concentration": c} for c in (1e-3, 0.1, 1.0, 100.0)]),
        st.floats(0, 1).map(lambda similarity: {"kind": "gamma_similarity", "similarity": similarity}),
    ),
    seed=st.integers(0, 2**32),
)
@settings(deadline=None, max_examples=150)
def test_every_sample_goes_to_one_learner_and_every_learner_gets_one(
    labels: list[int], learner_share: float, choice: dict[str, Any], seed: int
) -> None:
    array = np.array(labels)
    n_learners = 1 + int(learner_share * (array.size - 1))

    def split() -> list[npt.NDArray[np.int64]]:
        rng = np.random.default_rng(seed)
        return split_over_learners(array, n_learners, rng=rng, **choice)

    parts = split()
    sizes = [part.size for part in parts]
    assert len(parts) == n_learners
    assert min(sizes) >= 1
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(array.size))
    assert all(np.array_equal(part, again) for part, again in zip(parts, split(), strict=True))
    if choice["kind"] != "dirichlet":
        assert max(sizes) - min(sizes) <= 1

    samples = pad_samples(parts)
    np.testing.assert_array_equal(samples.count, sizes)
    for row, part in zip(samples.index, parts, strict=True):
        np.testing.assert_array_equal(row[: part.size], part)
        assert set(row) == set(part)


def test_iid_parts_are_random() -> None:
    parts = split_over_learners(np.zeros(100, dtype=np.int64), 2, kind="iid", rng=np.random.default_rng(0))
    assert 20 < np.sum(parts[0] < 50) < 30  # hypergeometric, standard deviation 2.5; 25 would be its mean


def test_dirichlet_proportions_have_the_variance_of_their_law() -> None:
    """E sum_k p_k^2 = (c + 1) / (L c + 1); classes are drawn apart. 400 draws x 2 classes, z-test at 1e-6 per c."""
    labels = np.repeat([0, 1], 2000)
    for concentration in (0.3, 3.0):
        rng = np.random.default_rng(1)
        shares = []
        for _ in range(400):
            parts = split_over_learners(labels, 5, kind="dirichlet", concentration=concentration, rng=rng)
            shares.append([np.bincount(labels[part], minlength=2) / 2000 for part in parts])
        array = np.array(shares)  # (draws, learners, classes)
        squares = (array**2).sum(axis=1).ravel()
        expected = (concentration + 1) / (5 * concentration + 1)
        z_score = (squares.mean() - expected) / (squares.std() / np.sqrt(squares.size))
        assert abs(z_score) < scipy.stats.norm.isf(5e-7)
        correlation = np.corrcoef(array[:, 0, 0], array[:, 0, 1])[0, 1]
        assert abs(correlation) * np.sqrt(400) < scipy.stats.norm.isf(5e-7)


def test_wrong_splits_are_refused() -> None:
    labels, rng = np.array([0, 1, 1]), np.random.default_rng(0)
    for n_learners in (0, 4):
        with pytest.raises(DomainError, match="`n_learners` must"):
            split_over_learners(labels, n_learners, kind="iid", rng=rng)
    wrong: Any = "shards"
    with pytest.raises(UnknownNameError, match="unknown split `shards`"):
        split_over_learners(labels, 2, kind=wrong, rng=rng)
    for concentration in (0.0, np.inf, np.nan):
        with pytest.raises(DomainError, match="`concentration` must"):
            split_over_learners(labels, 2, kind="dirichlet", concentration=concentration, rng=rng)
    for similarity in (-0.1, 1.1, np.nan):
        with pytest.raises(DomainError, match="`similarity` must"):
            split_over_learners(labels, 2, kind="gamma_similarity", similarity=similarity, rng=rng)
    for classes_per_learner in (0, 3):
        with pytest.raises(DomainError, match="`classes_per_learner` must"):
            split_over_learners(labels, 2, kind="by_class", classes_per_learner=classes_per_learner, rng=rng)


@given(
    counts=st.lists(st.integers(1, 20), min_size=1, max_size=6),
    n_learners=st.integers(1, 20),
    classes_per_learner=st.integers(1, 6),
    seed=st.integers(0, 2**32),
)
@settings(deadline=None, max_examples=150)
def test_a_split_by_class_gives_every_learner_as_many_classes_or_says_why_not(
    counts: list[int], n_learners: int, classes_per_learner: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    labels = 3 * rng.permutation(np.repeat(np.arange(len(counts)), counts))  # labels need not be consecutive
    holdings = n_learners * classes_per_learner
    # The largest classes have one holder more where the holdings do not divide evenly.
    sizes = np.sort(counts)[::-1]
    holders = holdings // sizes.size + (np.arange(sizes.size) < holdings % sizes.size)
    possible = classes_per_learner <= sizes.size <= holdings and np.all(holders <= sizes) and n_learners <= labels.size

    def split() -> list[npt.NDArray[np.int64]]:
        generator = np.random.default_rng(seed)
        return split_over_learners(
            labels, n_learners, kind="by_class", classes_per_learner=classes_per_learner, rng=generator
        )

    if not possible:
        with pytest.raises(DomainError, match=r"`n_learners`|`classes_per_learner`"):
            split()
        return
    parts = split()
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(labels.size))
    assert all(np.unique(labels[part]).size == classes_per_learner for part in parts)
    table = np.array([np.bincount(labels[part] // 3, minlength=len(counts)) for part in parts])
    assert np.ptp((table > 0).sum(axis=0)) <= 1
    for column in table.T:
        assert np.ptp(column[column > 0]) <= 1
    assert all(np.array_equal(part, again) for part, again in zip(parts, split(), strict=True))


def test_classes_and_learners_meet_at_random() -> None:
    """Learner 0 holds class 0 with probability 2/5. 600 draws, normal approximation of the binomial, 1e-6."""
    labels = np.repeat(np.arange(5), 20)
    rng = np.random.default_rng(0)
    hits = sum(
        0 in labels[split_over_learners(labels, 10, kind="by_class", classes_per_learner=2, rng=rng)[0]]
        for _ in range(600)
    )
    assert abs(hits - 240) < scipy.stats.norm.isf(5e-7) * np.sqrt(600 * 0.4 * 0.6)


def label_table(labels: npt.NDArray[np.int64], parts: list[npt.NDArray[np.int64]]) -> npt.NDArray[np.int64]:
    return np.array([np.bincount(labels[part], minlength=int(labels.max()) + 1) for part in parts])


def test_without_similarity_labels_are_sorted_blocks() -> None:
    labels = np.random.default_rng(1).permutation(np.repeat(np.arange(4), 50))
    rng = np.random.default_rng(0)
    parts = split_over_learners(labels, 8, kind="gamma_similarity", similarity=0.0, rng=rng)
    table = label_table(labels, parts)
    assert sorted(table.max(axis=1)) == [25] * 8
    assert np.all((table > 0).sum(axis=1) == 1)
    # Which learner gets which block is drawn, and so are the samples of a block.
    assert np.any(np.diff(table.argmax(axis=1)) < 0)
    other = split_over_learners(labels, 8, kind="gamma_similarity", similarity=0.0, rng=rng)
    assert {part.tobytes() for part in parts}.isdisjoint(part.tobytes() for part in other)


def test_the_similar_share_has_the_proportions_of_all() -> None:
    """With gamma = 1/2 a learner of 1000 has 500 of one class in a block, and of each class a quarter of 500 more.

    These counts are hypergeometric with variance 500 x 3/16 x 7500/7999; z-tests of 8 x 4 counts at 1e-6 in all.
    """
    labels = np.repeat(np.arange(4), 2000)
    rng = np.random.default_rng(0)
    parts = split_over_learners(labels, 8, kind="gamma_similarity", similarity=0.5, rng=rng)
    table = label_table(labels, parts)
    assert np.all(table.sum(axis=1) == 1000)
    # Blocks are cut from sorted labels whose counts vary a little, so at most two classes share a block.
    excess = table - 125
    deviation = np.sqrt(500 * 3 / 16 * 7500 / 7999)
    limit = scipy.stats.norm.isf(5e-7 / 32) * deviation
    assert np.all(np.sort(excess, axis=1)[:, :2] < limit)
    assert np.all(np.sort(excess, axis=1)[:, :2] > -limit)
    # Full similarity is an IID split.
    mixed = label_table(labels, split_over_learners(labels, 8, kind="gamma_similarity", similarity=1.0, rng=rng))
    assert np.all(np.abs(mixed - 250) < scipy.stats.norm.isf(5e-7 / 32) * np.sqrt(1000 * 3 / 16 * 7000 / 7999))
