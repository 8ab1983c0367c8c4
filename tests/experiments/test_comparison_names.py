"""Names with parameters: what each form means, one canonical text, and one message for what cannot be read."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ceas.errors import DomainError
from ceas.experiments.comparison_names import (
    attack_names,
    parse_attack,
    parse_attackers,
    parse_method,
    split_names,
)
from ceas.experiments.registry import names
from ceas.experiments.scenario import load_scenario


def test_a_plain_name_is_its_own_canonical_text() -> None:
    """So rows that were kept before names had parameters are found again."""
    for rule in names("aggregation"):
        assert str(parse_method(rule)) == rule
        for policy in names("policy"):
            assert str(parse_method(f"{rule}@{policy}")) == f"{rule}@{policy}"
    for attack in names("attack"):
        assert str(parse_attack(attack)) == attack
    assert str(parse_attack("my_package.mine:opposite")) == "my_package.mine:opposite"


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        (" opt_alie( step = 0.50 , goal=alignment )", "opt_alie(goal=alignment,step=0.5)"),
        ("opt_alie(step=10.0)", "opt_alie(step=10)"),
        ("opt_alie(step=1e1,)", "opt_alie(step=10)"),
        ("opt_alie()", "opt_alie()"),
        ('x(a=\'two words\',b="word",c="true",d=true)', 'x(a="two words",b=word,c="true",d=true)'),
        ("x(a={ z = [1, 2.5,w], b = 'c,d' })", 'x(a={b="c,d",z=[1,2.5,w]})'),
        ("sign_flip # 5", "sign_flip#5"),
        ("sign_flip(factor=-2)#05/10", "sign_flip(factor=-2)#5/10"),
    ],
)
def test_attacks_have_one_canonical_text(text: str, canonical: str) -> None:
    assert str(parse_attack(text)) == canonical
    assert str(parse_attack(canonical)) == canonical


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("trimmed_mean + debiased", "trimmed_mean+debiased"),
        ("ceas(edge_factor = 1.20) @ on_demand", "ceas(edge_factor=1.2)@on_demand"),
        ("nnm_krum(a=1)+debiased@ceas(horizon=2,b=x)", "nnm_krum(a=1)+debiased@ceas(b=x,horizon=2)"),
    ],
)
def test_methods_have_one_canonical_text(text: str, canonical: str) -> None:
    assert str(parse_method(text)) == canonical
    assert str(parse_method(canonical)) == canonical


VALUES = st.recursive(
    st.booleans() | st.integers(-(10**12), 10**12) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.from_regex(r"[a-z_]\w{0,5}", fullmatch=True), inner),
    max_leaves=6,
)


@given(st.dictionaries(st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True), VALUES, max_size=4))
def test_a_canonical_text_reads_back_to_the_same_values(parameters: dict[str, Any]) -> None:
    from ceas.experiments.comparison_names import AttackName, Named

    text = str(AttackName(attack=Named(name="x", parameters=parameters)))
    found = parse_attack(text)
    assert found.attack.parameters == parameters
    assert str(found) == text
    assert split_names(f"{text},y") == [text, "y"]


def test_lists_are_split_outside_brackets_and_quotes_only() -> None:
    text = " a(b=1,c=[2,3]) , d,,e@f(g='x,)y'),h(i={j=1,k=2})#3 ,"
    assert split_names(text) == ["a(b=1,c=[2,3])", "d", "e@f(g='x,)y')", "h(i={j=1,k=2})#3"]
    assert split_names(" , ") == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("opt_alie(step=0.5", "found its end after `opt_alie(step=0.5`, must be `,` or `)`"),
        ("opt_alie(step)", "found `)` after `opt_alie(step`, `=` must follow the name of parameter step"),
        ("opt_alie(step=)", "found `)` after `opt_alie(step=`, must be a number, true, false, a word"),
        ("opt_alie(step=0.5 goal=x)", "found `goal` after `opt_alie(step=0.5`, must be `,` or `)`"),
        ("opt_alie(step=0.5;goal=x)", "found `;` after `opt_alie(step=0.5`, must be a name, a number"),
        ("opt_alie(step=1,step=2)", "found `step` after `opt_alie(step=1,`, is given twice"),
        ("opt_alie(step=007)", "found `007` after `opt_alie(step=`, is not a value of TOML"),
        ("x(a='b", "found an open quotation mark after `x(a=`"),
        ("x(a=[1 2])", "found `2` after `x(a=[1`, must be `,` or `]`"),
        ("opt_alie step", "found `step` after `opt_alie`, nothing may follow"),
        ("(step=1)", "found `(`, must be the name of an attack"),
        ("sign_flip#x", "found `x` after `sign_flip#`, must be a number of attackers"),
        ("sign_flip#1.5", "found `1.5` after `sign_flip#`, must be a number of attackers"),
        ("sign_flip#5/", "found its end after `sign_flip#5/`, must be a declared number"),
        ("sign_flip+debiased", "found `+` after `sign_flip`, an attack is ATTACK, ATTACK#NUMBER"),
        ("", "found its end, must be the name of an attack"),
    ],
)
def test_an_attack_that_cannot_be_read_is_told_with_its_place(text: str, message: str) -> None:
    with pytest.raises(DomainError) as caught:
        parse_attack(text)
    assert str(caught.value).startswith(f"`{text}`: {message}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("trimmed_mean+debised", "found `debised` after `trimmed_mean+`, must be debiased"),
        ("trimmed_mean@", "found its end after `trimmed_mean@`, must be the name of a scheduling policy"),
        ("mean@ceas+debiased", "found `+` after `mean@ceas`, a method is RULE, RULE+debiased"),
        ("mean#5", "found `#` after `mean`, a method is RULE, RULE+debiased"),
    ],
)
def test_a_method_that_cannot_be_read_is_told_with_its_place(text: str, message: str) -> None:
    with pytest.raises(DomainError) as caught:
        parse_method(text)
    assert str(caught.value).startswith(f"`{text}`: {message}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a(b=1", "found its end, but `)` must come before"),
        ("a(b=[1)", "found `)` after `a(b=[1`, no such bracket is open"),
        ("a]", "found `]` after `a`, no such bracket is open"),
    ],
)
def test_brackets_that_do_not_match_are_told(text: str, message: str) -> None:
    with pytest.raises(DomainError) as caught:
        split_names(text)
    assert message in str(caught.value)


@given(st.text(alphabet="ab1.()[]{},=+@#/\"' ;", max_size=14))
def test_any_text_is_read_or_refused(text: str) -> None:
    for read in (parse_attack, parse_method, parse_attackers):
        try:
            found = read(text)
        except DomainError:
            continue
        assert read(str(found)) == found


def test_numbers_of_attackers_cross_attacks_and_none_attack_with_none() -> None:
    found = attack_names(["none", "sign_flip", "mimic#3"], ["0", "5", "10/5"])
    assert found == ["none#0", "none#5", "none#10/5", "sign_flip#5", "sign_flip#10/5", "mimic#3"]
    assert attack_names(["opt_alie( step=.5 )".replace(".5", "0.5"), "none"], []) == ["opt_alie(step=0.5)", "none"]


def test_names_choose_what_they_say_and_leave_the_rest_to_the_scenario() -> None:
    settings = ["byzantine.n_byzantine=2", "aggregation.rule=ceas", "aggregation.parameters={contraction_floor=0.25}"]
    scenario = load_scenario("quickstart", settings)

    def chosen(method: str, attack: str) -> Any:
        return scenario.with_overrides([*parse_method(method).overrides(), *parse_attack(attack).overrides()])

    assert chosen("ceas", "none").aggregation.parameters == {"contraction_floor": 0.25}
    assert chosen("ceas()", "none").aggregation.parameters == {}
    assert chosen("ceas(contraction_floor=0.5)", "none").aggregation.parameters == {"contraction_floor": 0.5}
    debiased = chosen("trimmed_mean+debiased@max_weight", "opt_alie(step=0.5,goal=alignment)#1")
    assert debiased.aggregation.is_debiased
    assert (debiased.aggregation.rule, debiased.schedule.policy) == ("trimmed_mean", "max_weight")
    assert debiased.byzantine.parameters == {"step": 0.5, "goal": "alignment"}
    # The declared number follows the true one unless it is given.
    assert (debiased.byzantine.n_byzantine, debiased.aggregation.tolerated_byzantine) == (1, 1)
    declared = chosen("trimmed_mean", "sign_flip#1/2")
    assert (declared.byzantine.n_byzantine, declared.aggregation.tolerated_byzantine) == (1, 2)
    # What is not said is what choosing the names one by one gives.
    plain = scenario.with_policy("max_weight").with_method("mean").with_attack("mimic")
    assert chosen("mean@max_weight", "mimic").scenario_id == plain.scenario_id
