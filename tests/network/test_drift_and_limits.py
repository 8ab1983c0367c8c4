"""Steps of drift, links that share communication qubits, modes bound to slots, and transfers into memory."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

import ceas.scheduling as policies
from ceas.errors import DomainError
from ceas.network import simulation
from ceas.network.drift import apply_drift
from ceas.network.policy import LinkView, attempt_always, priority_rule
from ceas.network.records import Fate, NetworkModel
from ceas.network.route_state import link_values
from ceas.network.routes import DriftSchedule
from ceas.network.simulation import advance_round, initial_state

Sketches = Callable[..., NetworkModel]


def drift_of(*steps: tuple[int, int, float, float, float], is_announced: bool = True) -> DriftSchedule:
    time, link, success, decay, fidelity = (np.array(column) for column in zip(*steps, strict=True))
    return DriftSchedule(
        time_ns=time,
        link=link,
        success_factor=success.astype(float),
        decay_factor=decay.astype(float),
        fidelity_factor=fidelity.astype(float),
        is_announced=is_announced,
    )


def traced(model: NetworkModel, rounds: int = 1, seed: int = 1, **rules: Any) -> npt.NDArray[Any]:
    policy = replace(policies.oldest_first(model), **({"attempt": attempt_always} | rules))
    state = initial_state(model, seed=seed, trace_every=1)
    return np.concatenate([advance_round(state, model, policy).pairs for _ in range(rounds)])


def test_chance_of_success_changes_at_the_step(sketch: Sketches) -> None:
    """Pairs live for one attempt and never block. Chi-square of the gaps in both halves; false-alarm rate 1e-6 each.

    The first gap after the step, from 400 runs, is geometric with the new chance from the first attempt that begins
    then: the law has no memory. 20,000 gaps on either side.
    """
    p, q = 0.4, 0.1
    step_ns = 500_003
    model = sketch(
        slots=(60, 60),
        success=(p,),
        decay_hz=(1e8,),
        minimum_fidelity=0.6,
        keys=(1.0,),
        round_ns=2_500_000,
        learning_ns=2_500_000,
        drift=drift_of((step_ns, 0, q / p, 1.0, 1.0)),
    )
    births = np.sort(traced(model)["birth_ns"])
    # An attempt that began before the step ends with the old chance, at 500 010 ns.
    for chance, mine in ((p, births[births < step_ns]), (q, births[births > step_ns + 10])):
        gaps = np.diff(mine) // 10
        law = stats.geom(chance)
        edges = np.unique(law.ppf(np.linspace(0, 1, 9)[1:-1]))
        observed = np.bincount(np.searchsorted(edges, gaps), minlength=len(edges) + 1)
        expected = np.diff(np.concatenate([[0.0], law.cdf(edges), [1.0]])) * len(gaps)
        assert len(gaps) > 15_000
        assert stats.chisquare(observed, expected).pvalue > 1e-6
    firsts = []
    short = replace(model, clock=replace(model.clock, round_ns=510_000, learning_ns=510_000))
    for seed in range(60):
        births = np.sort(traced(short, seed=seed)["birth_ns"])
        firsts.append((births[births > 500_010][0] - 500_010) // 10)
    # Mean 1/q of a geometric law, 5 standard errors of 60 draws.
    assert abs(np.mean(firsts) - 1 / q) < 5 * math.sqrt((1 - q) / q**2 / 60)


def test_stored_pairs_keep_their_state_and_decay_at_the_new_rate(sketch: Sketches) -> None:
    steps = ((1_000, 0, 1.0, 3.0, 1.0), (2_500, 0, 1.0, 0.0, 0.97))
    model = sketch(
        slots=(6, 6),
        success=(0.05,),
        decay_hz=(2e5,),
        minimum_fidelity=0.3,
        keys=(8.0,),
        deadline_ns=10**6,
        round_ns=4_000,
        learning_ns=4_000,
        drift=drift_of(*steps),
    )
    pairs = traced(model)
    used = pairs[pairs["fate"] == Fate.KEY]
    assert np.any(used["birth_ns"] < 1_000)
    assert np.any((used["birth_ns"] < 2_500) & (used["end_ns"] > 2_500))
    edges = np.array([0, 1_000, 2_500, 4_000])
    rates = np.array([2e5, 6e5, 0.0]) * 1e-9
    for row in used:
        inside = np.clip(np.minimum(row["end_ns"], edges[1:]) - np.maximum(row["birth_ns"], edges[:-1]), 0, None)
        start = 0.95 * (0.97 if row["birth_ns"] >= 2_500 else 1.0)
        assert math.isclose(row["werner_at_end"], start * math.exp(-float(inside @ rates)), rel_tol=1e-6)


def test_pairs_expire_when_they_reach_the_minimum_under_the_new_rate(sketch: Sketches) -> None:
    """Rate doubled at 1,000 ns: what is left of the life of a pair is halved."""
    model = sketch(
        slots=(9, 9), success=(0.02,), decay_hz=(2e5,), keys=(0.1,), drift=drift_of((1_000, 0, 1.0, 2.0, 1.0))
    )
    life = int(model.lifetime_ns[0])
    pairs = traced(model)
    expired = pairs[pairs["fate"] == Fate.EXPIRED]
    early = expired[expired["birth_ns"] < 1_000]
    assert len(early) > 1
    expected = np.where(
        early["birth_ns"] + life <= 1_000, early["birth_ns"] + life, 1_000 + (early["birth_ns"] + life - 1_000) / 2
    )
    assert np.all(np.abs(early["end_ns"] - expected) <= 2)
    # To the nanosecond, in which a pair loses 4e-4.
    np.testing.assert_allclose(expired["werner_at_end"], (4 * model.minimum_fidelity - 1) / 3, rtol=4e-4)


@pytest.mark.parametrize("is_announced", [True, False])
def test_policies_see_the_new_values_if_they_are_announced(is_announced: bool, sketch: Sketches) -> None:
    drift = drift_of((5_000, 0, 1.0, 1.0, 0.9), is_announced=is_announced)
    model = sketch(success=(0.3,), keys=(100.0,), drift=drift)
    state = initial_state(model, seed=1)
    policy = policies.oldest_first(model)
    arena = simulation._round_arena(state, model, policy)
    values = link_values(model, 5_000)
    apply_drift(arena, model, values, simulation._link_constants(model, state.seeds, values), 5_000)
    assert math.isclose(arena.constants["initial_werner"][0], 0.95 * 0.9)
    assert math.isclose(arena.announced["initial_werner"][0], 0.95 * (0.9 if is_announced else 1.0))


def star_model(sketch: Sketches, n_leaves: int, qubits: list[int], **fields: Any) -> NetworkModel:
    return sketch(
        edges=tuple((0, leaf) for leaf in range(1, n_leaves + 1)),
        slots=(60,) * (n_leaves + 1),
        period_ns=(10,) * n_leaves,
        success=(0.2,) * n_leaves,
        initial_werner=(0.95,) * n_leaves,
        decay_hz=(1e8,) * n_leaves,
        minimum_fidelity=0.6,
        keys=(1.0,) * n_leaves,
        round_ns=400_000,
        learning_ns=400_000,
        repeaters={"communication_qubits": qubits} | fields,
    )


def test_links_of_a_node_share_its_communication_qubits(sketch: Sketches) -> None:
    """Pairs live for one attempt and never block. With c qubits the node makes c p pairs an attempt period, in turn.

    8,000 and 16,000 pairs, 5 standard deviations: false-alarm rate 6e-7 each.
    """
    for qubits in (1, 2):
        model = star_model(sketch, 4, [qubits, 1, 1, 1, 1])
        births = np.bincount(traced(model)["link"], minlength=4)
        expected = 40_000 * 0.2 * qubits
        assert abs(births.sum() - expected) < 5 * math.sqrt(expected * 0.8)
        assert births.max() - births.min() <= (1 if qubits == 1 else 5 * math.sqrt(births.max()))


@priority_rule
def prefer_last_leaf(view: LinkView, since_ns: int) -> float:
    return float(view.link)


def test_policy_says_which_link_attempts(sketch: Sketches) -> None:
    model = star_model(sketch, 3, [1, 1, 1, 1])
    births = np.bincount(traced(model, priority=prefer_last_leaf)["link"], minlength=3)
    assert births[:2].tolist() == [0, 0]
    assert births[2] > 7_000


def test_no_limit_is_the_network_without_limits(sketch: Sketches) -> None:
    limited = star_model(sketch, 3, [3, 1, 1, 1])
    free = replace(limited, repeaters=None)
    columns = ["pair_id", "end_ns", "fate"]
    first, second = traced(limited), traced(free)
    # With a limit no attempt goes on after a success, but none is lost here: the next one begins at the same time.
    assert first[columns].tolist() == second[columns].tolist()


def test_bound_mode_attempts_only_while_its_slot_is_free(sketch: Sketches) -> None:
    """One mode: the gap between births is a pair's life and a geometric number of attempts. False alarms 1e-6."""
    life, p = 7, 0.2
    decay_hz = math.log(0.95 / 0.6) / (life * 10e-9 + 0.5e-9)
    model = sketch(
        slots=(9, 9),
        success=(p,),
        decay_hz=(decay_hz,),
        keys=(0.5,),
        round_ns=2_000_000,
        learning_ns=2_000_000,
        repeaters={"modes": 1},
    )
    gaps = np.diff(np.sort(traced(model)["birth_ns"])) // 10 - life
    law = stats.geom(p)
    edges = np.unique(law.ppf(np.linspace(0, 1, 9)[1:-1]))
    observed = np.bincount(np.searchsorted(edges, gaps), minlength=len(edges) + 1)
    expected = np.diff(np.concatenate([[0.0], law.cdf(edges), [1.0]])) * len(gaps)
    assert len(gaps) > 10_000
    assert stats.chisquare(observed, expected).pvalue > 1e-6


