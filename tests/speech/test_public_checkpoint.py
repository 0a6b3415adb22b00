"""Public checkpoints, faked from random models: what is taken, dropped, filled and refused."""

import argparse
import collections
import datetime
import json
import os
import pathlib
import pickle
import random
import types
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import save_file

from isogloss.cli import main
from isogloss.encoders.registry import load_encoder
from isogloss.errors import IsoglossError, UnknownName
from isogloss.speech.checkpoint import load_model
from isogloss.speech.ctc import CtcModel
from isogloss.speech.public_checkpoint import import_public, read_public
from isogloss.speech.public_shape import shape_of
from isogloss.speech.zipformer import ZipformerConfig
from isogloss.types import Item

torch.set_num_threads(1)

SYMBOLS = ["<blk>", "<sos/eos>", "<unk>", "我", "们", "去", "▁", "a"]
TINY = ZipformerConfig.of_size("tiny")
UNEVEN = replace(
    TINY,
    layers=(1, 2, 1, 1, 1, 1),
    feedforward_dims=(48, 64, 96, 128, 96, 64),
    dims=(32, 48, 64, 96, 64, 40),
    unmasked_dims=(32,) * 6,
    heads=(4, 4, 4, 8, 4, 4),
    kernels=(31, 15, 7, 7, 15, 31),
)


def model_of(config: ZipformerConfig, units: int = len(SYMBOLS), seed: int = 0) -> CtcModel:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return CtcModel(config, units).eval()


@pytest.fixture(scope="module")
def model() -> CtcModel:
    return model_of(TINY)


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    path = tmp_path / "tokens.txt"
    # icefall lists disambiguation symbols behind the units; tabs and spaces both separate.
    rows = [f"{symbol}\t{i}" if i % 2 else f"{symbol} {i}" for i, symbol in enumerate(SYMBOLS)]
    path.write_text("\n".join([*rows, "#0 8", "#1 9"]) + "\n", "utf-8")
    return path


def extras() -> dict[str, torch.Tensor]:
    return {
        "decoder.embedding.weight": torch.zeros(8, 4),
        "decoder.conv.weight": torch.zeros(4, 1, 2),
        "joiner.output_linear.weight": torch.zeros(8, 4),
        "simple_am_proj.weight": torch.zeros(8, 4),
        "attention_decoder.decoder.embed.0.weight": torch.zeros(8, 4),
    }


def log_probs(model: CtcModel) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    with torch.inference_mode():
        return model(torch.randn(2, 60, 80, generator=generator), torch.tensor([60, 41]))[0]


@pytest.mark.parametrize("form", ["pretrained", "plain", "wrapped", "safetensors", "lightning"])
def test_every_form_gives_the_same_outputs(
    form: str, model: CtcModel, tokens: Path, tmp_path: Path
) -> None:
    state = {**model.state_dict(), **extras()}
    path = tmp_path / ("model.safetensors" if form == "safetensors" else "model.pt")
    if form == "safetensors":
        save_file(state, path)
    elif form == "wrapped":
        torch.save({"model": {f"module.{k}": v for k, v in state.items()}}, path)
    else:
        key = {"pretrained": "model", "lightning": "state_dict"}.get(form)
        torch.save(state if key is None else {key: state}, path)
    found = import_public(path, tmp_path / "out", tokens=tokens)
    assert found.size == "tiny"
    assert found.units == 8
    assert found.token_kind == "characters"
    assert found.dropped == {
        "attention_decoder": 1,
        "decoder": 2,
        "joiner": 1,
        "simple_am_proj": 1,
    }
    loaded = load_model(tmp_path / "out")
    assert torch.equal(log_probs(loaded.model), log_probs(model))
    assert loaded.tokenizer.symbols == tuple(SYMBOLS)
    assert loaded.revision == found.revision
    assert loaded.extra["imported_from"] == path.name


