"""The tables of names that a scenario or the command line selects from.

Each family is one literal table `NAME -> "module:name"`. A target is imported when it is used and not before, so that
listing names costs nothing. A user's own object is named `module:name` in the same places.
"""

import importlib
import inspect
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType, UnionType
from typing import Any, get_args

from ceas.errors import ScenarioError, UnknownNameError, nearest_name
from ceas.experiments.scenario_text import describe_value

__all__ = [
    "DEBIASING_RULES",
    "DEFAULT_CLASSES",
    "FAMILIES",
    "QUANTUM_DATASETS",
    "UNCONDITIONAL_RULES",
    "Family",
    "bind",
    "check_name",
    "is_user_object",
    "names",
    "parameter_mistakes",
    "resolve",
]

AGGREGATION_RULES = {
    "mean": "ceas.aggregation:mean",
    "coordinate_median": "ceas.aggregation:coordinate_median",
    "trimmed_mean": "ceas.aggregation:trimmed_mean",
    "meamed": "ceas.aggregation:meamed",
    "geometric_median": "ceas.aggregation:geometric_median",
    "centered_clipping": "ceas.aggregation:centered_clipping",
    "fltrust": "ceas.aggregation:fltrust",
    "krum": "ceas.aggregation:krum",
    "multi_krum": "ceas.aggregation:multi_krum",
    "bulyan": "ceas.aggregation:bulyan",
    "monna": "ceas.aggregation:monna",
    "mda": "ceas.aggregation:mda",
    "smea": "ceas.aggregation:smea",
    "caf": "ceas.aggregation:caf",
    "dnc": "ceas.aggregation:dnc",
    "weighted_coordinate_median": "ceas.aggregation:weighted_coordinate_median",
    "weighted_trimmed_mean": "ceas.aggregation:weighted_trimmed_mean",
    "weighted_geometric_median": "ceas.aggregation:weighted_geometric_median",
    "weighted_nnm_trimmed_mean": "ceas.aggregation:weighted_nnm_trimmed_mean",
    "weighted_nnm_geometric_median": "ceas.aggregation:weighted_nnm_geometric_median",
    "ctma_coordinate_median": "ceas.aggregation:ctma_coordinate_median",
    "ctma_geometric_median": "ceas.aggregation:ctma_geometric_median",
    "nnm_mean": "ceas.aggregation:nnm_mean",
    "nnm_coordinate_median": "ceas.aggregation:nnm_coordinate_median",
    "nnm_trimmed_mean": "ceas.aggregation:nnm_trimmed_mean",
    "nnm_geometric_median": "ceas.aggregation:nnm_geometric_median",
    "nnm_meamed": "ceas.aggregation:nnm_meamed",
    "nnm_krum": "ceas.aggregation:nnm_krum",
    "nnm_multi_krum": "ceas.aggregation:nnm_multi_krum",
    "nnm_centered_clipping": "ceas.aggregation:nnm_centered_clipping",
    "nnm_caf": "ceas.aggregation:nnm_caf",
    "bucketing_coordinate_median": "ceas.aggregation:bucketing_coordinate_median",
    "bucketing_trimmed_mean": "ceas.aggregation:bucketing_trimmed_mean",
    "bucketing_geometric_median": "ceas.aggregation:bucketing_geometric_median",
    "bucketing_krum": "ceas.aggregation:bucketing_krum",
    "bucketing_multi_krum": "ceas.aggregation:bucketing_multi_krum",
    "bucketing_centered_clipping": "ceas.aggregation:bucketing_centered_clipping",
    "clipping_mean": "ceas.aggregation:clipping_mean",
    "clipping_coordinate_median": "ceas.aggregation:clipping_coordinate_median",
    "clipping_trimmed_mean": "ceas.aggregation:clipping_trimmed_mean",
    "clipping_geometric_median": "ceas.aggregation:clipping_geometric_median",
    "arc_mean": "ceas.aggregation:arc_mean",
    "arc_coordinate_median": "ceas.aggregation:arc_coordinate_median",
    "arc_trimmed_mean": "ceas.aggregation:arc_trimmed_mean",
    "arc_geometric_median": "ceas.aggregation:arc_geometric_median",
    "arc_nnm_trimmed_mean": "ceas.aggregation:arc_nnm_trimmed_mean",
    "arc_nnm_geometric_median": "ceas.aggregation:arc_nnm_geometric_median",
    "sample_weighted_mean": "ceas.aggregation:sample_weighted_mean",
    "fidelity_weighted_mean": "ceas.aggregation:fidelity_weighted_mean",
    "qfi_weighted_mean": "ceas.aggregation:qfi_weighted_mean",
    "information_weighted_mean": "ceas.aggregation:information_weighted_mean",
    "q_rail_style": "ceas.aggregation:q_rail_style",
    "wpqfl_style": "ceas.aggregation:wpqfl_style",
    "ceas": "ceas.aggregation:ceas",
}
# Rules that average updates divided by their certified contraction; attackers aim in that space.
DEBIASING_RULES = frozenset(
    {"ceas", *(f"ceas.experiments.reproduce_falsifiers:{name}_ceas" for name in ("equal", "shuffled"))}
)
# Rules that need nothing but that less than half of the nodes are malicious, so that a scenario which names one can be
# read without loading any.
UNCONDITIONAL_RULES = frozenset({"mean", "coordinate_median", "trimmed_mean", "geometric_median", "ceas"})
ATTACKS = {
    "none": "ceas.attacks:none",
    "sign_flip": "ceas.attacks:sign_flip",
    "inner_product_manipulation": "ceas.attacks:inner_product_manipulation",
    "a_little_is_enough": "ceas.attacks:a_little_is_enough",
    "min_max": "ceas.attacks:min_max",
    "min_sum": "ceas.attacks:min_sum",
    "mimic": "ceas.attacks:mimic",
    "gaussian": "ceas.attacks:gaussian",
    "relocated_orthogonal": "ceas.attacks:relocated_orthogonal",
    "drift": "ceas.attacks:drift",
    "sleeper": "ceas.attacks:sleeper",
    "malformed": "ceas.attacks:malformed",
    "opt_alie": "ceas.attacks:opt_alie",
    "opt_ipm": "ceas.attacks:opt_ipm",
    "free_riding": "ceas.attacks:free_riding",
    "label_flip": "ceas.attacks:label_flip",
    "circuit_fault": "ceas.attacks:circuit_fault",
    "inflated_claim": "ceas.attacks:inflated_claim",
    "with_false_claims": "ceas.attacks:with_false_claims",
    "withholding": "ceas.attacks:withholding",
    "pair_griefing": "ceas.attacks:pair_griefing",
    "equivocation": "ceas.attacks:equivocation",
    "replay": "ceas.attacks:replay",
    "with_false_tests": "ceas.attacks:with_false_tests",
}
# Attacks that change what is exchanged, or what becomes of pairs and tests, so that no other scenario can share it.
ATTACKS_ON_MESSAGES = frozenset({"equivocation", "replay"})
ATTACKS_ON_TESTS = frozenset({"with_false_tests"})
POLICIES = {
    "oldest_first": "ceas.scheduling:oldest_first",
    "freshest_first": "ceas.scheduling:freshest_first",
    "random": "ceas.scheduling:random",
    "static_tdma": "ceas.scheduling:static_tdma",
    "earliest_deadline": "ceas.scheduling:earliest_deadline",
    "on_demand": "ceas.scheduling:on_demand",
    "on_demand_weighted": "ceas.scheduling:on_demand_weighted",
    "max_weight": "ceas.scheduling:max_weight",
    "greedy_fidelity": "ceas.scheduling:greedy_fidelity",
    "best_cutoff": "ceas.scheduling:best_cutoff",
    "demand_aware": "ceas.scheduling:demand_aware",
    "ceas": "ceas.scheduling:ceas",
}
DATASETS = {
    "digits": "ceas.learning.datasets:digits",
    "mnist": "ceas.learning.datasets:mnist",
    "breast_cancer": "ceas.learning.datasets:breast_cancer",
    "wine": "ceas.learning.datasets:wine",
    "iris": "ceas.learning.datasets:iris",
    "hidden_manifold": "ceas.learning.generators:hidden_manifold",
    "two_curves": "ceas.learning.generators:two_curves",
    "bars_and_stripes": "ceas.learning.generators:bars_and_stripes",
    "linearly_separable": "ceas.learning.generators:linearly_separable",
    "hyperplanes_parity": "ceas.learning.generators:hyperplanes_parity",
    "ising_chain": "ceas.learning.quantum_data:ising_chain",
    "file": "ceas.learning.data_files:load_file",
}
# Labels that are told apart unless the scenario says which; those of files are the user's to name.
DEFAULT_CLASSES = dict.fromkeys(DATASETS.keys() - {"file"}, (0, 1)) | {
    "digits": (0, 1, 2, 3),
    "mnist": (0, 1, 2, 3),
    "wine": (0, 1, 2),
    "iris": (0, 1, 2),
}
QUANTUM_DATASETS = frozenset({"ising_chain"})
ANSAETZE = {
    "hardware_efficient": "ceas.learning.ansatz:hardware_efficient",
    "strongly_entangling": "ceas.learning.ansatz:strongly_entangling",
    "data_reuploading": "ceas.learning.ansatz:data_reuploading",
    "iqp": "ceas.learning.ansatz:iqp",
    "dressed_core": "ceas.learning.ansatz:dressed_core",
    "separable": "ceas.learning.ansatz:separable",
    "qasm": "ceas.learning.circuit_files:qasm_file",
}
SPLITS = dict.fromkeys(("iid", "dirichlet", "gamma_similarity", "by_class"), "ceas.learning:split_over_learners")
TOPOLOGIES = {
    "surfnet": "ceas.network:surfnet",
    "arnes": "ceas.network:arnes",
    "chicago": "ceas.network:chicago",
    "delft_eindhoven": "ceas.network:delft_eindhoven",
    "belnet": "ceas.network:belnet",
    "cesnet": "ceas.network:cesnet",
    "dfn": "ceas.network:dfn",
    "garr": "ceas.network:garr",
    "janet": "ceas.network:janet",
    "renater": "ceas.network:renater",
    "geant": "ceas.network:geant",
    "abilene": "ceas.network:abilene",
    "nsfnet": "ceas.network:nsfnet",
    "chain": "ceas.network:chain",
    "ring": "ceas.network:ring",
    "grid": "ceas.network:grid",
    "star": "ceas.network:star",
    "random_geometric": "ceas.network:random_geometric",
    "waxman": "ceas.network:waxman",
    "random_regular": "ceas.network:random_regular",
    "random_recursive": "ceas.network:random_recursive",
    "file": "ceas.network:load_topology",
}
AUTHENTICATION_PROFILES = {
    "its128": "ceas.authentication.profiles:OneTimePads",
    "its64": "ceas.authentication.profiles:OneTimePads",
    "qkd_seeded": "ceas.authentication.profiles:RefreshedSeeds",
    "ml_dsa": "ceas.authentication.profiles:Signatures",
}
OPTIMISERS = {"adam": "optax:adam", "sgd": "optax:sgd"}
BENCHMARKS = {
    "authentication": "ceas.experiments.benchmark_authentication:benchmark",
    "consensus": "ceas.experiments.benchmark_consensus:benchmark",
    "learning": "ceas.experiments.benchmark_learning:benchmark",
    "network": "ceas.experiments.benchmark_network:benchmark",
    "reference": "ceas.experiments.benchmark_reference:benchmark",
    "scheduling": "ceas.experiments.benchmark_scheduling:benchmark",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One table of names.

    Attributes:
        label: What one of its entries is called in messages.
        table: Name to `module:name` of the object.
        supplied: Parameters that the run supplies, which a scenario therefore cannot set.
    """

    label: str
    table: Mapping[str, str]
    supplied: frozenset[str] = frozenset()


def _family(label: str, table: dict[str, str], *supplied: str) -> Family:
    return Family(label=label, table=MappingProxyType(table), supplied=frozenset(supplied))


FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        "aggregation": _family(
            "aggregation rule",
            AGGREGATION_RULES,
            *("updates", "n_byzantine", "information", "contraction", "shots", "quantum_fisher", "samples"),
            *("root", "nodes", "memory"),
        ),
        "attack": _family(
            "attack",
            ATTACKS,
            "honest_updates",
            "n_byzantine",
            "rng",
            "own_updates",
            "aggregate",
            "last_aggregate",
            "memory",
            "training_round",
            "rounds",
        ),
        "policy": _family("scheduling policy", POLICIES, "model"),
        "dataset": _family("data set", DATASETS, "preparation", "rng"),
        "ansatz": _family("ansatz", ANSAETZE, "n_qubits", "n_layers", "n_features", "entangler"),
        "split": _family("split", SPLITS),
        "topology": _family("topology", TOPOLOGIES),
        "authentication": _family("authentication profile", AUTHENTICATION_PROFILES),
        "optimizer": _family("optimizer", OPTIMISERS),
        "benchmark": _family("benchmark", BENCHMARKS, "progress"),
    }
)

_USER_OBJECT = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


def names(family: str) -> tuple[str, ...]:
    """List the names of a family, in the order of its table."""
    return tuple(FAMILIES[family].table)


def is_user_object(name: str) -> bool:
    """Tell whether a name has the form `module:name` of a user's own object."""
    return _USER_OBJECT.fullmatch(name) is not None


def check_name(family: str, name: str) -> str:
    """Return the name if it is in the table of its family or names a user's own object; import nothing.

    Raises:
        UnknownNameError: It is neither.
    """
    if name not in FAMILIES[family].table and not is_user_object(name):
        raise UnknownNameError(FAMILIES[family].label, name, names(family))
    return name


def resolve(family: str, name: str) -> Any:
    """Import the object behind a name.

    Raises:
        UnknownNameError: The name is not in the table and does not have the form `module:name`.
        ScenarioError: The user's module or object does not exist.
    """
    check_name(family, name)
    if name in FAMILIES[family].table:
        return _import(FAMILIES[family].table[name])
    # The console script does not look into the folder that it is called from, where a user's own module is.
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    try:
        return _import(name)
    except (ModuleNotFoundError, AttributeError) as error:
        raise ScenarioError(f"{FAMILIES[family].label} {name}", [f"cannot be imported: {error}"]) from error


def _import(target: str) -> Any:
    module_name, _, path = target.partition(":")
    found: Any = importlib.import_module(module_name)
    for part in path.split("."):
        found = getattr(found, part)
    return found


def parameter_mistakes(family: str, name: str, parameters: Mapping[str, Any]) -> dict[str, str]:
    """Check parameters against the signature behind a name: whether it has them, and the type of their defaults.

    Returns:
        One message for each parameter that cannot be set so; empty when all can.
    """
    if not parameters:
        return {}
    signature = inspect.signature(resolve(family, name)).parameters
    takes_any = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in signature.values())
    settable = {
        key: parameter
        for key, parameter in signature.items()
        if parameter.kind in (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        and key not in FAMILIES[family].supplied
    }
    mistakes = {}
    for key, value in parameters.items():
        if key in settable:
            mistakes[key] = _wrong_type(value, settable[key])
        elif not takes_any or key in FAMILIES[family].supplied:
            mistakes[key] = _unknown_parameter(FAMILIES[family].label, name, key, list(settable))
    return {key: message for key, message in mistakes.items() if message}


def _wrong_type(value: Any, parameter: inspect.Parameter) -> str:
    """Say what is wrong with a value next to a default of a plain type; empty when nothing is."""
    others = get_args(parameter.annotation) if isinstance(parameter.annotation, UnionType) else ()
    for kinds, word in (((bool,), "true or false"), ((int, float), "a number"), ((str,), "a string")):
        if isinstance(parameter.default, kinds):
            fits = isinstance(value, kinds) and isinstance(value, bool) == isinstance(parameter.default, bool)
            # A column may have a name or a number, whichever the default is.
            return "" if fits or type(value) in others else f"found {describe_value(value)}, must be {word}"
    if isinstance(parameter.default, tuple):
        is_of_strings = bool(parameter.default) and all(isinstance(item, str) for item in parameter.default)
        items = value if isinstance(value, list | tuple) else [None]
        fits = None not in items and (not is_of_strings or all(isinstance(item, str) for item in items))
        word = "a list of strings" if is_of_strings else "a list"
        return "" if fits or type(value) in others else f"found {describe_value(value)}, must be {word}"
    return ""


def _unknown_parameter(label: str, name: str, key: str, settable: list[str]) -> str:
    if not settable:
        return f"unknown parameter, {label} `{name}` takes none"
    nearest = nearest_name(key, settable)
    hint = f", did you mean `{nearest}`?" if nearest else "."
    return f"unknown parameter of {label} `{name}`{hint} Known: {', '.join(settable)}"


def bind(family: str, name: str, parameters: Mapping[str, Any]) -> Callable[..., Any]:
    """Return the object behind a name with a scenario's parameters bound to it.

    Raises:
        UnknownNameError: The name cannot be resolved.
        ScenarioError: A parameter is not in its signature, or is one that the run supplies.
    """
    mistakes = parameter_mistakes(family, name, parameters)
    if mistakes:
        raise ScenarioError(f"{FAMILIES[family].label} {name}", [f"{key}: {text}" for key, text in mistakes.items()])
    target: Callable[..., Any] = resolve(family, name)
    return partial(target, **parameters) if parameters else target
