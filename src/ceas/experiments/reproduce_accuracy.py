"""Accuracy against the fraction of attackers: worst cases, paired differences, and which part earns what.

The figure of an arm is the mean over the seeds of its worst case: for each seed the least accuracy over the attacks,
where the accuracy is the mean of the last five evaluations. Rivals are chosen after the fact, as those with the best
figure on the reported seeds, which favours them. Averages meet fewer attacks than the others; more could only lower
their worst case.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ceas.errors import RunDirectoryError
from ceas.experiments.reproduce_plan import ARMS, OBLIVIOUS_POLICY, OURS, Plan, arm_named
from ceas.experiments.result_tables import Columns
from ceas.experiments.statistics import MeanInterval, PairedDifference, holm, mean_interval, paired_difference

__all__ = ["Ablation", "ArmFigure", "Difference", "ablations", "accuracy_figures", "costs", "differences"]

FloatArray = NDArray[np.float64]

LARGEST_P_VALUE = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmFigure:
    """One arm under one scheduler against one number of attackers.

    Attributes:
        dataset: Data set.
        policy: Scheduling policy.
        arm: Its name.
        n_byzantine: Attackers.
        by_attack: Accuracy by attack and seed, each shape (seeds,).
        worst: Worst case by seed, shape (seeds,).
        weight: Attackers' part of the weight by attack, mean over rounds and seeds.
    """

    dataset: str
    policy: str
    arm: str
    n_byzantine: int
    by_attack: Mapping[str, FloatArray]
    worst: FloatArray
    weight: Mapping[str, float]

    @property
    def interval(self) -> MeanInterval:
        """Mean of the worst case with its 95 % interval."""
        return mean_interval(self.worst)

    @property
    def worst_attack(self) -> str:
        """Attack of the least mean accuracy."""
        return min(self.by_attack, key=lambda name: float(self.by_attack[name].mean()))

    @property
    def family(self) -> str:
        """Family of the arm."""
        return arm_named(self.arm).family


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Ours less a rival, paired by seed.

    Attributes:
        dataset: Data set.
        n_byzantine: Attackers.
        what: What the rival is the best of.
        ours: Our figure.
        rival: The rival's.
        difference: Ours less theirs, in accuracy.
        adjusted_p: p-value after Holm's correction over all differences of the table.
        target: Points that are the goal; None for a difference that is only told.
    """

    dataset: str
    n_byzantine: int
    what: str
    ours: ArmFigure
    rival: ArmFigure
    difference: PairedDifference
    adjusted_p: float
    target: float | None

    @property
    def is_met(self) -> bool | None:
        """Whether the mean is at least the goal; None without a goal, or where p (Holm) says that it may be chance."""
        if self.target is None or self.difference.n_pairs < 2:
            return None
        if self.difference.mean < self.target:
            return False
        return True if self.adjusted_p < LARGEST_P_VALUE else None


def accuracy_figures(plan: Plan, rows: Columns) -> list[ArmFigure]:
    """Gather the figures of all arms from finished trainings.

    Raises:
        RunDirectoryError: A training is missing.
    """
    wanted: dict[tuple[str, str, str, int], list[str]] = {}
    blank = {dataset: {arm.name: () for arm in ARMS} for dataset in plan.datasets}
    for one in plan.accuracy_trainings(blank):
        attacks = wanted.setdefault((one.dataset, one.policy, one.arm, one.n_byzantine), [])
        if one.attack not in attacks:
            attacks.append(one.attack)
    return [_figure(plan, rows, key, attacks) for key, attacks in wanted.items()]


def _figure(
    plan: Plan,
    rows: Columns,
    key: tuple[str, str, str, int],
    attacks: Sequence[str],
) -> ArmFigure:
    dataset, policy, arm, n_byzantine = key
    belongs = (rows["dataset"] == dataset) & (rows["policy"] == policy) & (rows["arm"] == arm)
    belongs &= rows["n_byzantine"] == n_byzantine
    by_attack, weight = {}, {}
    for attack in attacks:
        own = belongs & (rows["attack"] == attack)
        found = dict(zip(rows["seed"][own].tolist(), rows["test_accuracy"][own].tolist(), strict=True))
        if lacking := [seed for seed in plan.seeds if seed not in found]:
            which = f"{arm}, {policy}, {attack}, {n_byzantine} attackers, seed {lacking[0]}"
            raise RunDirectoryError(f"no training of {which}")
        by_attack[attack] = np.array([found[seed] for seed in plan.seeds])
        weight[attack] = float(np.mean(rows["byzantine_weight"][own]))
    return ArmFigure(
        dataset=dataset,
        policy=policy,
        arm=arm,
        n_byzantine=n_byzantine,
        by_attack=by_attack,
        worst=np.min(list(by_attack.values()), axis=0),
        weight=weight,
    )


# What ours is held against: families of rivals, their scheduler, and the points that are the goal with most attackers.
_RIVALS: tuple[tuple[str, tuple[str, ...], str, float | None], ...] = (
    ("averages, oblivious scheduler", ("mean",), OBLIVIOUS_POLICY, 0.15),
    ("robust rules, oblivious scheduler", ("robust",), OBLIVIOUS_POLICY, 0.10),
    ("robust rules, our scheduler", ("robust",), OURS, None),
    ("weighted robust rules, our scheduler", ("weighted",), OURS, None),
)


