"""What noise leaves of the learners' signals, also where there is none to begin with."""

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm

from ceas.errors import ScenarioError
from ceas.experiments import Scenario
from ceas.experiments.assemble import assemble_policy, assemble_security, assemble_training, assemble_world
from ceas.runtime import learners as room
from ceas.runtime.learners import Learners
from ceas.runtime.sources import LiveSource


def test_a_circuit_without_signal_is_compared_elsewhere(small_scenario: Scenario) -> None:
    """At zero angles an IQP circuit reads 0 whatever the input; contractions are then those of displaced parameters."""
    scenario = small_scenario.with_overrides(["circuit.ansatz=iqp", "learning.initial_angle_spread=0"])
    world = assemble_world(scenario, 3)
    security = assemble_security(scenario)
    policy = assemble_policy(scenario, world)
    window = LiveSource(world, policy, security, seed=3, trace_every=0, start_digest=bytes(32)).next_window()
    learners = Learners(world, assemble_training(scenario), seed=3)
    zero = np.zeros(world.model.n_parameters)
    fresh = np.full(len(world.network.links.initial_werner), 0.97)
    known = {"estimated_werner": fresh, "bounding_werner": np.ones_like(fresh)[None]}
    found = learners.contraction(zero, window, **known)
    has_shots = np.isfinite(found.true)
    assert has_shots.any()
    assert (found.true[has_shots] > 0.2).all()
    assert (found.true[has_shots] <= found.bound[has_shots]).all()
    assert (found.believed <= found.bound).all()
    elsewhere = learners.contraction(learners._displaced(zero), window, **known)
    np.testing.assert_array_equal(found.believed, elsewhere.believed)
    np.testing.assert_array_equal(found.true, elsewhere.true)


def test_few_runs_raise_a_bound_by_more_errors_than_many() -> None:
    """Student's quantile of 3 in 10^5: that of one degree of freedom is 1 / tan(pi p), that of many is normal."""
    assert room._bound_errors(2) == pytest.approx(1 / np.tan(np.pi * 3e-5), rel=1e-6)
    assert room._bound_errors(10**7) == pytest.approx(norm.isf(3e-5), rel=1e-4)


def test_a_circuit_that_cannot_be_trained_is_refused_before_it_starts(small_scenario: Scenario, tmp_path: Path) -> None:
    program = [f"input float x{q};" for q in range(4)] + ["qubit[4] q;"] + [f"ry(x{q}) q[{q}];" for q in range(4)]
    (tmp_path / "untrained.qasm").write_text("\n".join(["OPENQASM 3.0;", 'include "stdgates.inc";', *program]))
    inputs = ", ".join(f'"x{q}"' for q in range(4))
    parameters = f'{{path = "{tmp_path / "untrained.qasm"}", parameters = [], inputs = [{inputs}]}}'
    scenario = small_scenario.with_overrides(
        ["circuit.ansatz=qasm", f"circuit.parameters={parameters}", "circuit.partition=data"]
    )
    with pytest.raises(ScenarioError, match=r"circuit.ansatz: found qasm, must have a parameter that can change what"):
        assemble_world(scenario, 3)
