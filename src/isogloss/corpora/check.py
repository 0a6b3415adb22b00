"""Every fault of a corpus with its value and remedy, and the items that are fit for use.

Nothing here fails on a broken corpus: a broken line or file becomes a `Finding`.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Sized
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from isogloss.corpora.check_audio import AudioCheck, Probe, check_audio
from isogloss.corpora.check_findings import KINDS, CheckLimits, Finding, found
from isogloss.corpora.check_text import check_text
from isogloss.corpora.jsonl import (
    RefusedItem,
    content_sha,
    count_lines,
    manifest_path,
    read_header,
    read_records,
)
from isogloss.corpora.progress import with_progress
from isogloss.corpora.readers.result import Skipped
from isogloss.corpora.script import known_scripts
from isogloss.errors import BadRecord, UnknownName
from isogloss.types import Corpus, Item

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from isogloss.varieties import VarietyTable

__all__ = [
    "CheckLimits",
    "CheckReport",
    "Finding",
    "Skipped",
    "UsableCorpus",
    "check_corpus",
    "read_usable",
    "usable",
]

_LEAK_FIELDS = ("speaker", "meaning")
_WAITING_PER_JOB = 8  # items read ahead of the decoders: enough to keep them busy, no more


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What a check found: faults in the order of items, and what was looked at.

    `items` counts lines (or items) looked at, bad lines included; `seconds` is the sound of those
    whose length could be told; `durations` is that per item id.
    """

    findings: tuple[Finding, ...]
    items: int
    with_audio: int
    seconds: float
    durations: Mapping[str, float] = field(default_factory=dict)

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings that make items unfit for use."""
        return tuple(f for f in self.findings if f.severity == "error")

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """The findings to know about."""
        return tuple(f for f in self.findings if f.severity == "warning")

    @property
    def counts(self) -> dict[str, int]:
        """Findings of each kind that occurred, errors first, as in `KINDS`."""
        counted = Counter(f.kind for f in self.findings)
        return {kind: counted[kind] for kind in KINDS if counted[kind]}

    @property
    def ok(self) -> bool:
        """True without errors; warnings do not count."""
        return not self.errors


@dataclass(frozen=True, slots=True)
class UsableCorpus:
    """The items fit for use, those left out with their reasons, and the report behind it."""

    corpus: Corpus
    skipped: tuple[Skipped, ...]
    report: CheckReport


@dataclass(frozen=True, slots=True)
class _Entry:
    """One line or item on its way through the check."""

    item: Item | None
    line: int | None
    findings: tuple[Finding, ...]


def check_corpus(
    source: str | Path | Corpus | Iterable[Item],
    *,
    table: VarietyTable | None = None,
    probe: Probe = "full",
    jobs: int = 1,
    script: str | None = None,
    limits: CheckLimits | None = None,
    progress: bool = True,
) -> CheckReport:
    """Everything wrong with a manifest or with items in memory.

    A manifest is streamed and recordings are read in blocks, so memory grows with ids, speakers,
    meanings and findings only.

    Args:
        source: path of a manifest (or its folder), a corpus, or items.
        table: varieties that exist and the script of each; None is the built-in table.
        probe: "full" decodes every recording, "header" reads headers only.
        jobs: recordings decoded at the same time.
        script: ISO 15924 code that transcripts are in, whatever their variety; None is the script
            of the variety.
        limits: durations, levels and shares at which a finding begins.
        progress: a bar on stderr when the check takes longer than 2 s.

    Raises:
        OSError: the manifest itself cannot be opened.
        UnknownName: `script` or `probe` does not exist.
        ValueError: `jobs` is not positive.
        MissingExtra: a decoder is not installed.
    """
    if probe not in ("full", "header"):
        raise UnknownName("probe", probe, ("full", "header"))
    if script is not None and script not in known_scripts():
        raise UnknownName("script", script, known_scripts())
    if jobs < 1:
        raise ValueError(f"jobs must be 1 or more, got {jobs}")
    if table is None:
        from isogloss.varieties import builtin_table

        table = builtin_table()
    limits = limits or CheckLimits()
    entries, total = _entries(source, table)
    findings: list[Finding] = []
    durations: dict[str, float] = {}
    places: dict[tuple[str, str], set[str]] = defaultdict(set)
    items = with_audio = 0
    checked = _with_audio(entries, probe=probe, limits=limits, jobs=jobs)
    for entry, audio in with_progress(checked, "checking", total=total) if progress else checked:
        items += 1
        own = list(entry.findings)
        if entry.item is not None:
            item = entry.item
            with_audio += item.audio is not None
            own += audio.findings
            own += check_text(
                item,
                script=script or _script_of(item, table),
                seconds=audio.seconds,
                limits=limits,
            )
            if audio.seconds is not None:
                durations.setdefault(item.id, audio.seconds)
            for name in _LEAK_FIELDS:
                value = getattr(item, name)
                if item.split is not None and value is not None:
                    places[name, value].add(item.split)
        findings += [_on_line(f, entry.line) for f in own]
    findings += _leaks(places)
    if not items and isinstance(source, (str, Path)):
        findings.append(found(manifest_path(source).name, "no items", "0 items"))
    return CheckReport(
        tuple(findings), items, with_audio, float(sum(durations.values())), durations
    )


def _script_of(item: Item, table: VarietyTable) -> str | None:
    return table[item.variety].script if item.variety in table else None


def _on_line(finding: Finding, line: int | None) -> Finding:
    if line is None:
        return finding
    return Finding(
        finding.item, finding.kind, finding.severity, finding.value, finding.remedy, line
    )


def _entries(
    source: str | Path | Corpus | Iterable[Item], table: VarietyTable
) -> tuple[Iterator[_Entry], int | None]:
    if isinstance(source, (str, Path)):
        path = manifest_path(source)
        # An unreadable manifest is an error of the call, not a finding.
        return _entries_of_manifest(path, table), count_lines(path)
    items = source.items if isinstance(source, Corpus) else source
    total = len(items) if isinstance(items, Sized) else None
    return _entries_of_items(items, table), total


def _entries_of_manifest(path: Path, table: VarietyTable) -> Iterator[_Entry]:
    try:
        for line, record in read_records(path, table=table):
            if isinstance(record, RefusedItem):
                item = record.item
                yield _Entry(item, line, (found(item.id, record.kind, record.problem),))
            elif isinstance(record, BadRecord):
                value = f"{record.field}: {record.problem}"
                yield _Entry(None, line, (found(f"line {line}", "bad line", value),))
            else:
                yield _Entry(record, line, ())
    except BadRecord as error:  # a header of another version: nothing after it can be trusted
        value = f"{error.field}: {error.problem}"
        yield _Entry(None, error.line, (found(f"line {error.line}", "bad line", value),))
    except (OSError, EOFError) as error:  # a damaged .gz
        yield _Entry(None, None, (found(path.name, "bad line", f"cannot be read on: {error}"),))


def _entries_of_items(items: Iterable[Item], table: VarietyTable) -> Iterator[_Entry]:
    seen: set[str] = set()
    for item in items:
        findings = []
        if item.variety not in table:
            problem = str(UnknownName("variety", item.variety, table.codes))
            findings.append(found(item.id, "unknown variety", problem))
        if item.id in seen:
            findings.append(found(item.id, "duplicate id", f"'{item.id}' is there before"))
        seen.add(item.id)
        yield _Entry(item, None, tuple(findings))


def _with_audio(
    entries: Iterator[_Entry], *, probe: Probe, limits: CheckLimits, jobs: int
) -> Iterator[tuple[_Entry, AudioCheck]]:
    """Entries in their order, each with the check of its recording, `jobs` at a time."""
    nothing = AudioCheck((), None)

    def run(entry: _Entry) -> AudioCheck:
        if entry.item is None or entry.item.audio is None:
            return nothing
        return check_audio(entry.item, probe=probe, limits=limits)

    if jobs == 1:
        for entry in entries:
            yield entry, run(entry)
        return
    # Threads: decoders and numpy release the interpreter lock.
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(jobs))
        stack.callback(pool.shutdown, wait=False, cancel_futures=True)
        waiting: deque[tuple[_Entry, Future[AudioCheck]]] = deque()
        for entry in entries:
            waiting.append((entry, pool.submit(run, entry)))
            if len(waiting) >= jobs * _WAITING_PER_JOB:
                first, future = waiting.popleft()
                yield first, future.result()
        for first, future in waiting:
            yield first, future.result()


def _leaks(places: Mapping[tuple[str, str], set[str]]) -> list[Finding]:
    findings = []
    for (name, value), splits in sorted(places.items()):
        # dev serves to choose between models and may share with either; test may not with train.
        if {"train", "test"} <= splits:
            told = f"{name} '{value}' in {', '.join(sorted(splits))}"
            findings.append(found(value, f"{name} in two splits", told))
    return findings


def usable(
    items: Iterable[Item], report: CheckReport
) -> tuple[tuple[Item, ...], tuple[Skipped, ...]]:
    """The items without errors, and the others with their reasons.

    Of items with the same id the first is kept, when nothing else is wrong with it. A leak between
    splits is a fault of the split and skips no item. Bad lines, which are no items, are listed
    among the skipped.
    """
    faults: dict[str, list[Finding]] = defaultdict(list)
    skipped = []
    for finding in report.errors:
        if finding.kind == "bad line":
            skipped.append(_skip(finding.item, [finding]))
        elif finding.kind != "duplicate id" and not finding.kind.endswith("in two splits"):
            faults[finding.item].append(finding)
    kept = []
    seen: set[str] = set()
    for item in items:
        if item.id in seen:
            skipped.append(_skip(item.id, [found(item.id, "duplicate id", "id taken")]))
        elif item.id in faults:
            skipped.append(_skip(item.id, faults[item.id]))
        else:
            kept.append(item)
        seen.add(item.id)
    return tuple(kept), tuple(skipped)


def _skip(item: str, faults: list[Finding]) -> Skipped:
    reason = "; ".join(f"{f.kind}: {f.value}" for f in faults)
    return Skipped(item, reason, faults[0].remedy)


def read_usable(
    path: str | Path,
    *,
    table: VarietyTable | None = None,
    probe: Probe = "full",
    jobs: int = 1,
    script: str | None = None,
    limits: CheckLimits | None = None,
    progress: bool = True,
) -> UsableCorpus:
    """The items of a manifest that are fit for use; broken lines and files are skipped by name.

    Arguments and errors are those of `check_corpus`.
    """
    path = manifest_path(path)
    report = check_corpus(
        path, table=table, probe=probe, jobs=jobs, script=script, limits=limits, progress=progress
    )
    kept, skipped = usable(_readable(path, table), report)
    root = path.resolve().parent
    name, licence, source = path.stem, None, None
    try:
        header = read_header(path)
        name, licence, source = header.name, header.licence, header.source
    except BadRecord:
        kept = ()  # already in the report: a header of another version
    corpus = Corpus(name, kept, licence, source, content_sha(kept, root), str(root))
    return UsableCorpus(corpus, skipped, report)


def _readable(path: Path, table: VarietyTable | None) -> Iterator[Item]:
    try:
        for _, record in read_records(path, table=table):
            if isinstance(record, RefusedItem):
                yield record.item
            elif not isinstance(record, BadRecord):
                yield record
    except (BadRecord, OSError, EOFError):
        return  # in the report already
