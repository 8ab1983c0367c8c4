"""Tuned parameters of every arm: the same number of trials for each, chosen by max-min on validation data.

A trial's score is the least over the tuning attacks of its mean validation accuracy over the tuning seeds, which no
table reports. The choices that tables use by default are in a file of this package; `ceas reproduce tuning` makes it
anew.
"""

import importlib.resources
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ceas.errors import RunDirectoryError
from ceas.experiments.reproduce_plan import ARMS, Plan, arm_named, trials_of, tuning_trainings
from ceas.experiments.result_tables import Columns, write_atomically

__all__ = ["Choices", "TunedArm", "choose", "read_choices", "write_choices"]

Choices = Mapping[str, Mapping[str, tuple[str, ...]]]
"""Overrides by data set and arm."""

_FILE = "reproduce_choices.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class TunedArm:
    """What tuning found for one arm.

    Attributes:
        dataset: Data set.
        arm: Its name.
        overrides: Chosen overrides.
        score: Their score.
        worst_attack: Tuning attack at which the score is.
        scores: Scores of all trials by their overrides.
    """

    dataset: str
    arm: str
    overrides: tuple[str, ...]
    score: float
    worst_attack: str
    scores: Mapping[str, float]


def choose(plan: Plan, rows: Columns) -> list[TunedArm]:
    """Choose every arm's parameters from finished tuning trainings; at a tie the trial that comes first.

    Raises:
        RunDirectoryError: A training is missing.
    """
    keys = zip(
        *(rows[name].tolist() for name in ("variant", "dataset", "arm", "attack", "overrides", "seed")), strict=True
    )
    accuracy = dict(zip(keys, rows["validation_accuracy"].tolist(), strict=True))
    values: dict[tuple[str, str, str], dict[str, list[float]]] = {}
    for one in tuning_trainings(plan):
        texts = " ".join(one.overrides)
        key = (one.variant, one.dataset, one.arm, one.attack, texts, one.seed)
        if key not in accuracy:
            raise RunDirectoryError(f"no tuning of {one.arm}, {one.attack}, {texts}, seed {one.seed}")
        values.setdefault((one.dataset, one.arm, texts), {}).setdefault(one.attack, []).append(accuracy[key])
    return [_tuned(dataset, name, values) for dataset in plan.datasets for name in plan.arms]


def _tuned(dataset: str, name: str, values: Mapping[tuple[str, str, str], Mapping[str, list[float]]]) -> TunedArm:
    scores, worst = {}, {}
    for overrides in trials_of(arm_named(name)):
        texts = " ".join(overrides)
        means = {attack: float(np.mean(found)) for attack, found in values[dataset, name, texts].items()}
        worst[texts] = min(means, key=lambda attack: means[attack])
        scores[texts] = means[worst[texts]]
    best = max(scores, key=lambda texts: scores[texts])
    return TunedArm(
        dataset=dataset,
        arm=name,
        overrides=tuple(best.split(" ")),
        score=scores[best],
        worst_attack=worst[best],
        scores=scores,
    )


def write_choices(path: Path, tuned: list[TunedArm], *, command: str, ceas_version: str) -> None:
    """Write the choices with all scores, in the form of this package's own file."""
    document = {
        "command": command,
        "ceas_version": ceas_version,
        "choices": [
            {
                "dataset": one.dataset,
                "arm": one.arm,
                "overrides": list(one.overrides),
                "score": round(one.score, 4),
                "worst_attack": one.worst_attack,
                "scores": {texts: round(score, 4) for texts, score in one.scores.items()},
            }
            for one in tuned
        ],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda temporary: temporary.write_text(json.dumps(document, indent=1) + "\n", "utf-8"))


def read_choices(plan: Plan, path: Path | None = None) -> Choices:
    """Read what was tuned, by default what comes with this package.

    Arms that fail on purpose take the parameters of `ceas`.

    Raises:
        RunDirectoryError: The file cannot be read, or lacks an arm of the plan.
    """
    text, where = _text(path)
    try:
        found = {(one["dataset"], one["arm"]): _texts(one["overrides"]) for one in json.loads(text)["choices"]}
    except (ValueError, KeyError, TypeError) as error:
        raise RunDirectoryError(f"{where}: not a file of choices, as `ceas reproduce tuning` writes it") from error
    for dataset in plan.datasets:
        for name in plan.arms:
            if (dataset, name) not in found:
                raise RunDirectoryError(f"{where}: has no choice for {name} on {dataset}")
    return {dataset: {arm.name: _choice(found, dataset, arm.name) for arm in ARMS} for dataset in plan.datasets}


def _texts(overrides: Any) -> tuple[str, ...]:
    if not isinstance(overrides, list) or not all(isinstance(one, str) for one in overrides):
        raise TypeError("overrides must be a list of texts")
    return tuple(overrides)


def _choice(found: Mapping[tuple[str, str], tuple[str, ...]], dataset: str, name: str) -> tuple[str, ...]:
    return found.get((dataset, name), found.get((dataset, "ceas"), ()))


def _text(path: Path | None) -> tuple[str, Any]:
    if path is None:
        return importlib.resources.files("ceas.experiments").joinpath(_FILE).read_text("utf-8"), _FILE
    try:
        return path.read_text("utf-8"), path
    except (OSError, UnicodeDecodeError) as error:
        raise RunDirectoryError(f"{path}: cannot be read: {error}") from error
