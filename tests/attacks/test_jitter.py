"""Colluders that hide copies under the scatter of their own updates."""

from functools import partial
from typing import Any

import numpy as np
import pytest

from ceas import aggregation, attacks
from ceas.errors import DomainError

RNG = np.random.default_rng(5)
HONEST = RNG.normal(size=(14, 8))
OWN = RNG.normal(size=(6, 8))
ATTACKS = (
    attacks.inner_product_manipulation,
    attacks.a_little_is_enough,
    attacks.drift,
    attacks.opt_alie,
    attacks.opt_ipm,
    partial(attacks.sleeper, wake_round=0),
)


def median(rows: np.ndarray) -> np.ndarray:
    return aggregation.coordinate_median(rows, n_byzantine=6).value


def sent(attack: Any, **given: Any) -> np.ndarray:
    offered = {"rng": np.random.default_rng(0), "own_updates": OWN, "aggregate": median} | given
    return attacks.send(attack, HONEST, 6, **offered).updates


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("jitter", [0.5, 1.0])
def test_copies_differ_by_what_own_updates_differ_from_the_mean_by(attack: Any, jitter: float) -> None:
    hidden = sent(partial(attack, jitter=jitter)) - jitter * (OWN - HONEST.mean(axis=0))
    np.testing.assert_allclose(hidden, np.tile(hidden[0], (6, 1)), atol=1e-12)


@pytest.mark.parametrize("attack", ATTACKS[:3])
def test_what_is_hidden_is_the_attack_without_jitter(attack: Any) -> None:
    shift = OWN - HONEST.mean(axis=0)
    np.testing.assert_allclose(sent(partial(attack, jitter=1.0)) - shift, sent(attack), atol=1e-12)


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_jitter_that_is_none_is_refused(attack: Any) -> None:
    for jitter in (-0.1, np.nan, np.inf):
        with pytest.raises(DomainError, match="jitter"):
            sent(partial(attack, jitter=jitter))
    with pytest.raises(DomainError, match="own_updates"):
        sent(partial(attack, jitter=1.0), own_updates=None)


def test_a_search_tries_what_it_sends() -> None:
    tried = []

    def seen(rows: np.ndarray) -> np.ndarray:
        tried.append(rows[14:].copy())
        return median(rows)

    found = sent(partial(attacks.opt_alie, jitter=1.0), aggregate=seen)
    assert any(np.allclose(rows, found) for rows in tried)
    damage = [np.linalg.norm(median(np.concatenate([HONEST, rows])) - HONEST.mean(axis=0)) for rows in (*tried, found)]
    assert damage[-1] == pytest.approx(max(damage))
