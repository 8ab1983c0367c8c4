"""Configurations of SeQUeNCe: both ways to give links, and one message for each mistake."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ceas.errors import ScenarioError
from ceas.network.topology import Topology, load_topology


def router(name: str) -> dict[str, Any]:
    return {"name": name, "type": "QuantumRouter", "seed": 0, "memo_size": 50, "template": "t", "gate_fidelity": 0.99}


def connections() -> dict[str, Any]:
    return {
        "is_parallel": False,
        "stop_time": 10**12,
        "templates": {"t": {"MemoryArray": {"fidelity": 0.95}}},
        "nodes": [router("a"), router("b"), router("c")],
        "qconnections": [
            {"node1": "c", "node2": "b", "distance": 2000, "attenuation": 1e-5, "type": "meet_in_the_middle"},
            {"node1": "a", "node2": "b", "distance": 20e3, "attenuation": 0.0002, "type": "meet_in_the_middle"},
        ],
        "cconnections": [{"node1": "a", "node2": "b", "delay": 10**9}],
    }


def channels() -> dict[str, Any]:
    middle = {"name": "m", "type": "BSMNode", "seed": 0}
    return {
        "nodes": [router("a"), middle, router("b")],
        "qchannels": [
            {"source": "a", "destination": "m", "distance": 3000, "attenuation": 0.0002},
            {"source": "b", "destination": "m", "distance": 5000, "attenuation": 0.0004, "name": "qc"},
        ],
        "cchannels": [{"source": "a", "destination": "m", "distance": 3000, "delay": 0}],
    }


def load(tmp_path: Path, content: object) -> Topology:
    path = tmp_path / "net.json"
    path.write_text(json.dumps(content))
    return load_topology(path)


def test_connections_are_links_with_their_lengths_and_losses(tmp_path: Path) -> None:
    topology = load(tmp_path, connections())
    assert topology.labels == ("a", "b", "c")
    assert topology.edges.tolist() == [[0, 1], [1, 2]]
    assert topology.loss_db is not None
    np.testing.assert_allclose(topology.length_km, [20.0, 2.0])
    np.testing.assert_allclose(topology.loss_db, [4.0, 0.02])
    np.testing.assert_allclose(topology.attenuation_db_per_km(9.0), [0.2, 0.01])
    assert "SeQUeNCe" in topology.provenance


def test_a_connection_without_type_is_one_of_an_early_version(tmp_path: Path) -> None:
    content = connections()
    for entry in content["qconnections"]:
        del entry["type"]
    assert load(tmp_path, content).n_links == 2


def test_channels_to_a_midpoint_are_one_link(tmp_path: Path) -> None:
    topology = load(tmp_path, channels())
    assert topology.labels == ("a", "b")
    assert topology.loss_db is not None
    np.testing.assert_allclose(topology.length_km, [8.0])
    np.testing.assert_allclose(topology.loss_db, [0.6 + 2.0])


def test_both_kinds_of_links_may_be_in_one_file(tmp_path: Path) -> None:
    content = channels()
    content["nodes"].append(router("c"))
    content["qconnections"] = [connections()["qconnections"][0]]
    topology = load(tmp_path, content)
    assert topology.edges.tolist() == [[0, 1], [1, 2]]
    np.testing.assert_allclose(topology.length_km, [8.0, 2.0])


def changed(content: dict[str, Any], path: tuple[Any, ...], value: object) -> dict[str, Any]:
    target: Any = content
    for key in path[:-1]:
        target = target[key]
    if value is None:
        del target[path[-1]]
    else:
        target[path[-1]] = value
    return content


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("nodes",), None, "`nodes` must be a list of objects, but is missing"),
        (("nodes",), [], "`nodes` must hold at least two of type QuantumRouter, but holds none"),
        (("nodes",), 3, "`nodes` must be a list of objects, but is 3"),
        (("nodes", 0, "name"), 3, "node 0: `name` must be a string, but is 3"),
        (("nodes", 1, "name"), "a", "node `a`: `name` must differ from node to node, but appears twice"),
        (("nodes", 0, "type"), "QKDNode", "node `a`: `type` must be QuantumRouter or BSMNode, but is 'QKDNode'"),
        (("nodes", 0, "type"), None, "node `a`: `type` must be QuantumRouter or BSMNode, but is missing"),
        (("qconnections",), {}, "`qconnections` must be a list of objects, but is {}"),
        (("qconnections", 0, "node2"), "B", "qconnection 0: no node has the name 'B' of `node2`"),
        (("qconnections", 0, "node2"), None, "qconnection 0: `node2` is missing"),
        (
            ("qconnections", 0, "type"),
            "meet_in_the_midle",
            "qconnection 0: `type` must be meet_in_the_middle, but is 'meet_in_the_midle'",
        ),
        (("qconnections", 0, "distance"), 0, "qconnection 0: `distance` must be positive, but is 0"),
        (("qconnections", 0, "distance"), "20 km", "qconnection 0: `distance` must be a number, but is '20 km'"),
        (("qconnections", 0, "distance"), None, "qconnection 0: `distance` is missing"),
        (("qconnections", 0, "attenuation"), -1, "qconnection 0: `attenuation` must not be negative, but is -1"),
        (("qconnections", 0, "attenuation"), True, "qconnection 0: `attenuation` must be a number, but is True"),
        (("qconnections", 0, "attenuation"), None, "qconnection 0: `attenuation` is missing"),
    ],
)
def test_each_mistake_about_connections_has_its_message(
    tmp_path: Path, path: tuple[Any, ...], value: object, message: str
) -> None:
    with pytest.raises(ScenarioError) as caught:
        load(tmp_path, changed(connections(), path, value))
    assert caught.value.source.endswith("net.json")
    assert caught.value.mistakes[0] == message


def test_a_mistyped_key_is_told_of_once(tmp_path: Path) -> None:
    content = connections()
    content["qconnections"][0]["atenuation"] = content["qconnections"][0].pop("attenuation")
    with pytest.raises(ScenarioError) as caught:
        load(tmp_path, content)
    assert caught.value.mistakes == ("qconnection 0: unknown key `atenuation`. Did you mean `attenuation`?",)


@pytest.mark.parametrize(
    ("path", "value", "messages"),
    [
        (("qchannels", 1), None, ["node `m`: two channels must lead to it, but 1 do"]),
        (
            ("qchannels", 1, "destination"),
            "a",
            [
                "qchannel 1: must lead from a QuantumRouter to a BSMNode, but leads from b to a",
                "node `m`: two channels must lead to it, but 1 do",
            ],
        ),
        (("qchannels", 1, "source"), "a", ["edge `a`-`a`: must join two nodes, but is a loop"]),
        (("qchannels", 0, "distance"), -5, ["qchannel 0: `distance` must be positive, but is -5"]),
    ],
)
def test_each_mistake_about_channels_has_its_message(
    tmp_path: Path, path: tuple[Any, ...], value: object, messages: list[str]
) -> None:
    with pytest.raises(ScenarioError) as caught:
        load(tmp_path, changed(channels(), path, value))
    assert list(caught.value.mistakes[: len(messages)]) == messages


def test_a_connection_to_a_midpoint_is_refused(tmp_path: Path) -> None:
    content = channels()
    content["qconnections"] = [{"node1": "a", "node2": "m", "distance": 1, "attenuation": 0}]
    with pytest.raises(ScenarioError, match="qconnection 0: must join two routers, but `m` is a BSMNode"):
        load(tmp_path, content)


def test_what_is_wrong_with_the_graph_is_told_as_of_any_file(tmp_path: Path) -> None:
    content = connections()
    content["qconnections"][1]["node1"] = "c"
    with pytest.raises(ScenarioError, match="edge `c`-`b`: must appear once, but is there twice"):
        load(tmp_path, content)
    content = connections()
    del content["qconnections"][1]
    with pytest.raises(ScenarioError, match="no path leads from node `a` to `b`, `c`"):
        load(tmp_path, content)
