"""Closed forms for Fisher information under noise."""

import numpy as np
import numpy.typing as npt

from ceas.errors import DomainError

__all__ = ["depolarised_fisher_factor"]


def depolarised_fisher_factor(contraction: npt.ArrayLike, dimension: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return what global depolarising leaves of the quantum Fisher information of a pure state.

    The state lambda |psi><psi| + (1 - lambda) I / d has the eigenvalues p = lambda + (1 - lambda) / d on psi and q =
    (1 - lambda) / d beside it, and a rotation only couples the two: (p - q)^2 / (p + q) = lambda^2 / (lambda + 2 (1 -
    lambda) / d) times the information of psi. For one qubit this is lambda^2, for many it approaches lambda.

    Args:
        contraction: lambda, by which every traceless observable is multiplied, in [0, 1].
        dimension: d = 2^n, at least 2; both arguments broadcast.

    Raises:
        DomainError: An argument is outside its range.

    Source:
        Liu, Yuan, Lu and Wang, J. Phys. A 53, 023001, 2020, eq. (26), for two distinct eigenvalues.
    """
    kept, size = np.asarray(contraction, dtype=np.float64), np.asarray(dimension, dtype=np.float64)
    if not np.all((kept >= 0) & (kept <= 1)):
        raise DomainError(f"Argument `contraction` must be in [0, 1], but is {kept}.")
    if not np.all(size >= 2):
        raise DomainError(f"Argument `dimension` must be at least 2, but is {size}.")
    # Both weights vanish together only where nothing is left.
    return kept**2 / (kept + 2 * (1 - kept) / size)
