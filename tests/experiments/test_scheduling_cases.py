"""The cases of the scheduling benchmark: what is drawn, what is known when, and that figures mean what they say."""

import math
from dataclasses import fields

import numpy as np
import pytest

from ceas.errors import DomainError, UnknownNameError
from ceas.experiments.scheduling_cases import (
    DRIFT_SUCCESS_FACTOR,
    HIGH_SHARE,
    LOST_SALES_DEMAND,
    Phase,
    Regime,
    SchedulingCase,
    deadline_mix_case,
    drift_case,
    lifetime_of_fidelity,
    lost_sales_case,
    one_link_case,
    pairs_per_slot,
)
from ceas.experiments.scheduling_contest import run_case
from ceas.experiments.scheduling_entrants import entrants_of
from ceas.experiments.scheduling_figures import measure
from ceas.experiments.scheduling_route_cases import grid_case, packet_case, switch_case
from ceas.experiments.scheduling_settings import SCENARIOS, SETTINGS, choose_settings
from ceas.experiments.scheduling_training_cases import (
    N_LIARS,
    N_WORKERS,
    SHOT_VARIANCE,
    STEP,
    RoundFigures,
    adversary_case,
    barrier_case,
    round_figures,
    training_loss,
)
from ceas.network.slot_engine import run_slotted

SLOTTED = [setting for setting in SETTINGS if not setting.is_on_events]
SMALL = [setting for setting in SLOTTED if setting.parameters.get("n_nodes", 0) <= 500]


def arrays_of(case: SchedulingCase) -> list[np.ndarray]:
    parts = (case.network, case.requests, case.path, case.forecast)
    return [np.asarray(getattr(part, field.name)) for part in parts for field in fields(part)]


def needed_pairs(case: SchedulingCase) -> float:
    """Pairs per slot that it would take to serve everybody."""
    return float((np.diff(case.requests.route_first) * case.requests.n_pairs).sum()) / case.n_slots


@pytest.mark.parametrize("setting", SMALL, ids=lambda setting: setting.name)
def test_an_instance_is_named_by_setting_seed_and_phase(setting) -> None:
    made = setting.case(3, Phase.REPORTING, is_quick=True)
    assert made.name == setting.name
    for one, same in zip(arrays_of(made), arrays_of(setting.case(3, Phase.REPORTING, is_quick=True)), strict=True):
        np.testing.assert_array_equal(one, same)
    for other in (setting.case(4, Phase.REPORTING, is_quick=True), setting.case(3, Phase.TUNING, is_quick=True)):
        assert other.path.success.shape[1] == made.path.success.shape[1] or setting.scenario in ("S8", "S11")
        n = min(len(other.path.success), len(made.path.success))
        m = min(other.network.n_links, made.network.n_links)
        assert not np.array_equal(other.path.success[:n, :m], made.path.success[:n, :m])


def test_load_and_memory_change_neither_network_nor_coins() -> None:
    low, high = (
        deadline_mix_case(load=load, memory_slots=k, seed=1, phase=Phase.TUNING) for load, k in ((0.3, 2), (1.2, 4))
    )
    np.testing.assert_array_equal(low.network.edges, high.network.edges)
    np.testing.assert_array_equal(low.path.success, high.path.success)
    np.testing.assert_allclose(high.forecast.rate, 4.0 * low.forecast.rate)


def test_a_phase_draws_a_network_of_its_own() -> None:
    tuning, reporting = (deadline_mix_case(load=0.7, memory_slots=2, seed=0, phase=phase) for phase in Phase)
    assert not np.array_equal(tuning.network.edges, reporting.network.edges)


