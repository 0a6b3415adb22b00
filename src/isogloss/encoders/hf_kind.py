"""'hf:NAME_OR_PATH' in, a speech or a text encoder out, as the checkpoint's config.json says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isogloss.encoders.features import needs_device
from isogloss.encoders.hf_checkpoint import CONFIG, read_json, source_of
from isogloss.encoders.hf_families import FAMILIES
from isogloss.encoders.options import refuse_unknown
from isogloss.errors import MissingExtra, UnknownName

if TYPE_CHECKING:
    from isogloss.types import Encoder

__all__ = ["is_text", "load"]


def load(
    argument: str, *, layer: int | None = None, device: str = "cpu", **options: str
) -> Encoder:
    """The encoder behind 'hf:NAME_OR_PATH': a folder, or OWNER/NAME[@REVISION] of the hub.

    A checkpoint of a speech model (`hf_families`) becomes an `HfEncoder`, any other of which
    transformers knows the model an `HfTextEncoder`, which alone has options.

    Raises:
        ValueError, IsoglossError, MissingExtra: as `hf.load` and `hf_text.load`.
        UnknownName: no such option, or the checkpoint is of a speech model, which has none.
    """
    needs_device(device)  # before anything is fetched
    if is_text(argument):
        from isogloss.encoders import hf_text

        refuse_unknown("hf", options, hf_text.load)
        return hf_text.load(argument, layer=layer, device=device, **options)
    from isogloss.encoders import hf

    if options:
        raise UnknownName("option of a speech checkpoint of 'hf:'", next(iter(options)), [])
    return hf.load(argument, layer=layer, device=device)


def is_text(argument: str) -> bool:
    """Whether the checkpoint is of a text model: its `model_type` is no speech encoder's.

    False also where transformers does not know the type: the speech encoder's error says so.

    Raises:
        IsoglossError: there is no config.json, or it is damaged.
        MissingExtra: transformers is not installed.
    """
    if not argument:
        return False
    try:
        import transformers  # noqa: F401  (its parts may be there without it)
        from transformers.models.auto.modeling_auto import MODEL_MAPPING_NAMES
    except ImportError as error:
        raise MissingExtra("hf", "transformers") from error
    source = source_of(argument)
    path = source.find(CONFIG)
    if path is None:
        raise source.missing(CONFIG, "which says what the model is")
    model_type = read_json(path).get("model_type")
    return model_type not in FAMILIES and model_type in MODEL_MAPPING_NAMES
