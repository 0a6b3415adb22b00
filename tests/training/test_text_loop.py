from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

import text_training_makers
from isogloss._files import sha256_of_file
from isogloss.errors import IsoglossError
from isogloss.training import text_learner
from isogloss.training.engine import NonFiniteLoss
from isogloss.training.objectives.text import TextLoss
from isogloss.training.text_config import Shape, TextTrainConfig
from isogloss.training.text_loop import train_text
from isogloss.training.text_model import TextModel
from isogloss.types import Item
from text_training_makers import text_config, text_corpus

if TYPE_CHECKING:
    from isogloss.training.text_result import TextTrainResult

torch.set_num_threads(1)

# Everything that holds state or draws random numbers.
BUSY: dict[str, Any] = {
    "objectives": ("infonce:layer=1,negatives=queue,queue=12", "mlm", "tlm"),
    "max_steps": 30,
    "average_from": 0.5,
    "average_period": 2,
}


def run(folder: Path, **changes: Any) -> TextTrainResult:
    corpus = changes.pop("corpus", None) or text_corpus()
    views = changes.pop("views", None)
    return train_text(text_config(**changes), corpus=corpus, folder=folder, views=views, quiet=True)


def records(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "train.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def weights(folder: Path) -> str:
    return sha256_of_file(folder / "model.safetensors")


def steps_saved(folder: Path) -> int:
    return max((int(p.stem[5:]) for p in folder.glob("checkpoints/step-*.json")), default=0)


def killed(folder: Path, at_least: int, seconds: float) -> None:
    """Start the run in a process of its own and kill it when it has saved so many steps."""
    settings = {**BUSY, "checkpoint_minutes": 1e-9}
    maker = Path(text_training_makers.__file__)
    environment = {**os.environ, "PYTHONPATH": str(maker.parent), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, str(maker), str(folder), *(f"{k}={v!r}" for k, v in settings.items())],
        env=environment,
    )
    try:
        while steps_saved(folder) < at_least and process.poll() is None:
            time.sleep(0.005)
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        code = process.wait()
    assert code == -signal.SIGKILL, f"the run ended with {code} before it was killed"


