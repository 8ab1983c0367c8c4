"""Where a training gets its pairs and its agreed updates from: simulated live, or replayed from a trace.

Neither the network nor the exchange depends on what the updates say, and all updates have one length. So a comparison
simulates both once per seed and replays them for every method and attack; only attacks on messages need an exchange of
their own.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from ceas.attacks import Conduct
from ceas.authentication import Authenticator, FiniteKey, KeyPools, Profile, Rejected, epoch_hash, ml_dsa_signers
from ceas.consensus import Claims, Signer, Validate, decode_update, decode_updates, encode_update, parameter_digest
from ceas.errors import DomainError
from ceas.network import NetworkState, Policy, WindowRecord, advance_round, initial_state, path_latency_s
from ceas.network.routes import RouteClass
from ceas.runtime.checkpoint import Arrays, prefixed, unprefixed
from ceas.runtime.consensus_protocols import PROTOCOLS, ProtocolName
from ceas.runtime.message_network import (
    ConsensusOutcome,
    MessageTiming,
    message_timing,
    run_consensus,
)
from ceas.runtime.message_sabotage import MessageSabotage
from ceas.runtime.world import World

__all__ = [
    "ExchangeRecord",
    "LiveSource",
    "NetworkTrace",
    "RecordedSource",
    "SecurityParameters",
    "Source",
    "record_trace",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class SecurityParameters:
    """How messages are authenticated and agreed on.

    Attributes:
        profile: Authentication profile.
        enrolled_key_bits: Key that every pair of nodes shares before training (bits).
        reseed_rounds: Training rounds between two refreshments of a link's seed.
        reserve_rounds: Rounds of control frames whose key bulk frames leave on a link.
        frame_quota: Frames on one direction of a link in a round.
        remember_signatures: Whether a signed broadcast is verified once in the process.
        key_rate: `asymptotic` credits every pair at once, `finite` blocks of pairs by the finite-key formula.
        block_pairs: Pairs of a block, for `finite`.
        security_parameter: Epsilon of each block's key, for `finite`.
        tolerated_byzantine: Malicious nodes that the consensus withstands.
        processing_delay_s: Time from a frame's arrival to its handling (s).
        fixed_point_bits: Binary digits after the point of an update on the wire.
        bound_error_probability: Chance that the certified bound of one link is wrong.
        protocol: Consensus protocol.
    """

    profile: Profile
    enrolled_key_bits: int
    reseed_rounds: int
    reserve_rounds: int = 3
    frame_quota: int = 1024
    remember_signatures: bool = False
    key_rate: Literal["asymptotic", "finite"] = "asymptotic"
    block_pairs: int = 100_000
    security_parameter: float = 1e-10
    tolerated_byzantine: int
    processing_delay_s: float
    fixed_point_bits: int
    bound_error_probability: float
    protocol: ProtocolName = "tetrabft"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeRecord:
    """What one training round's consensus did, without the updates themselves.

    Attributes:
        is_delivered: Whether each node's update is among those that all honest nodes concluded with, shape `(nodes,)`.
        is_concluded: Whether all honest nodes concluded, and alike.
        is_paused: Whether it did not begin for want of key.
        elapsed_ns: Time until the last honest node concluded (ns).
        message_delays: Longest chain of frames that ended in a conclusion.
        views: Views that it took.
        is_late: Whether it took longer than the exchange phase.
        frames: Frames sent.
        starved_frames: Frames not sent for want of key.
        starved_links: Links that could not pay for a fresh seed.
        rejected_frames: Frames that honest nodes rejected.
        key_bits_generated: Key made of pairs on each link, shape `(links,)`.
        key_bits_consumed: Key used on each link since the first training round, shape `(links,)`.
        consumed_total: Key used in this training round by all pairs of nodes.
        route_key_bits: Key made of end-to-end pairs between nodes without a common fibre.
        is_shortened: Whether the consensus was computed without its frames, as nothing disturbed it.
        longest_frame_bytes: Bytes of the longest frame since the start of the run, without its tag.
    """

    is_delivered: NDArray[np.bool_]
    is_concluded: bool
    is_paused: bool
    elapsed_ns: int
    message_delays: int
    views: int
    is_late: bool
    frames: int
    starved_frames: int
    starved_links: NDArray[np.bool_]
    rejected_frames: int
    key_bits_generated: NDArray[np.float64]
    key_bits_consumed: NDArray[np.int64]
    consumed_total: int
    route_key_bits: float
    is_shortened: bool
    longest_frame_bytes: int


class Source(Protocol):
    """What a training needs from below it, one training round after the other."""

    def next_window(self) -> WindowRecord:
        """Let the network run through the next round."""

    def exchange(self, window: WindowRecord, payloads: Sequence[bytes], digest: bytes) -> ExchangeRecord:
        """Agree on the nodes that contribute and on their payloads, in the exchange phase of `window`."""

    def to_arrays(self) -> Arrays:
        """Return the state for a checkpoint."""

    def load(self, arrays: Arrays) -> None:
        """Restore what `to_arrays` returned."""


class LiveSource:
    """The network and the consensus, simulated.

    Args:
        world: Network, learners and who is malicious.
        policy: Scheduling policy.
        security: How messages are authenticated and agreed on.
        seed: Root seed of all draws.
        trace_every: Every how many pairs one is traced; 0 for none.
        start_digest: Digest of the parameters that all start from.
        conduct: What the malicious nodes do; what concerns messages is done here.

    Raises:
        DomainError: The exchange phase is too short for the consensus.
    """

    def __init__(
        self,
        world: World,
        policy: Policy,
        security: SecurityParameters,
        *,
        seed: int,
        trace_every: int,
        start_digest: bytes,
        conduct: Conduct = Conduct(),  # noqa: B008 - immutable
    ) -> None:
        n_nodes = world.topology.n_nodes
        links = world.network.links
        self._world = world
        self._policy = policy
        self._security = security
        self._seed = seed
        tampers = conduct.tampers_with_messages and bool(world.is_byzantine.any())
        self._sabotage = MessageSabotage(conduct, world.is_byzantine, security.tolerated_byzantine) if tampers else None
        self._network = initial_state(world.network, seed=seed, trace_every=trace_every)
        self._timing = _timing(world, security)
        epoch = epoch_hash(
            n_nodes=n_nodes,
            tolerated_byzantine=security.tolerated_byzantine,
            profile=security.profile,
            start_digest=start_digest,
        )
        self._authenticator = Authenticator(
            KeyPools(
                n_nodes,
                enrolled_key_bits=security.enrolled_key_bits,
                seed=seed,
                finite_key=FiniteKey(block_pairs=security.block_pairs, security_parameter=security.security_parameter)
                if security.key_rate == "finite"
                else None,
            ),
            profile=security.profile,
            links=zip(links.node_a.tolist(), links.node_b.tolist(), strict=True),
            reseed_rounds=security.reseed_rounds,
            reserve_rounds=security.reserve_rounds,
            frame_quota=security.frame_quota,
            remember_signatures=security.remember_signatures,
            epoch=epoch,
        )
        self._signers: Sequence[Signer] = ()
        if security.protocol == "simplex":
            if tampers and conduct.equivocation_share is not None:
                raise DomainError("Attack `equivocation` is on messages of `consensus.protocol = tetrabft` alone.")
            self._signers = ml_dsa_signers(n_nodes, seed=seed, epoch=epoch)
        self._pool_index = links.node_a.astype(np.int64) * n_nodes + links.node_b
        # What the profile takes from the enrolled key before the first training round.
        self._consumed_before = self._authenticator.pools.consumed_bits[self._pool_index].copy()

    def next_window(self) -> WindowRecord:
        """Let the network run through the next round."""
        return advance_round(self._network, self._world.network, self._policy)

    def exchange(self, window: WindowRecord, payloads: Sequence[bytes], digest: bytes) -> ExchangeRecord:
        """Agree on the payloads over authenticated links, then deposit the key that the round's pairs give.

        Key pairs are still being delivered while the consensus runs, so they pay from the next round on.
        """
        links, pools = self._world.network.links, self._authenticator.pools
        before = self._authenticator.starved_reseeds[self._pool_index].copy()
        if self._sabotage is not None:
            self._sabotage.begin_round(payloads, window.window)
        outcome = run_consensus(
            payloads,
            training_round=window.window,
            parameter_digest=digest,
            tolerated_byzantine=self._security.tolerated_byzantine,
            authenticator=self._authenticator,
            timing=self._timing,
            validate=_validator(self._world.model.n_parameters, self._security.fixed_point_bits),
            seed=self._seed,
            byzantine=frozenset(np.flatnonzero(self._world.is_byzantine).tolist()),
            told=None if self._sabotage is None else self._sabotage.told,
            tamper=None if self._sabotage is None else self._sabotage.tamper,
            may_shorten=True,
            protocol=self._security.protocol,
            signers=self._signers,
        )
        starved = self._authenticator.starved_reseeds[self._pool_index] > before
        consumed = pools.consumed_bits[self._pool_index] - self._consumed_before
        state_sum = window.key_werner_sum if window.key_correlator_sum is None else window.key_correlator_sum
        generated = pools.deposit(links.node_a, links.node_b, window.key_count, state_sum)
        return _record(
            outcome,
            starved,
            generated,
            consumed,
            route_key_bits=self._deposit_of_routes(window),
            longest_frame_bytes=self._authenticator.longest_frame_bytes,
            exchange_ns=self._world.network.clock.round_ns - self._world.network.clock.learning_ns,
        )

    def _deposit_of_routes(self, window: WindowRecord) -> float:
        """Deposit the key that the round's end-to-end pairs give, and return its bits.

        Of a flow's pairs only their mean state counts; twirled, unless the links' own pairs are Bell-diagonal, as if
        the ends did not know it: of all states of one fidelity that gives the least key.
        """
        routes, demand = self._world.network.routes, self._world.network.route_demand
        if window.routes is None or routes is None or demand is None:
            return 0.0
        of_keys = np.flatnonzero(demand.use_class == RouteClass.KEY)
        state_sum = window.routes.correlator_sum[of_keys]
        if not self._world.network.links.is_bell_diagonal:
            state_sum = state_sum.mean(axis=1)
        route, served = demand.route[of_keys], window.routes.served[of_keys]
        ends = routes.source[route], routes.target[route]
        return float(self._authenticator.pools.deposit(*ends, served, state_sum).sum())

    def to_arrays(self) -> Arrays:
        """Return the state of the network, of the authenticator and of the attackers' hands on messages."""
        sabotage = {} if self._sabotage is None else prefixed("sabotage", self._sabotage.to_arrays())
        state = prefixed("network", self._network.to_arrays()) | prefixed("keys", self._authenticator.to_arrays())
        return state | sabotage

    def load(self, arrays: Arrays) -> None:
        """Restore what `to_arrays` returned."""
        self._network = NetworkState.from_arrays(unprefixed("network", arrays))
        self._authenticator.load(unprefixed("keys", arrays))
        if self._sabotage is not None:
            self._sabotage.load(unprefixed("sabotage", arrays))


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkTrace:
    """A network and its exchanges over all training rounds of one seed."""

    windows: tuple[WindowRecord, ...]
    exchanges: tuple[ExchangeRecord, ...]


