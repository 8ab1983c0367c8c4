"""What only some scenarios of the scheduling benchmark report, and how their runs differ.

S1 compares with the exact optimum, S6 says what training makes of the rounds, S8 counts applications, S9 looks at the
run before and after the drift; how policies learn of it is in `scheduling_learning.py`. S10 runs a policy in two ways:
on what workers claim, and on what audits certify.
"""

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ceas.experiments.scheduling_cases import ONE_LINK_CHANCES, SchedulingCase
from ceas.experiments.scheduling_contest import Entrant, Figures, Measure, Run
from ceas.experiments.scheduling_settings import Setting
from ceas.experiments.scheduling_training_cases import (
    CLAIM_EXCESS,
    MINIMUM_FIDELITY,
    N_WORKERS,
    QUORUM,
    round_figures,
    training_loss,
)
from ceas.network.slots import SlottedRecord
from ceas.physics import fidelity_to_werner, joint_test_pass_probability
from ceas.streams import stream

__all__ = ["adversary_entrants", "extra_measure"]

Int64s = npt.NDArray[np.int64]

# Participants a round needs: everybody, or all but as many as can be Byzantine.
QUORUMS = {"all": N_WORKERS, "quorum": QUORUM}
# Chance that the sequential test of an audit clears a liar or accuses an honest worker, at most.
AUDIT_ERROR = 0.01


def extra_measure(setting: Setting) -> Measure | None:
    """Return the figures that only this setting's scenario has; None when there are none."""
    if setting.scenario == "S1":
        return _of_optimum
    if setting.scenario in ("S6", "S10"):
        round_slots = int(setting.parameters.get("round_slots", 20))
        return lambda case, record: _training(case, record, round_slots)
    return {"S8": _applications, "S9": _halves}.get(setting.scenario)


def _of_optimum(case: SchedulingCase, record: SlottedRecord) -> Figures:
    from ceas.experiments.scheduling_exact_tables import one_link_gain  # noqa: PLC0415

    best = one_link_gain(int(case.network.memory_slots[0]), ONE_LINK_CHANCES)
    return {"of_optimum": float(record.served_value.sum()) / case.n_slots / best}


def _training(case: SchedulingCase, record: SlottedRecord, round_slots: int) -> Figures:
    figures = round_figures(case, record, round_slots)
    out: Figures = {"information_per_round": float(figures.information.mean())}
    for name, quorum in QUORUMS.items():
        loss = training_loss(figures, quorum)
        out[f"rounds_{name}"] = float((figures.participants >= quorum).mean())
        out[f"loss_{name}"] = float(loss[-1])
        # Mean over the wall clock: a round that is lost holds it up, a good one speeds it up.
        out[f"descent_{name}"] = -float(np.log(loss).mean())
        reached = np.flatnonzero(loss <= 0.1)
        # Wall clock to a tenth of the first loss; a run that does not get there counts as its whole length.
        out[f"slots_to_tenth_{name}"] = float((reached[0] + 1) * round_slots if len(reached) else case.n_slots)
    return out


def _applications(case: SchedulingCase, record: SlottedRecord) -> Figures:
    """Count applications that got at least nine of ten packets, and how long packets took."""
    user = case.requests.user
    asked = np.bincount(user)
    got = np.bincount(user[record.served_request], minlength=len(asked))
    wait = record.served_slot - case.requests.arrival[record.served_request]
    return {
        "applications_served": float((got[asked > 0] >= 0.9 * asked[asked > 0]).mean()),
        "makespan_slots": float(wait.mean() + 1.0) if len(wait) else float("nan"),
    }


def _halves(case: SchedulingCase, record: SlottedRecord) -> Figures:
    """Return the delivered value before and after the middle of the run, over what arrived then."""
    middle = case.n_slots // 2
    requests = case.requests
    out: Figures = {}
    for name, is_late in (("V_before", False), ("V_after", True)):
        asked = float(requests.weight[(requests.arrival >= middle) == is_late].sum())
        of_half = (requests.arrival[record.served_request] >= middle) == is_late
        out[name] = float(record.served_value[of_half].sum()) / asked if asked else float("nan")
    return out


# ---- S10 -------------------------------------------------------------------------------------------------------------


def adversary_entrants(entrants: list[Entrant]) -> list[Entrant]:
    """Return every entrant twice: by what audits have certified, and believing what workers claim."""
    believing = [replace(one, name=f"{one.name}, claimed", run=_run_believing) for one in entrants]
    certified = [replace(one, name=f"{one.name}, certified", run=_run_certified) for one in entrants]
    return certified + believing


def _run_believing(entrant: Entrant, case: SchedulingCase, parameters: Mapping[str, Any]) -> Run:
    return _run_rounds(entrant, case, parameters, is_certified=False)


