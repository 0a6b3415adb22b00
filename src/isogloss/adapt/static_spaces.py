"""Texts and two tokenizers in, vectors of the tokens of both in one space out.

Every token is described by the words that it stands in and beside. Words are the same for both
tokenizers, so the two spaces are aligned as they are made.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from isogloss.errors import MissingExtra

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from isogloss.adapt.vocabulary_pieces import Pieces
    from isogloss.types import FloatArray

__all__ = ["static_spaces"]


def static_spaces(
    texts: Sequence[str],
    old: Pieces,
    new: Pieces,
    *,
    dimensions: int = 64,
    window: int = 1,
    contexts: int = 20000,
    seed: int = 0,
) -> tuple[FloatArray, FloatArray]:
    """(V, S) vectors of the old tokens and (M, S) of the new; a zero row is a token not in `texts`.

    Positive pointwise mutual information of tokens with words (those that a token is a part of,
    and up to `window` words on both sides), led to S dimensions by a truncated singular value
    decomposition of both tables, one under the other.

    Args:
        texts: in which tokens stand.
        old: one tokenizer.
        new: the other.
        dimensions: S, cut to what the tables hold.
        window: words to each side.
        contexts: the most frequent words are contexts.
        seed: of the start of the decomposition.

    Raises:
        ValueError: the texts hold fewer than two words.
        MissingExtra: scipy is not installed.

    The published UniBridge trains one static model for each tokenizer and compares across them;
    such spaces are not aligned, which is why both are made of one table here.
    """
    try:
        from scipy import sparse
        from scipy.sparse.linalg import svds
    except ImportError as error:
        raise MissingExtra("text", "scipy") from error
    lines = [text.split() for text in texts]
    counted = Counter(word for line in lines for word in line)
    if len(counted) < 2:
        raise ValueError(f"{len(texts)} texts hold {len(counted)} different words; 2 are needed")
    # Of equal counts the first in the alphabet, so that nothing depends on the order of a set.
    frequent = sorted(counted, key=lambda word: (-counted[word], word))[:contexts]
    place = {word: i for i, word in enumerate(frequent)}
    beside: dict[str, Counter[int]] = {}
    for line in lines:
        for i, word in enumerate(line):
            seen = beside.setdefault(word, Counter())
            for j in range(max(0, i - window), min(len(line), i + window + 1)):
                if line[j] in place:
                    seen[place[line[j]]] += 1
    tables = [
        _token_contexts(side, beside, len(frequent), sparse.coo_matrix) for side in (old, new)
    ]
    table = _positive_information(sparse.vstack(tables).tocsr())
    kept = max(1, min(dimensions, min(table.shape) - 1))
    start = np.random.default_rng(seed).normal(size=min(table.shape))
    left, strengths, _ = svds(table, k=kept, v0=start)
    vectors = (left * np.sqrt(strengths)).astype(np.float32)
    # Rounding leaves traces in rows that hold nothing.
    vectors[np.diff(table.indptr) == 0] = 0
    return vectors[: len(old)], vectors[len(old) :]


def _token_contexts(
    side: Pieces, beside: dict[str, Counter[int]], width: int, make: Callable[..., Any]
) -> Any:
    """(tokens, width) counts of the contexts of each token, as `make` makes them."""
    rows: list[int] = []
    columns: list[int] = []
    counts: list[int] = []
    for word, seen in beside.items():
        ids = side.tokenizer(" " + word, add_special_tokens=False, verbose=False)["input_ids"]
        for token in ids:
            if side.keys[token] is not None:
                rows += [token] * len(seen)
                columns += seen.keys()
                counts += seen.values()
    return make((counts, (rows, columns)), shape=(len(side), width), dtype=np.float64).tocsr()


def _positive_information(table: Any) -> Any:
    """log(p(t, c) / p(t) p(c)) where it is positive; `table` is sparse."""
    by_row = np.asarray(table.sum(axis=1)).ravel()
    by_column = np.asarray(table.sum(axis=0)).ravel()
    pairs = table.tocoo()
    information: npt.NDArray[np.float64] = np.log(
        pairs.data * by_row.sum() / (by_row[pairs.row] * by_column[pairs.col])
    )
    pairs.data = np.clip(information, 0, None)
    found = pairs.tocsr()
    found.eliminate_zeros()
    return found
