from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from isogloss.encoders import encode_cached
from isogloss.encoders.item_text import text_of
from isogloss.errors import AudioError, IsoglossError, TextError
from isogloss.types import Item, Sequences


class CountingEncoder:
    """Steps made from the bytes of the file; counts what it encodes; refuses broken files."""

    step_seconds = 0.04

    def __init__(self, made_by: str = "counting") -> None:
        self.made_by = made_by
        self.encoded: list[str] = []

    def encode(self, items: list[Item]) -> Sequences:
        arrays = []
        for item in items:
            content = Path(str(item.audio)).read_bytes()
            if content.startswith(b"broken"):
                raise AudioError(str(item.audio), "not audio")
            arrays.append(np.frombuffer(content, np.uint8).astype(np.float32).reshape(-1, 1))
        self.encoded += [item.id for item in items]
        return Sequences.from_list(
            [item.id for item in items],
            [np.hstack([a, a + 1]) for a in arrays],
            step_seconds=self.step_seconds,
            made_by=self.made_by,
        )


@pytest.fixture
def items(tmp_path: Path) -> list[Item]:
    found = []
    for name, content in (("a", b"12345"), ("b", b"9"), ("c", b"777")):
        path = tmp_path / f"{name}.wav"
        path.write_bytes(content)
        found.append(Item(name, "cmn", audio=str(path)))
    return found


def same(a: Sequences, b: Sequences) -> bool:
    return (
        a.ids == b.ids
        and np.array_equal(a.values, b.values)
        and np.array_equal(a.offsets, b.offsets)
        and (a.step_seconds, a.made_by) == (b.step_seconds, b.made_by)
    )


def test_every_item_is_encoded_once_and_reads_back_equal(tmp_path: Path, items: list[Item]) -> None:
    encoder = CountingEncoder()
    plain = encoder.encode(items)
    encoder.encoded.clear()
    first = encode_cached(encoder, items, tmp_path / "cache", progress=False)
    again = encode_cached(encoder, items[::-1], tmp_path / "cache", progress=False)
    assert sorted(encoder.encoded) == ["a", "b", "c"]
    assert same(first, plain)
    assert same(again, plain.select([2, 1, 0]))


def test_without_a_folder_nothing_is_kept(tmp_path: Path, items: list[Item]) -> None:
    encoder = CountingEncoder()
    before = sorted(tmp_path.rglob("*"))
    assert same(encode_cached(encoder, items, None, progress=False), encoder.encode(items))
    assert sorted(tmp_path.rglob("*")) == before


def test_one_recording_under_two_ids_is_encoded_once(tmp_path: Path, items: list[Item]) -> None:
    encoder = CountingEncoder()
    twin = dataclasses.replace(items[0], id="twin")
    found = encode_cached(encoder, [*items, twin], tmp_path / "cache", progress=False)
    assert found.ids == ("a", "b", "c", "twin")
    np.testing.assert_array_equal(found[0], found[3])
    assert len(encoder.encoded) == 3


def test_what_changes_the_values_changes_the_entry(tmp_path: Path, items: list[Item]) -> None:
    cache = tmp_path / "cache"
    encode_cached(CountingEncoder(), items, cache, progress=False)
    other = CountingEncoder("another revision")
    encode_cached(other, items, cache, progress=False)
    assert len(other.encoded) == 3
    cut = CountingEncoder()
    pieces = [dataclasses.replace(items[0], id=f"p{s}", start_seconds=s) for s in (0.0, 1.0)]
    encode_cached(cut, pieces, cache, progress=False)
    assert cut.encoded == ["p0.0", "p1.0"]
    Path(str(items[1].audio)).write_bytes(b"8")
    os.utime(str(items[1].audio), ns=(1, 1))
    changed = CountingEncoder()
    found = encode_cached(changed, items, cache, progress=False)
    assert changed.encoded == ["b"]
    assert found[1].tolist() == [[ord("8"), ord("8") + 1]]


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:10],
        lambda content: content[:-1],
        lambda content: content[:-1] + bytes([content[-1] ^ 1]),
        lambda content: b"{}\n" + content,
        lambda content: b"[1]\n" + content,
        lambda content: b"\xff\xfe\n" + content,
        lambda content: content.replace(b"steps-1", b"steps-9"),
    ],
)
def test_damaged_entries_are_encoded_again(damage, tmp_path: Path, items: list[Item]) -> None:
    cache = tmp_path / "cache"
    encoder = CountingEncoder()
    first = encode_cached(encoder, items, cache, progress=False)
    for path in cache.rglob("*.steps"):
        path.write_bytes(damage(path.read_bytes()))
    assert same(encode_cached(encoder, items, cache, progress=False), first)
    assert len(encoder.encoded) == 6
    assert same(encode_cached(encoder, items, cache, progress=False), first)
    assert len(encoder.encoded) == 6


