"""The options of `isogloss measure`, and what they ask of the task."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from isogloss.cli.verbs import at_least

if TYPE_CHECKING:
    from isogloss.tasks.alignment import Alignment

__all__ = ["add_options", "alignment_of", "comma_list"]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare what is measured, on which items, and how exactly."""
    what = parser.add_argument_group("what is measured")
    what.add_argument(
        "--measures", type=comma_list, default=(), metavar="A,B", help="default all; see --explain"
    )
    what.add_argument(
        "--layers", type=_layers, metavar="all|N,N", help="0 the embedding, i block i; default all"
    )
    what.add_argument(
        "--site",
        type=comma_list,
        default=None,
        metavar="A,B",
        help="residual, mlp (neurons of feed-forward layers), attention; default the model's own, "
        "residual",
    )
    what.add_argument(
        "--pool",
        default="auto",
        metavar="HOW",
        help="mean, first, last, weighted (late steps count more), weighted-down, max; auto is "
        "weighted for decoders, else mean",
    )
    what.add_argument(
        "--form", choices=("value", "binary"), default="value", help="neurons by value, or on/off"
    )
    what.add_argument(
        "--transform", type=Path, metavar="DIR", help="of isogloss adapt fit, applied to vectors"
    )
    what.add_argument(
        "--floor",
        default="auto",
        metavar="ENCODER",
        help="measured beside the model; auto is ngram: for text and mel: for speech; none",
    )
    _add_items(parser)
    _add_detail(parser)


def _add_items(parser: argparse.ArgumentParser) -> None:
    items = parser.add_argument_group("on which items")
    items.add_argument("--by", choices=("variety", "site", "speaker"), default="variety",
                       help="what is compared; default variety")  # fmt: skip
    items.add_argument("--varieties", type=comma_list, default=(), metavar="A,B", help="only these")
    items.add_argument("--split", metavar="NAME", help="only items of this split; default all")
    items.add_argument(
        "--items", type=at_least(2), default=400, metavar="N", help="meanings at most; default 400"
    )
    items.add_argument(
        "--pairs",
        choices=("auto", "all", "pivot"),
        default="auto",
        help="auto is all pairs of up to 8 varieties, then those with the pivot",
    )
    items.add_argument("--pivot", default="eng", metavar="CODE", help="default eng, if it is there")
    items.add_argument(
        "--lexicon",
        type=Path,
        metavar="TSV",
        help="variety, word, variety, word; without it words written alike are partners",
    )


def _add_detail(parser: argparse.ArgumentParser) -> None:
    detail = parser.add_argument_group("how exactly")
    detail.add_argument("--neighbours", type=at_least(1), default=4, metavar="K",
                        help="of xSIM's margin; default 4")  # fmt: skip
    detail.add_argument("--cca-keep", type=at_least(1), metavar="K",
                        help="directions of SVCCA and PWCCA; default by --cca-share")  # fmt: skip
    detail.add_argument("--cca-share", type=float, default=0.99, metavar="S",
                        help="share of the variance they keep; default 0.99")  # fmt: skip
    detail.add_argument("--clusters", type=at_least(1), default=100, metavar="K",
                        help="concept clusters; default 100")  # fmt: skip
    detail.add_argument("--match", type=float, default=0.5, metavar="S",
                        help="CALIGN: share of types that must be translated; 0.5")  # fmt: skip
    detail.add_argument("--overlap", type=float, default=0.3, metavar="S",
                        help="COLAP: least share of each variety; 0.3")  # fmt: skip
    detail.add_argument("--words", type=at_least(2), default=200, metavar="N",
                        help="meanings whose words are measured; default 200")  # fmt: skip
    detail.add_argument("--gradients", type=at_least(2), default=24, metavar="N",
                        help="meanings whose gradients are taken; default 24")  # fmt: skip
    detail.add_argument(
        "--distances",
        type=comma_list,
        default=("genealogical", "geographic", "phones", "spelling"),
        metavar="A,B",
        help="held against the model's: genealogical, geographic, phones, spelling, typological "
        "(URIEL+, extra typology)",
    )
    detail.add_argument("--outlier-z", type=float, default=3.0, metavar="Z",
                        help="at which a dimension stands out; default 3")  # fmt: skip
    detail.add_argument("--bootstrap", type=at_least(0), default=200, metavar="N",
                        help="resamples of every interval; default 200")  # fmt: skip
    detail.add_argument("--seed", type=int, default=0, metavar="N", help="of every random choice")
    detail.add_argument("--memory", type=float, default=4.0, metavar="GIB",
                        help="that vectors may take; default 4")  # fmt: skip
    detail.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1; default cpu")


def alignment_of(args: argparse.Namespace) -> Alignment:
    """The task that the arguments ask for.

    Raises:
        UnknownName: a measure, distance or choice that there is not.
        ValueError: a number out of its range.
    """
    from isogloss.encoders.registry import EncoderName
    from isogloss.tasks.alignment import Alignment
    from isogloss.tasks.alignment_gradients import GradientOptions
    from isogloss.tasks.alignment_pairs import CcaOptions
    from isogloss.tasks.alignment_words import ConceptOptions

    own_site = EncoderName.of(args.model).options.get("site", "residual")
    return Alignment(
        measures=args.measures,
        layers=args.layers,
        sites=args.site or (own_site,),
        pool=args.pool,
        form=args.form,
        by=args.by,
        split=args.split,
        varieties=args.varieties,
        pivot=args.pivot,
        pairs=args.pairs,
        items=args.items,
        neighbours=args.neighbours,
        cca=CcaOptions(keep=args.cca_keep, share=args.cca_share),
        concepts=ConceptOptions(clusters=args.clusters, match=args.match, overlap=args.overlap),
        gradients=GradientOptions(meanings=args.gradients),
        lexicon=args.lexicon,
        word_meanings=args.words,
        distances=args.distances,
        outlier_z=args.outlier_z,
        transform=args.transform,
        bootstrap=args.bootstrap,
        seed=args.seed,
        memory_gib=args.memory,
        progress=not args.quiet,
    )


def comma_list(text: str) -> tuple[str, ...]:
    """The parts of 'a,b', without blanks; empty ones are dropped."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _layers(text: str) -> tuple[int, ...] | None:
    if text == "all":
        return None
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"'all' or numbers such as 0,3,6, got '{text}'") from error
