"""What the reproduction of the published claims trains and measures: arms, attacks, seeds and sizes, as data.

An arm is an aggregation rule with what it is told; a training is one arm under one attack on one network, data split
and start. Everything that a comparison is not about is shared by all arms: rounds, shots, pairs, momentum, the grid of
parameters that are tuned and the number of trials. Seeds of tuning are never reported.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any, Literal, TypeVar

from ceas.errors import DomainError, UnknownNameError
from ceas.experiments.scenario import Scenario

__all__ = [
    "ARMS",
    "ATTACKS",
    "DATASETS",
    "FULL",
    "OBLIVIOUS_POLICY",
    "OURS",
    "POLICIES",
    "QUICK",
    "TABLES",
    "TUNING_SEEDS",
    "Arm",
    "AttackChoice",
    "Plan",
    "Training",
    "arm_named",
    "attack_named",
    "plan_of",
    "trials_of",
    "tuning_attacks",
    "tuning_trainings",
]

Family = Literal["mean", "robust", "weighted", "ours", "ceiling", "falsifier"]

TABLES = ("accuracy", "entanglement", "variance", "falsifiers", "convergence")
N_NODES = 50
TUNING_SEEDS = (910_001, 910_002, 910_003)
# A scheduler that knows neither the age nor the fidelity of its pairs: it serves whoever asks with the oldest.
OBLIVIOUS_POLICY = "oldest_first"
OURS = "ceas"
POLICIES = (OBLIVIOUS_POLICY, OURS)
# What the second data set needs beside the scenario. 1,500 images are kept for testing.
DATASETS: Mapping[str, tuple[str, ...]] = {
    "digits": (),
    "mnist": ("data.dataset=mnist", "data.test_fraction=0.75", "data.validation_fraction=0.07"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """An aggregation rule as it takes part.

    Attributes:
        name: What names it in tables and on disk.
        family: `mean`: averages, robust against nobody; `robust`: knows nothing of entanglement; `weighted`: published
            robust rules on debiased updates with certified information; `ours`; `ceiling`: the honest nodes alone,
            averaged by certified information, which needs to know who is honest; `falsifier`: what has to fail.
        rule: Aggregation rule.
        is_debiased: Whether updates are divided by their certified contraction.
        trials: Overrides to choose from in tuning, beside the learning rate.
    """

    name: str
    family: Family
    rule: str
    is_debiased: bool = False
    trials: tuple[tuple[str, ...], ...] = (("learning.worker_momentum=0.9",), ("learning.worker_momentum=0.6",))

    @property
    def overrides(self) -> tuple[str, ...]:
        """What a scenario must be given for this arm."""
        return f"aggregation.rule={self.rule}", f"aggregation.is_debiased={str(self.is_debiased).lower()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AttackChoice:
    """An attack with its parameters.

    Attributes:
        name: What names it in tables and on disk.
        attack: Its name in scenarios.
        parameters: Its parameters.
    """

    name: str
    attack: str
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @property
    def overrides(self) -> tuple[str, ...]:
        """What a scenario must be given for this attack."""
        texts = [f"byzantine.parameters.{key}={_toml(value)}" for key, value in self.parameters.items()]
        return f"byzantine.attack={self.attack}", *texts


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """One training of the reproduction.

    Attributes:
        dataset: Name in `DATASETS`.
        policy: Scheduling policy.
        arm: Name of the arm.
        attack: Name of the attack; `none` without attackers.
        n_byzantine: Attackers.
        declared: Attackers that the rule is told to withstand.
        seed: Root seed.
        variant: What names a deviation from the plan, as falsifiers have; empty for none.
        overrides: What a scenario is given besides: tuned parameters, and what makes the variant.
    """

    dataset: str
    policy: str
    arm: str
    attack: str
    n_byzantine: int
    declared: int
    seed: int
    variant: str = ""
    overrides: tuple[str, ...] = ()

    def scenario(self, base: Scenario) -> Scenario:
        """Return the scenario to train."""
        arm, attack = arm_named(self.arm), attack_named(self.attack)
        return base.with_overrides(
            [
                *DATASETS[self.dataset],
                f"schedule.policy={self.policy}",
                *arm.overrides,
                f"byzantine.n_byzantine={self.n_byzantine}",
                f"aggregation.tolerated_byzantine={self.declared}",
                *attack.overrides,
                *self.overrides,
            ]
        )


# Evaluations of the rule for each sign, a quarter of the attack's default, for time; all rules meet the same attack.
_SEARCH = {"evaluations": 5}
_NEAR = {**_SEARCH, "step": 0.5, "goal": "alignment"}
_ALONG_MEAN = {**_SEARCH, "step": 0.25, "goal": "alignment"}
ATTACKS: tuple[AttackChoice, ...] = (
    AttackChoice(name="none", attack="none"),
    # Of each attacker's own update: minus twice the mean is already `IPM 2`.
    AttackChoice(name="sign flip", attack="sign_flip", parameters={"factor": 2.0, "of": "own"}),
    AttackChoice(name="IPM .5", attack="inner_product_manipulation", parameters={"factor": 0.5}),
    AttackChoice(name="IPM 2", attack="inner_product_manipulation", parameters={"factor": 2.0}),
    AttackChoice(name="ALIE", attack="a_little_is_enough"),
    AttackChoice(name="ALIE, jitter", attack="a_little_is_enough", parameters={"jitter": 1.0}),
    AttackChoice(name="IPM 2, jitter", attack="inner_product_manipulation", parameters={"factor": 2.0, "jitter": 1.0}),
    AttackChoice(name="MinMax", attack="min_max"),
    AttackChoice(name="mimic", attack="mimic"),
    AttackChoice(name="drift", attack="drift"),
    AttackChoice(name="ROP", attack="relocated_orthogonal"),
    AttackChoice(name="label flip", attack="label_flip"),
    AttackChoice(name="search", attack="opt_alie", parameters=_SEARCH),
    AttackChoice(name="search near", attack="opt_alie", parameters=_NEAR),
    AttackChoice(name="search, jitter", attack="opt_alie", parameters={**_NEAR, "jitter": 1.0}),
    AttackChoice(name="search IPM", attack="opt_ipm", parameters=_ALONG_MEAN),
    AttackChoice(
        name="false claims",
        attack="with_false_claims",
        parameters={"attack": "opt_alie", "attack_parameters": _NEAR, "claim_factor": 1000.0},
    ),
    *(
        AttackChoice(
            name=f"lie: {name}",
            attack="with_false_claims",
            parameters={"attack": "opt_alie", "attack_parameters": _NEAR, **lie},
        )
        for name, lie in (
            ("x10", {"claim_factor": 10.0}),
            ("negative", {"lie": "negative"}),
            ("no number", {"lie": "not_a_number"}),
        )
    ),
    AttackChoice(name="lie: IPM", attack="inflated_claim"),
    # What the ceiling needs: attackers that send nothing, and are not missed.
    AttackChoice(name="absent", attack="withholding"),
)

# A radius of 0.1 was behind at every learning rate.
_CLIPPED = tuple(
    ("aggregation.parameters.radius=1.0", f"learning.worker_momentum={momentum}") for momentum in (0.9, 0.6)
)
ARMS: tuple[Arm, ...] = (
    Arm(name="mean", family="mean", rule="mean"),
    Arm(name="sample-weighted", family="mean", rule="sample_weighted_mean"),
    Arm(name="fidelity-weighted", family="mean", rule="fidelity_weighted_mean"),
    Arm(name="QFI-weighted", family="mean", rule="qfi_weighted_mean"),
    Arm(name="Q-RAIL style", family="mean", rule="q_rail_style"),
    Arm(name="wpQFL style", family="mean", rule="wpqfl_style"),
    Arm(name="trimmed mean", family="robust", rule="trimmed_mean"),
    Arm(name="median", family="robust", rule="coordinate_median"),
    Arm(name="geometric median", family="robust", rule="geometric_median"),
    Arm(name="NNM trimmed mean", family="robust", rule="nnm_trimmed_mean"),
    Arm(name="NNM geometric median", family="robust", rule="nnm_geometric_median"),
    Arm(name="centred clipping", family="robust", rule="centered_clipping", trials=_CLIPPED),
    Arm(name="spectral filter", family="robust", rule="caf"),
    Arm(name="weighted trimmed mean", family="weighted", rule="weighted_trimmed_mean", is_debiased=True),
    Arm(name="weighted NNM", family="weighted", rule="weighted_nnm_trimmed_mean", is_debiased=True),
    Arm(name="ceas", family="ours", rule="ceas"),
    Arm(name="honest only", family="ceiling", rule="information_weighted_mean", is_debiased=True),
    Arm(name="certified mean", family="falsifier", rule="information_weighted_mean", is_debiased=True),
    Arm(name="ceas, equal", family="falsifier", rule="ceas.experiments.reproduce_falsifiers:equal_ceas"),
    Arm(name="ceas, shuffled", family="falsifier", rule="ceas.experiments.reproduce_falsifiers:shuffled_ceas"),
)
# Averages are broken by any of these; more attacks could only lower their worst case.
ATTACKS_ON_MEANS = ("IPM 2", "search", "search near")
# Attacks of fractions between none and the largest: one of each kind, for time.
ATTACKS_BETWEEN = (
    *("ALIE", "IPM .5", "IPM 2, jitter", "MinMax", "mimic"),
    *("ROP", "label flip", "search near", "search IPM"),
)
# One of each kind as well, so that no rule is tuned for other attacks than it meets.
ATTACKS_OF_TUNING = (
    *("none", "IPM .5", "IPM 2, jitter", "MinMax"),
    *("ROP", "label flip", "search near", "search IPM"),
)
ATTACKS_OF_TUNING_MEANS = ("none", "IPM 2", "search near")
LEARNING_RATES = (0.03, 0.08, 0.2, 0.5, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much is trained and measured.

    Attributes:
        name: What names its results.
        scenario: Built-in scenario.
        rounds: Training rounds.
        seeds: Reported root seeds.
        datasets: Names in `DATASETS`.
        arms: Names of the arms.
        attackers: Numbers of attackers of the 50 nodes, 0 first; at 0 and at the last every arm meets both schedulers.
        attacks: Attacks of the largest number of attackers.
        attacks_between: Attacks of the numbers between.
        coherence_times_s: Coherence times of the table `entanglement` (s).
        schedule_rounds: Rounds of each of its runs.
        variance_repeats: Times that every gradient of the table `variance` is drawn.
        convergence_rounds: Rounds of each training of the table `convergence`.
        convergence_rules: Its aggregation rules.
        convergence_attacks: Its attacks.
    """

    name: str
    scenario: str = "headline"
    rounds: int
    seeds: tuple[int, ...]
    datasets: tuple[str, ...]
    arms: tuple[str, ...]
    attackers: tuple[int, ...]
    attacks: tuple[str, ...]
    attacks_between: tuple[str, ...]
    coherence_times_s: tuple[float, ...]
    schedule_rounds: int
    variance_repeats: int
    convergence_rounds: int
    convergence_rules: tuple[str, ...]
    convergence_attacks: tuple[str, ...]

    @property
    def convergence_seeds(self) -> tuple[int, ...]:
        """Root seeds of the table `convergence`, whose trainings are short: twice as many as of the others."""
        return tuple(range(2 * len(self.seeds)))

    def accuracy_trainings(self, choices: Mapping[str, Mapping[str, tuple[str, ...]]]) -> Iterator[Training]:
        """Return the trainings of the table `accuracy`.

        Args:
            choices: Overrides that were tuned, by data set and arm.
        """
        most = self.attackers[-1]
        for dataset, seed, count, name in product(self.datasets, self.seeds, self.attackers, self.arms):
            arm = arm_named(name)
            for policy, attack in product(self._policies(arm, count), self._attacks(arm, count)):
                yield Training(
                    dataset=dataset,
                    policy=policy,
                    arm=name,
                    attack=attack,
                    n_byzantine=count,
                    declared=_declared(arm, count or most),
                    seed=seed,
                    overrides=tuple(choices[dataset][name]),
                )

    def _policies(self, arm: Arm, n_byzantine: int) -> tuple[str, ...]:
        if n_byzantine in (self.attackers[0], self.attackers[-1]):
            return POLICIES
        return (OURS,) if arm.family == "ours" else (OBLIVIOUS_POLICY,)

    def _attacks(self, arm: Arm, n_byzantine: int) -> tuple[str, ...]:
        if n_byzantine == 0:
            return ("none",)
        if arm.family == "ceiling":
            return ("absent",)
        if arm.family == "mean":
            return tuple(one for one in self.attacks if one in ATTACKS_ON_MEANS)
        attacks = self.attacks if n_byzantine == self.attackers[-1] else self.attacks_between
        # A rule that hears no claims cannot tell these from `search near`.
        return tuple(one for one in attacks if arm.family != "robust" or one != "false claims")


