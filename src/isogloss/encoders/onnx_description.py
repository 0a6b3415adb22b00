"""What an ONNX file takes and gives: `OnnxDescription`, read from it or from a JSON beside it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from isogloss._config import config_from_mapping
from isogloss.errors import IsoglossError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["METADATA_KEY", "OnnxDescription", "read_description"]

METADATA_KEY = "isogloss_encoder"
"""Under this key our own exports carry their description."""


@dataclass(frozen=True, slots=True)
class OnnxDescription:
    """What `onnx:` has to know of a file; every field but the first four has a default."""

    # The audio input, then, where there is one, the input that takes the lengths (N,).
    inputs: tuple[str, ...]
    # (N, T', D) float; the steps.
    output: str
    # fbank80: 80 log-mel energies every 10 ms, 20 to 7,600 Hz (icefall, lhotse). mfcc40: 40 MFCC
    # every 10 ms from 40 filters, 40 to 7,800 Hz, of 16-bit samples (TeleSpeech). waveform: 16 kHz
    # samples.
    features: Literal["fbank80", "mfcc40", "waveform"]
    # Time between two steps.
    step_seconds: float
    # (N,) real steps, before `drop_steps`; without it all steps of a recording count.
    lengths_output: str | None = None
    # Steps at the start that stand for no sound, as SenseVoice's four.
    drop_steps: int = 0
    # Recordings shorter than this are refused, in frames of 10 ms.
    least_frames: int = 1
    # Samples in [-1, 1] are multiplied with this before anything else; 32768 for 16-bit scale.
    sample_scale: float = 1.0
    # Mean 0 and variance 1 of every feature (of the samples) over the recording.
    normalise: bool = False
    # Whether padded batches give what single recordings give; needs both lengths.
    batch: bool = False

    def __post_init__(self) -> None:
        if not 1 <= len(self.inputs) <= 2:
            raise ValueError(
                f"inputs must name the audio and, if there is one, the lengths, got {self.inputs}"
            )
        if not self.step_seconds > 0:
            raise ValueError(f"step_seconds must be above 0, got {self.step_seconds}")
        if self.drop_steps < 0 or self.least_frames < 1:
            raise ValueError(
                "drop_steps must be 0 or more and least_frames 1 or more, got "
                f"{self.drop_steps} and {self.least_frames}"
            )
        if not self.sample_scale > 0:
            raise ValueError(f"sample_scale must be above 0, got {self.sample_scale}")
        if self.batch and (len(self.inputs) < 2 or self.lengths_output is None):
            raise ValueError("batch needs the lengths as second input and lengths_output")


def read_description(path: Path, metadata: Mapping[str, str]) -> OnnxDescription:
    """The description of the ONNX file at `path`.

    `NAME.json` beside `NAME.onnx` counts before what the file's own `metadata` say.

    Raises:
        IsoglossError: there is neither; it is not JSON, or a field is missing, unknown or wrong.
    """
    sidecar = path.with_suffix(".json")
    if sidecar.is_file():
        place, text = str(sidecar), _text(sidecar)
    elif METADATA_KEY in metadata:
        place, text = f"{path}, metadata {METADATA_KEY}", metadata[METADATA_KEY]
    else:
        raise IsoglossError(
            f"{path} does not say what it takes and gives; write {sidecar.name} beside it with "
            "inputs, output, features and step_seconds (docs/export.md has an example)"
        )
    try:
        values: Any = json.loads(text)
    except json.JSONDecodeError as error:
        raise IsoglossError(f"{place}: not JSON: {error}") from error
    if not isinstance(values, dict):
        raise IsoglossError(f"{place}: expected an object, got {type(values).__name__}")
    needed = ("inputs", "output", "features", "step_seconds")
    missing = [name for name in needed if name not in values]
    if missing:
        raise IsoglossError(f"{place}: missing: {', '.join(missing)}")
    try:
        return config_from_mapping(OnnxDescription, values)
    except ValueError as error:
        raise IsoglossError(f"{place}: {error}") from error


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise IsoglossError(f"{path}: not UTF-8: {error}") from error
