"""Small models for tests of export: every kind of stack, and a model that has much to say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from isogloss.speech.checkpoint import LoadedModel, load_model, save_model
from isogloss.speech.ctc import CtcModel
from isogloss.speech.features import fbank
from isogloss.speech.tokens import Tokenizer
from isogloss.speech.zipformer import ZipformerConfig

if TYPE_CHECKING:
    from pathlib import Path

    from isogloss.types import FloatArray

# Channels that grow and shrink, several layers in a stack, unequal heads and kernels: what the
# larger sizes have, in little.
SHAPE = ZipformerConfig(
    layers=(1, 2, 1, 1),
    feedforward_dims=(32, 48, 64, 48),
    dims=(24, 32, 64, 32),
    unmasked_dims=(24, 24, 32, 24),
    heads=(2, 2, 4, 2),
    kernels=(31, 15, 7, 15),
    downsampling=(1, 2, 8, 2),
    query_head_dim=8,
    value_head_dim=6,
    position_dim=24,
    front_channels=(4, 8, 12),
)
UNITS = "一七三上下不中九了二五"


def random_model(
    folder: Path,
    *,
    config: ZipformerConfig = SHAPE,
    tokenizer: Tokenizer | None = None,
    dialect_head: bool = False,
    seed: int = 0,
    noise: float = 0.05,
) -> LoadedModel:
    """A model whose every weight is random, biases and scales too, as `load_model` gives it."""
    tokenizer = tokenizer or Tokenizer.characters([UNITS])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = CtcModel(config, tokenizer.vocab_size, dialect_head=dialect_head)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(noise * torch.randn_like(parameter))
    save_model(folder, model, tokenizer, config)
    return load_model(folder)


def talkative_model(folder: Path) -> LoadedModel:
    """A random model whose output tells sounds apart, so that its readings are long and differ.

    The output's weights undo the correlation of the steps of some utterances.
    """
    loaded = random_model(folder)
    model = loaded.model
    with torch.inference_mode():
        steps = torch.cat(
            [
                model.states(f[None], torch.tensor([len(f)]))[0][0]
                for f in map(fbank, utterances(8, seed=99))
            ]
        ).double()
    mean = steps.mean(dim=0)
    values, vectors = torch.linalg.eigh(torch.cov((steps - mean).T))
    # The strongest directions only: weak ones are near the noise of rounding.
    strong = vectors[:, -6:] / values[-6:].sqrt()
    generator = torch.Generator().manual_seed(1)
    mixing = torch.randn(6, model.vocab_size, generator=generator, dtype=torch.float64)
    head = model.ctc_output[1]
    with torch.no_grad():
        head.weight.copy_((3.0 * strong @ mixing).T)
        head.bias.copy_(-(mean @ (3.0 * strong @ mixing)))
    save_model(folder, model, loaded.tokenizer, loaded.config)
    return load_model(folder)


def utterances(count: int, *, seed: int = 0) -> list[FloatArray]:
    """Gliding voices of 0.3 to 2 s in some noise, 16 kHz, no two alike."""
    generator = np.random.default_rng(seed)
    waves = []
    for _ in range(count):
        seconds = generator.uniform(0.3, 2.0)
        time = np.arange(round(16000 * seconds)) / 16000
        pitch = 120 + 60 * generator.random() + 40 * np.sin(2 * np.pi * generator.random() * time)
        phase = 2 * np.pi * np.cumsum(pitch) / 16000
        formant = 500 + 1500 * np.abs(np.sin(2 * np.pi * (1 + 3 * generator.random()) * time))
        wave = sum(
            np.exp(-(((k * pitch - formant) / 400) ** 2)) * np.sin(k * phase) for k in range(1, 25)
        )
        loud = 0.5 + 0.5 * np.sin(2 * np.pi * 3 * time)
        noise = 0.003 * generator.standard_normal(len(time))
        waves.append((0.1 * loud * wave + noise).astype(np.float32))
    return waves
