"""A model by name, or a folder of steps, and items in; vectors or steps of chosen layers out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isogloss.adapt.folders import fitted_for
from isogloss.corpora.progress import with_progress
from isogloss.encoders import encode_cached, load_encoder
from isogloss.encoders.pool import pool as pooled_by
from isogloss.encoders.shards import read_folder
from isogloss.errors import AudioError, IsoglossError, TextError
from isogloss.types import Sequences, Vectors

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from isogloss.adapt.transform import Fitted
    from isogloss.types import Encoder, Item

__all__ = ["STEPS", "ModelVectors", "encode_model", "made_alike"]

STEPS = "steps"
"""In the place of a way to pool: keep the steps."""

_ITEMS_AT_ONCE = 64


@dataclass(frozen=True, slots=True, eq=False)
class ModelVectors:
    """What one layer of a model gives for items.

    Attributes:
        model: its name as asked for.
        layer: which one; None is the model's own.
        vectors: pooled, or steps.
        items: in the order of `vectors`.
        skipped: (id, reason) of items that could not be encoded.
        fitted: what a transform behind a folder of vectors was fitted on.
    """

    model: str
    layer: int | None
    vectors: Vectors | Sequences
    items: tuple[Item, ...]
    skipped: tuple[tuple[str, str], ...] = ()
    fitted: Fitted | None = None

    @property
    def varieties(self) -> list[str]:
        """One an item."""
        return [item.variety for item in self.items]

    @property
    def meanings(self) -> list[str | None]:
        """One an item."""
        return [item.meaning for item in self.items]


def encode_model(
    model: str,
    items: Sequence[Item],
    *,
    layers: Sequence[int] | str | None = None,
    pool: str = "mean",
    device: str = "cpu",
    cache: Path | None = None,
    progress: bool = True,
    like: str | None = None,
) -> list[ModelVectors]:
    """The vectors of `items` at each of `layers`.

    Args:
        model: a name for `load_encoder`, or a folder that `speech encode` or `adapt apply` wrote.
        items: what to encode; their ids are looked up in a folder.
        layers: numbers, 'all', or None for the model's own; a folder has no others.
        pool: how an item's steps become one vector (`isogloss.encoders.pool`), or 'steps' to keep
            them.
        device: of the encoder.
        cache: folder of single encoded items; None keeps nothing.
        progress: a bar on stderr.
        like: `made_by` of other vectors; without `layers` an encoder gives the layer that they
            are of.

    Raises:
        ValueError: no items, two with the same id, or the model has no such layer.
        IsoglossError: nothing could be encoded, a folder has none of the items, or no layer of an
            encoder is `like` the other vectors.
        UnknownName: no such encoder.
    """
    if not items:
        raise ValueError("there is no item to encode")
    if len({item.id for item in items}) < len(items):
        raise ValueError("ids repeat; isogloss corpus check names them")
    folder = Path(model)
    if ":" not in model or folder.is_dir():
        if not (folder / "sequences.json").is_file():
            raise IsoglossError(
                f"{model} is no encoder (KIND:NAME, such as hf:FOLDER) and no folder of encoded "
                "items"
            )
        if layers is not None:
            raise ValueError(f"{model} is a folder of one layer's steps; leave the layers out")
        return [_of_folder(folder, items, pool)]
    encoder = load_encoder(model, device=device)
    if layers is None and like is not None:
        wanted = [_layer_like(model, encoder, like)]
    else:
        wanted = _layers(encoder, layers)
    if len(wanted) > 1 and cache is None and pool != STEPS:
        return _all_layers(model, encoder, items, wanted, pool, progress)
    found = []
    for layer in wanted:
        one: Any = encoder if layer is None else encoder.with_layer(layer)  # type: ignore[attr-defined]
        skipped: list[tuple[str, str]] = []
        steps = encode_cached(one, items, cache, progress=progress, skipped=skipped)
        found.append(_kept(model, layer, steps, items, pool, skipped))
    return found


def made_alike(first: str, second: str) -> bool:
    """Whether two `made_by` tell the same encoder, layer and pooling; steps go with any pooling."""
    (own, _, own_pool), (other, _, other_pool) = (x.partition(";pool=") for x in (first, second))
    return own == other and (own_pool == other_pool or not own_pool or not other_pool)


def _layer_like(model: str, encoder: Encoder, like: str) -> int | None:
    own = encoder.made_by
    for layer in (None, *(layer for layer in _layers(encoder, "all") if layer is not None)):
        made_by = own if layer is None else encoder.with_layer(layer).made_by  # type: ignore[attr-defined]
        if made_alike(made_by, like):
            return layer
    raise IsoglossError(
        f"the transform was fitted on {like}, which no layer of {model} ({own}) is; name the layer "
        "(--layer) to apply it all the same"
    )


def _of_folder(folder: Path, items: Sequence[Item], pool: str) -> ModelVectors:
    steps = read_folder(folder)
    place = {id_: i for i, id_ in enumerate(steps.ids)}
    there = [item for item in items if item.id in place]
    if not there:
        raise IsoglossError(
            f"{folder} holds none of the {len(items)} items, such as '{items[0].id}'; it was "
            "encoded from another corpus"
        )
    missing = [(item.id, f"not in {folder}") for item in items if item.id not in place]
    chosen = steps.select([place[item.id] for item in there])
    found = _kept(str(folder), None, chosen, there, pool, missing)
    return ModelVectors(
        found.model, None, found.vectors, found.items, found.skipped, fitted_for(folder)
    )


def _all_layers(
    model: str,
    encoder: Encoder,
    items: Sequence[Item],
    wanted: Sequence[int | None],
    pool: str,
    progress: bool,
) -> list[ModelVectors]:
    """All layers from one pass, pooled batch by batch, so that no layer's steps fill the memory."""
    import numpy as np

    # Some sites begin with layer 1.
    places: dict[int | None, int] = {layer: i for i, layer in enumerate(encoder.layers)}  # type: ignore[attr-defined]
    order = sorted(range(len(items)), key=lambda i: (len(items[i].text or ""), i))
    starts = range(0, len(order), _ITEMS_AT_ONCE)
    rows: dict[int | None, dict[str, Any]] = {layer: {} for layer in wanted}
    made_by: dict[int | None, str] = {}
    skipped: list[tuple[str, str]] = []
    for start in with_progress(starts, "encoding", total=len(starts)) if progress else starts:
        batch = [items[i] for i in order[start : start + _ITEMS_AT_ONCE]]
        for found in _batches(encoder, batch, skipped):
            for layer in wanted:
                vectors = _pooled(found[places[layer]], pool)
                made_by[layer] = vectors.made_by
                rows[layer].update(zip(vectors.ids, vectors.values, strict=True))
    there = [item for item in items if item.id in next(iter(rows.values()))]
    if not there:
        raise IsoglossError(f"none of {len(items)} items could be encoded: {skipped[0][1]}")
    ids = tuple(item.id for item in there)
    return [
        ModelVectors(
            model,
            layer,
            Vectors(ids, np.stack([rows[layer][id_] for id_ in ids]), made_by[layer]),
            tuple(there),
            tuple(skipped),
        )
        for layer in wanted
    ]


