"""One-link problems of links in a network: from a link's figures to age states of bounded number, solved once per kind.

A large network has few kinds of links once their figures are rounded. `LinkKind.rounded` puts them on a grid, and a
`PriceCache` solves each kind once. Rounding is meant for prices; a bound on the gain needs the figures as they are.
"""

import math
from collections import OrderedDict
from dataclasses import dataclass, replace

import numpy as np

from ceas.errors import CapacityError, DomainError
from ceas.physics.domain import require_between, require_non_negative, require_positive
from ceas.scheduling.age_states import n_age_states
from ceas.scheduling.one_link import (
    OneLinkProblem,
    OneLinkSolution,
    solve_one_link,
    step_value,
    werner_squared_value,
)

__all__ = ["LinkKind", "PriceCache", "RequestKind", "oldest_qualifying_age", "one_link_problem"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestKind:
    """A class of requests for the pairs of one link.

    Args:
        probability: Probability that one arrives in a slot.
        weight: Value of serving it, through a perfect pair.
        min_fidelity: Least fidelity that serves it.
        is_step: Whether every pair that qualifies is worth `weight`; otherwise `weight` times the squared Werner
            parameter.
    """

    probability: float
    weight: float
    min_fidelity: float = 0.25
    is_step: bool = False

    def __post_init__(self) -> None:
        require_between("probability", self.probability, 0.0, 1.0)
        require_non_negative("weight", self.weight)
        require_between("min_fidelity", self.min_fidelity, 0.0, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkKind:
    """All that decides about a link: its figures, its requests and the prices at its nodes.

    Args:
        success_probability: Probability that an attempt succeeds.
        memory_slots: Pairs it can store.
        initial_werner: Werner parameter of a new pair.
        memory_time: Time in which it falls by the factor e (slots).
        requests: Classes of requests.
        attempt_price: Price of an attempt.
        memory_price: Price of an occupied slot for one time slot.
        may_replace: Whether a new pair may take the place of the oldest when the memory is full.
        lifetime: Largest age of a stored pair (slots); if None, the oldest that serves any class.
    """

    success_probability: float
    memory_slots: int
    initial_werner: float
    memory_time: float
    requests: tuple[RequestKind, ...]
    attempt_price: float = 0.0
    memory_price: float = 0.0
    may_replace: bool = True
    lifetime: int | None = None

    def __post_init__(self) -> None:
        require_between("success_probability", self.success_probability, 0.0, 1.0)
        require_between("initial_werner", self.initial_werner, 0.0, 1.0)
        require_positive("memory_time", self.memory_time)
        require_non_negative("attempt_price", self.attempt_price)
        require_non_negative("memory_price", self.memory_price)
        if not self.requests:
            raise DomainError("Argument `requests` must have at least one class, but is empty.")

    def rounded(self, *, ratio: float = 1.05, price_share: float = 0.01) -> "LinkKind":
        """Return the kind with its figures on a grid.

        Args:
            ratio: Step between probabilities, and between memory times, as a factor above 1.
            price_share: Step between prices as a share of the largest weight.
        """
        if ratio <= 1.0:
            raise DomainError(f"Argument `ratio` must be above 1, but is {ratio:g}.")
        require_positive("price_share", price_share)
        price_step = price_share * max(request.weight for request in self.requests)
        requests = [replace(request, probability=_on_grid(request.probability, ratio)) for request in self.requests]
        if sum(request.probability for request in requests) > 1.0:
            requests = [
                replace(request, probability=min(request.probability, kept.probability))
                for request, kept in zip(requests, self.requests, strict=True)
            ]
        memory_time = _on_grid(self.memory_time, ratio)
        return replace(
            self,
            success_probability=_on_grid(self.success_probability, ratio),
            memory_time=memory_time,
            requests=tuple(requests),
            attempt_price=_on_steps(self.attempt_price, price_step),
            memory_price=_on_steps(self.memory_price, price_step / max(memory_time, 1.0)),
        )


class PriceCache:
    """Solutions of one-link problems by kind, the least recently used dropped first.

    Args:
        most_kinds: Solutions that are kept; one of 3,000 states takes some 100 kB.
        most_states: Age states that a problem may have.
        tolerance: As in `solve_one_link`.
    """

    def __init__(self, *, most_kinds: int = 1024, most_states: int = 3000, tolerance: float = 1e-8) -> None:
        require_positive("most_kinds", most_kinds)
        require_positive("tolerance", tolerance)
        self._solutions: OrderedDict[LinkKind, OneLinkSolution] = OrderedDict()
        self._most_kinds = most_kinds
        self._most_states = most_states
        self._tolerance = tolerance
        self.n_solved = 0

    def __len__(self) -> int:
        return len(self._solutions)

    def solution(self, kind: LinkKind, *, similar: OneLinkSolution | None = None) -> OneLinkSolution:
        """Return the solution of a kind as it is; round it first with `LinkKind.rounded` to share solutions.

        Args:
            kind: The kind.
            similar: Solution whose bias is a good guess, as for slightly other prices; not used if its states differ.
        """
        found = self._solutions.get(kind)
        if found is not None:
            self._solutions.move_to_end(kind)
            return found
        problem = one_link_problem(kind, most_states=self._most_states)
        guess = None
        if similar is not None and similar.problem.states is problem.states:
            guess = similar.bias
        solution = solve_one_link(problem, tolerance=self._tolerance, initial_bias=guess)
        self._solutions[kind] = solution
        self.n_solved += 1
        if len(self._solutions) > self._most_kinds:
            self._solutions.popitem(last=False)
        return solution


def oldest_qualifying_age(kind: LinkKind, request: RequestKind) -> int:
    """Return the largest whole age at which a pair has the fidelity that the request asks for, -1 if none has.

    However low a fidelity serves, a pair is given up where W^2 has fallen to 1 % of a new pair's.
    """
    fraction = (4.0 * request.min_fidelity - 1.0) / 3.0
    least = max(fraction, 0.1 * kind.initial_werner)
    if kind.initial_werner <= 0.0 or kind.initial_werner < fraction:
        return -1
    # A threshold that a whole age meets exactly must not be missed by rounding.
    return math.floor(kind.memory_time * math.log(kind.initial_werner / least) * (1.0 + 1e-12) + 1e-12)


def one_link_problem(kind: LinkKind, *, most_states: int = 3000) -> OneLinkProblem:
    """Return the one-link problem of a kind, with the narrowest age bins that keep within `most_states` states.

    Raises:
        CapacityError: even two age bins have more states.
    """
    limits = [oldest_qualifying_age(kind, request) for request in kind.requests]
    lifetime = max(0, *limits) if kind.lifetime is None else kind.lifetime
    n_bins = lifetime + 1
    if n_age_states(kind.memory_slots, n_bins) > most_states:
        n_bins = 1
        while n_age_states(kind.memory_slots, n_bins + 1) <= most_states:
            n_bins += 1
        if n_bins < 2:
            raise CapacityError(
                f"{kind.memory_slots} memory slots with two age bins have {n_age_states(kind.memory_slots, 2)} "
                f"states, more than {most_states}"
            )
    age_bin = -(-(lifetime + 1) // n_bins)
    rows = []
    for request, limit in zip(kind.requests, limits, strict=True):
        if request.is_step:
            row = step_value(weight=request.weight, max_age=limit, lifetime=lifetime, age_bin=age_bin)
        else:
            row = werner_squared_value(
                weight=request.weight,
                initial_werner=kind.initial_werner,
                memory_time=kind.memory_time,
                max_age=limit,
                lifetime=lifetime,
                age_bin=age_bin,
            )
        rows.append(row)
    return OneLinkProblem(
        success_probability=kind.success_probability,
        memory_slots=kind.memory_slots,
        request_probability=[request.probability for request in kind.requests],
        value=np.stack(rows),
        age_bin=age_bin,
        attempt_price=kind.attempt_price,
        memory_price=kind.memory_price,
        may_replace=kind.may_replace,
    )


def _on_grid(value: float, ratio: float) -> float:
    """Return the nearest power of `ratio`; 0 stays 0, and values up to 1 stay at most 1."""
    return 0.0 if value <= 0.0 else float(ratio ** round(math.log(value) / math.log(ratio)))


def _on_steps(value: float, step: float) -> float:
    return round(value / step) * step if step > 0.0 else value
