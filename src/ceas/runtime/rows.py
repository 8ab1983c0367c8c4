"""One training round as a row of scalars and as one row per learner."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ceas.network import Fate
from ceas.network.records import VALUE_CLASSES, used_by_routes, value_by_class
from ceas.runtime.outcome import RoundOutcome
from ceas.runtime.world import World
from ceas.scheduling import fidelity_mean, fidelity_quantile

__all__ = ["learner_rows", "mean_of_measured", "round_row"]

_USED = (Fate.LEARNING, Fate.KEY, Fate.TEST)
_CLOSED = (*_USED, Fate.EXPIRED, Fate.DISCARDED, Fate.ROUTE)


def round_row(world: World, outcome: RoundOutcome) -> dict[str, float]:
    """Return the scalars of a training round; NaN where nothing was measured."""
    return {
        "round": float(outcome.window.window),
        "time_s": outcome.window.end_ns * 1e-9,
        **_pair_figures(outcome),
        **_training_figures(outcome),
        **_exchange_figures(outcome),
        "flagged_links": float(outcome.tests.is_flagged().sum()),
        "byzantine_weight": _weight_of(outcome, world.is_byzantine),
        "information_total": float(outcome.certified.information.sum()),
        "quantum_fisher_mean": mean_of_measured(outcome.local.noisy_quantum_fisher),
    }


def learner_rows(world: World, outcome: RoundOutcome) -> dict[str, NDArray[np.generic]]:
    """Return the columns of a training round with one entry per learner."""
    links, flagged = world.network.links, outcome.tests.is_flagged()
    ends = np.concatenate([links.node_a[flagged], links.node_b[flagged]])
    return {
        "shots": outcome.local.shots,
        "contraction": outcome.contraction.true,
        "claimed_contraction": outcome.agreed.claims.contraction,
        "certified_contraction": outcome.certified.contraction,
        "claimed_information": outcome.agreed.claims.information,
        "information": outcome.certified.information,
        "quantum_fisher": outcome.local.quantum_fisher,
        "noisy_quantum_fisher": outcome.local.noisy_quantum_fisher,
        "weight": outcome.weights,
        "update_norm": np.linalg.norm(outcome.agreed.updates, axis=1),
        "certified_fidelity": outcome.tests.node_scores(links, world.n_learners),
        "flags": np.bincount(ends, minlength=world.n_learners),
        "is_byzantine": world.is_byzantine,
    }


def _pair_figures(outcome: RoundOutcome) -> Mapping[str, float]:
    window = outcome.window
    fates = window.fates.sum(axis=0)
    used, closed = fates[list(_USED)].sum() + used_by_routes(window).sum(), fates[list(_CLOSED)].sum()
    value = dict(zip(VALUE_CLASSES, value_by_class(window).tolist(), strict=True))
    uses = window.fidelity_at_use.sum(axis=0)
    return {
        "generated": float(window.generated.sum()),
        **{fate.name.lower(): float(fates[fate]) for fate in (*_CLOSED, Fate.ALIVE)},
        "utilisation": float(used / closed) if closed else float("nan"),
        **{f"delivered_value_{name}": part for name, part in value.items()},
        "fidelity_at_use_mean": float(fidelity_mean(uses)),
        "fidelity_at_use_p05": float(fidelity_quantile(uses, 0.05)),
    }


def _training_figures(outcome: RoundOutcome) -> Mapping[str, float]:
    evaluation, aggregate, exact = outcome.evaluation, outcome.aggregate, outcome.exact_momentum
    squared_error = alignment = float("nan")
    if aggregate is not None:
        squared_error = float(np.mean((aggregate.value - exact) ** 2))
        norms = float(np.linalg.norm(aggregate.value) * np.linalg.norm(exact))
        alignment = float(aggregate.value @ exact) / norms if norms > 0 else float("nan")
    return {
        "shots": float(outcome.local.shots.sum()),
        "test_accuracy": evaluation.test_accuracy if evaluation else float("nan"),
        "test_loss": evaluation.test_loss if evaluation else float("nan"),
        "train_loss": outcome.train_loss,
        "gradient_squared_error": squared_error,
        "gradient_alignment": alignment,
    }


def _exchange_figures(outcome: RoundOutcome) -> Mapping[str, float]:
    exchange = outcome.exchange
    return {
        "key_bits_generated": float(np.floor(exchange.key_bits_generated.sum() + exchange.route_key_bits)),
        "key_bits_consumed": float(exchange.consumed_total),
        "frames": float(exchange.frames),
        "starved_frames": float(exchange.starved_frames),
        "rejected_frames": float(exchange.rejected_frames),
        "delivered_updates": float(outcome.agreed.is_delivered.sum()),
        "consensus_views": float(exchange.views),
        "consensus_s": exchange.elapsed_ns * 1e-9 if exchange.is_concluded else float("nan"),
    }


def mean_of_measured(values: NDArray[np.float64]) -> float:
    """Return the mean of the measured values, NaN when there is none."""
    measured = values[np.isfinite(values)]
    return float(measured.mean()) if measured.size else float("nan")


def _weight_of(outcome: RoundOutcome, members: NDArray[np.bool_]) -> float:
    return float(outcome.weights[members].sum())
