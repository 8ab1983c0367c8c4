"""A try of rules and attacks on a few numbers, so that a value which they refuse is told before anything runs.

Signatures say which parameters there are and of what type; only the functions know which values make sense.
"""

from collections.abc import Iterable
from functools import partial
from typing import Any

import numpy as np

from ceas.errors import CeasError
from ceas.experiments import registry
from ceas.experiments.scenario import Scenario

__all__ = ["refused_values"]

_N_PARAMETERS = 3


def refused_values(scenarios: Iterable[Scenario]) -> list[str]:
    """Say which values of parameters a rule or an attack of these scenarios refuses, each once.

    Only what has parameters set is tried, and a user's own functions never are: they may do anything.
    """
    tried: dict[str, str | None] = {}
    for scenario in scenarios:
        rule, attack = scenario.aggregation, scenario.byzantine
        choices = (
            ("aggregation", rule.rule, rule.parameters, partial(_try_rule, scenario)),
            ("byzantine", attack.attack, attack.parameters, partial(_try_attack, scenario)),
        )
        for section, name, parameters, attempt in choices:
            key = f"{section} {name} {sorted(parameters.items())} {scenario.n_nodes} {attack.n_byzantine}"
            if parameters and not registry.is_user_object(name) and key not in tried:
                refused = _refusal(attempt)
                tried[key] = refused and f"{section}.parameters: {name} refuses them: {refused}"
    return list(dict.fromkeys(message for message in tried.values() if message))


def _refusal(attempt: Any) -> str | None:
    try:
        attempt()
    except (CeasError, ValueError, TypeError) as error:
        return " ".join(str(error).split())
    return None


def _try_rule(scenario: Scenario) -> None:
    section, n_nodes = scenario.aggregation, scenario.n_nodes
    rule = registry.bind("aggregation", section.rule, section.parameters)
    updates, ones = np.random.default_rng(0).normal(size=(n_nodes, _N_PARAMETERS)), np.ones(n_nodes)
    columns = dict.fromkeys(("information", "shots", "quantum_fisher", "samples"), ones)
    told = {"contraction": 0.5 * ones, "nodes": np.arange(n_nodes), "root": updates.mean(axis=0)}
    rule(updates, n_byzantine=section.tolerated_byzantine, **columns, **told)


def _try_attack(scenario: Scenario) -> None:
    from ceas.attacks import Claims, claims_sent, conduct_of, send  # noqa: PLC0415 - only parameters need it

    section = scenario.byzantine
    n_byzantine, zeros = max(section.n_byzantine, 1), np.zeros(_N_PARAMETERS)
    attack = registry.bind("attack", section.attack, section.parameters)
    rng = np.random.default_rng(0)
    honest = rng.normal(size=(scenario.n_nodes - n_byzantine, _N_PARAMETERS))
    conduct_of(attack)
    claims_sent(attack, Claims(*(np.full(n_byzantine, 0.5) for _ in Claims._fields)))
    send(
        attack,
        honest,
        n_byzantine,
        rng=rng,
        own_updates=rng.normal(size=(n_byzantine, _N_PARAMETERS)),
        aggregate=lambda updates: updates.mean(axis=0),
        last_aggregate=zeros,
        memory=None,
        training_round=0,
        rounds=scenario.clock.rounds,
    )
