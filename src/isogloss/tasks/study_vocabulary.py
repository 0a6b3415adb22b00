"""A decoder for another tokenizer: fertility, ALP by size, bits per character by initialisation.

Every way to guess the new embeddings is judged before training and after as many steps as all the
others, beside the model with its old tokenizer trained as long: the control.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import shutil
from dataclasses import dataclass
from pathlib import Path  # noqa: TC003  (recipes are read by the fields' types)
from typing import TYPE_CHECKING, Any

from isogloss._files import sha256_of_file
from isogloss.adapt.fertility import choose_size
from isogloss.adapt.vocabulary_inits import INITS, NEEDS
from isogloss.errors import IsoglossError, UnknownName
from isogloss.llm.hf_causal import load_causal
from isogloss.llm.hf_files import load_model, load_tokenizer, save_model
from isogloss.llm.new_tokenizer import train_tokenizer
from isogloss.tasks.study_folder import claim_study, kept, weights_of
from isogloss.tasks.study_lines import held_out_texts, text_file
from isogloss.tasks.study_report import StudyPicture, StudyReport, StudyTable, mean_range, spread
from isogloss.tasks.study_start import hf_folder
from isogloss.tasks.vocabulary_rebuild import compare_inits
from isogloss.types import Corpus, Item

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["VocabularyStudy", "run_vocabulary"]

_VARIETY = "und"
_NEW_RATE = 0.003
_CURVE_TEXTS = 5000


@dataclass(frozen=True)
class VocabularyStudy:
    """The study of a new vocabulary.

    Attributes:
        model: folder of a decoder.
        corpus: manifest or text file, to learn from and to judge on.
        variety: of the items of a manifest.
        tokenizer: the new one, a folder or tokenizer.json; None trains one of `size`.
        size: tokens of a new tokenizer that is trained.
        inits: of `INITS`.
        helper: folder of a model of the new tokenizer; None trains one where an init needs it.
        helper_steps: of a helper that is trained.
        steps: that every rebuilt model is trained.
        batch: texts of a batch.
        sizes: of the ALP curve: (first, step, most).
        texts: to learn from at most.
        judged: held-out texts at most.
        seeds: of what is drawn, of helpers and of training.
        device: 'cpu' or 'cuda'.
    """

    model: str
    corpus: Path
    variety: str | None = None
    tokenizer: str | None = None
    size: int = 2000
    inits: tuple[str, ...] = INITS
    helper: str | None = None
    helper_steps: int = 200
    steps: int = 100
    batch: int = 24
    sizes: tuple[int, int, int] = (500, 500, 6000)
    texts: int = 20_000
    judged: int = 200
    seeds: tuple[int, ...] = (0,)
    device: str = "cpu"

    def __post_init__(self) -> None:
        for name in self.inits:
            if name not in INITS:
                raise UnknownName("init of a vocabulary", name, INITS)
        if not self.inits or not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ValueError("name at least one init, and different seeds")
        if min(self.sizes) < 1 or self.sizes[2] < self.sizes[0]:
            raise ValueError(f"sizes must be positive and rise, got {self.sizes}")


def run_vocabulary(
    study: VocabularyStudy,
    out: Path,
    *,
    quiet: bool = True,
    say: Callable[[str], None] | None = None,
) -> StudyReport:
    """Rebuild, train and judge in `out`; repeated, it goes on where it stopped.

    Raises:
        IsoglossError: the model is no decoder's folder, the corpus holds too little, or `out`
            holds another study.
        MissingExtra: transformers is not installed.
    """
    say = say or (lambda _line: None)
    out = out.resolve()
    path, model = text_file(study.corpus), hf_folder(study.model)
    weights = weights_of(model)
    settings = {
        "study": "vocabulary", "text_sha": sha256_of_file(path), "variety": study.variety,
        "texts": study.texts, "judged": study.judged, "model": weights,
        "tokenizer": study.tokenizer or study.size,
    }  # fmt: skip
    with claim_study(out, settings):
        learn, judged = held_out_texts(
            path, variety=study.variety, most=study.texts, judged=study.judged
        )
        tokenizer = _tokenizer(study, learn, out)
        say("ALP by size of the vocabulary")
        curve = kept(
            out / "judged" / "curve.json",
            {"sizes": list(study.sizes)},
            lambda: {"curve": _curve(study, learn)},
        )["curve"]
        rows: list[dict[str, Any]] = []
        for seed in study.seeds:
            key = {
                "inits": list(study.inits), "steps": study.steps, "batch": study.batch,
                "helper": study.helper or study.helper_steps,
            }  # fmt: skip
            say(f"rebuilding in {len(study.inits)} ways, seed {seed}")
            rows.append(
                kept(
                    out / "judged" / f"inits-{seed}.json", key,
                    functools.partial(
                        _compared, study, model, tokenizer, learn, judged, seed, out, quiet
                    ),
                )
            )  # fmt: skip
    return _report(study, model, curve, rows, len(learn), len(judged))


def _tokenizer(study: VocabularyStudy, learn: Sequence[str], out: Path) -> Any:
    if study.tokenizer is not None:
        return load_tokenizer(study.tokenizer)
    folder = out / "tokenizer"
    if not folder.is_dir():
        half = out / ".tokenizer.half"
        shutil.rmtree(half, ignore_errors=True)
        train_tokenizer(learn, study.size).save_pretrained(half)
        half.rename(folder)
    return load_tokenizer(folder)


def _curve(study: VocabularyStudy, learn: Sequence[str]) -> list[dict[str, Any]]:
    start, step, most = study.sizes
    _, found = choose_size(
        learn[:_CURVE_TEXTS], lambda texts, size: train_tokenizer(texts, size),
        start=start, step=step, most=most, stop=0.01, relative=True,
    )  # fmt: skip
    return [dataclasses.asdict(one) for one in found]


def _compared(
    study: VocabularyStudy,
    model: Path,
    tokenizer: Any,
    learn: Sequence[str],
    judged: Sequence[str],
    seed: int,
    out: Path,
    quiet: bool,
) -> dict[str, Any]:
    corpus = Corpus(
        "texts", tuple(Item(f"{i:07d}", _VARIETY, text=text) for i, text in enumerate(learn))
    )
    causal = load_causal(model, device=study.device)
    needs_helper = any(NEEDS.get(name) == "helper" for name in study.inits)
    helper = None
    if study.helper is not None:
        helper = load_model(study.helper, device=study.device)
    elif needs_helper:
        helper = load_model(_helper(study, causal.model, tokenizer, corpus, seed, out, quiet))

    def train(start: Path, work: Path) -> Path:
        # The place of the start is part of a run, and that of a rebuilt model is a passing one.
        own = out / "arms" / f"{start.parent.name}-{seed}"
        if not (own / "start").is_dir():
            half = own / ".start.half"
            shutil.rmtree(half, ignore_errors=True)
            shutil.copytree(start, half)
            half.rename(own / "start")
        return _train(study, own / "start", own / "trained", corpus, study.steps, None, seed, quiet)

    found = compare_inits(
        causal, tokenizer, study.inits, judged, texts=learn, helper=helper, train=train,
        seed=seed, progress=not quiet,
    )  # fmt: skip
    return dataclasses.asdict(found)


def _helper(
    study: VocabularyStudy,
    model: Any,
    tokenizer: Any,
    corpus: Corpus,
    seed: int,
    out: Path,
    quiet: bool,
) -> Path:
    """The folder of a model of the new tokenizer, of the old one's shape, trained from nothing."""
    import torch

    folder = out / "arms" / f"helper-{seed}"
    if not (folder / "start").is_dir():
        config = copy.deepcopy(model.config)
        config.vocab_size = len(tokenizer)
        for role in ("bos", "eos", "pad"):
            setattr(config, f"{role}_token_id", getattr(tokenizer, f"{role}_token_id"))
        torch.manual_seed(seed)
        made = type(model)(config)
        half = folder / ".start.half"
        shutil.rmtree(half, ignore_errors=True)
        save_model(made, tokenizer, half)
        half.rename(folder / "start")
    return _train(
        study, folder / "start", folder / "trained", corpus, study.helper_steps, _NEW_RATE, seed,
        quiet,
    )  # fmt: skip


