"""`isogloss search query`: what a recording, a text, an item or the microphone finds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from isogloss.cli.search_options import (
    add_encoder_options,
    add_filter_options,
    add_index_verb,
    add_json_option,
    filter_of,
    printable,
    talk_of_skipped,
)
from isogloss.cli.tables import print_json, print_table, talk
from isogloss.cli.text_options import items_for, items_of_texts
from isogloss.cli.verbs import WrongUsageError, at_least

if TYPE_CHECKING:
    import argparse

    from isogloss.search.asking import Answer, Answers
    from isogloss.search.index_protocol import SearchIndex
    from isogloss.search.store import Filter
    from isogloss.types import Item

__all__ = ["add_query"]

_EXAMPLE = """\
  isogloss search query index question.wav
  isogloss search query index --mic -k 5 --variety yue
  isogloss search query index --text "where is the station"
  isogloss search query index --id test-00007-cmn --variety hak
  isogloss search query index --manifest manifest.jsonl --query-variety cmn --variety yue -k 1

An item of the index is never its own answer. --manifest also says how often the first answer, and
one of the first k, means the same, where the items carry meanings.

exit code: 1 when a recording could not be used; the others are answered all the same"""


def add_query(verbs: argparse._SubParsersAction[Any]) -> None:
    """Declare `search query`."""
    parser = add_index_verb(
        verbs, "query", _query, "find the same sentence, said otherwise", _EXAMPLE
    )
    parser.add_argument("audio", type=Path, nargs="*", help="recordings, or folders of them")
    parser.add_argument(
        "--id", action="append", default=[], help="ask with an item of the index; may be repeated"
    )
    parser.add_argument(
        "--text",
        action="append",
        default=[],
        help="ask an index of a text encoder with a text; may be repeated",
    )
    parser.add_argument("--manifest", type=Path, help="ask with every item of a corpus")
    parser.add_argument("--split", help="of --manifest; default all")
    parser.add_argument("--query-variety", metavar="CODE", help="of --manifest; default all")
    parser.add_argument("--mic", action="store_true", help="ask with what the microphone hears")
    parser.add_argument(
        "--seconds",
        type=_positive,
        metavar="S",
        help="of --mic, at most; default 10. Enter or silence after speech ends it before",
    )
    parser.add_argument("--mic-device", metavar="NAME", help="default the system's microphone")
    parser.add_argument("-k", type=at_least(1), default=10, help="answers to each; default 10")
    add_filter_options(parser)
    add_encoder_options(parser)
    parser.add_argument(
        "--candidates", type=at_least(1), help="items that are scored exactly; more find more"
    )
    parser.add_argument(
        "--budget-ms", type=_positive, metavar="MS", help="stop scoring after so many milliseconds"
    )
    parser.add_argument(
        "--ray-workers",
        type=at_least(0),
        default=0,
        help="share the queries of --manifest among so many Ray workers (extra ray)",
    )
    parser.add_argument("--ray-address", help="of a running cluster, such as auto; default none")
    parser.add_argument("--exact", action="store_true", help="score every item: slow, misses none")
    parser.add_argument(
        "--check-exactness",
        action="store_true",
        help="also measure which share of the exact best k these queries find",
    )
    add_json_option(parser)


def _positive(text: str) -> float:
    import argparse
    import math

    value = float(text)
    if not (value > 0 and math.isfinite(value)):
        raise argparse.ArgumentTypeError(f"{text} is not more than 0")
    return value


_positive.__name__ = "number"  # argparse says "invalid number value"


def _query(args: argparse.Namespace) -> int:
    from isogloss.search.asking import ask
    from isogloss.search.encoder_note import load_for
    from isogloss.search.open import open_index

    _check_usage(args)
    wanted = filter_of(args)
    index = open_index(args.index)
    items = [] if args.mic else _items(args)
    encoder = None
    if args.mic or items:
        encoder = load_for(index, args.index, args.encoder, layer=args.layer, device=args.device)
    options = {
        "k": args.k,
        "filter": wanted,
        "candidates": args.candidates,
        "budget_ms": args.budget_ms,
        "exact": args.exact,
        "check_exactness": args.check_exactness,
        "ray_workers": args.ray_workers,
        "ray_address": args.ray_address,
    }
    if args.mic:
        found = _of_microphone(args, index, encoder, options)
    else:
        found = ask(index, encoder, items, ids=args.id, **options)
    _print(found, args)
    _say_why_empty(found, index, wanted)
    talk_of_skipped(found.skipped)
    return 1 if found.skipped else 0


def _check_usage(args: argparse.Namespace) -> None:
    ways = {
        "recordings": bool(args.audio),
        "--text": bool(args.text),
        "--id": bool(args.id),
        "--manifest": args.manifest is not None,
        "--mic": args.mic,
    }
    given = [way for way, is_given in ways.items() if is_given]
    if len(given) != 1:
        raise WrongUsageError(
            f"ask with one of {', '.join(ways)}; given: {' and '.join(given) or 'none'}"
        )
    if args.manifest is None and (args.split is not None or args.query_variety is not None):
        raise WrongUsageError("--split and --query-variety choose from --manifest")
    if not args.mic and (args.seconds is not None or args.mic_device is not None):
        raise WrongUsageError("--seconds and --mic-device are for --mic")
    if args.ray_workers and (args.manifest is None or args.budget_ms):
        raise WrongUsageError("--ray-workers is for --manifest, without --budget-ms")
    if args.exact and (args.candidates or args.budget_ms or args.check_exactness):
        raise WrongUsageError(
            "--exact scores every item; --candidates, --budget-ms and --check-exactness do not "
            "go with it"
        )


def _items(args: argparse.Namespace) -> list[Item]:
    if args.manifest is not None:
        items = items_for(_encoder_of(args), args.manifest, args.split)
        if args.query_variety is None:
            return items
        chosen = [item for item in items if item.variety == args.query_variety]
        if not chosen:
            from isogloss.errors import UnknownName

            raise UnknownName("variety", args.query_variety, {item.variety for item in items})
        return chosen
    if args.text:
        _refuse_unread(args)
        return items_of_texts(args.text)
    if not args.audio:
        return []
    from isogloss.tasks.transcribe_files import find_recordings

    return find_recordings(args.audio)


def _encoder_of(args: argparse.Namespace) -> str | None:
    """The encoder that was named, or else that of the index's note."""
    from isogloss.search.encoder_note import read_note

    if args.encoder is not None:
        return str(args.encoder)
    note = read_note(args.index)
    return None if note is None else note.encoder


