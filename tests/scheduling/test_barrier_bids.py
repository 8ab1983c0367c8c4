"""What a worker is worth to a round with a quorum: against the sum over all outcomes, and in its effect."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from ceas.errors import DomainError
from ceas.experiments.scheduling_cases import Phase
from ceas.experiments.scheduling_training_cases import QUORUM as CASE_QUORUM
from ceas.experiments.scheduling_training_cases import barrier_case, round_figures
from ceas.network.slot_engine import advance_slots, run_slotted, start_slotted
from ceas.network.slot_policy import SlotPolicy, SlotSnapshot, slot_attempt_rule, slot_serve_rule
from ceas.network.slots import Forecast, RequestTable, SamplePath, SlottedNetwork, ValueKind
from ceas.scheduling.barrier_bids import quorum_bonus, write_bonuses
from ceas.scheduling.slotted_ceas import ceas_slotted

CHANCES = np.array([0.1, 0.25, 0.4, 0.55, 0.9])
ARRIVAL = 6


@slot_attempt_rule
def attempt_first_two(snapshot: SlotSnapshot, score: np.ndarray, replace: np.ndarray) -> None:
    """Let links 0 and 1 attempt in slot 2 alone, and leave the bonuses of slot 3 in `user_mark`."""
    write_bonuses(snapshot, False)
    for link in range(len(score)):
        replace[link] = -1
        score[link] = 1.0 if snapshot.slot == 2 and link < 2 else 0.0
        if snapshot.slot == 3:
            snapshot.user_mark[link] = quorum_bonus(snapshot, link, ARRIVAL)


@slot_serve_rule
def serve_nobody(snapshot: SlotSnapshot, action: np.ndarray, pairs: np.ndarray) -> int:
    return 0


def star(quorum: int, n_attempts: int) -> tuple[SlottedNetwork, RequestTable, SamplePath, Forecast]:
    n = len(CHANCES)
    ints = np.ones(n, dtype=np.int64)
    network = SlottedNetwork(
        edges=np.column_stack([0 * ints, np.arange(1, n + 1)]),
        success_probability=CHANCES,
        initial_werner=np.full(n, 0.9),
        claimed_werner=np.full(n, 0.9),
        coherence_slots=np.full(n, 100.0),
        lifetime_slots=np.full(n, 50),
        memory_slots=np.array([10, *ints]),
        attempts_per_slot=np.array([n_attempts, *ints]),
    )
    requests = RequestTable(
        route_first=np.arange(n + 1),
        route_link=np.arange(n),
        announced=0 * ints,
        arrival=ARRIVAL * ints,
        deadline=ARRIVAL * ints,
        n_pairs=ints,
        minimum_fidelity=np.full(n, 0.5),
        weight=np.ones(n),
        kind=np.full(n, int(ValueKind.INFORMATION)),
        request_class=0 * ints,
        user=np.arange(n),
    )
    forecast = Forecast(
        rate=np.full((n, 1), 0.1),
        minimum_fidelity=np.array([0.5]),
        weight=np.array([1.0]),
        kind=np.array([int(ValueKind.INFORMATION)]),
        patience_slots=np.array([0]),
        n_pairs=np.array([1]),
        quorum=quorum,
    )
    success = np.zeros((ARRIVAL + 1, n), dtype=bool)
    success[2] = True
    return network, requests, SamplePath(success=success, decay=np.zeros((0, n)), swap_seed=1), forecast


@pytest.mark.parametrize("quorum", [1, 2, 3, 4, 5, 6])
@pytest.mark.parametrize("n_attempts", [1, 5])
def test_a_worker_is_worth_what_the_round_loses_without_it(quorum: int, n_attempts: int) -> None:
    """Two workers hold pairs if both could attempt; the others come with the chance of the slots that are left."""
    network, requests, path, forecast = star(quorum, n_attempts)
    ours = ceas_slotted(network, forecast, quorum_price=2.0, appointment_share=0.8, announced_classes=[0])
    watching = SlotPolicy(
        name="watching",
        attempt=attempt_first_two,
        serve=serve_nobody,
        parameters=ours.parameters,
        tables=ours.tables,
    )
    state = start_slotted(network, requests, path)
    advance_slots(state, watching, 4)
    holds = np.arange(len(CHANCES)) < min(n_attempts, 2)
    share = min(0.8, n_attempts / (~holds).sum())
    comes = np.where(holds, 1.0, 1.0 - (1.0 - CHANCES * share) ** (ARRIVAL - 3))
    value = 2.0 * 0.81 * quorum
    for worker in range(len(CHANCES)):
        others = np.delete(comes, worker)
        pivotal = sum(
            np.prod(np.where(outcome, others, 1.0 - others))
            for outcome in itertools.product([True, False], repeat=len(others))
            if sum(outcome) == quorum - 1
        )
        assert state.user_mark[worker] == pytest.approx(value * pivotal, rel=1e-9, abs=1e-12)


def test_without_a_quorum_or_its_price_nothing_changes() -> None:
    """Requests of no quorum are met in the same way at any price, and a quorum without price is none."""
    case = barrier_case(round_slots=20, n_pairs=2, coherence_rounds=0.5, seed=0, phase=Phase.TUNING, n_slots=100)

    def served(quorum: int, price: float) -> np.ndarray:
        policy = ceas_slotted(
            case.network,
            forecast=_with_quorum(case.forecast, quorum),
            quorum_price=price,
            announced_classes=[0, 1],
        )
        return run_slotted(case.network, case.requests, case.path, policy, debug=True).served_request

    np.testing.assert_array_equal(served(0, 3.0), served(34, 0.0))


def test_rounds_reach_their_quorum_when_it_has_a_price() -> None:
    """Each of 20 workers' first pair gives way to others' second ones unless the round stands and falls with it."""
    case = barrier_case(round_slots=20, n_pairs=4, coherence_rounds=0.5, seed=0, phase=Phase.TUNING)

    def reached(price: float) -> float:
        policy = ceas_slotted(case.network, case.forecast, quorum_price=price, announced_classes=[0, 1, 2, 3])
        record = run_slotted(case.network, case.requests, case.path, policy, debug=True)
        return float((round_figures(case, record, 20).participants >= CASE_QUORUM).mean())

    assert reached(0.0) < 0.3
    assert reached(1.0) > 0.7


def test_bad_prices_and_quorums_are_refused() -> None:
    network, _, _, forecast = star(3, 5)
    with pytest.raises(DomainError, match="quorum_price"):
        ceas_slotted(network, forecast, quorum_price=-1.0)
    with pytest.raises(DomainError, match="quorum"):
        _with_quorum(forecast, -1)


def _with_quorum(forecast: Forecast, quorum: int) -> Forecast:
    return replace(forecast, quorum=quorum)
