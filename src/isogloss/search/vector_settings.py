"""How an index of vectors is built and asked: every choice, its default and where that is from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["VECTOR_KIND", "VectorSettings"]

VECTOR_KIND = "vectors"
"""What the store of such an index calls its payload."""


@dataclass(frozen=True, slots=True)
class VectorSettings:
    """Choices of an index of vectors; all but `breadth` are fixed when it is built.

    Attributes:
        center: cosines are taken after subtracting the mean of the vectors the index is built
            from. Encoders give all utterances a large mean in common, which squeezes every cosine
            towards 1 and hides what differs.
        graph: "hnsw" gives every segment of `flat_below` rows or more a graph that finds
            candidates; "none" reads every row for every query, which is exact.
        flat_below: a search among fewer rows than this reads them all. Reading 20,000 rows of 192
            dimensions takes 2 ms, no longer than walking a graph with a filter on it.
        segment_items: rows of a segment, at most: what building and compacting hold in memory.
        links: neighbours of a node of the graph; 32 as in the measurements of faiss.
        build_breadth: nodes kept while a node is put into the graph.
        breadth: nodes kept while the graph is searched, and candidates scored in float32.
    """

    center: bool = True
    graph: Literal["hnsw", "none"] = "hnsw"
    flat_below: int = 20_000
    segment_items: int = 262_144
    links: int = 32
    build_breadth: int = 100
    breadth: int = 128

    def __post_init__(self) -> None:
        for name in ("flat_below", "segment_items", "links", "build_breadth", "breadth"):
            value = getattr(self, name)
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if self.links < 2:
            raise ValueError(f"links must be at least 2, got {self.links}")
        if self.graph not in ("hnsw", "none"):
            raise ValueError(f"graph must be 'hnsw' or 'none', got {self.graph!r}")
