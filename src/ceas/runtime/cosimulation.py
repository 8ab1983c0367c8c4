"""The training loop: pairs, shots, updates, agreement and aggregation on one clock.

One training round is one window of the network:

1. The network runs through the window; the scheduler serves pairs to shots, keys and joint tests.
2. Each learner turns its shots, each with its own pairs, into a gradient and adds it to its momentum.
3. Malicious learners replace update and claims.
4. Updates travel as fixed-point numbers through reliable broadcast over authenticated links.
5. Claims are cut to what the joint tests and the links' accounts allow.
6. The rule aggregates, the optimiser steps, and all nodes hold the same new parameters.

Every draw comes from a stream named after its purpose and its training round, so a run that is resumed from a
checkpoint continues with the same numbers.
"""

import copy
import inspect
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from ceas import consensus
from ceas.aggregation import Aggregate, Rule, reason_to_refuse
from ceas.attacks import Claims, UpdateAttack
from ceas.errors import DomainError
from ceas.learning import Classifier, initial_parameters
from ceas.network import WindowRecord
from ceas.runtime.adversary import Adversary
from ceas.runtime.certification import Certification, JointTests, RoundTests, certify_claims, finite_claims
from ceas.runtime.checkpoint import Arrays, prefixed, unprefixed
from ceas.runtime.evaluation import Evaluator, Figures, figures_together
from ceas.runtime.history import History
from ceas.runtime.learners import Learners, Measured, TrainingParameters, contractions_together, train_together
from ceas.runtime.momentum import Momentum
from ceas.runtime.outcome import AgreedUpdates, Contraction, Evaluation, LocalUpdates, RoundOutcome
from ceas.runtime.pair_sabotage import TestedPairs, sabotaged_tests
from ceas.runtime.sources import ExchangeRecord, SecurityParameters, Source
from ceas.runtime.totals import Totals
from ceas.runtime.trusted import trusted_update
from ceas.runtime.update_errors import RoundUpdates, UpdateErrors
from ceas.runtime.world import World
from ceas.streams import stream

__all__ = ["ROOMS", "CoSimulation", "Method", "advance_together", "figures_of", "start_parameters"]

FloatArray = NDArray[np.float64]

# What is certified of an update, averaged like the update itself, and told to the rule.
_AVERAGED = ("information", "contraction", "shots", "quantum_fisher")
ROOMS = ("network", "learning", "consensus", "aggregation", "evaluation", "other")


# These are always evaluated, so that their mean does not depend on how often the others are.
_LAST_EVALUATED_ROUNDS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """Who aggregates how, and who attacks how.

    Attributes:
        rule: Aggregation rule.
        tolerated_byzantine: Attackers that the rule is told to withstand.
        attack: What malicious learners send.
        is_debiasing: Whether the rule averages updates divided by their contraction; attackers then aim in that space.
        certification: Whether claims are cut to what joint tests and delivered shots allow, or believed.
        weighs_by_fisher: Whether the rule may look at the quantum Fisher information, or what is made of it.
        root_samples: Training samples that all nodes trust, for rules that need an update to trust; 0 for none.
    """

    rule: Rule
    tolerated_byzantine: int
    attack: UpdateAttack
    is_debiasing: bool
    certification: Certification = "joint_tests"
    weighs_by_fisher: bool = True
    root_samples: int = 0


def start_parameters(model: Classifier, *, spread: float, seed: int) -> FloatArray:
    """Draw the parameters that all nodes start from, rounded to single precision, shape `(parameters,)`."""
    drawn = initial_parameters(model, spread=spread, rng=stream(seed, "initial_parameters"))
    return drawn.astype(np.float32).astype(np.float64)


class _Agreement(NamedTuple):
    """What a training round agreed on."""

    exchange: ExchangeRecord
    agreed: AgreedUpdates
    certified: Claims
    aggregate: Aggregate | None


