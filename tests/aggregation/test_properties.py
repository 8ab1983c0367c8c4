"""What every rule of the table of names must keep: a rule that is added there is tested here without being named.

Exceptions are sets of names with the reason; a rule that stops being an exception fails `test_exceptions_are_real`.
"""

import functools
import inspect
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from ceas import aggregation
from ceas.aggregation import Aggregate, Rule
from ceas.aggregation.admission import COLUMNS, MAXIMUM_MAGNITUDE
from ceas.errors import DomainError
from ceas.experiments import registry

FloatArray = NDArray[np.float64]

RULES: dict[str, Rule] = {name: registry.resolve("aggregation", name) for name in registry.names("aggregation")}
ALL = pytest.mark.parametrize("name", list(RULES))

CLIPS_AT_A_LENGTH = {name for name in RULES if "centered_clipping" in name or name.startswith("clipping_")}
CLIPS_FROM_THE_ORIGIN = CLIPS_AT_A_LENGTH | {name for name in RULES if name.startswith("arc_")} | {"fltrust"}
DEBIASES = {"ceas"}
"""Divides the contraction out; all others take the updates as they are."""
BELIEVES_CLAIMS = {name for name in RULES if name.endswith("_style") or name.endswith("_weighted_mean")}
NOT_ROBUST = (
    {"mean", "nnm_mean", "centered_clipping", "bucketing_centered_clipping", "nnm_centered_clipping"}
    | BELIEVES_CLAIMS
    # Beside one huge row, the leading direction shows nothing of the attackers that are only large.
    | {"dnc"}
)

ANY_FLOATS = hnp.arrays(
    np.float64, st.tuples(st.integers(3, 9), st.integers(1, 4)), elements=st.floats(allow_nan=True, allow_infinity=True)
)
# Multiples of 1/8: scaling by powers of two is exact, ties stay ties.
TAME_FLOATS = hnp.arrays(
    np.float64,
    st.tuples(st.integers(3, 9), st.integers(1, 4)),
    elements=st.integers(-8192, 8192).map(lambda count: count / 8),
)


