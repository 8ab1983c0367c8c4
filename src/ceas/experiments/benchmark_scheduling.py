"""The scheduling benchmark: policies on scenarios S1 to S11, tuned with the same budget, beside what nobody can pass.

Utilisation alone says nothing (who makes pairs on demand uses them all), so every row has it beside delivered value,
served fraction, fidelity, waiting, fairness and the fraction of the clairvoyant's linear programme on the same sample
paths. Differences are paired: all policies meet the same network, requests and coins. Who wins is judged in
`scheduling_verdicts`.
"""

import hashlib
import json
import math
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import as_completed
from pathlib import Path
from typing import Any

import numpy as np

from ceas.errors import DomainError
from ceas.experiments.processes import spawned_pool
from ceas.experiments.results import output_folder, plain_json, write_json
from ceas.experiments.scheduling_settings import SCENARIOS, Setting, choose_settings
from ceas.experiments.scheduling_verdicts import (
    THRIFTY,
    best_baseline,
    difference,
    errors_of,
    fractions,
    mean_of,
    of_online_bound,
    thrift_note,
    values_of,
    verdict_rows,
)
from ceas.experiments.statistics import mean_interval
from ceas.runtime.progress import Progress, ProgressEvent

__all__ = ["benchmark", "run_setting", "setting_rows"]

Document = dict[str, Any]
Row = dict[str, Any]

TUNING_SEEDS, QUICK_TUNING_SEEDS = 3, 1
BUDGET, QUICK_BUDGET = 16, 3
QUICK_SEEDS = 3


def benchmark(
    *,
    only: str = "",
    seeds: int = 10,
    quick: bool = False,
    out: str = "",
    processes: int = 2,
    progress: Progress | None = None,
) -> list[Row]:
    """Run the scheduling benchmark.

    Args:
        only: Scenarios, comma-separated, for example `"S2,S5"`; default: all.
        seeds: Instances of each setting that are reported, at least 2; the short benchmark has at most 3.
        quick: Whether to run shortened instances of a few settings, with less tuning. Its figures show that everything
            works; they are no measurement.
        out: Folder that keeps each setting's results as soon as it is finished; a later call with the same parameters
            and the same program does not repeat them. At the end `rows.json` there holds all rows and `is_quick`, and
            `ceas report` makes a page of it. Default: nothing is kept.
        processes: Processes, at least 1.
        progress: Told at the start, since the first setting takes minutes, and after every setting.

    Returns:
        The rows of all tables; `table` says which.

    Raises:
        UnknownNameError: There is no such scenario.
        DomainError: `seeds`, `processes` or `out` is wrong.
    """
    scenarios = list(dict.fromkeys(name.strip() for name in only.split(",") if name.strip()))
    if only and not scenarios:
        raise DomainError(f"Argument `only` must list scenarios, but is {only!r}.")
    for name, value, least in (("seeds", seeds, 2), ("processes", processes, 1)):
        if value < least or value != int(value):
            raise DomainError(f"Argument `{name}` must be a whole number of at least {least}, but is {value}.")
    settings = choose_settings(scenarios, is_quick=quick)
    directory = output_folder(out)
    documents: dict[str, Document] = {}
    if progress is not None and settings:
        progress(ProgressEvent(phase="settings", training_round=0, rounds=len(settings)))
    for index, (setting, document) in enumerate(_finished(settings, int(seeds), quick, directory, int(processes)), 1):
        documents[setting.name] = document
        if progress is not None:
            progress(ProgressEvent(phase=setting.name, training_round=index, rounds=len(settings)))
    from ceas.experiments.scheduling_route_entrants import delay_rows  # noqa: PLC0415 (loads compiled code)

    rows = _exact_rows(scenarios or SCENARIOS, quick)
    ordered = [documents[setting.name] for setting in settings]
    rows += [row for document in ordered for row in setting_rows(document)]
    rows += [row for document in ordered for row in extra_rows(document)]
    rows += [row for document in ordered for row in frontier_rows(document)]
    rows += delay_rows(ordered)
    rows += verdict_rows(ordered)
    if directory is not None:
        write_json(directory / "rows.json", {"rows": rows, "is_quick": quick})
    return rows


# ---- running ---------------------------------------------------------------------------------------------------------


