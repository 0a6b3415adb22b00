"""The training loop: a corpus and a `TrainConfig` in, a folder with a model out.

    manifest -> choose_items -> FeatureStore -> plan_epoch -> Batch -> objective -> optimiser

A run can be killed at any moment: the same call goes on from the last checkpoint and ends, on a
CPU, in the same weights bit for bit. For that everything random is drawn from (seed, epoch,
batch), the number of steps and threads is fixed once, and files are whole or absent: see `engine`.
"""

from __future__ import annotations

import contextlib
import math
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import torch

from isogloss._files import write_json
from isogloss.speech.scaling import load_regulariser_state, regulariser_state, set_batch_count
from isogloss.training.batches import make_batch, plan_epoch
from isogloss.training.collective import StepSum
from isogloss.training.engine import NonFiniteLoss, Run, seed_step
from isogloss.training.examples import choose_items, count_reasons, drawn
from isogloss.training.learner import (
    losses_of,
    make_model,
    make_objective,
    make_optimizer,
    write_model,
)
from isogloss.training.optim import Cosine, Eden, Linear
from isogloss.training.prepare import (
    PLAN,
    Material,
    claim_folder,
    prepare_material,
    recorded,
    same_or_refuse,
)
from isogloss.training.process import make_accelerator, settled_process
from isogloss.training.replay import epoch_members, with_replay
from isogloss.training.result import RESULT, TrainResult, finished_result
from isogloss.training.texts import TextPlan
from isogloss.training.tuning import TRAINED_BATCHES
from isogloss.training.validate import measure_cer

if TYPE_CHECKING:
    from pathlib import Path

    from isogloss.training.batches import Batch
    from isogloss.training.config import TrainConfig
    from isogloss.training.engine import Parts
    from isogloss.training.journal import Journal
    from isogloss.training.state import Position
    from isogloss.varieties import VarietyTable

__all__ = ["NonFiniteLoss", "TrainResult", "train"]


def train(
    config: TrainConfig,
    *,
    corpus: Path,
    folder: Path,
    replay: Path | None = None,
    table: VarietyTable | None = None,
    quiet: bool = False,
) -> TrainResult:
    """Train a speech encoder with CTC and write it to `folder`, or go on with a run that is there.

    `folder` gets `model.safetensors`, `config.json` and `tokens.txt` (averaged weights),
    `train_config.json`, `train.jsonl` (log), `skipped.json`, `result.json`, `checkpoints/` and
    `features-*/`. A run that is finished comes back at once.

    Items that cannot be used (unreadable or damaged audio, too long, too short for their text, no
    text, unknown variety) are left out and listed in the result.

    Args:
        config: how to train.
        corpus: JSONL manifest, or the folder with `manifest.jsonl`.
        folder: of the run; made if absent.
        replay: manifest of an old corpus that is mixed in as `config.tuning` says.
        table: varieties that exist; None is the built-in table.
        quiet: say nothing on stderr.

    Raises:
        ValueError: `replay` without `config.tuning`.
        IsoglossError: no item is usable; `folder` holds a run with other settings or another
            corpus, or another process trains in it.
        NonFiniteLoss: with the ids of the batch; the last checkpoint stays.
        MissingExtra: a package of the extra `speech` is not installed.

    Source: the recipe of icefall's Zipformer (Yao et al. 2024) and CR-CTC (Yao et al. 2025).
    """
    began = time.monotonic()
    config.encoder()  # a wrong size is told before the corpus is read
    if replay is not None and config.tuning is None:
        raise ValueError("replay is for runs with tuning; see isogloss.training.finetune")
    accelerator = make_accelerator(config)
    main = accelerator.is_main_process
    with contextlib.ExitStack() as stack:
        if main:
            stack.enter_context(claim_folder(folder))
        texts = TextPlan.of(config)
        chosen = choose_items(corpus, texts, table=table)
        if replay is not None and config.tuning is not None:
            old = choose_items(replay, texts, table=table)
            chosen = with_replay(chosen, old, config.tuning, seed=config.seed)
        if main:
            same_or_refuse(config, chosen.sha, folder)
        finished = finished_result(folder)
        if finished is not None:
            return finished
        # Before anybody can have written it: all processes must see the same.
        plan = recorded(folder / PLAN) or {}
        if main:
            material = prepare_material(config, chosen, texts, folder, progress=not quiet)
        accelerator.wait_for_everyone()
        if not main:
            material = prepare_material(config, chosen, texts, folder, progress=False)
        stack.enter_context(settled_process(config, plan.get("threads")))
        run = _SpeechRun(config, material, folder, accelerator, quiet)
        run.fix_length(plan, began)
        stack.enter_context(run.together.watched())
        run.to_end()
        return run.written(chosen.sha)