def _run_certified(entrant: Entrant, case: SchedulingCase, parameters: Mapping[str, Any]) -> Run:
    return _run_rounds(entrant, case, parameters, is_certified=True)


def _run_rounds(entrant: Entrant, case: SchedulingCase, parameters: Mapping[str, Any], *, is_certified: bool) -> Run:
    """Run round by round; after each, judge the audits and, if they count, take no more pairs from who failed.

    An audit measures both halves in one of three bases at random and passes with chance `(1 + 2 F) / 3`. Each worker's
    outcomes go into Wald's sequential test of its claim against a fidelity that is lower by `CLAIM_EXCESS`, at the age
    that the pair had. Whoever is accused is from then on said to have pairs without any value.
    """
    from ceas.network.slot_engine import advance_slots, slotted_record, start_slotted  # noqa: PLC0415

    first = int(np.argmax(case.requests.minimum_fidelity >= MINIMUM_FIDELITY))
    round_slots = int(case.requests.deadline[first] - case.requests.announced[first]) + 1
    coins = stream(int(case.path.swap_seed), "scheduling benchmark audit outcomes").random(len(case.requests))
    start = time.perf_counter()
    # A copy, because what is believed of new pairs changes as the run goes on.
    network = replace(case.network, claimed_werner=case.network.claimed_werner.copy())
    policy = entrant.build(case, parameters)
    build_s, run_s = time.perf_counter() - start, 0.0
    state = start_slotted(network, case.requests, case.path)
    ratio = np.zeros(N_WORKERS)
    accused_at = np.full(N_WORKERS, case.n_slots, dtype=np.int64)
    judged = 0
    for end in range(round_slots, case.n_slots + 1, round_slots):
        start = time.perf_counter()
        advance_slots(state, policy, end)
        run_s += time.perf_counter() - start
        record = slotted_record(state)
        ratio += _log_likelihood_ratio(case, record, judged, coins)
        judged = len(record.served_request)
        newly = (ratio > np.log(1.0 / AUDIT_ERROR)) & (accused_at == case.n_slots)
        accused_at[newly] = end
        # Whoever the test clears begins anew, so that a worker which turns bad later is still found.
        ratio[ratio < -np.log(1.0 / AUDIT_ERROR)] = 0.0
        if is_certified and newly.any():
            claimed = np.where(accused_at < case.n_slots, 0.0, case.network.claimed_werner)
            state.claimed_werner[:] = claimed
            start = time.perf_counter()
            policy = entrant.build(replace(case, network=replace(network, claimed_werner=claimed)), parameters)
            build_s += time.perf_counter() - start
    return Run(
        record=slotted_record(state),
        build_s=build_s,
        run_s=run_s,
        extra=_verdicts(case, slotted_record(state), accused_at, round_slots),
    )


def _log_likelihood_ratio(
    case: SchedulingCase, record: SlottedRecord, first: int, coins: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return what the audits served since `first` add to each worker's log likelihood of lying, `(workers,)`."""
    request = record.served_request[first:]
    is_audit = case.requests.minimum_fidelity[request] < MINIMUM_FIDELITY
    request, fidelity = request[is_audit], record.served_fidelity[first:][is_audit]
    worker = case.requests.user[request]
    true_werner = fidelity_to_werner(fidelity)
    passed = coins[request] < joint_test_pass_probability(true_werner)
    # The verifier knows the pair's age from its own clock, so it knows what a worker as good as it claims would give.
    new_werner = case.network.initial_werner[worker]
    decay = np.divide(true_werner, new_werner, out=np.ones_like(true_werner), where=new_werner > 0.0)
    claimed = 0.25 + 0.75 * case.network.claimed_werner[worker] * decay
    lying = claimed - CLAIM_EXCESS * decay
    good, bad = (joint_test_pass_probability(fidelity_to_werner(one)) for one in (claimed, lying))
    step = np.where(passed, np.log(bad / good), np.log((1.0 - bad) / (1.0 - good)))
    return np.bincount(worker, weights=step, minlength=N_WORKERS).astype(np.float64)


def _verdicts(case: SchedulingCase, record: SlottedRecord, accused_at: Int64s, round_slots: int) -> Figures:
    is_liar = case.network.initial_werner < case.network.claimed_werner
    is_training = case.requests.minimum_fidelity[record.served_request] >= MINIMUM_FIDELITY
    worker = case.requests.user[record.served_request[is_training]]
    return {
        "liars_found": float((accused_at[is_liar] < case.n_slots).mean()),
        "honest_accused": float((accused_at[~is_liar] < case.n_slots).mean()),
        "detection_rounds": float(accused_at[is_liar].mean() / round_slots),
        "pairs_from_liars": float(is_liar[worker].mean()) if len(worker) else float("nan"),
    }
