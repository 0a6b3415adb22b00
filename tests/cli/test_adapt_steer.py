"""`isogloss adapt steer` and `isogloss adapt vocabulary` from the outside."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import torch

from isogloss.cli import main
from isogloss.llm import load_causal
from isogloss.llm.new_tokenizer import train_tokenizer
from llm_makers import make_causal

if TYPE_CHECKING:
    from pathlib import Path

ENGLISH = ["the quick fox number {} jumps over the dog", "a lazy dog number {} sleeps in the sun"]
GERMAN = [
    "der schnelle Fuchs Nummer {} springt über den",
    "ein fauler Hund Nummer {} schläft in der",
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("steer")
    make_causal("llama", folder / "lm")
    lines = []
    for number in range(60):
        split = {8: "dev", 9: "test"}.get(number % 10, "train")
        for variety, texts in (("eng", ENGLISH), ("deu", GERMAN)):
            item = {"id": f"{variety}{number}", "variety": variety, "meaning": f"m{number}"}
            lines.append({**item, "text": texts[number % 2].format(number), "split": split})
    (folder / "manifest.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n", "utf-8")
    train = [line["text"] for line in lines if line["split"] == "train"]
    (folder / "train.txt").write_text("\n".join(train) + "\n\n", "utf-8")
    test = [line["text"] for line in lines if line["split"] == "test"]
    (folder / "test.txt").write_text("\n".join(test) + "\n", "utf-8")
    return folder


def steer(place: Path, *more: str) -> int:
    return main(
        [
            *("adapt", "steer", str(place / "lm"), "--corpus", str(place / "manifest.jsonl")),
            *("--from", "eng", "--to", "deu", "--new-tokens", "5", "--strength", "1", *more),
        ]
    )


def test_steering_is_judged_and_written(
    place: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert steer(place, "--method", "all", "--layer", "1,2", "--out", str(out), "--json") == 0
    told = json.loads(capsys.readouterr().out)
    methods = [(row["method"], row["layer"]) for row in told["rows"]]
    assert methods[0] == ("none", None)
    assert {name for name, _ in methods[1:]} == {"mean-shift", "lda", "shifcon", "experts"}
    assert told["classifier"]["accuracy"] == 1.0
    assert json.loads((out / "results.json").read_text("utf-8")) == told
    assert (out / "steering.png").read_bytes().startswith(b"\x89PNG")
    rows = (out / "outputs.tsv").read_text("utf-8").splitlines()
    assert len(rows) == 1 + len(methods) * len(told["prompts"])
    assert {row.count("\t") for row in rows} == {5}


def test_the_table_has_the_baseline_and_examples(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert steer(place, "--method", "experts", "--experts", "5", "--examples", "1") == 0
    seen = capsys.readouterr()
    assert "mean-shift" in seen.out
    assert "experts" in seen.out
    assert "held-out texts named right" in seen.err
    assert "->" in seen.err


def test_prompts_of_ones_own(
    place: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    known = ENGLISH[1].format(9)
    prompts = tmp_path / "prompts.txt"
    prompts.write_text(f"{known}\n\nhello you\thallo du\nnothing known\n", "utf-8")
    assert steer(place, "--prompts", str(prompts), "--json") == 0
    seen = capsys.readouterr()
    told = json.loads(seen.out)
    assert "1 empty lines were left out" in seen.err
    assert [p["target"] for p in told["prompts"]] == [GERMAN[1].format(9), "hallo du", None]
    assert told["judged"] == 2
    prompts.write_bytes("Grüße".encode("latin-1"))
    assert steer(place, "--prompts", str(prompts)) == 1
    assert "is not UTF-8" in capsys.readouterr().err
    prompts.write_text("\n \n", "utf-8")
    assert steer(place, "--prompts", str(prompts)) == 1


@pytest.mark.parametrize(
    "options",
    [
        ("--pivot", "eng"),
        ("--back-layer", "2"),
        ("--top-p", "0.5"),
        ("--method", "meanshift"),
        ("--prompts", "x", "--count", "5"),
    ],
)
def test_options_without_effect_are_wrong_usage(
    place: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...]
) -> None:
    assert steer(place, *options) == 2
    assert "isogloss adapt steer: error" in capsys.readouterr().err


def vocabulary(place: Path, *more: str) -> int:
    return main(["adapt", "vocabulary", str(place / "lm"), *more])


def test_a_model_is_rebuilt_and_read_again(
    place: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    train_tokenizer((place / "train.txt").read_text("utf-8").splitlines(), 290).save_pretrained(
        tmp_path / "tokenizer"
    )
    out = tmp_path / "new"
    given = ("--tokenizer", str(tmp_path / "tokenizer"), "--init", "copy")
    assert vocabulary(place, *given, "--out", str(out), "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["tokens"] == 290
    assert told["copied"] + told["drawn"] == 290
    assert load_causal(out).generate(["the"], new_tokens=2)
    assert vocabulary(place, *given, "--out", str(out)) == 1
    assert "is there already" in capsys.readouterr().err


def test_inits_are_compared_on_held_out_texts(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = ("--texts", str(place / "train.txt"), "--judge", str(place / "test.txt"))
    code = vocabulary(place, "--train-tokenizer", "300", "--init", "all", *texts, "--json")
    seen = capsys.readouterr()
    assert code == 1  # without a helper some are left out
    assert "left out: sava needs a helper" in seen.err
    told = json.loads(seen.out)
    assert [row["init"] for row in told["rows"]] == ["random", "copy", "fvt", "unibridge"]
    assert vocabulary(place, "--train-tokenizer", "300", *texts) == 0
    seen = capsys.readouterr()
    assert "(old vocabulary)" in seen.out
    assert "tokens/word" in seen.out


def test_rebuilt_models_are_trained_as_long_as_their_control(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = ("--texts", str(place / "train.txt"), "--judge", str(place / "test.txt"))
    given = ("--train-tokenizer", "300", *texts, "--json")
    assert vocabulary(place, *given, "--steps", "3", "--batch", "4", "--threads", "1") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["rows"][0]["trained_bits"] != told["rows"][0]["bits"]
    assert told["trained_before"] != told["before"]


def test_the_size_of_a_vocabulary_is_chosen_on_a_curve(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ("--train-tokenizer", "auto", "--texts", str(place / "train.txt"), "--json")
    assert vocabulary(place, *given, "--grow", "300", "--stop", "50%") == 0
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert told["curve"][0]["size"] == 300
    assert vocabulary(place, *given[:-1], "--stop", "soon") == 2


def test_a_vocabulary_is_extended_by_tokens_that_occur(
    place: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = tmp_path / "words.txt"
    words.write_text("schnelle\nschläft\n", "utf-8")
    given = ("--extend", str(words), "--texts", str(place / "train.txt"))
    assert vocabulary(place, *given, "--out", str(tmp_path / "larger"), "--json") == 0
    assert json.loads(capsys.readouterr().out)["added"] == 2
    words.write_text("Xylophon\n", "utf-8")
    assert vocabulary(place, *given, "--out", str(tmp_path / "other")) == 1
    assert "'Xylophon'" in capsys.readouterr().err


@pytest.mark.parametrize(
    "options",
    [
        ("--tokenizer", "x"),
        ("--tokenizer", "x", "--init", "copy,fvt", "--out", "y"),
        ("--tokenizer", "x", "--kind", "unigram", "--out", "y"),
        ("--tokenizer", "x", "--stop", "5", "--out", "y"),
        ("--train-tokenizer", "300", "--out", "y"),
        ("--tokenizer", "x", "--steps", "3", "--texts", "y", "--out", "z"),
        ("--tokenizer", "x", "--init", "fvr", "--out", "y"),
        ("--extend", "x", "--texts", "y"),
        ("--tokenizer", "x", "--threads", "1", "--out", "y"),
    ],
)
def test_vocabulary_options_without_effect_are_wrong_usage(
    place: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...]
) -> None:
    assert vocabulary(place, *options) == 2
    assert "isogloss adapt vocabulary: error" in capsys.readouterr().err
