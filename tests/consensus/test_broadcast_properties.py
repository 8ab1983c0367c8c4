"""Agreement, validity and totality of the reliable broadcast under any schedule and f Byzantine nodes.

The network here is asynchronous: it delivers in any order, repeats frames, and fires timers at any time; only loss is
excluded. Byzantine nodes are twins (two honest copies with different values, each seen by its own part of the nodes),
liars (any proposals, echoes, readies and answers to any node) or silent.
"""

from collections import Counter
from dataclasses import dataclass, field
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from ceas.authentication import Rejected
from ceas.consensus import (
    Broadcast,
    Deliver,
    Echo,
    Message,
    Output,
    Propose,
    Pull,
    Ready,
    ReliableBroadcast,
    Send,
    SetTimer,
    Value,
    max_tolerated,
    value_digest,
)

THETA = b"t" * 32


def accept(value: bytes, proposer: int) -> Rejected | None:
    return None


def honest_value(node: int) -> bytes:
    return b"honest %d" % node


@dataclass
class Network:
    """n machines and a bag of events, of which the schedule draws any one."""

    n_nodes: int
    byzantine: dict[int, str]
    schedule: Random
    repeat_probability: float
    machines: dict[tuple[int, int], ReliableBroadcast] = field(default_factory=dict)
    bag: list[tuple[tuple[int, int], Message | None, int]] = field(default_factory=list)
    deliveries: Counter[tuple[int, int]] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        # A twin's copies are (node, 0) and (node, 1); a bit mask says which nodes talk to the second one or to both.
        self.second = {node: self.schedule.getrandbits(self.n_nodes) for node in self.byzantine}
        self.both = {
            node: self.schedule.getrandbits(self.n_nodes) & self.schedule.getrandbits(self.n_nodes)
            for node in self.byzantine
        }
        for node in range(self.n_nodes):
            behaviour = self.byzantine.get(node, "honest")
            for copy in range({"honest": 1, "twins": 2}.get(behaviour, 0)):
                self.machines[node, copy] = ReliableBroadcast(
                    node=node,
                    n_nodes=self.n_nodes,
                    tolerated_byzantine=max_tolerated(self.n_nodes),
                    training_round=1,
                    parameter_digest=THETA,
                    tick_ns=10,
                    validate=accept,
                )
            if behaviour == "liar":
                self.lie(node)

    @property
    def honest(self) -> list[int]:
        return [node for node in range(self.n_nodes) if node not in self.byzantine]

    def copies(self, destination: int, source: int, copy: int) -> list[tuple[int, int]]:
        """Machines of `destination` that hear a copy of `source`."""
        if source in self.byzantine and destination not in self.byzantine:
            hears_second, hears_both = self.second[source] >> destination & 1, self.both[source] >> destination & 1
            if not hears_both and hears_second != copy:
                return []
        chosen = [(destination, 0), (destination, 1)]
        if destination in self.byzantine and source not in self.byzantine:
            hears_second, hears_both = self.second[destination] >> source & 1, self.both[destination] >> source & 1
            chosen = chosen if hears_both else [(destination, hears_second)]
        return [machine for machine in chosen if machine in self.machines]

    def lie(self, node: int) -> None:
        draw = self.schedule
        values = [honest_value(k) for k in range(self.n_nodes)] + [b"lie 0", b"lie 1"]
        for target in self.honest:
            for _ in range(draw.randrange(6)):
                lies = draw.sample(range(self.n_nodes), draw.randint(1, self.n_nodes))
                votes = tuple((i, value_digest(1, i, draw.choice([values[i], *values[-2:]]))) for i in sorted(lies))
                chosen = draw.choice([Echo, Ready, Propose, Value, Pull])
                message: Message
                if chosen is Propose:
                    message = Propose(draw.choice(values[-2:]), draw.choice([THETA, THETA, b"u" * 32]))
                elif chosen is Value:
                    message = Value(votes[0][0], draw.choice(values))
                elif chosen is Pull:
                    message = Pull(*votes[0])
                else:
                    message = chosen(votes)
                self.bag.append(((target, 0), message, node))

    def run(self) -> None:
        for (node, copy), machine in self.machines.items():
            value = b"lie %d" % copy if node in self.byzantine else honest_value(node)
            self.handle(machine.start(value, 0), node, copy)
        while self.bag:
            index = self.schedule.randrange(len(self.bag))
            event = self.bag[index]
            if event[1] is None or self.schedule.random() >= self.repeat_probability:
                self.bag[index] = self.bag[-1]
                self.bag.pop()
            target, message, sender = event
            machine = self.machines[target]
            self.handle(machine.tick(0) if message is None else machine.receive(message, sender, 0), *target)

    def handle(self, outputs: list[Output], node: int, copy: int) -> None:
        for output in outputs:
            match output:
                case Broadcast():
                    self.post(output.message, node, copy, range(self.n_nodes))
                case Send():
                    self.post(output.message, node, copy, [output.destination])
                case SetTimer():
                    self.bag.append(((node, copy), None, -1))
                case Deliver():
                    self.deliveries[node, output.instance] += 1
                case Rejected():
                    assert 0 <= output.sender < self.n_nodes

    def post(self, message: Message, node: int, copy: int, destinations: range | list[int]) -> None:
        for destination in destinations:
            if destination != node:
                self.bag += [(target, message, node) for target in self.copies(destination, node, copy)]


