"""Fewest pairs: against exhaustive search, against theory, and what is chosen between equals."""

import itertools
from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ceas.learning import cut_moves, cut_search
from ceas.learning.ansatz import hardware_efficient
from ceas.learning.circuits import ROTATIONS, Circuit, Gate, Term
from ceas.learning.cut_search import Move
from ceas.learning.cuts import Crossing, fewest_copies
from ceas.learning.partition import Partition, Teledata, Telegate, _assembled, count_pairs, partition_circuit

Matrix = npt.NDArray[np.complex128]

PAULI = {
    "I": np.eye(2, dtype=complex),
    "X": np.array([[0, 1], [1, 0]], dtype=complex),
    "Y": np.array([[0, -1j], [1j, 0]]),
    "Z": np.diag([1, -1]).astype(complex),
}
UNITARY = {
    "x": PAULI["X"],
    "y": PAULI["Y"],
    "z": PAULI["Z"],
    "h": (PAULI["X"] + PAULI["Z"]) / np.sqrt(2),
    "s": np.diag([1, 1j]),
    "sdg": np.diag([1, -1j]),
    "sx": ((1 + 1j) * PAULI["I"] + (1 - 1j) * PAULI["X"]) / 2,
    "sxdg": ((1 - 1j) * PAULI["I"] + (1 + 1j) * PAULI["X"]) / 2,
    "cnot": np.kron(np.diag([1, 0]), PAULI["I"]) + np.kron(np.diag([0, 1]), PAULI["X"]),
    "cz": np.diag([1, 1, 1, -1]).astype(complex),
    "swap": (sum(np.kron(p, p) for p in PAULI.values())) / 2,
}
KINDS = ("cnot", "cnot", "cz", "rzz", "rxx", "ryy", "swap", "ry", "rz", "rx", "h")
SERVED = ("cnot", "cz", "rzz", "rxx", "ry", "rz", "rx")


def build(n_qubits: int, listed: list[tuple[str, tuple[int, ...]]]) -> Circuit:
    """Return a circuit from kinds and qubits; all rotations turn by 1 rad."""
    gates = [
        Gate(kind=kind, qubits=qubits, angle=(Term(),) if kind in ROTATIONS else (), layer=0)  # type: ignore[arg-type]
        for kind, qubits in listed
    ]
    return Circuit(n_qubits=n_qubits, gates=tuple(gates), n_parameters=0, n_features=0)


def random_circuit(n_qubits: int, n_gates: int, seed: int, kinds: tuple[str, ...] = KINDS) -> Circuit:
    rng = np.random.default_rng(seed)
    listed: list[tuple[str, tuple[int, ...]]] = []
    for kind in rng.choice(kinds, n_gates).tolist():
        size = len(ROTATIONS.get(kind, "")) or (2 if kind in ("cnot", "cz", "swap") else 1)
        listed.append((kind, tuple(rng.permutation(n_qubits)[:size].tolist())))
    return build(n_qubits, listed)


def iqp(n_qubits: int) -> Circuit:
    return build(n_qubits, [("rzz", pair) for pair in itertools.combinations(range(n_qubits), 2)])


def fourier(n_qubits: int) -> Circuit:
    """Return the quantum Fourier transform without its swaps; controlled phases are RZZ and RZ."""
    listed: list[tuple[str, tuple[int, ...]]] = []
    for a in range(n_qubits):
        listed.append(("h", (a,)))
        for b in range(a + 1, n_qubits):
            listed += [("rzz", (a, b)), ("rz", (a,)), ("rz", (b,))]
    return build(n_qubits, listed)


def brickwork(n_qubits: int, n_layers: int, order: npt.NDArray[np.int64] | None = None) -> Circuit:
    """Return layers of RY and of CZ between neighbours, even and odd ones in turn, on a line in some order."""
    line = np.arange(n_qubits) if order is None else order
    gates: list[Gate] = []
    for layer in range(n_layers):
        gates += [Gate(kind="ry", qubits=(qubit,), angle=(Term(),), layer=layer) for qubit in range(n_qubits)]
        bricks = [(int(line[q]), int(line[q + 1])) for q in range(layer % 2, n_qubits - 1, 2)]
        gates += [Gate(kind="cz", qubits=brick, layer=layer) for brick in bricks]
    return Circuit(n_qubits=n_qubits, gates=tuple(gates), n_parameters=0, n_features=0)


