"""Synthetic run and comparison directories in the format that experiments write."""

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ceas.experiments.comparison_store import ComparedScenario, note_compared
from ceas.experiments.result_tables import TABLE_COLUMNS, write_table
from ceas.experiments.results import RunResult, write_run
from ceas.experiments.scenario import load_scenario
from ceas.experiments.schedule_store import StudyTables, gather_study, parameters_text, write_study
from ceas.network.topology import surfnet
from ceas.streams import stream

N_ROUNDS = 100
ATTACKERS = (4, 11, 17, 23, 24, 30, 38, 41, 45, 49)
HOSTILE_NAME = 'headline <script>alert("x")</script> & co'


def link_columns(rng: np.random.Generator, edges: np.ndarray, length_km: np.ndarray) -> dict[str, Any]:
    n_links = len(edges)
    unused = rng.random(n_links) < 0.12
    rate = np.where(unused, 0.0, 90 * np.exp(-length_km / 30) * rng.lognormal(0, 0.3, n_links))
    generated = (rate * N_ROUNDS).astype(np.int64)
    shares = rng.dirichlet([60, 14, 6, 14, 5], n_links)
    fates = (generated[:, None] * shares).astype(np.int64)
    initial = np.clip(0.99 - 0.0004 * length_km - rng.exponential(0.01, n_links), 0.82, 1)
    at_use = np.where(unused, np.nan, initial - rng.gamma(2.0, 0.008, n_links))
    bits = fates[:, 1] * rng.uniform(0.3, 0.6, n_links)
    return {
        "link": np.arange(n_links),
        "node_a": edges[:, 0],
        "node_b": edges[:, 1],
        "length_km": length_km * 1.5,
        "attempt_rate_hz": np.full(n_links, 4.0e5),
        "success_probability": np.exp(-length_km / 22) * 1e-3,
        "pair_rate_hz": rate,
        "initial_fidelity": initial,
        "generated": generated,
        "learning": fates[:, 0],
        "key": fates[:, 1],
        "test": fates[:, 2],
        "expired": fates[:, 3],
        "discarded": fates[:, 4],
        "route": np.zeros(len(fates), dtype=np.int64),
        "alive": generated - fates.sum(axis=1),
        "fidelity_at_use_mean": at_use,
        "certified_werner": (4 * at_use - 1) / 3 + 0.01,
        "key_bits_generated": bits.astype(np.int64),
        "key_bits_consumed": np.where(unused, 512, np.minimum(bits + 900, 1400.0)).astype(np.int64),
        "starved": np.where(unused, 37, 0),
    }


def learner_columns(rng: np.random.Generator, n_rounds: int, n_nodes: int) -> dict[str, Any]:
    size = n_rounds * n_nodes
    learner = np.tile(np.arange(n_nodes), n_rounds)
    byzantine = np.isin(learner, ATTACKERS)
    base = np.tile(rng.beta(6, 4, n_nodes), n_rounds)
    true = np.clip(base + rng.normal(0, 0.02, size), 0.05, 0.98)
    claimed = np.where(byzantine, np.clip(true * 1.8, 0, 1), np.clip(true + rng.normal(0, 0.01, size), 0, 1))
    certified = np.minimum(claimed, true + 0.03)
    shots = rng.poisson(np.tile(rng.uniform(20, 200, n_nodes), n_rounds))
    information = shots * certified**2
    weight = np.where(byzantine, 0.15, 1.0) * information
    weight = weight.reshape(n_rounds, n_nodes)
    weight = (weight / weight.sum(axis=1, keepdims=True)).ravel()
    return {
        "round": np.repeat(np.arange(n_rounds), n_nodes),
        "learner": learner,
        "shots": shots,
        "contraction": true,
        "claimed_contraction": claimed,
        "certified_contraction": certified,
        "claimed_information": shots * claimed**2,
        "information": information,
        "quantum_fisher": information * 0.8,
        "weight": weight,
        "update_norm": rng.lognormal(0, 0.2, size),
        "is_byzantine": byzantine,
    }


