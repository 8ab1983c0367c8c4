"""The memories: slots taken and freed, pairs stored and closed."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from ceas.network.arena import EXPIRY, Arena
from ceas.network.compilation import as_index, constant, inlined, outlined
from ceas.network.policy import NEVER, werner_at
from ceas.network.records import FIDELITY_BINS, Fate

__all__ = [
    "DISCARDED",
    "EXPIRED",
    "KEY",
    "LEARNING",
    "NOBODY",
    "ROUTE",
    "TEST",
    "close_pair",
    "free_one_slot",
    "release",
    "store_pair",
    "take_slot",
]

LEARNING, KEY, TEST = constant(Fate.LEARNING), constant(Fate.KEY), constant(Fate.TEST)
EXPIRED, DISCARDED = constant(Fate.EXPIRED), constant(Fate.DISCARDED)
ROUTE = constant(Fate.ROUTE)
NOBODY = constant(-1)
_ONE = constant(1)


@inlined
def take_slot(arena: Arena, node: int, now_ns: int) -> None:
    """Take a free slot of a node; without another the node's links are blocked."""
    arena.free_slots[node] -= 1
    if arena.free_slots[node] > 0:
        return
    for at in range(arena.first_neighbour[node], arena.first_neighbour[node + 1]):
        state = arena.states[as_index(arena.neighbour_link[at])]
        state.blocked_since_ns = min(state.blocked_since_ns, now_ns)


@inlined
def _free_slots_of(  # noqa: PLR0917 - compiled functions have no keyword-only arguments
    constants: npt.NDArray[Any],
    states: npt.NDArray[Any],
    tallies: npt.NDArray[Any],
    free_slots: npt.NDArray[np.int64],
    first_neighbour: npt.NDArray[np.int64],
    neighbour_link: npt.NDArray[np.int64],
    round_start_ns: int,
    node: int,
    count: int,
    now_ns: int,
) -> None:
    was_full = free_slots[node] == 0
    free_slots[node] += count
    if not was_full:
        return
    for at in range(first_neighbour[node], first_neighbour[node + 1]):
        link = as_index(neighbour_link[at])
        constant = constants[link]
        if free_slots[as_index(constant.node_a)] > 0 and free_slots[as_index(constant.node_b)] > 0:
            state = states[link]
            tallies[link].blocked_ns += now_ns - max(state.blocked_since_ns, round_start_ns)
            # A slot that is taken and freed at once, by a pair that is used when it is born, interrupts no attempt.
            if state.blocked_since_ns < now_ns:
                state.resume_ns = now_ns
            state.blocked_since_ns = NEVER


@outlined
def free_one_slot(  # noqa: PLR0917 - compiled functions have no keyword-only arguments
    constants: npt.NDArray[Any],
    states: npt.NDArray[Any],
    tallies: npt.NDArray[Any],
    free_slots: npt.NDArray[np.int64],
    first_neighbour: npt.NDArray[np.int64],
    neighbour_link: npt.NDArray[np.int64],
    round_start_ns: int,
    node: int,
    now_ns: int,
) -> None:
    """Free a slot of a node, as `release` does; called from many places, so it takes only the arrays that it needs."""
    _free_slots_of(
        constants, states, tallies, free_slots, first_neighbour, neighbour_link, round_start_ns, node, _ONE, now_ns
    )


@inlined
def _free_slots(arena: Arena, node: int, count: int, now_ns: int) -> None:
    _free_slots_of(
        arena.constants,
        arena.states,
        arena.tallies,
        arena.free_slots,
        arena.first_neighbour,
        arena.neighbour_link,
        arena.round_start_ns,
        node,
        count,
        now_ns,
    )


@inlined
def release(arena: Arena, link: int, count: int, now_ns: int) -> None:
    """Free a number of slots at both ends of a link; links that have room again resume with their next attempt."""
    _free_slots(arena, as_index(arena.constants[link].node_a), count, now_ns)
    _free_slots(arena, as_index(arena.constants[link].node_b), count, now_ns)


@inlined
def _trace_pair(  # noqa: PLR0917 - compiled functions have no keyword-only arguments
    arena: Arena, link: int, position: int, now_ns: int, fate: int, user: int, werner: float
) -> None:
    number = arena.stock_number[link, position]
    # Shifted by the link, so that every k-th pair of all links is not the same pair of each.
    if arena.trace_every == 0 or (number + link) % arena.trace_every != 0:
        return
    row = arena.trace[arena.n_written[2]]
    row.pair_id = number * len(arena.constants) + link
    row.link = link
    row.birth_ns = arena.stock_birth_ns[link, position]
    row.end_ns = now_ns
    row.fate = fate
    row.user = user
    row.shot = arena.n_written[3] if fate == LEARNING else -1
    row.werner_at_end = werner
    arena.n_written[2] += 1