@functools.cache
def most_attackers(name: str, n_nodes: int) -> int:
    """Largest f that the rule accepts with that many nodes."""
    for f in range((n_nodes - 1) // 2, 0, -1):
        try:
            RULES[name](np.zeros((n_nodes, 1)), n_byzantine=f, **truthful(n_nodes, 1))
        except DomainError:
            continue
        return f
    return 0


def truthful(n_nodes: int, n_parameters: int) -> dict[str, Any]:
    """Everything that any rule may need."""
    return {column: np.ones(n_nodes) for column in COLUMNS} | {"root": np.ones(n_parameters)}


def assert_same(first: Aggregate, second: Aggregate) -> None:
    np.testing.assert_array_equal(first.value, second.value)
    np.testing.assert_array_equal(first.weights, second.weights)
    np.testing.assert_array_equal(first.rejected, second.rejected)
    np.testing.assert_array_equal(first.left_out, second.left_out)
    assert first.memory.keys() == second.memory.keys()
    for key, array in first.memory.items():
        np.testing.assert_array_equal(array, second.memory[key])


@ALL
def test_signature_name_and_pickle(name: str) -> None:
    parameters = list(inspect.signature(RULES[name]).parameters)
    shared = [p for p in inspect.signature(Rule.__call__).parameters if p != "self"]
    assert parameters[: len(shared)] == shared
    assert getattr(RULES[name], "__name__") == name  # noqa: B009  (a protocol has no name)
    assert getattr(aggregation, name) is RULES[name]
    assert name in aggregation.__all__
    assert pickle.loads(pickle.dumps(RULES[name])) is RULES[name]
    assert RULES[name].__doc__


@ALL
def test_wrong_calls_are_refused(name: str) -> None:
    rule, given = RULES[name], truthful(6, 2)
    with pytest.raises(DomainError, match="Cannot tolerate 2f >= n: f=3, n=6"):
        rule(np.zeros((6, 2)), n_byzantine=3, **given)
    with pytest.raises(DomainError, match="n_byzantine"):
        rule(np.zeros((6, 2)), n_byzantine=-1, **given)
    for shape in ((0, 3), (3, 0), (3,)):
        with pytest.raises(DomainError, match="updates"):
            rule(np.zeros(shape), n_byzantine=0)
    for column in COLUMNS:
        for shape in ((5,), (6, 1)):
            with pytest.raises(DomainError, match=f"`{column}` must have shape"):
                rule(np.zeros((6, 2)), n_byzantine=0, **(given | {column: np.ones(shape)}))
    for root in (np.ones(3), np.array([1.0, np.nan])):
        with pytest.raises(DomainError, match="`root` must be finite with shape"):
            rule(np.zeros((6, 2)), n_byzantine=0, **(given | {"root": root}))
    for nodes in (np.arange(5), np.zeros(6, dtype=int), np.arange(6.0)):
        with pytest.raises(DomainError, match="`nodes` must"):
            rule(np.zeros((6, 2)), n_byzantine=0, nodes=nodes, **given)


@ALL
def test_too_many_attackers_are_refused_with_the_numbers(name: str) -> None:
    for n_nodes in (12, 50):
        f = most_attackers(name, n_nodes) + 1
        with pytest.raises(DomainError, match=rf"f={f}\b.*n={n_nodes}\b"):
            RULES[name](np.zeros((n_nodes, 2)), n_byzantine=f, **truthful(n_nodes, 2))


@ALL
def test_what_is_needed_is_asked_for_by_name(name: str) -> None:
    given, rows = truthful(8, 2), np.random.default_rng(0).normal(size=(8, 2))
    needs = getattr(RULES[name], "needs", ())
    for missing in (*COLUMNS, "root"):
        others = {key: value for key, value in given.items() if key != missing}
        if missing in needs:
            with pytest.raises(DomainError, match=f"`{missing}` must be given"):
                RULES[name](rows, n_byzantine=1, **others)
        else:
            assert_same(RULES[name](rows, n_byzantine=1, **others), RULES[name](rows, n_byzantine=1, **given))


@ALL
def test_unknown_keywords_are_refused(name: str) -> None:
    with pytest.raises(TypeError, match="widht"):
        RULES[name](np.zeros((6, 2)), n_byzantine=1, widht=3, **truthful(6, 2))  # type: ignore[call-arg]


@ALL
def test_rejected_rows_count_towards_the_declared_attackers(name: str) -> None:
    good = np.random.default_rng(5).normal(size=(8, 3))
    bad = np.array([[np.nan, 0, 0], [0, np.inf, 0], [0, 0, 2 * MAXIMUM_MAGNITUDE]])
    f = min(4, most_attackers(name, 11))
    nodes = np.array([101, 102, *range(8), 103])
    rows = np.concatenate([bad[:2], good, bad[2:]])
    result = RULES[name](rows, n_byzantine=f, nodes=nodes, **truthful(11, 3))
    alone = RULES[name](good, n_byzantine=max(f - 3, 0), **truthful(8, 3))
    np.testing.assert_array_equal(result.value, alone.value)
    np.testing.assert_array_equal(result.weights[2:10], alone.weights)
    np.testing.assert_array_equal(np.flatnonzero(result.rejected), [0, 1, 10])
    assert result.n_byzantine == max(f - 3, 0)
    assert not result.weights[result.rejected].any()


@ALL
def test_nothing_admitted_makes_no_step(name: str) -> None:
    result = RULES[name](np.full((7, 2), np.nan), n_byzantine=1, **truthful(7, 2))
    np.testing.assert_array_equal(result.value, [0, 0])
    np.testing.assert_array_equal(result.weights, np.zeros(7))
    assert result.rejected.all()


@ALL
def test_arguments_are_left_alone(name: str) -> None:
    rng = np.random.default_rng(6)
    rows, given = 10 * rng.normal(size=(9, 3)), truthful(9, 3)
    before = {key: value.copy() for key, value in given.items()}
    memory = dict(RULES[name](rows, n_byzantine=1, **given).memory)
    remembered = {key: value.copy() for key, value in memory.items()}
    copy = rows.copy()
    RULES[name](rows, n_byzantine=1, memory=memory, **given)
    np.testing.assert_array_equal(rows, copy)
    for key, value in (before | remembered).items():
        np.testing.assert_array_equal((given | memory)[key], value)


@ALL
@settings(max_examples=15, deadline=None)
@given(rows=ANY_FLOATS, data=st.data())
def test_total_deterministic_and_permutation_equivariant_on_any_floats(
    name: str, rows: FloatArray, data: st.DataObject
) -> None:
    """Bitwise, duplicates and ties and negative zeros included, whatever the floats, in two rounds with memory."""
    n_nodes = len(rows)
    f = data.draw(st.integers(0, most_attackers(name, n_nodes)))
    moved = np.array(data.draw(st.permutations(range(n_nodes))))
    columns = {c: data.draw(st.lists(st.floats(), min_size=n_nodes, max_size=n_nodes).map(np.array)) for c in COLUMNS}
    finite = st.floats(-1e100, 1e100)
    root = data.draw(st.lists(finite, min_size=rows.shape[1], max_size=rows.shape[1]).map(np.array))
    nodes, memory = np.arange(n_nodes), None
    for _ in range(2):
        call = functools.partial(RULES[name], n_byzantine=f, root=root, memory=memory)
        result = call(rows, nodes=nodes, **columns)
        assert np.all(np.isfinite(result.value))
        assert np.all((result.weights >= 0) & np.isfinite(result.weights))
        total = result.weights.sum()
        assert total == pytest.approx(1.0, abs=1e-9) or (total == 0 and not result.value.any())
        assert total > 0 or np.all(result.rejected | result.left_out) or name in ("fltrust", "monna")
        assert all(type(array) is np.ndarray and array.dtype.kind in "fib" for array in result.memory.values())
        assert_same(result, call(rows, nodes=nodes, **columns))
        other = call(rows[moved], nodes=nodes[moved], **{c: column[moved] for c, column in columns.items()})
        np.testing.assert_array_equal(other.value, result.value)
        np.testing.assert_array_equal(other.weights, result.weights[moved])
        memory = result.memory


@ALL
@settings(max_examples=12, deadline=None)
@given(rows=TAME_FLOATS, power=st.integers(-20, 20), share=st.floats(0, 0.99))
def test_scale_equivariance(name: str, rows: FloatArray, power: int, share: float) -> None:
    """Scaling by a power of two only moves exponents, so nothing but those may change."""
    if name in CLIPS_AT_A_LENGTH:
        return
    f, given = int(share * (most_attackers(name, len(rows)) + 1)), truthful(*rows.shape)
    expected = RULES[name](rows, n_byzantine=f, **given).value * 2.0**power
    scaled = RULES[name](rows * 2.0**power, n_byzantine=f, **(given | {"root": given["root"] * 2.0**power})).value
    np.testing.assert_allclose(scaled, expected, rtol=1e-6, atol=1e-6 * 2.0**power * (1 + np.abs(rows).max()))


def clouds(seed: int) -> tuple[FloatArray, dict[str, Any]]:
    rng = np.random.default_rng(seed)
    n_nodes, n_parameters = int(rng.integers(3, 12)), int(rng.integers(2, 6))
    columns: dict[str, Any] = {column: rng.uniform(0.2, 1.0, n_nodes) for column in COLUMNS}
    return rng.normal(size=(n_nodes, n_parameters)), columns | {"root": rng.normal(size=n_parameters)}


def most_moved(name: str, seed: int, shift: float, scale: float = 1.0) -> float:
    """Largest deviation from equivariance; the data are free of ties, so that rounding decides nothing."""
    rows, given = clouds(seed)
    f = seed % (most_attackers(name, len(rows)) + 1)
    if name in DEBIASES:
        given["contraction"] = np.ones(len(rows))
    expected = scale * RULES[name](rows, n_byzantine=f, **given).value + shift
    moved = RULES[name](scale * rows + shift, n_byzantine=f, **(given | {"root": scale * given["root"]})).value
    return float(np.abs(moved - expected).max())


@ALL
@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**32), shift=st.floats(-1000, 1000))
def test_translation_equivariance(name: str, seed: int, shift: float) -> None:
    if name in CLIPS_FROM_THE_ORIGIN or (name == "nnm_meamed" and mixing_makes_copies(name, seed)):
        return
    assert most_moved(name, seed, shift) <= 1e-6