class RecordedSource:
    """A trace, replayed. A payload that no honest node would echo is not delivered."""

    def __init__(self, trace: NetworkTrace, world: World, security: SecurityParameters) -> None:
        self._trace = trace
        self._next = 0
        self._n_parameters, self._fixed_point_bits = world.model.n_parameters, security.fixed_point_bits

    def next_window(self) -> WindowRecord:
        """Return the next recorded window."""
        self._next += 1
        return self._trace.windows[self._next - 1]

    def exchange(self, window: WindowRecord, payloads: Sequence[bytes], digest: bytes) -> ExchangeRecord:  # noqa: ARG002
        """Return the recorded exchange, less the payloads that are not valid."""
        record = self._trace.exchanges[window.window]
        bits = self._fixed_point_bits
        is_valid = decode_updates(payloads, n_parameters=self._n_parameters, fixed_point_bits=bits).is_valid
        if is_valid.all():
            return record
        return replace(record, is_delivered=record.is_delivered & is_valid)

    def to_arrays(self) -> Arrays:
        """Return how far the replay has come."""
        return {"next": np.array(self._next)}

    def load(self, arrays: Arrays) -> None:
        """Restore what `to_arrays` returned."""
        self._next = int(arrays["next"])


def record_trace(source: LiveSource, world: World, security: SecurityParameters, rounds: int) -> NetworkTrace:
    """Run the network and the exchange alone, with empty updates in the place of real ones.

    The updates' length, and so every frame's, is that of a training.
    """
    no_claims = Claims(shots=0, contraction=0.0, quantum_fisher=0.0)
    zeros = np.zeros(world.model.n_parameters)
    payload = encode_update(zeros, no_claims, fixed_point_bits=security.fixed_point_bits)
    digest = parameter_digest(zeros, fixed_point_bits=security.fixed_point_bits)
    windows, exchanges = [], []
    for _ in range(rounds):
        windows.append(source.next_window())
        exchanges.append(source.exchange(windows[-1], [payload] * world.n_learners, digest))
    return NetworkTrace(windows=tuple(windows), exchanges=tuple(exchanges))


