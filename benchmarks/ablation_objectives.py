"""What each way of learning from transcripts does to retrieval across varieties.

Run it with: python benchmarks/ablation_objectives.py --out ablation [--arms a,b] [--seeds 1,2,3]
Repeated, it goes on where it stopped; --only-report shows what is there.

The embedded synthetic corpus (cmn, yue, hak; training sentences of different varieties share no
meaning; test voices and test sentences are not trained on) is spoken once and features are computed
once. An encoder is trained on the Mandarin utterances alone for --start-steps; from there every arm
goes on for --steps on all three varieties, on the same batches. (Without that start, runs this
short end where CTC has just begun to spell, and all arms look alike.) Arms differ in the text they
see and in the loss:

    dialect                 transcripts in the variety's own characters; the yardstick
    standard                the Mandarin wording of every utterance
    both                    both texts, one output for each
    tagged                  both texts, one output, a tag first, one of the two drawn each epoch
    dialect+tenth           dialect, and the Mandarin wording of a tenth, in an output of its own
    dialect+tenth-inner     the same, the second output on the third of the six stacks
    dialect+lexicon         dialect, words replaced by the corpus' own word list (no sentence pairs)
    dialect+teacher         dialect, and the utterance vector pulled to n-grams of the same text
    dialect+contrastive     dialect, and InfoNCE against a text encoder reading the same text
    standard+teacher        standard, and the utterance vector pulled to n-grams of the same text
    standard+inner          standard, and CTC with the same text on the third stack

R@1 and controlled R@1 (against the five wrong answers nearest in sound; and in the third of the
pairs with the fewest cognates) are from SeqSim on the final states. Intervals are 95 % percentiles
of a bootstrap that draws seeds and sentences, the same for all arms, so that differences are
paired. With three seeds they say little about seeds.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

import isogloss
import isogloss.encoders.own
import isogloss.speech.decode
from isogloss._files import write_json, write_text
from isogloss.corpora import read_corpus, write_corpus
from isogloss.corpora.script import normalise_script
from isogloss.corpora.synth import SynthConfig, make_corpus
from isogloss.corpora.synth.lexicon import load_lexicon
from isogloss.encoders import load_encoder
from isogloss.measures import cer
from isogloss.speech.zipformer import ZipformerConfig
from isogloss.tasks.parallel import parallel_sets
from isogloss.tasks.speech_retrieval import SpeechRetrieval
from isogloss.training.config import TrainConfig
from isogloss.training.loop import train

if TYPE_CHECKING:
    from collections.abc import Sequence

    from isogloss.types import Corpus

VARIETIES = ("cmn", "yue", "hak")
PLAIN = "dialect"
INNER = 3
ARMS: dict[str, dict[str, Any]] = {
    "dialect": {"transcripts": "dialect"},
    "standard": {"transcripts": "standard"},
    "both": {"transcripts": "both"},
    "tagged": {"transcripts": "tagged"},
    "dialect+tenth": {"transcripts": "both", "standard_share": 0.1, "standard_weight": 3.0},
    "dialect+tenth-inner": {
        "transcripts": "dialect",
        "inter_ctc": 3.0,
        "inter_ctc_stacks": (INNER,),
        "inter_ctc_text": "standard",
        "standard_share": 0.1,
    },
    "dialect+lexicon": {"transcripts": "dialect", "lexicon": "lexicon.tsv"},
    "dialect+teacher": {"transcripts": "dialect", "pooled_teacher": 1.0},
    "dialect+contrastive": {"transcripts": "dialect", "contrastive": 0.3},
    "standard+teacher": {"transcripts": "standard", "pooled_teacher": 1.0},
    "standard+inner": {
        "transcripts": "standard",
        "inter_ctc": 0.43,
        "inter_ctc_stacks": (INNER,),
    },
}
# What each output of an arm spells; arms that are not here have one output that spells `dialect`.
OUTPUTS: dict[str, dict[str, tuple[str, ...]]] = {
    "standard": {"standard": ("standard",)},
    "both": {"standard": ("standard",), "dialect": ("dialect",)},
    "tagged": {"standard": ("standard", "dialect")},
    "dialect+tenth": {"standard": ("standard",), "dialect": ("dialect",)},
    "dialect+lexicon": {"standard": ("standard",)},
    "standard+teacher": {"standard": ("standard",)},
    "standard+inner": {"standard": ("standard",)},
}
RESAMPLES = 2000


def main(arguments: Sequence[str] | None = None) -> int:
    """Train and judge what is missing, then print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of everything")
    parser.add_argument("--arms", default=",".join(ARMS), help="comma-separated; default all")
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--steps", type=int, default=900, help="of every run; default 900")
    parser.add_argument("--start-steps", type=int, default=1200, help="on Mandarin; 0 for none")
    parser.add_argument("--batch-seconds", type=float, default=15.0)
    parser.add_argument("--sentences", type=int, default=3000, help="for each variety")
    parser.add_argument("--test-sentences", type=int, default=100)
    parser.add_argument("--corpus", type=Path, help="a corpus made before by `corpus synth`")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1, help="processes that speak the corpus")
    parser.add_argument("--only-report", action="store_true", help="train nothing")
    parser.add_argument("--markdown", action="store_true", help="only the tables, for a document")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    args = parser.parse_args(arguments)
    arms = args.arms.split(",")
    unknown = [arm for arm in arms if arm not in ARMS]
    if unknown:
        parser.error(f"no arm {unknown[0]!r}; arms are {', '.join(ARMS)}")
    seeds = [int(seed) for seed in args.seeds.split(",")]
    args.out.mkdir(parents=True, exist_ok=True)
    if not args.only_report:
        torch.set_num_threads(args.threads)
        corpus, manifest = the_corpus(args)
        start = the_start(args, corpus) if args.start_steps else None
        ties = write_lexicon(args.out / "lexicon.tsv")
        talk(f"{ties} words in the lexicon")
        # Seeds outside: the first table of all arms is there after a third of the time.
        todo = [(arm, seed) for seed in seeds for arm in arms]
        for number, (arm, seed) in enumerate(todo, start=1):
            path = result_path(args, arm, seed)
            if not path.exists():
                talk(f"{number}/{len(todo)} {arm}, seed {seed}")
                write_json(path, one_run(args, corpus, manifest, start, arm, seed))
    results = stored(args, arms, seeds)
    if not results:
        talk(f"nothing is stored in {args.out} for {args.steps} steps")
        return 1
    report = Report(results, seeds)
    text = report.markdown() if args.markdown else f"{report.heading(args)}\n\n{report.markdown()}"
    write_text(args.out / "report.md", text + "\n")
    sys.stdout.write(text + "\n")
    return 0


