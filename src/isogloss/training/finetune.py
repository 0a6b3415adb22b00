"""Tuning a trained or public model to a new variety, with the CER of old and new before and after.

    model + new corpus (+ old corpus to replay) -> `train` -> a model folder and `finetune.json`

The training is that of `loop`: it can be killed at any moment and goes on. What is measured, is
measured after it, with both models on the same recordings.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from isogloss import __version__
from isogloss._config import config_from_mapping
from isogloss._files import write_json
from isogloss.corpora.jsonl import content_sha, manifest_path, read_records
from isogloss.corpora.progress import with_progress
from isogloss.errors import BadRecord, IsoglossError
from isogloss.measures.paired import paired_bootstrap
from isogloss.measures.transcription import cer
from isogloss.speech.checkpoint import load_model
from isogloss.training.config import TrainConfig
from isogloss.training.examples import Example, Skipped
from isogloss.training.loop import train
from isogloss.training.prepare import recorded
from isogloss.training.process import settled_process
from isogloss.training.store import build_store
from isogloss.training.texts import TAGS, TextPlan
from isogloss.training.tuning import Tuning
from isogloss.training.validate import greedy_texts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from isogloss.speech.checkpoint import LoadedModel
    from isogloss.training.result import TrainResult
    from isogloss.types import Item, Measurement
    from isogloss.varieties import VarietyTable

__all__ = ["REPORT", "Change", "FinetuneConfig", "FinetuneResult", "Rate", "finetune"]

REPORT = "finetune.json"
"""Name of the file with the error rates before and after."""

_FULL_RATES = {"scaled-adam": 0.004, "adamw": 1e-4}
_LORA_RATE = 1e-3
_OWN = ("size", "shape", "start_from", "tuning", "transcripts", "optimiser", "base_lr", "units")
_AT_ONCE = 64

Transcripts = Literal["standard", "dialect", "both", "tagged"]


@dataclass(frozen=True, slots=True)
class FinetuneConfig:
    """How a model is tuned, and on what it is measured. `settings` must say how long.

    Attributes:
        tuning: units, replay, layer-wise decay, LoRA.
        transcripts: as `TrainConfig.transcripts`; None is what the model was trained with, and
            "standard" for a public one.
        optimiser: None is "adamw" with LoRA, which "scaled-adam" cannot start, else "scaled-adam".
        base_lr: None is a tenth of what training from scratch takes, 0.004 for "scaled-adam" (the
            advice of icefall's fine-tuning recipe: a higher one forgets the start quickly) and
            0.0001 for "adamw". With LoRA 0.001: icefall's recipes, too, give it ten times the
            rate that they give all weights.
        split: of both manifests, on which the CER is measured.
        test_items: most items of each that are measured, evenly over the split; None for all.
        bootstrap: resamples of every interval; 0 for none.
        settings: any other field of `TrainConfig`; one of epochs, max_steps and minutes.
    """

    tuning: Tuning = field(default_factory=Tuning)
    transcripts: Transcripts | None = None
    optimiser: Literal["scaled-adam", "adamw"] | None = None
    base_lr: float | None = None
    split: Literal["dev", "test"] = "test"
    test_items: int | None = None
    bootstrap: int = 1000
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        taken = [name for name in self.settings if name in _OWN]
        if taken:
            raise ValueError(
                f"{taken[0]} is no setting of fine-tuning: the model decides it, or an option of "
                "its own does"
            )
        if self.test_items is not None and self.test_items < 1:
            raise ValueError(f"test_items must be at least 1, got {self.test_items}")
        if self.bootstrap < 0:
            raise ValueError(f"bootstrap must be 0 or more, got {self.bootstrap}")

    def train_config(self, loaded: LoadedModel) -> TrainConfig:
        """The run that tunes `loaded`.

        Raises:
            ValueError: a setting is wrong, or `transcripts` do not fit the model's outputs.
        """
        transcripts = self.transcripts or loaded.extra.get("transcripts", "standard")
        two = loaded.model.has_dialect_head
        if two != (transcripts == "both"):
            raise ValueError(
                f"{loaded.folder} has {'two outputs' if two else 'one output'}: transcripts "
                f"{transcripts!r} do not fit" + ("; use 'both'" if two else "")
            )
        tagged = all(tag in loaded.tokenizer.symbols for tag in TAGS)
        if tagged != (transcripts == "tagged"):
            raise ValueError(
                f"{loaded.folder} was {'' if tagged else 'not '}trained with transcripts 'tagged', "
                f"{transcripts!r} do not fit"
            )
        lora = self.tuning.lora_rank > 0
        optimiser = self.optimiser or ("adamw" if lora else "scaled-adam")
        usual = _LORA_RATE if lora else _FULL_RATES[optimiser]
        values = {
            **self.settings,
            "transcripts": transcripts,
            "optimiser": optimiser,
            "base_lr": usual if self.base_lr is None else self.base_lr,
            "start_from": str(loaded.folder),
        }
        config = config_from_mapping(TrainConfig, values)
        return replace(config, shape=loaded.config, tuning=self.tuning)


@dataclass(frozen=True, slots=True)
class Rate:
    """A character error rate, 0.25 for 25 %, with its bootstrap interval (None without)."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """What tuning did to the CER of one part of the test recordings.

    Attributes:
        corpus: "new", or "old" for the corpus that is replayed.
        variety: code of the variety; None for the whole corpus, where it has several.
        items: recordings measured.
        before: CER of the model that was tuned.
        after: CER of the tuned model.
        difference: after minus before, with the interval of a paired bootstrap over the items.
    """

    corpus: Literal["new", "old"]
    variety: str | None
    items: int
    before: Rate
    after: Rate
    difference: Rate


@dataclass(frozen=True, slots=True)
class FinetuneResult:
    """The run, what changed, the units that were added, and what should be known about it.

    `unmeasured` are test recordings that could not be read or are too long.
    """

    train: TrainResult
    changes: tuple[Change, ...]
    added_units: tuple[str, ...]
    warnings: tuple[str, ...]
    unmeasured: tuple[Skipped, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "train": self.train.to_dict()}


@dataclass(frozen=True, slots=True, eq=False)
class _Side:
    """One corpus to measure on."""

    corpus: Literal["new", "old"]
    items: tuple[Item, ...]
    texts: tuple[str, ...]
    sha: str


def finetune(
    config: FinetuneConfig,
    *,
    model: Path,
    corpus: Path,
    folder: Path,
    replay: Path | None = None,
    table: VarietyTable | None = None,
    quiet: bool = False,
) -> FinetuneResult:
    """Tune `model` on `corpus` into `folder`, or go on with a run that is there; then measure.

    `folder` gets what `train` writes, and `finetune.json`. It refuses other settings, another
    model and other corpora, and a run that is finished comes back at once. Of several processes,
    the first one measures.

    Args:
        config: how.
        model: folder written by `train` or by `isogloss speech import`; nothing in it changes.
        corpus: manifest of the new variety with the splits train and `config.split`.
        folder: of the run; made if absent.
        replay: manifest of what the model could do before, with the same splits. Its test items
            are measured even where `replay_share` is 0.
        table: varieties that exist; None is the built-in table.
        quiet: say nothing on stderr.

    Raises:
        IsoglossError: a manifest lacks a split, no item is usable, or as `train` and `load_model`.
        ValueError: a setting is wrong or does not fit the model.
        MissingExtra: LoRA is asked for and peft is not installed.
    """
    loaded = load_model(model)
    if model.resolve() == folder.resolve():
        raise IsoglossError(f"{folder} is the model itself; give a folder of its own for the run")
    run = config.train_config(loaded)
    plan = TextPlan.of(run)
    sides = [_side("new", corpus, config, plan, table)]
    if replay is not None:
        sides.append(_side("old", replay, config, plan, table))
    result = train(run, corpus=corpus, folder=folder, replay=replay, table=table, quiet=quiet)
    warnings = _warnings(config, replay)
    if os.environ.get("RANK", "0") != "0":
        return FinetuneResult(result, (), (), warnings)
    asked = {
        "model_revision": loaded.revision,
        "revision": result.revision,
        "split": config.split,
        "test_items": config.test_items,
        "bootstrap": config.bootstrap,
        "test_sha": {side.corpus: side.sha for side in sides},
    }
    known = recorded(folder / REPORT)
    if known is not None and known.get("asked") == asked:
        changes, unmeasured = _read_changes(known)
    else:
        with settled_process(run, None):
            changes, unmeasured = _measured(config, run, loaded, folder, sides, not quiet)
    tuned = load_model(folder)
    added = tuned.tokenizer.symbols[loaded.tokenizer.vocab_size :]
    found = FinetuneResult(result, changes, added, warnings, unmeasured)
    report = {"isogloss_version": __version__, "model": str(model), "asked": asked}
    parts = {key: value for key, value in found.to_dict().items() if key != "train"}
    write_json(folder / REPORT, report | {"tuning": asdict(config.tuning)} | parts)
    return found


def _warnings(config: FinetuneConfig, replay: Path | None) -> tuple[str, ...]:
    if replay is None:
        return (
            "without replay, forgetting is neither measured nor prevented; give a manifest of what "
            "the model could do before",
        )
    if config.tuning.replay_share == 0.0:
        return ("replay_share is 0: forgetting is measured, and not prevented by replay",)
    return ()


def _side(
    corpus: Literal["new", "old"],
    manifest: Path,
    config: FinetuneConfig,
    plan: TextPlan,
    table: VarietyTable | None,
) -> _Side:
    """Test items of a manifest with what the first output should say.

    Raises:
        IsoglossError: there is none.
    """
    path = manifest_path(manifest)
    splits: set[str] = set()
    pairs: list[tuple[Item, str]] = []
    for _, record in read_records(path, table=table):
        if isinstance(record, BadRecord):
            continue  # training lists it
        splits.add(record.split or "none")
        found = plan.of_item(record, all_standard=True)
        text = None if found is None else found.heads[0]
        if record.split == config.split and record.audio is not None and text:
            pairs.append((record, text))
    if not pairs:
        raise IsoglossError(
            f"{path} ({corpus} corpus): no item with audio and text is in split '{config.split}' "
            f"(splits there: {', '.join(sorted(splits)) or 'no item'}), so there is nothing to "
            f"measure the CER on; make splits with: isogloss corpus split {path} --by meaning "
            "--out split.jsonl"
        )
    count = min(config.test_items or len(pairs), len(pairs))
    pairs = [pairs[i * len(pairs) // count] for i in range(count)]
    items, texts = tuple(item for item, _ in pairs), tuple(text for _, text in pairs)
    return _Side(corpus, items, texts, content_sha(items, path.resolve().parent))


def _measured(
    config: FinetuneConfig,
    run: TrainConfig,
    loaded: LoadedModel,
    folder: Path,
    sides: Sequence[_Side],
    progress: bool,
) -> tuple[tuple[Change, ...], tuple[Skipped, ...]]:
    """The changes on every side, and what could not be measured.

    Raises:
        IsoglossError: no recording of a side can be read.
    """
    device = "cuda" if run.device != "cpu" and torch.cuda.is_available() else "cpu"
    before, after = load_model(loaded.folder, device), load_model(folder, device)
    changes: list[Change] = []
    unmeasured: list[Skipped] = []
    for side in sides:
        store = build_store(
            side.items,
            folder,
            min_seconds=run.min_seconds,
            max_seconds=run.max_seconds,
            progress=progress,
        )
        unmeasured += store.skipped
        texts = dict(zip((item.id for item in side.items), side.texts, strict=True))
        items = [item for item in side.items if item.id in store.rows]
        if not items:
            raise IsoglossError(
                f"none of {len(side.items)} test recordings of the {side.corpus} corpus can be "
                f"used; first: {store.skipped[0].id}: {store.skipped[0].detail}"
            )
        rows = [store.rows[item.id][0] for item in items]
        examples = [
            Example(item.id, row, store.frames(row) / 100, ((),))
            for item, row in zip(items, rows, strict=True)
        ]
        # Neighbours in length share a batch.
        order = sorted(range(len(items)), key=lambda i: examples[i].seconds)
        starts = range(0, len(order), _AT_ONCE)
        read: list[list[str]] = []
        for model in (before, after):
            said = [""] * len(items)
            label = f"CER, {side.corpus}, {'before' if model is before else 'after'}"
            for start in with_progress(starts, label, total=len(starts)) if progress else starts:
                part = order[start : start + _AT_ONCE]
                found = greedy_texts(
                    model.model, model.tokenizer, [examples[i] for i in part], store
                )
                for i, text in zip(part, found, strict=True):
                    said[i] = text
            read.append(said)
        varieties = list(dict.fromkeys(item.variety for item in items))
        for variety in varieties if len(varieties) == 1 else [None, *varieties]:
            chosen = [i for i, item in enumerate(items) if variety in (None, item.variety)]
            truth = [texts[items[i].id] for i in chosen]
            rates = [
                cer(truth, [said[i] for i in chosen], resamples=config.bootstrap) for said in read
            ]
            changes.append(_change(side.corpus, variety, rates[0], rates[1], config.bootstrap))
    return tuple(changes), tuple(unmeasured)


def _change(
    corpus: Literal["new", "old"],
    variety: str | None,
    before: Measurement,
    after: Measurement,
    resamples: int,
) -> Change:
    per_item = [np.asarray(found.per_item, dtype=np.float64) for found in (after, before)]
    paired = paired_bootstrap(per_item[0], per_item[1], resamples=resamples)
    difference = Rate(after.value - before.value)
    if paired is not None:
        difference = Rate(paired.difference, paired.low, paired.high)
    rates = [Rate(found.value, found.low, found.high) for found in (before, after)]
    return Change(corpus, variety, before.n, rates[0], rates[1], difference)


def _read_changes(known: Mapping[str, Any]) -> tuple[tuple[Change, ...], tuple[Skipped, ...]]:
    changes = []
    for entry in known["changes"]:
        rates = {name: Rate(**entry[name]) for name in ("before", "after", "difference")}
        changes.append(Change(**{**entry, **rates}))
    return tuple(changes), tuple(Skipped(**entry) for entry in known["unmeasured"])
