"""Scenarios: canonical text, identity, overrides."""

import json
import tomllib
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from ceas.errors import DomainError, ScenarioError
from ceas.experiments.hardware_presets import preset_defaults
from ceas.experiments.scenario import (
    Scenario,
    built_in_scenarios,
    document_scenario_keys,
    load_scenario,
    scenario_from_mapping,
    scenario_from_toml,
)
from ceas.experiments.sections import HardwareSection
from ceas.network import HardwareParameters
from ceas.physics import RelaxingMemory, load_preset, preset_names, relax_bell_diagonal

# Every key is written here, so that the golden identities below hold whatever the defaults become.
COMPLETE = """
name = "complete"
description = "every key"
[topology]
kind = "ring"
n_nodes = 10
spacing_km = 12.5
fibre_length_factor = 1.5
[hardware]
pair_states = "werner"
coherence_time_s = 0.5
coherence_time_spread = 0.3
memory_slots = 16
multiplexing = 8
attenuation_db_per_km = 0.25
device_efficiency = 0.5
device_efficiency_spread = 0.1
dark_count_probability = 1e-6
visibility = 0.96
visibility_spread = 0.4
preparation_time_s = 1e-5
protocol = "double_click"
bright_state_probability = 0.0
one_qubit_error = 1e-3
two_qubit_error = 5e-3
readout_error = 0.01
gate_error_spread = 0.5
minimum_fidelity = 0.55
communication_qubits = 0
swap_success_probability = 1.0
bell_measurement_s = 0.0
[clock]
rounds = 20
learning_window_s = 1.0
exchange_window_s = 0.2
[schedule]
policy = "oldest_first"
parameters = {}
learning_value = 1.0
key_value = 0.05
test_value = 0.1
key_pairs_per_round = 20.0
key_deadline_s = 2.4
route_key_pairs_per_round = 0.0
route_hops = 2
test_share = 0.1
shot_duration_s = 1e-3
[traffic]
connections = 3
most_hops = 3
requests_per_round = 20.0
deadline_s = 0.5
minimum_fidelity = 0.7
value = 0.05
[drift]
link_share = 0.2
start_s = 2.0
success_factor = 0.5
coherence_factor = 1.0
werner_factor = 1.0
is_announced = false
[data]
n_features = 4
encoding = "angles"
scaling = "quantile"
lowest_angle = -1.5
highest_angle = 1.5
similarity = 0.5
classes_per_learner = 2
dataset = "digits"
classes = [0, 1, 2, 3]
test_fraction = 0.3
validation_fraction = 0.1
split = "iid"
concentration = 0.5
[circuit]
is_sharing = true
readout = "qubits"
is_dressed = false
ansatz = "hardware_efficient"
n_qubits = 4
n_layers = 3
entangler = "chain"
partition = "qubit"
[processor]
one_qubit_gate_s = 0.0
two_qubit_gate_s = 0.0
excited_population = 0.0
readout_asymmetry = 0.0
device = ""
device_nodes = []

[processor.device_options]

[data.parameters]

[circuit.parameters]

[learning]
gradient_method = "parameter_shift"
spsa_step = 0.3
spsa_directions = 1
engine = "auto"
n_trajectories = 100
minibatch = 16
readout_share = 0.3
temperature = 4.0
optimizer = "adam"
optimizer_momentum = 0.0
final_learning_rate_share = 1.0
learning_rate = 0.1
worker_momentum = 0.5
initial_angle_spread = 0.5
max_shots_per_round = 1000
[aggregation]
rule = "mean"
parameters = {}
tolerated_byzantine = 2
is_debiased = false
certification = "joint_tests"
[byzantine]
n_byzantine = 2
attack = "sign_flip"
parameters = {}
placement = "random"
nodes = []
[authentication]
profile = "qkd_seeded"
enrolled_key_bits = 8192
reseed_rounds = 10
key_rate = "asymptotic"
block_pairs = 100000
security_parameter = 1e-10
reserve_rounds = 3
frame_quota = 1024
remember_signatures = false
[consensus]
tolerated_byzantine = 3
processing_delay_s = 1e-3
fixed_point_bits = 24
protocol = "tetrabft"
[certification]
bound_error_probability = 0.05
[output]
checkpoint_rounds = 10
pair_trace = "sampled"
trace_every = 50
evaluate_rounds = 5
gradient_rounds = 1
"""