def check(network: Network) -> None:
    delivered = {node: network.machines[node, 0].delivered for node in network.honest}
    for instance in range(network.n_nodes):
        values = [delivered[node].get(instance) for node in network.honest]
        assert len(set(values)) == 1, f"instance {instance}: {values}"  # agreement and totality
        if instance in network.honest:
            assert values[0] == honest_value(instance)  # validity
    assert all(
        network.deliveries[node, i] == (i in delivered[node]) for node in network.honest for i in range(network.n_nodes)
    )


@st.composite
def networks(draw: st.DrawFn) -> Network:
    n_nodes = draw(st.integers(4, 10))
    nodes = draw(st.permutations(range(n_nodes)))
    behaviours = draw(
        st.lists(st.sampled_from(["twins", "liar", "silent"]), min_size=0, max_size=max_tolerated(n_nodes))
    )
    return Network(
        n_nodes=n_nodes,
        byzantine=dict(zip(nodes, behaviours, strict=False)),
        schedule=Random(draw(st.integers(0, 2**32))),
        repeat_probability=draw(st.sampled_from([0.0, 0.0, 0.3])),
    )


@settings(max_examples=600, deadline=None)
@given(networks())
def test_agreement_validity_and_totality(network: Network) -> None:
    network.run()
    check(network)


@settings(max_examples=400, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([4, 7]))
def test_the_most_twins_cannot_split_the_smallest_networks(seed: int, n_nodes: int) -> None:
    byzantine = dict.fromkeys(range(max_tolerated(n_nodes)), "twins")
    network = Network(n_nodes=n_nodes, byzantine=byzantine, schedule=Random(seed), repeat_probability=0.0)
    network.run()
    check(network)


def selective_dispersal(n_told: int, n_nodes: int = 7) -> Network:
    """Node 0 proposes to the first `n_told` honest nodes, votes like one of them, and stays silent otherwise."""
    network = Network(n_nodes=n_nodes, byzantine={0: "silent"}, schedule=Random(n_told), repeat_probability=0.0)
    vote = (0, value_digest(1, 0, b"selective"))
    for node in range(1, n_nodes):
        if node <= n_told:
            network.bag.append(((node, 0), Propose(b"selective", THETA), 0))
        network.bag += [((node, 0), Echo((vote,)), 0), ((node, 0), Ready((vote,)), 0)]
    network.run()
    return network


def test_a_selectively_dispersed_value_reaches_all_or_none() -> None:
    for n_told in range(7):
        network = selective_dispersal(n_told)
        check(network)
        # The sender's vote and those of n_told honest nodes make the quorum of 5 from n_told = 4 on.
        assert (0 in network.machines[6, 0].delivered) == (n_told >= 4)