def _declared(arm: Arm, n_byzantine: int) -> int:
    return 0 if arm.family in ("mean", "ceiling") else n_byzantine


def tuning_trainings(plan: Plan, *, seeds: tuple[int, ...] = TUNING_SEEDS) -> Iterator[Training]:
    """Return the trainings from which every arm's parameters are chosen: as many trials for every arm."""
    most = plan.attackers[-1]
    for dataset, seed, name in product(plan.datasets, seeds, plan.arms):
        arm = arm_named(name)
        for attack, overrides in product(tuning_attacks(arm), trials_of(arm)):
            yield Training(
                dataset=dataset,
                policy=OBLIVIOUS_POLICY,
                arm=name,
                attack=attack,
                n_byzantine=0 if attack == "none" else most,
                declared=_declared(arm, most),
                seed=seed,
                variant="tuning",
                overrides=overrides,
            )


def tuning_attacks(arm: Arm) -> tuple[str, ...]:
    """Return the attacks under which an arm is tuned."""
    if arm.family == "ceiling":
        return ("absent",)
    return ATTACKS_OF_TUNING_MEANS if arm.family == "mean" else ATTACKS_OF_TUNING


def trials_of(arm: Arm) -> list[tuple[str, ...]]:
    """Return the overrides that tuning tries for an arm, as many for every arm."""
    return [(f"learning.learning_rate={rate}", *extra) for rate, extra in product(LEARNING_RATES, arm.trials)]


