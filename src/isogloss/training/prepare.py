"""Manifest and config to what the loop trains on; and the folder of a run, claimed and checked."""

from __future__ import annotations

import contextlib
import fcntl
import json
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from isogloss import __version__
from isogloss._files import sha256_of_file, write_json
from isogloss.errors import IsoglossError
from isogloss.training.config import FREE_KEYS
from isogloss.training.examples import (
    Example,
    check_texts,
    count_reasons,
    make_tokenizer,
    tokenised,
)
from isogloss.training.store import build_store
from isogloss.training.teachers import teacher_vectors
from isogloss.training.units import units_of_start

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from isogloss.speech.tokens import Tokenizer
    from isogloss.training.config import TrainConfig
    from isogloss.training.examples import Chosen, Skipped
    from isogloss.training.store import FeatureStore
    from isogloss.training.texts import TextPlan
    from isogloss.types import FloatArray, Item

__all__ = ["PLAN", "Material", "claim_folder", "prepare_material", "recorded", "same_or_refuse"]

PLAN = "plan.json"
"""Name of the file that says how long a run is; a run begins by writing it."""

_CONFIG = "train_config.json"
# Temporary names of `atomic_writer`, in the places where a run writes.
_HALF_WRITTEN = (
    "checkpoints/.step-*",
    "features-*/.values.f32.*",
    "features-*/.index.json.*",
    ".*.json.*",
    ".train.jsonl.*",
)


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """What is trained on: examples with their features, output units, and what was left out.

    `dev` and `dev_texts` are utterances to measure the CER on and what the first head should say;
    `teacher` (U, D) holds the vectors that `Example.teacher` counts, None without a teacher.
    `replayed` are the indices of examples of an old corpus.
    """

    examples: tuple[Example, ...]
    store: FeatureStore
    dev: tuple[Example, ...]
    dev_texts: tuple[str, ...]
    dev_store: FeatureStore | None
    tokenizer: Tokenizer
    skipped: tuple[Skipped, ...]
    teacher: FloatArray | None = None
    replayed: frozenset[int] = frozenset()

    @property
    def frames(self) -> int:
        """Frames of all examples."""
        return sum(self.store.frames(example.row) for example in self.examples)


def prepare_material(
    config: TrainConfig, chosen: Chosen, plan: TextPlan, folder: Path, *, progress: bool
) -> Material:
    """Features and targets of the chosen items; features and vectors are kept on disk.

    Raises:
        IsoglossError: no item is left, or no teacher's vector can be had.
        ValueError: the texts give no output units.
    """
    store, train, rows = _features(config, chosen.train, config.speeds, folder, progress)
    skipped = [*chosen.skipped, *store.skipped]
    if not train:
        raise IsoglossError(f"no item can be trained on: {count_reasons(skipped)}")
    if config.tuning is None:
        texts = [found for item in train if (found := plan.of_item(item)) is not None]
        tokenizer = make_tokenizer(texts, config)
    else:
        tokenizer, unspelt = units_of_start(config, train, plan)
        skipped += unspelt
        lacking = {entry.id for entry in unspelt}
        kept = [pair for pair in zip(train, rows, strict=True) if pair[0].id not in lacking]
        train, rows = [item for item, _ in kept], [copies for _, copies in kept]
    examples, unfit = tokenised(train, rows, tokenizer, plan)
    skipped += unfit
    if not examples:
        raise IsoglossError(f"no item can be trained on: {count_reasons(skipped)}")
    check_texts(examples, config)
    replayed = frozenset(i for i, e in enumerate(examples) if e.id in chosen.replayed)
    if len(replayed) == len(examples) or (chosen.replayed and not replayed):
        which = "old" if not replayed else "new"
        raise IsoglossError(f"no {which} item can be trained on: {count_reasons(skipped)}")
    teacher = None
    if config.pooled_teacher:
        teacher, examples = _taught(config, train, examples, plan, folder, progress)
    dev: list[Example] = []
    spelt: list[str] = []
    dev_store = None
    if config.dev_minutes is not None:
        dev_store, dev, spelt = _measured(config, chosen.dev, plan, folder, progress)
        skipped += dev_store.skipped if dev_store is not None else ()
    return Material(
        tuple(examples),
        store,
        tuple(dev),
        tuple(spelt),
        dev_store,
        tokenizer,
        tuple(skipped),
        teacher,
        replayed,
    )


def _taught(
    config: TrainConfig,
    items: Sequence[Item],
    examples: Sequence[Example],
    plan: TextPlan,
    folder: Path,
    progress: bool,
) -> tuple[FloatArray, list[Example]]:
    """The teacher's vectors, and `examples` with their rows of them."""
    used = {example.id for example in examples}
    texts: dict[str, str] = {}
    for item in items:
        found = plan.of_item(item)
        if item.id in used and found is not None and found.teacher is not None:
            texts[item.id] = found.teacher
    vectors, rows = teacher_vectors(
        config.text_teacher,
        texts,
        folder,
        device="cuda" if config.device != "cpu" and torch.cuda.is_available() else "cpu",
        progress=progress,
    )
    return vectors, [replace(example, teacher=rows.get(example.id)) for example in examples]


