"""`isogloss speech encode`: step vectors of every recording of a corpus."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from isogloss.cli.speech_options import WrongUsageError, of_manifest, verb
from isogloss.cli.tables import print_json, print_table, talk

if TYPE_CHECKING:
    import argparse

__all__ = ["add_encode"]


def add_encode(verbs: argparse._SubParsersAction[Any]) -> None:
    """Declare `speech encode`."""
    parser = verb(
        verbs,
        "encode",
        _encode,
        "step vectors of every recording of a corpus, from any encoder",
        "  isogloss speech encode own:runs/a manifest.jsonl --out steps.npz\n"
        "  isogloss speech encode mel: manifest.jsonl --out steps/ --cache cache\n\n"
        "steps.npz: values (sum of T, D) float32, offsets (N + 1,), ids, step_seconds, made_by;\n"
        "a folder gets values.npy and offsets.npy, which can be mapped, and sequences.json.\n\n"
        "exit code: 1 when recordings were left out",
    )
    parser.add_argument("encoder", help="own:FOLDER, mel:, random:tiny")
    parser.add_argument("manifest", type=Path, help="manifest.jsonl, or the folder that holds it")
    parser.add_argument("--out", type=Path, required=True, help="FILE.npz, or a folder")
    parser.add_argument("--layer", type=int, help="0 the embedding, i stack i; default the last")
    parser.add_argument("--split", help="default all")
    parser.add_argument("--cache", type=Path, help="folder in which every recording is kept")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1; default cpu")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def _encode(args: argparse.Namespace) -> int:
    from isogloss.encoders.cache import encode_cached
    from isogloss.encoders.registry import load_encoder

    if args.out.suffix != ".npz" and args.out.is_file():
        raise WrongUsageError(f"--out {args.out} is a file; name FILE.npz or a folder")
    items = of_manifest(args.manifest, args.split)
    encoder = load_encoder(args.encoder, layer=args.layer, device=args.device)
    skipped: list[tuple[str, str]] = []
    found = encode_cached(encoder, items, args.cache, skipped=skipped)
    _write_sequences(found, args.out)
    summary = {
        "out": str(args.out),
        "items": len(found),
        "steps": len(found.values),
        "dimensions": int(found.values.shape[1]),
        "step_seconds": found.step_seconds,
        "made_by": found.made_by,
        "skipped": dict(skipped),
    }
    if args.json:
        print_json(summary)
    else:
        rows = [[name, value] for name, value in summary.items() if name != "skipped"]
        print_table(["figure", "value"], rows)
    for name, problem in skipped:
        talk(f"{name}: {problem}")
    return 1 if skipped else 0


def _write_sequences(found: Any, out: Path) -> None:
    import numpy as np

    from isogloss._files import atomic_writer, write_json

    if out.suffix == ".npz":
        with atomic_writer(out) as handle:
            np.savez(
                handle,
                values=found.values,
                offsets=found.offsets,
                ids=np.array(found.ids),
                step_seconds=np.array(found.step_seconds or np.nan),
                made_by=np.array(found.made_by),
            )
        return
    for name in ("values", "offsets"):
        with atomic_writer(out / f"{name}.npy") as handle:
            np.save(handle, getattr(found, name))
    described = {"ids": found.ids, "step_seconds": found.step_seconds, "made_by": found.made_by}
    write_json(out / "sequences.json", described)
