"""Every planted fault is found with item, value and remedy; nothing crashes on a broken corpus."""

from __future__ import annotations

import dataclasses
import json
import struct
import tracemalloc

import numpy as np
import pytest

from isogloss.corpora.audio import write_wav
from isogloss.corpora.check import check_corpus, read_usable, usable
from isogloss.corpora.check_audio import sample_statistics
from isogloss.corpora.check_findings import KINDS, CheckLimits
from isogloss.corpora.check_text import check_text, ctc_steps_needed, encoder_steps
from isogloss.corpora.jsonl import write_corpus
from isogloss.errors import UnknownName
from isogloss.types import Corpus, Item

soundfile = pytest.importorskip("soundfile")


def speech(seconds=1.0, rate=16000, seed=0):
    rng = np.random.default_rng(seed)
    return (0.1 * rng.standard_normal(int(seconds * rate))).clip(-0.9, 0.9).astype(np.float32)


def item(item_id, path, **fields):
    given = {"variety": "cmn", "audio": str(path), "transcript": "你好"} | fields
    return Item(item_id, **given)


def kinds(report):
    return [(finding.item, finding.kind) for finding in report.findings]


def recorded(folder, name, samples, rate=16000, **fields):
    write_wav(folder / f"{name}.wav", samples, rate)
    return item(name, folder / f"{name}.wav", **fields)


def sparse_wav(path, seconds, rate=16000):
    """A WAV of zeros that takes no room on disk."""
    size = 2 * int(seconds * rate)
    with path.open("wb") as handle:
        handle.write(struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + size, b"WAVE", b"fmt ", 16, 1,
                                 1, rate, 2 * rate, 2, 16, b"data", size))  # fmt: skip
        handle.truncate(44 + size)


def test_a_clean_corpus_has_no_findings(tmp_path):
    items = [recorded(tmp_path, str(i), speech(seed=i)) for i in range(3)]
    report = check_corpus(items)
    assert report.findings == ()
    assert report.ok
    assert (report.items, report.with_audio, report.seconds) == (3, 3, 3.0)
    assert usable(items, report) == (tuple(items), ())


def test_no_items_no_findings():
    report = check_corpus([])
    assert (report.items, report.seconds, report.findings) == (0, 0.0, ())


@pytest.mark.parametrize(
    ("kind", "samples", "rate", "value"),
    [
        ("silence", np.zeros(16000, np.float32), 16000, "peak 0"),
        ("silence", speech() * 0.001, 16000, "peak"),
        ("clipping", np.where(np.arange(16000) % 50 < 2, 1.0, 0.2), 16000, "4.00 %"),
        ("stereo", np.stack([speech(), speech()], 1), 16000, "2 channels"),
        ("sample rate", speech(rate=8000), 8000, "8000 Hz"),
        ("zero duration", np.zeros(0, np.float32), 16000, "0 s"),
        ("long", np.tile(speech(1.0), 61), 16000, "61.0 s"),
        ("too short for transcript", speech(0.09), 16000, "needs 2 steps, 0.09 s have 0"),
    ],
)
def test_a_planted_fault_of_the_sound_is_found_with_value_and_remedy(
    tmp_path, kind, samples, rate, value
):
    report = check_corpus([recorded(tmp_path, "a", samples, rate)])
    (finding,) = [f for f in report.findings if f.kind == kind]
    assert finding.item == "a"
    assert value in finding.value
    assert (finding.severity, finding.remedy) == KINDS[kind]
    others = {f.kind for f in report.findings} - {kind}
    assert others <= {"too short for transcript"}


def test_broken_files_are_findings(tmp_path):
    whole = recorded(tmp_path, "whole", speech())
    data = (tmp_path / "whole.wav").read_bytes()
    (tmp_path / "cut.wav").write_bytes(data[:5000])
    (tmp_path / "text.wav").write_text("not a recording")
    (tmp_path / "empty.mp3").write_bytes(b"")
    nan = speech()
    nan[7] = np.nan
    soundfile.write(tmp_path / "nan.wav", nan, 16000, subtype="FLOAT")
    sparse_wav(tmp_path / "hours.wav", 3 * 3600)
    items = [
        whole,
        item("cut", tmp_path / "cut.wav"),
        item("text", tmp_path / "text.wav"),
        item("empty", tmp_path / "empty.mp3"),
        item("nan", tmp_path / "nan.wav"),
        item("none", tmp_path / "none.wav"),
        item("folder", tmp_path),
        item("late", tmp_path / "whole.wav", start_seconds=5.0),
        item("beyond", tmp_path / "whole.wav", end_seconds=5.0),
        item("backwards", tmp_path / "whole.wav", start_seconds=0.5, end_seconds=0.2),
    ]
    expected = [
        ("cut", "truncated"),
        ("text", "unreadable"),
        ("empty", "empty"),
        ("nan", "nan"),
        ("none", "missing"),
        ("folder", "unreadable"),
        ("late", "range"),
        ("beyond", "range"),
        ("backwards", "range"),
    ]
    for jobs in (1, 3):
        report = check_corpus(items, jobs=jobs)
        assert kinds(report) == expected
        assert not report.ok
    kept, skipped = usable(items, report)
    assert kept == (whole,)
    assert [skip.item for skip in skipped] == [name for name, _ in expected]
    assert "promises" in skipped[0].reason
    hours = item("hours", tmp_path / "hours.wav")
    assert kinds(check_corpus([hours], probe="header")) == [("hours", "absurd duration")]


