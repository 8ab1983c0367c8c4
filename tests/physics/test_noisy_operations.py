"""Imperfect swaps, purification, teleportation and storage against density matrices.

The register below keeps a density matrix as a tensor with one row and one column index a qubit. It knows nothing of
Pauli weights: gates are matrices, depolarising replaces the struck qubits by maximally mixed ones, and a misread bit
sends the true outcome down the other branch. Nothing here uses the package but the functions under test.
"""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ceas import physics
from ceas.errors import DomainError, UnknownNameError
from ceas.physics import LocalOperations, RelaxingMemory

Complex = NDArray[np.complex128]
Weights = NDArray[np.float64]
repeatable = settings(deadline=None, derandomize=True)
SEEDS = range(6)
TOLERANCE = 1e-12

PAULIS = [
    np.array(m, dtype=complex) for m in ([[1, 0], [0, 1]], [[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]])
]
IDENTITY, X, Y, Z = PAULIS
HADAMARD = (X + Z) / np.sqrt(2)
CNOT = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]], dtype=complex)
BELL = [np.kron(IDENTITY, pauli) @ np.array([1, 0, 0, 1]) / np.sqrt(2) for pauli in PAULIS]


class Register:
    """A density matrix of n qubits as a tensor of shape `(2,) * 2n`, not necessarily of trace 1."""

    def __init__(self, rho: Complex) -> None:
        self.n = int(np.log2(len(rho)))
        self.tensor = rho.reshape([2] * (2 * self.n))

    @property
    def matrix(self) -> Complex:
        return self.tensor.reshape(2**self.n, 2**self.n)

    def apply(self, gate: Complex, *qubits: int) -> "Register":
        """Apply any operator, unitary or not, to the row side, and its conjugate to the column side."""
        k = len(qubits)
        operator = gate.reshape([2] * (2 * k))
        tensor = np.moveaxis(np.tensordot(operator, self.tensor, (range(k, 2 * k), qubits)), range(k), qubits)
        columns = [self.n + q for q in qubits]
        tensor = np.moveaxis(np.tensordot(operator.conj(), tensor, (range(k, 2 * k), columns)), range(k), columns)
        return Register(tensor.reshape(2**self.n, 2**self.n))

    def plus(self, other: "Register", weight: float = 1.0) -> "Register":
        return Register(self.matrix + weight * other.matrix)

    def kraus(self, operators: Sequence[Complex], *qubits: int) -> "Register":
        return Register(sum((self.apply(k, *qubits).matrix for k in operators), np.zeros_like(self.matrix)))

    def depolarise(self, probability: float, *qubits: int) -> "Register":
        """With `probability` replace the qubits by maximally mixed ones, by averaging over all their Paulis."""
        struck = self
        for qubit in qubits:
            struck = Register(struck.kraus(PAULIS, qubit).matrix / 4)
        return Register((1 - probability) * self.matrix + probability * struck.matrix)

    def read(self, qubit: int, error: float, branch: Callable[["Register", int], "Register"]) -> "Register":
        """Read a qubit in Z; `branch` gets the projected state and the reported bit; sum over outcomes and reports."""
        total = Register(np.zeros_like(self.matrix))
        for outcome in (0, 1):
            projected = self.apply(np.diag([1 - outcome, outcome]).astype(complex), qubit)
            total = total.plus(branch(projected, outcome), 1 - error).plus(branch(projected, 1 - outcome), error)
        return total

    def keep(self, *qubits: int) -> Complex:
        lost = [q for q in range(self.n) if q not in qubits]
        order = [*qubits, *lost]
        tensor = self.tensor.transpose([*order, *(self.n + q for q in order)])
        size, rest = 2 ** len(qubits), 2 ** len(lost)
        return np.asarray(np.einsum("iaja->ij", tensor.reshape(size, rest, size, rest)))


def mixture(weights: Weights) -> Complex:
    return np.asarray(sum(w * np.outer(b, b.conj()) for w, b in zip(weights, BELL, strict=True)))


def pairs(*all_weights: Weights) -> Register:
    rho = np.ones((1, 1), dtype=complex)
    for weights in all_weights:
        rho = np.kron(rho, mixture(weights))
    return Register(rho)


def bell_weights(rho: Complex) -> Weights:
    """Weights of a Bell-diagonal state; fails when it is not one."""
    weights = np.array([(b.conj() @ rho @ b).real for b in BELL])
    np.testing.assert_allclose(rho, mixture(weights), atol=TOLERANCE)
    return weights


def corrected(gate: Complex, qubit: int) -> Callable[[Register, int], Register]:
    return lambda register, bit: register.apply(gate, qubit) if bit else register


