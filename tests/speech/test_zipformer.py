"""The Zipformer against the public implementation, its padding law, its training-time rules."""

import functools
import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from isogloss._config import config_from_mapping
from isogloss.errors import UnknownName
from isogloss.speech.scaling import set_batch_count
from isogloss.speech.zipformer import SpeechEncoder, ZipformerConfig

torch.set_num_threads(1)

# Outputs of the PyPI package zipformer 0.1.3 (a torch-only port of icefall by its authors) with the
# weights that `fill` gives and the input that `public_input` gives, run in evaluation mode, one
# utterance a time, on torch 2.13.0; and its state's names and shapes for the named sizes.
PUBLIC = json.loads(Path(__file__).with_name("zipformer_outputs.json").read_text("utf-8"))

TINY = ZipformerConfig.of_size("tiny")
# Widths that grow and shrink, so that channels are added, dropped and taken from earlier stacks.
UNEVEN = replace(
    TINY,
    layers=(1, 2, 1, 1, 1, 1),
    feedforward_dims=(48, 64, 96, 128, 96, 64),
    dims=(32, 48, 64, 96, 64, 40),
    unmasked_dims=(32, 32, 48, 48, 48, 32),
)
CONFIGS = {"tiny": TINY, "uneven": UNEVEN, "small": ZipformerConfig.of_size("small")}


def fill(model: nn.Module, seed: int) -> nn.Module:
    """`model` with weights that any numpy makes the same."""
    random = np.random.RandomState(seed)
    with torch.no_grad():
        for _, parameter in sorted(model.named_parameters()):
            values = random.standard_normal(parameter.shape)
            if parameter.dim() > 1:
                values = values / np.sqrt(np.prod(parameter.shape[1:]))
            else:
                values = 0.5 + 0.2 * values
            parameter.copy_(torch.from_numpy(np.asarray(values, dtype=np.float32)))
    return model


def public_input(frames: int) -> torch.Tensor:
    random = np.random.RandomState(frames)
    values = random.standard_normal((1, frames, 80)).astype(np.float32)
    return torch.from_numpy(values) * 3 - 5


@functools.cache
def encoder(name: str) -> SpeechEncoder:
    """Filled like the public model, in evaluation mode."""
    model = fill(SpeechEncoder(CONFIGS[name]), 7).eval()
    return model.requires_grad_(False)


@functools.cache
def fresh_encoder(name: str) -> SpeechEncoder:
    """As initialised."""
    torch.manual_seed(0)
    return SpeechEncoder(CONFIGS[name]).eval().requires_grad_(False)


