"""The loop that every training shares: a `Run` says what a step learns, `to_end` does the rest.

The rest is the plan (how many steps, fixed once), checkpoints, averages, the journal, going on
after a kill, refusing losses that are not finite, and seeding: everything random in a step comes
from (seed, epoch, batch), so that a run which was killed ends, on a CPU, in the same weights bit
for bit. `loop` is its run of speech, `text_loop` of text.
"""

from __future__ import annotations

import copy
import math
import time
from abc import ABC, abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from isogloss._files import write_json
from isogloss.errors import IsoglossError
from isogloss.speech.scaling import load_regulariser_state, regulariser_state
from isogloss.training.collective import Collective, StepSum
from isogloss.training.journal import Journal, Meter
from isogloss.training.optim import NonFiniteGradient, set_learning_rate
from isogloss.training.prepare import PLAN
from isogloss.training.state import (
    Average,
    Position,
    load_checkpoint,
    newest_checkpoint,
    save_checkpoint,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import nn
    from torch.optim import Optimizer

__all__ = ["LoopSettings", "NonFiniteLoss", "Parts", "Run", "seed_step"]

Parts = tuple[tuple[int, ...], ...]
"""One step of one process: the examples of each of its micro-batches."""


class LoopSettings(Protocol):
    """What the loop reads of a `TrainConfig` or a `TextTrainConfig`."""

    @property
    def seed(self) -> int:
        """Decides everything random."""
        ...

    @property
    def epochs(self) -> float | None:
        """Passes over the data, or None."""
        ...

    @property
    def max_steps(self) -> int | None:
        """Steps, or None."""
        ...

    @property
    def minutes(self) -> float | None:
        """Wall-clock target, or None."""
        ...

    @property
    def average_from(self) -> float:
        """Share of the run after which weights are averaged."""
        ...

    @property
    def average_period(self) -> int:
        """Steps between two weights that enter the average."""
        ...

    @property
    def checkpoint_minutes(self) -> float:
        """Time between two checkpoints."""
        ...

    @property
    def keep(self) -> int:
        """Checkpoints kept."""
        ...

    @property
    def dev_minutes(self) -> float | None:
        """Least time between two measurements, None for none."""
        ...

    @property
    def log_steps(self) -> int:
        """Steps between two records of the log."""
        ...

    @property
    def tensorboard(self) -> bool:
        """Whether TensorBoard events are written."""
        ...


class NonFiniteLoss(IsoglossError):
    """Loss or gradient became NaN or infinite; `ids` are the items of the batch."""

    def __init__(
        self, what: str, ids: Sequence[str], position: Position, *, check: str = "recordings"
    ) -> None:
        listed = ", ".join(ids[:40]) + (", ..." if len(ids) > 40 else "")
        super().__init__(
            f"{what} at step {position.step} (epoch {position.epoch}, batch {position.batch}), "
            f"items {listed}; nothing was changed by this batch. Check these {check}, or train "
            "with a lower base_lr or a longer warmup"
        )
        self.ids = tuple(ids)


def seed_step(seed: Sequence[int]) -> int:
    """Seed torch's generator by these numbers; the seed comes out."""
    found = int(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0] >> 1)
    torch.manual_seed(found)
    return found