def _finished(
    settings: Sequence[Setting], seeds: int, is_quick: bool, directory: Path | None, processes: int
) -> Iterator[tuple[Setting, Document]]:
    """Yield each setting's document, those on disk first, and keep the others as they come."""
    pending = []
    for setting in settings:
        kept = _read(directory, setting, _fingerprint(setting, seeds, is_quick))
        if kept is None:
            pending.append(setting)
        else:
            yield setting, kept
    for setting, document in _run_all(pending, seeds, is_quick, processes):
        if directory is not None:
            write_json(_path(directory, setting), document)
        # As if read back from disk, so that a resumed benchmark prints the same rows.
        yield setting, json.loads(json.dumps(plain_json(document), sort_keys=True))


def _run_all(
    settings: Sequence[Setting], seeds: int, is_quick: bool, processes: int
) -> Iterator[tuple[Setting, Document]]:
    if processes == 1 or len(settings) < 2:
        for setting in settings:
            yield setting, run_setting(setting, seeds=seeds, is_quick=is_quick)
        return
    with spawned_pool(processes) as pool:
        futures = {pool.submit(_run_named, one.scenario, one.name, seeds, is_quick): one for one in settings}
        for future in as_completed(futures):
            yield futures[future], future.result()


def _run_named(scenario: str, name: str, seeds: int, is_quick: bool) -> Document:
    """Run a setting by name, which is what a process can be sent."""
    setting = next(one for one in choose_settings([scenario]) if one.name == name)
    return run_setting(setting, seeds=seeds, is_quick=is_quick)


def run_setting(setting: Setting, *, seeds: int, is_quick: bool = False) -> Document:
    """Run one setting: tune and run all policies, compute the bounds on the reported instances.

    Returns:
        What `contest` returns as `policies`, with `setting`, `scenario`, `regime`, `is_quick`, `fingerprint`,
        `bounds` (per reported instance), `frontier` and `wall_s`.
    """
    # Loaded here because they compile what they use.
    from ceas.experiments.scheduling_contest import contest  # noqa: PLC0415
    from ceas.experiments.scheduling_entrants import entrants_of  # noqa: PLC0415
    from ceas.experiments.scheduling_extras import extra_measure  # noqa: PLC0415
    from ceas.experiments.scheduling_figures import bounds_of, frontier_of, measure, utilisation_bound  # noqa: PLC0415
    from ceas.experiments.scheduling_route_entrants import measure_routes, route_entrants  # noqa: PLC0415

    start = time.perf_counter()
    reported = min(seeds, setting.most_seeds or seeds, QUICK_SEEDS if is_quick else seeds)
    policies = contest(
        setting,
        route_entrants() if setting.is_on_events else entrants_of(setting),
        measure=measure_routes if setting.is_on_events else measure,
        tuning_seeds=QUICK_TUNING_SEEDS if is_quick else TUNING_SEEDS,
        seeds=reported,
        budget=QUICK_BUDGET if is_quick else BUDGET,
        is_quick=is_quick,
        extra=extra_measure(setting),
    )
    bounds = bounds_of(setting, reported, is_quick=is_quick)
    return {
        "setting": setting.name,
        "scenario": setting.scenario,
        "regime": str(setting.regime),
        "is_quick": is_quick,
        "fingerprint": _fingerprint(setting, seeds, is_quick),
        "policies": policies,
        "bounds": bounds,
        "frontier": [*frontier_of(policies), *utilisation_bound(setting, is_quick=is_quick)],
        "wall_s": time.perf_counter() - start,
    }


# ---- keeping ---------------------------------------------------------------------------------------------------------


def _path(directory: Path, setting: Setting) -> Path:
    return directory / f"{setting.name.replace(' ', '_')}.json"


def _read(directory: Path | None, setting: Setting, fingerprint: str) -> Document | None:
    """Return a kept document; None if there is none, or one of other parameters, another program or half a file."""
    if directory is None or not _path(directory, setting).is_file():
        return None
    try:
        document: Document = json.loads(_path(directory, setting).read_text("utf-8"))
    except ValueError:
        return None
    return document if document.get("fingerprint") == fingerprint else None


