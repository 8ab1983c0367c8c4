"""Circuits from PennyLane: quantum nodes, quantum functions and tapes.

The gates are expanded by PennyLane's own decompositions; which numbers are parameters, inputs and constants is found
out by recording the circuit at many points (`ceas.learning.angle_fit`), so any Python may compute the angles.
"""

from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from types import ModuleType
from typing import Any, NamedTuple

import jax
import numpy as np
import numpy.typing as npt

from ceas.errors import DomainError
from ceas.learning.angle_fit import fit_angles
from ceas.learning.circuits import ROTATIONS, GateKind
from ceas.learning.imported import ImportedCircuit, Step, build_circuit
from ceas.learning.qasm_gates import Operation, control, global_phase, to_steps

__all__ = ["from_pennylane"]

Shape = int | tuple[int, ...]
FloatArray = npt.NDArray[np.float64]

_ROTATIONS: dict[str, GateKind] = {
    "RX": "rx",
    "RY": "ry",
    "RZ": "rz",
    "PhaseShift": "rz",
    "U1": "rz",
    "IsingXX": "rxx",
    "IsingYY": "ryy",
    "IsingZZ": "rzz",
}
_CLIFFORDS: dict[str, GateKind] = {
    "PauliX": "x",
    "PauliY": "y",
    "PauliZ": "z",
    "Hadamard": "h",
    "S": "s",
    "Adjoint(S)": "sdg",
    "SX": "sx",
    "Adjoint(SX)": "sxdg",
    "CNOT": "cnot",
    "CZ": "cz",
    "SWAP": "swap",
}
_TURNS = {*_ROTATIONS, "Rot", "U2", "U3"}
_SILENT = {"GlobalPhase", "Identity", "Snapshot"}
_DEEPEST = 50  # expansions inside one another


class _Recorded(NamedTuple):
    """One gate as recorded at one point, or a barrier, which has no kind; and the operation that it is part of."""

    kind: GateKind | None
    wires: tuple[Any, ...]
    angle: float | None
    whole: Any


class _RoleNames(NamedTuple):
    """What each parameter and each input is called."""

    parameters: tuple[str, ...]
    inputs: tuple[str, ...]


class _Arrays(NamedTuple):
    """The named arrays of one role, one after another in a flat vector."""

    shapes: dict[str, tuple[int, ...]]

    @property
    def names(self) -> tuple[str, ...]:
        """Name of every element, such as `weights[0, 1]`."""
        indices = ((name, index) for name, shape in self.shapes.items() for index in np.ndindex(shape))
        return tuple(f"{name}[{', '.join(map(str, index))}]" if index else name for name, index in indices)

    def split(self, flat: FloatArray) -> dict[str, Any]:
        """Return the arrays that a flat vector holds; scalars as floats."""
        ends = np.cumsum([np.prod(shape, dtype=int) for shape in self.shapes.values()])
        parts = np.split(flat, ends[:-1]) if self.shapes else []
        shaped = (part.reshape(shape) for part, shape in zip(parts, self.shapes.values(), strict=True))
        return {name: part if part.ndim else float(part) for name, part in zip(self.shapes, shaped, strict=True)}


