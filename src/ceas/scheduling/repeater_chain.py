"""A repeater chain with cutoff, solved exactly: which swaps to make so that an end-to-end pair comes soonest.

The model is that of Iñesta, Vardoyan, Scavuzzo and Wehner (npj Quantum Information 9:46, 2023): every free elementary
link is attempted in every slot, swaps take no time, and the age of a link is that of its oldest part. `chain_states`
says what happens within a slot. A policy sees all links and their ages, after the attempts of the slot.

The expected number of slots T is found as the inverse of the rate at which a chain delivers that begins anew after each
pair: both count independent cycles. Relative value iteration on that rate converges as fast as the chain forgets its
state, where iteration on T itself would need some T slots. The rate of the policy that it ends with is then computed
from its stationary distribution, a sum of positive terms, so that T is exact to rounding even where it is large; the
bounds of the iteration show how far at most that policy is from the best.
"""

import itertools
import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse

from ceas.errors import CapacityError, CeasError, DomainError
from ceas.physics.domain import require_between
from ceas.scheduling.chain_states import DELIVERED, ChainStates, Outcomes, fewest_states, reachable_states

__all__ = [
    "ChainPolicy",
    "ChainSolution",
    "Link",
    "RepeaterChain",
    "SwapRule",
    "evaluate_chain",
    "nested_swapping",
    "solve_chain",
    "swap_asap",
]

# A link: its left node, its right node and its age (slots).
Link = tuple[int, int, int]
# Gets all links, sorted, after the attempts of a slot; returns the inner nodes that swap.
SwapRule = Callable[[tuple[Link, ...]], Collection[int]]

_Ints = npt.NDArray[np.int64]
_Floats = npt.NDArray[np.float64]

_MOST_NODES = 8
_MOST_SWEEPS = 100_000
# Sweeps after which iteration goes on by half steps: a chain that is almost periodic oscillates, at last by rounding.
_PATIENCE = 2_000
# The rate is a difference of numbers near 1: its bounds come no closer than this.
_ROUNDING = 2e-15
# Relative change of a probability below which it stands still.
_STILL = 1e-14


