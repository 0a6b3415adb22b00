"""A table with one meaning a row and one audio column for each variety or speaker.

    root/
      manifest.tsv                id     cmn_word_audio    cmn_syllable_audio      yue_audio
      cmn_word/抄.mp3             c0000  cmn_word/抄.mp3   cmn_syllable/chao1.mp3  yue/caau1.opus
      cmn_syllable/chao1.mp3
      yue/caau1.opus

`audio_column` says which column holds what: `cmn/word=cmn_word_audio cmn/syllable=... yue=...`. The
part before the slash is the variety, the part after it tells two sources of one variety apart.
Every filled cell becomes an item `ROW-VARIETY[-SOURCE]`; its meaning is the row's id. Where sources
are named, VARIETY-SOURCE is every item's `site` too, so that retrieval by site compares them.

With `audio_separator` a cell may hold several recordings, which are joined in their order (at
16 kHz, mono) into one WAV below `work_folder`; such an item has `constructed` in `extra`.
"""

from __future__ import annotations

import hashlib
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from isogloss.corpora.audio import read_audio, write_wav
from isogloss.corpora.readers.gathering import Gathering, table_with
from isogloss.corpora.readers.result import OptionError, ReadResult
from isogloss.corpora.readers.rows import existing_folder, needs_columns, only_table, read_rows
from isogloss.errors import AudioError, UnknownName
from isogloss.types import Item

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["read"]

_EXPECTED = (
    "a folder with one TSV or CSV table (or name it with 'metadata') that has an id column and "
    "one audio column for each variety"
)
JOINED_RATE_HZ = 16000


def read(
    root: Path,
    *,
    audio_column: Mapping[str, str],
    metadata: str | None = None,
    id_column: str = "id",
    meaning_column: str | None = None,
    transcript_column: Mapping[str, str] | None = None,
    translation_column: str | None = None,
    phones_column: Mapping[str, str] | None = None,
    speaker: Mapping[str, str] | None = None,
    split_column: str = "split",
    splits: Mapping[str, str] | None = None,
    audio_separator: str | None = None,
    work_folder: Path | None = None,
    gap_seconds: float = 0.0,
    name: str | None = None,
    licence: str | None = None,
    source: str | None = None,
    varieties_table: Path | None = None,
) -> ReadResult:
    """Items that share a row's id as meaning, one for each filled audio column of the row.

    Args:
        root: the folder.
        audio_column: VARIETY=COLUMN or VARIETY/SOURCE=COLUMN, one for each audio column.
        metadata: the table, relative to root; needed when root holds several.
        id_column: the column that names the row.
        meaning_column: the column that names the meaning; the row's id by default.
        transcript_column: VARIETY=COLUMN or VARIETY/SOURCE=COLUMN with what is said.
        translation_column: the column with the standard written form.
        phones_column: VARIETY=COLUMN or VARIETY/SOURCE=COLUMN with phones or syllables.
        speaker: VARIETY=NAME or VARIETY/SOURCE=NAME where one speaker reads a whole column.
        split_column: the column with train, dev or test, where the table has one.
        splits: VALUE=SPLIT for tables that name splits in their own way.
        audio_separator: what stands between several recordings in one cell, such as a space.
        work_folder: where joined recordings are written; needed with audio_separator.
        gap_seconds: silence between joined recordings.
        name: what to call the corpus; its folder's name by default.
        licence: the licence, as it shall stand in the manifest.
        source: where the corpus comes from.
        varieties_table: a TSV of varieties beside the built-in ones.

    Raises:
        LayoutError: there is no such table, or it lacks a column.
        OptionError, UnknownName: an option cannot be used.
    """
    folder = existing_folder(root, _EXPECTED)
    gathering = Gathering(
        folder,
        name=name or folder.name,
        licence=licence,
        source=source,
        table=table_with(varieties_table),
    )
    table = only_table(folder, metadata, _EXPECTED)
    sources = _sources(
        audio_column, transcript_column or {}, phones_column or {}, speaker or {}, gathering
    )
    columns = [id_column, meaning_column, translation_column]
    columns += [column for s in sources for column in (s.audio, s.transcript, s.phones)]
    needs_columns(table, columns)
    joiner = _Joiner.of(audio_separator, work_folder, gap_seconds)
    named = any(part.source for part in sources)
    used = {id_column, split_column, *(s.audio for s in sources)}
    used |= {column for column in (meaning_column, translation_column) if column}
    for where, cells in read_rows(table, gathering):
        row_id = cells[id_column]
        if not row_id:
            gathering.skip(where, f"column '{id_column}' is empty", "give the row an id")
            continue
        split = cells.get(split_column) or None
        for part in sources:
            here = f"{where} {part.label}"
            audio = _audio(here, f"{row_id}-{part.suffix}", cells[part.audio], gathering, joiner)
            if audio is None:
                continue
            extra = {key: text for key, text in cells.items() if key not in used and text}
            item = Item(
                id=f"{row_id}-{part.suffix}",
                variety=part.variety,
                meaning=(cells[meaning_column] if meaning_column else row_id) or None,
                audio=audio.path,
                transcript=(cells[part.transcript] if part.transcript else "") or None,
                translation=(cells[translation_column] if translation_column else "") or None,
                phones=(cells[part.phones] if part.phones else "") or None,
                speaker=part.speaker,
                site=part.suffix if named else None,
                split=(splits or {}).get(split, split) if split else None,
                extra=extra | ({"constructed": "true"} if audio.joined else {}),
            )
            gathering.add(item, where=here)
    return gathering.result()


