from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

import export_makers
from isogloss.encoders.check import check_encoder
from isogloss.encoders.registry import load_encoder
from isogloss.errors import AudioError, IsoglossError, MissingExtra, UnknownName
from isogloss.speech.export import export_model
from isogloss.types import Item

if TYPE_CHECKING:
    from pathlib import Path

from makers import write_wav

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
torch.set_num_threads(1)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    export_makers.random_model(folder)
    return folder


@pytest.fixture(scope="module")
def exported(model: Path) -> Path:
    from isogloss.speech.checkpoint import load_model

    export_model(load_model(model), model / "exported")
    return model / "exported"


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> list[Item]:
    folder = tmp_path_factory.mktemp("audio")
    waves = export_makers.utterances(4)
    return [
        Item(str(i), "cmn", audio=str(write_wav(folder / f"{i}.wav", wave)))
        for i, wave in enumerate(waves)
    ]


def hand_made(path: Path, *, channels: int | None = 80, lengths: bool = True) -> Path:
    """Two steps of ones, then the mean of every two frames, 80 channels; lengths + 2."""
    helper, kinds = onnx.helper, onnx.TensorProto
    whole = onnx.numpy_helper.from_array
    nodes = [
        helper.make_node("AveragePool", ["turned"], ["pooled"], kernel_shape=[2], strides=[2]),
        helper.make_node("Transpose", ["x"], ["turned"], perm=[0, 2, 1]),
        helper.make_node("Transpose", ["pooled"], ["back"], perm=[0, 2, 1]),
        helper.make_node("Pad", ["back", "pads", "one"], ["steps"]),
    ]
    nodes[0], nodes[1] = nodes[1], nodes[0]
    inputs = [helper.make_tensor_value_info("x", kinds.FLOAT, ["N", "T", channels])]
    outputs = [helper.make_tensor_value_info("steps", kinds.FLOAT, ["N", "S", channels])]
    if lengths:
        nodes += [
            helper.make_node("Div", ["n", "two"], ["half"]),
            helper.make_node("Add", ["half", "two"], ["n_steps"]),
        ]
        inputs.append(helper.make_tensor_value_info("n", kinds.INT32, ["N"]))
        outputs.append(helper.make_tensor_value_info("n_steps", kinds.INT32, ["N"]))
    constants = [
        whole(np.array([0, 2, 0, 0, 0, 0], dtype=np.int64), "pads"),
        whole(np.array(1, dtype=np.float32), "one"),
        whole(np.array([2], dtype=np.int32), "two"),
    ]
    graph = helper.make_graph(nodes, "hand", inputs, outputs, initializer=constants)
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), str(path))
    return path


def describe(path: Path, **changes: Any) -> None:
    values: dict[str, Any] = {
        "inputs": ["x", "n"],
        "output": "steps",
        "lengths_output": "n_steps",
        "features": "fbank80",
        "step_seconds": 0.02,
        "drop_steps": 2,
        "batch": True,
    }
    values = {key: value for key, value in (values | changes).items() if value is not None}
    path.with_suffix(".json").write_text(json.dumps(values), encoding="utf-8")


def test_our_export_keeps_the_contract_and_is_the_model(
    model: Path, exported: Path, items: list[Item]
) -> None:
    encoder = load_encoder(f"onnx:{exported}")
    check_encoder(encoder, items, durations_seconds=(0.1, 0.55, 3.0))
    ours = load_encoder(f"own:{model}").encode(items)
    steps = encoder.encode(items)
    assert steps.ids == ours.ids
    assert steps.lengths.tolist() == ours.lengths.tolist()
    assert steps.step_seconds == ours.step_seconds == 0.04
    np.testing.assert_allclose(steps.values, ours.values, rtol=0, atol=1e-4)


def test_int8_runs_each_recording_alone(exported: Path, items: list[Item]) -> None:
    encoder = load_encoder(f"onnx:{exported / 'encoder.int8.onnx'}")
    check_encoder(encoder, items, durations_seconds=())
    assert encoder.made_by != load_encoder(f"onnx:{exported}").made_by


