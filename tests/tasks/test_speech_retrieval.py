from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from isogloss.corpora import read_corpus
from isogloss.encoders import load_encoder
from isogloss.scores import seqsim
from isogloss.tasks import SpeechRetrieval, check_task
from isogloss.types import Corpus, Item, Sequences
from tasks.planted_voices import Heard, rng_of, spoken

if TYPE_CHECKING:
    from pathlib import Path

VARIETIES = ("cmn", "yue", "hak")


class Planted:
    """Steps that are the meaning plus noise of the item; `noise` 0 retrieves everything."""

    def __init__(self, noise: float, offset: float = 0.0) -> None:
        self.noise = noise
        self.offset = offset
        self.made_by = f"planted;noise={noise};offset={offset}"

    def encode(self, items: list[Item]) -> Sequences:
        arrays = []
        for item in items:
            meaning = _rng(str(item.meaning)).standard_normal((6, 12))
            noise = self.noise * _rng(item.id).standard_normal((6, 12))
            arrays.append((meaning + noise + self.offset).astype(np.float32))
        ids = [item.id for item in items]
        return Sequences.from_list(ids, arrays, step_seconds=0.04, made_by=self.made_by)


def _rng(name: str) -> np.random.Generator:
    return np.random.default_rng(np.frombuffer(hashlib.sha256(name.encode()).digest(), np.uint32))


@pytest.fixture
def audio(tmp_path: Path) -> str:
    path = tmp_path / "any.wav"
    path.write_bytes(b"never opened by a planted encoder")
    return str(path)


def utterance(audio: str, variety: str, number: int, **fields: object) -> Item:
    # Every utterance is another piece of one file, as far as the cache can tell.
    start = number * 10.0 + VARIETIES.index(variety) if variety in VARIETIES else number * 10.0
    item = Item(
        f"{variety}-{number:03d}",
        variety,
        meaning=f"m{number:03d}",
        audio=audio,
        start_seconds=start,
        end_seconds=start + 0.5,
    )
    return dataclasses.replace(item, **fields)


def corpus_of(items: list[Item]) -> Corpus:
    return Corpus("planted", tuple(items), sha="0" * 64)


@pytest.fixture
def corpus(audio: str) -> Corpus:
    return corpus_of([utterance(audio, v, n) for v in VARIETIES for n in range(20)])


def test_an_encoder_of_meanings_retrieves_all_and_noise_retrieves_chance(corpus: Corpus) -> None:
    perfect = SpeechRetrieval().retrieve(corpus, Planted(0.0))
    assert len(perfect.pairs) == 6
    for name, value in (("R@1", 1), ("MRR", 1), ("xSIM", 0), ("R@5", 1)):
        mean = perfect.mean(name)
        assert mean is not None
        assert mean.value == value
    noise = SpeechRetrieval().retrieve(corpus, Planted(1000.0)).mean("R@1")
    assert noise is not None
    assert noise.value < 0.2
    assert noise.signature["chance"] == pytest.approx(1 / 20)


def test_numbers_are_those_of_the_scores(corpus: Corpus) -> None:
    encoder = Planted(2.5)
    found = SpeechRetrieval().retrieve(corpus, encoder)
    cmn, yue = (encoder.encode([i for i in corpus.items if i.variety == v]) for v in VARIETIES[:2])
    scores = seqsim(cmn, yue)
    pair, back = found.pair("cmn", "yue"), found.pair("yue", "cmn")
    np.testing.assert_allclose(pair.scores, scores, atol=1e-6)
    np.testing.assert_array_equal(back.scores, pair.scores.T)
    hits = scores.argmax(axis=1) == np.arange(20)
    means = found.pair_means("R@1")
    assert means["cmn", "yue"].value == pytest.approx(hits.mean())
    overall = found.mean("R@1")
    assert overall is not None
    assert overall.value == pytest.approx(np.mean([m.value for m in means.values()]))
    assert overall.low is not None and overall.high is not None
    assert overall.low < overall.value < overall.high
    best = pair.hits(3)
    assert best.ids[4][0] == f"yue-{scores[4].argmax():03d}"
    assert list(best.scores[4]) == sorted(best.scores[4], reverse=True)