@dataclass(frozen=True, slots=True)
class _Source:
    label: str
    variety: str
    source: str
    audio: str
    transcript: str | None
    phones: str | None
    speaker: str | None

    @property
    def suffix(self) -> str:
        return f"{self.variety}-{self.source}" if self.source else self.variety


def _sources(
    audio: Mapping[str, str],
    transcript: Mapping[str, str],
    phones: Mapping[str, str],
    speaker: Mapping[str, str],
    gathering: Gathering,
) -> list[_Source]:
    if not audio:
        raise OptionError("audio_column", dict(audio), "name at least one, such as yue=yue_audio")
    known = {*audio, *(label.partition("/")[0] for label in audio)}
    for option, given in (
        ("transcript_column", transcript),
        ("phones_column", phones),
        ("speaker", speaker),
    ):
        for label in given:
            if label not in known:
                raise UnknownName(f"source of {option}", label, known)
    sources = []
    for label, column in audio.items():
        variety, _, source = label.partition("/")
        if variety not in gathering.table:
            raise UnknownName("variety", variety, gathering.table.codes)

        def own(given: Mapping[str, str], label: str = label, variety: str = variety) -> str | None:
            return given.get(label, given.get(variety))

        sources.append(
            _Source(label, variety, source, column, own(transcript), own(phones), own(speaker))
        )
    return sources


@dataclass(frozen=True, slots=True)
class _Audio:
    path: str
    joined: bool = False


def _audio(
    where: str, stem: str, cell: str, gathering: Gathering, joiner: _Joiner | None
) -> _Audio | None:
    if not cell:
        gathering.skip(where, "no recording in this row", "fill the cell, or leave it as it is")
        return None
    names = joiner.names(cell) if joiner is not None else (cell,)
    paths = [gathering.audio(where, gathering.root / name) for name in names]
    found = [path for path in paths if path is not None]
    if not found or len(found) != len(paths):
        return None
    if len(found) == 1 or joiner is None:
        return _Audio(found[0])
    try:
        return _Audio(joiner.join(stem, [Path(path) for path in found]), joined=True)
    except AudioError as error:
        gathering.skip(where, f"cannot be joined: {error}", "replace the broken recording")
        return None


@dataclass(frozen=True, slots=True)
class _Joiner:
    separator: str
    folder: Path
    gap_seconds: float

    @staticmethod
    def of(separator: str | None, folder: Path | None, gap_seconds: float) -> _Joiner | None:
        if not (math.isfinite(gap_seconds) and 0 <= gap_seconds <= 60):
            raise OptionError("gap_seconds", gap_seconds, "expected 0 to 60 seconds")
        if separator is None:
            return None
        if not separator:
            raise OptionError("audio_separator", separator, "expected a space or another sign")
        if folder is None:
            raise OptionError(
                "work_folder", None, "joined recordings need a folder to be written to"
            )
        return _Joiner(separator, folder.expanduser().resolve(), gap_seconds)

    def names(self, cell: str) -> tuple[str, ...]:
        return tuple(name.strip() for name in cell.split(self.separator) if name.strip())

    def join(self, stem: str, paths: Sequence[Path]) -> str:
        """Path of one WAV with all of `paths`; made once, and again when a part changes."""
        parts = [f"{path.name}:{path.stat().st_size}" for path in paths]
        recipe = "\n".join([*parts, str(self.gap_seconds), str(JOINED_RATE_HZ)])
        digest = hashlib.sha256(recipe.encode("utf-8", "replace")).hexdigest()[:8]
        safe = re.sub(r"[^\w.-]", "_", stem)
        target = self.folder / f"{safe}-{digest}.wav"
        if not target.is_file():
            gap = np.zeros(round(self.gap_seconds * JOINED_RATE_HZ), dtype=np.float32)
            pieces: list[np.ndarray[tuple[int], np.dtype[np.float32]]] = []
            for path in paths:
                pieces += [gap] if pieces else []
                pieces.append(read_audio(path, sample_rate_hz=JOINED_RATE_HZ))
            write_wav(target, np.concatenate(pieces), JOINED_RATE_HZ)
        return str(target)
