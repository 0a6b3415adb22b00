"""Character n-grams as an encoder: the floor that every trained text encoder must leave behind.

Tables of retrieval show `tasks.ngram_floor.ngram_scores`, TF-IDF fitted on the candidates, as their
floor. This is the same idea wherever an `Encoder` is asked for: nothing is fitted on the items that
are judged, and the number of dimensions is fixed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from isogloss import __version__
from isogloss._files import sha256_of_file
from isogloss.encoders.character_ngrams import check_orders, ngram_codes
from isogloss.encoders.item_text import has_text, text_of
from isogloss.encoders.option_values import choice, whole_number
from isogloss.encoders.words import item_spans
from isogloss.errors import IsoglossError
from isogloss.types import Sequences

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy.typing as npt

    from isogloss.types import FloatArray, Item

__all__ = ["InverseFrequency", "NgramEncoder", "load", "ngram_weights"]

_LEAST_DIMENSION = 16
_MOST_DIMENSION = 1 << 20


@dataclass(frozen=True, slots=True, eq=False)
class InverseFrequency:
    """How rare n-grams are: `codes` (K,) rising, `values` (K,), `unseen` for all others.

    A value is ln((1 + texts) / (1 + texts with the n-gram)) + 1, so nothing weighs less than 1.
    """

    codes: npt.NDArray[np.uint64]
    values: npt.NDArray[np.float64]
    unseen: float

    @classmethod
    def of(cls, texts: Iterable[str], low: int, high: int) -> InverseFrequency:
        """Counted over `texts`, each of which is one document.

        Raises:
            ValueError: there is no text.
        """
        found = [np.unique(ngram_codes(text, low, high)) for text in texts]
        if not found:
            raise ValueError("there is no text to count n-grams in")
        codes, counts = np.unique(np.concatenate(found), return_counts=True)
        values = np.log((1.0 + len(found)) / (1.0 + counts)) + 1.0
        return cls(codes, values, float(np.log(1.0 + len(found)) + 1.0))

    def __call__(self, codes: npt.NDArray[np.uint64]) -> npt.NDArray[np.float64]:
        """Values of `codes`, in their order."""
        if not len(self.codes):
            return np.full(len(codes), self.unseen)
        places = np.minimum(np.searchsorted(self.codes, codes), len(self.codes) - 1)
        return np.where(self.codes[places] == codes, self.values[places], self.unseen)


def ngram_weights(
    text: str, low: int, high: int, rarity: InverseFrequency | None = None
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.float64]]:
    """Codes of the n-grams of `text`, (K,) rising, and the weight of each: 1 + ln(count) x rarity.

    Without `rarity` every n-gram is equally rare. Weights are not scaled to length 1.
    """
    codes, counts = np.unique(ngram_codes(text, low, high), return_counts=True)
    weights = 1.0 + np.log(counts)
    return codes, weights if rarity is None else weights * rarity(codes)


@dataclass(frozen=True, slots=True)
class NgramEncoder:
    """TF-IDF of character n-grams, each n-gram put with a sign into one of `dimension` places.

    The cosine of two vectors is that of the full TF-IDF vectors plus noise of about
    1 / sqrt(dimension), and does not depend on what else is encoded.

    Args:
        low: least characters of an n-gram.
        high: most characters.
        dimension: D; an item costs 4 D bytes.
        token: 'sentence' for one step an item, 'word' for one a word (n-grams within the word).
        rarity: weights of n-grams, None when all weigh the same.
        rarity_name: what `rarity` was counted on, a part of `made_by`.

    Source: hashing with signs after Weinberger et al. 2009; sublinear counts and smoothed inverse
    document frequency as scikit-learn's TfidfVectorizer has them.
    """

    low: int = 1
    high: int = 3
    dimension: int = 4096
    token: Literal["sentence", "word"] = "sentence"
    rarity: InverseFrequency | None = None
    rarity_name: str = "none"

    takes_text: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_orders(self.low, self.high)
        if not _LEAST_DIMENSION <= self.dimension <= _MOST_DIMENSION:
            raise ValueError(
                f"dimension must be {_LEAST_DIMENSION} to {_MOST_DIMENSION}, got {self.dimension}"
            )

    @property
    def made_by(self) -> str:
        """What changes the values."""
        return (
            f"ngram:;low={self.low};high={self.high};dimension={self.dimension}"
            f";token={self.token};idf={self.rarity_name};isogloss={__version__}"
        )

    def encode(self, items: Sequence[Item]) -> Sequences:
        """Steps of length 1, (1, D) an item or (words, D); `words` is 0 or -1 for a whole item.

        Raises:
            TextError: an item has no text.
            ValueError: there is no item.
        """
        if not items:
            raise ValueError("there is no item to encode")
        rows: list[FloatArray] = []
        words: list[npt.NDArray[np.int64]] = []
        for item in items:
            text = text_of(item)
            if self.token == "sentence":
                pieces, numbers = [text], [-1]
            else:
                spans = [(n, span) for n, span in enumerate(item_spans(item)) if span[0] < span[1]]
                pieces = [text[first:last] for _, (first, last) in spans]
                numbers = [number for number, _ in spans]
            rows.append(np.stack([self._vector(piece) for piece in pieces]))
            words.append(np.array(numbers, dtype=np.int64))
        return Sequences.from_list(
            [item.id for item in items], rows, made_by=self.made_by, words=words
        )

    def _vector(self, text: str) -> FloatArray:
        codes, weights = ngram_weights(text, self.low, self.high, self.rarity)
        signed = np.where(codes >> np.uint64(63), -weights, weights)
        places = (codes % np.uint64(self.dimension)).astype(np.int64)
        values = np.bincount(places, weights=signed, minlength=self.dimension)
        length = float(np.linalg.norm(values))
        # N-grams of opposite sign in one place may leave nothing of a very short text.
        return (values / length if length else values).astype(np.float32)


def load(
    argument: str,
    *,
    layer: int | None = None,
    device: str = "cpu",
    low: str = "1",
    high: str = "3",
    dimension: str = "4096",
    token: str = "sentence",
    idf_from: str = "",
) -> NgramEncoder:
    """The encoder behind 'ngram:', such as 'ngram:?low=2&high=4&idf_from=lines.txt'.

    Args:
        argument: nothing follows the colon.
        layer: None or 0, there is one.
        device: n-grams are counted on the CPU whatever it says.
        low: least characters of an n-gram.
        high: most characters.
        dimension: of the vectors.
        token: 'sentence' or 'word'.
        idf_from: a manifest (.jsonl) or a UTF-8 text with one document a line, from which the
            rarity of n-grams is counted; without it all n-grams weigh the same.

    Raises:
        ValueError: an option has a wrong value, something follows the colon, another layer.
        IsoglossError: the file of `idf_from` is absent, has no text, or is not UTF-8.
    """
    del device
    if argument:
        raise ValueError(f"'ngram:' takes nothing after the colon but options, got '{argument}'")
    if layer not in (None, 0):
        raise ValueError(f"n-grams have one layer, 0; got layer {layer}")
    orders = (whole_number("low", low), whole_number("high", high))
    check_orders(*orders)
    rarity, name = None, "none"
    if idf_from:
        path = Path(idf_from)
        rarity = InverseFrequency.of(_documents(path), *orders)
        name = sha256_of_file(path)[:12]
    kind: Literal["sentence", "word"] = (
        "word" if choice("token", token, ("sentence", "word")) == "word" else "sentence"
    )
    return NgramEncoder(*orders, whole_number("dimension", dimension), kind, rarity, name)


def _documents(path: Path) -> list[str]:
    if not path.is_file():
        raise IsoglossError(f"{path}: no such file to count n-grams in (idf_from)")
    if path.suffix == ".jsonl":
        from isogloss.corpora.jsonl import read_corpus

        texts = [text_of(item) for item in read_corpus(path).items if has_text(item)]
    else:
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except UnicodeDecodeError as error:
            raise IsoglossError(
                f"{path}: byte {error.start} is not UTF-8; convert the file, for example with iconv"
            ) from error
        texts = [line for line in lines if line.strip()]
    if not texts:
        raise IsoglossError(f"{path}: there is no text to count n-grams in (idf_from)")
    return texts
