"""`TrainConfig`: everything that decides how an encoder is trained, with the source of defaults."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Literal

from isogloss.speech.augment import SpecAugmentConfig
from isogloss.speech.zipformer import ZipformerConfig
from isogloss.training.objectives.inter import check_width, inner_stacks
from isogloss.training.tuning import Tuning  # noqa: TC001  # read as a type by config_from_mapping

__all__ = ["FREE_KEYS", "TrainConfig"]

FREE_KEYS = ("device", "checkpoint_minutes", "keep", "dev_minutes", "log_steps", "tensorboard")
"""Fields that may change between the start of a run and its resumption."""

Text = Literal["same", "standard", "dialect"]
"""Text of a loss beside CTC: the (first) CTC output's, the standard wording, or the transcript."""

_TEACHERS = ("ngram", "vectors:FILE.npz", "hf:NAME_OR_PATH")
_ABOVE_ZERO = (
    "base_lr",
    "max_batch_seconds",
    "min_seconds",
    "max_seconds",
    "lr_batches",
    "lr_epochs",
)
_NOT_NEGATIVE = (
    "seed",
    "warmup",
    "cr_scale",
    "cr_warmup",
    "specaugment_strength",
    "time_mask_ratio",
    "regulariser_batches",
    "standard_weight",
    "inter_ctc",
    "pooled_teacher",
    "contrastive",
    "checkpoint_minutes",
    "dev_minutes",
)


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """One training run. Exactly one of `epochs`, `max_steps` and `minutes` is set.

    The defaults are for short runs on small corpora; icefall's LibriSpeech recipe
    (`schedule="eden"`, `regulariser_batches=0`, `max_batch_seconds=600`, `epochs=50`) is for
    hundreds of hours.
    """

    size: str = "tiny"
    """Size of the encoder: micro, tiny, small, medium, large, xlarge."""
    shape: ZipformerConfig | None = None
    """An encoder of another shape, instead of `size`."""
    start_from: str | None = None
    """Folder of a trained model whose encoder is taken, and its heads where their shape agrees."""
    tuning: Tuning | None = None
    """With it, the run tunes the model in `start_from`, which also gives the output units; see
    `isogloss.training.finetune`."""

    transcripts: Literal["standard", "dialect", "both", "tagged"] = "standard"
    """What CTC learns to spell. "standard" takes `translation`, or `transcript` where an item has
    none; "dialect" takes `transcript`; "both" trains a head for each, "tagged" one head whose
    target begins with <standard> or <dialect>, drawn anew each epoch. An item with one of the two
    texts is taught that one."""
    standard_share: float = 1.0
    """Share of the items, by a hash of their id, whose standard text is used at all."""
    standard_weight: float = 1.0
    """With "both": weight of the standard head's loss where the dialect head's is 1."""
    lexicon: str | None = None
    """TSV of dialect and standard words. The transcript with its words replaced is learnt instead
    of it ("dialect"), or where an item has no standard text (otherwise)."""
    units: Literal["characters", "bpe"] = "characters"
    """Output units. Mandarin characters fit 25 steps a second safely."""
    bpe_size: int = 500
    """Number of units when they are byte-pair units (icefall's LibriSpeech: 500)."""

    objective: Literal["ctc", "cr-ctc"] = "ctc"
    """"cr-ctc" sees each utterance in two views and costs twice the time of a step."""
    cr_scale: float = 0.2
    """Weight of the agreement between the views (Yao et al. 2025, table 7)."""
    cr_warmup: int = 2000
    """Steps until that weight is reached (icefall), at most a fifth of the run."""
    specaugment: bool = True
    specaugment_strength: float = 1.0
    """Factor on the number and share of time masks; 1 is icefall's setting."""
    time_mask_ratio: float = 2.5
    """The same factor for the two views of "cr-ctc" (Yao et al. 2025, sec. 3.3)."""
    time_warp: bool = True
    speeds: tuple[float, ...] = (1.0,)
    """Speeds at which each training utterance is there; icefall uses 0.9, 1.0 and 1.1."""

    inter_ctc: float = 0.0
    """Weight of CTC on outputs of inner stacks, beside 1 for the final one; Lee and Watanabe 2021
    write 0.3 : 0.7, which is 0.43 here."""
    inter_ctc_stacks: tuple[int, ...] = ()
    """Stacks, counted from 1, whose losses are averaged; empty takes the middle one."""
    inter_ctc_heads: Literal["own", "shared"] = "own"
    """Whether inner stacks have outputs of their own; the paper shares the final one."""
    inter_ctc_text: Text = "same"
    """What inner stacks spell: as the (first) final output, or one of the two texts; items that
    lack it count for nothing."""
    pooled_teacher: float = 0.0
    """Weight of 1 - cosine between the pooled utterance and its text's vector: one unit counts as
    one nat at every step."""
    text_teacher: str = "ngram"
    """Where these vectors come from: "ngram", "vectors:FILE.npz" or "hf:NAME_OR_PATH"."""
    teacher_text: Text = "same"
    contrastive: float = 0.0
    """Weight of InfoNCE between pooled utterances and their texts; one nat an utterance counts as
    one nat at every step."""
    contrastive_text: Text = "same"

    optimiser: Literal["scaled-adam", "adamw"] = "scaled-adam"
    base_lr: float = 0.04
    """Peak learning rate: 0.045 in icefall, lower for small corpora, where 0.045 diverges now and
    then; about 0.001 for adamw."""
    schedule: Literal["eden", "cosine", "linear"] = "cosine"
    """"cosine" and "linear" end at 0, which short runs need; "eden" is icefall's."""
    lr_batches: float = 7500.0
    """B of Eden (icefall)."""
    lr_epochs: float = 3.5
    """E of Eden (icefall)."""
    warmup: int = 500
    """Steps from a tenth of the learning rate to all of it (icefall), at most a tenth of the
    run."""
    clip: float | None = 2.0
    """Largest gradient norm, as a multiple of the median of recent ones (icefall)."""
    regulariser_batches: float = 25_000.0
    """Count that the encoder's schedules (dropout, layer skipping) reach by the end of the run at
    least. They are made for runs of 100,000 batches of 600 s and end at 20,000; a run of an hour
    would stay at their start, with dropout at 0.3. 0 counts as icefall does."""

    epochs: float | None = None
    """Passes over the data, counted in batches of the first one."""
    max_steps: int | None = None
    minutes: float | None = None
    """Wall-clock target for the whole call, preparation included. The speed is measured once on
    batches of the corpus and the number of steps then fixed, so that a resumed run ends as the
    uninterrupted one would."""

    max_batch_seconds: float = 120.0
    """Most seconds of audio in a batch, padding not counted (icefall's max-duration)."""
    micro_batches: int | None = None
    """Batches of `max_batch_seconds` whose gradients make one step, shared evenly by the
    processes; None for one a process. The same number gives the same run on any number of
    processes that divides it."""
    buckets: int = 20
    """Groups of similar duration from which batches are drawn."""
    min_seconds: float = 0.3
    """Shorter items are skipped. icefall says 1; single words are shorter."""
    max_seconds: float = 20.0
    """Longer items are skipped (icefall)."""
    seed: int = 0
    precision: Literal["fp32", "bf16"] = "fp32"
    """fp16 is not offered: without k2's kernels it collapses (k2-fsa/ZipVoice issue 17)."""
    threads: int | None = None
    """CPU threads, None for one a core; written down, because it decides the last bits."""

    average_from: float = 0.7
    """Share of the run after which weights are averaged; 1 saves the last weights."""
    average_period: int = 10
    """Steps between two weights that enter the average (icefall: 200 in a long run)."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    checkpoint_minutes: float = 5.0
    keep: int = 2
    """Checkpoints kept."""
    dev_minutes: float | None = 2.0
    """Least time between two measurements of the CER on at most `dev_items` items of the split
    dev, at the end of an epoch; None for none."""
    dev_items: int = 60
    features: str | None = None
    """Folder for features, shared by runs on one corpus; None keeps them in the run's folder."""
    log_steps: int = 10
    """Steps between two records of `train.jsonl`."""
    tensorboard: bool = False
    """Write TensorBoard events to `folder/tensorboard` beside the JSONL log."""

    def __post_init__(self) -> None:
        lengths = {"epochs": self.epochs, "max_steps": self.max_steps, "minutes": self.minutes}
        given = {name: value for name, value in lengths.items() if value is not None}
        if len(given) != 1 or not all(value > 0 for value in given.values()):
            raise ValueError(
                f"give exactly one of epochs, max_steps and minutes, above 0; got {given or 'none'}"
            )
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, float) and not math.isfinite(value):
                raise ValueError(f"{field.name} must be a finite number, got {value}")
        for name in _ABOVE_ZERO:
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)}")
        for name in _NOT_NEGATIVE:
            if (getattr(self, name) or 0) < 0:
                raise ValueError(f"{name} must be 0 or more, got {getattr(self, name)}")
        for name in ("buckets", "average_period", "keep", "dev_items", "bpe_size", "log_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.min_seconds >= self.max_seconds:
            raise ValueError(f"min_seconds {self.min_seconds} >= max_seconds {self.max_seconds}")
        if self.max_batch_seconds < self.max_seconds:
            raise ValueError(
                f"max_batch_seconds {self.max_batch_seconds} must hold the longest item, "
                f"max_seconds {self.max_seconds}"
            )
        if not self.speeds or any(not 0.5 <= speed <= 2.0 for speed in self.speeds):
            raise ValueError(f"speeds must lie in [0.5, 2], got {self.speeds}")
        if len(set(self.speeds)) != len(self.speeds):
            raise ValueError(f"speeds must differ, got {self.speeds}")
        if not 0.0 <= self.average_from <= 1.0:
            raise ValueError(f"average_from is a share of the run, got {self.average_from}")
        if self.threads is not None and self.threads < 1:
            raise ValueError(f"threads must be at least 1, got {self.threads}")
        if self.micro_batches is not None and self.micro_batches < 1:
            raise ValueError(f"micro_batches must be at least 1, got {self.micro_batches}")
        if self.clip is not None and self.clip <= 0:
            raise ValueError(f"clip must be above 0, got {self.clip}")

        if self.tuning is not None and self.start_from is None:
            raise ValueError("tuning needs start_from, the folder of the model to tune")
        if self.tuning is not None and self.tuning.lora_rank and self.optimiser != "adamw":
            # Its steps are in proportion to a tensor's size, and one half of LoRA begins at 0.
            raise ValueError('lora_rank needs optimiser = "adamw"')
        self._check_objectives()

    def _check_objectives(self) -> None:
        if not 0.0 <= self.standard_share <= 1.0:
            raise ValueError(f"standard_share is a share of the items, got {self.standard_share}")
        if self.transcripts == "tagged" and self.units == "bpe":
            raise ValueError('transcripts "tagged" needs units = "characters": tags are units')
        if self.standard_weight != 1.0 and self.transcripts != "both":
            raise ValueError(f'standard_weight is for transcripts "both", not {self.transcripts!r}')
        kind, _, rest = self.text_teacher.partition(":")
        if not (self.text_teacher == "ngram" or (kind in ("vectors", "hf") and rest)):
            raise ValueError(
                f"text_teacher must be one of {', '.join(_TEACHERS)}, got {self.text_teacher!r}"
            )
        # An option without its loss would be silently without effect.
        idle: dict[str, dict[str, object]] = {
            "pooled_teacher": {"text_teacher": "ngram", "teacher_text": "same"},
            "contrastive": {"contrastive_text": "same"},
            "inter_ctc": {
                "inter_ctc_stacks": (),
                "inter_ctc_heads": "own",
                "inter_ctc_text": "same",
            },
        }
        for weight, options in idle.items():
            for name, default in options.items():
                if not getattr(self, weight) and getattr(self, name) != default:
                    raise ValueError(f"{name} has no effect while {weight} is 0; give {weight}")
        if self.standard_share < 1.0 and not self._uses_standard():
            raise ValueError(
                "standard_share has no effect: nothing here learns from standard text; set "
                'transcripts, or the text of an objective, to "standard"'
            )
        stacks, count = self.inter_ctc_stacks, len(self.shape.dims) if self.shape else 6
        if len(set(stacks)) != len(stacks) or any(not 1 <= i <= count for i in stacks):
            raise ValueError(f"inter_ctc_stacks must differ and lie in 1 to {count}, got {stacks}")
        if self.inter_ctc and self.inter_ctc_heads == "shared":
            shape = self.encoder()
            for stack in inner_stacks(shape, stacks):
                check_width(shape, stack)

    def _uses_standard(self) -> bool:
        texts = (
            self.inter_ctc_text if self.inter_ctc else "",
            self.teacher_text if self.pooled_teacher else "",
            self.contrastive_text if self.contrastive else "",
        )
        return self.transcripts != "dialect" or "standard" in texts

    def encoder(self) -> ZipformerConfig:
        """The encoder to build.

        Raises:
            UnknownName: `size` is not known.
        """
        return self.shape or ZipformerConfig.of_size(self.size)

    def spec_augment(self) -> SpecAugmentConfig | None:
        """SpecAugment of one view, or None when it is off."""
        if not self.specaugment:
            return None
        config = SpecAugmentConfig(time_warp_factor=80 if self.time_warp else 0)
        return config.with_more_time_masks(self.specaugment_strength)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as they are written beside a run."""
        return dataclasses.asdict(self)
