"""Training of text models: a corpus and a `TextTrainConfig` in, a folder with a model out.

    manifest -> prepare_texts -> plan_texts -> TextRows -> TextLearner -> optimiser

The loop itself is `engine`, shared with speech: a run can be killed at any moment, and the same
call goes on from the last checkpoint and ends, on a CPU, in the same weights bit for bit.
"""

from __future__ import annotations

import math
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from isogloss._files import sha256_of_file, write_json
from isogloss.corpora.progress import with_progress
from isogloss.errors import IsoglossError
from isogloss.training.collective import StepSum
from isogloss.training.engine import Run, seed_step
from isogloss.training.objectives.text import make_objective
from isogloss.training.optim import Cosine, Linear
from isogloss.training.prepare import PLAN, claim_folder, recorded, same_or_refuse
from isogloss.training.process import make_accelerator, settled_process
from isogloss.training.result import RESULT
from isogloss.training.text_config import TEXT_FREE_KEYS
from isogloss.training.text_control import CONTROL, control_config, give_tokenizer
from isogloss.training.text_data import prepare_texts
from isogloss.training.text_learner import make_model_learner
from isogloss.training.text_result import TextTrainResult, finished_text_result
from isogloss.training.text_sampling import plan_texts

if TYPE_CHECKING:
    from isogloss.training.engine import Parts
    from isogloss.training.journal import Journal
    from isogloss.training.state import Position
    from isogloss.training.text_config import TextTrainConfig
    from isogloss.training.text_data import TextMaterial, Views
    from isogloss.training.text_learner import LearnerMaker, TextLearner
    from isogloss.types import Corpus
    from isogloss.varieties import VarietyTable

__all__ = ["TextTrainResult", "train_text"]

_COUNTED_AT_ONCE = 5000


def train_text(
    config: TextTrainConfig,
    *,
    corpus: Corpus | Path,
    folder: Path,
    views: Views | None = None,
    maker: LearnerMaker = make_model_learner,
    needs: frozenset[str] | None = None,
    table: VarietyTable | None = None,
    quiet: bool = False,
) -> TextTrainResult:
    """Train a text model and write it to `folder`, or go on with a run that is there.

    `folder` gets the model as transformers saves it (`hf:FOLDER` loads it), `train_config.json`,
    `train.jsonl` (log), `skipped.json` (counts), `result.json`, `checkpoints/`, with LoRA
    `adapter/`, and the control run in `control/`, unless the run has base objectives alone. A run
    that is finished comes back at once.

    Args:
        config: how to train.
        corpus: JSONL manifest, the folder with `manifest.jsonl`, or a corpus.
        folder: of the run; made if absent.
        views: a second text of each item, in the corpus's order (its romanisation, for example),
            or a function that makes them of the texts that are used.
        maker: makes what learns; the default is a model of transformers.
        needs: what the maker's learner needs of rows, as `TextLearner.needs`; None asks the
            objectives.
        table: varieties that exist; None is the built-in table.
        quiet: say nothing on stderr.

    Raises:
        ValueError: views without use or not one for each item; pairs asked for and not needed.
        IsoglossError: nothing can be trained on; `folder` holds a run with other settings or
            another corpus, or another process trains in it; the start cannot be used.
        NonFiniteLoss: with the ids of the batch; the last checkpoint stays.
        MissingExtra: a package of the extra `text` is not installed.
    """
    began = time.monotonic()
    if needs is None:
        needs = frozenset().union(*(make_objective(one).needs for one in config.asked()))
    config = replace(config, pairs=_pairs(config, needs, views is not None))
    if "links" in needs and config.links is None:
        raise ValueError("an objective needs word links: give links, a file of them")
    accelerator = make_accelerator(config)
    if accelerator.num_processes > 1:
        raise IsoglossError("text models are trained in one process; start one alone")
    with claim_folder(folder):
        material = prepare_texts(config, corpus, views=views, table=table)
        result = _train(config, material, folder, accelerator, maker, quiet, began)
        other = control_config(config, result) if config.control else None
        if other is None or result.control is not None:
            return result
        with claim_folder(folder / CONTROL):
            give_tokenizer(folder, folder / CONTROL)
            control = _train(
                other, material, folder / CONTROL, accelerator, maker, quiet, time.monotonic()
            )
        result = replace(result, control=control)
        write_json(folder / RESULT, result.to_dict())
        return result


