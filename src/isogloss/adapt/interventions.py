"""Changes of states hooked into a model's forward pass, while it encodes or generates.

`intervened(model, Intervention(...))` is a context manager around any model of transformers, a
`CausalModel`, or an encoder of texts; `SteeredEncoder` is an encoder under interventions.
"""

from __future__ import annotations

import inspect
import math
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from isogloss.adapt.changes import Shift
from isogloss.encoders.hf_blocks import (
    blocks_of,
    output_states,
    site_point,
    text_part,
    with_states,
)
from isogloss.llm.token_marks import prompt_columns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import Tensor

    from isogloss.adapt.changes import Change
    from isogloss.types import Encoder, Item, Sequences

__all__ = ["Intervention", "Phase", "Site", "SteeredEncoder", "intervened"]

Phase = Literal["prompt", "generated", "both"]
Site = Literal["residual", "mlp", "attention"]


@dataclass(frozen=True, eq=False)
class Intervention:
    """A change of the states of one layer and site.

    Attributes:
        change: states in, states out; see `changes`.
        layer: as encoders count: 0 is the input of the first block, i the output of block i; for
            the sites inside a block, i is block i.
        site: 'residual', 'mlp' (what enters the down projection of the feed-forward network) or
            'attention' (the attention's output before it is added).
        phase: 'prompt' changes the tokens of the prompt alone (in encoding, every token),
            'generated' only what is generated, 'both' all.
        strength: how far to go. Not `relative`: the new state is state + strength * (change -
            state), so 0 changes nothing and 1 is the change itself. `relative`: the difference
            gets the length strength * the length of the state itself, each token by itself.
        relative: see `strength`; how strengths of different methods and layers are compared.
        special: change the states of special tokens (such as the start of text) too. The first
            token of large models often is many times longer than all others, and is not text.

    Raises:
        ValueError: a field is out of range, or `change` is a `Shift` that is a direction only and
            `relative` is False.
    """

    change: Change
    layer: int
    site: Site = "residual"
    phase: Phase = "both"
    strength: float = 1.0
    relative: bool = False
    special: bool = False

    def __post_init__(self) -> None:
        for name, kind in (("site", Site), ("phase", Phase)):
            if getattr(self, name) not in get_args(kind):
                raise ValueError(
                    f"{name} must be one of {', '.join(get_args(kind))}, got {getattr(self, name)}"
                )
        if not math.isfinite(self.strength):
            raise ValueError(f"strength must be a finite number, got {self.strength}")
        least = 0 if self.site == "residual" else 1
        if self.layer < least:
            raise ValueError(f"layer of site '{self.site}' starts at {least}, got {self.layer}")
        if isinstance(self.change, Shift) and self.change.direction and not self.relative:
            raise ValueError(
                "this shift is a direction of no length of its own; say relative=True, and the "
                "strength is a share of the states' length"
            )

    @property
    def said(self) -> str:
        """What identifies it in signatures."""
        kind = "relative" if self.relative else "own"
        return (
            f"{self.change.said}@{self.site}{self.layer};phase={self.phase};"
            f"strength={self.strength:g} {kind}" + (";special" if self.special else "")
        )

    def changed(self, states: Tensor) -> Tensor:
        """(M, D) states after the change at this strength.

        Raises:
            ValueError: the change does not fit D.
        """
        try:
            difference = self.change(states) - states
        except (RuntimeError, IndexError) as error:
            raise ValueError(
                f"{self.change.said} does not fit states of {states.shape[-1]} dimensions at "
                f"{self.site} {self.layer}: {str(error).splitlines()[0]}"
            ) from error
        share: Tensor | float = self.strength
        if self.relative:
            lengths = difference.norm(dim=-1, keepdim=True)
            wanted = self.strength * states.norm(dim=-1, keepdim=True)
            # A state that the change leaves alone has no direction to go in.
            share = (lengths > 0) * wanted / lengths.clamp(min=1e-12)
        changed: Tensor = states + share * difference
        return changed


