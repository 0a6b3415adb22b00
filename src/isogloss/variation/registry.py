"""Variations by name: "switch:lexicon=words.tsv,share=0.2" goes in, a `Variation` comes out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from isogloss.corpora.word_pairs import read_lexicons
from isogloss.errors import UnknownName
from isogloss.variation.clone import Clone
from isogloss.variation.codeswitch import CodeSwitch, read_entities
from isogloss.variation.transliterate import Chinese, Romanise, Serbian

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from isogloss.variation.varied import Variation

__all__ = ["VARIATIONS", "make_variation", "options_of", "views"]


def make_variation(spec: str, *, seed: int = 0) -> Variation:
    """The variation that `spec` describes: a name, and behind a colon its options.

    Args:
        spec: such as "romanise", "clone:p=0.1,script=same", "switch:lexicon=words.tsv,share=0.2".
            Several values of an option are parted by "+". `VARIATIONS` names all.
        seed: of draws, unless the options have a `seed`.

    Raises:
        UnknownName: no such variation or option, or value of an option.
        ValueError: a value that cannot be, or an option that is missing.
        BadRecord: a file named in it cannot be read.
    """
    name, options = options_of(spec)
    if name not in _MAKERS:
        raise UnknownName("variation", name, _MAKERS)
    maker, known = _MAKERS[name]
    for option in options:
        if option not in known:
            raise UnknownName(f"option of {name}", option, known)
    return maker({"seed": str(seed), **options})


def options_of(spec: str) -> tuple[str, dict[str, str]]:
    """Name and options of "name:option=value,option=value".

    Raises:
        ValueError: an option without a value, or one that is there twice.
    """
    name, _, rest = spec.partition(":")
    options: dict[str, str] = {}
    for part in rest.split(",") if rest else []:
        option, equals, value = part.partition("=")
        if not equals or not option or not value:
            raise ValueError(f"'{part}' in '{spec}' is not of the form option=value")
        if option in options:
            raise ValueError(f"option '{option}' is twice in '{spec}'")
        options[option] = value
    return name, options


def views(
    spec: str,
    texts: Sequence[str],
    *,
    keys: Sequence[str] | None = None,
    varieties: Sequence[str] | None = None,
    seed: int = 0,
) -> list[str]:
    """A second text for each of `texts`, by the variation `spec`: what training takes as views.

    Args:
        spec: see `make_variation`.
        texts: N texts.
        keys: N ids, on which draws depend; None takes the texts themselves.
        varieties: N codes, for variations that go by them; None is "" for all.
        seed: see `make_variation`.
    """
    variation = make_variation(spec, seed=seed)
    found = variation.vary(
        texts, keys=texts if keys is None else keys, varieties=varieties or [""] * len(texts)
    )
    return [varied.text for varied in found]


def _romanise(options: Mapping[str, str]) -> Variation:
    cache = options.get("cache")
    return Romanise(options.get("language"), Path(cache) if cache else None)


def _serbian(options: Mapping[str, str]) -> Variation:
    return Serbian(cast("Literal['latin', 'cyrillic']", options.get("to", "latin")))


def _chinese(options: Mapping[str, str]) -> Variation:
    return Chinese(cast("Literal['hans', 'hant']", options.get("to", "hant")))


def _clone(options: Mapping[str, str]) -> Variation:
    script = cast("Literal['new', 'same']", options.get("script", "new"))
    return Clone(options.get("p", "1"), script, _whole(options, "seed"))


def _switch(options: Mapping[str, str]) -> Variation:
    path = _required(options, "lexicon", "switch")
    return CodeSwitch.of_lexicons(
        read_lexicons(Path(path)),
        share=_number(options, "share", 0.3),
        targets=_several(options, "to"),
        seed=_whole(options, "seed"),
        source=path,
    )


def _entities(options: Mapping[str, str]) -> Variation:
    path = _required(options, "table", "entities")
    return CodeSwitch(
        read_entities(Path(path)),
        _number(options, "share", 0.5),
        _several(options, "to"),
        _yes(options, "tags"),
        _whole(options, "seed"),
        "entities",
        path,
    )


def _required(options: Mapping[str, str], name: str, variation: str) -> str:
    if name not in options:
        raise ValueError(f"{variation} needs {name}=FILE, as in '{variation}:{name}=words.tsv'")
    return options[name]


def _several(options: Mapping[str, str], name: str) -> tuple[str, ...]:
    return tuple(part for part in options.get(name, "").split("+") if part)


def _number(options: Mapping[str, str], name: str, default: float) -> float:
    try:
        return float(options.get(name, default))
    except ValueError as error:
        raise ValueError(f"{name} must be a number, got '{options[name]}'") from error


def _whole(options: Mapping[str, str], name: str) -> int:
    try:
        return int(options[name])
    except ValueError as error:
        raise ValueError(f"{name} must be a whole number, got '{options[name]}'") from error


def _yes(options: Mapping[str, str], name: str) -> bool:
    value = options.get(name, "no")
    if value not in ("yes", "no"):
        raise UnknownName(f"value of {name}", value, ("yes", "no"))
    return value == "yes"


_MAKERS: dict[str, tuple[Callable[[Mapping[str, str]], Variation], tuple[str, ...]]] = {
    "romanise": (_romanise, ("language", "cache")),
    "serbian": (_serbian, ("to",)),
    "chinese": (_chinese, ("to",)),
    "clone": (_clone, ("p", "script", "seed")),
    "switch": (_switch, ("lexicon", "share", "to", "seed")),
    "entities": (_entities, ("table", "share", "to", "tags", "seed")),
}

VARIATIONS: dict[str, str] = {
    "romanise": "Latin letters by uroman; language=ISO 639-3, cache=FILE",
    "serbian": "Serbian in the other script; to=latin|cyrillic",
    "chinese": "Chinese in the other characters, by OpenCC; to=hans|hant",
    "clone": "a synthetic language with known truth; p=0.1_0.9, script=new|same, seed=N",
    "switch": "words from a lexicon; lexicon=FILE.tsv, share=0.3, to=deu+fra, seed=N",
    "entities": "names from a table; table=FILE.tsv, share=0.5, to=deu+fra, tags=yes, seed=N",
}
"""Variations of single texts, with their options."""
