"""What agreement on a round's contributors costs when all goes well: TetraBFT and Simplex, each with its own evidence.

All nodes are honest and start together; every message takes the same time and no timer fires. `tetrabft` is
`ConsensusRound` with a Poly1305 tag on every frame, made by its sender and checked by its receiver under keys that cost
nothing here. `simplex` is `SimplexRound` with ML-DSA-44 signatures in its messages; its frames carry no tag, because
every message that counts is signed or matches a digest that is.

Columns, of one round over all nodes: `delays` from the start to the last node's conclusion; `frames` and `megabytes`
sent, headers among them; the most that one node sends; signatures or tags made and checked; computing time of the whole
round in this process, and of one node. Every frame goes through its bytes, decoded once for a broadcast.
"""

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from cryptography.hazmat.primitives.poly1305 import Poly1305

from ceas.authentication import HEADER_BYTES, PROFILES, ml_dsa_signers
from ceas.consensus import (
    Broadcast,
    Conclude,
    ConsensusRound,
    Send,
    SimplexRound,
    decode_message,
    decode_simplex,
    encode_message,
    encode_simplex,
    max_tolerated,
)
from ceas.errors import DomainError
from ceas.runtime.progress import Progress, ProgressEvent

__all__ = ["GoodCase", "benchmark", "run_good_case"]

PROTOCOLS: Final = ("tetrabft", "simplex")
_DELAY_NS: Final = 1_000_000
# Delays in units of the bound D: timers are far off.
_DELAYS_IN_BOUND: Final = 100
_LONGEST: Final = 50
_PARAMETERS: Final = hashlib.sha256(b"parameters").digest()


@dataclass(slots=True, kw_only=True)
class GoodCase:
    """Counts of one round; see the head of this file.

    Args:
        protocol: `tetrabft` or `simplex`.
        n_nodes: Nodes, all honest.
        delays: Message delays until all have concluded.
        frames: Frames sent.
        bytes_of: Bytes sent by each node, headers and tags among them.
        n_made: Signatures or tags made.
        n_checked: Signatures or tags checked.
        cpu_s: Computing time of the round, all nodes in this process.
    """

    protocol: str
    n_nodes: int
    delays: int = 0
    frames: int = 0
    bytes_of: list[int] = field(default_factory=list)
    n_made: int = 0
    n_checked: int = 0
    cpu_s: float = 0.0


def benchmark(
    *,
    nodes: Sequence[int] = (4, 10, 50, 100),
    parameters: int = 32,
    quick: bool = False,
    progress: Progress | None = None,
) -> list[Mapping[str, Any]]:
    """Run one good round of each protocol for each number of nodes.

    Args:
        nodes: Numbers of nodes, each at least 4.
        parameters: Parameters of the model; a value has 8 bytes for each.
        quick: Stop at ten nodes.
        progress: Told after every round.

    Returns:
        One row for each protocol and number of nodes.

    Raises:
        DomainError: An argument is outside its range.
    """
    if not nodes or any(not 4 <= n <= 1000 or n != int(n) for n in nodes):
        raise DomainError(f"Argument `nodes` must hold whole numbers in [4, 1000], but is {list(nodes)}.")
    if not 1 <= parameters <= 10**6:
        raise DomainError(f"Argument `parameters` must be in [1, 10^6], but is {parameters}.")
    rows: list[Mapping[str, Any]] = []
    sizes = [n for n in nodes if not quick or n <= 10]
    for n_nodes in sizes:
        for protocol in PROTOCOLS:
            found = run_good_case(protocol, n_nodes, value_bytes=8 * parameters)
            rows.append(
                {
                    "protocol": protocol,
                    "authenticated by": "Poly1305" if protocol == "tetrabft" else "ML-DSA-44",
                    "nodes": n_nodes,
                    "delays": found.delays,
                    "frames": found.frames,
                    "megabytes": sum(found.bytes_of) / 1e6,
                    "node's megabytes, most": max(found.bytes_of) / 1e6,
                    "made": found.n_made,
                    "checked": found.n_checked,
                    "cpu_s": found.cpu_s,
                    "ms a node": 1e3 * found.cpu_s / n_nodes,
                }
            )
            if progress is not None:
                progress(ProgressEvent(phase="rounds", training_round=len(rows), rounds=len(PROTOCOLS) * len(sizes)))
    return rows


