"""The certificate of a run: bounds that hold, what is refused, and falsified constants that are found out."""

import math
from typing import Any

import numpy as np
import pytest

from ceas.aggregation.resilience import kappa_bound
from ceas.experiments import Scenario, load_scenario
from ceas.experiments.assemble import assemble_model
from ceas.experiments.certificate import bound_certificate, short, smoothness_of
from ceas.experiments.reproduce_convergence import STEP_SIZE
from ceas.experiments.run import run_scenario
from ceas.experiments.smoothness import least_loss, loss_smoothness, rotations_by_observable
from ceas.learning import Classifier, noiseless, partition_circuit
from ceas.learning.training import encode_samples, model_loss_and_gradient
from ceas.runtime.update_errors import MEASURED

PLAIN = (
    *("learning.optimizer=sgd", "learning.final_learning_rate_share=1", f"learning.learning_rate={STEP_SIZE}"),
    *("learning.worker_momentum=0", "learning.temperature=1", "clock.rounds=40"),
    *("aggregation.rule=trimmed_mean", "aggregation.is_debiased=true", "byzantine.n_byzantine=2"),
)
LEAST = -math.log(1 / (1 + 3 * math.exp(-2)))
SMOOTHNESS = 55.0


def scenario_of(*changes: str) -> Scenario:
    return load_scenario("quickstart", [*PLAIN, *changes])


def quadratics(
    scenario: Scenario, *, noise: float = 0.2, kappa: float | None = None, curvature: float = 2.0, seed: int = 0
) -> dict[str, np.ndarray]:
    """Return what a descent on quadratics measures whose rule is as bad as its kappa allows, or as is told.

    Honest learner i has the loss curvature/2 |theta - centre_i|^2; the rule errs against the gradient.
    """
    rng, rate, rounds = np.random.default_rng(seed), scenario.learning.learning_rate, scenario.clock.rounds
    worst = kappa_bound("trimmed_mean", 8, 2) if kappa is None else kappa
    centres, theta = rng.normal(0, 0.3, size=(6, 5)), np.full(5, 0.4)
    rows = []
    for index in range(rounds):
        gradients = curvature * (theta - centres)
        gradient = gradients.mean(axis=0)
        updates = gradients + rng.normal(0, noise, gradients.shape)
        mean = updates.mean(axis=0)
        spread = np.sum((updates - mean) ** 2, axis=1).mean()
        error = -math.sqrt(worst * spread) * gradient / np.linalg.norm(gradient)
        rows.append(
            {
                "round": index,
                "loss": LEAST + curvature / 2 * np.sum((theta - centres) ** 2, axis=1).mean(),
                "squared_gradient": gradient @ gradient,
                "gradient_spread": np.sum((gradients - gradient) ** 2, axis=1).mean(),
                "update_spread": spread,
                "mean_error": np.sum((mean - gradient) ** 2),
                "rule_error": error @ error,
                "kappa": worst,
                "n_rows": 8,
                "n_honest": 6,
                "n_declared": 2,
                "contraction_error": 0.0,
                "curvature": curvature if index else math.nan,
            }
        )
        theta = theta - rate * (mean + error)
    return {name: np.array([row[name] for row in rows], np.float64) for name in MEASURED}


def certificate(scenario: Scenario, measured: dict[str, np.ndarray], **changes: float) -> dict[str, Any]:
    return bound_certificate(scenario, measured, **({"smoothness": SMOOTHNESS, "least": LEAST} | changes))


@pytest.mark.parametrize("seed", range(8))
def test_a_descent_with_the_worst_rule_stays_below_its_certified_bound(seed: int) -> None:
    scenario = scenario_of()
    made = certificate(scenario, quadratics(scenario, seed=seed))
    assert made["status"] == "certified"
    assert made["reasons"] == []
    assert made["holds"] is True
    assert np.all(made["curves"]["measured"] <= made["curves"]["bound"])
    assert made["constants"]["kappa"]["value"] == kappa_bound("trimmed_mean", 8, 2) == 0.5
    assert 0 < made["looseness"] < 1
    assert short(made) == ("certified", "", True, made["looseness"])


@pytest.mark.parametrize("rate", [0.018, 0.2, 0.5])
def test_the_bound_is_proved_for_every_run_and_step_size_up_to_1_over_l(rate: float) -> None:
    """Noise that pushes uphill in every step, where bounds in expectation would fail."""
    scenario = scenario_of(f"learning.learning_rate={rate}")
    for noise in (0.0, 0.5):
        made = certificate(scenario, quadratics(scenario, noise=noise), smoothness=2.0)
        assert made["status"] == "certified"
        assert made["holds"]
    # At 1/L it is within a factor of what the worst rule makes of it.
    assert made["looseness"] > (0.15 if rate == 0.5 else 0)


