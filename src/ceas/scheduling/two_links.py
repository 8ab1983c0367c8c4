"""Two links that share a node, solved exactly: which of them the node should attempt.

Each link is a one-link problem with its own memory, requests and prices; the shared node makes at most one attempt in
a slot. The order within a slot is that of `one_link`, with the requests of both links seen together. The number of
states is the product of the two numbers, so this is a measure for policies that decide link by link, not one of them.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ceas.errors import CapacityError, CeasError, DomainError
from ceas.network.compilation import compiled
from ceas.scheduling.one_link import OneLinkPolicy, OneLinkProblem, check_policy, oldest_qualifying, slot_model
from ceas.scheduling.one_link_sweeps import SlotModel

__all__ = ["TwoLinkProblem", "TwoLinkSolution", "TwoLinkTables", "evaluate_two_links", "solve_two_links"]

_FloatRows = npt.NDArray[np.float64]
_Answers = npt.NDArray[np.int8]

_MOST_STATES = 2_000_000
_MOST_SWEEPS = 20_000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TwoLinkProblem:
    """Two links and the node that they share.

    Args:
        first: One link.
        second: The other.
        shared_slots: Memory slots of the shared node; None if each link has its own at that node too.

    Raises:
        DomainError: age bins are wider than a slot, or `shared_slots` is below 1.
        CapacityError: the joint states are more than two million.
    """

    first: OneLinkProblem
    second: OneLinkProblem
    shared_slots: int | None = None

    def __post_init__(self) -> None:
        for name in ("first", "second"):
            if getattr(self, name).age_bin != 1:
                raise DomainError(f"Argument `{name}` must have age bins of one slot, but has wider ones.")
        if self.shared_slots is not None and self.shared_slots < 1:
            raise DomainError(f"Argument `shared_slots` must be at least 1, but is {self.shared_slots}.")
        n_states = self.shape[0] * self.shape[1]
        if n_states > _MOST_STATES:
            raise CapacityError(f"two links have {n_states} joint states, more than {_MOST_STATES}")

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of states of the two links."""
        return self.first.states.n_states, self.second.states.n_states

    @property
    def slots(self) -> int:
        """Pairs that the shared node can store for both links."""
        own = self.first.memory_slots + self.second.memory_slots
        return own if self.shared_slots is None else min(own, self.shared_slots)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TwoLinkTables:
    """A policy that decides which link to attempt by the state of both, and whom to serve by that of each link.

    Args:
        attempt: Link to attempt by the states after ageing, 0 none, 1 the first, 2 the second, shape `(n_1, n_2)`. A
            link whose memory is full replaces its oldest pair if it may.
        first_serve: Serve table of the first link, as in `OneLinkPolicy`.
        second_serve: Serve table of the second.
    """

    attempt: _Answers
    first_serve: _Answers
    second_serve: _Answers


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TwoLinkSolution:
    """What two links earn together.

    Args:
        gain: Long-run reward per slot, middle of the bounds.
        gain_lower: Proven lower bound on it.
        gain_upper: Proven upper bound on it.
        bias: Relative value of the joint states at the end of a slot, shape `(n_1, n_2)`.
        attempt: Link that is attempted, as in `TwoLinkTables`.
        sweeps: Sweeps of value iteration.
    """

    gain: float
    gain_lower: float
    gain_upper: float
    bias: _FloatRows
    attempt: _Answers
    sweeps: int


def solve_two_links(problem: TwoLinkProblem, *, tolerance: float = 1e-8) -> TwoLinkSolution:
    """Return the highest long-run reward of two links that share a node.

    Args:
        problem: The problem.
        tolerance: Width of the bounds at which iteration ends, relative to the scales of the two links together.

    Raises:
        CeasError: the bounds do not meet within 20,000 sweeps.
    """
    serve = oldest_qualifying(problem.first).serve, oldest_qualifying(problem.second).serve
    tables = TwoLinkTables(attempt=np.zeros(problem.shape, np.int8), first_serve=serve[0], second_serve=serve[1])
    return _solution(problem, tables, False, tolerance)


def evaluate_two_links(problem: TwoLinkProblem, tables: TwoLinkTables, *, tolerance: float = 1e-8) -> TwoLinkSolution:
    """Return the long-run reward of a policy of two links; arguments as for `solve_two_links`.

    Raises:
        DomainError: the tables have the wrong shape, attempt where a new pair has no place, or serve with pairs that do
            not qualify.
        CeasError: the bounds do not meet within 20,000 sweeps.
    """
    for one, serve in ((problem.first, tables.first_serve), (problem.second, tables.second_serve)):
        check_policy(one, OneLinkPolicy(attempt=np.zeros(one.states.n_states, np.int8), serve=serve))
    attempt = tables.attempt
    if attempt.shape != problem.shape or np.any((attempt < 0) | (attempt > 2)):
        raise DomainError(f"Argument `tables` must attempt 0, 1 or 2 in shape {problem.shape}, but does not.")
    if np.any((attempt == 1) & ~_has_place(problem, 0)) or np.any((attempt == 2) & ~_has_place(problem, 1)):
        raise DomainError("Argument `tables` must attempt only where a new pair has a place, but does elsewhere.")
    return _solution(problem, tables, True, tolerance)


def _has_place(problem: TwoLinkProblem, link: int) -> npt.NDArray[np.bool_]:
    """Return whether a new pair of the link has a place in each joint state, shape `(n_1, n_2)`."""
    one = (problem.first, problem.second)[link]
    held = problem.first.states.n_stored[:, None] + problem.second.states.n_stored[None, :]
    own = one.states.n_stored[:, None] if link == 0 else one.states.n_stored[None, :]
    is_free = (own < one.memory_slots) & (held < problem.slots)
    return np.asarray(is_free | ((own > 0) & one.may_replace))


