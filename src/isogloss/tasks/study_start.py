"""The model that all arms of a study start from: the one that is given, or one trained here."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from isogloss.errors import IsoglossError
from isogloss.tasks.study_train import Arm, ArmRun, TrainOptions, train_all
from isogloss.training.text_config import Shape

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from isogloss.training.text_result import TextTrainResult
    from isogloss.types import Corpus

__all__ = ["StartChoice", "hf_folder", "starts"]

_BASE = {"encoder": "mlm", "decoder": "lm"}


@dataclass(frozen=True, slots=True)
class StartChoice:
    """Where the arms start.

    Attributes:
        model: folder of a model of transformers, or hf:FOLDER; None trains one for each seed.
        steps: of a model that is trained here.
        shape: of a model that is trained here.
    """

    model: str | None = None
    steps: int = 1500
    shape: Shape = field(default_factory=Shape)

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps of the start must be at least 1, got {self.steps}")

    @property
    def folder(self) -> Path | None:
        """The folder of the model that is given.

        Raises:
            IsoglossError: it is no folder of a model.
        """
        return None if self.model is None else hf_folder(self.model)


def hf_folder(model: str) -> Path:
    """The folder that `model` (FOLDER or hf:FOLDER) names.

    Raises:
        IsoglossError: it is no folder with a config.json.
    """
    name = model.removeprefix("hf:").partition("?")[0]
    folder = Path(name)
    if not (folder / "config.json").is_file():
        raise IsoglossError(
            f"{model}: no folder of a model of transformers (it has no config.json); training "
            "starts from such a folder"
        )
    return folder.resolve()


def starts(
    choice: StartChoice,
    corpus: Corpus,
    seeds: Sequence[int],
    folder: Path,
    options: TrainOptions,
    *,
    jobs: int = 1,
    quiet: bool = True,
    say: Callable[[str], None] | None = None,
) -> tuple[dict[int, Path], list[TextTrainResult]]:
    """The folder of the start for each seed, and what was trained for it.

    A model that is given serves all seeds; else each seed has a model of its own, so that the
    range over seeds holds what the first training does by chance.

    Raises:
        IsoglossError: the model that is given is none.
    """
    if choice.folder is not None:
        return dict.fromkeys(seeds, choice.folder), []
    arm = Arm("start", (_BASE[choice.shape.kind],), "none", says="trained from nothing")
    # The rate of a new model is not that of the arms.
    own = replace(options, steps=choice.steps, lr=None)
    runs = [
        ArmRun(arm, seed, folder / f"start-{seed}", corpus, own, shape=choice.shape, quiet=quiet)
        for seed in seeds
    ]
    found = train_all(runs, jobs=jobs, say=say)
    return {seed: run.folder for seed, run in zip(seeds, runs, strict=True)}, found
