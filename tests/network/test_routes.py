"""End-to-end pairs against closed forms, and what nodes may know when."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import special, stats

import ceas.scheduling as policies
from ceas.errors import DomainError
from ceas.network.policy import (
    NEVER,
    WAIT,
    LinkView,
    Policy,
    attempt_always,
    attempt_on_request,
    route_rule,
    serve_first_ask,
    serve_first_ask_with_oldest,
    swap_asap,
    swap_nested,
    swap_when_complete,
)
from ceas.network.records import Fate, NetworkModel, WindowRecord
from ceas.network.route_records import NO_PARENT, RouteFate, RouteRecord
from ceas.network.routes import Arrivals, RouteClass, RouteTable, fastest_routes, swap_contraction
from ceas.network.simulation import advance_round, initial_state
from ceas.network.waiting import WAIT_BINS, wait_bin, wait_edges_ns, wait_quantile_s
from ceas.physics import secret_key_fraction

Chains = Callable[..., NetworkModel]


def route_policy(model: NetworkModel, **rules: Any) -> Policy:
    return replace(policies.oldest_first(model), **({"attempt": attempt_on_request} | rules))


def run(
    model: NetworkModel, seed: int = 1, *, trace_every: int = 0, rounds: int = 1, **rules: Any
) -> list[WindowRecord]:
    policy = route_policy(model, **rules)
    state = initial_state(model, seed=seed, trace_every=trace_every)
    return [advance_round(state, model, policy) for _ in range(rounds)]


def routes_of(records: list[WindowRecord]) -> list[RouteRecord]:
    return [record.routes for record in records if record.routes is not None]


def delivered(records: list[WindowRecord]) -> npt.NDArray[Any]:
    pairs = np.concatenate([record.pairs for record in routes_of(records)])
    return pairs[pairs["fate"] == RouteFate.DELIVERED]


def fidelity(pairs: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    return (1.0 + pairs["x_at_end"].astype(float) + pairs["y_at_end"] + pairs["z_at_end"]) / 4.0


# ---- what a swap does ------------------------------------------------------------------------------------------------


PAULIS = np.array([np.eye(2), [[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]])


def embed(matrix: npt.NDArray[Any], qubit: int, n: int) -> npt.NDArray[Any]:
    return np.kron(np.kron(np.eye(2**qubit), matrix), np.eye(2 ** (n - qubit - 1)))


def noisy_swap_correlators(w: float, gate_error: float, single_error: float, readout_error: float) -> list[float]:
    """Swap two Werner pairs (0, 1), (2, 3) by density matrices: qubits 1 and 2 are measured, with noise."""
    phi = np.zeros(4)
    phi[[0, 3]] = math.sqrt(0.5)
    pair = w * np.outer(phi, phi) + (1 - w) * np.eye(4) / 4
    rho = np.kron(pair, pair).astype(complex)

    def depolarise(state: npt.NDArray[Any], qubit: int, error: float) -> npt.NDArray[Any]:
        terms = [embed(p, qubit, 4) @ state @ embed(p, qubit, 4).conj().T for p in PAULIS[1:]]
        return (1 - error) * state + error / 3 * sum(terms)

    zero, one = embed(np.diag([1, 0]), 1, 4), embed(np.diag([0, 1]), 1, 4)
    cnot = zero + one @ embed(PAULIS[1], 2, 4)
    rho = cnot @ rho @ cnot.T
    rho = depolarise(depolarise(rho, 1, gate_error), 2, gate_error)
    hadamard = embed((PAULIS[1] + PAULIS[3]) / math.sqrt(2), 1, 4)
    rho = depolarise(hadamard @ rho @ hadamard, 1, single_error)
    out = np.zeros((4, 4), dtype=complex)
    for control in range(2):
        for target in range(2):
            projector = embed(np.diag([1 - control, control]), 1, 4) @ embed(np.diag([1 - target, target]), 2, 4)
            kept = (projector @ rho @ projector).reshape([2] * 8)
            ends = np.einsum("abcdebcf->adef", kept.reshape(2, 2, 2, 2, 2, 2, 2, 2)).reshape(4, 4)
            for read_control in range(2):
                for read_target in range(2):
                    chance = (1 - readout_error if read_control == control else readout_error) * (
                        1 - readout_error if read_target == target else readout_error
                    )
                    fix = np.linalg.matrix_power(PAULIS[3], read_control) @ np.linalg.matrix_power(
                        PAULIS[1], read_target
                    )
                    operator = np.kron(np.eye(2), fix)
                    out += chance * operator @ ends @ operator.conj().T
    signs = (1, -1, 1)
    return [float(s * np.trace(out @ np.kron(p, p)).real) for s, p in zip(signs, PAULIS[1:], strict=True)]


@pytest.mark.parametrize(
    ("gate", "single", "readout"), [(0, 0, 0), (0.03, 0, 0), (0, 0.02, 0), (0, 0, 0.04), (0.1, 0.05, 0.07)]
)
def test_swap_contraction_equals_density_matrices(gate: float, single: float, readout: float) -> None:
    found = swap_contraction(two_qubit_error=gate, one_qubit_error=single, readout_error=readout) * 0.9**2
    np.testing.assert_allclose(found, noisy_swap_correlators(0.9, gate, single, readout), atol=1e-12)


def test_readout_alone_contracts_fidelity_as_published() -> None:
    m = 0.93
    factors = swap_contraction(two_qubit_error=0.0, readout_error=1 - m)
    assert math.isclose(factors.mean(), (4 * m * m - 1) / 3)


@pytest.mark.parametrize("n_hops", [1, 2, 3, 5])
@pytest.mark.parametrize("swap", [swap_asap, swap_nested, swap_when_complete])
def test_perfect_memories_give_the_product_of_all_factors(n_hops: int, swap: Any, make_chain: Chains) -> None:
    """F = 1/4 + 3/4 w^n for n Werner links; with errors every swap adds its factors, whatever the order."""
    factors = np.array([0.97, 0.9, 0.95])
    start = np.array([0.93, 0.9, 0.96])
    model = make_chain(
        n_hops, {"per_round": 20}, success=0.3, repeaters={"swap_contraction": factors, "initial_correlators": start}
    )
    pairs = delivered(run(model, trace_every=1, swap=swap))
    assert len(pairs) >= 15
    for column, axis in enumerate("xyz"):
        expected = start[column] ** n_hops * factors[column] ** (n_hops - 1)
        np.testing.assert_allclose(pairs[f"{axis}_at_end"], expected, rtol=1e-6)


def test_key_bits_are_those_of_physics(make_chain: Chains) -> None:
    model = make_chain(
        2, {"per_round": 20, "use_class": RouteClass.KEY, "weight": 3.0}, success=0.5, initial_werner=0.98
    )
    (record,) = routes_of(run(model))
    bits = float(secret_key_fraction(0.98**2)) * record.served[0]
    np.testing.assert_allclose([record.key_bits[0], record.delivered_value[0]], [bits, 3 * bits], rtol=1e-9)


# ---- two links and a cutoff ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("p", "tau", "p_s"), [(0.1, 5, 1.0), (0.5, 2, 1.0), (0.2, 2, 0.5), (0.9, 0, 0.5)])
def test_two_links_with_cutoff_follow_closed_form(p: float, tau: int, p_s: float, make_chain: Chains) -> None:
    """E[T] = (1/p_s) (1 + 2q(1 - q^tau)) / (p (p + 2q(1 - q^tau))) attempts, and the delivered Werner parameter.

    4,000 independent requests, 5 standard errors each: false-alarm rate 6e-7.
    """
    n, spacing = 4_000, 10 * 2_000
    rate_hz = 2e5
    model = make_chain(
        2,
        {"per_round": n},
        success=p,
        round_ns=n * spacing,
        learning_ns=n * spacing,
        node_rate_hz=(rate_hz,) * 3,
        repeaters={"cutoff_ns": tau * 10, "swap_success_probability": p_s},
    )
    pairs = delivered(run(model, trace_every=1))
    assert len(pairs) == n
    arrival_ns = (pairs["request"] + 0.5) * spacing
    attempts = (pairs["end_ns"] - arrival_ns) / 10
    q = 1 - p
    exact = (1 + 2 * q * (1 - q**tau)) / (p * (p + 2 * q * (1 - q**tau))) / p_s
    assert abs(attempts.mean() - exact) < 5 * attempts.std() / math.sqrt(n)
    lam = math.exp(-2 * rate_hz * 10e-9)
    series = 2 * q * lam * (1 - (q * lam) ** tau) / (1 - q * lam)
    werner = 0.95**2 * p * (1 + series) / (p + 2 * q * (1 - q**tau))
    found = pairs["x_at_end"].astype(float)
    assert abs(found.mean() - werner) < 5 * found.std() / math.sqrt(n) + 1e-6


# ---- one link as a stock of perishable pairs -------------------------------------------------------------------------


def stock_model(
    make_chain: Chains, *, supply: float, demand: float, tau: float, slots: int, rate: float = 0.0
) -> NetworkModel:
    """Supply and demand per 1 us, nearly Poisson supply: an attempt of 1 ns succeeds with supply / 1000."""
    decay_hz = rate * 1e6
    minimum = 0.2501
    if tau < math.inf:
        lifetime_ns = round(tau * 1000)
        # The lifetime comes from the minimum fidelity: w falls from 0.95 to 0.9 at age tau.
        decay_hz = math.log(0.95 / 0.9) / (lifetime_ns * 1e-9)
        minimum = (1 + 3 * 0.9) / 4
    round_ns = 20_000_000
    return make_chain(
        1,
        {"arrivals": Arrivals.POISSON, "per_round": demand * round_ns / 1000, "deadline_ns": 1},
        period_ns=1,
        success=supply / 1000,
        slots=(slots, slots),
        node_rate_hz=(decay_hz / 2,) * 2,
        minimum_fidelity=minimum,
        round_ns=round_ns,
        learning_ns=round_ns,
    )


def test_one_slot_stock_follows_closed_form(make_chain: Chains) -> None:
    """Availability lam/(lam + mu), consumed F = 1/4 + (F0 - 1/4) mu/(mu + Gamma); 14,000 requests, 5 standard errors.

    Attempts of 1 ns make supply and stock Poisson to 1e-3; false-alarm rate 6e-7.
    """
    lam, mu, gamma = 1.0, 0.7, 0.4
    model = stock_model(make_chain, supply=lam, demand=mu, tau=math.inf, slots=1, rate=gamma)
    records = run(model, attempt=attempt_always, trace_every=1)
    (record,) = routes_of(records)
    n, exact = int(record.requested[0]), lam / (lam + mu)
    assert abs(record.served[0] / n - exact) < 5 * math.sqrt(exact * (1 - exact) / n) + 1e-3
    found = delivered(records)["x_at_end"].astype(float)
    assert abs(found.mean() - 0.95 * mu / (mu + gamma)) < 5 * found.std() / math.sqrt(len(found)) + 1e-3


@pytest.mark.parametrize(("supply", "demand", "tau"), [(1.0, 1.0, 3.0), (1.0, 1.5, 2.0)])
@pytest.mark.parametrize("is_oldest_first", [True, False])
def test_perishable_stock_follows_closed_form(
    supply: float, demand: float, tau: float, is_oldest_first: bool, make_chain: Chains
) -> None:
    """Utilisation of a stock with lost sales, oldest first (FIFO) and freshest first (LIFO).

    FIFO: U = 1 - P0 e^{(l-m)t}, 1/P0 = 1 + l (e^{(l-m)t} - 1)/(l - m). LIFO: a pair's age when used is a busy period,
    U = int_0^t sqrt(m/l) I1(2x sqrt(lm)) e^{-(l+m)x}/x dx. 20,000 pairs; neighbours in a stock are correlated, so 5
    standard errors are taken as of a quarter as many; false-alarm rate below 1e-6.
    """
    model = stock_model(make_chain, supply=supply, demand=demand, tau=tau, slots=60)
    rule = serve_first_ask_with_oldest if is_oldest_first else serve_first_ask
    (record,) = run(model, attempt=attempt_always, route=rule)
    difference = supply - demand
    if is_oldest_first:
        grown = tau if difference == 0 else (math.exp(difference * tau) - 1) / difference
        exact = 1 - math.exp(difference * tau) / (1 + supply * grown)
    else:
        x = np.linspace(1e-9, tau, 20_001)
        root = math.sqrt(supply * demand)
        density = (
            math.sqrt(demand / supply) * special.ive(1, 2 * x * root) * np.exp((2 * root - supply - demand) * x) / x
        )
        exact = float(np.trapezoid(density, x))
    generated = int(record.generated[0])
    used = int(record.fates[0, Fate.ROUTE])
    assert generated > 19_000
    assert abs(used / generated - exact) < 5 * math.sqrt(exact * (1 - exact) / (generated / 4)) + 2e-3


def test_utilisation_of_one_slot_with_hard_cutoff(make_chain: Chains) -> None:
    """U = 1 - e^{-mu tau}; about 8,000 pairs, 5 standard deviations: false-alarm rate 6e-7."""
    model = stock_model(make_chain, supply=1.0, demand=1.0, tau=2.0, slots=1)
    (record,) = run(model, attempt=attempt_always)
    exact, generated = 1 - math.exp(-2.0), int(record.generated[0])
    assert generated > 7_000
    assert abs(record.fates[0, Fate.ROUTE] / generated - exact) < 5 * math.sqrt(exact * (1 - exact) / generated) + 1e-3


# ---- who knows what, and when ----------------------------------------------------------------------------------------


def taken_slots(model: NetworkModel, until_ns: int, **rules: Any) -> list[tuple[int, ...]]:
    """Return the slots that each node has taken after every nanosecond (rounds of 1 ns end after their events)."""
    policy = route_policy(model, **rules)
    state = initial_state(model, seed=1, checks_invariants=True)
    taken = []
    for _ in range(until_ns):
        advance_round(state, model, policy)
        taken.append(tuple((model.nodes.memory_slots - state.free_slots).tolist()))
    return taken


def test_ends_hold_their_slots_until_news_of_the_swap_arrives(make_chain: Chains) -> None:
    """Pairs at 10 ns, measurement until 13 ns, latencies 4 and 9 ns: delivered when the farther end knows."""
    model = make_chain(
        2,
        {"arrivals": Arrivals.SATURATED},
        success=1.0,
        latency_ns=(4, 9),
        round_ns=1,
        learning_ns=1,
        repeaters={"bell_measurement_ns": 3},
        slots=(1, 2, 1),
    )
    taken = taken_slots(model, 23)
    assert taken[9] == (0, 0, 0)
    assert taken[10:13] == [(1, 2, 1)] * 3
    assert taken[13:22] == [(1, 0, 1)] * 9
    assert taken[22] == (0, 0, 0)


def test_failed_swap_frees_each_end_when_it_hears(make_chain: Chains) -> None:
    model = make_chain(
        2,
        {"arrivals": Arrivals.SATURATED},
        period_ns=100,
        success=1.0,
        latency_ns=(4, 9),
        round_ns=1,
        learning_ns=1,
        repeaters={"swap_success_probability": 0.0},
    )
    taken = taken_slots(model, 112)
    assert taken[99] == (0, 0, 0)
    assert taken[100:104] == [(1, 0, 1)] * 4
    assert taken[104:109] == [(0, 0, 1)] * 5
    assert taken[109] == (0, 0, 0)


def test_measurement_before_the_news_loses_the_other_pair(make_chain: Chains) -> None:
    """Node 1 fails at 10 ns; node 2, 7 ns away, does not know at 15 ns when its right pair comes, and joins it.

    Node 3 then holds a lost half until it hears of the failure, at 10 + 7 + 5 ns, not of the swap at 15 + 5 ns.
    """
    model = make_chain(
        3,
        {"arrivals": Arrivals.SATURATED},
        period_ns=(10, 10, 15),
        success=1.0,
        latency_ns=(2, 7, 5),
        round_ns=1,
        learning_ns=1,
        slots=(1, 2, 2, 1),
        repeaters={"swap_success_probability": [1.0, 0.0, 1.0, 1.0]},
    )
    taken = taken_slots(model, 24)
    assert taken[10] == (1, 0, 1, 0)
    assert taken[12] == (0, 0, 1, 0)
    assert taken[15:20] == [(0, 0, 0, 1)] * 5
    # The middle link has been asked again at 17 ns; the first had no free slot when its attempt began at 10 ns.
    assert taken[20:22] == [(0, 1, 1, 1)] * 2
    assert taken[22] == (0, 1, 1, 0)


def test_nested_order_waits_for_news_of_the_inner_swap(make_chain: Chains) -> None:
    """Four links at 10 ns: nodes 1 and 3 swap at once, node 2 only when it has heard of both, 6 ns later."""
    swaps = {}
    for swap in (swap_asap, swap_nested, swap_when_complete):
        model = make_chain(
            4, {"arrivals": Arrivals.SATURATED}, success=1.0, latency_ns=(6, 6, 6, 6), round_ns=60, learning_ns=60
        )
        (record,) = run(model, swap=swap, trace_every=1)
        assert record.routes is not None
        pairs = record.routes.pairs[record.routes.pairs["request"] == 0]
        swaps[swap.function.__name__] = pairs["end_ns"][pairs["fate"] == RouteFate.SWAPPED].tolist()
        assert (
            pairs["end_ns"][-1]
            == {"swap_asap": 28, "swap_nested": 28, "swap_when_complete": 40}[swap.function.__name__]
        )
    assert swaps["swap_asap"] == [10] * 6
    assert swaps["swap_nested"] == [10] * 4 + [16] * 2
    # Node 2 hears of the outer links after 6 ns; nodes 1 and 3 of the farthest after 12.
    assert swaps["swap_when_complete"] == [16] * 2 + [22] * 4


def test_swapped_pairs_record_their_parents(make_chain: Chains) -> None:
    model = make_chain(
        3, {"per_round": 30}, success=0.3, latency_ns=(2, 2, 2), repeaters={"swap_success_probability": 0.7}
    )
    (record,) = run(model, trace_every=1)
    assert record.routes is not None
    rows = {int(row["pair_id"]): row for row in record.routes.pairs}
    assert len(rows) == len(record.routes.pairs)
    for row in record.routes.pairs:
        if row["pair_id"] >= 0:
            assert row["parent_left"] == row["parent_right"] == NO_PARENT
            continue
        left, right = rows[int(row["parent_left"])], rows[int(row["parent_right"])]
        assert left["fate"] == right["fate"] == RouteFate.SWAPPED
        assert left["end_ns"] == right["end_ns"] == row["birth_ns"]
        assert (left["node_a"], left["node_b"], right["node_b"]) == (row["node_a"], right["node_a"], row["node_b"])


# ---- random numbers and records --------------------------------------------------------------------------------------


def test_policies_meet_the_same_requests_and_swap_outcomes(make_chain: Chains) -> None:
    flow = {"arrivals": Arrivals.POISSON, "per_round": 60, "deadline_ns": 4_000}
    model = make_chain(2, flow, success=0.2, repeaters={"swap_success_probability": 0.5}, round_ns=20_000)
    failures, arrivals = [], []
    for attempt in (attempt_always, attempt_on_request):
        (record,) = run(model, attempt=attempt, trace_every=1)
        assert record.routes is not None
        pairs = record.routes.pairs
        arrivals.append(int(record.routes.requested[0]))
        done = set(pairs["request"][pairs["fate"] == RouteFate.DELIVERED].tolist())
        failed = pairs["request"][pairs["fate"] == RouteFate.SWAP_FAILED]
        failures.append({request: int(np.sum(failed == request)) for request in done})
    assert arrivals[0] == arrivals[1] > 30
    common = failures[0].keys() & failures[1].keys()
    assert len(common) > 30
    assert all(failures[0][request] == failures[1][request] for request in common)
    assert sum(failures[0].values()) > 20


def test_poisson_arrivals_have_exponential_gaps(make_chain: Chains) -> None:
    """Kolmogorov-Smirnov of about 5,000 gaps; false-alarm rate 1e-6."""
    flow = {"arrivals": Arrivals.POISSON, "per_round": 5_000, "deadline_ns": 100}
    model = make_chain(1, flow, success=1.0, period_ns=1_000, round_ns=10**8, learning_ns=10**8)
    (record,) = run(model, attempt=attempt_always, trace_every=1, route=serve_first_ask)
    assert record.routes is not None
    ends = delivered([record])
    assert len(ends) > 4_700
    gaps = np.diff(ends["end_ns"][np.diff(ends["request"], prepend=-1) == 1])
    assert stats.kstest(gaps / 20_000.0, "expon").pvalue > 1e-6


def test_share_of_diverted_deliveries_is_binomial(make_chain: Chains) -> None:
    """5 standard deviations of about 4,000 choices: false-alarm rate 6e-7. A diverted request goes on."""
    model = make_chain(2, {"per_round": 4_000}, success=0.9, test_share=0.2, round_ns=4 * 10**6, learning_ns=10**6)
    (record,) = routes_of(run(model))
    n = int(record.served[0] + record.diverted[0])
    assert record.served[0] == record.requested[0] == 4_000
    assert abs(record.diverted[0] - 0.2 * n) < 5 * math.sqrt(0.16 * n)
    assert record.test_count[0] == record.diverted[0]
    np.testing.assert_allclose(record.test_correlator_sum[0] / record.test_count[0], 0.95**2, rtol=1e-9)


def test_tests_and_minimum_fidelity(make_chain: Chains) -> None:
    tests = make_chain(2, {"per_round": 50, "use_class": RouteClass.TEST}, success=0.5)
    (record,) = routes_of(run(tests))
    assert record.test_count[0] == record.served[0] >= 49
    strict = make_chain(2, {"per_round": 1, "minimum_fidelity": 0.95}, success=0.5)
    (record,) = routes_of(run(strict))
    assert record.served[0] == 0
    assert record.below_minimum[0] > 100


def test_deadline_drops_and_frees(make_chain: Chains) -> None:
    flow = {"arrivals": Arrivals.POISSON, "per_round": 200, "deadline_ns": 150}
    model = make_chain(3, flow, success=0.08)
    policy = route_policy(model)
    state = initial_state(model, seed=3, checks_invariants=True)
    records = routes_of([advance_round(state, model, policy) for _ in range(3)])
    requested, served, dropped = (
        sum(int(getattr(r, name)[0]) for r in records) for name in ("requested", "served", "dropped")
    )
    assert min(served, dropped) > 20
    assert requested == served + dropped + records[-1].waiting[0]


@route_rule
def serve_heaviest_late(view: LinkView, asks: npt.NDArray[Any]) -> tuple[int, int]:
    """Wait until shortly before the deadline of the heaviest request, and serve it."""
    best = 0
    for k in range(1, len(asks)):
        if asks[k]["weight"] > asks[best]["weight"]:
            best = k
    if view.now_ns < asks[best]["deadline_ns"] - 20:
        return WAIT, asks[best]["deadline_ns"] - 20
    return best, 0


def test_a_policy_is_asked_again_when_it_wanted_to_be_though_the_first_request_has_ended(
    make_chain: Chains, make_flow: type
) -> None:
    """One stored pair and no event of its link: the first request of two is dropped while the policy waits."""
    common = {"path": (0, 1), "arrivals": Arrivals.PERIODIC, "per_round": 1}
    flows = (
        make_flow(**common, deadline_ns=100, weight=1.0),
        make_flow(**common, deadline_ns=1000, weight=2.0),
    )
    # The next success, at which the link would be looked at in any case, comes after both deadlines.
    model = make_chain(1, slots=(1, 1), success=0.002, flows=flows)
    records = run(model, route=serve_heaviest_late, attempt=attempt_always, trace_every=1)
    (record,) = routes_of(records)
    assert record.requested.tolist() == [1, 1]
    assert record.served.tolist() == [0, 1]
    assert delivered(records)["end_ns"].tolist() == [5_980]


def test_waiting_requests_find_room(make_chain: Chains) -> None:
    """Hundreds of requests at once: the arrays grow, and nothing is lost."""
    flow = {"arrivals": Arrivals.POISSON, "per_round": 500, "deadline_ns": 10**9}
    model = make_chain(2, flow, success=0.001)
    (record,) = routes_of(run(model))
    assert record.requested[0] == record.served[0] + record.waiting[0] > 400
    assert record.waiting[0] > 300


def test_minimal_histogram_error() -> None:
    edges = wait_edges_ns()
    assert len(edges) == WAIT_BINS + 1
    for wait in (0, 1, 15, 16, 17, 100, 12_345, 10**9, 10**15, 1 << 61):
        at = wait_bin(wait)
        assert edges[at] <= wait < edges[at + 1]
        assert edges[at + 1] - edges[at] <= max(1, wait / 16 * (1 + 1e-12))
    waits = np.random.default_rng(1).exponential(1e6, 20_000)
    histogram = np.bincount([wait_bin(int(wait)) for wait in waits], minlength=WAIT_BINS)
    assert abs(wait_quantile_s(histogram, 0.99) / (np.quantile(waits, 0.99) * 1e-9) - 1) < 0.01
    assert math.isnan(wait_quantile_s(np.zeros(WAIT_BINS, dtype=np.int64), 0.5))
    with pytest.raises(DomainError):
        wait_quantile_s(histogram, 1.5)


# ---- routes ----------------------------------------------------------------------------------------------------------


def test_routes_are_the_cheapest_paths(sketch: Callable[..., NetworkModel]) -> None:
    edges = ((0, 1), (0, 2), (1, 3), (2, 3))
    model = sketch(
        edges=edges,
        slots=(4,) * 4,
        period_ns=(10,) * 4,
        success=(0.1, 0.2, 0.1, 0.2),
        initial_werner=(0.9,) * 4,
        decay_hz=(1.0,) * 4,
        keys=(0.0,) * 4,
    )
    best = fastest_routes(model.links, [(0, 3)])
    assert best.nodes(model.links).tolist() == [0, 2, 3]
    both = fastest_routes(model.links, [(0, 3), (3, 1)], n_routes=2)
    assert both.nodes(model.links).tolist() == [0, 2, 3, 0, 1, 3, 3, 1, 3, 2, 0, 1]
    with pytest.raises(DomainError, match="must join different"):
        fastest_routes(model.links, [(1, 1)])
    with pytest.raises(DomainError, match="nodes 0 and 3 have none"):
        RouteTable.from_paths([[0, 3]], model.links)
    loop = RouteTable(
        first_hop=np.array([0, 4]), link=np.array([0, 2, 3, 1]), source=np.array([0]), target=np.array([0])
    )
    with pytest.raises(DomainError, match="simple paths"):
        loop.nodes(model.links)


def test_demand_needs_routes_and_repeaters(make_chain: Chains) -> None:
    model = make_chain(2)
    for missing in ("routes", "repeaters"):
        with pytest.raises(DomainError, match="must come with"):
            replace(model, **{missing: None})
    assert NEVER > 10**18
