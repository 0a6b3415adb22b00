"""What `isogloss measure` found in, one self-contained HTML page out, in the style of all pages."""

from __future__ import annotations

import json
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from isogloss._files import write_text
from isogloss.bench.alignment_pictures import CURVES
from isogloss.bench.colours import heat_level
from isogloss.bench.figures import Series, curve, png_uri
from isogloss.bench.report import whole_page
from isogloss.tasks.alignment_explain import explained

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from isogloss.tasks.alignment_result import AlignmentResult, AlignmentRow

__all__ = ["write_alignment_page"]

_STYLES = ("s0", "s1", "s2", "s3")
_MOST_PAIRS = 200


def write_alignment_page(
    result: AlignmentResult, out: Path, *, title: str | None = None, pictures: Sequence[Path] = ()
) -> Path:
    """Write the page about `result` to the file `out`, replaced whole, and return its path.

    Args:
        result: what was measured.
        out: the HTML file.
        title: of the page.
        pictures: PNG files of map and tree to show, where they were drawn.
    """
    heading = title or f"Alignment of varieties: {result.signature['corpus']}"
    site = next(iter(result.chosen_layer), "residual")
    sections = [
        f"<h1>{escape(heading)}</h1>",
        _guide(result),
        *(_best_table(result, one) for one in result.sites),
        _curves(result),
        _matrix(result, site),
        _drawings(pictures),
        _sources(result, site),
        _concept_curves(result, site),
        _pairs(result, site),
        _notes(result),
        _recipe(result),
    ]
    write_text(out, whole_page(heading, "\n".join(part for part in sections if part)))
    return out


def _guide(result: AlignmentResult) -> str:
    told = result.signature
    parts = [
        f"{told['meanings']} meanings in {len(result.varieties)} varieties "
        f"({', '.join(result.varieties)}), {len(told['pairs'])} pairs, as {told['takes']}."
    ]
    for site, layer in result.chosen_layer.items():
        found = result.best("R@1", site)
        if found is not None:
            label = result.layers.get(layer, str(layer))
            parts.append(
                f"At site {site} the translation is nearest most often at layer {layer} ({label}): "
                f"R@1 {100 * found.value:.1f} %{_between(found, 100)}."
            )
    floor = None if result.floor is None else result.floor.best("R@1", "residual")
    if floor is not None:
        parts.append(f"The floor, which has learnt nothing, finds {100 * floor.value:.1f} %.")
    parts.append(
        "The layer is chosen on these very items, so its numbers are a little high. Similarities "
        "of translations mean nothing without those of random pairs, which stand beside them."
    )
    return f"<p>{escape(' '.join(parts))}</p>"


def _best_table(result: AlignmentResult, site: str) -> str:
    body = []
    for name in result.names(site):
        best = result.best(name, site)
        if best is None:
            continue
        chosen = _at(result, name, site, result.chosen_layer.get(site))
        floor = None if result.floor is None else result.floor.best(name, "residual")
        known = explained(name)
        note = f"<small>Here: {escape(best.note)}.</small>" if best.note else ""
        body.append(
            f'<tr><th scope="row">{escape(name)}</th><td>{best.layer}</td>'
            f"<td>{best.value:.3f} <small>{escape(_between(best))}</small></td>"
            f"<td>{'' if chosen is None else f'{chosen.value:.3f}'}</td>"
            f"<td>{'' if floor is None else f'{floor.value:.3f}'}</td>"
            f'<td class="words">{escape(_sentence(known.means))} '
            f"<small>Misleads: {escape(known.misleads)}.</small> {note}</td></tr>"
        )
    heads = "".join(
        f'<th scope="col">{text}</th>'
        for text in ("number", "best layer", "there", "at the chosen layer", "floor")
    )
    heads += '<th scope="col" class="words">what it is</th>'
    return (
        f"<h2>Numbers at site {escape(site)}</h2>"
        '<div class="scroll"><table class="plain"><caption>Mean over pairs of varieties, with '
        f"intervals over meanings. Best: smallest where small is good.</caption><thead><tr>{heads}"
        f"</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
    )


