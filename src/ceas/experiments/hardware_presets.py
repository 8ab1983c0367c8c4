"""What a hardware preset fills into a scenario, and the depolarising memory that stands for its T1 and T2.

The physics is imported where it is used, which keeps the reading of scenarios light.
"""

import math
from typing import Any

__all__ = ["depolarising_time_s", "preset_defaults", "preset_memory"]

# Memories that do not decay, for a file format without infinity (s).
_LONG_S = 1e9


def depolarising_time_s(relaxation_time_s: float, dephasing_time_s: float) -> float:
    """Return the depolarising time of equal initial loss of fidelity (s), long but finite for endless T1 and T2."""
    from ceas.physics import RelaxingMemory  # noqa: PLC0415 - keeps the reading of scenarios light

    memory = RelaxingMemory(relaxation_time_s=relaxation_time_s, dephasing_time_s=dephasing_time_s)
    time_s = float(memory.depolarising_time_s)
    return time_s if math.isfinite(time_s) else _LONG_S


def preset_defaults(name: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the keys of the hardware section that a preset fills, and those for which it has no number.

    The coherence time is that of the depolarising memory whose pairs lose fidelity as fast at first as in memories of
    the preset's T1 and T2: 3 / (1/T1 + 2/T2); Bell-diagonal pairs take T1 and T2 themselves, see `preset_memory`. A
    gate that depolarises with probability p has a Pauli error of 3p/4 on each of its qubits. These are taken as
    independent, so a two-qubit gate's average infidelity becomes up to 1.6 times the preset's, and a swap keeps
    (1 - p)^2 of `c_y` and not 1 - p. One mode attempts at a time. A perfect efficiency has no spread, for draws are cut
    off at 1 and half of the nodes would be worse. The section has no keys for
    durations of gates and readout, the speed of light (200,000 km/s everywhere), the emitting qubit's own memory and
    the loss of a transducer; presets' values of these are not used. Both are empty for an unknown name.
    """
    from ceas.physics import load_preset, preset_names  # noqa: PLC0415 - reads a data file

    if name not in preset_names():
        return {}, ()
    preset = load_preset(name)
    t1_s, t2_s = preset.relaxation_time_s, preset.dephasing_time_s
    coherence_time_s = None
    if t1_s is not None and t2_s is not None:
        coherence_time_s = depolarising_time_s(t1_s, t2_s)
    stated = {
        "coherence_time_s": coherence_time_s,
        "multiplexing": 1,
        "attenuation_db_per_km": preset.attenuation_db_per_km,
        "device_efficiency": preset.device_efficiency,
        "dark_count_probability": preset.dark_count_probability,
        "visibility": preset.visibility,
        "preparation_time_s": preset.preparation_time_s,
        "protocol": preset.protocol,
        "one_qubit_error": None if preset.one_qubit_depolarising is None else 0.75 * preset.one_qubit_depolarising,
        "two_qubit_error": None if preset.two_qubit_depolarising is None else 0.75 * preset.two_qubit_depolarising,
        "readout_error": preset.readout_error,
    }
    known = {key: value for key, value in stated.items() if value is not None}
    if preset.device_efficiency == 1.0:
        known["device_efficiency_spread"] = 0.0
    if preset.protocol == "single_click" and preset.bright_state_probability is not None:
        known["bright_state_probability"] = preset.bright_state_probability
    return known, tuple(key for key, value in stated.items() if value is None)


def preset_memory(name: str) -> dict[str, float]:
    """Return the T1 and T2 keys that a preset fills for Bell-diagonal pairs; none for perfect or unknown memories."""
    from ceas.physics import load_preset, preset_names  # noqa: PLC0415 - reads a data file

    if name not in preset_names():
        return {}
    preset = load_preset(name)
    t1_s, t2_s = preset.relaxation_time_s, preset.dephasing_time_s
    if t1_s is None or t2_s is None or math.isinf(t2_s):
        # With T1 alone T2 would be at most 2 T1.
        return {}
    return {"dephasing_time_s": t2_s} | ({} if math.isinf(t1_s) else {"relaxation_time_s": t1_s})
