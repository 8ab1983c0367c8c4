"""What malicious learners do to their own data, circuits and shots, before anybody sees an update.

Their labels are flipped in a copy of the training part, to which their sample indices point; nobody else's samples
change. Their circuits are the honest ones with gates added, of which the processors know the exact law: the added gates
have no errors and take no pairs, which is to the attackers' advantage.
"""

import math
from dataclasses import replace
from itertools import combinations

import numpy as np
import numpy.typing as npt

from ceas.attacks import CircuitFault, Conduct
from ceas.errors import DomainError
from ceas.learning import (
    Circuit,
    Dataset,
    Gate,
    LearnerSamples,
    NoiseTable,
    Partition,
    RunShots,
    Shots,
    Teledata,
    Telegate,
    Term,
)
from ceas.runtime.world import World
from ceas.streams import stream

__all__ = ["MOST_DIFFUSION_QUBITS", "Sabotage", "faulty_circuit"]

FloatArray = npt.NDArray[np.float64]

# The reflection is a product of 2^n - 1 rotations.
MOST_DIFFUSION_QUBITS = 8


class Sabotage:
    """The data, circuits and shots of all learners, those of the malicious ones as their conduct has them.

    Args:
        world: Circuit, data and who is malicious.
        conduct: What the malicious ones do.
        seed: Root seed.

    Raises:
        DomainError: The circuit is too large for the fault.
    """

    def __init__(self, world: World, conduct: Conduct, *, seed: int) -> None:
        self._conduct = conduct
        self._liars = np.flatnonzero(world.is_byzantine)
        is_present = self._liars.size > 0
        self._fault = _drawn_fault(world, conduct.circuit_fault, seed) if is_present else None
        self.dataset, self.samples = world.dataset, world.samples
        if conduct.flips_labels and is_present:
            self.dataset, self.samples = _with_flipped_labels(world)

    @property
    def has_fault(self) -> bool:
        """Whether some learners run other circuits than the rest."""
        return self._fault is not None

    @property
    def wasted_by(self) -> tuple[int, ...]:
        """Learners whose shots are not run."""
        return tuple(self._liars.tolist()) if self._conduct.wastes_pairs else ()

    def kept(
        self, shot_learner: npt.NDArray[np.int32], shot_werner: npt.NDArray[np.float32]
    ) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
        """Return the shots that are run; those of learners who waste their pairs are not."""
        if not self._conduct.wastes_pairs:
            return shot_learner, shot_werner
        is_run = ~np.isin(shot_learner, self._liars)
        return shot_learner[is_run], shot_werner[is_run]

    def processors(self, run_shots: RunShots) -> RunShots:
        """Return what runs the shots: `run_shots`, with the malicious learners' circuits in the place of the honest."""
        if self._fault is None:
            return run_shots
        gates, before, liars = *self._fault, self._liars

        def run(
            circuit: Circuit,
            partition: Partition,
            angles: npt.ArrayLike,
            noise: NoiseTable,
            *,
            shots: Shots,
            seed: int,
            states: npt.ArrayLike | None = None,
        ) -> npt.NDArray[np.uint32]:
            faulty, spread = faulty_circuit(circuit, partition, gates, before=before)
            table = np.asarray(angles, np.float64)
            constants = [sum(term.coefficient for term in gate.angle) for gate in gates if gate.is_rotation]
            # Rotations are added behind all others only, so that the numbers of these stay.
            turned = np.concatenate([table, np.tile(np.array(constants), (len(table), 1))], axis=1)
            outcomes = np.zeros(np.asarray(shots.learner).size, np.uint32)
            is_faulty = np.isin(shots.learner, liars)
            for mine, made, cut, rows in ((~is_faulty, circuit, partition, table), (is_faulty, faulty, spread, turned)):
                selected = Shots._make(np.asarray(field)[mine] for field in shots)
                outcomes[mine] = run_shots(made, cut, rows, noise, shots=selected, seed=seed, states=states)
            return outcomes

        return run