def test_posteriors_of_a_ctc_file_are_steps_too(exported: Path, items: list[Item]) -> None:
    found = load_encoder(f"onnx:{exported / 'model.onnx'}").encode(items)
    np.testing.assert_allclose(np.exp(found.values).sum(axis=1), 1.0, atol=1e-4)


def test_a_file_of_others_is_read_as_its_json_says(tmp_path: Path, items: list[Item]) -> None:
    path = hand_made(tmp_path / "hand.onnx")
    describe(path)
    encoder = load_encoder(f"onnx:{tmp_path}")
    check_encoder(encoder, items, durations_seconds=(0.1, 3.0))
    found = encoder.encode(items)
    frames = load_encoder("mel:").encode(items)
    for i in range(len(items)):
        pairs = frames[i][: len(frames[i]) // 2 * 2].reshape(-1, 2, 80)
        np.testing.assert_allclose(found[i], pairs.mean(axis=1), atol=1e-4)


def test_without_lengths_every_recording_runs_alone(tmp_path: Path, items: list[Item]) -> None:
    path = hand_made(tmp_path / "hand.onnx", lengths=False)
    describe(path, inputs=["x"], lengths_output=None, batch=None)
    check_encoder(load_encoder(f"onnx:{path}"), items, durations_seconds=())


def test_scale_and_normalisation_change_the_input(tmp_path: Path, items: list[Item]) -> None:
    path = hand_made(tmp_path / "hand.onnx")
    describe(path)
    plain = load_encoder(f"onnx:{path}")
    describe(path, sample_scale=32768.0)
    scaled = load_encoder(f"onnx:{path}")
    # 15 doublings of the amplitude add 30 ln 2 to every logarithm of a power.
    difference = scaled.encode(items).values - plain.encode(items).values
    assert np.median(difference) == pytest.approx(30 * np.log(2), abs=1e-3)
    describe(path, normalise=True)
    normalised = load_encoder(f"onnx:{path}").encode(items)
    assert abs(normalised[0].mean()) < 0.05
    assert len({plain.made_by, scaled.made_by, normalised.made_by}) == 3


@pytest.mark.parametrize("kind", ["mfcc40", "waveform"])
def test_other_inputs_arrive(kind: str, tmp_path: Path, items: list[Item]) -> None:
    path = tmp_path / "same.onnx"
    helper, kinds = onnx.helper, onnx.TensorProto
    shape = ["N", "T", 40] if kind == "mfcc40" else ["N", "S"]
    node = helper.make_node("Identity", ["x"], ["y"])
    nodes, constants = [node], []
    if kind == "waveform":
        constants = [onnx.numpy_helper.from_array(np.array([0, -1, 160]), "shape")]
        cut = [onnx.numpy_helper.from_array(np.array([v]), n) for n, v in (("a", 0), ("c", 1))]
        end = onnx.numpy_helper.from_array(np.array([3200]), "b")
        constants += [*cut, end]
        nodes = [
            helper.make_node("Slice", ["x", "a", "b", "c"], ["first"]),
            helper.make_node("Reshape", ["first", "shape"], ["y"]),
        ]
    graph = helper.make_graph(
        nodes,
        "same",
        [helper.make_tensor_value_info("x", kinds.FLOAT, shape)],
        [helper.make_tensor_value_info("y", kinds.FLOAT, None)],
        initializer=constants,
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), str(path))
    describe(
        path, inputs=["x"], output="y", lengths_output=None, features=kind, drop_steps=0, batch=None
    )
    found = load_encoder(f"onnx:{path}").encode(items)
    if kind == "mfcc40":
        assert found.values.shape[1] == 40
    else:
        from isogloss.corpora.audio import read_audio

        samples = read_audio(str(items[0].audio), sample_rate_hz=16000)
        np.testing.assert_allclose(found[0].ravel(), samples[:3200], atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"inputs": ["y", "n"]}, r"hand\.onnx: inputs names 'y'; the file has x, n"),
        ({"inputs": ["x"], "batch": None}, r"inputs leaves out 'n'"),
        ({"output": "z"}, r"hand\.onnx: output names 'z'; the file has steps, n_steps"),
        ({"lengths_output": "m"}, r"lengths_output names 'm'"),
        ({"features": "mfcc40"}, r"input 'x' takes 80 channels; features 'mfcc40' have 40"),
        ({"features": "waveform"}, r"input 'x' takes .* with 2 axes"),
        ({"features": "mel"}, r"hand\.json: .*features: 'mel' is not one of fbank80"),
        ({"step_seconds": None}, r"hand\.json: missing: step_seconds"),
        ({"step_seconds": 0}, r"hand\.json: step_seconds must be above 0, got 0"),
        ({"drop_steps": -1}, r"drop_steps must be 0 or more"),
        ({"lengths_output": None}, r"batch needs the lengths"),
        ({"dropsteps": 2}, r"unknown key of OnnxDescription 'dropsteps'; did you mean drop_steps"),
    ],
)
def test_a_wrong_description_names_file_and_field(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    path = hand_made(tmp_path / "hand.onnx")
    describe(path, **changes)
    with pytest.raises(IsoglossError, match=message):
        load_encoder(f"onnx:{path}")


def test_files_that_are_missing_cut_off_or_undescribed(exported: Path, tmp_path: Path) -> None:
    with pytest.raises(IsoglossError, match="no such file or folder"):
        load_encoder(f"onnx:{tmp_path / 'absent'}")
    with pytest.raises(IsoglossError, match=r"has no encoder\.onnx \(found: no \.onnx file\)"):
        load_encoder(f"onnx:{tmp_path}")
    whole = (exported / "encoder.onnx").read_bytes()
    (tmp_path / "encoder.onnx").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(IsoglossError, match=r"encoder\.onnx is no ONNX model"):
        load_encoder(f"onnx:{tmp_path}")
    path = hand_made(tmp_path / "hand.onnx")
    with pytest.raises(IsoglossError, match=r"write hand\.json beside it"):
        load_encoder(f"onnx:{path}")
    path.with_suffix(".json").write_text("{", encoding="utf-8")
    with pytest.raises(IsoglossError, match=r"hand\.json: not JSON"):
        load_encoder(f"onnx:{path}")
    shutil.copy(exported / "model.onnx", tmp_path / "model.onnx")
    (tmp_path / "encoder.onnx").unlink()
    path.unlink()
    with pytest.raises(IsoglossError, match="export with --what encoder"):
        load_encoder(f"onnx:{tmp_path}")


def test_layers_devices_and_lengths_that_cannot_be(
    exported: Path, items: list[Item], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="has its final output only; got layer 2"):
        load_encoder(f"onnx:{exported}", layer=2)
    with pytest.raises(ValueError, match="device 'tpu' cannot be used"):
        load_encoder(f"onnx:{exported}", device="tpu")
    with pytest.raises(ValueError, match="needs a file or folder"):
        load_encoder("onnx:")
    short = write_wav(tmp_path / "short.wav", export_makers.utterances(1)[0][:800])
    with pytest.raises(AudioError, match=r"short\.wav: item 'a' lasts 0\.050 s"):
        load_encoder(f"onnx:{exported}").encode([Item("a", "cmn", audio=str(short))])
    with pytest.raises(ValueError, match="no item"):
        load_encoder(f"onnx:{exported}").encode([])


def test_without_onnxruntime_the_extra_is_named(
    exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtra, match=r"onnxruntime is not installed.*isogloss\[onnx\]"):
        load_encoder(f"onnx:{exported}")


def test_a_near_miss_of_the_kind_is_named() -> None:
    with pytest.raises(UnknownName, match="did you mean onnx:"):
        load_encoder("onx:a")
