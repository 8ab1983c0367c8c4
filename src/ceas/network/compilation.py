"""How the kernel and the scheduling rules are compiled.

Compiled code is kept on disk. What a cached function called when it was compiled is part of it: after a change to one
of the files that the kernel imports, delete the `__pycache__` folders.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar, cast

import numpy as np
from numba import cfunc, njit

__all__ = ["CompiledRule", "compiled", "constant", "inlined"]

_Function = TypeVar("_Function", bound=Callable[..., Any])

# Kernel and rules allocate nothing, so they count no references: that would cost more than the simulation itself.
_OPTIONS: dict[str, Any] = {"cache": True, "error_model": "numpy", "_nrt": False}
# Inlined by force, for a call would copy the descriptor of every array of its named tuple.
_INLINED: dict[str, Any] = {"forceinline": True, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}


@dataclass(frozen=True)
class CompiledRule:
    """A function behind a pointer of a fixed type, compiled when the pointer is first used.

    Called from Python, it is the plain Python function.
    """

    function: Callable[..., Any]
    signature: Any

    @cached_property
    def pointer(self) -> Any:
        """The compiled function, as compiled code takes it."""
        return cfunc(self.signature, **_OPTIONS)(self.function)

    def __call__(self, *arguments: Any) -> Any:
        """Run the plain Python function."""
        return self.function(*arguments)


def compiled(function: _Function) -> _Function:
    """Compile a function that allocates nothing; its Python form is `py_func`."""
    result: _Function = njit(nogil=True, forceinline=True, **_OPTIONS)(function)
    return result


def inlined(function: _Function) -> _Function:
    """Compile a function that only compiled functions call, and inline it into them."""
    result: _Function = njit(nogil=True, **_INLINED, **_OPTIONS)(function)
    return result


def constant(value: int) -> int:
    """Return an integer that compiled functions can be called with; for a Python constant Numba compiles them anew."""
    return cast(int, np.int64(value))
