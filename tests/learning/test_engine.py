"""The exact engine against density matrices: every gate, every noise, every use of pairs."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import pennylane as qml
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.experimental.compilation_cache import compilation_cache

from ceas.errors import DomainError
from ceas.learning.ansatz import hardware_efficient
from ceas.learning.circuits import CLIFFORDS, ROTATIONS, Circuit, Gate, Term
from ceas.learning.encoding import Encoded, encode_features, encode_inputs, encode_states
from ceas.learning.engine import (
    enable_compilation_cache,
    expectations,
    heisenberg_coefficients,
    loss_and_gradient,
    parameter_shift_jacobian,
    pauli_state,
)
from ceas.learning.noise import NoiseTable, noiseless
from ceas.learning.partition import Partition, Teledata, Telegate, partition_circuit
from ceas.learning.program import choose_samples

Density = Callable[..., npt.NDArray[np.complex128]]
Expectation = Callable[[npt.NDArray[np.complex128], int, npt.ArrayLike], float]
PauliExpectations = Callable[[npt.NDArray[np.complex128]], npt.NDArray[np.float64]]
FloatArray = npt.NDArray[np.float64]

N_INPUTS = 2
# Programs that are used once are not worth optimising.
QUICKLY: dict[str, str | bool] = {"xla_backend_optimization_level": "0", "xla_llvm_disable_expensive_passes": True}


@pytest.fixture
def float64() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


def random_gate(
    kind: str, n_qubits: int, parameter: int, rng: np.random.Generator, *, layer: int, share: float
) -> Gate:
    """Draw qubits and an angle: of its own parameter or an earlier one, and with inputs by the probability `share`."""
    qubits = tuple(
        int(q) for q in rng.permutation(n_qubits)[: len(ROTATIONS[kind]) if kind in ROTATIONS else CLIFFORDS[kind]]
    )
    if kind not in ROTATIONS:
        return Gate(kind=kind, qubits=qubits, layer=layer)  # type: ignore[arg-type]
    is_shared = parameter > 0 and rng.random() < 0.3
    which = int(rng.integers(parameter)) if is_shared else parameter
    features = tuple(int(f) for f in rng.integers(0, N_INPUTS, 2)) if rng.random() < share else ()
    terms = [Term(float(rng.normal()), which, features)]
    if rng.random() < share:
        terms.append(Term(1.0, -1, (int(rng.integers(N_INPUTS)),)))
    return Gate(kind=kind, qubits=qubits, angle=tuple(terms), layer=layer)  # type: ignore[arg-type]


def random_circuit(n_qubits: int, kinds: list[str], rng: np.random.Generator, share: float) -> Circuit:
    """Encode some qubits by errorless gates, then take gates in any order, `share` of them depending on inputs."""
    gates = [
        Gate(kind=kind, qubits=(qubit,), angle=(Term(features=(int(rng.integers(N_INPUTS)),)),), layer=-1)
        for qubit, kind in enumerate(rng.choice(["rx", "ry", "rz"], n_qubits))
        if rng.random() < 0.7
    ]
    layer = n_parameters = 0
    for kind in kinds:
        layer += int(rng.integers(2))
        gates.append(random_gate(kind, n_qubits, n_parameters, rng, layer=layer, share=share))
        n_parameters = max([n_parameters, *(parameter + 1 for parameter in gates[-1].parameters)])
    return Circuit(n_qubits=n_qubits, gates=tuple(gates), n_parameters=n_parameters, n_features=N_INPUTS)


def serves(gate: Gate, root: int, basis: str) -> bool:
    """Tell whether a copy of the root in this basis can serve the gate."""
    if root not in gate.qubits:
        return False
    own = {"cz": "ZZ", "cnot": "ZX", "rzz": "ZZ", "rxx": "XX", "ryy": "YY"}.get(gate.kind)
    return own is not None and own[gate.qubits.index(root)] == basis


def leaves(gate: Gate, root: int, basis: str) -> bool:
    """Tell whether the gate commutes with the basis of the root."""
    if root not in gate.qubits or serves(gate, root, basis):
        return True
    if gate.kind in ROTATIONS:
        return ROTATIONS[gate.kind][gate.qubits.index(root)] == basis
    return gate.kind in {"Z": ("z", "s", "sdg"), "X": ("x", "sx", "sxdg"), "Y": ("y",)}[basis]


def random_partition(circuit: Circuit, rng: np.random.Generator) -> Partition:
    """Scatter gates over two processors, move qubits, and let copies serve runs of gates."""
    n_gates = len(circuit.gates)
    moves = range(int(rng.integers(3)))
    uses: list[Telegate | Teledata] = [
        Teledata(qubit=int(rng.integers(circuit.n_qubits)), before=int(rng.integers(n_gates + 1)), link=(0, 1))
        for _ in moves
    ]
    taken: set[int] = set()
    for index, gate in enumerate(circuit.gates):
        options = [(q, basis) for q in gate.qubits for basis in "ZXY" if serves(gate, q, basis)]
        if not options or index in taken or rng.random() < 0.2:
            continue
        root, basis = options[rng.integers(len(options))]
        ends = (i for i in range(index + 1, n_gates) if not leaves(circuit.gates[i], root, basis))
        after = range(index + 1, next(ends, n_gates))
        more = [i for i in after if serves(circuit.gates[i], root, basis) and i not in taken and rng.random() < 0.7]
        taken |= {index, *more}
        uses.append(Telegate(root=root, basis=basis, gates=(index, *more), link=(0, 1)))  # type: ignore[arg-type]
    return Partition(
        kind="qubit",
        n_qpus=2,
        gate_qpus=tuple(tuple(int(q) for q in rng.integers(0, 2, len(gate.qubits))) for gate in circuit.gates),
        readout_qpus=tuple(int(q) for q in rng.integers(0, 2, circuit.n_qubits)),
        uses=tuple(uses[i] for i in rng.permutation(len(uses))),
    )


def random_noise(
    partition: Partition,
    n_learners: int,
    rng: np.random.Generator,
    *,
    is_uneven: bool = False,
    relaxes: bool = False,
) -> NoiseTable:
    """Draw noise; uneven: readout by outcome, and pairs from all over the simplex of Bell-diagonal states."""
    shape = (n_learners, partition.n_qpus)
    pairs = rng.uniform(0.3, 1, (n_learners, partition.pairs_per_shot))
    if is_uneven:
        weights = rng.dirichlet([2.0, 0.7, 0.7, 0.7], (n_learners, partition.pairs_per_shot))
        pairs = weights @ np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    relaxation = rng.uniform(0.5, 1, (*shape, 2, 3)) * np.array([1, 1, -1])
    return NoiseTable(
        jnp.asarray(rng.uniform(0, 0.1, shape), dtype=float),
        jnp.asarray(rng.uniform(0, 0.15, shape), dtype=float),
        jnp.asarray(rng.uniform(0, 0.2, (*shape, 2) if is_uneven else shape), dtype=float),
        jnp.asarray(pairs, dtype=float),
        jnp.asarray(relaxation, dtype=float) if relaxes else None,
    )


def squared(values: jax.Array, targets: jax.Array) -> jax.Array:
    return jnp.sum((values - targets) ** 2)


def mean_square(values: jax.Array, targets: jax.Array) -> jax.Array:
    return jnp.mean((values - targets) ** 2)


def evaluate(circuit: Circuit, partition: Partition, observables: tuple[int, ...], arguments: Any) -> Any:
    """Return values, states, losses and gradients by parameters and inputs, compiled as one program."""

    def everything(theta: jax.Array, encoded: Encoded, noise: NoiseTable, targets: jax.Array) -> Any:
        values = expectations(circuit, partition, theta, encoded, noise, observables=observables)
        states = pauli_state(circuit, partition, theta, encoded, noise)
        found = loss_and_gradient(
            circuit,
            partition,
            theta,
            encoded,
            noise,
            targets=targets,
            observables=observables,
            loss=squared,
            input_gradient=encoded.inputs is not None,
        )
        return values, states, found

    compiled = jax.jit(everything, compiler_options=QUICKLY)
    return jax.tree.map(np.asarray, compiled(*arguments))


def central_difference(function: Callable[[FloatArray], Any], at: FloatArray, step: float = 1e-5) -> FloatArray:
    """Return the derivatives by every entry, on the leading axis."""
    steps = step * np.eye(at.size).reshape(at.size, *at.shape)
    return np.array([(np.asarray(function(at + d)) - np.asarray(function(at - d))) / (2 * step) for d in steps])


ONE_QUBIT = ["rx", "ry", "rz", "h", "s", "sx"]


@settings(max_examples=8, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6), n_qubits=st.sampled_from([1, 2, 3, 3]), share=st.sampled_from([0.0, 0.0, 0.4]))
def test_any_circuit_is_the_dense_one_and_its_gradient_the_difference_quotient(
    seed: int,
    n_qubits: int,
    *,
    share: float,
    oracle_density: Density,
    oracle_expectation: Expectation,
    oracle_pauli_expectations: PauliExpectations,
) -> None:
    """Every kind of gate, noise and use in any order, samples anywhere; two learners with own samples."""
    rng = np.random.default_rng(seed)
    kinds = [*ROTATIONS, *CLIFFORDS] if n_qubits > 1 else ONE_QUBIT
    circuit = random_circuit(n_qubits, list(rng.choice(kinds, int(rng.integers(13)))), rng, share)
    partition = random_partition(circuit, rng)
    observables = tuple(range(n_qubits))[: int(rng.integers(1, n_qubits + 1))]
    theta, inputs = rng.normal(size=circuit.n_parameters), rng.normal(size=(2, 1, N_INPUTS))
    targets = rng.normal(size=(2, 1, len(observables)))
    is_uneven, relaxes = rng.random(2) < 0.5
    with jax.enable_x64(True):
        noise = random_noise(partition, 2, rng, is_uneven=is_uneven, relaxes=relaxes)
        encoded = encode_inputs(circuit, inputs)
        values, states, (losses, gradient, by_inputs) = evaluate(
            circuit, partition, observables, (jnp.asarray(theta), encoded, noise, jnp.asarray(targets))
        )

    def density(parameters: FloatArray, samples: FloatArray, learner: int) -> npt.NDArray[np.complex128]:
        return oracle_density(circuit, partition, parameters, samples[learner, 0], noise, learner=learner)

    def read(rho: npt.NDArray[np.complex128], learner: int) -> FloatArray:
        flips = np.asarray(noise.readout_error)[learner]
        return np.array([oracle_expectation(rho, q, flips[partition.readout_qpus[q]]) for q in observables])

    def dense_losses(parameters: FloatArray, samples: FloatArray) -> FloatArray:
        return np.array([((read(density(parameters, samples, i), i) - targets[i, 0]) ** 2).sum() for i in range(2)])

    for learner in range(2):
        rho = density(theta, inputs, learner)
        np.testing.assert_allclose(values[learner, 0], read(rho, learner), atol=1e-10)
        np.testing.assert_allclose(states[learner, 0], oracle_pauli_expectations(rho), atol=1e-10)
    np.testing.assert_allclose(losses, dense_losses(theta, inputs), atol=1e-10)
    slopes = central_difference(lambda t: dense_losses(t, inputs), theta)
    np.testing.assert_allclose(gradient, slopes.reshape(-1, 2).T, atol=1e-7)
    slopes = central_difference(lambda x: dense_losses(theta, x).sum(), inputs)
    np.testing.assert_allclose(by_inputs.ravel(), slopes, atol=1e-7)


def everything_at_once() -> tuple[Circuit, Partition]:
    """Four qubits, every kind of gate, re-uploaded inputs, copies with one and many gates, moves."""
    rng = np.random.default_rng(31)
    kinds = [*rng.permutation([*ROTATIONS, *CLIFFORDS]), *rng.permutation([*ROTATIONS, "cnot", "cz", "rzz"])]
    circuit = random_circuit(4, [str(kind) for kind in kinds], rng, 0.2)
    partition = random_partition(circuit, rng)
    assert {gate.kind for gate in circuit.gates} == {*ROTATIONS, *CLIFFORDS}
    assert {type(use) for use in partition.uses} == {Telegate, Teledata}
    served = [use for use in partition.uses if isinstance(use, Telegate)]
    assert {use.basis for use in served} == {"Z", "X", "Y"}
    assert max(len(use.gates) for use in served) > 1
    assert choose_samples(circuit, partition, has_states=False) == "rows"
    return circuit, partition


def test_everything_at_once_in_single_precision(
    oracle_density: Density, oracle_expectation: Expectation, oracle_pauli_expectations: PauliExpectations
) -> None:
    circuit, partition = everything_at_once()
    rng = np.random.default_rng(5)
    theta, inputs = rng.normal(size=circuit.n_parameters), rng.normal(size=(2, N_INPUTS))
    noise = random_noise(partition, 2, rng, is_uneven=True, relaxes=True)
    values, states, (losses, *_) = evaluate(
        circuit,
        partition,
        (0, 3),
        (jnp.asarray(theta), encode_inputs(circuit, inputs), noise, jnp.zeros((2, 2, 2))),
    )
    assert values.dtype == np.float32
    for learner, sample in itertools.product(range(2), range(2)):
        rho = oracle_density(circuit, partition, theta, inputs[sample], noise, learner=learner)
        flips = np.asarray(noise.readout_error)[learner]
        expected = [oracle_expectation(rho, q, flips[partition.readout_qpus[q]]) for q in (0, 3)]
        np.testing.assert_allclose(values[learner, sample], expected, atol=1e-5)
        np.testing.assert_allclose(states[learner, sample], oracle_pauli_expectations(rho), atol=1e-5)
    np.testing.assert_allclose(losses, (values**2).sum(axis=(1, 2)), rtol=1e-5)


def test_quantum_data_replace_the_zero_state(oracle_pauli_expectations: PauliExpectations) -> None:
    """Entangled states through a noiseless circuit: the state vector's own arithmetic."""
    circuit = Circuit(
        n_qubits=2,
        gates=(
            Gate(kind="rzz", qubits=(0, 1), angle=(Term(parameter=0),), layer=0),
            Gate(kind="cnot", qubits=(1, 0), layer=0),
        ),
        n_parameters=1,
        n_features=0,
    )
    partition = partition_circuit(circuit)
    rng = np.random.default_rng(1)
    psi = rng.normal(size=(3, 4)) + 1j * rng.normal(size=(3, 4))
    psi /= np.linalg.norm(psi, axis=1, keepdims=True)
    phases = np.exp(-0.35j * np.array([1, -1, -1, 1]))
    cnot = np.eye(4)[[0, 3, 2, 1]]
    after = (psi * phases) @ cnot.T
    encoded = encode_states(circuit, psi)
    arguments = (jnp.array([0.7]), encoded, noiseless(partition))
    values, states, (_, gradient) = evaluate(circuit, partition, (0, 1), (*arguments, jnp.zeros((1, 3, 2))))
    signs = np.array([[1, 1, -1, -1], [1, -1, 1, -1]])
    np.testing.assert_allclose(values[0], np.abs(after) ** 2 @ signs.T, atol=1e-6)
    for found, vector in zip(states[0], after, strict=True):
        np.testing.assert_allclose(found, oracle_pauli_expectations(np.outer(vector, vector.conj())), atol=1e-6)
    np.testing.assert_allclose(gradient, 0, atol=1e-6)  # a phase of the ZZ parity leaves the populations
    with pytest.raises(DomainError, match="`states`"):
        encode_states(circuit, psi[:, :3])
    with pytest.raises(DomainError, match="inputs"):
        loss_and_gradient(
            circuit,
            partition,
            *arguments,
            targets=jnp.zeros((1, 3, 2)),
            observables=(0, 1),
            loss=squared,
            input_gradient=True,
        )
    with pytest.raises(DomainError, match="`circuit`"):
        encode_states(hardware_efficient(2, 1), psi)


