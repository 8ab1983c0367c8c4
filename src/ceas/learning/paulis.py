"""Pauli strings as digits: 0..3 for I, X, Y, Z, so that the product of two is their exclusive or, up to a phase.

A string of n Paulis has the index sum_q d_q 4^(n-1-q). All maps here are in the Heisenberg picture, P -> U^dagger P U.
"""

import itertools
from functools import cache, reduce

import numpy as np
import numpy.typing as npt

from ceas.learning.circuits import CLIFFORDS

__all__ = [
    "PAULIS",
    "DigitArray",
    "anticommutes",
    "clifford_bloch_matrix",
    "clifford_table",
    "pauli_digit",
    "product_is_negative",
    "string_digits",
    "string_ids",
    "turn_parts",
]

DigitArray = npt.NDArray[np.int8]
FloatArray = npt.NDArray[np.float64]
ComplexArray = npt.NDArray[np.complex128]

PAULIS: ComplexArray = np.array([[[1, 0], [0, 1]], [[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]])
"""I, X, Y and Z, shape (4, 2, 2)."""

_I, _X, _Y, _Z = PAULIS
_CLIFFORD_MATRICES: dict[str, ComplexArray | FloatArray] = {
    "x": _X,
    "y": _Y,
    "z": _Z,
    "h": (_X + _Z) / np.sqrt(2),
    "s": np.diag([1, 1j]),
    "sdg": np.diag([1, -1j]),
    "sx": ((1 + 1j) * _I + (1 - 1j) * _X) / 2,
    "sxdg": ((1 - 1j) * _I + (1 + 1j) * _X) / 2,
    "cnot": (np.kron(_I + _Z, _I) + np.kron(_I - _Z, _X)) / 2,
    "cz": (np.kron(_I + _Z, _I) + np.kron(_I - _Z, _Z)) / 2,
    "swap": np.asarray(sum(np.kron(pauli, pauli) for pauli in PAULIS)) / 2,
}
# i^power of the product of two Paulis: XY = iZ, YX = -iZ and so on round the circle.
_PHASE = np.array([[0, 0, 0, 0], [0, 0, 1, 3], [0, 3, 0, 1], [0, 1, 3, 0]], dtype=np.int8)


def string_digits(n_qubits: int) -> DigitArray:
    """Return the digits of every Pauli string, shape (n_qubits, 4^n_qubits)."""
    return np.array(np.unravel_index(np.arange(4**n_qubits), (4,) * n_qubits), dtype=np.int8)


def string_ids(digits: DigitArray) -> npt.NDArray[np.int64]:
    """Return the indices of strings with the given digits, shape (n_qubits, strings) to (strings,)."""
    return reduce(lambda ids, digit: 4 * ids + digit, digits, np.zeros(digits.shape[1:], dtype=np.int64))


def pauli_digit(letter: str) -> int:
    """Return the digit of `"I"`, `"X"`, `"Y"` or `"Z"`."""
    return "IXYZ".index(letter)


def anticommutes(digits: DigitArray, pauli: int) -> npt.NDArray[np.bool_]:
    """Tell of each digit whether it anticommutes with a Pauli other than I."""
    return np.asarray((digits != 0) & (digits != pauli))


def product_is_negative(paulis: tuple[int, ...], digits: DigitArray) -> npt.NDArray[np.bool_]:
    """Tell whether i P Q is minus the string with the digits of P xor Q, for strings Q that anticommute with P.

    Args:
        paulis: Digits of P.
        digits: Digits of each Q on the same qubits, shape (len(paulis), strings).
    """
    power = 1 + sum(_PHASE[pauli, digit] for pauli, digit in zip(paulis, digits, strict=True))
    return np.asarray(power % 4 == 2)


@cache
def clifford_table(kind: str) -> tuple[DigitArray, npt.NDArray[np.bool_]]:
    """Return what a Clifford gate of k qubits makes of each string on them: digits (k, 4^k), and where it is negative.

    Source:
        Aaronson and Gottesman, PRA 70, 052328, 2004, section II.
    """
    n = CLIFFORDS[kind]
    matrix = _CLIFFORD_MATRICES[kind]
    strings = np.array([reduce(np.kron, paulis) for paulis in itertools.product(PAULIS, repeat=n)])
    images = matrix.conj().T @ strings @ matrix
    overlaps = np.einsum("aij,bji->ab", strings, images).real / 2**n
    image = np.abs(overlaps).argmax(axis=0)
    return string_digits(n)[:, image], overlaps[image, np.arange(4**n)] < 0


def clifford_bloch_matrix(kind: str) -> FloatArray:
    """Return the signed permutation of (X, Y, Z) by a Clifford gate of one qubit, (out, in)."""
    (digits,), is_negative = clifford_table(kind)
    matrix = np.zeros((3, 3))
    matrix[digits[1:] - 1, np.arange(3)] = np.where(is_negative[1:], -1.0, 1.0)
    return matrix


def turn_parts(pauli: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return K, C and S so that exp(-i t P / 2) maps (X, Y, Z) by K + cos(t) C + sin(t) S, (out, in).

    U^dagger turns a Bloch vector by -t about the axis: v -> axis (axis.v) + cos t (v - axis (axis.v)) - sin t axis x v.
    """
    axis = np.eye(3)[pauli - 1]
    along = np.outer(axis, axis)
    return along, np.eye(3) - along, -np.cross(axis, np.eye(3)).T
