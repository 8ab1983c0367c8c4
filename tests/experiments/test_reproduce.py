"""The reproduction of the published claims: its plan, what is done again and what is not, and its figures."""

import json
import shutil
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ceas.aggregation import ceas
from ceas.errors import DomainError, RunDirectoryError, UnknownNameError
from ceas.experiments import code_identity as code_identity_module
from ceas.experiments import reproduce_trainings
from ceas.experiments.code_identity import code_identity
from ceas.experiments.reproduce import reproduce
from ceas.experiments.reproduce_accuracy import ablations, accuracy_figures, costs, differences
from ceas.experiments.reproduce_falsifiers import (
    equal_ceas,
    falsifier_trainings,
    falsifiers,
    shuffled_ceas,
)
from ceas.experiments.reproduce_plan import (
    FULL,
    OBLIVIOUS_POLICY,
    OURS,
    QUICK,
    TUNING_SEEDS,
    Training,
    arm_named,
    plan_of,
    trials_of,
    tuning_attacks,
    tuning_trainings,
)
from ceas.experiments.reproduce_store import Trained, finished_trainings, read_curves, read_trainings, write_trainings
from ceas.experiments.reproduce_tables import accuracy_tables, falsifier_tables
from ceas.experiments.reproduce_trainings import train_missing
from ceas.experiments.reproduce_tuning import choose, read_choices, write_choices
from ceas.experiments.scenario import load_scenario

ARMS = ("mean", "trimmed mean", "median", "weighted trimmed mean", "ceas", "honest only")
SMALL = replace(QUICK, arms=ARMS, attackers=(0, 10, 15), attacks_between=("ALIE",), seeds=(0, 1, 2, 3))


def untuned(plan):
    return {dataset: defaultdict(lambda: ("learning.learning_rate=0.2",)) for dataset in plan.datasets}


def trained(training: Training, accuracy: float) -> Trained:
    scenario = training.scenario(load_scenario("headline"))
    return Trained(
        training=training,
        scenario_id=scenario.scenario_id,
        ceas_version="test",
        code=code_identity(),
        rounds=2,
        test_accuracy=accuracy,
        validation_accuracy=accuracy,
        train_loss=1.0,
        byzantine_weight=0.25,
        core_s=0.5,
        curve_rounds=[1, 2],
        curve_accuracy=[0.1, accuracy],
        curve_weight=[0.5, 0.0],
    )


def rows_of(trainings, accuracy):
    """Return rows as `read_trainings` does, with an accuracy for each training."""
    trainings = list(trainings)
    columns = {name: [getattr(one, name) for one in trainings] for name in Training.__dataclass_fields__}
    columns["overrides"] = [" ".join(one.overrides) for one in trainings]
    found = {name: np.array(values, object if isinstance(values[0], str) else None) for name, values in columns.items()}
    values = np.array([accuracy(one) for one in trainings])
    return found | {"test_accuracy": values, "validation_accuracy": values, "byzantine_weight": np.zeros(len(values))}


@pytest.mark.parametrize("plan", [FULL, QUICK], ids=lambda plan: plan.name)
def test_plan_names_every_training_once_and_never_uses_seeds_of_tuning(plan):
    planned = list(plan.accuracy_trainings(untuned(plan)))
    assert len(planned) == len(set(planned))
    assert not {one.seed for one in planned} & set(TUNING_SEEDS)
    for one in planned:
        assert (one.n_byzantine == 0) == (one.attack == "none")


def test_all_arms_have_the_same_number_of_trials_and_attacks_of_tuning():
    assert len({len(trials_of(arm_named(name))) for name in FULL.arms}) == 1
    attacks = {arm_named(name).family: set(tuning_attacks(arm_named(name))) for name in FULL.arms}
    assert attacks["ours"] == attacks["robust"] == attacks["weighted"]
    # Nobody is tested by a kind of attack that was not in the tuning.
    assert attacks["ours"] - {"none"} <= set(FULL.attacks_between)
    assert set(FULL.attacks_between) - {"ALIE", "mimic"} <= attacks["ours"]
    assert len({len(FULL.attacks)} | {len(set(FULL.attacks))}) == 1
    assert {one.seed for one in tuning_trainings(FULL)} == set(TUNING_SEEDS)


