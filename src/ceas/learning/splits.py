"""How training samples are dealt to learners: every sample to exactly one, every learner at least one."""

from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from ceas.errors import DomainError, UnknownNameError

__all__ = ["SPLIT_KINDS", "SplitKind", "split_over_learners"]

IntArray = npt.NDArray[np.int64]
SplitKind = Literal["iid", "dirichlet", "gamma_similarity", "by_class"]

SPLIT_KINDS: tuple[SplitKind, ...] = get_args(SplitKind)


def split_over_learners(
    labels: IntArray,
    n_learners: int,
    *,
    kind: SplitKind,
    concentration: float = 1.0,
    similarity: float = 0.5,
    classes_per_learner: int = 2,
    rng: np.random.Generator,
) -> list[IntArray]:
    """Deal all samples to the learners, each sample to exactly one and each learner at least one.

    - `iid` shuffles and cuts into parts whose sizes differ by at most one.
    - `dirichlet` draws, for each class, the learners' proportions of that class from a symmetric Dirichlet law;
      learners left without a sample then get one from the learner that has most.
    - `gamma_similarity` deals a random share `similarity` of the samples as `iid` does; the rest, sorted by label, is
      cut into one block per learner. Sizes differ by at most one.
    - `by_class` gives each learner exactly `classes_per_learner` classes; every class goes to as many learners as any
      other, up to one, and is dealt to them evenly.

    Args:
        labels: Labels of the samples, shape (samples,).
        n_learners: Number of learners, at most the number of samples.
        kind: One of the above.
        concentration: Parameter of the Dirichlet law, positive; small means each class sits with few learners.
        similarity: Share of the samples that is dealt without regard to the label, in [0, 1]; 1 is `iid`.
        classes_per_learner: Classes of a learner in the split by class, in [1, classes].
        rng: Generator that draws the split. A parameter of another kind is not used.

    Returns:
        One array of sample indices, sorted, per learner.

    Raises:
        DomainError: An argument is outside its range, or the classes cannot be dealt so.
        UnknownNameError: `kind` is unknown.

    Source:
        `dirichlet`: Hsu, Qi and Brown, Measuring the effects of non-identical data distribution for federated visual
        classification, arXiv 1909.06335; here the proportions are drawn per class, as in Yurochkin et al., ICML 2019.
        `gamma_similarity`: Karimireddy et al., SCAFFOLD, ICML 2020, arXiv 1910.06378, experiments (there s %);
        in the literature on Byzantine learning gamma. `by_class`: the label skew by quantity of Li, Diao, Chen and He,
        Federated learning on non-IID data silos, ICDE 2022, arXiv 2102.02079; here classes go round in turn and not by
        lot, so that none is left out.
    """
    if not 1 <= n_learners <= labels.size:
        raise DomainError(f"Argument `n_learners` must be in [1, {labels.size}] (samples), but is {n_learners}.")
    if kind == "iid":
        shuffled = rng.permutation(labels.size)
        return [np.sort(part) for part in np.array_split(shuffled, n_learners)]
    if kind == "dirichlet":
        return _dirichlet_split(labels, n_learners, concentration, rng)
    if kind == "gamma_similarity":
        return _similarity_split(labels, n_learners, similarity, rng)
    if kind == "by_class":
        return _class_split(labels, n_learners, classes_per_learner, rng)
    raise UnknownNameError("split", kind, SPLIT_KINDS)


def _dirichlet_split(
    labels: IntArray, n_learners: int, concentration: float, rng: np.random.Generator
) -> list[IntArray]:
    if not 0 < concentration < np.inf:
        raise DomainError(f"Argument `concentration` must be positive and finite, but is {concentration}.")
    owner = np.empty(labels.size, dtype=np.int64)
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        proportions = rng.dirichlet(np.full(n_learners, concentration))
        cuts = np.round(np.cumsum(proportions)[:-1] * members.size).astype(np.int64)
        for learner, chosen in enumerate(np.split(members, cuts)):
            owner[chosen] = learner
    _feed_empty_learners(owner, n_learners, rng)
    return _by_owner(owner, n_learners)


def _feed_empty_learners(owner: IntArray, n_learners: int, rng: np.random.Generator) -> None:
    count = np.bincount(owner, minlength=n_learners)
    for learner in np.flatnonzero(count == 0):
        richest = int(np.argmax(count))
        owner[rng.choice(np.flatnonzero(owner == richest))] = learner
        count[richest] -= 1
        count[learner] += 1


def _similarity_split(labels: IntArray, n_learners: int, similarity: float, rng: np.random.Generator) -> list[IntArray]:
    if not 0 <= similarity <= 1:
        raise DomainError(f"Argument `similarity` must be in [0, 1], but is {similarity}.")
    shuffled = rng.permutation(labels.size)
    mixed, rest = np.split(shuffled, [round(similarity * labels.size)])
    by_label = rest[np.argsort(labels[rest], kind="stable")]
    # `array_split` gives what is left over to the first parts; one of the two is dealt from the other end, so that
    # nobody gets two more than another.
    pairs = zip(np.array_split(by_label, n_learners), np.array_split(mixed, n_learners)[::-1], strict=True)
    parts = [np.sort(np.concatenate(pair)) for pair in pairs]
    return [parts[place] for place in rng.permutation(n_learners)]


def _class_split(
    labels: IntArray, n_learners: int, classes_per_learner: int, rng: np.random.Generator
) -> list[IntArray]:
    classes, count = np.unique(labels, return_counts=True)
    if not 1 <= classes_per_learner <= classes.size:
        raise DomainError(
            f"Argument `classes_per_learner` must be in [1, {classes.size}] (classes), but is {classes_per_learner}."
        )
    if n_learners * classes_per_learner < classes.size:
        raise DomainError(
            f"Argument `classes_per_learner` must be at least {-(-classes.size // n_learners)} for {n_learners} "
            f"learners to hold all {classes.size} classes, but is {classes_per_learner}."
        )
    order = _order_of_classes(count, n_learners * classes_per_learner % classes.size, rng)
    # Around the circle of classes each learner takes the next ones: all different, and each class equally often.
    places = np.arange(n_learners * classes_per_learner).reshape(n_learners, classes_per_learner)
    held = order[rng.permutation(places) % classes.size]
    owner = np.empty(labels.size, dtype=np.int64)
    for index, label in enumerate(classes):
        holders = np.flatnonzero((held == index).any(axis=1))
        if holders.size > count[index]:
            raise DomainError(
                f"Arguments `n_learners` and `classes_per_learner` must leave every holder of a class a sample, but "
                f"class {label} has {count[index]} samples for {holders.size} learners."
            )
        members = rng.permutation(np.flatnonzero(labels == label))
        owner[members] = np.resize(rng.permutation(holders), members.size)
    return _by_owner(owner, n_learners)


def _order_of_classes(count: IntArray, n_held_once_more: int, rng: np.random.Generator) -> IntArray:
    """Return the classes in random order, except that those held once more than others are the largest."""
    shuffled = rng.permutation(count.size)
    by_size = shuffled[np.argsort(-count[shuffled], kind="stable")]
    largest, others = np.split(by_size, [n_held_once_more])
    return np.concatenate([rng.permutation(largest), rng.permutation(others)])


def _by_owner(owner: IntArray, n_learners: int) -> list[IntArray]:
    return [np.flatnonzero(owner == learner) for learner in range(n_learners)]
