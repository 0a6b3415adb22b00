"""Outputs, losses and gradients of the package `zipformer`, stored by its parity script."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from isogloss.speech import scaling, zipformer_layers
from isogloss.speech.ctc import CtcModel, cr_ctc_loss, ctc_loss
from isogloss.speech.zipformer import ZipformerConfig

torch.set_num_threads(1)

# Made by: python benchmarks/parity_zipformer.py --write-golden. Weights and input come from
# `filled` and `batch`, which the script has word for word.
GOLDEN = json.loads(Path(__file__).with_name("zipformer_gradients.json").read_text("utf-8"))
TARGETS = [[5, 5, 17, 99, 1, 42], [3, 60, 61, 60]]


@pytest.fixture(scope="module")
def filled() -> CtcModel:
    config = ZipformerConfig.of_size(
        GOLDEN["size"], dropout=0.0, layer_skip=False, feature_mask=False
    )
    model = CtcModel(config, GOLDEN["vocab_size"], dropout=0.0)
    for part in model.modules():
        if hasattr(part, "position_dropout"):
            part.position_dropout = 0.0
    random = np.random.RandomState(GOLDEN["seed"])
    with torch.no_grad():
        for _, parameter in sorted(model.named_parameters()):
            values = random.standard_normal(parameter.shape)
            if parameter.dim() > 1:
                values = values / np.sqrt(np.prod(parameter.shape[1:]))
            else:
                values = 0.5 + 0.2 * values
            parameter.copy_(torch.from_numpy(np.asarray(values, dtype=np.float32)))
    return model


@pytest.fixture(autouse=True)
def no_rule_acts(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (scaling, zipformer_layers):
        monkeypatch.setattr(module, "chance", lambda probability: False)


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    frames = GOLDEN["frames"]
    random = np.random.RandomState(frames)
    values = random.standard_normal((2, frames, 80)).astype(np.float32) * 3 - 5
    features = torch.from_numpy(values)
    views = features.repeat(2, 1, 1)
    for row, view in enumerate(views):
        start = int(random.randint(0, frames - 30))
        low = int(random.randint(0, 60))
        view[start : start + 10 + 5 * row] = -5.0
        view[:, low : low + 12] = -5.0
    return features, views


def agrees(values: torch.Tensor, expected: dict, bound: float) -> None:
    flat = values.detach().flatten()
    picked = flat[:: max(1, len(flat) // 4)][:4].tolist()
    norm = expected["norm"]
    assert flat.double().norm().item() == pytest.approx(norm, rel=bound)
    assert picked == pytest.approx(expected["picked"], abs=bound * norm)


def test_outputs_of_every_stack(filled: CtcModel) -> None:
    features, _ = batch()
    filled.eval()
    with torch.inference_mode():
        layers = filled.forward_layers(features, torch.full((2,), GOLDEN["frames"]))
    assert len(layers) == len(GOLDEN["outputs"])
    for (values, _, _), expected in zip(layers, GOLDEN["outputs"], strict=True):
        flat = values.flatten()
        assert flat[:: len(flat) // 4][:4].tolist() == pytest.approx(expected["picked"], abs=1e-4)
        assert flat.double().norm().item() == pytest.approx(expected["norm"], rel=1e-5)


@pytest.mark.parametrize("name", ["ctc", "cr_ctc"])
def test_losses_and_gradients(name: str, filled: CtcModel) -> None:
    features, views = batch()
    lengths = torch.full((2,), GOLDEN["frames"])
    filled.train()
    filled.zero_grad(set_to_none=True)
    expected = GOLDEN[name]
    if name == "ctc":
        loss = ctc_loss(*filled(features, lengths), TARGETS)
    else:
        found = cr_ctc_loss(*filled(views, lengths.repeat(2)), TARGETS, cr_scale=GOLDEN["cr_scale"])
        loss = found.total
        assert found.consistency.item() == pytest.approx(expected["consistency"], rel=1e-4)
    assert loss.item() == pytest.approx(expected["loss"], rel=1e-5)
    loss.backward()
    gradients = {n: p.grad for n, p in filled.named_parameters() if p.grad is not None}
    assert len(gradients) == expected["tensors"]
    assert len(expected["gradients"]) > 10
    for parameter, figures in expected["gradients"].items():
        agrees(gradients[parameter], figures, 1e-3)
