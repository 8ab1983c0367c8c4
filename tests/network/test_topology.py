"""Topologies: the shipped networks, regular and random ones, files and their mistakes, path latencies."""

import json
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ceas.errors import DomainError, ScenarioError, UnknownNameError
from ceas.network.topology import (
    Topology,
    arnes,
    build_topology,
    grid,
    load_topology,
    path_latency_s,
    random_geometric,
    ring,
    star,
    surfnet,
)

repeatable = settings(deadline=None, derandomize=True)


def graph_of(topology: Topology) -> nx.Graph:
    graph = nx.Graph()
    graph.add_nodes_from(range(topology.n_nodes))
    graph.add_weighted_edges_from(
        (int(a), int(b), float(length)) for (a, b), length in zip(topology.edges, topology.length_km, strict=True)
    )
    return graph


def rng() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.mark.parametrize(
    ("topology", "n_nodes", "n_links", "lengths_km"),
    [(surfnet(), 50, 68, (2.90, 27.905, 112.26)), (arnes(), 34, 46, (4.92, 24.025, 104.05))],
    ids=["surfnet", "arnes"],
)
def test_shipped_networks_have_the_published_size(
    topology: Topology, n_nodes: int, n_links: int, lengths_km: tuple[float, float, float]
) -> None:
    assert (topology.n_nodes, topology.n_links) == (n_nodes, n_links)
    found = topology.length_km.min(), np.median(topology.length_km), topology.length_km.max()
    np.testing.assert_allclose(found, lengths_km, atol=1e-9)
    for fact in ("Topology Zoo", "CC-BY-4.0", "10.25909/30153949.v1"):
        assert fact in topology.provenance


@pytest.mark.parametrize("topology", [surfnet(), arnes()], ids=["surfnet", "arnes"])
def test_shipped_lengths_are_great_circles_between_the_shipped_places(topology: Topology) -> None:
    """Independent formula: the angle between unit vectors."""
    phi, lam = np.radians(topology.latitude_deg), np.radians(topology.longitude_deg)
    unit = np.column_stack([np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)])
    a, b = unit[topology.edges[:, 0]], unit[topology.edges[:, 1]]
    angle = np.arctan2(np.linalg.norm(np.cross(a, b), axis=1), np.sum(a * b, axis=1))
    np.testing.assert_allclose(topology.length_km, 6371.0 * angle, atol=0.0051)


def test_plot_positions_of_a_shipped_network_are_kilometres() -> None:
    topology = surfnet()
    straight = np.linalg.norm(np.diff(topology.position[topology.edges], axis=1)[:, 0], axis=1)
    np.testing.assert_allclose(straight, topology.length_km, rtol=0.03)


@pytest.mark.parametrize(
    ("topology", "expected"),
    [(ring(7, 3.0), nx.cycle_graph(7)), (star(5, 3.0), nx.star_graph(5)), (ring(3, 3.0), nx.complete_graph(3))],
)
def test_ring_and_star_have_their_shape(topology: Topology, expected: nx.Graph) -> None:
    assert set(map(tuple, topology.edges.tolist())) == {tuple(sorted(edge)) for edge in expected.edges}
    np.testing.assert_array_equal(topology.length_km, 3.0)


def test_grid_has_its_shape() -> None:
    topology = grid(3, 4, 2.0)
    expected = nx.convert_node_labels_to_integers(nx.grid_2d_graph(3, 4), ordering="sorted")
    assert set(map(tuple, topology.edges.tolist())) == {tuple(sorted(edge)) for edge in expected.edges}
    assert grid(1, 2, 1.0).n_links == 1


@pytest.mark.parametrize("topology", [ring(7, 3.0), ring(3, 3.0), grid(3, 4, 3.0), star(5, 3.0)])
def test_regular_positions_are_spaced_as_their_links(topology: Topology) -> None:
    straight = np.linalg.norm(np.diff(topology.position[topology.edges], axis=1)[:, 0], axis=1)
    np.testing.assert_allclose(straight, topology.length_km, rtol=1e-12)


