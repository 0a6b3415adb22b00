"""XQuAD (Artetxe et al. 2020): questions and the sentences that answer them, in several languages.

    root/
      xquad.en.json[.gz]     data > paragraphs > context, qas > id, question, answers
      xquad.zh.json[.gz]     the same ids, translated

Every sentence of every paragraph is an item whose `extra['role']` is 'answer' and whose
`extra['answers']` holds the ids of the questions that it answers; every question is an item with
the role 'question', whose meaning is its id. So questions ask across languages, as in LAReQA.
Sentences end at . ! ? and their full-width forms; a question whose answer runs over the end of a
sentence is answered by the one in which it begins.
"""

from __future__ import annotations

import gzip
import json
import re
from typing import TYPE_CHECKING, Any

from isogloss.corpora.readers.gathering import Gathering, chosen
from isogloss.corpora.readers.result import LayoutError, ReadResult
from isogloss.corpora.readers.rows import existing_folder
from isogloss.types import Item

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["read", "sentence_spans"]

_NAME = re.compile(r"xquad\.(?P<label>[a-z]{2,3})\.json(\.gz)?")
_EXPECTED = "files such as xquad.en.json or xquad.zh.json.gz"
# The end of a sentence: full-width marks anywhere, others before a blank; closing marks go along.
# Neither behind a single letter ("J. Smith") nor behind a number in front of a small letter or
# number ("3. Mai").
_END = re.compile(
    r"[。！？]+[」』”’）]*|(?<!\b\w)[.!?]+[\"'”’»)\]]*(?=\s+[^\sa-zà-ÿ]|\s*$)",
)
_NUMBER = re.compile(r"\b\d{1,2}\.$")


def read(root: Path, *, languages: tuple[str, ...] = (), split: str = "test") -> ReadResult:
    """Questions and sentences of the languages asked for.

    Args:
        root: folder with the files.
        languages: labels as in the file names, such as en and zh; all when empty.
        split: of all items: train, dev or test.

    Raises:
        LayoutError: there is no file, or one is no XQuAD.
        UnknownName: a language is asked for that has no file.
    """
    folder = existing_folder(root, _EXPECTED)
    files = {
        match["label"]: path
        for path in sorted(folder.iterdir())
        if (match := _NAME.fullmatch(path.name))
    }
    if not files:
        raise LayoutError(folder, "no file of any language", _EXPECTED)
    known = tuple(files)
    gathering = Gathering(
        folder,
        name="xquad",
        licence="CC BY-SA 4.0",
        source="https://github.com/google-deepmind/xquad",
    )
    for label in chosen("languages", languages, known) if languages else known:
        code = gathering.variety(files[label].name, label)
        if code is None:
            continue
        for number, paragraph in enumerate(_paragraphs(files[label])):
            _add(gathering, files[label], code, number, paragraph, split)
    return gathering.result()


def sentence_spans(text: str) -> list[tuple[int, int]]:
    """(start, end) of the sentences of `text`, white space around them left out."""
    spans: list[tuple[int, int]] = []
    start = 0
    for match in _END.finditer(text):
        if _NUMBER.search(text, start, match.end()):
            continue
        spans.append((start, match.end()))
        start = match.end()
    spans.append((start, len(text)))
    trimmed = []
    for first, last in spans:
        inside = text[first:last]
        left = first + len(inside) - len(inside.lstrip())
        right = left + len(inside.strip())
        if right > left:
            trimmed.append((left, right))
    return trimmed


def _paragraphs(path: Path) -> list[dict[str, Any]]:
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as handle:
            found = json.load(handle)
        paragraphs = [paragraph for article in found["data"] for paragraph in article["paragraphs"]]
        for paragraph in paragraphs:
            for question in paragraph.get("qas", ()):
                for answer in question.get("answers", ()):
                    if not isinstance(answer.get("answer_start"), int | None):
                        raise ValueError(f"answer_start is {answer['answer_start']!r}")
        return paragraphs
    except (EOFError, gzip.BadGzipFile, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = str(error) or type(error).__name__
        raise LayoutError(path, f"not XQuAD: {reason}", "data > paragraphs > qas") from error


def _add(
    gathering: Gathering,
    path: Path,
    code: str,
    number: int,
    paragraph: dict[str, Any],
    split: str,
) -> None:
    context = str(paragraph.get("context", ""))
    spans = sentence_spans(context)
    answers: list[list[str]] = [[] for _ in spans]
    for question in paragraph.get("qas", ()):
        name, text = str(question.get("id", "")), str(question.get("question", "")).strip()
        where = f"{path.name}, paragraph {number}, question {name}"
        at = next((a.get("answer_start") for a in question.get("answers", ())), None)
        # An answer that begins behind one sentence belongs to the next.
        place = next((i for i, (_, end) in enumerate(spans) if at is not None and at < end), None)
        if not name or not text or place is None:
            gathering.skip(where, "no id, text or place of an answer", "complete the question")
            continue
        added = gathering.add(
            Item(
                id=f"q-{name}-{code}",
                variety=code,
                meaning=name,
                text=text,
                split=split,
                extra={"role": "question"},
            ),
            where=where,
        )
        if added:
            answers[place].append(name)
    for place, (start, end) in enumerate(spans):
        named = {"answers": " ".join(answers[place])} if answers[place] else {}
        gathering.add(
            Item(
                id=f"s-{number}-{place}-{code}",
                variety=code,
                meaning=f"sentence {number}-{place} {code}",
                text=context[start:end],
                split=split,
                extra={"role": "answer", **named},
            ),
            where=f"{path.name}, paragraph {number}, sentence {place}",
        )
