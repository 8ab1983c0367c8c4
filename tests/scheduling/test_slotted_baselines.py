"""The slotted baselines: each does what its name says in small scenes by hand, and all keep the invariants."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise, product
from typing import Any

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ceas.errors import DomainError, UnknownNameError
from ceas.network.slot_engine import advance_slots, run_slotted, slotted_lives, slotted_record, start_slotted
from ceas.network.slots import Forecast, PairFate, PairLives, RequestTable, SamplePath, SlottedNetwork, SlottedRecord
from ceas.scheduling import slotted_baselines
from ceas.scheduling.slotted_baselines import BASELINES, TUNING_GRIDS
from ceas.scheduling.slotted_tdma import colour_links
from ceas.scheduling.tuning import tune


def network_of(edges: list[list[int]], **changes: Any) -> SlottedNetwork:
    n_links, n_nodes = len(edges), int(np.max(edges)) + 1
    base = SlottedNetwork(
        edges=np.array(edges),
        success_probability=np.full(n_links, 0.5),
        initial_werner=np.full(n_links, 0.95),
        claimed_werner=np.full(n_links, 0.95),
        coherence_slots=np.full(n_links, 10.0),
        lifetime_slots=np.full(n_links, 9),
        memory_slots=np.full(n_nodes, 8),
        attempts_per_slot=np.full(n_nodes, 1),
    )
    return replace(base, **changes)


def table(*rows: dict[str, Any]) -> RequestTable:
    """Make requests; `route` is needed, all else has a default."""
    default = {"arrival": 0, "patience": 9, "n_pairs": 1, "minimum": 0.3, "weight": 1.0, "kind": 0, "ahead": 0}
    full = [default | {"label": 0, "user": 0} | row for row in rows]

    def column(name: str, kind: type = np.int64) -> np.ndarray:
        return np.array([row[name] for row in full], dtype=kind)

    return RequestTable(
        route_first=np.cumsum([0, *(len(row["route"]) for row in full)]),
        route_link=np.array([link for row in full for link in row["route"]], dtype=np.int64),
        announced=column("arrival") - column("ahead"),
        arrival=column("arrival"),
        deadline=column("arrival") + column("patience"),
        n_pairs=column("n_pairs"),
        minimum_fidelity=column("minimum", float),
        weight=column("weight", float),
        kind=column("kind"),
        request_class=column("label"),
        user=column("user"),
    )


def forecast_for(network: SlottedNetwork, rate: Any = 1.0) -> Forecast:
    return Forecast(
        rate=np.broadcast_to(np.asarray(rate, dtype=float), network.n_links)[:, None].copy(),
        minimum_fidelity=np.array([0.3]),
        weight=np.ones(1),
        kind=np.zeros(1, dtype=np.int64),
        patience_slots=np.ones(1, dtype=np.int64),
        n_pairs=np.ones(1, dtype=np.int64),
    )


def run(
    name: str, network: SlottedNetwork, requests: RequestTable, success: Any, *, rate: Any = 1.0, **parameters: Any
) -> SlottedRecord:
    """Run a baseline with these coins, `(slots, links)`; invariants are checked."""
    coins = np.asarray(success, dtype=bool)
    path = SamplePath(success=coins, decay=np.zeros((0, coins.shape[1])), swap_seed=7)
    policy = BASELINES[name](network, forecast_for(network, rate), **parameters)
    return run_slotted(network, requests, path, policy, debug=True)


# ---- whom to serve, with what ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "first"),
    [("oldest_first", 0), ("freshest_first", 0), ("edf", 1), ("on_demand_edf", 1), ("online_edf", 1), ("best_fit", 2)],
)
def test_the_order_of_requests(name: str, first: int) -> None:
    """One pair for three requests: the first to arrive, the first to end, the heaviest."""
    requests = table(
        {"route": [0], "patience": 5}, {"route": [0], "patience": 3}, {"route": [0], "patience": 5, "weight": 2.0}
    )
    record = run(name, network_of([[0, 1]]), requests, [[0], [1]])
    assert record.served_request.tolist() == [first]


@pytest.mark.parametrize(
    ("name", "age"), [("oldest_first", 2), ("freshest_first", 0), ("edf", 2), ("greedy_fidelity", 0)]
)
def test_the_order_of_pairs(name: str, age: int) -> None:
    requests = table({"route": [0], "arrival": 2})
    record = run(name, network_of([[0, 1]]), requests, [[1], [1], [1]])
    assert record.served_fidelity == pytest.approx(0.25 + 0.75 * 0.95 * np.exp(-age / 10))


def test_pairs_that_do_not_qualify_are_left() -> None:
    """The oldest pair that qualifies is of age 1; the request for two such pairs gets none."""
    minimum = 0.25 + 0.75 * 0.95 * np.exp(-0.15)
    requests = table({"route": [0], "arrival": 2, "patience": 0, "minimum": minimum})
    record = run("edf", network_of([[0, 1]]), requests, [[1], [1], [0]])
    assert record.served_fidelity == pytest.approx(0.25 + 0.75 * 0.95 * np.exp(-0.1))
    requests = table({"route": [0], "arrival": 2, "patience": 0, "minimum": minimum, "n_pairs": 2})
    assert len(run("edf", network_of([[0, 1]]), requests, [[1], [1], [0]]).served_request) == 0


def test_a_key_needs_more_than_its_minimum_fidelity() -> None:
    """A pair of F < 0.835 gives no key, whatever the request's minimum says: it is kept."""
    network = network_of([[0, 1]], initial_werner=np.array([0.75]), claimed_werner=np.array([0.75]))
    record = run("edf", network, table({"route": [0], "kind": 2}), [[1], [1]])
    assert len(record.served_request) == 0


