"""Answers and the truth in, a `Measurement` with interval, n and signature out, for reporting."""

from isogloss.measures.bootstrap import (
    bootstrap_interval,
    bootstrap_ratio_interval,
    percentile_interval,
    resample_counts,
    two_way_interval,
)
from isogloss.measures.cca import cca_correlations, cca_samples, leading_directions, pwcca, svcca
from isogloss.measures.cka import cka_of_grams, cka_samples, debiased_cka, linear_cka
from isogloss.measures.classification import accuracy_and_f1, confusion_matrix
from isogloss.measures.clusters import VMeasure, v_measure
from isogloss.measures.concepts import AlignedConcepts, calign, colap, concept_matches
from isogloss.measures.correlation import (
    average_ranks,
    partial_correlation,
    partial_from_matrix,
    pearson,
    resampled_table_correlations,
    spearman,
    table_correlation_interval,
    table_correlations,
)
from isogloss.measures.dimension import (
    neighbour_ratios,
    participation_ratio,
    participation_samples,
    two_nn,
    two_nn_of_ratios,
)
from isogloss.measures.halves import around_value, half_interval, random_halves
from isogloss.measures.isotropy import (
    OutlierDimension,
    iso_score,
    mean_random_cosine,
    outlier_dimensions,
    partition_isotropy,
    random_cosine_samples,
    spectrum,
    top_component_share,
    top_share_samples,
)
from isogloss.measures.mantel import MantelTest, mantel
from isogloss.measures.mexa import mexa, mexa_of_table, mutual_best
from isogloss.measures.neurons import (
    average_neuron_correlation,
    neuron_correlation_samples,
    neuron_correlations,
)
from isogloss.measures.paired import PairedTest, holm, paired_bootstrap, paired_two_way
from isogloss.measures.retrieval import (
    GoldRanks,
    chance_level,
    gold_ranks,
    mean_reciprocal_rank,
    recall_at_k,
    xsim_error,
)
from isogloss.measures.rows import checked_pair, checked_rows, unit_rows
from isogloss.measures.rsa import rsa, rsa_samples
from isogloss.measures.separation import (
    Separation,
    separation,
    separation_of_table,
    separation_samples,
)
from isogloss.measures.transcription import EditCounts, cer, edit_counts, wer
from isogloss.measures.variety_tree import (
    checked_distances,
    complete_linkage,
    cut_tree,
    leaf_order,
    newick,
)

__all__ = [
    "AlignedConcepts",
    "EditCounts",
    "GoldRanks",
    "MantelTest",
    "OutlierDimension",
    "PairedTest",
    "Separation",
    "VMeasure",
    "accuracy_and_f1",
    "around_value",
    "average_neuron_correlation",
    "average_ranks",
    "bootstrap_interval",
    "bootstrap_ratio_interval",
    "calign",
    "cca_correlations",
    "cca_samples",
    "cer",
    "chance_level",
    "checked_distances",
    "checked_pair",
    "checked_rows",
    "cka_of_grams",
    "cka_samples",
    "colap",
    "complete_linkage",
    "concept_matches",
    "confusion_matrix",
    "cut_tree",
    "debiased_cka",
    "edit_counts",
    "gold_ranks",
    "half_interval",
    "holm",
    "iso_score",
    "leading_directions",
    "leaf_order",
    "linear_cka",
    "mantel",
    "mean_random_cosine",
    "mean_reciprocal_rank",
    "mexa",
    "mexa_of_table",
    "mutual_best",
    "neighbour_ratios",
    "neuron_correlation_samples",
    "neuron_correlations",
    "newick",
    "outlier_dimensions",
    "paired_bootstrap",
    "paired_two_way",
    "partial_correlation",
    "partial_from_matrix",
    "participation_ratio",
    "participation_samples",
    "partition_isotropy",
    "pearson",
    "percentile_interval",
    "pwcca",
    "random_cosine_samples",
    "random_halves",
    "recall_at_k",
    "resample_counts",
    "resampled_table_correlations",
    "rsa",
    "rsa_samples",
    "separation",
    "separation_of_table",
    "separation_samples",
    "spearman",
    "spectrum",
    "svcca",
    "table_correlation_interval",
    "table_correlations",
    "top_component_share",
    "top_share_samples",
    "two_nn",
    "two_nn_of_ratios",
    "two_way_interval",
    "unit_rows",
    "v_measure",
    "wer",
    "xsim_error",
]
