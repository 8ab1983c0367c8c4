"""The repeater of `repeater_benchmark` in other programs: SeQUeNCe and SimQN, where they are installed.

SimQN is a kernel on which users write their protocols; its own distribution app knows no heralding. So the repeater is
written on it as its documentation advises: with events of one's own (`Event` with `invoke`, which is much faster than
wrapping functions), its Werner pairs and its default event pool, the fastest of its three here. It runs twice: with one
event an attempt, as attempts come, and with failed attempts skipped, which a user who knows the law can do by hand.

SeQUeNCe brings its own protocols (Barrett-Kok generation with negotiation of each attempt, swapping, reservation), and
these are used: a network configuration, `RouterNetTopo` and a `RequestApp`. Its swap takes the fidelities of the two
pairs at their birth and a fixed factor, so a pair's storage leaves no trace in its fidelity. Both its rate and its
fidelity are therefore of another protocol, and no agreement is to be expected.
"""

import json
import math
import tempfile
from collections import deque
from collections.abc import Callable, Mapping
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from ceas.errors import DomainError
from ceas.experiments.repeater_benchmark import Repeater, RepeaterRun, timed

__all__ = ["PEERS", "run_sequence", "run_simqn", "run_simqn_skipping"]


def run_simqn(repeater: Repeater, n_batches: int, batch_s: float, seed: int) -> RepeaterRun:
    """Run the repeater in SimQN with one event for each attempt."""
    return _run_simqn(repeater, n_batches, batch_s, seed, is_skipping=False)


def run_simqn_skipping(repeater: Repeater, n_batches: int, batch_s: float, seed: int) -> RepeaterRun:
    """Run the repeater in SimQN with one event for each heralded pair, its time drawn at once."""
    return _run_simqn(repeater, n_batches, batch_s, seed, is_skipping=True)


def _run_simqn(repeater: Repeater, n_batches: int, batch_s: float, seed: int, *, is_skipping: bool) -> RepeaterRun:
    simulation = import_module("qns.simulator")
    import_module("qns.utils.log").logger.setLevel("CRITICAL")
    import_module("qns.utils.rnd").set_seed(seed)
    simulator = simulation.Simulator(0, n_batches * batch_s, accuracy=1_000_000_000)
    protocol = _SimqnRepeater(repeater, simulator, is_skipping)
    protocol.start()
    timing = timed(simulator.run)
    return RepeaterRun.from_deliveries(
        np.array(protocol.delivery_ns, dtype=np.float64) / 1e9,
        protocol.fidelity,
        n_batches=n_batches,
        batch_s=batch_s,
        events=simulator.total_events,
        timing=timing,
    )


# A pair that the middle router holds: SimQN's pair, the time of its birth (ns), and the number of its memories.
_Stored: TypeAlias = tuple[Any, int, int]


