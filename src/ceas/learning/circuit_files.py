"""Circuits from files, as a scenario names them."""

from collections.abc import Sequence
from pathlib import Path

from ceas.errors import DomainError
from ceas.learning.circuits import Circuit
from ceas.learning.import_qasm import from_qasm

__all__ = ["qasm_file"]


def qasm_file(path: str, *, parameters: Sequence[str] = ("theta*",), inputs: Sequence[str] = ("x*",)) -> Circuit:
    """Read a circuit from an OpenQASM file.

    Args:
        path: The file; its text is what `from_qasm` takes.
        parameters: Names or patterns of the declared inputs that are trained.
        inputs: The same for a sample's inputs.

    Raises:
        DomainError: The file cannot be read, or its program not be imported.
    """
    try:
        text = Path(path).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DomainError(f"Argument `path` must be an OpenQASM file, but {path} cannot be read: {error}.") from error
    try:
        return from_qasm(text, parameters=parameters, inputs=inputs).circuit
    except (DomainError, ModuleNotFoundError) as error:
        raise DomainError(f"{path}: {error}") from error
