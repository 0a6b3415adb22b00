from __future__ import annotations

import copy
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")
pytest.importorskip("tokenizers")
pytest.importorskip("PIL")

from isogloss.encoders import check_encoder, load_encoder, mean_pool  # noqa: E402
from isogloss.errors import IsoglossError, UnknownName  # noqa: E402
from isogloss.training.text_config import TextTrainConfig  # noqa: E402
from isogloss.training.text_small import small_options, train_small  # noqa: E402
from parallel_text_makers import items_of, manifest  # noqa: E402

OPTIONS: dict[str, dict[str, Any]] = {
    "hash": {"buckets": 2000, "dimension": 16},
    "laser": {"vocabulary": 60, "embedding": 16, "hidden": 16, "decoder": 24, "variety": 4,
              "contrast": 1.0},
    "pixel": {"dimension": 16, "layers": 1, "heads": 2, "window": 16, "masked": 0.2},
}  # fmt: skip
SETTINGS: dict[str, Any] = {
    "batch": 16,
    "base_lr": 0.01,
    "max_steps": 30,
    "threads": 1,
    "device": "cpu",
    "checkpoint_minutes": 0.0,
    "keep": 1,
    "control": False,
}
KINDS = tuple(OPTIONS)


def run(kind: str, corpus: Path, folder: Path, **changed: Any) -> Any:
    return train_small(
        kind,
        small_options(kind, OPTIONS[kind]),
        TextTrainConfig(**{**SETTINGS, **changed}),
        corpus=corpus,
        folder=folder,
        quiet=True,
    )


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return manifest(tmp_path_factory.mktemp("two"), items_of(60))


