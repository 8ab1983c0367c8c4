"""A broadcast without its frames is the same as with them: outcome, keys and sequence numbers."""

import dataclasses

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ceas.authentication import Authenticator, KeyPools, Profile, Rejected, epoch_hash
from ceas.consensus import Claims, decode_update, encode_update, max_tolerated, parameter_digest
from ceas.runtime.message_network import ConsensusOutcome, MessageTiming, Outgoing, message_timing, run_consensus

N_PARAMETERS = 4
THETA = parameter_digest(np.zeros(N_PARAMETERS))


def validate(value: bytes, proposer: int) -> Rejected | None:
    update = decode_update(value, proposer, n_parameters=N_PARAMETERS)
    return update if isinstance(update, Rejected) else None


def keyed(n_nodes: int, profile: Profile, enrolled_key_bits: int) -> Authenticator:
    epoch = epoch_hash(n_nodes=n_nodes, tolerated_byzantine=0, profile=profile, start_digest=THETA)
    pools = KeyPools(n_nodes, enrolled_key_bits=enrolled_key_bits, seed=5)
    links = [(node, node + 1) for node in range(n_nodes - 1)]
    return Authenticator(pools, profile=profile, epoch=epoch, links=links, reseed_rounds=2)


def exchanged(
    authenticator: Authenticator,
    timing: MessageTiming,
    *,
    training_round: int,
    tolerated: int,
    byzantine: frozenset[int] = frozenset(),
    values: list[bytes] | None = None,
    may_shorten: bool,
) -> ConsensusOutcome:
    n_nodes = authenticator.n_nodes
    rng = np.random.default_rng(training_round)
    claims = Claims(shots=10, contraction=0.5, quantum_fisher=1.0)
    return run_consensus(
        values or [encode_update(rng.normal(size=N_PARAMETERS), claims) for _ in range(n_nodes)],
        training_round=training_round,
        parameter_digest=THETA,
        tolerated_byzantine=tolerated,
        authenticator=authenticator,
        timing=timing,
        validate=validate,
        seed=3,
        byzantine=byzantine,
        may_shorten=may_shorten,
    )


def assert_same(shortened: ConsensusOutcome, framed: ConsensusOutcome, *authenticators: Authenticator) -> None:
    for field in dataclasses.fields(ConsensusOutcome):
        if field.name != "is_shortened":
            found, expected = getattr(shortened, field.name), getattr(framed, field.name)
            np.testing.assert_equal(found, expected, err_msg=field.name)
    first, second = (authenticator.to_arrays() for authenticator in authenticators)
    # Signatures that were verified here are none of those of a network of real nodes, which come first.
    for state in (first, second):
        state["tag_checks"] = state["tag_checks"][:2]
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name], err_msg=name)


def timing_of(kind: str, n_nodes: int, seed: int) -> MessageTiming:
    rng = np.random.default_rng(seed)
    if kind == "plane":
        place = rng.uniform(0, 300, (n_nodes, 2))
        latency_s = np.hypot(*(place[:, None] - place[None]).transpose(2, 0, 1)) / 2e5
    elif kind == "ring":  # many frames at one instant
        steps = np.abs(np.subtract.outer(np.arange(n_nodes), np.arange(n_nodes)))
        latency_s = np.minimum(steps, n_nodes - steps) * 1e-3
    else:  # detours are shorter than the direct way
        latency_s = rng.exponential(1e-3, (n_nodes, n_nodes))
    return message_timing(latency_s, processing_delay_s=1e-4)


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(
    n_nodes=st.integers(2, 13),
    tolerated=st.integers(0, 4),
    kind=st.sampled_from(["plane", "ring", "no metric"]),
    profile=st.sampled_from(["its128", "its64", "qkd_seeded", "ml_dsa"]),
    enrolled_blocks=st.integers(2, 30),
    n_byzantine=st.integers(0, 4),
    seed=st.integers(0, 10_000),
)
def test_outcome_and_keys_are_those_of_the_frames(  # noqa: PLR0917 - hypothesis passes them by name
    n_nodes: int, tolerated: int, kind: str, profile: Profile, enrolled_blocks: int, n_byzantine: int, seed: int
) -> None:
    timing, tolerated = timing_of(kind, n_nodes, seed), min(tolerated, max_tolerated(n_nodes))
    byzantine = frozenset(np.random.default_rng(seed).permutation(n_nodes)[: min(n_byzantine, n_nodes - 1)].tolist())
    shortening, framing = (keyed(n_nodes, profile, 128 * enrolled_blocks) for _ in range(2))
    # One-time keys run out after some of the rounds: from then on frames are missing, and both ways must say which.
    for training_round in range(4):
        shortened, framed = (
            exchanged(
                authenticator,
                timing,
                training_round=training_round,
                tolerated=tolerated,
                byzantine=byzantine,
                may_shorten=may_shorten,
            )
            for authenticator, may_shorten in ((shortening, True), (framing, False))
        )
        assert not framed.is_shortened
        assert_same(shortened, framed, shortening, framing)


