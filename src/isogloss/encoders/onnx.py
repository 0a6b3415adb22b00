"""Any exported speech encoder as an encoder: an ONNX file run by onnxruntime.

Called through `load_encoder("onnx:FILE_OR_FOLDER")`. Our own exports say what they take; for files
of others a JSON beside them does (`onnx_description`).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from isogloss import __version__
from isogloss._files import sha256_of_file
from isogloss.encoders.features import item_features, item_samples, needs_torch
from isogloss.encoders.onnx_description import OnnxDescription, read_description
from isogloss.errors import IsoglossError, MissingExtra
from isogloss.types import Sequences

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from isogloss.types import FloatArray, Item

__all__ = ["OnnxEncoder", "load"]

_SAMPLE_RATE_HZ = 16000
# Recordings whose features are held at once.
_ITEMS_READ_AT_ONCE = 64
_DTYPES = {"tensor(float)": np.float32, "tensor(int64)": np.int64, "tensor(int32)": np.int32}


@dataclass(frozen=True, eq=False)
class OnnxEncoder:
    """An ONNX file as an encoder.

    An item's steps are the same alone as in any batch (within 1e-5): recordings are padded
    together only where the description says that this changes nothing, else each runs alone.

    Attributes:
        session: an `onnxruntime.InferenceSession`.
        description: what the file takes and gives.
        name: what identifies the weights, first part of `made_by`.
        path: of the file, for messages.
        batch_seconds: recording time in one padded batch; a longer recording is alone.
    """

    session: Any
    description: OnnxDescription
    name: str
    path: Path
    batch_seconds: float = 60.0

    @property
    def made_by(self) -> str:
        """Checksum of the weights, what was asked of them, and the version of the features."""
        values = json.dumps(asdict(self.description), sort_keys=True)
        digest = hashlib.sha256(values.encode()).hexdigest()[:8]
        return f"{self.name};output={self.description.output}:{digest};isogloss={__version__}"

    def encode(self, items: Sequence[Item]) -> Sequences:
        """Steps of each item, in order.

        Raises:
            AudioError: a recording cannot be read, or is too short or too long (see `features`).
            ValueError: there is no item, or one has no audio.
            IsoglossError: the file fails on a recording, or gives something else than described.
        """
        if not items:
            raise ValueError("there is no item to encode")
        arrays: list[FloatArray] = []
        for first in range(0, len(items), _ITEMS_READ_AT_ONCE):
            arrays += self._encode_window(items[first : first + _ITEMS_READ_AT_ONCE])
        return Sequences.from_list(
            [item.id for item in items],
            arrays,
            step_seconds=self.description.step_seconds,
            made_by=self.made_by,
        )

    def _encode_window(self, items: Sequence[Item]) -> list[FloatArray]:
        inputs = [self._input(item) for item in items]
        found: dict[int, FloatArray] = {}
        for batch in self._batches([len(x) for x in inputs]):
            steps = self._run([inputs[i] for i in batch], [items[i].id for i in batch])
            found.update(zip(batch, steps, strict=True))
        return [found[i] for i in range(len(items))]

    def _input(self, item: Item) -> FloatArray:
        """(T, D) features or (S,) samples."""
        kind, scale = self.description.features, self.description.sample_scale
        least = self.description.least_frames
        if kind == "fbank80" and scale == 1.0:
            x = item_features(item, least_frames=least).numpy()
        else:
            samples = item_samples(item, least_samples=max(400, least * 160)) * np.float32(scale)
            if kind == "fbank80":
                from isogloss.speech.features import fbank

                x = fbank(samples).numpy()
            elif kind == "mfcc40":
                from isogloss.encoders.mfcc import mfcc

                x = mfcc(samples)
            else:
                x = samples
        if self.description.normalise:
            x = (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + 1e-7)
        return np.ascontiguousarray(x, dtype=np.float32)

    def _batches(self, sizes: list[int]) -> Iterator[list[int]]:
        """Indices that run together, longest first."""
        rate = _SAMPLE_RATE_HZ if self.description.features == "waveform" else 100
        budget = self.batch_seconds * rate if self.description.batch else 0
        batch: list[int] = []
        for index in sorted(range(len(sizes)), key=lambda i: -sizes[i]):
            if batch and (len(batch) + 1) * sizes[batch[0]] > budget:
                yield batch
                batch = []
            batch.append(index)
        if batch:
            yield batch

    def _run(self, inputs: list[FloatArray], ids: list[str]) -> list[FloatArray]:
        longest = max(len(x) for x in inputs)
        padded = np.zeros((len(inputs), longest, *inputs[0].shape[1:]), dtype=np.float32)
        for row, x in zip(padded, inputs, strict=True):
            row[: len(x)] = x
        names = self.description.inputs
        feed: dict[str, Any] = {names[0]: padded}
        if len(names) > 1:
            kinds = {entry.name: entry.type for entry in self.session.get_inputs()}
            dtype = _DTYPES[kinds[names[1]]]
            feed[names[1]] = np.array([len(x) for x in inputs], dtype=dtype)
        wanted = [self.description.output]
        if self.description.lengths_output is not None:
            wanted.append(self.description.lengths_output)
        try:
            values, *lengths = self.session.run(wanted, feed)
        except _failures() as error:
            reason = str(error).strip().splitlines()[-1]
            raise IsoglossError(f"{self.path} fails on '{ids[0]}': {reason}") from error
        if values.ndim != 3 or len(values) != len(inputs):
            raise IsoglossError(
                f"{self.path}: output '{wanted[0]}' is {values.shape}, expected "
                f"({len(inputs)}, steps, channels)"
            )
        counts = lengths[0].tolist() if lengths else [values.shape[1]] * len(inputs)
        dropped = self.description.drop_steps
        return [
            np.array(row[dropped : int(count)], dtype=np.float32)
            for row, count in zip(values, counts, strict=True)
        ]


def load(argument: str, *, layer: int | None = None, device: str = "cpu") -> OnnxEncoder:
    """The encoder behind 'onnx:FILE_OR_FOLDER'; a folder stands for its encoder.onnx.

    Raises:
        MissingExtra: onnxruntime (or torch, for features) is not installed.
        ValueError: nothing follows the colon, a layer is asked for (an exported file has its final
            output only), or onnxruntime cannot use the device.
        IsoglossError: there is no such file, it is no ONNX model, nothing describes it, or the
            description names what the file does not have.
    """
    if not argument:
        raise ValueError("'onnx:' needs a file or folder, such as onnx:exported/encoder.onnx")
    if layer is not None:
        raise ValueError(f"an exported encoder has its final output only; got layer {layer}")
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtra("onnx", "onnxruntime") from error
    needs_torch()
    import torch

    path = _file(Path(argument))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4  # What goes wrong is raised as well.
    try:
        session = onnxruntime.InferenceSession(
            str(path), options, providers=_providers(device, onnxruntime.get_available_providers())
        )
    except _failures() as error:
        reason = str(error).strip().splitlines()[-1]
        raise IsoglossError(f"{path} is no ONNX model that onnxruntime reads: {reason}") from error
    metadata = session.get_modelmeta().custom_metadata_map
    description = read_description(path, metadata)
    _check_names(path, session, description)
    digest = hashlib.sha256(sha256_of_file(path).encode())
    for beside in (path.with_name(f"{path.name}.data"), path.with_name(f"{path.name}_data")):
        if beside.is_file():
            digest.update(sha256_of_file(beside).encode())
    return OnnxEncoder(session, description, f"onnx:{digest.hexdigest()[:16]}", path)


def _file(path: Path) -> Path:
    if path.is_file():
        return path
    if not path.is_dir():
        raise IsoglossError(f"{path}: there is no such file or folder")
    encoder = path / "encoder.onnx"
    if encoder.is_file():
        return encoder
    found = sorted(file.name for file in path.glob("*.onnx"))
    if len(found) == 1 and found[0] != "model.onnx":
        return path / found[0]
    raise IsoglossError(
        f"{path} has no encoder.onnx (found: {', '.join(found) or 'no .onnx file'}); export with "
        "--what encoder, or name the file"
    )


def _providers(device: str, available: Sequence[str]) -> list[Any]:
    kind, _, number = device.partition(":")
    if kind == "cpu":
        return ["CPUExecutionProvider"]
    if kind == "cuda" and "CUDAExecutionProvider" in available:
        return [("CUDAExecutionProvider", {"device_id": int(number or 0)})]
    raise ValueError(
        f"device '{device}' cannot be used: this onnxruntime has {', '.join(available)}"
        + ("; install onnxruntime-gpu" if kind == "cuda" else "; use cpu")
    )


def _check_names(path: Path, session: Any, description: OnnxDescription) -> None:
    inputs = {entry.name: entry for entry in session.get_inputs()}
    outputs = {entry.name: entry for entry in session.get_outputs()}
    for field, wanted, present in (
        ("inputs", description.inputs, inputs),
        ("output", (description.output,), outputs),
        ("lengths_output", (description.lengths_output,), outputs),
    ):
        for name in wanted:
            if name is not None and name not in present:
                raise IsoglossError(
                    f"{path}: {field} names '{name}'; the file has {', '.join(present)}"
                )
    extra = [name for name in inputs if name not in description.inputs]
    if extra:
        raise IsoglossError(f"{path}: inputs leaves out '{extra[0]}', which the file needs")
    audio = inputs[description.inputs[0]]
    rank = 2 if description.features == "waveform" else 3
    if audio.type != "tensor(float)" or (audio.shape and len(audio.shape) != rank):
        raise IsoglossError(
            f"{path}: input '{audio.name}' takes {audio.type} of {audio.shape}; features "
            f"'{description.features}' are tensor(float) with {rank} axes"
        )
    bins = {"fbank80": 80, "mfcc40": 40}.get(description.features)
    if bins and isinstance(audio.shape[-1], int) and audio.shape[-1] != bins:
        raise IsoglossError(
            f"{path}: input '{audio.name}' takes {audio.shape[-1]} channels; features "
            f"'{description.features}' have {bins}"
        )
    if len(description.inputs) > 1 and inputs[description.inputs[1]].type not in _DTYPES:
        raise IsoglossError(
            f"{path}: input '{description.inputs[1]}' takes "
            f"{inputs[description.inputs[1]].type}; lengths are whole numbers"
        )


def _failures() -> tuple[type[Exception], ...]:
    """What onnxruntime raises; its classes have no common parent of their own."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    names = (
        "EPFail",
        "Fail",
        "InvalidArgument",
        "InvalidGraph",
        "InvalidProtobuf",
        "ModelLoadCanceled",
        "NoModel",
        "NoSuchFile",
        "NotImplemented",
        "RuntimeException",
    )
    return tuple(getattr(state, name) for name in names if hasattr(state, name))
