"""`isogloss speech`: train, transcribe, evaluate and encode."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isogloss.cli.speech_options import WrongUsageError, at_least, verb
from isogloss.cli.speech_train import add_train
from isogloss.cli.tables import print_json, print_table, talk

if TYPE_CHECKING:
    from collections.abc import Sequence

    from isogloss.encoders.own import OwnEncoder
    from isogloss.types import Item, Measurement

__all__ = ["add_parser"]

_AT_ONCE = 64


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the noun `speech` with its verbs."""
    noun = subparsers.add_parser(
        "speech",
        help="train, transcribe, evaluate and encode speech",
        epilog="example:\n  isogloss speech train manifest.jsonl --out runs/a --minutes 30\n"
        "  isogloss speech transcribe runs/a recording.wav\n"
        "  isogloss speech <verb> --help",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = noun.add_subparsers(metavar="<verb>", required=True)
    add_train(verbs)
    _add_transcribe(verbs)
    _add_evaluate(verbs)
    _add_encode(verbs)


# transcribe ---------------------------------------------------------------------------------------


def _add_transcribe(verbs: argparse._SubParsersAction[Any]) -> None:
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
    encoder = own.load(_folder_of(args.model), device=args.device)
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
        return _of_manifest(manifests[0], split)
    if split is not None:
        raise WrongUsageError("--split chooses from a manifest; these are recordings")
    return [Item(id=str(path), variety="und", audio=str(path.resolve())) for path in paths]


def _of_manifest(path: Path, split: str | None) -> list[Item]:
    """The items with audio of a manifest, those of `split` alone when it is given."""
    from isogloss.corpora.jsonl import read_corpus
    from isogloss.tasks.parallel import splits_there

    every = read_corpus(path).items
    items = [i for i in every if i.audio is not None and split in (None, i.split)]
    if not items:
        raise ValueError(
            f"{path} has no item with audio"
            + (f" in split '{split}'" if split else "")
            + splits_there(every, split)
        )
    return items


def _folder_of(model: Path) -> str:
    """The folder, also where a model is named as `bench` and `encode` name it."""
    return str(model).removeprefix("own:")


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


# evaluate -----------------------------------------------------------------------------------------


def _add_evaluate(verbs: argparse._SubParsersAction[Any]) -> None:
    parser = verb(
        verbs,
        "evaluate",
        _evaluate,
        "character error rate of a model, overall and for each variety, with its edits",
        "  isogloss speech evaluate runs/a manifest.jsonl --split test\n"
        "  isogloss speech evaluate runs/a manifest.jsonl --transcripts dialect --json\n\n"
        "exit code: 1 when recordings could not be read",
    )
    parser.add_argument("model", type=Path, help="folder of a trained model")
    parser.add_argument("manifest", type=Path, help="manifest.jsonl, or the folder that holds it")
    parser.add_argument("--split", default="test", help="split to measure on, or all; default test")
    parser.add_argument(
        "--transcripts",
        choices=("standard", "dialect"),
        default="standard",
        help="what is right: the standard wording or the variety's own; default standard",
    )
    parser.add_argument("--head", choices=("standard", "dialect"), help="output that reads")
    parser.add_argument(
        "--bootstrap", type=at_least(0), default=1000, help="resamples; default 1000"
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1; default cpu")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def _evaluate(args: argparse.Namespace) -> int:
    from isogloss.corpora.jsonl import read_corpus
    from isogloss.encoders.registry import load_encoder
    from isogloss.tasks.transcription import Transcription

    task = Transcription(
        transcripts=args.transcripts,
        head=args.head,
        split=None if args.split == "all" else args.split,
        bootstrap=args.bootstrap,
    )
    encoder = load_encoder(f"own:{_folder_of(args.model)}", device=args.device)
    found = task.run(read_corpus(args.manifest), encoder)
    if args.json:
        print_json([_measurement_record(entry) for entry in found])
    else:
        print_table(
            ["measure", "CER %", "low", "high", "items", "S", "D", "I", "characters"],
            [_cer_row(entry) for entry in found],
        )
    unreadable = int(found[0].signature.get("unreadable", 0))
    if unreadable:
        talk(
            f"{unreadable} recordings could not be read and are not counted; "
            f"isogloss corpus check {args.manifest} names them"
        )
    return 1 if unreadable else 0


def _measurement_record(found: Measurement) -> dict[str, Any]:
    names = ("name", "value", "low", "high", "n", "higher_is_better")
    return {
        **{name: getattr(found, name) for name in names},
        "signature": dict(found.signature),
    }


def _cer_row(found: Measurement) -> list[object]:
    edits = ("substitutions", "deletions", "insertions", "reference_length")
    percent = [None if x is None else 100 * x for x in (found.value, found.low, found.high)]
    return [found.name, *percent, found.n, *(found.signature[name] for name in edits)]


# encode -------------------------------------------------------------------------------------------


def _add_encode(verbs: argparse._SubParsersAction[Any]) -> None:
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
    items = _of_manifest(args.manifest, args.split)
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