def talk(message: str) -> None:
    """Say it on stderr."""
    sys.stderr.write(message + "\n")


def the_corpus(args: argparse.Namespace) -> tuple[Corpus, Path]:
    """The corpus and its manifest; made in `out` unless one is named."""
    if args.corpus is not None:
        manifest = args.corpus / "manifest.jsonl"
        return read_corpus(manifest), manifest
    folder = args.out / "corpus"
    synth = SynthConfig(
        VARIETIES, args.sentences, test_sentences=args.test_sentences, transcripts="both", seed=1
    )
    corpus = make_corpus(synth, folder, jobs=args.jobs, progress=not args.quiet)
    return corpus, folder / "manifest.jsonl"


def write_lexicon(path: Path) -> int:
    """Words of the embedded lexicon that differ from the Mandarin word; how many comes out.

    A word with several Mandarin ones keeps the first: a list on paper would be as blunt.
    """
    rows: dict[tuple[str, str], str] = {}
    for entry in load_lexicon().values():
        standard = normalise_script(entry.word("cmn").characters, "Hans")
        for variety in VARIETIES[1:]:
            word = normalise_script(entry.word(variety).characters, "Hans")
            rows.setdefault((word, variety), standard)
    lines = [f"{w}\t{s}\t{variety}\n" for (w, variety), s in rows.items() if w != s]
    write_text(path, "dialect\tstandard\tvariety\n" + "".join(lines))
    return len(lines)