def teleported_cnot_kraus(werner: float) -> list[npt.NDArray[np.complex128]]:
    x, z, one = np.array([[0, 1], [1, 0]]), np.diag([1, -1]), np.eye(2)
    fidelity = (1 + 3 * werner) / 4
    paulis = [np.kron(one, one), np.kron(one, x), np.kron(z, one), np.kron(z, x)]
    weights = [fidelity] + [(1 - fidelity) / 3] * 3
    return [np.sqrt(weight) * pauli.astype(complex) for weight, pauli in zip(weights, paulis, strict=True)]


def pennylane_expectations(
    circuit: Circuit, partition: Partition, theta: FloatArray, angles: FloatArray, noise: NoiseTable
) -> list[float]:
    one, two, readout, werner = (np.asarray(array[0], dtype=float) for array in noise[:4])
    pair_of = {use.gates[0]: pair for pair, use in enumerate(partition.uses) if isinstance(use, Telegate)}

    @qml.qnode(qml.device("default.mixed", wires=circuit.n_qubits))  # type: ignore[untyped-decorator]
    def run() -> list[qml.measurements.ExpectationMP]:
        for index, gate in enumerate(circuit.gates):
            qpus = partition.gate_qpus[index]
            if gate.kind == "cnot":
                qml.CNOT(wires=gate.qubits)
                if index in pair_of:
                    qml.QubitChannel(teleported_cnot_kraus(werner[pair_of[index]]), wires=gate.qubits)
                for q, qpu in zip(gate.qubits, qpus, strict=True):
                    qml.DepolarizingChannel(two[qpu], wires=q)
                continue
            angle = theta[gate.parameters[0]] if gate.parameters else angles[gate.features[0]]
            {"ry": qml.RY, "rz": qml.RZ}[gate.kind](angle, wires=gate.qubits[0])
            if gate.kind == "rz":
                qml.DepolarizingChannel(one[qpus[0]], wires=gate.qubits[0])
        for q, qpu in enumerate(partition.readout_qpus):
            qml.BitFlip(readout[qpu], wires=q)
        return [qml.expval(qml.PauliZ(q)) for q in range(circuit.n_qubits)]

    return [float(value) for value in run()]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # PennyLane's own