def random_operations(rng: np.random.Generator) -> LocalOperations:
    one, two, readout = rng.uniform(0, 0.3, 3)
    return LocalOperations(one_qubit_depolarising=one, two_qubit_depolarising=two, readout_error=readout)


def bell_measurement(register: Register, first: int, second: int, corrects: int, node: LocalOperations) -> Register:
    """Measure two qubits in the Bell basis with errors and correct a third one by the reported bits."""
    register = register.apply(CNOT, first, second).depolarise(float(node.two_qubit_depolarising), first, second)
    register = register.apply(HADAMARD, first).depolarise(float(node.one_qubit_depolarising), first)
    register = register.read(second, float(node.readout_error), corrected(X, corrects))
    return register.read(first, float(node.readout_error), corrected(Z, corrects))


@pytest.mark.parametrize("seed", SEEDS)
def test_noisy_swap_is_an_imperfect_bell_measurement(seed: int) -> None:
    rng = np.random.default_rng(seed)
    first, second, node = rng.dirichlet(np.ones(4)), rng.dirichlet(np.ones(4)), random_operations(rng)
    expected = bell_weights(bell_measurement(pairs(first, second), 1, 2, 3, node).keep(0, 3))
    np.testing.assert_allclose(physics.swap_noisy(first, second, node), expected, atol=TOLERANCE)


@pytest.mark.parametrize("seed", SEEDS)
def test_bits_misread_with_unlike_probabilities_count_with_their_mean(seed: int) -> None:
    """0 is misread with probability e0, 1 with e1; the corrected pair only feels (e0 + e1)/2."""
    rng = np.random.default_rng(seed)
    first, second, (e0, e1) = rng.dirichlet(np.ones(4)), rng.dirichlet(np.ones(4)), rng.uniform(0, 0.4, 2)
    register = pairs(first, second).apply(CNOT, 1, 2).apply(HADAMARD, 1)
    for qubit, gate in ((2, X), (1, Z)):
        total = Register(np.zeros_like(register.matrix))
        for outcome, error in ((0, e0), (1, e1)):
            projected = register.apply(np.diag([1 - outcome, outcome]).astype(complex), qubit)
            wrong = projected if outcome else projected.apply(gate, 3)
            right = projected.apply(gate, 3) if outcome else projected
            total = total.plus(right, 1 - error).plus(wrong, error)
        register = total
    node = LocalOperations(readout_error=(e0 + e1) / 2)
    np.testing.assert_allclose(
        physics.swap_noisy(first, second, node), bell_weights(register.keep(0, 3)), atol=TOLERANCE
    )


def test_noisy_swap_of_werner_pairs_is_the_repeater_formula() -> None:
    """w' = g (4 m^2 - 1)/3 w1 w2 with gate fidelity parameter g and readout fidelity m."""
    for w1, w2, g, m in ((0.9, 0.8, 0.95, 0.97), (0.5, 1.0, 1.0, 0.9), (0.7, 0.6, 0.3, 1.0)):
        node = LocalOperations(two_qubit_depolarising=1 - g, readout_error=1 - m)
        weights = physics.swap_noisy(physics.werner_bell_diagonal(w1), physics.werner_bell_diagonal(w2), node)
        np.testing.assert_allclose(
            physics.bell_diagonal_to_werner(weights), g * (4 * m**2 - 1) / 3 * w1 * w2, atol=TOLERANCE
        )


@pytest.mark.parametrize("seed", SEEDS)
def test_a_chain_is_swapped_link_by_link_with_each_nodes_own_errors(seed: int) -> None:
    rng = np.random.default_rng(seed)
    links, nodes = rng.dirichlet(np.ones(4), 5), [random_operations(rng) for _ in range(4)]
    expected = links[0]
    for link, node in zip(links[1:], nodes, strict=True):
        expected = physics.swap_noisy(expected, link, node)
    together = LocalOperations(
        one_qubit_depolarising=np.array([node.one_qubit_depolarising for node in nodes]),
        two_qubit_depolarising=np.array([node.two_qubit_depolarising for node in nodes]),
        readout_error=np.array([node.readout_error for node in nodes]),
    )
    np.testing.assert_allclose(physics.swap_chain(links, together), expected, atol=TOLERANCE)
    one_for_all = links[0]
    for link in links[1:]:
        one_for_all = physics.swap_noisy(one_for_all, link, nodes[0])
    np.testing.assert_allclose(physics.swap_chain(links, nodes[0]), one_for_all, atol=TOLERANCE)
    np.testing.assert_allclose(physics.swap_chain(links[:1], nodes[0]), links[0], atol=TOLERANCE)


