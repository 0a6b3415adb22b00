"""A folder or a URL in, the index there out, whichever kind it is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from isogloss.errors import UnknownName
from isogloss.search.engine_place import is_engine_place
from isogloss.search.store import Store
from isogloss.search.store_commit import COMMIT_FILE
from isogloss.search.vector_index import VectorIndex
from isogloss.search.vector_settings import VECTOR_KIND

if TYPE_CHECKING:
    from isogloss.search.index_protocol import SearchIndex

__all__ = ["is_index", "open_index"]


def open_index(place: str | Path) -> SearchIndex:
    """The index in the folder `place`, as it was last committed, or the one at `postgresql://...`.

    Raises:
        FileNotFoundError: there is none.
        UnknownName: it holds a payload that this release does not know.
        ValueError: it is damaged, or of a newer format.
        IndexUnavailable: a server does not answer.
        MissingExtra: an index of sequences needs the extra `search`, one in an engine `engine`.
    """
    from isogloss.search.sequence_index import SEQUENCE_KIND, SequenceIndex

    if is_engine_place(place):
        from isogloss.search.engine import EngineIndex

        return EngineIndex.open(place)
    store = Store.open(place)
    if store.kind == VECTOR_KIND:
        return VectorIndex(store)
    if store.kind == SEQUENCE_KIND:
        return SequenceIndex(store)
    raise UnknownName("kind of index", store.kind, (VECTOR_KIND, SEQUENCE_KIND))


def is_index(place: str | Path) -> bool:
    """Whether `place` is a folder that holds an index, readable or not, or names an engine's."""
    return is_engine_place(place) or (Path(place) / COMMIT_FILE).is_file()
