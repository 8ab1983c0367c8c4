"""A scenario's device is opened before anything starts."""

import pytest

from ceas.errors import ScenarioError
from ceas.experiments.assemble import assemble_world
from ceas.experiments.scenario import load_scenario


def test_a_device_that_cannot_be_opened_is_refused_by_its_key() -> None:
    scenario = load_scenario("quickstart", ["processor.device=absent.qubit", "processor.device_nodes=[2]"])
    with pytest.raises(ScenarioError, match=r"processor\.device: .*absent\.qubit"):
        assemble_world(scenario, 0)
