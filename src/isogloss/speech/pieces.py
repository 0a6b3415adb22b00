"""Text cut into units of a known list, where the model that learnt them is not at hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["fewest_pieces"]


def fewest_pieces(text: str, numbers: Mapping[str, int], longest: int) -> list[int | str]:
    """Numbers of the fewest units that spell `text`; a character that none covers stays as it is.

    Among equally few the one with the smaller sum of numbers is taken, since sentencepiece numbers
    frequent units first. It is a reading that the units allow, not always the one that the
    units' own model would give.

    Args:
        text: any; empty gives an empty list.
        numbers: unit to its number.
        longest: characters of the longest unit.
    """
    # best[i]: (units and uncovered characters, sum of numbers, start of the last unit) up to i.
    best: list[tuple[int, int, int]] = [(0, 0, 0)]
    for end in range(1, len(text) + 1):
        # Any unit is better than leaving a character uncovered.
        pieces, total, _ = best[end - 1]
        choice = (pieces + len(text) + 1, total, end - 1)
        for start in range(max(0, end - longest), end):
            number = numbers.get(text[start:end])
            if number is not None:
                pieces, total, _ = best[start]
                choice = min(choice, (pieces + 1, total + number, start))
        best.append(choice)
    found: list[int | str] = []
    end = len(text)
    while end:
        start = best[end][2]
        piece = text[start:end]
        found.append(numbers.get(piece, piece))
        end = start
    return found[::-1]
