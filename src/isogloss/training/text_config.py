"""`TextTrainConfig`: everything that decides how a text model is trained."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Literal

from isogloss.training.objectives.text import Asked, parse_objective

__all__ = ["TEXT_FREE_KEYS", "Shape", "TextTrainConfig"]

TEXT_FREE_KEYS = ("device", "checkpoint_minutes", "keep", "log_steps", "tensorboard", "control")
"""Fields that may change between the start of a run and its resumption."""

_ABOVE_ZERO = ("sampling_temperature", "base_lr", "clip", "epochs", "minutes")
_AT_LEAST_ONE = (
    "batch",
    "buckets",
    "items_per_variety",
    "max_steps",
    "threads",
    "average_period",
    "keep",
    "log_steps",
)


@dataclass(frozen=True, slots=True)
class Shape:
    """A model that is trained from nothing.

    "encoder" is ModernBERT's layout (norms before the blocks, rotary positions) with a masked-LM
    head, "decoder" Llama's; in both the output layer shares its weights with the embeddings. The
    defaults have 1.4 and 1.0 million weights.
    """

    kind: Literal["encoder", "decoder"] = "encoder"
    layers: int = 3
    width: int = 128
    heads: int = 4
    vocabulary: int | None = None
    """Pieces of the tokenizer, special tokens and the 256 bytes among them; None is 6000 for an
    encoder, 2500 for a decoder."""
    dropout: float = 0.0
    """Of an encoder; a decoder of Llama's layout has none. Short runs do not overfit."""

    def __post_init__(self) -> None:
        for name in ("layers", "width", "heads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.width % self.heads or (self.width // self.heads) % 2:
            raise ValueError(
                f"width {self.width} must be an even number of times heads {self.heads}"
            )
        if self.vocabulary is not None and self.vocabulary < 300:
            raise ValueError(
                f"vocabulary must be at least 300 (261 are bytes and special tokens), got "
                f"{self.vocabulary}"
            )
        if not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}")
        if self.dropout and self.kind == "decoder":
            raise ValueError("dropout has no effect on a decoder")

    @property
    def pieces(self) -> int:
        """The size of the tokenizer."""
        return self.vocabulary or (6000 if self.kind == "encoder" else 2500)


@dataclass(frozen=True, slots=True)
class TextTrainConfig:
    """One training run of a text model. Exactly one of `epochs`, `max_steps`, `minutes` is set."""

    shape: Shape = Shape()
    """What is made when there is no `start`."""
    start: str | None = None
    """Folder of a transformers model that is trained on."""
    objectives: tuple[str, ...] = ()
    """"NAME:key=value,...", summed with their weights; none is mlm for an encoder, lm for a
    decoder."""
    alternate: bool = False
    """Each step takes one objective, in turn, instead of the sum."""
    parameters: str = "full"
    """What learns: "full", "layers:2-3", "lora[:rank[,alpha]]", "embeddings"."""

    pairs: Literal["auto", "meaning", "views", "none"] = "auto"
    """Rows: two varieties of a meaning, a text and its view, or single texts. "auto" takes views
    where there are some, meanings where an objective needs pairs, and single texts otherwise."""
    ways: int = 2
    """Varieties drawn of each meaning; more than two make rows that are positives of each other."""
    varieties: tuple[str, ...] = ()
    """Train on these alone; empty is all of the corpus."""
    items_per_variety: int | None = None
    """Most items of a variety, drawn by seed; None is all."""
    sampling_temperature: float | None = None
    """A variety with n items is drawn in proportion to n^(1/T): 1 as they come; None, the limit of
    large T, each variety as often as any other."""
    links: str | None = None
    """TSV of word links: id of the first item, id of the second, "0-0 1-2"."""
    batch: int = 32
    """Rows of a batch."""
    buckets: int = 20
    """Batches over which texts are sorted by length before they are cut into batches; 1 does not
    sort."""
    max_tokens: int = 128
    """Longer texts are cut here, special tokens included."""

    base_lr: float | None = None
    """Peak learning rate of AdamW; None is 0.003 from nothing, 0.0005 from a start."""
    schedule: Literal["cosine", "linear"] = "linear"
    """How it falls to 0 at the end."""
    warmup: int = 100
    """Steps from a tenth of the learning rate to all of it, at most a tenth of the run."""
    clip: float | None = 2.0
    """Largest gradient norm, as a multiple of the median of recent ones."""
    epochs: float | None = None
    max_steps: int | None = None
    minutes: float | None = None
    """Wall-clock target of the run, its control not counted; the number of steps is fixed once."""

    seed: int = 0
    precision: Literal["fp32", "bf16"] = "fp32"
    threads: int | None = None
    """CPU threads, None for one a core; written down, because it decides the last bits."""
    average_from: float = 1.0
    """Share of the run after which weights are averaged; 1 saves the last weights."""
    average_period: int = 10
    """Steps between two weights that enter the average."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    checkpoint_minutes: float = 2.0
    keep: int = 2
    """Checkpoints kept."""
    log_steps: int = 10
    tensorboard: bool = False
    control: bool = True
    """Also train, from the same start and on the same batches, with mlm or lm alone."""

    def __post_init__(self) -> None:
        lengths = {"epochs": self.epochs, "max_steps": self.max_steps, "minutes": self.minutes}
        given = {name: value for name, value in lengths.items() if value is not None}
        if len(given) != 1:
            raise ValueError(
                f"give exactly one of epochs, max_steps and minutes; got {given or 'none'}"
            )
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, float) and not math.isfinite(value):
                raise ValueError(f"{field.name} must be a finite number, got {value}")
        for name in _ABOVE_ZERO:
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be above 0, got {value}")
        for name in _AT_LEAST_ONE:
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        for name in ("seed", "warmup", "checkpoint_minutes"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be 0 or more, got {getattr(self, name)}")
        if self.ways < 2:
            raise ValueError(f"ways must be at least 2, got {self.ways}")
        if self.max_tokens < 4:
            raise ValueError(f"max_tokens must be at least 4, got {self.max_tokens}")
        if not 0.0 <= self.average_from <= 1.0:
            raise ValueError(f"average_from is a share of the run, got {self.average_from}")
        if self.start is not None and self.shape != Shape():
            raise ValueError("shape has no effect with start, whose folder gives the model")
        if self.start is None and self.parameters.partition(":")[0] == "lora":
            raise ValueError("parameters lora needs start: a random model has nothing to adapt")
        names = [asked.name for asked in self.asked()]
        if self.alternate and len(names) < 2:
            raise ValueError("alternate has no effect with fewer than two objectives")

    @property
    def dev_minutes(self) -> float | None:
        """Nothing is measured while a text model is trained; `isogloss measure` does it."""
        return None

    @property
    def rate(self) -> float:
        """The peak learning rate."""
        return self.base_lr or (0.003 if self.start is None else 0.0005)

    def asked(self) -> tuple[Asked, ...]:
        """The objectives with their options; empty for the default.

        Raises:
            UnknownName: no such objective or option.
            ValueError: an option's value cannot be used.
        """
        return tuple(parse_objective(text) for text in self.objectives)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as they are written beside a run."""
        return dataclasses.asdict(self)
