"""How far below the bound of its certificate a run stays, and that a certified bound held, as it must.

Plain gradient steps of constant size, just below 1/L, on the small network of eight nodes of which two collude, under
every rule and attack of the plan. All trainings of a seed share one recorded network and run in lockstep; what came of
them is one file, in which each has the identity of its scenario, so that the same command again, or one with more
seeds, rules or attacks, trains only what is missing.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from ceas.errors import RunDirectoryError
from ceas.experiments.code_identity import code_identity
from ceas.experiments.limited_process import n_cores
from ceas.experiments.processes import spawned_pool
from ceas.experiments.reproduce_plan import OURS, Plan, attack_named
from ceas.experiments.reproduce_trainings import BATCH, one_thread_each
from ceas.experiments.results import write_json
from ceas.experiments.scenario import Scenario, load_scenario
from ceas.experiments.scenario_text import content_hash
from ceas.runtime.progress import Progress, ProgressEvent

__all__ = ["N_BYZANTINE", "STEP_SIZE", "CertifiedRun", "RuleFigure", "convergence_figures", "convergence_scenarios"]

STEP_SIZE = 0.018
"""Just below 1/L of the scenario's circuit at temperature 1."""
N_BYZANTINE = 2

_SCENARIO = "quickstart"
_TRAINING = (
    *("learning.optimizer=sgd", "learning.final_learning_rate_share=1", f"learning.learning_rate={STEP_SIZE}"),
    *("learning.worker_momentum=0", "learning.temperature=1"),
    *("output.gradient_rounds=1", f"aggregation.tolerated_byzantine={N_BYZANTINE}"),
)
_FOLDER = "convergence"
# Null in a file where they are not a number; whether a bound holds may be null as well.
_NUMBERS = ("largest_ratio", "looseness", "kappa", "measured_kappa")


@dataclass(frozen=True, slots=True, kw_only=True)
class CertifiedRun:
    """One run and its certificate.

    Attributes:
        scenario_id: Identity of its scenario.
        seed: Root seed.
        status: `certified`, `estimated` or `refused`.
        reason: Why it is not certified.
        holds: Whether the bound held at every step; None where refused.
        largest_ratio: Largest measured mean over the bound, at any step; NaN where refused.
        looseness: The same at the last step.
        kappa: Constant of the bound.
        measured_kappa: Largest of any round.
    """

    scenario_id: str
    seed: int
    status: str
    reason: str
    holds: bool | None
    largest_ratio: float
    looseness: float
    kappa: float
    measured_kappa: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleFigure:
    """The runs of one rule, under one attack or all.

    Attributes:
        rule: Aggregation rule.
        attack: Name of the attack; empty for all together.
        status: Status of its bounds.
        n_runs: Runs with a bound.
        n_refused: Runs without.
        n_exceeded: Runs in which the bound was exceeded at any step, or a constant was contradicted. None where no
            kappa is proved, as a bound made of the run's own largest kappa says nothing by not being exceeded.
        mean_looseness: Mean over the runs of measured over bound at the end; NaN without runs.
        worst_ratio: Largest measured over bound at any step of any run.
        kappa: Largest constant of the bounds.
        measured_kappa: Largest of any round.
    """

    rule: str
    attack: str
    status: str
    n_runs: int
    n_refused: int
    n_exceeded: int | None
    mean_looseness: float
    worst_ratio: float
    kappa: float
    measured_kappa: float


def convergence_scenarios(plan: Plan) -> dict[tuple[str, str], Scenario]:
    """Return what is trained for each rule and attack of the plan."""
    base = load_scenario(_SCENARIO, [*_TRAINING, f"clock.rounds={plan.convergence_rounds}"])
    found = {}
    for rule, attack in product(plan.convergence_rules, plan.convergence_attacks):
        found[rule, attack] = base.with_overrides(
            [
                f"aggregation.rule={rule}",
                f"aggregation.is_debiased={str(rule != OURS).lower()}",
                f"byzantine.n_byzantine={0 if attack == 'none' else N_BYZANTINE}",
                # A default that would follow the number of attackers.
                f"aggregation.tolerated_byzantine={N_BYZANTINE}",
                *attack_named(attack).overrides,
            ]
        )
    return found


def convergence_figures(plan: Plan, *, out: Path, progress: Progress | None = None) -> list[RuleFigure]:
    """Train what is missing; return each rule's figures over all attacks, then those of each attack.

    Args:
        plan: Rules, attacks, rounds and seeds.
        out: Directory of the reproduction.
        progress: Told after every seed.

    Raises:
        RunDirectoryError: A file of finished runs cannot be read.
        KeyboardInterrupt: Interrupted; finished seeds are kept.
    """
    scenarios = convergence_scenarios(plan)
    runs = _runs(plan, scenarios, out / _FOLDER, progress)
    found = {cell: [runs[one.scenario_id, seed] for seed in plan.convergence_seeds] for cell, one in scenarios.items()}
    together = [
        _figure([run for (name, _), cell in found.items() if name == rule for run in cell], rule, "")
        for rule in plan.convergence_rules
    ]
    return together + [_figure(cell, rule, attack) for (rule, attack), cell in found.items()]


