from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from isogloss._files import sha256_of_file
from isogloss.errors import IsoglossError
from isogloss.speech.checkpoint import load_model, save_model
from isogloss.speech.tokens import BLANK, UNKNOWN, Tokenizer
from isogloss.training.finetune import REPORT, FinetuneConfig, FinetuneResult, finetune
from isogloss.training.loop import train
from isogloss.training.tuning import Tuning
from training.tones import config
from training.tuning_makers import NEW, OLD, short_settings, voiced_corpus

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the corpora `old` and `new` and a model `base` that has learnt the old one."""
    folder = tmp_path_factory.mktemp("tuning")
    voiced_corpus(folder / "old", OLD)
    voiced_corpus(folder / "new", NEW)
    learning = config(
        max_steps=120, max_batch_seconds=12.0, warmup=10, specaugment=False, buckets=2
    )
    train(learning, corpus=folder / "old", folder=folder / "base", quiet=True)
    return folder


def tuned(
    place: Path, folder: Path, tuning: Tuning | None = None, **changes: Any
) -> FinetuneResult:
    options = {
        name: changes.pop(name)
        for name in ("base_lr", "bootstrap", "test_items", "split", "transcripts", "optimiser")
        if name in changes
    }
    corpora = {name: changes.pop(name, place / name) for name in ("new", "old")}
    chosen = FinetuneConfig(
        tuning or Tuning(), settings=short_settings(**changes), **{"bootstrap": 0, **options}
    )
    return finetune(
        chosen,
        model=place / "base",
        corpus=corpora["new"],
        replay=corpora["old"],
        folder=folder,
        quiet=True,
    )


def difference(result: FinetuneResult, corpus: str) -> float:
    return next(c.difference.value for c in result.changes if c.corpus == corpus)


def test_replay_keeps_what_tuning_alone_forgets(place: Path, tmp_path: Path) -> None:
    options = {"base_lr": 0.03, "max_steps": 60, "bootstrap": 200}
    alone = tuned(place, tmp_path / "alone", Tuning(replay_share=0.0), **options)
    mixed = tuned(place, tmp_path / "mixed", Tuning(replay_share=0.5), **options)
    assert difference(alone, "old") > 0.3
    assert difference(mixed, "old") < difference(alone, "old") - 0.2
    for found in (alone, mixed):
        assert difference(found, "new") < -0.05
        assert [(c.corpus, c.variety, c.items) for c in found.changes] == [
            ("new", "nan", 12),
            ("old", "cmn", 12),
        ]
        for change in found.changes:
            assert change.before.low is not None
            assert change.before.high is not None
            assert change.before.low <= change.before.value <= change.before.high
            assert change.difference.value == pytest.approx(
                change.after.value - change.before.value
            )
    assert "not prevented" in alone.warnings[0]
    assert mixed.warnings == ()
    written = json.loads((tmp_path / "mixed" / REPORT).read_text(encoding="utf-8"))
    assert written["changes"][1]["after"]["value"] == mixed.changes[1].after.value
    # The same call again reads what was measured.
    again = tuned(place, tmp_path / "mixed", Tuning(replay_share=0.5), **options)
    assert again == mixed


def test_units_are_added_and_the_known_stay_in_place(place: Path, tmp_path: Path) -> None:
    result = tuned(place, tmp_path, max_steps=1, base_lr=1e-9, average_from=1.0)
    base, model = load_model(place / "base"), load_model(tmp_path)
    assert result.added_units == ("土", "木", "金")
    assert model.tokenizer.symbols == (*base.tokenizer.symbols, *result.added_units)
    assert model.extra["tuned_from"] == base.revision
    rows = base.tokenizer.vocab_size
    for name, tensor in base.model.state_dict().items():
        found = model.model.state_dict()[name]
        found = found[:rows] if name.startswith("ctc_output") else found
        torch.testing.assert_close(found, tensor, rtol=1e-5, atol=1e-7)


def test_with_kept_units_items_with_other_characters_are_left_out(
    place: Path, tmp_path: Path
) -> None:
    extra = [
        {
            "id": f"plain{i}",
            "variety": "nan",
            "audio": f"audio/{i}.wav",
            "transcript": "天",
            "split": "train",
        }
        for i in range(3)
    ]
    corpus = voiced_corpus(tmp_path / "new", NEW, extra=extra)
    result = tuned(place, tmp_path / "run", Tuning(units="keep"), new=corpus, max_steps=1)
    assert result.added_units == ()
    assert {entry.reason for entry in result.train.skipped} == {"characters without a unit"}
    lacking = sum(
        any(character in "木金土" for character in json.loads(line)["transcript"])
        for line in corpus.read_text(encoding="utf-8").splitlines()
        if json.loads(line)["split"] == "train"
    )
    assert len(result.train.skipped) == lacking > 0


def test_only_lora_and_the_outputs_learn(place: Path, tmp_path: Path) -> None:
    pytest.importorskip("peft", reason="LoRA needs the extra hf")
    from isogloss.training.adapters import apply_adapter

    tuning = Tuning(lora_rank=2, replay_share=0.5, keep_adapter=True)
    result = tuned(place, tmp_path / "run", tuning, max_steps=8, base_lr=0.01)
    base, model = load_model(place / "base").model, load_model(tmp_path / "run").model
    state = model.state_dict()
    changed = {
        name
        for name, tensor in base.state_dict().items()
        if name.startswith("encoder") and not torch.equal(state[name], tensor)
    }
    layers = ("attn", "attention", "feed_forward")
    assert changed
    assert all(name.endswith("weight") and any(x in name for x in layers) for name in changed)
    for name in changed:
        # The change has LoRA's rank.
        values = torch.linalg.svdvals((state[name] - base.state_dict()[name]).double())
        assert values[2] < 1e-4 * values[0]
    revision = apply_adapter(place / "base", tmp_path / "run", tmp_path / "again")
    assert revision == result.train.revision


@pytest.mark.parametrize("rank", [0, 2])
def test_a_run_taken_up_again_ends_in_the_same_weights(
    place: Path, tmp_path: Path, rank: int
) -> None:
    if rank:
        pytest.importorskip("peft", reason="LoRA needs the extra hf")
    tuning = Tuning(lora_rank=rank)
    options = {"max_steps": 12, "checkpoint_minutes": 1e-9, "keep": 20, "average_from": 0.3}
    first = tuned(place, tmp_path, tuning, **options)
    for path in tmp_path.glob("checkpoints/step-*"):
        if int(path.stem[5:]) > 7:
            path.unlink()
    for name in ("result.json", "model.safetensors", "config.json", REPORT):
        (tmp_path / name).unlink()
    again = tuned(place, tmp_path, tuning, **options)
    assert again.train.revision == first.train.revision
    assert again.changes == first.changes


def test_a_killed_run_goes_on(place: Path, tmp_path: Path) -> None:
    maker = Path(__file__).with_name("tuning_makers.py")
    environment = {**os.environ, "PYTHONPATH": str(maker.parent.parent), "OMP_NUM_THREADS": "1"}
    arguments = [place / "base", place / "new", place / "old", tmp_path / "killed", "0"]
    process = subprocess.Popen([sys.executable, str(maker), *map(str, arguments)], env=environment)
    try:
        while process.poll() is None and not list(tmp_path.glob("killed/checkpoints/*-*4.json")):
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        code = process.wait()
    assert code == -signal.SIGKILL
    assert not (tmp_path / "killed" / "result.json").exists()
    for name in ("killed", "whole"):
        tuned(place, tmp_path / name, max_steps=16, checkpoint_minutes=1e-9)
    weights = [
        sha256_of_file(tmp_path / name / "model.safetensors") for name in ("killed", "whole")
    ]
    assert weights[0] == weights[1]


def test_other_settings_models_and_corpora_are_refused(place: Path, tmp_path: Path) -> None:
    tuned(place, tmp_path / "run", max_steps=1)
    with pytest.raises(IsoglossError, match=r"tuning\.layer_decay = 0\.9, this one has 0\.5"):
        tuned(place, tmp_path / "run", Tuning(layer_decay=0.5), max_steps=1)
    other = voiced_corpus(tmp_path / "other", OLD, counts=(9, 0, 3))
    with pytest.raises(IsoglossError, match="corpus with sha"):
        tuned(place, tmp_path / "run", old=other, max_steps=1)
    with pytest.raises(IsoglossError, match="the model itself"):
        tuned(place, place / "base")


def test_a_corpus_without_test_items_says_how_to_make_them(place: Path, tmp_path: Path) -> None:
    bare = voiced_corpus(tmp_path / "bare", OLD, counts=(9, 0, 0))
    with pytest.raises(IsoglossError, match=r"old corpus.*splits there: train.*corpus split"):
        tuned(place, tmp_path / "run", old=bare)
    assert not (tmp_path / "run").exists()


def test_without_replay_it_is_said_what_that_means(place: Path, tmp_path: Path) -> None:
    found = tuned(place, tmp_path, old=None, max_steps=1, split="dev", test_items=2)
    assert "neither measured nor prevented" in found.warnings[0]
    assert [(c.corpus, c.items) for c in found.changes] == [("new", 2)]
    assert found.changes[0].before.low is None


def test_transcripts_must_fit_the_model(place: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="one output"):
        tuned(place, tmp_path, transcripts="both")
    with pytest.raises(ValueError, match="tagged"):
        tuned(place, tmp_path, transcripts="tagged")
    with pytest.raises(ValueError, match="no setting of fine-tuning"):
        FinetuneConfig(settings={"size": "tiny"})


def test_a_public_model_without_notes_on_its_training_is_tuned(tmp_path: Path) -> None:
    place = tmp_path
    voiced_corpus(place / "old", OLD, counts=(6, 0, 3))
    voiced_corpus(place / "new", NEW, counts=(6, 0, 3))
    # What `speech import` writes: no extra, symbols of a public table.
    from isogloss.speech.ctc import CtcModel
    from training.tones import small_shape

    model = CtcModel(small_shape(), 6)
    tokenizer = Tokenizer((BLANK, "<sos/eos>", UNKNOWN, "天", "地", "THE"))
    save_model(place / "base", model, tokenizer, model.config)
    found = tuned(place, tmp_path / "run", max_steps=2)
    assert set(found.added_units) == set("人水木金土")
    assert load_model(tmp_path / "run").extra["transcripts"] == "standard"


def test_defaults_follow_the_optimiser_and_lora(place: Path) -> None:
    loaded = load_model(place / "base")
    plain = FinetuneConfig(settings={"epochs": 1.0})
    assert plain.train_config(loaded).base_lr == 0.004
    assert replace(plain, optimiser="adamw").train_config(loaded).base_lr == 1e-4
    lora = replace(plain, tuning=Tuning(lora_rank=2)).train_config(loaded)
    assert (lora.optimiser, lora.base_lr) == ("adamw", 1e-3)
    assert lora.tuning is not None
    assert lora.tuning.alpha == 4.0