# Another allowed value for every key of COMPLETE, and what else must change with it.
CHANGES = {
    "data.parameters": ["data.dataset=hidden_manifold", "data.classes=[0, 1]", "data.parameters={n_samples = 200}"],
    "data.features": ["data.features=raw"],
    "data.n_features": ["data.n_features=5"],
    "data.encoding": ["data.encoding=amplitudes", "data.n_features=0"],
    "data.scaling": ["data.scaling=min_max"],
    "data.lowest_angle": ["data.lowest_angle=-1.4"],
    "data.highest_angle": ["data.highest_angle=1.4"],
    "data.similarity": ["data.similarity=0.4"],
    "data.classes_per_learner": ["data.classes_per_learner=1"],
    "circuit.parameters": ["circuit.parameters={gate = 'cz'}"],
    "circuit.is_sharing": ["circuit.is_sharing=false"],
    "circuit.readout": ["circuit.readout=linear"],
    "circuit.is_dressed": ["circuit.is_dressed=true"],
    "processor.relaxation_time_s": ["processor.relaxation_time_s=0.1", "processor.two_qubit_gate_s=1e-3"],
    "processor.dephasing_time_s": ["processor.dephasing_time_s=0.1", "processor.two_qubit_gate_s=1e-3"],
    "processor.one_qubit_gate_s": ["processor.one_qubit_gate_s=1e-4"],
    "processor.two_qubit_gate_s": ["processor.two_qubit_gate_s=1e-4"],
    "processor.excited_population": ["processor.excited_population=0.1"],
    "processor.readout_asymmetry": ["processor.readout_asymmetry=0.1"],
    "processor.device": ["processor.device=default.qubit", "processor.device_nodes=[1]"],
    "processor.device_nodes": ["processor.device=default.qubit", "processor.device_nodes=[2]"],
    "processor.device_options": ["processor.device_options={seed = 1}"],
    "learning.gradient_method": ["learning.gradient_method=spsa"],
    "learning.spsa_step": ["learning.spsa_step=0.2"],
    "learning.spsa_directions": ["learning.spsa_directions=2"],
    "learning.natural_damping": ["learning.natural_damping=0.1"],
    "learning.engine": ["learning.engine=heisenberg"],
    "learning.n_trajectories": ["learning.n_trajectories=50"],
    "name": ['name="other"'],
    "description": ['description="other"'],
    "topology.kind": ["topology.kind=star"],
    "topology.n_nodes": ["topology.n_nodes=11", "consensus.tolerated_byzantine=3"],
    "topology.spacing_km": ["topology.spacing_km=13"],
    "topology.fibre_length_factor": ["topology.fibre_length_factor=1.4"],
    "hardware.coherence_time_s": ["hardware.coherence_time_s=0.6"],
    "hardware.pair_states": ["hardware.pair_states=bell_diagonal"],
    "hardware.relaxation_time_s": ["hardware.relaxation_time_s=0.4", "hardware.dephasing_time_s=0.3"],
    "hardware.dephasing_time_s": ["hardware.dephasing_time_s=0.3"],
    "hardware.coherence_time_spread": ["hardware.coherence_time_spread=0"],
    "hardware.memory_slots": ["hardware.memory_slots=17"],
    "hardware.multiplexing": ["hardware.multiplexing=9"],
    "hardware.attenuation_db_per_km": ["hardware.attenuation_db_per_km=0.2"],
    "hardware.device_efficiency": ["hardware.device_efficiency=0.6"],
    "hardware.device_efficiency_spread": ["hardware.device_efficiency_spread=0.2"],
    "hardware.dark_count_probability": ["hardware.dark_count_probability=1e-7"],
    "hardware.visibility": ["hardware.visibility=1"],
    "hardware.visibility_spread": ["hardware.visibility_spread=0.2"],
    "hardware.preset": ["hardware.preset=nv_centre"],
    "hardware.preparation_time_s": ["hardware.preparation_time_s=2e-5"],
    "hardware.protocol": ["hardware.protocol=single_click"],
    "hardware.bright_state_probability": ["hardware.bright_state_probability=0.1"],
    "hardware.one_qubit_error": ["hardware.one_qubit_error=0"],
    "hardware.two_qubit_error": ["hardware.two_qubit_error=0.1"],
    "hardware.readout_error": ["hardware.readout_error=0.02"],
    "hardware.gate_error_spread": ["hardware.gate_error_spread=0.1"],
    "hardware.minimum_fidelity": ["hardware.minimum_fidelity=0.6"],
    "hardware.communication_qubits": ["hardware.communication_qubits=2"],
    "hardware.swap_success_probability": ["hardware.swap_success_probability=0.5"],
    "hardware.bell_measurement_s": ["hardware.bell_measurement_s=1e-5"],
    "clock.rounds": ["clock.rounds=21"],
    "clock.learning_window_s": ["clock.learning_window_s=2"],
    "clock.exchange_window_s": ["clock.exchange_window_s=0.3"],
    "schedule.policy": ["schedule.policy=freshest_first"],
    "schedule.parameters": ["schedule.policy=mine:policy", "schedule.parameters={depth=2}"],
    "schedule.learning_value": ["schedule.learning_value=2"],
    "schedule.key_value": ["schedule.key_value=0"],
    "schedule.test_value": ["schedule.test_value=0"],
    "schedule.key_pairs_per_round": ["schedule.key_pairs_per_round=2"],
    "schedule.key_deadline_s": ["schedule.key_deadline_s=1"],
    "schedule.route_key_pairs_per_round": ["schedule.route_key_pairs_per_round=3"],
    "schedule.route_hops": ["schedule.route_hops=3"],
    "schedule.test_share": ["schedule.test_share=0"],
    "schedule.shot_duration_s": ["schedule.shot_duration_s=1e-4"],
    "traffic.connections": ["traffic.connections=2"],
    "traffic.most_hops": ["traffic.most_hops=2"],
    "traffic.requests_per_round": ["traffic.requests_per_round=5"],
    "traffic.deadline_s": ["traffic.deadline_s=1"],
    "traffic.minimum_fidelity": ["traffic.minimum_fidelity=0.8"],
    "traffic.value": ["traffic.value=1"],
    "drift.link_share": ["drift.link_share=0.4"],
    "drift.start_s": ["drift.start_s=3"],
    "drift.success_factor": ["drift.success_factor=0.25"],
    "drift.coherence_factor": ["drift.coherence_factor=0.5"],
    "drift.werner_factor": ["drift.werner_factor=0.9"],
    "drift.is_announced": ["drift.is_announced=true"],
    "data.dataset": ["data.dataset=mine:load"],
    "data.classes": ["data.classes=[0, 1, 2]"],
    "data.test_fraction": ["data.test_fraction=0.2"],
    "data.validation_fraction": ["data.validation_fraction=0.2"],
    "data.split": ["data.split=dirichlet"],
    "data.concentration": ["data.concentration=1"],
    "circuit.ansatz": ["circuit.ansatz=mine:ansatz"],
    "circuit.n_qubits": ["circuit.n_qubits=6"],
    "circuit.n_layers": ["circuit.n_layers=2"],
    "circuit.entangler": ["circuit.entangler=ring"],
    "circuit.partition": ["circuit.partition=data"],
    "learning.minibatch": ["learning.minibatch=8"],
    "learning.readout_share": ["learning.readout_share=0.5"],
    "learning.temperature": ["learning.temperature=1"],
    "learning.optimizer": ["learning.optimizer=sgd"],
    "learning.learning_rate": ["learning.learning_rate=1"],
    "learning.optimizer_momentum": ["learning.optimizer_momentum=0.5"],
    "learning.final_learning_rate_share": ["learning.final_learning_rate_share=0.5"],
    "learning.worker_momentum": ["learning.worker_momentum=0"],
    "learning.initial_angle_spread": ["learning.initial_angle_spread=1"],
    "learning.max_shots_per_round": ["learning.max_shots_per_round=10"],
    "aggregation.rule": ["aggregation.rule=trimmed_mean"],
    "aggregation.parameters": ["aggregation.rule=mine:rule", "aggregation.parameters.depth=2"],
    "aggregation.tolerated_byzantine": ["aggregation.tolerated_byzantine=1"],
    "aggregation.is_debiased": ["aggregation.is_debiased=true"],
    "aggregation.certification": ["aggregation.certification=none"],
    "byzantine.n_byzantine": ["byzantine.n_byzantine=1"],
    "byzantine.attack": ["byzantine.attack=none"],
    "byzantine.parameters": ["byzantine.attack=mine:attack", "byzantine.parameters.strength=2"],
    "aggregation.root_samples": ["aggregation.root_samples=30"],
    "byzantine.placement": ["byzantine.placement=best"],
    "byzantine.nodes": ["byzantine.nodes=[0, 9]"],
    "authentication.profile": ["authentication.profile=its64"],
    "authentication.enrolled_key_bits": ["authentication.enrolled_key_bits=0"],
    "authentication.reseed_rounds": ["authentication.reseed_rounds=1"],
    "authentication.reserve_rounds": ["authentication.reserve_rounds=0"],
    "authentication.frame_quota": ["authentication.frame_quota=64"],
    "authentication.remember_signatures": ["authentication.remember_signatures=true"],
    "authentication.key_rate": ["authentication.key_rate=finite"],
    "authentication.block_pairs": ["authentication.key_rate=finite", "authentication.block_pairs=5000"],
    "authentication.security_parameter": [
        "authentication.key_rate=finite",
        "authentication.security_parameter=1e-6",
    ],
    "consensus.protocol": ["consensus.protocol=simplex"],
    "consensus.tolerated_byzantine": ["consensus.tolerated_byzantine=2"],
    "consensus.processing_delay_s": ["consensus.processing_delay_s=0"],
    "consensus.fixed_point_bits": ["consensus.fixed_point_bits=16"],
    "certification.bound_error_probability": ["certification.bound_error_probability=0.01"],
    "output.checkpoint_rounds": ["output.checkpoint_rounds=1"],
    "output.pair_trace": ["output.pair_trace=full"],
    "output.trace_every": ["output.trace_every=1"],
    "output.evaluate_rounds": ["output.evaluate_rounds=1"],
    "output.gradient_rounds": ["output.gradient_rounds=0"],
}
OF_THE_NETWORK = ("topology", "hardware", "clock", "schedule", "traffic", "drift", "circuit")
# Digits after the point and the way of computing signatures change no frame.
OF_THE_EXCHANGE = (
    *(f"authentication.{key}" for key in ("profile", "enrolled_key_bits", "reseed_rounds", "reserve_rounds")),
    *(f"authentication.{key}" for key in ("frame_quota", "key_rate", "block_pairs", "security_parameter")),
    *(f"consensus.{key}" for key in ("protocol", "tolerated_byzantine", "processing_delay_s")),
)
KINDS_OF_OTHERS = (
    *("rows", "columns", "side_km", "radius_km", "waxman_reach", "waxman_density", "degree", "n_links"),
    *("path", "sha256"),
)


