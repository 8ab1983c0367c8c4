"""Circuit families: each function builds a `Circuit` from its sizes.

Angle-encoded families start with RY(x_q) on every qubit in layer -1, which has no errors, and take one input a qubit;
the others say how many inputs they take. The families of the benchmark of Bowles, Ahmed and Schuld, arXiv 2403.07059,
2024, are `benchmark_reuploading`, `benchmark_separable`, `dressed_core`, and `iqp` with CZ.
"""

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Literal

from ceas.errors import DomainError, UnknownNameError
from ceas.learning.circuits import Circuit, Gate, GateKind, Term, check_sizes

__all__ = [
    "Entangler",
    "EntanglingGate",
    "benchmark_reuploading",
    "benchmark_separable",
    "data_reuploading",
    "dressed_core",
    "hardware_efficient",
    "iqp",
    "separable",
    "strongly_entangling",
]

Entangler = Literal["ring", "chain", "brickwork", "all_to_all"]
EntanglingGate = Literal["cnot", "cz"]
Block = Literal["strongly_entangling", "hardware_efficient"]

_ENTANGLERS = ("ring", "chain", "brickwork", "all_to_all")
_GATES = ("cnot", "cz")
_BLOCKS = ("strongly_entangling", "hardware_efficient")


def hardware_efficient(
    n_qubits: int, n_layers: int, entangler: Entangler = "ring", *, gate: EntanglingGate = "cnot"
) -> Circuit:
    """Build the hardware-efficient ansatz: RY(x_q) on every qubit; per layer RY and RZ on every qubit, then entanglers.

    Args:
        n_qubits: Number of qubits, at least 1; also the number of inputs.
        n_layers: Number of layers, at least 1.
        entangler: `"ring"`: gates q -> q+1 mod n in order. `"chain"`: (0,1), (2,3), ..., then (1,2), (3,4), ...
            `"brickwork"`: (0,1), (2,3), ... in even layers, (1,2), (3,4), ... in odd ones. `"all_to_all"`: every pair,
            the lower qubit first, in lexicographic order.
        gate: `"cnot"` (control first) or `"cz"`.

    Returns:
        Circuit whose flat parameters are an array (n_layers, n_qubits, 2) raveled, the last axis being (RY, RZ).

    Raises:
        DomainError: A number is below 1.
        UnknownNameError: `entangler` or `gate` is not known.

    Source:
        Kandala et al., Nature 549, 242, 2017.
    """
    check_sizes(n_qubits=n_qubits, n_layers=n_layers)
    _check_name("entangler", entangler, _ENTANGLERS)
    _check_name("gate", gate, _GATES)
    gates = [*_angle_encoding(n_qubits), *_hardware_efficient_layers(n_qubits, n_layers, entangler, gate)]
    return _circuit(n_qubits, gates, 2 * n_qubits * n_layers, n_qubits)


def separable(n_qubits: int, n_layers: int) -> Circuit:
    """Build `hardware_efficient` without its entanglers: what entanglement is worth is the difference between the two.

    Args:
        n_qubits: Number of qubits, at least 1; also the number of inputs.
        n_layers: Number of layers, at least 1.

    Returns:
        Circuit whose flat parameters are an array (n_layers, n_qubits, 2) raveled, the last axis being (RY, RZ).

    Raises:
        DomainError: A number is below 1.

    Source:
        Bowles, Ahmed and Schuld, arXiv 2403.07059, 2024, section on separable models, for the idea.
    """
    check_sizes(n_qubits=n_qubits, n_layers=n_layers)
    gates = [*_angle_encoding(n_qubits), *_hardware_efficient_layers(n_qubits, n_layers, None, "cnot")]
    return _circuit(n_qubits, gates, 2 * n_qubits * n_layers, n_qubits)


