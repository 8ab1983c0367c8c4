"""Random networks with routes, limits, modes and drift, their invariants checked between any two events."""

import io
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ceas.scheduling as policies
from ceas.errors import CeasError
from ceas.network.policy import (
    Policy,
    attempt_always,
    attempt_on_request,
    serve_first_ask,
    serve_first_ask_with_oldest,
    swap_asap,
    swap_nested,
    swap_when_complete,
)
from ceas.network.records import Fate, NetworkModel, WindowRecord
from ceas.network.route_records import RouteFate
from ceas.network.routes import Arrivals, DriftSchedule, RouteClass, fastest_routes
from ceas.network.simulation import NetworkState, advance_round, initial_state


def random_network(seed: int, sketch: Callable[..., NetworkModel], make_flow: type[Any]) -> tuple[NetworkModel, Policy]:
    """Make a random network of 3 to 6 nodes on which routes, learners and keys compete for few slots."""
    rng = np.random.default_rng(seed)
    n_nodes = int(rng.integers(3, 7))
    tree = [(int(rng.integers(0, node)), node) for node in range(1, n_nodes)]
    extra = [(a, b) for a in range(n_nodes) for b in range(a + 1, n_nodes) if (a, b) not in tree]
    edges = tuple(sorted(tree + [extra[at] for at in rng.permutation(len(extra))[:2]]))
    n_links = len(edges)
    period = tuple(int(x) for x in rng.integers(4, 40, n_links))
    columns: dict[str, Any] = {
        "edges": edges,
        "slots": tuple(int(x) for x in rng.integers(2, 6, n_nodes)),
        "period_ns": period,
        "success": tuple(float(x) for x in rng.choice([0.05, 0.3, 1.0], n_links)),
        "initial_werner": tuple(float(x) for x in rng.choice([0.9, 0.97], n_links)),
        "decay_hz": (1e5,) * n_links,
        "node_rate_hz": tuple(float(x) for x in rng.choice([1e4, 3e5], n_nodes)),
        "latency_ns": tuple(int(x) for x in rng.integers(0, 40, n_links)),
        "learner_link": (int(rng.integers(n_links)),),
        "pairs_per_shot": int(rng.integers(1, 3)),
        "keys": tuple(float(x) for x in rng.choice([0.0, 20.0], n_links)),
        "test_share": float(rng.choice([0.0, 0.2])),
        "minimum_fidelity": 0.6,
        "round_ns": 6_000,
        "learning_ns": 4_000,
    }
    links = sketch(**columns).links
    flows = []
    for _ in range(int(rng.integers(1, 5))):
        source, target = (int(node) for node in rng.permutation(n_nodes)[:2])
        flows.append(
            make_flow(
                path=tuple(int(node) for node in fastest_routes(links, [(source, target)]).nodes(links)),
                use_class=RouteClass(int(rng.integers(3))),
                arrivals=Arrivals(int(rng.integers(3))),
                per_round=float(rng.choice([2.0, 30.0])),
                backlog=int(rng.integers(1, 4)),
                deadline_ns=int(rng.choice([200, 2_000])),
                minimum_fidelity=float(rng.choice([0.0, 0.75])),
            )
        )
    repeaters = {
        "swap_success_probability": float(rng.choice([0.5, 1.0])),
        "bell_measurement_ns": int(rng.choice([0, 11])),
        "swap_contraction": np.array([0.98, 0.96, 0.97]),
        "communication_qubits": int(rng.choice([0, 1, 2])),
        "transfer_ns": int(rng.choice([0, 5])),
        "transfer_contraction": 0.995,
        "cutoff_ns": int(rng.choice([150, 10**6])),
        "modes": int(rng.choice([0, 0, 2])),
    }
    drift = DriftSchedule(
        time_ns=np.array([1_500, 1_500, 7_000]),
        link=np.array([0, 1, 0]),
        success_factor=np.array([0.3, 1.0, 1.0]),
        decay_factor=np.array([1.0, 4.0, 0.5]),
        fidelity_factor=np.array([1.0, 0.97, 0.9]),
        is_announced=bool(rng.integers(2)),
    )
    model = sketch(**columns, flows=tuple(flows), repeaters=repeaters, drift=drift if rng.random() < 0.4 else None)
    name = str(rng.choice(["oldest_first", "freshest_first", "ceas"]))
    policy = replace(
        getattr(policies, name)(model),
        route=[serve_first_ask, serve_first_ask_with_oldest][int(rng.integers(2))],
        swap=[swap_asap, swap_nested, swap_when_complete][int(rng.integers(3))],
        routes_first=bool(rng.integers(2)),
    )
    if rng.random() < 0.5:
        policy = replace(policy, attempt=[attempt_always, attempt_on_request][int(rng.integers(2))])
    return model, policy