def test_unusable_recordings_are_raised_or_skipped(tmp_path: Path, items: list[Item]) -> None:
    Path(str(items[1].audio)).write_bytes(b"broken file")
    missing = Item("gone", "cmn", audio=str(tmp_path / "gone.wav"))
    encoder = CountingEncoder()
    with pytest.raises(AudioError, match="not audio"):
        encode_cached(encoder, items, None, progress=False)
    with pytest.raises(AudioError, match=r"gone\.wav: item 'gone': No such file"):
        encode_cached(encoder, [missing], None, progress=False)
    skipped: list[tuple[str, str]] = []
    found = encode_cached(encoder, [missing, *items], None, progress=False, skipped=skipped)
    assert found.ids == ("a", "c")
    assert [item for item, _ in skipped] == ["gone", "b"]
    with pytest.raises(IsoglossError, match="none of 1 items could be encoded"):
        encode_cached(encoder, [missing], None, progress=False, skipped=[])
    with pytest.raises(ValueError, match="no item"):
        encode_cached(encoder, [], None, progress=False)


def test_an_encoder_that_mixes_up_ids_is_refused(items: list[Item]) -> None:
    class Backwards(CountingEncoder):
        def encode(self, items: list[Item]) -> Sequences:
            return super().encode(items).select(range(len(items) - 1, -1, -1))

    with pytest.raises(ValueError, match="check_encoder"):
        encode_cached(Backwards(), items, None, progress=False)


def test_made_by_that_hides_a_change_is_refused(tmp_path: Path, items: list[Item]) -> None:
    encode_cached(CountingEncoder(), items[:1], tmp_path / "cache", progress=False)
    liar = CountingEncoder()
    liar.step_seconds = 0.02
    with pytest.raises(ValueError, match="made_by must name everything"):
        encode_cached(liar, items, tmp_path / "cache", progress=False)


WRITER = """
import sys, time
from pathlib import Path
import numpy as np
from isogloss.encoders import encode_cached
from isogloss.types import Item, Sequences

class Encoder:
    made_by = "counting"
    def encode(self, items):
        contents = [np.frombuffer(Path(i.audio).read_bytes(), np.uint8) for i in items]
        steps = [c.astype(np.float32).reshape(-1, 1) for c in contents]
        steps = [np.hstack([s, s + 1]) for s in steps]
        return Sequences.from_list([i.id for i in items], steps, step_seconds=0.04,
                                   made_by=self.made_by)

cache, *paths = sys.argv[1:]
for path in paths:
    item = Item(Path(path).stem, "cmn", audio=path)
    encode_cached(Encoder(), [item], Path(cache), progress=False)
    print(path, flush=True)
    time.sleep(0.005)
"""


def test_concurrent_writers_and_kill_9_leave_a_sound_cache(tmp_path: Path) -> None:
    paths = []
    for number in range(60):
        path = tmp_path / f"{number}.wav"
        path.write_bytes(bytes([number + 1]) * 20_000)
        paths.append(str(path))
    cache = tmp_path / "cache"
    command = [sys.executable, "-c", WRITER, str(cache), *paths]
    writers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert writers[0].stdout is not None
    for _ in range(5):
        writers[0].stdout.readline()
    writers[0].kill()
    for writer in writers:
        writer.communicate()
    assert writers[0].returncode == -signal.SIGKILL
    assert writers[1].returncode == writers[2].returncode == 0
    encoder = CountingEncoder()
    items = [Item(Path(path).stem, "cmn", audio=path) for path in paths]
    found = encode_cached(encoder, items, cache, progress=False)
    assert encoder.encoded == []
    assert [found[i][0, 0] for i in range(60)] == list(range(1, 61))


