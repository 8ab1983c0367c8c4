"""From a scenario and a seed to what the runtime runs on: every name resolved, every number handed over."""

import inspect
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from functools import lru_cache, partial
from typing import Any, NamedTuple, cast

import numpy as np

from ceas.aggregation import Rule, debiased, needs_of
from ceas.errors import CeasError, DomainError, ScenarioError, UnknownNameError
from ceas.experiments import registry
from ceas.experiments.files import refuse_changed_files
from ceas.experiments.scenario import Scenario
from ceas.experiments.sections import Section
from ceas.learning import (
    Circuit,
    Classifier,
    Dataset,
    LearnerSamples,
    Partition,
    pad_samples,
    partition_circuit,
    pennylane_device,
)
from ceas.learning.circuits import without_encoding
from ceas.learning.data import Preparation
from ceas.learning.engines import Engine, EngineChoice, choose_engine
from ceas.learning.gradients import trained_rotations
from ceas.learning.imported import ImportedCircuit
from ceas.learning.training import Computation
from ceas.network import HardwareParameters, Policy, build_topology, draw_hardware
from ceas.network.hardware import PairValue, mean_squared_correlator, squared_werner
from ceas.runtime.cosimulation import Method
from ceas.runtime.expected_information import expected_information
from ceas.runtime.forecast import Forecast, forecast_round
from ceas.runtime.learners import N_REFERENCE_INPUTS, TrainingParameters
from ceas.runtime.route_world import DriftParameters, RepeaterParameters, RouteKeyParameters, TrafficParameters
from ceas.runtime.sources import SecurityParameters
from ceas.runtime.world import (
    Computations,
    DemandParameters,
    OptionalNetwork,
    ProcessorParameters,
    World,
    build_world,
    place_byzantine,
)
from ceas.streams import stream

__all__ = [
    "assemble_byzantine",
    "assemble_data",
    "assemble_forecast",
    "assemble_method",
    "assemble_model",
    "assemble_partition",
    "assemble_policy",
    "assemble_security",
    "assemble_training",
    "assemble_world",
    "choose_engines",
]


# Keys of the learning section that the model or the optimiser takes.
_NOT_OF_LEARNERS = {
    *("temperature", "engine", "n_trajectories"),
    *("optimizer", "optimizer_momentum", "learning_rate", "final_learning_rate_share"),
}


def assemble_world(scenario: Scenario, seed: int) -> World:
    """Draw the network, the data and the attackers of one seed.

    Raises:
        ScenarioError: The scenario asks for what its network or data cannot give.
    """
    refuse_changed_files(scenario)
    try:
        topology = build_topology(
            scenario.topology.kind,
            rng=stream(seed, "topology"),
            fibre_length_factor=scenario.topology.fibre_length_factor,
            **scenario.topology.builder_parameters(),
        )
        model = assemble_model(scenario)
        partition = assemble_partition(scenario, model)
        weights = _correlator_weights(scenario, model, partition)
        nodes, links = draw_hardware(
            topology,
            HardwareParameters(**_of(scenario.hardware, HardwareParameters)),
            seed=seed,
            pair_value=_pair_value(scenario, partition, weights),
        )
        dataset, samples = assemble_data(scenario, topology.n_nodes, seed)
        if dataset.train_states is not None and model.circuit.n_features:
            wanted = "must be amplitudes, because the samples of the file are states"
            raise ScenarioError(scenario.name, [f"data.encoding: found {scenario.data.encoding}, {wanted}"])
        _check_trainable(scenario, model)
        _check_root_samples(scenario, dataset)
        _check_device(scenario, model)
        engines = choose_engines(
            scenario, model, partition, n_samples=len(dataset.train_labels), n_learners=topology.n_nodes
        )
        world = build_world(
            topology=topology,
            nodes=nodes,
            links=links,
            demand=_demand(scenario),
            model=model,
            partition=partition,
            dataset=dataset,
            samples=samples,
            is_byzantine=np.zeros(topology.n_nodes, np.bool_),
            optional=_optional(scenario),
            processor=ProcessorParameters(**scenario.processor.model_dump()),
            computations=_computations(scenario, engines),
            seed=seed,
            correlator_weights=weights,
        )
        return replace(world, is_byzantine=_byzantine(scenario, world, seed))
    except DomainError as error:
        raise ScenarioError(scenario.name, [str(error)]) from error


