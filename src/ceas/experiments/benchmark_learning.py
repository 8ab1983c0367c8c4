"""The learning benchmark: how fast the same work is here, in PennyLane and in TensorCircuit-NG, measured in one run.

- `noisy`: 50 learners with 16 samples and depolarising noise of their own; loss and gradient of each, in float32.
- `pure`: the same without noise on more qubits.
- `scaling`: ours alone, over qubits, layers and learners.
- `roofline`: the time that noisy work would need at the rates of this machine, and the share of it that we reach.
- `agreement`: how far losses and gradients of all programs are apart.

Each program runs in processes of its own, on all cores, within limits of time and memory; what exceeds them is said. A
process's memory includes Python and all libraries.
"""

import importlib.metadata
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ceas import __version__
from ceas.errors import DomainError, UnknownNameError
from ceas.experiments.benchmark_learning_ceas import NOISY_OURS, PURE_OURS, predict_memory_mb, run_and_predict
from ceas.experiments.benchmark_learning_contest import (
    Conduct,
    Entry,
    agreement_rows,
    contest_rows,
    hold_contest,
)
from ceas.experiments.benchmark_learning_peers import NOISY_PEERS, PURE_PEERS
from ceas.experiments.benchmark_learning_record import ProcessRecord
from ceas.experiments.benchmark_learning_work import Effort, Program, Work, make_work
from ceas.experiments.limited_process import Limits, free_memory_mb, memory_size_mb, n_cores, run_within
from ceas.experiments.results import output_folder, write_json
from ceas.experiments.roofline import NeededWork, Rates, measure_rates, needed_work
from ceas.runtime.progress import Progress, ProgressEvent

__all__ = ["PARTS", "benchmark"]

PARTS = ("noisy", "pure", "scaling", "roofline", "agreement")

Row = Mapping[str, Any]

_LIBRARIES = ("jax", "jaxlib", "numpy", "pennylane", "pennylane_lightning", "tensorcircuit-ng")
_PROGRAMS: Mapping[str, Sequence[Program]] = {
    "noisy": (*NOISY_OURS, *NOISY_PEERS),
    "pure": (*PURE_OURS, *PURE_PEERS),
}
# Size at which programs are compared if no larger contest is held.
_AGREEMENT_QUBITS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sizes:
    """How much work there is."""

    contests: Mapping[str, Sequence[int]]
    layers: int = 3
    learners: int = 50
    samples: int = 16
    scaling_qubits: Sequence[int] = (4, 6, 8)
    scaling_layers: Sequence[int] = (1, 3, 6, 12)
    scaling_learners: Sequence[int] = (1, 50, 200, 1000)
    product: int = 2048
    large_bytes: float = 512e6


_QUICK_SIZES = _Sizes(
    contests={"noisy": (2,), "pure": (2,)},
    layers=1,
    learners=2,
    samples=2,
    scaling_qubits=(2,),
    scaling_layers=(1, 2),
    scaling_learners=(1, 2),
    product=64,
    large_bytes=1e5,
)