@repeatable
@given(st.integers(2, 40), st.floats(0.5, 60.0), st.integers(0, 2**32))
def test_random_geometric_is_connected_and_holds_exactly_the_near_pairs(
    n_nodes: int, radius_km: float, seed: int
) -> None:
    topology = random_geometric(n_nodes, 50.0, radius_km, np.random.default_rng(seed))
    graph = graph_of(topology)
    assert nx.is_connected(graph)
    distance = np.linalg.norm(topology.position[:, None] - topology.position[None], axis=2)
    near = {(a, b) for a in range(n_nodes) for b in range(a + 1, n_nodes) if distance[a, b] <= radius_km}
    edges = set(map(tuple, topology.edges.tolist()))
    assert near <= edges
    np.testing.assert_allclose(topology.length_km, distance[tuple(topology.edges.T)], rtol=1e-12)
    # The links that join parts are those of a minimum spanning tree, which is unique for random points.
    tree = nx.minimum_spanning_tree(nx.from_numpy_array(distance))
    assert edges - near == {edge for edge in map(tuple, map(sorted, tree.edges)) if distance[edge] > radius_km}
    assert f"{len(edges - near)} links added" in topology.provenance


def test_random_geometric_positions_do_not_shift_with_another_node() -> None:
    few, many = random_geometric(10, 50.0, 20.0, rng()), random_geometric(11, 50.0, 20.0, rng())
    np.testing.assert_array_equal(few.position, many.position[:10])


@pytest.mark.parametrize("topology", [surfnet(), arnes(), random_geometric(30, 50.0, 12.0, rng()), grid(3, 4, 1.0)])
def test_edges_are_canonical(topology: Topology) -> None:
    assert topology.edges.dtype == np.int32
    assert topology.length_km.dtype == np.float64
    edges = topology.edges.tolist()
    assert all(a < b for a, b in edges)
    assert edges == sorted(edges)


@pytest.mark.parametrize("topology", [surfnet(), random_geometric(30, 50.0, 12.0, rng()), star(5, 1.0)])
def test_path_latency_is_the_shortest_path(topology: Topology) -> None:
    latency = topology.length_km / 2e5
    paths = path_latency_s(topology, latency)
    expected = dict(nx.all_pairs_dijkstra_path_length(graph_of(topology)))
    oracle = [[expected[a][b] / 2e5 for b in range(topology.n_nodes)] for a in range(topology.n_nodes)]
    np.testing.assert_allclose(paths, oracle, rtol=1e-12)
    np.testing.assert_array_equal(paths, paths.T)


def test_path_latency_refuses_wrong_latencies() -> None:
    with pytest.raises(DomainError, match="`link_latency_s` must be positive"):
        path_latency_s(ring(3, 1.0), [1.0, 0.0, 1.0])
    with pytest.raises(DomainError, match=r"`link_latency_s` must have shape \(3,\)"):
        path_latency_s(ring(3, 1.0), [1.0, 1.0])


def test_build_topology_scales_lengths_and_nothing_else() -> None:
    built = build_topology("surfnet", rng=rng(), fibre_length_factor=1.5)
    np.testing.assert_allclose(built.length_km, 1.5 * surfnet().length_km)
    np.testing.assert_array_equal(built.edges, surfnet().edges)
    np.testing.assert_array_equal(built.position, surfnet().position)


def test_build_topology_reaches_every_kind(tmp_path: Path) -> None:
    path = tmp_path / "pair.json"
    path.write_text(json.dumps({"nodes": [{"id": 0}, {"id": 1}], "edges": [{"a": 0, "b": 1, "length_km": 1}]}))
    kinds: dict[str, dict[str, Any]] = {
        "surfnet": {},
        "arnes": {},
        "ring": {"n_nodes": 5, "spacing_km": 1.0},
        "grid": {"rows": 2, "columns": 3, "spacing_km": 1.0},
        "star": {"n_leaves": 5, "spacing_km": 1.0},
        "random_geometric": {"n_nodes": 5, "side_km": 1.0, "radius_km": 1.0},
        "chain": {"n_nodes": 7, "spacing_km": 1.0},
        "waxman": {"n_nodes": 4, "side_km": 1.0, "waxman_reach": 0.5, "waxman_density": 0.5},
        "random_regular": {"n_nodes": 8, "degree": 3, "spacing_km": 1.0},
        "random_recursive": {"n_nodes": 9, "n_links": 11, "spacing_km": 1.0},
        "file": {"path": path},
    }
    sizes = {kind: build_topology(kind, rng=rng(), **parameters).n_nodes for kind, parameters in kinds.items()}
    assert sizes == {
        "surfnet": 50,
        "arnes": 34,
        "ring": 5,
        "grid": 6,
        "star": 6,
        "random_geometric": 5,
        "chain": 7,
        "waxman": 4,
        "random_regular": 8,
        "random_recursive": 9,
        "file": 2,
    }


