"""A model of transformers in, its blocks and the points inside them out: what hooks are put on.

Blocks are numbered as in `hf`: state 0 is the input of the first block, state i the output of block
i. Depending on model and version a block returns a tensor or a tuple with the states first;
`output_states` and `with_states` take both.
"""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from isogloss.errors import IsoglossError, UnknownName

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from torch import Tensor
    from torch.nn import Module

__all__ = [
    "SITES",
    "SitePoint",
    "blocks_of",
    "captured",
    "output_states",
    "site_point",
    "text_part",
    "with_states",
]

SITES = ("residual", "mlp", "attention")
"""Where states are taken: between blocks, before the FFN's down projection, behind attention."""

# Names of the down projection, and of the attention's output projection, inside a block.
_DOWN = (
    "mlp.down_proj",
    "mlp.c_proj",
    "mlp.dense_4h_to_h",
    "mlp.Wo",
    "mlp.fc2",
    "mlp.fc_out",
    "mlp.c_fc2",
    "ffn.lin2",
    "ffn.down_proj",
    "fc2",
    "layer.1.DenseReluDense.wo",
    "layer.2.DenseReluDense.wo",
    "albert_layers.0.ffn_output",
    "output.dense",
)
_ATTENTION = (
    "self_attn.o_proj",
    "self_attn.out_proj",
    "self_attn.dense",
    "self_attention.dense",
    "attention.output.dense",
    "attention.out_lin",
    "attention.dense",
    "attn.c_proj",
    "attn.out_proj",
    "attn.attention.out_proj",
    "attn.Wo",
    "attention.attn.o",
    "layer.0.SelfAttention.o",
    "albert_layers.0.attention.dense",
)


@dataclass(frozen=True, slots=True)
class SitePoint:
    """Where the states of a site pass: `module`, at its 'input' (first argument) or 'output'."""

    module: Module
    side: str


def text_part(model: Module) -> Module:
    """What turns token numbers into states: of an encoder-decoder its encoder.

    Of a model that also sees or hears, the language model inside; of one with a head for a task,
    what is below the head.
    """
    any_model = cast("Any", model)
    config = any_model.config
    if config.is_encoder_decoder and hasattr(model, "get_encoder"):
        return cast("Module", any_model.get_encoder())
    inner = getattr(model, getattr(model, "base_model_prefix", ""), model)
    for name in ("language_model", "text_model"):
        if hasattr(inner, name):
            return cast("Module", getattr(inner, name))
    return cast("Module", inner)


