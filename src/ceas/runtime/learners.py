"""The learners of one run: shots to gradients, gradients to momentum, and what noise leaves of them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from numpy.typing import NDArray

from ceas.attacks import Conduct
from ceas.learning import (
    Encoded,
    GradientMethod,
    GradientSettings,
    NoiseTable,
    RunShots,
    effective_contraction,
    encode_inputs,
    encode_samples,
    encode_states,
    estimate_gradients,
    mixed_processors,
    natural_direction,
    node_noise,
    pennylane_device,
    pure_quantum_fisher_diagonal,
    pure_quantum_fisher_matrix,
    quantum_fisher_trace,
    sample_outcomes,
    split_parameters,
)
from ceas.learning.fisher import contraction_error, has_signal, pure_quantum_fisher_diagonals
from ceas.learning.gradients import estimate_gradients_together
from ceas.learning.training import HEISENBERG, Computation
from ceas.network import WindowRecord
from ceas.runtime.checkpoint import Arrays
from ceas.runtime.evaluation import values_together
from ceas.runtime.momentum import Momentum
from ceas.runtime.outcome import Contraction, LocalUpdates
from ceas.runtime.sabotage import Sabotage
from ceas.runtime.world import World
from ceas.streams import stream, stream_seed

__all__ = [
    "MOST_FISHER_QUBITS",
    "N_REFERENCE_INPUTS",
    "Learners",
    "Measured",
    "TrainingParameters",
    "contractions_together",
    "train_together",
]

FloatArray = NDArray[np.float64]

# Inputs on which contractions are compared; more of them change the figures by less than the joint tests' error.
N_REFERENCE_INPUTS = 16
# A round of fifty learners takes 0.1 s at 6 qubits.
MOST_FISHER_QUBITS = 6
_PURE = Computation(engine="trajectories")
# The certified bound is raised so far that errors of sampled noise pass it with this probability: four standard errors,
# or more where few runs tell what a standard error is.
_BOUND_RISK = 3e-5


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingParameters:
    """How the learners train.

    Attributes:
        rounds: Training rounds.
        evaluate_rounds: Training rounds between two evaluations; the last five rounds are always evaluated.
        optimizer: Optimiser of the agreed parameters.
        minibatch: Samples that a learner uses in a round.
        readout_share: Share of a learner's shots spent on the unshifted circuit.
        gradient_method: `parameter_shift` or `spsa`.
        spsa_step: Move of every parameter (rad).
        spsa_directions: Random directions a round.
        natural_damping: Damping of the natural gradient; None for the plain one.
        worker_momentum: Momentum of each learner's gradient, in [0, 1).
        initial_angle_spread: Standard deviation of the initial parameters (rad).
        max_shots_per_round: Most shots of a learner whose circuit is not cut.
    """

    rounds: int
    evaluate_rounds: int
    optimizer: optax.GradientTransformation
    minibatch: int
    readout_share: float
    gradient_method: GradientMethod
    spsa_step: float
    spsa_directions: int
    natural_damping: float | None
    worker_momentum: float
    initial_angle_spread: float
    max_shots_per_round: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What is computed of the learners besides their updates.

    Attributes:
        fisher: Whether the quantum Fisher information of noiseless states is; claimed as 0 otherwise.
        noisy_fisher: Whether that of noisy states is, NaN otherwise.
    """

    fisher: bool = True
    noisy_fisher: bool = True


