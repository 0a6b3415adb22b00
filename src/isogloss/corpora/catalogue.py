"""Readers by name: `load_reader("fleurs")(root, splits=("test",))`; called by the command line.

Built-in readers stand in a dict literal and are imported when asked for; other packages add theirs
through the entry-point group `isogloss.readers`, whose names must not repeat a built-in one.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Literal

from isogloss.corpora.readers.result import OptionError, Reader, ReadResult
from isogloss.errors import IsoglossError, UnknownName

__all__ = [
    "READERS",
    "CheckedReader",
    "ReaderOption",
    "load_reader",
    "reader_names",
    "reader_options",
    "reader_summary",
]

READERS = {
    "aishell": "isogloss.corpora.readers.aishell:read",
    "aligned_documents": "isogloss.corpora.readers.aligned_documents:read",
    "aligned_lines": "isogloss.corpora.readers.aligned_lines:read",
    "common_voice": "isogloss.corpora.readers.common_voice:read",
    "conllu": "isogloss.corpora.readers.conllu:read",
    "fleurs": "isogloss.corpora.readers.fleurs:read",
    "folder": "isogloss.corpora.readers.folder:read",
    "gettext": "isogloss.corpora.readers.gettext:read",
    "kespeech": "isogloss.corpora.readers.kespeech:read",
    "lhotse": "isogloss.corpora.readers.lhotse:read",
    "mdcc": "isogloss.corpora.readers.mdcc:read",
    "parallel_table": "isogloss.corpora.readers.parallel_table:read",
    "sentence_pairs": "isogloss.corpora.readers.sentence_pairs:read",
    "sib200": "isogloss.corpora.readers.sib200:read",
    "tatoeba": "isogloss.corpora.readers.tatoeba:read",
    "text_table": "isogloss.corpora.readers.text_table:read",
    "xquad": "isogloss.corpora.readers.xquad:read",
    "xsid": "isogloss.corpora.readers.xsid:read",
    "yubao": "isogloss.corpora.readers.yubao:read",
}
ENTRY_POINTS = "isogloss.readers"

OptionKind = Literal["text", "flag", "number", "path", "list", "pairs"]

_KINDS: dict[str, OptionKind] = {
    "str": "text",
    "bool": "flag",
    "float": "number",
    "Path": "path",
    "str | Path": "path",
    "tuple[str, ...]": "list",
    "Sequence[str]": "list",
    "Mapping[str, str]": "pairs",
    "dict[str, str]": "pairs",
}
_FLAGS = {
    **dict.fromkeys(("true", "yes", "on", "1"), True),
    **dict.fromkeys(("false", "no", "off", "0"), False),
}


@dataclass(frozen=True, slots=True)
class ReaderOption:
    """One keyword-only option of a reader, as its signature and docstring give it.

    `kind` says what a command line must offer: `list` takes several words, `pairs` several
    `key=value`. `default` is None for an option that may be left out without effect.
    """

    name: str
    kind: OptionKind
    default: Any
    required: bool
    help: str

    def convert(self, value: object) -> object:
        """`value` as the reader wants it; strings from a command line are understood.

        Raises:
            OptionError: the value is of another kind.
        """
        if value is None:
            if self.required:
                raise OptionError(self.name, value, "a value is needed")
            return self.default
        if self.kind == "flag":
            return self._flag(value)
        if self.kind == "number":
            return self._number(value)
        if self.kind == "path":
            if not isinstance(value, (str, Path)):
                raise OptionError(self.name, value, "expected a path")
            return Path(value)
        if self.kind == "list":
            return self._words(value)
        if self.kind == "pairs":
            return self._pairs(value)
        if not isinstance(value, str):
            raise OptionError(self.name, value, "expected a string")
        return value

    def _flag(self, value: object) -> bool:
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value.lower() in _FLAGS:
            return _FLAGS[value.lower()]
        raise OptionError(self.name, value, "expected true or false")

    def _number(self, value: object) -> float:
        if isinstance(value, (str, int, float)) and not isinstance(value, bool):
            try:
                return float(value)
            except ValueError:
                pass
        raise OptionError(self.name, value, "expected a number")

    def _words(self, value: object) -> tuple[str, ...]:
        words = value.split(",") if isinstance(value, str) else value
        if not isinstance(words, Sequence) or not all(isinstance(word, str) for word in words):
            raise OptionError(self.name, value, "expected words, separated by commas")
        return tuple(word.strip() for word in words if word.strip())

    def _pairs(self, value: object) -> dict[str, str]:
        if isinstance(value, Mapping):
            pairs = list(value.items())
        else:
            # 'a=1,b=2' is two pairs; a comma that no KEY= follows belongs to the value.
            words = re.split(r",\s*(?=[^=,]+=)", value) if isinstance(value, str) else value
            if not isinstance(words, Sequence) or not all(
                isinstance(word, str) and "=" in word for word in words
            ):
                raise OptionError(self.name, value, "expected KEY=VALUE, one or more")
            pairs = [tuple(word.split("=", 1)) for word in words]
        given = {key: text for key, text in pairs if isinstance(key, str) and key}
        if len(given) != len(pairs) or not all(isinstance(v, str) for v in given.values()):
            raise OptionError(self.name, value, "every KEY must be text and there only once")
        return given


@dataclass(frozen=True, slots=True)
class CheckedReader:
    """A reader whose options are checked before it runs; called like the function itself."""

    name: str
    function: Reader
    options: tuple[ReaderOption, ...]

    def __call__(self, root: str | Path, **options: object) -> ReadResult:
        """Everything found under `root`.

        Raises:
            UnknownName: the reader has no such option; near matches are offered.
            OptionError: an option has a value of the wrong kind, or a needed one is absent.
            LayoutError: `root` does not look like the corpus.
        """
        known = {option.name: option for option in self.options}
        for name in options:
            if name not in known:
                raise UnknownName(f"option of reader '{self.name}'", name, known)
        for option in self.options:
            if option.required and options.get(option.name) is None:
                raise OptionError(option.name, None, f"reader '{self.name}' needs it")
        values = {name: known[name].convert(value) for name, value in options.items()}
        return self.function(Path(root), **values)


def _third_party() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=ENTRY_POINTS)}


def reader_names() -> tuple[str, ...]:
    """Names of all readers, built-in and installed, sorted."""
    return tuple(sorted({*READERS, *_third_party()}))


def load_reader(name: str) -> CheckedReader:
    """The reader called `name`.

    Raises:
        UnknownName: there is none; near matches are offered.
        IsoglossError: an installed package registers something that is no reader.
    """
    if name in READERS:
        module, attribute = READERS[name].split(":")
        function = getattr(importlib.import_module(module), attribute)
    else:
        others = _third_party()
        if name not in others:
            raise UnknownName("reader", name, {*READERS, *others})
        function = others[name].load()
        if not callable(function):
            raise IsoglossError(f"reader '{name}' ({others[name].value}) is not a function")
    return CheckedReader(name, function, _options(function))


def reader_options(name: str) -> tuple[ReaderOption, ...]:
    """The options of the reader called `name`, in the order of its signature."""
    return load_reader(name).options


def reader_summary(name: str) -> str:
    """The first line of the reader's docstring."""
    return (inspect.getdoc(load_reader(name).function) or "").partition("\n")[0]


