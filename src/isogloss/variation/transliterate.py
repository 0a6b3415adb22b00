"""Texts in another script: Latin by uroman (cached), Serbian both ways, Chinese both ways.

`romanise` is what training takes as the second view of a text; the classes are variations for
`isogloss text vary`.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from functools import cache, lru_cache
from importlib import metadata
from typing import TYPE_CHECKING, Any, Literal

from isogloss.corpora.progress import with_progress
from isogloss.corpora.script import normalise_script
from isogloss.errors import MissingExtra, UnknownName
from isogloss.variation.serbian import serbian_cyrillic, serbian_latin
from isogloss.variation.varied import Varied

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

__all__ = ["Chinese", "Romanise", "Serbian", "romanise", "uroman_version"]

_PIECE = 2000
_KEEP = 65536
_COMMIT_EVERY = 500


def uroman_version() -> str:
    """The version of uroman that romanises here.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        return metadata.version("uroman")
    except metadata.PackageNotFoundError as error:
        raise MissingExtra("text", "uroman") from error


@cache
def _uroman() -> Any:
    try:
        import uroman
    except ImportError as error:
        raise MissingExtra("text", "uroman") from error
    return uroman.Uroman()


def romanise(
    texts: Sequence[str],
    *,
    language: str | None = None,
    cache: Path | None = None,
    label: str = "Romanising",
) -> list[str]:
    """Each text in plain Latin letters by uroman, in order; Latin letters of other texts stay.

    It is no transcription: letters are spelt one by one (ђ gives dj, vowels that Arabic does not
    write are missing, Japanese characters get their Mandarin reading), so two different texts can
    become one. White space at both ends is dropped. An empty text gives an empty one. Equal texts
    are romanised once; several hundred short sentences take about a second, and after 2 s there is
    a progress bar on stderr. A text of more than 2,000 characters is romanised in pieces, cut at
    white space where there is any.

    Args:
        texts: any texts.
        language: ISO 639-3 code of all of them, for uroman's rules of single languages.
        cache: a file (SQLite) in which results are kept for the next run, whatever interrupts this
            one; it may serve several languages. Results of other versions of uroman are not used.
        label: of the progress bar.

    Raises:
        MissingExtra: uroman is not installed.
        ValueError: `cache` is no such file.
    """
    wanted = list(dict.fromkeys(text for text in texts if text.strip()))
    version = uroman_version()
    if cache is None:
        done = {text: _romanised(text, language) for text in with_progress(wanted, label)}
    else:
        done = _through_file(wanted, language, cache, version, label)
    return [done.get(text, "") for text in texts]


@lru_cache(maxsize=_KEEP)
def _romanised(text: str, language: str | None) -> str:
    spelt = [
        str(_uroman().romanize_string(piece, lcode=language)) for piece in _pieces(text, _PIECE)
    ]
    return " ".join(piece for piece in (part.strip() for part in spelt) if piece)


def _pieces(text: str, most: int) -> Iterator[str]:
    """`text` in pieces of at most `most` characters that end at white space where there is any."""
    place = 0
    while len(text) - place > most:
        cut = max(text.rfind(space, place + 1, place + most) for space in " \n\t\u3000")
        cut = place + most if cut < 0 else cut + 1
        yield text[place:cut]
        place = cut
    yield text[place:]