def test_werner_chain_and_its_success_probability() -> None:
    """n links: F = 1/4 + 3/4 w^n; n - 1 Bell measurements of probability 1/2."""
    links = np.broadcast_to(physics.werner_bell_diagonal(0.9), (4, 4))
    np.testing.assert_allclose(physics.swap_chain(links)[0], 0.25 + 0.75 * 0.9**4, atol=TOLERANCE)
    np.testing.assert_allclose(physics.chain_success_probability(0.5, [1, 2, 4]), [1.0, 0.5, 0.125])
    with pytest.raises(DomainError, match="middle nodes"):
        physics.swap_chain(links, LocalOperations(readout_error=np.full(2, 0.1)))
    with pytest.raises(DomainError, match="pairs"):
        physics.swap_chain(links[0])


SQRT_X = (IDENTITY - 1j * X) / np.sqrt(2)


def purified_by_circuit(
    kept: Weights, sacrificed: Weights, protocol: str, ends: tuple[LocalOperations, LocalOperations]
) -> tuple[float, Weights]:
    """Run the circuit on qubits (kept A, kept B, sacrificed A, sacrificed B)."""
    register = pairs(kept, sacrificed)
    if protocol == "dejmps":
        for qubit in range(4):
            # Alice turns by +90 degrees about X, Bob by -90 degrees.
            register = register.apply(SQRT_X if qubit % 2 == 0 else SQRT_X.conj().T, qubit)
            register = register.depolarise(float(ends[qubit % 2].one_qubit_depolarising), qubit)
    for side in (0, 1):
        register = register.apply(CNOT, side, 2 + side)
        register = register.depolarise(float(ends[side].two_qubit_depolarising), side, 2 + side)

    def given_alice(state: Register, alice: int) -> Register:
        return state.read(
            3,
            float(ends[1].readout_error),
            lambda inner, bob: inner if bob == alice else Register(np.zeros_like(inner.matrix)),
        )

    passed = register.read(2, float(ends[0].readout_error), given_alice).keep(0, 1)
    success = float(np.trace(passed).real)
    return success, bell_weights(passed / success)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("noisy", [False, True])
def test_dejmps_is_its_circuit(seed: int, noisy: bool) -> None:
    rng = np.random.default_rng(seed)
    kept, sacrificed = rng.dirichlet(np.ones(4), 2)
    ends = (random_operations(rng), random_operations(rng)) if noisy else (LocalOperations(), LocalOperations())
    success, weights = purified_by_circuit(kept, sacrificed, "dejmps", ends)
    step = physics.purify(kept, sacrificed, "dejmps", operations_a=ends[0], operations_b=ends[1])
    np.testing.assert_allclose(step.success_probability, success, atol=TOLERANCE)
    np.testing.assert_allclose(step.bell_diagonal, weights, atol=TOLERANCE)


@pytest.mark.parametrize("seed", SEEDS)
def test_bbpssw_is_its_circuit_on_twirled_pairs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    kept, sacrificed = rng.dirichlet(np.ones(4), 2)
    ends = (random_operations(rng), random_operations(rng))
    twirled = [physics.werner_bell_diagonal(physics.bell_diagonal_to_werner(pair)) for pair in (kept, sacrificed)]
    success, weights = purified_by_circuit(*twirled, "bbpssw", ends)
    step = physics.purify(kept, sacrificed, "bbpssw", operations_a=ends[0], operations_b=ends[1])
    np.testing.assert_allclose(step.success_probability, success, atol=TOLERANCE)
    np.testing.assert_allclose(step.bell_diagonal[0], weights[0], atol=TOLERANCE)
    np.testing.assert_allclose(step.bell_diagonal[1:], (1 - weights[0]) / 3, atol=TOLERANCE)


def test_dejmps_is_the_published_map_in_its_own_order() -> None:
    """In the order (Phi+, Psi-, Psi+, Phi-) = (A, B, C, D), where Psi- is a Y, Psi+ an X and Phi- a Z error."""
    rng = np.random.default_rng(0)
    first, second = rng.dirichlet(np.ones(4), 2)
    (a1, c1, b1, d1), (a2, c2, b2, d2) = first, second
    p = (a1 + b1) * (a2 + b2) + (c1 + d1) * (c2 + d2)
    a, b = (a1 * a2 + b1 * b2) / p, (c1 * d2 + d1 * c2) / p
    c, d = (c1 * c2 + d1 * d2) / p, (a1 * b2 + b1 * a2) / p
    step = physics.purify(first, second)
    np.testing.assert_allclose(step.success_probability, p, atol=TOLERANCE)
    np.testing.assert_allclose(step.bell_diagonal, [a, c, b, d], atol=TOLERANCE)


