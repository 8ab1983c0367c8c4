"""The certificate of a finished run: a bound on the squared gradient along its path, beside what it was.

What is bounded is the mean of x = |g|^2 over the steps so far, g being the exact gradient of the honest objective. A
step moves theta by -gamma A; A is off g by xi = mean_S u - g, the error of the honest updates' mean, and e, the rule's.
With gamma <= 1/L, smoothness gives for every single step, whatever xi and e are,

    L_next - L <= (gamma / 2) (|xi + e|^2 - x),    |xi + e|^2 <= c |e|^2 + c/(c - 1) |xi|^2,    |e|^2 <= kappa spread

and the sum over the steps is `ceas.aggregation.nonconvex_bound` at L = 1/gamma, with V the largest running mean of the
measured |xi|^2, and G^2 + B^2 x + Q above the measured spread of the honest updates. So no expectation is taken: noise,
misjudged contraction, choice of samples, slopes from few shots, late updates and the lag of learners' momentum are all
in the xi that was measured, round by round.

What is bounded for whatever could be sent is the rule's error within a round, by kappa, which is proved, times the
spread of that round's honest updates. All else is measured: V, Q, G^2, B^2, n and f are those of the rounds met, on a
path that attackers steer with every step and whose admitted updates they choose in part. Had they sent something else,
the path and with it the bound would have been others. So it is a statement on the run that was made, neither on what
attackers could make of another nor a forecast of one. Given the proof, a bound that is exceeded shows a mistake of the
implementation, and one that holds shows none. That a step is rounded to single precision is outside the proof.

A certificate is refused where a step of this proof is missing. Where kappa is not proved, or some rounds were not
measured, the bound is drawn with what was measured in place of it and called an estimate.
"""

import math
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ceas.aggregation.constants import CONFIDENCE, dissimilarity_envelope
from ceas.aggregation.convergence import TrainingConstants, nonconvex_bound
from ceas.aggregation.resilience import kappa_bound
from ceas.errors import DomainError, UnknownNameError
from ceas.experiments.scenario import Scenario
from ceas.experiments.smoothness import least_loss, loss_smoothness
from ceas.learning import Classifier

__all__ = ["Certified", "Status", "bound_certificate", "short", "smoothness_of"]

FloatArray = NDArray[np.float64]
Status = Literal["certified", "estimated", "refused"]

# Measurements are in single precision: a measured constant may pass a proved one by so much.
_ROUNDING = 1e-3


class Certified(NamedTuple):
    """What a certificate says in short.

    Attributes:
        status: `certified`, `estimated` or `refused`.
        reason: Why it is not certified; empty where it is.
        holds: Whether the bound held at every step and no measurement contradicts a constant; None where refused.
        looseness: Measured mean of the squared gradient over the bound, at the last step; NaN where refused.
    """

    status: Status
    reason: str
    holds: bool | None
    looseness: float


class _Constant(NamedTuple):
    """A constant with its side of the truth and where it came from."""

    value: float
    side: str
    source: str


def smoothness_of(scenario: Scenario, model: Classifier, samples: FloatArray) -> tuple[float, float]:
    """Return an upper bound on L and a lower bound on the loss; NaN where the scenario's model has none.

    Args:
        scenario: Scenario as run.
        model: Its classifier.
        samples: Its training samples, as the circuit's inputs.
    """
    if scenario.circuit.readout == "linear" or scenario.circuit.is_dressed:
        return math.nan, math.nan
    return loss_smoothness(model, samples), least_loss(model)