def test_modes_hold_one_pair_each(sketch: Sketches) -> None:
    model = sketch(slots=(9, 9), success=(1.0,), decay_hz=(0.0,), keys=(0.1,), repeaters={"modes": 3})
    state = initial_state(model, seed=1, checks_invariants=True)
    policy = replace(policies.oldest_first(model), attempt=attempt_always)
    record = advance_round(state, model, policy)
    assert record.fates[0, Fate.ALIVE] == 3
    # Modes take turns: each makes its attempt of three periods, one period after the other.
    assert sorted(state.stock_birth_ns[0, :3].tolist()) == [30, 40, 50]


def test_transfer_delays_and_damps_new_pairs(sketch: Sketches) -> None:
    model = sketch(
        success=(1.0,),
        decay_hz=(2e5,),
        keys=(100.0,),
        repeaters={"transfer_ns": [3, 5], "transfer_contraction": [0.99, 0.98]},
    )
    pairs = traced(model)
    assert pairs["birth_ns"].min() == 15
    used = pairs[pairs["fate"] == Fate.KEY]
    age_ns = used["end_ns"] - used["birth_ns"] + 5
    np.testing.assert_allclose(used["werner_at_end"], 0.95 * 0.99 * 0.98 * np.exp(-2e5 * 1e-9 * age_ns), rtol=1e-6)


def test_drift_must_fit_the_network(sketch: Sketches) -> None:
    with pytest.raises(DomainError, match="must change links below 1"):
        sketch(drift=drift_of((5, 1, 1.0, 1.0, 1.0)))
    with pytest.raises(DomainError, match="not fall"):
        drift_of((5, 0, 1.0, 1.0, 1.0), (4, 0, 1.0, 1.0, 1.0))
    with pytest.raises(DomainError, match="decay_factor"):
        drift_of((5, 0, 1.0, -1.0, 1.0))
