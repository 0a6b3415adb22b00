"""Objectives: a model and a batch in, a loss to minimise out."""

from __future__ import annotations

from isogloss.training.objectives.aligned import AlignedModel, Extras, save_added
from isogloss.training.objectives.contrastive import TextEncoder, info_nce
from isogloss.training.objectives.ctc import CtcObjective, Loss
from isogloss.training.objectives.inter import inner_stacks
from isogloss.training.objectives.pooled import cosine_loss
from isogloss.training.objectives.pooling import AttentionPooling
from isogloss.training.objectives.total import AlignedObjective

__all__ = [
    "AlignedModel",
    "AlignedObjective",
    "AttentionPooling",
    "CtcObjective",
    "Extras",
    "Loss",
    "TextEncoder",
    "cosine_loss",
    "info_nce",
    "inner_stacks",
    "save_added",
]
