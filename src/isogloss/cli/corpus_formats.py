"""`isogloss corpus` convert, prepare and readers: other people's formats and layouts."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isogloss.cli.corpus_options import add_table_options, varieties_table
from isogloss.cli.tables import print_json, print_table, talk
from isogloss.cli.verbs import add_verb
from isogloss.errors import UnknownName

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence

    from isogloss.corpora.readers import ReadResult
    from isogloss.types import Corpus, Item
    from isogloss.varieties import VarietyTable

__all__ = ["add_convert", "add_prepare", "add_readers"]

_SHOWN_SKIPPED = 20


# convert ------------------------------------------------------------------------------------------


def add_convert(verbs: argparse._SubParsersAction[Any]) -> None:
    """Add the verb `convert`."""
    parser = add_verb(
        verbs,
        "convert",
        _convert,
        "a corpus in another format: JSONL manifest, lhotse cuts, CSV or TSV",
        "  isogloss corpus convert manifest.jsonl cuts.jsonl.gz --to lhotse\n"
        "  isogloss corpus convert cuts.jsonl.gz manifest.jsonl --variety yue\n"
        "  isogloss corpus convert manifest.jsonl simplified.jsonl --script Hans",
    )
    parser.add_argument("source", type=Path, help="file to read")
    parser.add_argument("target", type=Path, help="file to write")
    formats = ("jsonl", "lhotse", "csv")
    parser.add_argument(
        "--from", dest="from_format", choices=formats, help="default: what the file looks like"
    )
    parser.add_argument(
        "--to", dest="to_format", choices=formats, help="default: what its name says"
    )
    parser.add_argument("--variety", help="variety of lhotse cuts that were not made by isogloss")
    parser.add_argument(
        "--script", choices=("Hans", "Hant"), help="write Chinese text in this script (OpenCC)"
    )
    add_table_options(parser)


def _convert(args: argparse.Namespace) -> int:
    source_format = args.from_format or _format_of_content(args.source)
    target_format = args.to_format or _format_of_name(args.target)
    corpus = _read_any(args, source_format)
    _refuse_unknown(corpus, varieties_table(args))
    if args.script:
        from isogloss.corpora.script import normalise_script

        corpus = _rewritten(corpus, lambda text: normalise_script(text, args.script))
    _write_any(corpus, args.target, target_format)
    record = {"items": len(corpus), "from": source_format, "to": target_format}
    record["target"] = str(args.target)
    if args.json:
        print_json(record)
    else:
        print_table(list(record), [list(record.values())])
    return 0


def _format_of_name(path: Path) -> str:
    if path.suffix in (".csv", ".tsv"):
        return "csv"
    return "lhotse" if "cuts" in path.name else "jsonl"


def _format_of_content(path: Path) -> str:
    import gzip
    import json

    if path.suffix in (".csv", ".tsv") or path.is_dir():
        return _format_of_name(path)
    opener = gzip.open if path.suffix == ".gz" else Path.open
    try:
        with opener(path, "rb") as handle:
            record = json.loads(handle.readline())
    except (ValueError, EOFError):
        return "jsonl"  # whose reader says what is wrong, with the line
    is_cut = isinstance(record, dict) and str(record.get("type", "")).endswith("Cut")
    return "lhotse" if is_cut else "jsonl"


def _read_any(args: argparse.Namespace, source_format: str) -> Corpus:
    from isogloss.corpora.jsonl import read_corpus
    from isogloss.types import Corpus

    if source_format == "jsonl":
        return read_corpus(args.source, table=varieties_table(args))
    name = args.source.name.partition(".")[0]
    if source_format == "csv":
        from isogloss.corpora.tabular import read_table

        return Corpus(name, tuple(read_table(args.source)))
    from isogloss.corpora.lhotse import read_cuts

    return Corpus(name, tuple(read_cuts(args.source, varieties=args.variety)))


def _refuse_unknown(corpus: Corpus, table: VarietyTable) -> None:
    for item in corpus.items:
        if item.variety not in table:
            problem = UnknownName("variety", item.variety, table.codes)
            raise ValueError(f"item '{item.id}': {problem}")


def _write_any(corpus: Corpus, target: Path, target_format: str) -> None:
    if target_format == "jsonl":
        from isogloss.corpora.jsonl import write_corpus

        write_corpus(corpus, target)
    elif target_format == "csv":
        from isogloss.corpora.tabular import write_table

        write_table(corpus.items, target)
    else:
        from isogloss.corpora.lhotse import write_cuts

        write_cuts(corpus.items, target)


def _rewritten(corpus: Corpus, change: Callable[[str], str]) -> Corpus:
    def rewrite(item: Item) -> Item:
        given = {name: getattr(item, name) for name in ("transcript", "translation", "text")}
        changed: dict[str, Any] = {
            name: change(text) for name, text in given.items() if text is not None
        }
        words = tuple(change(word) for word in item.words)
        return dataclasses.replace(item, words=words, **changed)

    return dataclasses.replace(corpus, items=tuple(rewrite(item) for item in corpus.items))


# prepare, readers ---------------------------------------------------------------------------------


def add_prepare(verbs: argparse._SubParsersAction[Any]) -> None:
    """Add the verb `prepare`."""
    parser = add_verb(
        verbs,
        "prepare",
        _prepare,
        "the manifest of a corpus on disk; exit code 1 when something was skipped",
        "  isogloss corpus prepare folder recordings --out recordings/manifest.jsonl "
        "--option variety=yue\n"
        "  isogloss corpus readers folder         (the options of a reader)",
    )
    parser.add_argument("reader", help="name of a reader; `isogloss corpus readers` lists them")
    parser.add_argument("root", type=Path, help="folder (or file) of the corpus")
    parser.add_argument("--out", type=Path, required=True, help="manifest to write")
    parser.add_argument(
        "-o",
        "--option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="option of the reader, may be repeated; a list is separated by commas",
    )
    add_table_options(parser)


def _prepare(args: argparse.Namespace) -> int:
    from isogloss.corpora.catalogue import load_reader
    from isogloss.corpora.jsonl import write_corpus

    reader = load_reader(args.reader)
    options: dict[str, Any] = dict(_reader_options(args.option))
    if args.varieties_table is not None:
        if "varieties_table" not in {option.name for option in reader.options}:
            raise ValueError(
                f"reader '{args.reader}' takes no varieties table: the corpus has one variety only"
            )
        options["varieties_table"] = args.varieties_table
    result = reader(args.root, **options)
    written = write_corpus(result.corpus, args.out)
    if args.json:
        print_json(_prepared_record(result, args.out, written.sha))
    else:
        _print_prepared(result, args.out)
    return 1 if result.skipped else 0


def _reader_options(given: Sequence[str]) -> dict[str, str | list[str]]:
    """Option name to its value, or to all its values when it was given more than once."""
    options: dict[str, str | list[str]] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise ValueError(f"--option {text}: expected NAME=VALUE")
        name = name.replace("-", "_")
        earlier = options.get(name)
        if earlier is None:
            options[name] = value
        else:
            options[name] = [*([earlier] if isinstance(earlier, str) else earlier), value]
    return options


def _prepared_record(result: ReadResult, out: Path, sha: str | None) -> dict[str, Any]:
    return {
        "items": len(result.corpus),
        "out": str(out),
        "sha": sha,
        "coverage": None if result.coverage is None else dataclasses.asdict(result.coverage),
        "reasons": result.reasons(),
        "skipped": [dataclasses.asdict(skip) for skip in result.skipped],
    }


def _print_prepared(result: ReadResult, out: Path) -> None:
    if result.coverage is not None:
        groups = result.coverage.groups
        rows: list[list[object]] = [[name, *counts] for name, counts in groups.items()]
        rows.append(["all", result.coverage.present, result.coverage.expected])
        print_table(["part", "present", "expected"], rows, title="coverage")
    if result.skipped:
        print_table(
            ["skipped because", "times"],
            [[reason, times] for reason, times in result.reasons().items()],
        )
        shown = result.skipped[:_SHOWN_SKIPPED]
        print_table(["skipped", "reason", "remedy"], [[s.item, s.reason, s.remedy] for s in shown])
        if len(shown) < len(result.skipped):
            talk(f"{len(result.skipped) - len(shown)} more were skipped: --json lists them")
    talk(f"{len(result.corpus)} items written to {out}, {len(result.skipped)} skipped")


def add_readers(verbs: argparse._SubParsersAction[Any]) -> None:
    """Add the verb `readers`."""
    parser = add_verb(
        verbs,
        "readers",
        _readers,
        "the corpus layouts that can be prepared, or the options of one",
        "  isogloss corpus readers\n  isogloss corpus readers yubao",
    )
    parser.add_argument("reader", nargs="?", help="name of a reader")
    add_table_options(parser, varieties=False)


def _readers(args: argparse.Namespace) -> int:
    from isogloss.corpora.catalogue import reader_names, reader_options, reader_summary

    if args.reader is None:
        columns = ["reader", "what it reads"]
        rows: list[list[object]] = [[name, reader_summary(name)] for name in reader_names()]
    else:
        columns = ["option", "kind", "default", "what it does"]
        rows = [
            [o.name, o.kind, "(needed)" if o.required else _default(o.default), o.help]
            for o in reader_options(args.reader)
        ]
    if args.json:
        print_json([dict(zip(columns, row, strict=True)) for row in rows])
    else:
        print_table(columns, rows)
    return 0


def _default(value: object) -> str | None:
    return None if value is None or value == () else str(value)