def advance_together(simulations: Sequence["CoSimulation"]) -> list[RoundOutcome]:
    """Run one training round of co-simulations, those of one world that differ in rule, attack and optimiser.

    What depends on the network alone is computed once for all, and each simulation gets the numbers that it gets alone.

    Args:
        simulations: At least one; in the same training round, of the same seed, network, circuit, data and learners.

    Returns:
        What happened in each.

    Raises:
        DomainError: They have several networks.
    """
    with _timed(simulations, "network"):
        window, *others = [each._source.next_window() for each in simulations]
        if any(other is not window for other in others):
            raise DomainError("Argument `simulations` must replay one network, but replays several.")
    thetas = np.stack([each.theta for each in simulations])
    learners = [each._learners for each in simulations]
    with _timed(simulations, "learning"):
        # All have the same attackers of pairs, or none: see `Scenario.network_id`.
        pairs = simulations[0]._sabotaged(window)
        tested = [each._measure_tests(pairs) for each in simulations]
        for each in simulations:
            if each._trusted is not None:
                each._trusted.advance(each.theta)
        # All saw the same tests.
        tests, error_probability = simulations[0]._tests, simulations[0]._security.bound_error_probability
        local = train_together(learners, thetas, pairs.window)
        contraction = contractions_together(
            learners,
            thetas,
            pairs.window,
            estimated_werner=tests.estimate(),
            bounding_werner=tests.corners(error_probability),
        )
    trained = zip(simulations, local, contraction, strict=True)
    rounds = [each._agree(window, updates, signal) for each, updates, signal in trained]
    with _timed(simulations, "evaluation"):
        exact = [each._exact_momentum() for each in simulations]
        for each, agreement, signal in zip(simulations, rounds, contraction, strict=True):
            each._measure_errors(agreement, signal)
    with _timed(simulations, "aggregation"):
        for each, agreement in zip(simulations, rounds, strict=True):
            each._follow(agreement.aggregate)
    with _timed(simulations, "evaluation"):
        evaluations = [each._evaluation() for each in simulations]
    return [
        RoundOutcome(
            window=window,
            tests=tested[index],
            local=local[index],
            contraction=contraction[index],
            exact_momentum=exact[index][0],
            train_loss=exact[index][1],
            evaluation=evaluations[index],
            **rounds[index]._asdict(),
        )
        for index in range(len(simulations))
    ]


def figures_of(simulations: Sequence["CoSimulation"]) -> list[Figures]:
    """Return exact figures of the present parameters of co-simulations as `advance_together` takes them."""
    with _timed(simulations, "evaluation"):
        return figures_together([each._evaluator for each in simulations], [each.theta for each in simulations])


@lru_cache(maxsize=64)
def _compiled(update: Callable[..., Any]) -> Callable[..., Any]:
    """Return a compiled function, the same one for the same function."""
    return jax.jit(update)


@contextmanager
def _timed(simulations: Sequence["CoSimulation"], room: str) -> Iterator[None]:
    """Add the time that something takes to a room of all for whom it is done, in equal parts."""
    start = time.perf_counter()
    yield
    for each in simulations:
        each.seconds[room] += (time.perf_counter() - start) / len(simulations)


