"""`isogloss bench`: run retrieval benchmarks and report on them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from isogloss.cli.bench_suites import (
    add_compare,
    add_list,
    named_suite,
    run_named,
    suites_in,
    usage_checked,
)
from isogloss.cli.tables import print_json, print_table, talk

if TYPE_CHECKING:
    from collections.abc import Sequence

    from isogloss.bench import RunConfig, RunResult
    from isogloss.types import Corpus

__all__ = ["add_parser", "print_matrices"]

_RUN_EXAMPLE = """\
examples:
  isogloss bench run demo --encoder own:exp/a --out results
  isogloss bench run words-cmn-yue --encoder own:exp/a --encoder hf:NAME --data DIR --out results
  isogloss bench run corpus/manifest.jsonl --encoder own:exp/a --encoder mel: \\
      --encoder random:tiny --layers all --out results
  isogloss bench run yubao.jsonl --encoder own:exp/a --by site --center --out results-yubao
  isogloss bench run recipe.toml --out results

A suite is several tasks on one corpus (isogloss bench list); a copy of its TOML file, changed, runs
too. A recipe is one retrieval in TOML (corpus and own: paths start at its folder):
  corpus = "corpus/manifest.jsonl"
  encoders = ["own:exp/a", "mel:", "random:tiny"]
  by = "variety"
  layers = "all"

An interrupted run goes on where it was when the command is repeated; further encoders join the
results of the same folder.
"""
_REPORT_EXAMPLE = """\
examples:
  isogloss bench report results                       writes results/report.html
  isogloss bench report results --html page.html --csv --json --latex --png