def test_build_topology_names_what_is_wrong() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean `surfnet`"):
        build_topology("surfnett", rng=rng())
    with pytest.raises(DomainError, match=r"`n_node` .* Did you mean `n_nodes`\?"):
        build_topology("ring", rng=rng(), n_node=4, spacing_km=1.0)
    with pytest.raises(DomainError, match="`spacing_km` must be given"):
        build_topology("ring", rng=rng(), n_nodes=4)
    with pytest.raises(DomainError, match="`fibre_length_factor` must be positive"):
        build_topology("surfnet", rng=rng(), fibre_length_factor=0.0)


@pytest.mark.parametrize(
    ("build", "name"),
    [
        (lambda: ring(2, 1.0), "n_nodes"),
        (lambda: ring(3, 0.0), "spacing_km"),
        (lambda: grid(0, 3, 1.0), "rows"),
        (lambda: grid(3, 0, 1.0), "columns"),
        (lambda: grid(1, 1, 1.0), r"rows \* columns"),
        (lambda: star(0, 1.0), "n_leaves"),
        (lambda: star(3, np.nan), "spacing_km"),
        (lambda: star(3, np.inf), "spacing_km"),
        (lambda: random_geometric(1, 1.0, 1.0, rng()), "n_nodes"),
        (lambda: random_geometric(3, -1.0, 1.0, rng()), "side_km"),
        (lambda: random_geometric(3, 1.0, 0.0, rng()), "radius_km"),
    ],
)
def test_builders_refuse_what_makes_no_network(build: Any, name: str) -> None:
    with pytest.raises(DomainError, match=f"Argument `{name}` must be "):
        build()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"edges": np.array([[1, 0], [1, 2]], dtype=np.int32)}, "pairs a < b"),
        ({"edges": np.array([[0, 1], [1, 3]], dtype=np.int32)}, "pairs a < b"),
        ({"edges": np.array([[0, 1], [0, 1]], dtype=np.int32)}, "without duplicates"),
        ({"edges": np.array([[1, 2], [0, 1]], dtype=np.int32)}, "lexicographic"),
        ({"edges": np.array([[0, 1]], dtype=np.int32), "length_km": np.ones(1)}, "leaves 2 parts"),
        ({"length_km": np.array([1.0, 0.0])}, "`length_km` must be positive"),
        ({"length_km": np.ones(3)}, r"`length_km` must have shape \(2,\)"),
        ({"labels": ("a", "b", "a")}, "`labels` must differ"),
        ({"latitude_deg": np.zeros(2)}, "`latitude_deg` must have shape"),
        ({"loss_db": np.ones(3)}, r"`loss_db` must have shape \(2,\)"),
        ({"loss_db": np.array([np.nan, -1.0])}, "`loss_db` must be non-negative"),
    ],
)
def test_topology_keeps_its_invariants(change: dict[str, Any], message: str) -> None:
    valid: dict[str, Any] = {
        "name": "chain",
        "n_nodes": 3,
        "edges": np.array([[0, 1], [1, 2]], dtype=np.int32),
        "length_km": np.ones(2),
        "latitude_deg": np.zeros(3),
        "longitude_deg": np.zeros(3),
        "position": np.zeros((3, 2)),
        "labels": ("a", "b", "c"),
        "provenance": "test",
    }
    assert Topology(**valid).n_links == 2
    with pytest.raises(DomainError, match=message):
        Topology(**(valid | change))


def document() -> dict[str, Any]:
    return {
        "name": "triangle",
        "nodes": [
            {"id": "delft", "latitude_deg": 52.01, "longitude_deg": 4.36},
            {"id": "leiden", "latitude_deg": 52.16, "longitude_deg": 4.49},
            {"id": "utrecht", "latitude_deg": 52.09, "longitude_deg": 5.12},
        ],
        "edges": [
            {"a": "utrecht", "b": "leiden", "length_km": 60.0},
            {"a": "delft", "b": "leiden"},
            {"a": "delft", "b": "utrecht", "length_km": 70},
        ],
    }


def load(tmp_path: Path, content: object) -> Topology:
    path = tmp_path / "net.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return load_topology(path)


def test_json_file_is_read(tmp_path: Path) -> None:
    topology = load(tmp_path, document())
    assert topology.name == "triangle"
    assert topology.labels == ("delft", "leiden", "utrecht")
    assert topology.edges.tolist() == [[0, 1], [0, 2], [1, 2]]
    # Delft to Leiden by the law of haversines, worked out apart.
    np.testing.assert_allclose(topology.length_km, [18.8966, 70.0, 60.0], atol=1e-3)
    assert "net.json" in topology.provenance