def test_every_item_of_a_broken_recording_is_told(tmp_path: Path, items: list[Item]) -> None:
    Path(str(items[1].audio)).write_bytes(b"broken file")
    twin = dataclasses.replace(items[1], id="twin")
    skipped: list[tuple[str, str]] = []
    found = encode_cached(
        CountingEncoder(), [*items, twin], tmp_path / "cache", progress=False, skipped=skipped
    )
    assert found.ids == ("a", "c")
    assert [item for item, _ in skipped] == ["b", "twin"]
    assert all("not audio" in why for _, why in skipped)


def test_a_file_is_no_cache(tmp_path: Path, items: list[Item]) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(IsoglossError, match="is a file; the cache needs a folder"):
        encode_cached(CountingEncoder(), items, tmp_path / "file", progress=False)


def test_an_encoder_that_gives_no_sequences_is_refused(items: list[Item]) -> None:
    class Plain(CountingEncoder):
        def encode(self, items: list[Item]) -> Sequences:
            return [1.0]  # type: ignore[return-value]

    with pytest.raises(ValueError, match="returned list, not Sequences"):
        encode_cached(Plain(), items, None, progress=False)


def test_no_bar_where_nobody_looks(items: list[Item], capsys) -> None:
    encode_cached(CountingEncoder(), items, None, progress=True)
    assert capsys.readouterr() == ("", "")


class Reader:
    """A step a character; knows words; takes text."""

    takes_text = True
    made_by = "reader"

    def __init__(self) -> None:
        self.encoded: list[str] = []

    def encode(self, items: list[Item]) -> Sequences:
        texts = [text_of(item) for item in items]
        self.encoded += [item.id for item in items]
        return Sequences.from_list(
            [item.id for item in items],
            [np.array([[ord(c)] for c in text], np.float32) for text in texts],
            made_by=self.made_by,
            words=[np.array([text[:i].count(" ") for i in range(len(text))]) for text in texts],
        )


def test_words_are_kept_and_texts_known_by_what_is_read(tmp_path: Path) -> None:
    # The recording of a transcript need not be there for one who reads.
    items = [
        Item("a", "deu", text="ein Hund"),
        Item("b", "deu", audio="/absent.wav", transcript="zwei"),
        Item("c", "deu", audio="/absent.wav", transcript="drei"),
    ]
    first, second = Reader(), Reader()
    before = encode_cached(first, items, tmp_path, progress=False)
    after = encode_cached(second, items, tmp_path, progress=False)
    assert (first.encoded, second.encoded) == (["b", "c", "a"], [])
    assert before.item_words(0).tolist() == [0] * 4 + [1] * 4  # type: ignore[union-attr]
    assert after.words is not None
    assert before.words is not None
    np.testing.assert_array_equal(after.words, before.words)
    assert same(before, after)
    changed = [dataclasses.replace(items[0], words=("ein Hund",)), items[1]]
    encode_cached(second, changed, tmp_path, progress=False)
    assert second.encoded == ["a"]


def test_blank_texts_are_counted_or_raised(tmp_path: Path) -> None:
    items = [Item("a", "deu", text="ein"), Item("blank", "deu", text=" "), Item("none", "deu")]
    skipped: list[tuple[str, str]] = []
    found = encode_cached(Reader(), items, tmp_path, progress=False, skipped=skipped)
    assert found.ids == ("a",)
    assert [name for name, _ in skipped] == ["blank", "none"]
    assert "its text is empty" in skipped[0][1]
    # Equal texts are tried once; the reason names each item by its own id.
    twins = [*items, Item("as blank", "deu", text=" ")]
    skipped = []
    encode_cached(Reader(), twins, None, progress=False, skipped=skipped)
    assert all(why.startswith(f"item '{name}': ") for name, why in skipped)
    assert [name for name, _ in skipped] == ["blank", "none", "as blank"]
    with pytest.raises(TextError, match=r"item '(blank|none)'"):
        encode_cached(Reader(), items, None, progress=False)


def test_an_entry_with_words_cut_off_is_encoded_again(tmp_path: Path) -> None:
    items = [Item("a", "deu", text="ein Hund")]
    encode_cached(Reader(), items, tmp_path, progress=False)
    (path,) = tmp_path.rglob("*.steps")
    path.write_bytes(path.read_bytes()[:-8])
    again = Reader()
    found = encode_cached(again, items, tmp_path, progress=False)
    assert again.encoded == ["a"]
    assert found.words is not None
