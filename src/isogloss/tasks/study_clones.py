"""Does a language help its own clone? A decoder is trained on mixtures of both; with controls.

The clone is the same language under other token ids, so what should be aligned is known exactly.
Each mixture stands beside models of the original alone, with all the steps, and with as many steps
as each of the two languages got in the mixture.
"""

from __future__ import annotations

import zlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path  # noqa: TC003  (recipes are read by the fields' types)
from typing import TYPE_CHECKING, Any, Literal

from isogloss._files import sha256_of_file
from isogloss.encoders.words import words_of
from isogloss.tasks.study_clone_model import (
    CLONED,
    CloneModel,
    judge_clones,
    make_clone_learner,
    random_clone_model,
)
from isogloss.tasks.study_folder import claim_study, kept
from isogloss.tasks.study_lines import held_out_texts, text_file
from isogloss.tasks.study_report import StudyPicture, StudyReport, StudyTable, mean_range
from isogloss.training.text_config import Shape, TextTrainConfig
from isogloss.types import Corpus, Item

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["ClonesStudy", "run_clones"]

# A decoder's new weights take this rate; all arms begin with new weights.
_RATE = 0.003
_VARIETY = "und"


@dataclass(frozen=True)
class ClonesStudy:
    """The study of clones.

    Attributes:
        text: a text file with a text a line, or a manifest.
        variety: of the items of a manifest.
        shares: of texts that are cloned in each mixture, above 0 and below 1.
        prealign: also train each mixture after a first stage that contrasts words with their
            clones; the steps of both stages add up to those of the other arms.
        stage: share of the steps that the first stage takes.
        shape: of the decoder.
        steps: of every mixture.
        batch: texts of a batch.
        texts: to learn from at most.
        judged: held-out texts at most.
        seeds: of weights, batches and of which texts are cloned.
        max_tokens: longer texts are cut.
        device: 'cpu', 'cuda' or 'auto'.
    """

    text: Path
    variety: str | None = None
    shares: tuple[float, ...] = (0.5, 0.1)
    prealign: bool = False
    stage: float = 0.2
    shape: Shape = field(default_factory=lambda: Shape(kind="decoder"))
    steps: int = 500
    batch: int = 24
    texts: int = 20_000
    judged: int = 200
    seeds: tuple[int, ...] = (0,)
    max_tokens: int = 64
    device: Literal["auto", "cpu", "cuda"] = "cpu"

    def __post_init__(self) -> None:
        if not self.shares or not all(0 < share < 1 for share in self.shares):
            raise ValueError(f"shares lie above 0 and below 1, got {self.shares or 'none'}")
        if self.shape.kind != "decoder":
            raise ValueError("the study of clones trains decoders")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds must be different numbers, at least one, got {self.seeds}")
        if not 0 < self.stage < 1:
            raise ValueError(f"stage lies above 0 and below 1, got {self.stage}")
        if self.steps < 5:
            raise ValueError(f"steps must be at least 5, got {self.steps}")


@dataclass(frozen=True, slots=True)
class _Arm:
    name: str
    share: float
    steps: int
    prealign: int = 0


def run_clones(
    study: ClonesStudy,
    out: Path,
    *,
    quiet: bool = True,
    say: Callable[[str], None] | None = None,
) -> StudyReport:
    """Train and judge all arms in `out`; repeated, it goes on where it stopped.

    Raises:
        IsoglossError: the text is not there, holds too little, or `out` holds another study.
        MissingExtra: transformers is not installed.
    """
    say = say or (lambda _line: None)
    out = out.resolve()
    path = text_file(study.text)
    settings = {
        "study": "clones", "text_sha": sha256_of_file(path), "variety": study.variety,
        "texts": study.texts, "judged": study.judged,
    }  # fmt: skip
    arms = _arms(study)
    rows: dict[str, list[dict[str, Any]]] = {}
    with claim_study(out, settings):
        learn, judged = held_out_texts(
            path, variety=study.variety, most=study.texts, judged=study.judged, without=CLONED
        )
        for seed in study.seeds:
            start = random_clone_model(
                out / "arms" / f"start-{seed}", learn, study.shape, seed=seed,
                max_tokens=study.max_tokens,
            )  # fmt: skip
            for arm in arms:
                say(f"{arm.name}, seed {seed}")
                folder, spent = _trained(study, arm, seed, start, learn, out / "arms", quiet)
                found = kept(
                    out / "judged" / f"{folder.name}.json",
                    {"weights": sha256_of_file(folder / "model.safetensors")},
                    lambda folder=folder: judge_clones(  # type: ignore[misc]
                        CloneModel.load(folder, max_tokens=study.max_tokens), judged
                    ),
                )
                rows.setdefault(arm.name, []).append({**found, "spent": spent})
    return _report(study, arms, rows, len(learn), len(judged))