def result_path(args: argparse.Namespace, arm: str, seed: int) -> Path:
    """Where the result of one run lies."""
    return Path(args.out) / "results" / f"{arm}_seed{seed}_{args.steps}steps.json"


def stored(
    args: argparse.Namespace, arms: Sequence[str], seeds: Sequence[int]
) -> dict[str, dict[int, dict[str, Any]]]:
    """Results that are there, by arm and seed."""
    found: dict[str, dict[int, dict[str, Any]]] = {}
    for arm in arms:
        for seed in seeds:
            path = result_path(args, arm, seed)
            if path.exists():
                loaded = json.loads(path.read_text(encoding="utf-8"))
                found.setdefault(arm, {})[seed] = loaded
    return found


def recipe(
    args: argparse.Namespace, *, seed: int, steps: int, changes: dict[str, Any]
) -> TrainConfig:
    """How everything here is trained, with `changes`."""
    return TrainConfig(
        # As the demonstration: what keeps long runs from overfitting hinders short ones.
        shape=ZipformerConfig.of_size(
            "micro", regularise=False, layer_skip=False, feature_mask=False, dropout=0.0
        ),
        specaugment=False,
        base_lr=0.045,
        warmup=150,
        max_batch_seconds=args.batch_seconds,
        max_seconds=10.0,
        max_steps=steps,
        seed=seed,
        threads=args.threads,
        device="cpu",
        checkpoint_minutes=1.0,
        keep=1,
        dev_minutes=None,
        features=str((args.out / "features").resolve()),
        **changes,
    )


def the_start(args: argparse.Namespace, corpus: Corpus) -> Path:
    """The folder of an encoder trained on Mandarin, whose two texts are the same."""
    folder: Path = args.out / "start"
    items = tuple(i for i in corpus.items if i.variety == "cmn" and i.split == "train")
    manifest = folder / "corpus" / "manifest.jsonl"
    if not manifest.exists():
        write_corpus(replace(corpus, name="start", items=items, sha=None), manifest)
    run = folder / f"model_{args.start_steps}steps"
    talk(f"the start: {len(items)} utterances of Mandarin, {args.start_steps} steps")
    config = recipe(args, seed=0, steps=args.start_steps, changes={"transcripts": "dialect"})
    train(config, corpus=manifest, folder=run, quiet=args.quiet)
    return run


def one_run(
    args: argparse.Namespace,
    corpus: Corpus,
    manifest: Path,
    start: Path | None,
    arm: str,
    seed: int,
) -> dict[str, Any]:
    """Train and judge one arm with one seed; JSON values."""
    changes = dict(ARMS[arm])
    if "lexicon" in changes:
        changes["lexicon"] = str((args.out / changes["lexicon"]).resolve())
    if start is not None:
        changes["start_from"] = str(start.resolve())
    config = recipe(args, seed=seed, steps=args.steps, changes=changes)
    folder = args.out / "runs" / f"{arm}_seed{seed}_{args.steps}steps"
    began = time.monotonic()
    trained = train(config, corpus=manifest, folder=folder, quiet=args.quiet)
    return {
        "arm": arm,
        "seed": seed,
        "steps": trained.steps,
        "epochs": trained.epochs,
        "loss": trained.loss,
        "utterances": trained.utterances,
        "audio_seconds": trained.audio_seconds,
        "train_seconds": trained.train_seconds,
        "call_seconds": time.monotonic() - began,
        "changes": changes,
        "corpus_sha": corpus.sha,
        "isogloss": isogloss.__version__,
        "torch": torch.__version__,
        "machine": f"{platform.machine()}, {args.threads} thread(s)",
        "final": retrieved(corpus, folder, None),
        "inner": retrieved(corpus, folder, INNER),
        "cer": error_rates(corpus, folder, arm),
    }


