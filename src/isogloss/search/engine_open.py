"""An engine index opened and begun: its shards, its transactions, its tables."""

from __future__ import annotations

import contextlib
import io
import json
import uuid
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from isogloss.errors import IsoglossError
from isogloss.search.engine_shard import EngineShard
from isogloss.search.units import Units

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from isogloss.search.engine_place import EnginePlace
    from isogloss.search.index_settings import IndexSettings
    from isogloss.types import Sequences

__all__ = ["create_tables", "described", "opened", "transactions", "units_of"]

_FORMAT = 1


def described(shards: Sequence[EngineShard]) -> dict[str, Any]:
    """What the index says of itself, when `shards` are those that it was built with, in order.

    Raises:
        IsoglossError: they are not, or were written by another version.
    """
    about: list[dict[str, Any]] = [json.loads(shard.get("about")) for shard in shards]
    for number, found in enumerate(about):
        if found["format"] != _FORMAT:
            raise IsoglossError(
                f"{shards[number].shown}: format {found['format']} was written by another "
                "version; build the index again"
            )
        place = (found["uid"], found["shard"], found["shards"])
        if place != (about[0]["uid"], number, len(shards)):
            raise IsoglossError(
                f"{shards[number].shown} is shard {found['shard'] + 1} of {found['shards']} of an "
                f"index, not shard {number + 1} of {len(shards)} of this one; give the URLs that "
                "the index was built with, in that order"
            )
    return about[0]


def units_of(shard: EngineShard) -> Units:
    """The units that the index was built with."""
    with np.load(io.BytesIO(shard.get("units")), allow_pickle=False) as file:
        return Units(file["mean"], file["centroids"], file["prototypes"], float(file["error"]))


def opened(place: EnginePlace) -> list[EngineShard]:
    """The shards of `place`, connected.

    Raises:
        IsoglossError: a server cannot be reached, or has no pgvector.
    """
    shards: list[EngineShard] = []
    try:
        for number in range(place.shards):
            shards.append(
                EngineShard(lambda n=number: place.connect(n), place.name, place.shown(number))  # type: ignore[misc]
            )
    except BaseException:
        for shard in shards:
            shard.close()
        raise
    return shards


def create_tables(
    shards: Sequence[EngineShard],
    units: Units,
    settings: IndexSettings,
    first: Sequences,
) -> None:
    """Make the tables of every shard; part of the caller's transactions.

    Raises:
        IsoglossError: such an index is there, or another process makes it at this moment.
    """
    stored = io.BytesIO()
    np.savez(
        stored,
        mean=units.mean,
        centroids=units.centroids,
        prototypes=units.prototypes,
        error=np.array(units.error),
    )
    about = {
        "format": _FORMAT,
        "uid": uuid.uuid4().hex,
        "shards": len(shards),
        "made_by": first.made_by,
        "step_seconds": first.step_seconds,
        "settings": asdict(settings),
    }
    for number, shard in enumerate(shards):
        shard.create(
            units=units.count,
            dimensions=units.prototypes.shape[1],
            about={
                "about": json.dumps({**about, "shard": number}).encode(),
                "units": stored.getvalue(),
                "counts": np.zeros(units.count, "<i8").tobytes(),
                "version": b"0",
            },
        )


@contextlib.contextmanager
def transactions(shards: Sequence[EngineShard]) -> Iterator[None]:
    """A transaction in every shard; they are committed one after another at the end."""
    with contextlib.ExitStack() as stack:
        for shard in shards:
            stack.enter_context(shard.transaction())
        yield