def _arms(study: ClonesStudy) -> list[_Arm]:
    found = {"original, all steps": _Arm("original, all steps", 0.0, study.steps)}
    for share in study.shares:
        name = f"clone {share:g}"
        found[name] = _Arm(name, share, study.steps)
        if study.prealign:
            first = max(1, round(study.stage * study.steps))
            found[f"{name}, prealigned"] = _Arm(
                f"{name}, prealigned", share, study.steps - first, first
            )
        for part in dict.fromkeys((share, 1 - share)):
            alone = f"original, {part:g} of the steps"
            found[alone] = _Arm(alone, 0.0, max(1, round(part * study.steps)))
    return list(found.values())


def _trained(
    study: ClonesStudy,
    arm: _Arm,
    seed: int,
    start: Path,
    learn: Sequence[str],
    folder: Path,
    quiet: bool,
) -> tuple[Path, dict[str, float]]:
    """The folder of the trained arm, and what both stages cost."""
    from isogloss.training.text_loop import train_text

    spent = {"seconds": 0.0, "tokens": 0.0, "flops": 0.0, "steps": 0.0}
    stages: list[tuple[Path, Corpus, tuple[str, ...], int, str]] = []
    plain = f"{arm.share:g}-{arm.steps}-{seed}"
    if arm.prealign:
        objectives: tuple[str, ...] = ("lm", "infonce:layer=all+output,temperature=0.1")
        stages.append(
            (folder / f"words-{arm.prealign}-{seed}", _word_pairs(learn), objectives,
             arm.prealign, "meaning")
        )  # fmt: skip
        plain = f"aligned-{plain}"
    stages.append(
        (folder / f"clone-{plain}", _mixture(learn, arm.share, seed), ("lm",), arm.steps, "none")
    )
    for place, corpus, objectives, steps, pairs in stages:
        config = TextTrainConfig(
            start=str(start), objectives=objectives, pairs=pairs, max_steps=steps,  # type: ignore[arg-type]
            batch=study.batch, base_lr=_RATE, max_tokens=study.max_tokens, threads=1, seed=seed,
            device=study.device, control=False,
        )  # fmt: skip
        result = train_text(
            config, corpus=corpus, folder=place, maker=make_clone_learner, quiet=quiet
        )
        spent["seconds"] += result.train_seconds
        spent["steps"] += result.steps
        for name in ("tokens", "flops"):
            spent[name] += result.spent.get(name, 0.0)
        start = place
    return start, spent


def _mixture(texts: Sequence[str], share: float, seed: int) -> Corpus:
    """The texts, those that are drawn marked as clones; all of one variety, so drawn alike."""
    items = []
    for number, text in enumerate(texts):
        draw = zlib.crc32(f"{seed}:{number}:clone".encode()) / 2**32
        items.append(Item(f"{number:07d}", _VARIETY, text=CLONED + text if draw < share else text))
    return Corpus("mixture", tuple(items))


def _word_pairs(texts: Sequence[str], most: int = 2000) -> Corpus:
    """Frequent words, each with its clone as its translation."""
    counts = Counter(text[a:b] for text in texts for a, b in words_of(text))
    words = sorted(counts, key=lambda word: (-counts[word], word))[:most]
    items = []
    for number, word in enumerate(words):
        for variety, text in (("original", word), ("clone", CLONED + word)):
            items.append(
                Item(f"{number:05d}-{variety}", variety, meaning=f"{number:05d}", text=text)
            )
    return Corpus("words", tuple(items))


