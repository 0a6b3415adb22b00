"""`isogloss search append`, `delete`, `compact` and `info`: an index after it was built."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from isogloss.cli.search_build import print_indexed
from isogloss.cli.search_options import (
    add_encoder_options,
    add_index_verb,
    add_json_option,
    printable,
)
from isogloss.cli.tables import print_json, print_table, talk
from isogloss.cli.text_options import items_for
from isogloss.cli.verbs import WrongUsageError

if TYPE_CHECKING:
    import argparse

__all__ = ["add_edits"]

_MISSING_NAMED = 20


def add_edits(verbs: argparse._SubParsersAction[Any]) -> None:
    """Declare `search append`, `search delete`, `search compact` and `search info`."""
    _add_append(verbs)
    _add_delete(verbs)
    compact = add_index_verb(
        verbs,
        "compact",
        _compact,
        "write deleted items out of an index, and small segments together",
        "  isogloss search compact index\n\n"
        "Searches go on meanwhile; a reader that has the index open keeps what it opened.",
    )
    add_json_option(compact)
    info = add_index_verb(
        verbs,
        "info",
        _info,
        "what an index holds, how it was built and how large it is",
        "  isogloss search info index",
    )
    add_json_option(info)


def _add_append(verbs: argparse._SubParsersAction[Any]) -> None:
    parser = add_index_verb(
        verbs,
        "append",
        _append,
        "add recordings or texts to an index, in one step",
        "  isogloss search append index more.jsonl\n"
        "  isogloss search append index corrected.jsonl --replace\n\n"
        "Repeat the command after an interruption: what was encoded is kept in INDEX.appending.\n\n"
        "exit code: 1 when recordings were left out",
    )
    parser.add_argument("manifest", type=Path, help="manifest.jsonl, or the folder that holds it")
    parser.add_argument("--split", help="of the manifest; default all")
    parser.add_argument(
        "--replace", action="store_true", help="take out items that have an id of the new ones"
    )
    parser.add_argument("--cache", type=Path, help="folder in which every recording is kept")
    add_encoder_options(parser)
    add_json_option(parser)


def _add_delete(verbs: argparse._SubParsersAction[Any]) -> None:
    parser = add_index_verb(
        verbs,
        "delete",
        _delete,
        "take items out of an index, in one step",
        "  isogloss search delete index u17 u18\n"
        "  isogloss search delete index --ids-from gone.txt\n\n"
        "Their bytes go when the index is compacted.\n\n"
        "exit code: 1 when an id was not there",
    )
    parser.add_argument("ids", nargs="*", help="ids of items")
    parser.add_argument(
        "--ids-from", type=Path, metavar="FILE", help="a text file with one id a line"
    )
    add_json_option(parser)


def _append(args: argparse.Namespace) -> int:
    from isogloss.search.from_recordings import append_recordings

    done = append_recordings(
        args.index,
        items_for(args.encoder or _noted(args.index), args.manifest, args.split),
        encoder=args.encoder,
        layer=args.layer,
        device=args.device,
        cache_dir=args.cache,
        replace=args.replace,
    )
    print_indexed(done, as_json=args.json)
    return 1 if done.skipped else 0


def _noted(place: Path | str) -> str | None:
    from isogloss.search.encoder_note import read_note

    note = read_note(place)
    return None if note is None else note.encoder


def _delete(args: argparse.Namespace) -> int:
    from isogloss.search.open import open_index

    ids = [*args.ids, *_ids_in(args.ids_from)]
    # An id may be named twice.
    ids = list(dict.fromkeys(ids))
    if not ids:
        raise WrongUsageError("name the ids to delete, or a file of them with --ids-from")
    index = open_index(args.index)
    known = index.known(ids)
    gone = index.delete(ids)
    missing = [name for name in ids if name not in known]
    summary = {"index": index.shown, "deleted": gone, "not_there": len(ids) - gone}
    _print({**summary, "items": len(index)}, args)
    for name in missing[:_MISSING_NAMED]:
        talk(f"the index has no item '{printable(name)}'")
    if len(missing) > _MISSING_NAMED:
        talk(f"and {len(missing) - _MISSING_NAMED} more")
    return 1 if gone < len(ids) else 0


def _ids_in(path: Path | None) -> list[str]:
    """One id a line, without the empty lines that such lists end in."""
    if path is None:
        return []
    try:
        # Editors on Windows put a mark before the first line, which is no part of its id.
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise WrongUsageError(f"--ids-from {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise WrongUsageError(
            f"--ids-from {path}: not UTF-8 at byte {error.start}; save it as UTF-8, one id a line"
        ) from error
    return [line for line in lines if line]


def _compact(args: argparse.Namespace) -> int:
    from isogloss.search.open import open_index

    index = open_index(args.index)
    before = index.figures()["bytes"]
    version = index.compact()
    _print(
        {
            "index": index.shown,
            "version": version,
            "items": len(index),
            "bytes_before": before,
            "bytes_after": index.figures()["bytes"],
        },
        args,
    )
    return 0


def _info(args: argparse.Namespace) -> int:
    from dataclasses import asdict

    from isogloss.search.encoder_note import read_note
    from isogloss.search.open import open_index

    index = open_index(args.index)
    note = read_note(args.index)
    figures = index.figures()
    sizes = {name: size for name, size in figures.items() if name.startswith("bytes")}
    varieties: dict[str, int] = {}
    for group in sorted(index.groups(), key=lambda group: group.variety):
        varieties[group.variety] = varieties.get(group.variety, 0) + group.items
    summary: dict[str, object] = {
        "index": index.shown,
        "kind": index.kind,
        "items": len(index),
        "version": index.version,
        **figures,
        **{f"{name}_an_item": round(size / max(len(index), 1)) for name, size in sizes.items()},
        "step_seconds": index.step_seconds,
        "made_by": index.made_by,
        "encoder": None if note is None else note.encoder,
        "layer": None if note is None else note.layer,
    }
    settings = asdict(index.settings)
    if args.json:
        print_json({**summary, "varieties": varieties, "settings": settings})
        return 0
    rows = [[name, value] for name, value in summary.items()]
    rows += [[f"variety {name}", count] for name, count in varieties.items()]
    rows += [[f"setting {name}", value] for name, value in settings.items()]
    print_table(["figure", "value"], [[name, _text(value)] for name, value in rows])
    return 0


def _text(value: object) -> object:
    return None if value is None else str(value)


def _print(summary: dict[str, object], args: argparse.Namespace) -> None:
    if args.json:
        print_json(summary)
    else:
        print_table(["figure", "value"], [*map(list, summary.items())])
