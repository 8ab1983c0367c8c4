"""S1 and S4: what can be computed exactly, beside closed forms and published numbers."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy.integrate import quad
from scipy.special import ive

if TYPE_CHECKING:
    from ceas.scheduling.repeater_chain import RepeaterChain

__all__ = [
    "chain_rows",
    "fifo_utilisation",
    "lifo_utilisation",
    "one_link_gain",
    "one_link_rows",
    "perishable_rows",
    "three_node_slots",
]

Row = Mapping[str, Any]

# Poisson supply, Poisson demand and lifetime, in the unit of the supply.
PERISHABLE_CASES = ((1.0, 1.0, 9.0), (1.0, 1.0, 3.0), (1.0, 1.25, 4.12), (1.0, 2.0, 1.71), (1.0, 3.0, 1.22))
# Swap-asap on chains of five nodes with cutoff 2: success chance, swap chance, expected slots.
PUBLISHED_CHAINS = (
    (0.9, 1.0, "swap-asap", 1.3887703),
    (0.9, 1.0, "nested", 2.0710745),
    (0.9, 0.5, "swap-asap", 9.3469042),
    (0.9, 0.5, "nested", 8.3437809),
)
CHAIN_PROBABILITIES = (0.3, 0.5, 0.9)
CHAIN_SWAPS = (1.0, 0.5)
CHAIN_CUTOFFS = (2, 3, 4, 5, 6)
MOST_CHAIN_STATES = 20_000


def fifo_utilisation(supply: float, demand: float, lifetime: float) -> float:
    """Return the share of perishable goods that is used, oldest first, lost sales.

    Source:
        J. Keilson and A. Seidmann, Eur. J. Oper. Res. (1990). With `g = supply - demand` the stock is empty with chance
        `P_0 = 1 / (1 + supply (e^(g t) - 1) / g)`; what is used leaves at rate `demand (1 - P_0)`.
    """
    gap = supply - demand
    growth = lifetime if gap == 0.0 else math.expm1(gap * lifetime) / gap
    return 1.0 - math.exp(gap * lifetime) / (1.0 + supply * growth)


def lifo_utilisation(supply: float, demand: float, lifetime: float) -> float:
    """Return the share of perishable goods that is used, freshest first, lost sales.

    A good waits until the demands that came after it exceed the goods that came after it: a busy period of the M/M/1
    queue with arrivals at rate `supply` and service at rate `demand`.
    """
    root = math.sqrt(supply * demand)

    def density(t: float) -> float:
        scaled = float(ive(1, 2.0 * t * root))
        return math.sqrt(demand / supply) * scaled * math.exp(-((math.sqrt(supply) - math.sqrt(demand)) ** 2) * t) / t

    # At 0 the density is `demand`, the limit of I_1(x) / x.
    return float(quad(density, 1e-12, lifetime)[0])


def three_node_slots(success: float, swap: float, cutoff: int) -> float:
    """Return the expected slots of a chain of three nodes, in which swapping at once is best.

    Source:
        Cycles begin with an empty chain and end with a swap or the expiry of a lone link: a lone link finds its partner
        within `cutoff` slots with chance `1 - q^cutoff`. For cutoff 2 and certain swaps it is the form in Iñesta,
        Vardoyan, Scavuzzo and Wehner, npj Quantum Information 9:46 (2023).
    """
    q = 1.0 - success
    alive = 1.0 - q**cutoff
    return (1.0 + 2.0 * q * alive) / (success**2 + 2.0 * success * q * alive) / swap


def one_link_rows() -> list[Row]:
    """Return S1's exact part: the rates of one link under three rules, with refusals allowed for the best."""
    from ceas.scheduling.one_link import (  # noqa: PLC0415 (compiled when first used)
        OneLinkProblem,
        evaluate_one_link,
        freshest_qualifying,
        oldest_qualifying,
        solve_one_link,
        werner_squared_value,
    )

    classes = _two_classes()
    smooth = werner_squared_value(weight=1.0, initial_werner=(4 * 0.95 - 1) / 3, memory_time=40.0, lifetime=13)[None]
    problems = [
        *((f"two classes, memory {k}", classes, (0.1, 0.3), k, False) for k in (1, 2, 3)),
        *((f"w^2, memory 3{', replacing' if r else ''}", smooth, (0.4,), 3, r) for r in (False, True)),
    ]
    rows: list[Row] = []
    for label, value, chance, memory, replaces in problems:
        problem = OneLinkProblem(
            success_probability=0.3,
            memory_slots=memory,
            request_probability=chance,
            value=value,
            may_replace=replaces,
        )
        best = solve_one_link(problem).gain
        oldest = evaluate_one_link(problem, oldest_qualifying(problem)).gain
        freshest = evaluate_one_link(problem, freshest_qualifying(problem)).gain
        rows.append({"link": label, "oldest first": oldest, "freshest first": freshest, "best": best})
    return rows


