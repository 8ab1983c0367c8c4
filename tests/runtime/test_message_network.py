"""The seeded message network from end to end: machines, tags and delays."""

import dataclasses
import hashlib
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
from ceas.runtime.consensus_protocols import PROTOCOLS
from ceas.runtime.message_network import (
    ConsensusOutcome,
    MessageTiming,
    Outgoing,
    message_timing,
    run_consensus,
)

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


def run(n_nodes: int = 7, **changes: Any) -> ConsensusOutcome:
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
    return run_consensus(arguments.pop("values"), **arguments)


def same(first: ConsensusOutcome, second: ConsensusOutcome) -> bool:
    pairs = [(getattr(first, f.name), getattr(second, f.name)) for f in dataclasses.fields(ConsensusOutcome)]
    return all(np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b for a, b in pairs)


def test_fifty_honest_nodes_conclude_with_everything_in_eight_delays() -> None:
    n_nodes = 50
    values = updates(n_nodes)
    outcome = run(n_nodes, values=values)
    assert outcome.values == tuple(values)
    assert all(concluded == dict(enumerate(values)) for concluded in outcome.concluded)
    assert outcome.is_agreed
    assert (outcome.message_delays, outcome.views) == (8, 1)
    # PROPOSE, ECHO, READY, four votes, DECISION; the leader proposes the set.
    assert outcome.frames == 8 * n_nodes * (n_nodes - 1) + n_nodes - 1 == 19_649
    proposal, votes, members = 32 + len(values[0]), 34 * n_nodes, 2 + 7
    agreement = 4 * (1 + 4 + members) + members
    of_all = n_nodes * (n_nodes - 1) * (proposal + 2 * votes + agreement + 8 * HEADER_AND_TAG)
    assert outcome.bytes_sent == of_all + (n_nodes - 1) * (4 + members + HEADER_AND_TAG)
    assert outcome.starved_frames == outcome.starved_links == outcome.key_bits_consumed == 0
    assert outcome.rejected_frames == {}
    assert not outcome.equivocations.any()


@pytest.mark.parametrize("n_nodes", [4, 5, 10])
def test_equal_delays_give_exactly_eight_of_them(n_nodes: int) -> None:
    timing = message_timing(np.full((n_nodes, n_nodes), 2e-3), processing_delay_s=5e-4)
    outcome = run(n_nodes, timing=timing)
    assert outcome.elapsed_ns == 8 * 2_500_000
    assert timing.tick_ns == 2_500_001


def test_elapsed_time_is_the_shortest_path_of_quorums_on_an_unequal_network() -> None:
    """Closed form for honest nodes: echo at the last proposal, everything else at the (n-f)-th frame of a step.

    The leader of training round 1 is node 1; nobody votes before it has delivered all values.
    """
    n_nodes, timing = 13, plane(13)
    delay = np.array(timing.delay_ns, dtype=np.float64)
    np.fill_diagonal(delay, 0)
    needed = n_nodes - max_tolerated(n_nodes)
    echoed = delay.max(axis=0)
    ready = np.sort(echoed[:, None] + delay, axis=0)[needed - 1]
    delivered = np.sort(ready[:, None] + delay, axis=0)[needed - 1]
    voted = np.maximum(delivered, delivered[1] + delay[1])
    for _ in range(3):
        voted = np.maximum(delivered, np.sort(voted[:, None] + delay, axis=0)[needed - 1])
    decided = np.sort(voted[:, None] + delay, axis=0)[needed - 1]
    # f + 1 decisions decide as well.
    for _ in range(n_nodes):
        decided = np.minimum(decided, np.sort(decided[:, None] + delay, axis=0)[n_nodes - needed])
    assert run(n_nodes, timing=timing).elapsed_ns == decided.max()


