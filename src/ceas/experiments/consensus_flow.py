"""Runs of the consensus of a round in which every message takes one delay, recorded message by message.

They are what the message-flow picture in docs/consensus.md shows: `ceas.report.message_flow` draws it from here.
"""

import heapq
from collections.abc import Callable, Collection
from dataclasses import dataclass
from itertools import count
from typing import Any

from ceas.consensus import (
    AnyMessage,
    Broadcast,
    Conclude,
    ConsensusRound,
    Decide,
    Deliver,
    Persist,
    RoundState,
    Send,
    SetVote,
    encode_message,
    max_tolerated,
)
from ceas.consensus.outputs import SetTimer

__all__ = ["FlowMessage", "FlowStep", "record_flow"]

_DELAY = 1000
_LONGEST = 100 * _DELAY


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowMessage:
    """One message: what it is, from which node to which, when it was sent, and when it came, in delays."""

    kind: str
    source: int
    destination: int
    sent: float
    arrived: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowStep:
    """Something that nodes did besides sending, in delays after the start; `nodes` in rising order."""

    at: float
    what: str
    nodes: tuple[int, ...]


def record_flow(
    n_nodes: int = 4, *, silent: Collection[int] = ()
) -> tuple[tuple[FlowMessage, ...], tuple[FlowStep, ...]]:
    """Run one round and return what was sent and what was done, each in the order of time.

    Args:
        n_nodes: Nodes; node 0 leads view 0.
        silent: Nodes that take no part, at most a third.

    Returns:
        Messages to nodes that take part or not, and steps: deliveries, views entered, decisions, conclusions, halts.
    """
    recorder = _Recorder(n_nodes, frozenset(silent))
    recorder.run()
    steps: dict[tuple[float, str], set[int]] = {}
    delivered = [(at, f"deliver {number} values", node) for (at, node), number in recorder.n_delivered.items()]
    for at, what, node in sorted([*delivered, *recorder.done], key=lambda one: one[0]):
        steps.setdefault((at, what), set()).add(node)
    return (
        tuple(recorder.messages),
        tuple(FlowStep(at=at, what=what, nodes=tuple(sorted(nodes))) for (at, what), nodes in steps.items()),
    )


class _Recorder:
    def __init__(self, n_nodes: int, silent: frozenset[int]) -> None:
        self.messages: list[FlowMessage] = []
        self.done: list[tuple[float, str, int]] = []
        self.now = 0
        self.queue: list[tuple[int, bool, int, Callable[[], None]]] = []
        self.numbers = count()
        self.n_nodes = n_nodes
        self.machines = {
            node: ConsensusRound(
                node=node,
                n_nodes=n_nodes,
                tolerated_byzantine=max_tolerated(n_nodes),
                training_round=0,
                parameter_digest=bytes(32),
                delay_bound_ns=_DELAY,
                validate=lambda value, proposer: None,  # noqa: ARG005
            )
            for node in range(n_nodes)
            if node not in silent
        }
        self.views = dict.fromkeys(self.machines, 0)
        self.n_delivered: dict[tuple[float, int], int] = {}  # by time and node

    def run(self) -> None:
        for node, machine in self.machines.items():
            self.carry_out(node, machine.start(b"update of node %d" % node, 0))
        while self.queue and self.now < _LONGEST and not all(one.is_halted for one in self.machines.values()):
            self.now, _, _, act = heapq.heappop(self.queue)
            act()

    def carry_out(self, node: int, out: list[Any]) -> None:
        for output in out:
            match output:
                case Broadcast():
                    for other in range(self.n_nodes):
                        if other != node:
                            self.send(node, other, output.message)
                case Send():
                    self.send(node, output.destination, output.message)
                case SetTimer():
                    self.at(output.at_ns, lambda: self.tick(node), is_timer=True)
                case Persist(RoundState() as state) if state.agreement.view > self.views[node]:
                    self.views[node] = state.agreement.view
                    self.note(node, f"enter view {state.agreement.view}")
                case Deliver():
                    key = (self.now / _DELAY, node)
                    self.n_delivered[key] = self.n_delivered.get(key, 0) + 1
                case Decide():
                    members = [str(one) for one in range(self.n_nodes) if output.members >> one & 1]
                    self.note(node, f"decide {{{', '.join(members)}}}")
                case Conclude():
                    self.note(node, "conclude")
                case _:
                    pass
        if self.machines[node].is_halted:
            self.note(node, "halt")

    def send(self, source: int, destination: int, message: AnyMessage) -> None:
        arrived = self.now + _DELAY
        kind = encode_message(message)[0].name
        if isinstance(message, SetVote):
            kind = f"{kind} {message.phase}"
        self.messages.append(
            FlowMessage(
                kind=kind,
                source=source,
                destination=destination,
                sent=self.now / _DELAY,
                arrived=arrived / _DELAY,
            )
        )
        if destination in self.machines:
            self.at(arrived, lambda: self.arrive(destination, message, source))

    def arrive(self, node: int, message: AnyMessage, source: int) -> None:
        self.carry_out(node, self.machines[node].receive(message, source, self.now))

    def tick(self, node: int) -> None:
        self.carry_out(node, self.machines[node].tick(self.now))

    def at(self, when: int, act: Callable[[], None], *, is_timer: bool = False) -> None:
        # A delay is the longest that a message takes: what comes with a timer comes before it.
        heapq.heappush(self.queue, (when, is_timer, next(self.numbers), act))

    def note(self, node: int, what: str) -> None:
        self.done.append((self.now / _DELAY, what, node))
