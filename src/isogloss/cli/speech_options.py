"""What the verbs of `isogloss speech` share: folders, manifests and settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from isogloss.cli.verbs import WrongUsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from isogloss.types import Item

__all__ = [
    "folder_of",
    "launched_rank",
    "of_manifest",
    "settings_of",
]


def of_manifest(path: Path, split: str | None) -> list[Item]:
    """The items with audio of a manifest, those of `split` alone when it is given."""
    from isogloss.corpora.jsonl import read_corpus
    from isogloss.tasks.parallel import splits_there

    every = read_corpus(path).items
    items = [i for i in every if i.audio is not None and split in (None, i.split)]
    if not items:
        raise ValueError(
            f"{path} has no item with audio"
            + (f" in split '{split}'" if split else "")
            + splits_there(every, split)
        )
    return items


def folder_of(model: Path) -> str:
    """The folder, also where a model is named as `bench` and `encode` name it."""
    return str(model).removeprefix("own:")


def settings_of(entries: Sequence[str]) -> dict[str, Any]:
    """Fields and values of repeated --set KEY=VALUE; the last of one key wins.

    Raises:
        WrongUsageError: a value is not TOML.
    """
    import tomllib

    values: dict[str, Any] = {}
    for entry in entries:
        try:
            values |= tomllib.loads(entry)
        except tomllib.TOMLDecodeError as error:
            raise WrongUsageError(
                f"--set {entry}: not TOML: {error}; write KEY=VALUE, text in double quotes, such "
                "as --set 'units=\"bpe\"'"
            ) from error
    return values


def launched_rank() -> int | None:
    """Which of several processes of a launcher this is, None where there is one process.

    The first one tells; a launcher takes any exit code but 0 for a crash, and says so at length.
    """
    import os

    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    return int(os.environ.get("RANK", "0")) if several else None
