"""A name such as 'own:checkpoints/a' in, an `Encoder` out."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, cast

from isogloss.errors import IsoglossError, UnknownName

if TYPE_CHECKING:
    from collections.abc import Callable

    from isogloss.types import Encoder

__all__ = ["encoder_names", "load_encoder"]

# Kind of encoder to the function that makes one from what follows the colon.
_LOADERS = {
    "funasr": "isogloss.encoders.funasr:load",
    "hf": "isogloss.encoders.hf:load",
    "mel": "isogloss.encoders.mel:load",
    "onnx": "isogloss.encoders.onnx:load",
    "own": "isogloss.encoders.own:load",
    "random": "isogloss.encoders.own:load_random",
}
_ENTRY_POINT_GROUP = "isogloss.encoders"


def load_encoder(name: str, *, layer: int | None = None, device: str = "cpu") -> Encoder:
    """The encoder called `name`, giving the steps of `layer`, on `device`.

    Args:
        name: 'own:FOLDER' for a model trained here (the folder with model.safetensors);
            'hf:NAME_OR_PATH' for a public speech encoder of transformers (a folder, or
            OWNER/NAME of the hub);
            'onnx:FILE_OR_FOLDER' for an exported encoder, ours or one with a JSON beside it;
            'funasr:NAME_OR_PATH' for SenseVoice-Small and Paraformer through funasr;
            'mel:' for log-mel frames, the floor; 'random:SIZE' or 'random:SIZE:SEED' for a
            Zipformer with random weights, the control (sizes micro, tiny, small,
            medium, large, xlarge).
            Packages of others add kinds through the entry-point group 'isogloss.encoders': a
            function `(argument, *, layer, device) -> Encoder` under the name of the kind.
        layer: 0 is the embedding, i the output of block i (for a Zipformer: stack i); None is the
            final output.
        device: a torch device, such as 'cpu' or 'cuda:0'.

    Raises:
        UnknownName: no such kind of encoder (near matches are offered).
        ValueError: the encoder has no such layer.
        MissingExtra: torch or another needed package is not installed.
        IsoglossError: the package that brings this kind of encoder cannot be imported.
    """
    kind, _, argument = name.partition(":")
    if kind in _LOADERS:
        module, _, attribute = _LOADERS[kind].partition(":")
        loader = getattr(import_module(module), attribute)
    else:
        others = _others()
        if kind not in others:
            raise UnknownName("encoder", kind, [f"{known}:" for known in encoder_names()])
        try:
            loader = others[kind].load()
        except (ImportError, AttributeError) as error:
            raise IsoglossError(
                f"the encoder '{kind}:' of another package ({others[kind].value}) cannot be "
                f"imported: {error}; mend or uninstall that package"
            ) from error
    loader = cast("Callable[..., Encoder]", loader)
    return loader(argument, layer=layer, device=device)


def encoder_names() -> tuple[str, ...]:
    """Every kind of encoder that `load_encoder` knows here, sorted."""
    return tuple(sorted({*_LOADERS, *_others()}))


def _others() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=_ENTRY_POINT_GROUP)}
