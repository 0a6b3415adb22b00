"""The encoder that an index was built with, noted beside its commits, and loaded again.

The index itself keeps `made_by`, which decides whether an encoder may be used. The note only saves
its user from naming the encoder every time, so an index without one works all the same.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from isogloss._files import write_json
from isogloss.encoders.pool import mean_pool
from isogloss.encoders.registry import EncoderName, load_encoder
from isogloss.errors import IsoglossError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from isogloss.search.index_protocol import SearchIndex
    from isogloss.types import Encoder, Item, Sequences, Vectors

__all__ = ["EncoderNote", "encode_for", "fitting", "load_for", "read_note", "write_note"]

NOTE_FILE = "encoder.json"
_POOLED = ";pool=mean"


@dataclass(frozen=True, slots=True)
class EncoderNote:
    """What `load_encoder` needs: a name such as 'own:/models/a', and a layer."""

    encoder: str
    layer: int | None = None


def write_note(folder: Path, encoder: str, layer: int | None = None) -> EncoderNote:
    """Note in the index `folder` that `encoder` and `layer` made it; a local path is made whole."""
    name = EncoderName.of(encoder)
    # A public name such as owner/name is left alone; a path must work from any working directory.
    if name.argument and Path(name.argument).exists():
        name = replace(name, argument=str(Path(name.argument).resolve()))
    note = EncoderNote(str(name), layer)
    write_json(folder / NOTE_FILE, asdict(note))
    return note


def read_note(place: str | Path) -> EncoderNote | None:
    """The note in an index, None where there is none, as on a server.

    Raises:
        IsoglossError: the file is damaged.
    """
    path = Path(place) / NOTE_FILE
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        name, layer = found["encoder"], found.get("layer")
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise IsoglossError(f"{path}: {error!r}; remove it and name the encoder") from error
    if not isinstance(name, str) or not (layer is None or isinstance(layer, int)):
        raise IsoglossError(f"{path}: no name and layer in it; remove it and name the encoder")
    return EncoderNote(name, layer)


def load_for(
    index: SearchIndex,
    place: str | Path,
    encoder: str | None = None,
    *,
    layer: int | None = None,
    device: str = "cpu",
) -> Encoder:
    """The encoder whose steps `index` holds, refused when it is another one.

    Args:
        index: what will be asked.
        place: of the index, for its note.
        encoder: a name for `load_encoder`; None takes the note's, and its layer.
        layer: of the encoder.
        device: of the encoder.

    Raises:
        IsoglossError: nothing names the encoder, or its `made_by` is not the index's.
    """
    if encoder is None:
        note = read_note(place)
        if note is None:
            raise IsoglossError(
                f"{index.shown} does not say which encoder made it; name the encoder, whose "
                f"signature must be {_unpooled(index)}"
            )
        encoder, layer = note.encoder, note.layer if layer is None else layer
    loaded = load_encoder(encoder, layer=layer, device=device)
    if loaded.made_by != _unpooled(index):
        raise IsoglossError(
            f"the index was made by {_unpooled(index)}, {encoder} is {loaded.made_by}; steps of "
            "two encoders cannot be compared: give the encoder and layer of the index, or build "
            "another index"
        )
    return loaded


def encode_for(index: SearchIndex, encoder: Encoder, items: Sequence[Item]) -> Sequences | Vectors:
    """What `index.search` takes: steps of every item, or their means where it holds those.

    Raises:
        AudioError: a recording cannot be used.
        ValueError: there is no item.
    """
    return fitting(index, encoder.encode(items))


def fitting(index: SearchIndex, sequences: Sequences) -> Sequences | Vectors:
    """`sequences`, or their means where `index` holds means."""
    return mean_pool(sequences) if index.made_by.endswith(_POOLED) else sequences


def _unpooled(index: SearchIndex) -> str:
    return index.made_by.removesuffix(_POOLED)