"""
_ADJUSTMENTS = ("csls", "margin")


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `bench` with its verbs to the command line."""
    noun = subparsers.add_parser(
        "bench",
        help="run retrieval benchmarks and report on them",
        description="Run retrieval benchmarks and report on them.",
        epilog=_RUN_EXAMPLE + "\n" + _REPORT_EXAMPLE.partition("\n")[2],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = noun.add_subparsers(dest="verb", metavar="VERB", required=True)
    _add_run(verbs)
    add_list(verbs)
    add_compare(verbs)
    _add_report(verbs)


def _add_run(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    run = verbs.add_parser(
        "run",
        help="run a suite, or retrieve in a corpus, with every encoder and keep the results",
        description=(
            "Run every task of a suite, or one retrieval in a corpus, with every encoder, and keep "
            "the results; prints the comparison of a suite, or the matrix of R@1."
        ),
        epilog=_RUN_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    run.add_argument(
        "source",
        type=Path,
        metavar="SUITE|MANIFEST|RECIPE",
        help="a suite's name, a manifest, or a TOML file of a suite or recipe",
    )
    run.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of results")
    # Options of a run default to None, so that a recipe is changed only where one is given.
    run.add_argument(
        "--encoder",
        action="append",
        dest="encoders",
        metavar="NAME",
        help="own:FOLDER, mel:, random:SIZE[:SEED]; repeat it, the one under test first",
    )
    run.add_argument(
        "--data", type=Path, metavar="DIR", help="of a suite: its data; default: ISOGLOSS_DATA"
    )
    run.add_argument(
        "--task", action="append", dest="tasks", metavar="NAME", help="of a suite: only this one"
    )
    run.add_argument(
        "--no-floors",
        dest="floors",
        action="store_false",
        help="of a suite: without the floors that it names, such as mel: or ngram:",
    )
    run.add_argument("--by", choices=("variety", "site", "group"), help="default: variety")
    run.add_argument("--split", metavar="NAME", help="default: test; 'all' takes every item")
    run.add_argument("--layer", type=int, metavar="N", help="default: the final output")
    run.add_argument("--layers", metavar="all|N,N", help="also measure these layers")
    run.add_argument(
        "--score",
        choices=("seqsim", "cosine", *_ADJUSTMENTS),
        help="default: seqsim; csls and margin set SeqSim against its neighbourhood",
    )
    run.add_argument(
        "--center", "--centre", action="store_true", default=None, help="subtract each set's mean"
    )
    run.add_argument("--transcripts", choices=("standard", "dialect"), help="truth of CER")
    run.add_argument(
        "--no-cer",
        dest="cer",
        action="store_false",
        default=None,
        help="do not transcribe; by default every encoder that can is measured",
    )
    run.add_argument("--bootstrap", type=int, metavar="N", help="resamples; default 1000")
    run.add_argument("--seed", type=int, metavar="N", help="of intervals and examples")
    run.add_argument("--examples", type=int, metavar="N", help="queries to play; default 8")
    run.add_argument("--device", metavar="DEVICE", help="default: cpu")
    run.add_argument("--cache", type=Path, metavar="DIR", help="encoded items; default OUT/cache")
    run.add_argument("--quiet", action="store_true", help="no progress bars")
    run.add_argument("--json", action="store_true", help="print JSON instead of a table")
    run.set_defaults(handler=_run)


def _add_report(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    report = verbs.add_parser(
        "report",
        help="make the page, tables and pictures of a run",
        description="Make the page, tables and pictures of a run; prints the files written.",
        epilog=_REPORT_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    report.add_argument("folder", type=Path, metavar="DIR", help="what bench run wrote")
    report.add_argument("--suite", metavar="NAME", help="one of several in DIR; default: each")
    report.add_argument(
        "--html",
        type=Path,
        metavar="FILE",
        help="default: DIR/report.html; of several suites, each its own FILE-SUITE.html",
    )
    report.add_argument("--csv", action="store_true", help="also DIR/results.csv")
    report.add_argument("--json", action="store_true", help="also DIR/results.json")
    report.add_argument("--latex", action="store_true", help="also DIR/matrix.tex")
    report.add_argument("--png", action="store_true", help="also DIR/matrix.png, layers.png")
    report.add_argument("--manifest", type=Path, help="the corpus, when it has moved")
    report.add_argument("--title", metavar="TEXT", help="of the page")
    report.set_defaults(handler=usage_checked("report", _report))


def _run(args: argparse.Namespace) -> int:
    from isogloss.bench import Failure, run_benchmark, summarise
    from isogloss.corpora import read_corpus

    try:
        wanted = named_suite(args) or _config(args)
    except ValueError as error:
        talk(f"isogloss bench run: {error}")
        return 2
    if not isinstance(wanted, tuple):
        return run_named(args, wanted)
    manifest, config = wanted
    failures: list[Failure] = []
    results = run_benchmark(
        read_corpus(manifest),
        config,
        cache_dir=args.cache or args.out / "cache",
        out=args.out,
        progress=not args.quiet,
        manifest=manifest,
        say=talk,
        failures=failures,
    )
    if args.json:
        print_json(summarise(results))
    else:
        print_matrices(results)
    unreadable = sum(len(r.retrieval["unreadable"]) for r in results)
    for broken in results[0].retrieval["unreadable"][:10]:
        talk(f"left out {broken['item']}: {broken['reason']}")
    talk(f"page, tables and pictures: isogloss bench report {args.out}")
    for failure in failures:
        talk(f"failed: {failure}")
    return 1 if unreadable or failures else 0


def _config(args: argparse.Namespace) -> tuple[Path, RunConfig]:
    """Manifest and configuration; options given on the command line win over the recipe's."""
    from dataclasses import replace

    from isogloss.bench import RunConfig, read_recipe

    is_recipe = args.source.suffix == ".toml"
    config = read_recipe(args.source) if is_recipe else RunConfig(encoders=())
    names = ("by", "layer", "center", "transcripts", "cer", "bootstrap", "seed", "examples")
    given = {name: getattr(args, name) for name in (*names, "device")}
    given["encoders"] = tuple(args.encoders) if args.encoders else None
    given["layers"] = _layers(args.layers)
    if args.score is not None:
        adjusted = args.score in _ADJUSTMENTS
        given["score"] = "seqsim" if adjusted else args.score
        given["adjust"] = args.score if adjusted else "none"
    changes = {name: value for name, value in given.items() if value is not None}
    if args.split is not None:
        changes["split"] = None if args.split == "all" else args.split
    config = replace(config, **changes)
    if not config.encoders:
        raise ValueError("no encoder is named; add --encoder own:FOLDER or --encoder mel:")
    return Path(config.corpus) if is_recipe and config.corpus else args.source, config


def _layers(text: str | None) -> tuple[int, ...] | str | None:
    if text is None or text == "all":
        return text
    try:
        return tuple(int(number) for number in text.split(","))
    except ValueError as error:
        raise ValueError(f"--layers takes 'all' or numbers such as 0,3,6, got '{text}'") from error


def print_matrices(results: Sequence[RunResult]) -> None:
    """A table of R@1 for each encoder, then the means with intervals and baselines."""
    from isogloss.bench.summary import baseline_labels, group_cells, labels_of

    labels = labels_of([result.encoder for result in results])
    for result in results:
        names, cells = group_cells(result)
        rows: list[list[object]] = [
            [name, *(None if cell is None else f"{100 * cell['value']:.1f}" for cell in row)]
            for name, row in zip(names, cells, strict=True)
        ]
        # A title would be folded to the width of a table of three columns.
        talk("")
        print_table([f"{labels[result.encoder]}, R@1 in %", *names], rows)
    means: list[list[object]] = [_mean_row(labels[r.encoder], r, "R@1") for r in results]
    first = results[0]
    means += [_mean_row(text, first, name) for name, text in baseline_labels(first).items()]
    chance = first.retrieval["measures"]["R@1"]["signature"].get("chance")
    means.append(["chance", None if chance is None else f"{100 * chance:.1f}", None])
    shown = [row for row in means if row[1] is not None]
    print_table(["mean over ordered pairs", "R@1 in %", "interval"], shown)


def _mean_row(label: str, result: RunResult, measure: str) -> list[object]:
    mean = result.measure(measure)
    if mean is None:
        return [label, None, None]
    low, high = mean["low"], mean["high"]
    interval = None if low is None else f"{100 * low:.1f} to {100 * high:.1f}"
    return [label, f"{100 * mean['value']:.1f}", interval]


def _report(args: argparse.Namespace) -> int:
    from isogloss import bench

    suites = suites_in(args.folder, args.suite)
    written: list[Path] = []
    for suite in suites:
        results = bench.load_results(args.folder, suite)
        corpus = _corpus(args.manifest, results[0])
        # One suite keeps the plain names; of several each has its own.
        end = "" if len(suites) == 1 else f"-{suite}"
        page = args.html or args.folder / "report.html"
        page = page.with_name(f"{page.stem}{end}{page.suffix}")
        bench.write_report(results, corpus, page, title=args.title, train_logs=_train_logs(results))
        written += [page, *_files(args, results, end)]
    print_table(["written"], [[str(path)] for path in written])
    return 0


def _files(args: argparse.Namespace, results: Sequence[RunResult], end: str) -> list[Path]:
    """The files beside the page that were asked for; pictures need a retrieval."""
    from isogloss import bench

    written = []
    whole = [result for result in results if result.retrieval]
    if args.csv and whole:
        bench.write_results_csv(whole, args.folder / f"results{end}.csv")
        written.append(args.folder / f"results{end}.csv")
    if args.json:
        bench.write_results_json(results, args.folder / f"results{end}.json")
        written.append(args.folder / f"results{end}.json")
    if args.latex and whole:
        bench.write_latex(whole, args.folder / f"matrix{end}.tex")
        written.append(args.folder / f"matrix{end}.tex")
    if args.png and whole:
        bench.write_matrix_png(whole, args.folder / f"matrix{end}.png")
        written.append(args.folder / f"matrix{end}.png")
        if bench.write_layers_png(whole, args.folder / f"layers{end}.png"):
            written.append(args.folder / f"layers{end}.png")
    return written


def _corpus(manifest: Path | None, result: RunResult) -> Corpus | None:
    """The corpus of the run; None, with a word about it, when it has gone."""
    from isogloss.corpora import read_corpus

    stored = result.corpus.get("manifest")
    path = manifest or (Path(stored) if stored else None)
    if path is None or not path.exists():
        talk(f"the corpus {path or ''} is not there: the page has no recordings; use --manifest")
        return None
    corpus = read_corpus(path)
    if corpus.sha != result.corpus["sha"]:
        talk(f"{path} has changed since the run; recordings are shown where their ids still exist")
    return corpus


def _train_logs(results: Sequence[RunResult]) -> dict[str, Path]:
    """The training log beside each trained model, where there is one."""
    found = {}
    for result in results:
        kind, _, argument = result.encoder.partition(":")
        if kind != "own":
            continue
        for folder in (Path(argument), Path(argument).parent):
            if (folder / "train.jsonl").is_file():
                found[result.encoder] = folder / "train.jsonl"
                break
    return found
