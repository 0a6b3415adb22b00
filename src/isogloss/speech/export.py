"""A trained model as files that run without Isogloss: `export_model`, behind `speech export`.

ONNX for sherpa-onnx and onnxruntime (fp32, and int8 with weights quantised), or TorchScript. Every
file is run and compared with the model before it gets its name.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from isogloss import __version__
from isogloss._files import atomic_writer, sha256_of_file, write_json
from isogloss.corpora.progress import with_progress
from isogloss.errors import IsoglossError, MissingExtra
from isogloss.speech.bbpe import bytes_of_symbol
from isogloss.speech.export_onnx import ctc_graph, encoder_graph
from isogloss.speech.export_torch import CtcGraph, EncoderGraph, load_traced, save_traced
from isogloss.speech.features import MEL_BINS
from isogloss.speech.tokens import SPACE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor

    from isogloss.speech.checkpoint import LoadedModel
    from isogloss.speech.tokens import Tokenizer
    from isogloss.types import FloatArray

    # Features (N, T, 80) and lengths (N,) to values (N, T', D) and lengths (N,).
    Run = Callable[[Tensor, Tensor], tuple[FloatArray, Any]]

__all__ = [
    "LARGEST_DIFFERENCE",
    "Exported",
    "Format",
    "Head",
    "Part",
    "export_model",
    "token_lines",
]

Format = Literal["onnx", "torchscript"]
Part = Literal["ctc", "encoder"]
Head = Literal["standard", "dialect"]

LARGEST_DIFFERENCE = 1e-3
"""How far an exported value may lie from the model's; int8 is measured and not held to it."""

_STEP_SECONDS = 0.04
_DESCRIPTION = "export.json"
_FORMAT = "isogloss-export"
_STEMS: dict[Part, str] = {"ctc": "model", "encoder": "encoder"}
# Frames of the trial inputs, each alone and then all in one batch; 9 is the fewest.
_TRIAL_FRAMES = (9, 10, 61, 204, 337)


@dataclass(frozen=True, slots=True)
class Exported:
    """One file: `difference` is the largest of its values from the model's, on random frames."""

    path: Path
    part: Part
    precision: Literal["fp32", "int8"]
    megabytes: float
    difference: float


def export_model(
    loaded: LoadedModel,
    out: Path,
    *,
    format: Format = "onnx",
    parts: tuple[Part, ...] = ("ctc", "encoder"),
    int8: bool = True,
    head: Head = "standard",
) -> list[Exported]:
    """Write a model to the folder `out` and return what was written, each file compared.

    `model.onnx` gives log-probabilities of units, `encoder.onnx` the steps below the head; with
    `int8` each gets a neighbour `*.int8.onnx` whose matrices are stored in 8 bits (a quarter of
    the size). TorchScript files end in `.pt`. Beside them `tokens.txt` for sherpa-onnx (see
    `token_lines`) and `export.json`, which says what each file is. An earlier export of the same
    model and head to `out` is added to, one of another model removed; a failed export changes
    nothing.

    Args:
        loaded: from `load_model`, on the CPU.
        out: made if absent.
        format: "onnx" or "torchscript".
        parts: which of "ctc" and "encoder".
        int8: quantise too; ONNX only.
        head: which output of a model with two.

    Raises:
        ValueError: no part, no such head, features other than 80 bins, or int8 in TorchScript.
        MissingExtra: onnx or onnxruntime is not installed.
        IsoglossError: an exported file gives values further than `LARGEST_DIFFERENCE` from the
            model's, or lengths other than the model's.
    """
    _check(loaded, format, parts, int8, head)
    out.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=".export.", dir=out))
    try:
        made = list(
            with_progress(
                _files(loaded, draft, format, parts, int8, head),
                "exporting",
                total=len(parts) * (1 + int8),
            )
        )
        with atomic_writer(draft / "tokens.txt") as handle:
            handle.writelines(token_lines(loaded.tokenizer))
        description = _description(loaded, made, head)
        earlier = _earlier(out)
        if all(earlier.get(key) == description[key] for key in ("revision", "head")):
            description["files"] = {**earlier["files"], **description["files"]}
        for name in set(earlier.get("files", ())) - set(description["files"]):
            (out / name).unlink(missing_ok=True)
        write_json(draft / _DESCRIPTION, description)
        for path in sorted(draft.iterdir()):
            path.replace(out / path.name)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return [dataclasses.replace(one, path=out / one.path.name) for one in made]


