"""Step sequences with planted translations, for measuring search without a speech model.

An utterance is a sequence of concepts. A meaning draws its concepts from a mixture of topics, whose
concepts follow Zipf's law. A variety says it with vectors of its own: its low-rank map and offset,
another word for a share of the concepts, some neighbours exchanged. A speaker adds an offset and a
tempo, and every step carries autoregressive noise. Queries say meanings of the items in a variety
that no item has.

    settings -> meanings (concept numbers) -> durations -> steps (T, D) -> Sequences and Items

Every block of `BLOCK_ITEMS` utterances has random numbers of its own. So item i is the same in a
small and in a large collection, whole or streamed, and a large one never has to be in memory.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from isogloss.types import Item, Sequences

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from isogloss.types import FloatArray

__all__ = [
    "BLOCK_ITEMS",
    "StructuredSequences",
    "StructuredSettings",
    "sequence_blocks",
    "sequence_queries",
    "structured_sequences",
]

BLOCK_ITEMS = 512
"""Utterances that are drawn together, and the pieces in which a collection is streamed."""

STEP_SECONDS = 0.04
_FEWEST_CONCEPTS = 3
_ZIPF_SHIFT = 2.7  # Mandelbrot's: the commonest word is not as common as Zipf's law alone says.


@dataclass(frozen=True, slots=True)
class StructuredSettings:
    """How many sequences, and how hard they are to find.

    Norms are relative to a concept vector, whose norm is 1.

    Attributes:
        items: sequences of the collection.
        queries: sequences in `query_variety`; each has the meaning of another item, so there are
            never more than items.
        dimensions: D.
        steps: mean T; lengths spread from about half to twice as many.
        varieties: of the items, in turn.
        query_variety: of the queries.
        sites: places of each variety.
        speakers: of each site.
        concepts: words of the vocabulary.
        rank: dimensions of the space that concept vectors lie in.
        topics: of the meanings; each topic has `topic_concepts` words of its own.
        topic_concepts: words of one topic.
        function_words: words that all topics share.
        function_share: share of the words of a meaning that are function words.
        substituted: share of the concepts for which two varieties have different words.
        exchanged: chance that a concept changes place with the next one.
        steps_a_concept: mean duration.
        noise: norm of the autoregressive noise of a step.
        noise_memory: share of the noise that stays from one step to the next.
        speaker_offset: norm of what a speaker adds to every step.
        variety_offset: norm of what a variety adds to every step.
        variety_map: norm of the change that a variety's map makes to a concept vector.
        map_rank: rank of that change.
        seed: of everything.
    """

    items: int = 1000
    queries: int = 200
    dimensions: int = 128
    steps: int = 60
    varieties: tuple[str, ...] = ("cmn", "yue", "hak", "nan")
    query_variety: str = "wuu"
    sites: int = 5
    speakers: int = 4
    concepts: int = 4000
    rank: int = 48
    topics: int = 40
    topic_concepts: int = 300
    function_words: int = 80
    function_share: float = 0.35
    substituted: float = 0.2
    exchanged: float = 0.2
    steps_a_concept: float = 5.0
    noise: float = 0.7
    noise_memory: float = 0.6
    speaker_offset: float = 0.1
    variety_offset: float = 0.2
    variety_map: float = 0.3
    map_rank: int = 8
    seed: int = 1

    def __post_init__(self) -> None:
        for name in (
            "items",
            "dimensions",
            "sites",
            "speakers",
            "rank",
            "topics",
            "topic_concepts",
            "function_words",
            "map_rank",
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 <= self.queries <= self.items:
            raise ValueError(
                f"queries must be from 0 to the number of items, {self.items}, got {self.queries}"
            )
        if self.rank > self.dimensions or self.map_rank > self.rank:
            raise ValueError(
                f"rank {self.rank} must be at most dimensions {self.dimensions}, and map_rank "
                f"{self.map_rank} at most rank"
            )
        if self.concepts < self.function_words + self.topic_concepts:
            raise ValueError(
                f"concepts must be at least function_words + topic_concepts, "
                f"{self.function_words + self.topic_concepts}, got {self.concepts}"
            )
        if not self.varieties or self.query_variety in self.varieties:
            raise ValueError(
                f"varieties {self.varieties} must be some, and query_variety "
                f"'{self.query_variety}' none of them"
            )
        for name in ("function_share", "substituted", "exchanged", "noise_memory"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} is a share from 0 to 1, got {getattr(self, name)}")
        for name in ("noise", "speaker_offset", "variety_offset", "variety_map"):
            if not getattr(self, name) >= 0.0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        if not 1.0 <= self.steps_a_concept <= self.steps:
            raise ValueError(
                f"steps_a_concept must be from 1 to steps, {self.steps}, got {self.steps_a_concept}"
            )


@dataclass(frozen=True, slots=True, eq=False)
class StructuredSequences:
    """A collection and its queries; query q means what the items with its `meaning` mean."""

    sequences: Sequences
    items: tuple[Item, ...]
    queries: Sequences
    query_items: tuple[Item, ...]


def structured_sequences(settings: StructuredSettings | None = None) -> StructuredSequences:
    """The collection of `settings` and its queries, all in memory.

    Args:
        settings: default `StructuredSettings()`; 100,000 items of 60 steps and 128 dimensions take
            3 GB here, and none with `sequence_blocks`.

    Returns:
        sequences: (sum T, D) float32 steps of every item, every 0.04 s; not normalised, with a
            mean that is not 0. Ids are 'item-0000000' and so on.
    """
    settings = settings or StructuredSettings()
    blocks = list(sequence_blocks(settings))
    queries, query_items = sequence_queries(settings)
    return StructuredSequences(
        _joined([block for block, _ in blocks], settings),
        tuple(item for _, items in blocks for item in items),
        queries,
        query_items,
    )


def sequence_blocks(
    settings: StructuredSettings, *, start: int = 0
) -> Iterator[tuple[Sequences, tuple[Item, ...]]]:
    """The collection of `settings` in blocks of `BLOCK_ITEMS`, in order; the last may be smaller.

    Args:
        settings: as in `structured_sequences`.
        start: number of the first block; earlier ones are not computed.
    """
    language = _language(settings)
    for block in range(start, -(-settings.items // BLOCK_ITEMS)):
        first = block * BLOCK_ITEMS
        count = min(BLOCK_ITEMS, settings.items - first)
        said = _Said.of_items(settings, block)
        steps = language.steps(said, _rng(settings, "item", block))
        numbers = range(first, first + count)
        ids = tuple(f"item-{number:07d}" for number in numbers)
        sequences = Sequences.from_list(
            ids, steps[:count], step_seconds=STEP_SECONDS, made_by=_made_by(settings)
        )
        yield sequences, said.items(settings, ids, numbers)


def sequence_queries(settings: StructuredSettings) -> tuple[Sequences, tuple[Item, ...]]:
    """The queries of `settings`: other sayings of `queries` different items, evenly drawn."""
    chosen = _rng(settings, "chosen", settings.items).permutation(settings.items)
    numbers = chosen[: settings.queries]
    language = _language(settings)
    ids: list[str] = []
    arrays: list[FloatArray] = []
    items: list[Item] = []
    for block in np.unique(numbers // BLOCK_ITEMS).tolist():
        own = np.sort(numbers[numbers // BLOCK_ITEMS == block])
        said = _Said.of_queries(settings, block)
        steps = language.steps(said, _rng(settings, "query", block))
        rows = own - block * BLOCK_ITEMS
        names = tuple(f"query-{number:07d}" for number in own)
        ids += names
        arrays += [steps[row] for row in rows]
        items += said.items(settings, names, own.tolist(), rows=rows.tolist())
    if not arrays:
        return _joined([], settings), ()
    queries = Sequences.from_list(
        ids, arrays, step_seconds=STEP_SECONDS, made_by=_made_by(settings)
    )
    return queries, tuple(items)


@dataclass(frozen=True, slots=True, eq=False)
class _Said:
    """Who says what in one block: concepts (B, L) with -1 behind the end, variety and speaker.

    `varieties` indexes `settings.varieties`, the query variety behind them; `speakers` counts
    within a variety.
    """

    concepts: npt.NDArray[np.int64]
    varieties: npt.NDArray[np.int64]
    speakers: npt.NDArray[np.int64]

    @classmethod
    def of_items(cls, settings: StructuredSettings, block: int) -> _Said:
        rng = _rng(settings, "speaker", block)
        varieties = np.arange(BLOCK_ITEMS) % len(settings.varieties)
        return cls._drawn(settings, block, varieties, rng)

    @classmethod
    def of_queries(cls, settings: StructuredSettings, block: int) -> _Said:
        rng = _rng(settings, "query speaker", block)
        varieties = np.full(BLOCK_ITEMS, len(settings.varieties))
        return cls._drawn(settings, block, varieties, rng)

    @classmethod
    def _drawn(
        cls,
        settings: StructuredSettings,
        block: int,
        varieties: npt.NDArray[np.int64],
        rng: np.random.Generator,
    ) -> _Said:
        concepts = _exchanged(_meanings(settings, block), settings.exchanged, rng)
        speakers = rng.integers(0, settings.sites * settings.speakers, BLOCK_ITEMS)
        return cls(concepts, varieties, speakers)

    def items(
        self,
        settings: StructuredSettings,
        ids: tuple[str, ...],
        numbers: range | list[int],
        *,
        rows: list[int] | None = None,
    ) -> tuple[Item, ...]:
        """Items called `ids`, which say the meanings `numbers` and stand in `rows` of the block."""
        codes = (*settings.varieties, settings.query_variety)
        made = []
        for row, name, number in zip(rows or range(len(ids)), ids, numbers, strict=True):
            code, speaker = codes[self.varieties[row]], int(self.speakers[row])
            concepts = self.concepts[row]
            made.append(
                Item(
                    name,
                    code,
                    meaning=f"m{number:07d}",
                    translation=" ".join(f"c{c}" for c in concepts[concepts >= 0].tolist()),
                    speaker=f"{code}-{speaker:03d}",
                    site=f"{code}-site-{speaker // settings.speakers}",
                )
            )
        return tuple(made)


class _Language:
    """Vectors of every concept in every variety, and the offsets of varieties and speakers."""

    def __init__(self, settings: StructuredSettings) -> None:
        rng = _rng(settings, "language", 0)
        self.settings = settings
        space = np.linalg.qr(rng.standard_normal((settings.dimensions, settings.rank)))[0].T
        # A concept begins as one vector and ends as another, as a syllable does.
        latent = _unit(rng.standard_normal((2, settings.concepts, settings.rank)))
        self.vectors = []
        self.offsets = []
        for _ in range(len(settings.varieties) + 1):
            words = latent.copy()
            # Two varieties differ where either has a word of its own.
            own = rng.random(settings.concepts) < 1 - np.sqrt(1 - settings.substituted)
            words[:, own] = _unit(rng.standard_normal((2, int(own.sum()), settings.rank)))
            turned = words + settings.variety_map * _map(words, settings, rng)
            self.vectors.append((turned @ space).astype(np.float32))
            speakers = _unit(
                rng.standard_normal((settings.sites * settings.speakers, settings.dimensions))
            )
            variety = _unit(rng.standard_normal(settings.dimensions))
            offset = settings.speaker_offset * speakers + settings.variety_offset * variety
            self.offsets.append(offset.astype(np.float32))

    def steps(self, said: _Said, rng: np.random.Generator) -> list[FloatArray]:
        """(T, D) steps of every row of `said`."""
        settings = self.settings
        durations = _durations(said, settings, rng)
        lengths = durations.sum(axis=1)
        noise = _noise(lengths, settings, rng)
        made = []
        for row, length in enumerate(lengths.tolist()):
            spoken = said.concepts[row] >= 0
            counts = durations[row][spoken]
            concepts = np.repeat(said.concepts[row][spoken], counts)
            into = np.arange(length) - np.repeat(np.cumsum(counts) - counts, counts)
            weight = ((into + 0.5) / np.repeat(counts, counts)).astype(np.float32)[:, None]
            start, end = self.vectors[said.varieties[row]]
            steps = (1 - weight) * start[concepts] + weight * end[concepts]
            steps += self.offsets[said.varieties[row]][said.speakers[row]]
            steps += noise[:length, row]
            made.append(steps)
        return made


@lru_cache(maxsize=2)
def _language(settings: StructuredSettings) -> _Language:
    return _Language(settings)


def _map(
    words: npt.NDArray[np.float64], settings: StructuredSettings, rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """A random map of low rank applied to (..., rank) vectors of norm 1; their mean norm stays."""
    down = np.linalg.qr(rng.standard_normal((settings.rank, settings.map_rank)))[0]
    up = np.linalg.qr(rng.standard_normal((settings.rank, settings.map_rank)))[0]
    mapped: npt.NDArray[np.float64] = words @ down @ up.T
    mapped *= np.sqrt(settings.rank / settings.map_rank)
    return mapped


def _meanings(settings: StructuredSettings, block: int) -> npt.NDArray[np.int64]:
    """Concepts of a block's meanings: (B, L) with -1 behind the end of each."""
    rng = _rng(settings, "meaning", block)
    mean = settings.steps / settings.steps_a_concept
    lengths = np.rint(rng.normal(mean, 0.2 * mean, BLOCK_ITEMS)).astype(np.int64)
    lengths = lengths.clip(min(_FEWEST_CONCEPTS, round(mean)), round(2 * mean))
    shape = (BLOCK_ITEMS, round(2 * mean))
    topics = rng.integers(0, settings.topics, (BLOCK_ITEMS, 2))
    # Three words in four belong to the first topic.
    topic = np.where(rng.random(shape) < 0.75, topics[:, :1], topics[:, 1:])
    ranks = _zipf(settings.topic_concepts, rng.random(shape))
    concepts = _topic_words(settings)[topic, ranks]
    functional = rng.random(shape) < settings.function_share
    concepts = np.where(functional, _zipf(settings.function_words, rng.random(shape)), concepts)
    concepts[np.arange(shape[1]) >= lengths[:, None]] = -1
    return concepts


