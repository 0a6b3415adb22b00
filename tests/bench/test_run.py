from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from isogloss.bench import (
    RunConfig,
    load_results,
    load_run,
    read_recipe,
    run,
    run_benchmark,
    summarise,
    write_report,
)
from isogloss.errors import IsoglossError, UnknownName

RECIPE = 'corpus = "m/manifest.jsonl"\nencoders = ["own:exp/a", "mel:"]\nlayers = [0, 2]\n'


def test_planted_answers_come_out(finished) -> None:
    result = finished.results[0]
    # cmn and yue say the same; hak swaps two of its four meanings.
    assert result.pair("cmn", "yue")["measures"]["R@1"]["value"] == 1.0
    assert result.pair("yue", "hak")["measures"]["R@1"]["value"] == 0.5
    assert result.measure("R@1")["value"] == pytest.approx((2 * 1.0 + 4 * 0.5) / 6)
    # A constant encoder ties with everything, and ties count against it.
    assert finished.results[1].measure("R@1")["value"] == 0.0


def test_layers_are_measured_and_encoded_once(finished) -> None:
    result = finished.results[0]
    assert [entry["label"] for entry in result.layers] == ["embedding", "block 1", "final output"]
    values = [entry["measures"]["R@1"]["value"] for entry in result.layers]
    assert values == [0.0, 0.0, pytest.approx(2 / 3)]
    # Three layers, maps and means: still one pass over the 12 items.
    assert len(finished.encoders["own:exp/a"].calls) == 12
    assert finished.results[1].layers == ()


def test_results_are_in_files_and_load_again(finished) -> None:
    loaded = load_results(finished.out)
    assert [r.encoder for r in loaded] == ["own:exp/a", "mel:"]
    assert loaded[0].measure("R@1") == finished.results[0].measure("R@1")
    assert load_run(finished.out).corpus["sha"] == finished.corpus.sha


def test_a_repeated_run_encodes_nothing(finished, encoders) -> None:
    again = run_benchmark(
        finished.corpus, finished.config, cache_dir=None, out=finished.out, progress=False
    )
    assert [r.key for r in again] == [r.key for r in finished.results]
    assert encoders["own:exp/a"].calls == encoders["mel:"].calls == []


def test_an_interrupted_run_goes_on(planted, encoders, tmp_path) -> None:
    corpus = planted.planted_corpus(tmp_path / "corpus")
    config = RunConfig(encoders=("own:exp/a", "mel:"), bootstrap=0, examples=0)
    arguments = {"cache_dir": None, "out": tmp_path / "out", "progress": False}

    class Killed(BaseException):
        pass

    def killed(items):
        raise Killed

    broken = planted.Constant()
    broken.encode = killed
    encoders["mel:"] = broken
    with pytest.raises(Killed):
        run_benchmark(corpus, config, **arguments)
    assert [r.encoder for r in load_results(tmp_path / "out")] == ["own:exp/a"]
    encoders["own:exp/a"] = planted.Planted()
    encoders["mel:"] = planted.Constant()
    results = run_benchmark(corpus, config, **arguments)
    assert [r.encoder for r in results] == ["own:exp/a", "mel:"]
    assert encoders["own:exp/a"].calls == []
    assert len(encoders["mel:"].calls) == 12


def test_other_weights_under_the_same_name_are_run_again(planted, encoders, tmp_path) -> None:
    corpus = planted.planted_corpus(tmp_path / "corpus")
    config = RunConfig(encoders=("own:exp/a",), bootstrap=0, examples=0)
    first = run_benchmark(corpus, config, cache_dir=None, out=tmp_path / "o", progress=False)
    encoders["own:exp/a"] = planted.Planted(name="own:retrained")
    second = run_benchmark(corpus, config, cache_dir=None, out=tmp_path / "o", progress=False)
    assert first[0].key != second[0].key
    assert len(encoders["own:exp/a"].calls) == 12


def test_a_folder_keeps_one_configuration(finished, encoders, planted, tmp_path) -> None:
    other = replace(finished.config, center=True)
    with pytest.raises(IsoglossError, match="another center"):
        run_benchmark(finished.corpus, other, cache_dir=None, out=finished.out, progress=False)
    fewer = replace(finished.corpus, items=finished.corpus.items[:8], sha=None)
    with pytest.raises(IsoglossError, match="another corpus"):
        run_benchmark(fewer, finished.config, cache_dir=None, out=finished.out, progress=False)


def test_further_encoders_join_and_centring_gives_centred_maps(planted, encoders, tmp_path) -> None:
    corpus = planted.planted_corpus(tmp_path / "corpus")
    config = RunConfig(encoders=("mel:",), bootstrap=0, examples=2, center=False)
    arguments = {"cache_dir": tmp_path / "c", "out": tmp_path / "o", "progress": False}
    run_benchmark(corpus, config, **arguments)
    run_benchmark(corpus, replace(config, encoders=("own:exp/a",)), **arguments)
    assert {r.encoder for r in load_results(tmp_path / "o")} == {"mel:", "own:exp/a"}


