"""Recordings and folders in, files of transcripts out: what `isogloss speech transcribe` does."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Protocol

from isogloss import __version__
from isogloss._files import write_json, write_text
from isogloss.corpora.audio import probe_audio
from isogloss.corpora.progress import progress_bar
from isogloss.errors import AudioError, IsoglossError, UnknownName
from isogloss.speech import transcripts
from isogloss.speech.long_transcription import (
    LongTranscription,
    SpeechReader,
    Unread,
    check_reader,
    transcribe_recordings,
)
from isogloss.types import Item

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from isogloss.speech.transcripts import Transcript

__all__ = [
    "AUDIO_SUFFIXES",
    "FORMATS",
    "TranscribedFiles",
    "find_recordings",
    "form_of",
    "is_file_name",
    "rendered",
    "transcribe_files",
]

AUDIO_SUFFIXES = frozenset(
    ".3gp .aac .aif .aiff .amr .au .caf .flac .m4a .m4b .mka .mkv .mov .mp2 .mp3 .mp4 .oga .ogg "
    ".opus .rf64 .w64 .wav .webm .wma".split()
)
"""Endings by which recordings are found in a folder; a file that is named is read whatever it ends
in."""

FORMATS = ("text", "json", "jsonl", "srt", "vtt", "ctm")
"""What a transcript can be written as."""

_SUFFIXES = {"text": ".txt", **{name: f".{name}" for name in FORMATS if name != "text"}}
_ONE_RECORDING = ("srt", "vtt")
_OUTPUT = "output"
_SETTINGS = "transcribe_config.json"


class _NamedReader(SpeechReader, Protocol):
    @property
    def name(self) -> str: ...


@dataclass(slots=True)
class TranscribedFiles:
    """What came out: how many recordings were transcribed, how many of them hold no speech.

    `there_already` were left as they are, `failed` could not be read. `transcripts` has those of
    this run in order, unless they went to a folder and were not to be kept.
    """

    done: int = 0
    without_speech: int = 0
    there_already: int = 0
    failed: list[Unread] = field(default_factory=list)
    transcripts: list[Transcript] = field(default_factory=list)


def find_recordings(paths: Sequence[Path]) -> list[Item]:
    """An item for each recording: files as they are named, folders with all that is in them.

    In folders, files with an ending of `AUDIO_SUFFIXES` are taken, at any depth, sorted by path;
    names that begin with a dot are passed over, and so are linked folders. The id of a named file
    is its path as given; that of a file in a folder its path from there, behind the folder's name
    when several paths are given; what does not fit on a line of UTF-8 is escaped in it. A file
    that comes twice is taken once. Nothing is opened: what is no recording shows when it is read.

    Raises:
        ValueError: a folder holds no recording, or two recordings would have one id.
    """
    items: dict[str, Item] = {}
    for path in paths:
        inside = path.is_dir()
        for file in _recordings_in(path) if inside else [path]:
            audio = _absolute(file)
            output = file.relative_to(path).as_posix() if inside else file.name
            if inside and len(paths) > 1:
                output = f"{path.resolve().name}/{output}"
            item = Item(
                id=transcripts.printable_name(output if inside else str(path)),
                variety="und",
                audio=audio,
                extra={_OUTPUT: output},
            )
            items.setdefault(audio, item)
    twice = [name for name, n in Counter(item.id for item in items.values()).items() if n > 1]
    if twice:
        raise ValueError(f"two recordings are called {twice[0]}; transcribe their folders apart")
    return list(items.values())


def transcribe_files(
    reader: _NamedReader,
    items: Sequence[Item],
    *,
    out: Path | None = None,
    form: str = "text",
    config: LongTranscription | None = None,
    overwrite: bool = False,
    keep: bool = True,
    progress: bool = False,
) -> TranscribedFiles:
    """Transcribe recordings into one file, into a folder with a file for each, or into memory.

    A recording that cannot be read is listed in `failed` and stops nothing. Every file is whole or
    absent. A folder can be gone on with: recordings whose file is there are passed over, and the
    folder keeps the settings in `transcribe_config.json`, so that two models do not mix.

    Args:
        reader: a trained model, such as `isogloss.encoders.own.load("runs/a")`.
        items: recordings, from `find_recordings` or a manifest.
        out: a file when its ending is one of a format (.txt, .json, .jsonl, .srt, .vtt, .ctm) and
            no folder has the name, else a folder; None writes nothing.
        form: one of `FORMATS`.
        config: how to transcribe; None for the defaults.
        overwrite: in a folder, make files that are there anew.
        keep: give back the transcripts as well; they always are when `out` is no folder.
        progress: show a bar with the time left on stderr once two seconds have passed.

    Raises:
        UnknownName: no such format.
        ValueError: several recordings for one file of subtitles, two recordings with one file
            name; otherwise as `transcribe_recordings`.
        IsoglossError: the folder holds transcripts made with other settings.
        OSError: a file cannot be written.
    """
    if form not in FORMATS:
        raise UnknownName("format", form, FORMATS)
    config = config or LongTranscription()
    result = TranscribedFiles()
    to_folder = out is not None and not is_file_name(out)
    if out is not None and not to_folder and form in _ONE_RECORDING and len(items) > 1:
        raise ValueError(
            f"{len(items)} recordings do not fit into one {form} file; give --out a folder"
        )
    # Before a folder is claimed by a model that cannot read.
    check_reader(reader, config)
    targets: dict[str, Path] = {}
    if out is not None and to_folder:
        names = _output_names(items, _SUFFIXES[form])
        _claim(out, reader.name, config, overwrite)
        targets = {item.id: out / name for item, name in zip(items, names, strict=True)}
        if not overwrite:
            missing = [item for item in items if not targets[item.id].exists()]
            result.there_already = len(items) - len(missing)
            items = missing
    bar = progress_bar("transcribing", _total_seconds(items)) if progress else nullcontext()
    with bar as advance:
        for found in transcribe_recordings(reader, items, config, advance=advance):
            if isinstance(found, Unread):
                result.failed.append(found)
                continue
            result.done += 1
            result.without_speech += not found.segments
            if targets:
                write_text(targets[found.id], rendered([found], form, alone=True))
            if keep or not targets:
                result.transcripts.append(found)
    if out is not None and not to_folder:
        write_text(out, rendered(result.transcripts, form))
    return result


def is_file_name(out: Path) -> bool:
    """Whether `transcribe_files` takes `out` for one file, not for a folder."""
    return out.suffix.lower() in _SUFFIXES.values() and not out.is_dir()


def form_of(out: Path) -> str:
    """The format that a file's ending names, or text."""
    forms = {suffix: form for form, suffix in _SUFFIXES.items()}
    return forms.get(out.suffix.lower(), "text")