def test_purification_golden_values() -> None:
    """Werner F = 0.9 with 0.8: p = 0.817778, F' = 0.883152 to 6 decimals; both protocols agree on Werner pairs."""
    high, low = (physics.werner_bell_diagonal(physics.fidelity_to_werner(f)) for f in (0.9, 0.8))
    for protocol in ("bbpssw", "dejmps"):
        step = physics.purify(high, low, protocol)
        np.testing.assert_allclose(step.success_probability, 0.817778, atol=5e-7)
        np.testing.assert_allclose(step.bell_diagonal[0], 0.883152, atol=5e-7)
    f = 0.7
    step = physics.purify(*(physics.werner_bell_diagonal(physics.fidelity_to_werner(f)),) * 2, "bbpssw")
    p = f**2 + 2 * f * (1 - f) / 3 + 5 * (1 - f) ** 2 / 9
    np.testing.assert_allclose(step.success_probability, p, atol=TOLERANCE)
    np.testing.assert_allclose(step.bell_diagonal[0], (f**2 + (1 - f) ** 2 / 9) / p, atol=TOLERANCE)
    with pytest.raises(UnknownNameError, match="dejmps"):
        physics.purify(high, low, "dejmpz")


@st.composite
def states(draw: st.DrawFn) -> Weights:
    raw = np.array(draw(st.lists(st.floats(1e-6, 1.0), min_size=4, max_size=4)))
    return np.asarray(raw / raw.sum())


errors = st.floats(0.0, 0.5)


@repeatable
@given(states(), states(), st.tuples(errors, errors), errors, st.sampled_from(["bbpssw", "dejmps"]))
def test_purification_never_leaves_the_simplex(
    a: Weights, b: Weights, gates: tuple[float, float], readout: float, protocol: str
) -> None:
    node = LocalOperations(one_qubit_depolarising=gates[0], two_qubit_depolarising=gates[1], readout_error=readout)
    step = physics.purify(a, b, protocol, operations_a=node)
    assert 0.0 < step.success_probability <= 1.0 + TOLERANCE
    assert step.bell_diagonal.min() >= 0.0
    np.testing.assert_allclose(step.bell_diagonal.sum(), 1.0, atol=1e-12)


@repeatable
@given(states(), states(), errors, errors, errors)
def test_noisy_swaps_commute_and_stay_in_the_simplex(a: Weights, b: Weights, one: float, two: float, e: float) -> None:
    node = LocalOperations(one_qubit_depolarising=one, two_qubit_depolarising=two, readout_error=e)
    np.testing.assert_allclose(physics.swap_noisy(a, b, node), physics.swap_noisy(b, a, node), atol=TOLERANCE)
    np.testing.assert_allclose(physics.swap_noisy(a, b, node).sum(), 1.0, atol=TOLERANCE)


@repeatable
@given(st.floats(0.51, 0.99))
def test_perfect_recurrence_and_pumping_of_werner_pairs(fidelity: float) -> None:
    pair = physics.werner_bell_diagonal(physics.fidelity_to_werner(fidelity))
    level = physics.recurrence(pair, 6, "bbpssw")
    assert np.all(np.diff(level.bell_diagonal[:, 0]) > -1e-15)
    np.testing.assert_allclose(
        level.pair_yield, np.cumprod(level.success_probability) / 2.0 ** np.arange(7), rtol=1e-12
    )
    faster = physics.recurrence(pair, 6, "dejmps")
    assert faster.bell_diagonal[-1, 0] >= level.bell_diagonal[-1, 0] - 1e-12
    pumped = physics.pump(pair, 6, "dejmps")
    assert pumped.bell_diagonal[-1, 0] <= faster.bell_diagonal[-1, 0] + 1e-12
    assert np.all(np.diff(pumped.pairs_consumed) > 0)


def test_pairs_consumed_by_pumping_matches_a_simulation() -> None:
    """Two-sided 6-sigma band (false alarm 2e-9) around the mean of 40,000 runs; the mean is that of a geometric sum."""
    ladder = physics.pump(physics.werner_bell_diagonal(0.7), 3)
    rng, runs = np.random.default_rng(1), 40_000
    consumed, step = np.zeros(runs), np.zeros(runs, dtype=int)
    active = np.ones(runs, dtype=bool)
    while active.any():
        consumed[active] += np.where(step[active] == 0, 2, 1)
        passed = rng.random(active.sum()) < ladder.success_probability[step[active] + 1]
        step[active] = np.where(passed, step[active] + 1, 0)
        active = step < 3
    standard_error = consumed.std() / np.sqrt(runs)
    assert abs(consumed.mean() - ladder.pairs_consumed[3]) < 6 * standard_error