def test_golden_identities() -> None:
    scenario = scenario_from_toml(COMPLETE)
    assert scenario.scenario_id == "2282cf5272f0993f"
    assert scenario.network_id == "424cda3d9b294752"


def test_every_key_has_a_change() -> None:
    keys = {row.key for row in document_scenario_keys()}
    # What files hold is tried with files, in test_files.py.
    of_files = {"data.sha256", "circuit.sha256"}
    assert keys - {f"topology.{key}" for key in KINDS_OF_OTHERS} - of_files == set(CHANGES)


def test_the_block_of_finite_keys_decides_only_where_there_are_blocks() -> None:
    before = scenario_from_toml(COMPLETE)
    for change in ("authentication.block_pairs=5000", "authentication.security_parameter=1e-6"):
        assert before.with_overrides([change]).scenario_id == before.scenario_id
        finite = before.with_overrides(["authentication.key_rate=finite"])
        assert finite.with_overrides([change]).scenario_id != finite.scenario_id


@pytest.mark.parametrize("key", CHANGES)
def test_identity_follows_every_key_that_decides_numbers(key: str) -> None:
    before = scenario_from_toml(COMPLETE)
    after = before.with_overrides(CHANGES[key])
    assert after != before
    section = key.split(".", maxsplit=1)[0]
    assert (after.scenario_id == before.scenario_id) == (section in ("name", "description", "output"))
    is_of_network = section in OF_THE_NETWORK or key in ("learning.max_shots_per_round", *OF_THE_EXCHANGE)
    assert (after.network_id == before.network_id) == (not is_of_network)