def test_training_checkpoint_with_settings_of_harmless_classes(
    model: CtcModel, tokens: Path, tmp_path: Path
) -> None:
    average = model_of(TINY, seed=1)
    path = tmp_path / "epoch-30.pt"
    content = {
        "model": model.state_dict(),
        "model_avg": {k: v.double() for k, v in average.state_dict().items()},
        "optimizer": {"state": {0: {"step": 3, "exp_avg": torch.zeros(2)}}, "param_groups": []},
        "scheduler": {"epoch": 30},
        "exp_dir": pathlib.PosixPath("zipformer/exp"),
        "best_train_loss": float("inf"),
        "env_info": {"k2-version": "1.24"},
        "args": argparse.Namespace(lr=0.045),
    }
    torch.save(content, path)
    for part, expected in ((None, model), ("model_avg", average)):
        found = import_public(path, tmp_path / "out", tokens=tokens, part=part)
        assert found.part == (part or "model")
        assert torch.equal(log_probs(load_model(tmp_path / "out").model), log_probs(expected))
    assert "optimizer" in read_public(path).others
    torch.save({"model": model.state_dict()}, path)
    with pytest.raises(UnknownName, match="model_avg"):
        read_public(path, part="model_avg")
    torch.save(model.state_dict(), path)
    with pytest.raises(IsoglossError, match="plain state dict"):
        read_public(path, part="model_avg")


@pytest.mark.parametrize("is_zip", [True, False])
def test_settings_of_numbers_sets_and_times_are_passed_over(is_zip: bool, tmp_path: Path) -> None:
    path = tmp_path / "epoch-1.pt"
    settings = {
        "best_valid_loss": np.float64(0.5),
        "batch_idx_train": np.int64(3),
        "curve": np.arange(3.0),
        "generators": (random.getstate(), np.random.default_rng(0).bit_generator.state),
        "torch_version": torch.__version__,
        "recent": collections.deque([1.0, 2.0], maxlen=2),
        "counts": collections.defaultdict(int, {"a": 1}),
        "began": datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
        "took": datetime.timedelta(1),
        "kinds": frozenset(["a"]),
        "span": (range(3), slice(1)),
        "params": types.SimpleNamespace(exp_dir=pathlib.PureWindowsPath("exp"), n=np.float32(1)),
    }
    state = {"encoder_embed.conv.0.weight": torch.ones(2)}
    torch.save({"model": state, **settings}, path, _use_new_zipfile_serialization=is_zip)
    found = read_public(path)
    assert found.tensors["encoder_embed.conv.0.weight"].tolist() == [1.0, 1.0]
    assert set(found.others) == set(settings)


def test_a_whole_model_is_refused_by_its_class(tmp_path: Path) -> None:
    torch.save({"model": torch.nn.Linear(1, 1)}, tmp_path / "a.pt")
    with pytest.raises(IsoglossError, match=r"refused.*torch.nn.modules.linear.Linear.*save the"):
        read_public(tmp_path / "a.pt")


@pytest.mark.parametrize("size", ["micro", "tiny", "small", "medium", "large", "xlarge"])
def test_named_sizes_are_recognised(size: str) -> None:
    with torch.device("meta"):
        state = CtcModel(ZipformerConfig.of_size(size), 8).state_dict()
    found = shape_of({name: tuple(value.shape) for name, value in state.items()})
    assert found.size == size
    assert found.config == ZipformerConfig.of_size(size)
    assert found.notes == ()


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"downsampling": (1, 2, 4, 8, 4, 1), "position_dim": 32},
        {"query_head_dim": 24, "value_head_dim": 8},
        {"front_channels": (4, 8, 16), "heads": (2, 2, 6, 2, 2, 2)},
        {
            "layers": (1, 3),
            "feedforward_dims": (64, 96),
            "dims": (32, 48),
            "unmasked_dims": (32, 32),
            "heads": (4, 8),
            "kernels": (15, 31),
            "downsampling": (1, 4),
        },
    ],
)
def test_other_shapes_are_inferred(change: dict) -> None:
    config = replace(UNEVEN, **change)
    with torch.device("meta"):
        state = CtcModel(config, 8).state_dict()
    found = shape_of({name: tuple(value.shape) for name, value in state.items()})
    assert found.size is None
    assert found.config == config


def test_open_number_of_heads_is_asked_for() -> None:
    config = replace(UNEVEN, position_head_dim=6, query_head_dim=31, value_head_dim=12)
    with torch.device("meta"):
        state = CtcModel(config, 8).state_dict()
    shapes = {name: tuple(value.shape) for name, value in state.items()}
    with pytest.raises(ValueError, match=r"give --heads: .*4,4,4,8,4,4"):
        shape_of(shapes)
    assert shape_of(shapes, heads=config.heads).config == config
    with pytest.raises(ValueError, match="heads 5,4,4,8,4,4 do not divide"):
        shape_of(shapes, heads=(5, 4, 4, 8, 4, 4))


def test_non_standard_shape_gives_the_same_outputs(tokens: Path, tmp_path: Path) -> None:
    model = model_of(UNEVEN)
    torch.save({"model": model.state_dict()}, tmp_path / "a.pt")
    found = import_public(tmp_path / "a.pt", tmp_path / "out", tokens=tokens)
    assert found.size is None
    assert torch.equal(log_probs(load_model(tmp_path / "out").model), log_probs(model))


