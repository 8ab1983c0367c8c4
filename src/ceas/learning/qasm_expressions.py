"""Values of OpenQASM expressions: numbers, polynomials of parameters and inputs, and arrays of them."""

import math
import operator
import sys
from collections.abc import Callable, Mapping
from typing import Any

from ceas.errors import DomainError
from ceas.learning.angle_sums import AngleSum

__all__ = ["CONSTANTS", "Value", "as_declared", "evaluate", "evaluate_integer", "evaluate_range"]

Value = AngleSum | float | tuple["Value", ...]

CONSTANTS: dict[str, Value] = {
    **dict.fromkeys(("pi", "π"), math.pi),
    **dict.fromkeys(("tau", "τ"), math.tau),
    **dict.fromkeys(("euler", "ℇ"), math.e),
}

_INTEGER_TYPES = ("IntType", "UintType")
_NUMBER_TYPES = (*_INTEGER_TYPES, "FloatType", "AngleType")

_TOO_LARGE = f"a number must be finite and at most {sys.float_info.max:.2g} in size, but one is not"

_FUNCTIONS: dict[str, Callable[..., float]] = {
    "arccos": math.acos,
    "arcsin": math.asin,
    "arctan": math.atan,
    "ceiling": math.ceil,
    "cos": math.cos,
    "exp": math.exp,
    "floor": math.floor,
    "ln": math.log,
    "log": math.log,
    "mod": operator.mod,
    "pow": operator.pow,
    "sin": math.sin,
    "sqrt": math.sqrt,
    "tan": math.tan,
}


def evaluate(node: Any, names: Mapping[str, Value]) -> Value:
    """Return the value of a syntax tree's expression.

    A quotient of integers is a real number, as in the specification's own pow(1/2), and an integer where it is whole.

    Raises:
        DomainError: The expression is not one of numbers and polynomials, a name is not known, or a number is beyond
            those of double precision.
    """
    kind = type(node).__name__
    if kind not in _RULES:
        raise DomainError(f"an expression must consist of numbers, inputs, + - * / ** % and functions, but has {kind}")
    value = _RULES[kind](node, names)
    if not _is_finite(value):
        raise DomainError(_TOO_LARGE)
    return value


def _is_finite(value: Value) -> bool:
    if isinstance(value, AngleSum):
        return value.is_finite
    # Unlike a conversion, a comparison takes integers of any size.
    return isinstance(value, tuple) or abs(value) <= sys.float_info.max


def evaluate_integer(node: Any, names: Mapping[str, Value]) -> int:
    """Return the value of an expression that must be a constant integer.

    Raises:
        DomainError: It is not.
    """
    value = evaluate(node, names)
    if not isinstance(value, int | float) or value != int(value):
        raise DomainError(f"a size, an index or an exponent must be a constant integer, but is {value}")
    return int(value)


def evaluate_range(node: Any, names: Mapping[str, Value], length: int | None = None) -> range:
    """Return the integers of start:step:end, whose end is included; ends may be left out where there is a length.

    Raises:
        DomainError: An end is missing without a length, or is no constant integer.
    """
    step = 1 if node.step is None else evaluate_integer(node.step, names)
    if step == 0 or (length is None and (node.start is None or node.end is None)):
        raise DomainError("a range must have two ends and a step that is not 0, but has not")
    default = (0, (length or 0) - 1) if step > 0 else ((length or 0) - 1, 0)
    start, end = (
        fallback if bound is None else _from_end(evaluate_integer(bound, names), length)
        for bound, fallback in zip((node.start, node.end), default, strict=True)
    )
    return range(start, end + (1 if step > 0 else -1), step)


def as_declared(declared: Any, value: Value) -> Value:
    """Return a value as a declaration of its type makes it: an integer stays one, and no other is made one.

    Raises:
        DomainError: The type is not one of numbers, or the value not one of the type.
    """
    kind = type(declared).__name__
    if kind not in _NUMBER_TYPES:
        raise DomainError(f"a number must be a float, an angle, an int or a uint, but is {kind}")
    if kind in _INTEGER_TYPES and (not isinstance(value, int) or (kind == "UintType" and value < 0)):
        wanted = "an integer" if kind == "IntType" else "an integer of at least 0"
        raise DomainError(f"a value must be {wanted} as declared, but is {value}")
    return value


def _cast(node: Any, names: Mapping[str, Value]) -> Value:
    """Return the value of a cast: integers are truncated towards zero, as in C."""
    value = evaluate(node.argument, names)
    if type(node.type).__name__ in _INTEGER_TYPES:
        if not isinstance(value, int | float):
            raise DomainError("only a constant can be made an integer, but it depends on inputs")
        value = int(value)
    return as_declared(node.type, value)


