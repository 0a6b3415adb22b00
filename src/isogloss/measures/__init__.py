"""Answers and the truth in, a `Measurement` with interval, n and signature out, for reporting."""

from isogloss.measures.bootstrap import (
    bootstrap_interval,
    bootstrap_ratio_interval,
    percentile_interval,
    resample_counts,
    two_way_interval,
)
from isogloss.measures.classification import accuracy_and_f1, confusion_matrix
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
from isogloss.measures.paired import PairedTest, holm, paired_bootstrap, paired_two_way
from isogloss.measures.retrieval import (
    GoldRanks,
    chance_level,
    gold_ranks,
    mean_reciprocal_rank,
    recall_at_k,
    xsim_error,
)
from isogloss.measures.transcription import EditCounts, cer, edit_counts, wer

__all__ = [
    "EditCounts",
    "GoldRanks",
    "PairedTest",
    "accuracy_and_f1",
    "average_ranks",
    "bootstrap_interval",
    "bootstrap_ratio_interval",
    "cer",
    "chance_level",
    "confusion_matrix",
    "edit_counts",
    "gold_ranks",
    "holm",
    "mean_reciprocal_rank",
    "paired_bootstrap",
    "paired_two_way",
    "partial_correlation",
    "partial_from_matrix",
    "pearson",
    "percentile_interval",
    "recall_at_k",
    "resample_counts",
    "resampled_table_correlations",
    "spearman",
    "table_correlation_interval",
    "table_correlations",
    "two_way_interval",
    "wer",
    "xsim_error",
]
