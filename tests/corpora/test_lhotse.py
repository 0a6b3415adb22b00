"""Items to lhotse cuts and back: nothing lost, changes made in lhotse kept, foreign cuts read."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isogloss.corpora.audio import AudioInfo, write_wav
from isogloss.corpora.lhotse import from_cuts, read_cuts, to_cuts, write_cuts
from isogloss.errors import AudioError, BadRecord
from isogloss.types import Item

lhotse = pytest.importorskip("lhotse")

SECONDS = 9.5
texts = st.text(st.characters(blacklist_categories=("Cs",)), max_size=8)
maybe = st.none() | texts


@st.composite
def items(draw):
    audio = draw(st.none() | st.sampled_from(["/x/mono.wav", "/x/stereo.flac"]))
    start = draw(st.none() | st.floats(0, 5))
    end = draw(st.none() | st.floats(5.5, SECONDS))
    return Item(
        id=draw(texts.filter(bool)),
        variety=draw(st.sampled_from(["cmn", "yue", "hak"])),
        meaning=draw(maybe),
        text=draw(maybe),
        audio=audio,
        start_seconds=start,
        end_seconds=end,
        transcript=draw(maybe),
        translation=draw(maybe),
        phones=draw(maybe),
        speaker=draw(maybe),
        site=draw(maybe),
        split=draw(st.sampled_from([None, "train", "test"])),
        words=tuple(draw(st.lists(texts, max_size=3))),
        extra=draw(st.dictionaries(texts, texts, max_size=3)),
    )


def probe(path: str) -> AudioInfo:
    return AudioInfo(SECONDS, 16000, 2 if "stereo" in path else 1)


@given(st.lists(items(), max_size=4, unique_by=lambda item: item.id))
@settings(deadline=None)
def test_items_come_back_from_cuts_as_they_were(made):
    assert from_cuts(to_cuts(made, probe=probe)) == made


@given(items())
@settings(deadline=None, max_examples=50)
def test_items_come_back_from_the_dictionaries_lhotse_writes(item):
    cuts = lhotse.CutSet.from_dicts([cut.to_dict() for cut in to_cuts([item], probe=probe)])
    assert from_cuts(cuts) == [item]


@pytest.fixture
def recorded(tmp_path):
    write_wav(tmp_path / "a.wav", 0.1 * np.ones(32000, np.float32), 16000)
    write_wav(tmp_path / "b.wav", 0.1 * np.ones((16000, 2), np.float32), 8000)
    return [
        Item("a", "yue", "m", audio=str(tmp_path / "a.wav"), transcript="你好", speaker="s"),
        Item("a2", "cmn", audio=str(tmp_path / "a.wav"), start_seconds=0.5, end_seconds=1.25),
        Item("b", "hak", meaning="m", audio=str(tmp_path / "b.wav"), transcript="", words=("你",)),
        Item("t", "cmn", text="只有字"),
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["cuts.jsonl", "cuts.jsonl.gz"])
def test_a_file_of_cuts_is_read_by_lhotse_and_by_us(tmp_path, recorded, name):
    assert write_cuts(recorded, tmp_path / name) == 4
    assert read_cuts(tmp_path / name) == recorded
    cuts = lhotse.CutSet.from_file(tmp_path / name).to_eager()
    assert [cut.id for cut in cuts] == ["a", "a2", "b", "t"]
    assert cuts["a2"].duration == 0.75
    assert cuts["a"].load_audio().shape == (1, 32000)
    assert cuts["b"].load_audio().shape == (2, 16000)
    assert cuts["a"].supervisions[0].text == "你好"


def test_what_lhotse_writes_is_read_back(tmp_path, recorded):
    to_cuts(recorded).to_file(tmp_path / "cuts.jsonl.gz")
    assert read_cuts(tmp_path / "cuts.jsonl.gz") == recorded


def test_changes_made_in_lhotse_are_kept(recorded):
    cut = to_cuts(recorded)[0].truncate(offset=0.5, duration=1.0)
    cut.supervisions[0].text = "再见"
    item = from_cuts([cut])[0]
    assert (item.start_seconds, item.end_seconds) == (0.5, 1.5)
    assert (item.transcript, item.meaning) == ("再见", "m")


def test_broken_recordings_and_repeated_ids_are_refused(tmp_path):
    with pytest.raises(AudioError, match="no such file"):
        to_cuts([Item("a", "yue", audio=str(tmp_path / "none.wav"))])
    with pytest.raises(ValueError, match="there twice"):
        to_cuts([Item("a", "yue"), Item("a", "yue")])
    with pytest.raises(ValueError, match="leaves nothing"):
        to_cuts([Item("a", "yue", audio="/x/a.wav", start_seconds=20.0)], probe=probe)


def foreign(path, language="Cantonese", **changes):
    recording = lhotse.Recording(
        "r", [lhotse.AudioSource("file", [0], str(path))], 16000, 32000, 2.0
    )
    supervisions = [
        lhotse.SupervisionSegment(f"r-{i}", "r", float(i), 1.0, text="早", language=language,
                                  speaker="s", gender="F", custom={"topic": "天气", "n": 3})
        for i in range(2)
    ]  # fmt: skip
    cut = lhotse.MonoCut("c", 0.0, 2.0, 0, supervisions=supervisions, recording=recording)
    for name, value in changes.items():
        setattr(cut, name, value)
    return cut


def test_each_supervision_of_a_foreign_cut_is_an_item(tmp_path):
    first, second = from_cuts([foreign(tmp_path / "r.wav")], varieties={"Cantonese": "yue"})
    assert first == Item(
        "r-0", "yue", audio=str(tmp_path / "r.wav"), end_seconds=1.0, transcript="早",
        speaker="s", extra={"topic": "天气", "gender": "F"},
    )  # fmt: skip
    assert (second.start_seconds, second.end_seconds) == (1.0, None)
    assert from_cuts([foreign("r.wav")], varieties="hak")[0].variety == "hak"
    assert from_cuts([foreign("r.wav", language="yue")])[0].variety == "yue"


def test_foreign_cuts_that_are_no_items_are_refused_with_the_reason(tmp_path):
    with pytest.raises(ValueError, match="no variety given for language 'Cantonese'"):
        from_cuts([foreign("r.wav")], varieties={"Hakka": "hak"})
    with pytest.raises(ValueError, match="names no language"):
        from_cuts([foreign("r.wav", language=None)])
    with pytest.raises(ValueError, match="no supervision"):
        from_cuts([foreign("r.wav", supervisions=[])], varieties="yue")
    with pytest.raises(ValueError, match="augmented"):
        from_cuts([foreign("r.wav").perturb_speed(0.9)], varieties="yue")
    with pytest.raises(ValueError, match="mixed or padded"):
        from_cuts([foreign("r.wav").pad(5.0)], varieties="yue")
    with pytest.raises(ValueError, match="no recording"):
        from_cuts([foreign("r.wav", recording=None)], varieties="yue")


def test_a_file_that_holds_no_cuts_is_refused(tmp_path):
    (tmp_path / "x.jsonl").write_text('{"id": "a"}\n')
    with pytest.raises(BadRecord):
        read_cuts(tmp_path / "x.jsonl")
    (tmp_path / "y.jsonl").write_text("no json\n")
    with pytest.raises(BadRecord):
        read_cuts(tmp_path / "y.jsonl")
    with pytest.raises(FileNotFoundError):
        read_cuts(tmp_path / "none.jsonl")
