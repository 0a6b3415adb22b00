"""A kind of task such as 'retrieval' in, its class and checked options out; called by `suite.py`.

A dict from kind to class, imported when a suite asks for it; packages of others add kinds through
the entry-point group 'isogloss.tasks'.
"""

from __future__ import annotations

import dataclasses
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, cast

from isogloss.errors import IsoglossError, UnknownName

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "RETRIEVALS",
    "SHOWN",
    "TASKS",
    "TEXT_TASKS",
    "checked_options",
    "load_task",
    "option_names",
    "task_names",
]

TASKS = {
    "comparable-documents": "isogloss.tasks.comparable_documents:ComparableDocuments",
    "controlled": "isogloss.tasks.controlled:ControlledRetrieval",
    "divergence": "isogloss.tasks.divergence:Divergence",
    "fact-alignment": "isogloss.tasks.fact_alignment:FactAlignment",
    "intent": "isogloss.tasks.intent:IntentClassification",
    "knn": "isogloss.tasks.knn_classification:NearestExamples",
    "layers": "isogloss.bench.layers:LayerSweep",
    "mining": "isogloss.tasks.text_mining:TextMining",
    "mixed-pool": "isogloss.tasks.mixed_pool:MixedPool",
    "probe": "isogloss.tasks.probe:Probe",
    "relatedness": "isogloss.tasks.relatedness:Relatedness",
    "retrieval": "isogloss.tasks.speech_retrieval:SpeechRetrieval",
    "sentence-alignment": "isogloss.tasks.sentence_alignment:SentenceAlignment",
    "text-retrieval": "isogloss.tasks.text_retrieval:TextRetrieval",
    "transcription": "isogloss.tasks.transcription:Transcription",
    "within": "isogloss.tasks.within:WithinGroupRetrieval",
    "word-choice": "isogloss.tasks.word_choice:WordChoice",
}
"""Kind of task to its class, a frozen dataclass with `run(corpus, encoder)`."""

RETRIEVALS = ("retrieval", "text-retrieval")
"""Kinds whose first task fills the page: matrix, pairs, examples."""

TEXT_TASKS = (
    "comparable-documents",
    "fact-alignment",
    "divergence",
    "knn",
    "mining",
    "mixed-pool",
    "relatedness",
    "sentence-alignment",
    "text-retrieval",
)
"""Kinds that read sentences."""

SHOWN = {
    "controlled": (
        "hard R@1",
        "R@1 distance high",
        "partial Spearman meaning",
        "partial Spearman sound",
    ),
    "comparable-documents": ("document F1 *", "sentence F1 *"),
    "fact-alignment": ("fact F1", "fact F1 *"),
    "divergence": ("AUC *", "F1 *", "ranking accuracy *", "Spearman words *"),
    "intent": ("* accuracy *", "* gap *"),
    "knn": ("accuracy * k=1", "accuracy * k=1 by *", "accuracy * k=5", "macro-F1 * k=1"),
    "mining": ("F1 *",),
    "mixed-pool": (
        *("mAP", "mAP by *", "mAP one variety at a time", "mAP one variety at a time by *"),
        *("R@1", "R@1 by *", "same-variety share", "same-variety share by *"),
    ),
    "probe": ("* probe accuracy",),
    "relatedness": ("Spearman *",),
    "retrieval": ("R@1", "MRR"),
    "sentence-alignment": ("strict F1", "strict F1 by *", "lax F1", "lax F1 by *"),
    "text-retrieval": ("R@1", "R@1 by *", "xSIM", "matched score", "random score"),
    "transcription": ("CER",),
    "within": ("within-group R@1", "cross-group R@1"),
    "word-choice": ("word choice accuracy",),
}
"""Measures that a comparison shows where the suite does not say which; `*` is any text."""

_ENTRY_POINT_GROUP = "isogloss.tasks"
# What a run gives to every task that takes it; a suite cannot.
_NOT_OPTIONS = ("cache_dir", "progress", "retrieval")


def task_names() -> tuple[str, ...]:
    """Every kind of task that a suite may name here, sorted."""
    return tuple(sorted({*TASKS, *_others()}))


def checked_options(cls: type[Any], options: Mapping[str, Any], where: str) -> dict[str, Any]:
    """`options` as the fields of `cls` want them; made once, so that bad values show here.

    Raises:
        UnknownName: the class has no such field; near matches are offered.
        ValueError: a value is not allowed.
    """
    known = option_names(cls)
    for name in options:
        if name not in known:
            raise UnknownName(f"option ({where})", name, known)
    plain = {k: tuple(v) if isinstance(v, list) else v for k, v in options.items()}
    try:
        cls(**plain)
    except TypeError as error:
        raise ValueError(f"{where}: {error}") from error
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
    return plain


def option_names(cls: type[Any]) -> tuple[str, ...]:
    """The fields of a task's class that a suite may set."""
    return tuple(f.name for f in dataclasses.fields(cls) if f.init and f.name not in _NOT_OPTIONS)


def load_task(kind: str) -> type[Any]:
    """The class of this kind of task.

    Raises:
        UnknownName: there is no such kind; near matches are offered.
        IsoglossError: its class cannot be imported, or is no dataclass.
    """
    if kind in TASKS:
        module, _, attribute = TASKS[kind].partition(":")
        where = TASKS[kind]
        try:
            found = getattr(import_module(module), attribute)
        except (ModuleNotFoundError, AttributeError) as error:
            raise IsoglossError(f"task '{kind}' ({where}) cannot be imported: {error}") from error
    else:
        others = _others()
        if kind not in others:
            raise UnknownName("task", kind, task_names())
        where = others[kind].value
        try:
            found = others[kind].load()
        except (ImportError, AttributeError) as error:
            raise IsoglossError(
                f"task '{kind}' of another package ({where}) cannot be imported: {error}; mend or "
                "uninstall that package"
            ) from error
    if not (isinstance(found, type) and dataclasses.is_dataclass(found)):
        raise IsoglossError(f"task '{kind}' ({where}) is no dataclass; run check_task on it")
    return cast("type[Any]", found)


@cache
def _others() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=_ENTRY_POINT_GROUP)}
