"""Hardware tables: validation, distribution of the draws, independence of nodes, and agreement with the physics."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ceas import physics
from ceas.errors import DomainError
from ceas.network.hardware import (
    HardwareParameters,
    LinkTable,
    NodeTable,
    draw_hardware,
    pair_rate_hz,
    squared_werner,
)
from ceas.network.topology import Topology, ring, star, surfnet

UNIFORM = HardwareParameters(
    coherence_time_spread=0.0, device_efficiency_spread=0.0, visibility_spread=0.0, gate_error_spread=0.0
)


def columns(table: NodeTable | LinkTable) -> dict[str, Any]:
    given = {name: getattr(table, name) for name in table.__slots__}
    return {name: column for name, column in given.items() if column is not None}


def test_without_spreads_all_nodes_are_the_median() -> None:
    nodes, _ = draw_hardware(ring(5, 10.0), UNIFORM, seed=3)
    assert nodes.n_nodes == 5
    assert nodes.memory_slots.dtype == np.int32
    for name in ("coherence_time_s", "memory_slots", "one_qubit_error", "two_qubit_error", "readout_error"):
        np.testing.assert_allclose(getattr(nodes, name), getattr(UNIFORM, name), rtol=1e-15)


def test_links_follow_from_fibre_and_optics() -> None:
    """10 km: eta = 0.3 * 10**(-0.125); dark counts off, so P = eta**2/2 and F = 0.98 before the wait for the herald."""
    parameters = replace(UNIFORM, dark_count_probability=0.0)
    _, links = draw_hardware(ring(5, 10.0), parameters, seed=3)
    assert links.n_links == 5
    np.testing.assert_allclose(links.success_probability, 0.3**2 * 10**-0.25 / 2, rtol=1e-12)
    np.testing.assert_array_equal(links.attempt_period_ns, round(2 * 100e-6 / 64 * 1e9))
    np.testing.assert_allclose(links.latency_s, 50e-6, rtol=1e-12)
    np.testing.assert_allclose(links.decay_rate_hz, 2.0, rtol=1e-12)
    np.testing.assert_allclose(links.initial_werner, (4 * 0.98 - 1) / 3 * np.exp(-2 * 150e-6), rtol=1e-12)
    np.testing.assert_allclose(pair_rate_hz(links), 0.3**2 * 10**-0.25 / 2 / 3125e-9, rtol=1e-12)
    dtypes = [getattr(links, name).dtype for name in ("node_a", "node_b", "attempt_period_ns")]
    assert dtypes == [np.int32, np.int32, np.int64]


def test_links_agree_with_the_physics_of_their_two_nodes() -> None:
    """The nodes' draws are repeated here from the documented streams and column order."""
    from ceas.streams import stream

    topology, parameters = surfnet(), HardwareParameters()
    nodes, links = draw_hardware(topology, parameters, seed=11)
    normals = np.array([stream(11, "hardware", node=node).standard_normal(6) for node in range(50)])
    efficiency = np.minimum(0.3 * np.exp(0.1 * normals[:, 1]), 1.0)
    visibility = 1.0 - 0.04 * np.exp(0.3 * normals[:, 2])
    for link in range(topology.n_links):
        a, b = topology.edges[link]
        heralded = physics.herald_double_click(
            topology.length_km[link],
            attenuation_db_per_km=0.25,
            device_efficiency=(efficiency[a] * efficiency[b]) ** 0.5,
            dark_count_probability=1e-6,
            visibility=(visibility[a] * visibility[b]) ** 0.5,
            preparation_time_s=50e-6,
            multiplexing=64,
        )
        np.testing.assert_allclose(links.success_probability[link], heralded.success_probability, rtol=1e-12)
        assert abs(links.attempt_period_ns[link] - heralded.attempt_period_s * 1e9) <= 0.5
        rate = 1 / nodes.coherence_time_s[a] + 1 / nodes.coherence_time_s[b]
        np.testing.assert_allclose(links.decay_rate_hz[link], rate, rtol=1e-12)
        at_herald = heralded.initial_werner * np.exp(-rate * heralded.herald_delay_s)
        np.testing.assert_allclose(links.initial_werner[link], at_herald, rtol=1e-12)


