"""Networks without routes, drift or attempt limits give the records they gave before these existed, to the bit."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ceas.experiments.assemble import assemble_world
from ceas.experiments.scenario import load_scenario
from ceas.network.records import WindowRecord
from ceas.network.simulation import advance_round, initial_state
from ceas.scheduling import ceas, freshest_first

GOLDEN = Path(__file__).with_name("golden_records.json")
CASES = [
    (name, policy, seed)
    for name in ("quickstart", "headline")
    for policy in ("ceas", "freshest_first")
    for seed in (1, 2)
]
N_ROUNDS = 3
# The columns and fates of the first release; later ones say nothing about these networks.
INTEGERS = (
    "shot_learner",
    "shot_time_ns",
    "generated",
    "key_count",
    "key_requested",
    "key_dropped",
    "key_waiting",
    "key_wait_ns",
    "shot_wait_ns",
    "test_count",
    "test_link",
    "test_is_of_shot",
    "blocked_ns",
    "fidelity_at_use",
)
FLOATS = ("shot_werner", "key_werner_sum", "test_werner_sum", "test_werner", "delivered_value")
PAIR_COLUMNS = ("pair_id", "link", "birth_ns", "end_ns", "fate", "user", "shot")
N_FATES = 6


def integers_of(record: WindowRecord) -> list[np.ndarray[Any, Any]]:
    columns = [getattr(record, name) for name in INTEGERS]
    columns.append(record.fates[:, :N_FATES])
    columns.extend(record.pairs[name] for name in PAIR_COLUMNS)
    return [np.ascontiguousarray(column, dtype=np.int64) for column in columns]


def floats_of(record: WindowRecord) -> list[np.ndarray[Any, Any]]:
    columns = [getattr(record, name) for name in FLOATS]
    columns.append(record.pairs["werner_at_end"])
    return [np.ascontiguousarray(column, dtype=np.float64) for column in columns]


def summary(name: str, policy: str, seed: int) -> dict[str, Any]:
    model = assemble_world(load_scenario(name), seed).network
    rule = {"ceas": ceas, "freshest_first": freshest_first}[policy](model)
    state = initial_state(model, seed=seed, trace_every=5)
    integers, bits, sums = hashlib.sha256(), hashlib.sha256(), []
    for _ in range(N_ROUNDS):
        record = advance_round(state, model, rule)
        for column in integers_of(record):
            integers.update(str(column.shape).encode() + column.tobytes())
        for column in floats_of(record):
            bits.update(str(column.shape).encode() + column.tobytes())
            sums.append(float(column.sum()))
    return {"integers": integers.hexdigest(), "bits": bits.hexdigest(), "sums": sums}


@pytest.mark.parametrize(("name", "policy", "seed"), CASES)
def test_records_are_those_of_the_first_kernel(name: str, policy: str, seed: int) -> None:
    # Floats are compared to 1e-12, for another processor's exponential may differ in the last bit.
    expected = json.loads(GOLDEN.read_text())[f"{name}-{policy}-{seed}"]
    found = summary(name, policy, seed)
    assert found["integers"] == expected["integers"]
    np.testing.assert_allclose(found["sums"], expected["sums"], rtol=1e-12)


if __name__ == "__main__":
    cases = {f"{name}-{policy}-{seed}": summary(name, policy, seed) for name, policy, seed in CASES}
    GOLDEN.write_text(json.dumps(cases, indent=1) + "\n")
