"""The `ceas` rule: updates weigh what their certified information is worth, as long as they behave like it.

Model: honest node k sends `lambda_k (g + h_k) + noise`. Divided by its certified contraction lambda_k, that is g plus
heterogeneity of variance D^2 (its data differ) and shot noise of variance `v_k = c / I_k`, with I_k its certified
information. The best linear unbiased estimate of the honest mean weighs it by 1/(D^2 + v_k), which goes to uniform
weights where the data differ more than the noise: weighting cannot silently change the objective. c and D^2 are not
claimed by anybody; they are fitted to the updates.

With no declared attacker, the rule is that estimate. Otherwise:

1. A centre that uses no claims: the geometric median, with colluders filtered out. Attackers that want to move the
   result must push in a common direction; pushing together makes the largest eigenvalue of the Gram matrix of the
   *directions* (updates minus centre, each scaled to length 1) larger than random directions have. Until it is not, the
   nodes along that eigenvector lose mass. Lengths play no role here, so neither does noise or a claim of having none.
2. The matrix has a memory. What two nodes' directions have in common is averaged over some twenty rounds, by pairs of
   nodes, and looked at together with that of this round. Shot noise of honest nodes is independent and averages out;
   what colluders have in common stays, also where each hides its copy under noise of its own. This round keeps a third
   of the say, so that attackers who slept are seen at once. Nobody is expelled: a pair that stops agreeing is pardoned
   as the average forgets, whoever it is.
3. One step from there, with node k's influence (weight times distance) about 1/max(s_k, d_k/1.5), where d_k is its
   distance from the centre and `s_k^2 = D^2 + v_k`. For an honest node d_k is near s_k, and its weight near 1/s_k^2.
   A liar that claims more information than its distance bears out loses influence by it, and a claim
   above the (2f+1)-th largest buys nothing, as at least f+1 honest nodes claim as much.

What was tried besides, and what it scored, is in docs/aggregation.md.

Known limits. The memory keeps what honest nodes' data have in common as well: pushes below an honest node's deviation
are found no better with it than without, and where updates do not average over rounds themselves, a little worse. Where
data differ more than the noise and in few directions, attackers along these directions look like honest nodes. No rule
can do much there (an error of D^2 f/(n - 2f) cannot be excluded), and this one does not.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ceas.aggregation.admission import CONTRACTION_FLOOR, Admitted, Aggregate, Estimate, run_core
from ceas.aggregation.median import geometric_median_weights, median_of_coordinates
from ceas.errors import DomainError

__all__ = ["ceas"]

FloatArray = NDArray[np.float64]

EDGE_FACTOR = 1.2
"""Directions of honest nodes exceed this multiple of the random-matrix edge seldom when their data are alike."""

CONTRADICTION_FACTOR = 1.5
"""A distance this many times above the claimed deviation contradicts the claim."""

MEMORY_DECAY = 0.95
"""What a round leaves of the past of a pair of nodes: about twenty rounds count."""

MEMORY_SHARE = 0.65
"""Say of the past; with .8, attackers who strike now and then gain, with .5, those who always do."""

CENTRE_TOLERANCE = 1e-4
"""Of the centre while nodes still lose mass, relative to the median distance."""

VARIANCE_RATIOS = np.concatenate([[0.0], np.geomspace(1e-3, 1e3, 49)])
"""D^2/c that are tried, times the typical I."""

MANY_NODES = 200
"""From here on the largest eigenvalue is found by Lanczos' method, without making the matrix."""

TINY = 1e-150
"""Floor of distances: its square, and the inverse of that, are still finite."""


def ceas(
    updates: ArrayLike,
    *,
    n_byzantine: int,
    information: ArrayLike | None = None,
    contraction: ArrayLike | None = None,
    shots: ArrayLike | None = None,
    quantum_fisher: ArrayLike | None = None,
    samples: ArrayLike | None = None,
    root: ArrayLike | None = None,
    nodes: ArrayLike | None = None,
    memory: Mapping[str, NDArray[Any]] | None = None,
    contraction_floor: float = CONTRACTION_FLOOR,
) -> Aggregate:
    """Aggregate raw updates by certified information, robustly against `n_byzantine` arbitrary ones.

    Args:
        updates: Raw updates as sent, shape (n, P). Rows that are not finite are rejected and count as attackers.
        n_byzantine: Declared number f of attackers, 0 <= 2f < n.
        information: Certified information, shape (n,), any common unit: shots * contraction^2 * quantum Fisher
            information. Rows where it is not positive and finite are left out. Default: equal.
        contraction: Certified contraction lambda of each update, shape (n,), in (0, 1]. Rows below the floor are left
            out. Default: ones, for updates that are already debiased.
        shots: Not used.
        quantum_fisher: Not used.
        samples: Not used.
        root: Not used.
        nodes: Identity of each row's sender, shape (n,); default 0..n-1.
        memory: What the last round returned: `agreement` of every two `nodes`, and the `rounds` of each.
        contraction_floor: In (0, 1].

    Returns:
        Value (an estimate of the honest nodes' mean debiased update) and the share of each debiased update in it.

    Raises:
        DomainError: A shape is wrong, 2f >= n, or the memory holds something else.

    Source:
        Random-effects weights: DerSimonian and Laird, Control. Clin. Trials 1986. Filter by the largest
        eigenvector: Diakonikolas et al., ICML 2017, arXiv 1703.00893, here on spatial signs. Limit of the largest
        eigenvalue: Marchenko and Pastur 1967.
    """
    return run_core(
        _information_weighted,
        updates,
        n_byzantine=n_byzantine,
        information=information,
        contraction=contraction,
        contraction_floor=contraction_floor,
        columns={"shots": shots, "quantum_fisher": quantum_fisher, "samples": samples},
        root=root,
        nodes=nodes,
        memory=memory,
    )