def test_half_precision_becomes_float32(model: CtcModel, tokens: Path, tmp_path: Path) -> None:
    torch.save({k: v.half() for k, v in model.state_dict().items()}, tmp_path / "a.pt")
    import_public(tmp_path / "a.pt", tmp_path / "out", tokens=tokens)
    loaded = load_model(tmp_path / "out").model
    assert {v.dtype for v in loaded.state_dict().values()} == {torch.float32}
    assert (log_probs(loaded) - log_probs(model)).abs().max() < 0.02


def test_transducer_alone_gives_an_encoder(model: CtcModel, tmp_path: Path) -> None:
    state = {k: v for k, v in model.state_dict().items() if not k.startswith("ctc_output")}
    torch.save({"model": {**state, **extras()}}, tmp_path / "a.pt")
    found = import_public(tmp_path / "a.pt", tmp_path / "out", tokens=Path("tokens.txt"))
    assert found.units is None
    assert "cannot transcribe" in found.notes[-2]
    assert "tokens.txt is not used" in found.notes[-1]
    wav = tmp_path / "a.wav"
    soundfile.write(wav, np.random.default_rng(0).normal(0, 0.1, 16000), 16000)
    item = Item(id="a", variety="cmn", meaning="1", audio=str(wav))
    encoder = load_encoder(f"own:{tmp_path / 'out'}")
    assert encoder.encode([item]).values.shape == (23, 128)
    with pytest.raises(ValueError, match="imported from a checkpoint without CTC output"):
        encoder.transcribe([item])


def refused(tmp_path: Path, state: object, words: str, tokens: Path | None = None) -> None:
    path = tmp_path / "public.pt"
    torch.save(state, path)
    with pytest.raises((IsoglossError, ValueError), match=words) as caught:
        import_public(path, tmp_path / "out", tokens=tokens)
    assert "public.pt" in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_missing_and_unknown_names_are_listed(
    model: CtcModel, tokens: Path, tmp_path: Path
) -> None:
    state = model.state_dict()
    lacking = dict(state)
    for name in ("encoder.encoders.2.encoder.layers.0.norm.log_scale", "encoder_embed.out.bias"):
        del lacking[name]
    refused(
        tmp_path,
        {"model": lacking},
        "encoder_embed.out.bias is missing; encoder.encoders.2.encoder.layers.0.norm.log_scale is "
        "missing",
        tokens,
    )
    more = {**state, "encoder.encoders.0.layers.0.adapter.weight": torch.zeros(2)}
    refused(tmp_path, more, "adapter.weight is not of this encoder", tokens)
    gap = {k: v for k, v in state.items() if not k.startswith("encoder.encoders.3.")}
    refused(tmp_path, gap, r"missing: every name of stack 3", tokens)
    wrong = {**state, "encoder_embed.conv.4.bias": torch.zeros(5)}
    refused(tmp_path, wrong, r"conv.4.bias is \(5,\), expected \(32,\)", tokens)
    whole = {k: v.to(torch.int8) if k == "encoder_embed.out.bias" else v for k, v in state.items()}
    refused(tmp_path, whole, "holds torch.int8", tokens)
    headless = {k: v for k, v in state.items() if k != "ctc_output.1.bias"}
    refused(tmp_path, headless, "missing: ctc_output.1.bias", tokens)
    nan = {**state, "encoder_embed.out.bias": torch.full((128,), float("nan"))}
    refused(tmp_path, nan, "NaN or infinity", tokens)


def test_a_parameter_that_nobody_uses_may_be_missing(
    model: CtcModel, tokens: Path, tmp_path: Path
) -> None:
    state = {k: v for k, v in model.state_dict().items() if ".layers.0.bypass_scale" not in k}
    assert len(state) < len(model.state_dict())
    torch.save(state, tmp_path / "a.pt")
    found = import_public(tmp_path / "a.pt", tmp_path / "out", tokens=tokens)
    assert len(found.filled) == 6
    assert torch.equal(log_probs(load_model(tmp_path / "out").model), log_probs(model))