def test_unreadable_recordings_are_listed(planted, encoders, tmp_path) -> None:
    from isogloss.encoders import load_encoder

    corpus = planted.planted_corpus(tmp_path / "corpus")
    broken = tmp_path / "corpus" / "audio" / "m0-hak.wav"
    broken.write_text("no sound", encoding="utf-8")
    encoders["mel:"] = load_encoder("mel:")
    config = RunConfig(encoders=("mel:",), bootstrap=0, layers="all", examples=1)
    (result,) = run_benchmark(
        corpus, config, cache_dir=tmp_path / "c", out=tmp_path / "o", progress=False
    )
    assert [b["item"] for b in result.retrieval["unreadable"]] == ["m0-hak"]


def test_an_encoder_that_can_read_is_measured_by_cer(planted, encoders, tmp_path) -> None:
    corpus = planted.planted_corpus(tmp_path / "corpus")

    class Reader(planted.Planted):
        def transcribe(self, items, *, head):
            # The last of four characters is lost everywhere.
            return [SimpleNamespace(text=item.transcript[:-1]) for item in items]

    encoders["own:exp/a"] = Reader(tokenizer="any")
    config = RunConfig(encoders=("own:exp/a", "mel:"), bootstrap=0, examples=0)
    own, mel = run_benchmark(corpus, config, cache_dir=None, out=tmp_path / "o", progress=False)
    assert [m["name"] for m in own.transcription] == ["CER", "CER cmn", "CER yue", "CER hak"]
    assert [m["value"] for m in own.transcription] == [0.25] * 4
    assert own.transcription[0]["signature"]["deletions"] == 12
    assert mel.transcription == ()
    assert summarise([own, mel])["cer"] == 0.25
    page = write_report([own, mel], corpus, tmp_path / "r.html").read_text(encoding="utf-8")
    assert "Character error rate" in page and "12 <small>25.0 %</small>" in page


def test_a_recipe_is_read_from_its_own_folder(tmp_path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE, encoding="utf-8")
    config = read_recipe(path)
    assert config.corpus == str(tmp_path / "m" / "manifest.jsonl")
    assert config.encoders == (f"own:{tmp_path / 'exp' / 'a'}", "mel:")
    assert config.layers == (0, 2)


@pytest.mark.parametrize(
    ("line", "error", "match"),
    [
        ('layer_s = "all"', UnknownName, "did you mean layers"),
        ('by = "village"', ValueError, "village"),
        ("layers = true", ValueError, "layers"),
        ("seed = 1.5", ValueError, "seed"),
        ("examples = -1", ValueError, "examples"),
        ("ks = [5]", ValueError, "ks"),
    ],
)
def test_a_bad_recipe_is_refused(tmp_path, line: str, error, match: str) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE.replace("layers = [0, 2]", "") + line + "\n", encoding="utf-8")
    with pytest.raises(error, match=match):
        read_recipe(path)


@pytest.mark.parametrize(
    ("text", "match"),
    [("", "'corpus' is missing"), ('corpus = "a"', "'encoders' is missing"), ("x", "not TOML")],
)
def test_an_incomplete_recipe_is_refused(tmp_path, text: str, match: str) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(IsoglossError, match=match):
        read_recipe(path)


@pytest.mark.parametrize(
    ("encoders", "error", "match"),
    [
        (("melt:",), UnknownName, "did you mean mel"),
        (("exp/a",), ValueError, "own:exp/a"),
        (("mel:", "mel:"), ValueError, "twice"),
    ],
)
def test_encoder_names_are_checked_before_anything_runs(encoders, error, match: str) -> None:
    with pytest.raises(error, match=match):
        RunConfig(encoders=encoders)


def test_no_encoder_and_no_such_layer_are_refused(planted, encoders, tmp_path) -> None:
    corpus = planted.planted_corpus(tmp_path / "corpus")
    arguments = {"cache_dir": None, "out": tmp_path / "o", "progress": False}
    with pytest.raises(ValueError, match="no encoder"):
        run_benchmark(corpus, RunConfig(), **arguments)
    config = RunConfig(encoders=("own:exp/a",), layers=(7,), bootstrap=0)
    with pytest.raises(ValueError, match="no layer 7"):
        run_benchmark(corpus, config, **arguments)


def test_mel_frames_ignore_the_layer_of_the_run(monkeypatch) -> None:
    asked = {}
    monkeypatch.setattr(run, "load_encoder", lambda name, **k: asked.update({name: k["layer"]}))
    config = RunConfig(encoders=("own:a", "mel:"), layer=3)
    for name in config.encoders:
        run._loaded(name, config)
    assert asked == {"own:a": 3, "mel:": None}
