"""The Zipformer encoder: log-mel frames (N, T, 80) to steps (N, T', D) at 25 Hz, plain PyTorch.

Six stacks of layers at 50, 25, 12.5, 6.25, 12.5 and 25 Hz. Names of parameters equal those of the
public icefall implementation (egs/librispeech/ASR/zipformer, not causal), so its checkpoints load
with `strict=True`. Unlike there, padding changes nothing: an utterance in a batch gives the steps
it gives alone, at every layer. Source: Yao et al. 2024, "Zipformer" (ICLR).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from isogloss.errors import UnknownName
from isogloss.speech.scaling import Balancer, Rate, Schedule, Scheduled, Whiten
from isogloss.speech.subsampling import MINIMUM_FRAMES, Conv2dSubsampling, embedding_steps
from isogloss.speech.zipformer_layers import (
    Bypass,
    LayerShape,
    RelativePosition,
    StepMask,
    Switches,
    ZipformerLayer,
)

__all__ = ["SpeechEncoder", "Zipformer", "ZipformerConfig"]


@dataclass(frozen=True)
class ZipformerConfig:
    """Shape of a Zipformer and the training-time rules that are on. Six numbers, one per stack."""

    layers: tuple[int, ...] = (2, 2, 3, 4, 3, 2)
    feedforward_dims: tuple[int, ...] = (512, 768, 1024, 1536, 1024, 768)
    dims: tuple[int, ...] = (192, 256, 384, 512, 384, 256)
    # Channels that the feature mask never hides.
    unmasked_dims: tuple[int, ...] = (192, 192, 256, 256, 256, 192)
    heads: tuple[int, ...] = (4, 4, 4, 8, 4, 4)
    kernels: tuple[int, ...] = (31, 31, 15, 15, 15, 31)
    # Relative to the 50 Hz of the embedding.
    downsampling: tuple[int, ...] = (1, 2, 4, 8, 4, 2)
    query_head_dim: int = 32
    value_head_dim: int = 12
    position_head_dim: int = 4
    position_dim: int = 48
    bins: int = 80
    # Channels of the three convolutions of the front end; other values fit no public checkpoint.
    front_channels: tuple[int, int, int] = (8, 32, 128)
    # None: falls from 0.3 to 0.1 over 20,000 batches, as in icefall.
    dropout: float | None = None
    # Batch counts over which the stacks come in one after another.
    warmup_batches: float = 4000.0
    # Balancer and Whiten, which change gradients only.
    regularise: bool = True
    # Random skipping of layers and modules, and constant attention.
    layer_skip: bool = True
    # Hiding of the upper channels of an eighth of the utterances.
    feature_mask: bool = True
    # Gradient against attention scores beyond 25.
    score_penalty: bool = True
    # Lower limit of the bypass scales.
    limit_bypass: bool = True

    def __post_init__(self) -> None:
        count = len(self.dims)
        for name in (
            "layers",
            "feedforward_dims",
            "unmasked_dims",
            "heads",
            "kernels",
            "downsampling",
        ):
            values = getattr(self, name)
            if len(values) != count:
                raise ValueError(f"{name} needs {count} values like dims, got {values}")
        if any(kernel % 2 == 0 for kernel in self.kernels):
            raise ValueError(f"kernels must be odd, got {self.kernels}")
        if any(u > d for u, d in zip(self.unmasked_dims, self.dims, strict=True)):
            raise ValueError(f"unmasked_dims {self.unmasked_dims} exceed dims {self.dims}")
        if self.dropout is not None and not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"dropout must be in [0, 1) or None, got {self.dropout}")
        if self.bins < 7:
            raise ValueError(f"bins must be at least 7, got {self.bins}")

    @classmethod
    def of_size(cls, size: str, **changes: Any) -> ZipformerConfig:
        """The configuration of a named size, with `changes` to its fields.

        Parameters of encoder and front end: micro 2.3, tiny 2.7, small 22.0, medium 64.0, large
        146.6 and xlarge 286.1 million. From small on these are the sizes of public checkpoints.

        Raises:
            UnknownName: `size` is none of these.
        """
        if size not in _SIZES:
            raise UnknownName("size", size, _SIZES)
        return replace(_SIZES[size], **changes)

    @property
    def output_dim(self) -> int:
        """Channels of the encoder's output: the widest stack's."""
        return max(self.dims)

    @property
    def switches(self) -> Switches:
        """The rules that layers need to know."""
        return Switches(self.layer_skip, self.score_penalty, self.limit_bypass)

    @property
    def dropout_rate(self) -> Rate:
        """Dropout of feed-forward modules and of the embedding."""
        if self.dropout is None:
            return Schedule(((0.0, 0.3), (20000.0, 0.1)))
        return self.dropout


_SIZES = {
    # tiny with a front end of an eighth of the work: for laptops, trains over twice as fast.
    "micro": ZipformerConfig(
        layers=(1, 1, 1, 1, 1, 1),
        feedforward_dims=(192, 192, 192, 192, 192, 192),
        dims=(128, 128, 128, 128, 128, 128),
        unmasked_dims=(128, 128, 128, 128, 128, 128),
        front_channels=(8, 16, 32),
    ),
    "tiny": ZipformerConfig(
        layers=(1, 1, 1, 1, 1, 1),
        feedforward_dims=(192, 192, 192, 192, 192, 192),
        dims=(128, 128, 128, 128, 128, 128),
        unmasked_dims=(128, 128, 128, 128, 128, 128),
    ),
    "small": ZipformerConfig(
        layers=(2, 2, 2, 2, 2, 2),
        feedforward_dims=(512, 768, 768, 768, 768, 768),
        dims=(192, 256, 256, 256, 256, 256),
        unmasked_dims=(192, 192, 192, 192, 192, 192),
    ),
    "medium": ZipformerConfig(),
    "large": ZipformerConfig(
        layers=(2, 2, 4, 5, 4, 2),
        feedforward_dims=(512, 768, 1536, 2048, 1536, 768),
        dims=(192, 256, 512, 768, 512, 256),
        unmasked_dims=(192, 192, 256, 320, 256, 192),
    ),
    "xlarge": ZipformerConfig(
        layers=(2, 2, 4, 5, 4, 2),
        feedforward_dims=(512, 1024, 2048, 3072, 2048, 1024),
        dims=(192, 384, 768, 1024, 768, 384),
        unmasked_dims=(192, 192, 256, 320, 256, 192),
    ),
}


class Downsample(nn.Module):
    """Weighted mean of every `factor` steps, with the same learnt weights everywhere.

    A last group that is not full is filled with the utterance's own last step.
    """

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor = factor
        self.bias = nn.Parameter(torch.zeros(factor))

    def forward(self, x: Tensor, mask: StepMask | None) -> Tensor:
        """(N, T, C) to (N, ceil(T / factor), C)."""
        steps = x.shape[1]
        weights = self.bias.softmax(dim=0)
        missing = -steps % self.factor
        if missing:
            x = F.pad(x, (0, 0, 0, missing))
        groups = x.reshape(len(x), -1, self.factor, x.shape[2])
        if not missing and mask is None:
            return torch.einsum("ngkc,k->ngc", groups, weights)
        lengths = torch.full((1,), steps, device=x.device) if mask is None else mask.lengths
        own = self._own_weights(weights, lengths, groups.shape[1])
        return (groups * own.unsqueeze(-1)).sum(dim=2)

    def _own_weights(self, weights: Tensor, lengths: Tensor, groups: int) -> Tensor:
        """(N, groups, factor): what lies past an utterance's end goes to its last step."""
        place = torch.arange(groups * self.factor, device=lengths.device)
        place = place.view(groups, self.factor)
        real = place < lengths[:, None, None]
        last = place == lengths[:, None, None] - 1
        own = weights * real
        return own + last * (weights * ~real).sum(dim=-1, keepdim=True)


