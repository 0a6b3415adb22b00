"""A small parallel corpus, a tiny config and tiny models for the tests of text training."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from isogloss.types import Corpus, Item

_WORDS = {
    "eng": "the cat {} sees house number {}",
    "deu": "die Katze {} sieht Haus Nummer {}",
    "spa": "el gato {} ve la casa número {}",
}
_COLOURS = {
    "eng": ("red", "green", "blue"),
    "deu": ("rot", "grün", "blau"),
    "spa": ("rojo", "verde", "azul"),
}


def parallel_items(meanings: int = 40) -> list[Item]:
    """Three varieties of each meaning."""
    return [
        Item(
            id=f"{number}-{variety}",
            variety=variety,
            meaning=f"m{number}",
            text=text.format(_COLOURS[variety][number % 3], number),
        )
        for number in range(meanings)
        for variety, text in _WORDS.items()
    ]


def text_corpus(meanings: int = 40, more: tuple[Item, ...] = ()) -> Corpus:
    """`parallel_items` and `more` as a corpus without a sha."""
    return Corpus("small", (*parallel_items(meanings), *more))


def text_config(**changes: Any) -> Any:
    """A `TextTrainConfig` for a model of two layers on one thread; 12 steps unless said."""
    from isogloss.training.text_config import Shape, TextTrainConfig

    values: dict[str, Any] = {
        "batch": 8,
        "threads": 1,
        "device": "cpu",
        "warmup": 2,
        "buckets": 2,
        "max_tokens": 24,
        "control": False,
        "log_steps": 4,
    }
    if "start" not in changes:
        values["shape"] = Shape(layers=2, width=16, heads=2, vocabulary=400)
    if not {"epochs", "max_steps", "minutes"} & changes.keys():
        values["max_steps"] = 12
    return TextTrainConfig(**{**values, **changes})


def tiny_model(kind: str = "encoder", *, layers: int = 2, seed: int = 0) -> Any:
    """A `TextModel` with random weights and a tokenizer of the small corpus."""
    import torch

    from isogloss.training.text_config import Shape
    from isogloss.training.text_parameters import new_model
    from isogloss.training.text_tokenizer import train_tokenizer

    texts = [item.text or "" for item in parallel_items()]
    tokenizer = train_tokenizer(texts, pieces=400, kind=kind, max_tokens=24)
    torch.manual_seed(seed)
    shape = Shape(kind=kind, layers=layers, width=16, heads=2)  # type: ignore[arg-type]
    return new_model(shape, tokenizer, max_tokens=24)


def text_batch(model: Any, *sides: list[str], names: Any = None, links: Any = None) -> Any:
    """A `TextBatch` of these texts, one side or two."""
    from isogloss.training.text_batch import TextBatch

    count = len(sides[0])
    return TextBatch(
        tuple(model.tokens(side) for side in sides),
        tuple(names) if names is not None else (None,) * count,
        tuple(("und",) * count for _ in sides),
        links,
        tuple(tuple(side) for side in sides),
    )


if __name__ == "__main__":
    # A process that a test can kill: the folder of the run and keyword=value settings.
    import ast

    from isogloss.training.text_loop import train_text

    settings = dict(argument.split("=", 1) for argument in sys.argv[2:])
    train_text(
        text_config(**{name: ast.literal_eval(value) for name, value in settings.items()}),
        corpus=text_corpus(),
        folder=Path(sys.argv[1]),
        quiet=True,
    )