def test_it_keeps_the_contract_of_tasks(corpus: Corpus) -> None:
    found = check_task(SpeechRetrieval(bootstrap=200), corpus, Planted(2.0))
    assert found[0].name == "R@1"
    assert found[0].signature["encoder"] == "planted;noise=2.0;offset=0.0"
    assert found[0].signature["corpus_sha"] == "0" * 64
    assert "R@1 hak>yue" in [m.name for m in found]


def test_results_are_json_and_complete(corpus: Corpus) -> None:
    found = SpeechRetrieval(bootstrap=50).retrieve(corpus, Planted(2.0))
    plain = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert [s["name"] for s in plain["sets"]] == list(VARIETIES)
    assert len(plain["pairs"]) == 6
    assert len(plain["pairs"][0]["items"]) == 20
    assert plain["pairs"][0]["measures"]["R@1"]["low"] is not None
    row = plain["pairs"][0]["items"][3]
    assert (row["query_id"], row["target_id"]) == ("cmn-003", "yue-003")
    assert row["rank"] == 1 + sum(s >= row["score"] for s in row["top_scores"][: row["rank"] - 1])
    assert "items" not in found.to_dict(items=False)["pairs"][0]
    assert plain["group_table"]["groups"] == list(found.groups)


@pytest.mark.parametrize(
    "options",
    [
        {"score": "cosine"},
        {"adjust": "csls"},
        {"adjust": "margin"},
        {"score": "cosine", "adjust": "csls", "center": True},
    ],
)
def test_other_scores_find_planted_meanings_too(options: dict, corpus: Corpus) -> None:
    found = SpeechRetrieval(**options, xsim_margin="distance").retrieve(corpus, Planted(0.3))
    mean = found.mean("R@1")
    assert mean is not None
    assert mean.value == 1
    assert str(options.get("adjust", "none")) in str(mean.signature["adjust"])


def test_centring_takes_away_a_shared_mean(corpus: Corpus) -> None:
    plain = SpeechRetrieval().retrieve(corpus, Planted(1.0))
    moved = SpeechRetrieval().retrieve(corpus, Planted(1.0, offset=50.0))
    centered = SpeechRetrieval(center=True).retrieve(corpus, Planted(1.0, offset=50.0))
    assert moved.pairs[0].unmatched > 0.99 > 0.6 > centered.pairs[0].unmatched
    a, b = centered.mean("R@1"), plain.mean("R@1")
    assert a is not None and b is not None
    assert a.value == pytest.approx(b.value, abs=0.1)
    assert a.signature["center"] == "mean step of each set, from the retrieved items"


def test_centring_on_other_items(audio: str) -> None:
    items = [utterance(audio, v, n, split="test") for v in VARIETIES for n in range(8)]
    others = [utterance(audio, v, n, split="dev") for v in VARIETIES for n in range(50, 58)]
    task = SpeechRetrieval(center=True, center_split="dev")
    found = task.retrieve(corpus_of(items + others), Planted(0.5, offset=9.0))
    assert found.signature["center"] == "mean step of each set, from dev"
    assert found.pairs[0].unmatched < 0.7
    with pytest.raises(ValueError, match="no recordings in split 'dev' to centre on"):
        task.retrieve(corpus_of(items), Planted(0.5))


def test_splits(audio: str) -> None:
    test = [utterance(audio, v, n, split="test") for v in ("cmn", "yue") for n in range(4)]
    train = [utterance(audio, v, n, split="train") for v in ("cmn", "yue") for n in range(5, 15)]
    corpus = corpus_of(test + train)
    assert len(SpeechRetrieval().retrieve(corpus, Planted(0.0)).pairs[0]) == 4
    assert len(SpeechRetrieval(split="train").retrieve(corpus, Planted(0.0)).pairs[0]) == 10
    assert len(SpeechRetrieval(split=None).retrieve(corpus, Planted(0.0)).pairs[0]) == 14
    with pytest.raises(ValueError, match="no two sets by variety that share a meaning in split"):
        SpeechRetrieval(split="dev").retrieve(corpus, Planted(0.0))


