"""What fresh pairs of each link are worth to a shot and to a key, before the clock starts.

`ceas.network.policy.shot_factor_at` and `key_fraction_at` say the same of pairs of any age to a compiled rule.
"""

import numpy as np
import numpy.typing as npt

from ceas.network.records import NetworkModel
from ceas.physics.keys import bbm92_key_fraction, secret_key_fraction
from ceas.physics.states import correlators_to_bell_diagonal

__all__ = ["fresh_key_fraction", "fresh_shot_value"]


def fresh_shot_value(model: NetworkModel) -> npt.NDArray[np.float64]:
    """Return the value of a shot through each link's fresh pairs, in shots through perfect ones, `(n_links,)`."""
    pairs = max(model.demand.pairs_per_shot, 1)
    if model.links.is_bell_diagonal:
        return np.asarray((model.links.correlators**2 @ np.array(model.demand.correlator_weights)) ** pairs)
    return np.asarray(model.links.initial_werner ** (2 * pairs))


def fresh_key_fraction(model: NetworkModel) -> npt.NDArray[np.float64]:
    """Return the secret bits that a fresh pair of each link gives, `(n_links,)`."""
    if model.links.is_bell_diagonal:
        return np.asarray(bbm92_key_fraction(correlators_to_bell_diagonal(model.links.correlators)))
    return np.asarray(secret_key_fraction(model.links.initial_werner))
