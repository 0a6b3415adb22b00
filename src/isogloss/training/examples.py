"""Which items of a corpus can be trained on, and why the others cannot; used by `loop`."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from isogloss.corpora.jsonl import content_sha, manifest_path, read_records
from isogloss.errors import BadRecord, IsoglossError
from isogloss.speech.ctc import output_steps, steps_needed
from isogloss.speech.tokens import BLANK, UNKNOWN, Tokenizer
from isogloss.training.texts import TAGS, ItemTexts, TextPlan

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from isogloss.training.config import TrainConfig
    from isogloss.types import Item
    from isogloss.varieties import VarietyTable

__all__ = [
    "Chosen",
    "Example",
    "Skipped",
    "check_texts",
    "choose_items",
    "count_reasons",
    "drawn",
    "make_tokenizer",
    "tokenised",
]


# Outputs of transcripts="both": kind of text, field of an item, and what to use without it.
_BOTH = (("standard", "translation", "dialect"), ("dialect", "transcript", "standard"))


@dataclass(frozen=True, slots=True)
class Skipped:
    """An item that was left out: `reason` is a short phrase to count by, `detail` the finding."""

    id: str
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Chosen:
    """Items to train on and to measure on, what was left out, and the sha of what was read.

    `replayed` are the ids of items of an old corpus among those to train on, see `with_replay`.
    """

    train: tuple[Item, ...]
    dev: tuple[Item, ...]
    skipped: tuple[Skipped, ...]
    sha: str
    replayed: frozenset[str] = frozenset()


Target = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Example:
    """An utterance to train on: row of the feature store, seconds, one target for each head.

    A target is None where the item has no text for that head. `inter` is the target of inter-layer
    CTC where that is not the first head's, `teacher` a row of the teacher's vectors, `text` the
    units that the contrastive loss reads; None where there is none.
    """

    id: str
    row: int
    seconds: float
    targets: tuple[Target | None, ...]
    inter: Target | None = None
    teacher: int | None = None
    text: Target | None = None


def choose_items(manifest: Path, plan: TextPlan, *, table: VarietyTable | None = None) -> Chosen:
    """Items with audio and text of a manifest; bad lines, doubles and unknown varieties left out.

    Trained on are the items of the split train, or all when no item has a split.

    Raises:
        OSError: the manifest cannot be opened.
        IsoglossError: nothing is left.
    """
    path = manifest_path(manifest)
    items: list[Item] = []
    skipped: list[Skipped] = []
    for line, record in read_records(path, table=table):
        if isinstance(record, BadRecord):
            reason = f"bad {record.field} in the manifest"
            skipped.append(Skipped(f"line {line}", reason, record.problem))
        else:
            items.append(record)
    sha = content_sha(items, path.resolve().parent)
    has_splits = any(item.split is not None for item in items)
    train: list[Item] = []
    dev: list[Item] = []
    for item in items:
        split = item.split if has_splits else "train"
        if split not in ("train", "dev"):
            continue
        if item.audio is None:
            skipped.append(Skipped(item.id, "no audio", "the item names no recording"))
        elif plan.of_item(item) is None:
            detail = f"transcripts '{plan.transcripts}' need text that the item lacks"
            skipped.append(Skipped(item.id, "no transcript", detail))
        else:
            (train if split == "train" else dev).append(item)
    if not train:
        raise IsoglossError(
            f"{path}: no item can be trained on; {count_reasons(skipped) or 'none is in train'}"
        )
    return Chosen(tuple(train), tuple(dev), tuple(skipped), sha)


def make_tokenizer(texts: Iterable[ItemTexts], config: TrainConfig) -> Tokenizer:
    """Output units learnt from all texts of all items; with `transcripts="tagged"` two tags too."""
    written = [text for entry in texts for text in entry.all]
    if config.units == "bpe":
        return Tokenizer.bpe(written, config.bpe_size)
    plain = Tokenizer.characters(written)
    if config.transcripts != "tagged":
        return plain
    units = [symbol for symbol in plain.symbols if symbol not in (BLANK, UNKNOWN)]
    return Tokenizer((BLANK, UNKNOWN, *TAGS, *units))


def tokenised(
    items: Sequence[Item],
    rows: Sequence[Sequence[tuple[int, int]]],
    tokenizer: Tokenizer,
    plan: TextPlan,
) -> tuple[list[Example], list[Skipped]]:
    """Examples of `items`, less those whose text needs more steps than CTC has at 25 Hz.

    Args:
        items: items with text.
        rows: for each item the (row, frames) of its features, one for each speed.
        tokenizer: output units.
        plan: which text is for which output.
    """
    examples: list[Example] = []
    skipped: list[Skipped] = []
    for item, copies in zip(items, rows, strict=True):
        texts = plan.of_item(item)
        if texts is None:
            raise ValueError(f"item {item.id} has no text for transcripts '{plan.transcripts}'")
        targets = _targets(texts, tokenizer, tagged=plan.transcripts == "tagged")
        inter = None if texts.inter is None else tuple(tokenizer.encode(texts.inter))
        text = None if texts.contrast is None else tuple(tokenizer.encode(texts.contrast))
        spelt = [target for target in (*targets, inter) if target is not None]
        needed = max(1, *(steps_needed(target) for target in spelt))
        fitting = [(row, frames) for row, frames in copies if output_steps(frames) >= needed]
        if len(fitting) < len(copies):
            frames = min(frames for _, frames in copies)
            detail = f"{needed} steps needed, {output_steps(frames)} in {frames / 100:.2f} s"
            skipped.append(Skipped(item.id, "too short for its transcript", detail))
        # One text for all speeds: a faster copy that does not fit goes alone.
        examples += [
            Example(item.id, row, frames / 100, targets, inter, None, text)
            for row, frames in fitting
        ]
    return examples, skipped


def _targets(texts: ItemTexts, tokenizer: Tokenizer, *, tagged: bool) -> tuple[Target | None, ...]:
    targets: list[Target | None] = []
    for head, text in enumerate(texts.heads):
        if text is None:
            targets.append(None)
            continue
        tag = (tokenizer.symbols.index(TAGS[head]),) if tagged else ()
        targets.append((*tag, *tokenizer.encode(text)))
    return tuple(targets)


def check_texts(examples: Sequence[Example], config: TrainConfig) -> None:
    """Return if every output and every loss of `config` has some text to learn from.

    Raises:
        IsoglossError: one has none, so that it would stay at random or without effect.
    """
    # A share of 0 hides the standard text on purpose.
    if config.transcripts == "both" and config.tuning is None and config.standard_share > 0:
        for head, (kind, field, other) in enumerate(_BOTH):
            if all(example.targets[head] is None for example in examples):
                raise IsoglossError(
                    f'transcripts "both": no item has {kind} text ({field}), so that its output '
                    f'would learn nothing; use transcripts "{other}"'
                )
    asked = {
        "inter_ctc": config.inter_ctc > 0 and config.inter_ctc_text != "same",
        "contrastive": config.contrastive > 0,
    }
    there = {
        "inter_ctc": any(example.inter is not None for example in examples),
        "contrastive": any(example.text is not None for example in examples),
    }
    for name, is_on in asked.items():
        if is_on and not there[name]:
            wanted = getattr(config, f"{name}_text")
            raise IsoglossError(f'no item has the text that {name} reads: {name}_text "{wanted}"')


def drawn(examples: Sequence[Example], *, seed: int, epoch: int) -> list[Example]:
    """`examples` with one target each, drawn from those they have.

    For `transcripts="tagged"`: (seed, epoch, row) decide, so that an item shows either text in the
    course of epochs and a resumed run draws as the uninterrupted one.
    """
    chosen: list[Example] = []
    for example in examples:
        there = [target for target in example.targets if target is not None]
        generator = np.random.default_rng((seed, epoch, example.row))
        chosen.append(replace(example, targets=(there[int(generator.integers(len(there)))],)))
    return chosen


def count_reasons(skipped: Iterable[Skipped]) -> str:
    """How many items were left out for each reason, most frequent first; empty for none."""
    counts = Counter(entry.reason for entry in skipped)
    return ", ".join(f"{count} x {reason}" for reason, count in counts.most_common())
