"""The settings of the scheduling benchmark, as data: scenario, parameters, regime, and what is run in short."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ceas.errors import UnknownNameError
from ceas.experiments.scheduling_cases import (
    Phase,
    Regime,
    deadline_mix_case,
    drift_case,
    lost_sales_case,
    one_link_case,
)
from ceas.experiments.scheduling_route_cases import grid_case, packet_case, switch_case
from ceas.experiments.scheduling_route_network import GLOBAL, LOCAL, route_network_case
from ceas.experiments.scheduling_training_cases import adversary_case, barrier_case

__all__ = ["SCENARIOS", "SETTINGS", "Setting", "choose_settings"]

# What can be asked for; S4 is computed exactly and has no cases.
SCENARIOS = ("S1", "S2", "S3", "S4", "S5", "S6", "S7", "S8", "S9", "S10", "S11")


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One setting of a scenario.

    Attributes:
        scenario: Scenario, for example `"S2"`.
        name: Its name, unique.
        generator: Makes the case from `parameters`, `seed` and `phase`.
        parameters: Parameters of the generator.
        regime: Whether it can tell good policies from bad ones.
        is_quick: Whether the short benchmark has it.
        quick_parameters: What the short benchmark changes.
        tuning_parameters: What is different in the cases that policies are tuned on.
        most_seeds: Most seeds that are reported; None for as many as asked for.
        has_bound: Whether the clairvoyant bound is computed.
        has_online_bound: Whether the bound on policies without foresight is computed; it holds for unannounced requests
            of one pair of one link.
        average_bound: Bound on the mean over coins and requests: `"dual"`, `"fluid"`, or empty where none holds, as
            for requests that are no Poisson process or a network that is not what it was.
        goal: Figure that every policy is tuned for a second time, the larger the better; empty for none.
        purifies: Whether purification is among what every policy may be tuned to do, and in the clairvoyant bound.
        bounds_frontier: Whether the dual bound is computed at several utilisations; it says something where nobody can
            wait.
        is_on_events: Whether it runs on the event kernel and not in the slotted network.
    """

    scenario: str
    name: str
    generator: Callable[..., Any]
    parameters: Mapping[str, Any]
    regime: Regime = Regime.HARD
    is_quick: bool = False
    quick_parameters: Mapping[str, Any] = field(default_factory=dict)
    tuning_parameters: Mapping[str, Any] = field(default_factory=dict)
    most_seeds: int | None = None
    has_bound: bool = True
    has_online_bound: bool = False
    average_bound: str = ""
    goal: str = ""
    purifies: bool = False
    bounds_frontier: bool = False
    is_on_events: bool = False

    def case(self, seed: int, phase: Phase, *, is_quick: bool = False) -> Any:
        """Return the setting's instance of a seed: a `SchedulingCase`, or a `RouteNetworkCase` of the event kernel."""
        changed = dict(self.parameters)
        if is_quick:
            changed |= self.quick_parameters
        if phase is Phase.TUNING:
            changed |= self.tuning_parameters
        made = self.generator(**changed, seed=seed, phase=phase)
        return replace(made, name=self.name, regime=self.regime)


