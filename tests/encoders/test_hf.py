"""Every public architecture: the kit, steps worked out by hand, transformers' own numbers."""

from __future__ import annotations

import dataclasses
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from isogloss.encoders import check_encoder, load_encoder
from isogloss.errors import AudioError, MissingExtra
from isogloss.types import Item
from makers import melody, write_wav

pytest.importorskip("transformers")

from hf_checkpoints import ARCHITECTURES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from isogloss.encoders.hf import HfEncoder

torch.set_num_threads(1)

SECONDS = (0.1, 0.55, 1.0, 3.337, 40.0)
# Steps of `SECONDS`, from kernels and strides on paper. wav2vec 2.0: 400 samples, then one step
# every 320. Filterbank: frames of 400 every 160, two a step. Whisper: 320 samples a step, a started
# one counts. Qwen2-Audio: two of those. Seamless: steps of the filterbank, by 8, padded by 4.
# Qwen3-ASR: 13 a second, the rest halved three times. Parakeet: frames of 160, halved three times.
_WAV2VEC2 = (4, 27, 49, 166, 1999)
_WHISPER = (5, 28, 50, 167, 2000)
STEPS = {
    "whisper": _WHISPER,
    "whisper-large-v3": _WHISPER,
    "voxtral": _WHISPER,
    "wav2vec2": _WAV2VEC2,
    "xls-r": _WAV2VEC2,
    "mms": _WAV2VEC2,
    "wav2vec2-with-adapter": (1, 7, 13, 42, 500),
    "hubert": _WAV2VEC2,
    "wavlm": _WAV2VEC2,
    "data2vec": _WAV2VEC2,
    "w2v-bert": (4, 26, 49, 166, 1999),
    "seamless-m4t-v2": (1, 4, 7, 21, 250),
    "qwen2-audio": (3, 14, 25, 84, 1000),
    "qwen3-asr": (2, 7, 13, 44, 520),
    "parakeet": (2, 7, 13, 42, 500),
    "moonshine": (2, 21, 40, 137, 1665),
}


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> list[Item]:
    folder = tmp_path_factory.mktemp("recordings")
    found = []
    for seconds in SECONDS:
        noise = np.random.default_rng(1).standard_normal(round(seconds * 16000))
        path = write_wav(folder / f"{seconds}.wav", (0.1 * noise).astype(np.float32))
        found.append(Item(str(seconds), "cmn", audio=str(path)))
    return found


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> list[Item]:
    folder = tmp_path_factory.mktemp("melodies")
    path = write_wav(folder / "a.wav", melody((0, 4, 7, 2, 9, 1), note_seconds=0.3, seed=1))
    whole = Item("whole", "cmn", audio=str(path))
    return [dataclasses.replace(whole, id="piece", start_seconds=0.3, end_seconds=0.9), whole]


def load(folder: Path) -> HfEncoder:
    return load_encoder(f"hf:{folder}")  # type: ignore[return-value]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_kit_passes_on_every_architecture(
    architecture: str, items: list[Item], hf_folder: Callable[[str], Path]
) -> None:
    check_encoder(load(hf_folder(architecture)), items)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_recordings_of_a_syllable_to_40_seconds(
    architecture: str, recordings: list[Item], hf_folder: Callable[[str], Path]
) -> None:
    encoder = load(hf_folder(architecture))
    *_, step_seconds, final_step_seconds = ARCHITECTURES[architecture]
    first, *_, last = encoder.encode_layers(recordings)
    assert tuple(last.lengths.tolist()) == STEPS[architecture]
    assert first.step_seconds == pytest.approx(step_seconds)
    assert last.step_seconds == pytest.approx(final_step_seconds)
    for steps in (first, last):
        slack = 0.05 + steps.step_seconds  # type: ignore[operator]
        covered = steps.lengths * steps.step_seconds
        np.testing.assert_allclose(covered, SECONDS, atol=slack, rtol=0)
        assert np.isfinite(steps.values).all()


# WavLM hands torch the two kinds of mask that it will not take for ever.
@pytest.mark.filterwarnings("ignore:Support for mismatched key_padding_mask")
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_transformers_itself_gives_the_same(
    architecture: str, items: list[Item], hf_folder: Callable[[str], Path]
) -> None:
    import transformers

    from isogloss.corpora import read_audio

    folder = hf_folder(architecture)
    encoder = load(folder)
    whole = getattr(transformers, ARCHITECTURES[architecture][2]).from_pretrained(folder).eval()
    theirs = next(m for m in whole.modules() if type(m) is type(encoder.model))
    extractor = transformers.AutoFeatureExtractor.from_pretrained(folder)
    samples = read_audio(str(items[1].audio))
    found = extractor(samples, sampling_rate=16000, return_tensors="pt", return_attention_mask=True)
    arguments = dict(found)
    if architecture == "qwen3-asr":
        arguments["input_features_mask"] = arguments.pop("attention_mask")
    elif theirs.main_input_name == "input_features" and "max_source_positions" in theirs.config:
        # Whisper and its kin hear their padding.
        del arguments["attention_mask"]
    with torch.inference_mode():
        expected = theirs(**arguments).last_hidden_state
    expected = expected.reshape(-1, expected.shape[-1]).numpy()
    steps = encoder.encode(items[1:])[0]
    assert len(steps) <= len(expected)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(steps, expected[: len(steps)], atol=2e-5 * scale, rtol=0)