class Learners:
    """All learners of a run, computed together.

    Args:
        world: Circuit, hardware and data.
        training: How they train.
        seed: Root seed.
        conduct: What the malicious ones do to their data, circuits and shots; by default nothing.
        measures: What is computed besides the updates; by default all.
    """

    def __init__(
        self,
        world: World,
        training: TrainingParameters,
        *,
        seed: int,
        conduct: Conduct | None = None,
        measures: Measured | None = None,
    ) -> None:
        self._world = world
        self._training = training
        self._seed = seed
        self._measures = measures or Measured()
        self._sabotage = Sabotage(world, conduct or Conduct(), seed=seed)
        self._settings = GradientSettings(
            minibatch=training.minibatch,
            readout_share=training.readout_share,
            method=training.gradient_method,
            spsa_step=training.spsa_step,
            spsa_directions=training.spsa_directions,
        )
        # What is known of a pair: one Werner parameter, or three correlators.
        self._axes = (3,) if world.network.links.is_bell_diagonal else ()
        perfect = np.ones((world.n_learners, world.pairs_per_shot, *self._axes))
        self._noise = self._noise_of(local=True, pair_werner=perfect)
        self._reference = _reference_inputs(world, seed)
        self._train_encoded: Encoded | None = None
        self._momentum = Momentum((world.n_learners, world.model.n_parameters), training.worker_momentum)

    def train(self, theta: FloatArray, window: WindowRecord) -> LocalUpdates:
        """Spend the shots of one window; return every learner's momentum.

        A learner whose shots are too few for a gradient sends the momentum that it has.
        """
        return train_together([self], theta[None], window)[0]

    def contraction(
        self, theta: FloatArray, window: WindowRecord, *, estimated_werner: FloatArray, bounding_werner: FloatArray
    ) -> Contraction:
        """Return how much noise leaves of every learner's expectation values.

        Args:
            theta: Parameters, shape `(parameters,)`.
            window: What happened to the pairs.
            estimated_werner: Estimated Werner parameter of each link at use, shape `(links,)`, or correlators of
                Bell-diagonal pairs, shape `(links, 3)`.
            bounding_werner: What the tests leave possible of it, `(corners, ...)`, see `JointTests.corners`; the bound
                is the largest contraction at any, raised by its error where noise is sampled.

        Where the noiseless values have no signal to compare with, as those of a circuit that starts at zero angles may,
        they are taken at other parameters, which are the same in all rounds.
        """
        together = contractions_together(
            [self], theta[None], window, estimated_werner=estimated_werner, bounding_werner=bounding_werner
        )
        return together[0]

    def descent_direction(self, theta: FloatArray, gradient: FloatArray) -> FloatArray:
        """Return the agreed gradient, or the natural one, which every node computes from what it agreed on.

        Its metric is that of the noiseless states at inputs which all nodes know; layers around the circuit keep
        theirs.
        """
        damping = self._training.natural_damping
        if damping is None:
            return gradient
        metric = pure_quantum_fisher_matrix(self._world.circuit, self._angles(theta), self._reference)
        direction, n_angles = gradient.copy(), self._world.circuit.n_parameters
        direction[:n_angles] = natural_direction(metric.mean(axis=0), gradient[:n_angles], damping=damping)
        return direction

    def to_arrays(self) -> Arrays:
        """Return the state for a checkpoint."""
        return self._momentum.to_arrays()

    def load(self, arrays: Arrays) -> None:
        """Restore what `to_arrays` returned."""
        self._momentum.load(arrays)

    def _estimate(self, theta: FloatArray, window: WindowRecord) -> tuple[FloatArray, NDArray[np.int64]]:
        """Return the gradients of the round and how many shots each learner used for them."""
        sabotage = self._sabotage
        shot_learner, shot_werner = sabotage.kept(*self._shots(window))
        estimates = estimate_gradients(
            self._world.model,
            self._world.partition,
            theta,
            self._noise,
            dataset=sabotage.dataset,
            samples=sabotage.samples,
            shot_learner=shot_learner,
            shot_werner=shot_werner,
            settings=self._settings,
            seed=stream_seed(self._seed, "gradients", training_round=window.window),
            run_shots=sabotage.processors(self._processors(window.window)),
        )
        return estimates.gradient, estimates.shots

    def _local(
        self,
        theta: FloatArray,
        window: WindowRecord,
        gradient: FloatArray,
        shots: NDArray[np.int64],
        *,
        fisher: FloatArray | None,
    ) -> LocalUpdates:
        """Add the round's gradients to the momenta and measure what is asked for."""
        self._momentum.add(gradient, shots > 0)
        noisy = np.full(len(shots), np.nan)
        if self._measures.noisy_fisher:
            noisy = self._noisy_quantum_fisher(theta, *self._sabotage.kept(*self._shots(window)), window.window)
        return LocalUpdates(
            updates=self._momentum.mean(),
            shots=shots.astype(np.int64),
            quantum_fisher=np.zeros(len(shots)) if fisher is None else fisher,
            noisy_quantum_fisher=noisy,
        )

    def _contraction_noise(
        self, window: WindowRecord, estimated_werner: FloatArray, bounding_werner: FloatArray
    ) -> NoiseTable:
        """Return the noise of the true, the believed and the bounding values and of none, one table below the other."""
        true = self._noise_of(local=True, pair_werner=self._mean_pair_werner(*self._shots(window)))
        believed = self._noise_of(local=True, pair_werner=self._at_learners(estimated_werner))
        bounds = [self._noise_of(local=False, pair_werner=self._at_learners(corner)) for corner in bounding_werner]
        stacked: NoiseTable = jax.tree.map(
            lambda *columns: jnp.concatenate(columns), true, believed, *bounds, _ideal(true)
        )
        return stacked

    def _shots(self, window: WindowRecord) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Return the learner and the pairs of every shot; a circuit that is not cut is limited by time alone."""
        world = self._world
        if world.pairs_per_shot:
            return window.shot_learner, window.shot_pairs
        in_window = world.network.clock.learning_ns // world.network.demand.shot_duration_ns
        counts = np.minimum(in_window, self._training.max_shots_per_round)
        learner = np.repeat(np.arange(world.n_learners, dtype=np.int32), counts)
        return learner, np.zeros((learner.size, 0, *self._axes), np.float32)

    def _processors(self, training_round: int) -> RunShots:
        """Return what runs this round's shots: the simulation, and the scenario's device for its nodes."""
        processor = self._world.processor
        if not processor.device or not processor.device_nodes:
            return sample_outcomes
        # A fresh device a round, seeded where it can be, makes a resumed run repeat itself.
        seed = stream_seed(self._seed, "device", training_round=training_round) % 2**32
        device = pennylane_device(processor.device, self._world.circuit.n_qubits, processor.device_options, seed=seed)
        return mixed_processors(dict.fromkeys(processor.device_nodes, device))

    def _angles(self, theta: FloatArray) -> jax.Array:
        """Return the parameters of the circuit alone."""
        return jnp.asarray(split_parameters(self._world.model, theta).circuit, jnp.float32)

    def _encoded(self, theta: FloatArray) -> Encoded:
        """Return the encoded training samples, which only a layer in front makes depend on the parameters.

        They are for the Fisher information: of pure states, and of mixed ones where these are few qubits.
        """
        model, dataset = self._world.model, self._world.dataset
        if self._train_encoded is None or model.n_dressed_inputs is not None:
            by = HEISENBERG if model.circuit.n_qubits <= MOST_FISHER_QUBITS else _PURE
            self._train_encoded = encode_samples(model, theta, dataset.train_angles, dataset.train_states, by=by)
        return self._train_encoded

    def _displaced(self, theta: FloatArray) -> FloatArray:
        """Return parameters of which those of the circuit are far away, the same distance in all rounds."""
        n_angles = self._world.circuit.n_parameters
        moved = theta.copy()
        moved[:n_angles] += stream(self._seed, "displaced_parameters").uniform(-np.pi, np.pi, n_angles)
        return moved

    def _noise_of(self, *, local: bool, pair_werner: FloatArray) -> NoiseTable:
        """Return all learners' noise, with the errors of their own and their lender's gates or without."""
        nodes, processor, share = self._world.network.nodes, self._world.processor, float(local)
        skew = processor.readout_asymmetry
        readout = nodes.readout_error if skew == 0 else np.multiply.outer(nodes.readout_error, [1 - skew, 1 + skew])
        relaxation: dict[str, Any] = {}
        if processor.relaxation_time_s is not None or processor.dephasing_time_s is not None:
            relaxation = {
                "relaxation_time_s": processor.relaxation_time_s,
                "dephasing_time_s": processor.dephasing_time_s,
                "one_qubit_gate_time_s": share * processor.one_qubit_gate_s,
                "two_qubit_gate_time_s": share * processor.two_qubit_gate_s,
                "excited_population": processor.excited_population,
            }
        return node_noise(
            self._world.partition,
            one_qubit_error=share * nodes.one_qubit_error,
            two_qubit_error=share * nodes.two_qubit_error,
            readout_error=share * readout,
            lender=self._world.lender,
            pair_werner=pair_werner,
            **relaxation,
        )

    def _mean_pair_werner(self, shot_learner: NDArray[np.int32], shot_werner: NDArray[np.float32]) -> FloatArray:
        """Return the mean Werner parameter of each of a shot's pairs per learner; zero for a learner without shots.

        Of Bell-diagonal pairs it is the mean of each correlator.
        """
        n_learners, per_shot = self._world.n_learners, shot_werner.shape[1:]
        counts = np.maximum(np.bincount(shot_learner, minlength=n_learners), 1)
        columns = shot_werner.reshape(len(shot_werner), math.prod(per_shot)).T
        sums = [np.bincount(shot_learner, weights=column, minlength=n_learners) for column in columns]
        means = np.array(sums).reshape(-1, n_learners).T / counts[:, None]
        return np.clip(means, -1.0 if self._axes else 0.0, 1.0).reshape(n_learners, *per_shot)

    def _at_learners(self, link_values: FloatArray) -> FloatArray:
        """Return each learner's value of its link for every pair of a shot, `(learners, pairs_per_shot)` and axes."""
        of_learner = link_values[self._world.network.demand.learner_link]
        return np.repeat(of_learner[:, None], self._world.pairs_per_shot, axis=1)

    def _ideal_quantum_fisher(self, theta: FloatArray) -> FloatArray:
        """Return the mean over samples and parameters of the noiseless states' quantum Fisher information."""
        diagonal = pure_quantum_fisher_diagonal(self._world.circuit, self._angles(theta), self._encoded(theta))
        return self._mean_of_own(diagonal.mean(axis=1))

    def _mean_of_own(self, per_sample: FloatArray) -> FloatArray:
        """Return the mean over each learner's samples, in [0, 1]."""
        index, count = self._world.samples.index, self._world.samples.count
        is_own = np.arange(index.shape[1]) < count[:, None]
        mean: FloatArray = np.where(is_own, per_sample[index], 0.0).sum(axis=1) / count
        return np.clip(mean, 0.0, 1.0)

    def _noisy_quantum_fisher(
        self,
        theta: FloatArray,
        shot_learner: NDArray[np.int32],
        shot_werner: NDArray[np.float32],
        training_round: int,
    ) -> FloatArray:
        """Return the quantum Fisher information per parameter of one noisy state of each learner; NaN without shots.

        Density matrices of many qubits would take longer than the training, and are left out: all is NaN then.
        """
        world = self._world
        if world.circuit.n_qubits > MOST_FISHER_QUBITS:
            return np.full(world.n_learners, np.nan)
        turn = training_round % world.samples.count
        sample = world.samples.index[np.arange(world.n_learners), turn]
        noise = self._noise_of(local=True, pair_werner=self._mean_pair_werner(shot_learner, shot_werner))
        # One sample of each learner: the samples' axis becomes the learners', with one sample each.
        chosen = jax.tree.map(lambda rows: rows[sample][:, None], self._encoded(theta))
        trace = quantum_fisher_trace(world.circuit, world.partition, self._angles(theta), chosen, noise)
        has_shots = np.isin(np.arange(world.n_learners), shot_learner)
        return np.where(has_shots, np.asarray(trace[:, 0], np.float64) / world.circuit.n_parameters, np.nan)


