"""Training throughput and memory of every size on a CUDA GPU, as a page benchmarks/gpu.md.

Run it with: python benchmarks/gpu.py [--sizes tiny,small,medium,large] [--batch-seconds 600]

A step is forward, CTC loss, backward and ScaledAdam, as in `throughput.py`. Memory is the most that
torch's allocator held, the model and its optimiser included. Without a GPU it ends with exit code 2
and writes nothing.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from contestant import Settings
from throughput import run_contestant

_OUT = Path(__file__).with_name("gpu.md")


def page(rows: list[dict[str, Any]], command: str, batch_seconds: float) -> str:
    """The Markdown page."""
    lines = [
        "# Training on a GPU",
        "",
        f"{rows[0]['device']}, torch {rows[0]['torch']}, batches of {batch_seconds:g} s of audio "
        "(short, middling and long utterances in turn), forward + CTC + backward + ScaledAdam, one "
        "process.",
        "",
        f"    {command}",
        "",
        "| size | million | precision | audio s / s | memory GB |",
        "| --- | ---: | --- | ---: | ---: |",
    ]
    for row in rows:
        lines.append(
            f"| {row['size']} | {row['parameters'] / 1e6:.1f} | {row['precision']} | "
            f"{row['audio_per_second']:.0f} | {row['device_bytes'] / 1e9:.1f} |"
        )
    return "\n".join([*lines, ""])


def main() -> int:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", default="tiny,small,medium,large", help="with commas")
    parser.add_argument("--batch-seconds", type=float, default=600.0, help="audio in a batch")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each measurement, at least")
    parser.add_argument("--out", type=Path, default=_OUT, help="the page that is written")
    options = parser.parse_args()
    import torch

    if not torch.cuda.is_available():
        print("torch finds no CUDA device here; nothing was measured or written", file=sys.stderr)
        return 2
    rows = []
    for size in options.sizes.split(","):
        for precision in ("fp32", "bf16"):
            print(f"{size}, {precision}", file=sys.stderr)
            settings = Settings(
                "isogloss",
                size,
                options.batch_seconds,
                device="cuda",
                precision=precision,
                seconds=options.seconds,
            )
            rows.append(run_contestant(settings, Path(sys.executable)))
    command = f"python benchmarks/gpu.py --sizes {options.sizes}"
    command += f" --batch-seconds {options.batch_seconds:g}"
    text = page(rows, command, options.batch_seconds)
    options.out.write_text(text, encoding="utf-8")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