def _measured(
    config: TrainConfig, items: Sequence[Item], plan: TextPlan, folder: Path, progress: bool
) -> tuple[FeatureStore | None, list[Example], list[str]]:
    """Store, examples and texts of the first head of at most `dev_items` items."""
    texts = {
        item.id: found.heads[0]
        for item in items
        if (found := plan.of_item(item, all_standard=True)) is not None and found.heads[0]
    }
    readable = [item for item in items if item.id in texts]
    if not readable:
        return None, [], []
    # Evenly over the split, so that every variety of an ordered list is there.
    count = min(config.dev_items, len(readable))
    wanted = [readable[i * len(readable) // count] for i in range(count)]
    store, usable, rows = _features(config, wanted, (1.0,), folder, progress)
    pairs = zip(usable, rows, strict=True)
    dev = [Example(item.id, row, frames / 100, ((),)) for item, ((row, frames),) in pairs]
    return store, dev, [texts[item.id] or "" for item in usable]


def _features(
    config: TrainConfig,
    items: Sequence[Item],
    speeds: Sequence[float],
    folder: Path,
    progress: bool,
) -> tuple[FeatureStore, list[Item], list[list[tuple[int, int]]]]:
    """The store, the items it holds, and (row, frames) of each copy of each."""
    store = build_store(
        items,
        folder if config.features is None else Path(config.features),
        min_seconds=config.min_seconds,
        max_seconds=config.max_seconds,
        speeds=speeds,
        progress=progress,
    )
    held = [item for item in items if item.id in store.rows]
    rows = [[(row, store.frames(row)) for row in store.rows[item.id]] for item in held]
    return store, held, rows


@contextlib.contextmanager
def claim_folder(folder: Path) -> Iterator[None]:
    """A block in which no other process trains in `folder`; the claim ends with the process.

    Raises:
        IsoglossError: another process trains there now, or `folder` is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise IsoglossError(f"{folder} is a file; a run needs a folder of its own")
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise IsoglossError(f"{folder}: another process is training there") from error
        # What a kill left half written; features of many hours are large.
        for pattern in _HALF_WRITTEN:
            for leftover in folder.glob(pattern):
                leftover.unlink()
        yield


def recorded(path: Path) -> dict[str, Any] | None:
    """The JSON object in `path`, or None when there is no such file.

    Raises:
        IsoglossError: it is not JSON.
    """
    if not path.is_file():
        return None
    try:
        value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise IsoglossError(f"{path} is not JSON: {error}; move the folder away") from error
    return value


def same_or_refuse(
    config: Any,
    sha: str,
    folder: Path,
    *,
    read: Mapping[str, str] | None = None,
    free: Sequence[str] = FREE_KEYS,
) -> None:
    """Write config and corpus sha beside a new run; refuse a folder that holds another run.

    A run that failed before its first step (no such data, too many units) left nothing to go on
    with, so its settings may be mended.

    Args:
        config: a dataclass with `to_dict`.
        sha: of the corpus.
        folder: of the run.
        read: sha256 of each other file that the run learns from; None finds those of a
            `TrainConfig`.
        free: keys of `config` that may change.

    Raises:
        IsoglossError: which key differs, and both values.
    """
    path = folder / _CONFIG
    wanted = json.loads(json.dumps(config.to_dict()))
    known = recorded(path) if (folder / PLAN).is_file() else None
    read = files_read(config) if read is None else dict(read)
    if known is not None:
        plain = {field.name: field.default for field in fields(config)}
        defaults = json.loads(json.dumps(plain, default=asdict))
        for key, value in wanted.items():
            # A run of an earlier version lacks the options that came since.
            before = known["config"].get(key, defaults.get(key))
            if isinstance(before, dict) and isinstance(value, dict):
                part = next((k for k in value if before.get(k) != value[k]), None)
                if part is not None:
                    key, before, value = f"{key}.{part}", before.get(part), value[part]
            if key not in free and before != value:
                raise IsoglossError(
                    f"{folder} holds a run with {key} = {json.dumps(before)}, this one has "
                    f"{json.dumps(value)}; choose another folder, or repeat the old settings to "
                    "go on with it"
                )
        if known.get("files_read", {}) != read:
            raise IsoglossError(
                f"{folder} holds a run that read another {' or '.join(read)} than is there now; "
                "choose another folder, or put the old content back to go on with it"
            )
        if known["corpus_sha"] != sha:
            raise IsoglossError(
                f"{folder} holds a run on a corpus with sha {known['corpus_sha'][:12]}, this one "
                f"has {sha[:12]}; choose another folder"
            )
    write_json(
        path,
        {
            "config": wanted,
            "corpus_sha": sha,
            "files_read": read,
            "isogloss_version": __version__,
            "torch_version": torch.__version__,
        },
    )


def files_read(config: TrainConfig) -> dict[str, str]:
    """sha256 of each file beside the corpus that a run learns from, by the option that names it.

    Raises:
        IsoglossError: there is no such file.
    """
    named = {"lexicon": config.lexicon}
    kind, _, argument = config.text_teacher.partition(":")
    if config.pooled_teacher and kind == "vectors":
        named["text_teacher"] = argument
    if config.tuning is not None and config.start_from is not None:
        named["start_from"] = str(Path(config.start_from) / "model.safetensors")
    found: dict[str, str] = {}
    for option, name in named.items():
        if name is None:
            continue
        if not Path(name).is_file():
            raise IsoglossError(f"{option} {name}: there is no such file")
        found[option] = sha256_of_file(Path(name))
    return found