def token_lines(tokenizer: Tokenizer) -> Iterator[bytes]:
    """Lines "symbol number" of `tokens.txt` as sherpa-onnx reads it, blank first.

    sherpa-onnx joins symbols as they stand. So the unknown unit is written as what it reads as
    here, "⁇", unless another unit has that symbol; and units of byte-level pairs as their bytes,
    which make characters together, instead of the letters that stand for bytes. Such a line alone
    need not be UTF-8.
    """
    reads_as = tokenizer.decode([tokenizer.unknown_id])
    for number, symbol in enumerate(tokenizer.symbols):
        if number == tokenizer.unknown_id and reads_as not in tokenizer.symbols:
            symbol = reads_as
        data = symbol.encode()
        is_mark = symbol == reads_as or (symbol.startswith("<") and symbol.endswith(">"))
        if tokenizer.kind == "bbpe" and not is_mark:
            spelt = b"".join(
                SPACE.encode() if character == SPACE else bytes_of_symbol(character)
                for character in symbol
            )
            # White space would end the symbol; no text that is read here has any but the space.
            data = data if spelt.split() != [spelt] else spelt
        yield data + f" {number}\n".encode()


def _check(
    loaded: LoadedModel, format: str, parts: tuple[Part, ...], int8: bool, head: str
) -> None:
    if not parts or set(parts) - set(_STEMS):
        raise ValueError(f"parts must be some of {', '.join(_STEMS)}, got {parts}")
    if format not in ("onnx", "torchscript"):
        raise ValueError(f"format must be 'onnx' or 'torchscript', got '{format}'")
    if format == "torchscript" and int8:
        raise ValueError("int8 is made for ONNX only; export TorchScript without it")
    if head not in ("standard", "dialect"):
        raise ValueError(f"head must be 'standard' or 'dialect', got '{head}'")
    if head == "dialect" and not loaded.model.has_dialect_head:
        raise ValueError("the model has no dialect head; train it with transcripts = 'both'")
    if loaded.config.bins != MEL_BINS:
        raise ValueError(f"features have {MEL_BINS} bins, the model takes {loaded.config.bins}")


def _files(
    loaded: LoadedModel,
    folder: Path,
    format: Format,
    parts: tuple[Part, ...],
    int8: bool,
    head: Head,
) -> Iterator[Exported]:
    for part in parts:
        if format == "onnx":
            yield from _as_onnx(loaded, folder, part, head, int8)
        else:
            yield _as_torchscript(loaded, folder, part, head)


def _as_onnx(
    loaded: LoadedModel, folder: Path, part: Part, head: Head, int8: bool
) -> Iterator[Exported]:
    try:
        import onnx
        import onnxruntime
    except ImportError as error:
        raise MissingExtra("onnx", error.name or "onnx") from error
    del onnxruntime
    metadata = _metadata(loaded, part, head)
    if part == "ctc":
        graph = ctc_graph(loaded.model, head, metadata)
    else:
        graph = encoder_graph(loaded.model, metadata)
    path = folder / f"{_STEMS[part]}.onnx"
    onnx.save(graph, str(path))
    yield _compared(loaded, path, part, head, "fp32", _onnx_run(path))
    if int8:
        small = folder / f"{_STEMS[part]}.int8.onnx"
        _quantise(path, small)
        yield _compared(loaded, small, part, head, "int8", _onnx_run(small))


def _as_torchscript(loaded: LoadedModel, folder: Path, part: Part, head: Head) -> Exported:
    graph = CtcGraph(loaded.model, head) if part == "ctc" else EncoderGraph(loaded.model)
    path = folder / f"{_STEMS[part]}.pt"
    save_traced(graph, path)
    # Compared as read back: what the file holds counts.
    module = load_traced(path)

    def run(features: Tensor, lengths: Tensor) -> tuple[FloatArray, Any]:
        values, out_lengths = module(features, lengths)
        return values.numpy(), out_lengths.numpy()

    return _compared(loaded, path, part, head, "fp32", run)