def round_columns(rng: np.random.Generator, n_rounds: int, learners: dict[str, Any]) -> dict[str, Any]:
    r = np.arange(n_rounds)
    counts = rng.poisson([1500, 360, 150, 340, 120], (n_rounds, 5))
    evaluated = (r % 5 == 4) | (r == 0)
    accuracy = 0.93 - 0.66 * np.exp(-r / 16) + rng.normal(0, 0.012, n_rounds)
    loss = 0.28 + 1.1 * np.exp(-r / 18)
    weight = np.where(learners["is_byzantine"], learners["weight"], 0).reshape(n_rounds, -1).sum(axis=1)
    served = counts[:, :3].sum(axis=1)
    fidelity = 0.945 + rng.normal(0, 0.003, n_rounds)
    return {
        "round": r,
        "time_s": (r + 1) * 1.0,
        "generated": counts.sum(axis=1) + rng.integers(-20, 20, n_rounds),
        "learning": counts[:, 0],
        "key": counts[:, 1],
        "test": counts[:, 2],
        "expired": counts[:, 3],
        "discarded": counts[:, 4],
        "route": np.zeros(len(counts), dtype=np.int64),
        "alive": rng.integers(60, 110, n_rounds),
        "utilisation": served / counts.sum(axis=1),
        "delivered_value_learning": counts[:, 0] * 0.4,
        "delivered_value_key": counts[:, 1] * 0.1,
        "delivered_value_test": counts[:, 2] * 0.02,
        "delivered_value_background": np.zeros(len(counts)),
        "fidelity_at_use_mean": fidelity,
        "fidelity_at_use_p05": fidelity - 0.055,
        "shots": counts[:, 0] // 3,
        "test_accuracy": np.where(evaluated, accuracy, np.nan),
        "test_loss": np.where(evaluated, loss + 0.04, np.nan),
        "train_loss": loss + rng.normal(0, 0.03, n_rounds),
        "gradient_squared_error": rng.lognormal(-6, 0.3, n_rounds),
        "gradient_alignment": np.clip(0.9 + rng.normal(0, 0.03, n_rounds), -1, 1),
        "key_bits_generated": counts[:, 1] // 2,
        "key_bits_consumed": rng.poisson(150, n_rounds),
        "frames": np.full(n_rounds, 2450),
        "starved_frames": rng.poisson(3, n_rounds),
        "rejected_frames": rng.poisson(1, n_rounds),
        "delivered_updates": np.full(n_rounds, 50),
        "byzantine_weight": weight,
        "information_total": learners["information"].reshape(n_rounds, -1).sum(axis=1),
        "quantum_fisher_mean": rng.uniform(20, 30, n_rounds),
        "consensus_views": np.ones(n_rounds, np.int64),
        "consensus_s": np.full(n_rounds, 0.012),
    }


def node_columns(rng: np.random.Generator, position: np.ndarray, learners: dict[str, Any]) -> dict[str, Any]:
    n_nodes = len(position)

    def mean(name: str) -> np.ndarray:
        means: np.ndarray = np.asarray(learners[name]).reshape(-1, n_nodes).mean(axis=0)
        return means

    return {
        "node": np.arange(n_nodes),
        "label": [f"<b>city</b> {i}" for i in range(n_nodes)],
        "latitude_deg": np.full(n_nodes, np.nan),
        "longitude_deg": np.full(n_nodes, np.nan),
        "x": position[:, 0],
        "y": position[:, 1],
        "coherence_time_s": rng.lognormal(np.log(0.08), 0.3, n_nodes),
        "memory_slots": np.full(n_nodes, 8),
        "one_qubit_error": rng.lognormal(-7, 0.3, n_nodes),
        "two_qubit_error": rng.lognormal(-5, 0.3, n_nodes),
        "readout_error": rng.lognormal(-5, 0.3, n_nodes),
        "is_byzantine": np.isin(np.arange(n_nodes), ATTACKERS),
        "learner_link": rng.integers(0, 68, n_nodes),
        "lender": rng.integers(0, n_nodes, n_nodes),
        "shots": np.asarray(learners["shots"]).reshape(-1, n_nodes).sum(axis=0),
        "mean_weight": mean("weight"),
        "mean_contraction": mean("contraction"),
    }