@pytest.mark.parametrize("load", [0.3, 0.7, 1.2])
def test_the_deadline_mix_has_the_stated_load_shares_and_deadlines(load: float) -> None:
    """Request counts are Poisson with 7.5 load per slot.

    Sample: 4000 slots, so 9000 requests at least; bounds of 5 standard deviations, false-alarm rate below 1e-6 each.
    """
    case = deadline_mix_case(load=load, memory_slots=2, seed=5, phase=Phase.TUNING, n_slots=4000)
    assert pairs_per_slot(case.network) == pytest.approx(7.5)
    mean = 7.5 * load * case.n_slots
    assert abs(len(case.requests) - mean) < 5.0 * math.sqrt(mean)
    assert float(case.forecast.rate.sum()) == pytest.approx(7.5 * load)
    n = len(case.requests)
    is_high = case.requests.minimum_fidelity == 0.9
    assert abs(is_high.mean() - HIGH_SHARE) < 5.0 * math.sqrt(HIGH_SHARE * (1 - HIGH_SHARE) / n)
    np.testing.assert_array_equal(case.requests.weight, np.where(is_high, 3.0, 1.0))
    patience = case.requests.deadline - case.requests.arrival
    assert set(patience.tolist()) == {3, 12}
    assert abs((patience == 3).mean() - 0.5) < 5.0 * math.sqrt(0.25 / n)
    # Shares are independent of the slot: each half of the run has its part.
    late = (case.requests.arrival >= 2000).sum()
    assert abs(late - n / 2) < 5.0 * math.sqrt(n / 4)


def test_the_requests_of_a_link_follow_its_rate() -> None:
    """Chi-square of 100 links' counts against their rates.

    Sample: 4000 slots, rates of at least 0.02 per slot; the statistic has 100 degrees of freedom, standard deviation
    14.1; bounds of about 6 of them, false-alarm rate below 1e-6.
    """
    case = deadline_mix_case(load=0.7, memory_slots=2, seed=6, phase=Phase.TUNING, n_slots=4000)
    counts = np.bincount(case.requests.route_link, minlength=case.network.n_links)
    mean = case.forecast.rate.sum(axis=1) * case.n_slots
    assert 40.0 < ((counts - mean) ** 2 / mean).sum() < 190.0


def test_the_demand_is_skewed_alike_in_all_instances() -> None:
    rates = [
        np.sort(deadline_mix_case(load=0.7, memory_slots=2, seed=seed, phase=Phase.TUNING).forecast.rate.sum(axis=1))
        for seed in (0, 1)
    ]
    np.testing.assert_allclose(rates[0], rates[1])
    assert rates[0][-1] > 10.0 * rates[0][0]


def test_nobody_waits_for_lost_sales_and_links_are_of_three_demands() -> None:
    case = lost_sales_case(memory_slots=2, seed=0, phase=Phase.REPORTING)
    np.testing.assert_array_equal(case.requests.deadline, case.requests.arrival)
    np.testing.assert_array_equal(case.requests.announced, case.requests.arrival)
    rate = np.sort(case.forecast.rate.sum(axis=1))
    np.testing.assert_allclose(np.unique(np.round(rate / rate[0], 6)), sorted(LOST_SALES_DEMAND))
    assert float(rate.sum()) == pytest.approx(0.7 * 7.5)


def test_lifetimes_are_where_fidelity_falls_below_the_least_that_serves() -> None:
    assert lifetime_of_fidelity((4 * 0.95 - 1) / 3, 40.0, 0.75) == 13
    assert lifetime_of_fidelity((4 * 0.95 - 1) / 3, 40.0, 0.9) == 2
    assert lifetime_of_fidelity(0.2, 40.0, 0.9) == -1
    with pytest.raises(DomainError, match="`minimum_fidelity` must be above"):
        lifetime_of_fidelity(0.9, 40.0, 0.25)


def test_one_link_gets_at_most_one_request_a_slot_at_the_stated_chances() -> None:
    """Sample: 20,000 slots, chances 0.1 and 0.3; bounds of 5 standard deviations, false-alarm rate below 1e-6."""
    case = one_link_case(memory_slots=2, seed=0, phase=Phase.TUNING, n_slots=20_000)
    assert len(np.unique(case.requests.arrival)) == len(case.requests)
    for label, chance in enumerate((0.1, 0.3)):
        count = int((case.requests.request_class == label).sum())
        assert abs(count - 20_000 * chance) < 5.0 * math.sqrt(20_000 * chance * (1 - chance))


@pytest.mark.parametrize("load", [0.5, 1.5])
def test_the_switch_counts_two_pairs_a_request(load: float) -> None:
    """Sample: 4000 slots and 3000 requests at least; bound of 5 standard deviations, false-alarm rate below 1e-6."""
    case = switch_case(load=load, n_leaves=12, seed=0, phase=Phase.TUNING, n_slots=4000)
    wanted = load * 12 * 0.25
    assert float(case.forecast.rate.sum()) == pytest.approx(wanted)
    assert abs(needed_pairs(case) - wanted) < 5.0 * 2.0 * math.sqrt(wanted / 2.0 / case.n_slots)
    ends = case.requests.route_link.reshape(-1, 2)
    assert bool((ends[:, 0] != ends[:, 1]).all())