def benchmark(
    *,
    only: str = "",
    quick: bool = False,
    out: str = "",
    noisy_qubits: Sequence[int] = (4, 6, 8),
    pure_qubits: Sequence[int] = (10, 14),
    repetitions: int = 3,
    time_limit_s: float = 300.0,
    memory_limit_gb: float = 16.0,
    seed: int = 0,
    progress: Progress | None = None,
) -> list[Row]:
    """Measure all parts.

    Args:
        only: Parts, comma-separated, for example `"noisy,pure"`; default: all.
        quick: Whether to do tiny work once, which shows that everything works and measures nothing.
        out: Folder that keeps what each process measured as soon as it has ended; a later call with the same limits,
            program and machine does not repeat it. `rows.json` there, written after each part, holds all rows, and
            `ceas report` makes a page of it. Default: nothing is kept.
        noisy_qubits: Sizes of noisy work; the short benchmark has its own.
        pure_qubits: Sizes of pure work, likewise.
        repetitions: Processes of each program's fastest option, at least 1; slow programs have one.
        time_limit_s: Wall time of one process, imports and compilation included (s).
        memory_limit_gb: Resident memory of one process (GiB); never more than three quarters of what is free at the
            start.
        seed: Seed of angles, labels, parameters and noise.
        progress: Told before every process that is started.

    Returns:
        The rows of all tables; `table` says which.

    Raises:
        UnknownNameError: There is no such part.
        DomainError: A limit is not positive, there is no size or one below 2, or `out` cannot be written.
    """
    parts = _chosen_parts(only)
    if repetitions < 1 or not time_limit_s > 0 or not memory_limit_gb > 0:
        raise DomainError(
            "Arguments `repetitions`, `time_limit_s` and `memory_limit_gb` must be positive, but are "
            f"{repetitions}, {time_limit_s}, {memory_limit_gb}."
        )
    if min(noisy_qubits, default=0) < 2 or min(pure_qubits, default=0) < 2:
        raise DomainError(
            f"Arguments `noisy_qubits` and `pure_qubits` must be of at least 2, but are {noisy_qubits}, {pure_qubits}."
        )
    directory = output_folder(out)
    sizes = _QUICK_SIZES if quick else _Sizes(contests={"noisy": tuple(noisy_qubits), "pure": tuple(pure_qubits)})
    limits = time_limit_s, memory_limit_gb
    conduct = Conduct(
        limits=Limits(time_s=time_limit_s, memory_mb=min(1024 * memory_limit_gb, 0.75 * free_memory_mb())),
        effort=Effort(least=1, enough_s=0.0) if quick else Effort(),
        repetitions=1 if quick else repetitions,
        repeated_below_s=time_limit_s / 4,
        report=_reporter(progress),
        record=None if directory is None else ProcessRecord(directory / "processes", [_machine_facts(), *limits]),
    )
    session = _Session(sizes=sizes, conduct=conduct, seed=seed, parts=parts)
    rows: list[Row] = list(_machine_rows(conduct.limits))
    for part in parts:
        rows += _RUNNERS[part](session)
        if directory is not None:
            document = {"benchmark": "learning", "rows": rows, "is_quick": quick}
            write_json(directory / "rows.json", document)
    return rows


def _chosen_parts(only: str) -> list[str]:
    chosen = list(dict.fromkeys(name.strip() for name in only.split(",") if name.strip()))
    if only and not chosen:
        raise DomainError(f"Argument `only` must list parts, but is {only!r}.")
    for name in chosen:
        if name not in PARTS:
            raise UnknownNameError("part of the learning benchmark", name, PARTS)
    return [part for part in PARTS if not chosen or part in chosen]


def _reporter(progress: Progress | None) -> Callable[[str], None]:
    """Return what tells the progress before each process; the number of processes is not known beforehand."""
    started: list[str] = []

    def report(words: str) -> None:
        started.append(words)
        if progress is not None:
            progress(ProgressEvent(phase=words, training_round=len(started) - 1, rounds=len(started)))

    return report


@dataclass(frozen=True, slots=True, kw_only=True)
class _Session:
    """One run of the benchmark, and the contests that were held in it."""

    sizes: _Sizes
    conduct: Conduct
    seed: int
    parts: Sequence[str]
    contests: dict[tuple[str, int], list[Entry]] = field(default_factory=dict)

    def work(self, kind: str, n_qubits: int, **numbers: int) -> Work:
        """Return the work of a contest, or with other numbers of layers or learners."""
        sizes = {"n_layers": self.sizes.layers, "n_learners": self.sizes.learners, "n_samples": self.sizes.samples}
        return make_work(n_qubits, is_noisy=kind == "noisy", seed=self.seed, **{**sizes, **numbers})


# ---- noisy and pure --------------------------------------------------------------------------------------------------


