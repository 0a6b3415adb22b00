"""What `isogloss measure` found in; layer curves, variety map and variety tree as PNG and SVG out.

Labels are codes of varieties, since the fonts of matplotlib have no characters of many scripts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from isogloss._files import atomic_writer
from isogloss.errors import MissingExtra

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from isogloss.tasks.alignment_result import AlignmentResult

__all__ = ["CURVES", "MapKind", "write_alignment_pictures"]

MapKind = Literal["similarity", "places"]

CURVES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Is the translation nearest?", ("R@1", "MEXA", "NeuronXA", "word R@1")),
    ("How near, and how near is anything?", ("cosine matched", "cosine random")),
    ("Is the structure alike?", ("CKA", "debiased CKA", "RSA", "ANC")),
    ("Canonical correlations", ("SVCCA", "PWCCA")),
    ("Concept clusters", ("CALIGN", "COLAP")),
    ("Does the variety show?", ("variety identification", "variety identification centred")),
    ("Is the space used?", ("random cosine", "IsoScore", "top component share")),
    ("How many dimensions?", ("TwoNN dimension", "participation ratio")),
    ("Do gradients agree?", ("gradient cosine matched", "gradient cosine random")),
)
"""Numbers that are drawn together, by layer."""

_DPI = 150
_COLUMNS = 3
# Of names beside points, in points.
_LABEL_SIZE = 8


def write_alignment_pictures(
    result: AlignmentResult, folder: Path, *, map_of: MapKind = "similarity"
) -> list[Path]:
    """Write layers, map and tree, each as PNG and SVG, and return the paths.

    Map and tree are those of the chosen layer of the first site; they are left out where varieties
    were not compared (one pair alone has no tree worth drawing).

    Args:
        result: what was measured.
        folder: where to; made if absent.
        map_of: 'similarity' places varieties by what the model finds like, 'places' on the globe,
            for varieties whose place the table knows, with a line to the most similar one.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    written: list[Path] = []
    for name, figure in (
        ("layers", _layers(result)),
        ("map", _map(result, map_of)),
        ("tree", _tree(result)),
    ):
        if figure is None:
            continue
        for kind in ("png", "svg"):
            path = folder / f"{name}.{kind}"
            _save(figure, path, kind)
            written.append(path)
    return written


def _save(figure: Any, path: Path, kind: str) -> None:
    import matplotlib

    # Without a date and with a fixed salt the same numbers give the same file.
    with matplotlib.rc_context({"svg.hashsalt": "isogloss"}), atomic_writer(path) as handle:
        figure.savefig(
            handle, format=kind, dpi=_DPI, metadata={"Date": None} if kind == "svg" else None
        )