def test_grid_routes_are_paths_of_two_to_four_links() -> None:
    case = grid_case(swap_success_probability=0.5, seed=0, phase=Phase.REPORTING, n_slots=100)
    assert case.network.n_nodes == 50
    hops = np.diff(case.requests.route_first)
    assert set(hops.tolist()) == {2, 3, 4}
    for request in range(len(case.requests)):
        links = case.requests.route_link[case.requests.route_first[request] : case.requests.route_first[request + 1]]
        degree = np.bincount(case.network.edges[links].ravel())
        assert (degree == 1).sum() == 2
        assert degree.max() == 2
    assert needed_pairs(case) == pytest.approx(0.7 * pairs_per_slot(case.network), rel=0.15)


def test_applications_ask_for_packets_in_turn() -> None:
    case = packet_case(n_applications=30, seed=0, phase=Phase.TUNING, n_slots=400)
    for user in range(30):
        arrival = case.requests.arrival[case.requests.user == user]
        assert len(arrival) == 10
        np.testing.assert_array_equal(np.diff(arrival), 40)
    np.testing.assert_array_equal(case.requests.deadline - case.requests.arrival, 10)
    np.testing.assert_array_equal(case.requests.n_pairs, np.where(np.diff(case.requests.route_first) > 1, 1, 3))
    assert float(case.forecast.rate[:, 0].sum()) == pytest.approx((case.requests.n_pairs == 3).sum() / 400)


def test_a_barrier_is_announced_at_its_round_and_due_at_its_end() -> None:
    case = barrier_case(round_slots=20, n_pairs=4, coherence_rounds=0.5, seed=0, phase=Phase.REPORTING, n_slots=610)
    requests = case.requests
    assert case.n_slots == 600
    assert len(requests) == 30 * 4 * N_WORKERS
    np.testing.assert_array_equal(requests.announced % 20, 0)
    np.testing.assert_array_equal(requests.arrival, requests.announced + 19)
    np.testing.assert_array_equal(requests.deadline, requests.arrival)
    # A worker's weights of a round add to log2(1 + pairs), and each is less than the one before.
    own = requests.weight[(requests.user == 0) & (requests.arrival == 19)]
    assert own.sum() == pytest.approx(math.log2(5))
    assert bool((np.diff(np.sort(own)) > 0).all())
    assert float(case.forecast.rate.sum()) * 20 == pytest.approx(4 * N_WORKERS)


def test_an_announced_barrier_is_served_in_its_last_slot_only(sketch_entrants) -> None:
    case = barrier_case(round_slots=10, n_pairs=1, coherence_rounds=2.0, seed=0, phase=Phase.TUNING, n_slots=200)
    entrant = sketch_entrants()[1]
    record = run_slotted(case.network, case.requests, case.path, entrant.build(case, {"eagerness": 0.0}))
    assert len(record.served_request) > 0
    np.testing.assert_array_equal(record.served_slot % 10, 9)
    figures = round_figures(case, record, 10)
    assert figures.participants.sum() == len(record.served_request)
    assert figures.information.sum() == pytest.approx(record.served_value.sum())


def test_the_loss_of_training_follows_its_closed_form() -> None:
    """With n rounds of information N each: l_n = r^n + c (1 - r^n) / (1 - r), r = (1 - a)^2, c = a^2 s / N."""
    figures = RoundFigures(participants=np.full(30, 34), information=np.full(30, 17.0))
    r, c = (1 - STEP) ** 2, STEP**2 * SHOT_VARIANCE / 17.0
    turns = np.arange(1, 31)
    np.testing.assert_allclose(training_loss(figures, 34), r**turns + c * (1 - r**turns) / (1 - r))
    np.testing.assert_array_equal(training_loss(figures, 35), 1.0)


@pytest.mark.parametrize("drops", [True, False])
def test_liars_claim_more_than_they_have(drops: bool) -> None:
    case = adversary_case(drops=drops, seed=0, phase=Phase.REPORTING, n_slots=400)
    excess = 0.75 * (case.network.claimed_werner - case.network.initial_werner)
    assert (excess > 1e-12).sum() == N_LIARS
    assert 3 * N_LIARS < N_WORKERS
    np.testing.assert_allclose(excess[excess > 1e-12], 0.95 - 0.25 if drops else 0.1)
    is_audit = case.requests.minimum_fidelity == 0.0
    np.testing.assert_array_equal(case.requests.announced[is_audit], case.requests.arrival[is_audit])
    # 50 workers, 20 rounds, one audit each a round: mean 1000, 6 standard deviations, false-alarm rate below 1e-6.
    assert abs(is_audit.sum() - 1000) < 6.0 * math.sqrt(1000)


