"""Which sentences of a document translate which of its translation? Strict and lax F1.

    sentences -> blocks of neighbours -> vectors -> costs -> cheapest monotone path -> blocks

A corpus whose items say their document and line (see the reader `aligned_documents`) and an encoder
in; strict and lax F1 out, beside two floors by the same path: edit distance and lengths alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path  # noqa: TC003  (recipes are read by the fields' types)
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from isogloss import __version__
from isogloss.corpora.progress import with_progress
from isogloss.encoders.item_text import text_of
from isogloss.measures.sentence_links import sentence_alignment_scores
from isogloss.scores.sentence_path import block_shapes
from isogloss.tasks.block_costs import EditBlocks, LengthBlocks, VectorBlocks, align_documents
from isogloss.tasks.comparison import at_layer
from isogloss.tasks.sentences import as_read, reader_of, vectors_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from isogloss.measures.sentence_links import Block
    from isogloss.types import Corpus, Encoder, FloatArray, Item, Measurement

__all__ = ["Document", "SentenceAlignment", "documents_of"]


@dataclass(frozen=True, slots=True)
class Document:
    """One document in two varieties: sentences in their order, and the gold blocks."""

    name: str
    sides: tuple[tuple[Item, ...], tuple[Item, ...]]
    gold: tuple[Block, ...]


@dataclass(frozen=True)
class SentenceAlignment:
    """Sentence alignment of documents, against the gold blocks that shared meanings give.

    A block of m and n sentences costs

        m n (1 - cos(x, y)) / (mean over y' of 1 - cos(x, y') + mean over x' of 1 - cos(x', y))

    where y' and x' are single sentences drawn from the document, so that sentences that are like
    everything are no bargain. The path of least cost may leave sentences alone at a price.

    Attributes:
        split: only items of this split; None for all.
        layer: layer of the encoder, where the encoder can change it; None keeps the encoder's own.
        pool: how steps become the vector of a block.
        blocks: 'text' encodes the joined text of a block's sentences; 'sum' adds their vectors,
            which is faster, and all that recordings allow.
        most: sentences of both sides together in one block.
        skip: price of a sentence left alone, as the share of random pairs that are cheaper.
        sampled: sentences drawn for the means; 0 divides by nothing.
        floors: whether edit distance and lengths are measured too ('... by edit', '... by length').
        width: columns to each side of a first, coarse path that is searched in long documents, and
            of the path by lengths for edit distance.
        dense: cells of the table of two documents up to which all of it is searched.
        bootstrap: resamples of documents for every interval; 0 for none.
        level: of every interval.
        seed: of the draws.
        cache_dir: where encoded items are kept; does not change a number.
        progress: bars on stderr; does not change a number.

    Source: Vecalign (Thompson and Koehn 2019), without its randomised approximation of large
    blocks; lengths as Gale and Church (1993).
    """

    split: str | None = "test"
    layer: int | None = None
    pool: str = "mean"
    blocks: Literal["text", "sum"] = "text"
    most: int = 5
    skip: float = 0.2
    sampled: int = 100
    floors: bool = True
    width: int = 20
    dense: int = 1_000_000
    bootstrap: int = 1000
    level: float = 0.95
    seed: int = 0
    cache_dir: Path | None = None
    progress: bool = False

    def __post_init__(self) -> None:
        block_shapes(self.most)
        if self.blocks not in ("text", "sum"):
            raise ValueError(f"blocks '{self.blocks}' is not text or sum")
        if not 0 <= self.skip <= 1:
            raise ValueError(f"skip is a share between 0 and 1, got {self.skip}")
        if self.sampled < 0 or self.width < 1 or self.dense < 1 or self.bootstrap < 0:
            raise ValueError(
                "sampled and bootstrap must not be negative, width and dense must be at least 1, "
                f"got {self.sampled}, {self.bootstrap}, {self.width}, {self.dense}"
            )

    def run(self, corpus: Corpus, encoder: Encoder) -> list[Measurement]:
        """Strict and lax F1, precision and recall; with floors, those of each behind its name.

        Raises:
            ValueError: the corpus has no document with gold blocks in two varieties; a sentence has
                neither text nor audio; a vector holds NaN or infinity.
        """
        encoder = reader_of(at_layer(encoder, self.layer), hear=self.blocks == "sum")
        documents = documents_of(corpus, self.split)
        signature = self._signature(corpus, encoder, documents)
        found: dict[str, dict[str, list[Block]]] = {"": {}}
        bar = with_progress(documents, "aligning", total=len(documents))
        for document in bar if self.progress else documents:
            blocks = self._vectors(document, encoder)
            path = align_documents(
                blocks, skip=self.skip, most=self.most, width=self.width, dense=self.dense
            )
            found[""][document.name] = path
            if self.floors and not any(item.audio for side in document.sides for item in side):
                for name, answer in self._floors(document).items():
                    found.setdefault(f" by {name}", {})[document.name] = answer
        measured: list[Measurement] = []
        for suffix, answers in found.items():
            own = {**signature, "similarity": suffix.removeprefix(" by ") or "cosine"}
            scores = sentence_alignment_scores(
                {d.name: (d.gold, answers[d.name]) for d in documents if d.name in answers},
                resamples=self.bootstrap,
                level=self.level,
                seed=self.seed,
                signature=own,
            )
            measured += [replace(m, name=f"{m.name}{suffix}") for m in scores]
        return measured

    def _vectors(self, document: Document, encoder: Encoder) -> VectorBlocks:
        hear = self.blocks == "sum"
        largest = self.most - 1
        sides: list[list[FloatArray]] = []
        for side in document.sides:
            single = vectors_of(
                [as_read(item, hear=hear) for item in side],
                encoder,
                pool=self.pool,
                cache_dir=self.cache_dir,
            ).values
            tables = [single]
            for size in range(2, largest + 1):
                starts = range(len(side) - size + 1)
                if hear:
                    rows = [single[start : start + size].sum(axis=0) for start in starts]
                    tables.append(np.array(rows, dtype=np.float32).reshape(-1, single.shape[1]))
                elif starts:
                    joined = [_joined(side[start : start + size]) for start in starts]
                    tables.append(
                        vectors_of(joined, encoder, pool=self.pool, cache_dir=self.cache_dir).values
                    )
                else:
                    tables.append(single[:0])
            sides.append(tables)
        return VectorBlocks(sides[0], sides[1], sampled=self.sampled, seed=self.seed)

    def _floors(self, document: Document) -> dict[str, list[Block]]:
        texts = [[text_of(item) for item in side] for side in document.sides]
        options: dict[str, Any] = {"most": self.most, "width": self.width}
        by_length = align_documents(
            LengthBlocks(*texts), skip=self.skip, dense=max(self.dense, 4_000_000), **options
        )
        by_edit = align_documents(
            EditBlocks(*texts, sampled=min(self.sampled, 20), seed=self.seed),
            skip=self.skip,
            dense=0,
            near=by_length,
            **options,
        )
        return {"length": by_length, "edit": by_edit}

    def _signature(
        self, corpus: Corpus, encoder: Encoder, documents: Sequence[Document]
    ) -> dict[str, Any]:
        return {
            "task": "sentence-alignment",
            "encoder": encoder.made_by,
            "corpus": corpus.name,
            "corpus_sha": corpus.sha,
            "split": self.split,
            "documents": len(documents),
            "pool": self.pool,
            "blocks": self.blocks,
            "most": self.most,
            "skip": self.skip,
            "sampled": self.sampled,
            "seed": self.seed,
            "isogloss": __version__,
        }


def documents_of(corpus: Corpus, split: str | None) -> list[Document]:
    """The documents of a corpus whose items say `document` and `line` in `extra`, by name.

    Sentences of one document that share a meaning are one gold block; a sentence without meaning,
    or whose meaning the other side lacks, is a block of its own with one side.

    Raises:
        ValueError: there is no such document, one has not two varieties, or an item of it has no
            line, no whole number for one, or that of another item.
    """
    by_name: dict[str, list[Item]] = {}
    for item in corpus.items:
        if "document" in item.extra and (split is None or item.split in (None, split)):
            by_name.setdefault(item.extra["document"], []).append(item)
    if not by_name:
        raise ValueError(
            f"corpus '{corpus.name}' has no documents"
            + ("" if split is None else f" in split '{split}'")
            + "; items need `document` and `line` in `extra`, as the reader aligned_documents "
            "writes them"
        )
    return [_document(name, items) for name, items in sorted(by_name.items())]


def _document(name: str, items: Sequence[Item]) -> Document:
    varieties = list(dict.fromkeys(item.variety for item in items))
    if len(varieties) != 2:
        raise ValueError(
            f"document '{name}' is in {len(varieties)} varieties ({', '.join(varieties)}); "
            "sentence alignment needs two"
        )
    first, second = (_in_order([i for i in items if i.variety == code]) for code in varieties)
    members: dict[str, tuple[list[int], list[int]]] = {}
    for column, side in enumerate((first, second)):
        for number, item in enumerate(side):
            key = item.meaning if item.meaning is not None else f"\0{column}:{number}"
            members.setdefault(key, ([], []))[column].append(number)
    gold: list[Block] = []
    for left, right in members.values():
        if left and right:
            gold.append((tuple(left), tuple(right)))
        else:
            gold += [*(((i,), ()) for i in left), *(((), (j,)) for j in right)]
    return Document(name, (first, second), tuple(sorted(gold)))


def _in_order(items: Sequence[Item]) -> tuple[Item, ...]:
    """The sentences of one side by their lines."""
    by_line: dict[int, Item] = {}
    for item in items:
        said = item.extra.get("line", "")
        if not said.isdecimal():
            raise ValueError(
                f"item '{item.id}' of document '{item.extra['document']}' has the line {said!r}; "
                "extra needs `line`, the number of the sentence in its document"
            )
        if int(said) in by_line:
            raise ValueError(
                f"items '{by_line[int(said)].id}' and '{item.id}' both stand in line {said} of "
                f"document '{item.extra['document']}'"
            )
        by_line[int(said)] = item
    return tuple(by_line[line] for line in sorted(by_line))


def _joined(items: Sequence[Item]) -> Item:
    """Neighbouring sentences as one item."""
    first, last = items[0], items[-1]
    text = " ".join(text_of(item) for item in items)
    return replace(
        as_read(first), id=f"{first.id}..{last.extra['line']}", text=text, words=(), meaning=None
    )