def assemble_model(scenario: Scenario) -> Classifier:
    """Build the scenario's circuit and what reads it.

    Raises:
        ScenarioError: The circuit cannot be built like this, or does not fit the data.
    """
    section, data = scenario.circuit, scenario.data
    with _told_by_key(scenario, "circuit"):
        circuit = _circuit(scenario)
    if circuit.n_qubits != section.n_qubits:
        wanted = f"must be {circuit.n_qubits}, the qubits of {section.ansatz}"
        raise ScenarioError(scenario.name, [f"circuit.n_qubits: found {section.n_qubits}, {wanted}"])
    is_states = data.dataset in registry.QUANTUM_DATASETS or data.encoding == "amplitudes"
    if is_states:
        with _told_by_key(scenario, "circuit"):
            circuit = without_encoding(circuit)
    elif not section.is_dressed and circuit.n_features != data.n_features:
        wanted = f"must be {circuit.n_features}, the inputs of {section.ansatz}, or circuit.is_dressed must be true"
        raise ScenarioError(scenario.name, [f"data.n_features: found {data.n_features}, {wanted}"])
    with _told_by_key(scenario, "circuit"):
        return Classifier(
            circuit=circuit,
            n_classes=len(data.classes),
            readout=section.readout,
            temperature=scenario.learning.temperature,
            n_dressed_inputs=data.n_features if section.is_dressed else None,
        )


def _circuit(scenario: Scenario) -> Circuit:
    """Build the circuit; what a user's own function raises or returns is told, for it may be anything."""
    ansatz = scenario.circuit.ansatz
    try:
        circuit = _built(scenario)
    except CeasError:
        raise
    except Exception as error:
        if ansatz in registry.names("ansatz"):
            raise
        told = f"found {ansatz}, which raised {type(error).__name__}: {' '.join(str(error).split())}"
        raise ScenarioError(scenario.name, [f"circuit.ansatz: {told}"]) from error
    if not isinstance(circuit, Circuit):
        is_imported = isinstance(circuit, ImportedCircuit)
        hint = "; return ceas.learning.imported.measured_first(...) of it" if is_imported else ""
        told = f"found {ansatz}, must return a `ceas.learning.Circuit`, but returned {type(circuit).__name__}{hint}"
        raise ScenarioError(scenario.name, [f"circuit.ansatz: {told}"])
    return circuit


def _built(scenario: Scenario) -> object:
    section, data = scenario.circuit, scenario.data
    target = registry.resolve("ansatz", section.ansatz)
    if not callable(target):
        told = f"found {section.ansatz}, must be a function, but is of type {type(target).__name__}"
        raise ScenarioError(scenario.name, [f"circuit.ansatz: {told}"])
    build = registry.bind("ansatz", section.ansatz, section.parameters)
    sizes = {"n_qubits": section.n_qubits, "n_layers": section.n_layers, "entangler": section.entangler}
    if data.n_features and not section.is_dressed:
        sizes["n_features"] = data.n_features
    signature = inspect.signature(build)
    given = {name: value for name, value in sizes.items() if name in signature.parameters}
    try:
        signature.bind(**given)
    except TypeError as error:
        hint = "; set it in circuit.parameters" if "missing" in str(error) else ""
        told = f"found {section.ansatz}, which cannot be called: {error}{hint}"
        raise ScenarioError(scenario.name, [f"circuit.ansatz: {told}"]) from error
    return build(**given)


def assemble_partition(scenario: Scenario, model: Classifier) -> Partition:
    """Cut the scenario's circuit over two processors.

    Raises:
        ScenarioError: It cannot be cut like this.
    """
    section = scenario.circuit
    try:
        return partition_circuit(model.circuit, section.partition, sharing=section.is_sharing)
    except DomainError as error:
        raise ScenarioError(scenario.name, [f"circuit.partition: found {section.partition}. {error}"]) from error


