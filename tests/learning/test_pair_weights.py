"""Shares of a pair's correlators: from the exact engine, and from the closed form at quarter turns."""

import numpy as np
import numpy.typing as npt
import pytest

from ceas.errors import DomainError
from ceas.learning.ansatz import Entangler, hardware_efficient
from ceas.learning.circuits import Circuit
from ceas.learning.contraction import correlators_met, ideal_is_certain
from ceas.learning.pair_weights import correlator_weights
from ceas.learning.partition import Partition, partition_circuit


def shares_at_quarter_turns(
    circuit: Circuit, partition: Partition, observables: tuple[int, ...], n_draws: int, rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Return the shares from random quarter turns, which average products of two values as all angles do.

    Such a product has no frequency above 2 in an angle, and four equidistant angles average those exactly.
    """
    lost = dict.fromkeys("xyz", 0)
    for turns in rng.integers(0, 4, (n_draws, len(circuit.rotations))).tolist():
        for qubit in observables:
            if not ideal_is_certain(circuit, turns, qubit):
                continue
            for name in correlators_met(circuit, partition, turns, qubit):
                if name is not None:
                    lost[name] += 1
    return np.array(list(lost.values())) / sum(lost.values())


@pytest.mark.parametrize(("n_layers", "entangler"), [(1, "ring"), (2, "chain")])
def test_shares_are_those_at_quarter_turns(n_layers: int, entangler: Entangler) -> None:
    """Both sample; the tolerance is six standard errors of the closed form's draws and the engine's hundredth."""
    circuit = hardware_efficient(3, n_layers, entangler)
    partition = partition_circuit(circuit, "qubit")
    observables = (0, 1, 2)
    weights = correlator_weights(circuit, partition, observables=observables, rng=np.random.default_rng(1))
    expected = shares_at_quarter_turns(circuit, partition, observables, 4000, np.random.default_rng(2))
    np.testing.assert_allclose(weights, expected, atol=0.06)
    assert sum(weights) == pytest.approx(1.0)
    assert np.abs(expected - 1 / 3).max() > 0.1


def test_a_partition_without_pairs_is_refused() -> None:
    circuit = hardware_efficient(2, 1)
    with pytest.raises(DomainError, match="partition"):
        correlator_weights(circuit, partition_circuit(circuit), observables=(0,), rng=np.random.default_rng(1))