@inlined
def _logarithm(correlator: float) -> float:
    """Return the logarithm of a correlator's size; its sign is that of the link's new pairs, whatever drifts."""
    return math.log(abs(correlator)) if correlator != 0.0 else -math.inf


@inlined
def _write_correlators(arena: Arena, link: int, position: int, age_ns: int) -> float:
    """Write the correlators of a stored pair into `pair_state` and return their mean."""
    constant, state = arena.constants[link], arena.pair_state
    if arena.routes.has_drift:
        x_y_z = arena.stock_axis_logarithm[link, position]
        state[0] = math.copysign(math.exp(x_y_z[0] - constant.decay_x_per_ns * age_ns), constant.initial_x)
        state[1] = math.copysign(math.exp(x_y_z[1] - constant.decay_y_per_ns * age_ns), constant.initial_y)
        state[2] = math.copysign(math.exp(x_y_z[2] - constant.decay_z_per_ns * age_ns), constant.initial_z)
    else:
        state[0] = werner_at(constant.initial_x, constant.decay_x_per_ns, age_ns)
        state[1] = werner_at(constant.initial_y, constant.decay_y_per_ns, age_ns)
        state[2] = werner_at(constant.initial_z, constant.decay_z_per_ns, age_ns)
    return float((state[0] + state[1] + state[2]) / 3.0)


@inlined
def close_pair(  # noqa: PLR0917 - compiled functions have no keyword-only arguments
    arena: Arena, link: int, position: int, now_ns: int, fate: int, user: int
) -> float:
    """Count the end of a pair, remove it from the stock, and return its Werner parameter; its slots stay taken.

    Of a Bell-diagonal pair that is the one of equal fidelity, and `pair_state` then holds the correlators.
    """
    state = arena.states[link]
    constant = arena.constants[link]
    age_ns = now_ns - arena.stock_birth_ns[link, position]
    if len(arena.axes) > 0:
        werner = _write_correlators(arena, link, position, age_ns)
    else:
        werner = werner_at(constant.initial_werner, constant.decay_per_ns, age_ns)
        if arena.routes.has_drift:
            werner *= math.exp(arena.stock_shift[link, position])
    arena.fates[link, fate] += 1
    if arena.routes.has_modes and fate != ROUTE and arena.routes.modes[link] > 0:
        arena.routes.mode_free_ns[link, arena.stock_mode[link, position]] = now_ns
    if fate <= TEST:
        bin_at_use = min(int(werner * FIDELITY_BINS), FIDELITY_BINS - 1)
        arena.fidelity_at_use[fate - 1, bin_at_use] += 1
    _trace_pair(arena, link, position, now_ns, fate, user, werner)
    state.n_stored -= 1
    for at in range(position, state.n_stored):
        arena.stock_birth_ns[link, at] = arena.stock_birth_ns[link, at + 1]
        arena.stock_number[link, at] = arena.stock_number[link, at + 1]
    if arena.routes.has_drift or arena.routes.has_modes:
        for at in range(position, state.n_stored):
            arena.stock_shift[link, at] = arena.stock_shift[link, at + 1]
            arena.stock_expiry_ns[link, at] = arena.stock_expiry_ns[link, at + 1]
            arena.stock_mode[link, at] = arena.stock_mode[link, at + 1]
            if len(arena.axes) > 0:
                for axis in range(3):
                    arena.stock_axis_logarithm[link, at, axis] = arena.stock_axis_logarithm[link, at + 1, axis]
    return werner


@inlined
def store_pair(arena: Arena, link: int, now_ns: int) -> None:
    """Put a new pair into the stock; its slots must have been taken."""
    state = arena.states[link]
    position = as_index(state.n_stored)
    arena.stock_birth_ns[link, position] = now_ns
    arena.stock_number[link, position] = state.number
    if arena.routes.has_drift or arena.routes.has_modes:
        arena.stock_shift[link, position] = 0.0
        if len(arena.axes) > 0:
            x_y_z, constant = arena.stock_axis_logarithm[link, position], arena.constants[link]
            x_y_z[0] = _logarithm(constant.initial_x)
            x_y_z[1] = _logarithm(constant.initial_y)
            x_y_z[2] = _logarithm(constant.initial_z)
        arena.stock_expiry_ns[link, position] = now_ns + arena.constants[link].lifetime_ns
        modes = arena.routes.modes[link]
        if modes > 0:
            mode = as_index(state.attempt) % modes
            arena.stock_mode[link, position] = mode
            arena.routes.mode_free_ns[link, mode] = NEVER
    state.n_stored += 1
    arena.tallies[link].generated += 1
    if arena.next_ns[link, EXPIRY] == NEVER:
        arena.next_ns[link, EXPIRY] = now_ns + arena.constants[link].lifetime_ns
    elif arena.routes.has_drift:
        # After a drift a new pair may expire before the older ones.
        expiry_ns = now_ns + arena.constants[link].lifetime_ns
        arena.next_ns[link, EXPIRY] = min(arena.next_ns[link, EXPIRY], expiry_ns)