@cache
def commutes(kind: str, position: int, pauli: str) -> bool:
    """Return whether a gate, at a general angle, commutes with a Pauli on one of its qubits."""
    if kind in ROTATIONS:
        factors = [PAULI[p] for p in ROTATIONS[kind]]
        product = factors[0] if len(factors) == 1 else np.kron(*factors)
        matrix = np.cos(0.35) * np.eye(len(product)) - 1j * np.sin(0.35) * product
    else:
        matrix = np.asarray(UNITARY[kind])
    operator = PAULI[pauli]
    if len(matrix) == 4:
        operator = np.kron(operator, PAULI["I"]) if position == 0 else np.kron(PAULI["I"], operator)
    return bool(np.allclose(matrix @ operator, operator @ matrix))


def leaves_alone(gate: Gate, root: int, basis: str) -> bool:
    return root not in gate.qubits or commutes(gate.kind, gate.qubits.index(root), basis)


def check_valid(circuit: Circuit, partition: Partition, limit: int) -> None:
    """Check a partition against its definition: where gates are, what copies serve, and how qubits move."""
    served: Counter[int] = Counter()
    for use in partition.uses:
        if isinstance(use, Teledata):
            assert use.link[0] != use.link[1]
            continue
        span = range(use.gates[0], use.gates[-1] + 1)
        assert all(leaves_alone(circuit.gates[index], use.root, use.basis) for index in span)
        moves = [other for other in partition.uses if isinstance(other, Teledata) and other.qubit == use.root]
        assert not any(use.gates[0] < move.before <= use.gates[-1] for move in moves)
        for index in use.gates:
            gate, qpus = circuit.gates[index], partition.gate_qpus[index]
            ends = qpus if gate.qubits[0] == use.root else qpus[::-1]
            assert ends == use.link
            served[index] += 1
    across = [
        index
        for index, gate in enumerate(circuit.gates)
        if gate.kind != "swap" and len(set(partition.gate_qpus[index])) > 1
    ]
    assert served == Counter(across)
    starts = [use.gates[0] if isinstance(use, Telegate) else use.before for use in partition.uses]
    assert starts == sorted(starts)
    assert max(Counter(partition.readout_qpus).values()) <= limit


def exhaustive(circuit: Circuit, capacity: int, limit: int, *, sharing: bool, moving: bool) -> int:
    """Return the fewest pairs over all places of all qubits before every gate and all ways to serve it.

    A SWAP across exchanges places for nothing where qubits may move, and costs two pairs where they may not.
    """
    every = list(itertools.product(range(2), repeat=circuit.n_qubits))

    def fits(places: tuple[int, ...], room: int) -> bool:
        return max(Counter(places).values()) <= room

    @cache
    def rest(index: int, places: tuple[int, ...], copies: frozenset[tuple[int, str, int]]) -> float:
        if index == len(circuit.gates):
            return 0
        goals = [goal for goal in every if fits(goal, limit)] if moving else [places]
        return min(arrived(index, places, goal, copies) for goal in goals)

    def arrived(
        index: int, places: tuple[int, ...], goal: tuple[int, ...], copies: frozenset[tuple[int, str, int]]
    ) -> float:
        spent = sum(a != b for a, b in zip(places, goal, strict=True))
        kept = frozenset(copy for copy in copies if places[copy[0]] == goal[copy[0]])
        gate = circuit.gates[index]
        if len({goal[qubit] for qubit in gate.qubits}) == 1:
            return spent + after(index, goal, kept)
        if gate.kind == "swap":
            if not moving:
                return 2 + after(index, goal, kept)
            a, b = gate.qubits
            exchanged = tuple({a: goal[b], b: goal[a]}.get(qubit, place) for qubit, place in enumerate(goal))
            return spent + after(index, exchanged, kept)
        ways = [
            spent + ((root, basis, goal[other]) not in kept) + after(index, goal, kept | {(root, basis, goal[other])})
            for root, other in (gate.qubits, gate.qubits[::-1])
            for basis in "XYZ"
            if leaves_alone(gate, root, basis)
        ]
        return min(ways)

    def after(index: int, places: tuple[int, ...], copies: frozenset[tuple[int, str, int]]) -> float:
        gate = circuit.gates[index]
        kept = frozenset(copy for copy in copies if sharing and leaves_alone(gate, copy[0], copy[1]))
        return rest(index + 1, places, kept)

    return int(min(rest(0, places, frozenset()) for places in every if fits(places, capacity)))