@pytest.mark.parametrize("seed", SEEDS)
def test_noisy_teleportation_is_its_pauli_channel(seed: int) -> None:
    """A reference qubit is entangled with the data qubit, so the whole channel is compared."""
    rng = np.random.default_rng(seed)
    weights, node = rng.dirichlet(np.ones(4)), random_operations(rng)
    reference = random_pure(rng, 2)
    delivered = bell_measurement(Register(np.kron(reference, mixture(weights))), 1, 2, 3, node).keep(0, 3)
    channel = physics.teleported_qubit_channel(weights, node)
    expected = Register(reference).kraus([np.sqrt(p) * pauli for p, pauli in zip(channel, PAULIS, strict=True)], 1)
    np.testing.assert_allclose(delivered, expected.matrix, atol=TOLERANCE)


@pytest.mark.parametrize("seed", SEEDS)
def test_noisy_teleported_cnot_is_its_pauli_channel(seed: int) -> None:
    """Qubits: reference, control, its half, the other half, target, reference, so that all 16 Paulis are told apart."""
    rng = np.random.default_rng(seed)
    weights, at_control, at_target = rng.dirichlet(np.ones(4)), random_operations(rng), random_operations(rng)
    left, right = random_pure(rng, 2), random_pure(rng, 2)
    register = Register(np.kron(np.kron(left, mixture(weights)), right))
    register = register.apply(CNOT, 1, 2).depolarise(float(at_control.two_qubit_depolarising), 1, 2)
    register = register.read(2, float(at_control.readout_error), corrected(X, 3))
    register = register.apply(CNOT, 3, 4).depolarise(float(at_target.two_qubit_depolarising), 3, 4)
    register = register.apply(HADAMARD, 3).depolarise(float(at_target.one_qubit_depolarising), 3)
    register = register.read(3, float(at_target.readout_error), corrected(Z, 1))
    channel = physics.teleported_cnot_pauli_channel(weights, at_control, at_target)
    np.testing.assert_allclose(channel.sum(), 1.0, atol=TOLERANCE)
    ideal = Register(np.kron(left, right)).apply(CNOT, 1, 2)
    operators = [np.sqrt(channel[4 * c + t]) * np.kron(PAULIS[c], PAULIS[t]) for c in range(4) for t in range(4)]
    np.testing.assert_allclose(register.keep(0, 1, 4, 5), ideal.kraus(operators, 1, 2).matrix, atol=TOLERANCE)


def random_pure(rng: np.random.Generator, n_qubits: int) -> Complex:
    amplitudes = rng.normal(size=(2**n_qubits, 2)) @ np.array([1, 1j])
    amplitudes /= np.linalg.norm(amplitudes)
    return np.outer(amplitudes, amplitudes.conj())


def test_perfect_operations_leave_the_pairs_own_errors() -> None:
    """Process fidelity F; averages over inputs (2F + 1)/3 for a qubit and (4F + 1)/5 for a CNOT."""
    weights = np.array([0.9, 0.05, 0.02, 0.03])
    np.testing.assert_array_equal(physics.teleported_qubit_channel(weights), weights)
    wide = physics.teleported_cnot_pauli_channel(weights)
    np.testing.assert_allclose(wide[[0, 1, 13, 12]], physics.teleported_cnot_channel(weights), atol=TOLERANCE)
    np.testing.assert_allclose(physics.average_channel_fidelity(0.9, 1), (2 * 0.9 + 1) / 3)
    np.testing.assert_allclose(physics.average_channel_fidelity(0.9, 2), (4 * 0.9 + 1) / 5)


def test_gate_fidelity_and_depolarising_probability_say_the_same() -> None:
    """A depolarised gate has process fidelity 1 - p (1 - 1/d^2), hence a known average fidelity."""
    for n_qubits, p in ((1, 0.1), (2, 0.06), (2, 1.0)):
        process = 1 - p * (1 - 1 / 4**n_qubits)
        average = float(physics.average_channel_fidelity(process, n_qubits))
        np.testing.assert_allclose(physics.depolarising_from_gate_fidelity(average, n_qubits), p, atol=TOLERANCE)


def test_operations_outside_their_domain_are_refused() -> None:
    for name, value in (("one_qubit_depolarising", 1.1), ("two_qubit_depolarising", -0.1), ("readout_error", 0.6)):
        with pytest.raises(DomainError, match=name):
            LocalOperations(**{name: value})


@pytest.mark.parametrize("seed", SEEDS)
def test_pauli_memories_match_random_paulis_on_both_halves(seed: int) -> None:
    """Each Pauli strikes at its own Poisson rate g: an odd number of times with probability (1 - exp(-2 g t))/2."""
    rng = np.random.default_rng(seed)
    weights, elapsed, rates = rng.dirichlet(np.ones(4)), rng.uniform(0.1, 1.0), rng.uniform(0, 1, (2, 3))
    register = pairs(weights)
    for half in (0, 1):
        for pauli, rate in zip((X, Y, Z), rates[half], strict=True):
            odd = (1 - np.exp(-2 * rate * elapsed)) / 2
            register = register.kraus([np.sqrt(1 - odd) * IDENTITY, np.sqrt(odd) * pauli], half)
    stored = physics.pauli_memory(weights, elapsed, *rates)
    np.testing.assert_allclose(stored, bell_weights(register.keep(0, 1)), atol=TOLERANCE)