class Stack(nn.Module):
    """Layers at the full rate of the embedding."""

    def __init__(self, config: ZipformerConfig, index: int) -> None:
        super().__init__()
        shape = LayerShape(
            config.dims[index],
            config.feedforward_dims[index],
            config.heads[index],
            config.kernels[index],
            config.query_head_dim,
            config.value_head_dim,
            config.position_head_dim,
            config.position_dim,
        )
        self.position = RelativePosition(config.position_dim)
        self.position_dropout = 0.15
        count = config.layers[index]
        # The stacks come in one after another, and the layers of a stack too.
        span = config.warmup_batches / (len(config.dims) + 1)
        final = 0.035 * config.downsampling[index] ** 0.5
        starts = [span * (index + 1 + layer / count) for layer in range(count)]
        self.layers = nn.ModuleList(
            ZipformerLayer(
                shape,
                config.switches,
                dropout=config.dropout_rate,
                layer_skip=config.switches.skip(
                    Schedule(((start, 0.5), (start + span / count, final)))
                ),
            )
            for start in starts
        )

    def forward(self, x: Tensor, mask: StepMask | None, channels: Tensor | None) -> Tensor:
        """(N, T, C) to the same; `channels` (N, 1, C) hides channels before and after layers."""
        position = self.position(x.shape[1], x.device).to(x.dtype)
        position = F.dropout(position, self.position_dropout, self.training)
        if channels is not None:
            x = x * channels
        for layer in self.layers:
            x = layer(x, position, mask)
            if channels is not None:
                x = x * channels
        return x


