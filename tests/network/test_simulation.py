"""Rounds of the network: conservation, determinism, resuming, common random numbers, tests of pairs, mistakes."""

import io
import math
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import stats

import ceas.scheduling as policies
from ceas.errors import DomainError
from ceas.network import simulation
from ceas.network.policy import KEY_REQUEST, NEVER, LinkView, Policy, attempt_rule, serve_rule
from ceas.network.records import Fate, NetworkModel, WindowRecord
from ceas.network.simulation import NetworkState, advance_round, initial_state
from ceas.physics import secret_key_fraction

Sketches = Callable[..., NetworkModel]
POLICIES = ("oldest_first", "freshest_first", "random", "static_tdma", "ceas")
USED = (Fate.LEARNING, Fate.KEY, Fate.TEST)


def assert_equal_records(left: WindowRecord, right: WindowRecord) -> None:
    for column in fields(WindowRecord):
        np.testing.assert_array_equal(getattr(left, column.name), getattr(right, column.name), err_msg=column.name)


def busiest_slots(model: NetworkModel, pairs: npt.NDArray[Any], node: int) -> int:
    """Return the most pairs that a node held at any time; at one instant pairs end before others are born."""
    touches = (model.links.node_a[pairs["link"]] == node) | (model.links.node_b[pairs["link"]] == node)
    held = pairs[touches & (pairs["end_ns"] > pairs["birth_ns"])]
    times = np.concatenate([held["end_ns"], held["birth_ns"]])
    steps = np.concatenate([np.full(len(held), -1), np.full(len(held), 1)])
    return int(np.cumsum(steps[np.lexsort((steps, times))]).max(initial=0))


@given(seed=st.integers(0, 10_000), name=st.sampled_from(POLICIES))
@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_nothing_is_lost_or_used_twice(seed: int, name: str, random_sketch: Callable[[int], NetworkModel]) -> None:
    model = random_sketch(seed)
    policy = getattr(policies, name)(model)
    state = initial_state(model, seed=seed, trace_every=1)
    records = [advance_round(state, model, policy) for _ in range(3)]
    pairs = np.concatenate([record.pairs for record in records])
    assert len(np.unique(pairs["pair_id"])) == len(pairs)
    for link in range(model.n_links):
        mine = pairs[pairs["link"] == link]
        alive = state.links["n_stored"][link]
        assert sum(record.generated[link] for record in records) == len(mine) + alive
        for fate in list(Fate)[1:]:
            assert sum(record.fates[link, fate] for record in records) == np.sum(mine["fate"] == fate)
        lifetime = model.lifetime_ns[link]
        age = mine["end_ns"] - mine["birth_ns"]
        assert np.all(age[mine["fate"] == Fate.EXPIRED] == lifetime)
        assert np.all(age[mine["fate"] != Fate.EXPIRED] < lifetime)
        assert np.all(np.diff(np.sort(mine, order="pair_id")["birth_ns"]) > 0)
        requested = sum(record.key_requested[link] for record in records)
        settled = sum(record.key_count[link] + record.key_dropped[link] for record in records)
        assert requested == settled + records[-1].key_waiting[link]
    for node, slots in enumerate(model.nodes.memory_slots):
        assert busiest_slots(model, pairs, node) <= slots
        at_node = (model.links.node_a == node) | (model.links.node_b == node)
        assert state.free_slots[node] == slots - state.links["n_stored"][at_node].sum()
    for record in records:
        assert_shots_are_sound(model, record)
        assert_record_adds_up(model, record)


def assert_shots_are_sound(model: NetworkModel, record: WindowRecord) -> None:
    demand = model.demand
    for learner in range(model.n_learners):
        times = record.shot_time_ns[record.shot_learner == learner]
        assert np.all(np.diff(times) >= demand.shot_duration_ns[learner])
        last_ns = record.start_ns + model.clock.learning_ns - demand.shot_duration_ns[learner]
        assert np.all((times >= record.start_ns) & (times <= last_ns))
    for shot in range(len(record.shot_learner)):
        pairs = record.pairs[record.pairs["shot"] == shot]
        assert len(pairs) == demand.pairs_per_shot
        assert np.all(pairs["user"] == record.shot_learner[shot])
        assert np.all(pairs["link"] == demand.learner_link[record.shot_learner[shot]])
        assert np.all(pairs["end_ns"] == record.shot_time_ns[shot])
        np.testing.assert_array_equal(np.sort(pairs["werner_at_end"]), np.sort(record.shot_werner[shot]))
    assert np.all((record.pairs["shot"] >= 0) == (record.pairs["fate"] == Fate.LEARNING))