def _batches(
    encoder: Any, batch: list[Item], skipped: list[tuple[str, str]]
) -> Iterator[list[Sequences]]:
    try:
        yield encoder.encode_layers(batch)
    except (AudioError, TextError) as error:
        if len(batch) == 1:
            skipped.append((batch[0].id, str(error)))
            return
        for item in batch:
            yield from _batches(encoder, [item], skipped)


def _kept(
    model: str,
    layer: int | None,
    steps: Sequences,
    items: Sequence[Item],
    pool: str,
    skipped: Sequence[tuple[str, str]],
) -> ModelVectors:
    by_id = {item.id: item for item in items}
    vectors = steps if pool == STEPS else _pooled(steps, pool)
    return ModelVectors(
        model, layer, vectors, tuple(by_id[id_] for id_ in vectors.ids), tuple(skipped)
    )


def _pooled(steps: Sequences, how: str) -> Vectors:
    return pooled_by(steps, how)


def _layers(encoder: Encoder, asked: Sequence[int] | str | None) -> list[int | None]:
    if asked is None:
        return [None]
    names = ("layers", "with_layer", "encode_layers")
    if not all(hasattr(encoder, name) for name in names):
        if asked == "all" or list(asked) == [0]:
            return [None]
        raise ValueError(f"{encoder.made_by} has one layer; leave the layers out")
    known = tuple(encoder.layers)  # type: ignore[attr-defined]
    if isinstance(asked, str):
        if asked != "all":
            raise ValueError(f"layers must be numbers or 'all', got '{asked}'")
        return list(known)
    for layer in asked:
        if layer not in known:
            raise ValueError(
                f"{encoder.made_by} has no layer {layer}; its layers are {known[0]} to {known[-1]}"
            )
    return [*sorted(set(asked))]
