"""Catalogues of gettext: the translated messages of the programs that a machine has.

    root/                                     such as /usr/share/locale, or a Python environment
      de/LC_MESSAGES/coreutils.mo             anywhere below it: LOCALE/LC_MESSAGES/DOMAIN.mo
      sr@latin/LC_MESSAGES/glib20.mo

A message in English and its translations share a meaning. Any Linux machine holds tens of
thousands of them in dozens of languages, some in two scripts; more come with packages such as
`iso-codes` and `gettext`. Licences are those of the programs: read them from the user's machine,
do not pass them on.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections import Counter
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

from isogloss.corpora.readers.gathering import Gathering, table_with
from isogloss.corpora.readers.result import LayoutError, OptionError, ReadResult
from isogloss.corpora.readers.rows import existing_folder
from isogloss.types import Item

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

__all__ = ["catalogue_files", "read", "read_mo", "split_of"]

_EXPECTED = "folders LOCALE/LC_MESSAGES with .mo files anywhere below it, as in /usr/share/locale"
_MAGIC = 0x950412DE
_CHARSET = re.compile(r"charset=([A-Za-z0-9._-]+)", re.IGNORECASE)
# A mnemonic mark: '_Open' of GTK, '&Open' of others; 'Ö_ffnen' and '打开(_O)' in translations.
_MNEMONIC = re.compile(r"(?<![\w&])[_&](?=\w)")
_TRANSLATED_MNEMONIC = re.compile(r"\s*\([_&]\w\)|[_&](?=\w)")
_TAG = re.compile(r"</?[A-Za-z][^<>]*>")
_FORMAT = re.compile(r"%(\([^)]*\))?[-+ #0-9.*$']*[a-zA-Z]+|\{[^{}]*\}|%%")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_WORD = re.compile(r"[^\W\d_]+")
_TEST_SHARE, _DEV_SHARE = 0.1, 0.05


def read(
    root: Path,
    *,
    also: Sequence[str] = (),
    varieties: Sequence[str] = (),
    domains: Sequence[str] = (),
    least_words: float = 4,
    most_characters: float = 300,
    labels: Mapping[str, str] | None = None,
    varieties_table: Path | None = None,
) -> ReadResult:
    """Every message and its translations; those of one message share a meaning.

    Left out are messages of fewer words or more characters than asked for, messages that hold
    little but placeholders, plural forms, and translations that repeat the English. Where two
    programs translate a message differently, the first catalogue by name counts. The split is a
    hash of the English letters, so that messages that differ in numbers or punctuation only are
    never in training and test at once.

    Args:
        root: folder that is searched.
        also: further folders that are searched.
        varieties: codes of the varieties to keep; all when empty. English is always there.
        domains: names of catalogues to keep, such as coreutils; all when empty.
        least_words: of the English message; shorter ones are labels whose translation depends on
            where they stand.
        most_characters: of either text.
        labels: LOCALE=CODE where the table does not know a locale, or knows another variety.
        varieties_table: a TSV of varieties beside the built-in ones.

    Raises:
        LayoutError: there is no catalogue.
        OptionError: a folder of `also` is missing, or a number is out of range.
    """
    if least_words < 1 or most_characters < 1:
        raise OptionError(
            "least_words", (least_words, most_characters), "it and most_characters must be 1 up"
        )
    folder = existing_folder(root, _EXPECTED)
    gathering = Gathering(
        folder,
        name="gettext",
        licence="of each program",
        source="gettext catalogues",
        table=table_with(varieties_table),
    )
    folders = [folder, *(_existing(path) for path in also)]
    files = list(catalogue_files(folders))
    if not files:
        raise LayoutError(folder, "no .mo file", _EXPECTED)
    wanted = {*varieties, "eng"} if varieties else None
    for code in varieties:
        gathering.table[code]  # an unknown one is told with near matches
    messages = _Messages(int(least_words), int(most_characters))
    unknown: set[str] = set()
    for locale, path in files:
        if domains and path.stem not in domains:
            continue
        variety = _variety(locale, gathering, labels, unknown)
        if variety is None or variety == "eng" or (wanted is not None and variety not in wanted):
            continue
        try:
            entries = read_mo(path)
        except ValueError as error:
            gathering.skip(str(path), str(error), "install the package of this file again")
            continue
        messages.take(entries, variety, path.stem)
    for locale in sorted(unknown) if wanted is None else ():
        gathering.skip(locale, "locale that is no variety of the table", f"labels {locale}=CODE")
    for item in messages.items():
        gathering.add(item)
    for reason, times in sorted(messages.left_out.items()):
        gathering.skip(f"{times} messages", reason, "none needed: a rule of this reader")
    return gathering.result()


def catalogue_files(folders: Iterable[Path]) -> Iterator[tuple[str, Path]]:
    """Locale and path of every `LOCALE/LC_MESSAGES/*.mo`, sorted by locale and name."""
    found = {
        (path.parent.parent.name, path.name, str(path)): path
        for folder in folders
        for path in folder.rglob("LC_MESSAGES/*.mo")
    }
    for (locale, _, _), path in sorted(found.items()):
        yield locale, path


def read_mo(path: Path) -> list[tuple[str, str]]:
    """Messages and translations of a catalogue, as they stand; contexts and plurals left out.

    Raises:
        ValueError: the file is no catalogue, is truncated, or is not in the charset it names.

    Source: the GNU gettext manual, "The Format of GNU MO Files".
    """
    data = path.read_bytes()
    if len(data) < 28:
        raise ValueError(f"{len(data)} bytes are no catalogue")
    order = next((o for o in "<>" if struct.unpack(f"{o}I", data[:4])[0] == _MAGIC), None)
    if order is None:
        raise ValueError("the file does not begin as a catalogue does")
    _, count, originals, translations = struct.unpack(f"{order}4I", data[4:20])
    if max(originals, translations) + 8 * count > len(data):
        raise ValueError(f"the file breaks off: {count} messages are promised")
    pairs = [
        (_bytes_at(data, order, originals + 8 * n), _bytes_at(data, order, translations + 8 * n))
        for n in range(count)
    ]
    header = next((text for key, text in pairs if not key), b"")
    named = _CHARSET.search(header.decode("ascii", "replace"))
    charset = named[1] if named else "utf-8"
    try:
        decoded = [(key.decode(charset), text.decode(charset)) for key, text in pairs if key]
    except (LookupError, UnicodeDecodeError) as error:
        raise ValueError(f"the file is not in the charset it names, {charset}: {error}") from error
    return [(key, text) for key, text in decoded if not {"\0", "\4"} & set(key) and text]


def split_of(message: str) -> str:
    """train, dev or test by a hash of the letters of `message`; 85, 5 and 10 % of messages."""
    letters = "".join(_WORD.findall(_FORMAT.sub(" ", message))).casefold()
    place = zlib.crc32(letters.encode("utf-8")) / 2**32
    return "test" if place < _TEST_SHARE else "dev" if place < _TEST_SHARE + _DEV_SHARE else "train"


class _Messages:
    """Messages gathered from many catalogues: English to what each variety says."""

    def __init__(self, least_words: int, most_characters: int) -> None:
        self.least_words = least_words
        self.most_characters = most_characters
        self.left_out: Counter[str] = Counter()
        self._found: dict[str, dict[str, tuple[str, str]]] = {}
        self._judged: dict[str, str] = {}

    def take(self, entries: Sequence[tuple[str, str]], variety: str, domain: str) -> None:
        for key, value in entries:
            english = self._english(key)
            if not english:
                continue
            if _MNEMONIC.search(key):
                value = _TRANSLATED_MNEMONIC.sub("", value, count=1)
            text = _plain(value)
            if text == english or not _WORD.search(_FORMAT.sub(" ", text)):
                self.left_out["the translation repeats the English or is empty"] += 1
                continue
            if len(text) > self.most_characters:
                self.left_out["too long"] += 1
                continue
            self._found.setdefault(english, {}).setdefault(variety, (text, domain))

    def _english(self, key: str) -> str:
        """The message made plain; '' where a rule leaves it out, which is counted once."""
        if key not in self._judged:
            plain = _plain(key)
            bare = _FORMAT.sub(" ", plain)
            words = _WORD.findall(bare)
            letters = sum(map(len, words))
            reason = None
            if len(words) < self.least_words:
                reason = "too few words"
            elif len(plain) > self.most_characters:
                reason = "too long"
            elif letters < 0.5 * len(plain):
                reason = "little but placeholders and signs"
            if reason is not None:
                self.left_out[reason] += 1
                plain = ""
            self._judged[key] = plain
        return self._judged[key]

    def items(self) -> Iterator[Item]:
        for english in sorted(self._found):
            meaning = blake2b(english.encode("utf-8"), digest_size=8).hexdigest()
            split = split_of(english)
            by_variety = self._found[english]
            first = min(domain for _, domain in by_variety.values())
            for variety, (text, domain) in [("eng", (english, first)), *sorted(by_variety.items())]:
                yield Item(
                    id=f"{meaning}-{variety}",
                    variety=variety,
                    meaning=meaning,
                    text=text,
                    split=split,
                    extra={"domain": domain},
                )


def _bytes_at(data: bytes, order: str, place: int) -> bytes:
    length, start = struct.unpack(f"{order}2I", data[place : place + 8])
    if start + length > len(data):
        raise ValueError(f"the file breaks off: a message ends at byte {start + length}")
    return data[start : start + length]


def _plain(text: str) -> str:
    """`text` in one line, without mnemonic marks, tags and control characters."""
    return " ".join(_CONTROL.sub(" ", _TAG.sub(" ", _MNEMONIC.sub("", text))).split())


def _existing(path: str) -> Path:
    folder = Path(path).expanduser().resolve()
    if not folder.is_dir():
        raise OptionError("also", path, "is no folder")
    return folder


def _variety(
    locale: str, gathering: Gathering, labels: Mapping[str, str] | None, unknown: set[str]
) -> str | None:
    """The code of a locale, or of its language where the table knows no such country."""
    name = locale.partition(".")[0]  # 'cs.cp1250' is Czech in another charset
    if labels and name in labels:
        return gathering.variety(locale, name, given=labels)
    country_free = "" if "@" in name else name.partition("_")[0]
    for label in (name, country_free):
        if label and label not in unknown:
            try:
                return gathering.table.resolve(label, corpus="gettext").code
            except ValueError:
                continue
    unknown.add(name)
    return None
