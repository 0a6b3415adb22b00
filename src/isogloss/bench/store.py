"""Results of runs on disk: one JSON file for each encoder and suite, whole or absent.

OUT/run.json                           what was run on which corpus, and the order of results
OUT/results/<suite>/<encoder>.json     one `RunResult`, written again after each of its tasks
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from isogloss._files import write_json
from isogloss.bench.migrate import FORMAT, migrated_result, migrated_run
from isogloss.errors import IsoglossError, UnknownName

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

__all__ = [
    "FORMAT",
    "RunRecord",
    "RunResult",
    "finished_suites",
    "load_results",
    "load_run",
    "load_runs",
    "save_result",
]

_RUN_KEY = "isogloss_run"
_RESULT_KEY = "isogloss_result"
_SLUG = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class RunResult:
    """What one encoder did in one suite: plain values, as they stand in its file.

    Attributes:
        encoder: the name that was asked for, such as 'own:exp/a'.
        made_by: everything that changes the encoder's values.
        suite: which experiment, such as 'demo'; 'speech_retrieval' for a manifest or recipe.
        key: checksum of corpus, settings and weights; results of another key are run again.
        config: the run's configuration.
        corpus: its name, sha, number of items, licence, source.
        retrieval: `RetrievalResult.to_dict()` of the suite's first retrieval; {} before it is
            done, or where the suite has none.
        layers: for each layer its number, label, and measurements by name.
        transcription: measurements of `Transcription`, the first over all items.
        examples: chosen queries with what they found and similarity maps (see `examples.py`).
        seconds: wall time by stage; none of a task that was left out.
        versions: of isogloss and what it computed with.
        tasks: for each task that is done, by its name in the suite, its entry (see `entries.py`).
    """

    encoder: str
    made_by: str
    suite: str
    key: str
    config: Mapping[str, Any]
    corpus: Mapping[str, Any]
    retrieval: Mapping[str, Any] = field(default_factory=dict)
    layers: tuple[Mapping[str, Any], ...] = ()
    transcription: tuple[Mapping[str, Any], ...] = ()
    examples: tuple[Mapping[str, Any], ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    tasks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def measure(self, name: str) -> Mapping[str, Any] | None:
        """The mean over all ordered pairs: 'value', 'low', 'high', 'n', ...; None when absent."""
        found: Mapping[str, Any] | None = self.retrieval.get("measures", {}).get(name)
        return found

    def pair(self, query: str, target: str) -> Mapping[str, Any] | None:
        """The stored pair from set `query` into set `target`; None when there is none."""
        for pair in self.retrieval.get("pairs", ()):
            if (pair["query"], pair["target"]) == (query, target):
                found: Mapping[str, Any] = pair
                return found
        return None


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One suite in `run.json`: configuration, corpus (with the manifest's path), result files."""

    config: Mapping[str, Any]
    corpus: Mapping[str, Any]
    results: tuple[str, ...] = ()
    suite: str = "speech_retrieval"


def save_result(result: RunResult, out: Path) -> Path:
    """Write one result under `out` and return its path; the file is whole or absent."""
    path = out / result_file(result.encoder, result.suite)
    write_json(path, {_RESULT_KEY: FORMAT, **dataclasses.asdict(result)})
    return path


def result_file(encoder: str, suite: str) -> str:
    """Where the result of `encoder` in `suite` lies below the output folder.

    The name is readable; a few digits of its checksum keep 'own:a/b' and 'own:a-b' apart.
    """
    slug = _SLUG.sub("-", encoder).strip("-.") or "encoder"
    digest = hashlib.sha256(encoder.encode()).hexdigest()[:6]
    return f"results/{suite}/{slug[-60:]}.{digest}.json"


def load_result(path: Path) -> RunResult:
    """The result in the file at `path`, of this format or an older one.

    Raises:
        IsoglossError: the file is damaged, no result, or of a newer format.
        OSError: it cannot be read.
    """
    values = _read(path, _RESULT_KEY)
    needed = {"encoder", "made_by", "suite", "key", "config", "corpus", "retrieval"}
    missing = sorted(needed - values.keys())
    if missing:
        raise IsoglossError(f"{path}: not a whole result, {missing[0]} is missing; run it again")
    values = migrated_result(values, values[_RESULT_KEY])
    names = {f.name for f in dataclasses.fields(RunResult)}
    chosen = {name: value for name, value in values.items() if name in names}
    for name in ("layers", "transcription", "examples"):
        chosen[name] = tuple(chosen.get(name, ()))
    return RunResult(**chosen)


