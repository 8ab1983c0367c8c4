"""What faulty pairs cost: contraction and accuracy by the pairs' Werner parameter W, beside closed forms.

Theory. At angles that are quarter turns every <Z> is multiplied by exactly W^m, m being the number of pairs that it
meets (`ceas.learning.contraction`). For angles that are uniformly random and independent, values are trigonometric
polynomials of first degree in each angle, and their squares of second, so that the mean over four quarter turns of each
angle is the mean over all angles: with c = 1 where the ideal value is +-1 and 0 where it is 0,

    E[f_noisy f_ideal] = E[c W^m],  E[f_ideal^2] = E[c],  E[f_noisy^2] = E[c W^(2m)].

The least-squares contraction of random angles therefore is the mean of W^m over quarter turns with certain outcomes;
near W = 1 it is W to the power of the mean of m. Trained circuits are not random: they are measured.
"""

from dataclasses import replace
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
import optax

from ceas.experiments.statistics import mean_interval
from ceas.learning.ansatz import hardware_efficient
from ceas.learning.circuits import Circuit, Term
from ceas.learning.classifier import Classifier, initial_parameters
from ceas.learning.contraction import correlators_met, ideal_is_certain
from ceas.learning.data import Dataset, LearnerSamples, Preparation
from ceas.learning.datasets import digits
from ceas.learning.encoding import encode_inputs
from ceas.learning.engine import expectations
from ceas.learning.fisher import effective_contraction
from ceas.learning.gradients import GradientSettings, estimate_gradients
from ceas.learning.noise import NoiseTable, noiseless
from ceas.learning.partition import Partition, PartitionKind, partition_circuit
from ceas.learning.training import accuracy, encode_samples, model_values, train_exact
from ceas.streams import stream, stream_seed

__all__ = ["fidelity_part"]

FloatArray = npt.NDArray[np.float64]
Row = dict[str, Any]

KINDS: tuple[PartitionKind, ...] = ("data", "layer", "qubit", "auto")
WERNER = tuple(float(w) for w in np.linspace(1, 0, 11))
CLASSES = (0, 1, 2, 3)
TEMPERATURE = 4.0
STEPS, LEARNING_RATE = 200, 0.1
# Training with finite shots at the noise.
SHOT_WERNER = (1.0, 0.9, 0.75, 0.5, 0.25, 0.1)
SHOT_KINDS: tuple[PartitionKind, ...] = ("qubit", "layer")
ROUNDS, SHOTS, MINIBATCH, READOUT_SHARE, SHOT_RATE = 100, 2000, 32, 0.25, 0.05


def fidelity_part(*, seeds: int, is_quick: bool) -> list[Row]:
    """Return all tables of what pairs cost."""
    circuits = {"4 qubits, 3 layers, chain": hardware_efficient(4, 3, "chain")}
    if not is_quick:
        circuits["6 qubits, 3 layers, ring"] = hardware_efficient(6, 3, "ring")
    rows: list[Row] = []
    for name, circuit in circuits.items():
        theory = {kind: _theory(circuit, kind, n_draws=300 if is_quick else 4000) for kind in KINDS}
        rows += [_theory_row(name, kind, found) for kind, found in theory.items()]
        rows += _trained_rows(name, circuit, theory, seeds, steps=20 if is_quick else STEPS)
    rows += _shot_rows(next(iter(circuits)), next(iter(circuits.values())), seeds, is_quick=is_quick)
    return sorted(rows, key=lambda row: TABLES.index(row["table"]))


TABLES = (
    "pairs that a value meets, random angles",
    "accuracy and contraction by pair fidelity, trained without noise",
    "accuracy by pair fidelity, trained through it with finite shots",
)


# ---- theory ----------------------------------------------------------------------------------------------------------


class _Theory(NamedTuple):
    """Pairs met (values,) by values that are certain, out of how many; errors of the engine against W^m."""

    pairs: int
    met: npt.NDArray[np.int64]
    n_values: int
    largest_error: float
    random: dict[float, tuple[float, float]]

    def contraction(self, werner: float) -> float:
        """Return the least-squares contraction of random angles."""
        return float(np.mean(np.power(werner, self.met)))