def random_features(count: int, frames: int, seed: int = 0) -> torch.Tensor:
    """Like log-mel features: mean -8, deviation 4."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, frames, 80, generator=generator) * 4 - 8


@pytest.mark.parametrize("case", PUBLIC["outputs"], ids=lambda c: f"{c['config']}-{c['frames']}")
def test_equals_the_public_implementation_at_every_layer(case: dict) -> None:
    lengths = torch.tensor([case["frames"]])
    layers = encoder(case["config"]).forward_layers(public_input(case["frames"]), lengths)
    assert len(layers) == len(case["layers"]) == 8
    for (values, _, _), expected in zip(layers, case["layers"], strict=True):
        assert list(values.shape[1:]) == expected["shape"]
        assert values.abs().mean().item() == pytest.approx(expected["mean_absolute"], abs=1e-4)
        last, first = values[0, -1, ::7][:6].tolist(), values[0, 0, -3:].tolist()
        assert last == pytest.approx(expected["last_step"], abs=1e-4)
        assert first == pytest.approx(expected["first_step"], abs=1e-4)


@pytest.mark.parametrize("size", sorted(PUBLIC["names"]))
def test_names_shapes_and_sizes_are_the_public_ones(size: str) -> None:
    with torch.device("meta"):
        state = SpeechEncoder(ZipformerConfig.of_size(size)).state_dict()
    expected = PUBLIC["names"][size]
    listed = "\n".join(f"{name} {tuple(value.shape)}" for name, value in sorted(state.items()))
    assert len(state) == expected["count"]
    assert sum(value.numel() for value in state.values()) == expected["parameters"]
    assert hashlib.sha256(listed.encode()).hexdigest() == expected["sha256"]


@pytest.mark.parametrize(
    ("size", "millions"),
    [("tiny", 2.70), ("small", 21.99), ("medium", 63.99), ("large", 146.63), ("xlarge", 286.08)],
)
def test_parameter_counts(size: str, millions: float) -> None:
    assert PUBLIC["names"][size]["parameters"] / 1e6 == pytest.approx(millions, rel=0.01)


def test_public_checkpoint_names_that_users_meet() -> None:
    names = set(encoder("tiny").state_dict())
    assert names >= {
        "encoder_embed.conv.0.weight",
        "encoder_embed.convnext.pointwise_conv1.weight",
        "encoder_embed.out.weight",
        "encoder_embed.out_norm.log_scale",
        "encoder.encoders.0.layers.0.self_attn_weights.in_proj.weight",
        "encoder.encoders.1.encoder.layers.0.conv_module1.depthwise_conv.weight",
        "encoder.encoders.1.downsample.bias",
        "encoder.encoders.1.out_combiner.bypass_scale",
        "encoder.downsample_output.bias",
    }


def worst_leak(model: SpeechEncoder, frames: list[int], extra: int, seed: int) -> float:
    """Largest difference, at any layer, between an utterance alone and in the batch."""
    longest = max(frames) + extra
    features = random_features(len(frames), longest, seed)
    # Whatever stands behind an utterance's end must not matter.
    for row, length in zip(features, frames, strict=True):
        row[length:] = 50.0
    together = model.forward_layers(features, torch.tensor(frames))
    worst = 0.0
    for i, length in enumerate(frames):
        alone = model.forward_layers(features[i : i + 1, :length], torch.tensor([length]))
        for (batched, steps, _), (single, own_steps, _) in zip(together, alone, strict=True):
            assert steps[i] == own_steps[0] == single.shape[1]
            difference = batched[i, : steps[i]] - single[0]
            worst = max(worst, difference.abs().max().item())
            assert batched[i, steps[i] :].abs().sum() == 0
    return worst


@pytest.mark.parametrize("name", ["tiny", "small", "uneven"])
def test_padding_never_leaks(name: str) -> None:
    frames = [9, 10, 11, 13, 22, 23, 24, 37, 64, 101, 156]
    assert worst_leak(fresh_encoder(name), frames, 7, 0) < 1e-5


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    frames=st.lists(st.integers(9, 120), min_size=2, max_size=5),
    extra=st.integers(0, 20),
    seed=st.integers(0, 1000),
    name=st.sampled_from(["tiny", "uneven"]),
)
def test_padding_never_leaks_whatever_the_lengths(
    frames: list[int], extra: int, seed: int, name: str
) -> None:
    assert worst_leak(fresh_encoder(name), frames, extra, seed) < 1e-5


def test_padding_never_leaks_with_large_weights() -> None:
    # Weights far from their small initial values: the law holds up to rounding.
    assert worst_leak(encoder("tiny"), [9, 40, 41, 77, 130], 3, 1) < 1e-4


def test_padding_leaves_gradients_alone() -> None:
    frames = [9, 38, 61]
    features = random_features(3, 61).double()
    grads = []
    for split in (False, True):
        torch.manual_seed(0)
        model = SpeechEncoder(replace(TINY, front_channels=(4, 8, 16))).eval().double()
        groups = [[i] for i in range(3)] if split else [[0, 1, 2]]
        for group in groups:
            lengths = torch.tensor([frames[i] for i in group])
            out, _ = model(features[group], lengths)
            out.square().sum().backward()
        grads.append({n: p.grad for n, p in model.named_parameters() if p.grad is not None})
    assert grads[0].keys() == grads[1].keys()
    for name, found in grads[0].items():
        scale = max(grads[1][name].abs().max().item(), 1.0)
        assert (found - grads[1][name]).abs().max().item() < 1e-8 * scale, name


def test_lengths_steps_and_layers() -> None:
    model = fresh_encoder("uneven")
    lengths = torch.tensor([9, 10, 11, 12, 300])
    out, steps = model(random_features(5, 300), lengths)
    assert steps.tolist() == [1, 1, 1, 1, 73]
    assert out.shape == (5, 73, 96)
    layers = model.forward_layers(random_features(5, 300), lengths)
    assert [values.shape[2] for values, _, _ in layers] == [32, 32, 48, 64, 96, 64, 40, 96]
    assert [seconds for _, _, seconds in layers] == [0.02] * 7 + [0.04]
    assert all(steps.tolist() == [1, 1, 2, 2, 146] for _, steps, _ in layers[:7])
    assert torch.equal(layers[-1][0], out)


@pytest.mark.parametrize(
    ("shape", "lengths", "words"),
    [
        ((1, 20, 40), [20], r"features must be \(N, T, 80\)"),
        ((20, 80), [20], r"features must be \(N, T, 80\)"),
        ((2, 20, 80), [20], r"lengths must be \(2,\)"),
        ((0, 20, 80), [], "one utterance at least"),
        ((1, 20, 80), [8], "between 9 and T = 20"),
        ((1, 20, 80), [21], "got 21 to 21"),
        ((2, 20, 80), [20, -3], "got -3 to 20"),
    ],
)
def test_refuses(shape: tuple[int, ...], lengths: list[int], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        fresh_encoder("tiny")(torch.zeros(shape), torch.tensor(lengths, dtype=torch.int64))


def test_unknown_size_names_near_ones() -> None:
    with pytest.raises(UnknownName, match="did you mean small"):
        ZipformerConfig.of_size("smal")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"layers": (1, 1)}, "layers needs 6 values"),
        ({"kernels": (31, 31, 14, 15, 15, 31)}, "odd"),
        ({"unmasked_dims": (999,) * 6}, "exceed dims"),
        ({"bins": 6}, "at least 7"),
        ({"dropout": 1.0}, "dropout"),
    ],
)
def test_config_refuses(change: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        replace(TINY, **change)


def test_config_comes_back_from_json() -> None:
    values = json.loads(json.dumps({"dims": UNEVEN.dims, "layers": UNEVEN.layers, "dropout": 0.1}))
    config = config_from_mapping(ZipformerConfig, values | {"unmasked_dims": [32] * 6})
    assert config.dims == UNEVEN.dims
    assert config.dropout == 0.1


QUIET = replace(
    UNEVEN,
    dropout=0.0,
    regularise=False,
    layer_skip=False,
    feature_mask=False,
    score_penalty=False,
    limit_bypass=False,
)


def trained_step(config: ZipformerConfig, seed: int, count: float = 0.0) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    model = SpeechEncoder(replace(config, front_channels=(4, 8, 16))).train()
    set_batch_count(model, count)
    torch.manual_seed(seed)
    out, _ = model(random_features(6, 50), torch.tensor([50, 49, 31, 20, 9, 50]))
    out.square().mean().backward()
    grads = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    assert all(torch.isfinite(g).all() for g in grads.values())
    return {"out": out.detach(), **grads}


@pytest.mark.parametrize("switch", ["layer_skip", "feature_mask"])
def test_switches_change_the_output_when_on(switch: str) -> None:
    config = replace(QUIET, **{switch: True})
    outputs = [trained_step(config, seed)["out"] for seed in range(4)]
    assert any(not torch.allclose(outputs[0], other) for other in outputs[1:])


def test_regularise_changes_gradients_only() -> None:
    on, off = (trained_step(replace(QUIET, regularise=value), 1) for value in (True, False))
    name = "encoder_embed.conv.0.weight"
    assert not torch.allclose(on[name], off[name], rtol=1e-3)
    # Position dropout draws after the rules have drawn, so outputs are compared in its absence.
    torch.manual_seed(0)
    model = SpeechEncoder(QUIET)
    for stack in model.encoder.encoders:
        getattr(stack, "encoder", stack).position_dropout = 0.0
    ruled = SpeechEncoder(replace(QUIET, regularise=True))
    ruled.load_state_dict(model.state_dict())
    for stack in ruled.encoder.encoders:
        getattr(stack, "encoder", stack).position_dropout = 0.0
    features, lengths = random_features(2, 40), torch.tensor([40, 30])
    torch.testing.assert_close(model(features, lengths)[0], ruled(features, lengths)[0])


def test_same_seed_same_step_bit_for_bit() -> None:
    first, second = (trained_step(UNEVEN, 5, 300.0) for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_trains_after_inference_mode() -> None:
    model = SpeechEncoder(QUIET)
    features, lengths = random_features(2, 40), torch.tensor([40, 30])
    with torch.inference_mode():
        model(features, lengths)
    model(features, lengths)[0].sum().backward()


def test_every_parameter_but_the_unused_one_learns() -> None:
    grads = trained_step(QUIET, 0)
    names = {name for name, _ in SpeechEncoder(QUIET).named_parameters()}
    missing = names - grads.keys()
    assert all(name.split(".")[-3] == "layers" for name in missing)
    assert all(name.endswith(".bypass_scale") for name in missing)


def test_overfits_one_batch() -> None:
    torch.manual_seed(0)
    model = SpeechEncoder(replace(QUIET, front_channels=(4, 8, 16), layers=(1,) * 6)).train()
    head = nn.Linear(96, 5)
    features, lengths = random_features(4, 60), torch.tensor([60, 50, 40, 60])
    targets = torch.arange(4)
    optimizer = torch.optim.AdamW([*model.parameters(), *head.parameters()], lr=3e-3)
    losses = []
    for _ in range(12):
        out, steps = model(features, lengths)
        loss = nn.functional.cross_entropy(head(out.sum(1) / steps[:, None]), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]


def test_autocast_bfloat16_is_near_float32() -> None:
    model = fresh_encoder("tiny")
    features, lengths = random_features(2, 120), torch.tensor([120, 77])
    expected, _ = model(features, lengths)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found, _ = model(features, lengths)
    real = expected[0].flatten()
    assert nn.functional.cosine_similarity(found[0].float().flatten(), real, dim=0) > 0.99
