"""A suite, a corpus and one encoder in; its result out, stored after each task. Called by `run.py`.

What is stored already, made from the same corpus, settings and weights, is not run again, so a run
that was killed goes on with the task it was killed in.
"""

from __future__ import annotations

import dataclasses
import platform
import sys
import time
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from isogloss import __version__
from isogloss.bench.entries import entry_of, pack_tables
from isogloss.bench.examples import choose_examples, map_examples
from isogloss.bench.layers import (
    LayerSweep,
    chosen_layers,
    encode_layers_once,
    has_layers,
    measurements_of,
)
from isogloss.bench.store import RunResult, key_of, load_result, result_file, save_result
from isogloss.bench.task_kinds import RETRIEVALS, load_task
from isogloss.encoders import encode_cached
from isogloss.errors import IsoglossError
from isogloss.tasks import SpeechRetrieval, Transcription, measurement_to_dict
from isogloss.tasks.parallel import parallel_sets
from isogloss.tasks.text_retrieval import TextRetrieval

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from isogloss.bench.suite import Suite, TaskSpec
    from isogloss.types import Corpus, Encoder, Item, Sequences

__all__ = ["EXPECTED_ERRORS", "EncoderRun", "run_encoder"]

# Rows of single queries are stored up to this many; a table of 78 sites has 300 thousand.
_MOST_QUERIES_STORED = 30_000
EXPECTED_ERRORS = (
    *(IsoglossError, ValueError, OSError, RuntimeError, ImportError, MemoryError),
    # Encoders and tasks of other packages meet a checkpoint or corpus they were not written for.
    *(LookupError, TypeError, AttributeError, ArithmeticError, AssertionError, EOFError),
)
"""What an encoder or a task may raise without ending the run of the others; it is reported."""


class NotApplicable(ValueError):
    """A task that has nothing to measure with this encoder or corpus; no failure."""


@dataclass(frozen=True, slots=True)
class EncoderRun:
    """What all tasks of one run of one encoder share."""

    suite: Suite
    corpus: Corpus
    name: str
    encoder: Encoder
    described: Mapping[str, Any]
    config: Mapping[str, Any]
    cache_dir: Path | None
    out: Path
    progress: bool = True

    @property
    def key(self) -> str:
        """Checksum of what the whole result rests on; tasks have keys of their own besides."""
        settings = dict(self.suite.settings)
        return key_of([self.suite.name, self.described["sha"], settings, self.encoder.made_by])

    @property
    def first_retrieval(self) -> TaskSpec | None:
        """The retrieval that the page shows in full."""
        return next((t for t in self.suite.tasks if t.task in RETRIEVALS), None)


@dataclass(slots=True)
class _Done:
    """What a task gave: its entry, and the sections of the result that it fills."""

    entry: dict[str, Any]
    sections: dict[str, Any] = field(default_factory=dict)


def run_encoder(
    run: EncoderRun, tell: Callable[[TaskSpec, str, float], None]
) -> tuple[RunResult, list[tuple[TaskSpec, Exception]]]:
    """Run every task of the suite that is not stored yet; each is stored when it is done.

    Args:
        run: the encoder and what it is run on.
        tell: called after each task with 'done', 'stored', 'left out' or 'failed' and seconds.

    Returns:
        The result with all that is done, and the tasks that failed with their errors.
    """
    result = _started(run)
    failed: list[tuple[TaskSpec, Exception]] = []
    waiting = [task for task in run.suite.tasks if not _is_stored(run, task, result)]
    seconds = dict(result.seconds)
    if any(task.task == "layers" for task in waiting):
        began = time.monotonic()
        if _layers_encoded(run):
            seconds["encoding layers"] = round(time.monotonic() - began, 3)
    for task in run.suite.tasks:
        if task not in waiting:
            tell(task, "stored", 0.0)
            continue
        began = time.monotonic()
        try:
            done = _run_task(run, task)
            state = "done"
        except EXPECTED_ERRORS as error:
            if not task.optional and not isinstance(error, NotApplicable):
                failed.append((task, error))
                tell(task, "failed", time.monotonic() - began)
                continue
            reason = str(error) or type(error).__name__
            done = _Done({"task": task.task, "show": list(task.show), "left_out": reason})
            state = "left out"
        took = time.monotonic() - began
        if state == "done":
            # What is left out is asked again by the next run: its time is no cost of the result.
            seconds[task.name] = round(took, 3)
        result = replace(
            result,
            **done.sections,
            tasks={**result.tasks, task.name: done.entry},
            seconds=seconds,
            versions=_versions(),
        )
        save_result(result, run.out)
        tell(task, state, took)
    return result, failed


def _started(run: EncoderRun) -> RunResult:
    """The stored result, if it holds for this corpus, these settings and weights; else none yet."""
    path = run.out / result_file(run.name, run.suite.name)
    if path.is_file():
        stored = load_result(path)
        if stored.key == run.key:
            # Which encoders, tasks and manifest this run names is news; the numbers are not.
            return replace(stored, config=run.config, corpus=run.described)
    return RunResult(
        encoder=run.name,
        made_by=run.encoder.made_by,
        suite=run.suite.name,
        key=run.key,
        config=run.config,
        corpus=run.described,
    )


def _is_stored(run: EncoderRun, task: TaskSpec, result: RunResult) -> bool:
    entry = result.tasks.get(task.name)
    if entry is None or "left_out" in entry:
        return False
    # Format 1 knew no keys of tasks; that of the whole result has been compared.
    return entry["key"] is None or entry["key"] == _task_key(run, task)


