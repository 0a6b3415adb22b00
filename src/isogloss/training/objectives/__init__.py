"""Objectives: a model and a batch in, a loss to minimise out."""

from __future__ import annotations

from isogloss.training.objectives.ctc import CtcObjective, Loss

__all__ = ["CtcObjective", "Loss"]
