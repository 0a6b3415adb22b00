"""Results and training logs in; layer curve, CER table and training curves out, as HTML."""

from __future__ import annotations

import json
from html import escape
from typing import TYPE_CHECKING, Any

from isogloss.bench.figures import Series, curve
from isogloss.bench.report_tables import styles
from isogloss.bench.summary import labels_of, set_label

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from isogloss.bench.store import RunResult

__all__ = ["layers_section", "read_train_log", "training_section", "transcription_section"]

_MOST_POINTS = 400


def layers_section(results: Sequence[RunResult]) -> str:
    """R@1 of every layer, with the phonetic baseline as a dashed line."""
    with_layers = [r for r in results if r.layers]
    if not with_layers:
        return ""
    style, labels = styles(results), labels_of([r.encoder for r in results])
    series = [
        Series(
            labels[r.encoder],
            [
                (entry["layer"], m["value"], m["low"], m["high"])
                for entry in r.layers
                if (m := entry["measures"].get("R@1")) is not None
            ],
            style[r.encoder],
        )
        for r in with_layers
    ]
    longest = max(with_layers, key=lambda r: len(r.layers))
    names = {
        float(e["layer"]): e["label"].replace("embedding", "emb.").replace("block ", "").split()[0]
        for e in longest.layers
    }
    first = results[0]
    phonetic = first.measure("R@1 phonetic")
    if phonetic is not None:
        ends = (min(names), max(names))
        flat = [(x, phonetic["value"], None, None) for x in ends]
        series.append(Series("sound alone", flat, "sound"))
    chart = curve(
        series,
        title="R@1 by layer",
        x_label="layer: embedding, blocks, final output",
        y_label="R@1 in %",
        y_range=(0.0, 1.0),
        x_names=names,
        percent=True,
    )
    return f"<h2>Layer by layer</h2>{chart}"


def transcription_section(results: Sequence[RunResult]) -> str:
    """CER of every encoder that can transcribe, by variety, with the kinds of error."""
    measured = [r for r in results if r.transcription]
    if not measured:
        return ""
    body, labels = [], labels_of([r.encoder for r in results])
    for result in measured:
        for index, m in enumerate(result.transcription):
            told = m["signature"]
            variety = m["name"].removeprefix("CER").strip()
            label = set_label(variety, "variety") if variety else "all"
            if len(measured) > 1:
                label = f"{labels[result.encoder]}: {label}"
            length = told["reference_length"]
            counts = "".join(
                f"<td>{told[kind]} <small>{100 * told[kind] / length:.1f} %</small></td>"
                for kind in ("substitutions", "deletions", "insertions")
            )
            low = m["low"]
            between = (
                "" if low is None else f" <small>{100 * low:.1f}–{100 * m['high']:.1f}</small>"
            )
            total = ' class="total"' if index == 0 else ""
            body.append(
                f'<tr{total}><th scope="row">{escape(label)}</th><td>{m["n"]}</td><td>{length}</td>'
                f"<td>{100 * m['value']:.1f}{between}</td>{counts}</tr>"
            )
    truth = measured[0].transcription[0]["signature"].get("transcripts", "standard")
    head = "".join(
        f'<th scope="col">{name}</th>'
        for name in (
            "variety",
            "utterances",
            "characters",
            "CER in %",
            "substituted",
            "deleted",
            "inserted",
        )
    )
    return (
        "<h2>Transcription</h2>"
        '<div class="scroll"><table class="plain"><caption>Character error rate of greedy decoding '
        f"against {escape(str(truth))} transcripts</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def read_train_log(path: Path) -> list[dict[str, Any]]:
    """The records of a `train.jsonl`; a last line cut short by a kill is passed over.

    Raises:
        OSError: the file cannot be read.
    """
    records = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(record, dict) and isinstance(record.get("step"), int):
            records.append(record)
    return records


def training_section(logs: Mapping[str, Path]) -> str:
    """Loss and development CER against steps, for every log that has them."""
    losses, errors, labels = [], [], labels_of(list(logs))
    for index, (encoder, path) in enumerate(logs.items()):
        records = read_train_log(path)
        style, label = f"s{index % 4}", labels[encoder]
        loss = _points(records, "train", "loss")
        cer = _points(records, "dev", "cer")
        losses += [Series(label, loss, style)] if loss else []
        errors += [Series(label, cer, style)] if cer else []
    charts = []
    if losses:
        charts.append(
            curve(
                losses,
                title="Training loss",
                x_label="optimiser step",
                y_label="training loss (nats a step)",
                dots=False,
            )
        )
    if errors:
        charts.append(
            curve(
                errors,
                title="Development CER",
                x_label="optimiser step",
                y_label="CER on the development split, in %",
                percent=True,
            )
        )
    if not charts:
        return ""
    return f'<h2>Training</h2><div class="columns">{"".join(charts)}</div>'


def _points(
    records: Sequence[Mapping[str, Any]], kind: str, name: str
) -> list[tuple[float, float, float | None, float | None]]:
    found = [
        (float(r["step"]), float(r[name]), None, None)
        for r in records
        if r.get("kind") == kind and isinstance(r.get(name), int | float)
    ]
    # More points than pixels only make the file larger; the last one is always kept.
    every = max(1, -(-len(found) // _MOST_POINTS))
    return [point for i, point in enumerate(found) if i % every == 0 or i == len(found) - 1]
