"""What one Bell pair is and becomes: states, decay, swapping, teleported noise, keys and heralded generation.

Pure NumPy functions over arrays of any shape, in float64, with units in their names.
"""

from ceas.physics.channels import teleported_cnot_channel, teleported_qubit_channel
from ceas.physics.heralding import HeraldedLink, fibre_transmission, herald_double_click
from ceas.physics.keys import (
    binary_entropy,
    joint_test_pass_probability,
    quantum_bit_error_rate,
    secret_key_fraction,
)
from ceas.physics.memory import decay_werner, dephase_bell_diagonal, depolarise_bell_diagonal, storage_cutoff_s
from ceas.physics.states import (
    bell_diagonal_to_werner,
    fidelity_to_werner,
    swap_bell_diagonal,
    swap_werner,
    werner_bell_diagonal,
    werner_to_fidelity,
)

__all__ = [
    "HeraldedLink",
    "bell_diagonal_to_werner",
    "binary_entropy",
    "decay_werner",
    "dephase_bell_diagonal",
    "depolarise_bell_diagonal",
    "fibre_transmission",
    "fidelity_to_werner",
    "herald_double_click",
    "joint_test_pass_probability",
    "quantum_bit_error_rate",
    "secret_key_fraction",
    "storage_cutoff_s",
    "swap_bell_diagonal",
    "swap_werner",
    "teleported_cnot_channel",
    "teleported_qubit_channel",
    "werner_bell_diagonal",
    "werner_to_fidelity",
]