def test_the_bound_is_exceeded_by_a_rule_that_is_worse_than_its_kappa() -> None:
    """The check can fail: the same descent with an error 40 times as large is off its bound, and is told so."""
    scenario = scenario_of("learning.learning_rate=0.2", "clock.rounds=200")
    measured = quadratics(scenario, kappa=20.0)
    made = certificate(scenario, measured, smoothness=2.0)
    assert made["holds"] is False
    assert made["exceeded_at_steps"]
    # Also where the bound has room, the measured kappa contradicts the proved one.
    few = scenario_of("learning.learning_rate=0.2", "clock.rounds=3")
    made = certificate(few, quadratics(few, kappa=1.0), smoothness=2.0)
    assert made["exceeded_at_steps"] == []
    assert made["holds"] is False
    assert made["contradicted"] == ["kappa: 1 was measured, above 0.5"]


def test_a_run_without_declared_attackers_is_certified_and_holds() -> None:
    """The trimmed mean that trims nothing is the mean, with a proved kappa of 0, up to the order of its sum."""
    scenario = scenario_of("byzantine.n_byzantine=0", "learning.learning_rate=0.018", "clock.rounds=5")
    made = run_scenario(scenario, seed=0).certificate
    assert made is not None
    assert made["status"] == "certified"
    assert made["constants"]["kappa"]["value"] == 0
    assert made["contradicted"] == []
    assert made["holds"] is True


def test_a_smoothness_that_is_too_small_is_found_out() -> None:
    scenario = scenario_of()
    made = certificate(scenario, quadratics(scenario), smoothness=1.5)
    assert made["holds"] is False
    assert made["contradicted"] == ["smoothness: 2 was measured, above 1.5"]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (["learning.optimizer=adam"], "the optimiser is adam"),
        (["learning.optimizer_momentum=0.5"], "the optimiser has momentum 0.5"),
        (["learning.final_learning_rate_share=0.1"], "the step size falls to 0.1 of its start"),
        (["learning.natural_damping=0.1"], "natural gradient"),
        (["learning.learning_rate=0.1"], "the step size 0.1 is above 1/L = 0.0182, L <= 55 at temperature 1"),
        (["output.gradient_rounds=0"], "output.gradient_rounds = 0"),
        (["aggregation.rule=mean"], "kappa of `mean` is infinite"),
    ],
)
def test_what_the_proof_does_not_cover_is_refused_with_its_numbers(changes: list[str], told: str) -> None:
    scenario = scenario_of(*changes)
    made = certificate(scenario, quadratics(scenario))
    assert made["status"] == "refused"
    assert told in "; ".join(made["reasons"])
    assert made["holds"] is None
    assert math.isnan(made["looseness"])
    assert np.isnan(made["curves"]["bound"]).all()
    assert np.isfinite(made["curves"]["measured"]).all()


def test_beyond_breakdown_is_refused() -> None:
    scenario = scenario_of()
    more = quadratics(scenario) | {"n_honest": np.full(40, 5.0)}
    made = certificate(scenario, more)
    assert made["reasons"] == ["beyond breakdown: round 0 had 3 attackers, and the rule withstood 2"]
    too_many = quadratics(scenario) | {"n_declared": np.full(40, 4.0)}
    assert "beyond breakdown" in certificate(scenario, too_many)["reasons"][0]
    measured = quadratics(scenario)
    unlike = measured | {"gradient_spread": 3 * measured["squared_gradient"]}
    (told,) = certificate(scenario, unlike)["reasons"]
    assert told.startswith("Beyond breakdown: a = 1 - kappa B^2")
    assert "kappa=0.5, B^2=3" in told


def test_rounds_that_made_no_step_do_not_count_and_lonely_attackers_are_refused() -> None:
    scenario = scenario_of()
    measured = quadratics(scenario)
    empty = {"n_rows": 0.0, "n_honest": 0.0, "kappa": np.nan, "mean_error": np.nan, "update_spread": np.nan}
    for name, value in empty.items():
        measured[name] = np.where(measured["round"] == 7, value, measured[name])
    made = certificate(scenario, measured)
    assert (made["status"], made["steps"], made["measured_rounds"]) == ("certified", 39, 40)
    assert 7 not in made["curves"]["round"]
    measured["n_rows"][7] = 2.0
    made = certificate(scenario, measured)
    assert "1 steps were made without any honest update" in made["reasons"]
    nothing = {name: column[:0] for name, column in measured.items()}
    assert "no measured round made a step" in certificate(scenario, nothing)["reasons"]