def test_every_arm_and_attack_of_the_plan_makes_a_scenario():
    base, seen = load_scenario("headline"), set()
    for one in (*FULL.accuracy_trainings(untuned(FULL)), *falsifier_trainings(FULL, untuned(FULL))):
        key = replace(one, seed=0)
        if key not in seen and key.arm in ("ceas", "centred clipping", "honest only", "ceas, shuffled"):
            seen.add(key)
            assert one.scenario(base).byzantine.n_byzantine == one.n_byzantine
    assert len(seen) > 100


def test_plan_of_checks_what_it_is_given():
    assert plan_of(is_quick=False, seeds=3, datasets=["mnist"]).datasets == ("mnist",)
    assert plan_of(is_quick=True, seeds=3).seeds == (0, 1, 2)
    with pytest.raises(DomainError, match="seeds"):
        plan_of(is_quick=True, seeds=0)
    with pytest.raises(UnknownNameError, match="digits"):
        plan_of(is_quick=True, datasets=["digit"])


def test_worst_case_is_taken_by_seed_and_then_averaged():
    worst = {("ALIE", 0): 0.5, ("search near", 1): 0.4}

    def accuracy(one):
        return worst.get((one.attack, one.seed), 0.9) if one.arm == "ceas" and one.n_byzantine == 15 else 0.9

    figures = accuracy_figures(SMALL, rows_of(SMALL.accuracy_trainings(untuned(SMALL)), accuracy))
    ours = next(one for one in figures if (one.arm, one.policy, one.n_byzantine) == ("ceas", OURS, 15))
    np.testing.assert_allclose(ours.worst, [0.5, 0.4, 0.9, 0.9])
    assert ours.worst_attack == "search near"
    assert ours.interval.mean == pytest.approx(0.675)


def test_differences_take_the_best_rival_and_tell_what_each_part_earns():
    base = {"mean": 0.3, "trimmed mean": 0.6, "median": 0.7, "weighted trimmed mean": 0.72, "ceas": 0.85}

    def accuracy(one):
        if one.n_byzantine == 0:
            return 0.9
        noise = 0.01 * ((one.seed * 7 + len(one.arm)) % 3)
        return base.get(one.arm, 0.9) + noise + (0.02 if one.policy == OURS else 0.0)

    figures = accuracy_figures(SMALL, rows_of(SMALL.accuracy_trainings(untuned(SMALL)), accuracy))
    found = {one.what: one for one in differences(SMALL, figures) if one.n_byzantine == 15}
    robust = found["robust rules, oblivious scheduler"]
    assert robust.rival.arm == "median"
    assert robust.difference.mean == pytest.approx(0.17, abs=0.011)
    assert robust.target == 0.10
    assert robust.is_met
    assert found["averages, oblivious scheduler"].rival.arm == "mean"
    assert found["robust rules, our scheduler"].is_met is None
    (part,) = ablations(SMALL, figures)
    assert part.rival == "median"
    assert part.scheduling["ceas"].mean == pytest.approx(0.02)
    assert part.aggregation[OBLIVIOUS_POLICY].mean == pytest.approx(0.15, abs=0.011)
    clean, attacked = costs(SMALL, figures)
    assert clean.is_met
    assert clean.difference.mean == 0.0
    assert attacked.difference.mean == pytest.approx(-0.02, abs=0.011)
    tables, claims = accuracy_tables(figures, list(found.values()), [part], [clean, attacked], untuned(SMALL))
    assert {table.name for table in tables} == {"accuracy", "by-attack", "differences", "ablation", "costs"}
    assert [claim.is_met for claim in claims][:2] == [True, True]