def blocks_of(model: Module) -> tuple[Module, ...]:
    """The blocks of `text_part(model)`, first to last.

    A block whose weights serve several layers (ALBERT) is there once for each layer, so a hook on
    it runs several times in one pass.

    Raises:
        IsoglossError: no row of equal blocks is found.
    """
    from torch.nn import ModuleList

    part = text_part(model)
    config: Any = getattr(part, "config", None)
    depth = _depth(config)
    lists = [
        (name, module)
        for name, module in part.named_modules()
        if isinstance(module, ModuleList) and len(module)
    ]
    # Of equal length the outermost: lists inside blocks have longer names.
    lists.sort(key=lambda pair: pair[0].count("."))
    for _, found in lists:
        if len(found) == depth:
            return tuple(found)
    for name, found in lists:
        # Groups of shared layers, each used for as many layers in a row.
        if depth and name.endswith("layer_groups") and depth % len(found) == 0:
            return tuple(found[i * len(found) // depth] for i in range(depth))
    alike = [found for _, found in lists if depth is None and len({type(m) for m in found}) == 1]
    if alike:
        return max((tuple(found) for found in alike), key=len)
    raise IsoglossError(
        f"{type(part).__name__}: no row of {depth or 'equal'} blocks is found in it; only models "
        "made of blocks one behind the other can be read layer by layer"
    )


def site_point(block: Module, site: str) -> SitePoint:
    """Where the states of `site` pass in `block`.

    'residual': output of the block, (N, L, D). 'mlp': input of the FFN's down projection, (N, L, F)
    with F the FFN's width: what is called the activations of its neurons. 'attention': output of
    the attention's output projection, (N, L, D), before dropout, norm and residual sum.

    Raises:
        UnknownName: no such site.
        IsoglossError: the block has no such projection, or several (mixtures of experts).
    """
    if site not in SITES:
        raise UnknownName("site", site, SITES)
    if site == "residual":
        return SitePoint(block, "output")
    names, side = (_DOWN, "input") if site == "mlp" else (_ATTENTION, "output")
    modules = dict(block.named_modules())
    # The shorter 'output.dense' is also the end of 'attention.output.dense', so names are whole.
    for name in names:
        if name in modules and hasattr(modules[name], "weight"):
            return SitePoint(modules[name], side)
    raise IsoglossError(
        f"{type(block).__name__}: the {'FFN' if site == 'mlp' else 'attention'} has no one output "
        f"projection of a known name, so it has no site '{site}'; site residual works"
    )


def output_states(output: Any) -> Tensor:
    """The states in what a block or projection returned: the tensor, or the first of a tuple.

    Raises:
        TypeError: there is no tensor.
    """
    from torch import Tensor

    first = output[0] if isinstance(output, (tuple, list)) else output
    if not isinstance(first, Tensor):
        raise TypeError(f"a block returned {type(output).__name__} without states in front")
    return first


def with_states(output: Any, new: Tensor) -> Any:
    """`output` of a block with `new` in place of its states, in the form in which it came."""
    if isinstance(output, tuple):
        return (new, *output[1:])
    if isinstance(output, list):
        return [new, *output[1:]]
    return new


@contextmanager
def captured(
    blocks: Sequence[Module], layers: Sequence[int], site: str = "residual"
) -> Iterator[Mapping[int, Tensor]]:
    """A mapping that fills with the states of `layers` while the model runs once.

    At site 'residual' 0 is the input of the first block and i the output of block i; at the others
    i is inside block i, and there is no 0. States are copies, as models may go on to change a
    block's output in place. A second pass replaces the states of the first.

    Args:
        blocks: of `blocks_of`.
        layers: 0 (or 1) to the number of blocks; others are left out.
        site: one of `SITES`.

    Raises:
        UnknownName, IsoglossError: as `site_point`.
    """
    states: dict[int, Tensor] = {}
    hooks = []
    calls: Counter[int] = Counter()

    def keep_input(module: Any, arguments: Any, keywords: Any) -> None:
        del module
        # A shared block is called again for the layers behind the first.
        if calls[0] % max(1, sum(block is blocks[0] for block in blocks)) == 0:
            states[0] = (arguments[0] if arguments else keywords["hidden_states"]).clone()
        calls[0] += 1

    def keep(places: list[int], side: str) -> Any:
        def hook(module: Any, arguments: Any, output: Any) -> None:
            del module
            layer = places[calls[places[0]] % len(places)]
            calls[places[0]] += 1
            if layer in layers:
                found = arguments[0] if side == "input" else output_states(output)
                states[layer] = found.clone()

        return hook

    # A shared block has the layers that it serves in a row, in the order of its calls.
    served: dict[Module, list[int]] = {}
    for number, block in enumerate(blocks, start=1):
        served.setdefault(block, []).append(number)
    try:
        if 0 in layers and site == "residual":
            hooks.append(blocks[0].register_forward_pre_hook(keep_input, with_kwargs=True))
        for block, places in served.items():
            if any(layer in layers for layer in places):
                point = site_point(block, site)
                hooks.append(point.module.register_forward_hook(keep(places, point.side)))
        yield states
    finally:
        for handle in hooks:
            handle.remove()


def _depth(config: Any) -> int | None:
    """How many blocks the configuration promises; None where it does not say."""
    for name in ("num_hidden_layers", "encoder_layers", "num_layers", "n_layer", "n_layers"):
        value = getattr(config, name, None)
        if isinstance(value, int) and value > 0:
            return value
    return None
