"""What is predicted of a round, and what is refused, before anything starts."""

from dataclasses import replace

import pytest

from ceas.errors import DomainError, ScenarioError
from ceas.experiments import Scenario, load_scenario
from ceas.experiments.assemble import assemble_training, assemble_world
from ceas.runtime import forecast
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
    with pytest.raises(DomainError, match=r"must let a round fit .* GiB, but .* needs .* GiB with 8"):
        forecast_round(replace(world), assemble_training(scenario))
