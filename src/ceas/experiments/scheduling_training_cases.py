"""Scheduling cases of synchronous training: rounds that end at a barrier, with honest and with lying workers.

Every worker wants `m` pairs with the server at the end of each round, all known when the round begins. A worker's k-th
pair has weight log2((k + 1) / k), so that k pairs are worth log2(1 + k): gradients average out, so each further pair
tells less. The weight is multiplied by w^2, the information of a shot through a pair of Werner parameter w.
"""

from dataclasses import dataclass, replace

import numpy as np

from ceas.errors import DomainError
from ceas.experiments.scheduling_cases import (
    Float64s,
    Int64s,
    Phase,
    Regime,
    RequestClass,
    SchedulingCase,
    case_stream,
    forecast_of,
    lifetime_of_fidelity,
    request_table,
    uniform_network,
)
from ceas.network.slots import SlottedRecord, ValueKind, draw_sample_path

__all__ = ["RoundFigures", "adversary_case", "barrier_case", "round_figures", "training_loss"]

N_WORKERS = 50
N_LIARS = 16
# Workers that a round needs: all but as many as can be Byzantine.
QUORUM = N_WORKERS - N_LIARS
SERVER_ATTEMPTS = 25
WORKER_PROBABILITIES = (0.05, 0.5)
FIDELITY, MINIMUM_FIDELITY = 0.95, 0.5
# A liar's pairs are worse by this much than it says.
CLAIM_EXCESS = 0.1
DROPPED_FIDELITY = 0.25
AUDITS_PER_ROUND, AUDIT_WEIGHT = 1.0, 0.5
# Share of the curvature that a step takes, and variance of a single shot over that of the first loss.
STEP, SHOT_VARIANCE = 0.2, 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundFigures:
    """What the rounds of a run got.

    Attributes:
        participants: Workers that got at least one pair, by round.
        information: Sum over the workers' pairs of w^2, by round.
    """

    participants: Int64s
    information: Float64s


def barrier_case(
    *, round_slots: int, n_pairs: int, coherence_rounds: float, seed: int, phase: Phase, n_slots: int = 600
) -> SchedulingCase:
    """Return S6: 50 workers around a server that can make 25 attempts a slot; their success chances differ tenfold.

    Args:
        round_slots: Slots of a round; at its last the pairs are used.
        n_pairs: Pairs that each worker wants, and can store.
        coherence_rounds: Coherence time of a stored pair over the length of a round.
        seed: Seed of the instance.
        phase: Tuning or reporting.
        n_slots: Slots; whole rounds of them are used.

    Raises:
        DomainError: A number is below 1, or not even one round fits.
    """
    if round_slots < 1 or n_pairs < 1 or n_slots < round_slots:
        raise DomainError(
            "Arguments `round_slots` and `n_pairs` must be at least 1 and a round must fit in `n_slots`, "
            f"but are {round_slots}, {n_pairs} and {n_slots}."
        )
    n_rounds = n_slots // round_slots
    coherence = coherence_rounds * round_slots
    server_first = np.arange(N_WORKERS + 1) == 0
    network = uniform_network(
        np.column_stack([np.zeros(N_WORKERS, dtype=np.int64), np.arange(1, N_WORKERS + 1)]),
        N_WORKERS + 1,
        success_probability=1.0,
        initial_fidelity=FIDELITY,
        coherence_slots=coherence,
        lifetime_slots=lifetime_of_fidelity((4.0 * FIDELITY - 1.0) / 3.0, coherence, MINIMUM_FIDELITY),
        memory_slots=np.where(server_first, N_WORKERS * n_pairs, n_pairs),
        attempts_per_slot=np.where(server_first, SERVER_ATTEMPTS, 1),
    )
    chances = case_stream(seed, phase, "network").permutation(np.geomspace(*WORKER_PROBABILITIES, N_WORKERS))
    network = replace(network, success_probability=chances)
    classes = [_training_class(k) for k in range(1, n_pairs + 1)]
    # By round, then by pair, so that first pairs come before second ones; workers in order within.
    turn, label, worker = np.indices((n_rounds, n_pairs, N_WORKERS)).reshape(3, -1)
    requests = request_table(
        [[link] for link in range(N_WORKERS)],
        classes,
        route=worker,
        label=label,
        arrival=(turn + 1) * round_slots - 1,
        user=worker,
        announced=turn * round_slots,
    )
    n_used = n_rounds * round_slots
    return SchedulingCase(
        name=f"S6 round {round_slots} pairs {n_pairs} coherence {coherence_rounds:g}",
        description="Pairs for a known moment: hold early ones, make fresh ones, or begin just in time.",
        regime=Regime.HARD,
        network=network,
        requests=requests,
        path=draw_sample_path(network, n_used, case_stream(seed, phase, "coins")),
        forecast=forecast_of(np.full((N_WORKERS, n_pairs), 1.0 / round_slots), classes, quorum=QUORUM),
    )