@pytest.fixture(scope="module")
def trained(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("trained")
    return {kind: run(kind, corpus, folder / kind) for kind in KINDS}


def recall(name: str) -> float:
    """R@1 of deu to srp on meanings that were not trained on."""
    items = items_of(40, seed=1)
    encoder = load_encoder(name)
    sides = []
    for variety in ("deu", "srp"):
        vectors = mean_pool(encoder.encode([i for i in items if i.variety == variety])).values
        sides.append(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    texts = [item.text for item in items if item.variety == "srp"]
    best = (sides[0] @ sides[1].T).argmax(axis=1)
    # Word order is drawn: the same words in another order are another meaning with another text.
    return float(np.mean([texts[b] == texts[i] for i, b in enumerate(best)]))


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_trained_keeps_the_contract(kind: str, trained: dict[str, Any]) -> None:
    encoder = load_encoder(f"{kind}:{trained[kind].folder}")
    items = [*items_of(3), *[i for i in items_of(1, seed=3)]]
    items = [
        *items,
        *[
            type(items[0])(f"long{i}", "deu", text=text)
            for i, text in enumerate(("hund " * 40, "x", "Ein Hund, ÜBER!"))
        ],
    ]
    check_encoder(encoder, items)
    assert np.isfinite(encoder.encode(items).values).all()


def test_a_bag_learns_the_dictionary(trained: dict[str, Any]) -> None:
    assert recall(f"hash:{trained['hash'].folder}") > 0.5
    assert recall("hash:?buckets=2000&dimension=16") < 0.2


@pytest.mark.parametrize("kind", KINDS)
def test_result_counts_what_was_done(kind: str, trained: dict[str, Any]) -> None:
    result = trained[kind]
    assert result.steps == 30
    assert result.items == 120
    assert result.meanings == 60
    assert result.spent["tokens"] > 0
    assert result.spent["flops"] > 0
    assert result.revision
    assert not (result.folder / "checkpoints").exists()


def test_same_seed_same_weights_other_seed_others(
    corpus: Path, trained: dict[str, Any], tmp_path: Path
) -> None:
    # That the others repeat themselves is seen where they are stopped.
    again = run("hash", corpus, tmp_path / "again")
    assert again.revision == trained["hash"].revision
    assert again.losses == trained["hash"].losses
    assert run("hash", corpus, tmp_path / "other", seed=1).revision != again.revision


SCRIPT = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import torch
torch.set_num_threads(1)
import isogloss.training.engine as engine
step = engine.Run._step
def slow(self, *given, **named):
    if self.position.step == 7:
        Path(sys.argv[4], "seven").touch()
        time.sleep(600)
    return step(self, *given, **named)
engine.Run._step = slow
sys.path.insert(0, str(Path(sys.argv[1]) / "training"))
from test_text_small import run
run(sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]))
"""


@pytest.mark.parametrize("kind", ["laser", "pixel"])
def test_a_stopped_run_ends_in_the_same_weights(
    kind: str,
    corpus: Path,
    trained: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import isogloss.training.engine as engine

    step = engine.Run._step

    def stopping(self: Any, *given: Any, **named: Any) -> Any:
        if self.position.step == 7:
            raise KeyboardInterrupt
        return step(self, *given, **named)

    monkeypatch.setattr(engine.Run, "_step", stopping)
    with pytest.raises(KeyboardInterrupt):
        run(kind, corpus, tmp_path)
    monkeypatch.undo()
    assert run(kind, corpus, tmp_path).revision == trained[kind].revision


def test_a_killed_run_ends_in_the_same_weights(
    corpus: Path, trained: dict[str, Any], tmp_path: Path
) -> None:
    kind = "hash"
    folder = tmp_path / "killed"
    tests = Path(__file__).resolve().parents[1]
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(tests), kind, str(corpus), str(folder)],
        stderr=subprocess.DEVNULL,
    )
    try:
        # However slow the machine is: the run waits at step 7 to be killed.
        while not (folder / "seven").exists() and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        assert process.wait() == -signal.SIGKILL
    assert list((folder / "checkpoints").glob("step-*.safetensors"))
    assert not (folder / "result.json").exists()
    result = run(kind, corpus, folder)
    assert result.steps == 30
    assert result.revision == trained[kind].revision


def test_control_takes_the_same_steps_with_shuffled_partners(
    corpus: Path, trained: dict[str, Any], tmp_path: Path
) -> None:
    result = run("hash", corpus, tmp_path / "run", control=True)
    assert result.revision == trained["hash"].revision
    control = result.control
    assert control is not None
    assert control.steps == result.steps
    assert control.model["pairs"] == "shuffled"
    assert control.folder == tmp_path / "run" / "control"
    assert recall(f"hash:{control.folder}") < 0.2 < recall(f"hash:{result.folder}")
    kept = json.loads((tmp_path / "run" / "result.json").read_text(encoding="utf-8"))
    assert kept["control"]["steps"] == 30
    assert run("hash", corpus, tmp_path / "run", control=True).control is not None


def test_padding_never_enters_what_is_learnt() -> None:
    from isogloss.encoders.bilstm_network import Bilstm, BilstmShape, most_of_each
    from isogloss.encoders.pixel_network import PixelShape, PixelTransformer, mean_of_real

    torch.manual_seed(0)
    network = Bilstm(BilstmShape(9, 4, 5, 2)).eval()
    ids = torch.tensor([[1, 2, 3, 0, 0]])
    other = torch.tensor([[1, 2, 3, 7, 8]])
    lengths = torch.tensor([3])
    with torch.no_grad():
        vectors = [most_of_each(network(x, lengths)[-1], lengths) for x in (ids, other)]
        # All states negative: a maximum that saw padding would be 0.
        low = most_of_each(-torch.ones(1, 5, 2), lengths)
        changed = most_of_each(network(torch.tensor([[1, 2, 4]]), lengths)[-1], lengths)
    assert torch.equal(vectors[0], vectors[1])
    assert torch.equal(low, -torch.ones(1, 2))
    assert not torch.equal(vectors[0], changed)

    pixels = PixelTransformer(PixelShape(dimension=8, layers=2, heads=2, window=6)).eval()
    patches = torch.rand(1, 6, 256)
    real = torch.tensor([[True, True, True, True, False, False]])
    touched = patches.clone()
    touched[:, 4:] = torch.nan
    with torch.no_grad():
        one = mean_of_real(pixels(patches[:, :4], real[:, :4])[-1], real[:, :4])
        two = mean_of_real(pixels(patches, real)[-1], real)
        patches[:, 1] += 1
        three = mean_of_real(pixels(patches, real)[-1], real)
    torch.testing.assert_close(one, two)
    assert not torch.allclose(one, three)


def test_laser_pieces_give_the_sentence_by_their_maximum(trained: dict[str, Any]) -> None:
    folder = trained["laser"].folder
    items = items_of(4)
    for layer in (0, 1):
        pieces = load_encoder(f"laser:{folder}?token=piece", layer=layer).encode(items)
        sentence = load_encoder(f"laser:{folder}", layer=layer).encode(items)
        for index in range(len(items)):
            np.testing.assert_allclose(pieces[index].max(axis=0), sentence[index][0], atol=1e-6)
        assert pieces.item_words(0).max() == 2


def test_pixel_words_and_missing_characters(trained: dict[str, Any]) -> None:
    encoder = load_encoder(f"pixel:{trained['pixel'].folder}")
    item = items_of(1)[0]
    words = encoder.encode([item]).item_words(0)
    assert set(words.tolist()) <= {-1, 0, 1, 2} and words[0] == 0 and words.max() == 2
    odd = type(item)("odd", "und", text="\U000131f7 hund")
    with pytest.warns(UserWarning, match=r"1 characters .* U\+131F7 .* install fonts"):
        encoder.encode([odd])
    assert encoder.missing == {"\U000131f7": 1}


def test_other_settings_in_the_same_folder_are_refused(
    corpus: Path, trained: dict[str, Any]
) -> None:
    folder = trained["hash"].folder
    with pytest.raises(IsoglossError, match="the run there has dimension=16, not 8"):
        train_small(
            "hash",
            small_options("hash", {"buckets": 2000, "dimension": 8}),
            TextTrainConfig(**SETTINGS),
            corpus=corpus,
            folder=folder,
            quiet=True,
        )
    with pytest.raises(IsoglossError, match="the run there has kind=hash, not laser"):
        run("laser", corpus, folder)


def test_settings_without_effect_and_unknown_ones_are_refused(corpus: Path, tmp_path: Path) -> None:
    for changed in ({"objectives": ("mlm",)}, {"parameters": "embeddings"}, {"max_tokens": 9}):
        with pytest.raises(ValueError, match="has no effect on kind 'hash'"):
            run("hash", corpus, tmp_path, **changed)
    with pytest.raises(ValueError, match="base_lr must be set"):
        run("hash", corpus, tmp_path, base_lr=None)
    with pytest.raises(UnknownName, match="did you mean hash"):
        small_options("hach", {})
    with pytest.raises(UnknownName, match="did you mean buckets"):
        small_options("hash", {"bucket": 2})
    for kind, wrong, message in (
        ("hash", {"temperature": 0.0}, "temperature must be above 0"),
        ("laser", {"dropout": 1.0}, "dropout must be in"),
        ("laser", {"contrast": -1.0}, "contrast must be at least 0"),
        ("laser", {"decoder": 0}, "decoder must be at least 1"),
        ("pixel", {"hidden": 1.0}, "hidden must be between 0 and 1"),
        ("pixel", {"heads": 5}, "dimension 192 must be an even number of times heads 5"),
        ("pixel", {"masked": 1.0}, r"masked must be in \[0, 1\)"),
    ):
        with pytest.raises(ValueError, match=message):
            small_options(kind, wrong)


def test_varieties_without_pairs_are_left_out_and_counted(tmp_path: Path) -> None:
    items = items_of(20)
    lonely = [type(items[0])(f"fra-{i}", "fra", f"fra-{i}", "le chien") for i in range(3)]
    blank = [type(items[0])("blank", "deu", "0-0", "  ")]
    result = run("hash", manifest(tmp_path, [*items, *lonely, *blank]), tmp_path / "run")
    assert result.items == 40
    assert dict(result.skipped) == {"meaning in one variety": 3, "no text": 1}
    alone = manifest(tmp_path / "alone", lonely)
    with pytest.raises(IsoglossError, match="no meaning is there in two varieties"):
        run("hash", alone, tmp_path / "none")


def test_views_are_pairs_too(corpus: Path, tmp_path: Path) -> None:
    items = items_of(20)
    result = train_small(
        "hash",
        small_options("hash", OPTIONS["hash"]),
        TextTrainConfig(**SETTINGS),
        corpus=manifest(tmp_path, items),
        folder=tmp_path / "run",
        views=[str(item.text).upper()[::-1] for item in items],
        quiet=True,
    )
    assert result.pairs == "views"
    assert 0 < result.losses["infonce"] < np.log(16)


def test_lines_of_100_000_characters_are_trained_on(tmp_path: Path) -> None:
    items = items_of(16)
    long = [type(i)(f"long-{i.id}", i.variety, "long", str(i.text) * 7000) for i in items[:2]]
    for kind in KINDS:
        result = run(kind, manifest(tmp_path / kind, [*items, *long]), tmp_path / f"run-{kind}",
                     max_steps=2)  # fmt: skip
        assert np.isfinite(result.loss)
        assert result.cut == (0 if kind == "hash" else 2)


def test_row_adam_is_sparse_adam_and_can_be_saved() -> None:
    from isogloss.training.optim import NonFiniteGradient
    from isogloss.training.row_adam import RowAdam

    def table() -> Any:
        torch.manual_seed(0)
        return torch.nn.EmbeddingBag(5, 3, mode="mean", sparse=True)

    def step(bag: Any, optimizer: Any, row: int) -> None:
        optimizer.zero_grad()
        bag(torch.tensor([[row, 1]])).square().sum().backward()
        optimizer.step()

    ours, theirs, resumed = table(), table(), table()
    optimizers = [
        RowAdam(ours.parameters(), lr=0.1),
        torch.optim.SparseAdam(list(theirs.parameters()), lr=0.1),
    ]
    for bag, optimizer in zip((ours, theirs), optimizers, strict=True):
        for row in (0, 2, 2, 4):
            step(bag, optimizer, row)
    assert torch.equal(ours.weight, theirs.weight)
    state = optimizers[0].state_dict()
    assert all(isinstance(v, torch.Tensor) for s in state["state"].values() for v in s.values())
    resumed.load_state_dict(ours.state_dict())
    other = RowAdam(resumed.parameters(), lr=0.1)
    other.load_state_dict(copy.deepcopy(state))
    step(ours, optimizers[0], 3)
    step(resumed, other, 3)
    assert torch.equal(ours.weight, resumed.weight)
    before = ours.weight.detach().clone()
    optimizers[0].zero_grad()
    (ours(torch.tensor([[0, 1]])) * torch.nan).sum().backward()
    with pytest.raises(NonFiniteGradient):
        optimizers[0].step()
    assert torch.equal(ours.weight, before)
