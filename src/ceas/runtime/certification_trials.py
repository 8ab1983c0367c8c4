"""Links of which one end lies, certified again and again: the state machines, and the same computed on arrays.

A trial is one block of Bell-diagonal pairs between an honest end (node 0) and a liar (node 1) that sees every message
of the honest end before it sends its own. `draw_trials` draws what chance decides: which pairs are bad, what
measurements would give, all strings. `play` runs the two machines of `ceas.consensus` on one trial, with the liar's
messages as its attack has them; `certify_trials` computes the verdicts of all trials on arrays. A test holds both
together, and `ceas fuzz certification` compares some of its trials.

The truth of a trial is the mean fidelity of the pairs that both ends hold and did not test, as they were when the
positions were drawn: of what a liar does to its own halves afterwards nobody can know (`ruins_after`).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ceas.consensus import (
    CertificationMessage,
    CoinOpening,
    EndSecrets,
    LinkReport,
    LinkTest,
    LinkVerdict,
    Measure,
    OutcomeCommitment,
    OutcomeOpening,
    SendToPeer,
    TestPlan,
    certificate_of,
    drawn_tests,
    holding_of,
    joint_coin,
    judge_link,
)
from ceas.physics import (
    bell_diagonal_to_correlators,
    one_sided_fidelity,
    untested_fidelity_bounds,
    untested_pass_lower_bound,
)
from ceas.streams import stream

__all__ = [
    "LINK_ATTACKS",
    "LinkAttack",
    "Trials",
    "Verdicts",
    "certify_trials",
    "draw_trials",
    "honest_fidelity",
    "play",
    "trial_chunks",
]

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]

_LINK: Final = (0, 1)
_LIAR: Final = 1
_CHUNK: Final = 250

# Kinds of pairs: correlators (x, y, z) as tests see them, and fidelity. Good pairs dephase as those of the scenarios
# do; a pair that is bad is one that has waited too long; one that an end does not hold has no correlation.
_GOOD_WEIGHTS: Final = (0.95, 0.01, 0.01, 0.03)
_BAD_WEIGHTS: Final = (0.5, 0.05, 0.05, 0.4)


class _Kind(NamedTuple):
    correlators: tuple[float, float, float]
    fidelity: float


def _kind_of(weights: tuple[float, ...]) -> _Kind:
    x, y, z = bell_diagonal_to_correlators(weights).tolist()
    return _Kind((x, y, z), weights[0])


_GOOD: Final = _kind_of(_GOOD_WEIGHTS)
_BAD: Final = _kind_of(_BAD_WEIGHTS)
_ABSENT: Final = _Kind((0.0, 0.0, 0.0), 0.25)
# The honest half in a state along (1, 1, 1), which the liar knows: the best that passes without entanglement.
_STEERED: Final = _Kind((3.0**-0.5,) * 3, 0.5)

Answers = Literal["measures", "guesses", "substitutes", "loses_bad"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkAttack:
    """What a lying end does; by default what an honest one does.

    Attributes:
        text: What it does, in words.
        bad_share: Share of the pairs that are bad, at places that the liar knows and has chosen at random beforehand.
        bad: What bad pairs are.
        denied_share: Share of the pairs that it holds, and says before the draw that it does not.
        answers: Whether it measures what it is asked to, announces random outcomes for all tests, measures another,
            good, half where it is asked for a bad one, or says that bad pairs are lost.
        refuses: Whether it does not open its coin when more bad pairs than the mean are to be tested, or its outcomes
            when, by the peer's, fewer tests pass than the mean.
        opens_peers: Whether it opens the outcomes that would all pass, once it has seen those of the peer.
        echoes: Whether it sends the peer's own outcome commitment and opening back.
        reports: What it reports to everybody: the truth, that all tests passed, nothing, or different things to
            different nodes, which reliable broadcast lets nobody deliver.
        knows_positions: Whether it knows the strings before it chooses which pairs are bad. Only a broken protocol
            allows that; for checks that trials would show it.
        ruins_after: Whether it ruins its halves of untested pairs after the draw; outside the guarantee.
        is_one_sided: Whether it also makes the pairs, so that only the bound for one trusted end holds.
    """

    text: str
    bad_share: float = 0.0
    bad: _Kind = _BAD
    denied_share: float = 0.0
    answers: Answers = "measures"
    refuses: Literal["never", "coin", "outcomes"] = "never"
    opens_peers: bool = False
    echoes: bool = False
    reports: Literal["truth", "all_passed", "nothing", "different"] = "truth"
    knows_positions: bool = False
    ruins_after: bool = False
    is_one_sided: bool = False


LINK_ATTACKS: Final[Mapping[str, LinkAttack]] = {
    "honest": LinkAttack(text="both ends are honest"),
    "inflated_report": LinkAttack(text="reports that all tests passed", bad_share=0.5, reports="all_passed"),
    "guessed_outcomes": LinkAttack(text="announces outcomes without measuring", answers="guesses"),
    "mixed_pairs": LinkAttack(text="half of the pairs bad, hopes that tests miss them", bad_share=0.5),
    "few_bad_pairs": LinkAttack(text="every twentieth pair bad", bad_share=0.05),
    "substituted_halves": LinkAttack(
        text="measures a good half where a bad one is tested", bad_share=0.5, answers="substitutes"
    ),
    "lost_pairs": LinkAttack(text="says that tested bad pairs are lost", bad_share=0.5, answers="loses_bad"),
    "denied_pairs": LinkAttack(text="keeps 60 % of the pairs to itself", denied_share=0.6),
    "false_heralds": LinkAttack(text="says that it holds pairs it does not have", bad_share=0.3, bad=_ABSENT),
    "refused_coin": LinkAttack(text="does not open an unfavourable coin", bad_share=0.5, refuses="coin"),
    "refused_outcomes": LinkAttack(text="does not open unfavourable outcomes", bad_share=0.5, refuses="outcomes"),
    "changed_outcomes": LinkAttack(text="opens what would pass", bad_share=0.5, opens_peers=True),
    "echoed_outcomes": LinkAttack(text="sends the peer's commitment and opening back", bad_share=0.5, echoes=True),
    "selective_report": LinkAttack(text="reports to too few nodes", reports="nothing"),
    "split_report": LinkAttack(text="reports different things to different nodes", reports="different"),
    "steered_halves": LinkAttack(
        text="makes the pairs, half of them unentangled states it knows", bad_share=0.5, bad=_STEERED, is_one_sided=True
    ),
    "ruined_after_draw": LinkAttack(text="ruins untested halves after the draw", ruins_after=True),
}
"""Every attack on one link by its name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trials:
    """What chance decides in some trials, n of them, of N pairs each.

    Attributes:
        plan: The plan of all.
        attack: What the liar does.
        secrets: Strings of both ends in each trial, shape `(n, 2)`.
        held: Whether the liar says it holds each pair, shape `(n, N)`.
        is_bad: Whether each pair is bad, shape `(n, N)`.
        coordinate: Uniform in [0, 1): a test in basis i passes below (1 + c_i)/2, shape `(n, n_tests)`.
        outcome: Outcome of the honest end, whatever pair and basis, shape `(n, n_tests)`.
        guess: Outcome of the liar where it has no correlation, shape `(n, n_tests)`.
    """

    plan: TestPlan
    attack: LinkAttack
    secrets: list[tuple[EndSecrets, EndSecrets]]
    held: BoolArray
    is_bad: BoolArray
    coordinate: NDArray[np.float32]
    outcome: BoolArray
    guess: BoolArray

    def fidelities(self) -> FloatArray:
        """Return the fidelity of every pair, shape `(n, N)`."""
        return np.where(self.is_bad, self.attack.bad.fidelity, _GOOD.fidelity)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdicts:
    """What everybody makes of the trials, arrays of shape `(n,)`.

    Attributes:
        n_held: Pairs that both ends hold, the same number in all.
        is_certified: Whether there is a certificate; the bounds of the others are 0.
        passed: Passed tests, 0 without a certificate.
        estimate: Estimated fidelity.
        lower: Its lower bound.
        one_sided: The lower bound for one trusted end.
        is_flagged: Whether both ends are flagged.
        truth: Mean fidelity of the untested pairs.
    """

    n_held: int
    is_certified: BoolArray
    passed: IntArray
    estimate: FloatArray
    lower: FloatArray
    one_sided: FloatArray
    is_flagged: BoolArray
    truth: FloatArray