def train_together(learners: Sequence[Learners], thetas: FloatArray, window: WindowRecord) -> list[LocalUpdates]:
    """Return what `Learners.train` does for each of several, which differ in who is malicious and does what.

    Args:
        learners: Of one circuit, one network and one seed; their momenta may differ.
        thetas: Parameters of each, shape `(len(learners), parameters)`.
        window: What happened to the pairs.
    """
    found: dict[int, tuple[FloatArray, NDArray[np.int64]]] = {}
    for members in _running_alike(learners):
        if len(members) > 1:
            found |= dict(zip(members, _estimate_together(learners, thetas, window, members), strict=True))
        else:
            found[members[0]] = learners[members[0]]._estimate(thetas[members[0]], window)
    asking = [index for index, each in enumerate(learners) if each._measures.fisher]
    fishers = dict(zip(asking, _ideal_fishers([learners[index] for index in asking], thetas[asking]), strict=True))
    return [
        each._local(thetas[index], window, *found[index], fisher=fishers.get(index))
        for index, each in enumerate(learners)
    ]


def _ideal_fishers(learners: Sequence[Learners], thetas: FloatArray) -> list[FloatArray]:
    """Return for each the mean over samples and parameters of the noiseless states' quantum Fisher information."""
    if not learners or learners[0]._world.model.n_dressed_inputs is not None:
        # Samples that a trained layer encodes differ.
        return [each._ideal_quantum_fisher(theta) for each, theta in zip(learners, thetas, strict=True)]
    first = learners[0]
    angles = np.asarray(split_parameters(first._world.model, thetas.astype(np.float32)).circuit)
    diagonals = pure_quantum_fisher_diagonals(first._world.circuit, angles, first._encoded(thetas[0]))
    return [first._mean_of_own(diagonal.mean(axis=1)) for diagonal in diagonals]


