"""SenseVoice-Small and Paraformer as encoders: recordings in, steps of any layer out.

Called through `load_encoder("funasr:NAME_OR_PATH")`. The package funasr builds the network and the
features; the weights are checked here, because funasr fills what a file lacks with random numbers.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import random
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from isogloss import __version__
from isogloss._files import sha256_of_file
from isogloss.encoders.features import item_samples, needs_device
from isogloss.errors import AudioError, IsoglossError, MissingExtra, UnknownName
from isogloss.types import Sequences

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from torch import Tensor

    from isogloss.types import FloatArray, Item

__all__ = ["FunasrEncoder", "load"]

# Classes of funasr whose `encoder` is the same self-attention with memory blocks.
_PARAFORMERS = ("Paraformer", "BiCifParaformer", "ContextualParaformer", "SeacoParaformer")
_SENSEVOICE = "SenseVoiceSmall"
# Rows of SenseVoice's table of queries: language unknown, event, emotion, no text normalisation.
_QUERIES = (0, 1, 2, 15)
_SHORT_NAMES = {"SenseVoiceSmall": "iic/SenseVoiceSmall"}
# One frame of features.
_LEAST_SAMPLES = 400


@dataclass(frozen=True, eq=False)
class FunasrEncoder:
    """The encoder of a funasr model; every recording runs alone, so no padding exists.

    Features are funasr's own without dither. SenseVoice puts four queries (language, event,
    emotion, text form) before the sound; here the language is left open, and their four steps are
    dropped from every layer.

    Attributes:
        model: a SenseVoiceSmall or Paraformer in evaluation mode.
        frontend: funasr's feature extractor of that model.
        name: what identifies the weights, first part of `made_by`.
        layer: 0 is the input of the first block (with positions), i the output of block i, None or
            the last number what the encoder returns, after its last norm.
        device: where `model` is.
    """

    model: Any
    frontend: Any
    name: str
    layer: int | None = None
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.layer is not None and self.layer not in self.layers:
            raise ValueError(
                f"layer must be one of 0 to {self.layers[-1]} (0 the embedding, then "
                f"{len(self._blocks)} blocks, then the final output), got {self.layer}"
            )
        if self.layer == self.layers[-1]:
            object.__setattr__(self, "layer", None)

    @property
    def _blocks(self) -> tuple[Any, ...]:
        """The encoder's blocks, first to last."""
        encoder = self.model.encoder
        return (*encoder.encoders0, *encoder.encoders, *getattr(encoder, "tp_encoders", ()))

    @property
    def layers(self) -> tuple[int, ...]:
        """Every layer that can be asked for: 0, the blocks, and last the final output."""
        return tuple(range(len(self._blocks) + 2))

    @property
    def step_seconds(self) -> float:
        """Time between two steps, 0.06 for the published models."""
        return float(self.frontend.frame_shift) * int(self.frontend.lfr_n) / 1000.0

    @property
    def made_by(self) -> str:
        """Name and checksum of the weights, layer, and the version of this code."""
        layer = "final" if self.layer is None else self.layer
        return f"{self.name};layer={layer};isogloss={__version__}"

    def with_layer(self, layer: int | None) -> FunasrEncoder:
        """The same model giving another layer; nothing is loaded again."""
        return replace(self, layer=layer)

    def encode(self, items: Sequence[Item]) -> Sequences:
        """Steps of each item at this encoder's layer, in order.

        Raises:
            AudioError: a recording cannot be read, is shorter than 25 ms or too long (see
                `features`), or gives values that are not finite.
            ValueError: there is no item, or one has no audio.
        """
        layer = self.layers[-1] if self.layer is None else self.layer
        return self._encode(items, (layer,))[0]

    def encode_layers(self, items: Sequence[Item]) -> list[Sequences]:
        """Steps of every layer from one pass, `result[i]` for layer i; the last is the final one.

        Errors as `encode`.
        """
        return self._encode(items, self.layers)

    def _encode(self, items: Sequence[Item], layers: tuple[int, ...]) -> list[Sequences]:
        if not items:
            raise ValueError("there is no item to encode")
        columns: list[list[FloatArray]] = [[] for _ in layers]
        for item in items:
            samples = item_samples(
                item, sample_rate_hz=int(self.frontend.fs), least_samples=_LEAST_SAMPLES
            )
            steps = self._steps(samples)
            for column, layer in zip(columns, layers, strict=True):
                if not np.isfinite(steps[layer]).all():
                    raise AudioError(str(item.audio), f"item '{item.id}' gives NaN or infinity")
                column.append(steps[layer])
        ids = [item.id for item in items]
        return [
            Sequences.from_list(
                ids,
                arrays,
                step_seconds=self.step_seconds,
                made_by=self.with_layer(layer).made_by,
            )
            for layer, arrays in zip(layers, columns, strict=True)
        ]

    def _steps(self, samples: FloatArray) -> list[FloatArray]:
        """Steps of every layer, (T', Dl) each."""
        import torch

        with torch.inference_mode():
            wave = torch.from_numpy(samples)[None]
            features, lengths = self.frontend(wave, torch.tensor([len(samples)]))
            features, lengths = features.to(self.device), lengths.to(self.device)
            queries = 0
            if type(self.model).__name__ == _SENSEVOICE:
                queries = len(_QUERIES)
                rows = torch.tensor([_QUERIES], device=self.device)
                features = torch.cat([self.model.embed(rows), features], dim=1)
                lengths = lengths + queries
            seen: list[Tensor] = []
            with self._watched(seen):
                final = self.model.encoder(features, lengths)[0]
            # An encoder with intermediate outputs returns a pair.
            seen.append(final[0] if isinstance(final, tuple) else final)
        return [
            np.ascontiguousarray(x[0, queries:].float().cpu().numpy(), dtype=np.float32)
            for x in seen
        ]

    @contextlib.contextmanager
    def _watched(self, seen: list[Tensor]) -> Iterator[None]:
        """The first block's input, then each block's output, are added to `seen`."""

        def before(module: Any, arguments: tuple[Any, ...]) -> None:
            seen.append(arguments[0].clone())

        def after(module: Any, arguments: tuple[Any, ...], output: Any) -> None:
            seen.append((output[0] if isinstance(output, tuple) else output).clone())

        hooks = [self._blocks[0].register_forward_pre_hook(before)]
        hooks += [block.register_forward_hook(after) for block in self._blocks]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()