def honest_fidelity() -> float:
    """Return the fidelity of good pairs, which is what a link promises in the trials."""
    return _GOOD.fidelity


def trial_chunks(
    name: str, plan: TestPlan, *, trials: int, seed: int, attack: LinkAttack | None = None
) -> Iterator[Trials]:
    """Draw the trials of an attack, a few hundred at a time; chunk i depends on seed, name and i alone.

    Args:
        name: Name of the stream, and of the attack in `LINK_ATTACKS` unless `attack` is given.
        plan: The plan; link and block are replaced.
        trials: Number of trials.
        seed: Root seed.
        attack: What the liar does, instead of what the name says.
    """
    for first in range(0, trials, _CHUNK):
        yield draw_trials(
            LINK_ATTACKS[name] if attack is None else attack,
            replace(plan, link=_LINK),
            min(_CHUNK, trials - first),
            stream(seed, f"certification_trials/{name}", chunk=first // _CHUNK),
        )


def draw_trials(attack: LinkAttack, plan: TestPlan, count: int, rng: np.random.Generator) -> Trials:
    """Draw `count` trials."""
    shape = (count, plan.n_pairs)

    def strings() -> EndSecrets:
        return EndSecrets(rng.bytes(32), rng.bytes(32), rng.bytes(32))

    def chosen(share: float) -> BoolArray:
        """Choose round(share N) places in each trial."""
        size = round(share * plan.n_pairs)
        if size == 0:
            return np.zeros(shape, np.bool_)
        order = rng.random(shape, np.float32)
        return order <= np.partition(order, size - 1, axis=1)[:, size - 1 : size]

    trials = Trials(
        plan=plan,
        attack=attack,
        secrets=[(strings(), strings()) for _ in range(count)],
        held=~chosen(attack.denied_share),
        is_bad=chosen(attack.bad_share),
        coordinate=rng.random((count, plan.n_tests), np.float32),
        outcome=rng.integers(0, 2, (count, plan.n_tests), np.uint8).astype(np.bool_),
        guess=rng.integers(0, 2, (count, plan.n_tests), np.uint8).astype(np.bool_),
    )
    if not attack.knows_positions:
        return trials
    # Every pair is bad but those that will be tested.
    positions, _ = _draws(trials)
    is_bad = np.ones(shape, np.bool_)
    np.put_along_axis(is_bad, positions, values=False, axis=1)
    return replace(trials, is_bad=is_bad)


def certify_trials(trials: Trials) -> Verdicts:
    """Return the verdicts on all trials, computed on arrays from what the attack does and the rules do."""
    plan, attack, count = trials.plan, trials.attack, len(trials.secrets)
    positions, bases = _draws(trials)
    outcomes, lost = _answers(trials, positions, bases, slice(None))
    passed = np.count_nonzero(((trials.outcome ^ outcomes) == (bases == 1)) & ~lost, axis=1)
    n_held = int(trials.held[0].sum())
    is_void = np.zeros(count, np.bool_)
    if attack.refuses == "coin":
        is_void |= np.take_along_axis(trials.is_bad, positions, axis=1).sum(axis=1) > plan.n_tests * attack.bad_share
    if attack.refuses == "outcomes":
        is_void |= passed < _mean_passed(plan, attack)
    # With outcomes that would have passed anyway, what is opened is what was committed to.
    is_void |= attack.opens_peers & (passed < plan.n_tests)
    is_void |= attack.echoes
    is_flagged = is_void | (passed < plan.least_passed) | (n_held < plan.quota)
    is_contradicted = np.full(count, attack.reports in ("nothing", "different"))
    if attack.reports == "all_passed":
        is_contradicted = ~is_void & (passed < plan.n_tests)
    is_void, is_flagged = is_void | is_contradicted, is_flagged | is_contradicted
    columns = [np.where(is_void, 0.0, table[passed]) for table in _certified_tables(plan, n_held)]
    return Verdicts(
        n_held=n_held,
        is_certified=~is_void,
        passed=np.where(is_void, 0, passed),
        estimate=columns[0],
        lower=columns[1],
        one_sided=columns[2],
        is_flagged=is_flagged,
        truth=_truth(trials, positions),
    )


def _draws(trials: Trials) -> tuple[IntArray, IntArray]:
    """Return positions and bases of all trials, shape `(n, n_tests)` each."""
    plan, everything = trials.plan, np.ones(trials.plan.n_pairs, np.bool_)
    drawn = []
    for (honest, liar), held in zip(trials.secrets, trials.held, strict=True):
        first = (holding_of(plan, _LINK[0], everything, honest), honest.coin)
        second = (holding_of(plan, _LINK[1], held, liar), liar.coin)
        drawn.append(drawn_tests(joint_coin(plan, first, second), np.flatnonzero(held), plan.n_tests))
    return np.stack([one[0] for one in drawn]), np.stack([one[1] for one in drawn])


def _answers(trials: Trials, positions: IntArray, bases: IntArray, rows: slice) -> tuple[BoolArray, BoolArray]:
    """Return outcomes and losses that the liar finds or makes up at the tests of some trials."""
    attack = trials.attack
    coordinate, outcome, guess = trials.coordinate[rows], trials.outcome[rows], trials.guess[rows]
    is_bad = np.take_along_axis(trials.is_bad[rows], positions, axis=1)
    correlators = np.array([_GOOD.correlators, attack.bad.correlators])
    fits = coordinate < (1.0 + correlators[is_bad.astype(np.int64), bases]) / 2.0
    measured = outcome ^ (bases == 1) ^ ~fits
    if attack.answers == "guesses":
        measured = guess
    elif attack.answers == "substitutes":
        measured = np.where(is_bad, guess, measured)
    return measured, is_bad & (attack.answers == "loses_bad")


def _mean_passed(plan: TestPlan, attack: LinkAttack) -> float:
    good, bad = (0.5 + sum(kind.correlators) / 6.0 for kind in (_GOOD, attack.bad))
    return plan.n_tests * (good + attack.bad_share * (bad - good))


def _truth(trials: Trials, positions: IntArray) -> FloatArray:
    is_left = trials.held.copy()
    np.put_along_axis(is_left, positions, values=False, axis=1)
    if trials.attack.ruins_after:
        return np.full(len(is_left), _ABSENT.fidelity)
    return np.asarray((trials.fidelities() * is_left).sum(axis=1) / is_left.sum(axis=1))


def _certified_tables(plan: TestPlan, n_held: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return estimate, lower and one-sided bound for every number of passed tests."""
    passed, delta = np.arange(plan.n_tests + 1), plan.failure_probability
    lower, _ = untested_fidelity_bounds(passed, plan.n_tests, n_held, delta)
    one_sided = one_sided_fidelity(untested_pass_lower_bound(passed, plan.n_tests, n_held, delta))
    return np.clip((3.0 * passed / plan.n_tests - 1.0) / 2.0, 0.0, 1.0), lower, one_sided


def play(trials: Trials, row: int) -> tuple[LinkVerdict, float]:
    """Run the machines of both ends on one trial.

    Args:
        trials: The trials.
        row: Which of them.

    Returns:
        The verdict of everybody, and the truth.
    """
    liar = _Liar(trials, row)
    plan, everything = trials.plan, np.ones(trials.plan.n_pairs, np.bool_)
    honest_secrets, liars_secrets = trials.secrets[row]
    honest = LinkTest(plan, _LINK[0], everything, honest_secrets)
    lying = LinkTest(plan, _LINK[1], trials.held[row], liars_secrets)
    # What the honest end sends arrives at once, what the liar sends only when nothing else is under way.
    to_honest: list[CertificationMessage] = []

    def of_liar(outputs: list[object]) -> None:
        for output in outputs:
            match output:
                case SendToPeer(message):
                    to_honest.append(message)
                case Measure():
                    liar.asked = output
                    of_liar([*lying.measured(*liar.answers(output))])

    def of_honest(outputs: list[object]) -> None:
        for output in outputs:
            match output:
                case SendToPeer(message):
                    liar.seen[type(message)] = message
                    of_liar([*lying.receive(message, _LINK[0])])
                case Measure():
                    of_honest([*honest.measured(trials.outcome[row], np.zeros(plan.n_tests, np.bool_))])

    of_honest([*honest.start()])
    of_liar([*lying.start()])
    while to_honest:
        message = liar.sent(to_honest.pop(0))
        if message is not None:
            of_honest([*honest.receive(message, _LIAR)])
    for end in (honest, lying):
        end.expire()
    verdict = judge_link(honest.report, liar.report(honest.report, lying.report))
    positions = liar.asked.positions if liar.asked is not None else np.zeros(0, np.int64)
    one = replace(trials, held=trials.held[[row]], is_bad=trials.is_bad[[row]])
    return verdict, float(_truth(one, positions[None])[0])


@dataclass(slots=True)
class _Liar:
    """The liar's hands on what its machine sends."""

    trials: Trials
    row: int
    seen: dict[type, CertificationMessage] = field(default_factory=dict)
    asked: Measure | None = None

    def answers(self, asked: Measure) -> tuple[BoolArray, BoolArray]:
        """Return outcomes and losses for its own machine."""
        rows = slice(self.row, self.row + 1)
        outcomes, lost = _answers(self.trials, asked.positions[None], asked.bases[None], rows)
        return outcomes[0], lost[0]

    def sent(self, message: CertificationMessage) -> CertificationMessage | None:
        """Return what is sent in the place of `message`; None for nothing."""
        attack, plan = self.trials.attack, self.trials.plan
        if isinstance(message, CoinOpening) and attack.refuses == "coin":
            assert self.asked is not None
            is_bad = self.trials.is_bad[self.row, self.asked.positions]
            return None if is_bad.sum() > plan.n_tests * attack.bad_share else message
        if isinstance(message, OutcomeCommitment | OutcomeOpening) and attack.echoes:
            return self.seen[type(message)]
        if isinstance(message, OutcomeOpening) and (attack.refuses == "outcomes" or attack.opens_peers):
            assert self.asked is not None
            own, peer = (
                np.unpackbits(np.frombuffer(outcomes, np.uint8), count=plan.n_tests)
                for outcomes in (message.outcomes, self.seen[OutcomeOpening].outcomes)  # type: ignore[union-attr]
            )
            passing = peer ^ (self.asked.bases == 1)
            if attack.opens_peers:
                return replace(message, outcomes=np.packbits(passing.astype(np.bool_)).tobytes())
            return None if np.count_nonzero(own == passing) < _mean_passed(plan, attack) else message
        return message

    def report(self, honest: LinkReport | None, own: LinkReport | None) -> LinkReport | None:
        """Return the report of the liar that everybody delivers."""
        reports = self.trials.attack.reports
        if reports in ("nothing", "different"):
            return None
        # A liar that wants to agree repeats what the honest end reports.
        agreed = own if own is not None and honest == own else honest
        if reports == "all_passed" and agreed is not None and agreed.certificate is not None:
            plan, held = self.trials.plan, agreed.certificate.n_held
            return replace(agreed, certificate=certificate_of(plan, n_held=held, passed=plan.n_tests))
        return agreed
