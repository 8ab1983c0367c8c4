"""How a circuit is spread over the learner's own quantum processor (QPU) and those that lend it qubits.

Two things cost a Bell pair. *Telegate*: a pair copies one qubit (the root) to another QPU, in the basis in which the
gates that use the copy leave the root alone; all gates served by one copy share its pair. *Teledata*: a pair moves a
qubit. `ceas.learning.cuts` says which gates can share a copy, and `docs/partitions.md` explains all of this at length.

Errors of the pair, which strike with the weights of its Bell-diagonal state (X, Y, Z; half of each for Y):

- Telegate with basis Z: an X error makes the copy wrong, so that every served gate acts as if the root were flipped: a
  CNOT adds X on its target, a CZ adds Z on its other qubit, an RZZ turns the other way. A Z error is Z on the root.
- Telegate with basis X: the same after a Hadamard on the root: a served CNOT, of which the root is the target, adds Z
  on its control, an RXX turns the other way; the pair's Z error is X on the root.
- Telegate with basis Y: an RYY turns the other way; the pair's Z error is Y on the root.
- Teledata: the Pauli error strikes the qubit that moves.

A SWAP across exchanges the QPUs of its qubits by their names alone: after it, each qubit is where the other was.

Sources: Eisert, Jacobs, Papadopoulos and Plenio, PRA 62, 052317, 2000 (one pair per teleported CNOT); Yimsiriwattana
and Lomonaco, quant-ph/0402148 (one copy for many gates).
"""

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

from ceas.errors import DomainError, UnknownNameError
from ceas.learning.circuits import Circuit
from ceas.learning.cut_moves import best_moves
from ceas.learning.cut_search import Move, best_homes, visits
from ceas.learning.cuts import Copy, Crossing, Stretches, fewest_copies, stretches_of

__all__ = ["PairCount", "Partition", "PartitionKind", "Teledata", "Telegate", "count_pairs", "partition_circuit"]

PartitionKind = Literal["data", "layer", "qubit", "auto"]

_KINDS = ("data", "layer", "qubit", "auto")
_SEARCHES = {"qubit": best_homes, "auto": best_moves}


@dataclass(frozen=True, slots=True, kw_only=True)
class Telegate:
    """A pair that copies a qubit to another QPU.

    Attributes:
        root: The qubit that is copied.
        basis: Pauli operator of the root that the copy carries: `"Z"` serves CNOTs from the root, CZ and RZZ; `"X"`
            serves CNOTs onto the root and RXX; `"Y"` serves RYY.
        gates: Indices in `circuit.gates` of the gates served, in order. From the first to the last of them, no other
            gate of the circuit changes the root in that basis.
        link: The two QPUs that share the pair; the root is at the first.
    """

    root: int
    basis: Literal["Z", "X", "Y"]
    gates: tuple[int, ...]
    link: tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Teledata:
    """A pair that moves a qubit.

    Attributes:
        qubit: The qubit that moves.
        before: Index of the gate before which it moves; the number of gates, to move before the measurement.
        link: The QPUs from and to which it moves.
    """

    qubit: int
    before: int
    link: tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Partition:
    """Where each gate runs and what each pair of a shot does; hashable, like the circuit.

    Attributes:
        kind: `"data"`, `"layer"`, `"qubit"` or `"auto"`, see `partition_circuit`.
        n_qpus: Number of QPUs; number 0 is the learner's own.
        gate_qpus: For each gate of the circuit, the QPU of each of its qubits, whose errors they suffer.
        readout_qpus: For each qubit, the QPU that measures it.
        uses: What the pairs of one shot do, in the order in which they are taken.
    """

    kind: PartitionKind
    n_qpus: int
    gate_qpus: tuple[tuple[int, ...], ...]
    readout_qpus: tuple[int, ...]
    uses: tuple[Telegate | Teledata, ...]

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash((self.kind, self.n_qpus, self.gate_qpus, self.readout_qpus, self.uses))

    @property
    def pairs_per_shot(self) -> int:
        """Bell pairs that one shot consumes."""
        return len(self.uses)


class PairCount(NamedTuple):
    """Pairs that one shot of a circuit needs in one partition.

    Attributes:
        kind: The partition.
        is_sharing: Whether gates share copies.
        telegates: Copies of qubits.
        teledata: Moves of qubits.
        is_optimal: Whether no partition of this kind needs fewer pairs for certain.
    """

    kind: PartitionKind
    is_sharing: bool
    telegates: int
    teledata: int
    is_optimal: bool

    @property
    def pairs(self) -> int:
        """All pairs of a shot."""
        return self.telegates + self.teledata


