"""Predicted costs against what programs really take, and the choices that follow."""

import tracemalloc
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ceas.errors import DomainError, UnknownNameError
from ceas.learning import engine, engines
from ceas.learning.ansatz import hardware_efficient
from ceas.learning.encoding import Encoded
from ceas.learning.engines import available_memory, choose_engine
from ceas.learning.noise import NoiseTable, node_noise, noiseless
from ceas.learning.partition import partition_circuit
from ceas.learning.trajectories import expectations, loss_and_gradient

GIB = 2**30


def choose(n_qubits: int, *, n_layers: int = 3, **changes: Any) -> Any:
    circuit = hardware_efficient(n_qubits, n_layers, "ring")
    request: dict[str, Any] = {
        "n_learners": 10,
        "n_samples": 20,
        "n_observables": 2,
        "has_relaxation": False,
        "is_noiseless": False,
        "n_trajectories": 100,
        "needs_gradient": True,
        "memory_limit_bytes": 8 * GIB,
    }
    return choose_engine(circuit, partition_circuit(circuit, "data"), **(request | changes))


def squared(values: jax.Array, targets: jax.Array) -> jax.Array:
    return ((values - targets) ** 2).mean()


def some_noise(partition: Any, n_learners: int) -> NoiseTable:
    errors = np.full(n_learners, 0.01)
    return node_noise(partition, one_qubit_error=errors, two_qubit_error=errors, readout_error=errors)


def test_few_noisy_qubits_go_to_the_exact_engine_and_many_to_trajectories() -> None:
    assert choose(4).name == "heisenberg"
    assert choose(14).name == "trajectories"
    assert choose(10, is_noiseless=True, n_learners=50, n_samples=16).name == "trajectories"
    # The costs of the exact engine do not grow with the trajectories, those of the other engine do.
    few, many = choose(8, n_trajectories=2), choose(8, n_trajectories=2000)
    assert few.seconds["heisenberg"] == many.seconds["heisenberg"]
    assert few.seconds["trajectories"] < many.seconds["trajectories"]
    assert (few.name, many.name) == ("trajectories", "heisenberg")
    assert "predicted" in few.reason


def test_a_gradient_with_relaxation_is_for_the_exact_engine() -> None:
    choice = choose(11, has_relaxation=True)
    assert choice.name == "heisenberg"
    assert choice.reason == "trajectories has no gradient with relaxation."
    assert choose(14, has_relaxation=True, needs_gradient=False).name == "trajectories"
    with pytest.raises(DomainError, match=r"heisenberg needs .* GiB; trajectories has no gradient with relaxation"):
        choose(16, has_relaxation=True)


def test_an_engine_that_is_asked_for_is_taken_or_refused() -> None:
    assert choose(12, engine="heisenberg").name == "heisenberg"
    assert choose(4, engine="trajectories").name == "trajectories"
    with pytest.raises(DomainError, match=r"the memory of 8 GiB, but does not: heisenberg needs"):
        choose(16, engine="heisenberg")
    with pytest.raises(UnknownNameError):
        choose(4, engine="density")