def test_the_number_of_classes_is_of_the_network_of_bell_diagonal_pairs() -> None:
    """It decides which qubits are measured, and so what each correlator of a pair is worth to a shot."""
    few, states = ["data.classes=[0, 1]"], ["hardware.pair_states=bell_diagonal"]
    plain = load_scenario("quickstart")
    other = plain.with_overrides(states)
    assert plain.with_overrides(few).network_id == plain.network_id
    assert other.with_overrides(few).network_id != other.network_id
    assert other.with_overrides(["data.classes=[0, 1, 2, 4]"]).network_id == other.network_id


@pytest.mark.parametrize("name", ["quickstart", "headline", "contended"])
def test_built_in_scenarios_load_and_describe_themselves(name: str) -> None:
    assert name in built_in_scenarios()
    scenario = load_scenario(name)
    assert scenario.name == name
    assert scenario.description
    assert scenario_from_toml(scenario.to_toml()) == scenario


def test_headline_is_the_papers_setting() -> None:
    headline = load_scenario("headline")
    assert (headline.n_nodes, headline.clock.rounds, headline.topology.kind) == (50, 100, "surfnet")


def number(low: float, high: float) -> st.SearchStrategy[float | int]:
    return st.floats(low, high, allow_subnormal=False) | st.integers(int(low) + 1, max(int(low) + 1, int(high)))