@pytest.mark.parametrize("entangler", ["ring", "chain"])
def test_expectations_are_pennylanes(entangler: str) -> None:
    """Teleported gates and every error, four qubits, float32, against PennyLane's density-matrix simulator."""
    rng = np.random.default_rng(11)
    circuit = hardware_efficient(4, 2, entangler)  # type: ignore[arg-type]
    partition = partition_circuit(circuit, "qubit")
    theta, angles = rng.normal(size=circuit.n_parameters), rng.uniform(-np.pi, np.pi, (1, 4))
    noise = random_noise(partition, 1, rng)
    ours = expectations(
        circuit, partition, jnp.asarray(theta), encode_inputs(circuit, angles), noise, observables=(0, 1, 2, 3)
    )
    assert ours.dtype == jnp.float32
    theirs = pennylane_expectations(circuit, partition, theta, angles[0], noise)
    np.testing.assert_allclose(ours[0, 0], theirs, atol=1e-5)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(("n_qubits", "n_layers", "relaxes"), [(4, 6, False), (3, 4, True)])
def test_adjoint_gradient_is_that_of_jax(n_qubits: int, n_layers: int, *, relaxes: bool) -> None:
    """Deep circuits, whose equal layers are a loop."""
    rng = np.random.default_rng(3)
    circuit = hardware_efficient(n_qubits, n_layers, "chain" if n_qubits == 4 else "ring")
    partition = partition_circuit(circuit, "qubit")
    noise = random_noise(partition, 3, rng, relaxes=relaxes)
    encoded = encode_inputs(circuit, rng.uniform(-2, 2, (3, 4, n_qubits)))
    theta, targets = jnp.asarray(rng.normal(size=circuit.n_parameters)), jnp.asarray(rng.normal(size=(3, 4, 2)))

    def losses(parameters: jax.Array) -> jax.Array:
        values = expectations(circuit, partition, parameters, encoded, noise, observables=(0, 2))
        return jax.vmap(squared)(values, targets)

    def adjoint(parameters: jax.Array) -> tuple[jax.Array, ...]:
        found: tuple[jax.Array, ...] = loss_and_gradient(
            circuit, partition, parameters, encoded, noise, targets=targets, observables=(0, 2), loss=squared
        )
        return found

    def all_ways(parameters: jax.Array) -> Any:
        return adjoint(parameters), losses(parameters), jax.jacrev(losses)(parameters)

    (found, gradient), expected, slopes = jax.jit(all_ways, compiler_options=QUICKLY)(theta)
    np.testing.assert_allclose(found, expected, atol=1e-10)
    np.testing.assert_allclose(gradient, slopes, atol=1e-10)