def partition_circuit(
    circuit: Circuit,
    kind: PartitionKind = "data",
    *,
    n_qpus: int = 2,
    capacity: int | None = None,
    owner: tuple[int, ...] | None = None,
    sharing: bool = True,
    boundaries: tuple[int, ...] | None = None,
) -> Partition:
    """Spread a circuit over QPUs so that a shot needs as few pairs as can be found.

    - `"data"`: each learner runs the whole circuit on its own QPU; no pairs.
    - `"layer"`: a block of layers on each QPU; between blocks all qubits move to the next QPU, one pair each.
    - `"qubit"`: every qubit stays at its home and copies serve the gates across. The homes that need the fewest pairs
      are chosen; of these, runs of neighbouring qubits, the longer ones first, if they are among them. No copy serves
      a SWAP: both its qubits move over, two pairs.
    - `"auto"`: a qubit may also move to the other qubit of a gate and stay there, where this needs fewer pairs in all.
      A SWAP across only exchanges its qubits' names.

    Args:
        circuit: The circuit.
        kind: What the QPUs divide among them.
        n_qpus: Number of QPUs, at least 2; `"data"` always has 1. For `"layer"` with `boundaries`, block k runs on QPU
            `k % n_qpus`.
        capacity: Qubits of the circuit that a QPU can hold, by default `n_qubits / n_qpus` rounded up. Communication
            qubits, which hold copies, are extra. With `"auto"` a qubit that moved may stay in one of them, so that a
            QPU can hold `capacity + 1` qubits then, yet not all of them. `"data"` and `"layer"` need room for all.
        owner: QPU of each qubit, which is then not chosen; for `"qubit"` alone.
        sharing: Whether gates share copies.
        boundaries: First layers of the blocks after the first, for `"layer"` alone; by default, `n_qpus` blocks as
            equal as possible, the longer ones first.

    Raises:
        UnknownNameError: `kind` is not known.
        DomainError: The circuit cannot be cut like this, or an argument does not fit `kind`.
    """
    if kind not in _KINDS:
        raise UnknownNameError("partition", kind, _KINDS)
    _check_arguments(circuit, kind, n_qpus=n_qpus, capacity=capacity, owner=owner, boundaries=boundaries)
    moves: tuple[Move, ...] = ()
    if kind == "data":
        owner, n_qpus = (0,) * circuit.n_qubits, 1
    elif kind == "layer":
        owner, moves = (0,) * circuit.n_qubits, _layer_moves(circuit, n_qpus, boundaries)
    elif owner is not None:
        moves = visits(circuit, owner)
    else:
        owner, moves, *_ = _SEARCHES[kind](circuit, n_qpus, _room(circuit, n_qpus, capacity), sharing)
    return _assembled(circuit, kind, n_qpus, owner, moves, sharing=sharing)


def count_pairs(circuit: Circuit, *, n_qpus: int = 2, capacity: int | None = None) -> tuple[PairCount, ...]:
    """Return the pairs of a shot in each partition that the circuit allows, with and without shared copies.

    Args:
        circuit: The circuit.
        n_qpus: See `partition_circuit`.
        capacity: See `partition_circuit`; `"layer"` has room for all qubits.
    """
    rows = [PairCount("data", True, 0, 0, True)]
    if _n_layers(circuit) >= n_qpus:
        rows.append(PairCount("layer", True, 0, (n_qpus - 1) * circuit.n_qubits, True))
    if circuit.n_qubits == 1:
        return tuple(rows)
    room = _room(circuit, n_qpus, capacity)
    kinds: tuple[PartitionKind, ...] = ("qubit", "auto")
    for kind, sharing in itertools.product(kinds, (False, True)):
        cut = _SEARCHES[kind](circuit, n_qpus, room, sharing)
        rows.append(PairCount(kind, sharing, cut.pairs - len(cut.moves), len(cut.moves), cut.is_optimal))
    return tuple(rows)


def _assembled(
    circuit: Circuit,
    kind: PartitionKind,
    n_qpus: int,
    owner: Sequence[int],
    moves: Sequence[Move],
    *,
    sharing: bool,
) -> Partition:
    """Follow the qubits through the circuit, and serve the gates across by fewest copies."""
    places, pending = list(owner), list(reversed(moves))
    n_moves = [0] * circuit.n_qubits
    stretches = stretches_of(circuit, sharing)
    gate_qpus: list[tuple[int, ...]] = []
    crossings = []
    for index, gate in enumerate(circuit.gates):
        while pending and pending[-1].before == index:
            move = pending.pop()
            places[move.qubit] = move.link[1]
            n_moves[move.qubit] += 1
        qpus = tuple(places[qubit] for qubit in gate.qubits)
        if gate.kind == "swap":
            qpus = qpus[::-1]
            places[gate.qubits[0]], places[gate.qubits[1]] = qpus
        elif len(set(qpus)) > 1:
            # A copy ends where its root moves, so that a stretch is another one after each move.
            keys = [(i, n_moves[q]) for i, q in zip(stretches.of_gate[index], gate.qubits, strict=True)]
            crossings.append(Crossing(index, (keys[0], keys[1]), (qpus[0], qpus[1])))
        gate_qpus.append(qpus)
    for move in reversed(pending):
        places[move.qubit] = move.link[1]
    return Partition(
        kind=kind,
        n_qpus=n_qpus,
        gate_qpus=tuple(gate_qpus),
        readout_qpus=tuple(places),
        uses=_uses(stretches, fewest_copies(crossings), moves),
    )


