"""`isogloss speech encode`: step vectors of every recording of a corpus."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from isogloss.cli.speech_options import of_manifest
from isogloss.cli.tables import print_json, print_table, talk
from isogloss.cli.verbs import WrongUsageError, add_verb, at_least

if TYPE_CHECKING:
    import argparse

    from isogloss.types import Item, Sequences

__all__ = ["add_encode"]


def add_encode(verbs: argparse._SubParsersAction[Any]) -> None:
    """Declare `speech encode`."""
    parser = add_verb(
        verbs,
        "encode",
        _encode,
        "step vectors of every recording of a corpus, from any encoder",
        "  isogloss speech encode own:runs/a manifest.jsonl --out steps.npz\n"
        "  isogloss speech encode mel: manifest.jsonl --out steps/ --cache cache\n"
        "  isogloss speech encode hf:openai/whisper-small manifest.jsonl --out steps/ \\\n"
        "      --ray-workers 8 --ray-address auto --device cuda\n\n"
        "steps.npz: values (sum of T, D) float32, offsets (N + 1,), ids, step_seconds, made_by;\n"
        "a folder gets values.npy and offsets.npy, which can be mapped, and sequences.json; it\n"
        "is written share by share, and the same command goes on after an interruption.\n\n"
        "exit code: 1 when recordings were left out",
    )
    parser.add_argument("encoder", help="own:FOLDER, hf:NAME_OR_PATH, onnx:FILE, mel:, random:tiny")
    parser.add_argument("manifest", type=Path, help="manifest.jsonl, or the folder that holds it")
    parser.add_argument("--out", type=Path, required=True, help="FILE.npz, or a folder")
    parser.add_argument("--layer", type=int, help="0 the embedding, i stack i; default the last")
    parser.add_argument("--split", help="default all")
    parser.add_argument("--cache", type=Path, help="folder in which every recording is kept")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1; default cpu")
    parser.add_argument(
        "--ray-workers",
        type=at_least(0),
        default=0,
        help="encode with that many Ray workers (extra ray); --out must be a folder that all see",
    )
    parser.add_argument("--ray-address", help="of a running cluster, such as auto; default none")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def _encode(args: argparse.Namespace) -> int:
    to_file = args.out.suffix == ".npz"
    if not to_file and args.out.is_file():
        raise WrongUsageError(f"--out {args.out} is a file; name FILE.npz or a folder")
    if args.ray_workers and to_file:
        raise WrongUsageError("--ray-workers writes to a folder; name one with --out")
    if args.ray_address and not args.ray_workers:
        raise WrongUsageError("--ray-address needs --ray-workers")
    items = of_manifest(args.manifest, args.split)
    summary, skipped = (_to_file if to_file else _to_folder)(args, items)
    if args.json:
        print_json({"out": str(args.out), **summary, "skipped": dict(skipped)})
    else:
        print_table(["figure", "value"], [["out", str(args.out)], *map(list, summary.items())])
    for name, problem in skipped:
        talk(f"{name}: {problem}")
    return 1 if skipped else 0


def _to_folder(
    args: argparse.Namespace, items: list[Item]
) -> tuple[dict[str, object], list[tuple[str, str]]]:
    from isogloss.encoders.shards import encode_to_folder

    done = encode_to_folder(
        args.encoder,
        items,
        args.out,
        layer=args.layer,
        device=args.device,
        cache_dir=args.cache,
        ray_workers=args.ray_workers,
        ray_address=args.ray_address,
    )
    names = ("items", "steps", "dimensions", "step_seconds", "made_by")
    return {name: getattr(done, name) for name in names}, list(done.skipped)


def _to_file(
    args: argparse.Namespace, items: list[Item]
) -> tuple[dict[str, object], list[tuple[str, str]]]:
    from isogloss.encoders.cache import encode_cached
    from isogloss.encoders.registry import load_encoder

    encoder = load_encoder(args.encoder, layer=args.layer, device=args.device)
    skipped: list[tuple[str, str]] = []
    found = encode_cached(encoder, items, args.cache, skipped=skipped)
    _write_sequences(found, args.out)
    summary: dict[str, object] = {
        "items": len(found),
        "steps": len(found.values),
        "dimensions": int(found.values.shape[1]),
        "step_seconds": found.step_seconds,
        "made_by": found.made_by,
    }
    return summary, skipped


def _write_sequences(found: Sequences, out: Path) -> None:
    import numpy as np

    from isogloss._files import atomic_writer

    with atomic_writer(out) as handle:
        np.savez(
            handle,
            values=found.values,
            offsets=found.offsets,
            ids=np.array(found.ids),
            step_seconds=np.array(found.step_seconds or np.nan),
            made_by=np.array(found.made_by),
        )