@contextmanager
def intervened(target: Any, *interventions: Intervention) -> Iterator[None]:
    """Within the block every forward pass of `target` is changed, and afterwards none.

    That holds after an error too.

    Blocks nest: what was hooked first changes states first. Padding is never touched. A prompt is
    told from what is generated by the loop of `CausalModel`; elsewhere (transformers' own
    `generate`) tokens count as generated once there is a cache of keys and values, so without a
    cache all is prompt there.

    Encoded steps that are kept by `made_by` would be kept under the unchanged encoder's name:
    encode through a `SteeredEncoder` instead.

    Args:
        target: a `CausalModel`, an `HfTextEncoder`, or a model of transformers.
        interventions: in order; those of one layer and site are applied one after the other.

    Raises:
        ValueError: a layer or site that the model does not have. During a pass: the states do not
            fit the mask of padding, or a change does not fit their dimensions.
    """
    # An encoder of texts keeps model, blocks and tokenizer together.
    held = getattr(target, "text_model", target)
    model = getattr(held, "model", held) if not hasattr(held, "forward") else held
    tokenizer = getattr(held, "tokenizer", None)
    blocks = tuple(getattr(held, "blocks", None) or blocks_of(model))
    marks = TokenMarks(tuple(getattr(tokenizer, "all_special_ids", None) or ()))
    with ExitStack() as hooks:
        hooks.enter_context(marks.kept_for(_run_with_tokens(model)))
        for intervention in interventions:
            hooks.enter_context(_hooked(blocks, intervention, marks))
        yield


def _run_with_tokens(model: Any) -> Any:
    """What is called with the tokens whose states are changed; of an encoder-decoder its encoder.

    Generating, such a model runs its encoder once by itself, and then the rest without tokens.
    """
    several = getattr(getattr(model, "config", None), "is_encoder_decoder", False)
    return text_part(model) if several else model


@dataclass(frozen=True, eq=False)
class SteeredEncoder:
    """An encoder whose model is under interventions while it encodes, and at no other time.

    Attributes:
        encoder: an `HfTextEncoder`.
        interventions: in order.
    """

    encoder: Encoder
    interventions: tuple[Intervention, ...]

    @property
    def made_by(self) -> str:
        """The encoder's, and every intervention: cached steps are kept apart."""
        said = "+".join(intervention.said for intervention in self.interventions)
        return f"{self.encoder.made_by};steered={said}"

    def encode(self, items: Sequence[Item]) -> Sequences:
        """Steps of `items` under the interventions; errors as of the encoder and `intervened`."""
        from dataclasses import replace

        with intervened(self.encoder, *self.interventions):
            found = self.encoder.encode(items)
        return replace(found, made_by=self.made_by)


