"""What the server answers to texts that cannot be used, and to recordings that nothing hears."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isogloss.search.server.problems import Problem
from isogloss.search.server.work import takes_audio

if TYPE_CHECKING:
    from isogloss.errors import TextError
    from isogloss.search.server.state import State

__all__ = ["refuse_unheard", "text_problem"]


def text_problem(error: TextError, *, param: str) -> Problem:
    """The answer for a text that cannot be used; it does not name the item of the batch."""
    return Problem(422, "bad_text", f"the text cannot be used: {error.problem}", param=param)


def refuse_unheard(state: State, *, param: str) -> None:
    """Return when the encoder takes recordings.

    Raises:
        Problem: it takes text alone.
    """
    if not takes_audio(state.work.encoder):
        raise Problem(
            400,
            "audio_not_supported",
            f"the encoder '{state.name}' takes text, no recordings; send a text or an id",
            param=param,
        )