def _running_alike(learners: Sequence[Learners]) -> list[list[int]]:
    """Return groups of learners that run the same shots on the same processors; their data may differ."""
    groups: dict[object, list[int]] = {}
    for index, each in enumerate(learners):
        # A device has its own random numbers, and a faulty circuit its own program.
        is_alone = each._sabotage.has_fault or bool(each._world.processor.device_nodes)
        groups.setdefault(index if is_alone else each._sabotage.wasted_by, []).append(index)
    return list(groups.values())


def _estimate_together(
    learners: Sequence[Learners], thetas: FloatArray, window: WindowRecord, members: Sequence[int]
) -> list[tuple[FloatArray, NDArray[np.int64]]]:
    first = learners[members[0]]
    shot_learner, shot_werner = first._sabotage.kept(*first._shots(window))
    gradients, shots = estimate_gradients_together(
        first._world.model,
        first._world.partition,
        thetas[list(members)],
        first._noise,
        data=[(learners[index]._sabotage.dataset, learners[index]._sabotage.samples) for index in members],
        shot_learner=shot_learner,
        shot_werner=shot_werner,
        settings=first._settings,
        seed=stream_seed(first._seed, "gradients", training_round=window.window),
    )
    return [(gradient, shots) for gradient in gradients]


def contractions_together(
    learners: Sequence[Learners],
    thetas: FloatArray,
    window: WindowRecord,
    *,
    estimated_werner: FloatArray,
    bounding_werner: FloatArray,
) -> list[Contraction]:
    """Return what `Learners.contraction` does for each of several, for which the links are tested alike.

    Args:
        learners: Of one circuit, one network and one seed, measuring the same.
        thetas: Parameters of each, shape `(len(learners), parameters)`.
        window: What happened to the pairs.
        estimated_werner: As for `Learners.contraction`.
        bounding_werner: As for `Learners.contraction`.
    """
    first = learners[0]
    world, seed = first._world, stream_seed(first._seed, "contraction", training_round=window.window)
    by = replace(world.computations.noisy, seed=seed)
    noise = first._contraction_noise(window, estimated_werner, bounding_werner)
    has_offset = noise.relaxation is not None or noise.readout_error.ndim == 3
    has_shots = np.isin(np.arange(world.n_learners), first._shots(window)[0])
    compute = partial(values_together, world.model, world.partition, encoded=first._reference, noise=noise, by=by)
    found = []
    for theta, sampled in zip(thetas, compute(thetas), strict=True):
        is_told = np.all(_tells_signal(sampled[0][-1:], has_offset=has_offset))
        values, errors = sampled if is_told else compute(first._displaced(theta)[None])[0]
        survival = np.array(effective_contraction(values[:-1], values[-1:], has_offset=has_offset), np.float64)
        survival = survival.reshape(-1, world.n_learners)
        if errors is not None:
            spread = contraction_error(errors[:-1], values[-1:], has_offset=has_offset).reshape(survival.shape)
            survival[2:] += _bound_errors(by.n_trajectories) * spread[2:]
        true, believed, *bounds = np.clip(survival, 0.0, 1.0)
        bound = np.max(bounds, axis=0)
        found.append(
            Contraction(true=np.where(has_shots, true, np.nan), believed=np.minimum(believed, bound), bound=bound)
        )
    return found