def run_good_case(protocol: str, n_nodes: int, *, value_bytes: int = 256, seed: int = 0) -> GoodCase:
    """Run one round in which nobody fails.

    Args:
        protocol: `tetrabft` or `simplex`.
        n_nodes: Nodes.
        value_bytes: Bytes of every node's value, at least 4.
        seed: Seed of the signing keys.

    Raises:
        DomainError: The nodes do not all conclude with all values, which would be a defect.
    """
    case = GoodCase(protocol=protocol, n_nodes=n_nodes, bytes_of=[0] * n_nodes)
    arguments: dict[str, Any] = {
        "n_nodes": n_nodes,
        "tolerated_byzantine": max_tolerated(n_nodes),
        "training_round": 0,
        "parameter_digest": _PARAMETERS,
        "delay_bound_ns": _DELAYS_IN_BOUND * _DELAY_NS,
        "validate": _accept,
    }
    machines: list[Any]
    encode: Callable[[Any], tuple[int, bytes]]
    decode: Callable[[int, bytes, int], Any]
    if protocol == "simplex":
        signers = ml_dsa_signers(n_nodes, seed=seed, epoch=_PARAMETERS)
        machines = [SimplexRound(node=node, signer=signers[node], **arguments) for node in range(n_nodes)]
        encode, decode, tag_bytes = encode_simplex, decode_simplex, 0
    else:
        signers = ()
        machines = [ConsensusRound(node=node, **arguments) for node in range(n_nodes)]
        encode, decode, tag_bytes = encode_message, decode_message, PROFILES["qkd_seeded"].tag_bytes
    values = [node.to_bytes(4, "big") + bytes(value_bytes - 4) for node in range(n_nodes)]
    started = time.process_time()
    _exchange(case, machines, values, encode, decode, tag_bytes)
    case.cpu_s = time.process_time() - started
    if protocol == "simplex":
        case.n_made = sum(one.n_signed for one in signers)
        case.n_checked = sum(one.n_verified for one in signers)
    return case


def _exchange(  # noqa: PLR0917 - two protocols' halves of one loop
    case: GoodCase,
    machines: Sequence[Any],
    values: Sequence[bytes],
    encode: Callable[[Any], tuple[int, bytes]],
    decode: Callable[[int, bytes, int], Any],
    tag_bytes: int,
) -> None:
    """Deliver what was sent in one step in the next one, until all have concluded."""
    concluded: dict[int, Mapping[int, bytes]] = {}
    flying: list[tuple[int, int, int, bytes, bytes]] = []
    sequence = 0

    def carry_out(node: int, out: Sequence[Any]) -> None:
        nonlocal sequence
        for output in out:
            if isinstance(output, Conclude):
                concluded[node] = output.values
            elif isinstance(output, Broadcast | Send):
                kind, body = encode(output.message)
                peers = (output.destination,) if isinstance(output, Send) else range(case.n_nodes)
                for peer in peers:
                    if peer == node:
                        continue
                    sequence += 1
                    tag = _tag(sequence, body) if tag_bytes else b""
                    case.n_made += bool(tag_bytes)
                    case.frames += 1
                    case.bytes_of[node] += HEADER_BYTES + len(body) + tag_bytes
                    flying.append((node, peer, kind, body, tag))

    for node, machine in enumerate(machines):
        carry_out(node, machine.start(values[node], 0))
    sent_before = 0
    while flying and case.delays < _LONGEST:
        case.delays += len(concluded) < case.n_nodes
        arriving, now = list(flying), case.delays * _DELAY_NS
        flying.clear()
        for number, (source, peer, kind, body, tag) in enumerate(arriving, start=sent_before + 1):
            if tag_bytes:
                case.n_checked += 1
                if _tag(number, body) != tag:
                    raise DomainError(f"A tag of node {source} must verify, but does not.")
            carry_out(peer, machines[peer].receive(decode(kind, body, source), source, now))
        sent_before += len(arriving)
    expected = dict(enumerate(values))
    if len(concluded) < case.n_nodes or any(dict(one) != expected for one in concluded.values()):
        raise DomainError("All nodes must conclude with all values where nobody fails, but do not.")


def _tag(sequence: int, body: bytes) -> bytes:
    # A key of its own for every frame, of the right length; where keys come from is `ceas.authentication`'s affair.
    return Poly1305.generate_tag(sequence.to_bytes(32, "big"), body)


def _accept(value: bytes, proposer: int) -> None:
    """Accept any value."""
