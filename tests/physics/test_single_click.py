"""Single-click heralding against an oracle in Fock space, and the choice of the bright state.

The oracle writes the photons' state as a polynomial in creation operators of eight modes, (detector or lost, inner
state) with a lost photon marked by its node, expands it in occupation numbers, and sums over all of them with the
chance of one click. Nothing but the beam splitter and the meaning of one click is put in.
"""

import itertools
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ceas import physics
from ceas.errors import DomainError

Weights = NDArray[np.float64]
repeatable = settings(deadline=None, derandomize=True, max_examples=50)
BELL = np.array([[1, 0, 0, 1], [0, 1, 1, 0], [0, 1, -1, 0], [1, 0, 0, -1]]) / np.sqrt(2)  # I, X, Y, Z up to phases
X_ON_SECOND, Z_ON_SECOND = np.kron(np.eye(2), [[0, 1], [1, 0]]), np.diag([1, -1, 1, -1])

Modes = dict[tuple[str, int], complex]
Occupation = tuple[tuple[tuple[str, int], int], ...]


def emitted(node: int, eta: float, visibility: float, phase: float) -> Modes:
    """Amplitudes of one node's photon behind its fibre and the beam splitter."""
    sign = 1 if node == 0 else -1
    inner = (1.0, 0.0) if node == 0 else (np.sqrt(visibility), np.sqrt(1 - visibility))
    modes: Modes = {}
    for state, amplitude in enumerate(inner):
        turned = amplitude * np.exp(1j * phase * node)
        modes["plus", state] = turned * np.sqrt(eta / 2)
        modes["minus", state] = sign * turned * np.sqrt(eta / 2)
        modes[f"lost by {node}", state] = turned * np.sqrt(1 - eta)
    return modes


def fock(photons: list[Modes]) -> dict[Occupation, complex]:
    """Amplitudes of the occupation numbers of a product of single-photon creation operators on the vacuum."""
    amplitudes: dict[Occupation, complex] = defaultdict(complex)
    for combination in itertools.product(*(photon.items() for photon in photons)):
        counts: dict[tuple[str, int], int] = defaultdict(int)
        amplitude: complex = 1.0
        for mode, factor in combination:
            counts[mode] += 1
            amplitude *= factor
        # (a*)^n |0> = sqrt(n!) |n>; no mode holds more than two photons here.
        amplitude *= np.sqrt(2.0) ** sum(n == 2 for n in counts.values())
        amplitudes[tuple(sorted(counts.items()))] += amplitude
    return amplitudes


def click_probability(occupation: Occupation, detector: str, dark: float, *, resolving: bool) -> float:
    """Chance that `detector` clicks, or counts exactly one, and the other stays silent."""
    photons = {name: sum(n for (place, _), n in occupation if place == name) for name in ("plus", "minus")}
    here, there = photons.pop(detector), next(iter(photons.values()))
    silent = (1 - dark) if there == 0 else 0.0
    if resolving:
        return silent * {0: dark, 1: 1 - dark}.get(here, 0.0)
    return silent * (dark if here == 0 else 1.0)


def oracle(
    bright: tuple[float, float],
    eta: tuple[float, float],
    dark: float,
    visibility: float,
    *,
    resolving: bool,
    phase: float,
) -> tuple[float, Weights]:
    """Herald probability and Bell-diagonal weights after correction."""
    states = []
    for a, b in itertools.product((0, 1), repeat=2):
        weight = np.sqrt((bright[0] if a else 1 - bright[0]) * (bright[1] if b else 1 - bright[1]))
        photons = [emitted(node, eta[node], visibility, phase) for node, on in enumerate((a, b)) if on]
        states.append({occupation: weight * x for occupation, x in fock(photons).items()})
    total = np.zeros((4, 4), dtype=complex)
    for detector in ("plus", "minus"):
        rho = np.zeros((4, 4), dtype=complex)
        for occupation in set().union(*states):
            psi = np.array([state.get(occupation, 0.0) for state in states])
            chance = click_probability(occupation, detector, dark, resolving=resolving)
            rho += chance * np.outer(psi, psi.conj())
        correction = X_ON_SECOND if detector == "plus" else X_ON_SECOND @ Z_ON_SECOND
        total += correction @ rho @ correction.T
    probability = float(np.trace(total).real)
    return probability, np.array([(b @ total @ b).real for b in BELL]) / probability


def link(bright: float, eta: float, dark: float, visibility: float, **more: object) -> physics.HeraldedLink:
    return physics.herald_single_click(
        0.0,
        bright_state_probability=bright,
        attenuation_db_per_km=0.2,
        device_efficiency=eta,
        dark_count_probability=dark,
        visibility=visibility,
        preparation_time_s=1e-5,
        **more,
    )