def bound_certificate(
    scenario: Scenario, measured: Mapping[str, FloatArray], *, smoothness: float, least: float
) -> dict[str, Any]:
    """Return the certificate as a document of plain values.

    Args:
        scenario: Scenario as run.
        measured: Columns of `ceas.runtime.update_errors.MEASURED`.
        smoothness: Upper bound on L; NaN where there is none.
        least: Lower bound on the loss.

    Returns:
        What `bound_certificate.json` holds.
    """
    took = {name: column[measured["n_rows"] > 0] for name, column in measured.items()}
    rate, rule = scenario.learning.learning_rate, scenario.aggregation.rule
    n_measured, n_steps = len(measured["round"]), len(took["round"])
    kappa, is_proved, reasons = _kappa(scenario, took)
    reasons = [*_refusals(scenario, took, smoothness=smoothness), *reasons]
    constants = _constants(took, kappa=kappa, is_proved=is_proved, smoothness=smoothness, least=least)
    bound = np.full(n_steps, np.nan)
    if not reasons:
        try:
            bound = _bound(constants, step_size=rate, n_steps=n_steps)
        except DomainError as error:
            reasons = [str(error)]
    steps = np.arange(1, n_steps + 1)
    curve = np.cumsum(took["squared_gradient"]) / steps
    doubts = [] if is_proved else [f"no kappa is proved for `{rule}` as run: the largest of its rounds stands for it"]
    if n_measured < scenario.clock.rounds:
        doubts.append(f"{n_measured} of {scenario.clock.rounds} rounds were measured")
    status: Status = "refused" if reasons else "estimated" if doubts else "certified"
    contradicted = _contradictions(took, kappa=kappa, smoothness=smoothness)
    is_below = curve <= bound
    document: dict[str, Any] = {
        "kind": "bound_certificate",
        "status": status,
        "reasons": reasons or doubts,
        "what": "mean over the steps so far of the squared gradient of the honest learners' noise-free mean loss",
        "rule": rule,
        "n": _extent(took["n_rows"]),
        "declared_byzantine": scenario.aggregation.tolerated_byzantine,
        "attack": scenario.byzantine.attack,
        "step_size": rate,
        "rounds": scenario.clock.rounds,
        "measured_rounds": n_measured,
        "steps": n_steps,
        "constants": {name: one._asdict() for name, one in constants.items()},
        "holds": None if reasons else bool(is_below.all() and not contradicted),
        "contradicted": contradicted,
        "exceeded_at_steps": [] if reasons else steps[~is_below].tolist(),
        "looseness": math.nan if reasons else float(curve[-1] / bound[-1]),
        "curves": {"round": took["round"], "measured": curve, "bound": bound},
        "measurements": dict(measured),
    }
    return document


def short(document: Mapping[str, Any]) -> Certified:
    """Return a certificate in short, from its document."""
    looseness = document["looseness"]
    return Certified(
        status=document["status"],
        reason="; ".join(document["reasons"]),
        holds=document["holds"],
        looseness=math.nan if looseness is None else float(looseness),
    )


def _refusals(scenario: Scenario, took: Mapping[str, FloatArray], *, smoothness: float) -> list[str]:
    """Say which steps of the proof are missing, with their numbers."""
    learning, found = scenario.learning, []
    if learning.optimizer != "sgd":
        found.append(f"the optimiser is {learning.optimizer}, and only plain gradient steps are covered")
    if learning.optimizer == "sgd" and learning.optimizer_momentum > 0:
        found.append(f"the optimiser has momentum {learning.optimizer_momentum:g}, and only plain steps are covered")
    if learning.final_learning_rate_share != 1:
        found.append(f"the step size falls to {learning.final_learning_rate_share:g} of its start, not constant")
    if learning.natural_damping is not None:
        found.append("steps follow the natural gradient, not the plain one")
    if math.isnan(smoothness):
        found.append("trained layers around the circuit have no bounded smoothness")
    elif learning.learning_rate * smoothness > 1:
        longest = f"1/L = {1 / smoothness:.3g}, L <= {smoothness:.4g} at temperature {learning.temperature:g}"
        found.append(f"the step size {learning.learning_rate:g} is above {longest}")
    if scenario.output.gradient_rounds == 0:
        found.append("no round was measured (output.gradient_rounds = 0)")
    elif not len(took["round"]):
        found.append("no measured round made a step")
    elif np.any(took["n_honest"] == 0):
        found.append(f"{int(np.sum(took['n_honest'] == 0))} steps were made without any honest update")
    return found


def _kappa(scenario: Scenario, took: Mapping[str, FloatArray]) -> tuple[float, bool, list[str]]:
    """Return kappa, whether it is proved, and why there is none."""
    section, measured = scenario.aggregation, float(np.max(took["kappa"], initial=0.0))
    n_attackers = took["n_rows"] - took["n_honest"]
    if np.any(n_attackers > took["n_declared"]):
        worst = int(np.argmax(n_attackers - took["n_declared"]))
        told = f"{n_attackers[worst]:.0f} attackers, and the rule withstood {took['n_declared'][worst]:.0f}"
        return measured, False, [f"beyond breakdown: round {took['round'][worst]:.0f} had {told}"]
    pairs = {(int(n), int(f)) for n, f in zip(took["n_rows"], took["n_declared"], strict=True)}
    try:
        # S may be larger than n - f rows: the mean over all its subsets of that size has no larger constant.
        kappa = max((kappa_bound(section.rule, n, f) for n, f in pairs), default=math.nan)
    except UnknownNameError:
        return measured, False, []
    except DomainError as error:
        return measured, False, [str(error)]
    if section.parameters:
        return measured, False, []
    if math.isinf(kappa):
        return measured, False, [f"beyond breakdown: kappa of `{section.rule}` is infinite with attackers declared"]
    return kappa, True, []


