"""Blocks and points inside them: found in every architecture, outputs of both forms."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn

from isogloss.encoders.hf_blocks import (
    blocks_of,
    captured,
    output_states,
    site_point,
    text_part,
    with_states,
)
from isogloss.errors import IsoglossError, UnknownName

pytest.importorskip("transformers")

from text_checkpoints import ARCHITECTURES, LAYERS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

torch.set_num_threads(1)


def test_a_tensor_and_a_tuple_keep_their_form() -> None:
    states, new = torch.zeros(1, 2, 3), torch.ones(1, 2, 3)
    assert output_states(states) is states
    assert output_states((states, "cache")) is states
    assert with_states(states, new) is new
    replaced = with_states((states, "cache"), new)
    assert replaced == (new, "cache")
    assert with_states([states, 1], new) == [new, 1]
    with pytest.raises(TypeError, match="a block returned dict without states"):
        output_states({"a": 1})


@pytest.mark.parametrize("architecture", ["bert", "t5", "gpt2"])
def test_states_replaced_in_a_block_reach_the_next(
    architecture: str, text_folder: Callable[[str], Path]
) -> None:
    """Whatever form a block's output has, a hook that doubles its states doubles what comes in."""
    from transformers import AutoModel

    model = AutoModel.from_pretrained(text_folder(architecture)).eval()
    blocks, part = blocks_of(model), text_part(model)
    ids = torch.arange(5, 11).reshape(1, -1)
    with torch.inference_mode():
        with captured(blocks, [1, 2]) as before:
            part(input_ids=ids)
        hook = blocks[0].register_forward_hook(
            lambda module, arguments, output: with_states(output, 2 * output_states(output))
        )
        try:
            with captured(blocks[1:], [0]) as after:
                part(input_ids=ids)
        finally:
            hook.remove()
    torch.testing.assert_close(after[0], 2 * before[1])


@pytest.mark.parametrize("architecture", sorted({*ARCHITECTURES} - {"canine"}))
def test_heads_and_decoders_are_left_out(
    architecture: str, text_folder: Callable[[str], Path]
) -> None:
    from transformers import AutoConfig, AutoModel

    config = AutoConfig.from_pretrained(text_folder(architecture))
    model = AutoModel.from_config(config)
    blocks = blocks_of(model)
    assert len(blocks) == LAYERS
    assert blocks_of(text_part(model)) == blocks
    for site in ("residual", "mlp", "attention"):
        point = site_point(blocks[0], site)
        assert point.side == ("input" if site == "mlp" else "output")


def test_the_blocks_of_a_language_model_are_those_below_its_head(
    text_folder: Callable[[str], Path],
) -> None:
    from transformers import AutoModelForCausalLM, AutoModelForMaskedLM

    for kind, architecture in ((AutoModelForCausalLM, "llama"), (AutoModelForMaskedLM, "bert")):
        model = kind.from_config(_config(text_folder(architecture)))
        assert len(blocks_of(model)) == LAYERS
        assert blocks_of(model)[0] in set(model.modules())


def test_shared_blocks_are_captured_layer_by_layer(text_folder: Callable[[str], Path]) -> None:
    from transformers import AutoModel

    model = AutoModel.from_pretrained(text_folder("albert")).eval()
    blocks = blocks_of(model)
    assert len(blocks) == LAYERS
    assert blocks[0] is blocks[2]
    ids = torch.arange(5, 11).reshape(1, -1)
    with torch.inference_mode(), captured(blocks, range(LAYERS + 1)) as states:
        own = model(ids, output_hidden_states=True).hidden_states
    for layer in range(LAYERS + 1):
        torch.testing.assert_close(states[layer], own[layer])


def test_what_has_no_blocks_or_no_projection_is_named(text_folder: Callable[[str], Path]) -> None:
    class Plain(nn.Module):
        config = SimpleNamespace(is_encoder_decoder=False, num_hidden_layers=2)

    with pytest.raises(IsoglossError, match="Plain: no row of 2 blocks"):
        blocks_of(Plain())
    with pytest.raises(IsoglossError, match=r"Linear: the FFN has no one output projection"):
        site_point(nn.Linear(2, 2), "mlp")
    with pytest.raises(UnknownName, match="unknown site 'ffn'"):
        site_point(nn.Linear(2, 2), "ffn")


def test_hooks_are_gone_afterwards(text_folder: Callable[[str], Path]) -> None:
    from transformers import AutoModel

    model = AutoModel.from_config(_config(text_folder("bert")))
    blocks = blocks_of(model)
    with pytest.raises(RuntimeError, match="stop"), captured(blocks, range(5)):
        raise RuntimeError("stop")
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def _config(folder: Path) -> object:
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(folder)