def _runs(
    plan: Plan, scenarios: Mapping[tuple[str, str], Scenario], folder: Path, progress: Progress | None
) -> dict[tuple[str, int], CertifiedRun]:
    """Train what is missing; return all finished runs by scenario and seed."""
    seeds, done = plan.convergence_seeds, _finished(folder)
    missing = {
        seed: [one for one in scenarios.values() if (one.scenario_id, seed) not in done]
        for seed in plan.convergence_seeds
    }
    missing = {seed: ones for seed, ones in missing.items() if ones}

    def tell(left: int) -> None:
        if progress is not None:
            progress(ProgressEvent(phase=_FOLDER, training_round=len(seeds) - left, rounds=len(seeds)))

    tell(len(missing))
    if not missing:
        return done
    folder.mkdir(parents=True, exist_ok=True)
    with one_thread_each(), spawned_pool(min(n_cores(), len(missing))) as pool:
        results = pool.map(_certified_runs, missing.values(), missing)
        for count, (seed, rows) in enumerate(zip(missing, results, strict=True), 1):
            identity = content_hash({"scenarios": [row["scenario_id"] for row in rows]})
            write_json(folder / f"{identity}-seed{seed}.json", {"code": _code(), "runs": rows})
            tell(len(missing) - count)
    return _finished(folder)


def _certified_runs(scenarios: Sequence[Scenario], seed: int) -> list[dict[str, Any]]:
    """Train scenarios of one network on one seed, in a worker."""
    from ceas.experiments.assemble import assemble_world  # noqa: PLC0415 - loaded in workers alone
    from ceas.experiments.certificate import bound_certificate, smoothness_of  # noqa: PLC0415
    from ceas.experiments.ensembles import simulate_together  # noqa: PLC0415
    from ceas.experiments.run import record_network  # noqa: PLC0415

    trace, world = record_network(scenarios[0], seed=seed), assemble_world(scenarios[0], seed)
    smoothness, least = smoothness_of(scenarios[0], world.model, world.dataset.train_angles)
    found = []
    for start in range(0, len(scenarios), BATCH):
        chosen = scenarios[start : start + BATCH]
        outcomes = simulate_together(chosen, seed=seed, network_trace=trace, measures_gradients=True)
        for one, outcome in zip(chosen, outcomes, strict=True):
            made = bound_certificate(one, outcome.update_errors, smoothness=smoothness, least=least)
            ratios = np.asarray(made["curves"]["measured"]) / np.asarray(made["curves"]["bound"])
            found.append(
                {
                    "scenario_id": one.scenario_id,
                    "seed": seed,
                    "status": made["status"],
                    "reason": "; ".join(made["reasons"]),
                    "holds": made["holds"],
                    "largest_ratio": float(np.max(ratios, initial=0.0)),
                    "looseness": made["looseness"],
                    "kappa": made["constants"]["kappa"]["value"],
                    "measured_kappa": made["constants"]["measured_kappa"]["value"],
                }
            )
    return found


def _code() -> str:
    return code_identity("experiments/certificate.py", "experiments/smoothness.py")


def _finished(folder: Path) -> dict[tuple[str, int], CertifiedRun]:
    found = {}
    for path in sorted(folder.glob("*.json")):
        try:
            document: dict[str, Any] = json.loads(path.read_text("utf-8"))
            # What other code made stays on disk and is made again.
            rows: list[dict[str, Any]] = document["runs"] if document["code"] == _code() else []
            for row in rows:
                one = CertifiedRun(**(row | {name: math.nan for name in _NUMBERS if row[name] is None}))
                found[one.scenario_id, one.seed] = one
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunDirectoryError(f"{path}: cannot be read: {error}") from error
    return found


def _figure(runs: Sequence[CertifiedRun], rule: str, attack: str) -> RuleFigure:
    bounded = [one for one in runs if one.status != "refused"]
    is_proved = all(one.status == "certified" for one in bounded)
    return RuleFigure(
        rule=rule,
        attack=attack,
        status=", ".join(sorted({one.status for one in runs})),
        n_runs=len(bounded),
        n_refused=len(runs) - len(bounded),
        n_exceeded=sum(not one.holds for one in bounded) if is_proved else None,
        mean_looseness=float(np.mean([one.looseness for one in bounded])) if bounded else math.nan,
        worst_ratio=max((one.largest_ratio for one in bounded), default=math.nan),
        kappa=max((one.kappa for one in bounded), default=math.nan),
        measured_kappa=max((one.measured_kappa for one in bounded), default=math.nan),
    )
