"""The training loop: a corpus and a `TrainConfig` in, a folder with a model out.

    manifest -> choose_items -> FeatureStore -> plan_epoch -> Batch -> objective -> optimiser

A run can be killed at any moment: the same call goes on from the last checkpoint and ends, on a
CPU, in the same weights bit for bit. For that everything random is drawn from (seed, epoch,
batch), the number of steps and threads is fixed once, and files are whole or absent.
"""

from __future__ import annotations

import contextlib
import copy
import math
import time
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from isogloss._files import write_json
from isogloss.errors import IsoglossError
from isogloss.speech.scaling import load_regulariser_state, regulariser_state, set_batch_count
from isogloss.training.batches import make_batch, plan_epoch
from isogloss.training.collective import Collective, StepSum
from isogloss.training.examples import choose_items, count_reasons, drawn
from isogloss.training.journal import Journal, Meter
from isogloss.training.learner import (
    losses_of,
    make_model,
    make_objective,
    make_optimizer,
    write_model,
)
from isogloss.training.optim import (
    Cosine,
    Eden,
    Linear,
    NonFiniteGradient,
    set_learning_rate,
)
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
from isogloss.training.state import (
    Average,
    Position,
    load_checkpoint,
    newest_checkpoint,
    save_checkpoint,
)
from isogloss.training.texts import TextPlan
from isogloss.training.tuning import TRAINED_BATCHES
from isogloss.training.validate import measure_cer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from isogloss.training.batches import Batch
    from isogloss.training.config import TrainConfig
    from isogloss.training.objectives import Loss
    from isogloss.varieties import VarietyTable

__all__ = ["NonFiniteLoss", "TrainResult", "train"]


class NonFiniteLoss(IsoglossError):
    """Loss or gradient became NaN or infinite; `ids` are the items of the batch."""

    def __init__(self, what: str, ids: Sequence[str], position: Position) -> None:
        listed = ", ".join(ids[:40]) + (", ..." if len(ids) > 40 else "")
        super().__init__(
            f"{what} at step {position.step} (epoch {position.epoch}, batch {position.batch}), "
            f"items {listed}; nothing was changed by this batch. Check these recordings, or train "
            "with a lower base_lr or a longer warmup"
        )
        self.ids = tuple(ids)


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
        run = _Run(config, material, folder, accelerator, quiet)
        run.fix_length(plan, began)
        stack.enter_context(run.together.watched())
        return run.to_end(chosen.sha)


