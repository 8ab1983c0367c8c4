"""Circuits from files, as a scenario names them."""

from collections.abc import Sequence
from pathlib import Path

from ceas.errors import DomainError
from ceas.learning.circuits import Circuit
from ceas.learning.import_qasm import from_qasm
from ceas.learning.imported import measured_first

__all__ = ["qasm_file"]


def qasm_file(path: str, *, parameters: Sequence[str] = ("theta*",), inputs: Sequence[str] = ("x*",)) -> Circuit:
    """Read a circuit from an OpenQASM file.

    Args:
        path: The file; its text is what `from_qasm` takes.
        parameters: Names or patterns of the declared inputs that are trained.
        inputs: The same for a sample's inputs.

    Returns:
        The circuit, with the qubits that the program measures before all others, in order of measurement.

    Raises:
        DomainError: The file cannot be read, or its program not be imported.
    """
    try:
        text = Path(path).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DomainError(f"Argument `path` must be an OpenQASM file, but {path} cannot be read: {error}.") from error
    try:
        return measured_first(from_qasm(text, parameters=parameters, inputs=inputs))
    except (DomainError, ModuleNotFoundError) as error:
        raise DomainError(f"{path}: {error}") from error
