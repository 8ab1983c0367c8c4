"""Several programs on the same work, each in processes of its own, and what comes of it as rows.

All ways to run a program are tried once, and its fastest is repeated, programs in turn, so that what else the machine
does strikes all alike. Ratios are taken within a repetition, and their median is told.

A program that exceeds the time gets the first learners alone; its times are then multiplied accordingly, and marked.
"""

import importlib.util
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ceas.experiments.benchmark_learning_record import ProcessRecord
from ceas.experiments.benchmark_learning_work import Effort, Measured, Program, Work
from ceas.experiments.limited_process import Limits, Outcome, run_within

__all__ = ["AGREEMENT", "Conduct", "Entry", "agreement_rows", "contest_rows", "hold_contest", "is_installed"]

# Two float32 programs that do the same sums in another order stay well within this.
AGREEMENT = 1e-5
_NOT_INSTALLED = "not installed (pip install -e '.[bench]')"
# A program that exceeds the time limit is given one learner in so many.
_LEARNERS_SHARE = 10

_NUMBERS = (
    *("run_ms", "times_ceas", "cpu_ms", "cpu_times_ceas", "encode_ms"),
    *("compile_s", "peak_mb", "difference", "runs", "processes"),
)

Row = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Conduct:
    """How contests are held.

    Attributes:
        limits: Of one process.
        effort: Of one process.
        repetitions: Processes of each program's fastest option.
        repeated_below_s: A program whose process took longer is not repeated (s).
        report: Told before each process, in a few words.
        record: Keeps what processes measure; None if nothing is kept.
    """

    limits: Limits
    effort: Effort
    repetitions: int
    repeated_below_s: float
    report: Callable[[str], None]
    record: ProcessRecord | None = None

    def run(self, words: str, function: Callable[..., Any], *arguments: object) -> Outcome:
        """Run a function in a process of its own, unless what it measured is on record."""

        def process() -> Outcome:
            self.report(words)
            return run_within(self.limits, function, *arguments)

        return process() if self.record is None else self.record.outcome((function, *arguments), process)


@dataclass(slots=True, kw_only=True)
class Entry:
    """One way to run one program, and its processes so far.

    Attributes:
        program: The program.
        option: Name of the way to run it.
        outcomes: Processes that ran the work, in the order of repetitions.
        n_learners: Learners that they were given.
        remark: Why it did not get all learners, or nothing at all.
    """

    program: Program
    option: str
    outcomes: list[Outcome] = field(default_factory=list)
    n_learners: int = 0
    remark: str = ""

    @property
    def measured(self) -> list[Measured]:
        """What its processes measured."""
        return [outcome.result for outcome in self.outcomes if outcome.result is not None]

    def times_s(self, work: Work) -> list[float]:
        """Return the time for all learners of each process (s), extrapolated where it had only some."""
        return [one.run_s * work.n_learners / self.n_learners for one in self.measured]

    def encode_s(self, work: Work) -> list[float]:
        """Return the time of encoding all samples likewise (s); empty where every run does it."""
        known = [one.encode_s for one in self.measured if one.encode_s is not None]
        return [time_s * work.n_learners / self.n_learners for time_s in known]

    def cpu_s(self, work: Work) -> list[float]:
        """Return the processor time likewise (s); not a number where it is not known."""
        return [one.run_cpu_s * work.n_learners / self.n_learners for one in self.measured]


def is_installed(module: str) -> bool:
    """Tell whether a module can be imported."""
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def hold_contest(programs: Sequence[Program], work: Work, conduct: Conduct) -> list[Entry]:
    """Run programs on the same work.

    Args:
        programs: The programs; others are compared with the first.
        work: The work.
        conduct: Limits, effort and repetitions.

    Returns:
        Each way to run each program, in order; a program that is not installed has one without outcomes.
    """
    entries = []
    for program in programs:
        if not is_installed(program.module):
            is_ours = program.module.startswith("ceas.")
            remark = "not in this version" if is_ours else _NOT_INSTALLED
            entries.append(Entry(program=program, option="", remark=remark))
        elif work.n_qubits <= program.most_qubits:
            entries += [_try_option(program, option, work, conduct) for option in program.options]
    for _ in range(1, conduct.repetitions):
        for entry in fastest_options(entries):
            if entry.n_learners == work.n_learners and entry.outcomes[0].wall_s < conduct.repeated_below_s:
                entry.outcomes.append(_run(entry.program, entry.option, work, conduct))
    return entries


def fastest_options(entries: Sequence[Entry]) -> Iterator[Entry]:
    """Yield the fastest way of each program that can be run at all."""
    for name in dict.fromkeys(entry.program.name for entry in entries):
        able = [entry for entry in entries if entry.program.name == name and entry.measured]
        if able:
            yield min(able, key=lambda entry: entry.measured[0].run_s / entry.n_learners)


