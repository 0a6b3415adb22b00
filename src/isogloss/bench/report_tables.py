"""Results in; the tables, matrices and bars of the report out, as HTML. Called by `report.py`."""

from __future__ import annotations

import json
from html import escape
from typing import TYPE_CHECKING, Any

from isogloss.bench.colours import HEAT_LEVELS, heat_level
from isogloss.bench.figures import Bar, bars
from isogloss.bench.summary import (
    BASELINES,
    baseline_labels,
    chance_of,
    group_cells,
    is_grouped,
    labels_of,
    phonetic_basis,
    role_of,
    set_cells,
    set_label,
    set_labels,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from isogloss.bench.store import RunResult

__all__ = [
    "buckets_section",
    "headline",
    "matrix_section",
    "measures_section",
    "pairs_section",
    "plural",
    "recipe_section",
    "styles",
]

# Up to this many sets a table of all of them can be read; beyond, groups stand for them.
_MOST_SETS_SHOWN = 31
_MOST_PAIRS_LISTED = 90
_CELL_WITH_INTERVAL = 10


def styles(results: Sequence[RunResult]) -> dict[str, str]:
    """Style class of each encoder: colours for trained ones and others, greys for floors."""
    found, colour = {}, 0
    for result in results:
        role = role_of(result.encoder)
        if role in ("mel", "ngram", "random"):
            found[result.encoder] = "control" if role == "random" else "floor"
        else:
            found[result.encoder] = f"s{colour % 4}"
            colour += 1
    return found


def _encoder_labels(results: Sequence[RunResult]) -> dict[str, str]:
    return labels_of([result.encoder for result in results])


def headline(results: Sequence[RunResult]) -> str:
    """Bars of mean R@1: every encoder, then what needs no encoder."""
    first = results[0]
    style, labels = styles(results), _encoder_labels(results)
    rows = [
        _bar(labels[r.encoder], mean, style[r.encoder])
        for r in results
        if (mean := r.measure("R@1")) is not None
    ]
    for measure, (label, note) in _baselines(first).items():
        mean = first.measure(measure)
        if mean is not None:
            rows.append(_bar(label, mean, "sound", note))
    chance = chance_of(first)
    told = "" if chance is None else f"; dotted line: guessing, {100 * chance:.1f} %"
    return bars([("", rows)], title=f"R@1 in %, mean over ordered pairs{told}", chance=chance)


def _baselines(result: RunResult) -> dict[str, tuple[str, str]]:
    """Label and note of each baseline; the phonetic one says what it rests on."""
    labels = {
        "R@1 phonetic": ("sound alone", f"edit distance of {phonetic_basis(result)}"),
        "R@1 by transcript": ("dialect transcripts", "edit distance of what was said, written"),
        "R@1 by translation": ("standard transcripts", "edit distance: the ceiling of ASR labels"),
        "R@1 by tfidf": ("n-grams of the pool", "TF-IDF of characters, fitted on what is judged"),
        "R@1 by edit": ("edit distance", "normalised, of sentences as they are written"),
    }
    return {measure: labels[measure] for measure in baseline_labels(result)}


def _bar(label: str, mean: Mapping[str, Any], style: str, note: str = "") -> Bar:
    return Bar(label, mean["value"], mean["low"], mean["high"], style, note)


def matrix_section(results: Sequence[RunResult]) -> str:
    """Heatmaps of R@1: groups where sets share one, and single sets where they are few."""
    parts = ["<h2>Who finds whom</h2>"]
    first = results[0]
    grouped = is_grouped(first)
    within = " In a table of groups the diagonal holds pairs within a group." if grouped else ""
    parts.append(f"<p>R@1 in %. Rows ask, columns answer.{within}</p>")
    if grouped:
        parts.append("<h3>Groups</h3>")
        parts.append(_matrices(results, by_group=True))
    if len(first.retrieval["sets"]) <= _MOST_SETS_SHOWN:
        parts.append(f"<h3>Single {plural(first)}</h3>" if grouped else "")
        parts.append(_matrices(results, by_group=False))
    else:
        parts.append(
            f'<p class="note">The {len(first.retrieval["sets"])} single {plural(first)} are in '
            "the CSV file.</p>"
        )
    swatches = "".join(f'<i class="h{i}"></i>' for i in range(HEAT_LEVELS + 1))
    parts.append(f'<div class="scale" aria-hidden="true">0 %<span>{swatches}</span>100 %</div>')
    return "\n".join(parts)


def plural(result: RunResult) -> str:
    """What the sets of a result are, in the plural."""
    by = str(result.config.get("by", "variety"))
    return {"variety": "varieties", "site": "places"}.get(by, f"{by}s")


def _matrices(results: Sequence[RunResult], *, by_group: bool) -> str:
    tables, captions = [], _encoder_labels(results)
    for result in results:
        names, cells = group_cells(result) if by_group else set_cells(result)
        labels = _labels(result, names, by_group=by_group)
        tables.append(heat_table(captions[result.encoder], names, labels, cells))
    first = results[0]
    for floor in () if by_group else ("R@1 phonetic", "R@1 by tfidf"):
        if first.measure(floor) is not None:
            names, cells = set_cells(first, floor)
            label = _baselines(first)[floor][0]
            labels = _labels(first, names, by_group=False)
            tables.append(heat_table(label, names, labels, cells))
    return f'<div class="matrices">{"".join(tables)}</div>'


def _labels(result: RunResult, names: Sequence[str], *, by_group: bool) -> dict[str, str]:
    if by_group:
        return {name: set_label(name, "group") for name in names}
    return set_labels(result)


def heat_table(
    caption: str,
    names: Sequence[str],
    labels: Mapping[str, str],
    cells: Sequence[Sequence[Mapping[str, Any] | None]],
) -> str:
    """A square table whose cells are shaded by value; numbers in %, intervals where few."""
    dense = " dense" if len(names) > _CELL_WITH_INTERVAL else ""
    head = "".join(f'<th scope="col">{escape(labels[name])}</th>' for name in names)
    rows = []
    for name, row in zip(names, cells, strict=True):
        shown = "".join(_heat_cell(cell, interval=not dense) for cell in row)
        rows.append(f'<tr><th scope="row">{escape(labels[name])}</th>{shown}</tr>')
    return (
        f'<div class="scroll"><table class="heat{dense}"><caption>{escape(caption)}</caption>'
        f"<thead><tr><td></td>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _heat_cell(cell: Mapping[str, Any] | None, *, interval: bool) -> str:
    if cell is None:
        return '<td class="none">–</td>'
    value = f"{100 * cell['value']:.1f}"
    if interval and cell["low"] is not None:
        value += f"<small>{100 * cell['low']:.0f}–{100 * cell['high']:.0f}</small>"
    return f'<td class="h{heat_level(cell["value"])}">{value}</td>'


def pairs_section(results: Sequence[RunResult]) -> str:
    """Every ordered pair (or pair of groups) with intervals, baselines and chance."""
    first = results[0]
    rows = _pair_values(results)
    baselines = _baselines(first)
    by_group = len(first.retrieval["pairs"]) > _MOST_PAIRS_LISTED
    columns = list(_encoder_labels(results).values())
    columns += [] if by_group else [label for label, _ in baselines.values()]
    head = "".join(f'<th scope="col">{escape(c)}</th>' for c in columns)
    body = []
    for label, n, values, chance in rows:
        shown = "".join(f"<td>{_with_interval(v)}</td>" for v in values)
        body.append(
            f'<tr><th scope="row">{escape(label)}</th><td>{n}</td>{shown}'
            f"<td>{'–' if chance is None else f'{100 * chance:.1f}'}</td></tr>"
        )
    means = [r.measure("R@1") for r in results]
    means += [] if by_group else [first.measure(m) for m in baselines]
    chance = chance_of(first)
    body.append(
        '<tr class="total"><th scope="row">mean</th><td></td>'
        + "".join(f"<td>{_with_interval(m)}</td>" for m in means)
        + f"<td>{'–' if chance is None else f'{100 * chance:.1f}'}</td></tr>"
    )
    what = "pair of groups" if by_group else "ordered pair"
    return (
        f"<h2>Every {what}</h2>"
        '<div class="scroll"><table class="plain pairs">'
        "<caption>R@1 in %, with intervals; N is the "
        f"number of {'ordered pairs of sets' if by_group else 'queries, and of answers'}"
        f'</caption><thead><tr><th scope="col">query → answer</th><th scope="col">N</th>{head}'
        f'<th scope="col">chance</th></tr></thead><tbody>{"".join(body)}</tbody></table></div>'
    )


_Row = tuple[str, int, "list[Mapping[str, Any] | None]", "float | None"]


def _pair_values(results: Sequence[RunResult]) -> list[_Row]:
    first = results[0]
    if len(first.retrieval["pairs"]) > _MOST_PAIRS_LISTED:
        return _group_values(results)
    labels = set_labels(first)
    rows: list[_Row] = []
    for pair in first.retrieval["pairs"]:
        values: list[Mapping[str, Any] | None] = []
        for result in results:
            same = result.pair(pair["query"], pair["target"])
            values.append(None if same is None else same["measures"].get("R@1"))
        values += [pair["measures"].get(m) for m in _baselines(first)]
        label = f"{labels[pair['query']]} → {labels[pair['target']]}"
        rows.append((label, pair["n"], values, 1 / pair["n"]))
    return rows


def _group_values(results: Sequence[RunResult]) -> list[_Row]:
    tables = [group_cells(result) for result in results]
    names = tables[0][0]
    count: dict[tuple[str, str], int] = {}
    for pair in results[0].retrieval["pairs"]:
        key = (pair["query_group"], pair["target_group"])
        count[key] = count.get(key, 0) + 1
    rows: list[_Row] = []
    for i, a in enumerate(names):
        for j, b in enumerate(names):
            values = [cells[i][j] if own == names else None for own, cells in tables]
            if values[0] is not None:
                label = f"{set_label(a, 'group')} → {set_label(b, 'group')}"
                rows.append((label, count.get((a, b), 0), values, None))
    return rows


def _with_interval(value: Mapping[str, Any] | None) -> str:
    if value is None:
        return "–"
    shown = f"{100 * value['value']:.1f}"
    if value["low"] is None:
        return shown
    return f"{shown} <small>{100 * value['low']:.1f}–{100 * value['high']:.1f}</small>"


_MEANINGS = {
    "MRR": "mean of 1 / rank",
    "xSIM": "best by margin is wrong; smaller is better",
}


def measures_section(results: Sequence[RunResult]) -> str:
    """Means over pairs of everything measured."""
    names = [
        name
        for name in results[0].retrieval["measures"]
        if name not in BASELINES and not name.startswith("R@1 by")
    ]
    labels = _encoder_labels(results)
    head = "".join(f'<th scope="col">{escape(labels[r.encoder])}</th>' for r in results)
    hard = results[0].config.get("hard", 5)
    body = []
    for name in names:
        meaning = _MEANINGS.get(name, "")
        if name == "hard R@1":
            meaning = f"against the {hard} wrong answers that sound nearest"
        values = "".join(f"<td>{_with_interval(r.measure(name))}</td>" for r in results)
        note = f" <small>{escape(meaning)}</small>" if meaning else ""
        body.append(f'<tr><th scope="row">{escape(name)}{note}</th>{values}</tr>')
    return (
        '<h2>Other measures</h2><div class="scroll"><table class="plain">'
        "<caption>In %, mean over ordered pairs</caption>"
        f'<thead><tr><th scope="col">measure</th>{head}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


_BUCKET_KINDS = {
    "distance": ("By distance in sound", "Edit distance to the right answer"),
    "cognates": ("By shared words", "Share of cognate words"),
}


def buckets_section(results: Sequence[RunResult]) -> str:
    """R@1 where query and right answer are alike, middling and unlike in sound or words."""
    style, labels = styles(results), _encoder_labels(results)
    charts = []
    for kind, (title, of) in _BUCKET_KINDS.items():
        blocks: dict[tuple[float, str], list[Bar]] = {}
        for result in results:
            for bucket in result.retrieval["buckets"]:
                told = bucket["signature"]
                if bucket["name"].split()[1] == kind:
                    heading = f"{told['from']:.2f} to {told['to']:.2f}, {bucket['n']} queries"
                    bar = _bar(labels[result.encoder], bucket, style[result.encoder])
                    blocks.setdefault((told["from"], heading), []).append(bar)
        if blocks:
            rows = [(heading, found) for (_, heading), found in sorted(blocks.items())]
            chart = bars(rows, title=f"{of}; bars are R@1 in %")
            charts.append(f"<div><h3>{title}</h3>{chart}</div>")
    if not charts:
        return ""
    return (
        "<h2>Does it ride on sound?</h2><p>All queries in three parts of about equal size. An "
        "encoder that hears only sound fails where the right answer sounds different.</p>"
        f'<div class="columns">{"".join(charts)}</div>'
    )


def recipe_section(results: Sequence[RunResult]) -> str:
    """Everything that changes the numbers, and what was left out."""
    first = results[0]
    corpus = first.corpus
    facts = [("corpus", f"{corpus['name']}, {corpus['items']} items, sha256 {corpus['sha']}")]
    facts += [(k, str(corpus[k])) for k in ("licence", "source") if corpus.get(k)]
    for reason, count in first.retrieval.get("left_out", {}).items():
        facts.append(("left out", f"{count} items: {reason}"))
    labels = _encoder_labels(results)
    for result in results:
        facts.append((labels[result.encoder], result.made_by))
        broken = result.retrieval.get("unreadable", ())
        if broken:
            listed = "; ".join(f"{b['item']}: {b['reason']}" for b in broken[:10])
            facts.append((f"{len(broken)} unreadable", listed))
    facts.append(("computed with", ", ".join(f"{k} {v}" for k, v in first.versions.items())))
    rows = "".join(
        f'<tr><th scope="row">{escape(k)}</th><td class="words"><code>{escape(v)}</code></td></tr>'
        for k, v in facts
    )
    signature = json.dumps(
        {
            "config": dict(first.config),
            "signature": dict(first.retrieval.get("signature", {})),
        },
        ensure_ascii=False,
        indent=2,
    )
    return (
        '<h2>How these numbers were made</h2><div class="scroll"><table class="plain">'
        f"<tbody>{rows}</tbody></table></div>"
        f"<details><summary>Settings</summary><pre>{escape(signature)}</pre></details>"
    )
