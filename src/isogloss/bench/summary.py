"""Stored results in; names for people, headline numbers, CSV and JSON out. Called by reports."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any, Literal

from isogloss._files import write_json, write_text
from isogloss.varieties import builtin_table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from isogloss.bench.store import RunResult

__all__ = [
    "BASELINES",
    "baseline_labels",
    "encoder_label",
    "group_cells",
    "is_text",
    "labels_of",
    "phonetic_basis",
    "role_of",
    "set_label",
    "set_labels",
    "summarise",
    "write_results_csv",
    "write_results_json",
]

Role = Literal["trained", "mel", "ngram", "random", "other"]

BASELINES = {
    "R@1 phonetic": "sound alone: edit distance of phones",
    "R@1 by transcript": "spelling alone: edit distance of transcripts in the variety's characters",
    "R@1 by translation": "ceiling of standard transcripts: their edit distance",
    "R@1 by tfidf": "spelling alone: TF-IDF of character n-grams, fitted on the pool",
    "R@1 by edit": "spelling alone: edit distance of sentences",
}
"""Measures that need no encoder, and what they tell; see `baseline_labels` for a result's own."""

_BASES = {
    frozenset({"phones"}): "phones",
    frozenset({"transcript"}): "transcripts, for want of phones",
    frozenset({"phones", "transcript"}): "phones, or of transcripts where a pair has none",
}

_ROLES: dict[str, Role] = {"own": "trained", "mel": "mel", "ngram": "ngram", "random": "random"}
_GROUPS = {
    "zh_standard": "Standard Mandarin",
    "zh_dialect": "Dialect Mandarin",
    "wuu": "Wu",
    "hsn": "Xiang",
    "hak": "Hakka",
    "yue": "Yue",
    "min": "Min",
    "gan": "Gan",
}


def role_of(encoder: str) -> Role:
    """What an encoder is there for: 'trained' (own:), the floors 'mel' and 'ngram', 'random'."""
    return _ROLES.get(encoder.partition(":")[0], "other")


def is_text(result: RunResult) -> bool:
    """Whether the retrieval of a result compares sentences, not recordings."""
    return bool(result.retrieval.get("signature", {}).get("task") == "text_retrieval")


def phonetic_basis(result: RunResult) -> str:
    """What the phonetic baseline of a result compares; empty when it has none.

    It falls back to transcripts, pair by pair of sets, where items have no phones.
    """
    pairs = result.retrieval.get("pairs", ())
    found = frozenset(pair.get("phonetic_basis") for pair in pairs)
    return _BASES.get(found - {None}, "")


def baseline_labels(result: RunResult) -> dict[str, str]:
    """The baselines that a result has, and what each tells: the phonetic one names its basis.

    Retrieval by transcript is left out where it is the phonetic baseline under another name.
    """
    on = phonetic_basis(result)
    labels = {**BASELINES, "R@1 phonetic": f"sound alone: edit distance of {on}"}
    if on == _BASES[frozenset({"transcript"})]:
        del labels["R@1 by transcript"]
    return {name: text for name, text in labels.items() if result.measure(name) is not None}


def encoder_label(encoder: str) -> str:
    """A name for people: 'trained (a)' for 'own:exp/a', 'log-mel frames' for 'mel:'.

    A folder called 'model', as training names it, goes by the one that it lies in. Two encoders may
    get the same label; see `labels_of`.
    """
    kind, _, argument = encoder.partition(":")
    if kind == "own":
        above, _, name = argument.rstrip("/").rpartition("/")
        if name == "model":
            name = above.rstrip("/").rpartition("/")[2] or name
        return f"trained ({name or argument})"
    if kind == "mel":
        return "log-mel frames"
    if encoder == "ngram:":
        return "character n-grams"
    if kind == "random":
        return f"random weights ({argument or 'tiny'})"
    if argument.startswith("/"):
        # Of a folder on this disk the last name tells enough; a name such as 'a/b' is kept whole.
        return f"{kind}:{argument.rstrip('/').rpartition('/')[2]}"
    return encoder


def labels_of(encoders: Sequence[str]) -> dict[str, str]:
    """A name for people for each encoder; where two would be the same, both keep their own."""
    labels = {name: encoder_label(name) for name in encoders}
    seen = list(labels.values())
    return {name: name if seen.count(lb) > 1 else lb for name, lb in labels.items()}


def set_label(name: str, by: str) -> str:
    """English name of a variety, benchmark group, or group; a site keeps its own name."""
    if by == "site":
        return name
    if by == "group":
        return _GROUPS.get(name, name.replace("_", " ").replace("-", " ").capitalize())
    variety = builtin_table().get(name)
    return name if variety is None else variety.name.removesuffix(" Chinese")


def set_labels(result: RunResult) -> dict[str, str]:
    """Name for people of every set of a result; where two would be the same, both keep codes."""
    by = str(result.config.get("by", "variety"))
    labels = {s["name"]: set_label(s["name"], by) for s in result.retrieval["sets"]}
    seen = list(labels.values())
    return {n: f"{lb} ({n})" if seen.count(lb) > 1 else lb for n, lb in labels.items()}


