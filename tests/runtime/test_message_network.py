"""The seeded message network from end to end: machines, tags and delays."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ceas.authentication import Authenticator, KeyPools, Profile, Rejected, RejectionReason, epoch_hash
from ceas.consensus import (
    BroadcastRejection,
    Claims,
    Echo,
    Message,
    Propose,
    Ready,
    UpdateRejection,
    decode_update,
    encode_update,
    max_tolerated,
    parameter_digest,
    value_digest,
)
from ceas.errors import DomainError
from ceas.runtime.message_network import BroadcastOutcome, MessageTiming, Outgoing, message_timing, run_broadcast

N_PARAMETERS = 24
THETA = parameter_digest(np.zeros(N_PARAMETERS))
CLAIMS = Claims(shots=100, contraction=0.5, quantum_fisher=2.0)
HEADER_AND_TAG = 54 + 16


def validate(value: bytes, proposer: int) -> Rejected | None:
    result = decode_update(value, proposer, n_parameters=N_PARAMETERS)
    return result if isinstance(result, Rejected) else None


def updates(n_nodes: int, seed: int = 0) -> list[bytes]:
    rng = np.random.default_rng(seed)
    return [encode_update(rng.normal(size=N_PARAMETERS), CLAIMS) for _ in range(n_nodes)]


def keyed(n_nodes: int, profile: Profile = "qkd_seeded", enrolled_key_bits: int = 256, **options: Any) -> Authenticator:
    epoch = epoch_hash(n_nodes=n_nodes, tolerated_byzantine=max_tolerated(n_nodes), profile=profile, start_digest=THETA)
    pools = KeyPools(n_nodes, enrolled_key_bits=enrolled_key_bits, seed=5)
    return Authenticator(pools, profile=profile, epoch=epoch, **options)


def plane(n_nodes: int, jitter_s: float = 0.0) -> MessageTiming:
    positions = np.random.default_rng(1).uniform(0, 300, (n_nodes, 2))
    distance: NDArray[np.float64] = np.hypot(*(positions[:, None] - positions[None]).transpose(2, 0, 1))
    return message_timing(distance / 2e5, processing_delay_s=1e-4, jitter_s=jitter_s)


def run(n_nodes: int = 7, **changes: Any) -> BroadcastOutcome:
    arguments: dict[str, Any] = {
        "values": updates(n_nodes),
        "training_round": 1,
        "parameter_digest": THETA,
        "tolerated_byzantine": max_tolerated(n_nodes),
        "timing": plane(n_nodes),
        "validate": validate,
        "seed": 3,
    } | changes
    if "authenticator" not in arguments:
        arguments["authenticator"] = keyed(n_nodes)
    return run_broadcast(arguments.pop("values"), **arguments)


def same(first: BroadcastOutcome, second: BroadcastOutcome) -> bool:
    pairs = [(getattr(first, f.name), getattr(second, f.name)) for f in dataclasses.fields(BroadcastOutcome)]
    return all(np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b for a, b in pairs)


def test_fifty_honest_nodes_deliver_everything_in_three_delays() -> None:
    n_nodes = 50
    values = updates(n_nodes)
    outcome = run(n_nodes, values=values)
    assert outcome.values == tuple(values)
    assert all(delivered == dict(enumerate(values)) for delivered in outcome.delivered)
    assert outcome.is_agreed
    assert outcome.message_delays == 3
    assert outcome.frames == 3 * n_nodes * (n_nodes - 1) == 7350
    proposal, votes = 32 + len(values[0]), 34 * n_nodes
    assert outcome.bytes_sent == n_nodes * (n_nodes - 1) * (proposal + 2 * votes + 3 * HEADER_AND_TAG)
    assert outcome.starved_frames == outcome.starved_links == outcome.key_bits_consumed == 0
    assert outcome.rejected_frames == {}
    assert not outcome.equivocations.any()


@pytest.mark.parametrize("n_nodes", [4, 5, 10])
def test_equal_delays_give_exactly_three_of_them(n_nodes: int) -> None:
    timing = message_timing(np.full((n_nodes, n_nodes), 2e-3), processing_delay_s=5e-4)
    outcome = run(n_nodes, timing=timing)
    assert outcome.elapsed_ns == 3 * 2_500_000
    assert timing.tick_ns == 2_500_001


def test_elapsed_time_is_the_shortest_path_of_quorums_on_an_unequal_network() -> None:
    """Closed form for honest nodes: echo at the last proposal, ready and delivery at the (n-f)-th vote."""
    n_nodes, timing = 13, plane(13)
    delay = np.array(timing.delay_ns, dtype=np.float64)
    np.fill_diagonal(delay, 0)
    needed = n_nodes - max_tolerated(n_nodes)
    echoed = delay.max(axis=0)
    ready = np.sort(echoed[:, None] + delay, axis=0)[needed - 1]
    delivered = np.sort(ready[:, None] + delay, axis=0)[needed - 1]
    assert run(n_nodes, timing=timing).elapsed_ns == delivered.max()


def test_equal_seeds_give_equal_outcomes_and_jitter_depends_on_seed_and_round() -> None:
    timing = plane(7, jitter_s=1e-3)
    first = run(timing=timing)
    assert all(same(first, run(timing=timing)) for _ in range(9))
    assert run(timing=timing, seed=4).elapsed_ns != first.elapsed_ns
    assert run(timing=timing, training_round=2).elapsed_ns != first.elapsed_ns


@pytest.mark.parametrize("seed", range(20))
def test_jitter_changes_no_value_and_stays_below_the_deadline(seed: int) -> None:
    timing = plane(7, jitter_s=3e-3)
    outcome = run(timing=timing, seed=seed)
    assert outcome.values == tuple(updates(7))
    assert outcome.rejected_frames == {}
    assert 3 <= outcome.message_delays <= 5
    assert outcome.elapsed_ns <= 4 * timing.tick_ns


def silence(*nodes: int) -> Callable[[list[Outgoing], int], list[Outgoing]]:
    return lambda outbox, node: [] if node in nodes else outbox


def test_silent_nodes_cost_their_values_and_the_wait_until_the_deadline() -> None:
    outcome = run(byzantine=frozenset({1, 4}), tamper=silence(1, 4))
    values = updates(7)
    assert outcome.values == tuple(None if node in (1, 4) else values[node] for node in range(7))
    assert outcome.is_agreed
    assert outcome.elapsed_ns == 4 * plane(7).tick_ns
    assert outcome.frames == 5 * 6 * 3


def test_more_silent_nodes_than_tolerated_stop_delivery_but_not_agreement() -> None:
    outcome = run(byzantine=frozenset({1, 4, 5}), tamper=silence(1, 4, 5))
    assert outcome.values == (None,) * 7
    assert outcome.is_agreed
    assert outcome.message_delays == 0


def test_an_equivocating_proposer_cannot_split_honest_nodes() -> None:
    other = updates(7, seed=9)[2]

    def tamper(outbox: list[Outgoing], node: int) -> list[Outgoing]:
        if node != 2 or not isinstance(outbox[0].message, Propose):
            return outbox
        split = [
            o if o.destination < 4 else Outgoing(destination=o.destination, message=Propose(other, THETA))
            for o in outbox
        ]
        return [*split, Outgoing(destination=0, message=Propose(other, THETA))]

    outcome = run(byzantine=frozenset({2}), tamper=tamper)
    assert outcome.is_agreed
    values = updates(7)
    assert outcome.values == tuple(None if node == 2 else values[node] for node in range(7))
    assert outcome.rejected_frames == {BroadcastRejection.EQUIVOCATION: 1}
    assert outcome.equivocations.tolist() == [0, 0, 1, 0, 0, 0, 0]


def test_a_value_told_to_a_quorum_reaches_the_rest_by_pulling() -> None:
    def tamper(outbox: list[Outgoing], node: int) -> list[Outgoing]:
        is_proposal = bool(outbox) and node == 2 and isinstance(outbox[0].message, Propose)
        return [o for o in outbox if o.destination != 6] if is_proposal else outbox

    outcome = run(byzantine=frozenset({2}), tamper=tamper)
    assert outcome.values == tuple(updates(7))
    assert outcome.delivered[6][2] == updates(7)[2]
    assert outcome.rejected_frames == {}
    assert outcome.message_delays >= 5  # ready, pull, value


def test_lying_votes_for_a_value_that_nobody_proposed_have_no_effect() -> None:
    forged = (5, value_digest(1, 5, b"forged"))

    def tamper(outbox: list[Outgoing], node: int) -> list[Outgoing]:
        if node not in (1, 2):
            return outbox
        kinds: dict[type, Message] = {Echo: Echo((forged,)), Ready: Ready((forged,))}
        lies = [(o, kinds.get(type(o.message))) for o in outbox]
        return [o if lie is None else Outgoing(destination=o.destination, message=lie) for o, lie in lies]

    outcome = run(byzantine=frozenset({1, 2}), tamper=tamper)
    assert outcome.values == tuple(updates(7))
    assert outcome.is_agreed


def test_replayed_frames_are_rejected_and_change_nothing() -> None:
    def tamper(outbox: list[Outgoing], node: int) -> list[Outgoing]:
        return [*outbox, *outbox] if node == 3 else outbox

    outcome, plain = run(tamper=tamper), run()
    assert outcome.values == plain.values
    assert outcome.elapsed_ns == plain.elapsed_ns
    assert outcome.rejected_frames == {RejectionReason.REPLAYED_SEQUENCE: 3 * 6}
    assert outcome.frames == plain.frames + 3 * 6


def test_frames_of_other_nodes_rounds_and_keys_are_rejected() -> None:
    heard: list[bytes] = []

    def listen(outbox: list[Outgoing], node: int) -> list[Outgoing]:
        heard.extend(o.wire for o in outbox if o.wire is not None and o.destination == 0 and node == 1)
        return outbox

    authenticator = keyed(7)
    run(authenticator=authenticator, tamper=listen)
    own: list[bytes] = []
    old = heard[0]

    def forge(outbox: list[Outgoing], node: int) -> list[Outgoing]:
        if node != 2 or own:
            return outbox
        mine = next(o for o in outbox if o.destination == 0)
        assert mine.wire is not None
        own.append(mine.wire)
        as_one = mine.wire[:33] + b"\0\1" + mine.wire[35:]  # source field: node 1
        bad = mine.wire[:-1] + bytes([mine.wire[-1] ^ 1])
        # First, so that the sequence number of the bad frame is not burnt yet when it arrives.
        return [*(dataclasses.replace(mine, wire=wire) for wire in (old, as_one, bad, b"noise")), *outbox]

    outcome = run(authenticator=authenticator, training_round=2, byzantine=frozenset({2}), tamper=forge)
    assert outcome.values == tuple(updates(7))
    assert outcome.rejected_frames == {
        RejectionReason.BAD_TAG: 1,
        RejectionReason.MALFORMED: 1,
        RejectionReason.WRONG_SOURCE: 2,
    }


def test_unusable_updates_are_refused_by_all_and_not_delivered() -> None:
    values = updates(7)
    values[4] = encode_update(np.full(N_PARAMETERS, np.nan), CLAIMS)
    values[5] = encode_update(np.zeros(3), CLAIMS)
    outcome = run(values=values, byzantine=frozenset({4, 5}))
    assert [value is None for value in outcome.values] == [False] * 4 + [True, True, False]
    assert outcome.rejected_frames == {UpdateRejection.OUT_OF_RANGE: 5, UpdateRejection.WRONG_LENGTH: 5}


def test_one_time_pads_run_out_and_are_counted() -> None:
    # Nine pads a direction and pair: three frames a round last for three rounds.
    authenticator = keyed(4, "its128", enrolled_key_bits=256 + 18 * 128)
    for training_round in (1, 2, 3):
        outcome = run(4, authenticator=authenticator, training_round=training_round)
        assert outcome.values == tuple(updates(4))
        assert outcome.starved_frames == 0
        assert outcome.key_bits_consumed == 128 * outcome.frames == 128 * 36
    outcome = run(4, authenticator=authenticator, training_round=4)
    assert outcome.values == (None,) * 4
    assert outcome.frames == outcome.key_bits_consumed == 0
    assert outcome.starved_frames == 4 * 3 + 4 * 3  # proposals, and each node's echo of its own


def test_refreshed_seeds_are_paid_for_in_their_round() -> None:
    authenticator = keyed(4, links=[(0, 1), (1, 2), (2, 3)], reseed_rounds=2)
    authenticator.pools.deposit([0, 1], [1, 2], [300, 300], [300.0, 300.0])
    outcomes = [run(4, authenticator=authenticator, training_round=training_round) for training_round in (1, 2, 3)]
    assert [outcome.key_bits_consumed for outcome in outcomes] == [0, 512, 0]
    assert [outcome.starved_links for outcome in outcomes] == [0, 1, 0]
    assert all(outcome.values == tuple(updates(4)) for outcome in outcomes)


def test_a_restored_authenticator_repeats_the_next_round_exactly() -> None:
    first, second = keyed(7), keyed(7)
    run(authenticator=first)
    second.load(first.to_arrays())
    outcomes = [run(authenticator=a, training_round=2, timing=plane(7, jitter_s=1e-3)) for a in (first, second)]
    assert same(*outcomes)
    assert outcomes[0].rejected_frames == {}


def test_timing_bounds_every_delay_in_integer_nanoseconds() -> None:
    latency = np.array([[9e9, 1e-3], [2e-3, np.nan]])
    timing = message_timing(latency, processing_delay_s=1e-4, jitter_s=1e-6)
    assert timing.delay_ns.tolist() == [[100_000, 1_100_000], [2_100_000, 100_000]]
    assert (timing.jitter_ns, timing.tick_ns) == (1000, 2_101_001)


@pytest.mark.parametrize(
    ("latency", "options", "message"),
    [
        (np.zeros((2, 3)), {}, "shape"),
        (np.full((2, 2), np.inf), {}, "latency_s"),
        (np.full((2, 2), -1.0), {}, "latency_s"),
        (np.zeros((2, 2)), {"processing_delay_s": -1.0}, "processing_delay_s"),
        (np.zeros((2, 2)), {"jitter_s": np.nan}, "jitter_s"),
    ],
)
def test_impossible_delays_are_refused(latency: NDArray[np.float64], options: dict[str, float], message: str) -> None:
    with pytest.raises(DomainError, match=message):
        message_timing(latency, **({"processing_delay_s": 0.0} | options))


def test_networks_of_different_sizes_are_refused() -> None:
    with pytest.raises(DomainError, match="as many nodes"):
        run(7, values=updates(6))
    with pytest.raises(DomainError, match="tolerated_byzantine"):
        run(7, tolerated_byzantine=3)


def test_a_byzantine_node_that_hears_late_does_not_count_in_the_elapsed_time() -> None:
    latency = np.full((7, 7), 1e-3)
    latency[:, 6] = 0.5  # to node 6; its own frames are as fast as any
    timing = message_timing(latency, processing_delay_s=0.0)
    assert run(timing=timing, byzantine=frozenset({6})).elapsed_ns == 3_000_000
    assert run(timing=timing).elapsed_ns > 500_000_000