@pytest.mark.parametrize("sharing", [True, False])
@pytest.mark.parametrize(
    ("n_qubits", "n_gates", "seed"), [(4, 8, seed) for seed in range(15)] + [(3, 14, 50), (4, 14, 51)]
)
def test_no_choice_of_places_and_copies_needs_fewer_pairs(
    n_qubits: int, n_gates: int, seed: int, sharing: bool
) -> None:
    circuit = random_circuit(n_qubits, n_gates, seed)
    stay = partition_circuit(circuit, "qubit", sharing=sharing)
    move = partition_circuit(circuit, "auto", sharing=sharing)
    capacity = -(-n_qubits // 2)
    limit = min(capacity + 1, n_qubits - 1)
    check_valid(circuit, stay, capacity)
    check_valid(circuit, move, limit)
    assert stay.pairs_per_shot == exhaustive(circuit, capacity, capacity, sharing=sharing, moving=False)
    assert move.pairs_per_shot == exhaustive(circuit, capacity, limit, sharing=sharing, moving=True)
    assert all(row.is_optimal for row in count_pairs(circuit))


@pytest.mark.parametrize("seed", [0, 5])
def test_longer_circuits_of_cheap_gates_are_cut_best_too(seed: int) -> None:
    """Gates that copies serve, with few gates that end a stretch: here groups are large and choices many."""
    circuit = random_circuit(5, 14, seed, SERVED[:4] * 2 + ("rz", "rx", "ry"))
    for sharing in (True, False):
        move = partition_circuit(circuit, "auto", sharing=sharing)
        check_valid(circuit, move, 4)
        assert move.pairs_per_shot == exhaustive(circuit, 3, 4, sharing=sharing, moving=True)


def test_a_qubit_that_changes_partners_moves_once() -> None:
    """Qubit 0 works with 1, then with 2 and 3; RY ends all stretches in between."""
    turns = [("ry", (qubit,)) for qubit in range(4)]
    first = [("cz", (0, 1)), *turns]
    then = [("cz", (0, 2)), ("cz", (0, 3)), ("cz", (2, 3)), *turns]
    circuit = build(4, 3 * first + 3 * then)
    move = partition_circuit(circuit, "auto")
    assert move.readout_qpus == (1, 0, 1, 1)
    assert move.uses == (Teledata(qubit=0, before=15, link=(0, 1)),)
    assert partition_circuit(circuit, "qubit").pairs_per_shot == 3


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=12, unique=True))
@settings(max_examples=150, deadline=None)
def test_fewest_copies_are_a_minimum_cover(edges: list[tuple[int, int]]) -> None:
    """Each gate is served by a copy at one of its ends; try all choices of ends."""
    crossings = [Crossing(gate, ((left, 0), (10 + right, 0)), (0, 1)) for gate, (left, right) in enumerate(edges)]
    copies = fewest_copies(crossings)
    ends = [(left, 10 + right) for left, right in edges]
    assert len(copies) == min(len(set(choice)) for choice in itertools.product(*ends))
    assert sorted(gate for copy in copies for gate in copy.gates) == list(range(len(edges)))
    for copy in copies:
        assert all(copy.stretch[0] in ends[gate] for gate in copy.gates)
        assert copy.link == ((0, 1) if copy.stretch[0] < 10 else (1, 0))