def strongly_entangling(
    n_qubits: int, n_layers: int, *, ranges: Sequence[int] | None = None, gate: EntanglingGate = "cnot"
) -> Circuit:
    """Build strongly entangling layers after RY(x_q): per layer Rot on every qubit, then gates q -> q + r mod n.

    Rot(a, b, c) is RZ(a), then RY(b), then RZ(c). The layers are those of PennyLane's `StronglyEntanglingLayers`.

    Args:
        n_qubits: Number of qubits, at least 1; also the number of inputs. One qubit has no entanglers.
        n_layers: Number of layers, at least 1.
        ranges: r of each layer, in [1, n_qubits - 1]; by default 1, 2, ..., n_qubits - 1, 1, 2, ...
        gate: `"cnot"` (control first) or `"cz"`.

    Returns:
        Circuit whose flat parameters are an array (n_layers, n_qubits, 3) raveled, the last axis being (a, b, c).

    Raises:
        DomainError: A number is outside its range.
        UnknownNameError: `gate` is not known.

    Source:
        Schuld, Bocharov, Svore and Wiebe, PRA 101, 032308, 2020.
    """
    check_sizes(n_qubits=n_qubits, n_layers=n_layers)
    _check_name("gate", gate, _GATES)
    reach = _ranges(n_qubits, n_layers, ranges)
    gates = [*_angle_encoding(n_qubits), *_strongly_entangling_layers(n_qubits, reach, gate)]
    return _circuit(n_qubits, gates, 3 * n_qubits * n_layers, n_qubits)


def data_reuploading(
    n_qubits: int, n_layers: int, n_features: int | None = None, *, gate: EntanglingGate = "cz"
) -> Circuit:
    """Build the re-uploading classifier: every layer rotates by all inputs again, with trained weights.

    The inputs go in groups of three, each to one Rot, whose angles are w x + b; where the last group has fewer than
    three, the angle is b alone. Group g is on qubit g mod n. With fewer groups than qubits, qubit q takes group q mod
    (number of groups), so that every qubit sees data. Entanglers stand between layers as in `"brickwork"` of
    `hardware_efficient`; none follow the last layer. All gates are in layers of at least 0: the encoding has errors.

    Args:
        n_qubits: Number of qubits, at least 1.
        n_layers: Number of layers, at least 1.
        n_features: Number of inputs, at least 1; by default three a qubit.
        gate: `"cz"` or `"cnot"`.

    Returns:
        Circuit whose flat parameters are first the biases b, an array (n_layers, n_rotations, 3) raveled, then the
        weights w, an array (n_layers, n_rotations, 3) raveled without the places where there is no input. Rotations
        are ordered by qubit, then by group.

    Raises:
        DomainError: A number is below 1.
        UnknownNameError: `gate` is not known.

    Source:
        Perez-Salinas, Cervera-Lierta, Gil-Fuster and Latorre, Quantum 4, 226, 2020, section 2: the compressed form.
    """
    n_features = 3 * n_qubits if n_features is None else n_features
    check_sizes(n_qubits=n_qubits, n_layers=n_layers, n_features=n_features)
    _check_name("gate", gate, _GATES)
    dealt = _deal_groups(n_qubits, n_features)
    gates: list[Gate] = []
    bias, weight = 0, n_layers * 3 * len(dealt)
    for layer in range(n_layers):
        for qubit, group in dealt:
            inputs = _group_inputs(group, n_features)
            angles: list[tuple[Term, ...]] = [(Term(parameter=bias + place),) for place in range(3)]
            for place, feature in enumerate(inputs):
                angles[place] = (*angles[place], Term(parameter=weight + place, features=(feature,)))
            gates.extend(_rot(qubit, angles, layer))
            bias, weight = bias + 3, weight + len(inputs)
        if layer < n_layers - 1:
            gates.extend(_entanglers(n_qubits, layer, "brickwork", gate))
    return _circuit(n_qubits, gates, weight, n_features)


