"""Parallel texts in, a small text encoder of our own out: `hash:`, `laser:` or `pixel:FOLDER`.

    train_small -> text_loop.train_text -> HashLearner | LaserLearner | PixelLearner

The loop is that of all text training: it survives `kill -9` and ends in the same weights.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from isogloss._config import config_from_mapping
from isogloss._files import write_json, write_text
from isogloss.encoders.bilstm import read_tokenizer
from isogloss.encoders.pixel import missing_told
from isogloss.encoders.pixel_fonts import named_font, open_fonts, system_fonts, trained_fonts
from isogloss.errors import IsoglossError, UnknownName
from isogloss.training.hash_training import HashLearner, HashTraining
from isogloss.training.laser_training import LaserLearner, LaserTraining, train_tokenizer
from isogloss.training.pixel_training import PixelLearner, PixelTraining
from isogloss.training.prepare import PLAN, recorded
from isogloss.training.result import RESULT
from isogloss.training.text_control import CONTROL
from isogloss.training.text_loop import train_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from isogloss.training.text_batch import TextRows
    from isogloss.training.text_config import TextTrainConfig
    from isogloss.training.text_data import TextMaterial
    from isogloss.training.text_learner import LearnerMaker, TextLearner
    from isogloss.training.text_result import TextTrainResult
    from isogloss.types import Corpus
    from isogloss.varieties import VarietyTable

__all__ = ["SMALL_KINDS", "SmallKind", "small_options", "train_small"]

_OPTIONS = "kind.json"
_TOKENIZER = "vocabulary.json"
_FONTS = "fonts.json"

Options = HashTraining | LaserTraining | PixelTraining


@dataclass(frozen=True, slots=True)
class SmallKind:
    """A kind of small encoder: the class of its options, and what a run of it begins with."""

    options: type[Any]
    settings: Mapping[str, Any]
    """Fields of `TextTrainConfig` that have another default for this kind."""


SMALL_KINDS: Mapping[str, SmallKind] = {
    "hash": SmallKind(HashTraining, {"batch": 256, "base_lr": 0.005, "max_steps": 600, "keep": 1}),
    "laser": SmallKind(LaserTraining, {"batch": 64, "base_lr": 0.002, "max_steps": 1500}),
    "pixel": SmallKind(PixelTraining, {"batch": 64, "base_lr": 0.001, "max_steps": 1500}),
}
"""Kinds by the name of their encoder."""


def small_options(kind: str, values: Mapping[str, Any]) -> Options:
    """The options of a kind from plain values.

    Raises:
        UnknownName: no such kind, or no such option of it.
        ValueError: a value is of another type or out of range.
    """
    if kind not in SMALL_KINDS:
        raise UnknownName("kind of text encoder", kind, SMALL_KINDS)
    options: Options = config_from_mapping(SMALL_KINDS[kind].options, values)
    return options


def train_small(
    kind: str,
    options: Options,
    config: TextTrainConfig,
    *,
    corpus: Corpus | Path,
    folder: Path,
    views: Any = None,
    table: VarietyTable | None = None,
    quiet: bool = False,
) -> TextTrainResult:
    """Train a small encoder on items that share a meaning, or go on with a run that is there.

    The control, in `folder/control`, takes the same steps on the same batches with the second
    sides dealt out at random among the rows: what it reaches, it reaches without knowing which
    texts are translations. Checkpoints are removed when a run is done.

    Args:
        kind: 'hash', 'laser' or 'pixel'.
        options: of that kind, see `small_options`.
        config: rows, length, rate and seed; its objectives, shape, start and parameters, which are
            of other models, must be left alone.
        corpus: as `train_text`.
        folder: of the run.
        views: as `train_text`.
        table: varieties that exist; None is the built-in table.
        quiet: say nothing on stderr.

    Raises:
        ValueError: options of another kind, or settings of `config` that have no effect here.
        IsoglossError: nothing can be trained on; `folder` holds a run with other settings.
        MissingExtra: a package of the extra `text` is not installed.
    """
    if kind not in SMALL_KINDS:
        raise UnknownName("kind of text encoder", kind, SMALL_KINDS)
    if not isinstance(options, SMALL_KINDS[kind].options):
        raise ValueError(f"'{kind}' has options of its own, got {type(options).__name__}")
    _refuse_idle(kind, config)
    _same_options(kind, options, folder)

    def trained(place: Path, config: TextTrainConfig, shuffled: bool) -> TextTrainResult:
        found = train_text(
            replace(config, control=False),
            corpus=corpus,
            folder=place,
            views=views,
            maker=_maker(kind, options, shuffled=shuffled),
            needs=frozenset({"pairs"}),
            table=table,
            quiet=quiet,
        )
        shutil.rmtree(place / "checkpoints", ignore_errors=True)
        return found

    result = trained(folder, config, False)
    if not config.control or result.control is not None:
        return result
    for name in (_TOKENIZER, _FONTS):
        if (folder / name).is_file():
            (folder / CONTROL).mkdir(exist_ok=True)
            write_text(folder / CONTROL / name, (folder / name).read_text(encoding="utf-8"))
    length = replace(config, max_steps=result.steps, epochs=None, minutes=None)
    result = replace(result, control=trained(folder / CONTROL, length, True))
    write_json(folder / RESULT, result.to_dict())
    return result


def _maker(kind: str, options: Options, *, shuffled: bool) -> LearnerMaker:
    def make(config: TextTrainConfig, material: TextMaterial, folder: Path) -> TextLearner:
        learner: TextLearner
        if isinstance(options, HashTraining):
            learner = HashLearner(options, seed=config.seed)
        elif isinstance(options, LaserTraining):
            learner = LaserLearner(
                options,
                _kept_tokenizer(options, material, folder),
                varieties=material.varieties,
                max_tokens=config.max_tokens,
                seed=config.seed,
            )
        else:
            learner = _pixel_learner(options, material, folder, config.seed)
        return _Shuffled(learner) if shuffled else learner

    return make


def _kept_tokenizer(options: LaserTraining, material: TextMaterial, folder: Path) -> Any:
    """The tokenizer of a run, trained once and kept beside it."""
    path = folder / _TOKENIZER
    if not path.is_file():
        tokenizer = train_tokenizer(list(material.sample()), options.vocabulary)
        write_text(path, tokenizer.to_str())
    return read_tokenizer(path)


def _pixel_learner(
    options: PixelTraining, material: TextMaterial, folder: Path, seed: int
) -> PixelLearner:
    """The learner with the fonts of a run, chosen once: those that its texts need."""
    path = folder / _FONTS
    texts = [*material.texts, *(material.views or ())]
    if path.is_file():
        names = json.loads(path.read_text(encoding="utf-8"))
        found = (
            tuple(named_font(name) for name in options.font.split(","))
            if options.font
            else trained_fonts([(name, sha) for name, sha in names], folder)
        )
        if [[font.path.name, font.sha] for font in found] != names:
            raise IsoglossError(
                f"{folder}: the fonts changed since the run began; use another folder"
            )
    elif options.font:
        found = tuple(named_font(name) for name in options.font.split(","))
    else:
        found = open_fonts(system_fonts(), options.height).used(texts)
    write_json(path, [[font.path.name, font.sha] for font in found])
    learner = PixelLearner(options, open_fonts(found, options.height), seed=seed)
    missing = learner.missing(texts)
    if missing:
        warnings.warn(missing_told(missing), stacklevel=2)
    return learner


class _Shuffled:
    """A learner whose second sides belong to other rows: the control."""

    def __init__(self, learner: TextLearner) -> None:
        self._learner = learner
        self.module = learner.module
        self.needs = learner.needs
        self.spent = learner.spent
        self.optimizer = learner.optimizer
        self.count_cut = learner.count_cut
        self.save = learner.save

    def loss(self, rows: TextRows, *, draw: torch.Generator, step: int, steps: int) -> Any:
        order = torch.randperm(len(rows), generator=draw).tolist()
        mixed = replace(
            rows,
            texts=(rows.texts[0], tuple(rows.texts[1][i] for i in order)),
            varieties=(rows.varieties[0], tuple(rows.varieties[1][i] for i in order)),
            names=(None,) * len(rows),
        )
        return self._learner.loss(mixed, draw=draw, step=step, steps=steps)

    def describe(self) -> dict[str, Any]:
        return {**self._learner.describe(), "pairs": "shuffled"}


def _refuse_idle(kind: str, config: TextTrainConfig) -> None:
    """Raise on settings that would change nothing."""
    plain = {field.name: field.default for field in dataclasses.fields(config)}
    idle = ["objectives", "alternate", "start", "shape", "parameters", "links"]
    idle += [] if kind == "laser" else ["max_tokens"]
    idle += ["clip"] if kind == "hash" else []
    for name in idle:
        if getattr(config, name) != plain[name]:
            raise ValueError(f"{name} has no effect on kind '{kind}'")
    if config.base_lr is None:
        raise ValueError(f"base_lr must be set; '{kind}' begins with {SMALL_KINDS[kind].settings}")


def _same_options(kind: str, options: Options, folder: Path) -> None:
    """Note the options of a run, or refuse others than it began with.

    A run that failed before its first step left nothing to go on with, so these may be mended.
    """
    wanted = {"kind": kind, **dataclasses.asdict(options)}
    found = recorded(folder / _OPTIONS) if recorded(folder / PLAN) is not None else None
    if found is None:
        if recorded(folder / PLAN) is not None:
            raise IsoglossError(f"{folder}: holds a run of another kind; choose another folder")
        folder.mkdir(parents=True, exist_ok=True)
        for name in (_TOKENIZER, _FONTS):
            (folder / name).unlink(missing_ok=True)
        write_json(folder / _OPTIONS, wanted)
        return
    different = [key for key in wanted if found.get(key) != wanted[key]]
    if different:
        key = different[0]
        raise IsoglossError(
            f"{folder}: the run there has {key}={found.get(key)}, not {wanted[key]}; choose "
            "another folder, or the same settings"
        )
