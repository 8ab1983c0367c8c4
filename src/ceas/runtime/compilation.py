"""Where compiled code is kept between runs."""

import os
from pathlib import Path

from ceas.learning import enable_compilation_cache

__all__ = ["use_compilation_cache"]


def use_compilation_cache() -> None:
    """Keep JAX's compiled programs on disk, so that only the first run on a machine compiles them.

    The folder is `ceas/jax` below `XDG_CACHE_HOME`, or below `~/.cache`.
    """
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    enable_compilation_cache(root / "ceas" / "jax")
