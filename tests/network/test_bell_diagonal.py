"""Bell-diagonal pairs in the network against closed forms, and against Werner pairs where both say the same."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ceas.scheduling as policies
from ceas import network
from ceas.errors import DomainError
from ceas.network.hardware import LinkTable, NodeTable, mean_squared_correlator, squared_werner
from ceas.network.policy import (
    attempt_always,
    key_fraction,
    key_fraction_of_bases,
    serve_no_ask,
)
from ceas.network.records import Fate, NetworkModel, WindowRecord, correlator_lifetime_ns, lifetime_ns
from ceas.network.route_records import RouteFate
from ceas.network.route_state import link_values, scaled_correlators
from ceas.network.routes import DriftSchedule, RouteClass, ideal_repeaters, repeaters_of
from ceas.network.simulation import NetworkState, advance_round, initial_state
from ceas.physics import (
    RelaxingMemory,
    bbm92_key_fraction,
    correlators_to_bell_diagonal,
    herald_double_click,
    herald_single_click,
    pauli_cutoff_s,
    pauli_memory,
    relax_bell_diagonal,
    secret_key_fraction,
)

Sketches = Callable[..., NetworkModel]
Flows = Callable[..., Any]

# c_x, c_y, c_z of new pairs, and how they decay: T1 = 20 us, T2 = 12 us at both ends.
FRESH = np.array([0.84, 0.84, 0.97])
RATES_HZ = 2.0 * np.array([1 / 12e-6, 1 / 12e-6, 1 / 20e-6])
INTEGERS = (
    *("shot_learner", "shot_time_ns", "generated", "fates", "key_count", "key_requested", "key_dropped"),
    *("key_waiting", "key_wait_ns", "shot_wait_ns", "test_count", "test_link", "blocked_ns", "wait_histogram"),
)
FLOATS = ("shot_werner", "key_werner_sum", "test_werner_sum", "test_werner", "delivered_value")


def with_pairs(
    model: NetworkModel, correlators: npt.NDArray[np.float64], rates_hz: npt.NDArray[np.float64]
) -> NetworkModel:
    """Give all links of a model these pairs, and its repeaters as well; half of the decay at either end."""
    shape = (model.n_links, 3)
    links = replace(
        model.links,
        initial_correlators=np.broadcast_to(correlators, shape).copy(),
        correlator_decay_hz=np.broadcast_to(rates_hz, shape).copy(),
        initial_werner=np.broadcast_to(correlators.mean(axis=-1), shape[:1]).copy(),
        decay_rate_hz=np.broadcast_to(rates_hz.mean(axis=-1), shape[:1]).copy(),
    )
    repeaters = model.repeaters
    if repeaters is not None:
        memory = np.broadcast_to(rates_hz / 2, repeaters.memory_rate_hz.shape)
        repeaters = replace(repeaters, memory_rate_hz=memory.copy(), initial_correlators=links.correlators)
    return replace(model, links=links, repeaters=repeaters)


def run(model: NetworkModel, policy: Any, *, rounds: int = 2, seed: int = 1) -> list[WindowRecord]:
    state = initial_state(model, seed=seed, trace_every=1, checks_invariants=True)
    return [advance_round(state, model, policy) for _ in range(rounds)]


def busy(sketch: Sketches, **fields: Any) -> NetworkModel:
    """Make two links with two learners, keys and tests."""
    defaults: dict[str, Any] = {
        "edges": ((0, 1), (1, 2)),
        "slots": (5, 7, 4),
        "period_ns": (11, 13),
        "success": (0.11, 0.07),
        "initial_werner": (0.93, 0.93),
        "decay_hz": (1e5, 1e5),
        "learner_link": (0, 1),
        "pairs_per_shot": 2,
        "shot_ns": 400,
        "keys": (12.0, 9.0),
        "test_share": 0.2,
        "minimum_fidelity": 0.6,
    }
    return sketch(**(defaults | fields))


def at_age(
    age_ns: npt.NDArray[Any], correlators: npt.NDArray[Any] = FRESH, rates_hz: npt.NDArray[Any] = RATES_HZ
) -> npt.NDArray[np.float64]:
    return np.asarray(correlators * np.exp(-np.multiply.outer(age_ns.astype(float), rates_hz * 1e-9)))


# ---- the same as Werner pairs ----------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    pair=st.tuples(st.floats(0.75, 1.0), st.floats(0.0, 4e5)),
    seed=st.integers(0, 2**32),
    name=st.sampled_from(["ceas", "freshest_first", "on_demand_weighted", "best_cutoff"]),
    drift=st.sampled_from([None, (1.4, 0.9), (0.5, 1.02)]),
)
def test_isotropic_pairs_with_equal_rates_give_the_records_of_werner_pairs(
    sketch: Sketches, pair: tuple[float, float], seed: int, name: str, drift: tuple[float, float] | None
) -> None:
    werner, decay_hz = pair
    schedule = None
    if drift is not None:
        decay, fidelity = (np.array([factor]) for factor in drift)
        schedule = DriftSchedule(
            time_ns=np.array([3_777]),
            link=np.array([1]),
            success_factor=np.array([1.2]),
            decay_factor=decay,
            fidelity_factor=fidelity,
        )
    plain = busy(sketch, initial_werner=(werner,) * 2, decay_hz=(decay_hz,) * 2, drift=schedule)
    uneven = with_pairs(plain, np.full(3, werner), np.full(3, decay_hz))
    make = getattr(policies, name)
    for one, other in zip(run(plain, make(plain), seed=seed), run(uneven, make(uneven), seed=seed), strict=True):
        for column in INTEGERS:
            np.testing.assert_array_equal(getattr(one, column), getattr(other, column), err_msg=column)
        for column in FLOATS:
            np.testing.assert_allclose(getattr(one, column), getattr(other, column), rtol=3e-7, err_msg=column)
        for column in ("pair_id", "birth_ns", "end_ns", "fate", "user", "shot"):
            np.testing.assert_array_equal(one.pairs[column], other.pairs[column])
        assert other.shot_correlators is not None
        np.testing.assert_allclose(other.shot_correlators, one.shot_werner[:, :, None].repeat(3, 2), rtol=3e-7)


def test_lifetimes_are_those_of_werner_pairs_to_the_nanosecond() -> None:
    rng = np.random.default_rng(3)
    werner, rate_hz = rng.uniform(0.2, 1.0, 200), rng.uniform(0.0, 10.0, 200)
    expected = lifetime_ns(werner, rate_hz, 0.61)
    spread = correlator_lifetime_ns(werner[:, None].repeat(3, 1), rate_hz[:, None].repeat(3, 1), 0.61)
    np.testing.assert_array_equal(spread, expected)


# ---- closed forms ----------------------------------------------------------------------------------------------------


def test_a_pair_is_what_its_age_says(sketch: Sketches) -> None:
    model = with_pairs(busy(sketch, minimum_fidelity=0.85), FRESH, RATES_HZ)
    records = run(model, replace(policies.oldest_first(model), attempt=attempt_always), rounds=4)
    pairs = np.concatenate([record.pairs for record in records])
    state = at_age(pairs["end_ns"] - pairs["birth_ns"])
    np.testing.assert_allclose(pairs["werner_at_end"], state.mean(axis=1), rtol=1e-6)
    for fate in (Fate.LEARNING, Fate.KEY, Fate.TEST, Fate.EXPIRED):
        assert (pairs["fate"] == fate).sum() > 10
    for record in records:
        assert record.shot_correlators is not None
        assert record.test_correlators is not None
        assert record.key_correlator_sum is not None
        of_record = at_age(record.pairs["end_ns"] - record.pairs["birth_ns"])
        is_shot = record.pairs["fate"] == Fate.LEARNING
        # Shots and their pairs, whatever the order within a shot.
        order = np.lexsort((of_record[is_shot][:, 2], record.pairs["shot"][is_shot]))
        mine = np.sort(record.shot_correlators, axis=1).reshape(-1, 3)
        np.testing.assert_allclose(mine, of_record[is_shot][order], rtol=1e-6)
        np.testing.assert_allclose(record.shot_werner, record.shot_correlators.mean(axis=2), rtol=1e-6)
        for link in range(2):
            is_key = (record.pairs["fate"] == Fate.KEY) & (record.pairs["link"] == link)
            np.testing.assert_allclose(record.key_correlator_sum[link], of_record[is_key].sum(axis=0), rtol=1e-9)
            is_test = (record.pairs["fate"] == Fate.TEST) & (record.pairs["link"] == link)
            tested = record.test_correlators[record.test_link == link]
            np.testing.assert_allclose(np.sort(tested, axis=0), np.sort(of_record[is_test], axis=0), rtol=1e-6)


def test_values_are_those_of_the_pairs_used(sketch: Sketches) -> None:
    plain = with_pairs(busy(sketch, values=(2.0, 3.0, 0.1)), FRESH, RATES_HZ)
    weights = (0.3, 0.1, 0.6)
    model = replace(plain, demand=replace(plain.demand, correlator_weights=weights))
    records = run(model, policies.ceas(model), rounds=3)
    for record in records:
        assert record.shot_correlators is not None
        shots = 2.0 * np.prod(record.shot_correlators.astype(float) ** 2 @ np.array(weights), axis=1)
        keys = record.pairs[record.pairs["fate"] == Fate.KEY]
        state = at_age(keys["end_ns"] - keys["birth_ns"])
        bits = bbm92_key_fraction(correlators_to_bell_diagonal(state))
        expected = [shots.sum(), 3.0 * bits.sum(), 0.1 * record.test_count.sum()]
        np.testing.assert_allclose(record.delivered_value, expected, rtol=1e-6)
    assert sum(record.delivered_value[:2].min() for record in records) > 0.0
    of_learners = policies.learner_value(records, model).sum()
    assert of_learners == pytest.approx(sum(record.delivered_value[0] for record in records), rel=1e-6)
    for wrong in ((0.5, 0.5, 0.5), (-0.5, 0.5, 1.0), (0.5, 0.5)):
        with pytest.raises(DomainError, match="correlator_weights"):
            replace(model.demand, correlator_weights=wrong)


def test_pairs_expire_at_the_minimum_fidelity(sketch: Sketches) -> None:
    """A lifetime is rounded down to whole nanoseconds, in which F falls by at most sum(r c)/4 ns = 1e-4."""
    model = with_pairs(busy(sketch, learner_link=(), keys=(0.001, 0.001)), FRESH, RATES_HZ)
    records = run(model, replace(policies.oldest_first(model), attempt=attempt_always), rounds=3)
    pairs = np.concatenate([record.pairs for record in records])
    expired = pairs[pairs["fate"] == Fate.EXPIRED]
    ages = np.unique(expired["end_ns"] - expired["birth_ns"])
    assert len(ages) == 1
    fidelity = (1 + at_age(ages).sum()) / 4
    assert 0.6 <= fidelity < 0.6 + 1e-4
    flip = np.array([1 / 20e-6, 1 / 20e-6, 2 / 12e-6 - 1 / 20e-6]) / 4
    cutoff_s = pauli_cutoff_s(correlators_to_bell_diagonal(FRESH), 0.6, flip, flip)
    assert ages[0] == math.floor(cutoff_s * 1e9)


def test_a_negative_correlator_first_helps_and_then_does_not_matter() -> None:
    """c_z < 0 makes F rise at first; the lifetime is the one time at which it meets the minimum from above."""
    correlators, rates_hz = np.array([[0.45, 0.45, -0.1]]), np.array([[1.0, 1.0, 100.0]])
    found_s = correlator_lifetime_ns(correlators, rates_hz, 0.26)[0] * 1e-9
    times = np.linspace(0.0, 10.0, 200_001)
    fidelity = (1 + at_age(times * 1e9, correlators[0], rates_hz[0]).sum(axis=1)) / 4
    assert fidelity[1000] > fidelity[0]
    assert found_s == pytest.approx(times[np.flatnonzero(fidelity >= 0.26)[-1]], abs=1e-4)
    with pytest.raises(DomainError, match="two equal rates"):
        correlator_lifetime_ns(correlators, np.array([[1.0, 2.0, 3.0]]), 0.26)


def test_compiled_values_are_those_of_physics() -> None:
    rng = np.random.default_rng(5)
    weights = rng.dirichlet([6, 1, 1, 1], 100)
    c = np.stack([1 - 2 * (weights[:, 2] + weights[:, 3]), 1 - 2 * (weights[:, 1] + weights[:, 3])], axis=1)
    z = 1 - 2 * (weights[:, 1] + weights[:, 2])
    bits = [key_fraction_of_bases(x, last) for x, last in zip(c[:, 0], z, strict=True)]
    np.testing.assert_allclose(bits, bbm92_key_fraction(weights), atol=1e-14)
    squares = (np.column_stack([c, z]) ** 2).mean(axis=1)
    np.testing.assert_allclose(mean_squared_correlator(weights), squares, rtol=1e-13)
    np.testing.assert_allclose(mean_squared_correlator(weights, (0.0, 0.0, 1.0)), z**2, rtol=1e-12, atol=1e-15)
    for werner in (0.3, 0.8, 0.95, 1.0):
        assert key_fraction_of_bases(werner, werner) == pytest.approx(key_fraction(werner), abs=1e-15)
        assert key_fraction(werner) == pytest.approx(float(secret_key_fraction(werner)), abs=1e-14)
    isotropic = np.array([0.7, 0.1, 0.1, 0.1])
    assert mean_squared_correlator(isotropic) == pytest.approx(float(squared_werner(isotropic)))


def test_drift_leaves_stored_pairs_as_they_are_and_changes_how_they_decay(sketch: Sketches) -> None:
    step_ns, decay, fidelity = 4_000, 2.5, 0.9
    schedule = DriftSchedule(
        time_ns=np.array([step_ns]),
        link=np.array([0]),
        success_factor=np.array([1.0]),
        decay_factor=np.array([decay]),
        fidelity_factor=np.array([fidelity]),
    )
    model = with_pairs(busy(sketch, drift=schedule), FRESH, RATES_HZ)
    records = run(model, replace(policies.oldest_first(model), attempt=attempt_always), rounds=2)
    pairs = np.concatenate([record.pairs for record in records])
    own = pairs[pairs["link"] == 0]
    before = np.clip(step_ns - own["birth_ns"], 0, own["end_ns"] - own["birth_ns"])
    after = own["end_ns"] - own["birth_ns"] - before
    born = FRESH * np.where(own["birth_ns"] < step_ns, 1.0, fidelity)[:, None]
    state = born * at_age(before, np.ones(3)) * at_age(after, np.ones(3), decay * RATES_HZ)
    assert ((before > 0) & (after > 0)).sum() >= 3
    np.testing.assert_allclose(own["werner_at_end"], state.mean(axis=1), rtol=1e-6)
    expired = own["fate"] == Fate.EXPIRED
    assert expired.any()
    np.testing.assert_allclose((1 + state[expired].sum(axis=1)) / 4, 0.6, atol=4e-4)


def test_a_factor_never_makes_a_pair_that_is_none() -> None:
    correlators = np.array([[0.9, 0.9, 0.95], [0.5, 0.5, 0.99], [1.0, 1.0, 1.0], [0.9, 0.9, 0.9]])
    scaled = scaled_correlators(correlators, np.array([2.0, 1.005, 1.1, 0.5]))
    assert correlators_to_bell_diagonal(scaled).min() >= 0.0
    np.testing.assert_allclose(scaled[0] / correlators[0], 1 / 0.95)
    np.testing.assert_allclose(scaled[1:], [correlators[1] * 1.005, np.ones(3), np.full(3, 0.45)])


# ---- routes ----------------------------------------------------------------------------------------------------------


def test_a_pair_enters_a_route_as_it_lies_in_the_stock(make_chain: Sketches) -> None:
    flow = {"use_class": RouteClass.KEY, "per_round": 8.0}
    plain = make_chain(2, flow, round_ns=20_000, learning_ns=10_000, keys=(40.0, 40.0), deadline_ns=10_000)
    model = with_pairs(plain, FRESH, RATES_HZ)
    policy = replace(policies.oldest_first(model), attempt=attempt_always, routes_first=True)
    records = run(model, policy, rounds=9)
    spans = [record.routes.pairs for record in records if record.routes is not None]
    delivered = np.concatenate([span[span["fate"] == RouteFate.DELIVERED] for span in spans])
    elementary = {row["pair_id"]: row for span in spans for row in span if row["fate"] == RouteFate.SWAPPED}
    assert len(delivered) > 10
    for row in delivered:
        parents = [elementary[row["parent_left"]], elementary[row["parent_right"]]]
        # Until the swap each pair decays in two memories, from then on both outer halves in two.
        swapped = at_age(np.array([parent["end_ns"] - parent["birth_ns"] for parent in parents]))
        expected = swapped.prod(axis=0) * at_age(np.array(row["end_ns"] - parents[0]["end_ns"]), np.ones(3))
        np.testing.assert_allclose([row[f"{axis}_at_end"] for axis in "xyz"], expected, rtol=1e-6)
    handed = np.concatenate([record.pairs[record.pairs["fate"] == Fate.ROUTE] for record in records])
    state = at_age(handed["end_ns"] - handed["birth_ns"])
    np.testing.assert_allclose(handed["werner_at_end"], state.mean(axis=1), rtol=1e-6)


def test_repeaters_take_pairs_and_memories_of_the_links(sketch: Sketches) -> None:
    topology = network.chain(4, 10.0)
    hardware = network.HardwareParameters(
        pair_states="bell_diagonal", relaxation_time_s=0.5, dephasing_time_s=0.2, two_qubit_error=0.01
    )
    nodes, links = network.draw_hardware(topology, hardware, seed=2)
    repeaters = repeaters_of(nodes, links)
    np.testing.assert_array_equal(repeaters.initial_correlators, links.correlators)
    rates_hz = repeaters.memory_rate_hz[links.node_a] + repeaters.memory_rate_hz[links.node_b]
    np.testing.assert_allclose(rates_hz, links.correlator_rates_hz)
    model = with_pairs(busy(sketch), FRESH, RATES_HZ)
    twirled = ideal_repeaters(model.nodes, replace(model.links, initial_correlators=None, correlator_decay_hz=None))
    with pytest.raises(DomainError, match="correlators and memories of Bell-diagonal"):
        replace(model, repeaters=twirled)


# ---- hardware --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", ["double_click", "single_click"])
def test_new_pairs_are_heralded_pairs_after_the_wait_for_the_herald(protocol: Any) -> None:
    topology = network.random_geometric(9, 60.0, 30.0, np.random.default_rng(1))
    hardware = network.HardwareParameters(
        protocol=protocol,
        bright_state_probability=0.1 if protocol == "single_click" else 0.0,
        pair_states="bell_diagonal",
        relaxation_time_s=0.05,
        dephasing_time_s=0.02,
        coherence_time_spread=0.4,
        visibility_spread=0.0,
        device_efficiency_spread=0.0,
    )
    nodes, links = network.draw_hardware(topology, hardware, seed=4)
    herald: Any = herald_double_click
    given_too = {"multiplexing": 64}
    if protocol == "single_click":
        herald, given_too = herald_single_click, {"multiplexing": 64, "bright_state_probability": 0.1}  # type: ignore[dict-item]
    heralded = herald(
        topology.length_km,
        attenuation_db_per_km=0.25,
        device_efficiency=0.3,
        dark_count_probability=1e-6,
        visibility=0.96,
        preparation_time_s=50e-6,
        **given_too,
    )
    assert nodes.memory_rate_hz is not None
    t2_s, t1_s = 1 / nodes.memory_rate_hz[:, 0], 1 / nodes.memory_rate_hz[:, 2]
    np.testing.assert_allclose(t1_s / t2_s, 2.5)
    memory = RelaxingMemory(relaxation_time_s=t1_s, dephasing_time_s=t2_s)
    ends = memory.pauli_rates_hz[links.node_a], memory.pauli_rates_hz[links.node_b]
    expected = pauli_memory(heralded.bell_diagonal, heralded.herald_delay_s, *ends)
    np.testing.assert_allclose(correlators_to_bell_diagonal(links.correlators), expected, atol=1e-12)
    np.testing.assert_allclose(links.initial_werner, (4 * expected[:, 0] - 1) / 3, atol=1e-12)
    np.testing.assert_allclose(nodes.coherence_time_s, memory.depolarising_time_s)
    np.testing.assert_allclose(links.decay_rate_hz, links.correlator_rates_hz.mean(axis=1))


def test_the_twirled_memory_lacks_what_both_halves_lost_together() -> None:
    """Exact amplitude damping adds d d' to c_z, with d = 1 - exp(-t/T1): at most (t/T1)^2 / 4 of fidelity."""
    memory = RelaxingMemory(relaxation_time_s=2.0, dephasing_time_s=1.5)
    rates_hz = 2 * memory.correlator_rates_hz
    for elapsed_s in (0.01, 0.1, 0.5):
        stored = FRESH * np.exp(-rates_hz * elapsed_s)
        exact = relax_bell_diagonal(correlators_to_bell_diagonal(FRESH), elapsed_s, memory, memory)
        missing = exact[0] - correlators_to_bell_diagonal(stored)[0]
        assert missing == pytest.approx((-math.expm1(-elapsed_s / 2.0)) ** 2 / 4, rel=1e-9)
        assert missing < (elapsed_s / 2.0) ** 2 / 4


