import hashlib
import json
from collections import defaultdict
from pathlib import Path

import pytest

from isogloss.corpora import read_audio, read_corpus
from isogloss.corpora.synth import SynthConfig, make_corpus
from isogloss.corpora.synth.sentences import survey_sentences
from isogloss.errors import IsoglossError, UnknownName

SMALL = SynthConfig(
    varieties=("cmn", "yue", "hak", "nan"), train_sentences=6, dev_sentences=2, test_sentences=4
)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_corpus(SMALL, tmp_path_factory.mktemp("synth"), progress=False)


def digests(folder: Path) -> dict[str, str]:
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def test_counts_and_splits(corpus):
    count = defaultdict(int)
    for item in corpus.items:
        count[item.split, item.variety] += 1
    for variety in SMALL.varieties:
        assert count["train", variety] == 6
        assert count["dev", variety] == 2
        assert count["test", variety] == 4


def test_training_sentences_of_different_varieties_share_no_meaning(corpus):
    varieties_of = defaultdict(set)
    for item in corpus.items:
        if item.split == "train":
            varieties_of[item.meaning].add(item.variety)
    assert all(len(varieties) == 1 for varieties in varieties_of.values())
    held_out = {i.meaning for i in corpus.items if i.split != "train"}
    assert not held_out & set(varieties_of)


def test_a_share_of_the_training_utterances_are_word_lists(corpus):
    lists = [i for i in corpus.items if i.extra["template"] == "word_list"]
    assert len(lists) == round(0.3 * 24)
    assert {i.split for i in lists} == {"train"}


def test_test_sentences_are_parallel_and_never_share_a_voice(corpus):
    by_meaning = defaultdict(list)
    for item in corpus.items:
        if item.split == "test":
            by_meaning[item.meaning].append(item)
    for items in by_meaning.values():
        assert {i.variety for i in items} == set(SMALL.varieties)
        assert len({i.translation for i in items}) == 1
        assert len({i.speaker for i in items}) == len(items)


def test_test_speakers_are_never_heard_in_training(corpus):
    heard = {i.speaker for i in corpus.items if i.split == "train"}
    assert not heard & {i.speaker for i in corpus.items if i.split != "train"}


def test_items_are_16_khz_speech_with_two_transcripts(corpus):
    for item in corpus.items:
        samples = read_audio(item.audio)
        assert 0.3 < len(samples) / 16000 < 8
        assert 0.01 < samples.std() < 0.3
        assert item.phones and item.transcript and item.translation
        assert "approximate" in item.extra.get("voice", "") or item.variety != "nan"
    mandarin = [i for i in corpus.items if i.variety == "cmn"]
    assert all(i.transcript == i.translation for i in mandarin)


def test_the_same_seed_gives_the_same_files_with_any_number_of_processes(corpus, tmp_path):
    make_corpus(SMALL, tmp_path, jobs=2, progress=False)
    assert digests(tmp_path) == digests(Path(corpus.root))


def test_an_interrupted_corpus_is_completed_and_kept_recordings_are_not_made_again(tmp_path):
    config = SynthConfig(varieties=("yue",), train_sentences=3, dev_sentences=0, test_sentences=1)
    whole = make_corpus(config, tmp_path / "whole", progress=False)
    make_corpus(config, tmp_path / "cut", progress=False)
    (tmp_path / "cut" / "manifest.jsonl").unlink()
    lost = tmp_path / "cut" / "audio" / "train" / "yue" / "train-00001-yue.wav"
    kept = tmp_path / "cut" / "audio" / "train" / "yue" / "train-00002-yue.wav"
    lost.unlink()
    before = kept.stat().st_mtime_ns
    again = make_corpus(config, tmp_path / "cut", progress=False)
    assert again.sha == whole.sha
    assert digests(tmp_path / "cut") == digests(tmp_path / "whole")
    assert kept.stat().st_mtime_ns == before


def test_a_complete_corpus_is_read_not_made_again(tmp_path, monkeypatch):
    config = SynthConfig(varieties=("cmn",), train_sentences=2, dev_sentences=0, test_sentences=1)
    first = make_corpus(config, tmp_path, progress=False)
    monkeypatch.setattr("isogloss.corpora.synth.make._speak", None)
    assert make_corpus(config, tmp_path, progress=False) == first


def test_recordings_of_other_sentences_are_not_taken_for_these(tmp_path, monkeypatch):
    config = SynthConfig(varieties=("cmn",), train_sentences=2, dev_sentences=0, test_sentences=1)
    make_corpus(config, tmp_path, progress=False)
    other = survey_sentences()[1:]
    monkeypatch.setattr("isogloss.corpora.synth.make.survey_sentences", lambda: other)
    with pytest.raises(IsoglossError, match="another sentences"):
        make_corpus(config, tmp_path, progress=False)


def test_another_configuration_in_the_same_folder_is_refused(corpus):
    other = SynthConfig(varieties=SMALL.varieties, seed=2)
    with pytest.raises(IsoglossError, match=r"another train_sentences.*seed"):
        make_corpus(other, corpus.root, progress=False)


@pytest.mark.parametrize(
    ("keep", "kept", "dropped"),
    [("standard", "translation", "transcript"), ("dialect", "transcript", "translation")],
)
def test_one_transcript_alone_can_be_kept(tmp_path, keep, kept, dropped):
    config = SynthConfig(
        ("hak",), train_sentences=1, dev_sentences=0, test_sentences=1, transcripts=keep
    )
    for item in make_corpus(config, tmp_path, progress=False).items:
        assert getattr(item, kept) and getattr(item, dropped) is None


def test_augmentation_touches_training_recordings_alone(tmp_path):
    plain = SynthConfig(("cmn",), train_sentences=4, dev_sentences=0, test_sentences=2)
    noisy = SynthConfig(("cmn",), train_sentences=4, dev_sentences=0, test_sentences=2, augment=1.0)
    make_corpus(plain, tmp_path / "plain", progress=False)
    make_corpus(noisy, tmp_path / "noisy", progress=False)
    a, b = digests(tmp_path / "plain"), digests(tmp_path / "noisy")
    changed = {name for name in a if a[name] != b[name]} - {"synth.json"}
    assert changed == {name for name in a if name.startswith("audio/train")}


def test_the_manifest_reads_back(corpus):
    again = read_corpus(Path(corpus.root) / "manifest.jsonl")
    assert again.items == corpus.items
    assert again.sha == corpus.sha
    written = json.loads((Path(corpus.root) / "synth.json").read_text())
    assert written["varieties"] == list(SMALL.varieties)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"varieties": ()}, "varieties is empty"),
        ({"varieties": ("cmn", "cmn")}, "repeat"),
        ({"train_sentences": -1}, "train_sentences"),
        ({"augment": 1.5}, "augment is a share from 0 to 1"),
        ({"word_lists": -0.1}, "word_lists is a share from 0 to 1"),
        ({"transcripts": "all"}, "'all' is not standard"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        SynthConfig(**settings)


def test_an_unknown_variety_gets_near_matches():
    with pytest.raises(UnknownName, match="did you mean"):
        SynthConfig(varieties=("hakka",))