class _Run:
    """Model, optimiser and place of one run."""

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
        self.folder = folder
        self.accelerator = accelerator
        self.quiet = quiet or not accelerator.is_main_process
        torch.manual_seed(config.seed)
        model = make_model(config, material).to(accelerator.device)
        self.plain = model
        self.optimizer = make_optimizer(config, model)
        self.together = Collective(
            accelerator.process_index, accelerator.num_processes, accelerator.device
        )
        self.micro_batches = config.micro_batches or accelerator.num_processes
        self.slots: tuple[int, ...] = ()
        self.rules: dict[int, dict[str, float]] = {}
        self.average = Average()
        self.position = Position()
        self.steps = 0
        self.seconds = [example.seconds for example in material.examples]

    def batches(self, epoch: int) -> list[tuple[tuple[int, ...], ...]]:
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

    def fix_length(self, plan: dict[str, Any], began: float) -> None:
        """Decide how many steps the run has, once; a resumed run reads what was decided."""
        found = {"utterances": len(self.material.examples), "frames": self.material.frames}
        if plan:
            different = [key for key, value in found.items() if plan[key] != value]
            if different:
                key = different[0]
                raise IsoglossError(
                    f"{self.folder}: the run began with {plan[key]} {key}, now there are "
                    f"{found[key]}: recordings changed since; choose another folder"
                )
            self.steps = plan["steps"]
            self.micro_batches = plan.get("micro_batches", 1)
            self.slots = self.together.slots(self.micro_batches)
            return
        config = self.config
        self.slots = self.together.slots(self.micro_batches)
        first = self.batches(0)
        if config.max_steps is not None:
            self.steps = config.max_steps
        elif config.epochs is not None:
            self.steps = max(1, round(config.epochs * len(first)))
        else:
            self.steps = self._steps_in_time(first, began)
        if self.accelerator.is_main_process:
            threads = torch.get_num_threads()
            decided = {
                "steps": self.steps,
                "threads": threads,
                "micro_batches": self.micro_batches,
                **found,
            }
            write_json(self.folder / PLAN, decided)
        self.steps = self.together.gather(self.steps)[0]  # what the first process measured

    def _steps_in_time(self, first: list[tuple[tuple[int, ...], ...]], began: float) -> int:
        """Steps that fit into `minutes`, from a few batches of all lengths; nothing is learnt."""
        budget = 60.0 * (self.config.minutes or 0.0)
        self.steps = len(first)
        weights = copy.deepcopy(self.plain.state_dict())
        rules = regulariser_state(self.plain)
        state = copy.deepcopy(self.optimizer.state_dict())
        by_size = sorted(
            range(len(first)), key=lambda i: sum(self.seconds[n] for part in first[i] for n in part)
        )
        tried = [by_size[-1], *(by_size[(2 * i + 1) * len(first) // 16] for i in range(8))]
        times: list[float] = []
        for index in tried:
            start = time.monotonic()
            self._step(first[index], replace(self.position, batch=index))
            times.append(time.monotonic() - start)
            # Several processes step together, so none may stop before the others.
            alone = self.accelerator.num_processes == 1
            if alone and len(times) > 3 and sum(times) > 0.05 * budget:
                break
        self.plain.load_state_dict(weights)
        self.optimizer.load_state_dict(state)
        load_regulariser_state(self.plain, rules)
        self.rules.clear()
        # The first one pays for allocations that are made once.
        seconds = sum(times[1:]) / len(times[1:])
        left = 0.97 * budget - (time.monotonic() - began)
        return max(1, int(left / seconds))

    def schedule(self) -> Eden | Cosine | Linear:
        """The learning rate by batch and epoch."""
        config = self.config
        warmup = min(config.warmup, self.steps // 10)
        if config.schedule == "eden":
            return Eden(config.base_lr, config.lr_batches, config.lr_epochs, warmup)
        kind = Cosine if config.schedule == "cosine" else Linear
        return kind(config.base_lr, self.steps, warmup)

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

    def _step(
        self, parts: tuple[tuple[int, ...], ...], position: Position, *, due: bool = False
    ) -> StepSum:
        """One step of all processes: the model changes, what the batches together gave comes out.

        `due` asks for a checkpoint; what the first process asks for is done.
        """
        seen = position.audio_seconds / 600.0
        aimed = self.config.regulariser_batches * position.step / self.steps
        trained = TRAINED_BATCHES if self.config.tuning else 0.0
        set_batch_count(self.plain, max(seen, aimed, trained))
        set_learning_rate(self.optimizer, self.schedule()(position.step, position.epoch))
        self.optimizer.zero_grad(set_to_none=True)
        local = StepSum()
        for slot, indices in zip(self.slots, parts, strict=True):
            batch = self.batch(indices, position.epoch)
            local.take(self._micro_batch(batch, slot, position), batch)
        found = self.together.gather((local, due))
        done = StepSum(due=found[0][1])
        for other, _ in found:
            done.join(other)
        if not math.isfinite(done.total):
            raise NonFiniteLoss(f"the loss is {done.total}", done.broken, position)
        self.together.sum_gradients([p for g in self.optimizer.param_groups for p in g["params"]])
        try:
            self.optimizer.step()
        except NonFiniteGradient as error:
            raise NonFiniteLoss(str(error), done.ids, position) from error
        return done

    def _micro_batch(self, batch: Batch, slot: int, position: Position) -> Loss:
        """The loss of one micro-batch, its gradient added to those that are there."""
        seed = (self.config.seed, position.epoch, position.batch, slot)
        torch.manual_seed(int(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0] >> 1))
        # Rates that training changes belong to a place in the step, whoever computes it.
        if slot in self.rules:
            load_regulariser_state(self.plain, self.rules[slot])
        with self.accelerator.autocast():
            loss = make_objective(self.config, self.plain, self.steps)(
                self.plain, batch.to(self.accelerator.device), seed=seed, step=position.step
            )
        if math.isfinite(float(loss.total.detach())):
            loss.total.backward()  # type: ignore[no-untyped-call]
        if self.micro_batches > 1:
            self.rules[slot] = regulariser_state(self.plain)
        return loss

    def to_end(self, corpus_sha: str) -> TrainResult:
        """Train what is left, then write the model."""
        checkpoints = self.folder / "checkpoints"
        newest = newest_checkpoint(checkpoints)
        if newest is not None:
            self.position = load_checkpoint(
                newest, self.plain, self.optimizer, self.average, rules=self.rules
            )
        self.plain.train()
        with Journal(
            self.folder,
            self.steps,
            self.position.step,
            tensorboard=self.config.tensorboard,
            quiet=self.quiet,
            writes=self.accelerator.is_main_process,
        ) as journal:
            self._introduce(journal)
            self._epochs(journal, checkpoints)
            dev_cer = self._measure(journal)
        self.average.apply_to(self.plain)
        return self._written(corpus_sha, dev_cer)

    def _introduce(self, journal: Journal) -> None:
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

    def _epochs(self, journal: Journal, checkpoints: Path) -> None:
        config, position = self.config, self.position
        meter = Meter()
        saved = measured = time.monotonic()
        while position.step < self.steps:
            plan = self.batches(position.epoch)
            while position.batch < len(plan) and position.step < self.steps:
                start = time.monotonic()
                due = start - saved >= 60.0 * config.checkpoint_minutes
                done = self._step(plan[position.batch], position, due=due)
                position.step += 1
                position.batch += 1
                position.audio_seconds += done.audio_seconds
                self._maybe_average()
                took = time.monotonic() - start
                position.train_seconds += took
                meter.add(done, took)
                position.loss = meter.loss
                journal.show(position, meter.loss, meter.audio_per_second)
                if position.step % self.config.log_steps == 0 or position.step == self.steps:
                    rate = self.optimizer.param_groups[0]["lr"]
                    journal.record("train", position, {"lr": rate, **meter.take()})
                if done.due:
                    self._save(checkpoints)
                    saved = time.monotonic()
            if position.batch >= len(plan):
                position.epoch, position.batch = position.epoch + 1, 0
            waited = (time.monotonic() - measured) / 60.0
            if config.dev_minutes is not None and waited >= config.dev_minutes:
                if position.step < self.steps:
                    self._measure(journal)
                measured = time.monotonic()
        # What follows, measuring and writing the model, need not cost the last minutes.
        self._save(checkpoints)

    def _maybe_average(self) -> None:
        step = self.position.step
        begins = self.config.average_from * self.steps
        if step > begins and (step % self.config.average_period == 0 or step == self.steps):
            self.average.add(self.plain)

    def _save(self, checkpoints: Path) -> None:
        rules = {slot: r for part in self.together.gather(self.rules) for slot, r in part.items()}
        if self.accelerator.is_main_process:
            save_checkpoint(
                checkpoints,
                self.position,
                self.plain,
                self.optimizer,
                self.average,
                keep=self.config.keep,
                rules=rules,
            )

    def _measure(self, journal: Journal) -> float | None:
        """CER of the present weights on the split dev, None without one."""
        material = self.material
        if material.dev_store is None or not material.dev or not self.accelerator.is_main_process:
            return None
        measured = measure_cer(
            self.plain, material.tokenizer, material.dev, material.dev_texts, material.dev_store
        )
        counts = {
            name: measured.signature[name] for name in ("substitutions", "deletions", "insertions")
        }
        journal.record("dev", self.position, {"cer": measured.value, "n": measured.n, **counts})
        journal.say(
            f"epoch {self.position.epoch}: CER {100 * measured.value:.1f} % on {measured.n} items"
        )
        return measured.value

    def _written(self, corpus_sha: str, dev_cer: float | None) -> TrainResult:
        config, position, material = self.config, self.position, self.material
        described = {
            "corpus_sha": corpus_sha,
            "steps": position.step,
            "audio_seconds": round(position.audio_seconds, 2),
            "seed": config.seed,
        }
        revision = ""
        if self.accelerator.is_main_process:
            revision = write_model(config, self.plain, material, self.folder, described)
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
            dev_cer=dev_cer,
        )
        if self.accelerator.is_main_process:
            write_json(self.folder / RESULT, result.to_dict())
        return result