def _options(function: Reader) -> tuple[ReaderOption, ...]:
    described = _described(inspect.getdoc(function) or "")
    options = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
            continue
        required = parameter.default is inspect.Parameter.empty
        options.append(
            ReaderOption(
                parameter.name,
                _kind(parameter.annotation),
                None if required else parameter.default,
                required,
                described.get(parameter.name, ""),
            )
        )
    return tuple(options)


def _kind(annotation: object) -> OptionKind:
    # Annotations are strings under `from __future__ import annotations`, types otherwise.
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    text = re.sub(r"\b(?:pathlib|collections\.abc|typing)\.", "", text)
    text = text.removesuffix(" | None").removeprefix("None | ")
    if text not in _KINDS:
        raise IsoglossError(
            f"a reader's option is annotated '{text}'; use one of {', '.join(_KINDS)}"
        )
    return _KINDS[text]


def _described(docstring: str) -> dict[str, str]:
    """Argument name to its description, from the Args section of a Google docstring."""
    _, found, section = docstring.partition("\nArgs:\n")
    if not found:
        return {}
    described: dict[str, str] = {}
    name = ""
    for line in section.splitlines():
        if line and not line.startswith(" "):
            break
        start = re.match(r" {4}(\w+): (.*)", line)
        if start:
            name = start[1]
            described[name] = start[2]
        elif name and line.strip():
            described[name] += " " + line.strip()
    return described