def test_items_that_cannot_take_part_are_counted(audio: str) -> None:
    items = [utterance(audio, v, n) for v in ("cmn", "yue") for n in range(4)]
    items += [
        utterance(audio, "cmn", 9),
        utterance(audio, "yue", 1, id="yue-001-again"),
        dataclasses.replace(utterance(audio, "yue", 2), id="silent", audio=None),
        utterance(audio, "yue", 3, id="nameless", meaning=None),
    ]
    found = SpeechRetrieval().retrieve(corpus_of(items), Planted(0.0))
    assert found.left_out == {
        "no other set has its meaning": 1,
        "another recording of its meaning comes first": 1,
        "no audio": 1,
        "no meaning": 1,
    }
    assert found.pair("cmn", "yue").target_ids[1] == "yue-001"


def test_pairs_share_only_some_meanings(audio: str) -> None:
    items = [utterance(audio, "cmn", n) for n in range(6)]
    items += [utterance(audio, "yue", n) for n in range(2, 9)]
    items += [utterance(audio, "hak", n) for n in range(5, 9)]
    found = SpeechRetrieval().retrieve(corpus_of(items), Planted(0.0))
    # cmn and hak share one meaning, which is no retrieval.
    sizes = {(p.query, p.target): len(p) for p in found.pairs}
    assert sizes == {
        ("cmn", "yue"): 4,
        ("yue", "cmn"): 4,
        ("yue", "hak"): 4,
        ("hak", "yue"): 4,
    }
    assert found.mean("R@1").value == 1  # type: ignore[union-attr]
    with pytest.raises(ValueError, match="no pair cmn>hak"):
        found.pair("cmn", "hak")


def test_sites_of_groups_make_a_table_that_resamples_sites(audio: str) -> None:
    items = []
    for variety, sites in (("cmn", ("A", "B")), ("yue", ("C", "D", "E"))):
        for site in sites:
            for n in range(6):
                items.append(
                    utterance(
                        audio,
                        variety,
                        n,
                        id=f"{site}{n}",
                        site=site,
                        start_seconds=n * 10.0 + ord(site) % 7,
                    )
                )
    found = SpeechRetrieval(by="site").retrieve(corpus_of(items), Planted(2.0))
    assert found.sets == ("A", "B", "C", "D", "E")
    assert found.groups == ("mandarin", "yue")
    assert len(found.pairs) == 20
    table = found.group_table("R@1")
    per_pair = found.pair_means("R@1")
    expected = np.mean([per_pair[a, b].value for a in "AB" for b in "CDE"])
    assert table.values()[0, 1] == pytest.approx(expected)
    within = np.mean([per_pair["A", "B"].value, per_pair["B", "A"].value])
    assert table.values()[0, 0] == pytest.approx(within)
    cell = table.cells[0][1]
    assert cell is not None
    assert cell.name == "R@1 mandarin>yue"
    assert "sentences and sites" in str(cell.signature["interval"])
    names = [m.name for m in found.measurements()]
    assert {"R@1 within groups", "R@1 across groups", "R@1 yue>yue"} <= set(names)
    # By group, sites fall together and the first of each meaning is taken.
    grouped = SpeechRetrieval(by="group").retrieve(corpus_of(items), Planted(0.0))
    assert grouped.sets == ("mandarin", "yue")
    assert set(grouped.pairs[0].query_ids) == {f"A{n}" for n in range(6)}


def test_the_benchmark_sites_have_the_benchmark_groups(audio: str) -> None:
    from isogloss.varieties import yubao_sites

    chosen = [yubao_sites()[0], yubao_sites()[1], yubao_sites()[-1]]
    items = [
        utterance(audio, s.variety, n, id=f"{s.name}{n}", site=s.name, start_seconds=n * 10.0 + k)
        for k, s in enumerate(chosen)
        for n in range(3)
    ]
    found = SpeechRetrieval(by="site").retrieve(corpus_of(items), Planted(0.0))
    assert found.groups == tuple(s.group for s in chosen)