def test_json_places_in_a_plane_give_straight_lengths(tmp_path: Path) -> None:
    nodes = [{"id": 0, "x_km": 0, "y_km": 0}, {"id": 1, "x_km": 3, "y_km": 4}]
    topology = load(tmp_path, {"nodes": nodes, "edges": [{"a": 1, "b": 0}]})
    assert topology.name == "net"
    np.testing.assert_allclose(topology.length_km, [5.0])
    np.testing.assert_array_equal(topology.position, [[0, 0], [3, 4]])
    assert np.isnan(topology.latitude_deg).all()


def test_nodes_without_places_are_drawn_on_a_circle(tmp_path: Path) -> None:
    edges = [{"a": 0, "b": 1, "length_km": 5}]
    topology = load(tmp_path, {"nodes": [{"id": 0, "label": "west"}, {"id": 1, "label": "east"}], "edges": edges})
    np.testing.assert_allclose(np.linalg.norm(topology.position, axis=1), 1.0)
    assert topology.labels == ("west", "east")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("edges", 0, "length_km"), 0.0, "edge `utrecht`-`leiden`: `length_km` must be positive, but is 0"),
        (("edges", 0, "length_km"), -2, "edge `utrecht`-`leiden`: `length_km` must be positive, but is -2"),
        (("edges", 0, "length_km"), "60", "edge `utrecht`-`leiden`: `length_km` must be a finite number, but is '60'"),
        (("edges", 0, "length_km"), True, "edge `utrecht`-`leiden`: `length_km` must be a finite number, but is True"),
        (("edges", 0, "length_km"), float("nan"), "edge `utrecht`-`leiden`: `length_km` must be a finite number"),
        (
            ("edges", 0, "lenght_km"),
            60.0,
            "edge `utrecht`-`leiden`: unknown key `lenght_km`. Did you mean `length_km`?",
        ),
        (("edges", 0, "loss_db"), -1, "edge `utrecht`-`leiden`: `loss_db` must not be negative, but is -1"),
        (("edges", 0, "loss_db"), "a", "edge `utrecht`-`leiden`: `loss_db` must be a finite number, but is 'a'"),
        (("edges", 0, "los_db"), 3, "edge `utrecht`-`leiden`: unknown key `los_db`. Did you mean `loss_db`?"),
        (("edges", 0, "b"), "utrecht", "edge `utrecht`-`utrecht`: must join two nodes, but is a loop"),
        (("edges", 0, "a"), "delft", "edge `delft`-`leiden`: must appear once, but is there twice"),
        (("edges", 0, "b"), "paris", "edge `utrecht`-`paris`: no node has the id `paris` of `b`"),
        (("nodes", 0, "id"), "leiden", "node `leiden`: `id` must differ from node to node, but appears twice"),
        (("nodes", 0, "id"), None, "node 0: `id` is missing"),
        (
            ("nodes", 0, "latitude_deg"),
            91,
            "node `delft`: `latitude_deg` must be a finite number in [-90, 90], but is 91",
        ),
        (("nodes", 0, "altitude"), 3, "node `delft`: unknown key `altitude`"),
        (("nodes",), [], "`nodes` must be a list of at least one object, but is []"),
        (("edges",), None, "`edges` must be a list of at least one object, but is missing"),
        (("edges",), [1], "`edges` must be a list of at least one object, but is [1]"),
        (("links",), [], "the file: unknown key `links`"),
    ],
)
def test_each_mistake_in_a_file_has_its_message(
    tmp_path: Path, path: tuple[Any, ...], value: object, message: str
) -> None:
    content = document()
    target: Any = content
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = value
    with pytest.raises(ScenarioError) as caught:
        load(tmp_path, content)
    assert caught.value.source.endswith("net.json")
    assert any(mistake.startswith(message) for mistake in caught.value.mistakes), caught.value.mistakes


def test_missing_lengths_name_the_edge_and_the_node_without_coordinates(tmp_path: Path) -> None:
    content = document()
    del content["nodes"][1]["longitude_deg"]
    with pytest.raises(ScenarioError) as caught:
        load(tmp_path, content)
    message = "edge `delft`-`leiden`: `length_km` is missing, and node `leiden` has no coordinates to compute it from"
    assert caught.value.mistakes == (message,)
    content["nodes"][1] = {"id": "leiden", "x_km": 0, "y_km": 0}
    with pytest.raises(
        ScenarioError, match="`length_km` is missing, and its nodes' coordinates are of different kinds"
    ):
        load(tmp_path, content)
    content["nodes"][1] = content["nodes"][0] | {"id": "leiden"}
    with pytest.raises(ScenarioError, match="`length_km` is missing, and its nodes are at the same place"):
        load(tmp_path, content)


