"""What is wrong with the transcript and text of one item."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from isogloss.corpora.check_findings import CheckLimits, Finding, found
from isogloss.corpora.script import characters_outside, known_scripts

if TYPE_CHECKING:
    from isogloss.types import Item

__all__ = ["check_text", "ctc_steps_needed", "encoder_steps"]

_SHOWN_CHARACTERS = 8


def ctc_steps_needed(text: str) -> int:
    """Steps CTC needs for the characters of `text`, spaces left out: 0 for an empty text.

    One a character and one blank between two equal neighbours (Graves et al. 2006, sec. 3.1).
    """
    characters = [c for c in text if not c.isspace()]
    repeats = sum(a == b for a, b in itertools.pairwise(characters))
    return len(characters) + repeats


def encoder_steps(seconds: float, *, steps_per_second: float = 25.0) -> int:
    """Output steps of the encoder for `seconds` of sound.

    100 frames a second of 25 ms each, of which the convolutions at the input use up 7 before they
    halve the rate; the rest is halved once more, rounding up. For rates other than 25 Hz only
    seconds times rate is counted.
    """
    if steps_per_second != 25.0:
        return int(seconds * steps_per_second)
    frames = max(0, 1 + int((seconds - 0.025) * 100 + 1e-6)) if seconds >= 0.025 else 0
    return max(0, ((frames - 7) // 2 + 1) // 2)


def check_text(
    item: Item,
    *,
    script: str | None,
    seconds: float | None,
    limits: CheckLimits | None = None,
) -> list[Finding]:
    """Everything wrong with what is written in `item`.

    Args:
        item: any item.
        script: ISO 15924 code the writing should be in; None or a script that cannot be judged
            leaves characters unchecked.
        seconds: length of the sound, None when there is none or it is not known.
        limits: where lines are drawn.
    """
    limits = limits or CheckLimits()
    findings = []
    if item.audio is None and item.text is None:
        findings.append(found(item.id, "no content", "neither audio nor text"))
    if item.audio is not None and item.transcript is None and item.translation is None:
        findings.append(found(item.id, "no transcript", "neither transcript nor translation"))
    for field in ("transcript", "translation", "text"):
        text = getattr(item, field)
        if text is not None and not text.strip():
            findings.append(found(item.id, "empty transcript", f"{field} {text!r}"))
    findings += _outside(item, script)
    if seconds is not None:
        findings += _too_short(item, seconds, limits)
    return findings


def _outside(item: Item, script: str | None) -> list[Finding]:
    if script is None or script not in known_scripts():
        return []
    # `translation` is in the standard language, whose script need not be the variety's.
    written = (item.transcript or "") + (item.text or "")
    characters = characters_outside(written, script)
    if not characters:
        return []
    shown = " ".join(
        c if c.isprintable() else f"U+{ord(c):04X}" for c in characters[:_SHOWN_CHARACTERS]
    )
    more = f" and {len(characters) - _SHOWN_CHARACTERS} more" * (
        len(characters) > _SHOWN_CHARACTERS
    )
    return [found(item.id, "outside script", f"{shown}{more} outside {script}")]


def _too_short(item: Item, seconds: float, limits: CheckLimits) -> list[Finding]:
    steps = encoder_steps(seconds, steps_per_second=limits.steps_per_second)
    for field in ("transcript", "translation"):
        text = getattr(item, field)
        if text and ctc_steps_needed(text) > steps:
            value = f"{field} needs {ctc_steps_needed(text)} steps, {seconds:.2f} s have {steps}"
            return [found(item.id, "too short for transcript", value)]
    return []
