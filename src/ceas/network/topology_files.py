"""Topologies from files, and from documents of the same form.

A file is GraphML, JSON or a network configuration of SeQUeNCe (also JSON; see `topology_sequence`). Our JSON has the
form

    {"name": ..., "nodes": [{"id": ..., "latitude_deg": ..., "longitude_deg": ...}, ...],
     "edges": [{"a": ..., "b": ..., "length_km": ..., "loss_db": ...}, ...]}

with `x_km` and `y_km` in place of latitude and longitude where a plane is meant, and optionally `provenance`. GraphML
carries the same names as node and edge attributes (`Latitude`, `Longitude` and `label` are understood too). An edge
without `length_km` gets the distance between its nodes: along the great circle, or straight in the plane. `loss_db`,
the measured loss of the whole fibre, is optional; without it loss follows from attenuation and length.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ceas.errors import ScenarioError, nearest_name
from ceas.network.topology_sequence import is_sequence_document, read_sequence_document
from ceas.network.topology_value import Topology, canonical_topology, circle, component_of_node

__all__ = ["great_circle_km", "load_topology", "topology_from_document"]

EARTH_RADIUS_KM = 6371.0


def load_topology(path: str | Path) -> Topology:
    """Read a topology from a `.graphml` or `.json` file of a form given at the top of this module.

    Args:
        path: File to read.

    Returns:
        Topology with the nodes in the file's order.

    Raises:
        ScenarioError: The file cannot be read, or is not a connected simple graph with a length for each edge; one
            message for each mistake.
    """
    readers: dict[str, Callable[[Path], Mapping[str, Any]]] = {".json": _read_json, ".graphml": _read_graphml}
    source = Path(path)
    reader = readers.get(source.suffix.lower())
    if reader is None:
        raise ScenarioError(str(path), [f"suffix must be .graphml or .json, but is `{source.suffix}`"])
    try:
        document = reader(source)
    except OSError as error:
        raise ScenarioError(str(path), [f"cannot be read: {error.strerror}"]) from error
    except (ValueError, SyntaxError) as error:
        raise ScenarioError(str(path), [f"is not valid {source.suffix[1:]}: {error}"]) from error
    if is_sequence_document(document):
        document = read_sequence_document(document, source=str(path))
    return topology_from_document(document, source=str(path), default_name=source.stem)


def great_circle_km(
    latitude_a_deg: ArrayLike, longitude_a_deg: ArrayLike, latitude_b_deg: ArrayLike, longitude_b_deg: ArrayLike
) -> NDArray[np.float64]:
    """Return the great-circle distance of two places on a sphere of radius 6371 km (haversine formula)."""
    phi_a, lambda_a, phi_b, lambda_b = (
        np.radians(angle) for angle in (latitude_a_deg, longitude_a_deg, latitude_b_deg, longitude_b_deg)
    )
    haversine = (
        np.sin((phi_b - phi_a) / 2) ** 2 + np.cos(phi_a) * np.cos(phi_b) * np.sin((lambda_b - lambda_a) / 2) ** 2
    )
    return np.asarray(2.0 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(np.clip(haversine, 0.0, 1.0))))


def _read_json(path: Path) -> Mapping[str, Any]:
    """Return the document of a JSON file."""
    document = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(document, dict):
        raise ValueError("it must hold one object with `nodes` and `edges`")
    return document


def _read_graphml(path: Path) -> Mapping[str, Any]:
    """Return a GraphML file as a document like that of a JSON file, without the attributes that mean nothing here."""
    import networkx as nx  # noqa: PLC0415 - slow to import, rarely needed

    try:
        graph = nx.read_graphml(path)
    except nx.NetworkXException as error:
        raise ValueError(error) from error
    renamed = {"Latitude": "latitude_deg", "Longitude": "longitude_deg"}
    nodes = [
        {"id": node}
        | {renamed.get(key, key): value for key, value in data.items() if renamed.get(key, key) in _NODE_KEYS}
        for node, data in graph.nodes(data=True)
    ]
    # A key close to one that we read is kept: it is more likely a slip, to be reported, than something else.
    edges = [
        {"a": a, "b": b} | {key: value for key, value in data.items() if nearest_name(key, ["length_km", "loss_db"])}
        for a, b, data in graph.edges(data=True)
    ]
    name = graph.graph.get("name") or graph.graph.get("Network")
    return {"nodes": nodes, "edges": edges} | ({"name": name} if name else {})


_DOCUMENT_KEYS = ("name", "nodes", "edges", "provenance")
_NODE_KEYS = ("id", "label", "latitude_deg", "longitude_deg", "x_km", "y_km")
_EDGE_KEYS = ("a", "b", "length_km", "loss_db")
_LIMITS = {"latitude_deg": 90.0, "longitude_deg": 180.0, "x_km": np.inf, "y_km": np.inf}


def topology_from_document(document: Mapping[str, Any], *, source: str, default_name: str) -> Topology:
    """Return the topology of a document of the JSON form at the top of this module.

    Args:
        document: What the file holds.
        source: What messages call it; also the provenance where the document gives none.
        default_name: Name where the document gives none.

    Raises:
        ScenarioError: It is not a connected simple graph with a length for each edge; one message for each mistake.
    """
    mistakes: list[str] = []
    _check_keys("the file", document, _DOCUMENT_KEYS, mistakes)
    index, places = _parse_nodes(_records(document, "nodes", mistakes), mistakes)
    ends, lengths, losses = _parse_edges(_records(document, "edges", mistakes), index, places, mistakes)
    if not mistakes:
        mistakes.extend(_unreachable(list(index), ends))
    if mistakes:
        raise ScenarioError(source, mistakes)
    return canonical_topology(
        name=str(document.get("name", default_name)),
        labels=_labels(list(index), document["nodes"]),
        edges=ends,
        length_km=lengths,
        loss_db=losses,
        position=_plot_position(places),
        provenance=str(document.get("provenance", source)),
        latitude_deg=places["latitude_deg"],
        longitude_deg=places["longitude_deg"],
    )


def _records(document: Mapping[str, Any], key: str, mistakes: list[str]) -> list[dict[str, Any]]:
    """Return the objects under `key`, or note that there are none."""
    records = document.get(key)
    if isinstance(records, list) and records and all(isinstance(record, dict) for record in records):
        return records
    mistakes.append(f"`{key}` must be a list of at least one object, but is {_shown(records)}")
    return []


def _parse_nodes(
    records: Sequence[Mapping[str, Any]], mistakes: list[str]
) -> tuple[dict[str, int], dict[str, NDArray[np.float64]]]:
    """Return each node's index by its id, and its coordinates by their names, NaN where not given."""
    index: dict[str, int] = {}
    places = {key: np.full(len(records), np.nan) for key in _LIMITS}
    for position, record in enumerate(records):
        node = record.get("id")
        where = f"node {position}" if node is None else f"node `{node}`"
        if node is None:
            mistakes.append(f"{where}: `id` is missing")
        elif str(node) in index:
            mistakes.append(f"{where}: `id` must differ from node to node, but appears twice")
        _check_keys(where, record, _NODE_KEYS, mistakes)
        index.setdefault(str(node), position)
        for key, limit in _LIMITS.items():
            if key in record:
                places[key][position] = _number(f"{where}: `{key}`", record[key], limit, mistakes)
    return index, places


