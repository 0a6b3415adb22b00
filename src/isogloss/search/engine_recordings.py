"""Recordings in, an engine index out: what `from_recordings` does for an index in a folder."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from isogloss.encoders.shards import encode_to_folder, read_folder
from isogloss.search.encoder_note import write_note
from isogloss.search.engine import EngineIndex
from isogloss.search.engine_place import EnginePlace
from isogloss.search.from_recordings import Indexed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from isogloss.search.index_settings import IndexSettings
    from isogloss.types import Item, Sequences

__all__ = ["engine_from_recordings", "engine_from_steps"]


def engine_from_recordings(
    place: str | Path,
    items: Sequence[Item],
    encoder: str,
    *,
    layer: int | None = None,
    device: str = "cpu",
    cache_dir: Path | None = None,
    ray_workers: int = 0,
    ray_address: str | None = None,
    settings: IndexSettings | None = None,
) -> Indexed:
    """A new engine index of `items` at `place`, a folder or `postgresql://...`.

    Steps are encoded into a folder first, `NAME.building` beside the index or, for an index on
    servers, in the working directory; the same call goes on with it, and it is removed in the end.

    Args:
        place: where the index goes.
        items: with audio and different ids.
        encoder: a name for `load_encoder`.
        layer: of the encoder.
        device: of the encoder.
        cache_dir: folder in which every recording is kept.
        ray_workers: 0 encodes here; more start that many Ray workers.
        ray_address: of a running Ray cluster.
        settings: of the index.

    Raises:
        IsoglossError, ValueError: as `encode_to_folder` and `EngineIndex.build`.
    """
    where = EnginePlace.of(place)
    # Refused before hours of encoding, not after them.
    where.refuse_other_files()
    building = where.beside("building")
    done = encode_to_folder(
        encoder,
        items,
        building,
        layer=layer,
        device=device,
        cache_dir=cache_dir,
        ray_workers=ray_workers,
        ray_address=ray_address,
    )
    put = engine_from_steps(
        place, read_folder(building), items, encoder=encoder, layer=layer, settings=settings
    )
    shutil.rmtree(building)
    return Indexed(put.folder, put.items, put.steps, put.made_by, done.skipped)


def engine_from_steps(
    place: str | Path,
    sequences: Sequences,
    items: Iterable[Item],
    *,
    encoder: str | None = None,
    layer: int | None = None,
    settings: IndexSettings | None = None,
) -> Indexed:
    """A new engine index of steps that are there already, such as those of `read_folder`.

    Args:
        place: where the index goes.
        sequences: the steps.
        items: at least those of `sequences`, found by their ids.
        encoder: noted in the folder of an embedded index; nothing is loaded here.
        layer: to be noted.
        settings: of the index.

    Raises:
        ValueError: an id of `sequences` has no item.
    """
    known = {item.id: item for item in items}
    missing = [name for name in sequences.ids if name not in known]
    if missing:
        raise ValueError(
            f"{len(missing)} of {len(sequences)} ids have no item, '{missing[0]}' is one; give "
            "the manifest that the steps were encoded from"
        )
    own = [known[name] for name in sequences.ids]
    with EngineIndex.build(place, sequences, own, settings=settings) as index:
        where = index.place
        if where.folder is not None and encoder is not None:
            write_note(where.folder, encoder, layer)
    return Indexed(
        where.folder or str(where), len(sequences), len(sequences.values), sequences.made_by
    )
