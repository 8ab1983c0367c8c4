"""Variance of one round's gradient under each way to weigh, over the best linear unbiased estimate (BLUE).

At fixed parameters and pairs, every learner's gradient is drawn many times from its shots. Node k's gradient is
`lambda_k (g + h_k)` in the mean, with variance V_k summed over the parameters, so an average with weights a_k has the
variance `sum a_k^2 V_k / (sum a_k lambda_k)^2` when it is brought to the length of g. It is least for `a_k = lambda_k /
V_k`, where it is `1 / sum(lambda_k^2 / V_k)`: the Gauss-Markov bound, which no unbiased linear weighting passes. V_k
includes the choice of samples as well as the shots. Half of the draws give V_k to the BLUE, the other half the
variances of all schemes, so that the BLUE does not profit from its own errors.

This BLUE knows what no certificate tells: a learner whose samples are classified well has small residuals and so little
noise. Weights after residuals would prefer learners with easy data, that is, estimate another gradient; they are the
reason why certified information stays above 1 once training has come somewhere.

Source:
    Aitken, Proc. R. Soc. Edinburgh 55, 42 (1935).
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ceas.aggregation.admission import CONTRACTION_FLOOR
from ceas.errors import RunDirectoryError
from ceas.experiments.code_identity import code_identity
from ceas.experiments.limited_process import n_cores
from ceas.experiments.processes import spawned_pool
from ceas.experiments.reproduce_plan import OURS, Plan
from ceas.experiments.results import write_json
from ceas.experiments.scenario import Scenario
from ceas.experiments.scenario_text import content_hash
from ceas.experiments.statistics import MeanInterval, mean_interval
from ceas.runtime.progress import Progress, ProgressEvent
from ceas.streams import stream

if TYPE_CHECKING:
    from ceas.network import WindowRecord
    from ceas.runtime.certification import JointTests
    from ceas.runtime.outcome import Contraction, LocalUpdates
    from ceas.runtime.world import World

__all__ = ["SCHEMES", "TRAINED_ROUNDS", "VarianceFigure", "variance_figures", "variance_ratios"]

FloatArray = NDArray[np.float64]

TRAINED_ROUNDS = (0, 10, 40)
"""Rounds of exact training before the gradients are drawn."""

# Rounds whose joint tests certify the links.
_TESTED_ROUNDS = 10
_LEARNING_RATE = 0.2
_NO_ATTACKERS = ("byzantine.n_byzantine=0", "byzantine.attack=none")

SCHEMES: Mapping[str, str] = {
    "certified information": "shots times squared certified contraction, debiased: what `ceas` knows",
    "ceas": "the rule itself, no attackers declared",
    "true contraction": "the same with the true contraction, which nobody knows",
    "equal, debiased": "every node alike, divided by its certified contraction",
    "equal": "every node alike (FedAvg)",
    "shots": "shots",
    "samples": "samples",
    "fidelity": "fidelity of the states",
    "QFI": "shots times noiseless quantum Fisher information",
    "QFI of noisy states": "shots times quantum Fisher information of the noisy states",
    "shuffled": "certified information, dealt to the nodes at random: a falsifier",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class VarianceFigure:
    """Variance of one scheme over that of the BLUE.

    Attributes:
        scheme: Name in `SCHEMES`.
        ratios: Mean over the seeds with its 95 % interval, at each of `TRAINED_ROUNDS`.
    """

    scheme: str
    ratios: tuple[MeanInterval, ...]


def variance_figures(
    plan: Plan, base: Scenario, *, out: Path, overrides: Sequence[str] = (), progress: Progress | None = None
) -> list[VarianceFigure]:
    """Measure every scheme on the plan's seeds, without attackers.

    Args:
        plan: Seeds and number of draws.
        base: Scenario; its data set stays.
        out: Directory that keeps what is measured, seed by seed.
        overrides: What else a scenario is given, as for nodes of equal noise.
        progress: Told after every seed.
    """
    scenario = base.with_overrides([*_NO_ATTACKERS, f"schedule.policy={OURS}", *overrides])
    files = {seed: out / f"{_identity(scenario, seed, plan.variance_repeats)}.json" for seed in plan.seeds}
    measured = {seed: ratios for seed, file in files.items() if (ratios := _kept(file)) is not None}
    missing = [seed for seed in plan.seeds if seed not in measured]
    if missing:
        out.mkdir(parents=True, exist_ok=True)
        with spawned_pool(min(n_cores(), len(missing))) as pool:
            work = partial(variance_ratios, scenario, repeats=plan.variance_repeats)
            for seed, ratios in zip(missing, pool.map(work, missing), strict=True):
                write_json(files[seed], {name: values.tolist() for name, values in ratios.items()})
                measured[seed] = ratios
                if progress is not None:
                    progress(ProgressEvent(phase="variance", training_round=len(measured), rounds=len(plan.seeds)))
    by_scheme = {name: np.array([measured[seed][name] for seed in plan.seeds]) for name in SCHEMES}
    return [
        VarianceFigure(scheme=name, ratios=tuple(mean_interval(values) for values in by_seed.T))
        for name, by_seed in by_scheme.items()
    ]


def _identity(scenario: Scenario, seed: int, repeats: int) -> str:
    key = {"scenario_id": scenario.scenario_id, "seed": seed, "repeats": repeats, "code": code_identity()}
    return content_hash(key)


def _kept(file: Path) -> dict[str, FloatArray] | None:
    """Return what was measured before, None if nothing was."""
    if not file.exists():
        return None
    try:
        found = {name: np.array(values, np.float64) for name, values in json.loads(file.read_text("utf-8")).items()}
    except (OSError, ValueError, AttributeError) as error:
        raise RunDirectoryError(f"{file}: cannot be read: {error}") from error
    if set(found) != set(SCHEMES) or any(one.shape != (len(TRAINED_ROUNDS),) for one in found.values()):
        raise RunDirectoryError(f"{file}: holds no gradient variances")
    return found


def variance_ratios(scenario: Scenario, seed: int, *, repeats: int) -> dict[str, FloatArray]:
    """Return each scheme's variance over that of the BLUE for one seed, at the points `TRAINED_ROUNDS` of a training.

    Args:
        scenario: Scenario without attackers.
        seed: Root seed.
        repeats: Draws of every gradient, at least 4; half of them for the BLUE.
    """
    from ceas.experiments.assemble import assemble_training, assemble_world  # noqa: PLC0415 - loaded in workers alone
    from ceas.experiments.run import record_windows  # noqa: PLC0415
    from ceas.runtime.compilation import use_compilation_cache  # noqa: PLC0415
    from ceas.runtime.learners import Learners, Measured  # noqa: PLC0415

    use_compilation_cache()
    world = assemble_world(scenario, seed)
    *tested, window = record_windows(scenario, world, seed=seed, rounds=_TESTED_ROUNDS + 1)
    tests = _tests_of(world, tested, seed)
    training = replace(assemble_training(scenario), worker_momentum=0.0)
    learners = Learners(world, training, seed=seed, measures=Measured(noisy_fisher=False, fisher=True))
    # The Fisher information of noisy states takes longer than a draw, and is the same in all.
    first = Learners(world, training, seed=seed)
    found = []
    for theta in _points(scenario, world, seed):
        contraction = learners.contraction(
            theta,
            window,
            estimated_werner=tests.estimate(),
            bounding_werner=tests.corners(scenario.certification.bound_error_probability),
        )
        # A window's number names its draws.
        draws = [
            (learners if k else first).train(theta, replace(window, window=window.window + 1 + k))
            for k in range(repeats)
        ]
        found.append(_ratios(draws, contraction, world.samples.count, stream(seed, "shuffled_information")))
    return {name: np.array([one[name] for one in found]) for name in SCHEMES}


def _tests_of(world: "World", windows: Sequence["WindowRecord"], seed: int) -> "JointTests":
    from ceas.runtime.certification import JointTests  # noqa: PLC0415

    links = world.network.links
    tests = JointTests.none_yet(links.n_links, by_basis=links.is_bell_diagonal)
    for window in windows:
        pairs = window.test_werner if window.test_correlators is None else window.test_correlators
        rng = stream(seed, "joint_tests", training_round=window.window)
        tests.observe(window.test_link[window.test_is_of_shot], pairs[window.test_is_of_shot], rng)
    return tests


def _points(scenario: Scenario, world: "World", seed: int) -> Iterator[FloatArray]:
    """Yield parameters on the way of an exact training, which no noise and no method has a part in."""
    import optax  # noqa: PLC0415

    from ceas.runtime.cosimulation import start_parameters  # noqa: PLC0415
    from ceas.runtime.evaluation import Evaluator  # noqa: PLC0415

    evaluator = Evaluator(world, worker_momentum=scenario.learning.worker_momentum)
    theta = start_parameters(world.model, spread=scenario.learning.initial_angle_spread, seed=seed)
    optimizer = optax.adam(_LEARNING_RATE, b1=0.0)
    state = optimizer.init(theta.astype(np.float32))
    for done in range(max(TRAINED_ROUNDS) + 1):
        if done in TRAINED_ROUNDS:
            yield theta
        gradient, _ = evaluator.exact_momentum(theta)
        step, state = optimizer.update(gradient.astype(np.float32), state)
        theta = theta + np.asarray(step, np.float64)


def _ratios(
    draws: Sequence["LocalUpdates"], contraction: "Contraction", samples: NDArray[np.int64], rng: np.random.Generator
) -> dict[str, float]:
    from ceas.aggregation import ceas  # noqa: PLC0415
    from ceas.attacks import Claims  # noqa: PLC0415
    from ceas.runtime.certification import certify_claims  # noqa: PLC0415

    shots = draws[0].shots
    works = (shots > 0) & (contraction.believed >= CONTRACTION_FLOOR)
    updates = np.array([one.updates[works] for one in draws])
    for_blue, variance = (half.var(axis=0, ddof=1).sum(axis=1) for half in np.array_split(updates, 2))
    certified = certify_claims(
        Claims(shots.astype(np.float64), contraction.believed, draws[0].quantum_fisher),
        delivered_shots=shots,
        contraction_bound=contraction.bound,
    )
    count, known, true = certified.shots[works], certified.contraction[works], contraction.true[works]
    information = certified.information[works]

    def normalised(weights: FloatArray) -> float:
        return float((weights**2 * variance).sum() / (weights * true).sum() ** 2)

    # Weights of raw updates; those of debiased ones are divided by the contraction once more.
    weights = {
        "certified information": information / known,
        "true contraction": count * true,
        "equal, debiased": 1.0 / known,
        "equal": np.ones_like(known),
        "shots": count,
        "samples": samples[works].astype(np.float64),
        "fidelity": known + (1.0 - known) / 16.0,
        "QFI": count * certified.quantum_fisher[works],
        "QFI of noisy states": count * draws[0].noisy_quantum_fisher[works],
        "shuffled": rng.permutation(information) / known,
    }
    best = normalised(true / for_blue)
    results = [
        ceas(one, n_byzantine=0, information=information, contraction=known) for one in updates[len(updates) // 2 :]
    ]
    spread = np.var([one.value for one in results], axis=0, ddof=1).sum()
    scale = np.mean([(one.weights * true / known).sum() for one in results])
    return {name: normalised(one) / best for name, one in weights.items()} | {"ceas": float(spread / scale**2 / best)}
