"""A corpus and a configuration in; every encoder's retrieval, layers and CER out, kept on disk."""

from __future__ import annotations

import dataclasses
import platform
import sys
import time
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, Literal

from isogloss import __version__
from isogloss._config import read_config
from isogloss.bench.examples import choose_examples, map_examples
from isogloss.bench.layers import chosen_layers, encode_layers_once, layer_curve
from isogloss.bench.store import (
    RunRecord,
    RunResult,
    key_of,
    load_result,
    load_run,
    result_file,
    save_result,
    save_run,
)
from isogloss.corpora import content_sha
from isogloss.encoders import encoder_names, load_encoder
from isogloss.errors import IsoglossError, UnknownName
from isogloss.tasks import SpeechRetrieval, Transcription, measurement_to_dict
from isogloss.tasks.parallel import parallel_sets

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from isogloss.types import Corpus, Encoder, Measurement

__all__ = ["RunConfig", "read_recipe", "run_benchmark"]

SUITE = "speech_retrieval"
# Rows of single queries are stored up to this many; a table of 78 sites has 300 thousand.
_MOST_QUERIES_STORED = 30_000
# What does not change a number, or names the encoder, which has a key of its own.
_NOT_IN_KEY = ("encoders", "corpus", "device")


@dataclass(frozen=True, slots=True)
class RunConfig:
    """What to run; a recipe is this in TOML.

    Attributes:
        encoders: names for `load_encoder`; the first is the one that the report looks at, the
            others stand beside it ('mel:' the floor, 'random:tiny' the control).
        corpus: manifest, for recipes; relative to the recipe.
        by: what is compared: 'variety', 'site' or 'group'.
        split: only items of this split; where no item has one, all are taken.
        layer: of encoders that have several; None is the final output.
        layers: 'all' or some numbers: also measure each of these layers.
        score: 'seqsim' or 'cosine' of mean-pooled steps.
        adjust: 'none', 'csls' or 'margin'.
        neighbours: of csls, margin and xSIM.
        center: subtract each set's mean step first.
        center_split: split that gives the mean; None is the retrieved items themselves.
        hard: wrong answers that sound nearest, for 'hard R@1'.
        ks: cut-offs of R@k.
        bootstrap: resamples of every interval; 0 for none.
        level: of every interval.
        seed: of every interval and of the choice of examples.
        cer: also transcribe with encoders that can.
        transcripts: truth of CER: 'standard' or 'dialect'.
        examples: how many queries the report plays and maps.
        device: a torch device.
    """

    encoders: tuple[str, ...] = ()
    corpus: str | None = None
    by: Literal["variety", "site", "group"] = "variety"
    split: str | None = "test"
    layer: int | None = None
    layers: Literal["all"] | tuple[int, ...] | None = None
    score: Literal["seqsim", "cosine"] = "seqsim"
    adjust: Literal["none", "csls", "margin"] = "none"
    neighbours: int = 4
    center: bool = False
    center_split: str | None = None
    hard: int = 5
    ks: tuple[int, ...] = (1, 5, 10)
    bootstrap: int = 1000
    level: float = 0.95
    seed: int = 0
    cer: bool = True
    transcripts: Literal["standard", "dialect"] = "standard"
    examples: int = 8
    device: str = "cpu"

    def __post_init__(self) -> None:
        repeated = [name for name in self.encoders if self.encoders.count(name) > 1]
        if repeated:
            raise ValueError(f"encoder '{repeated[0]}' is named twice")
        for name in self.encoders:
            kind, colon, _ = name.partition(":")
            if not colon:
                raise ValueError(f"encoder '{name}' has no colon; write 'own:{name}' or 'mel:'")
            if kind not in encoder_names():
                raise UnknownName("encoder", kind, encoder_names())
        if self.layers is not None and self.layers != "all" and not isinstance(self.layers, tuple):
            raise ValueError(f"layers must be 'all' or a list of numbers, got {self.layers!r}")
        if self.examples < 0:
            raise ValueError(f"examples must not be negative, got {self.examples}")
        self.task()

    def task(self, cache_dir: Path | None = None, *, progress: bool = False) -> SpeechRetrieval:
        """The retrieval that this configuration describes; its layer is that of the encoder."""
        return SpeechRetrieval(
            by=self.by,
            split=self.split,
            score=self.score,
            adjust=self.adjust,
            neighbours=self.neighbours,
            center=self.center,
            center_split=self.center_split,
            hard=self.hard,
            ks=self.ks,
            bootstrap=self.bootstrap,
            level=self.level,
            seed=self.seed,
            cache_dir=cache_dir,
            progress=progress,
        )


def read_recipe(path: Path) -> RunConfig:
    """The configuration in a TOML recipe; its `corpus` and 'own:' paths start at its folder.

    Raises:
        IsoglossError: it is not TOML, or names no corpus or no encoder.
        UnknownName: a key or an encoder is unknown; near ones are offered.
        ValueError: a value has the wrong type or is not allowed.
    """
    config = read_config(RunConfig, path)
    if not config.corpus or not config.encoders:
        missing = "encoders" if config.corpus else "corpus"
        raise IsoglossError(f"{path}: '{missing}' is missing; a recipe names both")
    folder = path.resolve().parent
    encoders = tuple(
        f"own:{folder / name[4:]}" if name.startswith("own:") and name[4:] else name
        for name in config.encoders
    )
    return replace(config, corpus=str(folder / config.corpus), encoders=encoders)