@dataclass(frozen=True, slots=True, kw_only=True)
class RepeaterChain:
    """A chain of repeaters.

    Args:
        n_nodes: Nodes with the two ends, 3 to 8.
        success_probability: Probability that an attempt succeeds, in (0, 1]: one number, or one for each link from left
            to right.
        swap_success_probability: Probability that a swap succeeds, in (0, 1].
        cutoff: Largest age at which a link may be used (slots), not negative.

    Raises:
        DomainError: an argument is outside its domain.
    """

    n_nodes: int
    success_probability: float | Sequence[float]
    swap_success_probability: float
    cutoff: int

    def __post_init__(self) -> None:
        if not 3 <= self.n_nodes <= _MOST_NODES:
            raise DomainError(f"Argument `n_nodes` must be in [3, {_MOST_NODES}], but is {self.n_nodes}.")
        if self.cutoff < 0:
            raise DomainError(f"Argument `cutoff` must not be negative, but is {self.cutoff}.")
        for name in ("success_probability", "swap_success_probability"):
            value = require_between(name, getattr(self, name), 0.0, 1.0)
            if np.any(value <= 0.0) or np.any(value > 1.0):
                raise DomainError(f"Argument `{name}` must be in (0, 1], but is {value.tolist()}.")
        if np.ndim(self.success_probability) > 0 and len(self.link_success) != self.n_nodes - 1:
            raise DomainError(
                f"Argument `success_probability` must be a number or have {self.n_nodes - 1} elements, "
                f"but has {len(self.link_success)}."
            )

    @property
    def link_success(self) -> _Floats:
        """Probability that an attempt succeeds on each link, shape `(n_nodes - 1,)`."""
        value = np.asarray(self.success_probability, dtype=np.float64)
        return np.full(self.n_nodes - 1, float(value)) if value.ndim == 0 else value


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ChainPolicy:
    """The best policy of a chain: call it with the links after the attempts of a slot, it returns the nodes that swap.

    Args:
        n_nodes: Nodes of the chain.
        cutoff: Its cutoff (slots).
        codes: Codes of the states before swaps, sorted, shape `(n_states,)`.
        swaps: Whether each inner node swaps, shape `(n_states, n_nodes - 2)`.
    """

    n_nodes: int
    cutoff: int
    codes: _Ints
    swaps: npt.NDArray[np.bool_]

    def __call__(self, links: Collection[Link]) -> tuple[int, ...]:
        """Return the inner nodes that swap.

        Args:
            links: Links as (left node, right node, age), in any order.

        Raises:
            DomainError: the links are no state before swaps that the chain can reach.
        """
        ends = np.zeros((1, self.n_nodes - 1), dtype=np.int64)
        ages = np.zeros_like(ends)
        for left, right, age in links:
            is_known = 0 <= left < right < self.n_nodes and 0 <= age <= self.cutoff and ends[0, left] == 0
            if not is_known or np.any(ends == right):
                raise DomainError(
                    f"Argument `links` must be a state of the chain, but has the link {left, right, age}."
                )
            ends[0, left], ages[0, left] = right, age
        code = ChainStates(n_nodes=self.n_nodes, cutoff=self.cutoff).encode(ends, ages)[0]
        place = int(np.searchsorted(self.codes, code))
        if place == len(self.codes) or self.codes[place] != code:
            raise DomainError(f"Argument `links` must be a state that the chain can reach, but is {sorted(links)}.")
        return tuple(int(node) + 1 for node in np.flatnonzero(self.swaps[place]))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ChainSolution:
    """How long a chain takes under a policy.

    Args:
        chain: The chain.
        policy: The policy, as a table.
        expected_slots: Expected number of slots to an end-to-end pair, from the empty chain; inf if it never comes.
        least_slots: Proven lower bound on it, over all policies for the best policy.
        n_states_before_swaps: States in which swaps are decided.
        n_states_after_swaps: States in which slots begin.
        sweeps: Sweeps of value iteration.
    """

    chain: RepeaterChain
    policy: ChainPolicy
    expected_slots: float
    least_slots: float
    n_states_before_swaps: int
    n_states_after_swaps: int
    sweeps: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Transitions:
    """All that can happen in a chain, as sparse matrices.

    `generation` leads from the states after swaps to those before, `swapping` from the choices back, with the delivery
    as its last column. The choices are sorted by the state before swaps; `first_choice` is the first of each.
    """

    before: _Ints
    generation: sparse.csr_array
    swapping: sparse.csr_array
    choice_swaps: npt.NDArray[np.bool_]
    first_choice: _Ints

    @property
    def empty(self) -> int:
        """Index of the empty chain; its code is 0, the least."""
        return 0


def swap_asap(links: tuple[Link, ...]) -> frozenset[int]:
    """Return all nodes at which a link ends and another begins: the rule that swaps as soon as possible."""
    return frozenset({right for _, right, _ in links} & {left for left, _, _ in links})


def nested_swapping(n_nodes: int) -> SwapRule:
    """Return the rule that swaps as soon as possible, but lets a middle node wait while both its halves are joined.

    The chain is halved again and again. Where the middle nodes of both halves can swap, the node between them does not
    swap in the same slot, so that a failure costs one half only. For 5 nodes these are the expected times published
    for nested swapping (2.0710745 and 8.3437809 slots for p = 0.9, cutoff 2 and p_s = 1 and 0.5); a rule that never
    joins a half before it is complete takes longer. Where n - 1 is no power of two the left half is the shorter one.

    Source:
        Iñesta et al., npj Quantum Information 9:46 (2023), and the published results of its code.
    """
    middles: dict[int, tuple[int, int]] = {}

    def divide(left: int, right: int) -> int:
        if right - left == 1:
            return -1  # one link has no middle to wait for
        middle = left + (right - left) // 2
        middles[middle] = (divide(left, middle), divide(middle, right))
        return middle

    divide(0, n_nodes - 1)

    def rule(links: tuple[Link, ...]) -> frozenset[int]:
        able = swap_asap(links)
        return frozenset(node for node in able if not set(middles[node]) <= able)

    return rule