def test_werner_pairs_in_memories_of_t1_and_t2_decay_in_equivalent_ones() -> None:
    topology = network.chain(3, 10.0)
    times: dict[str, Any] = {"relaxation_time_s": 0.5, "dephasing_time_s": 0.2}
    equivalent = 3 / (1 / 0.5 + 2 / 0.2)
    nodes, links = network.draw_hardware(topology, network.HardwareParameters(**times), seed=2)
    same = network.HardwareParameters(coherence_time_s=equivalent)
    other_nodes, other_links = network.draw_hardware(topology, same, seed=2)
    np.testing.assert_allclose(nodes.coherence_time_s, other_nodes.coherence_time_s)
    np.testing.assert_allclose(links.initial_werner, other_links.initial_werner)
    assert not links.is_bell_diagonal
    depolarising = network.HardwareParameters(coherence_time_s=equivalent, pair_states="bell_diagonal")
    _, uneven = network.draw_hardware(topology, depolarising, seed=2)
    np.testing.assert_allclose(uneven.initial_werner, other_links.initial_werner, atol=1e-12)
    np.testing.assert_allclose(uneven.correlator_rates_hz, other_links.decay_rate_hz[:, None].repeat(3, 1))
    # Dephased by distinguishable photons: Z errors alone, so c_x = c_y < w < c_z.
    assert (uneven.correlators[:, 0] < uneven.initial_werner).all()
    assert (uneven.correlators[:, 2] > uneven.initial_werner).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pair_states": "twirled"}, "pair_states"),
        ({"relaxation_time_s": 1.0}, "dephasing_time_s"),
        ({"relaxation_time_s": 1.0, "dephasing_time_s": 2.1}, "at most twice"),
        ({"dephasing_time_s": 0.0}, "dephasing_time_s"),
        ({"relaxation_time_s": -1.0, "dephasing_time_s": 1.0}, "relaxation_time_s"),
    ],
)
def test_hardware_refuses_memories_that_do_not_exist(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DomainError, match=message):
        network.HardwareParameters(**changes)