def benchmark_reuploading(n_features: int, n_layers: int) -> Circuit:
    """Build the circuit of the benchmark's `DataReuploadingClassifier`.

    It has ceil(n_features / 3) qubits; qubit q takes the inputs 3q, 3q+1, 3q+2. A layer applies Rot(w x), then
    Rot(b), on every qubit, then CZ as in `"brickwork"` of `hardware_efficient`. A last upload Rot(w x + b) without
    entanglers follows. The benchmark pads inputs with zeros to a multiple of three; their weights, which do nothing,
    are left out here. It scales inputs to [-pi/2, pi/2], starts all parameters uniform in [0, 1), and reads the first
    qubit, the first half, or all of them.

    Args:
        n_features: Number of inputs, at least 1.
        n_layers: Number of layers before the last upload, at least 1.

    Returns:
        Circuit whose flat parameters are first the biases b, an array (n_layers + 1, n_qubits, 3) raveled, then the
        weights w, an array (n_layers + 1, n_features) raveled.

    Raises:
        DomainError: A number is below 1.

    Source:
        Bowles, Ahmed and Schuld, arXiv 2403.07059, 2024, and XanaduAI/qml-benchmarks, `data_reuploading.py`.
    """
    check_sizes(n_features=n_features, n_layers=n_layers)
    n_qubits = -(-n_features // 3)
    n_biases = (n_layers + 1) * 3 * n_qubits
    gates: list[Gate] = []
    for layer in range(n_layers + 1):
        for qubit in range(n_qubits):
            first = 3 * (layer * n_qubits + qubit)
            biases = [(Term(parameter=first + place),) for place in range(3)]
            uploads = [
                (Term(parameter=n_biases + layer * n_features + feature, features=(feature,)),)
                for feature in _group_inputs(qubit, n_features)
            ]
            summed = [bias + upload for bias, upload in zip_longest(biases, uploads, fillvalue=())]
            rots = [uploads, biases] if layer < n_layers else [summed]
            gates.extend(gate for rot in rots for gate in _rot(qubit, rot, layer))
        if layer < n_layers:
            gates.extend(_entanglers(n_qubits, layer, "brickwork", "cz"))
    return _circuit(n_qubits, gates, n_biases + (n_layers + 1) * n_features, n_features)


def benchmark_separable(n_features: int, n_layers: int) -> Circuit:
    """Build the circuit of the benchmark's `SeparableVariationalClassifier`.

    Every qubit has a Rot and RY(x_q) per layer and a last Rot; there are no entanglers. The benchmark scales inputs to
    [-pi/2, pi/2], starts parameters uniform in [0, 2 pi), and reads the mean of <Z> over all qubits.

    Args:
        n_features: Number of inputs, at least 1; also the number of qubits.
        n_layers: Number of uploads, at least 1.

    Returns:
        Circuit whose flat parameters are an array (n_layers + 1, n_features, 3) raveled.

    Raises:
        DomainError: A number is below 1.

    Source:
        Bowles, Ahmed and Schuld, arXiv 2403.07059, 2024, and XanaduAI/qml-benchmarks, `separable.py`.
    """
    check_sizes(n_features=n_features, n_layers=n_layers)
    gates: list[Gate] = []
    for layer in range(n_layers + 1):
        for qubit in range(n_features):
            gates.extend(_trained_rot(qubit, 3 * (layer * n_features + qubit), layer))
            if layer < n_layers:
                gates.append(Gate(kind="ry", qubits=(qubit,), angle=(Term(features=(qubit,)),), layer=layer))
    return _circuit(n_features, gates, 3 * (n_layers + 1) * n_features, n_features)


def iqp(
    n_qubits: int,
    n_layers: int,
    *,
    n_repeats: int = 1,
    block: Block = "strongly_entangling",
    entangler: Entangler = "ring",
    gate: EntanglingGate = "cz",
) -> Circuit:
    """Build trained layers after an IQP encoding: H and RZ(x_q) on every qubit, RZZ(x_p x_q) on every pair, repeated.

    The encoding is PennyLane's `IQPEmbedding`; with the defaults the circuit is that of the benchmark's
    `IQPVariationalClassifier`, which reads the product of Z on the qubits 0 and 1. Repetition r is layer r and has
    errors, because its gates entangle; the trained layers come after it.

    Args:
        n_qubits: Number of qubits, at least 1; also the number of inputs.
        n_layers: Number of trained layers, at least 1.
        n_repeats: Repetitions of the encoding, at least 1.
        block: `"strongly_entangling"` or `"hardware_efficient"`: what the trained layers are.
        entangler: Pattern of the hardware-efficient layers, see `hardware_efficient`; the others have their ranges.
        gate: `"cz"` or `"cnot"` in the trained layers.

    Returns:
        Circuit whose flat parameters are those of `strongly_entangling` or `hardware_efficient`.

    Raises:
        DomainError: A number is below 1.
        UnknownNameError: A name is not known.

    Source:
        Havlicek et al., Nature 567, 209, 2019, where the angles are functions of x that the user may apply to the
        inputs; Bowles, Ahmed and Schuld, arXiv 2403.07059, 2024, for the trained layers.
    """
    check_sizes(n_qubits=n_qubits, n_layers=n_layers, n_repeats=n_repeats)
    _check_name("block", block, _BLOCKS)
    _check_name("entangler", entangler, _ENTANGLERS)
    _check_name("gate", gate, _GATES)
    encoding = [step for repeat in range(n_repeats) for step in _iqp_encoding(n_qubits, repeat)]
    if block == "strongly_entangling":
        layers = _strongly_entangling_layers(n_qubits, _ranges(n_qubits, n_layers, None), gate, n_repeats)
        return _circuit(n_qubits, [*encoding, *layers], 3 * n_qubits * n_layers, n_qubits)
    layers = _hardware_efficient_layers(n_qubits, n_layers, entangler, gate, n_repeats)
    return _circuit(n_qubits, [*encoding, *layers], 2 * n_qubits * n_layers, n_qubits)


def dressed_core(n_qubits: int, n_layers: int) -> Circuit:
    """Build the quantum part of a dressed circuit: H and RY(x_q) on every qubit; per layer RY, then a ring of CNOTs.

    Two qubits have one CNOT a layer. The classical layers before and after it are not part of the circuit; the
    benchmark's feed it (pi/2) tanh(W x) and map all <Z_q> to the classes. Mari et al. entangle before the rotations.

    Args:
        n_qubits: Number of qubits, at least 1; also the number of inputs.
        n_layers: Number of layers, at least 1.

    Returns:
        Circuit whose flat parameters are an array (n_layers, n_qubits) raveled.

    Raises:
        DomainError: A number is below 1.

    Source:
        Mari, Bromley, Izaac, Schuld and Killoran, Quantum 4, 340, 2020; in the form of Bowles, Ahmed and Schuld, arXiv
        2403.07059, 2024, and XanaduAI/qml-benchmarks, `dressed_quantum_circuit.py`.
    """
    check_sizes(n_qubits=n_qubits, n_layers=n_layers)
    gates: list[Gate] = []
    for qubit, encoding in enumerate(_angle_encoding(n_qubits)):
        gates.extend([Gate(kind="h", qubits=(qubit,), layer=-1), encoding])
    for layer in range(n_layers):
        for qubit in range(n_qubits):
            angle = (Term(parameter=layer * n_qubits + qubit),)
            gates.append(Gate(kind="ry", qubits=(qubit,), angle=angle, layer=layer))
        gates.extend(_entanglers(n_qubits, layer, "chain" if n_qubits == 2 else "ring", "cnot"))
    return _circuit(n_qubits, gates, n_layers * n_qubits, n_qubits)


def _circuit(n_qubits: int, gates: Sequence[Gate], n_parameters: int, n_features: int) -> Circuit:
    return Circuit(n_qubits=n_qubits, gates=tuple(gates), n_parameters=n_parameters, n_features=n_features)


def _check_name(label: str, name: str, allowed: tuple[str, ...]) -> None:
    if name not in allowed:
        raise UnknownNameError(label, name, allowed)


def _angle_encoding(n_qubits: int) -> Iterator[Gate]:
    for qubit in range(n_qubits):
        yield Gate(kind="ry", qubits=(qubit,), angle=(Term(features=(qubit,)),), layer=-1)


def _iqp_encoding(n_qubits: int, layer: int) -> Iterator[Gate]:
    for qubit in range(n_qubits):
        yield Gate(kind="h", qubits=(qubit,), layer=layer)
        yield Gate(kind="rz", qubits=(qubit,), angle=(Term(features=(qubit,)),), layer=layer)
    for pair in _entangled_pairs(n_qubits, layer, "all_to_all"):
        yield Gate(kind="rzz", qubits=pair, angle=(Term(features=pair),), layer=layer)


def _hardware_efficient_layers(
    n_qubits: int, n_layers: int, entangler: Entangler | None, gate: EntanglingGate, first_layer: int = 0
) -> Iterator[Gate]:
    for layer in range(n_layers):
        for qubit in range(n_qubits):
            first, place = 2 * (layer * n_qubits + qubit), first_layer + layer
            yield Gate(kind="ry", qubits=(qubit,), angle=(Term(parameter=first),), layer=place)
            yield Gate(kind="rz", qubits=(qubit,), angle=(Term(parameter=first + 1),), layer=place)
        if entangler is not None:
            for pair in _entangled_pairs(n_qubits, layer, entangler):
                yield Gate(kind=gate, qubits=pair, layer=first_layer + layer)


def _strongly_entangling_layers(
    n_qubits: int, ranges: Sequence[int], gate: EntanglingGate, first_layer: int = 0
) -> Iterator[Gate]:
    for layer, reach in enumerate(ranges):
        for qubit in range(n_qubits):
            yield from _trained_rot(qubit, 3 * (layer * n_qubits + qubit), first_layer + layer)
        for qubit in range(n_qubits if n_qubits > 1 else 0):
            yield Gate(kind=gate, qubits=(qubit, (qubit + reach) % n_qubits), layer=first_layer + layer)


def _ranges(n_qubits: int, n_layers: int, ranges: Sequence[int] | None) -> tuple[int, ...]:
    if ranges is None:
        return tuple(layer % max(n_qubits - 1, 1) + 1 for layer in range(n_layers))
    if len(ranges) != n_layers or not all(1 <= reach <= max(n_qubits - 1, 1) for reach in ranges):
        wanted = f"{n_layers} integers in [1, {max(n_qubits - 1, 1)}]"
        raise DomainError(f"Argument `ranges` must have {wanted}, but is {tuple(ranges)}.")
    return tuple(ranges)


def _trained_rot(qubit: int, first_parameter: int, layer: int) -> Iterator[Gate]:
    return _rot(qubit, [(Term(parameter=first_parameter + place),) for place in range(3)], layer)


def _rot(qubit: int, angles: Sequence[tuple[Term, ...]], layer: int) -> Iterator[Gate]:
    """Yield RZ, RY, RZ by these angles, as far as there are any."""
    kinds: tuple[GateKind, ...] = ("rz", "ry", "rz")
    for kind, angle in zip(kinds, angles, strict=False):
        yield Gate(kind=kind, qubits=(qubit,), angle=angle, layer=layer)


def _deal_groups(n_qubits: int, n_features: int) -> list[tuple[int, int]]:
    """Return (qubit, group of three inputs) of every rotation of a layer, in order."""
    n_groups = -(-n_features // 3)
    if n_groups < n_qubits:
        return [(qubit, qubit % n_groups) for qubit in range(n_qubits)]
    return [(qubit, group) for qubit in range(n_qubits) for group in range(qubit, n_groups, n_qubits)]


def _group_inputs(group: int, n_features: int) -> range:
    return range(3 * group, min(3 * group + 3, n_features))


def _entanglers(n_qubits: int, layer: int, entangler: Entangler, gate: EntanglingGate) -> Iterator[Gate]:
    return (Gate(kind=gate, qubits=pair, layer=layer) for pair in _entangled_pairs(n_qubits, layer, entangler))


def _entangled_pairs(n_qubits: int, layer: int, entangler: Entangler) -> tuple[tuple[int, int], ...]:
    if entangler == "ring":
        return tuple((q, (q + 1) % n_qubits) for q in range(n_qubits)) if n_qubits > 1 else ()
    if entangler == "all_to_all":
        return tuple((p, q) for p in range(n_qubits) for q in range(p + 1, n_qubits))
    starts = (layer % 2,) if entangler == "brickwork" else (0, 1)
    return tuple((q, q + 1) for start in starts for q in range(start, n_qubits - 1, 2))