def test_phonetic_baseline_and_buckets(audio: str) -> None:
    # Meanings 0-9 sound alike in both varieties, 10-19 do not; the encoder hears only sound.
    def phones(variety: str, n: int) -> str:
        return " ".join(_rng(f"m{n}" if n < 10 else f"{variety}{n}").choice(list("abcdefgh"), 12))

    class Ear(Planted):
        def encode(self, items: list[Item]) -> Sequences:
            alphabet = np.eye(8, dtype=np.float32)
            arrays = [alphabet[["abcdefgh".index(p) for p in str(i.phones).split()]] for i in items]
            # Pairs of phones, so that order matters.
            arrays = [np.hstack([a[:-1], a[1:]]) for a in arrays]
            return Sequences.from_list([i.id for i in items], arrays, made_by=self.made_by)

    items = [
        utterance(
            audio,
            v,
            n,
            phones=phones(v, n),
            transcript=f"{n:02d}",
            extra={"cognate_share": "1.0" if n < 10 else "0.25"} if v == "yue" else {},
        )
        for v in ("cmn", "yue")
        for n in range(20)
    ]
    items = [dataclasses.replace(i, extra=i.extra or {"cognate_share": "1"}) for i in items]
    found = SpeechRetrieval().retrieve(corpus_of(items), Ear(0.0))
    pair = found.pair("cmn", "yue")
    assert pair.phonetic_basis == "phones"
    assert set(pair.baselines) == {"phones", "transcript"}
    assert found.mean("R@1 phonetic").value >= 0.5  # type: ignore[union-attr]
    assert found.mean("R@1 by transcript").value == 1  # type: ignore[union-attr]
    assert found.mean("R@1 by translation") is None
    assert "R@1 by translation" not in found.measures
    assert pair.distance is not None
    assert (pair.distance[:10] == 0).all() and (pair.distance[10:] > 0.2).all()
    low, *_, high = found.buckets("distance")
    assert (low.name, low.value, low.signature["to"]) == ("R@1 distance low", 1, 0)
    assert high.value < 0.5
    few, many = found.buckets("cognates")
    assert few.signature["to"] == 0.25 and few.value < 0.5
    assert many.signature["from"] == 1 and many.value == 1
    hard = found.mean("hard R@1")
    assert hard is not None
    assert hard.value >= found.mean("R@1").value  # type: ignore[union-attr]
    with pytest.raises(ValueError, match="'distance' or 'cognates'"):
        found.buckets("size")


def test_transcripts_stand_in_where_phones_are_missing(audio: str) -> None:
    items = [
        utterance(audio, v, n, transcript=f"第{n:02d}句。", phones="a b" if v == "cmn" else None)
        for v in ("cmn", "yue")
        for n in range(5)
    ]
    found = SpeechRetrieval().retrieve(corpus_of(items), Planted(0.0))
    assert found.pairs[0].phonetic_basis == "transcript"
    assert found.mean("R@1 phonetic").value == 1  # type: ignore[union-attr]
    bare = [dataclasses.replace(i, transcript=None, phones=None) for i in items]
    nothing = SpeechRetrieval().retrieve(corpus_of(bare), Planted(0.0))
    assert nothing.pairs[0].phonetic_basis is None
    assert nothing.mean("R@1 phonetic") is None
    assert nothing.buckets("distance") == []
    nothing.to_dict()


def test_unreadable_recordings_are_left_out_and_listed(melodies: Path) -> None:
    broken = melodies.parent / "audio" / "m1-yue.wav"
    broken.write_text("not audio")
    corpus = read_corpus(melodies)
    found = SpeechRetrieval(bootstrap=20).retrieve(corpus, load_encoder("mel:"))
    assert [item for item, _ in found.unreadable] == ["m1-yue"]
    assert found.signature["unreadable"] == 1
    assert len(found.pair("cmn", "yue")) == 3
    assert len(found.pair("cmn", "hak")) == 4


def test_cached_and_fresh_results_are_equal(melodies: Path, tmp_path: Path) -> None:
    corpus = read_corpus(melodies)
    encoder = load_encoder("random:tiny")
    task = SpeechRetrieval(bootstrap=20, cache_dir=tmp_path / "cache")
    first, again = task.retrieve(corpus, encoder), task.retrieve(corpus, encoder)
    assert first.to_dict() == again.to_dict()
    other = dataclasses.replace(task, layer=2).retrieve(corpus, encoder)
    assert "layer=2" in other.signature["encoder"]
    with pytest.raises(ValueError, match="cannot change its layer"):
        dataclasses.replace(task, layer=2).retrieve(corpus, load_encoder("mel:"))


