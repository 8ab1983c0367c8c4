"""Find the terms of angles from their values: what an angle is as a function of parameters and inputs.

An angle that is a sum of coefficient * (at most one parameter) * (a product of inputs) is a polynomial. Perturbing
variables tells which of them it depends on, a linear fit at random points gives the coefficients, and further points,
near and far, verify that nothing else is in it.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ceas.learning.circuits import Term

__all__ = ["fit_angles"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
Evaluate = Callable[[FloatArray], FloatArray]

_MOST_INPUTS = 3  # of one term
_MOST_TERMS = 300  # that one angle is fitted with
_GROUP_TESTS = 80
_SPARE_POINTS = 4
# Least and greatest size of every variable at points that tell whether an angle changes its law far from the others, as
# a clipped or a rounded one does. Each such point is taken with its opposite.
_FAR = ((4.0, 10.0), (100.0, 1000.0))
_TOLERANCE = 1e-9
_FRACTIONS = 192  # thirds and powers of a half


class _Samples(NamedTuple):
    points: FloatArray  # (points, variables)
    values: FloatArray  # (points, angles)


def fit_angles(evaluate: Evaluate, n_parameters: int, n_features: int, *, seed: int = 0) -> list[list[Term] | None]:
    """Fit the terms of every angle.

    Coefficients that are within rounding of a multiple of 1/192 or pi/192 are taken to be it.

    Args:
        evaluate: Gives all angles, shape (angles,), at a point, the parameters then the inputs, shape (variables,).
        n_parameters: Number of parameters.
        n_features: Number of inputs.
        seed: Seed of the random points.

    Returns:
        Terms of every angle, none for an angle that is always zero; None where an angle is no sum of terms with at most
        one parameter and three inputs each, within 1e-9 at eight points that the fit has not seen, half of them far
        away (a wrong polynomial passes with probability zero), or has more than 300 candidate terms.
    """
    rng = np.random.default_rng(seed)
    base = rng.uniform(0.5, 1.5, n_parameters + n_features)
    constants = evaluate(base)
    supports = _supports(evaluate, base, constants, rng)
    fitted: list[list[Term] | None] = [None] * constants.size
    samples = _Samples(np.empty((0, base.size)), np.empty((0, constants.size)))
    pending = []
    for angle, support in enumerate(supports):
        if support.any():
            pending.append(angle)
        else:
            fitted[angle] = [Term(float(constants[angle]))] if constants[angle] else []
    for degree in range(1, _MOST_INPUTS + 1):
        shapes = {angle: _monomials(supports[angle], n_parameters, degree) for angle in pending}
        shapes = {angle: monomials for angle, monomials in shapes.items() if len(monomials) <= _MOST_TERMS}
        samples = _extend(samples, evaluate, rng, max(map(len, shapes.values()), default=0) + _SPARE_POINTS)
        for angle, monomials in shapes.items():
            fitted[angle] = _fit(samples, angle, monomials, n_parameters)
        pending = [angle for angle in pending if fitted[angle] is None]
    far = _far_samples(evaluate, base.size, constants.size, rng)
    return [
        None if terms is None or not _holds(far, angle, terms, n_parameters) else terms
        for angle, terms in enumerate(fitted)
    ]


def _far_samples(evaluate: Evaluate, n_variables: int, n_angles: int, rng: np.random.Generator) -> _Samples:
    half = [rng.choice([-1.0, 1.0], n_variables) * rng.uniform(low, high, n_variables) for low, high in _FAR]
    points = [point for one in half for point in (one, -one)]
    values = [evaluate(point) for point in points]
    return _Samples(np.reshape(points, (len(points), n_variables)), np.reshape(values, (len(points), n_angles)))


def _holds(samples: _Samples, angle: int, terms: Sequence[Term], n_parameters: int) -> bool:
    """Tell whether an angle is the sum of its terms, up to their rounding, at points where terms may be large."""
    parts = [term.coefficient * _value(term, samples.points, n_parameters) for term in terms]
    total, size = sum(parts), sum(np.abs(part) for part in parts)
    return bool(np.all(np.abs(total - samples.values[:, angle]) <= _TOLERANCE * (1 + size)))


def _supports(evaluate: Evaluate, base: FloatArray, constants: FloatArray, rng: np.random.Generator) -> BoolArray:
    """Return which variables each angle may depend on, shape (angles, variables).

    With many variables a test perturbs a random quarter of them; a variable is ruled out where an angle does not move.
    If that leaves too many for some angle, each variable is tested by itself.
    """
    n_variables = base.size
    if n_variables > _GROUP_TESTS:
        masks = rng.random((_GROUP_TESTS, n_variables)) < 0.25
        moved = _moved(evaluate, base, constants, masks, rng)
        possible = (~moved).T.astype(int) @ masks.astype(int) == 0
        if possible.sum(axis=1).max(initial=0) <= 8:
            return np.asarray(possible)
    return _moved(evaluate, base, constants, np.eye(n_variables, dtype=bool), rng).T


def _moved(
    evaluate: Evaluate, base: FloatArray, constants: FloatArray, masks: BoolArray, rng: np.random.Generator
) -> BoolArray:
    """Return which angles move when these variables are perturbed, shape (tests, angles)."""
    steps = masks * rng.uniform(0.5, 1.0, masks.shape)
    moved = [np.abs(evaluate(base + step) - constants) > _TOLERANCE for step in steps]
    return np.array(moved, dtype=bool).reshape(len(masks), constants.size)


def _monomials(support: BoolArray, n_parameters: int, degree: int) -> list[Term]:
    """Return all terms of coefficient one of these variables with at most this many inputs."""
    variables = np.flatnonzero(support).tolist()
    parameters = [-1, *(v for v in variables if v < n_parameters)]
    features = [v - n_parameters for v in variables if v >= n_parameters]
    products = [
        product
        for size in range(degree + 1)
        for product in itertools.islice(itertools.combinations_with_replacement(features, size), _MOST_TERMS + 1)
    ]
    return [Term(1.0, parameter, product) for parameter in parameters for product in products]


def _extend(samples: _Samples, evaluate: Evaluate, rng: np.random.Generator, n_points: int) -> _Samples:
    missing = max(n_points - len(samples.points), 0)
    points = rng.uniform(-1.5, 1.5, (missing, samples.points.shape[1]))
    values = [samples.values, *(evaluate(point)[None] for point in points)]
    return _Samples(np.concatenate([samples.points, points]), np.concatenate(values))


def _fit(samples: _Samples, angle: int, monomials: Sequence[Term], n_parameters: int) -> list[Term] | None:
    design = np.stack([_value(term, samples.points, n_parameters) for term in monomials], axis=1)
    values = samples.values[:, angle]
    solution = np.linalg.lstsq(design[:-_SPARE_POINTS], values[:-_SPARE_POINTS], rcond=None)[0]
    coefficients = np.array([_tidy(float(coefficient)) for coefficient in solution])
    scale = 1 + float(np.abs(values).max())
    if float(np.abs(design @ coefficients - values).max()) > _TOLERANCE * scale:
        return None
    return [term._replace(coefficient=c) for term, c in zip(monomials, coefficients.tolist(), strict=True) if c]


def _value(term: Term, points: FloatArray, n_parameters: int) -> FloatArray:
    columns = [n_parameters + feature for feature in term.features]
    if term.parameter >= 0:
        columns.append(term.parameter)
    return np.asarray(points[:, columns].prod(axis=1))


def _tidy(coefficient: float) -> float:
    """Undo the rounding of a fit."""
    for unit in (1.0, np.pi):
        nearest = round(coefficient * _FRACTIONS / unit) * unit / _FRACTIONS
        if abs(coefficient - nearest) < 1e-11:
            return float(nearest)
    short = float(f"{coefficient:.12g}")
    return short if abs(coefficient - short) < 5e-14 * abs(coefficient) else coefficient