def test_all_mistakes_are_reported_at_once(tmp_path: Path) -> None:
    content = document()
    content["edges"][0]["length_km"] = -1
    content["edges"][2]["b"] = "paris"
    with pytest.raises(ScenarioError) as caught:
        load(tmp_path, content)
    assert len(caught.value.mistakes) == 2


def test_disconnected_files_are_refused(tmp_path: Path) -> None:
    content = document()
    del content["edges"][1:]
    with pytest.raises(ScenarioError, match="no path leads from node `delft` to `leiden`, `utrecht`"):
        load(tmp_path, content)


def test_unreadable_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"missing\.json: cannot be read: No such file"):
        load_topology(tmp_path / "missing.json")
    with pytest.raises(ScenarioError, match=r"suffix must be \.graphml or \.json, but is `\.csv`"):
        load_topology(tmp_path / "net.csv")
    with pytest.raises(ScenarioError, match=r"net\.json: is not valid json"):
        load(tmp_path, "{")
    with pytest.raises(ScenarioError, match="must hold one object"):
        load(tmp_path, [])
    for number, content in enumerate(["<graphml", "<graphml/>", "not xml"]):
        path = tmp_path / f"broken{number}.graphml"
        path.write_text(content)
        with pytest.raises(ScenarioError, match="is not valid graphml"):
            load_topology(path)


def graphml(tmp_path: Path, graph: nx.Graph) -> Path:
    path = tmp_path / "net.graphml"
    nx.write_graphml(graph, path)
    return path


def test_graphml_file_is_read(tmp_path: Path) -> None:
    """Node names of the Internet Topology Zoo, other attributes and a mixture of given and computed lengths."""
    graph = nx.Graph(Network="Triangle", Creator="somebody")
    for node in document()["nodes"]:
        graph.add_node(node["id"], Latitude=node["latitude_deg"], Longitude=node["longitude_deg"], Country="NL")
    graph.add_edge("delft", "leiden", LinkLabel="fast", id="e1")
    graph.add_edge("utrecht", "leiden", length_km=60.0)
    graph.add_edge("delft", "utrecht", length_km=70)
    from_graphml, from_json = load_topology(graphml(tmp_path, graph)), load(tmp_path, document())
    assert from_graphml.name == "Triangle"
    assert from_graphml.labels == from_json.labels
    for name in ("edges", "length_km", "latitude_deg", "longitude_deg", "position"):
        np.testing.assert_array_equal(getattr(from_graphml, name), getattr(from_json, name))


def test_shipped_network_survives_graphml(tmp_path: Path) -> None:
    topology = surfnet()
    graph = nx.Graph()
    for node in range(topology.n_nodes):
        latitude, longitude = float(topology.latitude_deg[node]), float(topology.longitude_deg[node])
        graph.add_node(node, latitude_deg=latitude, longitude_deg=longitude)
    for (a, b), length in zip(topology.edges.tolist(), topology.length_km.tolist(), strict=True):
        graph.add_edge(a, b, length_km=length)
    loaded = load_topology(graphml(tmp_path, graph))
    for name in ("edges", "length_km", "latitude_deg", "longitude_deg", "position"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(topology, name))


@pytest.mark.parametrize(
    ("edges", "message"),
    [
        ([("a", "b", {"length_km": 1.0}), ("a", "b", {"length_km": 2.0})], "must appear once"),
        ([("a", "a", {"length_km": 1.0}), ("a", "b", {"length_km": 2.0})], "must join two nodes"),
        ([("a", "b", {})], "edge `a`-`b`: `length_km` is missing, and node `a` has no coordinates"),
        ([("a", "b", {"length": 3.0})], r"edge `a`-`b`: unknown key `length`. Did you mean `length_km`\?"),
        ([("a", "b", {"length_km": 1.0}), ("c", "d", {"length_km": 1.0})], "no path leads from node `a` to `c`, `d`"),
    ],
)
def test_graphml_mistakes_have_their_messages(tmp_path: Path, edges: list[Any], message: str) -> None:
    graph = nx.MultiGraph()
    graph.add_edges_from(edges)
    with pytest.raises(ScenarioError, match=message):
        load_topology(graphml(tmp_path, graph))
