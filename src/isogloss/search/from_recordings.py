"""Recordings in, an index out: encoded share by share beside the index, then put into it.

    items --encode_to_folder--> INDEX.building/steps --SequenceIndex.build--> INDEX

A build or an append that was killed goes on with the same call: shares that were encoded stay. A
new index appears under its name by one rename, when it is whole.
"""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from isogloss.encoders.pool import mean_pool
from isogloss.encoders.registry import load_encoder
from isogloss.encoders.shards import encode_to_folder, read_folder
from isogloss.errors import IsoglossError
from isogloss.search.encoder_note import load_for, read_note, write_note
from isogloss.search.engine_place import EnginePlace, is_engine_url
from isogloss.search.open import open_index
from isogloss.search.sequence_index import SequenceIndex
from isogloss.search.store_lock import LOCK_FILE, exclusive
from isogloss.search.stored_index import StoredIndex
from isogloss.search.vector_index import VectorIndex
from isogloss.search.vector_settings import VECTOR_KIND
from isogloss.types import Sequences, Vectors

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from isogloss.search.index_protocol import SearchIndex
    from isogloss.search.index_settings import IndexSettings
    from isogloss.search.vector_settings import VectorSettings
    from isogloss.types import Item

__all__ = ["Indexed", "append_recordings", "index_recordings", "index_steps"]

_ITEMS_POOLED_AT_ONCE = 4096


@dataclass(frozen=True, slots=True)
class Indexed:
    """What was put into an index: items and steps, and (id, reason) of what was left out.

    `folder` is a text without a password where the index lies on a server.
    """

    folder: Path | str
    items: int
    steps: int
    made_by: str
    skipped: tuple[tuple[str, str], ...] = ()


def index_recordings(
    folder: Path,
    items: Sequence[Item],
    encoder: str,
    *,
    layer: int | None = None,
    device: str = "cpu",
    cache_dir: Path | None = None,
    ray_workers: int = 0,
    ray_address: str | None = None,
    settings: IndexSettings | VectorSettings | None = None,
    pooled: bool = False,
) -> Indexed:
    """A new index of `items` in `folder`, and in it a note which encoder made it.

    Args:
        folder: absent or empty; `folder.building` beside it holds what is not finished, and is
            removed in the end.
        items: with audio and different ids.
        encoder: a name for `load_encoder`.
        layer: of the encoder.
        device: of the encoder.
        cache_dir: folder in which every recording is kept.
        ray_workers: 0 encodes here; more start that many Ray workers.
        ray_address: of a running Ray cluster.
        settings: of the index; `VectorSettings` with `pooled`, else `IndexSettings`.
        pooled: keep one mean vector an item instead of its steps.

    Raises:
        FileExistsError: `folder` is taken.
        IndexLocked: another process builds there.
        IsoglossError, ValueError: as `encode_to_folder` and the index's own `build`.
    """
    _refuse_taken(folder)
    with _unfinished(_beside(folder, "building")) as building:
        _refuse_taken(folder)  # by who held the lock until now
        done = encode_to_folder(
            encoder,
            items,
            building / "steps",
            layer=layer,
            device=device,
            cache_dir=cache_dir,
            ray_workers=ray_workers,
            ray_address=ray_address,
        )
        sequences = read_folder(building / "steps")
        own = _in_order(sequences.ids, items)
        if ray_workers and not pooled:
            put = _put_by_ray(building, own, settings, ray_workers, ray_address)
        else:
            put = _put(building, sequences, own, settings, pooled)
        write_note(put, encoder, layer)
        _publish(put, folder, building)
    return Indexed(folder, done.items, done.steps, done.made_by, done.skipped)


def index_steps(
    folder: Path,
    sequences: Sequences,
    items: Iterable[Item],
    *,
    encoder: str | None = None,
    layer: int | None = None,
    settings: IndexSettings | VectorSettings | None = None,
    pooled: bool = False,
) -> Indexed:
    """A new index of steps that are there already, such as those of `read_folder`.

    Args:
        folder: as in `index_recordings`.
        sequences: the steps.
        items: at least those of `sequences`, found by their ids.
        encoder: the name to be noted, for `load_encoder`; loaded once, to refuse another one than
            that of the steps.
        layer: to be noted.
        settings: of the index.
        pooled: keep one mean vector an item instead of its steps.

    Raises:
        ValueError: an id of `sequences` has no item.
        IsoglossError: `encoder` did not make the steps.
        FileExistsError: `folder` is taken.
    """
    _refuse_taken(folder)
    own = _in_order(sequences.ids, items)
    if encoder is not None:
        _refuse_other(encoder, layer, sequences)
    with _unfinished(_beside(folder, "building")) as building:
        _refuse_taken(folder)
        put = _put(building, sequences, own, settings, pooled)
        if encoder is not None:
            write_note(put, encoder, layer)
        _publish(put, folder, building)
    return Indexed(folder, len(sequences), len(sequences.values), sequences.made_by)


