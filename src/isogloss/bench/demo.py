"""A time budget in; synthetic dialects, a trained encoder, retrieval results and a page out.

The whole chain in one call: `corpora.synth` speaks, `training` learns from transcripts alone,
`run_benchmark` retrieves across varieties, `write_report` draws. Called by `isogloss demo`.
"""

from __future__ import annotations

import dataclasses
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from isogloss._files import write_json
from isogloss.bench.latex import write_latex
from isogloss.bench.pictures import write_layers_png, write_matrix_png
from isogloss.bench.report import write_report
from isogloss.bench.run import RunConfig, run_benchmark
from isogloss.bench.summary import write_results_csv, write_results_json

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from isogloss.bench.store import RunResult
    from isogloss.training.config import TrainConfig
    from isogloss.types import Corpus

__all__ = ["DemoConfig", "DemoResult", "run_demo"]

SIZE = "micro"
# Loading libraries, encoding, retrieving and drawing take about this long on two slow cores.
_RESERVE_SECONDS = 75.0
# Shorter training than this shows nothing, however little time is left.
_LEAST_TRAINING_MINUTES = 0.2
# A run that is meant to end within `minutes` aims a little earlier.
_SHARE_OF_BUDGET = 0.93
# From here on there is time to hear more sentences.
_LONG_MINUTES = 30.0


