"""Where an engine index lies: a folder with a database of its own, or databases on servers.

    folder/                                         embedded: engine.json, postgres*
    postgresql://host/base                          served, index "isogloss"
    postgresql://host/base#tales                    served, index "tales"
    postgresql://a/base,postgresql://b/base#tales   two shards of one index
    postgresql://a1,a2/base                         one shard; a2 answers when a1 does not

Both kinds speak to PostgreSQL with pgvector through psycopg, so all else is the same code.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isogloss._files import write_json
from isogloss.errors import IsoglossError, MissingExtra
from isogloss.search.encoder_note import NOTE_FILE
from isogloss.search.engine_embedded import OWN_FILES, embedded_url
from isogloss.search.index_protocol import IndexUnavailable

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["EnginePlace", "is_engine_place", "is_engine_url", "psycopg_module"]

_SCHEMES = ("postgresql://", "postgres://")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_DESCRIPTION = "engine.json"
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class EnginePlace:
    """The databases of one index, in the order of its shards.

    Attributes:
        name: of the index, and of the schema that holds it in every database.
        urls: connection strings, one a shard; empty when embedded.
        folder: of the embedded database, or None.
    """

    name: str
    urls: tuple[str, ...] = ()
    folder: Path | None = None

    @classmethod
    def of(cls, place: str | Path) -> EnginePlace:
        """The place that a folder or URL names.

        Raises:
            ValueError: no such form of URL, or a name that is not lower-case letters, digits and
                underscores.
            IsoglossError: the folder's description was written by another version.
        """
        text = _restored(place)
        if not text.startswith(_SCHEMES):
            folder = Path(text)
            if not (folder / _DESCRIPTION).is_file():
                return cls("isogloss", folder=folder)
            return cls(_described(folder)["name"], folder=folder)
        text, _, name = text.partition("#")
        name = name or "isogloss"
        if not _NAME.fullmatch(name):
            raise ValueError(
                f"'{name}' cannot name an index; use lower-case letters, digits and underscores, "
                "a letter first, at most 40"
            )
        urls = tuple(re.split(r",(?=postgres(?:ql)?://)", text))
        if len(set(urls)) < len(urls):
            raise ValueError("two shards have the same URL")
        return cls(name, urls)

    @property
    def shards(self) -> int:
        """How many databases hold the index."""
        return max(1, len(self.urls))

    def connect(self, shard: int) -> Any:
        """An open connection to `shard`, on which each statement stands alone unless grouped.

        An embedded database is started when no process has done so, and stops with the last
        process that uses it.

        Raises:
            MissingExtra: psycopg, or for a folder the embedded server, is not installed.
            IndexUnavailable: a server cannot be reached; its URL is shown without the password.
            ValueError: it is no URL that PostgreSQL understands.
        """
        psycopg = psycopg_module()
        url = embedded_url(self.folder) if self.folder is not None else self.urls[shard]
        try:
            parts = psycopg.conninfo.conninfo_to_dict(url)
        except psycopg.ProgrammingError:
            parts = {}
        if not parts or "@" in str(parts.get("host", "")):
            # What is wrong is neither repeated nor chained: it may be a piece of the password.
            raise ValueError(
                f"{self.shown(shard)} is no URL of a PostgreSQL server; write @, :, / and # in a "
                "name or password as %40, %3A, %2F and %23, or leave the password to ~/.pgpass"
            )
        try:
            # One transaction a statement, unless grouped; names are what they are everywhere.
            return psycopg.connect(
                **{"connect_timeout": "10", **parts, "client_encoding": "utf8"}, autocommit=True
            )
        except psycopg.Error as error:
            said = str(error).strip() or type(error).__name__
            raise IndexUnavailable(
                f"no connection to {self.shown(shard)}: {said.splitlines()[-1]}"
            ) from error

    def refuse_other_files(self) -> None:
        """Nothing, where an embedded index may be built.

        Raises:
            FileExistsError: the folder is a file, or holds what is not of such an index.
        """
        if self.folder is None or not self.folder.exists():
            return
        own = {_DESCRIPTION, NOTE_FILE, *OWN_FILES}
        if not self.folder.is_dir() or {path.name for path in self.folder.iterdir()} - own:
            raise FileExistsError(
                f"{self.folder} is there already and holds no engine index; choose another folder"
            )

    def beside(self, suffix: str) -> Path:
        """A folder for unfinished work: beside an embedded index, else in the working directory."""
        base = Path(self.name) if self.folder is None else self.folder.resolve()
        return base.with_name(f"{base.name}.{suffix}")

    def __str__(self) -> str:
        if self.folder is not None:
            return str(self.folder)
        return f"{','.join(map(self.shown, range(self.shards)))}#{self.name}"

    def mark(self) -> None:
        """Write down that the folder holds an embedded index, so that it can be opened by name."""
        if self.folder is not None:
            write_json(
                self.folder / _DESCRIPTION,
                {"format": _FORMAT, "engine": "postgresql", "name": self.name},
            )

    def shown(self, shard: int) -> str:
        """What messages call a shard: never with its password."""
        if self.folder is not None:
            return str(self.folder)
        shown = re.sub(r"//([^:/@]*):.*@", r"//\1:***@", self.urls[shard])
        return re.sub(r"(?i)([?&](?:ssl)?password=)[^&]*", r"\1***", shown)


def is_engine_url(place: str | Path) -> bool:
    """Whether `place` is a URL of an engine."""
    return _restored(place).startswith(_SCHEMES)


def is_engine_place(place: str | Path) -> bool:
    """Whether `place` is a URL of an engine or the folder of an embedded one."""
    return is_engine_url(place) or (Path(place) / _DESCRIPTION).is_file()


def _restored(place: str | Path) -> str:
    """`place` as it was given: a Path made of a URL has lost one of two slashes."""
    return re.sub(r"\b(postgres(?:ql)?):/(?=[^/])", r"\1://", str(place))


def psycopg_module() -> Any:
    """The module psycopg.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        import psycopg
    except ImportError as error:
        raise MissingExtra("engine", "psycopg[binary]") from error
    return psycopg


def _described(folder: Path) -> Mapping[str, Any]:
    path = folder / _DESCRIPTION
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise IsoglossError(f"{path}: not JSON ({error}); the folder is damaged") from error
    if not isinstance(found, dict) or found.get("format") != _FORMAT:
        raise IsoglossError(f"{path} has a format of another version; build the index again")
    if not _NAME.fullmatch(str(found.get("name"))):
        raise IsoglossError(f"{path} names no index; the folder is damaged")
    return found