def _constants(
    took: Mapping[str, FloatArray], *, kappa: float, is_proved: bool, smoothness: float, least: float
) -> dict[str, _Constant]:
    """Return the constants of the bound, each with its side and its source."""
    n_steps = len(took["round"])
    told = {
        "kappa": _Constant(
            kappa,
            "upper" if is_proved else CONFIDENCE["kappa_of_rounds"].side,
            "kappa_bound, largest over the rounds" if is_proved else "kappa_of_rounds, largest over the rounds",
        ),
        "measured_kappa": _Constant(
            float(np.max(took["kappa"], initial=0.0)), "lower", "kappa_of_rounds, largest over the rounds"
        ),
        "smoothness": _Constant(smoothness, "upper", "circuit_smoothness, from the circuit and its readout"),
        "measured_smoothness": _Constant(
            _largest(took["curvature"]), "lower", "change of the gradient over that of the parameters"
        ),
        "least_loss": _Constant(least, "lower", "from the range of the scores"),
    }
    if not n_steps or not np.isfinite(took["mean_error"]).all():
        return told
    envelope = dissimilarity_envelope(took["gradient_spread"], took["squared_gradient"])
    excess = took["update_spread"] - took["gradient_spread"]
    return told | {
        "initial_gap": _Constant(float(took["loss"][0]) - least, "upper", "first loss less the least possible"),
        "dissimilarity": _Constant(envelope.offset, "upper", "dissimilarity_envelope, over the rounds met"),
        "dissimilarity_slope": _Constant(envelope.slope, "upper", "dissimilarity_envelope, over the rounds met"),
        "noise_of_mean": _Constant(
            _largest_running_mean(took["mean_error"]), "upper", "measured, largest running mean over the steps"
        ),
        "noise_of_spread": _Constant(
            max(0.0, _largest_running_mean(excess)), "upper", "measured, largest running mean over the steps"
        ),
        "contraction_error": _Constant(
            _largest(took["contraction_error"]),
            "estimate",
            "certified against true contraction; part of the measured noise, told for information",
        ),
    }


def _bound(constants: Mapping[str, _Constant], *, step_size: float, n_steps: int) -> FloatArray:
    # A step of at most 1/L is one of exactly 1/L' for the larger L' = 1/step, at which the bound needs no expectation.
    return nonconvex_bound(
        TrainingConstants(
            smoothness=1 / step_size,
            initial_gap=constants["initial_gap"].value,
            kappa=constants["kappa"].value,
            dissimilarity=constants["dissimilarity"].value,
            dissimilarity_slope=constants["dissimilarity_slope"].value,
            noise_of_mean=constants["noise_of_mean"].value,
            noise_of_spread=constants["noise_of_spread"].value,
        ),
        step_size=step_size,
        n_steps=n_steps,
    )


def _contradictions(took: Mapping[str, FloatArray], *, kappa: float, smoothness: float) -> list[str]:
    """Say which constants a measurement shows to be too small."""
    pairs = (("kappa", kappa, took["kappa"]), ("smoothness", smoothness, took["curvature"]))
    return [
        f"{name}: {_largest(values):.4g} was measured, above {bound:.4g}"
        for name, bound, values in pairs
        if math.isfinite(bound) and _largest(values) > bound * (1 + _ROUNDING)
    ]


def _largest(values: FloatArray) -> float:
    return float(np.max(values[~np.isnan(values)], initial=0.0))


def _largest_running_mean(values: FloatArray) -> float:
    return float(np.max(np.cumsum(values) / np.arange(1, len(values) + 1)))


def _extent(counts: FloatArray) -> list[int]:
    """Return the least and the largest of counts."""
    return [int(counts.min()), int(counts.max())] if len(counts) else []