def test_what_is_not_proved_is_an_estimate_and_says_why() -> None:
    for changes in (["aggregation.rule=ceas", "aggregation.is_debiased=false"], ["aggregation.rule=caf"]):
        scenario = scenario_of(*changes)
        made = certificate(scenario, quadratics(scenario, kappa=0.2))
        assert made["status"] == "estimated"
        assert "no kappa is proved" in made["reasons"][0]
        assert made["constants"]["kappa"] == made["constants"]["measured_kappa"]
        assert made["constants"]["kappa"]["side"] == "lower"
        assert made["holds"]
    scenario = scenario_of("output.gradient_rounds=2")
    half = {name: column[::2] for name, column in quadratics(scenario).items()}
    made = certificate(scenario, half)
    assert made["status"] == "estimated"
    assert made["reasons"] == ["20 of 40 rounds were measured"]


def small_model(**changes: Any) -> Classifier:
    classes = changes.pop("classes", "[0,1,2]")
    settings = ["circuit.n_qubits=3", "circuit.n_layers=2", f"data.classes={classes}"]
    return assemble_model(load_scenario("quickstart", [*settings, *(f"{k}={v}" for k, v in changes.items())]))


@pytest.mark.parametrize("readout", ["qubits", "sign"])
@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_no_curvature_and_no_loss_passes_the_bounds_of_the_circuit(readout: str, temperature: float) -> None:
    """At random parameters and samples, curvatures along the direction that iterations find, by differences."""
    classes = "[0,1]" if readout == "sign" else "[0,1,2]"
    changes: dict[str, Any] = {"learning.temperature": temperature, "classes": classes, "circuit.readout": readout}
    model = small_model(**changes)
    partition = partition_circuit(model.circuit, "data")
    rng = np.random.default_rng(0)
    largest = 0.0
    for _ in range(20):
        samples, labels = rng.uniform(-1.6, 1.6, (1, 3)), np.array([[rng.integers(model.n_classes)]])
        encoded, noise = encode_samples(model, np.zeros(model.n_parameters), samples), noiseless(partition)

        def gradient(theta: np.ndarray, encoded: Any = encoded, noise: Any = noise, labels: Any = labels) -> Any:
            found = model_loss_and_gradient(
                model, partition, np.asarray(theta, np.float32), encoded, noise, targets=(labels, np.ones((1, 1)))
            )
            return float(found[0][0]), np.asarray(found[1][0], np.float64)

        theta, direction = rng.uniform(-3, 3, model.n_parameters), rng.normal(size=model.n_parameters)
        for _ in range(6):
            step = 0.03 * direction / np.linalg.norm(direction)
            product = (gradient(theta + step)[1] - gradient(theta - step)[1]) / 0.06
            largest, direction = max(largest, float(np.linalg.norm(product))), product
        assert gradient(theta)[0] >= least_loss(model)
    bound = loss_smoothness(model, np.full((1, 3), 1.6))
    assert 0.02 * bound < largest < bound


def test_rotations_that_an_observable_cannot_see_do_not_count() -> None:
    model = small_model(**{"learning.temperature": 1})
    seen = rotations_by_observable(model, np.ones(3))
    assert set(np.unique(seen)) == {0.0, 1.0}
    # The last RZ of each qubit turns nothing that is read.
    assert np.all(seen[:, -6:][:, 1::2] == 0)
    assert loss_smoothness(model, np.ones((1, 3))) < (1 + 2) * np.max(seen.sum(axis=1))


def test_trained_weights_that_multiply_inputs_count_as_far_as_inputs_reach() -> None:
    scenario = load_scenario("quickstart", ["circuit.ansatz=data_reuploading", "circuit.n_layers=2"])
    model = assemble_model(scenario)
    near, far = (loss_smoothness(model, np.full((1, 4), reach)) for reach in (0.5, 2.0))
    assert near < far


def test_models_with_trained_layers_have_no_smoothness_and_no_certificate() -> None:
    scenario = scenario_of("circuit.readout=linear")
    smoothness, least = smoothness_of(scenario, assemble_model(scenario), np.ones((1, 4)))
    assert math.isnan(smoothness)
    made = certificate(scenario, quadratics(scenario), smoothness=smoothness, least=least)
    assert "trained layers around the circuit have no bounded smoothness" in made["reasons"]


def test_the_step_of_the_reproduction_is_just_below_1_over_l() -> None:
    scenario = scenario_of()
    smoothness, _ = smoothness_of(scenario, assemble_model(scenario), np.ones((1, 4)))
    assert 0.95 / smoothness < STEP_SIZE <= 1 / smoothness
