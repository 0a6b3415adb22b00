"""The demonstration on text: from the translations a machine has to a model and its alignment.

    catalogues -> corpus -> masked LM -> contrast (and its control) -> measures by layer -> page

Everything is kept in the folder, so a demonstration that was interrupted goes on, and every command
on text has a model to run on: `models/encoder`, `models/mlm` and the decoder `models/lm`.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import sysconfig
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isogloss._files import write_json
from isogloss.bench.alignment_run import write_alignment
from isogloss.bench.demo_text_page import add_summary
from isogloss.corpora import read_corpus, write_corpus
from isogloss.corpora.catalogue_packages import fetch_catalogues
from isogloss.corpora.readers.gettext import catalogue_files
from isogloss.corpora.readers.gettext import read as read_catalogues
from isogloss.corpora.readers.sib200 import read as read_sib200
from isogloss.errors import IsoglossError
from isogloss.types import Corpus

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from isogloss.tasks.alignment_result import AlignmentResult
    from isogloss.training.text_result import TextTrainResult
    from isogloss.types import Item

__all__ = ["DEMO_VARIETIES", "TextDemoConfig", "TextDemoResult", "run_text_demo", "text_corpus"]

DEMO_VARIETIES = (
    "eng",
    "deu",
    "fra",
    "spa",
    "por-portugal",
    "por-brazil",
    "glg",
    "rus",
    "ukr",
    "bul",
    "srp",
    "srp-latn",
    "ces",
    "pol",
    "cmn-simplified",
    "cmn-traditional",
)
"""Close and distant varieties; one language in two scripts, two standards of one language."""

_LM_VARIETIES = ("eng", "deu", "spa")
# Below this a machine's own catalogues are too few, and packages are fetched.
_LEAST_TEST_MEANINGS = {("srp", "srp-latn"): 100, ("eng", "deu"): 400}
# Steps for each minute; the contrast counts twice, since its control takes about as long.
_STEPS_A_MINUTE = {"mlm": 60.0, "encoder": 16.5, "lm": 22.5}
# Those that take seconds; the rest (words, concepts, canonical correlations, neutrality, gradients)
# is for `isogloss measure`.
_MEASURES = (
    "retrieval",
    "xsim",
    "separation",
    "mexa",
    "anc",
    "cka",
    "debiased-cka",
    "rsa",
    "identification",
    "isotropy",
    "similarity",
)
# Meanings kept of each split: those that most varieties have.
_MOST_MEANINGS = {"train": 8000, "dev": 400, "test": 1000}
_DIALECT_DATA = "sib200"


@dataclass(frozen=True, slots=True)
class TextDemoConfig:
    """One demonstration on text.

    Attributes:
        minutes: of the whole, about, on two free cores; the number of steps follows from it.
        varieties: codes; two at least.
        items: meanings that are measured.
        seed: of weights, batches and draws.
        catalogues: folder of gettext catalogues; None takes those of the machine, and fetches
            packages where these are too few.
    """

    minutes: float = 15.0
    varieties: tuple[str, ...] = DEMO_VARIETIES
    items: int = 200
    seed: int = 0
    catalogues: Path | None = None

    def __post_init__(self) -> None:
        if not self.minutes > 0:
            raise ValueError(f"minutes must be above 0, got {self.minutes}")
        if len(self.varieties) < 2:
            raise ValueError(f"alignment needs two varieties, got {self.varieties}")
        if self.items < 10:
            raise ValueError(f"items must be at least 10, got {self.items}")


@dataclass(frozen=True, slots=True)
class TextDemoResult:
    """What a demonstration gave: the alignment of the trained model, the summary, files."""

    alignment: AlignmentResult
    summary: dict[str, Any]
    report: Path
    json: Path


def run_text_demo(
    config: TextDemoConfig,
    out: Path,
    *,
    progress: bool = True,
    say: Callable[[str], None] | None = None,
) -> TextDemoResult:
    """Run the demonstration in `out`; repeated, it goes on where it stopped.

    Writes `results.json` (`r_at_1_trained`, `r_at_1_ngram`, `r_at_1_random`, those of the masked LM
    and of the control, `measurements`), `report.html`, `layers.png`, `map.png`, `tree.png`, the
    corpus and the models.

    Args:
        config: what to run.
        out: created when absent; holds one demonstration.
        progress: bars on stderr.
        say: called with a line before each stage.

    Raises:
        CataloguesUnavailable: the machine has too few translations and none can be fetched.
        IsoglossError: `out` holds a demonstration with other settings; training or measuring
            failed; the message says how.
        MissingExtra: a library of the extra `text` is not installed.
    """
    from isogloss.training.text_config import Shape, TextTrainConfig
    from isogloss.training.text_loop import train_text

    began = time.monotonic()
    say = say or (lambda _line: None)
    out = out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    same = _claimed(config, out)
    say("1/4 reading the translations of this machine")
    corpus = text_corpus(config, out, say=say)
    manifest = out / "corpus" / "manifest.jsonl"
    train = _only(corpus, "train")
    models = out / "models"
    minutes = same["minutes"]

    def trained(name: str, **options: Any) -> TextTrainResult:
        steps = max(10, round(minutes * _STEPS_A_MINUTE[name]))
        settings = TextTrainConfig(max_steps=steps, seed=config.seed, **options)
        return train_text(settings, corpus=train, folder=models / name, quiet=not progress)

    say("2/4 training: masked LM, then contrast beside its control, then a small decoder")
    runs = {"mlm": trained("mlm")}
    runs["encoder"] = trained(
        "encoder",
        start=str(models / "mlm"),
        objectives=("infonce:layer=last,temperature=0.05",),
        batch=128,
        base_lr=0.002,
    )
    decoders = tuple(code for code in _LM_VARIETIES if code in config.varieties)
    runs["lm"] = trained("lm", shape=Shape(kind="decoder"), varieties=decoders or ())
    _random_model(models, config.seed)
    say(f"3/4 measuring {config.items} held-out meanings in {len(config.varieties)} varieties")
    summary, result = _measured(config, corpus, models, progress)
    say("4/4 drawing")
    summary |= {
        "seconds": _seconds(out, began),
        "corpus": {
            "manifest": str(manifest.relative_to(out)),
            "items": len(corpus.items),
            "sha": corpus.sha,
            "licence": corpus.licence,
        },
        "training": {name: _told(run) for name, run in runs.items()},
        "demo": {**dataclasses.asdict(config), "catalogues": str(config.catalogues or "")},
    }
    written = write_alignment(result, out)
    numbers, report = written[0], written[1]
    whole = {**summary, **json.loads(numbers.read_text(encoding="utf-8"))}
    write_json(numbers, whole)
    add_summary(report, summary)
    return TextDemoResult(result, whole, report, numbers)


def text_corpus(
    config: TextDemoConfig, out: Path, *, say: Callable[[str], None] | None = None
) -> Corpus:
    """The corpus of the demonstration, read once and kept in `out/corpus`.

    Catalogues of the machine and of the Python environment; of Debian packages where these are too
    few; and SIB-200 below ISOGLOSS_DATA, where that is there.

    Raises:
        CataloguesUnavailable: there are too few, and none can be fetched.
        IsoglossError: `config.catalogues` has too few.
    """
    folder = out / "corpus"
    manifest = folder / "manifest.jsonl"
    if manifest.is_file():
        return read_corpus(manifest)
    if config.catalogues is not None:
        corpus = _read([config.catalogues], config.varieties)
        missing = _too_few(corpus, config.varieties)
        if missing:
            raise IsoglossError(f"{config.catalogues}: too few translations ({missing})")
    else:
        machine = [path for path in _own_folders() if path.is_dir()]
        with_catalogues = [path for path in machine if next(catalogue_files([path]), None)]
        corpus = _read(with_catalogues, config.varieties) if with_catalogues else Corpus("none", ())
        missing = _too_few(corpus, config.varieties)
        if missing:
            if say is not None:
                say(f"this machine's own translations are too few ({missing})")
            fetched = fetch_catalogues(out / "catalogues", say=say)
            corpus = _read([fetched, *with_catalogues], config.varieties)
    items = [*_most_parallel(corpus), *_of_flores(config.varieties)]
    folder.mkdir(parents=True, exist_ok=True)
    return write_corpus(dataclasses.replace(corpus, items=tuple(items)), manifest)


def _own_folders() -> list[Path]:
    return [Path("/usr/share"), Path("/usr/local/share"), Path(sysconfig.get_paths()["purelib"])]


def _read(folders: Sequence[Path], varieties: Sequence[str]) -> Corpus:
    first, *others = folders
    also = tuple(str(path) for path in others)
    return read_catalogues(first, also=also, varieties=varieties).corpus


def _too_few(corpus: Corpus, varieties: Sequence[str]) -> str:
    """What the corpus lacks, in words; '' where it is enough."""
    meanings: dict[str, set[str]] = {}
    for item in corpus.items:
        if item.split == "test" and item.meaning is not None:
            meanings.setdefault(item.variety, set()).add(item.meaning)
    for (first, second), least in _LEAST_TEST_MEANINGS.items():
        if first in varieties and second in varieties:
            there = len(meanings.get(first, set()) & meanings.get(second, set()))
            if there < least:
                return f"{there} test messages in {first} and {second}, {least} are needed"
    return ""


def _most_parallel(corpus: Corpus) -> list[Item]:
    """The items of the meanings that most varieties have, as many of each split as are kept."""
    count = Counter(item.meaning for item in corpus.items)
    split = {item.meaning: item.split for item in corpus.items}
    kept: set[str | None] = set()
    for name, most in _MOST_MEANINGS.items():
        own = [meaning for meaning in count if split[meaning] == name]
        kept.update(sorted(own, key=lambda m: (-count[m], str(m)))[:most])
    return [item for item in corpus.items if item.meaning in kept]


def _of_flores(varieties: Sequence[str]) -> list[Item]:
    """Training sentences of SIB-200 where ISOGLOSS_DATA has them, under meanings of their own."""
    data = os.environ.get("ISOGLOSS_DATA")
    folder = Path(data) / _DIALECT_DATA if data else None
    if folder is None or not folder.is_dir():
        return []
    return [
        dataclasses.replace(item, id=f"sib200-{item.id}", meaning=f"sib200-{item.meaning}")
        for item in read_sib200(folder, splits=("train",)).corpus.items
        if item.variety in varieties
    ]


def _claimed(config: TextDemoConfig, out: Path) -> dict[str, Any]:
    """The settings of the demonstration in `out`, written when it is new."""
    path = out / "demo.json"
    plain = {**dataclasses.asdict(config), "catalogues": str(config.catalogues or "")}
    own: dict[str, Any] = json.loads(json.dumps(plain))
    if not path.exists():
        write_json(path, own)
        return own
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    different = [key for key, value in own.items() if found.get(key) != value]
    if different:
        key = different[0]
        raise IsoglossError(
            f"{out}: holds a demonstration with {key} {found.get(key)}, not {own[key]}; choose "
            "another folder with --out, or delete this one"
        )
    return found


def _only(corpus: Corpus, split: str) -> Corpus:
    items = tuple(item for item in corpus.items if item.split == split)
    return dataclasses.replace(corpus, items=items, sha=f"{corpus.sha}:{split}")


def _random_model(models: Path, seed: int) -> None:
    """The shape and tokenizer of the masked LM with random weights, for comparison."""
    folder = models / "random"
    if (folder / "model.safetensors").is_file():
        return
    import torch

    from isogloss.training.text_config import Shape
    from isogloss.training.text_model import TextModel
    from isogloss.training.text_parameters import new_model

    tokenizer = TextModel.load(models / "mlm").tokenizer
    torch.manual_seed(seed)
    model = new_model(Shape(), tokenizer, max_tokens=128)
    shutil.rmtree(folder, ignore_errors=True)
    model.save(folder)


def _measured(
    config: TextDemoConfig, corpus: Corpus, models: Path, progress: bool
) -> tuple[dict[str, Any], AlignmentResult]:
    """R@1 of all models over all pairs, at the layer best on the dev split; all of the trained."""
    from isogloss.encoders import load_encoder
    from isogloss.tasks.alignment import Alignment

    quick = Alignment(
        measures=("retrieval",),
        varieties=config.varieties,
        items=config.items,
        pairs="all",
        seed=config.seed,
    )
    names = {
        "trained": f"hf:{models / 'encoder'}",
        "control": f"hf:{models / 'encoder' / 'control'}",
        "mlm": f"hf:{models / 'mlm'}",
        "random": f"hf:{models / 'random'}",
        "ngram": "ngram:",
    }
    layers: dict[str, int] = {}
    summary: dict[str, Any] = {}
    scripts: dict[str, dict[str, float]] = {}
    for kind, name in names.items():
        encoder = load_encoder(name)
        on_dev = dataclasses.replace(quick, split="dev", pairs="auto", bootstrap=0).measure(
            corpus, encoder
        )
        layers[kind] = on_dev.chosen_layer["residual"]
        # The layers of the trained model are all looked at below.
        found = dataclasses.replace(quick, split="test", layers=(layers[kind],)).measure(
            corpus, encoder
        )
        summary |= _recall(kind, found, layers[kind])
        scripts[kind] = _of_pair(found, layers[kind], ("srp", "srp-latn"))
    summary["layers_chosen_on_dev"] = layers
    summary["srp_srp_latn"] = {kind: value for kind, value in scripts.items() if value}
    whole = Alignment(
        measures=_MEASURES,
        varieties=config.varieties,
        split="test",
        items=config.items,
        seed=config.seed,
        progress=progress,
    )
    result = whole.measure(
        corpus, load_encoder(names["trained"]), name=names["trained"], floor=load_encoder("ngram:")
    )
    return summary, result


def _recall(kind: str, result: AlignmentResult, layer: int) -> dict[str, Any]:
    row = next(row for row in result.means("R@1", "residual") if row.layer == layer)
    interval = {f"r_at_1_{kind}_low": row.low, f"r_at_1_{kind}_high": row.high}
    return {f"r_at_1_{kind}": row.value, **interval}


def _of_pair(result: AlignmentResult, layer: int, pair: tuple[str, str]) -> dict[str, float]:
    """R@1 of one pair of varieties, both ways."""
    return {
        f"{row.pair[0]} to {row.pair[1]}": row.value
        for row in result.rows
        if row.name == "R@1" and row.layer == layer and row.pair and set(row.pair) == set(pair)
    }


def _told(run: TextTrainResult) -> dict[str, Any]:
    values = run.to_dict()
    kept = ("steps", "loss", "losses", "items", "meanings", "spent", "train_seconds", "model")
    found = {key: values[key] for key in kept}
    if run.control is not None:
        found["control"] = _told(run.control)
    return found


def _seconds(out: Path, began: float) -> float:
    """Wall-clock seconds of the call that completed the demonstration; kept when repeated."""
    path = out / "seconds.json"
    if path.exists():
        return float(json.loads(path.read_text(encoding="utf-8"))["seconds"])
    seconds = round(time.monotonic() - began, 1)
    write_json(path, {"seconds": seconds})
    return seconds
