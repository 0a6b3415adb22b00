"""What sound or spelling alone would retrieve: the baseline beside every speech retrieval result.

Varieties of one family are full of cognates, so a high recall may ride on sound. Here strings of
phones or characters stand in for the recordings, and edit similarity for the encoder.
"""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Literal

import numpy as np

from isogloss.corpora.script import normalise_script
from isogloss.scores import edit_similarity

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from isogloss.types import FloatArray, Item

__all__ = [
    "BASES",
    "Basis",
    "characters_of",
    "cognate_shares",
    "hard_negatives",
    "text_similarity",
]

Basis = Literal["phones", "transcript", "translation"]

BASES: tuple[Basis, ...] = ("phones", "transcript", "translation")
"""Strings to retrieve by. The first that both sides have, of phones and transcript, is phonetic;
what retrieval by transcript or translation reaches bounds what learning from them can align."""


def text_similarity(
    queries: Sequence[Item], targets: Sequence[Item], basis: Basis, *, script: str | None = None
) -> FloatArray | None:
    """Edit similarity of every query with every target, (N, M); None unless all have the string.

    Phones are split at spaces; transcripts and translations are compared by character after NFKC,
    lower case, and without white space and punctuation, and first put into `script` ('Hans' or
    'Hant') when one is given.
    """
    a = [_symbols(item, basis, script) for item in queries]
    b = [_symbols(item, basis, script) for item in targets]
    if not all(a) or not all(b):
        return None
    return edit_similarity(a, b)


def hard_negatives(similarity: FloatArray, count: int) -> npt.NDArray[np.int64]:
    """For each query the `count` wrong targets that sound nearest to it: (N, min(count, N - 1)).

    Args:
        similarity: (N, N) edit similarity; the right answer of query i is target i. Of equally
            similar targets the first is taken.
        count: how many.
    """
    ordered = np.where(np.eye(len(similarity), dtype=bool), -np.inf, similarity)
    nearest: npt.NDArray[np.int64] = np.argsort(-ordered, axis=1, kind="stable")
    return nearest[:, : min(count, len(similarity) - 1)]


def cognate_shares(queries: Sequence[Item], targets: Sequence[Item]) -> FloatArray:
    """Share of cognate words of each pair, (N,), NaN where unknown.

    `extra['cognate_share']` of an item is the share of its words that are cognate with the
    standard; two sentences share at most what either shares, so the smaller one counts.
    """
    pairs = zip(queries, targets, strict=True)
    return np.array([min(_share(q), _share(t)) for q, t in pairs], dtype=np.float32)


def _share(item: Item) -> float:
    value = item.extra.get("cognate_share")
    if value is None:
        return float("nan")
    try:
        return float(value)
    except ValueError as error:
        raise ValueError(
            f"item '{item.id}': extra['cognate_share'] must be a number, got '{value}'"
        ) from error


def characters_of(text: str | None, *, script: str | None = None) -> list[str]:
    """Characters of `text` after NFKC, in lower case, without white space and punctuation."""
    folded = unicodedata.normalize("NFKC", text or "").lower()
    if script is not None:
        folded = normalise_script(folded, script)
    return [c for c in folded if not c.isspace() and not unicodedata.category(c).startswith("P")]


def _symbols(item: Item, basis: Basis, script: str | None) -> list[str]:
    if basis == "phones":
        return (item.phones or "").split()
    text = item.transcript if basis == "transcript" else item.translation
    return characters_of(text, script=script)
