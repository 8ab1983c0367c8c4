"""A step of the drift, applied to a running network: exactly, for what is to come is memoryless."""

from typing import Any

import numpy as np
import numpy.typing as npt

from ceas.network.arena import EXPIRY, Arena
from ceas.network.kernel import reschedule_success
from ceas.network.policy import NEVER
from ceas.network.records import NetworkModel, correlator_lifetime_ns
from ceas.network.route_arena import PRESENT
from ceas.network.route_state import LinkValues, start_correlators

__all__ = ["apply_drift", "drift_times"]


def drift_times(model: NetworkModel, start_ns: int, end_ns: int) -> list[int]:
    """Return the times of the steps of the drift in [start, end), in order."""
    if model.drift is None:
        return []
    return sorted({int(time) for time in model.drift.time_ns if start_ns <= time < end_ns})


def apply_drift(
    arena: Arena, model: NetworkModel, values: LinkValues, constants: npt.NDArray[Any], now_ns: int
) -> None:
    """Change the links of a running network to new constants; the arena is changed.

    The next success of a link whose chance changes is drawn anew from the first attempt that begins now or later.
    Stored pairs keep their state and decay at the new rates, and so do those that requests hold.
    """
    names = ["log_failure", "initial_werner", "decay_per_ns", "lifetime_ns"]
    if len(arena.axes) > 0:
        names += [name for axis in "xyz" for name in (f"initial_{axis}", f"decay_{axis}_per_ns")]
    differs = np.zeros(len(constants), dtype=np.bool_)
    for name in names:
        differs |= arena.constants[name] != constants[name]
    is_new_chance = arena.constants["log_failure"] != constants["log_failure"]
    _age_held_pairs(arena, differs, now_ns)
    for link in np.flatnonzero(differs):
        shift_stock = _shift_axes if len(arena.axes) > 0 else _shift_stock
        shift_stock(arena, constants, int(link), model.minimum_fidelity, now_ns)
    is_announced = arena.announced is arena.constants
    arena.constants[:] = constants
    if is_announced:
        arena.announced[:] = constants
    if model.repeaters is not None:
        arena.routes.start[:] = start_correlators(model, values)
    arena.routes.decay_factor[:] = values.decay_factor
    reschedule_success(arena.constants, arena.states, arena.next_ns, np.flatnonzero(is_new_chance), now_ns)


def _age_held_pairs(arena: Arena, differs: npt.NDArray[np.bool_], now_ns: int) -> None:
    """Bring the pairs of changing links that requests hold unswapped to the present, at the old rate."""
    routes = arena.routes
    for slot in np.flatnonzero(routes.requests["is_live"]):
        flow = routes.flows[routes.requests["flow"][slot]]
        for at in range(int(flow["n_hops"])):
            hop = routes.hops[slot, at]
            is_elementary = hop["state"] == PRESENT and hop["pair_id"] >= 0 and hop["first"] == hop["last"] == at
            if not is_elementary or not differs[hop["link"]]:
                continue
            for axis in "xyz":
                ends = routes.route_node[flow["first_node"] + at : flow["first_node"] + at + 2]
                rate = routes.nodes[f"rate_{axis}"][ends].sum() * routes.decay_factor[hop["link"]]
                routes.hops[axis][slot, at] *= np.exp(-rate * (now_ns - hop["reference_ns"]))
            routes.hops["reference_ns"][slot, at] = now_ns


def _shift_stock(arena: Arena, constants: npt.NDArray[Any], link: int, minimum_fidelity: float, now_ns: int) -> None:
    """Give a link's stored pairs the shift of their logarithm with which they keep their state under new constants."""
    n_stored = int(arena.states["n_stored"][link])
    if n_stored == 0:
        return
    old, new = arena.constants[link], constants[link]
    age_ns = now_ns - arena.stock_birth_ns[link, :n_stored]
    shift = arena.stock_shift[link, :n_stored]
    logarithm = np.log(old["initial_werner"]) + shift - old["decay_per_ns"] * age_ns
    with np.errstate(divide="ignore"):
        shift[:] = logarithm - np.log(new["initial_werner"]) + new["decay_per_ns"] * age_ns
    margin = np.maximum(logarithm - np.log((4.0 * minimum_fidelity - 1.0) / 3.0), 0.0)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        left_ns = np.where(margin > 0.0, margin / new["decay_per_ns"], 0.0)
    expiry_ns = now_ns + np.minimum(left_ns, float(NEVER // 4)).astype(np.int64)
    arena.stock_expiry_ns[link, :n_stored] = expiry_ns
    arena.next_ns[link, EXPIRY] = expiry_ns.min()


def _shift_axes(arena: Arena, constants: npt.NDArray[Any], link: int, minimum_fidelity: float, now_ns: int) -> None:
    """Do what `_shift_stock` does for the three correlators of Bell-diagonal pairs."""
    n_stored = int(arena.states["n_stored"][link])
    if n_stored == 0:
        return
    old, new = arena.constants[link], constants[link]
    age_ns = now_ns - arena.stock_birth_ns[link, :n_stored]
    present, rates_hz = np.zeros((n_stored, 3)), np.zeros((n_stored, 3))
    for axis, name in enumerate("xyz"):
        # The logarithm of what the correlator would have been at birth, had it always decayed at the present rate.
        logarithm = arena.stock_axis_logarithm[link, :n_stored, axis]
        present[:, axis] = np.copysign(np.exp(logarithm - old[f"decay_{name}_per_ns"] * age_ns), old[f"initial_{name}"])
        rates_hz[:, axis] = new[f"decay_{name}_per_ns"] * 1e9
        logarithm += (new[f"decay_{name}_per_ns"] - old[f"decay_{name}_per_ns"]) * age_ns
    left_ns = correlator_lifetime_ns(present, rates_hz, minimum_fidelity)
    arena.stock_expiry_ns[link, :n_stored] = now_ns + left_ns
    arena.next_ns[link, EXPIRY] = arena.stock_expiry_ns[link, :n_stored].min()
