"""The `ZipformerConfig` behind a public state dict: every width is read from tensor shapes."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from isogloss.errors import IsoglossError
from isogloss.speech.zipformer import ZipformerConfig

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["FoundShape", "shape_of"]

_SIZES = ("micro", "tiny", "small", "medium", "large", "xlarge")
_LAYER = re.compile(r"encoder\.encoders\.(\d+)\.(encoder\.)?layers\.(\d+)\.(.+)")
# What changes training only and leaves no trace in shapes.
_UNSEEN = ("unmasked_dims", "bins")
_BINS = 80
# All public recipes; the shapes alone leave the number of heads open.
_POSITION_HEAD_DIM = 4


@dataclass(frozen=True, slots=True)
class FoundShape:
    """A configuration that fits, the named size that it is (None for another), and assumptions."""

    config: ZipformerConfig
    size: str | None
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Stack:
    """What the shapes of one stack tell."""

    layers: int
    factor: int
    dim: int
    feedforward: int
    kernel: int
    # Channels of the positions, of the values, and of query, key and position together.
    position: int
    value: int
    attention: int
    position_dim: int


def shape_of(
    shapes: Mapping[str, tuple[int, ...]], *, heads: Sequence[int] | None = None
) -> FoundShape:
    """The configuration whose state has these shapes.

    Args:
        shapes: name to shape, with icefall's names (`encoder_embed.*`, `encoder.*`).
        heads: attention heads of each stack, where the shapes allow several numbers.

    Raises:
        IsoglossError: it is no Zipformer, a streaming one, or names that tell a width are missing.
        ValueError: the number of heads is open, or `heads` does not fit.
    """
    _refuse_others(shapes)
    stacks = [_stack(shapes, layers, i) for i, layers in enumerate(_layers(shapes))]
    front = tuple(_need(shapes, f"encoder_embed.conv.{index}.weight", 4)[0] for index in (0, 4, 7))
    _check_bins(_need(shapes, "encoder_embed.out.weight", 2)[1], front[2])
    factor = _need(shapes, "encoder.downsample_output.bias", 1)[0]
    if factor != 2:
        raise IsoglossError(
            f"the encoder's output is taken every {factor} steps; only every 2 (25 Hz) is built"
        )
    counts, (query, value, position), notes = _heads(stacks, heads)
    dims = tuple(stack.dim for stack in stacks)
    config = ZipformerConfig(
        layers=tuple(stack.layers for stack in stacks),
        feedforward_dims=tuple(stack.feedforward for stack in stacks),
        dims=dims,
        # Only training uses it; replaced below where the size is a known one.
        unmasked_dims=(min(dims),) * len(dims),
        heads=counts,
        kernels=tuple(stack.kernel for stack in stacks),
        downsampling=tuple(stack.factor for stack in stacks),
        query_head_dim=query,
        value_head_dim=value,
        position_head_dim=position,
        position_dim=stacks[0].position_dim,
        front_channels=(front[0], front[1], front[2]),
    )
    seen = [f.name for f in fields(config) if f.name not in _UNSEEN]
    for size in _SIZES:
        known = ZipformerConfig.of_size(size)
        if all(getattr(known, name) == getattr(config, name) for name in seen):
            return FoundShape(known, size, notes)
    return FoundShape(config, None, notes)


def _refuse_others(shapes: Mapping[str, tuple[int, ...]]) -> None:
    if any(".depthwise_conv.causal_conv." in name for name in shapes):
        raise IsoglossError(
            "a streaming (causal) Zipformer: its convolutions work in chunks, which our encoder "
            "does not build; take the checkpoint of the same family that is not streaming"
        )
    if any(_LAYER.fullmatch(name) for name in shapes):
        if any(".self_attn_weights." in name for name in shapes):
            return
        raise IsoglossError(
            "a Zipformer of the first generation (pruned_transducer_stateless7), whose layers are "
            "built otherwise; only those of icefall's 'zipformer' recipes can be imported"
        )
    starts = sorted({".".join(name.split(".")[:2]) for name in shapes})
    raise IsoglossError(
        "no Zipformer encoder: no name like encoder.encoders.0.layers.0.norm.bias; names start "
        f"with {', '.join(starts[:6])}"
    )


def _layers(shapes: Mapping[str, tuple[int, ...]]) -> list[dict[int, str]]:
    """For each stack the prefix of each of its layers."""
    stacks: dict[int, dict[int, str]] = {}
    for name in shapes:
        found = _LAYER.fullmatch(name)
        if found is not None:
            prefix = name[: len(name) - len(found[4])]
            stacks.setdefault(int(found[1]), {})[int(found[3])] = prefix
    for i in range(max(stacks) + 1):
        if i not in stacks:
            raise IsoglossError(f"missing: every name of stack {i} (encoder.encoders.{i}.*)")
        absent = set(range(max(stacks[i]) + 1)) - set(stacks[i])
        if absent:
            raise IsoglossError(f"missing: every name of layer {min(absent)} of stack {i}")
    return [stacks[i] for i in sorted(stacks)]


def _stack(shapes: Mapping[str, tuple[int, ...]], layers: dict[int, str], index: int) -> _Stack:
    def first(name: str, axes: int) -> tuple[int, ...]:
        """From any layer that has it: the layers of a stack are alike."""
        for prefix in layers.values():
            if prefix + name in shapes:
                return _need(shapes, prefix + name, axes)
        return _need(shapes, layers[0] + name, axes)

    deep = ".encoder.layers." in layers[0]
    downsample = f"encoder.encoders.{index}.downsample.bias"
    position, position_dim = first("self_attn_weights.linear_pos.weight", 2)
    return _Stack(
        layers=len(layers),
        factor=_need(shapes, downsample, 1)[0] if deep else 1,
        dim=first("norm.bias", 1)[0],
        feedforward=first("feed_forward2.in_proj.weight", 2)[0],
        kernel=first("conv_module1.depthwise_conv.weight", 3)[2],
        position=position,
        value=first("self_attn1.in_proj.weight", 2)[0],
        attention=first("self_attn_weights.in_proj.weight", 2)[0],
        position_dim=position_dim,
    )


def _need(shapes: Mapping[str, tuple[int, ...]], name: str, axes: int) -> tuple[int, ...]:
    if name not in shapes:
        raise IsoglossError(f"missing: {name}")
    if len(shapes[name]) != axes:
        raise IsoglossError(f"{name} has {len(shapes[name])} axes, expected {axes}")
    return shapes[name]


def _check_bins(width: int, channels: int) -> None:
    """The front end must be made for 80 mel bins; its width leaves four numbers open."""
    frequencies, rest = divmod(width, channels)
    if rest or ((_BINS - 1) // 2 - 1) // 2 != frequencies:
        raise IsoglossError(
            f"the front end is made for {4 * frequencies + 3} to {4 * frequencies + 6} mel bins "
            f"(encoder_embed.out.weight has {width} columns), our features have {_BINS}"
        )


def _heads(
    stacks: Sequence[_Stack], heads: Sequence[int] | None
) -> tuple[tuple[int, ...], tuple[int, int, int], tuple[str, ...]]:
    """Heads of each stack, widths (query, value, position) of a head, and what was assumed."""
    if heads is not None:
        found = _head_widths(stacks, tuple(heads))
        if found is None:
            raise ValueError(
                f"heads {','.join(map(str, heads))} do not divide the attention channels of the "
                f"{len(stacks)} stacks into heads of equal width: positions "
                f"{[s.position for s in stacks]}, values {[s.value for s in stacks]}"
            )
        return tuple(heads), found, ()
    common = math.gcd(*(stack.position for stack in stacks))
    fitting: dict[int, tuple[tuple[int, ...], tuple[int, int, int]]] = {}
    for width in range(1, common + 1):
        if common % width == 0:
            counts = tuple(stack.position // width for stack in stacks)
            widths = _head_widths(stacks, counts)
            if widths is not None:
                fitting[width] = counts, widths
    if not fitting:
        raise IsoglossError(
            "attention heads have different widths in different stacks, which is not built: "
            f"positions {[s.position for s in stacks]}, values {[s.value for s in stacks]}"
        )
    if len(fitting) > 1 and _POSITION_HEAD_DIM not in fitting:
        listed = " or ".join(",".join(map(str, counts)) for counts, _ in fitting.values())
        raise ValueError(f"the shapes fit several numbers of heads; give --heads: {listed}")
    width = _POSITION_HEAD_DIM if _POSITION_HEAD_DIM in fitting else next(iter(fitting))
    counts, widths = fitting[width]
    usual = ZipformerConfig()
    notes: tuple[str, ...] = ()
    standard = (usual.query_head_dim, usual.value_head_dim, usual.position_head_dim)
    if len(fitting) > 1 and widths != standard:
        notes = (
            f"heads {','.join(map(str, counts))} assumed, as position heads of public recipes have "
            f"{width} channels; --heads says otherwise",
        )
    return counts, widths, notes


def _head_widths(stacks: Sequence[_Stack], counts: tuple[int, ...]) -> tuple[int, int, int] | None:
    """Widths (query, value, position) of a head, the same in all stacks, or None."""
    if len(counts) != len(stacks):
        return None
    found = set()
    for stack, count in zip(stacks, counts, strict=True):
        parts = [
            (stack.attention - stack.position, 2 * count),
            (stack.value, count),
            (stack.position, count),
        ]
        if count < 1 or any(total % by for total, by in parts):
            return None
        query, value, position = (total // by for total, by in parts)
        found.add((query, value, position))
    return found.pop() if len(found) == 1 else None