def assert_equal_records(left: WindowRecord, right: WindowRecord) -> None:
    for column in fields(WindowRecord):
        if column.name != "routes":
            np.testing.assert_array_equal(getattr(left, column.name), getattr(right, column.name), err_msg=column.name)
    assert left.routes is not None
    assert right.routes is not None
    for column in fields(left.routes):
        found, expected = getattr(left.routes, column.name), getattr(right.routes, column.name)
        np.testing.assert_array_equal(found, expected, err_msg=column.name)


@given(seed=st.integers(0, 100_000))
@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_nothing_is_lost_or_used_twice(seed: int, sketch: Callable[..., NetworkModel], make_flow: type[Any]) -> None:
    model, policy = random_network(seed, sketch, make_flow)
    state = initial_state(model, seed=seed, trace_every=1, checks_invariants=True)
    records = [advance_round(state, model, policy) for _ in range(2)]
    demand = model.route_demand
    assert demand is not None
    born = sum(record.generated for record in records)
    closed = sum(record.fates[:, 1:].sum(axis=1) for record in records)
    np.testing.assert_array_equal(born, closed + records[-1].fates[:, Fate.ALIVE])
    routes = [record.routes for record in records if record.routes is not None]
    taken = sum(record.fates[:, Fate.ROUTE] for record in records)
    ended = sum(record.pair_fates[:, 1:].sum(axis=1) for record in routes)
    np.testing.assert_array_equal(taken, ended + routes[-1].pair_fates[:, RouteFate.HELD])
    requested, served, dropped = (
        sum(getattr(record, name) for record in routes) for name in ("requested", "served", "dropped")
    )
    np.testing.assert_array_equal(requested, served + dropped + routes[-1].waiting)
    pairs = np.concatenate([record.pairs for record in routes])
    assert len(np.unique(pairs["pair_id"])) == len(pairs)
    assert np.all(pairs["end_ns"] >= pairs["birth_ns"])
    used = pairs[pairs["fate"] == RouteFate.DELIVERED]
    fidelity = (1.0 + used["x_at_end"] + used["y_at_end"] + used["z_at_end"]) / 4.0
    assert np.all(fidelity >= demand.minimum_fidelity[used["flow"]] - 1e-6)
    assert sum(int(record.fidelity_at_use.sum()) for record in routes) == int(served.sum())
    assert sum(int(record.wait_histogram.sum()) for record in routes) == int(served.sum())


@pytest.mark.parametrize("seed", [1, 4, 9, 12, 20])
def test_resumed_and_unchecked_runs_are_the_same_to_the_bit(
    seed: int, sketch: Callable[..., NetworkModel], make_flow: type[Any]
) -> None:
    model, policy = random_network(seed, sketch, make_flow)
    whole = initial_state(model, seed=seed, trace_every=2, checks_invariants=True)
    expected = [advance_round(whole, model, policy) for _ in range(4)]
    parted = initial_state(model, seed=seed, trace_every=2)
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


def test_checks_find_a_slot_that_is_not_there(sketch: Callable[..., NetworkModel], make_flow: type[Any]) -> None:
    model, policy = random_network(3, sketch, make_flow)
    state = initial_state(model, seed=3, checks_invariants=True)
    state.free_slots[0] += 1
    with pytest.raises(CeasError, match="memory slots do not add up"):
        advance_round(state, model, policy)