def faulty_circuit(
    circuit: Circuit, partition: Partition, gates: tuple[Gate, ...], *, before: int
) -> tuple[Circuit, Partition]:
    """Insert gates into a circuit and its partition, at whatever processors their qubits are, without further pairs.

    Args:
        circuit: The circuit.
        partition: How it is spread over processors.
        gates: Gates without parameters and inputs; rotations at the end of the circuit only.
        before: Index of the gate before which they act; the number of gates, to act before the measurement.

    Raises:
        DomainError: A rotation is inserted before another.
    """
    n_gates, n_new = len(circuit.gates), len(gates)
    if before < n_gates and any(gate.is_rotation for gate in gates):
        raise DomainError("Argument `gates` must hold no rotations unless they come last, but does.")
    homes = partition.readout_qpus if before == n_gates else _first_qpus(circuit, partition)
    new_qpus = tuple(tuple(homes[qubit] for qubit in gate.qubits) for gate in gates)
    faulty = replace(circuit, gates=(*circuit.gates[:before], *gates, *circuit.gates[before:]))

    def moved(use: Telegate | Teledata) -> Telegate | Teledata:
        if isinstance(use, Telegate):
            return replace(use, gates=tuple(index + n_new * (index >= before) for index in use.gates))
        # What moves before the measurement moves before the added gates, which act at the readout's processors.
        shifts = use.before >= before and before < n_gates
        return replace(use, before=use.before + n_new * shifts)

    qpus = (*partition.gate_qpus[:before], *new_qpus, *partition.gate_qpus[before:])
    return faulty, replace(partition, gate_qpus=qpus, uses=tuple(moved(use) for use in partition.uses))


def _drawn_fault(world: World, fault: CircuitFault | None, seed: int) -> tuple[tuple[Gate, ...], int] | None:
    """Return the gates of a fault, the same in all rounds, and the gate before which they act."""
    if fault is None:
        return None
    circuit = world.circuit
    if fault.operation == "grover_diffusion":
        return _diffusion(circuit.n_qubits), len(circuit.gates)
    kinds = {"bit_flip": "x", "sign_flip": "z"}.get(fault.operation)
    drawn = stream(seed, "circuit_fault").choice(["x", "y", "z"], circuit.n_qubits).tolist()
    names = [kinds] * circuit.n_qubits if kinds else drawn
    gates = tuple(Gate(kind=name, qubits=(qubit,), layer=-1) for qubit, name in enumerate(names))
    encoded = next((index for index, gate in enumerate(circuit.gates) if gate.layer >= 0), len(circuit.gates))
    return gates, encoded if fault.place == "input" else len(circuit.gates)


def _diffusion(n_qubits: int) -> tuple[Gate, ...]:
    """Return the reflection about the uniform state, `2 |s><s| - 1` up to a phase, as rotations.

    `exp(i pi |s><s|)` with `|s><s| = prod_q (1 + X_q) / 2`: one rotation about each product of X.
    """
    if n_qubits > MOST_DIFFUSION_QUBITS:
        raise DomainError(
            f"Fault `grover_diffusion` needs at most {MOST_DIFFUSION_QUBITS} qubits, but the circuit has {n_qubits}."
        )
    angle = (Term(coefficient=-math.pi / 2 ** (n_qubits - 1)),)
    gates: list[Gate] = []
    for size in range(1, n_qubits + 1):
        for first, *others in combinations(range(n_qubits), size):
            # A CNOT carries the X of its control over to its target, and back again.
            copies = [Gate(kind="cnot", qubits=(first, other), layer=-1) for other in others]
            gates += [*copies, Gate(kind="rx", qubits=(first,), angle=angle, layer=-1), *reversed(copies)]
    return tuple(gates)


def _first_qpus(circuit: Circuit, partition: Partition) -> tuple[int, ...]:
    """Return the processor at which each qubit starts."""
    homes: dict[int, int] = {}
    for gate, qpus in zip(circuit.gates, partition.gate_qpus, strict=True):
        for qubit, qpu in zip(gate.qubits, qpus, strict=True):
            homes.setdefault(qubit, qpu)
    return tuple(homes.get(qubit, partition.readout_qpus[qubit]) for qubit in range(circuit.n_qubits))


def _with_flipped_labels(world: World) -> tuple[Dataset, LearnerSamples]:
    """Return the data set with a wrongly labelled copy of the training part behind it, which malicious learners use."""
    dataset, n_samples = world.dataset, len(world.dataset.train_labels)
    states = dataset.train_states
    doubled = replace(
        dataset,
        train_angles=np.concatenate([dataset.train_angles, dataset.train_angles]),
        train_labels=np.concatenate([dataset.train_labels, dataset.n_classes - 1 - dataset.train_labels]),
        train_states=None if states is None else np.concatenate([states, states]),
    )
    index = world.samples.index + n_samples * world.is_byzantine[:, None]
    return doubled, replace(world.samples, index=index)