def test_equal_seeds_give_equal_outcomes_and_jitter_depends_on_seed_and_round() -> None:
    timing = plane(7, jitter_s=1e-3)
    first = run(timing=timing)
    assert all(same(first, run(timing=timing)) for _ in range(9))
    assert run(timing=timing, seed=4).elapsed_ns != first.elapsed_ns
    assert run(timing=timing, training_round=2).elapsed_ns != first.elapsed_ns


@pytest.mark.parametrize("seed", range(20))
def test_jitter_changes_no_value_and_no_view(seed: int) -> None:
    timing = plane(7, jitter_s=3e-3)
    outcome = run(timing=timing, seed=seed)
    assert outcome.values == tuple(updates(7))
    assert outcome.rejected_frames == {}
    assert 8 <= outcome.message_delays <= 10
    assert outcome.views == 1
    assert outcome.elapsed_ns <= PROTOCOLS["tetrabft"].good_case_ticks * timing.tick_ns


def silence(*nodes: int) -> Callable[[list[Outgoing], int], list[Outgoing]]:
    return lambda outbox, node: [] if node in nodes else outbox


def test_silent_nodes_cost_their_values_and_the_wait_for_them() -> None:
    outcome = run(byzantine=frozenset({2, 4}), tamper=silence(2, 4))
    values = updates(7)
    assert outcome.values == tuple(None if node in (2, 4) else values[node] for node in range(7))
    assert outcome.is_agreed
    # The leader waits four ticks for the two, then five delays to the decision.
    assert 4 * plane(7).tick_ns < outcome.elapsed_ns <= PROTOCOLS["tetrabft"].good_case_ticks * plane(7).tick_ns
    assert outcome.frames == 5 * 6 * 8 + 6
    assert outcome.views == 1


@pytest.mark.parametrize("silent", [(1,), (1, 2), (2, 3)])
def test_a_silent_leader_costs_a_view(silent: tuple[int, ...]) -> None:
    outcome = run(byzantine=frozenset(silent), tamper=silence(*silent))
    assert outcome.is_agreed
    assert [node for node, value in enumerate(outcome.values) if value is None] == list(silent)
    n_lost = 0 if 1 not in silent else len(silent)
    assert outcome.views == 1 + n_lost
    tick_ns = plane(7).tick_ns
    # 13 ticks until the first view is given up, 9 for each further one, two to enter, five to decide.
    waited = (13 + 9 * (n_lost - 1)) * tick_ns if n_lost else 0
    assert waited < outcome.elapsed_ns <= waited + (2 * n_lost + PROTOCOLS["tetrabft"].good_case_ticks) * tick_ns


def test_more_silent_nodes_than_tolerated_stop_the_round_and_nobody_concludes() -> None:
    outcome = run(byzantine=frozenset({1, 4, 5}), tamper=silence(1, 4, 5))
    assert outcome.values == outcome.concluded == (None,) * 7
    assert not outcome.is_concluded
    assert not outcome.is_agreed
    assert outcome.disagreements == ()
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
    assert outcome.rejected_frames == {RejectionReason.REPLAYED_SEQUENCE: 8 * 6}
    assert outcome.frames == plain.frames + 8 * 6


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


def test_a_round_without_key_is_paused_and_the_next_one_with_key_goes_on() -> None:
    # 26 pads a direction and pair: eight frames a round, nine of the leader, last for three rounds.
    authenticator = keyed(4, "its128", enrolled_key_bits=256 + 52 * 128, reserve_rounds=0)
    for training_round in (1, 2, 3):
        outcome = run(4, authenticator=authenticator, training_round=training_round)
        assert outcome.values == tuple(updates(4))
        assert outcome.starved_frames == 0
        assert outcome.key_bits_consumed == 128 * outcome.frames == 128 * (12 * 8 + 3)
    for training_round in (4, 5):
        outcome = run(4, authenticator=authenticator, training_round=training_round)
        assert outcome.values == outcome.concluded == (None,) * 4
        assert outcome.is_paused
        assert not outcome.is_concluded
        assert outcome.frames == outcome.key_bits_consumed == outcome.starved_frames == outcome.views == 0
    # Three nodes that can talk to each other are a quorum of four.
    pairs = [(0, 1), (0, 2), (1, 2)]
    authenticator.pools.deposit(*zip(*pairs, strict=True), [10_000] * 3, [10_000.0] * 3)
    outcome = run(4, authenticator=authenticator, training_round=6)
    # The fourth had a pad left for its update, and none for votes.
    assert outcome.values == tuple(updates(4))
    assert outcome.is_concluded
    assert not outcome.is_paused
    assert {node for node, values in enumerate(outcome.concluded) if values is not None} >= {0, 1, 2}


