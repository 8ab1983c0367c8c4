"""What is predicted of a round, and what is refused, before anything starts."""

from dataclasses import replace

import pytest

from ceas.errors import DomainError, ScenarioError
from ceas.experiments import Scenario, load_scenario
from ceas.experiments.assemble import assemble_forecast, assemble_training, assemble_world
from ceas.runtime import forecast
from ceas.runtime.cosimulation import CoSimulation
from ceas.runtime.forecast import Forecast, forecast_round


def predicted(*overrides: str) -> Forecast:
    scenario = load_scenario("quickstart", overrides)
    return forecast_round(assemble_world(scenario, 0), assemble_training(scenario))


def sized(n_qubits: int, *more: str) -> list[str]:
    return [f"circuit.n_qubits={n_qubits}", f"data.n_features={n_qubits}", *more]


def test_each_part_is_predicted_with_its_engine_and_the_reason() -> None:
    found = predicted(*sized(10, "learning.natural_damping=0.1"))
    assert list(found.seconds) == [
        "shots",
        "exact loss",
        "contraction",
        "test",
        "Fisher information",
        "natural gradient",
    ]
    text = str(found)
    assert text.startswith("predicted: ")
    assert " s a round after compilation (shots " in text
    assert "\nexact loss by " in text
    assert "\ncontraction by " in text
    # Ten qubits take seconds, not minutes.
    assert 0.1 < sum(found.seconds.values()) < 10


def test_sampled_noise_is_said_to_be_approximate() -> None:
    found = predicted(*sized(4, "learning.engine=trajectories"))
    exact_loss, contraction = found.reasons
    assert "approximate" not in exact_loss
    assert "Its 100 runs a sample make it approximate." in contraction


def test_time_grows_with_the_qubits() -> None:
    few, many = (predicted(*sized(n)).seconds["shots"] for n in (6, 12))
    assert 60 < many / few < 1000


def test_what_does_not_fit_is_refused_with_the_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ScenarioError, match=r"heisenberg needs .* GiB"):
        predicted(*sized(16, "learning.engine=heisenberg"))
    scenario: Scenario = load_scenario("quickstart", sized(8))
    world = assemble_world(scenario, 0)
    monkeypatch.setattr(forecast, "available_memory", lambda: 1 << 16)
    with pytest.raises(DomainError, match=r"must let a round fit .* GiB .*, but .* needs .* GiB with 8 qubits"):
        forecast_round(world, assemble_training(scenario))
    with pytest.raises(ScenarioError, match=r"circuit.n_qubits: found 8, must let a round fit .* GiB"):
        assemble_forecast(scenario, world)


def test_a_metric_of_few_qubits_takes_little() -> None:
    """Sixteen reference inputs, 2^4 amplitudes and 25 runs of each, four copies: 0.2 MiB, not what may be kept."""
    assert predicted("learning.natural_damping=0.1").bytes < 8 << 20


@pytest.mark.parametrize(("rounds", "every"), [(3, 10), (20, 10), (20, 1), (23, 7)])
def test_tests_are_counted_as_often_as_they_are_made(rounds: int, every: int) -> None:
    scenario = load_scenario("quickstart", [f"clock.rounds={rounds}", f"output.evaluate_rounds={every}"])
    world = assemble_world(scenario, 0)
    simulation = CoSimulation.__new__(CoSimulation)
    simulation._training = assemble_training(scenario)
    made = 0
    for simulation.completed_rounds in range(1, rounds + 1):
        made += simulation.is_evaluated
    each = forecast_round(world, replace(simulation._training, evaluate_rounds=1)).seconds["test"]
    found = forecast_round(world, simulation._training).seconds["test"]
    assert found == pytest.approx(each * made / rounds)
