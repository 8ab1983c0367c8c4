"""The quantum neural network: data sets, circuits, partitions, noise, exact expectation values and measured gradients.

Importing this room imports JAX.
"""

from ceas.learning.angles import rotation_angles
from ceas.learning.ansatz import hardware_efficient
from ceas.learning.circuits import Circuit, Gate, Term
from ceas.learning.classifier import Classifier, initial_parameters, model_loss, scores, split_parameters
from ceas.learning.cost import EngineCost, engine_cost
from ceas.learning.data import Dataset, LearnerSamples, load_digits, logistic_baseline, pad_samples, split_over_learners
from ceas.learning.devices import mixed_processors, pennylane_device
from ceas.learning.encoding import Encoded, encode_inputs, encode_states
from ceas.learning.engine import (
    enable_compilation_cache,
    expectations,
    heisenberg_coefficients,
    loss_and_gradient,
    parameter_shift_jacobian,
    pauli_state,
)
from ceas.learning.fisher import (
    classical_fisher_matrix,
    effective_contraction,
    pure_quantum_fisher_diagonal,
    pure_quantum_fisher_matrix,
    quantum_fisher_diagonal,
    quantum_fisher_matrix,
    quantum_fisher_trace,
)
from ceas.learning.gradients import (
    GradientEstimates,
    GradientMethod,
    GradientSettings,
    RunShots,
    debiased,
    estimate_gradients,
)
from ceas.learning.natural_gradient import natural_direction, spsa_fisher
from ceas.learning.noise import NoiseTable, node_noise, noiseless
from ceas.learning.partition import Partition, Teledata, Telegate, count_pairs, partition_circuit
from ceas.learning.shots import Shots, sample_outcomes
from ceas.learning.training import encode_samples, model_loss_and_gradient, model_values, train_exact

__all__ = [
    "Circuit",
    "Classifier",
    "Dataset",
    "Encoded",
    "EngineCost",
    "Gate",
    "GradientEstimates",
    "GradientMethod",
    "GradientSettings",
    "LearnerSamples",
    "NoiseTable",
    "Partition",
    "RunShots",
    "Shots",
    "Teledata",
    "Telegate",
    "Term",
    "classical_fisher_matrix",
    "count_pairs",
    "debiased",
    "effective_contraction",
    "enable_compilation_cache",
    "encode_inputs",
    "encode_samples",
    "encode_states",
    "engine_cost",
    "estimate_gradients",
    "expectations",
    "hardware_efficient",
    "heisenberg_coefficients",
    "initial_parameters",
    "load_digits",
    "logistic_baseline",
    "loss_and_gradient",
    "mixed_processors",
    "model_loss",
    "model_loss_and_gradient",
    "model_values",
    "natural_direction",
    "node_noise",
    "noiseless",
    "pad_samples",
    "parameter_shift_jacobian",
    "partition_circuit",
    "pauli_state",
    "pennylane_device",
    "pure_quantum_fisher_diagonal",
    "pure_quantum_fisher_matrix",
    "quantum_fisher_diagonal",
    "quantum_fisher_matrix",
    "quantum_fisher_trace",
    "rotation_angles",
    "sample_outcomes",
    "scores",
    "split_over_learners",
    "split_parameters",
    "spsa_fisher",
    "train_exact",
]
