"""A folder in, the index in it out, whichever kind it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from isogloss.errors import UnknownName
from isogloss.search.engine_place import is_engine_place
from isogloss.search.store import Store
from isogloss.search.vector_index import VectorIndex
from isogloss.search.vector_settings import VECTOR_KIND

if TYPE_CHECKING:
    from pathlib import Path

    from isogloss.search.sequence_index import SequenceIndex

__all__ = ["is_index", "open_index"]


def open_index(folder: str | Path) -> SequenceIndex | VectorIndex:
    """The index in `folder`, as it was last committed, or the one behind `postgresql://...`.

    Raises:
        FileNotFoundError: there is none.
        UnknownName: it holds a payload that this release does not know.
        ValueError: it is damaged, or of a newer format.
        MissingExtra: an index of sequences needs the extra `search`.
    """
    from isogloss.search.sequence_index import SEQUENCE_KIND, SequenceIndex

    if is_engine_place(folder):
        from isogloss.search.engine import EngineIndex

        # It answers the calls of a SequenceIndex; only `store` and what counts commits it has not.
        return cast("SequenceIndex", EngineIndex.open(folder))
    store = Store.open(folder)
    if store.kind == VECTOR_KIND:
        return VectorIndex(store)
    if store.kind == SEQUENCE_KIND:
        return SequenceIndex(store)
    raise UnknownName("kind of index", store.kind, (VECTOR_KIND, SEQUENCE_KIND))


def is_index(folder: Path) -> bool:
    """Whether `folder` holds an index, readable or not."""
    return (folder / "commit.json").is_file()