def test_tables_refuse_correlators_that_do_not_fit(sketch: Sketches) -> None:
    model = with_pairs(busy(sketch), FRESH, RATES_HZ)
    links: LinkTable = model.links
    for changes, message in (
        ({"correlator_decay_hz": None}, "must come with"),
        ({"initial_correlators": links.correlators[:1]}, r"shape \(2, 3\)"),
        ({"initial_correlators": np.full((2, 3), 1.5)}, "initial_correlators"),
        ({"correlator_decay_hz": -links.correlator_rates_hz}, "correlator_decay_hz"),
        ({"initial_werner": np.array([0.9, 0.9])}, "mean of `initial_correlators`"),
    ):
        with pytest.raises(DomainError, match=message):
            replace(links, **changes)
    nodes: NodeTable = model.nodes
    with pytest.raises(DomainError, match="memory_rate_hz"):
        replace(nodes, memory_rate_hz=np.ones((2, 3)))


# ---- state -----------------------------------------------------------------------------------------------------------


def test_a_state_that_was_stored_goes_on_to_the_bit(sketch: Sketches) -> None:
    schedule = DriftSchedule(
        time_ns=np.array([3_000]),
        link=np.array([0]),
        success_factor=np.array([1.0]),
        decay_factor=np.array([0.4]),
        fidelity_factor=np.array([1.0]),
    )
    model = with_pairs(busy(sketch, drift=schedule), FRESH, RATES_HZ)
    policy = replace(policies.oldest_first(model), route=serve_no_ask)
    whole = initial_state(model, seed=8)
    advance_round(whole, model, policy)
    restored = NetworkState.from_arrays(whole.to_arrays())
    one, other = (advance_round(state, model, policy) for state in (whole, restored))
    np.testing.assert_array_equal(one.shot_pairs, other.shot_pairs)
    np.testing.assert_array_equal(one.delivered_value, other.delivered_value)
    assert link_values(model, 3_000).decay_factor[0] == 0.4