def pair_columns(rng: np.random.Generator, edges: np.ndarray, n_pairs: int = 3000) -> dict[str, Any]:
    birth = np.sort(rng.integers(0, N_ROUNDS * 10**9, n_pairs))
    fate = rng.choice(["learning", "key", "test", "expired", "discarded"], n_pairs, p=[0.6, 0.15, 0.06, 0.13, 0.06])
    life_ns = np.where(fate == "expired", rng.normal(42e6, 3e6, n_pairs), rng.exponential(11e6, n_pairs))
    link = rng.integers(0, len(edges), n_pairs)
    return {
        "pair_id": np.arange(n_pairs) * 25,
        "link": link,
        "node_a": edges[link, 0],
        "node_b": edges[link, 1],
        "birth_ns": birth,
        "end_ns": birth + np.maximum(life_ns, 1e5).astype(np.int64),
        "fate": fate.tolist(),
        "user": np.where(fate == "learning", edges[link, 0], -1),
        "shot": np.where(fate == "learning", np.arange(n_pairs), -1),
        "fidelity_at_end": (0.97 * np.exp(-life_ns / 4e8)).astype(np.float32),
    }


def result_document(rounds: dict[str, Any], scenario_name: str) -> dict[str, Any]:
    accuracy = rounds["test_accuracy"][np.isfinite(rounds["test_accuracy"])]
    fates = {name: int(np.sum(rounds[name])) for name in ("learning", "key", "test", "expired", "discarded")}
    served = fates["learning"] + fates["key"] + fates["test"]
    return {
        "scenario_id": "b7c91f20aa31",
        "scenario_name": scenario_name,
        "seed": 7,
        "method": "fidelity_weighted",
        "attack": "inner_product_manipulation",
        "policy": "ceas",
        "ceas_version": "0.1.0",
        "test_accuracy": accuracy[-1],
        "test_accuracy_last5": float(np.mean(accuracy[-5:])),
        "train_loss": float(rounds["train_loss"][-1]),
        "bell_pair_utilisation": served / sum(fates.values()),
        "delivered_value": 64_000.0,
        "delivered_value_by_class": {"learning": 60_000.0, "key": 3_600.0, "test": 400.0, "background": 0.0},
        "generated_pairs": int(np.sum(rounds["generated"])),
        "fates": {**fates, "route": 0, "alive": 84},
        "routes": {"requested": 0, "served": 0, "pairs": 0, "pairs_used": 0},
        "background": {"requested": 0, "served": 0},
        "fidelity_at_use": {"mean": 0.945, "p05": 0.89},
        "gradient_variance": 0.0025,
        "gradient_alignment": 0.9,
        "key_bits": {"generated": 16_200.0, "over_routes": 0, "consumed": 15_000.0, "enrolled": 17_408.0},
        "authentication": {"profile": "qkd_seeded", "starved_frames": 300, "starved_links": 7, "rejected_frames": 96},
        "consensus": {
            "protocol": "TetraBFT",
            "timing": "partially synchronous",
            "tolerated": 16,
            "frames": 245_000,
            "message_delays": 8,
            "most_views": 2,
            "rounds_unconcluded": 0,
            "rounds_late": 0,
            "rounds_paused": 0,
        },
        "byzantine": {
            "n": len(ATTACKERS),
            "attack": "inner_product_manipulation",
            "tolerated": 12,
            "nodes": list(ATTACKERS),
        },
        "rounds": N_ROUNDS,
        "learners": 50,
        "shots": int(np.sum(rounds["shots"])),
        "simulated_s": 100.0,
        "wall_s": 41.7,
        "compile_s": 9.2,
        "rooms_s": {
            "network": 6.1,
            "learning": 14.9,
            "consensus": 5.0,
            "aggregation": 1.2,
            "evaluation": 2.1,
            "other": 3.2,
        },
        "command": "ceas run headline --seed 7 --set byzantine.n_byzantine=10",
        "test_accuracy_logistic": 0.944,
        "test_accuracy_separable": 0.917,
        "circuit": {
            "ansatz": "hardware_efficient",
            "qubits": 2,
            "parameters": 4,
            "inputs": 2,
            "gates": {"ry": 4, "rz": 2, "cnot": 2},
            "two_qubit_gates": 2,
            "depth": 5,
            "drawing": [
                "q0 @ QPU 0: ─RY(x0)─RY(θ0)─RZ(θ1)─╭●«0»─╭⊕«1»─",
                "q1 @ QPU 1: ─RY(x1)─RY(θ2)─RZ(θ3)─╰⊕────╰●────",
                "",
                "pair 0: copies q0 in Z from QPU 0 to QPU 1 for 1 gate",
                "pair 1: copies q1 in Z from QPU 1 to QPU 0 for 1 gate",
            ],
        },
        "partition": {
            "kind": "qubit",
            "qpus": 2,
            "first_qpus": [0, 1],
            "readout_qpus": [0, 1],
            "telegates": 2,
            "teledata": 0,
            "pairs_per_shot": 2,
        },
        "engines": {
            "ideal": {"engine": "heisenberg", "reason": "heisenberg is predicted to take 0.001 s, trajectories 1 s."},
            "noisy": {"engine": "heisenberg", "reason": "trajectories needs 99 GiB."},
        },
        "data": {
            "dataset": "file",
            "source": "file a<b>.csv, SHA-256 0123",
            "classes": ["0", "<i>", "2", "3"],
            "features": 2,
            "training_samples": 1078,
            "test_samples": 539,
        },
    }


