"""What the indexes in a folder share: their items, and what a commit says of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np

from isogloss.search.index_protocol import ItemGroup
from isogloss.search.store import Store
from isogloss.search.store_commit import COMMIT_FILE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from isogloss.search.store import Filter
    from isogloss.types import Item

__all__ = ["StoredIndex"]


class StoredIndex:
    """One commit of a folder; the part of `SearchIndex` that does not ask what is stored.

    Attributes:
        store: the commit.
    """

    store: Store

    def __init__(self, store: Store) -> None:
        self.store = store

    @property
    def kind(self) -> str:
        """'sequences' or 'vectors'."""
        return self.store.kind

    @property
    def shown(self) -> str:
        """The folder."""
        return str(self.store.folder)

    @property
    def version(self) -> int:
        """Number of the commit."""
        return self.store.version

    @property
    def stamp(self) -> str:
        """The checksum of the commit."""
        return self.store.commit.sha256

    def mark(self) -> object:
        """Another one when the folder has another commit than at an earlier call.

        Raises:
            OSError: the folder is gone.
        """
        status = (self.store.folder / COMMIT_FILE).stat()
        return status.st_mtime_ns, status.st_ino

    def newest(self) -> Self:
        """The last commit of the folder, in another object.

        Raises:
            OSError, ValueError: it cannot be opened.
        """
        return type(self)(Store.open(self.store.folder))

    def __len__(self) -> int:
        return int(self.store.count)

    def ids(self, filter: Filter | None = None) -> list[str]:
        """Of all items, or of those that `filter` lets through, in order of storage."""
        found: list[str] = []
        for segment, mask in zip(self.store.segments, self.store.chosen(filter), strict=True):
            rows = np.flatnonzero(segment.alive if mask is None else mask)
            found += [segment.id(row) for row in rows.tolist()]
        return found

    def known(self, ids: Sequence[str]) -> set[str]:
        """Those of `ids` that are here."""
        places = self.store.find_all(ids)
        return {name for name, place in zip(ids, places, strict=True) if place is not None}

    def item(self, id: str) -> Item:
        """The item called `id`.

        Raises:
            ValueError: there is none.
        """
        return self.store.item(*self._place(id))

    def items(self, ids: Sequence[str]) -> dict[str, Item]:
        """The items of those of `ids` that are here."""
        places = zip(ids, self.store.find_all(ids), strict=True)
        return {name: self.store.item(*place) for name, place in places if place is not None}

    def groups(self) -> list[ItemGroup]:
        """All items, counted by variety and site."""
        counts: dict[tuple[str, str | None], int] = {}
        examples: dict[tuple[str, str | None], str] = {}
        for segment in self.store.segments:
            varieties, sites = segment.tables["variety"], segment.tables["site"]
            # -1 stands for 'no value'; one number for each pair of site and variety.
            width = len(varieties) + 1
            codes = segment.codes["site"].astype(np.int64) + 1
            codes = codes * width + segment.codes["variety"] + 1
            rows = np.flatnonzero(segment.alive)
            found = np.unique(codes[rows], return_index=True, return_counts=True)
            for code, at, count in zip(*(column.tolist() for column in found), strict=True):
                site, variety = divmod(code, width)
                key = varieties[variety - 1] if variety else "", sites[site - 1] if site else None
                counts[key] = counts.get(key, 0) + count
                if key not in examples:
                    examples[key] = segment.id(int(rows[at]))
        return [ItemGroup(*key, count, examples[key]) for key, count in counts.items()]

    def figures(self) -> dict[str, int]:
        """Segments, and bytes of all files in the folder."""
        files = (path.stat() for path in self.store.folder.rglob("*") if path.is_file())
        return {
            "segments": len(self.store.segments),
            "bytes": sum(status.st_size for status in files),
        }

    def close(self) -> None:
        """Nothing: mapped files close with the object."""

    def _place(self, id: str) -> tuple[int, int]:
        place = self.store.find(id)
        if place is None:
            raise ValueError(f"the index has no item '{id}'")
        return place