def _train(
    study: VocabularyStudy,
    start: Path,
    folder: Path,
    corpus: Corpus,
    steps: int,
    rate: float | None,
    seed: int,
    quiet: bool,
) -> Path:
    from isogloss.training.text_config import TextTrainConfig
    from isogloss.training.text_loop import train_text

    config = TextTrainConfig(
        start=str(start), objectives=("lm",), pairs="none", max_steps=steps, batch=study.batch,
        base_lr=rate, threads=1, seed=seed, control=False,
        device="cuda" if study.device.startswith("cuda") else "cpu",
    )  # fmt: skip
    return train_text(config, corpus=corpus, folder=folder, quiet=quiet).folder


def _report(
    study: VocabularyStudy,
    model: Path,
    curve: Sequence[Mapping[str, Any]],
    rows: Sequence[Mapping[str, Any]],
    learnt: int,
    judged: int,
) -> StudyReport:
    if not rows[0]["rows"]:
        raise IsoglossError("no init could be made")
    names = [row["init"] for row in rows[0]["rows"]]

    def of(name: str, what: str) -> list[float | None]:
        return [r[what] for one in rows for r in one["rows"] if r["init"] == name]

    old: list[tuple[str, list[float | None], list[float | None]]] = [
        ("(old tokenizer)", [r["before"] for r in rows], [r["trained_before"] for r in rows])
    ]
    everything = old + [(n, of(n, "bits"), of(n, "trained_bits")) for n in names]
    bits = StudyTable(
        "bits per character on held-out texts",
        ("init", "before training", f"after {study.steps} steps", "seconds to rebuild"),
        tuple(
            (
                name, mean_range(before), mean_range(after),
                "" if name.startswith("(") else mean_range(of(name, "seconds")),
            )
            for name, before, after in everything
        ),
        "mean (least to greatest) over seeds; bits per character can be compared between "
        "tokenizers, losses cannot",
    )  # fmt: skip
    cut = StudyTable(
        f"how finely texts are cut; {rows[0]['shared']} tokens are in both",
        ("tokenizer", "tokens", "tokens a word", "whole words", "unknown"),
        tuple(
            (
                label, size, f["tokens_per_word"], f["whole_words"], f["unknown"],
            )
            for label, size, f in zip(
                ("old", "new"), rows[0]["sizes"],
                (rows[0]["fertility_before"], rows[0]["fertility_after"]), strict=True,
            )
        ),
    )  # fmt: skip
    sizes = StudyTable(
        "average log probability by size",
        ("tokens", "ALP", "change", "tokens a word"),
        tuple((c["size"], c["alp"], c["change"], c["fertility"]) for c in curve),
        "nats a line on the texts to learn from; the curve ends where a step changes it by less "
        "than 1 %",
    )
    known = [(n, spread(b), spread(a)) for n, b, a in everything]
    best = min(known[1:], key=lambda one: (one[2] or one[1] or (9e9,))[0])
    says = [
        f"Best after {study.steps} steps: {best[0]}, {(best[2] or best[1] or (0.0,))[0]:.3f} bits "
        f"per character; the old tokenizer, trained as long, "
        f"{(known[0][2] or known[0][1] or (0.0,))[0]:.3f}."
    ]
    return StudyReport(
        "vocabulary",
        f"A new vocabulary for {model.name}",
        tuple(says),
        (bits, cut, sizes),
        (
            StudyPicture(
                "bits", "Bits per character on held-out texts", "bars",
                tuple(n for n, _, _ in known), ("before training", f"after {study.steps} steps"),
                tuple((b and b[0], a and a[0]) for _, b, a in known),
                tuple((b and b[1], a and a[1]) for _, b, a in known),
                tuple((b and b[2], a and a[2]) for _, b, a in known), y="bits per character",
            ),
            StudyPicture(
                "alp", "Average log probability of a line", "lines", ("ALP",),
                tuple(str(c["size"]) for c in curve), (tuple(c["alp"] for c in curve),),
                x="tokens of the vocabulary", y="nats a line",
            ),
        ),
        {"curve": list(curve), "seeds": [dict(row) for row in rows]},
        {name: why for row in rows for name, why in row["left_out"].items()},
        {
            "model": model.name, "corpus": study.corpus.name, "variety": study.variety,
            "tokenizer": study.tokenizer or f"trained here, {study.size} tokens",
            "helper": study.helper or f"trained here, {study.helper_steps} steps",
            "steps": study.steps, "batch": study.batch, "texts_to_learn_from": learnt,
            "texts_judged": judged, "seeds": list(study.seeds),
        },
    )  # fmt: skip