def run_benchmark(
    corpus: Corpus,
    config: RunConfig,
    *,
    cache_dir: Path | None,
    out: Path,
    progress: bool = True,
    manifest: Path | None = None,
    say: Callable[[str], None] | None = None,
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

    Returns:
        One result for each encoder, in the order of `config.encoders`.

    Raises:
        IsoglossError: `out` holds results of another corpus or configuration, or no recording can
            be read.
        ValueError: no encoder is named, two sets share no meaning, or an encoder has no such layer.
        MissingExtra: torch or another needed package is not installed.
    """
    if not config.encoders:
        raise ValueError("no encoder is named; add for example 'own:exp/a' and 'mel:'")
    out = out.resolve()
    described = _described(corpus, manifest)
    _claim(out, config, described)
    results = []
    for name in config.encoders:
        encoder = _loaded(name, config)
        key = key_of([SUITE, described["sha"], _settings(config), encoder.made_by])
        result = _known(out, name, key)
        if result is None:
            result = _run_one(corpus, config, name, encoder, key, described, cache_dir, progress)
            save_result(result, out)
        if say is not None:
            say(_line(result))
        results.append(result)
    return results


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
    return {k: list(v) if isinstance(v, tuple) else v for k, v in plain.items()}


def _claim(out: Path, config: RunConfig, corpus: dict[str, Any]) -> None:
    """Write run.json, or refuse a folder that holds something else."""
    files = [result_file(name, SUITE) for name in config.encoders]
    settings = _settings(config)
    if (out / "run.json").exists():
        record = load_run(out)
        different = [k for k, v in settings.items() if record.config.get(k) != v]
        if record.corpus.get("sha") != corpus["sha"]:
            different.insert(0, "corpus")
        if different:
            raise IsoglossError(
                f"{out} holds results made with another {', '.join(different)}; "
                "choose another folder or remove this one"
            )
        files = list(dict.fromkeys([*files, *record.results]))
    save_run(RunRecord(settings, corpus, tuple(files)), out)


def _loaded(name: str, config: RunConfig) -> Encoder:
    # Log-mel frames have one layer; asking a whole run for layer 3 does not mean them.
    layer = None if name.startswith("mel:") else config.layer
    return load_encoder(name, layer=layer, device=config.device)


def _known(out: Path, name: str, key: str) -> RunResult | None:
    path = out / result_file(name, SUITE)
    if not path.is_file():
        return None
    result = load_result(path)
    return result if result.key == key else None


def _run_one(
    corpus: Corpus,
    config: RunConfig,
    name: str,
    encoder: Encoder,
    key: str,
    described: dict[str, Any],
    cache_dir: Path | None,
    progress: bool,
) -> RunResult:
    task = config.task(cache_dir, progress=progress)
    layers = chosen_layers(encoder, config.layers)
    seconds: dict[str, float] = {}
    clock = _Clock(seconds)
    if layers and cache_dir is not None:
        items = parallel_sets(corpus, by=config.by, split=config.split).items
        encode_layers_once(encoder, items, layers, cache_dir, progress=progress)
        clock.lap("encoding layers")
    found = task.retrieve(corpus, encoder)
    queries = sum(len(pair) for pair in found.pairs)
    retrieval = found.to_dict(items=queries <= _MOST_QUERIES_STORED)
    clock.lap("retrieval")
    curve = layer_curve(replace(task, progress=False), corpus, encoder, layers)
    clock.lap("layers")
    chosen = choose_examples(found, config.examples, seed=config.seed)
    examples = map_examples(chosen, found, corpus, encoder, cache_dir, center=config.center)
    clock.lap("examples")
    measured = _transcribed(config, corpus, encoder)
    clock.lap("transcription")
    return RunResult(
        encoder=name,
        made_by=encoder.made_by,
        suite=SUITE,
        key=key,
        config=_settings(config),
        corpus=described,
        retrieval=retrieval,
        layers=tuple(curve),
        transcription=tuple(measurement_to_dict(m) for m in measured),
        examples=tuple(examples),
        seconds=seconds,
        versions=_versions(),
    )


class _Clock:
    def __init__(self, seconds: dict[str, float]) -> None:
        self._seconds = seconds
        self._last = time.monotonic()

    def lap(self, name: str) -> None:
        now = time.monotonic()
        self._seconds[name] = round(now - self._last, 3)
        self._last = now


def _transcribed(config: RunConfig, corpus: Corpus, encoder: Encoder) -> list[Measurement]:
    """CER where the encoder can transcribe and the corpus has something to compare with."""
    # A control with random weights has the method but nothing to read with.
    if not config.cer or getattr(encoder, "tokenizer", None) is None:
        return []
    dialect = config.transcripts == "dialect"
    if not any(i.audio and (i.transcript or (not dialect and i.translation)) for i in corpus.items):
        return []
    task = Transcription(
        transcripts=config.transcripts,
        split=config.split,
        bootstrap=config.bootstrap,
        level=config.level,
        seed=config.seed,
    )
    return task.run(corpus, encoder)


def _versions() -> dict[str, str]:
    found = {"isogloss": __version__, "python": platform.python_version()}
    for package in ("numpy", "torch"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return {**found, "platform": f"{sys.platform} {platform.machine()}"}


def _line(result: RunResult) -> str:
    mean = result.measure("R@1")
    if mean is None:
        return f"{result.encoder}: done"
    interval = (
        "" if mean["low"] is None else f" [{100 * mean['low']:.1f}, {100 * mean['high']:.1f}]"
    )
    return f"{result.encoder}: R@1 {100 * mean['value']:.1f} %{interval}"
