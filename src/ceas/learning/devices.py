"""Any PennyLane device as the quantum processor of some learners, beside simulated ones.

A device runs a learner's gates with its own errors and draws its own outcomes. What it cannot know is the network: the
errors of the shot's pairs are drawn here, from the states of the very pairs delivered, and put into the circuit as
Pauli gates (a wrong copy of a shared pair turns the served rotations the other way). Shots that run the same circuit
with the same errors go to the device together.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt

from ceas.errors import DomainError
from ceas.learning.circuits import Circuit, Gate
from ceas.learning.gradients import RunShots
from ceas.learning.noise import NoiseTable
from ceas.learning.partition import Partition, Teledata, Telegate
from ceas.learning.shots import Shots, sample_outcomes
from ceas.streams import stream

__all__ = ["mixed_processors", "pennylane_device", "run_on_device"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

_NAMES = {
    "rx": "RX",
    "ry": "RY",
    "rz": "RZ",
    "rxx": "IsingXX",
    "ryy": "IsingYY",
    "rzz": "IsingZZ",
    "x": "PauliX",
    "y": "PauliY",
    "z": "PauliZ",
    "h": "Hadamard",
    "s": "S",
    "sx": "SX",
    "cnot": "CNOT",
    "cz": "CZ",
    "swap": "SWAP",
}
_ADJOINTS = {"sdg": "S", "sxdg": "SX"}


def pennylane_device(
    name: str, n_qubits: int, options: Mapping[str, Any] | None = None, *, seed: int | None = None
) -> Any:
    """Open a PennyLane device.

    Args:
        name: PennyLane's name of it, for example `"default.qubit"`, `"lightning.qubit"` or that of a plugin.
        n_qubits: Qubits that it must have.
        options: Further arguments of `pennylane.device`.
        seed: Seed of its outcomes, for devices that take one; others draw their own.

    Raises:
        DomainError: PennyLane is not installed, or cannot open the device.
    """
    try:
        import pennylane as qml  # noqa: PLC0415 - optional and heavy
    except ModuleNotFoundError as error:
        raise DomainError("Devices need PennyLane: pip install 'ceas[pennylane]'.") from error
    given = dict(options or {})
    try:
        if seed is not None and "seed" not in given:
            with suppress(TypeError):
                return qml.device(name, wires=n_qubits, seed=seed, **given)
        return qml.device(name, wires=n_qubits, **given)
    except (qml.exceptions.DeviceError, TypeError, ValueError, ImportError) as error:
        raise DomainError(
            f"Argument `name` must be a PennyLane device, but `{name}` cannot be opened: {error}"
        ) from error


def mixed_processors(devices: Mapping[int, Any]) -> RunShots:
    """Return what runs the shots of learners with a device on it, and simulates those of all others.

    Args:
        devices: Device of each such learner, from `pennylane_device`.
    """

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
        learner = np.asarray(shots.learner)
        outcomes = np.zeros(learner.size, dtype=np.uint32)
        is_simulated = ~np.isin(learner, list(devices))
        # The compiled program does not depend on the number of shots, so none at all costs nothing.
        outcomes[is_simulated] = sample_outcomes(
            circuit, partition, angles, noise, shots=_select(shots, is_simulated), seed=seed, states=states
        )
        for number, device in devices.items():
            mine = learner == number
            if mine.any():
                table = np.asarray(angles, dtype=np.float64)
                outcomes[mine] = run_on_device(
                    device, circuit, partition, table, shots=_select(shots, mine), seed=seed, states=states
                )
        return outcomes

    return run


def run_on_device(
    device: Any,
    circuit: Circuit,
    partition: Partition,
    angles: FloatArray,
    *,
    shots: Shots,
    seed: int,
    states: npt.ArrayLike | None = None,
) -> npt.NDArray[np.uint32]:
    """Run every shot once on a PennyLane device and return its bitstring.

    Args:
        device: From `pennylane_device`.
        circuit: The circuit.
        partition: How it is spread over QPUs, which says what errors of a pair do.
        angles: Angles of every circuit (rad), shape (samples, R).
        shots: The shots, all of one learner.
        seed: Integer from which, with `learner` and `counter`, the errors of the pairs follow; the device draws the
            outcomes.
        states: Initial states instead of |0...0>, shape (samples, 2^n).

    Returns:
        Shape (shots,): bit q is the outcome of qubit q.

    Raises:
        DomainError: The device cannot run a circuit.
    """
    import pennylane as qml  # noqa: PLC0415 - optional and heavy

    errors = _pair_errors(partition, shots, seed)
    keys = np.concatenate(
        [
            np.stack([shots.sample, shots.shift_rotation, shots.shift_sign], axis=1),
            errors.reshape(len(errors), 2 * partition.pairs_per_shot),
        ],
        axis=1,
    )
    kinds, kind, counts = np.unique(keys, axis=0, return_inverse=True, return_counts=True)
    tapes = []
    for (sample, rotation, sign, *flags), count in zip(kinds.tolist(), counts.tolist(), strict=True):
        turned = angles[sample].copy()
        if rotation >= 0:
            turned[rotation] += sign * np.pi / 2
        wrong = np.array(flags, dtype=bool).reshape(-1, 2)
        operations = _operations(circuit, partition, turned, wrong)
        if states is not None:
            operations.insert(0, qml.StatePrep(np.asarray(states)[sample], wires=range(circuit.n_qubits)))
        tapes.append(qml.tape.QuantumScript(operations, [qml.sample(wires=range(circuit.n_qubits))], shots=count))
    try:
        results = qml.execute(tapes, device, diff_method=None)
    except _refusals(qml) as error:
        raise DomainError(f"Argument `device` must run the circuit, but {device.name} does not: {error}") from error
    outcomes = np.zeros(len(keys), dtype=np.uint32)
    weights = 1 << np.arange(circuit.n_qubits, dtype=np.uint32)
    for index, result in enumerate(results):
        bits = np.asarray(result, dtype=np.uint32).reshape(-1, circuit.n_qubits)
        outcomes[kind.reshape(-1) == index] = bits @ weights
    return outcomes


def _refusals(qml: Any) -> tuple[type[Exception], ...]:
    """Return what devices raise for circuits that they do not take."""
    known = qml.exceptions
    return (known.DeviceError, known.WireError, known.DecompositionUndefinedError, NotImplementedError, ValueError)


def _select(shots: Shots, mask: BoolArray) -> Shots:
    return Shots._make(np.asarray(field)[mask] for field in shots)


def _pair_errors(partition: Partition, shots: Shots, seed: int) -> BoolArray:
    """Draw which of the errors X and Z strike each pair of each shot, both for Y, shape (shots, pairs, 2)."""
    n_shots, n_pairs = len(shots.learner), partition.pairs_per_shot
    pairs = np.asarray(shots.pair_werner, dtype=np.float64)
    x, y, z = np.moveaxis(np.broadcast_to(pairs if pairs.ndim == 3 else pairs[..., None], (n_shots, n_pairs, 3)), 2, 0)
    limits = np.cumsum(np.maximum(np.stack([1 + x - y - z, 1 - x + y - z, 1 - x - y + z]), 0) / 4, axis=0)
    uniform = np.empty((n_shots, n_pairs))
    for learner in np.unique(shots.learner).tolist():
        mine = shots.learner == learner
        counter = shots.counter[mine].astype(np.int64)
        # Row by row, so that a row is the same however many follow.
        rows = stream(seed, "device_pairs", learner=learner).random((int(counter.max()) + 1, n_pairs))
        uniform[mine] = rows[counter]
    return np.stack([uniform < limits[1], (uniform >= limits[0]) & (uniform < limits[2])], axis=-1)


def _operations(circuit: Circuit, partition: Partition, angles: FloatArray, wrong: BoolArray) -> list[Any]:
    """Return the circuit's operations with the errors of one shot's pairs; `wrong` is (pairs, 2)."""
    serving = {gate: pair for pair, use in enumerate(partition.uses) if isinstance(use, Telegate) for gate in use.gates}
    operations: list[Any] = []
    remaining = iter(angles.tolist())
    for index, gate in enumerate(circuit.gates):
        operations += _arrivals(partition, index, wrong)
        angle = next(remaining) if gate.is_rotation else None
        pair = serving.get(index)
        use = None if pair is None else partition.uses[pair]
        if not isinstance(use, Telegate) or pair is None:
            operations.append(_operation(gate, angle))
            continue
        is_flipped = bool(wrong[pair, 0])
        operations.append(_operation(gate, -angle if is_flipped and angle is not None else angle))
        if is_flipped and angle is None:
            other = next(qubit for qubit in gate.qubits if qubit != use.root)
            operations.append(_pauli("x" if gate.kind == "cnot" and use.basis == "Z" else "z", other))
        if wrong[pair, 1] and index == use.gates[-1]:
            operations.append(_pauli(use.basis.lower(), use.root))
    return operations + _arrivals(partition, len(circuit.gates), wrong)


def _arrivals(partition: Partition, index: int, wrong: BoolArray) -> list[Any]:
    """Return the errors of the qubits that are teleported before this gate."""
    moved = [
        (use.qubit, flags)
        for use, flags in zip(partition.uses, wrong, strict=True)
        if isinstance(use, Teledata) and use.before == index
    ]
    return [_pauli(name, qubit) for qubit, flags in moved for name, flag in zip("xz", flags, strict=True) if flag]


def _pauli(name: str, qubit: int) -> Any:
    return _operation(Gate(kind=name, qubits=(qubit,), layer=0), None)  # type: ignore[arg-type]


def _operation(gate: Gate, angle: float | None) -> Any:
    import pennylane as qml  # noqa: PLC0415 - optional and heavy

    if gate.kind in _ADJOINTS:
        return qml.adjoint(getattr(qml, _ADJOINTS[gate.kind])(wires=gate.qubits[0]))
    arguments: Sequence[float] = () if angle is None else (angle,)
    return getattr(qml, _NAMES[gate.kind])(*arguments, wires=list(gate.qubits))
