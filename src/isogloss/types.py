"""The nouns: what travels between packages. Data only, no torch, no files; read this first."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "Corpus",
    "Encoder",
    "FloatArray",
    "Hits",
    "Item",
    "Lexicon",
    "Links",
    "Measurement",
    "Sequences",
    "Task",
    "Transform",
    "Variety",
    "Vectors",
]

FloatArray = npt.NDArray[np.float32]
"""Every array of values that crosses a package border."""


@dataclass(frozen=True, slots=True)
class Variety:
    """A language or dialect, one row of the varieties table.

    `parent` is the code of the variety above it in the tree, `group` the name under which results
    are averaged (for Sinitic: mandarin, jin, wu, hui, gan, xiang, min, hakka, yue, pinghua).
    `script` is an ISO 15924 code; `latitude` and `longitude` are in degrees.
    """

    code: str
    name: str
    native_name: str | None = None
    parent: str | None = None
    group: str | None = None
    script: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    iso639_3: str | None = None
    bcp47: str | None = None
    glottolog: str | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """One thing said or written.

    Items of one corpus that share a `meaning` are translations of each other; nothing else marks
    parallel data. `transcript` is what was said in the variety's own characters, `translation` the
    same in the standard written language (for Sinitic: the Mandarin wording). `audio` is an
    absolute path, or None for text; `start_seconds` and `end_seconds` cut a piece out of it.
    `phones` is a string of phones separated by spaces. `extra` keeps whatever else a corpus knows.
    """

    id: str
    variety: str
    meaning: str | None = None
    text: str | None = None
    audio: str | None = None
    start_seconds: float | None = None
    end_seconds: float | None = None
    transcript: str | None = None
    translation: str | None = None
    phones: str | None = None
    speaker: str | None = None
    site: str | None = None
    split: str | None = None
    words: tuple[str, ...] = ()
    extra: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Corpus:
    """Items under one name. `sha` is the sha256 of their content, audio paths taken from `root`."""

    name: str
    items: tuple[Item, ...]
    licence: str | None = None
    source: str | None = None
    sha: str | None = None
    root: str | None = None

    def __len__(self) -> int:
        return len(self.items)


@dataclass(frozen=True, slots=True, eq=False)
class Sequences:
    """Ragged step vectors, many per item: no padding, so no mask crosses a package border.

    `values` is (sum of T, D) float32; item i owns rows `offsets[i]:offsets[i + 1]`; `offsets` is
    (N + 1,) int64 and starts with 0. `step_seconds` is the time between two steps. `made_by`
    names everything that changes the values (encoder, revision, layer). `words`, where known, is
    (sum of T,) int64: the number of the item's word that each step belongs to, -1 for none.
    """

    ids: tuple[str, ...]
    values: FloatArray
    offsets: npt.NDArray[np.int64]
    step_seconds: float | None = None
    made_by: str = ""
    words: npt.NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or self.values.dtype != np.float32:
            raise ValueError(
                f"values must be (sum T, D) float32, got {self.values.shape} {self.values.dtype}"
            )
        if self.offsets.shape != (len(self.ids) + 1,):
            raise ValueError(
                f"offsets must be ({len(self.ids) + 1},) for {len(self.ids)} ids, "
                f"got {self.offsets.shape}"
            )
        if self.offsets[0] != 0 or self.offsets[-1] != len(self.values):
            raise ValueError(
                f"offsets must run from 0 to {len(self.values)}, "
                f"got {self.offsets[0]} to {self.offsets[-1]}"
            )
        if np.any(np.diff(self.offsets) < 0):
            raise ValueError("offsets must not fall")
        if self.words is not None:
            if self.words.shape != (len(self.values),) or self.words.dtype != np.int64:
                raise ValueError(
                    f"words must be ({len(self.values)},) int64, one a step, "
                    f"got {self.words.shape} {self.words.dtype}"
                )
            if np.any(self.words < -1):
                raise ValueError(f"words must be -1 or more, got {self.words.min()}")

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> FloatArray:
        """Steps of item `index`: (T, D), a view."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"item {index} of {len(self)}")
        index %= len(self)
        return self.values[self.offsets[index] : self.offsets[index + 1]]

    def item_words(self, index: int) -> npt.NDArray[np.int64] | None:
        """Word of each step of item `index`, (T,), a view; None where words are not known."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"item {index} of {len(self)}")
        index %= len(self)
        if self.words is None:
            return None
        return self.words[self.offsets[index] : self.offsets[index + 1]]

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Steps of each item, (N,)."""
        return np.diff(self.offsets)

    @classmethod
    def from_list(
        cls,
        ids: Sequence[str],
        arrays: Sequence[FloatArray],
        *,
        step_seconds: float | None = None,
        made_by: str = "",
        words: Sequence[npt.NDArray[np.int64]] | None = None,
    ) -> Sequences:
        """Join per-item (T, D) arrays; at least one array is needed to know D.

        `words` has one (T,) array an item, or is None where words are not known.
        """
        if not arrays:
            raise ValueError("Sequences need at least one item")
        if words is not None:
            lengths = [len(array) for array in arrays]
            if [len(array) for array in words] != lengths:
                raise ValueError("words must have one array an item, as long as its steps")
        offsets = np.zeros(len(arrays) + 1, dtype=np.int64)
        np.cumsum([len(array) for array in arrays], out=offsets[1:])
        values = np.concatenate(arrays, axis=0).astype(np.float32, copy=False)
        joined = None
        if words is not None:
            joined = np.concatenate(words, axis=0).astype(np.int64, copy=False)
        return cls(tuple(ids), values, offsets, step_seconds, made_by, joined)

    def select(self, indices: Sequence[int]) -> Sequences:
        """The items at `indices`, in that order, copied; an empty selection keeps D."""
        if not len(indices):
            empty = np.zeros((0, self.values.shape[1]), dtype=np.float32)
            return Sequences(
                (),
                empty,
                np.zeros(1, np.int64),
                self.step_seconds,
                self.made_by,
                None if self.words is None else np.zeros(0, np.int64),
            )
        words = None
        if self.words is not None:
            spans = [(self.offsets[i], self.offsets[i + 1]) for i in np.arange(len(self))[indices]]
            words = [self.words[first:last] for first, last in spans]
        return Sequences.from_list(
            [self.ids[i] for i in indices],
            [self[i] for i in indices],
            step_seconds=self.step_seconds,
            made_by=self.made_by,
            words=words,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Vectors:
    """One vector per item: `values` is (N, D) float32; `made_by` names what changes the values."""

    ids: tuple[str, ...]
    values: FloatArray
    made_by: str = ""

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or self.values.dtype != np.float32:
            raise ValueError(
                f"values must be (N, D) float32, got {self.values.shape} {self.values.dtype}"
            )
        if len(self.values) != len(self.ids):
            raise ValueError(f"{len(self.ids)} ids for {len(self.values)} rows")

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class Links:
    """Word links of one sentence pair: (i, j) with weights; `sure` says which are sure."""

    pairs: tuple[tuple[int, int], ...]
    weights: tuple[float, ...] | None = None
    sure: tuple[bool, ...] | None = None


@dataclass(frozen=True, slots=True)
class Lexicon:
    """Word pairs between two varieties, with optional weights."""

    source_variety: str
    target_variety: str
    pairs: tuple[tuple[str, str], ...]
    weights: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True)
