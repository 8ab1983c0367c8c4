"""Tables of names: every entry resolves, and parameters are bound by signature."""

import inspect
import subprocess
import sys
from dataclasses import fields
from typing import Any, get_args

import pytest

from ceas.aggregation import needs_of, reason_to_refuse
from ceas.errors import ScenarioError, UnknownNameError
from ceas.experiments import registry
from ceas.experiments.sections import (
    AuthenticationSection,
    DataSection,
    DriftSection,
    HardwareSection,
    LearningSection,
    TopologySection,
    TrafficSection,
)
from ceas.network import HardwareParameters
from ceas.runtime.route_world import DriftParameters, RepeaterParameters, TrafficParameters

ENTRIES = [(family, name) for family in registry.FAMILIES for name in registry.names(family)]


@pytest.mark.parametrize(("family", "name"), ENTRIES)
def test_every_name_resolves_to_something_callable(family: str, name: str) -> None:
    assert callable(registry.resolve(family, name))


@pytest.mark.parametrize(("family", "name"), [entry for entry in ENTRIES if registry.FAMILIES[entry[0]].supplied])
def test_what_the_run_supplies_is_in_the_signature(family: str, name: str) -> None:
    required = {
        parameter.name
        for parameter in inspect.signature(registry.resolve(family, name)).parameters.values()
        if parameter.default is inspect.Parameter.empty
    }
    # A file is named by the user's own parameter.
    assert required - {"path"} <= registry.FAMILIES[family].supplied


@pytest.mark.parametrize(
    ("section", "key", "family"),
    [
        (TopologySection, "kind", "topology"),
        (DataSection, "split", "split"),
        (LearningSection, "optimizer", "optimizer"),
        (AuthenticationSection, "profile", "authentication"),
    ],
)
def test_closed_choices_of_a_scenario_are_their_tables(section: Any, key: str, family: str) -> None:
    assert get_args(section.model_fields[key].annotation) == registry.names(family)


def test_hardware_section_is_the_networks_hardware() -> None:
    section = HardwareSection().model_dump(exclude={"minimum_fidelity", "preset"})
    repeaters = {field.name: section.pop(field.name) for field in fields(RepeaterParameters)}
    assert HardwareParameters(**section) == HardwareParameters()
    assert RepeaterParameters(**repeaters) == RepeaterParameters()


def test_traffic_and_drift_sections_are_the_worlds_parameters() -> None:
    assert TrafficParameters(**TrafficSection().model_dump()) == TrafficParameters()
    assert DriftParameters(**DriftSection().model_dump()) == DriftParameters()


def test_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(
        UnknownNameError, match=r"unknown aggregation rule `trimed_mean`\. Did you mean `trimmed_mean`\?"
    ):
        registry.resolve("aggregation", "trimed_mean")


def test_users_own_object_is_imported_by_module_and_name() -> None:
    assert registry.resolve("aggregation", "operator:itemgetter") is __import__("operator").itemgetter
    assert (
        registry.resolve("aggregation", "collections:Counter.most_common")
        is __import__("collections").Counter.most_common
    )


@pytest.mark.parametrize("name", ["nowhere_to_be_found:rule", "operator:nothing"])
def test_users_missing_object_is_a_scenario_mistake(name: str) -> None:
    with pytest.raises(ScenarioError, match="cannot be imported: "):
        registry.resolve("aggregation", name)


@pytest.mark.parametrize("name", ["", ":", "a:", ":b", "a b:c", "a:b:c", "os.path", "../evil:x"])
def test_what_is_neither_name_nor_module_and_object_is_unknown(name: str) -> None:
    assert not registry.is_user_object(name)
    with pytest.raises(UnknownNameError):
        registry.check_name("attack", name)


def example_rule(
    updates: object, *, n_byzantine: int, width: float = 1.0, steps: int = 2, kind: str = "a", is_fast: bool = False
) -> dict[str, object]:
    return {"width": width, "steps": steps, "kind": kind, "is_fast": is_fast, "n": n_byzantine, "updates": updates}


def forgiving_rule(updates: object, **others: object) -> dict[str, object]:
    return others


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setitem(sys.modules, "example_rules", sys.modules[__name__])
    return "example_rules:example_rule"


def test_parameters_are_bound(example: str) -> None:
    rule = registry.bind("aggregation", example, {"width": 3, "kind": "b", "is_fast": True})
    expected = {"width": 3, "steps": 2, "kind": "b", "is_fast": True, "n": 1, "updates": "u"}
    assert rule("u", n_byzantine=1) == expected


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"widht": 3.0}, "widht: unknown parameter of aggregation rule .*, did you mean `width`?"),
        ({"n_byzantine": 3}, "n_byzantine: unknown parameter"),
        ({"updates": 3}, "updates: unknown parameter"),
        ({"width": "wide"}, r'width: found "wide" \(string\), must be a number'),
        ({"steps": True}, r"steps: found true \(boolean\), must be a number"),
        ({"kind": 3}, r"kind: found 3 \(integer\), must be a string"),
        ({"is_fast": 1}, r"is_fast: found 1 \(integer\), must be true or false"),
    ],
)
def test_parameters_that_do_not_fit_are_refused(example: str, parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ScenarioError, match=message):
        registry.bind("aggregation", example, parameters)


def test_all_parameter_mistakes_are_told_together(example: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        registry.bind("aggregation", example, {"depth": 3, "kind": 3, "width": 2})
    assert len(caught.value.mistakes) == 2


def test_a_rule_that_takes_anything_is_given_anything_but_what_is_supplied(example: str) -> None:
    name = "example_rules:forgiving_rule"
    assert registry.bind("aggregation", name, {"depth": 3})("u") == {"depth": 3}
    with pytest.raises(ScenarioError, match="information: unknown parameter"):
        registry.bind("aggregation", name, {"information": 3})


def test_listing_names_imports_nothing() -> None:
    code = (
        "import sys; from ceas.experiments import registry; [registry.names(f) for f in registry.FAMILIES]; "
        "rooms = [m for m in sys.modules if m.split('.')[0] in ('jax', 'numba', 'numpy', 'optax')]; "
        "sys.exit(repr(rooms) if rooms else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_rules_that_are_said_to_be_unconditional_are() -> None:
    for name in registry.UNCONDITIONAL_RULES:
        rule = registry.resolve("aggregation", name)
        assert needs_of(rule) == ()
        assert not any(reason_to_refuse(rule, n_nodes=n, n_byzantine=(n - 1) // 2) for n in range(1, 60))