def from_pennylane(
    source: Any,
    *,
    parameters: Mapping[str, Shape] | None = None,
    inputs: Mapping[str, Shape] | None = None,
    constants: Mapping[str, Any] | None = None,
    first_layer: int = 0,
) -> ImportedCircuit:
    """Import a circuit that is written for PennyLane.

    Any operation is taken that PennyLane can decompose into rotations about X, Y, Z, XX, YY, ZZ, controlled phases and
    Clifford gates, so templates, controlled, adjoint and power operations too. Global phases are dropped. Each angle
    must be a sum of coefficient * (at most one parameter) * (at most three inputs), for example w * x + b or
    (pi - x_0) * (pi - x_1). The layer of the gates rises at each `Barrier`, which matters for noise alone.

    Args:
        source: A QNode or a function of named arrays that queues gates; or a tape, whose trainable numbers are then the
            parameters and all others constants. A QNode's own transforms are applied.
        parameters: Shape of each array argument that is trained, by name. The flat parameter vector is these arrays,
            each raveled, in this order.
        inputs: The same for the array arguments that hold a sample's inputs.
        constants: Values of further arguments.
        first_layer: Layer of the gates before the first barrier; -1 says that they encode data without errors.

    Returns:
        The circuit with names. Observables are the qubits q if all measurements are `expval(Z(q))`, else None. Qubits
        are in the order of the device's wires if it has any, else sorted if they are integers, else as they come.

    Raises:
        DomainError: An operation is not supported, gates depend on values, an angle is no such sum, or a parameter does
            nothing.
        ModuleNotFoundError: PennyLane is not installed.
    """
    qml = _pennylane()
    trained, given = _arrays(parameters), _arrays(inputs)
    if isinstance(source, qml.tape.QuantumScript):
        if parameters or inputs or constants:
            raise DomainError("Arguments `parameters`, `inputs` and `constants` must be absent for a tape.")
        trained = _Arrays({f"theta_{place}": np.shape(value) for place, value in enumerate(source.get_parameters())})
    names = _RoleNames(trained.names, given.names)

    def record(point: FloatArray) -> Any:
        n_parameters = len(names.parameters)
        arrays = trained.split(point[:n_parameters]) | given.split(point[n_parameters:])
        return _tape(qml, source, arrays, dict(constants or {}))

    first = record(np.ones(len(names.parameters) + len(names.inputs)))
    wires = _wire_order(source, first)
    circuit = build_circuit(
        _steps(qml, record, first, wires, names),
        n_qubits=len(wires),
        parameter_names=names.parameters,
        n_features=len(names.inputs),
        first_layer=first_layer,
    )
    return ImportedCircuit(circuit, _observables(qml, first, wires), tuple(map(str, wires)), *names)


def _steps(
    qml: Any, record: Callable[[FloatArray], Any], first: Any, wires: list[Any], names: _RoleNames
) -> list[Step]:
    """Find out the angles of the gates by recording them at many points."""
    outline = list(_record_gates(qml, first))
    keys = [gate[:2] for gate in outline]

    def angles(point: FloatArray) -> FloatArray:
        recorded = list(_record_gates(qml, record(point)))
        if [gate[:2] for gate in recorded] != keys:
            raise DomainError("Argument `source` must have the same gates for all values, but they depend on values.")
        return np.array([gate.angle for gate in recorded if gate.angle is not None])

    fitted = iter(fit_angles(angles, len(names.parameters), len(names.inputs)))
    steps = []
    for gate in outline:
        terms = next(fitted) if gate.angle is not None else []
        if terms is None:
            wanted = "angles that are sums of coefficient * parameter * inputs"
            raise DomainError(f"Argument `source` must have {wanted}, but {_said(gate.whole)} has not.")
        steps.append(Step(gate.kind, tuple(wires.index(wire) for wire in gate.wires), tuple(terms)))
    return steps


def _pennylane() -> ModuleType:
    try:
        import pennylane  # noqa: PLC0415 - optional
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("PennyLane is not installed (pip install 'ceas[pennylane]').") from error
    module: ModuleType = pennylane
    return module


def _arrays(shapes: Mapping[str, Shape] | None) -> _Arrays:
    return _Arrays({name: tuple(np.atleast_1d(shape).tolist()) for name, shape in (shapes or {}).items()})


def _tape(qml: Any, source: Any, arrays: dict[str, Any], constants: dict[str, Any]) -> Any:
    if isinstance(source, qml.tape.QuantumScript):
        return source.bind_new_parameters(list(arrays.values()), source.trainable_params)
    if not callable(source):
        raise DomainError(f"Argument `source` must be a QNode, a function or a tape, but is {source!r}.")
    # A function may compute its angles with JAX, whose single precision would hide what they are made of.
    double: Any = jax.enable_x64 if hasattr(jax, "enable_x64") else import_module("jax.experimental").enable_x64
    with double(True):
        if isinstance(source, qml.QNode):
            return qml.workflow.construct_tape(source, level="user")(**arrays, **constants)
        return qml.tape.make_qscript(source)(**arrays, **constants)