def _parse_edges(
    records: Sequence[Mapping[str, Any]],
    index: Mapping[str, int],
    places: Mapping[str, NDArray[np.float64]],
    mistakes: list[str],
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the ends `(E, 2)`, lengths (km) and measured losses (dB, else NaN) of the edges, noting every mistake."""
    seen: set[tuple[int, ...]] = set()
    lengths: list[float] = []
    losses: list[float] = []
    ends: list[tuple[int, int]] = []
    for record in records:
        names = {end: str(record.get(end, "")) for end in ("a", "b")}
        where = _edge_name(record)
        _check_keys(where, record, _EDGE_KEYS, mistakes)
        unknown = [
            f"{where}: no node has the id `{name}` of `{end}`" for end, name in names.items() if name not in index
        ]
        mistakes.extend(unknown)
        if unknown:
            continue
        a, b = (index[name] for name in names.values())
        if a == b:
            mistakes.append(f"{where}: must join two nodes, but is a loop")
        elif (pair := tuple(sorted((a, b)))) in seen:
            mistakes.append(f"{where}: must appear once, but is there twice")
        else:
            seen.add(pair)
            ends.append((a, b))
            lengths.append(_edge_length_km(record, (a, b), places, mistakes))
            losses.append(_edge_loss_db(record, mistakes))
    return np.array(ends, dtype=np.int64).reshape(-1, 2), np.array(lengths), np.array(losses)


def _edge_length_km(
    record: Mapping[str, Any],
    ends: tuple[int, int],
    places: Mapping[str, NDArray[np.float64]],
    mistakes: list[str],
) -> float:
    """Return the length given for an edge, or else that between its nodes' places."""
    where = _edge_name(record)
    if "length_km" in record:
        length = _number(f"{where}: `length_km`", record["length_km"], np.inf, mistakes)
        if length <= 0:
            mistakes.append(f"{where}: `length_km` must be positive, but is {length:g}")
        return length
    length = _distance_km(places, ends)
    if np.isnan(length):
        names = (record["a"], record["b"])
        lacking = [name for name, node in zip(names, ends, strict=True) if np.isnan(_place(places, node)).any()]
        why = f"node `{lacking[0]}` has no coordinates" if lacking else "its nodes' coordinates are of different kinds"
        mistakes.append(f"{where}: `length_km` is missing, and {why} to compute it from")
    elif length <= 0:
        mistakes.append(f"{where}: `length_km` is missing, and its nodes are at the same place")
    return length


def _edge_loss_db(record: Mapping[str, Any], mistakes: list[str]) -> float:
    """Return the measured loss given for an edge, NaN where there is none."""
    if "loss_db" not in record:
        return np.nan
    loss = _number(f"{_edge_name(record)}: `loss_db`", record["loss_db"], np.inf, mistakes)
    if loss < 0:
        mistakes.append(f"{_edge_name(record)}: `loss_db` must not be negative, but is {loss:g}")
    return loss


def _edge_name(record: Mapping[str, Any]) -> str:
    """Return how messages call an edge."""
    return f"edge `{record.get('a', '?')}`-`{record.get('b', '?')}`"


def _distance_km(places: Mapping[str, NDArray[np.float64]], ends: tuple[int, int]) -> float:
    """Return the distance of two nodes, NaN where they share no kind of coordinates."""
    a, b = ends
    latitude, longitude = places["latitude_deg"], places["longitude_deg"]
    great_circle = float(great_circle_km(latitude[a], longitude[a], latitude[b], longitude[b]))
    straight = float(np.hypot(places["x_km"][a] - places["x_km"][b], places["y_km"][a] - places["y_km"][b]))
    return straight if np.isnan(great_circle) else great_circle


def _place(places: Mapping[str, NDArray[np.float64]], node: int) -> NDArray[np.float64]:
    """Return a node's coordinates of the kind that it has in full, else NaN."""
    globe = np.array([places["latitude_deg"][node], places["longitude_deg"][node]])
    return np.array([places["x_km"][node], places["y_km"][node]]) if np.isnan(globe).any() else globe


def _plot_position(places: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return plot coordinates `(n, 2)`: a flat map (km) where all places are known, else a circle."""
    latitude, longitude = places["latitude_deg"], places["longitude_deg"]
    flat = np.column_stack([places["x_km"], places["y_km"]])
    if not np.isnan(latitude + longitude).any():
        east = np.cos(np.radians(latitude.mean())) * np.radians(longitude - longitude.mean())
        return EARTH_RADIUS_KM * np.column_stack([east, np.radians(latitude - latitude.mean())])
    return circle(len(latitude)) if np.isnan(flat).any() else flat


def _labels(ids: list[str], records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the nodes' labels where all have one and no two are equal, else their ids."""
    labels = [str(record["label"]) for record in records if "label" in record]
    return labels if len(set(labels)) == len(ids) else ids


def _unreachable(ids: list[str], ends: NDArray[np.int64]) -> list[str]:
    """Return a mistake that names nodes which no path joins to the first one, or nothing."""
    part = component_of_node(len(ids), ends)
    lost = [f"`{ids[node]}`" for node in np.flatnonzero(part != part[0])]
    if not lost:
        return []
    shown = ", ".join(lost[:5]) + (f" and {len(lost) - 5} more" if len(lost) > 5 else "")
    return [f"must be connected, but no path leads from node `{ids[0]}` to {shown}"]


def _check_keys(where: str, record: Mapping[str, Any], known: Sequence[str], mistakes: list[str]) -> None:
    """Note every key that is not known."""
    for key in record:
        if key not in known:
            nearest = nearest_name(key, known)
            hint = f" Did you mean `{nearest}`?" if nearest else ""
            mistakes.append(f"{where}: unknown key `{key}`.{hint} Known: {', '.join(known)}.")


def _number(what: str, value: object, limit: float, mistakes: list[str]) -> float:
    """Return a finite number in [-limit, limit], or NaN after noting that it is not one."""
    if isinstance(value, int | float) and not isinstance(value, bool) and np.isfinite(value) and abs(value) <= limit:
        return float(value)
    interval = f" in [{-limit:g}, {limit:g}]" if np.isfinite(limit) else ""
    mistakes.append(f"{what} must be a finite number{interval}, but is {_shown(value)}")
    return np.nan


def _shown(value: object) -> str:
    """Return a value as text for a message, cut where it is long."""
    text = "missing" if value is None else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