@settings(max_examples=60, deadline=None, derandomize=True)
@given(data=st.data())
def test_a_route_takes_what_the_best_choice_could(data: st.DataObject) -> None:
    """A route is served exactly if some choice of one pair a link qualifies, by trying all choices."""
    n_hops, n_slots = data.draw(st.integers(2, 3)), 4
    coins = np.array(data.draw(st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=4, max_size=4)))
    minimum = data.draw(st.floats(0.4, 0.9))
    order = data.draw(st.sampled_from(["oldest", "freshest"]))
    network = network_of([[0, 1], [1, 2], [2, 3]], attempts_per_slot=np.full(4, 2), swap_werner=0.98)
    requests = table({"route": list(range(n_hops)), "arrival": n_slots - 1, "patience": 0, "minimum": minimum})
    record = run("edf", network, requests, coins, pair_order=order)
    ages = [[n_slots - 1 - t for t in range(n_slots) if coins[t, link]] for link in range(n_hops)]
    reach = [0.95**n_hops * 0.98 ** (n_hops - 1) * np.exp(-sum(choice) / 10) for choice in product(*ages)]
    qualified = [0.25 + 0.75 * w for w in reach if 0.25 + 0.75 * w >= minimum]
    assert len(record.served_request) == bool(qualified)
    if qualified and order == "freshest":
        assert record.served_fidelity[0] == pytest.approx(max(qualified))
    if qualified:
        assert record.served_fidelity[0] >= minimum - 1e-9


# ---- who attempts ----------------------------------------------------------------------------------------------------

STAR = [[0, 1], [0, 2], [0, 3]]


@pytest.mark.parametrize(
    ("name", "parameters", "link"),
    [
        ("on_demand_edf", {}, 2),
        ("online_edf", {}, 2),
        ("edf", {}, 2),
        ("on_demand_best_fit", {"urgency": 0.0}, 1),
        ("best_fit", {"urgency": 0.0}, 1),
        ("best_fit", {"urgency": 2.0}, 2),
        ("max_weight", {}, 0),
        ("max_weight", {"value_share": 1.0}, 1),
    ],
)
def test_the_link_that_attempts_first(name: str, parameters: dict[str, Any], link: int) -> None:
    """Three links share a node: link 0 has most requests, link 1 most weight, link 2 the first deadline."""
    network = network_of(STAR)
    requests = table(
        *[{"route": [0], "patience": 8} for _ in range(3)],
        {"route": [1], "patience": 7, "weight": 5.0},
        {"route": [2], "patience": 2},
    )
    record = run(name, network, requests, np.zeros((2, 3)), **(parameters | _no_stock(name)))
    assert record.attempts.tolist() == np.eye(3, dtype=int)[link].tolist()


