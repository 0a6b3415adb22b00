"""How alike sentences are in meaning, judged by their standard wording or by a user's vectors.

The control beside phonetic similarity: what a score owes to meaning, sound set aside, and the
converse. Called by `controlled` and `word_choice`.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections import Counter
from typing import TYPE_CHECKING, Literal

import numpy as np

from isogloss.errors import IsoglossError
from isogloss.tasks.phonetic import characters_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from isogloss.types import FloatArray, Item

__all__ = [
    "Meaning",
    "character_ngrams",
    "cosine_table",
    "file_vectors",
    "meaning_vectors",
    "standard_texts",
    "standard_words",
]

Meaning = Literal["characters", "words", "vectors"]


def standard_texts(items: Iterable[Item], *, standard: str) -> dict[str, str]:
    """Standard wording of each meaning: a translation, else the standard variety's transcript.

    Args:
        items: any items; those without a meaning tell nothing. Of several wordings of one meaning
            the one of the first item by id is taken, so that the order of items changes nothing.
        standard: code of the variety whose transcripts are standard wording themselves.
    """
    found: dict[str, str] = {}
    transcripts: dict[str, str] = {}
    for item in sorted(items, key=lambda item: item.id):
        if item.meaning is None:
            continue
        if item.translation:
            found.setdefault(item.meaning, item.translation)
        elif item.variety == standard and item.transcript:
            transcripts.setdefault(item.meaning, item.transcript)
    return {**transcripts, **found}


def standard_words(items: Iterable[Item], *, standard: str) -> dict[str, tuple[str, ...]]:
    """Words of the standard wording of each meaning, from the standard variety's items."""
    found: dict[str, tuple[str, ...]] = {}
    for item in sorted(items, key=lambda item: item.id):
        if item.meaning is not None and item.variety == standard and item.words:
            found.setdefault(item.meaning, item.words)
    return found


def meaning_vectors(
    units: Mapping[str, Sequence[str]], *, most_common: float = 1.0
) -> dict[str, FloatArray]:
    """A TF-IDF vector of length 1 for each meaning; its cosine with another is their likeness.

    A unit counts as often as it occurs times log((1 + N) / (1 + n)) + 1, where n of the N meanings
    have it; so a unit that all sentences share counts little, but not nothing.

    Args:
        units: words or character n-grams of each meaning.
        most_common: units in more than this share of the meanings are left out; below 1 it leaves
            content words.

    Returns:
        (D,) float32 for each meaning; zeros where it has no unit left.

    Source: Sparck Jones 1972; smoothed as in scikit-learn's documentation.
    """
    known = Counter(unit for found in units.values() for unit in set(found))
    n = len(units)
    kept = sorted(unit for unit, count in known.items() if count <= most_common * n or n == 1)
    column = {unit: i for i, unit in enumerate(kept)}
    weight = np.array([np.log((1 + n) / (1 + known[unit])) + 1 for unit in kept])
    vectors = {}
    for meaning, found in units.items():
        vector = np.zeros(len(kept))
        for unit, count in Counter(found).items():
            if unit in column:
                vector[column[unit]] = count * weight[column[unit]]
        length = np.linalg.norm(vector)
        vectors[meaning] = (vector / length if length else vector).astype(np.float32)
    return vectors


def character_ngrams(text: str, *, longest: int = 2, script: str | None = None) -> list[str]:
    """Every run of 1 to `longest` characters of `text`, white space and punctuation left out."""
    characters = characters_of(text, script=script)
    return [
        "".join(characters[i : i + size])
        for size in range(1, longest + 1)
        for i in range(len(characters) - size + 1)
    ]


def file_vectors(path: Path) -> tuple[dict[str, FloatArray], str]:
    """Vectors by meaning from an `.npz` file with 'meanings' (N,) and 'vectors' (N, D); its sha256.

    Written by `numpy.savez(path, meanings=[...], vectors=[...])`.

    Raises:
        IsoglossError: the file is no such file, or its values do not fit.
        OSError: it cannot be read.
    """
    data = path.read_bytes()
    try:
        with np.load(path, allow_pickle=False) as stored:
            meanings, vectors = stored["meanings"], stored["vectors"]
    except (ValueError, KeyError, zipfile.BadZipFile) as error:
        raise IsoglossError(
            f"{path}: expected an .npz file with 'meanings' (N,) of text and 'vectors' (N, D): "
            f"{error}"
        ) from error
    if vectors.ndim != 2 or meanings.shape != (len(vectors),) or meanings.dtype.kind != "U":
        raise IsoglossError(
            f"{path}: 'meanings' must be (N,) of text and 'vectors' (N, D), got "
            f"{meanings.dtype} {meanings.shape} and {vectors.shape}"
        )
    values = vectors.astype(np.float32)
    if not np.isfinite(values).all():
        raise IsoglossError(f"{path}: 'vectors' hold NaN or infinity")
    found = {str(m): vector for m, vector in zip(meanings, values, strict=True)}
    return found, hashlib.sha256(data).hexdigest()


def cosine_table(vectors: Mapping[str, FloatArray], meanings: Sequence[str]) -> FloatArray:
    """Cosine of every two of `meanings`, (N, N); a zero vector has cosine 0 with everything else.

    Raises:
        ValueError: a meaning has no vector.
    """
    missing = [meaning for meaning in meanings if meaning not in vectors]
    if missing:
        raise ValueError(
            f"nothing tells what meaning '{missing[0]}' is like ({len(missing)} of {len(meanings)} "
            "have no standard wording, words or vector)"
        )
    rows = np.array([vectors[meaning] for meaning in meanings], dtype=np.float64)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    unit = np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)
    table: FloatArray = np.clip(unit @ unit.T, -1, 1).astype(np.float32)
    # A sentence means what it means, also when nothing is known of it.
    np.fill_diagonal(table, 1)
    return table
