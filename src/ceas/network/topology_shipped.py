"""The networks that come with the package; each one's `provenance` says where its data are from."""

import json
from importlib.resources import files

from ceas.network.topology_files import topology_from_document
from ceas.network.topology_value import Topology

__all__ = [
    "abilene",
    "arnes",
    "belnet",
    "cesnet",
    "chicago",
    "delft_eindhoven",
    "dfn",
    "garr",
    "geant",
    "janet",
    "nsfnet",
    "renater",
    "surfnet",
]


def surfnet() -> Topology:
    """Return SURFnet of October 2010, the Netherlands: 50 nodes, 68 links, great-circle lengths."""
    return _shipped("topologies", "surfnet")


def arnes() -> Topology:
    """Return Arnes, Slovenia: 34 nodes, 46 links, great-circle lengths."""
    return _shipped("topologies", "arnes")


def chicago() -> Topology:
    """Return the Chicago metropolitan quantum network: 9 routers, 10 links of 0.1 to 66 km of fibre."""
    return _shipped("quantum_topologies", "chicago")


def delft_eindhoven() -> Topology:
    """Return the chain of SURF fibres from Delft to Eindhoven: 5 links with measured lengths and losses."""
    return _shipped("quantum_topologies", "delft_eindhoven")


def belnet() -> Topology:
    """Return BELNET of 2010, Belgium: 16 places, 17 links, great-circle lengths."""
    return _shipped("zoo_topologies", "belnet")


def cesnet() -> Topology:
    """Return CESNET of June 2010, Czechia: 45 places, 56 links, great-circle lengths."""
    return _shipped("zoo_topologies", "cesnet")


def dfn() -> Topology:
    """Return DFN, Germany: 47 places, 73 links, great-circle lengths."""
    return _shipped("zoo_topologies", "dfn")


def garr() -> Topology:
    """Return GARR of January 2012, Italy: 36 places, 44 links, great-circle lengths."""
    return _shipped("zoo_topologies", "garr")


def janet() -> Topology:
    """Return the backbone of JANET, United Kingdom: 23 places, 37 links, great-circle lengths."""
    return _shipped("zoo_topologies", "janet")


def renater() -> Topology:
    """Return RENATER of 2010, France: 37 places, 48 links, great-circle lengths."""
    return _shipped("zoo_topologies", "renater")


def geant() -> Topology:
    """Return GEANT of 2012, Europe: 37 places, 58 links, great-circle lengths up to 3,218 km."""
    return _shipped("zoo_topologies", "geant")


def abilene() -> Topology:
    """Return Abilene, United States: 11 places, 14 links, great-circle lengths of 263 to 2,207 km."""
    return _shipped("zoo_topologies", "abilene")


def nsfnet() -> Topology:
    """Return NSFNET, United States: 13 places, 15 links, great-circle lengths of 278 to 3,293 km."""
    return _shipped("zoo_topologies", "nsfnet")


def _shipped(file: str, name: str) -> Topology:
    """Return a network of one of the package's data files."""
    shipped = json.loads(files("ceas.network").joinpath(f"data/{file}.json").read_text(encoding="utf-8"))
    of_file = {"provenance": shipped["provenance"]} if "provenance" in shipped else {}
    return topology_from_document(
        of_file | shipped["topologies"][name], source=f"{file}.json: {name}", default_name=name
    )
