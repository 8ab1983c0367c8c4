import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from ceas.errors import CapacityError, DomainError
from ceas.network.slot_engine import run_slotted
from ceas.network.slots import RequestTable, SamplePath, SlottedNetwork, draw_sample_path
from ceas.scheduling.bounds_hindsight import freshest_value, hindsight_bound

_spec = importlib.util.spec_from_file_location("slotted_sketches", Path(__file__).with_name("slotted_sketches.py"))
assert _spec is not None
assert _spec.loader is not None
sketches = importlib.util.module_from_spec(_spec)
sys.modules["slotted_sketches"] = sketches
_spec.loader.exec_module(sketches)

TIGHT = 1e-6


@pytest.mark.parametrize("seed", range(30))
def test_the_integer_optimum_is_the_clairvoyants(seed: int) -> None:
    """Single pairs, tuples and routes; every service tried slot by slot, without columns."""
    rng = np.random.default_rng(seed)
    network = sketches.sketch_network(rng, 3, 3)
    requests = sketches.sketch_requests(rng, network, 4, 5, most_pairs=2, most_hops=2)
    path = sketches.sketch_path(rng, network, 4)
    best = sketches.clairvoyant_by_exhaustion(network, requests, path)
    exact = hindsight_bound(network, requests, path, integer=True)
    assert exact.is_integer
    assert exact.n_split == 0
    assert exact.value == pytest.approx(best, abs=TIGHT)
    assert hindsight_bound(network, requests, path).value >= best - TIGHT
    split = hindsight_bound(network, requests, path, most_combinations=0)
    assert split.value >= best - TIGHT


@settings(max_examples=150, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32), combinations=st.sampled_from([0, 20, 500]))
def test_no_policy_passes_the_bound(seed: int, combinations: int) -> None:
    """Policies that serve, replace and discard at random, on drifting networks with wrong claims."""
    rng = np.random.default_rng(seed)
    network = sketches.sketch_network(rng, int(rng.integers(2, 7)), int(rng.integers(1, 9)), memory=4)
    requests = sketches.sketch_requests(rng, network, 30, int(rng.integers(0, 60)), most_pairs=3, most_hops=3)
    path = sketches.sketch_path(rng, network, 30)
    bound = hindsight_bound(network, requests, path, most_combinations=combinations)
    for attempt, swap, serve, discard in rng.uniform(0.2, 1.0, (4, 4)) * [1.0, 0.6, 1.0, 0.2]:
        policy = sketches.any_policy(network, attempt, swap, serve, discard)
        record = run_slotted(network, requests, path, policy)
        assert record.served_value.sum() <= bound.value + TIGHT


@pytest.mark.parametrize("seed", range(5))
def test_without_limits_it_is_an_assignment(seed: int) -> None:
    """With memory and attempts for all, services are an assignment of requests to pairs, solved by another method."""
    rng = np.random.default_rng(seed)
    network = replace(
        sketches.sketch_network(rng, 5, 6),
        memory_slots=np.full(5, 1000, dtype=np.int64),
        attempts_per_slot=np.full(5, 1000, dtype=np.int64),
    )
    requests = sketches.sketch_requests(rng, network, 40, 80)
    path = draw_sample_path(network, 40, rng)
    link, birth = np.nonzero(path.success.T)
    slot = np.maximum(requests.arrival[:, None], birth)
    age = slot - birth
    fits = (requests.route_link[:, None] == link) & (slot <= requests.deadline[:, None]) & (slot < 40)
    fits &= age <= network.lifetime_slots[link]
    werner = network.initial_werner[link] * np.exp(-age / network.coherence_slots[link])
    value = np.where(requests.kind[:, None] == 0, 1.0, werner**2)
    q = (1.0 - werner) / 2.0
    with np.errstate(divide="ignore", invalid="ignore"):
        entropy = -q * np.log2(q) - (1.0 - q) * np.log2(1.0 - q)
    value = np.where(requests.kind[:, None] == 2, np.maximum(0.0, 1.0 - 2.0 * np.nan_to_num(entropy)), value)
    value = value * requests.weight[:, None] * (0.25 + 0.75 * werner >= requests.minimum_fidelity[:, None])
    value = np.where(fits, value, 0.0)
    rows, columns = linear_sum_assignment(value, maximize=True)
    bound = hindsight_bound(network, requests, path)
    assert bound.value == pytest.approx(value[rows, columns].sum(), rel=1e-7)
    assert bound.fractional_share == 0.0
    assert not bound.memory_price.any()
    assert not bound.attempt_price.any()


