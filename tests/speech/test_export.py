from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

import export_makers as makers
from isogloss.errors import IsoglossError, MissingExtra
from isogloss.speech import export
from isogloss.speech.decode import greedy
from isogloss.speech.export import export_model, token_lines
from isogloss.speech.features import fbank
from isogloss.speech.tokens import Tokenizer, normalise_text
from isogloss.speech.zipformer import ZipformerConfig

if TYPE_CHECKING:
    from pathlib import Path

    from isogloss.speech.checkpoint import LoadedModel

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
torch.set_num_threads(1)

# Every remainder of the slowest stack (8), and lengths around what one step needs.
LENGTHS = (*range(9, 30), 61, 122, 204)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return makers.random_model(tmp_path_factory.mktemp("model"), dialect_head=True)


@pytest.fixture(scope="module")
def exported(loaded: LoadedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    export_model(loaded, folder)
    return folder


@pytest.fixture(scope="module")
def talkative(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return makers.talkative_model(tmp_path_factory.mktemp("talkative"))


def opened(path: Path) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options)


def run(session: Any, features: torch.Tensor, lengths: torch.Tensor) -> list[np.ndarray]:
    found: list[np.ndarray] = session.run(
        None, {"x": features.numpy(), "x_lens": lengths.numpy().astype(np.int64)}
    )
    return found


def frames(count: int, length: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(length)
    return 3 * torch.randn(count, length, 80, generator=generator) - 8


def test_the_encoder_gives_the_steps_of_the_model_at_every_length(
    loaded: LoadedModel, exported: Path
) -> None:
    session = opened(exported / "encoder.onnx")
    for length in LENGTHS:
        features, lengths = frames(1, length), torch.tensor([length])
        with torch.inference_mode():
            wanted, wanted_lengths = loaded.model.states(features, lengths)
        steps, out_lengths = run(session, features, lengths)
        assert steps.shape == tuple(wanted.shape)
        assert out_lengths.tolist() == wanted_lengths.tolist()
        np.testing.assert_allclose(steps, wanted.numpy(), rtol=0, atol=1e-4, err_msg=str(length))


def test_a_padded_batch_gives_what_each_gives_alone_whatever_the_padding(
    loaded: LoadedModel, exported: Path
) -> None:
    lengths = torch.tensor([90, 33, 9, 74])
    features = frames(4, 90)
    for row, length in zip(features, lengths.tolist(), strict=True):
        row[length:] = 1e4
    steps, out_lengths = run(opened(exported / "encoder.onnx"), features, lengths)
    for row, count, length, x in zip(steps, out_lengths, lengths.tolist(), features, strict=True):
        with torch.inference_mode():
            alone, _ = loaded.model.states(x[None, :length], torch.tensor([length]))
        np.testing.assert_allclose(row[:count], alone[0].numpy(), rtol=0, atol=1e-4)
        assert (row[count:] == 0).all()


@pytest.mark.parametrize("head", ["standard", "dialect"])
def test_each_head_gives_its_own_log_probabilities(
    loaded: LoadedModel, head: Any, tmp_path: Path
) -> None:
    made = export_model(loaded, tmp_path, parts=("ctc",), int8=False, head=head)
    assert [one.path.name for one in made] == ["model.onnx"]
    assert made[0].difference < 1e-4
    features, lengths = frames(2, 70), torch.tensor([70, 52])
    with torch.inference_mode():
        standard, _, dialect = loaded.model(features, lengths, both=True)
    log_probs, out_lengths = run(opened(tmp_path / "model.onnx"), features, lengths)
    wanted = standard if head == "standard" else dialect
    for row, expected, count in zip(log_probs, wanted.numpy(), out_lengths, strict=True):
        np.testing.assert_allclose(row[:count], expected[:count], rtol=0, atol=1e-4)


@pytest.mark.parametrize("size", ["micro", "small"])
def test_named_sizes_are_exported(size: str, tmp_path: Path) -> None:
    # One layer a stack: two differ from one in nothing that the widths do not show.
    config = ZipformerConfig.of_size(size, layers=(1, 1, 1, 1, 1, 1))
    model = makers.random_model(tmp_path / "model", config=config)
    made = export_model(model, tmp_path / "out", parts=("ctc",), int8=False)
    assert made[0].difference < 1e-4


def test_recordings_too_short_for_a_step_have_none(exported: Path) -> None:
    session = opened(exported / "encoder.onnx")
    for length in range(1, 9):
        steps, lengths = run(session, frames(2, length), torch.tensor([length, 1]))
        assert steps.shape[:2] == (2, 0)
        assert lengths.tolist() == [0, 0]


def test_int8_is_smaller_close_and_says_that_it_runs_alone(
    loaded: LoadedModel, exported: Path
) -> None:
    description = json.loads((exported / "export.json").read_text(encoding="utf-8"))
    for name in ("model", "encoder"):
        small, large = exported / f"{name}.int8.onnx", exported / f"{name}.onnx"
        assert small.stat().st_size < 0.75 * large.stat().st_size
        assert 1e-4 < description["files"][small.name]["largest_difference"] < 3.0
        metadata = opened(small).get_modelmeta().custom_metadata_map
        assert metadata["precision"] == "int8"
        assert json.loads(metadata["isogloss_encoder"])["batch"] is False


def test_the_file_says_what_it_is(loaded: LoadedModel, exported: Path) -> None:
    session = opened(exported / "model.onnx")
    metadata = session.get_modelmeta().custom_metadata_map
    assert metadata["model_type"] == "zipformer2_ctc"
    assert metadata["subsampling_factor"] == "4"
    assert metadata["revision"] == loaded.revision
    assert [(i.name, i.shape, i.type) for i in session.get_inputs()] == [
        ("x", ["N", "T", 80], "tensor(float)"),
        ("x_lens", ["N"], "tensor(int64)"),
    ]
    # sherpa-onnx reads the number of units from here.
    assert session.get_outputs()[0].shape[2] == loaded.tokenizer.vocab_size
    onnx.checker.check_model(onnx.load(str(exported / "model.onnx")), full_check=True)


def test_torchscript_gives_the_same_at_lengths_it_was_not_traced_with(
    loaded: LoadedModel, tmp_path: Path
) -> None:
    from isogloss.speech.export_torch import load_traced

    made = export_model(loaded, tmp_path, format="torchscript", int8=False)
    assert [one.path.name for one in made] == ["model.pt", "encoder.pt"]
    module = load_traced(tmp_path / "encoder.pt")
    for length in (9, 10, 12, 17, 40, 133):
        features, lengths = frames(2, length), torch.tensor([length, max(9, length // 2)])
        with torch.inference_mode():
            steps, out_lengths = module(features, lengths)
            wanted, wanted_lengths = loaded.model.states(features, lengths)
        assert torch.equal(out_lengths, wanted_lengths)
        torch.testing.assert_close(steps, wanted, rtol=0, atol=1e-4)


def test_sherpa_onnx_reads_what_our_greedy_search_reads(
    talkative: LoadedModel, tmp_path: Path
) -> None:
    sherpa_onnx = pytest.importorskip("sherpa_onnx")
    export_model(talkative, tmp_path, parts=("ctc",), int8=False)
    recognizer = sherpa_onnx.OfflineRecognizer.from_zipformer_ctc(
        model=str(tmp_path / "model.onnx"), tokens=str(tmp_path / "tokens.txt")
    )
    ours, theirs, streams = [], [], []
    for wave in makers.utterances(20):
        features = fbank(wave)
        with torch.inference_mode():
            log_probs, _ = talkative.model(features[None], torch.tensor([len(features)]))
        ours.append(greedy(log_probs[0].numpy(), talkative.tokenizer).text)
        streams.append(recognizer.create_stream())
        streams[-1].accept_waveform(16000, wave)
        recognizer.decode_stream(streams[-1])
        theirs.append(streams[-1].result.text)
    assert theirs == ours
    # Nothing would be shown by readings that are short, or all alike.
    assert min(map(len, ours)) >= 2
    assert len(set(ours)) == 20
    assert len({character for text in ours for character in text}) >= 8
    # All at once, padded by sherpa-onnx.
    again = [recognizer.create_stream() for _ in ours]
    for stream, wave in zip(again, makers.utterances(20), strict=True):
        stream.accept_waveform(16000, wave)
    recognizer.decode_streams(again)
    assert [stream.result.text for stream in again] == ours


def test_sherpa_onnx_survives_a_recording_of_20_ms(talkative: LoadedModel, tmp_path: Path) -> None:
    sherpa_onnx = pytest.importorskip("sherpa_onnx")
    export_model(talkative, tmp_path, parts=("ctc",), int8=False)
    recognizer = sherpa_onnx.OfflineRecognizer.from_zipformer_ctc(
        model=str(tmp_path / "model.onnx"), tokens=str(tmp_path / "tokens.txt")
    )
    stream = recognizer.create_stream()
    stream.accept_waveform(16000, makers.utterances(1)[0][:320])
    recognizer.decode_stream(stream)
    assert stream.result.text == ""


def said_by_sherpa_onnx(tokenizer: Tokenizer, text: str, folder: Path) -> str:
    """What sherpa-onnx prints for `text` where the exported output is replaced by its units."""
    sherpa_onnx = pytest.importorskip("sherpa_onnx")
    loaded = makers.random_model(folder / "model", tokenizer=tokenizer)
    export_model(loaded, folder, parts=("ctc",), int8=False)
    ids = tokenizer.encode(text)
    graph = onnx.load(str(folder / "model.onnx"))
    path = np.full((1, 2 * len(ids), tokenizer.vocab_size), -20.0, dtype=np.float32)
    path[0, np.arange(2 * len(ids)), [unit for i in ids for unit in (i, 0)]] = 0.0
    for node in [n for n in graph.graph.node if set(n.output) & {"log_probs", "log_probs_len"}]:
        graph.graph.node.remove(node)
    for name, array in (("log_probs", path), ("log_probs_len", np.array([path.shape[1]]))):
        value = onnx.numpy_helper.from_array(array)
        graph.graph.node.append(onnx.helper.make_node("Constant", [], [name], value=value))
    onnx.save(graph, str(folder / "said.onnx"))
    recognizer = sherpa_onnx.OfflineRecognizer.from_zipformer_ctc(
        model=str(folder / "said.onnx"), tokens=str(folder / "tokens.txt")
    )
    stream = recognizer.create_stream()
    stream.accept_waveform(16000, makers.utterances(1)[0])
    recognizer.decode_stream(stream)
    assert tokenizer.decode(ids) == text
    return normalise_text(stream.result.text)


def test_pieces_with_spaces_read_the_same_in_sherpa_onnx(tmp_path: Path) -> None:
    pytest.importorskip("sentencepiece")
    texts = ["what is the time", "the time is what it is", "it is time that we went", "我們去"]
    tokenizer = Tokenizer.bpe(texts, 24)
    said = said_by_sherpa_onnx(tokenizer, "what is the time", tmp_path)
    assert said == "what is the time"


def test_pieces_of_bytes_read_the_same_in_sherpa_onnx(tmp_path: Path) -> None:
    from isogloss.speech.bbpe import spell

    letters = spell("".join(map(chr, range(33, 127))) + "我们去玩你好世界天地人中文字符")
    # One piece is a character and a third of the next.
    pieces = [*sorted(set(letters)), "▁", spell("们") + spell("去")[0], spell("去")[1:]]
    tokenizer = Tokenizer(["<blk>", "<sos/eos>", "<unk>", *pieces])
    assert tokenizer.kind == "bbpe"
    assert said_by_sherpa_onnx(tokenizer, "我们去hong kong玩", tmp_path) == "我们去hong kong玩"


def test_an_unknown_unit_is_written_as_it_reads() -> None:
    lines = [line.decode() for line in token_lines(Tokenizer.characters(["上下"]))]
    assert lines == ["<blk> 0\n", "⁇ 1\n", "上 2\n", "下 3\n"]
    taken = [line.decode() for line in token_lines(Tokenizer.characters(["⁇下"]))]
    assert taken == ["<blk> 0\n", "<unk> 1\n", "⁇ 2\n", "下 3\n"]


def test_a_second_export_adds_files_of_the_same_model_and_removes_those_of_another(
    loaded: LoadedModel, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    export_model(loaded, out, parts=("ctc",), int8=False)
    export_model(loaded, out, parts=("encoder",), int8=False)
    assert {"model.onnx", "encoder.onnx"} <= {path.name for path in out.iterdir()}
    other = makers.random_model(tmp_path / "other", seed=5)
    (out / "notes.txt").write_text("mine", encoding="utf-8")
    export_model(other, out, parts=("encoder",), int8=False)
    names = {path.name for path in out.iterdir()}
    assert names == {"encoder.onnx", "export.json", "tokens.txt", "notes.txt"}
    assert json.loads((out / "export.json").read_text())["revision"] == other.revision


def test_an_export_that_differs_is_refused_and_leaves_nothing(
    loaded: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "LARGEST_DIFFERENCE", 1e-12)
    with pytest.raises(IsoglossError, match=r"encoder\.onnx: values differ .* nothing was written"):
        export_model(loaded, tmp_path, parts=("encoder",))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"parts": ()}, "parts must be some of ctc, encoder"),
        ({"parts": ("head",)}, "parts must be some of ctc, encoder"),
        ({"format": "tflite"}, "format must be 'onnx' or 'torchscript', got 'tflite'"),
        ({"format": "torchscript"}, "int8 is made for ONNX only"),
        ({"head": "both"}, "head must be 'standard' or 'dialect', got 'both'"),
    ],
)
def test_wrong_options_are_refused(
    loaded: LoadedModel, options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        export_model(loaded, tmp_path, **options)


def test_a_head_that_is_not_there_is_refused(talkative: LoadedModel, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no dialect head"):
        export_model(talkative, tmp_path, head="dialect")


def test_without_onnx_the_extra_is_named(
    loaded: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingExtra, match=r"isogloss\[onnx\]"):
        export_model(loaded, tmp_path)
