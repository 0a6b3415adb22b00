"""Which items of a corpus can be trained on, and why the others cannot; used by `loop`."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from isogloss.corpora.jsonl import content_sha, manifest_path, read_records
from isogloss.errors import BadRecord, IsoglossError
from isogloss.speech.ctc import output_steps, steps_needed
from isogloss.speech.tokens import Tokenizer, normalise_text

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
    "choose_items",
    "count_reasons",
    "make_tokenizer",
    "texts_of",
    "tokenised",
]


@dataclass(frozen=True, slots=True)
class Skipped:
    """An item that was left out: `reason` is a short phrase to count by, `detail` the finding."""

    id: str
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Chosen:
    """Items to train on and to measure on, what was left out, and the sha of what was read."""

    train: tuple[Item, ...]
    dev: tuple[Item, ...]
    skipped: tuple[Skipped, ...]
    sha: str


@dataclass(frozen=True, slots=True)
class Example:
    """An utterance to train on: row of the feature store, seconds, one target for each head."""

    id: str
    row: int
    seconds: float
    targets: tuple[tuple[int, ...], ...]


def texts_of(item: Item, transcripts: str) -> tuple[str, ...] | None:
    """The text for each head, or None when the item lacks one (see `TrainConfig.transcripts`)."""
    own, standard = item.transcript or "", item.translation or item.transcript or ""
    if transcripts == "both":
        wanted: tuple[str, ...] = (item.translation or "", own)
    else:
        wanted = (standard,) if transcripts == "standard" else (own,)
    return wanted if all(normalise_text(text) for text in wanted) else None


def choose_items(manifest: Path, transcripts: str, *, table: VarietyTable | None = None) -> Chosen:
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
        elif texts_of(item, transcripts) is None:
            detail = f"transcripts '{transcripts}' need text that the item lacks"
            skipped.append(Skipped(item.id, "no transcript", detail))
        else:
            (train if split == "train" else dev).append(item)
    if not train:
        raise IsoglossError(
            f"{path}: no item can be trained on; {count_reasons(skipped) or 'none is in train'}"
        )
    return Chosen(tuple(train), tuple(dev), tuple(skipped), sha)


def make_tokenizer(items: Iterable[Item], config: TrainConfig) -> Tokenizer:
    """Output units learnt from the texts of `items`, those of both heads together."""
    texts = [text for item in items for text in texts_of(item, config.transcripts) or ()]
    if config.units == "bpe":
        return Tokenizer.bpe(texts, config.bpe_size)
    return Tokenizer.characters(texts)


def tokenised(
    items: Sequence[Item],
    rows: Sequence[Sequence[tuple[int, int]]],
    tokenizer: Tokenizer,
    transcripts: str,
) -> tuple[list[Example], list[Skipped]]:
    """Examples of `items`, less those whose text needs more steps than CTC has at 25 Hz.

    Args:
        items: items with text.
        rows: for each item the (row, frames) of its features, one for each speed.
        tokenizer: output units.
        transcripts: see `TrainConfig.transcripts`.
    """
    examples: list[Example] = []
    skipped: list[Skipped] = []
    for item, copies in zip(items, rows, strict=True):
        texts = texts_of(item, transcripts) or ()
        targets = tuple(tuple(tokenizer.encode(text)) for text in texts)
        needed = max(1, *(steps_needed(target) for target in targets))
        fitting = [(row, frames) for row, frames in copies if output_steps(frames) >= needed]
        if len(fitting) < len(copies):
            frames = min(frames for _, frames in copies)
            detail = f"{needed} steps needed, {output_steps(frames)} in {frames / 100:.2f} s"
            skipped.append(Skipped(item.id, "too short for its transcript", detail))
        # One text for all speeds: a faster copy that does not fit goes alone.
        examples += [Example(item.id, row, frames / 100, targets) for row, frames in fitting]
    return examples, skipped


def count_reasons(skipped: Iterable[Skipped]) -> str:
    """How many items were left out for each reason, most frequent first; empty for none."""
    counts = Counter(entry.reason for entry in skipped)
    return ", ".join(f"{count} x {reason}" for reason, count in counts.most_common())
