"""Search: neighbours, exact and from an index, in a folder or an engine; mining of pairs; a server.

Names are loaded when they are first used, so importing this package reads neither numba nor faiss.
Mining is `isogloss.search.mine.mine`, work shared among machines `isogloss.search.distributed`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from isogloss.search.asking import ask
    from isogloss.search.encoder_note import encode_for, load_for
    from isogloss.search.engine import EngineIndex
    from isogloss.search.exact import nearest
    from isogloss.search.from_recordings import append_recordings, index_recordings, index_steps
    from isogloss.search.index_protocol import IndexUnavailable, SearchIndex
    from isogloss.search.index_settings import IndexSettings
    from isogloss.search.open import open_index
    from isogloss.search.ranking import Ranking
    from isogloss.search.sequence_index import SequenceIndex
    from isogloss.search.store import Filter, verify
    from isogloss.search.vector_index import VectorIndex
    from isogloss.search.vector_settings import VectorSettings

__all__ = [
    "EngineIndex",
    "Filter",
    "IndexSettings",
    "IndexUnavailable",
    "Ranking",
    "SearchIndex",
    "SequenceIndex",
    "VectorIndex",
    "VectorSettings",
    "append_recordings",
    "ask",
    "encode_for",
    "index_recordings",
    "index_steps",
    "load_for",
    "nearest",
    "open_index",
    "verify",
]

_HOMES = {
    "EngineIndex": "engine",
    "Filter": "store",
    "IndexSettings": "index_settings",
    "IndexUnavailable": "index_protocol",
    "Ranking": "ranking",
    "SearchIndex": "index_protocol",
    "SequenceIndex": "sequence_index",
    "VectorIndex": "vector_index",
    "VectorSettings": "vector_settings",
    "append_recordings": "from_recordings",
    "ask": "asking",
    "encode_for": "encoder_note",
    "index_recordings": "from_recordings",
    "index_steps": "from_recordings",
    "load_for": "encoder_note",
    "nearest": "exact",
    "open_index": "open",
    "verify": "store",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