def _layers(result: AlignmentResult) -> Any | None:
    panels = []
    for site in result.sites:
        for title, names in CURVES:
            shown = tuple(name for name in names if result.means(name, site))
            if shown:
                panels.append((site, title, shown))
    if not panels:
        return None
    rows = -(-len(panels) // _COLUMNS)
    figure = _figure()(figsize=(4.2 * _COLUMNS, 2.9 * rows), layout="constrained")
    axes = figure.subplots(rows, _COLUMNS, squeeze=False).ravel()
    for axis, (site, title, names) in zip(axes, panels, strict=False):
        for name in names:
            found = [row for row in result.means(name, site) if not np.isnan(row.value)]
            if not found:
                continue
            spread = [
                [0 if row.low is None else row.value - row.low for row in found],
                [0 if row.high is None else row.high - row.value for row in found],
            ]
            axis.errorbar(
                [row.layer for row in found], [row.value for row in found],
                yerr=np.maximum(spread, 0), marker="o", markersize=3, capsize=2, label=name,
            )  # fmt: skip
            floor = None if result.floor is None else result.floor.best(name, "residual")
            if floor is not None and name == names[0]:
                axis.axhline(floor.value, linestyle=":", color="grey", label=f"{name}, floor")
        axis.set_title(title if site in ("residual", "gradients") else f"{title} ({site})",
                       fontsize=9)  # fmt: skip
        # From 0: a curve must not look steep for want of an origin.
        low, high = min(0.0, axis.get_ylim()[0]), axis.get_ylim()[1]
        axis.set_ylim(low, high + 0.04 * (high - low))
        axis.set_xlabel("layer", fontsize=8)
        axis.tick_params(labelsize=8)
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.legend(fontsize=7)
    for axis in axes[len(panels) :]:
        axis.set_axis_off()
    return figure


def _map(result: AlignmentResult, map_of: MapKind) -> Any | None:
    site, layer = _place(result)
    if layer is None:
        return None
    if map_of == "places":
        return _globe(result, site, layer)
    found = result.places.get(site, {}).get(layer)
    if found is None or len(found["names"]) < 3:
        return None
    figure = _points(
        result, found["names"], np.array(found["places"]),
        f"varieties by similarity, layer {layer}", "distance as 1 - cosine",
    )  # fmt: skip
    # Distances mean something, so both directions have one scale.
    figure.axes[0].set_aspect("equal", adjustable="datalim")
    _name_points(figure, found["names"], np.array(found["places"]))
    return figure


def _globe(result: AlignmentResult, site: str, layer: int) -> Any | None:
    known = {
        name: (float(row["longitude"]), float(row["latitude"]))
        for name, row in result.varieties.items()
        if row["latitude"] is not None and row["longitude"] is not None
    }
    if len(known) < 2:
        return None
    names = list(known)
    figure = _points(
        result, names, np.array([known[name] for name in names]),
        f"varieties by place, lines to the most similar, layer {layer}", "longitude",
    )  # fmt: skip
    axis = figure.axes[0]
    axis.set_ylabel("latitude", fontsize=8)
    for row in result.sources.get(site, {}).get(layer, ()):
        if row["target"] in known and row["source"] in known:
            ends = np.array([known[row["target"]], known[row["source"]]])
            axis.plot(ends[:, 0], ends[:, 1], color="grey", linewidth=0.8, zorder=0)
    _name_points(figure, names, np.array([known[name] for name in names]))
    return figure


def _points(
    result: AlignmentResult, names: Sequence[str], places: Any, title: str, label: str
) -> Any:
    figure = _figure()(figsize=(6.4, 5.4), layout="constrained")
    axis = figure.subplots()
    groups = [str(result.varieties[name]["group"]) for name in names]
    for number, group in enumerate(dict.fromkeys(groups)):
        own = [i for i, one in enumerate(groups) if one == group]
        axis.scatter(
            places[own, 0], places[own, 1], s=28, color=f"C{number % 10}",
            marker="osD^v"[number // 10 % 5], label=_plain(group),
        )  # fmt: skip
    axis.set_title(title, fontsize=10)
    axis.set_xlabel(label, fontsize=8)
    axis.tick_params(labelsize=8)
    axis.legend(fontsize=7)
    # Room for names beside the outermost points.
    axis.margins(0.12)
    return figure


def _name_points(figure: Any, names: Sequence[str], places: Any) -> None:
    """Write every name beside its point, where it covers neither a point nor another name.

    Near points (one language in two standards) would be written over each other: places around
    the point are tried, then the same farther off, joined to the point by a line.
    """
    axis = figure.axes[0]
    # Only now it is known where points lie on the picture, in points of 1/72 inch.
    figure.draw_without_rendering()
    spots = axis.transData.transform(places) * 72 / figure.dpi
    taken = [(x - 3.5, y - 3.5, x + 3.5, y + 3.5) for x, y in spots]
    box = axis.get_legend().get_window_extent()
    taken.append(tuple(edge * 72 / figure.dpi for edge in box.extents))
    inside = [edge * 72 / figure.dpi for edge in axis.get_window_extent().extents]
    for name, place, (x, y) in zip(names, places, spots, strict=True):
        width, height = 0.62 * _LABEL_SIZE * len(name), 1.15 * _LABEL_SIZE
        best, least = (4.0, 3.0, 0.0), np.inf
        for off in (0.0, 12.0, 24.0):
            for dx, dy in (
                (4 + off, 3 + off), (4 + off, -height - off), (-width - 4 - off, 3 + off),
                (-width - 4 - off, -height - off), (-width / 2, 5 + off),
                (-width / 2, -height - 5 - off), (6 + off, -height / 2),
                (-width - 6 - off, -height / 2),
            ):  # fmt: skip
                own = (x + dx, y + dy, x + dx + width, y + dy + height)
                covered = sum(_shared_area(own, other) for other in taken)
                covered += width * height - _shared_area(own, tuple(inside))
                if covered < least - 1e-6:
                    best, least = (dx, dy, off), covered
        dx, dy, off = best
        taken.append((x + dx, y + dy, x + dx + width, y + dy + height))
        line = {"arrowstyle": "-", "color": "grey", "linewidth": 0.6} if off else None
        axis.annotate(
            _plain(name), place, xytext=(dx, dy), textcoords="offset points",
            fontsize=_LABEL_SIZE, arrowprops=line,
        )  # fmt: skip


def _shared_area(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    """The area that two boxes (left, bottom, right, top) have in common."""
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    return max(wide, 0.0) * max(high, 0.0)


def _tree(result: AlignmentResult) -> Any | None:
    site, layer = _place(result)
    tree = None if layer is None else result.trees.get(site, {}).get(layer)
    if tree is None or len(tree["names"]) < 3:
        return None
    names, order = tree["names"], tree["order"]
    figure = _figure()(figsize=(6.0, 0.9 + 0.26 * len(names)), layout="constrained")
    axis = figure.subplots()
    height = {i: 0.0 for i in range(len(names))}
    place = {i: float(order.index(name)) for i, name in enumerate(names)}
    for step, (one, other, distance, _) in enumerate(tree["linkage"]):
        ends = int(one), int(other)
        for end in ends:
            axis.plot([height[end], distance], [place[end]] * 2, color="C0", linewidth=1.2)
        axis.plot([distance] * 2, [place[end] for end in ends], color="C0", linewidth=1.2)
        joined = len(names) + step
        height[joined], place[joined] = distance, sum(place[end] for end in ends) / 2
    axis.set_yticks(range(len(order)), [_plain(name) for name in order], fontsize=8)
    axis.yaxis.tick_right()
    axis.invert_xaxis()
    axis.set_xlabel("1 - mean cosine of translations (complete linkage)", fontsize=8)
    axis.set_title(f"tree of varieties, layer {layer}", fontsize=10)
    axis.tick_params(labelsize=8)
    for side in ("top", "left", "right"):
        axis.spines[side].set_visible(False)
    return figure


def _place(result: AlignmentResult) -> tuple[str, int | None]:
    """Site and layer of which map and tree are drawn."""
    for site, layer in result.chosen_layer.items():
        return site, layer
    return "residual", None


def _plain(text: str) -> str:
    return text.replace("$", "") if text.isascii() else text.encode("ascii", "replace").decode()


def _figure() -> Any:
    """The figure class: without pyplot there is no display to open and no state to leave behind."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtra("text", "matplotlib") from error
    return Figure