@repeatable
@given(states(), st.floats(0.0, 5.0), st.floats(0.1, 10.0), st.floats(0.1, 10.0))
def test_known_memories_are_pauli_memories(a: Weights, elapsed: float, time_a: float, time_b: float) -> None:
    for direct, rates in (
        (physics.depolarise_bell_diagonal, physics.depolarising_rates_hz),
        (physics.dephase_bell_diagonal, physics.dephasing_rates_hz),
    ):
        expected = direct(a, elapsed, time_a, time_b)
        np.testing.assert_allclose(
            physics.pauli_memory(a, elapsed, rates(time_a), rates(time_b)), expected, atol=TOLERANCE
        )


def test_phi_plus_in_a_pauli_memory() -> None:
    x, y, z, t = 0.3, 0.2, 0.5, 0.7
    stored = physics.pauli_memory([1, 0, 0, 0], t, [x, y, z], np.zeros(3))
    expected = (1 + np.exp(-2 * (x + y) * t) + np.exp(-2 * (x + z) * t) + np.exp(-2 * (y + z) * t)) / 4
    np.testing.assert_allclose(stored[0], expected, atol=TOLERANCE)


def relaxation_kraus(elapsed: float, memory: RelaxingMemory) -> list[Complex]:
    """Amplitude damping, then the dephasing that is left to reach T2."""
    t1, t2 = float(memory.relaxation_time_s), float(memory.dephasing_time_s)
    lost = 1 - np.exp(-elapsed / t1)
    odd = (1 - np.exp(-elapsed / t2 + elapsed / (2 * t1))) / 2
    damping = [np.diag([1, np.sqrt(1 - lost)]).astype(complex), np.array([[0, np.sqrt(lost)], [0, 0]], dtype=complex)]
    return [flip @ k for k in damping for flip in (np.sqrt(1 - odd) * IDENTITY, np.sqrt(odd) * Z)]


def random_memory(rng: np.random.Generator) -> RelaxingMemory:
    t1 = rng.uniform(0.3, 3.0)
    return RelaxingMemory(relaxation_time_s=t1, dephasing_time_s=t1 * rng.uniform(0.1, 2.0))


@pytest.mark.parametrize("seed", SEEDS)
def test_relaxing_memories_match_kraus_operators(seed: int) -> None:
    rng = np.random.default_rng(seed)
    weights, elapsed, memories = rng.dirichlet(np.ones(4)), rng.uniform(0.1, 2.0), [random_memory(rng) for _ in "ab"]
    register = pairs(weights)
    for half, memory in enumerate(memories):
        register = register.kraus(relaxation_kraus(elapsed, memory), half)
    rho = register.keep(0, 1)
    np.testing.assert_allclose(physics.relax_density_matrix(weights, elapsed, *memories), rho, atol=TOLERANCE)
    on_bell_states = [(b.conj() @ rho @ b).real for b in BELL]
    np.testing.assert_allclose(physics.relax_bell_diagonal(weights, elapsed, *memories), on_bell_states, atol=TOLERANCE)


@pytest.mark.parametrize("seed", SEEDS)
def test_twirled_relaxation_is_its_pauli_memory(seed: int) -> None:
    """Averaging the channel over Paulis before and after leaves the Pauli memory with the stated rates."""
    rng = np.random.default_rng(seed)
    weights, elapsed, memory = rng.dirichlet(np.ones(4)), rng.uniform(0.1, 2.0), random_memory(rng)
    twirled = [p @ k @ p / 2 for p in PAULIS for k in relaxation_kraus(elapsed, memory)]
    expected = bell_weights(pairs(weights).kraus(twirled, 0).keep(0, 1))
    stored = physics.pauli_memory(weights, elapsed, memory.pauli_rates_hz, np.zeros(3))
    np.testing.assert_allclose(stored, expected, atol=TOLERANCE)


