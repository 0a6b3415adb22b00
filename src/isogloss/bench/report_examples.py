"""Chosen queries in; players with sound inside the page above similarity maps out, as HTML."""

from __future__ import annotations

import base64
import io
import wave
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from isogloss.bench.examples import StepMap, unpack_map
from isogloss.bench.figures import palette_png, png_uri, ticks
from isogloss.bench.summary import encoder_label, is_text, set_labels
from isogloss.corpora.audio import read_audio
from isogloss.errors import AudioError
from isogloss.varieties import builtin_table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from isogloss.bench.store import RunResult
    from isogloss.types import Corpus, FloatArray, Item

__all__ = ["examples_section", "wav_uri"]

_RATE_HZ = 16_000
_MOST_SECONDS = 20.0
_MAP_WIDTH, _MAP_LEFT, _MAP_TOP, _MAP_BOTTOM = 320, 44, 6, 34
# A long query against a short answer must not become a thread.
_MOST_STRETCH = 2.0


def examples_section(result: RunResult, corpus: Corpus | None) -> str:
    """Players and maps of the result's examples; '' when it has none."""
    if not result.examples:
        return ""
    items = {} if corpus is None else {item.id: item for item in corpus.items}
    labels = set_labels(result)
    if is_text(result):
        return _read_section(result, items, labels)
    blocks = [_example(e, items, labels) for e in result.examples]
    swatches = _legend()
    gone = sum(1 for e in result.examples if not _playable(items.get(e["query_id"])))
    missing = ""
    if gone:
        missing = (
            f'<p class="note">The recordings of {gone} of {len(result.examples)} queries were not '
            "found when this page was made, so they cannot be played here.</p>"
        )
    return (
        f"<h2>Listen</h2><p>Queries drawn at random (seed {result.config.get('seed', 0)}), half of "
        "them answered wrongly where there are enough. A map shows how alike each moment of the "
        f"query (downwards) is to each moment of the answer (across) for "
        f"{escape(encoder_label(result.encoder))}; a bright diagonal means that both say the same "
        f"in the same order.</p>{swatches}{missing}{''.join(blocks)}"
    )


def _read_section(result: RunResult, items: Mapping[str, Item], labels: Mapping[str, str]) -> str:
    """Queries with what was found, to read."""
    blocks = []
    for example in result.examples:
        query, target = labels[example["query"]], labels[example["target"]]
        right = bool(example["right"])
        told = f"rank {example['rank']} of {example['n']}, score {example['score']:.3f}"
        shown = [("query", query, example["query_id"])]
        if not right:
            shown.append(("chosen, wrong", target, example["hit_id"]))
            told += f"; chosen instead {example['hit_score']:.3f}"
        shown.append(("right answer", target, example["target_id"]))
        mark = (
            '<span class="right-mark">✓ found</span>'
            if right
            else '<span class="wrong-mark">✗ missed</span>'
        )
        texts = "".join(_player(role, of, items.get(id_), id_) for role, of, id_ in shown)
        blocks.append(
            f'<article class="example"><h3>{escape(query)} → {escape(target)} {mark} '
            f'<small>{told}</small></h3><div class="players">{texts}</div></article>'
        )
    return (
        f"<h2>Read</h2><p>Queries drawn at random (seed {result.config.get('seed', 0)}), half of "
        f"them answered wrongly where there are enough, by "
        f"{escape(encoder_label(result.encoder))}.</p>{''.join(blocks)}"
    )


def _legend() -> str:
    """A bar of the palette; what its ends are stands under each map."""
    levels = np.arange(256, dtype=np.uint8)[np.newaxis]
    uri = png_uri(palette_png(levels))
    return (
        f'<p class="note">unlike <img class="maplegend" src="{uri}" '
        'alt="colour scale from dark blue to pale yellow"> alike; the colours span the cosines '
        "of each query, written under its maps</p>"
    )


def _example(
    example: Mapping[str, Any], items: Mapping[str, Item], labels: Mapping[str, str]
) -> str:
    query, target = labels[example["query"]], labels[example["target"]]
    if example["right"]:
        verdict = '<span class="right-mark">✓ found</span>'
        told = f"rank 1 of {example['n']}, score {example['score']:.3f}"
    else:
        verdict = '<span class="wrong-mark">✗ missed</span>'
        told = (
            f"right answer at rank {example['rank']} of {example['n']}, "
            f"score {example['score']:.3f}; chosen instead {example['hit_score']:.3f}"
        )
    maps = {which: unpack_map(stored) for which, stored in example["maps"].items()}
    # Maps of one query share their colours, or they could not be compared.
    span = (
        min(int(m.levels.min()) for m in maps.values()),
        max(int(m.levels.max()) for m in maps.values()),
    )
    players = [_player("query", query, items.get(example["query_id"]), example["query_id"])]
    sides = []
    if example["right"]:
        players.append(
            _player("answer, right", target, items.get(example["target_id"]), example["target_id"])
        )
    else:
        sides.append(
            _player("chosen, wrong", target, items.get(example["hit_id"]), example["hit_id"])
            + _map(maps["hit"], span, query, f"{target}, chosen")
        )
        sides.append(
            _player("right answer", target, items.get(example["target_id"]), example["target_id"])
            + _map(maps["target"], span, query, f"{target}, right")
        )
    if not sides:
        sides.append(_map(maps["target"], span, query, target))
    one = " one" if len(sides) == 1 else ""
    columns = "".join(f"<div>{side}</div>" for side in sides)
    return (
        f'<article class="example"><h3>{escape(query)} → {escape(target)} {verdict} '
        f"<small>{told}</small></h3>"
        f'<div class="players">{"".join(players)}</div><div class="sides{one}">{columns}</div>'
        "</article>"
    )