def load(argument: str, *, layer: int | None = None, device: str = "cpu") -> FunasrEncoder:
    """The encoder behind 'funasr:NAME_OR_PATH'.

    A name is one of ModelScope when it begins with 'iic/' (or is 'SenseVoiceSmall'), else one of
    Hugging Face; a path is a folder with config.yaml and model.pt.

    Raises:
        MissingExtra: funasr is not installed.
        ValueError: nothing follows the colon, or there is no such layer or device.
        UnknownName: the model is of another kind than SenseVoiceSmall and Paraformer.
        IsoglossError: the folder is incomplete or cannot be downloaded, or the weights are damaged
            or not those of the configuration; the message names the file and the weight.
    """
    if not argument:
        raise ValueError("'funasr:' needs a name or folder, such as funasr:iic/SenseVoiceSmall")
    needs_device(device)
    try:
        with _silent():
            from funasr import AutoModel
            from funasr.download.download_model_from_hub import download_model
    except ImportError as error:
        raise MissingExtra("funasr", "funasr") from error

    folder = Path(argument)
    if folder.exists():
        _check_folder(folder)
    name = _SHORT_NAMES.get(argument, argument)
    settings = {
        "model": name,
        "hub": "ms" if folder.exists() or name.startswith("iic/") else "hf",
        "device": device,
        "trust_remote_code": False,
        "disable_update": True,
        "check_latest": False,
    }
    with _silent(), _same_torch_state():
        try:
            known = download_model(**settings)
        except (OSError, ValueError, RuntimeError, AssertionError, KeyError) as error:
            raise IsoglossError(f"funasr cannot get '{name}': {error}") from error
        weights = Path(str(known.get("init_param", "")))
        if not weights.is_file():
            raise IsoglossError(
                f"funasr:{argument}: no weights were found; give a folder with config.yaml and "
                "model.pt, or check the name and the connection"
            )
        kind = str(known.get("model"))
        if kind not in (_SENSEVOICE, *_PARAFORMERS):
            raise UnknownName("model of funasr", kind, (_SENSEVOICE, *_PARAFORMERS))
        state = _state(weights)
        try:
            model, settings = AutoModel.build_model(**{**known, "ncpu": _threads()})
        except (TypeError, ValueError, RuntimeError, AssertionError, KeyError, OSError) as error:
            raise IsoglossError(f"{weights.parent}: funasr cannot build it: {error}") from error
    _check_weights(weights, model, state)
    frontend = settings["frontend"]
    if frontend is None:
        raise IsoglossError(f"{weights.parent}: config.yaml names no frontend")
    frontend.dither = 0.0
    digest = hashlib.sha256(sha256_of_file(weights).encode())
    # The features' mean and variance are part of the weights.
    for beside in (weights.parent / "am.mvn", weights.parent / "config.yaml"):
        if beside.is_file():
            digest.update(sha256_of_file(beside).encode())
    return FunasrEncoder(
        model.eval(), frontend.eval(), f"funasr:{digest.hexdigest()[:16]}", layer, device
    )


def _check_folder(folder: Path) -> None:
    missing = [] if (folder / "model.pt").is_file() else ["model.pt"]
    if not any((folder / name).is_file() for name in ("config.yaml", "configuration.json")):
        missing.append("config.yaml")
    if missing:
        raise IsoglossError(
            f"{folder} is no folder of a funasr model: {', '.join(missing)} missing"
        )


def _state(path: Path) -> Mapping[str, Tensor]:
    import pickle

    import torch

    try:
        state: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, ValueError, pickle.UnpicklingError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise IsoglossError(f"{path} is damaged or holds more than weights: {reason}") from error
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not state:
        raise IsoglossError(f"{path} holds no weights but {type(state).__name__}")
    return {str(name).removeprefix("module."): value for name, value in state.items()}


def _check_weights(path: Path, model: Any, state: Mapping[str, Tensor]) -> None:
    """Raise unless every weight that `encode` uses came from the file."""
    used = [
        (name, tensor)
        for name, tensor in model.state_dict().items()
        if name.startswith("encoder.")
        or (name.startswith("embed.") and type(model).__name__ == _SENSEVOICE)
    ]
    problems = [f"{name} is missing" for name, _ in used if name not in state]
    problems += [
        f"{name} is {tuple(state[name].shape)}, config.yaml makes it {tuple(tensor.shape)}"
        for name, tensor in used
        if name in state and tuple(state[name].shape) != tuple(tensor.shape)
    ]
    if problems:
        more = f", and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise IsoglossError(f"{path}: {'; '.join(problems[:3])}{more}")


def _threads() -> int:
    import torch

    return torch.get_num_threads()


@contextlib.contextmanager
def _same_torch_state() -> Iterator[None]:
    """Afterwards seeds and threads, which funasr sets when it builds a model, are as before."""
    import torch

    threads, numpy_state, python_state = _threads(), np.random.get_state(), random.getstate()  # noqa: NPY002
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        torch.set_num_threads(threads)
        np.random.set_state(numpy_state)  # noqa: NPY002
        random.setstate(python_state)


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Without what funasr prints and logs while it loads."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(level)