@pytest.mark.parametrize("n_qubits", [4, 6, 8, 10])
def test_all_to_all_diagonal_gates_share_one_copy_per_qubit_of_a_half(n_qubits: int) -> None:
    """(n/2)^2 gates of an IQP circuit cross, and any n/2 qubits of one side cover them; fewer leave a matching open."""
    rows = {(row.kind, row.is_sharing): row for row in count_pairs(iqp(n_qubits))}
    assert rows["qubit", False].pairs == (n_qubits // 2) ** 2
    assert rows["qubit", True].pairs == n_qubits // 2
    assert rows["auto", True].pairs == n_qubits // 2
    # Without sharing it is cheaper to bring every qubit to every other: all but one move, once.
    assert rows["auto", False].pairs == min((n_qubits // 2) ** 2, n_qubits - 1)


@pytest.mark.parametrize("n_qubits", [4, 6, 8, 10, 12])
def test_fourier_transform_needs_half_a_pair_per_qubit(n_qubits: int) -> None:
    """Phases cross between the stretch after H of the earlier qubit and that before H of the later one.

    In any balanced cut n/2 crossing phases have no stretch in common: match brackets in the sequence of owners, then
    the unmatched qubits the other way.
    """
    circuit = fourier(n_qubits)
    assert partition_circuit(circuit, "qubit", sharing=False).pairs_per_shot == (n_qubits // 2) ** 2
    shared = partition_circuit(circuit, "qubit")
    assert shared.pairs_per_shot == n_qubits // 2
    check_valid(circuit, shared, n_qubits // 2)


@pytest.mark.parametrize(("n_qubits", "n_layers"), [(4, 3), (6, 4), (8, 5), (10, 2)])
def test_hardware_efficient_circuits_and_brickwork_pay_for_each_crossing(n_qubits: int, n_layers: int) -> None:
    """RY on every qubit between layers ends all stretches, so that a line pays 1 a layer and a ring 2."""
    for sharing in (True, False):
        for entangler, per_layer in (("chain", 1), ("ring", 2)):
            circuit = hardware_efficient(n_qubits, n_layers, entangler)  # type: ignore[arg-type]
            assert partition_circuit(circuit, "qubit", sharing=sharing).pairs_per_shot == per_layer * n_layers
        # The cut between the halves lies under the bricks of every other layer.
        found = partition_circuit(brickwork(n_qubits, n_layers), "qubit", sharing=sharing).pairs_per_shot
        parity = (n_qubits // 2 - 1) % 2
        assert found == sum(layer % 2 == parity for layer in range(n_layers))


def test_diagonal_layers_between_entanglers_need_no_further_pairs() -> None:
    """RZ and CZ alone end no stretch: ten layers cost what one costs."""
    layer = [("rz", (q,)) for q in range(6)] + [("cz", (q, q + 1)) for q in range(5)]
    assert partition_circuit(build(6, 10 * layer), "qubit").pairs_per_shot == 1
    assert partition_circuit(build(6, 10 * layer), "qubit", sharing=False).pairs_per_shot == 10


def test_copies_go_to_each_further_qpu_once() -> None:
    """A star of CNOTs from qubit 0, over three QPUs."""
    circuit = build(6, [("cnot", (0, target)) for target in (1, 2, 3, 4, 5)])
    partition = partition_circuit(circuit, "qubit", n_qpus=3)
    assert partition.readout_qpus == (0, 0, 1, 1, 2, 2)
    assert [(use.root, use.basis, use.gates, use.link) for use in partition.uses if isinstance(use, Telegate)] == [
        (0, "Z", (1, 2), (0, 1)),
        (0, "Z", (3, 4), (0, 2)),
    ]
    assert partition_circuit(circuit, "qubit", n_qpus=3, sharing=False).pairs_per_shot == 4


def test_three_qpus_are_cut_best_when_qubits_stay() -> None:
    owners = sorted(set(itertools.permutations((0, 0, 1, 1, 2, 2))))
    for seed in range(2):
        circuit = random_circuit(6, 30, seed, SERVED)
        found = partition_circuit(circuit, "qubit", n_qpus=3)
        check_valid(circuit, found, 2)
        fixed = [partition_circuit(circuit, "qubit", n_qpus=3, owner=owner).pairs_per_shot for owner in owners]
        assert found.pairs_per_shot == min(fixed) < max(fixed)


def test_room_for_all_needs_no_pairs() -> None:
    circuit = random_circuit(6, 30, 1)
    assert partition_circuit(circuit, "qubit", capacity=6).pairs_per_shot == 0
    assert partition_circuit(circuit, "auto", capacity=6).pairs_per_shot == 0
    pairs = [partition_circuit(circuit, "qubit", capacity=capacity).pairs_per_shot for capacity in (3, 4, 5, 6)]
    assert pairs == sorted(pairs, reverse=True)


def test_fixed_homes_are_kept() -> None:
    circuit = hardware_efficient(4, 1, "chain")
    partition = partition_circuit(circuit, "qubit", owner=(0, 1, 0, 1))
    assert partition.readout_qpus == (0, 1, 0, 1)
    assert partition.pairs_per_shot == 3


@pytest.mark.parametrize("n_qubits", [18, 20])
def test_the_heuristic_finds_the_cut_of_a_shuffled_line(n_qubits: int) -> None:
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(n_qubits)
        found = partition_circuit(brickwork(n_qubits, 4, order), "qubit")
        assert found.pairs_per_shot == 2
        assert Counter(found.readout_qpus) == {0: n_qubits // 2, 1: n_qubits // 2}


def test_the_heuristic_comes_close_to_the_best_homes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten qubits, where all homes can be tried."""
    circuits = [random_circuit(10, 80, seed, SERVED) for seed in range(6)]
    best = [cut_search.best_homes(circuit, 2, 5) for circuit in circuits]
    assert all(cut.is_optimal for cut in best)
    monkeypatch.setattr(cut_search, "MOST_TRIED", 1)
    cut_search.ranked_homes.cache_clear()
    cut_search.best_homes.cache_clear()
    found = [cut_search.best_homes(circuit, 2, 5) for circuit in circuits]
    cut_search.ranked_homes.cache_clear()
    cut_search.best_homes.cache_clear()
    assert not any(cut.is_optimal for cut in found)
    excess = [cut.pairs / lowest.pairs for cut, lowest in zip(found, best, strict=True)]
    assert min(excess) >= 1
    assert np.mean(excess) <= 1.05


def test_few_states_give_valid_moves_that_are_not_worse_than_staying(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cut_moves, "MOST_STATES", 200)
    cut_moves.best_moves.cache_clear()
    for seed in range(4):
        circuit = random_circuit(8, 60, seed)
        move = partition_circuit(circuit, "auto")
        check_valid(circuit, move, 5)
        assert move.pairs_per_shot < partition_circuit(circuit, "qubit").pairs_per_shot
        assert not cut_moves.best_moves(circuit, 2, 4).is_optimal
    cut_moves.best_moves.cache_clear()


def test_a_copy_ends_where_its_root_moves() -> None:
    """Both qubits go away and come back in the midst of one stretch, which takes two copies then."""
    circuit = build(2, 4 * [("cz", (0, 1))])
    moves = (Move(0, 1, (0, 1)), Move(0, 2, (1, 0)))
    partition = _assembled(circuit, "auto", 2, (0, 1), moves, sharing=True)
    check_valid(circuit, partition, 2)
    assert [(use.root, use.gates) for use in partition.uses if isinstance(use, Telegate)] == [(1, (0, 2, 3))]
    split = _assembled(circuit, "auto", 2, (0, 1), (*moves, Move(1, 3, (1, 0)), Move(1, 3, (0, 1))), sharing=True)
    assert len([use for use in split.uses if isinstance(use, Telegate)]) == 2


@pytest.mark.parametrize("seed", [11, 18])
def test_moving_closes_copies_for_the_search(seed: int) -> None:
    """On three QPUs a root may want to move while copies of it are open."""
    circuit = random_circuit(6, 40, seed, ("cz", "rzz", "cz", "rzz", "ry"))
    found = partition_circuit(circuit, "auto", n_qpus=3)
    check_valid(circuit, found, 3)
    assert found.pairs_per_shot == cut_moves.best_moves(circuit, 3, 2).pairs


def test_four_qpus_with_moves_are_valid() -> None:
    circuit = random_circuit(8, 40, 3)
    move = partition_circuit(circuit, "auto", n_qpus=4)
    check_valid(circuit, move, 3)
    assert move.pairs_per_shot <= partition_circuit(circuit, "qubit", n_qpus=4).pairs_per_shot


def test_the_table_in_the_docs_is_right() -> None:
    circuits = {
        "chain": hardware_efficient(8, 4, "chain"),
        "ring": hardware_efficient(8, 4),
        "brickwork": brickwork(8, 4),
        "IQP, RZZ on all pairs": iqp(8),
        "Fourier transform, no swaps": fourier(8),
    }
    text = (Path(__file__).parents[2] / "docs" / "partitions.md").read_text(encoding="utf-8")
    for name, circuit in circuits.items():
        rows = count_pairs(circuit)
        assert all(row.is_optimal for row in rows)
        layer = "-" if rows[1].kind != "layer" else str(rows[1].pairs)
        cells = [name, layer, *(str(row.pairs) for row in rows[-4:])]
        assert f"| {' | '.join(cells)} |" in text