def _train(
    config: TextTrainConfig,
    material: TextMaterial,
    folder: Path,
    accelerator: Any,
    maker: LearnerMaker,
    quiet: bool,
    began: float,
) -> TextTrainResult:
    same_or_refuse(config, material.sha, folder, read=files_read(config), free=TEXT_FREE_KEYS)
    finished = finished_text_result(folder)
    if finished is not None:
        return finished
    plan = recorded(folder / PLAN) or {}
    with settled_process(config, plan.get("threads")):
        torch.manual_seed(config.seed)
        learner = maker(config, material, folder)
        run = _TextRun(config, material, learner, folder, accelerator, quiet)
        run.fix_length(plan, began)
        run.to_end()
        return run.written()


class _TextRun(Run):
    """The run of a text model."""

    check = "texts"

    def __init__(
        self,
        config: TextTrainConfig,
        material: TextMaterial,
        learner: TextLearner,
        folder: Path,
        accelerator: Any,
        quiet: bool,
    ) -> None:
        self.config = config
        self.material = material
        self.learner = learner
        learner.module.to(accelerator.device)
        super().__init__(
            config,
            model=learner.module,
            optimizer=learner.optimizer(config.rate, config.clip),
            folder=folder,
            accelerator=accelerator,
            micro_batches=1,
            quiet=quiet,
            unit="tokens",
        )
        self._planned: tuple[int, list[Parts]] | None = None
        self._losses: dict[str, float] = {}
        self._cut = 0

    def batches(self, epoch: int) -> list[Parts]:
        """The plan of an epoch; a pair of items is one number."""
        if self._planned is None or self._planned[0] != epoch:
            count = len(self.material)
            planned = plan_texts(self.config, self.material, self.config.pairs, epoch)
            self._planned = (
                epoch,
                [(tuple(i * count + j for i, j in batch),) for batch in planned],
            )
        return self._planned[1]

    def found(self) -> dict[str, int]:
        """Items and characters, which a resumed run must find again."""
        characters = sum(len(text) for text in self.material.texts)
        return {"items": len(self.material), "characters": characters}

    def size(self, part: tuple[int, ...]) -> float:
        """Characters of a batch."""
        count = len(self.material)
        return sum(
            len(self.material.texts[row // count]) + len(self.material.texts[row % count])
            for row in part
        )

    def rate(self, position: Position) -> float:
        """The learning rate by step."""
        kind = Cosine if self.config.schedule == "cosine" else Linear
        warmup = min(self.config.warmup, self.steps // 10)
        return kind(self.config.rate, self.steps, warmup)(position.step, position.epoch)

    def learn(self, indices: tuple[int, ...], slot: int, position: Position) -> StepSum:
        """The loss of a batch, its gradient taken."""
        count = len(self.material)
        pairs = [divmod(row, count) for row in indices]
        rows = self.material.rows(pairs, kind=self.config.pairs)
        draw = torch.Generator()
        draw.manual_seed(seed_step((self.config.seed, position.epoch, position.batch, slot)))
        before = dict(self.learner.spent)
        with self.accelerator.autocast():
            loss = self.learner.loss(rows, draw=draw, step=position.step, steps=self.steps)
        total = float(loss.total.detach())
        broken = () if math.isfinite(total) else rows.ids
        if not broken and loss.total.requires_grad:
            loss.total.backward()  # type: ignore[no-untyped-call]
        spent = {name: n - before.get(name, 0.0) for name, n in self.learner.spent.items()}
        parts = {name: float(value) for name, value in loss.parts.items()}
        return StepSum(total, 1, 0.0, parts, rows.ids, broken, spent=spent)

    def introduce(self, journal: Journal) -> None:
        """Say what is trained on, count what is cut."""
        material = self.material
        texts = [*material.texts, *(material.views or ())]
        slices = range(0, len(texts), _COUNTED_AT_ONCE)
        self._cut = sum(
            self.learner.count_cut(texts[first : first + _COUNTED_AT_ONCE])
            for first in (slices if self.quiet else with_progress(slices, "reading texts"))
        )
        write_json(self.folder / "skipped.json", dict(material.skipped))
        pairs = {
            "meaning": f", {len(material.groups)} meanings in several varieties",
            "views": ", each with a view",
            "none": "",
        }
        journal.say(
            f"{len(material)} texts of {len(set(material.varieties))} varieties"
            f"{pairs[self.config.pairs]}; {self.steps} steps on {self.accelerator.device} with "
            f"{torch.get_num_threads()} threads"
        )
        if material.skipped:
            counts = ", ".join(f"{n} {reason}" for reason, n in material.skipped.items())
            journal.say(f"left out: {counts}")
        if self._cut:
            journal.say(f"{self._cut} texts are cut to {self.config.max_tokens} tokens")
        if self.position.step:
            journal.say(f"going on from step {self.position.step}")

    def written(self) -> TextTrainResult:
        """Write the model and `result.json`."""
        position = self.position
        described = self.learner.describe()
        self.learner.save(self.folder)
        weights = self.folder / "model.safetensors"
        result = TextTrainResult(
            folder=self.folder,
            steps=position.step,
            epochs=position.epoch,
            loss=position.loss,
            losses=_last_losses(self.folder / "train.jsonl"),
            items=len(self.material),
            meanings=len(self.material.groups),
            pairs=self.config.pairs,
            skipped=dict(self.material.skipped),
            cut=self._cut,
            spent={name: round(amount, 1) for name, amount in position.spent.items()},
            train_seconds=round(position.train_seconds, 3),
            revision=sha256_of_file(weights) if weights.is_file() else "",
            model=described,
        )
        write_json(self.folder / RESULT, result.to_dict())
        return result


def files_read(config: TextTrainConfig) -> dict[str, str]:
    """sha256 of each file beside the corpus that a run learns from, by what names it.

    Raises:
        IsoglossError: the start is not there.
    """
    found: dict[str, str] = {}
    if config.start is not None:
        start = Path(config.start)
        files = sorted({*start.glob("*.safetensors"), *start.glob("*.bin"), *start.glob("*.json")})
        if not (start / "config.json").is_file():
            what = "it has no config.json" if start.is_dir() else "there is no such folder"
            raise IsoglossError(
                f"start {start}: {what}; it must be a text model as transformers saves one"
            )
        own = ("train_config.json", "result.json", "plan.json", "skipped.json")
        found |= {f"start/{f.name}": sha256_of_file(f) for f in files if f.name not in own}
    if config.links is not None and Path(config.links).is_file():
        found["links"] = sha256_of_file(Path(config.links))
    for asked in config.asked():
        for key, value in asked.options:
            if Path(value).is_file():
                found[f"{asked.name}:{key}"] = sha256_of_file(Path(value))
    return found


def _pairs(config: TextTrainConfig, needs: frozenset[str], has_views: bool) -> Any:
    """What rows are, "auto" decided.

    Raises:
        ValueError: what is asked for contradicts what is there or needed.
    """
    if has_views and config.pairs in ("meaning", "none"):
        raise ValueError(f"views have no effect with pairs={config.pairs}")
    if config.pairs == "views" and not has_views:
        raise ValueError("pairs=views needs views, a second text for each item")
    kind = config.pairs
    if kind == "auto":
        kind = "views" if has_views else "meaning" if "pairs" in needs else "none"
    if kind == "none" and "pairs" in needs:
        raise ValueError("an objective needs pairs; use pairs=meaning or views")
    if kind != "meaning" and config.ways != 2:
        raise ValueError(f"ways has no effect with pairs={kind}")
    if kind != "meaning" and config.links is not None:
        raise ValueError(f"links are of pairs of a meaning, and have no effect with pairs={kind}")
    return kind


def _last_losses(path: Path) -> dict[str, float]:
    """The numbers of the last record of a log, but for rates and places."""
    import json

    lines = path.read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines[-20:]]
    last: dict[str, Any] = next((r for r in reversed(records) if r["kind"] == "train"), {})
    left_out = ("kind", "step", "epoch", "lr", "loss", "tokens_per_second")
    return {name: value for name, value in last.items() if name not in left_out}
