"""The name of a model and a corpus in; results.json, pictures and page of its alignment out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from isogloss._files import write_json
from isogloss.bench.alignment_page import write_alignment_page
from isogloss.bench.alignment_pictures import write_alignment_pictures
from isogloss.encoders import load_encoder
from isogloss.errors import IsoglossError

if TYPE_CHECKING:
    from isogloss.bench.alignment_pictures import MapKind
    from isogloss.tasks.alignment import Alignment
    from isogloss.tasks.alignment_result import AlignmentResult
    from isogloss.types import Corpus

__all__ = ["default_floor", "run_alignment", "write_alignment"]


def default_floor(takes_text: bool) -> str:
    """The encoder that has learnt nothing: character n-grams of text, log-mel frames of speech."""
    return "ngram:" if takes_text else "mel:"


def run_alignment(
    model: str,
    corpus: Corpus,
    task: Alignment,
    *,
    floor: str | None = "auto",
    device: str = "cpu",
    out: Path | None = None,
    map_of: MapKind = "similarity",
) -> tuple[AlignmentResult, list[Path]]:
    """Measure the encoder called `model` and its floor, and write what was found.

    Args:
        model: see `load_encoder`.
        corpus: items that share meanings across varieties.
        task: what to measure and how.
        floor: name of an encoder; 'auto' takes that of `default_floor`, None none. A model that is
            itself the floor gets none.
        device: of the model.
        out: folder for results.json, report.html and pictures; None writes nothing.
        map_of: see `write_alignment_pictures`.

    Returns:
        What was found, and the files written.

    Raises:
        IsoglossError: `model` is a folder of vectors; or as `Alignment.measure`.
    """
    if (Path(model) / "sequences.json").is_file():
        # The items that its transform was fitted on are known there, and refused.
        raise IsoglossError(
            f"{model} is a folder of vectors, and a model is measured; to judge vectors use "
            "isogloss adapt compare, to measure a model after a transform --transform"
        )
    encoder = load_encoder(model, device=device)
    takes_text = bool(getattr(encoder, "takes_text", False))
    name = default_floor(takes_text) if floor == "auto" else floor
    beside = None if name is None or name == model else load_encoder(name)
    result = task.measure(corpus, encoder, name=model, floor=beside)
    return result, [] if out is None else write_alignment(result, out, map_of=map_of)


def write_alignment(
    result: AlignmentResult, out: Path, *, map_of: MapKind = "similarity"
) -> list[Path]:
    """Write results.json, pictures and report.html into `out`; the paths, numbers first.

    The numbers are on the disk before anything is drawn.
    """
    numbers = out / "results.json"
    write_json(numbers, result.to_dict())
    pictures = write_alignment_pictures(result, out, map_of=map_of)
    page = write_alignment_page(result, out / "report.html", pictures=pictures)
    return [numbers, page, *pictures]
