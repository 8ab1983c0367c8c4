"""Identity of the code that decides what a training comes to.

Results that are kept and added to over days must not mix what different code made. A version number does not tell: it
stays the same from one change to the next. So the sources of all rooms that take part are hashed.
"""

import hashlib
from functools import cache
from pathlib import Path

__all__ = ["code_identity"]

_PACKAGE = Path(__file__).parents[1]
# All modules of these rooms; of `experiments` those that turn a scenario into a training.
_ROOMS = (
    *("physics", "network", "scheduling", "learning", "aggregation", "attacks", "authentication", "consensus"),
    "runtime",
)
_MODULES = (
    *("streams.py", "experiments/assemble.py", "experiments/ensembles.py", "experiments/run.py"),
    *("experiments/registry.py", "experiments/sections.py", "experiments/reproduce_falsifiers.py"),
)


@cache
def code_identity(*more: str) -> str:
    """Return 16 hexadecimal digits over the sources that decide a training's numbers; comments count as well.

    Args:
        *more: Further modules that a result depends on, as paths below the package.
    """
    files = [file for room in _ROOMS for file in sorted((_PACKAGE / room).rglob("*.py"))]
    digest = hashlib.sha256()
    for file in (*files, *(_PACKAGE / name for name in (*_MODULES, *more))):
        digest.update(f"{file.relative_to(_PACKAGE).as_posix()}\0".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]