def _timing(world: World, security: SecurityParameters) -> MessageTiming:
    """Return the delays of messages; the exchange phase has to have room for a consensus with an honest leader."""
    latency_s = path_latency_s(world.topology, world.network.links.latency_s)
    timing = message_timing(latency_s, processing_delay_s=security.processing_delay_s)
    clock = world.network.clock
    ticks = PROTOCOLS[security.protocol].good_case_ticks
    needed_ns = ticks * timing.tick_ns
    if needed_ns > clock.round_ns - clock.learning_ns:
        raise DomainError(
            f"Argument `exchange_window_s` must be at least {needed_ns * 1e-9:.4g} s, {ticks} times the largest "
            f"message delay of this network, but is {(clock.round_ns - clock.learning_ns) * 1e-9:.4g} s."
        )
    return timing


def _validator(n_parameters: int, fixed_point_bits: int) -> Validate:
    """Return the check that honest nodes make before they echo a proposed update."""

    def check(value: bytes, proposer: int) -> Rejected | None:
        update = decode_update(value, proposer, n_parameters=n_parameters, fixed_point_bits=fixed_point_bits)
        return update if isinstance(update, Rejected) else None

    return check


def _record(
    outcome: ConsensusOutcome,
    starved_links: NDArray[np.bool_],
    generated: NDArray[np.float64],
    consumed: NDArray[np.int64],
    *,
    route_key_bits: float,
    longest_frame_bytes: int,
    exchange_ns: int,
) -> ExchangeRecord:
    # Beyond what the protocol tolerates honest nodes may differ: then nothing counts, since no one set is all nodes'.
    is_delivered = np.array([value is not None for value in outcome.values]) & outcome.is_agreed
    return ExchangeRecord(
        is_delivered=is_delivered,
        is_concluded=outcome.is_agreed,
        is_paused=outcome.is_paused,
        elapsed_ns=outcome.elapsed_ns,
        message_delays=outcome.message_delays,
        views=outcome.views,
        is_late=outcome.elapsed_ns > exchange_ns,
        frames=outcome.frames,
        starved_frames=outcome.starved_frames,
        starved_links=starved_links,
        rejected_frames=sum(outcome.rejected_frames.values()),
        key_bits_generated=generated,
        key_bits_consumed=consumed.copy(),
        consumed_total=outcome.key_bits_consumed,
        route_key_bits=route_key_bits,
        is_shortened=outcome.is_shortened,
        longest_frame_bytes=longest_frame_bytes,
    )
