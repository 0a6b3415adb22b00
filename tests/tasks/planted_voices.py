"""Encoders whose answers are known, and items that no one opens: what tasks must then find."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from isogloss.types import Corpus, Item, Sequences

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

VARIETIES = ("cmn", "yue", "hak")


def rng_of(name: str) -> np.random.Generator:
    """A generator that a name fixes."""
    digest = hashlib.sha256(name.encode()).digest()
    return np.random.default_rng(np.frombuffer(digest, np.uint32))


@dataclass
class Heard:
    """Steps that a function makes of each item; `calls` counts encoded items."""

    steps: Callable[[Item], np.ndarray]
    made_by: str = "planted"
    calls: int = 0

    def encode(self, items: Sequence[Item]) -> Sequences:
        self.calls += len(items)
        arrays = [np.asarray(self.steps(item), dtype=np.float32) for item in items]
        ids = [item.id for item in items]
        return Sequences.from_list(ids, arrays, step_seconds=0.04, made_by=self.made_by)


def one_hot_phones(item: Item) -> np.ndarray:
    """The ear: each phone in each place is a step of its own direction."""
    phones = enumerate(str(item.phones).split())
    return np.stack([rng_of(f"phone {p} {i}").standard_normal(96) for i, p in phones])


def characters_of_translation(item: Item) -> np.ndarray:
    """The mind: each character of the standard wording is a step of its own direction."""
    text = item.translation or ""
    return np.stack([rng_of(f"sign {c}").standard_normal(96) for c in text])


def audio_file(folder: Path) -> str:
    """A file that exists and is never opened."""
    path = folder / "any.wav"
    path.write_bytes(b"never opened by a planted encoder")
    return str(path)


def spoken(audio: str, number: int, id_: str, variety: str, **fields: object) -> Item:
    """An item that is piece `number` of one file, so that the cache tells items apart."""
    item = Item(id_, variety, audio=audio, start_seconds=float(number), end_seconds=number + 0.5)
    return replace(item, **fields)  # type: ignore[arg-type]


def corpus_of(items: Sequence[Item]) -> Corpus:
    """A corpus of `items` with a checksum."""
    return Corpus("planted", tuple(items), sha="0" * 64)