def test_spreads_are_standard_deviations_of_the_logarithm() -> None:
    """4000 nodes: mean and standard deviation of log ratios within 5.5 standard errors, false alarms < 1e-6."""
    n = 4000
    parameters = HardwareParameters(coherence_time_spread=0.3, gate_error_spread=0.5)
    nodes, _ = draw_hardware(star(n - 1, 5.0), parameters, seed=5)
    expected = {"coherence_time_s": 0.3, "one_qubit_error": 0.5, "two_qubit_error": 0.5, "readout_error": 0.5}
    for name, spread in expected.items():
        logarithm = np.log(getattr(nodes, name) / getattr(parameters, name))
        assert abs(logarithm.mean()) < 5.5 * spread / np.sqrt(n)
        assert abs(logarithm.std() - spread) < 5.5 * spread / np.sqrt(2 * n)


def test_draws_of_different_properties_are_independent() -> None:
    """Correlation of 4000 pairs of logarithms stays within 5.5 standard errors, false alarms < 1e-6."""
    nodes, _ = draw_hardware(star(3999, 5.0), HardwareParameters(), seed=5)
    names = ("coherence_time_s", "one_qubit_error", "two_qubit_error", "readout_error")
    correlation = np.corrcoef([np.log(getattr(nodes, name)) for name in names])
    assert np.abs(correlation - np.eye(4)).max() < 5.5 / np.sqrt(4000)


def test_another_node_does_not_shift_the_others() -> None:
    few, few_links = draw_hardware(star(5, 10.0), HardwareParameters(), seed=9)
    many, many_links = draw_hardware(star(6, 10.0), HardwareParameters(), seed=9)
    for name, column in columns(few).items():
        np.testing.assert_array_equal(column, getattr(many, name)[:6])
    for name, column in columns(few_links).items():
        np.testing.assert_array_equal(column, getattr(many_links, name)[:5])


def test_a_spread_changes_only_its_own_property() -> None:
    base, base_links = draw_hardware(ring(6, 10.0), HardwareParameters(), seed=9)
    other, other_links = draw_hardware(ring(6, 10.0), HardwareParameters(gate_error_spread=0.1), seed=9)
    np.testing.assert_array_equal(base.coherence_time_s, other.coherence_time_s)
    np.testing.assert_array_equal(base_links.success_probability, other_links.success_probability)
    assert not np.array_equal(base.two_qubit_error, other.two_qubit_error)


def test_seeds_repeat_and_differ() -> None:
    first, again, other = (draw_hardware(ring(6, 10.0), HardwareParameters(), seed=seed)[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.coherence_time_s, again.coherence_time_s)
    assert not np.array_equal(first.coherence_time_s, other.coherence_time_s)


def test_draws_are_capped_below_their_physical_maximum() -> None:
    parameters = HardwareParameters(
        one_qubit_error=0.5,
        two_qubit_error=0.5,
        readout_error=0.4,
        gate_error_spread=3.0,
        device_efficiency=0.9,
        device_efficiency_spread=3.0,
        visibility=0.5,
        visibility_spread=3.0,
    )
    nodes, links = draw_hardware(ring(200, 10.0), parameters, seed=1)
    assert nodes.one_qubit_error.max() < 0.75
    assert nodes.two_qubit_error.max() < 0.75
    assert nodes.readout_error.max() < 0.5
    assert links.success_probability.max() < 10**-0.25 / 2 * 1.001
    assert links.initial_werner.min() > 0.0


def test_perfect_memories_and_perfect_visibility_are_allowed() -> None:
    parameters = replace(UNIFORM, coherence_time_s=np.inf, visibility=1.0, dark_count_probability=0.0)
    _, links = draw_hardware(ring(3, 1.0), parameters, seed=1)
    np.testing.assert_array_equal(links.decay_rate_hz, 0.0)
    np.testing.assert_allclose(links.initial_werner, 1.0, atol=1e-15)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("coherence_time_s", 0.0),
        ("coherence_time_spread", -0.1),
        ("memory_slots", 0),
        ("multiplexing", 0),
        ("attenuation_db_per_km", -0.1),
        ("device_efficiency", 0.0),
        ("device_efficiency", 1.2),
        ("device_efficiency_spread", np.nan),
        ("dark_count_probability", 0.6),
        ("visibility", 1.1),
        ("visibility_spread", np.inf),
        ("preparation_time_s", -1e-6),
        ("one_qubit_error", 0.75),
        ("two_qubit_error", -0.1),
        ("readout_error", 0.5),
        ("gate_error_spread", -1.0),
    ],
)
def test_parameters_outside_their_range_are_refused_by_name(name: str, value: float) -> None:
    with pytest.raises(DomainError, match=f"Argument `{name}` must be "):
        HardwareParameters(**{name: value})  # type: ignore[arg-type]