def _through_file(
    wanted: list[str], language: str | None, path: Path, version: str, label: str
) -> dict[str, str]:
    path.parent.mkdir(parents=True, exist_ok=True)
    key = (version, language or "")
    try:
        with closing(sqlite3.connect(path, timeout=60)) as file:
            file.execute(
                "CREATE TABLE IF NOT EXISTS romanised (version TEXT, language TEXT, "
                "text TEXT, latin TEXT, PRIMARY KEY (version, language, text)) WITHOUT ROWID"
            )
            done: dict[str, str] = {}
            for text in wanted:
                row = file.execute(
                    "SELECT latin FROM romanised WHERE version = ? AND language = ? AND text = ?",
                    (*key, text),
                ).fetchone()
                if row is not None:
                    done[text] = row[0]
            missing = [text for text in wanted if text not in done]
            for number, text in enumerate(with_progress(missing, label, total=len(missing)), 1):
                done[text] = _romanised(text, language)
                file.execute(
                    "INSERT OR REPLACE INTO romanised VALUES (?, ?, ?, ?)",
                    (*key, text, done[text]),
                )
                if number % _COMMIT_EVERY == 0:
                    file.commit()
            file.commit()
    except sqlite3.DatabaseError as error:
        raise ValueError(f"{path} cannot be used as a cache of romanised texts: {error}") from error
    return done


@dataclass(frozen=True, slots=True)
class Romanise:
    """Latin letters by uroman. `language` and `cache` as in `romanise`."""

    language: str | None = None
    cache: Path | None = field(default=None)
    name: Literal["romanise"] = field(default="romanise", init=False)

    @property
    def described(self) -> str:
        """Name, language and version."""
        return f"romanise:language={self.language},uroman={uroman_version()}"

    def variety_of(self, code: str) -> str:
        """`code` with "-latn" behind it, once."""
        return code if code.endswith("-latn") else f"{code}-latn"

    def vary(
        self, texts: Sequence[str], *, keys: Sequence[str], varieties: Sequence[str]
    ) -> list[Varied]:
        """Romanised texts; see `romanise`."""
        latin = romanise(texts, language=self.language, cache=self.cache)
        return [Varied(text) for text in latin]


@dataclass(frozen=True, slots=True)
class Serbian:
    """Serbian (and what else is written so) `to` "latin" or "cyrillic".

    To Latin is exact, back is not quite: see `isogloss.variation.serbian`.
    """

    to: Literal["latin", "cyrillic"] = "latin"
    name: Literal["serbian"] = field(default="serbian", init=False)

    def __post_init__(self) -> None:
        if self.to not in ("latin", "cyrillic"):
            raise UnknownName("Serbian script", self.to, ("latin", "cyrillic"))

    @property
    def described(self) -> str:
        """Name and script."""
        return f"serbian:to={self.to}"

    def variety_of(self, code: str) -> str:
        """`code` of the other script: srp to srp-latn and back; else "-latn" or "-cyrl" behind."""
        if self.to == "latin":
            return code if code.endswith("-latn") else code.removesuffix("-cyrl") + "-latn"
        return code.removesuffix("-latn") if code.endswith("-latn") else f"{code}-cyrl"

    def vary(
        self, texts: Sequence[str], *, keys: Sequence[str], varieties: Sequence[str]
    ) -> list[Varied]:
        """Texts in the other script."""
        change = serbian_latin if self.to == "latin" else serbian_cyrillic
        return [Varied(change(text)) for text in texts]


@dataclass(frozen=True, slots=True)
class Chinese:
    """Chinese characters `to` "hans" (simplified) or "hant" (traditional), by OpenCC.

    Characters are changed one by one and by OpenCC's phrases; words are not those of another place.
    """

    to: Literal["hans", "hant"] = "hant"
    name: Literal["chinese"] = field(default="chinese", init=False)

    def __post_init__(self) -> None:
        if self.to not in ("hans", "hant"):
            raise UnknownName("Chinese script", self.to, ("hans", "hant"))

    @property
    def described(self) -> str:
        """Name and script."""
        return f"chinese:to={self.to}"

    def variety_of(self, code: str) -> str:
        """`code` with "-hans" or "-hant" behind it, in place of the other."""
        return f"{code.removesuffix('-hans').removesuffix('-hant')}-{self.to}"

    def vary(
        self, texts: Sequence[str], *, keys: Sequence[str], varieties: Sequence[str]
    ) -> list[Varied]:
        """Texts in the other characters."""
        script = self.to.title()
        return [Varied(normalise_script(text, script)) for text in texts]