def _contests(kind: str) -> Callable[[_Session], list[Row]]:
    def run(session: _Session) -> list[Row]:
        rows: list[Row] = []
        for n_qubits in session.sizes.contests[kind]:
            work = session.work(kind, n_qubits)
            entries = hold_contest(_PROGRAMS[kind], work, session.conduct)
            session.contests[kind, n_qubits] = entries
            rows += contest_rows(kind, entries, work)
        return rows + _target_rows(kind, rows)

    return run


@dataclass(frozen=True, slots=True, kw_only=True)
class _Target:
    """What the engine is to reach: a bound on one number of one program's row."""

    qubits: int
    program: str
    column: str
    words: str
    bound: float
    is_least: bool = True
    kind: str = "noisy"

    def row(self, value: float | None) -> Row:
        """Return the target beside what was measured."""
        verdict = "not measured"
        if value is not None:
            verdict = "reached" if (value >= self.bound if self.is_least else value <= self.bound) else "MISSED"
        words = f"{self.words} at {'least' if self.is_least else 'most'}"
        row = {"table": "targets", "qubits": self.qubits, "program": self.program, "quantity": words}
        return {**row, "bound": self.bound, "measured": value, "verdict": verdict}


def _times(qubits: int, program: str, bound: float, kind: str = "noisy") -> _Target:
    words = "times our time,"
    return _Target(qubits=qubits, program=program, column="times_ceas", words=words, bound=bound, kind=kind)


_TARGETS = (
    _times(4, "tensorcircuit-ng DMCircuit", 50.0),
    _times(4, "pennylane default.mixed", 200.0),
    _times(6, "tensorcircuit-ng DMCircuit", 400.0),
    _times(6, "pennylane default.mixed", 400.0),
    _Target(qubits=8, program="ceas", column="run_ms", words="time (ms),", bound=250.0, is_least=False),
    _Target(qubits=8, program="ceas", column="peak_mb", words="memory (MiB),", bound=2048.0, is_least=False),
    *(
        _times(qubits, program, 1.0, "pure")
        for qubits in (10, 14)
        for program in ("tensorcircuit-ng Circuit", "pennylane lightning.qubit")
    ),
)


def _target_rows(kind: str, rows: Sequence[Row]) -> list[Row]:
    fastest = {(row["qubits"], row["program"]): row for row in rows if row["fastest"]}
    sizes = {row["qubits"] for row in rows}
    return [
        target.row(fastest.get((target.qubits, target.program), {}).get(target.column))
        for target in _TARGETS
        if target.kind == kind and target.qubits in sizes
    ]


# ---- scaling ---------------------------------------------------------------------------------------------------------


def _scaling(session: _Session) -> list[Row]:
    sizes = session.sizes
    return [
        _scaling_row(session, n_qubits, n_layers, n_learners)
        for n_qubits in sizes.scaling_qubits
        for n_layers in sizes.scaling_layers
        for n_learners in sizes.scaling_learners
    ]


def _scaling_row(session: _Session, n_qubits: int, n_layers: int, n_learners: int) -> Row:
    work = session.work("noisy", n_qubits, n_layers=n_layers, n_learners=n_learners)
    words = f"scaling: qubits {n_qubits}, layers {n_layers}, learners {n_learners}"
    outcome = session.conduct.run(words, run_and_predict, work, session.conduct.effort)
    measured, predicted_mb = outcome.result or (
        None,
        run_within(session.conduct.limits, predict_memory_mb, work).result,
    )
    return {
        "table": "scaling",
        "qubits": n_qubits,
        "layers": n_layers,
        "learners": n_learners,
        "run_ms": None if measured is None else 1e3 * measured.run_s,
        "compile_s": None if measured is None else measured.compile_s,
        "peak_mb": outcome.peak_memory_mb,
        "predicted_mb": predicted_mb,
        "status": outcome.failure or "ok",
        "platform": "" if measured is None else measured.platform,
    }


# ---- roofline --------------------------------------------------------------------------------------------------------


