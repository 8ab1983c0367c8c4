"""Random topologies: their shape, their law and that they repeat."""

from collections import Counter
from collections.abc import Callable

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ceas.errors import DomainError
from ceas.network.topology import Topology, chain, random_recursive, random_regular, waxman

repeatable = settings(deadline=None, derandomize=True)


def graph_of(topology: Topology) -> nx.Graph:
    graph = nx.Graph()
    graph.add_nodes_from(range(topology.n_nodes))
    graph.add_edges_from(topology.edges.tolist())
    return graph


def test_chain_has_its_shape() -> None:
    topology = chain(5, 20.0)
    assert set(graph_of(topology).edges) == set(nx.path_graph(5).edges)
    np.testing.assert_array_equal(topology.length_km, 20.0)
    straight = np.linalg.norm(np.diff(topology.position, axis=0), axis=1)
    np.testing.assert_allclose(straight, 20.0)


@repeatable
@given(st.integers(2, 60), st.floats(0.05, 2.0), st.floats(0.05, 1.0), st.integers(0, 2**32))
def test_waxman_is_connected_with_straight_lengths(n_nodes: int, reach: float, density: float, seed: int) -> None:
    topology = waxman(n_nodes, 40.0, reach, density, np.random.default_rng(seed))
    assert nx.is_connected(graph_of(topology))
    straight = np.linalg.norm(np.diff(topology.position[topology.edges], axis=1)[:, 0], axis=1)
    np.testing.assert_allclose(topology.length_km, straight)


def test_waxman_links_follow_its_law() -> None:
    """Links by distance in ten bins against their expected numbers.

    300 nodes, 44,850 pairs; each bin's count is a sum of independent Bernoulli numbers. The bound of 6.2 standard
    deviations makes one false alarm in ten bins rarer than 1e-8. At this density no part is left to join.
    """
    n_nodes, reach, density = 300, 0.3, 0.6
    topology = waxman(n_nodes, 100.0, reach, density, np.random.default_rng(11))
    assert " 0 links added" in topology.provenance
    b, a = np.tril_indices(n_nodes, -1)
    distance = np.linalg.norm(topology.position[a] - topology.position[b], axis=1)
    probability = density * np.exp(-distance / (reach * 100.0 * np.sqrt(2.0)))
    bins = np.linspace(0.0, 100.0 * np.sqrt(2.0), 11)
    found = np.histogram(topology.length_km, bins)[0]
    expected = np.histogram(distance, bins, weights=probability)[0]
    variance = np.histogram(distance, bins, weights=probability * (1.0 - probability))[0]
    assert np.all(np.abs(found - expected) <= 6.2 * np.sqrt(variance) + 1.0)


def test_waxman_nodes_keep_their_places_and_links_with_another_node() -> None:
    few, many = (waxman(n, 40.0, 1.0, 0.9, np.random.default_rng(3)) for n in (20, 21))
    np.testing.assert_array_equal(few.position, many.position[:20])
    assert set(map(tuple, few.edges.tolist())) == {(a, b) for a, b in many.edges.tolist() if b < 20}


@repeatable
@given(st.integers(2, 5), st.integers(1, 20), st.integers(0, 2**32))
def test_random_regular_gives_every_node_its_degree(degree: int, more: int, seed: int) -> None:
    n_nodes = degree + more + (degree + more) * degree % 2
    topology = random_regular(n_nodes, degree, 5.0, np.random.default_rng(seed))
    graph = graph_of(topology)
    assert set(dict(graph.degree).values()) == {degree}
    assert nx.is_connected(graph)
    np.testing.assert_array_equal(topology.length_km, 5.0)


@repeatable
@given(st.data())
def test_random_recursive_is_a_connected_graph_of_its_size(data: st.DataObject) -> None:
    n_nodes = data.draw(st.integers(2, 30))
    n_links = data.draw(st.integers(n_nodes - 1, n_nodes * (n_nodes - 1) // 2))
    topology = random_recursive(n_nodes, n_links, 30.0, np.random.default_rng(data.draw(st.integers(0, 2**32))))
    assert (topology.n_nodes, topology.n_links) == (n_nodes, n_links)
    assert nx.is_connected(graph_of(topology))
    np.testing.assert_array_equal(topology.length_km, 30.0)


def test_random_recursive_follows_its_law() -> None:
    """Trees of four nodes: 3! = 6 are possible and equally likely; one link more is one of the three left.

    6,000 draws; tree and link cannot always be told apart, so the law of the 15 graphs is enumerated. Every count is
    binomial; 6 standard deviations give a false alarm in fewer than 1e-7 of all runs.
    """
    law: Counter[frozenset[tuple[int, int]]] = Counter()
    pairs = [(a, b) for b in range(4) for a in range(b)]
    for first in range(2):
        for second in range(3):
            tree = {(0, 1), (first, 2), (second, 3)}
            for link in set(pairs) - tree:
                law[frozenset(tree | {link})] += 1
    n_draws, rng = 6000, np.random.default_rng(5)
    found = Counter(
        frozenset((a, b) for a, b in random_recursive(4, 4, 1.0, rng).edges.tolist()) for _ in range(n_draws)
    )
    assert set(found) <= set(law)
    for graph, weight in law.items():
        p = weight / law.total()
        assert abs(found[graph] - n_draws * p) <= 6.0 * np.sqrt(n_draws * p * (1.0 - p))


@pytest.mark.parametrize(
    "build",
    [
        lambda rng: waxman(12, 40.0, 0.5, 0.8, rng),
        lambda rng: random_regular(12, 4, 5.0, rng),
        lambda rng: random_recursive(12, 15, 30.0, rng),
    ],
)
def test_the_same_generator_gives_the_same_network(build: Callable[[np.random.Generator], Topology]) -> None:
    first, again, other = (build(np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.edges, again.edges)
    np.testing.assert_array_equal(first.length_km, again.length_km)
    assert first.edges.tolist() != other.edges.tolist()


@pytest.mark.parametrize(
    ("build", "name"),
    [
        (lambda _: chain(1, 1.0), "n_nodes"),
        (lambda _: chain(3, 0.0), "spacing_km"),
        (lambda rng: waxman(1, 1.0, 1.0, 1.0, rng), "n_nodes"),
        (lambda rng: waxman(3, 0.0, 1.0, 1.0, rng), "side_km"),
        (lambda rng: waxman(3, 1.0, 0.0, 1.0, rng), "waxman_reach"),
        (lambda rng: waxman(3, 1.0, 1.0, 0.0, rng), "waxman_density"),
        (lambda rng: waxman(3, 1.0, 1.0, 1.1, rng), "waxman_density"),
        (lambda rng: random_regular(9, 1, 1.0, rng), "degree"),
        (lambda rng: random_regular(4, 4, 1.0, rng), "n_nodes"),
        (lambda rng: random_regular(9, 3, 1.0, rng), "n_nodes"),
        (lambda rng: random_regular(9, 4, 0.0, rng), "spacing_km"),
        (lambda rng: random_recursive(1, 1, 1.0, rng), "n_nodes"),
        (lambda rng: random_recursive(4, 2, 1.0, rng), "n_links"),
        (lambda rng: random_recursive(4, 7, 1.0, rng), "n_links"),
        (lambda rng: random_recursive(4, 4, -1.0, rng), "spacing_km"),
    ],
)
def test_what_makes_no_network_is_refused(build: Callable[[np.random.Generator], Topology], name: str) -> None:
    with pytest.raises(DomainError, match=f"Argument `{name}` must be "):
        build(np.random.default_rng(0))