def arm_named(name: str) -> Arm:
    """Return an arm by name.

    Raises:
        UnknownNameError: There is none.
    """
    return _of_name("arm", name, _ARMS)


def attack_named(name: str) -> AttackChoice:
    """Return an attack by its name in the tables.

    Raises:
        UnknownNameError: There is none.
    """
    return _of_name("attack", name, _ATTACKS)


_ARMS = {one.name: one for one in ARMS}
_ATTACKS = {one.name: one for one in ATTACKS}
_Named = TypeVar("_Named", Arm, AttackChoice)


def _of_name(family: str, name: str, table: Mapping[str, _Named]) -> _Named:
    if name not in table:
        raise UnknownNameError(family, name, table)
    return table[name]


def _toml(value: Any) -> str:
    """Write a parameter as a value of an override."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {_toml(one)}" for key, one in value.items()) + "}"
    return json.dumps(value)


_ALL_ARMS = tuple(one.name for one in ARMS if one.family != "falsifier")
# Further lies are for the table of falsifiers.
_ALL_ATTACKS = tuple(
    one.name for one in ATTACKS if one.name not in ("none", "absent") and not one.name.startswith("lie: ")
)

FULL = Plan(
    name="full",
    rounds=100,
    seeds=tuple(range(10)),
    datasets=("digits", "mnist"),
    arms=_ALL_ARMS,
    attackers=(0, 5, 10, 15),
    attacks=_ALL_ATTACKS,
    attacks_between=ATTACKS_BETWEEN,
    coherence_times_s=(0.05, 0.1, 0.15, 0.3, 0.6),
    schedule_rounds=10,
    variance_repeats=200,
    convergence_rounds=300,
    convergence_rules=("trimmed_mean", "coordinate_median", "geometric_median", "nnm_trimmed_mean", OURS),
    convergence_attacks=("none", "ALIE", "IPM .5", "MinMax", "sign flip"),
)
QUICK = Plan(
    name="quick",
    rounds=20,
    seeds=(0, 1),
    datasets=("digits",),
    arms=("mean", "trimmed mean", "NNM trimmed mean", "weighted trimmed mean", "ceas", "honest only"),
    attackers=(0, 15),
    attacks=("ALIE", "IPM .5", "search near"),
    attacks_between=(),
    coherence_times_s=(0.05, 0.15),
    schedule_rounds=2,
    variance_repeats=40,
    convergence_rounds=20,
    convergence_rules=("trimmed_mean", OURS),
    convergence_attacks=("none", "ALIE"),
)


def plan_of(*, is_quick: bool, seeds: int | None = None, datasets: Sequence[str] | None = None) -> Plan:
    """Return a plan, with other numbers of seeds and other data sets if they are given.

    Raises:
        DomainError: There is no seed.
        UnknownNameError: A data set is not among the plan's.
    """
    plan = QUICK if is_quick else FULL
    if seeds is not None:
        if seeds < 1:
            raise DomainError(f"Argument `seeds` must be at least 1, but is {seeds}.")
        plan = replace(plan, seeds=tuple(range(seeds)))
    if datasets is not None:
        for name in datasets:
            if name not in FULL.datasets:
                raise UnknownNameError("data set of the reproduction", name, FULL.datasets)
        plan = replace(plan, datasets=tuple(datasets))
    return plan