class _Past(NamedTuple):
    """Agreement of every two known nodes' directions, averaged over rounds (k, k); rounds and ids of each (k,)."""

    agreement: FloatArray
    rounds: NDArray[np.int64]
    nodes: NDArray[np.int64]


def _information_weighted(admitted: Admitted) -> Estimate:
    updates, f = admitted.updates, admitted.n_byzantine
    if f == 0:
        centre = geometric_median_weights(updates, start=median_of_coordinates(updates)) @ updates
        weights = _fitted_deviations(_distances(updates, centre), _capped(admitted.information, 0)) ** -2
        weights = weights / weights.sum()
        return Estimate(value=weights @ updates, weights=weights, memory=admitted.memory)
    past = _past(admitted.memory, admitted.nodes)
    members = np.searchsorted(past.nodes, admitted.nodes)
    remembered = past.agreement[np.ix_(members, members)]
    centre, mass = _filtered_centre(updates, f, _unbiased(remembered, past.rounds[members]))
    distances = _distances(updates, centre)
    deviations = _fitted_deviations(distances, _capped(admitted.information, f))
    # The floor s/2 matters only for few parameters, where an honest node can sit on the centre by chance.
    contradicted = np.maximum(deviations, distances / CONTRADICTION_FACTOR)
    weights = mass / (contradicted * np.maximum(distances, deviations / 2))
    weights = weights / weights.sum()
    value = weights @ updates
    directions = _directions(updates, value)
    past.agreement[np.ix_(members, members)] = MEMORY_DECAY * remembered + (1 - MEMORY_DECAY) * (
        directions @ directions.T
    )
    past.rounds[members] += 1
    return Estimate(value=value, weights=weights, memory=past._asdict())


def _past(memory: Mapping[str, NDArray[Any]], present: NDArray[np.int64]) -> _Past:
    """Return a copy of what is remembered, with room for nodes that were never heard before; ids ascend."""
    if not memory:
        n_nodes = len(present)
        return _Past(np.zeros((n_nodes, n_nodes)), np.zeros(n_nodes, dtype=np.int64), np.sort(present))
    known = _checked_past(memory)
    ids = np.union1d(known.nodes, present)
    place = np.searchsorted(ids, known.nodes)
    agreement, rounds = np.zeros((len(ids), len(ids))), np.zeros(len(ids), dtype=np.int64)
    agreement[np.ix_(place, place)], rounds[place] = known.agreement, known.rounds
    return _Past(agreement, rounds, ids)


def _checked_past(memory: Mapping[str, NDArray[Any]]) -> _Past:
    if not set(_Past._fields) <= set(memory):
        raise DomainError(f"Argument `memory` must hold {', '.join(_Past._fields)}, but holds {', '.join(memory)}.")
    agreement, rounds, nodes = (np.asarray(memory[name]) for name in _Past._fields)
    shapes = agreement.shape, rounds.shape, nodes.shape
    n_nodes = nodes.size
    if shapes != ((n_nodes, n_nodes), (n_nodes,), (n_nodes,)) or not np.all(np.isfinite(agreement)):
        raise DomainError(f"Argument `memory` must hold finite arrays (k, k), (k,), (k,), but has shapes {shapes}.")
    if np.any(np.diff(nodes) <= 0):
        raise DomainError("Argument `memory` must hold ascending `nodes`, but does not.")
    return _Past(agreement.astype(np.float64), rounds.astype(np.int64), nodes.astype(np.int64))


def _unbiased(remembered: FloatArray, rounds: NDArray[np.int64]) -> FloatArray | None:
    """Return averages without their lean towards zero, those of pairs that never met as 0; None without any past."""
    if not rounds.any():
        return None
    left = MEMORY_DECAY**rounds
    weight = 1 - np.maximum(left[:, None], left)
    averages: FloatArray = np.divide(remembered, weight, out=np.zeros_like(remembered), where=weight > 0)
    return averages


def _capped(information: FloatArray, n_byzantine: int) -> FloatArray:
    """Cap information at the (2f+1)-th largest, and at 10^9 times the median either way to keep ratios finite."""
    typical = median_of_coordinates(information)
    cap = np.sort(information)[::-1][2 * n_byzantine]
    capped: FloatArray = np.clip(np.minimum(information, cap) / typical, 1e-9, 1e9)
    return capped