def one_link_gain(memory_slots: int, chances: tuple[float, ...]) -> float:
    """Return the largest mean value per slot of the one-link scenario, with refusals and replacement allowed."""
    from ceas.scheduling.one_link import OneLinkProblem, solve_one_link  # noqa: PLC0415

    problem = OneLinkProblem(
        success_probability=0.3,
        memory_slots=memory_slots,
        request_probability=chances,
        value=_two_classes(),
        may_replace=True,
    )
    return float(solve_one_link(problem).gain)


def _two_classes() -> npt.NDArray[np.float64]:
    from ceas.scheduling.one_link import step_value  # noqa: PLC0415

    return np.stack([step_value(weight=3.0, max_age=2, lifetime=13), step_value(weight=1.0, max_age=13, lifetime=13)])


def perishable_rows() -> list[Row]:
    """Return S1's closed forms: utilisation of one link in continuous time, oldest and freshest first."""
    return [
        {
            "supply": supply,
            "demand": demand,
            "lifetime": lifetime,
            "U oldest first": fifo_utilisation(supply, demand, lifetime),
            "U freshest first": lifo_utilisation(supply, demand, lifetime),
        }
        for supply, demand, lifetime in PERISHABLE_CASES
    ]


def chain_rows(*, nodes: Sequence[int] = (3, 4, 5, 6), is_quick: bool = False) -> list[Row]:
    """Return S4: expected slots to an end-to-end pair under the best, the eager and the nested rule.

    Chains of more than 20,000 states are left out.
    """
    from ceas.errors import CapacityError  # noqa: PLC0415
    from ceas.scheduling.repeater_chain import (  # noqa: PLC0415
        RepeaterChain,
        evaluate_chain,
        nested_swapping,
        solve_chain,
        swap_asap,
    )

    rows: list[Row] = []
    cutoffs = CHAIN_CUTOFFS[:2] if is_quick else CHAIN_CUTOFFS
    for n in nodes[:3] if is_quick else nodes:
        for p, swap, cutoff in ((p, s, c) for p in CHAIN_PROBABILITIES for s in CHAIN_SWAPS for c in cutoffs):
            chain = RepeaterChain(n_nodes=n, success_probability=p, swap_success_probability=swap, cutoff=cutoff)
            try:
                best = solve_chain(chain, most_states=MOST_CHAIN_STATES).expected_slots
            except CapacityError:
                continue
            slots = {
                "swap-asap": evaluate_chain(chain, swap_asap).expected_slots,
                "nested": evaluate_chain(chain, nested_swapping(n)).expected_slots,
            }
            rows.append(
                {
                    "nodes": n,
                    "p": p,
                    "p_s": swap,
                    "cutoff": cutoff,
                    "T best": best,
                    "T swap-asap": slots["swap-asap"],
                    "T nested": slots["nested"],
                    "gap %": 100.0 * (slots["swap-asap"] / best - 1.0),
                    "largest deviation": _deviation(chain, best, slots),
                }
            )
    return rows


def _deviation(chain: "RepeaterChain", best: float, slots: Mapping[str, float]) -> float:
    """Return the largest relative deviation from the closed form or the published numbers; NaN where there are none."""
    p, swap, cutoff = float(chain.link_success[0]), chain.swap_success_probability, chain.cutoff
    if chain.n_nodes == 3:
        return abs(best / three_node_slots(p, swap, cutoff) - 1.0)
    if chain.n_nodes != 5 or cutoff != 2:
        return math.nan
    known = [(rule, slot) for p_of, s_of, rule, slot in PUBLISHED_CHAINS if (p_of, s_of) == (p, swap)]
    return max((abs(slots[rule] / slot - 1.0) for rule, slot in known), default=math.nan)
