"""Network configurations of the simulator SeQUeNCe, read as topologies.

Understood is a network of quantum routers that meet in the middle. It is given by `qconnections` (one entry a link:
`node1`, `node2`, the whole fibre's `distance` in metres and `attenuation` in dB/m), by `qchannels` (two entries a link,
from each of two routers to the BSM node between them: `source`, `destination`, `distance`, `attenuation`), or by both.
Distances of the two halves add up, and so do their losses, which are kept as measured ones. What the file says about
memories, detectors, gates and classical channels is hardware and not read: ours comes from the scenario.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ceas.errors import ScenarioError, nearest_name

__all__ = ["is_sequence_document", "read_sequence_document"]

_LINK_LISTS = ("qconnections", "qchannels")
_ROUTER, _MIDPOINT = "QuantumRouter", "BSMNode"
# What a link's entry must hold, the two ends first.
_CONNECTION_KEYS = ("node1", "node2", "distance", "attenuation", "type")
_CHANNEL_KEYS = ("source", "destination", "distance", "attenuation")


def is_sequence_document(document: Mapping[str, Any]) -> bool:
    """Tell whether a JSON document has the quantum connections or channels of a SeQUeNCe configuration."""
    return any(key in document for key in _LINK_LISTS)


def read_sequence_document(document: Mapping[str, Any], *, source: str) -> Mapping[str, Any]:
    """Return a SeQUeNCe configuration as a document of our own form, with lengths (km) and losses (dB).

    Args:
        document: What the file holds.
        source: What messages call the file.

    Raises:
        ScenarioError: Something that decides who is linked to whom, and how well, is missing, wrong or of a kind that
            is not understood; one message for each mistake.
    """
    mistakes: list[str] = []
    type_of = _node_types(document, mistakes)
    edges = [*_connections(document, type_of, mistakes), *_joined_channels(document, type_of, mistakes)]
    if mistakes:
        raise ScenarioError(source, mistakes)
    nodes = [{"id": name} for name, kind in type_of.items() if kind == _ROUTER]
    return {"nodes": nodes, "edges": edges, "provenance": f"SeQUeNCe network configuration {source}"}


def _node_types(document: Mapping[str, Any], mistakes: list[str]) -> dict[str, str]:
    """Return the type of each node by its name."""
    type_of: dict[str, str] = {}
    for position, node in enumerate(_entries(document, "nodes", mistakes)):
        name, kind = node.get("name"), node.get("type")
        if not isinstance(name, str) or not name:
            mistakes.append(f"node {position}: `name` must be a string, but is {_shown(name)}")
            continue
        if name in type_of:
            mistakes.append(f"node `{name}`: `name` must differ from node to node, but appears twice")
        if kind not in (_ROUTER, _MIDPOINT):
            mistakes.append(f"node `{name}`: `type` must be {_ROUTER} or {_MIDPOINT}, but is {_shown(kind)}")
        # A node of another type is told of once, not again at each of its links.
        type_of[name] = kind if kind == _MIDPOINT else _ROUTER
    if "nodes" in document and not mistakes and _ROUTER not in type_of.values():
        mistakes.append(f"`nodes` must hold at least two of type {_ROUTER}, but holds none")
    return type_of


def _connections(
    document: Mapping[str, Any], type_of: Mapping[str, str], mistakes: list[str]
) -> Iterator[dict[str, Any]]:
    """Yield an edge for each connection of two routers."""
    for position, entry in enumerate(_entries(document, "qconnections", mistakes)):
        where = f"qconnection {position}"
        ends = _ends(where, entry, ("node1", "node2"), type_of, mistakes)
        _check_slips(where, entry, _CONNECTION_KEYS, mistakes)
        # Files of early versions carry no type and mean the only one there was.
        kind = entry.get("type", "meet_in_the_middle")
        if kind != "meet_in_the_middle":
            mistakes.append(f"{where}: `type` must be meet_in_the_middle, but is {_shown(kind)}")
        for end in ends:
            if type_of.get(end) == _MIDPOINT:
                mistakes.append(f"{where}: must join two routers, but `{end}` is a {_MIDPOINT}")
        length_km, loss_db = _fibre(where, entry, mistakes)
        if len(ends) == 2:
            yield {"a": ends[0], "b": ends[1], "length_km": length_km, "loss_db": loss_db}


def _joined_channels(
    document: Mapping[str, Any], type_of: Mapping[str, str], mistakes: list[str]
) -> Iterator[dict[str, Any]]:
    """Yield an edge for each BSM node, of the two channels that lead to it."""
    halves: dict[str, list[tuple[str, float, float]]] = {
        name: [] for name, kind in type_of.items() if kind == _MIDPOINT
    }
    for position, entry in enumerate(_entries(document, "qchannels", mistakes)):
        where = f"qchannel {position}"
        ends = _ends(where, entry, ("source", "destination"), type_of, mistakes)
        _check_slips(where, entry, _CHANNEL_KEYS, mistakes)
        length_km, loss_db = _fibre(where, entry, mistakes)
        if len(ends) != 2:
            continue
        if (type_of[ends[0]], type_of[ends[1]]) != (_ROUTER, _MIDPOINT):
            mistakes.append(
                f"{where}: must lead from a {_ROUTER} to a {_MIDPOINT}, but leads from {ends[0]} to {ends[1]}"
            )
            continue
        halves[ends[1]].append((ends[0], length_km, loss_db))
    for midpoint, arms in halves.items():
        if len(arms) != 2:
            mistakes.append(f"node `{midpoint}`: two channels must lead to it, but {len(arms)} do")
            continue
        (a, length_a_km, loss_a_db), (b, length_b_km, loss_b_db) = arms
        yield {"a": a, "b": b, "length_km": length_a_km + length_b_km, "loss_db": loss_a_db + loss_b_db}


def _entries(document: Mapping[str, Any], key: str, mistakes: list[str]) -> list[dict[str, Any]]:
    """Return the objects under `key`; only `nodes` must be there."""
    entries = document.get(key, None if key == "nodes" else [])
    if isinstance(entries, list) and all(isinstance(entry, dict) for entry in entries):
        return entries
    mistakes.append(f"`{key}` must be a list of objects, but is {_shown(entries)}")
    return []


def _ends(
    where: str, entry: Mapping[str, Any], keys: tuple[str, str], type_of: Mapping[str, str], mistakes: list[str]
) -> list[str]:
    """Return the two ends of a link or channel that are names of nodes, noting those that are not."""
    ends = []
    for key in keys:
        end = entry.get(key)
        if isinstance(end, str) and end in type_of:
            ends.append(end)
        elif end is None:
            mistakes.append(f"{where}: `{key}` is missing")
        else:
            hint = nearest_name(str(end), type_of)
            mistakes.append(
                f"{where}: no node has the name {_shown(end)} of `{key}`"
                + (f"; did you mean `{hint}`?" if hint else "")
            )
    return ends


def _fibre(where: str, entry: Mapping[str, Any], mistakes: list[str]) -> tuple[float, float]:
    """Return length (km) and loss (dB) of a fibre given in metres and dB/m."""
    distance_m = _number(where, entry, "distance", mistakes)
    attenuation_db_per_m = _number(where, entry, "attenuation", mistakes)
    if distance_m <= 0:
        mistakes.append(f"{where}: `distance` must be positive, but is {distance_m:g}")
    if attenuation_db_per_m < 0:
        mistakes.append(f"{where}: `attenuation` must not be negative, but is {attenuation_db_per_m:g}")
    return distance_m / 1000.0, distance_m * attenuation_db_per_m


def _number(where: str, entry: Mapping[str, Any], key: str, mistakes: list[str]) -> float:
    """Return a finite number, or NaN after noting that there is none."""
    value = entry.get(key)
    if isinstance(value, int | float) and not isinstance(value, bool) and np.isfinite(value):
        return float(value)
    # A key that was mistyped is told of as such, once.
    if value is None and any(nearest_name(other, [key]) for other in entry if other != key):
        return np.nan
    mistakes.append(
        f"{where}: `{key}` " + ("is missing" if value is None else f"must be a number, but is {_shown(value)}")
    )
    return np.nan


def _check_slips(where: str, entry: Mapping[str, Any], read: tuple[str, ...], mistakes: list[str]) -> None:
    """Note keys that look like mistyped ones of those that are read; all others are hardware."""
    for key in entry:
        nearest = nearest_name(key, [name for name in read if name not in entry]) if key not in read else None
        if nearest:
            mistakes.append(f"{where}: unknown key `{key}`. Did you mean `{nearest}`?")


def _shown(value: object) -> str:
    """Return a value as text for a message, cut where it is long."""
    text = "missing" if value is None else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