def test_a_missing_training_is_named():
    rows = rows_of(list(SMALL.accuracy_trainings(untuned(SMALL)))[:-1], lambda _: 0.5)
    with pytest.raises(RunDirectoryError, match=r"honest only.*seed 3"):
        accuracy_figures(SMALL, rows)


def test_tuning_chooses_the_trial_whose_worst_attack_is_best(tmp_path):
    plan = replace(SMALL, arms=("trimmed mean", "ceas", "honest only"))

    def accuracy(one):
        rate = float(one.overrides[0].partition("=")[2])
        # The largest rate has the best mean, the rate 0.08 the best worst case.
        if rate == 0.5:
            return 0.2 if one.attack == "MinMax" else 0.99
        return 0.6 if rate == 0.08 else 0.5

    tuned = choose(plan, rows_of(tuning_trainings(plan), accuracy))
    by_arm = {one.arm: one for one in tuned}
    assert by_arm["ceas"].overrides == ("learning.learning_rate=0.08", "learning.worker_momentum=0.9")
    assert by_arm["ceas"].score == pytest.approx(0.6)
    # The ceiling meets no attack, so nothing speaks against the largest rate.
    assert by_arm["honest only"].overrides[0] == "learning.learning_rate=0.5"
    write_choices(tmp_path / "choices.json", tuned, command="ceas reproduce tuning", ceas_version="test")
    choices = read_choices(plan, tmp_path / "choices.json")
    assert choices["digits"]["trimmed mean"] == by_arm["trimmed mean"].overrides
    assert choices["digits"]["ceas, shuffled"] == by_arm["ceas"].overrides


def test_choices_of_the_package_cover_the_full_plan():
    choices = read_choices(FULL)
    assert all(choices[dataset][arm] for dataset in FULL.datasets for arm in FULL.arms)


@pytest.mark.parametrize(
    "text",
    [
        *("", "{}", '{"choices": [{"dataset": "digits"}]}', '{"choices": []}'),
        *(f'{{"choices": [{{"dataset": "digits", "arm": "ceas", "overrides": {one}}}]}}' for one in ('"a"', "[0.1]")),
    ],
)
def test_a_file_that_holds_no_choices_is_refused(tmp_path, text):
    (tmp_path / "choices.json").write_text(text)
    with pytest.raises(RunDirectoryError, match=r"choices\.json"):
        read_choices(SMALL, tmp_path / "choices.json")
    with pytest.raises(RunDirectoryError, match="cannot be read"):
        read_choices(SMALL, tmp_path / "absent.json")


def test_trainings_are_read_as_they_were_written(tmp_path):
    planned = list(SMALL.accuracy_trainings(untuned(SMALL)))[:3]
    batch = [trained(one, 0.5 + 0.1 * index) for index, one in enumerate(planned)]
    assert len(read_trainings(tmp_path / "absent")["seed"]) == 0
    write_trainings(tmp_path, batch[:2])
    write_trainings(tmp_path, batch[2:])
    rows, curves = read_trainings(tmp_path), read_curves(tmp_path)
    assert sorted(rows["test_accuracy"].tolist()) == [0.5, 0.6, 0.7]
    assert set(rows["arm"]) == {one.arm for one in planned}
    assert finished_trainings(tmp_path) == {(one.scenario_id, one.training.seed) for one in batch}
    assert len(curves["round"]) == 6


def test_what_other_code_trained_is_left_out(tmp_path):
    batch = [trained(one, 0.5) for one in list(SMALL.accuracy_trainings(untuned(SMALL)))[:2]]
    write_trainings(tmp_path, [replace(batch[0], code="other", test_accuracy=0.999), batch[1]])
    assert finished_trainings(tmp_path) == {(batch[1].scenario_id, batch[1].training.seed)}
    # The same training twice counts once; with two outcomes it is refused.
    write_trainings(tmp_path, batch)
    assert read_trainings(tmp_path)["test_accuracy"].tolist() == [0.5, 0.5]
    write_trainings(tmp_path, [replace(batch[0], test_accuracy=0.4)])
    with pytest.raises(RunDirectoryError, match="two outcomes"):
        read_trainings(tmp_path)