def test_reading_headers_only_finds_what_headers_tell(tmp_path):
    items = [
        recorded(tmp_path, "silent", np.zeros(16000, np.float32)),
        recorded(tmp_path, "stereo", np.stack([speech(), speech()], 1)),
    ]
    (tmp_path / "cut.wav").write_bytes((tmp_path / "silent.wav").read_bytes()[:999])
    items.append(item("cut", tmp_path / "cut.wav"))
    report = check_corpus(items, probe="header")
    assert kinds(report) == [("stereo", "stereo"), ("cut", "truncated")]


def test_half_an_hour_is_measured_in_bounded_memory(tmp_path):
    sparse_wav(tmp_path / "long.wav", 1800)
    tracemalloc.start()
    try:
        report = check_corpus([item("long", tmp_path / "long.wav")])
        assert tracemalloc.get_traced_memory()[1] < 30e6
    finally:
        tracemalloc.stop()
    assert {kind for _, kind in kinds(report)} == {"absurd duration", "silence"}
    assert report.seconds == 1800


def test_a_piece_is_judged_not_its_recording(tmp_path):
    samples = np.concatenate([speech(1.0), np.zeros(16000, np.float32)])
    whole = recorded(tmp_path, "a", samples)
    first = dataclasses.replace(whole, id="first", end_seconds=1.0)
    second = dataclasses.replace(whole, id="second", start_seconds=1.0)
    report = check_corpus([whole, first, second])
    assert kinds(report) == [("second", "silence")]
    assert report.durations == {"a": 2.0, "first": 1.0, "second": 1.0}


def test_a_broken_manifest_line_is_a_finding_with_its_line(tmp_path):
    good = json.dumps({"id": "a", "variety": "yue", "text": "早"})
    unknown = json.dumps({"id": "u", "variety": "yux", "text": "早"})
    field = json.dumps({"id": "f", "variety": "yue", "txt": "早"})
    path = tmp_path / "m.jsonl"
    lines = ['{"isogloss_corpus": 1, "name": "n"}', good, "{broken", good, unknown, field, "\xff"]
    path.write_bytes("\n".join(lines).encode("latin-1").replace("æ\x97©".encode("latin-1"), b"x"))
    path.write_bytes(path.read_bytes().replace("早".encode(), b"x"))
    report = check_corpus(path)
    assert [(f.item, f.kind, f.line) for f in report.errors] == [
        ("line 3", "bad line", 3),
        ("a", "duplicate id", 4),
        ("u", "unknown variety", 5),
        ("line 6", "bad line", 6),
        ("line 7", "bad line", 7),
    ]
    assert "yue" in report.errors[2].value
    assert "text" in report.errors[3].value
    assert report.items == 6
    result = read_usable(path)
    assert [x.id for x in result.corpus.items] == ["a"]
    assert result.corpus.name == "n"
    assert [s.item for s in result.skipped] == ["line 3", "line 6", "line 7", "a", "u"]
    assert all(s.reason and s.remedy for s in result.skipped)


def test_a_header_of_another_version_is_a_finding(tmp_path):
    (tmp_path / "m.jsonl").write_text('{"isogloss_corpus": 9}\n{"id": "a", "variety": "yue"}\n')
    result = read_usable(tmp_path / "m.jsonl")
    assert [f.kind for f in result.report.findings] == ["bad line"]
    assert len(result.corpus) == 0


