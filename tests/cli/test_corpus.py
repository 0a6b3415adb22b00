"""`isogloss corpus`: exit codes, tables, JSON, files."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from isogloss.cli import main
from isogloss.corpora.audio import write_wav
from isogloss.corpora.jsonl import read_corpus, write_corpus
from isogloss.types import Corpus, Item

VERBS = ("check", "stats", "convert", "prepare", "readers", "split", "synth")


@pytest.fixture
def corpus(tmp_path):
    rng = np.random.default_rng(0)
    items = []
    for meaning in range(10):
        for variety, text in (("cmn", "说话"), ("yue", "講嘢")):
            name = f"{variety}{meaning}"
            path = tmp_path / "wav" / f"{name}.wav"
            write_wav(path, (0.1 * rng.standard_normal(16000)).astype(np.float32), 16000)
            items.append(
                Item(
                    name, variety, f"m{meaning}", None, str(path), transcript=text, speaker=variety
                )
            )
    write_corpus(Corpus("c", tuple(items), "CC0-1.0"), tmp_path / "manifest.jsonl")
    return tmp_path / "manifest.jsonl"


def run(capsys, *arguments):
    code = main(["corpus", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


@pytest.mark.parametrize("verb", VERBS)
def test_help_shows_an_example(capsys, verb):
    with pytest.raises(SystemExit) as caught:
        main(["corpus", verb, "--help"])
    assert caught.value.code == 0
    assert f"example:\n  isogloss corpus {verb}" in capsys.readouterr().out


def test_help_imports_neither_torch_nor_numpy():
    script = (
        "import sys\nfrom isogloss.cli import main\n"
        "try: main(['corpus', 'check', '--help'])\nexcept SystemExit: pass\n"
        "sys.exit(any(m in sys.modules for m in ('torch', 'numpy', 'lhotse', 'rich')))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert done.returncode == 0


def test_check_of_a_clean_corpus_exits_0(capsys, corpus):
    code, out, err = run(capsys, "check", corpus)
    assert (code, out) == (0, "")
    assert "20 items, 20 with audio, 0.01 h: 0 errors, 0 warnings" in err


def test_check_of_a_broken_corpus_exits_1_and_lists_the_faults(capsys, corpus):
    (corpus.parent / "wav" / "cmn3.wav").write_bytes(b"")
    with corpus.open("a", encoding="utf-8") as handle:
        handle.write("{broken\n")
    code, out, err = run(capsys, "check", corpus, "--jobs", 2)
    assert code == 1
    assert "cmn3" in out
    assert "fetch or record the file again" in out
    assert "line 22" in out
    assert "2 errors" in err
    code, out, _ = run(capsys, "check", corpus, "--json", "--probe", "header")
    record = json.loads(out)
    assert code == 1
    assert record["counts"] == {"bad line": 1, "empty": 1}
    assert [f["item"] for f in record["findings"]] == ["cmn3", "line 22"]
    assert set(record["findings"][0]) == {"item", "kind", "severity", "value", "remedy", "line"}


def test_check_with_a_table_and_a_script_of_ones_own(capsys, corpus, tmp_path):
    assert run(capsys, "check", corpus, "--script", "Hans")[0] == 0
    own = tmp_path / "own.tsv"
    own.write_text("code\tname\nklingon\tKlingon\n")
    other = tmp_path / "other.jsonl"
    write_corpus(Corpus("o", (Item("a", "klingon", text="Qapla"),)), other)
    assert run(capsys, "check", other)[0] == 1
    assert run(capsys, "check", other, "--varieties-table", own)[0] == 0


def test_stats(capsys, corpus):
    code, out, _ = run(capsys, "stats", corpus)
    assert code == 0
    assert out.split()[0] == "variety"
    code, out, _ = run(capsys, "stats", corpus, "--json")
    rows = json.loads(out)
    assert [(r["variety"], r["items"], r["meanings"]) for r in rows] == [
        ("cmn", 10, 10),
        ("yue", 10, 10),
    ]
    assert rows[0]["hours"] == pytest.approx(10 / 3600)
    _, out, _ = run(capsys, "stats", corpus, "--characters", "--json")
    assert json.loads(out)["yue"] == {"講": 10, "嘢": 10}
    (corpus.parent / "wav" / "cmn3.wav").unlink()
    assert run(capsys, "stats", corpus)[0] == 1


@pytest.mark.parametrize("name", ["cuts.jsonl.gz", "m.csv", "m.tsv", "other.jsonl.gz"])
def test_convert_there_and_back(capsys, corpus, tmp_path, name):
    if "cuts" in name:
        pytest.importorskip("lhotse")
    assert run(capsys, "convert", corpus, tmp_path / name)[0] == 0
    code, out, _ = run(capsys, "convert", tmp_path / name, tmp_path / "back.jsonl", "--json")
    assert code == 0
    assert json.loads(out)["items"] == 20
    assert read_corpus(tmp_path / "back.jsonl").items == read_corpus(corpus).items


def test_convert_to_one_script(capsys, corpus, tmp_path):
    pytest.importorskip("opencc")
    assert run(capsys, "convert", corpus, tmp_path / "hans.jsonl", "--script", "Hans")[0] == 0
    texts = {item.transcript for item in read_corpus(tmp_path / "hans.jsonl").items}
    assert texts == {"说话", "讲嘢"}


def test_split_writes_a_manifest_without_leaks(capsys, corpus, tmp_path):
    out_path = tmp_path / "split.jsonl"
    code, out, _ = run(capsys, "split", corpus, "--by", "meaning", "--out", out_path, "--json")
    assert code == 0
    assert json.loads(out)["counts"] == {"train": 16, "dev": 2, "test": 2}
    by_meaning = {}
    for item in read_corpus(out_path).items:
        by_meaning.setdefault(item.meaning, set()).add(item.split)
    assert all(len(splits) == 1 for splits in by_meaning.values())


def test_split_that_drops_items_says_so_and_never_replaces_its_input(capsys, corpus, tmp_path):
    arguments = ("split", corpus, "--by", "meaning,speaker", "--dev", 0, "--test", 0.5,
                 "--train", 0.5)  # fmt: skip
    before = corpus.read_bytes()
    code, _, err = run(capsys, *arguments)
    assert code == 1
    assert "--out" in err
    assert corpus.read_bytes() == before
    code, out, err = run(capsys, *arguments, "--out", tmp_path / "s.jsonl")
    assert code == 0
    assert "(dropped)  10" in " ".join(out.split("\n")) or "10 of 20 items were dropped" in err


def test_prepare_writes_the_manifest_and_exits_1_when_something_was_skipped(capsys, tmp_path):
    root = tmp_path / "recordings"
    for name in ("a", "b"):
        write_wav(root / f"{name}.wav", np.full(16000, 0.1, np.float32), 16000)
    table = "audio\tvariety\ttranscript\na.wav\tyue\t早晨\nb.wav\tyue\t你好\n"
    (root / "items.tsv").write_text(table, encoding="utf-8")
    out_path = root / "manifest.jsonl"
    code, _, err = run(capsys, "prepare", "folder", root, "--out", out_path)
    assert code == 0, err
    assert len(read_corpus(out_path)) == 2
    (root / "b.wav").unlink()
    code, out, err = run(capsys, "prepare", "folder", root, "--out", out_path, "--json")
    assert code == 1, err
    assert sum(json.loads(out)["reasons"].values()) == len(json.loads(out)["skipped"]) == 1
    assert len(read_corpus(out_path)) == 1


def test_unknown_reader_and_option_offer_near_ones(capsys, tmp_path):
    code, _, err = run(capsys, "prepare", "foldr", tmp_path, "--out", tmp_path / "m.jsonl")
    assert code == 1
    assert "folder" in err
    code, _, err = run(
        capsys, "prepare", "folder", tmp_path, "--out", tmp_path / "m.jsonl", "-o", "nonsense"
    )
    assert code == 1
    assert "NAME=VALUE" in err


def test_readers_are_listed_with_their_options(capsys):
    code, out, _ = run(capsys, "readers", "--json")
    assert code == 0
    assert "folder" in {row["reader"] for row in json.loads(out)}
    assert run(capsys, "readers", "folder")[0] == 0


def test_synth_makes_a_corpus_that_checks_clean(capsys, tmp_path):
    pytest.importorskip("espeakng_loader")
    make = pytest.importorskip("isogloss.corpora.synth.make")
    assert make
    code, out, err = run(
        capsys, "synth", tmp_path / "s", "--varieties", "cmn,yue", "--sentences", 2, "--json"
    )
    assert code == 0, err
    assert json.loads(out)["counts"]
    code, out, _ = run(capsys, "check", tmp_path / "s" / "manifest.jsonl", "--json")
    assert json.loads(out)["errors"] == 0, json.loads(out)["counts"]


def test_a_manifest_that_does_not_exist_is_one_line_on_stderr(capsys, tmp_path):
    code, out, err = run(capsys, "check", tmp_path / "none.jsonl")
    assert (code, out) == (1, "")
    assert err.count("\n") == 1


def test_check_groups_by_kind_unless_all_are_asked_for(capsys, corpus):
    items = [json.loads(line) for line in corpus.read_text().splitlines()[1:]]
    with corpus.open("a", encoding="utf-8") as handle:
        for n in range(200):
            handle.write(json.dumps(items[0] | {"id": f"more-{n}", "audio": f"{n}.wav"}) + "\n")
        handle.write("{broken\n")
        handle.write('{"id": "far", "variety": "yeu", "text": "x"}\n')
    code, out, err = run(capsys, "check", corpus)
    assert code == 1
    assert out.count("no such file") == 3
    assert "more-0 " in out
    assert "yeu" in out
    assert "197 more findings: --all or --json lists them" in err
    assert "202 errors" in err
    code, out, err = run(capsys, "check", corpus, "--all")
    assert code == 1
    assert out.count("no such file") == 200
    assert "more findings" not in err


def test_examples_of_a_kind_differ_where_they_can(capsys, tmp_path):
    lines = [{"id": f"a{n}", "variety": "yue", "text": "x y" if n < 50 else "z"} for n in range(60)]
    path = tmp_path / "m.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    _, out, _ = run(capsys, "check", path)
    assert "x y outside" in out
    assert "z outside" in out


def test_a_table_of_ones_own_wherever_varieties_are_read(capsys, tmp_path):
    own = tmp_path / "own.tsv"
    own.write_text("code\tname\nklingon\tKlingon\n")
    root = tmp_path / "r"
    root.mkdir()
    write_wav(root / "a.wav", np.zeros(1600, np.float32), 16000)
    (root / "t.tsv").write_text("audio\tvariety\na.wav\tKlingon\n")
    out = tmp_path / "m.jsonl"
    assert run(capsys, "prepare", "folder", root, "--out", out)[0] == 1
    assert run(capsys, "prepare", "folder", root, "--out", out, "--table", own)[0] == 0
    assert run(capsys, "stats", out, "--table", own)[0] == 0
    code, _, err = run(capsys, "prepare", "mdcc", root, "--out", out, "--table", own)
    assert code == 1
    assert "reader 'mdcc' takes no varieties table" in err


def test_convert_refuses_an_unknown_variety(capsys, tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("id,variety,text\na,yeu,x\n")
    code, _, err = run(capsys, "convert", table, tmp_path / "m.jsonl")
    assert code == 1
    assert "item 'a': unknown variety 'yeu'; did you mean yue" in err
    assert not (tmp_path / "m.jsonl").exists()