def test_other_models_are_named(model: CtcModel, tmp_path: Path) -> None:
    streaming = dict(model.state_dict())
    name = "encoder.encoders.0.layers.0.conv_module1.depthwise_conv"
    streaming[f"{name}.causal_conv.weight"] = torch.zeros(128, 1, 16)
    refused(tmp_path, {"model": streaming}, "streaming")
    first = {"encoder.encoders.0.layers.0.self_attn.in_proj.weight": torch.zeros(2, 2)}
    refused(tmp_path, {"model": first}, "first generation")
    conformer = {"encoder.layers.0.norm.weight": torch.zeros(2)}
    refused(tmp_path, {"model": conformer}, "no Zipformer encoder.*encoder.layers")
    bins = {**model.state_dict(), "encoder_embed.out.weight": torch.zeros(128, 128 * 9)}
    refused(tmp_path, bins, "made for 39 to 42 mel bins")
    refused(tmp_path, {"epoch": 3}, "holds no weights; its entries: epoch")
    refused(tmp_path, [torch.zeros(2)], "holds a list")


def test_units_must_belong_to_the_output(model: CtcModel, tmp_path: Path) -> None:
    refused(tmp_path, model.state_dict(), "8 units; give its table of units: --tokens")
    torch.save(model.state_dict(), tmp_path / "a.pt")
    for count in (7, 9):
        table = tmp_path / f"{count}.txt"
        symbols = [*SYMBOLS, "x"][:count]
        table.write_text("".join(f"{s} {i}\n" for i, s in enumerate(symbols)), "utf-8")
        with pytest.raises(IsoglossError, match=f"{count}.txt has {count} units.*puts out 8"):
            import_public(tmp_path / "a.pt", tmp_path / "out", tokens=table)
    with pytest.raises(IsoglossError, match=r"absent.txt is missing"):
        import_public(tmp_path / "a.pt", tmp_path / "out", tokens=tmp_path / "absent.txt")


class _Harm:
    def __reduce__(self) -> tuple:
        return os.mkdir, ("harmed",)


@pytest.mark.parametrize("writer", ["torch", "torch-legacy", "pickle", "pickle-2"])
def test_code_is_never_run(
    writer: str, model: CtcModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "evil.pt"
    content = {"model": model.state_dict(), "settings": _Harm()}
    if writer.startswith("torch"):
        torch.save(content, path, _use_new_zipfile_serialization=writer == "torch")
    else:
        protocol = 2 if writer.endswith("2") else pickle.HIGHEST_PROTOCOL
        path.write_bytes(pickle.dumps(content, protocol=protocol))
    with pytest.raises(IsoglossError, match=r"evil\.pt") as caught:
        read_public(path)
    assert "refused" in str(caught.value) or "truncated" in str(caught.value)
    if writer.startswith("torch"):
        assert "mkdir" in str(caught.value)
    assert not Path("harmed").exists()


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.999])
def test_truncated_file_is_named(
    suffix: str, share: float, model: CtcModel, tmp_path: Path
) -> None:
    whole = tmp_path / f"whole{suffix}"
    if suffix == ".pt":
        torch.save({"model": model.state_dict()}, whole)
    else:
        save_file(model.state_dict(), whole)
    data = whole.read_bytes()
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(IsoglossError, match=rf"cut\{suffix}.*(truncated|empty)"):
        read_public(cut)


def test_files_that_are_something_else(model: CtcModel, tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with pytest.raises(IsoglossError, match="Git LFS pointer"):
        read_public(path)
    path.write_text("<!DOCTYPE html><html></html>")
    with pytest.raises(IsoglossError, match="web page"):
        read_public(path)
    with pytest.raises(IsoglossError, match=r"b\.pt is missing"):
        read_public(tmp_path / "b.pt")
    with pytest.raises(IsoglossError, match="is a folder"):
        read_public(tmp_path)
    import zipfile

    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("jit_model/constants.pkl", b"")
    with pytest.raises(IsoglossError, match="TorchScript"):
        read_public(path)


def test_command(
    model: CtcModel, tokens: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = tmp_path / "pretrained.pt", tmp_path / "out"
    torch.save({"model": {**model.state_dict(), **extras()}}, path)
    command = ["speech", "import", str(path), "--tokens", str(tokens), "--out", str(out)]
    assert main(command) == 0
    shown = capsys.readouterr().out
    assert "tiny" in shown
    assert "decoder (2 tensors)" in shown
    assert main(command) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert main([*command, "--overwrite", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["size"] == "tiny"
    assert found["dropped"]["decoder"] == 2
    path.write_bytes(path.read_bytes()[:5000])
    assert main([*command, "--overwrite"]) == 1
    error = capsys.readouterr().err
    assert "pretrained.pt" in error
    assert "Traceback" not in error
    assert load_model(out).model.vocab_size == 8