def _theory(circuit: Circuit, kind: PartitionKind, *, n_draws: int) -> _Theory:
    partition = partition_circuit(circuit, kind)
    rng = stream(0, "reference quarter turns", qubits=circuit.n_qubits)
    turns = rng.integers(0, 4, (n_draws, len(circuit.rotations)))
    met = []
    for row in turns.tolist():
        for qubit in range(len(CLASSES)):
            if ideal_is_certain(circuit, row, qubit):
                correlators = correlators_met(circuit, partition, row, qubit)
                met.append(sum(one is not None for one in correlators))
    largest = _largest_error(circuit, partition, turns[:50])
    return _Theory(
        pairs=partition.pairs_per_shot,
        met=np.array(met, dtype=np.int64),
        n_values=n_draws * len(CLASSES),
        largest_error=largest,
        random={werner: _random_contraction(circuit, partition, werner) for werner in (0.9, 0.5)},
    )


def _all_parameters(circuit: Circuit) -> Circuit:
    """Return the circuit with every rotation's angle as a parameter of its own, so that many points are one call."""
    gates = list(circuit.gates)
    for rotation, index in enumerate(circuit.rotations):
        gates[index] = replace(gates[index], angle=(Term(parameter=rotation),))
    return Circuit(n_qubits=circuit.n_qubits, gates=tuple(gates), n_parameters=len(circuit.rotations), n_features=0)


def _paired_values(circuit: Circuit, partition: Partition, angles: FloatArray, werner: float) -> FloatArray:
    """Return ideal and noisy values at angles (points, R), shape (2, points, observables)."""
    ideal = noiseless(partition, 2)
    noise = ideal._replace(pair_werner=ideal.pair_werner.at[1].set(werner))
    free = _all_parameters(circuit)
    sample = encode_inputs(free, np.zeros((1, 0)))
    observables = tuple(range(len(CLASSES)))
    values = expectations(free, partition, jnp.asarray(angles), sample, noise, observables=observables)
    return np.moveaxis(np.asarray(values, np.float64)[:, :, 0], 1, 0)


def _largest_error(circuit: Circuit, partition: Partition, turns: npt.NDArray[np.int64], werner: float = 0.7) -> float:
    """Return the largest difference of the engine from W^m at quarter turns."""
    ideal, noisy = _paired_values(circuit, partition, turns * np.pi / 2, werner)
    powers = [
        [
            np.power(werner, sum(one is not None for one in correlators_met(circuit, partition, row, qubit)))
            for qubit in range(len(CLASSES))
        ]
        for row in turns.tolist()
    ]
    return float(np.abs(noisy - ideal * np.array(powers)).max())


def _random_contraction(circuit: Circuit, partition: Partition, werner: float) -> tuple[float, float]:
    """Return the engine's least-squares contraction at random angles, and its standard error over groups of them."""
    rng = stream(1, "reference random angles", qubits=circuit.n_qubits)
    angles = rng.uniform(0, 2 * np.pi, (400, len(circuit.rotations)))
    ideal, noisy = _paired_values(circuit, partition, angles, werner)
    products, squares = ((ideal * other).reshape(20, -1).sum(axis=1) for other in (noisy, ideal))
    ratio = products.sum() / squares.sum()
    error = np.std(products - ratio * squares, ddof=1) * np.sqrt(20) / squares.sum()
    return float(ratio), float(error)


def _theory_row(name: str, kind: str, found: _Theory) -> Row:
    row: Row = {"table": TABLES[0], "circuit": name, "partition": kind, "pairs": found.pairs}
    row |= {"certain values": len(found.met) / found.n_values, "mean pairs met": float(found.met.mean())}
    row["largest error at quarter turns"] = found.largest_error
    for werner, (engine, error) in found.random.items():
        row[f"contraction {werner}, theory"] = found.contraction(werner)
        row[f"engine {werner}"] = engine
        row[f"s.e. {werner}"] = error
    return row


# ---- trained without noise -------------------------------------------------------------------------------------------


def _data(n_features: int, seed: int) -> Dataset:
    preparation = Preparation(n_features=n_features, classes=CLASSES)
    return digits(preparation, rng=stream(seed, "reference fidelity data"))


def _classifier(circuit: Circuit) -> Classifier:
    return Classifier(circuit=circuit, n_classes=len(CLASSES), temperature=TEMPERATURE)


def _werner_table(partition: Partition, werner: tuple[float, ...]) -> NoiseTable:
    """Return the table of learners with perfect gates, one for each Werner parameter."""
    ideal = noiseless(partition, len(werner))
    return ideal._replace(pair_werner=jnp.broadcast_to(jnp.asarray(werner)[:, None], ideal.pair_werner.shape))


