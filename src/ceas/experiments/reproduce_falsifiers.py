"""Falsifiers: what has to fail or to vanish if the gains are what they are said to be.

- Certified information has to earn something over equal information, and nothing once it is dealt to the wrong nodes.
- Nodes of equal noise and equal links: there is nothing to weigh, so equal weights have to be as good as the BLUE.
- Claims believed as they come: a weighted mean that certified claims leave standing has to collapse.
- Lies about claims: no lie may gain anything against `ceas`, in accuracy or in weight.
- More attackers than declared: accuracy has to fall. (More than a third are refused before anything runs, because
  agreement itself does not withstand them, so the breakdown of the rules at a half is never reached.)
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ceas.aggregation import Aggregate, ceas
from ceas.errors import RunDirectoryError
from ceas.experiments.reproduce_plan import N_NODES, OURS, Plan, Training
from ceas.experiments.result_tables import Columns
from ceas.experiments.statistics import PairedDifference, paired_difference

__all__ = [
    "ALIKE_DATA",
    "EQUAL_NODES",
    "Falsifier",
    "equal_ceas",
    "falsifier_trainings",
    "falsifiers",
    "shuffled_ceas",
]

FloatArray = NDArray[np.float64]

# A ring of equal links between nodes of equal noise.
EQUAL_NODES = (
    "topology.kind=ring",
    f"topology.n_nodes={N_NODES}",
    "hardware.coherence_time_spread=0",
    "hardware.device_efficiency_spread=0",
    "hardware.visibility_spread=0",
    "hardware.gate_error_spread=0",
)
# Every node has samples of all classes in nearly the same parts.
ALIKE_DATA = ("data.concentration=1000",)
_LIES = ("lie: x10", "false claims", "lie: negative", "lie: no number")
_TRUTHFUL = "search near"
_EQUAL, _SHUFFLED = "ceas, equal", "ceas, shuffled"
_WEIGHTED = ("ceas", _EQUAL, _SHUFFLED)
# The most that agreement of 50 nodes withstands, and how many of them the rule is told.
_MOST, _TOO_FEW = (N_NODES - 1) // 3, 4
# Part of the weight that is worth lying for.
_LEAST_WEIGHT = 0.005
# Difference in accuracy that is as good as none.
_MARGIN = 0.02
# Attackers that a weighted mean withstands as long as nobody believes their claims.
_FEW = 5
_SHUFFLE_SEED = 20_260_208
# Accuracy below which a training has failed: four classes guessed have a quarter.
_COLLAPSED = 0.5


def shuffled_ceas(
    updates: ArrayLike,
    *,
    n_byzantine: int,
    information: ArrayLike,
    contraction: ArrayLike,
    nodes: ArrayLike,
    memory: Mapping[str, NDArray[Any]] | None = None,
) -> Aggregate:
    """Aggregate as `ceas` does, with every node's certified information given to another node.

    The same node gets the same other one's in every round.
    """
    order = np.random.default_rng(_SHUFFLE_SEED).permutation(N_NODES)
    # Of the nodes that are present, sorted by their place in the permutation.
    ranked = np.argsort(order[np.asarray(nodes)], kind="stable")
    dealt = np.asarray(information, np.float64)[ranked]
    told: dict[str, Any] = {"contraction": contraction, "nodes": nodes, "memory": memory}
    return ceas(updates, n_byzantine=n_byzantine, information=dealt, **told)


def equal_ceas(
    updates: ArrayLike,
    *,
    n_byzantine: int,
    information: ArrayLike,
    contraction: ArrayLike,
    nodes: ArrayLike,
    memory: Mapping[str, NDArray[Any]] | None = None,
) -> Aggregate:
    """Aggregate as `ceas` does, as if every node had the mean of the certified information."""
    values = np.asarray(information, np.float64)
    told: dict[str, Any] = {"contraction": contraction, "nodes": nodes, "memory": memory}
    return ceas(updates, n_byzantine=n_byzantine, information=np.full_like(values, values.mean()), **told)


def falsifier_trainings(plan: Plan, choices: Mapping[str, Mapping[str, Sequence[str]]]) -> Iterator[Training]:
    """Return the trainings of the table `falsifiers`, on the first data set and our scheduler.

    Args:
        plan: Seeds and attackers.
        choices: Overrides that were tuned, by data set and arm.
    """
    dataset, most = plan.datasets[0], plan.attackers[-1]
    tuned = tuple(choices[dataset]["ceas"])
    believed = (*tuned, "aggregation.certification=none")

    shared = Training(
        dataset=dataset,
        policy=OURS,
        arm="ceas",
        attack=_TRUTHFUL,
        n_byzantine=most,
        declared=most,
        seed=0,
        variant="certified",
        overrides=tuned,
    )
    mean = replace(shared, arm="certified mean", attack="lie: IPM", n_byzantine=_FEW, declared=0)
    trainings = [
        *(replace(shared, arm=arm, attack="none", n_byzantine=0) for arm in _WEIGHTED),
        *(replace(shared, arm=arm, attack="ALIE") for arm in _WEIGHTED),
        *(replace(shared, attack=attack) for attack in (_TRUTHFUL, *_LIES)),
        replace(shared, attack="false claims", variant="believed", overrides=believed),
        mean,
        replace(mean, variant="believed", overrides=believed),
        replace(shared, n_byzantine=_MOST, declared=_TOO_FEW),
    ]
    for seed in plan.seeds:
        yield from (replace(one, seed=seed) for one in trainings)


class _Measured(NamedTuple):
    """Accuracy and the attackers' part of the weight by seed, each shape (seeds,)."""

    accuracy: FloatArray
    weight: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Falsifier:
    """One thing that has to fail, to vanish or to gain nothing.

    Attributes:
        what: What was done.
        expected: What has to come of it.
        accuracy: Accuracy with it, by seed.
        reference: Accuracy without it, by seed.
        difference: The former less the latter, paired by seed.
        weight: Attackers' part of the weight with and without it, mean over seeds and rounds.
        weight_difference: The former less the latter, paired by seed.
        holds: Whether what has to happen did; None where the seeds cannot tell.
    """

    what: str
    expected: str
    accuracy: FloatArray
    reference: FloatArray
    difference: PairedDifference
    weight: tuple[float, float]
    weight_difference: PairedDifference
    holds: bool | None


