"""`isogloss speech transcribe`: what a trained model reads in recordings, and when it is said."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isogloss.cli.speech_options import folder_of, of_manifest
from isogloss.cli.tables import print_json, print_table, talk
from isogloss.cli.verbs import WrongUsageError, add_verb, at_least

if TYPE_CHECKING:
    from collections.abc import Sequence

    from isogloss.speech.segments import SegmentConfig
    from isogloss.speech.transcripts import Transcript
    from isogloss.tasks.transcribe_files import TranscribedFiles
    from isogloss.types import Item

__all__ = ["add_transcribe"]

_FORMATS = ("text", "json", "jsonl", "srt", "vtt", "ctm")
_EXAMPLE = """\
  isogloss speech transcribe runs/a interview.mp3 --format srt
  isogloss speech transcribe runs/a recordings --out transcripts --format json
  isogloss speech transcribe runs/a one.wav two.m4a --out both.ctm --beam 8
  isogloss speech transcribe runs/a manifest.jsonl --split test --out read.jsonl

A recording may have any length: speech is found first (--no-vad reads a short one whole). Items of
a manifest are utterances already and are read whole unless --vad is given.
With --out FOLDER every recording has a file of its own; the same command again goes on where it
stopped and leaves files that are there.

exit code: 1 when a recording could not be read; the others are transcribed all the same"""


def add_transcribe(verbs: argparse._SubParsersAction[Any]) -> None:
    """Declare `speech transcribe`."""
    parser = add_verb(
        verbs, "transcribe", _transcribe, "what a trained model reads in recordings", _EXAMPLE
    )
    parser.add_argument("model", type=Path, help="folder of a trained model")
    parser.add_argument(
        "audio",
        type=Path,
        nargs="+",
        help="recordings, folders of them, or one manifest.jsonl (or its folder)",
    )
    parser.add_argument(
        "--format",
        choices=_FORMATS,
        help="default: a table; with --out, what its ending says",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE|FOLDER",
        help="a file if it ends in .txt, .json, .jsonl, .srt, .vtt or .ctm, else a folder",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="make files anew that are in the folder already"
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
    _add_segment_options(parser)
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1; default cpu")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def _add_segment_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--vad",
        action=argparse.BooleanOptionalAction,
        help="find speech and cut it into segments, or read recordings whole (up to 2 minutes)",
    )
    for name, what in (
        ("longest", "seconds of the longest segment; default 20"),
        ("gap", "seconds of the shortest pause that ends a segment; default 0.2"),
        ("padding", "seconds of sound read before and after a segment; default 0.02"),
        ("threshold", "probability from which sound is speech; default 0.5"),
    ):
        parser.add_argument(f"--{name}", type=float, metavar="X", help=what)


def _transcribe(args: argparse.Namespace) -> int:
    import sys

    from isogloss.encoders import own
    from isogloss.speech.long_transcription import LongTranscription
    from isogloss.tasks.transcribe_files import form_of, rendered, transcribe_files

    try:
        segments = _segment_config(args)
    except ValueError as error:
        raise WrongUsageError(str(error)) from error
    items, has_utterances = _recordings(args.audio, args.split)
    form = args.format or (form_of(args.out) if args.out else None)
    _check_usage(args, form, len(items))
    config = LongTranscription(
        head=args.head,
        beam=args.beam,
        detect_speech=not has_utterances if args.vad is None else args.vad,
        segments=segments,
    )
    encoder = own.load(folder_of(args.model), device=args.device)
    done = transcribe_files(
        encoder,
        items,
        out=args.out,
        form=form or "text",
        config=config,
        overwrite=args.overwrite,
        keep=args.json,
        progress=sys.stderr.isatty(),
    )
    if args.json:
        print_json([_record(transcript) for transcript in done.transcripts])
    elif args.out is None and form is None:
        _print_segments(done.transcripts)
    elif args.out is None and form is not None:
        sys.stdout.write(rendered(done.transcripts, form))
    _summarise(done, args.out)
    return 1 if done.failed else 0


def _segment_config(args: argparse.Namespace) -> SegmentConfig:
    from isogloss.speech.segments import SegmentConfig

    given = {
        "longest_seconds": args.longest,
        "least_gap_seconds": args.gap,
        "padding_seconds": args.padding,
        "threshold": args.threshold,
        # A lower threshold may not lie below the one at which a segment ends.
        "release": None if args.threshold is None else 0.7 * args.threshold,
    }
    return SegmentConfig(**{name: value for name, value in given.items() if value is not None})


def _check_usage(args: argparse.Namespace, form: str | None, count: int) -> None:
    from isogloss.tasks.transcribe_files import is_file_name

    in_one = args.out is None or is_file_name(args.out)
    if form in ("srt", "vtt") and in_one and count > 1:
        raise WrongUsageError(f"{form} holds one recording, these are {count}; give --out a folder")
    if args.json and args.out is None and form not in (None, "json"):
        raise WrongUsageError(f"--json and --format {form} both want to be printed; choose one")


def _recordings(paths: Sequence[Path], split: str | None) -> tuple[list[Item], bool]:
    """The items to read, and whether they are a manifest's."""
    from isogloss.tasks.transcribe_files import find_recordings

    manifests = [
        path
        for path in paths
        if path.name.endswith((".jsonl", ".jsonl.gz")) or (path / "manifest.jsonl").is_file()
    ]
    if manifests and len(paths) > 1:
        raise WrongUsageError(f"{manifests[0]} is a manifest; give it alone")
    if manifests:
        return of_manifest(manifests[0], split), True
    if split is not None:
        raise WrongUsageError("--split chooses from a manifest; these are recordings")
    return find_recordings(paths), False


def _record(transcript: Transcript) -> dict[str, Any]:
    from isogloss.speech.transcripts import to_dict

    return to_dict(transcript)


def _print_segments(transcripts: Sequence[Transcript]) -> None:
    rows: list[list[object]] = []
    for transcript in transcripts:
        record = _record(transcript)
        for segment in record["segments"]:
            values = [segment[k] for k in ("start_seconds", "end_seconds", "text", "confidence")]
            rows.append([transcript.id, *values])
        if not record["segments"]:
            rows.append([transcript.id, None, None, "", None])
    print_table(["id", "start", "end", "text", "confidence"], rows)


def _summarise(done: TranscribedFiles, out: Path | None) -> None:
    """What was written where, and a table of what could not be read."""
    if out is not None:
        there = f", {done.there_already} there already" if done.there_already else ""
        talk(f"{done.done} transcripts in {out}{there}")
    if done.without_speech:
        talk(f"{done.without_speech} of {done.done} recordings hold no speech")
    if done.failed:
        total = done.done + done.there_already + len(done.failed)
        talk(f"{len(done.failed)} of {total} recordings could not be read:")
        width = max(len(failure.id) for failure in done.failed)
        for failure in done.failed:
            talk(f"  {failure.id.ljust(width)}  {failure.problem}")
