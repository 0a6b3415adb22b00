"""Checkpoint folders as others write them, and broken ones: file and field are named."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from isogloss.encoders import load_encoder
from isogloss.errors import IsoglossError
from isogloss.types import Item
from makers import melody, write_wav

pytest.importorskip("transformers")

from safetensors.torch import load_file, save_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> list[Item]:
    path = tmp_path_factory.mktemp("audio") / "a.wav"
    return [Item("a", "cmn", audio=str(write_wav(path, melody((0, 4, 7)))))]


@pytest.fixture
def wav2vec2(hf_folder: Callable[[str], Path], tmp_path: Path) -> Path:
    return shutil.copytree(hf_folder("wav2vec2"), tmp_path / "wav2vec2")


@pytest.fixture
def whisper(hf_folder: Callable[[str], Path], tmp_path: Path) -> Path:
    return shutil.copytree(hf_folder("whisper"), tmp_path / "whisper")


def edit(path: Path, **changes: Any) -> None:
    """Set fields of a JSON file; None takes a field away."""
    values = json.loads(path.read_text())
    values = {k: v for k, v in {**values, **changes}.items() if v is not None}
    path.write_text(json.dumps(values))


def fails(folder: Path, message: str) -> None:
    with pytest.raises(IsoglossError, match=message):
        load_encoder(f"hf:{folder}")


# Layouts that are in order.


def test_torch_files_and_parts_give_the_same(wav2vec2: Path, items: list[Item]) -> None:
    expected = load_encoder(f"hf:{wav2vec2}")
    tensors = load_file(wav2vec2 / "model.safetensors")
    (wav2vec2 / "model.safetensors").unlink()

    torch.save(tensors, wav2vec2 / "pytorch_model.bin")
    found = load_encoder(f"hf:{wav2vec2}")
    assert found.made_by == expected.made_by
    np.testing.assert_array_equal(found.encode(items).values, expected.encode(items).values)

    names = sorted(tensors)
    parts = {"part-1.safetensors": names[:20], "part-2.safetensors": names[20:]}
    for file, held in parts.items():
        save_file({name: tensors[name] for name in held}, wav2vec2 / file)
    listing = {"weight_map": {name: file for file, held in parts.items() for name in held}}
    (wav2vec2 / "model.safetensors.index.json").write_text(json.dumps(listing))
    (wav2vec2 / "pytorch_model.bin").unlink()
    assert load_encoder(f"hf:{wav2vec2}").made_by == expected.made_by

    (wav2vec2 / "part-2.safetensors").unlink()
    fails(wav2vec2, r"wav2vec2: there is no part-2\.safetensors, which holds '")
    save_file({"other": torch.zeros(1)}, wav2vec2 / "part-2.safetensors")
    fails(wav2vec2, r"part-2\.safetensors: tensor '.*' is missing, though the list")
    (wav2vec2 / "model.safetensors.index.json").write_text("{}")
    fails(wav2vec2, r"model\.safetensors\.index\.json: weight_map")
    listing["weight_map"][names[0]] = "../../elsewhere.safetensors"
    (wav2vec2 / "model.safetensors.index.json").write_text(json.dumps(listing))
    fails(wav2vec2, "weight_map must give a file name for each tensor")


def test_names_of_older_checkpoints(wav2vec2: Path) -> None:
    expected = load_encoder(f"hf:{wav2vec2}").made_by
    file = wav2vec2 / "model.safetensors"
    tensors = {
        name.replace("parametrizations.weight.original0", "weight_g").replace(
            "parametrizations.weight.original1", "weight_v"
        ): tensor
        for name, tensor in load_file(file).items()
    }
    assert any(name.endswith("weight_g") for name in tensors)
    save_file(tensors, file)
    assert load_encoder(f"hf:{wav2vec2}").made_by == expected


def test_the_encoder_alone_and_another_prefix(whisper: Path, items: list[Item]) -> None:
    expected = load_encoder(f"hf:{whisper}").encode(items).values
    file = whisper / "model.safetensors"
    tensors = load_file(file)
    for prefix in ("", "thinker.audio_tower."):
        renamed = {
            prefix + name.removeprefix("model.encoder."): tensor
            for name, tensor in tensors.items()
            if name.startswith("model.encoder.")
        }
        save_file(renamed, file)
        np.testing.assert_array_equal(load_encoder(f"hf:{whisper}").encode(items).values, expected)


def test_half_precision_is_read_as_float32(whisper: Path, items: list[Item]) -> None:
    expected = load_encoder(f"hf:{whisper}").encode(items).values
    file = whisper / "model.safetensors"
    save_file({name: t.to(torch.bfloat16) for name, t in load_file(file).items()}, file)
    encoder = load_encoder(f"hf:{whisper}")
    assert {p.dtype for p in encoder.model.parameters()} == {torch.float32}  # type: ignore[attr-defined]
    np.testing.assert_allclose(encoder.encode(items).values, expected, atol=0.1)


def test_the_front_end_inside_a_processor(whisper: Path) -> None:
    expected = load_encoder(f"hf:{whisper}").made_by
    front_end = whisper / "preprocessor_config.json"
    values = json.loads(front_end.read_text())
    front_end.unlink()
    (whisper / "processor_config.json").write_text(json.dumps({"feature_extractor": values}))
    assert load_encoder(f"hf:{whisper}").made_by == expected


def test_dither_is_switched_off(whisper: Path, items: list[Item]) -> None:
    edit(whisper / "preprocessor_config.json", dither=0.1)
    encoder = load_encoder(f"hf:{whisper}")
    np.testing.assert_array_equal(encoder.encode(items).values, encoder.encode(items).values)


# Broken folders.


@pytest.mark.parametrize("file", ["config.json", "preprocessor_config.json"])
def test_json_that_is_missing_or_cut(file: str, wav2vec2: Path) -> None:
    text = (wav2vec2 / file).read_text()
    (wav2vec2 / file).write_text(text[: len(text) // 2])
    fails(wav2vec2, rf"{file}: not JSON")
    (wav2vec2 / file).write_text("[1]")
    fails(wav2vec2, rf"{file}: expected an object, found list")
    (wav2vec2 / file).unlink()
    fails(wav2vec2, rf"wav2vec2: there is no {file}")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": None}, r"config\.json: model_type is missing"),
        ({"model_type": "wav2vec"}, r"'wav2vec' is no speech encoder.*did you mean wav2vec2"),
        ({"model_type": "bert"}, r"there is no tokenizer\.json or vocab\.txt"),
        ({"quantization_config": {"bits": 4}}, r"config\.json: quantization_config"),
        ({"hidden_size": "many"}, r"config\.json: .*hidden_size"),
        ({"num_attention_heads": 3}, r"config\.json: no model can be built of it: .*num_heads"),
        ({"conv_stride": [5, 2]}, r"config\.json: .*conv"),
    ],
)
def test_fields_of_config_json(changes: dict[str, Any], message: str, wav2vec2: Path) -> None:
    edit(wav2vec2 / "config.json", **changes)
    fails(wav2vec2, message)


def test_a_part_of_config_json_that_is_missing(
    hf_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = shutil.copytree(hf_folder("parakeet"), tmp_path / "parakeet")
    edit(folder / "config.json", encoder_config=None)
    fails(folder, r"config\.json: encoder_config, which describes the encoder, is missing")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"feature_size": 128}, r"preprocessor_config\.json.*feature_size.*128.*num_mel_bins.*80"),
        ({"chunk_length": 10}, r"nb_max_frames.*1000.*max_source_positions"),
        ({"feature_extractor_type": "Wav2Vec2FeatureExtractor"}, "this model needs 'WhisperF"),
        ({"hop_length": 0}, r"preprocessor_config\.json"),
    ],
)
def test_a_front_end_that_does_not_fit(
    changes: dict[str, Any], message: str, whisper: Path
) -> None:
    edit(whisper / "preprocessor_config.json", **changes)
    fails(whisper, message)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_truncated_weights(share: float, wav2vec2: Path) -> None:
    file = wav2vec2 / "model.safetensors"
    data = file.read_bytes()
    file.write_bytes(data[: int(share * len(data))])
    fails(wav2vec2, r"model\.safetensors: cut short or damaged")


def test_truncated_and_hostile_torch_files(wav2vec2: Path) -> None:
    class Hostile:
        def __reduce__(self) -> tuple[Any, ...]:
            return print, ("executed",)

    tensors = load_file(wav2vec2 / "model.safetensors")
    (wav2vec2 / "model.safetensors").unlink()
    file = wav2vec2 / "pytorch_model.bin"
    torch.save({"x": Hostile()}, file)
    fails(wav2vec2, r"pytorch_model\.bin: cut short or damaged")
    torch.save(tensors, file)
    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 2])
    fails(wav2vec2, r"pytorch_model\.bin: cut short or damaged")
    torch.save([1, 2], file)
    fails(wav2vec2, "expected tensors by name, found list")
    file.unlink()
    fails(wav2vec2, r"wav2vec2: there is no model\.safetensors or pytorch_model\.bin")


def test_a_missing_tensor_is_no_random_one(wav2vec2: Path) -> None:
    file = wav2vec2 / "model.safetensors"
    tensors = load_file(file)
    name = "wav2vec2.encoder.layers.1.attention.k_proj.weight"
    save_file({k: v for k, v in tensors.items() if k != name}, file)
    fails(wav2vec2, rf"model\.safetensors: 1 of the encoder's \d+ tensors .* first '{name}'")
    # What belongs to the head is nobody's business.
    save_file({k: v for k, v in tensors.items() if not k.startswith("lm_head")}, file)
    load_encoder(f"hf:{wav2vec2}")
    save_file({"something": torch.zeros(2)}, file)
    fails(wav2vec2, r"model\.safetensors: (\d+) of the encoder's \1 tensors are missing")


def test_shapes_that_do_not_fit_name_the_field(wav2vec2: Path, whisper: Path) -> None:
    edit(wav2vec2 / "config.json", intermediate_size=36)
    fails(
        wav2vec2,
        r"model\.safetensors: tensor 'wav2vec2\.encoder\.layers.*' is \(.*24.*\), but "
        r".*config\.json asks for \(.*36.*\) \(fields with that number: .*intermediate_size",
    )
    edit(whisper / "config.json", encoder_layers=3)
    fails(whisper, r"model\.safetensors: \d+ of .*first 'model\.encoder\.layers\.2\.")


def test_whole_numbers_are_no_weights(whisper: Path) -> None:
    file = whisper / "model.safetensors"
    save_file({name: t.to(torch.int8) for name, t in load_file(file).items()}, file)
    fails(whisper, r"model\.safetensors: tensor '.*' holds torch\.int8")


# Names.


def test_paths_that_are_no_folders(tmp_path: Path) -> None:
    fails(tmp_path / "none", "there is no folder .*none")
    file = tmp_path / "file"
    file.write_text("")
    fails(file, "file is a file; 'hf:' needs the folder")


def test_the_hub_out_of_reach(monkeypatch) -> None:
    import huggingface_hub
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    asked = []

    def download(name: str, filename: str, *, revision: str | None) -> str:
        asked.append((name, filename, revision))
        raise LocalEntryNotFoundError("offline\nmore")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    with pytest.raises(IsoglossError, match=r"cannot fetch config\.json.*offline.*hf:FOLDER"):
        load_encoder("hf:openai/whisper-tiny@v1")
    assert asked == [("openai/whisper-tiny", "config.json", "v1")]

    def refuse(name: str, filename: str, *, revision: str | None) -> str:
        raise HFValidationError("bad name")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", refuse)
    with pytest.raises(IsoglossError, match="bad name"):
        load_encoder("hf:what is this")


def test_files_of_the_hub(whisper: Path, monkeypatch, items: list[Item]) -> None:
    import huggingface_hub
    from huggingface_hub.errors import EntryNotFoundError

    asked = []

    def download(name: str, filename: str, *, revision: str | None) -> str:
        asked.append(filename)
        path = whisper / filename
        if not path.is_file():
            raise EntryNotFoundError(filename)
        return str(path)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    (whisper / "preprocessor_config.json").rename(whisper / "aside.json")
    with pytest.raises(IsoglossError, match=r"somebody/tiny: there is no preprocessor_config"):
        load_encoder("hf:somebody/tiny")
    (whisper / "aside.json").rename(whisper / "preprocessor_config.json")
    found = load_encoder("hf:somebody/tiny")
    assert found.made_by.startswith("hf:somebody/tiny;sha=")
    assert "pytorch_model.bin" not in asked
    np.testing.assert_array_equal(
        found.encode(items).values, load_encoder(f"hf:{whisper}").encode(items).values
    )
