"""`isogloss text encode`: step vectors, or one vector each, of every text of a corpus."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from isogloss.cli.tables import print_json, print_table, talk
from isogloss.cli.text_options import items_of_lines, text_items
from isogloss.cli.verbs import WrongUsageError, add_verb, at_least

if TYPE_CHECKING:
    import argparse

    from isogloss.types import Item, Sequences, Vectors

__all__ = ["add_encode"]

_EXAMPLE = """\
  isogloss text encode hf:xlm-roberta-base manifest.jsonl --layer 8 --pool mean --out vectors.npz
  isogloss text encode 'hf:models/llama?site=mlp' manifest.jsonl --layer 12 --out steps/
  isogloss text encode 'st:models/e5?prompt=query: ' lines.txt --variety deu --out vectors.npz
  isogloss text encode ngram: manifest.jsonl --out vectors.npz --json

options of an encoder follow its name: '?KEY=VALUE&KEY=VALUE' (in quotes, for the shell); hf: has
site=residual|mlp|attention, prompt=TEXT, pool_prompt=true, token=text|cls|eos, max_tokens=N,
language=CODE, dtype=float32|bfloat16|float16, batch_tokens=N; st: prompt, prompt_name, max_tokens.

FILE.npz: values, ids, made_by; without --pool also offsets (N + 1,) and, where they are known,
words: the number of its word for each step, -1 for none. A folder gets values.npy, offsets.npy and
words.npy, which can be mapped, and sequences.json; it is written share by share, and the same
command goes on after an interruption.

exit code: 1 when texts were left out (each is named on stderr with the reason)"""


def add_encode(verbs: argparse._SubParsersAction[Any]) -> None:
    """Declare `text encode`."""
    parser = add_verb(
        verbs, "encode", _encode, "vectors of every text of a corpus, from any encoder", _EXAMPLE
    )
    parser.add_argument(
        "encoder", help="hf:NAME_OR_PATH, st:NAME_OR_PATH, static:FILE, ngram:, ..."
    )
    parser.add_argument(
        "source", type=Path, help="manifest.jsonl, the folder that holds it, or lines of text.txt"
    )
    parser.add_argument("--out", type=Path, required=True, help="FILE.npz, or a folder")
    parser.add_argument(
        "--layer", type=int, help="0 the embedding, i the output of block i; default the last"
    )
    parser.add_argument(
        "--pool",
        choices=("mean", "first", "last", "weighted", "weighted-down", "max"),
        help="one vector a text; weighted: late tokens count most; default all steps",
    )
    parser.add_argument("--words", action="store_true", help="one step a word, the mean of its own")
    parser.add_argument("--split", help="of the manifest; default all")
    parser.add_argument("--variety", help="code of the lines of a .txt file; default und")
    parser.add_argument("--cache", type=Path, help="folder in which every text's steps are kept")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1; default cpu")
    parser.add_argument(
        "--ray-workers",
        type=at_least(0),
        default=0,
        help="encode with that many Ray workers (extra ray); --out must be a folder that all see",
    )
    parser.add_argument("--ray-address", help="of a running cluster, such as auto; default none")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def _encode(args: argparse.Namespace) -> int:
    to_file = args.out.suffix == ".npz"
    if not to_file and args.out.is_file():
        raise WrongUsageError(f"--out {args.out} is a file; name FILE.npz or a folder")
    if not to_file and (args.pool or args.words):
        raise WrongUsageError("--pool and --words write to a file; name one with --out FILE.npz")
    if args.pool and args.words:
        raise WrongUsageError("--pool gives one vector a text, --words one a word; choose one")
    if args.ray_workers and to_file:
        raise WrongUsageError("--ray-workers writes to a folder; name one with --out")
    if args.ray_address and not args.ray_workers:
        raise WrongUsageError("--ray-address needs --ray-workers")
    items = _items(args)
    summary, skipped = (_to_file if to_file else _to_folder)(args, items)
    if args.json:
        print_json({"out": str(args.out), **summary, "skipped": dict(skipped)})
    else:
        print_table(["figure", "value"], [["out", str(args.out)], *map(list, summary.items())])
    for name, problem in skipped:
        talk(problem if name in problem else f"{name}: {problem}")
    return 1 if skipped else 0


def _items(args: argparse.Namespace) -> list[Item]:
    from isogloss.encoders.registry import reads_text

    if not reads_text(args.encoder):
        raise WrongUsageError(
            f"{args.encoder} takes recordings; encode them with isogloss speech encode"
        )
    if args.source.suffix != ".txt":
        if args.variety is not None:
            raise WrongUsageError("--variety is for lines of a .txt file; a manifest has its own")
        return text_items(args.source, args.split)
    if args.split is not None:
        raise WrongUsageError("--split is of a manifest; lines of text have none")
    return items_of_lines(args.source, args.variety or "und")


def _to_folder(
    args: argparse.Namespace, items: list[Item]
) -> tuple[dict[str, object], list[tuple[str, str]]]:
    from isogloss.encoders.shards import encode_to_folder

    done = encode_to_folder(
        args.encoder,
        items,
        args.out,
        layer=args.layer,
        device=args.device,
        cache_dir=args.cache,
        ray_workers=args.ray_workers,
        ray_address=args.ray_address,
    )
    names = ("items", "steps", "dimensions", "made_by")
    return {name: getattr(done, name) for name in names}, list(done.skipped)


def _to_file(
    args: argparse.Namespace, items: list[Item]
) -> tuple[dict[str, object], list[tuple[str, str]]]:
    from isogloss.encoders.cache import encode_cached
    from isogloss.encoders.pool import pool, words_pool
    from isogloss.encoders.registry import load_encoder

    encoder = load_encoder(args.encoder, layer=args.layer, device=args.device)
    skipped: list[tuple[str, str]] = []
    steps = encode_cached(encoder, items, args.cache, skipped=skipped)
    found: Sequences | Vectors = steps
    if args.words:
        found = words_pool(steps)
    elif args.pool:
        found = pool(steps, args.pool)
    _write(found, args.out)
    return {
        "items": len(found),
        "steps": len(found.values),
        "dimensions": int(found.values.shape[1]),
        "made_by": found.made_by,
    }, skipped


def _write(found: Sequences | Vectors, out: Path) -> None:
    import numpy as np

    from isogloss._files import atomic_writer
    from isogloss.types import Sequences

    arrays: dict[str, Any] = {
        "values": found.values,
        "ids": np.array(found.ids),
        "made_by": np.array(found.made_by),
    }
    if isinstance(found, Sequences):
        arrays["offsets"] = found.offsets
        if found.words is not None:
            arrays["words"] = found.words
    with atomic_writer(out) as handle:
        np.savez(handle, **arrays)
