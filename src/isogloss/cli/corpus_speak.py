"""`isogloss corpus speak`: a corpus of texts read aloud by synthetic voices."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from isogloss.cli.tables import print_json, print_table, talk
from isogloss.cli.verbs import add_verb

if TYPE_CHECKING:
    import argparse

__all__ = ["add_speak"]

_SHOWN_SKIPPED = 10


def add_speak(verbs: argparse._SubParsersAction[Any]) -> None:
    """Add the verb `speak`."""
    parser = add_verb(
        verbs,
        "speak",
        _speak,
        "a corpus of texts read aloud by espeak-ng voices",
        "  isogloss corpus prepare xsid xsid-0.7 --out xsid/manifest.jsonl \\\n"
        "      -o varieties=de -o varieties=de-ba\n"
        "  isogloss corpus speak xsid/manifest.jsonl --out xsid-spoken\n"
        "  isogloss corpus speak texts.jsonl --out spoken --voice nds=de --voice cat=ca\n\n"
        "exit code: 1 when items could not be spoken; they are listed, the others are there",
    )
    parser.add_argument("manifest", type=Path, help="manifest.jsonl, or the folder that holds it")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="of the recordings")
    parser.add_argument(
        "--voice",
        action="append",
        default=[],
        metavar="VARIETY=VOICE",
        help="espeak-ng voice that reads a variety; repeat it",
    )
    parser.add_argument("--split", help="only items of this split; default all")
    parser.add_argument(
        "--train-split",
        action="append",
        metavar="NAME",
        help="split whose voices are not heard in the others; repeat it; default train",
    )
    parser.add_argument(
        "--copies", type=int, default=1, help="voices that read each training item; default 1"
    )
    parser.add_argument("--seed", type=int, default=1, help="of voices and prosody; default 1")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def _speak(args: argparse.Namespace) -> int:
    import dataclasses
    from collections import Counter

    from isogloss.corpora.jsonl import read_corpus
    from isogloss.corpora.synth.speak import speak_corpus

    voices = dict(entry.partition("=")[::2] for entry in args.voice)
    wrong = [variety for variety, voice in voices.items() if not voice]
    if wrong:
        raise ValueError(f"--voice {wrong[0]}: write VARIETY=VOICE, such as nds=de")
    corpus = read_corpus(args.manifest)
    if args.split is not None:
        kept = tuple(item for item in corpus.items if item.split == args.split)
        corpus = dataclasses.replace(corpus, items=kept)
    spoken, skipped = speak_corpus(
        corpus,
        args.out,
        voices=voices,
        seed=args.seed,
        train_splits=tuple(args.train_split or ("train",)),
        copies=args.copies,
    )
    counts = Counter((item.variety, item.extra["voice"]) for item in spoken.items)
    if args.json:
        print_json(
            {
                "manifest": str(args.out / "manifest.jsonl"),
                "items": len(spoken),
                "skipped": [dataclasses.asdict(entry) for entry in skipped],
            }
        )
    else:
        rows = [[variety, count, voice] for (variety, voice), count in sorted(counts.items())]
        print_table(["variety", "items", "voice"], rows)
    for entry in skipped[:_SHOWN_SKIPPED]:
        talk(f"{entry.item}: {entry.reason}; {entry.remedy}")
    if len(skipped) > _SHOWN_SKIPPED:
        talk(f"... and {len(skipped) - _SHOWN_SKIPPED} more were not spoken")
    return 1 if skipped else 0
