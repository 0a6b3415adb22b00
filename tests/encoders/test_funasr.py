"""The glue to funasr on a stand-in of its classes; on the package itself where it is installed."""

from __future__ import annotations

import importlib.util
import json
import sys
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import nn

import export_makers
from isogloss.encoders.check import check_encoder
from isogloss.encoders.registry import load_encoder
from isogloss.errors import AudioError, IsoglossError, MissingExtra, UnknownName
from isogloss.types import Item

if TYPE_CHECKING:
    from collections.abc import Callable

from makers import write_wav

torch.set_num_threads(1)
INSTALLED = importlib.util.find_spec("funasr") is not None
FRONTEND = {
    "fs": 16000,
    "n_mels": 80,
    "frame_length": 25,
    "frame_shift": 10,
    "lfr_m": 7,
    "lfr_n": 6,
}


class StandInFrontend(nn.Module):
    """One row a 60 ms: 560 numbers, and noise unless dither is 0."""

    def __init__(self) -> None:
        super().__init__()
        self.fs, self.frame_shift, self.lfr_n, self.dither = 16000, 10, 6, 1.0

    def forward(
        self, waves: torch.Tensor, lengths: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        frames = (waves.shape[1] - 400) // 160 + 1
        rows = -(-frames // 6)
        x = nn.functional.pad(waves, (0, rows * 960)).unfold(1, 560, 960)[:, :rows] * 100
        return x + self.dither * torch.randn_like(x), torch.tensor([rows])


class Block(nn.Module):
    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inside, outside)

    def forward(self, x: torch.Tensor, mask: Any) -> tuple[torch.Tensor, Any]:
        return self.linear(x).tanh() + x.mean(dim=1, keepdim=True).mean(), mask


class StandInEncoder(nn.Module):
    """funasr's encoders change their input in place and return blocks' masks along."""

    def __init__(self, blocks: int) -> None:
        super().__init__()
        self.encoders0 = nn.ModuleList([Block(560, 16)])
        self.encoders = nn.ModuleList([Block(16, 16) for _ in range(blocks)])
        self.norm = nn.LayerNorm(16)

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> Any:
        x *= 4.0
        for block in (*self.encoders0, *self.encoders):
            x, _ = block(x, None)
        return self.norm(x), lengths


class SenseVoiceSmall(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(16, 560)
        self.encoder = StandInEncoder(2)


class Paraformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = StandInEncoder(1)


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], Path]:
    """A folder of a model, with modules that load it as funasr does."""

    def download_model(**settings: Any) -> dict[str, Any]:
        folder = Path(settings["model"])
        if not folder.is_dir():
            raise ConnectionError(f"no route to the hub of {settings['model']}")
        config = json.loads((folder / "config.yaml").read_text(encoding="utf-8"))
        return {**settings, **config, "init_param": str(folder / "model.pt"), "model_conf": {}}

    class AutoModel:
        @staticmethod
        def build_model(**settings: Any) -> tuple[nn.Module, dict[str, Any]]:
            sys.stdout.write("building\n")  # funasr talks.
            torch.manual_seed(settings.get("seed", 0))
            torch.set_num_threads(2)
            model = {"SenseVoiceSmall": SenseVoiceSmall, "Paraformer": Paraformer}[
                settings["model"]
            ]()
            state = torch.load(settings["init_param"], weights_only=True)
            # As funasr: what does not fit is left random without a word.
            own = model.state_dict()
            fitting = {k: v for k, v in state.items() if k in own and own[k].shape == v.shape}
            model.load_state_dict({**own, **fitting})
            return model, {**settings, "frontend": StandInFrontend()}

    package = types.ModuleType("funasr")
    hub = types.ModuleType("funasr.download.download_model_from_hub")
    package.AutoModel = AutoModel  # type: ignore[attr-defined]
    hub.download_model = download_model  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "funasr", package)
    monkeypatch.setitem(sys.modules, "funasr.download", types.ModuleType("funasr.download"))
    monkeypatch.setitem(sys.modules, "funasr.download.download_model_from_hub", hub)

    def folder(kind: str) -> Path:
        path = tmp_path / kind
        path.mkdir()
        (path / "config.yaml").write_text(json.dumps({"model": kind}), encoding="utf-8")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(3)
            model = {"SenseVoiceSmall": SenseVoiceSmall, "Paraformer": Paraformer}[kind]()
        torch.save(model.state_dict(), path / "model.pt")
        return path

    return folder


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> list[Item]:
    folder = tmp_path_factory.mktemp("audio")
    return [
        Item(str(i), "cmn", audio=str(write_wav(folder / f"{i}.wav", wave)))
        for i, wave in enumerate(export_makers.utterances(3))
    ]