RELOADED = Circuit(
    n_qubits=2,
    gates=(
        Gate(kind="ry", qubits=(0,), angle=(Term(0.5, 0, (0,)), Term(1.0, 1)), layer=0),
        Gate(kind="rxx", qubits=(0, 1), angle=(Term(2.0, 0), Term(1.0, -1, (1,))), layer=0),
        Gate(kind="rz", qubits=(1,), angle=(Term(-1.0, 1),), layer=0),
        Gate(kind="h", qubits=(1,), layer=0),
    ),
    n_parameters=2,
    n_features=2,
)
"""Inputs in front of and between trained rotations, and parameters in several of them."""


@pytest.mark.usefixtures("float64")
def test_shift_rule_is_chained_through_shared_and_sample_dependent_angles() -> None:
    circuit, partition = RELOADED, partition_circuit(RELOADED)
    rng = np.random.default_rng(4)
    noise, theta = random_noise(partition, 2, rng), jnp.array([0.4, -0.9])
    encoded = encode_inputs(circuit, rng.normal(size=(3, 2)))

    def values(parameters: jax.Array) -> jax.Array:
        return expectations(circuit, partition, parameters, encoded, noise, observables=(0, 1))

    found = parameter_shift_jacobian(circuit, partition, theta, encoded, noise, observables=(0, 1))
    np.testing.assert_allclose(found, jax.jit(jax.jacrev(values), compiler_options=QUICKLY)(theta), atol=1e-10)


