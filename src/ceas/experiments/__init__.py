"""What a user asks for: scenarios, tables of names, runs, comparisons and their results.

Names are imported when they are used, so that reading a scenario does not load what runs it.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ceas.experiments.bench import run_benchmark as run_benchmark
    from ceas.experiments.comparison import Comparison as Comparison
    from ceas.experiments.comparison import ComparisonCell as ComparisonCell
    from ceas.experiments.comparison_store import ComparisonTables as ComparisonTables
    from ceas.experiments.comparison_store import read_comparison as read_comparison
    from ceas.experiments.key_server import make_key_certificates as make_key_certificates
    from ceas.experiments.key_server import open_key_server as open_key_server
    from ceas.experiments.presets import document_preset as document_preset
    from ceas.experiments.presets import document_presets as document_presets
    from ceas.experiments.registry import names as names
    from ceas.experiments.registry import resolve as resolve
    from ceas.experiments.results import RunResult as RunResult
    from ceas.experiments.results import claim_run_directory as claim_run_directory
    from ceas.experiments.results import plain_json as plain_json
    from ceas.experiments.results import read_run as read_run
    from ceas.experiments.results import write_run as write_run
    from ceas.experiments.run import compare as compare
    from ceas.experiments.run import record_network as record_network
    from ceas.experiments.run import resume_run as resume_run
    from ceas.experiments.run import run_scenario as run_scenario
    from ceas.experiments.scenario import Scenario as Scenario
    from ceas.experiments.scenario import built_in_scenarios as built_in_scenarios
    from ceas.experiments.scenario import document_scenario_keys as document_scenario_keys
    from ceas.experiments.scenario import load_scenario as load_scenario
    from ceas.experiments.schedule import schedule_policies as schedule_policies
    from ceas.experiments.schedule_store import read_schedule as read_schedule
    from ceas.experiments.schedule_study import ScheduleStudy as ScheduleStudy
    from ceas.runtime.progress import Progress as Progress
    from ceas.runtime.progress import ProgressEvent as ProgressEvent

_HOMES = {
    "bench": ("run_benchmark",),
    "comparison": ("Comparison", "ComparisonCell"),
    "comparison_store": ("ComparisonTables", "read_comparison"),
    "key_server": ("make_key_certificates", "open_key_server"),
    "presets": ("document_preset", "document_presets"),
    "registry": ("names", "resolve"),
    "results": ("RunResult", "claim_run_directory", "plain_json", "read_run", "write_run"),
    "run": ("compare", "record_network", "resume_run", "run_scenario"),
    "scenario": ("Scenario", "built_in_scenarios", "document_scenario_keys", "load_scenario"),
    "schedule": ("schedule_policies",),
    "schedule_store": ("read_schedule",),
    "schedule_study": ("PolicyResult", "ScheduleStudy", "study_document", "verdict"),
}
_MODULE_OF = {name: f"ceas.experiments.{module}" for module, names in _HOMES.items() for name in names}
_MODULE_OF |= {"Progress": "ceas.runtime.progress", "ProgressEvent": "ceas.runtime.progress"}

__all__ = [
    "Comparison",
    "ComparisonCell",
    "ComparisonTables",
    "Progress",
    "ProgressEvent",
    "RunResult",
    "Scenario",
    "ScheduleStudy",
    "built_in_scenarios",
    "claim_run_directory",
    "compare",
    "document_preset",
    "document_presets",
    "document_scenario_keys",
    "load_scenario",
    "make_key_certificates",
    "names",
    "open_key_server",
    "plain_json",
    "read_comparison",
    "read_run",
    "read_schedule",
    "record_network",
    "resolve",
    "resume_run",
    "run_benchmark",
    "run_scenario",
    "schedule_policies",
    "write_run",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULE_OF[name]), name)