def _no_stock(name: str) -> dict[str, Any]:
    """Let a policy make nothing ahead, where it could."""
    return {"pairs_per_link": 0} if "pairs_per_link" in TUNING_GRIDS[name] else {}


def test_max_weight_counts_the_chance_of_success() -> None:
    network = network_of(STAR, success_probability=np.array([0.2, 0.9, 0.3]))
    requests = table({"route": [0]}, {"route": [0]}, {"route": [1]}, {"route": [2]}, {"route": [2]})
    record = run("max_weight", network, requests, np.zeros((2, 3)), pairs_per_link=0)
    assert record.attempts.tolist() == [0, 1, 0]


def test_demand_aware_divides_demand_by_stock() -> None:
    """Demands 1, 0.6, 0: 1 > 0.6, then 1/2 < 0.6, then 1/2 > 0.3, then 1/3 > 0.3; a link without demand never."""
    no_one = table()
    order = []
    for n_slots in range(1, 5):
        record = run("demand_aware", network_of(STAR), no_one, np.ones((n_slots, 3)), rate=[1.0, 0.6, 0.0])
        order.append(record.attempts.tolist())
    assert order == [[1, 0, 0], [1, 1, 0], [2, 1, 0], [3, 1, 0]]


def test_greedy_fidelity_prefers_the_better_link() -> None:
    werner = np.array([0.8, 0.9, 0.85])
    network = network_of(STAR, initial_werner=werner, claimed_werner=werner)
    requests = table({"route": [0]}, {"route": [1]}, {"route": [2]})
    record = run("greedy_fidelity", network, requests, np.zeros((2, 3)), pairs_per_link=0)
    assert record.attempts.tolist() == [0, 1, 0]


def test_freshest_first_renews_the_stalest_link() -> None:
    """Links take turns: the one without a pair, or with the oldest freshest pair, attempts."""
    record = run("freshest_first", network_of(STAR), table(), np.ones((6, 3)))
    assert record.attempts.tolist() == [2, 2, 2]


@pytest.mark.parametrize("name", ["on_demand_edf", "online_edf", "on_demand_best_fit"])
def test_on_demand_makes_nothing_ahead(name: str) -> None:
    """Nothing without a request; one attempt a slot until the pair is there; two pairs for two."""
    network = network_of([[0, 1]])
    assert run(name, network, table(), np.ones((5, 1))).attempts.sum() == 0
    record = run(name, network, table({"route": [0]}), [[1], [0], [1], [1], [1]])
    assert (record.attempts[0], record.served_slot[0]) == (2, 2)
    record = run(name, network, table({"route": [0], "n_pairs": 2}), [[1], [0], [1], [1], [1]])
    assert (record.attempts[0], record.served_slot[0], record.served_pairs[0]) == (3, 3, 2)


def test_a_route_attempts_on_the_links_it_misses() -> None:
    network = network_of([[0, 1], [1, 2]], attempts_per_slot=np.full(3, 2))
    record = run("on_demand_edf", network, table({"route": [0, 1]}), [[0, 0], [1, 0], [1, 0], [1, 1], [1, 1]])
    assert (record.attempts.tolist(), record.served_slot.tolist()) == ([1, 3], [3])


def test_announced_requests_are_prepared_for_when_pairs_will_last() -> None:
    """Announced at 1 for 4. With a lifetime of 9 the first attempt is in slot 1, with one of 2 in slot 2."""
    requests = table({"route": [0], "arrival": 4, "ahead": 3})
    for lifetime, birth in ((9, 1), (2, 2)):
        network = network_of([[0, 1]], lifetime_slots=np.array([lifetime]))
        record = run("on_demand_edf", network, requests, np.ones((6, 1)))
        assert (record.attempts[0], record.served_slot[0]) == (1, 4)
        assert record.served_fidelity[0] == pytest.approx(0.25 + 0.75 * 0.95 * np.exp(-(4 - birth) / 10))
    # A pair of slot 1 or 2 would be too old for this minimum.
    requests = table({"route": [0], "arrival": 4, "ahead": 3, "minimum": 0.25 + 0.75 * 0.95 * np.exp(-0.11)})
    record = run("on_demand_edf", network_of([[0, 1]]), requests, np.ones((6, 1)))
    assert record.served_fidelity[0] == pytest.approx(0.25 + 0.75 * 0.95 * np.exp(-0.1))


