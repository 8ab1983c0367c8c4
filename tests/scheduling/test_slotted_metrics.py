"""The measures of slotted runs: by hand on small records, and as identities on a real run."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ceas.errors import DomainError
from ceas.network.slot_engine import run_slotted
from ceas.network.slots import Forecast, RequestTable, SlottedNetwork, SlottedRecord, ValueKind, draw_sample_path
from ceas.physics import secret_key_fraction
from ceas.scheduling.metrics import jain_index
from ceas.scheduling.slotted_baselines import max_weight
from ceas.scheduling.slotted_metrics import perfect_values, slotted_metrics


@pytest.fixture
def network() -> SlottedNetwork:
    return SlottedNetwork(
        edges=np.array([[0, 1], [1, 2]]),
        success_probability=np.array([0.5, 0.5]),
        initial_werner=np.array([0.9, 0.8]),
        claimed_werner=np.array([0.95, 0.95]),
        coherence_slots=np.array([10.0, 20.0]),
        lifetime_slots=np.array([5, 5]),
        memory_slots=np.array([2, 4, 2]),
        attempts_per_slot=np.array([1, 2, 1]),
        swap_werner=0.5,
    )


@pytest.fixture
def requests() -> RequestTable:
    """Five requests in ten slots; the last could be served after the end. Class 1 is a route; user 1 asks twice."""
    return RequestTable(
        route_first=np.array([0, 1, 2, 4, 5, 6]),
        route_link=np.array([0, 1, 0, 1, 0, 0]),
        announced=np.array([0, 2, 3, 5, 8]),
        arrival=np.array([0, 2, 3, 5, 8]),
        deadline=np.array([3, 5, 9, 9, 10]),
        n_pairs=np.array([1, 1, 1, 2, 1]),
        minimum_fidelity=np.array([0.3, 0.9, 0.3, 0.3, 0.3]),
        weight=np.array([2.0, 1.0, 4.0, 3.0, 5.0]),
        kind=np.array([0, 0, 1, 1, 0]),
        request_class=np.array([0, 0, 1, 2, 0]),
        user=np.array([0, 1, 1, 2, 0]),
    )


def record_of(**changes: Any) -> SlottedRecord:
    """Requests 0, 2 and 4 are served with 1, 2 and 1 pairs, request 1 in vain with 1 pair; 12 pairs were born."""
    base: dict[str, Any] = {
        "n_slots": 10,
        "served_request": np.array([0, 1, 2, 4]),
        "served_slot": np.array([1, 4, 7, 9]),
        "served_fidelity": np.array([0.9, 0.8, 0.5, 0.95]),
        "served_value": np.array([2.0, 0.0, 0.3, 5.0]),
        "served_pairs": np.array([1, 1, 2, 1]),
        "used_fidelity": np.array([0.9, 0.8, 0.85, 0.8, 0.95]),
        "generated": np.array([8, 4]),
        "used": np.array([3, 2]),
        "lost": np.array([1, 1]),
        "purified": np.array([1, 0]),
        "expired": np.array([1, 0]),
        "discarded": np.array([1, 0]),
        "stored": np.array([1, 1]),
        "attempts": np.array([20, 10]),
        "occupancy": np.array([12, 8]),
    }
    return SlottedRecord(**(base | changes))


def test_figures_by_hand(network: SlottedNetwork, requests: RequestTable) -> None:
    found = slotted_metrics(network, requests, record_of())
    # Ten pairs ended: four used well, one in vain.
    assert found.generated == 12
    parts = (found.used, found.lost, found.purified, found.expired, found.discarded)
    assert parts == pytest.approx((0.5, 0.2, 0.1, 0.1, 0.1))
    assert (found.utilisation, found.used_in_vain) == pytest.approx((0.4, 0.1))
    np.testing.assert_allclose(found.used_by_class, [0.3, 0.2, 0.0])
    # Request 1 is beyond all reach, request 4 beyond the end.
    perfect = [2.0, 0.0, 4 * (0.5 * 0.9 * 0.8) ** 2, 3 * 0.9**4]
    assert found.value == pytest.approx(2.3 / sum(perfect))
    assert found.value_total == pytest.approx(2.3)
    np.testing.assert_allclose(found.value_by_class, [1.0, 0.3 / perfect[2], 0.0])
    assert (found.served, found.served_weight) == pytest.approx((0.5, 0.6))
    np.testing.assert_allclose(found.served_by_class, [0.5, 1.0, 0.0])
    assert (found.n_requests, found.n_dropped, found.n_unsettled) == (4, 2, 1)
    assert (found.fidelity_mean, found.fidelity_p05) == pytest.approx((0.7, 0.52))
    assert (found.wait_mean_slots, found.wait_p99_slots) == (2.5, 4.0)
    shares = np.array([1.0, 0.3 / perfect[2], 0.0])
    assert found.fairness == pytest.approx(shares.sum() ** 2 / (3 * (shares**2).sum()))
    assert found.value_per_attempt == pytest.approx(7.3 / 30)
    assert found.occupancy == pytest.approx(2 * 20 / (10 * 8))
    late = slotted_metrics(network, requests, record_of(), warm_up_slots=3)
    assert (late.n_requests, late.value) == pytest.approx((2, 0.3 / sum(perfect[2:])))


def test_requests_after_the_end_do_not_count(network: SlottedNetwork, requests: RequestTable) -> None:
    short = record_of(n_slots=4, served_request=np.array([0]), served_slot=np.array([1]), served_value=np.array([2.0]))
    short = replace(short, served_fidelity=np.array([0.9]), served_pairs=np.array([1]))
    found = slotted_metrics(network, requests, short)
    assert (found.n_requests, found.n_unsettled, found.value) == (1, 2, 1.0)


def test_nothing_at_all(network: SlottedNetwork, requests: RequestTable) -> None:
    """A run without requests has no ratios; one without pairs has delivered nothing."""
    none = np.zeros(0, dtype=np.int64)
    zero = np.zeros(2, dtype=np.int64)
    idle = record_of(
        **dict.fromkeys(("served_request", "served_slot", "served_pairs"), none),
        **dict.fromkeys(("served_fidelity", "served_value", "used_fidelity"), np.zeros(0)),
        **dict.fromkeys(("generated", "used", "lost", "purified", "expired"), zero),
        **dict.fromkeys(("discarded", "stored", "attempts", "occupancy"), zero),
    )
    found = slotted_metrics(network, requests, idle)
    assert (found.value, found.served, found.n_dropped) == (0.0, 0.0, 4)
    for ratio in (found.utilisation, found.fidelity_mean, found.wait_p99_slots, found.fairness):
        assert np.isnan(ratio)
    empty = RequestTable(
        route_first=np.array([0]),
        route_link=none,
        **{
            name: getattr(requests, name)[:0]
            for name in requests.__dataclass_fields__
            if name not in ("route_first", "route_link")
        },
    )
    assert np.isnan(slotted_metrics(network, empty, idle).value)


def test_perfect_values_of_each_kind(network: SlottedNetwork, requests: RequestTable) -> None:
    keys = replace(requests, kind=np.full(5, int(ValueKind.KEY)))
    expected = [2 * secret_key_fraction(0.9), 0, 0, 3 * secret_key_fraction(0.9) ** 2, 5 * secret_key_fraction(0.9)]
    np.testing.assert_allclose(perfect_values(network, keys), np.array(expected, dtype=float))
    # The true Werner parameter counts, not the claimed one: 0.25 + 0.75 * 0.8 < 0.9.
    assert perfect_values(network, requests)[1] == 0.0


@given(st.lists(st.floats(0.0, 1e3), min_size=1, max_size=20))
def test_fairness_lies_between_one_user_and_all(shares: list[float]) -> None:
    found = jain_index(np.array(shares))
    if max(shares) > 1e-3:
        assert 1 / len(shares) - 1e-9 <= found <= 1 + 1e-9
        assert jain_index(3 * np.array(shares)) == pytest.approx(found)
    assert jain_index(np.ones(7)) == pytest.approx(1.0)
    assert jain_index(np.eye(7)[0]) == pytest.approx(1 / 7)


def test_parts_of_a_run_add_up(network: SlottedNetwork, requests: RequestTable) -> None:
    """On a run of 400 slots: the fates add to 1, the weighted classes to the whole, and values stay below perfect."""
    rng = np.random.default_rng(1)
    arrival = np.sort(rng.integers(0, 400, 300))
    link = rng.integers(0, 2, 300)
    many = RequestTable(
        route_first=np.arange(301),
        route_link=link,
        announced=arrival,
        arrival=arrival,
        deadline=arrival + rng.integers(0, 6, 300),
        n_pairs=np.ones(300, dtype=np.int64),
        minimum_fidelity=np.full(300, 0.3),
        weight=rng.uniform(0.5, 2.0, 300),
        kind=rng.integers(0, 2, 300),
        request_class=rng.integers(0, 3, 300),
        user=rng.integers(0, 9, 300),
    )
    forecast = Forecast(
        rate=np.ones((2, 1)),
        minimum_fidelity=np.array([0.3]),
        weight=np.ones(1),
        kind=np.zeros(1, dtype=np.int64),
        patience_slots=np.ones(1, dtype=np.int64),
        n_pairs=np.ones(1, dtype=np.int64),
    )
    record = run_slotted(network, many, draw_sample_path(network, 400, rng), max_weight(network, forecast), debug=True)
    found = slotted_metrics(network, many, record)
    assert found.used + found.lost + found.purified + found.expired + found.discarded == pytest.approx(1.0)
    assert found.used_by_class.sum() == pytest.approx(found.used)
    assert 0.5 < found.value <= 1.0
    counted = many.deadline < 400
    sizes = np.bincount(many.request_class[counted])
    assert (found.served_by_class * sizes).sum() == pytest.approx(found.served * counted.sum())
    assert 0.0 < found.occupancy <= 1.0


def test_a_warm_up_beyond_the_run(network: SlottedNetwork, requests: RequestTable) -> None:
    with pytest.raises(DomainError, match=r"`warm_up_slots` must be in \[0, 10\), but is 10"):
        slotted_metrics(network, requests, record_of(), warm_up_slots=10)