def append_recordings(
    place: Path | str,
    items: Sequence[Item],
    *,
    encoder: str | None = None,
    layer: int | None = None,
    device: str = "cpu",
    cache_dir: Path | None = None,
    replace: bool = False,
) -> Indexed:
    """Put `items` into the index at `place`, in one commit.

    Args:
        place: folder of the index, or URL; `NAME.appending` beside it, or in the working directory
            where it lies on a server, holds what is not finished.
        items: with audio and ids that the index does not have.
        encoder: a name for `load_encoder`; None takes what the index notes.
        layer: of the encoder.
        device: of the encoder.
        cache_dir: folder in which every recording is kept.
        replace: an id that the index has takes the new recording; without it that is refused.

    Raises:
        IsoglossError: the encoder is unknown or another one, or another process appends.
        PermissionError: this user may not write to the index.
        ValueError: an id is there already.
    """
    index = open_index(place)
    _refuse_unwritable(index)
    if encoder is None:
        note = read_note(place)
        encoder = None if note is None else note.encoder
        layer = note.layer if note is not None and layer is None else layer
    # Refused before hours of encoding, not after them.
    loaded = load_for(index, place, encoder, layer=layer, device=device)
    del loaded
    if not replace:
        _refuse_known(index, items)
    with _unfinished(EnginePlace.of(place).beside("appending")) as appending:
        steps = appending / "steps"
        done = encode_to_folder(
            str(encoder), items, steps, layer=layer, device=device, cache_dir=cache_dir
        )
        sequences = read_folder(steps)
        own = _in_order(sequences.ids, items)
        index.append(
            _pooled(sequences) if index.kind == VECTOR_KIND else sequences, own, replace=replace
        )
        index.close()
        shutil.rmtree(appending)
    shown = index.shown if is_engine_url(place) else Path(place)
    return Indexed(shown, done.items, done.steps, done.made_by, done.skipped)


def _refuse_taken(folder: Path) -> None:
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise FileExistsError(
            f"{folder} is there already; append to it, or choose another folder for the index"
        )


def _refuse_known(index: SearchIndex, items: Sequence[Item]) -> None:
    known = index.known([item.id for item in items])
    if known:
        raise ValueError(
            f"{len(known)} of {len(items)} ids are in the index already, '{min(known)}' is one; "
            "replace them, or delete them first"
        )


def _refuse_other(encoder: str, layer: int | None, sequences: Sequences) -> None:
    made_by = load_encoder(encoder, layer=layer).made_by
    if made_by != sequences.made_by:
        raise IsoglossError(
            f"the steps were made by {sequences.made_by}, {encoder} is {made_by}; name the encoder "
            "and layer of the steps, or none"
        )


def _refuse_unwritable(index: SearchIndex) -> None:
    if isinstance(index, StoredIndex) and not os.access(index.store.folder, os.W_OK):
        raise PermissionError(f"{index.shown}: this user may not write to the index")


def _beside(folder: Path, suffix: str) -> Path:
    whole = folder.resolve()  # "." has no name to put something behind
    return whole.with_name(f"{whole.name}.{suffix}")


@contextmanager
def _unfinished(folder: Path) -> Iterator[Path]:
    """`folder`, made where it is absent and this process's alone; removed again when left empty."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with exclusive(folder):
            yield folder
    finally:
        with suppress(OSError):
            if [path.name for path in folder.iterdir()] == [LOCK_FILE]:
                shutil.rmtree(folder)


def _put(
    building: Path,
    sequences: Sequences,
    items: list[Item],
    settings: IndexSettings | VectorSettings | None,
    pooled: bool,
) -> Path:
    """The index in `building`, complete but not yet under its name."""
    from isogloss.search.index_settings import IndexSettings
    from isogloss.search.vector_settings import VectorSettings

    put = building / "index"
    # What a killed build left is no index; the steps, which cost the time, are kept.
    if put.exists():
        shutil.rmtree(put)
    wanted: type[IndexSettings | VectorSettings] = VectorSettings if pooled else IndexSettings
    if settings is not None and not isinstance(settings, wanted):
        raise ValueError(f"settings must be {wanted.__name__}, got {type(settings).__name__}")
    if isinstance(settings, VectorSettings) or pooled:
        own = settings if isinstance(settings, VectorSettings) else None
        VectorIndex.build(put, _pooled(sequences), items, settings=own)
    else:
        SequenceIndex.build(put, sequences, items, settings=settings or IndexSettings())
    return put


def _put_by_ray(
    building: Path,
    items: list[Item],
    settings: IndexSettings | VectorSettings | None,
    workers: int,
    address: str | None,
) -> Path:
    """As `_put`, byte for byte, the shards done by Ray workers and kept until all are."""
    from isogloss.search.distributed import build_distributed
    from isogloss.search.index_settings import IndexSettings

    put = building / "index"
    if put.exists():
        shutil.rmtree(put)
    if settings is not None and not isinstance(settings, IndexSettings):
        raise ValueError(f"settings must be IndexSettings, got {type(settings).__name__}")
    build_distributed(
        put,
        building / "steps",
        items,
        work_folder=building / "shards",
        settings=settings,
        ray_workers=workers,
        ray_address=address,
    )
    return put


def _publish(put: Path, folder: Path, building: Path) -> None:
    if folder.is_dir():
        folder.rmdir()
    put.rename(folder)
    shutil.rmtree(building)


def _in_order(ids: Sequence[str], items: Iterable[Item]) -> list[Item]:
    known = {item.id: item for item in items}
    missing = [name for name in ids if name not in known]
    if missing:
        raise ValueError(
            f"{len(missing)} of {len(ids)} ids have no item, '{missing[0]}' is one; give the "
            "manifest that the steps were encoded from"
        )
    return [known[name] for name in ids]


def _pooled(sequences: Sequences) -> Vectors:
    """Means of all steps, a few thousand items of the mapped file at a time."""
    parts = []
    for first in range(0, len(sequences), _ITEMS_POOLED_AT_ONCE):
        last = min(first + _ITEMS_POOLED_AT_ONCE, len(sequences))
        start, stop = sequences.offsets[first], sequences.offsets[last]
        piece = Sequences(
            sequences.ids[first:last],
            np.asarray(sequences.values[start:stop]),
            sequences.offsets[first : last + 1] - start,
            sequences.step_seconds,
            sequences.made_by,
        )
        parts.append(mean_pool(piece))
    if not parts:
        raise IsoglossError("there is no item to pool")
    values = np.concatenate([part.values for part in parts])
    return Vectors(sequences.ids, values, parts[0].made_by)
