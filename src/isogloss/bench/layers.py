"""An encoder with layers in, the retrieval of each layer out; every item is encoded once for all.

Called by `one_encoder.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

from isogloss.encoders import encode_cached
from isogloss.tasks import SpeechRetrieval, measurement_to_dict
from isogloss.types import Measurement

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from isogloss.types import Corpus, Encoder, Item, Sequences

__all__ = ["LayerSweep", "encode_layers_once", "has_layers", "layer_curve"]

_MEASURES = ("R@1", "R@5", "R@10", "MRR", "hard R@1")


@dataclass(frozen=True)
class LayerSweep:
    """Retrieval at each layer of an encoder.

    Attributes:
        layers: 'all' or some numbers.
        retrieval: what is done at each layer; in a suite, its first retrieval.
    """

    layers: Literal["all"] | tuple[int, ...] = "all"
    retrieval: SpeechRetrieval = field(default_factory=SpeechRetrieval)

    def __post_init__(self) -> None:
        if self.layers != "all" and not (
            isinstance(self.layers, tuple) and all(isinstance(n, int) for n in self.layers)
        ):
            raise ValueError(f"layers must be 'all' or a list of numbers, got {self.layers!r}")

    def run(self, corpus: Corpus, encoder: Encoder) -> list[Measurement]:
        """'R@1 layer 0' and so on, for each layer and measure; [] for an encoder with one layer.

        Raises:
            ValueError: the encoder has no such layer, or as `SpeechRetrieval.retrieve`.
        """
        return measurements_of(self.curve(corpus, encoder))

    def curve(self, corpus: Corpus, encoder: Encoder) -> list[dict[str, Any]]:
        """As `layer_curve`."""
        task = replace(self.retrieval, progress=False)
        return layer_curve(task, corpus, encoder, chosen_layers(encoder, self.layers))


def measurements_of(curve: Sequence[dict[str, Any]]) -> list[Measurement]:
    """The points of a layer curve, as measurements 'R@1 layer 0'."""
    return [
        Measurement(
            f"{name} layer {point['layer']}",
            mean["value"],
            low=mean["low"],
            high=mean["high"],
            n=mean["n"],
            higher_is_better=mean["higher_is_better"],
            signature={"encoder": point["made_by"]},
        )
        for point in curve
        for name, mean in point["measures"].items()
    ]


class _Layered(Protocol):
    @property
    def layers(self) -> tuple[int, ...]: ...

    def with_layer(self, layer: int | None) -> Encoder: ...

    def encode_layers(self, items: Sequence[Item]) -> list[Sequences]: ...


@dataclass(frozen=True)
class _Given:
    """Steps that are already known, as an encoder: the way into the cache."""

    steps: Sequences

    @property
    def made_by(self) -> str:
        return self.steps.made_by

    def encode(self, items: Sequence[Item]) -> Sequences:
        row = {id_: i for i, id_ in enumerate(self.steps.ids)}
        return self.steps.select([row[item.id] for item in items])


@dataclass(frozen=True)
class _OnePass:
    """The first wanted layer of an encoder; the others go into the cache on the way."""

    encoder: _Layered
    wanted: tuple[int, ...]
    cache_dir: Path

    @property
    def made_by(self) -> str:
        return self.encoder.with_layer(self.wanted[0]).made_by

    def encode(self, items: Sequence[Item]) -> Sequences:
        found = self.encoder.encode_layers(items)
        # The first layer is written by the caller, after these: where it is known, all are.
        for layer in self.wanted[1:]:
            encode_cached(_Given(found[layer]), items, self.cache_dir, progress=False)
        return found[self.wanted[0]]


def has_layers(encoder: Encoder) -> bool:
    """Whether `encoder` gives several layers in one pass."""
    return all(hasattr(encoder, name) for name in ("layers", "with_layer", "encode_layers"))


def chosen_layers(encoder: Encoder, asked: tuple[int, ...] | str | None) -> tuple[int, ...]:
    """The layers of `encoder` that are asked for: 'all', some numbers, or () for None.

    An encoder with one layer (log-mel frames) has no curve: ().

    Raises:
        ValueError: a number is no layer of the encoder.
    """
    if asked is None or not has_layers(encoder):
        return ()
    known = cast("_Layered", encoder).layers
    if isinstance(asked, str):
        return known
    wrong = [layer for layer in asked if layer not in known]
    if wrong:
        raise ValueError(
            f"{encoder.made_by} has no layer {wrong[0]}; its layers are {known[0]} to {known[-1]}"
        )
    return tuple(sorted(set(asked)))


def encode_layers_once(
    encoder: Encoder,
    items: Sequence[Item],
    layers: tuple[int, ...],
    cache_dir: Path,
    *,
    progress: bool = True,
) -> None:
    """Fill the cache with `layers` of `items` in one pass; recordings that fail are passed over."""
    last = cast("_Layered", encoder).layers[-1]
    wanted = tuple(dict.fromkeys((*layers, last)))
    one_pass = _OnePass(cast("_Layered", encoder), wanted, cache_dir)
    encode_cached(one_pass, items, cache_dir, progress=progress, skipped=[])


def layer_curve(
    task: SpeechRetrieval, corpus: Corpus, encoder: Encoder, layers: tuple[int, ...]
) -> list[dict[str, Any]]:
    """For each layer its number, label, made_by, and measurements by name.

    Args:
        task: the retrieval, whatever its own layer; its cache should be filled.
        corpus: where to retrieve.
        encoder: one with several layers.
        layers: which.
    """
    layered = cast("_Layered", encoder)
    found = []
    for layer in layers:
        at_layer = layered.with_layer(layer)
        result = task.retrieve(corpus, at_layer)
        means = {name: result.mean(name) for name in _MEASURES if name in result.measures}
        found.append(
            {
                "layer": layer,
                "label": _label(layer, layered.layers),
                "made_by": at_layer.made_by,
                "measures": {
                    name: measurement_to_dict(mean, signature=False)
                    for name, mean in means.items()
                    if mean is not None
                },
            }
        )
    return found


def _label(layer: int, layers: tuple[int, ...]) -> str:
    if layer == layers[0]:
        return "embedding"
    return "final output" if layer == layers[-1] else f"block {layer}"