class CoSimulation:
    """One training in progress; `advance` runs one training round.

    Args:
        world: Network, learners, data and who is malicious.
        training: How the learners train.
        method: Who aggregates and who attacks.
        security: How messages are authenticated and agreed on.
        source: Where pairs and agreement come from.
        seed: Root seed.
        has_diagnostics: Whether rounds tell what no rule and no attack sees: exact momenta and losses, the Fisher
            information of noisy states, evaluations. Otherwise it is NaN, or None, and `figures_of` evaluates. Nothing
            else depends on it, but that the quantum Fisher information of noiseless states is claimed as 0 where rule
            and attack never look at it.
        gradient_rounds: Rounds between measurements of the updates' errors; 0 for none.

    Attributes:
        theta: Agreed parameters, shape `(parameters,)`.
        completed_rounds: Training rounds done.
        history: What was recorded round by round.
        totals: Sums over the run.
        update_errors: How far updates were off the honest learners' exact gradients.
        seconds: Wall time spent per room (s).
    """

    def __init__(
        self,
        world: World,
        training: TrainingParameters,
        method: Method,
        security: SecurityParameters,
        source: Source,
        *,
        seed: int,
        has_diagnostics: bool = True,
        gradient_rounds: int = 0,
    ) -> None:
        self._world = world
        self._training = training
        self._method = method
        self._security = security
        self._source = source
        self._seed = seed
        self._adversary = Adversary(method.attack, world.is_byzantine, rounds=training.rounds, seed=seed)
        self._has_diagnostics = has_diagnostics
        self._learners = Learners(
            world,
            training,
            seed=seed,
            conduct=self._adversary.conduct,
            measures=Measured(
                noisy_fisher=has_diagnostics,
                fisher=has_diagnostics or method.weighs_by_fisher or self._adversary.has_false_claims,
            ),
        )
        self._evaluator = Evaluator(world, worker_momentum=training.worker_momentum)
        self._tests = JointTests.none_yet(world.network.n_links, by_basis=world.network.links.is_bell_diagonal)
        self._certified = Momentum((world.n_learners, len(_AVERAGED)), training.worker_momentum)
        self._trusted = trusted_update(
            method.rule,
            world,
            n_samples=method.root_samples,
            worker_momentum=training.worker_momentum,
            seed=seed,
        )
        self._rule_takes = _keywords_of(method.rule)
        self._rule_memory: dict[str, NDArray[Any]] = {}
        self.theta = start_parameters(world.model, spread=training.initial_angle_spread, seed=seed)
        self._optimizer_state = training.optimizer.init(jnp.asarray(self.theta, jnp.float32))
        self._update = _compiled(training.optimizer.update)
        self.completed_rounds = 0
        self.history = History()
        self.totals = Totals.zero(world.network.n_links)
        self.update_errors = UpdateErrors(world, every=gradient_rounds)
        self.seconds = dict.fromkeys(ROOMS, 0.0)

    @property
    def is_byzantine(self) -> NDArray[np.bool_]:
        """Whether each node is malicious, shape `(nodes,)`."""
        return self._world.is_byzantine

    @property
    def rounds(self) -> int:
        """Training rounds in all."""
        return self._training.rounds

    @property
    def is_finished(self) -> bool:
        """Whether all training rounds are done."""
        return self.completed_rounds >= self._training.rounds

    def advance(self) -> None:
        """Run one training round and record it."""
        (outcome,) = advance_together([self])
        with _timed([self], "other"):
            self.history.add(self._world, outcome)
            self.totals.add(self._world, outcome)

    def compile(self) -> float:
        """Run one training round and forget it, so that everything is compiled; return the time it took (s)."""
        start = time.perf_counter()
        state = self.to_arrays()
        self.advance()
        self.load(state)
        return time.perf_counter() - start

    def final_train_loss(self) -> float:
        """Return the exact training loss of the present parameters."""
        return self._evaluator.train_loss(self.theta)

    def certified_werner(self) -> FloatArray:
        """Return the upper confidence bound on each link's Werner parameter at use, shape `(links,)`."""
        return self._tests.werner_upper_bound(self._security.bound_error_probability)

    def to_arrays(self) -> Arrays:
        """Return the whole state as arrays, from which `load` continues bit for bit."""
        leaves = jax.tree.leaves(self._optimizer_state)
        state: Arrays = {
            "theta": self.theta.copy(),
            "completed_rounds": np.array(self.completed_rounds),
            "tested": self._tests.tested.copy(),
            "passed": self._tests.passed.copy(),
            "seconds": np.array([self.seconds[room] for room in ROOMS]),
        }
        state |= {f"optimizer/{index}": np.asarray(leaf) for index, leaf in enumerate(leaves)}
        state |= prefixed("certified", self._certified.to_arrays())
        state |= prefixed("rule", {name: value.copy() for name, value in self._rule_memory.items()})
        state |= prefixed("learners", self._learners.to_arrays()) | prefixed("evaluator", self._evaluator.to_arrays())
        state |= prefixed("adversary", self._adversary.to_arrays())
        state |= prefixed("trusted", {} if self._trusted is None else self._trusted.to_arrays())
        state |= prefixed("update_errors", self.update_errors.to_arrays())
        state |= prefixed("source", self._source.to_arrays()) | prefixed("totals", self.totals.to_arrays())
        return state | prefixed("history", self.history.to_arrays())

    def load(self, arrays: Arrays) -> None:
        """Restore what `to_arrays` returned, into a co-simulation made with the same arguments."""
        present, structure = jax.tree.flatten(self._optimizer_state)
        leaves = [jnp.asarray(arrays[f"optimizer/{index}"]) for index in range(len(present))]
        self._optimizer_state = jax.tree.unflatten(structure, leaves)
        self.theta = np.array(arrays["theta"], np.float64)
        self.completed_rounds = int(arrays["completed_rounds"])
        self._tests = JointTests(np.array(arrays["tested"], np.int64), np.array(arrays["passed"], np.int64))
        self.seconds = dict(zip(ROOMS, np.asarray(arrays["seconds"], np.float64).tolist(), strict=True))
        self._certified.load(unprefixed("certified", arrays))
        self._rule_memory = {name: np.array(value) for name, value in unprefixed("rule", arrays).items()}
        self._adversary.load(unprefixed("adversary", arrays))
        if self._trusted is not None:
            self._trusted.load(unprefixed("trusted", arrays))
        self._learners.load(unprefixed("learners", arrays))
        self._evaluator.load(unprefixed("evaluator", arrays))
        self._source.load(unprefixed("source", arrays))
        self.update_errors.load(unprefixed("update_errors", arrays))
        self.totals = Totals.from_arrays(unprefixed("totals", arrays))
        self.history = History.from_arrays(unprefixed("history", arrays))

    def _agree(self, window: WindowRecord, local: LocalUpdates, contraction: Contraction) -> "_Agreement":
        """Attack, exchange, certify and aggregate what the learners computed."""
        with _timed([self], "other"):
            updates, claims = self._attacked(window.window, local, contraction)
        with _timed([self], "consensus"):
            exchange, agreed = self._exchanged(window, updates, claims)
        with _timed([self], "aggregation"):
            certified = self._certify(agreed.claims, local, contraction)
            aggregate = self._aggregated(agreed, certified)
        return _Agreement(exchange, agreed, certified, aggregate)

    def _follow(self, aggregate: Aggregate | None) -> None:
        """Step along what was agreed; without it, all stay where they are."""
        if aggregate is not None:
            self._step(aggregate)
            self._adversary.observe(aggregate.value)
        self.completed_rounds += 1

    @property
    def is_evaluated(self) -> bool:
        """Whether the parameters after the rounds done are among those that are evaluated."""
        is_near_end = self.completed_rounds > self._training.rounds - _LAST_EVALUATED_ROUNDS
        return is_near_end or self.completed_rounds % self._training.evaluate_rounds == 0

    def _sabotaged(self, window: WindowRecord) -> TestedPairs:
        return sabotaged_tests(window, self._world, self._adversary.conduct, seed=self._seed)

    def _measure_tests(self, pairs: TestedPairs) -> RoundTests:
        """Draw the round's joint tests, and add them to those before."""
        window, n_links = pairs.window, self._world.network.n_links
        rng = stream(self._seed, "joint_tests", training_round=window.window)
        # Keys take other pairs than shots do; only tests of pairs that were chosen for a shot speak for shots.
        of_shot = window.test_is_of_shot
        states = window.test_werner if window.test_correlators is None else window.test_correlators
        link = window.test_link[of_shot]
        passes = self._tests.observe(link, states[of_shot], rng)
        shots = np.bincount(self._world.network.demand.learner_link[window.shot_learner], minlength=n_links)
        return RoundTests(
            tested=np.bincount(link, minlength=n_links),
            passed=np.bincount(link[passes], minlength=n_links),
            used=shots * self._world.pairs_per_shot,
            is_refused=pairs.is_refused,
            held_share=pairs.held_share,
            promised_fidelity=self._world.network.minimum_fidelity,
            error_probability=self._security.bound_error_probability,
        )

    def _attacked(
        self, training_round: int, local: LocalUpdates, contraction: Contraction
    ) -> tuple[FloatArray, Claims]:
        """Return what each node sends: its own update and claims, or the attackers' in the place of theirs.

        Attackers know what everybody claims and what the tests bound, so they certify the round for themselves before
        it is agreed on, and aim at the rule with all that it will be told.
        """
        claims = Claims(local.shots.astype(np.float64), contraction.believed.copy(), local.quantum_fisher.copy())
        if not self._adversary.is_present:
            return local.updates.copy(), claims
        claims = self._adversary.claims(claims)
        heard = self._foreseen(np.zeros_like(local.updates), claims)
        certified = self._certify(heard.claims, local, contraction)
        columns = _averaged(copy.deepcopy(self._certified), certified)

        def pipeline(updates: FloatArray) -> FloatArray:
            agreed = self._foreseen(updates, claims)
            aggregate = self._applied(agreed.updates, agreed.is_delivered, columns)
            # Too few updates make no step.
            return np.zeros_like(self.theta) if aggregate is None else aggregate.value

        scale = columns[:, _AVERAGED.index("contraction")] if self._method.is_debiasing else np.ones(len(columns))
        updates = self._adversary.updates(local.updates, training_round=training_round, scale=scale, pipeline=pipeline)
        return updates, claims

    def _foreseen(self, updates: FloatArray, claims: Claims) -> AgreedUpdates:
        """Return what honest nodes will hold if all that they take in time arrives."""
        bits, in_time = self._security.fixed_point_bits, ~self._adversary.withheld
        return _decoded(_payloads(updates, claims, bits), in_time, updates.shape[1], bits)

    def _certify(self, claims: Claims, local: LocalUpdates, contraction: Contraction) -> Claims:
        """Return what everybody takes of the claims that arrived."""
        if self._method.certification == "none":
            return finite_claims(claims)
        return certify_claims(claims, delivered_shots=local.shots, contraction_bound=contraction.bound)

    def _exchanged(
        self, window: WindowRecord, updates: FloatArray, claims: Claims
    ) -> tuple[ExchangeRecord, AgreedUpdates]:
        """Broadcast fixed-point updates and claims; return what all honest nodes hold afterwards."""
        bits = self._security.fixed_point_bits
        payloads = _payloads(updates, claims, bits)
        digest = consensus.parameter_digest(self.theta, fixed_point_bits=bits)
        exchange = self._source.exchange(window, [payload.tobytes() for payload in payloads], digest)
        withheld = self._adversary.withheld
        if withheld.any():
            # Frames that come too late cost what others cost.
            exchange = replace(exchange, is_delivered=exchange.is_delivered & ~withheld)
        return exchange, _decoded(payloads, exchange.is_delivered, updates.shape[1], bits)

    def _aggregated(self, agreed: AgreedUpdates, certified: Claims) -> Aggregate | None:
        """Apply the rule to the delivered updates; None when they are too few for the declared attackers.

        An update is a momentum, so the information and the contraction behind it are averages over the same rounds.
        """
        columns = _averaged(self._certified, certified)
        aggregate = self._applied(agreed.updates, agreed.is_delivered, columns)
        if aggregate is not None:
            self._rule_memory = {name: np.array(value) for name, value in aggregate.memory.items()}
        return aggregate

    def _applied(self, updates: FloatArray, is_delivered: NDArray[np.bool_], columns: FloatArray) -> Aggregate | None:
        """Apply the rule to those of everybody's updates that are delivered, with certified information, contraction.

        The attackers' search calls this too, so that what they attack is what is deployed.
        """
        rule, tolerated = self._method.rule, self._method.tolerated_byzantine
        if reason_to_refuse(rule, n_nodes=int(is_delivered.sum()), n_byzantine=tolerated):
            return None
        told: dict[str, Any] = {
            **{name: column[is_delivered] for name, column in zip(_AVERAGED, columns.T, strict=True)},
            "samples": self._world.samples.count[is_delivered],
            "nodes": np.flatnonzero(is_delivered),
            "root": None if self._trusted is None else self._trusted.value(),
            # A copy: what attackers try must not change what is remembered.
            "memory": {name: value.copy() for name, value in self._rule_memory.items()} or None,
        }
        told = {name: value for name, value in told.items() if name in self._rule_takes}
        aggregate = rule(updates[is_delivered], n_byzantine=tolerated, **told)
        # A user's own rule may return anything.
        if not isinstance(aggregate, Aggregate):
            found = type(aggregate).__name__
            raise DomainError(f"Argument `rule` must return a `ceas.aggregation.Aggregate`, but returned {found}.")
        return aggregate

    def _evaluation(self) -> Evaluation | None:
        return self._evaluator.evaluate(self.theta) if self._has_diagnostics and self.is_evaluated else None

    def _exact_momentum(self) -> tuple[FloatArray, float]:
        """Return the momentum of exact gradients and the loss at the present parameters; NaN where nobody asks."""
        if not self._has_diagnostics:
            return np.full_like(self.theta, np.nan), np.nan
        return self._evaluator.exact_momentum(self.theta)

    def _measure_errors(self, agreement: _Agreement, contraction: Contraction) -> None:
        """Measure how far this round's updates are off the exact gradients, where a measurement is due."""
        if not self.update_errors.is_due(self.completed_rounds):
            return
        agreed, aggregate = agreement.agreed, agreement.aggregate
        divisor = np.ones(len(agreed.is_delivered))
        if self._method.is_debiasing:
            divisor = np.minimum(self._certified.mean()[:, _AVERAGED.index("contraction")], 1.0)
        is_admitted = agreed.is_delivered.copy()
        if aggregate is not None:
            is_admitted[agreed.is_delivered] = ~(aggregate.rejected | aggregate.left_out)
        # What is not admitted may have no contraction at all.
        divisor = np.where(is_admitted, divisor, 1.0)
        updates = RoundUpdates(
            rows=np.where(is_admitted[:, None], agreed.updates, 0.0) / divisor[:, None],
            is_admitted=is_admitted,
            value=None if aggregate is None else aggregate.value,
            n_declared=0 if aggregate is None else aggregate.n_byzantine,
            contraction_error=np.abs(contraction.true / divisor - 1.0),
        )
        self.update_errors.measure(self.completed_rounds, self.theta, updates)

    def _step(self, aggregate: Aggregate) -> None:
        parameters = self.theta.astype(np.float32)
        gradient = self._learners.descent_direction(self.theta, aggregate.value).astype(np.float32)
        change, self._optimizer_state = self._update(gradient, self._optimizer_state, parameters)
        self.theta = (parameters + np.asarray(change)).astype(np.float64)