def retrieved(corpus: Corpus, folder: Path, layer: int | None) -> list[dict[str, Any]]:
    """For each ordered pair of varieties and each meaning: found, found among look-alikes."""
    encoder = load_encoder(f"own:{folder}")
    result = SpeechRetrieval(split="test", layer=layer, bootstrap=0).retrieve(corpus, encoder)
    found: list[dict[str, Any]] = []
    for pair in result.pairs:
        hard, cognates = pair.beats_neighbours, pair.cognates
        if hard is None or cognates is None:
            raise ValueError("the corpus must tell phones and the share of cognates")
        found.append(
            {
                "query": pair.query,
                "target": pair.target,
                "meanings": list(pair.meanings),
                "hit": (pair.gold.ranks == 1).astype(int).tolist(),
                "hard": hard.astype(int).tolist(),
                "cognates": [round(float(value), 4) for value in cognates],
            }
        )
    return found


def error_rates(corpus: Corpus, folder: Path, arm: str) -> dict[str, Any]:
    """Errors and reference characters of each test item for each text that the arm spells."""
    encoder: Any = load_encoder(f"own:{folder}")
    items = [
        i for s in parallel_sets(corpus, by="variety", split="test").sets for i in s.items.values()
    ]
    found: dict[str, Any] = {}
    for head, texts in OUTPUTS.get(arm, {"standard": ("dialect",)}).items():
        read = [hypothesis.text for hypothesis in encoder.transcribe(items, head=head)]
        for text in texts:
            wanted = [(i.translation if text == "standard" else i.transcript) or "" for i in items]
            counts = cer(wanted, read, resamples=0).per_item
            if counts is None:
                raise ValueError("CER without counts of its items")
            found[text] = {
                "meanings": [item.meaning for item in items],
                "errors": counts[:, :3].sum(axis=1).astype(int).tolist(),
                "length": counts[:, 3].astype(int).tolist(),
            }
    return found


@dataclass(frozen=True)
class Ratio:
    """Numerators and denominators over (seeds, meanings); the figure is a quotient of sums."""

    top: np.ndarray[tuple[int, ...], np.dtype[np.float64]]
    bottom: np.ndarray[tuple[int, ...], np.dtype[np.float64]]

    @property
    def value(self) -> float:
        """The quotient of all sums."""
        return float(self.top.sum() / self.bottom.sum())

    def resampled(
        self, seeds: np.ndarray[Any, Any], meanings: np.ndarray[Any, Any]
    ) -> np.ndarray[Any, Any]:
        """Values for counts of seeds (R, S) and of meanings (R, M)."""
        top = np.einsum("rs,sm,rm->r", seeds, self.top, meanings)
        bottom = np.einsum("rs,sm,rm->r", seeds, self.bottom, meanings)
        values: np.ndarray[Any, Any] = top / np.maximum(bottom, 1e-12)
        return values


