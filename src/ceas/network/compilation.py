"""How the kernel and the scheduling rules are compiled.

Compiled code is kept on disk. What a function calls is compiled into it, but Numba only looks at the function's own
file when it decides whether a stored copy is still good. So the folder is named after a hash of all files that hold
compiled functions: a change in any of them makes a new folder, and stale code is never run.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numba import cfunc, njit

__all__ = ["CompiledRule", "as_index", "compiled", "constant", "inlined", "outlined"]

_Function = TypeVar("_Function", bound=Callable[..., Any])

# Kernel and rules allocate nothing, so they count no references: that would cost more than the simulation itself.
_OPTIONS: dict[str, Any] = {"cache": True, "error_model": "numpy", "_nrt": False}
# Inlined by force, for a call would copy the descriptor of every array of its named tuple.
_UNWRAPPED: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
_INLINED: dict[str, Any] = {"forceinline": True, **_UNWRAPPED}


def _cache_folder() -> Path:
    """Return where compiled code is kept: below `NUMBA_CACHE_DIR`, else `XDG_CACHE_HOME`, else `~/.cache`."""
    package = Path(__file__).parents[1]
    digest = hashlib.sha256(numba.__version__.encode())
    for room in ("network", "scheduling"):
        for path in sorted((package / room).glob("*.py")):
            digest.update(path.read_bytes())
    root = os.environ.get("NUMBA_CACHE_DIR") or os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "ceas" / "numba" / digest.hexdigest()[:16]


_CACHE_FOLDER = str(_cache_folder())


@contextmanager
def _own_cache() -> Iterator[None]:
    """Let Numba keep what is decorated here in our folder; its setting is global, so it is put back."""
    previous = getattr(numba.config, "CACHE_DIR")  # noqa: B009 - Numba makes its settings at run time
    setattr(numba.config, "CACHE_DIR", _CACHE_FOLDER)  # noqa: B010
    try:
        yield
    finally:
        setattr(numba.config, "CACHE_DIR", previous)  # noqa: B010


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
        with _own_cache():
            # Inlined into what the pointer points at, so that only those fields of a view are read that the rule uses.
            return cfunc(self.signature, forceinline=True, **_OPTIONS)(self.function)

    def __call__(self, *arguments: Any) -> Any:
        """Run the plain Python function."""
        return self.function(*arguments)


def compiled(function: _Function) -> _Function:
    """Compile a function that allocates nothing; its Python form is `py_func`."""
    with _own_cache():
        result: _Function = njit(nogil=True, forceinline=True, **_OPTIONS)(function)
    return result


def inlined(function: _Function) -> _Function:
    """Compile a function that only compiled functions call, and inline it into them."""
    with _own_cache():
        result: _Function = njit(nogil=True, **_INLINED, **_OPTIONS)(function)
    return result


def outlined(function: _Function) -> _Function:
    """Compile a function that compiled functions call at many places; it should take few arrays."""
    with _own_cache():
        result: _Function = njit(nogil=True, **_UNWRAPPED, **_OPTIONS)(function)
    return result


def constant(value: int) -> int:
    """Return an integer that compiled functions can be called with; for a Python constant Numba compiles them anew."""
    return cast(int, np.int64(value))


# All bits but that of the sign.
_NOT_NEGATIVE = constant((1 << 63) - 1)


@compiled
def as_index(value: int) -> int:
    """Return an index that is not negative, of which the compiler then knows that.

    Otherwise every access that it takes part in allows for an index from the end. The compiler moves addresses out of
    loops and branches, so that costs time even where nothing is accessed.
    """
    return value & _NOT_NEGATIVE
