"""Limits of what nodes may be, in one place.

Scenarios are checked against them before anything numerical is loaded, and the network that is drawn holds to them.
"""

__all__ = ["LARGEST_GATE_ERROR", "LARGEST_READOUT_ERROR"]

# A Pauli error of 3/4 leaves nothing of a qubit and a flip of 1/2 nothing of a bit. Medians and draws stop short of
# both, so that every node keeps a signal, however faint.
LARGEST_GATE_ERROR = 0.74
LARGEST_READOUT_ERROR = 0.49