class DownsampledStack(nn.Module):
    """A stack at a lower rate, joined with its input by a bypass."""

    def __init__(self, config: ZipformerConfig, index: int) -> None:
        super().__init__()
        self.downsample = Downsample(config.downsampling[index])
        self.encoder = Stack(config, index)
        self.out_combiner = Bypass(config.dims[index], config.switches)

    def forward(self, x: Tensor, mask: StepMask | None, channels: Tensor | None) -> Tensor:
        """(N, T, C) to (N, T, C)."""
        factor = self.downsample.factor
        low_mask = None if mask is None else mask.downsampled(factor)
        low = self.encoder(self.downsample(x, mask), low_mask, channels)
        high = low.repeat_interleave(factor, dim=1)[:, : x.shape[1]]
        out: Tensor = self.out_combiner(x, high)
        return out


class Zipformer(Scheduled):
    """The stacks: embedding (N, T, D0) at 50 Hz to (N, (T + 1) // 2, D) at 25 Hz."""

    def __init__(self, config: ZipformerConfig) -> None:
        super().__init__()
        self.config = config
        self.encoders = nn.ModuleList(
            Stack(config, i) if factor == 1 else DownsampledStack(config, i)
            for i, factor in enumerate(config.downsampling)
        )
        self.downsample_output = Downsample(2)

    def forward(self, x: Tensor, mask: StepMask | None) -> Tensor:
        """The final output, (N, (T + 1) // 2, D)."""
        return self.stack_outputs(x, mask)[-1]

    def stack_outputs(self, x: Tensor, mask: StepMask | None) -> list[Tensor]:
        """Output of every stack at 50 Hz (N, T, Di), then the final output at 25 Hz."""
        outputs = []
        masks = self._channel_masks(x)
        for encoder, dim, channels in zip(self.encoders, self.config.dims, masks, strict=True):
            x = _with_channels(x, dim)
            x = encoder(x, mask, channels)
            outputs.append(x)
        return [*outputs, self.downsample_output(_widest(outputs), mask)]

    def _channel_masks(self, x: Tensor) -> list[Tensor | None]:
        """Per stack (N, 1, C) of 0 and 1, agreeing across stacks; None where nothing is hidden.

        An eighth of the utterances lose every channel above the unmasked ones, about as many
        again the upper half of those.
        """
        config = self.config
        if not (self.training and config.feature_mask):
            return [None] * len(config.dims)
        draws = torch.rand(2, len(x), 1, 1, device=x.device) > 0.125
        lower, upper = draws[0], draws[0] & draws[1]
        masks: list[Tensor | None] = []
        for dim, unmasked in zip(config.dims, config.unmasked_dims, strict=True):
            if dim == unmasked:
                masks.append(None)
                continue
            middle = unmasked + (dim - unmasked) // 2
            channel = torch.arange(dim, device=x.device)
            shown = (
                (channel < unmasked) | ((channel < middle) & lower) | ((channel >= middle) & upper)
            )
            masks.append(shown.to(x.dtype))
        return masks


