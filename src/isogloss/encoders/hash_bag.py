"""Hashed character n-grams with a learnt vector each, as an encoder: `hash:FOLDER`.

A text is the mean of the vectors of its n-grams. Training (`training.hash_training`) moves these
vectors so that translations land in the same place; untrained, they are a random projection.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from isogloss import __version__
from isogloss.encoders.character_ngrams import (
    as_characters,
    check_orders,
    folded,
    window_codes,
)
from isogloss.encoders.composed_item import composed
from isogloss.encoders.item_text import text_of
from isogloss.encoders.option_values import choice, whole_number
from isogloss.encoders.own_text_files import read_own_text
from isogloss.encoders.words import UNSPACED_RANGES, item_spans, words_of
from isogloss.errors import IsoglossError
from isogloss.types import Sequences

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from isogloss.types import FloatArray, Item

__all__ = ["BagShape", "HashEncoder", "bag_of", "load", "random_table"]

# No characters of Unicode: what stands before and behind each run of text without spaces.
_BEGIN, _END = 0x110000, 0x110001
_BOUNDS = np.array(UNSPACED_RANGES, dtype=np.uint32)


@dataclass(frozen=True, slots=True)
class BagShape:
    """How texts become rows of a table of vectors.

    Args:
        buckets: rows of the table; n-grams that fall into one row share its vector.
        dimension: D of the vectors.
        low: least characters of an n-gram, the bounds of a word counted in.
        high: most.
        low_unspaced: least characters in scripts without spaces between words, where a character
            is about a word.
    """

    buckets: int = 1 << 18
    dimension: int = 256
    low: int = 3
    high: int = 5
    low_unspaced: int = 1

    def __post_init__(self) -> None:
        check_orders(self.low, self.high)
        if not 1 <= self.low_unspaced <= self.low:
            raise ValueError(f"low_unspaced must be 1 to low={self.low}, got {self.low_unspaced}")
        for name, most in (("buckets", 1 << 28), ("dimension", 1 << 16)):
            if not 1 <= getattr(self, name) <= most:
                raise ValueError(f"{name} must be 1 to {most}, got {getattr(self, name)}")


def bag_of(
    text: str, shape: BagShape, spans: Sequence[tuple[int, int]] | None = None
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Rows of the n-grams of a text, (G,), and the number of the word each belongs to, (G,).

    N-grams lie within runs of characters without white space; the bounds of a run count as
    characters, so 'is' has the trigrams '<is' and 'is>'. A run shorter than `low` is one n-gram.
    In scripts without spaces, n-grams begin with `low_unspaced` characters. An n-gram belongs to
    the word that its middle character is in, and what is in no word to the word before.

    Args:
        text: composed (NFC); case is folded here.
        shape: of the bag.
        spans: character spans of the words; None is `words_of(text)`.

    Returns:
        Nothing, (0,), for a text of white space alone.
    """
    plain = folded(text)
    padded, places = _padded(plain)
    owners = _owners(len(plain), words_of(text) if spans is None else spans)
    begins = padded == _BEGIN
    begun, wide = np.cumsum(begins), np.cumsum(_is_spaced(padded))
    found: list[npt.NDArray[np.uint64]] = []
    words: list[npt.NDArray[np.int64]] = []
    for order in range(1, shape.high + 1):
        codes = window_codes(padded, order)
        if not len(codes):
            break
        first, last = slice(0, len(codes)), slice(order - 1, None)
        within = begun[last] == begun[first]
        if order < shape.low:
            unspaced = wide[last] - wide[first] + _is_spaced(padded)[first] == 0
            whole = begins[first] & (padded[last] == _END)
            within &= (unspaced & (order >= shape.low_unspaced)) | whole
        found.append(codes[within])
        middle = np.arange(len(codes)) + (order - 1) // 2
        words.append(owners[places[middle[within]]])
    if not found:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    rows = (np.concatenate(found) % np.uint64(shape.buckets)).astype(np.int64)
    return rows, np.concatenate(words)


def random_table(shape: BagShape, seed: int) -> FloatArray:
    """Vectors of an untrained bag, (buckets, D), standard normal over the square root of D."""
    draw = np.random.default_rng([seed, shape.buckets, shape.dimension])
    values = draw.standard_normal((shape.buckets, shape.dimension), dtype=np.float32)
    values /= np.float32(np.sqrt(shape.dimension))
    return values


@dataclass(frozen=True, slots=True, eq=False)
class HashEncoder:
    """The mean of the vectors of a text's n-grams, dealt to its words.

    With `token` 'word' the step of a word is the sum over its n-grams times words / n-grams of
    the text, so that the mean of the steps is the mean over n-grams, which is what was trained:
    pool by the mean. A word without n-grams of its own has no step. With 'sentence' the mean
    itself is the only step.
    """

    table: FloatArray
    shape: BagShape
    name: str
    token: Literal["word", "sentence"] = "word"

    takes_text: ClassVar[bool] = True

    @property
    def made_by(self) -> str:
        """What changes the values."""
        return f"hash:{self.name};token={self.token};isogloss={__version__}"

    def encode(self, items: Sequence[Item]) -> Sequences:
        """Steps of each item, (words, D) or (1, D), not of length 1.

        Raises:
            TextError: an item has no text.
            ValueError: there is no item.
        """
        if not items:
            raise ValueError("there is no item to encode")
        rows: list[FloatArray] = []
        numbers: list[npt.NDArray[np.int64]] = []
        for item in items:
            steps, words = self._steps(item)
            rows.append(steps)
            numbers.append(words)
        return Sequences.from_list(
            [item.id for item in items], rows, made_by=self.made_by, words=numbers
        )

    def _steps(self, item: Item) -> tuple[FloatArray, npt.NDArray[np.int64]]:
        plain = composed(item)
        rows, owners = bag_of(text_of(plain), self.shape, item_spans(plain))
        if self.token == "sentence":
            mean: FloatArray = _sums(self.table, rows, np.zeros(1, np.int64)) / np.float32(
                len(rows)
            )
            return mean, np.full(1, -1, dtype=np.int64)
        order = np.argsort(owners, kind="stable")
        words, starts = np.unique(owners[order], return_index=True)
        steps = _sums(self.table, rows[order], starts) * (len(words) / len(rows))
        return steps, words


