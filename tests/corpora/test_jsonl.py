"""The manifest: lossless, movable, strict about what it does not know."""

from __future__ import annotations

import dataclasses
import gzip
import itertools
import json
import string
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from isogloss.corpora.jsonl import (
    content_sha,
    count_lines,
    item_from_dict,
    item_to_dict,
    read_corpus,
    read_header,
    read_records,
    stream_items,
    write_corpus,
    write_items,
)
from isogloss.errors import BadRecord, UnknownName
from isogloss.types import Corpus, Item
from isogloss.varieties import load_table

texts = st.text(st.characters(blacklist_categories=("Cs",)), max_size=12)
seconds = st.floats(0, 1e6, allow_nan=False, allow_infinity=False)


@st.composite
def items(draw, item_id=None):
    start = draw(st.none() | seconds)
    end = draw(st.none() | st.floats(0.001, 1e3).map(lambda x: (start or 0.0) + x))
    maybe = st.none() | texts
    return Item(
        id=item_id or draw(texts.filter(bool)),
        variety=draw(st.sampled_from(["cmn", "yue", "hak"])),
        meaning=draw(maybe),
        text=draw(maybe),
        audio=draw(st.none() | st.sampled_from(["/x/a.wav", "/m/sub/语.wav", "/m/b.flac"])),
        start_seconds=start,
        end_seconds=end if end is None or end > (start or 0.0) else None,
        transcript=draw(maybe),
        translation=draw(maybe),
        phones=draw(maybe),
        speaker=draw(maybe),
        site=draw(maybe),
        split=draw(st.sampled_from([None, "train", "dev", "test"])),
        words=tuple(draw(st.lists(texts, max_size=3))),
        extra=draw(st.dictionaries(texts, texts, max_size=3)),
    )


def manifest(folder: Path, *lines: object) -> Path:
    path = folder / "m.jsonl"
    written = [x if isinstance(x, str) else json.dumps(x, ensure_ascii=False) for x in lines]
    path.write_text("\n".join(written) + "\n", encoding="utf-8")
    return path


def refused(path: Path) -> BadRecord:
    with pytest.raises(BadRecord) as caught:
        read_corpus(path)
    return caught.value


@given(items())
def test_an_item_comes_back_from_its_object_as_it_was(item):
    record = json.loads(json.dumps(item_to_dict(item, Path("/m"))))
    assert item_from_dict(record, root=Path("/m")) == item


@given(st.lists(items(), max_size=5, unique_by=lambda item: item.id))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
def test_a_corpus_comes_back_from_its_file_as_it_was(tmp_path, corpus_items):
    corpus = Corpus("名", tuple(corpus_items), "CC0-1.0", "http://example.org")
    for name in ("m.jsonl", "m.jsonl.gz"):
        written = write_corpus(corpus, tmp_path / name)
        assert read_corpus(tmp_path / name) == written
        assert dataclasses.replace(written, sha=None, root=None) == corpus


def test_none_and_empty_collections_are_left_out_and_empty_text_is_kept():
    record = item_to_dict(Item("a", "yue", transcript=""))
    assert record == {"id": "a", "variety": "yue", "transcript": ""}


