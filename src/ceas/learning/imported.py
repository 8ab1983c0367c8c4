"""Circuits that come from elsewhere: what an importer returns and how it puts the gates together."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

from ceas.errors import DomainError
from ceas.learning.circuits import ROTATIONS, Circuit, Gate, GateKind, Term

__all__ = ["ImportedCircuit", "Step", "build_circuit", "measured_first"]


class ImportedCircuit(NamedTuple):
    """A circuit and what its numbers stand for.

    Attributes:
        circuit: The circuit.
        observables: Qubits whose <Z> is measured, in order; None if something else is measured, or nothing.
        qubit_names: What each qubit was called.
        parameter_names: What each parameter was called.
        input_names: What each input was called.
    """

    circuit: Circuit
    observables: tuple[int, ...] | None
    qubit_names: tuple[str, ...]
    parameter_names: tuple[str, ...]
    input_names: tuple[str, ...]


class Step(NamedTuple):
    """A gate whose layer is not known yet, or a barrier, which has no kind and begins a new layer."""

    kind: GateKind | None
    qubits: tuple[int, ...] = ()
    angle: tuple[Term, ...] = ()


def build_circuit(
    steps: Iterable[Step],
    *,
    n_qubits: int,
    parameter_names: Sequence[str],
    n_features: int,
    first_layer: int,
) -> Circuit:
    """Number the layers of steps and make them a circuit.

    Args:
        steps: Gates and barriers in order; the rotations without terms are dropped, for they do nothing.
        n_qubits: Number of qubits.
        parameter_names: Name of each parameter, for messages.
        n_features: Number of inputs.
        first_layer: Layer of the gates before the first barrier, at least -1.

    Raises:
        DomainError: There is no qubit, `first_layer` is below -1, or a parameter does nothing.
    """
    if first_layer < -1:
        raise DomainError(f"Argument `first_layer` must be at least -1, but is {first_layer}.")
    gates: list[Gate] = []
    layer = first_layer
    for kind, qubits, angle in steps:
        if kind is None:
            layer += bool(gates) and gates[-1].layer == layer
        elif angle or kind not in ROTATIONS:
            gates.append(Gate(kind=kind, qubits=qubits, angle=angle, layer=layer))
    used = {parameter for gate in gates for parameter in gate.parameters}
    unused = [name for index, name in enumerate(parameter_names) if index not in used]
    if unused:
        raise DomainError(f"Every parameter must turn some gate, but {', '.join(unused)} do nothing.")
    return Circuit(n_qubits=n_qubits, gates=tuple(gates), n_parameters=len(parameter_names), n_features=n_features)


def measured_first(imported: ImportedCircuit) -> Circuit:
    """Return the circuit with its measured qubits before all others, in order of measurement.

    Classifiers read the first qubits, so they then read what the program measures; nothing else is different.
    """
    circuit = imported.circuit
    order = dict.fromkeys((*(imported.observables or ()), *range(circuit.n_qubits)))
    place = {qubit: index for index, qubit in enumerate(order)}
    gates = tuple(replace(gate, qubits=tuple(place[qubit] for qubit in gate.qubits)) for gate in circuit.gates)
    return replace(circuit, gates=gates)
