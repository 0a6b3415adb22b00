"""When each unit of a reading is said, and how sure the model is; called by `isogloss.tasks`.

A reading's spans of steps come from `isogloss.speech.decode`: for a beam search from the forced
alignment of its text, for greedy decoding from the best path itself, which is the same alignment.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from isogloss.speech.tokens import normalise_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from isogloss.speech.decode import Hypothesis
    from isogloss.speech.tokens import Tokenizer
    from isogloss.types import FloatArray

__all__ = [
    "FIRST_STEP_SECONDS",
    "STEP_SECONDS",
    "TimedText",
    "mean_confidence",
    "timed_units",
    "timed_words",
]

STEP_SECONDS = 0.04
"""Time between two encoder steps."""

FIRST_STEP_SECONDS = 0.025
"""Where step 0 begins in the sound. The embedding makes step i of frames 4i to 4i + 8, whose middle
is 40i + 45 ms, so that the step stands for the 40 ms around it."""


@dataclass(frozen=True, slots=True)
class TimedText:
    """Some text, when it was said in seconds of the recording, and a confidence in [0, 1]."""

    text: str
    start_seconds: float
    end_seconds: float
    confidence: float


def timed_units(
    log_probs: FloatArray,
    reading: Hypothesis,
    tokenizer: Tokenizer,
    *,
    start_seconds: float = 0.0,
) -> tuple[TimedText, ...]:
    """Units of a reading with their times; joined, their texts are the reading's text.

    A unit that opens a word carries the space before it. Units that spell one character together
    (bytes) are one. `confidence` is the unit's highest probability within its span, and the lowest
    of them where several are one; it is not calibrated. CTC says a unit in as few steps as it
    likes, mostly one, near the middle of the sound: a start is good to one or two steps (40 to
    80 ms), an end is only the end of that span, most often before the sound is over.

    Args:
        log_probs: (T, V) natural log-probabilities that the reading was decoded from.
        reading: with `tokens` and their `spans` of steps.
        tokenizer: names of the V units.
        start_seconds: when the sound behind `log_probs` begins in the recording.
    """
    first = start_seconds + FIRST_STEP_SECONDS
    units: list[TimedText] = []
    length = opened = 0
    for count, span in enumerate(reading.spans, start=1):
        so_far = tokenizer.decode(reading.tokens[:count])
        is_last = count == len(reading.tokens)
        if not is_last and not (len(so_far) > length and reading.text.startswith(so_far)):
            # Half of a character, or a mark like <s> that reads as nothing.
            continue
        ids, spans = reading.tokens[opened:count], reading.spans[opened:count]
        text = reading.text[length:] if is_last else so_far[length:]
        opened, length = count, len(so_far)
        if not text:
            continue
        sure = min(
            float(np.exp(log_probs[a:b, i].max())) for i, (a, b) in zip(ids, spans, strict=True)
        )
        # Spaces and tags are said nowhere: where they fired says nothing of the word after them.
        said = [s for i, s in zip(ids, spans, strict=True) if tokenizer.decode([i])]
        begin = first + (said or spans)[0][0] * STEP_SECONDS
        end = first + span[1] * STEP_SECONDS
        units.append(TimedText(text, begin, end, min(1.0, sure)))
    return tuple(units)


def timed_words(units: Sequence[TimedText]) -> tuple[TimedText, ...]:
    """Words of `timed_units`: what stands between spaces, and each unit of scripts without them.

    Han, kana and their punctuation are written without spaces, so each of their units is a word.
    A word's confidence is the mean (geometric) of its units'. Texts have no space around them.
    """
    words: list[list[TimedText]] = []
    for unit in units:
        text = unit.text.strip()
        if not text:
            continue
        joins = (
            words and not unit.text.startswith(" ") and _may_have_space(words[-1][-1].text, text)
        )
        if joins:
            words[-1].append(unit)
        else:
            words.append([unit])
    return tuple(
        TimedText(
            "".join(unit.text for unit in word).strip(),
            word[0].start_seconds,
            word[-1].end_seconds,
            mean_confidence(word) or 0.0,
        )
        for word in words
    )


def mean_confidence(units: Sequence[TimedText]) -> float | None:
    """Geometric mean of the units' confidence, in [0, 1]; None when there is no unit."""
    if not units:
        return None
    values = np.maximum([unit.confidence for unit in units], 1e-30)
    return float(np.exp(np.log(values).mean()))


def _may_have_space(left: str, right: str) -> bool:
    """Whether a space between the two would mean something: no for Han, kana and the like."""
    return " " in normalise_text(f"{left.strip()} {right}")