class Hits:
    """Answers to queries, best first: `ids[q]` and `scores[q]` belong to query `query_ids[q]`."""

    query_ids: tuple[str, ...]
    ids: tuple[tuple[str, ...], ...]
    scores: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Measurement:
    """A number that carries its recipe.

    `low` and `high` bound the interval (None where none was computed); `n` is how many items the
    value rests on; `signature` names everything that changes it; `per_item` holds the statistics,
    one row an item, from which interval and paired tests are computed; `item_keys` names its rows,
    so that two encoders can be compared item by item.
    """

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    n: int = 0
    higher_is_better: bool = True
    signature: Mapping[str, Any] = field(default_factory=dict)
    per_item: FloatArray | None = None
    item_keys: tuple[str, ...] | None = None


class Encoder(Protocol):
    """Anything that turns items into step vectors; it knows no task."""

    @property
    def made_by(self) -> str:
        """Everything that changes the values: name, revision, layer, site."""
        ...

    def encode(self, items: Sequence[Item]) -> Sequences:
        """Step vectors of `items`, in their order; the same alone as in any batch."""
        ...


class Transform(Protocol):
    """A change of representation fitted on some vectors and applied to others."""

    def fit(
        self,
        vectors: Vectors,
        *,
        varieties: Sequence[str],
        meanings: Sequence[str | None] | None = None,
    ) -> Transform:
        """Learn from `vectors`, a variety and a meaning each; learnt attributes end in `_`."""
        ...

    def transform(self, vectors: Vectors, *, varieties: Sequence[str]) -> Vectors:
        """`vectors` changed, ids kept; a row depends on itself and its variety alone."""
        ...


class Task(Protocol):
    """An experiment: a frozen dataclass whose `run` gives measurements."""

    def run(self, corpus: Corpus, encoder: Encoder) -> list[Measurement]:
        """Measurements of `encoder` on `corpus`."""
        ...
