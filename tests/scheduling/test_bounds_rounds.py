from collections.abc import Callable
from dataclasses import replace
from itertools import combinations

import numpy as np
import numpy.typing as npt
import pytest
from scipy.optimize import LinearConstraint, milp

import ceas.scheduling as policies
from ceas.errors import DomainError
from ceas.network import NetworkModel, advance_round, initial_state
from ceas.network.policy import attempt_always
from ceas.network.replay import possible_births
from ceas.scheduling.bounds_rounds import rounds_bound

Models = Callable[..., NetworkModel]
# Standard errors by which a normal mean exceeds its expectation with chance 1e-7.
SIGMAS = 5.2


def untested(model: NetworkModel, share: float = 0.0) -> NetworkModel:
    return replace(model, demand=replace(model.demand, test_share=share))


def on_one_link(model: NetworkModel, births: npt.NDArray[np.int64]) -> tuple[int, npt.NDArray[np.int64]]:
    """Return a learner's link, and where births begin when this link has all of them."""
    link = int(model.demand.learner_link[0])
    first = np.zeros(model.n_links + 1, dtype=np.int64)
    first[link + 1 :] = len(births)
    return link, first


@pytest.mark.parametrize("pairs", [1, 3])
def test_possible_births_contain_all_that_are_born(small_model: Models, pairs: int) -> None:
    """With room for every pair, the births of a run are the possible ones; with less, some of them."""
    for memory_slots in (8, 20_000):
        model = untested(small_model(pairs_per_shot=pairs, memory_slots=memory_slots))
        first, births = possible_births(model, seed=3, n_rounds=2)
        state = initial_state(model, seed=3, trace_every=1)
        policy = replace(policies.oldest_first(model), attempt=attempt_always)
        records = [advance_round(state, model, policy) for _ in range(2)]
        generated = np.sum([record.generated for record in records], axis=0)
        for link in range(model.n_links):
            own = births[first[link] : first[link + 1]]
            traced = np.concatenate([record.pairs["birth_ns"][record.pairs["link"] == link] for record in records])
            assert np.isin(traced, own).all()
            if memory_slots == 20_000:
                assert generated[link] == len(own)
    assert births.max() < 2 * model.clock.round_ns
    with pytest.raises(DomainError, match="n_rounds"):
        possible_births(model, seed=3, n_rounds=0)


@pytest.mark.parametrize("pairs", [1, 2, 3])
@pytest.mark.parametrize("shot_s", [1e-3, 2e-2])
def test_no_policy_passes_the_bound(small_model: Models, pairs: int, shot_s: float) -> None:
    """Without tests there are no coins left: every single run lies below."""
    for seed in range(3):
        model = untested(small_model(pairs_per_shot=pairs, shot_s=shot_s, seed=seed))
        first, births = possible_births(model, seed=seed, n_rounds=3)
        bound = rounds_bound(model, first, births, n_rounds=3)
        for make in (policies.oldest_first, policies.freshest_first, policies.random, policies.ceas):
            state = initial_state(model, seed=seed)
            policy = make(model)
            delivered = np.sum([advance_round(state, model, policy).delivered_value for _ in range(3)], axis=0)
            assert 0.0 < delivered[0] <= bound.learning.sum() * (1.0 + 1e-9)
            assert 0.0 < delivered[1] <= bound.keys.sum() * (1.0 + 1e-9)
            assert delivered[2] == 0.0


def test_with_tests_it_holds_in_the_mean(small_model: Models) -> None:
    """A third of the uses are tests; 12 seeds of 2 rounds, difference to each seed's own bound, false alarm 1e-7."""
    excess = []
    for seed in range(12):
        model = untested(small_model(pairs_per_shot=2, seed=seed), 1.0 / 3.0)
        first, births = possible_births(model, seed=seed, n_rounds=2)
        bound = rounds_bound(model, first, births, n_rounds=2).value
        state = initial_state(model, seed=seed)
        policy = policies.ceas(model)
        excess.append(sum(advance_round(state, model, policy).delivered_value.sum() for _ in range(2)) / bound - 1.0)
    assert np.mean(excess) <= SIGMAS * np.std(excess) / np.sqrt(len(excess))
    assert np.mean(excess) > -0.6


@pytest.mark.parametrize("pairs", [1, 2, 3])
@pytest.mark.parametrize("seed", range(4))
def test_it_is_close_to_the_best_choice_of_sets(small_model: Models, pairs: int, seed: int) -> None:
    """Nine births and time for all shots: every set is in an integer and in a linear programme, 5 % below at most."""
    rng = np.random.default_rng(seed)
    model = untested(small_model(pairs_per_shot=pairs, keys=0.0))
    births = np.sort(rng.integers(0, 60_000_000, 9))
    link, first = on_one_link(model, births)
    decay = model.links.decay_rate_hz[link] * 1e-9
    sets = list(combinations(range(9), pairs))
    ages = np.array([[births[chosen[-1]] - births[member] for member in chosen] for chosen in sets])
    value = np.exp(-2.0 * decay * ages.sum(axis=1)) * model.links.initial_werner[link] ** (2 * pairs)
    value = np.where((ages <= model.lifetime_ns[link]).all(axis=1), value, 0.0)
    takes = np.array([[member in chosen for chosen in sets] for member in range(9)], dtype=np.float64)
    once = LinearConstraint(takes, 0, 1)
    best, loosest = (-milp(-value, integrality=whole, bounds=(0, 1), constraints=once).fun for whole in (1, 0))
    bound = rounds_bound(model, first, births, n_rounds=1, depth=8, n_steps=200).value
    assert best * (1.0 - 1e-9) <= bound <= 1.05 * loosest


def test_many_pairs_leave_the_shots(small_model: Models) -> None:
    """A pair each microsecond: every shot has a fresh pair, so the bound is the number of shots times its value."""
    model = untested(small_model(pairs_per_shot=1, keys=0.0))
    link, first = on_one_link(model, births := np.arange(1_000, 200_000_000, 1_000))
    bound = rounds_bound(model, first, births, n_rounds=1)
    n_shots = 150 * int((model.demand.learner_link == link).sum())
    assert bound.shots[link] == n_shots
    assert bound.value == pytest.approx(n_shots * model.links.initial_werner[link] ** 2, rel=1e-9)


def test_only_what_fits_the_memory_waits_for_the_window(small_model: Models) -> None:
    """Births only after the first window: the second can begin with no more than 8 stored pairs."""
    model = untested(small_model(pairs_per_shot=1, keys=0.0, memory_slots=8))
    link, first = on_one_link(model, births := np.arange(199_900_000, 200_000_000, 1_000))
    bound = rounds_bound(model, first, births, n_rounds=2)
    assert 0.9 * 8 <= bound.value / model.links.initial_werner[link] ** 2 <= 8
    assert rounds_bound(model, first, births, n_rounds=1).value == 0.0


def test_arguments_are_checked(small_model: Models) -> None:
    model = small_model()
    with pytest.raises(DomainError, match="birth_first"):
        rounds_bound(model, np.zeros(3, dtype=np.int64), np.zeros(0, dtype=np.int64), n_rounds=1)
    with pytest.raises(DomainError, match="n_rounds"):
        rounds_bound(model, np.zeros(model.n_links + 1, dtype=np.int64), np.zeros(0, dtype=np.int64), n_rounds=0)
