"""Angles as polynomials of parameters and inputs, for programs whose expressions are read symbolically."""

import math
from dataclasses import dataclass
from typing import NamedTuple

from ceas.errors import DomainError
from ceas.learning.circuits import Term

__all__ = ["AngleSum", "input_sum", "parameter_sum", "sum_terms"]


# Products of sums grow without end otherwise; circuits have a few terms of a few factors an angle.
_MOST_TERMS = 10_000
_MOST_FACTORS = 64


class _Monomial(NamedTuple):
    """A product of parameters and inputs, sorted."""

    parameters: tuple[int, ...] = ()
    features: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class AngleSum:
    """A polynomial, with the operators +, - and * among polynomials and numbers, and / by numbers."""

    coefficients: tuple[tuple[_Monomial, float], ...]

    def __add__(self, other: "AngleSum | float") -> "AngleSum":
        total = dict(self.coefficients)
        for monomial, coefficient in _as_sum(other).coefficients:
            total[monomial] = total.get(monomial, 0.0) + coefficient
        return AngleSum(tuple(item for item in sorted(total.items()) if item[1]))

    def __mul__(self, other: "AngleSum | float") -> "AngleSum":
        others = _as_sum(other).coefficients
        if len(self.coefficients) * len(others) > _MOST_TERMS:
            count = len(self.coefficients) * len(others)
            raise DomainError(f"a product of sums must have at most {_MOST_TERMS} terms, but has {count}")
        total: dict[_Monomial, float] = {}
        for (parameters, features), left in self.coefficients:
            for (more_parameters, more_features), right in others:
                product = _Monomial(_merged(parameters, more_parameters), _merged(features, more_features))
                total[product] = total.get(product, 0.0) + left * right
        return AngleSum(tuple(item for item in sorted(total.items()) if item[1]))

    @property
    def is_finite(self) -> bool:
        """Whether all coefficients are."""
        return all(math.isfinite(coefficient) for _, coefficient in self.coefficients)

    def __truediv__(self, number: float) -> "AngleSum":
        return AngleSum(tuple((monomial, coefficient / number) for monomial, coefficient in self.coefficients))

    def __neg__(self) -> "AngleSum":
        return AngleSum(tuple((monomial, -coefficient) for monomial, coefficient in self.coefficients))

    def __sub__(self, other: "AngleSum | float") -> "AngleSum":
        return self + -_as_sum(other)

    def __rsub__(self, other: float) -> "AngleSum":
        return -self + other

    __radd__ = __add__
    __rmul__ = __mul__


def parameter_sum(index: int) -> AngleSum:
    """Return the polynomial that is one parameter."""
    return AngleSum(((_Monomial(parameters=(index,)), 1.0),))


def input_sum(index: int) -> AngleSum:
    """Return the polynomial that is one input."""
    return AngleSum(((_Monomial(features=(index,)), 1.0),))


def sum_terms(angle: AngleSum | float) -> tuple[Term, ...]:
    """Return the terms of an angle.

    Raises:
        DomainError: It multiplies two parameters, or a coefficient is not finite.
    """
    terms = []
    for (parameters, features), coefficient in _as_sum(angle).coefficients:
        if not math.isfinite(coefficient):
            raise DomainError(f"an angle must have finite coefficients, but has {coefficient}")
        if len(parameters) > 1:
            raise DomainError("an angle must have at most one parameter in each product, but multiplies two")
        terms.append(Term(coefficient, parameters[0] if parameters else -1, features))
    return tuple(terms)


def _as_sum(value: AngleSum | float) -> AngleSum:
    if isinstance(value, AngleSum):
        return value
    return AngleSum(((_Monomial(), float(value)),) if value else ())


def _merged(left: tuple[int, ...], right: tuple[int, ...]) -> tuple[int, ...]:
    if len(left) + len(right) > _MOST_FACTORS:
        raise DomainError(
            f"a product must have at most {_MOST_FACTORS} parameters or inputs, but has {len(left) + len(right)}"
        )
    return tuple(sorted(left + right))