def test_votes_go_on_where_updates_may_not_take_the_last_key() -> None:
    """One node has too little key to send its update beside the reserve: the others conclude without it."""
    authenticator = keyed(4, "its128", enrolled_key_bits=256)
    pairs = [(a, b) for a in range(4) for b in range(a + 1, 4)]
    # Blocks of both directions: the reserve is 24 frames each.
    needed = [40 * 128 if 3 in pair else 400 * 128 for pair in pairs]
    authenticator.pools.deposit(*zip(*pairs, strict=True), needed, [float(bits) for bits in needed])
    outcome = run(4, authenticator=authenticator)
    assert [value is not None for value in outcome.values] == [True, True, True, False]
    assert outcome.is_concluded  # the fourth node too: it hears votes, and pulls nothing that it lacks key for


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
    assert run(timing=timing, byzantine=frozenset({6})).elapsed_ns == 8_000_000
    assert run(timing=timing).elapsed_ns > 500_000_000


class PlainSigner:
    """Stands in for signatures: whoever knows a message can make anyone's, which no node here does."""

    def __init__(self, node: int) -> None:
        self.node = node

    def sign(self, message: bytes) -> bytes:
        return hashlib.sha256(bytes([self.node]) + message).digest()

    def verify(self, node: int, message: bytes, signature: bytes) -> bool:
        return signature == hashlib.sha256(bytes([node]) + message).digest()


def run_simplex(n_nodes: int = 7, **changes: Any) -> ConsensusOutcome:
    return run(n_nodes, protocol="simplex", signers=[PlainSigner(node) for node in range(n_nodes)], **changes)


@pytest.mark.parametrize("n_nodes", [4, 10, 16])
def test_simplex_concludes_with_everything_in_four_delays(n_nodes: int) -> None:
    timing = message_timing(np.full((n_nodes, n_nodes), 2e-3), processing_delay_s=5e-4)
    outcome = run_simplex(n_nodes, timing=timing)
    assert outcome.values == tuple(updates(n_nodes))
    assert outcome.is_agreed
    assert (outcome.message_delays, outcome.views, outcome.elapsed_ns) == (4, 1, 4 * 2_500_000)
    # Value, vote and finalisation of every node, the leader's proposal.
    assert outcome.frames == (3 * n_nodes + 1) * (n_nodes - 1)
    assert outcome.rejected_frames == {}


@pytest.mark.parametrize("silent", [(1,), (1, 2), (2, 3)])
def test_simplex_goes_on_without_silent_nodes(silent: tuple[int, ...]) -> None:
    outcome = run_simplex(byzantine=frozenset(silent), tamper=silence(*silent))
    assert outcome.is_agreed
    assert [node for node, value in enumerate(outcome.values) if value is None] == list(silent)
    assert outcome.views == 1 + (0 if 1 not in silent else len(silent))


def test_simplex_is_never_shortened_and_never_concludes_without_a_quorum() -> None:
    assert not run_simplex(may_shorten=True).is_shortened
    outcome = run_simplex(byzantine=frozenset({1, 4, 5}), tamper=silence(1, 4, 5))
    assert outcome.values == (None,) * 7
    assert not outcome.is_concluded