class _SimqnRepeater:
    """The repeater's protocol as SimQN events."""

    def __init__(self, repeater: Repeater, simulator: Any, is_skipping: bool) -> None:
        self.repeater, self.simulator, self.is_skipping = repeater, simulator, is_skipping
        self.delivery_ns: list[int] = []
        self.fidelity: list[float] = []
        self.stored: tuple[deque[_Stored], deque[_Stored]] = (deque(), deque())
        self.attempt: list[Any] = [None, None]
        self.period_ns, self.probability = repeater.attempt_period_ns, repeater.success_probability
        self.step_ns = self.period_ns // repeater.memories
        self.log_failure = math.log1p(-self.probability)
        self.pair_class = import_module("qns.models.epr").WernerStateEntanglement
        self.random = import_module("qns.utils.rnd").get_rand
        self._define_events(import_module("qns.simulator").Event)

    def _define_events(self, event_class: Any) -> None:
        """Define the protocol's events; their base exists only where SimQN is installed."""
        protocol = self

        class Attempt(event_class):  # type: ignore[misc]
            def __init__(self, t: Any, link: int, memory: int) -> None:
                super().__init__(t)
                self.link, self.memory = link, memory

            def invoke(self) -> None:
                if protocol.is_skipping or protocol.random() < protocol.probability:
                    protocol.herald(self.link, self.memory)
                else:
                    protocol.fail(self.link, self.memory)

        class Delivery(event_class):  # type: ignore[misc]
            def __init__(self, t: Any, pair: Any, memories: tuple[int, int]) -> None:
                super().__init__(t)
                self.pair, self.memories = pair, memories

            def invoke(self) -> None:
                protocol.deliver(self.pair, self.memories)

        class GiveUp(event_class):  # type: ignore[misc]
            def invoke(self) -> None:
                protocol.give_up()

        self.attempt_event, self.delivery_event, self.give_up_event = Attempt, Delivery, GiveUp

    def start(self) -> None:
        """Let every memory pair begin to attempt."""
        for memory in range(self.repeater.memories):
            self.restart((memory, memory))

    def restart(self, memories: tuple[int, int]) -> None:
        """Let one memory pair of each link begin to attempt, at its next turn."""
        now = self.now_ns()
        for link, memory in enumerate(memories):
            self.begin(link, memory, now + (memory * self.step_ns - now) % self.period_ns)

    def begin(self, link: int, memory: int, at_ns: int) -> None:
        """Plan the end of the attempt that begins at a time, or of the first successful one from then on."""
        attempts = 1
        if self.is_skipping:
            attempts += int(math.log1p(-self.random()) / self.log_failure)
        event = self.attempt_event(self.simulator.time(time_slot=at_ns + attempts * self.period_ns), link, memory)
        self.attempt[link] = event
        self.simulator.add_event(event)

    def fail(self, link: int, memory: int) -> None:
        """Try again, unless the other link's pair has waited long enough."""
        cutoff, waiting = self.repeater.cutoff_attempts, self.stored[1 - link]
        if cutoff is not None and waiting and self.now_ns() - waiting[0][1] >= cutoff * self.period_ns:
            self.give_up()
        else:
            self.begin(link, memory, self.now_ns())

    def herald(self, link: int, memory: int) -> None:
        """Swap the new pair with the oldest of the other link, or store it."""
        now = self.now_ns()
        new = self.pair_class(fidelity=self.repeater.initial_fidelity)
        if not self.stored[1 - link]:
            self.stored[link].append((new, now, memory))
            if self.is_skipping and self.repeater.cutoff_attempts is not None:
                self.plan_give_up(1 - link, now + self.repeater.cutoff_attempts * self.period_ns)
            return
        old, born, other = self.stored[1 - link].popleft()
        self.decay(old, now - born)
        memories = (memory, other) if link == 0 else (other, memory)
        delivery = self.simulator.time(time_slot=now + self.repeater.latency_ns)
        self.simulator.add_event(self.delivery_event(delivery, old.swapping(new), memories))

    def plan_give_up(self, link: int, deadline_ns: int) -> None:
        """Replace a link's next herald by the end of the other's wait, if that comes first."""
        if self.attempt[link].t.time_slot > deadline_ns:
            self.attempt[link].cancel()
            self.simulator.add_event(self.give_up_event(self.simulator.time(time_slot=deadline_ns)))

    def give_up(self) -> None:
        """Discard the stored pair; both links begin anew."""
        for pairs in self.stored:
            pairs.clear()
        self.restart((0, 0))

    def deliver(self, pair: Any, memories: tuple[int, int]) -> None:
        """Measure an end-to-end pair and free its memories."""
        self.decay(pair, self.repeater.latency_ns)
        self.delivery_ns.append(self.now_ns())
        self.fidelity.append(pair.fidelity)
        self.restart(memories)

    def decay(self, pair: Any, stored_ns: int) -> None:
        """Let a pair decay in its two memories."""
        pair.store_error_model(t=stored_ns / 1e9, decoherence_rate=self.repeater.decay_rate_hz)

    def now_ns(self) -> int:
        """Return the current time (ns)."""
        slot: int = self.simulator.tc.time_slot
        return slot


# SeQUeNCe reserves its memories before a request starts; nothing is simulated until then but the reservation itself.
_RESERVATION_S = 0.1


