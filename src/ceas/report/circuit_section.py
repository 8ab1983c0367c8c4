"""What was trained: the circuit and its cut, the data, and which engine computed it and why."""

from collections.abc import Mapping
from typing import Any

from ceas.report.formatting import format_number
from ceas.report.markup import Markup, join, tag
from ceas.report.source import Run
from ceas.report.tables import plain_table

__all__ = ["circuit_section"]

_PURPOSES = {"ideal": "loss, gradient and accuracy without noise", "noisy": "what noise leaves of the signals"}
_CUTS = {
    "data": "Every learner runs the whole circuit on its own processor (partition “data”); no shot needs a Bell pair.",
    "layer": "The later layers run on a neighbour (partition “layer”): all qubits are teleported there",
    "qubit": "Some of the qubits live on a neighbour (partition “qubit”), and gates across are teleported",
    "auto": "Qubits live on two processors and may move between them (partition “auto”)",
}


def _count(number: int, one: str, many: str) -> str:
    return f"{format_number(int(number))} {one if number == 1 else many}"


def _partition_in_words(run: Run) -> str:
    """Return a sentence on how the circuit is cut and what a shot costs."""
    cut = run.result["partition"]
    kind, pairs = str(cut["kind"]), int(cut["pairs_per_shot"])
    text = _CUTS.get(kind, f"The circuit is cut by the partition “{kind}”")
    if text.endswith("."):
        return text
    uses = [
        _count(cut[key], one, many)
        for key, one, many in (("telegates", "telegate", "telegates"), ("teledata", "moved qubit", "moved qubits"))
        if cut[key]
    ]
    return f"{text}; a shot takes {_count(pairs, 'Bell pair', 'Bell pairs')}" + (
        f" ({' and '.join(uses)})." if uses else "."
    )


def _circuit_in_words(circuit: Mapping[str, Any]) -> str:
    gates = circuit["gates"]
    kinds = ", ".join(f"{format_number(int(count))} {kind}" for kind, count in gates.items())
    return (
        f"Family “{circuit['ansatz']}”: {_count(circuit['qubits'], 'qubit', 'qubits')}, "
        f"{_count(circuit['inputs'], 'input', 'inputs')}, {_count(circuit['parameters'], 'parameter', 'parameters')}, "
        f"{format_number(sum(map(int, gates.values())))} gates ({kinds}), "
        f"{format_number(int(circuit['two_qubit_gates']))} of them on two qubits, depth "
        f"{format_number(int(circuit['depth']))}."
    )


def _data_in_words(data: Mapping[str, Any]) -> str:
    features = int(data["features"])
    what = f"{_count(features, 'feature', 'features')} each" if features else "which are quantum states"
    return (
        f"Data set “{data['dataset']}”: {format_number(int(data['training_samples']))} samples to train and "
        f"{format_number(int(data['test_samples']))} to test, {what}; classes {', '.join(map(str, data['classes']))}. "
        f"Source: {data['source']}."
    )


def _engines(engines: Mapping[str, Any]) -> Markup:
    rows = [
        (_PURPOSES[key], (tag("span", str(engines[key]["engine"])), tag("span", str(engines[key]["reason"]))))
        for key in _PURPOSES
    ]
    return plain_table(["computed", "engine", "because"], rows, caption="Engines of the exact figures.", is_text=True)


def _symbols(has_pairs: bool) -> str:
    text = (
        "θ3 is parameter 3, x0 input 0; ● is a control or an end of a CZ, ⊕ the target of a CNOT, × an end of a SWAP."
    )
    pairs = " «2» says that pair 2 of a shot serves a gate, →1 «2» that it moves the qubit to QPU 1."
    return text + pairs if has_pairs else text


def circuit_section(run: Run) -> Markup:
    """Return the section about the circuit; it depends on the run's result alone."""
    result = run.result
    circuit, cut = result["circuit"], result["partition"]
    drawing = "\n".join(map(str, circuit["drawing"]))
    return tag(
        "section",
        tag("h2", "Circuit and data", id="circuit-heading"),
        tag("p", join((_circuit_in_words(circuit), _partition_in_words(run)), " "), class_="text"),
        tag("pre", drawing, class_="drawing", tabindex=0, role="img", aria_label="Drawing of the circuit"),
        tag("p", _symbols(bool(cut["pairs_per_shot"])), class_="table-caption under"),
        tag("p", _data_in_words(result["data"]), class_="text"),
        _engines(result["engines"]),
        id="circuit",
        aria_labelledby="circuit-heading",
    )
