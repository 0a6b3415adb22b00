"""`isogloss adapt apply`: a fitted transform on the vectors of a corpus, into a folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from isogloss.cli.adapt_options import MODEL_HELP, add_encoding_options, items_of, talk_of_left_out
from isogloss.cli.tables import print_json, print_table, talk
from isogloss.cli.verbs import WrongUsageError, add_verb

if TYPE_CHECKING:
    import argparse

__all__ = ["add_apply"]


def add_apply(verbs: argparse._SubParsersAction[Any]) -> None:
    """Declare `adapt apply`."""
    parser = add_verb(
        verbs,
        "apply",
        _apply,
        "a fitted transform on the vectors of a corpus",
        "  isogloss adapt apply zca hf:models/a --corpus manifest.jsonl --out vectors\n"
        "  isogloss adapt apply c own:runs/a --corpus manifest.jsonl --steps --out steps\n"
        "  isogloss search mine vectors other-vectors --pool --out pairs\n\n"
        "The folder has values.npy, offsets.npy and sequences.json, one step an item without\n"
        "--steps, and is read wherever a folder of speech encode is; applied.json names what the\n"
        "transform was fitted on, and isogloss adapt compare refuses to judge on that.",
    )
    parser.add_argument("transform", type=Path, help="folder that isogloss adapt fit wrote")
    parser.add_argument("model", help=MODEL_HELP)
    add_encoding_options(parser)
    parser.add_argument("--out", type=Path, required=True, help="folder for the vectors")
    parser.add_argument(
        "--layer", type=int, help="0 the embedding, i block i; default that of the fit"
    )
    parser.add_argument("--steps", action="store_true", help="change every step, do not pool")
    parser.add_argument(
        "--unfitted", action="store_true", help="leave out items and meanings it was fitted on"
    )
    parser.add_argument(
        "--inverse", action="store_true", help="undo the transform instead, where it can be"
    )


def _apply(args: argparse.Namespace) -> int:
    if args.steps and args.pool != "mean":
        raise WrongUsageError("--pool says how steps become a vector; --steps keeps them")
    from isogloss.adapt.folders import fitted_for, join_fitted, write_folder
    from isogloss.adapt.model_vectors import STEPS, encode_model, made_alike
    from isogloss.adapt.store import load_transform
    from isogloss.corpora.jsonl import read_corpus

    transform = load_transform(args.transform)
    fitted = transform.require_fitted()
    items = items_of(read_corpus(args.corpus), args.split, args.varieties)
    if args.unfitted:
        # A folder of vectors may stand on a transform of its own.
        known = join_fitted(fitted, fitted_for(Path(args.model)))
        items = [i for i in items if i.id not in known.ids and i.meaning not in known.meanings]
        if not items:
            raise ValueError(f"{args.transform} was fitted on all items or their meanings")
    found = encode_model(
        args.model,
        items,
        layers=None if args.layer is None else [args.layer],
        pool=STEPS if args.steps else args.pool,
        device=args.device,
        cache=args.cache,
        like=fitted.made_by,
    )[0]
    before = found.vectors.made_by
    if args.inverse:
        before = before.partition(f";{transform.signed()}")[0]
    if not made_alike(before, fitted.made_by):
        talk(f"note: the transform was fitted on {fitted.made_by}; these vectors are {before}")
    change = transform.inverse if args.inverse else transform.transform
    changed = change(found.vectors, varieties=found.varieties)
    known = join_fitted(fitted, found.fitted)
    write_folder(changed, args.out, fitted=known, signed=transform.signed())
    told: dict[str, object] = {
        "out": str(args.out),
        "transform": transform.signed(),
        "items": len(changed),
        "fitted on": sum(id_ in known.ids for id_ in changed.ids),
        "rows": len(changed.values),
        "dimensions": int(changed.values.shape[1]),
        "made_by": changed.made_by,
    }
    if args.json:
        print_json({**told, "skipped": dict(found.skipped)})
    else:
        print_table(["figure", "value"], [[name, str(value)] for name, value in told.items()])
    talk_of_left_out(found.skipped)
    return 1 if found.skipped else 0