@pytest.mark.parametrize("kind", ["plane", "ring"])
def test_rounds_on_fibre_with_key_for_all_frames_are_shortened(kind: str) -> None:
    authenticator = keyed(16, "qkd_seeded", 256)
    for training_round in range(3):
        outcome = exchanged(
            authenticator, timing_of(kind, 16, 1), training_round=training_round, tolerated=5, may_shorten=True
        )
        assert outcome.is_shortened


def test_a_value_that_honest_nodes_refuse_takes_frames() -> None:
    timing = timing_of("plane", 7, 1)
    claims = Claims(shots=1, contraction=0.5, quantum_fisher=1.0)
    values = [encode_update(np.full(N_PARAMETERS, np.nan if node == 3 else 1.0), claims) for node in range(7)]
    outcomes = []
    authenticators = [keyed(7, "qkd_seeded", 256) for _ in range(2)]
    for authenticator, may_shorten in zip(authenticators, (True, False), strict=True):
        outcomes.append(
            exchanged(authenticator, timing, training_round=0, tolerated=2, values=values, may_shorten=may_shorten)
        )
    assert not outcomes[0].is_shortened
    assert outcomes[0].values[3] is None
    assert_same(*outcomes, *authenticators)


def test_a_value_that_comes_after_its_decision_takes_frames() -> None:
    """One value takes so long to one node that all others' votes overtake it: the node asks for it."""
    delay_s: NDArray[np.float64] = np.full((7, 7), 1e-3)
    delay_s[0, 6] = 1.0
    timing = message_timing(delay_s, processing_delay_s=1e-4)
    shortening, framing = (keyed(7, "qkd_seeded", 256) for _ in range(2))
    outcome = exchanged(shortening, timing, training_round=0, tolerated=2, may_shorten=True)
    assert not outcome.is_shortened
    framed = exchanged(framing, timing, training_round=0, tolerated=2, may_shorten=False)
    assert_same(outcome, framed, shortening, framing)


def test_timers_that_expire_before_the_slowest_frame_take_frames() -> None:
    delay_ns = np.full((7, 7), 1_000_000)
    delay_ns[6, :6] = 3_000_000
    for tick_ns in (1_000_001, 3_000_000):
        timing = MessageTiming(delay_ns=delay_ns, jitter_ns=0, tick_ns=tick_ns)
        shortening, framing = (keyed(7, "qkd_seeded", 256) for _ in range(2))
        outcome = exchanged(shortening, timing, training_round=0, tolerated=2, may_shorten=True)
        assert not outcome.is_shortened
        framed = exchanged(framing, timing, training_round=0, tolerated=2, may_shorten=False)
        assert_same(outcome, framed, shortening, framing)
        assert framed.frames > 3 * 7 * 6  # votes left in parts
    timing = MessageTiming(delay_ns=delay_ns, jitter_ns=0, tick_ns=3_000_001)
    assert exchanged(keyed(7, "qkd_seeded", 256), timing, training_round=0, tolerated=2, may_shorten=True).is_shortened


def test_nobody_delivers_where_all_are_malicious() -> None:
    timing, everybody = timing_of("ring", 4, 0), frozenset(range(4))
    shortening, framing = (keyed(4, "qkd_seeded", 256) for _ in range(2))
    outcomes = [
        exchanged(keys, timing, training_round=0, tolerated=1, byzantine=everybody, may_shorten=may_shorten)
        for keys, may_shorten in ((shortening, True), (framing, False))
    ]
    assert outcomes[0].values == (None,) * 4
    assert_same(*outcomes, shortening, framing)


def test_jitter_hooks_and_closed_links_take_frames() -> None:
    jittery = message_timing(np.full((4, 4), 1e-3), processing_delay_s=1e-4, jitter_s=1e-4)
    authenticator = keyed(4, "qkd_seeded", 256)
    assert not exchanged(authenticator, jittery, training_round=0, tolerated=1, may_shorten=True).is_shortened

    def pass_on(outbox: list[Outgoing], node: int) -> list[Outgoing]:
        return outbox

    timing = timing_of("ring", 4, 0)
    claims = Claims(shots=1, contraction=0.5, quantum_fisher=1.0)
    outcome = run_consensus(
        [encode_update(np.ones(N_PARAMETERS), claims)] * 4,
        training_round=0,
        parameter_digest=THETA,
        tolerated_byzantine=1,
        authenticator=keyed(4, "qkd_seeded", 256),
        timing=timing,
        validate=validate,
        seed=3,
        tamper=pass_on,
        may_shorten=True,
    )
    assert not outcome.is_shortened
    closed = keyed(4, "qkd_seeded", 256)
    state = closed.to_arrays()
    state["bad_tags"][1] = 16  # node 1 no longer listens to node 0
    closed.load(state)
    assert not exchanged(closed, timing, training_round=0, tolerated=1, may_shorten=True).is_shortened