def _task_key(run: EncoderRun, task: TaskSpec) -> str:
    options = {k: list(v) if isinstance(v, tuple) else v for k, v in task.options.items()}
    shared: list[Any] = [run.suite.examples, run.suite.seed] if task is run.first_retrieval else []
    if task.task == "layers" and run.first_retrieval is not None:
        shared = [_task_key(run, run.first_retrieval)]
    return key_of([task.task, options, *shared])


def _task_of(run: EncoderRun, task: TaskSpec) -> Any:
    cls = load_task(task.task)
    options = dict(task.options)
    names = {f.name for f in dataclasses.fields(cls)}
    if "cache_dir" in names:
        options["cache_dir"] = run.cache_dir
    if "progress" in names:
        options["progress"] = run.progress
    if issubclass(cls, LayerSweep) and run.first_retrieval is not None:
        options["retrieval"] = _task_of(run, run.first_retrieval)
    return cls(**options)


def _layers_encoded(run: EncoderRun) -> bool:
    """Fill the cache with every wanted layer in one pass, before any task asks for one of them."""
    spec = next(task for task in run.suite.tasks if task.task == "layers")
    if run.cache_dir is None or run.first_retrieval is None:
        return False
    try:
        sweep = _task_of(run, spec)
        layers = chosen_layers(run.encoder, sweep.layers)
        if not layers:
            return False
        items = parallel_sets(run.corpus, by=sweep.retrieval.by, split=sweep.retrieval.split).items
        encode_layers_once(run.encoder, items, layers, run.cache_dir, progress=run.progress)
    except EXPECTED_ERRORS:
        # The tasks meet the same error, and it is theirs to report.
        return False
    return True


def _run_task(run: EncoderRun, spec: TaskSpec) -> _Done:
    task = _task_of(run, spec)
    key = _task_key(run, spec)
    if isinstance(task, SpeechRetrieval | TextRetrieval):
        return _retrieved(run, spec, task, key)
    if isinstance(task, LayerSweep):
        if not has_layers(run.encoder):
            raise NotApplicable("the encoder has one layer")
        curve = task.curve(run.corpus, run.encoder)
        entry = entry_of(spec.task, key, spec.show, measurements_of(curve))
        return _Done(entry, {"layers": tuple(curve)})
    if isinstance(task, Transcription):
        return _transcribed(run, spec, task, key)
    encoder = run.encoder
    if run.cache_dir is not None and not hasattr(task, "cache_dir"):
        encoder = _Cached(run.encoder, run.cache_dir, run.progress)
    measured = task.run(run.corpus, encoder)
    return _Done(entry_of(spec.task, key, spec.show, measured))


def _retrieved(
    run: EncoderRun, spec: TaskSpec, task: SpeechRetrieval | TextRetrieval, key: str
) -> _Done:
    found = task.retrieve(run.corpus, run.encoder)
    means = [mean for name in found.measures if (mean := found.mean(name)) is not None]
    measured = [*means, *found.buckets("distance"), *found.buckets("cognates")]
    entry = entry_of(spec.task, key, spec.show, measured)
    entry["tables"] = pack_tables(found)
    if spec is not run.first_retrieval:
        return _Done(entry)
    queries = sum(len(pair) for pair in found.pairs)
    chosen = choose_examples(found, run.suite.examples, seed=run.suite.seed)
    # Maps show moments of recordings; of sentences the page shows the words.
    examples = (
        chosen
        if isinstance(task, TextRetrieval)
        else map_examples(chosen, found, run.corpus, run.encoder, run.cache_dir, center=task.center)
    )
    retrieval = found.to_dict(items=queries <= _MOST_QUERIES_STORED)
    return _Done(entry, {"retrieval": retrieval, "examples": tuple(examples)})


def _transcribed(run: EncoderRun, spec: TaskSpec, task: Transcription, key: str) -> _Done:
    """CER where the encoder can transcribe and the corpus has something to compare with."""
    # A control with random weights has the method but nothing to read with.
    if getattr(run.encoder, "tokenizer", None) is None:
        raise NotApplicable("the encoder cannot transcribe")
    dialect = task.transcripts == "dialect"
    if not any(
        i.audio and (i.transcript or (not dialect and i.translation)) for i in run.corpus.items
    ):
        raise NotApplicable(f"the corpus has no {task.transcripts} transcripts")
    measured = task.run(run.corpus, run.encoder)
    entry = entry_of(spec.task, key, spec.show, measured)
    return _Done(entry, {"transcription": tuple(measurement_to_dict(m) for m in measured)})


class _Cached:
    """An encoder that keeps what it encodes, for tasks that know no cache."""

    def __init__(self, encoder: Encoder, cache_dir: Path, progress: bool) -> None:
        self._encoder, self._cache_dir, self._progress = encoder, cache_dir, progress

    @property
    def made_by(self) -> str:
        return self._encoder.made_by

    def encode(self, items: Sequence[Item]) -> Sequences:
        return encode_cached(self._encoder, items, self._cache_dir, progress=self._progress)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._encoder, name)


def _versions() -> dict[str, str]:
    found = {"isogloss": __version__, "python": platform.python_version()}
    for package in ("numpy", "torch"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return {**found, "platform": f"{sys.platform} {platform.machine()}"}
