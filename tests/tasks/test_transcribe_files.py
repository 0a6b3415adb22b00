from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from isogloss.errors import IsoglossError, UnknownName
from isogloss.speech.tokens import Tokenizer
from isogloss.tasks import LongTranscription, find_recordings, transcribe_files
from isogloss.types import Item
from makers import write_wav

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

ENDINGS = {"json": ".json", "text": ".txt", "ctm": ".ctm"}
WHOLE = LongTranscription(detect_speech=False)


class Reader:
    """Reads one character for each tenth of a second, and counts what it is given."""

    tokenizer = Tokenizer(["<blk>", "<unk>", "天", "地"])

    def __init__(self, name: str = "own:a") -> None:
        self.name = name
        self.heard = 0

    def posteriors_of_samples(
        self, pieces: Sequence[np.ndarray], *, head: str
    ) -> Iterator[tuple[int, np.ndarray]]:
        for index, piece in enumerate(pieces):
            self.heard += 1
            path = [2 + i % 2 for i in range(len(piece) // 1600)] or [0]
            yield index, np.log(0.97 * np.eye(4)[path] + 0.0075).astype(np.float32)


def sound(path: Path, tenths: int = 2) -> Path:
    return write_wav(path, np.full(1600 * tenths, 0.1))


@pytest.fixture
def tapes(tmp_path: Path) -> Path:
    folder = tmp_path / "tapes"
    for name in ("b.wav", "a/c.wav", "a/d.e.wav"):
        sound(folder / name)
    (folder / "notes.txt").write_text("no recording")
    sound(folder / "._b.wav")
    sound(folder / ".hidden" / "x.wav")
    (folder / "dir.wav").mkdir()
    return folder


def names(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def test_recordings_are_found_at_any_depth(tapes: Path, tmp_path: Path) -> None:
    assert [i.id for i in find_recordings([tapes])] == ["a/c.wav", "a/d.e.wav", "b.wav"]
    # A file is taken whatever it ends in, once, and folders are told apart by their names.
    odd = sound(tmp_path / "tape.001")
    found = find_recordings([odd, tapes / "b.wav", tapes, odd])
    assert [i.id for i in found] == [
        str(odd),
        str(tapes / "b.wav"),
        "tapes/a/c.wav",
        "tapes/a/d.e.wav",
    ]
    assert all(item.audio == str((tmp_path / str(item.audio)).resolve()) for item in found)


def test_folders_that_cannot_be_told_apart_or_are_empty(tapes: Path, tmp_path: Path) -> None:
    sound(tmp_path / "other" / "tapes" / "b.wav")
    with pytest.raises(ValueError, match=r"two recordings are called tapes/b\.wav"):
        find_recordings([tapes, tmp_path / "other" / "tapes"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty holds no recording"):
        find_recordings([tmp_path / "empty"])


def test_odd_files_and_names_stop_nothing(tmp_path: Path) -> None:
    """Links in a circle, a link to nothing, a pipe, names in GBK or with a line break."""
    folder = tmp_path / "tapes"
    sound(folder / "good.wav")
    sound(folder / "two\nlines.wav")
    gbk = folder / os.fsdecode("录音.wav".encode("gbk"))
    try:
        sound(gbk)
    except OSError:
        pytest.skip("this file system has names of UTF-8 alone")
    (folder / "loop.wav").symlink_to("loop.wav")
    (folder / "gone.wav").symlink_to("nowhere.wav")
    (folder / "round").symlink_to(".")
    os.mkfifo(folder / "pipe.wav")
    names_shown = {"good.wav", "two\\nlines.wav", "\u00bc\\xd2\xf4.wav"}
    for form in ("json", "text", "ctm"):
        done = transcribe_files(
            Reader(),
            find_recordings([folder]),
            out=tmp_path / f"all-{form}{ENDINGS[form]}",
            form=form,
            config=WHOLE,
        )
        assert {f.id for f in done.failed} == {"loop.wav", "gone.wav", "pipe.wav"}
        assert len({t.id for t in done.transcripts} & names_shown) >= 2 and done.done == 3
    out = tmp_path / "out"
    done = transcribe_files(Reader(), find_recordings([folder]), out=out, config=WHOLE)
    # The files keep the names of the recordings, byte for byte.
    assert (out / gbk.with_suffix(".txt").name).read_text(encoding="utf-8") == "天地\n"
    again = transcribe_files(Reader(), find_recordings([folder]), out=out, config=WHOLE)
    assert (done.done, again.done, again.there_already) == (3, 0, 3)


def test_a_head_that_is_not_there_is_missed_before_anything_is_done(tapes: Path) -> None:
    class Headless(Reader):
        def posteriors_of_samples(self, pieces, *, head):
            if head == "dialect":
                raise ValueError("no dialect head")
            yield from super().posteriors_of_samples(pieces, head=head)

    out, config = tapes / "out", LongTranscription(head="dialect", detect_speech=False)
    with pytest.raises(ValueError, match="no dialect head"):
        transcribe_files(Headless(), find_recordings([tapes]), out=out, config=config)
    # The folder may still be had by the other head.
    assert not out.exists()


def test_a_folder_gets_a_file_for_each_recording(tapes: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = transcribe_files(
        Reader(), find_recordings([tapes]), out=out, form="srt", config=WHOLE, keep=False
    )
    assert names(out) == ["a/c.srt", "a/d.e.srt", "b.srt", "transcribe_config.json"]
    assert (out / "b.srt").read_text() == "1\n00:00:00,000 --> 00:00:00,200\n天地\n"
    assert (result.done, result.there_already, result.failed, result.transcripts) == (3, 0, [], [])
    settings = json.loads((out / "transcribe_config.json").read_text())["settings"]
    assert (settings["model"], settings["detect_speech"]) == ("own:a", False)


def test_it_goes_on_where_it_stopped(tapes: Path, tmp_path: Path) -> None:
    out, items = tmp_path / "out", find_recordings([tapes])

    class Killed(Reader):
        def posteriors_of_samples(self, pieces: Any, *, head: str) -> Any:
            for found in super().posteriors_of_samples(pieces, head=head):
                if self.heard == 2:
                    raise KeyboardInterrupt
                yield found

    import isogloss.speech.long_transcription as module

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_WAITING_SECONDS", 0.1)
        with pytest.raises(KeyboardInterrupt):
            transcribe_files(Killed(), items, out=out, config=WHOLE)
    assert names(out) == ["a/c.txt", "transcribe_config.json"]
    (out / "a" / "c.txt").write_text("edited by hand\n")
    reader = Reader()
    result = transcribe_files(reader, items, out=out, config=WHOLE)
    assert (result.done, result.there_already, reader.heard) == (2, 1, 2)
    assert (out / "a" / "c.txt").read_text() == "edited by hand\n"
    assert (out / "b.txt").read_text() == "天地\n"
    # Another format is another set of files.
    assert transcribe_files(reader, items, out=out, form="ctm", config=WHOLE).done == 3
    assert transcribe_files(reader, items, out=out, config=WHOLE, overwrite=True).done == 3
    assert (out / "a" / "c.txt").read_text() == "天地\n"


def test_two_models_or_settings_do_not_mix(tapes: Path, tmp_path: Path) -> None:
    out, items = tmp_path / "out", find_recordings([tapes])
    transcribe_files(Reader(), items, out=out, config=WHOLE)
    with pytest.raises(IsoglossError, match="made with another model;"):
        transcribe_files(Reader("own:b"), items, out=out, config=WHOLE)
    other = LongTranscription(detect_speech=False, beam=4)
    with pytest.raises(IsoglossError, match="made with another beam;"):
        transcribe_files(Reader(), items, out=out, config=other)
    assert transcribe_files(Reader("own:b"), items, out=out, config=WHOLE, overwrite=True).done == 3
    (out / "transcribe_config.json").write_text("{")
    with pytest.raises(IsoglossError, match=r"transcribe_config\.json cannot be read"):
        transcribe_files(Reader(), items, out=out, config=WHOLE)


def test_names_that_differ_in_their_ending_keep_it(tmp_path: Path) -> None:
    folder = tmp_path / "tapes"
    for name in ("b.wav", "b.WAV2", "c.wav", "transcribe_config.wav"):
        sound(folder / name)
    paths = [folder / n for n in ("b.wav", "b.WAV2", "c.wav", "transcribe_config.wav")]
    out = tmp_path / "out"
    transcribe_files(Reader(), find_recordings(paths), out=out, form="json", config=WHOLE)
    assert names(out) == [
        "b.WAV2.json",
        "b.wav.json",
        "c.json",
        "transcribe_config.json",
        "transcribe_config.wav.json",
    ]
    assert json.loads((out / "c.json").read_text())["text"] == "天地"
    twice = [sound(tmp_path / side / "x.wav") for side in ("left", "right")]
    with pytest.raises(ValueError, match=r"written to x\.wav\.json"):
        transcribe_files(Reader(), find_recordings(twice), out=out, form="json", config=WHOLE)


def test_ids_of_a_manifest_do_not_lead_out_of_the_folder(tmp_path: Path) -> None:
    audio = str(sound(tmp_path / "x.wav"))
    items = [Item(id, "und", audio=audio) for id in ("../../up", "/root.1", "a/b", "..")]
    transcribe_files(Reader(), items, out=tmp_path / "out", config=WHOLE)
    assert names(tmp_path / "out") == [
        "_.txt",
        "a/b.txt",
        "root.1.txt",
        "transcribe_config.json",
        "up.txt",
    ]


def test_one_file_holds_all_of_them(tapes: Path, tmp_path: Path) -> None:
    items = find_recordings([tapes])
    for name, form in (
        ("x.txt", "text"),
        ("x.json", "json"),
        ("x.jsonl", "jsonl"),
        ("x.ctm", "ctm"),
    ):
        result = transcribe_files(Reader(), items, out=tmp_path / name, form=form, config=WHOLE)
        assert len(result.transcripts) == 3
    assert (tmp_path / "x.txt").read_text().startswith("# a/c.wav\n天地\n\n# a/d.e.wav\n")
    assert [r["id"] for r in json.loads((tmp_path / "x.json").read_text())] == [i.id for i in items]
    assert len((tmp_path / "x.jsonl").read_text().splitlines()) == 3
    assert len((tmp_path / "x.ctm").read_text().splitlines()) == 6
    with pytest.raises(ValueError, match="3 recordings do not fit into one srt file"):
        transcribe_files(Reader(), items, out=tmp_path / "x.srt", form="srt", config=WHOLE)
    with pytest.raises(UnknownName, match="unknown format 'srtt'; did you mean srt"):
        transcribe_files(Reader(), items, form="srtt", config=WHOLE)


def test_a_corrupt_file_among_many(tmp_path: Path) -> None:
    folder = tmp_path / "tapes"
    for number in range(60):
        sound(folder / f"{number:03d}.wav", 1 + number % 4)
    (folder / "031.wav").write_bytes(b"RIFF but no more")
    out = tmp_path / "out"
    result = transcribe_files(Reader(), find_recordings([folder]), out=out, config=WHOLE)
    assert (result.done, len(result.failed)) == (59, 1)
    assert result.failed[0].id == "031.wav"
    assert len(list(out.glob("*.txt"))) == 59
    assert [t.id for t in result.transcripts] == [f"{n:03d}.wav" for n in range(60) if n != 31]
    assert (out / "003.txt").read_text() == "天地天地\n"
    # Again: the broken one alone is tried.
    again = transcribe_files(Reader(), find_recordings([folder]), out=out, config=WHOLE)
    assert (again.done, again.there_already, len(again.failed)) == (0, 59, 1)
