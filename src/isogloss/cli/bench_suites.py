"""`isogloss bench list` and `compare`, and `run` with a suite."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isogloss.cli.tables import print_json, print_table, talk
from isogloss.cli.verbs import at_least
from isogloss.errors import UnknownName

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from isogloss.bench import Comparison, Suite, SuiteRun

__all__ = [
    "add_compare",
    "add_list",
    "named_suite",
    "print_comparison",
    "run_named",
    "suites_in",
    "usage_checked",
]

_LIST_EXAMPLE = """\
examples:
  isogloss bench list                        the suites, and whether their data is found
  isogloss bench list --data /corpora
  isogloss bench list words-cmn-yue          the tasks of one, with their options
"""
_COMPARE_EXAMPLE = """\
examples:
  isogloss bench compare results
  isogloss bench compare results --baseline mel:
  isogloss bench compare results --suite demo --latex > table.tex
"""
# Options of `run` that only a manifest or recipe knows, and how they read on the command line.
_RECIPE_ONLY = {
    "by": "--by",
    "layer": "--layer",
    "layers": "--layers",
    "score": "--score",
    "center": "--center",
    "transcripts": "--transcripts",
    "cer": "--no-cer",
    "examples": "--examples",
}


def add_list(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb `list`."""
    parser = verbs.add_parser(
        "list",
        help="the suites, the data they need and whether it is found",
        description="The suites that come with isogloss, or the tasks of one.",
        epilog=_LIST_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("suite", nargs="?", metavar="SUITE", help="a suite or a TOML file")
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="where to look; default: ISOGLOSS_DATA"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.set_defaults(handler=usage_checked("list", _list))


def add_compare(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb `compare`."""
    parser = verbs.add_parser(
        "compare",
        help="encoders side by side, with paired tests and honest ties",
        description=(
            "Every measure of every encoder with its interval; each encoder is tested against the "
            "best of the measure, or against the baseline, on the items that both have."
        ),
        epilog=_COMPARE_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="the --out of a run")
    parser.add_argument("--suite", metavar="NAME", help="one of several in DIR; default: each")
    parser.add_argument("--baseline", metavar="ENC", help="test every encoder against this one")
    parser.add_argument(
        "--resamples",
        type=at_least(1),
        default=10_000,
        metavar="N",
        help="of every test; default 10000",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of every test")
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--csv", action="store_true", help="print CSV, a row for each number")
    output.add_argument("--latex", action="store_true", help="print a booktabs table")
    output.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.set_defaults(handler=usage_checked("compare", _compare))


def usage_checked(
    verb: str, handler: Callable[[argparse.Namespace], int]
) -> Callable[[argparse.Namespace], int]:
    """`handler` with a name that nothing has as wrong usage: one line and exit code 2."""

    def guarded(args: argparse.Namespace) -> int:
        try:
            return handler(args)
        except UnknownName as error:
            talk(f"isogloss bench {verb}: {error}")
            return 2

    return guarded


def suites_in(folder: Path, named: str | None) -> list[str]:
    """The suite that was named, or all that have a result; says which have none yet."""
    from isogloss.bench import finished_suites

    if named:
        return [named]
    finished, others = finished_suites(folder)
    if not finished:
        return others  # loading them says why there is none
    for name in others:
        talk(f"left out {name}: no result yet; repeat its run to go on with it")
    return finished


def _list(args: argparse.Namespace) -> int:
    from isogloss.bench import find_data, load_suite, suite_names

    if args.suite is not None:
        suite = load_suite(args.suite)
        tasks = [
            {
                "name": t.name,
                "task": t.task,
                "optional": t.optional,
                "options": {k: _plain(v) for k, v in t.options.items()},
            }
            for t in suite.tasks
        ]
        if args.json:
            print_json({"suite": suite.name, "about": suite.about, "tasks": tasks})
            return 0
        talk(f"{suite.name}: {suite.about}; floors {', '.join(suite.floors)}")
        rows: list[list[object]] = [
            [t.name, t.task, ", ".join(f"{k}={v}" for k, v in t.options.items())]
            for t in suite.tasks
        ]
        print_table(["task", "kind", "options"], rows)
        return 0
    listed = []
    for name in suite_names():
        suite = load_suite(name)
        found = find_data(suite, args.data)
        listed.append(
            {
                "suite": name,
                "about": suite.about,
                "tasks": len(suite.tasks),
                "needs": suite.corpus.needs,
                "folder": suite.corpus.folder or None,
                "found": None if found is None else str(found),
            }
        )
    if args.json:
        print_json(listed)
        return 0
    columns = ["suite", "about", "needs", "data found in"]
    print_table(columns, [[s["suite"], s["about"], s["needs"], s["found"]] for s in listed])
    return 0


def named_suite(args: argparse.Namespace) -> Suite | None:
    """The suite that `bench run` was asked for, with its options; None for a manifest or recipe.

    Raises:
        ValueError, IsoglossError: wrong usage: an unknown suite, task, encoder or option (near
            matches are offered), or a TOML file that is no suite.
    """
    import tomllib

    from isogloss.bench import load_suite, suite_names
    from isogloss.bench.recipe import check_names

    source = args.source
    if str(source) in suite_names():
        if source.exists():
            talk(f"running the suite {source}; for the folder of that name write ./{source}")
    elif source.suffix == ".toml" and source.is_file():
        try:
            if "tasks" not in tomllib.loads(source.read_text(encoding="utf-8")):
                return None
        except ValueError:
            return None  # the reader of recipes says what is wrong
    elif source.exists() or source.suffix or len(source.parts) != 1:
        return None
    suite = load_suite(source if source.suffix else str(source))
    check_names(tuple(args.encoders or ()))
    for name, option in _RECIPE_ONLY.items():
        if getattr(args, name) is not None:
            raise ValueError(
                f"{option} is for manifests and recipes; a suite says it for each task: copy its "
                "TOML file and change it there"
            )
    options = {k: getattr(args, k) for k in ("bootstrap", "seed") if getattr(args, k) is not None}
    if args.split is not None:
        options["split"] = None if args.split == "all" else args.split
    if not args.encoders and not (args.floors and suite.floors):
        raise ValueError("no encoder is named; add --encoder own:FOLDER or --encoder mel:")
    suite = suite.with_defaults(options) if options else suite
    return suite.only(tuple(args.tasks)) if args.tasks else suite


def run_named(args: argparse.Namespace, suite: Suite) -> int:
    """`isogloss bench run` with a suite: run it, print the comparison; 1 when something failed."""
    from isogloss.bench import run_suite
    from isogloss.training.process import available_cores

    done = run_suite(
        suite,
        tuple(args.encoders or ()),
        out=args.out,
        data=args.data,
        floors=args.floors,
        cache_dir=args.cache,
        device=args.device or "cpu",
        jobs=available_cores(),
        progress=not args.quiet,
        say=talk,
    )
    return _told(args, done)


def _told(args: argparse.Namespace, done: SuiteRun) -> int:
    from isogloss.bench import compare

    for note in done.notes:
        talk(f"left out {note}")
    if done.results:
        _tell_coverage(done.results[0].corpus.get("coverage", {}).get("rows", ()))
        found = compare(done.results, progress=not args.quiet)
        if args.json:
            print_json(found.to_dict())
        else:
            print_comparison(found, tests=False)
        talk(f"tests and other formats: isogloss bench compare {args.out}")
        talk(f"page, tables and pictures: isogloss bench report {args.out}")
    for failure in done.failures:
        talk(f"failed: {failure}")
    return 1 if done.failures else 0


def _tell_coverage(rows: Sequence[Mapping[str, Any]]) -> None:
    """How many of the expected recordings were there, where some were not."""
    if all(row["present"] == row["expected"] for row in rows):
        return
    present, expected = (sum(row[k] for row in rows) for k in ("present", "expected"))
    parts = ", ".join(f"{row['name']} {row['present']} of {row['expected']}" for row in rows)
    talk(f"recordings there: {present} of {expected} ({parts})")


def _compare(args: argparse.Namespace) -> int:
    from isogloss.bench import compare, compare_csv, compare_latex

    found = [
        compare(
            args.folder,
            suite=suite,
            baseline=args.baseline,
            resamples=args.resamples,
            seed=args.seed,
            progress=True,
        )
        for suite in suites_in(args.folder, args.suite)
    ]
    if args.json:
        print_json([one.to_dict() for one in found] if len(found) > 1 else found[0].to_dict())
    elif args.csv or args.latex:
        for one in found:
            sys.stdout.write(compare_csv(one) if args.csv else compare_latex(one))
    else:
        for one in found:
            if len(found) > 1:
                talk(f"\n{one.suite}")
            print_comparison(one)
    return 0


def print_comparison(found: Comparison, *, tests: bool = True) -> None:
    """The table, what its marks mean, and with `tests` every paired test."""
    from isogloss.bench.compare_table import notes_of, table_rows, test_rows

    print_table(*table_rows(found))
    _print_lines(notes_of(found))
    if tests and found.tests:
        _print_lines([""])
        print_table(*test_rows(found))
    encoders: dict[tuple[str, str], list[str]] = {}
    for task, encoder, reason in found.left_out:
        encoders.setdefault((task, reason), []).append(encoder)
    _print_lines(
        [f"{task}, not for {', '.join(of)} ({reason})" for (task, reason), of in encoders.items()]
    )


def _print_lines(lines: Sequence[str]) -> None:
    sys.stdout.writelines(line + "\n" for line in lines)


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value