def rendered(found: Sequence[Transcript], form: str, *, alone: bool = False) -> str:
    """Transcripts as one text of a format.

    `json` is a list, or one object when `alone`; `jsonl` an object a line; `text` has a line
    `# id` before each recording when there are several.
    """
    if form == "json":
        records = [transcripts.to_dict(transcript) for transcript in found]
        value: Any = records[0] if alone else records
        return json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False) + "\n"
    if form == "jsonl":
        lines = (json.dumps(transcripts.to_dict(t), ensure_ascii=False) + "\n" for t in found)
        return "".join(lines)
    if form == "text" and len(found) > 1:
        return "\n".join(f"# {t.id}\n{transcripts.to_text(t)}" for t in found)
    makers: dict[str, Callable[[Transcript], str]] = {
        "text": transcripts.to_text,
        "srt": transcripts.to_srt,
        "vtt": transcripts.to_vtt,
        "ctm": transcripts.to_ctm,
    }
    return "".join(makers[form](transcript) for transcript in found)


def _recordings_in(folder: Path) -> list[Path]:
    found = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in AUDIO_SUFFIXES
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and not path.is_dir()
    )
    if not found:
        raise ValueError(
            f"{folder} holds no recording (no file ends in .wav, .flac, .mp3, .m4a ...)"
        )
    return found


def _absolute(file: Path) -> str:
    """Where a file really is; of a link that leads round in a circle, where the link is."""
    try:
        return str(file.resolve())
    except (OSError, RuntimeError):
        return str(file.absolute())


def _output_names(items: Sequence[Item], suffix: str) -> list[str]:
    """Where in a folder each transcript goes: `a/b.wav` to `a/b.srt`.

    Recordings that differ in their ending alone (`b.wav`, `b.mp3`) keep it: `b.wav.srt`.
    """
    full = [_inside(item) for item in items]
    short = [
        str(PurePosixPath(name).with_suffix("")) if _OUTPUT in item.extra else name
        for item, name in zip(items, full, strict=True)
    ]
    count = Counter(short)
    # The folder's settings have a name that no transcript may take.
    count[_SETTINGS.removesuffix(".json")] += 1
    names = [
        (brief if count[brief] == 1 else name) + suffix
        for brief, name in zip(short, full, strict=True)
    ]
    twice = [name for name, n in Counter(names).items() if n > 1]
    if twice:
        raise ValueError(
            f"two recordings would be written to {twice[0]}; transcribe them into two folders"
        )
    return names


def _inside(item: Item) -> str:
    """A path from an item's name that does not lead out of the folder."""
    name = item.extra.get(_OUTPUT, item.id).replace("\0", "_")
    parts = [part for part in name.split("/") if part not in ("", ".", "..")]
    return "/".join(parts) or "_"


def _claim(folder: Path, model: str, config: LongTranscription, overwrite: bool) -> None:
    """Write the settings into `folder`, or find the same ones there."""
    settings = {"model": model, **dataclasses.asdict(config)}
    path = folder / _SETTINGS
    if path.exists() and not overwrite:
        try:
            there = json.loads(path.read_text(encoding="utf-8"))["settings"]
        except (ValueError, KeyError, TypeError) as error:
            raise IsoglossError(
                f"{path} cannot be read ({error}); remove it, or choose another folder"
            ) from error
        different = [name for name in settings if there.get(name) != settings[name]]
        if different:
            raise IsoglossError(
                f"{folder} holds transcripts made with another {', '.join(different)}; choose "
                "another folder, or give --overwrite"
            )
        return
    write_json(path, {"isogloss": __version__, "settings": settings})


def _total_seconds(items: Iterable[Item]) -> float:
    """Length of all recordings by their headers; one that cannot be read counts as nothing."""
    total = 0.0
    for item in items:
        try:
            info = probe_audio(item.audio or "")
        except AudioError:
            continue
        end = info.duration_seconds if item.end_seconds is None else item.end_seconds
        total += max(0.0, end - (item.start_seconds or 0.0))
    return total