def _fitted_deviations(distances: FloatArray, information: FloatArray) -> FloatArray:
    """Fit `d_k^2 = D^2 + c / I_k` by least absolute deviations of the logarithms; return the fitted deviations.

    For a given ratio D^2/c, c is a median, so that less than half of the nodes cannot move it far.
    """
    squares, noise = 2 * np.log(distances), 1 / information
    ratios = VARIANCE_RATIOS * median_of_coordinates(noise)
    shapes = np.log(ratios[:, None] + noise)
    levels = median_of_coordinates((squares - shapes).T)
    misfit = np.abs(squares - shapes - levels[:, None]).sum(axis=1)
    best = int(np.argmin(misfit))
    # Not below the smallest distance that still has a finite inverse square.
    fitted: FloatArray = np.maximum(np.exp((shapes[best] + levels[best]) / 2), TINY)
    return fitted


def _filtered_centre(
    updates: FloatArray, n_byzantine: int, remembered: FloatArray | None
) -> tuple[FloatArray, FloatArray]:
    """Return the geometric median without colluders, shape (P,), and the mass in [0, 1] left to each node."""
    n_nodes = len(updates)
    mass = np.ones(n_nodes)
    centre = _geometric_median(updates, median_of_coordinates(updates), mass)
    best_eigenvalue, best = np.inf, (centre, mass)
    # An honest node loses at most what an attacker does, so 2f of mass suffices to be rid of f attackers.
    while mass.sum() > n_nodes - 2 * n_byzantine:
        eigenvalue, alignment = _leading_agreement(updates, centre, mass, remembered)
        if eigenvalue < best_eigenvalue:
            best_eigenvalue, best = eigenvalue, (centre, mass)
        if eigenvalue <= EDGE_FACTOR * _random_edge(updates.shape[1], float(mass.sum())) or alignment.max() <= 0:
            break
        mass = mass * (1 - alignment / alignment[mass > 0].max()).clip(0)
        centre = _geometric_median(updates, centre, mass)
    return best


def _geometric_median(updates: FloatArray, start: FloatArray, mass: FloatArray) -> FloatArray:
    shares = geometric_median_weights(updates, start=start, weights=mass, tolerance=CENTRE_TOLERANCE)
    median: FloatArray = shares @ updates
    return median


def _distances(updates: FloatArray, centre: FloatArray) -> FloatArray:
    distances: FloatArray = np.maximum(np.linalg.norm(updates - centre, axis=1), TINY)
    return distances


def _directions(updates: FloatArray, centre: FloatArray) -> FloatArray:
    residuals = updates - centre
    directions: FloatArray = residuals / np.maximum(np.linalg.norm(residuals, axis=1), TINY)[:, None]
    return directions


def _leading_agreement(
    updates: FloatArray, centre: FloatArray, mass: FloatArray, remembered: FloatArray | None
) -> tuple[float, FloatArray]:
    """Return the largest eigenvalue of the nodes' agreement, now and before, and each node's squared part in it."""
    directions = _directions(updates, centre)
    roots = np.sqrt(mass / mass.sum())

    def times_agreement(vectors: FloatArray) -> FloatArray:
        product: FloatArray = directions @ (directions.T @ vectors)
        return product if remembered is None else _blended(product, remembered @ vectors)

    found = None
    if len(mass) >= MANY_NODES:
        found = _iterated(lambda vector: roots * times_agreement(roots * vector), len(mass))
    if found is None:
        agreement = directions @ directions.T
        if remembered is not None:
            agreement = _blended(agreement, remembered)
        values, vectors = np.linalg.eigh(roots[:, None] * agreement * roots)
        found = float(values[-1]), vectors[:, -1]
        projections = agreement @ (roots * found[1])
    else:
        projections = times_agreement(roots * found[1])
    largest = max(found[0], 0.0)
    return largest, projections**2 / max(largest, TINY)


def _blended(now: FloatArray, before: FloatArray) -> FloatArray:
    return (1 - MEMORY_SHARE) * now + MEMORY_SHARE * before


def _iterated(product: Callable[[FloatArray], FloatArray], n_nodes: int) -> tuple[float, FloatArray] | None:
    """Return the largest eigenvalue and its vector of a symmetric matrix from products alone; None without success."""
    from scipy.sparse.linalg import ArpackError, LinearOperator, eigsh  # noqa: PLC0415 - `import ceas` must stay light

    operator = LinearOperator((n_nodes, n_nodes), matvec=product, dtype=np.float64)
    try:
        # A given start makes it repeat itself; a ramp is at right angles to no likely eigenvector.
        values, vectors = eigsh(operator, k=1, which="LA", v0=np.linspace(1, 2, n_nodes), tol=1e-8)
    except ArpackError:
        return None
    return float(values[-1]), vectors[:, -1]


def _random_edge(n_parameters: int, n_nodes: float) -> float:
    """Upper edge of the eigenvalues of `n_nodes` random directions' covariance in `n_parameters` dimensions."""
    return float((1 + np.sqrt(n_parameters / n_nodes)) ** 2 / n_parameters)
