"""`isogloss search`: an index is built of tone melodies, asked, changed and verified."""

from __future__ import annotations

import json
import shutil
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

from isogloss.cli.main import main
from makers import melody_corpus, write_manifest
from search_command_makers import ids_of, output, records_of

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("numba", reason="the index needs the extra `search`")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return melody_corpus(tmp_path_factory.mktemp("melodies"))


@pytest.fixture(scope="module")
def built(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    index = tmp_path_factory.mktemp("built") / "index"
    assert main(["search", "build", str(corpus), "--encoder", "mel:", "--out", str(index)]) == 0
    return index


@pytest.fixture
def index(built: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return shutil.copytree(built, tmp_path / "index")


def test_build_says_what_it_put_in(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "index"
    code, found, _ = output(capsys, "build", corpus, "--encoder", "mel:", "--out", out)
    assert code == 0
    assert found["items"] == 12 and found["steps"] > 12 and found["skipped"] == {}
    assert found["made_by"].startswith("mel:")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index"]
    code, found, _ = output(capsys, "info", out)
    assert (found["items"], found["encoder"], found["kind"]) == (12, "mel:", "sequences")
    assert found["varieties"] == {"cmn": 4, "hak": 4, "yue": 4}
    assert main(["search", "info", str(out)]) == 0
    assert "variety cmn" in capsys.readouterr().out


def test_a_recording_finds_itself_and_then_the_same_melody(
    corpus: Path, built: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = records_of(corpus)[0]
    audio = corpus.parent / record["audio"]
    code, found, talk = output(capsys, "query", built, audio, "-k", 3)
    assert code == 0 and talk == ""
    (answer,) = found["answers"]
    assert answer["query"] == str(audio)
    assert answer["hits"][0]["item"]["id"] == record["id"]
    assert answer["hits"][0]["score"] > 0.95
    assert [hit["rank"] for hit in answer["hits"]] == [1, 2, 3]
    assert set(found["took_ms"]) == {"encode", "search"}


def test_the_table_shows_variety_site_transcript_and_translation(
    corpus: Path, built: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = records_of(corpus)[0]
    audio = corpus.parent / record["audio"]
    assert main(["search", "query", str(built), str(audio), "-k", "2"]) == 0
    head, first, *_ = capsys.readouterr().out.splitlines()
    assert head.split() == ["rank", "score", "variety", "site", "transcript", "translation", "id"]
    assert record["variety"] in first and record["transcript"] in first


def test_an_item_is_not_its_own_answer_and_filters_hold(
    corpus: Path, built: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = records_of(corpus)[0]["id"]
    code, found, _ = output(capsys, "query", built, "--id", name, "-k", 20)
    assert code == 0
    (answer,) = found["answers"]
    assert len(answer["hits"]) == 11 and name not in ids_of(answer)
    code, found, _ = output(capsys, "query", built, "--id", name, "--variety", "hak")
    assert {hit["item"]["variety"] for hit in found["answers"][0]["hits"]} == {"hak"}
    code, found, _ = output(capsys, "query", built, "--id", name, "--before", "2000-01-01")
    assert found["answers"][0]["hits"] == []


def test_a_manifest_asks_with_all_and_measures(
    corpus: Path, built: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, found, _ = output(
        capsys, "query", built, "--manifest", corpus, "-k", 3, "--check-exactness"
    )
    assert code == 0
    assert [answer["query"] for answer in found["answers"]] == [
        record["id"] for record in records_of(corpus)
    ]
    meanings = {record["id"]: record["meaning"] for record in records_of(corpus)}
    right = [
        meanings[answer["query"]] in {hit["item"]["meaning"] for hit in answer["hits"][:1]}
        for answer in found["answers"]
    ]
    assert found["measured"]["same meaning at 1"] == pytest.approx(np.mean(right))
    assert found["measured"]["recall@3 against exact"] == 1.0
    code, found, _ = output(
        capsys, "query", built, "--manifest", corpus, "--query-variety", "yue", "--variety", "cmn"
    )
    assert [answer["query"] for answer in found["answers"]] == [
        record["id"] for record in records_of(corpus) if record["variety"] == "yue"
    ]
    code, _, talk = output(capsys, "query", built, "--manifest", corpus, "--query-variety", "yeu")
    assert code == 1 and "did you mean yue" in talk
    assert main(["search", "query", str(built), "--manifest", str(corpus), "-k", "1"]) == 0
    captured = capsys.readouterr()
    assert captured.out.split()[0] == "query" and "same meaning at 1: " in captured.err


def test_exact_finds_the_same_here(
    corpus: Path, built: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = records_of(corpus)[5]["id"]
    _, quick, _ = output(capsys, "query", built, "--id", name)
    code, exact, _ = output(capsys, "query", built, "--id", name, "--exact")
    assert code == 0 and exact["exact"]
    assert ids_of(quick["answers"][0]) == ids_of(exact["answers"][0])


def test_another_encoder_is_refused(
    corpus: Path, built: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    audio = corpus.parent / records_of(corpus)[0]["audio"]
    code, _, talk = output(capsys, "query", built, audio, "--encoder", "random:micro")
    assert code == 1
    assert "the index was made by mel:" in talk and "cannot be compared" in talk
    assert talk.count("\n") == 1


def test_an_index_without_a_note_wants_the_encoder_named(
    corpus: Path, index: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (index / "encoder.json").unlink()
    audio = corpus.parent / records_of(corpus)[0]["audio"]
    code, _, talk = output(capsys, "query", index, audio)
    assert code == 1 and "does not say which encoder made it" in talk
    assert output(capsys, "query", index, audio, "--encoder", "mel:")[0] == 0


def test_pooled_answers_the_same_calls(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    index = tmp_path / "means"
    code, *_ = output(capsys, "build", corpus, "--encoder", "mel:", "--out", index, "--pooled")
    assert code == 0
    record = records_of(corpus)[0]
    code, found, _ = output(capsys, "query", index, corpus.parent / record["audio"], "-k", 1)
    assert ids_of(found["answers"][0]) == [record["id"]]
    code, found, _ = output(capsys, "query", index, "--id", record["id"], "-k", 1)
    assert code == 0 and ids_of(found["answers"][0]) != [record["id"]]
    assert output(capsys, "info", index)[1]["kind"] == "vectors"


def test_a_folder_of_steps(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    steps, index = tmp_path / "steps", tmp_path / "index"
    assert main(["speech", "encode", "mel:", str(corpus), "--out", str(steps)]) == 0
    capsys.readouterr()
    code, _, talk = output(capsys, "build", steps, "--out", index)
    assert code == 2 and "--manifest" in talk
    code, found, _ = output(capsys, "build", steps, "--manifest", corpus, "--out", index)
    assert code == 0 and found["items"] == 12
    assert steps.is_dir()
    assert output(capsys, "info", index)[1]["encoder"] is None


def test_recordings_that_cannot_be_read_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = melody_corpus(tmp_path / "melodies")
    bad = tmp_path / "melodies" / "bad.wav"
    bad.write_text("no sound")
    write_manifest(
        manifest, [*records_of(manifest), {"id": "b", "variety": "cmn", "audio": bad.name}]
    )
    index = tmp_path / "index"
    code, found, talk = output(capsys, "build", manifest, "--encoder", "mel:", "--out", index)
    assert code == 1
    assert found["items"] == 12 and list(found["skipped"]) == ["b"]
    assert talk.startswith("b: ")
    code, found, _ = output(capsys, "query", index, bad, manifest.parent / "bad2.wav")
    assert code == 1 and found is None
    good = manifest.parent / records_of(manifest)[0]["audio"]
    code, found, talk = output(capsys, "query", index, bad, good)
    assert code == 1 and len(found["answers"]) == 1 and "bad.wav" in talk


def test_an_interrupted_build_goes_on(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from isogloss.search.sequence_index import SequenceIndex

    index = tmp_path / "index"
    command = ["search", "build", str(corpus), "--encoder", "mel:", "--out", str(index)]
    with monkeypatch.context() as patched:

        def killed(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        patched.setattr(SequenceIndex, "build", killed)
        assert main(command) == 130
    steps = tmp_path / "index.building" / "steps" / "values.npy"
    made = steps.stat().st_mtime_ns
    assert not index.exists()

    def unchanged(*_: object, **__: object) -> None:
        assert steps.stat().st_mtime_ns == made
        return original(*_, **__)

    original = SequenceIndex.build
    monkeypatch.setattr(SequenceIndex, "build", unchanged)
    assert main(command) == 0
    assert (index / "commit.json").is_file() and not steps.exists()


def test_append_delete_compact_verify(
    corpus: Path, index: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, talk = output(capsys, "append", index, corpus)
    assert code == 1 and "ids are in the index already" in talk
    records = [{**r, "id": f"again-{r['id']}"} for r in records_of(corpus)[:3]]
    more = write_manifest(corpus.parent / "more.jsonl", records)
    code, found, _ = output(capsys, "append", index, more)
    assert code == 0 and found["items"] == 3
    assert output(capsys, "info", index)[1]["items"] == 15
    assert output(capsys, "append", index, more, "--replace")[0] == 0
    assert output(capsys, "info", index)[1]["items"] == 15
    names = [record["id"] for record in records]
    gone = tmp_path / "gone.txt"
    gone.write_text(f"{names[1]}\n{records_of(corpus)[0]['id']}\n\n", encoding="utf-8")
    code, found, _ = output(capsys, "delete", index, names[0], "--ids-from", gone)
    assert code == 0 and (found["deleted"], found["items"]) == (3, 12)
    code, found, _ = output(capsys, "delete", index, names[0])
    assert code == 1 and found["not_there"] == 1
    code, found, _ = output(capsys, "compact", index)
    assert code == 0 and found["items"] == 12 and found["bytes_after"] < found["bytes_before"]
    code, found, talk = output(capsys, "verify", index, "--deep")
    assert code == 0 and found["problems"] == [] and "is sound" in talk
    assert not (tmp_path / "index.appending").exists()


def test_verify_names_the_damaged_file(index: Path, capsys: pytest.CaptureFixture[str]) -> None:
    victim = max(index.rglob("*.npy"), key=lambda path: path.stat().st_size)
    content = bytearray(victim.read_bytes())
    content[-1] ^= 1
    victim.write_bytes(content)
    code, found, _ = output(capsys, "verify", index, "--deep")
    assert code == 1
    assert victim.name in found["problems"][0]


@pytest.mark.parametrize(
    ("arguments", "code", "problem"),
    [
        (["query", "nowhere", "a.wav"], 1, "nowhere: no such folder"),
        (["query", "other", "a.wav"], 1, "no index here"),
        (["query", "newer", "a.wav"], 1, "index format 99"),
        (["info", "nowhere"], 1, "no such folder"),
        (["verify", "nowhere"], 1, "no such folder"),
        (["delete", "nowhere", "a"], 1, "no such folder"),
        (["query", "i"], 2, "ask with one of"),
        (["query", "i", "a.wav", "--mic"], 2, "recordings and --mic"),
        (["query", "i", "a.wav", "--split", "dev"], 2, "--manifest"),
        (["query", "i", "a.wav", "--seconds", "3"], 2, "--mic"),
        (["query", "i", "a.wav", "--after", "yesterday"], 2, "ISO 8601"),
        (["query", "i", "a.wav", "--exact", "--candidates", "5"], 2, "do not go with it"),
        (["build", "m", "--out", "x"], 1, "m: no such file or folder"),
        (["build", "other", "--out", "x"], 2, "--encoder"),
        (["build", "m", "--out", "x", "--encoder", "mel:", "--units", "7"], 2, "units must lie"),
        (["build", "m", "--out", "x", "--encoder", "mel:", "--config", "no.toml"], 2, "no.toml"),
        (
            ["build", "m", "--out", "x", "--encoder", "mel:", "--pooled", "--units", "256"],
            2,
            "none",
        ),
        (["build", "other", "--out", "x", "--encoder", "mel:"], 1, "no such manifest"),
        (["build", "m", "--out", "x", "--encoder", "mel:", "--ray-address", "auto"], 2, "needs"),
        (["delete", "i"], 2, "name the ids"),
        (["delete", "i", "--ids-from", "no.txt"], 2, "no.txt: No such file"),
        (["delete", "i", "--ids-from", "newer/odd.txt"], 2, "not UTF-8 at byte 2"),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str],
    code: int,
    problem: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "newer").mkdir()
    newer = json.dumps({"isogloss_index": 99, "sha256": "", "commit": {}})
    (tmp_path / "newer" / "commit.json").write_text(newer)
    (tmp_path / "newer" / "odd.txt").write_bytes(b"a\n\xff")
    monkeypatch.chdir(tmp_path)
    assert main(["search", *arguments]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert problem in captured.err
    assert captured.err.count("\n") == 1


def test_an_id_that_is_not_there_is_named(
    corpus: Path, index: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = records_of(corpus)[0]["id"]
    code, _, talk = output(capsys, "query", index, "--id", name + "x")
    assert code == 1 and f"unknown item '{name}x'; did you mean {name}" in talk
    # As an editor on Windows writes it: a mark in front, two marks at the end of each line.
    ids = tmp_path / "gone.txt"
    ids.write_bytes(f"\ufeff{name}\r\nno such\r\n\r\n".encode())
    code, found, talk = output(capsys, "delete", index, "--ids-from", ids)
    assert (code, found["deleted"], found["not_there"]) == (1, 1, 1)
    assert talk == "the index has no item 'no such'\n"


def test_info_shows_the_units_in_use_and_bytes_without_residuals(
    corpus: Path, built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = output(capsys, "info", built)[1]
    assert found["settings"]["units"] is None and found["units"] == 256
    small = tmp_path / "small"
    command = ("build", corpus, "--encoder", "mel:", "--out", small, "--residuals", "none")
    assert output(capsys, *command)[0] == 0
    without = output(capsys, "info", small)[1]
    assert without["bytes_without_residuals"] == without["bytes"] < found["bytes"]
    assert found["bytes_without_residuals"] == pytest.approx(without["bytes"], rel=0.02)
    assert found["bytes_an_item"] == round(found["bytes"] / 12)


def test_an_index_is_not_built_over_something(
    corpus: Path, built: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, talk = output(capsys, "build", corpus, "--encoder", "mel:", "--out", built)
    assert code == 1 and "is there already" in talk


def test_a_config_file_sets_what_options_do_not(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "index.toml"
    config.write_text('residuals = "float16"\ncandidates = 7\n')
    index = tmp_path / "index"
    command = ("build", corpus, "--encoder", "mel:", "--out", index, "--config", config)
    assert output(capsys, *command, "--residuals", "none")[0] == 0
    settings = output(capsys, "info", index)[1]["settings"]
    assert (settings["residuals"], settings["candidates"]) == ("none", 7)
    config.write_text("candidate = 7\n")
    code, _, talk = output(capsys, *command)
    assert code == 2 and "did you mean candidates" in talk


def test_the_microphone_asks(
    corpus: Path,
    built: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A program that plays a recording stands in for arecord."""
    record = records_of(corpus)[4]
    audio = corpus.parent / record["audio"]
    program = tmp_path / "arecord"
    program.write_text(
        f"#!{sys.executable}\nimport sys, wave\n"
        f"with wave.open({str(audio)!r}) as file:\n"
        "    sys.stdout.buffer.write(file.readframes(file.getnframes()))\n"
        "sys.stdout.buffer.write(bytes(4 * 16000))\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    code, found, talk = output(capsys, "query", built, "--mic", "-k", 2, "--seconds", 4)
    assert code == 0
    assert found["answers"][0]["query"] == "microphone"
    assert found["answers"][0]["hits"][0]["item"]["meaning"] == record["meaning"]
    assert "listening" in talk and "heard 2" in talk
    program.unlink()
    code, _, talk = output(capsys, "query", built, "--mic")
    assert code == 1 and "no recorder" in talk