def completed(name: str, columns: dict[str, Any]) -> dict[str, Any]:
    """Add the columns of a table that no report reads, so that the fixture need not follow every one of them."""
    n_rows = len(next(iter(columns.values())))
    unread = {key: np.zeros(n_rows, kind) for key, kind in TABLE_COLUMNS[name].items() if key not in columns}
    return {**columns, **unread}


def certificate_document(rng: np.random.Generator, n_steps: int = N_ROUNDS) -> dict[str, Any]:
    """Return a certificate as far as a report reads it."""
    steps = np.arange(1, n_steps + 1)
    measured, bound = 0.1 + 0.3 / steps, 0.4 + 150 / steps
    return {
        "status": "certified",
        "reasons": [],
        "holds": True,
        "looseness": float(measured[-1] / bound[-1]),
        "contradicted": [],
        "exceeded_at_steps": [],
        "constants": {"kappa": {"value": 1 / 3, "side": "upper", "source": "kappa_bound"}},
        "curves": {"round": steps - 1, "measured": measured, "bound": bound},
        "measurements": {"round": steps - 1, "kappa": rng.uniform(0.001, 0.2, n_steps)},
    }


def synthetic_run(*, seed: int = 7, scenario_name: str = HOSTILE_NAME) -> RunResult:
    rng = stream(seed, "synthetic run")
    topology = surfnet()
    learners = learner_columns(rng, N_ROUNDS, topology.n_nodes)
    rounds = round_columns(rng, N_ROUNDS, learners)
    return RunResult(
        scenario=load_scenario("headline"),
        summary={**result_document(rounds, scenario_name), "seed": seed},
        rounds=completed("rounds", rounds),
        learners=completed("learners", learners),
        links=completed("links", link_columns(rng, topology.edges, topology.length_km * 1.5)),
        nodes=completed("nodes", node_columns(rng, topology.position, learners)),
        pairs=completed("pairs", pair_columns(rng, topology.edges)),
        pair_sampling=25,
        certificate=certificate_document(rng),
    )


