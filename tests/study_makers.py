"""A small corpus in two scripts of one language and English, and a tiny study of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from isogloss.corpora import write_corpus
from isogloss.types import Corpus, Item

if TYPE_CHECKING:
    from pathlib import Path

WORDS = {
    "eng": ("house", "water", "book", "road", "night", "bread", "river", "stone"),
    "srp": ("кућа", "вода", "књига", "пут", "ноћ", "хлеб", "река", "камен"),
    "srp-latn": ("kuća", "voda", "knjiga", "put", "noć", "hleb", "reka", "kamen"),
}


def study_items(meanings: int = 60, *, splits: bool = True) -> list[Item]:
    """Three words a text, other words for every meaning; every fourth meaning is a test."""
    items = []
    for number in range(meanings):
        places = number % 8, (number // 8 + number) % 8, (number * 5 + number // 3) % 8
        for variety, words in WORDS.items():
            text = " ".join(words[place] for place in places) + f" {number}"
            split = ("test" if number % 4 == 0 else "train") if splits else None
            items.append(
                Item(f"{number}-{variety}", variety, meaning=f"m{number}", text=text, split=split)
            )
    return items


def study_corpus(folder: Path, meanings: int = 60, *, splits: bool = True) -> Path:
    """The manifest of `study_items` in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "manifest.jsonl"
    write_corpus(Corpus("study", tuple(study_items(meanings, splits=splits))), path)
    return path


def tiny(**changes: Any) -> dict[str, Any]:
    """Start, options and data of a study of a few steps, for keyword arguments."""
    from isogloss.tasks.study_start import StartChoice
    from isogloss.tasks.study_train import TrainOptions
    from isogloss.training.text_config import Shape

    values: dict[str, Any] = {
        "start": StartChoice(None, 3, Shape(layers=2, width=16, heads=2, vocabulary=400)),
        "options": TrainOptions(steps=3, batch=8, max_tokens=24),
        "seeds": (0,),
    }
    return {**values, **changes}
