"""`isogloss corpus`: check, stats, convert, prepare, readers, split, synth and speak."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isogloss.cli.corpus_check import add_check
from isogloss.cli.corpus_formats import add_convert, add_prepare, add_readers
from isogloss.cli.corpus_options import add_table_options, varieties_table
from isogloss.cli.corpus_speak import add_speak
from isogloss.cli.tables import print_json, print_table, talk
from isogloss.cli.verbs import add_verb

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["add_parser"]

_SHOWN_CHARACTERS = 40


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> None:
    """Add the noun `corpus` with its verbs."""
    noun = subparsers.add_parser(
        "corpus",
        help="make, check, count, convert, prepare and split corpora",
        epilog="example:\n  isogloss corpus synth synthetic --sentences 100\n"
        "  isogloss corpus check synthetic/manifest.jsonl\n"
        "  isogloss corpus <verb> --help",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = noun.add_subparsers(metavar="<verb>", required=True)
    add_check(verbs)
    _add_stats(verbs)
    add_convert(verbs)
    add_prepare(verbs)
    add_readers(verbs)
    _add_split(verbs)
    _add_synth(verbs)
    add_speak(verbs)


# stats --------------------------------------------------------------------------------------------


def _add_stats(verbs: argparse._SubParsersAction[Any]) -> None:
    parser = add_verb(
        verbs,
        "stats",
        _stats,
        "hours, items, speakers, sites, meanings and characters per variety and split",
        "  isogloss corpus stats recordings/manifest.jsonl\n"
        "  isogloss corpus stats recordings/manifest.jsonl --characters",
    )
    parser.add_argument("manifest", type=Path, help="manifest.jsonl, or the folder that holds it")
    parser.add_argument(
        "--characters", action="store_true", help="list each variety's characters by frequency"
    )
    add_table_options(parser)


def _stats(args: argparse.Namespace) -> int:
    from isogloss.corpora.jsonl import stream_items
    from isogloss.corpora.stats import StatsRow, character_inventory, corpus_stats

    table = varieties_table(args)
    if args.characters:
        inventory = character_inventory(stream_items(args.manifest, table=table))
        if args.json:
            print_json({code: dict(counts.most_common()) for code, counts in inventory.items()})
        else:
            print_table(
                ["variety", "different", "written", "most frequent"],
                [
                    [code, len(counts), counts.total(), _frequent(counts.most_common())]
                    for code, counts in inventory.items()
                ],
            )
        return 0
    rows = corpus_stats(stream_items(args.manifest, table=table))
    if args.json:
        print_json([dataclasses.asdict(row) for row in rows])
    else:
        columns = [field.name for field in dataclasses.fields(StatsRow)]
        print_table(columns, [[getattr(row, name) for name in columns] for row in rows])
    unmeasured = sum(row.unmeasured for row in rows)
    if unmeasured:
        talk(f"{unmeasured} recordings could not be measured: isogloss corpus check says why")
    return 1 if unmeasured else 0


def _frequent(counts: Sequence[tuple[str, int]]) -> str:
    return "".join(character for character, _ in counts[:_SHOWN_CHARACTERS])


# split --------------------------------------------------------------------------------------------


def _add_split(verbs: argparse._SubParsersAction[Any]) -> None:
    parser = add_verb(
        verbs,
        "split",
        _split,
        "train, dev and test sets that share no meaning, speaker or site",
        "  isogloss corpus split manifest.jsonl --by meaning --out split.jsonl\n"
        "  isogloss corpus split manifest.jsonl --by meaning,speaker --out split.jsonl",
    )
    parser.add_argument("manifest", type=Path, help="manifest.jsonl, or the folder that holds it")
    parser.add_argument(
        "--by",
        default="meaning",
        help="meaning, speaker, site, variety or several separated by commas; default meaning",
    )
    parser.add_argument("--out", type=Path, help="manifest to write; default: replace the input")
    for name, share in (("train", 0.8), ("dev", 0.1), ("test", 0.1)):
        parser.add_argument(
            f"--{name}", type=float, default=share, help=f"share; default {share}, 0 for none"
        )
    parser.add_argument("--seed", type=int, default=0, help="default 0")
    add_table_options(parser)


def _split(args: argparse.Namespace) -> int:
    from isogloss.corpora.jsonl import manifest_path, read_corpus, write_corpus
    from isogloss.corpora.split import split_items

    corpus = read_corpus(args.manifest, table=varieties_table(args))
    shares = {"train": args.train, "dev": args.dev, "test": args.test}
    result = split_items(
        corpus.items,
        by=tuple(name.strip() for name in args.by.split(",")),
        fractions={name: share for name, share in shares.items() if share},
        seed=args.seed,
    )
    out = args.out or manifest_path(args.manifest)
    if args.out is None and result.dropped:
        raise ValueError(
            f"{len(result.dropped)} items would be dropped from {out}; give --out another file"
        )
    write_corpus(dataclasses.replace(corpus, items=result.items), out)
    if args.json:
        dropped = [dataclasses.asdict(item) for item in result.dropped]
        print_json({"out": str(out), "counts": dict(result.counts), "dropped": dropped})
    else:
        rows: list[list[object]] = [[name, count] for name, count in result.counts.items()]
        print_table(["split", "items"], [*rows, ["(dropped)", len(result.dropped)]])
    if result.dropped:
        first = result.dropped[0]
        talk(
            f"{len(result.dropped)} of {len(corpus)} items were dropped because their values fell "
            f"into different splits (first: '{first.item}', {first.reason})"
        )
    return 0


# synth --------------------------------------------------------------------------------------------


def _add_synth(verbs: argparse._SubParsersAction[Any]) -> None:
    parser = add_verb(
        verbs,
        "synth",
        _synth,
        "a corpus of synthetic speech in several Sinitic varieties (espeak-ng voices)",
        "  isogloss corpus synth synthetic --varieties cmn,yue,hak --sentences 500",
    )
    parser.add_argument("folder", type=Path, help="folder to write manifest.jsonl and sound into")
    parser.add_argument(
        "--varieties", default="cmn,yue,hak", help="of cmn, yue, hak, nan; default cmn,yue,hak"
    )
    parser.add_argument(
        "--sentences", type=int, default=2000, help="training sentences a variety; default 2000"
    )
    parser.add_argument(
        "--transcripts",
        choices=("standard", "dialect", "both"),
        default="both",
        help="which transcripts the manifest keeps; default both",
    )
    parser.add_argument(
        "--augment",
        type=float,
        nargs="?",
        const=0.5,
        default=0.0,
        metavar="SHARE",
        help="put this share of training utterances in a room with noise; 0.5 when no share is "
        "given, default none",
    )
    parser.add_argument(
        "--word-lists",
        type=float,
        default=0.3,
        metavar="SHARE",
        help="make this share of training utterances lists of unrelated words; default 0.3",
    )
    parser.add_argument("--seed", type=int, default=1, help="default 1")
    parser.add_argument("--jobs", type=int, default=1, help="processes; default 1")
    add_table_options(parser, varieties=False)


def _synth(args: argparse.Namespace) -> int:
    from collections import Counter

    from isogloss.corpora.synth.make import SynthConfig, make_corpus

    config = SynthConfig(
        varieties=tuple(code.strip() for code in args.varieties.split(",") if code.strip()),
        train_sentences=args.sentences,
        transcripts=args.transcripts,
        augment=args.augment,
        word_lists=args.word_lists,
        seed=args.seed,
    )
    corpus = make_corpus(config, args.folder, jobs=args.jobs)
    counts = Counter((item.variety, item.split or "-") for item in corpus.items)
    if args.json:
        rows = [{"variety": v, "split": s, "items": n} for (v, s), n in counts.items()]
        print_json({"folder": str(args.folder), "sha": corpus.sha, "counts": rows})
    else:
        print_table(
            ["variety", "split", "items"], [[v, s, n] for (v, s), n in sorted(counts.items())]
        )
    talk(f"{len(corpus)} items written to {args.folder}")
    return 0