def test_a_damaged_gzip_manifest_is_a_finding(tmp_path):
    items = [Item(f"{i}", "yue", text=str(i) * 50) for i in range(2000)]
    write_corpus(Corpus("c", tuple(items)), tmp_path / "m.jsonl.gz")
    data = (tmp_path / "m.jsonl.gz").read_bytes()
    (tmp_path / "cut.jsonl.gz").write_bytes(data[: len(data) // 2])
    report = check_corpus(tmp_path / "cut.jsonl.gz")
    assert report.errors[-1].kind == "bad line"
    assert len(read_usable(tmp_path / "cut.jsonl.gz").skipped) == 1


def test_a_manifest_that_cannot_be_opened_is_an_error_of_the_call(tmp_path):
    with pytest.raises(FileNotFoundError):
        check_corpus(tmp_path / "none.jsonl")


def test_the_first_of_two_equal_ids_is_kept():
    items = [Item("a", "yue", text="一"), Item("a", "cmn", text="二"), Item("b", "cmn", text="三")]
    report = check_corpus(items)
    assert kinds(report) == [("a", "duplicate id")]
    kept, skipped = usable(items, report)
    assert kept == (items[0], items[2])
    assert [skip.item for skip in skipped] == ["a"]


def test_faults_of_the_writing():
    def found(script=None, seconds=None, **fields):
        made = Item("a", "cmn", **fields)
        return [f.kind for f in check_text(made, script=script, seconds=seconds)]

    assert found(text="字") == []
    assert found() == ["no content"]
    assert found(audio="/a.wav") == ["no transcript"]
    assert found(audio="/a.wav", translation="好") == []
    assert found(audio="/a.wav", transcript="") == ["empty transcript"]
    assert found(audio="/a.wav", transcript=" \n") == ["empty transcript"]
    assert found(audio="/a.wav", transcript="好a", script="Hani") == ["outside script"]
    assert found(audio="/a.wav", transcript="好", translation="abc", script="Hani") == []
    assert found(audio="/a.wav", transcript="好a", script="Xxxx") == []
    # 1 s gives 98 frames, 45 after the first convolutions, 23 steps.
    assert found(audio="/a.wav", transcript="一二" * 11 + "三", seconds=1.0) == []
    assert found(audio="/a.wav", transcript="一二" * 12, seconds=1.0) == [
        "too short for transcript"
    ]
    assert found(audio="/a.wav", transcript="一" * 12, seconds=1.0) == []
    assert found(audio="/a.wav", transcript="一" * 13, seconds=1.0) == ["too short for transcript"]


def test_steps_ctc_needs_by_hand():
    assert [ctc_steps_needed(x) for x in ("", "a", "ab", "aa", "aab b", "a a")] == [
        0, 1, 2, 3, 6, 3,
    ]  # fmt: skip


def test_steps_of_the_encoder_by_hand():
    # Frames of 25 ms every 10 ms; (frames - 7) // 2; halved, rounding up.
    assert [encoder_steps(s) for s in (0.0, 0.02, 0.095, 0.105, 1.0, 10.0)] == [0, 0, 0, 1, 23, 248]
    assert encoder_steps(2.0, steps_per_second=12.5) == 25


def test_the_script_asked_for_replaces_that_of_the_variety():
    items = [Item("a", "cmn", text="说话"), Item("b", "cmn", text="說話")]
    assert kinds(check_corpus(items, script="Hans")) == [("b", "outside script")]
    assert kinds(check_corpus(items, script="Hant")) == [("a", "outside script")]
    assert check_corpus(items, script="Hans").ok


def test_speakers_and_meanings_in_train_and_test_are_found():
    items = [
        Item("1", "yue", "m1", "一", speaker="s1", split="train"),
        Item("2", "cmn", "m1", "一", speaker="s2", split="test"),
        Item("3", "cmn", "m2", "二", speaker="s2", split="dev"),
        Item("4", "cmn", "m3", "三", speaker="s1", split="test"),
        Item("5", "cmn", "m4", "四", speaker="s3"),
    ]
    report = check_corpus(items)
    assert kinds(report) == [("m1", "meaning in two splits"), ("s1", "speaker in two splits")]
    assert not report.ok
    # A wrong split makes no recording unfit.
    assert usable(items, report)[0] == tuple(items)


def test_statistics_over_blocks_are_those_of_the_whole():
    samples = speech(1.0)[:, None].copy()
    samples[[3, 5]] = 1.0
    samples[9] = np.inf
    whole = sample_statistics([samples])
    parts = sample_statistics(np.array_split(samples, 7))
    assert (whole.frames, whole.not_finite, whole.clipped_share) == (16000, 1, 2 / 16000)
    assert whole.peak == 1.0
    assert dataclasses.astuple(parts) == pytest.approx(dataclasses.astuple(whole))
    assert sample_statistics([]).frames == 0


def test_limits_can_be_moved(tmp_path):
    made = recorded(tmp_path, "a", speech(2.0))
    limits = CheckLimits(long_seconds=1.0)
    assert kinds(check_corpus([made], limits=limits)) == [("a", "long")]
    limits = CheckLimits(absurd_seconds=1.5)
    assert kinds(check_corpus([made], limits=limits)) == [("a", "absurd duration")]


def test_wrong_arguments_are_refused():
    with pytest.raises(UnknownName, match="header"):
        check_corpus([], probe="headers")
    with pytest.raises(UnknownName, match="Hans"):
        check_corpus([], script="Han")
    with pytest.raises(ValueError, match="jobs"):
        check_corpus([], jobs=0)


def test_counts_list_kinds_in_the_order_of_the_table():
    items = [Item("a", "zzzz"), Item("b", "yue"), Item("c", "yue")]
    assert check_corpus(items).counts == {"unknown variety": 1, "no content": 3}


def test_a_manifest_without_items_is_an_error(tmp_path):
    write_corpus(Corpus("none", ()), tmp_path / "none.jsonl")
    report = check_corpus(tmp_path / "none.jsonl")
    assert not report.ok
    assert kinds(report) == [("none.jsonl", "no items")]
    (tmp_path / "empty.jsonl").write_bytes(b"")
    assert check_corpus(tmp_path / "empty.jsonl").counts == {"no items": 1}
