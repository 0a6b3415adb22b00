from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING

import pytest
import torch

from gettext_makers import write_mo
from isogloss.bench.demo_text import TextDemoConfig, run_text_demo, text_corpus
from isogloss.cli import main
from isogloss.corpora import read_corpus
from isogloss.errors import IsoglossError

if TYPE_CHECKING:
    from pathlib import Path

VARIETIES = ("eng", "fra", "spa")
WORDS = "file open read write close mode user list page print name path size type line".split()


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def catalogues(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four hundred messages of five words, in French and Spanish word by word."""
    folder = tmp_path_factory.mktemp("share")
    draw = random.Random(0)
    messages = {" ".join(draw.choices(WORDS, k=5)) for _ in range(400)}
    for code, ending in (("fr", "eur"), ("es", "ando")):
        said = {m: " ".join(word + ending for word in m.split()) for m in messages}
        write_mo(folder / f"locale/{code}/LC_MESSAGES/made.mo", said)
    return folder


@pytest.fixture(scope="module")
def demo(catalogues: Path, tmp_path_factory: pytest.TempPathFactory):
    config = TextDemoConfig(minutes=0.01, varieties=VARIETIES, items=12, catalogues=catalogues)
    out = tmp_path_factory.mktemp("demo") / "out"
    said: list[str] = []
    return config, out, run_text_demo(config, out, progress=False, say=said.append), said


def test_results_have_every_model_beside_the_floor(demo) -> None:
    _, out, result, said = demo
    found = json.loads((out / "results.json").read_text(encoding="utf-8"))
    for kind in ("trained", "control", "mlm", "random", "ngram"):
        low, high = (found[f"r_at_1_{kind}_{end}"] for end in ("low", "high"))
        assert 0 <= low <= found[f"r_at_1_{kind}"] <= high <= 1
    # Endings aside, translations share their letters: n-grams find them.
    assert found["r_at_1_ngram"] > 0.9
    first = found["measurements"][0]
    assert {"name", "layer", "value", "low", "high"} <= set(first)
    assert {row["layer"] for row in found["measurements"]} == {0, 1, 2, 3, 4}
    assert found["training"]["encoder"]["steps"] == found["training"]["encoder"]["control"]["steps"]
    assert [line[:3] for line in said] == ["1/4", "2/4", "3/4", "4/4"]
    assert result.summary["layers_chosen_on_dev"]["ngram"] == 0


def test_page_and_pictures_are_there(demo) -> None:
    _, out, result, _ = demo
    for name in ("layers.png", "map.png", "tree.png"):
        assert (out / name).read_bytes().startswith(b"\x89PNG")
    page = result.report.read_text(encoding="utf-8")
    assert page.count("<h1>") == 1
    assert "random weights" in page.split("</h1>")[1]


def test_repeated_it_trains_nothing_again(demo) -> None:
    config, out, first, _ = demo
    weights = out / "models" / "encoder" / "model.safetensors"
    before = weights.stat().st_mtime_ns
    again = run_text_demo(config, out, progress=False)
    assert weights.stat().st_mtime_ns == before
    assert again.summary["seconds"] == first.summary["seconds"]
    assert again.summary["r_at_1_trained"] == first.summary["r_at_1_trained"]


def test_other_settings_in_the_same_folder_are_refused(demo, catalogues: Path) -> None:
    _, out, _, _ = demo
    other = TextDemoConfig(minutes=0.01, varieties=VARIETIES, items=13, catalogues=catalogues)
    with pytest.raises(IsoglossError, match="items 12, not 13"):
        run_text_demo(other, out, progress=False)


def test_splits_share_no_meaning(demo) -> None:
    _, out, _, _ = demo
    by_split: dict[str | None, set[str | None]] = {}
    for item in read_corpus(out / "corpus").items:
        by_split.setdefault(item.split, set()).add(item.meaning)
    assert set(by_split) == {"train", "dev", "test"}
    assert sum(map(len, by_split.values())) == len(set().union(*by_split.values()))


def test_too_few_translations_are_told(catalogues: Path, tmp_path: Path) -> None:
    config = TextDemoConfig(varieties=("eng", "deu"), catalogues=catalogues)
    with pytest.raises(IsoglossError, match="0 test messages in eng and deu, 400 are needed"):
        text_corpus(config, tmp_path)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--text", "--sentences", "5"], "--sentences has no effect with --text"),
        (["--text", "--transcripts", "both"], "--transcripts has no effect with --text"),
        (["--catalogues", "/usr"], "--catalogues has no effect without --text"),
        (["--text", "--varieties", "eng"], "needs two varieties"),
        (["--text", "--minutes", "0"], "minutes must be above 0"),
        (["--text", "--test-sentences", "2"], "items must be at least 10"),
    ],
)
def test_wrong_usage_is_told(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["demo", *arguments]) == 2
    assert said in capsys.readouterr().err
