"""Bell pairs per shot: every circuit family, at two sizes, in every partition, with and without shared copies."""

from typing import Any

from ceas.learning.ansatz import (
    data_reuploading,
    dressed_core,
    hardware_efficient,
    iqp,
    separable,
    strongly_entangling,
)
from ceas.learning.circuits import Circuit
from ceas.learning.partition import count_pairs

__all__ = ["families", "partitions_part"]

Row = dict[str, Any]

N_LAYERS = 3


def families(n_qubits: int) -> dict[str, Circuit]:
    """Return a circuit of every family, with 3 layers; an IQP circuit has one encoding before them."""
    return {
        "hardware_efficient chain": hardware_efficient(n_qubits, N_LAYERS, "chain"),
        "hardware_efficient ring": hardware_efficient(n_qubits, N_LAYERS, "ring"),
        "hardware_efficient brickwork": hardware_efficient(n_qubits, N_LAYERS, "brickwork"),
        "hardware_efficient all_to_all": hardware_efficient(n_qubits, N_LAYERS, "all_to_all"),
        "strongly_entangling": strongly_entangling(n_qubits, N_LAYERS),
        "iqp": iqp(n_qubits, N_LAYERS),
        "data_reuploading": data_reuploading(n_qubits, N_LAYERS),
        "dressed_core": dressed_core(n_qubits, N_LAYERS),
        "separable": separable(n_qubits, N_LAYERS),
    }


def partitions_part(*, is_quick: bool) -> list[Row]:
    """Count the pairs over two processors that hold half of the qubits each."""
    rows = []
    for n_qubits in (4,) if is_quick else (4, 8):
        for name, circuit in families(n_qubits).items():
            row: Row = {
                "table": "pairs per shot over two processors",
                "circuit": name,
                "qubits": n_qubits,
                "two-qubit gates": circuit.n_two_qubit_gates,
            }
            least = []
            for count in count_pairs(circuit):
                column = f"{count.kind} unshared" if not count.is_sharing else count.kind
                row[column] = count.pairs
                least += [] if count.is_optimal else [column]
            rows.append({**row, "not proven least": ", ".join(least)})
    return rows
