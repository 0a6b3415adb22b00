"""Text drawn as a picture and read patch by patch, as an encoder: `pixel:FOLDER`.

No tokenizer and no vocabulary: what looks alike is read alike. Trained by
`training.pixel_training`.
"""

from __future__ import annotations

import warnings
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from isogloss import __version__
from isogloss.encoders.composed_item import composed
from isogloss.encoders.features import needs_device
from isogloss.encoders.item_text import text_of
from isogloss.encoders.layered_text import LayeredText, batches_of, known_layer
from isogloss.encoders.own_text_files import read_own_text
from isogloss.encoders.pixel_fonts import named_font, open_fonts, trained_fonts
from isogloss.encoders.pixel_render import Renderer
from isogloss.encoders.words import item_spans
from isogloss.errors import IsoglossError
from isogloss.types import Sequences

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt
    from torch import Tensor, nn

    from isogloss.encoders.pixel_network import PixelTransformer
    from isogloss.encoders.pixel_render import Strip
    from isogloss.types import FloatArray, Item

__all__ = ["PixelEncoder", "load", "missing_told", "padded_patches"]

_BATCH_PATCHES = 4096


@dataclass(frozen=True, slots=True, eq=False)
class PixelEncoder(LayeredText):
    """States of patches of drawn text; pool by the mean, which is what was trained.

    Layer 0 is the input of the first block, i the output of block i, and the last the states after
    the final norm. Patches behind the text are never there. Characters that no font has are left
    out, counted in `missing` and told in a warning; an item without any other is one empty patch.
    """

    network: PixelTransformer
    renderer: Renderer
    name: str
    layer: int
    device: str = "cpu"
    missing: Counter[str] = field(default_factory=Counter)

    @property
    def layers(self) -> tuple[int, ...]:
        """Every layer, from the input of the first block to the final norm."""
        return tuple(range(self.network.shape.layers + 2))

    @property
    def blocks(self) -> tuple[nn.Module, ...]:
        """The blocks of the network, in order."""
        return tuple(self.network.blocks)

    @property
    def made_by(self) -> str:
        """What changes the values."""
        return (
            f"pixel:{self.name};shaping={self.renderer.fonts.shaping};layer={self.layer}"
            f";isogloss={__version__}"
        )

    def _encode(self, items: Sequence[Item], layers: Sequence[int]) -> list[Sequences]:
        import torch

        drawn = [self._drawn(item) for item in items]
        missing = sum((strip.missing for strip, _ in drawn), Counter())
        if missing:
            self.missing.update(missing)
            warnings.warn(missing_told(missing), stacklevel=4)
        size = self.network.shape.window
        windows = [
            (index, first, strip.patches[first : first + size])
            for index, (strip, _) in enumerate(drawn)
            for first in range(0, len(strip.patches), size)
        ]
        width = self.network.shape.dimension
        steps = [
            [np.zeros((len(strip.patches), width), np.float32) for strip, _ in drawn]
            for _ in layers
        ]
        self.network.eval()
        for batch in batches_of([len(patches) for _, _, patches in windows], _BATCH_PATCHES):
            patches, real = padded_patches([windows[i][2] for i in batch])
            with torch.inference_mode():
                states = self.network(patches.to(self.device), real.to(self.device))
            for place, layer in enumerate(layers):
                values = states[layer].float().cpu().numpy()
                for row, number in enumerate(batch):
                    index, first, window = windows[number]
                    steps[place][index][first : first + len(window)] = values[row, : len(window)]
        return [
            Sequences.from_list(
                [item.id for item in items],
                rows,
                made_by=replace(self, layer=layer).made_by,
                words=[words for _, words in drawn],
            )
            for layer, rows in zip(layers, steps, strict=True)
        ]

    def _drawn(self, item: Item) -> tuple[Strip, npt.NDArray[np.int64]]:
        plain = composed(item)
        text = text_of(plain)
        strip = self.renderer.strip(text)
        return strip, self.renderer.words(text, strip, item_spans(plain))


def load(
    argument: str, *, layer: int | None = None, device: str = "cpu", font: str = ""
) -> PixelEncoder:
    """The encoder behind 'pixel:FOLDER'.

    Args:
        argument: a folder written by training.
        layer: 0 is the input of the first block, i the output of block i, the number of blocks + 1
            the states after the final norm; None is the last.
        device: that the network runs on.
        font: font files with commas between, in the order in which they are asked for a character;
            empty for those of training, which must be on this machine.

    Raises:
        ValueError: no folder is named, no such layer.
        IsoglossError: the folder is absent, damaged or of another kind, or a font is missing.
        MissingExtra: torch, Pillow or safetensors is not installed.
    """
    if not argument:
        raise ValueError(
            "'pixel:' needs a folder that 'isogloss text train --kind pixel' has written"
        )
    needs_device(device)
    import torch

    from isogloss.encoders.pixel_network import PixelShape, PixelTransformer

    model = read_own_text(Path(argument).expanduser(), "pixel")
    training = model.config.get("training", {})
    try:
        network = PixelTransformer(PixelShape(**model.shape))
        network.load_state_dict({key: torch.from_numpy(v) for key, v in model.tensors.items()})
        wanted = [(str(name), str(sha)) for name, sha in training["fonts"]]
    except (TypeError, ValueError, KeyError, RuntimeError) as error:
        first = str(error).partition("\n")[0]
        raise IsoglossError(f"{model.folder}: no model of patches: {first}") from error
    if font:
        found = tuple(named_font(name) for name in font.split(","))
    else:
        found = trained_fonts(wanted, model.folder)
    fonts = open_fonts(found, network.shape.height)
    if fonts.shaping != training.get("shaping"):
        warnings.warn(
            f"{model.folder} was trained with letters drawn by '{training.get('shaping')}', this "
            f"Pillow draws by '{fonts.shaping}': Arabic, Indic and other joined letters differ",
            stacklevel=2,
        )
    drawn = "+".join(f"{one.path.name}@{one.sha[:6]}" for one in found)
    network = network.to(device).eval()
    return PixelEncoder(
        network,
        Renderer(fonts, network.shape.width),
        f"{model.revision[:12]};fonts={drawn}",
        known_layer(layer, network.shape.layers + 1),
        device,
    )


def missing_told(missing: Counter[str]) -> str:
    """The sentence that says which characters no font has, and what to do."""
    named = ", ".join(
        f"U+{ord(character):04X} {character}" for character, _ in missing.most_common(5)
    )
    return (
        f"{sum(missing.values())} characters ({len(missing)} different) are in no font and left "
        f"out: {named}{', ...' if len(missing) > 5 else ''}; install fonts for their scripts "
        "(Debian: apt install fonts-noto-core fonts-noto-cjk), or name font files"
    )


def padded_patches(rows: Sequence[npt.NDArray[np.uint8]]) -> tuple[Tensor, Tensor]:
    """(N, L, pixels) float32 in 0 to 1, and (N, L) bool, True where it is no padding."""
    import torch

    length = max(len(row) for row in rows)
    patches: FloatArray = np.zeros((len(rows), length, rows[0].shape[1]), dtype=np.float32)
    real = np.zeros((len(rows), length), dtype=bool)
    for place, row in enumerate(rows):
        patches[place, : len(row)] = row
        real[place, : len(row)] = True
    return torch.from_numpy(patches / np.float32(255)), torch.from_numpy(real)
