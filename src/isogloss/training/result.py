"""What a run gave, as it is returned and as it lies in `result.json`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from isogloss.training.examples import Skipped, count_reasons
from isogloss.training.prepare import recorded

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["RESULT", "TrainResult", "finished_result"]

RESULT = "result.json"
"""Name of the file that a finished run leaves."""


@dataclass(frozen=True, slots=True)
class TrainResult:
    """What a run gave: the folder of the model and the figures of the run.

    `loss` is the mean over the last steps, in nats for each step of the encoder;
    `train_seconds` is time spent in steps, over all parts of a resumed run.
    """

    folder: Path
    steps: int
    epochs: int
    loss: float
    utterances: int
    audio_seconds: float
    train_seconds: float
    revision: str
    skipped: tuple[Skipped, ...]
    dev_cer: float | None = None

    @property
    def skipped_counts(self) -> str:
        """How many items were left out for each reason, or an empty string."""
        return count_reasons(self.skipped)

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "folder": str(self.folder)}


def finished_result(folder: Path) -> TrainResult | None:
    """The result of the run in `folder`, or None while it is not finished."""
    values = recorded(folder / RESULT)
    if values is None:
        return None
    values["folder"] = folder  # it may have been moved since
    values["skipped"] = tuple(Skipped(**entry) for entry in values["skipped"])
    return TrainResult(**values)
