"""Hardware presets: every number has a unit and a source, and what is not known is not made up."""

import json
import math
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from ceas import physics
from ceas.errors import DomainError, UnknownNameError
from ceas.physics.presets import preset_from_entry

ENTRIES = json.loads(files("ceas.physics").joinpath("data/presets.json").read_text("utf-8"))["presets"]
UNITS = {"_s": "s", "_db_per_km": "dB/km", "_km_per_s": "km/s"}


@pytest.mark.parametrize("name", physics.preset_names())
def test_every_value_says_where_it_stands(name: str) -> None:
    preset = physics.load_preset(name)
    assert preset.name == name
    assert preset.platform
    assert preset.note
    for quantity, stated in preset.provenance.items():
        suffix = max((s for s in UNITS if quantity.endswith(s)), key=len, default="")
        assert stated.unit == UNITS.get(suffix, "1"), quantity
        # Nothing is shipped from memory, and nothing but ideal values by definition.
        assert stated.status == ("defined" if name == "idealised" else "read"), quantity
        assert name == "idealised" or len(stated.source) > 20, quantity
        assert len(stated.place) > 3, quantity


@pytest.mark.parametrize("name", physics.preset_names())
def test_values_are_physical(name: str) -> None:
    preset = physics.load_preset(name)
    for quantity in ("one_qubit_depolarising", "two_qubit_depolarising", "device_efficiency", "visibility"):
        value = getattr(preset, quantity)
        assert value is None or 0.0 <= value <= 1.0
    t1, t2 = preset.relaxation_time_s, preset.dephasing_time_s
    if t1 is not None and t2 is not None:
        physics.RelaxingMemory(relaxation_time_s=t1, dephasing_time_s=t2)


def entry(**changes: object) -> dict[str, object]:
    value = {"value": 1.0, "unit": "s", "source": "a paper", "place": "table 1", "status": "read"} | changes
    return {
        "platform": "p",
        "protocol": "double_click",
        "note": "n",
        "values": {"dephasing_time_s": {k: v for k, v in value.items() if v is not None}},
    }


@pytest.mark.parametrize("key", ["value", "unit", "source", "place", "status"])
def test_a_value_without_source_unit_or_place_is_refused(key: str) -> None:
    assert preset_from_entry("p", entry()).dephasing_time_s == 1.0
    with pytest.raises(DomainError, match=key):
        preset_from_entry("p", entry(**{key: None}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"source": ""}, "source"),
        ({"unit": ""}, "unit"),
        ({"status": "guessed"}, "status"),
        ({"value": "many"}, "number"),
        ({"value": True}, "number"),
        ({"value": -1.0}, "number"),
        ({"value": float("nan")}, "number"),
    ],
)
def test_a_value_that_is_none_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(DomainError, match=message):
        preset_from_entry("p", entry(**changes))


def test_unknown_quantities_protocols_and_names_are_refused() -> None:
    strange = entry()
    strange["values"] = {"colour_s": strange["values"]["dephasing_time_s"]}
    with pytest.raises(DomainError, match="colour_s"):
        preset_from_entry("p", strange)
    with pytest.raises(DomainError, match="protocol"):
        preset_from_entry("p", entry() | {"protocol": "triple_click"})
    with pytest.raises(UnknownNameError, match="nv_centre"):
        physics.load_preset("nv_center")


def test_what_is_missing_is_named_and_not_filled_in() -> None:
    dot = physics.load_preset("quantum_dot")
    assert {"readout_error", "dark_count_probability"} <= set(dot.missing)
    with pytest.raises(DomainError, match="readout_error"):
        dot.local_operations()
    with pytest.raises(DomainError, match=r"dark_count_probability, .*attenuation"):
        dot.require("visibility", "dark_count_probability", "attenuation_db_per_km")


def test_presets_with_full_links_herald() -> None:
    for name in ("idealised", "nv_centre", "trapped_ion"):
        preset = physics.load_preset(name)
        hardware = preset.heralding_parameters()
        link = physics.herald_double_click(10.0, multiplexing=1, **hardware)
        assert physics.herald_single_click(10.0, bright_state_probability=0.1, **hardware).success_probability > 0.0
        assert 0.0 < link.success_probability <= 0.5
        assert link.bell_diagonal[0] > 0.5
    operations = physics.load_preset("nv_centre").local_operations()
    assert (operations.two_qubit_depolarising, operations.readout_error) == (0.06, 0.0375)


def test_gate_infidelities_become_depolarising_probabilities() -> None:
    """A CZ of average fidelity 0.995 depolarises with probability 4/3 of 0.005."""
    atom = physics.load_preset("neutral_atom")
    assert ENTRIES["neutral_atom"]["values"]["two_qubit_gate_infidelity"]["value"] == 0.005
    np.testing.assert_allclose(atom.two_qubit_depolarising, 0.005 * 4 / 3)


COLUMNS = (
    "relaxation_time_s",
    "dephasing_time_s",
    "one_qubit_depolarising",
    "two_qubit_depolarising",
    "readout_error",
    "device_efficiency",
    "dark_count_probability",
    "visibility",
    "preparation_time_s",
    "attenuation_db_per_km",
)


@pytest.mark.parametrize("name", physics.preset_names())
def test_the_documentation_shows_the_shipped_numbers(name: str) -> None:
    page = (Path(__file__).parents[2] / "docs" / "physics.md").read_text("utf-8")
    preset = physics.load_preset(name)
    numbers = [getattr(preset, column) for column in COLUMNS]
    cells = ["-" if x is None else "inf" if math.isinf(x) else f"{x:.3g}" for x in numbers]
    assert f"| {' | '.join([f'`{name}`', preset.protocol.replace('_', ' '), *cells])} |" in page
    # And says where they come from.
    assert page.count(f"| `{name}` |") == 2