def test_blocks_of_learners_and_chunks_of_samples_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five learners one by one, and three samples one by one, where each is evolved."""
    circuit, partition = RELOADED, partition_circuit(RELOADED, "qubit")
    rng = np.random.default_rng(6)
    noise = random_noise(partition, 5, rng, relaxes=True)
    theta, encoded = jnp.asarray(rng.normal(size=circuit.n_parameters)), encode_inputs(circuit, rng.normal(size=(3, 2)))
    arguments = (theta, encoded, noise, jnp.asarray(rng.normal(size=(5, 3, 1)), dtype=float))
    whole = evaluate(circuit, partition, (1,), arguments)
    monkeypatch.setattr("ceas.learning.cost.BLOCK_BYTES", 1)
    monkeypatch.setattr("ceas.learning.cost.CHUNK_BYTES", 1)
    jax.clear_caches()  # type: ignore[no-untyped-call]
    for found, expected in zip(
        jax.tree.leaves(evaluate(circuit, partition, (1,), arguments)), jax.tree.leaves(whole), strict=True
    ):
        np.testing.assert_allclose(found, expected, atol=2e-5)


def test_float32_gradient_is_close_to_float64() -> None:
    rng = np.random.default_rng(8)
    circuit = hardware_efficient(4, 3, "chain")
    partition = partition_circuit(circuit, "qubit")
    theta, angles, targets = rng.normal(size=24), rng.uniform(-2, 2, (50, 4)), rng.normal(size=(1, 50, 4))

    def gradient() -> FloatArray:
        _, found = loss_and_gradient(
            circuit,
            partition,
            jnp.asarray(theta),
            encode_inputs(circuit, angles),
            random_noise(partition, 1, np.random.default_rng(0)),
            targets=jnp.asarray(targets),
            observables=(0, 1, 2, 3),
            loss=mean_square,
        )
        return np.asarray(found, dtype=np.float64)

    single = gradient()
    with jax.enable_x64(True):
        double = gradient()
    np.testing.assert_allclose(single, double, atol=2e-6)


def test_one_ideal_learner_serves_the_samples_of_all() -> None:
    """Shared noise, shared samples and batches of parameters are the same numbers as spelt out."""
    rng = np.random.default_rng(2)
    circuit = hardware_efficient(3, 2, "chain")
    partition = partition_circuit(circuit, "qubit")
    thetas = jnp.asarray(rng.normal(size=(2, 12)), dtype=float)
    encoded = encode_inputs(circuit, rng.uniform(-2, 2, (4, 5, 3)))
    targets = jnp.zeros((4, 5, 1))
    one, four = noiseless(partition), noiseless(partition, 4)
    batch = expectations(circuit, partition, thetas, encoded, one, observables=(1,))
    single = [expectations(circuit, partition, theta, encoded, four, observables=(1,)) for theta in thetas]
    assert batch.shape == (2, 4, 5, 1)
    np.testing.assert_allclose(batch, jnp.stack(single), atol=1e-6)
    gradients = [
        loss_and_gradient(
            circuit, partition, thetas[0], encoded, noise, targets=targets, observables=(1,), loss=mean_square
        )[1]
        for noise in (one, four)
    ]
    assert gradients[0].shape == (4, 12)
    np.testing.assert_allclose(gradients[0], gradients[1], atol=1e-6)
    second = jax.tree.map(lambda array: array[2], encoded)
    shared = expectations(circuit, partition, thetas[0], second, four, observables=(1,))
    np.testing.assert_allclose(shared, jnp.broadcast_to(single[0][2], shared.shape), atol=1e-6)


@pytest.mark.parametrize("broken", ["one_qubit_error", "two_qubit_error", "readout_error", "pair_werner"])
def test_complete_noise_of_any_kind_leaves_no_signal(broken: str) -> None:
    """Two qubits, ring: Z_0 passes the remote CNOT 1 -> 0, so that each kind of noise can erase it alone."""
    circuit = hardware_efficient(2, 1, "ring")
    partition = partition_circuit(circuit, "qubit")
    ideal = noiseless(partition)
    worst = {"one_qubit_error": 0.75, "two_qubit_error": 0.75, "readout_error": 0.5, "pair_werner": 0.0}[broken]
    noise = ideal._replace(**{broken: jnp.full_like(getattr(ideal, broken), worst)})
    encoded = encode_inputs(circuit, np.array([[0.3, 0.4], [1.0, -0.5]]))
    theta = jnp.array([0.2, 0.1, -0.4, 0.3])
    clean = expectations(circuit, partition, theta, encoded, ideal, observables=(0,))
    noisy = expectations(circuit, partition, theta, encoded, noise, observables=(0,))
    assert float(jnp.abs(clean).max()) > 0.1
    np.testing.assert_allclose(noisy, jnp.zeros_like(noisy), atol=1e-7)


def test_complete_relaxation_leaves_the_equilibrium_and_readout_shifts_it() -> None:
    """With equilibrium e and flips (p0, p1) of the outcomes, <Z> reads (1 - p0 - p1) e + p1 - p0."""
    circuit = hardware_efficient(2, 1, "chain")
    partition = partition_circuit(circuit)
    noise = noiseless(partition)._replace(
        relaxation=jnp.asarray([[[[1.0, 1.0, 1.0], [0.0, 0.0, 0.6]]]]), readout_error=jnp.asarray([[[0.1, 0.05]]])
    )
    encoded = encode_inputs(circuit, np.array([[0.3, 0.4]]))
    values = expectations(circuit, partition, jnp.array([0.2, 0.1, -0.4, 0.3]), encoded, noise, observables=(0, 1))
    np.testing.assert_allclose(values[0, 0], [0.85 * 0.6 - 0.05] * 2, atol=1e-6)


def test_a_served_zz_rotation_loses_its_sine_alone() -> None:
    """On |+0> RZZ(t) turns X_0 by t: <X_0> = cos t, <Y_0> = sin t; a copy wrong with p gives sin t (1 - 2p)."""
    circuit = Circuit(
        n_qubits=2,
        gates=(
            Gate(kind="h", qubits=(0,), layer=0),
            Gate(kind="rzz", qubits=(0, 1), angle=(Term(parameter=0),), layer=0),
        ),
        n_parameters=1,
        n_features=0,
    )
    partition = Partition(
        kind="qubit",
        n_qpus=1,
        gate_qpus=((0,), (0, 0)),
        readout_qpus=(0, 0),
        uses=(Telegate(root=1, basis="Z", gates=(1,), link=(0, 0)),),
    )
    # Errors X with 0.2 and Z with 0.1: correlators x = 1 - 2 p_Z, y = 1 - 2 (p_X + p_Z), z = 1 - 2 p_X.
    noise = noiseless(partition)._replace(pair_werner=jnp.array([[[0.8, 0.4, 0.6]]]))
    state = pauli_state(circuit, partition, jnp.array([0.7]), encode_inputs(circuit, np.zeros((1, 0))), noise)[0, 0]
    np.testing.assert_allclose([state[4], state[8]], [np.cos(0.7), 0.6 * np.sin(0.7)], atol=1e-6)


def test_layer_without_angles_returns_the_encoded_cosines() -> None:
    circuit = hardware_efficient(3, 1, "chain")
    partition = partition_circuit(circuit)
    angles = np.array([[0.3, 1.1, -0.7]])
    values = expectations(
        circuit, partition, jnp.zeros(6), encode_inputs(circuit, angles), noiseless(partition), observables=(0, 1, 2)
    )
    cosines = np.cumprod(np.cos(angles[0]))  # CNOTs make Z_q the product of all Z up to q
    np.testing.assert_allclose(values[0, 0], cosines, atol=1e-6)


def test_features_are_products_of_one_sine_and_cosine() -> None:
    a, b = 0.3, -1.2
    first, second = [1, np.sin(a), np.cos(a)], [1, np.sin(b), np.cos(b)]
    found = encode_inputs(hardware_efficient(2, 1), np.array([[a, b]]))
    assert found.features is not None
    np.testing.assert_allclose(found.features[0], np.outer(first, second).ravel(), rtol=1e-6)
    same = encode_features(np.array([[a, b]])).features
    assert same is not None
    np.testing.assert_allclose(found.features, same, rtol=1e-6)


def test_shapes_that_do_not_fit_are_refused() -> None:
    circuit = hardware_efficient(2, 1)
    partition = partition_circuit(circuit, "qubit")
    theta, noise = jnp.zeros(4), noiseless(partition)
    wrong = noise._replace(pair_werner=jnp.ones((1, 1)))
    with pytest.raises(DomainError, match="`theta`"):
        heisenberg_coefficients(circuit, partition, jnp.zeros(5), noise, observables=(0,))
    with pytest.raises(DomainError, match="`noise`"):
        heisenberg_coefficients(circuit, partition, theta, wrong, observables=(0,))
    with pytest.raises(DomainError, match="`observables`"):
        heisenberg_coefficients(circuit, partition, theta, noise, observables=(2,))
    with pytest.raises(DomainError, match="`partition`"):
        heisenberg_coefficients(hardware_efficient(2, 2), partition, jnp.zeros(8), noise, observables=(0,))
    with pytest.raises(DomainError, match="`inputs`"):
        encode_inputs(circuit, np.zeros((1, 3)))
    sampled, cut = everything_at_once()
    with pytest.raises(DomainError, match="product"):
        heisenberg_coefficients(sampled, cut, jnp.zeros(sampled.n_parameters), noiseless(cut), observables=(0,))


def test_compilation_cache_holds_programs_in_the_folder_given_last(tmp_path: Path) -> None:
    before = {
        name: getattr(jax.config, name)
        for name in (
            "jax_compilation_cache_dir",
            "jax_persistent_cache_min_compile_time_secs",
            "jax_persistent_cache_min_entry_size_bytes",
        )
    }
    try:
        # Programs were compiled before, without a folder or with another.
        for folder, factor in (("one", 3.25), ("other", 4.25)):
            enable_compilation_cache(tmp_path / folder)
            jax.jit(lambda x, factor=factor: jnp.sin(x) * factor)(jnp.arange(7.0)).block_until_ready()
            assert any((tmp_path / folder).iterdir())
    finally:
        compilation_cache.reset_cache()
        for name, value in before.items():
            jax.config.update(name, value)  # type: ignore[no-untyped-call]