def test_online_edf_drops_what_has_little_chance() -> None:
    """p = 0.5, no success. 1 - 0.5^n >= 0.8 holds with 3 slots left or more; deadline 4 leaves 3 in slot 2."""
    requests = table({"route": [0], "patience": 4})
    for least, attempts in ((0.0, 4), (0.8, 2), (0.5, 4), (0.51, 3), (1.0, 0)):
        record = run("online_edf", network_of([[0, 1]]), requests, np.zeros((6, 1)), least_chance=least)
        assert record.attempts[0] == attempts
    # Two pairs cannot be made in the one slot that is left: it is dropped even without a least chance.
    requests = table({"route": [0], "patience": 2, "n_pairs": 2})
    assert run("online_edf", network_of([[0, 1]]), requests, np.zeros((6, 1))).attempts[0] == 1
    assert run("on_demand_edf", network_of([[0, 1]]), requests, np.zeros((6, 1))).attempts[0] == 2


# ---- options ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in BASELINES if "pairs_per_link" in TUNING_GRIDS[name]])
def test_the_limit_of_what_is_made_ahead(name: str) -> None:
    record = run(name, network_of([[0, 1]]), table(), np.ones((6, 1)), pairs_per_link=2)
    assert (record.attempts[0], record.stored[0]) == (2, 2)
    assert run(name, network_of([[0, 1]]), table(), np.ones((6, 1)), pairs_per_link=0).attempts[0] == 0
    by_link = np.array([1, 3])
    record = run(name, network_of([[0, 1], [2, 3]]), table(), np.ones((9, 2)), pairs_per_link=by_link)
    assert record.stored.tolist() == [1, 3]


def test_overwriting_renews_pairs_when_memory_is_full() -> None:
    network = network_of([[0, 1]], memory_slots=np.array([2, 5]))
    kept = run("oldest_first", network, table(), np.ones((6, 1)))
    renewed = run("oldest_first", network, table(), np.ones((6, 1)), overwrites=True)
    assert (kept.attempts[0], kept.discarded[0], kept.stored[0]) == (2, 0, 2)
    assert (renewed.attempts[0], renewed.discarded[0], renewed.stored[0]) == (6, 4, 2)
    at_limit = run("oldest_first", network, table(), np.ones((6, 1)), overwrites=True, pairs_per_link=1)
    assert (at_limit.attempts[0], at_limit.discarded[0], at_limit.stored[0]) == (6, 5, 1)


def test_overwriting_spares_a_pair_that_is_needed() -> None:
    """One of two stored pairs is set aside for an announced pair of requests; the other gives way."""
    network = network_of([[0, 1]], memory_slots=np.array([2, 2]))
    policy = BASELINES["oldest_first"](network, forecast_for(network), overwrites=True)
    path = SamplePath(success=np.ones((3, 1), dtype=bool), decay=np.zeros((0, 1)), swap_seed=0)
    state = start_slotted(network, table({"route": [0], "arrival": 3, "ahead": 3}), path, debug=True)
    advance_slots(state, policy)
    lives = slotted_lives(state)
    assert lives.fate.tolist() == [PairFate.STORED, PairFate.DISCARDED, PairFate.STORED]


