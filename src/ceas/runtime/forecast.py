"""What a training round takes in time and memory, predicted from sizes before anything starts.

Network, consensus and files come on top, and compilation in the first round. An idle machine of the kind that the rates
were measured on (`ceas.learning.engines`) is meant to be within a factor of three.
"""

from collections import Counter
from dataclasses import dataclass
from functools import partial

import numpy as np

from ceas.errors import DomainError
from ceas.learning.engines import EngineChoice, available_memory, choose_engine
from ceas.learning.trajectories import MOST_KEPT
from ceas.network.hardware import pair_rate_hz
from ceas.runtime.learners import MOST_FISHER_QUBITS, N_REFERENCE_INPUTS, TrainingParameters
from ceas.runtime.world import World

__all__ = ["Forecast", "forecast_round"]

# Seconds per shot, amplitude and rotation, more where states leave the cache, and per shot.
_SHOT_AMPLITUDE_S, _FAR_SHOT_AMPLITUDE_S, _SHOT_S = 1.2e-9, 3e-9, 1e-6
_CACHED_QUBITS = 12
# Seconds per learner of the Fisher information of one mixed state of six qubits, eight times as much a qubit more.
_MIXED_STATE_S = 2e-3
# Shots that are evolved together, and states of each that are alive at a time.
_LEAST_CHUNK, _ALIVE = 128, 6
# Part of the free memory that a run may take.
_SHARE = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """A training round, predicted.

    Attributes:
        seconds: Time of each part of the learning and its evaluation, without compilation (s).
        bytes: Memory of the largest part.
        reasons: Which engine computes what and why, one sentence each.
    """

    seconds: dict[str, float]
    bytes: int
    reasons: tuple[str, ...]

    def __str__(self) -> str:
        """Return the forecast as a few lines to print."""
        parts = ", ".join(f"{name} {seconds:.2g} s" for name, seconds in self.seconds.items())
        total = sum(self.seconds.values())
        size = f"{self.bytes / 2**30:.2g} GiB" if self.bytes >= 2**30 else f"{self.bytes / 2**20:.2g} MiB"
        head = f"predicted: {total:.2g} s a round after compilation ({parts}), {size}"
        return "\n".join((head, *self.reasons))


def forecast_round(world: World, training: TrainingParameters) -> Forecast:
    """Predict what a training round takes.

    Raises:
        DomainError: Its memory is more than most of what is free.
    """
    circuit, n_qubits = world.circuit, world.circuit.n_qubits
    states = 8.0 * 2**n_qubits
    rate = _SHOT_AMPLITUDE_S if n_qubits <= _CACHED_QUBITS else _FAR_SHOT_AMPLITUDE_S
    per_shot = _SHOT_S + rate * 2**n_qubits * len(circuit.rotations)
    seconds = {"shots": _n_shots(world, training) * per_shot}
    sizes = {"shots": _LEAST_CHUNK * _ALIVE * min(states, 2.0**27 / _LEAST_CHUNK)}
    choices = world.computations.choices
    for what, choice in zip(("exact loss", "contraction"), choices, strict=False):
        seconds[what], sizes[what] = choice.seconds[choice.name], choice.bytes[choice.name]
    choose = partial(_pure_seconds, world)
    test = choose(len(world.dataset.test_labels)).seconds[world.computations.ideal.engine]
    seconds["test"] = test * _evaluations(training) / training.rounds
    counts = Counter(parameter for index in circuit.rotations for parameter in circuit.gates[index].parameters)
    n_runs = 1 + sum(bool(circuit.gates[index].parameters) for index in circuit.rotations)
    n_train = len(world.dataset.train_labels)
    # Means of all rotations take one walk there and back; where parameters are shared, a run is made for each.
    is_shared = max(counts.values(), default=0) > 1
    fisher = choose(n_train * n_runs) if is_shared else choose(n_train, needs_gradient=True)
    seconds["Fisher information"] = fisher.seconds["trajectories"]
    if n_qubits <= MOST_FISHER_QUBITS:
        seconds["Fisher information"] += world.n_learners * _MIXED_STATE_S * 8.0 ** (n_qubits - MOST_FISHER_QUBITS)
    if training.natural_damping is not None:
        seconds["natural gradient"] = choose(N_REFERENCE_INPUTS * n_runs).seconds["trajectories"]
    # Runs are held a few samples at a time, as many as fit into what may be kept.
    n_held = (n_train if is_shared else 0, N_REFERENCE_INPUTS if training.natural_damping is not None else 0)
    sizes["Fisher information"] = min(4.0 * max(n_runs * states, MOST_KEPT / 4), 4.0 * n_runs * states * max(n_held))
    found = Forecast(seconds=seconds, bytes=int(max(sizes.values())), reasons=_reasons(choices))
    limit = _SHARE * available_memory()
    if found.bytes > limit:
        what = max(sizes, key=lambda name: sizes[name])
        raise DomainError(
            f"Argument `world` must let a round fit the {limit / 2**30:.3g} GiB that may be used here, but {what} "
            f"needs {found.bytes / 2**30:.3g} GiB with {n_qubits} qubits."
        )
    return found


def _pure_seconds(world: World, n_samples: int, *, needs_gradient: bool = False) -> EngineChoice:
    """Return what noiseless runs of so many samples take."""
    return choose_engine(
        world.circuit,
        world.partition,
        n_learners=1,
        n_samples=n_samples,
        n_observables=len(world.model.observables),
        has_relaxation=False,
        is_noiseless=True,
        needs_gradient=needs_gradient,
        has_states=world.dataset.train_states is not None,
        memory_limit_bytes=1 << 62,
    )


def _n_shots(world: World, training: TrainingParameters) -> float:
    """Return the shots of a round as far as time, and the pairs of the learners' links, allow."""
    network = world.network
    longest = network.clock.learning_ns / np.asarray(network.demand.shot_duration_ns, np.float64)
    if not world.pairs_per_shot:
        return float(np.minimum(longest, training.max_shots_per_round).sum())
    rate = pair_rate_hz(network.links)[network.demand.learner_link]
    return float(np.minimum(longest, rate * network.clock.learning_ns * 1e-9 / world.pairs_per_shot).sum())


def _evaluations(training: TrainingParameters) -> int:
    """Return after how many rounds there is an evaluation: every few, and after the last five."""
    early = max(training.rounds - 5, 0)
    return early // training.evaluate_rounds + training.rounds - early


def _reasons(choices: tuple[EngineChoice, ...]) -> tuple[str, ...]:
    names = ("exact loss", "contraction")
    return tuple(f"{what} by {choice.name}: {choice.reason}" for what, choice in zip(names, choices, strict=False))
