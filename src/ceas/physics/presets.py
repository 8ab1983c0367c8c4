"""Hardware presets: what published machines can do, each number with its source.

The data file names for every value its unit, its source, the place in the source and whether it was read there. Values
that no readable source states are left out and are None here; `HardwarePreset.missing` names them, and `require`
refuses a preset that lacks what is asked of it. No default is filled in.
"""

import json
import math
from dataclasses import dataclass, fields
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from ceas.errors import DomainError, UnknownNameError
from ceas.physics.operations import LocalOperations, depolarising_from_gate_fidelity

__all__ = ["HardwarePreset", "PresetValue", "load_preset", "preset_names"]

Status = Literal["read", "recalled", "defined"]

# Quantities of the file that are not fields but are turned into one.
_CONVERTED = {
    "one_qubit_gate_infidelity": ("one_qubit_depolarising", 1),
    "two_qubit_gate_infidelity": ("two_qubit_depolarising", 2),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PresetValue:
    """One number and where it stands.

    Attributes:
        value: The number, infinite where the source switches an effect off.
        unit: Its unit; `1` for a probability.
        source: Paper, or repository and file.
        place: Table, page, key or commit in the source.
        status: `read` there by us, `recalled`, or `defined` by us.
    """

    value: float
    unit: str
    source: str
    place: str
    status: Status

    def __post_init__(self) -> None:
        for name in ("unit", "source", "place"):
            if not getattr(self, name):
                raise DomainError(f"Argument `{name}` must be given for every value of a preset, but is empty.")
        if self.status not in ("read", "recalled", "defined"):
            raise DomainError(f"Argument `status` must be read, recalled or defined, but is {self.status!r}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class HardwarePreset:
    """A platform's numbers, None where no source was found.

    Attributes:
        name: Name of the preset.
        platform: What it is.
        protocol: How its links are heralded: `double_click` or `single_click`.
        note: What the numbers are of, and what is not in them.
        provenance: Where each number stands, by its name in the data file.
        relaxation_time_s: T1 of the memory (s).
        dephasing_time_s: T2 of the memory (s).
        communication_relaxation_time_s: T1 of the qubit that emits, where it is another one (s).
        communication_dephasing_time_s: T2 of that qubit (s).
        one_qubit_depolarising: Depolarising probability of a one-qubit gate.
        two_qubit_depolarising: Depolarising probability of a two-qubit gate.
        readout_error: Chance that a measured bit is flipped, the mean over both values.
        two_qubit_gate_time_s: Duration of a two-qubit gate (s).
        readout_time_s: Duration of a readout (s).
        preparation_time_s: Time to prepare and emit, or between attempts over no distance (s).
        device_efficiency: Chance that a photon is emitted, collected and detected over fibre of no length.
        dark_count_probability: Chance of a dark count in one detector and window.
        visibility: Hong-Ou-Mandel visibility.
        bright_state_probability: Bright-state probability at which a single-click source is run.
        conversion_efficiency: Chance that a transducer's microwave photon reaches the qubit.
        attenuation_db_per_km: Fibre attenuation (dB/km).
        speed_of_light_km_per_s: Speed of light in the fibre (km/s).
    """

    name: str
    platform: str
    protocol: Literal["double_click", "single_click"]
    note: str
    provenance: dict[str, PresetValue]
    relaxation_time_s: float | None = None
    dephasing_time_s: float | None = None
    communication_relaxation_time_s: float | None = None
    communication_dephasing_time_s: float | None = None
    one_qubit_depolarising: float | None = None
    two_qubit_depolarising: float | None = None
    readout_error: float | None = None
    two_qubit_gate_time_s: float | None = None
    readout_time_s: float | None = None
    preparation_time_s: float | None = None
    device_efficiency: float | None = None
    dark_count_probability: float | None = None
    visibility: float | None = None
    bright_state_probability: float | None = None
    conversion_efficiency: float | None = None
    attenuation_db_per_km: float | None = None
    speed_of_light_km_per_s: float | None = None

    @property
    def missing(self) -> tuple[str, ...]:
        """Names of the numbers that no source was found for."""
        return tuple(field.name for field in fields(self) if getattr(self, field.name) is None)

    def require(self, *names: str) -> dict[str, float]:
        """Return the named numbers.

        Raises:
            DomainError: The preset lacks some of them; all are named.
        """
        values = {name: getattr(self, name) for name in names}
        lacking = [name for name, value in values.items() if value is None]
        if lacking:
            raise DomainError(
                f"Argument `preset` must state {', '.join(lacking)}, but no source was found for `{self.name}`."
            )
        return values

    def heralding_parameters(self) -> dict[str, float]:
        """Return what `herald_double_click` and `herald_single_click` have in common, ready to be passed on.

        Raises:
            DomainError: One of them is not known.
        """
        return self.require(
            "attenuation_db_per_km",
            "device_efficiency",
            "dark_count_probability",
            "visibility",
            "preparation_time_s",
            "speed_of_light_km_per_s",
        )

    def local_operations(self) -> LocalOperations:
        """Return the gates and readout.

        Raises:
            DomainError: An error probability is not known.
        """
        return LocalOperations(**self.require("one_qubit_depolarising", "two_qubit_depolarising", "readout_error"))


def preset_names() -> tuple[str, ...]:
    """Return the names of all presets, sorted."""
    return tuple(sorted(_table()))


def load_preset(name: str) -> HardwarePreset:
    """Return a preset by its name.

    Raises:
        UnknownNameError: There is no such preset.
    """
    table = _table()
    if name not in table:
        raise UnknownNameError("hardware preset", name, preset_names())
    return preset_from_entry(name, table[name])


def preset_from_entry(name: str, entry: dict[str, Any]) -> HardwarePreset:
    """Return the preset that one entry of the data file describes.

    Raises:
        DomainError: A value lacks unit, source, place or status, is no number, or has an unknown name.
    """
    provenance = {quantity: _value(quantity, stated) for quantity, stated in entry["values"].items()}
    numbers: dict[str, float] = {}
    known = {field.name for field in fields(HardwarePreset)}
    for quantity, stated in provenance.items():
        if quantity in _CONVERTED:
            field, n_qubits = _CONVERTED[quantity]
            numbers[field] = depolarising_from_gate_fidelity(1.0 - stated.value, n_qubits)
        elif quantity in known:
            numbers[quantity] = stated.value
        else:
            raise DomainError(f"Argument `{name}` must hold known quantities, but has `{quantity}`.")
    if entry["protocol"] not in ("double_click", "single_click"):
        raise DomainError(f"Argument `protocol` must be double_click or single_click, but is {entry['protocol']!r}.")
    return HardwarePreset(
        name=name,
        platform=entry["platform"],
        protocol=entry["protocol"],
        note=entry["note"],
        provenance=provenance,
        **numbers,
    )


def _value(quantity: str, stated: dict[str, Any]) -> PresetValue:
    """Return one value of the data file after its checks."""
    lacking = {"value", "unit", "source", "place", "status"} - set(stated)
    if lacking:
        raise DomainError(f"Argument `{quantity}` must state {', '.join(sorted(lacking))}, but does not.")
    # JSON has no infinity.
    value = math.inf if stated["value"] == "inf" else stated["value"]
    if isinstance(value, bool) or not isinstance(value, (int, float)) or math.isnan(value) or value < 0:
        raise DomainError(f"Argument `{quantity}` must be a number of at least 0, but is {value!r}.")
    return PresetValue(
        value=float(value),
        unit=stated["unit"],
        source=stated["source"],
        place=stated["place"],
        status=stated["status"],
    )


@cache
def _table() -> dict[str, dict[str, Any]]:
    """Return the data file's entries."""
    text = files("ceas.physics").joinpath("data/presets.json").read_text("utf-8")
    table: dict[str, dict[str, Any]] = json.loads(text)["presets"]
    return table
