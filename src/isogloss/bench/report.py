"""Results in, one self-contained HTML file out: no network, opens from a disk, light and dark."""

from __future__ import annotations

import json
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from isogloss._files import write_text
from isogloss.bench.colours import heat_css, map_palette
from isogloss.bench.compare import compare
from isogloss.bench.report_curves import layers_section, training_section, transcription_section
from isogloss.bench.report_examples import examples_section
from isogloss.bench.report_suite import (
    compare_section,
    controlled_section,
    coverage_section,
    probe_section,
)
from isogloss.bench.report_tables import (
    buckets_section,
    headline,
    matrix_section,
    measures_section,
    pairs_section,
    plural,
    recipe_section,
)
from isogloss.bench.report_text import heat_section, mining_section
from isogloss.bench.summary import BASELINES, chance_of, is_text, labels_of, role_of
from isogloss.bench.task_kinds import TEXT_TASKS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from isogloss.bench.store import RunResult
    from isogloss.types import Corpus

__all__ = ["whole_page", "write_report"]

_PAGE = Path(__file__).with_name("page")
# The browser itself then refuses anything that is not in this file.
_POLICY = (
    "default-src 'none'; img-src data:; media-src data:; "
    "style-src 'unsafe-inline'; script-src 'unsafe-inline'"
)
_BY = {"variety": "variety", "site": "place", "group": "group"}


def write_report(
    results: Sequence[RunResult],
    corpus: Corpus | None,
    out: Path,
    *,
    title: str | None = None,
    train_logs: Mapping[str, Path] | None = None,
    note: str | None = None,
) -> Path:
    """Write the page about `results` to the file `out` and return its path.

    Args:
        results: of one corpus; trained encoders are shown first, then the others as given.
        corpus: gives the examples their sound and texts; None, or a corpus whose recordings are
            gone, leaves the players out and says so.
        out: the HTML file, replaced whole.
        title: of the page.
        train_logs: name of an encoder to the `train.jsonl` of its training.
        note: a sentence for the reader under the introduction, such as what synthetic speech
            does not show.

    Raises:
        ValueError: there is no result, or they come from different corpora.
    """
    if not results:
        raise ValueError("there is no result to report")
    if len({result.corpus["sha"] for result in results}) > 1:
        raise ValueError("the results come from different corpora; report on one at a time")
    # A stable sort: the order asked for, trained encoders first.
    everyone = sorted(results, key=lambda r: role_of(r.encoder) != "trained")
    # Of a run that goes on, or a suite without retrieval, some results have only other tasks.
    ordered = [result for result in everyone if result.retrieval]
    heading = title or _heading(everyone[0])
    about = everyone[0].config.get("about")
    # A run of one experiment has the tests in the comparison alone; its page stays as it was.
    is_suite = "tasks" in everyone[0].config
    sections = [
        f"<h1>{escape(heading)}</h1>",
        f"<p>{escape(_sentence(str(about)))}</p>" if about else "",
        *(
            [_guide(ordered), f"<p>{escape(note)}</p>" if note else "", headline(ordered)]
            if ordered
            else []
        ),
        compare_section(compare(everyone)) if is_suite else "",
        *(
            [
                matrix_section(ordered),
                pairs_section(ordered),
                measures_section(ordered),
                buckets_section(ordered),
            ]
            if ordered
            else []
        ),
        mining_section(everyone),
        heat_section(everyone),
        controlled_section(everyone),
        layers_section(ordered) if ordered else "",
        probe_section(everyone),
        transcription_section(everyone),
        training_section(train_logs or {}),
        examples_section(ordered[0], corpus) if ordered else "",
        coverage_section(everyone),
        recipe_section(everyone),
    ]
    write_text(out, whole_page(heading, "\n".join(part for part in sections if part)))
    return out


def _heading(result: RunResult) -> str:
    if "tasks" in result.config:
        kinds = {str(task.get("task")) for task in result.config["tasks"].values()}
        return f"{'Text' if kinds & set(TEXT_TASKS) else 'Speech'} benchmark: {result.suite}"
    return f"Cross-dialect speech retrieval: {result.corpus['name']}"


def _guide(results: Sequence[RunResult]) -> str:
    """One paragraph: what was asked, what came out, what to hold it against."""
    first = results[0]
    by = _BY[str(first.config.get("by", "variety"))]
    mean = first.measure("R@1")
    sizes = sorted({pair["n"] for pair in first.retrieval["pairs"]})
    pool = f"{sizes[0]}" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
    sets, pairs = len(first.retrieval["sets"]), len(first.retrieval["pairs"])
    spoken = (
        f"A sentence is spoken in one {by}; which of {pool} recordings in another {by} says the "
        f"same? R@1 is the share of queries whose nearest recording is the right one, here "
        f"averaged over the {pairs} ordered pairs of {sets} {plural(first)}."
    )
    written = (
        f"A sentence is written in one {by}; which of {pool} sentences in another {by} is its "
        f"translation? R@1 is the share of sentences whose nearest one is, here averaged over the "
        f"{pairs} ordered pairs of {sets} {plural(first)}."
    )
    text = is_text(first)
    parts = [written if text else spoken]
    if mean is not None:
        labels = labels_of([r.encoder for r in results])
        found = f"{labels[first.encoder]} finds it for {_percent(mean)} of the queries"
        rest = [
            f"{labels[r.encoder]} for {_percent(m)}"
            for r in results[1:]
            if (m := r.measure("R@1")) is not None
        ]
        chance = chance_of(first)
        rest += [] if chance is None else [f"guessing for {100 * chance:.1f} %"]
        parts.append(found[0].upper() + found[1:] + (f"; {', '.join(rest)}." if rest else "."))
    if any(first.measure(name) is not None for name in BASELINES):
        parts.append(
            "Related varieties share words that look alike, so every result stands beside what "
            "spelling alone would find."
            if text
            else "Related varieties share words that sound alike, so every result stands beside "
            "what sound or spelling alone would find."
        )
    level = f"{100 * float(first.config.get('level', 0.95)):g}"
    parts.append(f"Ranges are {level} % bootstrap intervals.")
    return f"<p>{escape(' '.join(parts))}</p>"


def _sentence(text: str) -> str:
    """`text` with a capital first letter and a full stop; names in it stay as they are."""
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


def _percent(mean: Mapping[str, float]) -> str:
    return f"{100 * mean['value']:.1f} %"


def whole_page(title: str, body: str) -> str:
    """One self-contained HTML document in the style of all pages; `body` is trusted HTML."""
    style = (_PAGE / "style.css").read_text(encoding="utf-8")
    script = (_PAGE / "script.js").read_text(encoding="utf-8")
    palette = json.dumps(map_palette().tolist(), separators=(",", ":"))
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<title>{escape(title)}</title>
<style>
{style}
{heat_css()}
</style>
</head>
<body>
<main>
{body}
</main>
<script type="application/json" id="palette">{palette}</script>
<script>
{script}
</script>
</body>
</html>
"""
