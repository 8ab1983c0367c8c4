"""Predicted costs of the exact engine against those of the compiled programs."""

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ceas.learning import cost
from ceas.learning.ansatz import hardware_efficient
from ceas.learning.circuits import Circuit, Gate, Term
from ceas.learning.cost import Expense, engine_cost
from ceas.learning.encoding import encode_inputs
from ceas.learning.engine import expectations, loss_and_gradient
from ceas.learning.noise import noiseless
from ceas.learning.partition import PartitionKind, partition_circuit


def layers(n_qubits: int, n_layers: int, *, is_reuploaded: bool) -> Circuit:
    """RY of an input, re-uploaded in each layer or not, then RZZ along a chain and RX."""
    gates: list[Gate] = []
    n_parameters = 0

    def add(kind: Literal["rx", "rzz"], *qubits: int, layer: int) -> None:
        nonlocal n_parameters
        gates.append(Gate(kind=kind, qubits=qubits, angle=(Term(parameter=n_parameters),), layer=layer))
        n_parameters += 1

    for layer in range(n_layers):
        if layer == 0 or is_reuploaded:
            inputs = (Term(features=(q,)) for q in range(n_qubits))
            gates += [Gate(kind="ry", qubits=(q,), angle=(term,), layer=layer - 1) for q, term in enumerate(inputs)]
        for qubit in range(n_qubits - 1):
            add("rzz", qubit, qubit + 1, layer=layer)
        for qubit in range(n_qubits):
            add("rx", qubit, layer=layer)
    return Circuit(n_qubits=n_qubits, gates=tuple(gates), n_parameters=n_parameters, n_features=n_qubits)


def mean_square(values: jax.Array, targets: jax.Array) -> jax.Array:
    return jnp.mean((values - targets) ** 2)


@pytest.mark.parametrize(
    ("circuit", "kind", "sizes", "relaxes"),
    [
        (hardware_efficient(6, 3), "data", (50, 16, 1), False),
        pytest.param(hardware_efficient(6, 7), "qubit", (10, 16, 2), False, marks=pytest.mark.slow),
        pytest.param(hardware_efficient(6, 4, "chain"), "data", (10, 16, 2), True, marks=pytest.mark.slow),
        pytest.param(layers(6, 4, is_reuploaded=False), "data", (10, 16, 2), False, marks=pytest.mark.slow),
        (layers(5, 4, is_reuploaded=True), "data", (5, 24, 1), False),
    ],
)
def test_memory_is_predicted_within_a_factor_of_two(
    circuit: Circuit, kind: PartitionKind, sizes: tuple[int, int, int], *, relaxes: bool
) -> None:
    n_learners, n_samples, n_observables = sizes
    partition = partition_circuit(circuit, kind)
    noise = noiseless(partition, n_learners)
    if relaxes:
        noise = noise._replace(relaxation=jnp.ones((n_learners, partition.n_qpus, 2, 3)))
    observables = tuple(range(n_observables))
    encoded = encode_inputs(circuit, np.zeros((n_learners, n_samples, circuit.n_features)))
    arguments = (jnp.zeros(circuit.n_parameters), encoded, noise)
    targets = jnp.zeros((n_learners, n_samples, n_observables))
    predicted = engine_cost(
        circuit,
        partition,
        n_learners=n_learners,
        n_samples=n_samples,
        n_observables=n_observables,
        has_relaxation=relaxes,
    )
    programs = (
        jax.jit(lambda *given: expectations(circuit, partition, *given, observables=observables)),
        jax.jit(
            lambda *given: loss_and_gradient(
                circuit, partition, *given, targets=targets, observables=observables, loss=mean_square
            )
        ),
    )
    # The memory that is asked for does not depend on how well the code is optimised.
    quickly: dict[str, str | bool] = {
        "xla_backend_optimization_level": "0",
        "xla_llvm_disable_expensive_passes": True,
    }
    for program, expense in zip(programs, predicted, strict=True):
        found = program.lower(*arguments).compile(quickly).memory_analysis()
        assert found is not None
        assert found.temp_size_in_bytes / 2 < expense.bytes < 2 * found.temp_size_in_bytes


def test_costs_grow_with_the_strings_and_double_with_the_precision() -> None:
    def cost(n_qubits: int, dtype: type) -> Expense:
        circuit = hardware_efficient(n_qubits, 3)
        partition = partition_circuit(circuit)
        return engine_cost(circuit, partition, n_learners=1, n_samples=1, n_observables=1, dtype=dtype).gradient

    # Eight qubits are counted, more are estimated.
    for small, large in ((6, 8), (8, 10), (10, 12)):
        assert 10 < cost(large, np.float32).bytes / cost(small, np.float32).bytes < 40
        assert 10 < cost(large, np.float32).flops / cost(small, np.float32).flops < 40
    assert cost(10, np.float64).bytes == 2 * cost(10, np.float32).bytes


def test_blocks_bound_the_memory_of_many_learners() -> None:
    circuit = hardware_efficient(8, 3)
    partition = partition_circuit(circuit)
    few, many = (
        engine_cost(circuit, partition, n_learners=n, n_samples=16, n_observables=1).gradient for n in (500, 1000)
    )
    assert many.bytes == few.bytes < 5e8
    assert many.flops == pytest.approx(2 * few.flops)


@pytest.mark.parametrize(
    ("circuit", "n_observables"),
    [(hardware_efficient(8, 3, "chain"), 4), (hardware_efficient(8, 3), 8), (hardware_efficient(7, 2, "chain"), 2)],
)
def test_estimates_without_compiling_are_close_to_counts(
    circuit: Circuit, n_observables: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    partition = partition_circuit(circuit, "qubit")

    def gradient() -> Expense:
        return engine_cost(circuit, partition, n_learners=1, n_samples=1, n_observables=n_observables).gradient

    counted = gradient()
    monkeypatch.setattr(cost, "_MOST_COUNTED", 0)
    estimated = gradient()
    assert 0.5 < estimated.flops / counted.flops < 2
    assert 0.5 < estimated.bytes / counted.bytes < 2


def test_deep_circuits_of_many_qubits_are_cheap_where_one_qubit_is_read_after_few_gates() -> None:
    """The light cone of qubit 0 on a chain has five qubits after two layers, whatever the number of qubits."""
    sizes = []
    for n_qubits in (10, 14):
        circuit = hardware_efficient(n_qubits, 2, "chain")
        partition = partition_circuit(circuit)
        found = engine_cost(circuit, partition, n_learners=1, n_samples=0, n_observables=1)
        sizes.append(found.expectations.flops)
    assert sizes[0] == sizes[1] < 1e5
