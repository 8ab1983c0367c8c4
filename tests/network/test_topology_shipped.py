"""The shipped networks: sizes, lengths, losses and where they are from."""

from dataclasses import replace

import networkx as nx
import numpy as np
import pytest

from ceas.experiments.sections import TOPOLOGY_KEYS, TopologySection
from ceas.network import topology_shipped
from ceas.network.hardware import HardwareParameters, draw_hardware
from ceas.network.topology import Topology, build_topology, chicago, delft_eindhoven
from ceas.physics.heralding import herald_double_click

ALL = {name: getattr(topology_shipped, name)() for name in topology_shipped.__all__}
ZOO = {
    "belnet": (16, 17, (4.15, 39.16, 112.73)),
    "cesnet": (45, 56, (9.53, 51.85, 186.15)),
    "dfn": (47, 73, (13.29, 80.87, 396.85)),
    "garr": (36, 44, (17.56, 129.97, 584.98)),
    "janet": (23, 37, (2.77, 130.16, 296.18)),
    "renater": (37, 48, (47.23, 128.705, 392.83)),
    "geant": (37, 58, (55.27, 531.275, 3218.38)),
    "abilene": (11, 14, (263.08, 966.53, 2206.81)),
    "nsfnet": (13, 15, (278.49, 1127.30, 3293.04)),
}


@pytest.mark.parametrize("name", ZOO)
def test_zoo_networks_have_their_size_and_lengths(name: str) -> None:
    """Lengths are great circles between rounded places: the angle between unit vectors is an independent formula."""
    topology = ALL[name]
    n_nodes, n_links, lengths_km = ZOO[name]
    assert (topology.n_nodes, topology.n_links) == (n_nodes, n_links)
    found = topology.length_km.min(), np.median(topology.length_km), topology.length_km.max()
    np.testing.assert_allclose(found, lengths_km, atol=0.006)
    phi, lam = np.radians(topology.latitude_deg), np.radians(topology.longitude_deg)
    unit = np.column_stack([np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)])
    a, b = unit[topology.edges[:, 0]], unit[topology.edges[:, 1]]
    angle = np.arctan2(np.linalg.norm(np.cross(a, b), axis=1), np.sum(a * b, axis=1))
    np.testing.assert_allclose(topology.length_km, 6371.0 * angle, atol=0.0051)


@pytest.mark.parametrize("name", ALL)
def test_every_shipped_network_is_connected_and_says_where_it_is_from(name: str) -> None:
    topology = ALL[name]
    graph = nx.Graph(topology.edges.tolist())
    assert nx.is_connected(graph)
    assert graph.number_of_nodes() == topology.n_nodes
    assert len(topology.provenance) > 100
    facts = {"chicago": "arXiv:2009.12000", "delft_eindhoven": "arXiv:2207.10579"}
    assert facts.get(name, "CC-BY-4.0, doi 10.25909/30153949.v1") in topology.provenance


@pytest.mark.parametrize("name", ALL)
def test_scenarios_know_every_shipped_network_and_its_size(name: str) -> None:
    assert TOPOLOGY_KEYS[name] == {}
    assert TopologySection(kind=name).node_count == ALL[name].n_nodes
    assert build_topology(name, rng=np.random.default_rng(0)).labels == ALL[name].labels


def test_chicago_is_the_published_network() -> None:
    topology = chicago()
    label = topology.labels
    lengths = {
        frozenset((label[a], label[b])): km for (a, b), km in zip(topology.edges, topology.length_km, strict=True)
    }
    assert (topology.n_nodes, topology.n_links, topology.loss_db) == (9, 10, None)
    assert lengths[frozenset(("NU", "StarLight"))] == 20.0
    assert lengths[frozenset(("Argonne_1", "Argonne_2"))] == 41.8
    assert lengths[frozenset(("Argonne_1", "Argonne_3"))] == 0.1
    assert topology.length_km.sum() == pytest.approx(296.9)


def test_delft_eindhoven_carries_its_measured_losses() -> None:
    topology = delft_eindhoven()
    assert topology.edges.tolist() == [[0, 1], [1, 2], [2, 3], [3, 4], [4, 5]]
    assert topology.loss_db is not None
    assert (topology.length_km.sum(), topology.loss_db.sum()) == pytest.approx((226.5, 57.2))
    # The study's own rounded attenuations of four of its segments.
    attenuation = topology.attenuation_db_per_km(0.2)
    np.testing.assert_allclose(attenuation[2:], [0.325, 0.221, 0.255], atol=5e-4)
    assert np.all((attenuation > 0.22) & (attenuation < 0.36))


def test_measured_losses_grow_with_the_fibre_and_stay_with_their_links() -> None:
    built = build_topology("delft_eindhoven", rng=np.random.default_rng(0), fibre_length_factor=2.0)
    measured = delft_eindhoven()
    assert built.loss_db is not None
    assert measured.loss_db is not None
    np.testing.assert_allclose(built.loss_db, 2.0 * measured.loss_db)
    np.testing.assert_allclose(built.attenuation_db_per_km(9.0), measured.attenuation_db_per_km(9.0))


def heralded(topology: Topology) -> np.ndarray:
    hardware = HardwareParameters(
        coherence_time_spread=0.0, device_efficiency_spread=0.0, visibility_spread=0.0, attenuation_db_per_km=0.2
    )
    return draw_hardware(topology, hardware, seed=1)[1].success_probability


def test_links_herald_by_their_measured_loss_where_there_is_one() -> None:
    """The link of 68.2 km and 16.7 dB by the formula for its own attenuation, the others as fibre of 0.2 dB/km."""
    losses = np.array([np.nan, 16.7, np.nan, np.nan, np.nan])
    mixed = replace(delft_eindhoven(), loss_db=losses)
    plain = heralded(replace(mixed, loss_db=None))
    expected = herald_double_click(
        68.2,
        attenuation_db_per_km=16.7 / 68.2,
        device_efficiency=0.3,
        dark_count_probability=1e-6,
        visibility=0.96,
        preparation_time_s=50e-6,
        multiplexing=64,
    ).success_probability
    np.testing.assert_allclose(heralded(mixed), [plain[0], float(expected), *plain[2:]], rtol=1e-12)
    # Double click: both photons must survive half of the fibre, so the rate falls by the loss of all of it.
    ratio = heralded(delft_eindhoven()) / plain
    excess_db = np.array([5.1, 16.7, 6.2, 16.6, 12.6]) - 0.2 * mixed.length_km
    np.testing.assert_allclose(ratio, 10.0 ** (-excess_db / 10.0), rtol=0.01)