def _refuse_unread(args: argparse.Namespace) -> None:
    from isogloss.encoders.registry import reads_text

    name = _encoder_of(args)
    if name is not None and not reads_text(name):
        raise WrongUsageError(f"--text: {name} takes recordings, no text")


def _of_microphone(
    args: argparse.Namespace, index: Any, encoder: Any, options: dict[str, Any]
) -> Answers:
    """Listen, and ask with what was heard; the recording is removed again."""
    import tempfile

    from isogloss.corpora.audio import write_wav
    from isogloss.corpora.microphone import SAMPLE_RATE_HZ, listen, microphone
    from isogloss.search.asking import ask
    from isogloss.types import Item

    with microphone(args.mic_device) as blocks:
        talk("listening: speak, then press Enter or be silent")
        samples = listen(blocks, seconds=args.seconds or 10.0, stopped=_enter_was_pressed)
    talk(f"heard {len(samples) / SAMPLE_RATE_HZ:.1f} s")
    with tempfile.TemporaryDirectory(prefix="isogloss-mic-") as folder:
        path = Path(folder) / "microphone.wav"
        write_wav(path, samples, SAMPLE_RATE_HZ)
        return ask(index, encoder, [Item("microphone", "und", audio=str(path))], **options)


def _enter_was_pressed() -> bool:
    import select
    import sys

    if not sys.stdin.isatty():
        return False
    ready, _, _ = select.select([sys.stdin], [], [], 0)
    return bool(ready) and bool(sys.stdin.readline())


def _print(found: Answers, args: argparse.Namespace) -> None:
    if args.json:
        print_json(_record(found))
        return
    several = len(found.answers) > 1
    rows = [row for answer in found.answers for row in _rows(answer, several)]
    columns = ["rank", "score", "variety", "site", "transcript", "translation", "id"]
    print_table(["query", *columns] if several else columns, rows)
    for name, value in found.measured.items():
        talk(f"{name}: {value:.3f}")
    if any(any(hit.tied for hit in answer.hits) for answer in found.answers):
        talk("= beside a score: another item has the same one")


def _say_why_empty(found: Answers, index: SearchIndex, wanted: Filter | None) -> None:
    """A list without a line needs a reason."""
    empty = sum(not answer.hits for answer in found.answers)
    if not empty:
        return
    if not len(index):
        talk(f"{index.shown} holds no item; isogloss search append adds some")
        return
    why = "is in the index" if wanted is None else "passes the filter"
    talk(f"no answer to {empty} of {len(found.answers)} queries: no other item {why}")


def _rows(answer: Answer, several: bool) -> list[list[object]]:
    return [
        [
            *([printable(answer.query)] if several else []),
            hit.rank,
            f"{hit.score:.3f}{'=' if hit.tied else ''}",
            *(
                None if text is None else printable(text)
                for text in (
                    hit.item.variety,
                    hit.item.site,
                    hit.item.transcript or hit.item.text,
                    hit.item.translation,
                    hit.item.id,
                )
            ),
        ]
        for hit in answer.hits
    ]


def _record(found: Answers) -> dict[str, Any]:
    from isogloss.corpora.jsonl import item_to_dict

    return {
        "answers": [
            {
                "query": answer.query,
                "scored": answer.scored,
                "hits": [
                    {
                        "rank": hit.rank,
                        "score": hit.score,
                        "tied": hit.tied,
                        "item": item_to_dict(hit.item),
                    }
                    for hit in answer.hits
                ],
            }
            for answer in found.answers
        ],
        "exact": found.exact,
        "measured": found.measured,
        "took_ms": found.took_ms,
        "skipped": dict(found.skipped),
    }