@pytest.mark.parametrize("architecture", ["whisper", "wav2vec2", "qwen3-asr", "seamless-m4t-v2"])
def test_only_the_encoder_is_kept(architecture: str, hf_folder: Callable[[str], Path]) -> None:
    encoder = load(hf_folder(architecture))
    names = [name for name, _ in encoder.model.named_modules()]
    assert not [n for n in names if "decoder" in n or "language_model" in n or "lm_head" in n]
    assert not encoder.model.training
    assert not any(p.requires_grad for p in encoder.model.parameters())
    assert {p.dtype for p in encoder.model.parameters()} == {torch.float32}


def test_layers_and_the_last_norm(items: list[Item], hf_folder: Callable[[str], Path]) -> None:
    encoder = load(hf_folder("whisper"))
    assert encoder.layers == (0, 1, 2, 3)
    with torch.inference_mode():
        before = torch.from_numpy(encoder.with_layer(2).encode(items).values)
        after = encoder.model.layer_norm(before).numpy()
    np.testing.assert_allclose(encoder.encode(items).values, after, atol=1e-5)
    assert encoder.with_layer(3).made_by == encoder.made_by
    assert len({encoder.with_layer(i).made_by for i in range(4)}) == 4
    for layer in (-1, 4):
        with pytest.raises(ValueError, match="0 to 3"):
            encoder.with_layer(layer)


def test_whisper_hears_long_recordings_in_equal_windows(
    recordings: list[Item], hf_folder: Callable[[str], Path]
) -> None:
    encoder = load(hf_folder("whisper"))
    long = recordings[-1]
    halves = [
        dataclasses.replace(long, id=str(i), start_seconds=i * 20.0, end_seconds=(i + 1) * 20.0)
        for i in range(2)
    ]
    np.testing.assert_array_equal(encoder.encode(halves).values, encoder.encode([long]).values)


def test_the_size_of_batches_changes_nothing(
    items: list[Item], recordings: list[Item], hf_folder: Callable[[str], Path], monkeypatch
) -> None:
    many = [*items, *recordings[:4], dataclasses.replace(items[1], id="again")]
    for architecture in ("wavlm", "qwen3-asr"):
        encoder = load(hf_folder(architecture))
        expected = encoder.encode(many)
        monkeypatch.setattr("isogloss.encoders.hf._ITEMS_READ_AT_ONCE", 2)
        found = dataclasses.replace(encoder, batch_seconds=0.1).encode(many)
        monkeypatch.undo()
        assert found.ids == expected.ids
        np.testing.assert_allclose(found.values, expected.values, atol=1e-5)


def test_what_made_by_follows(
    items: list[Item], hf_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    import shutil

    from hf_checkpoints import make_checkpoint

    original = load(hf_folder("wav2vec2")).made_by
    assert original.startswith("hf:wav2vec2;sha=")
    moved = tmp_path / "moved" / "wav2vec2"
    shutil.copytree(hf_folder("wav2vec2"), moved)
    assert load(moved).made_by == original
    front_end = moved / "preprocessor_config.json"
    front_end.write_text(
        front_end.read_text().replace('"do_normalize": true', '"do_normalize": false')
    )
    assert load(moved).made_by != original
    other = make_checkpoint("wav2vec2", tmp_path / "wav2vec2", seed=1)
    assert load(other).made_by != original


@pytest.mark.parametrize(
    ("architecture", "least"),
    [("wav2vec2", 400), ("moonshine", 895), ("w2v-bert", 560), ("parakeet", 320), ("whisper", 1)],
)
def test_the_shortest_recording(
    architecture: str, least: int, hf_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    encoder = load(hf_folder(architecture))
    noise = (0.1 * np.random.default_rng(0).standard_normal(least)).astype(np.float32)
    item = Item("x", "cmn", audio=str(write_wav(tmp_path / "x.wav", noise)))
    found = encoder.encode([item])
    assert found.lengths.tolist() == [1]
    assert np.isfinite(found.values).all()
    short = Item("y", "cmn", audio=str(write_wav(tmp_path / "y.wav", noise[:-1])))
    with pytest.raises(AudioError, match=r"y\.wav: item 'y' lasts"):
        encoder.encode([short])


def test_items_that_cannot_be_encoded(hf_folder: Callable[[str], Path], tmp_path: Path) -> None:
    encoder = load(hf_folder("wav2vec2"))
    with pytest.raises(ValueError, match="no item"):
        encoder.encode([])
    with pytest.raises(ValueError, match="'t' has no audio"):
        encoder.encode([Item("t", "cmn", text="字")])
    with pytest.raises(AudioError):
        encoder.encode([Item("t", "cmn", audio=str(tmp_path / "none.wav"))])


def test_silence_is_encoded(hf_folder: Callable[[str], Path], tmp_path: Path) -> None:
    path = write_wav(tmp_path / "silence.wav", np.zeros(16000, np.float32))
    for architecture in ("whisper", "wav2vec2", "w2v-bert", "parakeet"):
        found = load(hf_folder(architecture)).encode([Item("s", "cmn", audio=str(path))])
        assert np.isfinite(found.values).all()


def test_without_transformers(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtra, match=r"transformers is not installed.*isogloss\[hf\]"):
        load_encoder(f"hf:{tmp_path}")


def test_names_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="needs a folder or a name"):
        load_encoder("hf:")
    with pytest.raises(ValueError, match="device 'nonsense'"):
        load_encoder("hf:openai/whisper-tiny", device="nonsense")
