"""The usual pre-aggregations before the usual rules, by name. Any other pair is made by `preceded_by`."""

from ceas.aggregation.admission import AdjustableRule, Rule
from ceas.aggregation.preaggregation import (
    Preaggregation,
    adaptive_robust_clipping,
    bucketing,
    clipping,
    nearest_neighbor_mixing,
    preceded_by,
)
from ceas.aggregation.rules import (
    centered_clipping,
    coordinate_median,
    geometric_median,
    meamed,
    mean,
    trimmed_mean,
)
from ceas.aggregation.selection import krum, multi_krum
from ceas.aggregation.spectral import caf

__all__ = [
    "arc_coordinate_median",
    "arc_geometric_median",
    "arc_mean",
    "arc_nnm_geometric_median",
    "arc_nnm_trimmed_mean",
    "arc_trimmed_mean",
    "bucketing_centered_clipping",
    "bucketing_coordinate_median",
    "bucketing_geometric_median",
    "bucketing_krum",
    "bucketing_multi_krum",
    "bucketing_trimmed_mean",
    "clipping_coordinate_median",
    "clipping_geometric_median",
    "clipping_mean",
    "clipping_trimmed_mean",
    "nnm_caf",
    "nnm_centered_clipping",
    "nnm_coordinate_median",
    "nnm_geometric_median",
    "nnm_krum",
    "nnm_meamed",
    "nnm_mean",
    "nnm_multi_krum",
    "nnm_trimmed_mean",
]


def _named(name: str, preaggregation: Preaggregation, rule: Rule) -> AdjustableRule:
    return preceded_by(preaggregation, rule, name=name, module=__name__)


nnm_mean = _named("nnm_mean", nearest_neighbor_mixing, mean)
nnm_coordinate_median = _named("nnm_coordinate_median", nearest_neighbor_mixing, coordinate_median)
nnm_trimmed_mean = _named("nnm_trimmed_mean", nearest_neighbor_mixing, trimmed_mean)
nnm_geometric_median = _named("nnm_geometric_median", nearest_neighbor_mixing, geometric_median)
nnm_meamed = _named("nnm_meamed", nearest_neighbor_mixing, meamed)
nnm_krum = _named("nnm_krum", nearest_neighbor_mixing, krum)
nnm_multi_krum = _named("nnm_multi_krum", nearest_neighbor_mixing, multi_krum)
nnm_centered_clipping = _named("nnm_centered_clipping", nearest_neighbor_mixing, centered_clipping)
nnm_caf = _named("nnm_caf", nearest_neighbor_mixing, caf)
bucketing_coordinate_median = _named("bucketing_coordinate_median", bucketing, coordinate_median)
bucketing_trimmed_mean = _named("bucketing_trimmed_mean", bucketing, trimmed_mean)
bucketing_geometric_median = _named("bucketing_geometric_median", bucketing, geometric_median)
bucketing_krum = _named("bucketing_krum", bucketing, krum)
bucketing_multi_krum = _named("bucketing_multi_krum", bucketing, multi_krum)
bucketing_centered_clipping = _named("bucketing_centered_clipping", bucketing, centered_clipping)
clipping_mean = _named("clipping_mean", clipping, mean)
clipping_coordinate_median = _named("clipping_coordinate_median", clipping, coordinate_median)
clipping_trimmed_mean = _named("clipping_trimmed_mean", clipping, trimmed_mean)
clipping_geometric_median = _named("clipping_geometric_median", clipping, geometric_median)
arc_mean = _named("arc_mean", adaptive_robust_clipping, mean)
arc_coordinate_median = _named("arc_coordinate_median", adaptive_robust_clipping, coordinate_median)
arc_trimmed_mean = _named("arc_trimmed_mean", adaptive_robust_clipping, trimmed_mean)
arc_geometric_median = _named("arc_geometric_median", adaptive_robust_clipping, geometric_median)
arc_nnm_trimmed_mean = _named("arc_nnm_trimmed_mean", adaptive_robust_clipping, nnm_trimmed_mean)
arc_nnm_geometric_median = _named("arc_nnm_geometric_median", adaptive_robust_clipping, nnm_geometric_median)
