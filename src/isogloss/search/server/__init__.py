"""A search index behind HTTP: search, embeddings, transcriptions, items with sound, and a page."""

from isogloss.search.server.settings import ServeSettings

__all__ = ["ServeSettings"]
