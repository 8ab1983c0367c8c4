"""What each learner's update is expected to be worth, before anything has run.

A rule that weighs by certified information gives a learner the weight `shots * contraction^2`. Both follow roughly
from the hardware alone: shots from the rate of the learner's link, contraction from the Werner parameter of its pairs
and from the errors of the two processors that run its circuit.
"""

import numpy as np
from numpy.typing import NDArray

from ceas.learning import Circuit, Partition
from ceas.network import pair_rate_hz
from ceas.runtime.world import World

__all__ = ["error_sites", "expected_information"]

FloatArray = NDArray[np.float64]


def expected_information(world: World, *, max_shots_per_round: int) -> FloatArray:
    """Predict the information of a round, shots times squared contraction, of every learner.

    Shots are what a learner's share of its link's pairs allows in the learning window, tests taken off, and at most
    what the processor has time for; a link that several learners use is shared evenly. The contraction is the chance
    that no error strikes where the measured qubits depend on it, times 1 - 2 r for readout and w for each pair, the
    mean over the measured qubits. Pairs count as fresh; relaxation during gates, alike at all nodes, is left out.

    Args:
        world: Network, circuit, its cut and who lends to whom.
        max_shots_per_round: Most shots of a learner whose circuit is not cut.

    Returns:
        Shape `(learners,)`.
    """
    return _shots(world, max_shots_per_round) * _contraction(world) ** 2


def _shots(world: World, max_shots_per_round: int) -> FloatArray:
    demand, clock = world.network.demand, world.network.clock
    in_time = clock.learning_ns / demand.shot_duration_ns.astype(np.float64)
    if not world.pairs_per_shot:
        return np.minimum(in_time, float(max_shots_per_round))
    link = demand.learner_link
    share = pair_rate_hz(world.network.links)[link] / np.bincount(link)[link]
    pairs = share * (1.0 - demand.test_share) * clock.learning_ns / 1e9
    return np.asarray(np.minimum(in_time, pairs / world.pairs_per_shot), np.float64)


def _contraction(world: World) -> FloatArray:
    nodes, link = world.network.nodes, world.network.demand.learner_link
    own = np.arange(world.n_learners, dtype=np.int32)
    # Processor 0 is the learner's own, the other is lent.
    at = np.stack((own, world.lender), axis=1)[:, : world.partition.n_qpus]
    kept: FloatArray = np.zeros(world.n_learners)
    for observable in world.model.observables:
        one, two = error_sites(world.circuit, world.partition, observable)
        survival = (1.0 - nodes.one_qubit_error[at]) ** one * (1.0 - nodes.two_qubit_error[at]) ** two
        reader = at[:, world.partition.readout_qpus[observable]]
        kept += survival.prod(axis=1) * (1.0 - 2.0 * nodes.readout_error[reader])
    kept /= len(world.model.observables)
    if world.pairs_per_shot:
        kept *= np.maximum(world.network.links.initial_werner[link], 0.0) ** world.pairs_per_shot
    return kept


def error_sites(circuit: Circuit, partition: Partition, observable: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Count where errors strike that the measured qubit depends on.

    Args:
        circuit: The circuit.
        partition: Which processor runs which gate.
        observable: The measured qubit; gates count from which it can be reached.

    Returns:
        Sites after runs of one-qubit gates and after two-qubit gates, one for each qubit of the gate, by processor,
        both of shape `(qpus,)`.
    """
    sites = np.zeros((2, partition.n_qpus), np.int64)
    reached = {observable}
    for index in reversed(range(len(circuit.gates))):
        qubits = circuit.gates[index].qubits
        if not reached.intersection(qubits):
            continue
        # An error comes after its gate, so one on a qubit that is not reached yet does nothing.
        for place, qubit in enumerate(qubits):
            if circuit.has_error[index] and qubit in reached:
                sites[len(qubits) - 1, partition.gate_qpus[index][place]] += 1
        reached.update(qubits)
    return sites[0], sites[1]
