"""Result files of older releases in, values of the present format out. Called by `store.py`.

1  first release: one experiment ('speech_retrieval') a folder; ranks only in the rows of queries
2  several suites a folder; each task has an entry with what paired tests need
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["FORMAT", "migrated_result", "migrated_run"]

FORMAT = 2


def migrated_run(values: Mapping[str, Any], version: int) -> Mapping[str, Any]:
    """`run.json` as format 2 has it.

    Raises:
        KeyError: a needed key is absent.
    """
    if version >= FORMAT:
        return values
    record = {name: values[name] for name in ("config", "corpus", "results")}
    return {"suites": {"speech_retrieval": record}}


def migrated_result(values: Mapping[str, Any], version: int) -> dict[str, Any]:
    """A result file as format 2 has it; the entries of its tasks are made from its sections."""
    if version >= FORMAT:
        return dict(values)
    tasks: dict[str, Any] = {}
    retrieval = values["retrieval"]
    measured = [*retrieval["measures"].values(), *retrieval.get("buckets", ())]
    tasks["retrieval"] = _entry("retrieval", ["R@1", "MRR"], measured)
    tables = _tables(values)
    if tables is not None:
        tasks["retrieval"]["tables"] = tables
    if values.get("layers"):
        tasks["layers"] = _entry("layers", [], _layer_measures(values["layers"]))
    if values.get("transcription"):
        tasks["transcription"] = _entry("transcription", ["CER"], values["transcription"])
    return {**values, "tasks": tasks}


def _entry(task: str, show: list[str], measured: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    measurements = [{"higher_is_better": True, "signature": {}, **dict(m)} for m in measured]
    # No key: format 1 had one key for the whole result, which still says whether it holds.
    return {
        "task": task,
        "key": None,
        "show": show,
        "signature": {},
        "measurements": measurements,
    }


def _layer_measures(layers: Iterable[Mapping[str, Any]]) -> Iterable[dict[str, Any]]:
    for layer in layers:
        for name, mean in layer["measures"].items():
            yield {**mean, "name": f"{name} layer {layer['layer']}"}


def _tables(values: Mapping[str, Any]) -> dict[str, Any] | None:
    """Ranks out of the rows of queries; None where they were too many to be stored."""
    retrieval = values["retrieval"]
    pairs = retrieval["pairs"]
    if not pairs or not all("items" in pair for pair in pairs):
        return None
    meanings = sorted({row["meaning"] for pair in pairs for row in pair["items"]})
    column = {meaning: i for i, meaning in enumerate(meanings)}
    ranks = []
    for pair in pairs:
        row = ["-"] * len(meanings)
        for item in pair["items"]:
            row[column[item["meaning"]]] = str(item["rank"])
        ranks.append(" ".join(row))
    by_site = values["config"].get("by") == "site"
    return {
        "meanings": meanings,
        "pairs": [[pair["query"], pair["target"]] for pair in pairs],
        "strata": {s["name"]: s["group"] if by_site else s["name"] for s in retrieval["sets"]},
        "rank": ranks,
    }