def differences(plan: Plan, figures: Sequence[ArmFigure]) -> list[Difference]:
    """Hold ours against the best rival of each kind, for each data set and number of attackers."""
    found = []
    for dataset in plan.datasets:
        for count in plan.attackers:
            here = [one for one in figures if one.dataset == dataset and one.n_byzantine == count]
            ours = next(one for one in here if one.family == "ours" and one.policy == OURS)
            for what, families, policy, target in _RIVALS:
                rivals = [one for one in here if one.family in families and one.policy == policy]
                if rivals:
                    goal = target if count == plan.attackers[-1] else None
                    found.append((what, ours, max(rivals, key=lambda one: one.interval.mean), goal))
    paired = [paired_difference(ours.worst, rival.worst) for _, ours, rival, _ in found]
    adjusted = _holm([one.p_value for one in paired])
    return [
        Difference(
            dataset=ours.dataset,
            n_byzantine=ours.n_byzantine,
            what=what,
            ours=ours,
            rival=rival,
            difference=difference,
            adjusted_p=p_value,
            target=goal,
        )
        for (what, ours, rival, goal), difference, p_value in zip(found, paired, adjusted, strict=True)
    ]


def _holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values; with one seed there are none."""
    if not np.isfinite(p_values).all():
        return [float("nan")] * len(p_values)
    return [float(value) for value in holm(p_values)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ablation:
    """What scheduling and aggregation earn, apart and together, with most attackers.

    Attributes:
        dataset: Data set.
        rival: Best robust arm on the oblivious scheduler.
        figures: Worst case by scheduling policy and arm, rival and ours under both schedulers.
        scheduling: Our scheduler less the oblivious one, by arm.
        aggregation: Our rule less the rival, by policy.
    """

    dataset: str
    rival: str
    figures: Mapping[tuple[str, str], ArmFigure]
    scheduling: Mapping[str, PairedDifference]
    aggregation: Mapping[str, PairedDifference]


def ablations(plan: Plan, figures: Sequence[ArmFigure]) -> list[Ablation]:
    """Return the two by two of scheduling and aggregation for each data set."""
    most = plan.attackers[-1]
    return [
        _ablation([one for one in figures if (one.dataset, one.n_byzantine) == (dataset, most)])
        for dataset in plan.datasets
    ]


def _ablation(here: Sequence[ArmFigure]) -> Ablation:
    by_name = {(one.policy, one.arm): one for one in here}
    robust = [one for one in here if one.family == "robust" and one.policy == OBLIVIOUS_POLICY]
    rival = max(robust, key=lambda one: one.interval.mean).arm
    ours = next(one.arm for one in here if one.family == "ours")
    policies = (OBLIVIOUS_POLICY, OURS)
    chosen = {(policy, arm): by_name[policy, arm] for policy in policies for arm in (rival, ours)}

    def less(a: tuple[str, str], b: tuple[str, str]) -> PairedDifference:
        return paired_difference(chosen[a].worst, chosen[b].worst)

    return Ablation(
        dataset=here[0].dataset,
        rival=rival,
        figures=chosen,
        scheduling={arm: less((OURS, arm), (OBLIVIOUS_POLICY, arm)) for arm in (rival, ours)},
        aggregation={policy: less((policy, ours), (policy, rival)) for policy in policies},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What attackers, or the fear of them, cost our method.

    Attributes:
        dataset: Data set.
        what: What is compared, in words.
        difference: Difference in accuracy, paired by seed.
        least: Smallest difference that reaches the goal.
    """

    dataset: str
    what: str
    difference: PairedDifference
    least: float

    @property
    def is_met(self) -> bool | None:
        """Whether all of the interval reaches the goal; None where only some of it does, or with one seed."""
        if self.difference.low >= self.least:
            return True
        return False if self.difference.high < self.least else None


# Attackers of the goal that accuracy stays within two points of the attack-free one.
_FIFTH = 10


def costs(plan: Plan, figures: Sequence[ArmFigure]) -> list[Cost]:
    """Return what our method loses without attackers, and with a fifth of them, for each data set."""
    found = []
    for dataset in plan.datasets:
        ours = {
            one.n_byzantine: one
            for one in figures
            if one.dataset == dataset and one.family == "ours" and one.policy == OURS
        }
        # The ceiling is the best that can be done without attackers, and needs to know that there are none.
        rivals = [
            one
            for one in figures
            if one.dataset == dataset
            and one.n_byzantine == 0
            and one.family in ("mean", "ceiling")
            and one.policy == OURS
        ]
        best = max(rivals, key=lambda one: one.interval.mean)
        what = f"no attackers, {plan.attackers[-1]} declared: less {best.arm}"
        clean = paired_difference(ours[0].worst, best.worst)
        found.append(Cost(dataset=dataset, what=what, difference=clean, least=-0.01))
        if _FIFTH in ours:
            what = f"{_FIFTH} attackers: less no attackers"
            attacked = paired_difference(ours[_FIFTH].worst, ours[0].worst)
            found.append(Cost(dataset=dataset, what=what, difference=attacked, least=-0.02))
    return found