def test_nothing_to_compare(audio: str) -> None:
    alone = corpus_of([utterance(audio, "cmn", n) for n in range(5)])
    with pytest.raises(ValueError, match=r"no two sets by variety.*cmn \(5\)"):
        SpeechRetrieval().retrieve(alone, Planted(0.0))
    with pytest.raises(ValueError, match="no site"):
        SpeechRetrieval(by="site").retrieve(alone, Planted(0.0))
    one = corpus_of([utterance(audio, v, 0) for v in ("cmn", "yue")])
    with pytest.raises(ValueError, match="share 2 readable meanings"):
        SpeechRetrieval().retrieve(one, Planted(0.0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"by": "village"}, "by must be one of"),
        ({"score": "dtw"}, "score must be one of"),
        ({"ks": (5, 10)}, "hold 1"),
        ({"neighbours": 0}, "neighbours"),
        ({"center_split": "dev"}, "without center=True"),
        ({"center": True, "center_split": "test"}, "the split that is judged"),
    ],
)
def test_wrong_options(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SpeechRetrieval(**options)


def test_a_split_that_is_not_there_is_told_with_those_that_are(corpus: Corpus) -> None:
    trained = corpus_of([dataclasses.replace(item, split="train") for item in corpus.items])
    with pytest.raises(ValueError, match=r"in split 'test'.*splits there are: train \(60\)"):
        SpeechRetrieval().run(trained, Planted(0.0))


def test_what_the_phonetic_baseline_rests_on_is_signed(audio: str) -> None:
    def said(variety: str, number: int) -> Item:
        item = utterance(audio, variety, number, transcript=f"{chr(0x4E00 + number)}ab")
        return item if variety == "hak" else dataclasses.replace(item, phones=f"p{number} a b")

    mixed = corpus_of([said(v, n) for v in VARIETIES for n in range(6)])
    found = {m.name: m.signature for m in SpeechRetrieval(bootstrap=0).run(mixed, Planted(1.0))}
    assert found["R@1 phonetic"]["phonetic_basis"] == "phones and transcript"
    assert found["hard R@1"]["phonetic_basis"] == "phones and transcript"
    assert "phonetic_basis" not in found["R@1"]
    alone = corpus_of([dataclasses.replace(item, phones=None) for item in mixed.items])
    spelt = {m.name: m.signature for m in SpeechRetrieval(bootstrap=0).run(alone, Planted(1.0))}
    assert spelt["R@1 phonetic"]["phonetic_basis"] == "transcript"


def test_a_pool_too_small_for_a_margin_has_no_xsim(audio: str) -> None:
    """Two centred vectors are opposite, the mean of a neighbourhood is 0, and 1 / 0 no margin."""
    items = [
        spoken(
            audio,
            10 * n + place,
            f"{variety}{n}",
            variety,
            meaning=f"m{n}",
            phones=f"{n}",
            split="test",
        )
        for n in range(2)
        for place, variety in enumerate(("cmn", "yue"))
    ]
    task = SpeechRetrieval(score="cosine", center=True, bootstrap=0)
    result = task.retrieve(
        corpus_of(items), Heard(lambda i: rng_of(str(i.meaning)).standard_normal((1, 8)))
    )
    found = {m.name: m for m in result.measurements()}
    assert found["R@1"].value == 1.0
    assert "xSIM" not in found
    assert result.to_dict()["measures"].keys() >= {"R@1", "hard R@1"}
    # One wrong answer is all there is to be taken in by.
    assert found["hard R@1"].signature["chance"] == 0.5
    with pytest.raises(ValueError, match="ratio margin is undefined"):
        dataclasses.replace(task, adjust="margin").run(
            corpus_of(items), Heard(lambda i: rng_of(str(i.meaning)).standard_normal((1, 8)))
        )
