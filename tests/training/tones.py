"""Makers for the tests of training: a corpus of tones to learn, and an encoder small enough."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from makers import melody, write_manifest, write_wav

if TYPE_CHECKING:
    from pathlib import Path

NOTES = "天地人水火"


def tone_corpus(
    folder: Path, *, count: int = 24, extra: list[dict[str, Any]] | None = None
) -> Path:
    """`count` items of 2 to 4 notes in cmn and yue, every sixth in the split dev."""
    generator = np.random.default_rng(0)
    records = []
    for number in range(count):
        notes = generator.integers(0, len(NOTES), generator.integers(2, 5))
        samples = melody((notes * 5).tolist(), note_seconds=0.16, seed=number)
        write_wav(folder / "audio" / f"{number}.wav", samples)
        text = "".join(NOTES[note] for note in notes)
        records.append(
            {
                "id": f"u{number}",
                "variety": ("cmn", "yue")[number % 2],
                "audio": f"audio/{number}.wav",
                "transcript": text[::-1],
                "translation": text,
                "split": "dev" if number % 6 == 5 else "train",
            }
        )
    return write_manifest(folder / "manifest.jsonl", [*records, *(extra or [])])


def small_shape() -> Any:
    """A Zipformer of two stacks and 30,000 parameters, with all of its random rules on."""
    from isogloss.speech.zipformer import ZipformerConfig

    return ZipformerConfig(
        layers=(1, 1),
        feedforward_dims=(24, 24),
        dims=(16, 16),
        unmasked_dims=(16, 16),
        heads=(2, 2),
        kernels=(7, 7),
        downsampling=(1, 2),
        query_head_dim=4,
        value_head_dim=4,
        position_head_dim=2,
        position_dim=8,
        front_channels=(4, 8, 16),
    )


def config(**changes: Any) -> Any:
    """A `TrainConfig` for the small encoder on one CPU thread."""
    from isogloss.training.config import TrainConfig

    values: dict[str, Any] = {
        "shape": small_shape(),
        "max_batch_seconds": 4.0,
        "max_seconds": 3.0,
        "buckets": 3,
        "threads": 1,
        "device": "cpu",
        "warmup": 5,
        "average_from": 0.5,
        "average_period": 2,
        "dev_minutes": None,
    }
    if not {"epochs", "max_steps", "minutes"} & changes.keys():
        values["max_steps"] = 6
    return TrainConfig(**{**values, **changes})


if __name__ == "__main__":
    # A process that a test can kill: arguments are manifest, folder and keyword=value settings.
    import ast
    from pathlib import Path as AnyPath

    from isogloss.training.loop import train

    settings = dict(argument.split("=", 1) for argument in sys.argv[3:])
    train(
        config(**{name: ast.literal_eval(value) for name, value in settings.items()}),
        corpus=AnyPath(sys.argv[1]),
        folder=AnyPath(sys.argv[2]),
        quiet=True,
    )
