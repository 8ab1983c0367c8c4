"""CEAS: distributed quantum learning on a quantum internet, co-simulated end to end.

Example:
    >>> import ceas
    >>> scenario = ceas.load_scenario("quickstart")
    >>> scenario.n_nodes
    8

`ceas.run(scenario, seed=0)` then trains it and returns the result; every room (`ceas.physics`, `ceas.network`, ...) is
importable and useful alone.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ceas.aggregation import Aggregate as Aggregate
    from ceas.errors import CapacityError as CapacityError
    from ceas.errors import CeasError as CeasError
    from ceas.errors import DomainError as DomainError
    from ceas.errors import InterruptedRunError as InterruptedRunError
    from ceas.errors import RunDirectoryError as RunDirectoryError
    from ceas.errors import ScenarioError as ScenarioError
    from ceas.errors import UnknownNameError as UnknownNameError
    from ceas.experiments import Comparison as Comparison
    from ceas.experiments import RunResult as RunResult
    from ceas.experiments import Scenario as Scenario
    from ceas.experiments import built_in_scenarios as built_in_scenarios
    from ceas.experiments import compare as compare
    from ceas.experiments import load_scenario as load_scenario
    from ceas.experiments import read_run as read_run
    from ceas.experiments import record_network as record_network
    from ceas.experiments import resume_run as resume
    from ceas.experiments import run_scenario as run
    from ceas.experiments import schedule_policies as schedule
    from ceas.learning import Circuit as Circuit
    from ceas.learning import NoiseTable as NoiseTable
    from ceas.network import Fate as Fate
    from ceas.network import Policy as Policy
    from ceas.network import Topology as Topology
    from ceas.network import WindowRecord as WindowRecord
    from ceas.report import write_report as write_report
    from ceas.streams import stream as stream
    from ceas.streams import stream_seed as stream_seed

__version__ = "0.1.0"

# Public name: the room it comes from and its name there. Imported when first asked for, so that `import ceas` is light.
_SOURCES = {
    "Aggregate": ("aggregation", "Aggregate"),
    "CapacityError": ("errors", "CapacityError"),
    "CeasError": ("errors", "CeasError"),
    "Circuit": ("learning", "Circuit"),
    "Comparison": ("experiments", "Comparison"),
    "DomainError": ("errors", "DomainError"),
    "Fate": ("network", "Fate"),
    "InterruptedRunError": ("errors", "InterruptedRunError"),
    "NoiseTable": ("learning", "NoiseTable"),
    "Policy": ("network", "Policy"),
    "RunDirectoryError": ("errors", "RunDirectoryError"),
    "RunResult": ("experiments", "RunResult"),
    "Scenario": ("experiments", "Scenario"),
    "ScenarioError": ("errors", "ScenarioError"),
    "Topology": ("network", "Topology"),
    "UnknownNameError": ("errors", "UnknownNameError"),
    "WindowRecord": ("network", "WindowRecord"),
    "built_in_scenarios": ("experiments", "built_in_scenarios"),
    "compare": ("experiments", "compare"),
    "load_scenario": ("experiments", "load_scenario"),
    "read_run": ("experiments", "read_run"),
    "record_network": ("experiments", "record_network"),
    "resume": ("experiments", "resume_run"),
    "run": ("experiments", "run_scenario"),
    "schedule": ("experiments", "schedule_policies"),
    "stream": ("streams", "stream"),
    "stream_seed": ("streams", "stream_seed"),
    "write_report": ("report", "write_report"),
}

__all__ = [
    "Aggregate",
    "CapacityError",
    "CeasError",
    "Circuit",
    "Comparison",
    "DomainError",
    "Fate",
    "InterruptedRunError",
    "NoiseTable",
    "Policy",
    "RunDirectoryError",
    "RunResult",
    "Scenario",
    "ScenarioError",
    "Topology",
    "UnknownNameError",
    "WindowRecord",
    "__version__",
    "built_in_scenarios",
    "compare",
    "load_scenario",
    "read_run",
    "record_network",
    "resume",
    "run",
    "schedule",
    "stream",
    "stream_seed",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name not in _SOURCES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    room, its_name = _SOURCES[name]
    return getattr(importlib.import_module(f"ceas.{room}"), its_name)