def _playable(item: Item | None) -> bool:
    return item is not None and item.audio is not None and Path(item.audio).is_file()


def _player(role: str, variety: str, item: Item | None, item_id: str) -> str:
    parts = [f'<div class="role">{escape(role)}: {escape(variety)}</div>']
    if item is None:
        return f'<div class="player">{"".join(parts)}<code>{escape(item_id)}</code></div>'
    sound = _sound(item)
    if sound is not None:
        label = escape(f"{role} in {variety}", quote=True)
        parts.append(
            f'<audio controls preload="metadata" aria-label="{label}" src="{sound}"></audio>'
        )
    known = builtin_table().get(item.variety)
    code = escape((known.bcp47 if known is not None else None) or "zh", quote=True)
    said = item.text or item.transcript
    if said:
        parts.append(f'<q lang="{code}">{escape(said)}</q>')
    if item.translation and item.translation != item.transcript:
        parts.append(f'<div class="gloss" lang="zh">{escape(item.translation)}</div>')
    speaker = f", speaker {item.speaker}" if item.speaker else ""
    parts.append(f'<div class="gloss"><code>{escape(item.id)}</code>{escape(speaker)}</div>')
    return f'<div class="player">{"".join(parts)}</div>'


def _sound(item: Item) -> str | None:
    """The recording as a data URI; None when it cannot be had."""
    if not _playable(item):
        return None
    try:
        samples = read_audio(
            str(item.audio),
            start_seconds=item.start_seconds,
            end_seconds=item.end_seconds,
            sample_rate_hz=_RATE_HZ,
        )
    except AudioError:
        return None
    return wav_uri(samples[: int(_MOST_SECONDS * _RATE_HZ)], _RATE_HZ)


def wav_uri(samples: FloatArray, sample_rate_hz: int) -> str:
    """Mono samples (S,) in [-1, 1] as a data URI of 16-bit PCM WAV; values outside are clipped."""
    # 32768, as decoders divide by: 16-bit recordings come back bit for bit.
    pcm = np.clip(np.rint(samples * 32768.0), -32768, 32767).astype("<i2")
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as handle:
        handle.setnchannels(1)
        handle.setsampwidth(2)
        handle.setframerate(sample_rate_hz)
        handle.writeframes(pcm.tobytes())
    return "data:audio/wav;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _map(found: StepMap, span: tuple[int, int], query: str, answer: str) -> str:
    """The picture of a map with axes in seconds; its pixels are the levels."""
    rows, columns = found.levels.shape
    wide = _MAP_WIDTH - _MAP_LEFT - 6
    stretch = found.query_seconds / found.target_seconds if found.target_seconds else 1.0
    high = round(wide * min(max(stretch, 1 / _MOST_STRETCH), _MOST_STRETCH))
    total = _MAP_TOP + high + _MAP_BOTTOM
    parts = []
    for second in ticks(0, found.target_seconds, 6):
        x = round(_MAP_LEFT + wide * second / (found.target_seconds or 1), 1)
        parts.append(
            f'<text x="{x}" y="{_MAP_TOP + high + 14}" text-anchor="middle">{second:g}</text>'
        )
    for second in ticks(0, found.query_seconds, 5):
        y = round(_MAP_TOP + high * second / (found.query_seconds or 1) + 4, 1)
        parts.append(f'<text x="{_MAP_LEFT - 5}" y="{y}" text-anchor="end">{second:g}</text>')
    middle = _MAP_TOP + high / 2
    parts.append(
        f'<text x="{_MAP_LEFT + wide / 2}" y="{total - 4}" text-anchor="middle">'
        f"{escape(answer)} (s)</text>"
        f'<text x="12" y="{middle}" text-anchor="middle" transform="rotate(-90 12 {middle})">'
        f"{escape(query)} (s)</text>"
    )
    lowest, highest = span
    picture = png_uri(palette_png(found.levels, low=lowest, high=highest))
    mean_best = found.values.max(axis=1).mean()
    told = escape(
        f"Similarity map of {query} ({found.query_seconds:.1f} s) and {answer} "
        f"({found.target_seconds:.1f} s); mean best cosine of a query step {mean_best:.2f}",
        quote=True,
    )
    return (
        f'<figure class="map" data-width="{columns}" data-height="{rows}" '
        f'data-across="{found.target_seconds:.3f}" data-down="{found.query_seconds:.3f}" '
        f'data-low="{lowest}" data-high="{highest}">'
        f'<svg viewBox="0 0 {_MAP_WIDTH} {total}" role="img" aria-label="{told}">'
        f'<image x="{_MAP_LEFT}" y="{_MAP_TOP}" width="{wide}" height="{high}" '
        f'preserveAspectRatio="none" href="{picture}"/>'
        f'<rect class="frame" x="{_MAP_LEFT}" y="{_MAP_TOP}" width="{wide}" height="{high}"/>'
        f"{''.join(parts)}</svg>"
        f"<output>mean best cosine of a query step {mean_best:.2f}; colours from "
        f"{lowest / 127.5 - 1:.2f} to {highest / 127.5 - 1:.2f}</output></figure>"
    )
