"""What a run of text gave, as it is returned and as it lies in `result.json`."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from isogloss.training.prepare import recorded
from isogloss.training.result import RESULT

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["TextTrainResult", "finished_text_result"]


@dataclass(frozen=True, slots=True)
class TextTrainResult:
    """What a run gave: the folder of the model, its figures, and those of its control.

    Attributes:
        folder: of the model.
        steps: done.
        epochs: completed.
        loss: mean over the last steps, in nats, of the weighted sum.
        losses: mean of each objective and of its parts over the last steps.
        items: trained on.
        meanings: in two varieties or more; 0 where rows are no pairs of a meaning.
        pairs: what rows were: "meaning", "views" or "none".
        skipped: items left out, by reason.
        cut: texts longer than what is read of them.
        spent: "passes" (forward passes), "tokens" (real tokens in them), "flops" (an estimate, see
            `TextModel.spent`).
        train_seconds: in steps, over all parts of a resumed run.
        revision: sha256 of the weights.
        model: what the learner says of itself.
        control: the run with the base objective alone, from the same start, on the same batches;
            None without one.
    """

    folder: Path
    steps: int
    epochs: int
    loss: float
    losses: Mapping[str, float]
    items: int
    meanings: int
    pairs: str
    skipped: Mapping[str, int]
    cut: int
    spent: Mapping[str, float]
    train_seconds: float
    revision: str
    model: Mapping[str, Any] = field(default_factory=dict)
    control: TextTrainResult | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        values = asdict(self)
        values["folder"] = str(self.folder)
        values["control"] = None if self.control is None else self.control.to_dict()
        return values


def finished_text_result(folder: Path) -> TextTrainResult | None:
    """The result of the run in `folder`, or None while it is not finished."""
    values = recorded(folder / RESULT)
    return None if values is None else _from_dict(values, folder)


def _from_dict(values: dict[str, Any], folder: Path) -> TextTrainResult:
    control = values.pop("control")
    values["folder"] = folder  # it may have been moved since
    if control is not None:
        control = _from_dict(control, folder / "control")
    return TextTrainResult(**values, control=control)
