"""An exported model in sherpa-onnx beside the model itself: same text, error rate, speed.

    python benchmarks/sherpa_agreement.py runs/a corpus/manifest.jsonl --utterances 50

The utterances are spread evenly over the split (test by default). sherpa-onnx gets the samples and
computes its own features; texts are compared after `normalise_text`, which both go through (it
drops a space at either end). Real-time factors are seconds of computing on one thread per second of
sound, features included, reading of files left out; each program runs twice and the second counts.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sherpa_onnx
import torch

from isogloss.corpora.audio import read_audio
from isogloss.corpora.jsonl import read_corpus
from isogloss.measures.transcription import cer
from isogloss.speech.checkpoint import load_model
from isogloss.speech.decode import greedy
from isogloss.speech.export import export_model
from isogloss.speech.features import fbank
from isogloss.speech.tokens import normalise_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from isogloss.types import FloatArray, Item

_RATE = 16000


def main() -> int:
    """Print the table; exit code 1 when an fp32 text differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--utterances", type=int, default=50)
    parser.add_argument("--split", default="test")
    parser.add_argument("--out", type=Path, help="keep the exported files there")
    args = parser.parse_args()
    torch.set_num_threads(1)
    items = chosen(args.manifest, args.split, args.utterances)
    waves = [
        read_audio(
            str(item.audio),
            start_seconds=item.start_seconds,
            end_seconds=item.end_seconds,
            sample_rate_hz=_RATE,
        )
        for item in items
    ]
    seconds = sum(len(wave) for wave in waves) / _RATE
    loaded = load_model(args.model)
    print(f"{len(items)} utterances, {seconds:.0f} s; sherpa-onnx {sherpa_onnx.__version__}")
    own, own_time = timed(own_reader(loaded), waves)
    references = [reference(item, loaded.extra) for item in items]
    print("program | same text | real-time factor | CER")
    print(f"isogloss, greedy | | {own_time / seconds:.4f} | {error_rate(references, own)}")
    different = 0
    with tempfile.TemporaryDirectory() as folder:
        out = args.out or Path(folder)
        for exported in export_model(loaded, out, parts=("ctc",)):
            read, taken = timed(sherpa_reader(exported.path, out / "tokens.txt"), waves)
            same = sum(a == b for a, b in zip(own, read, strict=True))
            different += len(own) - same if exported.precision == "fp32" else 0
            print(
                f"sherpa-onnx, {exported.precision} ({exported.megabytes:.1f} MB) | "
                f"{same} of {len(own)} | {taken / seconds:.4f} | {error_rate(references, read)}"
            )
    return 1 if different else 0


def chosen(manifest: Path, split: str, count: int) -> list[Item]:
    """`count` items with audio, spread evenly over a split."""
    items = [i for i in read_corpus(manifest).items if i.audio and i.split == split]
    if len(items) < count:
        raise SystemExit(f"{manifest} has {len(items)} recordings in split {split}")
    return [items[i * len(items) // count] for i in range(count)]


def reference(item: Item, extra: Any) -> str | None:
    """The transcript of the kind that the model was trained on."""
    kind = str(extra.get("transcripts", "standard"))
    return item.transcript if kind == "dialect" else item.translation


def error_rate(references: Sequence[str | None], texts: Sequence[str]) -> str:
    """CER in percent of what has a reference."""
    pairs = [(r, t) for r, t in zip(references, texts, strict=True) if r]
    if not pairs:
        return "-"
    return f"{100 * cer([r for r, _ in pairs], [t for _, t in pairs]).value:.2f} %"


def timed(
    read: Callable[[FloatArray], str], waves: Sequence[FloatArray]
) -> tuple[list[str], float]:
    """Texts and the seconds that the second of two rounds took."""
    for wave in waves:
        read(wave)
    start = time.perf_counter()
    texts = [read(wave) for wave in waves]
    return texts, time.perf_counter() - start


def own_reader(loaded: Any) -> Callable[[FloatArray], str]:
    """The model here, greedy."""

    def read(wave: FloatArray) -> str:
        features = fbank(wave)
        with torch.inference_mode():
            log_probs, _ = loaded.model(features[None], torch.tensor([len(features)]))
        return greedy(log_probs[0].numpy(), loaded.tokenizer).text

    return read


def sherpa_reader(model: Path, tokens: Path) -> Callable[[FloatArray], str]:
    """sherpa-onnx on a file, greedy, from samples."""
    recognizer = sherpa_onnx.OfflineRecognizer.from_zipformer_ctc(
        model=str(model), tokens=str(tokens), num_threads=1
    )

    def read(wave: FloatArray) -> str:
        stream = recognizer.create_stream()
        stream.accept_waveform(_RATE, wave)
        recognizer.decode_stream(stream)
        return normalise_text(stream.result.text)

    return read


if __name__ == "__main__":
    raise SystemExit(main())
