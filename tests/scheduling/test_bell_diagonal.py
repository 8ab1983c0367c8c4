"""What policies and the bound make of Bell-diagonal pairs."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import ceas.scheduling as policies
from ceas.network import NetworkModel, advance_round, initial_state
from ceas.network.policy import LinkView, key_fraction_at, shot_factor_at
from ceas.network.replay import possible_births
from ceas.physics import bbm92_key_fraction, correlators_to_bell_diagonal
from ceas.scheduling.bounds_rounds import rounds_bound
from ceas.scheduling.demand_driven import demand_value_hz
from ceas.scheduling.index import fresh_value, key_gain, key_price, learning_price, next_shot_ns, shot_value
from ceas.scheduling.pair_values import fresh_key_fraction, fresh_shot_value

Models = Callable[..., NetworkModel]
Views = Callable[..., LinkView]
FRESH = np.array([0.85, 0.87, 0.96])
RATES_PER_NS = np.array([3e-7, 3e-7, 1e-8])
WEIGHTS = (0.25, 0.125, 0.625)


def bell_diagonal(view: LinkView, fresh: Any = FRESH, rates_per_ns: Any = RATES_PER_NS) -> LinkView:
    columns = {f"initial_{axis}": float(value) for axis, value in zip("xyz", fresh, strict=True)}
    columns |= {f"decay_{axis}_per_ns": float(value) for axis, value in zip("xyz", rates_per_ns, strict=True)}
    return view._replace(
        is_bell_diagonal=True,
        initial_werner=float(np.mean(fresh)),
        decay_per_ns=float(np.mean(rates_per_ns)),
        **columns,
    )


def uneven(model: NetworkModel, share: float = 0.0) -> NetworkModel:
    """Dephase a model's pairs: the same fidelity and initial loss of it, all in c_x and c_y; no tests."""
    werner, rate_hz = model.links.initial_werner, model.links.decay_rate_hz
    lost = 1.0 - werner
    links = replace(
        model.links,
        initial_correlators=np.stack([1 - 1.4 * lost, 1 - 1.4 * lost, 1 - 0.2 * lost], axis=1),
        correlator_decay_hz=np.stack([1.45 * rate_hz, 1.45 * rate_hz, 0.1 * rate_hz], axis=1),
    )
    demand = replace(model.demand, test_share=share, correlator_weights=WEIGHTS)
    return replace(model, links=links, demand=demand)


def test_values_by_age(view: Views) -> None:
    made = bell_diagonal(view())
    for age_ns in (0, 12_345, 900_000):
        state = FRESH * np.exp(-RATES_PER_NS * age_ns)
        assert shot_factor_at(made, age_ns) == pytest.approx((state**2).mean(), rel=1e-12)
        weighted = made._replace(weight_x=0.3, weight_y=0.1, weight_z=0.6)
        assert shot_factor_at(weighted, age_ns) == pytest.approx(state**2 @ [0.3, 0.1, 0.6], rel=1e-12)
        bits = float(bbm92_key_fraction(correlators_to_bell_diagonal(state)))
        assert key_fraction_at(made, age_ns) == pytest.approx(bits, abs=1e-12)
    plain = view()
    assert shot_factor_at(plain, 5_000) == pytest.approx(0.96**2 * math.exp(-2e-7 * 5_000))


@pytest.mark.parametrize("pairs_per_shot", [1, 3])
def test_prices_of_isotropic_pairs_are_those_of_werner_pairs(view: Views, pairs_per_shot: int) -> None:
    plain = view(ages_ns=(70_000, 30_000, 10_000), request_ages_ns=(5_000,), pairs_per_shot=pairs_per_shot)
    made = bell_diagonal(plain, np.full(3, 0.96), np.full(3, 1e-7))
    first_ns = next_shot_ns(plain)
    for place, age_ns in ((1, 0), (2, 40_000), (5, 90_000)):
        assert learning_price(made, first_ns, place, age_ns) == pytest.approx(
            learning_price(plain, first_ns, place, age_ns), rel=1e-12
        )
        assert key_price(made, place, age_ns) == pytest.approx(key_price(plain, place, age_ns), rel=1e-9)
    assert shot_value(made, 0) == pytest.approx(shot_value(plain, 0), rel=1e-12)
    assert key_gain(made, 3, 10_000) == pytest.approx(key_gain(plain, 3, 10_000), rel=1e-9)