def solve_chain(chain: RepeaterChain, *, tolerance: float = 1e-12, most_states: int = 400_000) -> ChainSolution:
    """Return the policy with the fewest expected slots to an end-to-end pair.

    Args:
        chain: The chain.
        tolerance: Width of the bounds at which iteration ends, as a share of the rate.
        most_states: States, before and after swaps together, that may be enumerated.

    Raises:
        CapacityError: the chain has more states.
    """
    transitions = _transitions(chain, most_states)
    delivery, _, upper, sweeps = _iterate(chain, transitions.swapping, transitions, tolerance)
    # Of choices that are equal up to rounding, the one with most swaps, as `swap_asap` would.
    worth = transitions.swapping @ delivery
    best = np.maximum.reduceat(worth, transitions.first_choice)
    counts = np.diff([*transitions.first_choice, len(worth)])
    margin = _ROUNDING + tolerance * upper
    n_swaps = transitions.choice_swaps.sum(axis=1)
    score = np.where(worth >= np.repeat(best, counts) - margin, n_swaps, -1)
    order = np.lexsort((score, np.repeat(np.arange(len(best)), counts)))
    chosen = order[np.cumsum(counts) - 1]
    return _solution(chain, transitions, chosen, upper, sweeps)


def evaluate_chain(
    chain: RepeaterChain, rule: SwapRule, *, tolerance: float = 1e-12, most_states: int = 400_000
) -> ChainSolution:
    """Return the expected slots under a rule, such as `swap_asap`, `nested_swapping(n)` or a `ChainPolicy`.

    Args:
        chain: The chain.
        rule: Gets the links of a state, sorted; returns the nodes that swap.
        tolerance: As for `solve_chain`.
        most_states: As for `solve_chain`.

    Raises:
        DomainError: the rule swaps at a node at which no link ends or none begins.
        CapacityError: the chain has too many states.
    """
    transitions = _transitions(chain, most_states)
    chosen = _choices_of_rule(chain, transitions, rule)
    swapping = transitions.swapping[chosen]
    _, _, upper, sweeps = _iterate(chain, swapping, transitions, tolerance)
    return _solution(chain, transitions, chosen, upper, sweeps)


def _choices_of_rule(chain: RepeaterChain, transitions: _Transitions, rule: SwapRule) -> _Ints:
    """Return the choice that the rule makes in each state before swaps, shape `(n_before,)`."""
    states = ChainStates(n_nodes=chain.n_nodes, cutoff=chain.cutoff)
    ends, ages = (table.tolist() for table in states.decode(transitions.before))
    able = states.swappable(transitions.before)
    wanted = np.zeros_like(able)
    for state, (end_row, age_row) in enumerate(zip(ends, ages, strict=True)):
        links = tuple((i, end, age_row[i]) for i, end in enumerate(end_row) if end)
        for node in rule(links):
            if not 0 < node < chain.n_nodes - 1 or not able[state, node - 1]:
                raise DomainError(f"Argument `rule` must swap where two links meet, but swaps at {node} with {links}.")
            wanted[state, node - 1] = True
    counts = np.diff([*transitions.first_choice, len(transitions.choice_swaps)])
    matches = np.all(transitions.choice_swaps == np.repeat(wanted, counts, axis=0), axis=1)
    return np.flatnonzero(matches)


def _transitions(chain: RepeaterChain, most_states: int) -> _Transitions:
    # Where a link never fails, few of the states are reached, and only the enumeration tells how many.
    if np.all(chain.link_success < 1.0) and fewest_states(chain.n_nodes, chain.cutoff) > most_states:
        raise CapacityError(
            f"a chain of {chain.n_nodes} nodes with cutoff {chain.cutoff} has at least "
            f"{fewest_states(chain.n_nodes, chain.cutoff)} states, more than {most_states}"
        )
    states = ChainStates(n_nodes=chain.n_nodes, cutoff=chain.cutoff)
    success, swap_success = chain.link_success, float(chain.swap_success_probability)
    after, before = reachable_states(states, success=success, swap_success=swap_success, most_states=most_states)
    outcomes = states.after_generation(after, success)
    generation = _matrix(outcomes, before, (len(after), len(before)))
    feasible = states.swappable(before)
    origins, masks, parts = [], [], []
    n_choices = 0
    for swaps in itertools.product((False, True), repeat=chain.n_nodes - 2):
        rows = np.flatnonzero(~np.any(np.array(swaps) & ~feasible, axis=1))
        made = states.after_swaps(before[rows], swaps, swap_success)
        parts.append(Outcomes(origin=made.origin + n_choices, code=made.code, probability=made.probability))
        origins.append(rows)
        masks.append(np.tile(swaps, (len(rows), 1)))
        n_choices += len(rows)
    origin = np.concatenate(origins)
    order = np.argsort(origin, kind="stable")
    joined = Outcomes(
        origin=np.concatenate([part.origin for part in parts]),
        code=np.concatenate([part.code for part in parts]),
        probability=np.concatenate([part.probability for part in parts]),
    )
    swapping = _matrix(joined, after, (n_choices, len(after) + 1))
    return _Transitions(
        before=before,
        generation=generation,
        swapping=swapping[order],
        choice_swaps=np.concatenate(masks)[order],
        first_choice=np.searchsorted(origin[order], np.arange(len(before))),
    )