VALUE = st.recursive(
    st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
PARAMETERS = st.dictionaries(st.text(max_size=8), VALUE, max_size=3)
SECTIONS: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "hardware": {
        "coherence_time_s": number(1e-3, 10),
        "pair_states": st.sampled_from(["werner", "bell_diagonal"]),
        "memory_slots": st.integers(1, 100),
        "visibility": st.floats(0.01, 1),
        "dark_count_probability": st.sampled_from([0, 1e-9, 1e-6]),
    },
    "clock": {"rounds": st.integers(1, 10**6), "learning_window_s": number(1, 100)},
    "schedule": {"test_share": st.floats(0, 0.9)},
    "data": {"split": st.sampled_from(["iid", "dirichlet"]), "classes": st.permutations([3, 5, 7])},
    "circuit": {"n_qubits": st.integers(4, 9), "partition": st.sampled_from(["qubit", "data"])},
    "learning": {"optimizer": st.sampled_from(["adam", "sgd"]), "temperature": number(0.1, 50)},
    "byzantine": {"n_byzantine": st.integers(0, 5), "placement": st.sampled_from(["random", "best"])},
    "output": {"pair_trace": st.sampled_from(["sampled", "full", "none"])},
}
TOPOLOGIES = st.sampled_from(
    [
        {"kind": "surfnet"},
        {"kind": "arnes", "fibre_length_factor": 2},
        {"kind": "ring", "n_nodes": 20},
        {"kind": "grid", "rows": 4, "columns": 5, "spacing_km": 3},
        {"kind": "star", "n_nodes": 17},
        {"kind": "random_geometric", "n_nodes": 30, "side_km": 1.5, "radius_km": 1},
        {"kind": "waxman", "n_nodes": 30, "side_km": 1.5, "waxman_reach": 1, "waxman_density": 1},
        {"kind": "random_regular", "n_nodes": 20, "degree": 3},
        {"kind": "random_recursive", "n_nodes": 20, "n_links": 25, "spacing_km": 30},
        {"kind": "chain", "n_nodes": 17},
        {"kind": "garr", "fibre_length_factor": 1.5},
    ]
)
DOCUMENTS = st.fixed_dictionaries(
    {},
    optional={
        "topology": TOPOLOGIES,
        "aggregation": st.fixed_dictionaries({"rule": st.just("a.b:c.d"), "parameters": PARAMETERS}),
        "description": st.text(max_size=20),
        **{name: st.fixed_dictionaries({}, optional=keys) for name, keys in SECTIONS.items()},
    },
)


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(DOCUMENTS)
def test_canonical_text_reads_back_to_the_same_scenario(document: dict[str, Any]) -> None:
    scenario = scenario_from_mapping(document)
    again = scenario_from_toml(scenario.to_toml())
    assert again == scenario
    assert again.to_toml() == scenario.to_toml()
    assert (again.scenario_id, again.network_id) == (scenario.scenario_id, scenario.network_id)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(DOCUMENTS, st.randoms(use_true_random=False))
