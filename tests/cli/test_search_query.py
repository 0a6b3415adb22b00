"""`isogloss search query`: what is refused before it costs time, empty answers, odd ids."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from isogloss import __version__
from isogloss.cli.main import main
from makers import melody_corpus, write_manifest
from search_command_makers import ids_of, output, records_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from isogloss.types import Item, Sequences

pytest.importorskip("numba", reason="the index needs the extra `search`")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return melody_corpus(tmp_path_factory.mktemp("melodies"))


@pytest.fixture(scope="module")
def built(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    index = tmp_path_factory.mktemp("built") / "index"
    assert main(["search", "build", str(corpus), "--encoder", "mel:", "--out", str(index)]) == 0
    return index


@pytest.fixture
def index(built: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return shutil.copytree(built, tmp_path / "index")


class DeafEncoder:
    """Of the index by its name, and fails when it has to hear something."""

    made_by = "mel:;isogloss=" + __version__

    def encode(self, items: Sequence[Item]) -> Sequences:
        raise AssertionError("the mistake was to be found before encoding")


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--variety", "yeu"], "unknown variety 'yeu'; did you mean yue?"),
        (["--site", "Meixian"], "unknown site 'Meixian'; there are none to choose from"),
        (["--speaker", "nobody"], "unknown speaker 'nobody'"),
    ],
)
def test_a_filter_for_what_is_not_there_is_refused_before_encoding(
    corpus: Path,
    built: Path,
    options: list[str],
    problem: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    loaded = "isogloss.search.encoder_note.load_encoder"
    monkeypatch.setattr(loaded, lambda *_, **__: DeafEncoder())
    code, found, talk = output(capsys, "query", built, "--manifest", corpus, *options)
    assert (code, found) == (1, None) and problem in talk


def test_an_empty_answer_says_why(
    corpus: Path, index: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = records_of(corpus)
    audio = corpus.parent / records[0]["audio"]
    code, found, talk = output(capsys, "query", index, audio, "--after", "2100-01-01")
    assert code == 0 and found["answers"][0]["hits"] == []
    assert "no answer to 1 of 1 queries: no other item passes the filter" in talk
    assert output(capsys, "delete", index, *(record["id"] for record in records))[1]["items"] == 0
    code, found, talk = output(capsys, "query", index, audio, "--check-exactness")
    assert (code, found["measured"]) == (0, {}) and "holds no item" in talk
    assert output(capsys, "info", index)[1]["items"] == 0
    assert output(capsys, "compact", index)[1]["items"] == 0
    assert output(capsys, "append", index, corpus)[1]["items"] == 12
    assert output(capsys, "verify", index, "--deep")[0] == 0


def test_ids_are_any_text_and_stay_on_their_line(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["a b", "x/y", "../..", "漢字　語", "%2F", 'q"', "two\nlines", "red\x1b[31m"]
    records = records_of(corpus)[: len(names)]
    manifest = tmp_path / "odd.jsonl"
    write_manifest(
        manifest,
        [
            {**record, "id": name, "audio": str(corpus.parent / record["audio"])}
            for record, name in zip(records, names, strict=True)
        ],
    )
    index = tmp_path / "index"
    assert output(capsys, "build", manifest, "--encoder", "mel:", "--out", index)[0] == 0
    for name in names:
        code, found, _ = output(capsys, "query", index, "--id", name)
        assert code == 0
        assert sorted([name, *ids_of(found["answers"][0])]) == sorted(names)
    assert main(["search", "query", str(index), "--id", "a b"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(names)
    shown = "\n".join(lines)
    assert "two\\nlines" in shown and "red\\x1b[31m" in shown and "漢字　語" in shown
    assert output(capsys, "delete", index, *names)[1]["deleted"] == len(names)


def test_what_is_measured_is_what_was_answered(
    corpus: Path, built: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Candidates and filters count, and an item of the index gains nothing by finding itself."""
    name = records_of(corpus)[0]["id"]
    command = ("query", built, "--id", name, "--variety", "hak", "-k", 3)
    exact = ids_of(output(capsys, *command, "--exact")[1]["answers"][0])
    few = output(capsys, *command, "--candidates", 1, "--check-exactness")[1]
    found = ids_of(few["answers"][0])
    expected = len(set(found) & set(exact)) / len(exact)
    assert few["measured"]["recall@3 against exact"] == pytest.approx(expected)
