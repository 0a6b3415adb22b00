"""The control of a run of text: what the base objective alone would have given in as many steps.

Without it, a gain can be that of training longer. The control starts from the same weights and
sees the same batches with the same tokens hidden; compute differs, and is reported for both.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from isogloss.training.text_config import TextTrainConfig
    from isogloss.training.text_result import TextTrainResult

__all__ = ["BASE", "CONTROL", "control_config", "give_tokenizer"]

BASE = ("mlm", "lm")
"""Objectives that a control keeps."""

CONTROL = "control"
"""Folder of the control in that of the run."""


def control_config(config: TextTrainConfig, result: TextTrainResult) -> TextTrainConfig | None:
    """The config of the control of a finished run; None where it would be the run itself.

    Kept are the mlm and lm of the run with their options, each with weight 1; where there is none,
    that of the model's kind. None also for a learner that has no base objective.
    """
    asked = config.asked()
    if not asked or result.model.get("base") is None:
        return None
    base = tuple(str(replace(one, weight=1.0)) for one in asked if one.name in BASE)
    if len(base) == len(asked):
        return None
    return replace(
        config,
        objectives=base or (str(result.model["base"]),),
        alternate=config.alternate and len(base) > 1,
        max_steps=result.steps,
        epochs=None,
        minutes=None,
        control=False,
    )


def give_tokenizer(folder: Path, control: Path) -> None:
    """Copy the tokenizer that a run has trained to its control, whole or not at all."""
    source, goal = folder / "tokenizer", control / "tokenizer"
    if not source.is_dir() or goal.is_dir():
        return
    half = control / ".tokenizer.half"
    shutil.rmtree(half, ignore_errors=True)
    shutil.copytree(source, half)
    half.rename(goal)