def mixing_makes_copies(name: str, seed: int) -> bool:
    """Tell whether two nodes have the same neighbours: two pairs of copies can then tie around a median."""
    rows, _ = clouds(seed)
    f = seed % (most_attackers(name, len(rows)) + 1)
    mixed = aggregation.nearest_neighbor_mixing(rows, n_byzantine=f)
    return len(np.unique(mixed.round(9), axis=0)) < len(rows)


@pytest.mark.parametrize("name", sorted(CLIPS_FROM_THE_ORIGIN))
def test_exceptions_are_real(name: str) -> None:
    assert max(most_moved(name, seed, 200.0) for seed in range(20)) > 0.1
    if name in CLIPS_AT_A_LENGTH:
        assert max(most_moved(name, seed, 0.0, 1000.0) for seed in range(20)) > 0.1


@pytest.mark.parametrize("name", [name for name in RULES if name not in NOT_ROBUST])
@settings(max_examples=12, deadline=None)
@given(
    bad=hnp.arrays(np.float64, (7, 3), elements=st.floats(allow_nan=True, allow_infinity=True)),
    seed=st.integers(0, 5),
    claim=st.floats(0, 1e12),
)
def test_arbitrary_minority_moves_the_value_only_so_far(name: str, bad: FloatArray, seed: int, claim: float) -> None:
    """As many of 15 rows as the rule withstands are anything, at any claim: within 10 deviations of the honest mean.

    The bounds of arXiv 2302.01772, Table 1, for n = 15, f = 7 are far looser: 4 (1 + f/(n - 2f))^2 = 256 for both
    medians, so 16 deviations.
    """
    f = most_attackers(name, 15)
    honest = np.random.default_rng(seed).normal(size=(15 - f, 3))
    given = truthful(15, 3) | {"information": np.concatenate([np.ones(15 - f), np.full(f, claim)])}
    # The node that `monna` trusts is the first one, the root of `fltrust` is an honest update.
    result = RULES[name](np.concatenate([honest, bad[:f]]), n_byzantine=f, **(given | {"root": honest[0]}))
    spread = np.sqrt(np.mean(np.sum((honest - honest.mean(axis=0)) ** 2, axis=1)))
    assert np.linalg.norm(result.value - honest.mean(axis=0)) <= 10 * spread


