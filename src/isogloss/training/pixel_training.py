"""Parallel texts in, a transformer that reads their pictures out (`pixel:FOLDER`).

First, where asked for, hidden patches are drawn again from the others; then translations are
brought together. A `TextLearner` of `text_loop`.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from isogloss.encoders.own_text_files import write_own_text
from isogloss.encoders.pixel import padded_patches
from isogloss.encoders.pixel_network import PixelShape, PixelTransformer, mean_of_real
from isogloss.encoders.pixel_render import Renderer
from isogloss.training.objectives.contrastive import info_nce
from isogloss.training.objectives.text import TextLoss
from isogloss.training.optim import ClippedAdamW
from isogloss.training.pair_names import pair_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from isogloss.encoders.pixel_fonts import Fonts
    from isogloss.training.text_batch import TextRows

__all__ = ["PixelLearner", "PixelTraining"]


@dataclass(frozen=True, slots=True)
class PixelTraining:
    """How a reader of pictures of text is trained.

    Args:
        height: of a line, in pixels.
        width: of a patch, in pixels.
        dimension: of a state.
        layers: blocks of attention.
        heads: of each.
        window: most patches that see each other; longer texts are cut there while training.
        dropout: within the blocks.
        masked: share of the steps, the first ones, that learn to draw hidden patches.
        hidden: share of the patches that are hidden in these steps.
        temperature: that cosines are divided by.
        font: font files with commas between; empty for those of this machine.
    """

    height: int = 16
    width: int = 16
    dimension: int = 192
    layers: int = 3
    heads: int = 4
    window: int = 128
    dropout: float = 0.1
    masked: float = 0.0
    hidden: float = 0.25
    temperature: float = 0.05
    font: str = ""

    def __post_init__(self) -> None:
        for name in ("dropout", "masked"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be in [0, 1), got {getattr(self, name)}")
        if not 0 < self.hidden < 1:
            raise ValueError(f"hidden must be between 0 and 1, got {self.hidden}")
        if not self.temperature > 0:
            raise ValueError(f"temperature must be above 0, got {self.temperature}")
        self.shape()

    def shape(self) -> PixelShape:
        """Of the model."""
        return PixelShape(
            self.height, self.width, self.dimension, self.layers, self.heads, self.window
        )


class PixelLearner:
    """The network, what draws hidden patches, and the losses.

    Args:
        options: how it is trained.
        fonts: opened at the height of a line.
        seed: of the first weights.

    Attributes:
        kind: the name of its encoder, without the colon.
        needs: rows of two sides.
        module: all that is learnt.
        spent: passes, tokens (patches) and floating-point operations, estimated, since emptied.
    """

    kind: ClassVar[str] = "pixel"
    needs: ClassVar[frozenset[str]] = frozenset({"pairs"})

    def __init__(self, options: PixelTraining, fonts: Fonts, *, seed: int) -> None:
        self.options = options
        self.shape = options.shape()
        self.renderer = Renderer(fonts, options.width)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = PixelTransformer(self.shape, dropout=options.dropout)
            self.drawing = _Drawing(self.shape)
        self.module: nn.Module = nn.ModuleDict({"network": self.network, "drawing": self.drawing})
        self.spent: dict[str, float] = {}

    def optimizer(self, rate: float, clip: float | None) -> torch.optim.Optimizer:
        """AdamW over the network and what draws."""
        return ClippedAdamW(self.module.parameters(), rate, clip=clip)

    def loss(self, rows: TextRows, *, draw: torch.Generator, step: int, steps: int) -> TextLoss:
        """Squared error of hidden pixels in the first steps, nats a row in the others.

        The error is relative to that of leaving every hidden patch empty: 1 for an empty drawing.
        """
        sides = [self._patches(texts) for texts in rows.texts]
        if step < self.options.masked * steps:
            losses = [self._hidden(patches, real, draw) for patches, real in sides]
            total = torch.stack(losses).mean()
            return TextLoss(total, {"masked": total.detach()})
        vectors = [mean_of_real(self.network(*side)[-1], side[1]) for side in sides]
        total = info_nce(
            vectors[0], vectors[1], pair_names(rows.names), 1.0 / self.options.temperature
        )
        return TextLoss(total, {"infonce": total.detach()})

    def count_cut(self, texts: Sequence[str]) -> int:
        """How many texts are longer than the window."""
        # A letter is hardly wider than a line is high; most texts need not be drawn to know.
        pixels = self.options.window * self.options.width
        return sum(
            len(self._strip(text)) > self.options.window
            for text in texts
            if len(text) * self.options.height > pixels
        )

    def describe(self) -> dict[str, Any]:
        """Kind, size, fonts."""
        count = sum(p.numel() for p in self.module.parameters())
        saved = sum(p.numel() for p in self.network.parameters())
        fonts = [font.path.name for font in self.renderer.fonts.found]
        return {
            "kind": self.kind,
            "weights": saved,
            "learning": count,
            "fonts": fonts,
            **asdict(self.options),
        }

    def save(self, folder: Path) -> None:
        """Write `pixel:FOLDER`, what draws left out."""
        tensors = {
            name: tensor.detach().cpu().numpy()
            for name, tensor in self.network.state_dict().items()
        }
        fonts = self.renderer.fonts
        extra = {
            "options": asdict(self.options),
            "fonts": [[font.path.name, font.sha] for font in fonts.found],
            "shaping": fonts.shaping,
        }
        write_own_text(folder, self.kind, asdict(self.shape), tensors, extra=extra)

    def missing(self, texts: Iterable[str]) -> Counter[str]:
        """The characters of `texts` that no font has, counted."""
        counts: Counter[str] = Counter()
        for text in texts:
            counts.update(unicodedata.normalize("NFC", text))
        fonts = self.renderer.fonts
        return Counter({c: n for c, n in counts.items() if fonts.number(c) is None})

    def _strip(self, text: str) -> Any:
        return self.renderer.strip(unicodedata.normalize("NFC", text)).patches

    def _patches(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        device = next(self.module.parameters()).device
        # A patch has at least a pixel of a character, so the rest is behind the window anyway.
        most = self.options.window * self.options.width
        drawn = [self._strip(text[:most])[: self.options.window] for text in texts]
        patches, real = padded_patches(drawn)
        weights = sum(p.numel() for p in self.network.parameters())
        count = int(real.sum())
        for name, amount in {"passes": 1, "tokens": count, "flops": 6 * count * weights}.items():
            self.spent[name] = self.spent.get(name, 0.0) + amount
        return patches.to(device), real.to(device)

    def _hidden(self, patches: Tensor, real: Tensor, draw: torch.Generator) -> Tensor:
        chance = torch.rand(real.shape, generator=draw).to(real.device)
        hidden = real & (chance < self.options.hidden)
        if not bool(hidden.any()):
            hidden = real & (chance == chance.masked_fill(~real, torch.inf).min())
        states = self.network(patches, real, instead=(hidden, self.drawing.mask))[-1]
        drawn = self.drawing.pixels(states[hidden])
        error = functional.mse_loss(drawn, patches[hidden])
        return error / patches[hidden].square().mean().clamp(min=1e-4)


class _Drawing(nn.Module):
    """What stands for a hidden patch, and what draws its pixels from its state."""

    def __init__(self, shape: PixelShape) -> None:
        super().__init__()
        self.mask = nn.Parameter(0.02 * torch.randn(shape.dimension))
        self.pixels = nn.Linear(shape.dimension, shape.height * shape.width)
