from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from isogloss.errors import IsoglossError
from isogloss.training.collective import Collective, LostProcess, StepSum
from isogloss.training.journal import Journal
from isogloss.training.loop import train
from isogloss.training.state import Position
from training.tones import config, tone_corpus

torch.set_num_threads(1)

# Everything random and everything that keeps state is on.
BUSY: dict[str, Any] = {"objective": "cr-ctc", "transcripts": "both", "average_from": 0.8}
LOSSES: dict[str, Any] = {
    "inter_ctc": 0.4,
    "pooled_teacher": 1.0,
    "contrastive": 0.5,
    "contrastive_text": "dialect",
}
BROKEN = {
    "id": "broken",
    "variety": "cmn",
    "audio": "audio/none.wav",
    "transcript": "天",
    "split": "train",
}
LAUNCH = (
    # With --cpu, accelerate starts one process, whatever --num_processes says.
    *(sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu"),
    *("--num_machines", "1", "--main_process_port", "0"),
    *("--mixed_precision", "no", "--dynamo_backend", "no", "--num_processes", "2"),
)


@pytest.fixture(scope="module")
def tones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tone_corpus(tmp_path_factory.mktemp("tones"), count=48, extra=[BROKEN])


def as_toml(values: dict[str, Any]) -> str:
    lines, tables = [], []
    for name, value in values.items():
        if isinstance(value, dict):
            tables.append(f"[{name}]\n{as_toml(value)}")
        elif value is not None:
            lines.append(f"{name} = {json.dumps(value)}\n")  # of these types JSON is TOML
    return "".join([*lines, *tables])


def environment() -> dict[str, str]:
    root = str(Path(__file__).parent.parent)
    return {**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


def losses(folder: Path) -> list[float]:
    lines = (folder / "train.jsonl").read_text(encoding="utf-8").splitlines()
    return [entry["loss"] for entry in map(json.loads, lines) if entry["kind"] == "train"]


def test_two_processes_learn_what_one_does_with_the_same_global_batch(
    tones: Path, tmp_path: Path
) -> None:
    settings = config(**BUSY, **LOSSES, max_steps=50, micro_batches=2, log_steps=1)
    one = train(settings, corpus=tones, folder=tmp_path / "one", quiet=True)
    # As a user starts it; that an item was left out is no crash of a process.
    options = tmp_path / "options.toml"
    options.write_text(as_toml(settings.to_dict()), encoding="utf-8")
    command = ["-m", "isogloss", "speech", "train", str(tones), "--out", str(tmp_path / "two")]
    ended = subprocess.run(
        [*LAUNCH, *command, "--config", str(options), "--json"],
        env=environment(),
        check=True,
        capture_output=True,
        text=True,
        timeout=300,
    )
    two = json.loads(ended.stdout)  # printed by one process
    assert [entry["id"] for entry in two["skipped"]] == ["broken"]
    assert one.steps == two["steps"] == 50
    assert one.audio_seconds == pytest.approx(two["audio_seconds"])
    alone, together = losses(tmp_path / "one"), losses(tmp_path / "two")
    assert len(alone) == len(together) == 50
    assert together == pytest.approx(alone, rel=1e-4)


def test_one_process_keeps_the_log(tmp_path: Path) -> None:
    first = Journal(tmp_path, 4, 0, tensorboard=False, quiet=True)
    second = Journal(tmp_path, 4, 0, tensorboard=False, quiet=True, writes=False)
    for journal in (first, second):
        with journal:
            journal.record("train", Position(step=1), {"loss": 1.0})
    assert losses(tmp_path) == [1.0]


def test_a_killed_process_ends_the_run_with_a_message_and_the_run_resumes(
    tones: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    settings = {**BUSY, "max_steps": 24, "micro_batches": 2}
    arguments = [f"{k}={v!r}" for k, v in {**settings, "checkpoint_minutes": 1e-9}.items()]
    maker = Path(__file__).with_name("tones.py")
    run = subprocess.Popen(
        [*LAUNCH, str(maker), str(tones), str(folder), *arguments],
        env=environment(),
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        while len(list(folder.glob("checkpoints/step-*.json"))) < 2 and run.poll() is None:
            time.sleep(0.02)
        workers = [pid for pid in children(run.pid) if "tones.py" in command_of(pid)]
        os.kill(max(workers), signal.SIGKILL)
        _, said = run.communicate(timeout=120)
    finally:
        run.kill()
    assert run.returncode != 0
    assert "another process of this run has ended" in said
    assert "repeat the command" in said
    assert not (folder / "result.json").exists()
    # One process takes over the work of two.
    resumed = train(config(**settings), corpus=tones, folder=folder, quiet=True)
    whole = train(config(**settings), corpus=tones, folder=tmp_path / "whole", quiet=True)
    assert resumed.steps == whole.steps == 24
    assert resumed.loss == pytest.approx(whole.loss, rel=1e-4)


def children(parent: int) -> list[int]:
    """Processes started by `parent`, and by those."""
    found = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(parent)], capture_output=True, text=True, check=False
    )
    direct = [int(pid) for pid in found.stdout.split()]
    return [*direct, *(pid for child in direct for pid in children(child))]


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode().replace("\0", " ")
    except OSError:
        return ""


def test_micro_batches_are_dealt_in_turn() -> None:
    assert Collective(0, 1, torch.device("cpu")).slots(3) == (0, 1, 2)
    assert Collective(1, 2, torch.device("cpu")).slots(4) == (1, 3)


def test_a_number_of_processes_that_does_not_divide_is_refused() -> None:
    with pytest.raises(IsoglossError, match="4 micro-batches, which 3 processes cannot share"):
        Collective(0, 3, torch.device("cpu")).slots(4)


def test_one_process_changes_no_gradient() -> None:
    parameter = torch.nn.Parameter(torch.ones(2))
    parameter.grad = torch.tensor([1.0, 2.0])
    Collective(0, 1, torch.device("cpu")).sum_gradients([parameter])
    assert parameter.grad.tolist() == [1.0, 2.0]


def test_sums_of_steps_add_up() -> None:
    total = StepSum(1.0, 2, 3.0, {"ctc": 1.0}, ("a",), (), due=True)
    total.join(StepSum(2.0, 3, 4.0, {"ctc": 1.0, "cr": 0.5}, ("b",), ("b",)))
    assert (total.total, total.steps, total.audio_seconds) == (3.0, 5, 7.0)
    assert total.parts == {"ctc": 2.0, "cr": 0.5}
    assert (total.ids, total.broken, total.due) == (("a", "b"), ("b",), True)


def test_the_order_to_stop_becomes_a_message() -> None:
    together = Collective(0, 2, torch.device("cpu"))
    with pytest.raises(LostProcess, match="repeat the command"), together.watched():
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(1)


def test_gradient_accumulation_sums_over_micro_batches(tones: Path, tmp_path: Path) -> None:
    """Two micro-batches of half the data are one batch, but for what looks at a batch at a time."""
    result = train(config(max_steps=4, micro_batches=3), corpus=tones, folder=tmp_path, quiet=True)
    plan = json.loads((tmp_path / "plan.json").read_text(encoding="utf-8"))
    assert plan["micro_batches"] == 3
    assert result.audio_seconds > 4 * 2 * 2.0
