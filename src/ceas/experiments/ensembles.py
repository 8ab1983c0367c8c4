"""Variants of one scenario, trained together on one recorded network."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from ceas.errors import DomainError
from ceas.experiments.assemble import (
    assemble_byzantine,
    assemble_method,
    assemble_security,
    assemble_training,
    assemble_world,
)
from ceas.experiments.scenario import Scenario
from ceas.runtime.compilation import use_compilation_cache
from ceas.runtime.cosimulation import CoSimulation
from ceas.runtime.ensemble import Ensemble, TrainingOutcome
from ceas.runtime.interrupts import deferred_interrupts
from ceas.runtime.sources import NetworkTrace, RecordedSource
from ceas.runtime.world import World

__all__ = ["TrainingOutcome", "shared_keys", "simulate_together"]

# Whatever else two scenarios differ in, they cannot be trained together.
_OWN_SECTIONS = ("name", "description", "aggregation", "byzantine", "output")
_OWN_LEARNING_KEYS = (
    *("optimizer", "optimizer_momentum", "learning_rate", "final_learning_rate_share"),
    *("worker_momentum", "natural_damping"),
)


def simulate_together(
    scenarios: Sequence[Scenario],
    *,
    seed: int,
    network_trace: NetworkTrace,
    has_diagnostics: bool = False,
    measures_gradients: bool = False,
    after_round: Callable[[int], None] | None = None,
) -> list[TrainingOutcome]:
    """Train variants of one scenario on one recorded network; each comes to what `simulate` makes of it alone.

    Memory grows with their number: about 5 MB for each on 50 learners of 300 shots a round.

    Args:
        scenarios: At least one; they may differ in `aggregation`, `byzantine` and `output`, and in the optimiser, its
            step size, the learners' momentum and the natural gradient.
        seed: Root seed of all draws.
        network_trace: What `record_network` returned for one of them and this seed.
        has_diagnostics: Whether also what no outcome reports is computed.
        measures_gradients: Whether the errors of updates are measured as often as `output.gradient_rounds` says.
        after_round: Told how many training rounds are done, after each. What it raises ends the trainings; so does
            Ctrl-C, between two rounds.

    Returns:
        The outcome of each scenario.

    Raises:
        DomainError: There are no scenarios, they differ in what trainings share, or the trace has too few rounds.
        ScenarioError: A scenario asks for what its network or data cannot give.
    """
    if not scenarios:
        raise DomainError("Argument `scenarios` must hold at least one, but is empty.")
    _check_alike(scenarios)
    if len(network_trace.windows) < scenarios[0].clock.rounds:
        found = f"{len(network_trace.windows)}, fewer than the scenario's {scenarios[0].clock.rounds}"
        raise DomainError(f"Argument `network_trace` must hold all training rounds, but holds {found}.")
    use_compilation_cache()
    shared = assemble_world(scenarios[0], seed)
    worlds = [replace(shared, is_byzantine=assemble_byzantine(each, shared, seed)) for each in scenarios]
    with deferred_interrupts() as interrupt:

        def told(completed_rounds: int) -> None:
            if after_round is not None:
                after_round(completed_rounds)
            if interrupt:
                raise interrupt.error()

        ensemble = Ensemble(
            [
                _simulation(
                    each,
                    world,
                    seed=seed,
                    network_trace=network_trace,
                    has_diagnostics=has_diagnostics,
                    gradient_rounds=each.output.gradient_rounds if measures_gradients else 0,
                )
                for each, world in zip(scenarios, worlds, strict=True)
            ]
        )
        return ensemble.run(told)


def _simulation(
    scenario: Scenario,
    world: World,
    *,
    seed: int,
    network_trace: NetworkTrace,
    has_diagnostics: bool,
    gradient_rounds: int,
) -> CoSimulation:
    security = assemble_security(scenario)
    return CoSimulation(
        world,
        assemble_training(scenario),
        assemble_method(scenario),
        security,
        RecordedSource(network_trace, world, security),
        seed=seed,
        has_diagnostics=has_diagnostics,
        gradient_rounds=gradient_rounds,
    )


def _check_alike(scenarios: Sequence[Scenario]) -> None:
    first = shared_keys(scenarios[0])
    for index, scenario in enumerate(scenarios[1:], start=1):
        other = shared_keys(scenario)
        differing = sorted(name for name in first.keys() | other.keys() if first.get(name) != other.get(name))
        if differing:
            told = f"but scenario {index} differs from the first in {', '.join(differing)}"
            raise DomainError(f"Argument `scenarios` must be variants that can share a training, {told}.")
    if len({each.network_id for each in scenarios}) > 1:
        raise DomainError(
            "Argument `scenarios` must share one exchange, but an attack on messages or tests shares it with no other."
        )


def shared_keys(scenario: Scenario) -> dict[str, Any]:
    """Return what trainings in one ensemble must have in common, by the full names of the keys."""
    sections = {name: keys for name, keys in scenario.to_mapping().items() if name not in _OWN_SECTIONS}
    own = {f"learning.{key}" for key in _OWN_LEARNING_KEYS}
    named = {f"{name}.{key}": value for name, keys in sections.items() for key, value in keys.items()}
    return {name: value for name, value in named.items() if name not in own}