def _try_option(program: Program, option: str, work: Work, conduct: Conduct) -> Entry:
    outcome, remark, part = _run(program, option, work, conduct), "", work
    if outcome.is_too_slow and work.n_learners >= 2 * _LEARNERS_SHARE:
        part, remark = work.first(work.n_learners // _LEARNERS_SHARE), outcome.failure
        outcome = _run(program, option, part, conduct)
    return Entry(program=program, option=option, outcomes=[outcome], n_learners=part.n_learners, remark=remark)


def _run(program: Program, option: str, work: Work, conduct: Conduct) -> Outcome:
    words = f"{work.n_qubits} qubits, {program.name}" + (f", {option}" if len(program.options) > 1 else "")
    return conduct.run(words, program.options[option], work, conduct.effort)


# ---- rows ------------------------------------------------------------------------------------------------------------


def contest_rows(table: str, entries: Sequence[Entry], work: Work) -> list[Row]:
    """Return a row for each way to run each program.

    `times_ceas` is the median over repetitions of its time over the first program's in the same repetition,
    `cpu_times_ceas` the same of processor time, which other work on the machine changes less. `encode_ms` is not part
    of either: a program that has it encodes samples once, the others in every run.
    """
    reference = entries[0]
    fastest = list(fastest_options(entries))
    return [_row(table, entry, reference, work, any(entry is one for one in fastest)) for entry in entries]


def _row(table: str, entry: Entry, reference: Entry, work: Work, is_fastest: bool) -> Row:
    row: Row = {"table": table, "qubits": work.n_qubits, "program": entry.program.name, "option": entry.option}
    numbers: Row = dict.fromkeys(_NUMBERS)
    row |= {"fastest": "yes" if is_fastest else "", "status": _status(entry, reference, work), **numbers}
    row["learners"] = entry.n_learners or None
    row["platform"] = entry.measured[0].platform if entry.measured else ""
    if entry.outcomes:
        row["peak_mb"] = max(outcome.peak_memory_mb for outcome in entry.outcomes)
    if not entry.measured:
        return row
    times, cpu = entry.times_s(work), entry.cpu_s(work)
    differences, encode_s = _differences(entry, reference), entry.encode_s(work)
    return row | {
        "encode_ms": 1e3 * float(np.median(encode_s)) if encode_s else None,
        "run_ms": 1e3 * float(np.median(times)),
        "times_ceas": _ratio(times, reference.times_s(work)),
        "cpu_ms": _known(1e3 * float(np.median(cpu))),
        "cpu_times_ceas": _ratio(cpu, reference.cpu_s(work)),
        "compile_s": float(np.median([one.compile_s for one in entry.measured])),
        "difference": max(differences) if differences else None,
        "runs": sum(len(one.runs_s) for one in entry.measured),
        "processes": len(entry.measured),
    }


def _ratio(own: Sequence[float], other: Sequence[float]) -> float | None:
    """Return the median ratio of what was measured in the same repetition, if there is any."""
    ratios = [one / two for one, two in zip(own, other, strict=False) if two > 0]
    return _known(float(np.median(ratios))) if ratios else None


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _status(entry: Entry, reference: Entry, work: Work) -> str:
    if not entry.outcomes:
        return entry.remark
    if not entry.measured:
        return entry.outcomes[0].failure
    differences = _differences(entry, reference)
    status = "ok" if not differences or max(differences) <= AGREEMENT else "disagrees"
    if entry.n_learners < work.n_learners:
        status += f", times extrapolated from {entry.n_learners} of {work.n_learners} learners: {entry.remark}"
    return status


def _differences(entry: Entry, reference: Entry) -> tuple[float, float] | None:
    """Return the largest differences of losses and of gradients from the reference's, if both have some."""
    if not entry.measured or not reference.measured:
        return None
    own, other = entry.measured[0], reference.measured[0]
    n = min(len(own.losses), len(other.losses))
    return (
        float(np.max(np.abs(own.losses[:n] - other.losses[:n]))),
        float(np.max(np.abs(own.gradients[:n] - other.gradients[:n]))),
    )


def agreement_rows(kind: str, entries: Sequence[Entry], work: Work) -> Iterator[Mapping[str, Any]]:
    """Yield how far every program's losses and gradients are from the first's."""
    reference = entries[0]
    for entry in entries[1:]:
        differences = _differences(entry, reference)
        loss, gradient = differences or (None, None)
        verdict = "not compared"
        if differences:
            verdict = "agrees" if max(differences) <= AGREEMENT else "DISAGREES"
        yield {
            "table": "agreement",
            "work": kind,
            "qubits": work.n_qubits,
            "program": entry.program.name,
            "option": entry.option,
            "reference": reference.program.name,
            "learners": entry.n_learners if differences else None,
            "loss_difference": loss,
            "gradient_difference": gradient,
            "allowed": AGREEMENT,
            "verdict": verdict,
        }