def test_relaxation_closed_forms_and_limits() -> None:
    """One half of Phi+: (1 + e1 + 2 e2)/4; both: (1 - e1 + e1^2 + e2^2)/2, which tends to 1/2."""
    memory, forever = RelaxingMemory(relaxation_time_s=2.0, dephasing_time_s=1.5), RelaxingMemory()
    e1, e2 = np.exp(-0.8 / 2.0), np.exp(-0.8 / 1.5)
    one = physics.relax_bell_diagonal([1, 0, 0, 0], 0.8, memory, forever)
    both = physics.relax_bell_diagonal([1, 0, 0, 0], [0.8, 1e4], memory, memory)
    np.testing.assert_allclose(one[0], (1 + e1 + 2 * e2) / 4, atol=TOLERANCE)
    np.testing.assert_allclose(both[:, 0], [(1 - e1 + e1**2 + e2**2) / 2, 0.5], atol=TOLERANCE)
    assert physics.pauli_memory([1, 0, 0, 0], 0.8, memory.pauli_rates_hz, memory.pauli_rates_hz)[0] < both[0, 0]
    with pytest.raises(DomainError, match="twice"):
        RelaxingMemory(relaxation_time_s=1.0, dephasing_time_s=2.1)


def test_memories_without_relaxation_dephase() -> None:
    memory = RelaxingMemory(dephasing_time_s=0.7)
    weights = np.array([0.8, 0.1, 0.06, 0.04])
    np.testing.assert_allclose(
        physics.relax_bell_diagonal(weights, 0.4, memory, memory),
        physics.dephase_bell_diagonal(weights, 0.4, 0.7, 0.7),
        atol=TOLERANCE,
    )


@repeatable
@given(st.floats(0.55, 1.0), st.floats(0.5, 0.99), st.floats(0.01, 100.0), st.floats(0.01, 100.0))
def test_cutoffs_end_at_the_minimum_fidelity(fidelity: float, minimum: float, time_a: float, time_b: float) -> None:
    pair = physics.werner_bell_diagonal(physics.fidelity_to_werner(fidelity))
    memory_a = RelaxingMemory(relaxation_time_s=time_a, dephasing_time_s=time_a)
    memory_b = RelaxingMemory(relaxation_time_s=time_b, dephasing_time_s=2 * time_b)
    rates = memory_a.pauli_rates_hz, memory_b.pauli_rates_hz
    depolarising = physics.depolarising_rates_hz(time_a), physics.depolarising_rates_hz(time_b)
    exact = physics.storage_cutoff_s(physics.fidelity_to_werner(fidelity), minimum, time_a, time_b)
    np.testing.assert_allclose(physics.pauli_cutoff_s(pair, minimum, *depolarising), exact, rtol=1e-9, atol=1e-12)
    cutoff = physics.pauli_cutoff_s(pair, minimum, *rates)
    relaxed = physics.relaxation_cutoff_s(pair, minimum, memory_a, memory_b)
    attempts = physics.attempt_cutoff(pair, minimum, 0.01)
    if fidelity < minimum:
        assert cutoff == relaxed == attempts == 0.0
        return
    np.testing.assert_allclose(physics.pauli_memory(pair, cutoff, *rates)[0], minimum, atol=1e-9)
    assert relaxed >= cutoff * (1 - 1e-9)
    if np.isfinite(relaxed):
        np.testing.assert_allclose(
            physics.relax_bell_diagonal(pair, relaxed, memory_a, memory_b)[0], minimum, atol=1e-9
        )
    if np.isfinite(attempts):
        np.testing.assert_allclose(physics.dephase_by_attempts(pair, attempts, 0.01)[0], minimum, atol=1e-9)