def _uses(stretches: Stretches, copies: Sequence[Copy], moves: Sequence[Move]) -> tuple[Telegate | Teledata, ...]:
    """Return what the pairs do in the order in which they are taken, qubits that move first."""
    uses: list[tuple[int, Telegate | Teledata]] = [(move.before, Teledata(**move._asdict())) for move in moves]
    for copy in copies:
        stretch = copy.stretch[0]
        root, basis = stretches.root[stretch], stretches.basis[stretch]
        uses.append((copy.gates[0], Telegate(root=root, basis=basis, gates=copy.gates, link=copy.link)))
    return tuple(use for _, use in sorted(uses, key=lambda item: item[0]))


def _layer_moves(circuit: Circuit, n_qpus: int, boundaries: tuple[int, ...] | None) -> tuple[Move, ...]:
    n_layers = _n_layers(circuit)
    if boundaries is None:
        if n_layers < n_qpus:
            raise DomainError(f"Argument `n_qpus` must be at most the {n_layers} layers, but is {n_qpus}.")
        short, n_longer = divmod(n_layers, n_qpus)
        boundaries = tuple(block * short + min(block, n_longer) for block in range(1, n_qpus))
    if list(boundaries) != sorted(set(boundaries)) or not all(0 < layer < n_layers for layer in boundaries):
        raise DomainError(f"Argument `boundaries` must increase within 1..{n_layers - 1}, but is {boundaries}.")
    moves = []
    for block, layer in enumerate(boundaries):
        link = (block % n_qpus, (block + 1) % n_qpus)
        before = _first_gate(circuit, layer)
        moves += [Move(qubit, before, link) for qubit in range(circuit.n_qubits)]
    return tuple(moves)


def _first_gate(circuit: Circuit, layer: int) -> int:
    """Return the index after the last gate below a layer; gates of layer -1 that follow it encode for this layer."""
    earlier = [index for index, gate in enumerate(circuit.gates) if 0 <= gate.layer < layer]
    later = [index for index, gate in enumerate(circuit.gates) if gate.layer >= layer]
    if later and max(earlier, default=-1) > later[0]:
        raise DomainError(f"Argument `circuit` must do all gates before layer {layer} first, but mixes them.")
    return max(earlier, default=-1) + 1


def _n_layers(circuit: Circuit) -> int:
    return 1 + max((gate.layer for gate in circuit.gates), default=-1)


def _room(circuit: Circuit, n_qpus: int, capacity: int | None) -> int:
    """Return how many qubits a QPU can hold."""
    least = -(-circuit.n_qubits // n_qpus)
    if capacity is not None and capacity < least:
        raise DomainError(f"Argument `capacity` must be at least {least} for {n_qpus} processors, but is {capacity}.")
    return capacity or least


def _check_arguments(
    circuit: Circuit,
    kind: PartitionKind,
    *,
    n_qpus: int,
    capacity: int | None,
    owner: tuple[int, ...] | None,
    boundaries: tuple[int, ...] | None,
) -> None:
    n_qubits = circuit.n_qubits
    if n_qpus < 2:
        raise DomainError(f"Argument `n_qpus` must be at least 2, but is {n_qpus}.")
    if kind in ("data", "layer") and capacity is not None and capacity < n_qubits:
        raise DomainError(f"Argument `capacity` must be at least {n_qubits} for `{kind}`, but is {capacity}.")
    if kind in ("qubit", "auto") and n_qubits < 2:
        raise DomainError(f"Argument `circuit` must have at least 2 qubits for the partition `{kind}`, but has 1.")
    if boundaries is not None and kind != "layer":
        raise DomainError(f"Argument `boundaries` must be absent for `{kind}`, but is {boundaries}.")
    if owner is None:
        return
    if kind != "qubit":
        raise DomainError(f"Argument `owner` must be absent for `{kind}`, but is {owner}.")
    if len(owner) != n_qubits or not all(0 <= qpu < n_qpus for qpu in owner):
        raise DomainError(f"Argument `owner` must hold a processor below {n_qpus} per qubit, but is {owner}.")
    if capacity is not None and max(Counter(owner).values()) > capacity:
        raise DomainError(f"Argument `owner` must put at most {capacity} qubits on a processor, but is {owner}.")
