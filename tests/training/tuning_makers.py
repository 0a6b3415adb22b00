"""Makers for the tests of tuning: an old corpus of tones, a new one in another voice and script."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from makers import melody, write_manifest, write_wav

if TYPE_CHECKING:
    from pathlib import Path

OLD = ("cmn", "天地人水", (1.0,))
NEW = ("nan", "木金土天", (1.0, 0.9, 0.9, 0.9))
"""Variety, characters of the four notes, overtones: three characters are new, one note is written
with the character of another."""


def voiced_corpus(
    folder: Path,
    voice: tuple[str, str, tuple[float, ...]],
    *,
    counts: tuple[int, int, int] = (40, 4, 12),
    extra: list[dict[str, Any]] | None = None,
) -> Path:
    """Items of 2 to 4 notes, so many in train, dev and test; ids are u0, u1, ..."""
    variety, characters, overtones = voice
    generator = np.random.default_rng(3)
    splits = [
        name for name, n in zip(("train", "dev", "test"), counts, strict=True) for _ in range(n)
    ]
    records = []
    for number, split in enumerate(splits):
        notes = generator.integers(0, 4, generator.integers(2, 5))
        samples = melody((notes * 6).tolist(), overtones=overtones, note_seconds=0.16, seed=number)
        write_wav(folder / "audio" / f"{number}.wav", samples)
        text = "".join(characters[note] for note in notes)
        records.append(
            {
                "id": f"u{number}",
                "variety": variety,
                "audio": f"audio/{number}.wav",
                "transcript": text,
                "translation": text,
                "split": split,
            }
        )
    return write_manifest(folder / "manifest.jsonl", [*records, *(extra or [])])


def short_settings(**changes: Any) -> dict[str, Any]:
    """Fields of `TrainConfig` for a run of seconds on one thread."""
    values: dict[str, Any] = {
        "max_batch_seconds": 8.0,
        "max_seconds": 3.0,
        "buckets": 2,
        "threads": 1,
        "device": "cpu",
        "warmup": 2,
        "average_from": 0.8,
        "average_period": 2,
        "dev_minutes": None,
        "specaugment": False,
    }
    if not {"epochs", "max_steps", "minutes"} & changes.keys():
        values["max_steps"] = 4
    return {**values, **changes}


if __name__ == "__main__":
    # A process that a test can kill: arguments are model, new, old, folder and the rank of LoRA.
    from pathlib import Path as AnyPath

    import torch

    from isogloss.training.finetune import FinetuneConfig, finetune
    from isogloss.training.tuning import Tuning

    torch.set_num_threads(1)
    start, new, old, out = (AnyPath(argument) for argument in sys.argv[1:5])
    finetune(
        FinetuneConfig(
            Tuning(lora_rank=int(sys.argv[5])),
            bootstrap=0,
            settings=short_settings(max_steps=16, checkpoint_minutes=1e-9),
        ),
        model=start,
        corpus=new,
        replay=old,
        folder=out,
        quiet=True,
    )
