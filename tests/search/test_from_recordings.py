"""Recordings and steps into an index, notes of encoders, and asking: the library's own calls."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from isogloss.corpora.jsonl import read_corpus
from isogloss.encoders.registry import load_encoder
from isogloss.errors import IsoglossError
from isogloss.types import Item, Sequences
from makers import melody_corpus

pytest.importorskip("numba", reason="the index needs the extra `search`")

from isogloss.search.asking import ask
from isogloss.search.encoder_note import EncoderNote, load_for, read_note, write_note
from isogloss.search.from_recordings import append_recordings, index_recordings, index_steps
from isogloss.search.index_settings import IndexSettings
from isogloss.search.open import open_index
from isogloss.search.store_lock import IndexLocked, exclusive
from isogloss.search.vector_index import VectorIndex
from isogloss.search.vector_settings import VectorSettings

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> tuple[Item, ...]:
    return read_corpus(melody_corpus(tmp_path_factory.mktemp("melodies"))).items


@pytest.fixture(scope="module")
def index(items: tuple[Item, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built") / "index"
    index_recordings(folder, items, "mel:")
    return folder


def test_the_index_holds_what_the_encoder_said(items: tuple[Item, ...], index: Path) -> None:
    expected = load_encoder("mel:").encode(items)
    found = open_index(index)
    assert [found.item(item.id) for item in items] == list(items)
    for row, item in enumerate(items):
        steps = found.steps(item.id)
        scale = np.abs(expected[row]).max()
        np.testing.assert_allclose(steps, expected[row], atol=0.02 * scale)


def test_the_same_from_steps(items: tuple[Item, ...], index: Path, tmp_path: Path) -> None:
    steps = load_encoder("mel:").encode(items)
    # Items may come in any order, and more of them than there are steps.
    index_steps(tmp_path / "i", steps, [Item("more", "cmn"), *reversed(items)], encoder="mel:")
    one, other = open_index(index), open_index(tmp_path / "i")
    for name in steps.ids:
        np.testing.assert_array_equal(one.steps(name), other.steps(name))
    assert read_note(tmp_path / "i") == EncoderNote("mel:")
    with pytest.raises(ValueError, match="12 of 12 ids have no item"):
        index_steps(tmp_path / "j", steps, [])
    # A note of another encoder would be found out by the first who asks.
    with pytest.raises(IsoglossError, match=r"the steps were made by mel:.*random:micro is random"):
        index_steps(tmp_path / "j", steps, items, encoder="random:micro")
    assert [path.name for path in tmp_path.iterdir()] == ["i"]


def test_pooled_is_the_mean(items: tuple[Item, ...], tmp_path: Path) -> None:
    steps = load_encoder("mel:").encode(items)
    index_steps(tmp_path / "i", steps, items, pooled=True)
    found = open_index(tmp_path / "i")
    assert isinstance(found, VectorIndex)
    mean = steps[3].mean(axis=0)
    np.testing.assert_allclose(found.steps(items[3].id)[0], mean, atol=1e-3 * np.abs(mean).max())


def test_settings_of_the_other_kind_are_refused(items: tuple[Item, ...], tmp_path: Path) -> None:
    steps = load_encoder("mel:").encode(items)
    with pytest.raises(ValueError, match="must be VectorSettings, got IndexSettings"):
        index_steps(tmp_path / "i", steps, items, settings=IndexSettings(), pooled=True)
    with pytest.raises(ValueError, match="must be IndexSettings, got VectorSettings"):
        index_steps(tmp_path / "i", steps, items, settings=VectorSettings())
    assert not (tmp_path / "i").exists()


def test_a_folder_that_is_taken_is_refused(items: tuple[Item, ...], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    index_recordings(tmp_path / "empty", items, "mel:")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="is there already"):
        index_recordings(tmp_path / "notes", items, "mel:")
    assert not (tmp_path / "notes.building").exists()


def test_an_append_of_known_ids_is_refused_before_it_encodes(
    items: tuple[Item, ...], index: Path
) -> None:
    with pytest.raises(ValueError, match="1 of 1 ids are in the index already"):
        append_recordings(index, [replace(items[0], audio="/nowhere.wav")])


def test_an_item_without_meaning_measures_nothing(items: tuple[Item, ...], index: Path) -> None:
    found = ask(open_index(index), load_encoder("mel:"), [replace(items[0], id="q", meaning=None)])
    assert found.measured == {}
    assert found.answers[0].hits[0].item == items[0]


def test_measured_by_hand(items: tuple[Item, ...], index: Path) -> None:
    """Each melody asks under the meaning of itself, but one claims another."""
    asked = [replace(item, id=f"q-{item.id}") for item in items]
    asked[0] = replace(asked[0], meaning="nothing like it")
    found = ask(open_index(index), load_encoder("mel:"), asked, k=2)
    assert found.measured == {"same meaning at 1": 11 / 12, "same meaning at 2": 11 / 12}


def test_ask_needs_one_kind_of_question(items: tuple[Item, ...], index: Path) -> None:
    opened = open_index(index)
    with pytest.raises(ValueError, match="ask with items and their encoder, or with ids"):
        ask(opened, None, [])
    with pytest.raises(ValueError, match="ask with items and their encoder, or with ids"):
        ask(opened, None, items)
    with pytest.raises(ValueError, match="unknown item 'x'"):
        ask(opened, None, [], ids=["x"])


def test_a_note_names_a_path_that_works_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model").mkdir()
    monkeypatch.chdir(tmp_path)
    assert write_note(tmp_path, "own:model", 2).encoder == f"own:{tmp_path.resolve() / 'model'}"
    assert read_note(tmp_path) == EncoderNote(f"own:{tmp_path.resolve() / 'model'}", 2)
    assert write_note(tmp_path, "hf:owner/name").encoder == "hf:owner/name"
    (tmp_path / "encoder.json").write_text("{}")
    with pytest.raises(IsoglossError, match="remove it and name the encoder"):
        read_note(tmp_path)


def test_the_encoder_is_the_one_of_the_index(index: Path) -> None:
    opened = open_index(index)
    assert load_for(opened, index).made_by == opened.made_by
    with pytest.raises(IsoglossError, match=r"the index was made by mel:.*cannot be compared"):
        load_for(opened, index, "random:micro")


def test_a_killed_build_goes_on(tmp_path: Path) -> None:
    """SIGKILL at several moments, then the same command: one whole index, nothing beside it."""
    manifest = melody_corpus(tmp_path / "melodies")
    index = tmp_path / "index"
    command = [sys.executable, "-m", "isogloss", "search", "build", str(manifest)]
    command += ["--encoder", "mel:", "--out", str(index)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    quiet = subprocess.DEVNULL
    for delay in (0.4, 0.9):
        process = subprocess.Popen(command, env=environment, stdout=quiet, stderr=quiet)
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
        # Under its name the index is whole or absent.
        if index.exists():
            assert len(open_index(index)) == 12
    if not index.exists():
        subprocess.run(command, env=environment, stdout=quiet, check=True)
    assert len(open_index(index)) == 12
    assert json.loads((index / "encoder.json").read_text())["encoder"] == "mel:"


def test_two_builds_and_two_appends_do_not_meet(items: tuple[Item, ...], tmp_path: Path) -> None:
    """The second is told to wait, the first is not disturbed, and what it leaves behind is tidy."""
    for name in ("index.building", "index.appending"):
        (tmp_path / name).mkdir()
    with exclusive(tmp_path / "index.building"), pytest.raises(IndexLocked, match=str(os.getpid())):
        index_recordings(tmp_path / "index", items, "mel:")
    index_recordings(tmp_path / "index", items[:6], "mel:")
    with exclusive(tmp_path / "index.appending"), pytest.raises(IndexLocked, match="wait until"):
        append_recordings(tmp_path / "index", items[6:])
    append_recordings(tmp_path / "index", items[6:])
    assert len(open_index(tmp_path / "index")) == 12
    assert [path.name for path in tmp_path.iterdir()] == ["index"]


def test_an_append_that_may_not_write_says_so_before_it_encodes(
    items: tuple[Item, ...], index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # who runs tests as root may write anyway
    with pytest.raises(PermissionError, match="may not write"):
        append_recordings(index, [replace(items[0], id="new", audio="/nowhere.wav")])


def test_no_item_is_refused(tmp_path: Path) -> None:
    empty = Sequences((), np.zeros((0, 4), np.float32), np.zeros(1, np.int64))
    with pytest.raises(IsoglossError, match="no item"):
        index_steps(tmp_path / "i", empty, [], pooled=True)