class Report:
    """Tables from stored results."""

    columns = (
        ("R@1", "final", "hit"),
        ("hard R@1", "final", "hard"),
        ("few cognates R@1", "final", "few"),
        (f"R@1, stack {INNER}", "inner", "hit"),
        ("CER standard", "cer", "standard"),
        ("CER dialect", "cer", "dialect"),
    )

    def __init__(self, results: dict[str, dict[int, dict[str, Any]]], seeds: Sequence[int]) -> None:
        # A mean over the seeds that every arm has; else arms would be judged on different draws.
        self.seeds = [seed for seed in seeds if all(seed in runs for runs in results.values())]
        self.partial = {arm: sorted(runs) for arm, runs in results.items()}
        if not self.seeds:
            judged = results.get(PLAIN) or next(iter(results.values()))
            self.seeds = sorted(judged)[:1]
            results = {arm: runs for arm, runs in results.items() if set(self.seeds) & set(runs)}
        self.results = results
        rng = np.random.default_rng(0)
        first = next(iter(results.values()))[self.seeds[0]]
        self.meanings = sorted(first["final"][0]["meanings"])
        self.seed_counts = counts_of(rng, RESAMPLES, len(self.seeds))
        self.meaning_counts = counts_of(rng, RESAMPLES, len(self.meanings))

    def ratio(self, arm: str, part: str, what: str) -> Ratio | None:
        """The figure `what` of a part of the results; None where the arm has none."""
        tops, bottoms = [], []
        place = {meaning: i for i, meaning in enumerate(self.meanings)}
        for seed in self.seeds:
            run = self.results[arm][seed]
            top, bottom = np.zeros(len(place)), np.zeros(len(place))
            if part == "cer":
                if what not in run["cer"]:
                    return None
                rows = run["cer"][what]
                for m, errors, length in zip(
                    rows["meanings"], rows["errors"], rows["length"], strict=True
                ):
                    top[place[m]] += errors
                    bottom[place[m]] += length
            else:
                shares = [c for pair in run[part] for c in pair["cognates"]]
                few = np.quantile(shares, 1 / 3)
                for pair in run[part]:
                    hits = pair["hard" if what == "hard" else "hit"]
                    for m, hit, share in zip(pair["meanings"], hits, pair["cognates"], strict=True):
                        if what != "few" or share <= few:
                            top[place[m]] += hit
                            bottom[place[m]] += 1
            tops.append(top)
            bottoms.append(bottom)
        return Ratio(np.array(tops), np.array(bottoms))

    def heading(self, args: argparse.Namespace) -> str:
        """What was run, in a sentence."""
        run = next(iter(self.results.values()))[self.seeds[0]]
        return (
            f"{args.start_steps} steps on Mandarin, then {args.steps} steps of "
            f"{args.batch_seconds:g} s, {run['utterances']} utterances, "
            f"{run['audio_seconds'] / 3600:.2f} h seen, seeds {self.seeds}; there are "
            f"{len(self.meanings)} test sentences; {run['machine']}, torch {run['torch']}, "
            f"isogloss {run['isogloss']}; results: "
            + ", ".join(f"{arm} {seeds}" for arm, seeds in self.partial.items())
        )

    def markdown(self) -> str:
        """Two tables: each arm, and its difference from the plain arm."""
        names = [name for name, _, _ in self.columns]
        lines = [row(["arm", *names, "s of training"]), row(["---"] * (len(names) + 2))]
        table = {
            arm: [self.ratio(arm, part, what) for _, part, what in self.columns]
            for arm in self.results
        }
        for arm, ratios in table.items():
            seconds = np.mean([self.results[arm][s]["train_seconds"] for s in self.seeds])
            lines.append(row([arm, *(self._cell(r) for r in ratios), f"{seconds:.0f}"]))
        if PLAIN not in table:
            return "\n".join(lines)
        lines += ["", row([f"arm less {PLAIN}", *names[:4]]), row(["---"] * 5)]
        for arm, ratios in table.items():
            if arm != PLAIN:
                pairs = zip(ratios[:4], table[PLAIN][:4], strict=True)
                lines.append(row([arm, *(self._difference(a, b) for a, b in pairs)]))
        return "\n".join(lines)

    def _cell(self, ratio: Ratio | None) -> str:
        if ratio is None:
            return "-"
        low, high = np.quantile(
            ratio.resampled(self.seed_counts, self.meaning_counts), [0.025, 0.975]
        )
        return f"{100 * ratio.value:.1f} [{100 * low:.1f}, {100 * high:.1f}]"

    def _difference(self, a: Ratio | None, b: Ratio | None) -> str:
        if a is None or b is None:
            return "-"
        counts = (self.seed_counts, self.meaning_counts)
        low, high = np.quantile(a.resampled(*counts) - b.resampled(*counts), [0.025, 0.975])
        if not math.isfinite(low + high):
            return "-"
        mark = "" if low <= 0 <= high else " *"
        return f"{100 * (a.value - b.value):+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]{mark}"


def counts_of(rng: np.random.Generator, draws: int, n: int) -> np.ndarray[Any, Any]:
    """(draws, n): how often each of n is drawn in n draws with replacement."""
    return rng.multinomial(n, np.full(n, 1 / n), size=draws).astype(np.float64)


def row(cells: Sequence[str]) -> str:
    """A line of a Markdown table."""
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    sys.exit(main())