def written(directory: Path, result: RunResult) -> Path:
    write_run(directory, result)
    return directory


METHODS = ("fidelity_weighted", "mean", "coordinate_median", "krum")
ATTACKS = ("none", "sign_flip", "inner_product_manipulation")


LEVEL = {"fidelity_weighted": 0.92, "mean": 0.90, "coordinate_median": 0.88, "krum": 0.82}
HARM = {"none": 0.0, "sign_flip": 0.10, "inner_product_manipulation": 0.25}


def comparison_row(rng: np.random.Generator, key: dict[str, Any], accuracy: float) -> dict[str, Any]:
    return {
        **key,
        "test_accuracy": accuracy + rng.normal(0, 0.005),
        "test_accuracy_last5": accuracy,
        # What the seed's data give is the same for all methods and attacks.
        "test_accuracy_logistic": 0.93 + 0.004 * key["seed"],
        "test_accuracy_separable": 0.90 + 0.002 * key["seed"],
        "train_loss": 1.5 - accuracy,
        "gradient_variance": 0.002 / accuracy,
        "gradient_alignment": accuracy,
        "bell_pair_utilisation": 0.81 + rng.normal(0, 0.004),
        "delivered_value": 64_000 + rng.normal(0, 400),
        "value_learning": 61_000.0,
        "byzantine_weight": 0.04 if key["method"] == "fidelity_weighted" else 0.2,
        "ceas_version": "0.1.0",
        "wall_s": 41.0,
        "learners": 50,
        "n_byzantine": 0 if key["attack"] == "none" else 10,
    }