@pytest.mark.parametrize("kind", ["SenseVoiceSmall", "Paraformer"])
def test_the_contract_is_kept(
    kind: str, stand_in: Callable[[str], Path], items: list[Item]
) -> None:
    encoder = load_encoder(f"funasr:{stand_in(kind)}")
    check_encoder(encoder, items)
    assert encoder.encode(items).step_seconds == pytest.approx(0.06)


def test_the_four_queries_of_sensevoice_are_put_first_and_dropped(
    stand_in: Callable[[str], Path], items: list[Item]
) -> None:
    encoder: Any = load_encoder(f"funasr:{stand_in('SenseVoiceSmall')}")
    samples = export_makers.utterances(1)[0]
    rows = -(-((len(samples) - 400) // 160 + 1) // 6)
    layers = encoder.encode_layers(items[:1])
    assert [len(layer[0]) for layer in layers] == [rows] * 5
    # By hand: language open, event, emotion, no text normalisation, then the sound.
    with torch.inference_mode():
        sound, _ = encoder.frontend(torch.from_numpy(read(items[0]))[None], None)
        queries = encoder.model.embed.weight[[0, 1, 2, 15]]
        x = torch.cat([queries[None], sound], dim=1) * 4.0
        np.testing.assert_allclose(layers[0][0], x[0, 4:].numpy(), atol=1e-5)
        for number, block in enumerate(
            (*encoder.model.encoder.encoders0, *encoder.model.encoder.encoders)
        ):
            x, _ = block(x, None)
            np.testing.assert_allclose(layers[number + 1][0], x[0, 4:].numpy(), atol=1e-5)
        final = encoder.model.encoder.norm(x)
    np.testing.assert_allclose(layers[-1][0], final[0, 4:].numpy(), atol=1e-5)


def read(item: Item) -> np.ndarray:
    from isogloss.corpora.audio import read_audio

    return read_audio(str(item.audio), sample_rate_hz=16000)


def test_loading_leaves_seeds_threads_and_stdout_alone(
    stand_in: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = stand_in("Paraformer")
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    load_encoder(f"funasr:{folder}")
    assert torch.equal(before, torch.random.get_rng_state())
    assert torch.get_num_threads() == 1
    assert capsys.readouterr().out == ""


def test_weights_that_do_not_fit_are_named(stand_in: Callable[[str], Path]) -> None:
    folder = stand_in("SenseVoiceSmall")
    path = folder / "model.pt"
    whole = torch.load(path, weights_only=True)
    data = path.read_bytes()

    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(IsoglossError, match=r"model\.pt is damaged"):
        load_encoder(f"funasr:{folder}")
    torch.save({k: v for k, v in whole.items() if k != "encoder.norm.weight"}, path)
    with pytest.raises(IsoglossError, match=r"model\.pt: encoder\.norm\.weight is missing"):
        load_encoder(f"funasr:{folder}")
    torch.save(whole | {"embed.weight": torch.zeros(3, 560)}, path)
    message = r"model\.pt: embed\.weight is \(3, 560\), config\.yaml makes it \(16, 560\)"
    with pytest.raises(IsoglossError, match=message):
        load_encoder(f"funasr:{folder}")
    path.unlink()
    with pytest.raises(IsoglossError, match=r"no folder of a funasr model: model\.pt missing"):
        load_encoder(f"funasr:{folder}")


def test_wrong_names_layers_and_recordings(stand_in: Callable[[str], Path], tmp_path: Path) -> None:
    folder = stand_in("Paraformer")
    with pytest.raises(ValueError, match="layer must be one of 0 to 3"):
        load_encoder(f"funasr:{folder}", layer=9)
    with pytest.raises(ValueError, match="needs a name or folder"):
        load_encoder("funasr:")
    with pytest.raises(IsoglossError, match="funasr cannot get 'someone/else': no route"):
        load_encoder("funasr:someone/else")
    short = write_wav(tmp_path / "short.wav", np.zeros(300, dtype=np.float32))
    with pytest.raises(AudioError, match=r"short\.wav"):
        load_encoder(f"funasr:{folder}").encode([Item("a", "cmn", audio=str(short))])
    (folder / "config.yaml").write_text(json.dumps({"model": "FsmnVAD"}), encoding="utf-8")
    with pytest.raises(UnknownName, match="unknown model of funasr 'FsmnVAD'"):
        load_encoder(f"funasr:{folder}")


def test_without_funasr_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "funasr", None)
    with pytest.raises(MissingExtra, match=r"funasr is not installed.*isogloss\[funasr\]"):
        load_encoder("funasr:iic/SenseVoiceSmall")


@pytest.mark.skipif(not INSTALLED, reason="funasr is not installed (extra funasr)")
@pytest.mark.parametrize("kind", ["SenseVoiceSmall", "Paraformer"])
@pytest.mark.filterwarnings("ignore")
def test_the_package_itself_on_small_random_models(
    kind: str, tmp_path: Path, items: list[Item]
) -> None:
    model = real_checkpoint(kind, tmp_path)
    encoder: Any = load_encoder(f"funasr:{tmp_path}")
    check_encoder(encoder, items)
    own = encoder.model.state_dict()
    assert all(torch.equal(own[name], value) for name, value in model.state_dict().items())
    steps = encoder.encode(items)
    assert steps.values.shape[1] == 32
    assert steps.step_seconds == pytest.approx(0.06)
    assert len(encoder.layers) == (7 if kind == "SenseVoiceSmall" else 5)
    if kind == "SenseVoiceSmall":
        # funasr's own way from samples to text goes through the same encoder output.
        seen: list[torch.Tensor] = []

        def keep(module: Any, arguments: Any, output: Any) -> None:
            seen.append(output[0].detach().clone())

        hook = encoder.model.encoder.register_forward_hook(keep)
        tokenizer = types.SimpleNamespace(decode=str)
        wave = torch.from_numpy(read(items[1]))
        encoder.model.inference(
            [wave], key=["a"], tokenizer=tokenizer, frontend=encoder.frontend, device="cpu"
        )
        hook.remove()
        np.testing.assert_allclose(seen[0][0, 4:].numpy(), steps[1], rtol=0, atol=1e-5)


def real_checkpoint(kind: str, folder: Path) -> nn.Module:
    """A random model of the package in its hub's layout: config.yaml, tokens.json, model.pt."""
    import funasr  # noqa: F401  (fills the tables)
    from funasr.register import tables
    from omegaconf import OmegaConf

    encoder = {
        "output_size": 32,
        "attention_heads": 4,
        "linear_units": 48,
        "num_blocks": 3,
        "input_layer": "pe",
        "kernel_size": 11,
        "sanm_shfit": 0,
        "selfattention_layer_type": "sanm",
    }
    config: dict[str, Any] = {
        "model": kind,
        "frontend": "WavFrontend",
        "frontend_conf": {**FRONTEND, "window": "hamming"},
        "tokenizer": "CharTokenizer",
        "tokenizer_conf": {"unk_symbol": "<unk>", "split_with_space": True},
    }
    if kind == "SenseVoiceSmall":
        config |= {
            "encoder": "SenseVoiceEncoderSmall",
            "encoder_conf": encoder | {"tp_blocks": 2},
            "model_conf": {"length_normalized_loss": True},
        }
    else:
        decoder = {"attention_heads": 4, "linear_units": 48, "num_blocks": 1, "att_layer_num": 1}
        config |= {
            "encoder": "SANMEncoder",
            "encoder_conf": encoder,
            "decoder": "ParaformerSANMDecoder",
            "decoder_conf": decoder | {"kernel_size": 11, "sanm_shfit": 0},
            "predictor": "CifPredictorV2",
            "predictor_conf": {"idim": 32, "threshold": 1.0, "l_order": 1, "r_order": 1},
            "model_conf": {"ctc_weight": 0.0, "predictor_weight": 1.0},
        }
    units = ["<blank>", "<s>", "</s>", "一", "二", "三", "<unk>"]
    OmegaConf.save(OmegaConf.create(config), folder / "config.yaml")
    (folder / "tokens.json").write_text(json.dumps(units), encoding="utf-8")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        settings = {**config["model_conf"], **config, "vocab_size": len(units), "input_size": 560}
        model: nn.Module = tables.model_classes.get(kind)(**settings)
    torch.save(model.state_dict(), folder / "model.pt")
    return model
