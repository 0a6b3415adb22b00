"""Two lists of texts in, TF-IDF cosines of their character n-grams out: the floor of text tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from isogloss.encoders.character_ngrams import check_orders
from isogloss.encoders.ngram import InverseFrequency, ngram_weights
from isogloss.errors import MissingExtra

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt
    from scipy.sparse import csr_matrix

    from isogloss.types import FloatArray

__all__ = ["ngram_matrix", "ngram_scores"]

_BLOCK = 1024


def ngram_scores(
    queries: Sequence[str], items: Sequence[str], *, low: int = 1, high: int = 3
) -> FloatArray:
    """Cosine of the TF-IDF vectors of every query and every item.

    This is the floor that tables of text show: no model, no training text, only the candidates
    themselves. Inverse document frequency is counted over `items`; n-grams of a query that no item
    has are left out before its vector is scaled to length 1. Counts enter as 1 + ln(count). Case
    is folded, white space is one space.

    Args:
        queries: N texts.
        items: M texts, the candidates.
        low: least characters of an n-gram.
        high: most characters.

    Returns:
        (N, M) float32 in [0, 1]; a row or column of zeros where a text is blank or shares no
        n-gram with any item.

    Raises:
        ValueError: there is no query or no item, or the lengths of n-grams are out of range.
        MissingExtra: scipy is not installed.

    Source: the same numbers as scikit-learn's TfidfVectorizer(analyzer='char', ngram_range=(1, 3),
    sublinear_tf=True) fitted on the items.
    """
    check_orders(low, high)
    if not queries or not items:
        raise ValueError(f"scores need queries and items, got {len(queries)} and {len(items)}")
    rarity = InverseFrequency.of(items, low, high)
    columns = ngram_matrix(items, rarity, low, high).T.tocsc()
    rows = ngram_matrix(queries, rarity, low, high)
    scores = np.empty((len(queries), len(items)), dtype=np.float32)
    for start in range(0, len(queries), _BLOCK):
        part = rows[start : start + _BLOCK] @ columns
        scores[start : start + _BLOCK] = part.toarray()
    # Rounding may carry a cosine beyond 1.
    return np.clip(scores, 0.0, 1.0, out=scores)


def ngram_matrix(texts: Sequence[str], rarity: InverseFrequency, low: int, high: int) -> csr_matrix:
    """TF-IDF of texts over the n-grams of `rarity`: (N, K) rows of length 1, or 0 without any.

    Raises:
        MissingExtra: scipy is not installed.
    """
    try:
        from scipy.sparse import csr_matrix
    except ImportError as error:
        raise MissingExtra("text", "scipy") from error
    places: list[npt.NDArray[np.int64]] = []
    values: list[npt.NDArray[np.float64]] = []
    for text in texts:
        codes, weights = ngram_weights(text, low, high, rarity)
        found = np.searchsorted(rarity.codes, codes)
        found_inside = np.minimum(found, max(0, len(rarity.codes) - 1))
        known = rarity.codes[found_inside] == codes if len(rarity.codes) else codes != codes
        kept = weights[known]
        length = float(np.linalg.norm(kept))
        places.append(found_inside[known])
        values.append(kept / length if length else kept)
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in places])])
    shape = (len(texts), max(1, len(rarity.codes)))
    return csr_matrix((np.concatenate(values), np.concatenate(places), offsets), shape=shape)