def _quantise(path: Path, small: Path) -> None:
    """Write `path` with 8-bit matrices to `small`; what they are multiplied with follows them."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    class Silent(logging.Filter):
        def filter(self, record: logging.LogRecord) -> bool:
            # Advice about shapes, which these graphs carry already.
            return "pre-processing" not in record.getMessage()

    silent, root = Silent(), logging.getLogger()
    root.addFilter(silent)
    try:
        quantize_dynamic(
            str(path),
            str(small),
            op_types_to_quantize=["MatMul"],
            # Unsigned: sums of signed products saturate on processors without VNNI.
            weight_type=QuantType.QUInt8,
        )
    finally:
        root.removeFilter(silent)
    quantised = onnx.load(str(small))
    metadata = {entry.key: entry.value for entry in onnx.load(str(path)).metadata_props}
    description = json.loads(metadata["isogloss_encoder"])
    # The scale of the activations is taken over the whole batch, so a neighbour would change it.
    description["batch"] = False
    metadata["isogloss_encoder"] = json.dumps(description)
    metadata["precision"] = "int8"
    onnx.helper.set_model_props(quantised, metadata)
    onnx.save(quantised, str(small))


def _onnx_run(path: Path) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def run(features: Tensor, lengths: Tensor) -> tuple[FloatArray, Any]:
        values, out_lengths = session.run(
            None, {"x": features.numpy(), "x_lens": lengths.numpy().astype(np.int64)}
        )
        return values, out_lengths

    return run


def _compared(
    loaded: LoadedModel,
    path: Path,
    part: Part,
    head: Head,
    precision: Literal["fp32", "int8"],
    run: Run,
) -> Exported:
    difference = 0.0
    for features, lengths in _trials():
        with torch.inference_mode():
            expected, expected_lengths = _reference(loaded, part, head, features, lengths)
            values, out_lengths = run(features, lengths)
        if values.shape != expected.shape or out_lengths.tolist() != expected_lengths.tolist():
            raise IsoglossError(
                f"{path.name}: {lengths.tolist()} frames give {values.shape} and lengths "
                f"{out_lengths.tolist()}, the model {tuple(expected.shape)} and "
                f"{expected_lengths.tolist()}"
            )
        for row, wanted, length in zip(values, expected.numpy(), out_lengths.tolist(), strict=True):
            gap = float(np.abs(row[:length] - wanted[:length]).max())
            difference = max(difference, gap if np.isfinite(gap) else float("inf"))
    if not np.isfinite(difference) or (precision == "fp32" and difference > LARGEST_DIFFERENCE):
        raise IsoglossError(
            f"{path.name}: values differ from the model's by {difference:.2g}, more than "
            f"{LARGEST_DIFFERENCE:g}; nothing was written"
        )
    return Exported(path, part, precision, path.stat().st_size / 1e6, difference)


def _reference(
    loaded: LoadedModel, part: Part, head: Head, features: Tensor, lengths: Tensor
) -> tuple[Tensor, Tensor]:
    if part == "encoder":
        return loaded.model.states(features, lengths)
    if head == "standard":
        log_probs, out_lengths = loaded.model(features, lengths)
        return log_probs, out_lengths
    _, out_lengths, log_probs = loaded.model(features, lengths, both=True)
    return log_probs, out_lengths


def _trials() -> Iterator[tuple[Tensor, Tensor]]:
    """Random frames with about the mean and spread of log-mel energies of speech."""
    generator = torch.Generator().manual_seed(0)
    frames = torch.randn(len(_TRIAL_FRAMES), max(_TRIAL_FRAMES), MEL_BINS, generator=generator)
    frames = 3.0 * frames - 8.0
    for row, count in zip(frames, _TRIAL_FRAMES, strict=True):
        yield row[None, :count].contiguous(), torch.tensor([count])
    yield frames, torch.tensor(_TRIAL_FRAMES)


def _metadata(loaded: LoadedModel, part: Part, head: Head) -> dict[str, str]:
    """What the file says of itself; the first five keys are those icefall writes."""
    names = ("log_probs", "log_probs_len") if part == "ctc" else ("steps", "steps_lens")
    description = {
        "inputs": ["x", "x_lens"],
        "output": names[0],
        "lengths_output": names[1],
        "features": "fbank80",
        "step_seconds": _STEP_SECONDS,
        "least_frames": 9,
        "batch": True,
    }
    metadata = {
        "model_type": "zipformer2_ctc" if part == "ctc" else "zipformer2_encoder",
        "version": "1",
        "model_author": "isogloss",
        "comment": "non-streaming zipformer2 CTC" if part == "ctc" else "zipformer2 encoder",
        "subsampling_factor": "4",
        "isogloss_version": __version__,
        "revision": loaded.revision,
        "precision": "fp32",
        "isogloss_encoder": json.dumps(description),
    }
    if part == "ctc":
        metadata |= {"head": head, "vocab_size": str(loaded.model.vocab_size)}
    return metadata


def _earlier(out: Path) -> dict[str, Any]:
    """What an earlier export to `out` said of its files; empty where there was none."""
    try:
        description: Any = json.loads((out / _DESCRIPTION).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    known = isinstance(description, dict) and description.get("format") == _FORMAT
    return description if known and isinstance(description.get("files"), dict) else {}


def _description(loaded: LoadedModel, made: list[Exported], head: Head) -> dict[str, Any]:
    return {
        "format": _FORMAT,
        "format_version": 1,
        "isogloss_version": __version__,
        "revision": loaded.revision,
        "head": head,
        "units": loaded.tokenizer.kind,
        "features": {
            "sample_rate_hz": 16000,
            "samples": "float32 in [-1, 1]",
            "bins": MEL_BINS,
            "frame_seconds": 0.025,
            "shift_seconds": 0.01,
            "low_hz": 20,
            "high_hz": 7600,
            "window": "povey",
            "dither": 0,
            "snip_edges": False,
        },
        "files": {
            one.path.name: {
                "part": one.part,
                "precision": one.precision,
                "sha256": sha256_of_file(one.path),
                "largest_difference": one.difference,
            }
            for one in made
        },
        "extra": dict(loaded.extra),
    }