def test_code_identity_is_that_of_the_sources(tmp_path, monkeypatch):
    copy = tmp_path / "ceas"
    shutil.copytree(Path(code_identity_module.__file__).parents[1], copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(code_identity_module, "_PACKAGE", copy)
    assert code_identity.__wrapped__() == code_identity()
    (copy / "report" / "page.py").write_text("")
    assert code_identity.__wrapped__() == code_identity()
    with (copy / "aggregation" / "rules.py").open("a") as file:
        file.write("\n")
    assert code_identity.__wrapped__() != code_identity()


def test_only_what_is_missing_is_trained(tmp_path, monkeypatch):
    planned = list(SMALL.accuracy_trainings(untuned(SMALL)))
    seen = []

    def in_workers(groups):
        for group in groups:
            for batch in group:
                seen.extend(batch.trainings)
                yield [trained(one, 0.5) for one in batch.trainings]

    monkeypatch.setattr(reproduce_trainings, "_in_workers", in_workers)
    base = load_scenario("headline")
    train_missing(base, planned[:20], out=tmp_path)
    assert set(seen) == set(planned[:20])
    seen.clear()
    rows = train_missing(base, planned, out=tmp_path)
    assert set(seen) == set(planned[20:])
    assert len(rows["seed"]) == len(planned)
    # Other parameters than those on disk are other trainings.
    seen.clear()
    other = [replace(planned[0], overrides=("learning.learning_rate=0.1",))]
    assert len(train_missing(base, other, out=tmp_path)["seed"]) == 1
    assert seen == other


def test_a_training_of_another_table_counts_under_the_name_that_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(
        reproduce_trainings,
        "_in_workers",
        lambda groups: ([trained(one, 0.5) for one in batch.trainings] for group in groups for batch in group),
    )
    base = load_scenario("headline")
    planned = next(iter(SMALL.accuracy_trainings(untuned(SMALL))))
    train_missing(base, [planned], out=tmp_path)
    # Nothing is left to train.
    monkeypatch.setattr(reproduce_trainings, "_in_workers", lambda groups: iter([1 / 0] if groups else ()))
    rows = train_missing(base, [replace(planned, variant="certified")], out=tmp_path)
    assert rows["variant"].tolist() == ["certified"]


def test_groups_share_network_and_seed():
    base = load_scenario("headline")
    planned = [(one, one.scenario(base)) for one in SMALL.accuracy_trainings(untuned(SMALL))]
    groups = reproduce_trainings._groups(planned)
    for group in groups:
        assert (
            len(
                {
                    (scenario.network_id, one.seed)
                    for batch in group
                    for one, scenario in zip(batch.trainings, batch.scenarios, strict=True)
                }
            )
            == 1
        )
        assert all(len(batch.trainings) <= reproduce_trainings.BATCH for batch in group)
    assert len(groups) == 2 * len(SMALL.seeds)


def test_groups_that_do_not_come_out_even_are_split_over_all_workers():
    groups = [(1, 2, 3), (4, 5, 6), (7, 8, 9)]
    assert reproduce_trainings._balanced(groups, 2) == [(1, 2, 3), (4, 5, 6), (7, 9), (8,)]
    assert reproduce_trainings._balanced(groups, 3) == groups
    assert reproduce_trainings._balanced([(1,)], 4) == [(1,)]


def test_shuffled_and_equal_information_differ_from_ceas_in_information_alone():
    rng = np.random.default_rng(1)
    updates, information = rng.normal(size=(50, 6)), rng.uniform(0.1, 10.0, 50)
    ones, nodes = np.ones(50), np.arange(50)
    told = {"n_byzantine": 5, "contraction": ones, "nodes": nodes}
    own = ceas(updates, information=information, **told)
    assert not np.allclose(shuffled_ceas(updates, information=information, **told).weights, own.weights)
    flat = equal_ceas(updates, information=information, **told)
    np.testing.assert_array_equal(
        flat.weights, ceas(updates, information=np.full(50, information.mean()), **told).weights
    )
    # Where all know as much, dealing changes nothing, in no round: what is remembered is passed on.
    memories = dict.fromkeys((ceas, shuffled_ceas, equal_ceas))
    for _ in range(4):
        updates = rng.normal(size=(50, 6)) + 0.3
        outcomes = [rule(updates, information=ones, memory=memory, **told) for rule, memory in memories.items()]
        memories = {rule: one.memory for rule, one in zip(memories, outcomes, strict=True)}
        for one in outcomes[1:]:
            np.testing.assert_array_equal(one.value, outcomes[0].value)
    assert outcomes[0].memory


def falsified(**changed):
    """Return the verdicts when everything comes out as it has to, but for some accuracies."""
    at = {"weighted": 0.9, "equal": 0.85, "shuffled": 0.85, "lie": 0.9, "believed": 0.3, "certified": 0.8, "few": 0.5}
    at |= changed

    def accuracy(one):
        wobble = 0.001 * one.seed
        if one.arm == "certified mean":
            return at["believed" if one.variant == "believed" else "certified"] - wobble
        if one.declared == 4:
            return at["few"] - wobble
        if one.arm in ("ceas, equal", "ceas, shuffled"):
            return at[one.arm.removeprefix("ceas, ")] + wobble * (1 if one.arm == "ceas, equal" else 0.9)
        return at["lie"] - wobble if one.attack == "lie: negative" else at["weighted"] + 0.0005 * one.seed

    found = falsifiers(SMALL, rows_of(falsifier_trainings(SMALL, untuned(SMALL)), accuracy))
    (table,), claims = falsifier_tables(found)
    assert len(table.rows) == len(claims) == len(found)
    return {one.what: one.holds for one in found if one.holds is not True}


def test_falsifiers_tell_what_holds():
    assert falsified() == {}
    assert falsified(lie=0.85) == {"lie: negative, against ceas": False}
    assert set(falsified(shuffled=0.9).values()) == {False}
    assert len(falsified(shuffled=0.9)) == 2
    gains = [f"weights by certified information, {words}" for words in ("no attackers", "ALIE")]
    assert falsified(equal=0.92, shuffled=0.92) == dict.fromkeys(gains, False)
    # A mean that stands nowhere cannot collapse.
    assert [what for what in falsified(certified=0.4) if "believed" in what] == [
        "IPM of 5 with claims x1000 that are believed, against a weighted mean"
    ]
    assert falsified(few=0.95) == {"16 attackers, 4 declared": False}


def test_a_small_reproduction_from_the_network_to_the_tables(tmp_path):
    plan = replace(
        QUICK,
        rounds=2,
        seeds=(0,),
        arms=("mean", "trimmed mean", "ceas", "honest only"),
        attackers=(0, 15),
        attacks=("IPM 2",),
    )
    found = reproduce(plan, ["accuracy"], out=tmp_path)
    assert [table.name for table in found.tables] == ["accuracy", "by-attack", "differences", "ablation", "costs"]
    document = json.loads((tmp_path / "reproduction.json").read_text())
    assert document["plan"] == "quick"
    assert all(0 <= row["worst case"]["mean"] <= 1 for row in document["tables"][0]["rows"])
    # One seed has no interval and proves nothing.
    assert all(claim["is_met"] is None for claim in document["claims"])
    with pytest.raises(UnknownNameError, match="accuracy"):
        reproduce(plan, ["acuracy"], out=tmp_path)
