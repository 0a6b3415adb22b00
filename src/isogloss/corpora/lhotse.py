"""Items as lhotse cuts and back, without loss; foreign cuts as items.

lhotse holds id, recording, times, text, speaker and language. Everything else an item has goes
into `supervision.custom["isogloss"]`, so a cuts file can be filtered, batched and written by lhotse
and still be read back here. lhotse imports torch, so it is imported when called.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from isogloss._files import atomic_writer
from isogloss.corpora.audio import AudioInfo, probe_audio
from isogloss.errors import BadRecord, MissingExtra
from isogloss.types import Item

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

__all__ = ["from_cuts", "read_cuts", "to_cuts", "write_cuts"]

_CUSTOM = "isogloss"
# lhotse rounds times to 8 decimals; times this near are the same.
_SAME_SECONDS = 1e-6
_KEPT = (
    "meaning",
    "text",
    "translation",
    "phones",
    "site",
    "split",
    "start_seconds",
    "end_seconds",
)


def to_cuts(items: Iterable[Item], *, probe: Callable[[str], AudioInfo] = probe_audio) -> Any:
    """A lhotse `CutSet`, one cut an item: MonoCut for mono, MultiCut for more channels.

    The cut's id is the item's, its supervision holds the transcript. An item without audio becomes
    a cut of 0 s without a recording. Headers are read, samples are not.

    Args:
        items: any items with ids of their own.
        probe: gives length, rate and channels of a path.

    Raises:
        AudioError: a recording is missing or broken; `usable` leaves those out.
        ValueError: two items have the same id, or times that do not fit the recording.
        MissingExtra: lhotse is not installed.
    """
    lhotse = _lhotse()
    cuts = []
    seen: set[str] = set()
    for item in items:
        if item.id in seen:
            raise ValueError(f"id '{item.id}' is there twice; ids are unique in a corpus")
        seen.add(item.id)
        cuts.append(_to_cut(lhotse, item, probe))
    return lhotse.CutSet.from_cuts(cuts)


def _lhotse() -> Any:
    try:
        import lhotse
    except ImportError as error:
        raise MissingExtra("speech", "lhotse") from error
    return lhotse


def _to_cut(lhotse: Any, item: Item, probe: Callable[[str], AudioInfo]) -> Any:
    kept: dict[str, Any] = {name: getattr(item, name) for name in _KEPT}
    kept |= {"words": list(item.words), "extra": dict(item.extra)}
    custom = {_CUSTOM: {k: v for k, v in kept.items() if v not in (None, [], {})}}
    recording, start, duration, channels = None, 0.0, 0.0, 1
    if item.audio is not None:
        info = probe(item.audio)
        channels = info.channels
        samples = round(info.duration_seconds * info.sample_rate_hz)
        full = samples / info.sample_rate_hz
        recording = lhotse.Recording(
            id=item.audio,
            sources=[lhotse.AudioSource("file", list(range(channels)), item.audio)],
            sampling_rate=info.sample_rate_hz,
            num_samples=samples,
            duration=full,
        )
        start, duration = _span(item.id, item.start_seconds, item.end_seconds, full)
    supervision = lhotse.SupervisionSegment(
        id=item.id,
        recording_id=recording.id if recording is not None else item.id,
        start=0.0,
        duration=duration,
        channel=0 if channels == 1 else list(range(channels)),
        text=item.transcript,
        language=item.variety,
        speaker=item.speaker,
        custom=custom,
    )
    kind = lhotse.MonoCut if channels == 1 else lhotse.MultiCut
    return kind(
        id=item.id,
        start=start,
        duration=duration,
        channel=supervision.channel,
        supervisions=[supervision],
        recording=recording,
    )


def _span(
    item_id: str, start: float | None, end: float | None, full_seconds: float
) -> tuple[float, float]:
    first = start or 0.0
    last = full_seconds if end is None else min(end, full_seconds)
    if last <= first:
        raise ValueError(
            f"item '{item_id}': {first} s to {end} s leaves nothing of {full_seconds:.3f} s"
        )
    return round(first, 8), round(last - first, 8)


def from_cuts(
    cuts: Iterable[Any], *, varieties: Mapping[str, str] | str | None = None
) -> list[Item]:
    """The items of lhotse cuts, in their order: one for each supervision.

    Cuts made by `to_cuts` come back equal; what lhotse changed since (text, speaker, language,
    times) is taken from lhotse. Foreign cuts give id, audio, times, transcript, speaker, and
    whatever strings they have as custom fields in `extra`.

    Args:
        cuts: a `CutSet` or any cuts.
        varieties: code for each language named in foreign cuts, or one code for all; None takes
            the language as the code.

    Raises:
        ValueError: a cut without a supervision, without a variety, with sound that is no file on
            disk, or changed by an augmentation.
        MissingExtra: lhotse is not installed.
    """
    return [item for cut in cuts for item in _from_cut(cut, varieties)]


def _from_cut(cut: Any, varieties: Mapping[str, str] | str | None) -> Iterator[Item]:
    if not hasattr(cut, "recording"):
        raise ValueError(
            f"cut '{cut.id}' is a {type(cut).__name__}, mixed or padded; "
            "give the cuts it was made of"
        )
    if not cut.supervisions:
        raise ValueError(f"cut '{cut.id}' has no supervision, so no transcript and no variety")
    audio = _audio_of(cut)
    for supervision in cut.supervisions:
        custom = dict(supervision.custom or {})
        ours = custom.pop(_CUSTOM, None)
        # Several supervisions of one cut share its id, so theirs is taken.
        item_id = cut.id if ours is not None and len(cut.supervisions) == 1 else supervision.id
        values: dict[str, Any] = {
            "id": item_id,
            "variety": _variety(supervision, ours, varieties),
            "audio": audio,
            "transcript": supervision.text,
            "speaker": supervision.speaker,
        }
        if ours is not None:
            values |= {k: v for k, v in ours.items() if k not in ("words", "extra")}
            values["words"] = tuple(ours.get("words", ()))
            values["extra"] = dict(ours.get("extra", {}))
        else:
            extra = {k: v for k, v in custom.items() if isinstance(v, str)}
            if supervision.gender:
                extra.setdefault("gender", supervision.gender)
            values["extra"] = extra
        if audio is not None:
            values |= _times(cut, supervision, values)
        yield Item(**values)


def _audio_of(cut: Any) -> str | None:
    recording = cut.recording
    if recording is None:
        if cut.duration:
            raise ValueError(f"cut '{cut.id}' has features but no recording")
        return None
    if recording.transforms:
        raise ValueError(f"cut '{cut.id}' is augmented; save its sound first (cut.save_audio)")
    if len(recording.sources) != 1 or recording.sources[0].type != "file":
        raise ValueError(
            f"cut '{cut.id}': its sound is not one file on disk; save it first (cut.save_audio)"
        )
    return str(Path(recording.sources[0].source).absolute())


def _variety(supervision: Any, ours: Any, varieties: Mapping[str, str] | str | None) -> str:
    language = supervision.language
    if ours is None and isinstance(varieties, str):
        return varieties
    if ours is None and varieties is not None:
        if language not in varieties:
            raise ValueError(
                f"supervision '{supervision.id}': no variety given for language {language!r}"
            )
        return varieties[language]
    if not language:
        raise ValueError(f"supervision '{supervision.id}' names no language; give varieties=")
    return str(language)


def _times(cut: Any, supervision: Any, values: Mapping[str, Any]) -> dict[str, float | None]:
    """Start and end as the item had them, when the cut is still that piece; else the cut's."""
    full = cut.recording.duration
    first = cut.start + max(0.0, supervision.start)
    last = min(cut.start + cut.duration, cut.start + supervision.start + supervision.duration)
    start, end = values.get("start_seconds"), values.get("end_seconds")
    kept_last = full if end is None else min(end, full)
    if abs((start or 0.0) - first) < _SAME_SECONDS and abs(kept_last - last) < _SAME_SECONDS:
        return {"start_seconds": start, "end_seconds": end}
    return {
        "start_seconds": first if first > _SAME_SECONDS else None,
        "end_seconds": last if last < full - _SAME_SECONDS else None,
    }


def write_cuts(items: Iterable[Item], path: str | Path) -> int:
    """Write a cuts file that `CutSet.from_file` reads; how many cuts comes out.

    The file is gzip-compressed JSONL when the name ends in `.gz`, whole or absent; audio paths in
    it are absolute.

    Raises:
        AudioError, ValueError, MissingExtra: as `to_cuts`.
    """
    import gzip
    import json

    cuts = to_cuts(items)
    path = Path(path)
    lines = [json.dumps(cut.to_dict(), ensure_ascii=False).encode() + b"\n" for cut in cuts]
    with atomic_writer(path) as handle:
        data = b"".join(lines)
        handle.write(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)
    return len(lines)


def read_cuts(path: str | Path, *, varieties: Mapping[str, str] | str | None = None) -> list[Item]:
    """The items of a cuts file; arguments and errors as `from_cuts`.

    Raises:
        BadRecord: the file is no file of cuts.
    """
    lhotse = _lhotse()
    try:
        cuts = list(lhotse.CutSet.from_jsonl_lazy(Path(path)))
    except FileNotFoundError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, OSError, EOFError) as error:
        raise BadRecord(path, 1, "cuts", f"not a lhotse cuts file: {error!r}") from error
    return from_cuts(cuts, varieties=varieties)