def _curves(result: AlignmentResult) -> str:
    charts = []
    for site in result.sites:
        for title, names in CURVES:
            series: list[Series] = []
            for name in names:
                points = [
                    (float(row.layer), row.value, row.low, row.high)
                    for row in result.means(name, site)
                    if not np.isnan(row.value)
                ]
                if points:
                    series.append(Series(name, points, _STYLES[len(series) % len(_STYLES)]))
            if not series or max(len(one.points) for one in series) < 2:
                continue
            floor = None if result.floor is None else result.floor.best(names[0], "residual")
            if floor is not None:
                ends = [series[0].points[0][0], series[0].points[-1][0]]
                flat = [(x, floor.value, None, None) for x in ends]
                series.append(Series(f"{names[0]}, floor", flat, "sound"))
            values = [v for one in series for _, y, low, high in one.points for v in (y, low, high)]
            known = [v for v in values if v is not None]
            low, high = min(0.0, *known), max(known)
            charts.append(
                curve(
                    series,
                    title=title,
                    x_label="layer",
                    y_label=title if site == "residual" else f"{title} ({site})",
                    y_range=(low, high if high > low else low + 1),
                )
            )
    return f"<h2>Layer by layer</h2>{''.join(charts)}" if charts else ""


def _matrix(result: AlignmentResult, site: str) -> str:
    layer = result.chosen_layer.get(site)
    found = None if layer is None else result.similarities.get(site, {}).get(layer)
    if found is None:
        return ""
    names = found["names"]
    off = [
        cell
        for i, row in enumerate(found["values"])
        for j, cell in enumerate(row)
        if i != j and cell is not None
    ]
    if not off:
        return ""
    low, high = min(off), max(off)
    rows = []
    for i, name in enumerate(names):
        cells = []
        for j, cell in enumerate(found["values"][i]):
            if cell is None or i == j:
                cells.append("<td></td>")
                continue
            level = heat_level((cell - low) / (high - low) if high > low else 0.5)
            cells.append(f'<td class="h{level}">{cell:.3f}</td>')
        rows.append(f'<tr><th scope="row">{escape(name)}</th>{"".join(cells)}</tr>')
    heads = "".join(f'<th scope="col">{escape(name)}</th>' for name in names)
    return (
        f"<h2>Similarity of varieties at layer {layer}</h2><p>Mean cosine of translations. Compare "
        "within this table only: what is high depends on the random pairs of the layer.</p>"
        f'<div class="scroll"><table class="plain"><thead><tr><th></th>{heads}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _drawings(pictures: Sequence[Path]) -> str:
    shown = [path for path in pictures if path.suffix == ".png" and path.stem in ("map", "tree")]
    texts = {
        "map": "Varieties as points: near ones are like to the model",
        "tree": "Varieties as a tree: joined as far apart as their farthest members",
    }
    figures = "".join(
        f"<figure><figcaption>{texts[path.stem]}</figcaption>"
        f'<img alt="{texts[path.stem]}" style="max-width:100%;background:#fff" '
        f'src="{png_uri(path.read_bytes())}"></figure>'
        for path in shown
    )
    return f"<h2>Map and tree</h2>{figures}" if figures else ""


def _sources(result: AlignmentResult, site: str) -> str:
    layer = result.chosen_layer.get(site)
    rows = [] if layer is None else result.sources.get(site, {}).get(layer, [])
    if not rows:
        return ""
    body = "".join(
        f'<tr><th scope="row">{escape(row["target"])}</th>'
        f'<td class="words">{escape(row["source"])}</td>'
        f"<td>{row['similarity']:.3f}</td><td>{_share(row['stability'])}</td>"
        f'<td class="words">{escape(", ".join(row["ranks"][1:6]))}</td></tr>'
        for row in rows
    )
    heads = "".join(
        f'<th scope="col">{text}</th>'
        for text in ("target", "most similar source", "cosine", "same in resamples", "then")
    )
    return (
        "<h2>Which source for which target</h2><p>By similarity to the model alone; whether "
        "transfer works from there, a task must tell.</p>"
        f'<div class="scroll"><table class="plain"><thead><tr>{heads}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _concept_curves(result: AlignmentResult, site: str) -> str:
    layer = result.chosen_layer.get(site)
    by_pair: Mapping[str, Any] = result.curves.get(site, {}).get(str(layer), {})
    if not by_pair:
        return ""
    charts = []
    for name, label in (("CALIGN", "share of types that must match"), ("COLAP", "least share")):
        points: dict[float, list[float]] = {}
        for curves in by_pair.values():
            for threshold, value in curves.get(name, {}).items():
                if value is not None:
                    points.setdefault(float(threshold), []).append(value)
        if points:
            drawn = [(x, float(np.mean(ys)), None, None) for x, ys in sorted(points.items())]
            charts.append(
                curve(
                    [Series(name, drawn, "s0")], title=f"{name} by threshold", x_label=label,
                    y_label=name, y_range=(0.0, 1.0),
                )
            )  # fmt: skip
    return f"<h2>Concepts by threshold, layer {layer}</h2>{''.join(charts)}" if charts else ""


def _pairs(result: AlignmentResult, site: str) -> str:
    layer = result.chosen_layer.get(site)
    names = ("R@1", "cosine matched", "cosine random", "separation", "MEXA", "debiased CKA", "ANC")
    by_pair: dict[tuple[str, str], dict[str, AlignmentRow]] = {}
    for row in result.rows:
        if row.pair is not None and row.site == site and row.layer == layer:
            by_pair.setdefault(row.pair, {})[row.name] = row
    shown = [name for name in names if any(name in found for found in by_pair.values())]
    if not shown or layer is None:
        return ""
    body = "".join(
        f'<tr><th scope="row">{escape(a)} to {escape(b)}</th>'
        + "".join(
            f"<td>{found[name].value:.3f}</td>" if name in found else "<td></td>" for name in shown
        )
        + "</tr>"
        for (a, b), found in list(by_pair.items())[:_MOST_PAIRS]
    )
    heads = "".join(f'<th scope="col">{escape(name)}</th>' for name in ("pair", *shown))
    more = len(by_pair) - _MOST_PAIRS
    rest = f"<p>{more} more pairs are in results.json.</p>" if more > 0 else ""
    return (
        f"<h2>Pairs at layer {layer}</h2><p>Averages over varieties hide what single pairs do; "
        "searches have a row each way, other numbers stand with the first.</p>"
        f'<div class="scroll"><table class="plain pairs"><thead><tr>{heads}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>{rest}"
    )


def _notes(result: AlignmentResult) -> str:
    lines = [f"{name}: {reason}" for name, reason in result.notes.items()]
    lines += [f"{count} items left out: {reason}" for reason, count in result.left_out.items()]
    if not lines:
        return ""
    return "<h2>Not measured, left out</h2><ul class='note'>" + "".join(
        f"<li>{escape(line)}</li>" for line in lines
    ) + "</ul>"  # fmt: skip


def _recipe(result: AlignmentResult) -> str:
    told = json.dumps(dict(result.signature), ensure_ascii=False, indent=2)
    return f"<h2>How it was made</h2><pre><code>{escape(told)}</code></pre>"


def _at(result: AlignmentResult, name: str, site: str, layer: int | None) -> AlignmentRow | None:
    return next((row for row in result.means(name, site) if row.layer == layer), None)


def _between(row: AlignmentRow, factor: float = 1) -> str:
    if row.low is None or row.high is None:
        return ""
    digits = 1 if factor > 1 else 3
    return f" ({factor * row.low:.{digits}f} to {factor * row.high:.{digits}f})"


def _share(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.0f} %"


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."