@pytest.mark.parametrize("name", sorted(NOT_ROBUST))
def test_rules_that_are_no_defence_are_moved_by_one_attacker(name: str) -> None:
    rows = np.random.default_rng(7).normal(size=(15, 3))
    rows[0] = 1e6
    given = truthful(15, 3)
    if name == "dnc":
        rows[1:3] = [[0, 1e20, 0], [0, 0, 1e3]]
    for column in COLUMNS:
        given[column][0] = 1e3
    value = RULES[name](rows, n_byzantine=3, **given).value
    assert np.linalg.norm(value) > 5


@ALL
def test_debiased_rules_get_everything_that_the_bare_rule_gets(name: str) -> None:
    """With contraction 1 everywhere, and one node below the floor that might as well not be there."""
    rows, given = clouds(3)
    n_nodes = len(rows)
    given["contraction"] = np.ones(n_nodes)
    f = min(1, most_attackers(name, n_nodes))
    bare = RULES[name](rows, n_byzantine=f, nodes=np.arange(n_nodes) + 1, **given)
    more = {c: np.append(column, 0.01) if c != "root" else column for c, column in given.items()}
    result = aggregation.debiased(RULES[name])(
        np.vstack([rows, rows[:1]]), n_byzantine=f, nodes=np.arange(n_nodes + 1) + 1, **more
    )
    np.testing.assert_array_equal(result.value, bare.value)
    np.testing.assert_array_equal(result.weights, np.append(bare.weights, 0.0))
    assert result.memory.keys() == bare.memory.keys()
