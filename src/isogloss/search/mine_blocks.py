"""The work of mining in blocks: which there are, one of them done, its file, all of them joined.

    blocks_of -> mine_block for each, anywhere and in any order -> write_block -> joined

A block depends on the two sides and its own numbers alone, so it does not matter who does it or
whether it is done twice.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from isogloss._files import atomic_writer
from isogloss.errors import IsoglossError
from isogloss.search.mine_pairs import Neighbours

if TYPE_CHECKING:
    from pathlib import Path

    from isogloss.search.mine_sides import Side

__all__ = ["Block", "blocks_of", "joined", "mine_block", "read_block", "write_block"]

Direction = Literal["forward", "backward"]


@dataclass(frozen=True, slots=True)
class Block:
    """Items `start` to `stop` of the side that asks: the first for 'forward', else the second."""

    direction: Direction
    number: int
    start: int
    stop: int

    @property
    def file_name(self) -> str:
        """Of its results."""
        return f"{self.direction}-{self.number:08d}.npz"


def blocks_of(n: int, m: int, size: int) -> list[Block]:
    """All blocks of mining between N and M items, `size` items each, forward ones first.

    Raises:
        ValueError: `size` is below 1.
    """
    if size < 1:
        raise ValueError(f"a block needs at least 1 item, got {size}")
    directions: tuple[tuple[Direction, int], ...] = (("forward", n), ("backward", m))
    return [
        Block(direction, number, start, min(start + size, count))
        for direction, count in directions
        for number, start in enumerate(range(0, count, size))
    ]


def mine_block(a: Side, b: Side, block: Block, neighbours: int) -> Neighbours:
    """The `neighbours` + 2 nearest items, on the other side, of the items of `block`.

    One more than the margin needs stands behind each partner that is taken away when the precision
    is estimated, and one more tells ties. Nothing but the arguments changes the result.

    Args:
        a: first side.
        b: second side.
        block: one of `blocks_of(len(a.ids), len(b.ids), size)`.
        neighbours: k of the margin.

    Returns:
        (stop - start, k + 2) rows of the other side, -1 where it has fewer items.
    """
    asking, answering = (a, b) if block.direction == "forward" else (b, a)
    width = neighbours + 2
    found = answering.nearest(asking.asked(block.start, block.stop), width)
    missing = width - found.columns.shape[1]
    return Neighbours(
        np.pad(found.columns, ((0, 0), (0, missing)), constant_values=-1),
        np.pad(found.scores, ((0, 0), (0, missing))),
    )


def write_block(folder: Path, block: Block, found: Neighbours) -> None:
    """Keep the results of `block` in `folder`, whole or not at all."""
    with atomic_writer(folder / block.file_name) as handle:
        np.savez(handle, columns=found.columns, scores=found.scores)


def read_block(folder: Path, block: Block) -> Neighbours | None:
    """The results of `block` in `folder`, None when they are not there or not whole."""
    path = folder / block.file_name
    try:
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as file:
            found = Neighbours(file["columns"], file["scores"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile):
        # Cut off by a full disk or a power failure: as good as absent.
        return None
    return found if len(found) == block.stop - block.start else None


def joined(folder: Path, blocks: list[Block]) -> tuple[Neighbours, Neighbours]:
    """Neighbours of all items of both sides, forward and backward.

    Raises:
        IsoglossError: a block is missing.
    """
    sides = []
    for direction in ("forward", "backward"):
        parts = []
        for block in blocks:
            if block.direction == direction:
                part = read_block(folder, block)
                if part is None:
                    raise IsoglossError(
                        f"{folder / block.file_name} is missing or damaged; remove it and repeat "
                        "the command, it goes on"
                    )
                parts.append(part)
        sides.append(
            Neighbours(
                np.concatenate([part.columns for part in parts]),
                np.concatenate([part.scores for part in parts]),
            )
        )
    return sides[0], sides[1]