def test_audio_below_the_folder_moves_with_it(tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    items_ = (
        Item("a", "yue", audio=str(old / "wav" / "a.wav")),
        Item("b", "yue", audio="/elsewhere/b.wav"),
    )
    written = write_corpus(Corpus("c", items_), old / "m.jsonl")
    assert '"wav/a.wav"' in (old / "m.jsonl").read_text()
    old.rename(new)
    moved = read_corpus(new / "m.jsonl")
    assert [item.audio for item in moved.items] == [str(new / "wav/a.wav"), "/elsewhere/b.wav"]
    assert moved.sha == written.sha


def test_a_manifest_behind_a_link_finds_its_audio(tmp_path):
    real = tmp_path / "real"
    real.mkdir()
    (tmp_path / "link").symlink_to(real)
    item = Item("a", "yue", audio=str(tmp_path / "link" / "a.wav"))
    write_corpus(Corpus("c", (item,)), tmp_path / "link" / "m.jsonl")
    assert read_corpus(tmp_path / "link/m.jsonl").items[0].audio == str(real / "a.wav")


def test_the_sha_is_of_content_not_of_key_order_or_header(tmp_path):
    record = {"id": "a", "variety": "yue", "transcript": "你好", "extra": {"x": "1", "y": "2"}}
    shas = set()
    for keys in itertools.permutations(record):
        shas.add(read_corpus(manifest(tmp_path, {key: record[key] for key in keys})).sha)
    header = {"isogloss_corpus": 1, "name": "other"}
    shas.add(read_corpus(manifest(tmp_path, header, "", record)).sha)
    shas.add(read_corpus(manifest(tmp_path, record | {"speaker": None})).sha)
    assert len(shas) == 1
    assert read_corpus(manifest(tmp_path, record | {"speaker": "s"})).sha not in shas


def test_the_sha_of_a_known_corpus():
    # By sha256sum (GNU coreutils): printf '{"id":"a","variety":"yue"}\n' | sha256sum
    expected = "bf804323d71fb592fc78a54c7241dbf88cb062f201c7553ed534569d63a7f7e6"
    assert content_sha([Item("a", "yue")], None) == expected


def test_the_header_names_the_corpus_and_is_optional(tmp_path):
    header = {"isogloss_corpus": 1, "name": "n", "licence": "l", "source": "s"}
    corpus = read_corpus(manifest(tmp_path, header))
    assert (corpus.name, corpus.licence, corpus.source, len(corpus)) == ("n", "l", "s", 0)
    assert read_corpus(manifest(tmp_path, {"id": "a", "variety": "yue"})).name == "m"
    assert read_header(manifest(tmp_path)).name == "m"
    (tmp_path / "manifest.jsonl").write_text("")
    assert read_corpus(tmp_path).name == tmp_path.name


def test_header_of_another_version_or_with_unknown_fields_is_refused(tmp_path):
    assert refused(manifest(tmp_path, {"isogloss_corpus": 2})).field == "isogloss_corpus"
    error = refused(manifest(tmp_path, {"isogloss_corpus": 1, "license": "x"}))
    assert "licence" in str(error)


def test_an_unknown_field_is_refused_with_file_line_field_and_near_match(tmp_path):
    good = {"id": "a", "variety": "yue"}
    path = manifest(tmp_path, good, {"id": "b", "variety": "yue", "speeker": "s"})
    error = refused(path)
    assert str(error).startswith(f"{path}:2:speeker: ")
    assert "did you mean speaker" in str(error)


def test_a_second_item_with_the_same_id_is_refused_with_both_lines(tmp_path):
    item = {"id": "a", "variety": "yue"}
    error = refused(manifest(tmp_path, item, "", item))
    assert (error.line, error.field) == (3, "id")
    assert "line 1" in str(error)


def test_an_unknown_variety_is_refused_with_near_matches(tmp_path):
    error = refused(manifest(tmp_path, {"id": "a", "variety": "yux"}))
    assert (error.line, error.field) == (1, "variety")
    assert "yue" in str(error)


def test_varieties_of_ones_own_are_accepted_with_their_table(tmp_path):
    path = manifest(tmp_path, {"id": "a", "variety": "klingon"})
    (tmp_path / "own.tsv").write_text("code\tname\nklingon\tKlingon\n")
    table = load_table(tmp_path / "own.tsv")
    assert read_corpus(path, table=table).items[0].variety == "klingon"


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ("{", "line"),
        ("[1]", "line"),
        ('{"id": "a", "id": "b", "variety": "yue"}', "line"),
        ('{"id": "a", "variety": "yue", "start_seconds": NaN}', "line"),
        ('{"id": "a", "variety": "yue", "start_seconds": 1e999}', "start_seconds"),
        ('{"id": "a", "variety": "yue", "start_seconds": -1}', "start_seconds"),
        ('{"id": "a", "variety": "yue", "start_seconds": true}', "start_seconds"),
        ('{"id": "a", "variety": "yue", "start_seconds": 2, "end_seconds": 2}', "end_seconds"),
        ('{"id": "a", "variety": "yue", "split": "training"}', "split"),
        ('{"id": "a", "variety": "yue", "words": "abc"}', "words"),
        ('{"id": "a", "variety": "yue", "words": null}', "words"),
        ('{"id": "a", "variety": "yue", "extra": {"n": 1}}', "extra"),
        ('{"id": "a", "variety": "yue", "transcript": 5}', "transcript"),
        ('{"id": "a", "variety": "yue", "transcript": "\\ud800"}', "transcript"),
        ('{"id": "a", "variety": "yue", "audio": ""}', "audio"),
        ('{"id": "a", "variety": "yue", "audio": "a\\u0000"}', "audio"),
        ('{"id": "", "variety": "yue"}', "id"),
        ('{"id": 1, "variety": "yue"}', "id"),
        ('{"id": null, "variety": "yue"}', "id"),
        ('{"id": "a"}', "variety"),
        ("[" * 100_000, "line"),
    ],
)
def test_a_bad_line_is_refused_with_its_field(tmp_path, line, field):
    error = refused(manifest(tmp_path, {"id": "z", "variety": "yue"}, line))
    assert (error.line, error.field) == (2, field)


