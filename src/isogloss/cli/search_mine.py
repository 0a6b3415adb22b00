"""`isogloss search mine`: pairs of utterances that say the same, from two corpora."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from isogloss.cli.search_options import add_index_verb, index_place
from isogloss.cli.tables import print_json, print_table, talk
from isogloss.cli.verbs import WrongUsageError, at_least

if TYPE_CHECKING:
    import argparse

    from isogloss.search.mine import Mined, MiningSettings
    from isogloss.search.mine_gold import Gold
    from isogloss.search.mine_sides import Side
    from isogloss.search.mine_sources import Source

__all__ = ["add_mine"]


def add_mine(verbs: argparse._SubParsersAction[Any]) -> None:
    """Declare `search mine`."""
    parser = add_index_verb(
        verbs,
        "mine",
        _mine,
        "pairs of utterances that say the same, from two corpora or two varieties of one",
        "  isogloss search mine mandarin.jsonl cantonese.jsonl --encoder own:runs/a \\\n"
        "      --out pairs.tsv --threshold precision=0.95\n"
        "  isogloss search mine corpus/ --varieties cmn yue --encoder own:runs/a --out pairs.tsv\n"
        "  isogloss search mine index-a index-b --out pairs.jsonl --json\n\n"
        "A source is an index, a manifest (then --encoder is needed) or a folder that\n"
        "isogloss speech encode wrote. pairs.tsv: id_a, id_b, margin, score, rank_forward,\n"
        "rank_backward, tied; pairs.tsv.json beside it: threshold, estimates, curve, recipe.\n"
        "The same command goes on after an interruption.\n\n"
        "exit code: 1 when recordings were left out or no threshold reaches the precision",
        index=False,
    )
    parser.add_argument("first", type=index_place, help="index, manifest or folder of steps")
    parser.add_argument(
        "second",
        type=index_place,
        nargs="?",
        help="the other one; may be left out with --varieties",
    )
    parser.add_argument("--out", type=Path, required=True, help="pairs.tsv, or pairs.jsonl")
    parser.add_argument(
        "--varieties",
        nargs=2,
        metavar=("CODE", "CODE"),
        help="only items of the first variety from one side and of the second from the other",
    )
    _add_source_options(parser)
    _add_pair_options(parser)
    parser.add_argument(
        "--work",
        type=Path,
        metavar="FOLDER",
        help="where unfinished work is kept; named, it stays, and another margin, retrieval or "
        "threshold then takes seconds; default OUT.work, removed in the end",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def _add_source_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--encoder", metavar="NAME", help="own:FOLDER, hf:NAME_OR_PATH, onnx:FILE, mel:, ..."
    )
    parser.add_argument("--layer", type=int, help="of the encoder; default the last")
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1; default cpu")
    parser.add_argument("--cache", type=Path, help="folder in which every recording is kept")
    parser.add_argument("--split", help="of the manifests; default all")
    parser.add_argument(
        "--pool", action="store_true", help="cosine of means of steps: fast and worse than SeqSim"
    )
    parser.add_argument(
        "--center", action="store_true", help="with --pool, take each side's mean vector away"
    )
    parser.add_argument(
        "--probes",
        type=at_least(1),
        metavar="N",
        help="with --pool, look into the N nearest of 4 sqrt(items) cells only: for millions of "
        "items, approximate; default: every item",
    )
    parser.add_argument(
        "--candidates", type=at_least(1), help="of the search in an index; default its own"
    )


def _add_pair_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--margin",
        choices=("ratio", "distance", "absolute"),
        default="ratio",
        help="score over, or less, the mean of the neighbours' scores; default ratio",
    )
    parser.add_argument(
        "--neighbours", type=at_least(1), default=4, help="k of the margin; default 4"
    )
    parser.add_argument(
        "--retrieval",
        choices=("intersection", "forward", "backward", "max"),
        default="intersection",
        help="pairs that are best both ways, one way, or best first; default intersection",
    )
    parser.add_argument(
        "--threshold",
        default="auto",
        metavar="auto|NUMBER|precision=P",
        help="least margin; auto takes the best F1, precision=0.95 the lowest margin that keeps "
        "95 %% right; by known pairs where --gold is given, else estimated; default auto",
    )
    parser.add_argument(
        "--gold",
        metavar="meaning|FILE",
        help="known pairs: items that share a meaning, or a TSV of two ids a line",
    )
    parser.add_argument(
        "--gold-complete",
        action="store_true",
        help="items that --gold does not name have no partner; else nothing is known of them",
    )
    parser.add_argument(
        "--block", type=at_least(1), default=256, help="items asked for at a time; default 256"
    )
    parser.add_argument(
        "--ray-workers", type=at_least(0), default=0, help="ask with so many Ray workers"
    )
    parser.add_argument("--ray-address", help="of a running cluster, such as auto; default none")


def _mine(args: argparse.Namespace) -> int:
    import shutil

    from isogloss.search.mine import mine
    from isogloss.search.mine_files import summary_of, write_mined

    settings = _settings(args)
    if args.out.is_dir():
        raise WrongUsageError(f"--out {args.out} is a folder; name a file")
    work = args.work or args.out.with_name(args.out.name + ".work")
    first, second = _sources(args, work)
    gold = _gold(args, first, second)
    mined = mine(
        first.side,
        second.side,
        work / "blocks",
        settings=settings,
        gold=gold,
        work=_by_ray(args, work, settings.neighbours),
    )
    write_mined(mined, args.out)
    if args.work is None:
        shutil.rmtree(work)
    skipped = [*first.skipped, *second.skipped]
    if args.json:
        print_json({"out": str(args.out), **summary_of(mined), "skipped": dict(skipped)})
    else:
        print_table(["figure", "value"], _figures(args.out, mined))
    for name, problem in skipped:
        talk(f"{name}: {problem}")
    if mined.threshold is None and mined.candidates:
        talk(
            f"no threshold keeps a share of {settings.precision:g} right, so no pair was kept; "
            "the curve in the summary says what can be had"
        )
    return 1 if skipped or (mined.threshold is None and mined.candidates) else 0


def _by_ray(args: argparse.Namespace, work: Path, neighbours: int) -> Any:
    """What shares the blocks among Ray workers, or None to do them here."""
    if not args.ray_workers:
        if args.ray_address:
            raise WrongUsageError("--ray-address needs --ray-workers")
        return None
    import functools

    from isogloss.search.distributed import mining_work

    return mining_work(
        functools.partial(_sides, args, work.resolve()),
        neighbours,
        ray_workers=args.ray_workers,
        ray_address=args.ray_address,
    )


def _sides(args: argparse.Namespace, work: Path) -> tuple[Side, Side]:
    """Both sides again, in a worker; steps of manifests were encoded by the first process."""
    first, second = _sources(args, work)
    return first.side, second.side


def _settings(args: argparse.Namespace) -> MiningSettings:
    from isogloss.search.mine import MiningSettings

    name, _, value = args.threshold.partition("=")
    try:
        threshold: Any = name if name == "auto" or value else float(name)
        precision = float(value) if name == "precision" and value else 0.95
        return MiningSettings(
            neighbours=args.neighbours,
            margin=args.margin,
            retrieval=args.retrieval,
            threshold=threshold,
            precision=precision,
            block_items=args.block,
        )
    except ValueError as error:
        raise WrongUsageError(
            f"--threshold {args.threshold}: say auto, a number, or precision=0.95 ({error})"
        ) from error


def _sources(args: argparse.Namespace, work: Path) -> tuple[Source, Source]:
    from isogloss.search.mine_sources import SourceOptions, open_source

    if args.second is None and args.varieties is None:
        raise WrongUsageError("name a second source, or two --varieties of the first")
    if args.probes and not args.pool:
        raise WrongUsageError("--probes divides pooled vectors into cells; add --pool")
    if args.center and not args.pool:
        raise WrongUsageError("--center takes the mean of pooled vectors away; add --pool")
    varieties = args.varieties or (None, None)
    second = args.second or args.first
    if varieties[0] == varieties[1] and second == args.first:
        raise WrongUsageError("both sides are the same items; every one would find itself")
    options = SourceOptions(
        encoder=args.encoder,
        layer=args.layer,
        device=args.device,
        cache=args.cache,
        pool=args.pool,
        center=args.center,
        split=args.split,
        candidates=args.candidates,
        probes=args.probes,
    )
    return (
        open_source(args.first, work / "a", options, variety=varieties[0]),
        open_source(second, work / "b", options, variety=varieties[1]),
    )


def _gold(args: argparse.Namespace, first: Source, second: Source) -> Gold | None:
    from isogloss.search.mine_gold import gold_from_items, gold_from_tsv

    if args.gold is None:
        if args.gold_complete:
            raise WrongUsageError("--gold-complete says something about --gold; add it")
        return None
    if args.gold != "meaning":
        return gold_from_tsv(
            Path(args.gold), first.side.ids, second.side.ids, complete=args.gold_complete
        )
    if first.items is None or second.items is None:
        raise WrongUsageError("--gold meaning needs items: name manifests or indexes")
    return gold_from_items(first.items, second.items, complete=args.gold_complete)


def _figures(out: Path, mined: Mined) -> list[list[object]]:
    estimate = mined.estimate
    rows: list[list[object]] = [
        ["out", str(out)],
        ["items", f"{len(mined.ids_a)} and {len(mined.ids_b)}"],
        ["pairs before the threshold", mined.candidates],
        ["threshold", None if mined.threshold is None else f"{mined.threshold:.4f}"],
        ["pairs", len(mined.pairs)],
    ]
    if estimate.precision is not None:
        rows.append(
            [
                "estimated precision",
                f"{estimate.precision:.3f} ({estimate.low:.3f} to {estimate.high:.3f})",
            ]
        )
    for name, truth in (("known pairs", mined.truth), ("cross-fitted", mined.honest)):
        if truth is not None:
            shown = [
                f"{figure} {value:.3f}"
                for figure, value in (
                    ("precision", truth.precision),
                    ("recall", truth.recall),
                    ("F1", truth.f1),
                )
                if value is not None
            ]
            rows.append([name, ", ".join(shown) or "no pair judged"])
    return rows