class _SpeechRun(Run):
    """The run of a speech encoder."""

    def __init__(
        self,
        config: TrainConfig,
        material: Material,
        folder: Path,
        accelerator: Any,
        quiet: bool,
    ) -> None:
        self.config = config
        self.material = material
        torch.manual_seed(config.seed)
        model = make_model(config, material).to(accelerator.device)
        super().__init__(
            config,
            model=model,
            optimizer=make_optimizer(config, model),
            folder=folder,
            accelerator=accelerator,
            micro_batches=config.micro_batches or accelerator.num_processes,
            quiet=quiet,
        )
        self.model = model
        self.dev_cer: float | None = None
        self.seconds = [example.seconds for example in material.examples]

    def batches(self, epoch: int) -> list[Parts]:
        """The plan of an epoch: for each step, the micro-batches of this process."""
        share = self.config.tuning.replay_share if self.config.tuning else 0.0
        members = epoch_members(
            self.seconds, self.material.replayed, share, seed=self.config.seed, epoch=epoch
        )
        dealt = [
            plan_epoch(
                [self.seconds[i] for i in members],
                max_batch_seconds=self.config.max_batch_seconds,
                buckets=self.config.buckets,
                seed=self.config.seed,
                epoch=epoch,
                rank=slot,
                world_size=self.micro_batches,
            )
            for slot in self.slots
        ]
        return [
            tuple(tuple(members[i] for i in part) for part in parts)
            for parts in zip(*dealt, strict=True)
        ]

    def found(self) -> dict[str, int]:
        """Utterances and frames, which a resumed run must find again."""
        return {"utterances": len(self.material.examples), "frames": self.material.frames}

    def size(self, part: tuple[int, ...]) -> float:
        """Seconds of a micro-batch."""
        return sum(self.seconds[i] for i in part)

    def rate(self, position: Position) -> float:
        """The learning rate by batch and epoch."""
        config = self.config
        warmup = min(config.warmup, self.steps // 10)
        if config.schedule == "eden":
            eden = Eden(config.base_lr, config.lr_batches, config.lr_epochs, warmup)
            return eden(position.step, position.epoch)
        kind = Cosine if config.schedule == "cosine" else Linear
        return kind(config.base_lr, self.steps, warmup)(position.step, position.epoch)

    def enter_step(self, position: Position) -> None:
        """Set the count that the encoder's schedules of dropout and layer skipping follow."""
        seen = position.audio_seconds / 600.0
        aimed = self.config.regulariser_batches * position.step / self.steps
        trained = TRAINED_BATCHES if self.config.tuning else 0.0
        set_batch_count(self.plain, max(seen, aimed, trained))

    def batch(self, indices: tuple[int, ...], epoch: int) -> Batch:
        """Utterances by number, with what the losses of this run learn from."""
        examples = [self.material.examples[i] for i in indices]
        if self.config.transcripts == "tagged":
            examples = drawn(examples, seed=self.config.seed, epoch=epoch)
        return make_batch(
            examples,
            self.material.store,
            teacher=self.material.teacher,
            losses=losses_of(self.config),
        )

    def learn(self, indices: tuple[int, ...], slot: int, position: Position) -> StepSum:
        """The loss of one micro-batch, its gradient added to those that are there."""
        batch = self.batch(indices, position.epoch)
        seed = (self.config.seed, position.epoch, position.batch, slot)
        seed_step(seed)
        # Rates that training changes belong to a place in the step, whoever computes it.
        if slot in self.rules:
            load_regulariser_state(self.plain, self.rules[slot])
        with self.accelerator.autocast():
            loss = make_objective(self.config, self.model, self.steps)(
                self.plain, batch.to(self.accelerator.device), seed=seed, step=position.step
            )
        if math.isfinite(float(loss.total.detach())):
            loss.total.backward()  # type: ignore[no-untyped-call]
        if self.micro_batches > 1:
            self.rules[slot] = regulariser_state(self.plain)
        done = StepSum()
        done.take(loss, batch)
        return done

    def introduce(self, journal: Journal) -> None:
        """Say what is trained on, write down what is left out."""
        material = self.material
        if self.accelerator.is_main_process:
            left_out = [asdict(entry) for entry in material.skipped]
            write_json(self.folder / "skipped.json", left_out)
        hours = sum(self.seconds) / 3600
        journal.say(
            f"{len(material.examples)} utterances, {hours:.2f} h, "
            f"{material.tokenizer.vocab_size} units; {self.steps} steps on "
            f"{self.accelerator.device} with {torch.get_num_threads()} threads"
        )
        if material.skipped:
            journal.say(f"left out: {count_reasons(material.skipped)} (see skipped.json)")
        if self.position.step:
            journal.say(f"going on from step {self.position.step}")

    def measure(self, journal: Journal) -> None:
        """CER of the present weights on the split dev, where there is one."""
        material = self.material
        self.dev_cer = None
        if material.dev_store is None or not material.dev or not self.accelerator.is_main_process:
            return
        measured = measure_cer(
            self.model, material.tokenizer, material.dev, material.dev_texts, material.dev_store
        )
        counts = {
            name: measured.signature[name] for name in ("substitutions", "deletions", "insertions")
        }
        journal.record("dev", self.position, {"cer": measured.value, "n": measured.n, **counts})
        journal.say(
            f"epoch {self.position.epoch}: CER {100 * measured.value:.1f} % on {measured.n} items"
        )
        self.dev_cer = measured.value

    def written(self, corpus_sha: str) -> TrainResult:
        """Write the model and `result.json`."""
        config, position, material = self.config, self.position, self.material
        described = {
            "corpus_sha": corpus_sha,
            "steps": position.step,
            "audio_seconds": round(position.audio_seconds, 2),
            "seed": config.seed,
        }
        revision = ""
        if self.accelerator.is_main_process:
            revision = write_model(config, self.model, material, self.folder, described)
        result = TrainResult(
            folder=self.folder,
            steps=position.step,
            epochs=position.epoch,
            loss=position.loss,
            utterances=len(material.examples),
            audio_seconds=position.audio_seconds,
            train_seconds=position.train_seconds,
            revision=revision,
            skipped=material.skipped,
            dev_cer=self.dev_cer,
        )
        if self.accelerator.is_main_process:
            write_json(self.folder / RESULT, result.to_dict())
        return result
