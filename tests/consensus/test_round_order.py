"""The order of what a round asks for: nothing is concluded before what it rests on was returned."""

from typing import Any

from ceas.consensus import (
    Conclude,
    ConsensusRound,
    Decide,
    Decision,
    Deliver,
    Echo,
    Propose,
    Ready,
    decode_round_state,
    encode_round_state,
    value_digest,
)

VALUES = {node: b"value %d" % node for node in range(4)}
VOTES = {node: (node, value_digest(0, node, value)) for node, value in VALUES.items()}


def machine(node: int, n_nodes: int, restored: Any = None) -> ConsensusRound:
    return ConsensusRound(
        node=node,
        n_nodes=n_nodes,
        tolerated_byzantine=(n_nodes - 1) // 3,
        training_round=0,
        parameter_digest=bytes(32),
        delay_bound_ns=1000,
        validate=lambda value, proposer: None,  # noqa: ARG005
        restored=restored,
    )


def test_a_conclusion_comes_after_the_deliveries_that_it_rests_on() -> None:
    one = machine(3, 4)
    out = one.start(VALUES[3], 0)
    for node in (0, 1, 2):
        out += one.receive(Propose(VALUES[node], bytes(32)), node, 1)
    echo, ready = Echo(tuple(VOTES[node] for node in (0, 1, 2))), Ready(tuple(VOTES[node] for node in (0, 1, 2)))
    for node in (0, 1):
        out += one.receive(Decision(0b0111), node, 2)
        out += one.receive(echo, node, 2)
        out += one.receive(ready, node, 2)
    out += one.receive(ready, 2, 3)
    kinds = [type(output) for output in out if isinstance(output, Decide | Deliver | Conclude)]
    assert kinds == [Decide, Deliver, Deliver, Deliver, Conclude]


def test_a_roster_of_one_goes_on_after_a_restart() -> None:
    one = machine(0, 1)
    out = one.start(VALUES[0], 0) + one.tick(1000) + one.tick(4000)
    assert any(isinstance(output, Conclude) for output in out)
    again = machine(0, 1, decode_round_state(encode_round_state(one.state)))
    out = again.start(b"another", 5000) + again.tick(9000) + again.tick(18_000)
    assert [output.values for output in out if isinstance(output, Conclude)] == [{0: VALUES[0]}]
