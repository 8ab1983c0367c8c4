"""`ceas run` and `ceas resume`."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ceas.cli.arguments import LARGEST_SEED, JsonOption, OutOption, ScenarioArgument, SetOption
from ceas.cli.circuits import describe_gates, describe_places
from ceas.cli.printing import print_json, print_pairs, text_of
from ceas.cli.progress import progress_display

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ceas.experiments import RunResult, Scenario

__all__ = ["resume", "run"]


def run(
    scenario: ScenarioArgument,
    *,
    out: OutOption = None,
    seed: Annotated[int, typer.Option("--seed", min=0, max=LARGEST_SEED, help="Root seed of all random draws.")] = 0,
    overrides: SetOption = None,
    as_json: JsonOption = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the run that is in the folder.")] = False,
) -> None:
    """Train once, on one simulated network."""
    from ceas.experiments import claim_run_directory, load_scenario
    from ceas.experiments.files import refuse_changed_files

    loaded = load_scenario(scenario, overrides or ())
    directory = out or _default_directory(loaded, seed)
    refuse_changed_files(loaded)
    claim_run_directory(directory, overwrite=force)
    settings = [part for text in overrides or () for part in ("--set", text)]
    command = shlex.join(["ceas", "run", scenario, "--seed", str(seed), *settings])
    # Only now, so that a mistake above is told before the simulator is loaded.
    from ceas.experiments import run_scenario

    with progress_display() as progress:
        result = run_scenario(loaded, seed=seed, out=directory, progress=progress, command=command)
    _print_result(result, directory, as_json)


def resume(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of an interrupted run.")],
    as_json: JsonOption = False,
) -> None:
    """Continue an interrupted run to the same final numbers."""
    from ceas.experiments import resume_run

    with progress_display() as progress:
        result = resume_run(directory, progress=progress)
    _print_result(result, directory, as_json)


def _default_directory(scenario: "Scenario", seed: int) -> Path:
    method, attack = scenario.aggregation.rule, scenario.byzantine.attack
    # A user's own object is named module:name, and a colon does not belong in every file name.
    return Path("runs") / f"{scenario.name}-{method}-{attack}-seed{seed}".replace(":", ".")


def _print_result(result: "RunResult", directory: Path, as_json: bool) -> None:
    from ceas.report import write_report

    page = write_report([directory])
    if as_json:
        print_json({**result.summary, "certificate": _short(result), "directory": str(directory)})
        return
    summary = result.summary
    fidelity, key_bits = summary["fidelity_at_use"], summary["key_bits"]
    rows = {
        "scenario": f"{summary['scenario_name']} ({summary['scenario_id']}), seed {summary['seed']}",
        "method, attack": f"{summary['method']}, {summary['attack']} by {summary['byzantine']['n']} nodes",
        "scheduling policy": summary["policy"],
        **_trained(summary),
        "test accuracy": summary["test_accuracy"],
        "test accuracy, mean of the last five": summary["test_accuracy_last5"],
        "logistic regression on the same features": summary["test_accuracy_logistic"],
        "separable circuit on the same features": summary["test_accuracy_separable"],
        "Bell pairs generated": summary["generated_pairs"],
        "Bell pairs used": _percent(summary["bell_pair_utilisation"]),
        "fidelity at use, mean and 5 % quantile": f"{text_of(fidelity['mean'])}, {text_of(fidelity['p05'])}",
        "shots": summary["shots"],
        **_end_to_end(summary),
        "gradient variance": summary["gradient_variance"],
        "certificate": _certificate(result),
        "key bits generated, consumed": f"{key_bits['generated']}, {key_bits['consumed']}",
        "authentication": _authentication(result),
        "consensus": _consensus(result),
        "simulated time": f"{text_of(summary['simulated_s'])} s",
        "wall time, compilation": f"{text_of(summary['wall_s'])} s, {text_of(summary['compile_s'])} s of it",
        "attackers' part of the weight": _attackers_part(result),
        "time in": _rooms(summary["rooms_s"]),
        "report": str(page),
        "repeat with": summary["command"],
    }
    print_pairs(rows, title=f"{summary['rounds']} training rounds, {summary['learners']} learners")


def _trained(summary: "Mapping[str, Any]") -> dict[str, str]:
    """Return what was trained on what, and how it was computed."""
    circuit, engines, data = summary["circuit"], summary["engines"], summary["data"]
    counts = f"{circuit['qubits']} qubits, {circuit['parameters']} parameters, depth {circuit['depth']}"
    samples = f"{data['training_samples']} samples to train, {data['test_samples']} to test"
    return {
        "data set": f"{data['dataset']}, {samples}",
        "circuit": f"{circuit['ansatz']}, {counts}",
        "gates": describe_gates(circuit),
        "partition": f"{summary['partition']['kind']}: {describe_places(summary['partition'])}",
        "engine without noise": _engine(engines["ideal"]),
        "engine with noise": _engine(engines["noisy"]),
    }


def _engine(chosen: "Mapping[str, str]") -> str:
    name, reason = chosen["engine"], chosen["reason"]
    return reason if reason.startswith(name) else f"{name}: {reason}"


def _short(result: "RunResult") -> "Mapping[str, Any]":
    return {name: (result.certificate or {}).get(name) for name in ("status", "reasons", "holds", "looseness")}


def _certificate(result: "RunResult") -> str:
    """Say what the certificate comes to: how much of the bound was measured, or why there is none."""
    found = _short(result)
    told = [] if found["status"] == "certified" else list(found["reasons"] or ())
    if found["holds"] is not None:
        measured = f"measured {text_of(float(found['looseness']))} of the bound at the end"
        told.insert(0, measured if found["holds"] else f"VIOLATED, {measured}")
    return f"{found['status']}: {'; '.join(told)}"


def _attackers_part(result: "RunResult") -> str:
    n_byzantine, n_learners = result.summary["byzantine"]["n"], result.summary["learners"]
    if n_byzantine == 0:
        return "no attackers"
    part = float(result.rounds["byzantine_weight"].mean())
    return f"{_percent(part)}, being {_percent(n_byzantine / n_learners)} of the learners"


def _end_to_end(summary: "Mapping[str, Any]") -> dict[str, str]:
    """Return what became of requests for end-to-end pairs, nothing if there were none."""
    routes, background = summary["routes"], summary["background"]
    found = {"of all routes": routes, "of background traffic": background}
    return {
        f"end-to-end pairs {whose}, asked for and served": f"{counts['requested']}, {counts['served']}"
        for whose, counts in found.items()
        if counts["requested"]
    }


def _authentication(result: "RunResult") -> str:
    account, n_learners = result.summary["authentication"], result.summary["learners"]
    delivered = float(result.rounds["delivered_updates"].mean())
    text = f"{account['profile']}, {text_of(delivered)} of {n_learners} updates delivered in a round"
    for key, what in (("starved_frames", "messages unsent"), ("starved_links", "links short of key")):
        if account[key]:
            text += f", {account[key]} {what}"
    return text


def _consensus(result: "RunResult") -> str:
    found = result.summary["consensus"]
    frames = found["frames"] / result.summary["rounds"]
    text = f"{text_of(frames)} frames a round, {found['message_delays']} message delays"
    text += f", {found['most_views']} views at most" if found["most_views"] > 1 else ""
    for key, what in (
        ("rounds_unconcluded", "rounds without a conclusion"),
        ("rounds_late", "rounds over time"),
        ("rounds_paused", "rounds paused for want of key"),
    ):
        if found.get(key):
            text += f", {found[key]} {what}"
    return text


def _rooms(seconds: "Mapping[str, float]") -> str:
    return ", ".join(f"{room} {text_of(spent)} s" for room, spent in seconds.items())


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"
