"""Purification as a decision: its formulas, when it is chosen, and that it pays where stock fades too fast."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ceas.experiments.scheduling_cases import Phase, lost_sales_case
from ceas.network.slot_engine import run_slotted
from ceas.physics.purification import purify
from ceas.scheduling.purify_rules import purified_werner
from ceas.scheduling.slotted_baselines import demand_aware, purifying
from ceas.scheduling.slotted_ceas import ceas_slotted


def werner_weights(werner: float) -> np.ndarray:
    fidelity = 0.25 + 0.75 * werner
    return np.array([fidelity, *3 * [(1.0 - fidelity) / 3.0]])


@given(st.floats(0.05, 1.0), st.floats(0.05, 1.0))
@settings(max_examples=30, deadline=None)
def test_chance_and_result_are_those_of_the_density_matrices(kept: float, given_up: float) -> None:
    chance, werner = purified_werner(kept, given_up)
    exact = purify(werner_weights(kept), werner_weights(given_up), "bbpssw")
    assert chance == pytest.approx(float(exact.success_probability), abs=1e-12)
    assert 0.25 + 0.75 * werner == pytest.approx(float(np.max(exact.bell_diagonal)), abs=1e-9)


def low_fidelity_case(n_slots: int = 400):
    return lost_sales_case(
        memory_slots=4,
        load=0.3,
        initial_fidelity=0.905,
        coherence_slots=100.0,
        seed=0,
        phase=Phase.TUNING,
        n_slots=n_slots,
    )


def test_purification_pays_where_new_pairs_serve_a_class_in_one_slot_alone() -> None:
    """Both for the policy and for a baseline, by a tenth and more; the policy gives up more pairs than it loses."""
    case = low_fidelity_case()

    def value(policy) -> float:
        record = run_slotted(case.network, case.requests, case.path, policy, debug=True)
        assert (record.purified.sum() > 0) == ("purifies" in policy.name)
        return float(record.served_value.sum())

    plain = ceas_slotted(case.network, case.forecast, memory_price=0.0)
    ours = ceas_slotted(case.network, case.forecast, memory_price=0.0, purifies=True)
    assert value(replace(ours, name="purifies")) > 1.08 * value(plain)
    baseline = demand_aware(case.network, case.forecast)
    other = purifying(baseline, case.network, case.forecast)
    assert value(replace(other, name="purifies")) > 1.05 * value(baseline)


@pytest.mark.parametrize("changes", [{"initial_fidelity": 0.95, "coherence_slots": 1e4}, {"initial_fidelity": 0.76}])
def test_nothing_is_purified_where_it_gains_nothing(changes: dict[str, float]) -> None:
    """New pairs that last need it not; pairs so bad that no purified one serves the high class gain nothing for it."""
    options = {"memory_slots": 4, "load": 0.3, "seed": 1, "phase": Phase.TUNING, "n_slots": 60}
    case = lost_sales_case(**options, **changes)
    forecast = replace(case.forecast, minimum_fidelity=np.array([0.9, 0.5]))
    for policy in (
        ceas_slotted(case.network, forecast, purifies=True),
        purifying(demand_aware(case.network, forecast), case.network, forecast),
    ):
        record = run_slotted(case.network, case.requests, case.path, policy, debug=True)
        assert record.purified.sum() == 0
        assert record.generated.sum() > 0