def test_killed_and_resumed_gives_the_same_weights(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole", **BUSY)
    folder = tmp_path / "killed"
    # Unseeded on purpose: any moment must do.
    jitter = random.SystemRandom()
    killed(folder, 3, jitter.uniform(0, 0.03))
    assert 3 <= steps_saved(folder) < 30
    result = run(folder, **BUSY)
    assert weights(folder) == weights(tmp_path / "whole")
    assert result.spent == whole.spent
    assert result.loss == whole.loss
    assert [entry["step"] for entry in records(folder)] == [4, 8, 12, 16, 20, 24, 28, 30]


def test_interrupted_in_a_step_and_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"objectives": ("infonce", "mlm"), "checkpoint_minutes": 0.0, "max_steps": 8}
    run(tmp_path / "whole", **settings)
    learned = text_learner.ModelLearner.loss
    calls = iter(range(100))

    def interrupted(self: Any, *arguments: Any, **keywords: Any) -> TextLoss:
        if next(calls) == 5:
            raise KeyboardInterrupt
        return learned(self, *arguments, **keywords)

    monkeypatch.setattr(text_learner.ModelLearner, "loss", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", **settings)
    monkeypatch.undo()
    run(tmp_path / "cut", **settings)
    assert weights(tmp_path / "cut") == weights(tmp_path / "whole")


def test_it_learns_to_match_translations_and_the_control_does_not(tmp_path: Path) -> None:
    result = run(
        tmp_path / "a",
        objectives=("infonce:layer=2", "mlm"),
        max_steps=40,
        base_lr=0.01,
        control=True,
    )
    log = records(tmp_path / "a")
    assert log[-1]["infonce"] < 0.6 * log[0]["infonce"]
    assert log[-1]["mlm"] < log[0]["mlm"]
    control = result.control
    assert control is not None
    assert control.steps == result.steps == 40
    assert control.model["objectives"] == ["mlm"]
    assert "infonce" not in control.losses
    # The same batches with the same tokens hidden: the first loss is the same to the last bit.
    other = records(tmp_path / "a/control")
    first = run(tmp_path / "b", objectives=("infonce:layer=2", "mlm"), max_steps=1, log_steps=1)
    second = run(tmp_path / "c", objectives=("mlm",), pairs="meaning", max_steps=1, log_steps=1)
    assert first.losses["mlm"] == second.losses["mlm"]
    assert other[0]["mlm"] != log[0]["mlm"]
    # Compute is told for both: two passes for InfoNCE, two for masked LM.
    assert result.spent["passes"] == 4 * 40
    assert control.spent["passes"] == 2 * 40
    assert result.spent["flops"] > 1.5 * control.spent["flops"]
    written = json.loads((tmp_path / "a/result.json").read_text(encoding="utf-8"))
    assert written["control"]["spent"] == dict(control.spent)
    assert TextModel.load(tmp_path / "a/control").layers == (0, 1, 2, 3)


def test_base_objectives_alone_have_no_control(tmp_path: Path) -> None:
    assert run(tmp_path / "a", control=True).control is None
    assert not (tmp_path / "a/control").exists()
    result = run(
        tmp_path / "b", objectives=("tlm", "mlm:share=0.3,weight=2"), control=True, max_steps=2
    )
    assert result.control is not None
    assert result.control.model["objectives"] == ["mlm:share=0.3"]


def test_a_control_can_be_added_to_a_finished_run(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"objectives": ("infonce",), "max_steps": 3}
    first = run(tmp_path, **settings)
    assert first.control is None
    second = run(tmp_path, **settings, control=True)
    assert second.control is not None
    assert second.revision == first.revision
    third = run(tmp_path, **settings, control=True)
    assert third == second


def test_a_finished_run_comes_back_at_once_and_others_are_refused(tmp_path: Path) -> None:
    first = run(tmp_path)
    changed = (tmp_path / "model.safetensors").stat().st_mtime_ns
    assert run(tmp_path) == first
    assert (tmp_path / "model.safetensors").stat().st_mtime_ns == changed
    with pytest.raises(IsoglossError, match="batch = 8, this one has 4"):
        run(tmp_path, batch=4)
    with pytest.raises(IsoglossError, match="corpus"):
        run(tmp_path, corpus=text_corpus(41))
    with pytest.raises(IsoglossError, match="is a file"):
        run(tmp_path / "model.safetensors")


def test_seeds_reach_the_weights_and_nothing_else_does(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        run(tmp_path / name, seed=seed, max_steps=3)
    assert weights(tmp_path / "a") == weights(tmp_path / "b") != weights(tmp_path / "c")


def test_a_decoder_learns_and_generates_what_can_be_read(tmp_path: Path) -> None:
    shape = Shape(kind="decoder", layers=2, width=32, heads=2, vocabulary=400)
    result = run(tmp_path, shape=shape, max_steps=60, base_lr=0.01, varieties=("eng",))
    log = records(tmp_path)
    assert log[-1]["lm"] < 0.5 * log[0]["lm"]
    assert result.model["model_type"] == "llama"
    assert result.items == 40
    model = TextModel.load(tmp_path).eval()
    assert model.causal
    prompt = model.tokenizer("the cat", return_tensors="pt")
    prompt.pop("token_type_ids", None)
    out = model.model.generate(**prompt, max_new_tokens=8, do_sample=False)
    said = model.tokenizer.decode(out[0], skip_special_tokens=True)
    assert said.startswith("the cat ")
    assert "sees" in said or "house" in said


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("start") / "mlm"
    run(folder, max_steps=4)
    return folder


def test_going_on_from_a_folder(start: Path, tmp_path: Path) -> None:
    result = run(tmp_path / "a", start=str(start), max_steps=1, base_lr=1e-12)
    old, new = (dict(TextModel.load(f).model.named_parameters()) for f in (start, tmp_path / "a"))
    assert all(torch.allclose(old[name], new[name], atol=1e-6) for name in old)
    assert result.model["weights"] == sum(p.numel() for p in old.values())
    with pytest.raises(IsoglossError, match="there is no such folder"):
        run(tmp_path / "b", start=str(tmp_path / "absent"))
    with pytest.raises(IsoglossError, match=r"no config\.json"):
        run(tmp_path / "c", start=str(tmp_path))


@pytest.mark.parametrize("parameters", ["layers:2", "embeddings", "lora:2"])
def test_only_the_chosen_weights_move(start: Path, tmp_path: Path, parameters: str) -> None:
    result = run(
        tmp_path,
        start=str(start),
        max_steps=3,
        parameters=parameters,
        objectives=("infonce:layer=2",),
    )
    old, new = (TextModel.load(f).model.state_dict() for f in (start, tmp_path))
    moved = {name for name in old if not torch.equal(old[name], new[name])}
    if parameters == "layers:2":
        assert {name for name in moved if "model.layers.1." not in name} == set()
    if parameters == "embeddings":
        assert moved == {"model.embeddings.tok_embeddings.weight", "decoder.weight"}
    if parameters == "lora:2":
        assert all("model.layers." in name for name in moved)
        assert (tmp_path / "adapter/adapter_config.json").is_file()
    assert moved
    assert 0 < result.model["learning"] < result.model["weights"]


def test_views_and_alternation(tmp_path: Path) -> None:
    result = run(
        tmp_path,
        objectives=("infonce", "mlm:sides=first"),
        alternate=True,
        views=lambda texts: [text.upper() for text in texts],
        max_steps=4,
    )
    assert result.pairs == "views"
    assert result.meanings == 0
    # Two steps of InfoNCE with two passes, two of masked LM with one.
    assert result.spent["passes"] == 6


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"pairs": "none", "objectives": ("infonce",)}, "needs pairs"),
        ({"pairs": "views"}, "needs views"),
        ({"views": ["x"], "pairs": "meaning"}, "views have no effect"),
        ({"ways": 3}, "ways has no effect"),
        ({"links": "x.tsv"}, "have no effect"),
        ({"objectives": ("infonce:pooling=word",)}, "needs word links"),
    ],
)
def test_settings_that_contradict_each_other(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        run(tmp_path, **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"max_steps": 1, "epochs": 1.0},
        {"max_steps": 0},
        {"batch": 0},
        {"base_lr": -1.0},
        {"base_lr": float("nan")},
        {"ways": 1},
        {"max_tokens": 3},
        {"sampling_temperature": 0.0},
        {"average_from": 2.0},
        {"seed": -1},
        {"start": "x", "shape": Shape(layers=1)},
        {"parameters": "lora"},
        {"alternate": True},
        {"objectives": ("mlm:shar=1",)},
    ],
)
def test_configs_that_cannot_be(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        TextTrainConfig(**{"max_steps": 1, **changes})


@pytest.mark.parametrize(
    "changes",
    [{"layers": 0}, {"heads": 3}, {"vocabulary": 299}, {"dropout": 1.0}, {"width": 12, "heads": 4}],
)
def test_shapes_that_cannot_be(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        Shape(**changes)
    with pytest.raises(ValueError, match="no effect"):
        Shape(kind="decoder", dropout=0.1)


def test_a_loss_that_is_not_finite_names_its_items(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Any, rows: Any, **keywords: Any) -> TextLoss:
        return TextLoss(torch.full((), float("nan")))

    monkeypatch.setattr(text_learner.ModelLearner, "loss", broken)
    with pytest.raises(NonFiniteLoss, match="Check these texts") as caught:
        run(tmp_path)
    assert len(caught.value.ids) == 8


def test_long_texts_are_cut_and_counted(tmp_path: Path) -> None:
    long = Item(id="long", variety="eng", meaning="m0", text="wort " * 20_000)
    blank = Item(id="blank", variety="eng", meaning="m1", text="")
    result = run(tmp_path, corpus=text_corpus(more=(long, blank)), max_steps=2, max_tokens=64)
    assert result.cut == 1
    assert result.skipped == {"no text": 1}
    assert json.loads((tmp_path / "skipped.json").read_text(encoding="utf-8")) == {"no text": 1}


def test_minutes_fix_the_number_of_steps(tmp_path: Path) -> None:
    result = run(tmp_path, minutes=0.02, objectives=("infonce:negatives=queue,queue=8",))
    plan = json.loads((tmp_path / "plan.json").read_text(encoding="utf-8"))
    assert plan["steps"] == result.steps >= 1


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_a_gpu_learns_as_the_cpu_does(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"objectives": ("infonce", "mlm", "tlm"), "max_steps": 5}
    cpu, gpu = (run(tmp_path / name, device=name, **settings) for name in ("cpu", "cuda"))
    assert gpu.loss == pytest.approx(cpu.loss, rel=1e-3)
