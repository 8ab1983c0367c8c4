"""The quantum neural network: data sets, circuits, partitions, noise, exact expectation values and measured gradients.

Importing this room imports JAX.
"""

from ceas.learning.circuits import Circuit, Gate, hardware_efficient
from ceas.learning.data import Dataset, LearnerSamples, load_digits, logistic_baseline, pad_samples, split_over_learners
from ceas.learning.engine import (
    enable_compilation_cache,
    encode_features,
    expectations,
    heisenberg_coefficients,
    loss_and_gradient,
    parameter_shift_jacobian,
    pauli_state,
)
from ceas.learning.fisher import (
    effective_contraction,
    pure_quantum_fisher_diagonal,
    quantum_fisher_diagonal,
    quantum_fisher_trace,
)
from ceas.learning.gradients import (
    GradientEstimates,
    GradientSettings,
    cross_entropy_loss,
    estimate_gradients,
    plan_shots,
)
from ceas.learning.noise import NoiseTable, node_noise, noiseless
from ceas.learning.partition import Partition, partition_circuit
from ceas.learning.shots import Shots, sample_outcomes

__all__ = [
    "Circuit",
    "Dataset",
    "Gate",
    "GradientEstimates",
    "GradientSettings",
    "LearnerSamples",
    "NoiseTable",
    "Partition",
    "Shots",
    "cross_entropy_loss",
    "effective_contraction",
    "enable_compilation_cache",
    "encode_features",
    "estimate_gradients",
    "expectations",
    "hardware_efficient",
    "heisenberg_coefficients",
    "load_digits",
    "logistic_baseline",
    "loss_and_gradient",
    "node_noise",
    "noiseless",
    "pad_samples",
    "parameter_shift_jacobian",
    "partition_circuit",
    "pauli_state",
    "plan_shots",
    "pure_quantum_fisher_diagonal",
    "quantum_fisher_diagonal",
    "quantum_fisher_trace",
    "sample_outcomes",
    "split_over_learners",
]
