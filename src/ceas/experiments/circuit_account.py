"""What a scenario's circuit is before it runs: its gates, its cut and those it could have, the engines that compute it.

Everything here is plain values for people and for JSON.
"""

from collections import Counter
from typing import Any

import numpy as np

from ceas.experiments.assemble import assemble_forecast, assemble_model, assemble_world
from ceas.experiments.files import refuse_changed_files
from ceas.experiments.scenario import Scenario
from ceas.learning import Circuit, Partition, Telegate, count_pairs
from ceas.learning.drawing import draw_circuit, first_qpus
from ceas.learning.engines import EngineChoice
from ceas.learning.export_qasm import to_qasm

__all__ = ["account_circuit", "circuit_qasm", "circuit_summary", "partition_summary"]

# Columns of a drawing on a page.
DRAWING_WIDTH = 104


def circuit_summary(
    circuit: Circuit, partition: Partition, *, ansatz: str, width: int = DRAWING_WIDTH
) -> dict[str, Any]:
    """Count a circuit's parts and draw it.

    Args:
        circuit: The circuit.
        partition: Its partition, whose pairs the drawing shows.
        ansatz: Family it is of.
        width: Columns of the drawing.
    """
    return {
        "ansatz": ansatz,
        "qubits": circuit.n_qubits,
        "parameters": circuit.n_parameters,
        "inputs": circuit.n_features,
        "gates": dict(Counter(gate.kind for gate in circuit.gates)),
        "two_qubit_gates": circuit.n_two_qubit_gates,
        "depth": circuit.depth,
        "drawing": draw_circuit(circuit, partition, width=width).splitlines(),
    }


def partition_summary(circuit: Circuit, partition: Partition) -> dict[str, Any]:
    """Tell where the qubits of a cut circuit are, and what the pairs of a shot do."""
    telegates = sum(isinstance(use, Telegate) for use in partition.uses)
    return {
        "kind": partition.kind,
        "qpus": partition.n_qpus,
        "first_qpus": first_qpus(circuit, partition),
        "readout_qpus": list(partition.readout_qpus),
        "telegates": telegates,
        "teledata": partition.pairs_per_shot - telegates,
        "pairs_per_shot": partition.pairs_per_shot,
    }


def circuit_qasm(scenario: Scenario) -> str:
    """Write a scenario's circuit as OpenQASM 3, with the qubits that are read measured at its end.

    Raises:
        ScenarioError: The circuit cannot be built.
    """
    refuse_changed_files(scenario)
    model = assemble_model(scenario)
    return to_qasm(model.circuit, model.observables)


def account_circuit(scenario: Scenario, *, width: int = DRAWING_WIDTH) -> dict[str, Any]:
    """Tell all that is known of a scenario's circuit before it runs.

    Args:
        scenario: The scenario; its data are loaded and its network is drawn from seed 0, so that all is refused here
            that a run would refuse.
        width: Columns of the drawing.

    Returns:
        `circuit` and `partition` as in `result.json`; `model` with the ways in and out of the circuit; `partitions`,
        a row for each kind that the circuit allows; `engines`, a row for each purpose with the predicted time and
        memory of both engines.

    Raises:
        ScenarioError: The circuit cannot be built, cut or computed like this, or the data do not fit it.
    """
    world = assemble_world(scenario, 0)
    assemble_forecast(scenario, world)
    model, partition, section = world.model, world.partition, scenario.circuit
    circuit = model.circuit
    ideal, noisy = world.computations.choices
    return {
        "circuit": circuit_summary(circuit, partition, ansatz=section.ansatz, width=width),
        "partition": partition_summary(circuit, partition),
        "model": {
            "data_features": model.n_dressed_inputs or circuit.n_features,
            "dressed": model.n_dressed_inputs is not None,
            "classes": model.n_classes,
            "readout": model.readout,
            "observables": list(model.observables),
            "trained_parameters": model.n_parameters,
            "training_samples": len(world.dataset.train_labels),
            "learners": world.n_learners,
        },
        "partitions": _partitions(circuit, partition, is_sharing=section.is_sharing),
        "engines": [
            _engine_row("loss, gradient and accuracy without noise", ideal),
            _engine_row("what noise leaves of the learners' signals", noisy),
        ],
    }


def _partitions(circuit: Circuit, chosen: Partition, *, is_sharing: bool) -> list[dict[str, Any]]:
    """Return a row for each partition over two processors that the circuit allows."""
    rows = []
    for count in count_pairs(circuit):
        is_chosen = count.kind == chosen.kind and (count.is_sharing == is_sharing or count.kind in ("data", "layer"))
        rows.append(
            {
                "partition": count.kind,
                "pairs a shot": count.pairs,
                "telegates": count.telegates,
                "teledata": count.teledata,
                "gates share pairs": "-" if count.kind in ("data", "layer") else "yes" if count.is_sharing else "no",
                "fewest possible": "yes" if count.is_optimal else "not proven",
                "this scenario": "this one" if is_chosen else "",
            }
        )
    return rows


def _engine_row(purpose: str, choice: EngineChoice) -> dict[str, Any]:
    return {
        "for": purpose,
        "engine": choice.name,
        "seconds": {name: float(np.round(seconds, 6)) for name, seconds in choice.seconds.items()},
        "bytes": dict(choice.bytes),
        "reason": choice.reason,
    }
