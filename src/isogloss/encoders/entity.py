"""Entities that a user's table finds in a text, given to the encoder with it: `entity:...`.

LUKE and mLUKE checkpoints get entity tokens; any other text encoder gets the entities' names behind
the text.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from isogloss.encoders.composed_item import composed
from isogloss.encoders.entity_luke import EntityCounts, LukeEncoder, entity_numbers
from isogloss.encoders.entity_table import read_entity_table
from isogloss.encoders.features import needs_device
from isogloss.encoders.hf_checkpoint import CONFIG, read_json, source_of
from isogloss.encoders.item_text import text_of
from isogloss.encoders.option_values import choice
from isogloss.encoders.words import item_spans
from isogloss.errors import IsoglossError, UnknownName

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from isogloss.encoders.entity_table import EntityTable
    from isogloss.types import Encoder, Item, Sequences

__all__ = ["AppendedEncoder", "load"]


@dataclass(frozen=True, slots=True, eq=False)
class AppendedEncoder:
    """Another encoder, which reads each text with the names of its entities behind it.

    Each entity is named once, in the order of the text, underscores as spaces. Steps of these
    names belong to no word. A text that names none is read as it is.
    """

    inner: Encoder
    table: EntityTable
    counts: EntityCounts

    takes_text: ClassVar[bool] = True

    @property
    def made_by(self) -> str:
        """What changes the values."""
        case = "fold" if self.table.fold else "keep"
        return f"entity:table={self.table.sha[:12]};case={case};{self.inner.made_by}"

    def encode(self, items: Sequence[Item]) -> Sequences:
        """Steps of the inner encoder; those that belong to added words have -1 in `words`.

        Raises:
            TextError: an item has no text.
            ValueError: there is no item.
        """
        if not items:
            raise ValueError("there is no item to encode")
        plain = [composed(item) for item in items]
        own = [len(item_spans(item)) for item in plain]
        found = self.inner.encode([self._named(item) for item in plain])
        words: npt.NDArray[np.int64] | None = None
        if found.words is not None:
            limits = np.repeat(np.array(own, dtype=np.int64), found.lengths)
            words = np.where(found.words < limits, found.words, -1)
        return replace(found, made_by=self.made_by, words=words)

    def _named(self, item: Item) -> Item:
        text = text_of(item)
        mentions = self.table.mentions(text)
        names = dict.fromkeys(mention.entity.replace("_", " ") for mention in mentions)
        self.counts.names += len(mentions)
        self.counts.tokens += len(names)
        if not names:
            return item
        added = tuple(word for name in names for word in name.split())
        words = (*item.words, *added) if item.words else ()
        return replace(item, text=" ".join([text, *names]), words=words)


def load(
    argument: str,
    *,
    layer: int | None = None,
    device: str = "cpu",
    table: str = "",
    case: str = "keep",
    steps: str = "",
    **options: str,
) -> Any:
    """The encoder behind 'entity:ENCODER?table=FILE'.

    Args:
        argument: a folder or hub name of a LUKE or mLUKE checkpoint, or the name of any text
            encoder, such as 'hash:FOLDER' or 'hf:FOLDER'.
        layer: of that encoder.
        device: that it runs on.
        table: UTF-8 file with lines 'NAME<tab>ENTITY'; for LUKE an entity is a title of the
            checkpoint's vocabulary ('en:Beijing' in mLUKE) or its number.
        case: 'keep', or 'fold' to find names whatever their case.
        steps: for LUKE 'all' (default), 'text' or 'entity'.
        options: of the other encoder.

    Raises:
        ValueError: no encoder or no table is named, an option has a wrong value.
        UnknownName: no such kind of encoder or option.
        IsoglossError, BadRecord: the table or the checkpoint cannot be used, or the checkpoint has
            none of the table's entities.
    """
    if not argument:
        raise ValueError("'entity:' needs an encoder, such as entity:hf:FOLDER?table=entities.tsv")
    if not table:
        raise ValueError(f"'entity:{argument}' needs a table of names, as ?table=entities.tsv")
    fold = choice("case", case, ("keep", "fold")) == "fold"
    entities = read_entity_table(Path(table).expanduser(), fold=fold)
    from isogloss.encoders.registry import EncoderName, encoder_names, load_encoder

    kind = argument.partition(":")[0]
    bare = argument.removeprefix("hf:")
    is_hf = kind == "hf" or kind not in encoder_names()
    if is_hf and _is_luke(bare):
        if options:
            raise UnknownName("option of 'entity:' with LUKE", next(iter(options)), ["steps"])
        return _luke(bare, entities, layer, device, steps or "all")
    if steps:
        raise UnknownName("option of 'entity:' without LUKE", "steps", ["table", "case"])
    name = (
        EncoderName("hf", bare, options)
        if is_hf
        else EncoderName(kind, argument.partition(":")[2], options)
    )
    inner = load_encoder(str(name), layer=layer, device=device)
    if not getattr(inner, "takes_text", False):
        raise IsoglossError(f"'{name}' reads no text, so it cannot be given entities")
    return AppendedEncoder(inner, entities, EntityCounts())


def _is_luke(argument: str) -> bool:
    source = source_of(argument)
    path = source.find(CONFIG)
    if path is None:
        raise source.missing(CONFIG, "which says what the model is")
    return read_json(path).get("model_type") == "luke"


def _luke(
    argument: str, table: EntityTable, layer: int | None, device: str, steps: str
) -> LukeEncoder:
    from isogloss.encoders.hf_text_load import load_text_model

    kinds: dict[str, Literal["all", "text", "entity"]] = {
        "all": "all",
        "text": "text",
        "entity": "entity",
    }
    chosen = kinds[choice("steps", steps, tuple(kinds))]
    needs_device(device)
    model = load_text_model(argument, device=device)
    numbers = entity_numbers(model, table)
    unknown = len(set(table.entities.values())) - len(numbers)
    if not numbers:
        raise IsoglossError(
            f"{argument} has none of the table's {unknown} entities; name them by the titles of "
            "its entity vocabulary (entity_vocab.json), such as 'en:Beijing' in mLUKE"
        )
    if unknown:
        warnings.warn(
            f"{argument}: {unknown} of the table's entities are not in the checkpoint and get no "
            "token",
            stacklevel=2,
        )
    encoder = LukeEncoder(model, table, numbers, EntityCounts(), 0, chosen)
    return encoder.with_layer(layer)
