"""Word vectors from a file as an encoder: one step for each word that has a vector."""

from __future__ import annotations

import codecs
import unicodedata
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from isogloss import __version__
from isogloss._files import sha256_of_file
from isogloss.encoders.item_text import text_of
from isogloss.encoders.option_values import choice, whole_number
from isogloss.encoders.static_fasttext import is_fasttext, open_fasttext
from isogloss.encoders.static_table import open_rows
from isogloss.encoders.words import item_spans
from isogloss.errors import IsoglossError
from isogloss.types import Sequences

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy.typing as npt

    from isogloss.encoders.static_table import WordTable
    from isogloss.types import FloatArray, Item

__all__ = ["StaticEncoder", "WordCounts", "load"]

# In Chinese, Japanese, Thai ... each character is a word, of which files have longer ones.
_LONGEST_JOINED = 8
_LONGEST_CACHE = 200_000


@dataclass
class WordCounts:
    """What an encoder met since it was loaded: words, those without a vector, items with none."""

    words: int = 0
    unknown: int = 0
    items: int = 0
    items_without: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class StaticEncoder:
    """The vector of each word of a text, from a file of word vectors.

    A word is looked for as it stands, without punctuation at its ends, in lower case, and both;
    then, in a fastText model, made of its n-grams. A word with no vector has no step and is
    counted in `counts`. Characters that are words of their own (Chinese, Thai ...) are joined to
    the longest word of the file, of up to 8 characters; each of them gets that word's vector.
    An item that lists its words is looked up by these alone.

    An item none of whose words has a vector gets one step of zeros, which is as near to anything
    as to everything else; a warning counts such items.
    """

    table: WordTable
    name: str
    counts: WordCounts = field(default_factory=WordCounts)
    _known: dict[str, FloatArray | None] = field(default_factory=dict)

    takes_text: ClassVar[bool] = True

    @property
    def made_by(self) -> str:
        """What changes the values."""
        return f"static:{self.name};isogloss={__version__}"

    def encode(self, items: Sequence[Item]) -> Sequences:
        """Word vectors of each item, (words with a vector, D), as the file has them.

        Raises:
            TextError: an item has no text.
            BadRecord: the vector of one of the words is no vector or has NaN or infinity.
            ValueError: there is no item.
        """
        if not items:
            raise ValueError("there is no item to encode")
        rows: list[FloatArray] = []
        numbers: list[npt.NDArray[np.int64]] = []
        without: list[str] = []
        for item in items:
            found = list(self._steps(item))
            if found:
                rows.append(np.stack([vector for _, vector in found]))
                numbers.append(np.array([number for number, _ in found], dtype=np.int64))
            else:
                without.append(item.id)
                rows.append(np.zeros((1, self.table.dimension), dtype=np.float32))
                numbers.append(np.full(1, -1, dtype=np.int64))
        self.counts.items += len(items)
        self.counts.items_without += len(without)
        if without:
            warnings.warn(
                f"{len(without)} of {len(items)} items have no word with a vector, first "
                f"'{without[0]}'; each gets one step of zeros",
                stacklevel=2,
            )
        return Sequences.from_list(
            [item.id for item in items], rows, made_by=self.made_by, words=numbers
        )

    def _steps(self, item: Item) -> Iterator[tuple[int, FloatArray]]:
        text = text_of(item)
        spans = item_spans(item)
        place = 0
        while place < len(spans):
            first, last = spans[place]
            joined = place if item.words else self._last_joined(text, spans, place)
            vector = self._vector(text[first : spans[joined][1]]) if first < last else None
            count = joined - place + 1
            self.counts.words += count
            if vector is None:
                self.counts.unknown += count
            else:
                for number in range(place, joined + 1):
                    yield number, vector
            place = joined + 1

    def _last_joined(self, text: str, spans: Sequence[tuple[int, int]], place: int) -> int:
        """The last of the spans from `place` on that touch each other and are one word."""
        end = place
        while (
            end + 1 < len(spans)
            and end + 1 - place < _LONGEST_JOINED
            and spans[end + 1][0] == spans[end][1]
        ):
            end += 1
        while end > place and text[spans[place][0] : spans[end][1]] not in self.table:
            end -= 1
        return end

    def _vector(self, word: str) -> FloatArray | None:
        if word not in self._known:
            if len(self._known) >= _LONGEST_CACHE:
                self._known.clear()
            self._known[word] = self._looked_up(word)
        return self._known[word]

    def _looked_up(self, word: str) -> FloatArray | None:
        bare = _bare(word)
        for form in (word, bare, word.lower(), bare.lower()):
            if form in self.table:
                return self.table.vector(form)
        return self.table.vector(bare or word)


def load(
    argument: str,
    *,
    layer: int | None = None,
    device: str = "cpu",
    format: str = "auto",
    encoding: str = "utf-8",
    limit: str = "",
) -> StaticEncoder:
    """The encoder behind 'static:FILE'.

    Args:
        argument: a file of word vectors: word2vec text or binary, fastText .vec or .bin, GloVe.
        layer: None or 0, there is one.
        device: vectors are looked up on the CPU whatever it says.
        format: 'text', 'binary', 'fasttext', or 'auto' to tell by the content.
        encoding: of the words.
        limit: words to take from the front of the file; all when empty.

    Raises:
        ValueError: an option has a wrong value, no file is named, another layer.
        IsoglossError: the file is absent, damaged, or not what it says (how is told).
    """
    del device
    if not argument:
        raise ValueError("'static:' needs a file, such as static:vectors.vec")
    if layer not in (None, 0):
        raise ValueError(f"word vectors have one layer, 0; got layer {layer}")
    known = choice("format", format, ("auto", "text", "binary", "fasttext"))
    try:
        codecs.lookup(encoding)
    except LookupError as error:
        raise ValueError(f"option 'encoding': Python knows no encoding '{encoding}'") from error
    most = whole_number("limit", limit, least=1) if limit else None
    path = Path(argument).expanduser()
    if not path.is_file():
        raise IsoglossError(f"{path}: no such file of word vectors")
    table: WordTable
    if known == "fasttext" or (known == "auto" and is_fasttext(path)):
        table = open_fasttext(path, encoding=encoding, limit=most)
    else:
        form: Literal["auto", "text", "binary"] = (
            "auto" if known == "auto" else "text" if known == "text" else "binary"
        )
        table = open_rows(path, form=form, encoding=encoding, limit=most)
    name = f"{path.name};format={known};encoding={encoding};limit={limit or 'none'}"
    return StaticEncoder(table, f"{name};sha={sha256_of_file(path)[:12]}")


def _bare(word: str) -> str:
    """`word` without punctuation and symbols at its ends."""
    first, last = 0, len(word)
    while first < last and unicodedata.category(word[first])[0] in "PS":
        first += 1
    while last > first and unicodedata.category(word[last - 1])[0] in "PS":
        last -= 1
    return word[first:last]