def adversary_case(
    *, drops: bool, seed: int, phase: Phase, round_slots: int = 20, n_pairs: int = 2, n_slots: int = 4000
) -> SchedulingCase:
    """Return S10: S6 with 16 of 50 workers that lie about their pairs, and audits that could find them out.

    Audits are requests for one pair of a worker, on average one a round, that are announced to nobody.

    Args:
        drops: Whether a liar loses its half after heralding; else its pairs are worse by 0.1 in fidelity than it says.
        seed: Seed of the instance.
        phase: Tuning or reporting.
        round_slots: Slots of a round.
        n_pairs: Pairs that each worker wants.
        n_slots: Slots.

    Raises:
        DomainError: As for `barrier_case`.
    """
    base = barrier_case(
        round_slots=round_slots, n_pairs=n_pairs, coherence_rounds=2.0, seed=seed, phase=phase, n_slots=n_slots
    )
    liars = liar_workers(seed, phase)
    werner = base.network.initial_werner.copy()
    if drops:
        werner[liars] = (4.0 * DROPPED_FIDELITY - 1.0) / 3.0
    else:
        werner[liars] -= 4.0 / 3.0 * CLAIM_EXCESS
    audit = RequestClass(
        share=0.0, minimum_fidelity=0.0, weight=AUDIT_WEIGHT, patience_slots=round_slots // 2, kind=ValueKind.STEP
    )
    classes = [*(_training_class(k) for k in range(1, n_pairs + 1)), audit]
    rng = case_stream(seed, phase, "audits")
    slot, link = np.nonzero(rng.random((base.n_slots, N_WORKERS)) < AUDITS_PER_ROUND / round_slots)
    own = base.requests
    arrival, worker = np.concatenate([own.arrival, slot]), np.concatenate([own.route_link, link])
    label = np.concatenate([own.request_class, np.full(len(slot), n_pairs, dtype=np.int64)])
    announced = np.concatenate([own.announced, slot])
    order = np.argsort(arrival, kind="stable")
    requests = request_table(
        [[one] for one in range(N_WORKERS)],
        classes,
        route=worker[order],
        label=label[order],
        arrival=arrival[order],
        user=worker[order],
        announced=announced[order],
    )
    rate = np.hstack([base.forecast.rate, np.full((N_WORKERS, 1), AUDITS_PER_ROUND / round_slots)])
    return replace(
        base,
        name=f"S10 {'dropped halves' if drops else 'inflated claims'}",
        description="A third of the workers lie about their pairs: what audits find out, and what it costs.",
        network=replace(base.network, initial_werner=werner),
        requests=requests,
        forecast=forecast_of(rate, classes, quorum=QUORUM),
    )


def liar_workers(seed: int, phase: Phase) -> Int64s:
    """Return the links of the workers that lie in an instance, sorted."""
    return np.sort(case_stream(seed, phase, "liars").permutation(N_WORKERS)[:N_LIARS]).astype(np.int64)


def round_figures(case: SchedulingCase, record: SlottedRecord, round_slots: int) -> RoundFigures:
    """Return what every round of a training case got; audits do not count."""
    n_rounds = case.n_slots // round_slots
    is_training = case.requests.minimum_fidelity[record.served_request] == MINIMUM_FIDELITY
    request = record.served_request[is_training]
    turn = record.served_slot[is_training] // round_slots
    werner = (4.0 * record.served_fidelity[is_training] - 1.0) / 3.0
    information = np.bincount(turn, weights=werner**2, minlength=n_rounds).astype(np.float64)
    has_pair = np.zeros((n_rounds, case.network.n_links), dtype=bool)
    has_pair[turn, case.requests.user[request]] = True
    return RoundFigures(participants=has_pair.sum(axis=1), information=information)


def training_loss(figures: RoundFigures, quorum: int) -> Float64s:
    """Return the loss after each round of gradient descent on a quadratic, in units of the first loss, `(rounds,)`.

    A round with fewer than `quorum` participants is lost. Else the loss l becomes `(1 - a)^2 l + a^2 s / N`, with step
    a (in units of the inverse curvature), N the information of the round and s the variance of a shot.

    Source:
        Expected descent of a step with unbiased gradient noise on `L x^2 / 2`: `E (x - a (x + e))^2`, exactly.
    """
    loss = np.empty(len(figures.information))
    now = 1.0
    for turn, (present, information) in enumerate(zip(figures.participants, figures.information, strict=True)):
        if present >= quorum and information > 0.0:
            now = (1.0 - STEP) ** 2 * now + STEP**2 * SHOT_VARIANCE / information
        loss[turn] = now
    return loss


def _training_class(k: int) -> RequestClass:
    return RequestClass(
        share=1.0,
        minimum_fidelity=MINIMUM_FIDELITY,
        weight=float(np.log2((k + 1) / k)),
        patience_slots=0,
        kind=ValueKind.INFORMATION,
    )