def test_what_fits_nowhere_is_refused_with_the_numbers() -> None:
    with pytest.raises(DomainError, match=r"memory of 0.5 GiB.*heisenberg needs .* GiB; trajectories needs .* GiB"):
        choose(24, memory_limit_bytes=GIB // 2)
    with pytest.raises(DomainError, match=r"memory of 16 GiB.*heisenberg needs"):
        choose(31, memory_limit_bytes=None)


def test_the_choice_is_the_same_on_every_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads and free memory here decide nothing but whether there is room."""
    sizes: list[tuple[int, dict[str, Any]]] = [(n, {"n_trajectories": m}) for n in (6, 8, 10, 13) for m in (1, 10, 100)]
    found = [choose(n, memory_limit_bytes=None, **more) for n, more in sizes]
    assert {one.name for one in found} == {"heisenberg", "trajectories"}
    monkeypatch.setattr(engines, "n_threads", lambda: 4096)
    monkeypatch.setattr(engines, "available_memory", lambda: 1 << 62)
    again = [choose(n, memory_limit_bytes=None, **more) for n, more in sizes]
    assert [(one.name, one.reason, one.seconds) for one in again] == [
        (one.name, one.reason, one.seconds) for one in found
    ]
    monkeypatch.setattr(engines, "available_memory", lambda: 1 << 16)
    with pytest.raises(DomainError, match=r"must fit the 4.88e-05 GiB that may be used here, but heisenberg"):
        choose(8, memory_limit_bytes=None)


def test_where_the_engine_finds_no_room_another_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    request: dict[str, Any] = {"n_trajectories": 10**4, "needs_gradient": False, "memory_limit_bytes": None}
    choice = choose(11, **request)
    assert choice.name == "heisenberg"
    free = int(0.9 * choice.bytes["heisenberg"] / 0.8)
    assert choice.bytes["trajectories"] < 0.8 * free
    monkeypatch.setattr(engines, "available_memory", lambda: free)
    with pytest.raises(DomainError, match=r"heisenberg, the engine for it, needs .* GiB; trajectories would fit\.$"):
        choose(11, **request)


@pytest.mark.parametrize("is_old", [False, True])
def test_free_memory_is_that_of_the_control_group(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, is_old: bool
) -> None:
    """File cache that would be given up is free, in both versions of control groups; so it is for the machine."""
    monkeypatch.setattr(engines, "Path", lambda path: tmp_path / path.rpartition("/")[2])
    (tmp_path / "meminfo").write_text("MemTotal: 9000 kB\nMemFree: 1 kB\nMemAvailable: 5000 kB\n")
    assert available_memory() == 5000 * 1024
    group = tmp_path / "cgroup"
    names = ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat", "total_")
    limit, usage, stat, prefix = names if is_old else ("memory.max", "memory.current", "memory.stat", "")
    (group / limit).parent.mkdir(parents=True)
    (group / limit).write_text("max\n")
    (group / usage).write_text("900\n")
    assert available_memory() == 5000 * 1024
    (group / limit).write_text("1000\n")
    (group / stat).write_text(f"anon 100\n{prefix}inactive_file 300\n")
    assert available_memory() == 400


def test_free_memory_is_known_somehow() -> None:
    assert 0 < available_memory() < 2**50


@pytest.mark.parametrize(
    ("n_qubits", "n_layers", "n_learners", "n_samples", "n_observables"),
    [(5, 2, 30, 16, 2), *(pytest.param(8, 2, *sizes, marks=pytest.mark.slow) for sizes in ((4, 64, 1), (16, 16, 4)))],
)
def test_the_memory_of_the_exact_engine_is_predicted_within_a_factor_of_two(
    n_qubits: int, n_layers: int, n_learners: int, n_samples: int, n_observables: int
) -> None:
    from ceas.learning.encoding import encode_inputs

    circuit = hardware_efficient(n_qubits, n_layers, "ring")
    partition = partition_circuit(circuit, "data")
    encoded = encode_inputs(circuit, jnp.zeros((n_learners, n_samples, n_qubits)))
    compiled = engine.loss_and_gradient.lower(
        circuit,
        partition,
        jnp.zeros(circuit.n_parameters),
        encoded,
        some_noise(partition, n_learners),
        targets=jnp.zeros((n_learners, n_samples, n_observables)),
        observables=tuple(range(n_observables)),
        loss=squared,
    ).compile()
    used = compiled.memory_analysis()
    found = used.temp_size_in_bytes + used.argument_size_in_bytes
    predicted = choose(
        n_qubits, n_layers=n_layers, n_learners=n_learners, n_samples=n_samples, n_observables=n_observables
    ).bytes["heisenberg"]
    assert 0.5 < predicted / found < 2


@pytest.mark.parametrize(
    ("n_qubits", "n_learners", "n_samples", "n_trajectories"),
    [
        pytest.param(12, 8, 16, 1, marks=pytest.mark.slow),
        (13, 1, 40, 1),
        (16, 1, 3, 1),
        (5, 10, 20, 60),
    ],
)
@pytest.mark.parametrize("needs_gradient", [False, True])
def test_the_memory_of_trajectories_is_predicted_within_a_factor_of_two(
    n_qubits: int, n_learners: int, n_samples: int, n_trajectories: int, needs_gradient: bool
) -> None:
    circuit = hardware_efficient(n_qubits, 2, "ring")
    partition = partition_circuit(circuit, "data")
    is_noiseless = n_trajectories == 1
    arguments = (
        circuit,
        partition,
        np.zeros(circuit.n_parameters),
        Encoded(jnp.zeros((n_learners, n_samples, n_qubits)), None, None),
        noiseless(partition, n_learners) if is_noiseless else some_noise(partition, n_learners),
    )
    options: dict[str, Any] = {"observables": (0,), "n_trajectories": n_trajectories}

    def call() -> None:
        if needs_gradient:
            loss_and_gradient(*arguments, targets=jnp.zeros((n_learners, n_samples, 1)), loss=squared, **options)
        else:
            expectations(*arguments, **options)

    call()  # compiles
    tracemalloc.start()
    call()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    choice = choose(
        n_qubits,
        n_layers=2,
        n_learners=n_learners,
        n_samples=n_samples,
        n_observables=1,
        is_noiseless=is_noiseless,
        n_trajectories=n_trajectories,
        needs_gradient=needs_gradient,
    )
    assert 0.5 < choice.bytes["trajectories"] / peak < 2
