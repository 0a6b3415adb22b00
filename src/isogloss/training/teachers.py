"""Texts to frozen vectors that utterances are pulled to; computed before training, kept on disk."""

from __future__ import annotations

import hashlib
import math
import unicodedata
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from isogloss._files import atomic_writer
from isogloss.encoders.text_vectors import text_model_vectors
from isogloss.errors import IsoglossError
from isogloss.speech.tokens import split_characters

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from isogloss.types import FloatArray

__all__ = ["ngram_vectors", "stored_vectors", "teacher_vectors"]

_NGRAM_DIM = 256
_LONGEST_NGRAM = 3


def ngram_vectors(texts: Sequence[str], *, dim: int = _NGRAM_DIM) -> FloatArray:
    """(N, dim) float32 vectors of length 1 by which texts that share characters are near.

    Character 1- to 3-grams, weighted by (1 + log tf) * idf, each multiplied by a random vector of
    signs that a hash of the n-gram decides: a random projection of the TF-IDF vector, whose
    cosines it keeps up to about 1 / sqrt(dim). Nothing is fitted but the idf, which is that of
    `texts`. It knows spelling only: two words without a character in common are unrelated.

    A text without characters (spaces and punctuation are none) is a row of zeros.

    Source: random projection as in Achlioptas 2003; TF-IDF as in Manning et al. 2008, sec. 6.4.
    """
    grams = [_ngrams(text) for text in texts]
    documents: Counter[str] = Counter(gram for counts in grams for gram in counts)
    signs: dict[str, FloatArray] = {}
    vectors = np.zeros((len(texts), dim), dtype=np.float32)
    for row, counts in zip(vectors, grams, strict=True):
        for gram, count in sorted(counts.items()):
            if gram not in signs:
                signs[gram] = _signs(gram, dim)
            idf = math.log((1 + len(texts)) / (1 + documents[gram])) + 1.0
            row += np.float32((1.0 + math.log(count)) * idf) * signs[gram]
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: FloatArray = vectors / np.maximum(lengths, 1e-12)
    return scaled


def _ngrams(text: str) -> Counter[str]:
    units = [
        unit.lower()
        for unit in split_characters(text)
        if unicodedata.category(unit[0])[0] in "LMNS" or unicodedata.category(unit[0]) == "Co"
    ]
    marked = ["^", *units, "$"] if units else []
    counts: Counter[str] = Counter()
    for length in range(1, _LONGEST_NGRAM + 1):
        for start in range(len(marked) - length + 1):
            gram = "".join(marked[start : start + length])
            if gram not in ("^", "$"):
                counts[gram] += 1
    return counts


def _signs(gram: str, dim: int) -> FloatArray:
    bits = hashlib.shake_256(gram.encode()).digest((dim + 7) // 8)
    ones = np.unpackbits(np.frombuffer(bits, dtype=np.uint8))[:dim]
    return (2.0 * ones - 1.0).astype(np.float32)


def stored_vectors(path: Path) -> dict[str, FloatArray]:
    """Vectors by item id from an .npz file with `ids` (N,) of text and `vectors` (N, D).

    Raises:
        IsoglossError: there is no such file, or it does not hold these two.
    """
    if not path.is_file():
        raise IsoglossError(f"text_teacher vectors:{path}: there is no such file")
    try:
        with np.load(path, allow_pickle=False) as file:
            ids, vectors = file["ids"], file["vectors"].astype(np.float32)
    except (ValueError, KeyError, OSError) as error:
        raise IsoglossError(
            f"{path}: expected an .npz with arrays ids (text) and vectors: {error}"
        ) from error
    if vectors.ndim != 2 or ids.shape != vectors.shape[:1] or not vectors.size:
        raise IsoglossError(
            f"{path}: expected ids (N,) and vectors (N, D), found {ids.shape} and {vectors.shape}"
        )
    if not np.isfinite(vectors).all():
        raise IsoglossError(f"{path}: vectors hold NaN or infinity")
    names = [str(name) for name in ids]
    if len(set(names)) != len(names):
        raise IsoglossError(f"{path}: ids are given twice, such as {Counter(names).most_common(1)}")
    return dict(zip(names, vectors, strict=True))


def teacher_vectors(
    kind: str, texts: Mapping[str, str], folder: Path, *, device: str = "cpu", progress: bool = True
) -> tuple[FloatArray, dict[str, int]]:
    """Vectors (U, D) and, for each item id that has one, its row.

    Items of equal text share a row where the vector is made from the text.

    Args:
        kind: "ngram", "vectors:FILE.npz" or "hf:NAME_OR_PATH".
        texts: text of each item id.
        folder: where vectors of "hf" are kept; they are read again from there.
        device: on which "hf" runs.
        progress: show a bar on stderr.

    Raises:
        IsoglossError: no item has a vector, or file or model cannot be read.
        MissingExtra: transformers is not installed.
        ValueError: no such kind.
    """
    name, _, argument = kind.partition(":")
    if name == "vectors":
        stored = stored_vectors(Path(argument))
        ids = [id_ for id_ in texts if id_ in stored]
        if not ids:
            raise IsoglossError(f"{argument} has a vector for none of the {len(texts)} items")
        return np.stack([stored[id_] for id_ in ids]), {id_: i for i, id_ in enumerate(ids)}
    if not texts:
        raise IsoglossError("no item has the text that the teacher reads; see teacher_text")
    unique = sorted(set(texts.values()))
    row = {text: i for i, text in enumerate(unique)}
    if name == "ngram":
        vectors = ngram_vectors(unique)
    elif name == "hf":
        vectors = _kept_hf_vectors(argument, unique, folder, device, progress)
    else:
        raise ValueError(f"no text teacher '{kind}'")
    return vectors, {id_: row[text] for id_, text in texts.items()}


def _kept_hf_vectors(
    name: str, texts: Sequence[str], folder: Path, device: str, progress: bool
) -> FloatArray:
    # The number changes with what `text_model_vectors` computes.
    key = hashlib.sha256("\n".join([name, "2", *texts]).encode()).hexdigest()[:16]
    path = folder / f"teacher-{key}.npz"
    if path.is_file():
        with np.load(path, allow_pickle=False) as file:
            kept: FloatArray = file["vectors"]
            return kept
    vectors = text_model_vectors(name, texts, device=device, progress=progress)
    with atomic_writer(path) as handle:
        np.savez(handle, vectors=vectors)
    return vectors