class Run(ABC):
    """Model, optimiser and place of one run.

    Args:
        config: how long, how often saved, what seed.
        model: all that is learnt or remembered, on its device; its `state_dict` is a checkpoint.
        optimizer: of what learns in it.
        folder: of the run, claimed.
        accelerator: of `process.make_accelerator`.
        micro_batches: batches that make a step, over all processes.
        quiet: say nothing on stderr.
        unit: what the speed is counted in, "audio" (seconds) or "tokens".
    """

    check = "recordings"
    """What a user should look at when a loss is not finite."""

    def __init__(
        self,
        config: LoopSettings,
        *,
        model: nn.Module,
        optimizer: Optimizer,
        folder: Path,
        accelerator: Any,
        micro_batches: int,
        quiet: bool,
        unit: str = "audio",
    ) -> None:
        self.settings = config
        self.plain = model
        self.optimizer = optimizer
        self.folder = folder
        self.accelerator = accelerator
        self.quiet = quiet or not accelerator.is_main_process
        self.unit = unit
        self.together = Collective(
            accelerator.process_index, accelerator.num_processes, accelerator.device
        )
        self.micro_batches = micro_batches
        self.slots: tuple[int, ...] = ()
        self.rules: dict[int, dict[str, float]] = {}
        self.average = Average()
        self.position = Position()
        self.steps = 0

    @abstractmethod
    def batches(self, epoch: int) -> list[Parts]:
        """The plan of an epoch: for each step, the micro-batches of this process.

        The same from (seed, epoch) alone, whatever happened before.
        """

    @abstractmethod
    def learn(self, indices: tuple[int, ...], slot: int, position: Position) -> StepSum:
        """What one micro-batch gave; its gradient is added to those that are there."""

    @abstractmethod
    def rate(self, position: Position) -> float:
        """The learning rate of a step."""

    @abstractmethod
    def found(self) -> dict[str, int]:
        """Numbers that must be the same when the run is taken up again."""

    @abstractmethod
    def size(self, part: tuple[int, ...]) -> float:
        """How long a micro-batch takes, in any unit."""

    def enter_step(self, position: Position) -> None:
        """What changes with the place in the run, before the gradients of a step."""
        del position

    def introduce(self, journal: Journal) -> None:
        """What is said at the start."""
        del journal

    def measure(self, journal: Journal) -> None:
        """What is measured now and then, and at the end."""
        del journal

    def fix_length(self, plan: dict[str, Any], began: float) -> None:
        """Decide how many steps the run has, once; a resumed run reads what was decided."""
        found = self.found()
        if plan:
            different = [key for key, value in found.items() if plan[key] != value]
            if different:
                key = different[0]
                raise IsoglossError(
                    f"{self.folder}: the run began with {plan[key]} {key}, now there are "
                    f"{found[key]}: {self.check} changed since; choose another folder"
                )
            self.steps = plan["steps"]
            self.micro_batches = plan.get("micro_batches", 1)
            self.slots = self.together.slots(self.micro_batches)
            return
        config = self.settings
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

    def _steps_in_time(self, first: list[Parts], began: float) -> int:
        """Steps that fit into `minutes`, from a few batches of all lengths; nothing is learnt."""
        budget = 60.0 * (self.settings.minutes or 0.0)
        self.steps = len(first)
        weights = copy.deepcopy(self.plain.state_dict())
        rules = regulariser_state(self.plain)
        state = copy.deepcopy(self.optimizer.state_dict())
        by_size = sorted(range(len(first)), key=lambda i: sum(self.size(part) for part in first[i]))
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

    def _step(self, parts: Parts, position: Position, *, due: bool = False) -> StepSum:
        """One step of all processes: the model changes, what the batches together gave comes out.

        `due` asks for a checkpoint; what the first process asks for is done.
        """
        self.enter_step(position)
        set_learning_rate(self.optimizer, self.rate(position))
        self.optimizer.zero_grad(set_to_none=True)
        local = StepSum()
        for slot, indices in zip(self.slots, parts, strict=True):
            local.join(self.learn(indices, slot, position))
        found = self.together.gather((local, due))
        done = StepSum(due=found[0][1])
        for other, _ in found:
            done.join(other)
        if not math.isfinite(done.total):
            raise NonFiniteLoss(
                f"the loss is {done.total}", done.broken, position, check=self.check
            )
        self.together.sum_gradients([p for g in self.optimizer.param_groups for p in g["params"]])
        try:
            self.optimizer.step()
        except NonFiniteGradient as error:
            raise NonFiniteLoss(str(error), done.ids, position, check=self.check) from error
        return done

    def to_end(self) -> None:
        """Train what is left; afterwards the model has the averaged weights."""
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
            tensorboard=self.settings.tensorboard,
            quiet=self.quiet,
            writes=self.accelerator.is_main_process,
            unit=self.unit,
        ) as journal:
            self.introduce(journal)
            self._epochs(journal, checkpoints)
            self.measure(journal)
        self.average.apply_to(self.plain)

    def _epochs(self, journal: Journal, checkpoints: Path) -> None:
        config, position = self.settings, self.position
        meter = Meter(self.unit)
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
                for name, amount in done.spent.items():
                    position.spent[name] = position.spent.get(name, 0.0) + amount
                self._maybe_average()
                took = time.monotonic() - start
                position.train_seconds += took
                meter.add(done, took)
                position.loss = meter.loss
                journal.show(position, meter.loss, meter.speed)
                if position.step % config.log_steps == 0 or position.step == self.steps:
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
                    self.measure(journal)
                measured = time.monotonic()
        # What follows, measuring and writing the model, need not cost the last minutes.
        self._save(checkpoints)

    def _maybe_average(self) -> None:
        step = self.position.step
        begins = self.settings.average_from * self.steps
        if step > begins and (step % self.settings.average_period == 0 or step == self.steps):
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
                keep=self.settings.keep,
                rules=rules,
            )