def dropping_lives(requests: RequestTable, *, drops: bool, memory: int = 2, **changes: Any) -> PairLives:
    """Fill node 0 of a star with pairs of 0-1 from slot 0 on; return the lives after slot 5. All coins succeed."""
    network = network_of(STAR, memory_slots=np.array([memory, 8, 8, 8]), **changes)
    forecast = forecast_for(network, [1.0, 0.0, 0.0])
    policy = BASELINES["demand_aware"](network, forecast, pending_share=1.0, drops=drops)
    path = SamplePath(success=np.ones((6, 3), dtype=bool), decay=np.zeros((0, 3)), swap_seed=0)
    state = start_slotted(network, requests, path, debug=True)
    advance_slots(state, policy)
    return slotted_lives(state)


@pytest.mark.parametrize("drops", [False, True])
def test_the_oldest_spare_pair_gives_way_to_a_link_that_is_missed(drops: bool) -> None:
    """Two pairs of 0-1 fill the node when 0-2 is wanted, in slot 3; only who drops the older one serves, in slot 4."""
    lives = dropping_lives(table({"route": [1], "arrival": 3, "patience": 2}), drops=drops)
    if not drops:
        assert lives.fate.tolist() == [PairFate.STORED, PairFate.STORED]
        return
    assert lives.link.tolist()[:3] == [0, 0, 1]
    assert lives.fate.tolist()[:3] == [PairFate.DISCARDED, PairFate.STORED, PairFate.USED]
    assert lives.end_slot.tolist()[0] == 3
    assert lives.birth_slot.tolist()[2] == 4


def test_no_more_pairs_give_way_than_the_node_can_attempt() -> None:
    """Two links are missed; a node with one attempt a slot drops one pair a slot for them, one with two drops both."""
    requests = table(*({"route": [link], "arrival": 4, "patience": 1} for link in (1, 2)))
    one, two = (dropping_lives(requests, drops=True, attempts_per_slot=np.array([n, 1, 1, 1])) for n in (1, 2))
    assert (one.fate == PairFate.DISCARDED).sum() == 1
    assert (two.fate == PairFate.DISCARDED).sum() == 2


def test_a_pair_that_a_request_needs_does_not_give_way() -> None:
    """The one pair is half of a route that waits for the other half at a full node: nothing is dropped for that."""
    requests = table({"route": [0, 1], "arrival": 2, "patience": 3})
    lives = dropping_lives(requests, drops=True, memory=1)
    assert lives.fate.tolist() == [PairFate.STORED]


def test_nothing_gives_way_in_vain() -> None:
    """No attempt could serve a request in its last slot, or make a pair that is good enough for it."""
    for late in ({"patience": 0}, {"minimum": 0.97}):
        lives = dropping_lives(table({"route": [1], "arrival": 3, "patience": 2} | late), drops=True)
        assert lives.fate.tolist() == [PairFate.STORED, PairFate.STORED]


def test_a_pair_of_one_end_does_not_give_way_while_the_other_end_is_full() -> None:
    """Link 1-2 is missed: at node 1 there is a spare pair of 0-1, at node 2 the pair of 2-3 is needed."""
    network = network_of([[0, 1], [1, 2], [2, 3]], memory_slots=np.array([4, 1, 1, 4]))
    requests = table({"route": [1], "arrival": 1, "patience": 2}, {"route": [2], "arrival": 4, "ahead": 4})
    policy = BASELINES["best_fit"](network, forecast_for(network, [1.0, 0.0, 1.0]), drops=True)
    path = SamplePath(success=np.ones((4, 3), dtype=bool), decay=np.zeros((0, 3)), swap_seed=0)
    state = start_slotted(network, requests, path, debug=True)
    advance_slots(state, policy)
    assert slotted_lives(state).fate.tolist() == [PairFate.STORED, PairFate.STORED]


def test_a_cutoff_discards_at_its_age() -> None:
    """Lifetime 9, cutoff of a third: an unused pair is discarded after service at age 3."""
    network = network_of([[0, 1]])
    parameters = {"cutoff_share": 1 / 3, "base": "oldest_first", "pairs_per_link": 1}
    record = run("best_cutoff", network, table({"route": [0], "arrival": 3}), [[1], [0], [0], [0], [0]], **parameters)
    assert record.served_slot.tolist() == [3]
    record = run("best_cutoff", network, table(), [[1], [0], [0], [0], [1]], **parameters)
    assert (record.discarded[0], record.stored[0], record.occupancy[0], record.attempts[0]) == (1, 1, 4, 2)


