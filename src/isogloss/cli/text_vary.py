"""`isogloss text vary`: a corpus whose texts are in another script, cloned, switched or mixed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from isogloss.cli.corpus_options import add_table_options, varieties_table
from isogloss.cli.tables import print_json, print_table, talk
from isogloss.cli.verbs import add_verb

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

__all__ = ["add_vary"]

_HOW = """\
--by NAME:option=value,option=value (several values of an option are parted by +):
  romanise   Latin letters by uroman             language=srp, cache=FILE
  serbian    Serbian in the other script         to=latin|cyrillic
  chinese    Chinese in the other characters     to=hans|hant
  clone      a synthetic language, known truth   p=0.1_0.9, script=new|same
  switch     words from a lexicon                lexicon=FILE, share=0.3, to=deu+fra
  entities   names from a table                  table=FILE, share=0.5, to=deu+fra, tags=yes
  mix        sentences in drawn varieties        unit=sentence|chunk, chunks=3, of=eng+deu
  pack       translations behind each other      size=1, of=eng+deu
"""


def add_vary(verbs: argparse._SubParsersAction[Any]) -> None:
    """Declare `text vary`."""
    parser = add_verb(
        verbs,
        "vary",
        _vary,
        "a corpus whose texts are in another script, cloned, code-switched, mixed or packed",
        "  isogloss text vary manifest.jsonl --by romanise --out latin.jsonl\n"
        "  isogloss text vary manifest.jsonl --by switch:lexicon=words.tsv,share=0.2 --seed 1 \\\n"
        "      --out switched.jsonl --with-originals\n\n"
        f"{_HOW}\n"
        "new items keep their meaning; their variety has a suffix (srp-latn). Varieties that no\n"
        "table knows are written to OUT.varieties.tsv, for --varieties-table of other commands.\n"
        "exit code: 1 when items were left out",
    )
    parser.add_argument("manifest", type=Path, help="manifest.jsonl, or the folder that holds it")
    parser.add_argument("--by", required=True, help="the variation and its options, see below")
    parser.add_argument("--out", type=Path, required=True, help="the new manifest, FILE.jsonl")
    parser.add_argument("--split", help="only items of this split; default all")
    parser.add_argument("--seed", type=int, default=0, help="of draws; default 0")
    parser.add_argument(
        "--suffix", help="put behind the variety in place of the usual one; '' keeps the variety"
    )
    parser.add_argument(
        "--with-originals", action="store_true", help="write the original items too"
    )
    add_table_options(parser)


def _vary(args: argparse.Namespace) -> int:
    from isogloss.corpora.jsonl import manifest_path, read_corpus, write_items
    from isogloss.variation import vary_items

    source = manifest_path(args.manifest)
    if args.out.is_dir() or args.out.resolve() == source.resolve():
        talk(f"isogloss text vary: error: --out {args.out} must be a new file, as varied.jsonl")
        return 2
    table = varieties_table(args)
    corpus = read_corpus(source, table=table)
    items = [item for item in corpus.items if args.split in (None, item.split)]
    if not items:
        where = f" in split '{args.split}'" if args.split else ""
        raise ValueError(f"{source} has no items{where}")
    made = vary_items(
        items,
        args.by,
        seed=args.seed,
        suffix=args.suffix,
        with_originals=args.with_originals,
        table=table,
    )
    name = f"{corpus.name} ({made.described})"
    written, _ = write_items(
        made.items, args.out, name=name, licence=corpus.licence, source=corpus.source
    )
    new = {code: parent for code, parent in made.derived.items() if code not in table}
    tsv = _write_varieties(args.out, new) if new else None
    summary: dict[str, object] = {
        "out": str(args.out),
        "read": len(items),
        "written": written,
        "varied": made.varied,
        "unchanged": made.unchanged,
        "words": made.words or None,
        "replaced": made.replaced if made.words else None,
        "varieties": str(tsv) if tsv else None,
        "by": made.described,
    }
    if args.json:
        print_json({**summary, "skipped": dict(made.skipped)})
    else:
        print_table(["figure", "value"], [[key, value] for key, value in summary.items()])
    for why, count in made.skipped.items():
        talk(f"left out: {count}: {why}")
    return 1 if made.skipped else 0


def _write_varieties(out: Path, new: Mapping[str, str]) -> Path:
    """A varieties table with each new code below the variety it was made from."""
    from isogloss._files import write_text

    path = out.with_name(f"{out.name}.varieties.tsv")
    rows = [f"{code}\t{code}\t{parent}" for code, parent in sorted(new.items())]
    write_text(path, "\n".join(["code\tname\tparent", *rows]) + "\n")
    return path