# How fast training descends, where a round without a quorum of workers is lost.
_DESCENT = "descent_quorum"
_OPTIONS = (
    "tuning_parameters",
    "most_seeds",
    "has_bound",
    "has_online_bound",
    "average_bound",
    "goal",
    "purifies",
    "bounds_frontier",
    "is_on_events",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scenario:
    """What the settings of a scenario share; `quick` are the names of those in the short benchmark."""

    key: str
    generator: Callable[..., Any]
    quick: Sequence[str] = ()
    quick_parameters: Mapping[str, Any] = field(default_factory=lambda: {"n_slots": 150})

    def setting(self, label: str, *, regime: Regime = Regime.HARD, **options: Any) -> Setting:
        """Return one setting; options that `Setting` has are its fields, the others parameters of the generator."""
        own = {name: options.pop(name) for name in _OPTIONS if name in options}
        return Setting(
            scenario=self.key,
            name=f"{self.key} {label}",
            generator=self.generator,
            parameters=options,
            regime=regime,
            is_quick=label in self.quick,
            quick_parameters=self.quick_parameters,
            **own,
        )


def _settings() -> tuple[Setting, ...]:
    return (
        *_one_link_settings(),
        *_link_settings(),
        *_switch_settings(),
        *_training_settings(),
        *_grid_settings(),
        *_packet_settings(),
        *_change_settings(),
        *_scale_settings(),
    )


def _one_link_settings() -> list[Setting]:
    unit = _Scenario(key="S1", generator=one_link_case, quick=("memory 2",), quick_parameters={"n_slots": 1000})
    return [
        unit.setting(f"memory {memory}", memory_slots=memory, average_bound="dual", bounds_frontier=True)
        for memory in (2, 3)
    ]


def _link_settings() -> list[Setting]:
    mix = _Scenario(key="S2", generator=deadline_mix_case, quick=("load 0.7 memory 2",))
    made = [
        mix.setting(f"load {load:g} memory {memory}", load=load, memory_slots=memory, has_online_bound=True)
        for load in (0.3, 0.7, 1.2)
        for memory in (2, 4)
    ]
    # Everybody can wait for a pair made on demand: the regime in which utilisation says nothing.
    loose = {"has_online_bound": True, "load": 0.3, "memory_slots": 4, "patience_slots": (12,)}
    made.append(mix.setting("load 0.3 memory 4 loose", regime=Regime.TRIVIAL, **loose))
    lost = _Scenario(key="S3", generator=lost_sales_case, quick=("load 0.7 memory 2",))
    made += [
        lost.setting(
            f"load {load:g} memory {memory}",
            memory_slots=memory,
            load=load,
            has_online_bound=True,
            average_bound="dual",
            bounds_frontier=True,
        )
        for load in (0.7, 1.2)
        for memory in (2, 4)
    ]
    made += [
        lost.setting(
            f"load {load:g} memory 4 low fidelity",
            memory_slots=4,
            load=load,
            initial_fidelity=0.905,
            coherence_slots=100.0,
            purifies=True,
        )
        for load in (0.3, 0.7)
    ]
    return made


def _switch_settings() -> list[Setting]:
    switch = _Scenario(key="S5", generator=switch_case, quick=("load 0.9 leaves 12",))
    return [
        switch.setting(f"load {load:g} leaves {leaves}", load=load, n_leaves=leaves, average_bound="dual")
        for leaves in (12, 48)
        for load in (0.5, 0.9, 1.5)
    ]


def _training_settings() -> list[Setting]:
    barrier = _Scenario(key="S6", generator=barrier_case, quick=("round 20 pairs 1 coherence 0.5",))
    return [
        barrier.setting(
            f"round {slots} pairs {pairs} coherence {coherence:g}",
            round_slots=slots,
            n_pairs=pairs,
            coherence_rounds=coherence,
            goal=_DESCENT,
        )
        for slots in (20, 60)
        for pairs in (1, 4)
        for coherence in (0.5, 2.0)
    ]


def _grid_settings() -> list[Setting]:
    grid = _Scenario(key="S7", generator=grid_case, quick_parameters={"n_slots": 100})
    made = [
        # Routes of up to four links have too many combinations for the clairvoyant's programme.
        grid.setting(f"swap {chance:g}", swap_success_probability=chance, has_bound=False, average_bound="fluid")
        for chance in (1.0, 0.5)
    ]
    events = _Scenario(key="S7", generator=route_network_case, quick_parameters={"n_slots": 60})
    made += [
        events.setting(
            f"events swap {chance:g} {GLOBAL if hears_at_once else LOCAL}",
            swap_success_probability=chance,
            hears_at_once=hears_at_once,
            has_bound=False,
            is_on_events=True,
        )
        for chance in (1.0, 0.5)
        for hears_at_once in (False, True)
    ]
    return made


def _packet_settings() -> list[Setting]:
    packets = _Scenario(key="S8", generator=packet_case, quick=("applications 150",))
    return [
        packets.setting(
            f"applications {n}",
            n_applications=n,
            has_bound=False,
            average_bound="fluid",
            regime=Regime.TRIVIAL if n < 100 else Regime.HARD,
        )
        for n in (50, 150, 250, 400)
    ]


def _change_settings() -> list[Setting]:
    drift = _Scenario(key="S9", generator=drift_case, quick=("load 0.7 memory 2",))
    made = [
        drift.setting(
            "load 0.7 memory 2",
            load=0.7,
            memory_slots=2,
            has_online_bound=True,
            tuning_parameters={"drifts": False},
        )
    ]
    liars = _Scenario(key="S10", generator=adversary_case, quick_parameters={"n_slots": 400})
    made += [
        liars.setting(label, drops=drops, goal=_DESCENT, tuning_parameters={"n_slots": 1000})
        for label, drops in (("inflated claims", False), ("dropped halves", True))
    ]
    return made


def _scale_settings() -> list[Setting]:
    scale = _Scenario(key="S11", generator=deadline_mix_case, quick_parameters={"n_slots": 50})
    return [
        scale.setting(
            f"nodes {n}",
            load=0.7,
            memory_slots=2,
            n_nodes=n,
            n_slots=100,
            # Policies are tuned at 50 nodes, with the same rates per node.
            tuning_parameters={"n_nodes": 50, "n_slots": 400},
            most_seeds=None if n <= 500 else 3,
            has_bound=n <= 500,
            has_online_bound=n <= 500,
        )
        for n in (500, 2000, 5000)
    ]


SETTINGS: tuple[Setting, ...] = _settings()


def choose_settings(scenarios: Sequence[str] = (), *, is_quick: bool = False) -> list[Setting]:
    """Return the settings of the scenarios, by default of all, in the order of the table.

    Raises:
        UnknownNameError: There is no such scenario.
    """
    for name in scenarios:
        if name not in SCENARIOS:
            raise UnknownNameError("scenario of the scheduling benchmark", name, SCENARIOS)
    return [
        setting
        for setting in SETTINGS
        if (not scenarios or setting.scenario in scenarios)
        # A scenario that is asked for by name is run in the short benchmark even if it has no setting there.
        and (not is_quick or setting.is_quick or (setting.scenario in scenarios and not _has_quick(setting.scenario)))
    ]


def _has_quick(scenario: str) -> bool:
    return any(setting.is_quick for setting in SETTINGS if setting.scenario == scenario)