def test_a_shot_is_worth_the_product_of_its_pairs(view: Views) -> None:
    ages = (70_000, 30_000)
    made = bell_diagonal(view(ages_ns=ages, pairs_per_shot=2, learning_value=3.0))
    factors = [((FRESH * np.exp(-RATES_PER_NS * age)) ** 2).mean() for age in ages]
    assert shot_value(made, 0) == pytest.approx(3.0 * math.prod(factors))
    # A pair that is the only one for a shot that waits is worth its whole part.
    alone = bell_diagonal(view(ages_ns=(30_000,), learning_value=3.0))
    assert learning_price(alone, 0, 1, 30_000) == pytest.approx(3.0 * factors[1])


def test_fresh_values_are_those_of_the_correlators(small_model: Models) -> None:
    model = uneven(small_model(pairs_per_shot=2))
    squares = model.links.correlators**2 @ np.array(WEIGHTS)
    np.testing.assert_allclose(fresh_shot_value(model), squares**2)
    bits = bbm92_key_fraction(correlators_to_bell_diagonal(model.links.correlators))
    np.testing.assert_allclose(fresh_key_fraction(model), bits)
    plain = small_model(pairs_per_shot=2)
    # What dephasing spares weighs most here, and twirling never raises the key.
    assert (fresh_value(model) >= fresh_value(plain)).all()
    assert (demand_value_hz(model) >= demand_value_hz(plain)).all()
    assert fresh_value(model).sum() > fresh_value(plain).sum()


@pytest.mark.parametrize("pairs", [1, 3])
def test_no_policy_passes_the_bound(small_model: Models, pairs: int) -> None:
    """Without tests there are no coins left: every single run lies below."""
    shares = []
    for seed in range(2):
        model = uneven(small_model(pairs_per_shot=pairs, seed=seed))
        first, births = possible_births(model, seed=seed, n_rounds=2)
        bound = rounds_bound(model, first, births, n_rounds=2)
        for make in (policies.ceas, policies.greedy_fidelity, policies.freshest_first, policies.demand_aware):
            state = initial_state(model, seed=seed)
            policy = make(model)
            records = [advance_round(state, model, policy) for _ in range(2)]
            delivered = sum(record.delivered_value.sum() for record in records)
            assert delivered <= bound.value
            shares.append(delivered / bound.value)
    assert max(shares) > 0.6


def test_the_bound_of_isotropic_pairs_is_that_of_werner_pairs(small_model: Models) -> None:
    plain = small_model(pairs_per_shot=2)
    links = replace(
        plain.links,
        initial_correlators=plain.links.correlators,
        correlator_decay_hz=plain.links.correlator_rates_hz,
    )
    first, births = possible_births(plain, seed=1, n_rounds=2)
    bounds = [rounds_bound(model, first, births, n_rounds=2).value for model in (plain, replace(plain, links=links))]
    assert bounds[0] == pytest.approx(bounds[1], rel=1e-9)


def test_policies_gain_by_what_twirling_would_lose(small_model: Models) -> None:
    """The same births, fidelities and decay of fidelity at first: 2 seeds, 2 rounds, the value of learning and keys."""
    for seed in range(2):
        values = []
        for model in (uneven(small_model(seed=seed)), small_model(seed=seed)):
            model = replace(model, demand=replace(model.demand, test_share=0.0))  # noqa: PLW2901
            state = initial_state(model, seed=seed)
            policy = policies.ceas(model)
            values.append(sum(advance_round(state, model, policy).delivered_value[:2].sum() for _ in range(2)))
        assert values[0] > values[1]
