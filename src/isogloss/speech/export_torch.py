"""A trained `CtcModel` in plain torch operators with free axes: `save_traced`, called by `export`.

Training computes with fused kernels, blocks sized for a cache, strided views and data-dependent
cuts, none of which a tracer can follow. The modules here compute the same values in evaluation mode
from copies of the same weights: only matrix products, convolutions, softmax and elementwise
operators, every size taken from the input, padding always masked. Every export is compared with
the model.
"""

from __future__ import annotations

import math
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from isogloss.speech.subsampling import MINIMUM_FRAMES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from isogloss.speech.ctc import CtcModel
    from isogloss.speech.zipformer import SpeechEncoder

__all__ = ["CtcGraph", "EncoderGraph", "load_traced", "save_traced"]

# Log-mel energy of digital silence. Any finite value would do, since these frames are masked.
_SILENCE = -15.94
# Frames put behind the input, so that the front end has a step to give however short it is.
_SPARE_FRAMES = MINIMUM_FRAMES - 1


def save_traced(graph: EncoderGraph | CtcGraph, path: Path) -> None:
    """Write `graph` as a TorchScript module for batches and lengths of any size."""
    frames = 83
    x = torch.full((2, frames, graph.bins), _SILENCE)
    jit: Any = torch.jit
    with torch.inference_mode(), _no_advice():
        module = jit.trace(graph.eval(), (x, torch.tensor([frames, 40])), check_trace=False)
        jit.save(module, str(path))


def load_traced(path: Path) -> Any:
    """The module that `save_traced` wrote: (N, T, 80), (N,) to values and lengths."""
    jit: Any = torch.jit
    with _no_advice():
        return jit.load(str(path))