def load(
    argument: str,
    *,
    layer: int | None = None,
    device: str = "cpu",
    token: str = "word",
    seed: str = "",
    buckets: str = "",
    dimension: str = "",
) -> HashEncoder:
    """The encoder behind 'hash:FOLDER'; 'hash:' alone is an untrained one, the control.

    Args:
        argument: a folder written by training, or nothing.
        layer: None or 0, there is one.
        device: n-grams are looked up on the CPU whatever it says.
        token: 'word' for one step a word, 'sentence' for one an item.
        seed: of an untrained table; 0 when empty.
        buckets: rows of an untrained table; 262,144 when empty.
        dimension: of an untrained table; 256 when empty.

    Raises:
        ValueError: an option has a wrong value or belongs to untrained tables only, another layer.
        IsoglossError: the folder is absent, damaged or of another kind.
        MissingExtra: safetensors is not installed.
    """
    del device
    if layer not in (None, 0):
        raise ValueError(f"hashed n-grams have one layer, 0; got layer {layer}")
    kind: Literal["word", "sentence"] = (
        "word" if choice("token", token, ("word", "sentence")) == "word" else "sentence"
    )
    untrained = {"seed": seed, "buckets": buckets, "dimension": dimension}
    if not argument:
        numbers = {name: whole_number(name, value) for name, value in untrained.items() if value}
        number = numbers.pop("seed", 0)
        shape = BagShape(**numbers)
        name = f"untrained;seed={number};buckets={shape.buckets};dimension={shape.dimension}"
        return HashEncoder(random_table(shape, number), shape, name, kind)
    given = [name for name, value in untrained.items() if value]
    if given:
        raise ValueError(
            f"option '{given[0]}' is for 'hash:' without a folder; a model has its own"
        )
    model = read_own_text(Path(argument).expanduser(), "hash")
    try:
        shape = BagShape(**model.shape)
        table = model.tensors["table"]
    except (TypeError, KeyError, ValueError) as error:
        raise IsoglossError(f"{model.folder}: no model of hashed n-grams: {error}") from error
    if table.shape != (shape.buckets, shape.dimension) or table.dtype != np.float32:
        raise IsoglossError(
            f"{model.folder}: the table is {table.shape} {table.dtype}, config.json says "
            f"{asdict(shape)}"
        )
    return HashEncoder(table, shape, model.revision[:12], kind)


def _sums(
    table: FloatArray, rows: npt.NDArray[np.int64], starts: npt.NDArray[np.int64]
) -> FloatArray:
    """Sums of the rows from each start to the next, taken in float64."""
    sums: FloatArray = np.add.reduceat(table[rows], starts, axis=0, dtype=np.float64).astype(
        np.float32
    )
    return sums


def _padded(plain: str) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.int64]]:
    """Runs without white space between their bounds; the place in `plain` of each character."""
    characters = as_characters(plain)
    is_space = np.array([character.isspace() for character in plain], dtype=bool)
    kept = np.flatnonzero(~is_space)
    if not len(kept):
        return np.zeros(0, dtype=np.uint32), np.zeros(0, dtype=np.int64)
    run = np.concatenate([[0], np.cumsum(np.diff(kept) > 1)])
    at = np.arange(len(kept)) + 1 + 2 * run
    size = len(kept) + 2 * (int(run[-1]) + 1)
    padded = np.full(size, _END, dtype=np.uint32)
    places = np.zeros(size, dtype=np.int64)
    padded[at], places[at] = characters[kept], kept
    firsts = np.flatnonzero(np.concatenate([[True], np.diff(run) > 0]))
    lasts = np.concatenate([firsts[1:], [len(kept)]]) - 1
    padded[at[firsts] - 1] = _BEGIN
    places[at[firsts] - 1], places[at[lasts] + 1] = kept[firsts], kept[lasts]
    return padded, places


def _owners(size: int, spans: Sequence[tuple[int, int]]) -> npt.NDArray[np.int64]:
    """The word of each character; one in no word goes with the word before, at the front with 0."""
    owners = np.full(size, -1, dtype=np.int64)
    for number, (first, last) in enumerate(spans):
        owners[first:last] = number
    known = np.where(owners >= 0, np.arange(size), -1)
    known = np.maximum.accumulate(known) if size else known
    if size and (owners >= 0).any():
        known[known < 0] = int(np.argmax(owners >= 0))
        return owners[known]
    return np.zeros(size, dtype=np.int64)


def _is_spaced(characters: npt.NDArray[np.uint32]) -> npt.NDArray[np.bool_]:
    """Whether a character is of a script with spaces between words; bounds are."""
    place = np.searchsorted(_BOUNDS[:, 0], characters, side="right") - 1
    inside = (place >= 0) & (characters <= _BOUNDS[np.maximum(place, 0), 1])
    spaced: npt.NDArray[np.bool_] = ~inside
    return spaced