def _topic_words(settings: StructuredSettings) -> npt.NDArray[np.int64]:
    """Concepts of every topic, commonest first: (topics, topic_concepts); topics overlap."""
    rng = _rng(settings, "topic", 0)
    rest = np.arange(settings.function_words, settings.concepts)
    return np.stack(
        [rng.permutation(rest)[: settings.topic_concepts] for _ in range(settings.topics)]
    )


def _zipf(words: int, chance: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Ranks from 0 that follow Zipf's law, one for each number from 0 to 1."""
    weights = 1.0 / (np.arange(words) + _ZIPF_SHIFT)
    return np.searchsorted(np.cumsum(weights) / weights.sum(), chance).clip(max=words - 1)


def _exchanged(
    concepts: npt.NDArray[np.int64], chance: float, rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """`concepts` with some neighbours exchanged; nothing moves by more than one place."""
    made = concepts.copy()
    free = np.ones(len(concepts), dtype=bool)
    for place in range(concepts.shape[1] - 1):
        moves = (rng.random(len(concepts)) < chance) & free & (concepts[:, place + 1] >= 0)
        made[moves, place], made[moves, place + 1] = (
            concepts[moves, place + 1],
            concepts[moves, place],
        )
        free = ~moves
    return made


def _durations(
    said: _Said, settings: StructuredSettings, rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Steps of every concept, (B, L), at least 1 and 0 behind the end: tempo, then chance."""
    tempo = rng.lognormal(0.0, 0.15, (len(said.concepts), 1))
    each = rng.lognormal(0.0, 0.35, said.concepts.shape)
    scale = settings.steps_a_concept / np.exp((0.15**2 + 0.35**2) / 2)
    durations = np.rint(scale * tempo * each).astype(np.int64).clip(1)
    return np.where(said.concepts >= 0, durations, 0)


def _noise(
    lengths: npt.NDArray[np.int64], settings: StructuredSettings, rng: np.random.Generator
) -> FloatArray:
    """Autoregressive noise of every step: (longest, B, D) float32, the same norm at every step."""
    shape = (int(lengths.max()), len(lengths), settings.dimensions)
    noise = rng.standard_normal(shape, dtype=np.float32)
    noise *= np.float32(settings.noise / np.sqrt(settings.dimensions))
    kept = np.float32(settings.noise_memory)
    fresh = np.float32(np.sqrt(1 - settings.noise_memory**2))
    for step in range(1, len(noise)):
        noise[step] = kept * noise[step - 1] + fresh * noise[step]
    return noise


def _unit(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    unit: npt.NDArray[np.float64] = values / np.linalg.norm(values, axis=-1, keepdims=True)
    return unit


def _joined(parts: list[Sequences], settings: StructuredSettings) -> Sequences:
    """`parts` one behind the other."""
    if not parts:
        none = np.zeros((0, settings.dimensions), np.float32)
        return Sequences((), none, np.zeros(1, np.int64), STEP_SECONDS, _made_by(settings))
    lengths = np.concatenate([part.lengths for part in parts])
    return Sequences(
        tuple(name for part in parts for name in part.ids),
        np.concatenate([part.values for part in parts]),
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        STEP_SECONDS,
        _made_by(settings),
    )


def _made_by(settings: StructuredSettings) -> str:
    """All that changes an item's steps; how many items and queries there are does not."""
    said = repr(settings).partition("dimensions=")[2]
    return f"structured:{settings.dimensions};settings={zlib.crc32(said.encode()):08x}"


def _rng(settings: StructuredSettings, purpose: str, block: int) -> np.random.Generator:
    return np.random.default_rng([settings.seed, zlib.crc32(purpose.encode()), block])