def columns(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {name: [row[name] for row in rows] for name in rows[0]}


def write_comparison(directory: Path, *, n_seeds: int = 5, scenario_ids: tuple[str, ...] = ("b7c91f20aa31",)) -> Path:
    directory.mkdir(parents=True)
    rng = stream(3, "synthetic comparison")
    rows, curves = [], []
    for scenario_id in scenario_ids:
        for method, attack, seed in product(METHODS, ATTACKS, range(n_seeds)):
            key = {"scenario_id": scenario_id, "method": method, "attack": attack, "seed": seed}
            harm = HARM[attack] * (0.1 if method == "fidelity_weighted" else 1.0)
            accuracy = LEVEL[method] - harm + rng.normal(0, 0.015)
            rows.append(comparison_row(rng, key, accuracy))
            for r in range(4, N_ROUNDS, 5):
                value = accuracy - (accuracy - 0.25) * np.exp(-r / 18) + rng.normal(0, 0.01)
                share = 0.04 if method == "fidelity_weighted" else 0.2
                weight = 0.0 if attack == "none" else share + 0.004 * np.sin(r + 2 * seed)
                curves.append({**key, "round": r, "test_accuracy": float(value), "byzantine_weight": float(weight)})
    command = "ceas compare headline --methods fidelity_weighted,mean --seeds 5"
    write_table(directory / "compare.parquet", "compare", completed("compare", columns(rows)))
    write_table(directory / "compare_curves.parquet", "compare_curves", columns(curves))
    for scenario_id in scenario_ids:
        variants = dict.fromkeys(product(METHODS, ATTACKS), scenario_id)
        compared = ComparedScenario(scenario_id=scenario_id, name="headline", command=command, variants=variants)
        note_compared(directory, compared)
    return directory


@pytest.fixture(scope="session")
def finished_run() -> RunResult:
    return synthetic_run()


@pytest.fixture(scope="session")
def run_directory(tmp_path_factory: pytest.TempPathFactory, finished_run: RunResult) -> Path:
    return written(tmp_path_factory.mktemp("runs") / "first", finished_run)


@pytest.fixture(scope="session")
def other_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    scenario = load_scenario("headline", ["schedule.policy=oldest_first"])
    other = replace(synthetic_run(seed=8, scenario_name="quiet"), scenario=scenario)
    return written(tmp_path_factory.mktemp("runs") / "second", other)


@pytest.fixture(scope="session")
def compare_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_comparison(tmp_path_factory.mktemp("comparisons") / "all")


# Policy, mean value and utilisation of its trials, and which of them are reported.
SCHEDULE_POLICIES = (
    ("ceas", ((0.6, 118.0), (0.98, 114.0), (0.99, 90.0)), (0, 1)),
    ("random", ((0.97, 105.0), (0.2, 40.0), (0.5, 100.0)), (0,)),
    ("on_demand", ((1.0, 108.0), (1.0, 100.0), (0.99, 107.0)), (0,)),
    ("static_tdma", ((0.99, 30.0),), (0,)),
)
SCHEDULE_ROUNDS, SCHEDULE_SEEDS = 10, (3, 4, 5)


def add_schedule_run(
    tables: StudyTables, key: dict[str, Any], used: float, value: float, rng: np.random.Generator
) -> None:
    seed, generated = key["seed"], 10_000
    fates = dict(
        zip(("learning", "key", "test"), (np.array([0.8, 0.15, 0.05]) * used * generated).round(), strict=True)
    )
    lost = generated - sum(fates.values())
    figures = {
        **{name: int(count) for name, count in fates.items()},
        "generated": generated,
        "expired": int(lost // 2),
        "discarded": int(lost - lost // 2),
        "route": 0,
        "alive": 0,
        "shots": 2600,
        "utilisation": used,
        "delivered_value": SCHEDULE_ROUNDS * (value + 10 * seed + rng.normal(0, 0.3)),
        "bounded_value": 5 * (value + 10 * seed),
        "bound": 5 * (125.0 + 10 * seed),
        "fidelity_at_use_mean": 0.94,
        "fidelity_at_use_p05": 0.9,
        "ceas_version": "0.1.0",
    }
    columns = {name: np.array([value]) for name, value in figures.items()}
    unread = {name: np.array([0.5]) for name in TABLE_COLUMNS["schedule"] if name not in {*columns, *key}}
    tables.add("schedule", key, {**columns, **unread})


def write_schedule(directory: Path, *, is_traced: bool = True) -> Path:
    topology, tables = surfnet(), StudyTables(directory)
    rows: list[tuple[str, str, dict[str, Any]]] = []
    for policy, trials, reported in SCHEDULE_POLICIES:
        rng = stream(11, "synthetic schedule", policy=len(rows))
        own = {"study_id": f"id of {policy}", "policy": policy}
        for index, (used, value) in enumerate(trials):
            columns = {
                "parameters": np.array([parameters_text({"lead": index, "is_shared": False})]),
                "utilisation": np.array([used]),
                "delivered_value": np.array([2 * value]),
                "bounded_value": np.array([2 * value]),
                "bound": np.array([250.0]),
            }
            for seed in (900_001, 900_002):
                tables.add("schedule_trials", {**own, "trial": index, "seed": seed}, columns)
        for index in reported:
            parameters = {"lead": index, "is_shared": False}
            rows.append((policy, own["study_id"], parameters))
            for seed in SCHEDULE_SEEDS:
                key = {**own, "parameters": parameters_text(parameters), "seed": seed}
                add_schedule_run(tables, key, *trials[index], rng)
            key["seed"] = SCHEDULE_SEEDS[0]
            links = link_columns(rng, topology.edges, topology.length_km)
            kept = {name: links[name] for name in TABLE_COLUMNS["schedule_links"] if name in links}
            tables.add("schedule_links", key, kept)
            nodes = {
                "label": np.array([HOSTILE_NAME, *topology.labels[1:]], dtype=object),
                "node": np.arange(topology.n_nodes),
                "x": topology.position[:, 0],
                "y": topology.position[:, 1],
            }
            size = np.ones(topology.n_nodes, np.int64)
            unread = dict.fromkeys(("memory_slots", "learner_link", "shots", "coherence_time_s"), size)
            tables.add("schedule_nodes", key, {**nodes, **unread})
            waits_s = np.geomspace(1e-6, 1e-2, 40) * (1 + len(rows))
            for use in ("shot", "key"):
                count = rng.integers(1, 1000, 40)
                tables.add("schedule_waits", {**key, "use": use}, {"count": count, "wait_s": waits_s})
            pairs = pair_columns(rng, topology.edges)
            pairs["link"] %= 3
            if is_traced:
                columns = {name: pairs[name] for name in TABLE_COLUMNS["schedule_pairs"] if name in pairs}
                tables.add("schedule_pairs", key, columns)
    study = gather_study(
        tables,
        scenario=load_scenario("headline"),
        entries=rows,
        seeds=SCHEDULE_SEEDS,
        rounds=SCHEDULE_ROUNDS,
        tuning_rounds=2,
        bound_rounds=5,
        command="ceas schedule headline --seeds 3",
    )
    write_study(directory, study)
    return directory


@pytest.fixture(scope="session")
def schedule_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_schedule(tmp_path_factory.mktemp("studies") / "study")


@pytest.fixture(scope="session")
def write_study_directory() -> Callable[..., Path]:
    return write_schedule


def benchmark_rows() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = [
        {"table": "S1 closed forms", "supply": 1.0, "U oldest first": 0.9, "note": '<script>alert("x")</script>'}
    ]
    settings = (("S2 load 0.7", 0.8, "ahead by 12.0 s.e."), ("S2 load 1.1", 0.7, "BASELINE AHEAD by 4.0 s.e."))
    others = (
        ("S2 load 1.3", 0.6, "not told apart (ahead by 1.2 s.e.)"),
        ("S2 small", 0.6, "ahead, too few instances to judge"),
    )
    for setting, value, verdict in (*settings, *others):
        sign = -1 if verdict.startswith("BASELINE") else 1
        for policy, own, used in (("ceas", value, 0.7), ("random", value - sign * 0.1, 0.9), ("tdma", 0.3, 1.0)):
            rows.append(
                {
                    "table": "S2 policies",
                    "setting": setting,
                    "policy": policy,
                    "U": used,
                    "V": own,
                    "of LP": own / 0.9 if setting != "S2 small" else None,
                    "of online bound": own / 0.85 if setting != "S2 small" else None,
                    "seeds": 10,
                    "parameters": "lead=1",
                }
            )
        for policy, used, own in (
            ("ceas", 0.7, value),
            ("nobody above (dual)", 0.6, 0.95),
            ("nobody above (dual)", 1.0, 0.8),
        ):
            table = "S2 frontier of U and V, tuning instances"
            rows.append(
                {"table": table, "setting": setting, "policy": policy, "U": used, "V": own, "parameters": "lead=2"}
            )
        rows.append(
            {
                "table": "verdicts",
                "setting": setting,
                "policy": "ceas",
                "U": 0.7,
                "V": value,
                "best baseline": "random",
                "its U": 0.9,
                "its V": value - sign * 0.1,
                "difference": sign * 0.1,
                "s.e.": 0.01,
                "verdict": verdict,
                "of LP": value / 0.9 if setting != "S2 small" else None,
                "of online bound": value / 0.85 if setting != "S2 small" else None,
            }
        )
    return rows


@pytest.fixture(scope="session")
def benchmark_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("benchmarks") / "benchmark"
    directory.mkdir()
    (directory / "rows.json").write_text(json.dumps({"rows": benchmark_rows()}), "utf-8")
    return directory


def learning_benchmark_rows() -> list[dict[str, Any]]:
    """Return rows with a peer extrapolated, one out of memory, one absent, and a target missed."""
    rows: list[dict[str, Any]] = [
        {"table": "machine", "fact": "processor", "value": '<script>alert("x")</script>'},
        {"table": "machine", "fact": "load before", "value": "0.10 0.20 0.30"},
    ]
    for kind, qubits, program, option, fastest, status, run_ms, times in (
        ("noisy", 4, "ceas", "Heisenberg", "yes", "ok", 1.5, 1.0),
        ("noisy", 4, "tensorcircuit-ng DMCircuit", "vmap", "", "ok", 90.0, 60.0),
        ("noisy", 4, "tensorcircuit-ng DMCircuit", "map over learners", "yes", "ok", 60.0, 40.0),
        ("noisy", 4, "pennylane default.mixed", "vmap", "yes", "ok", 450.0, 300.0),
        ("noisy", 8, "ceas", "Heisenberg", "yes", "ok", 200.0, 1.0),
        ("noisy", 8, "tensorcircuit-ng DMCircuit", "vmap", "", "out of memory (more than 16 GB)", None, None),
        (
            *("noisy", 8, "pennylane default.mixed", "map over learners", "yes"),
            "ok, times extrapolated from 5 of 50 learners: too slow (more than 300 s)",
            *(5e5, 2500.0),
        ),
        ("pure", 10, "ceas pure", "adjoint", "yes", "ok", 100.0, 1.0),
        ("pure", 10, "ceas Heisenberg", "one table", "yes", "ok", 900.0, 9.0),
        ("pure", 10, "pennylane lightning.qubit", "", "", "not installed (pip install -e '.[bench]')", None, None),
        ("pure", 10, "pennylane default.qubit", "vmap", "yes", "ok", 50.0, 0.5),
    ):
        rows.append(
            {
                "table": kind,
                "qubits": qubits,
                "program": program,
                "option": option,
                "fastest": fastest,
                "status": status,
                "run_ms": run_ms,
                "times_ceas": times,
                "peak_mb": 300.0,
            }
        )
    for program, bound, measured, verdict in (
        ("tensorcircuit-ng DMCircuit", 50.0, 40.0, "MISSED"),
        ("pennylane default.mixed", 200.0, 300.0, "reached"),
    ):
        words = "times our time, at least"
        target = {"table": "targets", "qubits": 4, "program": program, "quantity": words, "bound": bound}
        rows.append({**target, "measured": measured, "verdict": verdict})
    for qubits in (4, 8):
        for layers in (1, 3):
            for learners in (1, 50):
                ended = (qubits, layers, learners) != (8, 3, 50)
                rows.append(
                    {
                        "table": "scaling",
                        "qubits": qubits,
                        "layers": layers,
                        "learners": learners,
                        "run_ms": 0.1 * qubits * layers * learners if ended else None,
                        "peak_mb": 250.0 + learners,
                        "status": "ok" if ended else "out of memory (more than 16 GB)",
                    }
                )
    rows += [
        {"table": "rates", "quantity": "float32 matrix product (Gflop/s), by numpy", "value": 80.0},
        {"table": "rates", "quantity": "memory, a = b + s c in large arrays (GB/s)", "value": 10.0},
    ]
    for qubits, gflops in ((4, 0.5), (8, 8.0)):
        row = {"table": "roofline", "qubits": qubits, "flop_per_byte": 0.2 * qubits, "gbytes_per_s": 20.0}
        rows.append({**row, "gflops": gflops, "share": gflops / (4.0 * qubits), "bound_by": "memory"})
    for program, verdict in (("pennylane default.mixed", "agrees"), ("tensorcircuit-ng DMCircuit", "DISAGREES")):
        row = {"table": "agreement", "work": "noisy", "qubits": 4, "program": program, "allowed": 1e-5}
        rows.append({**row, "loss_difference": 1e-7, "gradient_difference": 1e-3, "verdict": verdict})
    return rows


@pytest.fixture(scope="session")
def learning_benchmark_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("learning") / "benchmark"
    directory.mkdir()
    document = {"benchmark": "learning", "rows": learning_benchmark_rows(), "is_quick": False}
    (directory / "rows.json").write_text(json.dumps(document), "utf-8")
    return directory