def _roofline(session: _Session) -> list[Row]:
    sizes = session.sizes
    qubits = sizes.contests["noisy"]
    needed = [needed_work(n_qubits, sizes.layers, sizes.samples) for n_qubits in qubits]
    held = [sizes.learners * one.held_bytes for one in needed]
    outcome = session.conduct.run("rates of this machine", measure_rates, [sizes.large_bytes, *held], sizes.product)
    rates: Rates | None = outcome.result
    if rates is None:
        return [{"table": "rates", "quantity": "rates of this machine", "value": outcome.failure, "platform": ""}]
    rows: list[Row] = [
        {"quantity": f"float32 matrix product (Gflop/s), by {rates.product_program}", "value": rates.flops_per_s / 1e9},
        {"quantity": "memory, a = b + s c in large arrays (GB/s)", "value": rates.bytes_per_s[0] / 1e9},
    ]
    rows = [{"table": "rates", **row, "platform": rates.platform} for row in rows]
    return rows + [
        _roofline_row(session, n_qubits, one, rates.flops_per_s, bytes_per_s)
        for n_qubits, one, bytes_per_s in zip(qubits, needed, rates.bytes_per_s[1:], strict=True)
    ]


def _roofline_row(session: _Session, n_qubits: int, needed: NeededWork, flops_per_s: float, bytes_per_s: float) -> Row:
    work = session.work("noisy", n_qubits)
    entries = session.contests.get(("noisy", n_qubits)) or hold_contest(NOISY_OURS, work, session.conduct)
    run_ms = contest_rows("noisy", entries[:1], work)[0]["run_ms"]
    flops, moved = (work.n_learners * number for number in (needed.flops, needed.moved_bytes))
    bound_ms = 1e3 * max(flops / flops_per_s, moved / bytes_per_s)
    return {
        "table": "roofline",
        "qubits": n_qubits,
        "mflop": flops / 1e6,
        "moved_mb": moved / 1e6,
        "flop_per_byte": flops / moved,
        "gbytes_per_s": bytes_per_s / 1e9,
        "bound_ms": bound_ms,
        "bound_by": "operations" if flops / flops_per_s > moved / bytes_per_s else "memory",
        "run_ms": run_ms,
        "gflops": None if run_ms is None else flops / run_ms / 1e6,
        "share": None if run_ms is None else bound_ms / run_ms,
    }


# ---- agreement and the machine ---------------------------------------------------------------------------------------


def _agreement(session: _Session) -> list[Row]:
    rows: list[Row] = []
    for kind, programs in _PROGRAMS.items():
        if not any(key[0] == kind for key in session.contests):
            n_qubits = min(_AGREEMENT_QUBITS, *session.sizes.contests[kind])
            work = session.work(kind, n_qubits)
            session.contests[kind, n_qubits] = hold_contest(programs, work, session.conduct)
        for (held, n_qubits), entries in session.contests.items():
            if held == kind:
                rows += agreement_rows(kind, entries, session.work(kind, n_qubits))
    return rows


def _machine_rows(limits: Limits) -> list[Row]:
    facts = {
        **_machine_facts(),
        "load before": " ".join(f"{load:.2f}" for load in os.getloadavg()),
        "limits of a process": f"{limits.time_s:.4g} s, {limits.memory_mb / 1024:.3g} GiB",
    }
    return [{"table": "machine", "fact": fact, "value": value} for fact, value in facts.items()]


def _machine_facts() -> dict[str, str]:
    return {
        "processor": _processor(),
        "cores": str(n_cores()),
        "memory": f"{memory_size_mb() / 1024:.3g} GiB",
        "system": f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        "ceas": __version__,
        **{name: _version(name) for name in _LIBRARIES},
    }


def _processor() -> str:
    """Return the processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


_RUNNERS: Mapping[str, Callable[[_Session], list[Row]]] = {
    "noisy": _contests("noisy"),
    "pure": _contests("pure"),
    "scaling": _scaling,
    "roofline": _roofline,
    "agreement": _agreement,
}
