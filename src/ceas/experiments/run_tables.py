"""From what the runtime recorded to the tables and the summary of a run directory."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ceas import __version__
from ceas.authentication import forgery_bound, run_forgery_bound
from ceas.experiments.certificate import bound_certificate, smoothness_of
from ceas.experiments.circuit_account import circuit_summary, partition_summary
from ceas.experiments.result_tables import TABLE_COLUMNS, Columns
from ceas.experiments.results import RunResult
from ceas.experiments.scenario import Scenario
from ceas.learning import logistic_baseline
from ceas.learning.references import separable_accuracy
from ceas.network import Fate, RouteClass, pair_rate_hz
from ceas.network.records import VALUE_CLASSES
from ceas.physics import werner_to_fidelity
from ceas.runtime.certification import FALSE_ALARM
from ceas.runtime.consensus_protocols import PROTOCOLS
from ceas.runtime.cosimulation import CoSimulation
from ceas.runtime.rows import mean_of_measured
from ceas.runtime.totals import Totals
from ceas.runtime.world import World
from ceas.scheduling import fidelity_mean, fidelity_quantile
from ceas.streams import stream_seed

__all__ = ["run_result"]

_FATES = (Fate.LEARNING, Fate.KEY, Fate.TEST, Fate.EXPIRED, Fate.DISCARDED, Fate.ROUTE)
_LAST_EVALUATIONS = 5


def run_result(
    scenario: Scenario,
    world: World,
    simulation: CoSimulation,
    *,
    seed: int,
    command: str,
    wall_s: float,
    compile_s: float,
    pair_sampling: int,
) -> RunResult:
    """Gather a finished co-simulation into the tables and the summary of a run directory.

    Args:
        scenario: Scenario as run.
        world: Its world.
        simulation: The finished co-simulation.
        seed: Root seed.
        command: Command that repeats the run.
        wall_s: Wall time of the run (s).
        compile_s: Part of it that went into compilation (s).
        pair_sampling: Every k-th pair was traced; 0 for none.
    """
    rounds = _typed("rounds", simulation.history.rounds_table())
    learners = _typed("learners", simulation.history.learners_table())
    summary = {
        **_identity(scenario, seed, command),
        "circuit": circuit_summary(world.circuit, world.partition, ansatz=scenario.circuit.ansatz),
        "partition": partition_summary(world.circuit, world.partition),
        "engines": _engines(world),
        "data": _data(scenario, world),
        **_training_summary(scenario, world, simulation, rounds, seed=seed),
        **_pair_summary(simulation.totals),
        **_security_summary(scenario, world, simulation),
        "simulated_s": simulation.completed_rounds * world.network.clock.round_ns * 1e-9,
        "wall_s": wall_s,
        "compile_s": compile_s,
        "rooms_s": dict(simulation.seconds),
    }
    return RunResult(
        scenario=scenario,
        summary=summary,
        rounds=rounds,
        learners=learners,
        links=_links_table(world, simulation),
        nodes=_nodes_table(world, learners),
        pairs=_pairs_table(world, simulation),
        pair_sampling=pair_sampling,
        certificate=_certificate(scenario, world, simulation),
    )


def _certificate(scenario: Scenario, world: World, simulation: CoSimulation) -> dict[str, Any]:
    smoothness, least = smoothness_of(scenario, world.model, world.dataset.train_angles)
    return bound_certificate(scenario, simulation.update_errors.table(), smoothness=smoothness, least=least)


def _typed(name: str, columns: Mapping[str, NDArray[Any]]) -> Columns:
    """Give every column the type of its table; counts come from the runtime as floats."""
    return {column: np.asarray(columns[column]).astype(kind) for column, kind in TABLE_COLUMNS[name].items()}


def _identity(scenario: Scenario, seed: int, command: str) -> dict[str, Any]:
    return {
        "scenario_id": scenario.scenario_id,
        "scenario_name": scenario.name,
        "seed": seed,
        "method": scenario.aggregation.rule,
        "attack": scenario.byzantine.attack,
        "policy": scenario.schedule.policy,
        "ceas_version": __version__,
        "command": command,
    }


def _training_summary(
    scenario: Scenario, world: World, simulation: CoSimulation, rounds: Columns, *, seed: int
) -> dict[str, Any]:
    accuracy = rounds["test_accuracy"][np.isfinite(rounds["test_accuracy"])]
    return {
        "test_accuracy": float(accuracy[-1]),
        "test_accuracy_last5": float(accuracy[-_LAST_EVALUATIONS:].mean()),
        "test_accuracy_logistic": logistic_baseline(world.dataset),
        "test_accuracy_separable": separable_accuracy(
            world.model, world.dataset, n_layers=scenario.circuit.n_layers, seed=stream_seed(seed, "separable")
        ),
        "train_loss": simulation.final_train_loss(),
        "gradient_variance": mean_of_measured(rounds["gradient_squared_error"]),
        "gradient_alignment": mean_of_measured(rounds["gradient_alignment"]),
        "rounds": simulation.completed_rounds,
        "learners": world.n_learners,
        "shots": int(rounds["shots"].sum()),
    }


def _data(scenario: Scenario, world: World) -> dict[str, Any]:
    dataset = world.dataset
    return {
        "dataset": scenario.data.dataset,
        "source": dataset.source,
        "classes": list(dataset.class_names),
        "features": dataset.n_features,
        "training_samples": len(dataset.train_labels),
        "test_samples": len(dataset.test_labels),
    }


def _engines(world: World) -> dict[str, dict[str, str]]:
    chosen = zip(("ideal", "noisy"), world.computations.choices, strict=False)
    return {purpose: {"engine": choice.name, "reason": choice.reason} for purpose, choice in chosen}


def _pair_summary(totals: Totals) -> dict[str, Any]:
    fates = totals.fates.sum(axis=0)
    generated = int(totals.generated.sum())
    served = int(fates[[Fate.LEARNING, Fate.KEY, Fate.TEST]].sum() + totals.route_used.sum())
    uses = totals.fidelity_at_use.sum(axis=0)
    value = dict(zip(VALUE_CLASSES, totals.delivered_value.tolist(), strict=True))
    return {
        "generated_pairs": generated,
        "bell_pair_utilisation": served / generated if generated else float("nan"),
        "delivered_value": sum(value.values()),
        "delivered_value_by_class": value,
        "fates": {fate.name.lower(): int(fates[fate]) for fate in (*_FATES, Fate.ALIVE)},
        "routes": {
            "requested": int(totals.route_requested.sum()),
            "served": int(totals.route_served.sum()),
            "pairs": int(fates[Fate.ROUTE]),
            "pairs_used": int(totals.route_used.sum()),
        },
        "background": {
            "requested": int(totals.route_requested[RouteClass.BACKGROUND]),
            "served": int(totals.route_served[RouteClass.BACKGROUND]),
        },
        "fidelity_at_use": {"mean": float(fidelity_mean(uses)), "p05": float(fidelity_quantile(uses, 0.05))},
    }


def _security_summary(scenario: Scenario, world: World, simulation: CoSimulation) -> dict[str, Any]:
    totals = simulation.totals
    n_nodes = world.topology.n_nodes
    n_node_pairs = n_nodes * (n_nodes - 1) // 2
    return {
        "key_bits": {
            "generated": int(totals.key_bits_generated.sum() + totals.route_key_bits[0]),
            "over_routes": int(totals.route_key_bits[0]),
            "consumed": totals.key_bits_consumed,
            "enrolled": scenario.authentication.enrolled_key_bits * n_node_pairs,
        },
        "authentication": {
            "profile": scenario.authentication.profile,
            "starved_frames": totals.starved_frames,
            "starved_links": int((totals.starved_links > 0).sum()),
            "rejected_frames": totals.rejected_frames,
            "longest_frame_bytes": totals.longest_frame_bytes,
            # One attempt, and any of all attempts that closing links allow; see docs/keys.md for what comes on top.
            "forgery_bound_per_attempt": forgery_bound(totals.longest_frame_bytes, scenario.authentication.profile),
            "forgery_bound": run_forgery_bound(n_nodes, totals.longest_frame_bytes, scenario.authentication.profile),
        },
        "consensus": {
            "protocol": PROTOCOLS[scenario.consensus.protocol].description,
            "timing": "safe on any network; ends once messages arrive in time",
            "tolerated": scenario.consensus.tolerated_byzantine,
            "frames": totals.frames,
            "message_delays": totals.message_delays,
            "most_views": totals.most_views,
            "rounds_unconcluded": totals.unconcluded_rounds,
            "rounds_late": totals.late_rounds,
            "rounds_paused": totals.paused_rounds,
            "rounds_without_frames": totals.shortened_rounds,
        },
        "certification": {
            "flagged_links": int((totals.flagged_rounds > 0).sum()),
            "flagged_link_rounds": int(totals.flagged_rounds.sum()),
            "flagged_nodes": _flagged_nodes(world, totals),
            "false_alarm_per_link_and_round": FALSE_ALARM,
        },
        "byzantine": {
            "n": int(world.is_byzantine.sum()),
            "attack": scenario.byzantine.attack,
            "tolerated": scenario.aggregation.tolerated_byzantine,
            "nodes": np.flatnonzero(world.is_byzantine).tolist(),
        },
    }


def _flagged_nodes(world: World, totals: Totals) -> list[int]:
    """Return the nodes whose links to at least half of their peers were flagged; a flag is one of both ends."""
    links, n_nodes = world.network.links, world.topology.n_nodes
    flagged, peers = np.zeros(n_nodes, np.int64), np.zeros(n_nodes, np.int64)
    for ends in (links.node_a, links.node_b):
        np.add.at(flagged, ends, totals.flagged_rounds > 0)
        np.add.at(peers, ends, 1)
    return np.flatnonzero((flagged > 0) & (flagged > (peers - 1) // 2)).tolist()


def _links_table(world: World, simulation: CoSimulation) -> Columns:
    links, totals = world.network.links, simulation.totals
    fates = totals.fates
    return {
        "link": np.arange(links.n_links),
        "node_a": links.node_a.astype(np.int64),
        "node_b": links.node_b.astype(np.int64),
        "length_km": links.length_km,
        "attempt_rate_hz": 1e9 / links.attempt_period_ns,
        "success_probability": links.success_probability,
        "pair_rate_hz": pair_rate_hz(links),
        "initial_fidelity": werner_to_fidelity(links.initial_werner),
        "generated": totals.generated,
        **{fate.name.lower(): fates[:, fate] for fate in (*_FATES, Fate.ALIVE)},
        "fidelity_at_use_mean": _fidelity_of_links(totals),
        "certified_werner": simulation.certified_werner(),
        "key_bits_generated": np.floor(totals.key_bits_generated).astype(np.int64),
        "key_bits_consumed": totals.key_bits_consumed_by_link,
        "starved": totals.starved_links,
        "flagged_rounds": totals.flagged_rounds,
    }


def _fidelity_of_links(totals: Totals) -> NDArray[np.float64]:
    used = totals.used_count
    werner = np.divide(totals.used_werner_sum, used, out=np.full(used.shape, np.nan), where=used > 0)
    fidelity: NDArray[np.float64] = (1.0 + 3.0 * werner) / 4.0
    return fidelity


def _nodes_table(world: World, learners: Columns) -> Columns:
    topology, nodes = world.topology, world.network.nodes
    shape = (-1, world.n_learners)
    return {
        "node": np.arange(topology.n_nodes),
        "label": np.array(topology.labels, dtype=object),
        "latitude_deg": topology.latitude_deg,
        "longitude_deg": topology.longitude_deg,
        "x": topology.position[:, 0],
        "y": topology.position[:, 1],
        "coherence_time_s": nodes.coherence_time_s,
        "memory_slots": nodes.memory_slots.astype(np.int64),
        "one_qubit_error": nodes.one_qubit_error,
        "two_qubit_error": nodes.two_qubit_error,
        "readout_error": nodes.readout_error,
        "is_byzantine": world.is_byzantine,
        "learner_link": world.network.demand.learner_link.astype(np.int64),
        "lender": world.lender.astype(np.int64),
        "shots": learners["shots"].reshape(shape).sum(axis=0),
        "mean_weight": learners["weight"].reshape(shape).mean(axis=0),
        "mean_contraction": _column_means(learners["contraction"].reshape(shape)),
    }


def _column_means(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean of the finite values of each column, NaN for a column without any."""
    is_finite = np.isfinite(values)
    counts = is_finite.sum(axis=0)
    totals = np.where(is_finite, values, 0.0).sum(axis=0)
    means: NDArray[np.float64] = np.divide(totals, counts, out=np.full(counts.shape, np.nan), where=counts > 0)
    return means


def _pairs_table(world: World, simulation: CoSimulation) -> Columns:
    pairs, links = simulation.history.pairs_table(), world.network.links
    names = np.array([fate.name.lower() for fate in Fate], dtype=object)
    return {
        "pair_id": pairs["pair_id"],
        "link": pairs["link"],
        "node_a": links.node_a[pairs["link"]],
        "node_b": links.node_b[pairs["link"]],
        "birth_ns": pairs["birth_ns"],
        "end_ns": pairs["end_ns"],
        "fate": names[pairs["fate"]],
        "user": pairs["user"],
        "shot": pairs["shot"],
        "fidelity_at_end": (1.0 + 3.0 * pairs["werner_at_end"]) / 4.0,
    }