def _fingerprint(setting: Setting, seeds: int, is_quick: bool) -> str:
    """Hash what a setting's results depend on: its parameters, those of the benchmark, and the program."""
    digest = hashlib.sha256()
    package = Path(__file__).parents[1]
    rooms = [path for room in ("network", "physics", "scheduling") for path in sorted((package / room).glob("*.py"))]
    for path in (*rooms, package / "streams.py", *sorted(Path(__file__).parent.glob("*scheduling*.py"))):
        digest.update(path.read_bytes())
    digest.update(repr((setting.name, dict(setting.parameters), seeds, is_quick)).encode())
    return digest.hexdigest()[:16]


# ---- tables ----------------------------------------------------------------------------------------------------------


def setting_rows(document: Document) -> list[Row]:
    """Return one row per policy of a setting."""
    rows = []
    for policy in document["policies"]:
        value = mean_interval(values_of(policy, "V"))
        # A thrifty policy is held against those that are thrifty, too.
        rival = best_baseline(document, is_thrifty=policy["policy"].endswith(THRIFTY))
        gap = None if rival is None or rival is policy else difference(policy, rival)
        of_hindsight, of_average = fractions(document, policy)
        of_online = of_online_bound(document, policy)
        rows.append(
            {
                "table": f"{document['scenario']} policies",
                "setting": document["setting"],
                "policy": policy["policy"],
                "U": mean_of(values_of(policy, "U")),
                "V": value.mean,
                "V ±": value.high - value.mean,
                "S": mean_of(values_of(policy, "S")),
                "F mean": mean_of(values_of(policy, "F_mean")),
                "F 5 %": mean_of(values_of(policy, "F_p05")),
                "wait p99": mean_of(values_of(policy, "wait_p99")),
                "fairness": mean_of(values_of(policy, "fairness")),
                "of LP": of_hindsight.mean,
                "of online bound": of_online.mean,
                "V - best baseline": math.nan if gap is None else gap.mean,
                "in s.e.": math.nan if gap is None else errors_of(gap),
                "s.e.": math.nan if gap is None else gap.standard_error,
                "best baseline": "" if rival is None else rival["policy"],
                "note": thrift_note(policy),
                "of LP ±": of_hindsight.high - of_hindsight.mean,
                "of online bound ±": of_online.high - of_online.mean,
                "of average bound, 1 instance": of_average.mean,
                "ms/slot": float(np.median(values_of(policy, "ms_per_slot"))),
                "build ms": policy["build_ms"],
                "seeds": len(policy["figures"]["V"]),
                "parameters": ", ".join(f"{key}={value}" for key, value in policy["parameters"].items()),
            }
        )
    return rows


def extra_rows(document: Document) -> list[Row]:
    """Return the figures that only this scenario has, one row per policy; none for most."""
    from ceas.experiments.scheduling_contest import METRICS  # noqa: PLC0415

    rows = []
    for policy in document["policies"]:
        own = [name for name in policy["figures"] if name not in METRICS]
        if own:
            head = {"table": f"{document['scenario']} figures of its own", "setting": document["setting"]}
            figures = {name.replace("_", " "): mean_of(values_of(policy, name)) for name in own}
            rows.append({**head, "policy": policy["policy"], **figures})
    return rows


def frontier_rows(document: Document) -> list[Row]:
    """Return the candidates of which no other is better in both utilisation and value, on the tuning instances."""
    return [
        {
            "table": f"{document['scenario']} frontier of U and V, tuning instances",
            "setting": document["setting"],
            **{key: point[key] for key in ("policy", "U", "V", "parameters")},
        }
        for point in document["frontier"]
    ]


def _exact_rows(scenarios: Sequence[str], is_quick: bool) -> list[Row]:
    from ceas.experiments.scheduling_exact_tables import chain_rows, one_link_rows, perishable_rows  # noqa: PLC0415

    rows: list[Row] = []
    if "S1" in scenarios:
        rows += [{"table": "S1 perishable goods, closed forms", **row} for row in perishable_rows()]
        rows += [{"table": "S1 one link, exact mean value per slot", **row} for row in one_link_rows()]
    if "S4" in scenarios:
        rows += [{"table": "S4 repeater chains, expected slots", **row} for row in chain_rows(is_quick=is_quick)]
    return rows