def test_order_of_keys_does_not_matter(document: dict[str, Any], random: Any) -> None:
    def shuffled(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        keys = list(value)
        random.shuffle(keys)
        return {key: shuffled(value[key]) for key in keys}

    one, other = scenario_from_mapping(document), scenario_from_mapping(shuffled(document))
    assert one == other
    assert one.scenario_id == other.scenario_id
    assert one.to_toml() == other.to_toml()


def test_whole_numbers_may_be_written_as_integers() -> None:
    one = scenario_from_toml("[clock]\nlearning_window_s = 2\n[aggregation]\nrule = 'a:b'\nparameters = {x = 1}")
    other = scenario_from_toml("[clock]\nlearning_window_s = 2.0\n[aggregation]\nrule = 'a:b'\nparameters = {x = 1.0}")
    assert one.scenario_id == other.scenario_id
    assert isinstance(one.clock.learning_window_s, float)


def test_true_and_one_are_different_parameters() -> None:
    text = "[aggregation]\nrule = 'a:b'\nparameters = {x = %s}"
    assert scenario_from_toml(text % "true").scenario_id != scenario_from_toml(text % "1").scenario_id


def test_canonical_text_is_sorted_and_complete() -> None:
    document = tomllib.loads(scenario_from_toml(COMPLETE).to_toml())
    assert list(document) == ["description", "name", *sorted(set(document) - {"description", "name"})]
    for name, section in document.items():
        if isinstance(section, dict):
            plain = [key for key, value in section.items() if not isinstance(value, dict)]
            assert plain == sorted(plain), name
    assert document == tomllib.loads(COMPLETE)


def test_tolerances_follow_what_they_derive_from() -> None:
    scenario = load_scenario("headline")
    assert (scenario.consensus.tolerated_byzantine, scenario.aggregation.tolerated_byzantine) == (16, 10)
    smaller = scenario.with_overrides(["topology.kind=ring", "topology.n_nodes=22", "byzantine.n_byzantine=3"])
    assert (smaller.consensus.tolerated_byzantine, smaller.aggregation.tolerated_byzantine) == (7, 3)


def test_chosen_tolerances_stay() -> None:
    scenario = load_scenario("headline", ["consensus.tolerated_byzantine=12", "aggregation.tolerated_byzantine=11"])
    changed = scenario.with_overrides(["topology.kind=ring", "topology.n_nodes=40", "byzantine.n_byzantine=3"])
    assert (changed.consensus.tolerated_byzantine, changed.aggregation.tolerated_byzantine) == (12, 11)


def test_choosing_another_kind_drops_the_keys_of_the_old_one() -> None:
    ring = scenario_from_toml("[topology]\nkind = 'random_geometric'\nn_nodes = 30\nside_km = 5.0").with_overrides(
        ["topology.spacing_km=7", "topology.kind=ring"]
    )
    assert ring.to_mapping()["topology"] == {
        "fibre_length_factor": 1.0,
        "kind": "ring",
        "n_nodes": 30,
        "spacing_km": 7.0,
    }


def test_method_and_attack_replace_name_and_parameters_only() -> None:
    before = scenario_from_toml(COMPLETE).with_overrides(
        ["aggregation.rule=a:b", "aggregation.parameters.x=1", "byzantine.attack=c:d", "byzantine.parameters.y=1"]
    )
    after = before.with_method("trimmed_mean").with_attack("none")
    expected = before.to_mapping()
    expected["aggregation"] |= {"rule": "trimmed_mean", "parameters": {}}
    expected["byzantine"] |= {"attack": "none", "parameters": {}}
    assert after.to_mapping() == expected
    assert after.network_id == before.network_id
    assert before.with_method("a:b") == before
    assert after.with_policy("random").schedule.policy == "random"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2", 2),
        ("2.5", 2.5),
        ("true", True),
        ("[1, 2]", [1, 2]),
        ('"a b"', "a b"),
        ("bare", "bare"),
        ("{x=1}", {"x": 1}),
    ],
)
def test_override_values_are_toml_or_bare_strings(text: str, value: Any) -> None:
    base = scenario_from_toml("[aggregation]\nrule = 'a:b'")
    assert base.with_overrides([f"aggregation.parameters.key={text}"]).aggregation.parameters == {"key": value}


def test_order_of_overrides_does_not_matter() -> None:
    overrides = ["aggregation.parameters.depth=2", "aggregation.rule=a:b", "topology.n_nodes=9", "topology.kind=ring"]
    one = load_scenario("quickstart", overrides)
    assert one == load_scenario("quickstart", overrides[::-1])
    assert one.aggregation.parameters == {"depth": 2}
    assert one.n_nodes == 9


@pytest.mark.parametrize("text", ["\x7f", '"', "\\", "\n\t\x00", "ψ \U0001f600", "[x]", "#", "'"])
def test_any_text_survives_the_canonical_form(text: str) -> None:
    document = {"aggregation": {"rule": "a:b", "parameters": {text: {text: [text]}}}, "description": text}
    scenario = scenario_from_mapping(document)
    assert scenario.aggregation.parameters == {text: {text: [text]}}
    assert scenario_from_toml(scenario.to_toml()) == scenario


def test_an_override_cannot_smuggle_in_other_keys() -> None:
    base = scenario_from_toml("[aggregation]\nrule = 'a:b'")
    text = "1\nother = 2"
    assert base.with_overrides([f"aggregation.parameters.key={text}"]).aggregation.parameters == {"key": text}


def test_overrides_leave_the_original_alone() -> None:
    before = load_scenario("quickstart")
    copy = before.to_mapping()
    before.with_overrides(["hardware.visibility=0.5", "aggregation.rule=a:b", "aggregation.parameters.z=1"])
    assert before.to_mapping() == copy


def test_scenarios_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        load_scenario("quickstart").clock.rounds = 3


def test_direct_construction_is_checked_as_well() -> None:
    assert Scenario.model_validate({"topology": {"kind": "ring"}}).consensus.tolerated_byzantine == 2
    with pytest.raises(ValidationError, match=r"circuit\.partition"):
        Scenario.model_validate({"circuit": {"n_qubits": 1}, "data": {"classes": [0, 1]}})


def test_a_file_without_a_name_takes_that_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "my study.toml"
    path.write_text("[clock]\nrounds = 3\n")
    assert load_scenario(path).name == "my-study"


TRIANGLE = {
    "name": "triangle",
    "nodes": [{"id": "a"}, {"id": "b"}, {"id": "c"}, {"id": "d"}],
    "edges": [
        {"a": "a", "b": "b", "length_km": 1.0},
        {"a": "b", "b": "c", "length_km": 2.0},
        {"a": "c", "b": "a", "length_km": 3.0},
        {"a": "d", "b": "a", "length_km": 3.0},
    ],
}