@pytest.mark.parametrize("resolving", [False, True])
@pytest.mark.parametrize("visibility", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("dark", [0.0, 1e-5, 0.2])
@pytest.mark.parametrize("eta", [(1.0, 1.0), (0.3, 0.3), (0.8, 0.05)])
@pytest.mark.parametrize("bright", [(0.5, 0.5), (0.1, 0.4), (0.01, 0.01)])
def test_heralding_matches_photons_in_fock_space(
    bright: tuple[float, float], eta: tuple[float, float], dark: float, *, visibility: float, resolving: bool
) -> None:
    probability, weights = oracle(bright, eta, dark, visibility, resolving=resolving, phase=0.0)
    heralded = link(
        bright[0],
        eta[0],
        dark,
        visibility,
        bright_state_probability_b=bright[1],
        device_efficiency_b=eta[1],
        number_resolving=resolving,
    )
    np.testing.assert_allclose(heralded.success_probability, probability, rtol=1e-12)
    np.testing.assert_allclose(heralded.bell_diagonal, weights, atol=1e-12)


def test_phase_errors_are_averaged_over_a_normal_distribution() -> None:
    """Gauss-Hermite quadrature with 40 nodes over the phase of one arm."""
    spread = 0.4
    nodes, quadrature = np.polynomial.hermite_e.hermegauss(40)
    expected = np.zeros(4)
    for node, weight in zip(nodes, quadrature / quadrature.sum(), strict=True):
        expected += weight * oracle((0.2, 0.2), (0.4, 0.4), 1e-3, 0.9, resolving=False, phase=spread * node)[1]
    np.testing.assert_allclose(link(0.2, 0.4, 1e-3, 0.9, phase_error_rad=spread).bell_diagonal, expected, atol=1e-10)


@repeatable
@given(st.floats(1e-3, 0.999), st.floats(1e-4, 1.0))
def test_closed_forms_without_dark_counts(bright: float, eta: float) -> None:
    resolving, threshold = link(bright, eta, 0.0, 1.0, number_resolving=True), link(bright, eta, 0.0, 1.0)
    np.testing.assert_allclose(resolving.success_probability, 2 * bright * eta * (1 - bright * eta), rtol=1e-10)
    np.testing.assert_allclose(resolving.bell_diagonal[0], (1 - bright) / (1 - bright * eta), rtol=1e-10)
    np.testing.assert_allclose(threshold.success_probability, 2 * bright * eta - (bright * eta) ** 2, rtol=1e-10)
    np.testing.assert_allclose(threshold.bell_diagonal[0], 2 * (1 - bright) / (2 - bright * eta), rtol=1e-10)


def test_golden_value_and_limits() -> None:
    """a = 0.1, eta = 0.1: p 0.0199, F 0.9045 (threshold); no photons: F = 1/4 and 4 weights alike only for a = 1/2."""
    heralded = link(0.1, 0.1, 0.0, 1.0)
    np.testing.assert_allclose(heralded.success_probability, 0.0199, atol=5e-5)
    np.testing.assert_allclose(heralded.bell_diagonal[0], 0.9045, atol=5e-5)
    noise = link(0.5, 1e-12, 0.1, 1.0)
    np.testing.assert_allclose(noise.bell_diagonal, 0.25, atol=1e-9)
    np.testing.assert_allclose(noise.success_probability, 2 * 0.1 * 0.9, rtol=1e-9)
    with pytest.raises(DomainError, match="never heralds"):
        link(0.0, 0.5, 0.0, 1.0)


def test_number_resolving_detectors_are_purer_and_herald_less() -> None:
    bright = np.linspace(0.05, 0.5, 10)
    resolving, threshold = link(bright, 0.7, 0.0, 0.9, number_resolving=True), link(bright, 0.7, 0.0, 0.9)
    assert np.all(resolving.bell_diagonal[:, 0] > threshold.bell_diagonal[:, 0])
    assert np.all(resolving.success_probability < threshold.success_probability)


def test_timing_and_loss_of_a_midpoint_and_of_a_station_at_one_end() -> None:
    def placed(fraction: float) -> physics.HeraldedLink:
        return physics.herald_single_click(
            40.0,
            bright_state_probability=0.1,
            attenuation_db_per_km=0.25,
            device_efficiency=0.5,
            dark_count_probability=0.0,
            visibility=1.0,
            preparation_time_s=1e-5,
            multiplexing=2,
            number_resolving=True,
            station_fraction=fraction,
        )

    middle, end = placed(0.5), placed(1.0)
    np.testing.assert_allclose(middle.attempt_period_s, (1e-5 + 2e-4) / 2)
    np.testing.assert_allclose([middle.herald_delay_s, end.herald_delay_s], [2e-4, 4e-4])
    np.testing.assert_allclose([middle.latency_s, end.latency_s], 2e-4)
    eta = 0.5 * 10 ** (-0.25 * 20 / 10)
    np.testing.assert_allclose(middle.success_probability, 2 * 0.1 * eta * (1 - 0.1 * eta))
    # All loss in one arm: its photons herald less, the other's more.
    far, near = 0.5 * 10 ** (-0.25 * 40 / 10), 0.5
    np.testing.assert_allclose(
        end.success_probability, 0.09 * (far + near) + 0.01 * (far + near - 2 * far * near), rtol=1e-12
    )


@repeatable
@given(st.floats(0.01, 0.5), st.floats(0.05, 1.0), st.floats(0.05, 1.0))
def test_balanced_bright_states_make_unlike_arms_as_good_as_can_be(bright: float, eta_a: float, eta_b: float) -> None:
    other = float(physics.balanced_bright_state(bright, eta_a, eta_b))
    assert 0.0 < other < 1.0

    def phase_weight(bright_b: float) -> float:
        heralded = link(
            bright,
            eta_a,
            0.0,
            1.0,
            bright_state_probability_b=bright_b,
            device_efficiency_b=eta_b,
            number_resolving=True,
        )
        return float(heralded.bell_diagonal[3])

    np.testing.assert_allclose(phase_weight(other), 0.0, atol=1e-12)
    assert phase_weight(other * 0.8) > 0.0


def test_double_click_beats_single_click_in_fidelity_where_detection_is_good() -> None:
    double = physics.herald_double_click(
        0.0,
        attenuation_db_per_km=0.2,
        device_efficiency=0.9,
        dark_count_probability=0.0,
        visibility=1.0,
        preparation_time_s=1e-5,
        multiplexing=1,
    )
    assert double.bell_diagonal[0] > link(0.3, 0.9, 0.0, 1.0).bell_diagonal[0]


def squared_werner(weights: Weights) -> Weights:
    return np.asarray(physics.bell_diagonal_to_werner(weights) ** 2)


def test_optimal_bright_state_is_that_of_the_calculus() -> None:
    """Number-resolving, eta -> 0: P = 2 a eta and w = (4(1 - a) - 1)/3, so a (1 - 4a/3)^2 is largest at a = 1/4."""
    best = physics.optimal_bright_state(squared_werner, lambda a: link(a, 1e-7, 0.0, 1.0, number_resolving=True))
    np.testing.assert_allclose(best.bright_state_probability, 0.25, rtol=1e-4)
    np.testing.assert_allclose(best.value_rate_hz, 2 * 0.25e-7 * (2 / 3) ** 2 / 1e-5, rtol=1e-6)


def test_optimal_bright_state_beats_every_other_on_many_links() -> None:
    """On links of 1 to 80 km with dark counts, for keys and for gradients, against 2,000 candidates each."""
    distance = np.array([1.0, 20.0, 80.0])

    def herald(bright: NDArray[np.float64]) -> physics.HeraldedLink:
        return physics.herald_single_click(
            distance,
            bright_state_probability=bright,
            attenuation_db_per_km=0.25,
            device_efficiency=0.2,
            dark_count_probability=1e-6,
            visibility=0.95,
            preparation_time_s=1e-5,
        )

    for value in (squared_werner, physics.bbm92_key_fraction):
        best = physics.optimal_bright_state(value, herald)
        assert best.bright_state_probability.shape == (3,)
        scan = herald(np.geomspace(1e-5, 0.5, 2000)[:, None])
        rates = value(scan.bell_diagonal) * scan.success_probability / scan.attempt_period_s
        assert np.all(best.value_rate_hz >= rates.max(axis=0) * (1 - 1e-9))
        np.testing.assert_array_equal(
            best.link.success_probability, herald(best.bright_state_probability).success_probability
        )


def test_a_link_without_value_says_so() -> None:
    best = physics.optimal_bright_state(physics.bbm92_key_fraction, lambda a: link(a, 0.1, 0.0, 0.0))
    assert best.value_rate_hz == 0.0


@repeatable
@given(st.floats(0.0, 1.0), st.integers(1, 1000))
def test_modes_multiply_the_chance(probability: float, modes: int) -> None:
    np.testing.assert_allclose(
        physics.multiplexed_probability(probability, modes), 1 - (1 - probability) ** modes, rtol=1e-9, atol=1e-12
    )