def group_cells(
    result: RunResult, measure: str = "R@1"
) -> tuple[list[str], list[list[Mapping[str, Any] | None]]]:
    """Names of the rows and the square table of a result: groups, or sets where each is a group.

    Cells hold 'value', 'low', 'high'; None where there is no pair. Another measure than the stored
    one (R@1) is known for single sets only and gives their table.
    """
    table = result.retrieval["group_table"]
    if measure == table["measure"] and len(table["groups"]) < len(result.retrieval["sets"]):
        return list(table["groups"]), [list(row) for row in table["cells"]]
    return set_cells(result, measure)


def set_cells(
    result: RunResult, measure: str = "R@1"
) -> tuple[list[str], list[list[Mapping[str, Any] | None]]]:
    """As `group_cells`, for single sets whatever their groups."""
    names = [s["name"] for s in result.retrieval["sets"]]
    known = {
        (p["query"], p["target"]): p["measures"].get(measure) for p in result.retrieval["pairs"]
    }
    return names, [[known.get((a, b)) for b in names] for a in names]


def is_grouped(result: RunResult) -> bool:
    """Whether several sets share a group, so that the group table says something of its own."""
    return len(result.retrieval["group_table"]["groups"]) < len(result.retrieval["sets"])


def chance_of(result: RunResult) -> float | None:
    """R@1 of guessing, averaged over pairs."""
    mean = result.measure("R@1")
    found = None if mean is None else mean.get("signature", {}).get("chance")
    return None if found is None else float(found)


def summarise(results: Sequence[RunResult]) -> dict[str, Any]:
    """Headline numbers as fractions, then per pair with intervals: JSON values.

    Keys: `r_at_1_trained`, `r_at_1_mel`, `r_at_1_random` (the first encoder of each kind),
    `r_at_1_phonetic`, `r_at_1_by_transcript`, `r_at_1_by_translation`, `chance`, `cer`; None where
    not measured. `encoders` holds every measure of every encoder, `pairs` a row for each encoder
    and ordered pair.

    Raises:
        ValueError: there is no result.
    """
    if not results:
        raise ValueError("there is no result to summarise")
    first = results[0]
    flat: dict[str, Any] = {}
    for role in ("trained", "mel", "random"):
        mean = next((r.measure("R@1") for r in results if role_of(r.encoder) == role), None)
        flat[f"r_at_1_{role}"] = None if mean is None else mean["value"]
    for measure in BASELINES:
        mean = first.measure(measure)
        flat[_column(measure)] = None if mean is None else mean["value"]
    flat["phonetic_basis"] = phonetic_basis(first) or None
    flat["chance"] = chance_of(first)
    cer = next((r.transcription[0]["value"] for r in results if r.transcription), None)
    return {
        **flat,
        "cer": cer,
        "corpus": dict(first.corpus),
        "encoders": [
            {
                "encoder": r.encoder,
                "made_by": r.made_by,
                "measures": {
                    name: {k: v for k, v in mean.items() if k != "signature"}
                    for name, mean in r.retrieval.get("measures", {}).items()
                },
                "tasks": {name: _plain_entry(entry) for name, entry in r.tasks.items()},
                "buckets": list(r.retrieval.get("buckets", ())),
                "layers": list(r.layers),
                "transcription": list(r.transcription),
                "signature": dict(r.retrieval.get("signature", {})),
                "seconds": dict(r.seconds),
                "versions": dict(r.versions),
            }
            for r in results
        ],
        "pairs": list(_pair_rows(results)),
    }


def _plain_entry(entry: Mapping[str, Any]) -> dict[str, Any]:
    """A task's entry without the statistics of single items."""
    kept = {k: v for k, v in entry.items() if k not in ("tables", "item_keys", "measurements")}
    measured = [
        {k: v for k, v in m.items() if k not in ("per_item", "item_keys")}
        for m in entry.get("measurements", ())
    ]
    return {**kept, "measurements": measured}


def _pair_rows(results: Iterable[RunResult]) -> Iterable[dict[str, Any]]:
    for result in results:
        for pair in result.retrieval.get("pairs", ()):
            row: dict[str, Any] = {
                "encoder": result.encoder,
                "query": pair["query"],
                "target": pair["target"],
                "query_group": pair["query_group"],
                "target_group": pair["target_group"],
                "n": pair["n"],
            }
            for name, found in pair["measures"].items():
                column = _column(name)
                row[column] = found["value"]
                row[f"{column}_low"] = found["low"]
                row[f"{column}_high"] = found["high"]
            row["matched_mean"] = pair["matched_mean"]
            row["unmatched_mean"] = pair["unmatched_mean"]
            row["queries_with_ties"] = pair["queries_with_ties"]
            row["chance"] = 1 / pair["n"]
            yield row


def _column(measure: str) -> str:
    return measure.lower().replace("@", "_at_").replace(" ", "_")


def write_results_json(
    results: Sequence[RunResult], path: Path, *, extra: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Write `summarise(results)`, with `extra` keys before the rest, and return what is written."""
    values = {**(extra or {}), **summarise(results)}
    write_json(path, values)
    return values


def write_results_csv(results: Sequence[RunResult], path: Path) -> None:
    """One row for each encoder and ordered pair, values as fractions with interval bounds.

    UTF-8, comma, header; a cell is empty where a value is not known.
    """
    rows = list(_pair_rows(results))
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())