@contextmanager
def _told_by_key(scenario: Scenario, name: str) -> Iterator[None]:
    """Tell what is wrong with an argument by the key of the section that it came from."""
    try:
        yield
    except (DomainError, UnknownNameError) as error:
        found = re.fullmatch(r"Argument `(\w+)` (.*?)\.?", str(error), re.DOTALL)
        section, told = getattr(scenario, name), f"{name}: {error}"
        if found is not None and found[1] in section.parameters:
            told = f"{name}.parameters.{found[1]}: {found[2]}"
        elif found is not None and found[1] in type(section).model_fields:
            told = f"{name}.{found[1]}: {found[2]}"
        raise ScenarioError(scenario.name, [told]) from error


def _check_trainable(scenario: Scenario, model: Classifier) -> None:
    try:
        trained_rotations(model, has_relaxation=_has_relaxation(scenario))
    except DomainError as error:
        why = str(error).removeprefix("Argument `model` ").removesuffix(".")
        raise ScenarioError(scenario.name, [f"circuit.ansatz: found {scenario.circuit.ansatz}, {why}"]) from error


def _check_root_samples(scenario: Scenario, dataset: Dataset) -> None:
    found, n_train = scenario.aggregation.root_samples, len(dataset.train_labels)
    if found is not None and found > n_train:
        told = f"found {found}, must be at most {n_train}, the training samples"
        raise ScenarioError(scenario.name, [f"aggregation.root_samples: {told}"])


def _has_relaxation(scenario: Scenario) -> bool:
    return scenario.processor.relaxation_time_s is not None or scenario.processor.dephasing_time_s is not None


def _check_device(scenario: Scenario, model: Classifier) -> None:
    """Open the PennyLane device that some nodes shall use, so that one that cannot be opened stops nothing half-way.

    Raises:
        ScenarioError: It cannot be opened.
    """
    processor = scenario.processor
    if not processor.device:
        return
    try:
        pennylane_device(processor.device, model.circuit.n_qubits, processor.device_options)
    except DomainError as error:
        why = str(error).removeprefix("Argument `name` ").removesuffix(".")
        raise ScenarioError(scenario.name, [f"processor.device: {why}"]) from error


class EngineChoices(NamedTuple):
    """Which engines compute a run's exact figures.

    Attributes:
        ideal: For loss, gradient and accuracy without noise, of all training samples.
        noisy: For what noise leaves of the learners' signals.
    """

    ideal: EngineChoice
    noisy: EngineChoice


def choose_engines(
    scenario: Scenario, model: Classifier, partition: Partition, *, n_samples: int, n_learners: int
) -> EngineChoices:
    """Choose the engines of a run's exact figures; what fits neither is refused before anything starts.

    Args:
        scenario: What it is for.
        model: Its circuit and what reads it.
        partition: The circuit's partition.
        n_samples: Training samples.
        n_learners: Number of learners.

    Raises:
        ScenarioError: No engine, or not the one that is asked for, can do it in the memory that is free.
    """
    learning = scenario.learning
    wanted: Engine = learning.engine
    if model.n_dressed_inputs is not None:
        # Trajectories have no gradient by the inputs, which a layer in front needs.
        if wanted == "trajectories":
            told = "found trajectories, must be heisenberg or auto where circuit.is_dressed = true"
            raise ScenarioError(scenario.name, [f"learning.engine: {told}"])
        wanted = "heisenberg"
    choose = partial(choose_engine, model.circuit, partition, n_observables=len(model.observables))
    has_states = not model.circuit.n_features
    try:
        ideal = choose(
            n_learners=1,
            n_samples=n_samples,
            has_relaxation=False,
            is_noiseless=True,
            needs_gradient=True,
            has_states=has_states,
            engine=wanted,
        )
        noisy = choose(
            # The true ones, the believed ones and a few corners of what tests leave possible.
            n_learners=4 * n_learners,
            n_samples=N_REFERENCE_INPUTS,
            has_relaxation=_has_relaxation(scenario),
            is_noiseless=False,
            n_trajectories=learning.n_trajectories,
            is_shared=True,
            has_states=has_states,
            engine=learning.engine,
        )
    except DomainError as error:
        why = str(error).removeprefix("Argument `circuit` ").removesuffix(".")
        raise ScenarioError(
            scenario.name, [f"circuit.n_qubits: found {model.circuit.n_qubits}, {why} (learning.engine = {wanted})"]
        ) from error
    if wanted != learning.engine:
        ideal = replace(ideal, reason="heisenberg alone has the gradient of a dressed circuit.")
    return EngineChoices(ideal, noisy)