_tells_signal = jax.jit(has_signal, static_argnames="has_offset")


def _bound_errors(n_trajectories: int) -> float:
    """Return how many standard errors, each estimated from so many runs, a bound is raised."""
    from scipy.stats import t  # noqa: PLC0415 - loaded where noise is sampled

    return float(t.isf(_BOUND_RISK, n_trajectories - 1))


def _ideal(table: NoiseTable) -> NoiseTable:
    """Return one learner without any noise, as a table with the same columns."""
    columns: list[jax.Array | None] = [jnp.zeros_like(column[:1]) for column in table[:3]]
    columns += [None if column is None else jnp.ones_like(column[:1]) for column in table[3:]]
    return NoiseTable(*columns)  # type: ignore[arg-type]


def _reference_inputs(world: World, seed: int) -> Encoded:
    """Return the inputs on which contractions and the metric of the natural gradient are computed, known to all nodes.

    Inputs of the circuit drawn from half a turn; for quantum data, the first training states.
    """
    needs_features = world.computations.noisy.engine == "heisenberg"
    if world.dataset.train_states is not None:
        states = jnp.asarray(world.dataset.train_states[:N_REFERENCE_INPUTS])
        return encode_states(world.circuit, states, needs_features=needs_features)
    drawn = stream(seed, "reference_inputs").uniform(
        -np.pi / 2, np.pi / 2, (N_REFERENCE_INPUTS, world.circuit.n_features)
    )
    return encode_inputs(world.circuit, jnp.asarray(drawn), needs_features=needs_features)
