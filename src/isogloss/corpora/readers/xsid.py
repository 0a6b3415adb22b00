"""xSID (van der Goot et al. 2021, Winkler et al. 2024): requests to an assistant, with intents.

    root/
      de.valid.conll[.gz]                     # id = 1
      de.test.conll[.gz]                      # intent = weather/find
      de-ba.test.conll[.gz]                   # text = Brauch i an Pulli?
      ...                                     1   Brauch   weather/find   O

Requests are parallel by the English text that each of them names, not by its number: Bavarian
(de-ba) has an order of its own. The items have text and no audio; `isogloss corpus speak` gives
them voices. The intent is in `extra`.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from isogloss.corpora.readers.gathering import Gathering, chosen
from isogloss.corpora.readers.result import LayoutError, ReadResult
from isogloss.corpora.readers.rows import existing_folder, text_lines
from isogloss.types import Item

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["read"]

_NAME = re.compile(r"(?P<label>[A-Za-z-]+)\.(?P<split>train|valid|test)\.conll(\.gz)?")
_SPLITS = {"train": "train", "dev": "valid", "test": "test"}
_EXPECTED = "files such as de.test.conll or de-ba.valid.conll.gz"


def read(
    root: Path,
    *,
    splits: tuple[str, ...] = ("train", "dev", "test"),
    varieties: tuple[str, ...] = (),
    valid_split: str = "dev",
) -> ReadResult:
    """The requests of the varieties and splits asked for; translations share a meaning.

    Args:
        root: folder with the .conll files.
        splits: train, dev and test; train is there for English alone, and some copies lack it.
        varieties: labels as in the file names, such as de and de-ba; all when empty.
        valid_split: split that the validation requests go to; 'train' where they are what there is
            to train on.

    Raises:
        LayoutError: there is no such file.
        UnknownName: a variety is asked for that has no file, or a split is not known.
    """
    root = existing_folder(root, _EXPECTED)
    wanted = {_SPLITS[split] for split in chosen("splits", splits, tuple(_SPLITS))}
    files = [
        (match, path) for path in sorted(root.iterdir()) if (match := _NAME.fullmatch(path.name))
    ]
    if not files:
        raise LayoutError(root, "no .conll file", _EXPECTED)
    labels = tuple(dict.fromkeys(match["label"] for match, _ in files))
    kept = chosen("varieties", varieties, labels) if varieties else labels
    gathering = Gathering(
        root, name="xsid", licence="CC BY-SA 4.0", source="https://github.com/mainlp/xsid"
    )
    files = [f for f in files if f[0]["split"] in wanted and f[0]["label"] in kept]
    if not files:
        raise LayoutError(
            root,
            f"no .conll file of {', '.join(varieties) or 'any variety'} for {', '.join(splits)}",
            _EXPECTED,
        )
    for match, path in files:
        variety = gathering.variety(path.name, match["label"], corpus="xsid")
        if variety is None:
            continue
        said: Counter[str] = Counter()
        for place, (number, found) in enumerate(_utterances(path, gathering), start=1):
            # English, from which the others were translated, has neither ids nor a translation.
            found.setdefault("id", str(place))
            english = found.get("text-en") or found.get("text", "")
            said[english] += 1
            repeat = f" ({said[english]})" if said[english] > 1 else ""
            found["meaning"] = f"{match['split']}: {english}{repeat}"
            found["split"] = valid_split if match["split"] == "valid" else match["split"]
            found["name"] = f"xsid-{match['split']}-{found['id']}-{match['label']}"
            _add(gathering, variety, f"{path.name}:{number}", found)
    return gathering.result()


def _utterances(path: Path, gathering: Gathering) -> Iterator[tuple[int, dict[str, str]]]:
    """First line and comments of each utterance; the words behind them end it."""
    first, words = 0, False
    found: dict[str, str] = {}
    for number, line in text_lines(path, gathering):
        if not line.startswith("#"):
            words = True
            continue
        if words:
            yield first, found
            first, found, words = 0, {}, False
        first = first or number
        key, separator, value = line.removeprefix("#").partition(" = ")
        if separator:
            found[key.strip()] = value.strip()
    if found:
        yield first, found


def _add(gathering: Gathering, variety: str, where: str, found: dict[str, str]) -> None:
    missing = [key for key in ("intent", "text") if not found.get(key)]
    if missing:
        gathering.skip(where, f"no {missing[0]}", f"add a line '# {missing[0]} = ...'")
        return
    gathering.add(
        Item(
            id=found["name"],
            variety=variety,
            meaning=found["meaning"],
            text=found["text"],
            transcript=found["text"],
            split=found["split"],
            extra={"intent": found["intent"]},
        ),
        where=where,
    )