def test_drift_spares_the_first_half_and_four_fifths_of_the_links() -> None:
    """Sample: 2000 slots of 20 links at 0.09, 36,000 at 0.3; 6 standard deviations, false-alarm rate below 1e-6."""
    base, case = (
        make(load=0.7, memory_slots=2, seed=2, phase=Phase.TUNING, n_slots=4000)
        for make in (deadline_mix_case, drift_case)
    )
    np.testing.assert_array_equal(base.path.success[:2000], case.path.success[:2000])
    changed = (base.path.success != case.path.success).any(axis=0)
    assert changed.sum() == 20
    rate = case.path.success[2000:, changed].mean()
    assert abs(rate - 0.3 * DRIFT_SUCCESS_FACTOR) < 6.0 * math.sqrt(0.09 * 0.91 / 40_000)
    np.testing.assert_allclose(np.diff(case.path.decay, axis=0)[2000:, changed], 2.0 / 40.0)
    np.testing.assert_allclose(np.diff(case.path.decay, axis=0)[:, ~changed], 1.0 / 40.0)
    # Only bounds are told of it.
    assert base.success_chance is None
    assert case.success_chance is not None
    np.testing.assert_allclose(case.success_chance[2000:, changed], 0.3 * DRIFT_SUCCESS_FACTOR)
    np.testing.assert_allclose(case.success_chance[:2000], 0.3)
    np.testing.assert_allclose(case.success_chance[:, ~changed], 0.3)
    # Policies are not.
    np.testing.assert_array_equal(case.network.success_probability, 0.3)
    np.testing.assert_array_equal(case.network.coherence_slots, 40.0)


def test_settings_have_names_of_their_own_and_every_scenario_has_some() -> None:
    names = [setting.name for setting in SETTINGS]
    assert len(set(names)) == len(names)
    assert {setting.scenario for setting in SETTINGS} == set(SCENARIOS) - {"S4"}
    assert {setting.regime for setting in SETTINGS} == set(Regime)
    assert [one.scenario for one in choose_settings(["S7"], is_quick=True)] == ["S7"] * 6
    with pytest.raises(UnknownNameError, match="Did you mean `S11`"):
        choose_settings(["S111"])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: deadline_mix_case(load=-1.0, memory_slots=2, seed=0, phase=Phase.TUNING), "`load` must be"),
        (lambda: deadline_mix_case(load=1.0, memory_slots=2, seed=0, phase=Phase.TUNING, n_slots=0), "`n_slots` must"),
        (lambda: switch_case(load=1.0, n_leaves=1, seed=0, phase=Phase.TUNING), "`n_leaves` must be at least 2"),
        (lambda: packet_case(n_applications=0, seed=0, phase=Phase.TUNING), "`n_applications` must be at least 1"),
        (
            lambda: barrier_case(
                round_slots=20, n_pairs=1, coherence_rounds=1.0, seed=0, phase=Phase.TUNING, n_slots=19
            ),
            "a round must fit",
        ),
    ],
)
def test_impossible_cases_are_refused(make, message: str) -> None:
    with pytest.raises(DomainError, match=message):
        make()


@pytest.mark.slow
def test_packets_are_completed_by_prices_more_often_than_by_deadline_or_fit() -> None:
    """Paired over 6 instances of 150 applications; the gain must exceed 5 standard errors of the difference."""
    setting = next(one for one in choose_settings(["S8"]) if one.name == "S8 applications 150")
    entrants = {one.name: one for one in entrants_of(setting)}
    cases = [setting.case(seed, Phase.TUNING, is_quick=True) for seed in range(6)]
    value = {
        name: np.array([measure(case, run_case(entrants[name], case, {}).record)["V"] for case in cases])
        for name in ("ceas", "best_fit", "online_edf")
    }
    for name in ("best_fit", "online_edf"):
        gain = value["ceas"] - value[name]
        assert gain.mean() > 5 * gain.std(ddof=1) / np.sqrt(len(gain)), name