def _from_end(index: int, length: int | None) -> int:
    return index + length if length is not None and index < 0 else index


def _name(node: Any, names: Mapping[str, Value]) -> Value:
    if node.name not in names:
        raise DomainError(f"`{node.name}` must be declared as a constant or an input before its use, but is not")
    return names[node.name]


def _unary_expression(node: Any, names: Mapping[str, Value]) -> Value:
    if node.op.name != "-":
        raise DomainError(f"an expression must have no sign but -, but has `{node.op.name}`")
    return -_single(evaluate(node.expression, names))


def _binary_expression(node: Any, names: Mapping[str, Value]) -> Value:
    left, right = (_single(evaluate(side, names)) for side in (node.lhs, node.rhs))
    return _binary(node.op.name, left, right)


def _function_call(node: Any, names: Mapping[str, Value]) -> Value:
    return _call(node.name.name, [_single(evaluate(argument, names)) for argument in node.arguments])


def _single(value: Value) -> AngleSum | float:
    if isinstance(value, tuple):
        raise DomainError("an expression must take elements of an array, but takes a whole array")
    return value


def _binary(symbol: str, left: AngleSum | float, right: AngleSum | float) -> Value:
    if symbol == "+":
        return left + right
    if symbol == "-":
        return left - right
    if symbol == "*":
        return left * right
    if isinstance(right, AngleSum):
        raise DomainError(f"the right side of `{symbol}` must be a constant, but depends on inputs")
    if symbol == "/":
        return _quotient(left, right)
    if symbol not in ("**", "%"):
        raise DomainError(f"an expression must have the operators + - * / ** %, but has `{symbol}`")
    if not isinstance(left, AngleSum):
        return _call("pow" if symbol == "**" else "mod", [left, right])
    if symbol == "%":
        raise DomainError("the left side of `%` must be a constant, but depends on inputs")
    if right not in (1, 2, 3):
        raise DomainError(f"the exponent of what depends on inputs must be 1, 2 or 3, but is {right}")
    return left if right == 1 else left * _binary(symbol, left, right - 1)  # type: ignore[operator]


def _quotient(left: AngleSum | float, right: float) -> AngleSum | float:
    if right == 0:
        raise DomainError("the right side of `/` must not be 0, but is")
    if isinstance(left, int) and isinstance(right, int) and left % right == 0:
        return left // right
    return left / right


def _call(name: str, arguments: list[AngleSum | float]) -> float:
    if name not in _FUNCTIONS:
        raise DomainError(f"a function must be one of {', '.join(_FUNCTIONS)}, but is `{name}`")
    if any(isinstance(argument, AngleSum) for argument in arguments):
        raise DomainError(
            f"`{name}` must be of constants, but depends on inputs: an angle is a sum of products of them"
        )
    if name == "pow" and len(arguments) == 2:
        _check_power(*arguments)
    try:
        result = _FUNCTIONS[name](*arguments)
    except (ArithmeticError, TypeError, ValueError) as error:
        raise DomainError(f"`{name}` must be defined for its arguments, but is not for {arguments}: {error}") from None
    if isinstance(result, complex):
        raise DomainError(f"`{name}` must be real, but is not for {arguments}")
    return result


def _check_power(base: Any, exponent: Any) -> None:
    """Refuse an integer power that is too large before it takes all time and memory."""
    if (
        isinstance(base, int)
        and isinstance(exponent, int)
        and (base.bit_length() - 1) * exponent >= sys.float_info.max_exp
    ):
        raise DomainError(f"{_TOO_LARGE}: {base} to the power of {exponent}")


def _element(collection: Value, index: Any, names: Mapping[str, Value]) -> Value:
    for part in index if isinstance(index, list) else [index]:
        place = evaluate_integer(part, names)
        if not isinstance(collection, tuple) or not -len(collection) <= place < len(collection):
            raise DomainError(f"an index must be inside its array, but is {place}")
        collection = collection[place]
    return collection


_RULES: dict[str, Callable[[Any, Mapping[str, Value]], Value]] = {
    "BinaryExpression": _binary_expression,
    "Cast": _cast,
    "FloatLiteral": lambda node, _: float(node.value),
    "FunctionCall": _function_call,
    "Identifier": _name,
    "IndexExpression": lambda node, names: _element(evaluate(node.collection, names), node.index, names),
    "IntegerLiteral": lambda node, _: int(node.value),
    "UnaryExpression": _unary_expression,
}
