"""A name such as 'own:checkpoints/a' or 'hf:PATH?site=mlp' in, an `Encoder` out."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, cast
from urllib.parse import unquote

from isogloss.encoders.options import refuse_unknown
from isogloss.errors import IsoglossError, UnknownName

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from isogloss.types import Encoder

__all__ = ["EncoderName", "encoder_names", "load_encoder", "reads_text"]

# Kind of encoder to the function that makes one from what follows the colon.
_LOADERS = {
    "entity": "isogloss.encoders.entity:load",
    "funasr": "isogloss.encoders.funasr:load",
    "hash": "isogloss.encoders.hash_bag:load",
    "hf": "isogloss.encoders.hf_kind:load",
    "laser": "isogloss.encoders.bilstm:load",
    "mel": "isogloss.encoders.mel:load",
    "ngram": "isogloss.encoders.ngram:load",
    "onnx": "isogloss.encoders.onnx:load",
    "own": "isogloss.encoders.own:load",
    "pixel": "isogloss.encoders.pixel:load",
    "random": "isogloss.encoders.own:load_random",
    "st": "isogloss.encoders.st:load",
    "static": "isogloss.encoders.static:load",
}
# Kinds that read text and never hear; 'hf:' does either, by its checkpoint.
_TEXT_KINDS = frozenset({"entity", "hash", "laser", "ngram", "pixel", "st", "static"})
_ENTRY_POINT_GROUP = "isogloss.encoders"


@dataclass(frozen=True, slots=True)
class EncoderName:
    """The parts of 'KIND:ARGUMENT?OPTION=VALUE&OPTION=VALUE'.

    In a value, %26 stands for '&', %25 for '%' and %3F for '?'; anything else stands for itself.
    """

    kind: str
    argument: str
    options: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, name: str) -> EncoderName:
        """The parts of `name`; a '?' that belongs to the name of a file begins no options.

        Raises:
            ValueError: an option has no '=', or comes twice.
        """
        kind, _, argument = name.partition(":")
        if "?" not in argument or Path(argument).exists():
            return cls(kind, argument)
        argument, _, query = argument.partition("?")
        options: dict[str, str] = {}
        for part in query.split("&"):
            key, equals, value = part.partition("=")
            if not equals or not key:
                raise ValueError(
                    f"{name}: '{part}' is no option; write KEY=VALUE, with & between two and %26 "
                    "for an & in a value"
                )
            if key in options:
                raise ValueError(f"{name}: the option '{key}' comes twice")
            options[key] = unquote(value)
        return cls(kind, argument, options)

    def __str__(self) -> str:
        """The name again, as `of` reads it."""
        options = [f"{key}={_quoted(value)}" for key, value in self.options.items()]
        return f"{self.kind}:{self.argument}" + ("?" + "&".join(options) if options else "")


def load_encoder(name: str, *, layer: int | None = None, device: str = "cpu") -> Encoder:
    """The encoder called `name`, giving the steps of `layer`, on `device`.

    Args:
        name: 'own:FOLDER' for a model trained here (the folder with model.safetensors);
            'hf:NAME_OR_PATH' for a public speech encoder or text model of transformers (a folder,
            or OWNER/NAME of the hub; options of text models: see `hf_text.load`);
            'st:NAME_OR_PATH' for a sentence-transformers model;
            'ngram:' for TF-IDF of character n-grams, the floor of text; 'static:FILE' for word
            vectors; 'hash:FOLDER', 'laser:FOLDER' and 'pixel:FOLDER' for text encoders trained
            here; 'entity:ENCODER?table=FILE' for one that is given entities of a table;
            'onnx:FILE_OR_FOLDER' for an exported encoder, ours or one with a JSON beside it;
            'funasr:NAME_OR_PATH' for SenseVoice-Small and Paraformer through funasr;
            'mel:' for log-mel frames, the floor; 'random:SIZE' or 'random:SIZE:SEED' for a
            Zipformer with random weights, the control (sizes micro, tiny, small,
            medium, large, xlarge).
            Options of a kind follow as '?KEY=VALUE&KEY=VALUE', such as
            'hf:PATH?site=mlp&prompt=query: '.
            Packages of others add kinds through the entry-point group 'isogloss.encoders': a
            function `(argument, *, layer, device) -> Encoder` under the name of the kind; further
            keyword-only arguments, strings with a default, are its options.
        layer: 0 is the embedding, i the output of block i (for a Zipformer: stack i); None is the
            final output.
        device: a torch device, such as 'cpu' or 'cuda:0'.

    Raises:
        UnknownName: no such kind of encoder, or no such option of it (near matches are offered).
        ValueError: the encoder has no such layer, or an option has a wrong value.
        MissingExtra: torch or another needed package is not installed.
        IsoglossError: the package that brings this kind of encoder cannot be imported.
    """
    parts = EncoderName.of(name)
    loader = _loader(parts.kind)
    refuse_unknown(parts.kind, parts.options, loader)
    return loader(parts.argument, layer=layer, device=device, **parts.options)


def reads_text(name: str) -> bool:
    """Whether the encoder called `name` takes text; no weights are loaded to tell.

    Of kinds by other packages the loader is asked for an attribute `takes_text`; without one the
    answer is no.

    Raises:
        UnknownName, IsoglossError: as `load_encoder`.
    """
    parts = EncoderName.of(name)
    if parts.kind in _TEXT_KINDS:
        return True
    loader = _loader(parts.kind)
    if parts.kind == "hf":
        from isogloss.encoders.hf_kind import is_text

        return is_text(parts.argument)
    return bool(getattr(loader, "takes_text", False))


def encoder_names() -> tuple[str, ...]:
    """Every kind of encoder that `load_encoder` knows here, sorted."""
    return tuple(sorted({*_LOADERS, *_others()}))


def _loader(kind: str) -> Callable[..., Encoder]:
    if kind in _LOADERS:
        module, _, attribute = _LOADERS[kind].partition(":")
        return cast("Callable[..., Encoder]", getattr(import_module(module), attribute))
    others = _others()
    if kind not in others:
        raise UnknownName("encoder", kind, [f"{known}:" for known in encoder_names()])
    try:
        return cast("Callable[..., Encoder]", others[kind].load())
    except (ImportError, AttributeError) as error:
        raise IsoglossError(
            f"the encoder '{kind}:' of another package ({others[kind].value}) cannot be "
            f"imported: {error}; mend or uninstall that package"
        ) from error


def _quoted(value: str) -> str:
    return value.replace("%", "%25").replace("&", "%26").replace("?", "%3F")


def _others() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=_ENTRY_POINT_GROUP)}
