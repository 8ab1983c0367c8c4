import jax
import numpy as np
import pytest

from ceas.errors import DomainError
from ceas.learning.angles import rotation_angles
from ceas.learning.circuits import Circuit, Gate, Term


@pytest.fixture
def circuit() -> Circuit:
    angles = (
        (Term(0.5, 0), Term(2.0, 1, (0, 2)), Term(-1.0, -1, (1,)), Term(0.25)),
        (Term(1.0, 1), Term(1.0, 1, (1, 1))),
    )
    gates = [Gate(kind="rx", qubits=(0,), angle=angle, layer=0) for angle in angles]
    gates.insert(1, Gate(kind="h", qubits=(0,), layer=0))
    return Circuit(n_qubits=1, gates=tuple(gates), n_parameters=2, n_features=3)


def test_angles_are_the_sums_of_their_terms(circuit: Circuit) -> None:
    theta, x = np.array([0.3, -0.7]), np.array([1.1, 0.4, -2.0])
    first = 0.5 * 0.3 + 2 * -0.7 * 1.1 * -2.0 - 0.4 + 0.25
    np.testing.assert_allclose(rotation_angles(circuit, theta, x), [first, -0.7 * (1 + 0.4**2)], rtol=1e-6)


def test_leading_axes_broadcast(circuit: Circuit) -> None:
    rng = np.random.default_rng(3)
    theta, x = rng.normal(size=(4, 1, 2)), rng.normal(size=(5, 3))
    angles = rotation_angles(circuit, theta, x)
    assert angles.shape == (4, 5, 2)
    np.testing.assert_allclose(angles[2, 3], rotation_angles(circuit, theta[2, 0], x[3]), rtol=1e-6, atol=1e-6)


def test_angles_differentiate_by_parameters_and_inputs(circuit: Circuit) -> None:
    theta, x = np.array([0.3, -0.7]), np.array([1.1, 0.4, -2.0])
    by_theta, by_x = jax.jacobian(rotation_angles, argnums=(1, 2))(circuit, theta, x)
    np.testing.assert_allclose(by_theta, [[0.5, 2 * 1.1 * -2.0], [0, 1 + 0.4**2]], rtol=1e-6)
    np.testing.assert_allclose(by_x, [[2 * -0.7 * -2.0, -1, 2 * -0.7 * 1.1], [0, -0.7 * 2 * 0.4, 0]], rtol=1e-6)


def test_wrong_lengths_are_refused(circuit: Circuit) -> None:
    with pytest.raises(DomainError, match="must have shapes"):
        rotation_angles(circuit, np.zeros(3), np.zeros(3))
