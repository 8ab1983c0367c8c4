"""Sums over a run, per link where links differ."""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ceas.network import Fate
from ceas.network.records import FIDELITY_BINS, VALUE_CLASSES, used_by_routes, value_by_class
from ceas.runtime.checkpoint import Arrays
from ceas.runtime.outcome import RoundOutcome
from ceas.runtime.world import World

__all__ = ["Totals"]

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]


@dataclass(slots=True, kw_only=True)
class Totals:
    """Sums over all training rounds so far; arrays have shape `(links,)` unless said otherwise.

    Attributes:
        generated: Pairs born.
        fates: Pairs by fate, shape `(links, fates)`; the column of the living ones holds the present stock.
        fidelity_at_use: Histogram for learning, key and test, shape `(3, bins)`.
        delivered_value: Value by class, as `ceas.network.records.value_by_class`, shape `(4,)`.
        used_count: Pairs used.
        used_werner_sum: Sum of their Werner parameters at use.
        key_bits_generated: Key made of pairs (bits).
        key_bits_consumed_by_link: Key used between the two ends of each link (bits).
        key_bits_consumed: Key used by all pairs of nodes (bits).
        starved_links: Times that a link could not pay for a fresh seed.
        starved_frames: Frames not sent for want of key.
        rejected_frames: Frames that honest nodes rejected.
        frames: Frames sent.
        message_delays: Longest chain of frames that ended in a conclusion.
        most_views: Most views that a training round's consensus took.
        unconcluded_rounds: Training rounds whose consensus came to no end that is the same at all honest nodes.
        paused_rounds: Training rounds that did not begin for want of key.
        late_rounds: Training rounds whose consensus took longer than the exchange phase.
        longest_frame_bytes: Bytes of the longest authenticated frame, without its tag.
        shortened_rounds: Training rounds whose consensus was computed without its frames.
        flagged_rounds: Training rounds in which both ends of a link were flagged.
        route_used: Pairs that ended in a delivered or tested end-to-end pair.
        route_requested: Requests for end-to-end pairs by class, keys, tests and background traffic, shape `(3,)`.
        route_served: Of these, those that got one, shape `(3,)`.
        route_key_bits: Key made of end-to-end pairs (bits), a scalar.
    """

    generated: IntArray
    fates: IntArray
    fidelity_at_use: IntArray
    delivered_value: FloatArray
    used_count: IntArray
    used_werner_sum: FloatArray
    key_bits_generated: FloatArray
    key_bits_consumed_by_link: IntArray
    starved_links: IntArray
    flagged_rounds: IntArray
    route_used: IntArray
    route_key_bits: FloatArray
    route_requested: FloatArray
    route_served: FloatArray
    key_bits_consumed: int = 0
    starved_frames: int = 0
    rejected_frames: int = 0
    frames: int = 0
    message_delays: int = 0
    most_views: int = 0
    unconcluded_rounds: int = 0
    late_rounds: int = 0
    paused_rounds: int = 0
    shortened_rounds: int = 0
    longest_frame_bytes: int = 0

    @classmethod
    def zero(cls, n_links: int) -> "Totals":
        """Return the totals before the first training round."""
        return cls(
            generated=np.zeros(n_links, np.int64),
            fates=np.zeros((n_links, len(Fate)), np.int64),
            fidelity_at_use=np.zeros((3, FIDELITY_BINS), np.int64),
            delivered_value=np.zeros(len(VALUE_CLASSES)),
            used_count=np.zeros(n_links, np.int64),
            used_werner_sum=np.zeros(n_links),
            key_bits_generated=np.zeros(n_links),
            key_bits_consumed_by_link=np.zeros(n_links, np.int64),
            starved_links=np.zeros(n_links, np.int64),
            flagged_rounds=np.zeros(n_links, np.int64),
            route_used=np.zeros(n_links, np.int64),
            route_key_bits=np.zeros(1),
            route_requested=np.zeros(3),
            route_served=np.zeros(3),
        )

    def add(self, world: World, outcome: RoundOutcome) -> None:
        """Add one training round."""
        self._add_pairs(world, outcome)
        exchange = outcome.exchange
        self.key_bits_generated += exchange.key_bits_generated
        self.key_bits_consumed_by_link = exchange.key_bits_consumed.copy()
        self.starved_links += exchange.starved_links
        self.flagged_rounds += outcome.tests.is_flagged()
        self.route_key_bits += exchange.route_key_bits
        self.key_bits_consumed += exchange.consumed_total
        self.starved_frames += exchange.starved_frames
        self.rejected_frames += exchange.rejected_frames
        self.frames += exchange.frames
        self.message_delays = max(self.message_delays, exchange.message_delays)
        self.most_views = max(self.most_views, exchange.views)
        self.unconcluded_rounds += not (exchange.is_concluded or exchange.is_paused)
        self.paused_rounds += exchange.is_paused
        self.late_rounds += exchange.is_late
        self.shortened_rounds += exchange.is_shortened
        self.longest_frame_bytes = max(self.longest_frame_bytes, exchange.longest_frame_bytes)

    def to_arrays(self) -> Arrays:
        """Return everything as arrays for a checkpoint."""
        return {field.name: np.array(getattr(self, field.name)) for field in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> "Totals":
        """Rebuild what `to_arrays` stored."""
        values: dict[str, Any] = {field.name: np.array(arrays[field.name]) for field in fields(cls)}
        for name, value in values.items():
            if value.ndim == 0:
                values[name] = int(value)
        return cls(**values)

    def _add_pairs(self, world: World, outcome: RoundOutcome) -> None:
        window, n_links = outcome.window, world.network.n_links
        self.generated += window.generated
        self.fates += window.fates
        self.fates[:, Fate.ALIVE] = window.fates[:, Fate.ALIVE]
        self.fidelity_at_use += window.fidelity_at_use
        self.route_used += used_by_routes(window)
        if window.routes is not None:
            self.route_requested += window.routes.by_class("requested")
            self.route_served += window.routes.by_class("served")
        self.delivered_value += value_by_class(window)
        shot_link = world.network.demand.learner_link[window.shot_learner]
        shot_werner = window.shot_werner.sum(axis=1, dtype=np.float64)
        self.used_count += window.fates[:, [Fate.LEARNING, Fate.KEY, Fate.TEST]].sum(axis=1)
        self.used_werner_sum += np.bincount(shot_link, weights=shot_werner, minlength=n_links)
        self.used_werner_sum += window.key_werner_sum + window.test_werner_sum
