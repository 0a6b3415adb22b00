"""`isogloss corpus check`: the faults of a corpus by kind with examples, or every one of them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isogloss.cli.corpus_options import add_table_options, varieties_table
from isogloss.cli.tables import print_json, print_table, talk
from isogloss.cli.verbs import add_verb

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from isogloss.corpora.check import CheckReport, Finding

__all__ = ["add_check"]

_EXAMPLES = 3  # of each kind, so that one frequent kind cannot drown the others


def add_check(verbs: argparse._SubParsersAction[Any]) -> None:
    """Add the verb `check`."""
    parser = add_verb(
        verbs,
        "check",
        _check,
        "every fault of a corpus with its value and remedy; exit code 1 when there are errors",
        "  isogloss corpus check recordings/manifest.jsonl --jobs 4\n"
        "  isogloss corpus check recordings/manifest.jsonl --json > faults.json",
    )
    parser.add_argument("manifest", type=Path, help="manifest.jsonl, or the folder that holds it")
    parser.add_argument(
        "--probe",
        choices=("full", "header"),
        default="full",
        help="decode every recording, or read headers only (no silence, clipping, NaN); "
        "default full",
    )
    parser.add_argument("--jobs", type=int, default=1, help="recordings at a time; default 1")
    parser.add_argument(
        "--script", help="script of the transcripts (Hans, Hant, Latn, ...); default the variety's"
    )
    parser.add_argument("--long-seconds", type=float, default=60.0, help="warn above; default 60")
    parser.add_argument(
        "--absurd-seconds", type=float, default=600.0, help="error above; default 600"
    )
    parser.add_argument(
        "--all", action="store_true", help="list every finding, not a few examples of each kind"
    )
    add_table_options(parser)


def _check(args: argparse.Namespace) -> int:
    from isogloss.corpora.check import CheckLimits, check_corpus

    report = check_corpus(
        args.manifest,
        table=varieties_table(args),
        probe=args.probe,
        jobs=args.jobs,
        script=args.script,
        limits=CheckLimits(long_seconds=args.long_seconds, absurd_seconds=args.absurd_seconds),
    )
    if args.json:
        print_json(_report_record(report))
    else:
        _print_report(report, show_all=args.all)
    return 0 if report.ok else 1


def _report_record(report: CheckReport) -> dict[str, Any]:
    return {
        "ok": report.ok,
        "items": report.items,
        "with_audio": report.with_audio,
        "seconds": report.seconds,
        "errors": len(report.errors),
        "warnings": len(report.warnings),
        "counts": report.counts,
        "findings": [dataclasses.asdict(finding) for finding in report.findings],
    }


def _print_report(report: CheckReport, *, show_all: bool) -> None:
    if show_all:
        findings = [*report.errors, *report.warnings]
        if findings:
            print_table(
                ["severity", "item", "line", "kind", "value", "remedy"],
                [[f.severity, f.item, f.line, f.kind, f.value, f.remedy] for f in findings],
            )
    else:
        _print_by_kind(report)
    talk(
        f"{report.items} items, {report.with_audio} with audio, {report.seconds / 3600:.2f} h: "
        f"{len(report.errors)} errors, {len(report.warnings)} warnings"
    )


def _print_by_kind(report: CheckReport) -> None:
    by_kind: dict[str, list[Finding]] = {kind: [] for kind in report.counts}
    for finding in report.findings:
        by_kind[finding.kind].append(finding)
    if not by_kind:
        return
    print_table(
        ["severity", "kind", "findings", "remedy"],
        [[of[0].severity, kind, len(of), of[0].remedy] for kind, of in by_kind.items()],
    )
    examples = {kind: _examples(of) for kind, of in by_kind.items()}
    print_table(
        ["kind", "item", "line", "value"],
        [[kind, f.item, f.line, f.value] for kind, shown in examples.items() for f in shown],
        title="\nexamples",
    )
    left = len(report.findings) - sum(len(shown) for shown in examples.values())
    if left:
        talk(f"{left} more findings: --all or --json lists them")


def _examples(findings: Sequence[Finding]) -> list[Finding]:
    """A few findings of one kind in their order, those with other values before repeated ones."""
    seen: set[str] = set()
    order: list[tuple[bool, int]] = []
    for at, finding in enumerate(findings):
        order.append((finding.value in seen, at))
        seen.add(finding.value)
    return [findings[at] for at in sorted(at for _, at in sorted(order)[:_EXAMPLES])]