def test_cutoffs_that_never_come() -> None:
    """Dephasing alone leaves Phi+ at 1/2 at least, and so does nothing at all."""
    forever = physics.pauli_cutoff_s([1, 0, 0, 0], [0.5, 0.6], np.zeros(3), np.zeros(3))
    np.testing.assert_array_equal(forever, np.inf)
    assert physics.pauli_cutoff_s([1, 0, 0, 0], 0.5, [0, 0, 1.0], np.zeros(3)) == np.inf
    np.testing.assert_array_equal(
        physics.relaxation_cutoff_s([1, 0, 0, 0], [0.5, 0.9], RelaxingMemory(), RelaxingMemory()), np.inf
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_attempts_dephase_the_stored_half(seed: int) -> None:
    rng = np.random.default_rng(seed)
    weights, probability = rng.dirichlet(np.ones(4)), rng.uniform(0, 0.5)
    register = pairs(weights)
    for _ in range(7):
        register = register.kraus([np.sqrt(1 - probability) * IDENTITY, np.sqrt(probability) * Z], 1)
    stored = physics.dephase_by_attempts(weights, 7, probability)
    np.testing.assert_allclose(stored, bell_weights(register.keep(0, 1)), atol=TOLERANCE)


def test_mean_coherence_after_attempts_until_success_is_the_series() -> None:
    n = np.arange(1, 4000)
    series = np.sum(0.02 * 0.98 ** (n - 1) * (1 - 2 * 0.003) ** n)
    np.testing.assert_allclose(physics.expected_attempt_coherence(0.003, 0.02), series, rtol=1e-12)


@repeatable
@given(states(), states())
def test_correlators_multiply_in_a_swap_and_convert_back(a: Weights, b: Weights) -> None:
    c = physics.bell_diagonal_to_correlators(a)
    np.testing.assert_allclose(physics.correlators_to_bell_diagonal(c), a, atol=TOLERANCE)
    np.testing.assert_allclose((1 + c.sum()) / 4, a[0], atol=TOLERANCE)
    product = physics.correlators_to_bell_diagonal(c * physics.bell_diagonal_to_correlators(b))
    np.testing.assert_allclose(product, physics.swap_bell_diagonal(a, b), atol=TOLERANCE)


def test_correlators_are_expectations_and_are_checked() -> None:
    weights = np.array([0.7, 0.15, 0.05, 0.1])
    rho = mixture(weights)
    expected = [sign * np.trace(rho @ np.kron(p, p)).real for sign, p in ((1, X), (-1, Y), (1, Z))]
    np.testing.assert_allclose(physics.bell_diagonal_to_correlators(weights), expected, atol=TOLERANCE)
    with pytest.raises(DomainError, match="weight"):
        physics.correlators_to_bell_diagonal([1.0, 1.0, -1.0])
    with pytest.raises(DomainError, match="shape"):
        physics.correlators_to_bell_diagonal([1.0, 1.0])


def test_arrays_of_pairs_and_of_nodes_broadcast() -> None:
    """Five pairs, each with its own first end, and a second end that all share, one by one and all at once."""
    rng = np.random.default_rng(4)
    kept, sacrificed = rng.dirichlet(np.ones(4), 5), rng.dirichlet(np.ones(4), 5)
    first = [random_operations(rng) for _ in range(5)]
    shared = LocalOperations(one_qubit_depolarising=0.02, two_qubit_depolarising=0.03, readout_error=0.01)
    many = LocalOperations(
        one_qubit_depolarising=np.array([node.one_qubit_depolarising for node in first]),
        two_qubit_depolarising=np.array([node.two_qubit_depolarising for node in first]),
        readout_error=0.05,
    )
    single = [
        LocalOperations(
            one_qubit_depolarising=node.one_qubit_depolarising,
            two_qubit_depolarising=node.two_qubit_depolarising,
            readout_error=0.05,
        )
        for node in first
    ]
    together = physics.purify(kept, sacrificed, operations_a=many, operations_b=shared)
    ladder = physics.recurrence(kept[0], 2, operations_a=many, operations_b=shared)
    channel = physics.teleported_cnot_pauli_channel(kept, many, shared)
    teleported = physics.teleported_qubit_channel(kept, many)
    assert ladder.bell_diagonal.shape == (3, 5, 4)
    assert ladder.pairs_consumed.shape == (3, 5)
    for i, node in enumerate(single):
        alone = physics.purify(kept[i], sacrificed[i], operations_a=node, operations_b=shared)
        np.testing.assert_allclose(together.bell_diagonal[i], alone.bell_diagonal, atol=TOLERANCE)
        np.testing.assert_allclose(together.success_probability[i], alone.success_probability, atol=TOLERANCE)
        steps = physics.recurrence(kept[0], 2, operations_a=node, operations_b=shared)
        np.testing.assert_allclose(ladder.bell_diagonal[:, i], steps.bell_diagonal, atol=TOLERANCE)
        expected = physics.teleported_cnot_pauli_channel(kept[i], node, shared)
        np.testing.assert_allclose(channel[i], expected, atol=TOLERANCE)
        np.testing.assert_allclose(teleported[i], physics.teleported_qubit_channel(kept[i], node), atol=TOLERANCE)


def test_arrays_of_memories_broadcast() -> None:
    """Cutoffs for three minimum fidelities by two memories, one by one and all at once."""
    times = np.array([0.5, 2.0])
    memory = RelaxingMemory(relaxation_time_s=times, dephasing_time_s=times)
    pair, minimum = np.array([0.9, 0.05, 0.03, 0.02]), np.array([0.55, 0.7, 0.95])
    together = physics.relaxation_cutoff_s(pair, minimum[:, None], memory, RelaxingMemory())
    twirled = physics.pauli_cutoff_s(pair, minimum[:, None], memory.pauli_rates_hz, np.zeros(3))
    assert together.shape == twirled.shape == (3, 2)
    for i, j in np.ndindex(3, 2):
        alone = RelaxingMemory(relaxation_time_s=times[j], dephasing_time_s=times[j])
        np.testing.assert_allclose(
            together[i, j], physics.relaxation_cutoff_s(pair, minimum[i], alone, RelaxingMemory()), rtol=1e-9
        )
        np.testing.assert_allclose(
            twirled[i, j], physics.pauli_cutoff_s(pair, minimum[i], alone.pauli_rates_hz, np.zeros(3)), rtol=1e-9
        )