@pytest.fixture
def network_file(tmp_path: Path) -> Path:
    path = tmp_path / "network.json"
    path.write_text(json.dumps(TRIANGLE))
    (tmp_path / "scenario.toml").write_text("[topology]\nkind = 'file'\npath = 'network.json'\n")
    return path


def test_a_network_file_is_found_beside_the_scenario_and_recorded(network_file: Path) -> None:
    scenario = load_scenario(network_file.parent / "scenario.toml")
    assert scenario.topology.path == str(network_file)
    assert scenario.n_nodes == 4
    assert scenario.consensus.tolerated_byzantine == 1
    assert scenario.topology.builder_parameters() == {"path": str(network_file)}
    assert scenario_from_toml(scenario.to_toml()) == scenario


def test_identity_follows_the_content_of_a_network_file_and_not_its_place(network_file: Path) -> None:
    before = load_scenario(network_file.parent / "scenario.toml")
    moved = network_file.with_name("moved.json")
    network_file.rename(moved)
    after = before.with_overrides([f"topology.path={moved}"])
    assert (after.scenario_id, after.network_id) == (before.scenario_id, before.network_id)
    moved.write_text(json.dumps(TRIANGLE).replace("3.0", "4.0"))
    changed = before.with_overrides([f"topology.path={moved}"])
    assert changed.scenario_id != before.scenario_id
    assert changed.network_id != before.network_id


def test_a_recorded_scenario_is_readable_without_its_network_file(network_file: Path) -> None:
    scenario = load_scenario(network_file.parent / "scenario.toml")
    network_file.unlink()
    assert scenario_from_toml(scenario.to_toml()) == scenario


def test_a_changed_network_file_is_refused(network_file: Path) -> None:
    scenario = load_scenario(network_file.parent / "scenario.toml")
    network_file.write_text(json.dumps(TRIANGLE).replace("3.0", "4.0"))
    with pytest.raises(ScenarioError, match="is another file now"):
        scenario_from_toml(scenario.to_toml())


def test_star_and_grid_name_their_builders_parameters() -> None:
    star = scenario_from_toml("[topology]\nkind = 'star'\nn_nodes = 9\nspacing_km = 2")
    assert star.topology.builder_parameters() == {"n_leaves": 8, "spacing_km": 2.0}
    grid = scenario_from_toml("[topology]\nkind = 'grid'\nrows = 2\ncolumns = 5")
    assert grid.n_nodes == 10
    assert grid.topology.builder_parameters() == {"rows": 2, "columns": 5, "spacing_km": 10.0}


def test_every_key_is_documented() -> None:
    rows = document_scenario_keys()
    assert all(row.meaning and row.allowed and row.default and row.type for row in rows)
    by_key = {row.key: row for row in rows}
    assert by_key["hardware.coherence_time_s"].unit == "s"
    assert by_key["hardware.attenuation_db_per_km"].unit == "dB/km"
    assert by_key["topology.spacing_km"].unit == "km"
    assert by_key["hardware.visibility"].unit == ""
    assert by_key["hardware.dark_count_probability"].allowed == "a number >= 0 and <= 0.5"
    assert by_key["byzantine.attack"].allowed.startswith("one of none, sign_flip")
    assert by_key["consensus.tolerated_byzantine"].default == "(nodes - 1) // 3"


def test_presets_of_scenarios_are_those_of_the_file() -> None:
    annotation = HardwareSection.model_fields["preset"].annotation
    assert set(get_args(get_args(annotation)[0])) == set(preset_names())


def test_a_preset_gives_defaults_and_the_scenario_may_change_them() -> None:
    preset = load_preset("nv_centre")
    scenario = scenario_from_toml('[hardware]\npreset = "nv_centre"\nmultiplexing = 32\n')
    hardware = scenario.hardware
    assert hardware.device_efficiency == preset.device_efficiency
    assert hardware.multiplexing == 32
    assert hardware.one_qubit_error == 0.75 * (preset.one_qubit_depolarising or 0)
    assert hardware.coherence_time_s == pytest.approx(3 / (1 / 36_000 + 2 / 1.0))
    assert scenario_from_toml(scenario.to_toml()) == scenario


def test_nodes_of_the_ideal_preset_are_all_ideal() -> None:
    hardware = scenario_from_toml('[hardware]\npreset = "idealised"\n').hardware
    assert (hardware.device_efficiency, hardware.device_efficiency_spread) == (1.0, 0.0)
    assert (hardware.visibility, hardware.two_qubit_error, hardware.dark_count_probability) == (1.0, 0.0, 0.0)
    # Elsewhere nodes differ as they do without a preset.
    assert scenario_from_toml('[hardware]\npreset = "nv_centre"\n').hardware.device_efficiency_spread > 0.0


