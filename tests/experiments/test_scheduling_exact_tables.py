"""Closed forms and exact tables of S1 and S4 against simulation and each other."""

import math

import numpy as np
import pytest

from ceas.experiments.scheduling_exact_tables import (
    chain_rows,
    fifo_utilisation,
    lifo_utilisation,
    one_link_gain,
    one_link_rows,
    perishable_rows,
    three_node_slots,
)


@pytest.mark.parametrize(("supply", "demand", "lifetime"), [(1.0, 1.0, 9.0), (1.0, 2.0, 1.71), (2.0, 1.0, 3.0)])
def test_utilisation_of_perishables_is_that_of_a_simulation(supply: float, demand: float, lifetime: float) -> None:
    """Sample: 60,000 events, about 30,000 goods, in 60 batches; bounds of 6 standard errors of the batches' means."""
    rng = np.random.default_rng(7)
    for rule, formula in ((0, fifo_utilisation), (-1, lifo_utilisation)):
        used, made = np.zeros(60), np.zeros(60)
        for batch in range(60):
            now, stock = 0.0, []
            for event in range(1100):
                now += rng.exponential(1.0 / (supply + demand))
                stock = [birth for birth in stock if birth > now - lifetime]
                # The first hundred events fill the stock.
                if rng.random() < supply / (supply + demand):
                    stock.append(now)
                    made[batch] += event >= 100
                elif stock:
                    stock.pop(rule)
                    used[batch] += event >= 100
        ratio = used.sum() / made.sum()
        error = float(np.std(used - ratio * made, ddof=1)) * math.sqrt(60) / made.sum()
        assert abs(ratio - formula(supply, demand, lifetime)) < 6.0 * error
        assert error < 0.01


def test_utilisation_has_its_known_values_and_caps() -> None:
    # At equal rates U = x / (1 + x).
    assert fifo_utilisation(1.0, 1.0, 9.0) == pytest.approx(0.9, abs=1e-12)
    assert fifo_utilisation(1.0, 1.0, 3.0) == pytest.approx(0.75, abs=1e-12)
    for supply, demand, lifetime in ((1.0, 0.5, 3.0), (1.0, 1.5, 2.0), (3.0, 2.0, 0.7)):
        first, last = fifo_utilisation(supply, demand, lifetime), lifo_utilisation(supply, demand, lifetime)
        assert 0.0 < last < first < min(1.0, demand / supply)
    # Everything that can be used is, when goods keep for ever.
    assert fifo_utilisation(1.0, 0.5, 200.0) == pytest.approx(0.5, abs=1e-9)
    assert lifo_utilisation(1.0, 2.0, 200.0) == pytest.approx(1.0, abs=1e-6)
    assert len(perishable_rows()) == 5


def test_one_link_tables_are_in_order_and_have_their_known_values() -> None:
    rows = one_link_rows()
    for row in rows:
        assert max(row["oldest first"], row["freshest first"]) <= row["best"] + 1e-9
    known = [(0.277596, 0.277596, 0.277596), (0.344316, 0.329509, 0.344317), (0.372301, 0.346900, 0.374409)]
    for row, values in zip(rows, known, strict=False):
        assert (row["oldest first"], row["freshest first"], row["best"]) == pytest.approx(values, abs=1e-6)
    assert one_link_gain(2, (0.1, 0.3)) >= rows[1]["best"] - 1e-9


def test_three_nodes_have_the_published_form() -> None:
    """Iñesta et al., npj Quantum Information 9:46 (2023), for cutoff 2 and certain swaps."""
    for p in (0.2, 0.5, 0.9):
        published = (2 * p**3 - 6 * p**2 + 4 * p + 1) / (2 * p**4 - 6 * p**3 + 5 * p**2)
        assert three_node_slots(p, 1.0, 2) == pytest.approx(published, rel=1e-12)
    # Without memory both links must succeed in the same slot.
    assert three_node_slots(0.5, 0.5, 0) == pytest.approx(8.0)


def test_chains_agree_with_closed_form_and_published_numbers() -> None:
    rows = chain_rows(is_quick=True)
    deviation = [row["largest deviation"] for row in rows if math.isfinite(row["largest deviation"])]
    assert len(deviation) >= 13
    assert max(deviation) < 1e-6
    for row in rows:
        assert row["T best"] <= row["T swap-asap"] * (1 + 1e-9)
        assert row["T best"] <= row["T nested"] * (1 + 1e-9)