@contextmanager
def _no_advice() -> Iterator[None]:
    """Without torch's advice to use torch.export, which does not get through this model."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*torch.jit.*", category=DeprecationWarning)
        yield


class EncoderGraph(nn.Module):
    """Log-mel frames to the final steps of a `SpeechEncoder`, for exporters."""

    def __init__(self, model: SpeechEncoder) -> None:
        super().__init__()
        self.front = _Front(model.encoder_embed)
        parts = zip(model.encoder.encoders, model.config.downsampling, strict=True)
        self.stacks = nn.ModuleList(_Stack(part, factor) for part, factor in parts)
        self.dims = model.config.dims
        self.bins = model.config.bins
        self.downsample = _Downsample(model.encoder.downsample_output)

    def forward(self, x: Tensor, x_lens: Tensor) -> tuple[Tensor, Tensor]:
        """(N, T, 80) frames and (N,) int64 lengths to (N, T', D) steps and (N,) int64 lengths.

        T' = ((T - 7) // 2 + 1) // 2, and 0 for fewer than 9 frames; steps past a length are 0.
        """
        frames = x.shape[1]
        x = F.pad(x, (0, 0, 0, _SPARE_FRAMES), value=_SILENCE)
        embedded = ((x_lens - 7) // 2).clamp(min=0)
        # The mask needs one step at least: a softmax over nothing is not a number.
        lengths = embedded.clamp(min=1)
        x = self.front(x, lengths)
        outputs: list[Tensor] = []
        present = self.dims[0]
        for stack, dim in zip(self.stacks, self.dims, strict=True):
            x = stack(_with_channels(x, present, dim), lengths)
            outputs.append(x)
            present = dim
        steps = self.downsample(_widest(outputs, self.dims), lengths)
        out_lengths = (embedded + 1) // 2
        steps = steps * _keep(out_lengths, steps.shape[1])
        return steps[:, : ((frames - 7) // 2 + 1) // 2], out_lengths


class CtcGraph(nn.Module):
    """Log-mel frames to unit log-probabilities of one head of a `CtcModel`, for exporters."""

    def __init__(self, model: CtcModel, head: str = "standard") -> None:
        super().__init__()
        chosen = model.ctc_output if head == "standard" else model.ctc_output_dialect
        if chosen is None:
            raise ValueError(f"the model has no {head} head; train it with transcripts = 'both'")
        self.encoder = EncoderGraph(model)
        self.bins = self.encoder.bins
        self.output = _Linear(cast("nn.Linear", chosen[1]))

    def forward(self, x: Tensor, x_lens: Tensor) -> tuple[Tensor, Tensor]:
        """(N, T, 80) and (N,) int64 to (N, T', V) natural log-probabilities and (N,) int64."""
        steps, lengths = self.encoder(x, x_lens)
        return self.output(steps).log_softmax(dim=-1), lengths


class _Linear(nn.Module):
    """x W + b with the weight turned beforehand: a constant (in, out) is what int8 needs."""

    weight: Tensor
    bias: Tensor | None

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.register_buffer("weight", layer.weight.detach().t().contiguous().clone())
        bias = None if layer.bias is None else layer.bias.detach().clone()
        self.register_buffer("bias", bias)

    def forward(self, x: Tensor) -> Tensor:
        product = x @ self.weight
        return product if self.bias is None else product + self.bias


class _Convolution(nn.Module):
    """A convolution over one or two axes, from copies of a layer's weights."""

    weight: Tensor
    bias: Tensor

    def __init__(self, layer: nn.Conv1d | nn.Conv2d) -> None:
        super().__init__()
        self.register_buffer("weight", layer.weight.detach().clone())
        bias = torch.zeros(len(layer.weight)) if layer.bias is None else layer.bias.detach()
        self.register_buffer("bias", bias.clone())
        self.stride: Any = layer.stride
        self.padding: Any = layer.padding
        self.groups = layer.groups

    def forward(self, x: Tensor) -> Tensor:
        convolve: Any = F.conv1d if self.weight.dim() == 3 else F.conv2d
        out: Tensor = convolve(x, self.weight, self.bias, self.stride, self.padding, 1, self.groups)
        return out


class _Norm(nn.Module):
    """BiasNorm."""

    bias: Tensor
    scale: Tensor

    def __init__(self, norm: Any) -> None:
        super().__init__()
        self.register_buffer("bias", norm.bias.detach().clone())
        self.register_buffer("scale", norm.log_scale.detach().exp())

    def forward(self, x: Tensor) -> Tensor:
        centred = x - self.bias
        power = (centred * centred).mean(dim=-1, keepdim=True).clamp(min=1e-20)
        return x * (self.scale / power.sqrt())


class _Bypass(nn.Module):
    share: Tensor

    def __init__(self, bypass: Any) -> None:
        super().__init__()
        self.register_buffer("share", bypass.bypass_scale.detach().clone())

    def forward(self, before: Tensor, after: Tensor) -> Tensor:
        return before + (after - before) * self.share


class _Front(nn.Module):
    """`Conv2dSubsampling`."""

    def __init__(self, front: Any) -> None:
        super().__init__()
        layers = [part for part in front.conv if isinstance(part, nn.Conv2d)]
        self.convolutions = nn.ModuleList(_Convolution(layer) for layer in layers)
        block = front.convnext
        self.depthwise = _Convolution(block.depthwise_conv)
        self.widen = _Convolution(block.pointwise_conv1)
        self.narrow = _Convolution(block.pointwise_conv2)
        self.out = _Linear(front.out)
        self.norm = _Norm(front.out_norm)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(N, T, 80) and (N,) steps that are real to (N, T', D)."""
        x = x.unsqueeze(1)
        for convolution in self.convolutions:
            x = _swoosh_r(convolution(x))
        x = x * _keep(lengths, x.shape[2]).unsqueeze(1)
        x = x + self.narrow(_swoosh_l(self.widen(self.depthwise(x))))
        return cast("Tensor", self.norm(self.out(x.transpose(1, 2).flatten(2))))


class _Downsample(nn.Module):
    weights: Tensor

    def __init__(self, part: Any) -> None:
        super().__init__()
        self.factor = int(part.factor)
        self.register_buffer("weights", part.bias.detach().softmax(dim=0))

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(N, T, C) to (N, ceil(T / factor), C); what lies past an end goes to the last step."""
        groups = (x.shape[1] + self.factor - 1) // self.factor
        x = F.pad(x, (0, 0, 0, groups * self.factor - x.shape[1]))
        x = x.reshape(x.shape[0], groups, self.factor, x.shape[2])
        place = torch.arange(groups * self.factor).reshape(1, groups, self.factor)
        ends = lengths.reshape(-1, 1, 1)
        real = (place < ends).float()
        last = (place == ends - 1).float()
        own = self.weights * real
        own = own + last * (self.weights * (1.0 - real)).sum(dim=-1, keepdim=True)
        return (x * own.unsqueeze(-1)).sum(dim=2)


class _Stack(nn.Module):
    """A stack of layers at its own rate, joined with its input by a bypass."""

    def __init__(self, part: Any, factor: int) -> None:
        super().__init__()
        self.factor = factor
        inner = part if factor == 1 else part.encoder
        self.layers = nn.ModuleList(_Layer(layer) for layer in inner.layers)
        self.position_dim = int(inner.position.dim)
        self.downsample = None if factor == 1 else _Downsample(part.downsample)
        self.bypass = None if factor == 1 else _Bypass(part.out_combiner)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """(N, T, C) to (N, T, C)."""
        if self.downsample is None or self.bypass is None:
            return self._layers(x, lengths)
        low = self._layers(self.downsample(x, lengths), (lengths + self.factor - 1) // self.factor)
        high = low.unsqueeze(2).expand(-1, -1, self.factor, -1).flatten(1, 2)
        return cast("Tensor", self.bypass(x, high[:, : x.shape[1]]))

    def _layers(self, x: Tensor, lengths: Tensor) -> Tensor:
        keep = _keep(lengths, x.shape[1])
        bias = ((keep - 1.0) * 1000.0).transpose(1, 2).unsqueeze(1)
        position = _position(x.shape[1], self.position_dim)
        for layer in self.layers:
            x = layer(x, position, keep, bias)
        return x


class _Layer(nn.Module):
    """`ZipformerLayer`."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.attention = _AttentionWeights(layer.self_attn_weights)
        self.mix1 = _Mix(layer.self_attn1)
        self.mix2 = _Mix(layer.self_attn2)
        self.feed1 = _FeedForward(layer.feed_forward1)
        self.feed2 = _FeedForward(layer.feed_forward2)
        self.feed3 = _FeedForward(layer.feed_forward3)
        self.gated = _Gated(layer.nonlin_attention)
        self.conv1 = _OverTime(layer.conv_module1)
        self.conv2 = _OverTime(layer.conv_module2)
        self.bypass = _Bypass(layer.bypass)
        self.bypass_mid = _Bypass(layer.bypass_mid)
        self.norm = _Norm(layer.norm)

    def forward(self, x: Tensor, position: Tensor, keep: Tensor, bias: Tensor) -> Tensor:
        start = x
        weights = self.attention(x, position, bias)
        x = x + self.feed1(x)
        x = x + self.gated(x, weights[:, 0])
        x = x + self.mix1(x, weights)
        x = x + self.conv1(x, keep)
        x = self.bypass_mid(start, x + self.feed2(x))
        x = x + self.mix2(x, weights)
        x = x + self.conv2(x, keep)
        x = self.norm(x + self.feed3(x))
        return cast("Tensor", self.bypass(start, x))


class _AttentionWeights(nn.Module):
    def __init__(self, part: Any) -> None:
        super().__init__()
        self.heads = int(part.heads)
        self.widths = [self.heads * int(part.query_head)] * 2
        self.widths.append(self.heads * int(part.position_head))
        self.in_proj = _Linear(part.in_proj)
        self.linear_pos = _Linear(part.linear_pos)

    def forward(self, x: Tensor, position: Tensor, bias: Tensor) -> Tensor:
        """(N, T, C) with (2 T - 1, P) and (N, 1, 1, T) to (N, H, T, T)."""
        query, key, where = self.in_proj(x).split(self.widths, dim=-1)
        query, key, where = (_by_head(part, self.heads) for part in (query, key, where))
        encoded = (
            self.linear_pos(position).reshape(position.shape[0], self.heads, -1).permute(1, 2, 0)
        )
        scores = query @ key.transpose(2, 3) + _by_distance(where @ encoded)
        return (scores + bias).softmax(dim=-1)


class _Mix(nn.Module):
    """`SelfAttention`."""

    def __init__(self, part: Any) -> None:
        super().__init__()
        self.heads = int(part.heads)
        self.in_proj = _Linear(part.in_proj)
        self.out_proj = _Linear(part.out_proj)

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        mixed = weights @ _by_head(self.in_proj(x), self.heads)
        return cast("Tensor", self.out_proj(mixed.transpose(1, 2).flatten(2)))


class _Gated(nn.Module):
    """`NonlinAttention`."""

    def __init__(self, part: Any) -> None:
        super().__init__()
        self.in_proj = _Linear(part.in_proj)
        self.out_proj = _Linear(part.out_proj)

    def forward(self, x: Tensor, weights: Tensor) -> Tensor:
        gate, values, after = self.in_proj(x).chunk(3, dim=-1)
        return cast("Tensor", self.out_proj((weights @ (values * gate.tanh())) * after))


class _FeedForward(nn.Module):
    def __init__(self, part: Any) -> None:
        super().__init__()
        self.in_proj = _Linear(part.in_proj)
        self.out_proj = _Linear(part.out_proj)

    def forward(self, x: Tensor) -> Tensor:
        return cast("Tensor", self.out_proj(_swoosh_l(self.in_proj(x))))


class _OverTime(nn.Module):
    """`Convolution`."""

    def __init__(self, part: Any) -> None:
        super().__init__()
        self.in_proj = _Linear(part.in_proj)
        self.depthwise = _Convolution(part.depthwise_conv)
        self.out_proj = _Linear(part.out_proj)

    def forward(self, x: Tensor, keep: Tensor) -> Tensor:
        values, gate = self.in_proj(x).chunk(2, dim=-1)
        x = values * gate.sigmoid() * keep
        x = self.depthwise(x.transpose(1, 2)).transpose(1, 2)
        return cast("Tensor", self.out_proj(_swoosh_r(x)))


def _swoosh_l(x: Tensor) -> Tensor:
    return F.softplus(x - 4.0) - 0.08 * x - 0.035


def _swoosh_r(x: Tensor) -> Tensor:
    return F.softplus(x - 1.0) - 0.08 * x - 0.313261687


def _by_head(x: Tensor, heads: int) -> Tensor:
    """(N, T, H d) to (N, H, T, d)."""
    return x.reshape(x.shape[0], x.shape[1], heads, -1).transpose(1, 2)


def _by_distance(x: Tensor) -> Tensor:
    """(N, H, T, 2 T - 1) scores of offsets to (N, H, T, T): entry i, j takes offset j - i.

    With one column more, row i's first wanted entry lies 2 T - 1 places behind that of row i - 1,
    so cutting the front and folding into rows of that length lines them up.
    """
    steps = x.shape[2]
    flat = F.pad(x, (0, 1)).flatten(2)
    flat = flat[:, :, steps - 1 : steps - 1 + steps * (2 * steps - 1)]
    return flat.reshape(x.shape[0], x.shape[1], steps, 2 * steps - 1)[..., :steps]


def _position(steps: int, dim: int) -> Tensor:
    """(2 * steps - 1, dim) encodings of the offsets, as `RelativePosition`."""
    offset = (torch.arange(2 * steps - 1) - (steps - 1)).float().unsqueeze(1)
    length = math.sqrt(dim)
    compressed = length * offset.sign() * ((offset.abs() + length).log() - math.log(length))
    angle = (compressed * (2.0 * math.pi / dim)).atan() * torch.arange(1, dim // 2 + 1)
    waves = torch.stack([angle.cos(), angle.sin()], dim=2).flatten(1)
    return torch.cat([waves[:, :-1], torch.ones_like(waves[:, :1])], dim=1)


def _keep(lengths: Tensor, steps: int) -> Tensor:
    """(N, steps, 1) float32, 1 where a step is real."""
    return (torch.arange(steps).unsqueeze(0) < lengths.unsqueeze(1)).float().unsqueeze(-1)


def _with_channels(x: Tensor, present: int, dim: int) -> Tensor:
    return x[..., :dim] if present >= dim else F.pad(x, (0, dim - present))


def _widest(outputs: Sequence[Tensor], dims: Sequence[int]) -> Tensor:
    """For each channel the latest stack that has it."""
    pieces, width = [outputs[-1]], dims[-1]
    for output, dim in zip(reversed(outputs[:-1]), reversed(dims[:-1]), strict=True):
        if dim > width:
            pieces.append(output[..., width:])
            width = dim
    return torch.cat(pieces, dim=-1) if len(pieces) > 1 else pieces[0]
