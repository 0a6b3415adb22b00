"""A suite and a data folder in, its corpus and coverage out. Called by `run.py` and the CLI.

Data lies below the folder that a user names (`--data`), or that ISOGLOSS_DATA names; synthetic
speech is spoken where none is found.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isogloss.encoders.item_text import has_text
from isogloss.errors import IsoglossError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from isogloss.bench.suite import CorpusSpec, Suite
    from isogloss.types import Corpus

__all__ = ["Prepared", "find_data", "prepare_corpus"]

VARIABLE = "ISOGLOSS_DATA"
_SYNTHETIC = "isogloss-demo"
_NOTES = 10


@dataclass(frozen=True, slots=True)
class Prepared:
    """A suite's corpus, the manifest it stands in, and how much of it is there.

    `coverage` has 'by' and 'rows' of name, present and expected items; `notes` are lines
    about what a reader left out.
    """

    corpus: Corpus
    manifest: Path
    coverage: Mapping[str, Any]
    notes: tuple[str, ...] = ()


def find_data(suite: Suite, data: Path | None) -> Path | None:
    """The folder or manifest from which the suite's corpus would be read; None where there is none.

    Looked for in `data`, or else in the folder that ISOGLOSS_DATA names: the folder itself, then
    the one below it that the suite names.
    """
    spec = suite.corpus
    if spec.manifest is not None:
        path = Path(spec.manifest)
        return path if path.exists() else None
    given = data or (Path(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None)
    if given is None:
        return None
    if spec.synth is not None:
        return next((path for path in _manifests(given) if path.is_file()), None)
    if (given / spec.folder).is_dir() and _looks_right(given / spec.folder, spec):
        return given / spec.folder
    return given if given.is_dir() and spec.signs and _looks_right(given, spec) else None


def prepare_corpus(
    suite: Suite, data: Path | None, work: Path, *, jobs: int = 1, progress: bool = True
) -> Prepared:
    """Read (or speak) the corpus of `suite` and write its manifest.

    Args:
        suite: whose corpus.
        data: folder with the data; None takes the one that ISOGLOSS_DATA names.
        work: where the manifest and what a reader makes (joined recordings, synthetic speech) go.
        jobs: processes for speaking; the result does not depend on it.
        progress: bars on stderr.

    Raises:
        IsoglossError: the data is not there, or no folder `data`; the message says what is needed
            and where it was looked for.
        ValueError: the data cannot be read as the suite says.
    """
    from isogloss.corpora import read_corpus

    if data is not None and not data.exists():
        raise IsoglossError(f"{data}: no such folder; --data names one that is there")
    spec, found = suite.corpus, find_data(suite, data)
    if spec.synth is not None and found is None:
        found = _spoken(spec.synth, work, jobs, progress)
    if found is None:
        raise IsoglossError(_absent(suite, data))
    if spec.reader is not None:
        return _read(suite, found, work)
    corpus = read_corpus(found)
    manifest = found / "manifest.jsonl" if found.is_dir() else found
    return Prepared(corpus, manifest, _counted(corpus, suite))


def _manifests(folder: Path) -> Iterator[Path]:
    """Where a synthetic corpus may be: given itself, made by a run, or by `isogloss demo`."""
    if folder.suffix == ".jsonl":
        yield folder
        return
    yield folder / "manifest.jsonl"
    yield folder / _SYNTHETIC / "manifest.jsonl"
    yield from sorted(folder.glob("corpus-*/manifest.jsonl"))


def _looks_right(folder: Path, spec: CorpusSpec) -> bool:
    found = (next(folder.glob(pattern), None) for pattern in spec.signs)
    return not spec.signs or any(path is not None for path in found)


def _spoken(synth: Mapping[str, Any], folder: Path, jobs: int, progress: bool) -> Path:
    from isogloss._config import config_from_mapping
    from isogloss.corpora.synth import SynthConfig, make_corpus

    config = config_from_mapping(SynthConfig, synth)
    make_corpus(config, folder, jobs=jobs, progress=progress)
    return folder / "manifest.jsonl"


def _read(suite: Suite, folder: Path, work: Path) -> Prepared:
    from isogloss.corpora import write_corpus
    from isogloss.corpora.catalogue import load_reader

    reader = load_reader(str(suite.corpus.reader))
    absent: list[str] = []
    options = {k: _present(v, folder, absent) for k, v in suite.corpus.options.items()}
    if "work_folder" in {option.name for option in reader.options}:
        options.setdefault("work_folder", work / "joined")
    result = reader(folder, **options)
    if not result.corpus.items:
        reasons = "; ".join(f"{count} x {why}" for why, count in result.reasons().items())
        what = "sentence" if suite.of_text else "recording"
        raise IsoglossError(f"{folder}: no {what} of suite '{suite.name}' ({reasons})")
    manifest = work / "manifest.jsonl"
    skipped = list(result.skipped)
    if suite.corpus.speak is None:
        corpus = write_corpus(result.corpus, manifest)
    else:
        from isogloss.corpora.synth.speak import speak_corpus

        corpus, unspoken = speak_corpus(result.corpus, work, **suite.corpus.speak)
        skipped += unspoken
    if result.coverage is None:
        coverage = _counted(corpus, suite)
    else:
        counts = result.coverage.groups
        coverage = _coverage("group", {name: counts[name] for name in counts})
    notes = [f"{name}: not there, left out" for name in absent]
    notes += [f"{s.item}: {s.reason}; {s.remedy}" for s in skipped]
    if len(notes) > _NOTES:
        notes[_NOTES:] = [f"{len(notes) - _NOTES} more"]
    return Prepared(corpus, manifest, coverage, tuple(notes))


def _present(value: Any, folder: Path, absent: list[str]) -> Any:
    """A list without its words that end in '?' and name no folder in `folder`; others as is."""
    if not isinstance(value, list | tuple):
        return value
    kept = []
    for word in value:
        name = str(word).removesuffix("?")
        if name == word or next(folder.rglob(name), None) is not None:
            kept.append(name if isinstance(word, str) else word)
        else:
            absent.append(name)
    return kept


def _counted(corpus: Corpus, suite: Suite) -> dict[str, Any]:
    """Coverage of a corpus that does not say its full size: meanings that some set has."""
    split = next((t.options["split"] for t in suite.tasks if t.options.get("split")), None)
    with_splits = any(item.split == split for item in corpus.items)
    meanings: dict[str, set[str]] = {}
    for item in corpus.items:
        there = item.audio is not None or (suite.of_text and has_text(item))
        if not there or item.meaning is None or (with_splits and item.split != split):
            continue
        name = item.site if suite.corpus.by == "site" else item.variety
        meanings.setdefault(str(name), set()).add(item.meaning)
    expected = len(set().union(*meanings.values())) if meanings else 0
    # Collections of text pair some varieties and not others, so nobody knows what is missing.
    counts = {
        name: (len(found), len(found) if suite.of_text else expected)
        for name, found in meanings.items()
    }
    return _coverage(suite.corpus.by, counts)


def _coverage(by: str, counts: Mapping[str, tuple[int, int]]) -> dict[str, Any]:
    rows = [{"name": n, "present": p, "expected": e} for n, (p, e) in counts.items()]
    return {"by": by, "rows": rows}


def _absent(suite: Suite, data: Path | None) -> str:
    spec = suite.corpus
    if spec.manifest is not None:
        return f"suite '{suite.name}': {spec.manifest} is not there"
    given = data or os.environ.get(VARIABLE)
    where = f"{given} and {given}/{spec.folder} do not hold it" if given else "no folder was named"
    signs = f" with {', '.join(spec.signs)}" if spec.signs else ""
    return (
        f"suite '{suite.name}' needs {spec.needs or 'its data'}: a folder {spec.folder}{signs}; "
        f"{where}; name it with --data DIR or {VARIABLE}"
    )