def _computations(scenario: Scenario, engines: EngineChoices) -> Computations:
    by = partial(Computation, n_trajectories=scenario.learning.n_trajectories)
    return Computations(
        ideal=by(engine=engines.ideal.name),
        noisy=by(engine=engines.noisy.name),
        choices=(engines.ideal, engines.noisy),
    )


def _of(section: Section, parameters: type[Any], *without: str) -> dict[str, Any]:
    """Return the keys of a section that are fields of a class of parameters, except those named."""
    return section.model_dump(include={field.name for field in fields(parameters)} - set(without))


def _correlator_weights(scenario: Scenario, model: Classifier, partition: Partition) -> tuple[float, float, float]:
    """Return what each correlator of a pair counts in a shot's value; nothing depends on it for Werner pairs.

    The circuit alone decides it, so it is the same for all seeds of a run. Where no measured qubit depends on a pair,
    all count alike.
    """
    equal = (1.0 / 3.0, 1.0 / 3.0, 1.0 / 3.0)
    if scenario.hardware.pair_states == "werner" or not partition.pairs_per_shot:
        return equal
    from ceas.learning.pair_weights import correlator_weights  # noqa: PLC0415 - compiles

    rng = stream(0, "correlator_weights")
    try:
        return correlator_weights(model.circuit, partition, observables=model.observables, rng=rng)
    except DomainError:
        return equal


def _pair_value(scenario: Scenario, partition: Partition, weights: tuple[float, float, float]) -> PairValue:
    """Return what a pair is worth to a shot, for links that choose their bright state."""
    n_pairs = max(partition.pairs_per_shot, 1)
    if scenario.hardware.pair_states == "werner":
        return lambda bell_diagonal: squared_werner(bell_diagonal) ** n_pairs
    return lambda bell_diagonal: mean_squared_correlator(bell_diagonal, weights) ** n_pairs


def assemble_data(scenario: Scenario, n_learners: int, seed: int) -> tuple[Dataset, LearnerSamples]:
    """Prepare the scenario's samples and deal the training part to learners.

    Raises:
        ScenarioError: The samples do not allow what the scenario asks for.
    """
    section = scenario.data
    with _told_by_key(scenario, "data"):
        preparation = Preparation(
            n_features=section.n_features,
            n_qubits=scenario.circuit.n_qubits,
            classes=section.classes,
            angle_range=(section.lowest_angle, section.highest_angle),
            **_of(section, Preparation, "n_features", "classes"),
        )
        load = registry.bind("dataset", section.dataset, section.parameters)
        dataset = load(preparation, rng=stream(seed, "dataset"))
        parts = registry.resolve("split", section.split)(
            dataset.train_labels,
            n_learners,
            kind=section.split,
            concentration=section.concentration,
            similarity=section.similarity,
            classes_per_learner=section.classes_per_learner,
            rng=stream(seed, "split"),
        )
        return dataset, pad_samples(parts)


def _demand(scenario: Scenario) -> DemandParameters:
    clock = scenario.clock
    return DemandParameters(
        learning_window_s=clock.learning_window_s,
        exchange_window_s=clock.exchange_window_s,
        minimum_fidelity=scenario.hardware.minimum_fidelity,
        **_of(scenario.schedule, DemandParameters),
    )


def _optional(scenario: Scenario) -> OptionalNetwork:
    schedule, hardware = scenario.schedule, scenario.hardware
    return OptionalNetwork(
        repeaters=RepeaterParameters(**_of(hardware, RepeaterParameters)),
        keys=RouteKeyParameters(
            pairs_per_round=schedule.route_key_pairs_per_round,
            most_hops=schedule.route_hops,
            deadline_s=schedule.key_deadline_s,
            value=schedule.key_value,
        ),
        traffic=TrafficParameters(**scenario.traffic.model_dump()),
        drift=DriftParameters(**scenario.drift.model_dump()),
    )


