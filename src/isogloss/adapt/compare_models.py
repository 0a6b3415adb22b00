"""Models, layers and transforms in, one table out; behind `isogloss adapt compare`."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from isogloss._files import write_json
from isogloss.adapt.compare import CompareSettings, Comparison, compare_transforms
from isogloss.adapt.model_vectors import STEPS, ModelVectors, encode_model
from isogloss.adapt.split import divide_by_meaning, draw_meanings
from isogloss.corpora.progress import progress_bar

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from isogloss.adapt.compare import ComparedTransform
    from isogloss.types import Corpus, Item

__all__ = ["DEFAULT_TRANSFORMS", "FLOOR", "compare_models", "write_comparison"]

DEFAULT_TRANSFORMS = (
    "center",
    "outliers",
    "abtt",
    "cbie",
    "subspace",
    "zca",
    "zca:shrinkage=auto",
    "iterative",
    "lda",
    "ot",
    "procrustes",
    "ridge",
)
"""Cheap ones first."""

FLOOR = "ngram:"
"""What spelling alone would find; beside every table of text."""


def compare_models(
    corpus: Corpus,
    models: Sequence[str],
    settings: CompareSettings,
    *,
    items: Sequence[Item] | None = None,
    most_meanings: int | None = None,
    layers: Sequence[int] | str | None = None,
    pool: str = "mean",
    device: str = "cpu",
    cache: Path | None = None,
    floor: bool = True,
    progress: bool = True,
) -> Comparison:
    """Every model at every layer, as it is and after each transform.

    Args:
        corpus: items with meanings.
        models: names for `load_encoder`, or folders of steps.
        settings: which transforms, how divided and judged.
        items: those to take; None all of `corpus`.
        most_meanings: take so many meanings at most, the same ones every time; None takes all.
        layers: numbers, 'all', or None for the models' own.
        pool: how steps become a vector; with score 'seqsim' it is not asked.
        device: of the encoders.
        cache: folder of single encoded items.
        floor: add what character n-grams find as they are, where all items have text.
        progress: bars on stderr.

    Raises:
        FittedItems: a folder holds vectors of a transform that was fitted on items of `corpus`.
        ValueError: no model is named, no two varieties share two meanings, or as `encode_model`
            and `compare_transforms`.
    """
    if not models:
        raise ValueError("no model is named")
    there = [item for item in (corpus.items if items is None else items) if item.meaning]
    if not there:
        raise ValueError(f"corpus '{corpus.name}' has no item with a meaning")
    chosen = there if most_meanings is None else draw_meanings(there, most_meanings)
    counts = Counter(item.variety for item in chosen)
    # One item can be fitted on or judged, never both.
    alone = [item for item in chosen if counts[item.variety] == 1]
    chosen = [item for item in chosen if counts[item.variety] > 1]
    if len({item.meaning for item in draw_meanings(chosen, 2)}) < 2:
        raise ValueError(
            f"corpus '{corpus.name}': no two varieties share two meanings ({len(there)} items with "
            f"a meaning, {len({item.variety for item in there})} varieties); items that share a "
            "meaning are translations"
        )
    steps = settings.score == "seqsim" or settings.fit_on == "steps"
    rows: list[ComparedTransform] = []
    skipped = {(item.id, f"the only item of '{item.variety}'"): None for item in alone}
    made_by: list[str] = []
    plain = CompareSettings(
        (), settings.share, settings.seeds, "cosine", "pooled", settings.resamples, settings.level
    )
    for model in models:
        encoded = encode_model(
            model,
            chosen,
            layers=layers,
            pool=STEPS if steps else pool,
            device=device,
            cache=cache,
            progress=progress,
        )
        for one in encoded:
            rows += _compared(one, settings, progress)
            made_by.append(one.vectors.made_by)
            skipped |= dict.fromkeys(one.skipped)
    if floor and FLOOR not in models and all(item.text or item.transcript for item in chosen):
        for one in encode_model(FLOOR, chosen, progress=progress):
            rows += _compared(one, plain, progress)
            made_by.append(one.vectors.made_by)
    signature = {
        "task": "adapt compare",
        "corpus": corpus.name,
        "corpus_sha": corpus.sha,
        "items": len(chosen),
        "encoders": made_by,
        "transforms": list(settings.specs),
        "share": settings.share,
        "seeds": list(settings.seeds),
        "score": settings.score,
        "fit_on": settings.fit_on,
        "pool": "steps" if steps else pool,
        "interval": f"bootstrap over meanings, {settings.resamples} resamples, "
        f"level {settings.level}",
    }
    return Comparison(tuple(rows), signature, tuple(skipped))


def write_comparison(found: Comparison, folder: Path) -> None:
    """Write results.json and, with matplotlib, compare.png into `folder`.

    Raises:
        MissingExtra: matplotlib is not installed (results.json is written first).
    """
    from isogloss.adapt.compare_chart import write_chart

    write_json(folder / "results.json", found.as_json())
    write_chart(found, folder / "compare.png")


def _compared(
    one: ModelVectors, settings: CompareSettings, progress: bool
) -> list[ComparedTransform]:
    if one.fitted is not None:
        for seed in settings.seeds:
            _, judged = divide_by_meaning(one.meanings, share=settings.share, seed=seed)
            one.fitted.refuse(
                [one.items[i].id for i in judged], [one.items[i].meaning for i in judged]
            )
    total = len(settings.specs) * len(settings.seeds)
    with progress_bar("transforms", total) as advance:
        return compare_transforms(
            one.vectors,
            varieties=one.varieties,
            meanings=one.meanings,
            settings=settings,
            model=one.model,
            layer=one.layer,
            advance=advance if progress else None,
        )
