"""Heralding against an oracle that follows two bosons, mode by mode, through the midpoint station.

The oracle writes the photon of each node as a vector over single-photon modes (place, window, inner state), where the
places are the two detectors and the two fibres' losses. Two bosons are the symmetrised product of their vectors. A
detection pattern has a probability for each pair of positions, because detectors resolve neither number nor inner
state; the qubits' state after the pattern is the sum over final positions. Nothing but the beam splitter and the
meaning of "one click in each window" is put in.
"""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ceas import physics
from ceas.errors import DomainError

Complex = NDArray[np.complex128]
repeatable = settings(deadline=None, derandomize=True)
BELL = np.array([[1, 0, 0, 1], [0, 1, 1, 0], [0, 1, -1, 0], [1, 0, 0, -1]]) / np.sqrt(2)  # I, X, Y, Z up to phases
Z_ON_SECOND, X_ON_SECOND = np.diag([1, -1, 1, -1]), np.kron(np.eye(2), [[0, 1], [1, 0]])


def single_photon(node: int, window: int, eta: float, visibility: float) -> Complex:
    """Amplitudes (place, window, inner state) of one node's photon behind the beam splitter."""
    places = (
        np.sqrt([eta / 2, eta / 2, 1 - eta, 0])
        if node == 0
        else np.sqrt([eta / 2, eta / 2, 0, 1 - eta]) * [1, -1, 1, 1]
    )
    inner = [1.0, 0.0] if node == 0 else np.sqrt([visibility, 1 - visibility])
    amplitudes = np.zeros((4, 2, 2), dtype=complex)
    amplitudes[:, window, :] = np.outer(places, inner)
    return amplitudes.reshape(-1)


def pattern_probability(pattern: tuple[int, ...], dark: float) -> NDArray[np.float64]:
    """Chance of the pattern (detector in the early, in the late window) for each pair of single-photon modes."""
    modes = list(itertools.product(range(4), range(2), range(2)))
    table = np.ones((16, 16))
    for (i, first), (j, second) in itertools.product(enumerate(modes), repeat=2):
        for window, detector in itertools.product(range(2), range(2)):
            lit = (detector, window) in {first[:2], second[:2]}
            clicks = 1.0 if lit else dark
            table[i, j] *= clicks if pattern[window] == detector else 1.0 - clicks
    return table


def oracle(eta: float, dark: float, visibility: float) -> tuple[float, NDArray[np.float64]]:
    """Herald probability and Bell-diagonal weights after correction; fails when the state is not Bell-diagonal."""
    amplitudes = np.zeros((4, 16, 16), dtype=complex)
    for qubits, (a, b) in enumerate(itertools.product((0, 1), repeat=2)):
        # |1> emits in the early window 0, |0> in the late window 1.
        u, v = single_photon(0, 1 - a, eta, visibility), single_photon(1, 1 - b, eta, visibility)
        amplitudes[qubits] = (np.outer(u, v) + np.outer(v, u)) / (2 * np.sqrt(2))
    total = np.zeros((4, 4), dtype=complex)
    for pattern in itertools.product((0, 1), repeat=2):
        rho = np.einsum("pij,qij->pq", amplitudes * pattern_probability(pattern, dark), amplitudes.conj())
        correction = X_ON_SECOND if pattern[0] == pattern[1] else X_ON_SECOND @ Z_ON_SECOND
        total += correction @ rho @ correction.T
    probability = float(np.trace(total).real)
    rho = total / probability
    weights = np.array([(bell @ rho @ bell).real for bell in BELL])
    np.testing.assert_allclose(rho, np.einsum("i,ij,ik->jk", weights, BELL, BELL), atol=1e-12)
    return probability, weights


def link(eta: float, dark: float, visibility: float) -> physics.HeraldedLink:
    """Heralding with detection probability eta and no fibre."""
    return physics.herald_double_click(
        0.0,
        attenuation_db_per_km=0.2,
        device_efficiency=eta,
        dark_count_probability=dark,
        visibility=visibility,
        preparation_time_s=1e-5,
        multiplexing=1,
    )


@pytest.mark.parametrize("visibility", [0.0, 0.37, 0.96, 1.0])
@pytest.mark.parametrize("dark", [0.0, 1e-6, 1e-2, 0.4])
@pytest.mark.parametrize("eta", [1e-3, 0.1, 0.5, 1.0])
def test_heralding_matches_two_bosons_at_the_station(eta: float, dark: float, visibility: float) -> None:
    probability, weights = oracle(eta, dark, visibility)
    heralded = link(eta, dark, visibility)
    np.testing.assert_allclose(heralded.success_probability, probability, rtol=1e-12)
    np.testing.assert_allclose(heralded.bell_diagonal, weights, atol=1e-12)
    np.testing.assert_allclose(heralded.initial_werner, (4 * weights[0] - 1) / 3, atol=1e-12)


@repeatable
@given(st.floats(1e-4, 1.0), st.floats(0.0, 1.0))
def test_without_dark_counts_every_herald_is_true_and_the_pair_is_dephased(eta: float, visibility: float) -> None:
    heralded = link(eta, 0.0, visibility)
    np.testing.assert_allclose(heralded.success_probability, eta**2 / 2, rtol=1e-12)
    np.testing.assert_allclose(heralded.true_herald_probability, eta**2 / 2, rtol=1e-12)
    np.testing.assert_allclose(heralded.bell_diagonal, [(1 + visibility) / 2, 0, 0, (1 - visibility) / 2], atol=1e-12)
    np.testing.assert_allclose(heralded.initial_werner, (1 + 2 * visibility) / 3, atol=1e-12)


