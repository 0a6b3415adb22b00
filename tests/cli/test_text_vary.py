"""`isogloss text vary`: a manifest in, a manifest out that other commands can read."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from isogloss.cli.main import main
from isogloss.corpora.jsonl import read_corpus, write_corpus
from isogloss.types import Corpus, Item
from isogloss.varieties import builtin_table, load_table

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    items = (
        Item("a", "srp", meaning="m", text="Датотека није пронађена", split="train"),
        Item("b", "eng", meaning="m", text="File not found", split="train"),
        Item("c", "mkd", text="датотека", split="test"),
    )
    path = tmp_path / "manifest.jsonl"
    write_corpus(Corpus("files", items, licence="CC0-1.0"), path)
    return path


def vary(manifest: Path, *options: str) -> int:
    return main(
        ["text", "vary", str(manifest), "--out", str(manifest.with_name("new.jsonl")), *options]
    )


def test_the_new_manifest_can_be_read(manifest, capsys):
    assert vary(manifest, "--by", "serbian", "--split", "train", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["read"], said["varied"], said["skipped"]) == (2, 2, {})
    # eng-latn is what others call English: another code is taken, in a table beside the manifest.
    new = manifest.with_name("new.jsonl")
    table = builtin_table().merged(load_table(new.with_name("new.jsonl.varieties.tsv")))
    corpus = read_corpus(new, table=table)
    assert [i.variety for i in corpus.items] == ["srp-latn", "eng-serbian"]
    assert corpus.items[0].text == "Datoteka nije pronađena"
    assert {i.meaning for i in corpus.items} == {"m"}
    assert table["eng-serbian"].parent == "eng"
    assert corpus.licence == "CC0-1.0"


def test_originals_and_seeds(manifest):
    new = manifest.with_name("new.jsonl")
    assert vary(manifest, "--by", "clone:p=0.5", "--suffix", "", "--seed", "3") == 0
    first = new.read_bytes()
    assert vary(manifest, "--by", "clone:p=0.5", "--suffix", "", "--seed", "3") == 0
    assert new.read_bytes() == first
    found = {
        vary(manifest, "--by", "clone", "--suffix", "", "--seed", s) or new.read_bytes()
        for s in "45"
    }
    assert len(found) == 2
    assert vary(manifest, "--by", "clone", "--suffix", "", "--with-originals") == 0
    assert len(read_corpus(new).items) == 6


def test_items_that_are_left_out_are_counted(manifest, capsys):
    items = (Item("a", "eng", audio="/x.wav"), Item("b", "eng", text="x"))
    write_corpus(Corpus("files", items), manifest)
    assert vary(manifest, "--by", "clone", "--suffix", "") == 1
    assert "left out: 1: no text" in capsys.readouterr().err


def test_wrong_usage_is_one_line(manifest, capsys):
    assert vary(manifest, "--by", "romanize") == 1
    assert "did you mean romanise" in capsys.readouterr().err
    assert main(["text", "vary", str(manifest), "--by", "clone", "--out", str(manifest)]) == 2
    assert "must be a new file" in capsys.readouterr().err
    assert vary(manifest, "--by", "clone", "--split", "dev") == 1
    assert "no items in split 'dev'" in capsys.readouterr().err
    assert manifest.with_name("new.jsonl").exists() is False


def test_a_table_is_printed_without_json(manifest, capsys):
    assert vary(manifest, "--by", "pack") == 1
    out = capsys.readouterr()
    assert "pack:size=1" in out.out and "one variety only" not in out.out
