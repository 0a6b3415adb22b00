from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from isogloss._files import sha256_of_file
from isogloss.errors import IsoglossError
from isogloss.speech.checkpoint import load_model
from isogloss.training import learner, loop
from isogloss.training.loop import NonFiniteLoss, train
from training.tones import config, tone_corpus

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def tones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tone_corpus(tmp_path_factory.mktemp("tones"))


def run(tones: Path, folder: Path, **changes: Any) -> loop.TrainResult:
    return train(config(**changes), corpus=tones, folder=folder, quiet=True)


def records(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "train.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


# Options that switch on everything that holds state or draws random numbers.
BUSY = {"objective": "cr-ctc", "speeds": (1.0, 1.1), "max_steps": 24, "transcripts": "both"}


def killed(tones: Path, folder: Path, ready: Any, seconds: float) -> None:
    """Start the run in a process of its own and kill it `seconds` after `ready()`."""
    settings = {**BUSY, "checkpoint_minutes": 1e-9}
    arguments = [f"{name}={value!r}" for name, value in settings.items()]
    maker = Path(__file__).with_name("tones.py")
    environment = {**os.environ, "PYTHONPATH": str(maker.parent.parent), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [
            sys.executable,
            str(maker),
            str(tones),
            str(folder),
            "checkpoint_minutes=1e-9",
            *arguments,
        ],
        env=environment,
    )
    try:
        while not ready() and process.poll() is None:
            time.sleep(0.01)
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        code = process.wait()
    assert code == -signal.SIGKILL, f"the run ended with {code} before it was killed"


def steps_saved(folder: Path) -> int:
    return max((int(p.stem[5:]) for p in folder.glob("checkpoints/step-*.json")), default=0)


def test_killed_three_times_and_resumed_gives_the_same_weights(tones: Path, tmp_path: Path) -> None:
    run(tones, tmp_path / "whole", **BUSY)
    folder = tmp_path / "killed"
    # Unseeded on purpose: any moment must do.
    jitter = random.SystemRandom()
    killed(tones, folder, lambda: (folder / ".lock").exists(), jitter.uniform(0, 0.3))
    killed(tones, folder, lambda: steps_saved(folder) >= 3, jitter.uniform(0, 0.2))
    first = steps_saved(folder)
    killed(tones, folder, lambda: steps_saved(folder) >= first + 3, jitter.uniform(0, 0.2))
    assert 6 <= steps_saved(folder) < 24
    result = run(tones, folder, **BUSY)
    assert sha256_of_file(folder / "model.safetensors") == sha256_of_file(
        tmp_path / "whole" / "model.safetensors"
    )
    whole = json.loads((tmp_path / "whole" / "result.json").read_text(encoding="utf-8"))
    assert result.steps == whole["steps"] == 24
    assert result.audio_seconds == whole["audio_seconds"]
    # The log reads as if nothing had happened.
    assert [entry["step"] for entry in records(folder)] == [10, 20, 24]


def test_it_learns_what_the_tones_say(tones: Path, tmp_path: Path) -> None:
    before = run(tones, tmp_path / "a", max_steps=1, dev_minutes=1.0)
    after = run(
        tones,
        tmp_path / "b",
        max_steps=100,
        dev_minutes=1.0,
        specaugment=False,
        max_batch_seconds=10.0,
        warmup=10,
    )
    assert after.loss < 0.4 * before.loss
    assert after.dev_cer is not None
    assert after.dev_cer < 0.5


def test_the_folder_holds_a_model_that_loads(tones: Path, tmp_path: Path) -> None:
    result = run(tones, tmp_path, epochs=1.5, tensorboard=True)
    loaded = load_model(tmp_path)
    assert loaded.revision == result.revision
    assert loaded.extra["transcripts"] == "standard"
    assert loaded.tokenizer.vocab_size == 7
    assert result.utterances == 20
    assert result.skipped == ()
    assert list((tmp_path / "tensorboard").iterdir())
    assert [entry["kind"] for entry in records(tmp_path)][-1] == "train"
    assert json.loads((tmp_path / "train_config.json").read_text())["config"]["epochs"] == 1.5
    # The same call again does nothing and says the same.
    written = (tmp_path / "model.safetensors").stat().st_mtime_ns
    assert run(tones, tmp_path, epochs=1.5) == result
    assert (tmp_path / "model.safetensors").stat().st_mtime_ns == written


def test_same_seed_same_weights_other_seed_others(tones: Path, tmp_path: Path) -> None:
    revisions = [
        run(tones, tmp_path / name, seed=seed, max_steps=3).revision
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    ]
    assert revisions[0] == revisions[1] != revisions[2]


def test_the_callers_random_numbers_and_threads_are_left_alone(tones: Path, tmp_path: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    run(tones, tmp_path, max_steps=2)
    assert torch.equal(torch.rand(3), expected)
    assert torch.get_num_threads() == 1


@pytest.mark.parametrize(
    ("changes", "key"), [({"base_lr": 0.02}, "base_lr"), ({"max_steps": 9}, "max_steps")]
)
def test_another_config_is_refused_with_its_key(
    tones: Path, tmp_path: Path, changes: dict[str, Any], key: str
) -> None:
    run(tones, tmp_path, max_steps=2)
    with pytest.raises(IsoglossError, match=f"{key} = "):
        run(tones, tmp_path, **{"max_steps": 2, **changes})


def test_another_corpus_is_refused(tones: Path, tmp_path: Path) -> None:
    run(tones, tmp_path / "run", max_steps=2)
    other = tone_corpus(tmp_path / "other", count=18)
    with pytest.raises(IsoglossError, match="corpus with sha"):
        run(other, tmp_path / "run", max_steps=2)


def test_settings_that_change_nothing_may_differ(tones: Path, tmp_path: Path) -> None:
    first = run(tones, tmp_path, max_steps=2)
    assert run(tones, tmp_path, max_steps=2, keep=5, checkpoint_minutes=1.0) == first


def test_two_runs_in_one_folder_are_refused(tones: Path, tmp_path: Path) -> None:
    from isogloss.training.prepare import claim_folder

    with claim_folder(tmp_path), pytest.raises(IsoglossError, match="another process"):
        run(tones, tmp_path)


def test_minutes_decide_the_steps_once(tones: Path, tmp_path: Path) -> None:
    began = time.monotonic()
    result = run(tones, tmp_path, minutes=0.05)
    took = time.monotonic() - began
    assert result.steps == json.loads((tmp_path / "plan.json").read_text())["steps"] >= 1
    # Generous: other processes may take the machine while this one measures or trains.
    assert 0.5 < took < 60.0
    # The machine may be faster or slower when the run goes on: the number is not measured again.
    (tmp_path / "result.json").unlink()
    plan = json.loads((tmp_path / "plan.json").read_text())
    (tmp_path / "plan.json").write_text(json.dumps({**plan, "steps": result.steps + 1}))
    assert run(tones, tmp_path, minutes=0.05).steps == result.steps + 1


def test_a_loss_that_is_not_finite_names_the_items(
    tones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_batch = loop.make_batch

    def poisoned(examples: Any, store: Any, **options: Any) -> Any:
        batch = make_batch(examples, store, **options)
        if "u7" in batch.ids:
            batch.features[batch.ids.index("u7"), 3, 5] = float("nan")
        return batch

    monkeypatch.setattr(loop, "make_batch", poisoned)
    with pytest.raises(NonFiniteLoss, match="u7") as caught:
        run(tones, tmp_path, epochs=2)
    assert "u7" in caught.value.ids
    assert not (tmp_path / "model.safetensors").exists()


def test_adamw_and_eden_run(tones: Path, tmp_path: Path) -> None:
    options = {"optimiser": "adamw", "base_lr": 0.001, "warmup": 0}
    found = {
        name: run(tones, tmp_path / name, max_steps=2, schedule=name, **options)
        for name in ("eden", "linear")
    }
    assert len({result.revision for result in found.values()}) == 2
    # After one of two steps the line has halved; Eden counts in thousands.
    rates = {name: records(tmp_path / name)[-1]["lr"] for name in found}
    assert rates["linear"] == pytest.approx(0.0005)
    assert rates["eden"] == pytest.approx(0.001, rel=0.02)


def test_bf16_is_near_fp32(tones: Path, tmp_path: Path) -> None:
    losses = [
        run(tones, tmp_path / name, max_steps=2, precision=name).loss for name in ("fp32", "bf16")
    ]
    assert losses[1] == pytest.approx(losses[0], rel=0.05)
    # The same to the last digit would mean that the precision was not heeded.
    assert losses[1] != losses[0]


def test_training_starts_from_another_model(tones: Path, tmp_path: Path) -> None:
    run(tones, tmp_path / "a", max_steps=2)
    run(
        tones,
        tmp_path / "b",
        max_steps=1,
        base_lr=1e-9,
        start_from=str(tmp_path / "a"),
        transcripts="dialect",
        average_from=1.0,
    )
    a, b = (load_model(tmp_path / name).model.state_dict() for name in "ab")
    for name, tensor in a.items():
        torch.testing.assert_close(b[name], tensor, rtol=1e-4, atol=1e-6)


def test_a_model_of_another_shape_is_no_start(tones: Path, tmp_path: Path) -> None:
    run(tones, tmp_path / "a", max_steps=1)
    with pytest.raises(IsoglossError, match="another shape"):
        run(tones, tmp_path / "b", shape=None, size="tiny", start_from=str(tmp_path / "a"))


def test_recordings_that_changed_since_are_noticed(tmp_path: Path) -> None:
    tones = tone_corpus(tmp_path / "tones")
    run(tones, tmp_path / "run", max_steps=2)
    (tmp_path / "run" / "result.json").unlink()
    (tmp_path / "tones" / "audio" / "0.wav").write_bytes(
        (tmp_path / "tones" / "audio" / "1.wav").read_bytes()
    )
    with pytest.raises(IsoglossError, match="recordings changed"):
        run(tones, tmp_path / "run", max_steps=2)


def test_broken_items_are_left_out_and_counted(tmp_path: Path) -> None:
    folder = tmp_path / "tones"
    audio = folder / "audio"
    good = {"variety": "cmn", "transcript": "天", "translation": "天", "split": "train"}
    broken = [
        {"id": "truncated", "audio": "audio/truncated.wav", **good},
        {"id": "text", "audio": "audio/text.wav", **good},
        {"id": "empty", "audio": "audio/empty.mp3", **good},
        {"id": "missing", "audio": "audio/missing.flac", **good},
        {"id": "u0", "audio": "audio/1.wav", **good},
        {"id": "nowhere", "audio": "audio/1.wav", **good, "variety": "xx-unknown"},
        {"id": "silent", "audio": "audio/1.wav", **good, "transcript": "", "translation": ""},
        {"id": "wordy", "audio": "audio/1.wav", **good, "translation": "天地" * 40},
    ]
    tones = tone_corpus(folder, count=12, extra=broken)
    audio.joinpath("truncated.wav").write_bytes((audio / "1.wav").read_bytes()[:3000])
    audio.joinpath("text.wav").write_text("no sound")
    audio.joinpath("empty.mp3").write_bytes(b"")
    result = run(tones, tmp_path / "run", max_steps=2)
    counts = {}
    for entry in result.skipped:
        counts[entry.reason] = counts.get(entry.reason, 0) + 1
    assert counts == {
        "audio cannot be read": 4,
        "bad id in the manifest": 1,
        "bad variety in the manifest": 1,
        "no transcript": 1,
        "too short for its transcript": 1,
    }
    assert "4 x audio cannot be read" in result.skipped_counts
    written = json.loads((tmp_path / "run" / "skipped.json").read_text(encoding="utf-8"))
    assert len(written) == 8
    assert all(entry["detail"] for entry in written)


def test_checkpoints_come_by_the_clock_not_by_the_epoch(tones: Path, tmp_path: Path) -> None:
    result = run(tones, tmp_path, epochs=4, keep=9)
    assert result.epochs == 4
    assert [int(p.stem[5:]) for p in tmp_path.glob("checkpoints/*.json")] == [result.steps]


def test_a_run_that_never_began_may_be_mended(tones: Path, tmp_path: Path) -> None:
    with pytest.raises(IsoglossError, match="no item can be trained on"):
        run(tones, tmp_path, max_steps=2, min_seconds=2.9)
    assert run(tones, tmp_path, max_steps=2).steps == 2


def test_a_finished_run_may_move(tones: Path, tmp_path: Path) -> None:
    run(tones, tmp_path / "a", max_steps=2)
    (tmp_path / "a").rename(tmp_path / "b")
    assert run(tones, tmp_path / "b", max_steps=2).folder == tmp_path / "b"


def test_what_a_kill_left_half_written_goes(tones: Path, tmp_path: Path) -> None:
    left = [tmp_path / "features-0" / ".values.f32.ab12", tmp_path / ".plan.json.ab12"]
    left += [tmp_path / "checkpoints" / ".step-000000001.safetensors.ab12"]
    for path in left:
        path.parent.mkdir(exist_ok=True)
        path.write_text("half")
    run(tones, tmp_path, max_steps=1)
    assert not any(path.exists() for path in left)


def test_a_file_is_no_folder_of_a_run(tones: Path, tmp_path: Path) -> None:
    (tmp_path / "run").write_text("x")
    with pytest.raises(IsoglossError, match="is a file"):
        run(tones, tmp_path / "run")


def test_a_gradient_that_is_not_finite_names_the_items(
    tones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Poisoned(learner.ScaledAdam):
        def step(self, closure: Any = None) -> None:
            self.param_groups[0]["params"][0].grad[...] = float("nan")
            super().step(closure)

    monkeypatch.setattr(learner, "ScaledAdam", Poisoned)
    with pytest.raises(NonFiniteLoss, match=r"at step 0 .* items u\d+") as caught:
        run(tones, tmp_path)
    assert caught.value.ids
    assert not (tmp_path / "model.safetensors").exists()