def test_without_photons_heralds_are_dark_counts_and_the_pair_is_noise() -> None:
    heralded = link(1e-12, 1e-3, 1.0)
    np.testing.assert_allclose(heralded.success_probability, 4 * (1e-3 * (1 - 1e-3)) ** 2, rtol=1e-6)
    np.testing.assert_allclose(heralded.initial_werner, 0.0, atol=1e-6)


@repeatable
@given(st.floats(0.01, 1.0), st.floats(1e-9, 1e-2), st.floats(0.0, 1.0))
def test_dark_counts_and_loss_never_raise_the_fidelity(eta: float, dark: float, visibility: float) -> None:
    fidelity = link(eta, dark, visibility).bell_diagonal[0]
    assert fidelity <= link(eta, 0.0, visibility).bell_diagonal[0] + 1e-12
    assert link(eta / 2, dark, visibility).bell_diagonal[0] <= fidelity + 1e-12


@repeatable
@given(st.floats(1e-4, 1.0), st.floats(0.0, 0.9), st.floats(0.0, 1.0))
def test_weights_are_probabilities_and_true_heralds_a_part_of_all(eta: float, dark: float, visibility: float) -> None:
    heralded = link(eta, dark, visibility)
    np.testing.assert_allclose(heralded.bell_diagonal.sum(), 1.0, atol=1e-12)
    assert heralded.bell_diagonal.min() >= -1e-15
    assert 0.0 < heralded.true_herald_probability <= heralded.success_probability * (1 + 1e-12)
    assert heralded.success_probability <= 1.0


def test_fibre_transmission_golden_values() -> None:
    np.testing.assert_allclose(
        physics.fibre_transmission([0.0, 40.0, 50.0], [0.25, 0.25, 0.2]), [1.0, 0.1, 0.1], rtol=1e-15
    )


def test_timing_and_loss_of_a_fibre_link() -> None:
    """40 km at 0.25 dB/km: each arm passes sqrt(0.1); an attempt is two rounds of preparation and 200 us of flight."""
    heralded = physics.herald_double_click(
        40.0,
        attenuation_db_per_km=0.25,
        device_efficiency=0.3,
        dark_count_probability=0.0,
        visibility=0.96,
        preparation_time_s=50e-6,
        multiplexing=64,
    )
    np.testing.assert_allclose(heralded.success_probability, 0.3**2 * 0.1 / 2, rtol=1e-12)
    np.testing.assert_allclose(heralded.attempt_period_s, 2 * 250e-6 / 64, rtol=1e-12)
    np.testing.assert_allclose(heralded.herald_delay_s, 450e-6, rtol=1e-12)
    np.testing.assert_allclose(heralded.latency_s, 200e-6, rtol=1e-12)


def test_heralding_broadcasts_over_links() -> None:
    heralded = physics.herald_double_click(
        [[1.0], [2.0]],
        attenuation_db_per_km=0.2,
        device_efficiency=0.5,
        dark_count_probability=[0.0, 1e-6, 1e-5],
        visibility=0.9,
        preparation_time_s=1e-6,
        multiplexing=2,
    )
    assert heralded.bell_diagonal.shape == (2, 3, 4)
    for name in ("success_probability", "true_herald_probability", "initial_werner", "attempt_period_s", "latency_s"):
        assert getattr(heralded, name).shape == (2, 3)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("distance_km", -1.0),
        ("attenuation_db_per_km", np.nan),
        ("device_efficiency", 0.0),
        ("device_efficiency", 1.1),
        ("dark_count_probability", 1.0),
        ("dark_count_probability", -0.1),
        ("visibility", 1.5),
        ("preparation_time_s", -1.0),
        ("multiplexing", 0),
        ("speed_of_light_km_per_s", 0.0),
    ],
)
def test_arguments_outside_their_range_are_refused_by_name(name: str, value: float) -> None:
    arguments = {
        "distance_km": 1.0,
        "attenuation_db_per_km": 0.2,
        "device_efficiency": 0.3,
        "dark_count_probability": 1e-6,
        "visibility": 0.9,
        "preparation_time_s": 1e-5,
        "multiplexing": 1,
    } | {name: value}
    with pytest.raises(DomainError, match=f"Argument `{name}` must be "):
        physics.herald_double_click(**arguments)  # type: ignore[arg-type]


def test_a_link_that_never_heralds_or_takes_no_time_is_refused() -> None:
    with pytest.raises(DomainError, match="never heralds"):
        physics.herald_double_click(
            1e6,
            attenuation_db_per_km=0.2,
            device_efficiency=0.3,
            dark_count_probability=0.0,
            visibility=0.9,
            preparation_time_s=1e-5,
            multiplexing=1,
        )
    with pytest.raises(DomainError, match="`preparation_time_s` must be positive on a link of length 0"):
        physics.herald_double_click(
            0.0,
            attenuation_db_per_km=0.2,
            device_efficiency=0.3,
            dark_count_probability=0.0,
            visibility=0.9,
            preparation_time_s=0.0,
            multiplexing=1,
        )
