"""An arm of a study is trained here, or taken up where it was: objectives, rows, seed in."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path  # noqa: TC003  (passed to other processes with the fields)
from typing import TYPE_CHECKING, Any, Literal

from isogloss.training.text_config import Shape, TextTrainConfig

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from isogloss.training.text_result import TextTrainResult
    from isogloss.types import Corpus

__all__ = ["Arm", "ArmRun", "TrainOptions", "train_all", "train_arm", "viewer"]

Rows = Literal["meaning", "views", "none"]


@dataclass(frozen=True, slots=True)
class Arm:
    """One way to train.

    Attributes:
        name: of the row and of its folders.
        objectives: see `TextTrainConfig`.
        rows: pairs of a meaning, a text and its view, or single texts.
        control: name of the arm with the same batches and the base objective alone; None where
            this is a control itself.
        says: what it is, in a few words.
    """

    name: str
    objectives: tuple[str, ...]
    rows: Rows
    control: str | None = None
    says: str = ""


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """What all arms of a study share.

    Attributes:
        steps: of every arm.
        batch: rows of a batch.
        lr: peak; None is the default of `TextTrainConfig`.
        max_tokens: longer texts are cut.
        threads: of each run; one thread gives the same bits on every machine with its processor.
        device: 'cpu', 'cuda' or 'auto'.
        views: a variation that makes the second view, such as 'romanise'.
    """

    steps: int = 400
    batch: int = 32
    lr: float | None = None
    max_tokens: int = 128
    threads: int = 1
    device: Literal["auto", "cpu", "cuda"] = "cpu"
    views: str = "romanise"

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "threads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")

    def told(self) -> dict[str, Any]:
        """What changes the weights."""
        return {
            "steps": self.steps,
            "batch": self.batch,
            "lr": self.lr,
            "max_tokens": self.max_tokens,
            "views": self.views,
        }


@dataclass(frozen=True, slots=True)
class ArmRun:
    """An arm with all it takes to train it; can be sent to another process.

    Attributes:
        arm: what is trained.
        seed: of batches, of what is hidden, and of new weights.
        folder: of the run.
        corpus: to learn from.
        options: shared by all arms.
        start: folder of the model; None makes a new one of `shape`.
        shape: of a new model.
        cache: file in which romanised texts are kept.
        quiet: no lines and bars on stderr.
    """

    arm: Arm
    seed: int
    folder: Path
    corpus: Corpus
    options: TrainOptions
    start: Path | None = None
    shape: Shape = field(default_factory=Shape)
    cache: Path | None = None
    quiet: bool = True

    @property
    def config(self) -> TextTrainConfig:
        """As it is trained; the control is an arm of its own."""
        return TextTrainConfig(
            shape=self.shape if self.start is None else Shape(),
            start=None if self.start is None else str(self.start),
            objectives=self.arm.objectives,
            pairs=self.arm.rows,
            batch=self.options.batch,
            max_tokens=self.options.max_tokens,
            base_lr=self.options.lr,
            max_steps=self.options.steps,
            threads=self.options.threads,
            device=self.options.device,
            seed=self.seed,
            control=False,
        )


def viewer(variation: str, cache: Path | None) -> Callable[[Sequence[str]], list[str]]:
    """A function from texts to their views; romanised texts are kept in `cache`."""
    from isogloss.variation import romanise, views

    def seen(texts: Sequence[str]) -> list[str]:
        if variation == "romanise":
            return romanise(texts, cache=cache)
        return views(variation, texts)

    return seen


def train_arm(run: ArmRun) -> TextTrainResult:
    """Train an arm, or go on with it, or read its result where it is finished.

    Raises:
        As `train_text`.
    """
    from isogloss.training.text_loop import train_text

    views = viewer(run.options.views, run.cache) if run.arm.rows == "views" else None
    return train_text(
        run.config, corpus=run.corpus, folder=run.folder, views=views, quiet=run.quiet
    )


def train_all(
    runs: Sequence[ArmRun],
    *,
    jobs: int = 1,
    say: Callable[[str], None] | None = None,
) -> list[TextTrainResult]:
    """Train several arms, `jobs` at once in processes of their own; results in the order of `runs`.

    The number of jobs does not change a result: every run has its own threads and seed.

    Args:
        runs: finished ones cost nothing.
        jobs: processes; 1 trains here.
        say: called with a line when an arm begins (with several jobs, when it ends).
    """
    from isogloss.training.text_result import finished_text_result

    say = say or (lambda _line: None)
    waiting = [run for run in runs if finished_text_result(run.folder) is None]
    if jobs > 1 and len(waiting) > 1:
        _in_processes(waiting, jobs, say)
    found = []
    for number, run in enumerate(runs, start=1):
        if finished_text_result(run.folder) is None:
            say(f"training {number}/{len(runs)}: {run.arm.name}, seed {run.seed}")
        found.append(train_arm(run))
    return found


def _in_processes(runs: Sequence[ArmRun], jobs: int, say: Callable[[str], None]) -> None:
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor, as_completed
    from dataclasses import replace

    if any(run.arm.rows == "views" for run in runs):
        # Romanised here once: processes that wait for each other's cache would do it twice.
        from isogloss.encoders.item_text import text_of

        first = next(run for run in runs if run.arm.rows == "views")
        viewer(first.options.views, first.cache)([text_of(i) for i in first.corpus.items])
    say(f"training {len(runs)} arms, {jobs} at once")
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=jobs, mp_context=context) as pool:
        asked = {pool.submit(train_arm, replace(run, quiet=True)): run for run in runs}
        try:
            for done, future in enumerate(as_completed(asked), start=1):
                run = asked[future]
                seconds = future.result().train_seconds
                say(f"trained {done}/{len(runs)}: {run.arm.name}, seed {run.seed}, {seconds:.0f} s")
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