def _averaged(momentum: Momentum, certified: Claims) -> FloatArray:
    """Add a round's certified claims to their averages; return these, one column for each of `_AVERAGED`."""
    momentum.add(np.stack([getattr(certified, name) for name in _AVERAGED], axis=1), certified.shots > 0)
    return momentum.mean()


def _keywords_of(rule: Rule) -> frozenset[str]:
    """Return what a rule may be told besides the updates; a user's own may take less than the protocol has."""
    parameters = inspect.signature(rule).parameters.values()
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters):
        return frozenset({*_AVERAGED, "samples", "nodes", "root", "memory"})
    return frozenset(parameter.name for parameter in parameters)


def _payloads(updates: FloatArray, claims: Claims, fixed_point_bits: int) -> NDArray[np.void]:
    """Return what each node puts on the wire; a number of shots that is none is marked so that receivers refuse."""
    return consensus.encode_updates(updates, **claims._asdict(), fixed_point_bits=fixed_point_bits)


def _decoded(
    payloads: NDArray[np.void], is_delivered: NDArray[np.bool_], n_parameters: int, fixed_point_bits: int
) -> AgreedUpdates:
    """Return what is held of the payloads that are delivered and valid; delivered ones are, honest nodes see to it."""
    table = consensus.decode_updates(payloads, n_parameters=n_parameters, fixed_point_bits=fixed_point_bits)
    is_held = is_delivered & table.is_valid
    claims = (np.where(is_held, getattr(table, name), 0.0) for name in Claims._fields)
    return AgreedUpdates(
        is_delivered=is_held, updates=np.where(is_held[:, None], table.values, 0.0), claims=Claims(*claims)
    )