def run_sequence(repeater: Repeater, n_batches: int, batch_s: float, seed: int) -> RepeaterRun:
    """Run the repeater in SeQUeNCe with its own protocols.

    Raises:
        DomainError: The repeater has a cutoff in attempts, which SeQUeNCe does not know.
    """
    if repeater.cutoff_attempts is not None:
        raise DomainError("Argument `cutoff_attempts` must be None for SeQUeNCe, whose cutoff is a time.")
    topology_class = import_module("sequence.topology.router_net_topo").RouterNetTopo
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "repeater.json")
        configuration = _sequence_configuration(repeater, n_batches * batch_s, seed)
        path.write_text(json.dumps(configuration), encoding="utf-8")
        topology = topology_class(str(path))
    for midpoint in topology.get_nodes_by_type(topology_class.BSM_NODE):
        for measurement in midpoint.get_components_by_type("SingleAtomBSM"):
            measurement.update_detectors_params("efficiency", repeater.detector_efficiency)
    first, _, last = topology.get_nodes_by_type(topology_class.QUANTUM_ROUTER)
    deliveries: list[tuple[float, float]] = []
    app = _request_app(first, deliveries)
    _request_app(last, [])
    timeline = topology.get_timeline()
    timeline.init()
    window = (round(_RESERVATION_S * 1e12), round((_RESERVATION_S + n_batches * batch_s) * 1e12))
    app.start(last.name, *window, repeater.memories, 0.3)
    timing = timed(timeline.run)
    delivered = np.array(deliveries, dtype=np.float64).reshape(-1, 2)
    return RepeaterRun.from_deliveries(
        delivered[:, 0] - _RESERVATION_S,
        delivered[:, 1],
        n_batches=n_batches,
        batch_s=batch_s,
        events=timeline.run_counter,
        timing=timing,
    )


def _request_app(router: Any, deliveries: list[tuple[float, float]]) -> Any:
    """Return an app for a router that notes each delivered pair and hands its memory back."""
    base: Any = import_module("sequence.app.request_app").RequestApp

    class Counting(base):  # type: ignore[misc]
        def get_memory(self, info: Any) -> None:
            reservation = self.memo_to_reservation.get(info.index)
            if info.state != "ENTANGLED" or reservation is None:
                return
            if info.remote_node in (reservation.initiator, reservation.responder):
                deliveries.append((self.node.timeline.now() / 1e12, info.fidelity))
                self.node.resource_manager.update(None, info.memory, "RAW")

    return Counting(router)


def _sequence_configuration(repeater: Repeater, simulated_s: float, seed: int) -> Mapping[str, Any]:
    """Return the network configuration of the repeater."""
    names = ("first", "middle", "last")
    distance_m = repeater.link_km * 1000.0
    memory = {
        "fidelity": repeater.initial_fidelity,
        "efficiency": repeater.memory_efficiency,
        "frequency": repeater.memory_frequency_hz,
        "coherence_time": repeater.coherence_time_s,
        "wavelength": 1550,
    }
    pairs = [(a, b, hops) for hops in (1, 2) for a, b in zip(names, names[hops:], strict=False)]
    return {
        "is_parallel": False,
        "stop_time": round((simulated_s + 2 * _RESERVATION_S) * 1e12),
        "templates": {"router": {"MemoryArray": memory}},
        "nodes": [
            {
                "name": name,
                "type": "QuantumRouter",
                "seed": 3 * seed + position,
                "memo_size": repeater.memories * (2 if name == "middle" else 1),
                "template": "router",
            }
            for position, name in enumerate(names)
        ],
        "qconnections": [
            {
                "node1": a,
                "node2": b,
                "distance": distance_m,
                "attenuation": repeater.attenuation_db_per_km / 1000.0,
                "type": "meet_in_the_middle",
                "seed": 1000 + 2 * seed + position,
            }
            for position, (a, b) in enumerate(pairwise(names))
        ],
        "cconnections": [{"node1": a, "node2": b, "distance": hops * distance_m} for a, b, hops in pairs],
    }


# Name of the program to the module that must be installed and the function that runs the repeater in it.
PEERS: Mapping[str, tuple[str, Callable[[Repeater, int, float, int], RepeaterRun]]] = {
    "simqn": ("qns", run_simqn),
    "simqn, failures skipped": ("qns", run_simqn_skipping),
    "sequence": ("sequence", run_sequence),
}
