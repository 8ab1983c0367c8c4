"""The values of the slotted network: what they refuse, and the coins that all policies share."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ceas.errors import DomainError
from ceas.network.slot_engine import start_slotted
from ceas.network.slots import Forecast, RequestTable, SamplePath, SlottedNetwork, draw_sample_path


@pytest.fixture
def network() -> SlottedNetwork:
    return SlottedNetwork(
        edges=np.array([[0, 1], [1, 2]]),
        success_probability=np.array([0.5, 0.2]),
        initial_werner=np.array([0.9, 0.8]),
        claimed_werner=np.array([0.95, 0.8]),
        coherence_slots=np.array([10.0, np.inf]),
        lifetime_slots=np.array([5, 0]),
        memory_slots=np.array([2, 4, 0]),
        attempts_per_slot=np.array([1, 2, 0]),
    )


@pytest.fixture
def requests() -> RequestTable:
    return RequestTable(
        route_first=np.array([0, 1, 3]),
        route_link=np.array([0, 0, 1]),
        announced=np.array([-3, 2]),
        arrival=np.array([0, 2]),
        deadline=np.array([0, 5]),
        n_pairs=np.array([2, 1]),
        minimum_fidelity=np.array([0.3, 0.9]),
        weight=np.array([2.0, 0.0]),
        kind=np.array([0, 2]),
        request_class=np.array([0, 1]),
        user=np.array([0, 1]),
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"edges": np.array([0, 1])}, r"`edges` must have shape \(E, 2\)"),
        ({"edges": np.array([[0, 3], [1, 2]])}, "`edges` must hold nodes below 3"),
        ({"edges": np.array([[0, 1], [2, 2]])}, "`edges` must join different nodes"),
        ({"initial_werner": np.array([0.9])}, r"`initial_werner` must have shape \(2,\), but has \(1,\)"),
        ({"attempts_per_slot": np.array([1, 2])}, "`attempts_per_slot` must have the shape of `memory_slots`"),
        ({"success_probability": np.array([0.5, 1.2])}, "`success_probability` must be in"),
        ({"claimed_werner": np.array([0.5, -0.2])}, "`claimed_werner` must be in"),
        ({"coherence_slots": np.array([0.0, 1.0])}, "`coherence_slots` must be positive"),
        ({"lifetime_slots": np.array([-1, 1])}, "`lifetime_slots` must be at least 0"),
        ({"swap_werner": 1.5}, "`swap_werner` must be in"),
        ({"swap_success_probability": np.nan}, "`swap_success_probability` must be in"),
    ],
)
def test_networks_out_of_their_domain(network: SlottedNetwork, change: dict[str, Any], message: str) -> None:
    with pytest.raises(DomainError, match=message):
        replace(network, **change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"arrival": np.array([[0, 2]])}, r"`arrival` must have shape \(R,\)"),
        ({"weight": np.array([1.0])}, r"`weight` must have shape \(2,\)"),
        ({"route_first": np.array([0, 0, 3])}, "`route_first` must give every request at least one link"),
        ({"route_first": np.array([0, 1, 2])}, "`route_first` must span `route_link`"),
        ({"arrival": np.array([0, -1])}, "`arrival` must start at 0 or later and not decrease"),
        ({"arrival": np.array([-1, 2])}, "`arrival` must start at 0 or later"),
        ({"announced": np.array([1, 2])}, "`arrival` must lie between `announced` and `deadline`"),
        ({"deadline": np.array([0, 1])}, "`arrival` must lie between `announced` and `deadline`"),
        ({"n_pairs": np.array([0, 1])}, "`n_pairs` must be at least 1, and 1 on a route"),
        ({"n_pairs": np.array([1, 2])}, "`n_pairs` must be at least 1, and 1 on a route"),
        ({"minimum_fidelity": np.array([0.3, 1.1])}, "`minimum_fidelity` must be in"),
        ({"weight": np.array([1.0, np.inf])}, "`weight` must be finite"),
        ({"kind": np.array([0, 3])}, "`kind` must hold values of `ValueKind`"),
        ({"user": np.array([0, -1])}, "`user` must be at least 0"),
    ],
)
def test_requests_out_of_their_domain(requests: RequestTable, change: dict[str, Any], message: str) -> None:
    with pytest.raises(DomainError, match=message):
        replace(requests, **change)


def test_forecasts_and_paths_out_of_their_domain(network: SlottedNetwork) -> None:
    one = np.ones(1, dtype=np.int64)
    forecast = Forecast(
        rate=np.ones((2, 1)),
        minimum_fidelity=np.ones(1),
        weight=np.ones(1),
        kind=one,
        patience_slots=one,
        n_pairs=one,
    )
    with pytest.raises(DomainError, match=r"`weight` must have shape \(1,\), but has \(2,\)"):
        replace(forecast, weight=np.ones(2))
    with pytest.raises(DomainError, match="`rate` must be finite and at least 0"):
        replace(forecast, rate=-np.ones((2, 1)))
    path = draw_sample_path(network, 3, np.random.default_rng(0))
    with pytest.raises(DomainError, match=r"`decay` must have shape \(0, 2\) or \(4, 2\)"):
        replace(path, decay=np.zeros((3, 2)))
    with pytest.raises(DomainError, match="`decay` must not decrease"):
        replace(path, decay=-np.cumsum(np.ones((4, 2)), axis=0))
    with pytest.raises(DomainError, match="`n_slots` must be at least 1"):
        draw_sample_path(network, 0, np.random.default_rng(0))
    with pytest.raises(DomainError, match=r"`decay_factor` must have shape \(3, 2\)"):
        draw_sample_path(network, 3, np.random.default_rng(0), decay_factor=np.ones((2, 2)))
    with pytest.raises(DomainError, match="`success_factor` must be non-negative"):
        draw_sample_path(network, 3, np.random.default_rng(0), success_factor=-np.ones((3, 2)))


def test_parts_that_do_not_fit(network: SlottedNetwork, requests: RequestTable) -> None:
    path = draw_sample_path(network, 3, np.random.default_rng(0))
    start_slotted(network, requests, path)
    with pytest.raises(DomainError, match="`path` must have coins for 2 links, but has 1"):
        start_slotted(network, requests, SamplePath(success=path.success[:, :1], decay=np.zeros((0, 1)), swap_seed=0))
    with pytest.raises(DomainError, match="`requests` must name links below 2"):
        start_slotted(network, replace(requests, route_link=np.array([0, 0, 2])), path)


def test_coins_have_the_chances_of_their_links(network: SlottedNetwork) -> None:
    """40,000 coins a link: within five standard errors, 0.0125 at most."""
    path = draw_sample_path(network, 40_000, np.random.default_rng(1))
    assert np.abs(path.success.mean(axis=0) - network.success_probability).max() < 0.0125
    assert path.decay.shape == (0, 2)


def test_coins_are_common_to_all_probabilities(network: SlottedNetwork) -> None:
    """Lower chances take successes away and add none; drift of the decay changes no coin."""
    rng = np.random.default_rng
    path = draw_sample_path(network, 500, rng(2))
    factor = np.ones((500, 2))
    factor[250:, 0] = 0.3
    drifted = draw_sample_path(network, 500, rng(2), success_factor=factor, decay_factor=2 * factor)
    assert (drifted.success <= path.success).all()
    np.testing.assert_array_equal(drifted.success[:250], path.success[:250])
    assert drifted.success[250:, 0].mean() < 0.6 * path.success[250:, 0].mean()
    assert drifted.swap_seed == path.swap_seed
    np.testing.assert_allclose(drifted.decay[-1], [2 * (250 + 75) / 10, 0.0])
    np.testing.assert_allclose(drifted.decay[1], [0.2, 0.0])
