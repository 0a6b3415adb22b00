"""`isogloss speech import`: a public Zipformer checkpoint becomes a model folder of ours."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from isogloss.cli.tables import print_json, print_table, talk
from isogloss.cli.verbs import WrongUsageError, add_verb

if TYPE_CHECKING:
    import argparse

__all__ = ["add_import"]


def add_import(verbs: argparse._SubParsersAction[Any]) -> None:
    """Declare `speech import`."""
    parser = add_verb(
        verbs,
        "import",
        _import,
        "a public Zipformer checkpoint (icefall, package zipformer) as a model folder",
        "  isogloss speech import pretrained.pt --tokens tokens.txt --out models/public\n"
        "  isogloss speech import epoch-30.pt --part model_avg --tokens tokens.txt \\\n"
        "      --bpe-model bpe.model --out models/public\n"
        "  isogloss speech transcribe models/public recording.wav\n"
        "  isogloss speech encode own:models/public manifest.jsonl --out steps.npz\n\n"
        "The size is recognised from the tensors. Transducer and attention decoder are dropped.\n"
        "Files are read as tensors and plain values only: no code of a checkpoint is run.",
    )
    parser.add_argument("checkpoint", type=Path, help=".pt, .pth or .safetensors")
    parser.add_argument("--tokens", type=Path, help="table of units, 'symbol number' lines")
    parser.add_argument("--bpe-model", type=Path, help="sentencepiece model of the same units")
    parser.add_argument(
        "--part", choices=("model", "model_avg"), help="of a training checkpoint; default model"
    )
    parser.add_argument(
        "--heads", type=_numbers, help="attention heads per stack, where shapes leave them open"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the model")
    parser.add_argument("--overwrite", action="store_true", help="replace a model in --out")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def _import(args: argparse.Namespace) -> int:
    import dataclasses

    from isogloss.speech.public_checkpoint import import_public

    if (args.out / "config.json").exists() and not args.overwrite:
        raise WrongUsageError(f"{args.out} holds a model already; name another, or --overwrite")
    talk(f"reading {args.checkpoint}")
    found = import_public(
        args.checkpoint,
        args.out,
        tokens=args.tokens,
        bpe_model=args.bpe_model,
        part=args.part,
        heads=args.heads,
        progress=True,
    )
    if args.json:
        print_json(dataclasses.asdict(found) | {"folder": str(found.folder)})
        return 0
    dropped = ", ".join(f"{name} ({count} tensors)" for name, count in found.dropped.items())
    rows: list[list[object]] = [
        ["folder", str(found.folder)],
        ["taken", found.part or "the whole file"],
        ["size", found.size or "none of the named ones"],
        ["layers", _listed(found.config.layers)],
        ["widths", _listed(found.config.dims)],
        ["heads", _listed(found.config.heads)],
        ["encoder parameters", f"{found.parameters / 1e6:.2f} million"],
        ["units", found.units],
        ["kind of units", found.token_kind],
        ["dropped", dropped or None],
        ["not in the checkpoint and unused", len(found.filled) or None],
        ["revision", found.revision[:16]],
    ]
    print_table(["figure", "value"], rows)
    for note in found.notes:
        talk(f"note: {note}")
    return 0


def _listed(values: tuple[int, ...]) -> str:
    return ",".join(map(str, values))


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


_numbers.__name__ = "list of whole numbers"  # argparse says "invalid list of whole numbers value"