@dataclass(frozen=True, slots=True)
class DemoConfig:
    """One demonstration.

    Attributes:
        minutes: the whole call is planned to end within this; what synthesis and evaluation leave
            is spent on training.
        transcripts: what CTC learns: 'standard' (Mandarin wording), 'dialect' (the variety's own
            characters) or 'both'.
        varieties: any of cmn, yue, hak, nan.
        train_sentences: for each variety; None takes 3,000, or 6,000 from 30 minutes on.
        test_sentences: spoken in every variety, the 50 survey sentences first.
        seed: of sentences, speakers, weights and batches.
    """

    minutes: float = 15.0
    transcripts: Literal["standard", "dialect", "both"] = "standard"
    varieties: tuple[str, ...] = ("cmn", "yue", "hak")
    train_sentences: int | None = None
    test_sentences: int = 100
    seed: int = 1

    def __post_init__(self) -> None:
        if not self.minutes > 0:
            raise ValueError(f"minutes must be above 0, got {self.minutes}")
        if len(self.varieties) < 2:
            raise ValueError(f"retrieval needs two varieties, got {self.varieties}")
        if self.test_sentences < 2:
            raise ValueError(f"test_sentences must be at least 2, got {self.test_sentences}")
        if self.transcripts not in ("standard", "dialect", "both"):
            raise ValueError(f"transcripts '{self.transcripts}' is not standard, dialect or both")

    @property
    def sentences(self) -> int:
        """Training sentences of each variety."""
        if self.train_sentences is not None:
            return self.train_sentences
        return 6000 if self.minutes >= _LONG_MINUTES else 3000

    @property
    def name(self) -> str:
        """Name of the folder of this run, told apart by everything that changes it."""
        parts = [self.transcripts, f"{self.minutes:g}min", "-".join(self.varieties)]
        return "_".join([*parts, f"{self.sentences}x{self.test_sentences}", f"seed{self.seed}"])


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What a demonstration gave: stored results (trained, mel, random), their summary, files."""

    results: tuple[RunResult, ...]
    summary: dict[str, Any]
    report: Path
    json: Path


def run_demo(
    config: DemoConfig,
    out: Path,
    *,
    progress: bool = True,
    say: Callable[[str], None] | None = None,
) -> DemoResult:
    """Run the demonstration in `out`; repeated, it goes on where it stopped.

    Writes `report.html`, `results.json`, `results.csv`, `matrix.tex`, `matrix.png` and
    `layers.png` to `out`, and keeps the corpus, the model and the encoded recordings below it. A
    demonstration with other settings shares `out` but for these six files, which are of the last.

    Args:
        config: what to run.
        out: created when absent.
        progress: bars on stderr.
        say: called with a line before each stage.

    Raises:
        MissingExtra: a library of the extra `speech` is not installed.
        IsoglossError: training or retrieval failed; the message says how.
    """
    from isogloss.corpora.synth import SynthConfig, make_corpus
    from isogloss.training.loop import train
    from isogloss.training.process import available_cores

    began = time.monotonic()
    say = say or (lambda _line: None)
    out = out.resolve()
    run = out / "runs" / config.name
    folder = out / f"corpus-{'-'.join(config.varieties)}-{config.sentences}-seed{config.seed}"
    synth = SynthConfig(
        varieties=config.varieties,
        train_sentences=config.sentences,
        test_sentences=config.test_sentences,
        seed=config.seed,
    )
    say(f"1/3 speaking {config.sentences} training sentences in each variety")
    corpus = make_corpus(synth, folder, jobs=available_cores(), progress=progress)
    say(f"2/3 training on {config.transcripts} transcripts; nothing in them is parallel")
    trained = train(
        _train_config(config, run, began),
        corpus=folder / "manifest.jsonl",
        folder=run / "model",
        quiet=not progress,
    )
    say("3/3 retrieving each test sentence of one variety among those of another")
    results = run_benchmark(
        corpus,
        RunConfig(
            encoders=(f"own:{run / 'model'}", "mel:", f"random:{SIZE}"),
            layers="all",
            transcripts="dialect" if config.transcripts == "dialect" else "standard",
            seed=config.seed,
        ),
        cache_dir=run / "cache",
        out=run / "bench",
        progress=progress,
        manifest=folder / "manifest.jsonl",
    )
    seconds = _seconds(run, began)
    summary = _written(
        config,
        out,
        run,
        corpus,
        results,
        {
            "seconds": seconds,
            "training": trained.to_dict(),
        },
    )
    return DemoResult(tuple(results), summary, out / "report.html", out / "results.json")


def _train_config(config: DemoConfig, run: Path, began: float) -> TrainConfig:
    """The recipe; the training time of an interrupted run is the one first decided."""
    from isogloss.speech.zipformer import ZipformerConfig
    from isogloss.training.config import TrainConfig

    plan = run / "demo.json"
    if plan.exists():
        minutes = json.loads(plan.read_text(encoding="utf-8"))["training_minutes"]
    else:
        left = _SHARE_OF_BUDGET * config.minutes * 60 - (time.monotonic() - began)
        minutes = max(_LEAST_TRAINING_MINUTES, (left - _RESERVE_SECONDS) / 60)
        write_json(plan, {"training_minutes": minutes, **dataclasses.asdict(config)})
    return TrainConfig(
        # Dropout, layer skipping, SpecAugment and masked channels are made for weeks of audio. In
        # six minutes on one core they cost 54 of 76 points of R@1 (docs/demo.md).
        shape=ZipformerConfig.of_size(
            SIZE, regularise=False, layer_skip=False, feature_mask=False, dropout=0.0
        ),
        transcripts=config.transcripts,
        specaugment=False,
        base_lr=0.045,
        warmup=150,
        max_batch_seconds=30.0,
        minutes=minutes,
        seed=config.seed,
        checkpoint_minutes=1.0,
        keep=1,
    )


def _seconds(run: Path, began: float) -> float:
    """Wall-clock seconds of the call that completed the demonstration; kept when repeated."""
    path = run / "seconds.json"
    if path.exists():
        return float(json.loads(path.read_text(encoding="utf-8"))["seconds"])
    seconds = round(time.monotonic() - began, 1)
    write_json(path, {"seconds": seconds})
    return seconds


def _written(
    config: DemoConfig,
    out: Path,
    run: Path,
    corpus: Corpus,
    results: Sequence[RunResult],
    extra: dict[str, Any],
) -> dict[str, Any]:
    write_report(
        results,
        corpus,
        out / "report.html",
        title="Cross-dialect speech retrieval on synthetic speech",
        train_logs={results[0].encoder: run / "model" / "train.jsonl"},
        note=(
            "All speech here is synthetic: one formant synthesiser reads every variety, so no "
            "number on this page says anything about real speakers. It shows that the chain works "
            f"and what {config.transcripts} transcripts tie together."
        ),
    )
    write_results_csv(results, out / "results.csv")
    write_latex(results, out / "matrix.tex")
    write_matrix_png(results, out / "matrix.png")
    write_layers_png(results, out / "layers.png")
    config_values = dataclasses.asdict(config)
    return write_results_json(results, out / "results.json", extra={**extra, "demo": config_values})
