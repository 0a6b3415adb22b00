"""A folder that gets its name when what is in it is whole: what indexes are built in."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

from isogloss.search.store_files import sync_folder
from isogloss.search.store_lock import exclusive

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["new_folder"]


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A folder beside `folder` to build in, which takes its name when the block ends well.

    So `folder` holds a whole index or nothing. What a killed build left beside it is removed.

    Raises:
        FileExistsError: `folder` is not empty.
        IndexLocked: another process is building there.
    """
    folder = folder.resolve()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(
            f"{folder}: not empty; append to the index that is there, or give a new folder"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    building = folder.with_name(f".{folder.name}.building")
    _remove(building)
    try:
        yield building
        # On POSIX a rename takes the place of an empty folder, in one step.
        building.replace(folder)
    except BaseException:
        _remove(building)
        raise
    sync_folder(folder.parent)


def _remove(building: Path) -> None:
    if building.exists():
        with exclusive(building):
            shutil.rmtree(building)
