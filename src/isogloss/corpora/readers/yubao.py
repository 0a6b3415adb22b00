"""YuBao: everyday sentences in the dialects of China (Chang et al. 2026, arXiv 2601.07274).

    root/
      metadata.parquet                          or .json, .jsonl; also in metadata/ or data/
      广东_梅州_梅江区/15233mb01yf0001.wav      SITE/UTTERANCE.*, whatever subset exists
      15233/15233mb01yf0001.mp4                 SITE_ID/UTTERANCE.*
      15233mb01yf0001.wav                       UTTERANCE.* anywhere
      广东_梅州_梅江区/梅州_0001.mp4            SITE/*_NUMBER.*, as the download page names them

The metadata has seven columns of text: transcript (dialect characters), translation (Mandarin),
ipa, english (50 values), utterance_id (its first five characters are the site id, its last four
the number of the sentence), site (province_city_county), subgrouping. The recordings belong to the
Centre for Protection of Language Resources of China and cannot be passed on, so everybody has
another part of them: `coverage` counts what is there. The benchmark is 50 sentences at the 78
sites of `isogloss.varieties.yubao_sites`; the metadata covers some 1,150 sites.

The meaning is the English sentence, so that sites are parallel; where it is empty, the one that
other rows have for the same number. Transcripts are cleaned by the rules of
`isogloss.corpora.readers.yubao_transcripts`, and `extra` keeps the original of a changed one.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from isogloss.corpora.readers.folder import AUDIO_SUFFIXES
from isogloss.corpora.readers.gathering import Gathering, chosen, table_with
from isogloss.corpora.readers.result import Coverage, OptionError, ReadResult
from isogloss.corpora.readers.rows import existing_folder
from isogloss.corpora.readers.yubao_ipa import phones_of_ipa
from isogloss.corpora.readers.yubao_metadata import EXPECTED, metadata_file, metadata_rows
from isogloss.corpora.readers.yubao_transcripts import clean_transcript
from isogloss.types import Item
from isogloss.varieties import Site, yubao_sites

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["read"]

SENTENCES = 50
_SITE_ID_LENGTH = 5
_NUMBER = re.compile(r"(\d{4})$")


def read(
    root: Path,
    *,
    metadata: str | None = None,
    audio_folder: Path | None = None,
    sites: str = "benchmark",
    groups: tuple[str, ...] | None = None,
    keep_without_audio: bool = False,
    keep_placeholders: bool = False,
    varieties_table: Path | None = None,
) -> ReadResult:
    """The sentences that have a recording, and how many of those expected do.

    Args:
        root: the folder with the metadata.
        metadata: the metadata file, relative to root; needed when there are several.
        audio_folder: where the recordings are; root by default.
        sites: benchmark (the 78 sites) or all.
        groups: some of the benchmark's groups: zh_standard, zh_dialect, min, wuu, hak, yue, hsn,
            gan; all by default.
        keep_without_audio: keep sentences without a recording too, as text, for baselines that
            compare transcripts or phones.
        keep_placeholders: write one □ for each syllable without a character, not nothing.
        varieties_table: a TSV of varieties beside the built-in ones.

    Raises:
        LayoutError: there is no metadata, or it lacks utterance_id or site.
        OptionError, UnknownName: an option cannot be used.
    """
    if sites not in ("benchmark", "all"):
        raise OptionError("sites", sites, "expected benchmark or all")
    if groups is not None and sites == "all":
        raise OptionError("groups", groups, "groups are the benchmark's; leave sites as it is")
    folder = existing_folder(root, EXPECTED)
    gathering = Gathering(
        folder,
        name="yubao",
        licence="metadata as published; recordings may not be passed on",
        source="https://zhongguoyuyan.cn, https://github.com/kalvinchang/yubao",
        table=table_with(varieties_table),
    )
    recordings = _Recordings(
        folder if audio_folder is None else existing_folder(audio_folder, "a folder of recordings")
    )
    known = yubao_sites()
    names = tuple(dict.fromkeys(site.group for site in known))
    wanted = set(chosen("groups", groups, names) if groups is not None else names)
    benchmark = [site for site in known if site.group in wanted]
    rows = _rows(metadata_file(folder, metadata), gathering, known, benchmark, sites == "all")
    rows = _one_visit(rows, recordings, gathering)
    meanings = _meanings(rows)
    missing: Counter[str] = Counter()
    present: Counter[str] = Counter()
    for row in rows:
        audio = recordings.find(row)
        if audio is None:
            missing[row.site] += 1
        if audio is None and not keep_without_audio:
            continue
        path = None if audio is None else gathering.audio(row.where, audio)
        if audio is not None and path is None:
            continue
        if gathering.add(_item(row, meanings[row.utterance], path, keep_placeholders)):
            present[row.group] += path is not None
    _report(gathering, rows, missing, benchmark)
    return gathering.result(_coverage(rows, present, benchmark, sites == "all"))


@dataclass(frozen=True, slots=True)
class _Row:
    where: str
    utterance: str
    site: str
    group: str
    variety: str
    in_benchmark: bool
    cells: dict[str, str]

    @property
    def site_id(self) -> str:
        return self.utterance[:_SITE_ID_LENGTH]

    @property
    def number(self) -> str | None:
        match = _NUMBER.search(self.utterance[_SITE_ID_LENGTH:])
        return match[1] if match else None


def _rows(
    path: Path,
    gathering: Gathering,
    known: Iterable[Site],
    benchmark: Iterable[Site],
    everywhere: bool,
) -> list[_Row]:
    by_key = {key: site for site in known for key in (site.name, *site.site_ids)}
    wanted = set(benchmark)
    rows: list[_Row] = []
    unknown: set[str] = set()
    for where, cells in metadata_rows(path, gathering):
        utterance, name = cells["utterance_id"], cells["site"]
        if len(utterance) <= _SITE_ID_LENGTH:
            gathering.skip(where, f"'{utterance}' is no utterance id", "it begins with a site id")
            continue
        site = by_key.get(utterance[:_SITE_ID_LENGTH]) or by_key.get(name)
        if site in wanted:
            rows.append(_Row(where, utterance, site.name, site.group, site.variety, True, cells))
        elif everywhere and name not in unknown:
            # One report for a site, not one for each of its sentences.
            variety = gathering.variety(
                f"site {name}", cells["subgrouping"], corpus="yubao", parts=True
            )
            if variety is None:
                unknown.add(name)
                continue
            group = gathering.table.group_of(variety)
            rows.append(_Row(where, utterance, name, group, variety, False, cells))
    return rows


def _one_visit(rows: list[_Row], recordings: _Recordings, gathering: Gathering) -> list[_Row]:
    """Rows of one site id for each site: the one with most recordings, the earlier of equals.

    Some places were surveyed twice; two recordings of a sentence would leave no single answer.
    """
    visits: dict[str, dict[str, int]] = defaultdict(dict)
    for row in rows:
        counts = visits[row.site]
        counts[row.site_id] = counts.get(row.site_id, 0) + (recordings.find(row) is not None)
    kept: dict[str, str] = {}
    for site, counts in visits.items():
        kept[site] = max(counts, key=lambda site_id: counts[site_id])
        for site_id in counts:
            if site_id != kept[site]:
                gathering.skip(
                    f"{site} ({site_id})",
                    f"the place was surveyed twice, {kept[site]} is used",
                    "nothing to do; remove the recordings of the other to use this one",
                )
    return [row for row in rows if row.site_id == kept[row.site]]


def _meanings(rows: list[_Row]) -> dict[str, str]:
    """The meaning of each utterance: its English, else what its number means elsewhere."""
    english: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        if row.number and row.cells["english"]:
            english[row.number][_plain(row.cells["english"])] += 1
    meanings = {}
    for row in rows:
        own = _plain(row.cells["english"])
        if not own and row.number:
            others = english[row.number].most_common(1)
            own = others[0][0] if others else f"sentence {row.number}"
        meanings[row.utterance] = own or row.utterance
    return meanings


def _plain(text: str) -> str:
    return " ".join(text.split())


def _item(row: _Row, meaning: str, audio: str | None, keep_placeholders: bool) -> Item:
    transcript = clean_transcript(row.cells["transcript"], keep_placeholders=keep_placeholders)
    translation = clean_transcript(row.cells["translation"], keep_placeholders=keep_placeholders)
    extra = {
        "site_id": row.site_id,
        "yubao_group": row.group if row.in_benchmark else "",
        "subgrouping": row.cells["subgrouping"],
        "english": row.cells["english"],
        "cleaned": " ".join(transcript.rules),
        "transcript_raw": row.cells["transcript"] if transcript.rules else "",
        "translation_raw": row.cells["translation"] if translation.rules else "",
        "ipa": row.cells["ipa"],
    }
    return Item(
        id=row.utterance,
        variety=row.variety,
        meaning=meaning,
        text=None if audio else transcript.text or translation.text or meaning,
        audio=audio,
        transcript=transcript.text or None,
        translation=translation.text or None,
        phones=phones_of_ipa(row.cells["ipa"]) or None,
        site=row.site,
        split="test" if row.in_benchmark else None,
        extra={key: value for key, value in extra.items() if value},
    )


def _report(
    gathering: Gathering, rows: list[_Row], missing: Counter[str], benchmark: Iterable[Site]
) -> None:
    expected = Counter(row.site for row in rows)
    for site, count in missing.items():
        gathering.skip(
            f"site {site}",
            f"{count} of {expected[site]} recordings are missing",
            f"fetch them from the platform into {site}/",
        )
    for absent in benchmark:
        if absent.name not in expected:
            gathering.skip(
                f"site {absent.name}", "no row in the metadata", "use the complete metadata"
            )


def _coverage(
    rows: list[_Row], present: Counter[str], benchmark: list[Site], everywhere: bool
) -> Coverage:
    expected = Counter({site.group: 0 for site in benchmark})
    if everywhere:
        expected.update(row.group for row in rows)
    else:
        for site in benchmark:
            expected[site.group] += SENTENCES
    groups = {group: (present[group], expected[group]) for group in expected if expected[group]}
    return Coverage(sum(present.values()), sum(expected.values()), groups)


class _Recordings:
    """Every recording below a folder, by stem and by folder and number."""

    def __init__(self, folder: Path) -> None:
        paths = [path for path in folder.rglob("*") if path.suffix.lower() in AUDIO_SUFFIXES]
        # Lossless first, so that a converted clip wins over the video it came from.
        paths.sort(key=lambda path: (AUDIO_SUFFIXES.index(path.suffix.lower()), str(path)))
        self._by_stem: dict[str, list[Path]] = defaultdict(list)
        self._by_number: dict[tuple[str, str], Path] = {}
        for path in paths:
            self._by_stem[path.stem].append(path)
            match = _NUMBER.search(path.stem)
            if match and path.stem[: match.start()].endswith("_"):
                self._by_number.setdefault((path.parent.name, match[1]), path)

    def find(self, row: _Row) -> Path | None:
        """The recording of `row`, or None."""
        homes = (row.site, row.site_id)
        named = self._by_stem.get(row.utterance, [])
        for path in named:
            if path.parent.name in homes:
                return path
        if named:
            return named[0]
        if row.number is None:
            return None
        for home in homes:
            found = self._by_number.get((home, row.number))
            if found is not None:
                return found
            flat = self._by_stem.get(f"{home}_{row.number}")
            if flat:
                return flat[0]
        return None
