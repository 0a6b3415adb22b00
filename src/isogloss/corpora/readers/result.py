"""What a reader gives back: the corpus, what was left out and why, and how much was there."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from isogloss.errors import IsoglossError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from isogloss.types import Corpus

__all__ = ["Coverage", "LayoutError", "OptionError", "ReadResult", "Reader", "Skipped"]


class LayoutError(IsoglossError, ValueError):
    """A folder that does not look like the corpus; the message shows the layout expected."""

    def __init__(self, root: str | Path, problem: str, expected: str) -> None:
        super().__init__(f"{root}: {problem}; expected {expected}")
        self.root = str(root)
        self.problem = problem
        self.expected = expected


class OptionError(IsoglossError, ValueError):
    """An option of a reader with a value that cannot be used."""

    def __init__(self, option: str, value: object, problem: str) -> None:
        super().__init__(f"option '{option}': {problem}, got {value!r}")
        self.option = option
        self.value = value


@dataclass(frozen=True, slots=True)
class Skipped:
    """Something in the folder that became no item: which, why, and what would make it one."""

    item: str
    reason: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much of a corpus lies in the folder: recordings present and expected.

    `groups` gives (present, expected) for each part of the corpus, in the corpus's own order.
    """

    present: int
    expected: int
    groups: Mapping[str, tuple[int, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ReadResult:
    """Everything a reader found. `coverage` is None where a corpus does not say its full size."""

    corpus: Corpus
    skipped: tuple[Skipped, ...] = ()
    coverage: Coverage | None = None

    def reasons(self) -> dict[str, int]:
        """How often each reason occurs among the skipped, most frequent first."""
        return dict(Counter(skip.reason for skip in self.skipped).most_common())


class Reader(Protocol):
    """A function from a folder (or file) and keyword-only options to a `ReadResult`."""

    def __call__(self, root: Path, **options: Any) -> ReadResult:
        """Everything found under `root`; broken parts are skipped and reported, never raised."""
        ...