def _solution(problem: TwoLinkProblem, tables: TwoLinkTables, is_fixed: bool, tolerance: float) -> TwoLinkSolution:
    first, second = (
        slot_model(one, OneLinkPolicy(attempt=np.zeros(one.states.n_states, np.int8), serve=serve), is_fixed)
        for one, serve in ((problem.first, tables.first_serve), (problem.second, tables.second_serve))
    )
    scale = problem.first.scale + problem.second.scale
    bias, expected, before = (np.zeros(problem.shape) for _ in range(3))
    attempt = tables.attempt.astype(np.int8)
    step = 1.0 if max(first.success, second.success) < 1.0 else 0.5
    last = problem.first.states.empty, problem.second.states.empty
    for sweep in range(1, _MOST_SWEEPS + 1):
        joint_request_values(first, second, bias, expected)
        joint_attempt_values((first, second), problem.slots, expected, before, attempt)
        change = before[np.ix_(first.aged, second.aged)] - bias
        low, high = float(change.min()), float(change.max())
        if high - low <= tolerance * scale:
            return TwoLinkSolution(
                gain=0.5 * (low + high),
                gain_lower=low,
                gain_upper=high,
                bias=bias - bias[last],
                attempt=attempt,
                sweeps=sweep,
            )
        bias += step * (change - change[last])
    raise CeasError(f"the gain of two links lies in [{low:.9g}, {high:.9g}] after {_MOST_SWEEPS} sweeps")


@compiled
def pair_answers(model: SlotModel, state: int, request: int) -> tuple[int, int]:
    """Return the first and the last position that may serve the request, -1 to refuse; -1 stands for no request."""
    if request < 0:
        return -1, -1
    if model.is_fixed:
        position = int(model.serve[request, state])
        return position, position
    return -1, int(model.n_stored[state]) - 1


@compiled
def served_value(model: SlotModel, state: int, request: int, position: int) -> float:
    """Return the value of an answer; minus infinity for a pair that does not qualify."""
    if position < 0:
        return 0.0
    value: float = model.value[request, model.ages[state, position]]
    return value if value > 0.0 else -math.inf


@compiled
def joint_request_value(first: SlotModel, second: SlotModel, bias: _FloatRows, one: int, other: int) -> float:
    """Return the mean value of a joint state before the requests, both of which are seen before either is served."""
    total = 0.0
    for request_1 in range(-1, len(first.probability)):
        chance_1 = first.probability[request_1] if request_1 >= 0 else 1.0 - first.probability.sum()
        low_1, high_1 = pair_answers(first, one, request_1)
        for request_2 in range(-1, len(second.probability)):
            chance_2 = second.probability[request_2] if request_2 >= 0 else 1.0 - second.probability.sum()
            low_2, high_2 = pair_answers(second, other, request_2)
            best = -math.inf
            for position_1 in range(low_1, high_1 + 1):
                value = served_value(first, one, request_1, position_1)
                next_1 = first.removed[one, position_1] if position_1 >= 0 else one
                for position_2 in range(low_2, high_2 + 1):
                    next_2 = second.removed[other, position_2] if position_2 >= 0 else other
                    worth = value + served_value(second, other, request_2, position_2) + bias[next_1, next_2]
                    best = max(best, worth)
            total += chance_1 * chance_2 * best
    return total


@compiled
def joint_request_values(first: SlotModel, second: SlotModel, bias: _FloatRows, expected: _FloatRows) -> None:
    """Fill `expected` with the mean value of each joint state before the requests."""
    for one in range(bias.shape[0]):
        for other in range(bias.shape[1]):
            expected[one, other] = joint_request_value(first, second, bias, one, other)


@compiled
def successor(model: SlotModel, state: int, has_room: bool) -> int:
    """Return the state after a success, -1 if a new pair has no place."""
    if has_room and model.added[state] >= 0:
        return int(model.added[state])
    if model.may_replace and model.n_stored[state] > 0:
        return int(model.replaced[state])
    return -1


@compiled
def joint_attempt_values(
    models: tuple[SlotModel, SlotModel], slots: int, expected: _FloatRows, before: _FloatRows, attempt: _Answers
) -> None:
    """Fill `before` with the value of each joint state after ageing, and `attempt` unless it is given."""
    first, second = models
    for one in range(expected.shape[0]):
        for other in range(expected.shape[1]):
            here = expected[one, other]
            has_room = first.n_stored[one] + second.n_stored[other] < slots
            gain_1 = gain_2 = -math.inf
            new = successor(first, one, has_room)
            if new >= 0:
                gain_1 = first.success * (expected[new, other] - here) - first.attempt_price
                gain_1 -= first.memory_price * (first.n_stored[new] - first.n_stored[one])
            new = successor(second, other, has_room)
            if new >= 0:
                gain_2 = second.success * (expected[one, new] - here) - second.attempt_price
                gain_2 -= second.memory_price * (second.n_stored[new] - second.n_stored[other])
            answer = attempt[one, other]
            if not first.is_fixed:
                answer = 0
                if max(gain_1, gain_2) > first.margin + second.margin:
                    answer = 1 if gain_1 >= gain_2 else 2
                attempt[one, other] = answer
            gain = gain_1 if answer == 1 else (gain_2 if answer == 2 else 0.0)
            held = first.memory_price * first.n_stored[one] + second.memory_price * second.n_stored[other]
            before[one, other] = here + gain - held