def _record_gates(qml: Any, tape: Any) -> Iterator[_Recorded]:
    with qml.QueuingManager.stop_recording():
        for operation in tape.operations:
            yield from _expand(qml, operation, operation, 0)


def _expand(qml: Any, operation: Any, whole: Any, depth: int) -> Iterator[_Recorded]:
    """Yield the gates that an operation decomposes into."""
    name, wires = operation.name, tuple(operation.wires)
    if name == "MultiRZ" and len(wires) <= 2:
        name = "RZ" if len(wires) == 1 else "IsingZZ"
    if name in _ROTATIONS:
        yield _Recorded(_ROTATIONS[name], wires, float(operation.parameters[0]), whole)
    elif name in _CLIFFORDS:
        yield _Recorded(_CLIFFORDS[name], wires, None, whole)
    elif name == "Barrier":
        yield _Recorded(None, (), None, whole)
    elif isinstance(operation, qml.ops.Controlled) and operation.base.name in _TURNS and len(wires) > 2:
        yield from _expand_controlled(operation, whole)
    elif name not in _SILENT:
        _check_supported(qml, operation, depth)
        for part in operation.decomposition():
            yield from _expand(qml, part, whole, depth + 1)


def _expand_controlled(operation: Any, whole: Any) -> Iterator[_Recorded]:
    """Yield the gates of a controlled rotation; PennyLane's own are not linear in its angles."""
    on = [bool(value) for value in operation.control_values]
    for kind, wires, terms in to_steps(control(_turns(operation.base), tuple(operation.control_wires), on)):
        yield _Recorded(kind, wires, terms[0].coefficient if terms else None, whole)


def _turns(rotation: Any) -> Iterator[Operation]:
    """Yield the turns of a rotation with its phase."""
    if rotation.name not in _ROTATIONS:
        for part in rotation.decomposition():
            yield from _turns(part)
        return
    angle = float(rotation.parameters[0])
    if rotation.name in ("PhaseShift", "U1"):
        yield global_phase(angle / 2)
    yield Operation(tuple(rotation.wires), None, ROTATIONS[_ROTATIONS[rotation.name]], angle)


def _check_supported(qml: Any, operation: Any, depth: int) -> None:
    said = _said(operation)
    if isinstance(operation, qml.operation.StatePrepBase):
        raise DomainError(f"Argument `source` must start from |0...0>, but prepares a state by {said}.")
    if isinstance(operation, qml.operation.Channel):
        raise DomainError(f"Argument `source` must have no noise of its own, but has {said}.")
    if operation.name == "MidMeasureMP" or operation.name.startswith("Conditional"):
        raise DomainError(f"Argument `source` must measure at the end only, but has {said}.")
    if depth > _DEEPEST or not getattr(operation, "has_decomposition", False):
        raise DomainError(f"Argument `source` must decompose into rotations and Clifford gates, but {said} does not.")


def _said(operation: Any) -> str:
    return f"`{operation.name}` on wires {tuple(operation.wires)}"


def _wire_order(source: Any, tape: Any) -> list[Any]:
    used = list(tape.wires)
    declared = getattr(getattr(source, "device", None), "wires", None)
    if declared:
        return [wire for wire in declared if wire in used]
    return sorted(used) if all(isinstance(wire, int) for wire in used) else used


def _observables(qml: Any, tape: Any, wires: list[Any]) -> tuple[int, ...] | None:
    measured = []
    for measurement in tape.measurements:
        if not isinstance(measurement, qml.measurements.ExpectationMP) or not isinstance(measurement.obs, qml.Z):
            return None
        measured.append(wires.index(measurement.wires[0]))
    return tuple(measured) or None
