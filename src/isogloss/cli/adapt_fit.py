"""`isogloss adapt fit`: learn a transform from some items of a corpus and keep it in a folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from isogloss.cli.adapt_options import (
    MODEL_HELP,
    add_encoding_options,
    items_of,
    share,
    talk_of_left_out,
)
from isogloss.cli.tables import print_json, print_table, talk
from isogloss.cli.verbs import WrongUsageError, add_verb

if TYPE_CHECKING:
    import argparse

    from isogloss.types import Item

__all__ = ["add_fit"]


def add_fit(verbs: argparse._SubParsersAction[Any]) -> None:
    """Declare `adapt fit`."""
    parser = add_verb(
        verbs,
        "fit",
        _fit,
        "learn a transform from some items of a corpus",
        "  isogloss adapt fit hf:models/a --corpus manifest.jsonl --split train \\\n"
        "      --transform zca --out zca\n"
        "  isogloss adapt fit hf:models/a --corpus manifest.jsonl --share 0.5 \\\n"
        "      --transform center+procrustes:target=eng --layer 2 --out maps\n"
        "  isogloss adapt fit steps --corpus manifest.jsonl --on steps --transform zca --out z\n"
        "\n"
        "transforms: identity unit center shift zca cbie outliers abtt iterative subspace lda ot\n"
        "lstsq ridge procrustes cca lowrank; options follow as :KEY=VALUE,KEY=VALUE, and + joins\n"
        "several. The folder remembers what it was fitted on, and judging refuses those items.",
    )
    parser.add_argument("model", help=MODEL_HELP)
    add_encoding_options(parser)
    parser.add_argument("--transform", required=True, metavar="SPEC", help="what to fit")
    parser.add_argument("--out", type=Path, required=True, help="folder for the fitted transform")
    parser.add_argument(
        "--share",
        type=share,
        metavar="S",
        help="fit on that share of the meanings, such as 0.5, and leave the rest to judge on",
    )
    parser.add_argument("--seed", type=int, help="of --share; default 0")
    parser.add_argument(
        "--layer", type=int, help="0 the embedding, i block i; default the model's own"
    )
    parser.add_argument(
        "--on",
        choices=("pooled", "steps"),
        default="pooled",
        help="fit on one vector an item, or on all its steps; default pooled",
    )


def _fit(args: argparse.Namespace) -> int:
    if args.seed is not None and args.share is None:
        raise WrongUsageError("--seed draws the meanings of --share; name one")
    if args.on == "steps" and args.pool != "mean":
        raise WrongUsageError("--pool says how steps become a vector; --on steps keeps them")
    from isogloss.adapt.folders import join_fitted
    from isogloss.adapt.model_vectors import STEPS, encode_model
    from isogloss.adapt.registry import make_transform
    from isogloss.corpora.jsonl import read_corpus

    transform = make_transform(args.transform)
    items = _to_fit_on(args, items_of(read_corpus(args.corpus), args.split, args.varieties))
    found = encode_model(
        args.model,
        items,
        layers=None if args.layer is None else [args.layer],
        pool=STEPS if args.on == "steps" else args.pool,
        device=args.device,
        cache=args.cache,
    )[0]
    transform.fit(found.vectors, varieties=found.varieties, meanings=found.meanings)
    # Vectors of a folder may themselves stand on items, which are then not fit to judge on either.
    transform.fitted_ = join_fitted(transform.require_fitted(), found.fitted)
    transform.save(args.out)
    fitted = transform.require_fitted()
    told: dict[str, object] = {
        "out": str(args.out),
        "transform": transform.spec,
        "items": len(fitted.ids),
        "meanings": len(fitted.meanings),
        "varieties": len(fitted.varieties),
        "dimensions": "{} to {}".format(*transform.dimensions_),
        "parameters": transform.parameters,
        "signed": transform.signed(),
    }
    if args.json:
        print_json({**told, "notes": list(transform.notes_), "skipped": dict(found.skipped)})
    else:
        print_table(["figure", "value"], [[name, str(value)] for name, value in told.items()])
    for note in transform.notes_:
        talk(f"note: {note}")
    talk_of_left_out(found.skipped)
    return 1 if found.skipped else 0


def _to_fit_on(args: argparse.Namespace, items: list[Item]) -> list[Item]:
    if args.share is None:
        return items
    from isogloss.adapt.split import divide_by_meaning

    chosen, _ = divide_by_meaning(
        [item.meaning for item in items], share=args.share, seed=args.seed or 0
    )
    return [items[i] for i in chosen]