def _with_channels(x: Tensor, dim: int) -> Tensor:
    """`x` cut or filled with zeros to `dim` channels."""
    if x.shape[-1] == dim:
        return x
    return x[..., :dim] if x.shape[-1] > dim else F.pad(x, (0, dim - x.shape[-1]))


def _widest(outputs: list[Tensor]) -> Tensor:
    """For each channel the latest stack that has it."""
    pieces = [outputs[-1]]
    width = outputs[-1].shape[-1]
    for output in reversed(outputs[:-1]):
        if output.shape[-1] > width:
            pieces.append(output[..., width:])
            width = output.shape[-1]
    return torch.cat(pieces, dim=-1) if len(pieces) > 1 else pieces[0]


class SpeechEncoder(nn.Module):
    """Front end and Zipformer: log-mel features to steps of 40 ms.

    The result for an utterance is the same alone as in any padded batch.
    """

    def __init__(self, config: ZipformerConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder_embed = Conv2dSubsampling(
            config.bins,
            config.dims[0],
            channels=config.front_channels,
            dropout=config.dropout_rate,
            skip_rate=config.switches.skip(Schedule(((0.0, 0.2), (20000.0, 0.015)))),
        )
        self.encoder = Zipformer(config)
        for part in self.modules():
            if isinstance(part, Balancer | Whiten):
                part.enabled = config.regularise

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Steps at 25 Hz and how many of them are real.

        Args:
            features: (N, T, 80) float32 from `fbank`; what lies past a length is ignored.
            lengths: (N,) integer frames, at least 9 each.

        Returns:
            (N, T', D) and (N,) int64, with T' = ((T - 7) // 2 + 1) // 2 of the longest; steps past
            a length are 0.

        Raises:
            ValueError: shapes do not fit, or a length is below 9 or above T.
        """
        outputs, mask = self._outputs(features, lengths)
        return _blanked(outputs[-1], mask.downsampled(2))

    def forward_layers(
        self, features: Tensor, lengths: Tensor
    ) -> list[tuple[Tensor, Tensor, float]]:
        """Every layer's steps: (values (N, Tl, Dl), lengths (N,), seconds between two steps).

        Index 0 is the embedding and index i the output of stack i, all at 50 Hz (stacks that work
        at a lower rate repeat their steps); the last is what `forward` gives, at 25 Hz. Arguments
        and errors as in `forward`.
        """
        outputs, mask = self._outputs(features, lengths)
        layers = [(*_blanked(output, mask), 0.02) for output in outputs[:-1]]
        return [*layers, (*_blanked(outputs[-1], mask.downsampled(2)), 0.04)]

    def _outputs(self, features: Tensor, lengths: Tensor) -> tuple[list[Tensor], StepMask]:
        if features.dim() != 3 or features.shape[2] != self.config.bins:
            raise ValueError(
                f"features must be (N, T, {self.config.bins}), got {tuple(features.shape)}"
            )
        if lengths.shape != features.shape[:1] or not len(lengths):
            raise ValueError(
                f"lengths must be ({len(features)},) with one utterance at least, "
                f"got {tuple(lengths.shape)}"
            )
        shortest, longest = int(lengths.min()), int(lengths.max())
        if shortest < MINIMUM_FRAMES or longest > features.shape[1]:
            raise ValueError(
                f"lengths must lie between {MINIMUM_FRAMES} and T = {features.shape[1]} frames, "
                f"got {shortest} to {longest}"
            )
        lengths = embedding_steps(lengths.to(features.device, torch.int64))
        mask = StepMask(lengths, (longest - 7) // 2)
        # Utterances of equally many steps need no mask.
        needed = mask if (shortest - 7) // 2 < mask.steps else None
        embedding = self.encoder_embed(features[:, :longest], needed)
        return [embedding, *self.encoder.stack_outputs(embedding, needed)], mask


def _blanked(x: Tensor, mask: StepMask) -> tuple[Tensor, Tensor]:
    """`x` with zeros past every utterance's end, and the lengths."""
    return x * mask.keep, mask.lengths
