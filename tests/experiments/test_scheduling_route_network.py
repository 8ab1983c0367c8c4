"""S7 on the event kernel: the same grid and demand as in slots, figures that count, and what hearing late costs."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ceas.errors import DomainError
from ceas.experiments.benchmark_scheduling import setting_rows
from ceas.experiments.scheduling_cases import Phase
from ceas.experiments.scheduling_contest import Run, contest, run_case
from ceas.experiments.scheduling_route_cases import grid_case
from ceas.experiments.scheduling_route_entrants import (
    CUTOFF_SLOTS,
    PAIRS_AHEAD,
    SWAPS,
    delay_rows,
    measure_routes,
    route_entrants,
    serve_earliest_deadline,
    serve_shortest_route,
)
from ceas.experiments.scheduling_route_network import (
    GLOBAL,
    LOCAL,
    ROUND_SLOTS,
    SLOT_NS,
    RouteNetworkCase,
    route_network_case,
)
from ceas.experiments.scheduling_settings import SETTINGS
from ceas.experiments.scheduling_verdicts import verdict_rows
from ceas.network.policy import ASK_DTYPE
from ceas.network.records import Fate
from ceas.network.route_records import RouteFate
from ceas.network.simulation import advance_round, initial_state

ENTRANTS = {entrant.name: entrant for entrant in route_entrants()}


def case_of(*, hears_at_once: bool = False, swap: float = 1.0, seed: int = 3, **options: Any) -> RouteNetworkCase:
    options = {"n_slots": 60, **options}
    return route_network_case(
        swap_success_probability=swap, hears_at_once=hears_at_once, seed=seed, phase=Phase.TUNING, **options
    )


def run(name: str, case: RouteNetworkCase, **parameters: Any) -> Run:
    entrant = ENTRANTS[name]
    return run_case(entrant, case, {key: values[0] for key, values in entrant.grid.items()} | parameters)


def test_the_grid_and_its_demand_are_those_of_the_slotted_network() -> None:
    case = case_of()
    slotted = grid_case(swap_success_probability=1.0, seed=3, phase=Phase.TUNING, n_slots=60)
    model = case.model
    assert model.routes is not None
    assert model.route_demand is not None
    np.testing.assert_array_equal(np.column_stack([model.links.node_a, model.links.node_b]), slotted.network.edges)
    rate = np.zeros(model.n_links)
    for flow, route in enumerate(model.route_demand.route.tolist()):
        links = model.routes.link[model.routes.first_hop[route] : model.routes.first_hop[route + 1]]
        rate[links] += model.route_demand.requests_per_round[flow] / ROUND_SLOTS
    np.testing.assert_allclose(rate, slotted.forecast.rate.sum(axis=1), rtol=1e-12)
    # Two memories together let a pair decay as in the slotted network.
    werner = np.exp(-model.links.decay_rate_hz * SLOT_NS * 1e-9)
    np.testing.assert_allclose(werner, np.exp(-1.0 / slotted.network.coherence_slots))
    assert model.repeaters is not None
    np.testing.assert_allclose(2.0 * model.repeaters.memory_rate_hz, model.links.decay_rate_hz[0])
    np.testing.assert_allclose(model.links.latency_s, SLOT_NS * 1e-9)
    assert not case_of(hears_at_once=True).model.links.latency_s.any()


def test_all_meet_the_same_requests_and_births() -> None:
    runs = [
        run(name, case_of(hears_at_once=at_once)).record
        for name, at_once in (("ceas", False), ("ceas", True), ("shortest_route, nested", False))
    ]
    asked = [np.sum([one.routes.requested for one in records], axis=0) for records in runs]
    np.testing.assert_array_equal(asked[0], asked[1])
    np.testing.assert_array_equal(asked[0], asked[2])
    other = run("ceas", case_of(seed=4)).record
    assert not np.array_equal(asked[0], np.sum([one.routes.requested for one in other], axis=0))


@pytest.mark.parametrize("name", ["ceas, complete", "routes_first, asap"])
def test_figures_are_those_of_the_lives_of_the_pairs(name: str) -> None:
    """Each figure again by loops over traced pairs; requests of the last round are left out, all others are settled."""
    case = case_of(swap=0.5)
    records = run(name, case).record
    figures = measure_routes(case, records)
    demand, routes = case.model.route_demand, case.model.routes
    assert demand is not None
    assert routes is not None
    new = (4.0 * 0.97 - 1.0) / 3.0
    asked = np.sum([one.routes.requested for one in records[:-1]], axis=0)
    hops = routes.n_hops[demand.route]
    values, fidelities = [], []
    got, wanted = dict.fromkeys(range(50), 0.0), dict.fromkeys(range(50), 0.0)
    for flow in range(demand.n_flows):
        wanted[int(routes.source[demand.route[flow]])] += asked[flow] * new ** (2 * hops[flow])
    for record in records:
        for pair in record.routes.pairs:
            if pair["fate"] == RouteFate.DELIVERED and pair["request"] < asked[pair["flow"]]:
                fidelity = (1.0 + float(pair["x_at_end"]) + float(pair["y_at_end"]) + float(pair["z_at_end"])) / 4.0
                fidelities.append(fidelity)
                values.append(((4.0 * fidelity - 1.0) / 3.0) ** 2)
                got[int(routes.source[pair["route"]])] += values[-1]
    assert len(values) > 10
    assert figures["S"] == len(values) / asked.sum()
    assert figures["total"] == pytest.approx(sum(values), rel=1e-6)
    assert figures["V"] == pytest.approx(sum(values) / sum(wanted.values()), rel=1e-6)
    assert figures["F_mean"] == pytest.approx(np.mean(fidelities), rel=1e-6)
    assert figures["F_p05"] >= 0.7 - 1e-6
    shares = np.array([got[node] / wanted[node] for node in wanted if wanted[node] > 0])
    assert figures["fairness"] == pytest.approx(shares.sum() ** 2 / len(shares) / (shares**2).sum(), rel=1e-6)
    # Every pair is delivered, lost, expired, or still there.
    made = sum(int(one.generated.sum()) for one in records)
    ends = np.sum([one.routes.pair_fates.sum(axis=0) for one in records], axis=0)
    expired = sum(int(one.fates[:, Fate.EXPIRED].sum()) for one in records)
    there = int(records[-1].fates[:, Fate.ALIVE].sum()) + int(records[-1].routes.pair_fates[:, RouteFate.HELD].sum())
    lost = ends[RouteFate.BELOW_MINIMUM] + ends[RouteFate.CUT] + ends[RouteFate.SWAP_FAILED] + ends[RouteFate.DROPPED]
    assert made == ends[RouteFate.DELIVERED] + lost + expired + there
    assert figures["U"] == ends[RouteFate.DELIVERED] / (made - there)


def test_with_hardly_any_demand_nearly_all_is_served_and_delay_costs_fidelity() -> None:
    """A link of chance 1/2 makes its pair within 12 slots but for 1 in 4,000, so hardly a request is lost to chance."""
    runs = {
        at_once: measure_routes(case, run("routes_first, asap", case, pairs_ahead=0, cutoff_slots=48).record)
        for at_once in (False, True)
        for case in [case_of(hears_at_once=at_once, load=0.03, n_slots=600)]
    }
    assert runs[True]["S"] > 0.97
    assert runs[True]["fairness"] > 0.95
    # New pairs over two hops and more have F up to 0.942, and wait for each other for some slots.
    assert 0.85 < runs[True]["F_mean"] < 0.942
    assert runs[False]["F_mean"] < runs[True]["F_mean"] - 0.01
    assert runs[False]["V"] < runs[True]["V"] - 0.02
    assert runs[False]["wait_p99"] > runs[True]["wait_p99"] + 1.0


def test_a_cutoff_gives_up_what_is_older() -> None:
    case = case_of()
    lives = np.concatenate([one.routes.pairs for one in run("ceas", case, cutoff_slots=6).record])
    # A pair is used when its end hears of it, up to four hops later.
    delivered = lives[lives["fate"] == RouteFate.DELIVERED]
    assert len(delivered) > 10
    ages = (lives["end_ns"] - lives["birth_ns"])[lives["fate"] == RouteFate.CUT] / SLOT_NS
    assert len(ages) > 10
    assert ages.min() >= 0.0
    later = np.concatenate([one.routes.pairs for one in run("ceas", case, cutoff_slots=48).record])
    assert (later["fate"] == RouteFate.CUT).sum() < len(ages)
    # What is tried does not change the case.
    assert case.model.repeaters is not None
    assert case.model.repeaters.cutoff_ns.min() > 1000 * SLOT_NS


def test_no_slot_is_overbooked_and_no_pair_is_in_two_places() -> None:
    case = case_of(swap=0.5, n_slots=30)
    entrant = ENTRANTS["shortest_route, nested"]
    bound: Any = entrant.build(case, {"pairs_ahead": 2, "cutoff_slots": 12})
    model, policy = bound
    state = initial_state(model, seed=case.seed, checks_invariants=True)
    served = [advance_round(state, model, policy).routes for _ in range(case.n_rounds)]
    assert sum(int(one.served.sum()) for one in served if one is not None) > 10


def asks_of(*rows: tuple[float, int, int]) -> np.ndarray:
    """Return asks of given weights, hops and deadlines (ns)."""
    asks = np.zeros(len(rows), dtype=ASK_DTYPE)
    for ask, (weight, hops, deadline_ns) in zip(asks, rows, strict=True):
        ask["weight"], ask["n_hops"], ask["deadline_ns"] = weight, hops, deadline_ns
    return asks


def test_route_rules_choose_what_they_say() -> None:
    class View:
        now_ns = 100
        stock_birth_ns = (1, 2, 3)

    view: Any = View()
    asks = asks_of((1.0, 4, 900), (1.0, 2, 800), (2.0, 4, 700), (1.0, 3, 600))
    assert serve_shortest_route(view, asks) == (1, 2)
    assert serve_shortest_route(view, asks[2:]) == (0, 2)
    assert serve_earliest_deadline(view, asks) == (3, 2)
    assert serve_earliest_deadline(view, asks[:1]) == (0, 2)


def test_entrants_are_all_combinations_with_one_budget() -> None:
    baselines = [one for one in ENTRANTS.values() if not one.is_ours]
    ours = [one for one in ENTRANTS.values() if one.is_ours]
    assert {one.name for one in ours} == {"ceas", *(f"ceas, {swap}" for swap in SWAPS)}
    assert len(baselines) == 4 * len(SWAPS)
    assert all(dict(one.grid) == {"pairs_ahead": PAIRS_AHEAD, "cutoff_slots": CUTOFF_SLOTS} for one in baselines)
    # The whole grid of a baseline fits the budget, and ours has no more points.
    points = [math.prod(map(len, one.grid.values())) for one in ENTRANTS.values()]
    assert max(points) == len(PAIRS_AHEAD) * len(CUTOFF_SLOTS) <= 16


def test_the_contest_and_its_tables_take_the_event_kernel() -> None:
    setting = next(one for one in SETTINGS if one.is_on_events)
    setting = replace(setting, parameters={**setting.parameters, "n_slots": 30})
    entrants = [ENTRANTS["ceas"], ENTRANTS["shortest_route, asap"]]
    policies = contest(setting, entrants, measure=measure_routes, tuning_seeds=1, seeds=2, budget=2)
    document = {"setting": setting.name, "scenario": "S7", "regime": "hard", "wall_s": 0.0, "policies": policies}
    document["bounds"] = {"hindsight": [], "average": []}
    rows = setting_rows(document)
    assert [row["policy"] for row in rows] == ["ceas", "shortest_route, asap"]
    assert all(0.0 < row["V"] < 1.0 and row["seeds"] == 2 for row in rows)
    assert rows[0]["best baseline"] == "shortest_route, asap"
    assert verdict_rows([document])[0]["verdict"].endswith("too few instances to judge")


def test_what_delay_costs_is_paired_by_instance() -> None:
    def document(setting: str, **values: list[float]) -> dict[str, Any]:
        return {"setting": setting, "policies": [{"policy": key, "figures": {"V": v}} for key, v in values.items()]}

    late = document(f"S7 events swap 1 {LOCAL}", a=[0.1, 0.3, 0.2], b=[0.5, 0.5, 0.5], c=[0.1, 0.1, 0.1])
    at_once = document(f"S7 events swap 1 {GLOBAL}", b=[0.6, 0.6, 0.6], a=[0.2, 0.3, 0.4])
    rows = delay_rows([document("S2 load 0.7", a=[1.0]), at_once, late, document(f"S7 other {LOCAL}", a=[1.0])])
    assert [(row["setting"], row["policy"], row["seeds"]) for row in rows] == [
        ("S7 events swap 1", "a", 3),
        ("S7 events swap 1", "b", 3),
    ]
    assert rows[0]["V"] == pytest.approx(0.2)
    assert rows[0]["difference"] == pytest.approx(-0.1)
    assert rows[0]["s.e."] == pytest.approx(0.1 / math.sqrt(3))
    assert rows[1]["difference"] == pytest.approx(-0.1)


@pytest.mark.parametrize("options", [{"load": -1.0}, {"n_slots": 0}])
def test_impossible_cases_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(DomainError):
        case_of(**options)