def test_attempts_faster_than_the_clock_are_refused() -> None:
    with pytest.raises(DomainError, match="`multiplexing` must leave at least 1 ns"):
        draw_hardware(ring(3, 1.0), replace(UNIFORM, multiplexing=10**6), seed=1)


def test_tables_refuse_columns_of_different_lengths() -> None:
    nodes, links = draw_hardware(ring(3, 1.0), UNIFORM, seed=1)
    with pytest.raises(DomainError, match=r"`readout_error` must have one entry for each of `coherence_time_s`"):
        replace(nodes, readout_error=np.zeros(2))
    with pytest.raises(DomainError, match=r"`latency_s` must have one entry"):
        replace(links, latency_s=np.zeros((3, 1)))


def best_pair_rates(topology: Topology, links: LinkTable) -> Any:
    best = np.zeros(topology.n_nodes)
    for ends in (links.node_a, links.node_b):
        np.maximum.at(best, ends, pair_rate_hz(links))
    return best


def test_reference_hardware_on_surfnet_serves_every_node() -> None:
    """A shorter link is always a faster one, and every node has a link with ten pairs a second or more."""
    topology = replace(surfnet(), length_km=1.5 * surfnet().length_km)
    _, links = draw_hardware(topology, UNIFORM, seed=1)
    order = np.argsort(links.length_km)
    assert np.all(np.diff(pair_rate_hz(links)[order]) < 0)
    assert best_pair_rates(topology, links).min() > 10.0


def test_single_click_links_are_those_of_the_formula() -> None:
    topology = ring(5, 12.0)
    parameters = HardwareParameters(protocol="single_click", bright_state_probability=0.07, visibility=0.9)
    _, links = draw_hardware(topology, parameters, seed=3)
    _, double = draw_hardware(topology, HardwareParameters(visibility=0.9), seed=3)
    # One flight to the station and back, in place of two and two preparations.
    assert (links.attempt_period_ns < double.attempt_period_ns).all()
    ideal = HardwareParameters(
        protocol="single_click",
        bright_state_probability=0.07,
        device_efficiency_spread=0.0,
        visibility=1.0,
        dark_count_probability=0.0,
        coherence_time_s=float("inf"),
    )
    _, links = draw_hardware(topology, ideal, seed=3)
    eta = 0.3 * 10 ** (-0.25 * 6.0 / 10)
    np.testing.assert_allclose(links.success_probability, 2 * 0.07 * eta - (0.07 * eta) ** 2, rtol=1e-12)
    fidelity = 2 * (1 - 0.07) / (2 - 0.07 * eta)
    np.testing.assert_allclose(links.initial_werner, (4 * fidelity - 1) / 3, rtol=1e-12)


def test_links_choose_the_bright_state_that_their_use_gains_most_from() -> None:
    topology = ring(4, 25.0)
    base = {"protocol": "single_click", "coherence_time_s": float("inf"), "dark_count_probability": 0.0}

    def gain(bright: float, power: int) -> np.ndarray:
        parameters = HardwareParameters(bright_state_probability=bright, **base)  # type: ignore[arg-type]
        _, links = draw_hardware(
            topology, parameters, seed=1, pair_value=lambda weights: squared_werner(weights) ** power
        )
        return pair_rate_hz(links) * links.initial_werner ** (2 * power)

    for power in (1, 3):
        chosen = gain(0.0, power)
        assert (chosen >= np.max([gain(bright, power) for bright in np.geomspace(1e-3, 0.5, 40)], axis=0)).all()
    # Shots of three pairs want better pairs.
    werner = [
        draw_hardware(
            topology,
            HardwareParameters(**base),  # type: ignore[arg-type]
            seed=1,
            pair_value=lambda weights, power=power: squared_werner(weights) ** power,
        )[1].initial_werner
        for power in (1, 3)
    ]
    assert (werner[1] > werner[0]).all()