def _matrix(outcomes: Outcomes, codes: _Ints, shape: tuple[int, int]) -> sparse.csr_array:
    """Return the outcomes as a matrix with the sorted codes as columns; deliveries go to the last."""
    column = np.where(outcomes.code == DELIVERED, shape[1] - 1, np.searchsorted(codes, outcomes.code))
    return sparse.coo_array((outcomes.probability, (outcomes.origin, column)), shape=shape).tocsr()


def _step(chain: RepeaterChain, sweep: int) -> float:
    """Return the step of a sweep: a half where certain success may make a chain periodic, and after long iteration."""
    return 0.5 if np.any(chain.link_success >= 1.0) or sweep > _PATIENCE else 1.0


def _iterate(
    chain: RepeaterChain, swapping: sparse.csr_array, transitions: _Transitions, tolerance: float
) -> tuple[_Floats, float, float, int]:
    """Iterate on the rate of delivery; return the value after swaps with that of the delivery, the bounds, the sweeps.

    `swapping` holds all choices, or one for each state before swaps.
    """
    n_after, n_before = transitions.generation.shape
    value = np.zeros(n_after + 1)
    lower, upper = 0.0, 1.0
    for sweep in range(1, _MOST_SWEEPS + 1):
        value[-1] = 1.0 + value[transitions.empty]
        worth = swapping @ value
        if len(worth) > n_before:
            worth = np.maximum.reduceat(worth, transitions.first_choice)
        change = transitions.generation @ worth - value[:-1]
        lower, upper = max(float(change.min()), 0.0), float(change.max())
        if upper - lower <= max(tolerance * upper, _ROUNDING):
            return value, lower, upper, sweep
        value[:-1] += _step(chain, sweep) * (change - change[transitions.empty])
    raise CeasError(f"the rate of delivery lies in [{lower:.9g}, {upper:.9g}] after {_MOST_SWEEPS} sweeps")


def _solution(
    chain: RepeaterChain, transitions: _Transitions, chosen: _Ints, upper: float, sweeps: int
) -> ChainSolution:
    rate = _delivery_rate(chain, transitions, chosen)
    policy = ChainPolicy(
        n_nodes=chain.n_nodes,
        cutoff=chain.cutoff,
        codes=transitions.before,
        swaps=transitions.choice_swaps[chosen],
    )
    expected = 1.0 / rate if rate > 0.0 else math.inf
    return ChainSolution(
        chain=chain,
        policy=policy,
        expected_slots=expected,
        # The true rate may exceed the computed bound by its rounding.
        least_slots=min(expected, 1.0 / (upper + _ROUNDING)),
        n_states_before_swaps=len(transitions.before),
        n_states_after_swaps=transitions.generation.shape[0],
        sweeps=sweeps,
    )


def _delivery_rate(chain: RepeaterChain, transitions: _Transitions, chosen: _Ints) -> float:
    """Return the deliveries per slot of the chain that begins anew after each, to rounding of its own size."""
    forward = (transitions.generation @ transitions.swapping[chosen]).T.tocsr()
    share = np.zeros(forward.shape[1])
    share[transitions.empty] = 1.0
    for sweep in range(1, _MOST_SWEEPS + 1):
        moved = forward @ share
        rate = float(moved[-1])
        moved[transitions.empty] += rate
        change = moved[:-1] - share
        share += _step(chain, sweep) * change
        # Relative for every state, since rare ones deliver; but some only hold what is left of the start.
        if np.all(np.abs(change) <= _STILL * moved[:-1] + 1e-18 * rate + 1e-300):
            return rate / float(share.sum())
    raise CeasError(f"the rate of delivery is near {rate:.9g}, but not settled after {_MOST_SWEEPS} sweeps")