def assemble_byzantine(scenario: Scenario, world: World, seed: int) -> np.ndarray:
    """Return which nodes of a world are malicious in a scenario, shape (nodes,)."""
    try:
        return _byzantine(scenario, world, seed)
    except DomainError as error:
        raise ScenarioError(scenario.name, [str(error)]) from error


def _byzantine(scenario: Scenario, world: World, seed: int) -> np.ndarray:
    section = scenario.byzantine
    chosen = np.zeros(world.n_learners, np.bool_)
    if section.attack == "none":
        # Nodes that do nothing malicious are honest, and the training objective is theirs too.
        return chosen
    if section.nodes:
        chosen[list(section.nodes)] = True
        return chosen
    return place_byzantine(
        expected_information(world, max_shots_per_round=scenario.learning.max_shots_per_round),
        section.n_byzantine,
        placement=section.placement,
        rng=stream(seed, "byzantine"),
    )


def assemble_policy(scenario: Scenario, world: World) -> Policy:
    """Bind the scenario's scheduling policy to the network."""
    policy: Policy = registry.bind("policy", scenario.schedule.policy, scenario.schedule.parameters)(world.network)
    return policy


def assemble_security(scenario: Scenario) -> SecurityParameters:
    """Return how the scenario authenticates and agrees."""
    return SecurityParameters(
        **scenario.authentication.model_dump(),
        **scenario.consensus.model_dump(),
        bound_error_probability=scenario.certification.bound_error_probability,
    )


def assemble_training(scenario: Scenario) -> TrainingParameters:
    """Return how the scenario trains."""
    section = scenario.learning
    optimizer = _optimizer(
        section.optimizer,
        section.optimizer_momentum,
        section.learning_rate,
        section.final_learning_rate_share,
        scenario.clock.rounds,
    )
    return TrainingParameters(
        rounds=scenario.clock.rounds,
        evaluate_rounds=scenario.output.evaluate_rounds,
        optimizer=optimizer,
        **section.model_dump(exclude=_NOT_OF_LEARNERS),
    )


@lru_cache(maxsize=64)
def _optimizer(kind: str, momentum: float, learning_rate: float, final_share: float, rounds: int) -> Any:
    """Build an optimiser; equal ones are one object, so that their step is compiled once."""
    import optax  # noqa: PLC0415 - brings JAX

    # Each optimiser's own name for the momentum of the optimiser itself.
    momentum_name = {"adam": "b1", "sgd": "momentum"}[kind]
    step_size = optax.cosine_decay_schedule(learning_rate, rounds, alpha=final_share)
    return registry.resolve("optimizer", kind)(step_size, **{momentum_name: momentum})


def assemble_forecast(scenario: Scenario, world: World) -> Forecast:
    """Predict what a training round of the scenario takes in time and memory.

    Raises:
        ScenarioError: It takes more memory than is free.
    """
    try:
        return forecast_round(world, assemble_training(scenario))
    except DomainError as error:
        why = str(error).removeprefix("Argument `world` ").removesuffix(".")
        told = f"circuit.n_qubits: found {scenario.circuit.n_qubits}, {why}"
        raise ScenarioError(scenario.name, [told]) from error


def assemble_method(scenario: Scenario) -> Method:
    """Bind the scenario's aggregation rule and attack."""
    section = scenario.aggregation
    rule = registry.bind("aggregation", section.rule, section.parameters)
    return Method(
        rule=debiased(cast(Rule, rule)) if section.is_debiased else rule,
        tolerated_byzantine=section.tolerated_byzantine,
        attack=registry.bind("attack", scenario.byzantine.attack, scenario.byzantine.parameters),
        is_debiasing=section.is_debiased or section.rule in registry.DEBIASING_RULES,
        certification=section.certification,
        weighs_by_fisher=_weighs_by_fisher(rule),
        root_samples=section.root_samples or 0,
    )


def _weighs_by_fisher(rule: Any) -> bool:
    """Tell whether a rule may look at the quantum Fisher information; one that does not say what it needs may."""
    says = hasattr(rule.func if isinstance(rule, partial) else rule, "needs")
    return not says or not {"information", "quantum_fisher"}.isdisjoint(needs_of(cast(Rule, rule)))
