from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from isogloss.speech.features import fbank
from isogloss.training.store import build_store, item_features
from isogloss.types import Item
from makers import melody, write_wav

if TYPE_CHECKING:
    from pathlib import Path

torch.set_num_threads(1)
LIMITS = {"min_seconds": 0.3, "max_seconds": 3.0}


def items(folder: Path) -> list[Item]:
    found = []
    for number, notes in enumerate([(0, 4, 7), (12, 7)]):
        path = write_wav(folder / f"{number}.wav", melody(notes, seed=number))
        found.append(Item(id=f"i{number}", variety="cmn", audio=str(path)))
    return found


def test_features_come_back_as_they_were_computed(tmp_path: Path) -> None:
    store = build_store(items(tmp_path), tmp_path / "run", **LIMITS, speeds=(1.0, 0.9))
    assert store.rows == {"i0": (0, 1), "i1": (2, 3)}
    wave = melody((0, 4, 7), seed=0)
    np.testing.assert_allclose(store[0], fbank(wave).numpy(), atol=0.05)
    assert store[0].dtype == np.float32
    assert [store.frames(row) for row in range(4)] == [60, 67, 40, 44]
    assert store.seconds == pytest.approx(2.11)


def test_a_store_is_computed_once_and_again_when_a_recording_changes(tmp_path: Path) -> None:
    corpus = items(tmp_path)
    first = build_store(corpus, tmp_path / "run", **LIMITS)
    file = next((tmp_path / "run").glob("features-*/values.f32"))
    written = file.stat().st_mtime_ns
    again = build_store(corpus, tmp_path / "run", **LIMITS)
    assert file.stat().st_mtime_ns == written
    np.testing.assert_array_equal(first.values, again.values)
    os.utime(corpus[0].audio or "", ns=(1, 1))
    build_store(corpus, tmp_path / "run", **LIMITS)
    assert len(list((tmp_path / "run").iterdir())) == 2


@pytest.mark.parametrize("damage", ["index", "values"])
def test_a_store_that_is_not_whole_is_computed_again(tmp_path: Path, damage: str) -> None:
    corpus = items(tmp_path)
    first = np.array(build_store(corpus, tmp_path / "run", **LIMITS).values)
    folder = next((tmp_path / "run").iterdir())
    if damage == "index":
        (folder / "index.json").write_text('{"format": 1, "off')
    else:
        (folder / "values.f32").write_bytes(b"1234")
    np.testing.assert_array_equal(build_store(corpus, tmp_path / "run", **LIMITS).values, first)


def nan_wav(path: Path) -> None:
    samples = np.zeros(16000, dtype="<f4")
    samples[100] = np.nan
    body = samples.tobytes()
    form = struct.pack("<HHIIHH", 3, 1, 16000, 64000, 4, 32)
    chunks = b"fmt " + struct.pack("<I", 16) + form + b"data" + struct.pack("<I", len(body)) + body
    path.write_bytes(b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks)


def three_hours(path: Path) -> None:
    """A WAV of 3 hours at 8 kHz that takes no room on disk."""
    size = 3 * 3600 * 8000 * 2
    form = struct.pack("<HHIIHH", 1, 1, 8000, 16000, 2, 16)
    head = b"RIFF" + struct.pack("<I", 36 + size) + b"WAVEfmt " + struct.pack("<I", 16) + form
    with path.open("wb") as handle:
        handle.write(head + b"data" + struct.pack("<I", size))
        handle.truncate(44 + size)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing.wav", "audio cannot be read"),
        ("truncated.wav", "audio cannot be read"),
        ("text.wav", "audio cannot be read"),
        ("empty.mp3", "audio cannot be read"),
        ("nan.wav", "audio cannot be read"),
        ("long.wav", "too long"),
        ("short.wav", "too short"),
        ("silent.wav", "silence"),
    ],
)
def test_what_cannot_be_used_says_why(tmp_path: Path, name: str, reason: str) -> None:
    path = tmp_path / name
    write_wav(tmp_path / "short.wav", melody((1,), note_seconds=0.1))
    whole = write_wav(tmp_path / "whole.wav", melody((1, 2, 3))).read_bytes()
    (tmp_path / "truncated.wav").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.wav").write_text("this is no sound\n" * 200)
    (tmp_path / "empty.mp3").write_bytes(b"")
    nan_wav(tmp_path / "nan.wav")
    write_wav(tmp_path / "silent.wav", np.zeros(16000, dtype=np.float32))
    three_hours(tmp_path / "long.wav")
    found = item_features(Item(id="x", variety="cmn", audio=str(path)), speeds=(1.0,), **LIMITS)
    assert not isinstance(found, list)
    assert (found.id, found.reason) == ("x", reason)
    assert found.detail


def test_an_end_past_the_recording_is_named_as_such(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", melody((1, 2, 3)))
    item = Item(id="x", variety="cmn", audio=str(path), start_seconds=0.0, end_seconds=900.0)
    found = item_features(item, speeds=(1.0,), **LIMITS)
    assert not isinstance(found, list)
    assert found.reason == "audio cannot be read"
    assert "900" in found.detail


def test_a_piece_of_a_long_recording_is_used(tmp_path: Path) -> None:
    three_hours(tmp_path / "long.wav")
    tone = (8000 * np.sin(np.arange(8000) / 4)).astype("<i2")
    with (tmp_path / "long.wav").open("r+b") as handle:
        handle.seek(44 + 5000 * 16000)
        handle.write(tone.tobytes())
    piece = Item(
        id="x",
        variety="cmn",
        audio=str(tmp_path / "long.wav"),
        start_seconds=5000.0,
        end_seconds=5001.0,
    )
    found = item_features(piece, speeds=(1.0,), **LIMITS)
    assert isinstance(found, list)
    assert found[0].shape == (100, 80)


def test_a_corpus_of_broken_recordings_is_a_store_without_rows(tmp_path: Path) -> None:
    broken = [Item(id="x", variety="cmn", audio=str(tmp_path / "missing.wav"))]
    store = build_store(broken, tmp_path, **LIMITS)
    assert store.rows == {}
    assert len(build_store(broken, tmp_path, **LIMITS).skipped) == 1
