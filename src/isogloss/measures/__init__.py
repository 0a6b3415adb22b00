"""Answers and the truth in, a `Measurement` with interval, n and signature out, for reporting."""

from isogloss.measures.bootstrap import (
    bootstrap_interval,
    bootstrap_ratio_interval,
    two_way_interval,
)
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
    "bootstrap_interval",
    "bootstrap_ratio_interval",
    "cer",
    "chance_level",
    "edit_counts",
    "gold_ranks",
    "mean_reciprocal_rank",
    "recall_at_k",
    "two_way_interval",
    "wer",
    "xsim_error",
]