def _trained_rows(
    name: str, circuit: Circuit, theory: dict[PartitionKind, _Theory], seeds: int, *, steps: int
) -> list[Row]:
    """Train without noise on every seed, then read accuracy and contraction through faulty pairs, exactly."""
    model = _classifier(circuit)
    found: dict[PartitionKind, list[tuple[FloatArray, FloatArray]]] = {kind: [] for kind in KINDS}
    for seed in range(seeds):
        dataset = _data(circuit.n_features, seed)
        start = stream(seed, "reference fidelity start")
        trained = train_exact(model, dataset, steps=steps, learning_rate=LEARNING_RATE, rng=start, engine="pure")
        encoded = encode_samples(model, trained.theta, dataset.test_angles)
        for kind in KINDS:
            partition = partition_circuit(circuit, kind)
            values = model_values(model, partition, trained.theta, encoded, _werner_table(partition, WERNER))
            scores = [accuracy(model, trained.theta, own, dataset.test_labels) for own in np.asarray(values)]
            found[kind].append((np.array(scores), np.asarray(effective_contraction(values, values[:1]), np.float64)))
    return [
        _trained_row(name, kind, werner, theory[kind], np.array([(a[place], c[place]) for a, c in found[kind]]))
        for kind in KINDS
        for place, werner in enumerate(WERNER)
    ]


def _trained_row(name: str, kind: str, werner: float, theory: _Theory, figures: FloatArray) -> Row:
    score, contraction = (mean_interval(column) for column in figures.T)
    return {
        "table": TABLES[1],
        "circuit": name,
        "partition": kind,
        "pairs": theory.pairs,
        "Werner": werner,
        "fidelity": (1 + 3 * werner) / 4,
        "accuracy": score.mean,
        "±": score.high - score.mean,
        "contraction": contraction.mean,
        "contraction ±": contraction.high - contraction.mean,
        "random angles": theory.contraction(werner),
        "W^mean pairs": werner ** float(theory.met.mean()),
        "W^pairs": werner**theory.pairs,
        "exponent": float(np.log(contraction.mean) / np.log(werner))
        if 0 < werner < 1 and contraction.mean > 0
        else np.nan,
    }


# ---- trained through noise -------------------------------------------------------------------------------------------


def _shot_rows(name: str, circuit: Circuit, seeds: int, *, is_quick: bool) -> list[Row]:
    """Train one learner with finite shots whose pairs are faulty, and read its accuracy through the same pairs."""
    rows, rounds = [], 5 if is_quick else ROUNDS
    for kind in SHOT_KINDS[:1] if is_quick else SHOT_KINDS:
        partition = partition_circuit(circuit, kind)
        for werner in SHOT_WERNER[:2] if is_quick else SHOT_WERNER:
            scores = [_train_with_shots(circuit, partition, werner, seed, rounds) for seed in range(seeds)]
            through, without = (mean_interval(column) for column in np.array(scores).T)
            rows.append(
                {
                    "table": TABLES[2],
                    "circuit": name,
                    "partition": kind,
                    "pairs": partition.pairs_per_shot,
                    "Werner": werner,
                    "fidelity": (1 + 3 * werner) / 4,
                    "rounds": rounds,
                    "shots a round": SHOTS,
                    "accuracy": through.mean,
                    "±": through.high - through.mean,
                    "without noise": without.mean,
                    "without noise ±": without.high - without.mean,
                }
            )
    return rows


def _train_with_shots(
    circuit: Circuit, partition: Partition, werner: float, seed: int, rounds: int
) -> tuple[float, float]:
    """Return the test accuracy through the pairs, and of the same parameters without noise."""
    model, dataset = _classifier(circuit), _data(circuit.n_features, seed)
    theta = jnp.asarray(
        initial_parameters(model, spread=0.3, rng=stream(seed, "reference fidelity start")), dtype=float
    )
    optimiser = optax.adam(SHOT_RATE)
    state = optimiser.init(theta)
    index = np.arange(len(dataset.train_labels))[None]
    for training_round in range(rounds):
        found = estimate_gradients(
            model,
            partition,
            np.asarray(theta),
            noiseless(partition),
            dataset=dataset,
            samples=LearnerSamples(index=index, count=np.array([index.size])),
            shot_learner=np.zeros(SHOTS, np.int64),
            shot_werner=np.full((SHOTS, partition.pairs_per_shot), werner),
            settings=GradientSettings(minibatch=MINIBATCH, readout_share=READOUT_SHARE),
            seed=stream_seed(seed, "reference fidelity shots", training_round=training_round),
        )
        change, state = optimiser.update(jnp.asarray(found.gradient[0], theta.dtype), state)
        theta = theta + change
    encoded = encode_samples(model, theta, dataset.test_angles)
    values = model_values(model, partition, theta, encoded, _werner_table(partition, (werner, 1.0)))
    through, without = (accuracy(model, theta, own, dataset.test_labels) for own in np.asarray(values))
    return through, without