def assert_record_adds_up(model: NetworkModel, record: WindowRecord) -> None:
    demand, pairs = model.demand, record.pairs
    age_s = (pairs["end_ns"] - pairs["birth_ns"]) * 1e-9
    links = pairs["link"]
    werner = model.links.initial_werner[links] * np.exp(-model.links.decay_rate_hz[links] * age_s)
    np.testing.assert_allclose(pairs["werner_at_end"], werner, rtol=1e-6)
    is_key, is_test = pairs["fate"] == Fate.KEY, pairs["fate"] == Fate.TEST
    value = [
        demand.learning_value * np.sum(np.prod(record.shot_werner.astype(np.float64) ** 2, axis=1)),
        demand.key_value * np.sum(secret_key_fraction(werner[is_key])),
        demand.test_value * np.sum(is_test),
    ]
    np.testing.assert_allclose(record.delivered_value, value, rtol=1e-5, atol=1e-9)
    key_sum = np.bincount(links[is_key], werner[is_key], minlength=model.n_links)
    np.testing.assert_allclose(record.key_werner_sum, key_sum, rtol=1e-9)
    test_sum = np.bincount(record.test_link, record.test_werner, minlength=model.n_links)
    np.testing.assert_allclose(record.test_werner_sum, test_sum, rtol=1e-5)
    assert record.fidelity_at_use.sum(axis=1).tolist() == [int(np.sum(pairs["fate"] == fate)) for fate in USED]
    assert np.all(record.blocked_ns <= record.end_ns - record.start_ns)


@pytest.mark.parametrize("name", POLICIES)
def test_resumed_run_equals_whole_run_bit_for_bit(name: str, random_sketch: Callable[[int], NetworkModel]) -> None:
    for seed in (1, 4, 9):
        model = random_sketch(seed)
        policy = getattr(policies, name)(model)
        whole = initial_state(model, seed=seed, trace_every=2)
        parted = initial_state(model, seed=seed, trace_every=2)
        expected = [advance_round(whole, model, policy) for _ in range(4)]
        records = [advance_round(parted, model, policy) for _ in range(2)]
        file = io.BytesIO()
        arrays_of: dict[str, Any] = parted.to_arrays()
        np.savez(file, **arrays_of)
        file.seek(0)
        with np.load(file, allow_pickle=False) as arrays:
            resumed = NetworkState.from_arrays(dict(arrays))
        records += [advance_round(resumed, model, policy) for _ in range(2)]
        for left, right in zip(expected, records, strict=True):
            assert_equal_records(left, right)
        for name_of, array in whole.to_arrays().items():
            np.testing.assert_array_equal(array, resumed.to_arrays()[name_of], err_msg=name_of)


