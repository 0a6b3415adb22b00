"""`isogloss speech transcribe`: what a trained model reads in recordings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from isogloss.cli.speech_options import WrongUsageError, at_least, folder_of, of_manifest, verb
from isogloss.cli.tables import print_json, print_table, talk

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from isogloss.encoders.own import OwnEncoder
    from isogloss.types import Item

__all__ = ["add_transcribe"]

_AT_ONCE = 64


def add_transcribe(verbs: argparse._SubParsersAction[Any]) -> None:
    """Declare `speech transcribe`."""
    parser = verb(
        verbs,
        "transcribe",
        _transcribe,
        "what a trained model reads in recordings",
        "  isogloss speech transcribe runs/a one.wav two.m4a\n"
        "  isogloss speech transcribe runs/a manifest.jsonl --beam 8 --out read.jsonl\n\n"
        "exit code: 1 when a recording could not be read; the others are told all the same",
    )
    parser.add_argument("model", type=Path, help="folder of a trained model")
    parser.add_argument(
        "audio", type=Path, nargs="+", help="recordings, or one manifest.jsonl (or its folder)"
    )
    parser.add_argument(
        "--beam",
        type=at_least(1),
        default=1,
        help="prefixes kept in the search; default 1, greedy",
    )
    parser.add_argument(
        "--head",
        choices=("standard", "dialect"),
        default="standard",
        help="output of a model trained with --transcripts both; default standard",
    )
    parser.add_argument("--split", help="of the manifest; default all")
    parser.add_argument("--out", type=Path, metavar="JSONL", help="write there, one object a line")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1; default cpu")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def _transcribe(args: argparse.Namespace) -> int:
    import json

    from isogloss._files import write_text
    from isogloss.encoders import own

    items = _recordings(args.audio, args.split)
    encoder = own.load(folder_of(args.model), device=args.device)
    read, failed = _readings(encoder, items, args.head, args.beam)
    if args.out is not None:
        lines = (json.dumps(entry, ensure_ascii=False) + "\n" for entry in read)
        write_text(args.out, "".join(lines))
        talk(f"{len(read)} transcripts in {args.out}")
    if args.json:
        print_json(read)
    elif args.out is None:
        print_table(["id", "text", "score"], [[e["id"], e["text"], e["score"]] for e in read])
    for name, problem in failed:
        talk(f"{name}: {problem}")
    return 1 if failed else 0


def _recordings(paths: Sequence[Path], split: str | None) -> list[Item]:
    from isogloss.types import Item

    manifests = [p for p in paths if p.is_dir() or p.name.endswith((".jsonl", ".jsonl.gz"))]
    if manifests and len(paths) > 1:
        raise WrongUsageError(f"{manifests[0]} is a manifest; give it alone")
    if manifests:
        return of_manifest(manifests[0], split)
    if split is not None:
        raise WrongUsageError("--split chooses from a manifest; these are recordings")
    return [Item(id=str(path), variety="und", audio=str(path.resolve())) for path in paths]


def _readings(
    encoder: OwnEncoder, items: Sequence[Item], head: Any, beam: int
) -> tuple[list[dict[str, Any]], list[tuple[str, str]]]:
    """What was read in each recording, and (id, problem) of those that could not be."""
    from isogloss.corpora.progress import with_progress
    from isogloss.errors import AudioError
    from isogloss.speech.decode import greedy, prefix_beam

    if encoder.tokenizer is None:
        raise ValueError(f"{encoder.name} has no output units")
    read: list[dict[str, Any]] = []
    failed: list[tuple[str, str]] = []
    groups = [items[i : i + _AT_ONCE] for i in range(0, len(items), _AT_ONCE)]
    for group in with_progress(groups, "transcribing", total=len(groups)):
        kept = list(group)
        try:
            found = encoder.posteriors(kept, head=head)
            parts = [found[i] for i in range(len(kept))]
        except AudioError:
            # One of them is broken: each alone tells which.
            kept, parts = [], []
            for item in group:
                try:
                    parts.append(encoder.posteriors([item], head=head)[0])
                    kept.append(item)
                except AudioError as error:
                    failed.append((item.id, str(error)))
        for item, log_probs in zip(kept, parts, strict=True):
            best = (
                greedy(log_probs, encoder.tokenizer)
                if beam == 1
                else prefix_beam(log_probs, encoder.tokenizer, beam=beam)[0]
            )
            read.append({"id": item.id, "text": best.text, "score": best.score})
    return read, failed