@pytest.mark.parametrize("seed", range(3))
def test_windows_of_time_bound_as_well_and_hardly_worse(seed: int) -> None:
    """Prices that are put together from windows prove a bound on the whole programme, here within 2 %."""
    rng = np.random.default_rng(seed)
    network = sketches.sketch_network(rng, 8, 14)
    requests = sketches.sketch_requests(rng, network, 300, 700)
    path = draw_sample_path(network, 300, rng)
    whole = hindsight_bound(network, requests, path)
    windows = hindsight_bound(network, requests, path, most_columns=whole.n_columns // 6)
    assert whole.n_windows == 1
    assert windows.n_windows > 3
    assert whole.value == pytest.approx(whole.solver_value, rel=1e-7)
    assert whole.value - TIGHT <= windows.value <= 1.02 * whole.value


def test_prices_are_what_more_would_be_worth() -> None:
    """One memory slot at node 1, wanted by two: the winner gains 5 by it, the loser would 2; prices lie between."""
    network = SlottedNetwork(
        edges=np.array([[0, 1], [1, 2]]),
        success_probability=np.ones(2),
        initial_werner=np.ones(2),
        claimed_werner=np.ones(2),
        coherence_slots=np.full(2, np.inf),
        lifetime_slots=np.full(2, 5),
        memory_slots=np.array([3, 1, 3]),
        attempts_per_slot=np.array([3, 3, 3]),
    )
    requests = _singles(link=[0, 1], arrival=[1, 1], deadline=[1, 1], weight=[2.0, 5.0])
    success = np.array([[True, True], [False, False]])
    path = SamplePath(success=success, decay=np.zeros((0, 2)), swap_seed=1)
    bound = hindsight_bound(network, requests, path)
    assert bound.value == pytest.approx(5.0)
    assert bound.normalised == pytest.approx(5.0 / 7.0)
    assert 2.0 - TIGHT <= bound.memory_price.sum() <= 5.0 + TIGHT
    assert not bound.memory_price[:, [0, 2]].any()


def test_the_expected_swap_charges_lost_pairs() -> None:
    """Three births a link make three tries with a swap of chance 1/4."""
    network = SlottedNetwork(
        edges=np.array([[0, 1], [1, 2]]),
        success_probability=np.ones(2),
        initial_werner=np.ones(2),
        claimed_werner=np.ones(2),
        coherence_slots=np.full(2, np.inf),
        lifetime_slots=np.full(2, 5),
        memory_slots=np.full(3, 9),
        attempts_per_slot=np.full(3, 9),
        swap_success_probability=0.25,
    )
    requests = RequestTable(
        route_first=np.array([0, 2]),
        route_link=np.array([0, 1]),
        announced=np.array([0]),
        arrival=np.array([0]),
        deadline=np.array([9]),
        n_pairs=np.array([1]),
        minimum_fidelity=np.array([0.0]),
        weight=np.array([1.0]),
        kind=np.array([0]),
        request_class=np.array([0]),
        user=np.array([0]),
    )
    success = np.zeros((10, 2), dtype=bool)
    success[:3] = True
    path = SamplePath(success=success, decay=np.zeros((0, 2)), swap_seed=1)
    assert hindsight_bound(network, requests, path).value == pytest.approx(1.0)
    # Three tries of chance 1/4 each: at least 1 - (3/4)^3, and in expectation at most 3/4.
    assert hindsight_bound(network, requests, path, swaps="expected").value == pytest.approx(0.75)
    assert hindsight_bound(network, requests, path, swaps="expected", most_combinations=0).value >= 0.75 - TIGHT


def test_the_expected_bound_holds_in_the_mean() -> None:
    """400 seeds of swap coins on one path; the mean of a policy passes the bound by 5.2 standard errors with 1e-7."""
    rng = np.random.default_rng(5)
    network = replace(sketches.sketch_network(rng, 5, 7, memory=4), swap_success_probability=0.6)
    requests = sketches.sketch_requests(rng, network, 40, 80, most_hops=3)
    path = draw_sample_path(network, 40, rng)
    bound = hindsight_bound(network, requests, path, swaps="expected")
    assert bound.value < hindsight_bound(network, requests, path).value
    # What is split or pooled is a relaxation of what is listed.
    for combinations in (0, 15):
        looser = hindsight_bound(network, requests, path, swaps="expected", most_combinations=combinations)
        assert looser.n_split > 0
        assert looser.value >= bound.value * (1.0 - 1e-9)
    policy = sketches.any_policy(network, 1.0, 0.2, 1.0, 0.0)
    values = np.array(
        [
            run_slotted(network, requests, replace(path, swap_seed=seed), policy).served_value.sum()
            for seed in range(400)
        ]
    )
    assert values.mean() <= bound.value + 5.2 * values.std() / np.sqrt(len(values))


def test_purification_only_loosens() -> None:
    rng = np.random.default_rng(2)
    network = sketches.sketch_network(rng, 5, 7)
    requests = sketches.sketch_requests(rng, network, 30, 50)
    path = draw_sample_path(network, 30, rng)
    plain = hindsight_bound(network, requests, path)
    purified = hindsight_bound(network, requests, path, purification=True)
    assert purified.value > plain.value
    assert purified.value <= requests.weight.sum() + TIGHT


def test_who_purifies_passes_the_plain_bound_but_not_its_own() -> None:
    """No new pair serves these requests, so the plain bound is 0; pairs that are purified do.

    Policies that also serve old pairs at once, on random networks, stay below the bound for those who purify.
    """
    network = SlottedNetwork(
        edges=np.array([[0, 1]]),
        success_probability=np.array([0.8]),
        initial_werner=np.array([0.8]),
        claimed_werner=np.array([0.8]),
        coherence_slots=np.array([200.0]),
        lifetime_slots=np.array([20]),
        memory_slots=np.full(2, 4),
        attempts_per_slot=np.ones(2, dtype=np.int64),
    )
    requests = replace(
        _singles(link=[0] * 30, arrival=list(range(10, 40)), deadline=[40] * 30, weight=[1.0] * 30),
        minimum_fidelity=np.full(30, 0.87),
    )
    path = draw_sample_path(network, 40, np.random.default_rng(1))
    record = run_slotted(network, requests, path, sketches.purifying_policy(network))
    assert record.purified.sum() > 0
    assert record.served_value.sum() > 0.0
    assert hindsight_bound(network, requests, path).value == 0.0
    assert record.served_value.sum() <= hindsight_bound(network, requests, path, purification=True).value + TIGHT
    n_purified = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        network = sketches.sketch_network(rng, 5, 7, memory=4)
        requests = sketches.sketch_requests(rng, network, 30, 60)
        path = draw_sample_path(network, 30, rng)
        record = run_slotted(network, requests, path, sketches.purifying_policy(network))
        n_purified += int(record.purified.sum())
        bound = hindsight_bound(network, requests, path, purification=True)
        assert 0.0 < record.served_value.sum() <= bound.value + TIGHT
    assert n_purified > 50


def test_nothing_to_serve() -> None:
    rng = np.random.default_rng(0)
    network = sketches.sketch_network(rng, 3, 2)
    requests = _singles(link=[], arrival=[], deadline=[], weight=[])
    bound = hindsight_bound(network, requests, draw_sample_path(network, 3, rng))
    assert bound.value == 0.0
    assert np.isnan(bound.normalised)
    assert freshest_value(network, requests, 3) == 0.0


def test_arguments_are_checked() -> None:
    rng = np.random.default_rng(0)
    network = sketches.sketch_network(rng, 4, 4)
    requests = sketches.sketch_requests(rng, network, 10, 30, most_hops=2)
    path = draw_sample_path(network, 10, rng)
    with pytest.raises(DomainError, match="coins for 4 links"):
        hindsight_bound(network, requests, draw_sample_path(sketches.sketch_network(rng, 3, 2), 10, rng))
    with pytest.raises(DomainError, match="links below 4"):
        hindsight_bound(network, replace(requests, route_link=requests.route_link + 4), path)
    with pytest.raises(DomainError, match="integer"):
        hindsight_bound(replace(network, swap_success_probability=0.5), requests, path, integer=True, swaps="expected")
    with pytest.raises(CapacityError):
        hindsight_bound(network, requests, path, integer=True, most_columns=1)


def _singles(*, link: list[int], arrival: list[int], deadline: list[int], weight: list[float]) -> RequestTable:
    count = len(link)
    return RequestTable(
        route_first=np.arange(count + 1),
        route_link=np.array(link, dtype=np.int64),
        announced=np.array(arrival, dtype=np.int64),
        arrival=np.array(arrival, dtype=np.int64),
        deadline=np.array(deadline, dtype=np.int64),
        n_pairs=np.ones(count, dtype=np.int64),
        minimum_fidelity=np.zeros(count),
        weight=np.array(weight, dtype=np.float64),
        kind=np.zeros(count, dtype=np.int64),
        request_class=np.zeros(count, dtype=np.int64),
        user=np.zeros(count, dtype=np.int64),
    )