def test_time_division_attempts_in_turn() -> None:
    """A star of three links needs three colours: each link attempts in every third slot; with gaps filled, any may."""
    record = run("static_tdma", network_of(STAR), table(), np.zeros((9, 3)))
    assert record.attempts.tolist() == [3, 3, 3]
    # Link 0 is full after its first turn, and its next turns go to waste unless they are filled.
    coins = np.ones((9, 3)) * [1, 0, 0]
    alone = run("static_tdma", network_of(STAR), table(), coins, pairs_per_link=1)
    filled = run("static_tdma", network_of(STAR), table(), coins, pairs_per_link=1, fills=True)
    assert alone.attempts.tolist() == [1, 3, 3]
    assert filled.attempts.sum() == 9
    # Renewing the pair of a full link is a matter of its turn too.
    renewed = run("static_tdma", network_of(STAR), table(), coins, pairs_per_link=1, overwrites=True)
    assert (renewed.attempts.tolist(), renewed.discarded.tolist()) == ([3, 3, 3], [2, 0, 0])


# ---- colouring -------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None, derandomize=True)
@given(n=st.integers(2, 14), density=st.floats(0.05, 1.0), attempts=st.integers(1, 3), seed=st.integers(0, 999))
def test_colouring_needs_at_most_one_colour_more_than_the_degree(
    n: int, density: float, attempts: int, seed: int
) -> None:
    graph = nx.gnp_random_graph(n, density, seed=seed)
    edges = np.array([*graph.edges], dtype=np.int64).reshape(-1, 2)
    colour, n_colours = colour_links(edges, np.full(n, attempts))
    degree = max((d for _, d in graph.degree), default=0)
    load = Counter((int(v), int(c)) for pair, c in zip(edges, colour, strict=True) for v in pair)
    assert max(load.values(), default=0) <= attempts
    assert n_colours <= -(-degree // attempts) + 1
    assert len(edges) == 0 or set(colour) == set(range(n_colours))


def test_colouring_of_parallel_links_and_idle_nodes() -> None:
    edges = np.array([[0, 1], [0, 1], [1, 2], [2, 3]])
    colour, n_colours = colour_links(edges, np.array([1, 1, 1, 0]))
    assert (sorted(colour[:3].tolist()), n_colours) == ([0, 1, 2], 3)
    assert colour[3] == -1
    with pytest.raises(DomainError, match="nodes below 2"):
        colour_links(edges, np.array([1, 1]))


# ---- all of them -----------------------------------------------------------------------------------------------------


def random_scene(seed: int) -> tuple[SlottedNetwork, RequestTable, np.ndarray]:
    """A grid of 3 x 3 with requests over links and routes, tuples, announcements, all kinds; little memory."""
    rng = np.random.default_rng(seed)
    graph = nx.convert_node_labels_to_integers(nx.grid_2d_graph(3, 3))
    edges = [sorted(edge) for edge in graph.edges]
    number = {frozenset(edge): at for at, edge in enumerate(edges)}
    network = network_of(
        edges,
        initial_werner=rng.uniform(0.8, 1.0, 12),
        claimed_werner=rng.uniform(0.8, 1.0, 12),
        success_probability=rng.uniform(0.3, 1.0, 12),
        lifetime_slots=rng.integers(1, 9, 12),
        memory_slots=rng.integers(1, 5, 9),
        attempts_per_slot=rng.integers(1, 3, 9),
        swap_success_probability=0.7,
        swap_werner=0.97,
    )
    rows = []
    for arrival in np.sort(rng.integers(0, 30, 90)):
        a, b = rng.choice(9, 2, replace=False)
        nodes = nx.shortest_path(graph, a, b)
        route = [number[frozenset(pair)] for pair in pairwise(nodes)]
        rows.append(
            {
                "route": route,
                "arrival": arrival,
                "patience": rng.integers(0, 8),
                "ahead": rng.integers(0, 4) * rng.integers(0, 2),
                "n_pairs": rng.integers(1, 4) if len(route) == 1 else 1,
                "minimum": rng.uniform(0.3, 0.8),
                "weight": rng.uniform(0.5, 3.0),
                "kind": rng.integers(0, 3),
                "user": rng.integers(0, 5),
            }
        )
    return network, table(*rows), rng.random((30, 12)) < network.success_probability


@pytest.mark.parametrize("name", BASELINES)
def test_every_baseline_keeps_the_invariants(name: str) -> None:
    """With the first and last value of every parameter of its grid, on networks with all that the model knows."""
    grid = TUNING_GRIDS[name]
    for at, seed in ((0, 1), (-1, 1), (0, 2), (-1, 3)):
        network, requests, coins = random_scene(seed)
        parameters = {parameter: values[at] for parameter, values in grid.items()}
        record = run(name, network, requests, coins, **parameters)
        assert record.used.sum() > 0
        assert (np.diff(requests.route_first)[record.served_request] > 1).any()
        again = run(name, network, requests, coins, **parameters)
        np.testing.assert_array_equal(record.served_request, again.served_request)


def test_grids_begin_with_the_defaults() -> None:
    network, requests, coins = random_scene(4)
    assert set(TUNING_GRIDS) == set(BASELINES) <= set(slotted_baselines.__all__)
    for name, grid in TUNING_GRIDS.items():
        default = run(name, network, requests, coins)
        first = run(name, network, requests, coins, **{parameter: values[0] for parameter, values in grid.items()})
        np.testing.assert_array_equal(default.served_request, first.served_request)


@pytest.mark.parametrize("name", BASELINES)
def test_the_search_tries_drops(name: str) -> None:
    """With the budget of the benchmark the search tries to drop, and keeps it where it helps."""
    best, trials = tune(lambda point: (float(point["drops"]), 1.0), TUNING_GRIDS[name], budget=16)
    assert best.parameters["drops"]
    assert len(trials) <= 16


def test_a_policy_can_be_changed_in_the_middle() -> None:
    network, requests, coins = random_scene(5)
    path = SamplePath(success=coins, decay=np.zeros((0, 12)), swap_seed=1)
    state = start_slotted(network, requests, path, debug=True)
    advance_slots(state, BASELINES["edf"](network, forecast_for(network)), 15)
    early = slotted_record(state)
    advance_slots(state, BASELINES["random"](network, forecast_for(network)))
    late = slotted_record(state)
    np.testing.assert_array_equal(late.served_request[: len(early.served_request)], early.served_request)
    assert (late.served_slot[len(early.served_slot) :] >= 15).all()


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("edf", {"pair_order": "youngest"}, "must be one of oldest, freshest, random, but is `youngest`"),
        ("edf", {"pairs_per_link": -1}, "`pairs_per_link` must be at least 0"),
        ("random", {"pairs_per_link": np.array([1, 2, 3])}, "of shape \\(1,\\)"),
        ("online_edf", {"least_chance": 1.5}, "`least_chance` must be in"),
        ("max_weight", {"value_share": -0.5}, "`value_share` must be in"),
        ("best_fit", {"urgency": -1.0}, "`urgency` must be non-negative"),
        ("demand_aware", {"pending_share": np.nan}, "`pending_share` must be non-negative"),
        ("best_cutoff", {"cutoff_share": 2.0}, "`cutoff_share` must be in"),
        ("best_cutoff", {"fills": True}, "`fills` must be a parameter of `edf`"),
    ],
)
def test_parameters_out_of_their_domain(name: str, parameters: dict[str, Any], message: str) -> None:
    network = network_of([[0, 1]])
    with pytest.raises(DomainError, match=message):
        BASELINES[name](network, forecast_for(network), **parameters)


def test_unknown_bases_and_foreign_forecasts() -> None:
    network = network_of([[0, 1]])
    with pytest.raises(UnknownNameError, match="Did you mean `edf`"):
        BASELINES["best_cutoff"](network, forecast_for(network), base="ed")
    with pytest.raises(DomainError, match="rates for 1 links, but has 3"):
        BASELINES["edf"](network, forecast_for(network_of(STAR)))
