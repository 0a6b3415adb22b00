"""A suite or a configuration in; what every encoder did in each task out, kept on disk.

A `Suite` has several tasks; a `RunConfig` (a recipe) describes the suite of one retrieval with its
layers and CER. Both run here.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from isogloss.bench.data import prepare_corpus
from isogloss.bench.one_encoder import EXPECTED_ERRORS, EncoderRun, run_encoder
from isogloss.bench.progress_lines import Progress
from isogloss.bench.recipe import RunConfig, check_names, read_recipe
from isogloss.bench.store import RunRecord, RunResult, load_runs, result_file, save_run
from isogloss.bench.suite import Suite, TaskSpec, load_suite
from isogloss.corpora import content_sha
from isogloss.encoders import load_encoder
from isogloss.errors import IsoglossError
from isogloss.tasks import SpeechRetrieval

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from isogloss.types import Corpus, Encoder

__all__ = ["Failure", "RunConfig", "SuiteRun", "read_recipe", "run_benchmark", "run_suite"]

SUITE = "speech_retrieval"
# What does not change a number, or names the encoder, which has a key of its own.
_NOT_IN_KEY = ("encoders", "corpus", "device")


@dataclass(frozen=True, slots=True)
class Failure:
    """An encoder that could not be used, or, with `task`, one of its tasks that failed."""

    encoder: str
    task: str | None
    error: Exception

    def __str__(self) -> str:
        where = self.encoder if self.task is None else f"{self.encoder}, task {self.task}"
        reason = str(self.error) or type(self.error).__name__
        return f"{where}: {reason}"


@dataclass(frozen=True, slots=True)
class SuiteRun:
    """What a run gave: a result for each encoder that was usable, failures, and the corpus.

    `notes` say what the reader left out.
    """

    results: tuple[RunResult, ...]
    failures: tuple[Failure, ...] = ()
    corpus: Corpus | None = None
    notes: tuple[str, ...] = field(default=())


def run_suite(
    suite: Suite | str | Path,
    encoders: Sequence[str],
    *,
    out: Path,
    data: Path | None = None,
    tasks: Sequence[str] = (),
    floors: bool = True,
    options: Mapping[str, Any] | None = None,
    cache_dir: Path | None = None,
    device: str = "cpu",
    jobs: int = 1,
    progress: bool = True,
    say: Callable[[str], None] | None = None,
) -> SuiteRun:
    """Run every task of a suite with every encoder; each task is stored when it is done.

    Repeated after an interruption (`kill -9` too), it goes on with the task it was in: what is
    stored, made from the same corpus, options and weights, is not run again. Every recording is
    encoded once for each encoder, all layers in one pass, and kept in the cache, which all tasks
    share; transcribing alone reads the recordings again. An encoder or task that fails is reported
    and does not stop the others.

    Args:
        suite: a suite, its name ('demo', 'fleurs-sinitic', 'words-cmn-yue', 'yubao'), or a TOML
            file.
        encoders: names for `load_encoder`, those under test first.
        out: folder of the results; several suites may share it.
        data: folder with the suite's data; None takes the one that ISOGLOSS_DATA names.
        tasks: only these, by their names in the suite; all by default.
        floors: also run the suite's floors ('mel:', 'random:micro').
        options: values that replace the suite's in every task that has them: `bootstrap`, `split`.
        cache_dir: where encoded items are kept; `out`/cache by default.
        device: a torch device.
        jobs: processes for speaking a synthetic corpus.
        progress: bars on stderr.
        say: called with a line about each task as it is done, with an estimate of the time left.

    Returns:
        Results in the order of `encoders`, then floors, and what failed.

    Raises:
        UnknownName: an unknown suite, task, option or kind of encoder; near matches are offered.
        IsoglossError: the data is not there, or `out` holds results of another corpus or of tasks
            with other options.
        ValueError: no encoder is named, one is named twice, or the suite has a bad value.
    """
    chosen = suite if isinstance(suite, Suite) else load_suite(suite)
    if options:
        chosen = chosen.with_defaults(options)
    if tasks:
        chosen = chosen.only(tuple(tasks))
    names = (*encoders, *(name for name in chosen.floors if floors and name not in encoders))
    check_names(names)
    if not names:
        raise ValueError("no encoder is named; add for example 'own:exp/a' and 'mel:'")
    out = out.resolve()
    prepared = prepare_corpus(
        chosen, data, out / "corpora" / chosen.name, jobs=jobs, progress=progress
    )
    described = _described(prepared.corpus, prepared.manifest)
    return _run(
        chosen,
        prepared.corpus,
        names,
        described={**described, "coverage": dict(prepared.coverage)},
        config=_suite_settings(chosen),
        load=lambda name: load_encoder(name, device=device),
        cache_dir=cache_dir or out / "cache",
        out=out,
        progress=progress,
        say=say,
        notes=prepared.notes,
    )


def run_benchmark(
    corpus: Corpus,
    config: RunConfig,
    *,
    cache_dir: Path | None,
    out: Path,
    progress: bool = True,
    manifest: Path | None = None,
    say: Callable[[str], None] | None = None,
    failures: list[Failure] | None = None,
) -> list[RunResult]:
    """Run every encoder of `config` on `corpus` and keep each result in `out` when it is done.

    A repeated run goes on: an encoder whose result is there, made from the same corpus, settings
    and weights, is not run again. Results of further encoders join those in `out`.

    Args:
        corpus: items with audio and meanings.
        config: what to run; `config.corpus` is not read.
        cache_dir: where encoded items are kept, each encoded once; None keeps nothing.
        out: folder of the results.
        progress: bars on stderr.
        manifest: the corpus file, noted so that the report finds the recordings.
        say: called with a line about each encoder as it is done.
        failures: when a list is given, encoders that fail are appended here, as long as one does
            not; without it the first failure is raised, after the others were run.

    Returns:
        One result for each encoder that did not fail, in the order of `config.encoders`.

    Raises:
        IsoglossError: `out` holds results of another corpus or configuration, or no recording can
            be read.
        ValueError: no encoder is named, two sets share no meaning, or an encoder has no such layer.
        MissingExtra: torch or another needed package is not installed.
    """
    if not config.encoders:
        raise ValueError("no encoder is named; add for example 'own:exp/a' and 'mel:'")
    settings = _settings(config)
    done = _run(
        _suite_of(config, settings),
        corpus,
        config.encoders,
        described=_described(corpus, manifest),
        config=settings,
        load=lambda name: _loaded(name, config),
        cache_dir=cache_dir,
        out=out.resolve(),
        progress=progress,
        say=say,
    )
    whole = [result for result in done.results if result.retrieval]
    if done.failures and (failures is None or not whole):
        raise done.failures[0].error
    if failures is not None:
        failures += done.failures
    return whole


def _run(
    suite: Suite,
    corpus: Corpus,
    names: Sequence[str],
    *,
    described: dict[str, Any],
    config: dict[str, Any],
    load: Callable[[str], Encoder],
    cache_dir: Path | None,
    out: Path,
    progress: bool,
    say: Callable[[str], None] | None,
    notes: tuple[str, ...] = (),
) -> SuiteRun:
    config = _claim(out, suite, names, config, described)
    results: list[RunResult] = []
    failures: list[Failure] = []
    told = Progress(suite, names, say)
    for name in names:
        try:
            encoder = load(name)
        except EXPECTED_ERRORS as error:
            failures.append(Failure(name, None, error))
            told.failed(name, error)
            continue
        run = EncoderRun(suite, corpus, name, encoder, described, config, cache_dir, out, progress)
        result, failed = run_encoder(run, told.of(name))
        failures += [Failure(name, task.name, error) for task, error in failed]
        if result.tasks:
            results.append(result)
            told.finished(result)
    return SuiteRun(tuple(results), tuple(failures), corpus, notes)


def _described(corpus: Corpus, manifest: Path | None) -> dict[str, Any]:
    return {
        "name": corpus.name,
        "sha": corpus.sha or content_sha(corpus.items, corpus.root),
        "items": len(corpus),
        "licence": corpus.licence,
        "source": corpus.source,
        "manifest": None if manifest is None else str(manifest.resolve()),
    }


def _settings(config: RunConfig) -> dict[str, Any]:
    values = dataclasses.asdict(config)
    plain = {name: value for name, value in values.items() if name not in _NOT_IN_KEY}
    return {k: _plain(v) for k, v in plain.items()}


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _suite_settings(suite: Suite) -> dict[str, Any]:
    """What a result says of its suite; tasks by name, so that two runs can be compared."""
    return {
        "suite": suite.name,
        "about": suite.about,
        "by": suite.by,
        "level": suite.level,
        "seed": suite.seed,
        "examples": suite.examples,
        "tasks": {
            task.name: {"task": task.task, **{k: _plain(v) for k, v in task.options.items()}}
            for task in suite.tasks
        },
    }


def _suite_of(config: RunConfig, settings: Mapping[str, Any]) -> Suite:
    """The suite that a recipe describes."""
    wanted = {f.name for f in dataclasses.fields(SpeechRetrieval)} - {"layer"}
    options = {k: v for k, v in dataclasses.asdict(config).items() if k in wanted}
    tasks = [TaskSpec("retrieval", "retrieval", options, ("R@1", "MRR"))]
    if config.layers is not None:
        tasks.append(TaskSpec("layers", "layers", {"layers": config.layers}))
    if config.cer:
        shared = ("transcripts", "split", "bootstrap", "level", "seed")
        reading = {name: getattr(config, name) for name in shared}
        tasks.append(TaskSpec("transcription", "transcription", reading, ("CER",)))
    return Suite(
        SUITE,
        tuple(tasks),
        examples=config.examples,
        seed=config.seed,
        level=config.level,
        settings=settings,
    )


def _claim(
    out: Path,
    suite: Suite,
    names: Sequence[str],
    config: dict[str, Any],
    corpus: dict[str, Any],
) -> dict[str, Any]:
    """Write run.json, or refuse a folder that holds something else; the configuration there."""
    files = [result_file(name, suite.name) for name in names]
    records = load_runs(out) if (out / "run.json").exists() else {}
    record = records.get(suite.name)
    if record is not None:
        different = _differences(record.config, config)
        if record.corpus.get("sha") != corpus["sha"]:
            different.insert(0, "corpus")
        if different:
            raise IsoglossError(
                f"{out} holds results made with another {', '.join(different)}; "
                "choose another folder or remove this one"
            )
        files = list(dict.fromkeys([*files, *record.results]))
        if "tasks" in config:
            config = {**config, "tasks": {**record.config.get("tasks", {}), **config["tasks"]}}
    save_run(RunRecord(config, corpus, tuple(files), suite.name), out)
    return config


def _differences(stored: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    """Settings that differ; of tasks only those that both have, since tasks may be added."""
    found = [k for k, v in asked.items() if k not in ("tasks", "about") and stored.get(k) != v]
    known = stored.get("tasks", {})
    for name, options in asked.get("tasks", {}).items():
        if name in known and known[name] != options:
            changed = sorted(
                k for k in {*options, *known[name]} if options.get(k) != known[name].get(k)
            )
            found.append(f"{', '.join(changed)} of task '{name}'")
    return found


def _loaded(name: str, config: RunConfig) -> Encoder:
    # Log-mel frames have one layer; asking a whole run for layer 3 does not mean them.
    layer = None if name.startswith("mel:") else config.layer
    return load_encoder(name, layer=layer, device=config.device)
