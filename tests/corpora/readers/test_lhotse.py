from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING

import pytest

from isogloss.corpora.catalogue import load_reader
from isogloss.corpora.conformance import check_reader
from isogloss.corpora.readers import LayoutError
from isogloss.corpora.readers.lhotse import read
from isogloss.types import Item

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("lhotse")


def cut(name: str, source: str, language: str | None = "Cantonese") -> dict:
    supervision = {
        "id": name,
        "recording_id": name,
        "start": 0.0,
        "duration": 0.1,
        "channel": 0,
        "text": "佢去咗",
        "language": language,
        "speaker": "f01",
    }
    recording = {
        "id": name,
        "sources": [{"type": "file", "channels": [0], "source": source}],
        "sampling_rate": 16000,
        "num_samples": 1600,
        "duration": 0.1,
        "channel_ids": [0],
    }
    return {
        "id": name,
        "start": 0.0,
        "duration": 0.1,
        "channel": 0,
        "supervisions": [{k: v for k, v in supervision.items() if v is not None}],
        "recording": recording,
        "type": "MonoCut",
    }


@pytest.fixture
def manifest(tmp_path, tone) -> Path:
    a = tone(tmp_path / "clips" / "a.wav")
    tone(tmp_path / "clips" / "b.wav")
    silent = cut("s", str(a))
    del silent["supervisions"]
    lines = [
        cut("a", str(a)),
        cut("b", "clips/b.wav"),  # relative
        cut("a", str(a)),  # id taken
        cut("c", "clips/none.wav"),
        cut("d", str(a), language="Moonish"),
        cut("e", str(a), language=None),
        silent,
        [1, 2],
        {"id": "x", "supervisions": [], "type": "MonoCut"},
    ]
    path = tmp_path / "my_cuts.jsonl"
    text = "\n".join(json.dumps(line, ensure_ascii=False) for line in lines)
    path.write_text(text + "\n{broken\n", encoding="utf-8")
    return path


def test_cuts_of_others(manifest) -> None:
    result = check_reader(
        load_reader("lhotse"),
        manifest,
        expected_items=2,
        expected_skipped=8,
        varieties="Cantonese=yue-hongkong",
        split="train",
    )
    first, second = result.corpus.items
    assert (first.id, first.variety, first.speaker, first.split) == (
        "a",
        "yue-hongkong",
        "f01",
        "train",
    )
    assert second.audio == str(manifest.parent.resolve() / "clips" / "b.wav")
    assert result.corpus.name == "my_cuts"


def test_one_variety_for_all(manifest) -> None:
    result = check_reader(read, manifest, expected_items=4, variety="yue")
    assert {item.variety for item in result.corpus.items} == {"yue"}


def test_a_compressed_manifest_and_an_audio_root(manifest, tmp_path) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "cuts.jsonl.gz").write_bytes(gzip.compress(manifest.read_bytes(), mtime=0))
    result = check_reader(
        load_reader("lhotse"),
        folder,
        expected_items=2,
        audio_root=str(tmp_path),
    )
    assert [item.id for item in result.corpus.items] == ["a", "b"]


def test_our_own_cuts_come_back_as_they_were(tmp_path, tone) -> None:
    from isogloss.corpora.lhotse import write_cuts

    audio = str(tone(tmp_path.resolve() / "a.wav", 1.0))
    item = Item(
        id="a-1",
        variety="hak",
        meaning="s1",
        audio=audio,
        start_seconds=0.25,
        end_seconds=0.5,
        transcript="佢去咧",
        translation="他去了",
        phones="k i",
        site="梅县",
        split="dev",
        words=("佢", "去咧"),
        extra={"age": "30"},
    )
    write_cuts([item], tmp_path / "cuts.jsonl")
    result = check_reader(read, tmp_path, expected_items=1, expected_skipped=0)
    assert result.corpus.items == (item,)


def test_files_that_hold_no_cuts_are_refused(tmp_path, manifest) -> None:
    with pytest.raises(LayoutError, match="does not exist"):
        read(tmp_path / "none.jsonl")
    (tmp_path / "other").mkdir()
    with pytest.raises(LayoutError, match="no \\*cuts\\*"):
        read(tmp_path / "other")
    (tmp_path / "cuts_b.jsonl").write_text("{}\n", encoding="utf-8")
    with pytest.raises(LayoutError, match="several manifests"):
        read(tmp_path)
    with pytest.raises(LayoutError, match="no line is a usable cut"):
        read(tmp_path / "cuts_b.jsonl")