def test_the_coherence_time_of_a_preset_loses_fidelity_as_fast_as_its_memories_at_first() -> None:
    preset = load_preset("neutral_atom")
    memory = RelaxingMemory(
        relaxation_time_s=preset.relaxation_time_s or 0, dephasing_time_s=preset.dephasing_time_s or 0
    )
    coherence_s = preset_defaults("neutral_atom")[0]["coherence_time_s"]
    elapsed_s = 1e-4
    pair = np.array([1.0, 0.0, 0.0, 0.0])
    lost = 1 - relax_bell_diagonal(pair, elapsed_s, memory, memory)[0]
    assert lost == pytest.approx(0.75 * (1 - np.exp(-2 * elapsed_s / coherence_s)), rel=1e-4)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('preset = "nv_center"', 'found "nv_center".*, must be .*did you mean nv_centre'),
        ('preset = "trapped_ion"', "hardware.preset: no source states readout_error of trapped_ion; give a value"),
        ("preset = 3", "hardware.preset: found 3 .integer., must be"),
        ('protocol = "triple_click"', "hardware.protocol: found"),
        ("bright_state_probability = 1.5", "hardware.bright_state_probability: found 1.5"),
    ],
)
def test_impossible_hardware_is_told(text: str, message: str) -> None:
    with pytest.raises(ScenarioError, match=message):
        scenario_from_toml(f"[hardware]\n{text}\n")


def test_what_a_preset_lacks_can_be_given() -> None:
    scenario = scenario_from_toml('[hardware]\npreset = "trapped_ion"\nreadout_error = 0.01\n')
    assert scenario.hardware.readout_error == 0.01


def test_scenarios_and_the_network_have_the_same_largest_errors() -> None:
    largest = {"one_qubit_error": 0.74, "two_qubit_error": 0.74, "readout_error": 0.49}
    section = HardwareSection.model_validate(largest)
    assert HardwareParameters(**section.model_dump(include=set(largest))).readout_error == 0.49
    for name, value in largest.items():
        with pytest.raises(ValueError, match="less than or equal to"):
            HardwareSection.model_validate({name: value + 1e-6})
        with pytest.raises(DomainError, match=f"`{name}` must be in"):
            HardwareParameters(**{name: value + 1e-6})


def test_a_preset_replaces_the_defaults_of_a_complete_scenario_and_nothing_else() -> None:
    complete = load_scenario("quickstart", ["hardware.memory_slots=5", "hardware.readout_error=0.1"])
    chosen = complete.with_overrides(["hardware.preset=nv_centre"]).hardware
    fresh = load_scenario("quickstart", ["hardware.preset=nv_centre"]).hardware
    assert chosen.device_efficiency == fresh.device_efficiency != complete.hardware.device_efficiency
    assert chosen.two_qubit_error == fresh.two_qubit_error
    assert (chosen.memory_slots, chosen.readout_error) == (5, 0.1)
    back = complete.with_overrides(["hardware.preset=nv_centre"]).with_overrides(["hardware.preset=idealised"]).hardware
    assert back.device_efficiency == 1.0
    assert back.readout_error == 0.1
    # A key that is set beside the preset counts, also if it is the very default.
    both = complete.with_overrides(["hardware.device_efficiency=0.3", "hardware.preset=nv_centre"]).hardware
    assert both.device_efficiency == 0.3


def test_a_key_that_is_younger_than_a_scenario_leaves_its_identity() -> None:
    """The identity of `headline` from before claims could be believed."""
    scenario = load_scenario("headline").with_method("ceas").with_attack("none")
    assert scenario.scenario_id == "448e1dfae8afd57e"
    assert scenario.with_overrides(["aggregation.certification=joint_tests"]).scenario_id == scenario.scenario_id
    assert scenario.with_overrides(["aggregation.certification=none"]).scenario_id != scenario.scenario_id


@pytest.mark.parametrize(("n_qubits", "expected"), [(4, 1), (6, 1), (7, 0)])
def test_gradients_are_measured_in_every_round_of_small_circuits_only(n_qubits: int, expected: int) -> None:
    scenario = load_scenario("quickstart", [f"circuit.n_qubits={n_qubits}"])
    assert scenario.output.gradient_rounds == expected
    assert scenario.with_overrides(["circuit.n_qubits=7"]).output.gradient_rounds == 0
    told = scenario.with_overrides(["output.gradient_rounds=5"])
    assert told.output.gradient_rounds == 5
    assert told.scenario_id == scenario.scenario_id
