from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING

import pytest

from isogloss.corpora.conformance import check_reader
from isogloss.corpora.readers import LayoutError
from isogloss.corpora.readers.xquad import read, sentence_spans
from isogloss.errors import UnknownName

if TYPE_CHECKING:
    from pathlib import Path

CONTEXTS = {
    "en": "It rained. The game was won by 24 to 10! Was it close?",
    "zh": "下雨了。比赛以24比10获胜！结果接近吗？",
}


def question(name: str, start: int | None, text: str = "Who won?") -> dict[str, object]:
    answers = [] if start is None else [{"answer_start": start, "text": "x"}]
    return {"id": name, "question": text, "answers": answers}


def write(folder: Path, label: str, starts: tuple[int | None, ...]) -> None:
    qas = [question(f"q{i}", start) for i, start in enumerate(starts)]
    data = {"data": [{"paragraphs": [{"context": CONTEXTS[label], "qas": qas}]}]}
    with gzip.open(folder / f"xquad.{label}.json.gz", "wt", encoding="utf-8") as handle:
        json.dump(data, handle, ensure_ascii=False)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    # q0 is answered by the second sentence of both, q1 by the first of both.
    write(tmp_path, "en", (31, 3))
    write(tmp_path, "zh", (7, 0))
    return tmp_path


def test_questions_and_their_sentences(root: Path) -> None:
    corpus = check_reader(read, root, expected_items=10, expected_skipped=0).corpus
    answers = {
        (i.variety, i.extra["answers"]): i.text
        for i in corpus.items
        if i.extra["role"] == "answer" and "answers" in i.extra
    }
    assert answers == {
        ("eng", "q0"): "The game was won by 24 to 10!",
        ("eng", "q1"): "It rained.",
        ("cmn", "q0"): "比赛以24比10获胜！",
        ("cmn", "q1"): "下雨了。",
    }
    asked = [i for i in corpus.items if i.extra["role"] == "question"]
    assert {i.meaning for i in asked} == {"q0", "q1"} and len(asked) == 4


def test_a_question_without_a_place_is_skipped(tmp_path: Path) -> None:
    write(tmp_path, "en", (None, 3))
    check_reader(read, tmp_path, expected_items=4, expected_skipped=1)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ("He met J. Smith. They won 3.5 points.", ["He met J. Smith.", "They won 3.5 points."]),
        ("Am 3. Mai kam er. Dann nicht.", ["Am 3. Mai kam er.", "Dann nicht."]),
        ("„Ja.“ Nein.", ["„Ja.“ Nein."]),
        ("他来了。“走吧！”然后呢", ["他来了。", "“走吧！”", "然后呢"]),
        ("no end", ["no end"]),
        ("  ", []),
        ("", []),
    ],
)
def test_sentences(text: str, parts: list[str]) -> None:
    assert [text[start:end] for start, end in sentence_spans(text)] == parts


def test_refusals(root: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="en"):
        read(root, languages=("em",))
    (root / "xquad.de.json").write_text("{}", encoding="utf-8")
    with pytest.raises(LayoutError, match="not XQuAD"):
        read(root)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(LayoutError, match="no file of any language"):
        read(empty)


@pytest.mark.parametrize(
    "paragraph", ['"text"', '{"qas": ["q"]}', '{"qas": [{"answers": [{"answer_start": "5"}]}]}']
)
def test_a_paragraph_of_another_form_is_refused(tmp_path: Path, paragraph: str) -> None:
    told = f'{{"data": [{{"paragraphs": [{paragraph}]}}]}}'
    (tmp_path / "xquad.en.json").write_text(told, encoding="utf-8")
    with pytest.raises(LayoutError, match="not XQuAD"):
        read(tmp_path)