def save_run(record: RunRecord, out: Path) -> None:
    """Write `record` into `out/run.json`, beside the records of other suites."""
    path = out / "run.json"
    records = load_runs(out) if path.is_file() else {}
    records[record.suite] = record
    suites = {
        name: {"config": r.config, "corpus": r.corpus, "results": list(r.results)}
        for name, r in records.items()
    }
    write_json(path, {_RUN_KEY: FORMAT, "suites": suites})


def load_runs(out: Path) -> dict[str, RunRecord]:
    """The record of every suite that was run in `out`, by its name.

    Raises:
        IsoglossError: there is none, it is damaged, or it is of a newer format.
    """
    path = out / "run.json"
    if not path.is_file():
        raise IsoglossError(
            f"{out} holds no run; make one with: isogloss bench run ... --out {out}"
        )
    values = _read(path, _RUN_KEY)
    try:
        suites = migrated_run(values, values[_RUN_KEY])["suites"]
        return {
            name: RunRecord(r["config"], r["corpus"], tuple(r["results"]), name)
            for name, r in suites.items()
        }
    except KeyError as error:
        raise IsoglossError(f"{path}: {error} is missing; run the benchmark again") from error


def load_run(out: Path, suite: str | None = None) -> RunRecord:
    """The record of the run in `out`; of `suite`, where several were run there.

    Raises:
        IsoglossError: as `load_runs`, or several suites were run and none is named.
        UnknownName: `suite` was not run there; near matches are offered.
    """
    records = load_runs(out)
    if suite is None and len(records) != 1:
        raise IsoglossError(f"{out} holds several suites: {', '.join(records)}; name one")
    name = next(iter(records)) if suite is None else suite
    if name not in records:
        raise UnknownName(f"suite in {out}", name, records)
    return records[name]


def load_results(out: Path, suite: str | None = None) -> list[RunResult]:
    """Every result of the run in `out`, in the run's order; also those with tasks still to do.

    Results that another process wrote into the same folder follow, by name.

    Args:
        out: the folder of a run.
        suite: which, where several were run there.

    Raises:
        IsoglossError: there is no run or no result, several suites were run and none is named, or
            a file is damaged or of a newer format.
        UnknownName: `suite` was not run there.
    """
    found = [load_result(path) for path in _files_of(load_run(out, suite), out)]
    if not found:
        raise IsoglossError(f"{out} holds no finished result; repeat the run to go on with it")
    return found


def finished_suites(out: Path) -> tuple[list[str], list[str]]:
    """Names of the suites run in `out` that have a result, and of those that have none yet.

    Raises:
        IsoglossError: as `load_runs`.
    """
    records = load_runs(out)
    with_results = [name for name, record in records.items() if _files_of(record, out)]
    return with_results, [name for name in records if name not in with_results]


def _files_of(record: RunRecord, out: Path) -> list[Path]:
    # Of several processes that began at once, run.json may only name the encoders of the last.
    others = sorted((out / "results" / record.suite).glob("*.json"))
    paths = dict.fromkeys([*(out / name for name in record.results), *others])
    return [path for path in paths if path.is_file()]


def _read(path: Path, key: str) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise IsoglossError(f"{path}: damaged ({error}); remove it and run again") from error
    version = values.get(key) if isinstance(values, dict) else None
    if not isinstance(version, int):
        raise IsoglossError(f"{path}: no '{key}' in it, so it is no such file of isogloss")
    if version > FORMAT:
        raise IsoglossError(
            f"{path}: written by a newer isogloss (format {version}, this one reads up to "
            f"{FORMAT}); upgrade isogloss"
        )
    found: dict[str, Any] = values
    return found


def key_of(parts: Sequence[Any]) -> str:
    """Hex checksum of JSON values."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