def _report(
    study: ClonesStudy,
    arms: Sequence[_Arm],
    rows: Mapping[str, Sequence[Mapping[str, Any]]],
    learnt: int,
    judged: int,
) -> StudyReport:
    def numbers(name: str, what: str) -> list[float | None]:
        return [row[what] for row in rows[name]]

    def deepest(name: str, what: str) -> list[float | None]:
        # The last one is after the final norm.
        return [row[what][-1] if row.get(what) else None for row in rows[name]]

    table = StudyTable(
        "held-out loss in nats a token",
        (
            "arm", "steps", "loss original", "loss clone", "cosine matched", "cosine random",
            "gradient matched", "gradient random", "seconds", "tokens",
        ),
        tuple(
            (
                arm.name,
                arm.steps + arm.prealign,
                mean_range(numbers(arm.name, "loss original")),
                mean_range(numbers(arm.name, "loss clone")) if arm.share else "",
                *(
                    mean_range(deepest(arm.name, what)) if arm.share else ""
                    for what in ("cosine matched", "cosine random", "gradient matched",
                                 "gradient random")
                ),
                f"{_mean([r['spent']['seconds'] for r in rows[arm.name]]):.0f}",
                f"{_mean([r['spent']['tokens'] for r in rows[arm.name]]):.3g}",
            )
            for arm in arms
        ),
        "states and gradients of the last layer and block; a model of the original alone has never "
        "seen the clone",
    )  # fmt: skip
    mixed = [arm for arm in arms if arm.share]
    depth = len(rows[mixed[0].name][0]["cosine matched"])
    lines = [(arm, what) for arm in mixed for what in ("cosine matched", "cosine random")]
    picture = StudyPicture(
        "cosine", "A token's state and that of its clone", "lines",
        tuple(f"{arm.name}, {what.split()[1]}" for arm, what in lines),
        tuple(str(layer) for layer in range(depth)),
        tuple(
            tuple(_mean([row[what][layer] for row in rows[arm.name]]) for layer in range(depth))
            for arm, what in lines
        ),
        x="layer (0 the embedding, the last after the final norm)", y="mean cosine",
    )  # fmt: skip
    losses = StudyPicture(
        "losses", "Held-out loss", "bars", tuple(arm.name for arm in arms),
        ("original", "clone"),
        tuple(
            (
                _mean([r["loss original"] for r in rows[arm.name]]),
                _mean([r["loss clone"] for r in rows[arm.name]]) if arm.share else None,
            )
            for arm in arms
        ),
        y="nats a token",
    )  # fmt: skip
    return StudyReport(
        "clones",
        "Does a language help its clone?",
        tuple(_says(study, rows)),
        (table,),
        (losses, picture),
        {"arms": {name: [dict(row) for row in found] for name, found in rows.items()}},
        {
            "what minutes can show": "whether tokens align and whether a mixture costs the "
            "original anything; that an unequal mixture (0.1) ends up better for both languages "
            "than an equal one was published for far longer training, and is not to be expected "
            "here",
        },
        {
            "text": study.text.name, "variety": study.variety, "texts_to_learn_from": learnt,
            "texts_judged": judged, "shares": list(study.shares), "prealign": study.prealign,
            "steps": study.steps, "batch": study.batch, "max_tokens": study.max_tokens,
            "shape": [study.shape.layers, study.shape.width, study.shape.pieces],
            "seeds": list(study.seeds),
        },
    )  # fmt: skip


def _says(study: ClonesStudy, rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    said = []
    for share in study.shares:
        for name in (f"clone {share:g}", f"clone {share:g}, prealigned"):
            if name not in rows:
                continue
            parts = []
            for language, part in (("original", 1 - share), ("clone", share)):
                alone = _mean(
                    [r["loss original"] for r in rows[f"original, {part:g} of the steps"]]
                )
                gap = alone - _mean([r[f"loss {language}"] for r in rows[name]])
                parts.append(f"{gap:+.3f} nats for the {language} (against {part:g} of the steps)")
            near, far = (
                _mean([row[what][-1] for row in rows[name]])
                for what in ("cosine matched", "cosine random")
            )
            said.append(
                f"{name}: gained from the other language {', '.join(parts)}; cosine of a token "
                f"with its clone {near:.3f}, with another {far:.3f}."
            )
    return said


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
