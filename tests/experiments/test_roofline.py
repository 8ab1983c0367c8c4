"""What noisy work needs, against dense operators; and that rates are such."""

from functools import reduce

import numpy as np
import numpy.typing as npt
import pytest

from ceas.experiments.roofline import measure_rates, needed_work

Matrix = npt.NDArray[np.complex128]

PAULIS = [np.eye(2), np.array([[0, 1], [1, 0]]), np.array([[0, -1j], [1j, 0]]), np.diag([1, -1])]


def kron(matrices: list[Matrix]) -> Matrix:
    return reduce(np.kron, matrices)


def cnot(n: int, control: int, target: int) -> Matrix:
    projectors = [np.diag([1, 0]), np.diag([0, 1])]
    on = [kron([projectors[bit] if q == control else np.eye(2) for q in range(n)]) for bit in (0, 1)]
    flip = kron([PAULIS[1] if q == target else np.eye(2) for q in range(n)])
    return on[0] + on[1] @ flip


def strings_seen(n: int, n_layers: int) -> list[npt.NDArray[np.bool_]]:
    """Return which strings have a coefficient after each layer, from Z of qubit 0 and angles without symmetry."""
    rng = np.random.default_rng(5)
    strings = [kron([PAULIS[digit] for digit in np.unravel_index(index, (4,) * n)]) for index in range(4**n)]
    operator = kron([PAULIS[3], *[np.eye(2)] * (n - 1)])
    seen = []
    for _ in range(n_layers):
        for q in reversed(range(n)):
            unitary = cnot(n, q, (q + 1) % n)
            operator = unitary.T @ operator @ unitary
        turns = []
        for ry, rz in rng.uniform(0.3, 1.2, (n, 2)) / 2:
            y = np.cos(ry) * np.eye(2) - 1j * np.sin(ry) * PAULIS[2]
            z = np.cos(rz) * np.eye(2) - 1j * np.sin(rz) * PAULIS[3]
            turns.append(z @ y)
        unitary = kron(turns)
        operator = unitary.conj().T @ operator @ unitary
        seen.append(np.array([abs(np.trace(string @ operator)) / 2**n > 1e-9 for string in strings]))
    return seen


@pytest.mark.parametrize(("n", "n_layers"), [(2, 1), (2, 3), (3, 1), (3, 2)])
def test_live_strings_are_those_with_a_coefficient(n: int, n_layers: int) -> None:
    seen = strings_seen(n, n_layers)
    n_live = sum(int(one.sum()) for one in seen)
    has_y = np.array([2 in np.unravel_index(index, (4,) * n) for index in range(4**n)])
    n_visible = int((seen[-1] & ~has_y).sum())
    bare, sampled = needed_work(n, n_layers, 0), needed_work(n, n_layers, 16)
    assert bare.held_bytes == 4 * n_live
    assert bare.moved_bytes == 4 * 5 * n_live
    assert sampled.held_bytes - bare.held_bytes == 4 * 16 * n_visible
    assert sampled.moved_bytes - bare.moved_bytes == 4 * 2 * 16 * n_visible
    assert sampled.flops - bare.flops == 4 * 16 * n_visible


def test_one_layer_of_two_qubits_by_hand() -> None:
    """The ring takes Z0 back to Z0 Z1 (second CNOT) and to Z1 (first).

    Two factors for one string; then RY of qubit 1 finds one live string of a pair, the other angles none.
    """
    assert needed_work(2, 1, 0).flops == 2 + 9


def test_rates_are_positive_and_memory_has_one_for_each_size() -> None:
    rates = measure_rates([1e4, 1e6], product_size=32)
    assert rates.flops_per_s > 1e6
    assert len(rates.bytes_per_s) == 2
    assert min(rates.bytes_per_s) > 1e5
    assert rates.platform
