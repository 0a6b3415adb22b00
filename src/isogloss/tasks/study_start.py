"""The model that all arms of a study start from: the one that is given, or one trained here."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from isogloss.errors import IsoglossError
from isogloss.tasks.study_data import study_texts
from isogloss.tasks.study_judge import middle_layer
from isogloss.tasks.study_train import Arm, ArmRun, TrainOptions, train_all
from isogloss.training.text_config import Shape

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from isogloss.tasks.study_data import DataChoice, StudyTexts
    from isogloss.types import Corpus

__all__ = ["Begun", "StartChoice", "begin_study", "hf_folder"]

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


def _starts(
    choice: StartChoice,
    corpus: Corpus,
    seeds: Sequence[int],
    folder: Path,
    options: TrainOptions,
    *,
    jobs: int,
    quiet: bool,
    say: Callable[[str], None],
) -> dict[int, Path]:
    """The folder of the start for each seed.

    A model that is given serves all seeds; else each seed has a model of its own, so that the
    range over seeds holds what the first training does by chance.

    Raises:
        IsoglossError: the model that is given is none.
    """
    if choice.folder is not None:
        return dict.fromkeys(seeds, choice.folder)
    arm = Arm("start", (_BASE[choice.shape.kind],), "none", says="trained from nothing")
    # The rate of a new model is not that of the arms.
    own = replace(options, steps=choice.steps, lr=None)
    runs = [
        ArmRun(arm, seed, folder / f"start-{seed}", corpus, own, shape=choice.shape, quiet=quiet)
        for seed in seeds
    ]
    train_all(runs, jobs=jobs, say=say)
    return {run.seed: run.folder for run in runs}


@dataclass(frozen=True, slots=True, eq=False)
class Begun:
    """What the arms of a study share.

    Attributes:
        texts: to learn from and to judge on.
        models: folder of the start of each seed.
        layer: that is trained and judged, the middle one unless another was asked for; None where
            the model has no layers.
    """

    texts: StudyTexts
    models: dict[int, Path]
    layer: int | None


def begin_study(
    data: DataChoice,
    start: StartChoice,
    seeds: Sequence[int],
    options: TrainOptions,
    out: Path,
    *,
    layer: int | None = None,
    jobs: int = 1,
    quiet: bool = True,
    say: Callable[[str], None],
) -> Begun:
    """Choose the texts, and train or take the models that the arms start from, all in `out`.

    Raises:
        IsoglossError: the model that is given is none, or the texts cannot be read.
        ValueError: no two varieties share meanings.
    """
    say("reading the texts")
    texts = study_texts(data, out / "texts", progress=not quiet)
    models = _starts(
        start, texts.learn, seeds, out / "arms", options, jobs=jobs, quiet=quiet, say=say
    )
    if layer is None:
        layer = middle_layer(f"hf:{models[seeds[0]]}")
    return Begun(texts, models, layer)