def falsifiers(plan: Plan, rows: Columns) -> list[Falsifier]:
    """Return what became of every falsifier that is a training.

    Raises:
        RunDirectoryError: A training is missing.
    """
    most = plan.attackers[-1]

    def of(arm: str, attack: str, n_byzantine: int, variant: str = "certified") -> _Measured:
        return _measured(plan, rows, arm=arm, attack=attack, n_byzantine=n_byzantine, variant=variant)

    truthful = of("ceas", _TRUTHFUL, most)
    found = []
    for words, attack, count in (("no attackers", "none", 0), ("ALIE", "ALIE", most)):
        equal = of(_EQUAL, attack, count)
        found.append(_gain(f"weights by certified information, {words}", of("ceas", attack, count), equal))
        found.append(_no_gain(f"information dealt at random, {words}", of(_SHUFFLED, attack, count), equal))
    return [
        *found,
        *(_lie(f"{lie}, against ceas", of("ceas", lie, most), truthful) for lie in _LIES),
        _lie("false claims that are believed, against ceas", of("ceas", "false claims", most, "believed"), truthful),
        _collapse(
            f"IPM of {_FEW} with claims x1000 that are believed, against a weighted mean",
            of("certified mean", "lie: IPM", _FEW, "believed"),
            of("certified mean", "lie: IPM", _FEW),
        ),
        _fall(f"{_MOST} attackers, {_TOO_FEW} declared", of("ceas", _TRUTHFUL, _MOST), truthful),
    ]


def _measured(plan: Plan, rows: Columns, **key: Any) -> _Measured:
    own = rows["dataset"] == plan.datasets[0]
    for name, value in key.items():
        own = own & (rows[name] == value)
    place = dict(zip(rows["seed"][own].tolist(), np.flatnonzero(own).tolist(), strict=True))
    if lacking := [seed for seed in plan.seeds if seed not in place]:
        raise RunDirectoryError(f"no training of {', '.join(str(value) for value in key.values())}, seed {lacking[0]}")
    chosen = [place[seed] for seed in plan.seeds]
    return _Measured(rows["test_accuracy"][chosen], rows["byzantine_weight"][chosen])


def _falsifier(what: str, expected: str, one: _Measured, other: _Measured) -> Falsifier:
    return Falsifier(
        what=what,
        expected=expected,
        accuracy=one.accuracy,
        reference=other.accuracy,
        difference=paired_difference(one.accuracy, other.accuracy),
        weight=(float(one.weight.mean()), float(other.weight.mean())),
        weight_difference=paired_difference(one.weight, other.weight),
        holds=None,
    )


def _gain(what: str, one: _Measured, other: _Measured) -> Falsifier:
    found = _falsifier(what, "gains over equal information", one, other)
    return replace(found, holds=_sign(found.difference))


def _no_gain(what: str, one: _Measured, other: _Measured) -> Falsifier:
    found = _falsifier(what, "gains nothing over equal information", one, other)
    gains = found.difference.student_low > 0
    return replace(found, holds=False if gains else True if found.difference.student_high < _MARGIN else None)


def _fall(what: str, one: _Measured, other: _Measured) -> Falsifier:
    found = _falsifier(what, "falls", one, other)
    falls = _sign(found.difference)
    return replace(found, holds=None if falls is None else not falls)


def _lie(what: str, one: _Measured, other: _Measured) -> Falsifier:
    """Hold a lie against the truth: it must neither cost more than the margin nor gain weight."""
    points = 100 * _MARGIN
    found = _falsifier(what, f"costs less than {points:g} points and gains no weight over truthful claims", one, other)
    difference, weight = found.difference, found.weight_difference
    if difference.student_high < 0 or (weight.student_low > 0 and weight.mean > _LEAST_WEIGHT):
        holds: bool | None = False
    else:
        holds = True if difference.student_low > -_MARGIN else None
    return replace(found, holds=holds)


def _collapse(what: str, one: _Measured, other: _Measured) -> Falsifier:
    found = _falsifier(what, f"collapses: from above {_COLLAPSED:g} to below", one, other)
    holds = float(found.accuracy.mean()) < _COLLAPSED <= float(found.reference.mean())
    return replace(found, holds=_known(found, holds and found.difference.student_high < 0))


def _sign(difference: PairedDifference) -> bool | None:
    """Return whether a difference is positive; None where Student's interval cannot tell."""
    if difference.student_low > 0:
        return True
    return False if difference.student_high < 0 else None


def _known(found: Falsifier, holds: bool) -> bool | None:
    return holds if found.difference.n_pairs > 1 else None
