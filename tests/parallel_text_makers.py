"""A small parallel corpus in two invented varieties, whose words stand for each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from isogloss.corpora.jsonl import write_corpus
from isogloss.types import Corpus, Item

if TYPE_CHECKING:
    from pathlib import Path

WORDS = ("hund", "katze", "baum", "haus", "fluss", "stein", "vogel", "brot", "salz", "wolke")
OTHER = ("пес", "мачка", "дрво", "кућа", "река", "камен", "птица", "хлеб", "со", "облак")


def items_of(count: int, *, seed: int = 0, split: str | None = None) -> list[Item]:
    """`count` meanings, each three words, once in either variety."""
    draw = np.random.default_rng(seed)
    items = []
    for number in range(count):
        chosen = draw.permutation(len(WORDS))[:3]
        for variety, words in (("deu", WORDS), ("srp", OTHER)):
            text = " ".join(words[i] for i in chosen)
            name = f"{seed}-{number}"
            items.append(Item(f"{name}-{variety}", variety, name, text, split=split))
    return items


def manifest(folder: Path, items: list[Item]) -> Path:
    """`items` as a manifest in `folder`."""
    path = folder / "manifest.jsonl"
    write_corpus(Corpus("two", tuple(items)), path)
    return path
