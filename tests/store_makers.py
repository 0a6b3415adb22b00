"""Makers for tests of the store: items, a payload that says whose it is, and what is stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from isogloss.search.store import Store, Writer
from isogloss.types import Item

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

VARIETIES = ("cmn", "yue", "hak")


def item(name: str, text: str = "", **fields: Any) -> Item:
    """An item; its variety follows from its id."""
    return Item(name, VARIETIES[len(name) % 3], text=text or f"says {name}", **fields)


def payload(items: Sequence[Item]) -> dict[str, np.ndarray[Any, Any]]:
    """Arrays of which one has a row an item and one any number, both made of the texts."""
    letters = [np.array([ord(c) for c in one.text or ""], dtype=np.uint32) for one in items]
    lengths = np.array([len(one) for one in letters], dtype=np.int64)
    empty = np.zeros(0, dtype=np.uint32)
    return {"letters": np.concatenate([empty, *letters]), "lengths": lengths}


def new_store(folder: Path, items: Sequence[Item] = ()) -> Store:
    """A store of `items`, in one segment."""
    store = Store.create(folder, kind="test", settings={"k": 4}, shared={"eye": np.eye(3)})
    return append(folder, items) if items else store


def append(folder: Path, items: Sequence[Item], *, replace: bool = False) -> Store:
    """The store after one more append."""
    with Writer(folder) as writer:
        writer.append(items, payload(items), replace=replace, per_item=["lengths"])
        writer.commit()
    return Store.open(folder)


def delete(folder: Path, ids: Iterable[str]) -> Store:
    """The store after deleting `ids`."""
    with Writer(folder) as writer:
        writer.delete(ids)
        writer.commit()
    return Store.open(folder)


def compact(folder: Path, numbers: Iterable[int] | None = None) -> Store:
    """The store with some of its segments (None: all) joined to one."""
    with Writer(folder) as writer:
        numbers = range(len(writer.store.segments)) if numbers is None else numbers
        segments = [writer.store.segments[number] for number in numbers]
        items = [one for segment in segments for one in segment.items()]
        names = [segment.name for segment in segments]
        writer.replace(names, items, payload(items), per_item=["lengths"])
        writer.commit()
    return Store.open(folder)


def contents(store: Store) -> dict[str, str]:
    """Id to text of all that is alive, the text taken from the payload."""
    found = {}
    for segment in store.segments:
        ends = np.cumsum(segment.arrays["lengths"])
        for row in np.flatnonzero(segment.alive).tolist():
            start = int(ends[row] - segment.arrays["lengths"][row])
            letters = segment.arrays["letters"][start : int(ends[row])]
            found[segment.id(row)] = "".join(map(chr, letters))
    return found


def files_of(folder: Path) -> list[Path]:
    """All files of an index that hold something of it."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "lock")
