"""A recipe (TOML) in, the configuration of one retrieval with its layers and CER out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from isogloss._config import read_config
from isogloss.encoders import encoder_names
from isogloss.errors import IsoglossError, UnknownName
from isogloss.tasks import SpeechRetrieval

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["RunConfig", "check_names", "read_recipe"]


@dataclass(frozen=True, slots=True)
class RunConfig:
    """What to run; a recipe is this in TOML.

    Attributes:
        encoders: names for `load_encoder`; the first is the one that the report looks at, the
            others stand beside it ('mel:' the floor, 'random:tiny' the control).
        corpus: manifest, for recipes; relative to the recipe.
        by: what is compared: 'variety', 'site' or 'group'.
        split: only items of this split; where no item has one, all are taken.
        layer: of encoders that have several; None is the final output.
        layers: 'all' or some numbers: also measure each of these layers.
        score: 'seqsim' or 'cosine' of mean-pooled steps.
        adjust: 'none', 'csls' or 'margin'.
        neighbours: of csls, margin and xSIM.
        center: subtract each set's mean step first.
        center_split: split that gives the mean; None is the retrieved items themselves.
        hard: wrong answers that sound nearest, for 'hard R@1'.
        ks: cut-offs of R@k.
        bootstrap: resamples of every interval; 0 for none.
        level: of every interval.
        seed: of every interval and of the choice of examples.
        cer: also transcribe with encoders that can.
        transcripts: truth of CER: 'standard' or 'dialect'.
        examples: how many queries the report plays and maps.
        device: a torch device.
    """

    encoders: tuple[str, ...] = ()
    corpus: str | None = None
    by: Literal["variety", "site", "group"] = "variety"
    split: str | None = "test"
    layer: int | None = None
    layers: Literal["all"] | tuple[int, ...] | None = None
    score: Literal["seqsim", "cosine"] = "seqsim"
    adjust: Literal["none", "csls", "margin"] = "none"
    neighbours: int = 4
    center: bool = False
    center_split: str | None = None
    hard: int = 5
    ks: tuple[int, ...] = (1, 5, 10)
    bootstrap: int = 1000
    level: float = 0.95
    seed: int = 0
    cer: bool = True
    transcripts: Literal["standard", "dialect"] = "standard"
    examples: int = 8
    device: str = "cpu"

    def __post_init__(self) -> None:
        check_names(self.encoders)
        if self.layers is not None and self.layers != "all" and not isinstance(self.layers, tuple):
            raise ValueError(f"layers must be 'all' or a list of numbers, got {self.layers!r}")
        if self.examples < 0:
            raise ValueError(f"examples must not be negative, got {self.examples}")
        self.task()

    def task(self, cache_dir: Path | None = None, *, progress: bool = False) -> SpeechRetrieval:
        """The retrieval that this configuration describes; its layer is that of the encoder."""
        return SpeechRetrieval(
            by=self.by,
            split=self.split,
            score=self.score,
            adjust=self.adjust,
            neighbours=self.neighbours,
            center=self.center,
            center_split=self.center_split,
            hard=self.hard,
            ks=self.ks,
            bootstrap=self.bootstrap,
            level=self.level,
            seed=self.seed,
            cache_dir=cache_dir,
            progress=progress,
        )


def read_recipe(path: Path) -> RunConfig:
    """The configuration in a TOML recipe; its `corpus` and 'own:' paths start at its folder.

    Raises:
        IsoglossError: it is not TOML, or names no corpus or no encoder.
        UnknownName: a key or an encoder is unknown; near ones are offered.
        ValueError: a value has the wrong type or is not allowed.
    """
    config = read_config(RunConfig, path)
    if not config.corpus or not config.encoders:
        missing = "encoders" if config.corpus else "corpus"
        raise IsoglossError(f"{path}: '{missing}' is missing; a recipe names both")
    folder = path.resolve().parent
    encoders = tuple(
        f"own:{folder / name[4:]}" if name.startswith("own:") and name[4:] else name
        for name in config.encoders
    )
    return replace(config, corpus=str(folder / config.corpus), encoders=encoders)


def check_names(encoders: Sequence[str]) -> None:
    """Refuse names of encoders that repeat or are of no known kind, before anything runs.

    Raises:
        UnknownName: a kind is unknown; near matches are offered.
        ValueError: a name repeats or has no colon.
    """
    repeated = [name for name in encoders if encoders.count(name) > 1]
    if repeated:
        raise ValueError(f"encoder '{repeated[0]}' is named twice")
    for name in encoders:
        kind, colon, _ = name.partition(":")
        if not colon:
            raise ValueError(f"encoder '{name}' has no colon; write 'own:{name}' or 'mel:'")
        if kind not in encoder_names():
            raise UnknownName("encoder", kind, encoder_names())
