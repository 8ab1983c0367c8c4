"""What malicious ends of links do to pairs and to joint tests, as a change of what a round records of them.

The certification protocol (`ceas.consensus.certification`) leaves a liar these choices against an honest end; what each
does to the outcome of a test does not depend on messages, so the training loop draws it from the pairs:

- A test of a pair passes with (1 + c)/2. A guessed outcome passes as that of a pair without correlation, a refused
  opening is a failed test, a ruined pair has no correlation. Two liars open whatever passes.
- A denied pair is gone for both ends, before the tests are drawn; shots and tests that needed it do not take place.
- Pairs ruined before the draw are as many among the tested ones as among the used ones, by chance, since nobody knows
  which are tested. Those ruined after it are used ones.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ceas.attacks import Conduct
from ceas.network import WindowRecord
from ceas.runtime.world import World
from ceas.streams import stream

__all__ = ["TestedPairs", "sabotaged_tests"]

BoolArray = NDArray[np.bool_]
FloatArray = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class TestedPairs:
    """A round's pairs as the ends of the links leave them.

    Attributes:
        window: The record that learners and tests see.
        is_refused: Links of which an end did not open, shape `(links,)`.
        held_share: Share of the pairs about to be used that both ends say they hold, shape `(links,)`.
    """

    window: WindowRecord
    is_refused: BoolArray
    held_share: FloatArray

    # Not a test of pytest's.
    __test__ = False


def sabotaged_tests(window: WindowRecord, world: World, conduct: Conduct, *, seed: int) -> TestedPairs:
    """Return the round's pairs and tests as malicious nodes have them; honest conduct returns the very same record.

    Args:
        window: What happened to the pairs.
        world: Links and who is malicious.
        conduct: What the malicious ones do.
        seed: Root seed.
    """
    links = world.network.links
    nothing = TestedPairs(window, np.zeros(links.n_links, np.bool_), np.ones(links.n_links))
    if conduct.test_lie is None or not world.is_byzantine.any():
        return nothing
    n_liars = world.is_byzantine[links.node_a].astype(np.int64) + world.is_byzantine[links.node_b]
    rng = stream(seed, "pair_sabotage", training_round=window.window)
    tested_by = n_liars[window.test_link]
    window = _with_tests(window, tested_by == 2, 1.0)
    is_lying, is_tested = n_liars == 1, tested_by == 1
    if conduct.test_lie == "guess":
        return replace(nothing, window=_with_tests(window, is_tested, 0.0))
    if conduct.test_lie == "refuse":
        has_tests = np.bincount(window.test_link, minlength=links.n_links) > 0
        refused = _with_tests(window, is_tested, -1.0)
        return replace(nothing, window=refused, is_refused=is_lying & has_tests)
    # One coordinate for each pair of a shot and for each test, whatever the lie.
    of_shots, of_tests = rng.random(window.shot_werner.shape), rng.random(window.test_link.shape)
    is_struck = is_tested & (of_tests < conduct.ruined_share)
    if world.pairs_per_shot == 0:
        strikes = np.zeros(window.shot_werner.shape, np.bool_)
    else:
        used_by = is_lying[world.network.demand.learner_link[window.shot_learner]]
        strikes = used_by[:, None] & (of_shots < conduct.ruined_share)
    if conduct.test_lie == "deny":
        kept, share = np.logical_not(strikes.any(axis=1)), np.where(is_lying, 1.0 - conduct.ruined_share, 1.0)
        return replace(nothing, window=_without(window, kept, ~is_struck), held_share=share)
    if conduct.test_lie == "mix":
        window = _with_tests(window, is_struck, 0.0)
    if conduct.test_lie in ("mix", "ruin"):
        window = _with_shots(window, strikes)
    return replace(nothing, window=window)


def _with_tests(window: WindowRecord, is_changed: BoolArray, correlation: float) -> WindowRecord:
    """Return the record with tests that pass as pairs of this correlation do."""
    werner = np.where(is_changed, np.float32(correlation), window.test_werner)
    if window.test_correlators is None:
        return replace(window, test_werner=werner)
    correlators = np.where(is_changed[:, None], np.float32(correlation), window.test_correlators)
    return replace(window, test_werner=werner, test_correlators=correlators)


def _with_shots(window: WindowRecord, is_ruined: BoolArray) -> WindowRecord:
    """Return the record with pairs of shots that have lost all correlation."""
    werner = np.where(is_ruined, np.float32(0.0), window.shot_werner)
    if window.shot_correlators is None:
        return replace(window, shot_werner=werner)
    return replace(
        window,
        shot_werner=werner,
        shot_correlators=np.where(is_ruined[..., None], np.float32(0.0), window.shot_correlators),
    )


def _without(window: WindowRecord, kept_shots: BoolArray, kept_tests: BoolArray) -> WindowRecord:
    """Return the record with the shots and tests that take place."""

    def of(column: NDArray[np.float32] | None, kept: BoolArray) -> NDArray[np.float32] | None:
        return None if column is None else column[kept]

    return replace(
        window,
        shot_learner=window.shot_learner[kept_shots],
        shot_time_ns=window.shot_time_ns[kept_shots],
        shot_werner=window.shot_werner[kept_shots],
        shot_correlators=of(window.shot_correlators, kept_shots),
        test_link=window.test_link[kept_tests],
        test_werner=window.test_werner[kept_tests],
        test_is_of_shot=window.test_is_of_shot[kept_tests],
        test_correlators=of(window.test_correlators, kept_tests),
    )
