"""A trained `CtcModel` as an ONNX graph: `ctc_graph` and `encoder_graph`, called by `export`.

The graph is written out operator by operator instead of being traced. The training code computes
with fused kernels, blocks sized for a cache, strided views and data-dependent cuts, none of which
an exporter follows; and torch's exporter spends minutes on how five time axes depend on the first.
Here every size is read from the input while the graph runs, padding is always masked, and matrices
are stored as (in, out), which is what int8 needs. Every export is compared with the model.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from torch import nn

from isogloss.speech.export_nodes import GraphWriter
from isogloss.speech.subsampling import MINIMUM_FRAMES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from isogloss.speech.ctc import CtcModel
    from isogloss.speech.zipformer import SpeechEncoder

__all__ = ["ctc_graph", "encoder_graph"]

# Log-mel energy of digital silence. Any finite value would do, since these frames are masked.
_SILENCE = -15.94
# Frames put behind the input, so that the front end has a step to give however short it is.
_SPARE_FRAMES = MINIMUM_FRAMES - 1


def encoder_graph(model: SpeechEncoder, metadata: Mapping[str, str]) -> Any:
    """The encoder as an `onnx.ModelProto` without a head.

    Inputs x (N, T, 80) float32 log-mel frames and x_lens (N,) int64; outputs steps (N, T', D) and
    steps_lens (N,). T' = ((T - 7) // 2 + 1) // 2, and 0 for fewer than 9 frames, where the model
    itself refuses; steps past a length are 0.
    """
    graph = GraphWriter()
    steps, lengths = _encoder(graph, model)
    graph.op_named("Identity", "steps", steps)
    graph.op_named("Identity", "steps_lens", lengths)
    return graph.model(
        "isogloss encoder",
        _inputs(model),
        [("steps", "float", ["N", "S", model.config.output_dim]), ("steps_lens", "whole", ["N"])],
        metadata,
    )


def ctc_graph(model: CtcModel, head: str, metadata: Mapping[str, str]) -> Any:
    """The encoder with one CTC head as an `onnx.ModelProto`.

    Inputs as `encoder_graph`; outputs log_probs (N, T', V) natural log-probabilities of units and
    log_probs_len (N,), the names that icefall gives them.

    Raises:
        ValueError: the model has no such head.
    """
    chosen: Any = model.ctc_output if head == "standard" else model.ctc_output_dialect
    if chosen is None:
        raise ValueError(f"the model has no {head} head; train it with transcripts = 'both'")
    graph = GraphWriter()
    steps, lengths = _encoder(graph, model)
    graph.op_named("LogSoftmax", "log_probs", _linear(graph, chosen[1], steps), axis=-1)
    graph.op_named("Identity", "log_probs_len", lengths)
    return graph.model(
        "isogloss CTC model",
        _inputs(model),
        [("log_probs", "float", ["N", "S", model.vocab_size]), ("log_probs_len", "whole", ["N"])],
        metadata,
    )


def _inputs(model: SpeechEncoder) -> list[tuple[str, str, Sequence[int | str]]]:
    return [("x", "float", ["N", "T", model.config.bins]), ("x_lens", "whole", ["N"])]


def _encoder(graph: GraphWriter, model: SpeechEncoder) -> tuple[str, str]:
    """Final steps (N, T', D) and their lengths (N,)."""
    spare = graph.whole(0, 0, 0, 0, _SPARE_FRAMES, 0)
    x = graph.op("Pad", "x", spare, graph.number(_SILENCE))
    embedded = _embedded(graph, "x_lens")
    # The mask needs one step at least: a softmax over nothing is not a number.
    lengths = graph.op("Max", embedded, graph.whole(1))
    x = _front(graph, model.encoder_embed, x, lengths)
    outputs = []
    present = model.config.dims[0]
    parts = zip(model.encoder.encoders, model.config.dims, model.config.downsampling, strict=True)
    for part, dim, factor in parts:
        x = _with_channels(graph, x, present, dim)
        x = _stack(graph, part, factor, x, lengths)
        outputs.append((x, dim))
        present = dim
    x = _downsample(graph, model.encoder.downsample_output, _widest(graph, outputs), lengths)
    out_lengths = _ceil_divided(graph, embedded, 2)
    x = graph.op("Mul", x, _keep(graph, out_lengths, graph.size(x, 1)))
    wanted = _ceil_divided(graph, _embedded(graph, graph.size("x", 1)), 2)
    return graph.cut(x, 1, graph.whole(0), wanted), out_lengths


def _embedded(graph: GraphWriter, frames: str) -> str:
    """Steps at 50 Hz of so many frames."""
    above = graph.op("Max", graph.op("Sub", frames, graph.whole(7)), graph.whole(0))
    return graph.op("Div", above, graph.whole(2))


def _front(graph: GraphWriter, front: Any, x: str, lengths: str) -> str:
    """`Conv2dSubsampling`: (N, T, 80) to (N, T', D)."""
    x = graph.op("Unsqueeze", x, graph.whole(1))
    for layer in front.conv:
        if isinstance(layer, nn.Conv2d):
            x = _swoosh_r(graph, _convolution(graph, layer, x))
    keep = _keep(graph, lengths, graph.size(x, 2))
    x = graph.op("Mul", x, graph.op("Unsqueeze", keep, graph.whole(1)))
    block = front.convnext
    y = _convolution(graph, block.pointwise_conv1, _convolution(graph, block.depthwise_conv, x))
    y = _convolution(graph, block.pointwise_conv2, _swoosh_l(graph, y))
    x = graph.op("Transpose", graph.op("Add", x, y), perm=[0, 2, 1, 3])
    x = graph.reshape(x, 0, 0, front.out.in_features)
    return _norm(graph, front.out_norm, _linear(graph, front.out, x))


def _stack(graph: GraphWriter, part: Any, factor: int, x: str, lengths: str) -> str:
    """`Stack` or `DownsampledStack`: (N, T, C) to (N, T, C)."""
    if factor == 1:
        return _layers(graph, part, x, lengths)
    low = _downsample(graph, part.downsample, x, lengths)
    low = _layers(graph, part.encoder, low, _ceil_divided(graph, lengths, factor))
    high = graph.op("Unsqueeze", low, graph.whole(2))
    high = graph.op("Expand", high, graph.whole(1, 1, factor, 1))
    high = graph.reshape(high, 0, -1, len(part.out_combiner.bypass_scale))
    high = graph.cut(high, 1, graph.whole(0), graph.size(x, 1))
    return _bypass(graph, part.out_combiner, x, high)


def _layers(graph: GraphWriter, stack: Any, x: str, lengths: str) -> str:
    steps = graph.size(x, 1)
    keep = _keep(graph, lengths, steps)
    # exp(-1000) is exactly 0 in float32.
    bias = graph.op("Mul", graph.op("Sub", keep, graph.number(1.0)), graph.number(1000.0))
    bias = graph.op("Unsqueeze", graph.op("Transpose", bias, perm=[0, 2, 1]), graph.whole(1))
    position = _position(graph, steps, stack.position.dim)
    for layer in stack.layers:
        x = _layer(graph, layer, x, position, keep, bias)
    return x


def _layer(graph: GraphWriter, layer: Any, x: str, position: str, keep: str, bias: str) -> str:
    """`ZipformerLayer`: (N, T, C) to (N, T, C)."""
    start = x
    weights = _attention_weights(graph, layer.self_attn_weights, x, position, bias)
    first = graph.op(
        "Squeeze", graph.cut(weights, 1, graph.whole(0), graph.whole(1)), graph.whole(1)
    )
    x = graph.op("Add", x, _feed_forward(graph, layer.feed_forward1, x))
    x = graph.op("Add", x, _gated(graph, layer.nonlin_attention, x, first))
    x = graph.op("Add", x, _mix(graph, layer.self_attn1, x, weights))
    x = graph.op("Add", x, _over_time(graph, layer.conv_module1, x, keep))
    x = graph.op("Add", x, _feed_forward(graph, layer.feed_forward2, x))
    x = _bypass(graph, layer.bypass_mid, start, x)
    x = graph.op("Add", x, _mix(graph, layer.self_attn2, x, weights))
    x = graph.op("Add", x, _over_time(graph, layer.conv_module2, x, keep))
    x = graph.op("Add", x, _feed_forward(graph, layer.feed_forward3, x))
    return _bypass(graph, layer.bypass, start, _norm(graph, layer.norm, x))


def _attention_weights(graph: GraphWriter, part: Any, x: str, position: str, bias: str) -> str:
    """(N, T, C) with positions (2 T - 1, P) to (N, H, T, T)."""
    heads, wide, narrow = part.heads, part.query_head, part.position_head
    sizes = graph.whole(heads * wide, heads * wide, heads * narrow)
    query, key, where = graph.ops(
        "Split", _linear(graph, part.in_proj, x), sizes, outputs=3, axis=-1
    )
    query, where = (
        graph.op("Transpose", graph.reshape(y, 0, 0, heads, d), perm=[0, 2, 1, 3])
        for y, d in ((query, wide), (where, narrow))
    )
    key = graph.op("Transpose", graph.reshape(key, 0, 0, heads, wide), perm=[0, 2, 3, 1])
    encoded = graph.reshape(_linear(graph, part.linear_pos, position), 0, heads, narrow)
    encoded = graph.op("Transpose", encoded, perm=[1, 2, 0])
    by_distance = _by_distance(graph, graph.op("MatMul", where, encoded))
    scores = graph.op("Add", graph.op("MatMul", query, key), by_distance)
    return graph.op("Softmax", graph.op("Add", scores, bias), axis=-1)


def _by_distance(graph: GraphWriter, x: str) -> str:
    """(N, H, T, 2 T - 1) scores of offsets to (N, H, T, T): entry i, j takes offset j - i.

    With one column more, row i's first wanted entry lies 2 T - 1 places behind that of row i - 1,
    so cutting the front off and folding into rows of that length lines them up.
    """
    steps, row = graph.size(x, 2), graph.size(x, 3)
    flat = graph.reshape(graph.op("Pad", x, graph.whole(0, 0, 0, 0, 0, 0, 0, 1)), 0, 0, -1)
    start = graph.op("Sub", steps, graph.whole(1))
    end = graph.op("Add", start, graph.op("Mul", steps, row))
    folded = graph.reshape(graph.cut(flat, 2, start, end), 0, 0, steps, row)
    return graph.cut(folded, 3, graph.whole(0), steps)


def _mix(graph: GraphWriter, part: Any, x: str, weights: str) -> str:
    """`SelfAttention`."""
    width = part.in_proj.out_features
    values = graph.reshape(_linear(graph, part.in_proj, x), 0, 0, part.heads, width // part.heads)
    values = graph.op("Transpose", values, perm=[0, 2, 1, 3])
    mixed = graph.op("Transpose", graph.op("MatMul", weights, values), perm=[0, 2, 1, 3])
    return _linear(graph, part.out_proj, graph.reshape(mixed, 0, 0, width))


def _gated(graph: GraphWriter, part: Any, x: str, weights: str) -> str:
    """`NonlinAttention`."""
    width = part.out_proj.in_features
    gate, values, after = graph.ops(
        "Split",
        _linear(graph, part.in_proj, x),
        graph.whole(width, width, width),
        outputs=3,
        axis=-1,
    )
    values = graph.op("Mul", values, graph.op("Tanh", gate))
    mixed = graph.op("Mul", graph.op("MatMul", weights, values), after)
    return _linear(graph, part.out_proj, mixed)


def _feed_forward(graph: GraphWriter, part: Any, x: str) -> str:
    return _linear(graph, part.out_proj, _swoosh_l(graph, _linear(graph, part.in_proj, x)))


def _over_time(graph: GraphWriter, part: Any, x: str, keep: str) -> str:
    """`Convolution`."""
    width = part.out_proj.in_features
    values, gate = graph.ops(
        "Split", _linear(graph, part.in_proj, x), graph.whole(width, width), outputs=2, axis=-1
    )
    x = graph.op("Mul", graph.op("Mul", values, graph.op("Sigmoid", gate)), keep)
    x = _convolution(graph, part.depthwise_conv, graph.op("Transpose", x, perm=[0, 2, 1]))
    x = graph.op("Transpose", x, perm=[0, 2, 1])
    return _linear(graph, part.out_proj, _swoosh_r(graph, x))


def _linear(graph: GraphWriter, layer: Any, x: str) -> str:
    product = graph.op("MatMul", x, graph.weight(layer.weight.detach().t()))
    if layer.bias is None:
        return product
    return graph.op("Add", product, graph.weight(layer.bias.detach()))


def _convolution(graph: GraphWriter, layer: nn.Conv1d | nn.Conv2d, x: str) -> str:
    weights: list[Tensor] = [layer.weight]
    if layer.bias is not None:
        weights.append(layer.bias)
    return graph.op(
        "Conv",
        x,
        *(graph.weight(weight.detach()) for weight in weights),
        kernel_shape=list(layer.kernel_size),
        strides=list(layer.stride),
        pads=[*layer.padding, *layer.padding],
        group=layer.groups,
    )


def _norm(graph: GraphWriter, norm: Any, x: str) -> str:
    """`BiasNorm`."""
    centred = graph.op("Sub", x, graph.weight(norm.bias.detach()))
    power = graph.op("ReduceMean", graph.op("Mul", centred, centred), axes=[-1], keepdims=1)
    power = graph.op("Sqrt", graph.op("Max", power, graph.number(1e-20)))
    scale = graph.op("Div", graph.number(float(norm.log_scale.detach().exp())), power)
    return graph.op("Mul", x, scale)


def _bypass(graph: GraphWriter, bypass: Any, before: str, after: str) -> str:
    change = graph.op("Sub", after, before)
    change = graph.op("Mul", change, graph.weight(bypass.bypass_scale.detach()))
    return graph.op("Add", before, change)


def _swoosh_l(graph: GraphWriter, x: str) -> str:
    return _swoosh(graph, x, 4.0, 0.035)


def _swoosh_r(graph: GraphWriter, x: str) -> str:
    return _swoosh(graph, x, 1.0, 0.313261687)


def _swoosh(graph: GraphWriter, x: str, offset: float, constant: float) -> str:
    """log(1 + exp(y)) - 0.08 x - constant with y = x - offset.

    The logarithm is max(y, 0) + log(1 + exp(-|y|)), exact to 1e-7 and with no overflow: the
    operator Softplus of onnxruntime works value by value and took half of the whole time.
    """
    y = graph.op("Sub", x, graph.number(offset))
    small = graph.op("Exp", graph.op("Neg", graph.op("Abs", y)))
    soft = graph.op("Log", graph.op("Add", small, graph.number(1.0)))
    soft = graph.op("Add", graph.op("Relu", y), soft)
    line = graph.op("Mul", x, graph.number(0.08))
    return graph.op("Sub", soft, graph.op("Add", line, graph.number(constant)))


def _downsample(graph: GraphWriter, part: Any, x: str, lengths: str) -> str:
    """`Downsample`: what lies past an utterance's end goes to its last step."""
    factor = part.factor
    weights = part.bias.detach().softmax(dim=0)
    steps = graph.size(x, 1)
    filled = graph.op("Mul", _ceil_divided(graph, steps, factor), graph.whole(factor))
    missing = graph.op("Sub", filled, steps)
    pads = graph.op("Concat", graph.whole(0, 0, 0, 0), missing, graph.whole(0), axis=0)
    place = graph.reshape(graph.range(graph.whole(0), filled), 1, -1, factor)
    ends = graph.reshape(lengths, -1, 1, 1)
    real = graph.floats(graph.op("Less", place, ends))
    last = graph.floats(graph.op("Equal", place, graph.op("Sub", ends, graph.whole(1))))
    own = graph.op("Mul", graph.weight(weights), real)
    rest = graph.op("Sub", graph.number(1.0), graph.op("ReduceSum", own, graph.whole(-1)))
    own = graph.op("Add", own, graph.op("Mul", last, rest))
    width = graph.size(x, 2)
    groups = graph.reshape(graph.op("Pad", x, pads), 0, -1, graph.whole(factor), width)
    weighted = graph.op("Mul", groups, graph.op("Unsqueeze", own, graph.whole(-1)))
    return graph.op("ReduceSum", weighted, graph.whole(2), keepdims=0)


def _position(graph: GraphWriter, steps: str, dim: int) -> str:
    """(2 * steps - 1, dim) encodings of the offsets, as `RelativePosition`."""
    length = math.sqrt(dim)
    first = graph.op("Sub", graph.whole(1), steps)
    offset = graph.reshape(graph.floats(graph.range(first, steps)), -1, 1)
    size = graph.op("Add", graph.op("Abs", offset), graph.number(length))
    size = graph.op("Sub", graph.op("Log", size), graph.number(math.log(length)))
    compressed = graph.op("Mul", graph.op("Sign", offset), size)
    angle = graph.op("Atan", graph.op("Mul", compressed, graph.number(length * 2 * math.pi / dim)))
    angle = graph.op("Mul", angle, graph.weight([float(i + 1) for i in range(dim // 2)]))
    waves = [graph.op("Unsqueeze", graph.op(f, angle), graph.whole(2)) for f in ("Cos", "Sin")]
    encoding = graph.reshape(graph.op("Concat", *waves, axis=2), -1, dim)
    # The last channel is the constant 1.
    encoding = graph.op("Mul", encoding, graph.weight([1.0] * (dim - 1) + [0.0]))
    return graph.op("Add", encoding, graph.weight([0.0] * (dim - 1) + [1.0]))


def _keep(graph: GraphWriter, lengths: str, steps: str) -> str:
    """(N, steps, 1) float32, 1 where a step is real."""
    place = graph.range(graph.whole(0), steps)
    real = graph.op("Less", place, graph.op("Unsqueeze", lengths, graph.whole(1)))
    return graph.op("Unsqueeze", graph.floats(real), graph.whole(2))


def _ceil_divided(graph: GraphWriter, x: str, factor: int) -> str:
    return graph.op("Div", graph.op("Add", x, graph.whole(factor - 1)), graph.whole(factor))


def _with_channels(graph: GraphWriter, x: str, present: int, dim: int) -> str:
    if present == dim:
        return x
    if present > dim:
        return graph.cut(x, 2, graph.whole(0), graph.whole(dim))
    return graph.op("Pad", x, graph.whole(0, 0, 0, 0, 0, dim - present))


def _widest(graph: GraphWriter, outputs: Sequence[tuple[str, int]]) -> str:
    """For each channel the latest stack that has it."""
    pieces, width = [outputs[-1][0]], outputs[-1][1]
    for output, dim in reversed(outputs[:-1]):
        if dim > width:
            pieces.append(graph.cut(output, 2, graph.whole(width), graph.whole(dim)))
            width = dim
    return graph.op("Concat", *pieces, axis=2) if len(pieces) > 1 else pieces[0]