class TokenMarks:
    """Which tokens of the pass under way are real, special, generated; filled before each pass."""

    def __init__(self, special_ids: tuple[int, ...]) -> None:
        self.special_ids = special_ids
        self.is_real: Tensor | None = None
        self.is_special: Tensor | None = None
        self.is_generated: Tensor | None = None

    @contextmanager
    def kept_for(self, model: Any) -> Iterator[None]:
        """Within the block, the marks are those of the model's pass under way."""
        handle = model.register_forward_pre_hook(self._see, with_kwargs=True)
        try:
            yield
        finally:
            handle.remove()

    def chosen(self, states: Tensor, phase: Phase, *, special: bool) -> Tensor:
        """(N, T) bool: the tokens of (N, T, D) states to change or read.

        Raises:
            ValueError: the states are no rows of tokens of the pass under way.
        """
        if self.is_real is None or self.is_generated is None:
            raise ValueError("the block was run by itself; call the whole model")
        if states.shape[:-1] != self.is_real.shape:
            raise ValueError(
                f"states of shape {tuple(states.shape)} do not fit the pass of "
                f"{tuple(self.is_real.shape)} tokens; models that pack rows together are not "
                "supported: load with attn_implementation='sdpa'"
            )
        chosen = self.is_real
        if self.is_special is not None and not special:
            chosen = chosen & ~self.is_special
        if phase != "both":
            wanted = self.is_generated if phase == "generated" else ~self.is_generated
            chosen = chosen & wanted
        return chosen

    def _see(self, module: Any, arguments: Any, keywords: Any) -> None:
        import torch

        bound = inspect.signature(module.forward).bind_partial(*arguments, **keywords)
        given = {**bound.arguments, **bound.arguments.get("kwargs", {})}
        ids, embedded = given.get("input_ids"), given.get("inputs_embeds")
        tokens = ids if ids is not None else embedded
        if tokens is None:
            raise ValueError("the model is called without input_ids and inputs_embeds")
        rows, columns = tokens.shape[:2]
        cache = given.get("past_key_values")
        past = int(cache.get_seq_length()) if cache is not None else 0
        mask = given.get("attention_mask")
        if mask is None:
            mask = torch.ones((rows, past + columns), device=tokens.device)
        if mask.ndim != 2:
            raise ValueError(
                f"attention_mask has shape {tuple(mask.shape)}; (N, T) is needed to leave padding "
                "alone"
            )
        self.is_real = mask[:, -columns:].bool()
        self.is_special = None
        if ids is not None and self.special_ids:
            self.is_special = torch.isin(ids, ids.new_tensor(self.special_ids))
        ends = prompt_columns()
        if ends is None:
            self.is_generated = torch.full((rows, columns), past > 0, device=tokens.device)
        else:
            places = past + torch.arange(columns, device=tokens.device)
            self.is_generated = places[None, :] >= ends.to(tokens.device)


@contextmanager
def _hooked(blocks: Sequence[Any], intervention: Intervention, marks: TokenMarks) -> Iterator[None]:
    def change(states: Tensor) -> Tensor | None:
        chosen = marks.chosen(states, intervention.phase, special=intervention.special)
        if not bool(chosen.any()):
            return None
        changed = states.clone()
        changed[chosen] = intervention.changed(states[chosen]).to(states.dtype)
        return changed

    with at_site(blocks, intervention.layer, intervention.site, change):
        yield


@contextmanager
def at_site(
    blocks: Sequence[Any], layer: int, site: Site, change: Callable[[Tensor], Tensor | None]
) -> Iterator[None]:
    """Within the block, `change` sees the (N, T, D) states of a layer and site in every pass.

    What it returns takes their place; None leaves them.

    Raises:
        ValueError: there is no such layer, or its block is shared with other layers.
        IsoglossError: the block has no such site.
    """
    if not 0 <= layer <= len(blocks):
        raise ValueError(
            f"layer must be one of 0 to {len(blocks)} (0 the input of the first of {len(blocks)} "
            f"blocks), got {layer}"
        )
    if sum(block is blocks[layer - 1] for block in blocks) > 1:
        raise ValueError(
            f"block {layer} shares its weights with others, so a hook on it would change them too"
        )

    def before(module: Any, arguments: Any, keywords: Any) -> Any:
        del module
        changed = change(arguments[0] if arguments else keywords["hidden_states"])
        if changed is None:
            return None
        if arguments:
            return (changed, *arguments[1:]), keywords
        return arguments, {**keywords, "hidden_states": changed}

    def after(module: Any, arguments: Any, output: Any) -> Any:
        del module, arguments
        changed = change(output_states(output))
        return None if changed is None else with_states(output, changed)

    if layer == 0:
        handle = blocks[0].register_forward_pre_hook(before, with_kwargs=True)
    else:
        point = site_point(blocks[layer - 1], site)
        if point.side == "input":
            handle = point.module.register_forward_pre_hook(before, with_kwargs=True)
        else:
            handle = point.module.register_forward_hook(after)
    try:
        yield
    finally:
        handle.remove()