def test_small_buffers_change_nothing(
    random_sketch: Callable[[int], NetworkModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(6):
        model = random_sketch(seed)
        policy = policies.freshest_first(model)
        expected = advance_round(initial_state(model, seed=3, trace_every=1), model, policy)
        with monkeypatch.context() as patch:
            patch.setattr(simulation, "_BUFFER_ROWS", 1)
            assert_equal_records(expected, advance_round(initial_state(model, seed=3, trace_every=1), model, policy))


def test_sampled_trace_is_part_of_full_trace(random_sketch: Callable[[int], NetworkModel]) -> None:
    model = random_sketch(3)
    policy = policies.oldest_first(model)
    full, sampled, none = (
        advance_round(initial_state(model, seed=1, trace_every=every), model, policy) for every in (1, 3, 0)
    )
    number, link = full.pairs["pair_id"] // model.n_links, full.pairs["link"]
    np.testing.assert_array_equal(sampled.pairs, full.pairs[(number + link) % 3 == 0])
    assert len(sampled.pairs) > 0
    assert len(none.pairs) == 0
    assert_equal_records(replace(full, pairs=none.pairs), none)


def test_pairs_common_to_two_policies_are_born_at_the_same_time(random_sketch: Callable[[int], NetworkModel]) -> None:
    n_common = 0
    for seed in range(12):
        model = random_sketch(seed)
        birth = []
        for name in ("oldest_first", "ceas"):
            record = advance_round(initial_state(model, seed=5, trace_every=1), model, getattr(policies, name)(model))
            birth.append(dict(zip(record.pairs["pair_id"].tolist(), record.pairs["birth_ns"].tolist(), strict=True)))
        common = birth[0].keys() & birth[1].keys()
        n_common += len(common)
        assert all(birth[0][pair] == birth[1][pair] for pair in common)
    assert n_common > 300


def test_link_without_shared_memory_ignores_the_other_links(sketch: Sketches) -> None:
    """Two links without a common node: the first makes the same pairs whatever the second does."""
    births = []
    for other in (0.0, 0.9):
        model = sketch(
            edges=((0, 1), (2, 3)),
            slots=(4, 4, 4, 4),
            period_ns=(10, 7),
            success=(0.1, other),
            initial_werner=(0.95, 0.9),
            decay_hz=(2e5, 1e5),
            keys=(30.0, 50.0),
        )
        record = advance_round(initial_state(model, seed=5, trace_every=1), model, policies.random(model))
        first = record.pairs[record.pairs["link"] == 0]
        births.append(first[["birth_ns", "end_ns", "fate"]].tolist())
    assert len(births[0]) > 20
    assert births[0] == births[1]


@pytest.mark.parametrize("name", POLICIES)
def test_tested_pairs_are_distributed_as_used_pairs(name: str, sketch: Sketches) -> None:
    """Two-sample Kolmogorov-Smirnov of tested and used Werner parameters, every fourth of about 10 000 and 30 000.

    Pairs of the same tuple are alike; thinning takes about one of each. False-alarm rate 1e-6 for each policy.
    """
    model = sketch(
        slots=(6, 6),
        success=(0.08,),
        decay_hz=(1e6,),
        learner_link=(0, 0),
        pairs_per_shot=2,
        shot_ns=700,
        keys=(900.0,),
        deadline_ns=1_000,
        test_share=0.25,
        round_ns=1_000_000,
        learning_ns=800_000,
    )
    policy = getattr(policies, name)(model)
    state = initial_state(model, seed=2, trace_every=1)
    pairs = np.concatenate([advance_round(state, model, policy).pairs for _ in range(15)])
    for birth_phase in (True, False):
        in_window = (pairs["end_ns"] % 1_000_000 < 800_000) == birth_phase
        tested = pairs["werner_at_end"][in_window & (pairs["fate"] == Fate.TEST)][::4]
        used = pairs["werner_at_end"][in_window & np.isin(pairs["fate"], (Fate.LEARNING, Fate.KEY))][::4]
        assert min(len(tested), len(used)) > 50
        assert stats.ks_2samp(tested, used).pvalue > 1e-6


def test_share_of_tests_is_binomial(sketch: Sketches) -> None:
    """About 50 000 choices of one pair with share 0.1, within 5 standard deviations: false-alarm rate 6e-7."""
    model = sketch(keys=(5_000.0,), success=(0.5,), test_share=0.1, deadline_ns=100_000, round_ns=1_000_000)
    state = initial_state(model, seed=2)
    policy = policies.oldest_first(model)
    fates = np.sum([advance_round(state, model, policy).fates.sum(axis=0) for _ in range(9)], axis=0)
    n = fates[Fate.KEY] + fates[Fate.TEST]
    assert n > 40_000
    assert abs(fates[Fate.TEST] - 0.1 * n) < 5 * math.sqrt(n * 0.09)


def test_served_fraction_of_lost_sales_with_hard_cutoff(sketch: Sketches) -> None:
    """Requests that cannot wait, further apart than a pair lives, with room for all pairs.

    A request is served if one of the last n = lifetime / period attempts succeeded: S = 1 - (1 - p)^n. Oldest first,
    the pair used is the oldest alive. 20 000 requests, 5 standard deviations: false-alarm rate 6e-7.
    """
    p, period_ns, n = 0.06, 10, 20
    spacing_ns = 500
    decay_hz = math.log(0.95 / 0.6) / ((n * period_ns + 0.5) * 1e-9)
    model = sketch(
        slots=(64, 64),
        success=(p,),
        decay_hz=(decay_hz,),
        keys=(20_000.0,),
        deadline_ns=1,
        round_ns=20_000 * spacing_ns,
        learning_ns=100,
        minimum_fidelity=0.7,
    )
    assert int(model.lifetime_ns[0]) == n * period_ns
    record = advance_round(initial_state(model, seed=6), model, policies.freshest_first(model, pairs_per_link=0))
    # Requests come on the nanosecond on which an attempt ends: its pair is there, for pairs come before requests, and
    # the pair of the attempt n earlier has just expired.
    exact = 1 - (1 - p) ** n
    requested = int(record.key_requested[0])
    deviation = math.sqrt(requested * exact * (1 - exact))
    assert requested == 20_000
    assert abs(record.key_count[0] - requested * exact) < 5 * deviation
    # The freshest pair of age a attempts has weight p (1 - p)^a.
    ages = np.arange(n)
    weight = p * (1 - p) ** ages
    werner = 0.95 * np.exp(-decay_hz * 1e-9 * period_ns * ages)
    mean = np.sum(weight * werner) / weight.sum()
    spread = math.sqrt(np.sum(weight * (werner - mean) ** 2) / weight.sum() / record.key_count[0])
    assert abs(record.key_werner_sum[0] / record.key_count[0] - mean) < 5 * spread


@attempt_rule
def replace_oldest(view: LinkView) -> int:
    return len(view.stock_birth_ns) if view.free_slots > 0 else 0


@serve_rule
def serve_missing_pair(view: LinkView, choice: npt.NDArray[np.int64]) -> tuple[int, int]:
    choice[0] = len(view.stock_birth_ns)
    return KEY_REQUEST, NEVER


@serve_rule
def serve_missing_request(view: LinkView, choice: npt.NDArray[np.int64]) -> tuple[int, int]:
    choice[0] = 0
    return KEY_REQUEST + len(view.key_arrival_ns), NEVER


@serve_rule
def serve_one_pair_twice(view: LinkView, choice: npt.NDArray[np.int64]) -> tuple[int, int]:
    choice[0] = choice[1] = 0
    return 0, NEVER


@attempt_rule
def replace_missing_pair(view: LinkView) -> int:
    return len(view.stock_birth_ns) + 1


def test_overwriting_keeps_the_newest_pairs(sketch: Sketches) -> None:
    """A user's own rule: with no use in the round, the stock is always the last four successes."""
    model = sketch(success=(0.2,), decay_hz=(0.0,), keys=(0.4,), round_ns=10_000)
    plain = policies.oldest_first(model)
    policy = replace(plain, name="newest", attempt=replace_oldest)
    state = initial_state(model, seed=1, trace_every=1)
    record = advance_round(state, model, policy)
    assert record.key_requested.sum() == 0
    ends = np.sort(np.concatenate([record.pairs["birth_ns"], state.stock_birth_ns[0, :4]]))
    np.testing.assert_array_equal(state.stock_birth_ns[0, :4], ends[-4:])
    assert record.fates[0, Fate.DISCARDED] == record.generated[0] - 4 > 100


def test_policy_that_chooses_what_is_not_there_is_refused(sketch: Sketches) -> None:
    model = sketch(keys=(20.0,), learner_link=(0,), pairs_per_shot=2)
    plain = policies.oldest_first(model)
    wrong: list[Policy] = [replace(plain, attempt=replace_missing_pair)]
    wrong += [replace(plain, serve=rule) for rule in (serve_missing_pair, serve_missing_request, serve_one_pair_twice)]
    for policy in wrong:
        with pytest.raises(DomainError, match="not there"):
            advance_round(initial_state(model, seed=1), model, policy)
    with pytest.raises(DomainError, match="parameters"):
        advance_round(initial_state(model, seed=1), model, replace(plain, parameters=np.zeros((2, 1))))


def test_network_without_demand_makes_no_pairs(sketch: Sketches) -> None:
    model = sketch()
    record = advance_round(initial_state(model, seed=1), model, policies.oldest_first(model))
    assert record.generated.sum() == 0
    assert record.shot_werner.shape == (0, 1)


def test_hopeless_link_never_attempts(sketch: Sketches) -> None:
    model = sketch(initial_werner=(0.6,), minimum_fidelity=0.7, keys=(10.0,))
    record = advance_round(initial_state(model, seed=1), model, policies.oldest_first(model))
    assert model.lifetime_ns[0] == 0
    assert record.generated.sum() == 0
    assert record.key_requested[0] == 10


def test_vanishing_success_probability_neither_overflows_nor_succeeds(sketch: Sketches) -> None:
    model = sketch(success=(1e-300,), period_ns=(10**9,), keys=(10.0,))
    record = advance_round(initial_state(model, seed=1), model, policies.oldest_first(model))
    assert record.generated.sum() == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"minimum_fidelity": 0.25}, "minimum_fidelity"),
        ({"learner_link": (0, 0, 0)}, "at most 2 learners"),
        ({"learner_link": (1,)}, "a link below 1"),
        ({"learner_link": (0,), "pairs_per_shot": 5}, "memory_slots"),
        ({"learner_link": (0,), "pairs_per_shot": 0}, "pairs_per_shot"),
        ({"learner_link": (0,), "shot_ns": 8_000}, "shot_duration_ns"),
        ({"keys": (1.0, 1.0)}, "key_pairs_per_round"),
        ({"keys": (math.inf,)}, "key_pairs_per_round"),
        ({"test_share": 1.0}, "test_share"),
        ({"deadline_ns": 0}, "key_deadline_ns"),
        ({"values": (1.0, -1.0, 0.0)}, "key_value"),
        ({"learning_ns": 10_001}, "learning_ns"),
        ({"round_ns": 0}, "round_ns"),
    ],
)
def test_impossible_models_are_refused(change: dict[str, Any], message: str, sketch: Sketches) -> None:
    with pytest.raises(DomainError, match=message):
        sketch(**change)


def test_negative_trace_is_refused(sketch: Sketches) -> None:
    with pytest.raises(DomainError, match="trace_every"):
        initial_state(sketch(), seed=1, trace_every=-1)