def test_bytes_that_are_no_text_are_refused_and_a_byte_order_mark_is_not(tmp_path):
    path = tmp_path / "m.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"id": "a", "variety": "yue"}\r\n{"id": "\xff"}\n')
    error = refused(path)
    assert (error.line, error.field) == (2, "line")
    assert "UTF-8" in str(error)


def test_lenient_reading_gives_every_line_and_goes_on(tmp_path):
    good = {"id": "a", "variety": "yue"}
    other = {"id": "c", "variety": "xxxx"}
    path = manifest(tmp_path, {"isogloss_corpus": 1}, "?", good, good, other, {"id": "d"})
    seen = {line: type(record).__name__ for line, record in read_records(path)}
    assert seen == {2: "BadRecord", 3: "Item", 4: "RefusedItem", 5: "RefusedItem", 6: "BadRecord"}


def test_streaming_reads_no_further_than_asked(tmp_path):
    path = manifest(tmp_path, {"id": "a", "variety": "yue"}, "broken")
    stream = stream_items(path)
    assert next(stream).id == "a"
    with pytest.raises(BadRecord):
        next(stream)


def test_writing_takes_a_generator_and_refuses_what_could_not_be_read(tmp_path):
    path = tmp_path / "deep" / "m.jsonl"
    made = (Item(letter, "yue") for letter in string.ascii_lowercase)
    count, sha = write_items(made, path, name="letters")
    assert count == 26
    assert read_corpus(path).sha == sha
    before = path.read_bytes()
    with pytest.raises(ValueError, match="there twice"):
        write_items([Item("a", "yue"), Item("a", "yue")], path, name="n")
    with pytest.raises(ValueError, match="absolute"):
        write_items([Item("a", "yue", audio="a.wav")], path, name="n")
    with pytest.raises(ValueError, match="start_seconds"):
        write_items([Item("a", "yue", start_seconds=float("nan"))], path, name="n")
    # The old file is untouched and nothing else is left behind.
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["m.jsonl"]


def test_unknown_split_offers_the_right_one():
    with pytest.raises(BadRecord, match="train"):
        item_from_dict({"id": "a", "variety": "yue", "split": "trian"})
    assert issubclass(UnknownName, ValueError)


def test_lines_are_counted_and_a_missing_manifest_says_what_writes_one(tmp_path):
    path = tmp_path / "manifest.jsonl"
    path.write_bytes(b"{}\n\xff\n\n")
    assert count_lines(tmp_path) == 3
    (tmp_path / "m.jsonl.gz").write_bytes(gzip.compress(b"{}\n"))
    assert count_lines(tmp_path / "m.jsonl.gz") is None
    path.unlink()
    with pytest.raises(FileNotFoundError, match="no such manifest; isogloss corpus prepare"):
        read_corpus(tmp_path)
